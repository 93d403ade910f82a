//! L2: every accepted job whose submitter can reach a quorum ends in a result or a visible failure.

use std::collections::BTreeMap;

use marlos::id::JobId;
use marlos::time::{Span, Time};

use super::Quiet;
use super::contact::Contact;
use crate::observe::{Observation, Stop, Truth};
use crate::outcome::Verdict;
use crate::scenario::{NodeNo, Scenario};

/// How long after its deadline, or after its submitter came back into reach of a quorum, a job may still be open: a guess, several
/// rounds and a wake.
const GRACE: Span = Span::secs(5);

/// A job that is claimed and shows signs of life may take this many times its span from submission to deadline (protocol.md,
/// section 8, pays for late results; `jobs::submitter` waits for them).
const CLAIMED_SPANS: u64 = 3;

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct L2 {
    deadline: Option<Span>,
    open: BTreeMap<JobId, Open>,
    /// Since when each node has been live.
    live_since: Vec<Time>,
    ended: u64,
    /// Gone with the store of their submitter.
    store_lost: u64,
}

/// A job that has not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    submitter: NodeNo,
    at: Time,
    claimed: bool,
}

impl L2 {
    pub fn new(scenario: &Scenario) -> L2 {
        L2 {
            deadline: scenario.workload.as_ref().map(|load| load.longest_deadline()),
            open: BTreeMap::new(),
            live_since: vec![Time::NEVER; scenario.nodes.len()],
            ended: 0,
            store_lost: 0,
        }
    }

    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) {
        match *o {
            Observation::JobSubmitted { node, job } => {
                self.open.entry(job).or_insert(Open { submitter: node, at: truth.now, claimed: false });
            }
            // Learned of is as good as certified: where the claimer lies, nothing that it reports is looked at.
            Observation::Certified { job, .. } | Observation::ClaimLearned { job, .. } => {
                self.open.entry(job).and_modify(|open| open.claimed = true);
            }
            Observation::JobCompleted { job, .. } | Observation::JobFailed { job, .. } => {
                self.ended += u64::from(self.open.remove(&job).is_some());
            }
            Observation::NodeStarted { node, .. } | Observation::NodePaused { node, paused: false } => {
                self.live_since[node] = truth.now;
            }
            Observation::NodeStopped { node, how: Stop::CrashLost } => {
                let before = self.open.len();
                self.open.retain(|_, open| open.submitter != node);
                self.store_lost += (before - self.open.len()) as u64;
            }
            _ => {}
        }
    }

    /// Judges at the end of the run.
    pub fn judge(&self, truth: &Truth, scenario: &Scenario, quiet: &Quiet, contact: &Contact) -> (Verdict, String) {
        if scenario.workload.is_none() && self.open.is_empty() && self.ended == 0 {
            return (Verdict::NotApplicable, "no jobs are offered".into());
        }
        if truth.now < quiet.judged {
            return (
                Verdict::Unknown,
                format!("the run ended at {}, before it had settled at {}", truth.now, quiet.judged),
            );
        }
        let (mut early, mut out_of_reach, mut wrong) = (0u64, 0u64, Vec::new());
        let quorum: Vec<bool> =
            (0..truth.up.len()).map(|node| self.has_quorum(truth, scenario, contact, node)).collect();
        for (job, Open { submitter, at, claimed }) in &self.open {
            let spans = if *claimed { CLAIMED_SPANS } else { 1 };
            if self.deadline.is_none_or(|deadline| *at + deadline.times(spans) + GRACE > truth.now) {
                early += 1;
            } else if !quorum[*submitter] {
                out_of_reach += 1;
            } else {
                wrong.push((job, submitter, at));
            }
        }
        let aside = format!(
            "not judged: {early} before their deadline, {out_of_reach} whose submitter is down or reaches no quorum, {} lost with \
             their submitter's store",
            self.store_lost
        );
        match wrong.first() {
            None if self.ended == 0 => (Verdict::Unknown, format!("no job was there to check; {aside}")),
            None => (Verdict::Pass, format!("{} jobs ended; {aside}", self.ended)),
            Some((job, submitter, at)) => {
                let sentence =
                    "every accepted job whose submitter can reach a quorum ends in a result or a visible failure";
                let fact = format!(
                    "{job} was accepted at {at} at n{submitter}, its deadline was {} later",
                    self.deadline.unwrap_or(Span::ZERO)
                );
                let but = format!(
                    "at {} it is still open ({} of {} jobs; {aside})",
                    truth.now,
                    wrong.len(),
                    self.ended + wrong.len() as u64
                );
                (Verdict::Fail, format!("{sentence}. {fact}; but {but}"))
            }
        }
    }

    fn has_quorum(&self, truth: &Truth, scenario: &Scenario, contact: &Contact, node: NodeNo) -> bool {
        let long_live = truth.live(node) && self.live_since[node] + GRACE <= truth.now;
        long_live && contact.side_has_quorum(truth, node, &scenario.nodes[node].config, GRACE)
    }
}

#[cfg(test)]
mod tests {
    use marlos::io::{FailReason, JobStatus};

    use super::*;
    use crate::check::history::{History, scenario_with_jobs};

    const JOB: JobId = JobId([3; 16]);

    fn submitted(ms: u64) -> (u64, Observation<'static>) {
        (ms, Observation::JobSubmitted { node: 0, job: JOB })
    }

    fn stop(ms: u64, node: NodeNo, how: Stop) -> (u64, Observation<'static>) {
        (ms, Observation::NodeStopped { node, how })
    }

    fn start(ms: u64, node: NodeNo) -> (u64, Observation<'static>) {
        (ms, Observation::NodeStarted { node, restart: true })
    }

    /// Four nodes; a job has 20 s, and the run ends at 100 s.
    fn judged(history: &[(u64, Observation<'static>)]) -> (Verdict, String) {
        let scenario = scenario_with_jobs(4, "100s", 1);
        let (mut contact, mut check) = (Contact::new(4), L2::new(&scenario));
        let mut world = History::new(&scenario);
        let mut see = |truth: &Truth, o: &Observation<'_>| {
            contact.observe(truth, o, |_, _, _| {});
            check.observe(truth, o);
        };
        for node in 0..4 {
            world.at(0, Observation::NodeStarted { node, restart: false }, &mut see);
        }
        for (ms, o) in history {
            world.at(*ms, o.clone(), &mut see);
        }
        world.at(100_000, Observation::FramesCut { count: 0 }, &mut see);
        check.judge(&world.truth, &scenario, &Quiet::of(&scenario), &contact)
    }

    #[test]
    fn a_result_or_a_visible_failure_is_an_end() {
        let completed = Observation::JobCompleted { node: 0, job: JOB, executor: 1, status: JobStatus::Success };
        let failed = Observation::JobFailed { node: 0, job: JOB, reason: FailReason::NoBids };
        assert_eq!(judged(&[submitted(10_000), (12_000, completed)]).0, Verdict::Pass);
        assert_eq!(judged(&[submitted(10_000), (30_000, failed)]).0, Verdict::Pass);
    }

    /// The claimer may be a liar, of whom nothing is observed.
    #[test]
    fn a_job_that_is_claimed_may_take_three_spans_whoever_says_so() {
        let claimed = Observation::ClaimLearned { node: 0, job: JOB, round: 0, claimer: 3 };
        let open_since = |ms| judged(&[submitted(ms), (ms + 1_000, claimed.clone())]).0;
        assert_eq!((open_since(40_000), open_since(30_000)), (Verdict::Unknown, Verdict::Fail));
        assert_eq!(judged(&[submitted(40_000)]).0, Verdict::Fail);
    }

    #[test]
    fn a_job_still_open_after_its_deadline_fails_and_is_named() {
        let (verdict, detail) = judged(&[submitted(10_000)]);
        assert_eq!(verdict, Verdict::Fail);
        assert!(detail.contains(&JOB.to_string()) && detail.contains("10.000000s at n0"), "{detail}");
    }

    #[test]
    fn a_job_whose_deadline_has_not_passed_is_only_counted() {
        assert_eq!(judged(&[submitted(75_000)]).0, Verdict::Fail);
        let (verdict, detail) = judged(&[submitted(75_001)]);
        assert_eq!(verdict, Verdict::Unknown);
        assert!(detail.contains("1 before their deadline"), "{detail}");
    }

    #[test]
    fn a_submitter_that_is_down_or_lost_its_store_is_excused_and_one_that_came_back_with_it_is_not() {
        assert_eq!(judged(&[submitted(10_000), stop(11_000, 0, Stop::CrashKept)]).0, Verdict::Unknown);
        let crash = |how| [submitted(10_000), stop(11_000, 0, how), start(20_000, 0)];
        assert_eq!(judged(&crash(Stop::CrashKept)).0, Verdict::Fail);
        let (verdict, detail) = judged(&crash(Stop::CrashLost));
        assert_eq!(verdict, Verdict::Unknown);
        assert!(detail.contains("1 lost with"), "{detail}");
        assert_eq!(
            judged(&[submitted(10_000), stop(11_000, 0, Stop::CrashKept), start(96_000, 0)]).0,
            Verdict::Unknown
        );
    }

    #[test]
    fn a_quorum_of_one_has_its_grace_too() {
        let mut scenario = scenario_with_jobs(1, "100s", 1);
        scenario.nodes[0].config.min_peers = 1;
        let judged = |restart_ms| {
            let (contact, mut check) = (Contact::new(1), L2::new(&scenario));
            let mut world = History::new(&scenario);
            for (ms, o) in [submitted(10_000), stop(11_000, 0, Stop::CrashKept), start(restart_ms, 0)] {
                world.at(ms, o, |truth, o| check.observe(truth, o));
            }
            world.truth.now = Time(100_000_000);
            check.judge(&world.truth, &scenario, &Quiet::of(&scenario), &contact).0
        };
        assert_eq!(judged(95_000), Verdict::Fail);
        assert_eq!(judged(95_001), Verdict::Unknown);
    }

    #[test]
    fn a_submitter_without_a_quorum_is_excused() {
        let dead = |node| stop(5_000, node, Stop::CrashKept);
        assert_eq!(judged(&[dead(3), submitted(10_000)]).0, Verdict::Fail);
        assert_eq!(judged(&[dead(2), dead(3), submitted(10_000)]).0, Verdict::Unknown);
    }
}
