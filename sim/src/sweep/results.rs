//! The directory of a sweep: the tidy tables `runs`, `kpi` and `checks`, as CSV and as Parquet, merged histograms, and `sweep.json`, which
//! says of what they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ::csv::Writer;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::row::Report;
use super::tally::Tally;
use super::{Plan, Seeds};
use crate::kpi::KPIS;
use crate::outcome::{KpiResult, Verdict};
use crate::report;
use crate::scenario::Scenario;

/// What a sweep's directory holds.
pub const OURS: [&str; 8] =
    [MARKER, "runs.csv", "kpi.csv", "checks.csv", "runs.parquet", "kpi.parquet", "checks.parquet", "histograms"];
/// Its tables.
const TABLES: [&str; 3] = ["runs.csv", "kpi.csv", "checks.csv"];
/// The file by which such a directory is known.
pub const MARKER: &str = "sweep.json";

/// `sweep.json`: of what the tables are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the simulator.
    pub version: String,
    /// Each with a directory of histograms.
    pub cases: Vec<ManifestCase>,
    /// As [`Seeds`] are written.
    pub seeds: String,
    /// As [`super::Shard`] is written; nothing means all.
    pub shard: Option<String>,
    /// Runs of this shard.
    pub planned: u64,
    /// Runs in the tables: fewer where somebody interrupted, or did not want to go on after a failure.
    pub done: u64,
}

/// A case of `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestCase {
    /// The scenario's name.
    pub scenario: String,
    /// Its file, as the command line named it.
    pub file: String,
    /// What was set, as the command line says it.
    pub settings: Vec<String>,
    /// SHA-256 of the resolved scenario, but for its seed: shards of different scenarios cannot be merged.
    pub resolved: String,
    /// Where its histograms are.
    pub histograms: String,
}

impl ManifestCase {
    /// As the tables name the settings.
    #[must_use]
    pub fn setting(&self) -> String {
        self.settings.join(" ")
    }
}

impl Manifest {
    /// Of a plan, before it is run.
    #[must_use]
    pub fn of(plan: &Plan) -> Manifest {
        let mut numbers = BTreeMap::new();
        let cases = plan.cases.iter().map(|case| {
            let number = numbers.entry(case.scenario.name.clone()).and_modify(|number| *number += 1).or_insert(1);
            let resolved = Scenario { seed: 0, ..case.scenario.clone() }.to_toml();
            ManifestCase {
                scenario: case.scenario.name.clone(),
                file: case.file.clone(),
                settings: case.settings.iter().map(ToString::to_string).collect(),
                resolved: Sha256::digest(resolved).iter().map(|byte| format!("{byte:02x}")).collect(),
                histograms: format!("histograms/{}/{number}", case.scenario.name),
            }
        });
        Manifest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cases: cases.collect(),
            seeds: plan.seeds.to_string(),
            shard: plan.shard.map(|shard| shard.to_string()),
            planned: plan.planned_len(),
            done: 0,
        }
    }

    /// The seeds.
    ///
    /// # Errors
    /// Where they are no seeds.
    pub fn seeds(&self) -> Result<Seeds, String> {
        self.seeds.parse()
    }
}

/// Results on their way to disk, and what is said of them in the end.
#[derive(Debug)]
pub struct Results {
    dir: PathBuf,
    runs: Writer<File>,
    kpis: Writer<File>,
    checks: Writer<File>,
    histograms: BTreeMap<(usize, String), Histogram<u64>>,
    /// Of what they are.
    pub manifest: Manifest,
    /// What is said of each case.
    pub tallies: Vec<Tally>,
}

impl Results {
    /// Nothing yet. `dir` is there and empty.
    ///
    /// # Errors
    /// What cannot be created.
    pub fn create(dir: &Path, plan: &Plan) -> io::Result<Results> {
        Results::of(dir, Manifest::of(plan))
    }

    /// As [`Results::create`].
    ///
    /// # Errors
    /// What cannot be created.
    #[expect(clippy::disallowed_methods, reason = "results are files")]
    pub fn of(dir: &Path, manifest: Manifest) -> io::Result<Results> {
        let table = |name: &str| {
            let path = dir.join(name);
            File::create(&path).map(Writer::from_writer).map_err(|e| report::at(&path, "create", &e))
        };
        Ok(Results {
            dir: dir.to_owned(),
            runs: table("runs.csv")?,
            kpis: table("kpi.csv")?,
            checks: table("checks.csv")?,
            histograms: BTreeMap::new(),
            tallies: manifest.cases.iter().map(|_| Tally::default()).collect(),
            manifest: Manifest { done: 0, ..manifest },
        })
    }

    /// Adds a run, the next in the plan's order.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn add(&mut self, case: usize, report: &Report) -> io::Result<()> {
        self.manifest.done += 1;
        self.tallies[case].add(report);
        self.runs.serialize(&report.run)?;
        report.kpis.iter().try_for_each(|row| self.kpis.serialize(row))?;
        report.checks.iter().try_for_each(|row| self.checks.serialize(row))?;
        report.histograms.iter().try_for_each(|(kpi, bytes)| self.add_histogram(case, kpi, bytes))
    }

    /// Adds samples in the V2 format.
    ///
    /// # Errors
    /// Where these are none of our histograms.
    pub fn add_histogram(&mut self, case: usize, kpi: &str, bytes: &[u8]) -> io::Result<()> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("histogram of {kpi}: {why}"));
        let mut deserializer = Deserializer::new();
        let more: Histogram<u64> = deserializer.deserialize(&mut &bytes[..]).map_err(|e| wrong(e.to_string()))?;
        match self.histograms.get_mut(&(case, kpi.to_owned())) {
            Some(histogram) => histogram.add(&more).map_err(|e| wrong(e.to_string()))?,
            None => drop(self.histograms.insert((case, kpi.to_owned()), more)),
        }
        Ok(())
    }

    /// Writes what stands at the end.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.runs.flush()?;
        self.kpis.flush()?;
        self.checks.flush()?;
        TABLES.iter().try_for_each(|table| super::parquet::beside(&self.dir.join(table)))?;
        for ((case, kpi), histogram) in &self.histograms {
            let dir = self.dir.join(&self.manifest.cases[*case].histograms);
            std::fs::create_dir_all(&dir).map_err(|e| report::at(&dir, "create", &e))?;
            let mut bytes = Vec::new();
            V2Serializer::new().serialize(histogram, &mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
            report::put(&dir.join(format!("{kpi}.v2")), &bytes)?;
            let named = merged(kpi, histogram.clone());
            report::put(&dir.join(format!("{kpi}.hgrm")), report::csv::hgrm(&named).as_bytes())?;
        }
        let mut json = serde_json::to_string_pretty(&self.manifest).map_err(io::Error::other)?;
        json.push('\n');
        report::put(&self.dir.join(MARKER), json.as_bytes())
    }

    /// The highest exit code of the runs; at least 1 where not all were done.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let highest = self.tallies.iter().map(|tally| tally.exit).max().unwrap_or_default();
        if self.manifest.done < self.manifest.planned { highest.max(1) } else { highest }
    }
}

/// The samples of many runs as the one who writes tables of them wants them.
fn merged(kpi: &str, histogram: Histogram<u64>) -> KpiResult {
    let spec = KPIS.iter().find(|spec| spec.name == kpi);
    KpiResult {
        name: spec.map_or("", |spec| spec.name),
        unit: spec.map_or("1", |spec| spec.unit),
        one_sample_per: spec.map_or("", |spec| spec.one_sample_per),
        target: None,
        measured: None,
        verdict: Verdict::NotApplicable,
        note: String::new(),
        histogram,
        raw_per_unit: spec.map_or(1.0, |spec| spec.raw_per_unit),
    }
}
