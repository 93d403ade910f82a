//! Catching up after an absence (protocol.md, section 10).

use marlos::io::Refusal;
use marlos::time::{Span, WallTime};
use marlos::wire::message::StateRequest;
use marlos::wire::{MsgType, Payload};

use crate::hand::{among_hands, refusals, sent, shell};
use crate::jobs::{met_with_idle_submitter, payloads};
use crate::net::What;

#[test]
fn a_node_that_was_away_learns_of_the_open_jobs_and_of_who_runs_them() {
    for restarts in [false, true] {
        let mut net = met_with_idle_submitter(5);
        net.run_for = Some(Span::secs(60));
        if restarts {
            net.stop(4);
        } else {
            (0..4).for_each(|other| {
                (net.cut[4][other], net.cut[other][4]) = (true, true);
                net.break_link(4, other);
                net.break_link(other, 4);
            });
        }
        let job = net.submit(0, shell(Span::secs(120)));
        net.run_for(Span::secs(3));
        if restarts {
            net.start(4);
        } else {
            (0..4).for_each(|other| (net.cut[4][other], net.cut[other][4]) = (false, false));
        }
        let knows = |net: &crate::net::Net| {
            net.node(4).view().job(job).is_some_and(|seen| {
                seen.claimer.is_some() && seen.claimer == net.node(0).view().job(job).and_then(|own| own.claimer)
            })
        };
        assert!(net.run_until(Span::millis(1_500), knows), "restarts: {restarts}");
    }
}

#[test]
fn a_request_is_answered_with_what_is_open_and_new_enough_and_not_more_often_than_allowed() {
    let (mut net, mut hands) = among_hands(3);
    let ask = |since| Payload::StateRequest(StateRequest { since });
    assert_eq!(sent(&hands[0].say(&mut net, 0, &ask(WallTime(0)))), [], "nothing is open");
    let job = net.submit(0, shell(Span::secs(30)));
    net.run_for(Span::secs(1));
    let broadcasts = |said: &[What]| payloads(said, MsgType::JobBroadcast).len();
    assert_eq!(broadcasts(&hands[0].say(&mut net, 0, &ask(WallTime(0)))), 1, "{job}");
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &ask(WallTime(0)))), [Refusal::OutOfPlace], "too often");
    assert_eq!(broadcasts(&hands[1].say(&mut net, 0, &ask(WallTime(0)))), 1, "each asks for itself");
    let later = net.now_of(0).wall;
    assert_eq!(broadcasts(&hands[2].say(&mut net, 0, &ask(later))), 0, "nothing was submitted since");
}

/// Of 600 broadcasts, 256 fit an envelope.
#[test]
fn however_much_is_asked_for_nobody_gets_more_than_two_envelopes_of_one_flush_and_all_of_it_soon() {
    let (mut net, mut hands) = among_hands(1);
    let jobs = 600;
    (0..jobs).for_each(|_| {
        net.submit(0, shell(Span::secs(60)));
    });
    net.run_for(Span::millis(500));
    let before = net.said.len();
    hands[0].say(&mut net, 0, &Payload::StateRequest(StateRequest { since: WallTime(0) }));
    net.run_for(Span::millis(300));
    let asker = hands[0].id();
    let mut envelopes = std::collections::BTreeMap::<_, u32>::new();
    let mut told = 0;
    for said in &net.said[before..] {
        let What::Sent { kind, to, .. } = &said.what else { continue };
        // Signs of life do not wait for a flush.
        if to.is_none_or(|to| to == asker) && !matches!(kind, MsgType::Ping | MsgType::PeerAnnounce) {
            *envelopes.entry(said.at).or_default() += 1;
        }
        if *to == Some(asker) {
            told += payloads(std::slice::from_ref(&said.what), MsgType::JobBroadcast).len();
        }
    }
    assert!(envelopes.values().all(|count| *count <= 2), "{envelopes:?}");
    assert_eq!(told, jobs);
}
