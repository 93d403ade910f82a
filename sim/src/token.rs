//! Tokens in place of signatures, for very large sweeps: `crypto = "token"` in a scenario.
//!
//! A token has the 64 bytes of a signature and is a keyed hash of the public key and what is signed. Its secret belongs to the
//! world. A node has no way to a token but to sign with its own keys, and then it is of these; so one that is made up,
//! altered, or moved to other bytes or another key fails, as it would with Ed25519. Keys, ids and sizes stay what they are.
//!
//! Nodes ask for signatures and their verification through [`marlos::io::Verify`] alone, and this is another answer to it.
//! There is nothing of it in `marlos`, so no build of a real node can hold it.

use std::fmt;
use std::hash::Hasher as _;

use marlos::wire::{Signature, Signed};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Makes the tokens of one world.
#[derive(Clone)]
pub struct Tokens {
    /// Half of it keys the hash of what is signed, the other half spreads that to 64 bytes.
    secret: [[u8; 16]; 2],
}

impl Tokens {
    /// The tokens of this secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Tokens {
        let half = |at: usize| secret[at..at + 16].try_into().expect("sixteen of thirty-two bytes");
        Tokens { secret: [half(0), half(16)] }
    }

    /// The token of a public key for a message.
    #[must_use]
    pub fn token(&self, public_key: &[u8; 32], message: &Signed<'_>) -> Signature {
        let mut hash = SipHasher13::new_with_key(&self.secret[0]);
        hash.write(public_key);
        hash.write_u64(message.network_id.len() as u64);
        hash.write(message.network_id.as_bytes());
        hash.write(message.bytes);
        let short = hash.finish128().as_bytes();
        let mut token = [0; 64];
        for (number, part) in (0u8..).zip(token.chunks_exact_mut(16)) {
            let mut hash = SipHasher13::new_with_key(&self.secret[1]);
            hash.write(&short);
            hash.write_u8(number);
            part.copy_from_slice(&hash.finish128().as_bytes());
        }
        Signature(token)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(secret not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_key_network_bytes_and_world_makes_another_token() {
        let message = Signed { network_id: "marlos", bytes: b"hello" };
        let (tokens, key) = (Tokens::new([1; 32]), [2; 32]);
        let token = tokens.token(&key, &message);
        assert_eq!(token, tokens.token(&key, &message));
        let others = [
            ("key", tokens.token(&[3; 32], &message)),
            ("network", tokens.token(&key, &Signed { network_id: "marlos2", ..message })),
            ("bytes", tokens.token(&key, &Signed { bytes: b"hellp", ..message })),
            ("border", tokens.token(&key, &Signed { network_id: "marlosh", bytes: b"ello" })),
            ("world", Tokens::new([4; 32]).token(&key, &message)),
        ];
        for (what, other) in others {
            let equal = (0..4).filter(|n| token.0[16 * n..16 * n + 16] == other.0[16 * n..16 * n + 16]).count();
            assert_eq!(equal, 0, "another {what}");
        }
    }
}
