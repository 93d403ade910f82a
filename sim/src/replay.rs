//! A recording runs again: the run of a world, or the process of a real node. The first call that says something else is named.
//!
//! A real node is made anew of what the recording holds: configuration, public key, the generator's seed, and every input with both
//! clocks. What the node wants signed is answered with the recorded signatures; one that does not verify over what the node wants
//! signed now is where the two have parted, whatever they say about it.

use std::collections::VecDeque;
use std::fmt;

use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{Action, Outbox, Verify};
use marlos::recording::heard::Heard;
use marlos::recording::log::{Damage, Records};
use marlos::recording::said::{self, Said};
use marlos::recording::{Entry, VERSION, WorldCall};
use marlos::time::{Now, Span, Time, WallTime};
use marlos::wire::{Signature, Signed};
use marlos::{Config, Node};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use crate::observe::Observation;
use crate::scenario::{NodeNo, Overrides, Scenario};
use crate::world::{self, Watcher};

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Who was recorded, in words.
    pub who: String,
    /// Calls that said the same.
    pub calls: u64,
    /// The hash of all that was said, in hex.
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

/// Runs a recording again.
///
/// # Errors
/// A sentence: why it cannot be.
pub fn replay(bytes: &[u8]) -> Result<Replayed, String> {
    let mut records = Records::new(bytes).map_err(|damage| words(damage, 0))?;
    match records.next() {
        Some(Ok(Entry::Node { version, config, public_key, generator })) => {
            same_version(&version)?;
            let config: Config =
                serde_json::from_str(&config).map_err(|error| format!("the recorded configuration: {error}"))?;
            let keys = Keys::without_secret(public_key);
            let node = Node::new(config, keys, ChaCha8Rng::from_seed(generator));
            replay_node(node.map_err(|error| format!("the recorded configuration: {error}"))?, public_key, records)
        }
        Some(Ok(Entry::World { version, scenario })) => {
            same_version(&version)?;
            let read = Scenario::parse(&scenario, "the recorded scenario", Overrides::default(), &|file| {
                Err(format!("{file} is no part of a recording"))
            });
            replay_world(read.map_err(|diagnostic| diagnostic.message().to_owned())?, records)
        }
        Some(Ok(Entry::Call { .. } | Entry::Calls(_) | Entry::End { .. })) => Err("it does not say what was recorded".to_owned()),
        Some(Err(damage)) => Err(words(damage, 0)),
        None => Err("it is empty".to_owned()),
    }
}

fn same_version(version: &str) -> Result<(), String> {
    if version == VERSION {
        return Ok(());
    }
    Err(format!("it was recorded by `{version}`, and this is `{VERSION}`: replay it with that version"))
}

fn words(damage: Damage, calls: u64) -> String {
    match damage {
        Damage::NotARecording => "it is no recording".to_owned(),
        Damage::CutOff => format!("it is cut off after {calls} calls"),
        Damage::Altered => format!("it was altered: a record after call {calls} is not what was written"),
    }
}

/// Every input of a real node.
fn replay_node(mut node: Node, public_key: [u8; 32], records: Records<'_>) -> Result<Replayed, String> {
    let (mut calls, mut hash, mut outbox) = (0, Sha256::new(), Outbox::default());
    let who = format!("node {}", node.view().id());
    let replayed = |calls, hash: Sha256, end| Replayed { who: who.clone(), calls, hash: hex(hash), end };
    for record in records {
        match record {
            Ok(Entry::Call { mono, wall, heard, signatures, said: recorded }) => {
                let now = Now { mono: Time(mono), wall: WallTime(wall) };
                let mut answers = Answers { public_key, signatures: signatures.into(), parted: None };
                outbox.clear();
                if calls == 0 && !matches!(heard, Heard::Start(_)) {
                    return Err("it does not begin with the node's start".to_owned());
                }
                heard.with(|input| node.handle(now, input, &mut answers, &mut outbox));
                let parted = answers.parted.or_else(|| {
                    (!answers.signatures.is_empty()).then(|| "something that was signed is not signed now".to_owned())
                });
                if let Some(what) = parted.or_else(|| difference(&recorded, &outbox)) {
                    let who = format!("{who}, after {}", heard.describe());
                    let at = Time(mono);
                    return Ok(replayed(calls, hash, End::Diverged(Divergence { event: calls + 1, at, who, what })));
                }
                said::hash_into(&mut hash, &recorded);
                calls += 1;
            }
            Ok(Entry::End { calls: recorded, hash: of_all, .. }) => {
                if (recorded, of_all) != (calls, hash.clone().finalize().into()) {
                    return Err(words(Damage::Altered, calls));
                }
                return Ok(replayed(calls, hash, End::Same));
            }
            Ok(Entry::Node { .. } | Entry::World { .. } | Entry::Calls(_)) => return Err(words(Damage::Altered, calls)),
            Err(Damage::CutOff) => break,
            Err(damage) => return Err(words(damage, calls)),
        }
    }
    Ok(replayed(calls, hash, End::CutOff))
}

/// Answers for a key whose private half is not here.
struct Answers {
    public_key: [u8; 32],
    signatures: VecDeque<Signature>,
    /// The first signature that is not of what the node wants signed.
    parted: Option<String>,
}

impl Verify for Answers {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        StrictVerifier.verify(key, message, signature)
    }

    fn sign(&mut self, _: &Keys, message: &Signed<'_>) -> Signature {
        let signature = self.signatures.pop_front();
        if !signature.is_some_and(|signature| StrictVerifier.verify(&self.public_key, message, &signature)) {
            self.parted.get_or_insert_with(|| "it signs something that was not signed then".to_owned());
        }
        signature.unwrap_or(Signature([0; 64]))
    }
}

/// What a call says now that it did not say then, or the other way round.
fn difference(recorded: &[Said], outbox: &Outbox) -> Option<String> {
    let now = said::of(outbox, 0);
    let at = (0..recorded.len().max(now.len())).find(|at| recorded.get(*at) != now.get(*at))?;
    let then = recorded.get(at).map_or("nothing more".to_owned(), ToString::to_string);
    let says = |action: &Action| said::describe(action, outbox);
    let now = outbox.actions.get(at).map_or("nothing more".to_owned(), says);
    Some(format!("of its {} actions, number {} was `{then}` and is `{now}`", recorded.len(), at + 1))
}

/// A world, compared call by call.
fn replay_world(scenario: Scenario, records: Records<'_>) -> Result<Replayed, String> {
    let (mut calls, mut end, mut until) = (Vec::new(), None, None);
    for record in records {
        match record {
            Ok(Entry::Calls(some)) => calls.extend(some),
            Ok(Entry::End { calls, hash, at }) => {
                until = Some(Time(at));
                end = Some((calls, hash));
            }
            Ok(Entry::Node { .. } | Entry::World { .. } | Entry::Call { .. }) => {
                return Err(words(Damage::Altered, calls.len() as u64));
            }
            Err(Damage::CutOff) => break,
            Err(damage) => return Err(words(damage, calls.len() as u64)),
        }
    }
    let who = format!("{} with seed {}", scenario.name, scenario.seed);
    // What is not recorded is not compared: the run goes to where its recording ends.
    let until = until.or_else(|| calls.last().map(|call: &WorldCall| Time(call.at)));
    let mut comparing = Comparing { recorded: calls.into(), calls: 0, hash: Sha256::new(), parted: None, cut: end.is_none() };
    let _ = world::run(scenario, until, &mut comparing);
    let Comparing { recorded, calls, hash, mut parted, .. } = comparing;
    if let (None, Some(missing)) = (&parted, recorded.front()) {
        parted = Some(Divergence {
            event: missing.event,
            at: Time(missing.at),
            who: format!("n{}", missing.node),
            what: "it was called, and is not called now".to_owned(),
        });
    }
    let end = match (parted, end) {
        (Some(parted), _) => End::Diverged(parted),
        (None, None) => End::CutOff,
        (None, Some(end)) if end == (calls, hash.clone().finalize().into()) => End::Same,
        (None, Some(_)) => return Err(words(Damage::Altered, calls)),
    };
    Ok(Replayed { who, calls, hash: hex(hash), end })
}

struct Comparing {
    recorded: VecDeque<WorldCall>,
    calls: u64,
    hash: Sha256,
    parted: Option<Divergence>,
    cut: bool,
}

impl Watcher for Comparing {
    fn at(&mut self, _: Time, _: u64) -> bool {
        self.parted.is_none()
    }

    fn change(&mut self, _: Time, _: &Observation<'_>) {}

    fn wants_changes(&self) -> bool {
        false
    }

    fn called(&mut self, now: Time, event: u64, node: NodeNo, outbox: &Outbox) {
        if self.parted.is_some() {
            return;
        }
        let part = |what: String| Some(Divergence { event, at: now, who: format!("n{node}"), what });
        let Some(call) = self.recorded.pop_front() else {
            if !self.cut {
                self.parted = part("it is called, and was not called then".to_owned());
            }
            return;
        };
        if (call.event, call.at, call.node as usize) != (event, now.0, node) {
            let then = format!("n{} at event {} and {}", call.node, call.event, Span(call.at));
            self.parted = part(format!("it is called, and then it was {then}"));
        } else if let Some(what) = difference(&call.said, outbox) {
            self.parted = part(what);
        } else {
            said::hash_into(&mut self.hash, &call.said);
            self.calls += 1;
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
