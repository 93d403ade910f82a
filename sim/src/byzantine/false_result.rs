//! Results that are none: of jobs that are another's, of rounds that never were, of runs that never took place.

use marlos::id::JobId;
use marlos::io::JobStatus;
use marlos::time::Span;
use marlos::units::Ppm;
use marlos::wire::Payload;
use marlos::wire::message::{JobBroadcast, JobResult};

use super::said::{Form, Heard, Hearing, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};

pub(super) const SPEC: Spec = Spec {
    name: "false_result",
    what: "Sends results of jobs that others run (\"unclaimed\"), of a later round than it has claimed (\"round\"), with another length \
           than it says (\"length\"), or made up, at once (\"made_up\"): the last holds as far as anyone can tell, and is paid.",
    under_way: AS_SENT,
    keys: &[Key::choice(
        "how",
        &["each", "unclaimed", "round", "length", "made_up"],
        "what is false; each is all of them by turns",
    )],
    example: "how = \"unclaimed\"",
    begin: |behaviour| Box::new(FalseResult { how: How::named(behaviour.choice("how")) }),
};

#[derive(Debug)]
struct FalseResult {
    how: Option<How>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Unclaimed,
    Round,
    Length,
    MadeUp,
}

impl How {
    const ALL: [How; 4] = [How::Unclaimed, How::Round, How::Length, How::MadeUp];

    fn named(name: &str) -> Option<How> {
        ["unclaimed", "round", "length", "made_up"].iter().position(|known| *known == name).map(|at| How::ALL[at])
    }

    fn is(how: Option<How>, this: How) -> bool {
        how.is_none_or(|how| how == this)
    }
}

/// A result as a liar writes it.
fn made_up(job_id: JobId, round: u32) -> JobResult {
    JobResult {
        job_id,
        round,
        status: JobStatus::Success,
        output: b"made up".to_vec(),
        output_bytes: 7,
        truncated: false,
        duration: Span::millis(1),
    }
}

impl Misbehaviour for FalseResult {
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        if How::is(self.how, How::Unclaimed) {
            for payload in heard.payloads() {
                if let Payload::JobBroadcast(job @ JobBroadcast { .. }) = payload {
                    scene.misdeed();
                    let result = Payload::JobResult(made_up(marlos::auction::job_id(&job), 0));
                    let said = scene.open(Whom::One(heard.origin.sender), vec![result]);
                    // Once that somebody may have claimed it, and nobody has finished it.
                    scene.say_later(Span::millis(50), said);
                }
            }
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let Said { whom, form: Form::Open(mut open) } = said else { return scene.say(said) };
        let mut extra = Vec::new();
        for payload in &mut open.payloads {
            match payload {
                // The certificate goes to the submitter: there the result is, a moment later.
                Payload::ClaimCertificate(certificate) if How::is(self.how, How::MadeUp) => {
                    let own = certificate.statement.winner == scene.ids[scene.me];
                    if own && (self.how.is_some() || scene.chance(Ppm(500_000))) {
                        extra.push(made_up(certificate.statement.job_id, certificate.statement.round));
                    }
                }
                Payload::JobResult(result) => {
                    let how = self.how.unwrap_or_else(|| How::ALL[scene.draw_below(4) as usize]);
                    match how {
                        How::Round => result.round += 1,
                        How::Length => {
                            result.output_bytes = result.output_bytes.wrapping_add(1 + scene.draw_below(1 << 20) as u32)
                        }
                        How::Unclaimed | How::MadeUp => continue,
                    }
                    scene.misdeed();
                }
                _ => {}
            }
        }
        scene.say(Said { whom, form: Form::Open(open) });
        for result in extra {
            scene.misdeed();
            scene.say_later(Span::millis(1), scene.open(whom, vec![Payload::JobResult(result)]));
        }
    }
}
