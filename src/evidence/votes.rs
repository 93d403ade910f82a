//! Who voted twice? What certificates and votes of one round show when they meet (protocol.md, section 6). Pure.

use crate::id::NodeId;
use crate::quorum::{Statement, voters};
use crate::wire::Signature;
use crate::wire::message::{ClaimCertificate, Contradiction, Evidence, SignedVote};

/// The votes of a certificate with their voters, of an electorate sorted by id. The certificate was checked against it.
pub fn votes_of<'a>(
    certificate: &'a ClaimCertificate,
    electorate: &'a [(NodeId, [u8; 32])],
) -> impl Iterator<Item = (NodeId, Signature)> + 'a {
    voters(certificate).zip(&certificate.signatures).map(|(at, signature)| (electorate[at].0, *signature))
}

/// Evidence against everyone who voted for both of two statements about one round; nothing where they are one statement, or
/// about different rounds.
pub fn double_votes(
    first: (Statement, &[(NodeId, Signature)]),
    second: (Statement, &[(NodeId, Signature)]),
) -> Vec<Evidence> {
    let ((first, for_first), (second, for_second)) = (first, second);
    if first == second || (first.job_id, first.round) != (second.job_id, second.round) {
        return Vec::new();
    }
    let signed = |statement, vote_signature| SignedVote { statement, vote_signature };
    let both = for_first.iter().filter_map(|(voter, signature)| {
        let (_, other) = for_second.iter().find(|(known, _)| known == voter)?;
        let proof = Contradiction::Votes { first: signed(first, *signature), second: signed(second, *other) };
        Some(Evidence { author: *voter, rotations: Vec::new(), proof })
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ElectorateId, JobId};

    #[test]
    fn who_is_in_both_of_two_statements_about_one_round_voted_twice() {
        let node = |n: u8| NodeId([n; 16]);
        let statement = |job: u8, round, winner| Statement {
            job_id: JobId([job; 16]),
            round,
            winner: node(winner),
            backup: None,
            electorate: ElectorateId([0; 8]),
        };
        let votes = |of: &[u8]| of.iter().map(|n| (node(*n), Signature([*n; 64]))).collect::<Vec<_>>();
        let first = statement(1, 0, 7);
        for (second, voters, guilty) in [
            (statement(1, 0, 8), &[3, 4, 5][..], &[3][..]),
            (statement(1, 0, 8), &[1, 2, 3], &[1, 2, 3]),
            (statement(1, 0, 8), &[4, 5], &[]),
            (statement(1, 0, 7), &[1, 2, 3], &[]),
            (statement(1, 1, 8), &[1, 2, 3], &[]),
            (statement(2, 0, 8), &[1, 2, 3], &[]),
        ] {
            let found = double_votes((first, &votes(&[1, 2, 3])), (second, &votes(voters)));
            let authors: Vec<NodeId> = found.iter().map(|evidence| evidence.author).collect();
            assert_eq!(authors, guilty.iter().map(|n| node(*n)).collect::<Vec<_>>(), "{second:?} by {voters:?}");
        }
    }
}
