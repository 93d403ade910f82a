//! More than anybody's share: as many frames as are asked for, to whom it is asked.

use marlos::id::JobId;
use marlos::time::Span;
use marlos::wire::message::OutputChunk;
use marlos::wire::{MsgType, Payload};

use super::said::{Form, Said, Sealed, Whom};
use super::scene::{Envelope, Scene};
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

/// Frames leave in bursts so far apart.
const EVERY: Span = Span::millis(10);

pub(super) const SPEC: Spec = Spec {
    name: "flood",
    what: "Each node sends so many frames a second to all the others, beside what it says itself: sound ones (\"valid\"), bytes that \
           mean nothing (\"junk\"), or ones in the name of strangers (\"strangers\").",
    under_way: AS_SENT,
    keys: &[
        Key::choice("of", &["valid", "junk", "strangers"], "what they are"),
        Key::whole("rate", 500, 1, 100_000, "frames in a second, to all of them together"),
        Key::whole("size", 200, 100, 200_000, "bytes of each, about"),
        Key::nodes("to", "whom"),
    ],
    example: "of = \"junk\"\nrate = 2_000",
    begin: |behaviour| {
        Box::new(Flood {
            of: behaviour.choice("of"),
            rate: behaviour.whole("rate"),
            size: usize::try_from(behaviour.whole("size")).expect("bounded by its key"),
            to: behaviour.nodes("to"),
        })
    },
};

#[derive(Debug)]
struct Flood {
    of: &'static str,
    rate: u64,
    size: usize,
    to: Vec<NodeNo>,
}

impl Misbehaviour for Flood {
    fn start(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + EVERY);
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        // As many as are due since the start of time, less those due a burst ago: no rounding adds up.
        let due = |us: u64| us.wrapping_mul(self.rate) / 1_000_000;
        let now = scene.now.mono.0;
        for n in due(now - EVERY.0)..due(now) {
            let others = scene.others(&self.to);
            let whom = if self.to.is_empty() { Whom::All } else { Whom::One(others[n as usize % others.len()]) };
            let said = self.frame(scene, whom);
            scene.misdeed();
            scene.say(said);
        }
        scene.wake_at(scene.now.mono + EVERY);
    }
}

impl Flood {
    fn frame(&self, scene: &mut Scene<'_>, whom: Whom) -> Said {
        let noise = noise(scene, self.size);
        if self.of == "junk" {
            return Said {
                whom,
                form: Form::Sealed(Sealed { kind: MsgType::OutputChunk, bytes: noise, origin: None }),
            };
        }
        let job_id = JobId(noise[..16].try_into().expect("a frame is longer"));
        let chunk = Payload::OutputChunk(OutputChunk { job_id, round: 0, offset: 0, bytes: noise });
        if self.of == "valid" {
            return scene.open(whom, vec![chunk]);
        }
        let keys = scene.stranger();
        let envelope = Envelope { sender: keys.id(), ..scene.envelope(whom) };
        Said { whom, form: Form::Sealed(scene.seal(&envelope, &[chunk], &keys)) }
    }
}

/// Bytes that nobody has chosen.
pub(super) fn noise(scene: &mut Scene<'_>, length: usize) -> Vec<u8> {
    let (mut noise, mut word) = (Vec::with_capacity(length + 8), scene.draw());
    while noise.len() < length {
        // A linear congruential generator (Knuth, MMIX): noise need not be good, and a draw for each word would be slow.
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&word.to_be_bytes());
    }
    noise.truncate(length);
    noise
}
