//! How much may go wrong in a scenario before the protocol promises nothing any more.

use std::collections::BTreeSet;

use marlos::quorum::{max_byzantine, quorum};

use crate::fault::initial_nodes;
use crate::scenario::{FaultKind, NodeNo, Scenario, Storage};

/// Who does worse than to be slow, cut off or down for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Nodes that never come back.
    pub gone: BTreeSet<NodeNo>,
    /// Nodes that misbehave, or lose their store and with it what they have promised.
    pub faulty: BTreeSet<NodeNo>,
}

impl Losses {
    /// Of a scenario's faults.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Losses {
        let mut losses = Losses::default();
        for fault in &scenario.faults {
            match &fault.kind {
                FaultKind::Crash { nodes, storage, .. } => {
                    losses.gone.extend(nodes.iter().filter(|_| fault.until.is_none()));
                    losses.faulty.extend(nodes.iter().filter(|_| *storage == Storage::Lost));
                }
                FaultKind::Pause { nodes } | FaultKind::Leave { nodes } => {
                    losses.gone.extend(nodes.iter().filter(|_| fault.until.is_none()));
                }
                FaultKind::Byzantine { nodes, .. } => losses.faulty.extend(nodes),
                FaultKind::Partition { .. }
                | FaultKind::OneWay { .. }
                | FaultKind::Link { .. }
                | FaultKind::Slow { .. }
                | FaultKind::Clock { .. }
                | FaultKind::Rotate { .. }
                | FaultKind::Join { .. } => {}
            }
        }
        losses
    }
}

/// Whether safety is promised: no more nodes are faulty, in all, than the members of the beginning tolerate.
#[must_use]
pub fn safety_is_promised(scenario: &Scenario) -> bool {
    Losses::of(scenario).faulty.len() <= max_byzantine(members(scenario)) as usize
}

/// Whether liveness is: safety is, and those who neither go for good nor are faulty make a quorum.
#[must_use]
pub fn liveness_is_promised(scenario: &Scenario) -> bool {
    let Losses { gone, faulty } = Losses::of(scenario);
    let members = members(scenario);
    safety_is_promised(scenario) && gone.union(&faulty).count() + quorum(members) as usize <= members as usize
}

/// The members of the beginning. Those who join later are more, not less.
fn members(scenario: &Scenario) -> u32 {
    let there = initial_nodes(scenario.nodes.len(), &scenario.faults).iter().filter(|there| **there).count();
    u32::try_from(there).expect("at most 4,096 nodes")
}
