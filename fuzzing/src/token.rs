//! Signatures that cost a hash: a fuzzer should spend its time on the node, not on Ed25519.
//!
//! Anyone could forge one; what is forged here is forged on purpose.

use marlos::identity::Keys;
use marlos::io::Verify;
use marlos::wire::{Signature, Signed};

/// Makes and checks such signatures.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenVerifier;

impl Verify for TokenVerifier {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        *signature == token(key, message)
    }

    fn sign(&mut self, keys: &Keys, message: &Signed<'_>) -> Signature {
        token(&keys.public(), message)
    }
}

/// The one signature of a key over a message: both, side by side.
#[must_use]
pub fn token(key: &[u8; 32], message: &Signed<'_>) -> Signature {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(key);
    bytes[32..].copy_from_slice(&message.digest());
    Signature(bytes)
}
