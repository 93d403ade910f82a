//! What is said of all figures together.
//!
//! Each figure by itself would cry wolf in one comparison of a hundred, and fifty of them in every other. So a figure is called
//! better or worse by Holm's procedure: with k figures undecided, its interval must lie beyond the tolerance while missing with
//! probability [`FALSE_ALARMS`] / k; then k falls by one. A figure that is equal in every seed could not be called anything, and does
//! not count (Tarone 1990: what cannot be significant takes no part).

use std::collections::BTreeMap;

use serde::Serialize;

use super::figure::{Figure, Scale, Worse};
use super::interval::{Interval, LEAST, Resamples, Spread};
use super::tolerance::Tolerances;

/// How often a comparison of equal builds may call any figure of any case better or worse.
pub const FALSE_ALARMS: f64 = 0.01;

/// Resamples for each that the smallest share of them stands for: the edge of the interval is an order statistic of so many.
const BEYOND: f64 = 10.0;
/// Draws for one interval at most. Where that is not enough, with thousands of figures or seeds, the farthest resample is the edge
/// of the interval, or Student's law.
const DRAWS: usize = 1_000_000;

/// What is said of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// By more than the tolerance, for certain.
    Worse,
    /// By more than the tolerance, for certain.
    Better,
    /// The interval crosses an edge of the tolerance, or there are too few seeds.
    #[serde(rename = "cannot tell")]
    CannotTell,
    /// No more than the tolerance either way, for certain.
    Same,
    /// The same value in every seed.
    Identical,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `consensus`.
    pub kpi: String,
    /// `p99`, `mean`, `max` or `count`.
    pub statistic: String,
    /// Of BASE and NEW.
    pub unit: String,
    /// Over the paired seeds; nothing where no seed was measured on both sides.
    pub base: Option<f64>,
    /// As BASE.
    pub new: Option<f64>,
    /// Seeds that both sides measured.
    pub seeds: usize,
    /// Those of them in which the two differ.
    pub differing: usize,
    /// Seeds that one side alone measured.
    pub unpaired: usize,
    /// What change, interval and tolerance are in.
    pub scale: Scale,
    /// NEW's mean difference.
    pub change: Option<f64>,
    /// Where the true one is.
    pub interval: Option<Interval>,
    /// What was tolerated.
    pub tolerance: f64,
    /// What is said.
    pub says: Says,
}

impl Says {
    /// As tables say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Says::Worse => "WORSE",
            Says::Better => "better",
            Says::CannotTell => "cannot tell",
            Says::Same => "same",
            Says::Identical => "identical",
        }
    }
}

/// Says of every figure of every case what can be said of all at once.
#[must_use]
pub fn judge(cases: Vec<Vec<Figure>>, tolerances: &Tolerances) -> Vec<Vec<Row>> {
    let lengths: Vec<usize> = cases.iter().map(Vec::len).collect();
    let figures: Vec<Figure> = cases.into_iter().flatten().collect();
    let in_doubt = figures.iter().filter(|figure| is_in_doubt(figure)).count();
    // Figures of as many seeds share theirs.
    let mut drawn: BTreeMap<usize, Resamples> = BTreeMap::new();
    let mut spread_of = |figure: &Figure| {
        let count = figure.pairs.len();
        let resamples = ((BEYOND * in_doubt as f64 / FALSE_ALARMS) as usize).min(DRAWS / count).max(1);
        let resamples = drawn.entry(count).or_insert_with(|| Resamples::of(count, resamples));
        Spread::of(&figure.differences(), figure.resolution(), resamples)
    };
    let mut judged: Vec<Judged> = figures
        .into_iter()
        .map(|figure| {
            let spread = is_in_doubt(&figure).then(|| spread_of(&figure));
            Judged::of(figure, spread, tolerances)
        })
        .collect();
    holm(&mut judged, in_doubt);
    let mut rows = judged.into_iter().map(Judged::into_row);
    lengths.into_iter().map(|length| rows.by_ref().take(length).collect()).collect()
}

/// Whether anything can be said of it that is not plain.
fn is_in_doubt(figure: &Figure) -> bool {
    figure.differing() > 0 && figure.pairs.len() >= LEAST
}

/// A figure on its way to a row.
struct Judged {
    figure: Figure,
    tolerance: f64,
    /// Where it is in doubt.
    spread: Option<Spread>,
    interval: Option<Interval>,
    says: Says,
}

/// Decides figure after figure, each that is decided leaving more room to the others.
fn holm(judged: &mut [Judged], in_doubt: usize) {
    let mut undecided = in_doubt;
    while undecided > 0 {
        let missing = FALSE_ALARMS / undecided as f64;
        let mut decided = 0;
        for one in judged.iter_mut().filter(|one| !one.is_decided()) {
            one.look(missing);
            decided += usize::from(one.is_decided());
        }
        if decided == 0 {
            return;
        }
        undecided -= decided;
    }
}

impl Judged {
    fn of(figure: Figure, spread: Option<Spread>, tolerances: &Tolerances) -> Judged {
        let tolerance = tolerances.get(&figure.kpi);
        let equal = figure.differing() == 0 && figure.unpaired == 0;
        let says = if equal { Says::Identical } else { Says::CannotTell };
        Judged { figure, tolerance, spread, interval: None, says }
    }

    fn is_decided(&self) -> bool {
        matches!(self.says, Says::Worse | Says::Better)
    }

    /// Looks at the interval that misses with this probability.
    fn look(&mut self, missing: f64) {
        let Some(spread) = &self.spread else { return };
        let bound = self.figure.bound(self.tolerance);
        let interval = spread.interval(missing);
        self.interval = Some(interval);
        let (more, less) = match self.figure.worse {
            Worse::Higher => (Says::Worse, Says::Better),
            Worse::Lower => (Says::Better, Says::Worse),
        };
        self.says = if interval.low > bound {
            more
        } else if interval.high < -bound {
            less
        } else if interval.low >= -bound && interval.high <= bound {
            Says::Same
        } else {
            Says::CannotTell
        };
    }

    fn into_row(self) -> Row {
        let Judged { figure, tolerance, spread, interval, says } = self;
        let measured = !figure.pairs.is_empty();
        let differences = figure.differences();
        let mean = differences.iter().sum::<f64>() / differences.len().max(1) as f64;
        let mean = spread.map_or(mean, |spread| spread.mean);
        Row {
            base: measured.then(|| figure.of_base()),
            new: measured.then(|| figure.of_new()),
            seeds: figure.pairs.len(),
            differing: figure.differing(),
            unpaired: figure.unpaired,
            scale: figure.scale,
            change: measured.then(|| figure.shown(mean)),
            interval: interval.map(|i| Interval { low: figure.shown(i.low), high: figure.shown(i.high) }),
            tolerance,
            says,
            kpi: figure.kpi,
            statistic: figure.statistic,
            unit: figure.unit,
        }
    }
}
