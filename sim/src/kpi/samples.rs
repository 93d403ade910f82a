//! The samples of one KPI, and what is said of them.

use hdrhistogram::Histogram;

use crate::outcome::Verdict;
use crate::scenario::{Comparison, KpiTarget, Statistic};

/// The largest value that is told apart from larger ones: an hour in microseconds.
const HIGHEST: u64 = 3_600_000_000;

/// Samples that a percentile needs (contract.md).
const PERCENTILE_NEEDS: u64 = 20;

/// Samples in a histogram of three digits from 1 to an hour's microseconds; larger values count as that. Beside it stands what a
/// histogram only knows roughly: the sum, the largest, and how many things that should have happened never did.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    pub histogram: Histogram<u64>,
    sum: u128,
    largest: u64,
    misses: u64,
}

/// A judgement: the measured value in the KPI's unit, the verdict, and why where that is not plain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    pub measured: Option<f64>,
    pub verdict: Verdict,
    pub note: String,
}

impl Samples {
    pub fn new() -> Samples {
        let histogram = Histogram::new_with_bounds(1, HIGHEST, 3).expect("the bounds are constants");
        Samples { histogram, sum: 0, largest: 0, misses: 0 }
    }

    /// Adds a sample. On the path of every accepted frame.
    #[inline]
    pub fn record(&mut self, raw: u64) {
        self.histogram.saturating_record(raw);
        self.sum += u128::from(raw);
        self.largest = self.largest.max(raw);
    }

    /// Adds what had not happened yet after `raw` when the run ended: a sample of no known end.
    pub fn miss(&mut self, raw: u64) {
        self.record(raw);
        self.misses += 1;
    }

    /// Samples, misses included.
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// The value of a statistic, in units of `raw_per_unit`; nothing without samples, but a count of zero is one.
    pub fn value(&self, statistic: Statistic, raw_per_unit: f64) -> Option<f64> {
        let quantile = |q| self.histogram.value_at_quantile(q).min(self.largest) as f64 / raw_per_unit;
        match statistic {
            Statistic::Count => Some(self.len() as f64),
            _ if self.len() == 0 => None,
            Statistic::P50 => Some(quantile(0.5)),
            Statistic::P90 => Some(quantile(0.9)),
            Statistic::P99 => Some(quantile(0.99)),
            Statistic::Max => Some(self.largest as f64 / raw_per_unit),
            Statistic::Mean => Some(self.sum as f64 / self.len() as f64 / raw_per_unit),
        }
    }

    /// Whether a statistic has no bound because of what never happened: misses are larger than every sample.
    fn unbounded(&self, statistic: Statistic) -> bool {
        let beyond_rank = |percent: u64| self.misses > self.len() - (self.len() * percent).div_ceil(100);
        match statistic {
            Statistic::P50 => beyond_rank(50),
            Statistic::P90 => beyond_rank(90),
            Statistic::P99 => beyond_rank(99),
            Statistic::Max | Statistic::Mean => self.misses > 0,
            Statistic::Count => false,
        }
    }

    /// Compares the target's statistic with the target. `exact` is the value where it is known better than from the samples.
    pub fn judge(&self, target: &KpiTarget, raw_per_unit: f64, exact: Option<f64>) -> Judgement {
        let measured = exact.or(self.value(target.statistic, raw_per_unit));
        let mut note = String::new();
        if self.misses > 0 {
            note = format!("{} of {} never happened before the end", self.misses, self.len());
        }
        let needed = match target.statistic {
            Statistic::P50 | Statistic::P90 | Statistic::P99 => PERCENTILE_NEEDS,
            Statistic::Max | Statistic::Mean => 1,
            Statistic::Count => 0,
        };
        let value = match measured {
            Some(value) if self.len() >= needed => value,
            _ => {
                let few = format!("{} samples, {needed} needed", self.len());
                note = if note.is_empty() { few } else { format!("{few}; {note}") };
                return Judgement { measured, verdict: Verdict::Unknown, note };
            }
        };
        // A value without bound is above every target.
        let value = if self.unbounded(target.statistic) { f64::INFINITY } else { value };
        let verdict = if holds(value, target.comparison, target.target) { Verdict::Pass } else { Verdict::Fail };
        Judgement { measured, verdict, note }
    }
}

/// Whether a value compares with a target as asked.
pub(super) fn holds(value: f64, comparison: Comparison, target: f64) -> bool {
    match comparison {
        Comparison::Less => value < target,
        Comparison::AtMost => value <= target,
        Comparison::AtLeast => value >= target,
        Comparison::Greater => value > target,
        #[expect(clippy::float_cmp, reason = "asked for: counts are whole")]
        Comparison::Equal => value == target,
        Comparison::Within(percent) => (value - target).abs() <= target.abs() * f64::from(percent) / 100.0,
    }
}
