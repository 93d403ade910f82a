//! Losses that come together: each direction of each pair is good for a while and bad for a while, in turn.
//!
//! The two states are those of Gilbert and Elliott, but they change with time, not with each packet: nodes here send a
//! packet now and then, and bursts counted in packets would last for minutes on a quiet pair and be over at once on a busy
//! one. And so two versions of the protocol meet the same bad whiles, whatever they send. A segment that is lost meets the
//! same while again when it is sent again too soon.
//!
//! Both whiles have exponential lengths. With a bad share b of all time and mean lengths B of bad and G of good ones,
//! b = B / (B + G); and what is seen bad is bad a time t later with probability b + (1 - b) exp(-t (1/B + 1/G)).

use std::collections::VecDeque;

use marlos::time::Time;
use marlos::units::Ppm;

use super::path::{Losses, Path, ROUNDS_MAX, SegmentKey};
use crate::draw::{Draws, Purpose, below, exponential};
use crate::scenario::{NetworkSpec, NodeNo};

/// The whiles of all ways.
#[derive(Clone, Debug)]
pub(super) struct Bursts {
    n: usize,
    /// Mean lengths in microseconds, of good whiles and of bad ones.
    means_us: [u64; 2],
    /// What share of time is bad, of a million.
    bad_ppm: u64,
    /// By ordered pair; empty where nothing comes in bursts.
    ways: Vec<Whiles>,
}

/// The whiles of one way that are not over.
#[derive(Clone, Debug, Default)]
struct Whiles {
    /// The number of the first of them, from 0.
    first: u64,
    /// Whether number 0 is bad; every other one is then.
    begins_bad: bool,
    /// When each ends, in microseconds.
    ends: VecDeque<u64>,
}

/// When a segment is sent. What was before `now` is not asked for again.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub now: Time,
    pub sent: Time,
}

impl Bursts {
    pub fn new(spec: &NetworkSpec, n: usize) -> Bursts {
        let Some(burst) = spec.loss_burst else {
            return Bursts { n, means_us: [0; 2], bad_ppm: 0, ways: Vec::new() };
        };
        let (bad_ppm, bad_us) = (burst.bad_ppm(spec.loss), burst.mean.as_micros());
        assert!(bad_ppm < u64::from(Ppm::ONE.0), "what is always bad has no bursts");
        let good_us = bad_us * (u64::from(Ppm::ONE.0) - bad_ppm) / bad_ppm.max(1);
        Bursts { n, means_us: [good_us, bad_us], bad_ppm, ways: vec![Whiles::default(); n * n] }
    }

    /// Whether a datagram with this draw is lost.
    pub fn lose(&mut self, draws: &Draws, path: &Path, when: When, way: (NodeNo, NodeNo), draw: u32) -> bool {
        draw < path.datagrams_lost && (path.by_state.is_none() || self.is_bad(draws, way, when))
    }

    /// What happens to each segment of a frame.
    #[expect(clippy::too_many_arguments, reason = "one way, one frame, one moment: each is what it is")]
    pub fn losses(
        &mut self,
        draws: &Draws,
        path: &Path,
        base_us: u32,
        when: When,
        key: SegmentKey,
        draw: u32,
        bytes: u64,
    ) -> Losses {
        let way = (key.from, key.to);
        Path::losses(draws, key, draw, bytes, |draw| self.rounds(draws, path, base_us, when, way, draw))
    }

    /// How often a segment with this draw is lost before it passes.
    pub fn rounds(
        &mut self,
        draws: &Draws,
        path: &Path,
        base_us: u32,
        mut when: When,
        way: (NodeNo, NodeNo),
        mut draw: u32,
    ) -> u32 {
        let Some([bad, good]) = path.by_state else { return path.rounds(draw) };
        for round in 0..ROUNDS_MAX as u32 {
            let share = if draw < bad && self.is_bad(draws, way, when) { bad } else { good };
            if draw >= share {
                return round;
            }
            // Below the share it is even again.
            draw = ((u64::from(draw) << 32) / u64::from(share)) as u32;
            when.sent += path.retransmit_after(base_us, round);
        }
        ROUNDS_MAX as u32
    }

    /// Whether a way is bad at this moment.
    fn is_bad(&mut self, draws: &Draws, (from, to): (NodeNo, NodeNo), when: When) -> bool {
        assert!(when.sent >= when.now, "sent at {} and now it is {}", when.sent, when.now);
        let whiles = &mut self.ways[from * self.n + to];
        if whiles.first == 0 && whiles.ends.is_empty() {
            let draw = draws.one(Purpose::Burst, from, to, 0, 0);
            whiles.begins_bad = below(draw, u64::from(Ppm::ONE.0)) < self.bad_ppm;
        }
        let mut last = whiles.ends.back().copied().unwrap_or(0);
        while last <= when.sent.0 {
            let number = whiles.first + whiles.ends.len() as u64;
            let mean_us = self.means_us[usize::from(whiles.is_bad(number))];
            let draw = exponential(draws.one(Purpose::Burst, from, to, 1, number));
            let length = (u128::from(mean_us) * u128::from(draw)) >> 32;
            last += u64::try_from(length).expect("at most 45 times the mean").max(1);
            whiles.ends.push_back(last);
        }
        while whiles.ends.front().is_some_and(|end| *end <= when.now.0) {
            whiles.ends.pop_front();
            whiles.first += 1;
        }
        let place = whiles.ends.partition_point(|end| *end <= when.sent.0);
        whiles.is_bad(whiles.first + place as u64)
    }
}

impl Whiles {
    fn is_bad(&self, number: u64) -> bool {
        number.is_multiple_of(2) == self.begins_bad
    }
}
