//! A second event loop, as plain as it can be: one sorted list of events, one event for each copy of a frame, every receiver decodes
//! and verifies for itself, connections are looked for in a list. It knows the model only by what is written down about it (the heads of
//! `network.rs` and `network/dial.rs`), and drives the same node; where it and the production world make the same actions at the same
//! times, the flights, memos, shared frames and heaps of the latter are what they claim to be: the same thing, faster. To fit on a page it
//! knows no faults, loss, bandwidth or processors.

#[path = "support/worlds.rs"]
mod worlds;

use std::collections::BTreeMap;

use marlos::Node;
use marlos::config::Bootstrap;
use marlos::id::{JobId, Link};
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{Action, Command, Event as Said, Input, JobSpec, JobStatus, Outbox, Outcome, To};
use marlos::time::{Now, Span, Time, WallTime};
use marlos::wire::MsgType;
use marlos_sim::draw::{Draws, Purpose, below};
use marlos_sim::network::latency::LatencyTable;
use marlos_sim::network::{Dial, tie};
use marlos_sim::scenario::{NodeNo, Scenario};
use marlos_sim::workload::{SimulatedJob, Workload};
use marlos_sim::world::ActionHash;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
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

enum What {
    Submit,
    Wake(NodeNo),
    Finished(NodeNo, JobId, SimulatedJob),
    /// Over this connection, or as a datagram.
    Frame {
        over: Option<usize>,
        to: NodeNo,
        link: Link,
        number: u64,
        bytes: Vec<u8>,
    },
    Attempt(usize),
    Established(usize),
}

struct Place {
    /// From its first wake on.
    node: Option<Node>,
    keys: Keys,
    wake_at: Time,
    /// The world's number of each member as the node numbers them.
    met: Vec<NodeNo>,
}

struct Wire {
    dialler: NodeNo,
    target: NodeNo,
    dial: Dial,
    /// The dialler's number for it.
    own: Link,
    up: bool,
    /// The dialler has left: it hears nothing more, and what it said still arrives.
    left: bool,
    last_arrival: Time,
    attempts: u32,
}

struct NaiveWorld {
    scenario: Scenario,
    now: Time,
    /// Each with its time, its tie, and how many were pushed before it.
    events: Vec<(Time, u64, u64, What)>,
    pushed: u64,
    order: Order,
    places: Vec<Place>,
    wires: Vec<Wire>,
    draws: Draws,
    latency: LatencyTable,
    workload: Workload,
    hash: ActionHash,
    sealed: u64,
    /// How often something was sent or dialled, by purpose, sender, receiver and kind.
    counts: BTreeMap<(Purpose, NodeNo, NodeNo, u8), u64>,
}

/// The action hash of the whole run.
fn naive(text: &str, order: Order) -> String {
    let scenario = scenario(text, 1);
    assert!(scenario.faults.is_empty() && scenario.network.loss.0 == 0, "this world has no such thing");
    let (n, draws) = (scenario.nodes.len(), Draws::new(scenario.seed));
    let keys = |node| Keys::from_secret(&draws.seed_of(Purpose::NodeKey, node, 0));
    let place = |node| Place { node: None, keys: keys(node), wake_at: Time::NEVER, met: vec![node] };
    let mut world = NaiveWorld {
        places: (0..n).map(place).collect(),
        now: Time(0),
        events: Vec::new(),
        pushed: 0,
        order,
        wires: Vec::new(),
        latency: LatencyTable::new(&scenario.network.latency),
        workload: Workload::new(&scenario),
        hash: ActionHash::default(),
        sealed: 0,
        counts: BTreeMap::new(),
        draws,
        scenario,
    };
    world.push(world.workload.next_at().expect("jobs are submitted"), 1, What::Submit);
    (0..n).for_each(|node| world.push(Time(0), 2 + node as u64, What::Wake(node)));
    let mut handled = 0;
    while world.events.first().is_some_and(|(at, ..)| *at <= world.scenario.duration) {
        let second = usize::from(order == Order::Swapped(handled)).min(world.events.len() - 1);
        let (at, _, _, what) = world.events.remove(second);
        handled += 1;
        world.now = at.max(world.now);
        world.happen(what);
    }
    world.hash.finish()
}

impl NaiveWorld {
    fn push(&mut self, at: Time, tie: u64, what: What) {
        let key = (at, if self.order == Order::ByInsertion { 0 } else { tie }, self.pushed);
        let place = self.events.partition_point(|(at, tie, pushed, _)| (*at, *tie, *pushed) < key);
        self.events.insert(place, (key.0, key.1, key.2, what));
        self.pushed += 1;
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Submit => self.submit(),
            What::Wake(node) => self.wake(node),
            What::Finished(node, job, work) => {
                let status = if work.fails { JobStatus::Failure } else { JobStatus::Success };
                let outcome = Outcome { status, output: &work.output(job), duration: work.duration };
                self.handle(node, Input::Finished { job, outcome });
            }
            What::Frame { over: Some(wire), .. }
                if self.wires[wire].left && self.wires[wire].dial == Dial::Subscribe => {}
            What::Attempt(wire) | What::Established(wire) if self.wires[wire].left => {}
            What::Frame { to, link, number, bytes, .. } => {
                self.hash.input(self.now, to, number);
                self.handle(to, Input::Frame { link, bytes: &bytes });
            }
            What::Attempt(wire) => self.attempt(wire),
            What::Established(wire) => {
                (self.wires[wire].up, self.wires[wire].last_arrival) = (true, self.now);
                self.handle(self.wires[wire].dialler, Input::Connected(self.wires[wire].own));
            }
        }
    }

    fn wake(&mut self, node: NodeNo) {
        let Some(machine) = &self.places[node].node else { return self.start(node) };
        if self.places[node].wake_at != self.now {
            return;
        }
        let due = machine.next_deadline().is_some_and(|due| due <= self.now);
        self.places[node].wake_at = Time::NEVER;
        if due { self.handle(node, Input::Wake) } else { self.arm(node) }
    }

    fn start(&mut self, node: NodeNo) {
        let endpoint = |node: NodeNo, port| format!("tcp://10.0.0.{node}:{port}");
        let ports = |other| Bootstrap { pub_endpoint: endpoint(other, 5555), sub_endpoint: endpoint(other, 5556) };
        let mut config = self.scenario.nodes[node].config.clone();
        (config.pub_endpoint, config.sub_endpoint) = (endpoint(node, 5555), endpoint(node, 5556));
        config.bootstrap = (0..3).filter(|other| *other != node).map(ports).collect();
        let rng = ChaCha8Rng::from_seed(self.draws.seed_of(Purpose::NodeSeed, node, 0));
        let place = &mut self.places[node];
        place.node = Some(Node::new(config, place.keys.clone(), rng).expect("its configuration was checked"));
        self.handle(node, Input::Start(&[]));
    }

    fn arm(&mut self, node: NodeNo) {
        let Some(due) = self.places[node].node.as_ref().and_then(Node::next_deadline) else { return };
        let due = due.max(self.now);
        if due < self.places[node].wake_at {
            self.places[node].wake_at = due;
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

    fn handle(&mut self, node: NodeNo, input: Input<'_>) {
        let wall = WallTime(1_767_225_600_000_000) + Span(self.now.0); // 2026-01-01
        let Some(machine) = &mut self.places[node].node else { return };
        let mut outbox = Outbox::default();
        machine.handle(Now { mono: self.now, wall }, input, &mut StrictVerifier, &mut outbox);
        self.hash.actions(self.now, node, &outbox);
        outbox.actions.iter().for_each(|action| self.act(node, action, &outbox));
        self.arm(node);
    }

    fn act(&mut self, node: NodeNo, action: &Action, outbox: &Outbox) {
        let address =
            |range| outbox.text(range).split(['.', ':']).nth(4).and_then(|last| last.parse().ok()).expect("10.0.0.n");
        match action {
            // Members are numbered in the order in which they are met.
            Action::Report(Said::PeerDiscovered { peer }) if peer.at() == self.places[node].met.len() => {
                let id = self.places[node].node.as_ref().expect("it speaks").view().peer_id(*peer);
                let is_it = |place: &Place| place.keys.id() == id;
                let number = self.places.iter().position(is_it).expect("nobody is invented here");
                self.places[node].met.push(number);
            }
            // Nobody here needs its store again.
            Action::Report(_) | Action::Persist { .. } | Action::Forget { .. } => {}
            Action::Send { to, kind, frame } => self.publish(node, *to, *kind, outbox.slice(frame)),
            Action::Connect { link, endpoint } => self.dial(node, *link, Dial::Subscribe, address(endpoint)),
            Action::Reach { link, endpoint } => self.dial(node, *link, Dial::Reach, address(endpoint)),
            Action::Execute { job, command, .. } => {
                let work = SimulatedJob::parse(outbox.text(command)).expect("jobs are simulated here");
                self.push(self.now + work.duration, 2 + node as u64, What::Finished(node, *job, work));
            }
            Action::Disconnect(link) => self.hang_up(node, *link),
            Action::Cancel(_) => panic!("where nothing goes wrong, no job is broken off"),
        }
    }

    fn dial(&mut self, dialler: NodeNo, own: Link, dial: Dial, target: NodeNo) {
        self.hang_up(dialler, own);
        if dialler != target {
            let (up, left, last_arrival, attempts) = (false, false, Time(0), 0);
            self.wires.push(Wire { dialler, target, dial, own, up, left, last_arrival, attempts });
            self.attempt(self.wires.len() - 1);
        }
    }

    fn hang_up(&mut self, dialler: NodeNo, own: Link) {
        let dialled = |wire: &&mut Wire| wire.dialler == dialler && wire.own == own;
        self.wires.iter_mut().filter(dialled).for_each(|wire| (wire.up, wire.left) = (false, true));
    }

    /// Three messages make a connection; who finds nobody tries again after a while.
    fn attempt(&mut self, no: usize) {
        let (a, b, own) = (self.wires[no].dialler, self.wires[no].target, self.wires[no].own.0.into());
        let n = self.count(Purpose::Handshake, a, b, 0);
        if self.places[b].node.is_none() {
            let longest = (100_000 << self.wires[no].attempts.min(16)).min(1_000_000);
            self.wires[no].attempts += 1;
            let wait = longest - below(self.draws.one(Purpose::Backoff, a, b, 0, n), longest / 2);
            return self.push(self.now + Span(wait), tie(a, b, 0xe0, own), What::Attempt(no));
        }
        let legs = [(0, a, b), (1, b, a), (2, a, b)];
        let took = legs.map(|(leg, from, to)| self.one_way(Purpose::Handshake, from, to, leg, n));
        let at = took.into_iter().fold(self.now, |at, leg| at + leg);
        self.push(at, tie(a, b, 0xe1, own), What::Established(no));
    }

    fn publish(&mut self, node: NodeNo, to: To, kind: MsgType, bytes: &[u8]) {
        let (number, bytes) = (self.sealed, bytes.to_vec());
        self.sealed += 1;
        let (purpose, only, kind) = match to {
            To::Beacon => (Purpose::Beacon, None, 0),
            To::All => (Purpose::Broadcast, None, kind as u8),
            To::One(peer) => (Purpose::Directed, Some(self.places[node].met[peer.at()]), kind as u8),
        };
        let n = self.count(purpose, node, only.unwrap_or(0), kind);
        if purpose == Purpose::Beacon {
            for to in (0..self.places.len()).filter(|to| *to != node) {
                let at = self.now + self.one_way(purpose, node, to, kind, n);
                let frame = What::Frame { over: None, to, link: Link::BEACON, number, bytes: bytes.clone() };
                self.push(at, tie(to, node, kind, n), frame);
            }
            return;
        }
        for no in 0..self.wires.len() {
            let wire = &self.wires[no];
            let (sender, to, link) = match wire.dial {
                Dial::Subscribe => (wire.target, wire.dialler, wire.own),
                Dial::Reach => (wire.dialler, wire.target, Link::INBOUND),
            };
            if sender == node && wire.up && only.is_none_or(|only| only == to) {
                // One after the other, never earlier than what went before.
                let at = (self.now + self.one_way(purpose, node, to, kind, n)).max(wire.last_arrival + Span(1));
                self.wires[no].last_arrival = at;
                self.push(
                    at,
                    tie(to, node, kind, n),
                    What::Frame { over: Some(no), to, link, number, bytes: bytes.clone() },
                );
            }
        }
    }

    fn one_way(&self, purpose: Purpose, from: NodeNo, to: NodeNo, kind: u8, n: u64) -> Span {
        self.latency.sample(self.draws.one(purpose, from, to, kind, n)).max(Span(1))
    }

    fn count(&mut self, purpose: Purpose, from: NodeNo, to: NodeNo, kind: u8) -> u64 {
        let count = self.counts.entry((purpose, from, to, kind)).or_insert(0);
        *count += 1;
        *count - 1
    }
}

/// Five nodes that meet and work.
fn small(latency: &str) -> String {
    format!(
        r#"
name = "small"
duration = "20s"
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
"#
    )
}

const CONSTANT: &str = r#""2ms""#;
const LOGNORMAL: &str = r#"{ distribution = "lognormal", median = "2ms", p99 = "40ms" }"#;

#[test]
fn a_sorted_list_of_single_events_gives_the_action_hash_of_the_world() {
    for latency in [CONSTANT, LOGNORMAL] {
        let outcome = run(&small(latency), 1);
        assert!(outcome.jobs.completed > 5, "{:?}", outcome.jobs);
        assert_eq!(naive(&small(latency), Order::Exact), outcome.action_hash, "{latency}");
    }
}

#[test]
fn events_of_one_microsecond_in_another_order_are_another_run() {
    let text = small(CONSTANT);
    let right = naive(&text, Order::Exact);
    assert_ne!(naive(&text, Order::ByInsertion), right);
    let swapped = (0..20).filter(|nth| naive(&text, Order::Swapped(nth * 50)) != right).count();
    assert!(swapped >= 15, "of 20 swaps of two neighbours, {swapped} were seen");
}
