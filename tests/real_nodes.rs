//! Real processes on loopback: they meet, run each other's jobs, notice a death, and outlive strangers.
//!
//! Nothing here asserts how fast something is; the measured times are printed (`cargo test --test real_nodes -- --nocapture`).
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the processes under test have sockets and clocks, and the measured times are for people"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_marlos-node");
/// Far more than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process and its data. It is killed when the test ends, however it ends.
struct Node {
    child: Child,
    data: PathBuf,
    pub_port: u16,
    sub_port: u16,
    beacon_port: u16,
    log: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {}\n{log}", self.log.display());
        }
    }
}

/// A port below those that the system gives to outgoing connections, of which there are many here.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = (std::process::id() * 97 + u32::from(NEXT.fetch_add(1, Relaxed))) % 2_000;
        let port = 30_000 + offset as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a node; tries other ports where somebody else was faster.
fn start(root: &Path, name: &str, bootstrap: Option<&Node>, capabilities: &str) -> Node {
    for attempt in 0..5 {
        let data = root.join(name);
        let log = root.join(format!("{name}.{attempt}.log"));
        let (pub_port, sub_port, beacon_port) = (free_port(), free_port(), free_port());
        let mut command = Command::new(BINARY);
        command
            .args(["run", "--no-multicast", "--bind", "127.0.0.1", "--api-port", "0", "--name", name])
            .args(["--pub-port", &pub_port.to_string(), "--sub-port", &sub_port.to_string()])
            .args(["--beacon-port", &beacon_port.to_string()])
            .arg("--data-dir")
            .arg(&data)
            .env("MARLOS_JOBS_SHELL_ALLOW", "*")
            .env("MARLOS_NODE_CAPABILITIES", capabilities)
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap());
        if let Some(first) = bootstrap {
            let peer = format!("127.0.0.1:{}/{}/{}", first.pub_port, first.sub_port, first.beacon_port);
            command.args(["--bootstrap", &peer]);
        }
        let child = command.spawn().unwrap();
        let mut node = Node { child, data, pub_port, sub_port, beacon_port, log };
        let since = Instant::now();
        while node.child.try_wait().unwrap().is_none() {
            if node.data.join("api-address").exists() {
                return node;
            }
            assert!(since.elapsed() < PATIENCE, "{name} does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    panic!("{name} found no free ports in five attempts");
}

impl Node {
    fn run(&self, arguments: &[&str]) -> Output {
        // The data directory goes before the job's own words.
        let (first, rest) = arguments.split_first().unwrap();
        Command::new(BINARY).arg(first).arg("--data-dir").arg(&self.data).args(rest).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        // Before the job's own words, which stand last.
        let output = self.run(&[&arguments[..1], &["--json"], &arguments[1..]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn id(&self) -> String {
        self.json(&["id"])["node_id"].as_str().unwrap().to_owned()
    }

    /// The ids of the peers that it sees in this state.
    fn peers(&self, state: &str) -> Vec<String> {
        let peers = self.json(&["peers"]);
        let of_state = peers.as_array().unwrap().iter().filter(|p| p["state"] == state);
        of_state.map(|p| p["node_id"].as_str().unwrap().to_owned()).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

/// Polls until it is so, and says how long that took.
fn until(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("{:>8.1?}  {what}", since.elapsed());
    since.elapsed()
}

#[test]
fn three_nodes_meet_run_jobs_and_notice_deaths() {
    let root = tempfile::tempdir().unwrap();
    let one = start(root.path(), "one", None, "");
    let two = start(root.path(), "two", Some(&one), "");
    let mut three = start(root.path(), "three", Some(&one), "there");
    until("all three know each other", || [&one, &two, &three].iter().all(|n| n.peers("alive").len() == 2));

    // Only `three` has the capability, so the job runs on another node than the one that submitted it.
    let since = Instant::now();
    let job = two.json(&["submit", "--wait", "--require", "there", "--", "echo hello from $PPID; echo again >&2"]);
    eprintln!("{:>8.1?}  a job from submission to output", since.elapsed());
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["executor"].as_str().unwrap(), three.id(), "{job}");
    let output = job["output"].as_str().unwrap();
    assert!(output.starts_with("hello from ") && output.ends_with("again\n"), "{output}");
    assert_ne!(job["executor"].as_str().unwrap(), two.id());
    let shown = two.json(&["jobs", job["job_id"].as_str().unwrap()]);
    assert_eq!(shown["output"], job["output"]);

    // The exit code of `submit --wait` is the job's.
    let failed = one.run(&["submit", "--wait", "--", "echo partly; exit 7"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert_eq!(String::from_utf8_lossy(&failed.stdout), "partly\nexit status 7\n");
    let succeeded = one.run(&["submit", "--wait", "--", "echo", "two  spaces", "$HOME"]);
    assert_eq!(succeeded.status.code(), Some(0), "{succeeded:?}");
    assert_eq!(String::from_utf8_lossy(&succeeded.stdout), "two  spaces $HOME\n");

    let metrics = two.json(&["metrics"]);
    assert_eq!(metrics["marlos_peer_count"], 2.0);
    assert_eq!(metrics["marlos_partition_detected"], 0.0);

    let victim = three.id();
    three.child.kill().unwrap();
    three.child.wait().unwrap();
    until("the first survivor holds the killed node for dead", || {
        [&one, &two].iter().any(|n| n.peers("dead").contains(&victim))
    });
    until("and the second, after that", || [&one, &two].iter().all(|n| n.peers("dead").contains(&victim)));

    // A goodbye, an exit code, and the API's address gone.
    let mut two = two;
    kill_process(two.pid(), Signal::TERM).unwrap();
    let status = two.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "SIGTERM");
    until("the last node has heard the goodbye", || one.peers("left").contains(&two.id()));
    assert_eq!(two.run(&["status"]).status.code(), Some(3), "a node that has stopped");
}

#[test]
fn a_node_comes_back_with_its_identity_and_its_next_incarnation() {
    let root = tempfile::tempdir().unwrap();
    let mut first = start(root.path(), "phoenix", None, "");
    let (id, before) = (first.id(), first.json(&["status"])["incarnation"].clone());
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    std::fs::remove_file(first.data.join("api-address")).unwrap();
    let again = start(root.path(), "phoenix", None, "");
    assert_eq!(again.id(), id);
    assert_eq!(again.json(&["status"])["incarnation"].as_u64(), before.as_u64().map(|n| n + 1));

    // One data directory serves one process.
    let second = Command::new(BINARY)
        .args(["run", "--no-multicast", "--api-port", "0", "--data-dir"])
        .arg(&again.data)
        .current_dir(root.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process"), "{second:?}");
}

#[test]
fn strangers_leave_a_node_alive_and_working() {
    let root = tempfile::tempdir().unwrap();
    let mut one = start(root.path(), "one", None, "");
    let two = start(root.path(), "two", Some(&one), "there");
    until("both know each other", || [&one, &two].iter().all(|n| n.peers("alive").len() == 1));
    let api = std::fs::read_to_string(one.data.join("api-address")).unwrap();
    let addresses = [format!("127.0.0.1:{}", one.pub_port), format!("127.0.0.1:{}", one.sub_port), api.clone()];

    // A greeting and the header of a frame of a terabyte: 73 bytes that abort a process which believes them.
    let mut terabyte = vec![0u8; 73];
    (terabyte[0], terabyte[9], terabyte[10], terabyte[64]) = (0xff, 0x7f, 3, 2);
    terabyte[12..16].copy_from_slice(b"NULL");
    terabyte[65..].copy_from_slice(&(1u64 << 40).to_be_bytes());
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut noise = |most: u64| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..next() % most).map(|_| next() as u8).collect()
    };
    // One after the other, each until the node has hung up: these are refused however busy the machine is. Of the storm
    // below, it is the machine that decides how many are refused, turned away, or gone before they were looked at.
    for address in [&addresses[0], &addresses[1]].repeat(5) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&terabyte).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    until("ten terabytes are refused", || {
        one.json(&["metrics"])["marlos_connections_refused_total"].as_f64().unwrap() >= 10.0
    });
    let beacons = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut silent = Vec::new();
    for round in 0..100 {
        for address in &addresses {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(if round % 2 == 0 { &terabyte } else { &[] });
            let _ = stream.write_all(&noise(400));
            if round % 10 == 0 {
                silent.push(stream);
            }
        }
        let _ = beacons.send_to(&noise(2_000), ("127.0.0.1", one.beacon_port));
    }

    // Nobody asks the API without the token, and what it gets has to be JSON.
    let ask = |head: &str| {
        let mut stream = TcpStream::connect(&api).unwrap();
        let _ = stream.write_all(format!("{head}\r\nHost: x\r\nConnection: close\r\n").as_bytes());
        let _ = stream.write_all(b"Content-Length: 2\r\n\r\n{}");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let token = std::fs::read_to_string(one.data.join("api-token")).unwrap();
    assert_eq!(ask("GET /healthz HTTP/1.1"), "200");
    assert_eq!(ask("GET /api/v1/status HTTP/1.1"), "401");
    assert_eq!(ask("GET /metrics HTTP/1.1\r\nAuthorization: Bearer wrong"), "401");
    assert_eq!(ask(&format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {token}")), "200");
    assert_eq!(ask(&format!("POST /api/v1/jobs HTTP/1.1\r\nAuthorization: Bearer {token}")), "415");

    assert!(one.child.try_wait().unwrap().is_none(), "the node died");
    let job = one.json(&["submit", "--wait", "--require", "there", "--", "echo still here"]);
    assert_eq!(job["output"], "still here\n");
}

#[test]
fn mistakes_are_named_and_nothing_is_ever_replaced() {
    let root = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY).args(arguments).current_dir(root.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    assert_eq!(run(&["init", "--dir", "home"]).0, Some(0));
    let id = run(&["id", "--config", "home/marlos.yaml"]);
    assert_eq!(id.0, Some(0));
    let (code, text) = run(&["init", "--dir", "home"]);
    assert!(code == Some(2) && text.contains("marlos.yaml"), "{text}");
    assert_eq!(run(&["id", "--config", "home/marlos.yaml"]), id);

    std::fs::write(root.path().join("bad.yaml"), "network:\n  pub_port: 7000\n  pubport: 7000\n").unwrap();
    let (code, text) = run(&["run", "--config", "bad.yaml"]);
    assert!(code == Some(2) && text.contains("pubport") && text.contains('3'), "{text}");
    std::fs::write(root.path().join("open.yaml"), "api: { address: 0.0.0.0:5558 }\n").unwrap();
    let (code, text) = run(&["run", "--config", "open.yaml"]);
    assert!(code == Some(2) && text.contains("loopback"), "{text}");
    let (code, text) = run(&["status", "--config", "home/marlos.yaml"]);
    assert!(code == Some(3) && text.contains("no node runs"), "{text}");

    // A state that cannot be read is not the same as none.
    let state = root.path().join("home/data/state");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("node.redb"), b"not a database").unwrap();
    let (code, text) = run(&["run", "--config", "home/marlos.yaml", "--no-multicast", "--api-port", "0"]);
    assert!(code == Some(2) && text.contains("node.redb cannot be used"), "{text}");
}
