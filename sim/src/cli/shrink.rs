//! `shrink FILE`: the smallest scenario that is still wrong in the same way.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Console, INTERRUPTED, USAGE};
use crate::many;
use crate::report;
use crate::scenario::{Overrides, Scenario};
use crate::shrink::{self, Bench, Wronged};

/// The arguments of `shrink`.
#[derive(Args, Clone, Debug)]
pub struct ShrinkOptions {
    /// A scenario that fails
    pub file: PathBuf,
    /// Beats the file's seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where the smallest one goes, instead of results/SCENARIO-shrunk.toml
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Threads, instead of one for each core
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

/// `shrink FILE`: exits as a run of the file does; where nothing is wrong with it, says so and writes nothing.
///
/// # Errors
/// The console cannot be written to.
pub fn shrink(options: &ShrinkOptions, console: &mut Console<'_>) -> io::Result<u8> {
    let scenario = match Scenario::load(&options.file, Overrides { seed: options.seed }) {
        Ok(scenario) => scenario,
        Err(diagnostic) => return console.complain(&diagnostic),
    };
    let bench = Bench { threads: options.threads.unwrap_or_else(many::all_cores), interrupted: &INTERRUPTED };
    let default = || Path::new("results").join(format!("{}-shrunk.toml", scenario.name));
    let out = options.out.clone().unwrap_or_else(default);
    let Some(start) = shrink::wrong(scenario, bench) else {
        writeln!(console.out, "{}: nothing is wrong with this run", options.file.display())?;
        return Ok(0);
    };
    writeln!(console.err, "{}\n  {}", start.finding, size(&start.scenario))?;
    let before = size(&start.scenario);
    let mut printed = Ok(());
    let end = shrink::shrink(start, bench, |smaller, pass, runs| {
        let line = writeln!(console.err, "  {} ({pass}, {runs} runs)", size(&smaller.scenario));
        printed = std::mem::replace(&mut printed, Ok(())).and(line);
    });
    printed?;
    if let Err(why) = report::write_file(&out, &text(&end, &out)) {
        writeln!(console.err, "error: {why}")?;
        return Ok(USAGE);
    }
    writeln!(console.out, "{}", end.finding)?;
    writeln!(console.out, "from {before}\nto   {}", size(&end.scenario))?;
    writeln!(console.out, "marlos-sim run {}", out.display())?;
    Ok(end.finding.wrong.exit_code())
}

/// A scenario's size, for people.
fn size(scenario: &Scenario) -> String {
    let jobs = scenario.workload.as_ref().map_or("no jobs".to_owned(), |load| {
        let (start, end) = (load.start, load.end);
        format!("{}.{:03} jobs/s from {start} to {end}", load.jobs_per_1000_s / 1_000, load.jobs_per_1000_s % 1_000)
    });
    format!("{} faults, {} nodes, {}, {jobs}", scenario.faults.len(), scenario.nodes.len(), scenario.duration)
}

/// The scenario as a file that says what it shows and how it is run.
fn text(wronged: &Wronged, file: &Path) -> String {
    let mut scenario = wronged.scenario.clone();
    scenario.shows.clone_from(&wronged.finding.fingerprint);
    let toml = scenario.to_toml();
    let (first, rest) = toml.split_once('\n').unwrap_or((&toml, ""));
    let detail: String = wronged.finding.detail.lines().map(|line| format!("# {line}\n")).collect();
    format!("{first}\n#\n{detail}#\n# marlos-sim run {}\n{rest}", file.display())
}
