//! A transaction that others cannot check is voted for again (protocol.md, section 8).
//!
//! A certificate is of the members of its moment. Where they change just then, and the certificate did not reach everyone, perhaps
//! f or fewer hold it: the others do not know these members, and no f + 1 vouch for it. So its payer keeps its newest certified
//! transaction. When it hears twice, some seconds apart, that somebody lacks it, and what proves it is of other members, or of keys
//! that are out of use, it asks the present ones to vote for it again. The new certificate can be checked by everyone. Nothing new is signed by the payer
//! until then: nobody who lacks the one could vote for the next.
//!
//! Still no two transactions of a number are certified. Who has not applied this number votes as for any transaction: once, and again
//! only for the same. Who has applied it votes for what it holds as certified, and only if it did not vote for another of that
//! number itself; it needs to judge nothing, since a quorum has. So a second certificate of a number needs a first one
//! of the same transaction, or a quorum of votes of the usual kind, which shares an honest voter with any other.
//!
//! Only the payer asks, as every vote is addressed to it. Where it is gone for good, and f or fewer hold its last transaction, those
//! few keep a record that the others do not have.
//!
//! What f + 1 vouch for is so counted by transaction, not by row alone: one of them alone could name another to who votes by it.

use super::vote::is_proven;
use super::{Ledger, Timer};
use crate::cx::{Ctx, store_key};
use crate::id::NodeId;
use crate::io::{Event, Refusal};
use crate::membership::Members;
use crate::time::Time;
use crate::wire::message::{AccountRecord, LedgerVote, TokenTransaction};
use crate::wire::{Payload, Signed};

/// The payer's newest certified transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Newest {
    /// What it was, unless it came from others to a new store: then they have it.
    pub(super) transaction: Option<TokenTransaction>,
    /// Since when this node knows that somebody lacks it.
    lacked: Option<Time>,
    /// Whether the present members are asked to vote for it again.
    asked_again: bool,
}

impl Newest {
    /// Another has been certified.
    pub(super) fn is(transaction: Option<TokenTransaction>) -> Newest {
        Newest { transaction, lacked: None, asked_again: false }
    }

    /// It, while the present members are asked to vote for it again.
    pub(super) fn asked_again(&self) -> Option<&TokenTransaction> {
        self.transaction.as_ref().filter(|_| self.asked_again)
    }
}

impl Ledger {
    /// Starts with a transaction of the newest certified number, which this node has made or voted for.
    pub(super) fn recall_newest(&mut self, transaction: TokenTransaction) {
        if self.record_with(&transaction).is_err() {
            self.polls.entry(transaction.account).or_default().outvoted = Some(transaction.seq);
        } else if transaction.account == self.owner {
            self.own.newest = Newest::is(Some(transaction));
        }
    }

    /// Somebody lacks this node's newest transaction. It is being sent the record; who lacks it still some seconds later could
    /// not check that.
    pub(super) fn on_lacking(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        let newest = &mut self.own.newest;
        if newest.asked_again || newest.transaction.is_none() || self.own.answers.is_some() {
            return;
        }
        let lacked = *newest.lacked.get_or_insert(cx.now.mono);
        if cx.now.mono.since(lacked) < cx.config.rebroadcast_interval {
            return;
        }
        newest.lacked = None;
        let record = self.record_of(self.owner);
        let present = members.electorate().digest();
        let mut of_present = |record: &AccountRecord| {
            record.proof.as_ref().is_some_and(|proof| proof.votes.electorate == present) && is_proven(cx, members, record)
        };
        // Where it is proven to everyone, somebody was only late.
        if record.is_some_and(|record| !of_present(&record)) {
            self.own.newest.asked_again = true;
            self.own.votes.clear();
            self.repeat(cx, members);
        }
    }

    /// The present members have voted for the newest transaction again; what they kept waiting comes next.
    pub(super) fn renewed(&mut self, cx: &mut Ctx<'_>, record: AccountRecord) {
        cx.persist(&store_key::of_node(store_key::ACCOUNT, self.owner), &record);
        self.accounts.prove(&record);
        self.own.newest = Newest::is(self.own.newest.transaction.take());
        self.timers.arm(Timer::Repeat, cx.now.mono);
        self.arm_settle(cx);
    }

    /// A payer asks again for votes on a number that is applied here. It gets this voter's for the same transaction; of another it
    /// is told what was certified.
    pub(super) fn on_transaction_again(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        transaction: &TokenTransaction,
    ) -> Result<(), Refusal> {
        let account = transaction.account;
        let payer = members.find(account).expect("it has just spoken");
        let outvoted = self.polls.get(&account).and_then(|poll| poll.outvoted);
        match self.record_with(transaction) {
            Ok(record) if outvoted != Some(transaction.seq) => self.cast_vote(cx, members, transaction, &record),
            Ok(_) | Err(_) => {
                // Its payer has forgotten, or never heard, that a quorum voted for one of this number.
                self.send_record(cx, members, payer, account);
                Ok(())
            }
        }
    }

    /// Tells the payer that this node votes for its transaction, after which the account stands as in the record.
    pub(super) fn cast_vote(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        transaction: &TokenTransaction,
        record: &AccountRecord,
    ) -> Result<(), Refusal> {
        let (account, seq, electorate): (NodeId, u64, _) =
            (transaction.account, transaction.seq, members.electorate().digest());
        let statement = record.statement(transaction.digest(), electorate)?;
        let Some(payer) = members.find(account).filter(|_| members.electorate().position(self.owner).is_some()) else {
            return Ok(());
        };
        cx.report(Event::TransactionVoted { account, seq, transaction: transaction.id() });
        let bytes = statement.signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        let vote_signature = cx.verify.sign(cx.egress.keys(), &signed);
        cx.direct(payer, account, &Payload::LedgerVote(LedgerVote { seq, electorate, vote_signature }));
        Ok(())
    }
}
