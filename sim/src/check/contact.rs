//! Who really is in contact with whom, and since when: both live and honest, and frames pass both ways. Whoever misbehaves is in
//! contact with nobody, as nobody can rely on it.

use marlos::Config;
use marlos::config::Membership;
use marlos::time::{Span, Time};

use super::electorates::votes_needed;
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
            Observation::NodeStopped { node, .. }
            | Observation::NodePaused { node, .. }
            | Observation::NodeTurned { node } => {
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
            let (live, honest) = (truth.live(node) && truth.live(peer), truth.honest(node) && truth.honest(peer));
            let now = peer != node && live && honest && truth.connected(node, peer);
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
        self.side_among_has_quorum(truth, node, config, span, |_| true)
    }

    /// The same, where only those count that are `among` some.
    #[must_use]
    pub fn side_among_has_quorum(
        &self,
        truth: &Truth,
        node: NodeNo,
        config: &Config,
        span: Span,
        among: impl Fn(NodeNo) -> bool,
    ) -> bool {
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
            let with = || self.held(node, peer, truth.now, span) && among(peer);
            side += u32::from(member && (peer == node || with()));
        }
        if let Membership::Fixed(ids) = &config.membership {
            members = u32::try_from(ids.len()).expect("a list of members fits its file");
        }
        members > 0 && side >= votes_needed(members).max(config.min_peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::history::{History, scenario};
    use crate::observe::Stop;

    #[test]
    fn contact_needs_two_live_nodes_and_both_directions_and_starts_anew_after_each_break() {
        let mut world = History::new(&scenario(3, "60s"));
        let mut contact = Contact::new(3);
        let mut see = |world: &mut History, ms, o| {
            let mut changes = Vec::new();
            world.at(ms, o, |truth, o| contact.observe(truth, o, |a, b, gained| changes.push((a, b, gained))));
            let long = contact.held(0, 1, world.truth.now, Span::secs(5));
            (changes, long)
        };
        let start = |node, restart| Observation::NodeStarted { node, restart };
        assert_eq!(see(&mut world, 0, start(0, false)), (vec![], false));
        assert_eq!(see(&mut world, 1_000, start(1, false)), (vec![(1, 0, true)], false));
        assert_eq!(see(&mut world, 6_000, Observation::FramesCut { count: 1 }), (vec![], true));
        let paused = |paused| Observation::NodePaused { node: 0, paused };
        assert_eq!(see(&mut world, 7_000, paused(true)), (vec![(0, 1, false)], false));
        assert_eq!(see(&mut world, 8_000, paused(false)), (vec![(0, 1, true)], false));
        world.truth.reaches[1][0] = false;
        assert_eq!(see(&mut world, 20_000, Observation::ReachChanged), (vec![(0, 1, false)], false));
        world.truth.reaches[1][0] = true;
        assert_eq!(see(&mut world, 21_000, Observation::ReachChanged), (vec![(0, 1, true)], false));
        let stop = Observation::NodeStopped { node: 1, how: Stop::Leave };
        assert_eq!(see(&mut world, 30_000, stop), (vec![(1, 0, false)], false));
        assert_eq!(see(&mut world, 30_000, start(1, true)), (vec![(1, 0, true)], false));
    }

    #[test]
    fn a_side_has_quorum_by_all_who_ever_started_or_by_the_fixed_list() {
        let mut world = History::new(&scenario(5, "60s"));
        let mut contact = Contact::new(5);
        let mut see = |world: &mut History, o, config: &Config| {
            world.at(0, o, |truth, o| contact.observe(truth, o, |_, _, _| {}));
            contact.side_has_quorum(&world.truth, 0, config, Span::ZERO)
        };
        let start = |node| Observation::NodeStarted { node, restart: false };
        let stop = |node| Observation::NodeStopped { node, how: Stop::CrashKept };
        let open = Config::default();
        assert!(!see(&mut world, start(0), &open), "one is fewer than min_peers");
        let fixed = Config { membership: Membership::Fixed(world.truth.ids[..4].to_vec()), ..Config::default() };
        assert!(see(&mut world, start(1), &open));
        assert!(!see(&mut world, start(4), &fixed), "2 of the 4 listed");
        assert!(see(&mut world, start(2), &fixed), "3 of the 4 listed");
        assert!(see(&mut world, stop(4), &open), "3 of the 4 started");
        assert!(!see(&mut world, stop(2), &open), "2 of the 4 started");
        assert!(!see(&mut world, stop(0), &open), "a node that is down has no side");
    }
}
