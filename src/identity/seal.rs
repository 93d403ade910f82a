//! Sealing for one reader: NaCl's `crypto_box` (X25519, XSalsa20, Poly1305), as the network design names it.
//!
//! **The keys are the identity's own**, as points of Curve25519 instead of Edwards25519, and no second pair that would have to be
//! announced, proven and rotated beside the first: whoever knows a member can seal for it, and a rotation replaces both at once. To use
//! one pair for both is sound for this pair of schemes (Thormarker, "On using the same key pair for Ed25519 and an X25519 based
//! KEM", 2021), and libsodium converts keys in the same way.
//!
//! **Nonces** are hashes over sender, start count, a counter, and 16 bytes of the node's generator. The start count is durable
//! before anything is said in it, so no two of a key are equal; where a store was lost, the generator still makes them differ.
//! The sender is in them since a box has one key for both directions.
//!
//! What is sealed is also signed, by the envelope around it, and is only opened after that was verified.

use crypto_box::aead::Aead;
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::Keys;
use crate::id::NodeId;

/// Bytes of a nonce, which stand before what is sealed.
pub const NONCE: usize = 24;
/// Bytes that sealing adds: nonce and authenticator.
pub const OVERHEAD: usize = NONCE + 16;

/// A nonce that this node has not used before.
#[must_use]
pub fn nonce(sender: NodeId, incarnation: u32, counter: u64, random: [u8; 16]) -> [u8; NONCE] {
    let hash = Sha256::new()
        .chain_update(b"marlos/nonce/1")
        .chain_update(sender.0)
        .chain_update(incarnation.to_le_bytes())
        .chain_update(counter.to_le_bytes())
        .chain_update(random)
        .finalize();
    hash[..NONCE].try_into().expect("a hash is longer")
}

impl Keys {
    /// Seals for who has this key. Nothing where that is no key that anyone can have.
    #[must_use]
    pub fn seal(&self, reader: &[u8; 32], nonce: &[u8; NONCE], plain: &[u8]) -> Option<Vec<u8>> {
        let sealed = between(&self.signing, reader)?.encrypt(nonce.into(), plain).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what who has one of these keys has sealed for this node, with its present key or the one before, while it is kept.
    #[must_use]
    pub fn open(&self, writers: &[[u8; 32]], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let own = [Some(&self.signing), self.old.as_ref()];
        let boxes = own.into_iter().flatten().flat_map(|own| writers.iter().filter_map(|writer| between(own, writer)));
        boxes.into_iter().find_map(|between| between.decrypt(nonce.into(), sealed).ok())
    }
}

/// The box between two keys of identities.
fn between(own: &SigningKey, other: &[u8; 32]) -> Option<SalsaBox> {
    let other = VerifyingKey::from_bytes(other).ok().filter(|key| !key.is_weak())?;
    let public = PublicKey::from(other.to_montgomery().to_bytes());
    Some(SalsaBox::new(&public, &SecretKey::from(own.to_scalar_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    fn keys(secret: u8) -> Keys {
        Keys::from_secret(&[secret; 32])
    }

    #[test]
    fn a_box_is_opened_by_its_reader_alone_and_only_as_its_writer_made_it() {
        let (writer, reader, third) = (keys(1), keys(2), keys(3));
        let sealed = writer.seal(&reader.public(), &[7; NONCE], b"echo hello").expect("a key");
        assert_eq!(sealed.len(), b"echo hello".len() + OVERHEAD);
        assert_eq!(reader.open(&[writer.public()], &sealed).as_deref(), Some(&b"echo hello"[..]));
        assert_eq!(reader.open(&[third.public(), writer.public()], &sealed).as_deref(), Some(&b"echo hello"[..]));
        assert_eq!(third.open(&[writer.public()], &sealed), None);
        assert_eq!(reader.open(&[third.public()], &sealed), None);
        for at in [0, NONCE, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(reader.open(&[writer.public()], &altered), None, "byte {at}");
        }
        assert_eq!(reader.open(&[writer.public()], &sealed[..NONCE - 1]), None);
        // The identity point is a key of nobody: what is sealed for it, all could open.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert_eq!(writer.seal(&weak, &[7; NONCE], b"x"), None);
    }

    #[test]
    fn what_was_sealed_for_the_key_before_is_opened_while_that_is_kept() {
        let (writer, reader) = (keys(1), keys(2));
        let sealed = writer.seal(&reader.public(), &[7; NONCE], b"echo hello").expect("a key");
        let rotated = reader.rotated(&[9; 32], WallTime(1), "marlos").expect("it may");
        assert!(rotated.open(&[writer.public()], &sealed).is_some());
        assert!(rotated.without_old().open(&[writer.public()], &sealed).is_none());
    }

    #[test]
    fn no_two_nonces_are_equal() {
        let node = |n| NodeId([n; 16]);
        let one = nonce(node(1), 2, 3, [4; 16]);
        for other in [
            nonce(node(2), 2, 3, [4; 16]),
            nonce(node(1), 3, 3, [4; 16]),
            nonce(node(1), 2, 4, [4; 16]),
            nonce(node(1), 2, 3, [5; 16]),
        ] {
            assert_ne!(one, other);
        }
    }

    /// The test vector of NaCl's own tests (`tests/box.c`), which libsodium and PyNaCl carry too.
    #[test]
    fn a_box_is_that_of_nacl() {
        let bytes = |hex: &str| -> Vec<u8> {
            let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
            let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
            digits.chunks(2).map(pair).collect()
        };
        let alice = bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let nonce = bytes("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let message = bytes(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129
             6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde
             048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
        );
        let expected = bytes(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a
             c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae
             90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74
             e355a5",
        );
        let alice = SecretKey::from(<[u8; 32]>::try_from(alice).expect("32 bytes"));
        let bob = PublicKey::from(<[u8; 32]>::try_from(bob).expect("32 bytes"));
        let nonce: [u8; NONCE] = nonce.try_into().expect("24 bytes");
        let sealed = SalsaBox::new(&bob, &alice).encrypt((&nonce).into(), message.as_slice()).expect("it seals");
        assert_eq!(sealed, expected);
    }
}
