//! The action hash: SHA-256 over every input's time and every action of every node. Same scenario, seed and version: same hash.

use marlos::io::{Action, Event, Outbox};
use marlos::time::Time;
use sha2::{Digest, Sha256};

use crate::byzantine::said::Whom;
use crate::scenario::NodeNo;

/// How many hashed calls lie between two entries of the trail.
const TRAIL_EVERY: u64 = 1_000;
/// Bytes gathered before they are hashed.
const BLOCK: usize = 16 * 1024;

/// The hash of a run so far.
#[derive(Clone, Debug, Default)]
pub struct ActionHash {
    sha: Sha256,
    block: Vec<u8>,
    calls: u64,
    trail: Vec<u64>,
}

impl ActionHash {
    /// A frame reaches a node.
    pub fn input(&mut self, now: Time, node: NodeNo, frame: u64) {
        self.number(now.0);
        self.number(node as u64);
        self.number(frame);
    }

    /// A node answers an input.
    pub fn actions(&mut self, now: Time, node: NodeNo, outbox: &Outbox) {
        self.number(now.0);
        self.number(((node as u64) << 32) | outbox.actions.len() as u64);
        for action in &outbox.actions {
            match action {
                Action::Report(Event::Accepted { from, kind, .. }) => {
                    self.number((u64::from(from.0) << 8) | *kind as u64)
                }
                Action::Report(event) => self.bytes(format!("{event:?}").as_bytes()),
                Action::Send { to, kind, frame } => {
                    self.bytes(format!("{to:?}{kind:?}").as_bytes());
                    self.bytes(outbox.slice(frame));
                }
                Action::Persist { key, value } => {
                    self.bytes(outbox.slice(key));
                    self.bytes(outbox.slice(value));
                }
                Action::Forget { key } => self.bytes(outbox.slice(key)),
                Action::Connect { link, endpoint } | Action::Reach { link, endpoint } => {
                    self.number(u64::from(link.0));
                    self.bytes(outbox.slice(endpoint));
                }
                Action::Disconnect(link) => self.number(u64::from(link.0)),
                Action::Execute { job, job_type, command, deadline } => {
                    self.bytes(&job.0);
                    self.bytes(outbox.slice(job_type));
                    self.bytes(outbox.slice(command));
                    self.number(deadline.0);
                }
                Action::Cancel(job) => self.bytes(&job.0),
            }
        }
        self.calls += 1;
        if self.calls.is_multiple_of(TRAIL_EVERY) {
            self.flush();
            let digest = self.sha.clone().finalize();
            self.trail.push(u64::from_be_bytes(digest[..8].try_into().expect("SHA-256 has 32 bytes")));
        }
    }

    /// What really leaves a misbehaving node.
    pub fn spoken(&mut self, now: Time, node: NodeNo, whom: Whom, frame: &[u8]) {
        self.number(now.0);
        self.number(node as u64);
        self.bytes(format!("{whom:?}").as_bytes());
        self.bytes(frame);
    }

    /// The hash after every 1,000 calls, shortened.
    #[must_use]
    pub fn trail(&self) -> &[u64] {
        &self.trail
    }

    /// The hash of the whole run, in hex.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.flush();
        self.sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn number(&mut self, number: u64) {
        self.block.extend_from_slice(&number.to_le_bytes());
        if self.block.len() >= BLOCK {
            self.flush();
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.block.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.sha.update(&self.block);
        self.block.clear();
    }
}
