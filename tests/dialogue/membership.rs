//! Who is there (protocol.md, section 4).

use marlos::config::{Bootstrap, Config, Membership};
use marlos::id::{Link, NodeId};
use marlos::io::{Command, Event, Input, PeerState, Refusal};
use marlos::time::{Span, Time};
use marlos::wire::message::{PeerAnnounce, PeerRecords, PeerSeen};
use marlos::wire::{MsgType, Payload};

use crate::hand::{Hand, among_hands, refusals, sent, state_of};
use crate::net::{Net, What, config, keys};

fn bootstrap(at: usize) -> Bootstrap {
    Bootstrap { pub_endpoint: format!("tcp://n{at}:1"), sub_endpoint: format!("tcp://n{at}:2") }
}

/// `count` nodes, each with the bootstrap that `first_contact` names.
pub fn net_of(count: usize, first_contact: impl Fn(usize) -> Option<usize>) -> Net {
    let of = |at| Config { bootstrap: first_contact(at).map(bootstrap).into_iter().collect(), ..config(at) };
    Net::new((0..count).map(of).collect())
}

/// A star around node 0, started and met.
pub fn met(count: usize) -> Net {
    let mut net = net_of(count, |at| (at > 0).then_some(0));
    (0..count).for_each(|at| drop(net.start(at)));
    assert!(net.run_until(Span::secs(5), Net::all_alive), "they meet");
    net.run_for(Span::secs(5));
    net
}

fn state_times(net: &Net, at: usize, of: usize) -> Vec<(Time, PeerState)> {
    let peer = (0..net.node(at).view().members()).map(marlos::id::PeerIdx);
    let peer = peer.into_iter().find(|peer| net.node(at).view().peer_id(*peer) == keys(of).id()).expect("known");
    let state = |(time, event): (Time, &Event)| match event {
        Event::PeerState { peer: seen, state } if *seen == peer => Some((time, *state)),
        _ => None,
    };
    net.reports(at).filter_map(state).collect()
}

fn last_heard(net: &Net, at: usize, of: usize) -> Time {
    let peer = net.node(at).view().peers(net.now).find(|peer| peer.id == keys(of).id()).expect("known");
    net.now - peer.silent_for.expect("heard")
}

#[test]
fn three_nodes_with_one_first_contact_each_know_each_other_within_two_seconds() {
    for contact in [[None, Some(0), Some(0)], [Some(1), Some(2), Some(0)], [Some(2), Some(2), None]] {
        let mut net = net_of(3, |at| contact[at]);
        (0..3).for_each(|at| drop(net.start(at)));
        assert!(net.run_until(Span::secs(2), Net::all_alive), "{contact:?}");
    }
}

#[test]
fn nodes_with_nothing_but_beacons_know_each_other_within_two_seconds() {
    let mut net = net_of(3, |_| None);
    net.beacons = true;
    (0..3).for_each(|at| drop(net.start(at)));
    assert!(net.run_until(Span::secs(2), Net::all_alive));
}

#[test]
fn a_chain_of_first_contacts_becomes_a_full_mesh_within_five_seconds_in_either_order_of_start() {
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]] {
        let mut net = net_of(6, |at| at.checked_sub(1));
        for at in order {
            net.start(at);
            net.run_for(Span::millis(100));
        }
        assert!(net.run_until(Span::secs(5), Net::all_alive), "{order:?}");
        net.run_for(Span::secs(10));
        assert!(net.all_alive());
        assert!(
            (0..6).all(|at| net.refusals(at).is_empty()),
            "{:?}",
            (0..6).map(|at| net.refusals(at)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_forged_announce_is_refused_and_changes_nothing() {
    let (mut net, mut hands) = among_hands(1);
    let before = state_of(net.node(0));
    let deadline = net.node(0).next_deadline();
    let mut mallory = Hand::new(7);
    let own = mallory.record();
    let mut other_key = own.clone();
    other_key.public_key = keys(8).public();
    let mut other_id = own.clone();
    other_id.node_id = keys(8).id();
    let mut other_endpoint = own.clone();
    other_endpoint.pub_endpoint = "tcp://elsewhere:1".into();
    let table = [
        ("another's key", other_key, Refusal::BadRecord),
        ("another's id", other_id, Refusal::UnknownSender),
        ("an endpoint that was not signed", other_endpoint, Refusal::BadRecord),
    ];
    for (what, record, expected) in table {
        let said =
            mallory.say(&mut net, 0, &Payload::PeerAnnounce(Box::new(PeerAnnounce { record, want_records: true })));
        assert_eq!(refusals(&said), [expected], "{what}");
        assert_eq!(said.len(), 1, "{what}: {said:?}");
        assert_eq!(state_of(net.node(0)), before, "{what}");
    }
    let mut frame = mallory.announce(net.now);
    *frame.last_mut().expect("bytes") ^= 1;
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::BadSignature]);
    assert_eq!(state_of(net.node(0)), before);
    assert_eq!(net.node(0).next_deadline(), deadline);
    // A known member cannot announce somebody else either.
    let said =
        hands[0].say(&mut net, 0, &Payload::PeerAnnounce(Box::new(PeerAnnounce { record: own, want_records: false })));
    assert_eq!(refusals(&said), [Refusal::BadRecord]);
    assert_eq!(net.node(0).view().members(), 2);
}

#[test]
fn an_older_record_never_replaces_a_newer_one() {
    let (mut net, mut hands) = among_hands(2);
    let mut subject = Hand::new(9);
    subject.incarnation = 5;
    let newer = subject.announce(net.now);
    net.deliver(0, Link::INBOUND, &newer);
    let seen =
        |net: &Net| net.node(0).view().peers(net.now).find(|peer| peer.id == keys(9).id()).map(|p| p.incarnation);
    assert_eq!(seen(&net), Some(5));
    subject.incarnation = 4;
    let records = vec![subject.record()];
    let said =
        hands[0].say(&mut net, 0, &Payload::PeerRecords(PeerRecords { members_digest: 0, complete: false, records }));
    assert_eq!(refusals(&said), []);
    assert_eq!(seen(&net), Some(5), "passed on by a third");
    net.run_for(Span::millis(10));
    let own = subject.announce(net.now);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &own)), [Refusal::StaleIncarnation]);
    assert_eq!(seen(&net), Some(5), "by itself");
    subject.incarnation = 6;
    let own = subject.announce(net.now);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &own)), []);
    assert_eq!(seen(&net), Some(6));
}

#[test]
fn a_restarted_node_has_a_higher_incarnation_and_is_accepted_at_once() {
    let mut net = met(4);
    net.stop(2);
    net.run_for(Span::secs(3));
    let said = net.start(2);
    assert!(said.contains(&What::Reported(Event::Started { incarnation: 2 })), "{said:?}");
    let (persisted, spoken) =
        (position(&said, |w| *w == What::Persisted(b'i')), position(&said, |w| matches!(w, What::Sent { .. })));
    assert!(persisted < spoken, "the incarnation is durable before anything is said in it");
    let accepted = |net: &Net| [0, 1, 3].iter().all(|at| net.state(*at, 2) == Some(PeerState::Alive));
    assert!(net.run_until(Span::secs(1), accepted));
    assert!(net.run_until(Span::secs(3), Net::all_alive), "it has heard everybody's heartbeat");
    assert_eq!(net.refusals(0), []);
}

#[test]
fn a_first_contact_that_restarts_before_anybody_misses_it_hears_the_others_again() {
    let mut net = met(4);
    net.stop(0);
    net.run_for(Span::millis(100));
    net.start(0);
    assert!(net.run_until(Span::secs(5), Net::all_alive));
}

#[test]
fn a_member_that_all_the_others_have_forgotten_is_met_again_though_it_hears_them_all() {
    for offset in 0..10 {
        let mut net = met(4);
        net.run_for(Span::millis(500 * offset));
        // The others restart and find each other. Node 3 hears their heartbeats, but nothing by which they ask for it.
        net.fate = Box::new(|from, to, kind| (from != 3 && (to != 3 || kind == MsgType::Ping)).then_some(Span::ZERO));
        for at in 0..3 {
            net.stop(at);
            net.slots[at].store.retain(|key, _| key[0] == b'i');
            net.start(at);
        }
        net.run_for(Span::secs(6));
        assert!((0..3).all(|at| net.state(at, 3).is_none()), "none of them knows it");
        net.fate = Box::new(|_, _, _| Some(Span::ZERO));
        let met = net.run_until(Span::secs(30), Net::all_alive);
        assert!(met, "{offset}: {:?}", (0..4).map(|at| (net.state(at, 3), net.state(3, at))).collect::<Vec<_>>());
    }
}

pub fn position(said: &[What], is: impl Fn(&What) -> bool) -> usize {
    said.iter().position(is).unwrap_or(usize::MAX)
}

#[test]
fn a_node_that_lost_its_store_is_told_so_and_is_alive_again_within_seconds() {
    // The one that everybody bootstraps from, and one that bootstraps; down for a moment, and for long.
    for (lost, down) in [(2, 100), (2, 5_000), (2, 60_000), (0, 100), (0, 5_000), (0, 60_000)] {
        let mut net = met(4);
        net.stop(lost);
        net.run_for(Span::millis(500));
        net.start(lost);
        net.run_for(Span::secs(5));
        net.stop(lost);
        net.run_for(Span::millis(down));
        net.slots[lost].store.clear();
        let said = net.start(lost);
        assert!(said.contains(&What::Reported(Event::Started { incarnation: 1 })));
        assert!(net.run_until(Span::secs(6), Net::all_alive), "node {lost}, down for {down} ms");
        assert!(net.reports(lost).any(|(_, event)| *event == Event::Started { incarnation: 3 }));
        let refused = (0..4).any(|at| net.refusals(at).contains(&Refusal::StaleIncarnation));
        assert!(refused, "it was refused before");
    }
}

#[test]
fn a_node_that_lost_its_store_is_told_so_even_by_those_that_restarted_meanwhile() {
    let mut net = met(3);
    net.stop(2);
    net.run_for(Span::secs(1));
    net.start(2);
    net.run_for(Span::secs(5));
    for at in 0..3 {
        net.stop(at);
    }
    net.slots[2].store.clear();
    net.run_for(Span::secs(1));
    for at in [2, 0, 1] {
        net.start(at);
        net.run_for(Span::millis(500));
    }
    assert!(net.run_until(Span::secs(6), Net::all_alive), "only their stores remember its second life");
    assert_eq!(net.node(2).view().incarnation(), 3);
}

#[test]
fn whoever_speaks_as_an_outlived_life_is_told_whatever_it_says() {
    let (mut net, _) = among_hands(1);
    let mut subject = Hand::new(9);
    subject.incarnation = 5;
    let newest = subject.announce(net.now);
    net.deliver(0, Link::INBOUND, &newest);
    net.run_for(Span::secs(2));
    subject.incarnation = 1;
    let frame = subject.ping(net.now);
    let said = net.deliver(0, Link(2), &frame);
    assert_eq!(refusals(&said), [Refusal::StaleIncarnation]);
    assert_eq!(sent(&said), [MsgType::PeerRecords], "it is told of its fifth life");
    let frame = subject.ping(net.now);
    assert_eq!(sent(&net.deliver(0, Link(2), &frame)), [], "but not for every message");
}

#[test]
fn goodbye_is_said_at_once_however_busy_the_node_is_and_marks_it_left() {
    let mut net = met(3);
    for _ in 0..100 {
        net.submit(1, crate::hand::shell(Span::secs(60)));
    }
    let said = net.input(1, Input::Command(Command::Leave));
    assert!(!sent(&said).is_empty(), "goodbye leaves in the same call");
    net.stop(1);
    net.run_for(Span::millis(50));
    assert_eq!(net.state(0, 1), Some(PeerState::Left));
    assert_eq!(net.state(2, 1), Some(PeerState::Left));
    net.run_for(Span::secs(30));
    assert_eq!(net.state(0, 1), Some(PeerState::Left));
    net.start(1);
    assert!(net.run_until(Span::secs(4), Net::all_alive));
}

#[test]
fn a_node_that_has_said_goodbye_and_is_not_stopped_does_not_spin() {
    let mut net = met(3);
    net.input(1, Input::Command(Command::Leave));
    for _ in 0..10 {
        net.now += Span::secs(1);
        net.input(1, Input::Wake);
        assert!(net.node(1).next_deadline().is_none_or(|due| due > net.now), "what is due was done");
    }
}

#[test]
fn a_silent_member_is_suspected_after_seven_and_a_half_seconds_and_dead_a_second_later() {
    let mut net = met(4);
    (0..4).for_each(|to| net.cut[3][to] = true);
    let heard: Vec<Time> = {
        net.run_for(Span::millis(20));
        (0..3).map(|at| last_heard(&net, at, 3)).collect()
    };
    net.said.clear();
    net.run_for(Span::secs(14));
    for (at, heard) in heard.into_iter().enumerate() {
        let suspected = heard + Span::millis(7_500);
        let expected = [(suspected, PeerState::Suspect), (suspected + Span::secs(1), PeerState::Dead)];
        assert_eq!(state_times(&net, at, 3), expected, "at node {at}");
    }
}

#[test]
fn a_member_that_others_hear_stays_alive_until_the_hard_limit() {
    let mut net = met(4);
    net.cut[3][0] = true;
    net.run_for(Span::millis(20));
    let heard = last_heard(&net, 0, 3);
    net.said.clear();
    net.run_for(Span::secs(20));
    let states = state_times(&net, 0, 3);
    assert_eq!(states.first(), Some(&(heard + Span::millis(7_500), PeerState::Suspect)));
    assert_eq!(states.get(1).map(|(_, state)| *state), Some(PeerState::Alive), "{states:?}");
    let (dead, state) = *states.last().expect("some");
    assert_eq!(state, PeerState::Dead);
    assert!(dead <= heard + Span::secs(15) && dead >= heard + Span::millis(14_900), "{states:?}, heard {heard}");
    assert!(state_times(&net, 1, 3).is_empty(), "others are not bothered");
}

#[test]
fn a_sign_of_life_that_is_as_old_as_a_suspicion_does_not_lift_one() {
    let mut net = met(4);
    net.cut[3][0] = true;
    net.run_for(Span::secs(4));
    (1..3).for_each(|to| net.cut[3][to] = true);
    net.said.clear();
    net.run_for(Span::secs(20));
    // The others heard it later than node 0 did, so that they always know better, for a while.
    let states: Vec<PeerState> = state_times(&net, 0, 3).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [PeerState::Suspect, PeerState::Alive, PeerState::Suspect, PeerState::Dead]);
}

#[test]
fn a_liar_cannot_hold_a_dead_member_for_alive_beyond_the_hard_limit() {
    let (mut net, mut hands) = among_hands(2);
    let heard = net.now - Span::millis(100);
    let mut dead_at = None;
    while net.now < heard + Span::secs(20) && dead_at.is_none() {
        let liar = &mut hands[1];
        let (frame, lie) = (liar.ping(net.now), PeerSeen { node_id: keys(1).id(), silent_for: Span::ZERO });
        net.deliver(0, Link::INBOUND, &frame);
        liar.say(&mut net, 0, &Payload::PeerSeen(lie));
        net.run_for(Span::millis(200));
        dead_at = (net.state(0, 1) == Some(PeerState::Dead)).then_some(net.now);
    }
    let dead_at = dead_at.expect("it dies");
    assert!(dead_at <= heard + Span::millis(15_200), "{dead_at}");
    assert!(dead_at >= heard + Span::secs(14), "the lies did count before: {dead_at}");
}

#[test]
fn a_crash_that_breaks_its_connections_is_noticed_within_a_second_and_a_half() {
    let mut net = met(5);
    net.stop(4);
    let crashed = net.now;
    let all = |net: &Net| (0..4).all(|at| net.state(at, 4) == Some(PeerState::Dead));
    assert!(net.run_until(Span::millis(1_500), all), "crashed at {crashed}");
}

#[test]
fn having_heard_a_member_before_its_connection_broke_does_not_vouch_for_it() {
    let mut net = met(5);
    // Node 0 has missed a heartbeat or two of node 4; the others have not, until it dies.
    net.cut[4][0] = true;
    net.run_for(Span::secs(4));
    net.said.clear();
    net.stop(4);
    net.run_for(Span::secs(2));
    let states: Vec<PeerState> = state_times(&net, 0, 4).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [PeerState::Suspect, PeerState::Dead]);
}

#[test]
fn a_connection_that_breaks_between_two_kills_nobody_whom_others_hear() {
    let mut net = met(4);
    net.said.clear();
    net.break_link(0, 3);
    net.run_for(Span::secs(10));
    let states: Vec<PeerState> = state_times(&net, 0, 3).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [PeerState::Suspect, PeerState::Alive]);
}

#[test]
fn a_node_that_stood_still_for_twenty_seconds_declares_nobody_dead() {
    let mut net = met(4);
    net.said.clear();
    net.slots[1].still_until = net.now + Span::secs(20);
    net.run_for(Span::secs(25));
    let declared = |(_, event): (Time, &Event)| matches!(event, Event::PeerState { state: PeerState::Dead, .. });
    assert!(!net.reports(1).any(declared), "it was itself that was away");
    assert!((0..4).filter(|at| *at != 1).all(|at| net.reports(at).any(declared)), "the others saw it go");
    assert!(net.run_until(Span::secs(5), Net::all_alive));
    assert!((0..4).all(|at| net.node(at).view().blacklisted(net.now) == 0));
}

#[test]
fn heartbeats_are_three_seconds_apart_however_often_the_node_is_woken() {
    let mut net = met(3);
    net.said.clear();
    for _ in 0..3_000 {
        net.run_for(Span::millis(10));
        net.input(0, Input::Wake);
    }
    let beats: Vec<Time> = net.reports(0).filter(|(_, event)| **event == Event::Pinged).map(|(at, _)| at).collect();
    assert_eq!(beats.len(), 10);
    assert!(beats.windows(2).all(|pair| pair[1].since(pair[0]) == Span::secs(3)), "{beats:?}");
}

#[test]
fn a_dead_member_votes_until_it_is_forgotten_and_then_the_electorate_shrinks() {
    let mut net = met(4);
    for slot in &mut net.slots {
        slot.config.forget_after = Span::secs(60);
    }
    for at in 0..4 {
        net.stop(at);
        net.run_for(Span::secs(1));
        net.start(at);
    }
    net.run_for(Span::secs(10));
    assert_eq!(net.node(0).view().quorum(), 3);
    net.stop(3);
    net.run_for(Span::secs(50));
    assert_eq!(net.node(0).view().quorum(), 3, "dead is not forgotten");
    net.run_for(Span::secs(15));
    assert!((0..3).all(|at| net.node(at).view().quorum() == 2), "three members: a quorum of two");
    net.start(3);
    assert!(net.run_until(Span::secs(10), Net::all_alive), "and it comes back");
    assert!((0..4).all(|at| net.node(at).view().quorum() == 3));
}

#[test]
fn a_forgotten_member_that_comes_back_to_one_is_met_again_by_all() {
    let mut net = net_of(4, |at| (at > 0).then_some(0));
    net.slots.iter_mut().for_each(|slot| slot.config.forget_after = Span::secs(30));
    (0..4).for_each(|at| drop(net.start(at)));
    net.run_for(Span::secs(5));
    net.stop(3);
    net.run_for(Span::secs(60));
    assert!((0..3).all(|at| net.node(at).view().quorum() == 2), "forgotten");
    net.start(3);
    net.run_for(Span::secs(30));
    assert!(net.all_alive(), "{:?}", (0..3).map(|at| net.state(at, 3)).collect::<Vec<_>>());
}

#[test]
fn a_record_that_one_member_missed_is_found_by_its_digest_and_repaired() {
    let mut net = met(4);
    // Node 3 hears nothing but heartbeats for a while: it misses who came.
    net.slots[2].config.node_name = "renamed".into();
    net.fate = Box::new(|_, to, kind| (to != 3 || kind == MsgType::Ping).then_some(Span::ZERO));
    net.stop(2);
    net.run_for(Span::millis(200));
    net.start(2);
    net.run_for(Span::secs(3));
    let incarnation =
        |net: &Net| net.node(3).view().peers(net.now).find(|peer| peer.id == keys(2).id()).map(|peer| peer.incarnation);
    assert_eq!(incarnation(&net), Some(1), "it has missed the announce");
    net.fate = Box::new(|_, _, _| Some(Span::ZERO));
    assert!(net.run_until(Span::secs(10), |net| incarnation(net) == Some(2)));
}

#[test]
fn no_more_than_max_members_are_taken_in() {
    let mut net = Net::new(vec![Config { max_members: 4, ..config(0) }]);
    net.start(0);
    for at in 1..=3 {
        let frame = Hand::new(at).announce(net.now);
        assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), []);
    }
    let before = state_of(net.node(0));
    let frame = Hand::new(4).announce(net.now);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::TooManyMembers]);
    assert_eq!(state_of(net.node(0)), before);
    assert_eq!(net.node(0).view().members(), 4);
}

#[test]
fn with_fixed_membership_exactly_the_listed_ids_vote() {
    let listed: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
    let mut net = net_of(6, |at| (at > 0).then_some(0));
    net.slots.iter_mut().for_each(|slot| slot.config.membership = Membership::Fixed(listed.clone()));
    [0, 1, 4, 5].iter().for_each(|at| drop(net.start(*at)));
    net.run_for(Span::secs(5));
    let view = net.node(0).view();
    assert_eq!((view.members(), view.reachable(), view.quorum()), (4, 4, 3));
    assert!(view.degraded(), "two of the four that vote are there, and three are needed");
    net.start(2);
    net.run_for(Span::secs(3));
    assert!(!net.node(0).view().degraded());
    let job = net.submit(4, crate::hand::shell(Span::secs(30)));
    assert!(net.run_until(Span::secs(10), |net| net.outputs.contains_key(&job)), "an observer may submit");
    let voted = |at: usize| net.reports(at).any(|(_, event)| matches!(event, Event::Voted { .. }));
    assert_eq!((0..6).filter(|at| net.is_up(*at) && voted(*at)).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn names_that_are_made_up_take_no_connection_of_a_voter_that_comes_back() {
    let listed: Vec<NodeId> = (0..3).map(|at| keys(at).id()).collect();
    let mut net = net_of(3, |at| (at != 1).then_some(1));
    for slot in &mut net.slots {
        slot.config.membership = Membership::Fixed(listed.clone());
        slot.config.max_peers = 3;
    }
    (0..3).for_each(|at| drop(net.start(at)));
    net.run_for(Span::secs(5));
    net.stop(2);
    net.run_for(Span::secs(20));
    assert_eq!(net.state(0, 2), Some(PeerState::Dead));
    let mut liar = Hand::new(7);
    let frame = liar.announce(net.now);
    net.deliver(0, Link::INBOUND, &frame);
    let records = (20..30).map(|at| Hand::new(at).record()).collect();
    let names = Payload::PeerRecords(PeerRecords { members_digest: 0, complete: false, records });
    assert_eq!(refusals(&liar.say(&mut net, 0, &names)), []);
    net.start(2);
    assert!(net.run_until(Span::secs(5), Net::all_alive), "{:?}", net.state(0, 2));
}

#[test]
fn a_newcomer_meets_a_first_contact_that_knows_more_members_than_one_message_holds() {
    let mut net = net_of(2, |at| at.checked_sub(1));
    net.start(0);
    let mut liar = Hand::new(7);
    let frame = liar.announce(net.now);
    net.deliver(0, Link::INBOUND, &frame);
    let name = |n: u16| {
        let mut secret = [9; 32];
        secret[..2].copy_from_slice(&n.to_le_bytes());
        Hand { keys: marlos::identity::Keys::from_secret(&secret), ..Hand::new(8) }.record()
    };
    for first in [0, 250, 500] {
        let records = (first..first + 250).map(name).collect();
        let names = Payload::PeerRecords(PeerRecords { members_digest: 0, complete: false, records });
        assert_eq!(refusals(&liar.say(&mut net, 0, &names)), []);
    }
    net.run_for(Span::secs(3));
    net.start(1);
    assert!(net.run_until(Span::secs(2), |net| net.state(1, 0) == Some(PeerState::Alive)), "{:?}", net.refusals(1));
    net.run_for(Span::secs(2));
    assert_eq!(net.node(1).view().members(), 753);
}
