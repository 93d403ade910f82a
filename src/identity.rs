//! Keys and the identity that hangs on them (protocol.md, section 1). Reading and writing the key file is the driver's.

pub mod chain;
pub mod seal;

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::{self, LineEnding};
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::id::NodeId;
use crate::io::Verify;
use crate::time::WallTime;
use crate::wire::message::{KeyLink, MAX_ROTATIONS};
use crate::wire::{Signature, Signed, binary};

/// Of the block in the key file that holds the chain.
const CHAIN_LABEL: &str = "MARLOS KEY CHAIN";

/// A node's present key pair, and the chain that gives it the identity of the first. The private half never leaves the process
/// and is never printed.
#[derive(Clone)]
pub struct Keys {
    signing: SigningKey,
    id: NodeId,
    genesis: [u8; 32],
    chain: Vec<KeyLink>,
    /// The key before, until the network knows that it is replaced.
    old: Option<SigningKey>,
    /// The public key, where the private half is elsewhere and `signing` stands for nobody.
    absent: Option<[u8; 32]>,
}

impl Keys {
    /// The pair that belongs to a secret of 32 random bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Keys {
        Keys::first(SigningKey::from_bytes(secret))
    }

    /// An identity that has only its first key.
    fn first(signing: SigningKey) -> Keys {
        let genesis = signing.verifying_key().to_bytes();
        Keys { signing, id: NodeId::of_key(&genesis), genesis, chain: Vec::new(), old: None, absent: None }
    }

    /// Reads what [`Keys::to_pem`] writes. The signatures of a chain are for one network, and not checked here.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_pem(text: &str) -> Result<Keys, String> {
        let private = |block: &str| {
            SigningKey::from_pkcs8_pem(block).map_err(|e| format!("not an Ed25519 private key in PKCS#8 PEM: {e}"))
        };
        let begins: Vec<usize> = text.match_indices("-----BEGIN ").map(|(at, _)| at).collect();
        let ends = begins.iter().skip(1).copied().chain([text.len()]);
        let blocks: Vec<&str> = begins.iter().zip(ends).map(|(begin, end)| &text[*begin..end]).collect();
        let [present, rest @ ..] = &blocks[..] else { return private(text).map(Keys::first) };
        let mut keys = Keys::first(private(present)?);
        if let [chain, old @ ..] = rest {
            let (label, bytes) = pem::decode_vec(chain.as_bytes()).map_err(|e| format!("its chain of keys: {e}"))?;
            let chain = binary::decode::<([u8; 32], Vec<KeyLink>)>(&bytes).ok().filter(|_| label == CHAIN_LABEL);
            let (genesis, chain) = chain.ok_or("its second block is no chain of keys")?;
            if *chain::last_key(&genesis, &chain) != keys.public() || chain.is_empty() || chain.len() > MAX_ROTATIONS {
                return Err("its chain of keys does not end with its key".to_owned());
            }
            (keys.id, keys.genesis, keys.chain) = (NodeId::of_key(&genesis), genesis, chain);
            keys.old = match old {
                [] => None,
                [old] => Some(private(old)?),
                _ => return Err("it has more than a key, its chain, and the key before".to_owned()),
            };
        }
        Ok(keys)
    }

    /// An identity whose private half is elsewhere: for who replays a recording, and answers [`Verify::sign`] with the signatures in it.
    #[must_use]
    pub fn without_secret(genesis: [u8; 32], chain: Vec<KeyLink>) -> Keys {
        let present = *chain::last_key(&genesis, &chain);
        let mut keys = Keys::first(SigningKey::from_bytes(&[0; 32]));
        (keys.id, keys.genesis, keys.chain, keys.absent) = (NodeId::of_key(&genesis), genesis, chain, Some(present));
        keys
    }

    /// The same identity with the next key, made of 32 random bytes; the present one is kept beside it.
    ///
    /// # Errors
    /// A sentence: the chain is full, or the last rotation is less than a minute old.
    pub fn rotated(&self, secret: &[u8; 32], at: WallTime, network_id: &str) -> Result<Keys, String> {
        self.rotated_by(secret, at, network_id, &mut StrictVerifier)
    }

    /// The same, with signatures that are made by `verify`.
    ///
    /// # Errors
    /// As [`Keys::rotated`].
    pub fn rotated_by(
        &self,
        secret: &[u8; 32],
        at: WallTime,
        network_id: &str,
        verify: &mut dyn Verify,
    ) -> Result<Keys, String> {
        if self.chain.len() >= MAX_ROTATIONS {
            return Err(format!(
                "this identity has had {MAX_ROTATIONS} rotations, and no more are allowed: begin a new one"
            ));
        }
        if let Some(last) = self.chain.last().filter(|last| at < last.rotated_at + chain::OVERLAP) {
            let wait = (last.rotated_at + chain::OVERLAP).since(at);
            return Err(format!("the last rotation is too recent: try again in {wait}"));
        }
        let signing = SigningKey::from_bytes(secret);
        let sequence = u32::try_from(self.chain.len() + 1).expect("bounded by MAX_ROTATIONS");
        let new_key = signing.verifying_key().to_bytes();
        if new_key == self.public() {
            return Err("the new key is the old one".to_owned());
        }
        let mut rotated = self.clone();
        rotated.chain.push(self.link(sequence, new_key, at, network_id, verify));
        rotated.old = Some(std::mem::replace(&mut rotated.signing, signing));
        Ok(rotated)
    }

    /// A link to another key, signed by this one.
    #[must_use]
    pub fn link(
        &self,
        sequence: u32,
        new_key: [u8; 32],
        rotated_at: WallTime,
        network_id: &str,
        verify: &mut dyn Verify,
    ) -> KeyLink {
        let mut link = KeyLink { sequence, new_key, rotated_at, old_signature: Signature([0; 64]) };
        link.old_signature = verify.sign(self, &Signed { network_id, bytes: &chain::link_bytes(self.id, &link) });
        link
    }

    /// The same identity as its last key alone knows it: the key before is forgotten.
    #[must_use]
    pub fn without_old(mut self) -> Keys {
        self.old = None;
        self
    }

    /// The same identity as it was before the last rotation, while the key before is kept.
    #[must_use]
    pub fn before_rotation(&self) -> Option<Keys> {
        let mut before = self.clone();
        before.signing = before.old.take()?;
        before.chain.pop().expect("a key was replaced by a rotation");
        Some(before)
    }

    /// The first public key: the id is its hash.
    #[must_use]
    pub fn genesis(&self) -> &[u8; 32] {
        &self.genesis
    }

    /// What gives the present key the identity of the first.
    #[must_use]
    pub fn chain(&self) -> &[KeyLink] {
        &self.chain
    }

    /// For the key file: the present key as PKCS#8 PEM, after a rotation the chain, and the key before, while it is kept. It is all
    /// in one file, so that a rotation is done at the moment at which that file takes the place of the one before.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let private = |key: &SigningKey| key.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key always encodes");
        let mut text = private(&self.signing).to_string();
        if !self.chain.is_empty() {
            let mut bytes = Vec::new();
            binary::encode_into(&(self.genesis, &self.chain), &mut bytes);
            text += &pem::encode_string(CHAIN_LABEL, LineEnding::LF, &bytes).expect("its length fits");
        }
        if let Some(old) = &self.old {
            text += &private(old);
        }
        text
    }

    /// Whether every link of the chain holds in this network.
    #[must_use]
    pub fn hold_in(&self, network_id: &str) -> bool {
        chain::check(self.id, &self.genesis, &self.chain, 0, network_id, &mut StrictVerifier)
    }

    /// The node id of these keys.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The present public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.absent.unwrap_or_else(|| self.signing.verifying_key().to_bytes())
    }

    /// Signs. Deterministic (RFC 8032): the same message always has the same signature.
    ///
    /// # Panics
    /// Where the private half is elsewhere.
    #[must_use]
    pub fn sign(&self, message: &Signed<'_>) -> Signature {
        assert!(self.absent.is_none(), "the private half of {} is not here", self.id);
        Signature(self.signing.sign(&message.digest()).to_bytes())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, private half not shown)", self.id)
    }
}

/// Strict Ed25519, as decisions that must agree between nodes need it: small-order keys and malleable signatures fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrictVerifier;

impl Verify for StrictVerifier {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&message.digest(), &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_pem_and_do_not_print_their_secret() {
        let keys = Keys::from_secret(&[7; 32]);
        let again = Keys::from_pem(&keys.to_pem()).expect("own PEM");
        assert_eq!(keys.id(), again.id());
        assert!(Keys::from_pem("-----BEGIN NONSENSE-----").is_err());
        assert!(!format!("{keys:?}").contains("07, 07"));
    }

    #[test]
    fn rotated_keys_survive_their_pem_with_their_identity() {
        let first = Keys::from_secret(&[7; 32]);
        let mut keys = first.clone();
        for n in 1..=3u8 {
            keys = keys.rotated(&[n; 32], WallTime(u64::from(n) * 60_000_000), "marlos").expect("far enough apart");
            let again = Keys::from_pem(&keys.to_pem()).expect("own PEM");
            assert_eq!((again.id(), again.public(), again.chain()), (first.id(), keys.public(), keys.chain()));
            let before = again.before_rotation().expect("it is kept");
            assert_eq!(before.chain(), &keys.chain()[..keys.chain().len() - 1]);
            assert!(again.hold_in("marlos") && !again.hold_in("other"));
            let alone = Keys::from_pem(&keys.clone().without_old().to_pem()).expect("own PEM");
            assert!(alone.before_rotation().is_none() && alone.id() == first.id());
        }
        let too_soon = keys.rotated(&[9; 32], WallTime(239_999_999), "marlos");
        assert!(too_soon.unwrap_err().contains("too recent"));
        // The chain of one before the key of another.
        let text = keys.to_pem().replace(&Keys::from_secret(&[3; 32]).to_pem(), &first.to_pem());
        assert!(Keys::from_pem(&text).unwrap_err().contains("does not end with its key"));
    }

    #[test]
    fn a_signature_holds_for_its_key_message_and_network_only() {
        let (keys, other) = (Keys::from_secret(&[1; 32]), Keys::from_secret(&[2; 32]));
        let message = Signed { network_id: "marlos", bytes: b"hello" };
        let signature = keys.sign(&message);
        let mut verifier = StrictVerifier;
        assert!(verifier.verify(&keys.public(), &message, &signature));
        assert!(!verifier.verify(&other.public(), &message, &signature));
        assert!(!verifier.verify(&keys.public(), &Signed { network_id: "marlos2", ..message }, &signature));
        assert!(!verifier.verify(&keys.public(), &Signed { bytes: b"hellp", ..message }, &signature));
        // The identity point as key accepts forged signatures where verification is not strict.
        let mut small_order = [0; 32];
        small_order[0] = 1;
        assert!(!verifier.verify(&small_order, &message, &Signature([0; 64])));
    }
}
