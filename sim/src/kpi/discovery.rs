//! `peer_discovery`: from a node's start until it knows every live node it can reach.

use marlos::time::{Span, Time};

use super::samples::Samples;
use crate::check::contact::Contact;
use crate::scenario::{NodeNo, Scenario};

/// A start younger than this at the end says nothing: the target itself is as long.
const JUDGED_AFTER: Span = Span::secs(5);

/// Which starts still wait, and for how many members.
#[derive(Clone, Debug)]
pub(super) struct Discovery {
    starts: Vec<Start>,
    /// `nodes * nodes`: whether the one knows the other in its present life.
    knows: Vec<bool>,
    pub samples: Samples,
}

#[derive(Clone, Copy, Debug, Default)]
struct Start {
    waiting: bool,
    /// The start, or when somebody first came into reach, if that was later: one that is alone can discover nobody.
    from: Option<Time>,
    contacts: u32,
    unknown: u32,
}

impl Discovery {
    pub fn new(scenario: &Scenario) -> Discovery {
        let nodes = scenario.nodes.len();
        Discovery { starts: vec![Start::default(); nodes], knows: vec![false; nodes * nodes], samples: Samples::new() }
    }

    /// Before the contacts of this start are told.
    pub fn on_started(&mut self, node: NodeNo) {
        let nodes = self.starts.len();
        self.knows[node * nodes..(node + 1) * nodes].fill(false);
        self.starts[node] = Start { waiting: true, ..Start::default() };
    }

    pub fn on_contact(&mut self, now: Time, a: NodeNo, b: NodeNo, gained: bool) {
        for (node, peer) in [(a, b), (b, a)] {
            let unknown = u32::from(!self.knows[node * self.starts.len() + peer]);
            let start = &mut self.starts[node];
            if gained {
                start.contacts += 1;
                start.unknown += unknown;
                start.from.get_or_insert(now);
            } else {
                // A start has forgotten the contacts of the process before it.
                start.contacts = start.contacts.saturating_sub(1);
                start.unknown = start.unknown.saturating_sub(unknown);
                // Nor does a process that ended before it knew all give a sample: it has lost all contacts.
                if start.contacts == 0 {
                    start.from = None;
                }
            }
        }
    }

    pub fn on_discovered(&mut self, now: Time, node: NodeNo, peer: NodeNo, contact: &Contact) {
        let known = &mut self.knows[node * self.starts.len() + peer];
        if !std::mem::replace(known, true) && contact.is(node, peer) {
            self.starts[node].unknown -= 1;
            self.settle(now, node);
        }
    }

    /// To be called when contacts were lost: what is out of reach need not be known.
    pub fn settle_all(&mut self, now: Time) {
        for node in 0..self.starts.len() {
            self.settle(now, node);
        }
    }

    fn settle(&mut self, now: Time, node: NodeNo) {
        let start = &mut self.starts[node];
        if let (true, 0, Some(from)) = (start.waiting, start.unknown, start.from) {
            start.waiting = false;
            self.samples.record(now.since(from).as_micros());
        }
    }

    pub fn finish(&mut self, now: Time) {
        for start in &self.starts {
            if let (true, Some(from)) = (start.waiting, start.from)
                && now.since(from) >= JUDGED_AFTER
            {
                self.samples.miss(now.since(from).as_micros());
            }
        }
    }
}
