//! `run --trace`: a run as a recording that [`crate::replay`] runs again. A world follows from its scenario, so what its nodes said
//! is recorded as digests alone, call by call.

use marlos::io::Outbox;
use marlos::recording::log::Log;
use marlos::recording::{Entry, VERSION, WorldCall, said};
use marlos::time::Time;
use sha2::{Digest, Sha256};

use crate::network::Delivery;
use crate::observe::Observation;
use crate::scenario::{NodeNo, Scenario};
use crate::world::{Origin, Watcher};

/// Calls in one record.
const CALLS: usize = 1_000;

/// The recording of a world under way.
#[derive(Clone, Debug)]
pub struct Trace {
    log: Log,
    bytes: Vec<u8>,
    waiting: Vec<WorldCall>,
    calls: u64,
    hash: Sha256,
}

impl Trace {
    /// Of a world before its first event.
    #[must_use]
    pub fn begin(scenario: &Scenario) -> Trace {
        let mut bytes = Vec::new();
        let mut log = Log::begin(&mut bytes);
        log.write(&Entry::World { version: VERSION.to_owned(), scenario: scenario.to_toml() }, &mut bytes);
        Trace { log, bytes, waiting: Vec::new(), calls: 0, hash: Sha256::new() }
    }

    /// A node was called.
    pub fn call(&mut self, at: Time, event: u64, node: NodeNo, outbox: &Outbox) {
        let said = said::of(outbox, 0);
        said::hash_into(&mut self.hash, &said);
        self.calls += 1;
        self.waiting.push(WorldCall { event, at: at.0, node: u32::try_from(node).expect("at most 4,096"), said });
        if self.waiting.len() == CALLS {
            self.write_waiting();
        }
    }

    fn write_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.log.write(&Entry::Calls(waiting), &mut self.bytes);
    }

    /// The run is over at `reached`: the recording, as the bytes of its file.
    #[must_use]
    pub fn end(mut self, reached: Time) -> Vec<u8> {
        self.write_waiting();
        self.log.write(
            &Entry::End { calls: self.calls, hash: self.hash.finalize().into(), at: reached.0 },
            &mut self.bytes,
        );
        self.bytes
    }
}

/// Watches a world for its recording, and passes on to another watcher.
pub struct Tracing<'w> {
    /// The recording.
    pub trace: &'w mut Trace,
    /// Who else watches.
    pub other: &'w mut dyn Watcher,
}

impl Watcher for Tracing<'_> {
    fn at(&mut self, now: Time, events: u64) -> bool {
        self.other.at(now, events)
    }
    fn change(&mut self, now: Time, observation: &Observation<'_>) {
        self.other.change(now, observation);
    }
    fn wants_changes(&self) -> bool {
        self.other.wants_changes()
    }
    fn called(&mut self, now: Time, event: u64, node: NodeNo, outbox: &Outbox) {
        self.trace.call(now, event, node, outbox);
        self.other.called(now, event, node, outbox);
    }
    fn arrived(&mut self, now: Time, delivery: Delivery, origin: Origin, frame: &[u8]) {
        self.other.arrived(now, delivery, origin, frame);
    }
}
