//! May this message in? Every check in its order, and nothing that fails changes anything (protocol.md, section 5).

use marlos::config::Codec;
use marlos::id::Link;
use marlos::io::{Event, Input, Refusal};
use marlos::time::{Span, Time};
use marlos::wire::message::Goodbye;
use marlos::wire::{MsgType, Payload};

use crate::hand::{Hand, among_hands, ping, refusals, state_of};
use crate::net::{Net, What, config, keys};

/// Delivers a frame that must be refused for this reason, and for nothing else: one event, and the same node as before.
fn assert_refused(net: &mut Net, link: Link, frame: &[u8], expected: Refusal, what: &str) {
    let before = state_of(net.node(0));
    let counted = net.node(0).view().metrics().refusals[expected as usize];
    let said = net.deliver(0, link, frame);
    assert_eq!(refusals(&said), [expected], "{what}");
    assert_eq!(said.len(), 1, "{what}: {said:?}");
    assert_eq!(state_of(net.node(0)), before, "{what}");
    assert_eq!(net.node(0).view().metrics().refusals[expected as usize], counted + 1, "{what}");
}

#[test]
fn what_an_earlier_life_may_have_taken_is_not_taken_by_the_next() {
    let (mut net, mut hands) = among_hands(3);
    let hand = &mut hands[0];
    let before = hand.ping(net.now);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &before)), []);
    net.stop(0);
    net.run_for(Span::secs(1));
    // This was said, and may have been heard, a moment before the node was back.
    hand.stamp_off_us = 250_000;
    let just_before = hand.ping(net.now - Span::micros(1));
    net.start(0);
    net.run_for(Span::millis(10));
    // A clock that is a little behind ours is no reason to refuse what comes over the connection that this life has dialled.
    let own = Link(1 + (2..=3).filter(|at| keys(*at).id() < hand.id()).count() as u32);
    hand.stamp_off_us = -250_000;
    let now = hand.ping(net.now);
    assert_eq!(refusals(&net.deliver(0, own, &now)), []);
    let again = hand.ping(net.now);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &again)), [Refusal::StaleTimestamp]);
    net.run_for(Span::millis(500));
    let announce = hand.announce(net.now);
    assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &announce)), []);
    for frame in [before, just_before] {
        assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::StaleTimestamp]);
    }
}

#[test]
fn each_refusal_has_its_reason_and_changes_nothing() {
    for codec in [Codec::Bincode, Codec::Json] {
        let (mut net, mut hands) = among_hands(3);
        let now = net.now;
        let hand = &mut hands[0];
        hand.codec = codec;
        let link = Link(1);
        let frame = hand.ping(now);
        let huge = vec![1u8; config(0).max_message_size as usize + 1];
        assert_refused(&mut net, link, &huge, Refusal::TooLarge, "larger than any message");
        assert_refused(&mut net, link, b"", Refusal::Malformed, "nothing");
        assert_refused(&mut net, link, &frame[..frame.len() / 2], Refusal::Malformed, "half a frame");
        assert_refused(&mut net, link, &[&[9], &frame[1..]].concat(), Refusal::WrongVersion, "version 9");

        let mut foreign = Hand { network: "other".into(), codec, ..Hand::new(1) };
        let frame = foreign.ping(now);
        assert_refused(&mut net, link, &frame, Refusal::WrongNetwork, "of another network");

        let frame = hand.seal(now, Some(keys(2).id()), &ping());
        assert_refused(&mut net, link, &frame, Refusal::WrongRecipient, "for another");
        let mut own = Hand { codec, counter: 1_000, ..Hand::new(0) };
        let frame = own.ping(now);
        assert_refused(&mut net, link, &frame, Refusal::FromSelf, "in our own name");
        let mut stranger = Hand { codec, ..Hand::new(20) };
        let frame = stranger.ping(now);
        assert_refused(&mut net, link, &frame, Refusal::UnknownSender, "a stranger");

        for (off, expected) in [
            (-30_000_001, Some(Refusal::StaleTimestamp)),
            (-30_000_000, None),
            (30_000_000, None),
            (30_000_001, Some(Refusal::StaleTimestamp)),
        ] {
            hand.stamp_off_us = off;
            let frame = hand.ping(now);
            match expected {
                Some(reason) => assert_refused(&mut net, link, &frame, reason, "a stamp beyond the tolerance"),
                None => assert_eq!(refusals(&net.deliver(0, link, &frame)), [], "a stamp of {off} us is tolerated"),
            }
        }
        hand.stamp_off_us = 0;

        let frame = hand.ping(now);
        assert_eq!(refusals(&net.deliver(0, link, &frame)), []);
        // Past the time in which it may honestly come twice, over the stream on which it came.
        let mut frame = frame;
        for _ in 0..21 {
            net.run_for(Span::secs(3));
            frame = hand.ping(net.now);
            net.deliver(0, link, &frame);
        }
        assert_refused(&mut net, link, &frame, Refusal::Replayed, "the same frame again");

        hand.incarnation = 2;
        hand.counter = 0;
        let frame = hand.ping(net.now);
        assert_eq!(refusals(&net.deliver(0, link, &frame)), []);
        hand.incarnation = 1;
        hand.counter = 9_000;
        let frame = hand.ping(net.now);
        assert_refused(&mut net, link, &frame, Refusal::StaleIncarnation, "from before its restart");
        hand.incarnation = 2;

        let mut forged = Hand { codec, keys: keys(9), incarnation: 2, counter: 50, ..Hand::new(1) };
        let header = marlos::wire::Header { sender: hand.id(), ..forged.header(net.now, None, MsgType::Ping) };
        let frame = forged.seal_as(header, &ping());
        assert_refused(&mut net, link, &frame, Refusal::BadSignature, "signed with another's key");
    }
}

#[test]
fn a_replay_is_refused_even_when_it_is_the_worst_there_is() {
    // Goodbye again after a restart of nobody: it must not mark a live member as gone.
    let (mut net, mut hands) = among_hands(3);
    let goodbye = hands[0].seal(net.now, None, &Payload::Goodbye(Goodbye {}));
    net.deliver(0, Link(1), &goodbye);
    assert_eq!(net.state(0, 1), Some(marlos::io::PeerState::Left));
    let frame = hands[0].ping(net.now);
    net.deliver(0, Link(1), &frame);
    assert_eq!(net.state(0, 1), Some(marlos::io::PeerState::Alive));
    for link in [Link(1), Link::INBOUND, Link::BEACON] {
        let said = net.deliver(0, link, &goodbye);
        assert!(said.iter().all(|what| matches!(what, What::Reported(Event::Refused { .. }))), "{said:?}");
        assert_eq!(net.state(0, 1), Some(marlos::io::PeerState::Alive), "replayed over {link:?}");
    }
}

#[test]
fn a_copy_over_another_path_is_dropped_without_a_trace() {
    let (mut net, mut hands) = among_hands(2);
    let frame = hands[0].ping(net.now);
    net.deliver(0, Link(1), &frame);
    let before = state_of(net.node(0));
    assert_eq!(net.deliver(0, Link::INBOUND, &frame), []);
    assert_eq!(state_of(net.node(0)), before);
}

#[test]
fn the_own_beacon_that_multicast_returns_is_ignored_in_silence() {
    let (mut net, _) = among_hands(2);
    let mut own = Hand { counter: 1_000, ..Hand::new(0) };
    let frame = own.announce(net.now);
    let before = state_of(net.node(0));
    assert_eq!(net.deliver(0, Link::BEACON, &frame), []);
    assert_eq!(state_of(net.node(0)), before);
}

#[test]
fn a_member_that_says_too_much_is_refused_for_an_hour() {
    let (mut net, mut hands) = among_hands(2);
    net.run_for(Span::secs(3));
    let mut accepted = 0;
    let banned = loop {
        let frame = hands[0].ping(net.now);
        let said = net.deliver(0, Link(1), &frame);
        if !refusals(&said).is_empty() {
            break said;
        }
        accepted += 1;
    };
    assert_eq!(accepted, 200, "the burst");
    assert_eq!(refusals(&banned), [Refusal::RateLimited]);
    assert!(banned.iter().any(|what| matches!(what, What::Reported(Event::Blacklisted { .. }))));
    assert_eq!(net.node(0).view().blacklisted(net.now), 1);
    for (after, expected) in [(0, Some(Refusal::Blacklisted)), (3_599, Some(Refusal::Blacklisted)), (1, None)] {
        net.now += Span::secs(after);
        let frame = hands[0].ping(net.now);
        let link = Link(1);
        assert_eq!(
            refusals(&net.deliver(0, link, &frame)),
            expected.into_iter().collect::<Vec<_>>(),
            "{after} s later"
        );
    }
    let frame = hands[1].ping(net.now);
    assert_eq!(refusals(&net.deliver(0, Link(2), &frame)), [], "the other is not touched");
}

#[test]
fn nobody_gets_another_banned_with_forged_or_replayed_messages() {
    let (mut net, mut hands) = among_hands(2);
    net.run_for(Span::secs(3));
    let genuine = hands[0].ping(net.now);
    net.deliver(0, Link(1), &genuine);
    for n in 0..1_000 {
        let mut forged = Hand { keys: keys(9), incarnation: 1, counter: 500 + n, ..Hand::new(1) };
        let header = marlos::wire::Header { sender: hands[0].id(), ..forged.header(net.now, None, MsgType::Ping) };
        let frame = forged.seal_as(header, &ping());
        assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::BadSignature]);
        net.deliver(0, Link(1), &genuine);
    }
    let frame = hands[0].ping(net.now);
    assert_eq!(refusals(&net.deliver(0, Link(1), &frame)), []);
    assert_eq!(net.node(0).view().blacklisted(net.now), 0);
}

#[test]
fn an_honest_node_that_submits_a_hundred_jobs_a_second_is_never_limited() {
    for count in [3, 5] {
        let mut net = crate::membership::met(count);
        let mut jobs = Vec::new();
        for _ in 0..600 {
            jobs.push(net.submit(1, crate::hand::shell(Span::secs(60))));
            net.run_for(Span::millis(10));
        }
        net.run_for(Span::secs(5));
        for at in 0..count {
            let refused = net.refusals(at);
            let limited = refused.iter().filter(|reason| matches!(reason, Refusal::RateLimited | Refusal::Blacklisted));
            assert_eq!(limited.count(), 0, "at node {at} of {count}");
        }
        let done = jobs.iter().filter(|job| net.outputs.contains_key(job)).count();
        assert_eq!(done, jobs.len(), "of {count} nodes");
    }
}

#[test]
fn an_honest_node_whose_frames_were_held_up_for_ten_seconds_is_not_banned() {
    // What a network does in a TCP stall, and what waits in the sockets of a node that stood still.
    let (mut net, mut hands) = among_hands(2);
    net.run_for(Span::secs(3));
    let mut held = Vec::new();
    for _ in 0..800 {
        net.now += Span::micros(12_500);
        held.push(hands[0].ping(net.now));
    }
    net.input(0, Input::Wake);
    held.iter().for_each(|frame| drop(net.deliver(0, Link(1), frame)));
    assert_eq!(net.node(0).view().blacklisted(net.now), 0, "80 messages a second are within the limit");
}

#[test]
fn the_checks_come_cheapest_first() {
    // One frame that is wrong in everything is refused for the first of it; put right step by step, for the next.
    let (mut net, mut hands) = among_hands(2);
    net.run_for(Span::secs(1));
    let now: Time = net.now;
    let hand = &mut hands[0];
    let mut wrong = Hand { network: "other".into(), keys: keys(9), ..Hand::new(1) };
    let header = wrong.header(Time(now.0 + 60_000_000), Some(keys(2).id()), MsgType::Ping);
    let with =
        |net: &mut Net, header, signer: &Hand| refusals(&net.deliver(0, Link(1), &signer.seal_as(header, &ping())));
    let header = marlos::wire::Header { incarnation: 0, sender: keys(0).id(), ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::WrongNetwork]);
    let header = marlos::wire::Header { network_tag: marlos::wire::network_tag("marlos"), ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::WrongRecipient]);
    let header = marlos::wire::Header { to: None, ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::FromSelf]);
    let header = marlos::wire::Header { sender: keys(9).id(), ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::UnknownSender]);
    let header = marlos::wire::Header { sender: hand.id(), ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::StaleTimestamp]);
    let header = marlos::wire::Header { timestamp: hand.header(now, None, MsgType::Ping).timestamp, ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::StaleIncarnation]);
    let header = marlos::wire::Header { incarnation: 1, counter: 1, ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::Replayed]);
    let header = marlos::wire::Header { counter: 77, ..header };
    assert_eq!(with(&mut net, header, &wrong), [Refusal::BadSignature]);
    assert_eq!(with(&mut net, header, hand), []);
}
