//! What members say of each other, and what proves it (protocol.md, sections 5 and 9).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{Announce, KeyLink, MAX_ROTATIONS};
use crate::id::NodeId;
use crate::quorum::Statement;
use crate::units::Ppm;
use crate::wire::Signature;

/// Members in one REPUTATION_UPDATE at most; who has seen more of them reports in turn.
pub const MAX_REPORTED: usize = 64;
/// Bytes of a frame that is evidence at most: a proposal by itself has some 250, in JSON four times as many, and a transaction of
/// 64 transfers to ten payees 2,100.
pub const MAX_EVIDENCE_FRAME: usize = 4_096;

/// What the sender has seen itself of others.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReputationUpdate {
    /// A digest of whose misbehaviour is proven to the sender: where it differs, evidence is passed on.
    pub proven_digest: u32,
    /// At most 64 at a time.
    pub reports: Vec<TrustReport>,
}

/// What was seen of one member. The document has one of these for each message, and a rate where this has a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustReport {
    /// Of whom.
    pub node_id: NodeId,
    /// The sender's own score of it.
    pub trust_score: Ppm,
    /// Deeds that the score rests on.
    pub total_jobs: u32,
    /// Those of them that were good.
    pub good_jobs: u32,
}

impl ReputationUpdate {
    pub(super) fn within_limits(&self) -> bool {
        let sound = |report: &TrustReport| report.trust_score <= Ppm::ONE && report.good_jobs <= report.total_jobs;
        self.reports.len() <= MAX_REPORTED && self.reports.iter().all(sound)
    }
}

/// Contradiction of misbehaviour: whoever knows the author's key can check it (protocol.md, section 5).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Whom it accuses.
    pub author: NodeId,
    /// The accused's rotations, as far as who found it knows them: each statement is signed by one of its keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<KeyLink>,
    /// What it signed.
    pub proof: Contradiction,
}

/// Two statements of one node that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Contradiction {
    /// Votes for different claims in one round of one job.
    Votes { first: SignedVote, second: SignedVote },
    /// Records of one incarnation, sequence and moment that say different things.
    Announces { first: Box<Announce>, second: Box<Announce> },
    /// Frames of one incarnation, as they came, with different proposals for one round of one job, or transactions of one number.
    Frames {
        #[serde(with = "crate::wire::json::base64_bytes")]
        first: Vec<u8>,
        #[serde(with = "crate::wire::json::base64_bytes")]
        second: Vec<u8>,
    },
    /// Two rotations of the key at the end of `rotations`.
    Rotations { first: KeyLink, second: KeyLink },
}

/// A vote with what it is for, which a CLAIM_VOTE leaves to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedVote {
    /// What was voted for.
    pub statement: Statement,
    /// The voter's signature over it.
    pub vote_signature: Signature,
}

impl Evidence {
    pub(super) fn within_limits(&self) -> bool {
        if self.rotations.len() > MAX_ROTATIONS {
            return false;
        }
        match &self.proof {
            Contradiction::Votes { .. } | Contradiction::Rotations { .. } => true,
            Contradiction::Announces { first, second } => first.within_limits() && second.within_limits(),
            Contradiction::Frames { first, second } => {
                first.len() <= MAX_EVIDENCE_FRAME && second.len() <= MAX_EVIDENCE_FRAME
            }
        }
    }
}
