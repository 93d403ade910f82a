//! A recording runs again: the run of a world, or the process of a real node. The first call that says something else is named.

use std::collections::VecDeque;

use marlos::io::Outbox;
use marlos::recording::log::{Damage, Records};
pub use marlos::recording::replay::{Divergence, End, Replayed};
use marlos::recording::replay::{difference, hex, same_version, words};
use marlos::recording::{Entry, WorldCall, replay as of_node, said};
use marlos::time::{Span, Time};
use sha2::{Digest, Sha256};

use crate::observe::Observation;
use crate::scenario::{NodeNo, Overrides, Scenario};
use crate::world::{self, Watcher};

/// Runs a recording again.
///
/// # Errors
/// A sentence: why it cannot be.
pub fn replay(bytes: &[u8]) -> Result<Replayed, String> {
    let mut records = Records::new(bytes).map_err(|damage| words(damage, 0))?;
    match records.next() {
        Some(Ok(Entry::Node { .. })) => of_node::node(bytes),
        Some(Ok(Entry::World { version, scenario })) => {
            same_version(&version)?;
            let read = Scenario::parse(&scenario, "the recorded scenario", Overrides::default(), &|file| {
                Err(format!("{file} is no part of a recording"))
            });
            replay_world(read.map_err(|diagnostic| diagnostic.message().to_owned())?, records)
        }
        Some(Ok(Entry::Call { .. } | Entry::Calls(_) | Entry::End { .. })) => {
            Err("it does not say what was recorded".to_owned())
        }
        Some(Err(damage)) => Err(words(damage, 0)),
        None => Err("it is empty".to_owned()),
    }
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
    let cut = end.is_none();
    let mut comparing = Comparing { recorded: calls.into(), calls: 0, hash: Sha256::new(), parted: None, cut };
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

/// Watches a world for the first call that differs from its recording.
struct Comparing {
    recorded: VecDeque<WorldCall>,
    calls: u64,
    hash: Sha256,
    parted: Option<Divergence>,
    /// Whether the recording has no end, so that more calls are no difference.
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
