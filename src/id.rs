//! Names of things: nodes, jobs, peers as this node numbers them, connections.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// A node's identity: the first 16 bytes of SHA-256 over its genesis public key (protocol.md, section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct NodeId(pub [u8; 16]);

/// A job's identity: a hash over submitter, counter and body, so that nobody can take another's (section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct JobId(pub [u8; 16]);

/// A transaction's identity: a hash over payer, sequence number and transfers (section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TxId(pub [u8; 16]);

/// Names an electorate: the first 8 bytes of SHA-256 over its sorted ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ElectorateId(pub [u8; 8]);

/// A member as *this* node numbers it: dense, stable while the process lives, 0 is the node itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIdx(pub u32);

/// A stream of frames that comes in. The node numbers the ones it asked for; three numbers are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u32);

impl NodeId {
    /// The id that belongs to a genesis public key.
    #[must_use]
    pub fn of_key(genesis: &[u8; 32]) -> NodeId {
        let digest = Sha256::new().chain_update(b"marlos/node-id/1").chain_update(genesis).finalize();
        NodeId(first_16(&digest))
    }
}

impl JobId {
    /// The id of the `counter`-th job that `submitter` made, with this encoded body.
    #[must_use]
    pub fn of_job(submitter: NodeId, counter: u64, body: &[u8]) -> JobId {
        let digest =
            Sha256::new().chain_update(submitter.0).chain_update(counter.to_le_bytes()).chain_update(body).finalize();
        JobId(first_16(&digest))
    }
}

impl PeerIdx {
    /// The node itself.
    pub const SELF: PeerIdx = PeerIdx(0);

    /// As an index into a dense vector.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl Link {
    /// The bound SUB socket: peers that dialled in because nobody could dial them.
    pub const INBOUND: Link = Link(u32::MAX);
    /// The UDP beacon socket.
    pub const BEACON: Link = Link(u32::MAX - 1);
}

fn first_16(digest: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&digest[..16]);
    out
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Exactly `2 * N` lowercase hex digits.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("job-")?;
        write_hex(f, &self.0)
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tx-")?;
        write_hex(f, &self.0)
    }
}

impl fmt::Display for ElectorateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for ElectorateId {
    type Err = String;
    fn from_str(text: &str) -> Result<ElectorateId, String> {
        parse_hex(text)
            .map(ElectorateId)
            .ok_or_else(|| format!("`{text}` is not an electorate: 16 lowercase hex digits"))
    }
}

impl FromStr for NodeId {
    type Err = String;
    fn from_str(text: &str) -> Result<NodeId, String> {
        parse_hex(text).map(NodeId).ok_or_else(|| format!("`{text}` is not a node id: 32 lowercase hex digits"))
    }
}

impl FromStr for JobId {
    type Err = String;
    fn from_str(text: &str) -> Result<JobId, String> {
        text.strip_prefix("job-")
            .and_then(parse_hex)
            .map(JobId)
            .ok_or_else(|| format!("`{text}` is not a job id: \"job-\" and 32 lowercase hex digits"))
    }
}

impl FromStr for TxId {
    type Err = String;
    fn from_str(text: &str) -> Result<TxId, String> {
        text.strip_prefix("tx-")
            .and_then(parse_hex)
            .map(TxId)
            .ok_or_else(|| format!("`{text}` is not a transaction id: \"tx-\" and 32 lowercase hex digits"))
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(NodeId, JobId, TxId, ElectorateId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_and_refuse_every_other() {
        let node = NodeId([0xab; 16]);
        assert_eq!(node.to_string().parse(), Ok(node));
        let job = JobId([7; 16]);
        assert_eq!(job.to_string().parse(), Ok(job));
        let tx = TxId([0x1f; 16]);
        assert_eq!(tx.to_string().parse(), Ok(tx));
        for text in ["", "AB", &"AB".repeat(16), &"a".repeat(31), "job-1", &"é".repeat(16)] {
            assert!(text.parse::<NodeId>().is_err() && text.parse::<JobId>().is_err(), "{text}");
            assert!(text.parse::<TxId>().is_err(), "{text}");
        }
    }
}
