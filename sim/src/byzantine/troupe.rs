//! The machinery: who misbehaves now and how, what is held back, and the sealing of what is said in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use marlos::id::Link;
use marlos::time::Time;
use marlos::wire::MsgType;
use sha2::{Digest as _, Sha256};

use super::said::{Form, Heard, Hearing, Said, Sealed, Whom};
use super::scene::{Effects, Scene};
use super::{Behaviour, Misbehaviour};
use crate::scenario::NodeNo;
use crate::world::Origin;

/// Frames and wakes of all nodes together that may wait; what is beyond is forgotten, as an attacker's memory is bounded too.
const HELD: usize = 1 << 18;

/// Frames whose origin is remembered: more than leave in the minute in which any could still be taken.
const REMEMBERED: usize = 1 << 16;

/// All misbehaving nodes of a world.
#[derive(Debug, Default)]
pub struct Troupe {
    /// In order of their beginning.
    plans: Vec<Active>,
    /// Nodes that have ever misbehaved, with their nonces.
    voices: BTreeMap<NodeNo, Voice>,
    held: BTreeMap<(NodeNo, Time, u64), Held>,
    begun: u64,
    /// Counts what was ever held.
    holds: u64,
    /// Where frames that left here come from: what is said twice is one message.
    origins: BTreeMap<[u8; 32], Origin>,
    /// What leaves now. The world takes it after each call.
    pub spoken: Vec<Spoken>,
    /// What a node hears now, after it was held back.
    pub released: Vec<(Link, Origin, Vec<u8>)>,
    /// What was done, by the behaviour's name.
    pub deeds: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
struct Active {
    fault: usize,
    order: u64,
    name: &'static str,
    purpose: (u8, u64),
    nodes: Arc<[NodeNo]>,
    /// How often each node has drawn.
    drawn: BTreeMap<NodeNo, u64>,
    plan: Box<dyn Misbehaviour>,
}

/// The nonces of a node that says more, or less, than its machine.
#[derive(Clone, Copy, Debug, Default)]
struct Voice {
    incarnation: u32,
    counter: u64,
}

#[derive(Debug)]
enum Held {
    /// Behaviour `order` asked to be woken.
    Wake { order: u64 },
    /// Behaviour `order` says something now.
    Say { order: u64, said: Said },
    /// A frame that the node hears late.
    Hear { link: Link, origin: Origin, bytes: Vec<u8> },
}

/// A frame that leaves.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// Where it goes.
    pub whom: Whom,
    /// What the network takes it for.
    pub kind: MsgType,
    /// The frame.
    pub bytes: Vec<u8>,
    /// Where it really comes from, if it was said before.
    pub origin: Option<Origin>,
}

impl Troupe {
    /// A fault begins. Each of its nodes that is up is then to be told by [`Troupe::start`].
    pub fn begin(&mut self, fault: usize, at: Time, nodes: &[NodeNo], behaviour: &Behaviour) {
        self.begun += 1;
        for node in nodes {
            self.voices.entry(*node).or_default();
        }
        self.plans.push(Active {
            fault,
            order: self.begun,
            name: behaviour.name(),
            // By when it begins, so that a shrunk scenario keeps what was drawn.
            purpose: (behaviour.number(), at.0 << 24),
            nodes: nodes.into(),
            drawn: BTreeMap::new(),
            plan: behaviour.begin(),
        });
    }

    /// A fault ends. Its nodes go on with nonces of their own: those of their machines were used.
    pub fn end(&mut self, fault: usize) {
        self.plans.retain(|active| active.fault != fault);
    }

    /// Where a frame comes from that was said here before.
    #[must_use]
    pub fn origin_of(&self, bytes: &[u8]) -> Option<Origin> {
        self.origins.get(&digest(bytes)).copied()
    }

    /// A frame has left for the first time.
    pub fn remember(&mut self, bytes: &[u8], origin: Origin) {
        if self.origins.len() >= REMEMBERED {
            self.origins.clear();
        }
        self.origins.insert(digest(bytes), origin);
    }

    /// A frame that was to be heard now is heard later after all.
    pub fn hold_back(&mut self, node: NodeNo, until: Time, link: Link, origin: Origin, bytes: Vec<u8>) {
        self.hold(node, until, Held::Hear { link, origin, bytes });
    }

    /// Whether what this node hears and says passes here.
    #[must_use]
    #[inline]
    pub fn has(&self, node: NodeNo) -> bool {
        !self.voices.is_empty() && self.voices.contains_key(&node)
    }

    /// When something of a node is due.
    #[must_use]
    pub fn next_due(&self, node: NodeNo) -> Option<Time> {
        let mut all = self.held.range((node, Time(0), 0)..=(node, Time::NEVER, u64::MAX));
        all.next().map(|((_, at, _), _)| *at)
    }

    /// A node's process ends: what it held is gone.
    pub fn forget(&mut self, node: NodeNo) {
        self.held.retain(|(of, ..), _| *of != node);
    }

    /// A fault begins at a node, or the node starts while it lasts.
    pub fn start(&mut self, scene: &mut Scene<'_>, fault: Option<usize>) {
        for at in 0..self.plans.len() {
            if fault.is_none_or(|fault| self.plans[at].fault == fault) {
                self.call(at, scene, |plan, scene| plan.start(scene));
            }
        }
    }

    /// A frame has come in; says whether the node hears it now.
    pub fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> bool {
        for at in 0..self.plans.len() {
            let mut hearing = Hearing::Pass;
            self.call(at, scene, |plan, scene| hearing = plan.hear(scene, heard));
            match hearing {
                Hearing::Pass => {}
                Hearing::Drop => return false,
                Hearing::Delay(span) => {
                    let (link, origin, bytes) = (heard.link, heard.origin, heard.bytes.to_vec());
                    self.hold(scene.me, scene.now.mono + span, Held::Hear { link, origin, bytes });
                    return false;
                }
            }
        }
        true
    }

    /// What the machine has said in one call.
    pub fn say(&mut self, scene: &mut Scene<'_>, said: Vec<Said>) {
        said.into_iter().for_each(|said| self.pass_on(0, scene, said));
    }

    /// Does what is due at a node.
    pub fn wake(&mut self, scene: &mut Scene<'_>) {
        while let Some(at) = self.next_due(scene.me).filter(|at| *at <= scene.now.mono) {
            let first = self.held.range((scene.me, at, 0)..).next().map(|(key, _)| *key);
            let held = self.held.remove(&first.expect("something is due")).expect("it is held");
            match held {
                Held::Wake { order } => {
                    if let Some(at) = self.plans.iter().position(|active| active.order == order) {
                        self.call(at, scene, |plan, scene| plan.wake(scene));
                    }
                }
                Held::Say { order, said } => self.pass_on(order, scene, said),
                Held::Hear { link, origin, bytes } => self.released.push((link, origin, bytes)),
            }
        }
    }

    /// One call into one behaviour, and what follows from it.
    fn call(&mut self, at: usize, scene: &mut Scene<'_>, act: impl FnOnce(&mut dyn Misbehaviour, &mut Scene<'_>)) {
        let me = scene.me;
        let active = &mut self.plans[at];
        if active.nodes.binary_search(&me).is_err() {
            return;
        }
        scene.fellows = Arc::clone(&active.nodes);
        scene.purpose = active.purpose;
        scene.drawn = active.drawn.get(&me).copied().unwrap_or(0);
        scene.counter = voice(&mut self.voices, scene).counter;
        act(&mut *active.plan, scene);
        if scene.drawn > 0 {
            active.drawn.insert(me, scene.drawn);
        }
        let (order, name) = (active.order, active.name);
        voice(&mut self.voices, scene).counter = scene.counter;
        let Effects { said, later, wakes, deeds } = std::mem::take(&mut scene.effects);
        if deeds > 0 {
            self.deeds.push((name, deeds));
        }
        wakes.into_iter().for_each(|at| self.hold(me, at, Held::Wake { order }));
        later.into_iter().for_each(|(at, said)| self.hold(me, at, Held::Say { order, said }));
        said.into_iter().for_each(|said| self.pass_on(order, scene, said));
    }

    /// A frame passes the behaviours that began after `order`, and leaves.
    fn pass_on(&mut self, order: u64, scene: &mut Scene<'_>, said: Said) {
        let next = self.plans.iter().position(|a| a.order > order && a.nodes.binary_search(&scene.me).is_ok());
        match next {
            Some(at) => self.call(at, scene, |plan, scene| plan.say(scene, said)),
            None => self.leave(scene, said),
        }
    }

    fn leave(&mut self, scene: &mut Scene<'_>, Said { whom, form }: Said) {
        let Sealed { kind, bytes, origin } = match form {
            Form::Sealed(sealed) => sealed,
            Form::Open(open) if open.payloads.is_empty() => return,
            Form::Open(open) => {
                scene.counter = voice(&mut self.voices, scene).counter;
                let sealed = scene.seal_own(whom, &open);
                voice(&mut self.voices, scene).counter = scene.counter;
                sealed
            }
        };
        self.spoken.push(Spoken { whom, kind, bytes, origin });
    }

    fn hold(&mut self, node: NodeNo, at: Time, held: Held) {
        if self.held.len() < HELD {
            self.holds += 1;
            self.held.insert((node, at, self.holds), held);
        }
    }
}

/// The nonces of the node in its present incarnation: above all that its machine has used.
fn voice<'v>(voices: &'v mut BTreeMap<NodeNo, Voice>, scene: &Scene<'_>) -> &'v mut Voice {
    let voice = voices.entry(scene.me).or_default();
    let view = scene.node.view();
    if view.incarnation() != voice.incarnation {
        *voice = Voice { incarnation: view.incarnation(), counter: view.metrics().messages_sent };
    }
    voice
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
