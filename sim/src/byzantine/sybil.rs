//! One operator with many names: they announce themselves, beat like nodes, bid, and vote for their maker's friends.

use std::collections::BTreeMap;

use marlos::quorum::Statement;
use marlos::time::Span;
use marlos::units::{Ppm, Tokens};
use marlos::wire::Payload;
use marlos::wire::message::{AuctionCoordinate, ClaimVote, JobBid, Offer, PeerAnnounce};

use super::said::{Form, Heard, Hearing, Said, Whom};
use super::scene::{Envelope, Scene};
use super::settings::Key;
use super::strangers::Stranger;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

/// Between two beats of a name.
const BEAT: Span = Span::secs(3);

pub(super) const SPEC: Spec = Spec {
    name: "sybil",
    what: "Speaks under further names with keys of their own: they announce themselves, beat like nodes, bid the best price for every \
           job, and vote for fellows alone. Only where it is said who votes (`membership = \"fixed\"`) is anything promised.",
    under_way: AS_SENT,
    keys: &[Key::whole("identities", 10, 1, 256, "further names of each node")],
    example: "identities = 3",
    begin: |behaviour| {
        let identities = usize::try_from(behaviour.whole("identities")).expect("at most 256");
        Box::new(Sybil { identities, names: BTreeMap::new() })
    },
};

#[derive(Debug)]
struct Sybil {
    identities: usize,
    names: BTreeMap<NodeNo, Vec<Stranger>>,
}

impl Misbehaviour for Sybil {
    fn start(&mut self, scene: &mut Scene<'_>) {
        let names = (0..self.identities).map(|_| Stranger::make_up(scene)).collect();
        self.names.insert(scene.me, names);
        scene.wake_at(scene.now.mono + Span::millis(1));
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + BEAT);
        let announces: Vec<Payload> = self.names[&scene.me]
            .iter()
            .map(|name| {
                Payload::PeerAnnounce(Box::new(PeerAnnounce { record: name.record.clone(), want_records: false }))
            })
            .collect();
        for (at, announce) in announces.into_iter().enumerate() {
            self.speak(scene, at, Whom::All, announce);
        }
    }

    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        for payload in heard.payloads() {
            if let Payload::AuctionCoordinate(proposal) = payload {
                self.vote(scene, &proposal);
            }
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let bids = said.bids();
        let whom = said.whom;
        scene.say(said);
        for JobBid { job_id, round, .. } in bids {
            let at = scene.draw_below(self.identities as u64) as usize;
            let offer = Offer { score: Ppm::ONE, stake: Tokens::whole(10), estimated_completion: Span::ZERO };
            self.speak(scene, at, whom, Payload::JobBid(JobBid { job_id, round, offer: Some(offer) }));
        }
    }
}

impl Sybil {
    /// Every name votes for a fellow that is to win.
    fn vote(&mut self, scene: &mut Scene<'_>, proposal: &AuctionCoordinate) {
        let AuctionCoordinate { job_id, round, electorate, winner_id: winner, backup_id: backup, .. } = *proposal;
        let Some(to) = scene.number(winner).filter(|node| scene.fellows.binary_search(node).is_ok()) else { return };
        let statement = Statement { job_id, round, winner, backup, electorate };
        for at in 0..self.identities {
            let Some(keys) = self.names.get(&scene.me).and_then(|all| all.get(at)).map(|name| name.keys.clone()) else {
                return;
            };
            let vote_signature = scene.sign(&keys, &statement.signed_bytes());
            self.speak(scene, at, Whom::One(to), Payload::ClaimVote(ClaimVote { job_id, round, vote_signature }));
        }
    }

    fn speak(&mut self, scene: &mut Scene<'_>, at: usize, whom: Whom, payload: Payload) {
        let Some(name) = self.names.get_mut(&scene.me).and_then(|all| all.get_mut(at)) else { return };
        name.counter += 1;
        let envelope = Envelope { sender: name.id(), nonce: (1, name.counter), ..scene.envelope(whom) };
        let sealed = scene.seal(&envelope, &[payload], &name.keys);
        scene.misdeed();
        scene.say(Said { whom, form: Form::Sealed(sealed) });
    }
}
