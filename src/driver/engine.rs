//! The loop: hands inputs to the node and does, in order, what it says.
//!
//! It never waits for the disk: what follows from its inputs is gathered while the last commit is under way, and done when it
//! is durable itself ([`writer`]).

pub mod writer;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc;

use self::writer::{Batch, Writer};
use super::api::{Answer, Ask, Problem, Request};
use super::beacon::Beacon;
use super::events::results::Results;
use super::events::{Hub, Reporter};
use super::executor::{Executor, Finished};
use super::files;
use super::front::Counters;
use super::inbound::{FromPeer, Waiting, Worth};
use super::record::Recording;
use super::refusals::Refusals;
use super::store::Store;
use super::zmq::{TOPIC_ALL, Transport, topic_of};
use crate::Node;
use crate::id::{JobId, Link};
use crate::io::{Action, Command, Event, Input, JobSpec, JobStatus, Outbox, Outcome, Record, To, Verify};
use crate::time::{Now, Time, WallTime};

/// Small frames that are handed over in one turn.
const SMALL_PER_TURN: usize = 64;
/// Large frames, and beacons, in a turn that had small ones: few, but never none.
const BULK_PER_TURN: usize = 4;
/// How long sockets get to pass on the goodbye.
const GOODBYE: Duration = Duration::from_millis(200);

/// What the loop acts with.
#[derive(Debug)]
pub struct Hands {
    /// Frames to peers.
    pub transport: Transport,
    /// Frames to the local network.
    pub beacon: Beacon,
    /// Jobs.
    pub executor: Executor,
    /// What the front counts.
    pub counters: Arc<Counters>,
    /// What the front refuses, and what of it all is logged.
    pub refusals: Arc<Refusals>,
    /// Where the key file is.
    pub data_dir: PathBuf,
}

/// What the loop hears.
#[derive(Debug)]
pub struct Sources {
    /// From peers.
    pub waiting: Waiting,
    /// From the beacon sockets.
    pub beacons: mpsc::Receiver<Bytes>,
    /// From the executor.
    pub finished: mpsc::UnboundedReceiver<Finished>,
    /// From local programs.
    pub asked: mpsc::Receiver<Request>,
}

/// The node and everything it acts with.
#[derive(Debug)]
pub struct Engine {
    node: Node,
    recording: Recording,
    hands: Hands,
    reporter: Reporter,
    gathered: Batch,
    writer: Writer,
    /// Jobs whose stop stands in the batch that is being written.
    stopping: Vec<JobId>,
    clock: Clock,
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time starts well above zero, so that "an hour ago" exists.
    const ORIGIN_US: u64 = 86_400_000_000;

    /// Both readings.
    #[must_use]
    pub fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall: WallTime(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)) }
    }

    fn mono(self) -> Time {
        Time(Clock::ORIGIN_US + u64::try_from(self.start.elapsed().as_micros()).expect("584,000 years"))
    }

    /// When the system's clock reads this.
    fn instant(self, time: Time) -> Option<tokio::time::Instant> {
        let since_start = Duration::from_micros(time.0.saturating_sub(Clock::ORIGIN_US));
        self.start.checked_add(since_start).map(tokio::time::Instant::from_std)
    }
}

impl Engine {
    /// A node that has not started.
    #[must_use]
    pub fn new(node: Node, store: Store, results: Results, hands: Hands, hub: Hub, recording: Recording) -> Engine {
        let clock = Clock { start: Instant::now() };
        let blacklist_duration = node.view().config().blacklist_duration;
        Engine {
            node,
            recording,
            reporter: Reporter::new(hub, results, Arc::clone(&hands.refusals), clock.mono(), blacklist_duration),
            hands,
            gathered: Batch::default(),
            writer: Writer::new(store),
            stopping: Vec::new(),
            clock,
        }
    }

    /// The first input: what the store remembers.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn start(&mut self, records: &[Record]) -> Result<(), String> {
        self.handle(Input::Start(records));
        self.finish().await
    }

    /// Runs until `stop` says why to stop.
    ///
    /// # Errors
    /// The store cannot be written, or a task that the loop needs has ended.
    pub async fn run<S>(&mut self, mut sources: Sources, stop: S) -> Result<&'static str, String>
    where
        S: Future<Output = &'static str>,
    {
        let mut stop = std::pin::pin!(stop);
        loop {
            self.settle().await;
            let hears = !self.gathered.is_full();
            let deadline = self.node.next_deadline().filter(|d| *d != Time::NEVER).and_then(|d| self.clock.instant(d));
            // A deadline that has come goes first: no flood of frames may hold back a heartbeat.
            if hears && deadline.is_some_and(|d| d <= tokio::time::Instant::now()) {
                self.handle(Input::Wake);
                self.settle().await;
                // A node that wants to be woken at once again must not shut out its sources.
                tokio::task::yield_now().await;
                self.turn(None, &mut sources);
                self.settle().await;
            }
            let wake = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                why = &mut stop => return Ok(why),
                batch = self.writer.written() => self.carry_out(batch?).await,
                Some(finished) = sources.finished.recv(), if hears => self.finished(&finished),
                Some(request) = sources.asked.recv(), if hears => self.answer(request, &sources.waiting),
                () = wake, if hears => self.handle(Input::Wake),
                first = sources.waiting.next(), if hears => {
                    let first = first.ok_or("the task that receives from peers has ended")?;
                    self.turn(Some(first), &mut sources);
                }
                Some(beacon) = sources.beacons.recv(), if hears => {
                    self.handle(Input::Frame { link: Link::BEACON, bytes: &beacon });
                }
            }
        }
    }

    /// Says goodbye, stops every job and lets the sockets finish.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn leave(&mut self) -> Result<(), String> {
        self.handle(Input::Command(Command::Leave));
        self.recording.end();
        self.finish().await?;
        let (_, ()) = tokio::join!(tokio::time::sleep(GOODBYE), self.hands.executor.stop());
        self.writer.finish().await
    }

    /// Hands over what waits, small frames first.
    fn turn(&mut self, first: Option<FromPeer>, sources: &mut Sources) {
        if let Some(first) = first {
            self.hear(&first, &sources.waiting);
        }
        for _ in 0..SMALL_PER_TURN {
            let Some(item) = sources.waiting.try_small() else { break };
            self.hear(&item, &sources.waiting);
        }
        for _ in 0..BULK_PER_TURN {
            let Some(item) = sources.waiting.try_bulk() else { break };
            self.hear(&item, &sources.waiting);
        }
        for _ in 0..BULK_PER_TURN {
            let Ok(beacon) = sources.beacons.try_recv() else { break };
            self.handle(Input::Frame { link: Link::BEACON, bytes: &beacon });
        }
    }

    fn hear(&mut self, item: &FromPeer, waiting: &Waiting) {
        match item {
            FromPeer::Frame { link, connection, bytes } => {
                let before = self.gathered.outbox.actions.len();
                self.handle(Input::Frame { link: *link, bytes });
                waiting.judge(*connection, Worth::of(&self.gathered.outbox.actions[before..]), bytes.len());
            }
            FromPeer::Up(link) => self.handle(Input::Connected(*link)),
            FromPeer::Down(link) => self.handle(Input::Disconnected(*link)),
        }
    }

    fn finished(&mut self, finished: &Finished) {
        // Where the node has stopped it already, and that is only not done yet, nothing more is heard of it.
        let stopped = self.stopping.contains(&finished.job) || self.gathered.cancels(finished.job);
        if self.hands.executor.accept(finished) && !stopped {
            let status = if finished.success { JobStatus::Success } else { JobStatus::Failure };
            let outcome = Outcome { status, output: &finished.output, duration: finished.duration };
            self.handle(Input::Finished { job: finished.job, outcome });
        }
    }

    fn answer(&mut self, request: Request, waiting: &Waiting) {
        let Request { ask, answer } = request;
        match ask {
            Ask::Submit(job) => {
                let before = self.gathered.outbox.actions.len();
                self.handle(Input::Command(Command::Submit(JobSpec {
                    job_type: &job.job_type,
                    command: &job.command,
                    requirements: &job.requirements,
                    payment: job.payment,
                    priority: job.priority,
                    deadline: job.deadline,
                    max_attempts: job.max_attempts,
                    consistency: job.consistency,
                    private: job.private,
                })));
                let verdict = self.gathered.outbox.actions[before..].iter().find_map(|action| match action {
                    Action::Report(Event::JobSubmitted { job }) => Some(Ok(*job)),
                    Action::Report(Event::SubmitRefused { reason }) => Some(Err(*reason)),
                    _ => None,
                });
                // Answered after the job is remembered and sent: what was accepted is not lost.
                self.gathered.answers.push((answer, super::api::submitted(verdict)));
            }
            Ask::RotateKey => {
                let said = self.rotate_key();
                // Answered after the network was told.
                self.gathered.answers.push((answer, said));
            }
            other => {
                let said = self.reporter.answer(&other, &self.node, &self.hands, waiting, self.clock.now());
                // Whoever asked may have gone.
                let _ = answer.send(said);
            }
        }
    }

    /// Another key: durable in the key file first, then the node speaks with it. The loop waits for the disk here, as it is rare.
    fn rotate_key(&mut self) -> Answer {
        let network_id = &self.node.view().config().network_id;
        let rotated = files::rotate_keys(&self.hands.data_dir, network_id, self.clock.now().wall);
        let keys = rotated.map_err(Problem::conflict)?;
        self.handle(Input::Command(Command::Rotate(&keys)));
        Ok(super::cli::key_json(&keys))
    }

    fn handle(&mut self, input: Input<'_>) {
        let (node, now) = (&mut self.node, self.clock.now());
        let handle = |input: Input<'_>, verify: &mut dyn Verify, out: &mut Outbox| node.handle(now, input, verify, out);
        self.recording.call(now, input, &mut self.gathered.outbox, handle);
    }

    /// Where the store is free, hands over what was gathered, and does what needs no memory.
    async fn settle(&mut self) {
        if !self.writer.is_free() || self.gathered.is_empty() {
            return;
        }
        let mut batch = std::mem::replace(&mut self.gathered, self.writer.spare());
        self.reporter.remember(&mut batch.outbox);
        let cancelled = batch.outbox.actions.iter().filter_map(|action| match action {
            Action::Cancel(job) => Some(*job),
            _ => None,
        });
        self.stopping.extend(cancelled);
        if let Some(batch) = self.writer.hand_over(batch) {
            self.carry_out(batch).await;
        }
    }

    /// Everything that was said is remembered and done.
    async fn finish(&mut self) -> Result<(), String> {
        while !(self.writer.is_free() && self.gathered.is_empty()) {
            self.settle().await;
            if !self.writer.is_free() {
                let batch = self.writer.written().await?;
                self.carry_out(batch).await;
            }
        }
        Ok(())
    }

    /// Does what the node said, in its order; what it wanted remembered is durable.
    async fn carry_out(&mut self, mut batch: Batch) {
        for action in &batch.outbox.actions {
            self.act(action, &batch.outbox).await;
        }
        for (answer, said) in batch.answers.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(said);
        }
        self.stopping.clear();
        self.writer.reuse(batch);
    }

    async fn act(&mut self, action: &Action, outbox: &Outbox) {
        let Hands { transport, beacon, executor, .. } = &mut self.hands;
        match action {
            // Done by the writer.
            Action::Persist { .. } | Action::Forget { .. } => {}
            Action::Send { to, kind: _, frame } => {
                self.reporter.sent();
                match to {
                    To::All => transport.send(TOPIC_ALL, outbox.slice(frame)).await,
                    To::One(peer) => {
                        let topic = topic_of(self.node.view().peer_id(*peer));
                        transport.send(&topic, outbox.slice(frame)).await;
                    }
                    To::Beacon => beacon.send(outbox.slice(frame)),
                }
            }
            Action::Connect { link, endpoint } => transport.connect(*link, outbox.text(endpoint)),
            Action::Reach { link, endpoint } => transport.reach(*link, outbox.text(endpoint)),
            Action::Disconnect(link) => transport.disconnect(*link),
            Action::Execute { job, job_type, command, deadline } => {
                executor.execute(*job, outbox.text(job_type), outbox.text(command), *deadline);
            }
            Action::Cancel(job) => executor.cancel(*job),
            Action::Report(event) => {
                self.reporter.report(self.clock.mono(), event, outbox, &self.node);
                if let Event::KeyKnown { .. } = event
                    && let Err(error) = files::forget_old_key(&self.hands.data_dir)
                {
                    tracing::warn!(error, "the key before stays in the key file");
                }
            }
        }
    }
}
