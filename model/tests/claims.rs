//! The claim protocol, explored to its end in small worlds: how many states there are is asserted, so that a world which quietly
//! became smaller is noticed. And in worlds where a bug is planted, what the explorer must find.

use marlos::config::{Config, Plant};
use marlos_model::setting::{Fault, World};
use marlos_model::system::Claims;
use stateright::{Checker, HasDiscoveries, Model};

const ONE_WINNER: &str = "a round has one winner";
const ONE_VOTE: &str = "a voter votes once in a round, and never backwards";
const LEASE_KEPT: &str = "while a lease runs nobody else gets the vote";

/// Three nodes: 0 has submitted the job, 1 coordinates round 0, 1 and 2 may run it. All goes well, for one round.
fn three() -> World {
    World {
        nodes: 3,
        bidders: vec![1, 2],
        coordinator: 1,
        fault: Fault::Nothing,
        last_round: 0,
        suspected: None,
        rests: false,
        finishes: false,
        takes_over: false,
        config: Config::default(),
    }
}

/// Four, of which 3 is no bidder.
fn four() -> World {
    World { nodes: 4, ..three() }
}

fn planted(plant: Plant, world: World) -> World {
    World { config: Config { plant, ..Config::default() }, ..world }
}

/// Explores a world to its end, in which every property holds and whatever is to be reached is. Says how many states it has.
fn states(world: World) -> usize {
    let checker = Claims::new(world).checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    checker.unique_state_count()
}

/// Whether a property is broken in a world.
fn is_broken(property: &'static str, world: World) -> bool {
    let broken = HasDiscoveries::AnyFailures;
    let checker = Claims::new(world).checker().threads(1).finish_when(broken).spawn_bfs().join();
    checker.discovery(property).is_some()
}

#[test]
fn in_every_order_of_one_round_of_three_there_is_one_winner() {
    assert_eq!(states(three()), 115);
}

#[test]
fn in_every_order_of_two_rounds_of_three_there_is_one_winner_of_each() {
    assert_eq!(states(World { last_round: 1, ..three() }), 50_420);
}

#[test]
fn whoever_of_three_crashes_at_whatever_moment_no_vote_is_cast_twice() {
    let crash = |site| World { fault: Fault::Crash(site), takes_over: site == 1, ..three() };
    assert_eq!([crash(0), crash(1), crash(2)].map(states), [2_163, 5_377, 2_645]);
}

#[test]
fn an_executor_that_is_wrongly_suspected_is_replaced_and_one_of_the_two_is_paid() {
    assert_eq!(states(World { suspected: Some(1), takes_over: true, finishes: true, ..three() }), 27_130);
}

#[test]
fn a_lease_that_runs_out_lets_nobody_win_a_round_twice() {
    assert_eq!(states(World { suspected: Some(1), takes_over: true, rests: true, ..three() }), 18_335);
}

#[test]
fn whoever_of_four_crashes_there_is_one_winner() {
    let crash = |site| World { fault: Fault::Crash(site), ..four() };
    assert_eq!([crash(2), crash(3)].map(states), [18_993; 2]);
}

#[test]
fn a_liar_that_coordinates_four_and_votes_for_everybody_makes_no_second_winner() {
    assert_eq!(states(World { coordinator: 3, fault: Fault::Liar(3), ..four() }), 7_165);
}

#[test]
fn the_model_finds_a_quorum_that_is_one_short() {
    let world = World { coordinator: 3, fault: Fault::Liar(3), ..four() };
    assert!(is_broken(ONE_WINNER, planted(Plant::QuorumOneShort, world.clone())));
    assert!(!is_broken(ONE_WINNER, world));
}

#[test]
fn the_model_finds_a_vote_that_is_not_persisted() {
    let world = World { fault: Fault::Crash(1), suspected: Some(1), ..three() };
    assert!(is_broken(ONE_VOTE, planted(Plant::VotesNotPersisted, world)));
}

#[test]
fn the_model_finds_a_lease_that_is_ignored() {
    let world = World { suspected: Some(1), ..three() };
    assert!(is_broken(LEASE_KEPT, planted(Plant::LeaseIgnored, world)));
}
