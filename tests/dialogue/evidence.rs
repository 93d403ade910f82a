//! Contradiction of misbehaviour (protocol.md, sections 5 and 9).

use marlos::config::Codec;
use marlos::id::{JobId, Link, PeerIdx};
use marlos::io::{Event, PeerState, Refusal};
use marlos::membership::gossip::sign_record;
use marlos::quorum::Statement;
use marlos::reputation::standing::is_trial;
use marlos::time::{Span, WallTime};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::*;
use marlos::wire::{MsgType, Payload, Signature};

use crate::auction::{Table, addressed, certified, voted};
use crate::hand::{Hand, among_hands, refusals, sent, shell};
use crate::membership::met;
use crate::net::{EPOCH_US, Net, What, config, keys};
use crate::reputation::trust;

/// Two votes of one hand for one round.
fn double_vote(who: usize) -> Payload {
    let statement = |winner: usize| Statement {
        job_id: JobId([7; 16]),
        round: 2,
        winner: keys(winner).id(),
        backup: None,
        electorate: marlos::id::ElectorateId([3; 8]),
    };
    let vote = |winner| {
        let statement = statement(winner);
        SignedVote { statement, vote_signature: Hand::new(who).vote_signature(&statement) }
    };
    evidence(who, Contradiction::Votes { first: vote(1), second: vote(2) })
}

fn evidence(against: usize, proof: Contradiction) -> Payload {
    Payload::Evidence(Box::new(Evidence { author: keys(against).id(), rotations: Vec::new(), proof }))
}

/// The same, with one of the votes not signed.
fn forged_double_vote(who: usize) -> Payload {
    let Payload::Evidence(mut forged) = double_vote(who) else { unreachable!() };
    if let Contradiction::Votes { second, .. } = &mut forged.proof {
        second.vote_signature = Signature([9; 64]);
    }
    Payload::Evidence(forged)
}

fn peer(net: &Net, at: usize, other: usize) -> PeerIdx {
    let view = net.node(at).view();
    (0..view.members()).map(PeerIdx).find(|peer| view.peer_id(*peer) == keys(other).id()).expect("known")
}

pub fn quarantined(net: &Net, at: usize, other: usize) -> bool {
    net.node(at).view().quarantined(peer(net, at, other))
}

fn reported(said: &[What], event: &Event) -> bool {
    said.iter().any(|what| matches!(what, What::Reported(found) if found == event))
}

/// Who is accused in evidence that was said here.
fn accused(said: &[What]) -> Vec<usize> {
    let author = |payload| match payload {
        Payload::Evidence(evidence) => (0..40).find(|at| keys(*at).id() == evidence.author),
        _ => None,
    };
    crate::jobs::payloads(said, MsgType::Evidence).into_iter().filter_map(author).collect()
}

fn all_said(net: &Net, at: usize) -> Vec<What> {
    net.said.iter().filter(|said| said.node == at).map(|said| said.what.clone()).collect()
}

#[test]
fn evidence_is_checked_told_once_and_durable_before_that() {
    let (mut net, mut hands) = among_hands(3);
    let accused_peer = peer(&net, 0, 3);
    let said = hands[0].say(&mut net, 0, &double_vote(3));
    assert!(reported(&said, &Event::Proven { peer: accused_peer }), "{said:?}");
    assert!(reported(&said, &Event::Quarantined { peer: accused_peer }));
    assert_eq!(addressed(&said, MsgType::Evidence), [None], "to all");
    let persisted = said.iter().position(|what| *what == What::Persisted(b'e')).expect("remembered");
    assert!(persisted < said.iter().position(|what| matches!(what, What::Sent { .. })).expect("told"));
    assert!(quarantined(&net, 0, 3) && !quarantined(&net, 0, 1));
    assert_eq!(trust(&net, 0, 3), 0);
    let again = hands[1].say(&mut net, 0, &double_vote(3));
    assert_eq!((sent(&again), refusals(&again)), (vec![], vec![]), "known already");
    net.said.clear();
    net.run_for(Span::secs(6));
    let updates = crate::jobs::payloads(&all_said(&net, 0), MsgType::ReputationUpdate);
    assert_eq!(updates.len(), 1, "what the node thinks now is told soon");
}

#[test]
fn evidence_that_does_not_hold_is_refused_and_costs_who_brings_it() {
    let (mut net, mut hands) = among_hands(3);
    let said = hands[0].say(&mut net, 0, &forged_double_vote(3));
    assert_eq!((refusals(&said), sent(&said)), (vec![Refusal::BadEvidence], vec![]));
    assert!(!quarantined(&net, 0, 3));
    assert_eq!((trust(&net, 0, 3), trust(&net, 0, 1)), (500, 400));
    let stranger = hands[0].say(&mut net, 0, &double_vote(9));
    assert_eq!(refusals(&stranger), [Refusal::NotAMember], "its accuser cannot know whom we know");
    assert_eq!(trust(&net, 0, 1), 400);
    for left in [300, 200] {
        hands[0].say(&mut net, 0, &forged_double_vote(2));
        assert_eq!((trust(&net, 0, 1), quarantined(&net, 0, 1)), (left, false));
    }
    let said = hands[0].say(&mut net, 0, &forged_double_vote(2));
    assert!(reported(&said, &Event::Quarantined { peer: peer(&net, 0, 1) }));
    assert!(hands[0].say(&mut net, 0, &double_vote(3)).len() > 1, "and what holds is heard of anybody");
    assert!(quarantined(&net, 0, 3));
}

#[cfg(feature = "plant")]
#[test]
fn a_node_that_does_not_check_evidence_believes_any() {
    let (mut net, mut hands) = among_hands(3);
    net.stop(0);
    net.slots[0].config.plant = marlos::config::Plant::EvidenceUnchecked;
    net.start(0);
    net.run_for(Span::millis(2_500));
    for hand in &mut hands {
        let frame = hand.announce(net.now);
        net.deliver(0, Link::INBOUND, &frame);
    }
    net.run_for(Span::millis(100));
    hands[0].say(&mut net, 0, &forged_double_vote(3));
    assert!(quarantined(&net, 0, 3), "the defect is there");
}

/// A job of hand 1 that is trial work for a hand, or is not, and that hand in quarantine for what it told.
fn with_quarantined(who: usize, coordinator: usize, trial: bool) -> Table {
    let mut table = Table::where_job(|job, first| is_trial(job, keys(who).id()) == trial && first == coordinator);
    for _ in 0..4 {
        table.say(who, &forged_double_vote(if who == 1 { 2 } else { 1 }));
    }
    assert!(quarantined(&table.net, 0, who));
    table
}

fn offer() -> Offer {
    Offer { score: Ppm::ONE, stake: Tokens::whole(10), estimated_completion: Span::ZERO }
}

#[test]
fn who_is_in_quarantine_wins_no_job_but_trials() {
    for trial in [false, true] {
        let mut table = with_quarantined(3, 0, trial);
        table.broadcast();
        let bid = |who: usize, table: &mut Table, offer| {
            table.say(who, &Payload::JobBid(JobBid { job_id: table.job, round: 0, offer }))
        };
        let refused = refusals(&bid(3, &mut table, Some(offer())));
        assert_eq!(refused, if trial { vec![] } else { vec![Refusal::Quarantined] });
        bid(1, &mut table, None);
        let said = bid(2, &mut table, None);
        let bids = said.iter().find_map(|what| match what {
            What::Reported(Event::AuctionClosed { bids, .. }) => Some(*bids),
            _ => None,
        });
        assert_eq!(bids, Some(if trial { 2 } else { 1 }), "nobody is waited for, and its own bid counts: {said:?}");
    }
}

#[test]
fn nobody_votes_for_who_is_in_quarantine_but_in_a_trial() {
    for trial in [false, true] {
        let mut table = with_quarantined(3, 2, trial);
        table.broadcast();
        let said = table.say(2, &table.proposal(0, 3, 2));
        assert_eq!(voted(&said), trial, "{said:?}");
        assert_eq!(refusals(&said), if trial { vec![] } else { vec![Refusal::Quarantined] });
    }
}

#[test]
fn a_vote_of_who_is_proven_does_not_count() {
    let mut table = Table::coordinated_by(2);
    table.say(1, &double_vote(3));
    table.broadcast();
    table.say(2, &table.proposal(0, 0, 2));
    let statement = table.statement(0, 0, 2);
    assert!(!certified(&table.vote(1, &statement)));
    let said = table.vote(3, &statement);
    assert_eq!(refusals(&said), [Refusal::Quarantined]);
    assert!(!certified(&said));
    assert!(certified(&table.vote(2, &statement)));
}

#[test]
fn two_certificates_of_one_round_convict_who_voted_for_both() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    let first = table.certificate(table.statement(0, 3, 2), &[1, 2, 3]);
    let second = table.certificate(table.statement(0, 1, 2), &[0, 1, 2]);
    assert_eq!(accused(&table.say(3, &Payload::ClaimCertificate(first.clone()))), [] as [usize; 0]);
    assert_eq!(accused(&table.say(3, &Payload::ClaimCertificate(first))), [] as [usize; 0], "the same again");
    let mut found = accused(&table.say(1, &Payload::ClaimCertificate(second)));
    found.sort_unstable();
    assert_eq!(found, [1, 2], "and not who voted for one of them");
}

#[test]
fn a_claim_that_was_believed_is_asked_for_its_proof_when_another_shows_one() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 3, 2));
    table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 0 }));
    let second = table.certificate(table.statement(0, 1, 2), &[0, 1, 2]);
    let said = table.say(1, &Payload::ClaimCertificate(second));
    assert_eq!(addressed(&said, MsgType::CertificateRequest), [Some(keys(3).id())]);
    let first = table.certificate(table.statement(0, 3, 2), &[1, 2, 3]);
    let mut found = accused(&table.say(3, &Payload::ClaimCertificate(first)));
    found.sort_unstable();
    assert_eq!(found, [1, 2]);
}

#[test]
fn a_winner_catches_who_voted_for_it_and_for_the_other_one() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 0, 3));
    let own = table.statement(0, 0, 3);
    table.vote(1, &own);
    let other = table.certificate(table.statement(0, 2, 3), &[1, 2, 3]);
    assert_eq!(accused(&table.say(2, &Payload::ClaimCertificate(other))), [1]);
}

#[test]
fn a_coordinator_that_names_two_winners_is_caught_in_either_codec() {
    for codecs in [[Codec::Bincode, Codec::Bincode], [Codec::Bincode, Codec::Json], [Codec::Json, Codec::Json]] {
        let mut table = Table::coordinated_by(2);
        table.broadcast();
        table.hands[1].codec = codecs[0];
        assert!(voted(&table.say(2, &table.proposal(0, 3, 2))));
        table.hands[1].codec = codecs[1];
        let said = table.say(2, &table.proposal(0, 1, 2));
        assert_eq!(accused(&said), [2], "{codecs:?}: {said:?}");
        assert!(quarantined(&table.net, 0, 2));
    }
}

#[test]
fn a_proposal_that_is_sent_again_or_made_anew_after_a_restart_convicts_nobody() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 3, 2));
    assert_eq!(accused(&table.say(2, &table.proposal(0, 3, 2))), [] as [usize; 0]);
    table.hands[1].codec = Codec::Json;
    assert_eq!(accused(&table.say(2, &table.proposal(0, 3, 2))), [] as [usize; 0], "in the other codec");
    table.hands[1].incarnation = 2;
    table.hands[1].counter = 0;
    let frame = table.hands[1].announce(table.net.now);
    table.net.deliver(0, Link::INBOUND, &frame);
    assert_eq!(accused(&table.say(2, &table.proposal(0, 1, 2))), [] as [usize; 0], "another winner, in another life");
    assert!(!quarantined(&table.net, 0, 2));
}

#[test]
fn two_versions_of_one_announce_convict_their_author_and_a_life_that_was_forgotten_does_not() {
    let (mut net, mut hands) = among_hands(3);
    let sign = |record| sign_record(record, &keys(3), "marlos");
    let known = hands[2].record();
    let records = |record: &Announce| {
        let records = vec![record.clone()];
        Payload::PeerRecords(PeerRecords { members_digest: 0, complete: false, records })
    };
    let later = Announce { signed_at: WallTime(EPOCH_US + 1), pub_endpoint: "tcp://else:1".into(), ..known.clone() };
    for (what, record) in [("the same", known.clone()), ("of a life that was forgotten", sign(later))] {
        assert_eq!(accused(&hands[0].say(&mut net, 0, &records(&record))), [] as [usize; 0], "{what}");
    }
    let unsigned = Announce { pub_endpoint: "tcp://else:1".into(), ..known.clone() };
    let said = hands[0].say(&mut net, 0, &records(&unsigned));
    assert_eq!((accused(&said), refusals(&said)), (vec![], vec![Refusal::BadRecord]), "anybody can write such a thing");
    assert_eq!(accused(&hands[0].say(&mut net, 0, &records(&sign(unsigned)))), [3]);
}

#[test]
fn who_was_away_or_is_new_learns_of_it_within_two_minutes() {
    let mut net = met(5);
    net.stop(4);
    net.run_for(Span::secs(1));
    let mut villain = Hand::new(9);
    let frame = villain.announce(net.now);
    net.deliver(0, Link::INBOUND, &frame);
    assert!(net.run_until(Span::secs(5), |net| (0..4).all(|at| net.state(at, 9).is_some())), "everyone knows it");
    // Two are cut off from the others, which are told.
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        net.cut[a][b] = true;
        net.cut[b][a] = true;
    }
    let frame = villain.seal(net.now, None, &double_vote(9));
    net.deliver(0, Link::INBOUND, &frame);
    net.run_for(Span::millis(100));
    assert_eq!([0, 1, 2, 3].map(|at| quarantined(&net, at, 9)), [true, true, false, false], "who can hear it");
    net.cut = vec![vec![false; 5]; 5];
    net.start(4);
    let all = |net: &Net| (0..5).all(|at| net.state(at, 9).is_some() && quarantined(net, at, 9));
    assert!(net.run_until(Span::secs(125), all), "{:?}", [0, 1, 2, 3, 4].map(|at| net.state(at, 9)));
    net.said.clear();
    net.run_for(Span::secs(180));
    assert!((0..5).all(|at| accused(&all_said(&net, at)).is_empty()), "and then nobody speaks of it any more");
}

#[test]
fn what_is_proven_outlives_the_process_and_is_over_one_day() {
    let day = Span::secs(86_400);
    let mut net = Net::new(vec![marlos::Config { evidence_lasts: day, forget_after: day.times(9), ..config(0) }]);
    let mut hand = Hand::new(1);
    let meet = |net: &mut Net, hand: &mut Hand| {
        let frame = hand.announce(net.now);
        net.deliver(0, Link::INBOUND, &frame);
    };
    net.start(0);
    meet(&mut net, &mut hand);
    hand.say(&mut net, 0, &double_vote(1));
    net.run_for(Span::secs(100));
    net.stop(0);
    net.run_for(Span::secs(60));
    net.start(0);
    meet(&mut net, &mut hand);
    assert!(quarantined(&net, 0, 1), "remembered");
    net.slots[0].still_until = net.now + day;
    net.run_for(day + Span::secs(1));
    net.said.clear();
    net.run_for(Span::secs(100));
    let mut table_of = |payload: &Payload| {
        meet(&mut net, &mut hand);
        hand.say(&mut net, 0, payload)
    };
    assert_eq!(sent(&table_of(&double_vote(1))), [], "the same evidence is not taken twice");
    let other = {
        let Payload::Evidence(evidence) = double_vote(1) else { unreachable!() };
        let Contradiction::Votes { first, mut second } = evidence.proof else { unreachable!() };
        second.statement.winner = keys(5).id();
        second.vote_signature = Hand::new(1).vote_signature(&second.statement);
        self::evidence(1, Contradiction::Votes { first, second })
    };
    assert_eq!(sent(&table_of(&other)), [MsgType::Evidence], "but what is new is");
}

#[test]
fn an_honest_network_never_finds_evidence_however_it_is_shaken() {
    let mut net = met(5);
    for turn in 0..30usize {
        let at = turn % 5;
        if net.is_up(at) {
            net.submit(at, shell(Span::secs(40)));
            net.run_for(Span::millis(150));
            net.stop(at);
        }
        if turn % 7 == 0 {
            net.slots[at].store.clear();
        }
        net.slots[(at + 1) % 5].config.codec = if turn % 2 == 0 { Codec::Json } else { Codec::Bincode };
        net.run_for(Span::millis(900));
        net.start(at);
        net.run_for(Span::millis(700));
    }
    net.run_for(Span::secs(90));
    let shameful = |what: &What| {
        matches!(what, What::Reported(Event::Proven { .. } | Event::Quarantined { .. }) | What::Persisted(b'e'))
    };
    assert!(!net.said.iter().any(|said| shameful(&said.what)));
    assert!((0..5).all(|at| accused(&all_said(&net, at)).is_empty()));
    assert_eq!(net.state(0, 1), Some(PeerState::Alive));
}
