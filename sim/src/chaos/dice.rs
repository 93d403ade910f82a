//! The draws of one run of chaos: functions of (chaos seed, run, what, n) alone, so that one more kind of draw moves no other.

use marlos::time::Span;

use crate::draw::{Draws, Purpose, below};

/// What a draw decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The seed of the run's world.
    Seed = 1,
    Nodes,
    Late,
    Suspects,
    Gone,
    Profile,
    Loss,
    Bandwidth,
    Connections,
    Multicast,
    HighWater,
    Warmup,
    Storm,
    Rate,
    Arrival,
    From,
    Work,
    Failing,
    Attempts,
    Payment,
    Deadline,
    Consistency,
    Output,
    KnobOn,
    Knob,
    KindOn,
    Faults,
    Kind,
    At,
    Near,
    Lasts,
    Repeat,
    Who,
    HowMany,
    Groups,
    Storage,
    Reset,
    Latency,
    Behaviour,
    Setting,
    Slow,
    Clock,
    Wear,
    Scene,
}

/// One run's draws.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    draws: Draws,
    run: u64,
}

impl Dice {
    pub fn new(seed: u64, run: u64) -> Dice {
        Dice { draws: Draws::new(seed), run }
    }

    /// 64 uniform bits.
    pub fn bits(&self, what: What, n: usize) -> u64 {
        self.draws.one(Purpose::Chaos, what as usize, n, 0, self.run)
    }

    /// A number below `bound`, each as likely.
    pub fn below(&self, what: What, n: usize, bound: usize) -> usize {
        usize::try_from(below(self.bits(what, n), bound as u64)).expect("below a usize")
    }

    /// A number of `least ..= most`, each as likely.
    pub fn between(&self, what: What, n: usize, least: u64, most: u64) -> u64 {
        assert!(least <= most, "{what:?}: {least} to {most}");
        least + below(self.bits(what, n), most - least + 1)
    }

    /// True in one of `times`.
    pub fn one_in(&self, what: What, n: usize, times: usize) -> bool {
        self.below(what, n, times) == 0
    }

    /// One of these, each as likely.
    pub fn of<T: Copy>(&self, what: What, n: usize, choice: &[T]) -> T {
        choice[self.below(what, n, choice.len())]
    }

    /// A number of `least ..= most` of which each doubling is as likely: mostly small, at times as large as allowed.
    pub fn skewed(&self, what: What, n: usize, least: u64, most: u64) -> u64 {
        assert!(0 < least && least <= most, "{what:?}: {least} to {most}");
        let bits = self.bits(what, n);
        let doublings = u64::from((most / least).ilog2()) + 1;
        // The upper half decides how often it is doubled, the lower half the place between two doublings.
        let floor = least << below(bits, doublings);
        let place = below(bits.rotate_right(32), floor);
        (floor + place).min(most)
    }

    /// As [`Dice::skewed`], a span of whole milliseconds.
    pub fn span(&self, what: What, n: usize, least: Span, most: Span) -> Span {
        Span::millis(self.skewed(what, n, least.as_millis().max(1), most.as_millis().max(1)))
    }

    /// `count` of these, in their order, each as likely.
    pub fn some(&self, what: What, n: usize, count: usize, from: &[usize]) -> Vec<usize> {
        let mut pool: Vec<(u64, usize)> =
            from.iter().enumerate().map(|(at, item)| (self.bits(what, n * 256 + at), *item)).collect();
        pool.sort_unstable();
        let mut chosen: Vec<usize> = pool.into_iter().take(count).map(|(_, item)| item).collect();
        chosen.sort_unstable();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_seed_run_what_and_n_alone() {
        let bits = |seed, run, what, n| Dice::new(seed, run).bits(what, n);
        let all = [bits(1, 1, What::At, 1), bits(2, 1, What::At, 1), bits(1, 2, What::At, 1), bits(1, 1, What::Who, 1)];
        let mut distinct = [&all[..], &[bits(1, 1, What::At, 2)]].concat();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 5);
        assert_eq!(bits(1, 1, What::At, 1), all[0]);
    }

    #[test]
    fn a_skewed_draw_reaches_both_ends_and_is_below_the_geometric_middle_half_of_the_time() {
        let dice = Dice::new(7, 0);
        let drawn: Vec<u64> = (0..4_000).map(|n| dice.skewed(What::Lasts, n, 1, 1 << 10)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&1), Some(&1_024)));
        let small = drawn.iter().filter(|value| **value < 1 << 5).count();
        assert!((1_600..2_400).contains(&small), "{small} of 4,000 below 32 of 1,024");
    }

    #[test]
    fn some_of_a_list_are_as_many_as_asked_for_and_none_twice() {
        let dice = Dice::new(7, 0);
        for n in 0..50 {
            let mut some = dice.some(What::Who, n, 3, &[4, 5, 6, 7, 8]);
            some.dedup();
            assert!(some.len() == 3 && some.is_sorted(), "{some:?}");
        }
        assert_eq!(dice.some(What::Who, 0, 9, &[1, 2]), [1, 2]);
    }
}
