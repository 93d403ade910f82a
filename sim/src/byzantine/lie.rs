//! Lies within what may be said: of its load, its estimate and its trust, and of what others have done.

use marlos::membership::gossip;
use marlos::time::Span;
use marlos::units::{Ppm, Tokens};
use marlos::wire::Payload;
use marlos::wire::message::{Announce, ReputationUpdate, TrustReport};

use super::said::{Form, Heard, Hearing, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};

/// What is added to the number of a record that is not what it was, so that the two do not contradict each other.
const ANOTHER_SEQUENCE: u32 = 1_000_000;
/// Deeds that a false report claims to rest on.
const DEEDS: u32 = 1_000;

pub(super) const SPEC: Spec = Spec {
    name: "lie",
    what: "Lies where nobody can prove it: bids as if it were idle and done at once (\"bids\"), announces the highest trust, no work and \
           much money (\"announces\"), and reports its fellows as faultless and all others as worthless (\"reputation\").",
    under_way: AS_SENT,
    keys: &[
        Key::choice("about", &["everything", "bids", "announces", "reputation"], "what it lies about"),
        Key::duration("interval", Span::secs(5), Span::millis(100), Span::secs(3_600), "how far apart its reports are"),
    ],
    example: "about = \"reputation\"\ninterval = \"1s\"",
    begin: |behaviour| Box::new(Lie { about: behaviour.choice("about"), every: behaviour.duration("interval") }),
};

#[derive(Debug)]
struct Lie {
    about: &'static str,
    every: Span,
}

impl Lie {
    fn about(&self, what: &str) -> bool {
        self.about == "everything" || self.about == what
    }
}

impl Misbehaviour for Lie {
    fn start(&mut self, scene: &mut Scene<'_>) {
        if self.about("reputation") {
            scene.wake_at(scene.now.mono + self.every);
        }
    }

    /// What others say of the record that it made up, its machine must not hear: it would take it for another life's.
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        let own = scene.ids[scene.me];
        let of_it = |payload: &Payload| match payload {
            Payload::PeerRecords(records) => records.records.iter().any(|record| record.node_id == own),
            _ => false,
        };
        if self.about("announces") && heard.payloads().iter().any(of_it) { Hearing::Drop } else { Hearing::Pass }
    }

    fn say(&mut self, scene: &mut Scene<'_>, mut said: Said) {
        if let Form::Open(open) = &mut said.form {
            for payload in &mut open.payloads {
                match payload {
                    Payload::JobBid(bid) if self.about("bids") => {
                        if let Some(offer) = &mut bid.offer {
                            offer.score = Ppm::ONE;
                            offer.estimated_completion = Span::millis(1);
                            scene.misdeed();
                        }
                    }
                    Payload::PeerAnnounce(announce) if self.about("announces") => {
                        boast(scene, &mut announce.record);
                        scene.misdeed();
                    }
                    Payload::ReputationUpdate(update) if self.about("reputation") => {
                        update.reports = slander(scene);
                        scene.misdeed();
                    }
                    _ => {}
                }
            }
        }
        scene.say(said);
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        let reports = slander(scene);
        scene.misdeed();
        scene.say(
            scene.open(Whom::All, vec![Payload::ReputationUpdate(ReputationUpdate { proven_digest: 0, reports })]),
        );
        scene.wake_at(scene.now.mono + self.every);
    }
}

/// The same of each record, however often it is said.
fn boast(scene: &mut Scene<'_>, record: &mut Announce) {
    record.trust_score = Ppm::ONE;
    record.active_jobs = 0;
    record.wallet_balance = Tokens::whole(1_000_000);
    record.sequence = record.sequence.saturating_add(ANOTHER_SEQUENCE);
    let keys = scene.keys;
    record.record_signature = scene.sign(keys, &gossip::signed_bytes(record));
}

fn slander(scene: &Scene<'_>) -> Vec<TrustReport> {
    let report = |node: usize| {
        let good = scene.fellows.binary_search(&node).is_ok();
        let trust_score = if good { Ppm::ONE } else { Ppm(0) };
        let good_jobs = if good { DEEDS } else { 0 };
        TrustReport { node_id: scene.ids[node], trust_score, total_jobs: DEEDS, good_jobs }
    };
    let others = (0..scene.ids.len()).filter(|node| *node != scene.me);
    others.take(marlos::wire::message::MAX_REPORTED).map(report).collect()
}
