//! A second file that says how far the store had come, so that a store which fell back is not taken for a whole one.
//!
//! It is written after each commit and not waited for: it outlives the process at once, and the machine a little later. It
//! is therefore never ahead of the store. A store that is behind its witness has lost what it had promised to keep.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::seal::{SUMMARY_BYTES, Summary};
use crate::driver::files;
use crate::id::NodeId;

/// Two places, written in turn: one of them is whole at any moment. Each lies in a sector of its own.
const PLACES: u64 = 2;
const SECTOR: u64 = 512;

/// The file, open.
#[derive(Debug)]
pub struct Witness {
    file: File,
    path: PathBuf,
    node: NodeId,
}

impl Witness {
    /// Makes the file for a store that has no commits yet. Replaces one that is there.
    ///
    /// # Errors
    /// The system's, as a sentence.
    pub fn create(path: &Path, node: NodeId) -> Result<(), String> {
        let mut bytes = vec![0; (PLACES * SECTOR) as usize];
        for place in bytes.chunks_mut(SECTOR as usize) {
            place[..SUMMARY_BYTES].copy_from_slice(&Summary::default().to_bytes(node));
        }
        files::write_private(path, &bytes, true).map_err(|e| format!("cannot create {}: {e}", path.display()))
    }

    /// Opens the file, and says what it has seen: the newer place that verifies.
    ///
    /// # Errors
    /// What is wrong with it: it is not there, or neither place verifies.
    pub fn open(path: &Path, node: NodeId) -> Result<(Witness, Summary), String> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| e.to_string())?;
        let seen = (0..PLACES).filter_map(|place| {
            let mut bytes = [0; SUMMARY_BYTES];
            file.read_exact_at(&mut bytes, place * SECTOR).ok()?;
            Summary::from_bytes(node, &bytes)
        });
        let newest = seen.max_by_key(|summary| summary.commits);
        let summary = newest.ok_or("it does not verify as this node's")?;
        Ok((Witness { file, path: path.to_owned(), node }, summary))
    }

    /// Takes note of a commit that is durable.
    ///
    /// # Errors
    /// The system's, as a sentence.
    pub fn note(&self, summary: &Summary) -> Result<(), String> {
        let place = summary.commits % PLACES * SECTOR;
        self.file
            .write_all_at(&summary.to_bytes(self.node), place)
            .map_err(|e| format!("cannot write {}: {e}", self.path.display()))
    }

    /// Waits until what was noted outlives the machine, too.
    ///
    /// # Errors
    /// The system's, as a sentence.
    pub fn sync(&self) -> Result<(), String> {
        self.file.sync_data().map_err(|e| format!("cannot write {}: {e}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId([1; 16]);

    #[test]
    fn the_newer_place_counts_and_a_damaged_one_leaves_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("witness");
        assert!(Witness::open(&path, ME).is_err());
        Witness::create(&path, ME).unwrap();
        let (witness, seen) = Witness::open(&path, ME).unwrap();
        assert_eq!(seen, Summary::default());
        for commits in 1..=5 {
            witness.note(&Summary { commits, ..Summary::default() }).unwrap();
        }
        let commits = |path: &Path| Witness::open(path, ME).map(|(_, seen)| seen.commits);
        assert_eq!(commits(&path), Ok(5));
        assert!(Witness::open(&path, NodeId([2; 16])).is_err());

        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[SECTOR as usize] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(commits(&path), Ok(4));
        damaged[0] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(commits(&path).is_err());
        std::fs::write(&path, &whole[..10]).unwrap();
        assert!(commits(&path).is_err());
    }
}
