//! Who runs a job: bids, votes and claims (protocol.md, sections 6 and 7).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::{ElectorateId, JobId, NodeId};
use crate::time::Span;
use crate::units::{Ppm, Tokens};
use crate::wire::Signature;

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
