//! Joins the shards of a sweep: what is written is what one process would have written that had done it all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use ::csv::{DeserializeRecordsIntoIter, Reader};
use serde::de::DeserializeOwned;

use super::results::{MARKER, Manifest, Results};
use super::row::{CheckRow, KpiRow, Report, RunRow};
use super::{RUNS, Shard};
use crate::report;

/// Joins the shards in `dirs` into `dir`, which is there and empty.
///
/// # Errors
/// What cannot be read or written, and what does not belong together.
pub fn merge(dirs: &[PathBuf], dir: &Path) -> io::Result<Results> {
    let mut shards = BTreeMap::new();
    for from in dirs {
        let manifest = manifest(from)?;
        let shard: Shard = match &manifest.shard {
            Some(shard) => shard.parse().map_err(|why| wrong(from, why))?,
            None => Shard::WHOLE,
        };
        if let Some((before, _)) = shards.insert(shard.number, (from, (manifest, shard))) {
            return Err(wrong(from, format!("is shard {shard}, and so is {}", before.display())));
        }
    }
    let Some((first, (whole, shard))) = shards.values().next().cloned() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there are no shards to merge"));
    };
    for (from, (other, part)) in shards.values() {
        let same = Manifest { shard: None, planned: 0, done: 0, ..other.clone() }
            == Manifest { shard: None, planned: 0, done: 0, ..whole.clone() };
        if !same || part.count != shard.count {
            return Err(wrong(from, format!("is no shard of the sweep in {}", first.display())));
        }
    }
    if let Some(missing) = (1..=shard.count).find(|number| !shards.contains_key(number)) {
        return Err(wrong(first, format!("is shard {shard}, and shard {missing}/{} is missing", shard.count)));
    }
    let planned = shards.values().map(|(_, (manifest, _))| manifest.planned).sum();
    let mut results = Results::of(dir, Manifest { shard: None, planned, ..whole })?;
    let mut readers: Vec<Rows> = shards.values().map(|(from, _)| Rows::open(from)).collect::<io::Result<_>>()?;
    join(&mut results, &mut readers)?;
    for from in dirs {
        add_histograms(&mut results, from)?;
    }
    results.finish().map(|()| results)
}

/// Takes the runs from the shards in the order of the plan.
fn join(results: &mut Results, shards: &mut [Rows]) -> io::Result<()> {
    let seeds = results.manifest.seeds().map_err(io::Error::other)?;
    let cases = results.manifest.cases.clone();
    if cases.len() as u64 * seeds.len() > RUNS {
        return Err(io::Error::other(format!("more than {RUNS} runs")));
    }
    let mut turn = (0..shards.len()).cycle();
    for (case, name) in cases.iter().enumerate() {
        let setting = name.setting();
        for seed in seeds.iter() {
            let shard = &mut shards[turn.next().unwrap_or_default()];
            if let Some(report) = shard.take(&name.scenario, &setting, seed)? {
                results.add(case, &report)?;
            }
        }
    }
    shards.iter_mut().try_for_each(Rows::must_be_empty)
}

fn add_histograms(results: &mut Results, from: &Path) -> io::Result<()> {
    for case in 0..results.manifest.cases.len() {
        let dir = from.join(&results.manifest.cases[case].histograms);
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.map_err(|e| report::at(&dir, "read", &e))?.path();
            if path.extension().is_some_and(|extension| extension == "v2") {
                let kpi = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                results.add_histogram(case, &kpi, &read(&path)?).map_err(|e| wrong(from, e.to_string()))?;
            }
        }
    }
    Ok(())
}

fn manifest(from: &Path) -> io::Result<Manifest> {
    let path = from.join(MARKER);
    serde_json::from_slice(&read(&path)?).map_err(|e| wrong(from, format!("has no readable {MARKER}: {e}")))
}

#[expect(clippy::disallowed_methods, reason = "results are files")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| report::at(path, "read", &e))
}

fn wrong(from: &Path, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {why}", from.display()))
}

type Table<T> = Peekable<DeserializeRecordsIntoIter<File, T>>;

/// The tables of a shard, read from their beginnings.
struct Rows {
    from: PathBuf,
    runs: Table<RunRow>,
    kpis: Table<KpiRow>,
    checks: Table<CheckRow>,
}

impl Rows {
    fn open(from: &Path) -> io::Result<Rows> {
        Ok(Rows {
            from: from.to_owned(),
            runs: open(&from.join("runs.csv"))?,
            kpis: open(&from.join("kpi.csv"))?,
            checks: open(&from.join("checks.csv"))?,
        })
    }

    /// The rows of a run, if it is the next here.
    fn take(&mut self, scenario: &str, setting: &str, seed: u64) -> io::Result<Option<Report>> {
        let is = |row: (&str, &str, u64)| row == (scenario, setting, seed);
        let Some(run) = next_if(&mut self.runs, |row| is((&row.scenario, &row.setting, row.seed)))? else {
            return Ok(None);
        };
        let (mut kpis, mut checks) = (Vec::new(), Vec::new());
        while let Some(row) = next_if(&mut self.kpis, |row| is((&row.scenario, &row.setting, row.seed)))? {
            kpis.push(row);
        }
        while let Some(row) = next_if(&mut self.checks, |row| is((&row.scenario, &row.setting, row.seed)))? {
            checks.push(row);
        }
        Ok(Some(Report { run, kpis, checks, histograms: Vec::new() }))
    }

    fn must_be_empty(&mut self) -> io::Result<()> {
        let left = self.runs.peek().is_some() || self.kpis.peek().is_some() || self.checks.peek().is_some();
        if left { Err(wrong(&self.from, "holds rows of runs that are not its own")) } else { Ok(()) }
    }
}

#[expect(clippy::disallowed_methods, reason = "results are files")]
fn open<T: DeserializeOwned>(path: &Path) -> io::Result<Table<T>> {
    let file = File::open(path).map_err(|e| report::at(path, "read", &e))?;
    Ok(Reader::from_reader(file).into_deserialize().peekable())
}

/// The next row, where it is one of those wanted.
fn next_if<T: DeserializeOwned>(table: &mut Table<T>, wanted: impl Fn(&T) -> bool) -> io::Result<Option<T>> {
    // A row that cannot be read is taken, and told of.
    let taken = table.next_if(|row| row.as_ref().map_or(true, &wanted));
    Ok(taken.transpose()?)
}
