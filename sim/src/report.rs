//! What a run leaves behind: the results directory of the contract, and what is printed.
//!
//! This is output code, the one place of the simulator that touches files. Nothing here feeds back into a run.

pub mod csv;
pub mod html;
pub mod plot;
pub mod scope;
pub mod summary;
pub mod table;
pub mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crate::outcome::Outcome;

/// What a results directory holds, as `write` and later commands leave it there. `trace` is followed by its format.
const OURS: [&str; 9] = [
    "summary.json",
    "metrics.json",
    "run.json",
    "scenario.toml",
    "kpi.csv",
    "timeline.csv",
    "histograms",
    "plots",
    "report.html",
];

/// Writes `dir` with everything that a run found. `resolved_toml` is the scenario as a runnable file.
///
/// All is written beside `dir` first and renamed at the end: there is never half of it. Results of an earlier run in
/// `dir` are replaced.
///
/// # Errors
/// Where a file cannot be written, with its name. Where `dir` holds anything but results: it is left as it is.
pub fn write(outcome: &Outcome, resolved_toml: &str, dir: &Path) -> io::Result<()> {
    replace(dir, "summary.json", &OURS, |partial| fill(outcome, resolved_toml, partial))
}

/// Puts what `fill` writes into an empty directory in the place of `dir`, which may hold `ours` with `marker` among them, and
/// nothing else.
///
/// # Errors
/// As [`write`], and those of `fill`.
pub(crate) fn replace<T>(
    dir: &Path,
    marker: &str,
    ours: &[&str],
    fill: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    // Through a link the directory behind it is meant; its siblings are on the same file system.
    let dir = if dir.exists() { dir.canonicalize().map_err(|e| at(dir, "read", &e))? } else { dir.to_owned() };
    refuse_foreign(&dir, marker, ours)?;
    let partial = sibling(&dir, "partial")?;
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(|e| at(parent, "create", &e))?;
    }
    let created = std::fs::create_dir(&partial).map_err(|e| at(&partial, "create", &e));
    let filled = created.and_then(|()| fill(&partial));
    let written = filled.and_then(|filled| swap(&partial, &dir).map(|()| filled));
    if written.is_err() {
        // The first error is the one to tell; what is left of the attempt only takes up room.
        let _ = std::fs::remove_dir_all(&partial);
    }
    written
}

/// Writes all files into an empty directory.
fn fill(outcome: &Outcome, resolved_toml: &str, dir: &Path) -> io::Result<()> {
    for new in [dir.join("histograms"), dir.join("plots")] {
        std::fs::create_dir(&new).map_err(|e| at(&new, "create", &e))?;
    }
    put(&dir.join("summary.json"), summary::json(outcome).as_bytes())?;
    put(&dir.join("metrics.json"), summary::metrics_json(outcome).as_bytes())?;
    put(&dir.join("run.json"), summary::run_json(outcome).as_bytes())?;
    put(&dir.join("scenario.toml"), resolved_toml.as_bytes())?;
    let page = html::page(outcome, resolved_toml).map_err(io::Error::other)?;
    put(&dir.join("report.html"), page.as_bytes())?;
    put(&dir.join("kpi.csv"), &csv::kpis(outcome)?)?;
    put(&dir.join("timeline.csv"), &csv::timeline(outcome)?)?;
    for kpi in &outcome.kpis {
        let histograms = dir.join("histograms");
        put(&histograms.join(format!("{}.csv", kpi.name)), &csv::histogram(kpi)?)?;
        put(&histograms.join(format!("{}.hgrm", kpi.name)), csv::hgrm(kpi).as_bytes())?;
    }
    plot::write_all(outcome, &dir.join("plots"))
}

/// Puts the finished directory into place. The old one is moved away and only then removed.
fn swap(partial: &Path, dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return std::fs::rename(partial, dir).map_err(|e| at(dir, "create", &e));
    }
    let old = sibling(dir, "old")?;
    std::fs::rename(dir, &old).map_err(|e| at(dir, "replace", &e))?;
    if let Err(e) = std::fs::rename(partial, dir) {
        std::fs::rename(&old, dir).map_err(|e| at(&old, "put back", &e))?;
        return Err(at(dir, "create", &e));
    }
    std::fs::remove_dir_all(&old).map_err(|e| at(&old, "remove", &e))
}

/// Only an empty directory or one that holds results and nothing else may be replaced.
fn refuse_foreign(dir: &Path, marker: &str, ours: &[&str]) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let refuse = |why: String| {
        let text = format!("{} {why}: name another directory with --out, or remove it yourself", dir.display());
        Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
    };
    if !dir.is_dir() {
        return refuse("is not a directory".to_owned());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| at(dir, "read", &e))? {
        names.push(entry.map_err(|e| at(dir, "read", &e))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    if !names.iter().any(|n| n == marker) {
        return refuse(format!("does not hold such results, for there is no {marker} beside {}", names[0]));
    }
    match names.iter().find(|n| !ours.contains(&n.as_str()) && !n.starts_with("trace.")) {
        Some(foreign) => refuse(format!("holds {foreign}, which is no part of a run's results")),
        None => Ok(()),
    }
}

/// `.<name>.<what>-<process>` beside a directory: on the same file system, so that a rename is one step.
pub(crate) fn sibling(dir: &Path, what: &str) -> io::Result<PathBuf> {
    let Some(name) = dir.file_name() else {
        let text = format!("{} is no name for a results directory", dir.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    Ok(dir.with_file_name(format!(".{}.{what}-{}", name.to_string_lossy(), std::process::id())))
}

/// Writes one file, and the directories above it. An older one of that name is replaced.
///
/// # Errors
/// What could not be done, with the path.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    write_bytes(path, text.as_bytes())
}

/// As [`write_file`], of what is no text.
///
/// # Errors
/// What could not be done, with the path.
pub fn write_bytes(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| at(directory, "create", &e))?;
    }
    put(path, content)
}

/// Writes a file.
#[expect(clippy::disallowed_methods, reason = "results are files")]
pub(crate) fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::write(path, content).map_err(|e| at(path, "write", &e))
}

/// The same error, with what could not be done to which path.
pub(crate) fn at(path: &Path, what: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("cannot {what} {}: {e}", path.display()))
}
