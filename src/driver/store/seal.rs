//! What makes a record verifiable: a tag on each, and a summary of all of them. Pure.
//!
//! The database has checksums of its own, and after a crash it goes back to its newest root whose checksums agree. That is
//! right for a torn tail and wrong for a damaged one: a root that was promised and is unreadable now would be replaced by the
//! one before it, and a vote be gone without a word. So the summary counts the commits and the records and holds the digest
//! of all tags: what is loaded either is exactly what some commit left, or it is refused.

use sha2::{Digest, Sha256};

use crate::id::NodeId;

/// Half a SHA-256: it tells damage and mix-ups, and keeps nobody out who can write the file.
pub type Tag = [u8; 16];

/// Bytes of a summary as it is stored.
pub const SUMMARY_BYTES: usize = 8 + 8 + 16 + 16;

/// What all records come down to, after a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Commits since the store was made. It only grows.
    pub commits: u64,
    /// How many records there are.
    pub records: u64,
    /// The tags of all records, combined without regard to order: removing one is combining it again.
    pub digest: Tag,
}

/// The tag of a record of this node.
#[must_use]
pub fn tag(node: NodeId, key: &[u8], value: &[u8]) -> Tag {
    hash(&[b"marlos record", &node.0, &(key.len() as u64).to_le_bytes(), key, value])
}

/// A value as it is stored: its tag goes before it.
#[must_use]
pub fn seal(node: NodeId, key: &[u8], value: &[u8]) -> Vec<u8> {
    [&tag(node, key, value)[..], value].concat()
}

/// The value of a stored record, and its tag; nothing where they do not belong together.
#[must_use]
pub fn open<'a>(node: NodeId, key: &[u8], stored: &'a [u8]) -> Option<(&'a [u8], Tag)> {
    let (found, value) = stored.split_first_chunk::<16>()?;
    let expected = tag(node, key, value);
    (*found == expected).then_some((value, expected))
}

impl Summary {
    /// A record that was not there before is there now.
    pub fn add(&mut self, tag: Tag) {
        self.records += 1;
        self.combine(tag);
    }

    /// A record that was there is gone.
    pub fn remove(&mut self, tag: Tag) {
        self.records = self.records.checked_sub(1).expect("only what was added is removed");
        self.combine(tag);
    }

    fn combine(&mut self, tag: Tag) {
        for (mine, theirs) in self.digest.iter_mut().zip(tag) {
            *mine ^= theirs;
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn to_bytes(&self, node: NodeId) -> [u8; SUMMARY_BYTES] {
        let mut bytes = [0; SUMMARY_BYTES];
        bytes[..8].copy_from_slice(&self.commits.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.records.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.digest);
        let check = hash(&[b"marlos summary", &node.0, &bytes[..32]]);
        bytes[32..].copy_from_slice(&check);
        bytes
    }

    /// A stored summary of this node's records; nothing where it does not verify.
    #[must_use]
    pub fn from_bytes(node: NodeId, bytes: &[u8]) -> Option<Summary> {
        let bytes: &[u8; SUMMARY_BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let digest = std::array::from_fn(|i| bytes[16 + i]);
        let summary = Summary { commits: number(0), records: number(8), digest };
        (summary.to_bytes(node) == *bytes).then_some(summary)
    }
}

fn hash(parts: &[&[u8]]) -> Tag {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId([1; 16]);

    #[test]
    fn a_record_opens_under_its_own_key_and_node_and_unchanged_only() {
        let sealed = seal(ME, b"key", b"value");
        assert_eq!(open(ME, b"key", &sealed).unwrap().0, b"value");
        assert!(open(ME, b"kez", &sealed).is_none());
        assert!(open(NodeId([2; 16]), b"key", &sealed).is_none());
        // The border between key and value is part of what is sealed.
        assert_ne!(tag(ME, b"ke", b"yvalue"), tag(ME, b"key", b"value"));
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 0x10;
            assert!(open(ME, b"key", &flipped).is_none(), "byte {at}");
        }
        for short in 0..sealed.len() {
            assert!(open(ME, b"key", &sealed[..short]).is_none(), "{short} bytes");
        }
    }

    #[test]
    fn a_summary_forgets_the_order_and_what_was_removed_and_nothing_else() {
        let (a, b) = (tag(ME, b"a", b"1"), tag(ME, b"b", b"2"));
        let (mut one, mut other) = (Summary::default(), Summary::default());
        [a, b].into_iter().for_each(|tag| one.add(tag));
        [b, a].into_iter().for_each(|tag| other.add(tag));
        assert_eq!(one, other);
        other.remove(a);
        assert_ne!(one, other);
        one.remove(a);
        one.remove(b);
        assert_eq!(one, Summary::default());

        let bytes = other.to_bytes(ME);
        assert_eq!(Summary::from_bytes(ME, &bytes), Some(other));
        assert_eq!(Summary::from_bytes(NodeId([2; 16]), &bytes), None);
        for at in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(Summary::from_bytes(ME, &flipped), None, "byte {at}");
        }
    }
}
