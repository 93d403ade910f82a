//! What nobody can read: noise, pieces of messages, flipped bits, bombs that unpack to much more, and nesting without end.

use marlos::id::JobId;
use marlos::time::Span;
use marlos::wire::message::OutputChunk;
use marlos::wire::{MsgType, Payload};

use super::flood::noise;
use super::said::{Form, Heard, Hearing, Said, Sealed, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};

/// What a bomb unpacks to, in bytes: far beyond what its kind allows.
const UNPACKED: usize = 2 * 1024 * 1024;
/// How deep nesting goes.
const DEPTH: usize = 100_000;
/// The kind stands behind version and network in a binary frame.
const KIND_AT: usize = 3;

pub(super) const SPEC: Spec = Spec {
    name: "garbage",
    what: "Sends what cannot be read: noise, the beginning of a message that it heard, one with flipped bits, a small message that \
           unpacks to 2 MiB, JSON nested 100,000 deep. Half of it is soundly signed all the same.",
    under_way: AS_SENT,
    keys: &[
        Key::choice("what", &["each", "noise", "truncated", "flipped", "bomb", "nested"], "what it is"),
        Key::duration("interval", Span::millis(100), Span::millis(1), Span::secs(3_600), "how far apart"),
    ],
    example: "what = \"bomb\"\ninterval = \"1s\"",
    begin: |behaviour| {
        let (what, every) = (behaviour.choice("what"), behaviour.duration("interval"));
        Box::new(Garbage { what, every, heard: Vec::new(), bomb: None })
    },
};

#[derive(Debug)]
struct Garbage {
    what: &'static str,
    every: Span,
    /// The last frame that any of them heard.
    heard: Vec<u8>,
    /// Packed once: it is always the same but for its nonce.
    bomb: Option<Payload>,
}

impl Misbehaviour for Garbage {
    fn start(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + self.every);
    }

    fn hear(&mut self, _: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        heard.bytes.clone_into(&mut self.heard);
        Hearing::Pass
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        let kinds = ["noise", "truncated", "flipped", "bomb", "nested"];
        let what = if self.what == "each" { kinds[scene.draw_below(5) as usize] } else { self.what };
        let mut bytes = self.bytes(scene, what);
        // A bomb must be let in to go off.
        if what == "bomb" || (what != "nested" && scene.draw_below(2) == 0) {
            scene.sign_frame(&mut bytes);
        }
        scene.misdeed();
        let kind = MsgType::Ping;
        scene.say(Said { whom: Whom::All, form: Form::Sealed(Sealed { kind, bytes, origin: None }) });
        scene.wake_at(scene.now.mono + self.every);
    }
}

impl Garbage {
    fn bytes(&mut self, scene: &mut Scene<'_>, what: &str) -> Vec<u8> {
        match what {
            "noise" => {
                let length = 1 + scene.draw_below(600) as usize;
                noise(scene, length)
            }
            "truncated" => {
                let length = scene.draw_below(self.heard.len().max(1) as u64) as usize;
                self.heard[..length].to_vec()
            }
            "flipped" => {
                let mut bytes = self.own(scene);
                for _ in 0..=scene.draw_below(4) {
                    let at = scene.draw_below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << scene.draw_below(8);
                }
                bytes
            }
            "bomb" => {
                let zeros = || {
                    Payload::OutputChunk(OutputChunk {
                        job_id: JobId([0; 16]),
                        round: 0,
                        offset: 0,
                        bytes: vec![0; UNPACKED],
                    })
                };
                let bomb = self.bomb.get_or_insert_with(zeros).clone();
                let mut bytes = self.sealed(scene, bomb);
                bytes[KIND_AT] = MsgType::Ping as u8;
                bytes
            }
            _ => {
                let open = b"{\"payload\":[".iter().copied().chain(std::iter::repeat_n(b'[', DEPTH));
                open.collect()
            }
        }
    }

    /// A message of its own, sound so far.
    fn own(&self, scene: &mut Scene<'_>) -> Vec<u8> {
        let bytes = noise(scene, 100);
        self.sealed(scene, Payload::OutputChunk(OutputChunk { job_id: JobId([1; 16]), round: 0, offset: 0, bytes }))
    }

    fn sealed(&self, scene: &mut Scene<'_>, payload: Payload) -> Vec<u8> {
        let Said { form: Form::Open(open), .. } = scene.open(Whom::All, vec![payload]) else {
            unreachable!("it was just opened")
        };
        scene.seal_own(Whom::All, &open).bytes
    }
}
