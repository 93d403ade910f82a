//! How much a sender may say: a token bucket in whole numbers, and a count by when it was said.

use prefetch_index::prefetch_index;

use crate::config::Config;
use crate::time::{Span, Time, WallTime};

/// Tokens are counted in millionths, so that a microsecond at one token per second is one.
const TOKEN: u64 = 1_000_000;
const SECOND: Span = Span::secs(1);

/// A bucket that fills at a rate and holds a burst.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    millionths: u64,
    at: Time,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(burst: u32, now: Time) -> Bucket {
        Bucket { millionths: u64::from(burst) * TOKEN, at: now }
    }

    /// Whether a token is there at `now`; it is not taken. A `now` before the latest one gains nothing.
    pub fn has_token(&mut self, now: Time, per_second: u32, burst: u32) -> bool {
        let gained = now.since(self.at).as_micros().saturating_mul(u64::from(per_second));
        self.millionths = self.millionths.saturating_add(gained).min(u64::from(burst) * TOKEN);
        self.at = self.at.max(now);
        self.millionths >= TOKEN
    }

    /// Takes a token, or what is left of one.
    pub fn take(&mut self) {
        self.millionths = self.millionths.saturating_sub(TOKEN);
    }
}

/// Seconds of stamps that are counted: more than lie between the oldest and the newest that the default tolerance admits.
const SECONDS: u64 = 64;

/// What a sender has said, by the second in which it stamped it.
///
/// What comes of it in which order says nothing: a connection may still hold what was said before a cut when the next one has brought
/// what was said after it. A liar can stamp what it says as it likes: it gains what fits between the oldest and the newest stamp, once.
#[derive(Clone, Debug)]
#[repr(C)] // the latest stamp, which belongs to the line before it, first: see `guard`
pub struct Stamps {
    /// The latest stamp.
    newest: WallTime,
    /// What it may say in all, by when it came: the rate, and a tolerance's worth of what was held up.
    all: Bucket,
    /// How many of each of the last seconds.
    counts: Counts,
}

/// A count for each of the last seconds. Four bits are enough of who says little, as nearly everyone does to nearly everyone.
#[derive(Clone, Debug)]
#[repr(C)]
struct Counts {
    few: [u8; SECONDS as usize / 2],
    /// In their place, once there was a second of more.
    many: Option<Box<[u16; SECONDS as usize]>>,
}

/// The most that four bits count.
const FEW: u16 = 15;

impl Counts {
    fn get(&self, second: usize) -> u16 {
        match &self.many {
            Some(many) => many[second],
            None => u16::from(self.few[second / 2] >> (4 * (second % 2)) & 15),
        }
    }

    fn set(&mut self, second: usize, count: u16) {
        if count > FEW && self.many.is_none() {
            self.many = Some(Box::new(std::array::from_fn(|second| self.get(second))));
        }
        match &mut self.many {
            Some(many) => many[second] = count,
            None => {
                let (pair, shift) = (&mut self.few[second / 2], 4 * (second % 2));
                *pair = (*pair & !(15 << shift)) | (count as u8) << shift;
            }
        }
    }
}

impl Stamps {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(config: &Config, now: Time) -> Stamps {
        let counts = Counts { few: [0; SECONDS as usize / 2], many: None };
        Stamps { newest: WallTime(0), all: Bucket::full(Stamps::most(config), now), counts }
    }

    /// What may come at once where it was said in the time that is tolerated.
    fn most(config: &Config) -> u32 {
        let seconds = (config.clock_sync_tolerance + config.clock_sync_tolerance).as_micros().div_ceil(SECOND.0);
        let held = u64::from(config.rate_limit_msgs_per_sec).saturating_mul(seconds.min(SECONDS));
        u32::try_from(held + u64::from(config.rate_limit_burst)).unwrap_or(u32::MAX)
    }

    /// The latest stamp of what was counted.
    #[must_use]
    pub fn newest(&self) -> WallTime {
        self.newest
    }

    /// Whether one more with this stamp is within the rate; it is not counted.
    #[must_use]
    pub fn has_room(&self, stamp: WallTime, now: Time, config: &Config) -> bool {
        let (second, newest) = (stamp.0 / SECOND.0, self.newest.0 / SECOND.0);
        if second + SECONDS <= newest {
            return false;
        }
        let (rate, burst) = (config.rate_limit_msgs_per_sec, config.rate_limit_burst);
        let count = if second > newest { 0 } else { self.counts.get(Stamps::at(second)) };
        // A second of what an honest node says (see `egress`): half the burst, and less than the rate.
        let most = burst.max(burst / 2 + rate).min(u32::from(u16::MAX));
        let mut all = self.all;
        u32::from(count) < most && all.has_token(now, rate, Stamps::most(config))
    }

    /// Has the processor fetch the counts.
    #[inline]
    pub fn prefetch(&self) {
        prefetch_index(self.counts.few.as_slice(), 0);
    }

    /// Counts one.
    pub fn count(&mut self, stamp: WallTime, now: Time, config: &Config) {
        self.all.has_token(now, config.rate_limit_msgs_per_sec, Stamps::most(config));
        self.all.take();
        let (second, newest) = (stamp.0 / SECOND.0, self.newest.0 / SECOND.0);
        if second + SECONDS <= newest {
            return;
        }
        for passed in (newest + 1..=second).rev().take(SECONDS as usize) {
            self.counts.set(Stamps::at(passed), 0);
        }
        self.newest = self.newest.max(stamp);
        let at = Stamps::at(second);
        self.counts.set(at, self.counts.get(at).saturating_add(1));
    }

    fn at(second: u64) -> usize {
        usize::try_from(second % SECONDS).expect("less than the number of seconds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_the_past_are_counted_in_their_own_second_and_refused_from_before_all_that_are_counted() {
        let config = Config::default();
        let mut stamps = Stamps::new(&config, Time(0));
        let (at, now) = (|second: u64| WallTime(second * 1_000_000), Time(0));
        let mut heard = |second| {
            let room = stamps.has_room(at(second), now, &config);
            if room {
                stamps.count(at(second), now, &config);
            }
            room
        };
        assert!((0..200).all(|_| heard(1_000)), "a second of the newest stamp");
        assert!(!heard(1_000) && heard(1_001) && !heard(1_000), "and no more");
        assert!((0..200).all(|_| heard(938)) && !heard(938), "one of long ago");
        assert!(!heard(937), "one that is not counted any more");
        assert!(heard(1_002) && !heard(938), "nor is this now");
        assert!(heard(5_000) && heard(4_999), "all is forgotten after a long silence");
    }

    #[test]
    fn whatever_the_stamps_no_more_than_the_rate_and_a_tolerance_of_it_pass_in_all() {
        let config = Config::default();
        let mut stamps = Stamps::new(&config, Time(0));
        let mut passed = 0;
        for ms in 0..100_000 {
            // Six a millisecond, over all that is tolerated.
            for n in 0..6 {
                let stamp = WallTime((100_000 + ms + (ms * 7 + n * 10_000) % 60_000) * 1_000);
                if stamps.has_room(stamp, Time(ms * 1_000), &config) {
                    stamps.count(stamp, Time(ms * 1_000), &config);
                    passed += 1;
                }
            }
        }
        assert!((10_000..=6_200 + 100 * 100).contains(&passed), "{passed}");
    }

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut bucket = Bucket::full(3, Time(0));
        let mut given = |at| {
            let there = bucket.has_token(Time(at), 10, 3);
            if there {
                bucket.take();
            }
            there
        };
        assert_eq!([given(0), given(0), given(0), given(0)], [true, true, true, false]);
        assert_eq!([given(99_999), given(100_000), given(100_000)], [false, true, false]);
        assert_eq!(
            [given(10_000_000), given(10_000_000), given(10_000_000), given(10_000_000)],
            [true, true, true, false]
        );
    }
}
