//! A job as its auction sees it.

use crate::auction::round::Promise;
use crate::cx::Ctx;
use crate::id::{ElectorateId, JobId, NodeId, PeerIdx};
use crate::membership::Members;
use crate::quorum::Statement;
use crate::time::Time;
use crate::wire::Signature;
use crate::wire::message::{ClaimCertificate, ClaimVote, JobBroadcast, Offer};

/// A job and where its auction stands.
#[derive(Clone, Debug)]
pub struct Job {
    /// The job as its submitter broadcast it.
    pub broadcast: JobBroadcast,
    /// The round this node is in.
    pub round: u32,
    /// Who holds the claim, and of which round.
    pub claim: Option<(u32, NodeId)>,
    /// The certificate, where this node holds it.
    pub certificate: Option<ClaimCertificate>,
    /// The newest proposal accepted.
    pub proposal: Option<Proposal>,
    pub(super) coordinator: NodeId,
    pub(super) bids: Vec<(NodeId, Option<Offer>)>,
    pub(super) closed: Option<u32>,
    pub(super) promise: Promise,
    pub(super) votes: Vec<(NodeId, Signature)>,
    pub(super) early_votes: Vec<(PeerIdx, ClaimVote)>,
    /// Whom this node has asked to prove which claim.
    pub(super) asked_for_certificate: Option<(u32, NodeId)>,
}

/// A coordinator's proposal that passed this node's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its round.
    pub round: u32,
    /// Who made it.
    pub coordinator: NodeId,
    /// Who shall run the job.
    pub winner: NodeId,
    /// Who shall watch.
    pub backup: Option<NodeId>,
    /// Whose votes count.
    pub electorate: ElectorateId,
}

impl Job {
    pub(super) fn new(broadcast: JobBroadcast, promise: Promise) -> Job {
        Job {
            broadcast,
            round: 0,
            claim: None,
            certificate: None,
            proposal: None,
            coordinator: NodeId::default(),
            bids: Vec::new(),
            closed: None,
            promise,
            votes: Vec::new(),
            early_votes: Vec::new(),
            asked_for_certificate: None,
        }
    }

    /// Until when the claim holds: extended by every sign of life of its holder (6.4).
    pub(super) fn lease_until(&self, cx: &Ctx<'_>, members: &Members, claimer: NodeId) -> Time {
        let heard = match members.find(claimer) {
            Some(PeerIdx::SELF) => Some(cx.now.mono),
            Some(peer) => members.peer(peer).last_heard,
            None => None,
        };
        self.promise.lease_until.max(heard.unwrap_or_default() + cx.config.lease)
    }
}

impl Proposal {
    /// What a vote for it signs.
    #[must_use]
    pub fn statement(&self, job_id: JobId) -> Statement {
        let Proposal { round, winner, backup, electorate, .. } = *self;
        Statement { job_id, round, winner, backup, electorate }
    }
}
