//! What the parser asks of a text, written down while somebody listens: which keys a table may have, which it needs, and what a value
//! must be. The JSON Schema and the reference of keys are made of it ([`super::keys`]), so that neither knows a key, a type or a bound that
//! the parser does not.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use marlos::time::Span;
use toml::de::DeTable;

use super::fields::Value;

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    /// A text.
    Text,
    /// One of these.
    Names(Vec<String>),
    /// `true` or `false`.
    Flag,
    /// A whole number, between these.
    Whole(u64, u64),
    /// A whole number that may be below zero, no further from it than this.
    Signed(u64),
    /// A number with at most six decimals, in millionths, between these.
    Millionths(u64, u64),
    /// Any number from zero up.
    Bound,
    /// A comparison with a number: `">= 10"`.
    Comparison,
    /// A duration with its unit, between these.
    Duration(Span, Span),
    /// A duration that may be below zero, no further from it than this.
    SignedDuration(Span),
    /// `"0.1%"`
    Percentage,
    /// `"1Gbit/s"`, or `"unlimited"`
    Bandwidth,
    /// A size with its unit, between these bytes.
    Bytes(u64, u64),
}

/// Something that was asked. Tables and values are known by where they are in memory, as the document is read where it lies.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// A table may have these keys.
    Table { at: usize, what: String, allowed: Vec<String> },
    /// A table must have this key.
    Needed { at: usize, key: String },
    /// A value must be this.
    Value { at: usize, takes: Takes },
}

thread_local! {
    static HEARD: RefCell<Option<Vec<Asked>>> = const { RefCell::new(None) };
}

/// What is asked while `read` runs.
pub(super) fn listen<T>(read: impl FnOnce() -> T) -> (T, Vec<Asked>) {
    HEARD.with_borrow_mut(|heard| assert!(heard.replace(Vec::new()).is_none(), "one listens at a time"));
    let result = read();
    (result, HEARD.take().expect("somebody listens"))
}

fn write(asked: impl FnOnce() -> Asked) {
    HEARD.with_borrow_mut(|heard| {
        if let Some(heard) = heard {
            heard.push(asked());
        }
    });
}

/// A table may have these keys.
pub(super) fn table(table: &DeTable<'_>, what: &str, allowed: &[&str]) {
    let allowed = || allowed.iter().map(|key| (*key).to_owned()).collect();
    write(|| Asked::Table { at: place_of(table), what: what.to_owned(), allowed: allowed() });
}

/// A table must have this key.
pub(super) fn needed(table: &DeTable<'_>, key: &str) {
    write(|| Asked::Needed { at: place_of(table), key: key.to_owned() });
}

/// A value must be this.
pub(super) fn value(value: &Value<'_>, takes: impl FnOnce() -> Takes) {
    write(|| Asked::Value { at: place_of(value), takes: takes() });
}

/// Where something lies in memory.
pub(super) fn place_of<T>(thing: &T) -> usize {
    std::ptr::from_ref(thing) as usize
}

impl Takes {
    pub(super) fn whole(range: &RangeInclusive<u64>) -> Takes {
        Takes::Whole(*range.start(), *range.end())
    }
    pub(super) fn duration(range: &RangeInclusive<Span>) -> Takes {
        Takes::Duration(*range.start(), *range.end())
    }
}
