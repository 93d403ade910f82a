use marlos::quorum::max_byzantine;
use marlos::time::Time;

use super::*;
use crate::budget::{self, Losses};
use crate::fault::initial_nodes;
use crate::scenario::{NetworkSpec, Overrides};

/// The ground that the repository's own runs are drawn on.
fn base() -> Scenario {
    parse(include_str!("../../../scenarios/chaos.toml"))
}

fn parse(text: &str) -> Scenario {
    match Scenario::parse(text, "chaos.toml", Overrides::default(), &|_| Err(String::new())) {
        Ok(scenario) => scenario,
        Err(diagnostic) => panic!("{}", diagnostic.render(false)),
    }
}

fn plans(beyond_f: bool, runs: u64) -> impl Iterator<Item = Plan> {
    let (chaos, base) = (Chaos { seed: 5, beyond_f }, base());
    (0..runs).map(move |run| chaos.plan(&base, run))
}

#[test]
fn every_run_is_a_scenario_that_its_own_file_gives_again() {
    for plan in plans(false, 300) {
        assert_eq!(parse(&plan.scenario.to_toml()), plan.scenario, "run {}", plan.run);
    }
}

#[test]
fn what_a_base_does_to_messages_is_on_in_some_runs_and_off_in_others_and_never_where_it_says_nothing() {
    let text = include_str!("../../../scenarios/chaos.toml");
    let wear = "jitter = \"1ms\"\nasymmetry = \"10%\"\nloss = \"1%\"\nloss_burst = \"300ms\"\nduplicate = \"5%\"\nreorder = \"5%\"\n\
                corrupt = \"1%\"\nbandwidth = \"50Mbit/s\"\ndownload = \"20Mbit/s\"\nqueue_full = \"drop\"\nslow_joiner = \"50ms\"";
    assert_eq!(text.matches("\n[network]\n").count(), 1);
    let worn = parse(&text.replace("\n[network]\n", &format!("\n[network]\n{wear}\n")));
    let chaos = Chaos { seed: 5, beyond_f: false };
    let is = |network: &NetworkSpec| {
        [
            network.jitter.is_some(),
            network.loss_burst.is_some(),
            network.duplicate.0 > 0,
            network.reorder.is_some(),
            network.corrupt.0 > 0,
            network.download_bps.is_some(),
            network.queue_full == crate::scenario::QueueFull::Drop,
            network.slow_joiner.is_some(),
        ]
    };
    let mut on = [0; 8];
    for run in 0..100 {
        let scenario = chaos.plan(&worn, run).scenario;
        assert_eq!(parse(&scenario.to_toml()), scenario, "run {run}");
        is(&scenario.network).into_iter().zip(&mut on).for_each(|(is, on)| *on += u32::from(is));
        assert_eq!(is(&chaos.plan(&base(), run).scenario.network), [false; 8], "run {run}");
    }
    assert!(on.iter().all(|on| (20..75).contains(on)), "{on:?}");
}

#[test]
fn a_run_depends_on_seed_and_number_alone() {
    let (base, one) = (base(), Chaos { seed: 5, beyond_f: false });
    assert_eq!(one.plan(&base, 7), plans(false, 8).last().expect("eight runs"));
    assert_ne!(one.plan(&base, 7).scenario.faults, one.plan(&base, 8).scenario.faults);
    assert_ne!(one.plan(&base, 7).scenario.faults, Chaos { seed: 6, ..one }.plan(&base, 7).scenario.faults);
}

#[test]
fn no_run_asks_for_more_than_the_protocol_promises() {
    for plan in plans(false, 500) {
        let scenario = &plan.scenario;
        assert!(budget::liveness_is_promised(scenario), "run {}: {:?}", plan.run, Losses::of(scenario));
        let storm_ends = Time(scenario.duration.0 - scenario.settle.0);
        assert!(scenario.faults.iter().all(|fault| fault.until.unwrap_or(fault.at) <= storm_ends), "run {}", plan.run);
        assert!(!scenario.nodes.is_empty() && scenario.faults.iter().all(|fault| fault.at > Time(0)));
    }
}

#[test]
fn beyond_f_more_nodes_may_misbehave_than_promised() {
    for plan in plans(true, 100) {
        let there = initial_nodes(plan.scenario.nodes.len(), &plan.scenario.faults).iter().filter(|t| **t).count();
        assert!(plan.suspects.len() > max_byzantine(u32::try_from(there).expect("few")) as usize);
    }
}

#[test]
fn every_kind_is_off_in_some_runs_and_on_in_others() {
    let plans: Vec<Plan> = plans(false, 100).collect();
    for kind in Kind::ALL {
        let on = plans.iter().filter(|plan| plan.kinds.contains(&kind)).count();
        let faults = |plan: &Plan| plan.scenario.faults.iter().any(|fault| Kind::of(&fault.kind) == kind);
        assert!((25..75).contains(&on), "{kind:?} is on in {on} of 100");
        assert!(plans.iter().any(faults), "{kind:?}");
        assert!(plans.iter().all(|plan| plan.kinds.contains(&kind) || !faults(plan)), "{kind:?} is off and happens");
    }
}

#[test]
fn what_is_found_does_not_depend_on_the_number_of_threads() {
    let (base, chaos) = (base(), Chaos { seed: 3, beyond_f: false });
    let hashes = |threads| {
        let mut hashes = Vec::new();
        let done = |plan: Plan, ran: Ran| {
            hashes.push((plan.run, ran.finding, ran.outcome.map(|outcome| outcome.action_hash)));
            ControlFlow::Continue(())
        };
        let threads = NonZeroUsize::new(threads).expect("not none");
        assert!(chaos.runs(&base, 0..4, threads, &AtomicBool::new(false), done));
        hashes
    };
    assert_eq!(hashes(1), hashes(3));
}
