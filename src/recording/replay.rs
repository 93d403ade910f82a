//! The recorded process of a node runs again.
//!
//! The node is made anew of what the recording holds: configuration, public key, the generator's seed, and every input with both
//! clocks. What it wants signed, sealed or opened is answered with what is recorded; where the node asks for something else than it did
//! then, the two have parted, whatever they say about it.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use super::answers::Answering;
use super::heard::Heard;
use super::log::{Damage, Records};
use super::said::{self, Said};
use super::{Entry, VERSION};
use crate::identity::Keys;
use crate::io::{Action, Outbox};
use crate::time::{Now, Time, WallTime};
use crate::{Config, Node};

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Who was recorded, in words.
    pub who: String,
    /// Calls that said the same.
    pub calls: u64,
    /// The hash of all that was said in them, in hex.
    pub hash: String,
    /// How it ended.
    pub end: End,
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As the recording does.
    Same,
    /// All that is there says the same, and the recording has no end: its process was killed, or still runs.
    CutOff,
    /// Here they part.
    Diverged(Divergence),
}

/// The first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The number of the event, from 1: of a real node, of its input.
    pub event: u64,
    /// When: simulated time, or the node's monotonic clock.
    pub at: Time,
    /// Which node, and what it heard.
    pub who: String,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} at {}, {}: {}", self.event, self.at, self.who, self.what)
    }
}

/// Whether this build can replay what that version recorded.
///
/// # Errors
/// A sentence for the operator.
pub fn same_version(version: &str) -> Result<(), String> {
    if version == VERSION {
        return Ok(());
    }
    Err(format!("it was recorded by `{version}`, and this is `{VERSION}`: replay it with that version"))
}

/// What is wrong with a recording of which so many calls could be read.
#[must_use]
pub fn words(damage: Damage, calls: u64) -> String {
    match damage {
        Damage::NotARecording => "it is no recording".to_owned(),
        Damage::CutOff => format!("it is cut off after {calls} calls"),
        Damage::Altered => format!("it was altered: a record after call {calls} is not what was written"),
    }
}

/// Runs the recording of a node again, of which all records are given.
///
/// # Errors
/// A sentence: why it cannot be.
pub fn node(bytes: &[u8]) -> Result<Replayed, String> {
    let mut records = Records::new(bytes).map_err(|damage| words(damage, 0))?;
    let first = records.next().ok_or("it is empty")?.map_err(|damage| words(damage, 0))?;
    let Entry::Node { version, config, first_key, chain, generator } = first else {
        return Err("it is no recording of a node".to_owned());
    };
    same_version(&version)?;
    let unusable = |error: String| format!("the recorded configuration: {error}");
    let config: Config = serde_json::from_str(&config).map_err(|error| unusable(error.to_string()))?;
    let node = Node::new(config, Keys::without_secret(first_key, chain), ChaCha8Rng::from_seed(generator));
    run(node.map_err(|error| unusable(error.to_string()))?, records)
}

/// Hands every recorded input to the node.
fn run(mut node: Node, records: Records<'_>) -> Result<Replayed, String> {
    let (mut calls, mut hash) = (0, Sha256::new());
    let who = format!("node {}", node.view().id());
    let replayed = |calls, hash: Sha256, end| Replayed { who: who.clone(), calls, hash: hex(hash), end };
    for record in records {
        match record {
            Ok(Entry::Call { mono, wall, heard, answers, said }) => {
                if calls == 0 && !matches!(heard, Heard::Start(_)) {
                    return Err("it does not begin with the node's start".to_owned());
                }
                let now = Now { mono: Time(mono), wall: WallTime(wall) };
                if let Some(what) = parted(&mut node, now, &heard, Answering::new(answers), &said) {
                    let who = format!("{who}, after {}", heard.describe());
                    let divergence = Divergence { event: calls + 1, at: Time(mono), who, what };
                    return Ok(replayed(calls, hash, End::Diverged(divergence)));
                }
                said::hash_into(&mut hash, &said);
                calls += 1;
            }
            Ok(Entry::End { calls: recorded, hash: of_all, .. }) => {
                if (recorded, of_all) != (calls, hash.clone().finalize().into()) {
                    return Err(words(Damage::Altered, calls));
                }
                return Ok(replayed(calls, hash, End::Same));
            }
            Ok(Entry::Node { .. } | Entry::World { .. } | Entry::Calls(_)) => {
                return Err(words(Damage::Altered, calls));
            }
            Err(Damage::CutOff) => break,
            Err(damage) => return Err(words(damage, calls)),
        }
    }
    Ok(replayed(calls, hash, End::CutOff))
}

/// Calls the node once more; what is not as it was, if anything.
fn parted(node: &mut Node, now: Now, heard: &Heard, mut answers: Answering, recorded: &[Said]) -> Option<String> {
    let mut outbox = Outbox::default();
    heard.with(|input| node.handle(now, input, &mut answers, &mut outbox));
    answers.parted().map(str::to_owned).or_else(|| difference(recorded, &outbox))
}

/// What a call says now that it did not say then, or the other way round.
#[must_use]
pub fn difference(recorded: &[Said], outbox: &Outbox) -> Option<String> {
    let now = said::of(outbox, 0);
    let at = (0..recorded.len().max(now.len())).find(|at| recorded.get(*at) != now.get(*at))?;
    let then = recorded.get(at).map_or("nothing more".to_owned(), ToString::to_string);
    let says = |action: &Action| said::describe(action, outbox);
    let now = outbox.actions.get(at).map_or("nothing more".to_owned(), says);
    Some(format!("of its {} actions, number {} was `{then}` and is `{now}`", recorded.len(), at + 1))
}

/// A hash in hex.
#[must_use]
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
