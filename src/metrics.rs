//! The document's `get_metrics`, by its names, counted from what the node itself saw.

use std::collections::BTreeMap;

use crate::id::PeerIdx;
use crate::io::{Event, PeerState, Refusal};
use crate::time::{Span, Time};

/// Counters since the start of this incarnation.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Envelopes sent: a broadcast counts once.
    pub messages_sent: u64,
    /// Envelopes that passed admission.
    pub messages_received: u64,
    /// Bytes of envelopes sent: a broadcast counts once.
    pub bytes_sent: u64,
    /// Bytes of envelopes that passed admission.
    pub bytes_received: u64,
    /// Sum of one-way latencies of accepted envelopes, in microseconds, by the stamps of both clocks.
    pub latency_us_sum: u64,
    /// Envelopes that came a second time over another path, as a first contact's do: dropped, not refused.
    pub duplicates: u64,
    /// Refusals by reason, indexed by the reason's number.
    pub refusals: [u64; Refusal::ALL.len()],
}

/// Traffic is averaged over windows of this length.
const WINDOW: Span = Span::secs(10);

/// The document's `get_metrics` of one process, counted by its driver from what the node reports and sends, and from the bytes that
/// went over its connections. Both drivers have it.
#[derive(Clone, Debug)]
pub struct Tally {
    blacklist_duration: Span,
    /// Whether each member is alive, by its number.
    alive: Vec<bool>,
    blacklisted_until: BTreeMap<PeerIdx, Time>,
    /// A node that has met nobody yet counts as cut off, as it does for itself.
    degraded: bool,
    sent: u64,
    received: u64,
    latency_us_sum: u64,
    window_since: Time,
    window_bytes: u64,
    /// Bits per second of the last full window.
    last_window: Option<u64>,
}

/// The document's `get_metrics`, by its names; units last where it has others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetMetrics {
    /// Members that are alive, without this node.
    pub peer_count: u32,
    /// Envelopes sent: a broadcast counts once.
    pub messages_sent: u64,
    /// Envelopes that passed admission.
    pub messages_received: u64,
    /// Mean one-way latency of them, by the stamps of both clocks, in microseconds; zero where there was none.
    pub avg_latency_us: u64,
    /// In and out, mean of the last full window of 10 s, or of the running one where there was none yet.
    pub bandwidth_usage_bits_per_s: u64,
    /// Senders that are refused for a while.
    pub blacklisted_peers: u32,
    /// Too few members are reachable.
    pub partition_detected: bool,
}

impl Tally {
    /// A process that starts now. `blacklist_duration` is the node's.
    #[must_use]
    pub fn new(now: Time, blacklist_duration: Span) -> Tally {
        Tally {
            blacklist_duration,
            alive: Vec::new(),
            blacklisted_until: BTreeMap::new(),
            degraded: true,
            sent: 0,
            received: 0,
            latency_us_sum: 0,
            window_since: now,
            window_bytes: 0,
            last_window: None,
        }
    }

    /// The node reports.
    pub fn on_event(&mut self, now: Time, event: &Event) {
        match event {
            Event::Accepted { one_way, .. } => {
                self.received += 1;
                self.latency_us_sum = self.latency_us_sum.saturating_add(one_way.as_micros());
            }
            Event::PeerState { peer, state } => {
                if self.alive.len() <= peer.at() {
                    self.alive.resize(peer.at() + 1, false);
                }
                self.alive[peer.at()] = *state == PeerState::Alive;
            }
            Event::Blacklisted { peer } => {
                self.blacklisted_until.insert(*peer, now + self.blacklist_duration);
            }
            Event::Degraded { .. } => self.degraded = true,
            Event::Recovered { .. } => self.degraded = false,
            Event::Started { .. }
            | Event::Refused { .. }
            | Event::PeerDiscovered { .. }
            | Event::PeerRecalled { .. }
            | Event::Quarantined { .. }
            | Event::Released { .. }
            | Event::Proven { .. }
            | Event::Pinged
            | Event::JobSubmitted { .. }
            | Event::SubmitRefused { .. }
            | Event::JobSeen { .. }
            | Event::AuctionClosed { .. }
            | Event::AuctionEmpty { .. }
            | Event::Voted { .. }
            | Event::Certified { .. }
            | Event::ClaimLearned { .. }
            | Event::ClaimLapsed { .. }
            | Event::TakeoverAsked { .. }
            | Event::JobRetried { .. }
            | Event::ExecutionStarted { .. }
            | Event::ExecutionCancelled { .. }
            | Event::JobCompleted { .. }
            | Event::JobFailed { .. }
            | Event::TransactionVoted { .. }
            | Event::TransactionCertified { .. }
            | Event::TransactionApplied { .. }
            | Event::PenaltyCertified { .. }
            | Event::PenaltyApplied { .. }
            | Event::ConflictingTransactions { .. }
            | Event::KeyRotated { .. }
            | Event::KeyKnown { .. }
            | Event::ClockOffset { .. } => {}
        }
    }

    /// An envelope leaves.
    pub fn on_sent(&mut self) {
        self.sent += 1;
    }

    /// So many bytes went in or out since the last call: they belong to the window that was running.
    pub fn on_bytes(&mut self, now: Time, bytes: u64) {
        self.window_bytes += bytes;
        if now.since(self.window_since) >= WINDOW {
            self.last_window = Some(self.running_window(now));
            (self.window_since, self.window_bytes) = (now, 0);
        }
    }

    fn running_window(&self, now: Time) -> u64 {
        let us = u128::from(now.since(self.window_since).as_micros().max(1_000));
        u64::try_from(u128::from(self.window_bytes) * 8_000_000 / us).unwrap_or(u64::MAX)
    }

    /// How things stand.
    #[must_use]
    pub fn read(&self, now: Time) -> GetMetrics {
        let count = |n: usize| u32::try_from(n).expect("bounded by max_members");
        let window_over = now.since(self.window_since) >= WINDOW;
        GetMetrics {
            peer_count: count(self.alive.iter().skip(1).filter(|alive| **alive).count()),
            messages_sent: self.sent,
            messages_received: self.received,
            avg_latency_us: self.latency_us_sum / self.received.max(1),
            bandwidth_usage_bits_per_s: match self.last_window {
                Some(last) if !window_over => last,
                _ => self.running_window(now),
            },
            blacklisted_peers: count(self.blacklisted_until.values().filter(|until| now < **until).count()),
            partition_detected: self.degraded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MsgType;

    fn at(seconds: u64) -> Time {
        Time(0) + Span::secs(seconds)
    }

    #[test]
    fn the_tally_says_how_things_stand_after_what_was_reported() {
        let mut tally = Tally::new(at(0), Span::secs(100));
        let state = |peer, state| Event::PeerState { peer: PeerIdx(peer), state };
        let accepted = |ms| Event::Accepted { from: PeerIdx(1), kind: MsgType::Ping, one_way: Span::millis(ms) };
        let empty = tally.read(at(0));
        assert!(empty.partition_detected && empty.avg_latency_us == 0 && empty.peer_count == 0);
        for event in [
            state(2, PeerState::Alive),
            state(1, PeerState::Alive),
            state(2, PeerState::Suspect),
            state(4, PeerState::Dead),
            Event::Recovered { reachable: 3, quorum: 3 },
            Event::Blacklisted { peer: PeerIdx(2) },
            accepted(4),
            accepted(2),
        ] {
            tally.on_event(at(1), &event);
        }
        tally.on_sent();
        let expected = GetMetrics {
            peer_count: 1,
            messages_sent: 1,
            messages_received: 2,
            avg_latency_us: 3_000,
            bandwidth_usage_bits_per_s: 0,
            blacklisted_peers: 1,
            partition_detected: false,
        };
        assert_eq!(tally.read(at(100)), expected);
        tally.on_event(at(101), &Event::Degraded { reachable: 1, quorum: 3 });
        assert_eq!(tally.read(at(101)), GetMetrics { blacklisted_peers: 0, partition_detected: true, ..expected });
    }

    #[test]
    fn bandwidth_is_the_mean_of_the_last_full_window_or_of_the_first_while_it_runs() {
        let mut tally = Tally::new(at(100), Span::secs(1));
        tally.on_bytes(at(101), 1_000);
        let bits = |tally: &Tally, second| tally.read(at(second)).bandwidth_usage_bits_per_s;
        assert_eq!(bits(&tally, 104), 2_000);
        tally.on_bytes(at(110), 50_000);
        tally.on_bytes(at(111), 20_000);
        assert_eq!((bits(&tally, 111), bits(&tally, 119)), (40_800, 40_800));
        assert_eq!(bits(&tally, 120), 16_000, "the second window is over");
        assert_eq!(bits(&tally, 210), 1_600, "and nothing came after it");
    }
}
