//! Which nonces of a sender were seen: bounded memory, and nothing that its timestamp still allows can be evicted.
//!
//! There is a window for each pair of nodes, and nearly every message carries the next counter. So the block of 64 counters in which
//! the highest one lies is a word beside it, and what was seen before it lies elsewhere, in as many words as it takes.

use crate::io::Refusal;

/// Counters behind the highest one that are remembered one by one. At the rate limit's 100 envelopes per second the window
/// is 20 s wide on one link, and reordering beyond milliseconds does not happen on a link: older is refused, never accepted.
const WINDOW: u64 = 2_048;
/// Counters in one word.
const BLOCK: u64 = 64;
/// Blocks before that of the highest counter into which the window reaches.
const BLOCKS: u64 = WINDOW / BLOCK;
/// Room for so many of them is made first. A power of two, as it remains when it is doubled.
const FEW_BLOCKS: usize = 2;

/// The nonces seen of one sender: its newest incarnation, and a sliding window over that incarnation's counters.
#[derive(Clone, Debug)]
#[repr(C)] // half a cache line: see `guard`
pub struct ReplayWindow {
    highest: u64,
    /// What was seen of the block of the highest.
    newest: u64,
    /// What was seen of blocks before it, if anything.
    older: Option<Box<Older>>,
    incarnation: u32,
}

impl ReplayWindow {
    /// A window that accepts nothing before `floor`, the newest incarnation that the store remembers.
    #[must_use]
    pub fn new(floor: u32) -> ReplayWindow {
        ReplayWindow { highest: 0, newest: 0, older: None, incarnation: floor }
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
        if self.highest - counter >= WINDOW || counter == 0 || self.seen(counter) {
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
            self.advance(counter);
        }
        let (block, newest) = (counter / BLOCK, self.highest / BLOCK);
        if block == newest {
            self.newest |= bit(counter);
        } else if self.highest - counter < WINDOW {
            self.older.get_or_insert_default().mark(block, newest, bit(counter));
        }
    }

    /// A counter is the highest. Those skipped on the way are not seen yet.
    fn advance(&mut self, counter: u64) {
        let (before, newest) = (self.highest / BLOCK, counter / BLOCK);
        self.highest = counter;
        if before == newest {
            return;
        }
        let passed = std::mem::take(&mut self.newest);
        if newest - before > BLOCKS {
            self.older = None; // out of the window, all of it
        } else if passed != 0 || self.older.is_some() {
            let older = self.older.get_or_insert_default();
            older.push(before, passed);
            (before + 1..newest).for_each(|skipped| older.push(skipped, 0));
        }
    }

    fn seen(&self, counter: u64) -> bool {
        let (block, newest) = (counter / BLOCK, self.highest / BLOCK);
        let word = if block == newest {
            self.newest
        } else {
            self.older.as_ref().map_or(0, |older| older.word(block, newest))
        };
        word & bit(counter) != 0
    }
}

/// What was seen of the blocks right before the newest one, as many as there are words. Of any before those, nothing was.
#[derive(Clone, Debug)]
struct Older {
    /// Each at the number of its block, modulo their count.
    words: Vec<u64>,
}

impl Default for Older {
    fn default() -> Older {
        Older { words: vec![0; FEW_BLOCKS] }
    }
}

impl Older {
    fn word(&self, block: u64, newest: u64) -> u64 {
        if newest - block > self.words.len() as u64 { 0 } else { self.words[self.at(block)] }
    }

    fn mark(&mut self, block: u64, newest: u64, bit: u64) {
        while newest - block > self.words.len() as u64 {
            self.double(newest);
        }
        let at = self.at(block);
        self.words[at] |= bit;
    }

    /// What was the newest block is none any more. It takes the place of one that is out of the window, or of which nothing was seen.
    fn push(&mut self, block: u64, word: u64) {
        while (self.words.len() as u64) < BLOCKS && self.words[self.at(block)] != 0 {
            self.double(block);
        }
        let at = self.at(block);
        self.words[at] = word;
    }

    fn double(&mut self, newest: u64) {
        let held = self.words.len() as u64;
        let mut wider = Older { words: vec![0; self.words.len() * 2] };
        for block in newest.saturating_sub(held)..newest {
            let at = wider.at(block);
            wider.words[at] = self.words[self.at(block)];
        }
        *self = wider;
    }

    fn at(&self, block: u64) -> usize {
        (block % self.words.len() as u64) as usize
    }
}

fn bit(counter: u64) -> u64 {
    1 << (counter % BLOCK)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
            (1, 5_000 - 2_047, Err(Refusal::Replayed)),
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

    /// The same, from every counter that was ever seen.
    fn is_new(seen: &BTreeSet<u64>, counter: u64) -> bool {
        let highest = seen.last().copied().unwrap_or(0);
        counter > highest || (counter > 0 && highest - counter < WINDOW && !seen.contains(&counter))
    }

    /// Steps ahead and back: mostly small ones, some as large as the window.
    fn steps() -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(prop_oneof![6 => -3i64..6, 3 => -150i64..200, 1 => -2_100i64..2_200], 1..600)
    }

    proptest! {
        #[test]
        fn a_window_is_the_set_of_all_that_was_seen_as_far_as_it_reaches(steps in steps()) {
            let (mut window, mut seen, mut counter) = (ReplayWindow::new(1), BTreeSet::new(), 0u64);
            for step in steps {
                counter = counter.saturating_add_signed(step);
                prop_assert_eq!(window.check(1, counter).is_ok(), is_new(&seen, counter), "{}", counter);
                if is_new(&seen, counter) {
                    window.mark(1, counter);
                    seen.insert(counter);
                }
            }
            let highest = seen.last().copied().unwrap_or(0);
            for counter in highest.saturating_sub(WINDOW + 1)..=highest + 1 {
                prop_assert_eq!(window.check(1, counter).is_ok(), is_new(&seen, counter), "{}", counter);
            }
        }
    }
}
