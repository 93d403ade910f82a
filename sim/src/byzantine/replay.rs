//! Said again: messages that were genuine once, at another time, to another node, or with something changed that is signed.

use std::collections::{BTreeMap, VecDeque};

use marlos::time::Span;
use marlos::units::Ppm;
use marlos::wire::{Header, network_tag};

use super::said::{Form, Heard, Hearing, Said, Sealed, Whom, changed};
use super::scene::Scene;
use super::settings::Key;
use super::{Misbehaviour, Spec};
use crate::scenario::NodeNo;

/// Frames that are kept for nodes that restart.
const KEPT: usize = 400;
/// The delays of `after`, in the order of its names.
const DELAYS: [Span; 3] = [Span::ZERO, Span::secs(10), Span::secs(40)];
/// How long after its first word in a new life a node is told what it may have forgotten.
const AFTER_RESTART: Span = Span::millis(500);
/// A network that nobody here is in.
const ELSEWHERE: &str = "elsewhere";

pub(super) const SPEC: Spec = Spec {
    name: "replay",
    what: "Says its own messages and those of others again: at once, after 10 s, after 40 s, or when their receiver has restarted; as \
           they were, or with another nonce, stamp, recipient or network under the old signature.",
    under_way: "Is heard by it as by anybody, and may be said again.",
    keys: &[
        Key::choice("whose", &["any", "own", "others"], "whose messages"),
        Key::choice(
            "after",
            &["any", "at_once", "10s", "40s", "restart"],
            "when; \"restart\" is when one that it hears starts anew",
        ),
        Key::choice(
            "changed",
            &["any", "nothing", "nonce", "timestamp", "recipient", "network"],
            "what is not as it was; \"any\" is each by turns",
        ),
        Key::share("share", 30, "how many messages are said again"),
    ],
    example: "whose = \"others\"\nafter = \"10s\"",
    begin: |behaviour| {
        Box::new(Replay {
            whose: behaviour.choice("whose"),
            after: behaviour.choice("after"),
            changed: behaviour.choice("changed"),
            share: behaviour.share("share"),
            kept: BTreeMap::new(),
            newest: BTreeMap::new(),
            incarnations: BTreeMap::new(),
        })
    },
};

#[derive(Debug)]
struct Replay {
    whose: &'static str,
    after: &'static str,
    changed: &'static str,
    share: Ppm,
    /// What each of the replayers has heard of late and might say to a node that restarts.
    kept: BTreeMap<NodeNo, VecDeque<Sealed>>,
    /// The newest frame of each node that each has heard.
    newest: BTreeMap<(NodeNo, NodeNo), u64>,
    /// The newest life of each node that each has heard of.
    incarnations: BTreeMap<(NodeNo, NodeNo), u32>,
}

impl Misbehaviour for Replay {
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        let Some(header) = heard.header() else { return Hearing::Pass };
        let from = heard.origin.sender;
        if header.sender != scene.ids[from] || from == scene.me {
            return Hearing::Pass;
        }
        // A word of an earlier life, said again by a fellow, is no new life, and its next own word is none either.
        let newest = self.incarnations.entry((scene.me, from)).or_insert(header.incarnation);
        if std::mem::replace(newest, header.incarnation.max(*newest)) < header.incarnation {
            self.on_restart(scene, from);
        }
        // What one of them has said again is not said again by the next, and so on without end.
        if self.whose != "own" && scene.fellows.binary_search(&from).is_err() && self.is_news(scene.me, heard) {
            let frame = Sealed { kind: header.kind, bytes: heard.bytes.to_vec(), origin: Some(heard.origin) };
            self.again(scene, header, frame);
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let Form::Open(open) = &said.form else { return scene.say(said) };
        if self.whose == "others" || open.payloads.is_empty() {
            return scene.say(said);
        }
        let sealed = scene.seal_own(said.whom, open);
        scene.say(Said { whom: said.whom, form: Form::Sealed(sealed.clone()) });
        if let Some(header) = super::said::header(&sealed.bytes) {
            self.again(scene, header, sealed);
        }
    }
}

impl Replay {
    /// Whether a frame is heard for the first time, and not as somebody's replay.
    fn is_news(&mut self, me: NodeNo, heard: &Heard<'_>) -> bool {
        let newest = self.newest.entry((me, heard.origin.sender)).or_insert(0);
        let news = heard.origin.number > *newest;
        *newest = heard.origin.number.max(*newest);
        news
    }

    fn again(&mut self, scene: &mut Scene<'_>, header: Header, frame: Sealed) {
        if self.after == "restart" || self.after == "any" {
            let kept = self.kept.entry(scene.me).or_default();
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(frame.clone());
        }
        let delay = match self.after {
            "at_once" => DELAYS[0],
            "10s" => DELAYS[1],
            "40s" => DELAYS[2],
            "restart" => return,
            _ => DELAYS[scene.draw_below(3) as usize],
        };
        if !scene.chance(self.share) {
            return;
        }
        let changes = ["nothing", "nonce", "timestamp", "recipient", "network"];
        let change = if self.changed == "any" { changes[scene.draw_below(5) as usize] } else { self.changed };
        let whom = whom(scene, &header);
        let Some((whom, frame)) = with(scene, change, whom, frame) else { return };
        scene.misdeed();
        scene.say_later(delay, Said { whom, form: Form::Sealed(frame) });
    }

    /// A node has begun a new life, and may have forgotten which messages it knows.
    fn on_restart(&mut self, scene: &mut Scene<'_>, node: NodeNo) {
        let newborn = scene.ids[node];
        for frame in self.kept.get(&scene.me).cloned().unwrap_or_default() {
            let header = super::said::header(&frame.bytes);
            let meant = |header: &Header| header.sender != newborn && header.to.is_none_or(|to| to == newborn);
            if header.as_ref().is_some_and(meant) {
                scene.misdeed();
                // When it has subscribed again.
                scene.say_later(AFTER_RESTART, Said { whom: Whom::One(node), form: Form::Sealed(frame) });
            }
        }
    }
}

/// To whom it is said again: to whom it was said.
fn whom(scene: &Scene<'_>, header: &Header) -> Whom {
    header.to.and_then(|to| scene.number(to)).filter(|to| *to != scene.me).map_or(Whom::All, Whom::One)
}

/// The frame with one thing changed and the signature that it had.
fn with(scene: &mut Scene<'_>, change: &str, whom: Whom, frame: Sealed) -> Option<(Whom, Sealed)> {
    let draw = scene.draw();
    let codec = scene.config.codec;
    let another = scene.draw_below(scene.ids.len() as u64) as usize;
    let mut receiver = whom;
    let change_header = |header: &mut Header| match change {
        "nonce" => header.counter += 1 + draw % 1_000,
        "timestamp" => header.timestamp = header.timestamp + Span::secs(1 + draw % 20),
        "recipient" => header.to = Some(scene.ids[another]),
        _ => header.network_tag = network_tag(ELSEWHERE),
    };
    let bytes = match change {
        "nothing" => return Some((whom, frame)),
        // Every second time it is not even that the envelope names another.
        "recipient" if draw.is_multiple_of(2) => return Some((Whom::One(another), frame)),
        _ => changed(&frame.bytes, codec, change_header)?,
    };
    if change == "recipient" {
        receiver = Whom::One(another);
    }
    Some((receiver, Sealed { kind: frame.kind, bytes, origin: None }))
}
