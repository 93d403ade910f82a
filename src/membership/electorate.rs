//! Who votes: all known members, the dead ones too, until forgotten; never "those who answered" (protocol.md, section 4).

use crate::id::{ElectorateId, NodeId};
use crate::quorum;

/// The voters in one node's view, sorted by id, with their keys.
#[derive(Clone, Debug, Default)]
pub struct Electorate {
    members: Vec<(NodeId, [u8; 32])>,
    digest: ElectorateId,
}

impl Electorate {
    /// Of members that are sorted by id and differ.
    #[must_use]
    pub fn new(members: Vec<(NodeId, [u8; 32])>) -> Electorate {
        assert!(members.is_sorted_by(|a, b| a.0 < b.0), "an electorate is sorted and names each member once");
        let digest = quorum::electorate_digest(members.iter().map(|(id, _)| id));
        Electorate { members, digest }
    }

    /// Names this electorate.
    #[must_use]
    pub fn digest(&self) -> ElectorateId {
        self.digest
    }

    /// The voters with their public keys, sorted by id.
    #[must_use]
    pub fn members(&self) -> &[(NodeId, [u8; 32])] {
        &self.members
    }

    /// Where a voter stands in the order, if it is one.
    #[must_use]
    pub fn position(&self, id: NodeId) -> Option<usize> {
        self.members.binary_search_by_key(&id, |(member, _)| *member).ok()
    }

    /// Votes that a certificate needs.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        quorum::quorum(u32::try_from(self.members.len()).expect("bounded by max_members").max(1))
    }
}
