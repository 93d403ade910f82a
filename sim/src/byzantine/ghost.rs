//! Wins, shows signs of life, and never brings a result.

use std::collections::BTreeMap;

use marlos::id::JobId;
use marlos::time::{Span, Time};
use marlos::units::Ppm;
use marlos::wire::Payload;
use marlos::wire::message::JobHeartbeat;

use super::said::{Form, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

/// Between two signs of life of a job.
const BEAT: Span = Span::secs(3);

pub(super) const SPEC: Spec = Spec {
    name: "ghost",
    what: "Offers the best price for every job, shows signs of life of those it wins, and never sends a result.",
    under_way: AS_SENT,
    keys: &[
        Key::choice("beats", &["yes", "no"], "whether it shows signs of life of what it will never finish"),
        Key::duration("lasts", Span::secs(3_600), Span::secs(1), Span::secs(86_400), "how long it does for each job"),
    ],
    example: "beats = \"no\"",
    begin: |behaviour| {
        Box::new(Ghost {
            beats: behaviour.choice("beats") == "yes",
            lasts: behaviour.duration("lasts"),
            haunted: BTreeMap::new(),
        })
    },
};

#[derive(Debug)]
struct Ghost {
    beats: bool,
    lasts: Span,
    /// Results that were kept back, by whom, to whom, and until when their jobs seem to run.
    haunted: BTreeMap<(NodeNo, JobId, NodeNo), (u32, Time)>,
}

impl Misbehaviour for Ghost {
    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let Said { whom, form: Form::Open(mut open) } = said else { return scene.say(said) };
        let mut kept = Vec::new();
        open.payloads.retain(|payload| match (payload, whom) {
            (Payload::JobResult(result), Whom::One(to)) => {
                kept.push((to, result.job_id, result.round));
                false
            }
            (Payload::JobResult(_) | Payload::OutputChunk(_), _) => false,
            _ => true,
        });
        for payload in &mut open.payloads {
            if let Payload::JobBid(bid) = payload
                && let Some(offer) = &mut bid.offer
            {
                offer.score = Ppm::ONE;
            }
        }
        for (to, job, round) in kept {
            scene.misdeed();
            if self.beats {
                self.haunted.insert((scene.me, job, to), (round, scene.now.mono + self.lasts));
                scene.wake_at(scene.now.mono + BEAT);
            }
        }
        if !open.payloads.is_empty() {
            scene.say(Said { whom, form: Form::Open(open) });
        }
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        let me = scene.me;
        self.haunted.retain(|_, (_, until)| scene.now.mono < *until);
        let own: Vec<_> = self.haunted.iter().filter(|((node, ..), _)| *node == me).map(|(k, v)| (*k, v.0)).collect();
        for ((_, job_id, to), round) in &own {
            scene.misdeed();
            let beat = JobHeartbeat { job_id: *job_id, round: *round, progress: Ppm(990_000) };
            scene.say(scene.open(Whom::One(*to), vec![Payload::JobHeartbeat(beat)]));
        }
        if !own.is_empty() {
            scene.wake_at(scene.now.mono + BEAT);
        }
    }
}
