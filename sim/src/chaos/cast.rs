//! Who is there in a run, and who may do worse than be unlucky: the fault budget.

use marlos::quorum::{max_byzantine, quorum};

use super::dice::{Dice, What};
use super::storm::Kind;
use crate::scenario::NodeNo;
use crate::world::BOOTSTRAP_NODES;

/// The nodes of a run by what may become of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cast {
    /// How many there are in the end: n0 is number 0.
    pub nodes: usize,
    /// Who joins during the storm.
    pub late: Vec<NodeNo>,
    /// Who may lose its store: no more, in all, than may be Byzantine, as such a node has forgotten its votes.
    pub suspects: Vec<NodeNo>,
    /// Who goes and does not come back. With the suspects they are few enough to leave a quorum.
    pub gone: Vec<NodeNo>,
}

impl Cast {
    pub fn draw(dice: &Dice, nodes: usize, kinds: &[Kind], beyond_f: bool) -> Cast {
        let late = if kinds.contains(&Kind::Join) && nodes > 3 {
            dice.between(What::Late, 0, 1, (nodes as u64 / 3).max(1))
        } else {
            0
        };
        let there = nodes - usize::try_from(late).expect("few");
        let initial: Vec<NodeNo> = (0..there).collect();
        // The first who are there are a network of their own until the others have joined.
        let members = u32::try_from(there).expect("few nodes");
        let tolerated = max_byzantine(members) as usize;
        let count = if beyond_f {
            dice.between(What::Suspects, 0, tolerated as u64 + 1, there as u64 - 1)
        } else {
            dice.between(What::Suspects, 0, 0, tolerated as u64)
        };
        let mut suspects = dice.some(What::Suspects, 1, usize::try_from(count).expect("few"), &initial);
        let room = there.saturating_sub(quorum(members) as usize).saturating_sub(suspects.len());
        let mut gone = if room > 0 && dice.one_in(What::Gone, 0, 4) {
            let count = dice.below(What::Gone, 1, room) + 1;
            dice.some(What::Gone, 2, count, &initial)
        } else {
            Vec::new()
        };
        // Who joins, or has lost its store, may have nothing but bootstrap hosts to find the others by: one of them can be relied on.
        let reliable = |node: NodeNo| !suspects.contains(&node) && !gone.contains(&node);
        if !beyond_f && !(0..BOOTSTRAP_NODES.min(there)).any(reliable) {
            suspects.retain(|node| *node != 0);
            gone.retain(|node| *node != 0);
        }
        Cast { nodes, late: (there..nodes).collect(), suspects, gone }
    }

    /// Everyone.
    pub fn all(&self) -> Vec<NodeNo> {
        (0..self.nodes).collect()
    }
}
