//! Where a run takes place: network, jobs, and the knobs of the nodes' configuration, each drawn within what is valid.

use marlos::Config;
use marlos::config::{Codec, Election};
use marlos::time::{Span, Time};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::Consistency;

use super::dice::{Dice, What};
use crate::network::latency::LatencyTable;
use crate::scenario::{Arrival, JobTemplate, LatencyLaw, MixedJob, NetworkSpec, NodeNo, WorkloadSpec};

/// Jobs are judged this long after their deadline, so the deadline must leave as much of the settle time.
const JUDGED: Span = Span::secs(7);

/// 99 % of 2^32.
const P99_32: u32 = 4_252_017_623;

/// The profiles, the usual one more often.
const PROFILES: [&str; 9] = ["lan", "lan", "lan", "lan", "metro", "wan", "wifi", "satellite", "ideal"];

/// A network. What a topology of regions says stays; other topologies do not, as the runs have fewer nodes.
pub(super) fn network(dice: &Dice, base: &NetworkSpec) -> NetworkSpec {
    let mut network = if base.regions.is_some() {
        base.clone()
    } else {
        NetworkSpec::of_profile(dice.of(What::Profile, 0, &PROFILES)).expect("these are profiles")
    };
    if dice.one_in(What::Loss, 0, 6) {
        network.loss = Ppm(u32::try_from(dice.skewed(What::Loss, 1_000, 100, 50_000)).expect("below one"));
    }
    if dice.one_in(What::Bandwidth, 0, 8) {
        network.bandwidth_bps = Some(dice.skewed(What::Bandwidth, 1_000, 1_000_000, 100_000_000));
    }
    if dice.one_in(What::Connections, 0, 4) {
        network.connection_timeout = dice.span(What::Connections, 1, Span::millis(500), Span::secs(30));
    }
    if dice.one_in(What::HighWater, 0, 8) {
        network.high_water_mark = u32::try_from(dice.skewed(What::HighWater, 1, 4, 1_000)).expect("few");
    }
    if dice.one_in(What::Multicast, 0, 8) {
        network.multicast = !network.multicast;
    }
    if base.regions.is_none() {
        wear(dice, base, &mut network);
    }
    network
}

/// What else the base's network does to messages, each of it in half of the runs: distances, bursts of losses, what happens to
/// datagrams, corruption, queues that drop, slow joiners. A base that says nothing of these has runs without them.
fn wear(dice: &Dice, base: &NetworkSpec, network: &mut NetworkSpec) {
    let on = |n: usize, there: bool| there && dice.one_in(What::Wear, n, 2);
    if on(0, base.jitter.is_some()) {
        (network.latency, network.jitter) = (base.latency.clone(), base.jitter.clone());
        network.asymmetry = base.asymmetry;
    }
    let burst = base.loss_burst.filter(|burst| network.loss.0 > 0 && network.loss < burst.within);
    if on(1, burst.is_some()) {
        network.loss_burst = burst;
    }
    if on(2, base.duplicate.0 > 0) {
        network.duplicate = base.duplicate;
    }
    if on(3, base.reorder.is_some()) {
        network.reorder.clone_from(&base.reorder);
    }
    if on(4, base.corrupt.0 > 0) {
        (network.corrupt, network.undetected) = (base.corrupt, base.undetected);
    }
    if on(5, base.download_bps.is_some() && network.bandwidth_bps.is_some()) {
        network.download_bps = base.download_bps;
    }
    if on(6, base.queue_full != network.queue_full) {
        (network.queue_full, network.queue_bytes) = (base.queue_full, base.queue_bytes);
    }
    if on(7, base.slow_joiner.is_some()) {
        network.slow_joiner.clone_from(&base.slow_joiner);
    }
}

/// Jobs: of the base's kind, in another number and of other lengths.
pub(super) fn workload(
    dice: &Dice,
    base: &WorkloadSpec,
    nodes: &[NodeNo],
    bandwidth_bps: Option<u64>,
    storm: (Time, Time),
    settle: Span,
) -> WorkloadSpec {
    let arrival = match dice.below(What::Arrival, 0, 4) {
        0 => Arrival::Uniform,
        1 => Arrival::Burst { size: u32::try_from(dice.skewed(What::Arrival, 1, 2, 16)).expect("few") },
        _ => Arrival::Poisson,
    };
    let from = if dice.one_in(What::From, 0, 2) {
        nodes.to_vec()
    } else {
        let count = dice.skewed(What::From, 1, 1, nodes.len() as u64);
        dice.some(What::From, 2, usize::try_from(count).expect("few"), nodes)
    };
    // The first jobs may come while the nodes have not met yet.
    let (start, end) = storm;
    let start = if dice.one_in(What::Work, 3, 3) { Time(start.0 / 4) } else { start };
    let rate = dice.skewed(What::Rate, 0, 500, 16_000);
    // The kinds of a mix stay, and differ by what they need; a trace is of another time.
    let most = bandwidth_bps.map_or(u32::MAX, |bps| output_most(bps, rate));
    let job = |base: &JobTemplate| {
        let job = job(dice, base, settle);
        JobTemplate { output_bytes: job.output_bytes.min(most), ..job }
    };
    let mix = base.mix.iter().map(|mixed| MixedJob { share: mixed.share, job: job(&mixed.job) }).collect();
    WorkloadSpec {
        jobs_per_1000_s: rate,
        rates: Vec::new(),
        arrival,
        from,
        start,
        end,
        job: job(&base.job),
        mix,
        trace: None,
    }
}

/// Outputs take a quarter of one node's line at most: of what no network could carry in time, none is promised to. A node that has
/// just come back gets each message over up to three connections.
fn output_most(bandwidth_bps: u64, jobs_per_1000_s: u64) -> u32 {
    u32::try_from(bandwidth_bps.saturating_mul(1_000) / 32 / jobs_per_1000_s.max(1)).unwrap_or(u32::MAX).max(64)
}

fn job(dice: &Dice, base: &JobTemplate, settle: Span) -> JobTemplate {
    // In half of the runs they are long enough for their executors to be lost and found again.
    let (least, most) = if dice.one_in(What::Work, 2, 2) {
        let most = dice.span(What::Work, 1, Span::secs(4), Span::secs(30));
        (Span(most.0 / 2), most)
    } else {
        let least = Span::millis(dice.skewed(What::Work, 0, 1, 1_000));
        (least, least + dice.span(What::Work, 1, Span::millis(1), Span::secs(4)))
    };
    let last = settle.saturating_sub(JUDGED).max(Span::secs(2));
    let deadline = dice.span(What::Deadline, 0, Span::secs(2), last.min(base.deadline));
    let failing = if dice.one_in(What::Failing, 0, 4) { dice.skewed(What::Failing, 1, 10_000, 500_000) } else { 0 };
    let output = if dice.one_in(What::Output, 0, 16) { dice.skewed(What::Output, 1, 1_000, 400_000) } else { 64 };
    let consistency = if dice.one_in(What::Consistency, 0, 4) { Consistency::Available } else { base.consistency };
    JobTemplate {
        duration: LatencyLaw::Uniform { min: least, max: most },
        payment: Tokens::whole(dice.skewed(What::Payment, 0, 1, 40)),
        deadline,
        failing: Ppm(u32::try_from(failing).expect("at most half")),
        max_attempts: u32::try_from(dice.between(What::Attempts, 0, 1, 3)).expect("few"),
        private: dice.one_in(What::Attempts, 1, 4),
        output_bytes: u32::try_from(output).expect("little"),
        consistency,
        ..base.clone()
    }
}

/// Something of the configuration that a run may set otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knob {
    Heartbeat,
    Rounds,
    Lease,
    JobHeartbeat,
    Rebroadcast,
    Settling,
    Wealth,
    Stake,
    ActiveJobs,
    Election,
    Codec,
    ListedBids,
    Reputation,
    Bundling,
    Discovery,
    Probes,
    Tolerance,
}

impl Knob {
    const ALL: [Knob; 17] = [
        Knob::Heartbeat,
        Knob::Rounds,
        Knob::Lease,
        Knob::JobHeartbeat,
        Knob::Rebroadcast,
        Knob::Settling,
        Knob::Wealth,
        Knob::Stake,
        Knob::ActiveJobs,
        Knob::Election,
        Knob::Codec,
        Knob::ListedBids,
        Knob::Reputation,
        Knob::Bundling,
        Knob::Discovery,
        Knob::Probes,
        Knob::Tolerance,
    ];

    /// Sets it, and what the configuration's own rules tie to it.
    fn turn(self, dice: &Dice, config: &mut Config, one_way: Span) {
        let n = self as usize * 8;
        let count = |at: usize, least, most| u32::try_from(dice.skewed(What::Knob, n + at, least, most)).expect("few");
        let span = |at: usize, least, most| dice.span(What::Knob, n + at, least, most);
        match self {
            Knob::Heartbeat => {
                config.heartbeat_interval = span(0, Span::millis(300), Span::secs(5));
                let beats = 2 + dice.between(What::Knob, n + 1, 0, 2);
                config.suspect_after = config.heartbeat_interval.times(beats) + one_way.times(2);
                config.heartbeat_timeout = config.suspect_after.times(2);
                config.probe_timeout = config.probe_timeout.min(config.heartbeat_timeout);
            }
            Knob::Rounds => {
                config.bid_window =
                    span(0, Span::millis(20).max(one_way.times(2)), Span::millis(800).max(one_way.times(4)));
                config.round_timeout =
                    config.bid_window + span(1, one_way.times(3).max(Span::millis(100)), Span::secs(4));
                config.lease = config.lease.max(config.round_timeout);
            }
            Knob::Lease => {
                let least = config.round_timeout.max(config.job_heartbeat_interval.times(2));
                config.lease = span(0, least, Span::secs(20));
            }
            Knob::JobHeartbeat => {
                let most = Span::micros(config.lease.as_micros() / 2);
                config.job_heartbeat_interval = span(0, Span::millis(200), most);
            }
            Knob::Rebroadcast => config.rebroadcast_interval = span(0, Span::millis(500), Span::secs(8)),
            Knob::Settling => {
                config.settle_after = span(0, Span::millis(100), Span::secs(30));
                config.settle_batch = count(1, 1, 64);
            }
            Knob::Wealth => config.genesis_balance = Tokens::whole(dice.skewed(What::Knob, n, 30, 1_000)),
            Knob::Stake => config.stake = Tokens::whole(dice.between(What::Knob, n, 0, 40)),
            Knob::ActiveJobs => config.max_active_jobs = count(0, 1, 16),
            Knob::Election => config.election = Election::Rendezvous,
            Knob::Codec => config.codec = Codec::Json,
            Knob::ListedBids => config.listed_bids = count(0, 2, 8),
            Knob::Reputation => config.reputation_interval = span(0, Span::secs(1), Span::secs(60)),
            Knob::Bundling => {
                config.bundle_window = span(0, Span::millis(1), Span::millis(100));
                config.bundle_above_msgs_per_sec = count(1, 1, 100);
            }
            Knob::Discovery => config.discovery_interval = span(0, Span::millis(500), Span::secs(15)),
            Knob::Probes => config.probe_fanout = count(0, 1, 6),
            Knob::Tolerance => config.clock_sync_tolerance = span(0, Span::secs(4), Span::secs(40)),
        }
    }
}

/// Turns each knob in one of four runs; says which. A turn that the configuration's rules do not allow is left out.
pub(super) fn knobs(dice: &Dice, config: &mut Config, network: &NetworkSpec) -> Vec<String> {
    let one_way = longest(network);
    let mut turned = Vec::new();
    for knob in Knob::ALL {
        if !dice.one_in(What::KnobOn, knob as usize, 4) {
            continue;
        }
        let mut tried = config.clone();
        knob.turn(dice, &mut tried, one_way);
        if tried.validate().is_ok() {
            *config = tried;
            turned.push(format!("{knob:?}").to_lowercase());
        }
    }
    turned
}

/// As long as nearly every message takes at most.
fn longest(network: &NetworkSpec) -> Span {
    let rare = |law: &LatencyLaw| match *law {
        LatencyLaw::Constant(value) => value,
        LatencyLaw::Uniform { max, .. } => max,
        LatencyLaw::Normal { mean, deviation } => mean + deviation.times(3),
        LatencyLaw::Lognormal { p99, .. } => p99,
        LatencyLaw::Pareto { .. } | LatencyLaw::Empirical { .. } => LatencyTable::new(law).quantile_32(P99_32),
    };
    rare(&network.latency) + network.jitter.as_ref().map_or(Span::ZERO, rare)
}
