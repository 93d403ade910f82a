//! The life of each job, step by step: what the report draws as bars.
//!
//! Bounded: of a long run the first jobs are kept, and each with its first steps. What is left out is counted.

use std::collections::BTreeMap;

use marlos::id::JobId;
use marlos::io::{FailReason, JobStatus};
use marlos::time::Time;

use crate::observe::Observation;
use crate::scenario::NodeNo;

/// Jobs that are kept.
const JOBS: usize = 2_000;
/// Steps of one job that are kept.
const STEPS: usize = 40;

/// Something that happened to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its client handed it in.
    Submitted,
    /// One more node than before has heard of it; only the last of these is kept.
    Seen,
    /// A coordinator named a winner for this round.
    AuctionClosed(u32),
    /// The winner holds a certificate for this round.
    Certified(u32),
    /// It runs.
    Started,
    /// It ended by itself.
    Ended,
    /// It was stopped, since another claim is newer.
    Fenced,
    /// The submitter has its result.
    Completed(JobStatus),
    /// The submitter gave it up.
    Failed(FailReason),
}

/// One step of a job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Time,
    /// At which node.
    pub node: NodeNo,
    /// What.
    pub step: Step,
}

/// One job's life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// In the order in which it happened; never empty.
    pub moments: Vec<Moment>,
}

/// Follows a run and keeps the stories of its jobs.
#[derive(Clone, Debug, Default)]
pub struct Stories {
    number: BTreeMap<JobId, usize>,
    stories: Vec<(JobId, Story)>,
    left_out: u64,
}

/// The stories of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The first jobs, in the order of their submission.
    pub stories: Vec<(JobId, Story)>,
    /// Jobs that came after those.
    pub left_out: u64,
}

impl Stories {
    /// Takes one observation that is no traffic.
    pub fn observe(&mut self, at: Time, o: &Observation<'_>) {
        let (node, job, step) = match *o {
            Observation::JobSubmitted { node, job } => (node, job, Step::Submitted),
            Observation::JobSeen { node, job } => (node, job, Step::Seen),
            Observation::AuctionClosed { node, job, round, .. } => (node, job, Step::AuctionClosed(round)),
            Observation::Certified { node, job, round, .. } => (node, job, Step::Certified(round)),
            Observation::ExecutionStarted { node, job, .. } => (node, job, Step::Started),
            Observation::ExecutionEnded { node, job, by_itself: true } => (node, job, Step::Ended),
            Observation::Fenced { node, job } => (node, job, Step::Fenced),
            Observation::JobCompleted { node, job, status, .. } => (node, job, Step::Completed(status)),
            Observation::JobFailed { node, job, reason } => (node, job, Step::Failed(reason)),
            _ => return,
        };
        self.add(job, Moment { at, node, step });
    }

    fn add(&mut self, job: JobId, moment: Moment) {
        let number = match self.number.get(&job) {
            Some(number) => *number,
            None if moment.step != Step::Submitted => return,
            None if self.stories.len() == JOBS => {
                self.left_out += 1;
                return;
            }
            None => {
                self.number.insert(job, self.stories.len());
                self.stories.push((job, Story::default()));
                self.stories.len() - 1
            }
        };
        let moments = &mut self.stories[number].1.moments;
        if let Some(last) = moments.last_mut()
            && last.step == Step::Seen
            && moment.step == Step::Seen
        {
            *last = moment;
        } else if moments.len() < STEPS {
            moments.push(moment);
        }
    }

    /// What was kept.
    #[must_use]
    pub fn told(self) -> Told {
        Told { stories: self.stories, left_out: self.left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: u32) -> JobId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        JobId(id)
    }

    #[test]
    fn a_story_has_the_steps_of_its_job_in_order_and_only_the_last_node_to_hear_of_it() {
        let mut stories = Stories::default();
        let seen = |node| Observation::JobSeen { node, job: job(1) };
        let all = [
            Observation::JobSeen { node: 3, job: job(9) },
            Observation::JobSubmitted { node: 0, job: job(1) },
            seen(1),
            seen(2),
            Observation::ExecutionStarted { node: 2, job: job(1), round: 0 },
            Observation::ExecutionEnded { node: 2, job: job(1), by_itself: false },
            Observation::JobFailed { node: 0, job: job(1), reason: FailReason::NoQuorum },
        ];
        for (at, o) in (1..).zip(&all) {
            stories.observe(Time(at), o);
        }
        let told = stories.told();
        assert_eq!(told.stories.len(), 1, "a job that nobody submitted has no story");
        let steps: Vec<(u64, NodeNo, Step)> =
            told.stories[0].1.moments.iter().map(|m| (m.at.0, m.node, m.step)).collect();
        let expected = [
            (2, 0, Step::Submitted),
            (4, 2, Step::Seen),
            (5, 2, Step::Started),
            (7, 0, Step::Failed(FailReason::NoQuorum)),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn later_jobs_are_counted_and_steps_beyond_the_limit_left_out() {
        let mut stories = Stories::default();
        for n in 0..JOBS as u32 + 3 {
            stories.observe(Time(1), &Observation::JobSubmitted { node: 0, job: job(n) });
        }
        for at in 0..100 {
            stories.observe(Time(at), &Observation::ExecutionStarted { node: 1, job: job(0), round: 0 });
        }
        let told = stories.told();
        assert_eq!((told.stories.len(), told.left_out), (JOBS, 3));
        assert_eq!(told.stories[0].1.moments.len(), STEPS);
    }
}
