//! `marlos-sim`: the arguments of the simulator. What the commands do stands in [`marlos_sim::cli`].

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::{Args, Parser, Subcommand, ValueEnum};
use marlos::time::{Span, Time};
use marlos_sim::cli::{self, Console, Format, Log, RunOptions};

/// Runs the MarlOS node in simulated networks: seeded, with faults, judged by KPIs and checks.
#[derive(Parser)]
#[command(name = "marlos-sim", version, about, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit: 0 all passed, 1 a KPI missed or UNKNOWN, 2 usage or invalid scenario, 3 a safety check \
                          violated, 4 liveness not reached. Several files: the highest.";

#[derive(Subcommand)]
enum Command {
    /// Runs scenarios, prints the KPI table, writes results
    Run(Run),
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
    /// Shows every kind of fault: keys, an example, and what it does to messages under way
    Faults,
}

#[derive(Args)]
struct Run {
    /// Scenario files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Beats the files' seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where results go, instead of results/<scenario>
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    format: FormatArgument,
    /// Stops at this simulated time, such as "45s"
    #[arg(long, value_name = "T", value_parser = time)]
    until: Option<Time>,
    /// What is logged to stderr
    #[arg(long, value_enum, default_value = "summary")]
    log: LogArgument,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArgument {
    Table,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogArgument {
    Summary,
    Changes,
    Full,
}

fn time(text: &str) -> Result<Time, String> {
    Span::parse(text).map(|span| Time(span.0))
}

impl Run {
    fn options(&self) -> RunOptions {
        RunOptions {
            seed: self.seed,
            out: self.out.clone(),
            format: match self.format {
                FormatArgument::Table => Format::Table,
                FormatArgument::Json => Format::Json,
            },
            until: self.until,
            log: match self.log {
                LogArgument::Summary => Log::Summary,
                LogArgument::Changes => Log::Changes,
                LogArgument::Full => Log::Full,
            },
        }
    }
}

/// What a shell says of a program that was interrupted.
const INTERRUPTED_TWICE: i32 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The first Ctrl-C ends the run under way at its next look and writes what it has; the second ends the program.
    let handler = ctrlc::set_handler(|| {
        if cli::INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED_TWICE);
        }
    });
    debug_assert!(handler.is_ok(), "nobody else handles Ctrl-C here");
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let coloured = err.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut console = Console { out: &mut out, err: &mut err, coloured };
    let scenarios = Path::new(cli::SCENARIOS);
    let result = match &arguments.command {
        Command::Run(run) => cli::run(&run.files, &run.options(), &mut console),
        Command::Check { files } => cli::check(files, &mut console),
        Command::List => cli::list(scenarios, &mut console),
        Command::New { name } => cli::new(name, scenarios, &mut console),
        Command::Faults => cli::faults(&mut console),
    };
    match result.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // Whoever reads our output has seen enough: `marlos-sim faults | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(cli::USAGE),
    }
}
