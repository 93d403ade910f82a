//! `marlos-sim`: what the commands are and do stands in [`marlos_sim::cli`].

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser;
use marlos_sim::cli::{self, Command, Console};

/// Runs the MarlOS node in simulated networks: seeded, with faults, judged by KPIs and checks.
#[derive(Parser)]
#[command(name = "marlos-sim", version, about, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit: 0 all passed, 1 a KPI missed or UNKNOWN, 2 usage or invalid scenario, 3 a safety check \
                          violated, 4 liveness not reached. Several files: the highest.";

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
    let result = arguments.command.execute(&mut Console { out: &mut out, err: &mut err, coloured });
    match result.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // Whoever reads our output has seen enough: `marlos-sim faults | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(cli::USAGE),
    }
}
