//! A second event loop, as plain as it can be: one sorted list of events, one event for each copy of a frame, every receiver decodes
//! and verifies for itself, connections are looked for in a list. It knows the model only by what is written down about it, and drives
//! the same node; where it and the production world make the same actions at the same times, the flights, memos, shared frames and
//! heaps of the latter are what they claim to be: the same thing, faster.

#[path = "support/worlds.rs"]
mod worlds;

#[path = "naive/wires.rs"]
mod wires;

use std::collections::BTreeMap;
use std::rc::Rc;

use marlos::config::Bootstrap;
use marlos::id::{JobId, Link};
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{Action, Command, Event as Said, Input, JobSpec, JobStatus, Outbox, Outcome, Record, To};
use marlos::time::{Now, Span, Time, WallTime};
use marlos::wire::MsgType;
use marlos::{Config, Node};
use marlos_sim::draw::{Draws, Purpose};
use marlos_sim::network::latency::LatencyTable;
use marlos_sim::network::{Dial, tie};
use marlos_sim::scenario::{Crypto, FaultKind, NodeNo, Scenario, Storage};
use marlos_sim::workload::{SimulatedJob, Workload};
use marlos_sim::world::ActionHash;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use wires::{Gate, Phase, Wire};
use worlds::{run, scenario};

/// Which rule of order is broken on purpose.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Exact,
    /// Of one microsecond, first in, first out.
    ByInsertion,
    /// This event and the one after it change places.
    Swapped(u64),
}

#[derive(Clone)]
struct Frame {
    number: u64,
    bytes: Rc<[u8]>,
}

enum What {
    Faults(Time),
    Submit,
    Wake(NodeNo),
    Finished { node: NodeNo, life: u64, job: JobId, turn: u64, work: SimulatedJob },
    Frame { wire: usize, epoch: u64, frame: Frame },
    Datagram { from: NodeNo, to: NodeNo, life: u64, frame: Frame },
    Attempt { wire: usize, turn: u64 },
    Established { wire: usize, turn: u64 },
    Broken { wire: usize, turn: u64 },
    Forget { wire: usize, turn: u64 },
    Drain { wire: usize, turn: u64 },
}

struct Place {
    node: Option<Node>,
    config: Config,
    keys: Keys,
    store: BTreeMap<Vec<u8>, Vec<u8>>,
    started: bool,
    life: u64,
    wake_at: Time,
    running: BTreeMap<JobId, u64>,
    turns: u64,
    /// The world's number of each member as the node numbers them.
    met: Vec<NodeNo>,
}

struct NaiveWorld {
    scenario: Scenario,
    now: Time,
    events: Vec<(Time, u64, u64, What)>,
    pushed: u64,
    order: Order,
    places: Vec<Place>,
    wires: Vec<Wire>,
    unused: Vec<usize>,
    reaches: Vec<Vec<bool>>,
    draws: Draws,
    latency: LatencyTable,
    timeout: Span,
    workload: Workload,
    hash: ActionHash,
    sealed: u64,
    /// How often something was sent, by purpose, sender, receiver and kind.
    sent: BTreeMap<(Purpose, NodeNo, NodeNo, u8), u64>,
    dialled: BTreeMap<(NodeNo, NodeNo), u64>,
}

impl NaiveWorld {
    fn new(scenario: Scenario, order: Order) -> NaiveWorld {
        let n = scenario.nodes.len();
        let spec = &scenario.network;
        assert!(spec.loss.0 == 0 && spec.bandwidth_bps.is_none() && spec.regions.is_none() && spec.multicast);
        assert!(!scenario.fixed_membership && scenario.crypto == Crypto::Ed25519, "this world has no such thing");
        let draws = Draws::new(scenario.seed);
        let bootstrap: Vec<NodeNo> = (0..n).take(3).collect();
        let endpoint = |node: NodeNo, port| format!("tcp://10.0.0.{node}:{port}");
        let place = |node: NodeNo| {
            let mut config = scenario.nodes[node].config.clone();
            (config.pub_endpoint, config.sub_endpoint) = (endpoint(node, 5555), endpoint(node, 5556));
            let others = bootstrap.iter().filter(|other| **other != node);
            let ports = |other| Bootstrap { pub_endpoint: endpoint(other, 5555), sub_endpoint: endpoint(other, 5556) };
            config.bootstrap = others.map(|other| ports(*other)).collect();
            let keys = Keys::from_secret(&draws.seed_of(Purpose::NodeKey, node, 0));
            let (store, running, met) = (BTreeMap::new(), BTreeMap::new(), vec![node]);
            let (life, turns, wake_at) = (0, 0, Time::NEVER);
            Place { node: None, config, keys, store, started: false, life, wake_at, running, turns, met }
        };
        let places = (0..n).map(place).collect();
        let mut world = NaiveWorld {
            places,
            now: Time(0),
            events: Vec::new(),
            pushed: 0,
            order,
            wires: Vec::new(),
            unused: Vec::new(),
            reaches: vec![vec![true; n]; n],
            draws,
            latency: LatencyTable::new(&spec.latency),
            timeout: spec.connection_timeout,
            workload: Workload::new(&scenario),
            hash: ActionHash::default(),
            sealed: 0,
            sent: BTreeMap::new(),
            dialled: BTreeMap::new(),
            scenario,
        };
        let mut instants: Vec<Time> =
            world.scenario.faults.iter().flat_map(|f| [Some(f.at), f.until]).flatten().collect();
        instants.sort();
        instants.dedup();
        instants.into_iter().for_each(|at| world.push(at, 0, What::Faults(at)));
        if let Some(at) = world.workload.next_at() {
            world.push(at, 1, What::Submit);
        }
        (0..n).for_each(|node| world.push(Time(0), 2 + node as u64, What::Wake(node)));
        world
    }

    fn push(&mut self, at: Time, tie: u64, what: What) {
        let key = if self.order == Order::ByInsertion { (at, 0, self.pushed) } else { (at, tie, self.pushed) };
        let place = self.events.partition_point(|(at, tie, pushed, _)| (*at, *tie, *pushed) < key);
        self.events.insert(place, (key.0, key.1, key.2, what));
        self.pushed += 1;
    }

    /// The action hash of the whole run.
    fn run(mut self) -> String {
        let mut handled = 0;
        while self.events.first().is_some_and(|(at, ..)| *at <= self.scenario.duration) {
            let second = usize::from(self.order == Order::Swapped(handled)).min(self.events.len() - 1);
            let (at, _, _, what) = self.events.remove(second);
            handled += 1;
            self.now = at.max(self.now);
            self.happen(what);
        }
        self.hash.finish()
    }

    fn happen(&mut self, what: What) {
        let current = |world: &NaiveWorld, wire: usize, turn| world.wires[wire].turn == turn;
        match what {
            What::Faults(at) => self.faults(at),
            What::Submit => self.submit(),
            What::Wake(node) => self.wake(node),
            What::Finished { node, life, job, turn, work } => {
                let place = &mut self.places[node];
                if place.life == life && place.running.get(&job) == Some(&turn) {
                    place.running.remove(&job);
                    let status = if work.fails { JobStatus::Failure } else { JobStatus::Success };
                    let outcome = Outcome { status, output: &work.output(job), duration: work.duration };
                    self.handle(node, Input::Finished { job, outcome });
                }
            }
            What::Frame { wire, epoch, frame } => self.frame_arrives(wire, epoch, frame),
            What::Datagram { from, to, life, frame } => {
                if self.reaches[from][to] && self.up(to) && self.places[to].life == life {
                    self.deliver(to, Link::BEACON, &frame);
                }
            }
            What::Attempt { wire, turn } if current(self, wire, turn) => self.attempt(wire),
            What::Established { wire, turn } if current(self, wire, turn) => self.established(wire),
            What::Broken { wire, turn } if current(self, wire, turn) => self.broken(wire),
            What::Forget { wire, turn } if current(self, wire, turn) => self.forget(wire),
            What::Drain { wire, turn } if current(self, wire, turn) => self.drain(wire),
            What::Attempt { .. }
            | What::Established { .. }
            | What::Broken { .. }
            | What::Forget { .. }
            | What::Drain { .. } => {}
        }
    }

    /// Of one instant, all ends before all begins; cuts count at once, the rest one by one.
    fn faults(&mut self, at: Time) {
        let faults = self.scenario.faults.clone();
        for row in &mut self.reaches {
            row.fill(true);
        }
        let on = |fault: &&marlos_sim::scenario::Fault| fault.at <= at && fault.until.is_none_or(|until| until > at);
        for fault in faults.iter().filter(on) {
            let FaultKind::Partition { groups } = &fault.kind else { continue };
            let group = |node: &NodeNo| groups.iter().position(|group| group.contains(node));
            for from in 0..self.places.len() {
                (0..self.places.len()).for_each(|to| self.reaches[from][to] &= group(&from) == group(&to));
            }
        }
        let now = |fault: &&marlos_sim::scenario::Fault| fault.at == at || fault.until == Some(at);
        let cut = |fault: &marlos_sim::scenario::Fault| matches!(fault.kind, FaultKind::Partition { .. });
        if faults.iter().filter(now).any(cut) {
            self.reach_changed();
        }
        for fault in faults.iter().filter(|fault| fault.until == Some(at)) {
            if let FaultKind::Crash { nodes, .. } = &fault.kind {
                nodes.iter().for_each(|node| self.start(*node));
            }
        }
        for fault in faults.iter().filter(|fault| fault.at == at) {
            match &fault.kind {
                FaultKind::Partition { .. } => {}
                FaultKind::Crash { nodes, storage: Storage::Kept, connection } => {
                    for node in nodes {
                        let place = &mut self.places[*node];
                        place.node = None;
                        place.life += 1;
                        place.running.clear();
                        self.node_down(*node, *connection);
                    }
                }
                kind => panic!("this world knows no {kind:?}"),
            }
        }
    }

    fn start(&mut self, node: NodeNo) {
        let place = &mut self.places[node];
        let seed = self.draws.seed_of(Purpose::NodeSeed, node, place.life);
        let machine = Node::new(place.config.clone(), place.keys.clone(), ChaCha8Rng::from_seed(seed));
        place.node = Some(machine.expect("its configuration was checked"));
        (place.started, place.met, place.wake_at) = (true, vec![node], Time::NEVER);
        let record = |(key, value): (&Vec<u8>, &Vec<u8>)| Record { key: key.clone(), value: value.clone() };
        let records: Vec<Record> = place.store.iter().map(record).collect();
        self.node_up(node);
        self.handle(node, Input::Start(&records));
    }

    fn wake(&mut self, node: NodeNo) {
        let place = &mut self.places[node];
        if !place.started {
            return self.start(node);
        }
        if place.wake_at != self.now {
            return;
        }
        place.wake_at = Time::NEVER;
        match place.node.as_ref().and_then(Node::next_deadline) {
            Some(due) if due <= self.now => self.handle(node, Input::Wake),
            _ => self.arm(node),
        }
    }

    fn arm(&mut self, node: NodeNo) {
        let place = &mut self.places[node];
        let Some(due) = place.node.as_ref().and_then(Node::next_deadline) else { return };
        let due = due.max(self.now);
        if due < place.wake_at {
            place.wake_at = due;
            self.push(due, 2 + node as u64, What::Wake(node));
        }
    }

    fn submit(&mut self) {
        let kinds = self.workload.kinds().to_vec();
        let duration = |kind: usize, draw| LatencyTable::new(&kinds[kind].duration).sample(draw);
        let submission = self.workload.next_job(duration).expect("a job is due");
        let job = &kinds[submission.kind];
        if let Some(at) = self.workload.next_at() {
            self.push(at, 1, What::Submit);
        }
        let spec = JobSpec {
            job_type: &job.job_type,
            command: &submission.job.to_command(),
            requirements: &job.requirements,
            payment: job.payment,
            priority: job.priority,
            deadline: job.deadline,
            max_attempts: job.max_attempts,
            consistency: job.consistency,
            private: job.private,
        };
        self.handle(submission.node, Input::Command(Command::Submit(spec)));
    }

    fn deliver(&mut self, node: NodeNo, link: Link, frame: &Frame) {
        self.hash.input(self.now, node, frame.number);
        self.handle(node, Input::Frame { link, bytes: &frame.bytes });
    }

    fn handle(&mut self, node: NodeNo, input: Input<'_>) {
        let wall = WallTime(1_767_225_600_000_000) + Span(self.now.0); // 2026-01-01
        let Some(machine) = &mut self.places[node].node else { return };
        let mut outbox = Outbox::default();
        machine.handle(Now { mono: self.now, wall }, input, &mut StrictVerifier, &mut outbox);
        self.hash.actions(self.now, node, &outbox);
        for action in &outbox.actions {
            self.act(node, action, &outbox);
        }
        self.arm(node);
    }

    fn act(&mut self, node: NodeNo, action: &Action, outbox: &Outbox) {
        let address =
            |range| outbox.text(range).split(['.', ':']).nth(4).and_then(|last| last.parse().ok()).expect("10.0.0.n");
        let place = &mut self.places[node];
        match action {
            // Known from the store already, or new: members are numbered once.
            Action::Report(Said::PeerDiscovered { peer } | Said::PeerRecalled { peer })
                if peer.at() == place.met.len() =>
            {
                let id = place.node.as_ref().expect("it speaks").view().peer_id(*peer);
                let number =
                    self.places.iter().position(|place| place.keys.id() == id).expect("nobody is invented here");
                self.places[node].met.push(number);
            }
            Action::Report(_) => {}
            Action::Persist { key, value } => {
                place.store.insert(outbox.slice(key).to_vec(), outbox.slice(value).to_vec());
            }
            Action::Forget { key } => drop(place.store.remove(outbox.slice(key))),
            Action::Send { to, kind, frame } => self.publish(node, *to, *kind, outbox.slice(frame)),
            Action::Connect { link, endpoint } => self.dial(node, *link, Dial::Subscribe, address(endpoint)),
            Action::Reach { link, endpoint } => self.dial(node, *link, Dial::Reach, address(endpoint)),
            Action::Disconnect(link) => self.hang_up(node, *link),
            Action::Execute { job, command, .. } => {
                place.turns += 1;
                place.running.insert(*job, place.turns);
                let work = SimulatedJob::parse(outbox.text(command)).expect("jobs are simulated here");
                let what = What::Finished { node, life: place.life, job: *job, turn: place.turns, work };
                self.push(self.now + work.duration, 2 + node as u64, what);
            }
            Action::Cancel(job) => drop(place.running.remove(job)),
        }
    }

    fn publish(&mut self, node: NodeNo, to: To, kind: MsgType, bytes: &[u8]) {
        let frame = Frame { number: self.sealed, bytes: bytes.into() };
        self.sealed += 1;
        let (purpose, to, kind) = match to {
            To::Beacon => (Purpose::Beacon, None, 0),
            To::All => (Purpose::Broadcast, None, kind as u8),
            To::One(peer) => (Purpose::Directed, Some(self.places[node].met[peer.at()]), kind as u8),
        };
        let count = self.sent.entry((purpose, node, to.unwrap_or(0), kind)).or_insert(0);
        *count += 1;
        let n = *count - 1;
        if purpose == Purpose::Beacon {
            let hears = |to: &NodeNo| *to != node && self.reaches[node][*to];
            for to in (0..self.places.len()).filter(hears).collect::<Vec<_>>() {
                let at = self.now + self.one_way(self.draws.one(purpose, node, to, kind, n));
                let life = self.places[to].life;
                self.push(at, tie(to, node, kind, n), What::Datagram { from: node, to, life, frame: frame.clone() });
            }
            return;
        }
        for wire in 0..self.wires.len() {
            let receiver = self.wires[wire].receiver();
            let listens = self.wires[wire].publisher() == node && self.wires[wire].phase == Phase::Up;
            if !listens || to.is_some_and(|to| to != receiver) {
                continue;
            }
            let delay = self.one_way(self.draws.one(purpose, node, receiver, kind, n));
            let at = (self.now + delay).max(self.wires[wire].last_arrival + Span(1));
            self.wires[wire].last_arrival = at;
            self.wires[wire].outstanding += 1;
            let calm = self.wires[wire].gate == Gate::Open || self.wires[wire].outstanding < 1_000;
            assert!(calm, "this world knows no high-water mark");
            let epoch = self.wires[wire].epoch;
            self.push(at, tie(receiver, node, kind, n), What::Frame { wire, epoch, frame: frame.clone() });
        }
    }

    fn one_way(&self, draw: u64) -> Span {
        self.latency.sample(draw).max(Span(1))
    }

    fn up(&self, node: NodeNo) -> bool {
        self.places[node].node.is_some()
    }
}

/// Five nodes that meet; one side is cut off for longer than connections last, or for less; one node crashes, loudly or silently, and
/// comes back with its store; jobs all the while.
fn small(latency: &str, cut_for: &str, connection: &str) -> String {
    format!(
        r#"
name = "small"
duration = "30s"
warmup = "3s"
settle = "5s"
[nodes]
count = 5
[network]
profile = "ideal"
latency = {latency}
[workload]
jobs_per_second = 1.0
from = ["n0..n2"]
job = {{ type = "simulated", duration = {{ distribution = "uniform", min = "100ms", max = "2s" }}, deadline = "20s" }}
[[fault]]
at = "6s"
for = "{cut_for}"
kind = "partition"
groups = [["n0..n2"], ["n3..n4"]]
[[fault]]
at = "8s"
for = "9s"
kind = "crash"
nodes = ["n4"]
connection = "{connection}"
"#
    )
}

const CONSTANT: &str = r#""2ms""#;
const LOGNORMAL: &str = r#"{ distribution = "lognormal", median = "2ms", p99 = "40ms" }"#;

fn naive(text: &str, order: Order) -> String {
    NaiveWorld::new(scenario(text, 1), order).run()
}

#[test]
fn a_sorted_list_of_single_events_gives_the_action_hash_of_the_world() {
    for (latency, cut_for, connection) in [
        (CONSTANT, "4s", "reset"),
        (CONSTANT, "14s", "silent"),
        (LOGNORMAL, "4s", "silent"),
        (LOGNORMAL, "14s", "reset"),
    ] {
        let text = small(latency, cut_for, connection);
        let outcome = run(&text, 1);
        assert!(outcome.jobs.completed > 5 && outcome.counters["frames_cut"] > 0, "{:?}", outcome.jobs);
        assert_eq!(naive(&text, Order::Exact), outcome.action_hash, "{latency}, cut for {cut_for}, {connection}");
    }
}

#[test]
fn events_of_one_microsecond_in_another_order_are_another_run() {
    let text = small(CONSTANT, "4s", "reset");
    let right = naive(&text, Order::Exact);
    assert_ne!(naive(&text, Order::ByInsertion), right);
    let swapped = (0..20).filter(|nth| naive(&text, Order::Swapped(nth * 50)) != right).count();
    assert!(swapped >= 15, "of 20 swaps of two neighbours, {swapped} were seen");
}
