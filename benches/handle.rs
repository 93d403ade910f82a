//! What a node's work costs on this machine: `Node::handle` by the kind of message that comes in, without the cryptography, and a
//! signature and a verification by themselves. What `cpu` in a scenario's `[nodes]` wants to know.
//!
//! Ten nodes in one process, frames handed over one by one; 100 jobs per second are auctioned, run and paid for 6 seconds of their own
//! time. `cargo bench -p marlos --no-default-features --bench handle`; medians, in nanoseconds.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark has clocks, and prints what it measured"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use marlos::config::Bootstrap;
use marlos::id::{JobId, Link};
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{Action, Command, Input, JobSpec, JobStatus, Outbox, Outcome, To, Verify};
use marlos::time::{Now, Span, Time, WallTime};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::Consistency;
use marlos::wire::{Envelope, MsgType, Signature, Signed, binary};
use marlos::{Config, Node};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const NODES: usize = 10;
const SUBMIT_EVERY: Span = Span::millis(10);
const FOR: Span = Span::secs(6);
/// Everyone has met everyone.
const WARM: Span = Span::secs(3);

/// Strict Ed25519 that knows how long it took.
#[derive(Default)]
struct Timed {
    signing: Vec<Duration>,
    verifying: Vec<Duration>,
    total: Duration,
}

impl Verify for Timed {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        let began = Instant::now();
        let answer = StrictVerifier.verify(key, message, signature);
        let took = began.elapsed();
        self.verifying.push(took);
        self.total += took;
        answer
    }
    fn sign(&mut self, keys: &Keys, message: &Signed<'_>) -> Signature {
        let began = Instant::now();
        let signature = keys.sign(message);
        let took = began.elapsed();
        self.signing.push(took);
        self.total += took;
        signature
    }
}

/// Something that comes to a node.
enum Coming {
    Frame { link: Link, bytes: Vec<u8> },
    Connected(Link),
    Finished(JobId),
}

/// Ten nodes, and all that is between them.
#[derive(Default)]
struct Net {
    nodes: Vec<Node>,
    /// `links[receiver][sender]`: where the one hears the other.
    links: Vec<BTreeMap<usize, Link>>,
    coming: VecDeque<(usize, Coming)>,
    running: VecDeque<(Time, usize, JobId)>,
    timed: Timed,
    /// By what came in: messages in all calls, and each call's time without cryptography.
    costs: BTreeMap<String, (u64, Vec<Duration>)>,
}

fn endpoints(node: usize) -> (String, String) {
    (format!("tcp://10.0.0.{node}:5555"), format!("tcp://10.0.0.{node}:5556"))
}

impl Net {
    fn new() -> Net {
        let mut net = Net { links: vec![BTreeMap::new(); NODES], ..Net::default() };
        for node in 0..NODES {
            let (pub_endpoint, sub_endpoint) = endpoints(node);
            let mut config = Config { pub_endpoint, sub_endpoint, ..Config::default() };
            config.capabilities = vec!["simulated".to_owned()];
            if node > 0 {
                let (pub_endpoint, sub_endpoint) = endpoints(0);
                config.bootstrap = vec![Bootstrap { pub_endpoint, sub_endpoint }];
            }
            let seed = [u8::try_from(node).expect("ten") + 1; 32];
            let node = Node::new(config, Keys::from_secret(&seed), ChaCha8Rng::from_seed(seed));
            net.nodes.push(node.expect("a valid configuration"));
        }
        net
    }

    fn call(&mut self, at: Time, node: usize, what: &str, messages: u64, input: Input<'_>) {
        let now = Now { mono: at, wall: WallTime(1_767_225_600_000_000) + Span(at.0) };
        let mut out = Outbox::default();
        let crypto = self.timed.total;
        let began = Instant::now();
        self.nodes[node].handle(now, input, &mut self.timed, &mut out);
        let took = began.elapsed().saturating_sub(self.timed.total - crypto);
        if at >= Time(0) + WARM {
            let cost = self.costs.entry(what.to_owned()).or_default();
            cost.0 += messages;
            cost.1.push(took);
        }
        self.carry_out(at, node, &out);
    }

    fn carry_out(&mut self, at: Time, node: usize, out: &Outbox) {
        for action in &out.actions {
            match action {
                Action::Send { to, frame, .. } => self.send(node, *to, out.slice(frame)),
                Action::Connect { link, endpoint } | Action::Reach { link, endpoint } => {
                    let host = out.text(endpoint);
                    let other = (0..NODES).find(|n| [endpoints(*n).0, endpoints(*n).1].iter().any(|e| e == host));
                    let other = other.expect("an endpoint of this network");
                    if matches!(action, Action::Connect { .. }) {
                        self.links[node].insert(other, *link);
                    } else {
                        self.links[other].entry(node).or_insert(Link::INBOUND);
                    }
                    self.coming.push_back((node, Coming::Connected(*link)));
                }
                Action::Execute { job, .. } => self.running.push_back((at + Span::millis(10), node, *job)),
                Action::Persist { .. }
                | Action::Forget { .. }
                | Action::Disconnect(_)
                | Action::Cancel(_)
                | Action::Report(_) => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: To, bytes: &[u8]) {
        let whom = match to {
            To::All => None,
            To::One(peer) => Some(self.nodes[from].view().peer_id(peer)),
            To::Beacon => return,
        };
        for node in (0..NODES).filter(|node| *node != from) {
            let Some(link) = self.links[node].get(&from).copied() else { continue };
            if whom.is_none_or(|id| self.nodes[node].view().id() == id) {
                self.coming.push_back((node, Coming::Frame { link, bytes: bytes.to_vec() }));
            }
        }
    }

    fn hear(&mut self, at: Time, node: usize, coming: Coming) {
        match coming {
            Coming::Frame { link, bytes } => {
                let kind = Envelope::peek(&bytes, u32::MAX).expect("a frame of ours").header.kind;
                let messages = if kind == MsgType::Bundle { binary::bundle_items(&bytes).len() as u64 } else { 1 };
                self.call(at, node, &format!("{kind:?}"), messages, Input::Frame { link, bytes: &bytes });
            }
            Coming::Connected(link) => self.call(at, node, "(connected)", 1, Input::Connected(link)),
            Coming::Finished(job) => {
                let outcome = Outcome { status: JobStatus::Success, output: b"done", duration: Span::millis(10) };
                self.call(at, node, "(finished)", 1, Input::Finished { job, outcome });
            }
        }
    }

    fn run(&mut self) {
        (0..NODES).for_each(|node| self.call(Time(0), node, "(start)", 1, Input::Start(&[])));
        let (mut at, mut submitted) = (Time(0), 0u64);
        let mut submit_at = Time(0) + WARM;
        while at < Time(0) + WARM + FOR {
            while let Some((node, coming)) = self.coming.pop_front() {
                at += Span(1);
                self.hear(at, node, coming);
            }
            let wake = (0..NODES).filter_map(|node| Some((self.nodes[node].next_deadline()?, node))).min();
            let run = self.running.front().map_or(Time::NEVER, |(due, ..)| *due);
            let (due, node) = wake.expect("nodes have heartbeats");
            if submit_at <= due.min(run) {
                at = at.max(submit_at);
                submit_at += SUBMIT_EVERY;
                submitted += 1;
                let command = format!("job {submitted}");
                let spec = JobSpec {
                    job_type: "simulated",
                    command: &command,
                    requirements: &[],
                    payment: Tokens(10_000),
                    priority: Ppm(500_000),
                    deadline: Span::secs(10),
                    max_attempts: 1,
                    consistency: Consistency::Quorum,
                    private: false,
                };
                let node = usize::try_from(submitted).expect("few") % NODES;
                self.call(at, node, "(submit)", 1, Input::Command(Command::Submit(spec)));
            } else if run <= due {
                let (due, node, job) = self.running.pop_front().expect("something runs");
                at = at.max(due);
                self.coming.push_back((node, Coming::Finished(job)));
            } else {
                at = at.max(due);
                self.call(at, node, "(wake)", 1, Input::Wake);
            }
        }
    }
}

fn main() {
    let mut net = Net::new();
    net.run();
    println!("{:<20} {:>9} {:>9} {:>12} {:>12}", "came in", "calls", "messages", "ns/call", "ns/message");
    let (mut calls_all, mut messages_all, mut all) = (0, 0, 0);
    for (what, (messages, times)) in &mut net.costs {
        let (calls, each) = (times.len() as u64, median(times));
        println!("{what:<20} {calls:>9} {messages:>9} {each:>12} {:>12}", each * calls / (*messages).max(1));
        (calls_all, messages_all, all) = (calls_all + calls, messages_all + *messages, all + each * calls);
    }
    println!("{:<20} {calls_all:>9} {messages_all:>9} {:>12} {:>12}", "all", all / calls_all, all / messages_all);
    let (signature, verification) = (median(&mut net.timed.signing), median(&mut net.timed.verifying));
    println!("a signature {signature} ns, a verification {verification} ns");
}

/// In nanoseconds. On a machine that does other things, too, a mean says how often one was interrupted.
fn median(times: &mut [Duration]) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0, |time| u64::try_from(time.as_nanos()).expect("not for centuries"))
}
