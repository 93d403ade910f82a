//! What is compared: each KPI by the statistic that it is judged by, and by its mean, which a few seeds know far better.
//!
//! Times, bytes and rates are compared as ratios, seed by seed: a seed with twice the load says no more than another. Counts are
//! compared as differences, for most are zero. What is to be near a target is compared by its distance from it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::side::{Kpi, Run};
use crate::kpi::{KPIS, KpiSpec};
use crate::scenario::Comparison;

/// Digits that a histogram keeps: values are known up to a thousandth.
const RESOLUTION: f64 = 1e-3;

/// Counted of whole runs, beside the KPIs: a build that gives jobs up has short times for the others.
const JOBS: [Name; 2] = [("jobs_completed", "1"), ("jobs_failed", "1")];
/// A name and its unit.
type Name = (&'static str, &'static str);

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// As a fraction of BASE.
    Ratio,
    /// In the KPI's unit.
    Difference,
    /// How much further from the target, as a fraction of it.
    Distance,
}

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// More is.
    Higher,
    /// Less is.
    Lower,
}

/// One line of a comparison before anything is said of it: the values of the paired seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// `consensus`.
    pub kpi: String,
    /// `p99`, `mean`, `max` or `count`.
    pub statistic: String,
    /// As in `kpi.csv`.
    pub unit: String,
    /// BASE and NEW of each seed that both have measured.
    pub pairs: Vec<(f64, f64)>,
    /// Seeds in which one side alone has measured it.
    pub unpaired: usize,
    /// How they are compared.
    pub scale: Scale,
    /// Which way is worse: of a distance, more.
    pub worse: Worse,
    /// What it shall be near.
    pub near: Option<f64>,
}

/// The names that a tolerance can be given for.
pub fn names() -> impl Iterator<Item = &'static str> {
    KPIS.iter().map(|spec| spec.name).chain(JOBS.iter().map(|(name, _)| *name))
}

/// Whether it is a count, which is mostly zero.
#[must_use]
pub fn is_count(kpi: &str) -> bool {
    kpi == "jobs_failed" || KpiSpec::named(kpi).is_some_and(|spec| spec.unit == "1")
}

/// All figures of the paired runs, in the order of the contract's table.
#[must_use]
pub fn figures(pairs: &[(&Run, &Run)]) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for name in kpi_names(pairs) {
        let of = |run: &Run| run.kpis.iter().find(|kpi| kpi.kpi == name).cloned();
        let rows: Vec<(Option<Kpi>, Option<Kpi>)> = pairs.iter().map(|(base, new)| (of(base), of(new))).collect();
        let Some(row) = rows.iter().find_map(|(base, new)| new.clone().or(base.clone())) else { continue };
        for statistic in statistics(&row.statistic) {
            let values = rows.iter().map(|(base, new)| {
                let value = |row: &Option<Kpi>| row.as_ref().and_then(|row| value_of(row, statistic));
                (value(base), value(new))
            });
            figures.extend(Figure::of(&row, statistic, values));
        }
    }
    for (name, unit) in JOBS {
        let of = |run: &Run| if name == "jobs_completed" { run.jobs_completed } else { run.jobs_failed } as f64;
        let row = Kpi::unmeasured(name, unit, "count");
        figures.extend(Figure::of(&row, "count", pairs.iter().map(|(base, new)| (Some(of(base)), Some(of(new))))));
    }
    figures
}

impl Figure {
    /// Of its values in each paired seed; nothing where neither side has measured it in any.
    fn of(row: &Kpi, statistic: &str, values: impl Iterator<Item = (Option<f64>, Option<f64>)>) -> Option<Figure> {
        let (mut pairs, mut unpaired) = (Vec::new(), 0);
        for (base, new) in values {
            match (base, new) {
                (Some(base), Some(new)) => pairs.push((base, new)),
                (None, None) => {}
                (Some(_), None) | (None, Some(_)) => unpaired += 1,
            }
        }
        if pairs.is_empty() && unpaired == 0 {
            return None;
        }
        let (worse, near) = aim(row);
        let scale = match near {
            Some(_) => Scale::Distance,
            None if is_count(&row.kpi) || pairs.iter().any(|(base, new)| *base <= 0.0 || *new <= 0.0) => {
                Scale::Difference
            }
            None => Scale::Ratio,
        };
        let (kpi, unit) = (row.kpi.clone(), row.unit.clone());
        Some(Figure { kpi, statistic: statistic.to_owned(), unit, pairs, unpaired, scale, worse, near })
    }

    /// Seeds in which the two are not the same.
    #[must_use]
    pub fn differing(&self) -> usize {
        #[expect(clippy::float_cmp, reason = "the same digits on both sides are the same value")]
        self.pairs.iter().filter(|(base, new)| base != new).count()
    }

    /// The difference of each seed, on a scale on which equal builds scatter evenly to both sides; more is NEW's. Of ratios, the
    /// logarithm.
    #[must_use]
    pub fn differences(&self) -> Vec<f64> {
        let one = |(base, new): &(f64, f64)| match self.scale {
            Scale::Ratio => (new / base).ln(),
            Scale::Difference => new - base,
            Scale::Distance => ((new - self.target()).abs() - (base - self.target()).abs()) / self.target(),
        };
        self.pairs.iter().map(one).collect()
    }

    /// How well a value is known, on that scale.
    #[must_use]
    pub fn resolution(&self) -> f64 {
        match self.scale {
            Scale::Ratio | Scale::Distance => RESOLUTION,
            Scale::Difference if is_count(&self.kpi) => 1.0,
            Scale::Difference => (RESOLUTION * self.size()).max(f64::MIN_POSITIVE),
        }
    }

    /// A tolerance, on that scale.
    #[must_use]
    pub fn bound(&self, tolerance: f64) -> f64 {
        match self.scale {
            Scale::Ratio => tolerance.ln_1p(),
            Scale::Distance => tolerance,
            Scale::Difference if is_count(&self.kpi) => tolerance,
            Scale::Difference => tolerance * self.of_base(),
        }
    }

    /// A value on that scale as it is shown: of ratios, the fraction by which NEW is more.
    #[must_use]
    pub fn shown(&self, difference: f64) -> f64 {
        match self.scale {
            Scale::Ratio => difference.exp_m1(),
            Scale::Difference | Scale::Distance => difference,
        }
    }

    /// BASE over all seeds: of ratios the geometric mean, so that NEW is BASE and the shown change.
    #[must_use]
    pub fn of_base(&self) -> f64 {
        self.mean(|(base, _)| *base)
    }

    /// NEW over all seeds.
    #[must_use]
    pub fn of_new(&self) -> f64 {
        self.mean(|(_, new)| *new)
    }

    fn mean(&self, of: impl Fn(&(f64, f64)) -> f64) -> f64 {
        let n = self.pairs.len().max(1) as f64;
        match self.scale {
            Scale::Ratio => (self.pairs.iter().map(|pair| of(pair).ln()).sum::<f64>() / n).exp(),
            Scale::Difference | Scale::Distance => self.pairs.iter().map(of).sum::<f64>() / n,
        }
    }

    fn size(&self) -> f64 {
        self.pairs.iter().fold(0.0, |most, (base, new)| most.max(base.abs()).max(new.abs()))
    }

    fn target(&self) -> f64 {
        self.near.expect("a distance is one from a target")
    }
}

/// Those of both sides, in the order of NEW.
fn kpi_names(pairs: &[(&Run, &Run)]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let runs = pairs.iter().map(|(_, new)| new).chain(pairs.iter().map(|(base, _)| base));
    for kpi in runs.flat_map(|run| &run.kpis) {
        let next = seen.len();
        seen.entry(kpi.kpi.clone()).or_insert(next);
    }
    let order = |name: &str| KPIS.iter().position(|spec| spec.name == name).unwrap_or(KPIS.len());
    let mut names: Vec<(String, usize)> = seen.into_iter().collect();
    names.sort_by_key(|(name, place)| (order(name), *place));
    names.into_iter().map(|(name, _)| name).collect()
}

/// What is compared of a KPI with this statistic.
fn statistics(judged: &str) -> Vec<&str> {
    match judged {
        "mean" | "count" => vec![judged],
        _ => vec![judged, "mean"],
    }
}

fn value_of(row: &Kpi, statistic: &str) -> Option<f64> {
    // What is judged is known exactly; the rest comes from a histogram.
    if row.statistic == statistic {
        return row.measured;
    }
    match statistic {
        "p50" => row.p50,
        "p90" => row.p90,
        "p99" => row.p99,
        "max" => row.max,
        "mean" => row.mean,
        _ => None,
    }
}

/// Which way is worse, and what it shall be near, by the target that it has: the scenario's, or what is usual.
fn aim(row: &Kpi) -> (Worse, Option<f64>) {
    if row.comparison.starts_with("within") {
        return (Worse::Higher, row.target.filter(|target| *target > 0.0));
    }
    if row.comparison.starts_with('>') || row.kpi == "jobs_completed" {
        return (Worse::Lower, None);
    }
    if !row.comparison.is_empty() {
        return (Worse::Higher, None);
    }
    match KpiSpec::named(&row.kpi).and_then(|spec| spec.target) {
        Some(usual) => match usual.comparison {
            Comparison::AtLeast | Comparison::Greater => (Worse::Lower, None),
            Comparison::Within(_) => (Worse::Higher, Some(usual.target)),
            Comparison::Less | Comparison::AtMost | Comparison::Equal => (Worse::Higher, None),
        },
        None => (Worse::Higher, None),
    }
}
