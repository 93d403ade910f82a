//! Who really is in contact with whom, and since when: both live, and frames pass both ways.

use marlos::Config;
use marlos::config::Membership;
use marlos::time::{Span, Time};

use super::s1::votes_needed;
use crate::observe::{Observation, Truth};
use crate::scenario::NodeNo;

/// For each pair of nodes the time since which they have been in contact, without a break.
#[derive(Clone, Debug)]
pub struct Contact {
    nodes: usize,
    /// `nodes * nodes`, symmetric; [`Time::NEVER`] where there is none.
    since: Vec<Time>,
}

impl Contact {
    /// Nobody is in contact with anybody.
    #[must_use]
    pub fn new(nodes: usize) -> Contact {
        Contact { nodes, since: vec![Time::NEVER; nodes * nodes] }
    }

    /// Follows the truth where the observation can have changed it, and tells `changed` of each pair (once, in one order)
    /// whether it gained contact or lost it.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>, mut changed: impl FnMut(NodeNo, NodeNo, bool)) {
        match *o {
            Observation::NodeStarted { node, .. } => {
                // The old process of a node that restarts within one event was another party to its contacts.
                self.drop_all(node, &mut changed);
                self.rescan(truth, node, 0, &mut changed);
            }
            Observation::NodeStopped { node, .. } | Observation::NodePaused { node, .. } => {
                self.rescan(truth, node, 0, &mut changed);
            }
            Observation::ReachChanged => {
                for node in 0..self.nodes {
                    self.rescan(truth, node, node + 1, &mut changed);
                }
            }
            _ => {}
        }
    }

    fn drop_all(&mut self, node: NodeNo, changed: &mut impl FnMut(NodeNo, NodeNo, bool)) {
        for peer in 0..self.nodes {
            if self.is(node, peer) {
                self.set(node, peer, Time::NEVER);
                changed(node, peer, false);
            }
        }
    }

    fn rescan(&mut self, truth: &Truth, node: NodeNo, from: NodeNo, changed: &mut impl FnMut(NodeNo, NodeNo, bool)) {
        for peer in from..self.nodes {
            let now = peer != node && truth.live(node) && truth.live(peer) && truth.connected(node, peer);
            if now != self.is(node, peer) {
                self.set(node, peer, if now { truth.now } else { Time::NEVER });
                changed(node, peer, now);
            }
        }
    }

    fn set(&mut self, a: NodeNo, b: NodeNo, since: Time) {
        self.since[a * self.nodes + b] = since;
        self.since[b * self.nodes + a] = since;
    }

    /// Whether two nodes are in contact now. A node is not in contact with itself.
    #[must_use]
    pub fn is(&self, a: NodeNo, b: NodeNo) -> bool {
        self.since[a * self.nodes + b] != Time::NEVER
    }

    /// Whether two nodes have been in contact for at least `span`.
    #[must_use]
    pub fn held(&self, a: NodeNo, b: NodeNo, now: Time, span: Span) -> bool {
        self.is(a, b) && now.since(self.since[a * self.nodes + b]) >= span
    }

    /// Whether two nodes have been in contact at `time` and ever since.
    #[must_use]
    pub fn since_before(&self, a: NodeNo, b: NodeNo, time: Time) -> bool {
        self.is(a, b) && self.since[a * self.nodes + b] <= time
    }

    /// Whether a live node and those it has been in contact with for `span` are enough for a certificate: a quorum of all
    /// members (every node ever started, or the fixed list), and `min_peers`.
    #[must_use]
    pub fn side_has_quorum(&self, truth: &Truth, node: NodeNo, config: &Config, span: Span) -> bool {
        if !truth.live(node) {
            return false;
        }
        let (mut members, mut side) = (0, 0);
        for peer in 0..self.nodes {
            let member = match &config.membership {
                Membership::Open => truth.started[peer],
                Membership::Fixed(ids) => ids.contains(&truth.ids[peer]),
            };
            members += u32::from(member);
            side += u32::from(member && (peer == node || self.held(node, peer, truth.now, span)));
        }
        if let Membership::Fixed(ids) = &config.membership {
            members = u32::try_from(ids.len()).expect("a list of members fits its file");
        }
        members > 0 && side >= votes_needed(members).max(config.min_peers)
    }
}
