//! Larger than is allowed: frames, payloads, lists and bundles beyond their limits, soundly signed.

use marlos::id::{ElectorateId, JobId};
use marlos::time::Span;
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::{
    AuctionCoordinate, CertificateRequest, ListedBid, MAX_LISTED_BIDS, MAX_REPORTED, MAX_TRANSFERS, OutputChunk,
    ReputationUpdate, TokenTransaction, Transfer, TransferReason, TrustReport,
};
use marlos::wire::{Payload, Signature};

use super::flood::noise;
use super::said::{Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};

pub(super) const SPEC: Spec = Spec {
    name: "oversize",
    what: "Sends what is larger than is allowed, soundly signed: a frame beyond the largest, lists longer than a message of their \
           kind may have, a bundle of more than there may be.",
    under_way: AS_SENT,
    keys: &[
        Key::choice("what", &["each", "frame", "list", "bundle"], "what is too large"),
        Key::duration("interval", Span::millis(500), Span::millis(1), Span::secs(3_600), "how far apart"),
    ],
    example: "what = \"list\"\ninterval = \"100ms\"",
    begin: |behaviour| {
        Box::new(Oversize { what: behaviour.choice("what"), every: behaviour.duration("interval"), said: 0 })
    },
};

#[derive(Debug)]
struct Oversize {
    what: &'static str,
    every: Span,
    said: u64,
}

impl Misbehaviour for Oversize {
    fn start(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + self.every);
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        // The largest in turn but seldom: each is in memory until all have it.
        let what = match (self.what, self.said % 20) {
            ("each", 0) => "frame",
            ("each", 10) => "bundle",
            ("each", _) => "list",
            (what, _) => what,
        };
        self.said += 1;
        scene.misdeed();
        let said = oversized(scene, what);
        scene.say(said);
        scene.wake_at(scene.now.mono + self.every);
    }
}

fn oversized(scene: &mut Scene<'_>, what: &str) -> Said {
    let me = scene.ids[scene.me];
    let mut job = || JobId(scene.draw().to_le_bytes().repeat(2).try_into().expect("sixteen bytes"));
    let job_id = job();
    let payloads = match what {
        "frame" => {
            let bytes = noise(scene, scene.config.max_message_size as usize + 1);
            vec![Payload::OutputChunk(OutputChunk { job_id, round: 0, offset: 0, bytes })]
        }
        "bundle" => {
            // Twice: a bundle has 512 payloads at most, and its own codec would not make it larger.
            let request = Payload::CertificateRequest(CertificateRequest { job_id });
            let chunk = OutputChunk { job_id, round: 0, offset: 0, bytes: noise(scene, 1024 * 1024) };
            vec![request, Payload::OutputChunk(chunk)]
        }
        _ => vec![match scene.draw_below(3) {
            0 => {
                let report = TrustReport { node_id: me, trust_score: Ppm(1), total_jobs: 1, good_jobs: 1 };
                let reports = vec![report; MAX_REPORTED + 1];
                Payload::ReputationUpdate(ReputationUpdate { proven_digest: 0, reports })
            }
            1 => {
                let best = vec![ListedBid { bidder: 0, rank: 1 }; MAX_LISTED_BIDS + 1];
                let (winner_id, electorate) = (me, ElectorateId([0; 8]));
                let (round, backup_id, bids) = (0, None, 1);
                Payload::AuctionCoordinate(AuctionCoordinate {
                    job_id,
                    round,
                    electorate,
                    winner_id,
                    backup_id,
                    bids,
                    best,
                })
            }
            _ => {
                let transfer = Transfer { job_id, to: me, amount: Tokens(1), reason: TransferReason::OnTime };
                let transfers = vec![transfer; MAX_TRANSFERS as usize + 1];
                let transaction_signature = Signature([0; 64]);
                Payload::TokenTransaction(TokenTransaction { account: me, seq: 1, transfers, transaction_signature })
            }
        }],
    };
    scene.open(Whom::All, payloads)
}
