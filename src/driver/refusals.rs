//! Refusals, counted by reason and logged now and then: a flood of them is not a flood of lines.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::id::Link;
use crate::io::Refusal;

/// How long one line stands for all refusals of its reason and sender.
const WINDOW: Duration = Duration::from_secs(10);
/// Senders and reasons that are told apart at once; beyond it, all others share a line for each reason.
const MAX_TOLD_APART: usize = 512;

/// What the front itself refused, by reason, and when each reason and sender was last logged.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: [AtomicU64; Refusal::ALL.len()],
    told: Mutex<BTreeMap<(Refusal, String), Told>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    suppressed: u64,
}

impl Refusals {
    /// The front refused a frame before the node saw it. `from` is the address.
    pub fn by_front(&self, link: Link, from: &str, reason: Refusal) {
        self.counts[reason as usize].fetch_add(1, Relaxed);
        self.log(link, from, reason, Instant::now());
    }

    /// How many the front refused for this reason.
    #[must_use]
    pub fn counted(&self, reason: Refusal) -> u64 {
        self.counts[reason as usize].load(Relaxed)
    }

    /// Writes a line, unless one of this reason and sender was written just now. `from` is the sender's id, or the address where
    /// nobody is known to be.
    pub fn log(&self, link: Link, from: &str, reason: Refusal, now: Instant) {
        let Some(suppressed) = self.pass(from, reason, now) else { return };
        if is_hostile(reason) {
            tracing::warn!(link = link.0, from, ?reason, suppressed, "refused");
        } else {
            tracing::debug!(link = link.0, from, ?reason, suppressed, "refused");
        }
    }

    /// Whether a line may be written, and how many were not since the last one.
    fn pass(&self, from: &str, reason: Refusal, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().expect("no panic while it is held");
        if told.len() >= MAX_TOLD_APART {
            told.retain(|_, told| now.duration_since(told.at) < 2 * WINDOW);
        }
        let known = told.contains_key(&(reason, from.to_owned()));
        let from = if known || told.len() < MAX_TOLD_APART { from } else { "others" };
        let Some(entry) = told.get_mut(&(reason, from.to_owned())) else {
            told.insert((reason, from.to_owned()), Told { at: now, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(entry.at) < WINDOW {
            entry.suppressed += 1;
            return None;
        }
        entry.at = now;
        Some(std::mem::take(&mut entry.suppressed))
    }
}

/// Whether nobody who follows the protocol, late, cut off or of another network as he may be, causes it.
fn is_hostile(reason: Refusal) -> bool {
    match reason {
        Refusal::TooLarge
        | Refusal::Malformed
        | Refusal::BadSignature
        | Refusal::BadRecord
        | Refusal::BadCertificate
        | Refusal::BadTransaction
        | Refusal::ConflictingTransaction
        | Refusal::BadEvidence
        | Refusal::RetiredKey
        | Refusal::ForkedKey
        | Refusal::RateLimited => true,
        Refusal::WrongVersion
        | Refusal::WrongNetwork
        | Refusal::WrongRecipient
        | Refusal::UnknownSender
        | Refusal::Blacklisted
        | Refusal::StaleTimestamp
        | Refusal::Replayed
        | Refusal::StaleIncarnation
        | Refusal::FromSelf
        | Refusal::TooManyMembers
        | Refusal::NotAMember
        | Refusal::UnknownJob
        | Refusal::TooManyJobs
        | Refusal::OutOfPlace
        | Refusal::ElectorateDiffers
        | Refusal::WrongCoordinator
        | Refusal::Quarantined
        | Refusal::InsufficientBalance
        | Refusal::StaleRotation
        | Refusal::CannotOpen => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_and_sender_has_a_line_in_ten_seconds_that_says_how_many_it_stands_for() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for reason in Refusal::ALL {
            for from in ["a", "b"] {
                assert_eq!(refusals.pass(from, reason, now), Some(0), "{reason:?} of {from}");
            }
        }
        let lines = (0..1_000).filter(|_| refusals.pass("a", Refusal::BadSignature, now).is_some());
        assert_eq!(lines.count(), 0);
        assert_eq!(refusals.pass("a", Refusal::BadSignature, now + WINDOW), Some(1_000));
        assert_eq!(refusals.pass("b", Refusal::BadSignature, now + WINDOW), Some(0));
    }

    #[test]
    fn a_thousand_senders_share_the_room_that_there_is() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let lines = (0..10_000).filter(|n| refusals.pass(&n.to_string(), Refusal::Malformed, now).is_some()).count();
        assert!(lines <= MAX_TOLD_APART + 1, "{lines} lines");
        assert!(refusals.told.lock().unwrap().len() <= MAX_TOLD_APART + Refusal::ALL.len());
    }

    #[test]
    fn the_front_counts_every_reason_apart() {
        let refusals = Refusals::default();
        for (times, reason) in Refusal::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| refusals.by_front(Link::INBOUND, "127.0.0.1", reason));
        }
        let counted = Refusal::ALL.map(|reason| refusals.counted(reason));
        assert_eq!(counted, std::array::from_fn(|times| times as u64));
    }
}
