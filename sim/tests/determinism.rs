//! The same scenario and seed are the same run: twice in one process, in two processes, in debug and in release. And where two
//! runs do differ, the trail of hashes says from when on.
#![expect(clippy::disallowed_methods, reason = "tests read what the binary wrote")]

#[path = "support/worlds.rs"]
mod worlds;

use marlos::time::Time;
use marlos_sim::report::summary;
use marlos_sim::world::{Unwatched, World};
use worlds::{at, marlos_sim, run, scenario};

/// A bit of everything: loss, a partition, a crash that loses its store, a pause, jobs all the while.
const STORMY: &str = r#"
name = "stormy"
duration = "24s"
warmup = "3s"
settle = "5s"
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

/// A hundred nodes for a few seconds, with faults.
const HUNDRED: &str = r#"
name = "hundred-for-a-moment"
duration = "5s"
warmup = "1s"
settle = "1s"
[nodes]
count = 100
config = { max_peers = 128 }
[network]
profile = "lan"
loss = "0.1%"
[workload]
jobs_per_second = 1.0
from = ["n0..n99"]
job = { type = "simulated", duration = { distribution = "constant", value = "200ms" }, deadline = "20s" }
[[fault]]
at = "1500ms"
for = "2s"
kind = "partition"
groups = [["n0..n79"], ["n80..n99"]]
[[fault]]
at = "2s"
for = "1500ms"
kind = "crash"
nodes = ["n7"]
connection = "reset"
[[fault]]
at = "2s"
for = "1500ms"
kind = "pause"
nodes = ["n8"]
"#;

/// Three nodes that meet and do a few jobs.
const SMALL: &str = r#"
name = "small"
seed = 7
duration = "12s"
warmup = "2s"
settle = "3s"
[nodes]
count = 3
[network]
profile = "lan"
[workload]
jobs_per_second = 1.0
from = ["n0..n2"]
job = { type = "simulated", duration = { distribution = "constant", value = "200ms" }, deadline = "20s" }
"#;

/// The hash trail, the action hash, and `summary.json` of a run.
fn traces(text: &str, seed: u64) -> (Vec<u64>, String, String) {
    let mut world = World::new(scenario(text, seed));
    world.run_until(Time::NEVER, &mut Unwatched);
    let trail = world.hash_trail().to_vec();
    let outcome = world.finish();
    (trail, outcome.action_hash.clone(), summary::json(&outcome))
}

#[test]
fn a_run_repeated_in_one_process_is_the_same_to_the_last_byte() {
    let (first, second) = (traces(STORMY, 1), traces(STORMY, 1));
    assert!(first.0.len() > 3, "the trail has something to compare: {}", first.0.len());
    assert_eq!(first, second);
}

#[test]
fn a_hundred_nodes_with_faults_on_are_the_same_twice() {
    let (first, second) = (traces(HUNDRED, 1), traces(HUNDRED, 1));
    assert!(first.0.len() > 15, "{}", first.0.len());
    assert_eq!(first, second);
}

#[test]
fn two_seeds_are_two_runs() {
    let (one, other) = (traces(STORMY, 1), traces(STORMY, 2));
    assert_ne!(one.1, other.1);
    assert_ne!(one.0[0], other.0[0], "from the beginning");
}

#[test]
fn a_run_that_is_stopped_and_goes_on_is_the_same_run() {
    let mut world = World::new(scenario(STORMY, 1));
    for second in 1..=24 {
        world.run_until(at(second), &mut Unwatched);
    }
    assert_eq!(world.finish().action_hash, traces(STORMY, 1).1);
}

/// One node that takes a moment longer to suspect, and a peer that falls silent: they part when its patience ends.
#[test]
fn the_trail_says_from_when_on_two_runs_differ() {
    let text = |patience: &str| {
        format!(
            r#"
name = "parting"
duration = "30s"
warmup = "3s"
settle = "5s"
[[nodes.group]]
name = "odd"
count = 1
config = {{ suspect_after = "{patience}" }}
[[nodes.group]]
name = "even"
count = 8
[network]
profile = "lan"
[[fault]]
at = "10s"
kind = "crash"
nodes = ["n8"]
"#
        )
    };
    let world = |patience| World::new(scenario(&text(patience), 1));
    let (mut same, mut odd) = (world("7500ms"), world("7600ms"));
    let (mut parted, mut looked) = (None, None);
    for ms in (0..30_000).step_by(10) {
        let now = Time(ms * 1_000);
        same.run_until(now, &mut Unwatched);
        odd.run_until(now, &mut Unwatched);
        let differs = same.hash_trail().iter().zip(odd.hash_trail()).any(|(a, b)| a != b);
        if differs && parted.is_none() {
            parted = Some((now, same.hash_trail().len().min(odd.hash_trail().len())));
        }
        // The first that differs is when it looks for suspects: a wake that the other world has not had yet.
        if looked.is_none() && now > at(10) && same.events() != odd.events() {
            looked = Some((now, same.events().min(odd.events())));
        }
    }
    let ((looked, event), (parted, entries)) = (looked.expect("one is later"), parted.expect("they differ"));
    // An entry covers a thousand calls: the first that differs is the one in which they parted.
    let calls = entries as u64 * 1_000;
    assert!(looked <= parted && looked > at(10), "looked at {looked}, parted at {parted}");
    assert!(same.hash_trail()[..entries - 1] == odd.hash_trail()[..entries - 1], "all before is equal");
    assert!(calls + 1_000 > event / 2 && calls < event + 2_000, "entry {entries}, event {event}");
}

#[test]
fn two_processes_write_the_same_summary() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("stormy.toml"), STORMY).expect("written");
    let summary = |out: &str| {
        marlos_sim(directory.path(), &["run", "stormy.toml", "--seed", "3", "--out", out]);
        std::fs::read(directory.path().join(out).join("summary.json")).expect("written")
    };
    let (first, second) = (summary("a"), summary("b"));
    assert_eq!(first, second);
    assert_eq!(String::from_utf8(first).expect("text").trim_end(), traces(STORMY, 3).2.trim_end());
}

/// It changes with every change of the protocol, the network model or the workload: then the new one belongs here. What it
/// shows is that debug and release, and any two machines, agree.
#[test]
fn the_hash_of_a_small_run_is_this_one_on_every_machine_and_in_every_build() {
    assert_eq!(run(SMALL, 7).action_hash, PINNED);
}

const PINNED: &str = "9cf933036d8d54b7c9f365e6d85ed3402d73f5944dcd15205b520f72bde56e98";
