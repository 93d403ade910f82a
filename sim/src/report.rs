//! What a run leaves behind: the results directory of the contract, and what is printed.
//!
//! This is output code, the one place of the simulator that touches files. Nothing here feeds back into a run.

pub mod csv;
pub mod plot;
pub mod summary;
pub mod table;
pub mod words;

#[cfg(test)]
mod fixture;

use std::io;
use std::path::Path;

#[expect(clippy::disallowed_methods, reason = "results are files")]
fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::write(path, content).map_err(|e| at(path, "write", &e))
}

/// The same error, with what could not be done to which path.
fn at(path: &Path, what: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("cannot {what} {}: {e}", path.display()))
}
