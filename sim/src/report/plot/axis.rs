//! One axis of a chart, with ticks where people expect them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::report::words;

/// Ratio of the largest to the smallest value from which a logarithmic axis shows more than a linear one.
const LOGARITHMIC_FROM: f64 = 10.0;
/// Steps that divide seconds, minutes and hours.
const SECOND_STEPS: [u32; 16] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400];

/// From `low`, left or at the bottom, to `high`.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Linear, with about so many ticks at 1, 2 or 5 times a power of ten.
    pub(super) fn linear(low: f64, high: f64, ticks: u32) -> Axis {
        Axis::linear_labelled(low, high, ticks, words::number)
    }

    /// As [`Axis::linear`], with other words at the ticks.
    pub(super) fn linear_labelled(low: f64, high: f64, ticks: u32, label: impl Fn(f64) -> String) -> Axis {
        assert!(low < high, "an axis from {low} to {high} has no length");
        let step = nice_step((high - low) / f64::from(ticks));
        let (first, last) = ((low / step).ceil(), (high / step).floor());
        let ticks = (0..).map(|i| first + f64::from(i)).take_while(|n| *n <= last).map(|n| n * step);
        Axis { low, high, logarithmic: false, ticks: ticks.map(|at| (at, label(at))).collect() }
    }

    /// Whole numbers from zero: no tick in between.
    pub(super) fn counts(high: f64, ticks: u32) -> Axis {
        let mut axis = Axis::linear(0.0, high.max(1.0), ticks);
        axis.ticks.retain(|(at, _)| at.fract() == 0.0);
        axis
    }

    /// Seconds of simulated time from zero.
    pub(super) fn seconds(end: f64) -> Axis {
        let fits = |step: &&u32| end / f64::from(**step) <= 13.0;
        let step = f64::from(SECOND_STEPS.iter().find(fits).copied().unwrap_or(86_400));
        let ticks = (0..).map(|i| f64::from(i) * step).take_while(|at| *at <= end);
        Axis { low: 0.0, high: end, logarithmic: false, ticks: ticks.map(|at| (at, words::number(at))).collect() }
    }

    /// Logarithmic where the span is large, else linear, from zero where that is near enough.
    pub(super) fn spanning(low: f64, high: f64, ticks: u32) -> Axis {
        if low > 0.0 && high / low > LOGARITHMIC_FROM {
            return Axis::logarithmic(low / 1.25, high * 1.25, ticks);
        }
        let margin = if high > low { ((high - low) * 0.06).max(high * 0.03) } else { (high * 0.25).max(0.5) };
        let low = if low - margin < high * 0.3 { 0.0 } else { low - margin };
        Axis::linear(low, high + margin, ticks)
    }

    fn logarithmic(low: f64, high: f64, ticks: u32) -> Axis {
        assert!(low > 0.0 && low < high, "a logarithmic axis cannot go from {low} to {high}");
        let decades = -12..=15;
        let within = |at: &f64| (low..=high).contains(at);
        let all: Vec<f64> =
            decades.clone().flat_map(|d| [1.0, 2.0, 5.0].map(|m| m * power_of_ten(d))).filter(within).collect();
        let ticks = if all.len() <= ticks as usize { all } else { decades.map(power_of_ten).filter(within).collect() };
        Axis { low, high, logarithmic: true, ticks: ticks.into_iter().map(|at| (at, words::number(at))).collect() }
    }

    /// One row per label, the first at the top, each 1 high; so many labels are shown at most.
    pub(super) fn rows(labels: &[String], shown: usize) -> Axis {
        let middle = |i: usize| i as f64 + 0.5;
        let every = labels.len().div_ceil(shown).max(1);
        let ticks = labels.iter().enumerate().step_by(every).map(|(i, label)| (middle(i), label.clone())).collect();
        Axis { low: middle(labels.len()) - 0.5, high: 0.0, logarithmic: false, ticks }
    }

    /// The ends of equal steps along the axis, as it is drawn: `n + 1` of them.
    pub(super) fn edges(&self, n: u32) -> Vec<f64> {
        let at = |i| f64::from(i) / f64::from(n);
        let edge = |share: f64| match self.logarithmic {
            true => self.low * (self.high / self.low).powf(share),
            false => self.low + (self.high - self.low) * share,
        };
        (0..=n).map(|i| edge(at(i))).collect()
    }

    /// Whether equal ratios are equally far apart.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// The words at a tick.
    pub(super) fn label(&self, at: f64) -> String {
        self.ticks.iter().find(|(tick, _)| *tick == at).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = match self.logarithmic {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        let offset = (share * f64::from(limit.1 - limit.0)).round() as i32;
        limit.0 + offset
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Lines between ticks would only be noise.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.iter().map(|(at, _)| *at).collect() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below this.
fn nice_step(at_least: f64) -> f64 {
    (-12..=15)
        .flat_map(|d| [1.0, 2.0, 5.0].map(|m| m * power_of_ten(d)))
        .find(|step| *step >= at_least * 0.999)
        .unwrap_or(at_least)
}

/// Negative powers by division, so that 5 * 10^-1 is the same number as 0.5.
fn power_of_ten(exponent: i32) -> f64 {
    if exponent < 0 { 1.0 / 10f64.powi(-exponent) } else { 10f64.powi(exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        assert_eq!(labels(&Axis::linear(0.0, 53.0, 6)), "0 10 20 30 40 50");
        assert_eq!(labels(&Axis::linear(2.83, 3.17, 8)), "2.85 2.9 2.95 3 3.05 3.1 3.15");
        assert_eq!(labels(&Axis::counts(3.0, 8)), "0 1 2 3");
        assert_eq!(labels(&Axis::seconds(30.0)), "0 5 10 15 20 25 30");
        assert_eq!(labels(&Axis::seconds(600.0)), "0 60 120 180 240 300 360 420 480 540 600");
        assert_eq!(labels(&Axis::spanning(1.0, 60.0, 12)), "1 2 5 10 20 50");
        assert_eq!(labels(&Axis::spanning(0.003, 4_000.0, 12)), "0.01 0.1 1 10 100 1,000");
    }

    #[test]
    fn one_value_alone_still_gives_an_axis_around_it() {
        for value in [0.0, 0.001, 4.2, 1e9] {
            let axis = Axis::spanning(value, value, 10);
            assert!(axis.low <= value && value < axis.high, "{value}");
        }
    }

    #[test]
    fn the_first_row_is_at_the_top() {
        let names: Vec<String> = (0..100).map(|i| format!("n{i}")).collect();
        let axis = Axis::rows(&names, 20);
        assert!(labels(&axis).starts_with("n0 n5 n10"));
        // Pixels of a vertical axis count from the bottom end to the top end.
        assert_eq!(axis.map(&0.0, (600, 100)), 100);
        assert_eq!(axis.map(&100.0, (600, 100)), 600);
    }
}
