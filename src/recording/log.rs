//! Records one after the other: length, body, and a checksum over the body and the checksum before it. So a record that was altered,
//! left out or moved is noticed where it stands.

use sha2::{Digest, Sha256};

use super::Entry;
use crate::wire::binary;

/// The first bytes of every recording.
pub const MAGIC: &[u8; 16] = b"marlos recording";
/// Bytes of a record at most: an input of the largest message, or the store of a large network.
const MOST: usize = 256 * 1024 * 1024;
/// Bytes of a length, and of a checksum.
const LENGTH: usize = 4;
const CHECK: usize = 8;

/// Where a recording is written, or read, up to.
#[derive(Clone, Debug)]
pub struct Log {
    check: [u8; CHECK],
}

/// Why a recording cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It does not begin as one.
    NotARecording,
    /// It ends in the middle of a record, as that of a process which was killed.
    CutOff,
    /// A record, or one before it, is not what was written.
    Altered,
}

impl Log {
    /// An empty recording.
    #[must_use]
    pub fn begin(out: &mut Vec<u8>) -> Log {
        out.extend_from_slice(MAGIC);
        Log { check: [0; CHECK] }
    }

    /// Appends a record.
    pub fn write(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        binary::encode_into(entry, out);
        let body = out.len() - start - LENGTH;
        assert!(body <= MOST, "a record of {body} bytes");
        let length = u32::try_from(body).expect("at most MOST").to_le_bytes();
        out[start..start + LENGTH].copy_from_slice(&length);
        self.check = next(self.check, &out[start..]);
        out.extend_from_slice(&self.check);
    }
}

/// The checksum after a record: over the one before, its length and its body.
fn next(check: [u8; CHECK], record: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::new().chain_update(check).chain_update(record).finalize();
    digest[..CHECK].try_into().expect("SHA-256 has 32 bytes")
}

/// Reads a recording, record by record.
#[derive(Clone, Debug)]
pub struct Records<'b> {
    rest: &'b [u8],
    log: Log,
}

impl<'b> Records<'b> {
    /// Of the bytes of a file.
    ///
    /// # Errors
    /// It is not one.
    pub fn new(bytes: &'b [u8]) -> Result<Records<'b>, Damage> {
        let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(Damage::NotARecording)?;
        Ok(Records { rest, log: Log { check: [0; CHECK] } })
    }

    fn read(&mut self) -> Result<Entry, Damage> {
        let (length, _) = self.rest.split_first_chunk::<LENGTH>().ok_or(Damage::CutOff)?;
        let body = u32::from_le_bytes(*length) as usize;
        if body > MOST {
            return Err(Damage::Altered);
        }
        let (record, rest) = self.rest.split_at_checked(LENGTH + body).ok_or(Damage::CutOff)?;
        let (check, rest) = rest.split_first_chunk::<CHECK>().ok_or(Damage::CutOff)?;
        if next(self.log.check, record) != *check {
            return Err(Damage::Altered);
        }
        let entry = binary::decode(&record[LENGTH..]).map_err(|_| Damage::Altered)?;
        (self.log.check, self.rest) = (*check, rest);
        Ok(entry)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Entry, Damage>;

    /// After damage there is nothing more.
    fn next(&mut self) -> Option<Result<Entry, Damage>> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.read();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(calls: u64) -> Entry {
        Entry::End { calls, hash: [7; 32], at: 9 }
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut log = Log::begin(&mut out);
        entries.iter().for_each(|entry| log.write(entry, &mut out));
        out
    }

    #[test]
    fn what_was_written_is_read_and_a_changed_byte_is_noticed_wherever_it_is() {
        let bytes = written(&[end(1), end(2), end(3)]);
        let read: Vec<_> = Records::new(&bytes).unwrap().collect();
        assert_eq!(read, [Ok(end(1)), Ok(end(2)), Ok(end(3))]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            let noticed = match Records::new(&changed) {
                Err(damage) => damage == Damage::NotARecording,
                Ok(records) => records.into_iter().any(|entry| entry.is_err()),
            };
            assert!(noticed, "byte {at}");
        }
    }

    #[test]
    fn records_that_were_left_out_moved_or_cut_off_are_noticed() {
        let whole = written(&[end(1), end(2), end(3)]);
        let record = (whole.len() - MAGIC.len()) / 3;
        let at = |n: usize| MAGIC.len() + n * record..MAGIC.len() + (n + 1) * record;
        let without = [&whole[..MAGIC.len()], &whole[at(0)], &whole[at(2)]].concat();
        let read: Vec<_> = Records::new(&without).unwrap().collect();
        assert_eq!(read, [Ok(end(1)), Err(Damage::Altered)]);
        let swapped = [&whole[..MAGIC.len()], &whole[at(1)], &whole[at(0)]].concat();
        assert_eq!(Records::new(&swapped).unwrap().next(), Some(Err(Damage::Altered)));
        let cut: Vec<_> = Records::new(&whole[..whole.len() - 1]).unwrap().collect();
        assert_eq!(cut, [Ok(end(1)), Ok(end(2)), Err(Damage::CutOff)]);
    }
}
