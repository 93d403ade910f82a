//! Which members each node may hold as its electorate, and whether a quorum of them has really signed something.
//!
//! What every certificate rests on, of claims (see [`super::s1`]) as of money (see [`super::s3`]), written without a look at the
//! node's own counting.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use marlos::config::{Config, Membership};
use marlos::id::{ElectorateId, NodeId};
use marlos::identity::chain::OVERLAP;
use marlos::io::{PeerState, Verify};
use marlos::quorum::{electorate_digest, provisional_digest};
use marlos::time::{Span, Time};
use marlos::wire::{Signature, Signed};

use crate::observe::{Observation, Stop, Truth};
use crate::scenario::{NodeNo, Scenario};

/// Votes that are enough: the smallest q such that two sets of q among `members` share more than f, where f is the largest
/// number with 3f < members. Written without a look at the node's own formula.
#[must_use]
pub fn votes_needed(members: u32) -> u32 {
    let byzantine = (0..members).take_while(|f| 3 * f < members).last().unwrap_or(0);
    (0..=members).find(|q| 2 * q > members + byzantine).unwrap_or(members)
}

/// Whom every node has met, in its present life or in one that its store remembers.
#[derive(Clone, Debug)]
pub(super) struct Electorates {
    network_id: String,
    configs: Vec<Config>,
    lives: Vec<Life>,
}

/// Whom a node has met since its store began.
#[derive(Clone, Debug, Default)]
struct Life {
    met: Vec<(Time, NodeNo)>,
    /// Whom of them it has not met since its process started.
    recalled: BTreeSet<NodeNo>,
    /// From when, and until when, it has last held members for dead.
    gone: BTreeMap<NodeNo, (Time, Option<Time>)>,
}

/// Members by id, with their numbers.
pub(super) type Members = Vec<(NodeId, NodeNo)>;

impl Electorates {
    /// Nobody has met anybody.
    pub fn new(scenario: &Scenario) -> Electorates {
        Electorates {
            network_id: scenario.nodes.first().map_or_else(String::new, |node| node.config.network_id.clone()),
            configs: scenario.nodes.iter().map(|node| node.config.clone()).collect(),
            lives: vec![Life::default(); scenario.nodes.len()],
        }
    }

    /// Follows what the nodes report of each other. A process that starts has met whom its store remembers, whether it says so or not.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) {
        match *o {
            Observation::NodeStopped { node, how: Stop::CrashLost } => self.lives[node] = Life::default(),
            Observation::StoreCut { node, since, .. } => self.lives[node].met.retain(|(at, _)| *at < since),
            Observation::NodeStarted { node, .. } => self.lives[node].begin_again(),
            Observation::Discovered { node, peer } => self.lives[node].meet(truth.now, node, peer),
            // What the crash of a moment ago may or may not have taken.
            Observation::Recalled { node, peer } => self.lives[node].recall(truth.now, peer),
            Observation::PeerState { node, peer, state } => {
                let life = &mut self.lives[node];
                match state {
                    PeerState::Dead | PeerState::Left => life.loses(truth.now, peer),
                    PeerState::Known | PeerState::Alive | PeerState::Suspect => life.regains(truth.now, peer),
                }
            }
            _ => {}
        }
    }

    /// How many members a node has met that it remembers.
    pub fn met(&self, node: NodeNo) -> usize {
        self.lives[node].met.len()
    }

    /// The members with this digest, where the node may have held them as its electorate within the last lease. With a bitmap of
    /// the reachable, it is the digest of that part of them.
    pub fn members_behind(
        &self,
        truth: &Truth,
        node: NodeNo,
        stated: ElectorateId,
        reachable: &[u8],
    ) -> Option<Members> {
        let (config, life) = (&self.configs[node], &self.lives[node]);
        let fits = |members: &Members| {
            let all = electorate_digest(members.iter().map(|(id, _)| id));
            let named = if reachable.is_empty() { all } else { provisional_digest(all, reachable) };
            named == stated
        };
        if let Membership::Fixed(ids) = &config.membership {
            let mut members: Members = ids
                .iter()
                .map(|id| (*id, truth.ids.iter().position(|known| known == id).unwrap_or(usize::MAX)))
                .collect();
            members.sort_unstable();
            members.dedup();
            return Some(members).filter(fits);
        }
        let named = |numbers: &[NodeNo]| -> Members {
            let mut members: Members = numbers.iter().map(|number| (truth.ids[*number], *number)).collect();
            members.sort_unstable();
            members
        };
        let all = life.candidates(truth.now, node, config);
        let dropped = self.may_drop(node).then_some(&life.recalled);
        let less = |numbers: &Vec<NodeNo>| {
            let less = |dropped: &BTreeSet<NodeNo>| numbers.iter().filter(|n| !dropped.contains(n)).copied().collect();
            dropped.map(less)
        };
        all.flat_map(|numbers| less(&numbers).into_iter().chain([numbers])).map(|numbers| named(&numbers)).find(fits)
    }

    /// Whether a node may leave out those whom it has not met since it started: a quorum of all that it remembers knows none of them,
    /// so that no claim can have their votes.
    fn may_drop(&self, node: NodeNo) -> bool {
        let life = &self.lives[node];
        let unknown_to =
            |(_, other): &&(Time, NodeNo)| self.lives[*other].met.iter().all(|(_, peer)| !life.recalled.contains(peer));
        let least = votes_needed(u32::try_from(1 + life.met.len()).expect("numbered in 16 bits"));
        !life.recalled.is_empty() && 1 + life.met.iter().filter(unknown_to).count() >= least as usize
    }

    /// Whether the members in the bitmap are a quorum of so many and have all really signed these bytes, each with the key that it
    /// had when it voted (to the millisecond) or, where nobody saw that, of late; if not, what is wrong.
    #[expect(clippy::too_many_arguments, reason = "the parts of a proof, and what tells about them")]
    pub fn count_votes(
        &self,
        truth: &Truth,
        members: &Members,
        electing: usize,
        (bitmap, signatures): (&[u8], &[Signature]),
        bytes: &[u8],
        voted_at: &dyn Fn(NodeNo) -> Option<Time>,
        verify: &mut dyn Verify,
    ) -> Result<(), String> {
        let voters = set_bits(bitmap);
        if voters.last().is_some_and(|last| *last >= members.len()) {
            return Err(format!("it counts voter {} of {} members", voters.last().unwrap_or(&0), members.len()));
        }
        if voters.len() != signatures.len() {
            return Err(format!("{} voters have {} signatures", voters.len(), signatures.len()));
        }
        let needed = votes_needed(u32::try_from(electing).expect("numbered in 16 bits"));
        if voters.len() < needed as usize {
            return Err(format!("{} of {electing} members voted, and {needed} are a quorum", voters.len()));
        }
        let message = Signed { network_id: &self.network_id, bytes };
        for (voter, signature) in voters.iter().map(|index| members[*index].1).zip(signatures) {
            // At one moment a node may vote, rotate, and vote again.
            let around = |at: Time| (Time(at.0.saturating_sub(1_000)), at + Span::millis(1));
            let of_late = Time(truth.now.0.saturating_sub(OVERLAP.0));
            let (first, last) = voted_at(voter).map_or((of_late, truth.now), around);
            let mut has_signed = |at| verify.verify(truth.key_at(voter, at), &message, signature);
            if voter >= truth.ids.len() || !(has_signed(last) || has_signed(first)) {
                return Err(format!("n{voter} has not signed the vote that is counted as its own"));
            }
        }
        Ok(())
    }
}

impl Life {
    fn begin_again(&mut self) {
        self.recalled = self.met.iter().map(|(_, peer)| *peer).collect();
    }

    fn recall(&mut self, now: Time, peer: NodeNo) {
        if self.met.iter().all(|(_, known)| *known != peer) {
            self.met.push((now, peer));
            self.recalled.insert(peer);
        }
    }

    fn meet(&mut self, now: Time, node: NodeNo, peer: NodeNo) {
        self.recalled.remove(&peer);
        self.regains(now, peer);
        if node != peer && self.met.iter().all(|(_, known)| *known != peer) {
            self.met.push((now, peer));
        }
    }

    fn loses(&mut self, now: Time, peer: NodeNo) {
        let gone = self.gone.entry(peer).or_insert((now, None));
        if gone.1.is_some() {
            *gone = (now, None);
        }
    }

    fn regains(&mut self, now: Time, peer: NodeNo) {
        if let Some((_, until)) = self.gone.get_mut(&peer) {
            until.get_or_insert(now);
        }
    }

    /// The sets of members that the node may have held within the last lease, the present one first. Members only come, so the
    /// earlier sets are shorter; those that may have been forgotten leave in the order in which they died.
    fn candidates<'a>(&'a self, now: Time, node: NodeNo, config: &Config) -> impl Iterator<Item = Vec<NodeNo>> + 'a {
        let before = self.met.iter().filter(|(at, _)| now.since(*at) > config.lease).count();
        let forgotten = self.forgotten(now, config);
        (before..=self.met.len()).rev().flat_map(move |length| {
            let met: Vec<NodeNo> = self.met[..length].iter().map(|(_, peer)| *peer).collect();
            let forgotten = forgotten.clone();
            (0..=forgotten.len()).map(move |count| {
                let kept = met.iter().filter(|peer| !forgotten[..count].contains(peer));
                std::iter::once(node).chain(kept.copied()).collect()
            })
        })
    }

    /// Members that may be out of the electorate, or have been within the last lease, in the order in which they may leave it.
    fn forgotten(&self, now: Time, config: &Config) -> Vec<NodeNo> {
        // Whether a node counts from a member's last sign of life or from its death is its own affair.
        let after = config.forget_after.saturating_sub(config.heartbeat_timeout);
        let recent = |until: Option<Time>| until.is_none_or(|until| now.since(until) <= config.lease);
        let long = |from: Time, until: Option<Time>| until.unwrap_or(now).since(from) >= after;
        let gone = self.gone.iter().filter(|(_, (from, until))| recent(*until) && long(*from, *until));
        // Those still out come first; of those that are back, who came back last was out until last.
        let mut gone: Vec<_> =
            gone.map(|(peer, (from, until))| (until.is_some(), Reverse(*until), *from, *peer)).collect();
        gone.sort_unstable();
        gone.into_iter().map(|(.., peer)| peer).collect()
    }
}

/// The set bits of a bitmap, lowest first.
pub(super) fn set_bits(bitmap: &[u8]) -> Vec<usize> {
    (0..bitmap.len() * 8).filter(|index| bitmap[index / 8] >> (index % 8) & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_votes_needed_are_the_published_ones() {
        let text = include_str!("../../../vectors/quorum_sizes.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows = vectors["rows"].as_array().unwrap();
        assert!(rows.len() >= 100);
        for row in rows {
            let members = u32::try_from(row["members"].as_u64().unwrap()).unwrap();
            assert_eq!(u64::from(votes_needed(members)), row["quorum"].as_u64().unwrap(), "{members}");
        }
    }
}
