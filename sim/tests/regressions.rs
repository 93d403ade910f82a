//! Every run that ever went wrong: scenario, seed, and why.

#[path = "support/worlds.rs"]
mod worlds;

use std::collections::BTreeMap;

use marlos::io::PeerState;
use marlos::wire::MsgType;
use marlos_sim::observe::Observation;
use marlos_sim::scenario::{Overrides, Scenario};
use marlos_sim::world::{self, Unwatched};
use worlds::{failed, watched};

/// Six of ten, one short of the quorum.
const SIX_TO_FOUR: &str = r#"
name = "six-to-four"
duration = "70s"
warmup = "10s"
settle = "20s"
[nodes]
count = 10
[network]
profile = "lan"
[workload]
jobs_per_second = 5.0
from = ["n0..n9"]
job = { type = "simulated", duration = { distribution = "uniform", min = "100ms", max = "2s" }, deadline = "60s" }
[[fault]]
at = "20s"
for = "20s"
kind = "partition"
groups = [["n0..n5"], ["n6..n9"]]
[kpi]
overhead_per_job_B = false
job_broadcast_ms = false
consensus_s = false
"#;

/// Members that had heard a silent one a little later vouched for it with a sign of life that was as old as the suspicion: the
/// asker went through alive, recovered, suspect, degraded hundreds of times in half a second, each time broadcasting its jobs.
#[test]
fn a_partition_makes_every_node_degraded_once_or_twice() {
    for seed in [42, 4, 6] {
        let (outcome, changes) = watched(SIX_TO_FOUR, seed, |now, o| match *o {
            Observation::Degraded { node, degraded: true } if now > worlds::at(20) => Some(node),
            _ => None,
        });
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        changes.iter().for_each(|(_, node)| *times.entry(*node).or_default() += 1);
        // Once more where a sign of life that is really newer comes in between.
        assert!(times.len() == 10 && times.values().all(|times| *times <= 2), "seed {seed}: {times:?}");
        assert_eq!(outcome.exit_code(), 0, "{:#?}", failed(&outcome));
    }
}

/// Where beacons had introduced everyone, nobody was ever sent records and so nobody counted as informed: all announced
/// themselves over every stream every five seconds, for ever.
#[test]
fn who_holds_what_others_hold_stops_announcing_itself() {
    let quiet = SIX_TO_FOUR.split("[[fault]]").next().expect("the part before the fault");
    let (_, announces) = watched(quiet, 1, |_, o| match *o {
        Observation::Sent { kind: MsgType::PeerAnnounce, .. } => Some(()),
        _ => None,
    });
    let late = announces.iter().filter(|(at, _)| *at > worlds::at(15)).count();
    assert!(late <= 10 * 11 + 10, "{late}: a beacon of each of ten nodes every five seconds of 55, and nothing else");
}

/// Ten nodes of which one is down for good, and another whose process dies so that its connections break.
const TWO_DOWN: &str = r#"
name = "two-down"
duration = "60s"
warmup = "10s"
settle = "20s"
[nodes]
count = 10
[network]
profile = "lan"
[workload]
jobs_per_second = 5.0
from = ["n0..n3"]
end = "45s"
job = { type = "simulated", duration = { distribution = "uniform", min = "100ms", max = "2s" }, deadline = "60s" }
[[fault]]
at = "12s"
kind = "crash"
nodes = ["n5"]
[[fault]]
at = "30s"
for = "10s"
kind = "crash"
nodes = ["n6"]
connection = "reset"
[kpi]
overhead_per_job_B = false
"#;

/// Members whom a directed message of the crashed one had reached shortly before vouched for it: the askers held it for alive for
/// seven seconds more, elected other coordinators than the rest, and jobs took eight seconds.
#[test]
fn having_heard_a_member_before_its_connection_broke_says_nothing() {
    for seed in [1, 4, 7, 14] {
        let (outcome, deaths) = watched(TWO_DOWN, seed, |_, o| match *o {
            Observation::PeerState { node, peer: 6, state: PeerState::Dead } => Some(node),
            _ => None,
        });
        let early = deaths.iter().filter(|(at, _)| *at > worlds::at(30) && *at < worlds::at(32)).count();
        assert_eq!(early, 8, "seed {seed}: all who live know within two seconds: {deaths:?}");
        assert_eq!(outcome.exit_code(), 0, "seed {seed}: {:#?}", failed(&outcome));
    }
}

/// A node that is a network of its own was degraded until somebody else came: nobody had compared one member with a quorum of
/// one.
#[test]
fn one_node_alone_runs_its_own_jobs() {
    let alone = r#"
name = "alone"
duration = "60s"
warmup = "5s"
settle = "10s"
[nodes]
count = 1
[workload]
jobs_per_second = 2.0
from = ["n0"]
job = { type = "simulated", duration = "1s", deadline = "20s" }
"#;
    let outcome = worlds::run(alone, 1);
    assert!(outcome.jobs.submitted > 50 && outcome.jobs.completed == outcome.jobs.submitted, "{:?}", outcome.jobs);
}

/// A payer whose last transaction was certified by members that nobody else knew stood still for ever.
#[test]
fn an_account_whose_head_is_of_a_former_electorate_moves_on() {
    let file = worlds::scenarios().join("regress/ledger-head-of-a-former-electorate.toml");
    let read = Scenario::load(&file, Overrides::default());
    let scenario = read.unwrap_or_else(|diagnostic| panic!("{}", diagnostic.render(false)));
    let outcome = world::run(scenario, None, &mut Unwatched);
    assert_eq!(outcome.exit_code(), 0, "{:#?}", failed(&outcome));
}

/// Before nodes in different rounds of a job told each other, the slowest job of this seed was run again 5.6 s after its executor's
/// connections broke, not 1.3 s.
#[test]
fn nodes_in_different_rounds_of_a_job_do_not_wait_for_each_other() {
    let file = worlds::scenarios().join("primary-exit.toml");
    let read = Scenario::load(&file, Overrides { seed: Some(1) });
    let scenario = read.unwrap_or_else(|diagnostic| panic!("{}", diagnostic.render(false)));
    let outcome = world::run(scenario, None, &mut Unwatched);
    assert_eq!(outcome.exit_code(), 0, "{:#?}", failed(&outcome));
    assert!(outcome.counters["takeovers"] > 40, "{:?}", outcome.counters);
}

/// What chaos has found is kept, shrunk, with the reason in its head: none of it is wrong any more.
#[test]
fn what_chaos_has_found_is_not_wrong_any_more() {
    let kept = std::fs::read_dir(worlds::scenarios().join("regress")).expect("the directory is there");
    let mut files: Vec<_> = kept.map(|entry| entry.expect("it can be listed").path()).collect();
    files.sort_unstable();
    assert!(!files.is_empty());
    for file in files {
        let read = Scenario::load(&file, Overrides::default());
        let scenario = read.unwrap_or_else(|diagnostic| panic!("{}", diagnostic.render(false)));
        let outcome = world::run(scenario, None, &mut Unwatched);
        let finding = marlos_sim::finding::Finding::of(&outcome);
        assert_eq!(finding, None, "{}", file.display());
    }
}
