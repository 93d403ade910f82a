//! What the node tells: the log, the event stream, the metrics, the results of local jobs, and answers to who asks.

pub mod answers;
pub mod results;
pub mod text;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use self::results::Results;
use super::refusals::Refusals;
use crate::Node;
use crate::io::{Event, JobStatus, Outbox};
use crate::metrics::Tally;
use crate::time::{Span, Time};

/// Events that a slow listener may be behind.
const STREAM: usize = 1_024;

/// Where events are published to whoever listens.
#[derive(Clone, Debug)]
pub struct Hub(broadcast::Sender<Said>);

/// One event for the stream.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its name.
    pub name: &'static str,
    /// One line of JSON.
    pub json: String,
}

impl Default for Hub {
    fn default() -> Hub {
        Hub(broadcast::channel(STREAM).0)
    }
}

impl Hub {
    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Said> {
        self.0.subscribe()
    }
}

/// Takes the node's events.
#[derive(Debug)]
pub struct Reporter {
    hub: Hub,
    started: Instant,
    results: Results,
    refusals: Arc<Refusals>,
    counts: Counts,
    tally: Tally,
    /// Bytes that the connections had moved when the tally was last told.
    told_bytes: u64,
}

/// Events that the node's own metrics do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Local jobs by their end.
    pub submitted: u64,
    /// With a result of success.
    pub succeeded: u64,
    /// With a result of failure.
    pub failed: u64,
    /// Without a result.
    pub without_result: u64,
    /// Executions started here.
    pub executions: u64,
    /// Peers that were marked dead.
    pub deaths: u64,
    /// Transactions of this node that a quorum voted for.
    pub certified: u64,
    /// Transactions that moved an account.
    pub applied: u64,
}

impl Reporter {
    /// Nothing was told yet in this life; these are the results of earlier ones.
    #[must_use]
    pub fn new(hub: Hub, results: Results, refusals: Arc<Refusals>, now: Time, blacklist_duration: Span) -> Reporter {
        Reporter {
            hub,
            started: Instant::now(),
            results,
            refusals,
            counts: Counts::default(),
            tally: Tally::new(now, blacklist_duration),
            told_bytes: 0,
        }
    }

    /// Has what must outlive this process remembered together with these actions.
    pub fn remember(&mut self, outbox: &mut Outbox) {
        self.results.remember(outbox);
    }

    /// Takes note of a frame that leaves.
    pub fn sent(&mut self) {
        self.tally.on_sent();
    }

    /// Takes note of an event.
    pub fn report(&mut self, now: Time, event: &Event, outbox: &Outbox, node: &Node) {
        self.tally.on_event(now, event);
        self.count(event);
        self.results.on_event(event, outbox);
        self.log(event, node);
        if self.hub.0.receiver_count() > 0 {
            let (name, fields) = text::describe(event, outbox, node);
            let mut line = json!({ "event": name });
            if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
                line.extend(fields);
            }
            // Nobody listening any more is no error.
            let _ = self.hub.0.send(Said { name, json: line.to_string() });
        }
    }

    fn count(&mut self, event: &Event) {
        match event {
            Event::JobSubmitted { .. } => self.counts.submitted += 1,
            Event::ExecutionStarted { .. } => self.counts.executions += 1,
            Event::PeerState { state: crate::io::PeerState::Dead, .. } => self.counts.deaths += 1,
            Event::TransactionCertified { .. } => self.counts.certified += 1,
            Event::TransactionApplied { .. } => self.counts.applied += 1,
            Event::JobCompleted { status: JobStatus::Success, .. } => self.counts.succeeded += 1,
            Event::JobCompleted { status: JobStatus::Failure, .. } => self.counts.failed += 1,
            Event::JobFailed { .. } => self.counts.without_result += 1,
            _ => {}
        }
    }

    fn log(&mut self, event: &Event, node: &Node) {
        let id = |peer| node.view().peer_id(peer);
        match event {
            Event::Accepted { .. } | Event::Pinged | Event::ClockOffset { .. } => {
                tracing::trace!(?event);
            }
            Event::Refused { link, from, reason } => {
                let from = from.map(|peer| id(peer).to_string()).unwrap_or_default();
                self.refusals.log(*link, &from, *reason, Instant::now());
            }
            Event::Started { incarnation } => tracing::info!(incarnation, "started"),
            Event::PeerDiscovered { peer } => tracing::info!(peer = %id(*peer), "discovered"),
            Event::PeerRecalled { peer } => tracing::info!(peer = %id(*peer), "remembered by the store"),
            Event::PeerState { peer, state } => tracing::info!(peer = %id(*peer), ?state, "peer"),
            Event::Blacklisted { peer } => tracing::warn!(peer = %id(*peer), "blacklisted"),
            Event::Quarantined { peer } => tracing::warn!(peer = %id(*peer), "quarantined: no work but trials"),
            Event::Proven { peer: crate::id::PeerIdx::SELF } => {
                tracing::error!("two statements of this node exclude each other: another process uses its key");
            }
            Event::Proven { peer } => tracing::warn!(peer = %id(*peer), "misbehaviour is proven"),
            Event::KeyRotated { peer, sequence } => tracing::info!(peer = %id(*peer), sequence, "has another key"),
            Event::KeyKnown { sequence } => tracing::info!(sequence, "a quorum knows this node's key"),
            Event::Released { peer } => tracing::info!(peer = %id(*peer), "released from quarantine"),
            Event::Degraded { reachable, quorum } => tracing::warn!(reachable, quorum, "degraded: jobs wait"),
            Event::Recovered { reachable, quorum } => tracing::info!(reachable, quorum, "enough members again"),
            Event::JobSubmitted { job } => tracing::info!(%job, "submitted"),
            Event::SubmitRefused { reason } => tracing::info!(?reason, "submission refused"),
            Event::Certified { job, round, votes, members, .. } => {
                tracing::info!(%job, round, votes, members, "claimed by this node");
            }
            Event::ClaimLapsed { job, round, claimer } => tracing::info!(%job, round, %claimer, "claim lapsed"),
            Event::TakeoverAsked { job, round } => tracing::info!(%job, round, "takes over"),
            Event::JobRetried { job, attempt } => tracing::info!(%job, attempt, "run again"),
            Event::ExecutionStarted { job, round } => tracing::info!(%job, round, "execution started"),
            Event::ExecutionCancelled { job } => tracing::info!(%job, "execution cancelled"),
            Event::JobCompleted { job, executor, status, .. } => tracing::info!(%job, %executor, ?status, "completed"),
            Event::JobFailed { job, reason } => tracing::warn!(%job, ?reason, "failed without a result"),
            other => tracing::debug!(event = ?other),
        }
    }
}
