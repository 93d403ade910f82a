//! Nodes that nobody runs: keys and records, made up as many as one likes.

use marlos::id::NodeId;
use marlos::identity::Keys;
use marlos::membership::gossip;
use marlos::units::{Ppm, Tokens};
use marlos::wire::Signature;
use marlos::wire::message::Announce;

use super::scene::Scene;

/// A made-up node.
#[derive(Clone, Debug)]
pub(super) struct Stranger {
    /// Its keys, which its maker has.
    pub keys: Keys,
    /// What is said of it, signed by it.
    pub record: Announce,
    /// Its nonces.
    pub counter: u64,
}

impl Stranger {
    /// A new one.
    pub fn make_up(scene: &mut Scene<'_>) -> Stranger {
        let mut secret = [0; 32];
        secret.chunks_mut(8).for_each(|part| part.copy_from_slice(&scene.draw().to_le_bytes()));
        let keys = Keys::from_secret(&secret);
        let number = scene.draw_below(200);
        let mut record = Announce {
            node_id: keys.id(),
            node_name: "stranger".to_owned(),
            public_key: keys.public(),
            rotations: Vec::new(),
            incarnation: 1,
            sequence: 1,
            signed_at: scene.wall(),
            // Of nobody: addresses of nodes begin at the other end.
            pub_endpoint: format!("tcp://10.255.{number}.1:5555"),
            sub_endpoint: format!("tcp://10.255.{number}.1:5556"),
            protocol_version: 1,
            capabilities: scene.config.capabilities.clone(),
            trust_score: Ppm::ONE,
            active_jobs: 0,
            wallet_balance: Tokens::whole(1_000),
            record_signature: Signature([0; 64]),
        };
        record.record_signature = scene.sign(&keys, &gossip::signed_bytes(&record));
        Stranger { keys, record, counter: 0 }
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.keys.id()
    }
}
