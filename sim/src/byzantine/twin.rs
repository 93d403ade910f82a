//! Two honest copies with one key, each in half of the world: an attacker without a line of attack.
//!
//! The machine itself speaks with every second of the others, and a copy of it, made when the fault begins, with the rest. Both are
//! honest; what they say differs as soon as what they hear does. Executions of the copy take as long as they would.

use std::collections::BTreeMap;

use marlos::io::{Action, Input, JobStatus, Outbox, Outcome, To};
use marlos::time::{Now, Time};
use marlos::{Node, id::JobId};

use super::said::{Heard, Hearing, Said, Whom};
use super::scene::Scene;
use super::{Misbehaviour, Spec};
use crate::scenario::NodeNo;
use crate::workload::SimulatedJob;

pub(super) const SPEC: Spec = Spec {
    name: "twin",
    what: "A second copy of each node runs with the same key and the same past. The one talks with half of the others, the other with \
           the other half, so that both vote, bid, claim, run and pay, each as it sees things. No datagrams.",
    under_way: "Is heard by the copy in whose half its sender is.",
    keys: &[],
    example: "",
    begin: |_| Box::new(Twin { copies: BTreeMap::new(), outbox: Outbox::default() }),
};

#[derive(Debug)]
struct Twin {
    copies: BTreeMap<NodeNo, Copy>,
    outbox: Outbox,
}

#[derive(Debug)]
struct Copy {
    node: Node,
    /// What it runs, by when that ends.
    running: BTreeMap<(Time, JobId), SimulatedJob>,
    /// When it will be woken.
    armed: Time,
}

/// Whether this one of the others hears the copy, and not the machine.
fn hears_copy(scene: &Scene<'_>, node: NodeNo) -> bool {
    scene.others(&[]).iter().position(|other| *other == node).is_some_and(|at| at % 2 == 1)
}

impl Misbehaviour for Twin {
    fn start(&mut self, scene: &mut Scene<'_>) {
        let copy = Copy { node: scene.node.clone(), running: BTreeMap::new(), armed: Time::NEVER };
        self.copies.insert(scene.me, copy);
        self.arm(scene);
    }

    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        if !self.copies.contains_key(&scene.me) || !hears_copy(scene, heard.origin.sender) {
            return Hearing::Pass;
        }
        self.tell(scene, Input::Frame { link: heard.link, bytes: heard.bytes });
        self.arm(scene);
        Hearing::Drop
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        self.share(scene, said, false);
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        let now = scene.now.mono;
        while let Some(((_, job), work)) = self.ended(scene.me, now) {
            let status = if work.fails { JobStatus::Failure } else { JobStatus::Success };
            let output = work.output(job);
            let outcome = Outcome { status, output: &output, duration: work.duration };
            self.tell(scene, Input::Finished { job, outcome });
        }
        if self.copies.get(&scene.me).and_then(|copy| copy.node.next_deadline()).is_some_and(|due| due <= now) {
            self.tell(scene, Input::Wake);
        }
        self.arm(scene);
    }
}

impl Twin {
    fn ended(&mut self, node: NodeNo, now: Time) -> Option<((Time, JobId), SimulatedJob)> {
        let running = &mut self.copies.get_mut(&node)?.running;
        running.first_entry().filter(|first| first.key().0 <= now).map(|first| first.remove_entry())
    }

    /// The copy hears something, and speaks to its half.
    fn tell(&mut self, scene: &mut Scene<'_>, input: Input<'_>) {
        let Some(copy) = self.copies.get_mut(&scene.me) else { return };
        let now: Now = scene.now;
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.clear();
        copy.node.handle(now, input, scene.memo, &mut outbox);
        let mut said = Vec::new();
        for action in &outbox.actions {
            match action {
                Action::Send { to, frame, .. } => {
                    let whom = match to {
                        To::All => Some(Whom::All),
                        To::One(peer) => scene.number(copy.node.view().peer_id(*peer)).map(Whom::One),
                        To::Beacon => None,
                    };
                    said.extend(whom.map(|whom| Said::open(whom, outbox.slice(frame))));
                }
                Action::Execute { job, command, .. } => {
                    if let Some(work) = SimulatedJob::parse(outbox.text(command)) {
                        copy.running.insert((now.mono + work.duration, *job), work);
                    }
                }
                Action::Cancel(job) => copy.running.retain(|(_, running), _| running != job),
                // It has no store, no connections of its own, and nobody to report to.
                Action::Persist { .. }
                | Action::Forget { .. }
                | Action::Connect { .. }
                | Action::Reach { .. }
                | Action::Disconnect(_)
                | Action::Report(_) => {}
            }
        }
        self.outbox = outbox;
        for said in said {
            scene.misdeed();
            self.share(scene, said, true);
        }
    }

    /// Says something to those who hear this one of the two.
    fn share(&self, scene: &mut Scene<'_>, said: Said, by_copy: bool) {
        if !self.copies.contains_key(&scene.me) {
            return scene.say(said);
        }
        match said.whom {
            Whom::All => {
                for node in 0..scene.ids.len() {
                    if node != scene.me && hears_copy(scene, node) == by_copy {
                        scene.say(said.to(node));
                    }
                }
            }
            Whom::One(node) if hears_copy(scene, node) == by_copy => scene.say(said),
            Whom::One(_) | Whom::Beacon => {}
        }
    }

    fn arm(&mut self, scene: &mut Scene<'_>) {
        let Some(copy) = self.copies.get_mut(&scene.me) else { return };
        let ends = copy.running.keys().next().map(|(at, _)| *at);
        let due = copy.node.next_deadline().into_iter().chain(ends).min();
        // Wakes that were overtaken come all the same, and do no harm.
        let gone = copy.armed <= scene.now.mono;
        if let Some(due) = due.filter(|due| gone || *due < copy.armed) {
            copy.armed = due;
            scene.wake_at(due);
        }
    }
}
