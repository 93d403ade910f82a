//! A node's wall clock, which may be wrong (contract.md, `kind = "clock"`). Its monotonic clock never is.

use std::collections::BTreeMap;

use marlos::time::Time;

/// How wrong a wall clock is.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// What jumps have left, in microseconds.
    jumped_us: i64,
    /// What is wrong while a fault lasts, by its number.
    faults: BTreeMap<usize, Wrong>,
}

#[derive(Clone, Copy, Debug)]
struct Wrong {
    since: Time,
    skew_us: i64,
    drift_ppm: i64,
}

impl WallClock {
    /// A fault begins: the clock is off by `skew_us` and runs faster by `drift_ppm` while it lasts, and jumps by `jump_us` for good.
    pub fn begin(&mut self, fault: usize, since: Time, skew_us: i64, drift_ppm: i64, jump_us: i64) {
        self.jumped_us = self.jumped_us.saturating_add(jump_us);
        self.faults.insert(fault, Wrong { since, skew_us, drift_ppm });
    }

    /// It ends, and the clock is set right, but for its jump.
    pub fn end(&mut self, fault: usize) {
        self.faults.remove(&fault);
    }

    /// By how much it is ahead, in microseconds.
    #[must_use]
    pub fn ahead_us(&self, now: Time) -> i64 {
        let drifted = |wrong: &Wrong| {
            let lasted = i128::from(now.since(wrong.since).as_micros());
            i64::try_from(lasted * i128::from(wrong.drift_ppm) / 1_000_000).unwrap_or(i64::MAX)
        };
        let wrong = |sum: i64, wrong: &Wrong| sum.saturating_add(wrong.skew_us).saturating_add(drifted(wrong));
        self.faults.values().fold(self.jumped_us, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_and_drift_end_with_their_fault_and_a_jump_stays() {
        let at = |seconds: u64| Time(seconds * 1_000_000);
        let mut clock = WallClock::default();
        clock.begin(3, at(10), -2_000_000, 100, 0);
        clock.begin(4, at(20), 0, 0, 500_000);
        assert_eq!(clock.ahead_us(at(10)), -1_500_000);
        assert_eq!(clock.ahead_us(at(30)), -2_000_000 + 2_000 + 500_000);
        clock.end(3);
        clock.end(4);
        assert_eq!(clock.ahead_us(at(40)), 500_000);
    }
}
