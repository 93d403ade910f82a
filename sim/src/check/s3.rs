//! S3: one certified transaction per (account, number). What the transactions come to is for [`super::ledger`] to say.
//!
//! 1. Two certified transactions of one account and number are one and the same, and each was voted for, really, by a quorum of
//!    an electorate that its payer may have held (see [`super::electorates`]).
//! 2. No node votes for two transactions of one account and number, unless its store lost the first.
//! 3. What a node applies was certified, and is the same everywhere.

use std::collections::BTreeMap;

use marlos::config::Config;
use marlos::id::TxId;
use marlos::io::{JobStatus, Verify};
use marlos::time::{Span, Time};
use marlos::wire::binary;
use marlos::wire::message::{AccountRecord, TokenTransaction};
use sha2::{Digest, Sha256};

use super::electorates::Electorates;
use super::{Fact, Violation};
use crate::observe::{Observation, Stop, Truth};
use crate::scenario::{NodeNo, Scenario};

const ONE: &str = "there is at most one certified transaction per (account, number)";
const REAL: &str = "a certified transaction holds the votes of a quorum of its payer's members";
const ONCE: &str = "a node votes for one transaction per (account, number)";
const SAME: &str = "what a node applies was certified, and is the same everywhere";

/// How long after the first payment is due some transaction must have been certified, besides `settle_after`, or the run
/// has shown nothing.
const PATIENCE: Span = Span::secs(30);

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct S3 {
    configs: Vec<Config>,
    certified: BTreeMap<(NodeNo, u64), Certified>,
    /// By account, number and voter.
    votes: BTreeMap<(NodeNo, u64, NodeNo), (TxId, Time)>,
    first_due: Option<Time>,
    checked: u64,
}

#[derive(Clone, Debug)]
struct Certified {
    transaction: TxId,
    row: [u8; 32],
    fact: Fact,
}

impl S3 {
    pub fn new(scenario: &Scenario) -> S3 {
        S3 {
            configs: scenario.nodes.iter().map(|node| node.config.clone()).collect(),
            certified: BTreeMap::new(),
            votes: BTreeMap::new(),
            first_due: None,
            checked: 0,
        }
    }

    /// Certified transactions that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// Whether nothing was due for long enough that a transaction must have followed.
    pub fn no_occasion(&self, now: Time) -> bool {
        let settle_after = self.configs.iter().map(|config| config.settle_after).max().unwrap_or(Span::ZERO);
        // With more than ten members, payments wait that much longer for company.
        let wait = settle_after.times((self.configs.len() as u64 / 10).max(1));
        self.first_due.is_none_or(|due| now.since(due) < wait + PATIENCE)
    }

    pub fn observe(
        &mut self,
        truth: &Truth,
        o: &Observation<'_>,
        electorates: &Electorates,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        match *o {
            Observation::NodeStopped { node, how: Stop::CrashLost } => {
                self.votes.retain(|(_, _, voter), _| *voter != node);
            }
            Observation::StoreCut { node, since, .. } => {
                self.votes.retain(|(_, _, voter), (_, at)| *voter != node || *at < since);
            }
            Observation::JobCompleted { node, executor, status: JobStatus::Success, .. } if executor != node => {
                self.first_due.get_or_insert(truth.now);
            }
            Observation::TransactionVoted { node, account, seq, transaction } => {
                return self.on_voted(truth, node, account, seq, transaction);
            }
            Observation::TransactionCertified { node, seq, certificate } => {
                return self.on_certified(truth, node, seq, certificate, electorates, verify);
            }
            Observation::TransactionApplied { node, account, seq, row, .. } => {
                return self.on_applied(truth, node, account, seq, row);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_voted(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        account: NodeNo,
        seq: u64,
        transaction: TxId,
    ) -> Result<(), Box<Violation>> {
        let (before, at) = *self.votes.entry((account, seq, node)).or_insert((transaction, truth.now));
        if before == transaction {
            return Ok(());
        }
        let says = |transaction| format!("it votes for {transaction} as number {seq} of n{account}");
        violated(ONCE, Fact { what: says(before), at, node, event: None }, Fact::now(truth, node, says(transaction)))
    }

    fn on_certified(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        seq: u64,
        bytes: &[u8],
        electorates: &Electorates,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        let reported = Fact::now(truth, node, format!("it reports that its transaction {seq} is certified"));
        let wrong = |what: String| violated(REAL, reported.clone(), Fact::now(truth, node, what));
        let Ok((transaction, record)) = binary::decode::<(TokenTransaction, AccountRecord)>(bytes) else {
            return wrong(format!("its {} bytes are no transaction and record", bytes.len()));
        };
        let digest: [u8; 32] = Sha256::digest(transaction.signed_bytes()).into();
        let Some(proof) = record.proof.clone().filter(|proof| proof.transaction == digest) else {
            return wrong("its proof is of another transaction".into());
        };
        let own = |account, number| account == truth.ids[node] && number == seq;
        if !own(transaction.account, transaction.seq) || !own(record.account, record.seq) {
            return wrong(format!("it is number {} of {}", transaction.seq, transaction.account));
        }
        let Ok(statement) = record.statement(digest, proof.votes.electorate) else {
            return wrong("its row is none".into());
        };
        let Some(members) = electorates.members_behind(truth, node, proof.votes.electorate, &[]) else {
            return wrong(format!("no members that it has held of late have the digest {}", proof.votes.electorate));
        };
        let votes = (proof.votes.voters.as_slice(), proof.votes.signatures.as_slice());
        if let Err(what) =
            electorates.count_votes(truth, &members, members.len(), votes, &statement.signed_bytes(), &|_| None, verify)
        {
            return wrong(what);
        }
        self.checked += 1;
        let what = format!("{} is certified as its number {seq}", transaction.id());
        let certified =
            Certified { transaction: transaction.id(), row: statement.row, fact: Fact::now(truth, node, what) };
        let first = self.certified.entry((node, seq)).or_insert_with(|| certified.clone());
        if (first.transaction, first.row) != (certified.transaction, certified.row) {
            return violated(ONE, first.fact.clone(), certified.fact);
        }
        Ok(())
    }

    fn on_applied(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        account: NodeNo,
        seq: u64,
        row: [u8; 32],
    ) -> Result<(), Box<Violation>> {
        let applies = Fact::now(truth, node, format!("it applies number {seq} of n{account}"));
        match self.certified.get(&(account, seq)) {
            Some(certified) if certified.row == row => Ok(()),
            Some(certified) => violated(SAME, certified.fact.clone(), applies),
            // What its payer says of it is not believed: the first honest node decides what all others must have.
            None if !truth.honest(account) => {
                let first = Certified { transaction: TxId([0; 16]), row, fact: applies };
                self.certified.insert((account, seq), first);
                Ok(())
            }
            None => {
                let nobody = Fact::now(truth, account, format!("no number {seq} of it was ever certified"));
                violated(SAME, nobody, applies)
            }
        }
    }
}

fn violated<T>(sentence: &'static str, first: Fact, second: Fact) -> Result<T, Box<Violation>> {
    Err(Box::new(Violation { check: "S3", sentence, facts: [first, second] }))
}

#[cfg(test)]
mod tests;
