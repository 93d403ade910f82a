//! What members say of each other (protocol.md, section 9).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::units::Ppm;

/// Members in one REPUTATION_UPDATE at most; who has seen more of them reports in turn.
pub const MAX_REPORTED: usize = 64;

/// What the sender has seen itself of others.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReputationUpdate {
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
