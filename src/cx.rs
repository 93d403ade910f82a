//! What every handler gets: the moment, the configuration, and where its consequences go.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use crate::config::Config;
use crate::egress::Egress;
use crate::id::{NodeId, PeerIdx};
use crate::io::{Action, Event, Outbox, Verify};
use crate::time::{Now, WallTime};
use crate::wire::{Payload, binary};

/// The context of one call into the node.
pub struct Ctx<'a> {
    /// Both clocks.
    pub now: Now,
    /// Turns the wall clock into synchronised time.
    pub sync_offset_us: i64,
    /// The configuration.
    pub config: &'a Config,
    /// The node's only randomness.
    pub rng: &'a mut ChaCha8Rng,
    /// Whom to ask for signatures and boxes.
    pub verify: &'a mut dyn Verify,
    /// Where payloads wait for the end of the call.
    pub egress: &'a mut Egress,
    /// Where everything else goes.
    pub out: &'a mut Outbox,
}

impl Ctx<'_> {
    /// Synchronised time.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.now.wall.offset(self.sync_offset_us)
    }

    /// This node's id.
    #[must_use]
    pub fn self_id(&self) -> NodeId {
        self.egress.keys().id()
    }

    /// Says it to everyone.
    pub fn broadcast(&mut self, payload: &Payload) {
        self.egress.broadcast(self.config, payload);
    }

    /// Says it to one member.
    pub fn direct(&mut self, peer: PeerIdx, id: NodeId, payload: &Payload) {
        self.egress.direct(self.config, peer, id, payload);
    }

    /// Seals for one member, with a nonce that is used once. Nothing where its key is none.
    pub fn seal(&mut self, reader: &[u8; 32], plain: &[u8]) -> Option<Vec<u8>> {
        let mut random = [0; 16];
        self.rng.fill_bytes(&mut random);
        self.egress.seal_for(self.verify, reader, random, plain)
    }

    /// Opens what was sealed for this node by who has one of these keys.
    pub fn open(&mut self, writers: &[[u8; 32]], sealed: &[u8]) -> Option<Vec<u8>> {
        self.verify.open(self.egress.keys(), writers, sealed)
    }

    /// Reports what happened.
    pub fn report(&mut self, event: Event) {
        self.out.report(event);
    }

    /// Remembers a value durably before anything that this call sends.
    pub fn persist<T: bincode::Encode>(&mut self, key: &[u8], value: &T) {
        let key = self.out.put(key);
        let start = self.out.at();
        binary::encode_into(value, &mut self.out.bytes);
        let value = start..self.out.at();
        self.out.actions.push(Action::Persist { key, value });
    }

    /// Forgets a value.
    pub fn forget(&mut self, key: &[u8]) {
        let key = self.out.put(key);
        self.out.actions.push(Action::Forget { key });
    }
}

/// First bytes of the keys in the store.
pub mod store_key {
    use crate::id::{JobId, NodeId};

    /// This node's start count.
    pub const INCARNATION: &[u8] = b"i";
    /// The offset of the wall clock to synchronised time, as it was measured last.
    pub const CLOCK: &[u8] = b"k";
    /// When this store began: no vote is cast on jobs from before.
    pub const VOTE_FLOOR: &[u8] = b"w";
    /// Followed by a node id: the newest incarnation seen of it.
    pub const FLOOR: u8 = b'f';
    /// Followed by a node id: its announce of the newest incarnation known.
    pub const RECORD: u8 = b'r';
    /// Followed by a node id: it was dead for so long that it does not count any more.
    pub const FORGOTTEN: u8 = b'g';
    /// Followed by a job id: the last round voted in.
    pub const VOTE: u8 = b'v';
    /// Followed by a job id: an open job of this node.
    pub const OWN_JOB: u8 = b'j';
    /// Followed by a job id: the certificate under which this node runs or ran it.
    pub const CERTIFICATE: u8 = b'c';

    /// Followed by a node id: what this node has seen of it.
    pub const EXPERIENCE: u8 = b's';
    /// Followed by a node id: the record of its account.
    pub const ACCOUNT: u8 = b'a';
    /// Followed by a node id: the transaction of its account that this node has voted for, or has made itself.
    pub const TRANSACTION: u8 = b't';
    /// Followed by this node's id: its newest certified transaction, where `TRANSACTION` is the one after it.
    pub const NEWEST: u8 = b'n';
    /// Followed by a job id: a payment that no transaction carries yet.
    pub const PAYMENT: u8 = b'p';
    /// Followed by a node id: what it was awarded of the stakes of others.
    pub const PENALTIES: u8 = b'l';
    /// Followed by a node id: what proves its misbehaviour.
    pub const PROVEN: u8 = b'e';

    /// The key of something about a job.
    #[must_use]
    pub fn of_job(kind: u8, job: JobId) -> [u8; 17] {
        of_id(kind, job.0)
    }

    /// The key of something about a node.
    #[must_use]
    pub fn of_node(kind: u8, node: NodeId) -> [u8; 17] {
        of_id(kind, node.0)
    }

    fn of_id(kind: u8, id: [u8; 16]) -> [u8; 17] {
        let mut key = [kind; 17];
        key[1..].copy_from_slice(&id);
        key
    }
}
