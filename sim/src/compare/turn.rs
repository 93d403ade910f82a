//! Verdicts that turned: what passed and does not any more is a regression by itself, whatever the figures say.
//!
//! Safety and liveness are promises: each seed in which one is newly broken counts. An expectation is what the run proves anything
//! by: it counts where every seed of BASE met it. The target of a KPI is a line that a noisy figure crosses by chance: of equal
//! builds whose figure does so in one seed of forty, every third comparison would be called a regression. It counts where Fisher's
//! exact test does not believe in chance; one seed alone is named, and the figures decide. With too few seeds for that every turn
//! counts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::family::FALSE_ALARMS;
use super::interval::LEAST;
use super::side::{Check, Run};
use crate::outcome::{CheckKind, Verdict};

/// A check or a target whose verdict is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// `S1`, or `consensus p99 < 2`.
    pub what: String,
    /// Of a KPI, nothing.
    pub kind: Option<CheckKind>,
    /// Whether that counts.
    pub regression: bool,
    /// Seeds in which it newly fails, or cannot be told any more.
    pub newly_failing: Vec<u64>,
    /// Seeds in which it newly passes.
    pub newly_passing: Vec<u64>,
    /// Seeds of BASE in which it did not pass either.
    pub failing_before: Vec<u64>,
    /// Seeds in which it passed, and NEW does not look at it.
    pub not_judged: Vec<u64>,
    /// What NEW says in the first seed in which it newly fails.
    pub detail: String,
}

/// One verdict on both sides; nothing where it is not there.
type Pair = (u64, Option<Verdict>, Option<Verdict>, String);

/// Everything that turned: safety first, then liveness, expectations, KPIs.
#[must_use]
pub fn turns(runs: &[(u64, &Run, &Run)]) -> Vec<Turn> {
    let mut all: BTreeMap<(u8, String), (Option<CheckKind>, Vec<Pair>)> = BTreeMap::new();
    for (seed, base, new) in runs {
        for (name, (kind, pair)) in verdicts(*seed, base, new) {
            all.entry((gravity(kind), name)).or_insert((kind, Vec::new())).1.push(pair);
        }
    }
    all.into_iter().filter_map(|((_, what), (kind, pairs))| Turn::of(what, kind, pairs)).collect()
}

impl Turn {
    fn of(what: String, kind: Option<CheckKind>, pairs: Vec<Pair>) -> Option<Turn> {
        let seeds = |is: &dyn Fn(Option<Verdict>, Option<Verdict>) -> bool| {
            pairs.iter().filter(|(_, base, new, _)| is(*base, *new)).map(|(seed, ..)| *seed).collect::<Vec<_>>()
        };
        let newly_failing = seeds(&turned);
        let failing_before = seeds(&|base, _| base.is_some_and(bad));
        let counts = match kind {
            Some(CheckKind::Safety | CheckKind::Liveness) => true,
            Some(CheckKind::Expect) => failing_before.is_empty(),
            None if pairs.len() < LEAST => true,
            None => {
                let failing_now = seeds(&|_, new| new.is_some_and(bad)).len();
                chance(failing_before.len(), failing_now, pairs.len()) <= FALSE_ALARMS
            }
        };
        let turn = Turn {
            regression: counts && !newly_failing.is_empty(),
            newly_passing: seeds(&|base, new| base.is_some_and(bad) && new == Some(Verdict::Pass)),
            not_judged: seeds(&|base, new| {
                base == Some(Verdict::Pass) && matches!(new, None | Some(Verdict::NotApplicable))
            }),
            detail: pairs
                .iter()
                .find(|(_, base, new, _)| turned(*base, *new))
                .map(|(.., detail)| detail.clone())
                .unwrap_or_default(),
            what,
            kind,
            newly_failing,
            failing_before,
        };
        let nothing = turn.newly_failing.is_empty() && turn.newly_passing.is_empty() && turn.not_judged.is_empty();
        (!nothing).then_some(turn)
    }
}

/// Whether NEW is worse: it fails where BASE did not, or what passed is not shown any more.
fn turned(base: Option<Verdict>, new: Option<Verdict>) -> bool {
    match new {
        Some(Verdict::Fail) => base != Some(Verdict::Fail),
        Some(Verdict::Unknown) => base == Some(Verdict::Pass),
        Some(Verdict::Pass | Verdict::NotApplicable) | None => false,
    }
}

fn bad(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Fail | Verdict::Unknown)
}

/// How probably, of all that fail on both sides, so many or more are NEW's, if the sides are equal: Fisher's exact test.
fn chance(base: usize, new: usize, seeds: usize) -> f64 {
    let failing = base + new;
    // ln(a! / b!) for b <= a
    let between = |a: usize, b: usize| (b + 1..=a).map(|k| (k as f64).ln()).sum::<f64>();
    let choose = |n: usize, k: usize| between(n, n - k) - between(k, 0);
    let of = |k: usize| (choose(seeds, k) + choose(seeds, failing - k) - choose(2 * seeds, failing)).exp();
    (new..=failing.min(seeds)).filter(|k| failing - k <= seeds).map(of).sum()
}

fn gravity(kind: Option<CheckKind>) -> u8 {
    match kind {
        Some(CheckKind::Safety) => 0,
        Some(CheckKind::Liveness) => 1,
        Some(CheckKind::Expect) => 2,
        None => 3,
    }
}

/// All verdicts of a pair of runs, by name. A run that an assertion has ended says nothing of the rest.
fn verdicts(seed: u64, base: &Run, new: &Run) -> BTreeMap<String, (Option<CheckKind>, Pair)> {
    let mut all: BTreeMap<String, (Option<CheckKind>, Pair)> = BTreeMap::new();
    let checks = |run: &Run| -> Vec<(String, Option<CheckKind>, Verdict, String)> {
        let check =
            |(name, check): (&String, &Check)| (name.clone(), Some(check.kind), check.verdict, check.detail.clone());
        let kpis = run.kpis.iter().filter(|kpi| kpi.target.is_some()).map(|kpi| {
            let target = kpi.target.unwrap_or_default();
            let measured = kpi.measured.map(|value| format!("{value} {}", kpi.unit)).unwrap_or_default();
            (format!("{} {} {} {target}", kpi.kpi, kpi.statistic, kpi.comparison), None, kpi.verdict, measured)
        });
        run.checks.iter().map(check).chain(kpis).collect()
    };
    let ended = new.kpis.is_empty() && !base.kpis.is_empty();
    for (name, kind, verdict, _) in
        checks(base).into_iter().filter(|(name, ..)| !ended || new.checks.contains_key(name))
    {
        all.insert(name, (kind, (seed, Some(verdict), None, String::new())));
    }
    for (name, kind, verdict, detail) in checks(new) {
        let entry = all.entry(name).or_insert((kind, (seed, None, None, String::new())));
        (entry.1.2, entry.1.3) = (Some(verdict), detail);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fishers_test_counts_the_ways_to_share_out_failures() {
        // 1 of C(20, 6) / C(10, 6) ways, and so on.
        let table =
            [(0, 1, 10, 0.5), (0, 5, 10, 0.016_254), (0, 6, 10, 0.005_418), (1, 6, 10, 0.028_638), (4, 4, 10, 0.675_0)];
        for (base, new, seeds, probability) in table {
            let found = chance(base, new, seeds);
            assert!((found - probability).abs() < 1e-4, "{base} and {new} of {seeds}: {found}");
        }
    }
}
