//! May this message in? The per-sender part of admission: blacklist, rate, timestamp, nonce (protocol.md, section 5).
//!
//! Everything here is checked before the signature and changed only after it. Memory per sender is constant: the replay
//! window's 256 bytes and a few words.

pub mod rate;
pub mod replay;

use crate::config::Config;
use crate::id::PeerIdx;
use crate::io::Refusal;
use crate::time::{Now, Span, Time, WallTime};
use crate::wire::Header;
use rate::Bucket;
use replay::ReplayWindow;

/// How much earlier than its beginning a message may be stamped that a node takes in a new life: as much as the clocks of two members
/// may differ (see `membership::clock`).
const CLOCKS_DIFFER: Span = Span::millis(250);

/// What is remembered of each sender, by its number.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    senders: Vec<Sender>,
    /// When this life began, where the store knows of one before it.
    born: Option<Time>,
}

#[derive(Clone, Debug)]
#[repr(C)] // the window, of which a message touches one word, stands behind what every message touches
struct Sender {
    /// By when its messages came.
    bucket: Bucket,
    /// By when it stamped them: what a link or this node held up and brings at once was not sent at once. A liar gains no
    /// more than the messages that fit between the oldest and the newest stamp that are tolerated, once.
    stamps: Bucket,
    blacklisted_until: Time,
    newest_stamp: WallTime,
    window: ReplayWindow,
}

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

    /// Whether a stamp is too far from synchronised time, or from before this life.
    #[must_use]
    pub fn is_stale(&self, stamp: WallTime, now: Now, sync_offset_us: i64, config: &Config) -> bool {
        let wall = now.wall.offset(sync_offset_us);
        let age = wall.since(stamp);
        let before_this_life = self.born.is_some_and(|born| age > now.mono.since(born) + CLOCKS_DIFFER);
        wall.distance(stamp) > config.clock_sync_tolerance || (before_this_life && !forgetful_planted(config))
    }

    /// Makes room for the next sender. `floor` is the newest incarnation of it that the store remembers.
    pub fn add_sender(&mut self, peer: PeerIdx, floor: u32, config: &Config, now: Time) {
        assert_eq!(peer.at(), self.senders.len(), "senders are numbered densely");
        let bucket = Bucket::full(config.rate_limit_burst, now);
        self.senders.push(Sender {
            window: ReplayWindow::new(floor),
            bucket,
            stamps: Bucket::full(config.rate_limit_burst, Time(0)),
            blacklisted_until: Time(0),
            newest_stamp: WallTime(0),
        });
    }

    /// The checks before the signature, cheapest first. `sync_offset_us` turns the wall clock into synchronised time.
    ///
    /// # Errors
    /// `Blacklisted`, `StaleTimestamp`, `StaleIncarnation` or `Replayed`.
    pub fn check(
        &mut self,
        peer: PeerIdx,
        header: &Header,
        now: Now,
        sync_offset_us: i64,
        config: &Config,
    ) -> Result<Passage, Refusal> {
        let stale = self.is_stale(header.timestamp, now, sync_offset_us, config);
        let sender = &mut self.senders[peer.at()];
        if now.mono < sender.blacklisted_until {
            return Err(Refusal::Blacklisted);
        }
        let (rate, burst) = (config.rate_limit_msgs_per_sec, config.rate_limit_burst);
        // The stamp is not verified yet, so that it must not move anything: a copy is asked.
        let mut stamps = sender.stamps;
        let within_rate =
            sender.bucket.has_token(now.mono, rate, burst) || stamps.has_token(Time(header.timestamp.0), rate, burst);
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
    pub fn admit(&mut self, peer: PeerIdx, header: &Header, config: &Config) {
        let sender = &mut self.senders[peer.at()];
        let stamp = Time(header.timestamp.0);
        sender.stamps.has_token(stamp, config.rate_limit_msgs_per_sec, config.rate_limit_burst);
        sender.bucket.take();
        sender.stamps.take();
        sender.newest_stamp = sender.newest_stamp.max(header.timestamp);
        sender.window.mark(header.incarnation, header.counter);
    }

    /// Bans a sender whose verified messages came too fast.
    pub fn blacklist(&mut self, peer: PeerIdx, until: Time) {
        self.senders[peer.at()].blacklisted_until = until;
    }

    /// Whether a message claims to be newer than every one that was accepted of its sender. Nothing verified says so.
    #[must_use]
    pub fn claims_to_be_newest(&self, peer: PeerIdx, header: &Header) -> bool {
        header.timestamp > self.senders[peer.at()].newest_stamp
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

fn forgetful_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::ReplayAfterRestart {
        return true;
    }
    let _ = config;
    false
}
