//! S4: no forged, replayed, stale or misdirected message changes honest state.
//!
//! Every accepted frame must be from whom it claims, be accepted once per receiver, and be no older than the receiver's
//! `clock_sync_tolerance` (and a second, by which synchronised clocks may differ; and as much as the clocks of honest nodes have been
//! apart, because a clock that was set wrong is wrong until its node has heard enough others to measure it). Bids, votes and requests for certificates are
//! directed where honest nodes send them: such a frame has one receiver. A liar's may be addressed to nobody, and then it is for
//! everyone: who takes it is not to blame.
//!
//! On the path of every accepted frame, and bounded: frames are numbered in the order in which they were sealed, so what was sealed
//! longer ago than any tolerance is forgotten from the front; should it be accepted all the same, it is stale.
//!
//! A node that has lost its store may accept once more what it had accepted: it cannot know that it has lived before. Its votes are
//! safe all the same (see `auction`, `vote_floor`). One that kept it tells by the stamps what was said before its present life, and
//! allows for clocks that differ by 250 ms: where clocks have been further apart than that, it may take once more what was said so
//! much before it started. A liar's stamps tell nothing: what it stamped for later than it said it, such a node may take once more, as
//! the liar could say it once more.

use std::collections::{BTreeSet, VecDeque};

use marlos::time::{Span, Time};
use marlos::wire::MsgType;

use super::{Fact, Violation};
use crate::observe::{Observation, Stop, Truth};
use crate::scenario::{NodeNo, Scenario};

const FORGED: &str = "no forged message is accepted";
const REPLAYED: &str = "no message is accepted twice by one node";
const STALE: &str = "no stale message is accepted";
const MISDIRECTED: &str = "no message for one node is accepted by another";

const SECOND: u64 = 1_000_000;

/// By how much a node that restarts lets clocks differ (see `guard`).
const CLOCKS_DIFFER: Span = Span::millis(250);

/// Nobody has accepted the frame yet.
const NOBODY: u32 = u32::MAX;
/// Set where the rest of the entry numbers a bitmap; else the entry is the one receiver.
const MANY: u32 = 1 << 31;

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct S4 {
    tolerances: Vec<Span>,
    /// Seconds for which a frame must be remembered.
    remembered_s: u64,
    /// Number of the frame of the first entry.
    first: u64,
    /// Who has accepted each frame.
    entries: VecDeque<u32>,
    /// For frames with several receivers: one bit for each node.
    bitmaps: Vec<u64>,
    words: usize,
    free: Vec<u32>,
    /// The second in which a frame was sealed and its number, oldest first: frames up to it are as old or older.
    sealed: VecDeque<(u64, u64)>,
    /// When each node's present life began.
    born: Vec<Time>,
    /// Frames of liars from before that, which a node has taken in its present life.
    once_more: BTreeSet<(u64, NodeNo)>,
    checked: u64,
}

impl S4 {
    pub fn new(scenario: &Scenario) -> S4 {
        let tolerances: Vec<Span> =
            scenario.nodes.iter().map(|node| node.config.clock_sync_tolerance + Span(SECOND)).collect();
        let longest = tolerances.iter().max().copied().unwrap_or(Span(SECOND));
        S4 {
            remembered_s: longest.as_micros() / SECOND + 2,
            tolerances,
            first: 0,
            entries: VecDeque::new(),
            bitmaps: Vec::new(),
            words: scenario.nodes.len().div_ceil(64),
            free: Vec::new(),
            sealed: VecDeque::new(),
            born: vec![Time(0); scenario.nodes.len()],
            once_more: BTreeSet::new(),
            checked: 0,
        }
    }

    /// Frames that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    #[inline]
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) -> Result<(), Box<Violation>> {
        let Observation::Accepted { node, sender, claimed, kind, frame, latency } = *o else {
            if let Observation::NodeStarted { node, .. } = *o {
                self.born[node] = truth.now;
                self.once_more.retain(|(_, other)| *other != node);
            }
            match *o {
                Observation::NodeStopped { node, how: Stop::CrashLost } => self.forget(node, 0),
                Observation::NodeStarted { node, restart: true } if truth.clocks_apart() > CLOCKS_DIFFER => {
                    let second = truth.now.0.saturating_sub(truth.clocks_apart().0) / SECOND;
                    let before = self.sealed.iter().take_while(|(sealed_s, _)| *sealed_s < second).last();
                    let from = before.map_or(self.first, |(_, newest)| newest + 1);
                    self.forget(
                        node,
                        usize::try_from(from - self.first).expect("the frames of half a minute fit the memory"),
                    );
                }
                _ => {}
            }
            return Ok(());
        };
        self.checked += 1;
        // Colluders know each other's keys.
        if claimed != sender && (truth.honest(claimed) || truth.honest(sender)) {
            return violated(FORGED, truth, o);
        }
        if latency > self.tolerances[node] + truth.clocks_apart() || frame < self.first {
            // A liar can stamp what it said long ago with any time, and could as well say it now.
            return if truth.honest(claimed) { violated(STALE, truth, o) } else { Ok(()) };
        }
        if frame - self.first >= self.entries.len() as u64 {
            self.remember(frame, latency, truth);
        }
        let receiver = u32::try_from(node).expect("a node number is small");
        match self.accept(frame, receiver) {
            Receiver::First => Ok(()),
            Receiver::Again
                if !truth.honest(claimed)
                    && truth.now - latency < self.born[node]
                    && self.once_more.insert((frame, node)) =>
            {
                Ok(())
            }
            Receiver::Again => violated(REPLAYED, truth, o),
            Receiver::Another if is_directed(kind) && truth.honest(claimed) => violated(MISDIRECTED, truth, o),
            Receiver::Another => Ok(()),
        }
    }

    /// Makes room up to a frame that is newer than all before, and forgets those that are too old to be accepted.
    fn remember(&mut self, frame: u64, latency: Span, truth: &Truth) {
        let sealed_s = truth.now.0.saturating_sub(latency.as_micros()) / SECOND;
        let oldest_s = (truth.now.0 / SECOND).saturating_sub(self.remembered_s + truth.clocks_apart().0 / SECOND);
        let at = usize::try_from(frame - self.first).expect("the frames of half a minute fit the memory");
        self.entries.resize(at + 1, NOBODY);
        match self.sealed.back_mut() {
            Some((second, newest)) if *second >= sealed_s => *newest = frame,
            _ => self.sealed.push_back((sealed_s, frame)),
        }
        while let Some((second, newest)) = self.sealed.front().copied() {
            if second >= oldest_s {
                return;
            }
            self.sealed.pop_front();
            for _ in self.first..=newest {
                let entry = self.entries.pop_front().expect("every frame up to the newest has an entry");
                if entry != NOBODY && entry & MANY != 0 {
                    self.free.push(entry & !MANY);
                }
            }
            self.first = newest + 1;
            self.once_more = self.once_more.split_off(&(self.first, 0));
        }
    }

    /// A node cannot tell that it has accepted any of the frames from this entry on.
    fn forget(&mut self, node: NodeNo, from: usize) {
        let receiver = u32::try_from(node).expect("a node number is small");
        for entry in self.entries.iter_mut().skip(from) {
            if *entry == receiver {
                *entry = NOBODY;
            } else if *entry != NOBODY && *entry & MANY != 0 {
                self.bitmaps[(*entry & !MANY) as usize * self.words + node / 64] &= !(1u64 << (node % 64));
            }
        }
    }

    fn accept(&mut self, frame: u64, receiver: u32) -> Receiver {
        let entry = &mut self.entries[(frame - self.first) as usize];
        let bit = |node: u32| (node as usize / 64, 1u64 << (node % 64));
        if *entry == NOBODY {
            *entry = receiver;
            return Receiver::First;
        }
        if *entry == receiver {
            return Receiver::Again;
        }
        if *entry & MANY == 0 {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.bitmaps.resize(self.bitmaps.len() + self.words, 0);
                u32::try_from(self.bitmaps.len() / self.words - 1).expect("fewer than 2^31 broadcasts in half a minute")
            });
            let bitmap = &mut self.bitmaps[slot as usize * self.words..][..self.words];
            bitmap.fill(0);
            let (word, mask) = bit(*entry);
            bitmap[word] |= mask;
            *entry = slot | MANY;
        }
        let (word, mask) = bit(receiver);
        let word = &mut self.bitmaps[(*entry & !MANY) as usize * self.words + word];
        if *word & mask != 0 {
            return Receiver::Again;
        }
        *word |= mask;
        Receiver::Another
    }
}

/// Whether an honest node says this to one node only, and by itself.
fn is_directed(kind: MsgType) -> bool {
    matches!(kind, MsgType::JobBid | MsgType::ClaimVote | MsgType::CertificateRequest)
}

/// Which receiver of a frame this is.
enum Receiver {
    First,
    Another,
    Again,
}

#[cold]
fn violated(sentence: &'static str, truth: &Truth, o: &Observation<'_>) -> Result<(), Box<Violation>> {
    let Observation::Accepted { node, sender, claimed, kind, frame, latency } = *o else {
        unreachable!("only accepted frames are checked")
    };
    let sealed = Fact {
        what: format!("it sends frame {frame}"),
        at: truth.now - latency,
        node: sender,
        // The world numbers frames, not the events in which they were sealed.
        event: None,
    };
    let what = format!("it accepts frame {frame}, a {} that says it is from n{claimed}, after {latency}", kind.name());
    let what = match sentence {
        REPLAYED => format!("{what}, and had accepted it before"),
        MISDIRECTED => format!("{what}, and another node has accepted it too"),
        _ => what,
    };
    Err(Box::new(Violation { check: "S4", sentence, facts: [sealed, Fact::now(truth, node, what)] }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::history::{History, scenario};

    /// (time in ms, receiver, sender, claimed, frame, latency in ms)
    type Line = (u64, NodeNo, NodeNo, NodeNo, u64, u64);

    fn accepted(kind: MsgType, (_, node, sender, claimed, frame, latency): Line) -> Observation<'static> {
        Observation::Accepted { node, sender, claimed, kind, frame, latency: Span::millis(latency) }
    }

    /// The sentence that the last of these violates, if any; none before may.
    fn ends_in(kind: MsgType, lines: &[Line]) -> Option<&'static str> {
        let scenario = scenario(70, "1000s");
        let (mut check, mut world) = (S4::new(&scenario), History::new(&scenario));
        let mut result = Ok(());
        for line in lines {
            assert_eq!(result, Ok(()), "before {line:?}");
            result = world.at(line.0, accepted(kind, *line), |truth, o| check.observe(truth, o));
        }
        result.err().map(|violation| violation.sentence)
    }

    #[test]
    fn a_frame_is_accepted_once_by_each_of_its_receivers() {
        let ping = |lines: &[Line]| ends_in(MsgType::Ping, lines);
        assert_eq!(ping(&[(1, 1, 0, 0, 5, 1), (1, 2, 0, 0, 5, 1), (2, 69, 0, 0, 5, 2), (3, 1, 0, 0, 4, 3)]), None);
        assert_eq!(ping(&[(1, 1, 0, 0, 5, 1), (9, 1, 0, 0, 5, 9)]), Some(REPLAYED));
        assert_eq!(ping(&[(1, 1, 0, 0, 5, 1), (1, 69, 0, 0, 5, 1), (9, 69, 0, 0, 5, 9)]), Some(REPLAYED));
        assert_eq!(ping(&[(1, 1, 0, 0, 5, 1), (1, 69, 0, 0, 5, 1), (9, 1, 0, 0, 5, 9)]), Some(REPLAYED));
    }

    #[test]
    fn a_frame_of_another_than_it_claims_is_forged() {
        assert_eq!(ends_in(MsgType::Ping, &[(1, 1, 0, 0, 0, 1), (2, 1, 0, 2, 1, 1)]), Some(FORGED));
    }

    #[test]
    fn a_frame_older_than_the_tolerance_and_a_second_is_stale() {
        assert_eq!(ends_in(MsgType::Ping, &[(31_500, 1, 0, 0, 0, 31_000)]), None);
        assert_eq!(ends_in(MsgType::Ping, &[(31_500, 1, 0, 0, 0, 31_001)]), Some(STALE));
    }

    #[test]
    fn a_replay_is_caught_as_long_as_it_is_not_stale_and_later_as_stale() {
        let others: Vec<Line> = (1..=60).map(|s| (s * 1_000, 2, 3, 3, s * 10, 1)).collect();
        let mut lines = vec![(10, 1, 0, 0, 0, 1)];
        lines.extend(others.iter().take(30));
        lines.push((30_900, 1, 0, 0, 0, 30_890));
        assert_eq!(ends_in(MsgType::Ping, &lines), Some(REPLAYED));
        // Even where the latency is not what it should be, a frame that was forgotten is too old.
        let mut lines = vec![(10, 1, 0, 0, 0, 1)];
        lines.extend(&others);
        lines.push((60_000, 1, 0, 0, 0, 5));
        assert_eq!(ends_in(MsgType::Ping, &lines), Some(STALE));
    }

    #[test]
    fn a_vote_reaches_one_node_and_a_broadcast_many() {
        let lines = [(1, 1, 0, 0, 5, 1), (1, 2, 0, 0, 5, 1)];
        assert_eq!(ends_in(MsgType::ClaimVote, &lines), Some(MISDIRECTED));
        assert_eq!(ends_in(MsgType::JobClaim, &lines), None);
    }

    #[test]
    fn what_a_liar_addresses_to_nobody_is_for_everyone() {
        let scenario = scenario(3, "60s");
        let (mut check, mut world) = (S4::new(&scenario), History::new(&scenario));
        world.truth.byzantine[0] = true;
        for receiver in [1, 2] {
            let o = accepted(MsgType::CertificateRequest, (1, receiver, 0, 0, 5, 1));
            assert_eq!(world.at(1, o, |truth, o| check.observe(truth, o)), Ok(()));
        }
        let again = accepted(MsgType::CertificateRequest, (2, 2, 0, 0, 5, 2));
        assert_eq!(world.at(2, again, |truth, o| check.observe(truth, o)).unwrap_err().sentence, REPLAYED);
    }

    #[test]
    fn a_restart_of_the_receiver_excuses_a_replay_only_where_its_store_is_lost() {
        assert_eq!(replayed_after(Stop::CrashKept).map(|found| found.sentence), Some(REPLAYED));
        assert_eq!(replayed_after(Stop::CrashUnsynced).map(|found| found.facts[1].node), Some(1));
        assert_eq!(replayed_after(Stop::CrashLost), None);
    }

    #[test]
    fn clocks_that_were_set_apart_excuse_as_much_as_that_and_what_a_restart_cannot_tell() {
        // The frame is sealed at 1 s; its receiver restarts at 1.5 s and takes it again at 2 s, or takes it for the first time late.
        let found = |ahead_us: (i64, i64), late_ms: u64| {
            let scenario = scenario(3, "60s");
            let (mut check, mut world) = (S4::new(&scenario), History::new(&scenario));
            world.truth.clocks_ahead_us = ahead_us;
            let frame = |ms: u64| accepted(MsgType::Ping, (0, 1, 0, 0, 7, ms));
            assert_eq!(world.at(1_001, frame(1), |truth, o| check.observe(truth, o)), Ok(()));
            let restarts = Observation::NodeStarted { node: 1, restart: true };
            assert_eq!(world.at(1_500, restarts, |truth, o| check.observe(truth, o)), Ok(()));
            world
                .at(1_000 + late_ms, frame(late_ms), |truth, o| check.observe(truth, o))
                .err()
                .map(|found| found.sentence)
        };
        assert_eq!(found((-250_000, 0), 1_000), Some(REPLAYED), "so much is allowed for");
        assert_eq!(found((-400_000, 300_000), 1_000), None);
        assert_eq!(found((-400_000, 300_000), 31_700), None);
        assert_eq!(found((-400_000, 300_000), 31_701), Some(STALE));
    }

    #[test]
    fn what_a_liar_said_before_a_restart_may_be_taken_once_more_and_what_it_said_since_may_not() {
        let scenario = scenario(3, "60s");
        let (mut check, mut world) = (S4::new(&scenario), History::new(&scenario));
        world.truth.byzantine[0] = true;
        let mut hears = |ms: u64, frame: u64, latency: u64| {
            let o = accepted(MsgType::Ping, (ms, 1, 0, 0, frame, latency));
            world.at(ms, o, |truth, o| check.observe(truth, o)).err().map(|found| found.sentence)
        };
        assert_eq!((hears(1_000, 7, 1), hears(1_001, 8, 1)), (None, None));
        assert_eq!(hears(1_100, 7, 101), Some(REPLAYED), "its life goes on");
        let restarts = Observation::NodeStarted { node: 1, restart: true };
        assert_eq!(world.at(2_000, restarts, |truth, o| check.observe(truth, o)), Ok(()));
        let mut hears = |ms: u64, frame: u64, latency: u64| {
            let o = accepted(MsgType::Ping, (ms, 1, 0, 0, frame, latency));
            world.at(ms, o, |truth, o| check.observe(truth, o)).err().map(|found| found.sentence)
        };
        assert_eq!((hears(3_000, 7, 2_001), hears(3_001, 7, 2_002)), (None, Some(REPLAYED)));
        assert_eq!((hears(3_002, 9, 1), hears(3_003, 9, 2)), (None, Some(REPLAYED)));
        world.truth.byzantine[0] = false;
        let honest = accepted(MsgType::Ping, (3_010, 1, 0, 0, 8, 2_010));
        assert!(world.at(3_010, honest, |truth, o| check.observe(truth, o)).is_err());
    }

    fn replayed_after(how: Stop) -> Option<Box<Violation>> {
        let scenario = scenario(3, "60s");
        let (mut check, mut world) = (S4::new(&scenario), History::new(&scenario));
        let frame = accepted(MsgType::Ping, (0, 1, 0, 0, 7, 1));
        assert_eq!(world.at(1, frame.clone(), |truth, o| check.observe(truth, o)), Ok(()));
        for o in [Observation::NodeStopped { node: 1, how }, Observation::NodeStarted { node: 1, restart: true }] {
            assert_eq!(world.at(2, o, |truth, o| check.observe(truth, o)), Ok(()));
        }
        world.at(3, frame, |truth, o| check.observe(truth, o)).err()
    }

    proptest::proptest! {
        #[test]
        fn it_agrees_with_a_set_that_remembers_everything(
            steps in proptest::collection::vec((0u64..40, 0usize..70, 0u64..40_000), 1..200),
        ) {
            // Frames are sealed in the order of their numbers, up to 40 s apart in all, and arrive in any order.
            let mut lines: Vec<Line> = Vec::new();
            for (gap, node, latency) in steps {
                let (frame, sealed) = lines.last().map_or((0, 0), |line| (line.4 + gap % 2, (line.4 + gap % 2) * 700));
                lines.push((sealed + latency, node, 0, 0, frame, latency));
            }
            lines.sort_by_key(|line| line.0);
            let scenario = scenario(70, "1000s");
            let (mut check, mut world) = (S4::new(&scenario), History::new(&scenario));
            let mut all = std::collections::BTreeSet::new();
            for line in lines {
                let expected = match (line.5 > 31_000, all.insert((line.1, line.4))) {
                    (true, fresh) => {
                        if fresh {
                            all.remove(&(line.1, line.4));
                        }
                        Some(STALE)
                    }
                    (false, false) => Some(REPLAYED),
                    (false, true) => None,
                };
                let found = world.at(line.0, accepted(MsgType::Ping, line), |truth, o| check.observe(truth, o));
                proptest::prop_assert_eq!(found.err().map(|violation| violation.sentence), expected, "{:?}", line);
            }
        }
    }

    #[test]
    fn memory_is_bounded_by_the_traffic_of_the_tolerance() {
        let scenario = scenario(70, "1000s");
        let (mut check, mut world) = (S4::new(&scenario), History::new(&scenario));
        for ms in 0..200_000u64 {
            for node in [1, 2, 3] {
                let o = accepted(MsgType::Ping, (ms, node, 0, 0, ms, 0));
                assert_eq!(world.at(ms, o, |truth, o| check.observe(truth, o)), Ok(()));
            }
        }
        assert!(check.entries.len() <= 36_000, "{}", check.entries.len());
        assert!(check.bitmaps.len() / check.words <= 36_000, "{}", check.bitmaps.len());
        assert!(check.sealed.len() <= 36);
    }
}
