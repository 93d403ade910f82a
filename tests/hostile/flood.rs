//! Somebody sends 50,000 junk frames a second. The others' jobs go on, memory stays, and the sender is cut off.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use marlos::io::Refusal;

use crate::attacker::{Junk, Tally, capture, flood, forged, message};
use crate::nodes::Node;
use crate::{cluster, run_job};

const PER_SECOND: u64 = 50_000;
/// Ends the attack, also where the test ends early.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How long each flood lasts at least, and the jobs that run meanwhile.
const LASTS: Duration = Duration::from_secs(2);
const JOBS: usize = 5;

fn junk(kind: Junk, nodes: &[Node]) -> Vec<Vec<u8>> {
    let member = nodes[1].id().parse().unwrap();
    match kind {
        Junk::Noise => vec![message(b"*", &[0xee; 200])],
        Junk::Json => vec![message(b"*", format!("{{\"payload\":[{}0]}}", "0,".repeat(90)).as_bytes())],
        Junk::Forged => (1..2_000).map(|n| message(b"*", &forged(member, 1_000_000 + n))).collect(),
        Junk::Replayed => {
            let heard = capture(nodes[1].pub_address(), |heard| heard.len() == 3);
            heard.iter().map(|(_, frame)| message(b"*", frame)).collect()
        }
    }
}

#[test]
fn under_a_flood_of_each_kind_jobs_end_memory_stays_and_the_flooder_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3, &[]);
    run_job(&nodes[2], "before");
    let victim = &nodes[0];
    let memory: Vec<u64> = nodes.iter().map(Node::resident).collect();
    for kind in [Junk::Noise, Junk::Forged, Junk::Replayed, Junk::Json] {
        let (junk, stop, tally) = (junk(kind, &nodes), AtomicBool::new(false), Tally::default());
        let cut_before = victim.metric("connections_cut_off_total") + victim.metric("connections_kept_out_total");
        std::thread::scope(|scope| {
            let end = Stop(&stop);
            scope.spawn(|| flood(victim.sub_address(), &junk, PER_SECOND, &stop, &tally));
            let since = Instant::now();
            for job in 0..JOBS {
                // Through the victim, and beside it.
                run_job(&nodes[job % 3], &format!("{kind:?} {job}"));
            }
            std::thread::sleep(LASTS.saturating_sub(since.elapsed()));
            drop(end);
        });
        eprintln!("{kind:?}: {tally:?}");
        let cut = victim.metric("connections_cut_off_total") + victim.metric("connections_kept_out_total");
        assert!(cut > cut_before, "nobody was cut off for {kind:?}");
        assert!(tally.kept_out.load(Relaxed) > 0, "{kind:?}: whoever was cut off came back at once, each time");
    }
    for (node, before) in nodes.iter().zip(memory) {
        let grown = node.resident().saturating_sub(before);
        assert!(grown < 50 << 20, "{grown} B more than before the floods");
        assert_eq!(node.peers("alive").len(), 2, "an honest node paid for it");
        assert_eq!(node.metric("blacklisted_peers"), 0.0, "an honest node paid for it");
        assert_eq!(node.metric("deaths_detected_total"), 0.0);
    }
    // Looked at: the budget of an address, what time forgives, and a connection in sixty-four. Not what was sent.
    let checked = victim.refused("bad_signature");
    assert!((1.0..2_000.0).contains(&checked), "{checked} signatures were checked for the flooder");
    run_job(&nodes[1], "afterwards");

    // Every reason has its counter, and a flood of refusals is not a flood of lines, but a few that say how many they stand for.
    for reason in Refusal::ALL {
        let name = serde_json::to_value(reason).unwrap();
        assert!(victim.refused(name.as_str().unwrap()) >= 0.0);
    }
    let log = std::fs::read_to_string(&victim.log).unwrap();
    let refused = |reason: &str| log.lines().filter(|line| line.contains("refused") && line.contains(reason)).count();
    assert!(refused("reason=BadSignature") >= 1 && log.contains("suppressed="), "{log}");
    assert!(log.contains("cut off"), "nothing says that somebody was cut off: {log}");
    let lines = refused("reason=");
    assert!(lines < 100, "{lines} lines of refusals");
}

#[test]
fn a_reconnect_storm_and_a_flood_of_beacons_leave_a_node_working() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 2, &[]);
    let victim = &nodes[0];
    let memory = victim.resident();
    let stop = AtomicBool::new(false);
    let member = nodes[1].id().parse().unwrap();
    std::thread::scope(|scope| {
        let end = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                for address in [victim.pub_address(), victim.sub_address()] {
                    let _ = std::net::TcpStream::connect(address);
                }
            }
        });
        scope.spawn(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let forged: Vec<Vec<u8>> = (0..1_000).map(|n| forged(member, 2_000_000 + n)).collect();
            for frame in forged.iter().cycle() {
                let _ = socket.send_to(frame, ("127.0.0.1", victim.beacon_port));
                if stop.load(Relaxed) {
                    break;
                }
            }
        });
        for job in 0..JOBS {
            run_job(&nodes[job % 2], &format!("{job}"));
        }
        std::thread::sleep(Duration::from_secs(1));
        drop(end);
    });
    assert!(victim.metric("connections_kept_out_total") > 0.0, "who dials and hangs up comes in each time");
    let (dropped, checked) = (victim.metric("beacons_dropped_total"), victim.refused("bad_signature"));
    assert!(dropped > checked, "{checked} beacons were checked and {dropped} dropped");
    let grown = victim.resident().saturating_sub(memory);
    assert!(grown < 50 << 20, "{grown} B more than before");
    assert_eq!(nodes[1].peers("alive").len(), 1);
}
