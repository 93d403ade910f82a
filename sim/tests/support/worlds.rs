//! What tests of whole runs share.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use marlos::time::{Span, Time};
use marlos_sim::observe::Observation;
use marlos_sim::outcome::{Outcome, Verdict};
use marlos_sim::scenario::{Overrides, Scenario};
use marlos_sim::world::{self, Unwatched, Watcher};

/// Reads a scenario that a test spells out.
pub fn scenario(text: &str, seed: u64) -> Scenario {
    let beside = |file: &str| Err(format!("{file} is not there"));
    match Scenario::parse(text, "test.toml", Overrides { seed: Some(seed) }, &beside) {
        Ok(scenario) => scenario,
        Err(diagnostic) => panic!("{}", diagnostic.render(false)),
    }
}

/// Runs a scenario to its end.
pub fn run(text: &str, seed: u64) -> Outcome {
    world::run(scenario(text, seed), None, &mut Unwatched)
}

/// Runs a scenario to its end, keeping what `keep` makes of its observations, each with its time.
pub fn watched<T>(
    text: &str,
    seed: u64,
    keep: impl Fn(Time, &Observation<'_>) -> Option<T>,
) -> (Outcome, Vec<(Time, T)>) {
    struct Keeper<T, F>(F, Vec<(Time, T)>);
    impl<T, F: Fn(Time, &Observation<'_>) -> Option<T>> Watcher for Keeper<T, F> {
        fn at(&mut self, _: Time, _: u64) -> bool {
            true
        }
        fn change(&mut self, now: Time, o: &Observation<'_>) {
            self.1.extend((self.0)(now, o).map(|kept| (now, kept)));
        }
        fn wants_changes(&self) -> bool {
            true
        }
    }
    let mut keeper = Keeper(keep, Vec::new());
    let outcome = world::run(scenario(text, seed), None, &mut keeper);
    (outcome, keeper.1)
}

/// The names of the checks of a run that did not pass, with what they say.
pub fn failed(outcome: &Outcome) -> Vec<(String, String)> {
    let failed = outcome.checks.iter().filter(|check| matches!(check.verdict, Verdict::Fail | Verdict::Unknown));
    let checks = failed.map(|check| (check.name.clone(), check.detail.clone()));
    let failed = outcome.kpis.iter().filter(|kpi| matches!(kpi.verdict, Verdict::Fail | Verdict::Unknown));
    checks.chain(failed.map(|kpi| (kpi.name.to_string(), format!("{:?} {}", kpi.measured, kpi.note)))).collect()
}

/// A moment of simulated time.
pub fn at(seconds: u64) -> Time {
    Time(0) + Span::secs(seconds)
}

/// The scenarios of the repository.
pub fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// Runs the binary in `directory`.
pub fn marlos_sim(directory: &Path, arguments: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_marlos-sim");
    Command::new(binary).args(arguments).current_dir(directory).output().expect("the binary runs")
}

/// The same, with its arguments in one line.
pub fn call(directory: &Path, command: &str) -> Output {
    marlos_sim(directory, &command.split(' ').collect::<Vec<_>>())
}

/// What it printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
