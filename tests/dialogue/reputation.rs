//! Whom to trust with work (protocol.md, section 9).

use marlos::id::{NodeId, PeerIdx};
use marlos::io::{Event, Refusal};
use marlos::time::Span;
use marlos::units::Ppm;
use marlos::wire::message::{ReputationUpdate, TrustReport};
use marlos::wire::{Envelope, Payload};

use crate::auction::Table;
use crate::hand::{Hand, among_hands, refusals, shell};
use crate::jobs::met_with_idle_submitter;
use crate::net::{Net, Said, What, config, keys};

/// How far node `at` trusts another, in thousandths.
pub fn trust(net: &Net, at: usize, other: usize) -> u32 {
    let view = net.node(at).view();
    let peer = (0..view.members()).map(PeerIdx).find(|peer| view.peer_id(*peer) == keys(other).id());
    view.trust(peer.expect("known")).0 / 1_000
}

fn update(reports: &[(usize, u32)]) -> Payload {
    let report = |(about, thousandths): &(usize, u32)| TrustReport {
        node_id: keys(*about).id(),
        trust_score: Ppm(thousandths * 1_000),
        total_jobs: 3,
        good_jobs: 2,
    };
    let reports = reports.iter().map(report).collect();
    Payload::ReputationUpdate(ReputationUpdate { proven_digest: 0, reports })
}

/// Every update that a node broadcast.
fn updates(net: &Net, at: usize) -> Vec<ReputationUpdate> {
    let mut found = Vec::new();
    for said in net.said.iter().filter(|said| said.node == at) {
        let What::Sent { frame, to: None, .. } = &said.what else { continue };
        let envelope = Envelope::peek(frame, 10 << 20).expect("its own frame");
        let each = &mut |payload| {
            if let Payload::ReputationUpdate(update) = payload {
                found.push(update);
            }
        };
        envelope.payloads(10 << 20, each).expect("its own payload");
    }
    found
}

/// Runs a job of node 0, and says who did it.
fn run_one(net: &mut Net) -> usize {
    let job = net.submit(0, shell(Span::secs(30)));
    assert!(net.run_until(Span::secs(3), |net| net.outputs.contains_key(&job)));
    let executor = net.node(0).view().job(job).and_then(|job| job.claimer).expect("somebody ran it");
    (0..net.slots.len()).find(|at| keys(*at).id() == executor).expect("one of them")
}

#[test]
fn a_submitter_trusts_who_did_its_job_at_once_the_others_when_it_is_paid_and_all_tell_once_a_minute() {
    let mut net = met_with_idle_submitter(4);
    let executor = run_one(&mut net);
    let others: Vec<usize> = (1..4).filter(|at| *at != executor).collect();
    assert_eq!(trust(&net, 0, executor), 520, "on time");
    assert!(others.iter().all(|at| trust(&net, *at, executor) == 500), "they have not seen its result");
    net.run_for(config(0).settle_after + Span::secs(2));
    // A moment of idleness may have cost a part in a million.
    let once = |at: usize| (519..=520).contains(&trust(&net, at, executor));
    assert!(others.iter().all(|at| once(*at)), "the certified payment tells them");
    assert!(once(0), "who pays has counted it already");
    net.said.clear();
    net.run_for(Span::secs(61));
    assert!(others.iter().all(|at| updates(&net, *at).len() == 1), "once a minute");
    assert!(updates(&net, executor).is_empty(), "who has seen nothing of others says nothing");
    let [report] = updates(&net, 0)[0].reports[..] else { panic!("{:?}", updates(&net, 0)) };
    assert_eq!((report.node_id, report.total_jobs, report.good_jobs), (keys(executor).id(), 1, 1));
    net.run_for(Span::secs(180));
    assert_eq!(updates(&net, 0).len(), 4);
}

#[test]
fn who_did_well_is_named_before_who_is_not_known() {
    let mut net = met_with_idle_submitter(4);
    let first = run_one(&mut net);
    net.run_for(Span::secs(61));
    net.said.clear();
    // One after the other, so that all of them are as idle as ever: only trust tells them apart.
    (0..10).for_each(|_| assert!(run_one(&mut net) > 0));
    // Those decide who have only heard of it: it has no opinion of itself, and their submitter comes to know others too.
    let named = |said: &Said| match said.what {
        What::Reported(Event::AuctionClosed { winner, .. }) if said.node != first && said.node != 0 => Some(winner),
        _ => None,
    };
    let named: Vec<NodeId> = net.said.iter().filter_map(named).collect();
    assert!(named.len() >= 2 && named.iter().all(|winner| *winner == keys(first).id()), "{named:?}");
}

#[test]
fn a_lone_liar_moves_nobody_out_of_what_the_others_say() {
    let (mut net, mut hands) = among_hands(5);
    hands[0].say(&mut net, 0, &update(&[(5, 600)]));
    assert_eq!(trust(&net, 0, 5), 580, "the only voice there is");
    hands[1].say(&mut net, 0, &update(&[(5, 700)]));
    hands[2].say(&mut net, 0, &update(&[(5, 700)]));
    assert_eq!(trust(&net, 0, 5), 660);
    for lie in [0, 1_000] {
        hands[3].say(&mut net, 0, &update(&[(5, lie)]));
        assert!((580..=660).contains(&trust(&net, 0, 5)), "{lie} makes it {}", trust(&net, 0, 5));
    }
    assert_eq!(trust(&net, 0, 4), 500, "and what is said of others does not touch who says it");
}

#[test]
fn nobody_reports_on_itself_and_of_strangers_nothing_is_kept() {
    let (mut net, mut hands) = among_hands(2);
    let said = hands[0].say(&mut net, 0, &update(&[(2, 900), (1, 900)]));
    assert_eq!(refusals(&said), [Refusal::OutOfPlace]);
    assert_eq!((trust(&net, 0, 1), trust(&net, 0, 2)), (500, 500), "nothing of the message is taken");
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &update(&[(9, 900), (0, 0), (2, 900)]))), []);
    assert_eq!(trust(&net, 0, 2), 820);
    let stranger = Hand::new(9).announce(net.now);
    net.deliver(0, marlos::id::Link::INBOUND, &stranger);
    assert_eq!(trust(&net, 0, 9), 500, "met after the report");
    let mut excess = update(&[(2, 100)]);
    if let Payload::ReputationUpdate(update) = &mut excess {
        update.reports = vec![update.reports[0]; 65];
    }
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &excess)), [Refusal::Malformed]);
    assert_eq!(trust(&net, 0, 2), 820);
}

#[test]
fn a_report_counts_for_an_hour() {
    let (mut net, mut hands) = among_hands(2);
    hands[0].say(&mut net, 0, &update(&[(2, 900)]));
    net.run_for(Span::secs(3_500));
    assert_eq!(trust(&net, 0, 2), 820);
    net.run_for(Span::secs(200));
    assert_eq!(trust(&net, 0, 2), 500);
}

#[test]
fn a_claim_that_gave_way_to_a_later_one_costs_its_holder() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    let first = table.certificate(table.statement(0, 3, 2), &[1, 2, 3]);
    table.say(3, &Payload::ClaimCertificate(first));
    assert_eq!(trust(&table.net, 0, 3), 500);
    let again = table.certificate(table.statement(1, 3, 2), &[1, 2, 3]);
    table.say(3, &Payload::ClaimCertificate(again));
    assert_eq!(trust(&table.net, 0, 3), 500, "a later claim of its own");
    let later = table.certificate(table.statement(2, 2, 1), &[1, 2, 3]);
    table.say(2, &Payload::ClaimCertificate(later));
    assert_eq!((trust(&table.net, 0, 3), trust(&table.net, 0, 2)), (470, 500));
}

#[test]
fn what_was_seen_outlives_the_process_but_for_the_last_minute() {
    let mut net = met_with_idle_submitter(4);
    let executor = run_one(&mut net);
    net.said.clear();
    net.run_for(Span::secs(61));
    let persisted = net.said.iter().filter(|said| said.node == 0 && said.what == What::Persisted(b's')).count();
    assert_eq!(persisted, 1, "once");
    net.stop(0);
    net.run_for(Span::secs(1));
    net.start(0);
    assert!(net.run_until(Span::secs(8), Net::all_alive));
    assert_eq!(trust(&net, 0, executor), 519, "519 and a fraction: it was idle for a minute");
}
