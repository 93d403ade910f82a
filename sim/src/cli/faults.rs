//! `faults`: what can go wrong, and what it does.

use std::io;

use super::Console;
use crate::fault::FAULT_HELP;

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
    Ok(0)
}
