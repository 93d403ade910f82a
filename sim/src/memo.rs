//! Signatures: real Ed25519, once for each thing that is signed, or [`Tokens`] in its place.
//!
//! The nodes of a world sign through it, so it knows what each key has really signed: such a signature is genuine, and is not
//! computed a second time to find that out. Whatever else claims to be a signature - altered, forged, moved to other bytes or
//! another key - is verified strictly. One in `CHECKED_AGAIN` of the genuine ones is verified strictly all the same: were
//! it ever refused, the run would end there. A token is made again whenever it is asked for: that is cheaper than to remember it.
//! A frame that reaches a hundred nodes keeps its answer with it, either way.

use std::collections::BTreeMap;
use std::sync::Arc;

use marlos::id::NodeId;
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::Verify;
use marlos::wire::message::Announce;
use marlos::wire::{Signature, Signed};
use sha2::{Digest, Sha256};

use crate::token::Tokens;

/// Answers that are remembered; beyond it they are forgotten and found again, which changes no result.
const REMEMBERED: usize = 1 << 20;
/// Of what was signed here, every 64th is verified strictly when it is asked for.
const CHECKED_AGAIN: u64 = 64;

/// Signatures of one world.
#[derive(Debug, Default)]
pub struct Memo {
    /// In place of Ed25519, where there are any.
    tokens: Option<Tokens>,
    answers: BTreeMap<[u8; 32], Answer>,
    frame: FrameAnswer,
    asked: u64,
    /// Signatures that were really verified.
    pub verified: u64,
    /// What nodes have asked for.
    all: Asked,
    /// The record of each node that was held last.
    records: BTreeMap<NodeId, Arc<Announce>>,
}

/// How often nodes asked for a signature, or about one: what it costs them, whatever it costs here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// To make one.
    pub signed: u64,
    /// Whether one is genuine.
    pub verified: u64,
}

/// What is known of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Made here, by this key over this message; nobody has asked yet.
    Signed,
    /// Asked for before, or verified.
    Known(bool),
}

/// What is known of the frame being delivered: the answer of its first check, and under which key.
#[derive(Clone, Copy, Debug, Default)]
struct FrameAnswer {
    /// Where the frame's bytes lie while it is delivered; its envelope's signed bytes begin there.
    begins: usize,
    length: usize,
    answer: Option<([u8; 32], bool)>,
}

impl Memo {
    /// What was asked for since this was last called.
    pub fn take_asked(&mut self) -> Asked {
        std::mem::take(&mut self.all)
    }

    /// Of a world that signs with tokens.
    #[must_use]
    pub fn of_tokens(tokens: Tokens) -> Memo {
        Memo { tokens: Some(tokens), ..Memo::default() }
    }

    /// A frame is about to be delivered, with what earlier receivers found out about it.
    pub fn enter_frame(&mut self, bytes: &[u8], known: Option<([u8; 32], bool)>) {
        self.frame = FrameAnswer { begins: bytes.as_ptr() as usize, length: bytes.len(), answer: known };
    }

    /// It was delivered: what is known of it now.
    pub fn leave_frame(&mut self) -> Option<([u8; 32], bool)> {
        std::mem::take(&mut self.frame).answer
    }

    /// What is true of a signature. `lasting` answers are kept: an envelope's is kept with its frame instead.
    fn look_up(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature, lasting: bool) -> bool {
        if let Some(tokens) = &self.tokens {
            self.verified += 1;
            return tokens.token(key, message) == *signature;
        }
        let digest = digest(key, message, signature);
        let held = if lasting { self.answers.get(&digest).copied() } else { self.answers.remove(&digest) };
        if let Some(Answer::Known(answer)) = held {
            return answer;
        }
        self.asked += 1;
        let signed_here = held == Some(Answer::Signed);
        let answer = if signed_here && !self.asked.is_multiple_of(CHECKED_AGAIN) {
            true
        } else {
            self.verified += 1;
            StrictVerifier.verify(key, message, signature)
        };
        assert!(answer || !signed_here, "what a key has signed verifies under it");
        if lasting {
            self.remember(digest, Answer::Known(answer));
        }
        answer
    }

    fn remember(&mut self, digest: [u8; 32], answer: Answer) {
        if self.answers.len() >= REMEMBERED {
            self.answers.clear();
        }
        self.answers.insert(digest, answer);
    }
}

impl Verify for Memo {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        self.all.verified += 1;
        // The envelope of the frame under way: all of it but the signature at its end. All nodes of a world are of one
        // network, so its name is no part of what is remembered with a frame.
        let envelope = message.bytes.as_ptr() as usize == self.frame.begins
            && message.bytes.len() + signature.0.len() == self.frame.length;
        if !envelope {
            return self.look_up(key, message, signature, true);
        }
        match self.frame.answer {
            Some((known, answer)) if known == *key => answer,
            _ => {
                let answer = self.look_up(key, message, signature, false);
                self.frame.answer = Some((*key, answer));
                answer
            }
        }
    }

    /// Of equal records all nodes hold the same one: a thousand nodes have a million of each other.
    fn hold(&mut self, record: &Announce) -> Arc<Announce> {
        if let Some(held) = self.records.get(&record.node_id).filter(|held| ***held == *record) {
            return Arc::clone(held);
        }
        if self.records.len() >= REMEMBERED {
            self.records.clear();
        }
        let held = Arc::new(record.clone());
        self.records.insert(record.node_id, Arc::clone(&held));
        held
    }

    fn sign(&mut self, keys: &Keys, message: &Signed<'_>) -> Signature {
        self.all.signed += 1;
        if let Some(tokens) = &self.tokens {
            return tokens.token(&keys.public(), message);
        }
        let signature = keys.sign(message);
        self.remember(digest(&keys.public(), message, &signature), Answer::Signed);
        signature
    }
}

/// Names a signature together with what it is of.
fn digest(key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> [u8; 32] {
    Sha256::new().chain_update(message.digest()).chain_update(key).chain_update(signature.0).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(bytes: &[u8]) -> Signed<'_> {
        Signed { network_id: "marlos", bytes }
    }

    #[test]
    fn a_frame_is_looked_up_once_and_a_corrupted_copy_or_another_key_is_refused() {
        let (keys, other) = (Keys::from_secret(&[3; 32]), Keys::from_secret(&[4; 32]));
        let mut memo = Memo::default();
        let mut frame = b"\x01 what is said".to_vec();
        let body = frame.len();
        let signature = memo.sign(&keys, &signed(&frame));
        frame.extend_from_slice(&signature.0);

        memo.enter_frame(&frame, None);
        assert!(memo.verify(&keys.public(), &signed(&frame[..body]), &signature));
        let known = memo.leave_frame();
        for _ in 0..10 {
            memo.enter_frame(&frame, known);
            assert!(memo.verify(&keys.public(), &signed(&frame[..body]), &signature));
            assert_eq!(memo.leave_frame(), known);
        }
        assert_eq!((memo.asked, memo.verified, memo.answers.len()), (1, 0, 0));

        let mut corrupted = frame.clone();
        corrupted[3] ^= 1;
        memo.enter_frame(&corrupted, None);
        assert!(!memo.verify(&keys.public(), &signed(&corrupted[..body]), &signature));
        memo.enter_frame(&frame, known);
        assert!(!memo.verify(&other.public(), &signed(&frame[..body]), &signature), "an answer is of one key");
        assert_eq!(memo.verified, 2, "what was not signed here is verified");
    }

    #[test]
    fn a_token_holds_for_its_key_and_frame_only() {
        let (keys, other) = (Keys::from_secret(&[3; 32]), Keys::from_secret(&[4; 32]));
        let mut memo = Memo::of_tokens(Tokens::new([5; 32]));
        let mut frame = b"\x01 what is said".to_vec();
        let body = frame.len();
        let token = memo.sign(&keys, &signed(&frame));
        frame.extend_from_slice(&token.0);
        let mut holds = |frame: &[u8], key: &[u8; 32], known| {
            memo.enter_frame(frame, known);
            let signature = Signature(frame[body..].try_into().unwrap());
            (memo.verify(key, &signed(&frame[..body]), &signature), memo.leave_frame())
        };
        let (genuine, known) = holds(&frame, &keys.public(), None);
        assert!(genuine && holds(&frame, &keys.public(), known).0);
        assert!(!holds(&frame, &other.public(), known).0, "another's");
        for at in [3, body, frame.len() - 1] {
            let mut altered = frame.clone();
            altered[at] ^= 1;
            assert!(!holds(&altered, &keys.public(), None).0, "altered at {at}");
        }
        assert!(!StrictVerifier.verify(&keys.public(), &signed(&frame[..body]), &token), "no real node takes it");
        let real = keys.sign(&signed(&frame[..body]));
        assert!(!memo.verify(&keys.public(), &signed(&frame[..body]), &real), "nor a world of tokens what is real");
    }

    #[test]
    fn a_vote_is_remembered_by_what_it_says_and_who_signed_it() {
        let keys = Keys::from_secret(&[3; 32]);
        let mut memo = Memo::default();
        let message = Signed { network_id: "marlos", bytes: b"a vote" };
        let signature = keys.sign(&message);
        for _ in 0..5 {
            assert!(memo.verify(&keys.public(), &message, &signature), "not signed here, but genuine");
            assert!(!memo.verify(&[9; 32], &message, &signature));
            assert!(!memo.verify(&keys.public(), &Signed { bytes: b"a coat", ..message }, &signature));
        }
        assert_eq!(memo.verified, 3);
    }

    #[test]
    fn one_in_many_of_its_own_signatures_is_verified_again() {
        let keys = Keys::from_secret(&[3; 32]);
        let mut memo = Memo::default();
        for n in 0..2 * CHECKED_AGAIN {
            let bytes = n.to_le_bytes();
            let signature = memo.sign(&keys, &signed(&bytes));
            assert!(memo.verify(&keys.public(), &signed(&bytes), &signature));
        }
        assert_eq!(memo.verified, 2);
    }
}
