//! What the world sees, in the world's own numbers: the one stream that KPIs and checks are computed from.

use marlos::id::{JobId, TxId};
use marlos::io::{FailReason, JobStatus, PeerState, Refusal};
use marlos::ledger::Supply;
use marlos::time::{Span, Time};
use marlos::wire::MsgType;

use crate::scenario::NodeNo;

/// One thing that happened at a node, or to the network.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Observation<'a> {
    /// A node's process started, for the first time or again.
    NodeStarted { node: NodeNo, restart: bool },
    /// A node says goodbye; its process ends a moment later.
    NodeLeaving { node: NodeNo },
    /// A node's process ended.
    NodeStopped { node: NodeNo, how: Stop },
    /// A crash took the last records of a node's store, written since then and not durable; of the first half may have been left.
    StoreCut { node: NodeNo, records: u64, since: Time, torn: bool },
    /// It stands still, or goes on.
    NodePaused { node: NodeNo, paused: bool },
    /// A node is not honest any more; [`Truth::honest`] says so already.
    NodeTurned { node: NodeNo },
    /// A misbehaving node did so many things that no honest node does.
    Misdeeds { node: NodeNo, behaviour: &'static str, count: u64 },
    /// Who can reach whom has changed; [`Truth::reaches`] is already new.
    ReachChanged,
    /// A node accepted a frame: `frame` numbers every sealed frame of the run from 0, `sender` is who really sent it.
    Accepted { node: NodeNo, sender: NodeNo, claimed: NodeNo, kind: MsgType, frame: u64, latency: Span },
    /// A node refused something.
    Refused { node: NodeNo, reason: Refusal },
    /// A node blacklisted a member.
    Blacklisted { node: NodeNo, peer: NodeNo },
    /// Misbehaviour of a member is proven to a node.
    Proven { node: NodeNo, peer: NodeNo },
    /// A node gives a member no more work but trials.
    Quarantined { node: NodeNo, peer: NodeNo },
    /// A node broadcast its heartbeat.
    Pinged { node: NodeNo },
    /// A node met a member for the first time.
    Discovered { node: NodeNo, peer: NodeNo },
    /// A node counts a member that its store remembers, and has not met in this life.
    Recalled { node: NodeNo, peer: NodeNo },
    /// A node sees a member differently now.
    PeerState { node: NodeNo, peer: NodeNo, state: PeerState },
    /// A node's digest of what must be equal everywhere is another now.
    Digest { node: NodeNo, digest: u64 },
    /// A node has another key from now on.
    KeyRotated { node: NodeNo },
    /// A node became degraded, or recovered.
    Degraded { node: NodeNo, degraded: bool },
    /// Bytes left a node: `copies` receivers, `bytes` each with topic and framing. A bundle is reported once per kind in it.
    Sent { node: NodeNo, kind: MsgType, bytes: u64, copies: u64 },
    /// A link dropped frames: cut, reset, or over its high-water mark.
    FramesCut { count: u64 },
    /// A UDP datagram or TCP segment was lost by chance.
    SegmentLost { udp: bool },
    /// Something else than loss happened to a datagram.
    DatagramMishap { mishap: Mishap },
    /// A job was accepted from a client at this node.
    JobSubmitted { node: NodeNo, job: JobId },
    /// A client's job was not accepted.
    SubmitRefused { node: NodeNo },
    /// A node other than its submitter learned of a job.
    JobSeen { node: NodeNo, job: JobId },
    /// A coordinator named a winner.
    AuctionClosed { node: NodeNo, job: JobId, round: u32, winner: NodeNo },
    /// A node voted.
    Voted { node: NodeNo, job: JobId, round: u32, winner: NodeNo },
    /// A node holds a certificate: `certificate` is the encoded `ClaimCertificate`.
    Certified { node: NodeNo, job: JobId, round: u32, votes: u32, members: u32, certificate: &'a [u8] },
    /// A node learned who runs a job.
    ClaimLearned { node: NodeNo, job: JobId, round: u32, claimer: NodeNo },
    /// A node told its driver to run a job.
    ExecutionStarted { node: NodeNo, job: JobId, round: u32 },
    /// An execution ended by itself (`false`: it was cancelled).
    ExecutionEnded { node: NodeNo, job: JobId, by_itself: bool },
    /// A node stopped an execution because a later claim has fenced it.
    Fenced { node: NodeNo, job: JobId },
    /// A submitter has a result.
    JobCompleted { node: NodeNo, job: JobId, executor: NodeNo, status: JobStatus },
    /// A submitter gave a job up, visibly.
    JobFailed { node: NodeNo, job: JobId, reason: FailReason },
    /// A node voted for a transaction of an account.
    TransactionVoted { node: NodeNo, account: NodeNo, seq: u64, transaction: TxId },
    /// A payer's transaction is certified: `certificate` is the encoded `TokenTransaction` and the `AccountRecord` it proves.
    TransactionCertified { node: NodeNo, seq: u64, certificate: &'a [u8] },
    /// A node has applied what an account has paid; `supply` is all money as it sees it, where that was counted.
    TransactionApplied { node: NodeNo, account: NodeNo, seq: u64, row: [u8; 32], supply: Option<Supply> },
    /// A submitter holds the votes for a penalty: `certificate` is the encoded `PenaltyRecords`.
    PenaltyCertified { node: NodeNo, claimer: NodeNo, number: u64, certificate: &'a [u8] },
    /// A node has taken stakes of a claimer and given them to a submitter; `supply` as above.
    PenaltyApplied { node: NodeNo, submitter: NodeNo, claimer: NodeNo, number: u64, supply: Option<Supply> },
}

/// What can happen to a datagram, besides loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It came twice.
    Duplicated,
    /// It was held up, for others to overtake it.
    Reordered,
    /// It was changed on its way: dropped for its checksum, or delivered where that did not tell.
    Corrupted,
}

impl Mishap {
    /// Each, in the order of the kinds.
    pub const ALL: [Mishap; 3] = [Mishap::Duplicated, Mishap::Reordered, Mishap::Corrupted];

    /// The counter of it. Where it never happens, no summary has it.
    #[must_use]
    pub fn counter(self) -> &'static str {
        ["datagrams_duplicated", "datagrams_reordered", "datagrams_corrupted"][self as usize]
    }
}

/// What `[expect]` of a scenario can count.
pub const COUNTERS: &[&str] = &[
    "frames_cut",
    "segments_lost",
    "datagrams_duplicated",
    "datagrams_reordered",
    "datagrams_corrupted",
    "deaths_detected",
    "false_deaths",
    "rejoins",
    "degraded",
    "recovered",
    "jobs_submitted",
    "jobs_completed",
    "jobs_failed",
    "votes",
    "certificates",
    "certificates_provisional",
    "transactions",
    "penalties",
    "rounds_beyond_first",
    "refused",
    "misdeeds",
    "nodes_byzantine",
    "evidence_proven",
    "blacklisted_byzantine",
    "quarantined_byzantine",
    "restarts",
    "keys_rotated",
    "records_lost",
    "records_torn",
    "duplicate_executions",
    "executions_fenced",
    "quarantines",
    "takeovers",
];

impl Observation<'_> {
    /// The observation for keeping, without a certificate's bytes; nothing where it is traffic and no change of state.
    #[must_use]
    pub fn lasting(&self) -> Option<Observation<'static>> {
        Some(match *self {
            Observation::Accepted { .. }
            | Observation::Sent { .. }
            | Observation::Pinged { .. }
            | Observation::Digest { .. }
            | Observation::FramesCut { .. }
            | Observation::Misdeeds { .. }
            | Observation::DatagramMishap { .. }
            | Observation::SegmentLost { .. } => return None,
            Observation::Certified { node, job, round, votes, members, .. } => {
                Observation::Certified { node, job, round, votes, members, certificate: &[] }
            }
            Observation::NodeStarted { node, restart } => Observation::NodeStarted { node, restart },
            Observation::NodeLeaving { node } => Observation::NodeLeaving { node },
            Observation::NodeStopped { node, how } => Observation::NodeStopped { node, how },
            Observation::StoreCut { node, records, since, torn } => {
                Observation::StoreCut { node, records, since, torn }
            }
            Observation::KeyRotated { node } => Observation::KeyRotated { node },
            Observation::NodePaused { node, paused } => Observation::NodePaused { node, paused },
            Observation::NodeTurned { node } => Observation::NodeTurned { node },
            Observation::Proven { node, peer } => Observation::Proven { node, peer },
            Observation::ReachChanged => Observation::ReachChanged,
            Observation::Refused { node, reason } => Observation::Refused { node, reason },
            Observation::Blacklisted { node, peer } => Observation::Blacklisted { node, peer },
            Observation::Quarantined { node, peer } => Observation::Quarantined { node, peer },
            Observation::Discovered { node, peer } => Observation::Discovered { node, peer },
            Observation::Recalled { node, peer } => Observation::Recalled { node, peer },
            Observation::PeerState { node, peer, state } => Observation::PeerState { node, peer, state },
            Observation::Degraded { node, degraded } => Observation::Degraded { node, degraded },
            Observation::JobSubmitted { node, job } => Observation::JobSubmitted { node, job },
            Observation::SubmitRefused { node } => Observation::SubmitRefused { node },
            Observation::JobSeen { node, job } => Observation::JobSeen { node, job },
            Observation::AuctionClosed { node, job, round, winner } => {
                Observation::AuctionClosed { node, job, round, winner }
            }
            Observation::Voted { node, job, round, winner } => Observation::Voted { node, job, round, winner },
            Observation::ClaimLearned { node, job, round, claimer } => {
                Observation::ClaimLearned { node, job, round, claimer }
            }
            Observation::ExecutionStarted { node, job, round } => Observation::ExecutionStarted { node, job, round },
            Observation::ExecutionEnded { node, job, by_itself } => {
                Observation::ExecutionEnded { node, job, by_itself }
            }
            Observation::Fenced { node, job } => Observation::Fenced { node, job },
            Observation::JobCompleted { node, job, executor, status } => {
                Observation::JobCompleted { node, job, executor, status }
            }
            Observation::JobFailed { node, job, reason } => Observation::JobFailed { node, job, reason },
            Observation::TransactionVoted { node, account, seq, transaction } => {
                Observation::TransactionVoted { node, account, seq, transaction }
            }
            Observation::TransactionCertified { node, seq, .. } => {
                Observation::TransactionCertified { node, seq, certificate: &[] }
            }
            Observation::TransactionApplied { node, account, seq, row, supply } => {
                Observation::TransactionApplied { node, account, seq, row, supply }
            }
            Observation::PenaltyCertified { node, claimer, number, .. } => {
                Observation::PenaltyCertified { node, claimer, number, certificate: &[] }
            }
            Observation::PenaltyApplied { node, submitter, claimer, number, supply } => {
                Observation::PenaltyApplied { node, submitter, claimer, number, supply }
            }
        })
    }

    /// Whether it is a change of state, and not traffic.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !matches!(
            self,
            Observation::Accepted { .. }
                | Observation::Sent { .. }
                | Observation::Pinged { .. }
                | Observation::Digest { .. }
                | Observation::FramesCut { .. }
                | Observation::Misdeeds { .. }
                | Observation::DatagramMishap { .. }
                | Observation::SegmentLost { .. }
        )
    }

    /// Whose word it is, where it is a node's own and not the world's.
    #[must_use]
    #[inline]
    pub fn reporter(&self) -> Option<NodeNo> {
        match *self {
            Observation::NodeStarted { .. }
            | Observation::NodeLeaving { .. }
            | Observation::NodeStopped { .. }
            | Observation::StoreCut { .. }
            | Observation::NodePaused { .. }
            | Observation::NodeTurned { .. }
            | Observation::Misdeeds { .. }
            | Observation::KeyRotated { .. }
            | Observation::ReachChanged
            | Observation::FramesCut { .. }
            | Observation::DatagramMishap { .. }
            | Observation::SegmentLost { .. } => None,
            Observation::Accepted { node, .. }
            | Observation::Refused { node, .. }
            | Observation::Blacklisted { node, .. }
            | Observation::Proven { node, .. }
            | Observation::Quarantined { node, .. }
            | Observation::Pinged { node }
            | Observation::Discovered { node, .. }
            | Observation::Recalled { node, .. }
            | Observation::PeerState { node, .. }
            | Observation::Digest { node, .. }
            | Observation::Degraded { node, .. }
            | Observation::Sent { node, .. }
            | Observation::JobSubmitted { node, .. }
            | Observation::SubmitRefused { node }
            | Observation::JobSeen { node, .. }
            | Observation::AuctionClosed { node, .. }
            | Observation::Voted { node, .. }
            | Observation::Certified { node, .. }
            | Observation::ClaimLearned { node, .. }
            | Observation::ExecutionStarted { node, .. }
            | Observation::ExecutionEnded { node, .. }
            | Observation::Fenced { node, .. }
            | Observation::JobCompleted { node, .. }
            | Observation::JobFailed { node, .. }
            | Observation::TransactionVoted { node, .. }
            | Observation::TransactionCertified { node, .. }
            | Observation::TransactionApplied { node, .. }
            | Observation::PenaltyCertified { node, .. }
            | Observation::PenaltyApplied { node, .. } => Some(node),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It crashed and kept its store.
    CrashKept,
    /// It crashed and lost its store.
    CrashLost,
    /// It crashed and lost what its store had not made durable.
    CrashUnsynced,
    /// It said goodbye.
    Leave,
}

/// What is really so, which no node knows. Kept by the world, current at every observation.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Simulated time.
    pub now: Time,
    /// Number of the event being handled, from 1.
    pub event: u64,
    /// Whether each node has ever been started.
    pub started: Vec<bool>,
    /// Whether each node's process runs (paused ones run).
    pub up: Vec<bool>,
    /// Whether each node is paused.
    pub paused: Vec<bool>,
    /// Whether each node has ever misbehaved.
    pub byzantine: Vec<bool>,
    /// `reaches[from][to]`: whether the network carries frames that way now; faults only, not who is up.
    pub reaches: Vec<Vec<bool>>,
    /// The least and the most by which the wall clock of any honest node has been ahead so far, in microseconds.
    pub clocks_ahead_us: (i64, i64),
    /// The present public key of each node, by number.
    pub public_keys: Vec<[u8; 32]>,
    /// Those that each had before, and until when, oldest first.
    pub old_keys: Vec<Vec<(Time, [u8; 32])>>,
    /// The id of each node, by number.
    pub ids: Vec<marlos::id::NodeId>,
}

impl Truth {
    /// Whether this node can take part now.
    #[must_use]
    pub fn live(&self, node: NodeNo) -> bool {
        self.up[node] && !self.paused[node]
    }

    /// The key that a node had at a moment.
    #[must_use]
    pub fn key_at(&self, node: NodeNo, moment: Time) -> &[u8; 32] {
        let later = self.old_keys[node].iter().find(|(until, _)| moment < *until);
        later.map_or(&self.public_keys[node], |(_, key)| key)
    }

    /// Whether a node has never misbehaved: only such a node is judged, and only its word is taken.
    #[must_use]
    #[inline]
    pub fn honest(&self, node: NodeNo) -> bool {
        !self.byzantine[node]
    }

    /// How far the wall clocks of honest nodes have been apart at most. What nodes make of the network's time lies within that,
    /// however long ago they last measured it.
    #[must_use]
    pub fn clocks_apart(&self) -> Span {
        Span(self.clocks_ahead_us.0.abs_diff(self.clocks_ahead_us.1))
    }

    /// Whether frames pass both ways between two nodes.
    #[must_use]
    pub fn connected(&self, a: NodeNo, b: NodeNo) -> bool {
        self.reaches[a][b] && self.reaches[b][a]
    }
}
