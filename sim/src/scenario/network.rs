//! `[network]`: a profile, and what differs from it.

use std::fmt::Write as _;

use marlos::time::Span;
use marlos::units::Ppm;

use super::fields::{Fields, Item, Read};
use super::parse::Beside;
use super::write::{bandwidth, percentage, quoted, span, texts};
use super::{LatencyLaw, RegionMatrix, Topology, limits, topology};

/// What lies between the nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSpec {
    /// The profile the other values come from, for people.
    pub profile: String,
    /// One-way delay of a segment, on top of the regions' matrix where there is one. Drawn anew for each message, unless
    /// there is `jitter`.
    pub latency: LatencyLaw,
    /// Where it is there, `latency` is drawn once for each pair of nodes, the same in both directions, and this law once for
    /// each message, on top. Without it a pair has no distance of its own: every message meets all of `latency`.
    pub jitter: Option<LatencyLaw>,
    /// By how much a direction of a pair is longer than the mean of both, at most, as a share of what the pair has as its
    /// own: half the regions' round trip, and `latency` where there is `jitter`. Drawn evenly for each pair; round trips stay.
    pub asymmetry: Ppm,
    /// Segments lost: TCP sends them again, UDP does not.
    pub loss: Ppm,
    /// That losses come together; without it each segment is lost for itself.
    pub loss_burst: Option<LossBurst>,
    /// Datagrams that arrive a second time, by another delay. Streams have no duplicates: TCP throws them away.
    pub duplicate: Ppm,
    /// Datagrams that are held up, so that later ones overtake them, where delays alone do not do that. Streams keep their order.
    pub reorder: Option<Reorder>,
    /// Segments changed on their way. TCP's checksum finds it and the segment is sent again: it counts as lost. UDP's finds it
    /// and the datagram is dropped, but for those of which `undetected` speaks.
    pub corrupt: Ppm,
    /// Changed datagrams whose checksum is right all the same: they arrive changed, and it is the node that must refuse them.
    /// One in 65,536 unless said, as a sum of 16 bits lets through. On streams that is not modelled.
    pub undetected: Ppm,
    /// Bits per second and node and direction, with a queue; nothing means unlimited.
    pub bandwidth_bps: Option<u64>,
    /// Bits per second of each node inwards, where that is not `bandwidth`.
    pub download_bps: Option<u64>,
    /// Bytes the sender's queue holds before a segment is dropped (and sent again, on TCP). The receiver's line has one of its own.
    pub queue_bytes: u64,
    /// What a sender's full queue does.
    pub queue_full: QueueFull,
    /// How long after a stream is up its subscription reaches the publisher, in addition to the handshake: what is published
    /// before is not sent on it. (`ZeroMQ` calls it the slow joiner.)
    pub slow_joiner: Option<LatencyLaw>,
    /// Whether multicast beacons reach everyone (a local network) or nobody.
    pub multicast: bool,
    /// Frames a cut link holds before it drops: ZeroMQ's high-water mark.
    pub high_water_mark: u32,
    /// How long a connection survives a cut before it is reset.
    pub connection_timeout: Span,
    /// Who may connect to whom.
    pub topology: Topology,
    /// Round-trip times between regions.
    pub regions: Option<RegionMatrix>,
}

/// Losses that come together (Gilbert 1960, Elliott 1963): each direction of each pair is good or bad for a while, and loses
/// segments only where it is bad. `loss` is what is lost in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossBurst {
    /// Mean length of a bad while, in simulated time: `loss_burst`.
    pub mean: Span,
    /// Segments lost in it: `loss_within_burst`, all unless said. More than `loss`.
    pub within: Ppm,
}

impl LossBurst {
    /// The share of all time that is bad, in parts per million.
    #[must_use]
    pub fn bad_ppm(&self, loss: Ppm) -> u64 {
        u64::from(loss.0) * u64::from(Ppm::ONE.0) / u64::from(self.within.0)
    }
}

/// Datagrams that are held up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// How many: `reorder`.
    pub share: Ppm,
    /// For how long, on top of their delay: `reorder_delay`, evenly up to 100 ms unless said.
    pub by: LatencyLaw,
}

/// What happens to a segment that comes to a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFull {
    /// On TCP it takes its turn behind what is there all the same, and comes later by one retransmission: nothing but time is
    /// lost, and there is no end to the queue. UDP drops it.
    Wait,
    /// It is dropped. TCP sends it again when its timer says so, and it takes its turn then, so that the queue is never longer
    /// than `queue`; UDP does not.
    Drop,
}

impl QueueFull {
    const NAMES: [&'static str; 2] = ["wait", "drop"];
}

const KEYS: [&str; 24] = [
    "profile",
    "latency",
    "jitter",
    "asymmetry",
    "loss",
    "loss_burst",
    "loss_within_burst",
    "duplicate",
    "reorder",
    "reorder_delay",
    "corrupt",
    "undetected",
    "bandwidth",
    "download",
    "queue",
    "queue_full",
    "slow_joiner",
    "multicast",
    "high_water_mark",
    "connection_timeout",
    "topology",
    "degree",
    "rewire",
    "regions",
];

const PROFILES: [&str; 6] = ["ideal", "lan", "metro", "wan", "wifi", "satellite"];

/// `[network]`; a local network where there is none.
pub(super) fn read(item: Option<Item<'_>>, beside: Beside<'_>) -> Read<NetworkSpec> {
    let Some(item) = item else {
        return Ok(profile(1));
    };
    let fields = Fields::of(item, "`[network]`", &KEYS)?;
    let index = fields.get("profile").map(|item| item.one_of(&PROFILES, &[])).transpose()?;
    let mut network = profile(index.unwrap_or(1));
    if let Some(item) = fields.get("topology") {
        (network.topology, network.regions) = topology::read(item, &fields, beside)?;
        if network.topology == Topology::Regions {
            // The matrix holds the distance; what is left is jitter. A guess: a few per cent of a long path.
            network.latency = LatencyLaw::Lognormal { median: Span::millis(1), p99: Span::millis(5) };
        }
    } else if let Some(item) = fields.get("regions") {
        return Err(item.problem("`regions` without a topology of regions", "needs `topology = \"regions(FILE.csv)\"`"));
    } else {
        topology::refuse(&fields, &["degree", "rewire"], Topology::Full)?;
    }
    delay(&fields, &mut network, beside)?;
    loss(&fields, &mut network)?;
    datagrams(&fields, &mut network, beside)?;
    bandwidth_of(&fields, &mut network)?;
    if let Some(item) = fields.get("slow_joiner") {
        network.slow_joiner = Some(LatencyLaw::read(item, limits::LATENCY, beside)?);
    }
    if let Some(item) = fields.get("multicast") {
        network.multicast = item.bool()?;
    }
    if let Some(item) = fields.get("high_water_mark") {
        network.high_water_mark = u32::try_from(item.whole(1..=1_000_000)?).expect("in range");
    }
    if let Some(item) = fields.get("connection_timeout") {
        network.connection_timeout = item.duration(Span::millis(100)..=Span::secs(86_400))?;
    }
    Ok(network)
}

fn delay(fields: &Fields<'_>, network: &mut NetworkSpec, beside: Beside<'_>) -> Read<()> {
    if let Some(item) = fields.get("latency") {
        network.latency = LatencyLaw::read(item, limits::LATENCY, beside)?;
    }
    if let Some(item) = fields.get("jitter") {
        network.jitter = Some(LatencyLaw::read(item, limits::LATENCY, beside)?);
    }
    if let Some(item) = fields.get("asymmetry") {
        network.asymmetry = item.percentage()?;
        if network.asymmetry.0 > 0 && network.jitter.is_none() && network.regions.is_none() {
            let message = "`asymmetry` where no pair has a delay of its own";
            return Err(item.problem(message, "needs `jitter`, or a topology of regions"));
        }
    }
    Ok(())
}

fn loss(fields: &Fields<'_>, network: &mut NetworkSpec) -> Read<()> {
    if let Some(item) = fields.get("loss") {
        network.loss = item.percentage()?;
        if network.loss == Ppm::ONE {
            return Err(item.problem("a loss of 100% is not a network", "less than 100%; use a fault to cut links"));
        }
    }
    let Some(item) = fields.get("loss_burst") else {
        return match fields.get("loss_within_burst") {
            Some(item) => Err(item.problem("`loss_within_burst` without `loss_burst`", "leave it out")),
            None => Ok(()),
        };
    };
    let mean = item.duration(limits::LOSS_BURST)?;
    let within = fields.get("loss_within_burst");
    let burst = LossBurst { mean, within: within.map_or(Ok(Ppm::ONE), |item| item.percentage())? };
    if network.loss.0 == 0 {
        return Err(item.problem("`loss_burst` where nothing is lost", "needs a `loss` above 0%"));
    }
    if burst.within <= network.loss {
        let item = within.unwrap_or(item);
        let least = percentage(network.loss);
        let message = format!("`loss_within_burst` must be more than the loss of {least} in the long run");
        return Err(item.problem(message, "bursts are worse than the rest"));
    }
    network.loss_burst = Some(burst);
    Ok(())
}

fn datagrams(fields: &Fields<'_>, network: &mut NetworkSpec, beside: Beside<'_>) -> Read<()> {
    if let Some(item) = fields.get("duplicate") {
        network.duplicate = item.percentage()?;
    }
    match (fields.get("reorder"), fields.get("reorder_delay")) {
        (Some(share), by) => {
            let share = share.percentage()?;
            let usual = LatencyLaw::Uniform { min: Span::ZERO, max: Span::millis(100) };
            let by = by.map_or(Ok(usual), |item| LatencyLaw::read(item, limits::LATENCY, beside))?;
            network.reorder = Some(Reorder { share, by });
        }
        (None, Some(by)) => return Err(by.problem("`reorder_delay` without `reorder`", "how many are held up?")),
        (None, None) => {}
    }
    if let Some(item) = fields.get("corrupt") {
        network.corrupt = item.percentage()?;
        if network.corrupt == Ppm::ONE {
            return Err(item.problem("where everything is corrupted nothing arrives", "less than 100%"));
        }
    }
    if let Some(item) = fields.get("undetected") {
        network.undetected = item.percentage()?;
        if network.corrupt.0 == 0 {
            return Err(item.problem("`undetected` where nothing is corrupted", "needs `corrupt`"));
        }
    }
    Ok(())
}

fn bandwidth_of(fields: &Fields<'_>, network: &mut NetworkSpec) -> Read<()> {
    if let Some(item) = fields.get("bandwidth") {
        network.bandwidth_bps = item.bandwidth()?;
    }
    if let Some(item) = fields.get("download") {
        let bps = item.bandwidth()?;
        network.download_bps = Some(bps.ok_or_else(|| item.problem("`download` must be limited", "or leave it out"))?);
        if network.bandwidth_bps.is_none() {
            let message = "`download` where the bandwidth outwards is unlimited";
            return Err(item.problem(message, "needs `bandwidth`, which is then the upload"));
        }
    }
    if let Some(item) = fields.get("queue") {
        network.queue_bytes = item.bytes(1_500..=1 << 30)?;
    }
    if let Some(item) = fields.get("queue_full") {
        network.queue_full = [QueueFull::Wait, QueueFull::Drop][item.one_of(&QueueFull::NAMES, &[])?];
    }
    Ok(())
}

impl NetworkSpec {
    /// The network of a profile, as scenarios name it.
    #[must_use]
    pub fn of_profile(name: &str) -> Option<NetworkSpec> {
        PROFILES.iter().position(|known| *known == name).map(profile)
    }

    /// `[network]` as [`read`] reads it. What is not part of the network is left out.
    pub(super) fn written(&self) -> String {
        let mut out = String::from("\n[network]\n");
        let mut key = |name: &str, value: String| {
            writeln!(out, "{name} = {value}").expect("a String takes everything");
        };
        key("profile", quoted(&self.profile));
        key("latency", self.latency.written());
        if let Some(jitter) = &self.jitter {
            key("jitter", jitter.written());
        }
        if self.asymmetry.0 > 0 {
            key("asymmetry", percentage(self.asymmetry));
        }
        key("loss", percentage(self.loss));
        if let Some(burst) = self.loss_burst {
            key("loss_burst", span(burst.mean));
            key("loss_within_burst", percentage(burst.within));
        }
        if self.duplicate.0 > 0 {
            key("duplicate", percentage(self.duplicate));
        }
        if let Some(Reorder { share, by }) = &self.reorder {
            key("reorder", percentage(*share));
            key("reorder_delay", by.written());
        }
        if self.corrupt.0 > 0 {
            key("corrupt", percentage(self.corrupt));
            key("undetected", percentage(self.undetected));
        }
        key("bandwidth", self.bandwidth_bps.map_or_else(|| "\"unlimited\"".to_owned(), bandwidth));
        if let Some(bps) = self.download_bps {
            key("download", bandwidth(bps));
        }
        key("queue", format!("\"{}B\"", self.queue_bytes));
        if self.queue_full == QueueFull::Drop {
            key("queue_full", quoted(QueueFull::NAMES[self.queue_full as usize]));
        }
        if let Some(law) = &self.slow_joiner {
            key("slow_joiner", law.written());
        }
        key("multicast", self.multicast.to_string());
        key("high_water_mark", self.high_water_mark.to_string());
        key("connection_timeout", span(self.connection_timeout));
        match (self.topology, &self.regions) {
            (Topology::Regions, Some(regions)) => {
                key("topology", quoted(&format!("regions({})", regions.file)));
                let rows: Vec<String> = regions
                    .rtt
                    .iter()
                    .map(|row| format!("    [{}],\n", row.iter().map(|rtt| span(*rtt)).collect::<Vec<_>>().join(", ")))
                    .collect();
                let (names, rows) = (texts(&regions.names), rows.concat());
                writeln!(out, "\n[network.regions]\nnames = {names}\nrtt = [\n{rows}]")
                    .expect("a String takes everything");
            }
            (Topology::Regions, None) => key("topology", quoted("full")),
            (topology, _) => {
                key("topology", quoted(topology.name()));
                if let Some(degree) = topology.degree() {
                    key("degree", degree.to_string());
                }
                if let Topology::SmallWorld { rewire, .. } = topology {
                    key("rewire", percentage(rewire));
                }
            }
        }
        out
    }
}

/// The profiles are guesses of what is usual, meant to differ from each other rather than to match one place:
/// switched Ethernet, one city, one continent, one crowded access point, one geostationary hop (35,786 km up and down
/// are 239 ms one way).
fn profile(index: usize) -> NetworkSpec {
    let law = |median_us, p99_us| LatencyLaw::Lognormal { median: Span(median_us), p99: Span(p99_us) };
    let gigabit = Some(1_000_000_000);
    let (latency, loss_ppm, bandwidth_bps, multicast) = match PROFILES[index] {
        "ideal" => (LatencyLaw::Constant(Span::ZERO), 0, None, true),
        "metro" => (law(3_000, 10_000), 100, gigabit, false),
        "wan" => (law(40_000, 120_000), 1_000, Some(100_000_000), false),
        "wifi" => (law(3_000, 40_000), 10_000, Some(50_000_000), true),
        "satellite" => (law(270_000, 340_000), 5_000, Some(20_000_000), false),
        _ => (law(500, 2_000), 10, gigabit, true),
    };
    NetworkSpec {
        profile: PROFILES[index].to_owned(),
        latency,
        jitter: None,
        asymmetry: Ppm(0),
        loss: Ppm(loss_ppm),
        loss_burst: None,
        duplicate: Ppm(0),
        reorder: None,
        corrupt: Ppm(0),
        undetected: Ppm(15),
        bandwidth_bps,
        download_bps: None,
        queue_bytes: 256 * 1024,
        queue_full: QueueFull::Wait,
        slow_joiner: None,
        multicast,
        high_water_mark: 1_000,
        // The real driver gives a subscription up after four silent heartbeats.
        connection_timeout: Span::secs(12),
        topology: Topology::Full,
        regions: None,
    }
}

/// Whether there is such a topology of so many nodes: known only once the nodes are read.
pub(super) fn fits(item: Option<Item<'_>>, network: &NetworkSpec, nodes: usize) -> Read<()> {
    let Some(why) = network.topology.impossible(nodes) else { return Ok(()) };
    let fields = Fields::of(item.expect("the default is always possible"), "`[network]`", &KEYS)?;
    let place = fields.get("degree").or_else(|| fields.get("topology")).expect("a topology that is not the default");
    Err(place.problem(format!("no \"{}\" of these nodes: {why}", network.topology.name()), "not possible"))
}
