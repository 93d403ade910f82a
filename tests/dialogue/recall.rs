//! The members that a store remembers (protocol.md, section 4).

use marlos::io::{Event, PeerState};
use marlos::time::Span;

use crate::hand::shell;
use crate::jobs::executors;
use crate::membership::met;
use crate::net::{Net, What};

fn stop_all(net: &mut Net) {
    (0..net.slots.len()).for_each(|at| net.stop(at));
    net.run_for(Span::secs(1));
}

fn members(net: &Net, at: usize) -> u32 {
    net.node(at).view().members()
}

#[test]
fn a_few_that_come_back_together_claim_nothing_before_a_quorum_of_all_is_back() {
    for planted in [false, true] {
        let mut net = met(6);
        if planted {
            net.slots.iter_mut().for_each(|slot| slot.config.plant = marlos::config::Plant::MembersUnrecalled);
        }
        stop_all(&mut net);
        (0..3).for_each(|at| drop(net.start(at)));
        net.run_for(Span::secs(5));
        let job = net.submit(0, shell(Span::secs(120)));
        net.run_for(Span::secs(20));
        assert_eq!(executors(&net, job).len(), usize::from(planted), "three of six are no quorum, planted: {planted}");
        if !planted {
            assert_eq!(net.state(0, 5), Some(PeerState::Dead), "a member all the same");
            net.start(3);
            assert!(net.run_until(Span::secs(15), |net| executors(net, job).len() == 1), "four of six are one");
        }
    }
}

#[test]
fn a_member_is_discovered_when_it_is_heard_of_and_not_when_the_store_remembers_it() {
    let mut net = met(3);
    net.stop(2);
    net.stop(1);
    let before = net.said.len();
    let said = net.start(1);
    let recalled = said.iter().filter(|what| matches!(what, What::Reported(Event::PeerRecalled { .. }))).count();
    assert_eq!((recalled, members(&net, 1)), (2, 3));
    net.run_for(Span::secs(5));
    let discovered = |net: &Net| {
        net.said[before..]
            .iter()
            .filter(|said| said.node == 1 && matches!(said.what, What::Reported(Event::PeerDiscovered { .. })))
            .count()
    };
    assert_eq!(discovered(&net), 2, "node 0 was heard, and it told of node 2");
    assert_eq!(net.state(1, 2), Some(PeerState::Known));
}

#[test]
fn whom_a_node_has_forgotten_its_next_life_does_not_count() {
    let mut net = met(4);
    net.slots.iter_mut().for_each(|slot| slot.config.forget_after = Span::secs(60));
    stop_all(&mut net);
    (0..3).for_each(|at| drop(net.start(at)));
    net.run_for(Span::secs(90));
    stop_all(&mut net);
    (0..2).for_each(|at| drop(net.start(at)));
    assert_eq!(net.state(0, 3), None, "it was dead for long enough");
    assert_eq!(members(&net, 0), 3);
    net.start(3);
    assert!(net.run_until(Span::secs(5), |net| net.state(0, 3) == Some(PeerState::Alive)));
    net.stop(0);
    net.start(0);
    assert!(net.state(0, 3).is_some(), "it counts again, also in the store");
}

#[test]
fn who_comes_back_follows_a_quorum_that_has_forgotten_a_member_meanwhile() {
    let mut net = met(5);
    net.slots.iter_mut().for_each(|slot| slot.config.forget_after = Span::secs(60));
    stop_all(&mut net);
    for at in [0, 1, 2, 4] {
        net.start(at);
    }
    net.run_for(Span::secs(60));
    net.stop(4);
    net.run_for(Span::secs(40));
    let quorums = |net: &Net| [0, 1, 2].map(|at| net.node(at).view().quorum());
    assert_eq!(quorums(&net), [3; 3], "node 3 is forgotten, and node 4 is not");
    net.start(4);
    assert_eq!(net.node(4).view().quorum(), 4, "its store remembers node 3");
    assert!(net.run_until(Span::secs(15), |net| net.node(4).view().quorum() == 3));
    assert_eq!(quorums(&net), [3; 3], "it has told nobody of node 3");
    net.run_for(Span::secs(20));
    assert_eq!(quorums(&net), [3; 3]);
}

#[test]
fn a_dead_member_that_only_some_remember_is_a_member_to_all_of_them_soon() {
    let mut net = met(4);
    stop_all(&mut net);
    net.slots[2].store.clear();
    (0..3).for_each(|at| drop(net.start(at)));
    net.run_for(Span::secs(20));
    assert_eq!([0, 1, 2].map(|at| net.node(at).view().quorum()), [3; 3]);
    assert_eq!(net.state(2, 3), Some(PeerState::Known), "it was told of it");
    let digests = [0, 1, 2].map(|at| net.node(at).view().state_digest());
    assert_eq!(digests, [digests[0]; 3]);
}
