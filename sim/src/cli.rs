//! What the commands of `marlos-sim` do; the binary itself only reads arguments.
//!
//! Results go to `out`, everything else to `err`, and the returned number is the exit code of the contract.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use marlos::time::{Span, Time};

use crate::byzantine::BEHAVIOURS;
use crate::fault::{FAULT_HELP, Timeline, last_fault_end};
use crate::observe::Observation;
use crate::outcome::{Outcome, Wall};
use crate::progress::Progress;
use crate::report;
use crate::report::table::{self, Context};
use crate::scenario::byzantine::described;
use crate::scenario::{Diagnostic, Overrides, Scenario};
use crate::world::{self, Watcher};

/// Exit code for wrong usage and invalid scenarios.
pub const USAGE: u8 = 2;

/// Where scenarios live, relative to the directory in which the command runs.
pub const SCENARIOS: &str = "scenarios";

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What is logged to stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// Nothing but the beginning and the end.
    #[default]
    Summary,
    /// Faults and what nodes see differently.
    Changes,
    /// Every observation.
    Full,
}

/// The arguments of `run`.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Beats the files' seed.
    pub seed: Option<u64>,
    /// Where results go instead of `results/<scenario>`; with several files, into a directory for each below it.
    pub out: Option<PathBuf>,
    /// How results are printed.
    pub format: Format,
    /// Stop here, earlier than the scenario says.
    pub until: Option<Time>,
    /// What is logged.
    pub log: Log,
}

/// Where the commands write.
pub struct Console<'c> {
    /// Results.
    pub out: &'c mut dyn Write,
    /// Progress, logs and errors.
    pub err: &'c mut dyn Write,
    /// Whether `err` shows colours.
    pub coloured: bool,
}

impl Console<'_> {
    fn complain(&mut self, diagnostic: &Diagnostic) -> io::Result<u8> {
        writeln!(self.err, "{}", diagnostic.render(self.coloured))?;
        Ok(USAGE)
    }
}

/// `run FILE..`: all files are read before the first runs, so that a slip in the last does not cost an hour.
///
/// # Errors
/// The console cannot be written to.
pub fn run(files: &[PathBuf], options: &RunOptions, console: &mut Console<'_>) -> io::Result<u8> {
    let mut scenarios = Vec::new();
    let mut worst = 0;
    for file in files {
        match Scenario::load(file, Overrides { seed: options.seed }) {
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
    let outcome = simulate(scenario, options, console);
    if INTERRUPTED.load(Ordering::Relaxed) {
        writeln!(console.err, "interrupted: {name} ends at {} of {}", outcome.reached, outcome.scenario.duration)?;
    }
    let toml = outcome.scenario.to_toml();
    if let Err(why) = report::write(&outcome, &toml, directory) {
        writeln!(console.err, "error: {name}: {why}")?;
        return Ok(USAGE);
    }
    match options.format {
        Format::Json => writeln!(console.out, "{}", report::summary::json(&outcome))?,
        Format::Table => {
            let context = Context {
                file: &file.display().to_string(),
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
fn simulate(scenario: Scenario, options: &RunOptions, console: &mut Console<'_>) -> Outcome {
    let until = options.until.unwrap_or(scenario.duration).min(scenario.duration);
    let progress = Progress::new(&scenario.name, until);
    let mut watcher = OnConsole { progress, log: options.log, err: console.err };
    let start = std::time::Instant::now();
    let mut outcome = world::run(scenario, options.until, &mut watcher);
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

/// Set by Ctrl-C: the run under way ends at its next look, and what is finished is written.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

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
            let _ = self.progress.suspend(|| writeln!(err, "{:>14} {observation:?}", now.to_string()));
        }
    }

    fn wants_changes(&self) -> bool {
        self.log != Log::Summary
    }
}

/// `check FILE..`: one line for each valid file, what is wrong with each other.
///
/// # Errors
/// The console cannot be written to.
pub fn check(files: &[PathBuf], console: &mut Console<'_>) -> io::Result<u8> {
    let mut worst = 0;
    for file in files {
        match Scenario::load(file, Overrides::default()) {
            Ok(scenario) => writeln!(console.out, "{}: {}", file.display(), summary(&scenario))?,
            Err(diagnostic) => worst = console.complain(&diagnostic)?,
        }
    }
    Ok(worst)
}

fn summary(scenario: &Scenario) -> String {
    let faults = match last_fault_end(scenario) {
        Some(last) => format!("faults: {}, the last ends at {}", scenario.faults.len(), Span(last.0)),
        None => "faults: none".to_owned(),
    };
    let duration = Span(scenario.duration.0);
    format!("valid: {} nodes, {duration}, {}, {faults}", scenario.nodes.len(), scenario.network.profile)
}

/// `list`: the scenarios of a directory with what they show.
///
/// # Errors
/// The console cannot be written to.
pub fn list(directory: &Path, console: &mut Console<'_>) -> io::Result<u8> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            writeln!(console.err, "error: cannot list `{}`: {error}", directory.display())?;
            return Ok(USAGE);
        }
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    // The order of a directory is the file system's own.
    files.sort_unstable();
    let mut worst = 0;
    for file in files {
        match Scenario::load(&file, Overrides::default()) {
            Ok(scenario) => writeln!(console.out, "{:<40} {}", file.display(), scenario.shows)?,
            Err(diagnostic) => worst = console.complain(&diagnostic)?,
        }
    }
    Ok(worst)
}

/// `new NAME`: a template with a comment for each key.
///
/// # Errors
/// The console cannot be written to.
pub fn new(name: &str, directory: &Path, console: &mut Console<'_>) -> io::Result<u8> {
    let text = template(name);
    if let Err(diagnostic) = Scenario::parse(&text, name, Overrides::default(), &|_| Err(String::new())) {
        writeln!(console.err, "error: {}", diagnostic.message())?;
        return Ok(USAGE);
    }
    let file = directory.join(format!("{name}.toml"));
    let written = std::fs::create_dir_all(directory).and_then(|()| {
        let mut new = std::fs::OpenOptions::new().write(true).create_new(true).open(&file)?;
        new.write_all(text.as_bytes())
    });
    match written {
        Ok(()) => writeln!(console.out, "{}", file.display())?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            writeln!(console.err, "error: `{}` is already there; it is left as it is", file.display())?;
            return Ok(USAGE);
        }
        Err(error) => {
            writeln!(console.err, "error: cannot write `{}`: {error}", file.display())?;
            return Ok(USAGE);
        }
    }
    Ok(0)
}

/// A scenario to start from.
#[must_use]
pub fn template(name: &str) -> String {
    include_str!("cli/template.toml").replace("NAME", name)
}

/// `faults`: every kind with its keys, an example, and what it does to messages under way.
///
/// # Errors
/// The console cannot be written to.
pub fn faults(console: &mut Console<'_>) -> io::Result<u8> {
    writeln!(
        console.out,
        "Each fault begins at `at` and lasts `for` a time or `until` one. With every = \"10s\" and times = 30 it happens thirty \
         times, each ten seconds after the one before; scenario.toml in the results spells them out.\n"
    )?;
    for help in FAULT_HELP {
        writeln!(console.out, "{}\n  {}\n  keys: at, {}", help.kind, help.what, help.keys)?;
        writeln!(console.out, "  messages under way: {}\n", help.under_way)?;
        writeln!(console.out, "    [[fault]]")?;
        for line in help.example.lines() {
            writeln!(console.out, "    {line}")?;
        }
        writeln!(console.out)?;
    }
    for spec in BEHAVIOURS {
        writeln!(console.out, "byzantine, behaviour = \"{}\"\n  {}", spec.name, spec.what)?;
        for key in spec.keys {
            writeln!(console.out, "  {}", described(key))?;
        }
        writeln!(console.out, "  messages under way: {}\n", spec.under_way)?;
        writeln!(console.out, "    [[fault]]\n    at = \"20s\"\n    kind = \"byzantine\"\n    nodes = [\"n7..n9\"]")?;
        writeln!(console.out, "    behaviour = \"{}\"", spec.name)?;
        for line in spec.example.lines() {
            writeln!(console.out, "    {line}")?;
        }
        writeln!(console.out)?;
    }
    Ok(0)
}
