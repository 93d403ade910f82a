//! S5: no honest node is blacklisted by honest nodes.
//!
//! An honest node may have more to say than anybody's rate limit allows, and yet must not be banned for its work: it bundles
//! (protocol.md, section 2). Who bans it anyway counts wrongly, or it sends wrongly; the facts say how many frames it had just sent.

use marlos::time::Time;

use super::{Fact, Violation};
use crate::observe::{Observation, Truth};
use crate::scenario::Scenario;

const HONEST: &str = "no honest node is blacklisted by honest nodes";

const SECOND: u64 = 1_000_000;

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct S5 {
    nodes: Vec<Sending>,
}

/// What a node has said of late, bundles by what is in them.
#[derive(Clone, Copy, Debug, Default)]
struct Sending {
    started: Time,
    second: u64,
    in_it: u64,
    in_the_one_before: u64,
}

impl Sending {
    fn turn_to(&mut self, second: u64) {
        if second != self.second {
            self.in_the_one_before = if second == self.second + 1 { self.in_it } else { 0 };
            (self.second, self.in_it) = (second, 0);
        }
    }
}

impl S5 {
    pub fn new(scenario: &Scenario) -> S5 {
        S5 { nodes: vec![Sending::default(); scenario.nodes.len()] }
    }

    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) -> Result<(), Box<Violation>> {
        match *o {
            Observation::NodeStarted { node, .. } => {
                self.nodes[node] = Sending { started: truth.now, ..Sending::default() }
            }
            Observation::Sent { node, .. } => {
                let sending = &mut self.nodes[node];
                sending.turn_to(truth.now.0 / SECOND);
                sending.in_it += 1;
            }
            Observation::Blacklisted { node, peer } => {
                let mut sending = self.nodes[peer];
                sending.turn_to(truth.now.0 / SECOND);
                let honest = Fact {
                    what: format!(
                        "it starts as an honest node, and has said {} things in the last whole second and {} in this one",
                        sending.in_the_one_before, sending.in_it
                    ),
                    at: sending.started,
                    node: peer,
                    event: None,
                };
                let banned = Fact::now(truth, node, format!("it blacklists n{peer}"));
                return Err(Box::new(Violation { check: "S5", sentence: HONEST, facts: [honest, banned] }));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use marlos::wire::MsgType;

    use super::*;
    use crate::check::history::{History, scenario};

    #[test]
    fn a_ban_of_an_honest_node_is_a_violation_that_says_what_the_node_had_sent() {
        let mut check = S5::new(&scenario(3, "60s"));
        let mut world = History::new(&scenario(3, "60s"));
        let mut see = |ms, o: Observation<'_>| world.at(ms, o, |truth, o| check.observe(truth, o));
        let sent = Observation::Sent { node: 1, kind: MsgType::Ping, bytes: 100, copies: 2 };
        see(500, Observation::NodeStarted { node: 1, restart: false }).unwrap();
        for ms in [900, 2_000, 2_100, 2_999, 3_000, 3_100] {
            see(ms, sent.clone()).unwrap();
        }
        let violation = see(3_200, Observation::Blacklisted { node: 0, peer: 1 }).unwrap_err();
        assert_eq!((violation.check, violation.sentence), ("S5", HONEST));
        let text = violation.to_string();
        assert!(text.contains("at 0.500000s at n1: it starts as an honest node"), "{text}");
        assert!(text.contains("has said 3 things in the last whole second and 2 in this one"), "{text}");
        assert!(text.ends_with("at n0: it blacklists n1"), "{text}");
        let violation = see(9_000, Observation::Blacklisted { node: 2, peer: 1 }).unwrap_err();
        assert!(violation.to_string().contains("0 things in the last whole second and 0 in this one"));
    }
}
