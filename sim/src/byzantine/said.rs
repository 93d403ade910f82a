//! What a misbehaving node hears and says, in the world's numbers.

use marlos::config::Codec;
use marlos::id::{Link, NodeId};
use marlos::time::WallTime;
use marlos::wire::message::JobBid;
use marlos::wire::{self, Envelope, Header, MsgType, Payload, Sign};

use crate::scenario::NodeNo;
use crate::world::Origin;

/// Larger than any frame.
pub(super) const ANY_SIZE: u32 = 64 * 1024 * 1024;

/// Where a frame is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// On everyone's topic.
    All,
    /// On the topic of one node. What the envelope says of its recipient is another matter.
    One(NodeNo),
    /// In a datagram.
    Beacon,
}

/// A frame on its way out.
#[derive(Clone, Debug)]
pub struct Said {
    /// Where it goes.
    pub whom: Whom,
    /// What it says.
    pub form: Form,
}

/// How far a frame is.
#[derive(Clone, Debug)]
pub enum Form {
    /// To be sealed with the node's own key and next nonce when it has passed every behaviour.
    Open(Open),
    /// To be sent as it is.
    Sealed(Sealed),
}

/// A frame that is not sealed yet: whatever is changed in it will be signed.
#[derive(Clone, Debug)]
pub struct Open {
    /// The recipient that the envelope names.
    pub addressed: Option<NodeId>,
    /// Its stamp.
    pub timestamp: WallTime,
    /// One, or a bundle.
    pub payloads: Vec<Payload>,
}

/// Bytes.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What the network takes it for: its delays depend on it.
    pub kind: MsgType,
    /// The frame.
    pub bytes: Vec<u8>,
    /// Where it really comes from, if it was said before: the same bytes are the same message.
    pub origin: Option<Origin>,
}

/// A frame that has come in, before the node sees it.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// On which of the node's links.
    pub link: Link,
    /// Where it really comes from.
    pub origin: Origin,
    /// The frame.
    pub bytes: &'a [u8],
}

/// What becomes of a frame that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// The node hears it.
    Pass,
    /// It never does.
    Drop,
    /// It does so much later.
    Delay(marlos::time::Span),
}

impl Heard<'_> {
    /// Its envelope's head, where it has one.
    #[must_use]
    pub fn header(&self) -> Option<Header> {
        header(self.bytes)
    }

    /// What it says, signed or not; nothing where it cannot be read.
    #[must_use]
    pub fn payloads(&self) -> Vec<Payload> {
        let mut payloads = Vec::new();
        if let Ok(envelope) = Envelope::peek(self.bytes, ANY_SIZE) {
            // What cannot be unpacked says nothing.
            let _ = envelope.payloads(ANY_SIZE, &mut |payload| payloads.push(payload));
        }
        payloads
    }
}

impl Said {
    /// A frame of the node's own, opened.
    ///
    /// # Panics
    /// Where it is none: what a node sends can be read.
    #[must_use]
    pub fn open(whom: Whom, bytes: &[u8]) -> Said {
        let envelope = Envelope::peek(bytes, ANY_SIZE).expect("a node's own frame can be read");
        let mut payloads = Vec::new();
        envelope.payloads(ANY_SIZE, &mut |payload| payloads.push(payload)).expect("and unpacked");
        let Header { to: addressed, timestamp, .. } = envelope.header;
        Said { whom, form: Form::Open(Open { addressed, timestamp, payloads }) }
    }

    /// What it says, where it is not sealed yet.
    #[must_use]
    pub fn payloads(&self) -> &[Payload] {
        match &self.form {
            Form::Open(open) => &open.payloads,
            Form::Sealed(_) => &[],
        }
    }

    /// The bids in it.
    #[must_use]
    pub fn bids(&self) -> Vec<JobBid> {
        let bid = |payload: &Payload| match payload {
            Payload::JobBid(bid) => Some(bid.clone()),
            _ => None,
        };
        self.payloads().iter().filter_map(bid).collect()
    }

    /// The same frame to one node alone. A broadcast stays one by its envelope.
    #[must_use]
    pub fn to(&self, node: NodeNo) -> Said {
        Said { whom: Whom::One(node), form: self.form.clone() }
    }
}

/// A frame's head, where it has one.
#[must_use]
pub fn header(frame: &[u8]) -> Option<Header> {
    Envelope::peek(frame, ANY_SIZE).ok().map(|envelope| envelope.header)
}

/// A frame with its head changed and the signature that it had; nothing where it cannot be read.
pub fn changed(frame: &[u8], codec: Codec, change: impl FnOnce(&mut Header)) -> Option<Vec<u8>> {
    let envelope = Envelope::peek(frame, ANY_SIZE).ok()?;
    let (mut payloads, mut header) = (Vec::new(), envelope.header);
    envelope.payloads(ANY_SIZE, &mut |payload| payloads.push(payload)).ok()?;
    change(&mut header);
    Some(sealed_with(header, codec, "", &payloads, &mut |_| envelope.signature))
}

/// A frame, signed by whatever is at hand.
pub(super) fn sealed_with(
    header: Header,
    codec: Codec,
    network_id: &str,
    payloads: &[Payload],
    sign: &mut Sign<'_>,
) -> Vec<u8> {
    let encode = |payload: &Payload| {
        let mut bytes = Vec::new();
        wire::encode(codec, payload, &mut bytes);
        (payload.kind(), bytes)
    };
    let encoded: Vec<(MsgType, Vec<u8>)> = payloads.iter().map(encode).collect();
    let items: Vec<(MsgType, &[u8])> = encoded.iter().map(|(kind, bytes)| (*kind, &bytes[..])).collect();
    let mut bytes = Vec::new();
    wire::seal_with(header, codec, &items, network_id, sign, &mut bytes);
    bytes
}
