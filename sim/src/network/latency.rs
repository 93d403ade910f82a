//! Delays by a law, from a table of quantiles: integers only once it is built.
//!
//! The table is computed with nothing but + - * / and the square root, which IEEE 754 fixes to the last bit; `ln` and `exp`
//! of the platform would make runs differ between machines. So they are computed here, by series.

use marlos::time::Span;

use crate::scenario::LatencyLaw;

/// Octaves of probability per side of the median: 1/2 to 1/4, to 1/8, .. to 2^-32.
const OCTAVES: usize = 31;
/// Linear pieces per octave, as a power of two. Far out in the tail a piece is as narrow, relatively, as at the median.
const PIECES_LOG2: u32 = 6;
const PIECES: usize = 1 << PIECES_LOG2;
const KNOTS: usize = OCTAVES * PIECES + 1;
/// The standard normal's 99th percentile.
const Z_99: f64 = 2.326_347_874_040_840_8;
/// Longest value of a table: some 73 years.
const MAX_NS: f64 = (1u64 << 61) as f64;

/// The quantiles of a law, in nanoseconds.
#[derive(Clone, Debug)]
pub struct LatencyTable {
    /// Below the median by rising probability, then above it by falling probability: outside in, each with its own ends.
    knots: Box<[i64]>,
}

impl LatencyTable {
    /// The table of this law. A normal law is cut off at zero: what would be less is zero.
    #[must_use]
    pub fn new(law: &LatencyLaw) -> LatencyTable {
        let us = |span: Span| span.as_micros() as f64;
        match law {
            LatencyLaw::Constant(span) => LatencyTable::of(|_, _| us(*span)),
            LatencyLaw::Uniform { min, max } => {
                let (min, max) = (us(*min), us(*max.max(min)));
                LatencyTable::of(|p, upper| if upper { max - (max - min) * p } else { min + (max - min) * p })
            }
            LatencyLaw::Normal { mean, deviation } => {
                LatencyTable::of(|p, upper| us(*mean) + us(*deviation) * normal_quantile(p, upper))
            }
            LatencyLaw::Lognormal { median, p99 } => {
                let median_us = us((*median).max(Span(1)));
                let sigma = ln(us(*p99).max(median_us) / median_us) / Z_99;
                LatencyTable::of(|p, upper| median_us * exp(sigma * normal_quantile(p, upper)))
            }
            LatencyLaw::Pareto { scale, shape_millionths } => {
                let shape = *shape_millionths as f64 / 1e6;
                let day = us(Span::secs(86_400));
                LatencyTable::of(|p, upper| (us(*scale) * exp(-ln(if upper { p } else { 1.0 - p }) / shape)).min(day))
            }
            LatencyLaw::Empirical { quantiles, .. } => {
                let last = quantiles.len() - 1;
                LatencyTable::of(|p, upper| {
                    let place = if upper { 1.0 - p } else { p } * last as f64;
                    let at = (place as usize).min(last.saturating_sub(1));
                    let (here, next) = (us(quantiles[at]), us(quantiles[(at + 1).min(last)]));
                    here + (next - here) * (place - at as f64)
                })
            }
        }
    }

    /// The value of a draw of 64 uniform bits, of which the upper 32 count.
    #[must_use]
    pub fn sample(&self, draw: u64) -> Span {
        self.quantile_32((draw >> 32) as u32)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> Span {
        self.quantile_32(1 << 31)
    }

    /// The quantile at `u / 2^32`.
    #[must_use]
    pub fn quantile_32(&self, u: u32) -> Span {
        let upper = u >> 31 == 1;
        let outside = (if upper { !u } else { u }).max(1);
        let zeros = outside.leading_zeros();
        let normalised = outside << zeros;
        let piece = ((normalised >> (31 - PIECES_LOG2)) as usize) & (PIECES - 1);
        let along = i64::from((normalised << (1 + PIECES_LOG2)) >> 16);
        let knot = (31 - zeros) as usize * PIECES + piece + if upper { KNOTS } else { 0 };
        let (here, next) = (self.knots[knot], self.knots[knot + 1]);
        let ns = here + (((next - here) * along) >> 16);
        Span(((ns + 500) / 1_000) as u64)
    }

    /// Tabulates `quantile_us(p, upper)`: the value below which a share `p` lies, or above which it lies where `upper`.
    fn of(quantile_us: impl Fn(f64, bool) -> f64) -> LatencyTable {
        let mut knots = Vec::with_capacity(2 * KNOTS);
        for upper in [false, true] {
            let mut scale = 1.0 / 4_294_967_296.0;
            for _ in 0..OCTAVES {
                for piece in 0..PIECES {
                    let p = scale * (1.0 + piece as f64 / PIECES as f64);
                    knots.push(to_ns(quantile_us(p, upper)));
                }
                scale *= 2.0;
            }
            knots.push(to_ns(quantile_us(0.5, upper)));
        }
        // `(next - here) * along` must fit: no two neighbours are more than 39 hours apart.
        for side in knots.chunks_exact_mut(KNOTS) {
            for at in (0..KNOTS - 1).rev() {
                side[at] = side[at].clamp(side[at + 1].saturating_sub(1 << 46).max(0), side[at + 1] + (1 << 46));
            }
        }
        LatencyTable { knots: knots.into_boxed_slice() }
    }
}

fn to_ns(us: f64) -> i64 {
    (us * 1_000.0 + 0.5).clamp(0.0, MAX_NS) as i64
}

/// Natural logarithm of a positive normal number: exponent and mantissa apart, then the series of the inverse hyperbolic tangent.
fn ln(x: f64) -> f64 {
    assert!(x > 0.0 && x.is_normal(), "the logarithm of {x}");
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1_023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    // |s| < 0.172: the twelfth term is below 1e-18.
    for k in (0..12).rev() {
        sum = sum * square + 1.0 / f64::from(2 * k + 1);
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

/// The exponential function: a power of two times a Taylor series.
fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let halves = x / std::f64::consts::LN_2;
    let power = (if halves < 0.0 { halves - 0.5 } else { halves + 0.5 }) as i64;
    let rest = x - power as f64 * std::f64::consts::LN_2;
    let mut sum = 1.0;
    // |rest| < 0.35: the fifteenth term is below 1e-18.
    for k in (1..15).rev() {
        sum = 1.0 + sum * rest / f64::from(k);
    }
    sum * f64::from_bits(((power + 1_023) as u64) << 52)
}

/// The standard normal's quantile for a share `p` up to a half below it, or above it where `upper` (Wichura 1988, algorithm AS 241).
#[expect(clippy::excessive_precision, reason = "as printed in the paper")]
fn normal_quantile(p: f64, upper: bool) -> f64 {
    let q = 0.5 - p;
    let distance = if q <= 0.425 {
        let r = 0.180_625 - q * q;
        let over = [
            2_509.080_928_730_122_672_7,
            33_430.575_583_588_128_105,
            67_265.770_927_008_700_853,
            45_921.953_931_549_871_457,
            13_731.693_765_509_461_125,
            1_971.590_950_306_551_442_7,
            133.141_667_891_784_377_45,
            3.387_132_872_796_366_608,
        ];
        let under = [
            5_226.495_278_852_854_561,
            28_729.085_735_721_942_674,
            39_307.895_800_092_710_61,
            21_213.794_301_586_595_867,
            5_394.196_021_424_751_107_7,
            687.187_007_492_057_908_3,
            42.313_330_701_600_911_252,
            1.0,
        ];
        q * polynomial(&over, r) / polynomial(&under, r)
    } else {
        let r = (-ln(p)).sqrt();
        if r <= 5.0 {
            let over = [
                7.745_450_142_783_414_076_4e-4,
                0.022_723_844_989_269_184_583_3,
                0.241_780_725_177_450_611_77,
                1.270_458_252_452_368_382_58,
                3.647_848_324_763_204_605_04,
                5.769_497_221_460_691_405_5,
                4.630_337_846_156_545_295_9,
                1.423_437_110_749_683_577_34,
            ];
            let under = [
                1.050_750_071_644_416_843_24e-9,
                5.475_938_084_995_344_946e-4,
                0.015_198_666_563_616_457_196_6,
                0.148_103_976_427_480_074_59,
                0.689_767_334_985_100_004_55,
                1.676_384_830_183_803_849_4,
                2.053_191_626_637_758_821_87,
                1.0,
            ];
            polynomial(&over, r - 1.6) / polynomial(&under, r - 1.6)
        } else {
            let over = [
                2.010_334_399_292_288_132_65e-7,
                2.711_555_568_743_487_578_15e-5,
                0.001_242_660_947_388_078_438_6,
                0.026_532_189_526_576_123_093,
                0.296_560_571_828_504_891_23,
                1.784_826_539_917_291_335_8,
                5.463_784_911_164_114_369_9,
                6.657_904_643_501_103_777_2,
            ];
            let under = [
                2.044_263_103_389_939_785_64e-15,
                1.421_511_758_316_445_888_7e-7,
                1.846_318_317_510_054_681_8e-5,
                7.868_691_311_456_132_591e-4,
                0.014_875_361_290_850_615_025,
                0.136_929_880_922_735_805_31,
                0.599_832_206_555_887_937_69,
                1.0,
            ];
            polynomial(&over, r - 5.0) / polynomial(&under, r - 5.0)
        }
    };
    if upper { distance } else { -distance }
}

/// The polynomial with these coefficients, highest power first.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draws, Purpose};

    /// Mean, standard deviation, median, 99th and 99.99th percentile of 400,000 draws, in microseconds.
    fn measured(table: &LatencyTable) -> [f64; 5] {
        let draws = Draws::new(7);
        let mut values: Vec<u64> = Vec::new();
        let mut chunk = [0; 1_000];
        for n in 0..400 {
            draws.all(Purpose::Broadcast, 0, 1, n, &mut chunk);
            values.extend(chunk.iter().map(|draw| table.sample(*draw).as_micros()));
        }
        values.sort_unstable();
        let count = values.len() as f64;
        let mean = values.iter().sum::<u64>() as f64 / count;
        let variance = values.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>() / count;
        let at = |share: f64| values[(count * share) as usize] as f64;
        [mean, variance.sqrt(), at(0.5), at(0.99), at(0.9999)]
    }

    fn assert_close(found: [f64; 5], expected: [f64; 5], tolerance: [f64; 5]) {
        for at in 0..5 {
            let off = (found[at] - expected[at]).abs();
            assert!(off <= tolerance[at] * expected[at].abs() + 0.6, "figure {at}: {found:?} against {expected:?}");
        }
    }

    #[test]
    fn the_series_agree_with_known_values() {
        for (p, z) in [
            (0.4, 0.253_347_103_135_799_7),
            (0.3, 0.524_400_512_708_040_9),
            (0.1, 1.281_551_565_544_600_4),
            (0.07, 1.475_791_028_179_170_6),
            (0.025, 1.959_963_984_540_054),
            (0.01, Z_99),
            (1e-4, 3.719_016_485_455_68),
            (1e-10, 6.361_340_902_404_056),
            (1e-15, 7.941_345_326_170_998),
        ] {
            let off = normal_quantile(p, true) - z;
            assert!(off.abs() < 2e-12, "at {p}: off by {off:e}");
            assert_eq!(normal_quantile(p, false).to_bits(), (-normal_quantile(p, true)).to_bits());
        }
        for x in [1e-9, 0.3, 0.999_999, 1.0, 1.5, std::f64::consts::E, 12_345.678] {
            assert!((ln(x) - x.ln()).abs() <= 1e-14 * x.ln().abs().max(1.0), "ln {x}");
        }
        for x in [-20.0, -0.5, 0.0, 1e-9, 0.34, 1.0, 13.7] {
            assert!((exp(x) - x.exp()).abs() <= 1e-14 * x.exp(), "exp {x}");
        }
    }

    #[test]
    fn a_constant_is_always_itself() {
        let table = LatencyTable::new(&LatencyLaw::Constant(Span::millis(3)));
        for draw in [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX] {
            assert_eq!(table.sample(draw), Span::millis(3));
        }
    }

    #[test]
    fn uniform_delays_are_uniform_to_their_ends() {
        let table = LatencyTable::new(&LatencyLaw::Uniform { min: Span(1_000), max: Span(5_000) });
        let deviation = 4_000.0 / 12f64.sqrt();
        assert_close(measured(&table), [3_000.0, deviation, 3_000.0, 4_960.0, 4_999.6], [0.01; 5]);
        assert_eq!((table.sample(0), table.sample(u64::MAX)), (Span(1_000), Span(5_000)));
    }

    #[test]
    fn normal_delays_have_their_mean_deviation_and_tail() {
        let table = LatencyTable::new(&LatencyLaw::Normal { mean: Span(20_000), deviation: Span(2_000) });
        let p99 = 20_000.0 + 2_000.0 * Z_99;
        assert_close(measured(&table), [20_000.0, 2_000.0, 20_000.0, p99, 27_438.0], [0.01; 5]);
    }

    #[test]
    fn normal_delays_are_never_below_zero() {
        let table = LatencyTable::new(&LatencyLaw::Normal { mean: Span(1_000), deviation: Span(10_000) });
        assert_eq!(table.sample(0), Span(0));
        assert_eq!(table.median(), Span(1_000));
    }

    #[test]
    fn lognormal_delays_have_their_median_p99_and_tail() {
        let table = LatencyTable::new(&LatencyLaw::Lognormal { median: Span(2_000), p99: Span(8_000) });
        let sigma = 4f64.ln() / Z_99;
        let mean = 2_000.0 * (sigma * sigma / 2.0).exp();
        let deviation = mean * ((sigma * sigma).exp() - 1.0).sqrt();
        let p9999 = 2_000.0 * (sigma * 3.719_016).exp();
        assert_close(measured(&table), [mean, deviation, 2_000.0, 8_000.0, p9999], [0.01, 0.01, 0.01, 0.015, 0.08]);
        let tail = |share: f64| table.quantile_32(((1.0 - share) * 4_294_967_296.0) as u32).as_micros() as f64;
        assert!((tail(1e-4) / p9999 - 1.0).abs() < 1e-3);
        assert!((tail(1e-6) / (2_000.0 * (sigma * 4.753_424_3).exp()) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn pareto_delays_have_their_mean_quantiles_and_tail() {
        let law = LatencyLaw::Pareto { scale: Span(10_000), shape_millionths: 4_000_000 };
        let table = LatencyTable::new(&law);
        let quantile = |above: f64| 10_000.0 * above.powf(-0.25);
        let mean = 4.0 / 3.0 * 10_000.0;
        let deviation = (4.0 / (9.0 * 2.0f64)).sqrt() * 10_000.0;
        let expected = [mean, deviation, quantile(0.5), quantile(0.01), quantile(1e-4)];
        assert_close(measured(&table), expected, [0.01, 0.05, 0.01, 0.02, 0.1]);
        assert_eq!(table.sample(0), Span(10_000), "never below its scale");
        let tail = |above: f64| table.quantile_32(((1.0 - above) * 4_294_967_296.0) as u32).as_micros() as f64;
        assert!((tail(1e-6) / quantile(1e-6) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn the_heaviest_pareto_tail_ends_at_a_day() {
        let table = LatencyTable::new(&LatencyLaw::Pareto { scale: Span::secs(3_600), shape_millionths: 1_010_000 });
        assert_eq!(table.sample(u64::MAX), Span::secs(86_400));
        assert!(table.sample(0).as_micros() - 3_600_000_000 < 10, "{}", table.sample(0));
    }

    #[test]
    fn empirical_delays_are_those_that_were_measured() {
        let law = |quantiles: &[u64]| LatencyLaw::Empirical {
            file: String::new(),
            quantiles: quantiles.iter().map(|us| Span(*us)).collect(),
        };
        // Straight lines: half of all between 1 and 2 ms, a quarter up to 4 ms, a quarter up to 12 ms.
        let table = LatencyTable::new(&law(&[1_000, 1_500, 2_000, 4_000, 12_000]));
        let mean = (1_250.0 + 1_750.0 + 3_000.0 + 8_000.0) / 4.0;
        let square = |a: f64, b: f64| (a * a + a * b + b * b) / 3.0;
        let squares = square(1e3, 1.5e3) + square(1.5e3, 2e3) + square(2e3, 4e3) + square(4e3, 12e3);
        let deviation = (squares / 4.0 - mean * mean).sqrt();
        assert_close(measured(&table), [mean, deviation, 2_000.0, 11_680.0, 11_996.8], [0.01; 5]);
        assert_eq!((table.sample(0), table.sample(u64::MAX)), (Span(1_000), Span(12_000)));
        assert_eq!(LatencyTable::new(&law(&[700])).sample(1 << 40), Span(700), "one measurement is always itself");
    }

    #[test]
    fn tables_are_the_same_on_every_machine() {
        let table = LatencyTable::new(&LatencyLaw::Lognormal { median: Span(2_000), p99: Span(8_000) });
        let mut hash = 0u64;
        for knot in &table.knots {
            hash = (hash ^ knot.unsigned_abs()).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
        }
        assert_eq!(hash, 15_726_418_522_585_040_822, "a change here changes every run of every scenario");
    }

    #[test]
    fn a_table_never_falls() {
        let table = LatencyTable::new(&LatencyLaw::Lognormal { median: Span(500), p99: Span(900_000) });
        let values: Vec<Span> = (0..=u16::MAX).map(|u| table.quantile_32(u32::from(u) << 16 | 0x7fff)).collect();
        assert!(values.is_sorted());
    }
}
