//! The world's part in misbehaviour: what a wrapped node hears and says passes the troupe, and what comes of it is carried out.

use marlos::id::Link;
use marlos::io::{Action, Outbox, To};
use marlos::time::{Span, Time};

use super::frames::Origin;
use super::{Watcher, World, WorldEvent};
use crate::byzantine::Behaviour;
use crate::byzantine::said::{Heard, Said, Whom};
use crate::byzantine::scene::Scene;
use crate::byzantine::troupe::{Spoken, Troupe};
use crate::observe::Observation;
use crate::scenario::NodeNo;

/// How soon a node that stands still, or works, is asked again.
const AGAIN_AFTER: Span = Span::millis(10);

impl World {
    /// Nodes begin to misbehave, and are not judged from here on.
    pub(super) fn begin_misbehaviour(
        &mut self,
        fault: usize,
        nodes: &[NodeNo],
        behaviour: &Behaviour,
        watcher: &mut dyn Watcher,
    ) {
        self.troupe.begin(fault, self.sight.truth.now, nodes, behaviour);
        for node in nodes {
            if !std::mem::replace(&mut self.sight.truth.byzantine[*node], true) {
                self.observe(&Observation::NodeTurned { node: *node }, watcher);
            }
        }
        nodes.iter().for_each(|node| self.start_misbehaviour(*node, Some(fault), watcher));
    }

    /// A node begins to misbehave, or starts while it is to.
    pub(super) fn start_misbehaviour(&mut self, node: NodeNo, fault: Option<usize>, watcher: &mut dyn Watcher) {
        self.misbehave(node, watcher, |troupe, scene| troupe.start(scene, fault));
    }

    /// Whether a node hears this frame now.
    pub(super) fn lets_hear(
        &mut self,
        node: NodeNo,
        link: Link,
        origin: Origin,
        bytes: &[u8],
        watcher: &mut dyn Watcher,
    ) -> bool {
        let heard = Heard { link, origin, bytes };
        self.misbehave(node, watcher, |troupe, scene| troupe.hear(scene, &heard)).unwrap_or(true)
    }

    /// What the machine of a wrapped node wants to send.
    pub(super) fn say(&mut self, node: NodeNo, outbox: &Outbox, watcher: &mut dyn Watcher) {
        let slot = &self.slots[node];
        // What goes to somebody's invention is heard by nobody.
        let whom = |to| match to {
            To::All => Some(Whom::All),
            To::One(peer) => slot.world_number(peer).map(Whom::One),
            To::Beacon => Some(Whom::Beacon),
        };
        let said: Vec<Said> = outbox
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Send { to, frame, .. } => Some(Said::open(whom(*to)?, outbox.slice(frame))),
                _ => None,
            })
            .collect();
        if !said.is_empty() {
            self.misbehave(node, watcher, |troupe, scene| troupe.say(scene, said));
        }
    }

    /// Something that a behaviour has held back, or asked for, is due.
    pub(super) fn on_misbehave(&mut self, node: NodeNo, watcher: &mut dyn Watcher) {
        let slot = &mut self.slots[node];
        if slot.misbehave_at != self.sight.truth.now {
            return; // overtaken by an earlier one
        }
        slot.misbehave_at = Time::NEVER;
        if self.sight.truth.paused[node] {
            // It stands still with its machine.
            slot.misbehave_at = self.sight.truth.now + AGAIN_AFTER;
            return self.queue.push(slot.misbehave_at, 2 + node as u64, WorldEvent::Misbehave { node });
        }
        self.misbehave(node, watcher, Troupe::wake);
    }

    /// One call into the troupe, if the node is up, and what follows from it.
    fn misbehave<R>(
        &mut self,
        node: NodeNo,
        watcher: &mut dyn Watcher,
        act: impl FnOnce(&mut Troupe, &mut Scene<'_>) -> R,
    ) -> Option<R> {
        let now = self.now(node);
        let World { troupe, slots, memo, draws, sight, .. } = self;
        let slot = &slots[node];
        let machine = slot.node.as_ref()?;
        let mut scene = Scene::new(now, node, machine, &slot.keys, &sight.truth.ids, memo, draws);
        let result = act(troupe, &mut scene);
        for Spoken { whom, kind, bytes, origin } in std::mem::take(&mut self.troupe.spoken) {
            self.hash.spoken(now.mono, node, whom, &bytes);
            let origin = origin.or_else(|| self.troupe.origin_of(&bytes));
            self.publish(node, whom, kind, &bytes, origin, watcher);
        }
        for (behaviour, count) in std::mem::take(&mut self.troupe.deeds) {
            self.observe(&Observation::Misdeeds { node, behaviour, count }, watcher);
        }
        for (link, origin, bytes) in std::mem::take(&mut self.troupe.released) {
            if self.must_wait(node) {
                self.troupe.hold_back(node, now.mono + AGAIN_AFTER, link, origin, bytes);
                continue;
            }
            let frame = self.frames.put(&bytes, origin);
            self.deliver_through(node, link, frame, watcher);
            self.frames.release(frame);
        }
        self.arm_misbehaviour(node);
        Some(result)
    }

    fn arm_misbehaviour(&mut self, node: NodeNo) {
        let slot = &mut self.slots[node];
        let Some(due) = self.troupe.next_due(node).map(|due| due.max(self.sight.truth.now)) else { return };
        if due < slot.misbehave_at {
            slot.misbehave_at = due;
            self.queue.push(due, 2 + node as u64, WorldEvent::Misbehave { node });
        }
    }
}
