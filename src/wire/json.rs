//! The JSON codec: the document's envelope (protocol.md, section 2). STUB: being written.

use super::{Header, Signature};
use crate::identity::Keys;
use crate::io::Refusal;
use crate::wire::message::{MsgType, Payload};

pub(super) struct Parsed {
    pub header: Header,
    pub payload: serde_json::Value,
    pub signed: Vec<u8>,
    pub signature: Signature,
}

pub(super) fn split(_frame: &[u8]) -> Result<Parsed, Refusal> {
    Err(Refusal::Malformed)
}

pub(super) fn payloads(
    _header: &Header,
    _payload: &serde_json::Value,
    _max_message_size: u32,
    _each: &mut dyn FnMut(Payload),
) -> Result<(), Refusal> {
    Err(Refusal::Malformed)
}

pub(super) fn encode(payload: &Payload, out: &mut Vec<u8>) {
    super::binary::encode(payload, out);
}

pub(super) fn seal(header: Header, items: &[(MsgType, &[u8])], network_id: &str, keys: &Keys, out: &mut Vec<u8>) {
    super::binary::seal(header, items, network_id, keys, out);
}

/// Fixed byte arrays as base64 text.
pub mod base64_array {
    use base64::Engine;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes standard base64 with padding.
    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    /// Reads exactly `N` bytes.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        let bytes = super::base64_bytes::deserialize(deserializer)?;
        bytes.try_into().map_err(|_| D::Error::custom(format!("expected {N} bytes")))
    }

    #[allow(unused)]
    fn _unused(s: String) -> Option<String> {
        String::deserialize(serde::de::value::StringDeserializer::<serde::de::value::Error>::new(s)).ok()
    }
}

/// Byte strings as base64 text.
pub mod base64_bytes {
    use base64::Engine;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes standard base64 with padding.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    /// Reads standard base64 with padding.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        base64::engine::general_purpose::STANDARD.decode(text).map_err(D::Error::custom)
    }
}
