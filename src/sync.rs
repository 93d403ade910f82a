//! Catching up after an absence: asking for what was said while it could not be heard (protocol.md, section 10).
//!
//! A node that comes back, or to which others come back, asks once those it may have missed something of, and each answers for
//! itself with what is still open: a submitter with its open jobs and the proofs of their claims. So nobody needs to be believed
//! about another's jobs, and what has ended in the meantime costs nothing.

use std::collections::BTreeMap;

use crate::cx::Ctx;
use crate::id::PeerIdx;
use crate::io::Refusal;
use crate::membership::Members;
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

/// Of whom something was missed, and who has been answered.
#[derive(Clone, Debug)]
pub struct Sync {
    missed: BTreeMap<PeerIdx, Time>,
    ask_at: Time,
    answered: BTreeMap<PeerIdx, Time>,
}

impl Default for Sync {
    fn default() -> Sync {
        Sync { missed: BTreeMap::new(), ask_at: Time::NEVER, answered: BTreeMap::new() }
    }
}

impl Sync {
    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.ask_at
    }

    /// What a member said since then may have been missed.
    pub fn on_missed(&mut self, now: Time, peer: PeerIdx, since: Time) {
        let earliest = self.missed.entry(peer).or_insert(since);
        *earliest = since.min(*earliest);
        self.ask_at = self.ask_at.min(now + ASK_AFTER);
    }

    /// Asks, if it is time to: each of a few, or all at once where it was nearly everyone.
    pub fn on_timer(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        if cx.now.mono < self.ask_at {
            return;
        }
        self.ask_at = Time::NEVER;
        let missed = std::mem::take(&mut self.missed);
        if missed.len() + 2 >= members.len() {
            let since = missed.values().min().copied().expect("something was missed, or nothing were due");
            cx.broadcast(&request(cx, since));
            return;
        }
        for (peer, since) in missed {
            let request = request(cx, since);
            cx.direct(peer, members.id(peer), &request);
        }
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

/// Asks for what was said after a moment of this node's own clock.
fn request(cx: &Ctx<'_>, since: Time) -> Payload {
    let ago = cx.now.mono.since(since) + MARGIN;
    // Of who was never heard in this life, everything may have been missed.
    let since = if since == Time(0) { WallTime(0) } else { WallTime(cx.wall().0.saturating_sub(ago.0)) };
    Payload::StateRequest(StateRequest { since })
}
