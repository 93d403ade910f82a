//! A run as a capture file: each frame as it reaches each node, for Wireshark and `tshark`.
//!
//! Every node is an interface of its own, so that `frame.interface_name == "n3"` is what n3 heard. Frames are wrapped as they would be on
//! the way: IPv4 with the nodes' addresses in 10.0.0.0/8, UDP to the multicast group for beacons, and for everything else TCP, cut into
//! segments, with sequence numbers that go on for as long as two ports talk. The payload is the frame alone, without the topic and the
//! framing of ZMTP. A comment on the first packet of each frame says what it is, and how long it was under way.
//!
//! Not there, since the network of the simulator has no such packets: handshakes, acknowledgements, retransmissions (what was lost comes
//! late, once) and what never arrived.
//!
//! The file's own format is [draft-ietf-opsawg-pcapng](https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/): the few blocks of it
//! that are needed are written here; checksums and headers of packets are etherparse's.

use std::collections::BTreeMap;
use std::io::{self, Write};

use etherparse::PacketBuilder;
use marlos::id::Link;
use marlos::time::Time;
use marlos::wire::{Envelope, MsgType, binary};

use crate::network::Delivery;
use crate::scenario::{NodeNo, Scenario};
use crate::world::{EPOCH, Origin};

/// Bytes of a TCP segment, as the model of loss counts them; a beacon is smaller.
const SEGMENT_BYTES: usize = 1_460;
/// `LINKTYPE_RAW`: packets begin with their IP header.
const RAW_IP: u16 = 101;
/// What a socket's buffer and a fast interface leave of a hop count in one local network.
const HOPS: u8 = 64;
/// Where beacons go: `network.multicast_group` and `network.beacon_port` of a real node, unless it is told otherwise.
const BEACON_TO: ([u8; 4], u16) = ([239, 255, 77, 77], 5557);
const PUB_PORT: u16 = 5_555;
const SUB_PORT: u16 = 5_556;
/// The first port of those that a system gives to a dialler.
const DIALLER_PORTS: u16 = 49_152;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const OPTION_COMMENT: u16 = 1;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TIME_RESOLUTION: u16 = 9;
const OPTION_USER_APPLICATION: u16 = 4;

/// A capture under way.
#[derive(Debug)]
pub struct Pcapng<W> {
    file: W,
    /// The next sequence number of each stream: from and to, nodes and ports.
    sequences: BTreeMap<(NodeNo, NodeNo, u16, u16), u32>,
    packet: Vec<u8>,
    /// What went wrong first: after it, nothing is written.
    failed: Option<io::Error>,
}

impl<W: Write> Pcapng<W> {
    /// Of a world before its first event.
    pub fn begin(file: W, scenario: &Scenario) -> Pcapng<W> {
        let mut capture = Pcapng { file, sequences: BTreeMap::new(), packet: Vec::new(), failed: None };
        let mut header = Vec::new();
        header.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        header.extend_from_slice(&1u16.to_le_bytes());
        header.extend_from_slice(&0u16.to_le_bytes());
        header.extend_from_slice(&u64::MAX.to_le_bytes()); // how long the section is, is not known
        let what = format!("scenario {}, seed {}", scenario.name, scenario.seed);
        option(&mut header, OPTION_COMMENT, what.as_bytes());
        option(&mut header, OPTION_USER_APPLICATION, concat!("marlos-sim ", env!("CARGO_PKG_VERSION")).as_bytes());
        capture.block(SECTION_HEADER, &header);
        for node in &scenario.nodes {
            let mut interface = Vec::new();
            interface.extend_from_slice(&RAW_IP.to_le_bytes());
            interface.extend_from_slice(&[0; 2]);
            interface.extend_from_slice(&0u32.to_le_bytes()); // packets are whole
            option(&mut interface, OPTION_IF_NAME, node.name.as_bytes());
            option(&mut interface, OPTION_IF_TIME_RESOLUTION, &[9]);
            capture.block(INTERFACE, &interface);
        }
        capture
    }

    /// A frame reaches a node.
    pub fn arrived(&mut self, now: Time, delivery: Delivery, origin: Origin, frame: &[u8]) {
        let comment = format!("{}, sealed by n{} {} before", kinds(frame), origin.sender, now.since(origin.at));
        let Delivery { from, to, link, .. } = delivery;
        if link == Link::BEACON {
            let (group, port) = BEACON_TO;
            let headers = PacketBuilder::ipv4(address(from), group, 1).udp(port, port);
            self.packet.clear();
            let built = headers.write(&mut self.packet, frame).map_err(io::Error::other);
            return self.packet(now, to, &comment, built);
        }
        let (source, destination) = ports(delivery);
        let mut comment = Some(comment);
        for segment in frame.chunks(SEGMENT_BYTES) {
            let sequence = self.sequences.entry((from, to, source, destination)).or_insert(1);
            let headers = PacketBuilder::ipv4(address(from), address(to), HOPS);
            let headers = headers.tcp(source, destination, *sequence, u16::MAX).psh().ack(1);
            *sequence = sequence.wrapping_add(segment.len() as u32);
            self.packet.clear();
            let built = headers.write(&mut self.packet, segment).map_err(io::Error::other);
            self.packet(now, to, &comment.take().unwrap_or_default(), built);
        }
    }

    /// The run is over.
    ///
    /// # Errors
    /// The first thing that could not be written.
    pub fn end(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }

    /// Writes `self.packet`, if it was `built`, as captured at `node`.
    fn packet(&mut self, now: Time, node: NodeNo, comment: &str, built: io::Result<()>) {
        if let Err(error) = built {
            self.failed.get_or_insert(error);
            return;
        }
        let nanoseconds = (EPOCH.0 + now.0) * 1_000;
        let length = u32::try_from(self.packet.len()).expect("a packet is short").to_le_bytes();
        let mut body = Vec::with_capacity(self.packet.len() + comment.len() + 32);
        body.extend_from_slice(&u32::try_from(node).expect("few nodes").to_le_bytes());
        body.extend_from_slice(&((nanoseconds >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(nanoseconds as u32).to_le_bytes());
        body.extend_from_slice(&length);
        body.extend_from_slice(&length);
        body.extend_from_slice(&self.packet);
        body.resize(body.len().next_multiple_of(4), 0);
        if !comment.is_empty() {
            option(&mut body, OPTION_COMMENT, comment.as_bytes());
        }
        self.block(ENHANCED_PACKET, &body);
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        // Options that were begun are ended.
        let end_of_options = [0; 4];
        let length = u32::try_from(body.len() + end_of_options.len() + 12).expect("a block is short").to_le_bytes();
        let parts: [&[u8]; 5] = [&kind.to_le_bytes(), &length, body, &end_of_options, &length];
        self.failed = parts.iter().try_for_each(|part| self.file.write_all(part)).err();
    }
}

/// What a frame says it is; nobody has to believe it.
fn kinds(frame: &[u8]) -> String {
    let Ok(envelope) = Envelope::peek(frame, u32::MAX) else { return "no readable frame".to_owned() };
    if envelope.header.kind != MsgType::Bundle {
        return envelope.header.kind.name().to_owned();
    }
    let items: Vec<&str> = binary::bundle_items(frame).iter().map(|(kind, _)| kind.name()).collect();
    format!("BUNDLE of {}", items.join(", "))
}

/// As the endpoints of the world have it.
fn address(node: NodeNo) -> [u8; 4] {
    [10, (node >> 16) as u8, (node >> 8) as u8, node as u8]
}

/// The ports that a frame comes from and goes to: a subscriber has dialled the sender's PUB, or the sender has
/// dialled the receiver's SUB.
fn ports(Delivery { to, link, .. }: Delivery) -> (u16, u16) {
    let of = |number: u32| DIALLER_PORTS + (number & 0x1fff) as u16;
    if link == Link::INBOUND {
        return (of(to as u32), SUB_PORT);
    }
    // A first contact has two connections, and both are numbered from far above the members'.
    let own = of(link.0) + if link.0 > 0xffff { 0x2000 } else { 0 };
    (PUB_PORT, own)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
