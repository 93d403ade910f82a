//! Leases, takeover, fencing and retries (protocol.md, section 7).

use marlos::id::JobId;
use marlos::io::{Event, JobSpec, JobStatus, Refusal};
use marlos::time::Span;
use marlos::wire::message::{JobClaim, LeaseLapsed, Takeover};
use marlos::wire::{MsgType, Payload};

use crate::auction::{Table, addressed, certified};
use crate::hand::{refusals, shell};
use crate::jobs::{ended, executors, met_with_idle_submitter, payloads};
use crate::net::{Net, What, keys};

/// A job of node 0 that runs for `run_for`, its executor and its backup.
pub fn running(net: &mut Net, run_for: Span) -> (JobId, usize, usize) {
    net.run_for = Some(run_for);
    let job = net.submit(0, shell(Span::secs(120)));
    net.run_for(Span::millis(500));
    let executor = executors(net, job)[0];
    let named = net.said.iter().find_map(|said| match &said.what {
        What::Reported(Event::AuctionClosed { job: of, backup, .. }) if *of == job => *backup,
        _ => None,
    });
    let backup = (0..net.slots.len()).find(|at| Some(keys(*at).id()) == named).expect("there were two bids");
    (job, executor, backup)
}

/// From now on nothing passes between this node and the others, and no connection breaks for it.
fn cut_off(net: &mut Net, node: usize, cut: bool) {
    for other in (0..net.slots.len()).filter(|other| *other != node) {
        net.cut[node][other] = cut;
        net.cut[other][node] = cut;
    }
}

fn voted_for(said: &[What], who: usize) -> bool {
    let id = keys(who).id();
    said.iter().any(|what| matches!(what, What::Reported(Event::Voted { winner, .. }) if *winner == id))
}

#[test]
fn the_backup_takes_over_when_the_executor_dies() {
    let mut net = met_with_idle_submitter(5);
    let (job, executor, backup) = running(&mut net, Span::secs(20));
    let from = net.now;
    net.stop(executor);
    assert!(net.run_until(Span::secs(3), |net| executors(net, job).len() == 2), "its connections broke");
    assert_eq!(executors(&net, job), [executor, backup], "within {}", net.now.since(from));
    assert!(net.run_until(Span::secs(30), |net| net.outputs.contains_key(&job)));
    assert_eq!(ended(&net, 0, job), [Ok(JobStatus::Success)]);
}

#[test]
fn an_executor_that_falls_silent_is_replaced_and_fenced_when_it_is_back() {
    let mut net = met_with_idle_submitter(5);
    let (job, executor, backup) = running(&mut net, Span::secs(60));
    cut_off(&mut net, executor, true);
    assert!(net.run_until(Span::secs(12), |net| executors(net, job).len() == 2), "seen dead by its silence");
    assert_eq!(executors(&net, job)[1], backup);
    net.run_for(Span::secs(10));
    cut_off(&mut net, executor, false);
    let fenced = |net: &Net| net.said.iter().any(|s| s.node == executor && s.what == What::Cancelled(job));
    assert!(net.run_until(Span::secs(5), fenced), "its next sign of life is answered with the later claim");
    assert!(net.run_until(Span::secs(90), |net| net.outputs.contains_key(&job)));
    assert_eq!((ended(&net, 0, job).len(), executors(&net, job).len()), (1, 2));
}

#[test]
fn a_third_runs_the_job_when_executor_and_backup_die_together() {
    let mut net = met_with_idle_submitter(7);
    let (job, executor, backup) = running(&mut net, Span::secs(20));
    net.stop(executor);
    net.stop(backup);
    assert!(net.run_until(Span::secs(4), |net| executors(net, job).len() == 2));
    assert!(![executor, backup].contains(&executors(&net, job)[1]));
    assert!(net.run_until(Span::secs(30), |net| net.outputs.contains_key(&job)));
}

#[test]
fn a_job_that_is_done_is_not_taken_over_when_its_executor_dies_afterwards() {
    let mut net = met_with_idle_submitter(5);
    let (job, executor, _) = running(&mut net, Span::secs(1));
    assert!(net.run_until(Span::secs(3), |net| net.outputs.contains_key(&job)));
    net.stop(executor);
    net.run_for(Span::secs(60));
    assert_eq!((ended(&net, 0, job).len(), executors(&net, job).len()), (1, 1));
}

#[test]
fn an_executor_that_restarts_goes_on_with_its_job() {
    let mut net = met_with_idle_submitter(4);
    let (job, executor, _) = running(&mut net, Span::secs(20));
    net.stop(executor);
    net.run_for(Span::millis(200));
    net.start(executor);
    net.run_for(Span::secs(8));
    assert_eq!(executors(&net, job), [executor, executor], "asked by its submitter, before anybody held it for dead");
    assert!(net.run_until(Span::secs(25), |net| net.outputs.contains_key(&job)));
    assert_eq!(ended(&net, 0, job).len(), 1);
}

#[test]
fn voters_that_have_restarted_hold_a_claim_that_its_executor_goes_on_with() {
    let mut net = met_with_idle_submitter(7);
    let (job, executor, _) = running(&mut net, Span::secs(20));
    (0..7).for_each(|at| net.stop(at));
    // Nothing is decided before the executor is back, later than the others.
    net.fate = Box::new(|_, _, kind| (kind != MsgType::AuctionCoordinate).then_some(Span::ZERO));
    for at in (0..7).filter(|at| *at != executor) {
        net.start(at);
    }
    net.run_for(Span::secs(3));
    net.start(executor);
    net.run_for(Span::secs(8));
    assert_eq!(executors(&net, job), [executor, executor], "asked by its submitter");
    net.fate = Box::new(|_, _, _| Some(Span::ZERO));
    assert!(net.run_until(Span::secs(30), |net| net.outputs.contains_key(&job)));
    assert_eq!(executors(&net, job), [executor, executor], "nobody else was voted for");
}

#[test]
fn a_submitter_that_restarts_finds_the_result_of_a_job_that_was_taken_over() {
    for down in [1, 30] {
        let mut net = met_with_idle_submitter(5);
        let (job, executor, backup) = running(&mut net, Span::secs(20));
        net.stop(0);
        net.run_for(Span::millis(100));
        net.stop(executor);
        net.run_for(Span::secs(down));
        net.start(0);
        assert!(net.run_until(Span::secs(45), |net| net.outputs.contains_key(&job)), "down for {down} s");
        assert_eq!(executors(&net, job), [executor, backup], "down for {down} s");
    }
}

#[test]
fn a_run_that_failed_is_tried_again_as_often_as_the_job_says() {
    for (failures, attempts, runs, end) in [
        (1, 1, 1, JobStatus::Failure),
        (1, 2, 2, JobStatus::Success),
        (2, 3, 3, JobStatus::Success),
        (9, 3, 3, JobStatus::Failure),
    ] {
        let mut net = met_with_idle_submitter(4);
        net.failures = failures;
        let job = net.submit(0, JobSpec { max_attempts: attempts, ..shell(Span::secs(60)) });
        net.run_for(Span::secs(20));
        assert_eq!(ended(&net, 0, job), [Ok(end)], "{failures} failures, {attempts} attempts");
        assert_eq!(executors(&net, job).len(), runs, "{failures} failures, {attempts} attempts");
    }
}

/// Hand 3 holds the claim of round 0 of hand 1's job, hand 2 is its backup, node 0 has voted for it and seen the claim.
fn claimed_by_a_hand() -> Table {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    assert!(voted_for(&table.say(2, &table.proposal(0, 3, 2)), 3));
    table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 0 }));
    table
}

#[test]
fn a_voter_grants_a_takeover_only_to_the_backup_and_only_when_the_claim_is_over() {
    let mut table = claimed_by_a_hand();
    let electorate = table.statement(0, 3, 2).electorate;
    let wish = |table: &Table, round| Payload::Takeover(Takeover { job_id: table.job, round, electorate });
    let over = |table: &Table, round| Payload::LeaseLapsed(LeaseLapsed { job_id: table.job, round });
    for (who, payload, reason) in [
        (1, wish(&table, 1), Refusal::OutOfPlace),
        (3, wish(&table, 1), Refusal::OutOfPlace),
        (2, wish(&table, 0), Refusal::OutOfPlace),
        (2, over(&table, 0), Refusal::OutOfPlace),
        (3, over(&table, 0), Refusal::OutOfPlace),
    ] {
        let said = table.say(who, &payload);
        assert_eq!(refusals(&said), [reason], "{payload:?}");
        assert!(!voted_for(&said, 2));
    }
    let mut elsewhere = electorate;
    elsewhere.0[0] ^= 1;
    let other = Payload::Takeover(Takeover { job_id: table.job, round: 1, electorate: elsewhere });
    assert_eq!(refusals(&table.say(2, &other)), [Refusal::ElectorateDiffers]);

    let said = table.say(2, &wish(&table, 1));
    assert!(refusals(&said).is_empty() && !voted_for(&said, 2), "the executor lives: the wish waits");
    let said = table.say(1, &over(&table, 0));
    assert!(voted_for(&said, 2), "the submitter's word is enough");
    assert_eq!(addressed(&said, MsgType::ClaimVote), [Some(keys(2).id())]);
    assert!(!voted_for(&table.say(2, &wish(&table, 1)), 2), "once a round");
}

#[test]
fn a_wish_to_take_over_is_granted_when_the_voter_sees_the_executor_die() {
    let mut table = claimed_by_a_hand();
    let electorate = table.statement(0, 3, 2).electorate;
    table.say(2, &Payload::Takeover(Takeover { job_id: table.job, round: 1, electorate }));
    let said = table.say(3, &Payload::Goodbye(marlos::wire::message::Goodbye {}));
    assert!(voted_for(&said, 2), "{said:?}");
}

#[test]
fn a_backup_that_hears_nothing_for_a_lease_asks_and_needs_a_quorum() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 3, 0));
    table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 0 }));
    for _ in 0..4 {
        table.net.run_for(Span::millis(2_400));
        for who in 1..=3 {
            table.say(who, &crate::hand::ping());
        }
    }
    table.net.said.clear();
    table.net.run_for(Span::secs(1));
    let asked: Vec<What> = table.net.said.iter().map(|said| said.what.clone()).collect();
    assert_eq!(payloads(&asked, MsgType::Takeover).len(), 1, "{asked:?}");
    let job = table.job;
    let mut statement = table.statement(1, 0, 2);
    statement.backup = None;
    assert!(!certified(&table.vote(1, &statement)));
    let said = table.vote(2, &statement);
    assert!(certified(&said) && said.contains(&What::Executed(job)));
}
