//! With tokens in place of signatures a run is the same run: the same keys and ids, the same sizes, the same course.
#![allow(clippy::disallowed_methods, reason = "tests read files")]

#[path = "support/worlds.rs"]
mod worlds;

use marlos_sim::outcome::{Outcome, Verdict};
use worlds::{failed, run, scenario, scenarios};

/// A cut, a crash that loses its store, a pause, loss, and jobs with payments all the while.
const STORMY: &str = r#"
name = "stormy"
duration = "80s"
warmup = "3s"
settle = "30s"
[nodes]
count = 7
[network]
profile = "wifi"
[workload]
jobs_per_second = 5.0
from = ["n0..n6"]
job = { type = "simulated", duration = { distribution = "uniform", min = "100ms", max = "2s" }, deadline = "20s" }
[[fault]]
at = "6s"
for = "4s"
kind = "partition"
groups = [["n0..n4"], ["n5..n6"]]
[[fault]]
at = "8s"
for = "4s"
kind = "crash"
nodes = ["n2"]
storage = "lost"
[[fault]]
at = "13s"
for = "5s"
kind = "pause"
nodes = ["n3"]
"#;

fn with_tokens(text: &str) -> String {
    text.replacen("duration =", "crypto = \"token\"\nduration =", 1)
}

/// All that a run says of itself but the hash, which covers the signatures.
fn course(outcome: &Outcome) -> String {
    let kpis: Vec<String> = outcome.kpis.iter().map(|kpi| format!("{} {:?}", kpi.name, kpi.measured)).collect();
    let checks: Vec<String> = outcome.checks.iter().map(|check| format!("{} {}", check.name, check.detail)).collect();
    format!(
        "{} events, {} deliveries, {:?}, {:?}, {:?}\n{}\n{}",
        outcome.events,
        outcome.deliveries,
        outcome.jobs,
        outcome.counters,
        outcome.refusals,
        kpis.join("\n"),
        checks.join("\n")
    )
}

#[test]
fn a_stormy_run_takes_the_same_course_with_tokens_and_with_signatures() {
    for seed in [1, 2] {
        let (real, token) = (run(STORMY, seed), run(&with_tokens(STORMY), seed));
        assert!(real.jobs.completed > 200, "{:?}", real.jobs);
        assert_ne!(real.action_hash, token.action_hash, "the bytes of signatures differ");
        assert_eq!(course(&real), course(&token));
    }
}

#[test]
fn the_partition_scenario_passes_with_tokens() {
    let text = std::fs::read_to_string(scenarios().join("partition.toml")).expect("readable");
    let outcome = run(&with_tokens(&text), 42);
    assert_eq!(outcome.verdict, Verdict::Pass, "{:?}", failed(&outcome));
    let written = outcome.scenario.to_toml();
    assert!(written.contains("crypto = \"token\""), "what ran is written down: {written}");
    assert_eq!(scenario(&written, 42), outcome.scenario);
}
