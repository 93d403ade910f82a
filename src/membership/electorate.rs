//! Who votes: all known members, the dead ones too, until forgotten; never "those who answered" (protocol.md, section 4).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use super::Peer;
use crate::id::{ElectorateId, NodeId, PeerIdx};
use crate::identity::chain;
use crate::quorum;
use crate::time::{Time, WallTime};
use crate::wire::message::{Announce, KeyLink};

/// What came before a present key: the first key, and the links from it.
pub type Chain = ([u8; 32], Vec<KeyLink>);

/// Whose votes count for a claim that is made now: everyone's, or only those of the reachable (protocol.md, section 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// What names them in a statement.
    pub electorate: ElectorateId,
    /// How many they are; at least one.
    pub voters: u32,
    /// Where the claim is provisional, one bit per member of the sorted electorate that can be reached; else nothing.
    pub reachable: Vec<u8>,
}

impl Ballot {
    /// Votes that are enough.
    #[must_use]
    pub fn needed(&self) -> u32 {
        quorum::quorum(self.voters)
    }

    /// Whether only the reachable vote.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        !self.reachable.is_empty()
    }

    /// Whether the vote of the member at this place counts.
    #[must_use]
    pub fn counts(&self, at: usize) -> bool {
        self.reachable.is_empty() || quorum::is_set(&self.reachable, at)
    }
}

/// Electorates before the present one whose certificates are still checked by them. A few members that join in a moment make as many.
const FORMER: usize = 8;

/// Who is in an electorate of which nobody was listed, told by the numbers of members: the electorates that hundreds of nodes go
/// through while they meet hundreds would take hundreds of megabytes as lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Roll {
    /// All members with a lower number than this,
    known: usize,
    /// but for these, in order,
    absent: Arc<[PeerIdx]>,
    /// each with the key that it had when so many keys were replaced.
    replaced: u64,
    /// Made when it is first asked for.
    digest: OnceLock<ElectorateId>,
}

impl Roll {
    fn voters(&self) -> usize {
        self.known - self.absent.len()
    }
}

/// Electorates that this node has held a moment ago. What they certified just then is on its way to nodes that know more members by
/// now: by itself each could say no more than that others have certified it, and where those that hold it are too few to vouch for
/// it, nobody who comes later would ever believe it.
#[derive(Clone, Debug, Default)]
pub(super) struct Former {
    rolls: Vec<(Roll, Time)>,
    /// Records whose key another has replaced since the oldest of these, and how many were replaced before that.
    replaced: VecDeque<(PeerIdx, Arc<Announce>)>,
    replaced_before: u64,
}

impl Former {
    /// A member has another key than in this record of it.
    pub(super) fn on_key_replaced(&mut self, peer: PeerIdx, record: Arc<Announce>) {
        self.replaced.push_back((peer, record));
    }

    /// The roll of an electorate of all members but these, as they are now.
    pub(super) fn roll(&self, known: usize, absent: Arc<[PeerIdx]>) -> Roll {
        let replaced = self.replaced_before + self.replaced.len() as u64;
        Roll { known, absent, replaced, digest: OnceLock::new() }
    }

    /// The same, when all members with a lower number than this have become known.
    pub(super) fn grown(&self, roll: &Roll, known: usize) -> Roll {
        self.roll(known, Arc::clone(&roll.absent))
    }

    /// This one is not the present one any more, and counts until then.
    pub(super) fn keep(&mut self, roll: Roll, until: Time, peers: &[Peer]) {
        let same =
            |other: &Roll| other.voters() == roll.voters() && self.digest(other, peers) == self.digest(&roll, peers);
        let others = self.rolls.iter().filter(|(other, _)| !same(other)).cloned();
        let mut rolls: Vec<(Roll, Time)> = others.collect();
        if rolls.len() >= FORMER {
            rolls.remove(0);
        }
        rolls.push((roll, until));
        let oldest = rolls.iter().map(|(roll, _)| roll.replaced).min().expect("one was just added");
        self.rolls = rolls;
        while self.replaced_before < oldest {
            self.replaced.pop_front();
            self.replaced_before += 1;
        }
    }

    /// The one of this name, and how many of its votes prove something to who holds the present one: a quorum of it, and among them at
    /// least one of an honest member even if as many lie as the present one bears. Of those that lost a member since, none.
    pub(super) fn named(
        &self,
        now: Time,
        digest: ElectorateId,
        present: &Electorate,
        peers: &[Peer],
    ) -> Option<(Electorate, u32)> {
        let named = |(roll, until): &&(Roll, Time)| self.digest(roll, peers) == digest && now < *until;
        let (roll, _) = self.rolls.iter().find(named)?;
        let electorate = self.electorate(roll, peers);
        let all_present = electorate.members.iter().all(|(id, _)| present.position(*id).is_some());
        let liars = quorum::max_byzantine(present.ballot().voters);
        let needed = electorate.quorum().max(liars + 1);
        all_present.then_some((electorate, needed))
    }

    fn digest(&self, roll: &Roll, peers: &[Peer]) -> ElectorateId {
        *roll.digest.get_or_init(|| self.electorate(roll, peers).digest())
    }

    fn electorate(&self, roll: &Roll, peers: &[Peer]) -> Electorate {
        let since = usize::try_from(roll.replaced - self.replaced_before).expect("few keys are replaced in a minute");
        let record_then = |at: usize| {
            let replaced = self.replaced.iter().skip(since).find(|(peer, _)| peer.at() == at);
            replaced.map_or(&*peers[at].record, |(_, record)| &**record)
        };
        let absent = |at: &usize| roll.absent.binary_search_by_key(at, |peer| peer.at()).is_ok();
        let (mut members, mut chains) = (Vec::with_capacity(roll.voters()), BTreeMap::new());
        for record in (0..roll.known).filter(|at| !absent(at)).map(record_then) {
            let key = *chain::last_key(&record.public_key, &record.rotations);
            members.push((record.node_id, key));
            if !record.rotations.is_empty() {
                chains.insert(key, (record.public_key, record.rotations.clone()));
            }
        }
        members.sort_unstable();
        Electorate { members, chains, digest: roll.digest.clone(), generation: 0 }
    }
}

/// The voters in one node's view, sorted by id, with their keys.
#[derive(Clone, Debug, Default)]
pub struct Electorate {
    members: Vec<(NodeId, [u8; 32])>,
    /// Of those who have had others, by their present keys.
    chains: BTreeMap<[u8; 32], Chain>,
    /// Made when it is first asked for: of the electorates that a node goes through while it meets hundreds, nobody asks.
    digest: OnceLock<ElectorateId>,
    generation: u64,
}

impl Electorate {
    /// Of members that are sorted by id and differ.
    #[must_use]
    pub fn new(members: Vec<(NodeId, [u8; 32])>, chains: BTreeMap<[u8; 32], Chain>) -> Electorate {
        let mut electorate = Electorate::default();
        electorate.replace(members, chains);
        electorate
    }

    /// These vote from now on: sorted by id, and each once. They may be the same as before with other keys.
    pub fn replace(&mut self, members: Vec<(NodeId, [u8; 32])>, chains: BTreeMap<[u8; 32], Chain>) {
        assert!(members.is_sorted_by(|a, b| a.0 < b.0), "an electorate is sorted and names each member once");
        if !members.iter().map(|(id, _)| id).eq(self.members.iter().map(|(id, _)| id)) {
            self.become_other();
        }
        (self.members, self.chains) = (members, chains);
    }

    /// One more votes.
    pub fn admit(&mut self, id: NodeId, key: [u8; 32], chain: Chain) {
        let at = self.members.partition_point(|(member, _)| *member < id);
        assert!(self.members.get(at).is_none_or(|(member, _)| *member != id), "an electorate names each member once");
        self.members.insert(at, (id, key));
        if !chain.1.is_empty() {
            self.chains.insert(key, chain);
        }
        self.become_other();
    }

    fn become_other(&mut self) {
        self.digest = OnceLock::new();
        self.generation += 1;
    }

    /// Counts the electorates that this has been: another number, other members.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Names this electorate.
    #[must_use]
    pub fn digest(&self) -> ElectorateId {
        *self.digest.get_or_init(|| quorum::electorate_digest(self.members.iter().map(|(id, _)| id)))
    }

    /// The voters with their present public keys, sorted by id.
    #[must_use]
    pub fn members(&self) -> &[(NodeId, [u8; 32])] {
        &self.members
    }

    /// The older keys of a member, given its present one, that were in use at a moment: what they signed about something that was
    /// there at that moment may be from then (1).
    #[must_use]
    pub fn older_keys(&self, key: &[u8; 32], moment: WallTime) -> Vec<[u8; 32]> {
        self.chains.get(key).map_or(Vec::new(), |(genesis, links)| chain::in_use_at(genesis, links, moment))
    }

    /// Whether any member has another key than its first.
    #[must_use]
    pub fn has_rotated(&self) -> bool {
        !self.chains.is_empty()
    }

    /// Where a voter stands in the order, if it is one.
    #[must_use]
    pub fn position(&self, id: NodeId) -> Option<usize> {
        self.members.binary_search_by_key(&id, |(member, _)| *member).ok()
    }

    /// Votes that a certificate needs.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        quorum::quorum(self.voters())
    }

    /// The votes of all members.
    #[must_use]
    pub fn ballot(&self) -> Ballot {
        let voters = self.voters();
        Ballot { electorate: self.digest(), voters, reachable: Vec::new() }
    }

    fn voters(&self) -> u32 {
        u32::try_from(self.members.len()).expect("bounded by max_members").max(1)
    }

    /// The votes of those members alone that can be reached; nothing where none can.
    #[must_use]
    pub fn reachable(&self, is_reachable: impl Fn(NodeId) -> bool) -> Option<Ballot> {
        let chosen = self.members.iter().enumerate().filter(|(_, (id, _))| is_reachable(*id)).map(|(at, _)| at);
        let reachable = quorum::bitmap(self.members.len(), chosen.clone());
        let voters = u32::try_from(chosen.count()).expect("bounded by max_members");
        let electorate = quorum::provisional_digest(self.digest(), &reachable);
        (voters > 0).then_some(Ballot { electorate, voters, reachable })
    }
}
