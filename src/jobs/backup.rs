//! What this node watches as backup: it takes over when the executor is gone, or has shown no sign of life for a lease
//! (protocol.md, section 7).

use std::collections::BTreeMap;

use super::Effect;
use crate::auction::{Claim, Job, is_gone};
use crate::cx::Ctx;
use crate::id::{JobId, NodeId};
use crate::membership::Members;
use crate::time::Time;
use crate::timers::Timers;

/// The jobs whose executors this node watches.
#[derive(Clone, Debug, Default)]
pub struct Backups {
    watched: BTreeMap<JobId, Watch>,
    timers: Timers<JobId>,
}

#[derive(Clone, Copy, Debug)]
struct Watch {
    round: u32,
    executor: NodeId,
    until: Time,
}

impl Backups {
    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }

    /// A claim that is better than any before: this node is its backup, or its watch is over.
    pub fn on_claimed(&mut self, cx: &Ctx<'_>, id: JobId, claim: Claim, job: &Job) {
        self.end(id);
        if claim.backup == Some(cx.self_id()) && claim.claimer != cx.self_id() {
            let left = job.broadcast.body.deadline.since(cx.wall());
            let until = cx.now.mono + left + cx.config.lease.times(2);
            self.watched.insert(id, Watch { round: claim.round, executor: claim.claimer, until });
            self.timers.arm(id, cx.now.mono + cx.config.lease);
        }
    }

    /// The executor says that it lives.
    pub fn on_heartbeat(&mut self, cx: &Ctx<'_>, id: JobId, round: u32, from: NodeId) {
        if self.watched.get(&id).is_some_and(|watch| watch.round == round && watch.executor == from) {
            self.timers.arm(id, cx.now.mono + cx.config.lease);
        }
    }

    /// The executor says that it is done.
    pub fn on_result(&mut self, id: JobId, round: u32, from: NodeId) {
        if self.watched.get(&id).is_some_and(|watch| watch.round == round && watch.executor == from) {
            self.end(id);
        }
    }

    fn end(&mut self, id: JobId) {
        self.watched.remove(&id);
        self.timers.disarm(id);
    }

    /// Executors that have been silent for a lease.
    pub fn on_timers(&mut self, cx: &Ctx<'_>, effects: &mut Vec<Effect>) {
        while let Some(id) = self.timers.pop_due(cx.now.mono) {
            if cx.now.mono >= self.watched[&id].until {
                self.watched.remove(&id);
                continue;
            }
            effects.push(Effect::TakeOver { job: id });
            self.timers.arm(id, cx.now.mono + cx.config.lease);
        }
    }

    /// Enough members are reachable again: what could not be taken over before.
    pub fn on_recovered(&self, members: &Members, effects: &mut Vec<Effect>) {
        let gone = self.watched.iter().filter(|(_, watch)| is_gone(members, watch.executor));
        effects.extend(gone.map(|(id, _)| Effect::TakeOver { job: *id }));
    }

    /// A member died or left: this node's turn, where it ran what this node watches.
    pub fn on_peer_lost(&self, lost: NodeId, effects: &mut Vec<Effect>) {
        let gone = self.watched.iter().filter(|(_, watch)| watch.executor == lost);
        effects.extend(gone.map(|(id, _)| Effect::TakeOver { job: *id }));
    }
}
