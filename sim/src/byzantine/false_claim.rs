//! Claims that nobody gave: without a certificate, or with one that proves nothing.

use std::collections::BTreeMap;

use marlos::id::{JobId, NodeId};
use marlos::quorum::{self, Statement};
use marlos::wire::message::{ClaimCertificate, JobBid, JobClaim};
use marlos::wire::{Payload, Signature};

use super::said::{Form, Heard, Hearing, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};

pub(super) const SPEC: Spec = Spec {
    name: "false_claim",
    what: "Claims jobs that others get: without a certificate (\"bare\"), with signatures that nobody made (\"forged\"), with those of \
           another job's certificate (\"recycled\"), or with fewer than a quorum, its fellows' (\"small\").",
    under_way: AS_SENT,
    keys: &[
        Key::choice(
            "how",
            &["each", "bare", "forged", "recycled", "small"],
            "what the claim rests on; each is all of them by turns",
        ),
        Key::whole("ahead", 0, 0, 64, "how many rounds beyond the present one the claim is for"),
    ],
    example: "how = \"small\"",
    begin: |behaviour| {
        let ahead = u32::try_from(behaviour.whole("ahead")).expect("at most 64");
        Box::new(FalseClaim { how: How::named(behaviour.choice("how")), ahead, seen: None, claimed: BTreeMap::new() })
    },
};

#[derive(Debug)]
struct FalseClaim {
    how: Option<How>,
    ahead: u32,
    /// The last certificate that was heard.
    seen: Option<ClaimCertificate>,
    /// What to show to who asks.
    claimed: BTreeMap<JobId, ClaimCertificate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Bare,
    Forged,
    Recycled,
    Small,
}

impl How {
    const ALL: [How; 4] = [How::Bare, How::Forged, How::Recycled, How::Small];

    fn named(name: &str) -> Option<How> {
        ["bare", "forged", "recycled", "small"].iter().position(|known| *known == name).map(|at| How::ALL[at])
    }
}

impl Misbehaviour for FalseClaim {
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        for payload in heard.payloads() {
            match payload {
                Payload::ClaimCertificate(certificate) => self.seen = Some(certificate),
                Payload::CertificateRequest(request) => {
                    if let Some(certificate) = self.claimed.get(&request.job_id).cloned() {
                        scene.misdeed();
                        let shown = vec![Payload::ClaimCertificate(certificate)];
                        scene.say(scene.open(Whom::One(heard.origin.sender), shown));
                    }
                }
                _ => {}
            }
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let bids = said.bids();
        if let Form::Open(open) = &said.form {
            for payload in &open.payloads {
                if let Payload::ClaimCertificate(certificate) = payload {
                    self.seen = Some(certificate.clone());
                }
            }
        }
        scene.say(said);
        for JobBid { job_id, round, .. } in bids {
            let how = self.how.unwrap_or_else(|| How::ALL[scene.draw_below(4) as usize]);
            self.claim(scene, job_id, round + self.ahead, how);
        }
    }
}

impl FalseClaim {
    fn claim(&mut self, scene: &mut Scene<'_>, job_id: JobId, round: u32, how: How) {
        let certificate = match how {
            How::Bare => None,
            How::Forged => Some(self.with(scene, job_id, round, |scene, _| {
                let mut bytes = [0; 64];
                bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&scene.draw().to_le_bytes()));
                Some(Signature(bytes))
            })),
            How::Recycled => self.seen.clone().map(|seen| ClaimCertificate {
                statement: Statement { job_id, round, winner: scene.ids[scene.me], ..seen.statement },
                ..seen
            }),
            How::Small => Some(self.with(scene, job_id, round, |scene, (id, bytes)| {
                let fellow = scene.number(id).filter(|node| scene.fellows.binary_search(node).is_ok())?;
                let keys = scene.keys_of(fellow);
                Some(scene.sign(&keys, bytes))
            })),
        };
        scene.misdeed();
        let claim = Payload::JobClaim(JobClaim { job_id, round });
        scene.say(scene.open(Whom::All, vec![claim]));
        if let Some(certificate) = certificate {
            scene.say(scene.open(Whom::All, vec![Payload::ClaimCertificate(certificate.clone())]));
            if self.claimed.len() >= 1_024 {
                self.claimed.pop_first();
            }
            self.claimed.insert(job_id, certificate);
        }
    }

    /// A certificate for itself, with what `sign` makes for each member.
    fn with(
        &self,
        scene: &mut Scene<'_>,
        job_id: JobId,
        round: u32,
        sign: impl Fn(&mut Scene<'_>, (NodeId, &[u8])) -> Option<Signature>,
    ) -> ClaimCertificate {
        let mut ids = scene.ids.to_vec();
        ids.sort_unstable();
        let electorate = quorum::electorate_digest(&ids);
        let statement = Statement { job_id, round, winner: scene.ids[scene.me], backup: None, electorate };
        let bytes = statement.signed_bytes();
        let votes: Vec<(usize, Signature)> =
            ids.iter().enumerate().filter_map(|(at, id)| Some((at, sign(scene, (*id, &bytes))?))).collect();
        quorum::certificate(statement, ids.len(), Vec::new(), &votes)
    }
}
