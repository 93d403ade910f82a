//! What is said of money (protocol.md, section 8).

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::MAX_VOTES;
use crate::id::{ElectorateId, JobId, NodeId, TxId};
use crate::quorum::Proof;
use crate::units::{MAX_JSON_INTEGER, Tokens};
use crate::wire::Signature;

/// Transfers of one transaction at most: the largest `settle_batch`.
pub const MAX_TRANSFERS: u32 = 64;
/// Payees of one account at most: the largest `max_members`.
pub const MAX_ROW: usize = 4_096;

/// What an account owes, in its order of transactions. A signed record: anyone may pass it on, nobody can alter it. Its payer
/// stands in it and not only in the envelope, so that two that contradict each other convict their signer before anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "TransactionFields", try_from = "TransactionFields")]
pub struct TokenTransaction {
    /// Who pays; only it may broadcast.
    pub account: NodeId,
    /// Counts the transactions of the account, from 1.
    pub seq: u64,
    /// At most 64, each for another job.
    pub transfers: Vec<Transfer>,
    /// The payer's, over everything above (see `ledger::transaction`).
    pub transaction_signature: Signature,
}

/// One payment, for one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// For which job: each is named at most once.
    pub job_id: JobId,
    /// Who is paid.
    pub to: NodeId,
    /// How much.
    pub amount: Tokens,
    /// Why that much.
    pub reason: TransferReason,
}

/// What decided the amount of a transfer (protocol.md, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferReason {
    /// The result came by the deadline: 120 % of the payment.
    OnTime,
    /// It came later: 90 %.
    Late,
    /// It came later than twice the deadline's span: 50 %.
    VeryLate,
    /// Nothing is owed: the execution failed, or was the payer's own. It only releases what the job has bound.
    Release,
}

impl Transfer {
    /// Whether the job was done after its deadline; nothing where nobody was paid for it.
    #[must_use]
    pub fn late(&self) -> Option<bool> {
        match self.reason {
            TransferReason::OnTime => Some(false),
            TransferReason::Late | TransferReason::VeryLate => Some(true),
            TransferReason::Release => None,
        }
    }
}

/// A transfer without its payee.
type Item = (JobId, Tokens, TransferReason);

/// A transaction in binary: a payee's id is written once for what it gets in a row, which is a tenth of the message to each member.
/// What is signed names it with each transfer.
#[derive(Encode, Decode)]
struct TransactionGroups {
    account: NodeId,
    seq: u64,
    groups: Vec<(NodeId, Vec<Item>)>,
    signature: Signature,
}

impl Encode for TokenTransaction {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let item = |transfer: &Transfer| (transfer.job_id, transfer.amount, transfer.reason);
        let of_one = self.transfers.chunk_by(|a, b| a.to == b.to);
        let groups = of_one.map(|group| (group[0].to, group.iter().map(item).collect())).collect();
        let (account, seq, signature) = (self.account, self.seq, self.transaction_signature);
        TransactionGroups { account, seq, groups, signature }.encode(encoder)
    }
}

impl<Context> Decode<Context> for TokenTransaction {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<TokenTransaction, DecodeError> {
        let TransactionGroups { account, seq, groups, signature } = TransactionGroups::decode(decoder)?;
        let transfers = groups.into_iter().flat_map(|(to, items)| {
            items.into_iter().map(move |(job_id, amount, reason)| Transfer { job_id, to, amount, reason })
        });
        Ok(TokenTransaction { account, seq, transfers: transfers.collect(), transaction_signature: signature })
    }
}

bincode::impl_borrow_decode!(TokenTransaction);

/// A transaction as JSON has it: with its id, which is checked when it is read, and the document's `from`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransactionFields {
    tx_id: TxId,
    from: NodeId,
    seq: u64,
    transfers: Vec<Transfer>,
    signature: Signature,
}

impl From<TokenTransaction> for TransactionFields {
    fn from(transaction: TokenTransaction) -> TransactionFields {
        let tx_id = transaction.id();
        let TokenTransaction { account, seq, transfers, transaction_signature } = transaction;
        TransactionFields { tx_id, from: account, seq, transfers, signature: transaction_signature }
    }
}

impl TryFrom<TransactionFields> for TokenTransaction {
    type Error = String;

    fn try_from(fields: TransactionFields) -> Result<TokenTransaction, String> {
        let TransactionFields { tx_id, from, seq, transfers, signature } = fields;
        let transaction = TokenTransaction { account: from, seq, transfers, transaction_signature: signature };
        let expected = transaction.id();
        if tx_id == expected {
            Ok(transaction)
        } else {
            Err(format!("the transaction's id is {expected}, not {tx_id}"))
        }
    }
}

/// A vote for a transaction, directed to its payer. What is signed is [`crate::ledger::transaction::LedgerStatement`], which the
/// payer rebuilds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerVote {
    /// The transaction's number in the payer's account.
    pub seq: u64,
    /// The voter's electorate: a payer with another does not count the vote.
    pub electorate: ElectorateId,
    /// The voter's signature over the statement.
    pub vote_signature: Signature,
}

/// "A quorum has voted for my transaction." The receivers hold the transaction and rebuild what the votes are of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerCertificate {
    /// The transaction's number in the payer's account.
    pub seq: u64,
    /// The votes.
    pub proof: Proof,
}

/// "How far is this account, by what you know?"
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Whose.
    pub account: NodeId,
    /// How many penalties it was awarded by what the asker knows: who knows of more tells them.
    pub penalties: u64,
}

/// "So far are all accounts, by what I know": who knows less of one asks for it, who knows more of one says so.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountHeads {
    /// Every account that has paid or was awarded anything, sorted by its owner's id.
    pub heads: Vec<AccountHead>,
}

/// How far an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountHead {
    /// Whose.
    pub account: NodeId,
    /// Its newest certified transaction; 0 before the first.
    pub seq: u64,
    /// How many penalties it was awarded, of all claimers.
    pub penalties: u64,
}

/// What an account has paid out in all its certified transactions: with its proof, everything that anyone needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRecord {
    /// Whose.
    pub account: NodeId,
    /// Its newest certified transaction; 0 before the first.
    pub seq: u64,
    /// What it has paid to whom in transactions 1 to `seq`, sorted by payee.
    pub row: Vec<RowEntry>,
    /// What proves it; nothing before the first.
    pub proof: Option<HeadProof>,
    /// To the account's owner: the transaction after it that the sender has voted for, which an owner that lost its store has
    /// forgotten.
    pub pending: Option<TokenTransaction>,
}

/// Proof of an account's newest transaction, and so of all that it has paid.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadProof {
    /// Digest of the transaction: a part of what was voted for.
    #[serde(with = "crate::wire::json::base64_array")]
    pub transaction: [u8; 32],
    /// The votes.
    pub votes: Proof,
}

/// What an account has paid to one payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowEntry {
    /// The payee.
    pub to: NodeId,
    /// In all.
    pub paid: Tokens,
}

impl TokenTransaction {
    pub(super) fn within_limits(&self) -> bool {
        self.seq <= MAX_JSON_INTEGER && self.transfers.len() <= MAX_TRANSFERS as usize
    }
}

impl AccountRecord {
    pub(super) fn within_limits(&self) -> bool {
        self.seq <= MAX_JSON_INTEGER
            && self.row.len() <= MAX_ROW
            && self.proof.as_ref().is_none_or(|proof| proof_within_limits(&proof.votes))
            && self.pending.as_ref().is_none_or(TokenTransaction::within_limits)
    }
}

pub(super) fn proof_within_limits(proof: &Proof) -> bool {
    proof.signatures.len() <= MAX_VOTES && proof.voters.len() <= MAX_VOTES / 8
}
