//! A job as its auction sees it.

use bincode::{Decode, Encode};

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
    /// The newest claim that is known.
    pub claim: Option<Claim>,
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
    /// A backup's wish to run the job, until the claim that it is about is seen to be over.
    pub(super) takeover: Option<Proposal>,
    /// Whom this node has asked to prove which claim.
    pub(super) asked_for_certificate: Option<(u32, NodeId)>,
}

/// Who may run a job, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// Its round.
    pub round: u32,
    /// Who holds it.
    pub claimer: NodeId,
    /// Who may ask for a later round directly once the claimer is gone.
    pub backup: Option<NodeId>,
    /// Whether only a part of the network has granted it (protocol.md, section 10).
    pub provisional: bool,
    /// Whether, and why, it brings no result any more.
    pub lapsed: Option<Lapse>,
}

/// Why a claim brings no result any more (protocol.md, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Lapse {
    /// Its submitter says so.
    Told,
    /// This node saw its holder die or leave. If it was wrong, the claim stands again.
    Seen,
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
    /// Whether those are the reachable alone.
    pub provisional: bool,
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
            takeover: None,
            asked_for_certificate: None,
        }
    }

    /// Enters a round.
    pub(super) fn begin(&mut self, round: u32, coordinator: NodeId) {
        assert!(round >= self.round, "rounds only grow");
        self.round = round;
        self.coordinator = coordinator;
        self.bids.clear();
    }

    /// The claim, unless it has lapsed.
    #[must_use]
    pub fn standing(&self) -> Option<Claim> {
        self.claim.filter(|claim| claim.lapsed.is_none())
    }

    /// Until when the claim holds: extended by every sign of life of its holder (6.4).
    pub(super) fn lease_until(&self, cx: &Ctx<'_>, members: &Members, claimer: NodeId) -> Time {
        let heard = match members.find(claimer) {
            Some(PeerIdx::SELF) => Some(cx.now.mono),
            Some(peer) => members.peer(peer).last_heard(),
            None => None,
        };
        self.promise.lease_until.max(heard.unwrap_or_default() + cx.config.lease)
    }
}

impl Proposal {
    /// The claim that enough votes for it make.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let Proposal { round, winner: claimer, backup, provisional, .. } = *self;
        Claim { round, claimer, backup, provisional, lapsed: None }
    }

    /// What a vote for it signs.
    #[must_use]
    pub fn statement(&self, job_id: JobId) -> Statement {
        let Proposal { round, winner, backup, electorate, .. } = *self;
        Statement { job_id, round, winner, backup, electorate }
    }
}
