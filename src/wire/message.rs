//! What is said: every message type with its fields (protocol.md, sections 4 to 8).
//!
//! Field names are the document's where it has them. Limits on every list are enforced by [`Payload::within_limits`], which
//! both codecs apply to whatever they decoded.

mod auction;
mod job;
mod keys;
mod members;
mod money;
mod penalty;
pub mod private;
mod standing;

use serde::{Deserialize, Serialize};

use crate::io::Refusal;
use crate::units::{MAX_JSON_INTEGER, Ppm};
pub use auction::{
    AuctionCoordinate, CertificateRequest, ClaimCertificate, ClaimVote, JobBid, JobClaim, ListedBid, Offer, Takeover,
};
pub use job::{
    Consistency, JobBody, JobBroadcast, JobHeartbeat, JobResult, LeaseLapsed, OutputChunk, OutputRequest, StateRequest,
};
pub use keys::{KeyLink, KeyRotation, MAX_ROTATIONS};
pub use members::{Announce, Goodbye, PeerAnnounce, PeerProbe, PeerRecords, PeerSeen, Ping, Pong};
pub use money::{
    AccountHead, AccountHeads, AccountRecord, AccountRequest, HeadProof, LedgerCertificate, LedgerVote, MAX_ROW,
    MAX_TRANSFERS, RowEntry, TokenTransaction, Transfer, TransferReason,
};
pub use penalty::{MAX_LAPSES_NAMED, MAX_PENALTIES, PenaltyRecord, PenaltyRecords, PenaltyVote};
pub use private::{PrivateCommand, SealedBundle, SealedCommand};
pub use standing::{
    Contradiction, Evidence, MAX_EVIDENCE_FRAME, MAX_REPORTED, ReputationUpdate, SignedVote, TrustReport,
};

/// Announces in one PEER_RECORDS at most.
pub const MAX_RECORDS: usize = 256;
/// Bytes of a node's name at most.
pub const MAX_NODE_NAME_BYTES: usize = 64;
/// Bytes of an endpoint at most.
pub const MAX_ENDPOINT_BYTES: usize = 128;
/// Capabilities of one node at most.
pub const MAX_CAPABILITIES: usize = 32;
/// Bytes of a capability, requirement or job type at most.
pub const MAX_CAPABILITY_BYTES: usize = 32;
/// Requirements of one job at most.
pub const MAX_REQUIREMENTS: usize = 16;
/// Runs of one job at most: a guess, beyond which trying again is not what helps.
pub const MAX_ATTEMPTS: u32 = 100;
/// Bytes of output in one JOB_RESULT or OUTPUT_CHUNK at most; what is longer follows piece by piece, when it is asked for.
pub const OUTPUT_CHUNK: usize = 256 * 1024;
/// Bids listed in one AUCTION_COORDINATE at most: the largest `listed_bids`.
pub const MAX_LISTED_BIDS: usize = 64;
/// Votes in one certificate at most: the largest `max_members`.
pub const MAX_VOTES: usize = 4_096;

/// The kind of a message, and its number in the binary codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
#[expect(missing_docs, reason = "the payloads below say it")]
pub enum MsgType {
    PeerAnnounce = 1,
    PeerRecords = 2,
    Ping = 3,
    PeerProbe = 4,
    PeerSeen = 5,
    Goodbye = 6,
    JobBroadcast = 7,
    JobBid = 8,
    AuctionCoordinate = 9,
    ClaimVote = 10,
    JobClaim = 11,
    ClaimCertificate = 12,
    CertificateRequest = 13,
    JobHeartbeat = 14,
    JobResult = 15,
    Bundle = 16,
    Takeover = 17,
    LeaseLapsed = 18,
    OutputRequest = 19,
    OutputChunk = 20,
    StateRequest = 21,
    ReputationUpdate = 22,
    TokenTransaction = 23,
    LedgerVote = 24,
    LedgerCertificate = 25,
    AccountRequest = 26,
    AccountRecord = 27,
    Evidence = 28,
    AccountHeads = 29,
    PenaltyVote = 30,
    PenaltyRecords = 31,
    KeyRotation = 32,
    SealedCommand = 33,
    SealedBundle = 34,
}

impl MsgType {
    /// Every kind, in the order of its number.
    pub const ALL: [MsgType; 34] = [
        MsgType::PeerAnnounce,
        MsgType::PeerRecords,
        MsgType::Ping,
        MsgType::PeerProbe,
        MsgType::PeerSeen,
        MsgType::Goodbye,
        MsgType::JobBroadcast,
        MsgType::JobBid,
        MsgType::AuctionCoordinate,
        MsgType::ClaimVote,
        MsgType::JobClaim,
        MsgType::ClaimCertificate,
        MsgType::CertificateRequest,
        MsgType::JobHeartbeat,
        MsgType::JobResult,
        MsgType::Bundle,
        MsgType::Takeover,
        MsgType::LeaseLapsed,
        MsgType::OutputRequest,
        MsgType::OutputChunk,
        MsgType::StateRequest,
        MsgType::ReputationUpdate,
        MsgType::TokenTransaction,
        MsgType::LedgerVote,
        MsgType::LedgerCertificate,
        MsgType::AccountRequest,
        MsgType::AccountRecord,
        MsgType::Evidence,
        MsgType::AccountHeads,
        MsgType::PenaltyVote,
        MsgType::PenaltyRecords,
        MsgType::KeyRotation,
        MsgType::SealedCommand,
        MsgType::SealedBundle,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<MsgType> {
        MsgType::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The name on the JSON wire and in every report, such as `JOB_BID`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MsgType::PeerAnnounce => "PEER_ANNOUNCE",
            MsgType::PeerRecords => "PEER_RECORDS",
            MsgType::Ping => "PING",
            MsgType::PeerProbe => "PEER_PROBE",
            MsgType::PeerSeen => "PEER_SEEN",
            MsgType::Goodbye => "GOODBYE",
            MsgType::JobBroadcast => "JOB_BROADCAST",
            MsgType::JobBid => "JOB_BID",
            MsgType::AuctionCoordinate => "AUCTION_COORDINATE",
            MsgType::ClaimVote => "CLAIM_VOTE",
            MsgType::JobClaim => "JOB_CLAIM",
            MsgType::ClaimCertificate => "CLAIM_CERTIFICATE",
            MsgType::CertificateRequest => "CERTIFICATE_REQUEST",
            MsgType::JobHeartbeat => "JOB_HEARTBEAT",
            MsgType::JobResult => "JOB_RESULT",
            MsgType::Bundle => "BUNDLE",
            MsgType::Takeover => "TAKEOVER",
            MsgType::LeaseLapsed => "LEASE_LAPSED",
            MsgType::OutputRequest => "OUTPUT_REQUEST",
            MsgType::OutputChunk => "OUTPUT_CHUNK",
            MsgType::StateRequest => "STATE_REQUEST",
            MsgType::ReputationUpdate => "REPUTATION_UPDATE",
            MsgType::TokenTransaction => "TOKEN_TRANSACTION",
            MsgType::LedgerVote => "LEDGER_VOTE",
            MsgType::LedgerCertificate => "LEDGER_CERTIFICATE",
            MsgType::AccountRequest => "ACCOUNT_REQUEST",
            MsgType::AccountRecord => "ACCOUNT_RECORD",
            MsgType::Evidence => "EVIDENCE",
            MsgType::AccountHeads => "ACCOUNT_HEADS",
            MsgType::PenaltyVote => "PENALTY_VOTE",
            MsgType::PenaltyRecords => "PENALTY_RECORDS",
            MsgType::KeyRotation => "KEY_ROTATION",
            MsgType::SealedCommand => "SEALED_COMMAND",
            MsgType::SealedBundle => "SEALED_BUNDLE",
        }
    }

    /// Whether its bytes count towards `overhead_per_job`.
    #[must_use]
    pub fn is_job_traffic(self) -> bool {
        match self {
            MsgType::PeerAnnounce
            | MsgType::PeerRecords
            | MsgType::Ping
            | MsgType::PeerProbe
            | MsgType::PeerSeen
            | MsgType::Goodbye
            | MsgType::StateRequest
            | MsgType::ReputationUpdate
            | MsgType::Evidence
            | MsgType::AccountHeads
            | MsgType::KeyRotation => false,
            MsgType::JobBroadcast
            | MsgType::JobBid
            | MsgType::AuctionCoordinate
            | MsgType::ClaimVote
            | MsgType::JobClaim
            | MsgType::ClaimCertificate
            | MsgType::CertificateRequest
            | MsgType::JobHeartbeat
            | MsgType::JobResult
            | MsgType::Bundle
            | MsgType::Takeover
            | MsgType::LeaseLapsed
            | MsgType::OutputRequest
            | MsgType::OutputChunk
            | MsgType::TokenTransaction
            | MsgType::LedgerVote
            | MsgType::LedgerCertificate
            | MsgType::AccountRequest
            | MsgType::AccountRecord
            | MsgType::PenaltyVote
            | MsgType::PenaltyRecords
            | MsgType::SealedCommand
            | MsgType::SealedBundle => true,
        }
    }

    /// Whether nodes with `encryption` seal it where it is said to one member. What introduces a node, or shows that it lives, is for
    /// those who do not know the sender's key yet, or its newest; evidence is for all.
    #[must_use]
    pub fn is_sealed_for_one(self) -> bool {
        match self {
            MsgType::PeerAnnounce
            | MsgType::PeerRecords
            | MsgType::Ping
            | MsgType::PeerProbe
            | MsgType::PeerSeen
            | MsgType::Goodbye
            | MsgType::Evidence
            | MsgType::KeyRotation
            // Sealed as they are.
            | MsgType::SealedCommand
            | MsgType::SealedBundle
            // Never by itself.
            | MsgType::Bundle => false,
            MsgType::JobBroadcast
            | MsgType::JobBid
            | MsgType::AuctionCoordinate
            | MsgType::ClaimVote
            | MsgType::JobClaim
            | MsgType::ClaimCertificate
            | MsgType::CertificateRequest
            | MsgType::JobHeartbeat
            | MsgType::JobResult
            | MsgType::Takeover
            | MsgType::LeaseLapsed
            | MsgType::OutputRequest
            | MsgType::OutputChunk
            | MsgType::StateRequest
            | MsgType::ReputationUpdate
            | MsgType::TokenTransaction
            | MsgType::LedgerVote
            | MsgType::LedgerCertificate
            | MsgType::AccountRequest
            | MsgType::AccountRecord
            | MsgType::AccountHeads
            | MsgType::PenaltyVote
            | MsgType::PenaltyRecords => true,
        }
    }

    /// The largest payload of this kind, in bytes, once unpacked: a guess with room, so that nothing small can be made large.
    #[must_use]
    pub fn max_payload(self, max_message_size: u32) -> u32 {
        let limit = match self {
            MsgType::Ping | MsgType::PeerProbe | MsgType::PeerSeen | MsgType::Goodbye => 384,
            MsgType::JobBid | MsgType::ClaimVote | MsgType::JobClaim | MsgType::CertificateRequest => 512,
            MsgType::StateRequest
            | MsgType::JobHeartbeat
            | MsgType::Takeover
            | MsgType::LeaseLapsed
            | MsgType::OutputRequest
            | MsgType::LedgerVote
            | MsgType::AccountRequest
            | MsgType::PenaltyVote => 512,
            MsgType::PeerAnnounce | MsgType::KeyRotation | MsgType::AuctionCoordinate => 8_192,
            MsgType::ReputationUpdate | MsgType::TokenTransaction | MsgType::Evidence => 16 * 1024,
            MsgType::ClaimCertificate | MsgType::LedgerCertificate => 512 * 1024,
            MsgType::Bundle | MsgType::AccountRecord | MsgType::AccountHeads | MsgType::PenaltyRecords => 1024 * 1024,
            MsgType::PeerRecords => 2 * 1024 * 1024,
            MsgType::JobBroadcast
            | MsgType::JobResult
            | MsgType::OutputChunk
            | MsgType::SealedCommand
            | MsgType::SealedBundle => max_message_size,
        };
        limit.min(max_message_size)
    }
}

/// One thing said. The variant is the message's type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each struct says it")]
pub enum Payload {
    /// In a box: it is twice as large as any other, and the rest are moved about more often.
    PeerAnnounce(Box<PeerAnnounce>),
    PeerRecords(PeerRecords),
    Ping(Ping),
    PeerProbe(PeerProbe),
    PeerSeen(PeerSeen),
    Goodbye(Goodbye),
    JobBroadcast(JobBroadcast),
    JobBid(JobBid),
    AuctionCoordinate(AuctionCoordinate),
    ClaimVote(ClaimVote),
    JobClaim(JobClaim),
    ClaimCertificate(ClaimCertificate),
    CertificateRequest(CertificateRequest),
    JobHeartbeat(JobHeartbeat),
    JobResult(JobResult),
    Takeover(Takeover),
    LeaseLapsed(LeaseLapsed),
    OutputRequest(OutputRequest),
    OutputChunk(OutputChunk),
    StateRequest(StateRequest),
    ReputationUpdate(ReputationUpdate),
    TokenTransaction(TokenTransaction),
    LedgerVote(LedgerVote),
    LedgerCertificate(LedgerCertificate),
    AccountRequest(AccountRequest),
    AccountRecord(AccountRecord),
    /// In a box, as an announce: it may hold two.
    Evidence(Box<Evidence>),
    AccountHeads(AccountHeads),
    PenaltyVote(PenaltyVote),
    PenaltyRecords(PenaltyRecords),
    /// In a box, as an announce.
    KeyRotation(Box<KeyRotation>),
    SealedCommand(SealedCommand),
    SealedBundle(SealedBundle),
}

impl Payload {
    /// The message's type.
    #[must_use]
    pub fn kind(&self) -> MsgType {
        match self {
            Payload::PeerAnnounce(_) => MsgType::PeerAnnounce,
            Payload::PeerRecords(_) => MsgType::PeerRecords,
            Payload::Ping(_) => MsgType::Ping,
            Payload::PeerProbe(_) => MsgType::PeerProbe,
            Payload::PeerSeen(_) => MsgType::PeerSeen,
            Payload::Goodbye(_) => MsgType::Goodbye,
            Payload::JobBroadcast(_) => MsgType::JobBroadcast,
            Payload::JobBid(_) => MsgType::JobBid,
            Payload::AuctionCoordinate(_) => MsgType::AuctionCoordinate,
            Payload::ClaimVote(_) => MsgType::ClaimVote,
            Payload::JobClaim(_) => MsgType::JobClaim,
            Payload::ClaimCertificate(_) => MsgType::ClaimCertificate,
            Payload::CertificateRequest(_) => MsgType::CertificateRequest,
            Payload::JobHeartbeat(_) => MsgType::JobHeartbeat,
            Payload::JobResult(_) => MsgType::JobResult,
            Payload::Takeover(_) => MsgType::Takeover,
            Payload::LeaseLapsed(_) => MsgType::LeaseLapsed,
            Payload::OutputRequest(_) => MsgType::OutputRequest,
            Payload::OutputChunk(_) => MsgType::OutputChunk,
            Payload::StateRequest(_) => MsgType::StateRequest,
            Payload::ReputationUpdate(_) => MsgType::ReputationUpdate,
            Payload::TokenTransaction(_) => MsgType::TokenTransaction,
            Payload::LedgerVote(_) => MsgType::LedgerVote,
            Payload::LedgerCertificate(_) => MsgType::LedgerCertificate,
            Payload::AccountRequest(_) => MsgType::AccountRequest,
            Payload::AccountRecord(_) => MsgType::AccountRecord,
            Payload::Evidence(_) => MsgType::Evidence,
            Payload::AccountHeads(_) => MsgType::AccountHeads,
            Payload::PenaltyVote(_) => MsgType::PenaltyVote,
            Payload::PenaltyRecords(_) => MsgType::PenaltyRecords,
            Payload::KeyRotation(_) => MsgType::KeyRotation,
            Payload::SealedCommand(_) => MsgType::SealedCommand,
            Payload::SealedBundle(_) => MsgType::SealedBundle,
        }
    }

    /// Whether every list and text is within its limit and every share is at most 1. Both codecs refuse what is not, so that
    /// nobody meets larger ones and each codec can say what the other can.
    #[must_use]
    pub fn within_limits(&self) -> bool {
        match self {
            Payload::PeerAnnounce(announce) => announce.record.within_limits(),
            Payload::KeyRotation(rotation) => rotation.record.within_limits(),
            Payload::PeerRecords(PeerRecords { records, .. }) => {
                records.len() <= MAX_RECORDS && records.iter().all(Announce::within_limits)
            }
            Payload::JobBroadcast(job) => job.counter <= MAX_JSON_INTEGER && job.body.within_limits(),
            Payload::JobBid(bid) => bid.offer.as_ref().is_none_or(|offer| offer.score <= Ppm::ONE),
            Payload::AuctionCoordinate(proposal) => proposal.best.len() <= MAX_LISTED_BIDS,
            Payload::ClaimCertificate(certificate) => {
                certificate.signatures.len() <= MAX_VOTES
                    && certificate.voters.len() <= MAX_VOTES / 8
                    && certificate.reachable.len() <= MAX_VOTES / 8
            }
            Payload::JobHeartbeat(heartbeat) => heartbeat.progress <= Ppm::ONE,
            Payload::ReputationUpdate(update) => update.within_limits(),
            Payload::TokenTransaction(transaction) => transaction.within_limits(),
            Payload::LedgerVote(vote) => vote.seq <= MAX_JSON_INTEGER,
            Payload::LedgerCertificate(certificate) => {
                certificate.seq <= MAX_JSON_INTEGER && money::proof_within_limits(&certificate.proof)
            }
            Payload::AccountRecord(record) => record.within_limits(),
            Payload::Evidence(evidence) => evidence.within_limits(),
            Payload::AccountHeads(AccountHeads { heads }) => {
                let sound = |head: &AccountHead| head.seq.max(head.penalties) <= MAX_JSON_INTEGER;
                heads.len() <= MAX_ROW && heads.iter().all(sound)
            }
            Payload::AccountRequest(request) => request.penalties <= MAX_JSON_INTEGER,
            Payload::PenaltyVote(vote) => vote.within_limits(),
            Payload::PenaltyRecords(records) => records.within_limits(),
            Payload::Ping(_)
            | Payload::PeerProbe(_)
            | Payload::PeerSeen(_)
            | Payload::Goodbye(_)
            | Payload::ClaimVote(_)
            | Payload::JobClaim(_)
            | Payload::CertificateRequest(_)
            | Payload::Takeover(_)
            | Payload::LeaseLapsed(_)
            | Payload::OutputRequest(_)
            | Payload::StateRequest(_)
            // Output is bounded by the size of the message.
            | Payload::JobResult(_)
            | Payload::SealedCommand(_)
            | Payload::SealedBundle(_)
            | Payload::OutputChunk(_) => true,
        }
    }

    /// What was decoded, if it is within its limits.
    pub(super) fn checked(self) -> Result<Payload, Refusal> {
        if self.within_limits() { Ok(self) } else { Err(Refusal::Malformed) }
    }
}

fn is_capability(text: &str) -> bool {
    (1..=MAX_CAPABILITY_BYTES).contains(&text.len())
}
