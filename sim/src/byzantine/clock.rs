//! Lies about time: stamps that are as wrong as they may be, that drift or jump, and answers to PINGs that would move clocks.

use marlos::time::{Span, Time};
use marlos::wire::Payload;

use super::said::{Form, Said};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};

/// How often a jumping clock jumps.
const JUMPS_EVERY: Span = Span::secs(2);

pub(super) const SPEC: Spec = Spec {
    name: "clock",
    what: "Stamps what it says with a wrong time: \"ahead\" or \"behind\" by `by`, \"drift\"ing there in a minute, or \"jump\"ing to \
           and fro; or it lies about how long it has held the PINGs that it answers (\"pongs\"). \"each\" node takes one of them.",
    under_way: AS_SENT,
    keys: &[
        Key::choice("how", &["each", "ahead", "behind", "drift", "jump", "pongs"], "in which way"),
        Key::duration(
            "by",
            Span::millis(29_500),
            Span::millis(1),
            Span::secs(3_600),
            "how wrong; beyond the tolerance nothing is heard",
        ),
    ],
    example: "how = \"pongs\"\nby = \"10s\"",
    begin: |behaviour| {
        Box::new(Clock { how: behaviour.choice("how"), by: behaviour.duration("by"), since: Time::NEVER })
    },
};

#[derive(Debug)]
struct Clock {
    how: &'static str,
    by: Span,
    since: Time,
}

impl Misbehaviour for Clock {
    fn start(&mut self, scene: &mut Scene<'_>) {
        self.since = self.since.min(scene.now.mono);
    }

    fn say(&mut self, scene: &mut Scene<'_>, mut said: Said) {
        let Form::Open(open) = &mut said.form else { return scene.say(said) };
        let hows = ["ahead", "behind", "drift", "jump", "pongs"];
        let place = scene.fellows.iter().position(|fellow| *fellow == scene.me).unwrap_or(0);
        let how = if self.how == "each" { hows[place % hows.len()] } else { self.how };
        let by = self.by.as_micros().cast_signed();
        let since = scene.now.mono.since(self.since);
        let shift = match how {
            "ahead" => by,
            "behind" => -by,
            "drift" => {
                let minute = Span::secs(60).as_micros();
                by / 1_000_000 * (since.as_micros().min(minute) * 1_000_000 / minute).cast_signed()
            }
            "jump" if (since.as_micros() / JUMPS_EVERY.as_micros()).is_multiple_of(2) => by,
            "jump" => -by,
            _ => {
                if false_pongs(&mut open.payloads, self.by) {
                    scene.misdeed();
                }
                return scene.say(said);
            }
        };
        open.timestamp = open.timestamp.offset(shift);
        scene.misdeed();
        scene.say(said);
    }
}

/// Says of every answer that it was held much longer than it was.
fn false_pongs(payloads: &mut [Payload], by: Span) -> bool {
    let mut lied = false;
    for payload in payloads {
        if let Payload::Ping(ping) = payload {
            for pong in ping.pongs.iter_mut().flatten() {
                pong.held = pong.held + by;
                lied = true;
            }
        }
    }
    lied
}
