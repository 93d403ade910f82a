//! What is said: every message type with its fields (protocol.md, sections 4 to 8).
//!
//! Field names are the document's where it has them. Limits on every list are enforced by [`Payload::within_limits`], which
//! both codecs apply to whatever they decoded.

mod keys;
mod money;
mod penalty;
pub mod private;
mod standing;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::{ElectorateId, JobId, NodeId};
use crate::io::{JobStatus, Refusal};
use crate::time::{Span, WallTime};
use crate::units::{MAX_JSON_INTEGER, Ppm, Tokens};
use crate::wire::{Signature, binary};
pub use keys::{KeyLink, KeyRotation, MAX_ROTATIONS};
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

impl Announce {
    fn within_limits(&self) -> bool {
        self.node_name.len() <= MAX_NODE_NAME_BYTES
            && self.pub_endpoint.len() <= MAX_ENDPOINT_BYTES
            && self.sub_endpoint.len() <= MAX_ENDPOINT_BYTES
            && self.capabilities.len() <= MAX_CAPABILITIES
            && self.capabilities.iter().all(|capability| is_capability(capability))
            && self.trust_score <= Ppm::ONE
            && self.rotations.len() <= MAX_ROTATIONS
    }
}

impl JobBody {
    fn within_limits(&self) -> bool {
        is_capability(&self.job_type)
            && self.requirements.len() <= MAX_REQUIREMENTS
            && self.requirements.iter().all(|requirement| is_capability(requirement))
            && self.priority <= Ppm::ONE
            && (1..=MAX_ATTEMPTS).contains(&self.max_attempts)
    }
}

fn is_capability(text: &str) -> bool {
    (1..=MAX_CAPABILITY_BYTES).contains(&text.len())
}

/// "Here I am", to all or by beacon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PeerAnnounce {
    /// Who.
    #[serde(flatten)]
    pub record: Announce,
    /// Whether the sender knows nobody yet and asks for the records that the receiver holds.
    pub want_records: bool,
}

/// Who a node is and how to reach it. A signed record: anyone may pass it on, nobody can alter it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Announce {
    /// The id, which must be the hash of `public_key`.
    pub node_id: NodeId,
    /// For people.
    pub node_name: String,
    /// The Ed25519 public key that the identity began with.
    #[serde(with = "crate::wire::json::base64_array")]
    pub public_key: [u8; 32],
    /// What came after it: the last one's key is the present one. At most [`MAX_ROTATIONS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<KeyLink>,
    /// Start count of the node.
    pub incarnation: u32,
    /// Counts the announces of one incarnation: the newest wins.
    pub sequence: u32,
    /// When it was signed: two lives that count the same, because the first one's store was lost, still differ here.
    pub signed_at: WallTime,
    /// Where to subscribe.
    pub pub_endpoint: String,
    /// Where to be reached by those who cannot be dialled.
    pub sub_endpoint: String,
    /// Highest protocol version spoken.
    pub protocol_version: u32,
    /// Job types it runs.
    pub capabilities: Vec<String>,
    /// What it says of its own trust; nobody relies on it.
    pub trust_score: Ppm,
    /// Jobs it runs.
    pub active_jobs: u32,
    /// What it says of its balance; nobody relies on it.
    pub wallet_balance: Tokens,
    /// The present key's, over everything above, in binary (see `membership::gossip`).
    pub record_signature: Signature,
}

/// Announces that the sender holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRecords {
    /// A digest of all member records the sender holds, as in [`Ping`].
    pub members_digest: u32,
    /// Whether these are all of them, so that the receiver can answer with what is missing here.
    pub complete: bool,
    /// At most 256 at a time.
    pub records: Vec<Announce>,
}

/// The heartbeat. It also carries up to two PONGs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// A digest of the member records the sender holds: where it differs, records are exchanged.
    pub members_digest: u32,
    /// A digest of the certified transactions the sender has applied: where it goes on to differ, heads are exchanged.
    pub ledger_digest: u32,
    /// Answers to earlier PINGs of others: a fixed pair, so that a heartbeat is decoded without allocating.
    pub pongs: [Option<Pong>; 2],
}

/// The answer to a PING rides in the answerer's next PING, instead of being a message of its own as in the document: it
/// costs no envelope and no signature, and hold times of one heartbeat do not hurt four timestamps.
///
/// "Your PING with this stamp reached me, and this is how long I have held it since." With the stamps of both PINGs and
/// their arrivals that makes the four timestamps of NTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pong {
    /// Whose PING.
    pub node_id: NodeId,
    /// The stamp of that PING.
    pub ping_timestamp: WallTime,
    /// From its arrival to the sending of this.
    #[serde(with = "crate::units::seconds")]
    pub held: Span,
    /// Whether it came over a connection that the answerer dialled: if so, the other need not dial in any more.
    pub direct: bool,
}

/// "Have you heard this member?"
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerProbe {
    /// The suspect.
    pub node_id: NodeId,
    /// How long the asker has not heard it.
    #[serde(with = "crate::units::seconds")]
    pub silent_for: Span,
}

/// "I have heard it since." There is no negative answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSeen {
    /// The suspect.
    pub node_id: NodeId,
    /// How long ago it was heard.
    #[serde(with = "crate::units::seconds")]
    pub silent_for: Span,
}

/// "I stop now." The sender stays a member, dead at once.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goodbye {}

/// A job, offered to all. Its id is the hash of submitter, counter and the encoded body.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(into = "JobFields", try_from = "JobFields")]
pub struct JobBroadcast {
    /// Counts the jobs of the submitter, over restarts.
    pub counter: u64,
    /// Who submits; only it may broadcast.
    pub submitter: NodeId,
    /// What is to be run.
    pub body: JobBody,
}

/// What a job is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JobBody {
    /// Which capability it needs.
    pub job_type: String,
    /// In the job type's own terms.
    pub command: String,
    /// Between 0 and 1.
    pub priority: Ppm,
    /// When it was submitted, by the submitter's synchronised clock.
    pub submitted: WallTime,
    /// When it is of no use any more.
    pub deadline: WallTime,
    /// What is offered.
    pub payment: Tokens,
    /// Further capabilities; at most 16.
    pub requirements: Vec<String>,
    /// What a claim needs.
    pub consistency: Consistency,
    /// How often it is run at most, where running it fails; at least 1.
    pub max_attempts: u32,
}

/// A job as the document writes it: flat, and with its id, which is checked when it is read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFields {
    job_id: JobId,
    job_type: String,
    command: String,
    priority: Ppm,
    submitted: WallTime,
    deadline: WallTime,
    payment: Tokens,
    requirements: Vec<String>,
    consistency: Consistency,
    max_attempts: u32,
    submitter: NodeId,
    counter: u64,
}

impl From<JobBroadcast> for JobFields {
    fn from(job: JobBroadcast) -> JobFields {
        let mut encoded = Vec::new();
        binary::encode_into(&job.body, &mut encoded);
        let JobBroadcast { counter, submitter, body } = job;
        let job_id = JobId::of_job(submitter, counter, &encoded);
        let JobBody { job_type, command, priority, submitted, deadline, payment, requirements, .. } = body;
        let JobBody { consistency, max_attempts, .. } = body;
        JobFields {
            job_id,
            job_type,
            command,
            priority,
            submitted,
            deadline,
            payment,
            requirements,
            consistency,
            max_attempts,
            submitter,
            counter,
        }
    }
}

impl TryFrom<JobFields> for JobBroadcast {
    type Error = String;

    fn try_from(fields: JobFields) -> Result<JobBroadcast, String> {
        let JobFields { job_id, submitter, counter, .. } = fields;
        let JobFields { job_type, command, priority, submitted, deadline, payment, requirements, .. } = fields;
        let JobFields { consistency, max_attempts, .. } = fields;
        let body = JobBody {
            job_type,
            command,
            priority,
            submitted,
            deadline,
            payment,
            requirements,
            consistency,
            max_attempts,
        };
        let mut encoded = Vec::new();
        binary::encode_into(&body, &mut encoded);
        let expected = JobId::of_job(submitter, counter, &encoded);
        if job_id != expected {
            return Err(format!("the job's id is {expected}, not {job_id}"));
        }
        Ok(JobBroadcast { counter, submitter, body })
    }
}

/// What a claim needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// A quorum of all known members.
    #[default]
    Quorum,
    /// A quorum of all where one can be reached, and else of those that can: such a claim is provisional (protocol.md, section 10).
    Available,
}

/// An offer to run a job, or a decline, directed to the coordinator of the round.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobBid {
    /// The job.
    pub job_id: JobId,
    /// The round whose coordinator this is for.
    pub round: u32,
    /// Nothing: declined.
    pub offer: Option<Offer>,
}

/// What a bidder offers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// How well it suits the bidder, from its free capacity.
    pub score: Ppm,
    /// Bound by a claim.
    pub stake: Tokens,
    /// When it expects to be done, from now.
    #[serde(with = "crate::units::seconds")]
    pub estimated_completion: Span,
}

/// The coordinator's proposal for a round.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuctionCoordinate {
    /// The job.
    pub job_id: JobId,
    /// The round.
    pub round: u32,
    /// Digest of the electorate this is for: voters with another do not vote.
    pub electorate: ElectorateId,
    /// The best offer.
    pub winner_id: NodeId,
    /// The second best.
    pub backup_id: Option<NodeId>,
    /// How many offers there were.
    pub bids: u32,
    /// The best of them, best first, so that the first is the winner's. At most `listed_bids`: a list of all would be the
    /// largest message of a job.
    pub best: Vec<ListedBid>,
}

/// An offer as a coordinator ranked it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedBid {
    /// Who: its place in the sorted electorate, which is fifteen bytes less than its id to each member.
    pub bidder: u32,
    /// Its rank in the coordinator's eyes: score and trust together, in hundredths of a per cent.
    pub rank: u32,
}

/// A vote for the winner of a round, directed to it. What is signed is [`crate::quorum::Statement`], which the winner rebuilds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimVote {
    /// The job.
    pub job_id: JobId,
    /// The round.
    pub round: u32,
    /// The voter's signature over the statement.
    pub vote_signature: Signature,
}

/// "I hold a certificate for this round and run the job." The certificate goes to submitter and backup; others may ask.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobClaim {
    /// The job.
    pub job_id: JobId,
    /// The round.
    pub round: u32,
}

/// A claim certificate: the statement, who voted, and their signatures.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimCertificate {
    /// What was voted for.
    pub statement: crate::quorum::Statement,
    /// One bit per member of the sorted electorate, lowest bit first.
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub voters: Vec<u8>,
    /// Their signatures, in that order.
    pub signatures: Vec<Signature>,
    /// Of a provisional claim, one bit per member of the sorted electorate that could be reached; of any other, nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "crate::wire::json::base64_bytes")]
    pub reachable: Vec<u8>,
}

/// "Show me the certificate of your claim."
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// The job.
    pub job_id: JobId,
}

/// "I am still running it", to submitter and backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobHeartbeat {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim.
    pub round: u32,
    /// Between 0 and 1, as far as the executor knows.
    pub progress: Ppm,
}

/// How a job ended: to the submitter with output, to backup and coordinator without.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobResult {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim under which it ran.
    pub round: u32,
    /// How it ended.
    pub status: JobStatus,
    /// The beginning of what it printed: at most [`OUTPUT_CHUNK`] bytes.
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub output: Vec<u8>,
    /// How many bytes of output there are; those that are missing here are asked for with OUTPUT_REQUEST.
    pub output_bytes: u32,
    /// Whether the output was longer than `max_output_bytes`, so that its end is lost.
    pub truncated: bool,
    /// How long it ran.
    #[serde(with = "crate::units::seconds")]
    pub duration: Span,
}

/// "The executor of the claim that named me its backup is gone: vote for me", to all. Who saw that claim and holds its
/// executor for dead, or has the submitter's LEASE_LAPSED, votes for the sender in this round.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Takeover {
    /// The job.
    pub job_id: JobId,
    /// The round in which the backup wants to run it: later than the round of the claim that named it.
    pub round: u32,
    /// Digest of the electorate this is for, as in [`AuctionCoordinate`].
    pub electorate: ElectorateId,
}

/// The submitter's word, to all: the claim of this round brings no result any more, so the job may be claimed in a later one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseLapsed {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim.
    pub round: u32,
}

/// "Send me the output from here on."
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRequest {
    /// The job.
    pub job_id: JobId,
    /// Where to begin, in bytes.
    pub offset: u32,
}

/// A piece of a job's output.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputChunk {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim under which it ran.
    pub round: u32,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// At most [`OUTPUT_CHUNK`] bytes.
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub bytes: Vec<u8>,
}

/// "I could not hear everyone: tell me what is still open of what you said", to all. Each answers for itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateRequest {
    /// Since when; zero asks for everything.
    pub since: WallTime,
}
