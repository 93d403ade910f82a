//! `faults`: what can go wrong, and what it does.

use std::io;

use super::Console;
use crate::byzantine::{BEHAVIOURS, Spec};
use crate::fault::FAULT_HELP;
use crate::scenario::byzantine::described;

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
    BEHAVIOURS.iter().try_for_each(|spec| behaviour(spec, console))?;
    Ok(0)
}

fn behaviour(spec: &Spec, console: &mut Console<'_>) -> io::Result<()> {
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
    writeln!(console.out)
}
