//! A naive network in memory: constant latency, frames in order, dials that succeed after a while, cuts that swallow frames.
//!
//! It holds real nodes and nothing else: their stores, who subscribes to whom, and what is under way. After every call it
//! asserts the node's invariants, and that no two certificates exist for one round of one job.

use std::collections::BTreeMap;

use marlos::config::Membership;
use marlos::id::{JobId, Link, NodeId, PeerIdx};
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{Action, Command, Event, Input, JobSpec, JobStatus, Outbox, Outcome, PeerState, Record, To};
use marlos::time::{Now, Span, Time, WallTime};
use marlos::wire::{MsgType, binary, message::ClaimCertificate};
use marlos::{Config, Node, quorum};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub const LATENCY: Span = Span::millis(10);
pub const EPOCH_US: u64 = 1_800_000_000_000_000;
const DIAL_AGAIN: Span = Span::millis(250);

/// What a node did, as far as anybody outside can tell.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Reported(Event),
    Sent { kind: MsgType, to: Option<NodeId>, frame: Vec<u8> },
    Beaconed(MsgType),
    Persisted(u8),
    Forgot(u8),
    Dialled(Link),
    HungUp(Link),
    Executed(JobId),
    Cancelled(JobId),
}

#[derive(Clone, Debug)]
pub struct Said {
    pub at: Time,
    pub node: usize,
    pub what: What,
}

pub struct Slot {
    pub config: Config,
    pub node: Option<Node>,
    pub store: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Which no crash takes.
    pub keys: Keys,
    pub skew_us: i64,
    /// Frames and wakes wait until then.
    pub still_until: Time,
    life: u64,
    links: BTreeMap<Link, Stream>,
    running: Vec<JobId>,
}

#[derive(Clone, Copy)]
struct Stream {
    target: usize,
    reach: bool,
    up: bool,
}

enum Due {
    Frame { to: usize, link: Link, bytes: Vec<u8> },
    Dial { of: usize, life: u64, link: Link },
    Broken { of: usize, life: u64, link: Link },
    Finished { of: usize, life: u64, job: JobId },
}

/// Decides about a frame on its way: lost, or delayed by this much more.
pub type Fate = Box<dyn FnMut(usize, usize, MsgType) -> Option<Span>>;

pub struct Net {
    pub now: Time,
    pub slots: Vec<Slot>,
    pub said: Vec<Said>,
    /// `cut[from][to]`: frames that way are swallowed.
    pub cut: Vec<Vec<bool>>,
    pub fate: Fate,
    pub beacons: bool,
    /// How long executions take; nothing: they never end.
    pub run_for: Option<Span>,
    /// How many of the next executions fail.
    pub failures: u32,
    pub output: Vec<u8>,
    pub outputs: BTreeMap<JobId, Vec<u8>>,
    pub certified: BTreeMap<(JobId, u32), NodeId>,
    queue: BTreeMap<(Time, u64), Due>,
    sequence: u64,
}

pub fn config(at: usize) -> Config {
    Config {
        node_name: format!("n{at}"),
        pub_endpoint: format!("tcp://n{at}:1"),
        sub_endpoint: format!("tcp://n{at}:2"),
        capabilities: vec!["shell".into()],
        ..Config::default()
    }
}

pub fn keys(at: usize) -> Keys {
    Keys::from_secret(&[u8::try_from(at + 1).expect("few nodes"); 32])
}

impl Net {
    pub fn new(configs: Vec<Config>) -> Net {
        let count = configs.len();
        let slot = |(at, config)| Slot {
            config,
            node: None,
            keys: keys(at),
            store: BTreeMap::new(),
            skew_us: 0,
            still_until: Time(0),
            life: 0,
            links: BTreeMap::new(),
            running: Vec::new(),
        };
        Net {
            now: Time(0),
            slots: configs.into_iter().enumerate().map(slot).collect(),
            said: Vec::new(),
            cut: vec![vec![false; count]; count],
            fate: Box::new(|_, _, _| Some(Span::ZERO)),
            beacons: false,
            run_for: Some(Span::millis(50)),
            failures: 0,
            output: b"done\n".to_vec(),
            outputs: BTreeMap::new(),
            certified: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Starts a process with what its store holds.
    pub fn start(&mut self, at: usize) -> Vec<What> {
        let slot = &mut self.slots[at];
        slot.life += 1;
        let seed = at as u64 + 1_000 * slot.life;
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let node = Node::new(slot.config.clone(), slot.keys.clone(), rng).expect("a sound config");
        slot.node = Some(node);
        let records: Vec<Record> =
            slot.store.iter().map(|(key, value)| Record { key: key.clone(), value: value.clone() }).collect();
        self.input(at, Input::Start(&records))
    }

    /// Kills a process; whoever is subscribed to it notices one latency later.
    pub fn stop(&mut self, at: usize) {
        self.slots[at].node = None;
        self.slots[at].links.clear();
        self.slots[at].running.clear();
        for of in 0..self.slots.len() {
            self.break_link(of, at);
        }
    }

    /// The connection that `of` made to `target` breaks.
    pub fn break_link(&mut self, of: usize, target: usize) {
        let life = self.slots[of].life;
        let down: Vec<Link> = self.slots[of]
            .links
            .iter_mut()
            .filter_map(|(link, stream)| (stream.target == target && std::mem::take(&mut stream.up)).then_some(*link))
            .collect();
        for link in down {
            self.push(LATENCY, Due::Broken { of, life, link });
            self.push(LATENCY + DIAL_AGAIN, Due::Dial { of, life, link });
        }
    }

    /// One call into a node, with its actions applied; what it said is returned and logged.
    pub fn input(&mut self, at: usize, input: Input<'_>) -> Vec<What> {
        let now = self.now_of(at);
        let mut out = Outbox::default();
        let node = self.slots[at].node.as_mut().expect("it runs");
        node.handle(now, input, &mut StrictVerifier, &mut out);
        node.check_invariants();
        let said: Vec<What> = std::mem::take(&mut out.actions).iter().map(|a| self.apply(at, a, &out)).collect();
        self.said.extend(said.iter().map(|what| Said { at: self.now, node: at, what: what.clone() }));
        said
    }

    pub fn deliver(&mut self, to: usize, link: Link, bytes: &[u8]) -> Vec<What> {
        self.input(to, Input::Frame { link, bytes })
    }

    fn apply(&mut self, at: usize, action: &Action, out: &Outbox) -> What {
        let life = self.slots[at].life;
        match action {
            Action::Persist { key, value } => {
                self.slots[at].store.insert(out.slice(key).to_vec(), out.slice(value).to_vec());
                What::Persisted(out.slice(key)[0])
            }
            Action::Forget { key } => {
                self.slots[at].store.remove(out.slice(key));
                What::Forgot(out.slice(key)[0])
            }
            Action::Send { to: To::Beacon, kind, frame } => {
                let others = if self.beacons { self.slots.len() } else { 0 };
                for to in (0..others).filter(|to| *to != at) {
                    self.carry(at, to, Link::BEACON, *kind, out.slice(frame));
                }
                What::Beaconed(*kind)
            }
            Action::Send { to, kind, frame } => {
                let to = match to {
                    To::One(peer) => Some(self.node(at).view().peer_id(*peer)),
                    To::All | To::Beacon => None,
                };
                self.publish(at, to, *kind, out.slice(frame));
                What::Sent { kind: *kind, to, frame: out.slice(frame).to_vec() }
            }
            Action::Connect { link, endpoint } | Action::Reach { link, endpoint } => {
                let reach = matches!(action, Action::Reach { .. });
                let host =
                    out.text(endpoint).trim_start_matches("tcp://n").split(':').next().and_then(|n| n.parse().ok());
                if let Some(target) = host.filter(|target| *target < self.slots.len()) {
                    self.slots[at].links.insert(*link, Stream { target, reach, up: false });
                    self.push(LATENCY.times(2), Due::Dial { of: at, life, link: *link });
                }
                What::Dialled(*link)
            }
            Action::Disconnect(link) => {
                self.slots[at].links.remove(link);
                What::HungUp(*link)
            }
            Action::Execute { job, .. } => {
                self.slots[at].running.push(*job);
                if let Some(run_for) = self.run_for {
                    self.push(run_for, Due::Finished { of: at, life, job: *job });
                }
                What::Executed(*job)
            }
            Action::Cancel(job) => {
                self.slots[at].running.retain(|running| running != job);
                What::Cancelled(*job)
            }
            Action::Report(event) => {
                self.on_event(at, event, out);
                What::Reported(event.clone())
            }
        }
    }

    fn on_event(&mut self, at: usize, event: &Event, out: &Outbox) {
        match event {
            Event::JobCompleted { job, output, .. } => {
                self.outputs.insert(*job, out.slice(output).to_vec());
            }
            Event::Certified { job, round, certificate, .. } => {
                let proof: ClaimCertificate = binary::decode(out.slice(certificate)).expect("a certificate");
                let known = self.electorate(at);
                if !known.is_empty() {
                    let needed = quorum::quorum(u32::try_from(known.len()).expect("few"));
                    let network = &self.slots[at].config.network_id;
                    let sound = quorum::check_certificate(&proof, &known, needed, network, &mut StrictVerifier);
                    assert_eq!(sound, Ok(()), "a certificate that a node made convinces everyone");
                }
                if proof.reachable.is_empty() {
                    let winner = *self.certified.entry((*job, *round)).or_insert(proof.statement.winner);
                    assert_eq!(winner, proof.statement.winner, "one winner for round {round} of {job}");
                }
            }
            _ => {}
        }
    }

    /// The members that a node knows, with their keys; empty where one of them is no node of this network.
    fn electorate(&self, at: usize) -> Vec<(NodeId, [u8; 32])> {
        let view = self.node(at).view();
        let mut all: BTreeMap<NodeId, [u8; 32]> = (0..40).map(|n| (keys(n).id(), keys(n).public())).collect();
        all.extend(self.slots.iter().map(|slot| (slot.keys.id(), slot.keys.public())));
        let ids: Vec<NodeId> = match &view.config().membership {
            Membership::Open => (0..view.members()).map(|peer| view.peer_id(PeerIdx(peer))).collect(),
            Membership::Fixed(listed) => listed.clone(),
        };
        let mut known: Vec<_> = ids.into_iter().map(|id| (id, all.get(&id).copied().unwrap_or_default())).collect();
        known.sort_unstable();
        known
    }

    fn publish(&mut self, from: usize, to_id: Option<NodeId>, kind: MsgType, frame: &[u8]) {
        let mut receivers = Vec::new();
        for (of, slot) in self.slots.iter().enumerate() {
            for (link, stream) in slot.links.iter().filter(|(_, stream)| stream.up) {
                match *stream {
                    Stream { target, reach: false, .. } if target == from => receivers.push((of, *link)),
                    Stream { target, reach: true, .. } if of == from => receivers.push((target, Link::INBOUND)),
                    _ => {}
                }
            }
        }
        for (to, link) in receivers {
            if to_id.is_none_or(|id| id == keys(to).id()) {
                self.carry(from, to, link, kind, frame);
            }
        }
    }

    fn carry(&mut self, from: usize, to: usize, link: Link, kind: MsgType, frame: &[u8]) {
        if self.cut[from][to] {
            return;
        }
        if let Some(more) = (self.fate)(from, to, kind) {
            self.push(LATENCY + more, Due::Frame { to, link, bytes: frame.to_vec() });
        }
    }

    fn push(&mut self, after: Span, due: Due) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), due);
    }

    /// Lets time pass, with everything that happens in it.
    pub fn run_for(&mut self, span: Span) {
        let until = self.now + span;
        self.run_to(until, |_| false);
    }

    /// Lets time pass until something is so; says whether it came to be.
    pub fn run_until(&mut self, within: Span, done: impl FnMut(&Net) -> bool) -> bool {
        let until = self.now + within;
        self.run_to(until, done)
    }

    fn run_to(&mut self, until: Time, mut done: impl FnMut(&Net) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let due = self.queue.first_key_value().map(|((at, _), _)| *at);
            let wake = |slot: &Slot| slot.node.as_ref()?.next_deadline().map(|at| at.max(slot.still_until));
            let wake = (0..self.slots.len()).filter_map(|at| wake(&self.slots[at]).map(|time| (time, at))).min();
            match (due, wake) {
                (Some(due), wake) if due <= until && wake.is_none_or(|(time, _)| due <= time) => {
                    self.now = self.now.max(due);
                    let (_, due) = self.queue.pop_first().expect("just seen");
                    self.fall_due(due);
                }
                (_, Some((time, at))) if time <= until => {
                    self.now = self.now.max(time);
                    self.input(at, Input::Wake);
                }
                _ => {
                    self.now = until;
                    return done(self);
                }
            }
        }
    }

    fn fall_due(&mut self, due: Due) {
        match due {
            Due::Frame { to, link, bytes } if self.slots[to].node.is_some() => {
                if self.now < self.slots[to].still_until {
                    let wait = self.slots[to].still_until.since(self.now);
                    return self.push(wait, Due::Frame { to, link, bytes });
                }
                self.deliver(to, link, &bytes);
            }
            Due::Dial { of, life, link } if self.slots[of].life == life && self.slots[of].node.is_some() => {
                let Some(stream) = self.slots[of].links.get(&link).copied() else { return };
                let open = !self.cut[of][stream.target] && !self.cut[stream.target][of];
                if self.slots[stream.target].node.is_some() && open {
                    self.slots[of].links.get_mut(&link).expect("just read").up = true;
                    self.input(of, Input::Connected(link));
                } else {
                    self.push(DIAL_AGAIN, Due::Dial { of, life, link });
                }
            }
            Due::Broken { of, life, link } if self.slots[of].life == life && self.slots[of].node.is_some() => {
                self.input(of, Input::Disconnected(link));
            }
            Due::Finished { of, life, job } if self.slots[of].life == life && self.slots[of].running.contains(&job) => {
                self.slots[of].running.retain(|running| *running != job);
                let output = self.output.clone();
                let status = if self.failures > 0 { JobStatus::Failure } else { JobStatus::Success };
                self.failures = self.failures.saturating_sub(1);
                let outcome = Outcome { status, output: &output, duration: Span::millis(50) };
                self.input(of, Input::Finished { job, outcome });
            }
            Due::Frame { .. } | Due::Dial { .. } | Due::Broken { .. } | Due::Finished { .. } => {}
        }
    }

    pub fn now_of(&self, at: usize) -> Now {
        Now { mono: self.now, wall: WallTime(EPOCH_US + self.now.0).offset(self.slots[at].skew_us) }
    }

    pub fn node(&self, at: usize) -> &Node {
        self.slots[at].node.as_ref().expect("it runs")
    }

    pub fn is_up(&self, at: usize) -> bool {
        self.slots[at].node.is_some()
    }

    /// How `at` sees `other`, if it knows it.
    pub fn state(&self, at: usize, other: usize) -> Option<PeerState> {
        let id = keys(other).id();
        self.node(at).view().peers(self.now).find(|peer| peer.id == id).map(|peer| peer.state)
    }

    /// Gives a node's identity another key, made of this byte, and returns what it does.
    pub fn rotate(&mut self, at: usize, secret: u8) -> Vec<What> {
        let network = self.slots[at].config.network_id.clone();
        let rotated = self.slots[at].keys.rotated(&[secret; 32], self.now_of(at).wall, &network).expect("it may");
        self.slots[at].keys = rotated.clone();
        if self.is_up(at) { self.input(at, Input::Command(Command::Rotate(&rotated))) } else { Vec::new() }
    }

    pub fn submit(&mut self, at: usize, spec: JobSpec<'_>) -> JobId {
        let said = self.input(at, Input::Command(Command::Submit(spec)));
        let accepted = said.iter().find_map(|what| match what {
            What::Reported(Event::JobSubmitted { job }) => Some(*job),
            _ => None,
        });
        accepted.expect("accepted")
    }

    /// Whether every running node sees every running node alive, and is not degraded.
    pub fn all_alive(&self) -> bool {
        let up: Vec<usize> = (0..self.slots.len()).filter(|at| self.is_up(*at)).collect();
        let sees = |a: usize, b: usize| a == b || self.state(a, b) == Some(PeerState::Alive);
        up.iter().all(|a| up.iter().all(|b| sees(*a, *b)) && !self.node(*a).view().degraded())
    }

    /// What was reported at a node, with its time.
    pub fn reports(&self, at: usize) -> impl Iterator<Item = (Time, &Event)> {
        self.said.iter().filter(move |said| said.node == at).filter_map(|said| match &said.what {
            What::Reported(event) => Some((said.at, event)),
            _ => None,
        })
    }

    pub fn refusals(&self, at: usize) -> Vec<marlos::io::Refusal> {
        let reason = |(_, event): (Time, &Event)| match event {
            Event::Refused { reason, .. } => Some(*reason),
            _ => None,
        };
        self.reports(at).filter_map(reason).collect()
    }
}
