//! What a node asked its driver for in the middle of a call, and what it got: signatures and boxes ([`Verify`]).
//!
//! [`Listening`] notes it where the private key is; [`Answering`] gives it again where it is not.

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::identity::seal::NONCE;
use crate::identity::{Keys, StrictVerifier};
use crate::io::Verify;
use crate::wire::{Signature, Signed};

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// A signature says by itself what it is of.
    Signature(Signature),
    /// What was sealed or opened, if it could be, and a digest of what was asked.
    Box {
        /// Of [`Verify::seal`] or [`Verify::open`] with all that they are given but the keys.
        asked: [u8; 16],
        /// What they gave.
        gave: Option<Vec<u8>>,
    },
}

/// A digest of a question about a box.
fn asked(what: &str, parts: &[&[u8]]) -> [u8; 16] {
    let hash = parts.iter().fold(Sha256::new().chain_update(what), |hash, part| {
        hash.chain_update((part.len() as u64).to_le_bytes()).chain_update(part)
    });
    *hash.finalize().first_chunk().expect("a hash is longer")
}

fn asked_to_seal(reader: &[u8; 32], nonce: &[u8; NONCE], plain: &[u8]) -> [u8; 16] {
    asked("seal", &[reader, nonce, plain])
}

fn asked_to_open(writers: &[[u8; 32]], sealed: &[u8]) -> [u8; 16] {
    asked("open", &[writers.as_flattened(), sealed])
}

/// Passes questions on and notes the answers.
pub struct Listening<'r> {
    verify: &'r mut dyn Verify,
    answers: &'r mut Vec<Answer>,
}

impl<'r> Listening<'r> {
    /// Asks `verify`; what it answers is added to `answers`.
    pub fn new(verify: &'r mut dyn Verify, answers: &'r mut Vec<Answer>) -> Listening<'r> {
        Listening { verify, answers }
    }
}

impl Verify for Listening<'_> {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        self.verify.verify(key, message, signature)
    }

    fn sign(&mut self, keys: &Keys, message: &Signed<'_>) -> Signature {
        let signature = self.verify.sign(keys, message);
        self.answers.push(Answer::Signature(signature));
        signature
    }

    fn seal(&mut self, keys: &Keys, reader: &[u8; 32], nonce: &[u8; NONCE], plain: &[u8]) -> Option<Vec<u8>> {
        let gave = self.verify.seal(keys, reader, nonce, plain);
        self.answers.push(Answer::Box { asked: asked_to_seal(reader, nonce, plain), gave: gave.clone() });
        gave
    }

    fn open(&mut self, keys: &Keys, writers: &[[u8; 32]], sealed: &[u8]) -> Option<Vec<u8>> {
        let gave = self.verify.open(keys, writers, sealed);
        self.answers.push(Answer::Box { asked: asked_to_open(writers, sealed), gave: gave.clone() });
        gave
    }
}

/// Answers for a key whose private half is not here.
pub struct Answering {
    answers: VecDeque<Answer>,
    parted: Option<&'static str>,
}

impl Answering {
    /// With what was answered in that call.
    #[must_use]
    pub fn new(answers: Vec<Answer>) -> Answering {
        Answering { answers: answers.into(), parted: None }
    }

    /// The call is over: what the node asked for that it did not ask for then, or the other way round.
    #[must_use]
    pub fn parted(self) -> Option<&'static str> {
        self.parted.or((!self.answers.is_empty()).then_some("what was signed, sealed or opened then is not now"))
    }

    fn of_box(&mut self, now: [u8; 16], what: &'static str) -> Option<Vec<u8>> {
        match self.answers.pop_front() {
            Some(Answer::Box { asked, gave }) if asked == now => gave,
            _ => {
                self.parted.get_or_insert(what);
                None
            }
        }
    }
}

impl Verify for Answering {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        StrictVerifier.verify(key, message, signature)
    }

    fn sign(&mut self, keys: &Keys, message: &Signed<'_>) -> Signature {
        match self.answers.pop_front() {
            Some(Answer::Signature(signature)) if StrictVerifier.verify(&keys.public(), message, &signature) => {
                signature
            }
            _ => {
                self.parted.get_or_insert("it signs something that was not signed then");
                Signature([0; 64])
            }
        }
    }

    fn seal(&mut self, _: &Keys, reader: &[u8; 32], nonce: &[u8; NONCE], plain: &[u8]) -> Option<Vec<u8>> {
        self.of_box(asked_to_seal(reader, nonce, plain), "it seals something that was not sealed then")
    }

    fn open(&mut self, _: &Keys, writers: &[[u8; 32]], sealed: &[u8]) -> Option<Vec<u8>> {
        self.of_box(asked_to_open(writers, sealed), "it opens something that was not opened then")
    }
}
