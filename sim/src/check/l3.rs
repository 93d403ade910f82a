//! L3: once it is quiet, all live nodes that can reach each other come to hold the same, and go on to.
//!
//! What is compared is the digest that each node tells of members and accounts (see [`super::digests`]). News is always under way where
//! there is work, so two nodes need not be equal at every moment: each pair must have been equal at some moment of the settle time after
//! the last fault, and again at some moment of that long before the end of the run.

use marlos::time::{Span, Time};

use super::Quiet;
use super::contact::Contact;
use super::digests::Digests;
use crate::observe::{Observation, Truth};
use crate::outcome::Verdict;
use crate::scenario::{NodeNo, Scenario};

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct L3 {
    nodes: usize,
    quiet: Quiet,
    settle: Span,
    digests: Digests,
    /// `nodes * nodes`, symmetric: when two that differ were last equal.
    agreed: Vec<Time>,
    /// The first look, when the settle time is over; nothing before.
    settled: Option<Look>,
}

/// A look at all pairs.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Time,
    pairs: u64,
    wrong: u64,
    /// Two that are not equal, and were last at that time.
    first: Option<(NodeNo, NodeNo, Time)>,
}

impl L3 {
    pub fn new(scenario: &Scenario) -> L3 {
        let nodes = scenario.nodes.len();
        L3 {
            nodes,
            quiet: Quiet::of(scenario),
            settle: scenario.settle,
            digests: Digests::new(nodes),
            agreed: vec![Time(0); nodes * nodes],
            settled: None,
        }
    }

    /// To be called when `contact` has followed what happened.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>, contact: &Contact) {
        if self.settled.is_none() && truth.now >= self.quiet.from + self.settle {
            self.settled = Some(self.look(truth.now, contact));
        }
        if let Observation::Digest { node, .. } | Observation::NodeStarted { node, .. } = *o {
            for peer in (0..self.nodes).filter(|peer| *peer != node) {
                if self.digests.agree(node, peer) {
                    self.agreed[node * self.nodes + peer] = truth.now;
                    self.agreed[peer * self.nodes + node] = truth.now;
                }
            }
            self.digests.observe(o);
        }
    }

    /// All pairs that have been in contact since the last fault, and those of them that were equal at no moment of late.
    fn look(&self, now: Time, contact: &Contact) -> Look {
        let of_late = self.quiet.from.max(Time(now.0.saturating_sub(self.settle.as_micros())));
        let mut look = Look { at: now, pairs: 0, wrong: 0, first: None };
        for (a, b) in (0..self.nodes).flat_map(|a| (a + 1..self.nodes).map(move |b| (a, b))) {
            if contact.since_before(a, b, self.quiet.from) {
                look.pairs += 1;
                let agreed = self.agreed[a * self.nodes + b];
                if !self.digests.agree(a, b) && agreed < of_late {
                    look.wrong += 1;
                    look.first.get_or_insert((a, b, agreed));
                }
            }
        }
        look
    }

    /// Judges at the end of the run.
    pub fn judge(&self, truth: &Truth, contact: &Contact) -> (Verdict, String) {
        if self.nodes < 2 {
            return (Verdict::NotApplicable, "one node has nobody to agree with".into());
        }
        if truth.now < self.quiet.judged {
            let (now, judged) = (truth.now, self.quiet.judged);
            return (Verdict::Unknown, format!("the run ended at {now}, before it had settled at {judged}"));
        }
        let last = self.look(truth.now, contact);
        let wrong = self.settled.into_iter().chain([last]).find(|look| look.wrong > 0);
        match wrong {
            None if last.pairs == 0 => {
                (Verdict::Unknown, "no two live nodes could reach each other: nothing to check".into())
            }
            None => (Verdict::Pass, format!("{} pairs of live nodes hold the same members and accounts", last.pairs)),
            Some(Look { at, .. }) if at.since(self.quiet.from) < self.settle => {
                let span = at.since(self.quiet.from);
                (Verdict::Unknown, format!("{span} without a fault, and not all that reach each other are equal yet"))
            }
            Some(Look { at, pairs, wrong, first }) => {
                let (a, b, agreed) = first.expect("some pair is wrong");
                let sentence = "live nodes that can reach each other hold the same within the settle time";
                let since = format!("n{a} and n{b} have been in contact since {} or earlier", self.quiet.from);
                let but = format!("at {at} they differ, and did for {} ({wrong} of {pairs} pairs)", at.since(agreed));
                (Verdict::Fail, format!("{sentence}. {since}; but {but}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::history::{History, scenario};
    use crate::observe::Stop;
    use crate::scenario::{Fault, FaultKind};

    /// Three nodes of which n2 is cut off from 20 s to 40 s and differs since 30 s; they settle by 70 s.
    fn judged(history: &[(u64, Observation<'static>)], until: u64) -> (Verdict, String) {
        let mut scenario = scenario(3, "200s");
        scenario.faults = vec![Fault {
            at: Time(20_000_000),
            until: Some(Time(40_000_000)),
            kind: FaultKind::Partition { groups: vec![vec![2]] },
        }];
        let (mut contact, mut check) = (Contact::new(3), L3::new(&scenario));
        let mut world = History::new(&scenario);
        let mut see = |truth: &Truth, o: &Observation<'_>| {
            contact.observe(truth, o, |_, _, _| {});
            check.observe(truth, o, &contact);
        };
        for node in 0..3 {
            world.at(0, Observation::NodeStarted { node, restart: false }, &mut see);
            world.at(0, Observation::Digest { node, digest: 1 }, &mut see);
        }
        world.reach(&[0, 1], &[2], false);
        world.at(20_000, Observation::ReachChanged, &mut see);
        for node in 0..2 {
            world.at(30_000, tells(30, node, 2).1, &mut see);
        }
        world.reach(&[0, 1], &[2], true);
        world.at(40_000, Observation::ReachChanged, &mut see);
        for (s, o) in history {
            world.at(s * 1_000, o.clone(), &mut see);
        }
        world.at(until * 1_000, Observation::FramesCut { count: 0 }, &mut see);
        check.judge(&world.truth, &contact)
    }

    fn tells(s: u64, node: NodeNo, digest: u64) -> (u64, Observation<'static>) {
        (s, Observation::Digest { node, digest })
    }

    #[test]
    fn it_holds_where_all_come_to_tell_the_same_in_time() {
        assert_eq!(judged(&[tells(69, 2, 2)], 100).0, Verdict::Pass);
        assert_eq!(judged(&[tells(69, 2, 2)], 69).0, Verdict::Unknown, "the settle time is not over");
        let stopped = (41, Observation::NodeStopped { node: 2, how: Stop::CrashKept });
        assert_eq!(judged(&[stopped], 100).0, Verdict::Pass, "who is down has nothing to tell");
    }

    #[test]
    fn who_goes_on_telling_something_else_fails_and_is_named() {
        let (verdict, detail) = judged(&[], 100);
        assert_eq!(verdict, Verdict::Fail);
        assert!(detail.contains("n0 and n2") && detail.contains("(2 of 3 pairs)"), "{detail}");
        assert_eq!(judged(&[tells(71, 2, 2)], 100).0, Verdict::Fail, "it came too late");
    }

    #[test]
    fn news_under_way_at_the_end_is_no_difference_and_old_news_is() {
        let news = |s| [tells(50, 2, 2), tells(s, 0, 3), tells(s, 1, 3)];
        assert_eq!(judged(&news(90), 119).0, Verdict::Pass);
        assert_eq!(judged(&news(90), 121).0, Verdict::Fail);
    }

    #[test]
    fn a_node_that_restarts_has_told_nothing_yet() {
        let stop = (40, Observation::NodeStopped { node: 1, how: Stop::CrashKept });
        let start = (40, Observation::NodeStarted { node: 1, restart: true });
        let settled = [tells(45, 2, 2)];
        assert_eq!(judged(&[&[stop.clone(), start.clone()], &settled[..]].concat(), 100).0, Verdict::Fail);
        let told = tells(60, 1, 2);
        assert_eq!(judged(&[&[stop, start], &settled[..], &[told]].concat(), 100).0, Verdict::Pass);
    }
}
