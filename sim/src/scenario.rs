//! What is simulated: a [`Scenario`] as it is after reading, checking and resolving a TOML file (contract.md).
//!
//! Nodes are numbered 0 .. n-1 in the world; `n3` is number 3. Times are microseconds of simulated time since the start.

mod asked;
pub(crate) mod byzantine;
mod diagnostic;
mod faults;
mod fields;
mod jobs;
pub mod keys;
mod law;
mod network;
mod nodes;
mod parse;
mod regions;
pub mod schema;
mod set;
mod targets;
mod topology;
mod trace;
mod write;

use std::collections::BTreeMap;

use marlos::time::{Span, Time};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::Consistency;

use crate::byzantine::Behaviour;
pub use crate::workload::ramp::RatePoint;

pub use asked::Takes;
pub use diagnostic::Diagnostic;
pub(crate) use diagnostic::did_you_mean;
pub use law::LatencyLaw;
pub use network::{LossBurst, NetworkSpec, QueueFull, Reorder};
pub use parse::{Overrides, limits};
pub use regions::RegionMatrix;
pub use set::Setting;
pub use topology::Topology;
pub use trace::{Trace, TraceJob};
pub use write::ranges;

/// A node as the world numbers it.
pub type NodeNo = usize;

/// A scenario, resolved: nothing is implied any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Names the result directory.
    pub name: String,
    /// The first comment line of the file: what it shows.
    pub shows: String,
    /// Every random choice of the world is a function of it.
    pub seed: u64,
    /// How its nodes sign.
    pub crypto: Crypto,
    /// Simulated time.
    pub duration: Time,
    /// Discovery is measured in it, the other KPIs after it.
    pub warmup: Time,
    /// From the last fault's end: by then the liveness checks must hold.
    pub settle: Span,
    /// The nodes, in the order of their numbers; at least one, and all of one group have one configuration.
    pub nodes: Vec<NodeSpec>,
    /// Whether these nodes vote and nobody else, whatever ids somebody makes up.
    pub fixed_membership: bool,
    /// The network between them.
    pub network: NetworkSpec,
    /// The jobs that arrive, if any.
    pub workload: Option<WorkloadSpec>,
    /// Everything that goes wrong, sorted by time.
    pub faults: Vec<Fault>,
    /// Targets that differ from the defaults, by KPI name; `None` is "not judged here".
    pub kpi: BTreeMap<String, Option<KpiTarget>>,
    /// What must have happened, or the run proves nothing.
    pub expect: Vec<Expectation>,
}

/// How the nodes of a world sign. Keys, ids, and all sizes are the same either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crypto {
    /// As real nodes do.
    #[default]
    Ed25519,
    /// By keyed hashes that only the world can make: cheaper, and a forgery fails all the same (see [`crate::token`]).
    Token,
}

impl Crypto {
    /// As scenarios name them, in the order of the kinds.
    pub const NAMES: [&'static str; 2] = ["ed25519", "token"];

    /// As scenarios name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Crypto::NAMES[self as usize]
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSpec {
    /// `n0`, `n1`, ...
    pub name: String,
    /// Its group, where nodes are given in groups.
    pub group: Option<String>,
    /// Its region in the round-trip matrix, as an index into [`RegionMatrix::names`].
    pub region: Option<usize>,
    /// Its configuration, without endpoints and bootstrap: the world fills them in.
    pub config: marlos::Config,
    /// What its work costs.
    pub cpu: CpuSpec,
}

/// What a node's work costs its processor: nothing, unless the scenario says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSpec {
    /// Each message that comes in, every one of a bundle, each command and each execution's end.
    pub per_message: Span,
    /// Each signature that it makes.
    pub per_signature: Span,
    /// Each signature that it verifies.
    pub per_verification: Span,
}

/// The jobs that arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadSpec {
    /// Mean rate, in jobs per 1,000 seconds, so that it is whole.
    pub jobs_per_1000_s: u64,
    /// Where the rate changes, by rising time: straight lines between these points, and steps where two are of one instant. The
    /// mean rate is then that of them. Empty where it stays.
    pub rates: Vec<RatePoint>,
    /// How they are spread over time.
    pub arrival: Arrival,
    /// Who submits, in turn by a keyed draw.
    pub from: Vec<NodeNo>,
    /// First submission, not before the warm-up ends unless the scenario says so.
    pub start: Time,
    /// No submission from here on.
    pub end: Time,
    /// The jobs; what those of a mix or a trace do not say otherwise.
    pub job: JobTemplate,
    /// Several kinds of jobs, each with its share; empty where all are like `job`.
    pub mix: Vec<MixedJob>,
    /// Jobs as they were once submitted: then nothing is drawn but what the trace leaves open. Excludes rates and a mix.
    pub trace: Option<Trace>,
}

impl WorkloadSpec {
    /// Every kind of job that can come, at least one.
    pub fn kinds(&self) -> impl Iterator<Item = &JobTemplate> {
        let mixed = self.mix.iter().map(|mixed| &mixed.job);
        let traced = self.trace.iter().flat_map(|trace| &trace.jobs).map(|traced| &traced.job);
        let one = (self.mix.is_empty() && self.trace.is_none()).then_some(&self.job);
        one.into_iter().chain(mixed).chain(traced)
    }

    /// The longest time from a submission to its deadline.
    #[must_use]
    pub fn longest_deadline(&self) -> Span {
        self.kinds().map(|job| job.deadline).max().expect("at least one kind of job")
    }
}

/// A kind of job and its share of all.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedJob {
    /// Against the shares of the others.
    pub share: u32,
    /// What it is.
    pub job: JobTemplate,
}

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Arrival {
    /// Independent of each other.
    Poisson,
    /// Equally spaced.
    Uniform,
    /// This many at once, as often as the rate says.
    Burst { size: u32 },
}

/// What each job is.
#[derive(Clone, Debug, PartialEq)]
pub struct JobTemplate {
    /// The capability it needs; `simulated` runs in the world.
    pub job_type: String,
    /// How long it runs.
    pub duration: LatencyLaw,
    /// What is offered.
    pub payment: Tokens,
    /// Between 0 and 1.
    pub priority: Ppm,
    /// From its submission.
    pub deadline: Span,
    /// Further capabilities.
    pub requirements: Vec<String>,
    /// Bytes of output.
    pub output_bytes: u32,
    /// Whether its output is the same byte throughout, of which little is left on the wire, or noise, of which all is.
    pub compressible: bool,
    /// How many fail.
    pub failing: Ppm,
    /// How often one is run at most, where running it fails.
    pub max_attempts: u32,
    /// Whether its command and output are sealed.
    pub private: bool,
    /// What a claim of one needs.
    pub consistency: Consistency,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When it starts.
    pub at: Time,
    /// When it ends, if ever.
    pub until: Option<Time>,
    /// What it is.
    pub kind: FaultKind,
}

/// What can go wrong (contract.md, "Keys by kind").
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum FaultKind {
    /// Nothing passes between different groups. Nodes in no group are a group together.
    Partition { groups: Vec<Vec<NodeNo>> },
    /// What `from` sends to `to` does not arrive.
    OneWay { from: Vec<NodeNo>, to: Vec<NodeNo> },
    /// The links between two sets are worse, in both directions.
    Link { between: [Vec<NodeNo>; 2], latency: Option<LatencyLaw>, loss: Option<Ppm>, bandwidth_bps: Option<u64> },
    /// The process dies; it starts again at the fault's end.
    Crash { nodes: Vec<NodeNo>, storage: Storage, connection: CrashConnection },
    /// The process stands still and goes on at the fault's end; its connections stay.
    Pause { nodes: Vec<NodeNo> },
    /// The processor takes so many times as long for everything, executions included; in millionths.
    Slow { nodes: Vec<NodeNo>, factor_millionths: u64 },
    /// The node starts only now.
    Join { nodes: Vec<NodeNo> },
    /// The node says goodbye and stops; it starts again at the fault's end, if there is one.
    Leave { nodes: Vec<NodeNo> },
    /// Each node gives its identity another key.
    Rotate { nodes: Vec<NodeNo> },
    /// Their wall clocks are off by so many microseconds and run so much faster while it lasts, and jump for good at its beginning.
    Clock { nodes: Vec<NodeNo>, skew_us: i64, drift_ppm: i64, jump_us: i64 },
    /// The nodes misbehave, with one plan.
    Byzantine { nodes: Vec<NodeNo>, behaviour: Behaviour },
}

/// What a crash leaves of the store. Keys are kept in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Everything that was written: the process dies, not its machine.
    Kept,
    /// Nothing.
    Lost,
    /// What was durable, and of the rest what the disk had finished when one record was torn in two.
    Torn,
    /// What was durable, and nothing else.
    UnsyncedLost,
}

impl Storage {
    /// As scenarios name them, in the order of the kinds.
    pub const NAMES: [&'static str; 4] = ["kept", "lost", "torn", "unsynced_lost"];

    /// As scenarios name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Storage::NAMES[self as usize]
    }
}

/// What a crash does to the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashConnection {
    /// The machine vanishes: peers hear nothing until their connection times out.
    Silent,
    /// The process dies and its machine says so: connections break at once.
    Reset,
}

/// A KPI's target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KpiTarget {
    /// What is compared.
    pub statistic: Statistic,
    /// How.
    pub comparison: Comparison,
    /// The bound, in the KPI's unit (see `kpi::KPIS`).
    pub target: f64,
}

/// What of a KPI's samples is compared with its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Statistic {
    P50,
    P90,
    P99,
    Max,
    Mean,
    Count,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
    /// `==`
    Equal,
    /// Within this many per cent of the target.
    Within(u32),
}

/// One line of `[expect]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// One of [`crate::observe::COUNTERS`].
    pub counter: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}
