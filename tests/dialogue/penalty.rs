//! Stakes that are lost (protocol.md, section 8).

use marlos::io::{Command, Event, Input, JobSpec, Refusal};
use marlos::ledger::penalty::PenaltyStatement;
use marlos::time::Span;
use marlos::units::Tokens;
use marlos::wire::message::*;
use marlos::wire::{MsgType, Payload, Signature};

use crate::hand::{refusals, sent, shell};
use crate::jobs::{executors, met_with_idle_submitter, payloads};
use crate::ledger::{Bank, GENESIS, gains, id, signed, transaction};
use crate::net::{Net, What};
use crate::takeover::running;

/// Everyone who is up has seen these gains, in whole tokens.
fn assert_gains(net: &Net, expected: &[(usize, i64)]) {
    let mut all = vec![0; net.slots.len()];
    expected.iter().for_each(|(at, gain)| all[*at] += gain);
    for at in (0..net.slots.len()).filter(|at| net.is_up(*at)) {
        assert_eq!(gains(net, at), all, "in the eyes of n{at}");
        assert_eq!(net.node(at).view().ledger_digest(), net.node(0).view().ledger_digest(), "n{at}");
    }
}

fn penalties(net: &Net, at: usize) -> Vec<u64> {
    let number = |(_, event): (_, &Event)| match event {
        Event::PenaltyApplied { number, .. } => Some(*number),
        _ => None,
    };
    net.reports(at).filter_map(number).collect()
}

#[test]
fn a_claim_that_lapsed_costs_its_stake_once_and_who_returns_learns_of_it() {
    let mut net = met_with_idle_submitter(5);
    let (job, executor, backup) = running(&mut net, Span::secs(20));
    net.stop(executor);
    assert!(net.run_until(Span::secs(5), |net| executors(net, job).len() == 2));
    assert!(net.run_until(Span::secs(30), |net| net.outputs.contains_key(&job)));
    assert_gains(&net, &[]);
    net.run_for(Span::secs(45));
    net.start(executor);
    net.run_for(Span::secs(15));
    assert_gains(&net, &[(executor, -10), (0, 10 - 12), (backup, 12)]);
    for at in (0..5).filter(|at| *at != executor) {
        assert_eq!(penalties(&net, at), [1], "once at n{at}");
    }
    let view = net.node(0).view();
    assert_eq!(view.free(id(executor)), view.balance(id(executor)), "nothing of it is bound any more");
    // What is stored is there after a restart.
    net.stop(0);
    net.start(0);
    assert_eq!(gains(&net, 0)[executor], -10);
}

#[test]
fn two_claims_that_lapse_at_once_cost_two_stakes() {
    let mut net = met_with_idle_submitter(5);
    net.run_for = Some(Span::secs(20));
    let jobs: Vec<_> = (0..8).map(|_| net.submit(0, shell(Span::secs(120)))).collect();
    net.run_for(Span::secs(1));
    let of = |net: &Net, at: usize| jobs.iter().filter(|job| executors(net, **job)[0] == at).count();
    let busiest = (1..5).max_by_key(|at| of(&net, *at)).expect("four");
    let lapsing = of(&net, busiest) as u64;
    assert!(lapsing >= 2, "eight jobs of four nodes");
    net.stop(busiest);
    net.run_for(Span::secs(32));
    assert_eq!(penalties(&net, 0), [lapsing], "in one certificate");
    let view = net.node(1 + busiest % 4).view();
    assert_eq!(view.balance(id(busiest)), GENESIS.checked_sub(Tokens::whole(10 * lapsing)).expect("there is enough"));
}

#[test]
fn nobody_is_slashed_for_a_run_that_failed_or_who_was_done_or_said_goodbye() {
    let mut net = met_with_idle_submitter(4);
    net.failures = 1;
    let job = net.submit(0, JobSpec { max_attempts: 2, ..shell(Span::secs(60)) });
    assert!(net.run_until(Span::secs(20), |net| net.outputs.contains_key(&job)));
    assert_eq!(executors(&net, job).len(), 2, "it was run again");
    net.run_for(Span::secs(50));
    assert!((0..4).all(|at| penalties(&net, at).is_empty()), "a run failed");

    let mut net = met_with_idle_submitter(5);
    let (job, executor, _) = running(&mut net, Span::secs(2));
    assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)));
    net.stop(executor);
    net.run_for(Span::secs(60));
    assert!((0..4).all(|at| penalties(&net, at).is_empty()), "its result came");

    let mut net = met_with_idle_submitter(5);
    let (job, executor, _) = running(&mut net, Span::secs(20));
    net.input(executor, Input::Command(Command::Leave));
    net.run_for(Span::millis(100));
    net.stop(executor);
    assert!(net.run_until(Span::secs(10), |net| executors(net, job).len() == 2), "its backup took over");
    net.run_for(Span::secs(50));
    assert!((0..4).all(|at| penalties(&net, at).is_empty()), "it said goodbye");
}

#[test]
fn a_submitter_that_was_away_gets_the_votes_that_it_missed() {
    let mut net = met_with_idle_submitter(7);
    let (job, executor, _) = running(&mut net, Span::secs(100));
    net.fate = Box::new(|_, _, kind| (kind != MsgType::PenaltyVote).then_some(Span::ZERO));
    net.stop(executor);
    assert!(net.run_until(Span::secs(5), |net| executors(net, job).len() == 2));
    net.run_for(Span::secs(2));
    assert!(penalties(&net, 0).is_empty(), "the votes are lost");
    net.stop(0);
    net.fate = Box::new(|_, _, _| Some(Span::ZERO));
    net.run_for(Span::secs(1));
    net.start(0);
    net.run_for(Span::secs(35));
    assert_gains(&net, &[(executor, -10), (0, 10)]);
}

#[test]
fn a_penalty_that_only_its_submitter_can_prove_is_voted_for_again_when_the_members_have_changed() {
    let mut net = met_with_idle_submitter(5);
    for at in 0..5 {
        net.slots[at].config.forget_after = Span::secs(60);
        net.stop(at);
        net.start(at);
    }
    net.run_for(Span::secs(8));
    net.said.clear();
    let (job, executor, _) = running(&mut net, Span::secs(20));
    let kept = [MsgType::PenaltyRecords, MsgType::AccountHeads, MsgType::AccountRequest];
    net.fate = Box::new(move |_, _, kind| (!kept.contains(&kind)).then_some(Span::ZERO));
    net.stop(executor);
    assert!(net.run_until(Span::secs(15), |net| executors(net, job).len() == 2));
    net.run_for(Span::secs(40));
    let others: Vec<usize> = (1..5).filter(|at| *at != executor).collect();
    assert_eq!(penalties(&net, 0), [1], "five have certified it");
    // Of the four that are left, two would have to vouch for it.
    net.run_for(Span::secs(30));
    assert!(others.iter().all(|at| penalties(&net, *at).is_empty()), "nobody else has heard of it");
    net.fate = Box::new(|_, _, _| Some(Span::ZERO));
    assert!(net.run_until(Span::secs(30), |net| others.iter().all(|at| penalties(net, *at) == [1])));
}

/// The statement that hand 3 has let down this one so many times.
fn statement(bank: &Bank, submitter: usize, number: u64) -> PenaltyStatement {
    PenaltyStatement { submitter: id(submitter), claimer: id(3), number, electorate: bank.electorate }
}

/// What hand 1 was awarded of hand 3's stakes, by the votes of these.
fn awarded(bank: &Bank, number: u64, voters: &[usize]) -> PenaltyRecords {
    let proof = bank.proof_of(&statement(bank, 1, number).signed_bytes(), voters);
    let record = PenaltyRecord { claimer: id(3), number, jobs: Vec::new(), proof };
    PenaltyRecords { submitter: id(1), penalties: vec![record] }
}

fn tell(bank: &mut Bank, who: usize, records: PenaltyRecords) -> Vec<Refusal> {
    refusals(&bank.say(who, Payload::PenaltyRecords(records)))
}

#[test]
fn a_penalty_needs_a_quorum_that_signed_this_number_and_anyone_may_tell_it() {
    type Spoil = fn(&mut PenaltyRecords);
    let table: [(&str, &[usize], Spoil, Option<Refusal>); 7] = [
        ("three of four", &[0, 1, 2], |_| {}, None),
        ("two of four", &[1, 2], |_| {}, Some(Refusal::BadCertificate)),
        ("another number", &[0, 1, 2], |r| r.penalties[0].number = 2, Some(Refusal::BadCertificate)),
        ("another submitter", &[0, 1, 2], |r| r.submitter = id(2), Some(Refusal::BadCertificate)),
        ("another claimer", &[0, 1, 2], |r| r.penalties[0].claimer = id(2), Some(Refusal::BadCertificate)),
        ("of itself", &[0, 1, 2], |r| r.submitter = id(3), Some(Refusal::BadRecord)),
        ("more than there can be", &[0, 1, 2], |r| r.penalties[0].number = 1 << 50, Some(Refusal::BadRecord)),
    ];
    for (what, voters, spoil, refused) in table {
        let mut bank = Bank::new();
        let mut records = awarded(&bank, 1, voters);
        spoil(&mut records);
        assert_eq!(tell(&mut bank, 2, records), refused.into_iter().collect::<Vec<_>>(), "{what}");
        let expected = if refused.is_none() { (10_010, 9_990) } else { (10_000, 10_000) };
        assert_eq!((bank.balance(1), bank.balance(3)), expected, "{what}");
    }
}

#[test]
fn one_number_is_all_there_is_to_know_and_it_only_grows() {
    let mut bank = Bank::new();
    for (number, balance) in [(2, 9_980), (1, 9_980), (2, 9_980), (5, 9_950)] {
        let records = awarded(&bank, number, &[0, 1, 2]);
        assert_eq!(tell(&mut bank, 1, records), []);
        assert_eq!(bank.balance(3), balance, "{number}");
    }
}

#[test]
fn a_penalty_waits_for_the_money_that_it_takes() {
    let mut bank = Bank::new();
    let debit = transaction(3, 1, &[(2, 9_995)]);
    bank.pays(3, &debit);
    bank.say(3, bank.certificate(&debit, &[1, 2, 3]));
    let records = awarded(&bank, 1, &[0, 1, 2]);
    assert_eq!(tell(&mut bank, 1, records), []);
    assert_eq!((bank.balance(1), bank.balance(3)), (10_000, 5), "nobody is seen below zero");
    let credit = transaction(2, 1, &[(3, 7)]);
    bank.pays(2, &credit);
    bank.say(2, bank.certificate(&credit, &[1, 2, 3]));
    assert_eq!((bank.balance(1), bank.balance(3)), (10_010, 2));
}

#[test]
fn a_penalty_that_earlier_members_certified_needs_an_honest_witness() {
    let mut bank = Bank::new();
    let old = |number| {
        let mut records = awarded(&Bank::new(), number, &[0, 1, 2]);
        records.penalties[0].proof.electorate.0[0] ^= 1;
        records
    };
    assert_eq!(tell(&mut bank, 1, old(7)), []);
    assert_eq!(tell(&mut bank, 1, old(7)), [], "one of four may lie, however often");
    assert_eq!(bank.balance(3), 10_000);
    assert_eq!(tell(&mut bank, 2, old(2)), [], "two say that it is two at least");
    assert_eq!(bank.balance(3), 9_980);
}

/// A hand says that hand 3 has let node 0 down.
fn vote(bank: &mut Bank, who: usize, number: u64, spoil: impl Fn(&mut PenaltyVote)) -> Vec<What> {
    let vote_signature = signed(who, &statement(bank, 0, number).signed_bytes());
    let mut vote = PenaltyVote { claimer: id(3), number, electorate: bank.electorate, vote_signature };
    spoil(&mut vote);
    bank.say(who, Payload::PenaltyVote(vote))
}

#[test]
fn a_submitter_makes_a_certificate_of_a_quorum_and_of_nothing_else() {
    let mut bank = Bank::new();
    for who in [1, 1, 2] {
        let said = vote(&mut bank, who, 1, |_| {});
        assert_eq!((refusals(&said), sent(&said)), (vec![], vec![]), "one and another are two");
    }
    assert_eq!(sent(&vote(&mut bank, 3, 1, |_| {})), [], "it waits for company");
    bank.net.said.clear();
    bank.net.run_for(Span::secs(31));
    let said: Vec<What> = bank.net.said.iter().map(|said| said.what.clone()).collect();
    let [Payload::PenaltyRecords(records)] = &payloads(&said, MsgType::PenaltyRecords)[..] else { panic!("{said:?}") };
    assert_eq!((records.submitter, records.penalties[0].number), (id(0), 1));
    assert_eq!((bank.balance(0), bank.balance(3)), (10_010, 9_990));
    assert_eq!(sent(&vote(&mut bank, 2, 1, |_| {})), [], "it is certified");

    type Spoil = fn(&mut PenaltyVote);
    let table: [(&str, Spoil, Refusal); 5] = [
        ("against the submitter", |v| v.claimer = id(0), Refusal::OutOfPlace),
        ("against a stranger", |v| v.claimer = id(9), Refusal::NotAMember),
        ("far ahead", |v| v.number = 500, Refusal::OutOfPlace),
        ("of other members", |v| v.electorate.0[0] ^= 1, Refusal::ElectorateDiffers),
        ("not signed", |v| v.vote_signature = Signature([7; 64]), Refusal::BadSignature),
    ];
    for (what, spoil, refused) in table {
        assert_eq!(refusals(&vote(&mut bank, 2, 2, spoil)), [refused], "{what}");
    }
}

#[test]
fn who_saw_no_lapse_votes_for_none() {
    let mut bank = Bank::new();
    let lapsed = Payload::LeaseLapsed(LeaseLapsed { job_id: marlos::id::JobId([5; 16]), round: 0 });
    for payload in [lapsed, Payload::StateRequest(StateRequest { since: marlos::time::WallTime(0) })] {
        let said = bank.say(1, payload);
        assert!(!sent(&said).contains(&MsgType::PenaltyVote), "{said:?}");
    }
}
