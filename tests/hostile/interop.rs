//! libzmq (pyzmq) both ways: it hears a node, and a node hears it.
//!
//! Needs Python 3 with pyzmq, as `.ci/run` puts into `target/interop`; elsewhere it is skipped, and says so.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::attacker::capture;
use crate::nodes::{BINARY, Node, free_port, start_as, until};
use crate::{cluster, run_job};

/// A Python that has pyzmq.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop/bin/python3");
    let has_it = |python: &PathBuf| {
        let asked = Command::new(python).args(["-c", "import zmq"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    let found = [own, PathBuf::from("python3")].into_iter().find(has_it);
    assert!(
        found.is_some() || std::env::var_os("MARLOS_REQUIRE_PYZMQ").is_none(),
        "MARLOS_REQUIRE_PYZMQ is set, and there is no python3 with pyzmq"
    );
    if found.is_none() {
        eprintln!(
            "skipped: no python3 with pyzmq; python3 -m venv target/interop && target/interop/bin/pip install pyzmq"
        );
    }
    found
}

/// Runs a script, with what it gets on its standard input.
fn script(python: &Path, text: &str, arguments: &[String], input: &str) -> Child {
    let mut child = Command::new(python)
        .args(["-c", text])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child
}

fn answer(child: Child) -> Value {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Counts disconnects beside the traffic: with heartbeats on, a peer that does not answer PINGs is dropped.
const SUBSCRIBER: &str = r#"
import json, sys, zmq
from zmq.utils.monitor import recv_monitor_message
context = zmq.Context()
sub = context.socket(zmq.SUB)
sub.setsockopt(zmq.HEARTBEAT_IVL, 100)
sub.setsockopt(zmq.HEARTBEAT_TIMEOUT, 60000)
sub.setsockopt(zmq.RCVTIMEO, 120000)
monitor = sub.get_monitor_socket()
sub.setsockopt(zmq.SUBSCRIBE, b"*")
sub.connect("tcp://127.0.0.1:" + sys.argv[1])
heard = []
while len(heard) < int(sys.argv[2]):
    frames = sub.recv_multipart()
    heard.append({"frames": len(frames), "topic": frames[0].decode(), "envelope": json.loads(frames[1])})
disconnects = 0
while monitor.poll(0):
    disconnects += recv_monitor_message(monitor)["event"] in (zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
print(json.dumps({"heard": heard, "disconnects": disconnects}))
"#;

#[test]
fn a_libzmq_subscriber_hears_whole_messages_and_can_read_their_envelopes() {
    let Some(python) = python() else { return };
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 2, &[("MARLOS_NODE_CODEC", "json")]);
    let child = script(&python, SUBSCRIBER, &[nodes[0].pub_port.to_string(), "6".into()], "");
    run_job(&nodes[0], "heard by libzmq");
    let said = answer(child);
    assert_eq!(said["disconnects"], 0, "a PING was not answered");
    for heard in said["heard"].as_array().unwrap() {
        assert_eq!((&heard["frames"], &heard["topic"]), (&2.into(), &"*".into()), "{heard}");
        let envelope = &heard["envelope"];
        assert_eq!(envelope["sender_id"].as_str().unwrap(), nodes[0].id(), "{heard}");
        assert!(envelope["timestamp"].is_number() && envelope["signature"].is_string(), "{heard}");
        assert!(envelope["nonce"].as_str().unwrap().starts_with(&nodes[0].id()) && envelope["msg_type"].is_string());
    }
}

/// Publishes what it gets, a line of hex each, again and again until its input is closed and it was told to stop.
const PUBLISHER: &str = r#"
import json, sys, time, zmq
from zmq.utils.monitor import recv_monitor_message
frames = [bytes.fromhex(line) for line in sys.stdin.read().split()]
context = zmq.Context()
pub = context.socket(zmq.XPUB)
pub.setsockopt(zmq.HEARTBEAT_IVL, 100)
pub.setsockopt(zmq.HEARTBEAT_TIMEOUT, 60000)
pub.setsockopt(zmq.RCVTIMEO, 120000)
monitor = pub.get_monitor_socket()
pub.bind("tcp://127.0.0.1:" + sys.argv[1])
asked = sorted([pub.recv().decode("latin1"), pub.recv().decode("latin1")])
for frame in frames:
    pub.send_multipart([b"unasked", frame])
    pub.send_multipart([b"*", frame])
time.sleep(1)
disconnects = 0
while monitor.poll(0):
    disconnects += recv_monitor_message(monitor)["event"] == zmq.EVENT_DISCONNECTED
print(json.dumps({"asked": asked, "disconnects": disconnects}))
"#;

#[test]
fn a_node_subscribes_to_a_libzmq_publisher_and_takes_nothing_from_it_that_is_not_signed_and_new() {
    let Some(python) = python() else { return };
    let root = tempfile::tempdir().unwrap();
    let two = start_as(Command::new(BINARY), root.path(), "two", None, "");
    // What another node really said, ten frames that are no envelopes, and one in its name that it did not sign.
    let captured = capture(two.pub_address(), |heard| heard.len() == 2);
    let mut forged = captured[0].1.clone();
    *forged.last_mut().unwrap() ^= 1;
    let junk = std::iter::repeat_n(vec![0xee; 100], 10).chain([forged]);
    let frames: Vec<String> = captured.iter().map(|(_, frame)| frame.clone()).chain(junk).map(|f| hex(&f)).collect();
    let port = free_port();
    let child = script(&python, PUBLISHER, &[port.to_string()], &frames.join("\n"));
    // Its first contact is the libzmq publisher; of the node it hears by a stranger's word only.
    let mut command = Command::new(BINARY);
    command.env("MARLOS_NETWORK_BOOTSTRAP_PEERS", format!("127.0.0.1:{port}/{}", free_port()));
    let one: Node = start_as(command, root.path(), "one", None, "");
    until("every frame was looked at", || {
        one.refused("wrong_version") >= 10.0
            && one.refused("unknown_sender") + one.refused("bad_signature") + one.metric("messages_received") >= 3.0
    });
    let said = answer(child);
    let id = one.id();
    assert_eq!(said["asked"], serde_json::json!(["\u{1}*", format!("\u{1}@{}", &id[..8])]), "{said}");
    assert_eq!(said["disconnects"], 0, "a PING was not answered");
    assert_eq!(one.metric("frames_unasked_total"), 0.0, "libzmq filters what was not asked for");

    // The same frames again, at a node that has heard them from their sender: copies, whoever brings them.
    let port = free_port();
    let mut command = Command::new(BINARY);
    let first = format!("127.0.0.1:{}/{}", two.pub_port, two.sub_port);
    command.env("MARLOS_NETWORK_BOOTSTRAP_PEERS", format!("{first},127.0.0.1:{port}/{}", free_port()));
    let three: Node = start_as(command, root.path(), "three", None, "");
    until("the two know each other", || three.peers("alive").contains(&two.id()));
    let known = three.json(&["peers"]).as_array().unwrap().len();
    let heard = capture(two.pub_address(), |heard| heard.len() == 2);
    let frames: Vec<String> = heard.iter().map(|(_, frame)| hex(frame)).collect();
    let child = script(&python, PUBLISHER, &[port.to_string()], &frames.join("\n"));
    until("both are refused as seen before", || {
        three.metric("frames_duplicate_total") + three.refused("replayed") + three.refused("wrong_recipient") >= 2.0
    });
    assert_eq!(answer(child)["disconnects"], 0);
    assert_eq!(three.json(&["peers"]).as_array().unwrap().len(), known);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
