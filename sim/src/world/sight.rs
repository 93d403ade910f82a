//! Who looks on while a world runs: KPIs, checks and timeline, all from the same observations, and whoever watches.

use std::collections::VecDeque;

use marlos::io::Outbox;
use marlos::time::Time;

use super::frames::Origin;

use crate::check::{Checks, Violation};
use crate::kpi::Kpis;
use crate::memo::Memo;
use crate::network::Delivery;
use crate::observe::{Observation, Truth};
use crate::scenario::NodeNo;
use crate::story::Stories;
use crate::timeline::Timeline;

/// State changes that are kept for the report of a violation.
const LAST_CHANGES: usize = 40;

/// What a run tells while it goes on. None of it changes the run.
pub trait Watcher {
    /// Every so many events. `false` ends the run here.
    fn at(&mut self, now: Time, events: u64) -> bool;
    /// An observation; called only where [`Watcher::wants_changes`].
    fn change(&mut self, now: Time, observation: &Observation<'_>);
    /// Whether it wants to see observations: hearing of each frame costs time.
    fn wants_changes(&self) -> bool;
    /// A node was called, and this is what it said.
    fn called(&mut self, now: Time, event: u64, node: NodeNo, outbox: &Outbox) {
        let _ = (now, event, node, outbox);
    }
    /// A frame comes in at a node's machine, whether or not its process stands still. `origin` is who sealed it, and when.
    fn arrived(&mut self, now: Time, delivery: Delivery, origin: Origin, frame: &[u8]) {
        let _ = (now, delivery, origin, frame);
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn at(&mut self, _: Time, _: u64) -> bool {
        true
    }
    fn change(&mut self, _: Time, _: &Observation<'_>) {}
    fn wants_changes(&self) -> bool {
        false
    }
}

/// Everything that looks on: what is true, and who draws conclusions from it.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) truth: Truth,
    pub(super) kpis: Kpis,
    pub(super) checks: Checks,
    pub(super) timeline: Timeline,
    pub(super) stories: Stories,
    pub(super) deliveries: u64,
    pub(super) changes: VecDeque<(Time, u64, Observation<'static>)>,
    pub(super) violation: Option<Box<Violation>>,
}

impl Sight {
    #[inline]
    pub(super) fn observe(&mut self, o: &Observation<'_>, memo: &mut Memo, watcher: &mut dyn Watcher) {
        self.timeline.observe(&self.truth, o);
        // Whoever has misbehaved is not judged, and nothing that it says of itself is believed.
        let judged = o.reporter().is_none_or(|node| self.truth.honest(node));
        let sound = if judged {
            self.kpis.observe(&self.truth, o);
            self.checks.observe(&self.truth, o, memo)
        } else {
            self.kpis.observe_dishonest(&self.truth, o);
            self.checks.observe_dishonest(&self.truth, o)
        };
        if let Some(change) = o.lasting() {
            self.stories.observe(self.truth.now, &change);
            if self.changes.len() == LAST_CHANGES {
                self.changes.pop_front();
            }
            self.changes.push_back((self.truth.now, self.truth.event, change));
        }
        if watcher.wants_changes() {
            watcher.change(self.truth.now, o);
        }
        if let Err(violation) = sound {
            self.violation.get_or_insert(violation);
        }
    }
}
