//! Who really has been hearing whom. [`Contact`](super::contact::Contact) says that frames can pass; where a link is slow enough,
//! or loses enough, they come so late that their receiver rightly suspects their sender.

use marlos::time::{Span, Time};

use crate::observe::Observation;
use crate::scenario::NodeNo;

/// For each pair of nodes when the one last accepted a frame of the other, and since when it has without a long silence.
#[derive(Clone, Debug)]
pub(super) struct Hearing {
    nodes: usize,
    /// How long a node hears nothing of another one before it suspects it, by node.
    suspect_after: Vec<Span>,
    /// `nodes * nodes`, by receiver; [`Time::NEVER`] where there was none.
    heard: Vec<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    since: Time,
    last: Time,
}

impl Hearing {
    /// Nobody has heard anybody.
    pub fn new(suspect_after: Vec<Span>) -> Hearing {
        let nodes = suspect_after.len();
        let heard = vec![Heard { since: Time::NEVER, last: Time::NEVER }; nodes * nodes];
        Hearing { nodes, suspect_after, heard }
    }

    pub fn observe(&mut self, now: Time, o: &Observation<'_>) {
        let Observation::Accepted { node, sender, .. } = *o else { return };
        let goes_on = self.is(node, sender, now);
        let heard = &mut self.heard[node * self.nodes + sender];
        *heard = Heard { since: if goes_on { heard.since } else { now }, last: now };
    }

    /// Whether a node has heard another one so lately that it has no reason to suspect it.
    fn is(&self, node: NodeNo, sender: NodeNo, now: Time) -> bool {
        let last = self.heard[node * self.nodes + sender].last;
        last != Time::NEVER && now.since(last) < self.suspect_after[node]
    }

    /// Whether it has had no reason to for at least `span`.
    pub fn held(&self, node: NodeNo, sender: NodeNo, now: Time, span: Span) -> bool {
        self.is(node, sender, now) && now.since(self.heard[node * self.nodes + sender].since) >= span
    }
}

#[cfg(test)]
mod tests {
    use marlos::wire::MsgType;

    use super::*;

    #[test]
    fn hearing_is_one_way_and_starts_anew_after_a_silence_that_raises_suspicion() {
        let mut hearing = Hearing::new(vec![Span::secs(2); 2]);
        let at = |ms: u64| Time(ms * 1_000);
        let mut hears = |ms| {
            let frame = Observation::Accepted {
                node: 0,
                sender: 1,
                claimed: 1,
                kind: MsgType::Ping,
                frame: 0,
                latency: Span::ZERO,
            };
            hearing.observe(at(ms), &frame);
            hearing.clone()
        };
        assert!(!hears(1_000).held(0, 1, at(2_000), Span::secs(2)));
        let long = hears(2_999);
        assert!(long.held(0, 1, at(3_000), Span::secs(2)));
        assert!(!long.held(1, 0, at(3_000), Span::ZERO), "the other has heard nothing");
        assert!(!long.held(0, 1, at(4_999), Span::ZERO), "silent for two seconds");
        assert!(hears(4_998).held(0, 1, at(5_000), Span::secs(4)));
        let anew = hears(6_998);
        assert!(!anew.held(0, 1, at(7_000), Span::secs(1)));
        assert!(anew.held(0, 1, at(7_998), Span::secs(1)));
    }
}
