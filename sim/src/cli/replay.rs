//! `replay TRACE`: a recording runs again, and its first difference is named.

use std::io;
use std::path::Path;

use super::{Console, USAGE};
use crate::replay::{self, End};

/// Bytes of a recording at most.
const MOST: u64 = 4 << 30;

/// `replay TRACE`: exits with 0 where the same was said, with 3 where not, and with 2 where the recording cannot be used.
///
/// # Errors
/// The console cannot be written to.
pub fn replay(file: &Path, console: &mut Console<'_>) -> io::Result<u8> {
    let replayed = read(file).and_then(|bytes| replay::replay(&bytes));
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(why) => {
            writeln!(console.err, "error: {}: {why}", file.display())?;
            return Ok(USAGE);
        }
    };
    writeln!(console.out, "{}: {} calls said the same, hash {}", replayed.who, replayed.calls, replayed.hash)?;
    match replayed.end {
        End::Same => Ok(0),
        End::CutOff => {
            writeln!(console.out, "the recording has no end: its process was killed, or still runs")?;
            Ok(0)
        }
        End::Diverged(divergence) => {
            writeln!(console.out, "the first difference: {divergence}")?;
            Ok(3)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the user named the file; nothing of it reaches a running world but what it says"
)]
fn read(file: &Path) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > MOST {
        return Err(format!("it has {length} bytes; at most {MOST} are replayed"));
    }
    std::fs::read(file).map_err(|error| format!("cannot be read: {error}"))
}
