//! `list`: what there is to run.

use std::io;
use std::path::{Path, PathBuf};

use super::{Console, USAGE};
use crate::scenario::{Overrides, Scenario};

/// `list`: the scenarios of a directory with what they show.
///
/// # Errors
/// The console cannot be written to.
pub fn list(directory: &Path, console: &mut Console<'_>) -> io::Result<u8> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            writeln!(console.err, "error: cannot list `{}`: {error}", directory.display())?;
            return Ok(USAGE);
        }
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    // The order of a directory is the file system's own.
    files.sort_unstable();
    let mut worst = 0;
    for file in files {
        match Scenario::load(&file, Overrides::default()) {
            Ok(scenario) => writeln!(console.out, "{:<40} {}", file.display(), scenario.shows)?,
            Err(diagnostic) => worst = console.complain(&diagnostic)?,
        }
    }
    Ok(worst)
}
