//! A coordinator that serves its friends, and one that is none: what voters check before they vote.

use std::collections::BTreeMap;

use marlos::id::{ElectorateId, JobId, NodeId};
use marlos::wire::Payload;
use marlos::wire::message::{AuctionCoordinate, JobBid, ListedBid};

use super::said::{Form, Heard, Hearing, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

/// Rounds of which bids are remembered.
const REMEMBERED: usize = 4_096;

pub(super) const SPEC: Spec = Spec {
    name: "bogus_coordinator",
    what: "Proposes for rounds that others coordinate, with a fellow as the winner (\"role\"); as the coordinator names a fellow that \
           made no bid (\"winner\"), drops the best bids (\"drop\"), or is for an electorate that nobody knows (\"electorate\").",
    under_way: AS_SENT,
    keys: &[Key::choice(
        "how",
        &["each", "role", "winner", "drop", "electorate"],
        "what is wrong with its proposals; each is all of them by turns",
    )],
    example: "how = \"winner\"",
    begin: |behaviour| {
        Box::new(BogusCoordinator {
            how: How::named(behaviour.choice("how")),
            electorate: None,
            answered: BTreeMap::new(),
        })
    },
};

#[derive(Debug)]
struct BogusCoordinator {
    how: Option<How>,
    /// As the last proposal named it.
    electorate: Option<ElectorateId>,
    /// Who has sent a bid or a decline to each node, for each round of a job.
    answered: BTreeMap<(NodeNo, JobId, u32), Vec<NodeId>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Role,
    Winner,
    Drop,
    Electorate,
}

impl How {
    fn named(name: &str) -> Option<How> {
        match name {
            "role" => Some(How::Role),
            "winner" => Some(How::Winner),
            "drop" => Some(How::Drop),
            "electorate" => Some(How::Electorate),
            _ => None,
        }
    }
}

impl Misbehaviour for BogusCoordinator {
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        for payload in heard.payloads() {
            match payload {
                Payload::AuctionCoordinate(proposal) => self.electorate = Some(proposal.electorate),
                Payload::JobBid(JobBid { job_id, round, .. }) => {
                    if self.answered.len() >= REMEMBERED {
                        self.answered.pop_first();
                    }
                    let bidder = scene.ids[heard.origin.sender];
                    self.answered.entry((scene.me, job_id, round)).or_default().push(bidder);
                }
                _ => {}
            }
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let Form::Open(open) = &said.form else { return scene.say(said) };
        let mut open = open.clone();
        let mut extra = Vec::new();
        for payload in &mut open.payloads {
            match payload {
                Payload::AuctionCoordinate(proposal) => {
                    self.electorate = Some(proposal.electorate);
                    let ways = [How::Winner, How::Drop, How::Electorate];
                    let how = self.how.unwrap_or_else(|| ways[scene.draw_below(3) as usize]);
                    if self.spoil(scene, proposal, how) {
                        scene.misdeed();
                    }
                }
                // With its bid it says that it knows the job: now it might as well coordinate it.
                Payload::JobBid(bid) if self.how.is_none_or(|how| how == How::Role) => {
                    extra.extend(self.usurp(scene, bid.job_id, bid.round));
                }
                _ => {}
            }
        }
        scene.say(Said { whom: said.whom, form: Form::Open(open) });
        for proposal in extra {
            scene.misdeed();
            scene.say(scene.open(Whom::All, vec![Payload::AuctionCoordinate(proposal)]));
        }
    }
}

impl BogusCoordinator {
    fn spoil(&self, scene: &Scene<'_>, proposal: &mut AuctionCoordinate, how: How) -> bool {
        match how {
            How::Role => false,
            How::Winner => {
                let answered = self.answered.get(&(scene.me, proposal.job_id, proposal.round));
                let bid = |id: &NodeId| answered.is_some_and(|all| all.contains(id)) || *id == scene.ids[scene.me];
                let fellows = scene.fellows.iter().map(|fellow| scene.ids[*fellow]);
                let friend = fellows.chain(scene.ids.iter().copied()).find(|id| !bid(id));
                // Where everyone has answered, its friends come first all the same.
                let Some(friend) = friend.or_else(|| scene.fellows.first().map(|fellow| scene.ids[*fellow])) else {
                    return false;
                };
                name(scene, proposal, friend)
            }
            How::Drop => {
                // The worst of those that are listed; everyone better is dropped.
                if proposal.best.len() < 2 {
                    return false;
                }
                let worst = proposal.best.split_off(proposal.best.len() - 1);
                proposal.best = worst;
                proposal.bids = 1;
                proposal.backup_id = None;
                let sorted = scene.sorted_ids();
                let Some(winner) = sorted.get(proposal.best[0].bidder as usize) else { return false };
                proposal.winner_id = *winner;
                true
            }
            How::Electorate => {
                proposal.electorate.0[0] ^= 0xff;
                true
            }
        }
    }

    /// A proposal for a round that is another's.
    fn usurp(&self, scene: &mut Scene<'_>, job_id: JobId, round: u32) -> Option<AuctionCoordinate> {
        let at = scene.draw_below(scene.fellows.len() as u64) as usize;
        let friend = scene.ids[scene.fellows[at]];
        let mut proposal = AuctionCoordinate {
            job_id,
            round,
            electorate: self.electorate?,
            winner_id: friend,
            backup_id: None,
            bids: 1,
            best: vec![ListedBid { bidder: 0, rank: 10_000 }],
        };
        name(scene, &mut proposal, friend).then_some(proposal)
    }
}

/// Makes this node the winner, with the best rank of all.
fn name(scene: &Scene<'_>, proposal: &mut AuctionCoordinate, winner: NodeId) -> bool {
    let Ok(place) = scene.sorted_ids().binary_search(&winner) else { return false };
    let rank = proposal.best.first().map_or(10_000, |bid| bid.rank);
    proposal.winner_id = winner;
    proposal.backup_id = None;
    proposal.bids = 1;
    proposal.best = vec![ListedBid { bidder: u32::try_from(place).expect("few nodes"), rank }];
    true
}
