//! Real processes on loopback: they meet, run each other's jobs, notice a death, and outlive strangers.
//!
//! Nothing here asserts how fast something is; the measured times are printed (`cargo test --test real_nodes -- --nocapture`).
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the processes under test have sockets and clocks, and the measured times are for people"
)]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/processes.rs"]
mod processes;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nodes::{BINARY, Node, free_port, start, start_as, start_at, until, until_quietly};
use processes::with_argument;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

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
    three.kill();
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
    first.kill();
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

/// Rotates a node's key, and says how that went.
fn rotate(data: &Path) -> Output {
    Command::new(BINARY).args(["key", "rotate", "--json", "--data-dir"]).arg(data).output().unwrap()
}

#[test]
fn a_key_is_replaced_while_its_node_runs_and_while_it_is_stopped_and_a_kill_loses_neither() {
    let root = tempfile::tempdir().unwrap();
    let mut first = start(root.path(), "first", None, "");
    let second = start(root.path(), "second", Some(&first), "");
    let id = first.id();
    let sees = |node: &Node, state: &str| node.peers(state).contains(&id);
    until("they meet", || sees(&second, "alive"));
    let rotations = |answer: &Value| {
        answer.as_array().unwrap().iter().find(|p| p["node_id"] == id.as_str()).unwrap()["key_rotations"].as_u64()
    };
    let private_keys = |node: &Node| {
        let file = node.data.join("keys").join(format!("{id}.key"));
        std::fs::read_to_string(file).unwrap().matches("BEGIN PRIVATE KEY").count()
    };

    let said = rotate(&first.data);
    assert!(said.status.success(), "{said:?}");
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&said["node_id"], &said["rotations"]), (&id.as_str().into(), &1.into()));
    assert_eq!(first.json(&["status"])["key_rotations"], 1);
    until("the other learns the new key", || rotations(&second.json(&["peers"])) == Some(1));
    until("the old key goes when that is known", || private_keys(&first) == 1);
    let again = rotate(&first.data);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("too recent"), "{again:?}");
    let job = first.run(&["submit", "--wait", "--private", "--", "echo", "sealed"]);
    assert_eq!((job.status.code(), job.stdout.as_slice()), (Some(0), &b"sealed\n"[..]), "{job:?}");

    // A kill at any moment leaves one whole key file: the one before, or the one after.
    let ports = Some((first.pub_port, first.sub_port, first.beacon_port));
    first.kill();
    let file = first.data.join("keys").join(format!("{id}.key"));
    std::fs::write(first.data.join("keys").join(format!("{id}.key.new1")), "half a file").unwrap();
    let older = std::fs::read_to_string(&file).unwrap();
    // The rotation of a minute ago: the next one may follow.
    let keys = marlos::identity::Keys::from_pem(&older).unwrap();
    let soon = keys.chain()[0].rotated_at + marlos::identity::chain::OVERLAP;
    let next = keys.rotated(&[7; 32], soon, "marlos").unwrap();
    std::fs::write(&file, next.to_pem()).unwrap();
    let first = start_at(Command::new(BINARY), root.path(), "first", Some(&second), "", ports);
    assert_eq!((first.id(), first.json(&["status"])["key_rotations"].as_u64()), (id.clone(), Some(2)));
    until("the other learns the key that was made while the node was down", || {
        rotations(&second.json(&["peers"])) == Some(2) && sees(&second, "alive")
    });
    until("the old key goes again", || private_keys(&first) == 1);
    drop(first);
    let stopped = rotate(&root.path().join("first"));
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("too recent"), "it is asked of the file: {stopped:?}");
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

/// Records the process that it becomes.
fn recorder(file: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" --record {file}"), BINARY]);
    shell
}

#[test]
fn a_recorded_process_says_the_same_when_it_is_replayed_without_its_key() {
    use marlos::recording::Entry;
    use marlos::recording::answers::Answer;

    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("one.rec");
    // What is sealed and opened takes the key, too: here everything that goes to one member, commands and outputs.
    let sealing = |mut command: Command| {
        command.env("MARLOS_NETWORK_ENCRYPTION", "true");
        command
    };
    let mut one = start_as(sealing(recorder("one.rec")), root.path(), "one", None, "here");
    let two = start_as(sealing(Command::new(BINARY)), root.path(), "two", Some(&one), "there");
    until("both know each other", || [&one, &two].iter().all(|n| n.peers("alive").len() == 1));
    for (from, to) in [(&one, "there"), (&two, "here")] {
        let done = from.run(&["submit", "--wait", "--require", to, "--", "echo hello"]);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
    }
    kill_process(one.pid(), Signal::TERM).unwrap();
    assert_eq!(one.child.wait().unwrap().code(), Some(0), "it ends as always");

    let bytes = std::fs::read(&file).unwrap();
    let replayed = marlos::recording::replay::node(&bytes).expect("it can be replayed");
    assert_eq!(replayed.end, marlos::recording::replay::End::Same, "{replayed:?}");
    assert!(replayed.who.contains(&one.id()) && replayed.calls > 20, "{replayed:?}");
    let boxes = marlos::recording::log::Records::new(&bytes).unwrap().map(|record| match record.unwrap() {
        Entry::Call { answers, .. } => answers.iter().filter(|answer| matches!(answer, Answer::Box { .. })).count(),
        _ => 0,
    });
    assert!(boxes.sum::<usize>() > 4, "a command and an output, to be sealed and opened");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // One bit of what it heard, and the recording is not taken for what happened.
    let mut altered = bytes.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    assert!(marlos::recording::replay::node(&altered).unwrap_err().contains("altered"));
    let keys = root.path().join("one/keys").read_dir().unwrap().flatten().next().unwrap().path();
    let pem = std::fs::read_to_string(keys).unwrap();
    let key = marlos::identity::Keys::from_pem(&pem).unwrap();
    assert!(replayed.who.contains(&key.id().to_string()));
    // The last 32 bytes of the file's DER are the private key.
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
    let at = der.windows(2).position(|pair| pair == [0x04, 0x20]).expect("an octet string of 32 bytes") + 2;
    let secret = &der[at..at + 32];
    assert!(!bytes.windows(32).any(|window| window == secret), "the private key is in the recording");

    // A recording never replaces another.
    let again =
        recorder("one.rec").args(["run", "--no-multicast", "--data-dir", "two2"]).current_dir(root.path()).output();
    let again = again.unwrap();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("one.rec"), "{again:?}");
}

/// Ignores what it is asked, and leaves a child in another session and directory.
fn stubborn(first: &str, second: &str) -> String {
    format!("trap '' TERM HUP INT; (setsid sh -c 'cd /; exec sleep {first}' &); while :; do sleep {second}; done")
}

#[test]
fn a_killed_node_leaves_nothing_running_and_comes_back_without_its_old_jobs() {
    let root = tempfile::tempdir().unwrap();
    let mut one = start(root.path(), "one", None, "");
    let mut two = start(root.path(), "two", Some(&one), "there");
    until("both know each other", || [&one, &two].iter().all(|n| n.peers("alive").len() == 1));
    one.json(&["submit", "--require", "there", "--", &stubborn("7501.1", "7502.1")]);
    until("the job runs", || with_argument("7501.1") == 1 && with_argument("7502.1") == 1);
    // Its submitter too: it may ask for the job again as soon as it hears of the new life.
    one.kill();
    two.kill();
    until("nothing of it runs any more", || with_argument("7501.1") + with_argument("7502.1") == 0);
    let two = start(root.path(), "two", Some(&one), "there");
    assert_eq!(two.json(&["status"])["jobs"]["running_here"], 0);
    assert_eq!(std::fs::read_dir(two.data.join("work")).unwrap().count(), 0);
}

#[test]
fn a_node_that_is_told_to_stop_ends_its_jobs_says_goodbye_and_keeps_its_state() {
    let root = tempfile::tempdir().unwrap();
    let one = start(root.path(), "one", None, "");
    let mut two = start(root.path(), "two", Some(&one), "there");
    until("both know each other", || [&one, &two].iter().all(|n| n.peers("alive").len() == 1));
    let (id, own) = (two.id(), two.json(&["submit", "--require", "nobody", "--deadline", "1h", "--", "true"]));
    one.json(&["submit", "--require", "there", "--", &stubborn("7601.1", "7602.1")]);
    until("the job runs", || with_argument("7601.1") == 1 && with_argument("7602.1") == 1);
    kill_process(two.pid(), Signal::TERM).unwrap();
    assert_eq!(two.child.wait().unwrap().code(), Some(0), "SIGTERM while a job runs");
    assert_eq!(with_argument("7601.1") + with_argument("7602.1"), 0, "the job outlived its node");
    until("the other one has heard the goodbye", || one.peers("left").contains(&id));
    let two = start(root.path(), "two", Some(&one), "there");
    let job = own["job_id"].as_str().unwrap();
    assert_eq!(two.json(&["jobs", job])["phase"], "open", "an open job of its own was forgotten");
}

#[test]
fn the_doctor_names_what_is_wrong_and_finds_a_node_that_runs_well() {
    let root = tempfile::tempdir().unwrap();
    let one = start(root.path(), "one", None, "");
    let two = start(root.path(), "two", Some(&one), "");
    until("both know each other", || [&one, &two].iter().all(|n| n.peers("alive").len() == 1));
    let doctor = |data: &Path, own: &Node, first: &str| {
        let output = Command::new(BINARY)
            .args(["doctor", "--json", "--data-dir"])
            .arg(data)
            .env("MARLOS_NETWORK_PUB_PORT", own.pub_port.to_string())
            .env("MARLOS_NETWORK_SUB_PORT", own.sub_port.to_string())
            .env("MARLOS_NETWORK_BEACON_PORT", own.beacon_port.to_string())
            .env("MARLOS_NETWORK_BIND", "127.0.0.1")
            .env("MARLOS_NETWORK_MULTICAST", "false")
            .env("MARLOS_NETWORK_BOOTSTRAP_PEERS", first)
            .env("MARLOS_JOBS_SHELL_ALLOW", "*")
            .current_dir(root.path())
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let failed = found.as_array().unwrap().iter().filter(|f| f["verdict"] == "FAILED");
        let failed: Vec<String> = failed.map(|f| f["check"].as_str().unwrap().to_owned()).collect();
        (output.status.code(), failed)
    };
    let first = format!("127.0.0.1:{}/{}", one.pub_port, one.sub_port);
    assert_eq!(doctor(&two.data, &two, &first), (Some(0), vec![]));

    // Another node with the same ports, a first contact that is none, and a state that is none.
    let (sick, nobody) = (root.path().join("sick"), free_port());
    let id = Command::new(BINARY).args(["init", "--dir"]).arg(&sick).output().unwrap();
    assert!(id.status.success());
    std::fs::create_dir_all(sick.join("data/state")).unwrap();
    std::fs::write(sick.join("data/state/node.redb"), b"not a database").unwrap();
    let (code, failed) = doctor(&sick.join("data"), &two, &format!("127.0.0.1:{nobody}"));
    assert_eq!(code, Some(1));
    for check in ["state", "pub_port ", "sub_port ", "beacon_port ", "bootstrap 127.0.0.1:"] {
        assert!(failed.iter().any(|f| f.starts_with(check)), "{check}: {failed:?}");
    }
}

/// Submits until the node stops answering, and says which submissions it had acknowledged.
fn submit_until_it_ends(node: &Node, command: &str, mut each: impl FnMut(usize)) -> Vec<String> {
    let address = std::fs::read_to_string(node.data.join("api-address")).unwrap();
    let token = std::fs::read_to_string(node.data.join("api-token")).unwrap();
    let body = serde_json::json!({ "command": command, "requirements": ["nobody"], "deadline": "1h" }).to_string();
    let request = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut acknowledged = Vec::new();
    let submit = || -> Option<String> {
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let at = answer.find("job-")?;
        answer.get(at..at + 36).map(str::to_owned)
    };
    while let Some(job) = submit() {
        acknowledged.push(job);
        each(acknowledged.len());
        assert!(acknowledged.len() < 20_000, "it does not end");
    }
    acknowledged
}

fn knows_all(node: &Node, jobs: &[String]) {
    let known = node.json(&["jobs"]);
    let known: Vec<&str> = known.as_array().unwrap().iter().filter_map(|job| job["job_id"].as_str()).collect();
    let lost: Vec<&String> = jobs.iter().filter(|job| !known.contains(&job.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged jobs are lost: {lost:?}", lost.len(), jobs.len());
}

#[test]
fn every_job_that_was_acknowledged_is_there_after_kill_9() {
    let root = tempfile::tempdir().unwrap();
    let mut jobs = Vec::new();
    for round in 0..4 {
        let node = start(root.path(), "one", None, "");
        knows_all(&node, &jobs);
        let pid = node.pid();
        // Several at once share their commits; the node dies in the middle of it.
        std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..6)
                .map(|task| {
                    let node = &node;
                    let kill = move |count| {
                        if task == 0 && count == 25 + round * 7 {
                            kill_process(pid, Signal::KILL).unwrap();
                        }
                    };
                    scope.spawn(move || submit_until_it_ends(node, "true", kill))
                })
                .collect();
            jobs.extend(tasks.into_iter().flat_map(|task| task.join().unwrap()));
        });
    }
    let node = start(root.path(), "one", None, "");
    knows_all(&node, &jobs);
    eprintln!("{} jobs were acknowledged", jobs.len());
}

#[test]
fn a_state_that_cannot_grow_stops_the_node_with_a_sentence_and_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut limited = Command::new("/bin/sh");
    // In blocks of 512 bytes; the state begins with about 1.5 MB.
    limited.args(["-c", "ulimit -f 6000; exec \"$@\"", "sh", BINARY]);
    let mut node = start_as(limited, root.path(), "one", None, "");
    let jobs = submit_until_it_ends(&node, &"x".repeat(60_000), |_| {});
    assert!(!jobs.is_empty());
    let status = node.child.wait().unwrap();
    let log = std::fs::read_to_string(&node.log).unwrap();
    assert_eq!(status.code(), Some(2), "{status}: {log}");
    assert!(log.contains("cannot write") && log.contains("node.redb"), "{log}");
    let again = start(root.path(), "one", None, "");
    knows_all(&again, &jobs);
}

#[test]
fn when_the_executor_is_killed_its_backup_runs_the_job_and_the_submitter_gets_one_result() {
    let root = tempfile::tempdir().unwrap();
    let one = start(root.path(), "one", None, "");
    let mut others = ["two", "three"].map(|name| start(root.path(), name, Some(&one), "there"));
    until("all three know each other", || [&one, &others[0], &others[1]].iter().all(|n| n.peers("alive").len() == 2));
    let ran = root.path().join("ran");
    let command = format!("echo up >> {0}; sleep 6; echo down >> {0}; echo done", ran.display());
    let job = one.json(&["submit", "--require", "there", "--deadline", "10m", "--", &command]);
    let job = job["job_id"].as_str().unwrap();
    let starts = || std::fs::read_to_string(&ran).unwrap_or_default().matches("up").count();
    until("it runs", || starts() == 1);
    until("the submitter knows where", || !one.json(&["jobs", job])["executor"].is_null());
    let first = one.json(&["jobs", job])["executor"].as_str().unwrap().to_owned();
    let victim = others.iter_mut().find(|node| node.id() == first).expect("one of the two that can run it");
    victim.kill();
    until("the backup runs it", || starts() == 2);
    until("the submitter has its result", || one.json(&["jobs", job])["phase"] == "done");
    let end = one.json(&["jobs", job]);
    assert_eq!((&end["status"], &end["output"]), (&"success".into(), &"done\n".into()), "{end}");
    assert_ne!(end["executor"].as_str().unwrap(), first, "the dead one had no result");
    assert_eq!(std::fs::read_to_string(&ran).unwrap(), "up\nup\ndown\n", "more than one run came to its end");
    let completed = std::fs::read_to_string(&one.log).unwrap().lines().filter(|l| is_end(l, job)).count();
    assert_eq!(completed, 1, "one result");
    let live: Vec<&Node> = std::iter::once(&one).chain(others.iter().filter(|node| node.id() != first)).collect();
    wallets_agree(&live, 3);
    assert!(balance(&one) < GENESIS && balance(live[1]) > GENESIS, "the one who ran it was not paid by who wanted it");
}

/// Micro-tokens that every account begins with.
const GENESIS: u64 = 10_000_000_000;

/// Money is neither made nor lost.
fn assert_conserved(accounts: &Value) {
    let balances = accounts.as_array().unwrap().iter().map(|a| a["balance_micro"].as_u64().unwrap());
    let (number, sum) = balances.fold((0, 0), |(n, sum), balance| (n + 1, sum + balance));
    assert_eq!(sum, number * GENESIS, "{accounts}");
}

fn balance(node: &Node) -> u64 {
    node.json(&["wallet"])["balance_micro"].as_u64().unwrap()
}

/// Waits until all see the same accounts, something was paid, and nothing waits to be.
fn wallets_agree(nodes: &[&Node], accounts: u64) {
    until("all wallets agree", || {
        let seen: Vec<Value> = nodes.iter().map(|node| node.json(&["wallet"])["accounts"].clone()).collect();
        seen.iter().for_each(assert_conserved);
        let first = seen[0].as_array().unwrap();
        let moved = first.iter().any(|a| a["balance_micro"] != GENESIS);
        let settled = nodes.iter().all(|node| {
            let wallet = node.json(&["wallet"]);
            wallet["reserved"] == 0 && wallet["staked"] == 0
        });
        first.len() as u64 == accounts && moved && settled && seen.iter().all(|accounts| accounts == &seen[0])
    });
}

/// Whether a line of the log tells the end of this local job.
fn is_end(line: &str, job: &str) -> bool {
    line.contains(job) && (line.contains("completed") || line.contains("failed without a result"))
}

#[test]
fn under_kills_and_restarts_every_job_has_one_end_that_its_submitter_can_tell() {
    const JOBS: usize = 40;
    const KILLS: u32 = 6;
    let root = tempfile::tempdir().unwrap();
    let first = start(root.path(), "node0", None, "");
    let mut nodes = vec![first];
    for at in 1..3 {
        nodes.push(start(root.path(), &format!("node{at}"), Some(&nodes[0]), ""));
    }
    until("all three know each other", || nodes.iter().all(|n| n.peers("alive").len() == 2));
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(std::process::id());
    eprintln!("seed {state:#x}");
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    // Each submitter's acknowledged jobs, with the number that the job prints.
    let mut jobs: Vec<(usize, String, usize)> = Vec::new();
    for number in 0..JOBS {
        let at = random(nodes.len());
        let command = format!("sleep 0.{}; echo job {number}", 1 + random(9));
        let submitted = nodes[at].json(&["submit", "--deadline", "5m", "--", &command]);
        jobs.push((at, submitted["job_id"].as_str().unwrap().to_owned(), number));
        if number % (JOBS / KILLS as usize) == 3 {
            let victim = random(nodes.len());
            nodes[victim].kill();
            std::thread::sleep(Duration::from_millis(random(1_500) as u64));
            // It finds the others again by whom it remembers, also where it was the first contact.
            let (pub_port, sub_port, beacon_port) =
                (nodes[victim].pub_port, nodes[victim].sub_port, nodes[victim].beacon_port);
            let contact = nodes.iter().enumerate().find(|(at, _)| *at != victim).map(|(_, node)| node);
            let ports = Some((pub_port, sub_port, beacon_port));
            let again = start_at(Command::new(BINARY), root.path(), &format!("node{victim}"), contact, "", ports);
            nodes[victim] = again;
        }
    }
    let since = Instant::now();
    let mut ends = 0;
    for (at, job, number) in &jobs {
        let ended = |end: &Value| end["phase"] == "done" || end["phase"] == "failed";
        let mut end = nodes[*at].json(&["jobs", job]);
        while !ended(&end) {
            // The deadline and what it may be overdrawn, and room for a slow machine.
            assert!(since.elapsed() < Duration::from_secs(1_200), "job {number} has no end: {end}");
            std::thread::sleep(Duration::from_millis(50));
            end = nodes[*at].json(&["jobs", job]);
        }
        if end["phase"] == "done" {
            until_quietly(|| nodes[*at].json(&["jobs", job])["output"] == format!("job {number}\n"));
            ends += 1;
        } else {
            assert!(!end["reason"].is_null(), "an invisible failure: {end}");
        }
    }
    eprintln!("{:>8.1?}  until {JOBS} jobs had their ends: {ends} results", since.elapsed());
    // What a life missed of the payments is told to the next one.
    until("all see the same accounts", || {
        let seen: Vec<Value> = nodes.iter().map(|node| node.json(&["wallet"])["accounts"].clone()).collect();
        seen.iter().for_each(assert_conserved);
        seen.iter().all(|accounts| accounts == &seen[0])
    });
    // In all lives of its submitter together, the end of a job was told once at most.
    let mut logs = String::new();
    for file in
        std::fs::read_dir(root.path()).unwrap().flatten().filter(|f| f.path().extension().is_some_and(|e| e == "log"))
    {
        logs.push_str(&std::fs::read_to_string(file.path()).unwrap());
    }
    assert!(!logs.contains("panicked"), "a node panicked");
    for (_, job, number) in &jobs {
        let told = logs.lines().filter(|line| is_end(line, job)).count();
        assert!(told <= 1, "the end of job {number} was told {told} times");
    }
}
