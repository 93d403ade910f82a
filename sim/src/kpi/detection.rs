//! `failure_detection`: from a crash, or a cut in both directions, until another node marks the victim dead. And `false_deaths`.

use marlos::io::PeerState;
use marlos::time::{Span, Time};

use super::samples::Samples;
use crate::check::contact::Contact;
use crate::check::views::Views;
use crate::observe::{Observation, Stop, Truth};
use crate::scenario::{NodeNo, Scenario};

/// A failure that is younger than this at the end, and not detected, says nothing (contract.md: max < 15 s).
pub(super) const JUDGED_AFTER: Span = Span::secs(15);

/// For each pair of observer and victim, the failure that the observer has not noticed yet.
#[derive(Clone, Debug)]
pub(super) struct Detection {
    nodes: usize,
    warmup: Time,
    /// `nodes * nodes`, by observer, then victim; [`Time::NEVER`] where there is none.
    open: Vec<Time>,
    /// `nodes * nodes`, symmetric: whether no frame passes in either direction.
    cut: Vec<bool>,
    timeouts: Vec<Span>,
    pub samples: Samples,
    /// One sample per live and connected peer that was marked dead, after the warm-up.
    pub false_deaths: Samples,
}

impl Detection {
    pub fn new(scenario: &Scenario) -> Detection {
        let nodes = scenario.nodes.len();
        Detection {
            nodes,
            warmup: scenario.warmup,
            open: vec![Time::NEVER; nodes * nodes],
            cut: vec![false; nodes * nodes],
            timeouts: scenario.nodes.iter().map(|node| node.config.heartbeat_timeout).collect(),
            samples: Samples::new(),
            false_deaths: Samples::new(),
        }
    }

    /// To be called before `views` has forgotten what a stopped node saw, and before it learns of a death.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>, views: &Views) {
        match *o {
            Observation::NodeStarted { node, .. } | Observation::NodeTurned { node } => self.recovered(node),
            Observation::NodeStopped { node, how: Stop::Leave } => self.recovered(node),
            Observation::NodeStopped { node, how: Stop::CrashKept | Stop::CrashLost | Stop::CrashUnsynced } => {
                self.cannot_observe(node);
                for observer in 0..self.nodes {
                    self.fails(truth, observer, node, views);
                }
            }
            Observation::NodePaused { node, paused: true } => self.cannot_observe(node),
            Observation::ReachChanged => self.on_reach_changed(truth, views),
            Observation::PeerState { node, peer, state: PeerState::Dead } => {
                let open = &mut self.open[node * self.nodes + peer];
                let from = std::mem::replace(open, Time::NEVER);
                if from != Time::NEVER {
                    self.samples.record(truth.now.since(from).as_micros());
                }
            }
            _ => {}
        }
    }

    /// Whether this death is false: the peer is live, and has been in contact for as long as the observer is allowed silence.
    pub fn is_false_death(&mut self, truth: &Truth, node: NodeNo, peer: NodeNo, contact: &Contact) -> bool {
        let false_death = contact.held(node, peer, truth.now, self.timeouts[node]);
        if false_death && truth.now >= self.warmup {
            self.false_deaths.record(1);
        }
        false_death
    }

    /// Opens a failure, where the observer is live and does not hold the victim for lost already.
    fn fails(&mut self, truth: &Truth, observer: NodeNo, victim: NodeNo, views: &Views) {
        let open = &mut self.open[observer * self.nodes + victim];
        let honest = truth.honest(observer) && truth.honest(victim);
        let can = honest && observer != victim && truth.live(observer) && truth.now >= self.warmup;
        if can && *open == Time::NEVER && views.held_for_live(observer, victim) {
            *open = truth.now;
        }
    }

    fn on_reach_changed(&mut self, truth: &Truth, views: &Views) {
        for a in 0..self.nodes {
            for b in a + 1..self.nodes {
                let cut = !truth.reaches[a][b] && !truth.reaches[b][a];
                if std::mem::replace(&mut self.cut[a * self.nodes + b], cut) == cut {
                    continue;
                }
                for (observer, victim) in [(a, b), (b, a)] {
                    if cut && truth.live(victim) {
                        self.fails(truth, observer, victim, views);
                    } else if !cut && truth.up[victim] {
                        self.open[observer * self.nodes + victim] = Time::NEVER;
                    }
                }
            }
        }
    }

    /// The node is no victim any more, and its new process has observed nothing yet.
    fn recovered(&mut self, node: NodeNo) {
        self.cannot_observe(node);
        for observer in 0..self.nodes {
            self.open[observer * self.nodes + node] = Time::NEVER;
        }
    }

    fn cannot_observe(&mut self, node: NodeNo) {
        self.open[node * self.nodes..(node + 1) * self.nodes].fill(Time::NEVER);
    }

    pub fn finish(&mut self, now: Time) {
        for from in &self.open {
            if *from != Time::NEVER && now.since(*from) >= JUDGED_AFTER {
                self.samples.miss(now.since(*from).as_micros());
            }
        }
    }
}
