//! A peer played by hand: it seals whatever a test wants said, in whosever name.

use marlos::Node;
use marlos::config::Codec;
use marlos::id::{Link, NodeId};
use marlos::identity::Keys;
use marlos::io::{Event, JobSpec, Refusal};
use marlos::membership::gossip::sign_record;
use marlos::quorum::Statement;
use marlos::time::{Span, Time, WallTime};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::{Announce, ClaimVote, Consistency, KeyRotation, PeerAnnounce, Ping};
use marlos::wire::{Header, MsgType, Payload, Signature, Signed, encode, network_tag, seal};

use crate::net::{EPOCH_US, Net, What, config, keys};

#[derive(Clone)]
pub struct Hand {
    pub keys: Keys,
    pub incarnation: u32,
    pub counter: u64,
    /// Of its record.
    pub sequence: u32,
    pub codec: Codec,
    pub network: String,
    pub stamp_off_us: i64,
}

impl Hand {
    /// The hand that plays the node of this number.
    pub fn new(at: usize) -> Hand {
        let (codec, network) = (Codec::Bincode, "marlos".to_owned());
        Hand { keys: keys(at), incarnation: 1, counter: 0, sequence: 1, codec, network, stamp_off_us: 0 }
    }

    pub fn id(&self) -> NodeId {
        self.keys.id()
    }

    pub fn record(&self) -> Announce {
        let unsigned = Announce {
            node_id: self.id(),
            node_name: "hand".into(),
            public_key: *self.keys.genesis(),
            rotations: self.keys.chain().to_vec(),
            incarnation: self.incarnation,
            sequence: self.sequence,
            signed_at: WallTime(EPOCH_US),
            pub_endpoint: "tcp://nowhere:1".into(),
            sub_endpoint: "tcp://nowhere:2".into(),
            protocol_version: 1,
            capabilities: vec!["shell".into()],
            trust_score: Ppm(500_000),
            active_jobs: 0,
            wallet_balance: Tokens(0),
            record_signature: Signature([0; 64]),
        };
        sign_record(unsigned, &self.keys, &self.network)
    }

    pub fn header(&mut self, now: Time, to: Option<NodeId>, kind: MsgType) -> Header {
        self.counter += 1;
        Header {
            network_tag: network_tag(&self.network),
            kind,
            sender: self.id(),
            to,
            timestamp: WallTime(EPOCH_US + now.0).offset(self.stamp_off_us),
            incarnation: self.incarnation,
            counter: self.counter,
            compressed: false,
        }
    }

    pub fn seal(&mut self, now: Time, to: Option<NodeId>, payload: &Payload) -> Vec<u8> {
        let header = self.header(now, to, payload.kind());
        self.seal_as(header, payload)
    }

    pub fn seal_as(&self, header: Header, payload: &Payload) -> Vec<u8> {
        let (mut encoded, mut frame) = (Vec::new(), Vec::new());
        encode(self.codec, payload, &mut encoded);
        seal(header, self.codec, &[(header.kind, &encoded)], &self.network, &self.keys, &mut frame);
        frame
    }

    pub fn announce(&mut self, now: Time) -> Vec<u8> {
        let record = self.record();
        self.seal(now, None, &Payload::PeerAnnounce(Box::new(PeerAnnounce { record, want_records: false })))
    }

    /// Another key, made of this byte; what it says of it in the last envelope of the old one.
    pub fn rotate(&mut self, now: Time, secret: u8) -> Vec<u8> {
        let at = WallTime(EPOCH_US + now.0);
        let next = self.keys.rotated(&[secret; 32], at, &self.network).expect("it may");
        let old = std::mem::replace(&mut self.keys, next);
        self.sequence += 1;
        let record = self.record();
        let new = std::mem::replace(&mut self.keys, old);
        let frame = self.seal(now, None, &Payload::KeyRotation(Box::new(KeyRotation { record })));
        self.keys = new;
        frame
    }

    pub fn ping(&mut self, now: Time) -> Vec<u8> {
        self.seal(now, None, &ping())
    }

    pub fn vote_signature(&self, statement: &Statement) -> Signature {
        self.keys.sign(&Signed { network_id: &self.network, bytes: &statement.signed_bytes() })
    }

    pub fn vote(&self, statement: &Statement) -> Payload {
        let vote_signature = self.vote_signature(statement);
        Payload::ClaimVote(ClaimVote { job_id: statement.job_id, round: statement.round, vote_signature })
    }

    /// Says something to a node of the network, and returns what that node does.
    pub fn say(&mut self, net: &mut Net, to: usize, payload: &Payload) -> Vec<What> {
        let frame = self.seal(net.now, None, payload);
        net.deliver(to, Link::INBOUND, &frame)
    }
}

pub fn ping() -> Payload {
    Payload::Ping(Ping { members_digest: 0, ledger_digest: 0, pongs: [None, None] })
}

/// One real node, number 0, among `hands` peers played by hand, which it sees alive.
pub fn among_hands(hands: usize) -> (Net, Vec<Hand>) {
    let mut net = Net::new(vec![config(0)]);
    net.start(0);
    net.run_for(Span::millis(2_500));
    let mut hands: Vec<Hand> = (1..=hands).map(Hand::new).collect();
    for hand in &mut hands {
        let frame = hand.announce(net.now);
        net.deliver(0, Link::INBOUND, &frame);
    }
    net.run_for(Span::millis(100));
    (net, hands)
}

pub fn shell(deadline: Span) -> JobSpec<'static> {
    JobSpec {
        job_type: "shell",
        command: "echo done",
        requirements: &[],
        payment: Tokens::whole(10),
        priority: Ppm(500_000),
        deadline,
        max_attempts: 1,
        consistency: Consistency::Quorum,
        private: false,
    }
}

pub fn refusals(said: &[What]) -> Vec<Refusal> {
    let reason = |what: &What| match what {
        What::Reported(Event::Refused { reason, .. }) => Some(*reason),
        _ => None,
    };
    said.iter().filter_map(reason).collect()
}

pub fn sent(said: &[What]) -> Vec<MsgType> {
    let kind = |what: &What| match what {
        What::Sent { kind, .. } => Some(*kind),
        _ => None,
    };
    said.iter().filter_map(kind).collect()
}

/// All that a node is, but for what counts refusals and what refills with time.
pub fn state_of(node: &Node) -> String {
    let mut text = format!("{node:?}");
    for volatile in ["metrics: Metrics {", "bucket: Bucket {", "idle: Bucket {", "pace: Bucket {"] {
        let mut from = 0;
        while let Some(at) = text[from..].find(volatile).map(|at| at + from) {
            let end = text[at..].find('}').map(|end| end + at).expect("it closes");
            text.replace_range(at..=end, "");
            from = at;
        }
    }
    text
}
