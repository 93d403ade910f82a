//! `run --record FILE`: everything that the node hears, for `marlos-sim replay`.
//!
//! A recording is a copy of what came in and of what the store held, and says which jobs were run: the file is for the operator's eyes
//! (mode 0600), and never replaces another. It does not hold the private key ([`crate::recording`]). What cannot be written ends the
//! recording, not the node.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::Config;
use crate::identity::{Keys, StrictVerifier};
use crate::io::{Input, Outbox, Verify};
use crate::recording::Recorder;
use crate::time::Now;

/// The recording of this process, if there is one.
#[derive(Debug, Default)]
pub struct Recording {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    recorder: Recorder,
    file: BufWriter<File>,
    /// What the next record lies in; kept for its room.
    bytes: Vec<u8>,
}

impl Recording {
    /// Begins a recording of a node that has not started.
    ///
    /// # Errors
    /// A sentence: the file cannot be made, or is there already.
    pub fn begin(path: &Path, config: &Config, keys: &Keys, generator: [u8; 32]) -> Result<Recording, String> {
        let options = File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = options.map_err(|error| format!("cannot record to {}: {error}", path.display()))?;
        let mut bytes = Vec::new();
        let recorder = Recorder::begin(config, keys, generator, &mut bytes);
        let mut recording = Recording { open: Some(Open { recorder, file: BufWriter::new(file), bytes }) };
        recording.write();
        Ok(recording)
    }

    /// Calls the node with what it is to verify with, and records the call where there is a recording.
    pub fn call(
        &mut self,
        now: Now,
        input: Input<'_>,
        outbox: &mut Outbox,
        handle: impl FnOnce(Input<'_>, &mut dyn Verify, &mut Outbox),
    ) {
        let Some(open) = &mut self.open else { return handle(input, &mut StrictVerifier, outbox) };
        let from = outbox.actions.len();
        handle(input, &mut open.recorder.listen(&mut StrictVerifier), outbox);
        open.recorder.call(now, &input, outbox, from, &mut open.bytes);
        self.write();
    }

    /// The process ends.
    pub fn end(&mut self) {
        if let Some(Open { recorder, mut file, mut bytes }) = self.open.take() {
            recorder.end(&mut bytes);
            if let Err(error) = file.write_all(&bytes).and_then(|()| file.flush()) {
                tracing::warn!(%error, "the recording has no end");
            }
        }
    }

    fn write(&mut self) {
        let Some(open) = &mut self.open else { return };
        let written = open.file.write_all(&open.bytes);
        open.bytes.clear();
        if let Err(error) = written {
            tracing::warn!(%error, "the recording ends here");
            self.open = None;
        }
    }
}
