//! Jobs that a part of a split network claims for itself, and what becomes of its claims (protocol.md, section 10).

use marlos::id::{ElectorateId, JobId, NodeId};
use marlos::io::{Event, JobSpec, JobStatus, Refusal};
use marlos::quorum::{self, Statement, bitmap, provisional_digest};
use marlos::time::Span;
use marlos::wire::message::*;
use marlos::wire::{MsgType, Payload, Signature};
use sha2::{Digest, Sha256};

use crate::auction::{Table, addressed, certified, voted};
use crate::hand::{Hand, among_hands, refusals, sent, shell};
use crate::jobs::ended;
use crate::membership::met;
use crate::net::{What, keys};

/// Node 0 and hands 1 to 3, of which 2 and 3 have gone: two of four, and three are the quorum. The job is hand 1's.
fn parted(consistency: Consistency, coordinators: &[usize]) -> Table {
    let (mut net, mut hands) = among_hands(3);
    for gone in [2, 3] {
        hands[gone - 1].say(&mut net, 0, &Payload::Goodbye(Goodbye {}));
    }
    assert!(net.node(0).view().degraded());
    let mut table = Table::with(net, hands, &[0, 1], consistency, coordinators);
    table.electorate = part(&[0, 1]).0;
    table
}

fn place(who: usize) -> usize {
    let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
    ids.sort_unstable();
    ids.iter().position(|id| *id == keys(who).id()).expect("a member")
}

/// What names these members of the four as the reachable, and their bitmap.
fn part(reachable: &[usize]) -> (ElectorateId, Vec<u8>) {
    let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
    ids.sort_unstable();
    let bits = bitmap(4, reachable.iter().map(|who| place(*who)));
    (provisional_digest(quorum::electorate_digest(&ids), &bits), bits)
}

/// A provisional certificate for this winner, of those who say that these were reachable.
fn provisional(table: &Table, round: u32, winner: usize, reachable: &[usize], voters: &[usize]) -> Payload {
    let (electorate, bits) = part(reachable);
    let statement = Statement { job_id: table.job, round, winner: keys(winner).id(), backup: None, electorate };
    let votes: Vec<(usize, Signature)> =
        voters.iter().map(|who| (place(*who), Hand::new(*who).vote_signature(&statement))).collect();
    Payload::ClaimCertificate(quorum::certificate(statement, 4, bits, &votes))
}

/// A certificate of three of the four.
fn of_all(table: &Table, round: u32, winner: usize) -> Payload {
    let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
    ids.sort_unstable();
    let electorate = quorum::electorate_digest(&ids);
    let statement = Statement { electorate, ..table.statement(round, winner, 1) };
    Payload::ClaimCertificate(table.certificate(statement, &[1, 2, 3]))
}

fn cancelled(said: &[What], job: JobId) -> bool {
    said.contains(&What::Cancelled(job))
}

/// Node 0 runs the job under a provisional claim of its own.
fn running_alone() -> Table {
    let mut table = parted(Consistency::Available, &[0]);
    table.broadcast();
    let said = table.say(1, &Payload::JobBid(JobBid { job_id: table.job, round: 0, offer: None }));
    assert_eq!(addressed(&said, MsgType::AuctionCoordinate), [None], "{said:?}");
    assert!(voted(&said) && !certified(&said), "one of two");
    let mut statement = table.statement(0, 0, 1);
    statement.backup = None;
    let said = table.vote(1, &statement);
    assert!(certified(&said) && said.contains(&What::Executed(table.job)), "{said:?}");
    table
}

#[test]
fn a_part_without_a_quorum_claims_an_available_job_and_no_other() {
    running_alone();
    let mut table = parted(Consistency::Quorum, &[0]);
    let said = table.broadcast();
    assert_eq!(sent(&said), [], "it waits");
    let said = table.say(1, &Payload::JobBid(JobBid { job_id: table.job, round: 0, offer: None }));
    assert_eq!(sent(&said), []);
}

#[test]
fn a_voter_that_reaches_others_than_the_coordinator_refuses() {
    for consistency in [Consistency::Available, Consistency::Quorum] {
        let begun = || {
            let mut table = parted(consistency, &[1]);
            table.broadcast();
            table
        };
        // Each on its own: two proposals of one round would prove that their coordinator lies.
        for reachable in [&[0, 1, 2][..], &[1], &[0, 1, 2, 3]] {
            let mut table = begun();
            table.electorate = part(reachable).0;
            let other = table.proposal(0, 1, 0);
            table.assert_refused(1, &other, Refusal::ElectorateDiffers);
        }
        let mut table = begun();
        let sound = table.proposal(0, 1, 0);
        match consistency {
            Consistency::Available => assert!(voted(&table.say(1, &sound))),
            Consistency::Quorum => table.assert_refused(1, &sound, Refusal::ElectorateDiffers),
        }
    }
}

#[test]
fn a_provisional_certificate_needs_a_quorum_of_the_reachable_and_a_job_that_allows_it() {
    let mut table = parted(Consistency::Available, &[1]);
    table.broadcast();
    for (reachable, voters) in [
        (&[0, 1][..], &[1][..]), // one of two
        (&[0, 1], &[1, 2]),      // one of them was not reachable
        (&[0, 1], &[]),
    ] {
        let short = provisional(&table, 0, 1, reachable, voters);
        table.assert_refused(1, &short, Refusal::BadCertificate);
    }
    let Payload::ClaimCertificate(mut moved) = provisional(&table, 0, 1, &[0, 1], &[0, 1]) else { unreachable!() };
    moved.reachable = part(&[0, 1, 2]).1;
    table.assert_refused(1, &Payload::ClaimCertificate(moved), Refusal::BadCertificate);
    let sound = provisional(&table, 0, 1, &[0, 1], &[0, 1]);
    assert_eq!(refusals(&table.say(1, &sound)), []);
    assert_eq!(table.claim(), Some(keys(1).id()));

    let mut table = parted(Consistency::Quorum, &[1]);
    table.broadcast();
    let sound = provisional(&table, 0, 1, &[0, 1], &[0, 1]);
    table.assert_refused(1, &sound, Refusal::BadCertificate);
}

#[test]
fn a_quorum_beats_a_provisional_claim_of_any_round_and_is_shown_to_who_holds_one() {
    let mut table = parted(Consistency::Available, &[1]);
    table.broadcast();
    let late = provisional(&table, 3, 1, &[0, 1], &[0, 1]);
    table.say(1, &late);
    assert_eq!(table.claim(), Some(keys(1).id()));
    let of_all = of_all(&table, 0, 3);
    assert_eq!(refusals(&table.say(3, &of_all)), []);
    assert_eq!(table.claim(), Some(keys(3).id()));
    let later = provisional(&table, 9, 1, &[0, 1], &[0, 1]);
    let said = table.say(1, &later);
    assert_eq!(addressed(&said, MsgType::ClaimCertificate), [Some(keys(1).id())], "it is told better");
    assert_eq!(table.claim(), Some(keys(3).id()));
}

#[test]
fn of_two_provisional_claims_of_one_round_the_lower_hash_stands_in_either_order() {
    let table = parted(Consistency::Available, &[1]);
    let hash = |who: usize| -> [u8; 32] {
        Sha256::new().chain_update(table.job.0).chain_update(keys(who).id().0).finalize().into()
    };
    let best = if hash(1) < hash(3) { 1 } else { 3 };
    for order in [[1, 3], [3, 1]] {
        let mut table = parted(Consistency::Available, &[1]);
        table.broadcast();
        for who in order {
            let reachable: &[usize] = if who == 1 { &[0, 1] } else { &[2, 3] };
            let shown = provisional(&table, 2, who, reachable, reachable);
            assert_eq!(refusals(&table.say(who, &shown)), []);
        }
        assert_eq!(table.claim(), Some(keys(best).id()), "{order:?}");
    }
}

#[test]
fn an_executor_stops_for_a_better_claim_and_answers_a_worse_one_with_its_own() {
    let mut table = running_alone();
    let job = table.job;
    let better = provisional(&table, 5, 3, &[2, 3], &[2, 3]);
    assert!(cancelled(&table.say(3, &better), job));
    assert_eq!(table.claim(), Some(keys(3).id()));
    let mut table = running_alone();
    let better = of_all(&table, 0, 3);
    assert!(cancelled(&table.say(3, &better), job));

    let mut table = running_alone();
    let mine = |said: &[What]| addressed(said, MsgType::ClaimCertificate) == [Some(keys(3).id())];
    let same = provisional(&table, 0, 3, &[2, 3], &[2, 3]);
    let said = table.say(3, &same);
    assert!(cancelled(&said, job) != mine(&said), "one of the two: {said:?}");
}

#[test]
fn both_parts_of_a_network_finish_available_jobs_and_agree_when_it_is_whole() {
    let mut net = met(4);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        net.cut[a][b] = true;
        net.cut[b][a] = true;
    }
    net.run_for(Span::secs(20));
    let available = JobSpec { consistency: Consistency::Available, ..shell(Span::secs(120)) };
    let jobs: Vec<JobId> = (0..4).map(|at| net.submit(at, available)).collect();
    let waits = net.submit(0, shell(Span::secs(120)));
    assert!(net.run_until(Span::secs(10), |net| jobs.iter().all(|job| net.outputs.contains_key(job))));
    assert!(net.certified.is_empty() && !net.outputs.contains_key(&waits), "two of four are no quorum");
    net.run_for(Span::secs(5));
    net.cut = vec![vec![false; 4]; 4];
    assert!(net.run_until(Span::secs(30), |net| net.outputs.contains_key(&waits)));
    for (at, job) in jobs.into_iter().enumerate() {
        assert_eq!(ended(&net, at, job), [Ok(JobStatus::Success)]);
    }
    let ended = net.said.iter().filter(|said| matches!(said.what, What::Reported(Event::JobCompleted { .. })));
    assert_eq!(ended.count(), 5, "each once");
}
