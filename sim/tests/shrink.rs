//! What shrinking leaves of a scenario that is wrong: what makes it wrong, and nothing else.

#[path = "support/worlds.rs"]
mod worlds;

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

use marlos_sim::finding::Wrong;
use marlos_sim::scenario::{FaultKind, Scenario};
use marlos_sim::shrink::{self, Bench, Wronged};

/// A submitter that never notices a deadline, and a cut that makes its jobs reach theirs. Eleven more faults have nothing to do
/// with it.
const TWELVE_FAULTS: &str = r#"
name = "twelve-faults"
duration = "40s"
warmup = "4s"
settle = "12s"
[nodes]
count = 5
config = { plant = "deadline-ignored", heartbeat_interval = "2s", listed_bids = 3 }
[network]
profile = "lan"
loss = "1%"
[workload]
jobs_per_second = 3.0
from = ["n0..n1"]
end = "15s"
job = { type = "simulated", duration = { distribution = "uniform", min = "100ms", max = "300ms" }, deadline = "5s" }
[[fault]]
at = "6s"
for = "20s"
kind = "partition"
groups = [["n0..n1"], ["n2..n4"]]
[[fault]]
at = "5s"
for = "1s"
every = "2s"
times = 5
kind = "link"
between = [["n2"], ["n3..n4"]]
latency = "20ms"
[[fault]]
at = "7s"
for = "500ms"
every = "3s"
times = 4
kind = "pause"
nodes = ["n4"]
[[fault]]
at = "12s"
for = "2s"
kind = "crash"
nodes = ["n3"]
[[fault]]
at = "20s"
for = "2s"
kind = "one_way"
from = ["n2"]
to = ["n3", "n4"]
"#;

fn shrunk(scenario: Scenario, threads: usize) -> (Wronged, Wronged) {
    let threads = NonZeroUsize::new(threads).expect("not none");
    let bench = Bench { threads, interrupted: &AtomicBool::new(false) };
    let start = shrink::wrong(scenario, bench).expect("it is wrong to begin with");
    (start.clone(), shrink::shrink(start, bench, |_, _, _| {}))
}

#[test]
fn of_twelve_faults_the_one_is_left_that_makes_the_planted_defect_show() {
    let scenario = worlds::scenario(TWELVE_FAULTS, 1);
    assert_eq!(scenario.faults.len(), 12);
    let (start, end) = shrunk(scenario, 2);
    assert_eq!(end.finding.fingerprint, start.finding.fingerprint);
    assert_eq!(end.finding.wrong, Wrong::Liveness);
    let [fault] = &end.scenario.faults[..] else { panic!("more than one fault: {:#?}", end.scenario.faults) };
    assert!(matches!(fault.kind, FaultKind::Partition { .. }), "{fault:?}");
    assert!(end.scenario.nodes.len() < 5 && end.scenario.duration < start.scenario.duration);
    assert_eq!(end.scenario.nodes[0].config.listed_bids, marlos::Config::default().listed_bids);
    // What is written runs, and is wrong in the same way.
    let again = worlds::run(&end.scenario.to_toml(), end.scenario.seed);
    assert_eq!(marlos_sim::finding::Finding::of(&again), Some(end.finding));
}

/// As soon as a certificate of one vote too few is there, the run is over: what comes later is left out, whatever the threads.
#[test]
fn a_violation_of_safety_ends_the_scenario_where_it_happens_whatever_the_number_of_threads() {
    let text = TWELVE_FAULTS.replace("deadline-ignored", "quorum-one-short");
    let (start, one) = shrunk(worlds::scenario(&text, 1), 1);
    assert_eq!(start.finding.wrong, Wrong::Safety);
    assert!(one.scenario.faults.is_empty(), "{:#?}", one.scenario.faults);
    assert!(one.scenario.duration <= start.reached + marlos::time::Span::secs(1), "{:?}", one.scenario.duration);
    let (_, two) = shrunk(worlds::scenario(&text, 1), 3);
    assert_eq!(one.scenario, two.scenario);
}
