//! Routes inputs to the sub-machines; the only file that knows more than one of them. SKELETON: being written.

use rand_chacha::ChaCha8Rng;

use crate::config::{Config, ConfigError};
use crate::id::{JobId, NodeId, PeerIdx};
use crate::identity::Keys;
use crate::io::{Event, FailReason, Input, JobStatus, Outbox, PeerState, Verify};
use crate::metrics::Metrics;
use crate::time::{Now, Span, Time};

/// One node of the network: the whole protocol, without clock, randomness, sockets or files.
#[derive(Clone, Debug)]
pub struct Node {
    config: Config,
    keys: Keys,
    rng: ChaCha8Rng,
    metrics: Metrics,
}

impl Node {
    /// A node that has not started yet. `rng` is its only source of randomness.
    ///
    /// # Errors
    /// A configuration field out of bounds.
    pub fn new(config: Config, keys: Keys, rng: ChaCha8Rng) -> Result<Node, ConfigError> {
        config.validate()?;
        Ok(Node { config, keys, rng, metrics: Metrics::default() })
    }

    /// Takes one input and appends what follows from it to `out`, which the caller clears. Never fails, never blocks.
    ///
    /// The driver's contract: apply the actions in order, and finish a `Persist` durably before any `Send` after it; wake at
    /// [`Node::next_deadline`] or earlier and ask again after every call; `now.mono` never goes back.
    pub fn handle(&mut self, now: Now, input: Input<'_>, verify: &mut dyn Verify, out: &mut Outbox) {
        let _ = (now, input, verify, &self.rng);
        out.report(Event::Pinged);
    }

    /// When the node wants to be woken, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// A read-only look inside, for status, metrics and checkers.
    #[must_use]
    pub fn view(&self) -> NodeView<'_> {
        NodeView { node: self }
    }

    /// Asserts what must always hold, in constant time; the simulator calls it after every event.
    pub fn check_invariants(&self) {}
}

/// A read-only look inside a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    node: &'a Node,
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
    /// Silence since it was last heard, if ever.
    pub silent_for: Option<Span>,
    /// Last measured round trip.
    pub round_trip: Option<Span>,
    /// Last measured offset of its clock to ours, in microseconds.
    pub clock_offset_us: Option<i64>,
    /// What it can run.
    pub capabilities: &'a [String],
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

impl<'a> NodeView<'a> {
    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.node.keys.id()
    }

    /// The configuration it runs with.
    #[must_use]
    pub fn config(&self) -> &'a Config {
        &self.node.config
    }

    /// Its start count.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        0
    }

    /// How many members it knows, itself included; they are numbered from 0.
    #[must_use]
    pub fn members(&self) -> u32 {
        1
    }

    /// The id of a member.
    #[must_use]
    pub fn peer_id(&self, peer: PeerIdx) -> NodeId {
        let _ = peer;
        self.id()
    }

    /// How a member is seen; the node itself is `Alive`.
    #[must_use]
    pub fn peer_state(&self, peer: PeerIdx) -> PeerState {
        let _ = peer;
        PeerState::Alive
    }

    /// Every member but the node itself.
    pub fn peers(&self, now: Time) -> impl Iterator<Item = PeerView<'a>> {
        let _ = now;
        std::iter::empty()
    }

    /// Every job it keeps, in the order of their ids.
    pub fn jobs(&self) -> impl Iterator<Item = JobView<'a>> {
        std::iter::empty()
    }

    /// One job, if it is kept.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<JobView<'a>> {
        let _ = job;
        None
    }

    /// Reachable members, itself included.
    #[must_use]
    pub fn reachable(&self) -> u32 {
        1
    }

    /// Votes that a certificate needs, by the members it knows.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        crate::quorum::quorum(self.members())
    }

    /// Whether it is degraded: the document's `partition_detected`.
    #[must_use]
    pub fn degraded(&self) -> bool {
        false
    }

    /// Blacklisted senders.
    #[must_use]
    pub fn blacklisted(&self) -> u32 {
        0
    }

    /// The offset it applies to its own wall clock, in microseconds.
    #[must_use]
    pub fn clock_offset_us(&self) -> i64 {
        0
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &'a Metrics {
        &self.node.metrics
    }
}
