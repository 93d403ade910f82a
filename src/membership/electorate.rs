//! Who votes: all known members, the dead ones too, until forgotten; never "those who answered" (protocol.md, section 4).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::id::{ElectorateId, NodeId};
use crate::identity::chain;
use crate::quorum;
use crate::time::{Time, WallTime};
use crate::wire::message::KeyLink;

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

/// Electorates that this node has held a moment ago. What they certified just then is on its way to nodes that know more members by
/// now: by itself each could say no more than that others have certified it, and where those that hold it are too few to vouch for
/// it, nobody who comes later would ever believe it.
#[derive(Clone, Debug, Default)]
pub(super) struct Former(Vec<(Electorate, Time)>);

impl Former {
    /// This one is not the present one any more, and counts until then.
    pub(super) fn keep(&mut self, electorate: Electorate, until: Time) {
        let same = |other: &Electorate| {
            other.members.len() == electorate.members.len() && other.digest() == electorate.digest()
        };
        self.0.retain(|(other, _)| !same(other));
        if self.0.len() >= FORMER {
            self.0.remove(0);
        }
        self.0.push((electorate, until));
    }

    /// The one of this name, and how many of its votes prove something to who holds the present one: a quorum of it, and among them at
    /// least one of an honest member even if as many lie as the present one bears. Of those that lost a member since, none.
    pub(super) fn named(&self, now: Time, digest: ElectorateId, present: &Electorate) -> Option<(&Electorate, u32)> {
        let (electorate, _) = self.0.iter().find(|(former, until)| former.digest() == digest && now < *until)?;
        let all_present = electorate.members.iter().all(|(id, _)| present.position(*id).is_some());
        let liars = quorum::max_byzantine(present.ballot().voters);
        all_present.then(|| (electorate, electorate.quorum().max(liars + 1)))
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
