//! Who is there: the members this node knows, what it knows of each, and how it sees them (protocol.md, section 4).
//!
//! `gossip` finds them, `detector` watches them, `clock` learns their time, `electorate` says who votes. This file is the
//! table that the four share; a member keeps its number while the process lives.

pub mod clock;
pub mod detector;
pub mod electorate;
pub mod gossip;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use prefetch_index::prefetch_index;
use sha2::{Digest, Sha256};

use crate::config::{Config, Membership as Mode};
use crate::cx::{Ctx, store_key};
use crate::id::{ElectorateId, Link, NodeId, PeerIdx};
use crate::identity::chain::{OVERLAP, last_key};
use crate::io::{Action, Event, PeerState, Verify};
use crate::reputation::standing::Standing;
use crate::time::{Moment, Span, Time, WallTime};
use crate::wire::message::{Announce, Consistency, Evidence};
use crate::wire::{Signature, Signed};
use electorate::{Ballot, Electorate, Former, Roll};

/// Members that make a provisional claim, the node itself included: `min_peers` is for claims that bind everyone.
const COMPANY: u32 = 2;

/// Places for hints in a small network. A power of two, as it remains when it is doubled; far fewer than two bytes tell apart.
const FEWEST_HINTS: usize = 256;

/// The members.
#[derive(Clone, Debug)]
pub struct Members {
    peers: Vec<Peer>,
    index: BTreeMap<NodeId, PeerIdx>,
    /// The member last added of those whose id begins with these bits. There are four to eight places for each member, so that most
    /// look-ups end here, as beacons of hundreds ask for them: they come over no link of their senders.
    hints: Vec<PeerIdx>,
    electorate: Electorate,
    /// Who that is, in short, where nobody is listed.
    roll: Roll,
    former: Former,
    /// Whether members went, came back or have other keys since the electorate was built, and who came: see [`Members::settle`].
    changed: bool,
    newcomers: Vec<PeerIdx>,
    records_digest: u32,
    /// The part of it that is of members whom only the store remembers.
    recalled_digest: u32,
    /// Where it is said who votes: those, sorted. Only their records must be the same everywhere.
    listed: Option<Vec<NodeId>>,
    reachable: u32,
    connections: u32,
    degraded: bool,
    /// Whether there are too few even for a provisional claim.
    isolated: bool,
    /// Members that died or left since `node.rs` last asked.
    lost: Vec<NodeId>,
    /// Members that have another key since `node.rs` last asked.
    pub rotated: Vec<NodeId>,
    /// Members of whom something may have been missed, and since when, until `node.rs` has asked.
    missed: Vec<(PeerIdx, Time)>,
    /// Records of members that exclude each other; `node.rs` carries them to the evidence.
    pub conflicts: Vec<Evidence>,
    detector: detector::Detector,
    gossip: gossip::Gossip,
    clock: clock::Clock,
}

/// One member. What every message of it touches stands first, on one cache line: with hundreds of members, it is the time to fetch
/// that from memory which a delivery takes. Its record is the same for all nodes of a world (see [`Verify::hold`]).
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Peer {
    /// Its newest announce, and its id as there.
    pub record: Arc<Announce>,
    id: NodeId,
    /// When a verified message of it came in last; nothing before the first.
    heard: Option<Moment>,
    /// The stamp of its last PING and when it came, until a PONG has answered it.
    ping: Option<(WallTime, Moment)>,
    /// When it was last heard over something other than the subscription to it.
    other_path: Option<Moment>,
    /// Its PINGs in a row whose records digest was not ours, as far as sixteen bits count them.
    digest_differs: u16,
    /// How it is seen; the node itself is always `Alive`.
    pub state: PeerState,
    /// Whether it has been dialled, and whether that connection is up.
    dialled: bool,
    link_up: bool,
    /// Whether it is out of the electorate because it was dead for `forget_after`.
    forgotten: bool,
    /// Whether the store alone says that it is a member: neither it nor anybody else has shown so in this life.
    recalled: bool,
    /// The key before the present one, and until when what it signed is still taken.
    old_key: Option<Box<([u8; 32], Time)>>,
    /// The newest moment at which others are known to have heard it.
    vouched: Time,
    /// When it became known, or known again.
    known_since: Time,
    /// When others will be asked about it, while it is `Suspect` and they have not been; and until when their positive
    /// answers are waited for.
    probe_at: Option<Moment>,
    probe_until: Time,
    /// The last measurement of its clock.
    sample: Option<clock::Sample>,
    /// The version of its record that was passed on.
    passed_on: Option<(u32, u32)>,
    /// How often it has asked for records, and when that was counted last.
    asked: u32,
    asked_at: Option<Moment>,
    /// When records were last sent to it.
    records_sent: Option<Moment>,
    /// How far it is trusted: `node.rs` keeps it as reputation has it. The node itself keeps a newcomer's.
    pub standing: Standing,
}

const _: () = assert!(size_of::<Peer>() <= 192, "hundreds of nodes hold one of each other");
const _: () = assert!(std::mem::offset_of!(Peer, old_key) <= 64, "what every message touches is on one line");

impl Members {
    /// Only the node itself, not started.
    #[must_use]
    pub fn new(own: Announce, config: &Config) -> Members {
        let id = own.node_id;
        let mut members = Members {
            peers: vec![Peer::new(Arc::new(own), Time(0))],
            index: BTreeMap::from([(id, PeerIdx::SELF)]),
            hints: vec![PeerIdx::SELF; FEWEST_HINTS],
            electorate: Electorate::default(),
            roll: Roll::default(),
            former: Former::default(),
            // Alone may be enough: the first `settle` says so.
            changed: true,
            newcomers: Vec::new(),
            records_digest: 0,
            recalled_digest: 0,
            listed: listed(config),
            reachable: 1,
            connections: 0,
            degraded: true,
            isolated: true,
            lost: Vec::new(),
            rotated: Vec::new(),
            missed: Vec::new(),
            conflicts: Vec::new(),
            detector: detector::Detector::default(),
            gossip: gossip::Gossip::default(),
            clock: clock::Clock::default(),
        };
        members.peers[0].state = PeerState::Alive;
        members.records_digest = members.digest_of(&members.peers[0].record);
        members.rebuild_electorate(Time(0), config);
        members
    }

    /// The number of a known id.
    #[must_use]
    pub fn find(&self, id: NodeId) -> Option<PeerIdx> {
        let hint = self.hints[hint_at(id, self.hints.len())];
        if self.id(hint) == id { Some(hint) } else { self.index.get(&id).copied() }
    }

    /// Has the processor fetch what a message of this member touches.
    #[inline]
    pub fn prefetch(&self, peer: PeerIdx) {
        prefetch_index(&self.peers, peer.at());
    }

    /// Who probably says something over a link, told without looking at any member.
    #[inline]
    #[must_use]
    pub fn likely_speaking(&self, link: Link, sender: NodeId) -> PeerIdx {
        self.behind(link).unwrap_or_else(|| self.hints[hint_at(sender, self.hints.len())])
    }

    /// A member by its number.
    #[must_use]
    pub fn peer(&self, peer: PeerIdx) -> &Peer {
        &self.peers[peer.at()]
    }

    /// The id of a member.
    #[must_use]
    pub fn id(&self, peer: PeerIdx) -> NodeId {
        self.peers[peer.at()].id
    }

    /// How many members are known, the node itself included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Never: a node knows itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Every member with its number, the node itself first.
    pub fn iter(&self) -> impl Iterator<Item = (PeerIdx, &Peer)> {
        self.peers.iter().enumerate().map(|(at, peer)| (index(at), peer))
    }

    /// Who may coordinate (protocol.md, section 6): the members that are held for alive, sorted, the node itself included; those
    /// under suspicion too, if `suspects`. Where it is said who votes, only voters: names cost nothing, and with enough
    /// of them somebody would coordinate every auction.
    #[must_use]
    pub fn coordinators(&self, config: &Config, suspects: bool) -> Vec<NodeId> {
        let there = |(_, at): &(&NodeId, &PeerIdx)| match self.peers[at.at()].state {
            PeerState::Alive => true,
            PeerState::Suspect => suspects,
            PeerState::Known | PeerState::Dead | PeerState::Left => false,
        };
        let mut there: Vec<NodeId> = self.index.iter().filter(there).map(|(id, _)| *id).collect();
        if matches!(config.membership, Mode::Fixed(_)) {
            there.retain(|id| self.electorate.position(*id).is_some());
        }
        if there.is_empty() {
            there.push(self.id(PeerIdx::SELF)); // it does not vote and reaches no voter: it waits for its own proposal in vain
        }
        there
    }

    /// How many members are held for alive, the node itself included.
    #[must_use]
    pub fn reachable(&self) -> u32 {
        self.reachable
    }

    /// Who votes.
    #[must_use]
    pub fn electorate(&self) -> &Electorate {
        &self.electorate
    }

    /// Who has voted where this electorate is named, and how many of their votes are enough: all members, or those that were all a
    /// moment ago.
    #[must_use]
    pub fn electorate_named(&self, now: Time, digest: ElectorateId) -> Option<(Cow<'_, Electorate>, u32)> {
        if digest == self.electorate.digest() {
            return Some((Cow::Borrowed(&self.electorate), self.electorate.quorum()));
        }
        let former = self.former.named(now, digest, &self.electorate, &self.peers);
        former.map(|(electorate, needed)| (Cow::Owned(electorate), needed))
    }

    /// Whether too few members are reachable for a claim.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.degraded
    }

    /// Whether too few members are reachable even for a provisional claim: nobody who votes, or nobody but this node (unless
    /// `min_peers` is 1), so that one that has just started does not decide alone what others have decided already.
    #[must_use]
    pub fn isolated(&self) -> bool {
        self.isolated
    }

    /// Whether a claim can be made now that needs this (10).
    #[must_use]
    pub fn may_claim(&self, needs: Consistency) -> bool {
        match needs {
            Consistency::Quorum => !self.degraded,
            Consistency::Available => !self.degraded || !self.isolated,
        }
    }

    /// Whose votes a claim takes that is made now; nothing where none can be.
    #[must_use]
    pub fn ballot(&self, needs: Consistency) -> Option<Ballot> {
        if !self.may_claim(needs) {
            None
        } else if self.degraded {
            let alive = |id| self.find(id).is_some_and(|at| self.peer(at).state == PeerState::Alive);
            self.electorate.reachable(alive)
        } else {
            Some(self.electorate.ballot())
        }
    }

    /// The same as another node names it: all members of this node's electorate, or those that both hold for alive.
    #[must_use]
    pub fn ballot_named(&self, needs: Consistency, electorate: ElectorateId) -> Option<Ballot> {
        if electorate == self.electorate.digest() {
            return Some(self.electorate.ballot());
        }
        self.ballot(needs).filter(|ballot| ballot.electorate == electorate)
    }

    /// A digest of all records held: equal where everyone knows the same members.
    #[must_use]
    pub fn records_digest(&self) -> u32 {
        self.records_digest
    }

    /// The offset of the wall clock to synchronised time, in microseconds.
    #[must_use]
    pub fn sync_offset_us(&self) -> i64 {
        self.clock.offset_us()
    }

    /// The newest announce of the node itself.
    #[must_use]
    pub fn own_record(&self) -> &Announce {
        &self.peers[0].record
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.detector.next_deadline().min(self.gossip.next_deadline())
    }

    /// Trusts a member this far from now on.
    pub fn set_standing(&mut self, peer: PeerIdx, standing: Standing) {
        assert_ne!(peer, PeerIdx::SELF, "a node has no opinion of itself");
        self.peers[peer.at()].standing = standing;
    }

    /// Adds a member that was not known. The caller has checked its record and the limits.
    fn add(&mut self, cx: &mut Ctx<'_>, record: &Announce, recalled: bool) -> PeerIdx {
        let record = cx.verify.hold(record);
        let peer = index(self.peers.len());
        let replaced = self.index.insert(record.node_id, peer);
        assert!(replaced.is_none(), "the member was not known");
        self.records_digest ^= self.digest_of(&record);
        self.peers.push(Peer::new(record, cx.now.mono));
        self.add_hint(peer);
        self.newcomers.push(peer);
        if recalled {
            self.peers[peer.at()].recalled = true;
            self.recalled_digest ^= self.digest_of(&self.peers[peer.at()].record);
            cx.report(Event::PeerRecalled { peer });
        } else {
            cx.report(Event::PeerDiscovered { peer });
        }
        self.dial(cx, peer);
        self.detector.look_again_at(cx.now.mono + cx.config.heartbeat_timeout);
        peer
    }

    fn add_hint(&mut self, peer: PeerIdx) {
        if self.peers.len() * 4 <= self.hints.len() {
            let at = hint_at(self.id(peer), self.hints.len());
            self.hints[at] = peer;
            return;
        }
        self.hints = vec![PeerIdx::SELF; self.hints.len() * 2];
        for known in (0..self.peers.len()).map(index) {
            let at = hint_at(self.id(known), self.hints.len());
            self.hints[at] = known;
        }
    }

    /// Puts a newer record of a member in place of the one held.
    fn replace_record(&mut self, now: Time, peer: PeerIdx, record: Arc<Announce>) {
        let held = &self.peers[peer.at()];
        if !held.forgotten {
            self.records_digest ^= self.digest_of(&held.record) ^ self.digest_of(&record);
        }
        let held = &mut self.peers[peer.at()];
        let old_key = *held.key();
        let before = std::mem::replace(&mut held.record, record);
        if *held.key() != old_key {
            // 1: what the old key signed may be under way.
            held.old_key = Some(Box::new((old_key, now + OVERLAP)));
            self.rotated.push(held.id);
            self.former.on_key_replaced(peer, before);
            self.changed = true;
        }
    }

    /// What a record adds to the digest of all records. What is only said to be a member adds nothing where others vote: everyone may
    /// have heard of other inventions, and would be told of them for ever.
    fn digest_of(&self, record: &Announce) -> u32 {
        if self.is_listed(record.node_id) { record_digest(record) } else { 0 }
    }

    /// Whether it may vote: everyone, where it is not said who votes.
    fn is_listed(&self, id: NodeId) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.binary_search(&id).is_ok())
    }

    /// Takes a member out of the electorate, or back in.
    fn set_forgotten(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx, forgotten: bool) {
        if self.peers[peer.at()].forgotten != forgotten {
            self.cease_recalled(peer);
            self.peers[peer.at()].forgotten = forgotten;
            self.records_digest ^= self.digest_of(&self.peers[peer.at()].record);
            self.changed = true;
            let key = store_key::of_node(store_key::FORGOTTEN, self.id(peer));
            if forgotten { cx.persist(&key, &()) } else { cx.forget(&key) }
        }
    }

    /// From now on more than the store says that this is a member, or it is none. Says whether the store alone did.
    fn cease_recalled(&mut self, peer: PeerIdx) -> bool {
        let was = std::mem::take(&mut self.peers[peer.at()].recalled);
        if was {
            self.recalled_digest ^= self.digest_of(&self.peers[peer.at()].record);
        }
        was
    }

    /// Somebody has shown in this life that this is a member: itself, or who passes its record on.
    fn meet_recalled(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        if self.cease_recalled(peer) {
            cx.report(Event::PeerDiscovered { peer });
        }
    }

    /// What follows from members that came or went, once for all that one message brought.
    pub fn settle(&mut self, cx: &mut Ctx<'_>) {
        if !self.changed && self.newcomers.is_empty() {
            return;
        }
        let newcomers = std::mem::take(&mut self.newcomers);
        if std::mem::take(&mut self.changed) || cx.config.membership != Mode::Open {
            self.rebuild_electorate(cx.now.mono, cx.config);
        } else {
            // To build it anew for each of a thousand who come would take a thousand times as long.
            let grown = self.former.grown(&self.roll, self.peers.len());
            let former = std::mem::replace(&mut self.roll, grown);
            self.former.keep(former, cx.now.mono + OVERLAP, &self.peers);
            for peer in newcomers.into_iter().map(|at| &self.peers[at.at()]) {
                let chain = (peer.record.public_key, peer.record.rotations.clone());
                self.electorate.admit(peer.id, *peer.key(), chain);
            }
        }
        self.update_degraded(cx);
    }

    /// A forgotten member has a new record, perhaps from a third: as if it were met for the first time.
    fn know_again(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        self.peers[peer.at()].known_since = cx.now.mono;
        self.set_state(cx, peer, PeerState::Known);
        self.dial(cx, peer);
        self.detector.look_again_at(cx.now.mono + cx.config.heartbeat_timeout);
    }

    /// Subscribes to a member, where there is room for another connection.
    fn dial(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        if self.peers[peer.at()].dialled {
            return;
        }
        if self.connections >= cx.config.max_peers {
            // Who is silent makes room, but not a voter for a mere name, nor who was heard for who was not: or names that anybody
            // can make up would take every place, and a member that comes back would find nobody who listens.
            let silent = |peer: &Peer| peer.dialled && !matches!(peer.state, PeerState::Alive | PeerState::Suspect);
            let rank = |at: usize| (self.is_listed(self.peers[at].id), self.peers[at].heard.is_some());
            let silent = (0..self.peers.len()).filter(|at| silent(&self.peers[*at])).min_by_key(|at| rank(*at));
            let Some(silent) = silent.filter(|at| rank(*at) <= rank(peer.at())) else { return };
            self.hang_up(cx, index(silent));
        }
        let entry = &mut self.peers[peer.at()];
        entry.dialled = true;
        self.connections += 1;
        let endpoint = cx.out.put(entry.record.pub_endpoint.as_bytes());
        cx.out.actions.push(Action::Connect { link: Link(peer.0), endpoint });
    }

    /// Drops the subscription to a member.
    fn hang_up(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        let entry = &mut self.peers[peer.at()];
        if std::mem::take(&mut entry.dialled) {
            entry.link_up = false;
            self.connections -= 1;
            cx.out.actions.push(Action::Disconnect(Link(peer.0)));
        }
    }

    /// Sees a member differently from now on.
    fn set_state(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx, state: PeerState) {
        assert_ne!(peer, PeerIdx::SELF, "a node is alive to itself");
        let entry = &mut self.peers[peer.at()];
        if entry.state == state {
            return;
        }
        let was_alive = entry.state == PeerState::Alive;
        entry.state = state;
        match (was_alive, state == PeerState::Alive) {
            (true, false) => self.reachable -= 1,
            (false, true) => self.reachable += 1,
            _ => {}
        }
        if matches!(state, PeerState::Dead | PeerState::Left) {
            self.lost.push(entry.id);
        }
        cx.report(Event::PeerState { peer, state });
        self.update_degraded(cx);
    }

    /// Members that were dead or not connected, and when they had been heard last: what they said since may have been missed.
    pub fn take_missed(&mut self) -> Vec<(PeerIdx, Time)> {
        std::mem::take(&mut self.missed)
    }

    /// Members that died or left since this was last called.
    pub fn take_lost(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.lost)
    }

    /// Compares the reachable members with the quorum of all.
    fn update_degraded(&mut self, cx: &mut Ctx<'_>) {
        if self.changed || !self.newcomers.is_empty() {
            return; // `settle` compares with the quorum of the new electorate
        }
        let quorum = self.electorate.quorum();
        let reachable = self.reachable_voters(cx.config);
        self.isolated = reachable == 0 || self.reachable < cx.config.min_peers.min(COMPANY);
        let degraded = reachable < quorum || self.reachable < cx.config.min_peers;
        if degraded == self.degraded {
            return;
        }
        self.degraded = degraded;
        cx.report(if degraded {
            Event::Degraded { reachable, quorum }
        } else {
            Event::Recovered { reachable, quorum }
        });
    }

    /// With fixed membership there may be live members that do not vote: they make no quorum.
    fn reachable_voters(&self, config: &Config) -> u32 {
        match config.membership {
            Mode::Open => self.reachable,
            Mode::Fixed(_) => {
                let alive = |id| self.find(id).is_some_and(|at| self.peer(at).state == PeerState::Alive);
                let voters = self.electorate.members().iter().filter(|(id, _)| alive(*id)).count();
                u32::try_from(voters).expect("bounded by max_members")
            }
        }
    }

    fn rebuild_electorate(&mut self, now: Time, config: &Config) {
        let mut members: Vec<(NodeId, [u8; 32])> = match &config.membership {
            Mode::Open => {
                let known = self.peers.iter().filter(|p| !p.forgotten);
                known.map(|p| (p.id, *p.key())).collect()
            }
            // The key of a listed member that has not announced itself is not known: no signature verifies under it.
            Mode::Fixed(ids) => {
                let key = |id| self.find(id).map_or([0; 32], |at| *self.peer(at).key());
                ids.iter().map(|id| (*id, key(*id))).collect()
            }
        };
        members.sort_unstable();
        members.dedup_by_key(|(id, _)| *id);
        let chains = self.peers.iter().filter(|peer| !peer.record.rotations.is_empty());
        let chains =
            chains.map(|peer| (*peer.key(), (peer.record.public_key, peer.record.rotations.clone()))).collect();
        let generation = self.electorate.generation();
        self.electorate.replace(members, chains);
        let absent = (0..self.peers.len()).filter(|at| self.peers[*at].forgotten).map(index).collect();
        let roll = self.former.roll(self.peers.len(), absent);
        let former = std::mem::replace(&mut self.roll, roll);
        if generation != self.electorate.generation() {
            self.former.keep(former, now + OVERLAP, &self.peers);
        }
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        assert!(
            self.reachable >= 1 && self.reachable as usize <= self.peers.len(),
            "reachable members are known members"
        );
        assert_eq!(self.index.len(), self.peers.len(), "every member has one id");
        assert_eq!(self.peers[0].state, PeerState::Alive, "a node is alive to itself");
    }
}

impl Peer {
    fn new(record: Arc<Announce>, now: Time) -> Peer {
        Peer {
            id: record.node_id,
            record,
            heard: None,
            ping: None,
            other_path: None,
            digest_differs: 0,
            state: PeerState::Known,
            dialled: false,
            link_up: false,
            forgotten: false,
            recalled: false,
            old_key: None,
            vouched: Time(0),
            known_since: now,
            probe_at: None,
            probe_until: Time(0),
            sample: None,
            passed_on: None,
            asked: 0,
            asked_at: None,
            records_sent: None,
            standing: Standing::default(),
        }
    }

    /// Its present public key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        last_key(&self.record.public_key, &self.record.rotations)
    }

    /// When a verified message of it came in last, if any has.
    #[must_use]
    pub fn last_heard(&self) -> Option<Time> {
        self.heard.map(Time::from)
    }

    /// The key before the present one, while what it signed is still taken.
    fn old_key(&self, now: Time) -> Option<&[u8; 32]> {
        self.old_key.as_deref().filter(|(_, until)| now < *until).map(|(key, _)| key)
    }

    /// The keys that it may have sealed something with: its present one and, for a minute, the one before.
    #[must_use]
    pub fn sealing_keys(&self, now: Time) -> Vec<[u8; 32]> {
        std::iter::once(self.key()).chain(self.old_key(now)).copied().collect()
    }

    /// Whether it has signed this, with its present key or, for a minute, with the one before (1).
    pub fn has_signed(&self, now: Time, verify: &mut dyn Verify, message: &Signed<'_>, signature: &Signature) -> bool {
        verify.verify(self.key(), message, signature)
            || self.old_key(now).is_some_and(|key| verify.verify(key, message, signature))
    }

    /// Last measured round trip.
    #[must_use]
    pub fn round_trip(&self) -> Option<Span> {
        self.sample.map(|sample| sample.round_trip)
    }

    /// Last measured offset of its clock to ours, in microseconds.
    #[must_use]
    pub fn clock_offset_us(&self) -> Option<i64> {
        self.sample.map(|sample| sample.offset_us)
    }

    /// Whether it is out of the electorate.
    #[must_use]
    pub fn forgotten(&self) -> bool {
        self.forgotten
    }
}

/// Who votes, sorted, where the configuration says so.
fn listed(config: &Config) -> Option<Vec<NodeId>> {
    match &config.membership {
        Mode::Open => None,
        Mode::Fixed(ids) => {
            let mut ids = ids.clone();
            ids.sort_unstable();
            Some(ids)
        }
    }
}

/// What a record adds to the digest of all records: equal records cancel nothing else.
fn record_digest(record: &Announce) -> u32 {
    let hash = Sha256::new()
        .chain_update(record.node_id.0)
        .chain_update(record.incarnation.to_le_bytes())
        .chain_update(record.sequence.to_le_bytes())
        .finalize();
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Where among so many hints that of an id is.
fn hint_at(id: NodeId, hints: usize) -> usize {
    (usize::from(u16::from_be_bytes([id.0[0], id.0[1]])) * hints) >> 16
}

fn index(at: usize) -> PeerIdx {
    PeerIdx(u32::try_from(at).expect("members are bounded by max_members"))
}
