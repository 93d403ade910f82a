//! A node's store as a disk has it: a log of records, of which a crash takes no more than the driver's contract allows.
//!
//! What is written waits in memory until the log is synced, and it is synced as late as the contract of `Node::handle` allows:
//! before a frame leaves while a `Persist` waits. So one sync covers all that was written since the last one, a group commit, and a
//! `Forget`, which need not be durable, waits for the next `Persist`. Two more are as binding as a frame: the answer to a client that
//! its job was accepted, and a limit on how many `Forget`s may wait.
//!
//! Each record has a length and a checksum. Reading stops at the first that is not whole and cuts the rest off; a log whose synced
//! part is not whole is a defect of this file, not a fault of the world. A log that has grown to twice what it says is written anew.

use std::collections::BTreeMap;

use marlos::io::Record;
use marlos::time::Time;
use sha2::{Digest, Sha256};

use crate::draw::below;
use crate::scenario::Storage;

/// `Forget`s that may wait for the next sync, as many as the real driver lets wait.
const WAITING: usize = 1_024;
/// Bytes below which a log is not written anew.
const SMALL: usize = 64 * 1024;
/// Length and checksum.
const HEAD: usize = 8;

/// The store of one node.
#[derive(Clone, Debug, Default)]
pub struct Store {
    log: Vec<u8>,
    /// Bytes of the log that survive a loss of power.
    synced: usize,
    /// What lies behind them: where each record starts, and when it was written.
    waiting: Vec<(usize, Time)>,
    persist_waits: bool,
    /// Bytes of the log when it was last written anew.
    compacted: usize,
}

/// What a crash took from a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Records that were written and are gone.
    pub records: u64,
    /// When the first of them was written.
    pub since: Time,
    /// Whether half a record was left of the first.
    pub torn: bool,
}

impl Store {
    /// Remembers a value: durable with the next [`Store::sync`].
    pub fn persist(&mut self, now: Time, key: &[u8], value: &[u8]) {
        self.append(now, key, Some(value));
        self.persist_waits = true;
    }

    /// Forgets a value, some time.
    pub fn forget(&mut self, now: Time, key: &[u8]) {
        self.append(now, key, None);
        if self.waiting.len() >= WAITING {
            self.sync_all();
        }
    }

    /// To be called before anything leaves the node: what it was told to persist is durable now.
    #[inline]
    pub fn sync(&mut self) {
        if self.persist_waits {
            self.sync_all();
        }
    }

    fn sync_all(&mut self) {
        self.synced = self.log.len();
        self.waiting.clear();
        self.persist_waits = false;
        if self.log.len() > SMALL.max(self.compacted * 2) {
            let live = self.records();
            self.log.clear();
            for Record { key, value } in &live {
                write(&mut self.log, key, Some(value));
            }
            (self.synced, self.compacted) = (self.log.len(), self.log.len());
        }
    }

    fn append(&mut self, now: Time, key: &[u8], value: Option<&[u8]>) {
        self.waiting.push((self.log.len(), now));
        // Not twice the room, as a vector would make it: a thousand nodes have stores of hundreds of kilobytes.
        let most = HEAD + 4 + key.len() + 1 + value.map_or(0, <[u8]>::len);
        if self.log.capacity() - self.log.len() < most {
            self.log.reserve_exact(most + self.log.len() / 8);
        }
        write(&mut self.log, key, value);
    }

    /// The process dies, and perhaps the machine with it. `draw` decides where a record is torn.
    pub fn crash(&mut self, storage: Storage, draw: u64) -> Option<Cut> {
        let waiting = std::mem::take(&mut self.waiting);
        self.persist_waits = false;
        let (first_gone, torn) = match storage {
            // The process dies, not the machine: what was written is in the system's hands.
            Storage::Kept => (waiting.len(), false),
            Storage::Lost => {
                *self = Store::default();
                return None;
            }
            Storage::UnsyncedLost => (0, false),
            Storage::Torn if waiting.is_empty() => (0, false),
            Storage::Torn => (below(draw, waiting.len() as u64) as usize, true),
        };
        if let Some((start, since)) = waiting.get(first_gone).copied() {
            let next = waiting.get(first_gone + 1).map_or(self.log.len(), |(start, _)| *start);
            // At least its first byte was written, and its last one was not.
            let left = if torn { 1 + below(draw.rotate_left(32), (next - start - 1) as u64) as usize } else { 0 };
            self.log.truncate(start + left);
            self.recover();
            assert_eq!(self.log.len(), start, "what is cut off is the record that was torn");
            return Some(Cut { records: (waiting.len() - first_gone) as u64, since, torn });
        }
        self.recover();
        None
    }

    /// Cuts the log back to its last whole record, as a process does before it reads it.
    fn recover(&mut self) {
        let mut whole = 0;
        while let Some((_, _, next)) = read(&self.log, whole) {
            whole = next;
        }
        assert!(whole >= self.synced, "what was synced is whole");
        self.log.truncate(whole);
        self.synced = whole;
    }

    /// What it says, by key.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut live = BTreeMap::new();
        let mut at = 0;
        while let Some((key, value, next)) = read(&self.log, at) {
            match value {
                Some(value) => drop(live.insert(key, value)),
                None => drop(live.remove(key)),
            }
            at = next;
        }
        live.into_iter().map(|(key, value)| Record { key: key.to_vec(), value: value.to_vec() }).collect()
    }
}

/// Key, value or that it is forgotten, and where the next record begins.
type Written<'l> = (&'l [u8], Option<&'l [u8]>, usize);

/// Length of the body, the first four bytes of its SHA-256, and the body: length of the key, key, whether there is a value, value.
fn write(log: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    let head = log.len();
    let length = |bytes: usize| u32::try_from(bytes).expect("a record is small").to_le_bytes();
    log.extend_from_slice(&[0; HEAD]);
    log.extend_from_slice(&length(key.len()));
    log.extend_from_slice(key);
    log.push(u8::from(value.is_some()));
    log.extend_from_slice(value.unwrap_or_default());
    let checksum = Sha256::digest(&log[head + HEAD..]);
    let body = length(log.len() - head - HEAD);
    log[head..head + 4].copy_from_slice(&body);
    log[head + 4..head + HEAD].copy_from_slice(&checksum[..4]);
}

/// The record at `at`, if a whole one is there, and where the next begins.
fn read(log: &[u8], at: usize) -> Option<Written<'_>> {
    let number = |at: usize| Some(u32::from_le_bytes(log.get(at..at + 4)?.try_into().ok()?) as usize);
    let next = (at + HEAD).checked_add(number(at)?)?;
    let body = log.get(at + HEAD..next)?;
    if Sha256::digest(body)[..4] != log[at + 4..at + HEAD] {
        return None;
    }
    let (key_length, rest) = body.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
    let (has_value, value) = rest.split_first()?;
    Some((key, (*has_value != 0).then_some(value), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text of a history: `a1` persists 1 under a, `-a` forgets a, `!` is a frame that leaves, each a second after the last.
    fn store(history: &str) -> Store {
        let mut store = Store::default();
        for (second, word) in (1u64..).zip(history.split_whitespace()) {
            let now = Time(second * 1_000_000);
            match word.as_bytes() {
                b"!" => store.sync(),
                [b'-', key] => store.forget(now, &[*key]),
                [key, value @ ..] => store.persist(now, &[*key], value),
                [] => unreachable!("words are not empty"),
            }
        }
        store
    }

    fn says(store: &Store) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let words: Vec<String> = store.records().iter().map(|r| text(&r.key) + &text(&r.value)).collect();
        words.join(" ")
    }

    #[test]
    fn a_crash_takes_what_its_storage_says_and_nothing_else() {
        use Storage::{Kept, Lost, UnsyncedLost};
        let table = [
            // history, storage, what is left, records gone, since second
            ("a1 b2 ! c3", Kept, "a1 b2 c3", 0, 0),
            ("a1 b2 ! c3", Lost, "", 0, 0),
            ("a1 b2 ! c3", UnsyncedLost, "a1 b2", 1, 4),
            ("a1 b2 ! c3 !", UnsyncedLost, "a1 b2 c3", 0, 0),
            ("a1 ! a2 a3", UnsyncedLost, "a1", 2, 3),
            // A forget may be lost however many frames have followed it,
            ("a1 ! -a ! !", UnsyncedLost, "a1", 1, 3),
            // until a persist takes it along.
            ("a1 ! -a b2 !", UnsyncedLost, "b2", 0, 0),
            ("a1 ! b2 -a", UnsyncedLost, "a1", 2, 3),
            ("", UnsyncedLost, "", 0, 0),
        ];
        for (history, storage, left, records, since) in table {
            let mut store = store(history);
            let cut = store.crash(storage, 0);
            assert_eq!(says(&store), left, "{history} {storage:?}");
            let expected = (records > 0).then_some(Cut { records, since: Time(since * 1_000_000), torn: false });
            assert_eq!(cut, expected, "{history} {storage:?}");
            assert_eq!(store.crash(UnsyncedLost, 0), None, "what survived one crash survives the next");
            assert_eq!(says(&store), left, "{history} {storage:?}");
        }
    }

    #[test]
    fn a_torn_record_is_cut_off_with_all_behind_it_wherever_it_is_torn() {
        let whole = store("a1 b2 ! c3 -a d4");
        let mut seen = BTreeMap::new();
        for n in 0..300u64 {
            let mut store = whole.clone();
            let cut = store.crash(Storage::Torn, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
            assert!(cut.torn);
            *seen.entry((says(&store), cut.records)).or_insert(0) += 1;
        }
        let kinds: Vec<(&str, u64)> = seen.keys().map(|(left, records)| (left.as_str(), *records)).collect();
        assert_eq!(kinds, [("a1 b2", 3), ("a1 b2 c3", 2), ("b2 c3", 1)]);
        assert!(seen.values().all(|times| *times > 50), "each record is as likely to be the torn one: {seen:?}");
        assert_eq!(store("a1 !").crash(Storage::Torn, 7), None, "there is nothing to tear");
    }

    #[test]
    fn a_damaged_byte_ends_what_is_read_at_the_record_before() {
        let whole = store("a1 b2 c3");
        let length = whole.log.len() / 3;
        for at in 0..whole.log.len() {
            let mut damaged = whole.clone();
            damaged.log[at] ^= 0x40;
            damaged.recover();
            assert_eq!(damaged.log.len(), at / length * length, "byte {at}");
        }
    }

    #[test]
    #[should_panic(expected = "what was synced is whole")]
    fn damage_before_the_last_sync_is_not_passed_over() {
        let mut damaged = store("a1 b2 !");
        damaged.log[0] ^= 1;
        damaged.recover();
    }

    #[test]
    fn a_log_is_written_anew_before_its_history_outweighs_what_it_says() {
        let mut store = Store::default();
        for n in 0..200_000u64 {
            store.persist(Time(n), b"k", &n.to_le_bytes());
            store.persist(Time(n), &n.to_le_bytes(), b"soon forgotten");
            store.forget(Time(n), &n.to_le_bytes());
            store.sync();
            assert!(store.log.len() <= 2 * SMALL, "{}", store.log.len());
        }
        let expected = Record { key: b"k".to_vec(), value: 199_999u64.to_le_bytes().to_vec() };
        assert_eq!(store.records(), [expected]);
    }

    #[test]
    fn forgets_do_not_wait_for_ever() {
        let mut store = store("a1 !");
        (0..=WAITING).for_each(|n| store.forget(Time(n as u64), b"a"));
        assert!(store.waiting.len() <= 1, "{}", store.waiting.len());
        store.crash(Storage::UnsyncedLost, 0);
        assert_eq!(says(&store), "");
    }
}
