//! Counting votes: how many are enough, what is voted for, and what proves it. Pure (protocol.md, sections 4, 6
//! and 8).

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

/// Names the part of an electorate that one node can reach, and with it a claim as provisional: a voter that reaches others
/// does not vote, and no vote of the whole electorate is ever one of a part of it (protocol.md, section 10).
#[must_use]
pub fn provisional_digest(electorate: ElectorateId, reachable: &[u8]) -> ElectorateId {
    let hash = Sha256::new().chain_update(b"provisional").chain_update(electorate.0).chain_update(reachable);
    let digest = hash.finalize();
    ElectorateId(digest[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// Votes of a quorum for one statement: what they are of is said beside it, or rebuilt by who checks it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// [`electorate_digest`] of the members whose votes count.
    pub electorate: ElectorateId,
    /// One bit per member of the sorted electorate, lowest bit first.
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub voters: Vec<u8>,
    /// Their signatures, in that order.
    pub signatures: Vec<Signature>,
}

impl Proof {
    /// Of collected votes: `votes` are (index in the sorted electorate, signature), in any order.
    #[must_use]
    pub fn new(electorate: ElectorateId, members: usize, votes: &[(usize, Signature)]) -> Proof {
        let (voters, signatures) = in_order(members, votes);
        Proof { electorate, voters, signatures }
    }

    /// Checks the votes for the statement with these signed bytes. That the electorate is the one stated is the caller's to
    /// check: it holds its digest.
    ///
    /// # Errors
    /// A sentence: which of its parts is not what it should be.
    pub fn check(
        &self,
        signed_bytes: &[u8],
        electorate: &[(NodeId, [u8; 32])],
        needed: u32,
        network_id: &str,
        verify: &mut dyn Verify,
    ) -> Result<(), &'static str> {
        check_votes(signed_bytes, &self.voters, &self.signatures, electorate, needed, network_id, verify)
    }
}

/// Checks a certificate against a sorted electorate of (id, public key), of which `needed` votes are enough. A provisional one
/// needs a quorum of those that it says were reachable, and no vote of others.
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
    let whole = electorate_digest(electorate.iter().map(|(id, _)| id));
    let reachable = &certificate.reachable;
    let (stated, needed) = if reachable.is_empty() {
        (whole, needed)
    } else {
        (provisional_digest(whole, reachable), check_reachable(certificate, electorate.len())?)
    };
    if stated != certificate.statement.electorate {
        return Err("it is of another electorate");
    }
    let bytes = certificate.statement.signed_bytes();
    check_votes(&bytes, &certificate.voters, &certificate.signatures, electorate, needed, network_id, verify)
}

/// Whether a provisional certificate names a part of so many members, and voters of that part alone. Says how many votes it needs.
fn check_reachable(certificate: &ClaimCertificate, members: usize) -> Result<u32, &'static str> {
    let reachable = &certificate.reachable;
    if reachable.len() != members.div_ceil(8) || bits(reachable).any(|index| index >= members) {
        return Err("its reachable members do not fit the electorate");
    }
    if bits(&certificate.voters).any(|index| !is_set(reachable, index)) {
        return Err("it counts a voter that was not reachable");
    }
    Ok(quorum(u32::try_from(bits(reachable).count()).expect("bounded by max_members").max(1)))
}

/// Whether at least `needed` members of the electorate, those in the bitmap, have signed these bytes.
fn check_votes(
    signed_bytes: &[u8],
    voters: &[u8],
    signatures: &[Signature],
    electorate: &[(NodeId, [u8; 32])],
    needed: u32,
    network_id: &str,
    verify: &mut dyn Verify,
) -> Result<(), &'static str> {
    if voters.len() != electorate.len().div_ceil(8) {
        return Err("its bitmap does not fit the electorate");
    }
    let voters = bits(voters);
    if voters.clone().any(|index| index >= electorate.len()) {
        return Err("its bitmap names nobody");
    }
    if voters.clone().count() != signatures.len() {
        return Err("it has not one signature for each voter");
    }
    if signatures.len() < needed as usize {
        return Err("it has fewer votes than the quorum");
    }
    let message = Signed { network_id, bytes: signed_bytes };
    for (index, signature) in voters.zip(signatures) {
        if !verify.verify(&electorate[index].1, &message, signature) {
            return Err("one of its votes is not signed by its voter");
        }
    }
    Ok(())
}

/// Makes a certificate of collected votes: `votes` are (index in the sorted electorate, signature), in any order. With a
/// bitmap of the reachable it is a provisional one.
#[must_use]
pub fn certificate(
    statement: Statement,
    electorate: usize,
    reachable: Vec<u8>,
    votes: &[(usize, Signature)],
) -> ClaimCertificate {
    let (voters, signatures) = in_order(electorate, votes);
    ClaimCertificate { statement, voters, signatures, reachable }
}

/// A bitmap of the voters, and their signatures in its order.
fn in_order(electorate: usize, votes: &[(usize, Signature)]) -> (Vec<u8>, Vec<Signature>) {
    let mut sorted = votes.to_vec();
    sorted.sort_unstable_by_key(|(index, _)| *index);
    let voters = bitmap(electorate, sorted.iter().map(|(index, _)| *index));
    (voters, sorted.into_iter().map(|(_, signature)| signature).collect())
}

/// One bit for each of these among so many members, lowest bit first.
#[must_use]
pub fn bitmap(members: usize, chosen: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut bitmap = vec![0u8; members.div_ceil(8)];
    for index in chosen {
        assert!(index < members && !is_set(&bitmap, index), "each member votes once");
        bitmap[index / 8] |= 1 << (index % 8);
    }
    bitmap
}

/// Whether a bit of a bitmap is set; none is beyond its end.
#[must_use]
pub fn is_set(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

/// The places of a certificate's voters in its electorate, in the order of its signatures.
pub fn voters(certificate: &ClaimCertificate) -> impl Iterator<Item = usize> + Clone {
    bits(&certificate.voters)
}

/// The set bits of a bitmap, lowest first.
fn bits(bitmap: &[u8]) -> impl Iterator<Item = usize> + Clone {
    bitmap
        .iter()
        .enumerate()
        .flat_map(|(byte, value)| (0..8).filter(move |bit| value & (1 << bit) != 0).map(move |bit| byte * 8 + bit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Keys, StrictVerifier};

    /// Keys of `n` members, sorted by id.
    fn members(n: u8) -> Vec<Keys> {
        let mut members: Vec<Keys> = (1..=n).map(|secret| Keys::from_secret(&[secret; 32])).collect();
        members.sort_by_key(Keys::id);
        members
    }

    fn electorate(members: &[Keys]) -> Vec<(NodeId, [u8; 32])> {
        members.iter().map(|keys| (keys.id(), keys.public())).collect()
    }

    fn statement(members: &[Keys], round: u32) -> Statement {
        Statement {
            job_id: JobId([5; 16]),
            round,
            winner: members[0].id(),
            backup: None,
            electorate: electorate_digest(electorate(members).iter().map(|(id, _)| id)),
        }
    }

    fn vote(keys: &Keys, statement: &Statement) -> Signature {
        keys.sign(&Signed { network_id: "marlos", bytes: &statement.signed_bytes() })
    }

    /// A certificate of the members at these places.
    fn certified(members: &[Keys], voters: &[usize]) -> ClaimCertificate {
        let statement = statement(members, 1);
        let votes: Vec<_> = voters.iter().map(|&index| (index, vote(&members[index], &statement))).collect();
        certificate(statement, members.len(), Vec::new(), &votes)
    }

    fn check(certificate: &ClaimCertificate, members: &[Keys]) -> Result<(), &'static str> {
        let needed = quorum(u32::try_from(members.len()).expect("few"));
        check_certificate(certificate, &electorate(members), needed, "marlos", &mut StrictVerifier)
    }

    #[test]
    fn a_certificate_holds_only_with_a_quorum_of_distinct_members_who_signed_its_statement() {
        // Seven members, quorum five; the votes are collected in any order.
        let seven = members(7);
        let good = certified(&seven, &[6, 0, 3, 1, 4]);
        type Spoil = fn(&mut ClaimCertificate, &[Keys]);
        let table: [(&str, Spoil, Result<(), &str>); 17] = [
            ("as it was made", |_, _| {}, Ok(())),
            ("all seven vote", |c, m| *c = certified(m, &[0, 1, 2, 3, 4, 5, 6]), Ok(())),
            ("four vote", |c, m| *c = certified(m, &[0, 1, 2, 3]), Err("it has fewer votes than the quorum")),
            ("nobody votes", |c, m| *c = certified(m, &[]), Err("it has fewer votes than the quorum")),
            ("a bit without signature", |c, _| c.voters[0] |= 4, Err("it has not one signature for each voter")),
            ("a signature without bit", |c, _| c.voters[0] &= !1, Err("it has not one signature for each voter")),
            ("another voter's bit", |c, _| c.voters[0] ^= 0b110, Err("one of its votes is not signed by its voter")),
            ("a bit for an eighth member", |c, _| c.voters[0] ^= 0x81, Err("its bitmap names nobody")),
            ("a longer bitmap", |c, _| c.voters.push(0), Err("its bitmap does not fit the electorate")),
            ("no bitmap", |c, _| c.voters.clear(), Err("its bitmap does not fit the electorate")),
            (
                "one signature twice",
                |c, _| c.signatures[1] = c.signatures[0],
                Err("one of its votes is not signed by its voter"),
            ),
            ("two swapped", |c, _| c.signatures.swap(0, 1), Err("one of its votes is not signed by its voter")),
            (
                "a stranger's signature",
                |c, _| c.signatures[2] = vote(&Keys::from_secret(&[99; 32]), &c.statement),
                Err("one of its votes is not signed by its voter"),
            ),
            (
                "a vote of another round",
                |c, m| c.signatures[0] = vote(&m[0], &statement(m, 2)),
                Err("one of its votes is not signed by its voter"),
            ),
            (
                "a vote of another network",
                |c, m| {
                    let bytes = c.statement.signed_bytes();
                    c.signatures[0] = m[0].sign(&Signed { network_id: "other", bytes: &bytes });
                },
                Err("one of its votes is not signed by its voter"),
            ),
            (
                "another winner put in",
                |c, m| c.statement.winner = m[1].id(),
                Err("one of its votes is not signed by its voter"),
            ),
            ("another electorate", |c, _| c.statement.electorate.0[0] ^= 1, Err("it is of another electorate")),
        ];
        for (what, spoil, expected) in table {
            let mut certificate = good.clone();
            spoil(&mut certificate, &seven);
            assert_eq!(check(&certificate, &seven), expected, "{what}");
        }
    }

    #[test]
    fn a_certificate_of_one_electorate_is_worth_nothing_in_another() {
        let (seven, eight) = (members(7), members(8));
        let certificate = certified(&seven, &[0, 1, 2, 3, 4]);
        assert_eq!(check(&certificate, &eight), Err("it is of another electorate"));
        assert_eq!(check(&certificate, &seven[..6]), Err("it is of another electorate"));
    }

    #[test]
    fn bitmaps_of_more_than_a_byte_keep_every_voter_in_place() {
        let twenty = members(20);
        let certificate = certified(&twenty, &[19, 2, 3, 5, 7, 8, 9, 11, 13, 15, 16, 17, 18, 0]);
        assert_eq!(certificate.voters, [0b1010_1101, 0b1010_1011, 0b1111]);
        assert_eq!(check(&certificate, &twenty), Ok(()));
    }

    #[test]
    #[should_panic(expected = "each member votes once")]
    fn a_certificate_is_never_made_of_two_votes_of_one_member() {
        let four = members(4);
        let _ = certified(&four, &[0, 1, 1]);
    }

    #[test]
    fn any_two_quorums_share_an_honest_member_and_the_honest_are_a_quorum() {
        for n in 1..=300 {
            let (f, q) = (max_byzantine(n), quorum(n));
            assert!(n > 3 * f && n <= 3 * (f + 1), "{n} members survive {f} liars and not one more");
            assert!(2 * q > n + f, "two quorums of {n} members share more than {f} members");
            assert!(2 * (q - 1) <= n + f, "a quorum of {n} members is not larger than it must be");
            assert!(q <= n - f, "the honest members of {n} are a quorum");
            assert!(q * 100 >= n * 66, "a quorum of {n} members is 66 % of them");
        }
    }
}
