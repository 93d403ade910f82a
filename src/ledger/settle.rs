//! What this node owes, and the transactions that pay it (protocol.md, section 8).
//!
//! A payment is persisted when the result is accepted, and forgotten with the transaction that carries it, which is persisted
//! before it is broadcast. So a settlement survives a crash, and no crash makes a second payment of it. One transaction is
//! under way at a time; it is broadcast again until a quorum has voted for it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::renew::Newest;
use super::transaction::{LedgerStatement, row_after};
use super::vote::paid_twice_planted;
use super::{Ledger, Timer};
use crate::config::{Config, planted};
use crate::cx::{Ctx, store_key};
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{Event, JobStatus, Refusal};
use crate::membership::Members;
use crate::quorum::Proof;
use crate::time::{Span, WallTime};
use crate::units::Tokens;
use crate::wire::message::{
    AccountRecord, HeadProof, JobBody, LedgerCertificate, LedgerVote, TokenTransaction, Transfer, TransferReason,
};
use crate::wire::{Payload, Signature, Signed, binary};

/// This node as payer.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    /// What no transaction carries yet, oldest first.
    queue: VecDeque<Transfer>,
    /// Votes for the transaction that is asked for, of the present electorate.
    pub(super) votes: BTreeMap<NodeId, Signature>,
    /// Where the store is new: who has said how far this account is. Nothing is paid before a quorum has.
    pub(super) answers: Option<BTreeSet<NodeId>>,
    /// Where the store is new: whether anyone was asked.
    asked: bool,
    /// Where the store is new: the transaction that others say was under way.
    pub(super) recalled: Option<TokenTransaction>,
    /// What this node has paid last.
    pub(super) newest: Newest,
}

impl Own {
    /// How many jobs wait to be paid.
    pub(super) fn unpaid(&self) -> usize {
        self.queue.len()
    }
}

/// What a result is worth: 120 % of the payment by the deadline, 90 % later, 50 % later than twice the deadline's span; nothing for
/// a failure, or to oneself, which only releases what the job has bound (8). A failed execution is not slashed: only
/// submitter and executor saw it, and nobody else can tell whose fault it was.
#[must_use]
pub fn owed(payer: NodeId, job_id: JobId, body: &JobBody, to: NodeId, status: JobStatus, now: WallTime) -> Transfer {
    let very_late = body.deadline + body.deadline.since(body.submitted);
    let (percent, reason) = match status {
        JobStatus::Failure => (0, TransferReason::Release),
        JobStatus::Success if to == payer => (0, TransferReason::Release),
        JobStatus::Success if now <= body.deadline => (120, TransferReason::OnTime),
        JobStatus::Success if now <= very_late => (90, TransferReason::Late),
        JobStatus::Success => (50, TransferReason::VeryLate),
    };
    let amount = body.payment.percent(percent);
    // Of next to nothing, the share may be nothing.
    let reason = if amount == Tokens(0) { TransferReason::Release } else { reason };
    Transfer { job_id, to, amount, reason }
}

/// Remembers a payment before the job that it is for is forgotten.
pub fn persist(cx: &mut Ctx<'_>, payment: &Transfer) {
    cx.persist(&store_key::of_job(store_key::PAYMENT, payment.job_id), payment);
}

impl Ledger {
    /// Starts with the payments that no transaction carries yet.
    pub(super) fn start_settling(&mut self, cx: &mut Ctx<'_>, payments: Vec<Transfer>, new_store: bool) {
        self.own.answers = new_store.then(BTreeSet::new);
        for payment in payments {
            // The crash may have come between the transaction and what it made superfluous.
            if self.under_way().is_some_and(|own| own.transfers.iter().any(|t| t.job_id == payment.job_id)) {
                cx.forget(&store_key::of_job(store_key::PAYMENT, payment.job_id));
            } else {
                self.own.queue.push_back(payment);
            }
        }
        if self.under_way().is_some() {
            self.timers.arm(Timer::Repeat, cx.now.mono + cx.config.rebroadcast_interval);
        }
        self.arm_settle(cx);
    }

    /// Whether a payment for this job of this node waits or is under way: then the job has had its result.
    #[must_use]
    pub fn has_settled(&self, job: JobId) -> bool {
        let names = |transfer: &Transfer| transfer.job_id == job;
        self.own.queue.iter().any(names) || self.under_way().is_some_and(|own| own.transfers.iter().any(names))
    }

    /// The result of an own job was accepted: what is owed for it, persisted already, waits for company.
    pub fn on_owed(&mut self, cx: &mut Ctx<'_>, members: &Members, payment: Transfer) {
        if self.has_settled(payment.job_id) || self.bound.is_named(self.owner, payment.job_id) {
            return;
        }
        self.own.queue.push_back(payment);
        self.arm_settle(cx);
        if self.own.answers.is_some() && !self.timers.is_armed(Timer::Ask) {
            self.ask_for_own(cx, members);
        }
    }

    /// This node leaves: what it owes, and is owed, does not wait for company.
    pub fn on_leave(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        self.on_penalties_timer(cx, members);
        if self.own.queue.iter().any(is_payment) {
            self.on_settle_timer(cx, members);
        }
    }

    /// Enough members are reachable again: the transaction under way is broadcast at once.
    pub fn on_recovered(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        if self.timers.is_armed(Timer::Repeat) {
            self.repeat(cx, members);
        }
    }

    /// Payments wait for company; releases alone only for more of them, as they cost as much and pay nobody.
    pub(super) fn arm_settle(&mut self, cx: &Ctx<'_>) {
        if self.own.queue.len() >= cx.config.settle_batch as usize {
            self.timers.arm(Timer::Settle, cx.now.mono);
        } else if self.own.queue.iter().any(is_payment) && !self.timers.is_armed(Timer::Settle) {
            self.timers.arm(Timer::Settle, cx.now.mono + self.company(cx));
        }
    }

    /// How long what a quorum signs waits for company. A certificate holds votes of two thirds of the members and goes to all of
    /// them: its bytes grow with their square, and a job may cost bytes in proportion to them. So with more than ten, it waits longer.
    pub(super) fn company(&self, cx: &Ctx<'_>) -> Span {
        cx.config.settle_after.times((self.accounts.count() / 10).max(1))
    }

    pub(super) fn on_settle_timer(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        if !self.make_transaction(cx, members) && !self.own.queue.is_empty() {
            self.timers.arm(Timer::Settle, cx.now.mono + cx.config.rebroadcast_interval);
        }
    }

    /// The own transaction that no quorum has voted for yet. It is the one this node has voted for in its own account.
    fn under_way(&self) -> Option<&TokenTransaction> {
        let voted = self.polls.get(&self.owner)?.voted.as_ref()?;
        (voted.seq > self.accounts.seq(self.owner)).then_some(voted)
    }

    /// The own transaction that this node asks votes for: none while one is certified and waits for money.
    fn asked_for(&self) -> Option<&TokenTransaction> {
        let under_way = || self.under_way().filter(|own| own.seq > self.tip(self.owner));
        self.own.newest.asked_again().or_else(under_way)
    }

    /// Makes a transaction of what is owed, oldest first, as far as the account covers it, and says whether it did.
    fn make_transaction(&mut self, cx: &mut Ctx<'_>, members: &Members) -> bool {
        let open = self.under_way().is_some() || self.tip(self.owner) > self.accounts.seq(self.owner);
        if open || self.own.newest.asked_again().is_some() || self.own.answers.is_some() || members.degraded() {
            return false;
        }
        let mut transfers = self.covered(cx.config);
        if !transfers.iter().any(is_payment) && transfers.len() < cx.config.settle_batch as usize {
            return false;
        }
        if !paid_twice_planted(cx.config) {
            self.own.queue.drain(..transfers.len());
        }
        // What one payee gets stands together: it is written shorter so.
        transfers.sort_by_key(|transfer| transfer.to);
        let seq = self.accounts.seq(self.owner) + 1;
        let transaction = self.sign(cx, seq, transfers);
        if let Some(newest) = &self.own.newest.transaction {
            cx.persist(&store_key::of_node(store_key::NEWEST, self.owner), newest);
        }
        if !planted!(cx.config, TransactionForgotten) {
            cx.persist(&store_key::of_node(store_key::TRANSACTION, self.owner), &transaction);
        }
        for transfer in &transaction.transfers {
            cx.forget(&store_key::of_job(store_key::PAYMENT, transfer.job_id));
        }
        self.send_own(cx, members, transaction);
        true
    }

    /// The oldest payments, at most `settle_batch`, as far as the account covers them with what they release.
    fn covered(&self, config: &Config) -> Vec<Transfer> {
        let mut free = self.unbound(self.owner);
        let mut transfers = Vec::new();
        for transfer in self.own.queue.iter().take(config.settle_batch as usize) {
            free += self.bound.reserved_for(self.owner, std::iter::once(transfer.job_id));
            free -= i128::from(transfer.amount.0);
            if free < 0 {
                break;
            }
            transfers.push(*transfer);
        }
        transfers
    }

    fn sign(&self, cx: &mut Ctx<'_>, seq: u64, transfers: Vec<Transfer>) -> TokenTransaction {
        let unsigned = Signature([0; 64]);
        let mut transaction = TokenTransaction { account: self.owner, seq, transfers, transaction_signature: unsigned };
        assert!(transaction.total().is_ok(), "only sound transactions are made");
        let bytes = transaction.signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        transaction.transaction_signature = cx.verify.sign(cx.egress.keys(), &signed);
        transaction
    }

    /// Broadcasts the own transaction, which is persisted, and votes for it.
    fn send_own(&mut self, cx: &mut Ctx<'_>, members: &Members, transaction: TokenTransaction) {
        assert_eq!(transaction.account, self.owner, "a payer speaks for itself");
        cx.broadcast(&Payload::TokenTransaction(transaction.clone()));
        self.polls.entry(self.owner).or_default().voted = Some(transaction);
        self.own.votes.clear();
        self.timers.arm(Timer::Repeat, cx.now.mono + cx.config.rebroadcast_interval);
        self.vote_for_own(cx, members);
    }

    /// Not certified yet: once more, to all.
    pub(super) fn repeat(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        let Some((seq, transfers)) = self.asked_for().map(|own| (own.seq, own.transfers.clone())) else { return };
        // Anew: this node may have another key by now (1).
        let transaction = self.sign(cx, seq, transfers);
        self.timers.arm(Timer::Repeat, cx.now.mono + cx.config.rebroadcast_interval);
        if !members.degraded() {
            cx.broadcast(&Payload::TokenTransaction(transaction));
            self.vote_for_own(cx, members);
        }
    }

    /// The members changed: votes for the own transaction are collected anew; the next repetition asks for them.
    pub(super) fn on_other_electorate(&mut self) {
        self.own.votes.clear();
    }

    /// A member has another key. Its vote is asked for again by the next repetition: a certificate is made of votes that are all
    /// proven by keys in use.
    pub fn on_rotated(&mut self, member: NodeId) {
        self.own.votes.remove(&member);
    }

    fn vote_for_own(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        if members.electorate().position(self.owner).is_some() {
            let (_, statement) = self.statement_of_own(members).expect("it is under way");
            let bytes = statement.signed_bytes();
            let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
            let signature = cx.verify.sign(cx.egress.keys(), &signed);
            let transaction = self.asked_for().expect("it is under way").id();
            cx.report(Event::TransactionVoted { account: self.owner, seq: statement.seq, transaction });
            self.add_vote(cx, members, self.owner, signature);
        }
    }

    /// The record that the votes for the own transaction prove, and what they are of.
    fn statement_of_own(&self, members: &Members) -> Option<(AccountRecord, LedgerStatement)> {
        let transaction = self.asked_for()?;
        let record = self.record_with(transaction).ok()?;
        let statement = record.statement(transaction.digest(), members.electorate().digest()).ok()?;
        Some((record, statement))
    }

    /// The record of an account after its next transaction, or after its newest certified one, without proof.
    ///
    /// # Errors
    /// It is neither of these, or one that the account may not make.
    pub(super) fn record_with(&self, transaction: &TokenTransaction) -> Result<AccountRecord, Refusal> {
        let newest = self.tip_row(transaction.account);
        let row = match transaction.seq.cmp(&self.tip(transaction.account)) {
            Ordering::Less => return Err(Refusal::OutOfPlace),
            Ordering::Equal if self.tip_transaction(transaction.account) != Some(transaction.digest()) => {
                return Err(Refusal::ConflictingTransaction);
            }
            Ordering::Equal => newest,
            Ordering::Greater => row_after(&newest, transaction)?,
        };
        Ok(AccountRecord {
            account: transaction.account,
            seq: transaction.seq,
            row: super::account::entries(&row),
            proof: None,
            pending: None,
        })
    }

    /// A vote for the own transaction.
    pub fn on_vote(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        vote: &LedgerVote,
    ) -> Result<(), Refusal> {
        if self.asked_for().map(|transaction| transaction.seq) != Some(vote.seq) {
            // One more than was needed, mostly, or for the one that comes after what is asked for again.
            let known = self.under_way().map_or(self.tip(self.owner), |own| own.seq);
            return if vote.seq <= known { Ok(()) } else { Err(Refusal::OutOfPlace) };
        }
        let voter = members.id(from);
        if members.electorate().position(voter).is_none() {
            return Err(Refusal::NotAMember);
        }
        if vote.electorate != members.electorate().digest() {
            return Err(Refusal::ElectorateDiffers);
        }
        let (_, statement) = self.statement_of_own(members).ok_or(Refusal::OutOfPlace)?;
        let bytes = statement.signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        // With its present key alone: who has another now is asked again.
        if !cx.verify.verify(members.peer(from).key(), &signed, &vote.vote_signature) {
            return Err(Refusal::BadSignature);
        }
        self.add_vote(cx, members, voter, vote.vote_signature);
        Ok(())
    }

    /// Counts a vote; with a quorum of them the transaction is certified, told to all, and applied.
    fn add_vote(&mut self, cx: &mut Ctx<'_>, members: &Members, voter: NodeId, signature: Signature) {
        let electorate = members.electorate();
        self.own.votes.insert(voter, signature);
        let spared = usize::from(planted!(cx.config, LedgerQuorumOneShort));
        if self.own.votes.len() + spared < electorate.quorum() as usize {
            return;
        }
        let at = |(voter, signature): (&NodeId, &Signature)| Some((electorate.position(*voter)?, *signature));
        let votes: Vec<(usize, Signature)> = self.own.votes.iter().filter_map(at).collect();
        assert_eq!(votes.len(), self.own.votes.len(), "every vote is of a member of this electorate");
        let transaction = self.asked_for().expect("votes are counted for it").clone();
        let (mut record, statement) = self.statement_of_own(members).expect("votes are counted for it");
        let proof = Proof::new(electorate.digest(), electorate.members().len(), &votes);
        record.proof = Some(HeadProof { transaction: statement.transaction, votes: proof.clone() });
        let start = cx.out.at();
        binary::encode_into(&(&transaction, &record), &mut cx.out.bytes);
        let certificate = start..cx.out.at();
        let (account, seq) = (self.owner, record.seq);
        cx.report(Event::TransactionCertified { account, seq, certificate });
        cx.broadcast(&Payload::LedgerCertificate(LedgerCertificate { seq, proof }));
        self.own.votes.clear();
        if self.own.newest.asked_again().is_some() {
            self.renewed(cx, record);
        } else {
            self.certified(record);
            self.settle(cx, members);
        }
    }

    /// The own account has moved on: what was under way is certified, and the next may follow.
    pub(super) fn on_own_applied(&mut self, cx: &mut Ctx<'_>, newest: Option<TokenTransaction>) {
        self.own.newest = Newest::is(newest);
        self.own.votes.clear();
        self.timers.disarm(Timer::Repeat);
        self.arm_settle(cx);
    }

    /// The store is new: others may know more of this account than this node does. As many are asked as must answer; if they
    /// do not, everyone.
    pub(super) fn ask_for_own(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        self.check_answers(cx, members);
        let Some(asked_before) = self.own.answers.as_ref().map(|_| self.own.asked) else { return };
        if asked_before {
            cx.broadcast(&self.request(self.owner));
        } else {
            self.ask_others(cx, members, self.owner, members.electorate().quorum() as usize - 1);
        }
        self.own.asked = true;
        self.timers.arm(Timer::Ask, cx.now.mono + cx.config.rebroadcast_interval);
    }

    /// Whether a quorum has said how far this account is: some honest one among them has voted for whatever was certified.
    pub(super) fn check_answers(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        let Some(answers) = &self.own.answers else { return };
        let electorate = members.electorate();
        let own = usize::from(electorate.position(self.owner).is_some());
        let said = own + answers.iter().filter(|id| electorate.position(**id).is_some()).count();
        if members.degraded() || said < electorate.quorum() as usize {
            return;
        }
        self.own.answers = None;
        self.timers.disarm(Timer::Ask);
        let next = self.tip(self.owner) + 1;
        if let Some(recalled) = self.own.recalled.take().filter(|recalled| recalled.seq == next) {
            let carries = |payment: &Transfer| recalled.transfers.iter().any(|t| t.job_id == payment.job_id);
            self.own.queue.retain(|payment| !carries(payment));
            cx.persist(&store_key::of_node(store_key::TRANSACTION, self.owner), &recalled);
            self.send_own(cx, members, recalled);
        }
    }
}

fn is_payment(transfer: &Transfer) -> bool {
    transfer.amount > Tokens(0)
}
