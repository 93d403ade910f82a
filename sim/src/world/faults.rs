//! What goes wrong, applied: faults that begin and end, processes that start, stop and stand still.

use marlos::io::{Command, Input};
use marlos::time::{Span, Time};

use super::slot::Waiting;
use super::store::Cut;
use super::{Watcher, World, WorldEvent};
use crate::draw::Purpose;
use crate::fault::Step as FaultStep;
use crate::network::Override;
use crate::observe::{Observation, Stop};
use crate::scenario::{CrashConnection, FaultKind, NodeNo, Storage};

impl World {
    pub(super) fn on_faults(&mut self, instant: usize, watcher: &mut dyn Watcher) {
        let now = self.sight.truth.now;
        let steps = std::mem::take(&mut self.instants[instant].1);
        if self.faults.apply(&steps) {
            self.sight.truth.reaches = self.faults.matrix().to_vec();
            self.network.set_reaches(now, &self.sight.truth.reaches);
            self.observe(&Observation::ReachChanged, watcher);
        }
        for step in &steps {
            let kind = self.scenario.faults[step.fault].kind.clone();
            self.apply_fault(step, &kind, watcher);
        }
    }

    fn apply_fault(&mut self, step: &FaultStep, kind: &FaultKind, watcher: &mut dyn Watcher) {
        match (kind, step.begins) {
            (FaultKind::Partition { .. } | FaultKind::OneWay { .. }, _) => {}
            (FaultKind::Link { between, latency, loss, bandwidth_bps }, true) => {
                let between = between.clone();
                let links = Override { between, latency: latency.clone(), loss: *loss, bandwidth_bps: *bandwidth_bps };
                self.network.set_override(step.fault, links);
            }
            (FaultKind::Link { .. }, false) => self.network.clear_override(step.fault),
            (FaultKind::Crash { nodes, storage, connection }, true) => {
                nodes.iter().for_each(|node| self.crash(*node, *storage, *connection, watcher));
            }
            (FaultKind::Crash { nodes, .. } | FaultKind::Leave { nodes }, false) => {
                for node in nodes {
                    if !self.is_down_by_another_fault(*node) {
                        self.start(*node, watcher);
                    }
                }
            }
            (FaultKind::Join { nodes }, true) => nodes.iter().for_each(|node| self.start(*node, watcher)),
            (FaultKind::Join { nodes }, false) | (FaultKind::Leave { nodes }, true) => {
                nodes.iter().for_each(|node| self.leave(*node, watcher));
            }
            (FaultKind::Rotate { nodes }, true) => {
                nodes.iter().for_each(|node| self.hear(*node, Waiting::Rotation, watcher));
            }
            (FaultKind::Rotate { .. }, false) => {}
            (FaultKind::Slow { nodes, .. }, _) => self.set_slow(nodes),
            (FaultKind::Pause { nodes }, true) => nodes.iter().for_each(|node| self.set_paused(*node, true, watcher)),
            (FaultKind::Clock { nodes, skew_us, drift_ppm, jump_us }, true) => {
                for node in nodes {
                    let clock = &mut self.slots[*node].clock;
                    clock.begin(step.fault, step.at, *skew_us, *drift_ppm, *jump_us);
                }
                let until = self.scenario.faults[step.fault].until.unwrap_or(self.scenario.duration);
                self.note_clocks(nodes, step.at, until);
            }
            (FaultKind::Clock { nodes, .. }, false) => {
                nodes.iter().for_each(|node| self.slots[*node].clock.end(step.fault));
            }
            (FaultKind::Byzantine { nodes, behaviour }, true) => {
                self.begin_misbehaviour(step.fault, nodes, behaviour, watcher);
            }
            (FaultKind::Byzantine { .. }, false) => self.troupe.end(step.fault),
            (FaultKind::Pause { nodes }, false) => {
                for node in nodes {
                    let still = |kind: &FaultKind| matches!(kind, FaultKind::Pause { nodes } if nodes.contains(node));
                    if !self.faults.active().iter().any(|fault| still(&self.scenario.faults[*fault].kind)) {
                        self.set_paused(*node, false, watcher);
                    }
                }
            }
        }
    }

    /// How far these clocks go while a fault of theirs lasts. They drift evenly: the extremes are at its ends.
    fn note_clocks(&mut self, nodes: &[NodeNo], from: Time, until: Time) {
        let truth = &mut self.sight.truth;
        for node in nodes.iter().copied().filter(|node| !truth.byzantine[*node]) {
            for at in [from, until] {
                let ahead = self.slots[node].clock.ahead_us(at);
                let (least, most) = truth.clocks_ahead_us;
                truth.clocks_ahead_us = (least.min(ahead), most.max(ahead));
            }
        }
    }

    fn is_down_by_another_fault(&self, node: NodeNo) -> bool {
        self.faults.active().iter().any(|fault| match &self.scenario.faults[*fault].kind {
            FaultKind::Crash { nodes, .. } | FaultKind::Leave { nodes } => nodes.contains(&node),
            _ => false,
        })
    }

    /// A node's process starts, with what its store holds.
    pub(super) fn start(&mut self, node: NodeNo, watcher: &mut dyn Watcher) {
        if self.slots[node].node.is_some() {
            return;
        }
        let restart = self.sight.truth.started[node];
        self.sight.truth.started[node] = true;
        self.sight.truth.up[node] = true;
        let now = self.sight.truth.now;
        let slot = &mut self.slots[node];
        slot.begin_life(now, self.draws.seed_of(Purpose::NodeSeed, node, u64::from(slot.life)));
        self.network.node_up(now, node);
        self.observe(&Observation::NodeStarted { node, restart }, watcher);
        let records = self.slots[node].store.records();
        self.handle(node, Input::Start(&records), watcher);
        if self.troupe.has(node) {
            self.start_misbehaviour(node, None, watcher);
        }
    }

    /// A node's process dies, and takes from its store what the fault says.
    fn crash(&mut self, node: NodeNo, storage: Storage, connection: CrashConnection, watcher: &mut dyn Watcher) {
        if self.slots[node].node.is_none() {
            return;
        }
        let how = match storage {
            Storage::Kept => Stop::CrashKept,
            Storage::Lost => Stop::CrashLost,
            Storage::Torn | Storage::UnsyncedLost => Stop::CrashUnsynced,
        };
        self.stop(node, how, connection, watcher);
        let slot = &mut self.slots[node];
        let draw = self.draws.one(Purpose::Tear, node, 0, 0, u64::from(slot.life));
        if let Some(Cut { records, since, torn }) = slot.store.crash(storage, draw) {
            self.observe(&Observation::StoreCut { node, records, since, torn }, watcher);
        }
    }

    /// A node's identity gets another key, which its process is told of, if it runs.
    pub(super) fn rotate(&mut self, node: NodeNo, watcher: &mut dyn Watcher) {
        let at = self.now(node);
        let slot = &mut self.slots[node];
        let turn = slot.keys.chain().len() as u64 + 1;
        let secret = self.draws.seed_of(Purpose::NodeKey, node, turn);
        // One that had to wait, as its node stood still, may come too soon after another.
        let Ok(rotated) = slot.keys.rotated_by(&secret, at.wall, &slot.network_id(), &mut self.memo) else { return };
        let old = std::mem::replace(&mut slot.keys, rotated.clone()).public();
        self.sight.truth.old_keys[node].push((at.mono, old));
        self.sight.truth.public_keys[node] = rotated.public();
        self.observe(&Observation::KeyRotated { node }, watcher);
        self.handle(node, Input::Command(Command::Rotate(&rotated)), watcher);
    }

    /// A node's process ends.
    pub(super) fn stop(&mut self, node: NodeNo, how: Stop, connection: CrashConnection, watcher: &mut dyn Watcher) {
        if self.slots[node].node.is_none() {
            return;
        }
        self.set_paused(node, false, watcher);
        let (running, waiting) = self.slots[node].end_life();
        for kept in waiting {
            match kept {
                Waiting::Frame { frame, .. } => self.frames.release(frame),
                // Its client waited for an answer and gets none.
                Waiting::Submit { .. } => self.observe(&Observation::SubmitRefused { node }, watcher),
                // Its operator does it now that the process is gone.
                Waiting::Rotation => self.rotate(node, watcher),
                Waiting::Connected(_) | Waiting::Disconnected(_) | Waiting::Finished { .. } | Waiting::Leave => {}
            }
        }
        for job in running {
            self.observe(&Observation::ExecutionEnded { node, job, by_itself: false }, watcher);
        }
        self.troupe.forget(node);
        self.network.node_down(self.sight.truth.now, node, connection);
        self.sight.truth.up[node] = false;
        self.observe(&Observation::NodeStopped { node, how }, watcher);
    }

    /// A node says goodbye; its process ends when that has gone out.
    fn leave(&mut self, node: NodeNo, watcher: &mut dyn Watcher) {
        if self.slots[node].node.is_none() {
            return;
        }
        self.set_paused(node, false, watcher);
        self.hear(node, Waiting::Leave, watcher);
    }

    /// It is told to leave, and is given a moment for its goodbye.
    pub(super) fn leave_now(&mut self, node: NodeNo, watcher: &mut dyn Watcher) {
        self.observe(&Observation::NodeLeaving { node }, watcher);
        self.handle(node, Input::Command(Command::Leave), watcher);
        let life = self.slots[node].life;
        let done = self.slots[node].cpu.until().unwrap_or(self.sight.truth.now);
        self.queue.push(done + Span::millis(200), 2 + node as u64, WorldEvent::Stop { node, life });
    }

    /// A node's process stands still, or goes on with what has come in the meantime, in order.
    fn set_paused(&mut self, node: NodeNo, paused: bool, watcher: &mut dyn Watcher) {
        if self.slots[node].node.is_none() || self.sight.truth.paused[node] == paused {
            return;
        }
        self.sight.truth.paused[node] = paused;
        self.observe(&Observation::NodePaused { node, paused }, watcher);
        if paused {
            return;
        }
        match self.slots[node].cpu.until() {
            // What it worked on is done when it would have been, or now.
            Some(until) => self.queue.push(until.max(self.sight.truth.now), 2 + node as u64, WorldEvent::Done { node }),
            None => {
                self.hear_waiting(node, watcher);
                if !self.slots[node].is_busy() {
                    self.handle(node, Input::Wake, watcher);
                }
            }
        }
    }

    /// Begins or ends: of all that are on, the factors of each node named.
    fn set_slow(&mut self, nodes: &[NodeNo]) {
        for node in nodes {
            let factors = self.faults.active().iter().filter_map(|fault| match &self.scenario.faults[*fault].kind {
                FaultKind::Slow { nodes, factor_millionths } if nodes.contains(node) => Some(*factor_millionths),
                _ => None,
            });
            self.slots[*node].cpu.slow_down(factors);
        }
    }
}
