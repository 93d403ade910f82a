//! `run`: scenarios one after the other, each with its table and its results.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::{Args, ValueEnum};
use marlos::time::{Span, Time};

use super::{Console, INTERRUPTED, USAGE};
use crate::export::{self as trace, Exporting, Exports};
use crate::fault::Timeline;
use crate::log;
use crate::observe::Observation;
use crate::outcome::{Outcome, Wall};
use crate::progress::Progress;
use crate::report;
use crate::report::table::{self, Context};
use crate::retrace;
use crate::scenario::{Overrides, Scenario, Setting};
use crate::sweep::table::shell;
use crate::trace::{Trace, Tracing};
use crate::world::{self, Watcher};

/// The command line of `run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Scenario files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// How they are run.
    #[command(flatten)]
    pub options: RunOptions,
}

/// How scenarios are run.
#[derive(Clone, Debug, Default, Args)]
pub struct RunOptions {
    /// Beats the files' seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Sets a key of the scenarios by its dotted path, such as network.loss=1%
    #[arg(long, value_name = "KEY=VALUE", value_parser = Setting::parse)]
    pub set: Vec<Setting>,
    /// Where results go, instead of results/SCENARIO; with several files, into a directory for each below it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Stops at this simulated time, such as "45s"
    #[arg(long, value_name = "T", value_parser = time)]
    pub until: Option<Time>,
    /// What is logged to stderr
    #[arg(long, value_enum, default_value = "summary")]
    pub log: Log,
    /// Records the run beside its results, in these formats; for `marlos-sim replay` where none is named
    #[arg(
        long,
        value_name = "FORMAT,..",
        value_enum,
        value_delimiter = ',',
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "marlos"
    )]
    pub trace: Vec<trace::Format>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// What is logged to stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// Nothing but the beginning and the end
    #[default]
    Summary,
    /// Faults and what nodes see differently
    Changes,
    /// Every observation
    Full,
}

fn time(text: &str) -> Result<Time, String> {
    Span::parse(text).map(|span| Time(span.0))
}

/// `run FILE..`: all files are read before the first runs, so that a slip in the last does not cost an hour.
///
/// # Errors
/// The console cannot be written to.
pub fn run(files: &[PathBuf], options: &RunOptions, console: &mut Console<'_>) -> io::Result<u8> {
    let mut scenarios = Vec::new();
    let mut worst = 0;
    for file in files {
        match Scenario::load_with(file, Overrides { seed: options.seed }, &options.set) {
            Ok(scenario) => scenarios.push((file, scenario)),
            Err(diagnostic) => worst = console.complain(&diagnostic)?,
        }
    }
    if worst != 0 {
        return Ok(worst);
    }
    let several = scenarios.len() > 1;
    for (file, scenario) in scenarios {
        if INTERRUPTED.load(Ordering::Relaxed) {
            writeln!(console.err, "interrupted: {} was not run", scenario.name)?;
            worst = worst.max(1);
            continue;
        }
        let directory = match &options.out {
            Some(out) if several => out.join(&scenario.name),
            Some(out) => out.clone(),
            None => Path::new("results").join(&scenario.name),
        };
        worst = worst.max(run_one(file, scenario, options, &directory, console)?);
    }
    Ok(worst)
}

fn run_one(
    file: &Path,
    scenario: Scenario,
    options: &RunOptions,
    directory: &Path,
    console: &mut Console<'_>,
) -> io::Result<u8> {
    let name = scenario.name.clone();
    for line in Timeline::new(&scenario).describe(&scenario) {
        writeln!(console.err, "{line}")?;
    }
    if options.log != Log::Summary {
        writeln!(console.err, "{}", log::HEADING)?;
    }
    let mut trace = options.trace.contains(&trace::Format::Marlos).then(|| Trace::begin(&scenario));
    let mut exports = match Exports::begin(&options.trace, &scenario, directory) {
        Ok(exports) => exports,
        Err(why) => {
            writeln!(console.err, "error: {name}: {why}")?;
            return Ok(USAGE);
        }
    };
    let mut outcome = simulate(scenario, options, &mut trace, &mut exports, console);
    if !outcome.last_changes.is_empty() {
        outcome.messages = retrace::last_messages(&outcome);
    }
    if INTERRUPTED.load(Ordering::Relaxed) {
        writeln!(console.err, "interrupted: {name} ends at {} of {}", outcome.reached, outcome.scenario.duration)?;
    }
    let toml = outcome.scenario.to_toml();
    if let Err(why) = report::write(&outcome, &toml, directory) {
        writeln!(console.err, "error: {name}: {why}")?;
        return Ok(USAGE);
    }
    let recorded =
        trace.map_or(Ok(()), |trace| report::write_bytes(&directory.join("trace.marlos"), &trace.end(outcome.reached)));
    if let Err(why) = recorded.and_then(|()| exports.end(outcome.reached, directory)) {
        writeln!(console.err, "error: {name}: {why}")?;
        return Ok(USAGE);
    }
    match options.format {
        Format::Json => writeln!(console.out, "{}", report::summary::json(&outcome))?,
        Format::Table => {
            let set = options.set.iter().map(|setting| format!(" --set {}", shell(&setting.to_string())));
            let context = Context {
                file: &set.fold(file.display().to_string(), |command, set| command + &set),
                written_to: Some(directory),
                colour: table::wants_colour(),
            };
            write!(console.out, "{}", table::render(&outcome, context))?;
        }
    }
    writeln!(console.err, "{}", table::speed_line(&outcome))?;
    Ok(outcome.exit_code())
}

/// Runs a scenario and measures the machine while at it.
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "run.json says how long a run took; the run does not know"
)]
fn simulate(
    scenario: Scenario,
    options: &RunOptions,
    trace: &mut Option<Trace>,
    exports: &mut Exports,
    console: &mut Console<'_>,
) -> Outcome {
    let until = options.until.unwrap_or(scenario.duration).min(scenario.duration);
    let progress = Progress::new(&scenario.name, until);
    let mut watcher = OnConsole { progress, log: options.log, err: console.err };
    let mut watcher = Exporting { exports, other: &mut watcher };
    let start = std::time::Instant::now();
    let mut outcome = match trace {
        Some(trace) => world::run(scenario, options.until, &mut Tracing { trace, other: &mut watcher }),
        None => world::run(scenario, options.until, &mut watcher),
    };
    let seconds = start.elapsed().as_secs_f64();
    outcome.wall = Wall {
        seconds,
        events_per_second: outcome.events as f64 / seconds,
        deliveries_per_second: outcome.deliveries as f64 / seconds,
        peak_memory_bytes: peak_memory_bytes(),
    };
    outcome
}

/// The largest resident memory of this process so far, where Linux tells.
#[expect(clippy::disallowed_methods, reason = "run.json says how much memory a run took; the run does not know")]
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read("/proc/self/status").ok()?;
    let status = String::from_utf8(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Shows how far a run is and, where asked for, what happens in it.
struct OnConsole<'c> {
    progress: Progress,
    log: Log,
    err: &'c mut dyn Write,
}

impl Watcher for OnConsole<'_> {
    fn at(&mut self, now: Time, events: u64) -> bool {
        self.progress.at(now, events);
        !INTERRUPTED.load(Ordering::Relaxed)
    }

    fn change(&mut self, now: Time, observation: &Observation<'_>) {
        if self.log == Log::Full || observation.is_change() {
            let err = &mut self.err;
            // Where nobody reads the log any more, the run goes on all the same.
            let _ = self.progress.suspend(|| writeln!(err, "{}", log::line(now, observation)));
        }
    }

    fn wants_changes(&self) -> bool {
        self.log != Log::Summary
    }
}
