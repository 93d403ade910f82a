//! `check`: whether scenarios are valid.

use std::io;
use std::path::PathBuf;

use marlos::time::Span;

use super::Console;
use crate::fault::last_fault_end;
use crate::network::topology;
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
    let topology = topology::describe(scenario).map(|line| format!("; {line}")).unwrap_or_default();
    let regions = scenario.network.regions.as_ref().map(|regions| format!("; {}", regions.describe()));
    let (nodes, profile) = (scenario.nodes.len(), &scenario.network.profile);
    format!("valid: {nodes} nodes, {duration}, {profile}, {faults}{topology}{}", regions.unwrap_or_default())
}
