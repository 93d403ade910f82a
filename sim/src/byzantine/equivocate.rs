//! Different things to different peers, each of them validly signed: what only evidence and quorums that overlap can answer.

use std::collections::{BTreeMap, BTreeSet};

use marlos::id::{JobId, NodeId};
use marlos::membership::gossip;
use marlos::quorum::Statement;
use marlos::units::Ppm;
use marlos::wire::Payload;
use marlos::wire::message::{AuctionCoordinate, ClaimVote, JobClaim};

use super::said::{Form, Heard, Hearing, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

/// Votes that are remembered; what is older is forgotten.
const REMEMBERED: usize = 4_096;

pub(super) const SPEC: Spec = Spec {
    name: "equivocate",
    what: "Says different things to different peers, validly signed: votes for every winner it hears of (\"votes\"), proposes one winner \
           to half of the others and another to the rest (\"proposals\"), offers one price to the coordinator and another to \
           everyone (\"bids\"), claims one round here and the next there (\"claims\"), has two addresses at once (\"announces\"). For \
           transactions see double_spend.",
    under_way: AS_SENT,
    keys: &[Key::choice(
        "what",
        &["each", "votes", "proposals", "bids", "claims", "announces"],
        "what is said in two ways; each is all of them",
    )],
    example: "what = \"votes\"",
    begin: |behaviour| Box::new(Equivocate { what: behaviour.choice("what"), voted: BTreeMap::new() }),
};

#[derive(Debug)]
struct Equivocate {
    what: &'static str,
    /// For whom each node has voted, in each round of a job.
    voted: BTreeMap<(NodeNo, JobId, u32), BTreeSet<NodeId>>,
}

impl Misbehaviour for Equivocate {
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        if self.does("votes") {
            for payload in heard.payloads() {
                if let Payload::AuctionCoordinate(proposal) = payload {
                    self.vote_for_all(scene, &proposal);
                }
            }
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let Form::Open(open) = &said.form else { return scene.say(said) };
        let mut other = open.clone();
        let changed = other.payloads.iter_mut().map(|payload| self.change(scene, payload)).filter(|c| *c).count();
        if changed == 0 {
            return scene.say(said);
        }
        (0..changed).for_each(|_| scene.misdeed());
        let other = Said { whom: said.whom, form: Form::Open(other) };
        match said.whom {
            // One peer gets both: the other one is addressed to it as well.
            Whom::One(_) | Whom::Beacon => {
                scene.say(said);
                scene.say(other);
            }
            Whom::All => {
                for (at, node) in scene.others(&[]).into_iter().enumerate() {
                    scene.say(if at % 2 == 0 { said.to(node) } else { other.to(node) });
                }
                let me = scene.me;
                let fellows = std::sync::Arc::clone(&scene.fellows);
                for fellow in fellows.iter().copied().filter(|fellow| *fellow != me) {
                    scene.say(said.to(fellow));
                    scene.say(other.to(fellow));
                }
            }
        }
    }
}

impl Equivocate {
    fn does(&self, what: &str) -> bool {
        self.what == "each" || self.what == what
    }

    /// A vote for each winner that is named for a round, wherever its machine has voted already.
    fn vote_for_all(&mut self, scene: &mut Scene<'_>, proposal: &AuctionCoordinate) {
        let AuctionCoordinate { job_id, round, electorate, winner_id, backup_id, .. } = *proposal;
        if self.voted.len() >= REMEMBERED {
            self.voted.pop_first();
        }
        let also = backup_id.map(|backup| (backup, Some(winner_id)));
        for (winner, backup) in [Some((winner_id, backup_id)), also].into_iter().flatten() {
            let new = self.voted.entry((scene.me, job_id, round)).or_default().insert(winner);
            let Some(to) = scene.number(winner).filter(|_| new) else { continue };
            let statement = Statement { job_id, round, winner, backup, electorate };
            let keys = scene.keys;
            let vote_signature = scene.sign(keys, &statement.signed_bytes());
            let vote = Payload::ClaimVote(ClaimVote { job_id, round, vote_signature });
            scene.misdeed();
            scene.say(scene.open(Whom::One(to), vec![vote]));
        }
    }

    /// Turns what is said into what is said to the others; says whether that is anything else.
    fn change(&self, scene: &mut Scene<'_>, payload: &mut Payload) -> bool {
        match payload {
            Payload::AuctionCoordinate(proposal) if self.does("proposals") => swap_winner(proposal),
            Payload::JobBid(bid) if self.does("bids") => {
                let Some(offer) = &mut bid.offer else { return false };
                offer.score = Ppm(Ppm::ONE.0 - offer.score.0);
                true
            }
            Payload::JobClaim(JobClaim { round, .. }) if self.does("claims") => {
                *round += 1;
                true
            }
            Payload::PeerAnnounce(announce) if self.does("announces") => {
                announce.record.node_name.push('2');
                let keys = scene.keys;
                announce.record.record_signature = scene.sign(keys, &gossip::signed_bytes(&announce.record));
                true
            }
            _ => false,
        }
    }
}

/// The second of the bidders wins instead, and the first is its backup.
pub(super) fn swap_winner(proposal: &mut AuctionCoordinate) -> bool {
    let (Some(backup), true) = (proposal.backup_id, proposal.best.len() >= 2) else { return false };
    proposal.backup_id = Some(proposal.winner_id);
    proposal.winner_id = backup;
    let rank = proposal.best[0].rank;
    proposal.best.swap(0, 1);
    proposal.best.iter_mut().take(2).for_each(|bid| bid.rank = rank);
    true
}
