//! Frames captured from one run and injected in another: refused with a reason, and nothing changes.

use serde_json::Value;

use crate::attacker::{capture, inject, message};
use crate::nodes::{BINARY, Node, start_as, until};
use crate::{cluster, run_job};

type Frames = Vec<(Vec<u8>, Vec<u8>)>;

/// Nothing is paid meanwhile, so that only a stranger could change what anyone has.
const UNPAID: (&str, &str) = ("MARLOS_LEDGER_SETTLE_AFTER", "3600");

/// What each node says around a job: everything from its PUB, for whomever it is.
fn frames_of_a_run(nodes: &[Node]) -> Frames {
    let mut frames = Vec::new();
    std::thread::scope(|scope| {
        let ears: Vec<_> =
            nodes.iter().map(|node| scope.spawn(|| capture(node.pub_address(), |heard| heard.len() >= 8))).collect();
        for job in 0..4 {
            run_job(&nodes[job % nodes.len()], &format!("captured {job}"));
        }
        frames = ears.into_iter().flat_map(|ear| ear.join().unwrap()).collect();
    });
    frames
}

/// What a stranger could change: members, jobs, money, bans.
fn state(node: &Node) -> Value {
    let mut peers = node.json(&["peers"]);
    for peer in peers.as_array_mut().unwrap() {
        for volatile in ["silent_ms", "round_trip_us", "clock_offset_us"] {
            peer.as_object_mut().unwrap().remove(volatile);
        }
    }
    serde_json::json!({ "peers": peers, "jobs": node.json(&["jobs"]), "wallet": node.json(&["wallet"]),
        "blacklisted": node.metric("blacklisted_peers") })
}

fn refused_in_all(node: &Node) -> f64 {
    let text = node.http("GET", "/metrics", "").1;
    let counts = text.lines().filter(|line| line.starts_with("marlos_refusals_total{"));
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Sends each frame to everyone, and waits until each was refused or known for a copy. In pieces below what an address may send.
fn all_are_refused(frames: &Frames, into: &Node) {
    let seen = || refused_in_all(into) + into.metric("frames_duplicate_total");
    for piece in frames.chunks(50) {
        let before = seen();
        let messages: Vec<Vec<u8>> = piece.iter().map(|(_, frame)| message(b"*", frame)).collect();
        inject(into.sub_address(), &messages).unwrap();
        until("all of them are refused", || seen() >= before + piece.len() as f64);
    }
}

#[test]
fn frames_of_another_network_are_refused_and_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    [&one, &two].iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let one = cluster(&one, 2, &[("MARLOS_NODE_NETWORK_ID", "one"), UNPAID]);
    let two = cluster(&two, 2, &[("MARLOS_NODE_NETWORK_ID", "two"), ("MARLOS_NODE_CODEC", "json"), UNPAID]);
    for (from, into) in [(&one, &two), (&two, &one)] {
        let frames = frames_of_a_run(from);
        let (before, counted) = (state(&into[0]), into[0].refused("wrong_network"));
        all_are_refused(&frames, &into[0]);
        assert!(into[0].refused("wrong_network") >= counted + frames.len() as f64, "for another reason");
        assert_eq!(state(&into[0]), before);
    }
    run_job(&two[0], "still here");
}

#[test]
fn frames_of_an_earlier_run_are_refused_by_new_nodes_and_by_the_same_ones_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let (old, new) = (root.path().join("old"), root.path().join("new"));
    [&old, &new].iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    // What is older than the tolerance has to be refused whoever hears it.
    let tolerance = [("MARLOS_NETWORK_CLOCK_SYNC_TOLERANCE", "3"), UNPAID];
    let mut first = cluster(&old, 2, &tolerance);
    let frames = frames_of_a_run(&first);

    // Its sender, and who heard it before.
    let before = state(&first[0]);
    all_are_refused(&frames, &first[0]);
    assert_eq!(state(&first[0]), before, "in the same run");
    assert!(first[0].refused("from_self") > 0.0);

    // Nodes of the same network that never heard of them.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let second = cluster(&new, 2, &tolerance);
    let before = state(&second[0]);
    all_are_refused(&frames, &second[0]);
    assert_eq!(state(&second[0]), before, "in another run");

    // The same node in its next life.
    first[0].kill();
    let mut command = std::process::Command::new(BINARY);
    command.envs(tolerance);
    let again = start_as(command, &old, "node0", Some(&first[1]), "");
    until("it is back", || again.peers("alive").len() == 1);
    let before = state(&again);
    all_are_refused(&frames, &again);
    assert_eq!(state(&again), before, "after a restart");
    run_job(&again, "still here");
}
