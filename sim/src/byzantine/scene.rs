//! What a behaviour may look at and do in one call.

use std::sync::Arc;

use marlos::id::NodeId;
use marlos::identity::Keys;
use marlos::io::Verify as _;
use marlos::time::{Now, Span, Time, WallTime};
use marlos::wire::{self, Header, Payload, Signature, Signed};
use marlos::{Config, Node};

use super::said::{Form, Open, Said, Sealed, Whom, sealed_with};
use crate::draw::{Draws, Purpose, below};
use crate::memo::Memo;
use crate::scenario::NodeNo;

/// The context of one call into a behaviour: of one node, in one moment.
pub struct Scene<'w> {
    /// Both clocks of the node.
    pub now: Now,
    /// The node.
    pub me: NodeNo,
    /// Its machine, honest as ever.
    pub node: &'w Node,
    /// Its keys.
    pub keys: &'w Keys,
    /// Its configuration.
    pub config: &'w Config,
    /// The id of every node of the world.
    pub ids: &'w [NodeId],
    /// The nodes that the fault names, sorted: they share a plan, and one another's keys.
    pub fellows: Arc<[NodeNo]>,
    /// What the node's nonces come to now.
    pub(super) counter: u64,
    pub(super) memo: &'w mut Memo,
    pub(super) draws: &'w Draws,
    /// The behaviour's place in the table, and where its draws begin.
    pub(super) purpose: (u8, u64),
    pub(super) drawn: u64,
    pub(super) effects: Effects,
}

/// What a behaviour has done in one call.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub said: Vec<Said>,
    pub later: Vec<(Time, Said)>,
    pub wakes: Vec<Time>,
    pub deeds: u64,
}

/// An envelope as a liar fills it in.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The network it says it is of, and is signed for.
    pub network_id: &'a str,
    /// Who it says has sent it.
    pub sender: NodeId,
    /// The recipient that it names.
    pub addressed: Option<NodeId>,
    /// Its stamp.
    pub timestamp: WallTime,
    /// Its nonce: incarnation and counter.
    pub nonce: (u32, u64),
}

impl<'w> Scene<'w> {
    /// The scene of a call, before it is some behaviour's.
    pub(crate) fn new(
        now: Now,
        me: NodeNo,
        node: &'w Node,
        keys: &'w Keys,
        ids: &'w [NodeId],
        memo: &'w mut Memo,
        draws: &'w Draws,
    ) -> Scene<'w> {
        Scene {
            now,
            me,
            node,
            keys,
            config: node.view().config(),
            ids,
            fellows: Arc::new([]),
            counter: 0,
            memo,
            draws,
            purpose: (0, 0),
            drawn: 0,
            effects: Effects::default(),
        }
    }
}

impl Scene<'_> {
    /// Says something: what the node said, or something else, or more. It passes the behaviours that began later.
    pub fn say(&mut self, said: Said) {
        self.effects.said.push(said);
    }

    /// The members as an electorate sorts them.
    #[must_use]
    pub fn sorted_ids(&self) -> Vec<NodeId> {
        let mut ids = self.ids.to_vec();
        ids.sort_unstable();
        ids
    }

    /// Says it later.
    pub fn say_later(&mut self, after: Span, said: Said) {
        self.effects.later.push((self.now.mono + after, said));
    }

    /// Asks to be woken for this node.
    pub fn wake_at(&mut self, at: Time) {
        self.effects.wakes.push(at.max(self.now.mono + Span(1)));
    }

    /// Counts a thing that no honest node does.
    pub fn misdeed(&mut self) {
        self.effects.deeds += 1;
    }

    /// The next draw: 64 uniform bits that depend on the behaviour, the node and how many there were before.
    pub fn draw(&mut self) -> u64 {
        let (kind, from) = self.purpose;
        self.drawn += 1;
        self.draws.one(Purpose::Misbehaviour, self.me, 0, kind, from.wrapping_add(self.drawn))
    }

    /// A number below `bound`, drawn.
    pub fn draw_below(&mut self, bound: u64) -> u64 {
        below(self.draw(), bound)
    }

    /// Whether something of this share happens, drawn.
    pub fn chance(&mut self, share: marlos::units::Ppm) -> bool {
        self.draw_below(1_000_000) < u64::from(share.0)
    }

    /// Synchronised time, as the node knows it.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.now.wall.offset(self.node.view().clock_offset_us())
    }

    /// The others: those in `listed`, or where that is empty all that are no fellows.
    #[must_use]
    pub fn others(&self, listed: &[NodeNo]) -> Vec<NodeNo> {
        let all = (0..self.ids.len()).filter(|node| self.fellows.binary_search(node).is_err());
        if listed.is_empty() { all.collect() } else { listed.iter().copied().filter(|node| *node != self.me).collect() }
    }

    /// The number of the node with this id.
    #[must_use]
    pub fn number(&self, id: NodeId) -> Option<NodeNo> {
        self.ids.iter().position(|known| *known == id)
    }

    /// The keys of a fellow, which it gives away.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn keys_of(&self, fellow: NodeNo) -> Keys {
        assert!(self.fellows.binary_search(&fellow).is_ok(), "n{fellow} keeps its keys for itself");
        Keys::from_secret(&self.draws.seed_of(Purpose::NodeKey, fellow, 0))
    }

    /// Something to say, not sealed yet.
    #[must_use]
    pub fn open(&self, whom: Whom, payloads: Vec<Payload>) -> Said {
        let addressed = match whom {
            Whom::One(node) => Some(self.ids[node]),
            Whom::All | Whom::Beacon => None,
        };
        Said { whom, form: Form::Open(Open { addressed, timestamp: self.wall(), payloads }) }
    }

    /// An envelope as the node would fill it in next, for a liar to change.
    #[must_use]
    pub fn envelope(&self, whom: Whom) -> Envelope<'static> {
        let addressed = match whom {
            Whom::One(node) => Some(self.ids[node]),
            Whom::All | Whom::Beacon => None,
        };
        Envelope {
            network_id: "",
            sender: self.keys.id(),
            addressed,
            timestamp: self.wall(),
            nonce: (self.node.view().incarnation(), self.counter + 1),
        }
    }

    /// Seals an envelope with any keys. A `network_id` that is empty is the node's own.
    #[must_use]
    pub fn seal(&mut self, envelope: &Envelope<'_>, payloads: &[Payload], keys: &Keys) -> Sealed {
        let network_id = if envelope.network_id.is_empty() { &self.config.network_id } else { envelope.network_id };
        let (incarnation, counter) = envelope.nonce;
        let header = Header {
            network_tag: wire::network_tag(network_id),
            kind: if payloads.len() == 1 { payloads[0].kind() } else { wire::MsgType::Bundle },
            sender: envelope.sender,
            to: envelope.addressed,
            timestamp: envelope.timestamp,
            incarnation,
            counter,
            compressed: false,
        };
        let mut sign = |message: &Signed<'_>| self.memo.sign(keys, message);
        let bytes = sealed_with(header, self.config.codec, network_id, payloads, &mut sign);
        Sealed { kind: header.kind, bytes, origin: None }
    }

    /// Seals something as the node's own, now, with its next nonce: for who must know the bytes.
    #[must_use]
    pub fn seal_own(&mut self, whom: Whom, open: &Open) -> Sealed {
        let envelope = Envelope { addressed: open.addressed, timestamp: open.timestamp, ..self.envelope(whom) };
        self.counter += 1;
        let keys = self.keys;
        self.seal(&envelope, &open.payloads, keys)
    }

    /// Replaces the last 64 bytes of a binary frame by the node's signature of the rest; one that is too short stays as it is.
    pub fn sign_frame(&mut self, frame: &mut [u8]) {
        if let Some((bytes, place)) = frame.split_last_chunk_mut::<64>() {
            let keys = self.keys;
            *place = self.sign(keys, bytes).0;
        }
    }

    /// Keys that nobody has.
    #[must_use]
    pub fn stranger(&mut self) -> Keys {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&self.draw().to_le_bytes());
        Keys::from_secret(&secret)
    }

    /// Signs a record with any keys.
    #[must_use]
    pub fn sign(&mut self, keys: &Keys, bytes: &[u8]) -> Signature {
        self.memo.sign(keys, &Signed { network_id: &self.config.network_id, bytes })
    }
}
