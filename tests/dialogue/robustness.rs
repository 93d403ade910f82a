//! Whatever arrives, in whatever order: no panic, the invariants hold, and no job has two claims in one round.
//!
//! The network itself checks the invariants after every call, and every certificate that is made.

use std::collections::BTreeSet;

use marlos::config::{Codec, Config};
use marlos::id::{JobId, Link};
use marlos::io::{Event, PeerState};
use marlos::time::Span;
use marlos::wire::MsgType;
use proptest::prelude::*;

use crate::hand::{among_hands, shell};
use crate::membership::{met, net_of};
use crate::net::{Net, Said, What};

/// Small and good enough, so that a failing case depends on nothing but its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Frames that a network of four really said around a few jobs, in both codecs.
fn recorded() -> (Net, Vec<Vec<u8>>) {
    let mut net = met_in_both_codecs(4);
    net.said.clear();
    for at in 0..4 {
        net.submit(at, shell(Span::secs(60)));
        net.run_for(Span::millis(20));
    }
    net.run_for(Span::secs(4));
    let frame = |what: &What| match what {
        What::Sent { frame, .. } => Some(frame.clone()),
        _ => None,
    };
    let frames: Vec<Vec<u8>> = net.said.iter().filter_map(|said| frame(&said.what)).collect();
    assert!(frames.len() > 40, "there is something to play with");
    (net, frames)
}

fn met_in_both_codecs(count: usize) -> Net {
    let mut net = net_of(count, |at| (at > 0).then_some(0));
    for (at, slot) in net.slots.iter_mut().enumerate() {
        slot.config = Config { codec: if at % 2 == 0 { Codec::Bincode } else { Codec::Json }, ..slot.config.clone() };
    }
    (0..count).for_each(|at| drop(net.start(at)));
    assert!(net.run_until(Span::secs(5), Net::all_alive), "they meet");
    net
}

fn spoil(frame: &[u8], how: u8, at: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let place = at % frame.len();
    match how {
        0 => frame.truncate(place),
        1 => frame[place] ^= 1 << (at % 8),
        2 => frame.insert(place, u8::try_from(at % 256).expect("a byte")),
        3 => drop(frame.remove(place)),
        _ => {}
    }
    frame
}

#[test]
fn nodes_of_both_codecs_work_in_one_network() {
    let mut net = met_in_both_codecs(4);
    for at in 0..4 {
        for _ in 0..5 {
            let job = net.submit(at, shell(Span::secs(30)));
            assert!(net.run_until(Span::secs(3), |net| net.outputs.contains_key(&job)), "submitted at {at}");
        }
    }
    let winners: BTreeSet<_> = net.certified.values().copied().collect();
    assert!(winners.len() > 1, "of both codecs, as luck has it");
    net.run_for(Span::secs(30));
    assert!(net.all_alive());
    assert!((0..4).all(|at| net.refusals(at).is_empty()), "{:?}", net.refusals(0));
}

#[test]
fn a_spoiled_frame_never_passes_and_takes_nobody_down() {
    let (mut net, frames) = recorded();
    let mut dice = Dice(7);
    for (number, frame) in frames.iter().enumerate() {
        for how in 0..4 {
            let spoiled = spoil(frame, how, usize::try_from(dice.below(1 << 20)).expect("small"));
            let to = number % 4;
            let said = net.deliver(to, Link(1), &spoiled);
            let passed = said.iter().any(|what| matches!(what, What::Reported(Event::Accepted { .. })));
            assert!(!passed || spoiled == *frame, "frame {number} spoiled by {how}: {said:?}");
        }
    }
    net.run_for(Span::secs(10));
    assert!(net.all_alive());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_take_a_node_down(first in prop::sample::select(vec![0u8, 1, 2, b'{', 255]), rest in prop::collection::vec(any::<u8>(), 0..400)) {
        let (mut net, _) = among_hands(2);
        let bytes = [&[first][..], &rest].concat();
        for link in [Link(1), Link(77), Link(1 << 24), Link::INBOUND, Link::BEACON] {
            let said = net.deliver(0, link, &bytes);
            prop_assert!(matches!(said[..], [What::Reported(Event::Refused { .. })]), "{said:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Frames of one life of a network, played back at it in any order, whole or spoiled, to anybody.
    #[test]
    fn old_frames_in_any_order_harm_nobody(seed in any::<u64>()) {
        let (mut net, frames) = recorded();
        let mut dice = Dice(seed);
        for _ in 0..150 {
            let frame = &frames[usize::try_from(dice.below(frames.len() as u64)).expect("small")];
            let how = u8::try_from(dice.below(8)).expect("small");
            let spoiled = spoil(frame, how, usize::try_from(dice.below(1 << 20)).expect("small"));
            let link = [Link(1), Link(2), Link(3), Link::INBOUND, Link::BEACON][usize::try_from(dice.below(5)).expect("small")];
            net.deliver(usize::try_from(dice.below(4)).expect("small"), link, &spoiled);
            net.run_for(Span::millis(dice.below(200)));
        }
        let job = net.submit(0, shell(Span::secs(30)));
        prop_assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)), "and jobs still run");
    }

    /// A storm of loss, delay, reordering, crashes, lost stores and stalls; then quiet. Every job ends, visibly.
    #[test]
    fn whatever_the_network_does_every_job_ends_and_no_round_has_two_claims(seed in any::<u64>()) {
        let mut net = met_in_both_codecs(5);
        net.said.clear();
        let mut dice = Dice(seed);
        let mut fate = Dice(seed ^ 0x5eed);
        net.fate = Box::new(move |_, _, kind| match fate.below(20) {
            0..3 if kind != MsgType::Ping => None,
            3..6 => Some(Span::millis(fate.below(1_500))),
            _ => Some(Span::ZERO),
        });
        let mut jobs: Vec<(usize, JobId)> = Vec::new();
        for _ in 0..60 {
            let at = usize::try_from(dice.below(5)).expect("small");
            match dice.below(12) {
                0..6 if net.is_up(at) => jobs.push((at, net.submit(at, shell(Span::secs(5 + dice.below(40)))))),
                6 if net.is_up(at) => net.stop(at),
                7 if net.is_up(at) => {
                    // It loses what it submitted with its store: nobody can say how that ended.
                    net.stop(at);
                    net.slots[at].store.clear();
                    jobs.retain(|(submitter, _)| *submitter != at);
                }
                8 => net.slots[at].still_until = net.now + Span::millis(dice.below(4_000)),
                9 => {
                    let other = usize::try_from(dice.below(5)).expect("small");
                    net.cut[at][other] = !net.cut[at][other];
                }
                10 if net.is_up(at) => net.break_link((at + 1) % 5, at),
                _ if !net.is_up(at) => drop(net.start(at)),
                _ => {}
            }
            net.run_for(Span::millis(dice.below(1_000)));
        }
        net.fate = Box::new(|_, _, _| Some(Span::ZERO));
        net.cut = vec![vec![false; 5]; 5];
        for at in 0..5 {
            if !net.is_up(at) {
                net.start(at);
            }
        }
        prop_assert!(net.run_until(Span::secs(40), Net::all_alive), "{:?}", (0..5).map(|a| (0..5).map(|b| net.state(a, b)).collect::<Vec<_>>()).collect::<Vec<_>>());
        net.run_for(Span::secs(150));
        for (submitter, job) in jobs {
            let ends = net.reports(submitter).filter(|(_, event)| {
                matches!(event, Event::JobCompleted { job: id, .. } | Event::JobFailed { job: id, .. } if *id == job)
            });
            prop_assert!(ends.count() >= 1, "{job} of node {submitter} never ended");
        }
        let banned = (0..5).map(|at| net.node(at).view().blacklisted(net.now)).sum::<usize>();
        prop_assert_eq!(banned, 0, "nobody did anything wrong");
        let shamed = |said: &Said| matches!(said.what, What::Reported(Event::Quarantined { .. } | Event::Proven { .. }));
        prop_assert!(!net.said.iter().any(shamed), "however unlucky, nobody is quarantined");
        let last = net.submit(0, shell(Span::secs(30)));
        prop_assert!(net.run_until(Span::secs(3), |net| net.outputs.contains_key(&last)), "and jobs run as before");
    }
}

#[test]
fn two_halves_of_a_network_never_both_claim() {
    let mut net = met(4);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        net.cut[a][b] = true;
        net.cut[b][a] = true;
    }
    let jobs: Vec<JobId> = (0..4).map(|at| net.submit(at, shell(Span::secs(120)))).collect();
    net.run_for(Span::secs(40));
    assert!(net.certified.is_empty(), "two of four are no quorum");
    assert!((0..4).all(|at| net.node(at).view().degraded()));
    assert_eq!(net.state(0, 2), Some(PeerState::Dead));
    net.cut = vec![vec![false; 4]; 4];
    assert!(net.run_until(Span::secs(10), |net| jobs.iter().all(|job| net.outputs.contains_key(job))));
}
