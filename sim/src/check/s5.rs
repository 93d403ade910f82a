//! S5: no honest node is blacklisted or quarantined by honest nodes.
//!
//! A node that crashes, stands still or is cut off while it runs jobs is no liar, and yet a bad choice for work: to give it none but
//! trials is what section 9 asks for. So is a node whose jobs fail. Quarantine of anybody else is a violation.
//!
//! An honest node may have more to say than anybody's rate limit allows, and yet must not be banned for its work: it bundles
//! (protocol.md, section 2). Who bans it anyway counts wrongly, or it sends wrongly; the facts say how many frames it had just sent.

use marlos::time::Time;

use super::{Fact, Violation};
use crate::observe::{Observation, Truth};
use crate::scenario::{NodeNo, Scenario};

const HONEST: &str = "no honest node is blacklisted by honest nodes";
const RELIABLE: &str = "no honest node is quarantined that was always there and whose jobs never fail";

const INNOCENT: &str = "nothing is proven of an honest node";
const SECOND: u64 = 1_000_000;

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct S5 {
    nodes: Vec<Sending>,
    /// Nodes that gave reason to be quarantined.
    unreliable: Vec<bool>,
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
        let nodes = scenario.nodes.len();
        let jobs_fail = scenario.workload.as_ref().is_some_and(|load| load.job.failing.0 > 0);
        S5 { nodes: vec![Sending::default(); nodes], unreliable: vec![jobs_fail; nodes] }
    }

    fn start_of(&self, node: NodeNo) -> Fact {
        let what = "it starts, and has been honest ever since".to_string();
        Fact { what, at: self.nodes[node].started, node, event: None }
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
            Observation::NodeStopped { node, .. } | Observation::NodePaused { node, .. } => {
                self.unreliable[node] = true
            }
            Observation::ReachChanged => {
                for (node, unreliable) in self.unreliable.iter_mut().enumerate() {
                    *unreliable |= (0..truth.up.len()).any(|peer| !truth.connected(node, peer));
                }
            }
            Observation::Proven { node, peer } if truth.honest(peer) => {
                let proven = Fact::now(truth, node, format!("it holds misbehaviour of n{peer} for proven"));
                return Err(Box::new(Violation {
                    check: "S5",
                    sentence: INNOCENT,
                    facts: [self.start_of(peer), proven],
                }));
            }
            Observation::Quarantined { node, peer } if truth.honest(peer) && !self.unreliable[peer] => {
                let there = Fact {
                    what: "it starts, and has been up and in reach of all ever since".to_string(),
                    at: self.nodes[peer].started,
                    node: peer,
                    event: None,
                };
                let excluded = Fact::now(truth, node, format!("it quarantines n{peer}"));
                return Err(Box::new(Violation { check: "S5", sentence: RELIABLE, facts: [there, excluded] }));
            }
            Observation::Blacklisted { node, peer } if truth.honest(peer) => {
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

    #[test]
    fn quarantine_of_a_node_that_was_always_there_is_a_violation_and_of_one_that_was_not_is_not() {
        let quarantined = |peer| Observation::Quarantined { node: 0, peer };
        let ends_in = |failing: u32, history: &[Observation<'_>]| {
            let mut scenario = crate::check::history::scenario_with_jobs(4, "60s", 1);
            scenario.workload.as_mut().unwrap().job.failing = marlos::units::Ppm(failing);
            let (mut check, mut world) = (S5::new(&scenario), History::new(&scenario));
            world.reach(&[2], &[3], false);
            history.iter().try_for_each(|o| world.at(0, o.clone(), |truth, o| check.observe(truth, o)))
        };
        let found = ends_in(0, &[quarantined(1)]).unwrap_err();
        assert_eq!((found.check, found.sentence), ("S5", RELIABLE));
        assert_eq!(ends_in(1, &[quarantined(1)]), Ok(()), "some jobs fail");
        assert_eq!(ends_in(0, &[Observation::NodePaused { node: 1, paused: true }, quarantined(1)]), Ok(()));
        let cut = [Observation::ReachChanged, quarantined(2), quarantined(3)];
        assert_eq!(ends_in(0, &cut), Ok(()));
        assert!(ends_in(0, &[&cut[..], &[quarantined(1)]].concat()).is_err(), "it was not cut off");
    }
}
