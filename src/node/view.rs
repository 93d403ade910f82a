//! A read-only look inside: what status, metrics and checkers may see.

use super::Node;
use crate::config::Config;
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{FailReason, JobStatus, PeerState};
use crate::ledger::Supply;
use crate::metrics::Metrics;
use crate::time::{Span, Time};
use crate::units::Ppm;
use crate::units::Tokens;
use crate::wire::message::JobBroadcast;

/// A read-only look inside a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    pub(super) node: &'a Node,
}

/// A member as the node sees it.
#[derive(Clone, Debug)]
pub struct PeerView<'a> {
    /// The node's number for it; 0 is the node itself.
    pub peer: PeerIdx,
    /// Its id.
    pub id: NodeId,
    /// Its name, for people.
    pub name: &'a str,
    /// Where its PUB is.
    pub pub_endpoint: &'a str,
    /// How it is seen.
    pub state: PeerState,
    /// Its start count.
    pub incarnation: u32,
    /// How often it has replaced its key.
    pub key_rotations: u32,
    /// Silence since it was last heard, if ever.
    pub silent_for: Option<Span>,
    /// Last measured round trip.
    pub round_trip: Option<Span>,
    /// Last measured offset of its clock to ours, in microseconds.
    pub clock_offset_us: Option<i64>,
    /// What it can run.
    pub capabilities: &'a [String],
    /// How far this node trusts it.
    pub trust: Ppm,
    /// Whether it gets no work from this node but trials.
    pub quarantined: bool,
}

/// A job as the node sees it.
#[derive(Clone, Debug)]
pub struct JobView<'a> {
    /// Its id.
    pub id: JobId,
    /// Its type.
    pub job_type: &'a str,
    /// Its command.
    pub command: &'a str,
    /// Who submitted it.
    pub submitter: NodeId,
    /// The round its auction is in.
    pub round: u32,
    /// Who runs or ran it, as far as is known.
    pub claimer: Option<NodeId>,
    /// Where it stands.
    pub phase: JobPhase,
}

/// Where a job stands, as one node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// Being auctioned, or waiting for a quorum.
    Open,
    /// Somebody holds a certificate.
    Claimed,
    /// This node runs it.
    Running,
    /// It ended with a result.
    Done(JobStatus),
    /// It ended without.
    Failed(FailReason),
}

impl<'a> JobView<'a> {
    fn of(id: JobId, broadcast: &'a JobBroadcast, round: u32, claimer: Option<NodeId>, phase: JobPhase) -> JobView<'a> {
        let body = &broadcast.body;
        JobView {
            id,
            job_type: &body.job_type,
            command: &body.command,
            submitter: broadcast.submitter,
            round,
            claimer,
            phase,
        }
    }
}

impl<'a> NodeView<'a> {
    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.node.egress.keys().id()
    }

    /// The configuration it runs with.
    #[must_use]
    pub fn config(&self) -> &'a Config {
        &self.node.config
    }

    /// Its start count.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.node.egress.incarnation()
    }

    /// How many members it knows, itself included; they are numbered from 0.
    #[must_use]
    pub fn members(&self) -> u32 {
        u32::try_from(self.node.members.len()).expect("bounded by max_members")
    }

    /// The id of a member.
    #[must_use]
    pub fn peer_id(&self, peer: PeerIdx) -> NodeId {
        self.node.members.id(peer)
    }

    /// How a member is seen; the node itself is `Alive`.
    #[must_use]
    pub fn peer_state(&self, peer: PeerIdx) -> PeerState {
        self.node.members.peer(peer).state
    }

    /// How far this node trusts a member: its own experience and what others say, together. Of itself it has no opinion.
    #[must_use]
    pub fn trust(&self, peer: PeerIdx) -> Ppm {
        self.node.members.peer(peer).standing.trust
    }

    /// Whether a member gets no work from this node but trials.
    #[must_use]
    pub fn quarantined(&self, peer: PeerIdx) -> bool {
        self.node.members.peer(peer).standing.excluded()
    }

    /// How often a member, or the node itself, has replaced its key.
    #[must_use]
    pub fn key_rotations(&self, peer: PeerIdx) -> u32 {
        u32::try_from(self.node.members.peer(peer).record.rotations.len()).expect("bounded by MAX_ROTATIONS")
    }

    /// Every member but the node itself.
    pub fn peers(&self, now: Time) -> impl Iterator<Item = PeerView<'a>> {
        self.node.members.iter().skip(1).map(move |(peer, entry)| PeerView {
            peer,
            id: entry.record.node_id,
            name: &entry.record.node_name,
            pub_endpoint: &entry.record.pub_endpoint,
            state: entry.state,
            incarnation: entry.record.incarnation,
            key_rotations: u32::try_from(entry.record.rotations.len()).expect("bounded by MAX_ROTATIONS"),
            silent_for: entry.last_heard().map(|heard| now.since(heard)),
            round_trip: entry.round_trip(),
            clock_offset_us: entry.clock_offset_us(),
            capabilities: &entry.record.capabilities,
            trust: entry.standing.trust,
            quarantined: entry.standing.excluded(),
        })
    }

    /// Every job it keeps: open ones by id, then its own that have ended.
    pub fn jobs(&self) -> impl Iterator<Item = JobView<'a>> {
        let open = self.node.auctions.iter().filter(|(id, _)| self.node.jobs.ended_job(*id).is_none());
        let open = open.map(|(id, job)| {
            let phase = match job.standing() {
                _ if self.node.jobs.is_running(id) => JobPhase::Running,
                Some(_) => JobPhase::Claimed,
                None => JobPhase::Open,
            };
            let claimer = job.claim.map(|claim| claim.claimer);
            JobView::of(id, &job.broadcast, job.round, claimer, phase)
        });
        let ended = self.node.jobs.ended().map(|(id, ended)| {
            let phase = match ended.end {
                Ok(status) => JobPhase::Done(status),
                Err(reason) => JobPhase::Failed(reason),
            };
            JobView::of(id, &ended.broadcast, 0, ended.executor, phase)
        });
        open.chain(ended)
    }

    /// One job, if it is kept.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<JobView<'a>> {
        self.jobs().find(|view| view.id == job)
    }

    /// Reachable members, itself included.
    #[must_use]
    pub fn reachable(&self) -> u32 {
        self.node.members.reachable()
    }

    /// Votes that a certificate needs, by the members it knows.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        self.node.members.electorate().quorum()
    }

    /// Whether it is degraded: the document's `partition_detected`.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.node.members.degraded()
    }

    /// Blacklisted senders.
    #[must_use]
    pub fn blacklisted(&self, now: Time) -> usize {
        self.node.guard.blacklisted(now)
    }

    /// A digest of what must be equal on all nodes that can reach each other, once news has gone round (protocol.md,
    /// section 10). In constant time: the simulator asks after every event.
    #[must_use]
    pub fn state_digest(&self) -> u64 {
        // Rotated, so that a change here and one there do not cancel out.
        u64::from(self.node.members.records_digest()).rotate_left(32) ^ self.node.ledger.digest()
    }

    /// The offset it applies to its own wall clock, in microseconds.
    #[must_use]
    pub fn clock_offset_us(&self) -> i64 {
        self.node.members.sync_offset_us()
    }

    /// What an account has, as it sees it.
    #[must_use]
    pub fn balance(&self, account: NodeId) -> Tokens {
        self.node.ledger.balance(account)
    }

    /// What an account has and has not bound by open jobs and claims, as it sees it.
    #[must_use]
    pub fn free(&self, account: NodeId) -> Tokens {
        self.node.ledger.free(account)
    }

    /// What an account has reserved for its jobs, and staked on its claims, as this node sees it.
    #[must_use]
    pub fn bound(&self, account: NodeId) -> (Tokens, Tokens) {
        self.node.ledger.bound(account)
    }

    /// Every account it knows with what it has, by id.
    pub fn accounts(&self) -> impl Iterator<Item = (NodeId, Tokens)> {
        self.node.ledger.accounts()
    }

    /// All money it knows of, counted anew: linear in payers and payees.
    #[must_use]
    pub fn supply(&self) -> Supply {
        self.node.ledger.supply()
    }

    /// One number for all certified transactions it has applied: equal where two nodes have applied the same.
    #[must_use]
    pub fn ledger_digest(&self) -> u64 {
        self.node.ledger.digest()
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &'a Metrics {
        &self.node.metrics
    }
}
