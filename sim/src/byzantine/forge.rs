//! Messages in other people's names: what a signature, an id that hangs on a key, and signed records are there to refuse.

use std::collections::BTreeMap;

use marlos::id::{ElectorateId, JobId};
use marlos::membership::gossip;
use marlos::quorum::Statement;
use marlos::units::Ppm;
use marlos::wire::message::{Announce, Contradiction, Evidence, PeerRecords, SignedVote};
use marlos::wire::{Header, Payload};

use super::said::{Form, Heard, Hearing, Said, Sealed};
use super::scene::{Envelope, Scene};
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

pub(super) const SPEC: Spec = Spec {
    name: "forge",
    what: "Beside what it says itself, it speaks for others: with frames of theirs in which a byte is changed (\"signature\"), in \
           their name with a key that nobody has (\"key\") or with its own (\"id\"), and with records and evidence that they never \
           signed (\"record\").",
    under_way: AS_SENT,
    keys: &[
        Key::choice(
            "how",
            &["each", "signature", "key", "id", "record"],
            "what is forged; each is all of them by turns",
        ),
        Key::share("share", 50, "how many of its own frames are accompanied by a forged one"),
        Key::nodes("of", "in whose name"),
    ],
    example: "how = \"key\"\nshare = \"100%\"",
    begin: |behaviour| {
        Box::new(Forge {
            how: How::named(behaviour.choice("how")),
            share: behaviour.share("share"),
            of: behaviour.nodes("of"),
            known: BTreeMap::new(),
        })
    },
};

#[derive(Debug)]
struct Forge {
    how: Option<How>,
    share: Ppm,
    of: Vec<NodeNo>,
    /// What was heard last of each node, by any of the forgers.
    known: BTreeMap<NodeNo, Known>,
}

#[derive(Debug)]
struct Known {
    header: Header,
    frame: Vec<u8>,
    record: Option<Announce>,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Signature,
    Key,
    Id,
    Record,
}

impl How {
    const ALL: [How; 4] = [How::Signature, How::Key, How::Id, How::Record];

    fn named(name: &str) -> Option<How> {
        ["signature", "key", "id", "record"].iter().position(|known| *known == name).map(|at| How::ALL[at])
    }
}

impl Misbehaviour for Forge {
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        let header = heard.header().filter(|header| header.sender == scene.ids[heard.origin.sender]);
        if let Some(header) = header {
            let announced = heard.payloads().into_iter().find_map(|payload| match payload {
                Payload::PeerAnnounce(announce) => Some(announce.record),
                _ => None,
            });
            let before = self.known.remove(&heard.origin.sender).and_then(|known| known.record);
            let known = Known { header, frame: heard.bytes.to_vec(), record: announced.or(before) };
            self.known.insert(heard.origin.sender, known);
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        scene.say(said.clone());
        let victims: Vec<NodeNo> =
            scene.others(&self.of).into_iter().filter(|node| self.known.contains_key(node)).collect();
        if victims.is_empty() || !scene.chance(self.share) {
            return;
        }
        let victim = victims[scene.draw_below(victims.len() as u64) as usize];
        let how = self.how.unwrap_or_else(|| How::ALL[scene.draw_below(How::ALL.len() as u64) as usize]);
        let known = &self.known[&victim];
        if let Some(form) = forged(scene, known, &said, how) {
            scene.misdeed();
            scene.say(Said { whom: said.whom, form });
        }
    }
}

fn forged(scene: &mut Scene<'_>, known: &Known, said: &Said, how: How) -> Option<Form> {
    let Header { sender, incarnation, counter, .. } = known.header;
    // As the victim would say it next, so that nothing but the signature tells.
    let envelope = Envelope { sender, nonce: (incarnation, counter + 1), ..scene.envelope(said.whom) };
    let same = |payloads: &[Payload]| if payloads.is_empty() { None } else { Some(payloads.to_vec()) };
    match how {
        How::Signature => {
            let mut bytes = known.frame.clone();
            // Anywhere behind version, network, kind and flags, the signature's 64 bytes included.
            let at = 5 + scene.draw_below(bytes.len().saturating_sub(5) as u64) as usize;
            *bytes.get_mut(at)? ^= 1 << scene.draw_below(8);
            Some(Form::Sealed(Sealed { kind: known.header.kind, bytes, origin: None }))
        }
        How::Key => {
            let (payloads, stranger) = (same(said.payloads())?, scene.stranger());
            Some(Form::Sealed(scene.seal(&envelope, &payloads, &stranger)))
        }
        How::Id => {
            let payloads = same(said.payloads())?;
            let keys = scene.keys;
            Some(Form::Sealed(scene.seal(&envelope, &payloads, keys)))
        }
        How::Record => {
            let payload = if scene.draw_below(2) == 0 { record(scene, known)? } else { evidence(scene, known) };
            let Said { form, .. } = scene.open(said.whom, vec![payload]);
            Some(form)
        }
    }
}

/// The victim's announce, newer than its last and with the forger's address.
fn record(scene: &mut Scene<'_>, known: &Known) -> Option<Payload> {
    let mut record = known.record.clone()?;
    record.sequence += 1;
    record.signed_at = scene.wall();
    record.pub_endpoint = "tcp://10.0.0.250:5555".into();
    let keys = scene.keys;
    record.record_signature = scene.sign(keys, &gossip::signed_bytes(&record));
    Some(Payload::PeerRecords(PeerRecords { members_digest: 0, complete: false, records: vec![record] }))
}

/// Two votes of the victim that exclude each other, and that it never cast.
fn evidence(scene: &mut Scene<'_>, known: &Known) -> Payload {
    let mut job_id = [0; 16];
    job_id[..8].copy_from_slice(&scene.draw().to_le_bytes());
    let mut vote = |winner| {
        let electorate = ElectorateId([7; 8]);
        let statement = Statement { job_id: JobId(job_id), round: 0, winner, backup: None, electorate };
        let keys = scene.keys;
        SignedVote { statement, vote_signature: scene.sign(keys, &statement.signed_bytes()) }
    };
    let proof = Contradiction::Votes { first: vote(known.header.sender), second: vote(another(known)) };
    Payload::Evidence(Box::new(Evidence { author: known.header.sender, rotations: Vec::new(), proof }))
}

/// Some other winner than the victim.
fn another(known: &Known) -> marlos::id::NodeId {
    let mut id = known.header.sender;
    id.0[0] ^= 1;
    id
}
