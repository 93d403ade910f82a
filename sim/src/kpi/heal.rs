//! `heal`: from the end of a cut until all live nodes that can reach each other agree.
//!
//! Two nodes agree when each holds the other for alive and their digests are equal: of what they hold of members, and of whatever
//! else must be the same everywhere (protocol.md, section 10). One sample for each end of a cut; where the next cut comes before they
//! agree, a heal that had less time than it is judged by says nothing.

use marlos::io::PeerState;
use marlos::time::{Span, Time};

use super::samples::Samples;
use crate::check::contact::Contact;
use crate::check::digests::Digests;
use crate::check::views::Views;
use crate::observe::{Observation, Truth};
use crate::scenario::{NodeNo, Scenario};

/// A heal that is younger than this at the end, or at the next cut, says nothing: the target at a hundred nodes.
const JUDGED_AFTER: Span = Span::secs(20);

/// Cuts that have ended, and whether there is agreement since.
#[derive(Clone, Debug)]
pub(super) struct Heals {
    nodes: usize,
    warmup: Time,
    /// `nodes * nodes`, symmetric: whether frames pass both ways, whoever is up.
    connected: Vec<bool>,
    digests: Digests,
    /// When the cuts ended that are not healed yet.
    open: Vec<Time>,
    /// Two that do not agree, as far as is known: while that is so, nobody else need be asked.
    witness: Option<(NodeNo, NodeNo)>,
    pub samples: Samples,
}

impl Heals {
    pub fn new(scenario: &Scenario) -> Heals {
        let nodes = scenario.nodes.len();
        Heals {
            nodes,
            warmup: scenario.warmup,
            connected: vec![true; nodes * nodes],
            digests: Digests::new(nodes),
            open: Vec::new(),
            witness: None,
            samples: Samples::new(),
        }
    }

    /// To be called when `contact` and `views` have followed what happened.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>, contact: &Contact, views: &Views) {
        match *o {
            Observation::ReachChanged => self.on_reach_changed(truth),
            _ if self.digests.observe(o) => {}
            Observation::PeerState { .. }
            | Observation::Discovered { .. }
            | Observation::NodeStopped { .. }
            | Observation::NodePaused { .. } => {}
            _ => return,
        }
        if !self.open.is_empty() && self.agree(contact, views) {
            for from in std::mem::take(&mut self.open) {
                self.samples.record(truth.now.since(from).as_micros());
            }
        }
    }

    fn on_reach_changed(&mut self, truth: &Truth) {
        let (mut gained, mut lost) = (false, false);
        for a in 0..self.nodes {
            for b in a + 1..self.nodes {
                let now = truth.connected(a, b);
                let before = std::mem::replace(&mut self.connected[a * self.nodes + b], now);
                gained |= now && !before;
                lost |= before && !now;
            }
        }
        if lost {
            self.give_up(truth.now);
        }
        if gained && truth.now >= self.warmup {
            self.open.push(truth.now);
        }
    }

    /// Whether no two that are in contact disagree.
    fn agree(&mut self, contact: &Contact, views: &Views) -> bool {
        let alive = |node, peer| views.of(node, peer).is_some_and(|view| view.state == PeerState::Alive);
        let digests = &self.digests;
        let disagree =
            |&(a, b): &(NodeNo, NodeNo)| contact.is(a, b) && !(alive(a, b) && alive(b, a) && digests.agree(a, b));
        if self.witness.as_ref().is_some_and(disagree) {
            return false;
        }
        let nodes = self.nodes;
        self.witness = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b))).find(disagree);
        self.witness.is_none()
    }

    /// What was not healed is not waited for any longer.
    fn give_up(&mut self, now: Time) {
        for from in std::mem::take(&mut self.open) {
            if now.since(from) >= JUDGED_AFTER {
                self.samples.miss(now.since(from).as_micros());
            }
        }
    }

    pub fn finish(&mut self, now: Time) {
        self.give_up(now);
    }
}
