//! S2: an honest node executes only with a certificate of its own, and no two nodes execute the same (job, round).

use std::collections::BTreeMap;

use marlos::id::JobId;

use super::{Fact, Violation};
use crate::observe::{Observation, Stop, Truth};
use crate::scenario::NodeNo;

const OWN: &str = "a node executes only with a certificate of its own";
const ALONE: &str = "no two nodes execute the same (job, round)";

/// The state of the check.
#[derive(Clone, Debug, Default)]
pub(super) struct S2 {
    /// Certificates that each node holds, in this life or in its store.
    held: BTreeMap<(JobId, u32), Vec<NodeNo>>,
    executed: BTreeMap<(JobId, u32), Fact>,
    last_stop: BTreeMap<NodeNo, Fact>,
    checked: u64,
}

impl S2 {
    /// Executions that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) -> Result<(), Box<Violation>> {
        match *o {
            Observation::NodeStopped { node, how } => {
                self.last_stop.insert(node, Fact::now(truth, node, format!("its process ends ({how:?})")));
                if how == Stop::CrashLost {
                    self.held.values_mut().for_each(|holders| holders.retain(|holder| *holder != node));
                }
            }
            Observation::Certified { node, job, round, .. } => {
                let holders = self.held.entry((job, round)).or_default();
                if !holders.contains(&node) {
                    holders.push(node);
                }
            }
            Observation::ExecutionStarted { node, job, round } => return self.on_execution(truth, node, job, round),
            _ => {}
        }
        Ok(())
    }

    fn on_execution(&mut self, truth: &Truth, node: NodeNo, job: JobId, round: u32) -> Result<(), Box<Violation>> {
        self.checked += 1;
        let starts = Fact::now(truth, node, format!("it starts to execute round {round} of {job}"));
        let holders = self.held.get(&(job, round)).map_or(&[][..], Vec::as_slice);
        if !holders.contains(&node) {
            let holders = match holders {
                [] => "nobody does".to_string(),
                some => some.iter().map(|holder| format!("n{holder} does")).collect::<Vec<_>>().join(", "),
            };
            let mut without = Fact::now(truth, node, format!("it holds no certificate for it; {holders}"));
            if let Some(stop) = self.last_stop.get(&node) {
                without.what = format!("{}; its last stop was at {}: {}", without.what, stop.at, stop.what);
            }
            return violated(OWN, starts, without);
        }
        match self.executed.get(&(job, round)) {
            Some(first) if first.node != node => violated(ALONE, first.clone(), starts),
            Some(_) => Ok(()),
            None => {
                self.executed.insert((job, round), starts);
                Ok(())
            }
        }
    }
}

fn violated<T>(sentence: &'static str, first: Fact, second: Fact) -> Result<T, Box<Violation>> {
    Err(Box::new(Violation { check: "S2", sentence, facts: [first, second] }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::history::{History, scenario};

    const JOB: JobId = JobId([7; 16]);

    fn certified(node: NodeNo, round: u32) -> Observation<'static> {
        Observation::Certified { node, job: JOB, round, votes: 3, members: 4, certificate: &[] }
    }

    fn executes(node: NodeNo, round: u32) -> Observation<'static> {
        Observation::ExecutionStarted { node, job: JOB, round }
    }

    /// The sentence that the last of these violates, if any; none before may.
    fn ends_in(history: &[Observation<'_>]) -> Option<&'static str> {
        let mut check = S2::default();
        let mut world = History::new(&scenario(4, "60s"));
        let mut result = Ok(());
        for (ms, o) in (0..).zip(history) {
            assert_eq!(result, Ok(()), "before {o:?}");
            result = world.at(ms, o.clone(), |truth, o| check.observe(truth, o));
        }
        result.err().map(|violation| violation.sentence)
    }

    #[test]
    fn an_execution_needs_an_earlier_certificate_of_the_same_node_and_round() {
        assert_eq!(ends_in(&[certified(1, 0), executes(1, 0)]), None);
        assert_eq!(ends_in(&[executes(1, 0)]), Some(OWN));
        assert_eq!(ends_in(&[certified(1, 0), executes(2, 0)]), Some(OWN));
        assert_eq!(ends_in(&[certified(1, 0), executes(1, 1)]), Some(OWN));
    }

    #[test]
    fn a_certificate_outlives_a_crash_only_in_the_store() {
        let stop = |how| Observation::NodeStopped { node: 1, how };
        let start = Observation::NodeStarted { node: 1, restart: true };
        let history = |how| [certified(1, 0), executes(1, 0), stop(how), start.clone(), executes(1, 0)];
        assert_eq!(ends_in(&history(Stop::CrashKept)), None);
        assert_eq!(ends_in(&history(Stop::CrashLost)), Some(OWN));
    }

    #[test]
    fn two_nodes_never_execute_one_round_but_may_execute_two() {
        assert_eq!(ends_in(&[certified(1, 0), certified(2, 0), executes(1, 0), executes(2, 0)]), Some(ALONE));
        assert_eq!(ends_in(&[certified(1, 0), certified(2, 1), executes(1, 0), executes(2, 1)]), None);
    }

    #[test]
    fn a_violation_says_who_started_what_when() {
        let mut check = S2::default();
        let mut world = History::new(&scenario(4, "60s"));
        let found = world.at(1_500, executes(3, 2), |truth, o| check.observe(truth, o)).unwrap_err();
        let text = found.to_string();
        assert!(
            text.starts_with(
                "S2 violated: a node executes only with a certificate of its own. at 1.500000s (event 1) at n3:"
            ),
            "{text}"
        );
        assert!(text.contains("round 2") && text.contains("nobody does"), "{text}");
    }
}
