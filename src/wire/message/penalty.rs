//! What is said of stakes that are lost (protocol.md, section 8).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::money::proof_within_limits;
use crate::id::{ElectorateId, JobId, NodeId};
use crate::quorum::Proof;
use crate::units::MAX_JSON_INTEGER;
use crate::wire::Signature;

/// Penalties in one PENALTY_RECORDS at most; of more, several are sent.
pub const MAX_PENALTIES: usize = 256;
/// Jobs that one penalty names at most.
pub const MAX_LAPSES_NAMED: usize = 16;

/// "By what I saw, this claimer has let you down so many times." Directed to the submitter. What is signed is
/// [`crate::ledger::penalty::PenaltyStatement`], which the submitter rebuilds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PenaltyVote {
    /// Who held the claims.
    pub claimer: NodeId,
    /// How many claims of the submitter's jobs it let lapse, in all.
    pub number: u64,
    /// The voter's electorate: a submitter with another does not count the vote.
    pub electorate: ElectorateId,
    /// The voter's signature over the statement.
    pub vote_signature: Signature,
}

/// What a submitter was awarded of the stakes of others. Anyone may pass it on: each record proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PenaltyRecords {
    /// Who gets the stakes.
    pub submitter: NodeId,
    /// At most 256, each of another claimer.
    pub penalties: Vec<PenaltyRecord>,
}

/// How often one claimer has let down one submitter: a quorum says "at least so often".
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PenaltyRecord {
    /// Whose stakes are lost.
    pub claimer: NodeId,
    /// How many, in all.
    pub number: u64,
    /// The jobs that this number adds to the one before, as the submitter counts them: who sees their lapse later does not
    /// count it once more. Believed from the submitter alone, and empty where it is passed on.
    pub jobs: Vec<JobId>,
    /// The votes.
    pub proof: Proof,
}

impl PenaltyVote {
    pub(super) fn within_limits(&self) -> bool {
        self.number <= MAX_JSON_INTEGER
    }
}

impl PenaltyRecords {
    pub(super) fn within_limits(&self) -> bool {
        let sound = |record: &PenaltyRecord| {
            record.number <= MAX_JSON_INTEGER
                && record.jobs.len() <= MAX_LAPSES_NAMED
                && proof_within_limits(&record.proof)
        };
        self.penalties.len() <= MAX_PENALTIES && self.penalties.iter().all(sound)
    }
}
