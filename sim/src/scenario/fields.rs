//! Tables and values of a TOML text, read strictly: every key is known, every value has its type, unit and bounds.

use std::ops::{Range, RangeInclusive};

use marlos::time::Span;
use marlos::units::{Ppm, Tokens, parse_millionths};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::asked::{self, Takes};
use super::diagnostic::{Problem, did_you_mean, list};

/// A value with its place.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// The result of reading something.
pub(super) type Read<T> = Result<T, Problem>;

/// A table all of whose keys are known.
#[derive(Clone, Debug)]
pub(super) struct Fields<'t> {
    what: String,
    span: Range<usize>,
    table: &'t DeTable<'t>,
}

/// A value and the key it stands at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'t> {
    /// The key.
    pub(super) name: &'t str,
    /// The value.
    pub(super) value: &'t Value<'t>,
}

impl<'t> Fields<'t> {
    /// A table, once its keys are found to be among `allowed`. `later` are keys that the format reserves.
    pub(super) fn new(
        what: impl Into<String>,
        span: Range<usize>,
        table: &'t DeTable<'t>,
        allowed: &[&str],
        later: &[&str],
    ) -> Read<Fields<'t>> {
        let what = what.into();
        asked::table(table, &what, allowed);
        let unknown = table.iter().filter(|(key, _)| !allowed.contains(&key.get_ref().as_ref()));
        let Some((key, _)) = unknown.min_by_key(|(key, _)| key.span().start) else {
            return Ok(Fields { what, span, table });
        };
        let name = key.get_ref().as_ref();
        if later.contains(&name) {
            let message = format!("`{name}` in {what} is not available yet in this version");
            return Err(Problem::new(key.span(), message, format!("allowed here: {}", list(allowed.iter().copied()))));
        }
        let problem = Problem::new(key.span(), format!("unknown key `{name}` in {what}"), "not a key of it");
        let allowed_list = || format!("allowed here: {}", list(allowed.iter().copied()));
        Err(match did_you_mean(name, allowed.iter().copied()) {
            // Where there are dozens, the nearest is the better answer.
            Some(hint) if allowed.len() > 20 => problem.help(hint),
            Some(hint) => problem.help(format!("{hint} ({})", allowed_list())),
            None => problem.help(allowed_list()),
        })
    }

    /// A value that must be a table.
    pub(super) fn of(item: Item<'t>, what: &str, allowed: &[&str]) -> Read<Fields<'t>> {
        Fields::new(what, item.value.span(), item.table()?, allowed, &[])
    }

    /// The value at a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Item<'t>> {
        let (name, value) = self.table.get_key_value(key)?;
        Some(Item { name: name.get_ref().as_ref(), value })
    }

    /// The value at a key that must be there.
    pub(super) fn need(&self, key: &str) -> Read<Item<'t>> {
        asked::needed(self.table, key);
        self.get(key).ok_or_else(|| self.missing(key))
    }

    /// `key` is not there.
    pub(super) fn missing(&self, key: &str) -> Problem {
        self.problem(format!("{} has no `{key}`", self.what), format!("`{key}` is needed"))
    }

    /// A problem with the table as a whole.
    pub(super) fn problem(&self, message: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem::new(self.span.clone(), message, label)
    }

    /// All of them, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Range<usize>, Item<'t>)> {
        self.table.iter().map(|(key, value)| (key.span(), Item { name: key.get_ref().as_ref(), value }))
    }
}

impl<'t> Item<'t> {
    /// A problem with this value.
    pub(super) fn problem(&self, message: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem::new(self.value.span(), message, label)
    }

    fn wrong_type(&self, wanted: &str) -> Problem {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("`{}` must be {wanted}, not {found}", self.name), format!("expected {wanted}"))
    }

    /// A table.
    pub(super) fn table(&self) -> Read<&'t DeTable<'t>> {
        self.value.get_ref().as_table().ok_or_else(|| self.wrong_type("a table"))
    }

    /// A list, its elements under this key's name.
    pub(super) fn list(&self) -> Read<Vec<Item<'t>>> {
        let elements = self.value.get_ref().as_array().ok_or_else(|| self.wrong_type("a list"))?;
        Ok(elements.iter().map(|value| Item { name: self.name, value }).collect())
    }

    /// A text.
    pub(super) fn text(&self) -> Read<&'t str> {
        asked::value(self.value, || Takes::Text);
        self.value.get_ref().as_str().ok_or_else(|| self.wrong_type("a text in quotes"))
    }

    /// A text of 1 to `most` bytes without control characters.
    pub(super) fn short_text(&self, most: usize) -> Read<&'t str> {
        let text = self.text()?;
        if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
            let message = format!("`{}` must have 1 to {most} bytes and no control characters", self.name);
            return Err(self.problem(message, format!("{} bytes", text.len())));
        }
        Ok(text)
    }

    /// One of the names, as its index. `later` are names that the format reserves.
    pub(super) fn one_of(&self, names: &[&str], later: &[&str]) -> Read<usize> {
        let text = self.text()?;
        asked::value(self.value, || Takes::Names(names.iter().map(|name| (*name).to_owned()).collect()));
        if let Some(index) = names.iter().position(|name| *name == text) {
            return Ok(index);
        }
        let available = format!("one of {}", list(names.iter().copied()));
        if later.contains(&text) {
            let message = format!("`{} = \"{text}\"` is not available yet in this version", self.name);
            return Err(self.problem(message, available));
        }
        let problem = self.problem(format!("`{text}` is no valid `{}`", self.name), available);
        Err(match did_you_mean(text, names.iter().chain(later).copied()) {
            Some(hint) => problem.help(hint),
            None => problem,
        })
    }

    /// `true` or `false`.
    pub(super) fn bool(&self) -> Read<bool> {
        asked::value(self.value, || Takes::Flag);
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// A whole number in a range.
    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Read<u64> {
        asked::value(self.value, || Takes::whole(&range));
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.wrong_type("a whole number"));
        };
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok();
        value.filter(|value| range.contains(value)).ok_or_else(|| self.out_of(number, range.start(), range.end()))
    }

    fn out_of(&self, value: impl std::fmt::Display, least: impl std::fmt::Display, most: impl ToString) -> Problem {
        let message = format!("`{} = {value}` is out of range", self.name);
        self.problem(message, format!("allowed: {least} to {}", most.to_string()))
    }

    /// A number, as its decimal text, if it is one.
    fn number(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
            }
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            _ => None,
        }
    }

    /// A plain decimal number of at most six places, in millionths.
    pub(super) fn millionths(&self, range: RangeInclusive<u64>) -> Read<u64> {
        asked::value(self.value, || Takes::Millionths(*range.start(), *range.end()));
        if !matches!(self.value.get_ref(), DeValue::Integer(_) | DeValue::Float(_)) {
            return Err(self.wrong_type("a number"));
        }
        let value = self.number().and_then(|text| parse_millionths(&text)).filter(|value| range.contains(value));
        value.ok_or_else(|| {
            let message = format!("`{}` is out of range, or has more than six decimals", self.name);
            let (least, most) = (Tokens(*range.start()), Tokens(*range.end()));
            self.problem(message, format!("allowed: {least} to {most}"))
        })
    }

    /// A finite number, zero or more, for comparison with what was measured.
    pub(super) fn bound(&self) -> Read<f64> {
        asked::value(self.value, || Takes::Bound);
        let value = self.number().and_then(|text| text.parse::<f64>().ok());
        let value = value.filter(|value| value.is_finite() && *value >= 0.0);
        value.ok_or_else(|| self.wrong_type("a number, zero or more"))
    }

    /// A duration with its unit, in a range.
    pub(super) fn duration(&self, range: RangeInclusive<Span>) -> Read<Span> {
        asked::value(self.value, || Takes::duration(&range));
        let DeValue::String(text) = self.value.get_ref() else {
            let problem = self.wrong_type("a duration in quotes, with its unit");
            return Err(match self.number() {
                Some(number) => problem.help(format!("write \"{number}s\" or \"{number}ms\"")),
                None => problem,
            });
        };
        let span = Span::parse(text).map_err(|message| {
            self.problem(format!("`{}`: {message}", self.name), "units: us, ms, s, m, h, d; such as \"7.5s\"")
        })?;
        if !range.contains(&span) {
            return Err(self.out_of(format!("\"{text}\""), range.start(), range.end()));
        }
        Ok(span)
    }

    /// A duration that may be below zero, such as `"-2s"`, in microseconds.
    pub(super) fn signed_duration(&self, most: Span) -> Read<i64> {
        asked::value(self.value, || Takes::SignedDuration(most));
        let Some(text) = self.value.get_ref().as_str() else {
            return Err(self.wrong_type("a duration in quotes, with its unit"));
        };
        let (sign, size) = match text.trim().strip_prefix('-') {
            Some(size) => (-1, size),
            None => (1, text),
        };
        let span = Span::parse(size)
            .map_err(|message| self.problem(format!("`{}`: {message}", self.name), "such as \"2s\" or \"-150ms\""))?;
        if span > most {
            return Err(self.out_of(format!("\"{text}\""), format!("-{most}"), most));
        }
        Ok(sign * span.as_micros().cast_signed())
    }

    /// A whole number that may be below zero.
    pub(super) fn signed(&self, most: u64) -> Read<i64> {
        asked::value(self.value, || Takes::Signed(most));
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.wrong_type("a whole number"));
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        value.filter(|value| value.unsigned_abs() <= most).ok_or_else(|| self.out_of(number, format!("-{most}"), most))
    }

    /// A percentage such as `"0.1%"`.
    pub(super) fn percentage(&self) -> Read<Ppm> {
        asked::value(self.value, || Takes::Percentage);
        let Some(text) = self.value.get_ref().as_str() else {
            return Err(self.wrong_type("a percentage in quotes, such as \"0.1%\""));
        };
        let percent = text.trim().strip_suffix('%').and_then(|number| parse_millionths(number.trim_end()));
        let Some(millionths) = percent.filter(|millionths| millionths.is_multiple_of(100)) else {
            let message = format!("`{} = \"{text}\"` is not a percentage", self.name);
            return Err(self.problem(message, "a number of at most four decimals and %, such as \"0.1%\""));
        };
        let ppm = u32::try_from(millionths / 100).ok().filter(|ppm| *ppm <= Ppm::ONE.0);
        ppm.map(Ppm).ok_or_else(|| self.out_of(format!("\"{text}\""), "0%", "100%"))
    }

    /// A rate such as `"1Gbit/s"`, in bits per second, or `"unlimited"`.
    pub(super) fn bandwidth(&self) -> Read<Option<u64>> {
        let text = self.text()?.trim();
        asked::value(self.value, || Takes::Bandwidth);
        if text == "unlimited" {
            return Ok(None);
        }
        let units = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];
        let rate = with_unit(text, &units).filter(|rate| (1_000..=1_000_000_000_000).contains(rate));
        rate.map(Some).ok_or_else(|| {
            let message = format!("`{} = \"{text}\"` is not a bandwidth", self.name);
            self.problem(message, "1kbit/s to 1000Gbit/s in bit/s, kbit/s, Mbit/s or Gbit/s, or \"unlimited\"")
        })
    }

    /// A size such as `"256KiB"`, in bytes.
    pub(super) fn bytes(&self, range: RangeInclusive<u64>) -> Read<u64> {
        let text = self.text()?.trim();
        asked::value(self.value, || Takes::Bytes(*range.start(), *range.end()));
        let units = [("MiB", 1 << 20), ("KiB", 1 << 10), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];
        let bytes = with_unit(text, &units).filter(|bytes| range.contains(bytes));
        bytes.ok_or_else(|| {
            let message = format!("`{} = \"{text}\"` is not a size in range", self.name);
            let (least, most) = (range.start(), range.end());
            self.problem(message, format!("{least}B to {most}B, in B, kB, KiB, MB or MiB, such as \"256KiB\""))
        })
    }
}

/// A decimal number and a unit, as a whole number of the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    let millionths = u128::from(parse_millionths(number.trim_end())?) * u128::from(unit);
    if !millionths.is_multiple_of(1_000_000) {
        return None;
    }
    u64::try_from(millionths / 1_000_000).ok()
}
