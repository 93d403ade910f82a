//! Real processes among hostile strangers on loopback: floods, frames of another run, exhausted descriptors, and libzmq.
//!
//! Nothing here asserts how fast something is. Figures of floods: `cargo bench --bench flood`.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the processes under test have sockets and clocks, and what is skipped or measured is said"
)]

#[path = "../support/attacker.rs"]
mod attacker;
mod flood;
mod injection;
mod interop;
#[path = "../support/nodes.rs"]
mod nodes;
mod web;

use std::path::Path;
use std::process::Command;

use nodes::{BINARY, Node, start, start_as, until};

/// Nodes that all know each other, the first one their contact.
fn cluster(root: &Path, count: usize, environment: &[(&str, &str)]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for at in 0..count {
        let mut command = Command::new(BINARY);
        command.envs(environment.iter().copied());
        let node = start_as(command, root, &format!("node{at}"), nodes.first(), "");
        nodes.push(node);
    }
    until("all know each other", || nodes.iter().all(|node| node.peers("alive").len() == count - 1));
    nodes
}

/// Submits a job and waits for its result.
fn run_job(node: &Node, words: &str) {
    let job = node.submit(&format!("echo {words}"));
    // The output is there a moment after the end is known.
    nodes::until_quietly(|| {
        let end = node.job(&job);
        assert!(end["phase"] != "failed" && end["status"] != "failure", "{end}");
        end["output"] == format!("{words}\n")
    });
}

#[test]
fn a_node_without_file_descriptors_does_not_spin_and_recovers() {
    let root = tempfile::tempdir().unwrap();
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 60; exec \"$@\"", "sh", BINARY]);
    let node = start_as(limited, root.path(), "one", None, "");
    let before = node.resident();
    let held: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(node.pub_address()).unwrap()).collect();
    let (used, since) = (node.processor_time(), std::time::Instant::now());
    std::thread::sleep(std::time::Duration::from_secs(2));
    // A loop that spins takes all that it gets. Of the time that passed, not of a time that somebody thought of.
    let spent = node.processor_time() - used;
    assert!(spent < since.elapsed() / 2, "{spent:?} of processor time in {:?}", since.elapsed());
    drop(held);
    let two = start(root.path(), "two", Some(&node), "");
    until("both know each other", || [&node, &two].iter().all(|n| n.peers("alive").len() == 1));
    run_job(&two, "here again");
    let grown = node.resident().saturating_sub(before);
    assert!(grown < 50 << 20, "{grown} B more than before");
}
