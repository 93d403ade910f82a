//! Every run that ever went wrong: scenario, seed, and why.

#[path = "support/worlds.rs"]
mod worlds;

use std::collections::BTreeMap;

use marlos::wire::MsgType;
use marlos_sim::observe::Observation;
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
fn a_partition_makes_every_node_degraded_once() {
    for seed in [42, 4, 6] {
        let (outcome, changes) = watched(SIX_TO_FOUR, seed, |now, o| match *o {
            Observation::Degraded { node, degraded: true } if now > worlds::at(20) => Some(node),
            _ => None,
        });
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        changes.iter().for_each(|(_, node)| *times.entry(*node).or_default() += 1);
        assert_eq!(times, (0..10).map(|node| (node, 1)).collect(), "seed {seed}");
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
