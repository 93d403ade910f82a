//! The JSON codec: the document's envelope (protocol.md, section 2).
//!
//! `msg_type`, `sender_id`, `timestamp`, `nonce`, `signature` and `payload` are the document's. `to` is there when the message is
//! directed; `version` and `network` (the network's tag, four hex digits) always; `encoding: "gzip"` when `payload` is the
//! base64 text of a compressed one. The nonce is `{sender_id}:{timestamp}:` and 24 hex digits: incarnation, then counter.
//!
//! What is verified is what is used: the frame is read once into a value that holds nothing ambiguous (no duplicate key, no
//! integer that a double cannot hold), the signature covers that value's canonical form (RFC 8785), and header and payload
//! are taken from the same value. So white space and the order of fields are free, and nothing else is.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::binary::MAX_BUNDLE;
use super::{COMPRESS_ABOVE, Header, Sign, Signature, Signed, VERSION, compress};
use crate::io::Refusal;
use crate::time::WallTime;
use crate::units::{MAX_JSON_INTEGER, write_millionths};
use crate::wire::message::{MsgType, Payload};

/// Values in one frame at most, so that a frame of `[[],[],..` cannot take many times its size before its signature is
/// checked: a guess, four times what 256 ordinary announces hold.
const MAX_VALUES: u32 = 65_536;

/// Every key an envelope may have.
const KEYS: [&str; 10] =
    ["msg_type", "sender_id", "to", "timestamp", "nonce", "signature", "version", "network", "encoding", "payload"];

/// An envelope whose header could be read.
pub(super) struct Parsed {
    pub header: Header,
    /// An object, or the base64 text of a compressed one.
    pub payload: Value,
    /// The canonical form of the envelope without its signature.
    pub signed: Vec<u8>,
    pub signature: Signature,
}

/// Reads the header of a frame and what its signature covers.
pub(super) fn split(frame: &[u8]) -> Result<Parsed, Refusal> {
    let Value::Object(mut fields) = parse(frame)? else { return Err(Refusal::Malformed) };
    match field(&fields, "version")? {
        Value::Number(version) if version.as_u64() == Some(u64::from(VERSION)) => {}
        Value::Number(_) => return Err(Refusal::WrongVersion),
        _ => return Err(Refusal::Malformed),
    }
    if fields.keys().any(|key| !KEYS.contains(&key.as_str())) {
        return Err(Refusal::Malformed);
    }
    let header = header(&fields)?;
    let signature = fields.remove("signature").ok_or(Refusal::Malformed)?;
    let signature = Signature::deserialize(&signature).map_err(|_| Refusal::Malformed)?;
    let signed = canonical(&fields)?;
    let payload = fields.remove("payload").ok_or(Refusal::Malformed)?;
    let fits = if header.compressed { payload.is_string() } else { payload.is_object() };
    if fits { Ok(Parsed { header, payload, signed, signature }) } else { Err(Refusal::Malformed) }
}

fn header(fields: &Map<String, Value>) -> Result<Header, Refusal> {
    let sender = text(fields, "sender_id")?.parse().map_err(|_| Refusal::Malformed)?;
    let to = match fields.get("to") {
        Some(_) => Some(text(fields, "to")?.parse().map_err(|_| Refusal::Malformed)?),
        None => None,
    };
    let compressed = match fields.get("encoding") {
        Some(encoding) if encoding.as_str() == Some("gzip") => true,
        Some(_) => return Err(Refusal::Malformed),
        None => false,
    };
    // Elsewhere a text is an amount too, for those that a double cannot hold; a stamp is a number as in the document.
    let timestamp = field(fields, "timestamp").ok().filter(|value| value.is_number()).ok_or(Refusal::Malformed)?;
    let timestamp = WallTime::deserialize(timestamp).map_err(|_| Refusal::Malformed)?;
    let said_twice = format!("{sender}:{}:", stamp(timestamp));
    let count = text(fields, "nonce")?.strip_prefix(&said_twice).ok_or(Refusal::Malformed)?;
    let (incarnation, counter) = count.split_at_checked(8).ok_or(Refusal::Malformed)?;
    Ok(Header {
        network_tag: u16::try_from(hex(text(fields, "network")?, 4)?).expect("four hex digits are two bytes"),
        kind: kind(text(fields, "msg_type")?)?,
        sender,
        to,
        timestamp,
        incarnation: u32::try_from(hex(incarnation, 8)?).expect("eight hex digits are four bytes"),
        counter: hex(counter, 16)?,
        compressed,
    })
}

/// Decodes what a payload of this kind holds: all of it before `each` sees any.
pub(super) fn payloads(
    header: &Header,
    payload: &Value,
    max_message_size: u32,
    each: &mut dyn FnMut(Payload),
) -> Result<(), Refusal> {
    let payload = unpacked(header, payload, header.kind.max_payload(max_message_size))?;
    if header.kind != MsgType::Bundle {
        each(decode(header.kind, &payload)?);
        return Ok(());
    }
    bundle_payloads(&payload, max_message_size)?.into_iter().for_each(each);
    Ok(())
}

/// The payload as an object, of at most `limit` bytes of text.
fn unpacked<'a>(header: &Header, payload: &'a Value, limit: u32) -> Result<Cow<'a, Value>, Refusal> {
    if header.compressed {
        let packed = payload.as_str().ok_or(Refusal::Malformed)?;
        let packed = STANDARD.decode(packed).map_err(|_| Refusal::Malformed)?;
        return parse(&compress::gunzip(&packed, limit)?).map(Cow::Owned);
    }
    if size(payload) > u64::from(limit) { Err(Refusal::TooLarge) } else { Ok(Cow::Borrowed(payload)) }
}

/// The kinds and sizes of a bundle's items, for accounting: empty where the frame is no readable bundle.
pub(super) fn bundle_items(frame: &[u8]) -> Vec<(MsgType, usize)> {
    let sized = |item: &Value| {
        let kind = kind(item.get("msg_type")?.as_str()?).ok()?;
        Some((kind, usize::try_from(size(item)).ok()?))
    };
    let items = || {
        let parsed = split(frame).ok().filter(|parsed| parsed.header.kind == MsgType::Bundle)?;
        let bundle = unpacked(&parsed.header, &parsed.payload, MsgType::Bundle.max_payload(u32::MAX)).ok()?;
        Some(bundle.get("items")?.as_array()?.iter().filter_map(sized).collect())
    };
    items().unwrap_or_default()
}

fn bundle_payloads(bundle: &Value, max_message_size: u32) -> Result<Vec<Payload>, Refusal> {
    let [items] = exactly(bundle, ["items"])?;
    let items = items.as_array().ok_or(Refusal::Malformed)?;
    if items.len() > MAX_BUNDLE {
        return Err(Refusal::TooLarge);
    }
    let mut payloads = Vec::with_capacity(items.len());
    for item in items {
        let [msg_type, payload] = exactly(item, ["msg_type", "payload"])?;
        let kind = kind(msg_type.as_str().ok_or(Refusal::Malformed)?)?;
        if size(payload) > u64::from(kind.max_payload(max_message_size)) {
            return Err(Refusal::TooLarge);
        }
        payloads.push(decode(kind, payload)?);
    }
    Ok(payloads)
}

fn decode(kind: MsgType, payload: &Value) -> Result<Payload, Refusal> {
    fn read<'a, T: Deserialize<'a>>(payload: &'a Value) -> Result<T, Refusal> {
        // A struct may also be read from an array, and the document has objects only.
        if payload.is_object() {
            T::deserialize(payload).map_err(|_| Refusal::Malformed)
        } else {
            Err(Refusal::Malformed)
        }
    }
    match kind {
        MsgType::PeerAnnounce => Payload::PeerAnnounce(read(payload)?),
        MsgType::PeerRecords => Payload::PeerRecords(read(payload)?),
        MsgType::Ping => Payload::Ping(read(payload)?),
        MsgType::PeerProbe => Payload::PeerProbe(read(payload)?),
        MsgType::PeerSeen => Payload::PeerSeen(read(payload)?),
        MsgType::Goodbye => Payload::Goodbye(read(payload)?),
        MsgType::JobBroadcast => Payload::JobBroadcast(read(payload)?),
        MsgType::JobBid => Payload::JobBid(read(payload)?),
        MsgType::AuctionCoordinate => Payload::AuctionCoordinate(read(payload)?),
        MsgType::ClaimVote => Payload::ClaimVote(read(payload)?),
        MsgType::JobClaim => Payload::JobClaim(read(payload)?),
        MsgType::ClaimCertificate => Payload::ClaimCertificate(read(payload)?),
        MsgType::CertificateRequest => Payload::CertificateRequest(read(payload)?),
        MsgType::JobHeartbeat => Payload::JobHeartbeat(read(payload)?),
        MsgType::JobResult => Payload::JobResult(read(payload)?),
        MsgType::Takeover => Payload::Takeover(read(payload)?),
        MsgType::LeaseLapsed => Payload::LeaseLapsed(read(payload)?),
        MsgType::OutputRequest => Payload::OutputRequest(read(payload)?),
        MsgType::OutputChunk => Payload::OutputChunk(read(payload)?),
        MsgType::StateRequest => Payload::StateRequest(read(payload)?),
        MsgType::ReputationUpdate => Payload::ReputationUpdate(read(payload)?),
        MsgType::TokenTransaction => Payload::TokenTransaction(read(payload)?),
        MsgType::LedgerVote => Payload::LedgerVote(read(payload)?),
        MsgType::LedgerCertificate => Payload::LedgerCertificate(read(payload)?),
        MsgType::AccountRequest => Payload::AccountRequest(read(payload)?),
        MsgType::AccountRecord => Payload::AccountRecord(read(payload)?),
        MsgType::Evidence => Payload::Evidence(read(payload)?),
        MsgType::AccountHeads => Payload::AccountHeads(read(payload)?),
        MsgType::PenaltyVote => Payload::PenaltyVote(read(payload)?),
        MsgType::PenaltyRecords => Payload::PenaltyRecords(read(payload)?),
        MsgType::KeyRotation => Payload::KeyRotation(read(payload)?),
        MsgType::SealedCommand => Payload::SealedCommand(read(payload)?),
        MsgType::SealedBundle => Payload::SealedBundle(read(payload)?),
        MsgType::Bundle => return Err(Refusal::Malformed),
    }
    .checked()
}

/// Encodes a payload.
pub(super) fn encode(payload: &Payload, out: &mut Vec<u8>) {
    match payload {
        Payload::PeerAnnounce(p) => write(p, out),
        Payload::PeerRecords(p) => write(p, out),
        Payload::Ping(p) => write(p, out),
        Payload::PeerProbe(p) => write(p, out),
        Payload::PeerSeen(p) => write(p, out),
        Payload::Goodbye(p) => write(p, out),
        Payload::JobBroadcast(p) => write(p, out),
        Payload::JobBid(p) => write(p, out),
        Payload::AuctionCoordinate(p) => write(p, out),
        Payload::ClaimVote(p) => write(p, out),
        Payload::JobClaim(p) => write(p, out),
        Payload::ClaimCertificate(p) => write(p, out),
        Payload::CertificateRequest(p) => write(p, out),
        Payload::JobHeartbeat(p) => write(p, out),
        Payload::JobResult(p) => write(p, out),
        Payload::Takeover(p) => write(p, out),
        Payload::LeaseLapsed(p) => write(p, out),
        Payload::OutputRequest(p) => write(p, out),
        Payload::OutputChunk(p) => write(p, out),
        Payload::StateRequest(p) => write(p, out),
        Payload::ReputationUpdate(p) => write(p, out),
        Payload::TokenTransaction(p) => write(p, out),
        Payload::LedgerVote(p) => write(p, out),
        Payload::LedgerCertificate(p) => write(p, out),
        Payload::AccountRequest(p) => write(p, out),
        Payload::AccountRecord(p) => write(p, out),
        Payload::Evidence(p) => write(p, out),
        Payload::AccountHeads(p) => write(p, out),
        Payload::PenaltyVote(p) => write(p, out),
        Payload::PenaltyRecords(p) => write(p, out),
        Payload::KeyRotation(p) => write(p, out),
        Payload::SealedCommand(p) => write(p, out),
        Payload::SealedBundle(p) => write(p, out),
    }
}

/// Writes and signs an envelope, its fields in the document's order.
pub(super) fn seal(
    header: Header,
    items: &[(MsgType, &[u8])],
    network_id: &str,
    sign: &mut Sign<'_>,
    out: &mut Vec<u8>,
) {
    let kind = if items.len() > 1 { MsgType::Bundle } else { items[0].0 };
    let (payload, encoding) = pack(if items.len() > 1 { bundle(items) } else { json_text(items[0].1).to_owned() });
    let (sender, time) = (header.sender, stamp(header.timestamp));
    let to = header.to.map_or(String::new(), |to| format!(r#","to":"{to}""#));
    let nonce = format!("{sender}:{time}:{:08x}{:016x}", header.incarnation, header.counter);
    let before =
        format!(r#"{{"msg_type":"{}","sender_id":"{sender}"{to},"timestamp":{time},"nonce":"{nonce}","#, kind.name());
    let after =
        format!(r#""version":{VERSION},"network":"{:04x}"{encoding},"payload":{payload}}}"#, header.network_tag);
    let unsigned: Value = serde_json::from_str(&format!("{before}{after}")).expect("payloads are JSON of our own");
    let signed = canonical(&unsigned).expect("a value in memory has a canonical form");
    let signature = sign(&Signed { network_id, bytes: &signed });
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(format!(r#""signature":"{}","#, STANDARD.encode(signature.0)).as_bytes());
    out.extend_from_slice(after.as_bytes());
}

/// The payload as it is sent, and the field that says that it is compressed.
fn pack(payload: String) -> (String, &'static str) {
    if payload.len() > COMPRESS_ABOVE {
        let packed = compress::gzip_if_smaller(payload.as_bytes()).map(|packed| STANDARD.encode(packed));
        if let Some(packed) = packed.filter(|packed| packed.len() < payload.len()) {
            return (format!("\"{packed}\""), r#","encoding":"gzip""#);
        }
    }
    (payload, "")
}

fn bundle(items: &[(MsgType, &[u8])]) -> String {
    assert!(items.len() <= MAX_BUNDLE, "the outbox splits larger bundles");
    let item = |(kind, bytes): &(MsgType, &[u8])| {
        format!(r#"{{"msg_type":"{}","payload":{}}}"#, kind.name(), json_text(bytes))
    };
    let items: Vec<String> = items.iter().map(item).collect();
    format!(r#"{{"items":[{}]}}"#, items.join(","))
}

fn json_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("JSON that we encoded is UTF-8")
}

fn write<T: Serialize>(payload: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, payload).expect("our own values have a JSON form, and memory takes every write");
}

/// The canonical form (RFC 8785).
fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, Refusal> {
    serde_json_canonicalizer::to_vec(value).map_err(|_| Refusal::Malformed)
}

/// The length of a value's shortest text.
fn size(value: &Value) -> u64 {
    struct Count(u64);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("a value has a text, and counting takes every write");
    count.0
}

/// A stamp as in the document: seconds, shortest decimal.
fn stamp(time: WallTime) -> String {
    let mut out = String::new();
    write_millionths(&mut out, time.0).expect("a string takes every write");
    out
}

fn field<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<&'a Value, Refusal> {
    fields.get(key).ok_or(Refusal::Malformed)
}

fn text<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<&'a str, Refusal> {
    field(fields, key)?.as_str().ok_or(Refusal::Malformed)
}

/// The values of an object that has these keys and no other.
fn exactly<'a, const N: usize>(object: &'a Value, keys: [&str; N]) -> Result<[&'a Value; N], Refusal> {
    let fields = object.as_object().filter(|fields| fields.len() == N).ok_or(Refusal::Malformed)?;
    let mut values = [object; N];
    for (value, key) in values.iter_mut().zip(keys) {
        *value = field(fields, key)?;
    }
    Ok(values)
}

fn kind(name: &str) -> Result<MsgType, Refusal> {
    MsgType::ALL.into_iter().find(|kind| kind.name() == name).ok_or(Refusal::Malformed)
}

/// Exactly `digits` lowercase hex digits, at most 16.
fn hex(text: &str, digits: usize) -> Result<u64, Refusal> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != digits || !text.bytes().all(lower) {
        return Err(Refusal::Malformed);
    }
    u64::from_str_radix(text, 16).map_err(|_| Refusal::Malformed)
}

/// Reads one value that means the same to everyone. serde_json stops at 128 levels of nesting.
fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    let left = Cell::new(MAX_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { left: &left }.deserialize(&mut deserializer).map_err(|_| Refusal::Malformed)?;
    deserializer.end().map_err(|_| Refusal::Malformed)?;
    Ok(value)
}

/// Builds a value, refusing what JSON allows and readers disagree on.
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// How many more values this frame may hold.
    left: &'a Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left =
            self.left.get().checked_sub(1).ok_or_else(|| de::Error::custom("more values than a frame may hold"))?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys and without integers beyond 2^53")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        let exact = value <= MAX_JSON_INTEGER;
        if exact { Ok(Value::from(value)) } else { Err(E::custom(format!("{value} is beyond 2^53"))) }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        let exact = value.unsigned_abs() <= MAX_JSON_INTEGER;
        if exact { Ok(Value::from(value)) } else { Err(E::custom(format!("{value} is beyond 2^53"))) }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let exact = value.abs() <= MAX_JSON_INTEGER as f64;
        let number = Number::from_f64(value).filter(|_| exact);
        number.map(Value::Number).ok_or_else(|| E::custom(format!("{value} is beyond 2^53")))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(de::Error::custom(format!("`{key}` is there twice")));
            }
            let value = map.next_value_seed(self)?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Fixed byte arrays as base64 text.
pub mod base64_array {
    use serde::{Deserializer, Serializer, de::Error};

    /// Writes standard base64 with padding.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        super::base64_bytes::serialize(bytes, serializer)
    }

    /// Reads exactly `N` bytes.
    ///
    /// # Errors
    /// Not base64, or of another length.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        let bytes = super::base64_bytes::deserialize(deserializer)?;
        bytes.try_into().map_err(|_| D::Error::custom(format!("expected {N} bytes")))
    }
}

/// Byte strings as base64 text.
pub mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes standard base64 with padding.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads standard base64 with padding; one byte string has one text.
    ///
    /// # Errors
    /// Not base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
