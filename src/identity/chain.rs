//! The keys of one identity, one after the other (protocol.md, section 1). Pure.
//!
//! An id is the hash of its first key, the genesis key. Each later one is given the identity by the key before it, in a link that
//! that key signed, so that the chain of links proves the present key to anyone who has only the id. A record carries the whole
//! chain, and its own signature is the present key's.
//!
//! **Two links of one number** by one key are evidence, whoever made them: the owner, or who stole its key. Nobody else can tell
//! which of the two is the owner's, and newcomers would follow whichever they hear of first. So a stolen key, once replaced, cannot
//! speak any more, but its thief can still burn the identity by a fork: it ends instead of serving two.
//!
//! **An identity answers for all its keys**: evidence holds under any key of the chain, so that nobody rotates away from what it did.
//! This gives a thief no more than the fork does.

use crate::id::NodeId;
use crate::io::Verify;
use crate::time::{Span, WallTime};
use crate::wire::message::{KeyLink, MAX_ROTATIONS};
use crate::wire::{Signature, Signed, binary};

/// How long after a rotation was accepted what the old key signed is still taken, if it was under way (section 1). Rotations are
/// at least as far apart, so that no two keys are on their way out at once.
pub const OVERLAP: Span = Span::secs(60);

/// What the old key signs.
#[must_use]
pub fn link_bytes(id: NodeId, link: &KeyLink) -> Vec<u8> {
    let mut bytes = b"key-link/1\0".to_vec();
    binary::encode_into(&(id, link.sequence, link.new_key, link.rotated_at), &mut bytes);
    bytes
}

/// Whether two links cannot both be honest, if both are signed by one key.
#[must_use]
pub fn fork(first: &KeyLink, second: &KeyLink) -> bool {
    let says = |link: &KeyLink| (link.new_key, link.rotated_at);
    first.sequence == second.sequence && says(first) != says(second)
}

/// The key at the end of a chain.
#[must_use]
pub fn last_key<'a>(genesis: &'a [u8; 32], chain: &'a [KeyLink]) -> &'a [u8; 32] {
    chain.last().map_or(genesis, |link| &link.new_key)
}

/// Every key of a chain, the present one first.
pub fn keys<'a>(genesis: &'a [u8; 32], chain: &'a [KeyLink]) -> impl Iterator<Item = &'a [u8; 32]> {
    chain.iter().rev().map(|link| &link.new_key).chain(std::iter::once(genesis))
}

/// Where two chains of one identity part: the first place at which they say different things, if there is one.
#[must_use]
pub fn parting(held: &[KeyLink], said: &[KeyLink]) -> Option<usize> {
    held.iter().zip(said).position(|(held, said)| fork(held, said) || held.sequence != said.sequence)
}

/// Whether one link may follow another: it counts on, the overlap of the one before is over, and its key is another.
fn follows(place: usize, before: Option<&KeyLink>, link: &KeyLink) -> bool {
    usize::try_from(link.sequence) == Ok(place + 1)
        && before.is_none_or(|before| link.rotated_at >= before.rotated_at + OVERLAP && link.new_key != before.new_key)
}

/// Checks the links from place `from` on; those before were checked already. They may not be longer than [`MAX_ROTATIONS`].
#[must_use]
pub fn check(
    id: NodeId,
    genesis: &[u8; 32],
    chain: &[KeyLink],
    from: usize,
    network_id: &str,
    verify: &mut dyn Verify,
) -> bool {
    if chain.len() > MAX_ROTATIONS {
        return false;
    }
    for place in from..chain.len() {
        let (before, link) = (&chain[..place], &chain[place]);
        let bytes = link_bytes(id, link);
        if !follows(place, before.last(), link)
            || !verify.verify(last_key(genesis, before), &Signed { network_id, bytes: &bytes }, &link.old_signature)
        {
            return false;
        }
    }
    true
}

/// Takes what an older key of a member signed for its present one's, where that key was in use when it was signed.
///
/// A signature says nothing of when it was made. So each use says itself which older keys of a member it takes.
pub struct WithOlder<'a> {
    /// Who really checks.
    pub verify: &'a mut dyn Verify,
    /// The older keys that count beside a present one.
    pub older: &'a dyn Fn(&[u8; 32]) -> Vec<[u8; 32]>,
}

impl Verify for WithOlder<'_> {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        if self.verify.verify(key, message, signature) {
            return true;
        }
        (self.older)(key).iter().any(|older| self.verify.verify(older, message, signature))
    }
}

/// The keys of a chain that were still in use at this moment or are within their overlap, but for the last one.
#[must_use]
pub fn in_use_at(genesis: &[u8; 32], chain: &[KeyLink], moment: WallTime) -> Vec<[u8; 32]> {
    let before = |place: usize| *last_key(genesis, &chain[..place]);
    (0..chain.len()).rev().filter(|place| moment <= chain[*place].rotated_at + OVERLAP).map(before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Keys, StrictVerifier};

    const NETWORK: &str = "marlos";

    fn chain_of(rotations: u8) -> Keys {
        (1..=rotations).fold(Keys::from_secret(&[100; 32]), |keys, n| {
            keys.rotated(&[n; 32], WallTime(u64::from(n) * 100_000_000), NETWORK).expect("far enough apart")
        })
    }

    fn sound(keys: &Keys, chain: &[KeyLink]) -> bool {
        check(keys.id(), keys.genesis(), chain, 0, NETWORK, &mut StrictVerifier)
    }

    #[test]
    fn a_chain_holds_only_as_its_keys_signed_it_one_after_the_other() {
        let keys = chain_of(3);
        let good = keys.chain().to_vec();
        assert!(sound(&keys, &good) && sound(&keys, &good[..2]) && sound(&keys, &[]));
        assert_eq!(*last_key(keys.genesis(), &good), keys.public());
        type Spoil = fn(&mut Vec<KeyLink>);
        let table: [(&str, Spoil); 7] = [
            ("a link left out", |chain| *chain = vec![chain[0], chain[2]]),
            ("two swapped", |chain| chain.swap(0, 1)),
            ("one twice", |chain| chain.insert(1, chain[0])),
            ("another key put in", |chain| chain[2].new_key = [9; 32]),
            ("another time", |chain| chain[2].rotated_at.0 += 1),
            ("another number", |chain| chain[0].sequence = 2),
            ("another signature", |chain| chain[1].old_signature = Signature([7; 64])),
        ];
        for (what, spoil) in table {
            let mut chain = good.clone();
            spoil(&mut chain);
            assert!(!sound(&keys, &chain), "{what}");
        }
        let other = Keys::from_secret(&[101; 32]);
        assert!(!check(other.id(), other.genesis(), &good, 0, NETWORK, &mut StrictVerifier), "of another identity");
        assert!(!check(keys.id(), keys.genesis(), &good, 0, "other", &mut StrictVerifier), "of another network");
    }

    #[test]
    fn a_chain_is_no_longer_than_its_limit() {
        let most = u8::try_from(MAX_ROTATIONS).expect("few");
        let keys = chain_of(most);
        assert!(sound(&keys, keys.chain()));
        let later = WallTime(u64::MAX / 2);
        assert!(keys.rotated(&[99; 32], later, NETWORK).is_err(), "the owner is told");
        // Signed all the same, by who does not care for the limit.
        let mut chain = keys.chain().to_vec();
        chain.push(keys.link(u32::from(most) + 1, [99; 32], later, NETWORK, &mut StrictVerifier));
        assert!(!sound(&keys, &chain));
    }

    #[test]
    fn a_key_counts_for_what_was_made_while_it_was_in_use_and_a_minute_longer() {
        let keys = chain_of(2);
        let (first, second) = (WallTime(100_000_000), WallTime(200_000_000));
        let old = |moment| in_use_at(keys.genesis(), keys.chain(), moment);
        let (genesis, middle) = (*keys.genesis(), keys.chain()[0].new_key);
        assert_eq!(old(first), [middle, genesis]);
        assert_eq!(old(first + OVERLAP), [middle, genesis]);
        assert_eq!(old(first + OVERLAP + Span(1)), [middle]);
        assert_eq!(old(second + OVERLAP + Span(1)), [[0; 32]; 0]);
    }
}
