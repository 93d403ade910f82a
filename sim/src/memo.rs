//! Real Ed25519, once for each thing that is signed.
//!
//! A frame that reaches a hundred nodes is checked once and its answer remembered with the frame; a vote that travels in a
//! certificate, or a record that is passed on, is remembered by its digest. A corrupted copy is other bytes, and is checked.
//!
//! The world knows its own nodes' keys, and RFC 8032 signatures are deterministic: a signature that equals what the key
//! makes of the message is valid. Making it again costs half of verifying it, so that is tried first; whatever differs is
//! verified strictly.

use std::collections::BTreeMap;

use marlos::identity::{Keys, StrictVerifier};
use marlos::io::Verify;
use marlos::wire::{Signature, Signed};
use sha2::{Digest, Sha256};

/// Answers that are remembered by digest; beyond it they are forgotten and found again, which changes no result.
const REMEMBERED: usize = 1 << 20;

/// Signature checks of one world.
#[derive(Debug, Default)]
pub struct Memo {
    keys: BTreeMap<[u8; 32], Keys>,
    answers: BTreeMap<[u8; 32], bool>,
    frame: FrameAnswer,
    /// Checks that were really made.
    pub made: u64,
}

/// What is known of the frame being delivered: the answer of its first check, and under which key.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameAnswer {
    /// Where the frame's bytes lie while it is delivered; its envelope's signed bytes begin there.
    begins: usize,
    length: usize,
    answer: Option<([u8; 32], bool)>,
}

impl Memo {
    /// Gets to know a node of the world.
    pub fn add(&mut self, keys: Keys) {
        self.keys.insert(keys.public(), keys);
    }

    /// A frame is about to be delivered, with what earlier receivers found out about it.
    pub fn enter_frame(&mut self, bytes: &[u8], known: Option<([u8; 32], bool)>) {
        self.frame = FrameAnswer { begins: bytes.as_ptr() as usize, length: bytes.len(), answer: known };
    }

    /// It was delivered: what is known of it now.
    pub fn leave_frame(&mut self) -> Option<([u8; 32], bool)> {
        std::mem::take(&mut self.frame).answer
    }

    fn check(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        self.made += 1;
        if self.keys.get(key).is_some_and(|keys| keys.sign(message) == *signature) {
            return true;
        }
        StrictVerifier.verify(key, message, signature)
    }
}

impl Verify for Memo {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        // The envelope of the frame under way: all of it but the signature at its end. All nodes of a world are of one
        // network, so its name is no part of what is remembered.
        let envelope = message.bytes.as_ptr() as usize == self.frame.begins
            && message.bytes.len() + signature.0.len() == self.frame.length;
        if envelope {
            if let Some((known, answer)) = self.frame.answer
                && known == *key
            {
                return answer;
            }
            let answer = self.check(key, message, signature);
            self.frame.answer = Some((*key, answer));
            return answer;
        }
        let digest: [u8; 32] =
            Sha256::new().chain_update(message.digest()).chain_update(key).chain_update(signature.0).finalize().into();
        if let Some(answer) = self.answers.get(&digest) {
            return *answer;
        }
        let answer = self.check(key, message, signature);
        if self.answers.len() >= REMEMBERED {
            self.answers.clear();
        }
        self.answers.insert(digest, answer);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_checked_once_and_a_corrupted_copy_again() {
        let keys = Keys::from_secret(&[3; 32]);
        let mut memo = Memo::default();
        memo.add(keys.clone());
        fn signed(bytes: &[u8]) -> Signed<'_> {
            Signed { network_id: "marlos", bytes }
        }
        let mut frame = b"\x01 what is said".to_vec();
        let body = frame.len();
        let signature = keys.sign(&signed(&frame));
        frame.extend_from_slice(&signature.0);

        memo.enter_frame(&frame, None);
        assert!(memo.verify(&keys.public(), &signed(&frame[..body]), &signature));
        let known = memo.leave_frame();
        for _ in 0..10 {
            memo.enter_frame(&frame, known);
            assert!(memo.verify(&keys.public(), &signed(&frame[..body]), &signature));
            assert!(memo.leave_frame().is_some());
        }
        assert_eq!(memo.made, 1);

        let mut corrupted = frame.clone();
        corrupted[3] ^= 1;
        memo.enter_frame(&corrupted, None);
        assert!(!memo.verify(&keys.public(), &signed(&corrupted[..body]), &signature));
        memo.enter_frame(&frame, known);
        let other = Keys::from_secret(&[4; 32]).public();
        assert!(!memo.verify(&other, &signed(&frame[..body]), &signature), "an answer is of one key");
    }

    #[test]
    fn a_vote_is_remembered_by_what_it_says_and_who_signed_it() {
        let keys = Keys::from_secret(&[3; 32]);
        let mut memo = Memo::default();
        let message = Signed { network_id: "marlos", bytes: b"a vote" };
        let signature = keys.sign(&message);
        for _ in 0..5 {
            assert!(memo.verify(&keys.public(), &message, &signature), "verified strictly: the key is not the world's");
            assert!(!memo.verify(&[9; 32], &message, &signature));
            assert!(!memo.verify(&keys.public(), &Signed { bytes: b"a coat", ..message }, &signature));
        }
        assert_eq!(memo.made, 3);
    }
}
