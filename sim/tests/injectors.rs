//! Faults happen in the world as the timeline says: who hears whom, when, in which direction, and what comes back.

#[path = "support/worlds.rs"]
mod worlds;

use marlos::io::PeerState;
use marlos::time::{Span, Time};
use marlos_sim::observe::{Observation, Stop};
use marlos_sim::outcome::{CheckKind, Verdict};
use marlos_sim::scenario::NodeNo;
use marlos_sim::world::{Unwatched, World};
use worlds::{at, scenario, watched};

/// A frame that was accepted.
#[derive(Clone, Copy, Debug)]
struct Heard {
    by: NodeNo,
    from: NodeNo,
    latency: Span,
}

/// Six nodes on a local network for half a minute, and a fault.
fn world(fault: &str) -> String {
    format!(
        r#"
name = "injector"
duration = "40s"
warmup = "5s"
settle = "5s"
[nodes]
count = 6
[network]
profile = "lan"
latency = {{ distribution = "uniform", min = "1ms", max = "3ms" }}
[[fault]]
{fault}
"#
    )
}

fn heard(fault: &str) -> Vec<(Time, Heard)> {
    let (_, heard) = watched(&world(fault), 1, |_, o| match *o {
        Observation::Accepted { node, sender, latency, .. } => Some(Heard { by: node, from: sender, latency }),
        _ => None,
    });
    heard
}

/// How many frames that `is` holds for were heard from `from` to `until`.
fn count(heard: &[(Time, Heard)], from: Time, until: Time, is: impl Fn(&Heard) -> bool) -> usize {
    heard.iter().filter(|(at, heard)| (from..until).contains(at) && is(heard)).count()
}

/// Microseconds after a moment.
fn past(time: Time) -> Time {
    time + Span(1)
}

#[test]
fn a_partition_lets_nothing_across_and_everything_within() {
    let heard = heard("at = \"10s\"\nfor = \"10s\"\nkind = \"partition\"\ngroups = [[\"n0..n2\"], [\"n3..n5\"]]");
    let across = |heard: &Heard| (heard.by < 3) != (heard.from < 3);
    assert_eq!(count(&heard, past(at(10)), at(20), across), 0);
    assert!(count(&heard, past(at(10)), at(20), |heard| !across(heard)) > 30);
    assert!(count(&heard, at(5), at(10), across) > 20, "before");
    assert!(count(&heard, at(22), at(32), across) > 20, "and after");
}

#[test]
fn a_one_way_cut_stops_one_direction_only() {
    let heard = heard("at = \"10s\"\nfor = \"6s\"\nkind = \"one_way\"\nfrom = [\"n0\"]\nto = [\"n1\", \"n2\"]");
    let between = |by, from| move |heard: &Heard| heard.by == by && heard.from == from;
    for deaf in [1, 2] {
        assert_eq!(count(&heard, past(at(10)), at(16), between(deaf, 0)), 0, "n0 to n{deaf}");
        assert!(count(&heard, past(at(10)), at(16), between(0, deaf)) >= 1, "n{deaf} to n0");
        assert!(count(&heard, at(20), at(40), between(deaf, 0)) >= 5, "n0 to n{deaf} again");
    }
    assert!(count(&heard, past(at(10)), at(16), between(3, 0)) >= 1, "others hear n0");
}

#[test]
fn a_paused_node_hears_and_says_nothing_and_catches_up_afterwards() {
    let heard = heard("at = \"10s\"\nfor = \"5s\"\nkind = \"pause\"\nnodes = [\"n2\"]");
    assert_eq!(count(&heard, past(at(10)), at(15), |heard| heard.by == 2), 0);
    let under_way = Span::millis(10);
    assert_eq!(count(&heard, at(10) + under_way, at(15), |heard| heard.from == 2), 0);
    let late = |heard: &Heard| heard.by == 2 && heard.latency > Span::secs(1);
    assert!(count(&heard, at(15), past(at(15)), late) >= 5, "what came meanwhile is heard in the moment it goes on");
    assert!(count(&heard, at(16), at(25), |heard| heard.from == 2) >= 10);
}

#[test]
fn a_crashed_node_is_silent_and_comes_back_with_the_store_it_kept_or_without_the_one_it_lost() {
    for (storage, how, incarnation) in [("kept", Stop::CrashKept, 2), ("lost", Stop::CrashLost, 1)] {
        let fault = format!("at = \"10s\"\nfor = \"5s\"\nkind = \"crash\"\nnodes = [\"n2\"]\nstorage = \"{storage}\"");
        let heard = heard(&fault);
        assert_eq!(count(&heard, past(at(10)), at(15), |heard| heard.by == 2), 0, "{storage}");
        assert_eq!(count(&heard, at(10) + Span::millis(10), at(15), |heard| heard.from == 2), 0, "{storage}");
        let (_, lives) = watched(&world(&fault), 1, |_, o| match *o {
            Observation::NodeStopped { node, how } => Some((node, Some(how))),
            Observation::NodeStarted { node, restart: true } => Some((node, None)),
            _ => None,
        });
        let lives: Vec<_> = lives.iter().map(|(time, life)| (*time, life.0, life.1)).collect();
        assert_eq!(lives, [(at(10), 2, Some(how)), (at(15), 2, None)]);
        let mut world = World::new(scenario(&world(&fault), 1));
        world.run_until(at(12), &mut Unwatched);
        assert!(world.node(2).is_none(), "down");
        world.run_until(at(15), &mut Unwatched);
        assert_eq!(world.node(2).expect("up").view().incarnation(), incarnation, "{storage}: what its store said");
        world.run_until(at(30), &mut Unwatched);
        assert!(world.node(2).expect("up").view().incarnation() > 1, "{storage}: more than its last life");
    }
}

/// Four busy nodes, one of which crashes often.
const BUSY: &str = r#"
name = "busy"
duration = "60s"
warmup = "5s"
settle = "10s"
[nodes]
count = 4
[network]
profile = "lan"
[workload]
jobs_per_second = 100.0
from = ["n0..n3"]
end = "40s"
job = { type = "simulated", duration = "100ms", deadline = "30s" }
[[fault]]
at = "10.001s"
for = "1s"
every = "2.003s"
times = 14
kind = "crash"
nodes = ["n3"]
storage = "STORAGE"
connection = "reset"
"#;

/// Records lost and torn in the crashes of a run, by what each crash took.
fn cuts(storage: &str) -> Vec<(u64, bool)> {
    let (outcome, cuts) = watched(&BUSY.replace("STORAGE", storage), 1, |now, o| match *o {
        Observation::StoreCut { node, records, since, torn } => {
            assert!(node == 3 && since <= now, "{o:?}");
            Some((records, torn))
        }
        _ => None,
    });
    let cuts: Vec<(u64, bool)> = cuts.into_iter().map(|(_, cut)| cut).collect();
    assert_eq!(outcome.counters["restarts"], 14);
    assert_eq!(outcome.counters["records_lost"], cuts.iter().map(|(records, _)| records).sum::<u64>());
    assert_eq!(outcome.counters["records_torn"], cuts.iter().filter(|(_, torn)| *torn).count() as u64);
    let safety = |check: &&marlos_sim::outcome::CheckResult| check.kind == CheckKind::Safety;
    let safe = outcome.checks.iter().filter(safety).all(|check| check.verdict == Verdict::Pass);
    assert!(safe, "{storage}: {:#?}", worlds::failed(&outcome));
    cuts
}

#[test]
fn a_crash_of_a_busy_node_takes_only_what_was_not_durable_and_only_where_it_is_said_to() {
    assert_eq!(cuts("kept"), []);
    let all = cuts("unsynced_lost");
    assert!(!all.is_empty() && all.iter().all(|(records, torn)| *records > 0 && !torn), "{all:?}");
    let torn = cuts("torn");
    assert!(!torn.is_empty() && torn.iter().all(|(records, torn)| *records > 0 && *torn), "{torn:?}");
    let sum = |cuts: &[(u64, bool)]| cuts.iter().map(|(records, _)| records).sum::<u64>();
    assert!(sum(&torn) <= sum(&all), "a tear takes no more: {} of {}", sum(&torn), sum(&all));
}

#[test]
fn a_node_that_joins_is_not_there_before_and_known_to_all_afterwards() {
    let (_, seen) = watched(&world("at = \"10s\"\nkind = \"join\"\nnodes = [\"n4\"]"), 1, |_, o| match *o {
        Observation::NodeStarted { node: 4, restart } => Some((4, restart)),
        Observation::Discovered { node, peer: 4 } => Some((node, false)),
        Observation::Accepted { node, sender, .. } if node == 4 || sender == 4 => Some((9, false)),
        _ => None,
    });
    assert_eq!(seen.first().copied(), Some((at(10), (4, false))), "its start is the first that is seen of it");
    for node in [0, 1, 2, 3, 5] {
        let met = seen.iter().find(|(_, (by, _))| *by == node).map(|(time, _)| *time);
        assert!(met.is_some_and(|met| met < at(12)), "n{node} met it at {met:?}");
    }
}

#[test]
fn a_node_that_leaves_says_so_and_is_seen_as_gone_until_it_is_back() {
    let fault = "at = \"10s\"\nfor = \"10s\"\nkind = \"leave\"\nnodes = [\"n4\"]";
    let (_, states) = watched(&world(fault), 1, |_, o| match *o {
        Observation::PeerState { node, peer: 4, state } => Some((node, state)),
        Observation::NodeStopped { node: 4, how } => {
            assert_eq!(how, Stop::Leave);
            Some((4, PeerState::Left))
        }
        _ => None,
    });
    for node in [0, 1, 2, 3, 5] {
        let of = |state| states.iter().filter(move |(_, seen)| *seen == (node, state)).map(|(time, _)| *time);
        let left: Vec<Time> = of(PeerState::Left).collect();
        assert!(left.len() == 1 && left[0] > at(10) && left[0] < at(10) + Span::millis(100), "n{node}: {left:?}");
        assert_eq!(of(PeerState::Dead).count(), 0, "it was not declared dead by n{node}");
        assert!(of(PeerState::Alive).any(|time| time > at(20) && time < at(25)), "n{node} sees it come back");
    }
    let stopped = states.iter().find(|(_, seen)| seen.0 == 4).map(|(time, _)| *time);
    assert_eq!(stopped, Some(at(10) + Span::millis(200)), "its process ends after its goodbye has gone out");
}

#[test]
fn a_link_fault_slows_and_loses_between_its_two_sets_and_nowhere_else() {
    let slow = "at = \"10s\"\nfor = \"10s\"\nkind = \"link\"\nbetween = [[\"n0\"], [\"n1\", \"n2\"]]\n\
                latency = { distribution = \"constant\", value = \"80ms\" }";
    let heard = heard(slow);
    let worse = |heard: &Heard| matches!((heard.by, heard.from), (0, 1 | 2) | (1 | 2, 0));
    let during = (at(10) + Span::millis(5), at(20));
    assert!(count(&heard, during.0, during.1, |heard| worse(heard) && heard.latency >= Span::millis(80)) >= 8);
    assert_eq!(count(&heard, during.0, during.1, |heard| worse(heard) && heard.latency < Span::millis(80)), 0);
    assert_eq!(count(&heard, at(5), at(40), |heard| !worse(heard) && heard.latency > Span::millis(10)), 0);
    assert_eq!(count(&heard, at(21), at(40), |heard| heard.latency > Span::millis(10)), 0, "it is over");
    let lossy = "at = \"10s\"\nfor = \"20s\"\nkind = \"link\"\nbetween = [[\"n0\"], [\"n1..n5\"]]\nloss = \"30%\"";
    let (_, lost) = watched(&world(lossy), 1, |_, o| matches!(o, Observation::SegmentLost { .. }).then_some(()));
    assert!(lost.len() > 20, "{}", lost.len());
    assert!(lost.iter().all(|(time, ())| (at(10)..at(30)).contains(time)));
}
