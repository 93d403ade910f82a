//! S2: an honest node executes only with a certificate of its own, and no two nodes execute the same (job, round).
//!
//! Two nodes may execute two rounds of one job at once, since nobody can tell a dead executor from a distant one; but only with reason.
//! Nobody may take over from an executor that has been in reach of its submitter and of a quorum for so long that they must have heard
//! it, unless it says goodbye or the submitter has given the job up; and an executor that has learned of a later claim must stop.
//!
//! Provisional claims (protocol.md, section 10) of parts that reach different members are the exception: two of one round may both run.
//! But not for long once the network is whole: see [`S2::judge`].

use std::collections::{BTreeMap, BTreeSet};

use marlos::Config;
use marlos::id::{ElectorateId, JobId};
use marlos::time::{Span, Time};
use marlos::wire::binary;
use marlos::wire::message::ClaimCertificate;

use super::contact::Contact;
use super::{Fact, Violation};
use crate::observe::{Observation, Truth};
use crate::scenario::{NodeNo, Scenario};

const OWN: &str = "a node executes only with a certificate of its own";
const ALONE: &str = "no two nodes execute the same (job, round)";
const LEASED: &str = "nobody takes over from an executor that submitter and quorum can hear";
const SETTLED: &str = "no two nodes in contact go on running one job";
const FENCED: &str = "an executor that learns of a later claim stops";

/// Who has been in reach for so long has been heard: the longest silence that a live node is forgiven is 15 s, a lease is 10 s.
const HEARD_AFTER: Span = Span::secs(20);

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct S2 {
    configs: Vec<Config>,
    submitters: BTreeMap<JobId, NodeNo>,
    running: BTreeMap<(JobId, NodeNo), Execution>,
    /// Certificates that each node has had. One that was lost with a store can come back from the submitter, to whom it was shown,
    /// and proves as much as ever.
    held: BTreeMap<(JobId, u32), Vec<NodeNo>>,
    executed: BTreeMap<(JobId, u32), Fact>,
    /// The part of the network behind each provisional certificate: the digest that its voters signed is one of the electorate and
    /// of the reachable in it. The bitmap of the reachable alone is none: two parts that know different members can have the same.
    parts: BTreeMap<(JobId, u32, NodeNo), ElectorateId>,
    last_stop: BTreeMap<NodeNo, Fact>,
    /// Jobs that their submitter has given up: it waits for nobody's result, and whoever runs one takes nothing over.
    given_up: BTreeSet<JobId>,
    checked: u64,
}

/// An execution that goes on.
#[derive(Clone, Debug)]
struct Execution {
    round: u32,
    started: Fact,
    /// That its node knows better since.
    fenced: Option<Fact>,
}

impl S2 {
    pub fn new(scenario: &Scenario) -> S2 {
        S2 {
            configs: scenario.nodes.iter().map(|node| node.config.clone()).collect(),
            submitters: BTreeMap::new(),
            running: BTreeMap::new(),
            held: BTreeMap::new(),
            executed: BTreeMap::new(),
            parts: BTreeMap::new(),
            last_stop: BTreeMap::new(),
            given_up: BTreeSet::new(),
            checked: 0,
        }
    }

    /// Executions that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>, contact: &Contact) -> Result<(), Box<Violation>> {
        match *o {
            Observation::JobSubmitted { node, job } => drop(self.submitters.insert(job, node)),
            Observation::JobFailed { job, .. } => drop(self.given_up.insert(job)),
            Observation::NodeStopped { node, how } => {
                self.last_stop.insert(node, Fact::now(truth, node, format!("its process ends ({how:?})")));
                self.running.retain(|(_, executor), _| *executor != node);
            }
            // What it runs is its own affair from here on.
            Observation::NodeTurned { node } => self.running.retain(|(_, executor), _| *executor != node),
            // It hands its jobs over with its goodbye, and may still be there when the first backup has begun.
            Observation::NodeLeaving { node } => self.running.retain(|(_, executor), _| *executor != node),
            Observation::Certified { node, job, round, certificate, .. } => {
                // What it is worth is for S1 to say.
                let proof = binary::decode::<ClaimCertificate>(certificate).ok().filter(|p| !p.reachable.is_empty());
                if let Some(proof) = proof {
                    self.parts.insert((job, round, node), proof.statement.electorate);
                }
                let holders = self.held.entry((job, round)).or_default();
                if !holders.contains(&node) {
                    holders.push(node);
                }
            }
            Observation::ExecutionStarted { node, job, round } => {
                self.on_execution(truth, node, job, round)?;
                return self.on_second_execution(truth, node, job, round, contact);
            }
            Observation::ClaimLearned { node, job, round, claimer } => {
                if let Some(run) = self.running.get_mut(&(job, node))
                    && run.round < round
                {
                    let learns = format!("it learns that n{claimer} holds round {round} of {job}");
                    run.fenced = (claimer != node).then(|| Fact::now(truth, node, learns));
                    run.round = if claimer == node { round } else { run.round };
                }
            }
            Observation::ExecutionEnded { node, job, by_itself } => {
                let ended = self.running.remove(&(job, node));
                if let Some(fenced) = ended.and_then(|run| run.fenced).filter(|_| by_itself) {
                    let ends = format!("its execution of {job} goes on to its end");
                    return violated(FENCED, fenced, Fact::now(truth, node, ends));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether another node runs the job already, and nobody had reason to think that it does not (protocol.md, section 7).
    fn on_second_execution(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        job: JobId,
        round: u32,
        contact: &Contact,
    ) -> Result<(), Box<Violation>> {
        let starts = Fact::now(truth, node, format!("it starts to execute round {round} of {job}"));
        let heard = |executor: NodeNo| {
            let submitter = self.submitters.get(&job).copied();
            let by_submitter = submitter.is_some_and(|submitter| {
                submitter == executor || contact.held(executor, submitter, truth.now, HEARD_AFTER)
            });
            by_submitter && contact.side_has_quorum(truth, executor, &self.configs[executor], HEARD_AFTER)
        };
        let all = (job, 0)..=(job, NodeNo::MAX);
        let other = self.running.range(all).find(|((_, executor), run)| {
            let long = truth.now.since(run.started.at) >= HEARD_AFTER && !self.given_up.contains(&job);
            *executor != node && run.round < round && run.fenced.is_none() && long && heard(*executor)
        });
        if let Some((_, run)) = other {
            return violated(LEASED, run.started.clone(), starts);
        }
        self.running.insert((job, node), Execution { round, started: starts, fenced: None });
        Ok(())
    }

    /// Whether two nodes still run one job at the end of a run, though they have run it side by side and in contact for longer than
    /// it takes until one of them is shown the other's claim.
    pub fn judge(&self, truth: &Truth, contact: &Contact) -> Result<(), Box<Violation>> {
        let pairs = self.running.iter().flat_map(|((job, node), run)| {
            let others = self.running.range((*job, node + 1)..=(*job, NodeNo::MAX));
            others.map(move |((_, other), second)| ((*node, run), (*other, second)))
        });
        let long = |at: Time| truth.now.since(at) >= HEARD_AFTER;
        for ((node, run), (other, second)) in pairs {
            let together = long(run.started.at) && long(second.started.at);
            if together && contact.held(node, other, truth.now, HEARD_AFTER) {
                return violated(SETTLED, run.started.clone(), second.started.clone());
            }
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
            Some(first) if first.node != node => {
                let part = |node| self.parts.get(&(job, round, node));
                if part(node) == part(first.node) { violated(ALONE, first.clone(), starts) } else { Ok(()) }
            }
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
    use marlos::id::NodeId;
    use marlos::quorum::{Statement, provisional_digest};

    use super::*;
    use crate::check::history::{History, scenario};
    use crate::observe::Stop;

    const JOB: JobId = JobId([7; 16]);

    fn certified(node: NodeNo, round: u32) -> Observation<'static> {
        Observation::Certified { node, job: JOB, round, votes: 3, members: 4, certificate: &[] }
    }

    fn executes(node: NodeNo, round: u32) -> Observation<'static> {
        Observation::ExecutionStarted { node, job: JOB, round }
    }

    /// The sentence that the last of these violates, if any; none before may.
    fn ends_in(history: &[Observation<'_>]) -> Option<&'static str> {
        let timed: Vec<_> = (0..).zip(history.iter().cloned()).collect();
        ends_at(&timed)
    }

    /// The same, of observations each with its time in ms. Four nodes, in contact from 0 s on; n0 submits.
    fn ends_at(history: &[(u64, Observation<'_>)]) -> Option<&'static str> {
        let scenario = scenario(4, "60s");
        let (mut check, mut contact, mut world) = (S2::new(&scenario), Contact::new(4), History::new(&scenario));
        let starts = (0..4).map(|node| Observation::NodeStarted { node, restart: false });
        let before = starts.chain([Observation::JobSubmitted { node: 0, job: JOB }]).map(|o| (0, o));
        let mut result = Ok(());
        for (ms, o) in before.chain(history.iter().cloned()) {
            assert_eq!(result, Ok(()), "before {o:?}");
            result = world.at(ms, o, |truth, o| {
                contact.observe(truth, o, |_, _, _| {});
                check.observe(truth, o, &contact)
            });
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
    fn a_certificate_outlives_a_crash_for_it_can_come_back_from_the_submitter() {
        let stop = |how| Observation::NodeStopped { node: 1, how };
        let start = Observation::NodeStarted { node: 1, restart: true };
        let history = |how| [certified(1, 0), executes(1, 0), stop(how), start.clone(), executes(1, 0)];
        assert_eq!(ends_in(&history(Stop::CrashKept)), None);
        assert_eq!(ends_in(&history(Stop::CrashLost)), None);
    }

    #[test]
    fn two_nodes_never_execute_one_round_but_may_execute_two() {
        assert_eq!(ends_in(&[certified(1, 0), certified(2, 0), executes(1, 0), executes(2, 0)]), Some(ALONE));
        assert_eq!(ends_in(&[certified(1, 0), certified(2, 1), executes(1, 0), executes(2, 1)]), None);
    }

    #[test]
    fn two_parts_may_run_one_round_under_provisional_claims_but_not_for_long_in_contact() {
        let proof = |members: u8, reachable: Vec<u8>| {
            let electorate = provisional_digest(ElectorateId([members; 8]), &reachable);
            let statement = Statement { job_id: JOB, round: 0, winner: NodeId([1; 16]), backup: None, electorate };
            let mut bytes = Vec::new();
            let proof = ClaimCertificate { statement, voters: Vec::new(), signatures: Vec::new(), reachable };
            binary::encode_into(&proof, &mut bytes);
            bytes
        };
        let (one, other) = (proof(4, vec![0b0011]), proof(4, vec![0b1100]));
        let newcomers = proof(2, vec![0b0011]);
        let certified = |node, certificate: &[u8]| {
            // The history outlives no test.
            let certificate: &'static [u8] = Box::leak(certificate.to_vec().into_boxed_slice());
            Observation::Certified { node, job: JOB, round: 0, votes: 2, members: 2, certificate }
        };
        let runs = |second: &[u8]| [certified(1, &one), certified(2, second), executes(1, 0), executes(2, 0)];
        assert_eq!(ends_in(&runs(&one)), Some(ALONE), "of one part");
        assert_eq!(ends_in(&runs(&other)), None);
        assert_eq!(
            ends_in(&runs(&newcomers)),
            None,
            "of two that know different members, and reach the same places of each list"
        );

        let scenario = scenario(4, "60s");
        let (mut check, mut contact, mut world) = (S2::new(&scenario), Contact::new(4), History::new(&scenario));
        let starts = (0..4).map(|node| Observation::NodeStarted { node, restart: false });
        for o in starts.chain(runs(&other)) {
            let seen = world.at(0, o, |truth, o| {
                contact.observe(truth, o, |_, _, _| {});
                check.observe(truth, o, &contact)
            });
            assert_eq!(seen, Ok(()));
        }
        world.truth.now = Time(19_999_999);
        assert_eq!(check.judge(&world.truth, &contact), Ok(()));
        world.truth.now = Time(20_000_000);
        assert_eq!(check.judge(&world.truth, &contact).unwrap_err().sentence, SETTLED);
        let ended = Observation::ExecutionEnded { node: 2, job: JOB, by_itself: false };
        assert_eq!(world.at(20_000, ended, |truth, o| check.observe(truth, o, &contact)), Ok(()));
        assert_eq!(check.judge(&world.truth, &contact), Ok(()));
    }

    #[test]
    fn nobody_takes_over_from_an_executor_that_submitter_and_quorum_have_heard_all_the_time() {
        let ended = Observation::ExecutionEnded { node: 1, job: JOB, by_itself: true };
        let paused = |node, paused| Observation::NodePaused { node, paused };
        let takeover = |at: u64, between: &[(u64, Observation<'static>)]| {
            let begins = [(1_000, certified(1, 0)), (1_000, executes(1, 0))];
            let takes = [(at, certified(2, 1)), (at, executes(2, 1))];
            ends_at(&[&begins[..], between, &takes].concat())
        };
        assert_eq!(takeover(21_000, &[]), Some(LEASED));
        assert_eq!(takeover(20_999, &[]), None, "its claim may not have been heard");
        assert_eq!(takeover(21_000, &[(20_000, ended)]), None);
        // It, or its submitter, stood still; two voters of four did; one did, and three are a quorum.
        for node in [1, 0] {
            assert_eq!(takeover(30_000, &[(2_000, paused(node, true)), (12_000, paused(node, false))]), None);
        }
        let two = [
            (2_000, paused(2, true)),
            (2_000, paused(3, true)),
            (12_000, paused(2, false)),
            (12_000, paused(3, false)),
        ];
        assert_eq!(takeover(30_000, &two), None);
        assert_eq!(takeover(30_000, &[(2_000, paused(2, true)), (12_000, paused(2, false))]), Some(LEASED));
        let crash = Observation::NodeStopped { node: 1, how: Stop::CrashKept };
        assert_eq!(takeover(30_000, &[(29_000, crash)]), None);
        let given_up = Observation::JobFailed { node: 0, job: JOB, reason: marlos::io::FailReason::NoResult };
        assert_eq!(takeover(30_000, &[(29_000, given_up)]), None);
        assert_eq!(takeover(30_000, &[(30_000, Observation::NodeLeaving { node: 1 })]), None, "it hands its jobs over");
    }

    #[test]
    fn an_executor_that_learns_of_a_later_claim_of_another_must_stop() {
        let learns = |round, claimer| Observation::ClaimLearned { node: 1, job: JOB, round, claimer };
        let ended = |by_itself| Observation::ExecutionEnded { node: 1, job: JOB, by_itself };
        let runs = |then: &[Observation<'static>]| ends_in(&[&[certified(1, 1), executes(1, 1)][..], then].concat());
        assert_eq!(runs(&[learns(2, 3), ended(true)]), Some(FENCED));
        assert_eq!(runs(&[learns(2, 3), ended(false)]), None);
        assert_eq!(runs(&[learns(1, 1), learns(0, 3), ended(true)]), None, "its own, and one before it");
        assert_eq!(runs(&[learns(2, 1), learns(2, 1), ended(true)]), None, "a later one of its own");
    }

    #[test]
    fn a_violation_says_who_started_what_when() {
        let mut check = S2::new(&scenario(4, "60s"));
        let mut world = History::new(&scenario(4, "60s"));
        let contact = Contact::new(4);
        let found = world.at(1_500, executes(3, 2), |truth, o| check.observe(truth, o, &contact)).unwrap_err();
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
