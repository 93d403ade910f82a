//! Execution, results, and jobs that end without one (protocol.md, section 7).

use marlos::auction::job_id;
use marlos::id::{JobId, Link};
use marlos::io::{Command, Event, FailReason, Input, JobSpec, JobStatus, Outcome, Refusal, SubmitRefusal};
use marlos::node::JobPhase;
use marlos::time::Span;
use marlos::units::Ppm;
use marlos::wire::message::{CertificateRequest, JobBroadcast, JobClaim, JobResult, OUTPUT_CHUNK, OutputChunk};
use marlos::wire::{Envelope, MsgType, Payload};

use crate::auction::{Table, addressed, certified, submit_coordinated_by};
use crate::hand::{among_hands, refusals, sent, shell};
use crate::membership::met;
use crate::net::{Net, What, config, keys};

/// What was said of this kind, bundled or not.
pub fn payloads(said: &[What], wanted: MsgType) -> Vec<Payload> {
    let mut found = Vec::new();
    for what in said {
        let What::Sent { frame, .. } = what else { continue };
        let envelope = Envelope::peek(frame, 10 << 20).expect("its own frame");
        envelope.payloads(10 << 20, &mut |payload| found.push(payload)).expect("its own payload");
    }
    found.retain(|payload| payload.kind() == wanted);
    found
}

fn results(said: &[What]) -> Vec<JobResult> {
    let result = |payload| match payload {
        Payload::JobResult(result) => Some(result),
        _ => None,
    };
    payloads(said, MsgType::JobResult).into_iter().filter_map(result).collect()
}

pub fn ended(net: &Net, at: usize, job: JobId) -> Vec<Result<JobStatus, FailReason>> {
    let end = |(_, event): (_, &Event)| match event {
        Event::JobCompleted { job: id, status, .. } if *id == job => Some(Ok(*status)),
        Event::JobFailed { job: id, reason } if *id == job => Some(Err(*reason)),
        _ => None,
    };
    net.reports(at).filter_map(end).collect()
}

pub fn executors(net: &Net, job: JobId) -> Vec<usize> {
    net.said.iter().filter(|said| said.what == What::Executed(job)).map(|said| said.node).collect()
}

fn result_of(job_id: JobId, round: u32, output: &[u8]) -> JobResult {
    JobResult {
        job_id,
        round,
        status: JobStatus::Success,
        output: output.to_vec(),
        output_bytes: u32::try_from(output.len()).expect("short"),
        truncated: false,
        duration: Span::secs(1),
    }
}

/// Node 0 cannot run anything: whatever it submits runs elsewhere.
pub fn met_with_idle_submitter(count: usize) -> Net {
    met_where(count, |at| at != 0)
}

fn met_where(count: usize, runs: impl Fn(usize) -> bool) -> Net {
    let mut net = met(count);
    for at in (0..count).filter(|at| !runs(*at)) {
        net.stop(at);
        net.slots[at].config.capabilities.clear();
        net.run_for(Span::millis(100));
        net.start(at);
    }
    net.run_for(Span::secs(8));
    assert!(net.all_alive());
    net.said.clear();
    net
}

/// Node 0 of the table holds the claim of round 0 and runs the job of hand 1; hand 3 is the backup.
pub fn claimed() -> Table {
    let mut table = Table::coordinated_by(2);
    table.net.run_for = None;
    table.broadcast();
    table.say(2, &table.proposal(0, 0, 3));
    let statement = table.statement(0, 0, 3);
    table.vote(1, &statement);
    let said = table.vote(2, &statement);
    assert!(certified(&said) && said.contains(&What::Executed(table.job)));
    table
}

fn finish(table: &mut Table, output: &[u8]) -> Vec<What> {
    let outcome = Outcome { status: JobStatus::Success, output, duration: Span::secs(1) };
    let job = table.job;
    table.net.input(0, Input::Finished { job, outcome })
}

#[test]
fn a_result_reaches_its_submitter_with_what_the_job_printed() {
    for runs in [|at| at != 0, |at| at == 0] {
        let mut net = met_where(4, runs);
        net.output = b"forty-two\n".to_vec();
        let job = net.submit(0, shell(Span::secs(30)));
        assert!(net.run_until(Span::secs(3), |net| net.outputs.contains_key(&job)));
        assert_eq!(net.outputs[&job], b"forty-two\n");
        net.run_for(Span::secs(60));
        assert_eq!(ended(&net, 0, job), [Ok(JobStatus::Success)], "once");
        assert_eq!(executors(&net, job).len(), 1);
        assert_eq!(net.node(0).view().job(job).map(|job| job.phase), Some(JobPhase::Done(JobStatus::Success)));
    }
}

#[test]
fn an_output_beyond_the_limit_is_cut_and_said_to_be() {
    let limit = config(0).max_output_bytes as usize;
    for (length, kept, truncated) in [(limit - 1, limit - 1, false), (limit, limit, false), (limit + 1, limit, true)] {
        let mut table = claimed();
        let said = finish(&mut table, &vec![b'x'; length]);
        let full = results(&said).into_iter().find(|result| !result.output.is_empty()).expect("to the submitter");
        assert_eq!((full.output_bytes as usize, full.truncated), (kept, truncated), "{length} bytes");
        assert_eq!(full.output.len(), OUTPUT_CHUNK, "the rest is asked for");
    }
}

#[test]
fn an_output_of_many_pieces_arrives_whole_and_pieces_that_are_lost_are_asked_for_again() {
    let output: Vec<u8> = (0..3 * OUTPUT_CHUNK + 1).map(|at| (at % 251) as u8).collect();
    for lose in [0, 1, 2] {
        let mut net = met_with_idle_submitter(4);
        net.output = output.clone();
        let mut pieces = 0;
        net.fate = Box::new(move |_, _, kind| {
            pieces += u32::from(kind == MsgType::OutputChunk);
            (kind != MsgType::OutputChunk || pieces != lose).then_some(Span::ZERO)
        });
        let job = net.submit(0, shell(Span::secs(60)));
        assert!(net.run_until(Span::secs(20), |net| net.outputs.contains_key(&job)), "piece {lose} lost");
        assert!(net.outputs[&job] == output, "piece {lose} lost");
        assert_eq!(executors(&net, job).len(), 1);
    }
}

#[test]
fn pieces_that_do_not_fit_are_refused_and_one_that_fits_is_taken_once() {
    let (mut net, mut hands) = among_hands(3);
    let job_id = net.submit(0, shell(Span::secs(30)));
    let table = Table::with_coordinators(&[2]);
    let mut statement = table.statement(3, 3, 2);
    statement.job_id = job_id;
    hands[2].say(&mut net, 0, &Payload::ClaimCertificate(table.certificate(statement, &[1, 2, 3])));
    let piece = |round, offset, bytes: &[u8]| {
        Payload::OutputChunk(OutputChunk { job_id, round, offset, bytes: bytes.to_vec() })
    };
    assert_eq!(refusals(&hands[2].say(&mut net, 0, &piece(3, 0, b"x"))), [Refusal::OutOfPlace], "before the result");
    let begun = JobResult { output_bytes: 8, ..result_of(job_id, 3, b"begi") };
    let said = hands[2].say(&mut net, 0, &Payload::JobResult(begun));
    assert_eq!(addressed(&said, MsgType::OutputRequest), [Some(keys(3).id())]);
    for (who, bad, reason) in [
        (1, piece(3, 4, b"nn"), Refusal::OutOfPlace),
        (3, piece(2, 4, b"nn"), Refusal::OutOfPlace),
        (3, piece(3, 3, b"nn"), Refusal::OutOfPlace),
        (3, piece(3, 5, b"nn"), Refusal::OutOfPlace),
        (3, piece(3, 4, b""), Refusal::Malformed),
        (3, piece(3, 4, b"nning"), Refusal::Malformed),
    ] {
        assert_eq!(refusals(&hands[who - 1].say(&mut net, 0, &bad)), [reason], "{bad:?}");
    }
    let said = hands[2].say(&mut net, 0, &piece(3, 4, b"nn"));
    assert_eq!(addressed(&said, MsgType::OutputRequest), [Some(keys(3).id())]);
    hands[2].say(&mut net, 0, &piece(3, 6, b"er"));
    assert_eq!(net.outputs.get(&job_id).map(Vec::as_slice), Some(b"beginner".as_slice()));
}

#[test]
fn an_output_that_is_promised_and_never_sent_costs_a_lease_and_not_the_job() {
    let (mut net, mut hands) = among_hands(3);
    let job_id = net.submit(0, shell(Span::secs(60)));
    let table = Table::with_coordinators(&[2]);
    let mut statement = table.statement(3, 3, 2);
    statement.job_id = job_id;
    hands[2].say(&mut net, 0, &Payload::ClaimCertificate(table.certificate(statement, &[1, 2, 3])));
    let begun = JobResult { output_bytes: 8, ..result_of(job_id, 3, b"begi") };
    let mut lapsed_after = None;
    for seconds in (0..20).step_by(2) {
        for hand in &mut hands[..2] {
            let frame = hand.announce(net.now);
            net.deliver(0, Link::INBOUND, &frame);
        }
        hands[2].say(&mut net, 0, &Payload::JobResult(begun.clone()));
        let lapsed = |net: &Net| {
            net.said
                .iter()
                .any(|said| said.node == 0 && matches!(said.what, What::Sent { kind: MsgType::LeaseLapsed, .. }))
        };
        if net.run_until(Span::secs(2), lapsed) {
            lapsed_after = Some(seconds + 2);
            break;
        }
    }
    assert!(lapsed_after.is_some_and(|after| (10..=14).contains(&after)), "{lapsed_after:?} s");
}

#[test]
fn an_executor_that_corrects_its_result_is_believed() {
    let (mut net, mut hands) = among_hands(3);
    let job_id = net.submit(0, shell(Span::secs(30)));
    let table = Table::with_coordinators(&[2]);
    let mut statement = table.statement(3, 3, 2);
    statement.job_id = job_id;
    hands[2].say(&mut net, 0, &Payload::ClaimCertificate(table.certificate(statement, &[1, 2, 3])));
    let begun = JobResult { output_bytes: 8_000, ..result_of(job_id, 3, b"begin") };
    hands[2].say(&mut net, 0, &Payload::JobResult(begun));
    hands[2].say(&mut net, 0, &Payload::JobResult(result_of(job_id, 3, b"end")));
    assert_eq!(net.outputs.get(&job_id).map(Vec::as_slice), Some(b"end".as_slice()));
}

#[test]
fn the_output_goes_to_the_submitter_and_to_nobody_else() {
    let mut table = claimed();
    let said = finish(&mut table, b"secret");
    let mut to: Vec<_> = addressed(&said, MsgType::JobResult).into_iter().flatten().collect();
    to.sort_unstable();
    let mut expected = vec![keys(1).id(), keys(3).id()];
    expected.sort_unstable();
    assert_eq!(to, expected, "submitter and backup learn that it is over");
    assert_eq!(results(&said).iter().filter(|result| !result.output.is_empty()).count(), 1);
    let ask = Payload::CertificateRequest(CertificateRequest { job_id: table.job });
    table.net.run_for(Span::secs(2));
    assert_eq!(sent(&table.say(3, &ask)), [MsgType::ClaimCertificate], "another may see the certificate");
    let said = table.say(1, &ask);
    assert_eq!(payloads(&said, MsgType::JobResult).len(), 1, "the submitter also gets the result again");
}

/// A submitter that restarts on a slow link asks again while what it asked for is on its way: so it would never come in time.
#[test]
fn who_asks_for_a_result_again_and_again_gets_it_less_and_less_often() {
    let mut table = claimed();
    finish(&mut table, b"done");
    table.net.run_for(Span::secs(2));
    let ask = Payload::CertificateRequest(CertificateRequest { job_id: table.job });
    let mut sent_at = Vec::new();
    for second in 0..50 {
        let said = table.say(1, &ask);
        assert_eq!(payloads(&said, MsgType::ClaimCertificate).len(), 1, "the certificate is short");
        sent_at.extend(payloads(&said, MsgType::JobResult).iter().map(|_| second));
        table.net.run_for(Span::secs(1));
    }
    assert_eq!(sent_at, [0, 5, 15, 35]);
}

#[test]
fn a_result_that_was_lost_is_asked_for_again() {
    let mut net = met_with_idle_submitter(4);
    let mut lost = 0;
    net.fate = Box::new(move |_, to, kind| {
        let lose = to == 0 && kind == MsgType::JobResult && lost < 1;
        lost += u32::from(lose);
        (!lose).then_some(Span::ZERO)
    });
    let job = net.submit(0, shell(Span::secs(30)));
    net.run_for(Span::secs(2));
    assert_eq!(ended(&net, 0, job), []);
    assert!(net.run_until(Span::secs(6), |net| net.outputs.contains_key(&job)), "after `rebroadcast_interval`");
    assert_eq!(executors(&net, job).len(), 1, "it ran once");
}

#[test]
fn a_claim_and_result_that_were_both_lost_reach_the_submitter_all_the_same() {
    let mut net = met_with_idle_submitter(4);
    let from = net.now;
    net.fate = Box::new(|_, to, kind| {
        let lose = to == 0 && kind >= MsgType::JobClaim;
        (!lose).then_some(Span::ZERO)
    });
    let job = net.submit(0, shell(Span::secs(60)));
    net.run_for(Span::secs(2));
    net.fate = Box::new(|_, _, _| Some(Span::ZERO));
    assert!(net.run_until(Span::secs(10), |net| net.outputs.contains_key(&job)), "since {from}");
    assert_eq!(executors(&net, job).len(), 1, "it ran once");
}

#[test]
fn a_job_that_fails_says_why() {
    let fail = |mut net: Net, spec: JobSpec<'_>| {
        let job = net.submit(0, spec);
        net.run_for(Span::secs(40));
        (ended(&net, 0, job), net)
    };
    let mut net = met_with_idle_submitter(4);
    (1..4).for_each(|at| net.stop(at));
    net.run_for(Span::secs(5));
    assert_eq!(fail(net, shell(Span::secs(5))).0, [Err(FailReason::NoQuorum)]);

    let net = met_with_idle_submitter(4);
    let nobody = JobSpec { requirements: &["gpu".to_owned()], ..shell(Span::secs(5)) };
    assert_eq!(fail(net, nobody).0, [Err(FailReason::NoBids)]);

    let mut net = met_with_idle_submitter(4);
    net.fate = Box::new(|_, _, kind| (kind != MsgType::ClaimVote).then_some(Span::ZERO));
    assert_eq!(fail(net, shell(Span::secs(5))).0, [Err(FailReason::NoClaim)]);

    let mut net = met_with_idle_submitter(4);
    net.fate = Box::new(|_, _, kind| (kind != MsgType::JobResult).then_some(Span::ZERO));
    net.run_for = None;
    let job = net.submit(0, shell(Span::secs(15)));
    net.run_for(Span::secs(2));
    let executor = executors(&net, job)[0];
    net.stop(executor);
    net.run_for(Span::secs(60));
    assert_eq!(ended(&net, 0, job), [Err(FailReason::NoResult)]);
    let phase = net.node(0).view().job(job).map(|job| job.phase);
    assert_eq!(phase, Some(JobPhase::Failed(FailReason::NoResult)));
}

#[test]
fn a_submitter_that_coordinates_its_own_job_knows_that_there_were_bids() {
    let mut net = met_with_idle_submitter(4);
    net.fate = Box::new(|_, _, kind| (kind != MsgType::ClaimVote).then_some(Span::ZERO));
    // So short that it is the only coordinator.
    let job = submit_coordinated_by(&mut net, 4, 0, Span::millis(600));
    net.run_for(Span::secs(5));
    assert_eq!(ended(&net, 0, job), [Err(FailReason::NoClaim)]);
}

#[test]
fn heartbeats_keep_a_late_job_alive() {
    for runs in [|at| at != 0, |at| at == 0] {
        let mut net = met_where(4, runs);
        net.run_for = Some(Span::secs(30));
        let job = net.submit(0, shell(Span::secs(12)));
        net.run_for(Span::secs(29));
        assert_eq!(ended(&net, 0, job), [], "late, and known to run");
        net.run_for(Span::secs(2));
        assert_eq!(ended(&net, 0, job), [Ok(JobStatus::Success)]);
    }
}

#[test]
fn a_late_job_does_not_live_forever() {
    let mut net = met_with_idle_submitter(4);
    net.run_for = None;
    let job = net.submit(0, shell(Span::secs(12)));
    net.run_for(Span::secs(45));
    assert_eq!(ended(&net, 0, job), [Err(FailReason::NoResult)], "three times its span is the end");
}

#[test]
fn a_proven_claim_of_a_later_round_stops_the_older_execution() {
    let mut table = claimed();
    let later = table.statement(4, 3, 2);
    let said = table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 4 }));
    assert!(!said.contains(&What::Cancelled(table.job)), "a claim alone stops nothing");
    let said = table.say(3, &Payload::ClaimCertificate(table.certificate(later, &[1, 2, 3])));
    assert!(said.contains(&What::Cancelled(table.job)));
    let said = finish(&mut table, b"too late");
    assert_eq!(sent(&said), [], "and its result goes nowhere");
    let older = table.statement(2, 1, 2);
    let said = table.say(1, &Payload::ClaimCertificate(table.certificate(older, &[1, 2, 3])));
    assert!(said.iter().all(|what| matches!(what, What::Reported(Event::Accepted { .. }))), "{said:?}");
}

#[test]
fn a_claimer_that_wins_a_later_round_too_goes_on_and_its_result_is_of_the_later() {
    for finished_before in [false, true] {
        let mut table = claimed();
        if finished_before {
            finish(&mut table, b"done");
        }
        let later = table.statement(4, 0, 2);
        let said = table.say(3, &Payload::ClaimCertificate(table.certificate(later, &[1, 2, 3])));
        assert!(!said.contains(&What::Cancelled(table.job)) && !said.contains(&What::Executed(table.job)));
        let said = if finished_before {
            table.say(1, &Payload::CertificateRequest(CertificateRequest { job_id: table.job }))
        } else {
            finish(&mut table, b"done")
        };
        let rounds: Vec<u32> = results(&said).iter().map(|result| result.round).collect();
        assert!(!rounds.is_empty() && rounds.iter().all(|round| *round == 4), "{rounds:?}");
    }
}

#[test]
fn a_result_without_a_known_claim_waits_for_its_proof() {
    let (mut net, mut hands) = among_hands(3);
    let said = net.input(0, Input::Command(Command::Submit(shell(Span::secs(30)))));
    let Some(Payload::JobBroadcast(broadcast)) = payloads(&said, MsgType::JobBroadcast).pop() else {
        unreachable!("{said:?}")
    };
    let job_id = job_id(&broadcast);
    let result = |round, output: &[u8]| Payload::JobResult(result_of(job_id, round, output));
    let said = hands[2].say(&mut net, 0, &result(3, b"mine"));
    assert_eq!(addressed(&said, MsgType::CertificateRequest), [Some(keys(3).id())]);
    assert!(!net.outputs.contains_key(&job_id));
    let table = Table::with_coordinators(&[2]);
    let mut statement = table.statement(3, 3, 2);
    statement.job_id = job_id;
    hands[2].say(&mut net, 0, &Payload::ClaimCertificate(table.certificate(statement, &[1, 2, 3])));
    assert_eq!(net.outputs.get(&job_id).map(Vec::as_slice), Some(b"mine".as_slice()));
}

#[test]
fn nobody_but_the_claimer_delivers_the_result() {
    let (mut net, mut hands) = among_hands(3);
    let job_id = net.submit(0, shell(Span::secs(30)));
    let table = Table::with_coordinators(&[2]);
    let mut statement = table.statement(3, 3, 2);
    statement.job_id = job_id;
    hands[2].say(&mut net, 0, &Payload::ClaimCertificate(table.certificate(statement, &[1, 2, 3])));
    for (who, round) in [(1, 3), (1, 0), (3, 2)] {
        let result = result_of(job_id, round, b"forged");
        assert_eq!(refusals(&hands[who - 1].say(&mut net, 0, &Payload::JobResult(result))), [Refusal::OutOfPlace]);
    }
    assert!(net.outputs.is_empty());
}

#[test]
fn a_submission_that_cannot_be_is_refused_with_its_reason_and_nothing_is_said_of_it() {
    let (mut net, _) = among_hands(3);
    let (long, names) = ("x".repeat(64 * 1024 + 1), vec!["a".to_owned(); 17]);
    let wide = ["x".repeat(33)];
    let good = shell(Span::secs(30));
    let table = [
        (JobSpec { command: &long, ..good }, SubmitRefusal::CommandTooLarge),
        (JobSpec { job_type: "", ..good }, SubmitRefusal::BadRequirements),
        (JobSpec { requirements: &names, ..good }, SubmitRefusal::BadRequirements),
        (JobSpec { requirements: &wide, ..good }, SubmitRefusal::BadRequirements),
        (JobSpec { deadline: Span::ZERO, ..good }, SubmitRefusal::BadDeadline),
        (JobSpec { deadline: Span::secs(31 * 86_400), ..good }, SubmitRefusal::BadDeadline),
        (JobSpec { max_attempts: 0, ..good }, SubmitRefusal::BadAttempts),
        (JobSpec { max_attempts: 101, ..good }, SubmitRefusal::BadAttempts),
    ];
    for (spec, reason) in table {
        let said = net.input(0, Input::Command(Command::Submit(spec)));
        assert_eq!(said, [What::Reported(Event::SubmitRefused { reason })]);
    }
    net.input(0, Input::Command(Command::Leave));
    let said = net.input(0, Input::Command(Command::Submit(good)));
    assert_eq!(said, [What::Reported(Event::SubmitRefused { reason: SubmitRefusal::Leaving })]);
}

#[test]
fn a_priority_above_one_is_one() {
    let mut net = met_with_idle_submitter(4);
    let job = net.submit(0, JobSpec { priority: Ppm(2_000_000), ..shell(Span::secs(10)) });
    assert!(net.run_until(Span::secs(3), |net| net.outputs.contains_key(&job)), "{:?}", net.refusals(1));
}

#[test]
fn no_more_jobs_are_kept_than_max_known_jobs() {
    let mut net = Net::new(vec![marlos::Config { max_known_jobs: 2, ..config(0) }]);
    net.start(0);
    net.submit(0, shell(Span::secs(30)));
    net.submit(0, shell(Span::secs(30)));
    let said = net.input(0, Input::Command(Command::Submit(shell(Span::secs(30)))));
    assert_eq!(said, [What::Reported(Event::SubmitRefused { reason: SubmitRefusal::TooManyJobs })]);
}

#[test]
fn a_submitter_that_restarts_sees_its_open_jobs_to_their_end() {
    // Down while the job runs, or for longer than it runs, or for longer than its deadline.
    for (down, expected) in [(1, Ok(JobStatus::Success)), (8, Ok(JobStatus::Success)), (100, Err(FailReason::NoResult))]
    {
        let mut net = met_with_idle_submitter(4);
        net.run_for = Some(Span::secs(5));
        let job = net.submit(0, shell(Span::secs(60)));
        net.run_for(Span::millis(500));
        assert_eq!(executors(&net, job).len(), 1);
        net.stop(0);
        net.run_for(Span::secs(down));
        net.start(0);
        net.run_for(Span::secs(20));
        assert_eq!(ended(&net, 0, job), [expected], "down for {down} s");
        assert_eq!(executors(&net, job).len(), 1, "it ran once");
        let other = net.submit(0, shell(Span::secs(60)));
        assert_ne!(other, job, "the same text, counted on");
        assert!(net.run_until(Span::secs(8), |net| net.outputs.contains_key(&other)));
    }
}

#[test]
fn a_submitter_that_restarts_gives_a_job_up_when_it_would_have_anyway() {
    let mut net = met_with_idle_submitter(4);
    net.run_for = None;
    let job = net.submit(0, shell(Span::secs(20)));
    for _ in 0..3 {
        net.run_for(Span::secs(14));
        net.stop(0);
        net.run_for(Span::secs(1));
        net.start(0);
    }
    net.run_for(Span::secs(14));
    assert_eq!(ended(&net, 0, job), [], "its executor shows signs of life for 59 s");
    net.run_for(Span::secs(5));
    assert_eq!(ended(&net, 0, job).len(), 1, "three times its span is over");
}

#[test]
fn a_submitter_that_restarts_before_anybody_heard_of_its_job_has_it_run() {
    let mut net = met_with_idle_submitter(4);
    (1..4).for_each(|to| net.cut[0][to] = true);
    let job = net.submit(0, shell(Span::secs(120)));
    net.stop(0);
    (1..4).for_each(|to| net.cut[0][to] = false);
    net.run_for(Span::secs(1));
    net.start(0);
    assert!(net.run_until(Span::secs(10), |net| net.outputs.contains_key(&job)));
}

#[test]
fn an_executor_that_vanished_leaves_a_visible_failure() {
    let mut net = met_with_idle_submitter(4);
    net.run_for = Some(Span::secs(5));
    let job = net.submit(0, shell(Span::secs(20)));
    net.run_for(Span::millis(500));
    let executor = executors(&net, job)[0];
    net.stop(executor);
    net.run_for(Span::millis(300));
    net.start(executor);
    net.run_for(Span::secs(60));
    assert_eq!(ended(&net, 0, job).len(), 1, "whatever it is, it is visible, once");
}

#[test]
fn the_result_of_a_job_is_kept_while_its_submitter_may_ask() {
    let mut table = claimed();
    finish(&mut table, b"done");
    table.net.run_for(Span::secs(59));
    let broadcast: JobBroadcast = table.broadcast.clone();
    for hand in &mut table.hands {
        let frame = hand.ping(table.net.now);
        table.net.deliver(0, Link::INBOUND, &frame);
    }
    let said = table.say(1, &Payload::JobBroadcast(broadcast));
    let mut kinds = sent(&said);
    kinds.sort_unstable();
    kinds.retain(|kind| *kind >= MsgType::JobBroadcast);
    assert!(kinds == [MsgType::ClaimCertificate, MsgType::JobResult] || kinds == [MsgType::Bundle], "{said:?}");
}
