//! What is said of all runs of a case, counted as they come.

use std::collections::BTreeMap;

use super::row::{KpiRow, Report};
use crate::outcome::{CheckKind, Verdict};

/// Runs that are named for what they did.
pub const NAMED: usize = 5;

/// Of one case.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many.
    pub runs: u64,
    /// How many ended with 0.
    pub passed: u64,
    /// The highest exit code.
    pub exit: u8,
    /// Jobs of all runs.
    pub submitted: u64,
    /// Jobs with a result.
    pub completed: u64,
    /// Jobs lost.
    pub lost: u64,
    /// In the order in which they were first seen, which is the contract's.
    pub kpis: Vec<KpiTally>,
    /// Safety and liveness checks that were violated: how often, and the first seeds.
    pub violated: BTreeMap<String, Named>,
    /// The gravest failures, those first.
    pub worst: Vec<Failure>,
}

/// How often, and some of the seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Runs.
    pub count: u64,
    /// The first [`NAMED`] of their seeds.
    pub seeds: Vec<u64>,
}

/// A run that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub exit: u8,
    /// In a line.
    pub why: String,
}

/// One KPI over all runs of a case.
#[derive(Clone, Debug)]
pub struct KpiTally {
    /// What it is, of any of the runs.
    pub of: KpiRow,
    /// What each run measured that measured something, and its seed.
    pub values: Vec<(f64, u64)>,
    /// Runs that were judged.
    pub judged: u64,
    /// Runs that passed.
    pub passed: u64,
}

impl Tally {
    /// Counts a run.
    pub fn add(&mut self, report: &Report) {
        let run = &report.run;
        self.runs += 1;
        self.passed += u64::from(run.exit == 0);
        self.exit = self.exit.max(run.exit);
        self.submitted += run.jobs_submitted;
        self.completed += run.jobs_completed;
        self.lost += run.jobs_lost;
        report.kpis.iter().for_each(|row| self.add_kpi(row));
        let grave = |kind| matches!(kind, CheckKind::Safety | CheckKind::Liveness);
        for check in report.checks.iter().filter(|check| grave(check.kind) && check.verdict == Verdict::Fail) {
            let named = self.violated.entry(check.check.clone()).or_default();
            named.count += 1;
            if named.seeds.len() < NAMED {
                named.seeds.push(run.seed);
            }
        }
        if run.exit != 0 {
            self.worst.push(Failure { seed: run.seed, exit: run.exit, why: report.why().unwrap_or_default() });
            // Stable: of equally grave ones the first.
            self.worst.sort_by_key(|failure| gravity(failure.exit));
            self.worst.truncate(NAMED);
        }
    }

    fn add_kpi(&mut self, row: &KpiRow) {
        let at = self.kpis.iter().position(|kpi| kpi.of.kpi == row.kpi).unwrap_or_else(|| {
            self.kpis.push(KpiTally { of: row.clone(), values: Vec::new(), judged: 0, passed: 0 });
            self.kpis.len() - 1
        });
        let kpi = &mut self.kpis[at];
        kpi.values.extend(row.measured.map(|value| (value, row.seed)));
        kpi.judged += u64::from(row.verdict != Verdict::NotApplicable);
        kpi.passed += u64::from(row.verdict == Verdict::Pass);
    }
}

/// Safety before liveness before anything else.
fn gravity(exit: u8) -> u8 {
    match exit {
        3 => 0,
        4 => 1,
        _ => 2,
    }
}

impl KpiTally {
    /// The middle one of the measured values: of two, the lower.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let mut values: Vec<f64> = self.values.iter().map(|(value, _)| *value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len().saturating_sub(1) / 2).copied()
    }

    /// The value that is furthest to the wrong side of the target, and its seed; of equal ones the first. Without a target, the
    /// highest.
    #[must_use]
    pub fn worst(&self) -> Option<(f64, u64)> {
        let target = self.of.target.unwrap_or_default();
        let badness = |value: f64| match self.of.comparison.as_str() {
            ">=" | ">" => -value,
            "" | "<" | "<=" => value,
            // `==`, `within 5%`
            _ => (value - target).abs(),
        };
        self.values
            .iter()
            .copied()
            .reduce(|worst, other| if badness(other.0) > badness(worst.0) { other } else { worst })
    }
}
