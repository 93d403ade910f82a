//! How an identity changes its key (protocol.md, section 1).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::Announce;
use crate::time::WallTime;
use crate::wire::Signature;

/// Rotations of one identity at most: four years of one every 90 days. Whoever hears of a stranger checks a signature for each.
pub const MAX_ROTATIONS: usize = 16;

/// One rotation, as it stays in its owner's record: the key that was in use gives the identity to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLink {
    /// Counts the rotations of the identity, from 1.
    pub sequence: u32,
    /// The Ed25519 public key from now on.
    #[serde(with = "crate::wire::json::base64_array")]
    pub new_key: [u8; 32],
    /// When, by the owner's synchronised clock.
    pub rotated_at: WallTime,
    /// The signature of the key before (see `identity::chain`).
    pub old_signature: Signature,
}

/// "This is my key from now on", to all, in an envelope that the old key signed. The record's own signature is the new key's, so
/// that nobody can make another's key its own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// The sender's record with one rotation more than its last.
    pub record: Announce,
}
