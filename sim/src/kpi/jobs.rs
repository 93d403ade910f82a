//! What becomes of every job: `job_broadcast`, `consensus`, `consensus_learned`, `jobs_lost`, `duplicate_executions`,
//! `election_disagreement`.

use std::collections::{BTreeMap, BTreeSet};

use marlos::Config;
use marlos::id::JobId;
use marlos::time::{Span, Time};

use super::samples::Samples;
use crate::check::contact::Contact;
use crate::observe::{Observation, Truth};
use crate::outcome::JobCounts;
use crate::scenario::{NodeNo, Scenario};

/// A job younger than this at the end, and not seen by all, says nothing.
const BROADCAST_JUDGED_AFTER: Span = Span::secs(5);
/// A job younger than this at the end, and without a claim, says nothing: room for several rounds.
const CONSENSUS_JUDGED_AFTER: Span = Span::secs(10);

/// All jobs of a run.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    warmup: Time,
    configs: Vec<Config>,
    jobs: BTreeMap<JobId, Job>,
    /// Those of which something is still awaited.
    pending: BTreeSet<JobId>,
    executions: BTreeMap<JobId, u64>,
    /// Who closed the auction of a round first, and whether another did too.
    closed: BTreeMap<(JobId, u32), (NodeNo, bool)>,
    pub counts: JobCounts,
    /// Submitted after the warm-up.
    pub judged: u64,
    pub broadcast: Samples,
    pub consensus: Samples,
    pub learned: Samples,
    pub duplicates: Samples,
    pub disagreements: Samples,
    pub lost: Samples,
}

#[derive(Clone, Debug)]
struct Job {
    submitter: NodeNo,
    at: Time,
    ended: bool,
    broadcast: Awaited,
    consensus: Claim,
    learned: Awaited,
}

/// Where the first claim of a job stands, for the KPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Awaited,
    Certified,
    /// Its side had no quorum, or lost it before.
    NotJudged,
}

/// The nodes that something has not reached yet.
#[derive(Clone, Debug, Default)]
struct Awaited {
    nodes: Vec<NodeNo>,
    /// When it last reached one.
    last: Option<Time>,
}

impl Awaited {
    /// Whether the node was the last one.
    fn reached(&mut self, now: Time, node: NodeNo) -> bool {
        let Some(at) = self.nodes.iter().position(|awaited| *awaited == node) else { return false };
        self.nodes.swap_remove(at);
        self.last = Some(now);
        self.nodes.is_empty()
    }

    /// Awaits only those nodes any more; returns when the last of the others was reached, where nobody is left because of it.
    fn keep(&mut self, keep: impl Fn(NodeNo) -> bool) -> Option<Time> {
        if self.nodes.is_empty() {
            return None;
        }
        self.nodes.retain(|node| keep(*node));
        self.last.filter(|_| self.nodes.is_empty())
    }

    fn give_up(&mut self) {
        self.nodes.clear();
    }
}

impl Job {
    fn pending(&self) -> bool {
        !self.broadcast.nodes.is_empty() || !self.learned.nodes.is_empty() || self.consensus == Claim::Awaited
    }
}

impl Jobs {
    pub fn new(scenario: &Scenario) -> Jobs {
        Jobs {
            warmup: scenario.warmup,
            configs: scenario.nodes.iter().map(|node| node.config.clone()).collect(),
            jobs: BTreeMap::new(),
            pending: BTreeSet::new(),
            executions: BTreeMap::new(),
            closed: BTreeMap::new(),
            counts: JobCounts::default(),
            judged: 0,
            broadcast: Samples::new(),
            consensus: Samples::new(),
            learned: Samples::new(),
            duplicates: Samples::new(),
            disagreements: Samples::new(),
            lost: Samples::new(),
        }
    }

    /// Returns whether a job was completed by this.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>, contact: &Contact) -> bool {
        match *o {
            Observation::JobSubmitted { node, job } => self.on_submitted(truth, node, job, contact),
            Observation::JobSeen { node, job } => {
                self.with(job, |this, state| {
                    if state.broadcast.reached(truth.now, node) {
                        this.broadcast.record(truth.now.since(state.at).as_micros());
                    }
                });
            }
            Observation::Certified { node, job, .. } => {
                self.on_certified(truth.now, job);
                self.on_learned(truth.now, node, job);
            }
            Observation::ClaimLearned { node, job, claimer, .. } => {
                // When a liar has its certificate is known by when an honest node believes it.
                if !truth.honest(claimer) {
                    self.on_certified(truth.now, job);
                }
                self.on_learned(truth.now, node, job);
            }
            Observation::ExecutionStarted { job, .. } => {
                let executions = self.executions.entry(job).or_default();
                *executions += 1;
                if *executions > 1 {
                    self.counts.duplicate_executions += 1;
                    self.after_warmup(truth.now).then(|| self.duplicates.record(1));
                }
            }
            Observation::AuctionClosed { node, job, round, .. } => self.on_auction_closed(truth.now, node, job, round),
            Observation::JobCompleted { job, .. } => return self.on_ended(job, true),
            Observation::JobFailed { job, .. } => {
                self.on_ended(job, false);
            }
            _ => {}
        }
        false
    }

    fn after_warmup(&self, now: Time) -> bool {
        now >= self.warmup
    }

    fn on_submitted(&mut self, truth: &Truth, node: NodeNo, job: JobId, contact: &Contact) {
        if self.jobs.contains_key(&job) {
            return;
        }
        self.counts.submitted += 1;
        let mut state = Job {
            submitter: node,
            at: truth.now,
            ended: false,
            broadcast: Awaited::default(),
            consensus: Claim::NotJudged,
            learned: Awaited::default(),
        };
        if self.after_warmup(truth.now) {
            self.judged += 1;
            let side = (0..truth.up.len()).filter(|peer| contact.is(node, *peer));
            state.broadcast.nodes = side.collect();
            if contact.side_has_quorum(truth, node, &self.configs[node], Span::ZERO) {
                state.consensus = Claim::Awaited;
                state.learned.nodes = state.broadcast.nodes.clone();
                state.learned.nodes.push(node);
            }
            if state.pending() {
                self.pending.insert(job);
            }
        }
        self.jobs.insert(job, state);
    }

    /// Does something to a job that is still pending.
    fn with(&mut self, job: JobId, act: impl FnOnce(&mut Jobs, &mut Job)) {
        if !self.pending.contains(&job) {
            return;
        }
        let mut state = self.jobs.remove(&job).expect("pending jobs are jobs");
        act(self, &mut state);
        if !state.pending() {
            self.pending.remove(&job);
        }
        self.jobs.insert(job, state);
    }

    fn on_certified(&mut self, now: Time, job: JobId) {
        self.with(job, |this, state| {
            if state.consensus == Claim::Awaited {
                state.consensus = Claim::Certified;
                this.consensus.record(now.since(state.at).as_micros());
            }
        });
    }

    fn on_learned(&mut self, now: Time, node: NodeNo, job: JobId) {
        self.with(job, |this, state| {
            if state.learned.reached(now, node) {
                this.learned.record(now.since(state.at).as_micros());
            }
        });
    }

    fn on_auction_closed(&mut self, now: Time, node: NodeNo, job: JobId, round: u32) {
        let (first, disagreed) = self.closed.entry((job, round)).or_insert((node, false));
        if *first != node && !std::mem::replace(disagreed, true) && self.after_warmup(now) {
            self.disagreements.record(1);
        }
    }

    fn on_ended(&mut self, job: JobId, completed: bool) -> bool {
        let Some(state) = self.jobs.get_mut(&job) else { return false };
        if std::mem::replace(&mut state.ended, true) {
            return false;
        }
        self.counts.completed += u64::from(completed);
        self.counts.failed += u64::from(!completed);
        completed
    }

    /// To be called when somebody lost contact or a member was added: who is cut off or down is not awaited any more.
    pub fn on_contact_changed(&mut self, truth: &Truth, contact: &Contact) {
        let mut quorum: BTreeMap<NodeNo, bool> = BTreeMap::new();
        for job in self.pending.iter().copied().collect::<Vec<_>>() {
            self.with(job, |this, state| {
                let submitter = state.submitter;
                let there = truth.live(submitter) && truth.honest(submitter);
                if !there {
                    state.broadcast.give_up();
                }
                let reachable = |node| node == submitter || contact.is(submitter, node);
                if let Some(last) = state.broadcast.keep(reachable) {
                    this.broadcast.record(last.since(state.at).as_micros());
                }
                let has_quorum = *quorum
                    .entry(submitter)
                    .or_insert_with(|| contact.side_has_quorum(truth, submitter, &this.configs[submitter], Span::ZERO));
                if state.consensus == Claim::Awaited && !has_quorum {
                    state.consensus = Claim::NotJudged;
                    state.learned.give_up();
                }
                if !there {
                    state.learned.give_up();
                }
                if let Some(last) = state.learned.keep(reachable) {
                    this.learned.record(last.since(state.at).as_micros());
                }
            });
        }
    }

    /// Whether nothing can be said about lost jobs.
    pub fn none_came_to_its_end(&self) -> bool {
        self.counts.completed + self.counts.failed + self.counts.lost == 0
    }

    pub fn finish(&mut self, truth: &Truth, scenario: &Scenario) {
        for job in self.pending.iter().copied().collect::<Vec<_>>() {
            self.with(job, |this, state| {
                let age = truth.now.since(state.at);
                if !state.broadcast.nodes.is_empty() && age >= BROADCAST_JUDGED_AFTER {
                    this.broadcast.miss(age.as_micros());
                }
                if state.consensus == Claim::Awaited && age >= CONSENSUS_JUDGED_AFTER {
                    this.consensus.miss(age.as_micros());
                }
                if !state.learned.nodes.is_empty() && age >= CONSENSUS_JUDGED_AFTER {
                    this.learned.miss(age.as_micros());
                }
            });
        }
        let Some(load) = &scenario.workload else { return };
        let deadline = load.longest_deadline();
        for state in self.jobs.values() {
            let due = state.at + deadline + scenario.settle;
            if !state.ended && due <= truth.now && truth.up[state.submitter] && truth.honest(state.submitter) {
                self.counts.lost += 1;
                if state.at >= self.warmup {
                    self.lost.record(1);
                }
            }
        }
    }
}
