//! `completions`: what a shell needs to complete commands, flags and files.

use std::io;

use clap::Subcommand as _;
use clap_complete::Shell;

use super::{Command, Console};

/// The program as shells call it.
const PROGRAM: &str = "marlos-sim";

/// `completions SHELL`: the script, made from the same definitions that the command line is parsed by.
///
/// # Errors
/// The console cannot be written to.
pub fn completions(shell: Shell, console: &mut Console<'_>) -> io::Result<u8> {
    let mut program = Command::augment_subcommands(clap::Command::new(PROGRAM));
    // In memory first: the generator panics where its output is closed early, as by `| head`.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, PROGRAM, &mut script);
    console.out.write_all(&script)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut console = Console { out: &mut out, err: &mut err, coloured: false };
            assert_eq!(completions(shell, &mut console).expect("memory takes everything"), 0);
            let script = String::from_utf8(out).expect("text");
            let program = Command::augment_subcommands(clap::Command::new(PROGRAM));
            for command in program.get_subcommands().map(clap::Command::get_name) {
                assert!(script.contains(command), "{shell} does not know {command}");
            }
            assert!(script.contains("tolerance"), "{shell}");
        }
    }
}
