//! `sweep` and `merge`: many seeds and settings, on all cores, here or on many machines.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Console, INTERRUPTED, USAGE};
use crate::many::all_cores;
use crate::report;
use crate::scenario::{Diagnostic, Overrides, Scenario, Setting};
use crate::sweep::results::{MARKER, OURS, Results};
use crate::sweep::{self, CASES, Case, Plan, RUNS, Seeds, Shard, table};

/// The command line of `sweep`.
#[derive(Clone, Debug, Args)]
pub struct Sweep {
    /// Scenario files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Each scenario and setting runs with each of them: 1..200 with both ends, 7, 1..5,9
    #[arg(long, value_name = "A..B")]
    pub seeds: Seeds,
    /// Sets a key of the scenarios, by its dotted path, to each of these values; several: all combinations
    #[arg(long, value_name = "KEY=V1,V2", value_parser = settings)]
    pub set: Vec<Choice>,
    /// Runs at once [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Does every N-th run from the I-th on, for `merge` to join [default: by SLURM_ARRAY_TASK_ID and _COUNT, or
    /// JOB_COMPLETION_INDEX and JOB_COMPLETIONS, where these are set]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Ends after the first run that does not pass
    #[arg(long)]
    pub fail_fast: bool,
    /// Where results go, instead of results/sweep or results/sweep-I-of-N
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The command line of `merge`.
#[derive(Clone, Debug, Args)]
pub struct Merge {
    /// What the shards of one sweep left
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
    /// Where the whole goes
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// What one `--set` lets a key be.
#[derive(Clone, Debug)]
pub struct Choice(Vec<Setting>);

fn settings(text: &str) -> Result<Choice, String> {
    Setting::parse_all(text).map(Choice)
}

/// `sweep FILE.. --seeds A..B`: all scenarios are read with all settings before the first runs.
///
/// # Errors
/// The console cannot be written to.
pub fn sweep(arguments: &Sweep, console: &mut Console<'_>) -> io::Result<u8> {
    let of_cluster = Shard::of_cluster(|name| std::env::var(name).ok());
    let shard = match arguments.shard.map_or(of_cluster, |shard| Ok(Some(shard))) {
        Ok(shard) => shard,
        Err(why) => return usage(console, &why),
    };
    let cases = match read(arguments) {
        Ok(cases) => cases,
        Err(Wrong::Scenario(diagnostic)) => return console.complain(&diagnostic),
        Err(Wrong::Usage(why)) => return usage(console, &why),
    };
    let plan = Plan { cases, seeds: arguments.seeds.clone(), shard };
    if plan.runs() > RUNS {
        return usage(console, &format!("these are {} runs, of at most {RUNS}", plan.runs()));
    }
    let out = arguments.out.clone().unwrap_or_else(|| {
        let name = shard.map_or_else(|| "sweep".to_owned(), |shard| format!("sweep-{shard}").replace('/', "-of-"));
        Path::new("results").join(name)
    });
    let threads = arguments.threads.unwrap_or_else(all_cores);
    let clock = Clock::start();
    let written = report::replace(&out, MARKER, &OURS, |dir| {
        sweep::sweep(&plan, threads, arguments.fail_fast, &INTERRUPTED, dir)
    });
    conclude(written, &out, console, |runs| clock.speed(runs, threads))
}

/// `merge DIR.. --out DIR`: as if one process had done it all.
///
/// # Errors
/// The console cannot be written to.
pub fn merge(arguments: &Merge, console: &mut Console<'_>) -> io::Result<u8> {
    let written = report::replace(&arguments.out, MARKER, &OURS, |dir| sweep::merge::merge(&arguments.dirs, dir));
    conclude(written, &arguments.out, console, |runs| format!("{runs} runs of {} shards", arguments.dirs.len()))
}

fn conclude(
    written: io::Result<Results>,
    out: &Path,
    console: &mut Console<'_>,
    speed: impl FnOnce(u64) -> String,
) -> io::Result<u8> {
    let results = match written {
        Ok(results) => results,
        Err(why) => return usage(console, &why.to_string()),
    };
    write!(console.out, "{}", table::render(&results))?;
    writeln!(console.out, "Results in {}", out.display())?;
    writeln!(console.err, "{}", speed(results.manifest.done))?;
    Ok(results.exit_code())
}

fn usage(console: &mut Console<'_>, why: &str) -> io::Result<u8> {
    writeln!(console.err, "error: {why}")?;
    Ok(USAGE)
}

/// Why there is nothing to run.
enum Wrong {
    Scenario(Diagnostic),
    Usage(String),
}

/// Every file with every combination of the settings.
fn read(arguments: &Sweep) -> Result<Vec<Case>, Wrong> {
    let combinations = product(&arguments.set).map_err(Wrong::Usage)?;
    let mut cases: Vec<Case> = Vec::new();
    for file in &arguments.files {
        for settings in &combinations {
            let scenario = Scenario::load_with(file, Overrides::default(), settings).map_err(Wrong::Scenario)?;
            let file = file.display().to_string();
            if let Some(other) = cases.iter().find(|case| case.file != file && case.scenario.name == scenario.name) {
                let name = &scenario.name;
                return Err(Wrong::Usage(format!("{file} and {} are both named `{name}`", other.file)));
            }
            if cases.iter().any(|case| case.file == file && case.settings == *settings) {
                return Err(Wrong::Usage(format!("{file} is there twice with the same settings")));
            }
            cases.push(Case { file, settings: settings.clone(), scenario });
        }
    }
    Ok(cases)
}

/// The last key varies fastest.
fn product(choices: &[Choice]) -> Result<Vec<Vec<Setting>>, String> {
    let mut all = vec![Vec::new()];
    for Choice(values) in choices {
        if all.len() * values.len() > CASES {
            return Err(format!("these are more than {CASES} combinations of settings"));
        }
        all = all
            .iter()
            .flat_map(|before: &Vec<Setting>| {
                values.iter().map(move |value| before.iter().cloned().chain([value.clone()]).collect())
            })
            .collect();
    }
    Ok(all)
}

/// How long it took, for people.
struct Clock(#[expect(clippy::disallowed_types, reason = "people want to know how fast it was")] std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "people want to know how fast it was")]
    fn start() -> Clock {
        Clock(std::time::Instant::now())
    }

    fn speed(&self, runs: u64, threads: NonZeroUsize) -> String {
        let seconds = self.0.elapsed().as_secs_f64();
        format!("{runs} runs in {seconds:.1} s on {threads} threads, {:.2} runs/s", runs as f64 / seconds)
    }
}
