//! Who coordinates an auction: every node computes it for itself (protocol.md, section 6). Pure.

use sha2::{Digest, Sha256};

use crate::config::Election;
use crate::id::{JobId, NodeId};

/// The document's algorithm with a round on top: index `(SHA-256(job_id) + round) mod n` over the sorted peers, the digest
/// read as one big-endian number.
///
/// # Panics
/// Where `sorted_peers` is empty: a node knows at least itself.
#[must_use]
pub fn elect<'a, P>(job_id: &str, round: u32, sorted_peers: &'a [P]) -> &'a P {
    assert!(!sorted_peers.is_empty(), "a node knows at least itself");
    let n = sorted_peers.len() as u64;
    let remainder = Sha256::digest(job_id).iter().fold(0u64, |rest, byte| ((rest << 8) | u64::from(*byte)) % n);
    let index = (remainder + u64::from(round)) % n;
    &sorted_peers[usize::try_from(index).expect("smaller than the number of peers")]
}

/// The coordinator of a round among the sorted live members.
#[must_use]
pub fn coordinator(election: Election, job: JobId, round: u32, sorted_live: &[NodeId]) -> NodeId {
    match election {
        Election::Modulo => *elect(&job.to_string(), round, sorted_live),
        Election::Rendezvous => rendezvous(job, round, sorted_live),
    }
}

/// The member with the `round`-th highest SHA-256(job id ‖ node id), around the end.
fn rendezvous(job: JobId, round: u32, sorted_live: &[NodeId]) -> NodeId {
    assert!(!sorted_live.is_empty(), "a node knows at least itself");
    let weight =
        |node: &NodeId| -> [u8; 32] { Sha256::new().chain_update(job.0).chain_update(node.0).finalize().into() };
    let mut ranked: Vec<([u8; 32], NodeId)> = sorted_live.iter().map(|node| (weight(node), *node)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked[round as usize % ranked.len()].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        job_id: String,
        peers: Vec<String>,
        coordinator: String,
    }

    #[test]
    fn round_zero_is_the_documents_algorithm() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../../vectors/coordinator_election.json")).expect("vectors");
        assert!(vectors.vectors.len() > 100, "the vectors are there");
        for vector in vectors.vectors {
            let mut peers = vector.peers.clone();
            peers.sort();
            assert_eq!(*elect(&vector.job_id, 0, &peers), vector.coordinator, "{} of {peers:?}", vector.job_id);
        }
    }

    #[test]
    fn each_round_is_the_next_ones_turn() {
        let nodes: Vec<NodeId> = (0..7).map(|i| NodeId([i; 16])).collect();
        for election in [Election::Modulo, Election::Rendezvous] {
            let mut turns: Vec<NodeId> =
                (3..10).map(|round| coordinator(election, JobId([9; 16]), round, &nodes)).collect();
            turns.sort_unstable();
            assert_eq!(turns, nodes, "{election:?}: seven rounds are seven coordinators");
        }
    }

    #[test]
    fn rendezvous_survives_a_view_that_lacks_somebody_else() {
        let nodes: Vec<NodeId> = (0..20).map(|i| NodeId([i; 16])).collect();
        let kept = (0..100u8).filter(|job| {
            let job = JobId([*job; 16]);
            coordinator(Election::Rendezvous, job, 0, &nodes) == coordinator(Election::Rendezvous, job, 0, &nodes[1..])
        });
        assert!(kept.count() > 85, "only jobs of the missing one change hands");
    }
}
