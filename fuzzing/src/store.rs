//! A store whose files were tampered with: it opens whole, or is refused in a sentence; it never panics, and never opens without
//! a vote that it had promised.

use std::path::Path;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use marlos::cx::store_key;
use marlos::driver::store::{Change, Store};
use marlos::id::{JobId, NodeId};
use marlos::io::Record;
use marlos::wire::binary;

const ME: NodeId = NodeId([7; 16]);
const FILES: [&str; 2] = ["node.redb", "node.commits"];
/// Edits of one run: few, since each alone mostly ends it.
const MOST_EDITS: usize = 6;

/// A store that has voted, and forgotten some of it: its two files, and what they hold.
struct Lived {
    files: [Vec<u8>; 2],
    records: Vec<Record>,
    /// The same a commit earlier: what a disk may fall back to.
    earlier: [Vec<u8>; 2],
    earlier_records: Vec<Record>,
}

/// Tampers with a store as `data` says, and opens it.
pub fn run(data: &[u8]) {
    let lived = lived();
    let mut files = lived.files.clone();
    let mut wishes = Unstructured::new(data);
    let mut witness_touched = false;
    for _ in 0..MOST_EDITS {
        if wishes.is_empty() {
            break;
        }
        let Ok(which) = edit(&mut wishes, &mut files, &lived.earlier) else { break };
        witness_touched |= which == 1;
    }
    let directory = scratch();
    let state = directory.path().join("state");
    private_dir(&state);
    for (name, bytes) in FILES.iter().zip(&files) {
        write(&state.join(name), bytes);
    }
    match Store::open(directory.path(), ME) {
        Ok((mut store, records)) => {
            // Both files of an earlier moment are a state; one of them alone is not.
            let fell_back = witness_touched && records == lived.earlier_records;
            assert!(fell_back || records == lived.records, "a store opens with everything that it promised to keep");
            // And it goes on: what is written now is there the next time.
            let commits = store.commits();
            store.commit([Change::Persist { key: b"again", value: b"1" }]).expect("a store that opened can be written");
            assert_eq!(store.commits(), commits + 1);
        }
        Err(sentence) => assert!(sentence.len() > 20, "a refusal says what is wrong: {sentence}"),
    }
}

/// Does one thing to one file, and says to which.
fn edit(wishes: &mut Unstructured<'_>, files: &mut [Vec<u8>; 2], earlier: &[Vec<u8>; 2]) -> Result<usize> {
    let which = usize::from(wishes.ratio(1, 4)?);
    let file = &mut files[which];
    let place = if file.is_empty() { 0 } else { wishes.int_in_range(0..=file.len() - 1)? };
    match wishes.int_in_range(0..=7u8)? {
        0 => file.truncate(place),
        1 => file.extend_from_slice(wishes.bytes(wishes.len().min(64))?),
        2 => *file = wishes.bytes(wishes.len().min(4_096))?.to_vec(),
        3 => file.clone_from(&earlier[which]),
        4 => {
            // A page that was never written.
            let end = (place | 4_095).min(file.len());
            file[place & !4_095..end].fill(0);
        }
        5 => {
            // A page in another's place.
            let from = (wishes.int_in_range(0..=file.len().max(1) - 1)?) & !4_095;
            let (to, length) = (place & !4_095, 4_096.min(file.len() - from.max(place & !4_095)));
            file.copy_within(from..from + length, to);
        }
        _ => {
            let length = usize::from(wishes.arbitrary::<u8>()? % 16).min(wishes.len());
            let bytes = wishes.bytes(length)?.to_vec();
            for (byte, with) in file.iter_mut().skip(place).zip(bytes) {
                *byte ^= with;
            }
        }
    }
    Ok(which)
}

fn lived() -> &'static Lived {
    static LIVED: OnceLock<Lived> = OnceLock::new();
    LIVED.get_or_init(|| {
        let directory = scratch();
        let state = directory.path().join("state");
        let files = || FILES.map(|name| read(&state.join(name)));
        for round in 0..24u32 {
            let (mut store, _) = Store::open(directory.path(), ME).expect("a new store");
            let key = |round: u32| store_key::of_job(store_key::VOTE, JobId([round as u8; 16]));
            let mut vote = Vec::new();
            binary::encode_into(&(round, NodeId([3; 16])), &mut vote);
            let old = key(round.wrapping_sub(9));
            store
                .commit([Change::Persist { key: &key(round), value: &vote }, Change::Forget { key: &old }])
                .expect("it can be written");
        }
        let earlier = files();
        let (mut store, earlier_records) = Store::open(directory.path(), ME).expect("it opens");
        store.commit([Change::Persist { key: b"i", value: &[1] }]).expect("it can be written");
        drop(store);
        let (store, records) = Store::open(directory.path(), ME).expect("it opens");
        drop(store);
        Lived { files: files(), records, earlier, earlier_records }
    })
}

/// In memory where the system has a place for that: thousands of starts need no disk to wait for.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a place for files")
}

fn private_dir(path: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path).expect("a directory");
}

#[expect(clippy::disallowed_methods, reason = "the store under test is files")]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file");
}

#[expect(clippy::disallowed_methods, reason = "the store under test is files")]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a file")
}
