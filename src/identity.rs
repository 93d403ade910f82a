//! Keys and the identity that hangs on them (protocol.md, section 1). Reading and writing the key file is the driver's.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::id::NodeId;
use crate::io::Verify;
use crate::wire::{Signature, Signed};

/// A node's key pair. The private half never leaves the process and is never printed.
#[derive(Clone)]
pub struct Keys {
    signing: SigningKey,
    id: NodeId,
    /// The public key, where the private half is elsewhere and `signing` stands for nobody.
    absent: Option<[u8; 32]>,
}

impl Keys {
    /// The pair that belongs to a secret of 32 random bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Keys {
        let signing = SigningKey::from_bytes(secret);
        let id = NodeId::of_key(signing.verifying_key().as_bytes());
        Keys { signing, id, absent: None }
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_pem(pem: &str) -> Result<Keys, String> {
        let signing =
            SigningKey::from_pkcs8_pem(pem).map_err(|e| format!("not an Ed25519 private key in PKCS#8 PEM: {e}"))?;
        let id = NodeId::of_key(signing.verifying_key().as_bytes());
        Ok(Keys { signing, id, absent: None })
    }

    /// An identity whose private half is elsewhere: for who replays a recording, and answers [`Verify::sign`] with the signatures in it.
    #[must_use]
    pub fn without_secret(public: [u8; 32]) -> Keys {
        Keys { signing: SigningKey::from_bytes(&[0; 32]), id: NodeId::of_key(&public), absent: Some(public) }
    }

    /// As PKCS#8 PEM, for the key file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.signing.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key always encodes").to_string()
    }

    /// The node id of these keys.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The public key.
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
