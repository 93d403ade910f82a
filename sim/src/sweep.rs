//! Many scenarios, settings and seeds: what is run, what is kept of each run, and what is said of all of them.
//!
//! A [`Plan`] numbers its runs: case by case - a scenario with one choice of settings - and seed by seed. A shard does every
//! n-th of them. What is kept goes to disk in the order of these numbers and holds nothing of the machine or the clock, so the
//! same plan leaves the same bytes with any number of threads; and the shards of a plan, merged, leave those of the whole.

pub mod merge;
mod parquet;
pub mod results;
pub mod row;
pub mod table;
pub mod tally;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::{io, num::NonZeroUsize};

use crate::many::{WhileWanted, many};
use crate::progress::Runs;
use crate::scenario::{Scenario, Setting};
use crate::world::World;
use marlos::time::Time;
use results::Results;
use row::Report;

/// Cases of a plan, so that a slip of the finger does not fill the memory.
pub const CASES: usize = 10_000;
/// Runs of a plan.
pub const RUNS: u64 = 100_000_000;

/// A scenario with one choice of settings.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file, as the user named it.
    pub file: String,
    /// What is set to something else.
    pub settings: Vec<Setting>,
    /// Both, read.
    pub scenario: Scenario,
}

impl Case {
    /// Its settings as results name them: `network.loss=1% nodes.count=20`, or nothing.
    #[must_use]
    pub fn setting(&self) -> String {
        self.settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of the files, and of the product of the settings.
    pub cases: Vec<Case>,
    /// Each case runs with each.
    pub seeds: Seeds,
    /// The part that is run here; nothing means all.
    pub shard: Option<Shard>,
}

/// One run of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which of the cases.
    pub case: usize,
    /// The seed.
    pub seed: u64,
}

impl Plan {
    /// All runs of all shards.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.cases.len() as u64 * self.seeds.len()
    }

    /// The runs of this shard, in order.
    pub fn planned(&self) -> impl Iterator<Item = Planned> {
        let all = (0..self.cases.len()).flat_map(|case| self.seeds.iter().map(move |seed| Planned { case, seed }));
        let shard = self.shard.unwrap_or(Shard::WHOLE);
        all.skip(shard.number as usize - 1).step_by(shard.count as usize)
    }

    /// How many these are.
    #[must_use]
    pub fn planned_len(&self) -> u64 {
        let shard = self.shard.unwrap_or(Shard::WHOLE);
        (self.runs() + u64::from(shard.count - shard.number)) / u64::from(shard.count)
    }
}

/// Runs what is planned and writes it to `dir`, until it is done, `interrupted`, or - with `fail_fast` - a run does not pass.
///
/// # Errors
/// What cannot be written.
pub fn sweep(
    plan: &Plan,
    threads: NonZeroUsize,
    fail_fast: bool,
    interrupted: &AtomicBool,
    dir: &Path,
) -> io::Result<Results> {
    let mut results = Results::create(dir, plan)?;
    let mut progress = Runs::new(plan.planned_len());
    let mut broken = None;
    many(
        plan.planned(),
        threads,
        interrupted,
        |planned, wanted| {
            let case = &plan.cases[planned.case];
            let mut watcher = WhileWanted::new(wanted);
            let mut world = World::new(Scenario { seed: planned.seed, ..case.scenario.clone() });
            world.run_until(Time::NEVER, &mut watcher);
            (!watcher.broken_off).then(|| Report::of(&world.finish(), &case.setting()))
        },
        |planned, result| {
            let case = &plan.cases[planned.case];
            let report = result.unwrap_or_else(|panicked| {
                Report::of_panic(&case.scenario.name, &case.setting(), planned.seed, &panicked)
            });
            progress.done(report.run.exit == 0);
            if let Err(error) = results.add(planned.case, &report) {
                broken = Some(error);
                return ControlFlow::Break(());
            }
            if fail_fast && report.run.exit != 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    drop(progress);
    match broken {
        Some(error) => Err(error),
        None => results.finish().map(|()| results),
    }
}

/// Seeds, as the command line names them: `1..200` with both ends, `7`, `1..5,9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Vec<(u64, u64)>);

impl Seeds {
    /// How many.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// In the order in which they were named.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u64>();
            let (Ok(first), Ok(last)) = (number(first), number(last)) else {
                return Err(format!("`{part}` is not A..B or a seed"));
            };
            if first > last || last - first >= RUNS {
                return Err(format!("`{part}` must go upwards and name at most {RUNS} seeds"));
            }
            if ranges.iter().any(|(begin, end)| first <= *end && *begin <= last) {
                return Err(format!("`{part}` names a seed again"));
            }
            ranges.push((first, last));
        }
        Ok(Seeds(ranges))
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(first, last): &(u64, u64)| {
            if first == last { first.to_string() } else { format!("{first}..{last}") }
        };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

/// A part of a plan: every `count`-th run, from the `number`-th on, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    count: u32,
}

impl Shard {
    const WHOLE: Shard = Shard { number: 1, count: 1 };

    fn new(number: u32, count: u32) -> Result<Shard, String> {
        if number == 0 || number > count {
            return Err(format!("there is no shard {number} of {count}: they are counted from 1"));
        }
        Ok(Shard { number, count })
    }

    /// Which shard this process is by what a cluster says of it: in a Slurm array `SLURM_ARRAY_TASK_ID` and `_COUNT`, with `_MIN`
    /// and `_STEP`; in a Kubernetes indexed Job `JOB_COMPLETION_INDEX`, and `JOB_COMPLETIONS`, which its manifest must set.
    ///
    /// # Errors
    /// Where that is half there, or no number.
    pub fn of_cluster(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Shard>, String> {
        let number = |name: &str| match variable(name) {
            None => Ok(None),
            Some(text) => text.trim().parse::<u32>().map(Some).map_err(|_| format!("{name}={text} is no number")),
        };
        let needed =
            |name: &str, beside: &str| number(name)?.ok_or_else(|| format!("{beside} is set and {name} is not"));
        if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
            let count = needed("SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_ID")?;
            let (first, step) = (number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0), number("SLURM_ARRAY_TASK_STEP")?);
            let before = id.checked_sub(first).ok_or("SLURM_ARRAY_TASK_ID is below SLURM_ARRAY_TASK_MIN")?;
            return Shard::new(before / step.unwrap_or(1).max(1) + 1, count).map(Some);
        }
        if let Some(index) = number("JOB_COMPLETION_INDEX")? {
            let count = needed("JOB_COMPLETIONS", "JOB_COMPLETION_INDEX")?;
            return Shard::new(index.saturating_add(1), count).map(Some);
        }
        Ok(None)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (number, count) = parts.ok_or_else(|| format!("`{text}` is not I/N, such as 2/8"))?;
        Shard::new(number, count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}
