//! What is compared: the results below a directory, as `sweep`, `merge` and `run` leave them.
//!
//! Only the columns that are needed are read, by their names: the two sides are often of different versions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ::csv::Reader;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::outcome::{CheckKind, Verdict};
use crate::report;
use crate::sweep::results::{MARKER, Manifest};

/// How far below the named directory results are looked for: `results/NAME/SCENARIO`.
const DEPTH: usize = 2;
/// Directories that are looked into.
const DIRECTORIES: usize = 10_000;
/// The file by which the results of `run` are known.
const SUMMARY: &str = "summary.json";

/// One of the two that are compared.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// By scenario and setting.
    pub cases: BTreeMap<CaseName, Case>,
}

/// Which case. It orders as the tables show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseName {
    /// The scenario's name.
    pub scenario: String,
    /// `network.loss=1% nodes.count=20`, or nothing.
    pub setting: String,
}

/// A scenario with one choice of settings.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Hash of the resolved scenario, where a sweep tells it.
    pub resolved: Option<String>,
    /// By seed.
    pub runs: BTreeMap<u64, Run>,
}

/// What is compared of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Over every action of every node.
    pub action_hash: String,
    /// Jobs with a result.
    pub jobs_completed: u64,
    /// Jobs given up visibly.
    pub jobs_failed: u64,
    /// In the order of the contract's table.
    pub kpis: Vec<Kpi>,
    /// By name.
    pub checks: BTreeMap<String, Check>,
}

/// A row of `kpi.csv`, of a sweep or of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "as in kpi.csv")]
pub struct Kpi {
    #[serde(default)]
    scenario: String,
    #[serde(default)]
    setting: String,
    #[serde(default)]
    seed: u64,
    #[serde(alias = "name")]
    pub kpi: String,
    pub unit: String,
    pub statistic: String,
    pub comparison: String,
    pub target: Option<f64>,
    pub measured: Option<f64>,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    pub verdict: Verdict,
}

impl Kpi {
    /// A row that nothing was measured of.
    #[must_use]
    pub fn unmeasured(kpi: &str, unit: &str, statistic: &str) -> Kpi {
        Kpi {
            scenario: String::new(),
            setting: String::new(),
            seed: 0,
            kpi: kpi.to_owned(),
            unit: unit.to_owned(),
            statistic: statistic.to_owned(),
            comparison: String::new(),
            target: None,
            measured: None,
            mean: None,
            p50: None,
            p90: None,
            p99: None,
            max: None,
            verdict: Verdict::NotApplicable,
        }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What it guards.
    pub kind: CheckKind,
    /// How.
    pub verdict: Verdict,
    /// What it says.
    pub detail: String,
}

impl Side {
    /// All results in `dir`, and in the directories below it.
    ///
    /// # Errors
    /// What cannot be read; where there are none; and where a run is there twice.
    pub fn read(dir: &Path) -> io::Result<Side> {
        let mut side = Side::default();
        for found in results_below(dir)? {
            if found.join(MARKER).is_file() { side.add_sweep(&found)? } else { side.add_run(&found)? }
        }
        if side.cases.is_empty() {
            let why = format!(
                "there are no results in {0}: neither {MARKER} nor {SUMMARY} is there, or in a directory of it; \
                 `marlos-sim sweep FILE.. --seeds 1..10 --out {0}` writes some",
                dir.display()
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        Ok(side)
    }

    fn add_sweep(&mut self, dir: &Path) -> io::Result<()> {
        let manifest: Manifest = json(&dir.join(MARKER))?;
        let mut runs: BTreeMap<(CaseName, u64), Run> = BTreeMap::new();
        let runs_csv = dir.join("runs.csv");
        for row in table::<RunRow>(&runs_csv)? {
            let key = key(&row.scenario, &row.setting, row.seed);
            let RunRow { action_hash, jobs_completed, jobs_failed, .. } = row;
            let run = Run { action_hash, jobs_completed, jobs_failed, ..Run::default() };
            if runs.insert(key, run).is_some() {
                return Err(twice(&runs_csv, &row.scenario, row.seed));
            }
        }
        for mut row in table::<Kpi>(&dir.join("kpi.csv"))? {
            let key = key(&std::mem::take(&mut row.scenario), &std::mem::take(&mut row.setting), row.seed);
            row.seed = 0;
            runs.get_mut(&key).ok_or_else(|| foreign(dir, "kpi.csv", &key))?.kpis.push(row);
        }
        for row in table::<CheckRow>(&dir.join("checks.csv"))? {
            let key = key(&row.scenario, &row.setting, row.seed);
            let CheckRow { check, kind, verdict, detail, .. } = row;
            let run = runs.get_mut(&key).ok_or_else(|| foreign(dir, "checks.csv", &key))?;
            run.checks.insert(check, Check { kind, verdict, detail });
        }
        for ((name, seed), run) in runs {
            let of =
                manifest.cases.iter().find(|case| case.scenario == name.scenario && case.setting() == name.setting);
            self.add(dir, name, of.map(|case| case.resolved.clone()), seed, run)?;
        }
        Ok(())
    }

    fn add_run(&mut self, dir: &Path) -> io::Result<()> {
        let summary: Summary = json(&dir.join(SUMMARY))?;
        let checks = summary.checks.into_iter();
        let run = Run {
            action_hash: summary.action_hash,
            jobs_completed: summary.jobs.completed,
            jobs_failed: summary.jobs.failed,
            // With all their digits, which summary.json rounds away.
            kpis: table(&dir.join("kpi.csv"))?,
            checks: checks.map(|c| (c.name, Check { kind: c.kind, verdict: c.verdict, detail: c.detail })).collect(),
        };
        let name = CaseName { scenario: summary.scenario, setting: String::new() };
        self.add(dir, name, None, summary.seed, run)
    }

    fn add(&mut self, dir: &Path, name: CaseName, resolved: Option<String>, seed: u64, run: Run) -> io::Result<()> {
        let scenario = name.scenario.clone();
        let case = self.cases.entry(name).or_default();
        case.resolved = case.resolved.take().or(resolved);
        match case.runs.insert(seed, run) {
            None => Ok(()),
            Some(_) => Err(twice(dir, &scenario, seed)),
        }
    }
}

#[derive(Deserialize)]
struct RunRow {
    scenario: String,
    setting: String,
    seed: u64,
    jobs_completed: u64,
    jobs_failed: u64,
    action_hash: String,
}

#[derive(Deserialize)]
struct CheckRow {
    scenario: String,
    setting: String,
    seed: u64,
    check: String,
    kind: CheckKind,
    verdict: Verdict,
    detail: String,
}

#[derive(Deserialize)]
struct Summary {
    scenario: String,
    seed: u64,
    action_hash: String,
    checks: Vec<SummaryCheck>,
    jobs: SummaryJobs,
}

#[derive(Deserialize)]
struct SummaryCheck {
    name: String,
    kind: CheckKind,
    verdict: Verdict,
    detail: String,
}

#[derive(Deserialize)]
struct SummaryJobs {
    completed: u64,
    failed: u64,
}

/// `dir` where it holds results itself, else those of its directories that do, in the order of their names.
fn results_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut level, mut seen) = (Vec::new(), vec![dir.to_owned()], 0);
    for _ in 0..=DEPTH {
        let mut below = Vec::new();
        for at in std::mem::take(&mut level) {
            seen += 1;
            if seen > DIRECTORIES {
                return Err(io::Error::other(format!("{} holds more than {DIRECTORIES} directories", dir.display())));
            }
            if at.join(MARKER).is_file() || at.join(SUMMARY).is_file() {
                found.push(at);
                continue;
            }
            for entry in std::fs::read_dir(&at).map_err(|e| report::at(&at, "read", &e))? {
                let path = entry.map_err(|e| report::at(&at, "read", &e))?.path();
                // What begins with a dot is somebody's half-written results.
                let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if path.is_dir() && !hidden {
                    below.push(path);
                }
            }
        }
        below.sort();
        level = below;
    }
    Ok(found)
}

fn key(scenario: &str, setting: &str, seed: u64) -> (CaseName, u64) {
    (CaseName { scenario: scenario.to_owned(), setting: setting.to_owned() }, seed)
}

fn twice(at: &Path, scenario: &str, seed: u64) -> io::Error {
    wrong(at, format!("seed {seed} of {scenario} is there twice: name a directory that holds each run once"))
}

fn foreign(dir: &Path, table: &str, (name, seed): &(CaseName, u64)) -> io::Error {
    wrong(&dir.join(table), format!("holds a row of seed {seed} of {}, which is not in runs.csv", name.scenario))
}

fn wrong(at: &Path, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", at.display()))
}

#[expect(clippy::disallowed_methods, reason = "results are files")]
fn json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let bytes = std::fs::read(path).map_err(|e| report::at(path, "read", &e))?;
    serde_json::from_slice(&bytes).map_err(|e| wrong(path, e))
}

#[expect(clippy::disallowed_methods, reason = "results are files")]
fn table<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let file = File::open(path).map_err(|e| report::at(path, "read", &e))?;
    Reader::from_reader(file).into_deserialize().collect::<Result<_, _>>().map_err(|e| wrong(path, e))
}
