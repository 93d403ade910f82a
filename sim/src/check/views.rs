//! How each node says that it sees each other, in its present life.

use marlos::io::PeerState;
use marlos::time::Time;

use crate::observe::Observation;
use crate::scenario::NodeNo;

/// What every node has reported of every other since its last start.
#[derive(Clone, Debug)]
pub struct Views {
    nodes: usize,
    /// `nodes * nodes`; nothing where the one does not know the other.
    seen: Vec<Option<View>>,
}

/// How one node sees another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// What it holds it for.
    pub state: PeerState,
    /// Since when.
    pub since: Time,
}

impl Views {
    /// Nobody knows anybody.
    #[must_use]
    pub fn new(nodes: usize) -> Views {
        Views { nodes, seen: vec![None; nodes * nodes] }
    }

    /// Follows what the nodes report. A process that starts or stops knows nobody.
    pub fn observe(&mut self, now: Time, o: &Observation<'_>) {
        match *o {
            Observation::NodeStarted { node, .. } | Observation::NodeStopped { node, .. } => {
                self.seen[node * self.nodes..(node + 1) * self.nodes].fill(None);
            }
            Observation::Discovered { node, peer } | Observation::Recalled { node, peer } if node != peer => {
                self.seen[node * self.nodes + peer].get_or_insert(View { state: PeerState::Known, since: now });
            }
            Observation::PeerState { node, peer, state } if node != peer => {
                let view = &mut self.seen[node * self.nodes + peer];
                if view.is_none_or(|view| view.state != state) {
                    *view = Some(View { state, since: now });
                }
            }
            _ => {}
        }
    }

    /// How `node` sees `peer`, if it knows it.
    #[must_use]
    pub fn of(&self, node: NodeNo, peer: NodeNo) -> Option<View> {
        self.seen[node * self.nodes + peer]
    }

    /// Whether `node` holds `peer` for reachable, or at least for not lost yet.
    #[must_use]
    pub fn held_for_live(&self, node: NodeNo, peer: NodeNo) -> bool {
        matches!(self.of(node, peer), Some(View { state: PeerState::Alive | PeerState::Suspect, .. }))
    }
}
