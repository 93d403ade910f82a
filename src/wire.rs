//! The envelope: who says something to whom, when, and signed (protocol.md, section 2).
//!
//! Opening is split so that admission can stop at the cheapest check: [`Envelope::peek`] reads the header, [`Envelope::signed`]
//! is what the signature covers, and only then [`Envelope::payloads`] unpacks what is inside.

pub mod binary;
pub mod compress;
pub mod json;
pub mod message;

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

pub use message::{MsgType, Payload};

use crate::config::Codec;
use crate::id::NodeId;
use crate::identity::Keys;
use crate::io::Refusal;
use crate::time::WallTime;

/// The protocol version in every envelope.
pub const VERSION: u8 = 1;

/// Payloads above this many bytes are compressed where that makes them smaller.
pub const COMPRESS_ABOVE: usize = 4 * 1024;

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

/// Bytes that are signed, in the network they are signed for.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The network: no message of one is valid in another.
    pub network_id: &'a str,
    /// The signed bytes.
    pub bytes: &'a [u8],
}

/// Everything of an envelope but payload and signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First two bytes of SHA-256 over the network id: a cheap first test, the signature covers the whole id.
    pub network_tag: u16,
    /// What the payload is.
    pub kind: MsgType,
    /// Who says it.
    pub sender: NodeId,
    /// To whom; nobody means everyone.
    pub to: Option<NodeId>,
    /// When, by the sender's synchronised clock.
    pub timestamp: WallTime,
    /// The sender's start count.
    pub incarnation: u32,
    /// Counts the sender's envelopes of this incarnation, from 1. Together with the incarnation it is the nonce.
    pub counter: u64,
    /// Whether the payload is gzip-compressed.
    pub compressed: bool,
}

/// A frame whose header could be read. Nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The header.
    pub header: Header,
    /// The signature over [`Envelope::signed`].
    pub signature: Signature,
    body: Body<'a>,
}

#[derive(Clone, Debug)]
enum Body<'a> {
    Binary { signed: &'a [u8], payload: &'a [u8] },
    Json { signed: Vec<u8>, payload: serde_json::Value },
}

impl<'a> Envelope<'a> {
    /// Reads the header of a frame in either codec. Allocates only for JSON.
    ///
    /// # Errors
    /// `TooLarge`, `Malformed` or `WrongVersion`.
    pub fn peek(frame: &'a [u8], max_message_size: u32) -> Result<Envelope<'a>, Refusal> {
        if frame.len() > max_message_size as usize {
            return Err(Refusal::TooLarge);
        }
        match frame.first() {
            Some(&VERSION) => {
                let (header, payload, signed, signature) = binary::split(frame)?;
                // Before the signature: hashing what is too long for its kind is work that a stranger could ask for.
                if payload.len() > header.kind.max_payload(max_message_size) as usize {
                    return Err(Refusal::TooLarge);
                }
                Ok(Envelope { header, signature, body: Body::Binary { signed, payload } })
            }
            Some(b'{') => {
                let parsed = json::split(frame)?;
                let body = Body::Json { signed: parsed.signed, payload: parsed.payload };
                Ok(Envelope { header: parsed.header, signature: parsed.signature, body })
            }
            Some(_) => Err(Refusal::WrongVersion),
            None => Err(Refusal::Malformed),
        }
    }

    /// What the signature covers: in binary the bytes as they arrived, in JSON the canonical form without `signature`.
    #[must_use]
    pub fn signed<'b>(&'b self, network_id: &'b str) -> Signed<'b> {
        let bytes = match &self.body {
            Body::Binary { signed, .. } => signed,
            Body::Json { signed, .. } => signed.as_slice(),
        };
        Signed { network_id, bytes }
    }

    /// Whether this is an announce that carries just the record with this signature: what nearly every announce is to nearly all
    /// who hear it, told without decoding it. If so, whether it asks for records. Its sender could lie here only about its own.
    #[must_use]
    pub fn repeats_record(&self, held: &Signature) -> Option<bool> {
        match &self.body {
            Body::Binary { payload, .. } if self.header.kind == MsgType::PeerAnnounce && !self.header.compressed => {
                binary::ends_with_record(payload, held)
            }
            Body::Binary { .. } | Body::Json { .. } => None,
        }
    }

    /// Unpacks the payloads, one unless it is a bundle, and hands each to `each`. To be called after the signature was verified.
    ///
    /// # Errors
    /// `TooLarge` or `Malformed`; `each` was not called then: a bundle is taken whole or not at all.
    pub fn payloads(&self, max_message_size: u32, each: &mut dyn FnMut(Payload)) -> Result<(), Refusal> {
        let limit = self.header.kind.max_payload(max_message_size);
        match &self.body {
            Body::Binary { payload, .. } if self.header.compressed => {
                let unpacked = compress::gunzip(payload, limit)?;
                binary::payloads(&self.header, &unpacked, max_message_size, each)
            }
            Body::Binary { payload, .. } => binary::payloads(&self.header, payload, max_message_size, each),
            Body::Json { payload, .. } => json::payloads(&self.header, payload, max_message_size, each),
        }
    }
}

/// What a header has to say for a node to look further. Admission asks it, and so does a driver that drops in front of the node
/// what the node would refuse anyway: one function, so that they cannot disagree.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// The tag of the node's network.
    pub network_tag: u16,
    /// The node itself.
    pub own_id: NodeId,
    /// The longest frame, in bytes.
    pub max_message_size: u32,
}

impl Door {
    /// Whether this network, this node and not this node's own message is meant.
    ///
    /// # Errors
    /// `WrongNetwork`, `WrongRecipient` or `FromSelf`.
    pub fn check(&self, header: &Header) -> Result<(), Refusal> {
        if header.network_tag != self.network_tag {
            return Err(Refusal::WrongNetwork);
        }
        if header.to.is_some_and(|to| to != self.own_id) {
            return Err(Refusal::WrongRecipient);
        }
        if header.sender == self.own_id { Err(Refusal::FromSelf) } else { Ok(()) }
    }

    /// All that can be said against a frame without keys, memory or allocation. A frame of the JSON codec passes: to read its
    /// header is to parse it.
    ///
    /// # Errors
    /// Those of [`Envelope::peek`] and of [`Door::check`].
    pub fn glance(&self, frame: &[u8]) -> Result<(), Refusal> {
        if frame.first() == Some(&b'{') && frame.len() <= self.max_message_size as usize {
            return Ok(());
        }
        self.check(&Envelope::peek(frame, self.max_message_size)?.header)
    }
}

/// Makes a signature over what it is given.
pub type Sign<'a> = dyn FnMut(&Signed<'_>) -> Signature + 'a;

/// Writes one envelope around already encoded payloads, signed by `sign`, appending it to `out`.
///
/// `items` are (kind, encoded payload) pairs in `codec`; more than one makes a bundle.
pub fn seal_with(
    header: Header,
    codec: Codec,
    items: &[(MsgType, &[u8])],
    network_id: &str,
    sign: &mut Sign<'_>,
    out: &mut Vec<u8>,
) {
    assert!(!items.is_empty(), "an envelope says something");
    assert!(header.counter > 0, "nonces count from 1");
    match codec {
        Codec::Bincode => binary::seal(header, items, network_id, sign, out),
        Codec::Json => json::seal(header, items, network_id, sign, out),
    }
}

/// [`seal_with`] these keys.
pub fn seal(
    header: Header,
    codec: Codec,
    items: &[(MsgType, &[u8])],
    network_id: &str,
    keys: &Keys,
    out: &mut Vec<u8>,
) {
    seal_with(header, codec, items, network_id, &mut |message| keys.sign(message), out);
}

/// Encodes one payload in `codec`, appending it to `out`.
pub fn encode(codec: Codec, payload: &Payload, out: &mut Vec<u8>) {
    match codec {
        Codec::Bincode => binary::encode(payload, out),
        Codec::Json => json::encode(payload, out),
    }
}

/// The tag of a network in the header.
#[must_use]
pub fn network_tag(network_id: &str) -> u16 {
    let digest = Sha256::digest(network_id.as_bytes());
    u16::from_be_bytes([digest[0], digest[1]])
}

impl Signed<'_> {
    /// What Ed25519 signs: SHA-256(`"marlos/1\0"` ‖ length of the network id, one byte ‖ network id ‖ bytes).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let length = u8::try_from(self.network_id.len()).expect("Config::validate bounds network_id to 64 bytes");
        Sha256::new()
            .chain_update(b"marlos/1\0")
            .chain_update([length])
            .chain_update(self.network_id.as_bytes())
            .chain_update(self.bytes)
            .finalize()
            .into()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json::base64_array::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Signature, D::Error> {
        json::base64_array::deserialize(deserializer).map(Signature)
    }
}

#[cfg(test)]
mod tests;
