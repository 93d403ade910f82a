//! `schema`: what editors know of a scenario file.

use std::io;

use super::Console;
use crate::scenario::schema as of_scenarios;

/// `schema`: the JSON Schema of scenario files.
///
/// # Errors
/// The console cannot be written to.
pub fn schema(console: &mut Console<'_>) -> io::Result<u8> {
    writeln!(console.out, "{:#}", of_scenarios::schema())?;
    Ok(0)
}
