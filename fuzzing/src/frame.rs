//! Any bytes as a frame: read or refused, and what was read can be said again in either codec.

use marlos::config::Codec;
use marlos::io::Refusal;
use marlos::time::WallTime;
use marlos::units::MAX_JSON_INTEGER;
use marlos::wire::{Envelope, Header, MsgType, Payload, Signature, binary, encode, network_tag, seal_with};

/// As the default configuration has it, but small enough that a fuzzer does not spend its time in copying.
pub const MAX_MESSAGE: u32 = 256 * 1024;
const NETWORK: &str = "marlos";

/// Reads `data` as a frame, and says again what it says.
pub fn run(data: &[u8]) {
    let _ = binary::bundle_items(data);
    let Ok(envelope) = Envelope::peek(data, MAX_MESSAGE) else { return };
    assert!(!envelope.signed(NETWORK).bytes.is_empty(), "a signature covers something");
    assert!(envelope.repeats_record(&Signature([1; 64])).is_none() || envelope.header.kind == MsgType::PeerAnnounce);
    let mut payloads = Vec::new();
    if envelope.payloads(MAX_MESSAGE, &mut |payload| payloads.push(payload)).is_err() {
        assert!(payloads.is_empty(), "a bundle is taken whole or not at all");
        return;
    }
    for payload in &payloads {
        assert!(payload.within_limits(), "what is beyond its limits is refused: {payload:?}");
        for codec in [Codec::Bincode, Codec::Json] {
            says_again(&envelope.header, codec, payload);
        }
    }
}

/// `open(seal(m)) = m`, header and payload; except that what grows beyond its limit in this codec is refused for that.
pub fn says_again(like: &Header, codec: Codec, payload: &Payload) {
    let header = Header {
        network_tag: network_tag(NETWORK),
        kind: payload.kind(),
        counter: like.counter.max(1),
        // A stamp that a double cannot hold is never within the tolerance: JSON has no form for it.
        timestamp: WallTime(like.timestamp.0.min(MAX_JSON_INTEGER)),
        compressed: false,
        ..*like
    };
    // A job's broadcast does not name its submitter in binary: it is the sender's, whatever came in JSON.
    let header = match payload {
        Payload::JobBroadcast(job) => Header { sender: job.submitter, ..header },
        _ => header,
    };
    let (mut encoded, mut sealed) = (Vec::new(), Vec::new());
    encode(codec, payload, &mut encoded);
    let sign = &mut |_: &marlos::wire::Signed<'_>| Signature([7; 64]);
    seal_with(header, codec, &[(header.kind, &encoded)], NETWORK, sign, &mut sealed);
    let envelope = match Envelope::peek(&sealed, MAX_MESSAGE) {
        Ok(envelope) => envelope,
        Err(refusal) => {
            assert!(refusal == Refusal::TooLarge && sealed.len() > MAX_MESSAGE as usize, "{refusal:?}: {payload:?}");
            return;
        }
    };
    assert_eq!(Header { compressed: false, ..envelope.header }, header, "in {codec:?}");
    let mut again = Vec::new();
    match envelope.payloads(MAX_MESSAGE, &mut |payload| again.push(payload)) {
        Ok(()) => assert_eq!(again, std::slice::from_ref(payload), "in {codec:?}"),
        Err(refusal) => {
            let limit = header.kind.max_payload(MAX_MESSAGE) as usize;
            assert!(refusal == Refusal::TooLarge && encoded.len() > limit, "{refusal:?} in {codec:?}: {payload:?}");
        }
    }
}
