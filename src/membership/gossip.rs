//! How members find each other: announces, bootstrap, records passed on, digests compared (protocol.md, section 4).
//!
//! Only records that their owner signed travel, and the newest wins, so nobody can lie about another's endpoint. A record
//! that comes from its owner over a stream is passed on once; what was only passed on is not passed on again. Whoever
//! misses one all the same is found by the digest in its heartbeats and told by its three successors in the order of ids,
//! so that a network of hundreds does not answer with hundreds of copies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Members, Peer, index};
use crate::config::{Config, Membership, planted};
use crate::cx::{Ctx, store_key};
use crate::evidence::check::contradict;
use crate::id::{Link, NodeId, PeerIdx};
use crate::identity::chain;
use crate::io::{Action, Event, PeerState, Refusal, To, Verify};
use crate::time::{Moment, Span, Time};
use crate::wire::message::{Announce, Contradiction, Evidence, PeerAnnounce, PeerRecords};
use crate::wire::{Payload, Signature, Signed, binary};

/// When a starting node announces itself, after its start; then every `discovery_interval`.
const START_ANNOUNCES: [Span; 3] = [Span::millis(250), Span::secs(1), Span::secs(2)];
/// How long new records wait for others before they are passed on in one message: a guess, well under a round of discovery.
const PASS_ON_AFTER: Span = Span::millis(20);
/// Announces of one member that ask for records count as one asking while no more than this lies between them, and a table of many
/// records is not sent to it twice in that time: a newcomer asks again whenever another of its connections comes up, a dozen
/// times in a moment. A guess, as long as a newcomer takes to its next announce that nothing prompts.
const ASKS_ANEW_AFTER: Span = Span::millis(250);
/// Records that are many: below it an answer costs less than the time that a lost one would.
const MANY_RECORDS: usize = 64;
/// Records in one message.
const RECORDS_AT_ONCE: usize = 256;
/// Links to bootstrap hosts are numbered from here: two for each, its PUB and its SUB. Members' links are their own numbers.
const BOOTSTRAP_LINKS: u32 = 1 << 24;
/// How long after a message over another path duplicates are expected.
const SECOND_PATH: Span = Span::secs(60);
/// Heartbeats in which a quorum shows whom it has forgotten: two whose digests differ make others tell what they hold, and one more.
const RECALLED_DOUBTED_FOR: u64 = 3;
/// Members that tell a peer what it misses, at first.
const TELLERS: usize = 3;

/// What finding each other still has to do.
#[derive(Clone, Debug)]
pub struct Gossip {
    announce_at: Time,
    announces: usize,
    pass_on_at: Time,
    fresh: Vec<PeerIdx>,
    /// Whether anybody has told us of all that it knows.
    informed: bool,
    /// Whether we were told of a life that our store has forgotten: by one that we know only by that.
    outlived: bool,
    contacts: Vec<Contact>,
    /// Records of those who do not count any more that the store remembers, until they are met again.
    stored: BTreeMap<NodeId, Announce>,
    /// Who has shown that it knows this node's present key, until a quorum has.
    key_known_by: Option<BTreeSet<NodeId>>,
    /// Who has shown that it does not count those whom only the store remembers.
    recalled_unknown_to: BTreeSet<NodeId>,
    /// Until when others are not told of those.
    recalled_doubted_until: Time,
}

/// A bootstrap host.
#[derive(Clone, Copy, Debug, Default)]
struct Contact {
    peer: Option<PeerIdx>,
    subscribed: bool,
    reaching: bool,
}

impl Default for Gossip {
    fn default() -> Gossip {
        Gossip {
            announce_at: Time::NEVER,
            announces: 0,
            pass_on_at: Time::NEVER,
            fresh: Vec::new(),
            informed: false,
            outlived: false,
            contacts: Vec::new(),
            stored: BTreeMap::new(),
            key_known_by: None,
            recalled_unknown_to: BTreeSet::new(),
            recalled_doubted_until: Time(0),
        }
    }
}

impl Gossip {
    pub(super) fn next_deadline(&self) -> Time {
        self.announce_at.min(self.pass_on_at)
    }
}

/// Signs a record outside of a node: everything in it but the signature itself.
#[must_use]
pub fn sign_record(mut record: Announce, keys: &crate::identity::Keys, network_id: &str) -> Announce {
    record.record_signature = keys.sign(&Signed { network_id, bytes: &signed_bytes(&record) });
    record
}

/// What a record's signature covers.
#[must_use]
pub fn signed_bytes(record: &Announce) -> Vec<u8> {
    let mut bytes = b"announce/1\0".to_vec();
    binary::encode_into(&Announce { record_signature: Signature([0; 64]), ..record.clone() }, &mut bytes);
    bytes
}

impl Members {
    /// Begins to look for others.
    pub fn start_discovery(&mut self, cx: &mut Ctx<'_>) {
        self.gossip.contacts = vec![Contact::default(); cx.config.bootstrap.len()];
        self.gossip.announces = 0;
        self.gossip.informed = false;
        self.gossip.announce_at = cx.now.mono;
    }

    /// Announces itself as at its start: its record has changed.
    pub fn start_discovery_again(&mut self, cx: &mut Ctx<'_>) {
        self.gossip.announces = 0;
        self.gossip.announce_at = cx.now.mono;
    }

    /// Replaces the own record after a change, and returns to announcing.
    pub fn renew_own_record(&mut self, cx: &mut Ctx<'_>, incarnation: u32, active_jobs: u32) {
        let mut own = self.own_record().clone();
        own.sequence = if own.incarnation == incarnation { own.sequence + 1 } else { 1 };
        own.incarnation = incarnation;
        own.active_jobs = active_jobs;
        own.signed_at = cx.wall();
        own.rotations = cx.egress.keys().chain().to_vec();
        let now = cx.now.mono;
        let signed = Signed { network_id: &cx.config.network_id, bytes: &signed_bytes(&own) };
        own.record_signature = cx.verify.sign(cx.egress.keys(), &signed);
        let own = cx.verify.hold(&own);
        self.replace_record(now, PeerIdx::SELF, own);
    }

    /// This node has had another key before, which is kept until a quorum knows the present one.
    pub fn await_key_known(&mut self) {
        self.gossip.key_known_by = Some(BTreeSet::new());
    }

    /// Somebody holds all the records that this node holds, and with them its present key.
    fn on_key_known(&mut self, cx: &mut Ctx<'_>, by: NodeId) {
        let Some(known_by) = &mut self.gossip.key_known_by else { return };
        if self.electorate.position(by).is_none() {
            return;
        }
        known_by.insert(by);
        let own = usize::from(self.electorate.position(cx.self_id()).is_some());
        if known_by.len() + own >= self.electorate.quorum() as usize {
            self.gossip.key_known_by = None;
            let sequence = u32::try_from(cx.egress.keys().chain().len()).expect("bounded by MAX_ROTATIONS");
            cx.report(Event::KeyKnown { sequence });
        }
    }

    /// The announces that are due now: to whom, and what.
    pub fn on_announce_timer(&mut self, cx: &mut Ctx<'_>) -> Vec<(To, Payload)> {
        let mut due = Vec::new();
        if cx.now.mono >= self.gossip.pass_on_at {
            self.gossip.pass_on_at = Time::NEVER;
            for fresh in std::mem::take(&mut self.gossip.fresh).chunks(RECORDS_AT_ONCE) {
                let records: Vec<_> = fresh.iter().map(|peer| self.peer(*peer).record.clone()).collect();
                due.push((To::All, self.records_message(&records, false)));
            }
        }
        if cx.now.mono >= self.gossip.announce_at {
            let wait = START_ANNOUNCES.get(self.gossip.announces);
            self.gossip.announce_at = match wait {
                Some(after) => cx.now.mono + *after,
                None => cx.now.mono + cx.config.discovery_interval,
            };
            self.gossip.announces += 1;
            self.reach_contacts(cx);
            let announce = self.announce();
            if wait.is_some() || self.reachable == 1 {
                due.push((To::All, announce.clone()));
            }
            due.push((To::Beacon, announce));
        }
        due
    }

    fn announce(&self) -> Payload {
        let starting = self.gossip.announces <= START_ANNOUNCES.len() || self.gossip.outlived;
        let want_records = self.peers.len() == 1 || starting && !self.gossip.informed;
        Payload::PeerAnnounce(Box::new(PeerAnnounce { record: self.own_record().clone(), want_records }))
    }

    fn records_message(&self, records: &[Arc<Announce>], complete: bool) -> Payload {
        let records = records.iter().map(|record| Announce::clone(record)).collect();
        Payload::PeerRecords(PeerRecords { members_digest: self.records_digest, complete, records })
    }

    /// Dials every bootstrap host behind which no live member is known.
    fn reach_contacts(&mut self, cx: &mut Ctx<'_>) {
        for (at, host) in cx.config.bootstrap.iter().enumerate() {
            let contact = &mut self.gossip.contacts[at];
            let met = contact.peer.is_some_and(|peer| self.peers[peer.at()].state == PeerState::Alive);
            if met || contact.subscribed || host.pub_endpoint == cx.config.pub_endpoint {
                continue;
            }
            contact.subscribed = true;
            let endpoint = cx.out.put(host.pub_endpoint.as_bytes());
            cx.out.actions.push(Action::Connect { link: contact_link(at, false), endpoint });
            if !contact.reaching {
                contact.reaching = true;
                let endpoint = cx.out.put(host.sub_endpoint.as_bytes());
                cx.out.actions.push(Action::Reach { link: contact_link(at, true), endpoint });
            }
        }
    }

    /// A bootstrap host may not know us any more: it restarted, so quickly that it was not missed. It cannot hear us unless we
    /// dial in again. Says whether we do.
    fn reach_again(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) -> bool {
        let mut reaching = false;
        for (at, contact) in self.gossip.contacts.iter_mut().enumerate() {
            if contact.peer != Some(peer) {
                continue;
            }
            reaching = true;
            if !std::mem::replace(&mut contact.reaching, true) {
                let endpoint = cx.out.put(cx.config.bootstrap[at].sub_endpoint.as_bytes());
                cx.out.actions.push(Action::Reach { link: contact_link(at, true), endpoint });
            }
        }
        reaching
    }

    /// A link to a bootstrap host is up: it can hear us, or we it, only now.
    pub fn on_contact_connected(&mut self, cx: &mut Ctx<'_>, link: Link) {
        if contact_at(link).is_some_and(|at| at < self.gossip.contacts.len()) && !self.gossip.informed {
            self.gossip.announce_at = self.gossip.announce_at.min(cx.now.mono);
            self.gossip.announces = self.gossip.announces.saturating_sub(1);
        }
    }

    /// Whether a message of a peer may honestly come twice: over the subscription to it and over another path, as while a
    /// first contact hands over to it.
    #[must_use]
    pub fn has_second_path(&self, from: PeerIdx, link: Link, now: Time) -> bool {
        let recently = |at: Moment| now.since(at.into()) < SECOND_PATH;
        link != Link(from.0) || self.peers[from.at()].other_path.is_some_and(recently)
    }

    /// A verified message came over a link: over one to a bootstrap host, it is known now who that is.
    pub fn on_heard_over(&mut self, cx: &mut Ctx<'_>, link: Link, from: PeerIdx) {
        if link == Link(from.0) {
            return;
        }
        self.peers[from.at()].other_path = Some(cx.now.mono.into());
        let Some(at) = contact_at(link).filter(|at| *at < self.gossip.contacts.len()) else { return };
        self.gossip.contacts[at].peer = Some(from);
        if self.gossip.contacts[at].subscribed && self.peers[from.at()].link_up {
            self.gossip.contacts[at].subscribed = false;
            cx.out.actions.push(Action::Disconnect(contact_link(at, false)));
        }
    }

    /// A peer hears us over a connection that it dialled itself: ours to its SUB is not needed any more.
    pub(super) fn stop_reaching(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        for (at, contact) in self.gossip.contacts.iter_mut().enumerate() {
            if contact.peer == Some(peer) && std::mem::take(&mut contact.reaching) {
                cx.out.actions.push(Action::Disconnect(contact_link(at, true)));
            }
        }
    }

    /// A member's own announce, already verified as its message.
    pub fn on_announce(&mut self, cx: &mut Ctx<'_>, announce: &PeerAnnounce, link: Link) -> Result<(), Refusal> {
        let record = &announce.record;
        let over_stream = link != Link::BEACON;
        let newer = self.merge(cx, record)?;
        let from = self.find(record.node_id).ok_or(Refusal::TooManyMembers)?;
        // A newcomer's beacon may have been faster than its stream: its first contact passes it on all the same.
        if over_stream && (newer || link == Link::INBOUND) {
            self.pass_on(cx, from);
        }
        if announce.want_records && over_stream {
            self.on_asked(cx, from, link);
        }
        Ok(())
    }

    /// A member announces the record of it that is held, and asks for those of others.
    pub fn on_repeated_announce(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, link: Link) {
        if link == Link::INBOUND {
            self.pass_on(cx, from);
        }
        if link != Link::BEACON {
            self.on_asked(cx, from, link);
        }
    }

    /// A member asks for all records. Its first contacts, which meet it only now or which it has reached, and its tellers answer,
    /// and not a hundred others; unless it asks and asks, because it hears none of those.
    fn on_asked(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, link: Link) {
        let asker = &mut self.peers[from.at()];
        let recently = |at: Option<Moment>| at.is_some_and(|at| cx.now.mono.since(at.into()) < ASKS_ANEW_AFTER);
        if !recently(asker.asked_at) {
            asker.asked += 1;
            asker.asked_at = Some(cx.now.mono.into());
        }
        let in_vain = asker.asked as usize > START_ANNOUNCES.len() + 1;
        let met_now = asker.known_since == cx.now.mono;
        let told = recently(asker.records_sent) && self.peers.len() >= MANY_RECORDS;
        if !told && (met_now || in_vain || link == Link::INBOUND || self.is_teller_of(cx.self_id(), from)) {
            self.reach_again(cx, from);
            let all = self.vouched_for(cx.now.mono).map(|p| p.record.clone()).collect();
            self.send_records(cx, from, all, true);
        }
    }

    /// A stranger's own record, from its own message.
    pub fn take_in(&mut self, cx: &mut Ctx<'_>, record: &Announce, over_stream: bool) -> Result<(), Refusal> {
        let new = self.merge(cx, record)?;
        if let Some(peer) = self.find(record.node_id).filter(|_| new && over_stream) {
            self.pass_on(cx, peer);
        }
        Ok(())
    }

    /// Records that a member passes on.
    pub fn on_records(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, message: &PeerRecords) -> Result<(), Refusal> {
        let mut refused = Ok(());
        self.gossip.informed |= message.complete;
        for record in &message.records {
            // Whom this node has forgotten another may count still: only news of it, or its own word, makes it a member again.
            let stored = self.gossip.stored.get(&record.node_id);
            if stored.is_some_and(|stored| version(stored) >= version(record)) && record.node_id != self.id(from) {
                continue;
            }
            if let Err(reason) = self.merge(cx, record) {
                refused = Err(reason);
            }
        }
        if message.complete && message.members_digest != self.records_digest {
            let has = |peer: &&Peer| {
                let version = version(&peer.record);
                !message
                    .records
                    .iter()
                    .any(|r| r.node_id == peer.record.node_id && super::gossip::version(r) >= version)
            };
            let missing: Vec<_> = self.vouched_for(cx.now.mono).filter(has).map(|p| p.record.clone()).collect();
            if !missing.is_empty() {
                self.send_records(cx, from, missing, false);
            }
        }
        refused
    }

    /// Somebody speaks with nonces that it has used up, in a message that is newer than all of those: it lost its store, and
    /// is told of the life it has forgotten.
    pub fn on_stale_announce(&mut self, cx: &mut Ctx<'_>, from: PeerIdx) {
        let entry = &self.peers[from.at()];
        if entry.records_sent.is_none_or(|at| cx.now.mono.since(at.into()) >= Span::secs(1)) {
            // With our own, since it may not know us any more.
            let records = vec![entry.record.clone(), self.peer(PeerIdx::SELF).record.clone()];
            self.send_records(cx, from, records, false);
        }
    }

    /// A record of the node itself that it does not know, though it is not older than its own: of a life that its store has
    /// forgotten. The incarnation that it must exceed.
    #[must_use]
    pub fn outlived_by(&mut self, cx: &mut Ctx<'_>, message: &PeerRecords) -> Option<u32> {
        let own = self.own_record();
        let foreign =
            |record: &&Announce| record.node_id == own.node_id && version(record) >= version(own) && record != &own;
        let record = message.records.iter().find(foreign).filter(|record| check_record(cx, record, 0).is_ok())?;
        let own = &self.own_record().rotations;
        if record.rotations.len() > own.len() || chain::parting(own, &record.rotations).is_some() {
            // Somebody else has given this identity a key.
            cx.report(Event::Proven { peer: PeerIdx::SELF });
            return None;
        }
        self.gossip.outlived = true;
        Some(record.incarnation)
    }

    /// Whether a peer's digest has differed for two heartbeats, and it is our turn to tell it what we hold.
    pub(super) fn compare_digest(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, digest: u32) {
        let same = digest == self.records_digest;
        if digest == self.records_digest ^ self.recalled_digest {
            self.on_recalled_unknown(cx, from);
        }
        let entry = &mut self.peers[from.at()];
        entry.digest_differs = if same { 0 } else { entry.digest_differs.saturating_add(1) };
        // It holds what we hold, our own record with it: nobody is left to be asked.
        self.gossip.informed |= same;
        let differs = entry.digest_differs;
        if same && self.gossip.key_known_by.is_some() {
            let by = self.id(from);
            self.on_key_known(cx, by);
        }
        if differs < 2 {
            return;
        }
        // What it lacks may be ourselves: then it does not subscribe to us, and no other way leads to it.
        let reaching = self.reach_again(cx, from);
        if !reaching && !self.is_teller_in_turn(cx.self_id(), from, differs.into()) {
            return;
        }
        self.peers[from.at()].digest_differs = 0;
        let all = self.vouched_for(cx.now.mono).map(|p| p.record.clone()).collect();
        self.send_records(cx, from, all, true);
    }

    /// A member holds all that this node holds, but for those that only the store remembers: it counts none of them. Where a quorum
    /// of all does not, they were dead for `forget_after` while this node was away, and it follows.
    fn on_recalled_unknown(&mut self, cx: &mut Ctx<'_>, to: PeerIdx) {
        let to = self.id(to);
        if self.recalled_digest == 0 || self.electorate.position(to).is_none() {
            return;
        }
        self.gossip.recalled_unknown_to.insert(to);
        let own = usize::from(self.electorate.position(cx.self_id()).is_some());
        if self.gossip.recalled_unknown_to.len() + own >= self.electorate.quorum() as usize {
            self.gossip.recalled_unknown_to.clear();
            for peer in
                (1..self.peers.len()).map(index).filter(|peer| self.peers[peer.at()].recalled).collect::<Vec<_>>()
            {
                self.forget(cx, peer);
            }
        }
    }

    /// The members that others are told of. Not those that only the store remembers, before a quorum had the time to show that it has
    /// forgotten them: or they would come to life again with everyone who comes back.
    fn vouched_for(&self, now: Time) -> impl Iterator<Item = &Peer> {
        let doubted = now < self.gossip.recalled_doubted_until;
        self.peers.iter().filter(move |peer| !(peer.forgotten || (peer.recalled && doubted)))
    }

    /// Whether `own` is among the first live voters after `peer` in the order of ids, around the end.
    #[must_use]
    pub fn is_teller_of(&self, own: NodeId, peer: PeerIdx) -> bool {
        self.is_teller_in_turn(own, peer, 2)
    }

    /// Whether `own` is to tell `peer`, whose digest has differed so often in a row: at the second time the first three are, and three
    /// more at every second time after that. So liars that tell nothing delay it and do not prevent it. Nor do ids that anyone makes up.
    #[must_use]
    pub fn is_teller_in_turn(&self, own: NodeId, peer: PeerIdx, times: u32) -> bool {
        let id = self.id(peer);
        let tells = |entry: &(&NodeId, &PeerIdx)| {
            self.peers[entry.1.at()].state == PeerState::Alive && self.electorate.position(*entry.0).is_some()
        };
        let after = self.index.range(id..).skip(1).chain(self.index.range(..id)).filter(tells);
        after.take(TELLERS * (times / 2) as usize).any(|(teller, _)| *teller == own)
    }

    fn send_records(&mut self, cx: &mut Ctx<'_>, to: PeerIdx, records: Vec<Arc<Announce>>, complete: bool) {
        self.peers[to.at()].records_sent = Some(cx.now.mono.into());
        let complete = complete && records.len() <= RECORDS_AT_ONCE;
        let id = self.id(to);
        for chunk in records.chunks(RECORDS_AT_ONCE) {
            let message = self.records_message(chunk, complete);
            cx.direct(to, id, &message);
        }
    }

    fn pass_on(&mut self, cx: &Ctx<'_>, peer: PeerIdx) {
        let entry = &mut self.peers[peer.at()];
        let version = Some(version(&entry.record));
        if std::mem::replace(&mut entry.passed_on, version) != version {
            self.gossip.fresh.push(peer);
            self.gossip.pass_on_at = self.gossip.pass_on_at.min(cx.now.mono + PASS_ON_AFTER);
        }
    }

    /// Takes a record in if it is new or newer. A record that is held already costs no signature check.
    fn merge(&mut self, cx: &mut Ctx<'_>, record: &Announce) -> Result<bool, Refusal> {
        if record.node_id == cx.self_id() {
            return Ok(false);
        }
        let stored =
            self.gossip.stored.get(&record.node_id).filter(|stored| version(stored) > version(record)).cloned();
        let record = stored.as_ref().unwrap_or(record);
        #[cfg(feature = "plant")]
        if cx.config.plant == crate::config::Plant::AnnouncesDropped && record.node_id.0[0] % 2 == cx.self_id().0[0] % 2
        {
            return Ok(false);
        }
        let checked = self.compare_chains(cx, record)?;
        if let Some(peer) = self.find(record.node_id) {
            let held: &Announce = &self.peers[peer.at()].record;
            if version(record) <= version(held) {
                if self.peers[peer.at()].recalled && (record == held || check_record(cx, record, checked).is_ok()) {
                    self.meet_recalled(cx, peer);
                    return Ok(false);
                }
                if record != held && contradict(record, held) {
                    check_record(cx, record, checked)?;
                    let (first, second) = (Box::new(held.clone()), Box::new(record.clone()));
                    let proof = Contradiction::Announces { first, second };
                    self.conflicts.push(Evidence { author: record.node_id, rotations: Vec::new(), proof });
                }
                return Ok(false);
            }
            let rotates = record.rotations.len() > held.rotations.len();
            let (newer_life, moved) = (record.incarnation > held.incarnation, held.pub_endpoint != record.pub_endpoint);
            check_record(cx, record, checked)?;
            if newer_life || rotates {
                self.remember(cx, record);
            }
            self.meet_recalled(cx, peer);
            let taken = cx.verify.hold(record);
            self.replace_record(cx.now.mono, peer, taken);
            if rotates {
                let sequence = u32::try_from(record.rotations.len()).expect("bounded by MAX_ROTATIONS");
                cx.report(Event::KeyRotated { peer, sequence });
            }
            if self.peers[peer.at()].forgotten {
                self.set_forgotten(cx, peer, false);
                self.know_again(cx, peer);
            }
            if moved {
                self.hang_up(cx, peer);
                self.dial(cx, peer);
            }
            return Ok(true);
        }
        if self.peers.len() >= room_for(cx.config, record.node_id) {
            return Err(Refusal::TooManyMembers);
        }
        check_record(cx, record, 0)?;
        if stored.is_none() {
            self.remember(cx, record);
        }
        if self.gossip.stored.remove(&record.node_id).is_some() {
            cx.forget(&store_key::of_node(store_key::FORGOTTEN, record.node_id));
        }
        self.add(cx, record, false);
        Ok(true)
    }

    /// Whether a record's chain of keys goes on from the one that is known of its owner, and how many of its links are known
    /// already (1). What parts from it is evidence, if the key before has really signed it.
    fn compare_chains(&mut self, cx: &mut Ctx<'_>, record: &Announce) -> Result<usize, Refusal> {
        let known = self.find(record.node_id).map(|peer| &*self.peers[peer.at()].record);
        let Some(held) = known.or_else(|| self.gossip.stored.get(&record.node_id)) else { return Ok(0) };
        let links = &held.rotations;
        if let Some(at) = chain::parting(links, &record.rotations) {
            let (first, second) = (links[at], record.rotations[at]);
            let key = chain::last_key(&held.public_key, &links[..at]);
            let bytes = chain::link_bytes(record.node_id, &second);
            let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
            if chain::fork(&first, &second) && cx.verify.verify(key, &signed, &second.old_signature) {
                let proof = Contradiction::Rotations { first, second };
                self.conflicts.push(Evidence { author: record.node_id, rotations: links[..at].to_vec(), proof });
            }
            return Err(Refusal::ForkedKey);
        }
        // Passed on late, an older record is no news; a newer one is of a key that was taken from its owner.
        if record.rotations.len() < links.len() && version(record) > version(held) {
            return Err(Refusal::RetiredKey);
        }
        let soon = cx.wall() + cx.config.clock_sync_tolerance;
        if record.rotations.len() > links.len() && record.rotations.last().is_some_and(|link| link.rotated_at > soon) {
            return Err(Refusal::BadRecord);
        }
        Ok(links.len().min(record.rotations.len()))
    }

    /// A member's new key, in an envelope that the old one signed.
    ///
    /// # Errors
    /// `StaleRotation` where it is known already or older; else as for any record.
    pub fn on_key_rotation(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, record: &Announce) -> Result<(), Refusal> {
        let held = self.peers[from.at()].record.rotations.len();
        if record.node_id != self.id(from) {
            return Err(Refusal::BadRecord);
        }
        self.compare_chains(cx, record)?;
        if record.rotations.len() <= held {
            return Err(Refusal::StaleRotation);
        }
        self.merge(cx, record).map(drop)
    }

    /// A frame of a member that its known key has not signed: whether the record in it brings the key that has (1). Where a
    /// rotation was missed, that is how it is learned.
    ///
    /// # Errors
    /// `BadSignature`, or why the record is not taken.
    pub fn take_new_key(
        &mut self,
        cx: &mut Ctx<'_>,
        from: PeerIdx,
        record: &Announce,
        signed: &Signed<'_>,
        signature: &Signature,
    ) -> Result<(), Refusal> {
        let held = &self.peers[from.at()].record.rotations;
        let news = record.rotations.len() > held.len() || chain::parting(held, &record.rotations).is_some();
        let key = chain::last_key(&record.public_key, &record.rotations);
        if !news || !cx.verify.verify(key, signed, signature) {
            return Err(Refusal::BadSignature);
        }
        self.merge(cx, record).map(drop)
    }

    /// Keeps over a restart which lives of a member are over, and the record that proves it to who has forgotten. Without
    /// proof the number is not kept: a member that lost its store could never learn it, and would be refused for good.
    fn remember(&self, cx: &mut Ctx<'_>, record: &Announce) {
        cx.persist(&store_key::of_node(store_key::FLOOR, record.node_id), &record.incarnation);
        cx.persist(&store_key::of_node(store_key::RECORD, record.node_id), record);
    }

    /// What the store remembers of others: members, but for those that were dead for `forget_after` (4). Whoever counted only
    /// those that it meets again would find a quorum among the few that come back together.
    pub fn recall_from_store(
        &mut self,
        cx: &mut Ctx<'_>,
        records: BTreeMap<NodeId, Announce>,
        forgotten: &BTreeSet<NodeId>,
    ) {
        self.gossip.recalled_doubted_until = cx.now.mono + cx.config.heartbeat_interval.times(RECALLED_DOUBTED_FOR);
        for (id, record) in records {
            let room = self.peers.len() < room_for(cx.config, id);
            let counts = room && !forgotten.contains(&id) && !planted!(cx.config, MembersUnrecalled);
            // Signed for this network: the operator may have given the store another.
            if counts && id != cx.self_id() && check_record(cx, &record, 0).is_ok() {
                self.add(cx, &record, true);
            } else {
                self.gossip.stored.insert(id, record);
            }
        }
    }

    /// The record of a stranger that the store remembers.
    #[must_use]
    pub fn stored(&self, id: NodeId) -> Option<&Announce> {
        self.gossip.stored.get(&id)
    }
}

/// Members beyond which this one is not taken in. Where it is said who votes, everyone else is kept out of their places: names
/// cost nothing, and whoever makes up a thousand must not keep a voter out.
fn room_for(config: &Config, id: NodeId) -> usize {
    let all = config.max_members as usize;
    match &config.membership {
        Membership::Fixed(voters) if !voters.contains(&id) => all.saturating_sub(voters.len()),
        Membership::Fixed(_) | Membership::Open => all,
    }
}

/// Whether a record is its owner's: the id is the first key's hash, and the last one signed it. So many of its links were checked
/// before.
fn check_record(cx: &mut Ctx<'_>, record: &Announce, checked: usize) -> Result<(), Refusal> {
    let own = NodeId::of_key(&record.public_key) == record.node_id;
    let sound = own && is_signed(record, checked, &cx.config.network_id, cx.verify);
    if sound { Ok(()) } else { Err(Refusal::BadRecord) }
}

/// Whether the last key of a record's chain signed it, and the chain holds. So many of its links were checked before.
#[must_use]
pub fn is_signed(record: &Announce, checked: usize, network_id: &str, verify: &mut dyn Verify) -> bool {
    let key = chain::last_key(&record.public_key, &record.rotations);
    let bytes = signed_bytes(record);
    // The cheaper part first: a chain has many signatures.
    verify.verify(key, &Signed { network_id, bytes: &bytes }, &record.record_signature)
        && chain::check(record.node_id, &record.public_key, &record.rotations, checked, network_id, verify)
}

/// The newer of two records of one node is the one with the greater version.
fn version(record: &Announce) -> (u32, u32) {
    (record.incarnation, record.sequence)
}

/// A bootstrap host's links: its PUB that we subscribe to, its SUB that we publish to.
fn contact_link(at: usize, reach: bool) -> Link {
    Link(BOOTSTRAP_LINKS + 2 * u32::try_from(at).expect("few bootstrap hosts") + u32::from(reach))
}

fn contact_at(link: Link) -> Option<usize> {
    (link != Link::INBOUND && link != Link::BEACON)
        .then(|| link.0.checked_sub(BOOTSTRAP_LINKS))
        .flatten()
        .map(|n| n as usize / 2)
}
