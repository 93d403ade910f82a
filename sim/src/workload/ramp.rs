//! Arrivals whose rate changes: straight lines between given points, and steps where two points are of one instant.
//!
//! The n-th job comes when as many jobs are due as the same arrivals at a rate of one would have had: a process of rate one, its
//! time stretched (for Poisson's arrivals the theorem of inversion; Çinlar 1975). With integers alone, as everything that decides a run.

use marlos::time::Time;

/// A rate at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatePoint {
    /// When.
    pub at: Time,
    /// Jobs in 1,000 seconds.
    pub jobs_per_1000_s: u64,
}

/// Jobs that are due, in 10^-9 / 2: what a rate of one in 1,000 s makes due in half a microsecond.
type Due = u128;
const JOB: Due = 2_000_000_000;

/// What is due from `from` on until `until`, of these points: constant before the first and after the last.
#[must_use]
pub fn due(points: &[RatePoint], from: Time, until: Time) -> Due {
    assert!(!points.is_empty() && points.is_sorted_by_key(|point| point.at), "points in order");
    pieces(points, from, until).map(|piece| piece.due(piece.lasts())).sum()
}

/// How many jobs in 1,000 s that is on the mean, rounded up.
#[must_use]
pub fn mean(points: &[RatePoint], from: Time, until: Time) -> u64 {
    let lasts = u128::from(until.0 - from.0).max(1);
    u64::try_from(due(points, from, until).div_ceil(2 * lasts)).expect("no more than the highest rate")
}

/// When so many jobs (in 2^-32) are due since `from`; nothing if that is not before `until`.
#[must_use]
pub fn when(points: &[RatePoint], from: Time, until: Time, jobs: u128) -> Option<Time> {
    let mut left = (jobs * JOB) >> 32;
    for piece in pieces(points, from, until) {
        let all = piece.due(piece.lasts());
        if left < all {
            return Some(Time(piece.from + piece.reaches(left)));
        }
        left -= all;
    }
    None
}

/// A part of time in which the rate changes evenly, or not at all.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: u64,
    until: u64,
    /// The line that its rate is on.
    line: [RatePoint; 2],
}

/// The parts from `from` to `until`, in order, none of them empty.
fn pieces(points: &[RatePoint], from: Time, until: Time) -> impl Iterator<Item = Piece> {
    let (first, last) = (points[0], points[points.len() - 1]);
    let before = RatePoint { at: Time(0), ..first };
    let after = RatePoint { at: Time::NEVER, ..last };
    let lines = std::iter::once([before, first])
        .chain(points.windows(2).map(|pair| [pair[0], pair[1]]))
        .chain(std::iter::once([last, after]));
    lines.filter_map(move |line| {
        let (from, until) = (line[0].at.max(from).0, line[1].at.min(until).0);
        (from < until).then_some(Piece { from, until, line })
    })
}

impl Piece {
    fn lasts(self) -> u64 {
        self.until - self.from
    }

    /// What is due in the first `us` of it: the rate at its beginning and what it gains, as a trapezium.
    fn due(self, us: u64) -> Due {
        let [one, other] = self.line;
        let (a, b) = (i128::from(one.jobs_per_1000_s), i128::from(other.jobs_per_1000_s));
        let length = i128::from(other.at.0 - one.at.0).max(1);
        // Twice the rate at the beginning, and at the end, of these microseconds; each at most 2^41.
        let rate = |at: u64| 2 * a + 2 * (b - a) * i128::from(at - one.at.0) / length;
        let twice = (rate(self.from) + rate(self.from + us)) / 2 * i128::from(us);
        Due::try_from(twice).expect("a rate is not below zero")
    }

    /// The first microsecond by whose end more than `left` is due.
    fn reaches(self, left: Due) -> u64 {
        let (mut low, mut high) = (0, self.lasts() - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.due(middle + 1) > left {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(list: &[(u64, u64)]) -> Vec<RatePoint> {
        list.iter().map(|(s, rate)| RatePoint { at: Time(s * 1_000_000), jobs_per_1000_s: rate * 1_000 }).collect()
    }

    /// The times of jobs 0, 1, 2, .. where each is due as soon as the one before it was, in milliseconds.
    fn even(list: &[(u64, u64)], from: u64, until: u64) -> Vec<u64> {
        let (points, from, until) = (points(list), Time(from * 1_000_000), Time(until * 1_000_000));
        (0..).map_while(|n: u128| when(&points, from, until, n << 32)).map(|at| at.0 / 1_000).collect()
    }

    #[test]
    fn a_constant_rate_is_what_it_says_before_after_and_between_its_points() {
        assert_eq!(even(&[(5, 2)], 4, 8), [4_000, 4_500, 5_000, 5_500, 6_000, 6_500, 7_000, 7_500]);
    }

    #[test]
    fn a_ramp_from_nothing_has_a_square_roots_times() {
        // From 0 to 10 /s in 10 s: t^2 / 2 are due after t.
        let found = even(&[(0, 0), (10, 10)], 0, 10);
        assert_eq!(found.len(), 50);
        for (n, at) in found.iter().enumerate() {
            let expected = (2.0 * n as f64).sqrt() * 1_000.0;
            assert!((*at as f64 - expected).abs() <= 1.0, "job {n} at {at} ms instead of {expected}");
        }
    }

    #[test]
    fn a_step_is_two_points_of_one_instant_and_a_falling_ramp_ends() {
        assert_eq!(even(&[(2, 1), (2, 4), (3, 4), (3, 1)], 0, 5), [0, 1_000, 2_000, 2_250, 2_500, 2_750, 3_000, 4_000]);
        // 10 /s falling to nothing in 4 s: 20 jobs, and none after.
        assert_eq!(even(&[(0, 10), (4, 0)], 0, 100).len(), 20);
        assert_eq!(mean(&points(&[(0, 10), (4, 0)]), Time(0), Time(4_000_000)), 5_000);
        assert_eq!(mean(&points(&[(0, 10), (4, 0)]), Time(0), Time(8_000_000)), 2_500);
    }

    #[test]
    fn what_is_due_until_a_job_comes_is_its_number() {
        let points = points(&[(1, 3), (20, 90), (20, 7), (60, 0), (90, 1_000)]);
        let (from, until) = (Time(500_000), Time(100_000_000));
        for n in 0..20_000u128 {
            let Some(at) = when(&points, from, until, n << 32) else { continue };
            let (before, after) = (due(&points, from, at), due(&points, from, at + marlos::time::Span(1)));
            assert!(before <= n * JOB && n * JOB < after + 200, "job {n} at {at}: {before} to {after}");
        }
    }
}
