//! How far a mean difference may be off: a symmetric studentised bootstrap.
//!
//! A percentile interval of ten differences is too narrow at every level, and ends at the largest difference that was seen. Here
//! each resample is measured by its own standard error, as the differences themselves are (Hall, "On symmetric bootstrap confidence
//! intervals", 1988), and the interval is never narrower than Student's, which is exact for normal differences. That two builds
//! are equal makes their differences symmetric, whatever their law, and there both err to the safe side.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Differences below which nothing is said: the standard error of fewer is itself a guess.
pub const LEAST: usize = 5;

/// The most that an interval may miss with: what a [`Spread`] keeps of its resamples.
const MISSING_MOST: f64 = 0.05;

/// The same resamples for every row and every comparison: what is said of the same figures is always the same.
const SEED: [u8; 32] = *b"marlos-sim/compare/bootstrap/1\0\0";

/// From where to where, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Which of so many differences each resample takes.
#[derive(Clone, Debug)]
pub struct Resamples {
    count: usize,
    drawn: Vec<u32>,
}

impl Resamples {
    /// So many resamples of `count` differences.
    #[must_use]
    pub fn of(count: usize, resamples: usize) -> Resamples {
        assert!(count > 0 && resamples > 0, "resamples of nothing");
        let mut rng = ChaCha8Rng::from_seed(SEED);
        let one = || ((u64::from(rng.next_u32()) * count as u64) >> 32) as u32;
        Resamples { count, drawn: std::iter::repeat_with(one).take(count * resamples).collect() }
    }
}

/// The mean of differences, and how resamples of them scatter around it.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Of the differences.
    pub mean: f64,
    error: f64,
    count: usize,
    /// How far the means of the farthest resamples are from `mean`, each in its own standard errors; falling.
    farthest: Vec<f64>,
    resamples: usize,
}

impl Spread {
    /// Of at least [`LEAST`] differences of values that are known up to `resolution`: two rounded values have a difference with the
    /// variance `resolution^2 / 6` at least. Without it, differences that rounding makes equal would seem to be known exactly.
    #[must_use]
    pub fn of(differences: &[f64], resolution: f64, resamples: &Resamples) -> Spread {
        let count = differences.len();
        assert!(count >= LEAST, "{count} differences are too few for an interval");
        assert!(count == resamples.count, "resamples of {} differences, not of {count}", resamples.count);
        assert!(resolution > 0.0, "nothing is known exactly");
        let n = count as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let centred: Vec<f64> = differences.iter().map(|difference| difference - mean).collect();
        let rounding = resolution * resolution / 6.0;
        // From the sums of the centred values and of their squares.
        let error_of = |sum: f64, squares: f64| {
            let variance = ((squares - sum * sum / n) / (n - 1.0)).max(0.0);
            ((variance + rounding) / n).sqrt()
        };
        let scatter_of = |drawn: &[u32]| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for which in drawn {
                let value = centred[*which as usize];
                sum += value;
                squares += value * value;
            }
            (sum / n).abs() / error_of(sum, squares)
        };
        let mut farthest: Vec<f64> = resamples.drawn.chunks_exact(count).map(scatter_of).collect();
        let resamples = farthest.len();
        let kept = ((MISSING_MOST * resamples as f64) as usize + 1).min(resamples);
        if kept < resamples {
            farthest.select_nth_unstable_by(kept, |a, b| b.total_cmp(a));
            farthest.truncate(kept);
            farthest.shrink_to_fit();
        }
        farthest.sort_unstable_by(|a, b| b.total_cmp(a));
        let error = error_of(centred.iter().sum(), centred.iter().map(|value| value * value).sum());
        Spread { mean, error, count, farthest, resamples }
    }

    /// The interval that misses the true mean with this probability, 5 % at most.
    #[must_use]
    pub fn interval(&self, missing: f64) -> Interval {
        assert!(missing > 0.0 && missing <= MISSING_MOST, "an interval that misses with probability {missing}");
        let resampled = self.farthest[(missing * self.resamples as f64) as usize];
        let half = self.error * resampled.max(student(self.count - 1, missing));
        Interval { low: self.mean - half, high: self.mean + half }
    }
}

/// What |t| of Student's law exceeds with this probability.
fn student(freedom: usize, missing: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while beyond(high, freedom) > missing {
        high *= 2.0;
    }
    // Halving a number this often leaves nothing of its 53 bits.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beyond(middle, freedom) > missing { low = middle } else { high = middle }
    }
    high
}

/// How probably |T| is above `t`: the finite series for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn beyond(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = if odd && freedom == 1 { 0.0 } else { term };
    let mut k = if odd { 3 } else { 2 };
    while k < freedom {
        term *= cosine * cosine * (k - 1) as f64 / k as f64;
        sum += term;
        k += 2;
    }
    let within = if odd { (angle + sine * sum) * std::f64::consts::FRAC_2_PI } else { sine * sum };
    1.0 - within
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of quantiles: two-sided 5 %, 1 % and 0.1 %.
    #[test]
    fn students_quantiles_are_those_of_the_tables() {
        let table = [
            (1, 12.706, 63.657, 636.619),
            (2, 4.303, 9.925, 31.599),
            (4, 2.776, 4.604, 8.610),
            (7, 2.365, 3.499, 5.408),
            (9, 2.262, 3.250, 4.781),
            (30, 2.042, 2.750, 3.646),
        ];
        for (freedom, five, one, tenth) in table {
            for (missing, quantile) in [(0.05, five), (0.01, one), (0.001, tenth)] {
                let found = student(freedom, missing);
                assert!((found - quantile).abs() < 0.001, "{freedom}, {missing}: {found}");
            }
        }
    }

    #[test]
    fn the_same_differences_have_the_same_interval_and_wider_ones_a_wider_one() {
        let narrow = [0.9, 1.0, 1.1, 1.05, 0.95, 1.0];
        let wide = narrow.map(|value| 1.0 + 3.0 * (value - 1.0));
        let interval = |of: &[f64]| Spread::of(of, 1e-3, &Resamples::of(6, 2_000)).interval(0.01);
        assert_eq!(interval(&narrow), interval(&narrow));
        let (narrow, wide) = (interval(&narrow), interval(&wide));
        assert!(wide.low < narrow.low && narrow.high < wide.high && narrow.low < 1.0, "{narrow:?} {wide:?}");
    }

    #[test]
    fn rounding_that_makes_differences_equal_does_not_make_them_exact() {
        let resamples = Resamples::of(6, 2_000);
        let spread = Spread::of(&[0.05; 6], 1e-3, &resamples).interval(0.001);
        assert!(spread.low < 0.05 && spread.low > 0.045, "{spread:?}");
        // And where it leaves two values, a resample of one of them alone does not count for an exact one.
        let two = Spread::of(&[0.0149, 0.0151, 0.0151, 0.0149, 0.0151, 0.0151], 1e-3, &resamples).interval(0.001);
        assert!(two.low > 0.010 && two.high < 0.020, "{two:?}");
    }

    /// How often the interval misses the true mean, of 600 samples.
    fn missed(count: usize, missing: f64, mut one: impl FnMut(&mut ChaCha8Rng) -> f64) -> u32 {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let resamples = Resamples::of(count, 1_000);
        (0..600)
            .map(|_| {
                let sample: Vec<f64> = (0..count).map(|_| one(&mut rng)).collect();
                let interval = Spread::of(&sample, 1e-6, &resamples).interval(missing);
                u32::from(interval.low > 0.0 || interval.high < 0.0)
            })
            .sum()
    }

    fn uniform(rng: &mut ChaCha8Rng) -> f64 {
        (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0
    }

    /// Twelve uniform numbers less six have mean 0, variance 1, and nearly a normal law.
    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0
    }

    #[test]
    fn of_ten_differences_whatever_their_law_the_interval_covers_the_mean_as_often_as_it_says() {
        // 5 % of 600 are 30, with a standard deviation of 5.3.
        assert!(missed(10, 0.05, normal) <= 41);
        assert!(missed(5, 0.05, normal) <= 41);
        // Heavy tails, and mostly nothing at all: what differences of equal builds are like.
        let laplace = |rng: &mut ChaCha8Rng| (if uniform(rng) < 0.5 { 1.0 } else { -1.0 }) * -uniform(rng).ln();
        assert!(missed(10, 0.05, laplace) <= 41);
        let seldom = |rng: &mut ChaCha8Rng| if uniform(rng) < 0.7 { 0.0 } else { normal(rng) };
        assert!(missed(10, 0.05, seldom) <= 41);
        // Far on one side of its mean, as a difference between unequal builds may be: twice as often, and no more.
        let skewed = |rng: &mut ChaCha8Rng| -uniform(rng).ln() - 1.0;
        assert!(missed(10, 0.05, skewed) <= 60);
    }
}
