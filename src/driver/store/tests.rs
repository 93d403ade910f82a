use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::*;

const ME: NodeId = NodeId([1; 16]);
/// Of the bytes of a page, every so many-th is flipped; a prime, so that each kind of field is met.
const STRIDE: usize = 101;

fn record(key: &[u8], value: &[u8]) -> Record {
    Record { key: key.to_vec(), value: value.to_vec() }
}

/// A store that has seen some life, and what it holds.
fn lived(data: &Path) -> Vec<Record> {
    let (mut store, records) = Store::open(data, ME).unwrap();
    assert_eq!(records, []);
    for round in 0..40u32 {
        let entries: Vec<([u8; 4], Vec<u8>)> =
            (0..5).map(|n| ((round * 5 + n).to_be_bytes(), vec![round as u8; 40 + n as usize])).collect();
        let persists = entries.iter().map(|(key, value)| Change::Persist { key, value });
        let old = round.saturating_sub(8).to_be_bytes();
        store.commit(persists.chain([Change::Forget { key: &old }])).unwrap();
    }
    drop(store);
    Store::open(data, ME).unwrap().1
}

/// In memory where the system has a place for that: thousands of starts need no disk to wait for.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    files::private_dir(&to.join("state")).unwrap();
    for name in [DATABASE_FILE, WITNESS_FILE] {
        std::fs::copy(from.join("state").join(name), to.join("state").join(name)).unwrap();
    }
}

#[test]
fn what_was_persisted_is_loaded_in_key_order_and_what_was_forgotten_is_not() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, records) = Store::open(data.path(), ME).unwrap();
    assert_eq!(records, []);
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
    assert_eq!(Store::open(data.path(), ME).unwrap().1, [record(b"a", b"1"), record(b"b", b"2")]);
}

#[test]
fn a_second_process_another_node_and_a_broken_file_are_refused_by_name() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(data.path(), ME).unwrap();
    assert!(Store::open(data.path(), ME).unwrap_err().contains("another process"));
    drop(store);
    assert!(Store::open(data.path(), NodeId([2; 16])).unwrap_err().contains("another node"));
    let path = data.path().join("state/node.redb");
    for broken in [&b""[..], b"not a database at all"] {
        std::fs::write(&path, broken).unwrap();
        let error = Store::open(data.path(), ME).unwrap_err();
        assert!(error.contains("node.redb cannot be used") && error.contains("restore"), "{broken:?}: {error}");
    }
}

#[test]
fn a_lost_file_is_noticed_and_a_crash_while_making_them_is_not() {
    let data = tempfile::tempdir().unwrap();
    let state = data.path().join("state");
    files::private_dir(&state).unwrap();
    // The crash came between the two files.
    Witness::create(&state.join(WITNESS_FILE), ME).unwrap();
    std::fs::write(state.join("node.redb.new"), b"half").unwrap();
    lived(data.path());

    let lost = tempfile::tempdir().unwrap();
    copy(data.path(), lost.path());
    std::fs::remove_file(lost.path().join("state/node.redb")).unwrap();
    assert!(Store::open(lost.path(), ME).unwrap_err().contains("it is not there"));
    copy(data.path(), lost.path());
    std::fs::remove_file(lost.path().join("state/node.commits")).unwrap();
    assert!(Store::open(lost.path(), ME).unwrap_err().contains("node.commits cannot be used"));
}

#[test]
fn an_older_state_than_the_last_one_and_one_that_went_another_way_are_refused() {
    let (data, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = lived(data.path());
    copy(data.path(), older.path());
    let persist = |data: &Path, value: &[u8]| {
        let (mut store, _) = Store::open(data, ME).unwrap();
        store.commit([Change::Persist { key: b"vote", value }]).unwrap();
    };
    persist(data.path(), b"for a");
    let put_back = |from: &Path, name: &str| {
        std::fs::copy(from.join("state").join(name), data.path().join("state").join(name)).unwrap();
    };
    put_back(older.path(), DATABASE_FILE);
    assert!(Store::open(data.path(), ME).unwrap_err().contains("were promised"));
    persist(older.path(), b"for b");
    put_back(older.path(), DATABASE_FILE);
    assert!(Store::open(data.path(), ME).unwrap_err().contains("last written here"));
    // Both together are a state.
    put_back(older.path(), WITNESS_FILE);
    assert_eq!(Store::open(data.path(), ME).unwrap().1.len(), before.len() + 1);
}

/// Every outcome is allowed but one: starting without a record, or with another one.
fn starts_whole_or_refuses(data: &Path, expected: &[Record], what: &str) -> bool {
    match Store::open(data, ME) {
        Ok((_, records)) => {
            assert!(records == expected, "{what}: it started with something else");
            true
        }
        Err(error) => {
            assert!(error.contains("cannot be used") && error.contains("restore"), "{what}: {error}");
            false
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_leaves_every_record_or_stops_the_node() {
    let (data, damaged) = (scratch(), scratch());
    let expected = lived(data.path());
    // As kill -9 leaves it, where the database must repair itself and has an older root to fall back to.
    let killed = scratch();
    let mut with_more = expected.clone();
    with_more.push(record(b"\xffvote", b"for a"));
    {
        copy(data.path(), killed.path());
        let (mut store, _) = Store::open(killed.path(), ME).unwrap();
        store.commit([Change::Persist { key: b"\xffvote", value: b"for a" }]).unwrap();
        copy(killed.path(), damaged.path());
        drop(store);
    }
    let open = scratch();
    copy(damaged.path(), open.path());
    for (from, expected, of) in [(&data, &expected, "a clean end"), (&open, &with_more, "a kill")] {
        for name in [DATABASE_FILE, WITNESS_FILE] {
            let whole = std::fs::read(from.path().join("state").join(name)).unwrap();
            // The whole header, and the rest where there is something.
            let offsets: Vec<usize> =
                (0..whole.len()).filter(|at| *at < 330 || (whole[*at] != 0 && at % STRIDE == 0)).collect();
            let mut refused = 0;
            for at in &offsets {
                copy(from.path(), damaged.path());
                let mut bytes = whole.clone();
                bytes[*at] ^= 1 << (at % 8);
                std::fs::write(damaged.path().join("state").join(name), &bytes).unwrap();
                let what = format!("{name} after {of}, byte {at} of {}", whole.len());
                refused += u32::from(!starts_whole_or_refuses(damaged.path(), expected, &what));
            }
            assert!(name == WITNESS_FILE || refused > 0, "nothing of {name} mattered");
        }
    }
}

#[test]
fn a_file_cut_anywhere_leaves_every_record_or_stops_the_node() {
    let (data, damaged) = (scratch(), scratch());
    let expected = lived(data.path());
    for name in [DATABASE_FILE, WITNESS_FILE] {
        let whole = std::fs::read(data.path().join("state").join(name)).unwrap();
        for cut in (0..whole.len()).step_by(whole.len() / 97 + 1) {
            copy(data.path(), damaged.path());
            std::fs::write(damaged.path().join("state").join(name), &whole[..cut]).unwrap();
            starts_whole_or_refuses(damaged.path(), &expected, &format!("{name} cut at {cut}"));
        }
    }
}

#[test]
fn what_is_forgotten_leaves_room_and_a_large_file_shrinks_at_start() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("state/node.redb");
    let size = || std::fs::metadata(&path).unwrap().len();
    let (mut store, _) = Store::open(data.path(), ME).unwrap();
    let value = vec![7; 1_000];
    let mut sizes = Vec::new();
    for round in 0..20u32 {
        let keys: Vec<[u8; 4]> = (0..500).map(|n| (round * 500 + n).to_be_bytes()).collect();
        store.commit(keys.iter().map(|key| Change::Persist { key, value: &value })).unwrap();
        store.commit(keys.iter().map(|key| Change::Forget { key })).unwrap();
        sizes.push(size());
    }
    assert!(sizes[19] <= sizes[4], "it grows with history: {sizes:?}");
    let keys: Vec<[u8; 4]> = (0..20_000u32).map(u32::to_be_bytes).collect();
    store.commit(keys.iter().map(|key| Change::Persist { key, value: &value })).unwrap();
    store.commit(keys.iter().skip(1).map(|key| Change::Forget { key })).unwrap();
    let before = size();
    assert!(before > COMPACT_BYTES);
    drop(store);
    let (store, records) = Store::open(data.path(), ME).unwrap();
    assert_eq!(records, [record(&keys[0], &value)]);
    assert!(size() < COMPACT_BYTES / 4, "{before} bytes became {}", size());
    drop(store);
    assert_eq!(Store::open(data.path(), ME).unwrap().1, records);
}

/// A disk that may lose what was not synced, in any part, and that may be full.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Clone, Debug, Default)]
struct Platter {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync, cut into sectors.
    pending: Vec<(usize, Vec<u8>)>,
    /// Bytes that it takes yet.
    room: Option<usize>,
}

impl Disk {
    /// What is there after a power failure in which each pending sector was lost or not, as `lost` says.
    fn after_power_failure(&self, mut lost: impl FnMut() -> bool) -> Disk {
        let platter = self.0.lock().unwrap();
        let mut bytes = platter.durable.clone();
        for (at, sector) in &platter.pending {
            if !lost() {
                bytes.resize(bytes.len().max(at + sector.len()), 0);
                bytes[*at..at + sector.len()].copy_from_slice(sector);
            }
        }
        // The length is metadata; with a journal it may be ahead of the data.
        bytes.resize(bytes.len().max(platter.now.len()), 0);
        Disk(Arc::new(Mutex::new(Platter { now: bytes.clone(), durable: bytes, ..Platter::default() })))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let at = offset as usize;
        out.copy_from_slice(&self.0.lock().unwrap().now[at..at + out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.lock().unwrap().now.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        let mut platter = self.0.lock().unwrap();
        platter.durable = platter.now.clone();
        platter.pending.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        let mut platter = self.0.lock().unwrap();
        if let Some(room) = &mut platter.room {
            *room =
                room.checked_sub(data.len()).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::StorageFull))?;
        }
        let at = offset as usize;
        platter.now[at..at + data.len()].copy_from_slice(data);
        let mut from = 0;
        while from < data.len() {
            let to = data.len().min(from + 512 - (at + from) % 512);
            platter.pending.push((at + from, data[from..to].to_vec()));
            from = to;
        }
        Ok(())
    }
}

fn on_disk(disk: &Disk, witness: &Path) -> Result<(Store, Vec<Record>), String> {
    let path = PathBuf::from("disk");
    let open = || Ok(Builder::new().set_check_integrity_on_open(true).create_with_backend(disk.clone())?);
    let database = guarded(&path, open)?;
    Store::read(database, path, witness, ME)
}

#[test]
fn a_power_failure_at_any_write_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let witness = directory.path().join("witness");
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let disk = Disk::default();
    Witness::create(&witness, ME).unwrap();
    initialise(&Database::builder().create_with_backend(disk.clone()).unwrap(), ME).unwrap();
    let (mut store, _) = on_disk(&disk, &witness).unwrap();
    let witness_before = std::fs::read(&witness).unwrap();
    let (mut starts, mut newest) = (0, 0);
    for commit in 0..120u32 {
        let (key, value) = ((commit % 17).to_be_bytes(), commit.to_be_bytes());
        let acknowledged = store.summary;
        // The disk fills up inside the commit: what it wrote until then is what a power failure may leave.
        let room = random() as usize % 30_000;
        let (before, kept_witness) = (disk.0.lock().unwrap().clone(), std::fs::read(&witness).unwrap());
        disk.0.lock().unwrap().room = Some(room);
        let failed = store.commit([Change::Persist { key: &key, value: &value }]).is_err();
        for odds in [0, 1, 2, 4] {
            let crashed = disk.after_power_failure(|| odds > 0 && random() % odds == 0);
            let crashed_witness = directory.path().join("crashed");
            // Nobody waited for the witness: any older one may be what is left.
            let left = if random() % 3 == 0 { &witness_before } else { &kept_witness };
            std::fs::write(&crashed_witness, left).unwrap();
            let (again, records) = on_disk(&crashed, &crashed_witness).unwrap();
            let least = if failed { acknowledged } else { store.summary };
            assert!(again.summary.commits >= least.commits, "commit {commit}: {:?} < {least:?}", again.summary);
            assert!(again.summary.commits > least.commits || again.summary == least);
            assert_eq!(records.len() as u64, again.summary.records);
            newest += u32::from(again.summary.commits > acknowledged.commits);
            starts += 1;
        }
        if failed {
            // On with a disk that has room again, as it was before.
            drop(store);
            *disk.0.lock().unwrap() = before;
            store = on_disk(&disk, &witness).unwrap().0;
        } else {
            disk.0.lock().unwrap().room = None;
        }
    }
    assert!(newest > 0 && newest < starts, "{newest} of {starts} starts found the last commit");
}

#[test]
fn a_full_disk_fails_the_commit_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let witness = directory.path().join("witness");
    let disk = Disk::default();
    Witness::create(&witness, ME).unwrap();
    initialise(&Database::builder().create_with_backend(disk.clone()).unwrap(), ME).unwrap();
    let (mut store, _) = on_disk(&disk, &witness).unwrap();
    store.commit([Change::Persist { key: b"a", value: b"1" }]).unwrap();
    disk.0.lock().unwrap().room = Some(1_000);
    let large = vec![1; 100_000];
    let error = store.commit([Change::Persist { key: b"b", value: &large }]).unwrap_err();
    assert!(error.contains("cannot write disk"), "{error}");
    // It does not pretend afterwards either.
    disk.0.lock().unwrap().room = None;
    assert!(store.commit([Change::Persist { key: b"c", value: b"3" }]).is_err());
    drop(store);
    assert_eq!(on_disk(&disk, &witness).unwrap().1, [record(b"a", b"1")]);
}
