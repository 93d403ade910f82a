//! Files that are nobody else's business: written whole or not at all, and readable by their owner only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::identity::Keys;
use crate::time::WallTime;

/// The document's advice: a key is replaced after 90 days.
pub const KEY_AGE_ADVISED: Duration = Duration::from_secs(90 * 86_400);

/// Makes a directory that only its owner can enter, with its parents; one that is there already is closed to others.
///
/// # Errors
/// A sentence that names the directory.
pub fn private_dir(path: &Path) -> Result<(), String> {
    let make = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mode = std::fs::metadata(path)?.mode();
        if mode & 0o077 != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7700))?;
        }
        Ok(())
    };
    make().map_err(|e| format!("cannot make the private directory {}: {e}", path.display()))
}

/// Makes a directory that only its owner can enter, or takes one that is there as it is: it may be somebody's home.
///
/// # Errors
/// A sentence that names the directory.
pub fn data_dir(path: &Path) -> Result<(), String> {
    let make = DirBuilder::new().recursive(true).mode(0o700).create(path);
    make.map_err(|e| format!("cannot make the data directory {}: {e}", path.display()))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The system's.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a file of mode 0600, whole or not at all. `replace` says whether one that is there may go.
///
/// # Errors
/// The system's; `AlreadyExists` where a file is there that may not be replaced.
pub fn write_private(path: &Path, contents: &[u8], replace: bool) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new{}", std::process::id()));
    let new = directory.join(name);
    let _ = std::fs::remove_file(&new);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(contents)?;
        file.sync_all()?;
        if replace {
            std::fs::rename(&new, path)?;
        } else {
            // A link fails where the name is taken; a rename would replace it.
            std::fs::hard_link(&new, path)?;
            std::fs::remove_file(&new)?;
        }
        sync_dir(directory)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}

/// Reads a text file that nobody but its owner can read.
///
/// # Errors
/// A sentence that names the file: not there, or open to others.
pub fn read_private(path: &Path) -> Result<String, String> {
    let mode = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "{} can be read by others (mode {:04o}): whoever reads it can act as this node; make a new one, or run \
             `chmod 600` on it if you know that nobody has",
            path.display(),
            mode & 0o7777
        ));
    }
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// The key file below a data directory, if there is one.
///
/// # Errors
/// More than one: their names.
pub fn key_file(data_dir: &Path) -> Result<Option<PathBuf>, String> {
    let directory = data_dir.join("keys");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", directory.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", directory.display()))?.path();
        if path.extension().is_some_and(|e| e == "key") {
            found.push(path);
        }
    }
    found.sort();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => {
            let names: Vec<String> = found.iter().map(|p| p.display().to_string()).collect();
            Err(format!(
                "more than one key file: {}; leave the one of this node and move the others away",
                names.join(", ")
            ))
        }
    }
}

/// The node's keys, if it has any yet (protocol.md, section 1).
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn read_keys(data_dir: &Path) -> Result<Option<Keys>, String> {
    let Some(path) = key_file(data_dir)? else { return Ok(None) };
    let keys = Keys::from_pem(&read_private(&path)?).map_err(|e| format!("{}: {e}", path.display()))?;
    if path.file_stem().and_then(|s| s.to_str()) != Some(&keys.id().to_string()) {
        return Err(format!(
            "{} holds the key of node {}: the name of a key file is its node's id",
            path.display(),
            keys.id()
        ));
    }
    Ok(Some(keys))
}

/// The node's keys; where there are none yet, makes them. Never replaces any.
///
/// # Errors
/// A sentence that names the file.
pub fn keys(data_dir: &Path) -> Result<Keys, String> {
    if let Some(keys) = read_keys(data_dir)? {
        return Ok(keys);
    }
    self::data_dir(data_dir)?;
    let directory = data_dir.join("keys");
    private_dir(&directory)?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| format!("no entropy for a new key: {e}"))?;
    let keys = Keys::from_secret(&secret);
    let path = directory.join(format!("{}.key", keys.id()));
    write_private(&path, keys.to_pem().as_bytes(), false)
        .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(keys)
}

/// Gives the node's identity another key. It is done at once and durably, or not at all: whatever comes after it, the node that
/// starts has the new key, and its chain tells the others.
///
/// # Errors
/// A sentence: there is no key, the chain is full or too young, or a file cannot be written.
pub fn rotate_keys(data_dir: &Path, network_id: &str, now: WallTime) -> Result<Keys, String> {
    let none = || format!("no key below {}: `marlos-node init` or `run` makes one", data_dir.display());
    let present = read_keys(data_dir)?.ok_or_else(none)?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| format!("no entropy for a new key: {e}"))?;
    let rotated = present.rotated(&secret, now, network_id)?;
    replace_keys(data_dir, &rotated)?;
    Ok(rotated)
}

/// The network knows the present key: the one before goes from the key file.
///
/// # Errors
/// A sentence that names the file.
pub fn forget_old_key(data_dir: &Path) -> Result<(), String> {
    match read_keys(data_dir)? {
        Some(keys) if keys.before_rotation().is_some() => replace_keys(data_dir, &keys.without_old()),
        Some(_) | None => Ok(()),
    }
}

fn replace_keys(data_dir: &Path, keys: &Keys) -> Result<(), String> {
    let path = data_dir.join("keys").join(format!("{}.key", keys.id()));
    write_private(&path, keys.to_pem().as_bytes(), true).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// For how long the present key has been in use: since its file was written.
#[must_use]
pub fn key_age(data_dir: &Path) -> Option<Duration> {
    let written = std::fs::metadata(key_file(data_dir).ok()??).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(written).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_stays() {
        let data = tempfile::tempdir().unwrap();
        assert!(read_keys(data.path()).unwrap().is_none());
        let first = keys(data.path()).unwrap();
        assert_eq!(keys(data.path()).unwrap().id(), first.id());
        let path = key_file(data.path()).unwrap().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a temporary file was left");
        assert!(write_private(&path, b"x", false).is_err(), "a key file was replaced");
    }

    #[test]
    fn a_rotation_replaces_the_key_in_one_step_and_keeps_the_one_before_until_it_is_forgotten() {
        let data = tempfile::tempdir().unwrap();
        assert!(rotate_keys(data.path(), "marlos", WallTime(0)).unwrap_err().contains("no key below"));
        let first = keys(data.path()).unwrap();
        let second = rotate_keys(data.path(), "marlos", WallTime(1)).unwrap();
        let read = || read_keys(data.path()).unwrap().unwrap();
        assert_eq!((read().id(), read().public()), (first.id(), second.public()));
        assert_eq!(read().before_rotation().unwrap().public(), first.public());
        forget_old_key(data.path()).unwrap();
        forget_old_key(data.path()).unwrap();
        assert!(read().before_rotation().is_none() && read().chain().len() == 1);
        assert!(rotate_keys(data.path(), "marlos", WallTime(2)).unwrap_err().contains("too recent"));
        assert_eq!(read().public(), second.public());
        let directory = data.path().join("keys");
        // A kill in the middle of writing leaves a file of another name, which nobody reads.
        std::fs::write(directory.join(format!("{}.key.new77", first.id())), "half").unwrap();
        assert_eq!(keys(data.path()).unwrap().public(), second.public());
        assert!(key_age(data.path()).unwrap() < KEY_AGE_ADVISED);
    }

    #[test]
    fn a_key_that_others_can_read_or_a_second_one_is_refused() {
        let data = tempfile::tempdir().unwrap();
        keys(data.path()).unwrap();
        let path = key_file(data.path()).unwrap().unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(keys(data.path()).unwrap_err().contains("can be read by others"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::copy(&path, path.with_file_name("other.key")).unwrap();
        assert!(keys(data.path()).unwrap_err().contains("other.key"));
        std::fs::remove_file(&path).unwrap();
        assert!(keys(data.path()).unwrap_err().contains("is its node's id"));
    }
}
