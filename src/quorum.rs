//! Counting votes: how many are enough, what is voted for, and what proves it. Pure (protocol.md, sections 4 and 6).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{ElectorateId, JobId, NodeId};
use crate::io::Verify;
use crate::wire::binary;
use crate::wire::message::ClaimCertificate;
use crate::wire::{Signature, Signed};

/// Byzantine members that `members` survive: ⌊(n-1)/3⌋.
#[must_use]
pub fn max_byzantine(members: u32) -> u32 {
    assert!(members > 0, "a node knows at least itself");
    (members - 1) / 3
}

/// Votes that are enough among `members`: ⌈(n+f+1)/2⌉. Any two quorums share an honest member, and the honest members
/// alone always suffice.
#[must_use]
pub fn quorum(members: u32) -> u32 {
    (members + max_byzantine(members) + 1).div_ceil(2)
}

/// What a voter signs: this node may run this job in this round, in the eyes of this electorate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The job.
    pub job_id: JobId,
    /// The round.
    pub round: u32,
    /// Who may run it.
    pub winner: NodeId,
    /// Who may claim the next round if the winner fails.
    pub backup: Option<NodeId>,
    /// [`electorate_digest`] of the members whose votes count.
    pub electorate: ElectorateId,
}

impl Statement {
    /// The bytes that are signed. The prefix keeps them from ever being an envelope or another record.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"claim-vote/1\0".to_vec();
        binary::encode_into(self, &mut bytes);
        bytes
    }
}

/// Names an electorate in eight bytes: voters with another do not vote, so that all votes of a certificate are of one view.
#[must_use]
pub fn electorate_digest<'a>(sorted_members: impl IntoIterator<Item = &'a NodeId>) -> ElectorateId {
    let mut hash = Sha256::new();
    for member in sorted_members {
        hash.update(member.0);
    }
    let digest = hash.finalize();
    ElectorateId(digest[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// Checks a certificate against a sorted electorate of (id, public key).
///
/// # Errors
/// A sentence: which of its parts is not what it should be.
pub fn check_certificate(
    certificate: &ClaimCertificate,
    electorate: &[(NodeId, [u8; 32])],
    needed: u32,
    network_id: &str,
    verify: &mut dyn Verify,
) -> Result<(), &'static str> {
    if electorate_digest(electorate.iter().map(|(id, _)| id)) != certificate.statement.electorate {
        return Err("it is of another electorate");
    }
    if certificate.voters.len() != electorate.len().div_ceil(8) {
        return Err("its bitmap does not fit the electorate");
    }
    let voters = bits(&certificate.voters);
    if voters.clone().any(|index| index >= electorate.len()) {
        return Err("its bitmap names nobody");
    }
    if voters.clone().count() != certificate.signatures.len() {
        return Err("it has not one signature for each voter");
    }
    if certificate.signatures.len() < needed as usize {
        return Err("it has fewer votes than the quorum");
    }
    let bytes = certificate.statement.signed_bytes();
    let message = Signed { network_id, bytes: &bytes };
    for (index, signature) in voters.zip(&certificate.signatures) {
        if !verify.verify(&electorate[index].1, &message, signature) {
            return Err("one of its votes is not signed by its voter");
        }
    }
    Ok(())
}

/// Makes a certificate of collected votes: `votes` are (index in the sorted electorate, signature), in any order.
#[must_use]
pub fn certificate(statement: Statement, electorate: usize, votes: &[(usize, Signature)]) -> ClaimCertificate {
    let mut sorted = votes.to_vec();
    sorted.sort_unstable_by_key(|(index, _)| *index);
    let mut voters = vec![0u8; electorate.div_ceil(8)];
    for (index, _) in &sorted {
        assert!(*index < electorate && voters[index / 8] & (1 << (index % 8)) == 0, "each member votes once");
        voters[index / 8] |= 1 << (index % 8);
    }
    ClaimCertificate { statement, voters, signatures: sorted.into_iter().map(|(_, signature)| signature).collect() }
}

/// The set bits of a bitmap, lowest first.
fn bits(bitmap: &[u8]) -> impl Iterator<Item = usize> + Clone {
    bitmap
        .iter()
        .enumerate()
        .flat_map(|(byte, value)| (0..8).filter(move |bit| value & (1 << bit) != 0).map(move |bit| byte * 8 + bit))
}
