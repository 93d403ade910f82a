//! `takeover`: from the moment at which an executor is lost until another node runs the same job under the claim of a later round.
//!
//! An executor is lost when it crashes, stands still, or is cut off from every quorum while others have one. One sample for each job:
//! of its first takeover. Whoever comes back before anybody took over has lost nothing, unless it was away for so long that somebody
//! should have; a crashed one comes back when it runs the job again, not when it starts. Where nobody has a quorum, nobody can take over.

use std::collections::{BTreeMap, BTreeSet};

use marlos::Config;
use marlos::id::JobId;
use marlos::time::{Span, Time};

use super::samples::Samples;
use crate::check::contact::Contact;
use crate::observe::{Observation, Stop, Truth};
use crate::scenario::{NodeNo, Scenario};

/// An executor that was lost for less says nothing where nobody took over: the document's 15 s for a death alone.
const JUDGED_AFTER: Span = Span::secs(15);

/// Who runs what, and who was lost while at it.
#[derive(Clone, Debug)]
pub(super) struct Takeovers {
    warmup: Time,
    configs: Vec<Config>,
    running: BTreeMap<JobId, Execution>,
    /// Ended, or taken over once.
    over: BTreeSet<JobId>,
    /// Jobs that were taken over, the warm-up included.
    pub takeovers: u64,
    pub samples: Samples,
}

#[derive(Clone, Copy, Debug)]
struct Execution {
    node: NodeNo,
    round: u32,
    lost: Option<(Time, Loss)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Crash,
    Pause,
    Cut,
}

impl Takeovers {
    pub fn new(scenario: &Scenario) -> Takeovers {
        Takeovers {
            warmup: scenario.warmup,
            configs: scenario.nodes.iter().map(|node| node.config.clone()).collect(),
            running: BTreeMap::new(),
            over: BTreeSet::new(),
            takeovers: 0,
            samples: Samples::new(),
        }
    }

    /// To be called when `contact` has followed the truth.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>, contact: &Contact) {
        match *o {
            Observation::ExecutionStarted { node, job, round } => self.on_started(truth.now, node, job, round),
            // Whose result cannot get out is still lost to the others.
            Observation::ExecutionEnded { node, job, by_itself: true }
                if self.running.get(&job).is_some_and(|run| run.node == node && run.lost.is_none()) =>
            {
                self.running.remove(&job);
            }
            Observation::JobCompleted { job, .. } => drop(self.end(job)),
            Observation::JobFailed { job, .. } => {
                if let Some((since, _)) = self.end(job) {
                    self.not_taken_over(truth.now, since);
                }
            }
            Observation::NodeStopped { node, how } => {
                let crashed = match how {
                    Stop::CrashKept | Stop::CrashLost | Stop::CrashUnsynced => true,
                    Stop::Leave => false,
                };
                self.follow(truth, contact, |run| crashed && run.node == node, Loss::Crash);
            }
            Observation::NodePaused { node, paused: true } => {
                self.follow(truth, contact, |run| run.node == node, Loss::Pause);
            }
            Observation::NodePaused { node, paused: false } => {
                self.come_back(truth.now, |run, loss| run.node == node && loss == Loss::Pause);
                self.follow(truth, contact, |_| false, Loss::Cut);
            }
            Observation::NodeStarted { .. } | Observation::ReachChanged => {
                self.follow(truth, contact, |_| false, Loss::Cut);
            }
            _ => {}
        }
    }

    fn on_started(&mut self, now: Time, node: NodeNo, job: JobId, round: u32) {
        if self.over.contains(&job) {
            return;
        }
        let new = Execution { node, round, lost: None };
        let Some(before) = self.running.insert(job, new) else { return };
        match before.lost {
            Some((since, _)) if before.node != node && round > before.round => {
                if since >= self.warmup {
                    self.samples.record(now.since(since).as_micros());
                }
                self.takeovers += 1;
                self.running.remove(&job);
                self.over.insert(job);
            }
            // A second execution of an earlier round is no takeover, and does not undo the loss of the later one.
            lost if before.node != node && round <= before.round => {
                self.running.insert(job, Execution { lost, ..before });
            }
            _ => {}
        }
    }

    fn end(&mut self, job: JobId) -> Option<(Time, Loss)> {
        self.over.insert(job);
        self.running.remove(&job).and_then(|run| run.lost)
    }

    /// Something has changed about who can reach whom: `is_lost` tells which executors are lost by `loss`, the others are looked at.
    fn follow(&mut self, truth: &Truth, contact: &Contact, is_lost: impl Fn(&Execution) -> bool, loss: Loss) {
        if self.running.is_empty() {
            return;
        }
        let has_quorum: Vec<bool> = (0..truth.up.len())
            .map(|node| contact.side_has_quorum(truth, node, &self.configs[node], Span::ZERO))
            .collect();
        if !has_quorum.contains(&true) {
            self.running.values_mut().for_each(|run| run.lost = None);
            return;
        }
        for run in self.running.values_mut().filter(|run| run.lost.is_none()) {
            if is_lost(run) {
                run.lost = Some((truth.now, loss));
            } else if truth.live(run.node) && !has_quorum[run.node] {
                run.lost = Some((truth.now, Loss::Cut));
            }
        }
        self.come_back(truth.now, |run, loss| loss == Loss::Cut && has_quorum[run.node]);
    }

    fn come_back(&mut self, now: Time, is_back: impl Fn(&Execution, Loss) -> bool) {
        let mut away = Vec::new();
        for run in self.running.values_mut() {
            if let Some((since, loss)) = run.lost
                && is_back(run, loss)
            {
                run.lost = None;
                away.push(since);
            }
        }
        away.into_iter().for_each(|since| self.not_taken_over(now, since));
    }

    fn not_taken_over(&mut self, now: Time, since: Time) {
        if since >= self.warmup && now.since(since) >= JUDGED_AFTER {
            self.samples.miss(now.since(since).as_micros());
        }
    }

    pub fn finish(&mut self, now: Time) {
        let lost: Vec<Time> = self.running.values().filter_map(|run| run.lost.map(|(since, _)| since)).collect();
        lost.into_iter().for_each(|since| self.not_taken_over(now, since));
    }
}
