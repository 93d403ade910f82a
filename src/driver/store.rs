//! What the node remembers, durably: keys and values as the node gives them (protocol.md, sections 1, 5, 6 and 8).
//!
//! Two files: the database, and a [`witness`] of how far it had come. Everything is read and verified before the node
//! starts: each record by its tag, all of them by the summary of the last commit ([`seal`]), the summary by the witness. A
//! torn tail, which any crash may leave, was never promised and is cut off by the database. Anything else that does not
//! verify stops the node: one that forgot its votes may vote twice.

pub mod seal;
#[cfg(test)]
mod tests;
pub mod witness;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use self::seal::Summary;
use self::witness::Witness;
use super::files;
use crate::id::NodeId;
use crate::io::Record;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// Whose state this is, how it is written, and the summary.
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
const FORMAT: &[u8] = b"2";
/// The names of the files in the directory `state`.
const DATABASE_FILE: &str = "node.redb";
const WITNESS_FILE: &str = "node.commits";
/// What the database may keep in memory: far more than there usually is.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// A file is rewritten at start where it has this many bytes and is this many times as large as what is in it.
const COMPACT_BYTES: u64 = 8 * 1024 * 1024;
const COMPACT_FACTOR: u64 = 4;
/// Of a record, besides key and value: its tag and its place in a page.
const RECORD_BYTES: u64 = 64;

/// The durable store of one node. While it is open, no other process can open it.
#[derive(Debug)]
pub struct Store {
    database: Database,
    witness: Witness,
    path: PathBuf,
    node: NodeId,
    summary: Summary,
}

/// One change, in the order of the node's actions.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Remember this value under this key.
    #[expect(missing_docs, reason = "the variant says it")]
    Persist { key: &'a [u8], value: &'a [u8] },
    /// Forget this key.
    #[expect(missing_docs, reason = "the variant says it")]
    Forget { key: &'a [u8] },
}

impl Store {
    /// Opens the store below the data directory, with everything that it remembers in the order of the keys; where there is
    /// no store yet, makes it.
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong, and what to do.
    pub fn open(data_dir: &Path, node: NodeId) -> Result<(Store, Vec<Record>), String> {
        let directory = data_dir.join("state");
        files::private_dir(&directory)?;
        let (path, witness) = (directory.join(DATABASE_FILE), directory.join(WITNESS_FILE));
        if !path.try_exists().map_err(|e| format!("{}: {e}", path.display()))? {
            create(&directory, &path, &witness, node)?;
        }
        let database = guarded(&path, || open_database(&path))?;
        Store::read(database, path, &witness, node)
    }

    /// Reads and verifies everything.
    fn read(database: Database, path: PathBuf, witness: &Path, node: NodeId) -> Result<(Store, Vec<Record>), String> {
        let (records, summary) = guarded(&path, || read_all(&database, node))?;
        let (witness, seen) = Witness::open(witness, node).map_err(|e| unusable(witness, &e))?;
        if summary.commits < seen.commits {
            return Err(unusable(
                &path,
                &format!("it ends at commit {}, and {} were promised", summary.commits, seen.commits),
            ));
        }
        if summary.commits == seen.commits && summary != seen {
            return Err(unusable(&path, &"it is not the one that was last written here"));
        }
        let mut store = Store { database, witness, path, node, summary };
        store.compact(&records)?;
        store.witness.note(&summary)?;
        store.witness.sync()?;
        Ok((store, records))
    }

    /// Applies all changes, in this order, in one transaction; when this returns, they survive a power failure.
    ///
    /// # Errors
    /// They could not be written. The node must not go on: it could break a promise that it has forgotten.
    pub fn commit<'a>(&mut self, changes: impl IntoIterator<Item = Change<'a>>) -> Result<(), String> {
        let (database, node) = (&self.database, self.node);
        let mut summary = self.summary;
        let write = || -> Result<(), redb::Error> {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for change in changes {
                    match change {
                        Change::Persist { key, value } => {
                            let stored = seal::seal(node, key, value);
                            if let Some(before) = table.insert(key, stored.as_slice())? {
                                summary.remove(tag_of(before.value())?);
                            }
                            summary.add(tag_of(&stored)?);
                        }
                        Change::Forget { key } => {
                            if let Some(before) = table.remove(key)? {
                                summary.remove(tag_of(before.value())?);
                            }
                        }
                    }
                }
                summary.commits += 1;
                let mut about = transaction.open_table(ABOUT)?;
                about.insert("summary", summary.to_bytes(node).as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|e| {
            format!(
                "cannot write {}: {e}. The node stops before it says what it could not remember",
                self.path.display()
            )
        })?;
        self.summary = summary;
        self.witness.note(&summary)
    }

    /// How many commits there were since the store was made.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.summary.commits
    }

    /// Gives back the room of what was forgotten, where that is worth the time.
    fn compact(&mut self, records: &[Record]) -> Result<(), String> {
        let size = std::fs::metadata(&self.path).map_or(0, |about| about.len());
        let used: u64 = records.iter().map(|r| (r.key.len() + r.value.len()) as u64 + RECORD_BYTES).sum();
        if size < COMPACT_BYTES || size / COMPACT_FACTOR < used {
            return Ok(());
        }
        self.database.compact().map_err(|e| format!("cannot compact {}: {e}", self.path.display()))?;
        let after = std::fs::metadata(&self.path).map_or(0, |about| about.len());
        tracing::info!(before = size, after, "the state file was compacted");
        Ok(())
    }
}

impl Drop for Store {
    /// A clean end outlives the machine. Where it cannot be written, the next start reads what was there before.
    fn drop(&mut self) {
        if let Err(error) = self.witness.sync() {
            tracing::warn!("{error}");
        }
    }
}

/// Compares every page's checksum before anything is believed.
fn open_database(path: &Path) -> Result<Database, redb::Error> {
    Ok(Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path)?)
}

/// What reading came to. A damaged page may also make the database panic; that is no reason to start.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => Err(format!(
            "{} is in use by another process: one data directory serves one node; stop the other or set node.data_dir",
            path.display()
        )),
        Ok(Err(error)) => Err(unusable(path, &error)),
        Err(_) => Err(unusable(path, &"the database gave up on it")),
    }
}

/// All records, verified, and the summary that they agree with.
fn read_all(database: &Database, node: NodeId) -> Result<(Vec<Record>, Summary), redb::Error> {
    let transaction = database.begin_read()?;
    let about = transaction.open_table(ABOUT)?;
    let get = |key: &str| -> Result<Option<Vec<u8>>, redb::Error> { Ok(about.get(key)?.map(|v| v.value().to_vec())) };
    if get("format")?.as_deref() != Some(FORMAT) {
        return Err(corrupted("it is in a format that this version does not read".into()));
    }
    if get("node_id")?.as_deref() != Some(&node.0) {
        return Err(corrupted(format!(
            "it is the state of another node than {node}, and key and state belong together"
        )));
    }
    let told = get("summary")?.and_then(|bytes| Summary::from_bytes(node, &bytes));
    let told = told.ok_or_else(|| corrupted("its summary does not verify".into()))?;
    let mut records = Vec::new();
    let mut found = Summary { commits: told.commits, ..Summary::default() };
    for entry in transaction.open_table(RECORDS)?.iter()? {
        let (key, stored) = entry?;
        let key = key.value();
        let (value, tag) = seal::open(node, key, stored.value())
            .ok_or_else(|| corrupted(format!("the record {} does not verify", hex(key))))?;
        found.add(tag);
        records.push(Record { key: key.to_vec(), value: value.to_vec() });
    }
    if found != told {
        return Err(corrupted(format!(
            "it has {} records, and they are not the {} promised",
            found.records, told.records
        )));
    }
    Ok((records, told))
}

/// Makes the two files. A crash meanwhile leaves no database, or both files.
fn create(directory: &Path, path: &Path, witness: &Path, node: NodeId) -> Result<(), String> {
    if witness.try_exists().map_err(|e| format!("{}: {e}", witness.display()))? {
        let (_, seen) = Witness::open(witness, node).map_err(|e| unusable(witness, &e))?;
        if seen.commits > 0 {
            return Err(unusable(path, &format!("it is not there, and {} commits were promised", seen.commits)));
        }
    }
    Witness::create(witness, node)?;
    let new = directory.join("node.redb.new");
    let make = || -> Result<(), redb::Error> {
        let _ = std::fs::remove_file(&new);
        initialise(&Database::create(&new)?, node)
    };
    make().map_err(|e| format!("cannot create {}: {e}", new.display()))?;
    std::fs::rename(&new, path)
        .and_then(|()| files::sync_dir(directory))
        .map_err(|e| format!("cannot create {}: {e}", path.display()))
}

/// Both tables of a store without records.
fn initialise(database: &Database, node: NodeId) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(RECORDS)?;
        let mut about = transaction.open_table(ABOUT)?;
        about.insert("format", FORMAT)?;
        about.insert("node_id", node.0.as_slice())?;
        about.insert("summary", Summary::default().to_bytes(node).as_slice())?;
    }
    Ok(transaction.commit()?)
}

fn tag_of(stored: &[u8]) -> Result<seal::Tag, redb::Error> {
    stored.first_chunk().copied().ok_or_else(|| corrupted("a record has no tag".into()))
}

fn corrupted(what: String) -> redb::Error {
    redb::Error::Corrupted(what)
}

fn hex(key: &[u8]) -> String {
    key.iter().map(|b| format!("{b:02x}")).collect()
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!(
        "{} cannot be used ({error}). The node does not start without what it promised: restore the directory `state` as \
         it last was, or move it away together with the key file, which makes this a new node",
        path.display()
    )
}
