//! How much a sender may say: a token bucket in whole numbers.

use crate::time::Time;

/// Tokens are counted in millionths, so that a microsecond at one token per second is one.
const TOKEN: u64 = 1_000_000;

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

#[cfg(test)]
mod tests {
    use super::*;

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
