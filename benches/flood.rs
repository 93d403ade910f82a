//! What a flood costs: three nodes on loopback with jobs going on, and a stranger that sends 50,000 junk frames a second to one of
//! them. Prints a table; asserts nothing.
//!
//! `cargo bench --bench flood`; `FLOOD_SECONDS` (10), `FLOOD_RATE` (50000) and `FLOOD_NODES` (3) change what their names say.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it measures processes, and prints what it found"
)]

#[path = "../tests/support/attacker.rs"]
mod attacker;
#[path = "../tests/support/nodes.rs"]
mod nodes;

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use attacker::{Junk, Tally, capture, flood, forged, message};
use nodes::{BINARY, Node, start_as, until};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

struct Measured {
    name: String,
    tally: Tally,
    /// Submission to result, sorted.
    latencies: Vec<Duration>,
    processor: Duration,
    lasted: Duration,
    resident_before: u64,
    resident_after: u64,
    signatures: f64,
}

/// Runs a job after the other at every node until the time is over.
fn jobs(nodes: &[Node], lasts: Duration) -> Vec<Duration> {
    let mut all: Vec<Duration> = std::thread::scope(|scope| {
        let submitters: Vec<_> = nodes
            .iter()
            .map(|node| {
                scope.spawn(move || {
                    let (start, mut latencies) = (Instant::now(), Vec::new());
                    while start.elapsed() < lasts {
                        let since = Instant::now();
                        let job = node.submit("true");
                        while node.job(&job)["phase"] != "done" {
                            std::thread::sleep(Duration::from_millis(3));
                        }
                        latencies.push(since.elapsed());
                        std::thread::sleep(Duration::from_millis(150));
                    }
                    latencies
                })
            })
            .collect();
        submitters.into_iter().flat_map(|submitter| submitter.join().unwrap()).collect()
    });
    all.sort_unstable();
    all
}

fn junk(kind: Junk, nodes: &[Node]) -> Vec<Vec<u8>> {
    let member = nodes[1].id().parse().unwrap();
    match kind {
        Junk::Noise => vec![message(b"*", &[0xee; 200])],
        Junk::Json => vec![message(b"*", format!("{{\"payload\":[{}0]}}", "0,".repeat(90)).as_bytes())],
        Junk::Forged => (1..5_000).map(|n| message(b"*", &forged(member, 1_000_000 + n))).collect(),
        Junk::Replayed => {
            let heard = capture(nodes[1].pub_address(), |heard| heard.len() == 5);
            heard.iter().map(|(_, frame)| message(b"*", frame)).collect()
        }
    }
}

fn measure(nodes: &[Node], attack: Option<Junk>, lasts: Duration, rate: u64) -> Measured {
    let victim = &nodes[0];
    let (stop, tally) = (AtomicBool::new(false), Tally::default());
    let junk = attack.map(|kind| junk(kind, nodes));
    let (processor, resident_before) = (victim.processor_time(), victim.resident());
    let (signatures, since) = (victim.refused("bad_signature"), Instant::now());
    let latencies = std::thread::scope(|scope| {
        if let Some(junk) = &junk {
            scope.spawn(|| flood(victim.sub_address(), junk, rate, &stop, &tally));
        }
        let latencies = jobs(nodes, lasts);
        stop.store(true, Relaxed);
        latencies
    });
    Measured {
        name: attack.map_or("none".into(), |kind| format!("{kind:?}").to_lowercase()),
        tally,
        latencies,
        processor: victim.processor_time() - processor,
        lasted: since.elapsed(),
        resident_before,
        resident_after: victim.resident(),
        signatures: victim.refused("bad_signature") - signatures,
    }
}

fn main() {
    let (lasts, rate) = (Duration::from_secs(setting("FLOOD_SECONDS", 10)), setting("FLOOD_RATE", 50_000));
    let root = tempfile::tempdir().unwrap();
    let mut nodes: Vec<Node> = Vec::new();
    for at in 0..setting("FLOOD_NODES", 3) {
        let node = start_as(Command::new(BINARY), root.path(), &format!("node{at}"), nodes.first(), "");
        nodes.push(node);
    }
    let others = nodes.len() - 1;
    until("all know each other", || nodes.iter().all(|node| node.peers("alive").len() == others));
    println!("{} nodes, {rate} junk frames/s offered to one of them, {} s each", nodes.len(), lasts.as_secs());
    println!(
        "| junk | due | sent | connections | kept out | signatures checked | jobs | p50 ms | p99 ms | p99 ratio | CPU of the victim | RSS before MiB | after MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut quiet = Duration::from_millis(1);
    for attack in [None, Some(Junk::Noise), Some(Junk::Forged), Some(Junk::Replayed), Some(Junk::Json), None] {
        let m = measure(&nodes, attack, lasts, rate);
        let at = |percent: usize| m.latencies[(m.latencies.len() * percent / 100).min(m.latencies.len() - 1)];
        if attack.is_none() {
            quiet = at(99);
        }
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} | {:.0} | {:.2} | {:.0} % | {:.1} | {:.1} |",
            m.name,
            m.tally.due.load(Relaxed),
            m.tally.written.load(Relaxed),
            m.tally.connections.load(Relaxed),
            m.tally.kept_out.load(Relaxed),
            m.signatures,
            m.latencies.len(),
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3,
            at(99).as_secs_f64() / quiet.as_secs_f64(),
            m.processor.as_secs_f64() / m.lasted.as_secs_f64() * 100.0,
            m.resident_before as f64 / 1_048_576.0,
            m.resident_after as f64 / 1_048_576.0,
        );
    }
    let peers: Vec<usize> = nodes.iter().map(|node| node.peers("alive").len()).collect();
    println!("alive peers of each node afterwards: {peers:?}");
}
