//! Nodes as processes of their own on loopback.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_marlos-node");
/// Far more than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A process and its data. It is killed when the test ends, however it ends.
pub struct Node {
    pub child: Child,
    pub data: PathBuf,
    pub pub_port: u16,
    pub sub_port: u16,
    pub beacon_port: u16,
    pub log: PathBuf,
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
pub fn free_port() -> u16 {
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
pub fn start(root: &Path, name: &str, bootstrap: Option<&Node>, capabilities: &str) -> Node {
    start_as(Command::new(BINARY), root, name, bootstrap, capabilities)
}

/// Starts a node with this command, which its own arguments follow.
pub fn start_as(by: Command, root: &Path, name: &str, bootstrap: Option<&Node>, capabilities: &str) -> Node {
    start_at(by, root, name, bootstrap, capabilities, None)
}

/// Starts a node at these ports, where they are given.
pub fn start_at(
    by: Command,
    root: &Path,
    name: &str,
    bootstrap: Option<&Node>,
    capabilities: &str,
    ports: Option<(u16, u16, u16)>,
) -> Node {
    static LIVES: AtomicU16 = AtomicU16::new(0);
    for _ in 0..5 {
        let data = root.join(name);
        let log = root.join(format!("{name}.{}.log", LIVES.fetch_add(1, Relaxed)));
        let (pub_port, sub_port, beacon_port) = ports.unwrap_or_else(|| (free_port(), free_port(), free_port()));
        let _ = std::fs::remove_file(data.join("api-address"));
        let mut command = Command::new(by.get_program());
        command
            .args(by.get_args())
            .args(["run", "--no-multicast", "--bind", "127.0.0.1", "--api-port", "0", "--name", name])
            .args(["--pub-port", &pub_port.to_string(), "--sub-port", &sub_port.to_string()])
            .args(["--beacon-port", &beacon_port.to_string()])
            .arg("--data-dir")
            .arg(&data)
            .env("MARLOS_JOBS_SHELL_ALLOW", "*")
            .env("MARLOS_NODE_CAPABILITIES", capabilities)
            .env("MARLOS_LEDGER_SETTLE_AFTER", "1")
            .envs(by.get_envs().filter_map(|(key, value)| Some((key, value?))))
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
    pub fn run(&self, arguments: &[&str]) -> Output {
        // The data directory goes before the job's own words.
        let (first, rest) = arguments.split_first().unwrap();
        Command::new(BINARY).arg(first).arg("--data-dir").arg(&self.data).args(rest).output().unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        // Before the job's own words, which stand last.
        let output = self.run(&[&arguments[..1], &["--json"], &arguments[1..]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn id(&self) -> String {
        self.json(&["id"])["node_id"].as_str().unwrap().to_owned()
    }

    /// The ids of the peers that it sees in this state.
    pub fn peers(&self, state: &str) -> Vec<String> {
        let peers = self.json(&["peers"]);
        let of_state = peers.as_array().unwrap().iter().filter(|p| p["state"] == state);
        of_state.map(|p| p["node_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Kills it as a power switch would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn pub_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.pub_port))
    }

    pub fn sub_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.sub_port))
    }

    /// Asks the API, and returns the status and the body: cheaper than a process of the command line.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let api = std::fs::read_to_string(self.data.join("api-address")).unwrap();
        let token = std::fs::read_to_string(self.data.join("api-token")).unwrap();
        let mut stream = TcpStream::connect(api).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status, body)
    }

    pub fn submit(&self, command: &str) -> String {
        let body = serde_json::json!({ "command": command, "payment": 0.1 }).to_string();
        let (status, answer) = self.http("POST", "/api/v1/jobs", &body);
        assert_eq!(status, 201, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["job_id"].as_str().unwrap().to_owned()
    }

    pub fn job(&self, id: &str) -> Value {
        serde_json::from_str(&self.http("GET", &format!("/api/v1/jobs/{id}"), "").1).unwrap()
    }

    /// A figure of `/metrics`, by its name without `marlos_`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.http("GET", "/metrics", "").1;
        let line = text.lines().find_map(|line| line.strip_prefix("marlos_")?.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    pub fn refused(&self, reason: &str) -> f64 {
        self.metric(&format!("refusals_total{{reason=\"{reason}\"}}"))
    }

    /// Memory that is resident, in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Processor time that it has used.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 on every Linux of today.
        Duration::from_millis(ticks * 10)
    }
}

/// Polls until it is so.
pub fn until_quietly(mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Polls until it is so, and says how long that took.
pub fn until(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("{:>8.1?}  {what}", since.elapsed());
    since.elapsed()
}
