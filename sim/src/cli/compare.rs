//! `compare`: whether NEW is worse than BASE, for people, for programs, and for those who wait for a CI server.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Console, Format, USAGE};
use crate::compare::side::Side;
use crate::compare::tolerance::{Tolerance, Tolerances};
use crate::compare::{self, Comparison, junit, markdown, table};
use crate::report;

/// Exit code where something is worse.
const REGRESSION: u8 = 1;

/// The command line of `compare`.
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// Results of `sweep`, `merge` or `run`, or a directory of such: what it was like
    pub base: PathBuf,
    /// The same of what is judged
    pub new: PathBuf,
    /// How much worse a KPI may be: consensus=2%, jobs_failed=1, or 2% for everything that is no count [default: 1%, of counts 0]
    #[arg(long, value_name = "[KPI=]VALUE", value_delimiter = ',')]
    pub tolerance: Vec<Tolerance>,
    /// Writes JUnit XML, for a CI server
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Writes Markdown, for a pull request
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// How the comparison is printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// `compare BASE NEW`: 1 where something is worse, else 0.
///
/// # Errors
/// The console cannot be written to.
pub fn compare(arguments: &Compare, console: &mut Console<'_>) -> io::Result<u8> {
    let comparison = match compared(arguments) {
        Ok(comparison) => comparison,
        Err(why) => {
            writeln!(console.err, "error: {why}")?;
            return Ok(USAGE);
        }
    };
    match arguments.format {
        Format::Table => write!(console.out, "{}", table::render(&comparison))?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *console.out, &comparison)?;
            writeln!(console.out)?;
        }
    }
    Ok(if comparison.regressed { REGRESSION } else { 0 })
}

fn compared(arguments: &Compare) -> Result<Comparison, String> {
    let read = |dir: &Path| Side::read(dir).map_err(|why| why.to_string());
    let (base, new) = (read(&arguments.base)?, read(&arguments.new)?);
    let comparison = compare::compare(&base, &new, &Tolerances::of(&arguments.tolerance))?;
    let texts = [(&arguments.junit, junit::render(&comparison)), (&arguments.markdown, markdown::render(&comparison))];
    for (file, text) in texts {
        if let Some(file) = file {
            report::write_file(file, &text).map_err(|why| why.to_string())?;
        }
    }
    Ok(comparison)
}
