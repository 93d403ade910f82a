//! `run --trace=perfetto,pcapng`: a run in the formats of programs that people already have, written as it goes.
//!
//! Nothing is gathered: what a run shows is written at once, so that a long run costs disk and no memory. A file is written beside the
//! results directory and moved into it at the end, since that directory is put in place as a whole. What cannot be written is told once,
//! at the end; the run goes on.

mod pcapng;
mod perfetto;

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use marlos::io::Outbox;
use marlos::time::Time;

pub use pcapng::Pcapng;
pub use perfetto::Perfetto;

use crate::network::Delivery;
use crate::observe::Observation;
use crate::report;
use crate::scenario::{NodeNo, Scenario};
use crate::world::{Origin, Watcher};

/// A format of `run --trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Format {
    /// trace.marlos, for `marlos-sim replay`
    Marlos,
    /// trace.perfetto.json, for <https://ui.perfetto.dev> and chrome://tracing: jobs, faults, deaths and takeovers over time
    Perfetto,
    /// trace.pcapng, for Wireshark and tshark: each frame as it reaches each node
    Pcapng,
}

/// The exports of a run under way.
#[derive(Debug, Default)]
pub struct Exports {
    perfetto: Option<(Partial, Perfetto<BufWriter<File>>)>,
    pcapng: Option<(Partial, Pcapng<BufWriter<File>>)>,
}

/// A file that is not in its place yet, and is gone if it never gets there.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    name: &'static str,
}

impl Partial {
    /// Beside the results directory `dir`, for `name` in it.
    fn create(dir: &Path, name: &'static str) -> io::Result<(Partial, BufWriter<File>)> {
        let path = report::sibling(dir, name)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| report::at(parent, "create", &e))?;
        }
        #[expect(clippy::disallowed_methods, reason = "results are files")]
        let file = File::create(&path).map_err(|e| report::at(&path, "create", &e))?;
        Ok((Partial { path, name }, BufWriter::new(file)))
    }

    fn move_into(&self, dir: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, dir.join(self.name)).map_err(|e| report::at(&self.path, "move", &e))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already where it was moved.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Exports {
    /// Of a run whose results go to `dir`, in those `formats` that are exports.
    ///
    /// # Errors
    /// A file beside `dir` cannot be created.
    pub fn begin(formats: &[Format], scenario: &Scenario, dir: &Path) -> io::Result<Exports> {
        let mut exports = Exports::default();
        for format in formats {
            match format {
                Format::Marlos => {}
                Format::Perfetto => {
                    let (partial, file) = Partial::create(dir, "trace.perfetto.json")?;
                    exports.perfetto = Some((partial, Perfetto::begin(file, scenario)));
                }
                Format::Pcapng => {
                    let (partial, file) = Partial::create(dir, "trace.pcapng")?;
                    exports.pcapng = Some((partial, Pcapng::begin(file, scenario)));
                }
            }
        }
        Ok(exports)
    }

    /// The run is over at `reached`, and its results are in `dir`: the files go there.
    ///
    /// # Errors
    /// The first thing that could not be written since the beginning.
    pub fn end(self, reached: Time, dir: &Path) -> io::Result<()> {
        if let Some((partial, perfetto)) = self.perfetto {
            perfetto.end(reached).map_err(|e| report::at(&partial.path, "write", &e))?;
            partial.move_into(dir)?;
        }
        if let Some((partial, pcapng)) = self.pcapng {
            pcapng.end().map_err(|e| report::at(&partial.path, "write", &e))?;
            partial.move_into(dir)?;
        }
        Ok(())
    }
}

/// Watches a world for its exports, and passes on to another watcher.
pub struct Exporting<'w> {
    /// The exports.
    pub exports: &'w mut Exports,
    /// Who else watches.
    pub other: &'w mut dyn Watcher,
}

impl Watcher for Exporting<'_> {
    fn at(&mut self, now: Time, events: u64) -> bool {
        self.other.at(now, events)
    }

    fn change(&mut self, now: Time, observation: &Observation<'_>) {
        if let Some((_, perfetto)) = &mut self.exports.perfetto {
            perfetto.observe(now, observation);
        }
        if self.other.wants_changes() {
            self.other.change(now, observation);
        }
    }

    fn wants_changes(&self) -> bool {
        self.exports.perfetto.is_some() || self.other.wants_changes()
    }

    fn called(&mut self, now: Time, event: u64, node: NodeNo, outbox: &Outbox) {
        self.other.called(now, event, node, outbox);
    }

    fn arrived(&mut self, now: Time, delivery: Delivery, origin: Origin, frame: &[u8]) {
        if let Some((_, pcapng)) = &mut self.exports.pcapng {
            pcapng.arrived(now, delivery, origin, frame);
        }
        self.other.arrived(now, delivery, origin, frame);
    }
}
