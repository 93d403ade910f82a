//! Does it hold? Two statements of one node that exclude each other, checked by nothing but its keys (protocol.md, sections 5 and 8).
//!
//! An honest node never makes such a pair, whatever happens to it, and each rule says why:
//! - *Votes.* A voter votes once for each round of a job, and remembers it before the vote leaves; who lost its store votes on no
//!   job from before. So two statements about one round are never both signed.
//! - *Announces.* A record of one incarnation and sequence is made once. Who lost its store begins to count at 1 again, so that
//!   two lives make records of one number; but not at one microsecond. That is why records of different moments
//!   exclude nothing, although it lets a liar off that stamps its two versions differently.
//! - *Frames.* A coordinator closes a round once in its life, but after a restart it may close it again. A payer makes one
//!   transaction of a number, unless its store is lost and nobody it asks has heard of that one. That is why what is said in
//!   different incarnations excludes nothing. Who lost its store proposes nothing for jobs from before, as it does not vote, so
//!   that even two lives of one number make no two proposals; and it pays nothing before a quorum has answered it, which knows the
//!   number of its last life.
//!
//! - *Rotations.* The next key is durable, with the link to it, before anybody hears of it, and is the only one of its number.
//!
//! Any key that the accused has had will do (`identity::chain` says why); the evidence brings the chain with it, so that it holds
//! alike for who has heard of a rotation and for who has not.
//!
//! Votes for transactions are no evidence: a voter that lost its store may honestly vote twice there (see `ledger`).
//!
//! Statements are compared as what they say, never as bytes: sent twice, or in both codecs, one statement is one.

use crate::id::NodeId;
use crate::identity::chain::{self, WithOlder};
use crate::io::Verify;
use crate::membership::gossip;
use crate::wire::message::{Announce, Contradiction, Evidence, KeyLink, SignedVote};
use crate::wire::{Envelope, Payload, Signed};

/// What a frame in evidence may unpack to, for everyone alike: what one node finds sound, all must.
const MAX_UNPACKED: u32 = 16 * 1024;

/// Checks evidence against the first key of the member that it accuses.
///
/// # Errors
/// A sentence: why it proves nothing.
pub fn check(
    evidence: &Evidence,
    genesis: &[u8; 32],
    network_id: &str,
    verify: &mut dyn Verify,
) -> Result<(), &'static str> {
    let (author, links) = (evidence.author, &evidence.rotations);
    if !chain::check(author, genesis, links, 0, network_id, verify) {
        return Err("its chain of keys does not hold");
    }
    let key = chain::last_key(genesis, links);
    let older = |_: &[u8; 32]| chain::keys(genesis, links).skip(1).copied().collect();
    let mut any_key = WithOlder { verify, older: &older };
    match &evidence.proof {
        Contradiction::Votes { first, second } => check_votes([first, second], key, network_id, &mut any_key),
        Contradiction::Announces { first, second } => {
            check_announces([first, second], author, genesis, network_id, any_key.verify)
        }
        Contradiction::Frames { first, second } => check_frames([first, second], author, key, network_id, &mut any_key),
        Contradiction::Rotations { first, second } => {
            check_rotations([first, second], evidence, key, network_id, any_key.verify)
        }
    }
}

/// Two rotations of the key at the end of the chain.
fn check_rotations(
    links: [&KeyLink; 2],
    evidence: &Evidence,
    key: &[u8; 32],
    network_id: &str,
    verify: &mut dyn Verify,
) -> Result<(), &'static str> {
    let next = evidence.rotations.len() + 1;
    if links.iter().any(|link| usize::try_from(link.sequence) != Ok(next)) {
        return Err("one of its rotations is not the next of its chain");
    }
    if !chain::fork(links[0], links[1]) {
        return Err("its rotations do not exclude each other");
    }
    for link in links {
        let bytes = chain::link_bytes(evidence.author, link);
        if !verify.verify(key, &Signed { network_id, bytes: &bytes }, &link.old_signature) {
            return Err("one of its rotations is not signed by the accused");
        }
    }
    Ok(())
}

fn check_votes(
    votes: [&SignedVote; 2],
    key: &[u8; 32],
    network_id: &str,
    verify: &mut dyn Verify,
) -> Result<(), &'static str> {
    let [first, second] = votes.map(|vote| &vote.statement);
    if (first.job_id, first.round) != (second.job_id, second.round) {
        return Err("its votes are for different rounds");
    }
    if first == second {
        return Err("its votes are for the same");
    }
    for vote in votes {
        let bytes = vote.statement.signed_bytes();
        if !verify.verify(key, &Signed { network_id, bytes: &bytes }, &vote.vote_signature) {
            return Err("one of its votes is not signed by the accused");
        }
    }
    Ok(())
}

fn check_announces(
    records: [&Announce; 2],
    author: NodeId,
    genesis: &[u8; 32],
    network_id: &str,
    verify: &mut dyn Verify,
) -> Result<(), &'static str> {
    let [first, second] = records;
    if records.iter().any(|record| record.node_id != author || record.public_key != *genesis) {
        return Err("one of its announces is of another node");
    }
    if !contradict(first, second) {
        return Err("its announces do not exclude each other");
    }
    for record in records {
        if !gossip::is_signed(record, 0, network_id, verify) {
            return Err("one of its announces is not signed by the accused");
        }
    }
    Ok(())
}

/// Whether two records of one node cannot both be honest, if both are signed.
#[must_use]
pub fn contradict(first: &Announce, second: &Announce) -> bool {
    let made = |record: &Announce| (record.node_id, record.incarnation, record.sequence, record.signed_at);
    made(first) == made(second) && gossip::signed_bytes(first) != gossip::signed_bytes(second)
}

fn check_frames(
    frames: [&Vec<u8>; 2],
    author: NodeId,
    key: &[u8; 32],
    network_id: &str,
    verify: &mut dyn Verify,
) -> Result<(), &'static str> {
    let (mut said, mut envelopes) = (Vec::new(), Vec::new());
    for frame in frames {
        let envelope = Envelope::peek(frame, MAX_UNPACKED).map_err(|_| "one of its frames cannot be read")?;
        if envelope.header.sender != author {
            return Err("one of its frames is of another node");
        }
        let each = &mut |payload| said.push(payload);
        envelope.payloads(MAX_UNPACKED, each).map_err(|_| "one of its frames cannot be unpacked")?;
        envelopes.push(envelope);
    }
    if envelopes[0].header.incarnation != envelopes[1].header.incarnation {
        return Err("its frames are of different incarnations");
    }
    if !said.iter().enumerate().any(|(at, a)| said[at + 1..].iter().any(|b| exclude(a, b))) {
        return Err("its frames say nothing that excludes each other");
    }
    // Last, as it costs the most.
    for envelope in &envelopes {
        if !verify.verify(key, &envelope.signed(network_id), &envelope.signature) {
            return Err("one of its frames is not signed by the accused");
        }
    }
    Ok(())
}

/// Whether no honest node says both in one life.
fn exclude(a: &Payload, b: &Payload) -> bool {
    match (a, b) {
        (Payload::AuctionCoordinate(a), Payload::AuctionCoordinate(b)) => {
            (a.job_id, a.round) == (b.job_id, b.round) && a != b
        }
        (Payload::TokenTransaction(a), Payload::TokenTransaction(b)) => {
            (a.account, a.seq) == (b.account, b.seq) && a.transfers != b.transfers
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
