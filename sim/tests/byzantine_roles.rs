//! Who misuses a role - as voter, coordinator, winner, submitter, or under many names - is refused for the right reason, and the
//! others get their work done.

#[path = "support/worlds.rs"]
mod worlds;

use marlos_sim::observe::Observation;
use marlos_sim::outcome::Outcome;
use worlds::{at, failed, watched};

/// Seven nodes with jobs, of which n5 and n6 misbehave from 8 s to 20 s.
fn world(behaviour: &str) -> String {
    // A ghost alone: the backup of one would be the other.
    let liars = if behaviour.contains("\"ghost\"") { "n5" } else { "n5..n6" };
    format!(
        r#"
name = "roles"
duration = "45s"
warmup = "5s"
settle = "15s"
crypto = "token"
[nodes]
count = 7
membership = "fixed"
config = {{ lease = "6s" }}
[network]
profile = "lan"
[workload]
jobs_per_second = 4.0
from = ["n0..n4"]
end = "24s"
job = {{ type = "simulated", duration = {{ distribution = "uniform", min = "100ms", max = "1s" }}, deadline = "20s" }}
[[fault]]
at = "8s"
until = "20s"
kind = "byzantine"
nodes = ["{liars}"]
behaviour = {behaviour}
[kpi]
overhead_per_job_B = false
# Who joins late hears late of the jobs before.
job_broadcast_ms = false
# Two of seven coordinate every third round or so.
consensus_s = {{ p99 = 5 }}
"#
    )
}

/// Runs it, holds the checks against it, and says what was refused how often, with what else `keep` makes of it.
fn withstood<T>(behaviour: &str, keep: impl Fn(&Observation<'_>) -> Option<T>) -> (Outcome, Vec<T>) {
    let (outcome, kept) = watched(&world(behaviour), 3, |_, o| keep(o));
    assert!(outcome.counters["misdeeds"] >= 3, "{behaviour}: {:?}", outcome.counters);
    assert!(outcome.exit_code() == 0, "{behaviour}: {:#?}", failed(&outcome));
    (outcome, kept.into_iter().map(|(_, kept)| kept).collect())
}

fn refused(outcome: &Outcome, reason: &str) -> u64 {
    outcome.refusals.get(reason).copied().unwrap_or(0)
}

#[test]
fn two_votes_of_one_voter_are_proven_to_everyone() {
    let (_, proven) = withstood("\"equivocate\"", |o| match *o {
        Observation::Proven { node, peer } => Some((node, peer)),
        _ => None,
    });
    for node in 0..5 {
        for liar in [5, 6] {
            assert!(proven.contains(&(node, liar)), "n{node} knows nothing of n{liar}: {proven:?}");
        }
    }
    assert!(proven.iter().all(|(_, peer)| [5, 6].contains(peer)), "somebody else is accused: {proven:?}");
}

#[test]
fn nobody_votes_for_whom_a_stranger_to_the_round_names() {
    let (outcome, voted) = withstood("\"bogus_coordinator\"\nhow = \"role\"", |o| match *o {
        Observation::AuctionClosed { .. } => Some(()),
        _ => None,
    });
    assert!(refused(&outcome, "wrong_coordinator") >= 100, "{:?}", outcome.refusals);
    assert!(!voted.is_empty());
    let (outcome, _) = withstood("\"bogus_coordinator\"\nhow = \"electorate\"", |_| None::<()>);
    assert!(refused(&outcome, "electorate_differs") >= 20, "{:?}", outcome.refusals);
}

#[test]
fn a_claim_that_rests_on_nothing_is_believed_by_nobody() {
    for how in ["bare", "forged", "recycled", "small"] {
        let certified = |o: &Observation<'_>| match *o {
            Observation::Certified { node: node @ (5 | 6), job, round, .. } => Some((true, node, job, round)),
            Observation::ClaimLearned { node: 0..=4, job, round, claimer: claimer @ (5 | 6) } => {
                Some((false, claimer, job, round))
            }
            _ => None,
        };
        let (_, claims) = withstood(&format!("\"false_claim\"\nhow = \"{how}\"\nahead = 1"), certified);
        for (_, claimer, job, round) in claims.iter().filter(|(own, ..)| !own) {
            assert!(claims.contains(&(true, *claimer, *job, *round)), "{how}: n{claimer} is believed for {job}");
        }
    }
}

#[test]
fn jobs_that_a_ghost_has_won_are_done_by_others() {
    for beats in ["yes", "no"] {
        let ends = |o: &Observation<'_>| match *o {
            Observation::Certified { node, job, .. } => Some((true, node, job)),
            Observation::JobCompleted { job, executor, .. } => Some((false, executor, job)),
            _ => None,
        };
        let (_, seen) = withstood(&format!("\"ghost\"\nbeats = \"{beats}\"\nlasts = \"2s\""), ends);
        let haunted = seen.iter().filter(|(certified, node, _)| *certified && *node == 5).map(|(.., job)| *job);
        let saved = haunted.filter(|job| seen.iter().any(|(won, by, of)| !won && *by != 5 && of == job)).count();
        assert!(saved > 0, "no job of a ghost was done by another");
    }
}

#[test]
fn results_of_who_holds_no_claim_are_not_taken() {
    for how in ["unclaimed", "round", "length", "made_up"] {
        let ends = |o: &Observation<'_>| match *o {
            Observation::Certified { node, job, .. } => Some((true, node, job)),
            Observation::JobCompleted { job, executor, .. } => Some((false, executor, job)),
            _ => None,
        };
        let (_, seen) = withstood(&format!("\"false_result\"\nhow = \"{how}\""), ends);
        for (_, executor, job) in seen.iter().filter(|(certified, ..)| !certified) {
            assert!(seen.contains(&(true, *executor, *job)), "{how}: n{executor} had no claim of {job}");
        }
    }
}

#[test]
fn made_up_names_neither_vote_nor_win_nor_keep_a_late_node_out() {
    let (outcome, _) = withstood("\"sybil\"", |_| None::<()>);
    assert!(outcome.counters["misdeeds"] > 100, "{:?}", outcome.counters);
    let late = "\"eclipse\"\nrecords = 100\n[[fault]]\nat = \"17s\"\nkind = \"join\"\nnodes = [\"n4\"]";
    let text = world(late)
        .replace("n0..n4\"]\nend", "n0..n3\"]\nend")
        .replace("lease = \"6s\"", "lease = \"6s\", max_peers = 8, max_members = 400");
    let (outcome, met) = watched(&text, 3, |now, o| match *o {
        Observation::Discovered { node: node @ 0..=3, peer: 4 } if now >= at(17) => Some(node),
        _ => None,
    });
    assert!(refused(&outcome, "too_many_members") > 0, "{:?}", outcome.refusals);
    assert_eq!(met.len(), 4, "n4 joined late: {met:?}");
    assert!(outcome.exit_code() == 0, "{:#?}", failed(&outcome));
}

#[test]
fn ground_job_ids_gain_no_more_than_the_jobs_that_they_pay_for() {
    let (outcome, won) = withstood("\"grind\"\ninterval = \"500ms\"", |o| match *o {
        Observation::Certified { node, job, .. } => Some((node, job)),
        _ => None,
    });
    assert!(!won.is_empty() && outcome.jobs.lost == 0);
}
