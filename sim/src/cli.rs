//! The commands of `marlos-sim`, one file each: its arguments and what it does. The binary itself only parses.
//!
//! Results go to `out`, everything else to `err`, and the returned number is the exit code of the contract.

mod chaos;
mod check;
mod compare;
mod completions;
mod faults;
mod list;
mod new;
mod replay;
mod report;
mod run;
mod schema;
mod shrink;
mod sweep;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Subcommand;
use clap_complete::Shell;

use crate::scenario::Diagnostic;

pub use chaos::{ChaosOptions, chaos};
pub use check::check;
pub use compare::{Compare, compare};
pub use completions::completions;
pub use faults::faults;
pub use list::list;
pub use new::{new, template};
pub use replay::replay;
pub use report::{ReportOptions, report};
pub use run::{Format, Log, Run, RunOptions, run};
pub use schema::schema;
pub use shrink::{ShrinkOptions, shrink};
pub use sweep::{Merge, Sweep, merge, sweep};

/// Exit code for wrong usage and invalid scenarios.
pub const USAGE: u8 = 2;

/// Where scenarios live, relative to the directory in which the command runs.
pub const SCENARIOS: &str = "scenarios";

/// Set by Ctrl-C: the run under way ends at its next look, and what is finished is written.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What `marlos-sim` can be told to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Runs scenarios, prints the KPI table, writes results
    Run(Run),
    /// Runs many seeds and settings in parallel, and names the worst
    Sweep(Sweep),
    /// Joins the results of the shards of a sweep
    Merge(Merge),
    /// Says what became better or worse from BASE to NEW, over paired seeds; exit 1 on a regression
    Compare(Compare),
    /// Random timelines of faults on top of a scenario, many runs of them
    Chaos(ChaosOptions),
    /// The smallest scenario that still fails the same check, as a runnable file
    Shrink(ShrinkOptions),
    /// Runs a recording again, of `run --trace` or of `marlos-node run --record`, and names the first difference
    Replay {
        /// The recording
        trace: PathBuf,
    },
    /// Writes the page of results that were made earlier: one file, which works offline
    Report(ReportOptions),
    /// Says whether scenarios are valid, and what is wrong with them
    Check {
        /// Scenario files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Lists the scenarios in scenarios/ with what they show
    List,
    /// Writes a commented template to scenarios/NAME.toml; never overwrites
    New {
        /// Letters, digits, - and _
        name: String,
    },
    /// Prints the JSON Schema of scenario files, for editors
    Schema,
    /// Shows every kind of fault: keys, an example, and what it does to messages under way
    Faults,
    /// Prints what a shell needs to complete all this: `marlos-sim completions bash > ~/.local/share/bash-completion/completions/marlos-sim`
    Completions {
        /// Which shell
        shell: Shell,
    },
}

impl Command {
    /// Does it, and returns the exit code.
    ///
    /// # Errors
    /// The console cannot be written to.
    pub fn execute(&self, console: &mut Console<'_>) -> io::Result<u8> {
        let scenarios = Path::new(SCENARIOS);
        match self {
            Command::Run(arguments) => run(&arguments.files, &arguments.options, console),
            Command::Sweep(arguments) => sweep(arguments, console),
            Command::Merge(arguments) => merge(arguments, console),
            Command::Compare(arguments) => compare(arguments, console),
            Command::Chaos(options) => chaos(options, console),
            Command::Shrink(options) => shrink(options, console),
            Command::Replay { trace } => replay(trace, console),
            Command::Report(options) => report(options, console),
            Command::Check { files } => check(files, console),
            Command::List => list(scenarios, console),
            Command::New { name } => new(name, scenarios, console),
            Command::Schema => schema(console),
            Command::Faults => faults(console),
            Command::Completions { shell } => completions(*shell, console),
        }
    }
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
