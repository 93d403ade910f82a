//! A run as a file that runs again: everything that a node heard, and digests of what it said to it.
//!
//! A node is a function of its configuration, keys, generator and inputs. A recording holds all of these but the private key:
//! instead it holds every signature that the node asked for, and every box that it sealed or opened, in order. Who replays it answers
//! with them, and finds out at the same time whether the replayed node asks for what the recorded one did, as a signature of anything
//! else does not verify, and a box stands with a digest of what was asked.
//! So a recording can be handed to somebody else without handing over the identity. It does contain what peers, jobs and the store
//! said, also what they said in boxes, and the generator's seed.
//!
//! The same file serves a world of the simulator, which needs its scenario alone and is recorded as digests only.
//!
//! - [`log`]: records one after the other, each with its length and a checksum that covers all before it.
//! - [`said`]: what a node said to one input, shortened.
//! - [`heard`]: an input that outlives its call.
//! - [`answers`]: what a call asked its driver for.
//! - [`replay`]: a node runs again; where it first says something else.
//!
//! Nothing here opens a file: a driver writes the bytes.

pub mod answers;
pub mod heard;
pub mod log;
pub mod replay;
pub mod said;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::Config;
use crate::identity::Keys;
use crate::io::{Input, Outbox, Verify};
use crate::time::Now;
use crate::wire::message::KeyLink;
use answers::{Answer, Listening};
use heard::Heard;
use log::Log;
use said::Said;

/// The version of this format and of what is recorded in it: a recording of another version is not replayed.
pub const VERSION: &str = concat!("marlos ", env!("CARGO_PKG_VERSION"), " recording 2");

/// One record of the file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Entry {
    /// The first record of a node: what it was made of. `config` is its configuration as JSON.
    Node { version: String, config: String, first_key: [u8; 32], chain: Vec<KeyLink>, generator: [u8; 32] },
    /// The first record of a world: the scenario as a file, with its seed.
    World { version: String, scenario: String },
    /// A call of a node: both clocks in microseconds, the input, what the node asked for, and what it said.
    Call { mono: u64, wall: u64, heard: Heard, answers: Vec<Answer>, said: Vec<Said> },
    /// Calls of a world's nodes, in their order.
    Calls(Vec<WorldCall>),
    /// The last record: how many calls there were, the hash of all that was said, and when it ended, in microseconds: of a node
    /// by its monotonic clock at the last call, of a world simulated time.
    End { calls: u64, hash: [u8; 32], at: u64 },
}

/// A call of a node in a world.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WorldCall {
    /// The number of the event.
    pub event: u64,
    /// Simulated time, in microseconds.
    pub at: u64,
    /// Which node.
    pub node: u32,
    /// What it said.
    pub said: Vec<Said>,
}

/// Writes the recording of one node's process.
#[derive(Clone, Debug)]
pub struct Recorder {
    log: Log,
    calls: u64,
    at: u64,
    hash: Sha256,
    answers: Vec<Answer>,
}

impl Recorder {
    /// A node that has not started. `out` gets the first bytes of the file.
    #[must_use]
    pub fn begin(config: &Config, keys: &Keys, generator: [u8; 32], out: &mut Vec<u8>) -> Recorder {
        let config = serde_json::to_string(config).expect("a configuration is JSON");
        let mut log = Log::begin(out);
        let (first_key, chain) = (*keys.genesis(), keys.chain().to_vec());
        log.write(&Entry::Node { version: VERSION.to_owned(), config, first_key, chain, generator }, out);
        Recorder { log, calls: 0, at: 0, hash: Sha256::new(), answers: Vec::new() }
    }

    /// What a node is given in place of `verify` for one call: it notes what was asked for.
    pub fn listen<'r>(&'r mut self, verify: &'r mut dyn Verify) -> Listening<'r> {
        Listening::new(verify, &mut self.answers)
    }

    /// The call is over: `outbox` holds what it said, from action `from` on. `out` gets the record.
    pub fn call(&mut self, now: Now, input: &Input<'_>, outbox: &Outbox, from: usize, out: &mut Vec<u8>) {
        let said = said::of(outbox, from);
        said::hash_into(&mut self.hash, &said);
        self.calls += 1;
        self.at = now.mono.0;
        let answers = std::mem::take(&mut self.answers);
        let heard = Heard::of(input);
        self.log.write(&Entry::Call { mono: now.mono.0, wall: now.wall.0, heard, answers, said }, out);
    }

    /// The process ends.
    pub fn end(mut self, out: &mut Vec<u8>) {
        self.log.write(&Entry::End { calls: self.calls, hash: self.hash.finalize().into(), at: self.at }, out);
    }
}
