//! Which world is explored: how many nodes, who may run the job, what goes wrong, and where exploring ends.

use marlos::auction::{election, job_id};
use marlos::config::{Config, Election};
use marlos::cx::Ctx;
use marlos::egress::Egress;
use marlos::id::{ElectorateId, Link, NodeId};
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{JobSpec, Outbox};
use marlos::jobs::Jobs;
use marlos::membership::Members;
use marlos::membership::gossip::sign_record;
use marlos::time::{Now, Span, Time, WallTime};
use marlos::units::{Ppm, Tokens};
use marlos::wire::Signature;
use marlos::wire::message::{Announce, Consistency, PeerAnnounce};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::site::{EPOCH, SiteNo};

/// Who submits the job.
pub const SUBMITTER: SiteNo = 0;

/// What goes wrong, besides messages that come late, twice, in any order, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Nothing,
    /// This node crashes at any moment, once, and may start again with its store.
    Crash(SiteNo),
    /// This node says and signs anything, different things to different nodes.
    Liar(SiteNo),
}

/// A world, as a test asks for it.
#[derive(Clone, Debug)]
pub struct World {
    /// How many nodes.
    pub nodes: usize,
    /// Who may run the job.
    pub bidders: Vec<SiteNo>,
    /// Who coordinates round 0; round 1 is the next one's.
    pub coordinator: SiteNo,
    /// What goes wrong.
    pub fault: Fault,
    /// No later round is entered by time alone.
    pub last_round: u32,
    /// Whom others may hold for gone at any moment, whether it is or not.
    pub suspected: Option<SiteNo>,
    /// Whether a lease may run out.
    pub rests: bool,
    /// Whether who runs the job may end it, so that it is paid for.
    pub finishes: bool,
    /// Whether a backup may come to take over, so that it must be reached.
    pub takes_over: bool,
    /// What every node is configured with.
    pub config: Config,
}

/// A world with everything in it that does not change.
#[derive(Debug)]
pub struct Setting {
    /// As it was asked for.
    pub world: World,
    /// The nodes' keys, sorted by id.
    pub keys: Vec<Keys>,
    /// Who may run the job.
    pub bidders: Vec<SiteNo>,
    /// See [`World::last_round`].
    pub last_round: u32,
    configs: Vec<Config>,
    /// `members[node][gone]`.
    members: Vec<Vec<Members>>,
    /// Chosen so that the job's id makes the wished one coordinator.
    command: String,
}

impl Setting {
    /// Builds a world.
    #[must_use]
    pub fn new(world: World) -> Setting {
        assert!((2..=6).contains(&world.nodes), "small enough to explore");
        let mut keys: Vec<Keys> =
            (1..=world.nodes).map(|secret| Keys::from_secret(&[u8::try_from(secret).expect("few"); 32])).collect();
        keys.sort_by_key(Keys::id);
        let config = |at: SiteNo| Config {
            node_name: format!("n{at}"),
            capabilities: if world.bidders.contains(&at) { vec!["shell".into()] } else { Vec::new() },
            ..world.config.clone()
        };
        let configs: Vec<Config> = (0..world.nodes).map(config).collect();
        let members =
            (0..world.nodes).map(|at| (0..1 << world.nodes).map(|gone| meet(&keys, &configs, at, gone)).collect());
        let members = members.collect();
        let mut setting = Setting {
            bidders: world.bidders.clone(),
            last_round: world.last_round,
            members,
            keys,
            configs,
            command: String::new(),
            world,
        };
        setting.command = setting.command_for(setting.world.coordinator);
        setting
    }

    /// The job, of which there is one.
    #[must_use]
    pub fn job(&self) -> JobSpec<'_> {
        spec(&self.command)
    }

    /// A node's configuration.
    #[must_use]
    pub fn config(&self, at: SiteNo) -> &Config {
        &self.configs[at]
    }

    /// Who is there in a node's eyes, where it holds these for gone, one bit each.
    #[must_use]
    pub fn members(&self, at: SiteNo, gone: u8) -> &Members {
        &self.members[at][usize::from(gone)]
    }

    /// The number of a node.
    #[must_use]
    pub fn number(&self, id: NodeId) -> Option<SiteNo> {
        self.keys.iter().position(|keys| keys.id() == id)
    }

    /// What names all of them.
    #[must_use]
    pub fn electorate(&self) -> ElectorateId {
        self.members[0][0].electorate().digest()
    }

    /// Votes that are enough, by protocol.md and whatever is planted.
    #[must_use]
    pub fn quorum(&self) -> usize {
        marlos::quorum::quorum(u32::try_from(self.keys.len()).expect("few")) as usize
    }

    /// Longer than any round that is explored, and shorter than the job's life.
    #[must_use]
    pub fn longest_round(&self) -> Span {
        self.configs[0].round_timeout.times(8)
    }

    /// A command that gives the job an id whose first coordinator is this one.
    fn command_for(&self, coordinator: SiteNo) -> String {
        let ids: Vec<NodeId> = self.keys.iter().map(Keys::id).collect();
        let fits = |command: &String| {
            let mut broadcast = None;
            context(&self.keys[SUBMITTER], &self.configs[SUBMITTER], |cx| {
                broadcast = Jobs::default().on_submit(cx, &spec(command)).ok();
            });
            let id = job_id(&broadcast.expect("a sound job"));
            election::coordinator(Election::Modulo, id, 0, &ids) == ids[coordinator]
        };
        (0..1_000).map(|n| format!("echo {n}")).find(fits).expect("one in so many")
    }
}

fn spec(command: &str) -> JobSpec<'_> {
    JobSpec {
        job_type: "shell",
        command,
        requirements: &[],
        payment: Tokens::whole(10),
        priority: Ppm(500_000),
        deadline: Span::secs(3_600),
        max_attempts: 1,
        consistency: Consistency::Quorum,
        private: false,
    }
}

/// The members as one node has met them, with real signatures.
fn meet(keys: &[Keys], configs: &[Config], at: SiteNo, gone: usize) -> Members {
    let mut members = Members::new(record(&keys[at], &configs[at]), &configs[at]);
    context(&keys[at], &configs[at], |cx| {
        for other in (0..keys.len()).filter(|other| *other != at) {
            let record = sign_record(record(&keys[other], &configs[other]), &keys[other], &configs[at].network_id);
            let announce = PeerAnnounce { record, want_records: false };
            members.on_announce(cx, &announce, Link(1)).expect("a sound record");
            let peer = members.find(keys[other].id()).expect("just met");
            members.on_sign_of_life(cx, peer);
            if gone & (1 << other) != 0 {
                members.on_goodbye(cx, peer);
            }
        }
        members.settle(cx);
    });
    let _ = (members.take_lost(), members.take_missed());
    members
}

fn record(keys: &Keys, config: &Config) -> Announce {
    Announce {
        node_id: keys.id(),
        node_name: config.node_name.clone(),
        public_key: keys.public(),
        rotations: Vec::new(),
        incarnation: 1,
        sequence: 1,
        signed_at: EPOCH,
        pub_endpoint: format!("tcp://{}:1", config.node_name),
        sub_endpoint: format!("tcp://{}:2", config.node_name),
        protocol_version: 1,
        capabilities: config.capabilities.clone(),
        trust_score: Ppm(500_000),
        active_jobs: 0,
        wallet_balance: Tokens(0),
        record_signature: Signature([0; 64]),
    }
}

/// A context whose consequences are of no interest.
fn context(keys: &Keys, config: &Config, call: impl FnOnce(&mut Ctx<'_>)) {
    let mut egress = Egress::new(keys.clone(), config);
    egress.begin_incarnation(1, Time(0));
    let (mut out, mut rng, mut verify) = (Outbox::default(), ChaCha8Rng::seed_from_u64(0), StrictVerifier);
    call(&mut Ctx {
        now: Now { mono: Time(0), wall: WallTime(EPOCH.0) },
        sync_offset_us: 0,
        config,
        rng: &mut rng,
        verify: &mut verify,
        egress: &mut egress,
        out: &mut out,
    });
}
