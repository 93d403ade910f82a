//! A line of limited bandwidth, with a queue before it: what goes through it goes one after the other, and what comes to a
//! full queue is dropped, or waits all the same (`queue_full` in a scenario).

use std::collections::VecDeque;

use marlos::time::{Span, Time};

/// A segment that was dropped so often is let in: there is an end to everything.
const DROPS_MAX: u32 = 16;

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// How long a full queue takes.
    queue_ns: u64,
    /// When all that is queued is through, in nanoseconds.
    free_at_ns: u64,
    /// What was dropped and will be sent again: when, and how long it takes.
    again: VecDeque<(u64, u64)>,
}

impl Lane {
    pub fn new(queue_ns: u64) -> Lane {
        Lane { queue_ns, free_at_ns: 0, again: VecDeque::new() }
    }

    /// Whether something is queued.
    pub fn busy(&self, now: Time) -> bool {
        self.free_at_ns > now.0 * 1_000
    }

    /// Whether the queue is full.
    #[inline]
    pub fn full(&self, now: Time) -> bool {
        self.free_at_ns.saturating_sub(now.0 * 1_000) > self.queue_ns
    }

    /// Sends something that takes `ns` through, behind what is there. When it is through.
    #[inline]
    pub fn pass(&mut self, now: Time, ns: u64) -> Time {
        self.free_at_ns = self.free_at_ns.max(now.0 * 1_000) + ns;
        Time(self.free_at_ns.div_ceil(1_000))
    }

    /// As [`Lane::pass`], on a line that is so narrow until then and no longer: what is still queued is through at once.
    pub fn pass_until(&mut self, now: Time, ns: u64, until: Time) -> Time {
        let through = self.pass(now, ns).min(until.max(now));
        self.free_at_ns = self.free_at_ns.min(through.0.saturating_mul(1_000));
        through
    }

    /// As [`Lane::pass`], but a full queue drops it, and it is sent again after `retransmit_after` for the first time, the
    /// second, .. until there is room. When it is through, and how often it was dropped.
    ///
    /// It is in the queue from then on, and not before. When it is through is said now, though, and what comes until then
    /// may still go before it: so it may be said too early, by the queue's length at most.
    pub fn pass_or_drop(&mut self, now: Time, ns: u64, retransmit_after: impl Fn(u32) -> Span) -> (Time, u32) {
        self.enqueue_again(now);
        if !self.full(now) {
            return (self.pass(now, ns), 0);
        }
        let (mut at, mut drops) = (now, 0);
        let mut free_at_ns = self.free_at_ns;
        let mut queued = 0;
        while drops < DROPS_MAX {
            at += retransmit_after(drops);
            drops += 1;
            while let Some((when, ns)) = self.again.get(queued).filter(|(when, _)| *when <= at.0 * 1_000) {
                free_at_ns = free_at_ns.max(*when) + ns;
                queued += 1;
            }
            if free_at_ns.saturating_sub(at.0 * 1_000) <= self.queue_ns {
                break;
            }
        }
        self.again.insert(queued, (at.0 * 1_000, ns));
        (Time((free_at_ns.max(at.0 * 1_000) + ns).div_ceil(1_000)), drops)
    }

    /// Takes in what is sent again by now. To be called before one looks, where something may be.
    pub fn enqueue_again(&mut self, now: Time) {
        while let Some((at, ns)) = self.again.front().copied().filter(|(at, _)| *at <= now.0 * 1_000) {
            self.again.pop_front();
            self.free_at_ns = self.free_at_ns.max(at) + ns;
        }
    }

    /// Something comes in that takes `ns` here and took `sent_ns` through the sender's line: its last bit is here now, so it
    /// waits only for others, and for as much as this line is slower.
    #[inline]
    pub fn receive(&mut self, now: Time, ns: u64, sent_ns: u64) -> Time {
        self.free_at_ns = self.free_at_ns.max((now.0 * 1_000).saturating_sub(sent_ns)) + ns;
        Time(self.free_at_ns.div_ceil(1_000)).max(now)
    }
}

/// Nanoseconds that bytes take.
pub(super) fn time_of(bytes: u64, bps: u64) -> u64 {
    bytes.saturating_mul(8_000_000_000) / bps.max(1)
}
