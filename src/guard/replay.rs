//! Which nonces of a sender were seen: constant memory, and nothing that its timestamp still allows can be evicted.

use crate::io::Refusal;

/// Counters behind the highest one that are remembered one by one. At the rate limit's 100 envelopes per second the window
/// is 20 s wide on one link, and reordering beyond milliseconds does not happen on a link: older is refused, never accepted.
const WINDOW: u64 = 2_048;
const WORDS: usize = (WINDOW / 64) as usize;

/// The nonces seen of one sender: its newest incarnation, and a sliding window over that incarnation's counters.
#[derive(Clone, Debug)]
#[repr(C)] // the bits, of which a message touches one word, last: see `guard`
pub struct ReplayWindow {
    incarnation: u32,
    highest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// A window that accepts nothing before `floor`, the newest incarnation that the store remembers.
    #[must_use]
    pub fn new(floor: u32) -> ReplayWindow {
        ReplayWindow { incarnation: floor, highest: 0, seen: [0; WORDS] }
    }

    /// The newest incarnation seen.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Whether a nonce is new. Changes nothing.
    ///
    /// # Errors
    /// `StaleIncarnation` or `Replayed`.
    pub fn check(&self, incarnation: u32, counter: u64) -> Result<(), Refusal> {
        if incarnation < self.incarnation {
            return Err(Refusal::StaleIncarnation);
        }
        if incarnation > self.incarnation || counter > self.highest {
            return Ok(());
        }
        if self.highest - counter >= WINDOW || counter == 0 || self.bit(counter) {
            return Err(Refusal::Replayed);
        }
        Ok(())
    }

    /// Marks a nonce as seen, after its signature was verified.
    pub fn mark(&mut self, incarnation: u32, counter: u64) {
        assert!(incarnation >= self.incarnation, "check() came first");
        if incarnation > self.incarnation {
            *self = ReplayWindow::new(incarnation);
        }
        if counter > self.highest {
            // Counters skipped on the way are not seen yet; after a jump of a whole window nothing old remains.
            if counter - self.highest >= WINDOW {
                self.seen.fill(0);
            } else {
                (self.highest + 1..=counter).for_each(|skipped| self.clear(skipped));
            }
            self.highest = counter;
        }
        self.seen[word(counter)] |= 1 << (counter % 64);
    }

    fn bit(&self, counter: u64) -> bool {
        self.seen[word(counter)] & (1 << (counter % 64)) != 0
    }

    fn clear(&mut self, counter: u64) {
        self.seen[word(counter)] &= !(1 << (counter % 64));
    }
}

fn word(counter: u64) -> usize {
    (counter % WINDOW / 64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nonce_passes_once_and_an_older_incarnation_never() {
        let mut window = ReplayWindow::new(0);
        for (incarnation, counter, expected) in [
            (1, 5, Ok(())),
            (1, 5, Err(Refusal::Replayed)),
            (1, 3, Ok(())),
            (1, 3, Err(Refusal::Replayed)),
            (1, 5_000, Ok(())),
            (1, 6, Err(Refusal::Replayed)),
            (1, 5_000 - 2_047, Ok(())),
            (1, 5_000 - 2_048, Err(Refusal::Replayed)),
            (2, 1, Ok(())),
            (1, 9_999, Err(Refusal::StaleIncarnation)),
            (2, 0, Err(Refusal::Replayed)),
        ] {
            assert_eq!(window.check(incarnation, counter), expected, "{incarnation}:{counter}");
            if expected.is_ok() {
                window.mark(incarnation, counter);
            }
        }
    }

    proptest! {
        #[test]
        fn no_order_of_arrival_lets_a_counter_pass_twice(counters in prop::collection::vec(1u64..6_000, 1..400)) {
            let mut window = ReplayWindow::new(1);
            let mut passed = std::collections::BTreeSet::new();
            for counter in counters {
                if window.check(1, counter).is_ok() {
                    window.mark(1, counter);
                    prop_assert!(passed.insert(counter));
                }
            }
        }
    }
}
