//! Another key for the same identity, and the attacks on it (protocol.md, section 1).

use marlos::id::{Link, PeerIdx};
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{Event, JobStatus, PeerState, Refusal};
use marlos::time::{Span, WallTime};
use marlos::wire::message::*;
use marlos::wire::{MsgType, Payload};

use crate::evidence::quarantined;
use crate::hand::{Hand, among_hands, refusals, sent, shell, state_of};
use crate::membership::met;
use crate::net::{EPOCH_US, Net, What, keys};

const MINUTE: Span = Span::secs(60);

/// Lets time pass while the hands stay alive.
fn wait(net: &mut Net, hands: &mut [Hand], span: Span) {
    let until = net.now + span;
    while net.now < until {
        for hand in hands.iter_mut() {
            let frame = hand.ping(net.now);
            let said = net.deliver(0, Link::INBOUND, &frame);
            assert_eq!(refusals(&said), [], "{:?} is heard", hand.id());
        }
        net.run_for(Span::secs(3));
    }
}

/// A hand that has rotated a minute ago, and what a thief of its old key has.
fn rotated() -> (Net, Vec<Hand>, Hand) {
    let (mut net, mut hands) = among_hands(3);
    let mut thief = hands[0].clone();
    thief.counter = 1_000_000;
    let frame = hands[0].rotate(net.now, 50);
    let said = net.deliver(0, Link::INBOUND, &frame);
    assert!(said.contains(&What::Reported(Event::KeyRotated { peer: PeerIdx(1), sequence: 1 })), "{said:?}");
    wait(&mut net, &mut hands, MINUTE + Span::secs(1));
    (net, hands, thief)
}

fn records(of: &Hand) -> Payload {
    Payload::PeerRecords(PeerRecords { members_digest: 0, complete: false, records: vec![of.record()] })
}

fn completed(net: &mut Net, at: usize) -> bool {
    let job = net.submit(at, shell(Span::secs(30)));
    let done = |net: &Net| {
        let is_it = |event: &Event| matches!(event, Event::JobCompleted { job: done, status: JobStatus::Success, .. } if *done == job);
        net.reports(at).any(|(_, event)| is_it(event))
    };
    net.run_until(Span::secs(5), done)
}

#[test]
fn a_node_changes_its_key_under_way_and_goes_on_as_the_same_member() {
    let mut net = met(4);
    net.said.clear();
    let said = net.rotate(0, 50);
    assert_eq!(sent(&said)[..1], [MsgType::KeyRotation], "the last word of the old key");
    net.run_for(Span::secs(8));
    for at in 1..4 {
        let news = net.said.iter().filter(|said| said.node == at);
        let news: Vec<&What> = news.map(|said| &said.what).collect();
        let learned =
            news.iter().position(|what| matches!(what, What::Reported(Event::KeyRotated { sequence: 1, .. })));
        let learned = learned.expect("it has heard of it");
        assert_eq!(*news[learned - 1], What::Persisted(b'r'), "durable before anything is said with it");
        assert_eq!(net.refusals(at), []);
        assert_eq!(net.state(at, 0), Some(PeerState::Alive));
    }
    assert!(net.reports(0).any(|(_, event)| *event == Event::KeyKnown { sequence: 1 }), "the old one may go");
    assert!((0..4).all(|at| completed(&mut net, at)));
    assert!(net.all_alive());
}

#[test]
fn what_the_old_key_signed_is_taken_for_a_minute() {
    let (mut net, mut hands) = among_hands(2);
    let mut late = hands[0].clone();
    late.counter = 1_000;
    let frame = hands[0].rotate(net.now, 50);
    net.deliver(0, Link::INBOUND, &frame);
    wait(&mut net, &mut hands, Span::secs(54));
    let said = late.say(&mut net, 0, &crate::hand::ping());
    assert_eq!(refusals(&said), []);
    hands[0].counter = late.counter;
    wait(&mut net, &mut hands, Span::secs(6));
    late.counter = 2_000;
    let said = late.say(&mut net, 0, &crate::hand::ping());
    assert_eq!(refusals(&said), [Refusal::BadSignature]);
}

#[test]
fn who_stole_an_old_key_can_neither_speak_nor_rotate_with_it() {
    let (mut net, mut hands, mut thief) = rotated();
    let before = state_of(net.node(0));
    let said = thief.say(&mut net, 0, &crate::hand::ping());
    assert_eq!((refusals(&said), sent(&said)), (vec![Refusal::BadSignature], vec![]));
    let frame = thief.announce(net.now);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::BadSignature]);
    let frame = thief.clone().rotate(net.now, 51);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::BadSignature], "it comes too late");
    assert_eq!(state_of(net.node(0)), before);
    // A newer record under the old key, brought by another member.
    thief.incarnation = 9;
    let said = hands[1].say(&mut net, 0, &records(&thief));
    assert_eq!((refusals(&said), sent(&said)), (vec![Refusal::RetiredKey], vec![]));
    wait(&mut net, &mut hands, Span::secs(3));
    assert!(!quarantined(&net, 0, 1));
}

#[test]
fn a_replayed_rotation_is_refused_and_counted() {
    let (mut net, mut hands) = among_hands(3);
    let over_its_link = |net: &mut Net, frame: &[u8]| net.deliver(0, Link(1), frame);
    // It was introduced over another path, on which everything may come a second time.
    for _ in 0..21 {
        let frame = hands[0].ping(net.now);
        over_its_link(&mut net, &frame);
        net.run_for(Span::secs(3));
    }
    let frame = hands[0].rotate(net.now, 50);
    over_its_link(&mut net, &frame);
    net.run_for(Span::millis(100));
    let before = state_of(net.node(0));
    let again = over_its_link(&mut net, &frame);
    assert_eq!(refusals(&again), [Refusal::Replayed]);
    assert_eq!(state_of(net.node(0)), before);
    let record = hands[0].record();
    let rotation = Payload::KeyRotation(Box::new(KeyRotation { record }));
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &rotation)), [Refusal::StaleRotation]);
    assert_eq!(refusals(&hands[1].say(&mut net, 0, &rotation)), [Refusal::BadRecord], "it is another's");
    let count = |reason: Refusal| net.node(0).view().metrics().refusals[reason as usize];
    assert_eq!((count(Refusal::Replayed), count(Refusal::StaleRotation)), (1, 1));
}

/// Evidence that hand 1 has forked, as some node found it.
fn fork_of(hand: &Hand, secrets: [u8; 2]) -> Evidence {
    let link = |secret: u8| {
        let new_key = Keys::from_secret(&[secret; 32]).public();
        hand.keys.link(1, new_key, WallTime(EPOCH_US), "marlos", &mut StrictVerifier)
    };
    let [first, second] = secrets.map(link);
    Evidence { author: hand.id(), rotations: Vec::new(), proof: Contradiction::Rotations { first, second } }
}

#[test]
fn two_rotations_of_one_key_are_evidence_that_everyone_checks() {
    let (mut net, mut hands, thief) = rotated();
    // The thief rotates too, to a key of its own, and says so with that.
    let mut forked = thief;
    forked.rotate(net.now, 51);
    let frame = forked.announce(net.now);
    let said = net.deliver(0, Link::INBOUND, &frame);
    assert_eq!(refusals(&said), [Refusal::ForkedKey]);
    assert!(said.contains(&What::Reported(Event::Proven { peer: PeerIdx(1) })), "{said:?}");
    assert_eq!(sent(&said), [MsgType::Evidence]);
    assert!(quarantined(&net, 0, 1));
    // The first key that was heard of stays: the owner is heard, and the thief is not.
    wait(&mut net, &mut hands, Span::secs(3));
    let said = forked.say(&mut net, 0, &crate::hand::ping());
    assert_eq!(refusals(&said), [Refusal::BadSignature]);

    // One that has heard of neither rotation believes what was found, because it can check it.
    let (mut other, mut hands) = among_hands(3);
    let evidence = fork_of(&Hand::new(1), [50, 51]);
    let mut forged = evidence.clone();
    let Contradiction::Rotations { second, .. } = &mut forged.proof else { unreachable!() };
    second.new_key[0] ^= 1;
    let said = hands[1].say(&mut other, 0, &Payload::Evidence(Box::new(forged)));
    assert_eq!(refusals(&said), [Refusal::BadEvidence]);
    let same = Payload::Evidence(Box::new(fork_of(&Hand::new(1), [50, 50])));
    assert_eq!(refusals(&hands[1].say(&mut other, 0, &same)), [Refusal::BadEvidence]);
    assert!(!quarantined(&other, 0, 1));
    let said = hands[2].say(&mut other, 0, &Payload::Evidence(Box::new(evidence)));
    assert_eq!((refusals(&said), sent(&said)), (vec![], vec![MsgType::Evidence]));
    assert!(quarantined(&other, 0, 1));
}

#[test]
fn evidence_holds_under_every_key_that_its_author_has_had() {
    let (mut net, mut hands, thief) = rotated();
    let statement = |winner: usize| marlos::quorum::Statement {
        job_id: marlos::id::JobId([7; 16]),
        round: 2,
        winner: keys(winner).id(),
        backup: None,
        electorate: marlos::id::ElectorateId([3; 8]),
    };
    let vote = |by: &Hand, winner| {
        let statement = statement(winner);
        SignedVote { statement, vote_signature: by.vote_signature(&statement) }
    };
    let proof = Contradiction::Votes { first: vote(&thief, 1), second: vote(&hands[0], 2) };
    let evidence = Evidence { author: hands[0].id(), rotations: hands[0].keys.chain().to_vec(), proof };
    let unchained = Evidence { rotations: Vec::new(), ..evidence.clone() };
    let said = hands[1].say(&mut net, 0, &Payload::Evidence(Box::new(unchained)));
    assert_eq!(refusals(&said), [Refusal::BadEvidence], "nobody can check it without the chain");
    hands[1].say(&mut net, 0, &Payload::Evidence(Box::new(evidence)));
    assert!(quarantined(&net, 0, 1), "who rotates answers for what it did before");
}

#[test]
fn a_chain_that_is_too_long_or_comes_too_early_is_refused() {
    let (mut net, mut hands) = among_hands(2);
    let mut greedy = hands[0].clone();
    let far = |n: u64| WallTime(EPOCH_US + n * 100_000_000);
    for n in 0..MAX_ROTATIONS as u64 {
        greedy.keys = greedy.keys.rotated(&[100 + n as u8; 32], far(n), "marlos").expect("as long as it may be");
    }
    greedy.sequence = 2;
    let record = greedy.record();
    let mut longer = record.clone();
    longer.rotations.push(greedy.keys.link(17, [9; 32], far(17), "marlos", &mut StrictVerifier));
    for (what, record, reason) in
        [("one more", longer, Refusal::Malformed), ("of the future", record, Refusal::BadRecord)]
    {
        let rotation = Payload::KeyRotation(Box::new(KeyRotation { record }));
        assert_eq!(refusals(&hands[0].say(&mut net, 0, &rotation)), [reason], "{what}");
    }
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &crate::hand::ping())), [], "its key is what it was");
}

#[test]
fn a_restart_keeps_the_chains_that_it_knows() {
    let mut net = met(3);
    net.rotate(0, 50);
    net.run_for(MINUTE + Span::secs(3));
    net.stop(1);
    net.stop(0);
    net.run_for(Span::secs(1));
    net.start(1);
    net.run_for(Span::secs(1));
    // The only voice that claims to be node 0 is that of its stolen old key, in a new life.
    let mut thief = Hand { incarnation: 9, ..Hand::new(0) };
    let frame = thief.announce(net.now);
    assert_eq!(refusals(&net.deliver(1, Link::INBOUND, &frame)), [Refusal::BadSignature]);
    assert_eq!(net.state(1, 0), Some(PeerState::Known), "nobody is met by that");
    net.start(0);
    let met = net.run_until(Span::secs(20), Net::all_alive);
    assert!(met, "the owner is met again");
}

#[test]
fn who_missed_a_rotation_learns_it_from_the_record_that_is_signed_with_the_new_key() {
    for nodes in [2, 4] {
        let mut net = met(nodes);
        // It is made while the process is down, so that nobody hears the old key say so.
        net.stop(0);
        net.rotate(0, 50);
        net.run_for(Span::secs(1));
        net.start(0);
        assert!(net.run_until(Span::secs(20), Net::all_alive), "{nodes} nodes");
        net.run_for(Span::secs(8));
        assert!(net.reports(0).any(|(_, event)| *event == Event::KeyKnown { sequence: 1 }), "{nodes} nodes");
        assert!((0..nodes).all(|at| completed(&mut net, at)), "{nodes} nodes");
        // Cut off, one does not hear of the next rotation, nor what anybody says of it.
        for other in 0..nodes - 1 {
            (net.cut[other][nodes - 1], net.cut[nodes - 1][other]) = (true, true);
        }
        net.run_for(MINUTE);
        net.rotate(0, 51);
        net.run_for(Span::secs(30));
        net.cut.iter_mut().for_each(|row| row.fill(false));
        assert!(net.run_until(Span::secs(30), Net::all_alive), "{nodes} nodes");
        assert!((0..nodes).all(|at| completed(&mut net, at)), "{nodes} nodes");
    }
}

#[test]
fn payments_go_on_over_a_rotation_of_payer_and_voters() {
    let mut net = met(4);
    assert!(completed(&mut net, 0));
    net.rotate(0, 50);
    net.rotate(2, 52);
    net.run_for(Span::secs(45));
    let applied = |net: &Net, at: usize| {
        net.reports(at).filter(|(_, event)| matches!(event, Event::TransactionApplied { .. })).count()
    };
    assert!((0..4).all(|at| applied(&net, at) == 1), "the first payment");
    net.run_for(MINUTE);
    assert!(completed(&mut net, 2));
    net.rotate(1, 51);
    net.rotate(2, 53);
    // A newcomer is shown records whose votes are of keys that are gone: others vouch for them.
    net.run_for(Span::secs(100));
    net.stop(3);
    net.slots[3].store.clear();
    net.said.clear();
    net.start(3);
    let digest = |net: &Net, at: usize| net.node(at).view().ledger_digest();
    assert!(net.run_until(Span::secs(20), |net| digest(net, 3) == digest(net, 0)));
    assert!(applied(&net, 3) >= 1 && !net.refusals(3).contains(&Refusal::BadCertificate));
}
