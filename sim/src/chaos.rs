//! Random timelines of faults on top of a scenario, thousands of them, each judged by all checks.
//!
//! A run is drawn as a whole before its first event - who is there, the network, the jobs, the configuration, what goes wrong
//! and when - as a function of the chaos seed and the run's number alone, and is a scenario like any other: it can be kept, read,
//! run again and shrunk. Everything that goes wrong is over when the settle time begins, but for nodes that are gone for good;
//! a quorum is always left and healed, so that liveness can be judged (uniform faults that go on for ever hide livelock).
//! The fault budget is that of the protocol: no more nodes lose their store or misbehave, in all, than the first members tolerate.
//!
//! - `dice`: the draws. `cast`: who is there. `setting`: network, jobs, knobs. `storm`: the faults. `plan`: all of it together.
//! - [`Tally`]: what many runs have found.

mod cast;
mod dice;
mod plan;
mod setting;
mod storm;
mod tally;

use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::AtomicBool;

pub use plan::{Chaos, Plan};
pub use storm::Kind;
pub use tally::{Found, Tally};

use crate::finding::{self, Finding};
use crate::many::{Panicked, many};
use crate::outcome::Outcome;
use crate::scenario::Scenario;

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    /// What is wrong with it, if anything.
    pub finding: Option<Finding>,
    /// Its results; nothing where it ended in a panic.
    pub outcome: Option<Box<Outcome>>,
}

impl From<Result<(Outcome, Option<Finding>), Panicked>> for Ran {
    fn from(result: Result<(Outcome, Option<Finding>), Panicked>) -> Ran {
        match result {
            Ok((outcome, finding)) => Ran { finding, outcome: Some(Box::new(outcome)) },
            Err(panicked) => Ran { finding: Some(Finding::of_panic(&panicked)), outcome: None },
        }
    }
}

impl Chaos {
    /// Runs these runs on `threads` threads and calls `done` with each, in their order. Whether all were run.
    pub fn runs(
        &self,
        base: &Scenario,
        numbers: Range<u64>,
        threads: NonZeroUsize,
        interrupted: &AtomicBool,
        mut done: impl FnMut(Plan, Ran) -> ControlFlow<()>,
    ) -> bool {
        let plans = numbers.map(|run| self.plan(base, run));
        many(
            plans,
            threads,
            interrupted,
            |plan, wanted| finding::examine(plan.scenario.clone(), wanted),
            |plan, result| done(plan, result.into()),
        )
    }

    /// Whether a finding is a broken promise. With more than f nodes misbehaving, what needs an honest quorum is not promised.
    #[must_use]
    pub fn promised(&self, finding: &Finding) -> bool {
        let needs_quorum = ["S1:", "S3:", "L"].iter().any(|check| finding.fingerprint.starts_with(check));
        !self.beyond_f || !needs_quorum
    }
}

#[cfg(test)]
mod tests;
