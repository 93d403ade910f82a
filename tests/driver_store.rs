//! A process that is killed while it writes: what it had acknowledged is there afterwards.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the process under test has files, and acknowledges on its standard output"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use marlos::driver::store::{Change, Store};
use marlos::id::NodeId;

const ME: NodeId = NodeId([7; 16]);
const ROUNDS: u64 = 60;
/// Keys are used again and again, so that the tree changes everywhere.
const KEYS: u32 = 200;
const WRITER: &str = "MARLOS_TEST_STORE_WRITER";

/// What the writer's commit of this number writes, and what it forgets.
fn entry(number: u32) -> ([u8; 4], Vec<u8>, [u8; 4]) {
    let value = [&number.to_le_bytes()[..], &vec![number as u8; (number % 900) as usize]].concat();
    ((number % KEYS).to_be_bytes(), value, (number.wrapping_mul(7) % KEYS + KEYS).to_be_bytes())
}

/// Not a test but the process that the test below starts: writes and acknowledges until it is killed.
#[test]
fn writer() {
    let Ok(data) = std::env::var(WRITER) else { return };
    let (mut store, _) = Store::open(Path::new(&data), ME).unwrap();
    let mut number = u32::try_from(store.commits()).unwrap();
    loop {
        let (key, value, gone) = entry(number);
        let changes = [
            Change::Persist { key: &key, value: &value },
            Change::Persist { key: &gone, value: b"for a moment" },
            Change::Forget { key: &gone },
        ];
        store.commit(changes).unwrap();
        number += 1;
        // The pipe takes it at once: what is written to it outlives this process.
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_outlives_kill_9_at_any_moment() {
    let data = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture", "--test-threads", "1"])
            .env(WRITER, data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some are killed while they open what the last one left, some after this many acknowledgements.
        let patience = (round * 2_654_435_761) % 40;
        let mut acknowledged = before;
        let mut note = |line: &str| {
            // The first one stands behind what the harness says of the test.
            if let Some((_, number)) = line.split_once("ack ") {
                acknowledged = number.parse().unwrap();
            }
        };
        for line in lines.by_ref().take(patience as usize) {
            note(&line.unwrap());
        }
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(|line| note(&line));
        child.wait().unwrap();

        let (store, records) = Store::open(data.path(), ME).unwrap();
        let commits = u32::try_from(store.commits()).unwrap();
        assert!(
            commits == acknowledged || commits == acknowledged + 1,
            "round {round}: {acknowledged} acknowledged, {commits} there"
        );
        // The newest commits, one for each key, in the order of the keys.
        let mut expected: Vec<_> = (commits.saturating_sub(KEYS)..commits).map(entry).collect();
        expected.sort();
        assert!(records.iter().map(|r| (&r.key[..], &r.value)).eq(expected.iter().map(|e| (&e.0[..], &e.1))));
        before = commits;
    }
    assert!(before > KEYS, "too few commits to tell: {before}");
}
