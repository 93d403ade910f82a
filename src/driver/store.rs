//! What the node remembers, durably: one file, keys and values as the node gives them (protocol.md, sections 1, 5, 6 and 8).

use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::files;
use crate::id::NodeId;
use crate::io::Record;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// Whose state this is, and how it is written.
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
const FORMAT: &[u8] = b"1";

/// The durable store of one node. While it is open, no other process can open it.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
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
    /// Opens the store below the data directory; where there is none yet, makes it.
    ///
    /// A file that cannot be read stops the node: a node that forgot its votes may vote twice. Making a new file goes through
    /// another name, so that a crash meanwhile never leaves one that looks like a state without votes.
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong, and what to do.
    pub fn open(data_dir: &Path, id: NodeId) -> Result<Store, String> {
        let directory = data_dir.join("state");
        files::private_dir(&directory)?;
        let path = directory.join("node.redb");
        if !path.try_exists().map_err(|e| format!("{}: {e}", path.display()))? {
            create(&directory, &path, id)?;
        }
        let database = Database::open(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => format!(
                "{} is in use by another process: one data directory serves one node; stop the other or set node.data_dir",
                path.display()
            ),
            other => unreadable(&path, &other),
        })?;
        let store = Store { database, path };
        store.check(id)?;
        Ok(store)
    }

    /// Everything that is remembered, in the order of the keys.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&self) -> Result<Vec<Record>, String> {
        let read = || -> Result<Vec<Record>, redb::Error> {
            let table = self.database.begin_read()?.open_table(RECORDS)?;
            let mut records = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                records.push(Record { key: key.value().to_vec(), value: value.value().to_vec() });
            }
            Ok(records)
        };
        read().map_err(|e| unreadable(&self.path, &e))
    }

    /// Applies all changes, in this order, in one transaction; when this returns, they survive a power failure.
    ///
    /// # Errors
    /// They could not be written. The node must not go on: it could break a promise that it has forgotten.
    pub fn commit<'a>(&self, changes: impl IntoIterator<Item = Change<'a>>) -> Result<(), String> {
        let write = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for change in changes {
                    match change {
                        Change::Persist { key, value } => drop(table.insert(key, value)?),
                        Change::Forget { key } => drop(table.remove(key)?),
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|e| format!("cannot write {}: {e}", self.path.display()))
    }

    fn check(&self, id: NodeId) -> Result<(), String> {
        let get = |key: &str| -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(ABOUT)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        };
        let format = get("format").map_err(|e| unreadable(&self.path, &e))?;
        let owner = get("node_id").map_err(|e| unreadable(&self.path, &e))?;
        if format.as_deref() != Some(FORMAT) {
            return Err(format!("{} is written in a format that this version does not read", self.path.display()));
        }
        if owner.as_deref() != Some(&id.0) {
            return Err(format!(
                "{} is the state of another node than {id}: key and state belong together; restore both from one backup",
                self.path.display()
            ));
        }
        Ok(())
    }
}

fn create(directory: &Path, path: &Path, id: NodeId) -> Result<(), String> {
    let new = directory.join("node.redb.new");
    let make = || -> Result<(), redb::Error> {
        let _ = std::fs::remove_file(&new);
        let database = Database::create(&new)?;
        let transaction = database.begin_write()?;
        {
            transaction.open_table(RECORDS)?;
            let mut about = transaction.open_table(ABOUT)?;
            about.insert("format", FORMAT)?;
            about.insert("node_id", id.0.as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    };
    make().map_err(|e| format!("cannot create {}: {e}", new.display()))?;
    std::fs::rename(&new, path)
        .and_then(|()| files::sync_dir(directory))
        .map_err(|e| format!("cannot create {}: {e}", path.display()))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!(
        "{} cannot be read ({error}). The node does not start without what it promised: restore the file from a backup, or \
         move it away together with the key file, which makes this a new node",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId([1; 16]);

    #[test]
    fn what_was_persisted_is_loaded_in_key_order_and_what_was_forgotten_is_not() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), ME).unwrap();
        assert_eq!(store.load().unwrap(), []);
        store
            .commit([
                Change::Persist { key: b"b", value: b"2" },
                Change::Persist { key: b"a", value: b"0" },
                Change::Persist { key: b"a", value: b"1" },
                Change::Persist { key: b"c", value: b"3" },
                Change::Forget { key: b"c" },
                Change::Forget { key: b"never there" },
            ])
            .unwrap();
        drop(store);
        let record = |key: &[u8], value: &[u8]| Record { key: key.to_vec(), value: value.to_vec() };
        let again = Store::open(data.path(), ME).unwrap();
        assert_eq!(again.load().unwrap(), [record(b"a", b"1"), record(b"b", b"2")]);
    }

    #[test]
    fn a_second_process_another_node_and_a_broken_file_are_refused_by_name() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), ME).unwrap();
        assert!(Store::open(data.path(), ME).unwrap_err().contains("another process"));
        drop(store);
        assert!(Store::open(data.path(), NodeId([2; 16])).unwrap_err().contains("another node"));
        let path = data.path().join("state/node.redb");
        for broken in [&b""[..], b"not a database at all"] {
            std::fs::write(&path, broken).unwrap();
            assert!(Store::open(data.path(), ME).unwrap_err().contains("cannot be read"), "{broken:?} passed");
        }
    }
}
