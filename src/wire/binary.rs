//! The binary codec: bincode 2, standard configuration (little endian, varint), behind a leading version byte.
//!
//! bincode is not maintained any more (RUSTSEC-2025-0141) and its 3.0.0 is an empty crate, so 2.0.1 is pinned and stays in this
//! one file; the bytes are pinned by `tests/wire_vectors.rs`, so that a byte-compatible crate can take its place.
//! Two habits of it are guarded against here: it reserves what a hostile length claims, and trailing bytes pass.
//!
//! Layout: version byte ‖ header ‖ payload ‖ 64 bytes of signature over everything before it.

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use bincode::de::read::Reader;
use bincode::de::{Decoder, DecoderImpl};
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

use super::{COMPRESS_ABOVE, Header, Sign, Signature, Signed, VERSION, compress, json};
use crate::id::NodeId;
use crate::io::Refusal;
use crate::time::WallTime;
use crate::wire::message::{JobBody, JobBroadcast, MsgType, Payload};

/// No decoded value may claim more memory than this. [`allowance`] is what really holds; this only needs to be larger.
const LIMIT: usize = 1024 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> = standard().with_limit::<LIMIT>();

/// Payloads of one bundle at most: a guess, twice what a second of the rate limit lets through.
pub const MAX_BUNDLE: usize = 512;

/// The header as it lies on the wire.
#[derive(Encode)]
#[cfg_attr(test, derive(Debug, Decode, PartialEq))]
struct WireHeader {
    network_tag: [u8; 2],
    kind: u8,
    flags: u8,
    sender: NodeId,
    timestamp: WallTime,
    incarnation: u32,
    counter: u64,
}

/// A job as it lies on the wire: its submitter is the envelope's sender, since nobody else may broadcast it.
#[derive(Decode)]
struct JobOnWire {
    counter: u64,
    body: JobBody,
}

/// Flag bit: a recipient follows the header.
const DIRECTED: u8 = 1;
/// Flag bit: the payload is gzip-compressed.
const COMPRESSED: u8 = 2;

type Parts<'a> = (Header, &'a [u8], &'a [u8], Signature);

/// Splits a frame into header, payload, signed bytes and signature.
pub(super) fn split(frame: &[u8]) -> Result<Parts<'_>, Refusal> {
    let (signed, signature) = frame.split_last_chunk::<64>().ok_or(Refusal::Malformed)?;
    let (_version, rest) = signed.split_first().ok_or(Refusal::Malformed)?;
    let (wire, mut payload) = wire_header(rest).ok_or(Refusal::Malformed)?;
    let mut to = None;
    if wire.flags & DIRECTED != 0 {
        let (id, after) = payload.split_first_chunk::<16>().ok_or(Refusal::Malformed)?;
        to = Some(NodeId(*id));
        payload = after;
    }
    if wire.flags & !(DIRECTED | COMPRESSED) != 0 {
        return Err(Refusal::Malformed);
    }
    let header = Header {
        network_tag: u16::from_be_bytes(wire.network_tag),
        kind: MsgType::from_number(wire.kind).ok_or(Refusal::Malformed)?,
        sender: wire.sender,
        to,
        timestamp: wire.timestamp,
        incarnation: wire.incarnation,
        counter: wire.counter,
        compressed: wire.flags & COMPRESSED != 0,
    };
    Ok((header, payload, signed, Signature(*signature)))
}

/// Reads a header, and says what comes after it. By hand: of every frame it is read first.
fn wire_header(bytes: &[u8]) -> Option<(WireHeader, &[u8])> {
    let ([tag_0, tag_1, kind, flags], rest) = bytes.split_first_chunk()?;
    let (sender, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = varint(rest, U64_FOLLOWS)?;
    let (incarnation, rest) = varint(rest, U32_FOLLOWS)?;
    let (counter, rest) = varint(rest, U64_FOLLOWS)?;
    let header = WireHeader {
        network_tag: [*tag_0, *tag_1],
        kind: *kind,
        flags: *flags,
        sender: NodeId(*sender),
        timestamp: WallTime(timestamp),
        incarnation: u32::try_from(incarnation).ok()?,
        counter,
    };
    Some((header, rest))
}

/// First bytes of a number as bincode writes it; what is smaller is the number itself.
const U16_FOLLOWS: u8 = 251;
const U32_FOLLOWS: u8 = 252;
const U64_FOLLOWS: u8 = 253;

/// Reads a number that is not wider than the type that `widest` begins.
fn varint(bytes: &[u8], widest: u8) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match *first {
        small @ ..U16_FOLLOWS => Some((u64::from(small), rest)),
        wide if wide > widest => None,
        U16_FOLLOWS => rest.split_first_chunk().map(|(n, rest)| (u64::from(u16::from_le_bytes(*n)), rest)),
        U32_FOLLOWS => rest.split_first_chunk().map(|(n, rest)| (u64::from(u32::from_le_bytes(*n)), rest)),
        U64_FOLLOWS.. => rest.split_first_chunk().map(|(n, rest)| (u64::from_le_bytes(*n), rest)),
    }
}

/// Whether an encoded announce ends in this record signature, and if so, whether it asks for records: both stand last.
pub(super) fn ends_with_record(payload: &[u8], signature: &Signature) -> Option<bool> {
    let (want_records, record) = payload.split_last()?;
    (*want_records <= 1 && record.ends_with(&signature.0)).then_some(*want_records == 1)
}

/// Decodes what a payload of this kind holds: all of it before `each` sees any.
pub(super) fn payloads(
    header: &Header,
    bytes: &[u8],
    max_message_size: u32,
    each: &mut dyn FnMut(Payload),
) -> Result<(), Refusal> {
    if header.kind != MsgType::Bundle {
        each(decode_payload(header.kind, header.sender, bytes)?);
        return Ok(());
    }
    bundle_payloads(header.sender, bytes, max_message_size)?.into_iter().for_each(each);
    Ok(())
}

/// Decodes what a bundle of this sender holds, once it is unpacked or unsealed.
///
/// # Errors
/// `TooLarge` or `Malformed`.
pub fn bundle_payloads(sender: NodeId, bytes: &[u8], max_message_size: u32) -> Result<Vec<Payload>, Refusal> {
    let mut payloads = Vec::new();
    let mut rest = bytes;
    while let Some((kind, after)) = rest.split_first() {
        if payloads.len() == MAX_BUNDLE {
            return Err(Refusal::TooLarge);
        }
        let kind = MsgType::from_number(*kind).ok_or(Refusal::Malformed)?;
        let (length, used): (u32, usize) = decode_prefix(after)?;
        let (item, after) = after[used..].split_at_checked(length as usize).ok_or(Refusal::Malformed)?;
        if length > kind.max_payload(max_message_size) {
            return Err(Refusal::TooLarge);
        }
        payloads.push(decode_payload(kind, sender, item)?);
        rest = after;
    }
    Ok(payloads)
}

/// The kinds and encoded sizes of a bundle's items, for accounting, in either codec: empty where the frame is no readable
/// bundle of ours.
#[must_use]
pub fn bundle_items(frame: &[u8]) -> Vec<(MsgType, usize)> {
    let mut items = Vec::new();
    if frame.first() == Some(&b'{') {
        return json::bundle_items(frame);
    }
    let Ok((header, payload, ..)) = split(frame) else { return items };
    if header.kind != MsgType::Bundle {
        return items;
    }
    let unpacked;
    let mut rest = payload;
    if header.compressed {
        let Ok(bytes) = compress::gunzip(payload, MsgType::Bundle.max_payload(u32::MAX)) else { return items };
        unpacked = bytes;
        rest = &unpacked;
    }
    while let Some((kind, after)) = rest.split_first() {
        let Some(kind) = MsgType::from_number(*kind) else { break };
        let Ok((length, used)) = decode_prefix::<u32>(after) else { break };
        let Some((_, after)) = after[used..].split_at_checked(length as usize) else { break };
        items.push((kind, 1 + used + length as usize));
        rest = after;
    }
    items
}

fn decode_payload(kind: MsgType, sender: NodeId, bytes: &[u8]) -> Result<Payload, Refusal> {
    match kind {
        MsgType::PeerAnnounce => Payload::PeerAnnounce(decode(bytes)?),
        MsgType::PeerRecords => Payload::PeerRecords(decode(bytes)?),
        MsgType::Ping => Payload::Ping(decode(bytes)?),
        MsgType::PeerProbe => Payload::PeerProbe(decode(bytes)?),
        MsgType::PeerSeen => Payload::PeerSeen(decode(bytes)?),
        MsgType::Goodbye => Payload::Goodbye(decode(bytes)?),
        MsgType::JobBroadcast => {
            let JobOnWire { counter, body } = decode(bytes)?;
            Payload::JobBroadcast(JobBroadcast { counter, submitter: sender, body })
        }
        MsgType::JobBid => Payload::JobBid(decode(bytes)?),
        MsgType::AuctionCoordinate => Payload::AuctionCoordinate(decode(bytes)?),
        MsgType::ClaimVote => Payload::ClaimVote(decode(bytes)?),
        MsgType::JobClaim => Payload::JobClaim(decode(bytes)?),
        MsgType::ClaimCertificate => Payload::ClaimCertificate(decode(bytes)?),
        MsgType::CertificateRequest => Payload::CertificateRequest(decode(bytes)?),
        MsgType::JobHeartbeat => Payload::JobHeartbeat(decode(bytes)?),
        MsgType::JobResult => Payload::JobResult(decode(bytes)?),
        MsgType::Takeover => Payload::Takeover(decode(bytes)?),
        MsgType::LeaseLapsed => Payload::LeaseLapsed(decode(bytes)?),
        MsgType::OutputRequest => Payload::OutputRequest(decode(bytes)?),
        MsgType::OutputChunk => Payload::OutputChunk(decode(bytes)?),
        MsgType::StateRequest => Payload::StateRequest(decode(bytes)?),
        MsgType::ReputationUpdate => Payload::ReputationUpdate(decode(bytes)?),
        MsgType::TokenTransaction => Payload::TokenTransaction(decode(bytes)?),
        MsgType::LedgerVote => Payload::LedgerVote(decode(bytes)?),
        MsgType::LedgerCertificate => Payload::LedgerCertificate(decode(bytes)?),
        MsgType::AccountRequest => Payload::AccountRequest(decode(bytes)?),
        MsgType::AccountRecord => Payload::AccountRecord(decode(bytes)?),
        MsgType::Evidence => Payload::Evidence(decode(bytes)?),
        MsgType::AccountHeads => Payload::AccountHeads(decode(bytes)?),
        MsgType::PenaltyVote => Payload::PenaltyVote(decode(bytes)?),
        MsgType::PenaltyRecords => Payload::PenaltyRecords(decode(bytes)?),
        MsgType::KeyRotation => Payload::KeyRotation(decode(bytes)?),
        MsgType::SealedCommand => Payload::SealedCommand(decode(bytes)?),
        MsgType::SealedBundle => Payload::SealedBundle(decode(bytes)?),
        MsgType::Bundle => return Err(Refusal::Malformed),
    }
    .checked()
}

/// Encodes a payload.
pub(super) fn encode(payload: &Payload, out: &mut Vec<u8>) {
    match payload {
        Payload::PeerAnnounce(p) => encode_into(p, out),
        Payload::PeerRecords(p) => encode_into(p, out),
        Payload::Ping(p) => encode_into(p, out),
        Payload::PeerProbe(p) => encode_into(p, out),
        Payload::PeerSeen(p) => encode_into(p, out),
        Payload::Goodbye(p) => encode_into(p, out),
        Payload::JobBroadcast(JobBroadcast { counter, submitter: _, body }) => {
            encode_into(counter, out);
            encode_into(body, out);
        }
        Payload::JobBid(p) => encode_into(p, out),
        Payload::AuctionCoordinate(p) => encode_into(p, out),
        Payload::ClaimVote(p) => encode_into(p, out),
        Payload::JobClaim(p) => encode_into(p, out),
        Payload::ClaimCertificate(p) => encode_into(p, out),
        Payload::CertificateRequest(p) => encode_into(p, out),
        Payload::JobHeartbeat(p) => encode_into(p, out),
        Payload::JobResult(p) => encode_into(p, out),
        Payload::Takeover(p) => encode_into(p, out),
        Payload::LeaseLapsed(p) => encode_into(p, out),
        Payload::OutputRequest(p) => encode_into(p, out),
        Payload::OutputChunk(p) => encode_into(p, out),
        Payload::StateRequest(p) => encode_into(p, out),
        Payload::ReputationUpdate(p) => encode_into(p, out),
        Payload::TokenTransaction(p) => encode_into(p, out),
        Payload::LedgerVote(p) => encode_into(p, out),
        Payload::LedgerCertificate(p) => encode_into(p, out),
        Payload::AccountRequest(p) => encode_into(p, out),
        Payload::AccountRecord(p) => encode_into(p, out),
        Payload::Evidence(p) => encode_into(p, out),
        Payload::AccountHeads(p) => encode_into(p, out),
        Payload::PenaltyVote(p) => encode_into(p, out),
        Payload::PenaltyRecords(p) => encode_into(p, out),
        Payload::KeyRotation(p) => encode_into(p, out),
        Payload::SealedCommand(p) => encode_into(p, out),
        Payload::SealedBundle(p) => encode_into(p, out),
    }
}

/// Writes and signs an envelope.
pub(super) fn seal(
    header: Header,
    items: &[(MsgType, &[u8])],
    network_id: &str,
    sign: &mut Sign<'_>,
    out: &mut Vec<u8>,
) {
    let bundled;
    let mut payload = items[0].1;
    if items.len() > 1 {
        bundled = bundle(items);
        payload = &bundled;
    }
    let packed = if payload.len() > COMPRESS_ABOVE { compress::gzip_if_smaller(payload) } else { None };
    let start = out.len();
    out.push(VERSION);
    let wire = WireHeader {
        network_tag: header.network_tag.to_be_bytes(),
        kind: if items.len() > 1 { MsgType::Bundle as u8 } else { items[0].0 as u8 },
        flags: if header.to.is_some() { DIRECTED } else { 0 } | if packed.is_some() { COMPRESSED } else { 0 },
        sender: header.sender,
        timestamp: header.timestamp,
        incarnation: header.incarnation,
        counter: header.counter,
    };
    encode_into(&wire, out);
    if let Some(to) = header.to {
        out.extend_from_slice(&to.0);
    }
    out.extend_from_slice(packed.as_deref().unwrap_or(payload));
    let signature = sign(&Signed { network_id, bytes: &out[start..] });
    out.extend_from_slice(&signature.0);
}

/// Payloads of the binary codec as one.
#[must_use]
pub fn bundle(items: &[(MsgType, &[u8])]) -> Vec<u8> {
    assert!(items.len() <= MAX_BUNDLE, "the outbox splits larger bundles");
    let mut out = Vec::with_capacity(items.iter().map(|(_, bytes)| bytes.len() + 6).sum());
    for (kind, bytes) in items {
        out.push(*kind as u8);
        encode_into(&u32::try_from(bytes.len()).expect("a payload is bounded by max_message_size"), &mut out);
        out.extend_from_slice(bytes);
    }
    out
}

/// Encodes any value of ours in the standard configuration; also the form of records in the store and of signed statements.
pub fn encode_into<T: Encode>(value: &T, out: &mut Vec<u8>) {
    /// bincode's writer over a vector, without the intermediate copy of `encode_to_vec`.
    struct Append<'a>(&'a mut Vec<u8>);
    impl bincode::enc::write::Writer for Append<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    bincode::encode_into_writer(value, Append(out), CONFIG).expect("our own values encode into memory");
}

/// Decodes exactly these bytes: a byte left over is an error.
///
/// # Errors
/// `Malformed`.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, Refusal> {
    let (value, used) = decode_prefix(bytes)?;
    if used == bytes.len() { Ok(value) } else { Err(Refusal::Malformed) }
}

fn decode_prefix<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), Refusal> {
    decode_within(bytes).map_err(|_| Refusal::Malformed)
}

fn decode_within<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    let mut decoder = DecoderImpl::new(Bytes(bytes), CONFIG, ());
    // The limit is a constant of the type, so what this input may not claim is claimed before it comes to that.
    decoder.claim_bytes_read(LIMIT.saturating_sub(allowance(bytes.len())))?;
    let value = T::decode(&mut decoder)?;
    Ok((value, bytes.len() - decoder.reader().0.len()))
}

/// The memory that `length` bytes may claim, by bincode's count: a list is counted by the size of its elements in memory, a
/// number by its widest form. None of our values claims more than eight times its bytes, but for some dozens of short
/// texts, of which one byte claims 24.
fn allowance(length: usize) -> usize {
    length.saturating_mul(8).saturating_add(4 * 1024)
}

/// bincode's reader over a slice: its own does not say how much is left.
struct Bytes<'a>(&'a [u8]);

impl Reader for Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<(), DecodeError> {
        let missing = || DecodeError::UnexpectedEnd { additional: into.len() - self.0.len() };
        let (taken, rest) = self.0.split_at_checked(into.len()).ok_or_else(missing)?;
        into.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }

    fn peek_read(&mut self, length: usize) -> Option<&[u8]> {
        self.0.get(..length)
    }

    fn consume(&mut self, length: usize) {
        self.0 = self.0.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A length as the codec writes it.
    fn length(n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_into(&n, &mut bytes);
        bytes
    }

    /// The limit is checked before anything is reserved, the end of the input after it.
    fn refused_unreserved<T: Decode<()>>(bytes: &[u8]) -> bool {
        let unreserved = |e| matches!(e, DecodeError::LimitExceeded | DecodeError::OutsideUsizeRange(_));
        decode_within::<T>(bytes).is_err_and(unreserved)
    }

    #[test]
    fn a_claimed_length_reserves_no_more_than_a_small_multiple_of_the_bytes_that_are_there() {
        for claim in [5_000, 60 << 20, (1 << 30) - 1, 1 << 40, u64::MAX] {
            let bytes = length(claim);
            assert!(refused_unreserved::<Vec<u8>>(&bytes), "{claim} bytes");
            assert!(refused_unreserved::<String>(&bytes), "{claim} bytes of text");
            assert!(refused_unreserved::<Vec<Signature>>(&bytes), "{claim} signatures");
        }
        let short = |e| matches!(e, DecodeError::UnexpectedEnd { .. });
        assert!(decode_within::<Vec<u8>>(&length(1_000)).is_err_and(short));
    }

    #[test]
    fn honest_lists_fit_into_their_allowance() {
        for size in [0, 1, 100, 5_000, 1 << 20, 40 << 20] {
            let (output, numbers) = (vec![7u8; size], vec![1u64; size.min(1 << 20)]);
            let mut bytes = Vec::new();
            encode_into(&output, &mut bytes);
            assert_eq!(decode(&bytes), Ok(output));
            bytes.clear();
            encode_into(&numbers, &mut bytes);
            assert_eq!(decode(&bytes), Ok(numbers), "{size} numbers of one byte each");
        }
    }

    proptest! {
        #[test]
        fn the_header_read_by_hand_is_the_one_that_bincode_reads(
            fixed in any::<[u8; 20]>(),
            numbers in proptest::collection::vec(prop_oneof![Just(0), 248..=255u8, any::<u8>()], 0..30),
        ) {
            let bytes = [&fixed[..], &numbers].concat();
            let by_bincode = decode_prefix::<WireHeader>(&bytes).ok();
            let by_hand = wire_header(&bytes).map(|(header, rest)| (header, bytes.len() - rest.len()));
            prop_assert_eq!(by_hand, by_bincode);
        }
    }

    #[test]
    fn a_byte_left_over_is_refused() {
        let mut bytes = length(7);
        assert_eq!(decode(&bytes), Ok(7u64));
        bytes.push(0);
        assert_eq!(decode::<u64>(&bytes), Err(Refusal::Malformed));
    }
}
