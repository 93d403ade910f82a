//! Who is there, and who is alive (protocol.md, section 4).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{KeyLink, MAX_CAPABILITIES, MAX_ENDPOINT_BYTES, MAX_NODE_NAME_BYTES, MAX_ROTATIONS, is_capability};
use crate::id::NodeId;
use crate::time::{Span, WallTime};
use crate::units::{Ppm, Tokens};
use crate::wire::Signature;

/// "Here I am", to all or by beacon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PeerAnnounce {
    /// Who.
    #[serde(flatten)]
    pub record: Announce,
    /// Whether the sender knows nobody yet and asks for the records that the receiver holds.
    pub want_records: bool,
}

/// Who a node is and how to reach it. A signed record: anyone may pass it on, nobody can alter it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Announce {
    /// The id, which must be the hash of `public_key`.
    pub node_id: NodeId,
    /// For people.
    pub node_name: String,
    /// The Ed25519 public key that the identity began with.
    #[serde(with = "crate::wire::json::base64_array")]
    pub public_key: [u8; 32],
    /// What came after it: the last one's key is the present one. At most [`MAX_ROTATIONS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<KeyLink>,
    /// Start count of the node.
    pub incarnation: u32,
    /// Counts the announces of one incarnation: the newest wins.
    pub sequence: u32,
    /// When it was signed: two lives that count the same, because the first one's store was lost, still differ here.
    pub signed_at: WallTime,
    /// Where to subscribe.
    pub pub_endpoint: String,
    /// Where to be reached by those who cannot be dialled.
    pub sub_endpoint: String,
    /// Highest protocol version spoken.
    pub protocol_version: u32,
    /// Job types it runs.
    pub capabilities: Vec<String>,
    /// What it says of its own trust; nobody relies on it.
    pub trust_score: Ppm,
    /// Jobs it runs.
    pub active_jobs: u32,
    /// What it says of its balance; nobody relies on it.
    pub wallet_balance: Tokens,
    /// The present key's, over everything above, in binary (see `membership::gossip`).
    pub record_signature: Signature,
}

impl Announce {
    pub(super) fn within_limits(&self) -> bool {
        self.node_name.len() <= MAX_NODE_NAME_BYTES
            && self.pub_endpoint.len() <= MAX_ENDPOINT_BYTES
            && self.sub_endpoint.len() <= MAX_ENDPOINT_BYTES
            && self.capabilities.len() <= MAX_CAPABILITIES
            && self.capabilities.iter().all(|capability| is_capability(capability))
            && self.trust_score <= Ppm::ONE
            && self.rotations.len() <= MAX_ROTATIONS
    }
}

/// Announces that the sender holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRecords {
    /// A digest of all member records the sender holds, as in [`Ping`].
    pub members_digest: u32,
    /// Whether these are all of them, so that the receiver can answer with what is missing here.
    pub complete: bool,
    /// At most 256 at a time.
    pub records: Vec<Announce>,
}

/// The heartbeat. It also carries up to two PONGs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// A digest of the member records the sender holds: where it differs, records are exchanged.
    pub members_digest: u32,
    /// A digest of the certified transactions the sender has applied: where it goes on to differ, heads are exchanged.
    pub ledger_digest: u32,
    /// Answers to earlier PINGs of others: a fixed pair, so that a heartbeat is decoded without allocating.
    pub pongs: [Option<Pong>; 2],
}

/// The answer to a PING rides in the answerer's next PING, instead of being a message of its own as in the document: it
/// costs no envelope and no signature, and hold times of one heartbeat do not hurt four timestamps.
///
/// "Your PING with this stamp reached me, and this is how long I have held it since." With the stamps of both PINGs and
/// their arrivals that makes the four timestamps of NTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pong {
    /// Whose PING.
    pub node_id: NodeId,
    /// The stamp of that PING.
    pub ping_timestamp: WallTime,
    /// From its arrival to the sending of this.
    #[serde(with = "crate::units::seconds")]
    pub held: Span,
    /// Whether it came over a connection that the answerer dialled: if so, the other need not dial in any more.
    pub direct: bool,
}

/// "Have you heard this member?"
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerProbe {
    /// The suspect.
    pub node_id: NodeId,
    /// How long the asker has not heard it.
    #[serde(with = "crate::units::seconds")]
    pub silent_for: Span,
}

/// "I have heard it since." There is no negative answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSeen {
    /// The suspect.
    pub node_id: NodeId,
    /// How long ago it was heard.
    #[serde(with = "crate::units::seconds")]
    pub silent_for: Span,
}

/// "I stop now." The sender stays a member, dead at once.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goodbye {}
