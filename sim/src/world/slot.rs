//! A node's place in the world: its machine, its keys and store, what it runs, and what waits while it stands still.

use std::collections::{BTreeMap, VecDeque};

use marlos::config::Bootstrap;
use marlos::id::{JobId, Link, PeerIdx};
use marlos::identity::Keys;
use marlos::metrics::Tally;
use marlos::time::Time;
use marlos::{Config, Node};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::clock::WallClock;
use super::cpu::Cpu;
use super::frames::Origin;
use super::store::Store;
use crate::draw::{Draws, Purpose};
use crate::network::FrameNo;
use crate::scenario::{NodeNo, Scenario};
use crate::workload::SimulatedJob;

/// A node's place.
#[derive(Debug)]
pub struct Slot {
    /// The machine, while its process runs.
    pub node: Option<Node>,
    /// Its keys, which no crash takes.
    pub keys: Keys,
    /// Its store.
    pub store: Store,
    /// Counts its processes.
    pub life: u32,
    /// Its wall clock, which no restart sets right.
    pub clock: WallClock,
    /// When the queue will wake it.
    pub wake_at: Time,
    /// When the queue will wake what it does beside its machine.
    pub misbehave_at: Time,
    /// What it counts of its present process, or of its last one.
    pub tally: Tally,
    /// Its digest of what must be equal everywhere, as last told.
    pub digest: Option<u64>,
    /// What it runs, and the number of that execution.
    pub running: BTreeMap<JobId, u32>,
    /// Counts its executions.
    pub turns: u32,
    /// Its processor.
    pub cpu: Cpu,
    /// What has come while it stood still or worked.
    pub waiting: VecDeque<Waiting>,
    /// The frame that is being delivered.
    pub arriving: Option<Origin>,
    config: Config,
    /// The world's number of each member as the node numbers them, or [`NOBODY`]. Short: each frame looks one up.
    numbers: Vec<u16>,
    number: NodeNo,
}

/// Something that waits for a node to go on.
#[derive(Debug)]
pub enum Waiting {
    /// A frame came in, and is kept for it.
    Frame { link: Link, frame: FrameNo },
    /// A stream is up.
    Connected(Link),
    /// A stream broke.
    Disconnected(Link),
    /// Its operator wants another key.
    Rotation,
    /// An execution ended.
    Finished { job: JobId, work: SimulatedJob },
    /// A client submits a job of this kind with this command.
    Submit { kind: usize, command: String },
    /// It is to say goodbye and stop.
    Leave,
}

impl Slot {
    /// A node that has not started.
    #[must_use]
    pub fn new(scenario: &Scenario, draws: &Draws, number: NodeNo, bootstrap: &[NodeNo]) -> Slot {
        let mut config = scenario.nodes[number].config.clone();
        (config.pub_endpoint, config.sub_endpoint) = endpoints(number);
        let others = bootstrap.iter().filter(|other| **other != number);
        config.bootstrap = others
            .map(|other| {
                let (pub_endpoint, sub_endpoint) = endpoints(*other);
                Bootstrap { pub_endpoint, sub_endpoint }
            })
            .collect();
        Slot {
            node: None,
            keys: keys_of(draws, number),
            store: Store::default(),
            life: 0,
            clock: WallClock::default(),
            wake_at: Time::NEVER,
            misbehave_at: Time::NEVER,
            tally: Tally::new(Time(0), config.blacklist_duration),
            digest: None,
            running: BTreeMap::new(),
            turns: 0,
            cpu: Cpu::new(scenario.nodes[number].cpu),
            waiting: VecDeque::new(),
            arriving: None,
            config,
            numbers: vec![short(number)],
            number,
        }
    }

    /// Its process starts.
    pub fn begin_life(&mut self, now: Time, seed: [u8; 32]) {
        assert!(self.node.is_none(), "a process starts once");
        let node = Node::new(self.config.clone(), self.keys.clone(), ChaCha8Rng::from_seed(seed));
        self.node = Some(node.expect("the scenario's configurations were checked"));
        self.numbers = vec![short(self.number)];
        self.tally = Tally::new(now, self.config.blacklist_duration);
        self.digest = None;
        self.wake_at = Time::NEVER;
    }

    /// Its process ends; what it was running is returned, and what waited for it.
    pub fn end_life(&mut self) -> (Vec<JobId>, VecDeque<Waiting>) {
        self.node = None;
        self.life += 1;
        self.arriving = None;
        drop(self.cpu.finish());
        let running = std::mem::take(&mut self.running).into_keys().collect();
        (running, std::mem::take(&mut self.waiting))
    }

    /// Whether its processor, or what came before, lets what comes now wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.cpu.is_busy()
    }

    /// The network that its signatures are for.
    #[must_use]
    pub fn network_id(&self) -> String {
        self.config.network_id.clone()
    }

    /// It numbers a member that it has met.
    pub fn meet(&mut self, peer: PeerIdx, number: Option<NodeNo>) {
        if peer.at() == self.numbers.len() {
            self.numbers.push(number.map_or(NOBODY, short));
        }
        assert!(peer.at() < self.numbers.len(), "members are numbered densely");
    }

    /// The world's number of a member; nothing where no node of this world is behind it, but somebody's invention.
    #[must_use]
    pub fn world_number(&self, peer: PeerIdx) -> Option<NodeNo> {
        let number = self.numbers[peer.at()];
        (number != NOBODY).then_some(usize::from(number))
    }
}

/// In place of the number of a member that no node is behind.
const NOBODY: u16 = u16::MAX;

fn short(number: NodeNo) -> u16 {
    u16::try_from(number).ok().filter(|number| *number != NOBODY).expect("a world has fewer than 65,535 nodes")
}

/// The keys that a node begins with.
#[must_use]
pub fn keys_of(draws: &Draws, node: NodeNo) -> Keys {
    Keys::from_secret(&draws.seed_of(Purpose::NodeKey, node, 0))
}

/// Where a node's PUB and SUB are.
fn endpoints(node: NodeNo) -> (String, String) {
    let host = format!("tcp://10.{}.{}.{}", node >> 16, (node >> 8) & 255, node & 255);
    (format!("{host}:5555"), format!("{host}:5556"))
}

/// The node at an address of this world.
#[must_use]
pub fn node_at(endpoint: &str) -> Option<NodeNo> {
    let (host, _port) = endpoint.strip_prefix("tcp://10.")?.split_once(':')?;
    let mut parts = host.split('.').map(str::parse::<u8>);
    let mut next = || parts.next()?.ok().map(usize::from);
    Some((next()? << 16) | (next()? << 8) | next()?)
}
