//! A transaction at those who judge it: voted on once for each number, certified, and applied in order (protocol.md, section 8).

use std::collections::BTreeMap;

use super::transaction::{Row, row_of_entries};
use super::{Ledger, Settled, Timer};
use crate::config::Config;
use crate::cx::{Ctx, store_key};
use crate::id::{NodeId, PeerIdx};
use crate::identity::chain::WithOlder;
use crate::io::{Event, Refusal};
use crate::membership::Members;
use crate::time::{Span, WallTime};
use crate::units::Tokens;
use crate::wire::message::{AccountRecord, HeadProof, LedgerCertificate, TokenTransaction};
use crate::wire::{Signed, binary};

/// Transactions of one account that are kept beyond its newest certified one: an honest payer has one under way.
const AHEAD: u64 = 8;
/// How long a certified record waits for the money of its account before it is looked for in all that wait. A guess: longer than a
/// credit that is on its way takes, and short beside the heartbeats by which who was away hears what it lacks.
const TOGETHER_AFTER: Span = Span::secs(1);

/// What is known of an account beyond its certified record.
#[derive(Clone, Debug, Default)]
pub(super) struct Poll {
    /// The transaction that this node has voted for, or has made itself: persisted before the vote was sent.
    pub(super) voted: Option<TokenTransaction>,
    /// Transactions that wait: for those before them, for a credit, or for a member to be known.
    pending: BTreeMap<u64, TokenTransaction>,
    /// A certified record whose money is not all known here yet.
    pub(super) waiting: Option<AccountRecord>,
    /// A certificate of members that this node does not know as such yet.
    unverified: Option<LedgerCertificate>,
    /// The number of which two transactions were seen, and reported.
    conflict: Option<u64>,
    /// The newest number of which another transaction was certified than this node has voted for.
    pub(super) outvoted: Option<u64>,
}

/// Whether a transaction may be voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// Yes.
    Sound,
    /// Not yet, and perhaps later.
    Waits(Refusal),
    /// Never.
    Bad(Refusal),
}

impl Ledger {
    /// A payer's next transaction. One that comes too early, or is not covered yet, is kept.
    pub fn on_transaction(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        transaction: TokenTransaction,
    ) -> Result<(), Refusal> {
        let account = members.id(from);
        if transaction.account != account {
            return Err(Refusal::OutOfPlace);
        }
        transaction.total()?;
        let bytes = transaction.signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        if !members.peer(from).has_signed(cx.now.mono, cx.verify, &signed, &transaction.transaction_signature) {
            return Err(Refusal::BadRecord);
        }
        let head = self.accounts.seq(account);
        if transaction.seq <= head {
            return self.on_transaction_again(cx, members, &transaction);
        }
        let poll = self.polls.entry(account).or_default();
        let known = poll.voted.as_ref().filter(|voted| voted.seq == transaction.seq);
        if let Some(known) = known.or_else(|| poll.pending.get(&transaction.seq))
            && known.transfers != transaction.transfers
            && !double_vote_planted(cx.config)
        {
            let first = known.clone();
            return self.on_conflict(cx, &first, &transaction);
        }
        if transaction.seq > head + AHEAD {
            self.ask_payer(cx, members, account);
            return Err(Refusal::OutOfPlace);
        }
        let next = transaction.seq == head + 1;
        poll.pending.insert(transaction.seq, transaction);
        if next {
            self.vote_on_pending(cx, members, account)
        } else {
            self.ask_payer(cx, members, account);
            Ok(())
        }
    }

    /// Two transactions of one number: the first keeps its vote, and both are proof against their signer.
    fn on_conflict(
        &mut self,
        cx: &mut Ctx<'_>,
        first: &TokenTransaction,
        second: &TokenTransaction,
    ) -> Result<(), Refusal> {
        let poll = self.polls.entry(first.account).or_default();
        if poll.conflict.replace(first.seq) != Some(first.seq) {
            let start = cx.out.at();
            binary::encode_into(&(first, second), &mut cx.out.bytes);
            let records = start..cx.out.at();
            cx.report(Event::ConflictingTransactions { account: first.account, seq: first.seq, records });
        }
        Err(Refusal::ConflictingTransaction)
    }

    /// Votes for the next transaction of another's account, if it is there and may be voted for.
    pub(super) fn vote_on_pending(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        account: NodeId,
    ) -> Result<(), Refusal> {
        let next = self.accounts.seq(account) + 1;
        let Some(poll) = self.polls.get(&account).filter(|_| account != self.owner) else { return Ok(()) };
        let Some(transaction) = poll.pending.get(&next).cloned() else { return Ok(()) };
        let again =
            poll.voted.as_ref().is_some_and(|voted| voted.transfers == transaction.transfers && voted.seq == next);
        if !again {
            match self.judge(cx.config, members, &transaction) {
                Judgement::Sound => {}
                Judgement::Waits(reason) => return Err(reason),
                Judgement::Bad(reason) => {
                    self.polls.get_mut(&account).expect("just seen").pending.remove(&next);
                    return Err(reason);
                }
            }
        }
        self.polls.get_mut(&account).expect("just seen").pending.remove(&next);
        self.vote_for(cx, members, transaction, again)
    }

    /// Whether this voter may vote for the next transaction of an account (8).
    fn judge(&self, config: &Config, members: &Members, transaction: &TokenTransaction) -> Judgement {
        let account = transaction.account;
        let total = match transaction.total() {
            Ok(total) => total,
            Err(reason) => return Judgement::Bad(reason),
        };
        for transfer in &transaction.transfers {
            let paid_before = self.bound.is_named(account, transfer.job_id) && !paid_twice_planted(config);
            let too_much = self
                .bound
                .job(transfer.job_id)
                .is_some_and(|(submitter, most)| submitter != account || transfer.amount > most);
            if paid_before || too_much {
                return Judgement::Bad(Refusal::BadTransaction);
            }
            // Money sent to nobody would be lost, or make an account that others do not have.
            if transfer.amount > Tokens(0) && members.find(transfer.to).is_none() {
                return Judgement::Waits(Refusal::NotAMember);
            }
        }
        let released = self.bound.reserved_for(account, transaction.transfers.iter().map(|transfer| transfer.job_id));
        if i128::from(total.0) > self.unbound(account) + released {
            return Judgement::Waits(Refusal::InsufficientBalance);
        }
        Judgement::Sound
    }

    /// Votes: remembered durably, with the whole transaction, before the vote is sent. The same transaction may be voted for again
    /// when the members have changed, or when the vote was lost.
    fn vote_for(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        transaction: TokenTransaction,
        again: bool,
    ) -> Result<(), Refusal> {
        let (account, seq) = (transaction.account, transaction.seq);
        assert_eq!(seq, self.accounts.seq(account) + 1, "votes are cast in the order of the account");
        let record = self.record_with(&transaction)?;
        if !again {
            cx.persist(&store_key::of_node(store_key::TRANSACTION, account), &transaction);
        }
        self.polls.entry(account).or_default().voted = Some(transaction.clone());
        self.cast_vote(cx, members, &transaction, &record)
    }

    /// A payer's certificate: applied, once everything before it is. Who lacks the transaction asks for the account.
    pub fn on_certificate(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        certificate: LedgerCertificate,
    ) -> Result<(), Refusal> {
        let account = members.id(from);
        if certificate.seq <= self.tip(account) {
            return Ok(());
        }
        let certified = self.record_certified_by(account, certificate.seq);
        let Some((mut record, transaction)) = certified else {
            self.ask_payer(cx, members, account);
            return Ok(());
        };
        if members.electorate_named(cx.now.mono, certificate.proof.electorate).is_none() {
            // It may come to know these members in a moment; if not, others have to vouch for the record.
            self.polls.entry(account).or_default().unverified = Some(certificate);
            self.ask_payer(cx, members, account);
            return Err(Refusal::ElectorateDiffers);
        }
        record.proof = Some(HeadProof { transaction, votes: certificate.proof });
        if !is_proven(cx, members, &record) {
            // Perhaps it is of another transaction of this number.
            self.ask_payer(cx, members, account);
            return Err(Refusal::BadCertificate);
        }
        self.certified(record);
        Ok(())
    }

    /// The record that a certificate of this number would prove, and its transaction, where that is known and comes next.
    fn record_certified_by(&self, account: NodeId, seq: u64) -> Option<(AccountRecord, [u8; 32])> {
        let poll = self.polls.get(&account).filter(|_| seq == self.tip(account) + 1)?;
        let voted = poll.voted.as_ref().filter(|voted| voted.seq == seq);
        let transaction = voted.or_else(|| poll.pending.get(&seq))?;
        Some((self.record_with(transaction).ok()?, transaction.digest()))
    }

    /// The newest certified transaction of an account, applied or not.
    pub(super) fn tip(&self, account: NodeId) -> u64 {
        let waiting = self.polls.get(&account).and_then(|poll| poll.waiting.as_ref());
        waiting.map_or(0, |record| record.seq).max(self.accounts.seq(account))
    }

    /// The newest certified transaction of an account, applied or not, by its digest.
    pub(super) fn tip_transaction(&self, account: NodeId) -> Option<[u8; 32]> {
        let waiting = self.polls.get(&account).and_then(|poll| poll.waiting.as_ref());
        let held = || self.accounts.get(account).and_then(|held| held.proof());
        let proof = waiting.map_or_else(held, |record| record.proof.as_ref());
        proof.map(|proof| proof.transaction)
    }

    /// The row after everything of an account that is certified, applied or not.
    pub(super) fn tip_row(&self, account: NodeId) -> Row {
        let waiting = self.polls.get(&account).and_then(|poll| poll.waiting.as_ref());
        match waiting {
            Some(record) => row_of_entries(account, &record.row).expect("checked when it was kept"),
            None => self.accounts.get(account).map(|held| held.row().clone()).unwrap_or_default(),
        }
    }

    /// A record is proven: it is applied as soon as the account covers it.
    pub(super) fn certified(&mut self, record: AccountRecord) {
        assert!(record.seq > self.tip(record.account), "an account only moves on");
        let account = record.account;
        self.polls.entry(account).or_default().waiting = Some(record);
        self.touched.insert(account);
    }

    /// Applies the certified record of an account, if there is one and its money is known here.
    pub(super) fn apply_waiting(&mut self, cx: &mut Ctx<'_>, account: NodeId) {
        let Some(poll) = self.polls.get_mut(&account) else { return };
        let Some(record) = poll.waiting.take() else { return };
        let Ok((_, spent)) = self.accounts.follows(&record) else { return };
        if self.accounts.covers(account, spent) || self.unchecked {
            self.apply(cx, record);
        } else {
            poll.waiting = Some(record);
            if !self.timers.is_armed(Timer::Together) {
                self.timers.arm(Timer::Together, cx.now.mono + TOGETHER_AFTER);
            }
        }
    }

    /// Applies the certified records whose money is known here when that of all of them is. Of what accounts have paid each other
    /// one by one, who was away is told only how it ended: each of these records may spend what another of them pays.
    pub(super) fn apply_together(&mut self, cx: &mut Ctx<'_>) {
        let waiting = self.polls.values().filter_map(|poll| poll.waiting.as_ref());
        for account in self.accounts.covered_together(waiting) {
            let waiting = self.polls.get_mut(&account).and_then(|poll| poll.waiting.take());
            self.apply(cx, waiting.expect("it was asked about"));
        }
    }

    /// Applies a certified record, whose account covers it with those that are applied in the same step.
    fn apply(&mut self, cx: &mut Ctx<'_>, record: AccountRecord) {
        let account = record.account;
        let poll = self.polls.entry(account).or_default();
        // Of numbers that were passed over, what the payer has signed is taken for what was certified.
        let voted = poll.voted.take_if(|voted| voted.seq <= record.seq);
        let newest = record.proof.as_ref().map(|proof| proof.transaction);
        let other = |voted: &&TokenTransaction| voted.seq == record.seq && Some(voted.digest()) != newest;
        poll.outvoted = voted.as_ref().filter(other).map(|voted| voted.seq);
        let mut brought: Vec<TokenTransaction> = voted.into_iter().collect();
        let later = poll.pending.split_off(&(record.seq + 1));
        brought.extend(std::mem::replace(&mut poll.pending, later).into_values());
        brought.retain(|transaction| transaction.seq < record.seq || Some(transaction.digest()) == newest);
        cx.persist(&store_key::of_node(store_key::ACCOUNT, account), &record);
        let newest = brought.iter().find(|transaction| transaction.seq == record.seq).cloned();
        let transfers = newest.as_ref().map_or(0, |transaction| transaction.transfers.len());
        let total = newest.as_ref().and_then(|transaction| transaction.total().ok()).unwrap_or_default();
        let seq = record.seq;
        let mut changed = self.accounts.adopt(record);
        for transfer in brought.iter().flat_map(|transaction| &transaction.transfers) {
            let freed = self.bound.name(account, transfer.job_id);
            if !freed.is_empty() {
                self.funds_changed |= self.funds.unfunded.remove(&transfer.job_id);
            }
            changed.extend(freed);
            self.settled.extend(transfer.late().map(|late| Settled { payer: account, executor: transfer.to, late }));
        }
        let row = self.accounts.get(account).expect("just adopted").row_digest();
        let transfers = u32::try_from(transfers).expect("bounded by MAX_TRANSFERS");
        cx.report(Event::TransactionApplied { account, seq, row, transfers, total });
        self.asks.answered(account);
        self.touched.extend(changed);
        if account == self.owner {
            self.on_own_applied(cx, newest);
        }
    }

    /// The members changed: certificates that could not be checked perhaps can be now.
    pub(super) fn on_electorate(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        self.on_other_electorate();
        self.on_other_penalty_electorate(cx, members);
        let now_known = |poll: &mut Poll| {
            poll.unverified.take_if(|certificate| certificate.proof.electorate == members.electorate().digest())
        };
        let ready: Vec<(NodeId, LedgerCertificate)> =
            self.polls.iter_mut().filter_map(|(account, poll)| Some((*account, now_known(poll)?))).collect();
        for (account, certificate) in ready {
            if let Some(payer) = members.find(account) {
                // What does not verify is dropped, as it would have been on arrival.
                let _ = self.on_certificate(cx, members, payer, certificate);
            }
        }
    }
}

/// Whether a record is proven by a quorum of the present members, or of those of a moment ago, with keys that are in use.
pub(super) fn is_proven(cx: &mut Ctx<'_>, members: &Members, record: &AccountRecord) -> bool {
    let now = cx.wall();
    is_proven_by_keys_of(cx, members, record, now)
}

/// The same with the keys that were in use at some moment. Nothing in a vote says when it was cast, so that one by a key that is
/// not in use any more proves nothing by itself.
pub(super) fn is_proven_by_keys_of(
    cx: &mut Ctx<'_>,
    members: &Members,
    record: &AccountRecord,
    moment: WallTime,
) -> bool {
    let Some(proof) = record.proof.as_ref() else { return false };
    let Some((electorate, needed)) = members.electorate_named(cx.now.mono, proof.votes.electorate) else {
        return false;
    };
    let Ok(statement) = record.statement(proof.transaction, electorate.digest()) else { return false };
    let bytes = statement.signed_bytes();
    let older = |key: &[u8; 32]| electorate.older_keys(key, moment);
    let mut verify = WithOlder { verify: cx.verify, older: &older };
    proof.votes.check(&bytes, electorate.members(), needed, &cx.config.network_id, &mut verify).is_ok()
}

fn double_vote_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::DoubleVote {
        return true;
    }
    let _ = config;
    false
}

pub(super) fn paid_twice_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::PaidTwice {
        return true;
    }
    let _ = config;
    false
}
