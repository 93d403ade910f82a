//! Any text as a scenario file: an error that points into it, or a scenario that says the same when it is read again.

use marlos_sim::scenario::{Overrides, Scenario};

/// The matrix of regions that scenarios may name.
const REGIONS: &str = include_str!("../../scenarios/wan-regions.csv");
/// Longer texts are no different, and slower.
const LONGEST: usize = 16 * 1024;

/// Reads `data` as a scenario.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > LONGEST {
        return;
    }
    let scenario = match read(text) {
        Ok(scenario) => scenario,
        Err(diagnostic) => {
            let (line, column) = diagnostic.line_column();
            assert!(line >= 1 && column >= 1, "lines and columns are counted from 1");
            assert!(line <= text.lines().count().max(1) + 1, "line {line} is beyond the text");
            assert!(!diagnostic.message().is_empty() && !diagnostic.render(false).is_empty());
            return;
        }
    };
    // The resolved text of a large network takes longer to write than to think about.
    if scenario.nodes.len() > 64 || scenario.faults.len() > 256 {
        return;
    }
    let resolved = scenario.to_toml();
    match read(&resolved) {
        Ok(again) => assert_eq!(again, scenario, "it says the same again:\n{resolved}"),
        Err(diagnostic) => panic!("a resolved scenario can be read:\n{}", diagnostic.render(false)),
    }
}

fn read(text: &str) -> Result<Scenario, marlos_sim::scenario::Diagnostic> {
    let beside = |file: &str| {
        if file.ends_with(".csv") { Ok(REGIONS.to_owned()) } else { Err(format!("there is no `{file}`")) }
    };
    Scenario::parse(text, "fuzz.toml", Overrides::default(), &beside)
}
