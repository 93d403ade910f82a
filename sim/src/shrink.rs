//! The smallest scenario that is still wrong in the same way: delta debugging (Zeller and Hildebrandt, 2002) on a scenario.
//!
//! Each pass proposes smaller scenarios, the boldest first; the first of them that has the same fingerprint is gone on with,
//! until no pass finds one. Draws are keyed, so what is left of a scenario goes on as it did: a fault less does not move the
//! messages of the others. Candidates are run on all threads, and the choice among them does not depend on how many there are.
//!
//! A scenario that asked for no more than the protocol promises is not shrunk to one that asks for more: it would be wrong in
//! the same words, and prove nothing.

mod passes;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use marlos::time::Time;

use crate::budget;
use crate::chaos::Ran;
use crate::finding::{self, Finding, Wrong};
use crate::many::many;
use crate::scenario::{Overrides, Scenario};
use passes::PASSES;

/// A scenario with what is wrong with it.
#[derive(Clone, Debug)]
pub struct Wronged {
    /// What is run.
    pub scenario: Scenario,
    /// What is wrong.
    pub finding: Finding,
    /// When the run ended: at the violation, where it is one of safety.
    pub reached: Time,
}

/// Where candidates are run.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'b> {
    /// On how many threads.
    pub threads: NonZeroUsize,
    /// Ends it: the best so far is the result.
    pub interrupted: &'b AtomicBool,
}

/// Runs a scenario; what is wrong with it, if anything.
#[must_use]
pub fn wrong(scenario: Scenario, bench: Bench<'_>) -> Option<Wronged> {
    first_wrong(vec![scenario], None, bench).0
}

/// Shrinks a scenario, and calls `step` with each smaller one, the pass that found it, and how many runs it took so far.
pub fn shrink(start: Wronged, bench: Bench<'_>, mut step: impl FnMut(&Wronged, &str, u64)) -> Wronged {
    let safe = budget::safety_is_promised(&start.scenario);
    let live = budget::liveness_is_promised(&start.scenario);
    let promised = |scenario: &Scenario| {
        (!safe || budget::safety_is_promised(scenario)) && (!live || budget::liveness_is_promised(scenario))
    };
    let (mut best, mut runs) = (start, 0);
    loop {
        let before = size(&best.scenario);
        for (name, pass) in PASSES {
            loop {
                let candidates = pass(&best).into_iter().filter_map(|candidate| valid(&candidate));
                let smaller = candidates.filter(|one| size(one) < size(&best.scenario) && promised(one)).collect();
                let (found, tried) = first_wrong(smaller, Some(&best.finding), bench);
                runs += tried;
                let Some(smaller) = found else { break };
                best = smaller;
                step(&best, name, runs);
            }
        }
        if size(&best.scenario) == before {
            return best;
        }
    }
}

/// What is smaller about a smaller scenario, the most important first. Each step makes it less, so there is an end.
fn size(scenario: &Scenario) -> [u64; 8] {
    let jobs = scenario.workload.as_ref().map_or(0, |load| {
        let time = u128::from(load.end.0 - load.start.0);
        1 + u64::try_from(time * u128::from(load.jobs_per_1000_s) / 1_000_000_000).unwrap_or(u64::MAX)
    });
    let lasts = |fault: &crate::scenario::Fault| fault.until.map_or(0, |until| until.0 - fault.at.0);
    [
        scenario.faults.len() as u64,
        scenario.nodes.len() as u64,
        scenario.faults.iter().map(|fault| passes::named(&fault.kind) as u64).sum(),
        jobs,
        scenario.duration.0 / 1_000_000,
        passes::peculiarities(scenario),
        scenario.faults.iter().map(lasts).sum::<u64>() / 1_000,
        // Fewer digits are easier to read.
        scenario.to_toml().len() as u64,
    ]
}

/// A scenario as its file reads; nothing where no file may say so.
fn valid(scenario: &Scenario) -> Option<Scenario> {
    Scenario::parse(&scenario.to_toml(), "candidate", Overrides::default(), &|file| Err(file.to_owned())).ok()
}

/// The first of these that is wrong, in the same way where one is given; and how many were run.
fn first_wrong(scenarios: Vec<Scenario>, like: Option<&Finding>, bench: Bench<'_>) -> (Option<Wronged>, u64) {
    let (mut found, mut runs) = (None, 0);
    many(
        scenarios.into_iter(),
        bench.threads,
        bench.interrupted,
        |scenario, wanted| finding::examine(scenario.clone(), wanted),
        |scenario, result| {
            runs += 1;
            let Ran { finding, outcome } = result.into();
            let Some(finding) =
                finding.filter(|finding| like.is_none_or(|like| like.fingerprint == finding.fingerprint))
            else {
                return ControlFlow::Continue(());
            };
            let reached = outcome.map_or(scenario.duration, |outcome| outcome.reached);
            found = Some(Wronged { scenario, finding, reached });
            ControlFlow::Break(())
        },
    );
    (found, runs)
}

impl Wronged {
    /// Whether the run ended where it went wrong, so that nothing after it matters.
    #[must_use]
    pub fn ends_there(&self) -> bool {
        match self.finding.wrong {
            Wrong::Safety => self.reached < self.scenario.duration,
            Wrong::Panic | Wrong::Endless | Wrong::Liveness => false,
        }
    }
}
