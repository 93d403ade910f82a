//! What group commit is worth: records per second in the store by how many share a commit, and jobs per second that a node
//! takes by how many submit at once. Each job is remembered durably before its submission is answered.
//!
//! `cargo bench -p marlos --bench group_commit`; medians of five runs. `BENCHED_NODE=FILE` measures another binary.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark has clocks, sockets and threads, and prints what it measured"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use marlos::driver::store::{Change, Store};
use marlos::id::NodeId;

const RUNS: usize = 5;
/// Bytes of a value: about what a job or a vote has.
const VALUE: usize = 200;
const RECORDS: usize = 512;
const SUBMISSIONS: usize = 960;

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// Records per second where so many share a commit.
fn store(share: usize) -> f64 {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (mut store, _) = Store::open(data.path(), NodeId([1; 16])).unwrap();
    let value = [7; VALUE];
    let keys: Vec<[u8; 17]> = (0..RECORDS)
        .map(|n| {
            let mut key = [b'v'; 17];
            key[9..].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            key
        })
        .collect();
    let since = Instant::now();
    for group in keys.chunks(share) {
        store.commit(group.iter().map(|key| Change::Persist { key, value: &value })).unwrap();
    }
    RECORDS as f64 / since.elapsed().as_secs_f64()
}

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(data: &Path) -> Node {
    let binary = std::env::var("BENCHED_NODE").unwrap_or_else(|_| env!("CARGO_BIN_EXE_marlos-node").to_owned());
    let child = Command::new(binary)
        .args(["run", "--no-multicast", "--bind", "127.0.0.1", "--api-port", "0"])
        .args(["--pub-port", "31950", "--sub-port", "31951", "--beacon-port", "31952", "--data-dir"])
        .arg(data)
        .env("MARLOS_LOG", "error")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut node = Node(child);
    while !data.join("api-address").exists() {
        assert!(node.0.try_wait().unwrap().is_none(), "the node ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    node
}

/// Jobs per second that one node takes from so many clients, each of which waits for its answer.
fn submissions(clients: usize) -> f64 {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let _node = start(data.path());
    let address = std::fs::read_to_string(data.path().join("api-address")).unwrap();
    let token = std::fs::read_to_string(data.path().join("api-token")).unwrap();
    // Nobody has the capability: the job is remembered and broadcast, and not run.
    let body = r#"{"command":"true","requirements":["nobody"],"deadline":"1h"}"#;
    let request = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        token.trim(),
        body.len()
    );
    let ready = Barrier::new(clients + 1);
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = BufReader::new(TcpStream::connect(&address).unwrap());
                    stream.get_ref().set_nodelay(true).unwrap();
                    ready.wait();
                    for _ in 0..SUBMISSIONS / clients {
                        stream.get_mut().write_all(request.as_bytes()).unwrap();
                        answered(&mut stream);
                    }
                })
            })
            .collect();
        ready.wait();
        let since = Instant::now();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        SUBMISSIONS as f64 / since.elapsed().as_secs_f64()
    })
}

fn answered(stream: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("201"), "{line}");
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        match line.trim().to_ascii_lowercase().strip_prefix("content-length:") {
            Some(value) => length = value.trim().parse().unwrap(),
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    stream.read_exact(&mut vec![0; length]).unwrap();
}

fn table(title: &str, column: &str, unit: &str, sizes: &[usize], run: fn(usize) -> f64) {
    println!("{title}\n{column:>16} {unit:>12} {:>8}", "ratio");
    let mut first = None;
    for size in sizes {
        let rate = median((0..RUNS).map(|_| run(*size)).collect());
        let first = *first.get_or_insert(rate);
        println!("{size:>16} {rate:>12.0} {:>8.1}", rate / first);
    }
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    table("the store", "records a commit", "records/s", &[1, 8, 64, 512], store);
    table("a node, through its API", "clients", "jobs/s", &[1, 8, 32, 64], submissions);
}
