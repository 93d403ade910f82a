//! `check`: whether scenarios are valid.

use std::io;
use std::path::PathBuf;

use marlos::time::Span;

use super::Console;
use crate::fault::last_fault_end;
use crate::scenario::{Overrides, Scenario};

/// `check FILE..`: one line for each valid file, what is wrong with each other.
///
/// # Errors
/// The console cannot be written to.
pub fn check(files: &[PathBuf], console: &mut Console<'_>) -> io::Result<u8> {
    let mut worst = 0;
    for file in files {
        match Scenario::load(file, Overrides::default()) {
            Ok(scenario) => writeln!(console.out, "{}: {}", file.display(), summary(&scenario))?,
            Err(diagnostic) => worst = console.complain(&diagnostic)?,
        }
    }
    Ok(worst)
}

fn summary(scenario: &Scenario) -> String {
    let faults = match last_fault_end(scenario) {
        Some(last) => format!("faults: {}, the last ends at {}", scenario.faults.len(), Span(last.0)),
        None => "faults: none".to_owned(),
    };
    let duration = Span(scenario.duration.0);
    format!("valid: {} nodes, {duration}, {}, {faults}", scenario.nodes.len(), scenario.network.profile)
}
