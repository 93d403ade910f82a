//! The network's time as this node sees it: an intersection of its peers' clocks that f liars cannot move.
//!
//! Marzullo, "Maintaining the time in a distributed system" (1984): each measurement is an interval, the true offset lies in
//! as many of them as possible. Where fewer than n - f agree, the median after dropping the f most extreme stands in.

use super::{Members, Peer};
use crate::cx::{Ctx, store_key};
use crate::id::PeerIdx;
use crate::io::Event;
use crate::quorum::max_byzantine;
use crate::time::{Moment, Span, WallTime};
use crate::wire::message::Pong;

/// Stamps of own PINGs that are remembered: an answer to an older one measures nothing. A guess: half a minute of them.
const OWN_PINGS: usize = 10;
/// A measurement counts for this long.
const SAMPLE_LIFE: Span = Span::secs(600);
/// Offsets below this are left alone, so that nodes with good clocks do not chase each other's jitter: a guess, far below
/// the tolerance of timestamps and far above what jitter measures.
const DEAD_ZONE_US: u64 = 250_000;

/// This node's place in the network's time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_us: i64,
    own_pings: [WallTime; OWN_PINGS],
    next: usize,
    turn: usize,
}

/// One measurement of a peer's clock.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Its synchronised time minus ours, in microseconds.
    pub offset_us: i64,
    /// Round trip without the time the answer was held.
    pub round_trip: Span,
    at: Moment,
}

impl Clock {
    /// What is added to the wall clock.
    #[must_use]
    pub fn offset_us(&self) -> i64 {
        self.offset_us
    }
}

impl Members {
    /// Chooses whose PINGs the next own PING answers, in turn, and remembers its stamp.
    pub(super) fn pongs_for_ping(&mut self, cx: &Ctx<'_>) -> [Option<Pong>; 2] {
        self.clock.own_pings[self.clock.next % OWN_PINGS] = cx.wall();
        self.clock.next += 1;
        let mut pongs = [None, None];
        let mut found = 0;
        for _ in 0..self.peers.len() {
            self.clock.turn = (self.clock.turn + 1) % self.peers.len();
            let peer = &mut self.peers[self.clock.turn];
            let Some((ping_timestamp, arrived)) = peer.ping.take() else { continue };
            let held = cx.now.mono.since(arrived.into());
            pongs[found] = Some(Pong { node_id: peer.id, ping_timestamp, held, direct: peer.link_up });
            found += 1;
            if found == pongs.len() {
                break;
            }
        }
        pongs
    }

    /// What an earlier life has measured: this machine's clock is hardly right by itself now.
    pub fn recall_clock(&mut self, offset_us: i64) {
        self.clock.offset_us = offset_us;
    }

    /// A peer answered one of our PINGs: four timestamps, NTP style.
    pub(super) fn on_pong(&mut self, cx: &Ctx<'_>, from: PeerIdx, sent: WallTime, pong: &Pong) {
        if !self.clock.own_pings.contains(&pong.ping_timestamp) || pong.ping_timestamp == WallTime(0) {
            return;
        }
        let (t1, t4) = (signed(pong.ping_timestamp), signed(cx.wall()));
        let (t2, t3) = (signed(sent) - i64::try_from(pong.held.0).unwrap_or(i64::MAX / 4), signed(sent));
        let round_trip = ((t4 - t1) - (t3 - t2)).max(0);
        let sample = Sample {
            offset_us: ((t2 - t1) + (t3 - t4)) / 2,
            round_trip: Span(round_trip.unsigned_abs()),
            at: cx.now.mono.into(),
        };
        self.peers[from.at()].sample = Some(sample);
    }

    /// Moves the offset where the network's time is clearly elsewhere.
    pub(super) fn adjust_clock(&mut self, cx: &mut Ctx<'_>) {
        let fresh = |peer: &&Peer| peer.sample.is_some_and(|s| cx.now.mono.since(s.at.into()) < SAMPLE_LIFE);
        let mut samples: Vec<Sample> = Vec::with_capacity(self.peers.len());
        // Where it is said who votes, others may be as many as somebody likes to be.
        let counts = |peer: &&Peer| self.is_listed(peer.id);
        samples.extend(self.peers.iter().filter(fresh).filter(counts).filter_map(|peer| peer.sample));
        if samples.is_empty() {
            return;
        }
        let liars = max_byzantine(self.electorate.ballot().voters);
        let estimate = estimate(&samples, liars as usize);
        if estimate.unsigned_abs() < DEAD_ZONE_US {
            return;
        }
        self.clock.offset_us = self.clock.offset_us.saturating_add(estimate);
        // What was measured against the old offset says nothing about the new one.
        self.peers.iter_mut().for_each(|peer| peer.sample = None);
        self.clock.own_pings = Default::default();
        // A new life must know how old a message is before it has measured anything.
        cx.persist(store_key::CLOCK, &self.clock.offset_us);
        cx.report(Event::ClockOffset { offset_us: self.clock.offset_us });
    }
}

/// The offset of the network's time to ours, by the peers' measurements and our own clock as one more. So many members may lie: of
/// the whole network, as those that are measured first may all be liars.
fn estimate(samples: &[Sample], liars: usize) -> i64 {
    let measured = samples.len() + 1;
    // Half the round trip bounds the error of a measurement; a millisecond keeps exact ties from being disjoint.
    let mut edges: Vec<(i64, i32)> = Vec::with_capacity(2 * samples.len() + 2);
    edges.extend([(-1_000, -1), (1_000, 1)]);
    for sample in samples {
        let error = i64::try_from(sample.round_trip.0 / 2).unwrap_or(i64::MAX / 4) + 1_000;
        edges.push((sample.offset_us - error, -1));
        edges.push((sample.offset_us + error, 1));
    }
    edges.sort_unstable();
    let (mut depth, mut best, mut interval) = (0, 0, (0, 0));
    for (at, (offset, edge)) in edges.iter().enumerate() {
        depth -= edge;
        if depth > best {
            best = depth;
            interval = (*offset, edges[at + 1].0);
        }
    }
    if best as usize > liars && best as usize + liars >= measured {
        return i64::midpoint(interval.0, interval.1);
    }
    if measured <= 2 * liars {
        return 0; // too few for any median
    }
    let mut offsets: Vec<i64> = samples.iter().map(|s| s.offset_us).chain([0]).collect();
    offsets.sort_unstable_by_key(|offset| (offset.unsigned_abs(), *offset));
    offsets.truncate(offsets.len() - liars);
    offsets.sort_unstable();
    offsets[offsets.len() / 2]
}

fn signed(stamp: WallTime) -> i64 {
    i64::try_from(stamp.0).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    fn sample(offset_ms: i64, round_trip_ms: u64) -> Sample {
        Sample { offset_us: offset_ms * 1_000, round_trip: Span::millis(round_trip_ms), at: Time(0).into() }
    }

    #[test]
    fn a_slow_clock_is_moved_to_its_peers_and_liars_move_nothing() {
        let honest = [sample(2_000, 4), sample(2_001, 6), sample(1_999, 4)];
        assert!((estimate(&honest, 1) - 2_000_000).abs() < 5_000, "{}", estimate(&honest, 1));
        let with_liars =
            [sample(0, 4), sample(1, 4), sample(-1, 4), sample(2, 4), sample(25_000, 1), sample(25_000, 1)];
        assert!(estimate(&with_liars, 2).abs() < 5_000, "{}", estimate(&with_liars, 2));
    }

    #[test]
    fn liars_that_are_measured_first_move_nothing_either() {
        let liar = sample(29_500, 1);
        for (samples, liars) in [(vec![liar], 1), (vec![liar; 2], 2), (vec![liar, sample(0, 4)], 1), (vec![liar; 3], 3)]
        {
            assert!(estimate(&samples, liars).abs() < 5_000, "{} of {liars}", samples.len());
        }
        assert!(estimate(&[liar; 3], 2) > 29_000_000, "three of whom two lie have one honest clock among them");
    }
}
