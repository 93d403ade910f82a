//! Deadlines by name: arm, disarm, and take what is due, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// At most one deadline for each key; due ones come out by (time, key).
#[derive(Clone, Debug)]
pub struct Timers<K> {
    queue: BTreeSet<(Time, K)>,
    armed: BTreeMap<K, Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { queue: BTreeSet::new(), armed: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Sets a deadline, in place of an earlier one of this key.
    pub fn arm(&mut self, key: K, at: Time) {
        self.disarm(key);
        self.queue.insert((at, key));
        self.armed.insert(key, at);
    }

    /// Removes a deadline, if there is one.
    pub fn disarm(&mut self, key: K) {
        if let Some(at) = self.armed.remove(&key) {
            let was_there = self.queue.remove(&(at, key));
            assert!(was_there, "both sides name the same deadlines");
        }
    }

    /// Whether a deadline is set.
    #[must_use]
    pub fn is_armed(&self, key: K) -> bool {
        self.armed.contains_key(&key)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Time {
        self.queue.first().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// Takes the earliest deadline that has come by `now`.
    pub fn pop_due(&mut self, now: Time) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.disarm(key);
        Some(key)
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed.len()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_due_ones_come_in_order() {
        let mut timers = Timers::default();
        timers.arm('b', Time(5));
        timers.arm('a', Time(5));
        timers.arm('c', Time(1));
        timers.arm('c', Time(9));
        timers.arm('d', Time(2));
        timers.disarm('d');
        assert_eq!((timers.next(), timers.len()), (Time(5), 3));
        assert_eq!(
            [timers.pop_due(Time(5)), timers.pop_due(Time(5)), timers.pop_due(Time(5))],
            [Some('a'), Some('b'), None]
        );
        assert_eq!(timers.pop_due(Time(9)), Some('c'));
    }
}
