//! What is kept of one run: rows of tidy tables, and its histograms.

use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::many::Panicked;
use crate::outcome::{CheckKind, Outcome, Verdict};
use crate::report::summary::{Stats, judged_statistic};
use crate::report::words;

/// A row of `runs.csv`. The first three fields name the run, here and in the other tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in summary.json")]
pub struct RunRow {
    pub scenario: String,
    /// Empty, or `network.loss=1% nodes.count=20`.
    pub setting: String,
    pub seed: u64,
    /// As `run` would end.
    pub exit: u8,
    pub verdict: Verdict,
    pub events: u64,
    pub deliveries: u64,
    pub jobs_submitted: u64,
    pub jobs_completed: u64,
    pub jobs_failed: u64,
    pub jobs_lost: u64,
    pub duplicate_executions: u64,
    pub action_hash: String,
    /// What an assertion said that ended the run, and where; else empty.
    pub panic: String,
}

/// A row of `kpi.csv`, figures in its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in summary.json")]
pub struct KpiRow {
    pub scenario: String,
    pub setting: String,
    pub seed: u64,
    pub kpi: String,
    pub unit: String,
    pub statistic: String,
    pub comparison: String,
    pub target: Option<f64>,
    pub measured: Option<f64>,
    pub samples: u64,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    pub verdict: Verdict,
}

/// A row of `checks.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in summary.json")]
pub struct CheckRow {
    pub scenario: String,
    pub setting: String,
    pub seed: u64,
    pub check: String,
    pub kind: CheckKind,
    pub verdict: Verdict,
    pub detail: String,
}

/// All of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Itself.
    pub run: RunRow,
    /// Its KPIs, in the order of the contract's table.
    pub kpis: Vec<KpiRow>,
    /// Its checks.
    pub checks: Vec<CheckRow>,
    /// The samples of each KPI that has some, in HdrHistogram's V2 format: a tenth of what they take in memory.
    pub histograms: Vec<(String, Vec<u8>)>,
}

impl Report {
    /// Of a run that came to its end.
    ///
    /// # Panics
    /// Never: a histogram can always be written to memory.
    #[must_use]
    pub fn of(outcome: &Outcome, setting: &str) -> Report {
        let (scenario, seed) = (&outcome.scenario.name, outcome.scenario.seed);
        let run = RunRow {
            exit: outcome.exit_code(),
            verdict: outcome.verdict,
            events: outcome.events,
            deliveries: outcome.deliveries,
            jobs_submitted: outcome.jobs.submitted,
            jobs_completed: outcome.jobs.completed,
            jobs_failed: outcome.jobs.failed,
            jobs_lost: outcome.jobs.lost,
            duplicate_executions: outcome.jobs.duplicate_executions,
            action_hash: outcome.action_hash.clone(),
            ..RunRow::new(scenario, setting, seed)
        };
        let kpis = outcome.kpis.iter().map(|kpi| {
            let stats = Stats::of(kpi);
            let stat = |pick: fn(&Stats) -> f64| stats.as_ref().map(pick);
            KpiRow {
                scenario: scenario.clone(),
                setting: setting.to_owned(),
                seed,
                kpi: kpi.name.to_owned(),
                unit: kpi.unit.to_owned(),
                statistic: judged_statistic(kpi).to_owned(),
                comparison: kpi.target.map(|target| words::comparison(target.comparison)).unwrap_or_default(),
                target: kpi.target.map(|target| target.target),
                measured: kpi.measured,
                samples: kpi.histogram.len(),
                mean: stat(|s| s.mean),
                p50: stat(|s| s.p50),
                p90: stat(|s| s.p90),
                p99: stat(|s| s.p99),
                max: stat(|s| s.max),
                verdict: kpi.verdict,
            }
        });
        let checks = outcome.checks.iter().map(|check| CheckRow {
            scenario: scenario.clone(),
            setting: setting.to_owned(),
            seed,
            check: check.name.clone(),
            kind: check.kind,
            verdict: check.verdict,
            detail: check.detail.clone(),
        });
        let sampled = outcome.kpis.iter().filter(|kpi| !kpi.histogram.is_empty());
        let histograms = sampled.map(|kpi| {
            let mut bytes = Vec::new();
            V2Serializer::new().serialize(&kpi.histogram, &mut bytes).expect("memory takes everything");
            (kpi.name.to_owned(), bytes)
        });
        Report { run, kpis: kpis.collect(), checks: checks.collect(), histograms: histograms.collect() }
    }

    /// Of a run that an assertion has ended: that is a safety check, too.
    #[must_use]
    pub fn of_panic(scenario: &str, setting: &str, seed: u64, panicked: &Panicked) -> Report {
        let panic = format!("{} at {}", panicked.message, panicked.place);
        let check = CheckRow {
            scenario: scenario.to_owned(),
            setting: setting.to_owned(),
            seed,
            check: "assertion".to_owned(),
            kind: CheckKind::Safety,
            verdict: Verdict::Fail,
            detail: panic.clone(),
        };
        let run = RunRow { exit: 3, verdict: Verdict::Fail, panic, ..RunRow::new(scenario, setting, seed) };
        Report { run, kpis: Vec::new(), checks: vec![check], histograms: Vec::new() }
    }

    /// Why it did not pass, in a line: the gravest first.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let failed = |kind| self.checks.iter().find(|check| check.kind == kind && check.verdict == Verdict::Fail);
        let grave = failed(CheckKind::Safety).or_else(|| failed(CheckKind::Liveness));
        if let Some(check) = grave {
            return Some(format!("{}: {}", check.check, check.detail.lines().next().unwrap_or_default()));
        }
        let kpi = |verdict| self.kpis.iter().find(|kpi| kpi.verdict == verdict);
        if let Some(kpi) = kpi(Verdict::Fail) {
            let measured = kpi.measured.map_or_else(|| "-".to_owned(), |value| words::quantity(value, &kpi.unit));
            return Some(format!("{} {} is {measured}", kpi.kpi, kpi.statistic));
        }
        if let Some(check) = failed(CheckKind::Expect) {
            return Some(format!("{}: {}", check.check, check.detail));
        }
        let unclear = self.checks.iter().find(|check| check.verdict == Verdict::Unknown).map(|check| &check.check);
        let unclear = unclear.or_else(|| kpi(Verdict::Unknown).map(|kpi| &kpi.kpi));
        unclear.map(|name| format!("{name} is UNKNOWN"))
    }
}

impl RunRow {
    fn new(scenario: &str, setting: &str, seed: u64) -> RunRow {
        RunRow {
            scenario: scenario.to_owned(),
            setting: setting.to_owned(),
            seed,
            exit: 0,
            verdict: Verdict::Unknown,
            events: 0,
            deliveries: 0,
            jobs_submitted: 0,
            jobs_completed: 0,
            jobs_failed: 0,
            jobs_lost: 0,
            duplicate_executions: 0,
            action_hash: String::new(),
            panic: String::new(),
        }
    }
}
