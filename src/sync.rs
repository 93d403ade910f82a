//! Catching up after an absence: asking for what was said while it could not be heard (protocol.md, section 10).
//!
//! A node that comes back, or to which others come back, asks everyone once for what it may have missed, and each answers for
//! itself with what is still open: a submitter with its open jobs and the proofs of their claims. So nobody needs to be believed
//! about another's jobs, and what has ended in the meantime costs nothing.

use std::collections::BTreeMap;

use crate::cx::Ctx;
use crate::id::PeerIdx;
use crate::io::Refusal;
use crate::time::{Span, Time, WallTime};
use crate::wire::Payload;
use crate::wire::message::StateRequest;

/// How long to wait for company before asking: after a cut, members come back within a second of each other. A guess.
const ASK_AFTER: Span = Span::millis(500);
/// How much further back than the last word heard is asked for: clocks differ, and a frame that was on its way may be lost.
const MARGIN: Span = Span::secs(5);
/// Requests of one member that are answered: not more than one in this time.
const ANSWER_EVERY: Span = Span::millis(250);
/// Jobs in one answer at most, oldest first: bounds what one request can cost. Those beyond are unclaimed jobs, which are
/// broadcast again anyway, or belong to a node with more open jobs than others can have votes pending for.
pub const MAX_JOBS: usize = 4_096;

/// What must be asked for, and who has been answered.
#[derive(Clone, Debug)]
pub struct Sync {
    since: Time,
    ask_at: Time,
    answered: BTreeMap<PeerIdx, Time>,
}

impl Default for Sync {
    fn default() -> Sync {
        Sync { since: Time::NEVER, ask_at: Time::NEVER, answered: BTreeMap::new() }
    }
}

impl Sync {
    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.ask_at
    }

    /// What was said since then may have been missed.
    pub fn on_missed(&mut self, now: Time, since: Time) {
        self.since = self.since.min(since);
        self.ask_at = self.ask_at.min(now + ASK_AFTER);
    }

    /// Asks, if it is time to.
    pub fn on_timer(&mut self, cx: &mut Ctx<'_>) {
        if cx.now.mono < self.ask_at {
            return;
        }
        let ago = cx.now.mono.since(self.since) + MARGIN;
        // From the beginning of this life on, nothing was heard before: everything may have been missed.
        let since = if self.since == Time(0) { WallTime(0) } else { WallTime(cx.wall().0.saturating_sub(ago.0)) };
        cx.broadcast(&Payload::StateRequest(StateRequest { since }));
        (self.since, self.ask_at) = (Time::NEVER, Time::NEVER);
    }

    /// Whether a member's request is answered.
    ///
    /// # Errors
    /// `OutOfPlace` where it asks too often.
    pub fn on_request(&mut self, now: Time, from: PeerIdx) -> Result<(), Refusal> {
        let last = self.answered.get(&from);
        if last.is_some_and(|last| now.since(*last) < ANSWER_EVERY) {
            return Err(Refusal::OutOfPlace);
        }
        self.answered.insert(from, now);
        Ok(())
    }
}
