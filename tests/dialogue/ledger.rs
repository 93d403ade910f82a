//! Money (protocol.md, section 8).

use marlos::id::{ElectorateId, JobId, NodeId};
use marlos::io::{Command, Event, Input, JobSpec, Refusal, SubmitRefusal};
use marlos::ledger::transaction::{LedgerStatement, Row, row_after, row_digest};
use marlos::quorum::{Proof, electorate_digest};
use marlos::time::Span;
use marlos::units::Tokens;
use marlos::wire::message::*;
use marlos::wire::{MsgType, Payload, Signature, Signed};

use crate::auction::{Table, addressed, submit_coordinated_by};
use crate::hand::{Hand, among_hands, refusals, sent, shell};
use crate::jobs::{executors, met_with_idle_submitter, payloads};
use crate::membership::net_of;
use crate::net::{Net, What, keys};

pub const GENESIS: Tokens = Tokens::whole(10_000);

pub fn id(at: usize) -> NodeId {
    keys(at).id()
}

/// What each node has in the eyes of `at`, in whole tokens more or less than it began with.
pub fn gains(net: &Net, at: usize) -> Vec<i64> {
    let view = net.node(at).view();
    assert!(view.supply().holds(), "{:?}", view.supply());
    let whole = |tokens: Tokens| i64::try_from(tokens.0 / 1_000_000).expect("small");
    (0..net.slots.len()).map(|of| whole(view.balance(id(of))) - whole(GENESIS)).collect()
}

fn applied(net: &Net, at: usize) -> Vec<(NodeId, u64)> {
    let event = |(_, event): (_, &Event)| match event {
        Event::TransactionApplied { account, seq, .. } => Some((*account, *seq)),
        _ => None,
    };
    net.reports(at).filter_map(event).collect()
}

/// Everyone has seen node 0 pay the executor this much, and nobody anybody else.
fn assert_paid(net: &Net, executor: usize, paid: i64) {
    let mut expected = vec![0; net.slots.len()];
    expected[0] -= paid;
    expected[executor] += paid;
    for at in (0..net.slots.len()).filter(|at| net.is_up(*at)) {
        assert_eq!(gains(net, at), expected, "in the eyes of n{at}");
        assert_eq!(net.node(at).view().ledger_digest(), net.node(0).view().ledger_digest(), "n{at}");
    }
}

/// Node 0 submits a job, it is run, and the payment waits for company.
fn run_one(net: &mut Net) -> usize {
    let job = net.submit(0, shell(Span::secs(60)));
    assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)));
    executors(net, job)[0]
}

#[test]
fn a_job_is_paid_once_with_a_bonus_and_everyone_sees_it() {
    let mut net = met_with_idle_submitter(4);
    let executor = run_one(&mut net);
    net.run_for(Span::secs(20));
    assert_paid(&net, executor, 0);
    net.run_for(Span::secs(15));
    assert_paid(&net, executor, 12);
    for at in 0..4 {
        assert_eq!(applied(&net, at), [(id(0), 1)], "one transaction at n{at}");
        let view = net.node(at).view();
        assert_eq!(view.free(id(0)), view.balance(id(0)), "nothing is reserved any more");
        assert_eq!(view.free(id(executor)), view.balance(id(executor)), "no stake is bound any more");
    }
    net.run_for(Span::secs(120));
    assert_paid(&net, executor, 12);
}

#[test]
fn a_late_result_earns_less() {
    // A span of 6 s: by 6 s on time, by 12 s late, later very late.
    for (runs, paid) in [(3, 12), (9, 9), (14, 5)] {
        let mut net = met_with_idle_submitter(4);
        net.run_for = Some(Span::secs(runs));
        let job = net.submit(0, shell(Span::secs(6)));
        assert!(net.run_until(Span::secs(17), |net| net.outputs.contains_key(&job)), "after {runs} s");
        net.run_for(Span::secs(35));
        assert_paid(&net, executors(&net, job)[0], paid);
    }
}

#[test]
fn own_work_is_not_paid() {
    let mut net = Net::new(vec![crate::net::config(0)]);
    net.slots[0].config.min_peers = 1;
    net.start(0);
    net.run_for(Span::secs(3));
    let job = net.submit(0, shell(Span::secs(30)));
    net.run_for(Span::secs(90));
    assert!(net.outputs.contains_key(&job));
    assert_eq!((gains(&net, 0), applied(&net, 0)), (vec![0], vec![]));
}

#[test]
fn a_payer_that_crashes_pays_once_whenever_it_was() {
    // The crash comes so long after the result: before the transaction, and while its votes or its certificate are lost.
    for (after, lose) in [(10, None), (31, Some(MsgType::LedgerVote)), (31, Some(MsgType::LedgerCertificate))] {
        let mut net = met_with_idle_submitter(4);
        let executor = run_one(&mut net);
        net.fate = Box::new(move |_, _, kind| (Some(kind) != lose).then_some(Span::ZERO));
        net.run_for(Span::secs(after));
        net.stop(0);
        net.fate = Box::new(|_, _, _| Some(Span::ZERO));
        net.run_for(Span::secs(2));
        net.start(0);
        net.run_for(Span::secs(50));
        assert_paid(&net, executor, 12);
        // Whoever missed the certificate learns of it with the next transaction at the latest.
        let again = run_one(&mut net);
        net.run_for(Span::secs(50));
        let (both, one) = if again == executor { (24, 0) } else { (12, 12) };
        assert_eq!((gains(&net, 1)[0], gains(&net, 1)[executor]), (-24, both), "{after} s, {lose:?}");
        assert!(again == executor || gains(&net, 2)[again] == one);
    }
}

#[test]
fn a_payer_that_lost_its_store_asks_a_quorum_and_goes_on_where_it_was() {
    for under_way in [false, true] {
        let mut net = met_with_idle_submitter(4);
        let first = run_one(&mut net);
        let lose = if under_way { Some(MsgType::LedgerVote) } else { None };
        net.fate = Box::new(move |_, _, kind| (Some(kind) != lose).then_some(Span::ZERO));
        net.run_for(Span::secs(34));
        net.stop(0);
        net.slots[0].store.clear();
        net.fate = Box::new(|_, _, _| Some(Span::ZERO));
        net.run_for(Span::secs(2));
        net.start(0);
        net.run_for(Span::secs(10));
        let second = run_one(&mut net);
        net.run_for(Span::secs(60));
        for at in 0..4 {
            let mut expected = vec![-24, 0, 0, 0];
            expected[first] += 12;
            expected[second] += 12;
            assert_eq!(gains(&net, at), expected, "in the eyes of n{at}, under way: {under_way}");
            let conflict = |(_, event): (_, &Event)| matches!(event, Event::ConflictingTransactions { .. });
            assert!(!net.reports(at).any(conflict), "it signed no second transaction of a number");
        }
    }
}

#[test]
fn who_missed_a_payment_is_told_when_it_is_back_or_by_the_heartbeats_that_differ() {
    // With connections that break, whoever is back asks; with frames that are swallowed, only digests tell.
    for breaks in [true, false] {
        let mut net = met_with_idle_submitter(4);
        let executor = run_one(&mut net);
        let away = (1..4).find(|at| *at != executor).expect("two others");
        for other in (0..4).filter(|other| *other != away) {
            (net.cut[other][away], net.cut[away][other]) = (true, breaks);
            if breaks {
                net.break_link(away, other);
                net.break_link(other, away);
            }
        }
        net.run_for(Span::secs(45));
        assert_eq!(applied(&net, away), [], "it has missed all of it");
        net.cut = vec![vec![false; 4]; 4];
        let same = |net: &Net| net.node(away).view().ledger_digest() == net.node(0).view().ledger_digest();
        let within = if breaks { Span::secs(2) } else { Span::secs(10) };
        assert!(net.run_until(within, same), "breaks: {breaks}");
        assert_paid(&net, executor, 12);
    }
}

#[test]
fn who_missed_a_payment_learns_of_it_though_the_first_three_that_should_tell_it_do_not() {
    let mut net = met_with_idle_submitter(6);
    let executor = run_one(&mut net);
    let away = (1..6).find(|at| *at != executor).expect("four others");
    (0..6).filter(|other| *other != away).for_each(|other| net.cut[other][away] = true);
    net.run_for(Span::secs(45));
    assert_eq!(applied(&net, away), [], "it has missed all of it");
    net.cut = vec![vec![false; 6]; 6];
    let mut successors: Vec<usize> = (0..6).filter(|other| *other != away).collect();
    successors.sort_by_key(|other| (id(*other) < id(away), id(*other)));
    let silent = successors[..3].to_vec();
    net.fate = Box::new(move |from, to, kind| {
        let told = to == away && silent.contains(&from) && [MsgType::AccountHeads, MsgType::Bundle].contains(&kind);
        (!told).then_some(Span::ZERO)
    });
    let same = |net: &Net| net.node(away).view().ledger_digest() == net.node(0).view().ledger_digest();
    assert!(net.run_until(Span::secs(20), same));
    assert_paid(&net, executor, 12);
}

#[test]
fn who_was_away_catches_up_with_the_next_transaction() {
    let mut net = met_with_idle_submitter(5);
    let executor = run_one(&mut net);
    let away = (1..5).find(|at| *at != executor).expect("one of four");
    net.stop(away);
    net.run_for(Span::secs(40));
    net.start(away);
    net.run_for(Span::secs(10));
    run_one(&mut net);
    net.run_for(Span::secs(50));
    assert_eq!(applied(&net, away).last(), Some(&(id(0), 2)));
    assert_eq!(gains(&net, away), gains(&net, 0));
}

#[test]
fn who_was_cut_off_catches_up_when_the_cut_ends() {
    let mut net = met_with_idle_submitter(5);
    let executor = run_one(&mut net);
    let away = (1..5).find(|at| *at != executor).expect("one of four");
    let cut = |net: &mut Net, cut: bool| {
        for other in (0..5).filter(|other| *other != away) {
            (net.cut[away][other], net.cut[other][away]) = (cut, cut);
        }
    };
    cut(&mut net, true);
    net.run_for(Span::secs(60));
    assert_eq!(applied(&net, 0), [(id(0), 1)]);
    cut(&mut net, false);
    assert!(net.run_until(Span::secs(10), |net| applied(net, away) == [(id(0), 1)]), "without another transaction");
    assert_paid(&net, executor, 12);
}

#[test]
fn a_job_that_its_submitter_cannot_pay_is_not_accepted() {
    let mut net = met_with_idle_submitter(4);
    let mut submit = |payment| {
        let spec = JobSpec { payment: Tokens(payment), ..shell(Span::secs(30)) };
        let said = net.input(0, Input::Command(Command::Submit(spec)));
        said.contains(&What::Reported(Event::SubmitRefused { reason: SubmitRefusal::InsufficientBalance }))
    };
    assert!(submit(GENESIS.0), "120 % of it are more than there is");
    assert!(!submit(GENESIS.0 / 2));
    assert!(submit(GENESIS.0 / 2), "60 % are reserved, and 60 % more are not there");
    assert!(!submit(GENESIS.0 / 4));
}

#[test]
fn a_job_without_money_behind_it_gets_no_vote() {
    for (payment, refused) in [(8_333, vec![]), (8_334, vec![Refusal::InsufficientBalance])] {
        let mut table = Table::with_payment(2, Tokens::whole(payment));
        table.broadcast();
        let said = table.say(2, &table.proposal(0, 3, 2));
        assert_eq!(refusals(&said), refused, "{payment}");
        let votes = sent(&said).into_iter().filter(|kind| *kind == MsgType::ClaimVote).count();
        assert_eq!(votes, usize::from(refused.is_empty()), "{payment}");
    }
}

#[test]
fn a_node_without_a_free_stake_does_not_bid() {
    let mut net = met_with_idle_submitter(4);
    for at in 0..4 {
        net.slots[at].config.genesis_balance = if at == 3 { Tokens::whole(9) } else { GENESIS };
        net.stop(at);
        net.start(at);
    }
    net.run_for(Span::secs(8));
    net.said.clear();
    let job = submit_coordinated_by(&mut net, 4, 0, Span::secs(30));
    net.run_for(Span::secs(1));
    assert!(!executors(&net, job).contains(&3));
    let bids = net.said.iter().find_map(|said| match said.what {
        What::Reported(Event::AuctionClosed { bids, .. }) => Some(bids),
        _ => None,
    });
    assert_eq!(bids, Some(2), "of three that could run it");
}

/// One real node, number 0, and hands 1 to 3 with accounts: four members, a quorum of three.
pub struct Bank {
    pub net: Net,
    pub hands: Vec<Hand>,
    pub electorate: ElectorateId,
}

impl Bank {
    pub fn new() -> Bank {
        let (net, hands) = among_hands(3);
        let mut ids: Vec<NodeId> = (0..4).map(id).collect();
        ids.sort_unstable();
        Bank { net, hands, electorate: electorate_digest(&ids) }
    }

    pub fn say(&mut self, who: usize, payload: Payload) -> Vec<What> {
        self.hands[who - 1].say(&mut self.net, 0, &payload)
    }

    pub fn pays(&mut self, who: usize, transaction: &TokenTransaction) -> Vec<What> {
        self.say(who, Payload::TokenTransaction(transaction.clone()))
    }

    fn statement(&self, transaction: &TokenTransaction, before: &Row) -> LedgerStatement {
        let row = row_digest(&row_after(before, transaction).expect("sound"));
        let (account, seq) = (transaction.account, transaction.seq);
        LedgerStatement { account, seq, transaction: transaction.digest(), row, electorate: self.electorate }
    }

    fn proof(&self, statement: &LedgerStatement, voters: &[usize]) -> Proof {
        self.proof_of(&statement.signed_bytes(), voters)
    }

    /// The votes of these for whatever these bytes say.
    pub fn proof_of(&self, bytes: &[u8], voters: &[usize]) -> Proof {
        let mut ids: Vec<NodeId> = (0..4).map(id).collect();
        ids.sort_unstable();
        let place = |who: usize| ids.iter().position(|known| *known == id(who)).expect("a member");
        let votes: Vec<_> = voters.iter().map(|who| (place(*who), signed(*who, bytes))).collect();
        Proof::new(self.electorate, 4, &votes)
    }

    /// The certificate of an account's first transaction.
    pub fn certificate(&self, transaction: &TokenTransaction, voters: &[usize]) -> Payload {
        let proof = self.proof(&self.statement(transaction, &Row::new()), voters);
        Payload::LedgerCertificate(LedgerCertificate { seq: transaction.seq, proof })
    }

    /// The record of an account after its first transaction.
    fn record(&self, transaction: &TokenTransaction, voters: &[usize]) -> AccountRecord {
        let row = row_after(&Row::new(), transaction).expect("sound");
        let votes = self.proof(&self.statement(transaction, &Row::new()), voters);
        AccountRecord {
            account: transaction.account,
            seq: transaction.seq,
            row: row.iter().map(|(to, paid)| RowEntry { to: *to, paid: *paid }).collect(),
            proof: Some(HeadProof { transaction: transaction.digest(), votes }),
            pending: None,
        }
    }

    pub fn balance(&self, who: usize) -> u64 {
        self.net.node(0).view().balance(id(who)).0 / 1_000_000
    }
}

pub fn signed(who: usize, bytes: &[u8]) -> Signature {
    keys(who).sign(&Signed { network_id: "marlos", bytes })
}

/// A transaction of one hand that pays these others so many tokens, each for another job.
pub fn transaction(who: usize, seq: u64, payments: &[(usize, u64)]) -> TokenTransaction {
    let transfer = |(at, (to, amount)): (usize, &(usize, u64))| Transfer {
        job_id: JobId([u8::try_from(seq).expect("few") * 16 + u8::try_from(at).expect("few"); 16]),
        to: id(*to),
        amount: Tokens::whole(*amount),
        reason: TransferReason::OnTime,
    };
    let transfers = payments.iter().enumerate().map(transfer).collect();
    let unsigned = TokenTransaction { account: id(who), seq, transfers, transaction_signature: Signature([0; 64]) };
    TokenTransaction { transaction_signature: signed(who, &unsigned.signed_bytes()), ..unsigned }
}

fn votes(said: &[What]) -> Vec<u64> {
    let seq = |payload: &Payload| match payload {
        Payload::LedgerVote(vote) => vote.seq,
        other => panic!("{:?} is no vote", other.kind()),
    };
    payloads(said, MsgType::LedgerVote).iter().map(seq).collect()
}

#[test]
fn a_voter_votes_for_one_transaction_of_a_number_and_remembers_it_before_it_says_so() {
    let mut bank = Bank::new();
    let (first, second) = (transaction(1, 1, &[(2, 12)]), transaction(1, 1, &[(3, 12)]));
    let said = bank.pays(1, &first);
    let place = |wanted: &dyn Fn(&What) -> bool| said.iter().position(wanted).expect("there");
    let persisted = place(&|what| *what == What::Persisted(b't'));
    assert!(persisted < place(&|what| matches!(what, What::Sent { kind: MsgType::LedgerVote, .. })));
    assert_eq!(addressed(&said, MsgType::LedgerVote), [Some(id(1))]);

    let said = bank.pays(1, &second);
    assert_eq!((refusals(&said), votes(&said)), (vec![Refusal::ConflictingTransaction], vec![]));
    let reported =
        |said: &[What]| said.iter().any(|what| matches!(what, What::Reported(Event::ConflictingTransactions { .. })));
    assert!(reported(&said));
    assert!(!reported(&bank.pays(1, &second)), "once");
    bank.net.run_for(Span::secs(1));
    assert_eq!(votes(&bank.pays(1, &first)), [1], "the first keeps its vote");
    // After a restart, too.
    bank.net.stop(0);
    bank.net.start(0);
    bank.net.run_for(Span::millis(2_500));
    for hand in &mut bank.hands {
        let frame = hand.announce(bank.net.now);
        bank.net.deliver(0, marlos::id::Link::INBOUND, &frame);
    }
    assert_eq!(refusals(&bank.pays(1, &second)), [Refusal::ConflictingTransaction]);
}

#[test]
fn what_no_account_may_make_is_refused_and_gets_no_vote() {
    let good = transaction(1, 1, &[(2, 12)]);
    let unsigned = TokenTransaction { transaction_signature: Signature([7; 64]), ..good.clone() };
    let mut job_twice = transaction(1, 1, &[(2, 12), (3, 5)]);
    job_twice.transfers[1].job_id = job_twice.transfers[0].job_id;
    let table = [
        ("sound", 1, good.clone(), None),
        ("another's", 2, good, Some(Refusal::OutOfPlace)),
        ("not signed by its payer", 1, unsigned, Some(Refusal::BadRecord)),
        ("one job twice", 1, job_twice, Some(Refusal::BadTransaction)),
        ("to itself", 1, transaction(1, 1, &[(1, 12)]), Some(Refusal::BadTransaction)),
        ("more than there is", 1, transaction(1, 1, &[(2, 10_001)]), Some(Refusal::InsufficientBalance)),
        ("to a stranger", 1, transaction(1, 1, &[(9, 1)]), Some(Refusal::NotAMember)),
        ("far ahead", 1, transaction(1, 9, &[(2, 12)]), Some(Refusal::OutOfPlace)),
    ];
    for (what, who, transaction, refused) in table {
        let mut bank = Bank::new();
        let said = bank.pays(who, &transaction);
        assert_eq!(refusals(&said), refused.into_iter().collect::<Vec<_>>(), "{what}");
        assert_eq!(votes(&said).len(), usize::from(refused.is_none()), "{what}");
    }
}

#[test]
fn a_vote_that_waits_for_a_credit_is_cast_when_the_credit_arrives() {
    let mut bank = Bank::new();
    assert_eq!(refusals(&bank.pays(1, &transaction(1, 1, &[(3, 10_005)]))), [Refusal::InsufficientBalance]);
    let credit = transaction(2, 1, &[(1, 10)]);
    assert_eq!(votes(&bank.pays(2, &credit)), [1]);
    let said = bank.say(2, bank.certificate(&credit, &[1, 2, 3]));
    assert_eq!(addressed(&said, MsgType::LedgerVote), [Some(id(1))], "{said:?}");
    assert_eq!((bank.balance(1), bank.balance(2)), (10_010, 9_990));
}

#[test]
fn a_certified_transaction_waits_for_the_money_that_it_spends() {
    let mut bank = Bank::new();
    let (credit, debit) = (transaction(2, 1, &[(1, 10)]), transaction(1, 1, &[(3, 10_005)]));
    bank.pays(1, &debit);
    bank.say(1, bank.certificate(&debit, &[1, 2, 3]));
    assert_eq!((bank.balance(1), bank.balance(3)), (10_000, 10_000), "nobody is seen below zero");
    bank.pays(2, &credit);
    bank.say(2, bank.certificate(&credit, &[1, 2, 3]));
    assert_eq!([1, 2, 3].map(|who| bank.balance(who)), [5, 9_990, 20_005]);
}

#[test]
fn accounts_that_live_on_what_they_pay_each_other_are_caught_up_with_together() {
    // The hands have paid each other one by one; who was away is told only how it ended. By these records alone n3 has nothing to pay from.
    let mut bank = Bank::new();
    let ended =
        [transaction(1, 3, &[(2, 15_000)]), transaction(2, 3, &[(1, 15_000)]), transaction(3, 1, &[(1, 10_001)])];
    for (who, newest) in (1..).zip(&ended) {
        bank.say(who, Payload::AccountRecord(bank.record(newest, &[1, 2, 3])));
        assert_eq!([1, 2, 3].map(|who| bank.balance(who)), [10_000; 3], "none is covered by itself");
    }
    bank.net.run_for(Span::secs(2));
    let applied = applied(&bank.net, 0);
    assert_eq!(applied.len(), 2, "{applied:?}");
    assert!(applied.contains(&(id(1), 3)) && applied.contains(&(id(2), 3)), "{applied:?}");
    assert_eq!([1, 2, 3].map(|who| bank.balance(who)), [10_000; 3]);
    assert!(bank.net.node(0).view().supply().holds());
}

#[test]
fn a_certificate_needs_a_quorum_that_signed_this_transaction() {
    let (first, other) = (transaction(1, 1, &[(2, 12)]), transaction(1, 1, &[(3, 12)]));
    type Make<'a> = &'a dyn Fn(&Bank) -> Payload;
    let of_other: Make<'_> = &|bank| bank.certificate(&other, &[1, 2, 3]);
    let elsewhere: Make<'_> = &|bank| match bank.certificate(&first, &[1, 2, 3]) {
        Payload::LedgerCertificate(mut certificate) => {
            certificate.proof.electorate.0[0] ^= 1;
            Payload::LedgerCertificate(certificate)
        }
        other => other,
    };
    let table: [(&str, Make<'_>, Vec<Refusal>); 4] = [
        ("three of four", &|bank| bank.certificate(&first, &[0, 2, 3]), vec![]),
        ("two of four", &|bank| bank.certificate(&first, &[2, 3]), vec![Refusal::BadCertificate]),
        ("of another transaction", of_other, vec![Refusal::BadCertificate]),
        ("of other members", elsewhere, vec![Refusal::ElectorateDiffers]),
    ];
    for (what, make, refused) in table {
        let mut bank = Bank::new();
        bank.pays(1, &first);
        let certificate = make(&bank);
        let said = bank.say(1, certificate);
        assert_eq!(refusals(&said), refused, "{what}");
        assert_eq!(bank.balance(1), if refused.is_empty() { 9_988 } else { 10_000 }, "{what}");
        let asked = addressed(&said, MsgType::AccountRequest);
        assert_eq!(asked, if refused.is_empty() { vec![] } else { vec![Some(id(1))] }, "{what}: what is so, then?");
    }
}

#[test]
fn who_lacks_the_transaction_asks_its_payer_and_believes_proof() {
    let mut bank = Bank::new();
    let first = transaction(1, 1, &[(2, 12)]);
    let said = bank.say(1, bank.certificate(&first, &[1, 2, 3]));
    assert_eq!(addressed(&said, MsgType::AccountRequest), [Some(id(1))]);
    // Whoever answers: it is proven, or it is not.
    let sound = bank.record(&first, &[1, 2, 3]);
    let spoilt = |spoil: &dyn Fn(&mut AccountRecord)| {
        let mut record = sound.clone();
        spoil(&mut record);
        Payload::AccountRecord(record)
    };
    let table = [
        ("too few votes", Payload::AccountRecord(bank.record(&first, &[1, 2])), Refusal::BadCertificate),
        ("another amount", spoilt(&|r| r.row[0].paid = Tokens::whole(11)), Refusal::BadCertificate),
        ("another payee", spoilt(&|r| r.row[0].to = id(3)), Refusal::BadCertificate),
        ("another number", spoilt(&|r| r.seq = 2), Refusal::BadCertificate),
        ("another account", spoilt(&|r| r.account = id(3)), Refusal::BadCertificate),
        ("no proof", spoilt(&|r| r.proof = None), Refusal::BadRecord),
        ("to itself", spoilt(&|r| r.row[0].to = id(1)), Refusal::BadRecord),
    ];
    for (what, record, refused) in table {
        assert_eq!(refusals(&bank.say(3, record)), [refused], "{what}");
        assert_eq!(bank.balance(1), 10_000, "{what}");
    }
    assert_eq!(refusals(&bank.say(3, Payload::AccountRecord(sound.clone()))), []);
    assert_eq!((bank.balance(1), bank.balance(2)), (9_988, 10_012));
    assert_eq!(refusals(&bank.say(2, Payload::AccountRecord(sound))), [], "it is known");
}

#[test]
fn a_record_that_earlier_members_certified_needs_an_honest_witness() {
    let mut bank = Bank::new();
    let first = transaction(1, 1, &[(2, 12)]);
    let mut record = bank.record(&first, &[1, 2, 3]);
    record.proof.as_mut().expect("certified").votes.electorate.0[0] ^= 1;
    let lie = AccountRecord { row: vec![RowEntry { to: id(3), paid: Tokens::whole(12) }], ..record.clone() };
    // One of four may lie: one member's word is not enough, however often it is given.
    let said = bank.say(1, Payload::AccountRecord(lie.clone()));
    assert_eq!(addressed(&said, MsgType::AccountRequest).len(), 2, "others are asked: {said:?}");
    bank.say(1, Payload::AccountRecord(lie));
    bank.say(2, Payload::AccountRecord(record.clone()));
    assert_eq!(bank.balance(1), 10_000);
    bank.say(3, Payload::AccountRecord(record));
    assert_eq!((bank.balance(1), bank.balance(2)), (9_988, 10_012));
}

#[test]
fn an_owner_is_told_what_it_has_forgotten_and_nobody_else_is() {
    let mut bank = Bank::new();
    let (first, second) = (transaction(1, 1, &[(2, 12)]), transaction(1, 2, &[(2, 3)]));
    bank.pays(1, &first);
    bank.say(1, bank.certificate(&first, &[1, 2, 3]));
    bank.pays(1, &second);
    bank.net.run_for(Span::secs(1));
    for who in 1..=3 {
        let said = bank.say(who, Payload::AccountRequest(AccountRequest { account: id(1), penalties: 0 }));
        let [Payload::AccountRecord(record)] = &payloads(&said, MsgType::AccountRecord)[..] else { panic!("one") };
        assert_eq!((record.seq, record.row.len()), (1, 1));
        assert_eq!(record.pending, (who == 1).then(|| second.clone()), "to hand {who}");
    }
    // An owner that begins at 1 again is told as well.
    let said = bank.pays(1, &transaction(1, 1, &[(3, 1)]));
    assert_eq!(addressed(&said, MsgType::AccountRecord), [Some(id(1))]);
    assert!(votes(&said).is_empty());
}

#[test]
fn a_transaction_that_only_its_payer_can_prove_is_voted_for_again_when_the_members_have_changed() {
    // Whether the payer has a next one under way by then, and whether it starts anew.
    for (next, restart) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut net = met_with_idle_submitter(5);
        for at in 0..5 {
            net.slots[at].config.forget_after = Span::secs(16);
            net.stop(at);
            net.start(at);
        }
        net.run_for(Span::secs(8));
        net.said.clear();
        run_one(&mut net);
        let kept = [MsgType::LedgerCertificate, MsgType::AccountRecord];
        net.fate = Box::new(move |_, _, kind| (!kept.contains(&kind)).then_some(Span::ZERO));
        net.run_for(Span::secs(35));
        if next {
            run_one(&mut net);
            net.run_for(Span::secs(35));
        }
        for at in 0..5 {
            let only = if at == 0 { vec![(id(0), 1)] } else { vec![] };
            assert_eq!(applied(&net, at), only, "at n{at}");
        }
        // Of the four that stay, two would have to vouch for what the five have certified.
        net.input(4, Input::Command(Command::Leave));
        net.run_for(Span::millis(50));
        net.stop(4);
        if restart {
            net.stop(0);
            net.start(0);
        }
        net.run_for(Span::secs(20));
        net.fate = Box::new(|_, _, _| Some(Span::ZERO));
        let paid = if next { 2 } else { 1 };
        let all = |net: &Net| (1..4).all(|at| applied(net, at).last() == Some(&(id(0), paid)));
        assert!(net.run_until(Span::secs(30), all), "next: {next}, restart: {restart}");
        for at in 0..4 {
            assert_eq!(gains(&net, at), gains(&net, 0), "in the eyes of n{at}");
            assert_eq!(net.node(at).view().ledger_digest(), net.node(0).view().ledger_digest(), "n{at}");
        }
    }
}

#[test]
fn a_certificate_that_a_newcomer_overtakes_is_of_members_that_its_receiver_still_knows() {
    // Of three one is dead: both others vote for every transaction. Node 3 joins, and all that live make the new quorum.
    let mut net = net_of(4, |at| (at > 0).then_some(0));
    net.slots[0].config.capabilities = vec!["none".into()];
    (0..3).for_each(|at| drop(net.start(at)));
    net.run_for(Span::secs(5));
    net.stop(2);
    net.run_for(Span::secs(20));
    run_one(&mut net);
    net.run_for(Span::secs(35));
    assert_eq!(applied(&net, 1), [(id(0), 1)]);
    run_one(&mut net);
    net.fate = Box::new(|_, _, kind| (kind != MsgType::LedgerCertificate).then_some(Span::ZERO));
    assert!(net.run_until(Span::secs(35), |net| applied(net, 0) == [(id(0), 1), (id(0), 2)]));
    net.start(3);
    net.run_for(Span::millis(500));
    assert_eq!(applied(&net, 1), [(id(0), 1)], "it is not there yet");
    net.fate = Box::new(|_, _, _| Some(Span::ZERO));
    net.run_for(Span::secs(20));
    for at in [0, 1, 3] {
        assert_eq!(applied(&net, at).last(), Some(&(id(0), 2)), "at n{at}");
    }
}

#[test]
fn a_voter_votes_again_for_what_it_holds_as_certified_and_not_against_its_own_vote() {
    let (first, other) = (transaction(1, 1, &[(2, 12)]), transaction(1, 1, &[(3, 12)]));
    // What it has voted for before it learned that the first was certified, and whether it votes for that now.
    for (before, again) in [(None, true), (Some(&first), true), (Some(&other), false)] {
        let mut bank = Bank::new();
        before.map(|before| bank.pays(1, before));
        let record = bank.record(&first, &[1, 2, 3]);
        bank.say(1, Payload::AccountRecord(record));
        assert_eq!(bank.balance(1), 9_988);
        for restart in [false, true] {
            if restart {
                bank.net.stop(0);
                bank.net.start(0);
                bank.net.run_for(Span::millis(2_500));
                for hand in &mut bank.hands {
                    let frame = hand.announce(bank.net.now);
                    bank.net.deliver(0, marlos::id::Link::INBOUND, &frame);
                }
            }
            let said = bank.pays(1, &first);
            assert_eq!(votes(&said), if again { vec![1] } else { vec![] }, "{before:?}, restart: {restart}");
            let said = bank.pays(1, &other);
            assert!(votes(&said).is_empty(), "another is never voted for");
            assert_eq!(addressed(&said, MsgType::AccountRecord), [Some(id(1))], "its payer is told what was certified");
        }
    }
}
