//! Money and trust as integers: the protocol core has no floating point (protocol.md, section 2).

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::WallTime;

/// An amount of money in micro-tokens: the document's `10.0` is `Tokens(10_000_000)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Tokens(pub u64);

/// A share in parts per million: the document's `0.85` is `Ppm(850_000)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Ppm(pub u32);

impl Tokens {
    /// `n` whole tokens.
    #[must_use]
    pub const fn whole(n: u64) -> Tokens {
        Tokens(n * 1_000_000)
    }

    /// This many hundredths of it, rounded down; what does not fit is the largest amount, which nobody owns.
    #[must_use]
    pub fn percent(self, percent: u64) -> Tokens {
        let share = u128::from(self.0) * u128::from(percent) / 100;
        Tokens(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// The sum, where it is an amount.
    #[must_use]
    pub fn checked_add(self, other: Tokens) -> Option<Tokens> {
        self.0.checked_add(other.0).map(Tokens)
    }

    /// The difference, where it is not below zero.
    #[must_use]
    pub fn checked_sub(self, other: Tokens) -> Option<Tokens> {
        self.0.checked_sub(other.0).map(Tokens)
    }
}

impl Ppm {
    /// The whole: 1.0.
    pub const ONE: Ppm = Ppm(1_000_000);
}

/// The largest integer up to which JSON's numbers, which are doubles, hold every integer: 2^53 (RFC 8259, section 6).
pub const MAX_JSON_INTEGER: u64 = 1 << 53;

/// Reads a plain decimal of at most six places as millionths, exactly: no float is involved.
#[must_use]
pub fn parse_millionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

/// Writes millionths as the shortest decimal: `10`, `0.85`, `1704672000.123`.
pub fn write_millionths(f: &mut impl fmt::Write, millionths: u64) -> fmt::Result {
    write!(f, "{}", millionths / 1_000_000)?;
    match millionths % 1_000_000 {
        0 => Ok(()),
        rest => write!(f, ".{}", format!("{rest:06}").trim_end_matches('0')),
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_millionths(f, self.0)
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_millionths(f, u64::from(self.0))
    }
}

/// Any number or decimal text, as millionths.
struct Millionths(u64);

impl<'de> Deserialize<'de> for Millionths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Millionths, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Millionths;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of at most six decimals, not negative")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Millionths, E> {
                let message = || E::custom(format!("`{text}` is not a number of at most six decimals, zero or more"));
                parse_millionths(text).map(Millionths).ok_or_else(message)
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Millionths, E> {
                self.visit_str(&n.to_string())
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Millionths, E> {
                self.visit_str(&n.to_string())
            }
            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Millionths, E> {
                self.visit_str(&n.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// As a JSON number: whole where it is whole, else the nearest double, whose shortest form is the decimal again. That holds
/// up to 2^33; beyond, where a double may stand for several amounts, it is a text.
fn serialize_millionths<S: Serializer>(millionths: u64, text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if millionths.is_multiple_of(1_000_000) {
        return serializer.serialize_u64(millionths / 1_000_000);
    }
    let double: f64 = text.parse().map_err(serde::ser::Error::custom)?;
    if double.to_string() == text { serializer.serialize_f64(double) } else { serializer.serialize_str(text) }
}

impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_millionths(self.0, &self.to_string(), serializer)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tokens, D::Error> {
        Millionths::deserialize(deserializer).map(|m| Tokens(m.0))
    }
}

impl Serialize for Ppm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_millionths(u64::from(self.0), &self.to_string(), serializer)
    }
}

impl<'de> Deserialize<'de> for Ppm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ppm, D::Error> {
        let Millionths(m) = Millionths::deserialize(deserializer)?;
        u32::try_from(m)
            .ok()
            .filter(|ppm| *ppm <= Ppm::ONE.0)
            .map(Ppm)
            .ok_or_else(|| de::Error::custom("a share lies between 0 and 1"))
    }
}

/// Stamps in JSON: seconds since the epoch, as the document's `1704672000.123`.
impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_millionths(self.0, &Tokens(self.0).to_string(), serializer)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Millionths::deserialize(deserializer).map(|m| WallTime(m.0))
    }
}

/// Spans inside messages in JSON: a number of seconds. (In configurations a span is a text with a unit.)
pub mod seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::time::{Span, WallTime};

    /// As a number of seconds.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
        WallTime(span.0).serialize(serializer)
    }

    /// From a number of seconds.
    ///
    /// # Errors
    /// Not a number of at most six decimals.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        WallTime::deserialize(deserializer).map(|t| Span(t.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_an_amount_is_exact_and_never_overflows() {
        for (amount, percent, share) in [
            (10_000_000, 120, 12_000_000),
            (10, 90, 9),
            (1, 50, 0),
            (u64::MAX, 50, u64::MAX / 2),
            (u64::MAX, 120, u64::MAX),
        ] {
            assert_eq!(Tokens(amount).percent(percent), Tokens(share), "{percent} % of {amount}");
        }
    }

    #[test]
    fn decimals_are_read_exactly_and_printed_shortest() {
        for (text, millionths, printed) in
            [("10.0", 10_000_000, "10"), ("0.85", 850_000, "0.85"), ("0.000001", 1, "0.000001"), ("7", 7_000_000, "7")]
        {
            assert_eq!(parse_millionths(text), Some(millionths));
            assert_eq!(Tokens(millionths).to_string(), printed);
        }
        for text in ["", ".5", "-1", "1e3", "0.0000001", "NaN", "99999999999999999999"] {
            assert_eq!(parse_millionths(text), None, "{text}");
        }
    }
}
