//! The keys of a behaviour: one table that the parser, the resolved scenario and `marlos-sim faults` all read.
//!
//! Every key has a default, so that `behaviour = ".."` alone is an attack.

use marlos::time::Span;
use marlos::units::Ppm;

use crate::scenario::NodeNo;

/// A key of a behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As scenarios name it.
    pub name: &'static str,
    /// What it takes, and what it is where it is not said.
    pub takes: Takes,
    /// What it means, for people.
    pub what: &'static str,
}

/// What a key takes, with its default first.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A percentage.
    Share(Ppm),
    /// A duration, and its bounds.
    Duration(Span, Span, Span),
    /// A whole number, and its bounds.
    Whole(u64, u64, u64),
    /// One of these names; the first is the default.
    Choice(&'static [&'static str]),
    /// Nodes; unless said all that are not in the fault.
    Nodes,
}

/// What a scenario says at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Of [`Takes::Share`].
    Share(Ppm),
    /// Of [`Takes::Duration`].
    Duration(Span),
    /// Of [`Takes::Whole`].
    Whole(u64),
    /// Of [`Takes::Choice`]: the name's place.
    Choice(usize),
    /// Of [`Takes::Nodes`]: sorted; nothing stands for all that are not in the fault.
    Nodes(Vec<NodeNo>),
}

impl Key {
    /// A percentage.
    pub(super) const fn share(name: &'static str, percent: u32, what: &'static str) -> Key {
        Key { name, takes: Takes::Share(Ppm(percent * 10_000)), what }
    }

    /// A duration of at least `least` and at most `most`.
    pub(super) const fn duration(name: &'static str, unless: Span, least: Span, most: Span, what: &'static str) -> Key {
        Key { name, takes: Takes::Duration(unless, least, most), what }
    }

    /// A whole number of at least `least` and at most `most`.
    pub(super) const fn whole(name: &'static str, unless: u64, least: u64, most: u64, what: &'static str) -> Key {
        Key { name, takes: Takes::Whole(unless, least, most), what }
    }

    /// One of several names.
    pub(super) const fn choice(name: &'static str, names: &'static [&'static str], what: &'static str) -> Key {
        Key { name, takes: Takes::Choice(names), what }
    }

    /// Nodes.
    pub(super) const fn nodes(name: &'static str, what: &'static str) -> Key {
        Key { name, takes: Takes::Nodes, what }
    }

    /// What it is where a scenario does not say it.
    #[must_use]
    pub fn unless_said(&self) -> Setting {
        match self.takes {
            Takes::Share(share) => Setting::Share(share),
            Takes::Duration(span, ..) => Setting::Duration(span),
            Takes::Whole(number, ..) => Setting::Whole(number),
            Takes::Choice(_) => Setting::Choice(0),
            Takes::Nodes => Setting::Nodes(Vec::new()),
        }
    }
}
