//! Time as the node knows it: two clocks handed in with every input, and spans between their readings.
//!
//! All three types count whole microseconds. Nothing here reads a clock.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A reading of the monotonic clock, in microseconds since an origin of the driver's choice. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A reading of the wall clock, in microseconds since the Unix epoch. It may lie, and it may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct WallTime(pub u64);

/// A length of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Span(pub u64);

/// Both clocks at the moment of an input: timeouts use `mono`, stamps on messages use `wall`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Time,
    /// The wall clock, as far off as the machine's clock is.
    pub wall: WallTime,
}

impl Time {
    /// Later than anything that will happen.
    pub const NEVER: Time = Time(u64::MAX);

    /// The span since `earlier`, or zero where `earlier` lies ahead.
    #[must_use]
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A [`Time`] of which an `Option` takes no more room: for what is held of each pair of hundreds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(NonZeroU64);

impl From<Time> for Moment {
    fn from(time: Time) -> Moment {
        assert!(time < Time::NEVER, "never is no moment");
        Moment(NonZeroU64::MIN.saturating_add(time.0))
    }
}

impl From<Moment> for Time {
    fn from(moment: Moment) -> Time {
        Time(moment.0.get() - 1)
    }
}

impl WallTime {
    /// The distance between two stamps, whichever is later.
    #[must_use]
    pub fn distance(self, other: WallTime) -> Span {
        Span(self.0.abs_diff(other.0))
    }

    /// This stamp moved by a signed number of microseconds, held within the representable range.
    #[must_use]
    pub fn offset(self, offset_us: i64) -> WallTime {
        WallTime(self.0.saturating_add_signed(offset_us))
    }

    /// The span since `earlier`, or zero where `earlier` lies ahead.
    #[must_use]
    pub fn since(self, earlier: WallTime) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// `n` microseconds.
    #[must_use]
    pub const fn micros(n: u64) -> Span {
        Span(n)
    }

    /// `n` milliseconds.
    #[must_use]
    pub const fn millis(n: u64) -> Span {
        Span(n * 1_000)
    }

    /// `n` seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Span {
        Span(n * 1_000_000)
    }

    /// The length in microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The length in whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// `self - other`, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }

    /// `self * n`, held at the largest span.
    #[must_use]
    pub const fn times(self, n: u64) -> Span {
        Span(self.0.saturating_mul(n))
    }

    /// Reads `"250ms"`, `"7.5s"`, `"1h"`, `"2ms"`, `"40us"`, `"90d"`. A number without a unit is refused.
    ///
    /// # Errors
    /// A sentence that names the text and what is allowed.
    pub fn parse(text: &str) -> Result<Span, String> {
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let unit_us: u64 = match unit.trim() {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            "" => return Err(format!("`{text}` has no unit: write for example \"{trimmed}s\" or \"{trimmed}ms\"")),
            other => return Err(format!("`{other}` in `{text}` is no unit of time: us, ms, s, m, h or d")),
        };
        decimal(number.trim(), unit_us).map(Span).ok_or_else(|| {
            format!("`{text}` is not a duration: a number of at most six decimals and a unit, such as \"7.5s\"")
        })
    }
}

/// `number * unit` for a plain decimal number, exactly, or nothing where it is malformed, too large or not whole.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = u128::from(fraction) * u128::from(unit) / u128::from(scale);
    let total = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit) + part;
    u64::try_from(total).ok()
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Add<Span> for WallTime {
    type Output = WallTime;
    fn add(self, span: Span) -> WallTime {
        WallTime(self.0.saturating_add(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit_us, unit) in [(3_600_000_000, "h"), (1_000_000, "s"), (1_000, "ms")] {
            if self.0 >= unit_us && (self.0.is_multiple_of(unit_us) || unit_us < 3_600_000_000) {
                let (whole, rest) = (self.0 / unit_us, self.0 % unit_us);
                if rest == 0 {
                    return write!(f, "{whole}{unit}");
                }
                let width = if unit_us == 1_000 { 3 } else { 6 };
                let fraction = format!("{rest:0width$}");
                return write!(f, "{whole}.{}{unit}", fraction.trim_end_matches('0'));
            }
        }
        write!(f, "{}us", self.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Span {
    /// A text with a unit, or a number of seconds as the network design document writes it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"3s\" or \"700ms\", or a number of seconds")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Span, E> {
                seconds.checked_mul(1_000_000).map(Span).ok_or_else(|| E::custom("too many seconds"))
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Span, E> {
                u64::try_from(seconds)
                    .map_err(|_| E::custom("a duration cannot be negative"))
                    .and_then(|s| self.visit_u64(s))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Span, E> {
                Span::parse(&format!("{seconds}s")).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_with_its_unit_and_printed_shortest() {
        for (text, micros, printed) in [
            ("3s", 3_000_000, "3s"),
            ("7.5s", 7_500_000, "7.5s"),
            ("700ms", 700_000, "700ms"),
            ("40us", 40, "40us"),
            ("1h", 3_600_000_000, "1h"),
            ("90m", 5_400_000_000, "5400s"),
            ("0s", 0, "0us"),
            ("1.25ms", 1_250, "1.25ms"),
        ] {
            assert_eq!(Span::parse(text), Ok(Span(micros)), "{text}");
            assert_eq!(Span(micros).to_string(), printed);
        }
    }

    #[test]
    fn a_span_without_unit_or_with_a_wrong_one_is_refused() {
        for text in ["3", "", "s", "-3s", "3 parsecs", "1e3s", "..s", "99999999999999999999s"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }
}
