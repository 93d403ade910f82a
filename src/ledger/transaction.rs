//! What a payer signs, what voters sign, and what no transaction may be (protocol.md, section 8). Pure.

use std::collections::{BTreeMap, BTreeSet};

use bincode::Encode;
use sha2::{Digest, Sha256};

use crate::id::{ElectorateId, NodeId, TxId};
use crate::io::Refusal;
use crate::units::Tokens;
use crate::wire::binary;
use crate::wire::message::{MAX_ROW, MAX_TRANSFERS, RowEntry, TokenTransaction, Transfer, TransferReason};

/// What an account has paid to whom, in all its transactions so far.
pub type Row = BTreeMap<NodeId, Tokens>;

/// What a voter signs: this is the account's transaction of this number, and this is all that it has paid with it. So a
/// certificate proves the whole account, and nobody needs the transactions before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct LedgerStatement {
    /// Whose account.
    pub account: NodeId,
    /// The transaction's number.
    pub seq: u64,
    /// [`TokenTransaction::digest`].
    pub transaction: [u8; 32],
    /// [`row_digest`] after the transaction.
    pub row: [u8; 32],
    /// The members whose votes count.
    pub electorate: ElectorateId,
}

impl LedgerStatement {
    /// The bytes that are signed. The prefix keeps them from ever being an envelope or another record.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"ledger-vote/1\0".to_vec();
        binary::encode_into(self, &mut bytes);
        bytes
    }
}

impl TokenTransaction {
    /// The bytes that its payer signs.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"token-transaction/1\0".to_vec();
        binary::encode_into(&(self.account, self.seq, &self.transfers), &mut bytes);
        bytes
    }

    /// Names its content, whoever signed it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.signed_bytes()).into()
    }

    /// Its short name.
    #[must_use]
    pub fn id(&self) -> TxId {
        TxId(self.digest()[..16].try_into().expect("SHA-256 has 32 bytes"))
    }

    /// What it pays in all, if it is one that an account may make.
    ///
    /// # Errors
    /// `BadTransaction`: no transfer or too many, a job twice, a payment of nothing or to the payer, a release of something, or
    /// more than there can be.
    pub fn total(&self) -> Result<Tokens, Refusal> {
        let jobs: BTreeSet<_> = self.transfers.iter().map(|transfer| transfer.job_id).collect();
        let sound = |transfer: &Transfer| match transfer.reason {
            TransferReason::OnTime | TransferReason::Late | TransferReason::VeryLate => {
                transfer.amount > Tokens(0) && transfer.to != self.account
            }
            TransferReason::Release => transfer.amount == Tokens(0),
        };
        if self.seq == 0
            || self.transfers.is_empty()
            || self.transfers.len() > MAX_TRANSFERS as usize
            || jobs.len() != self.transfers.len()
            || !self.transfers.iter().all(sound)
        {
            return Err(Refusal::BadTransaction);
        }
        let amounts = self.transfers.iter().map(|transfer| transfer.amount);
        amounts.into_iter().try_fold(Tokens(0), Tokens::checked_add).ok_or(Refusal::BadTransaction)
    }
}

/// The row after a transaction.
///
/// # Errors
/// `BadTransaction` where it pays more than there can be, or too many payees.
pub fn row_after(row: &Row, transaction: &TokenTransaction) -> Result<Row, Refusal> {
    let mut after = row.clone();
    for transfer in transaction.transfers.iter().filter(|transfer| transfer.amount > Tokens(0)) {
        let paid = after.entry(transfer.to).or_default();
        *paid = paid.checked_add(transfer.amount).ok_or(Refusal::BadTransaction)?;
    }
    if after.len() <= MAX_ROW { Ok(after) } else { Err(Refusal::BadTransaction) }
}

/// Names a row.
#[must_use]
pub fn row_digest(row: &Row) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (to, paid) in row {
        hash.update(to.0);
        hash.update(paid.0.to_le_bytes());
    }
    hash.finalize().into()
}

/// A row as it is written: sorted, each payee once, no payment of nothing, and none to the account itself.
///
/// # Errors
/// `BadRecord` where it is not.
pub fn row_of_entries(account: NodeId, entries: &[RowEntry]) -> Result<Row, Refusal> {
    let sound = |entry: &RowEntry| entry.paid > Tokens(0) && entry.to != account;
    if entries.len() > MAX_ROW || !entries.is_sorted_by(|a, b| a.to < b.to) || !entries.iter().all(sound) {
        return Err(Refusal::BadRecord);
    }
    Ok(entries.iter().map(|entry| (entry.to, entry.paid)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;
    use crate::wire::Signature;

    const PAYER: NodeId = NodeId([1; 16]);
    const OTHER: NodeId = NodeId([2; 16]);

    fn transfer(job: u8, to: NodeId, amount: u64, reason: TransferReason) -> Transfer {
        Transfer { job_id: JobId([job; 16]), to, amount: Tokens(amount), reason }
    }

    fn transaction(seq: u64, transfers: Vec<Transfer>) -> TokenTransaction {
        TokenTransaction { account: PAYER, seq, transfers, transaction_signature: Signature([0; 64]) }
    }

    #[test]
    fn a_transaction_pays_others_something_each_for_another_job() {
        use TransferReason::{Late, OnTime, Release, VeryLate};
        let bad = Err(Refusal::BadTransaction);
        let many = |n: u8| (0..n).map(|job| transfer(job, OTHER, 1, OnTime)).collect::<Vec<_>>();
        let table = [
            ("one payment", 1, vec![transfer(1, OTHER, 12, OnTime)], Ok(Tokens(12))),
            ("two, and a release", 1, vec![transfer(1, OTHER, 9, Late), transfer(2, PAYER, 0, Release)], Ok(Tokens(9))),
            ("64 payments", 9, many(64), Ok(Tokens(64))),
            ("65 payments", 9, many(65), bad),
            ("nothing", 1, vec![], bad),
            ("number 0", 0, many(1), bad),
            ("one job twice", 1, vec![transfer(1, OTHER, 5, VeryLate); 2], bad),
            ("a payment of nothing", 1, vec![transfer(1, OTHER, 0, OnTime)], bad),
            ("a payment to oneself", 1, vec![transfer(1, PAYER, 5, OnTime)], bad),
            ("a release of something", 1, vec![transfer(1, OTHER, 5, Release)], bad),
            ("too much", 1, vec![transfer(1, OTHER, u64::MAX, OnTime), transfer(2, OTHER, 1, OnTime)], bad),
        ];
        for (what, seq, transfers, expected) in table {
            assert_eq!(transaction(seq, transfers).total(), expected, "{what}");
        }
    }

    #[test]
    fn a_row_adds_up_and_every_change_of_it_has_another_digest() {
        let first = transaction(1, vec![transfer(1, OTHER, 5, TransferReason::OnTime)]);
        let row = row_after(&Row::new(), &first).expect("sound");
        let again = row_after(&row, &first).expect("sound");
        assert_eq!(again, Row::from([(OTHER, Tokens(10))]));
        assert_ne!(row_digest(&row), row_digest(&again));
        let release = transaction(2, vec![transfer(2, OTHER, 0, TransferReason::Release)]);
        assert_eq!(row_after(&again, &release), Ok(again.clone()), "a release pays nothing");
        let full = Row::from([(OTHER, Tokens(u64::MAX))]);
        assert_eq!(row_after(&full, &first), Err(Refusal::BadTransaction));
    }

    #[test]
    fn a_written_row_is_sorted_and_pays_others_something() {
        let entry = |to: u8, paid| RowEntry { to: NodeId([to; 16]), paid: Tokens(paid) };
        let table = [
            ("none", vec![], true),
            ("two", vec![entry(2, 1), entry(3, 1)], true),
            ("unsorted", vec![entry(3, 1), entry(2, 1)], false),
            ("one twice", vec![entry(2, 1), entry(2, 1)], false),
            ("nothing", vec![entry(2, 0)], false),
            ("to itself", vec![entry(1, 4)], false),
        ];
        for (what, entries, sound) in table {
            assert_eq!(row_of_entries(PAYER, &entries).is_ok(), sound, "{what}");
        }
    }

    #[test]
    fn a_transaction_is_named_by_all_that_it_says_and_not_by_its_signature() {
        let one = transaction(1, vec![transfer(1, OTHER, 5, TransferReason::OnTime)]);
        let resigned = TokenTransaction { transaction_signature: Signature([9; 64]), ..one.clone() };
        assert_eq!(one.id(), resigned.id());
        let others = [
            TokenTransaction { seq: 2, ..one.clone() },
            TokenTransaction { account: OTHER, ..one.clone() },
            transaction(1, vec![transfer(1, OTHER, 6, TransferReason::OnTime)]),
            transaction(1, vec![transfer(1, OTHER, 5, TransferReason::Late)]),
        ];
        assert!(others.iter().all(|other| other.id() != one.id()));
    }
}
