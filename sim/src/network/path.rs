//! The way between two nodes: its law of delay, its loss, its bandwidth, and what faults make of them.

use std::collections::BTreeMap;

use marlos::time::{Span, Time};
use marlos::units::Ppm;

use super::latency::LatencyTable;
use crate::draw::{Draws, Purpose, below};
use crate::scenario::{LatencyLaw, LossBurst, NetworkSpec, NodeNo};

/// Bytes of a TCP segment: an Ethernet frame's 1,500 less the two headers.
const SEGMENT_BYTES: u64 = 1_460;
/// A sender waits at least this long for an acknowledgement (Linux; RFC 6298 would have 1 s).
const RETRANSMIT_MIN: Span = Span::millis(200);
/// It waits twice as long each time, up to this. A guess: Linux goes on to 120 s unless told otherwise, and would then
/// let a healed link lie idle for as long as it was cut.
const RETRANSMIT_MAX: Span = Span::secs(3);
/// A segment that was lost this often arrives: the tables end here.
pub(super) const ROUNDS_MAX: usize = 16;

/// Links that are worse, in both directions, as in `FaultKind::Link`.
#[derive(Clone, Debug)]
pub struct Override {
    /// Between each node of one set and each of the other.
    pub between: [Vec<NodeNo>; 2],
    /// Instead of the network's law, for each message, on top of the regions' matrix.
    pub latency: Option<LatencyLaw>,
    /// Instead of the network's loss, and never in bursts.
    pub loss: Option<Ppm>,
    /// Until when: what is sent again after that passes, and so does what was queued.
    pub until: Time,
    /// Of each stream on these links, in bits per second, besides that of the nodes.
    pub bandwidth_bps: Option<u64>,
}

/// All ways of a network.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    n: usize,
    usual: Law,
    /// Half the regions' round trip, by ordered pair.
    region_us: Vec<u32>,
    /// What else a pair has as its own, by ordered pair; nothing where all delay is drawn for each message.
    pair_us: Vec<u32>,
    /// What no message of an ordered pair is faster than, as faults have it.
    base_us: Vec<u32>,
    overrides: BTreeMap<usize, Override>,
    /// Each different way once.
    paths: Vec<Path>,
    /// Which of `paths` an ordered pair has.
    index: Vec<u16>,
}

/// What makes a way different from others, but for its base.
#[derive(Clone, Debug, PartialEq)]
struct Law {
    /// Of each message.
    latency: LatencyLaw,
    /// Whether the pair's own delay comes on top.
    own: bool,
    loss: Ppm,
    /// Until when so many are lost.
    lossy_until: Time,
    burst: Option<LossBurst>,
    /// Segments changed on their way.
    corrupt: Ppm,
    bandwidth_bps: Option<u64>,
    /// Until when it has no more than that.
    narrow_until: Time,
}

/// How a way delays and loses.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub latency: LatencyTable,
    pub bandwidth_bps: Option<u64>,
    /// Until when it has no more than that.
    pub narrow_until: Time,
    median: Span,
    lossy_until: Time,
    /// Of 2^32 draws, how many lose a segment at least once, twice, .. Where losses come in bursts, any draw may.
    lost: [u32; ROUNDS_MAX],
    /// Of 2^32 draws, how many lose a datagram; in a burst, where losses come in bursts.
    pub datagrams_lost: u32,
    /// Of 2^32 draws, how many lose a segment in a burst, and how many between bursts; nothing where losses do not come in bursts.
    pub by_state: Option<[u32; 2]>,
}

/// What losses did to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Losses {
    /// Segments lost, each time counted.
    pub segments: u32,
    /// How often the unluckiest was lost.
    pub rounds: u32,
}

/// What the draws for a long frame's segments depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentKey {
    pub purpose: Purpose,
    pub from: NodeNo,
    pub to: NodeNo,
    pub kind: u8,
    pub n: u64,
}

impl Paths {
    pub fn new(spec: &NetworkSpec, regions: &[Option<usize>], draws: &Draws) -> Paths {
        let n = regions.len();
        let mut region_us = vec![0; n * n];
        if let Some(matrix) = &spec.regions {
            for (from, a) in regions.iter().enumerate() {
                for (to, b) in regions.iter().enumerate() {
                    if let (Some(a), Some(b)) = (a, b) {
                        let half = matrix.rtt[*a][*b].as_micros() / 2;
                        region_us[from * n + to] = u32::try_from(half).expect("a round trip is less than two hours");
                    }
                }
            }
        }
        let usual = Law {
            latency: spec.jitter.as_ref().unwrap_or(&spec.latency).clone(),
            own: true,
            loss: spec.loss,
            lossy_until: Time::NEVER,
            burst: spec.loss_burst,
            corrupt: spec.corrupt,
            bandwidth_bps: None,
            narrow_until: Time::NEVER,
        };
        let mut paths = Paths {
            n,
            usual,
            pair_us: vec![0; n * n],
            base_us: vec![0; n * n],
            region_us,
            overrides: BTreeMap::new(),
            paths: Vec::new(),
            index: vec![0; n * n],
        };
        paths.measure_pairs(spec, draws);
        paths.rebuild();
        paths
    }

    /// Each pair's own delay, and how much its directions differ.
    fn measure_pairs(&mut self, spec: &NetworkSpec, draws: &Draws) {
        if spec.jitter.is_none() && spec.asymmetry.0 == 0 {
            return;
        }
        let table = spec.jitter.as_ref().map(|_| LatencyTable::new(&spec.latency));
        for low in 0..self.n {
            for high in low..self.n {
                let draw = |kind| draws.one(Purpose::Pair, low, high, kind, 0);
                let own = table.as_ref().map_or(0, |table| table.sample(draw(0)).as_micros());
                // Of a million: evenly from none to twice the asymmetry, whose middle is no difference at all.
                let shift = below(draw(1), 2 * u64::from(spec.asymmetry.0) + 1);
                let larger = u64::from(Ppm::ONE.0) + shift - u64::from(spec.asymmetry.0);
                for (at, share) in
                    [(low * self.n + high, larger), (high * self.n + low, 2 * u64::from(Ppm::ONE.0) - larger)]
                {
                    let region = u64::from(self.region_us[at]);
                    let of = |us: u64| {
                        let scaled = u128::from(us) * u128::from(share) / u128::from(Ppm::ONE.0);
                        u32::try_from(scaled).unwrap_or(u32::MAX)
                    };
                    (self.region_us[at], self.pair_us[at]) = (of(region), of(own));
                    if low == high {
                        break;
                    }
                }
            }
        }
    }

    #[inline]
    pub fn path(&self, index: u16) -> &Path {
        &self.paths[usize::from(index)]
    }

    pub fn index(&self, from: NodeNo, to: NodeNo) -> u16 {
        self.index[from * self.n + to]
    }

    pub fn base_us(&self, from: NodeNo, to: NodeNo) -> u32 {
        self.base_us[from * self.n + to]
    }

    pub fn set_override(&mut self, id: usize, links: Override) {
        self.overrides.insert(id, links);
        self.rebuild();
    }

    pub fn clear_override(&mut self, id: usize) {
        self.overrides.remove(&id);
        self.rebuild();
    }

    /// Finds out anew which way each pair has.
    fn rebuild(&mut self) {
        let mut laws = vec![self.usual.clone()];
        self.index.fill(0);
        // By rising id, each on top of those before it.
        for links in self.overrides.values() {
            let mut member = vec![[false; 2]; self.n];
            for (side, nodes) in links.between.iter().enumerate() {
                nodes.iter().for_each(|node| member[*node][side] = true);
            }
            for from in 0..self.n {
                for to in 0..self.n {
                    if !(member[from][0] && member[to][1] || member[from][1] && member[to][0]) {
                        continue;
                    }
                    let law = laws[usize::from(self.index[from * self.n + to])].worsened(links);
                    let at = laws.iter().position(|known| *known == law).unwrap_or_else(|| {
                        laws.push(law);
                        laws.len() - 1
                    });
                    self.index[from * self.n + to] = u16::try_from(at).expect("far fewer laws than pairs");
                }
            }
        }
        for (at, base_us) in self.base_us.iter_mut().enumerate() {
            let pair_us = if laws[usize::from(self.index[at])].own { self.pair_us[at] } else { 0 };
            *base_us = self.region_us[at].saturating_add(pair_us);
        }
        self.paths = laws.iter().map(Path::new).collect();
    }
}

impl Law {
    fn worsened(&self, links: &Override) -> Law {
        Law {
            latency: links.latency.as_ref().unwrap_or(&self.latency).clone(),
            own: self.own && links.latency.is_none(),
            loss: links.loss.unwrap_or(self.loss),
            lossy_until: if links.loss.is_some() { links.until } else { self.lossy_until },
            burst: self.burst.filter(|_| links.loss.is_none()),
            corrupt: self.corrupt,
            bandwidth_bps: links.bandwidth_bps.or(self.bandwidth_bps),
            narrow_until: if links.bandwidth_bps.is_some() { links.until } else { self.narrow_until },
        }
    }
}

impl Path {
    fn new(law: &Law) -> Path {
        let of = |share: u64, ppm: Ppm| share * u64::from(ppm.0) / u64::from(Ppm::ONE.0);
        let threshold = |share: u64| u32::try_from(share).expect("a share of 2^32 - 1");
        let all = u64::from(u32::MAX);
        // A changed segment is as good as lost.
        let either = |loss: Ppm| of(all, loss) + of(all - of(all, loss), law.corrupt);
        let mut lost = [0; ROUNDS_MAX];
        let mut share = all;
        for at in &mut lost {
            share = if law.corrupt.0 == 0 { of(share, law.loss) } else { share * either(law.loss) / all };
            *at = threshold(share);
        }
        let by_state = law.burst.map(|burst| {
            lost = [u32::MAX; ROUNDS_MAX];
            [burst.within, Ppm(0)].map(|loss| threshold(either(loss)))
        });
        let datagrams_lost = threshold(of(all, law.burst.map_or(law.loss, |burst| burst.within)));
        let latency = LatencyTable::new(&law.latency);
        let median = latency.median();
        let Law { bandwidth_bps, narrow_until, lossy_until, .. } = *law;
        Path { latency, bandwidth_bps, narrow_until, median, lossy_until, lost, datagrams_lost, by_state }
    }

    /// Whether a single segment may be lost; and is, where losses do not come in bursts.
    #[inline]
    pub fn loses(&self, draw: u32) -> bool {
        draw < self.lost[0]
    }

    /// Whether losses must be asked for: a short frame's one segment is lost, or there are more and some may be.
    #[inline]
    pub fn may_lose(&self, draw: u32, bytes: u64) -> bool {
        self.loses(draw) || (bytes > SEGMENT_BYTES && self.lost[0] > 0)
    }

    /// How often a segment with this draw is lost before it passes, where losses do not come in bursts.
    pub fn rounds(&self, draw: u32) -> u32 {
        self.lost.iter().take_while(|threshold| draw < **threshold).count() as u32
    }

    /// What happens to each segment of a frame; `rounds` says how often one with this draw is lost. `draw` decides about the
    /// only one; further ones have draws of their own.
    pub fn losses(draws: &Draws, key: SegmentKey, draw: u32, bytes: u64, mut rounds: impl FnMut(u32) -> u32) -> Losses {
        let mut segments = bytes.div_ceil(SEGMENT_BYTES);
        if segments <= 1 {
            let rounds = rounds(draw);
            return Losses { segments: rounds, rounds };
        }
        let mut losses = Losses { segments: 0, rounds: 0 };
        let source = ((key.purpose as usize) << 32) | (key.from << 16) | key.to;
        let mut chunk = [0; 64];
        let mut part = 0;
        while segments > 0 {
            let count = segments.min(64) as usize;
            draws.all(Purpose::Segments, source, key.kind, (key.n << 16) | part, &mut chunk[..count]);
            for draw in &chunk[..count] {
                let rounds = rounds(*draw as u32);
                losses.segments += rounds;
                losses.rounds = losses.rounds.max(rounds);
            }
            segments -= count as u64;
            part += 1;
        }
        losses
    }

    /// How long a sender waits in all that sends a segment again this often, the first time at `sent`; or until it does so when
    /// the link is not as bad any more, if that is earlier.
    pub fn retransmissions(&self, sent: Time, base_us: u32, rounds: u32) -> Span {
        let mut waited = Span::ZERO;
        for round in 0..rounds {
            waited = waited + self.retransmit_after(base_us, round);
            if sent + waited >= self.lossy_until {
                break;
            }
        }
        waited
    }

    /// How long it waits before the first, second, .. retransmission: twice the round trip at least.
    pub fn retransmit_after(&self, base_us: u32, round: u32) -> Span {
        let round_trip = Span(u64::from(base_us)).times(2) + self.median.times(2);
        let first = round_trip.times(2).max(RETRANSMIT_MIN);
        first.times(1 << round.min(16)).min(RETRANSMIT_MAX.max(first))
    }

    /// How long after `stalled` the first retransmission comes that is not before `healed` (both since the same origin).
    pub fn recovery(&self, base_us: u32, stalled: Span) -> Span {
        let mut at = Span::ZERO;
        let mut round = 0;
        while at <= stalled {
            at = at + self.retransmit_after(base_us, round);
            round += 1;
        }
        at.saturating_sub(stalled)
    }
}
