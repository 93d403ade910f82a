//! The world: pop an event, let it happen, apply what the node says, check.
//!
//! One thread, one queue, exact order. Nodes are the production state machine; everything around them - time, network,
//! faults, executions, stores - is here and in the modules it calls. What happens is told to KPIs, checks and timeline as
//! [`Observation`]s and to the action hash as bytes.

mod byzantine;
mod clock;
mod cpu;
mod faults;
mod frames;
mod hash;
mod report;
mod sight;
mod slot;
mod store;

use std::collections::{BTreeMap, VecDeque};

use marlos::config::Membership;
use marlos::id::{JobId, Link, NodeId};
use marlos::io::{Action, Command, Input, JobSpec, JobStatus, Outbox, Outcome as JobOutcome, To};
use marlos::time::{Now, Span, Time, WallTime};
use marlos::wire::{MsgType, binary};

use crate::byzantine::said::Whom;
use crate::byzantine::troupe::Troupe;
use crate::check::Checks;
use crate::draw::{Draws, Purpose};
use crate::fault::{FaultState, Step as FaultStep, Timeline as FaultTimeline, initial_nodes};
use crate::kpi::Kpis;
use crate::log;
use crate::memo::Memo;
use crate::network::topology;
use crate::network::{Dial, Heard, NetEvent, Network, Parcel, wire_bytes};
use crate::observe::{Mishap, Observation, Stop, Truth};
use crate::outcome::{NodeMetrics, Outcome, Verdict, Wall};
use crate::queue::EventQueue;
use crate::scenario::{CrashConnection, Crypto, NodeNo, Scenario};
use crate::story::Stories;
use crate::timeline::Timeline;
use crate::token::Tokens;
use crate::workload::{Durations, SimulatedJob, Workload};
use frames::Frames;
pub use frames::Origin;
pub use hash::ActionHash;
use sight::Sight;
pub use sight::{Unwatched, Watcher};
use slot::{Slot, Waiting};

/// The wall clocks of all nodes at simulated time zero: 2026-01-01, in microseconds since the Unix epoch.
pub(crate) const EPOCH: WallTime = WallTime(1_767_225_600_000_000);
/// How many nodes' addresses everyone is given.
pub(crate) const BOOTSTRAP_NODES: usize = 3;
/// Bytes of IPv4 and UDP headers around a beacon.
const DATAGRAM_HEADERS: u64 = 28;
/// Events between two looks at the progress bar and the interrupt flag.
const BETWEEN_LOOKS: u64 = 1 << 14;

/// Something that is due.
#[derive(Clone, Copy, Debug)]
enum WorldEvent {
    /// The network's own.
    Net(NetEvent),
    /// A node asked to be woken.
    Wake { node: NodeNo },
    /// Faults begin or end: an index into the instants of the timeline.
    Faults { instant: usize },
    /// A node that left is stopped after its goodbye has gone out.
    Stop { node: NodeNo, life: u32 },
    /// Something is due that a misbehaving node does beside its machine.
    Misbehave { node: NodeNo },
    /// A processor has done what it worked on.
    Done { node: NodeNo },
    /// The next job of the workload.
    Submit,
    /// An execution ends.
    Finished { node: NodeNo, life: u32, job: JobId, turn: u32, work: SimulatedJob },
}

/// A running simulation.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    end: Time,
    queue: EventQueue<WorldEvent>,
    network: Network,
    frames: Frames,
    slots: Vec<Slot>,
    draws: Draws,
    memo: Memo,
    instants: Vec<(Time, Vec<FaultStep>)>,
    faults: FaultState,
    troupe: Troupe,
    workload: Workload,
    /// By kind of job.
    job_durations: Vec<Durations>,
    /// The number of each node, by its id.
    numbers: BTreeMap<NodeId, NodeNo>,
    /// Whose addresses each node is given.
    contacts: Vec<Vec<NodeNo>>,
    outbox: Outbox,
    hash: ActionHash,
    sight: Sight,
}

impl World {
    /// A world before its first event.
    ///
    /// # Panics
    /// Where a node's configuration is invalid: reading the scenario has checked it.
    #[must_use]
    pub fn new(mut scenario: Scenario) -> World {
        name_voters(&mut scenario);
        let n = scenario.nodes.len();
        let draws = Draws::new(scenario.seed);
        let regions: Vec<Option<usize>> = scenario.nodes.iter().map(|node| node.region).collect();
        let mut network = Network::new(&scenario.network, &regions, scenario.seed);
        let starts = initial_nodes(n, &scenario.faults);
        let contacts = contacts(&scenario, &draws, &starts);
        let slots: Vec<Slot> = (0..n).map(|node| Slot::new(&scenario, &draws, node, &contacts[node])).collect();
        let faults = FaultState::new(&scenario);
        let timeline = FaultTimeline::new(&scenario);
        let workload = Workload::new(&scenario);
        let truth = Truth {
            now: Time(0),
            event: 0,
            started: vec![false; n],
            up: vec![false; n],
            paused: vec![false; n],
            byzantine: vec![false; n],
            reaches: faults.matrix().to_vec(),
            public_keys: slots.iter().map(|slot| slot.keys.public()).collect(),
            old_keys: vec![Vec::new(); n],
            clocks_ahead_us: (0, 0),
            ids: slots.iter().map(|slot| slot.keys.id()).collect(),
        };
        network.set_reaches(Time(0), &truth.reaches);
        let mut world = World {
            end: scenario.duration,
            queue: EventQueue::new(),
            network,
            frames: Frames::default(),
            memo: match scenario.crypto {
                Crypto::Ed25519 => Memo::default(),
                Crypto::Token => Memo::of_tokens(Tokens::new(draws.seed_of(Purpose::Tokens, 0, 0))),
            },
            draws,
            instants: timeline.instants().map(|(at, steps)| (at, steps.to_vec())).collect(),
            faults,
            troupe: Troupe::default(),
            job_durations: workload.kinds().iter().map(|job| Durations::new(&job.duration)).collect(),
            workload,
            numbers: truth.ids.iter().enumerate().map(|(number, id)| (*id, number)).collect(),
            contacts,
            outbox: Outbox::default(),
            hash: ActionHash::default(),
            sight: Sight {
                truth,
                kpis: Kpis::new(&scenario),
                checks: Checks::new(&scenario),
                timeline: Timeline::new(&scenario),
                stories: Stories::default(),
                deliveries: 0,
                changes: VecDeque::new(),
                violation: None,
            },
            slots,
            scenario,
        };
        world.schedule_beginning(&starts);
        world
    }

    fn schedule_beginning(&mut self, starts: &[bool]) {
        for (instant, (at, _)) in self.instants.iter().enumerate() {
            self.queue.push(*at, 0, WorldEvent::Faults { instant });
        }
        if let Some(at) = self.workload.next_at() {
            self.queue.push(at, 1, WorldEvent::Submit);
        }
        for node in (0..starts.len()).filter(|node| starts[*node]) {
            // A node that is asked to be woken while it is down starts: see `on_wake`.
            self.queue.push(Time(0), 2 + node as u64, WorldEvent::Wake { node });
        }
    }

    /// Runs until `until`, the scenario's end, or a violation; says whether there is more to come.
    pub fn run_until(&mut self, until: Time, watcher: &mut dyn Watcher) -> bool {
        let until = until.min(self.end);
        while let Some((at, event)) = self.queue.peek() {
            if at > until || self.sight.violation.is_some() {
                break;
            }
            let event = *event;
            self.sight.truth.now = at;
            self.sight.truth.event += 1;
            if self.sight.truth.event.is_multiple_of(BETWEEN_LOOKS) && !watcher.at(at, self.sight.truth.event) {
                self.end = at;
                return false;
            }
            if let WorldEvent::Net(event) = event {
                self.on_network(at, event, watcher);
            } else {
                self.queue.pop();
                self.on_event(at, event, watcher);
            }
        }
        if self.sight.violation.is_none() {
            self.sight.truth.now = self.sight.truth.now.max(until);
        }
        self.sight.violation.is_none() && until < self.end
    }

    fn on_network(&mut self, at: Time, event: NetEvent, watcher: &mut dyn Watcher) {
        let step = self.network.step(at, event);
        match step.again {
            Some((at, tie)) => {
                self.queue.advance_top(at, tie);
                self.prepare(event);
            }
            None => drop(self.queue.pop()),
        }
        match step.heard {
            Some(Heard::Frame(mut delivery)) => {
                self.sight.deliveries += 1;
                if let Some(draw) = delivery.changed {
                    delivery.frame = self.frames.changed(delivery.frame, draw);
                }
                let (bytes, origin) = self.frames.look(delivery.frame);
                watcher.arrived(at, delivery, origin, bytes);
                if self.must_wait(delivery.to) {
                    self.frames.keep(delivery.frame);
                    let waiting = Waiting::Frame { link: delivery.link, frame: delivery.frame };
                    self.slots[delivery.to].waiting.push_back(waiting);
                } else {
                    self.deliver(delivery.to, delivery.link, delivery.frame, watcher);
                }
                if delivery.changed.is_some() {
                    self.frames.release(delivery.frame);
                }
            }
            Some(Heard::Connected { node, link }) => self.hear(node, Waiting::Connected(link), watcher),
            Some(Heard::Disconnected { node, link }) => self.hear(node, Waiting::Disconnected(link), watcher),
            None => {}
        }
        self.drain_network(watcher);
    }

    /// The next copy of a broadcast is for another node, of whose memory nothing is in the processor's caches in a large world: it is
    /// fetched while this copy is handled, and one copy ahead of that the node that says where it lies.
    #[inline]
    fn prepare(&self, event: NetEvent) {
        let Some(upcoming) = self.network.upcoming(event) else { return };
        if let Some(machine) = upcoming.after.and_then(|to| self.slots[to].node.as_ref()) {
            machine.expect_soon();
        }
        if let Some(machine) = &self.slots[upcoming.to].node {
            machine.expect_frame(upcoming.link, self.sight.truth.ids[upcoming.from]);
        }
    }

    fn on_event(&mut self, at: Time, event: WorldEvent, watcher: &mut dyn Watcher) {
        match event {
            WorldEvent::Net(_) => unreachable!("handled where it was seen"),
            WorldEvent::Wake { node } => self.on_wake(at, node, watcher),
            WorldEvent::Faults { instant } => self.on_faults(instant, watcher),
            WorldEvent::Stop { node, life } => {
                if self.slots[node].life == life {
                    self.stop(node, Stop::Leave, CrashConnection::Reset, watcher);
                }
            }
            WorldEvent::Misbehave { node } => self.on_misbehave(node, watcher),
            WorldEvent::Done { node } => self.on_done(at, node, watcher),
            WorldEvent::Submit => self.on_submit(watcher),
            WorldEvent::Finished { node, life, job, turn, work } => {
                let slot = &mut self.slots[node];
                if slot.life != life || slot.running.get(&job) != Some(&turn) {
                    return;
                }
                slot.running.remove(&job);
                self.observe(&Observation::ExecutionEnded { node, job, by_itself: true }, watcher);
                self.hear(node, Waiting::Finished { job, work }, watcher);
            }
        }
        self.drain_network(watcher);
    }

    fn on_wake(&mut self, at: Time, node: NodeNo, watcher: &mut dyn Watcher) {
        let slot = &mut self.slots[node];
        if !self.sight.truth.started[node] {
            return self.start(node, watcher);
        }
        if slot.wake_at != at {
            return; // overtaken by an earlier wake
        }
        slot.wake_at = Time::NEVER;
        // Who works is woken when that is done.
        if slot.node.is_none() || self.must_wait(node) {
            return;
        }
        let slot = &self.slots[node];
        let due = slot.node.as_ref().and_then(marlos::Node::next_deadline);
        if due.is_some_and(|due| due <= at) {
            self.handle(node, Input::Wake, watcher);
        } else {
            self.arm(node);
        }
    }

    fn on_submit(&mut self, watcher: &mut dyn Watcher) {
        let durations = &self.job_durations;
        let Some(submission) = self.workload.next_job(|kind, uniform| durations[kind].sample(uniform)) else { return };
        if let Some(at) = self.workload.next_at() {
            self.queue.push(at, 1, WorldEvent::Submit);
        }
        let node = submission.node;
        if self.slots[node].node.is_none() || self.sight.truth.paused[node] {
            // Its client finds nobody there, and the job is nobody's.
            return self.observe(&Observation::SubmitRefused { node }, watcher);
        }
        self.hear(node, Waiting::Submit { kind: submission.kind, command: submission.job.to_command() }, watcher);
    }

    fn submit_now(&mut self, node: NodeNo, kind: usize, command: &str, watcher: &mut dyn Watcher) {
        let template = self.workload.kinds()[kind].clone();
        let spec = JobSpec {
            job_type: &template.job_type,
            command,
            requirements: &template.requirements,
            payment: template.payment,
            priority: template.priority,
            deadline: template.deadline,
            max_attempts: template.max_attempts,
            consistency: template.consistency,
            private: template.private,
        };
        self.handle(node, Input::Command(Command::Submit(spec)), watcher);
    }

    fn hear(&mut self, node: NodeNo, what: Waiting, watcher: &mut dyn Watcher) {
        if self.must_wait(node) {
            self.slots[node].waiting.push_back(what);
        } else {
            self.hear_now(node, what, watcher);
        }
    }

    /// Whether what comes to a node now waits until it goes on, or has done what it works on.
    fn must_wait(&self, node: NodeNo) -> bool {
        self.sight.truth.paused[node] || self.slots[node].is_busy()
    }

    /// What has waited is heard, in order, until the node works again.
    fn hear_waiting(&mut self, node: NodeNo, watcher: &mut dyn Watcher) {
        while !self.must_wait(node) {
            let Some(waiting) = self.slots[node].waiting.pop_front() else { return };
            self.hear_now(node, waiting, watcher);
        }
    }

    fn hear_now(&mut self, node: NodeNo, what: Waiting, watcher: &mut dyn Watcher) {
        match what {
            Waiting::Frame { link, frame } => {
                self.deliver(node, link, frame, watcher);
                self.frames.release(frame);
            }
            Waiting::Submit { kind, command } => self.submit_now(node, kind, &command, watcher),
            Waiting::Leave => self.leave_now(node, watcher),
            Waiting::Connected(link) => self.handle(node, Input::Connected(link), watcher),
            Waiting::Disconnected(link) => self.handle(node, Input::Disconnected(link), watcher),
            Waiting::Rotation => self.rotate(node, watcher),
            Waiting::Finished { job, work } => {
                let status = if work.fails { JobStatus::Failure } else { JobStatus::Success };
                let outcome = JobOutcome { status, output: &work.output(job), duration: work.duration };
                self.handle(node, Input::Finished { job, outcome }, watcher);
            }
        }
    }

    /// A frame reaches a node: the path of nearly every event.
    fn deliver(&mut self, node: NodeNo, link: Link, frame: u32, watcher: &mut dyn Watcher) {
        if self.troupe.has(node) {
            let (origin, verified) = (self.frames.origin(frame), self.frames.verified(frame));
            let bytes = self.frames.lend(frame);
            let heard = self.lets_hear(node, link, origin, &bytes, watcher);
            self.frames.give_back(frame, bytes, verified);
            if !heard {
                return;
            }
        }
        self.deliver_through(node, link, frame, watcher);
    }

    /// A frame reaches the machine of a node.
    fn deliver_through(&mut self, node: NodeNo, link: Link, frame: u32, watcher: &mut dyn Watcher) {
        let origin = self.frames.origin(frame);
        let verified = self.frames.verified(frame);
        let bytes = self.frames.lend(frame);
        self.memo.enter_frame(&bytes, verified);
        self.hash.input(self.sight.truth.now, node, origin.number);
        let slot = &mut self.slots[node];
        slot.tally.on_bytes(self.sight.truth.now, bytes.len() as u64);
        slot.arriving = Some(origin);
        self.handle(node, Input::Frame { link, bytes: &bytes }, watcher);
        if !self.slots[node].is_busy() {
            self.slots[node].arriving = None;
        }
        let verified = self.memo.leave_frame();
        self.frames.give_back(frame, bytes, verified);
    }

    /// Hands an input to a node and applies what follows.
    fn handle(&mut self, node: NodeNo, input: Input<'_>, watcher: &mut dyn Watcher) {
        let now = self.now(node);
        let Some(machine) = self.slots[node].node.as_mut() else { return };
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.clear();
        self.memo.take_asked(); // a check may have asked since
        machine.handle(now, input, &mut self.memo, &mut outbox);
        machine.check_invariants();
        self.hash.actions(now.mono, node, &outbox);
        watcher.called(now.mono, self.sight.truth.event, node, &outbox);
        let cost = self.slots[node].cpu.cost(&input, self.memo.take_asked());
        if cost > Span::ZERO {
            let until = self.slots[node].cpu.begin(now.mono, cost, outbox);
            return self.queue.push(until, 2 + node as u64, WorldEvent::Done { node });
        }
        self.follow(node, &outbox, watcher);
        self.outbox = outbox;
        self.arm(node);
    }

    /// A processor has done what it worked on: that leaves, and what came meanwhile has its turn.
    fn on_done(&mut self, at: Time, node: NodeNo, watcher: &mut dyn Watcher) {
        // Of a process that died meanwhile, or was paused: that one is told again when it goes on.
        if self.sight.truth.paused[node] || self.slots[node].cpu.until().is_none_or(|until| until > at) {
            return;
        }
        let work = self.slots[node].cpu.finish().expect("it works");
        self.follow(node, &work.outbox, watcher);
        self.slots[node].arriving = None;
        self.outbox = work.outbox;
        self.hear_waiting(node, watcher);
        if !self.slots[node].is_busy() {
            self.arm(node);
        }
    }

    /// What follows from what a node answered.
    fn follow(&mut self, node: NodeNo, outbox: &Outbox, watcher: &mut dyn Watcher) {
        let wrapped = self.troupe.has(node);
        self.apply(node, outbox, !wrapped, watcher);
        if wrapped {
            self.say(node, outbox, watcher);
        }
        let Some(machine) = self.slots[node].node.as_ref() else { return };
        let digest = machine.view().state_digest();
        if self.slots[node].digest.replace(digest) != Some(digest) {
            self.observe(&Observation::Digest { node, digest }, watcher);
        }
    }

    /// Both clocks of a node. Only the second can be wrong.
    fn now(&self, node: NodeNo) -> Now {
        let mono = self.sight.truth.now;
        let right = EPOCH + Span(mono.0);
        Now { mono, wall: right.offset(self.slots[node].clock.ahead_us(mono)) }
    }

    /// Sees to it that a node is woken at its next deadline, and not much more often.
    fn arm(&mut self, node: NodeNo) {
        let slot = &mut self.slots[node];
        let Some(due) = slot.node.as_ref().and_then(marlos::Node::next_deadline) else { return };
        let due = due.max(self.sight.truth.now);
        if due < slot.wake_at {
            slot.wake_at = due;
            self.queue.push(due, 2 + node as u64, WorldEvent::Wake { node });
        }
    }

    /// Applies the actions of a call. What is sent is left to the troupe where the node is not what it seems.
    fn apply(&mut self, node: NodeNo, outbox: &Outbox, sends: bool, watcher: &mut dyn Watcher) {
        for action in &outbox.actions {
            match action {
                Action::Report(event) => self.on_report(node, event, outbox, watcher),
                Action::Send { to, kind, frame } if sends => {
                    let whom = match to {
                        To::All => Whom::All,
                        To::One(peer) => match self.slots[node].world_number(*peer) {
                            Some(peer) => Whom::One(peer),
                            None => continue, // somebody's invention hears nothing
                        },
                        To::Beacon => Whom::Beacon,
                    };
                    self.publish(node, whom, *kind, outbox.slice(frame), None, watcher);
                }
                Action::Send { .. } => {}
                Action::Persist { key, value } => {
                    let now = self.sight.truth.now;
                    self.slots[node].store.persist(now, outbox.slice(key), outbox.slice(value));
                }
                Action::Forget { key } => {
                    self.slots[node].store.forget(self.sight.truth.now, outbox.slice(key));
                }
                Action::Connect { link, endpoint } => self.dial(node, *link, Dial::Subscribe, outbox.text(endpoint)),
                Action::Reach { link, endpoint } => self.dial(node, *link, Dial::Reach, outbox.text(endpoint)),
                Action::Disconnect(link) => self.network.hang_up(self.sight.truth.now, node, *link),
                Action::Execute { job, command, deadline, .. } => {
                    self.execute(node, *job, outbox.text(command), *deadline);
                }
                Action::Cancel(job) => {
                    if self.slots[node].running.remove(job).is_some() {
                        self.observe(&Observation::ExecutionEnded { node, job: *job, by_itself: false }, watcher);
                    }
                }
            }
        }
    }

    /// A frame leaves a node; `origin` is where it comes from, where it was sealed before.
    fn publish(
        &mut self,
        node: NodeNo,
        whom: Whom,
        kind: MsgType,
        bytes: &[u8],
        origin: Option<Origin>,
        watcher: &mut dyn Watcher,
    ) {
        let now = self.sight.truth.now;
        self.slots[node].store.sync();
        let frame = match origin {
            Some(origin) => self.frames.put(bytes, origin),
            None => {
                let frame = self.frames.seal(bytes, node, now);
                if self.troupe.has(node) {
                    self.troupe.remember(bytes, self.frames.origin(frame));
                }
                frame
            }
        };
        let length = bytes.len() as u64;
        let (size, copies) = match whom {
            Whom::Beacon => {
                let size = length + DATAGRAM_HEADERS;
                (size, self.network.beacon(now, node, frame, size, &self.contacts[node]))
            }
            Whom::All | Whom::One(_) => {
                let to = match whom {
                    Whom::One(to) => Some(to),
                    Whom::All | Whom::Beacon => None,
                };
                let size = wire_bytes(length, to.is_some());
                (size, self.network.publish(now, Parcel { from: node, to, kind, frame, bytes: size }))
            }
        };
        let tally = &mut self.slots[node].tally;
        tally.on_sent();
        tally.on_bytes(now, size * copies);
        if kind != MsgType::Bundle {
            return self.observe(&Observation::Sent { node, kind, bytes: size, copies }, watcher);
        }
        // Each item's share of what was really sent: the envelope is everyone's, and packing makes all of them smaller.
        let items = binary::bundle_items(bytes);
        let total = items.iter().map(|(_, bytes)| *bytes as u64).sum::<u64>().max(1);
        let (mut taken, mut reported) = (0, 0);
        for (kind, bytes) in items {
            taken += bytes as u64;
            let share = size * taken / total - reported;
            reported += share;
            self.observe(&Observation::Sent { node, kind, bytes: share, copies }, watcher);
        }
    }

    fn dial(&mut self, node: NodeNo, link: Link, dial: Dial, endpoint: &str) {
        // An address where nobody is stays silent for ever.
        if let Some(target) = slot::node_at(endpoint).filter(|target| *target < self.slots.len()) {
            self.network.dial(self.sight.truth.now, node, link, dial, target);
        }
    }

    /// A run that is not over in time is killed, as the real executor does it. A simulated job writes its output when it is done.
    fn execute(&mut self, node: NodeNo, job: JobId, command: &str, deadline: Span) {
        let slot = &mut self.slots[node];
        slot.turns += 1;
        slot.running.insert(job, slot.turns);
        let mut work = SimulatedJob::parse(command).unwrap_or(SimulatedJob::UNREADABLE);
        work.duration = slot.cpu.takes(work.duration);
        if work.duration > deadline {
            work = SimulatedJob { duration: deadline, fails: true, output_bytes: 0, ..work };
        }
        let event = WorldEvent::Finished { node, life: slot.life, job, turn: slot.turns, work };
        self.queue.push(self.sight.truth.now + work.duration, 2 + node as u64, event);
    }

    fn observe(&mut self, observation: &Observation<'_>, watcher: &mut dyn Watcher) {
        self.sight.observe(observation, &mut self.memo, watcher);
    }

    /// Takes what the network left: events to queue, frames to free, losses to report.
    fn drain_network(&mut self, watcher: &mut dyn Watcher) {
        let effects = &mut self.network.effects;
        for scheduled in effects.scheduled.drain(..) {
            self.queue.push(scheduled.at, scheduled.tie, WorldEvent::Net(scheduled.event));
        }
        for frame in effects.released.drain(..) {
            self.frames.release(frame);
        }
        let (cut, tcp, udp) = (effects.frames_cut, effects.tcp_lost, effects.udp_lost);
        if cut + tcp + udp > 0 {
            (effects.frames_cut, effects.tcp_lost, effects.udp_lost) = (0, 0, 0);
            if cut > 0 {
                self.observe(&Observation::FramesCut { count: cut }, watcher);
            }
            (0..tcp).for_each(|_| self.observe(&Observation::SegmentLost { udp: false }, watcher));
            (0..udp).for_each(|_| self.observe(&Observation::SegmentLost { udp: true }, watcher));
        }
        for (mishap, count) in Mishap::ALL.into_iter().zip(std::mem::take(&mut self.network.effects.mishaps)) {
            (0..count).for_each(|_| self.observe(&Observation::DatagramMishap { mishap }, watcher));
        }
    }

    /// Frames that reached a node so far.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.sight.deliveries
    }

    /// How long a node's processor has worked so far, in all its lives.
    #[must_use]
    pub fn cpu_busy(&self, node: NodeNo) -> Span {
        self.slots[node].cpu.busy()
    }

    /// Events handled so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.sight.truth.event
    }

    /// The action hash after every 1,000 events, shortened: where two runs first differ, they diverged.
    #[must_use]
    pub fn hash_trail(&self) -> &[u64] {
        self.hash.trail()
    }

    /// A node of this world, while it is up.
    #[must_use]
    pub fn node(&self, node: NodeNo) -> Option<&marlos::Node> {
        self.slots[node].node.as_ref()
    }

    /// Judges what was seen.
    #[must_use]
    pub fn finish(self) -> Outcome {
        let Sight { truth, kpis, checks, timeline, stories, deliveries, changes, violation } = self.sight;
        let metrics = self.slots.iter().zip(&self.scenario.nodes).map(|(slot, spec)| NodeMetrics {
            node: spec.name.clone(),
            up: slot.node.is_some(),
            metrics: slot.tally.read(truth.now),
        });
        let metrics = metrics.collect();
        let findings = kpis.finish(&truth, &self.scenario);
        let checks = checks.finish(&truth, &self.scenario, &|name| findings.counted(name));
        let verdicts = findings.kpis.iter().map(|kpi| kpi.verdict).chain(checks.iter().map(|check| check.verdict));
        // What does not apply says nothing either way.
        let verdict = verdicts.filter(|verdict| *verdict != Verdict::NotApplicable).max().unwrap_or(Verdict::Unknown);
        let line = |(at, event, o): &(Time, u64, Observation<'static>)| format!("{:<70} #{event}", log::line(*at, o));
        Outcome {
            verdict,
            action_hash: self.hash.finish(),
            events: truth.event,
            deliveries,
            reached: truth.now,
            kpis: findings.kpis,
            checks,
            jobs: findings.jobs,
            bytes_per_message_type: findings.bytes_per_message_type,
            refusals: findings.refusals,
            counters: findings.counters,
            metrics,
            timeline: timeline.finish(truth.now),
            told: stories.told(),
            messages: Vec::new(),
            last_changes: if violation.is_some() { changes.iter().map(line).collect() } else { Vec::new() },
            wall: Wall::default(),
            scenario: self.scenario,
        }
    }
}

/// The first nodes that start at 0; where not everyone may connect to everyone, the first of each node's neighbours, as an
/// operator would have it.
fn contacts(scenario: &Scenario, draws: &Draws, starts: &[bool]) -> Vec<Vec<NodeNo>> {
    let n = scenario.nodes.len();
    let first = |nodes: &mut dyn Iterator<Item = NodeNo>| -> Vec<NodeNo> {
        nodes.filter(|node| starts[*node]).take(BOOTSTRAP_NODES).collect()
    };
    match topology::graph(scenario.network.topology, n, draws) {
        None => vec![first(&mut (0..n)); n],
        Some(graph) => (0..n).map(|node| first(&mut graph.neighbours(node).iter().copied())).collect(),
    }
}

/// Where nobody but these nodes votes, they have to know each other's ids, which hang on the seed.
fn name_voters(scenario: &mut Scenario) {
    if scenario.fixed_membership {
        let draws = Draws::new(scenario.seed);
        let ids: Vec<NodeId> = (0..scenario.nodes.len()).map(|node| slot::keys_of(&draws, node).id()).collect();
        for node in &mut scenario.nodes {
            node.config.membership = Membership::Fixed(ids.clone());
        }
    }
}

/// Runs a scenario to its end, or to `until`.
#[must_use]
pub fn run(scenario: Scenario, until: Option<Time>, watcher: &mut dyn Watcher) -> Outcome {
    let mut world = World::new(scenario);
    world.run_until(until.unwrap_or(Time::NEVER), watcher);
    world.finish()
}
