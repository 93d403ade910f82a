//! What each node says that must be the same everywhere, in its present life (protocol.md, section 10).

use crate::observe::Observation;
use crate::scenario::NodeNo;

/// The digest that each node has told last: of what it holds of members, and of all that accounts have paid.
#[derive(Clone, Debug)]
pub struct Digests(Vec<Option<u64>>);

impl Digests {
    /// Nobody has told any.
    #[must_use]
    pub fn new(nodes: usize) -> Digests {
        Digests(vec![None; nodes])
    }

    /// Follows what the nodes report, and says whether that may have changed anything. A process that starts has told nothing.
    pub fn observe(&mut self, o: &Observation<'_>) -> bool {
        match *o {
            Observation::Digest { node, digest } => self.0[node] = Some(digest),
            Observation::NodeStarted { node, .. } => self.0[node] = None,
            _ => return false,
        }
        true
    }

    /// Whether two nodes have told the same.
    #[must_use]
    pub fn agree(&self, a: NodeNo, b: NodeNo) -> bool {
        self.0[a].is_some() && self.0[a] == self.0[b]
    }
}
