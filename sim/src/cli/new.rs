//! `new`: a scenario to start from.

use std::io::{self, Write as _};
use std::path::Path;

use super::{Console, USAGE};
use crate::scenario::{Overrides, Scenario};

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
    include_str!("template.toml").replace("NAME", name)
}
