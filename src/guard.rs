//! May this message in? The per-sender part of admission: blacklist, rate, timestamp, nonce (protocol.md, section 5).
//!
//! Everything here is checked before the signature and changed only after it. Memory per sender is bounded: two cache lines, and of
//! who says much 256 bytes for the replay window and half as much for the stamps.

pub mod rate;
pub mod replay;

use std::slice::from_ref;

use prefetch_index::prefetch_index;

use crate::config::{Config, planted};
use crate::id::{Link, PeerIdx};
use crate::io::Refusal;
use crate::time::{Now, Span, Time, WallTime};
use crate::wire::Header;
use rate::{Bucket, Stamps};
use replay::ReplayWindow;

/// As much as the clocks of two members may differ (see `membership::clock`). In a new life a node takes what is stamped at most so much
/// before its beginning, where it comes over the connection that it dialled to its author: that is new, too. What comes over any
/// other way may be a copy of what was said to the life before, and must be stamped so much later.
const CLOCKS_DIFFER: Span = Span::millis(250);

/// What is remembered of each sender, by its number.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    senders: Vec<Sender>,
    /// When this life began, where the store knows of one before it.
    born: Option<Time>,
}

/// Two cache lines, of which every message touches both: up to the latest stamp what is looked at before the signature, then what is
/// counted after it.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Sender {
    /// By when its messages came.
    bucket: Bucket,
    blacklisted_until: Time,
    window: ReplayWindow,
    /// By when it stamped them: what a link or this node held up and brings at once was not sent at once.
    stamps: Stamps,
}

const _: () = assert!(size_of::<Sender>() == 128, "hundreds of nodes hold one of each other");

/// What the checks before the signature found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Verify, then [`Guard::admit`].
    Clear,
    /// Verify, then [`Guard::blacklist`]: only a verified message may get its sender banned, or anyone could ban anyone.
    OverRate,
}

impl Guard {
    /// The process starts, and its store knows of an earlier life. Which nonces that life has seen is forgotten: what was said before
    /// this one may have been taken already, and is not taken again. It was not sent to this life: streams begin anew with it.
    pub fn begin_again(&mut self, now: Time) {
        self.born = Some(now);
    }

    /// Whether a stamp is too far from synchronised time, or from before this life. `first_hand` is what comes over the connection to
    /// its author.
    #[must_use]
    pub fn is_stale(&self, stamp: WallTime, first_hand: bool, now: Now, sync_offset_us: i64, config: &Config) -> bool {
        let wall = now.wall.offset(sync_offset_us);
        let age = wall.since(stamp);
        let before_this_life = self.born.is_some_and(|born| {
            let life = now.mono.since(born);
            if first_hand { age > life + CLOCKS_DIFFER } else { age + CLOCKS_DIFFER > life }
        });
        let off = wall.distance(stamp) > config.clock_sync_tolerance && !planted!(config, StampsIgnored);
        off || (before_this_life && !planted!(config, ReplayAfterRestart))
    }

    /// Makes room for the next sender. `floor` is the newest incarnation of it that the store remembers.
    pub fn add_sender(&mut self, peer: PeerIdx, floor: u32, config: &Config, now: Time) {
        assert_eq!(peer.at(), self.senders.len(), "senders are numbered densely");
        let bucket = Bucket::full(config.rate_limit_burst, now);
        self.senders.push(Sender {
            bucket,
            blacklisted_until: Time(0),
            window: ReplayWindow::new(floor),
            stamps: Stamps::new(config, now),
        });
    }

    /// The checks before the signature, cheapest first. `sync_offset_us` turns the wall clock into synchronised time.
    ///
    /// # Errors
    /// `Blacklisted`, `RateLimited`, `StaleTimestamp`, `StaleIncarnation` or `Replayed`.
    pub fn check(
        &mut self,
        peer: PeerIdx,
        link: Link,
        header: &Header,
        now: Now,
        sync_offset_us: i64,
        config: &Config,
    ) -> Result<Passage, Refusal> {
        let stale = self.is_stale(header.timestamp, link == Link(peer.0), now, sync_offset_us, config);
        let sender = &mut self.senders[peer.at()];
        if now.mono < sender.blacklisted_until {
            return Err(Refusal::Blacklisted);
        }
        let (rate, burst) = (config.rate_limit_msgs_per_sec, config.rate_limit_burst);
        let mut within_rate = sender.bucket.has_token(now.mono, rate, burst);
        if link == Link::BEACON && !within_rate {
            // Streams may have brought at once what they held up: no reason to ban anybody for a datagram, nor to verify it.
            return Err(Refusal::RateLimited);
        }
        // The stamp is not verified yet, so that it must not move anything.
        within_rate = within_rate
            || (sender.stamps.has_room(header.timestamp, now.mono, config) && !planted!(config, BanByArrival));
        if stale {
            return Err(Refusal::StaleTimestamp);
        }
        match sender.window.check(header.incarnation, header.counter) {
            #[cfg(feature = "plant")]
            Err(Refusal::Replayed) if config.plant == crate::config::Plant::ReplayWindowOff => {}
            other => other?,
        }
        Ok(if within_rate { Passage::Clear } else { Passage::OverRate })
    }

    /// After the signature: takes a token and marks the nonce.
    pub fn admit(&mut self, peer: PeerIdx, header: &Header, now: Now, config: &Config) {
        let sender = &mut self.senders[peer.at()];
        sender.bucket.take();
        sender.stamps.count(header.timestamp, now.mono, config);
        sender.window.mark(header.incarnation, header.counter);
    }

    /// Has the processor fetch what a message of this sender touches.
    #[inline]
    pub fn prefetch(&self, peer: PeerIdx) {
        let sender = &self.senders[peer.at()];
        prefetch_index(from_ref(&sender.bucket), 0);
        sender.stamps.prefetch();
    }

    /// Bans a sender whose verified messages came too fast.
    pub fn blacklist(&mut self, peer: PeerIdx, until: Time) {
        self.senders[peer.at()].blacklisted_until = until;
    }

    /// Whether a message claims to be newer than every one that was accepted of its sender. Nothing verified says so.
    #[must_use]
    pub fn claims_to_be_newest(&self, peer: PeerIdx, header: &Header) -> bool {
        header.timestamp > self.senders[peer.at()].stamps.newest()
    }

    /// How many senders there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.senders.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }

    /// The newest incarnation of a sender.
    #[must_use]
    pub fn incarnation(&self, peer: PeerIdx) -> u32 {
        self.senders[peer.at()].window.incarnation()
    }

    /// How many senders are blacklisted now.
    #[must_use]
    pub fn blacklisted(&self, now: Time) -> usize {
        self.senders.iter().filter(|sender| now < sender.blacklisted_until).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::time::Span;
    use crate::wire::MsgType;

    const STREAM: Link = Link(1);

    /// What becomes of message `counter`, stamped and heard at these milliseconds.
    fn heard(guard: &mut Guard, link: Link, counter: u64, stamped: u64, at: u64) -> Result<Passage, Refusal> {
        let config = Config::default();
        let header = Header {
            network_tag: 0,
            kind: MsgType::Ping,
            sender: NodeId([1; 16]),
            to: None,
            timestamp: WallTime(0) + Span::millis(stamped),
            incarnation: 1,
            counter,
            compressed: false,
        };
        let now = Now { mono: Time(0) + Span::millis(at), wall: WallTime(0) + Span::millis(at) };
        let passage = guard.check(PeerIdx::SELF, link, &header, now, 0, &config);
        if passage == Ok(Passage::Clear) {
            guard.admit(PeerIdx::SELF, &header, now, &config);
        }
        passage
    }

    fn guard() -> Guard {
        let mut guard = Guard::default();
        guard.add_sender(PeerIdx::SELF, 0, &Config::default(), Time(0));
        guard
    }

    /// 500 messages, 20 a second, are held up for 25 s and come at once, while the beacons of that time came as they were sent.
    #[test]
    fn what_a_slow_stream_brings_at_once_is_no_flood_though_beacons_overtook_it() {
        let mut guard = guard();
        for beacon in 1..=5 {
            let at = beacon * 5_000;
            assert_eq!(heard(&mut guard, Link::BEACON, 1_000 + beacon, at, at + 1), Ok(Passage::Clear));
        }
        for n in 0..500 {
            assert_eq!(heard(&mut guard, STREAM, 1 + n, n * 50, 25_100), Ok(Passage::Clear), "message {n}");
        }
        // The bucket of arrivals is empty now, and the next beacon is refused without a ban.
        assert_eq!(heard(&mut guard, Link::BEACON, 1_100, 25_100, 25_101), Err(Refusal::RateLimited));
        assert_eq!(heard(&mut guard, STREAM, 501, 25_050, 25_102), Ok(Passage::Clear));
    }

    /// A cut holds up what was said in 11 s, 60 a second; the connection after it brings what is said then, and only then come the 660.
    #[test]
    fn what_an_old_connection_still_brings_is_no_flood_though_a_new_one_overtook_it() {
        let mut guard = guard();
        assert_eq!(heard(&mut guard, STREAM, 2_000, 12_000, 12_001), Ok(Passage::Clear));
        for n in 0..660 {
            assert_eq!(
                heard(&mut guard, Link(2), 1_001 + n, n * 1_000 / 60, 14_000),
                Ok(Passage::Clear),
                "message {n}"
            );
        }
    }

    #[test]
    fn who_says_more_than_the_rate_by_both_clocks_is_over_it_and_by_beacon_is_not_heard() {
        let mut flooded = guard();
        let stream: Vec<_> = (0..202).map(|n| heard(&mut flooded, STREAM, 1 + n, 1_000, 1_000)).collect();
        assert!(stream[..200].iter().all(|passage| *passage == Ok(Passage::Clear)), "the burst");
        assert_eq!(stream[200..], [Ok(Passage::OverRate), Ok(Passage::OverRate)]);
        let mut flooded = guard();
        let beacons: Vec<_> = (0..202).map(|n| heard(&mut flooded, Link::BEACON, 1 + n, 1_000 + n, 1_000)).collect();
        assert_eq!(beacons[200..], [Err(Refusal::RateLimited), Err(Refusal::RateLimited)]);
    }
}
