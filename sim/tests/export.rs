//! `run --trace=perfetto,pcapng`: what is written is what the formats' documents say, and says what happened.
#![expect(clippy::disallowed_methods, reason = "tests read what the binary wrote")]

#[path = "support/worlds.rs"]
mod worlds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use marlos::wire::Envelope;
use serde_json::Value;
use tempfile::TempDir;
use worlds::marlos_sim;

/// A crash in the middle of jobs that last, and a cut that loses frames: somebody dies, is seen to die, and is taken over.
const SCENARIO: &str = r#"
name = "exported"
seed = 3
duration = "50s"
warmup = "5s"
settle = "5s"
[nodes]
count = 5
[network]
profile = "lan"
[workload]
jobs_per_second = 1.0
end = "20s"
job = { type = "simulated", duration = "4s", payment = 1.0, deadline = "40s" }
[[fault]]
at = "12s"
kind = "crash"
nodes = ["n4"]
[[fault]]
at = "10s"
for = "2s"
kind = "partition"
groups = [["n0..n3"], ["n4"]]
"#;

/// The results of that scenario, exported.
fn results() -> &'static Path {
    static RESULTS: OnceLock<TempDir> = OnceLock::new();
    let directory = RESULTS.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("exported.toml"), SCENARIO).expect("written");
        let output = marlos_sim(directory.path(), &["run", "exported.toml", "--out", "out", "--trace=perfetto,pcapng"]);
        assert!(output.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&output.stderr));
        directory
    });
    directory.path()
}

fn json(file: &str) -> Value {
    let bytes = std::fs::read(results().join("out").join(file)).expect("written");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn events() -> Vec<Value> {
    json("trace.perfetto.json")["traceEvents"].as_array().expect("a list").clone()
}

fn text<'v>(event: &'v Value, field: &str) -> &'v str {
    event[field].as_str().unwrap_or_else(|| panic!("no {field} in {event}"))
}

fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_else(|| panic!("no {field} in {event}"))
}

#[test]
fn every_trace_event_has_the_fields_of_its_phase() {
    let events = events();
    assert!(events.len() > 200, "{}", events.len());
    for event in &events {
        for field in ["ts", "pid", "tid"] {
            number(event, field);
        }
        text(event, "name");
        match text(event, "ph") {
            "X" => assert!(number(event, "dur") > 0),
            "b" | "e" | "n" => assert!(!text(event, "id").is_empty() && !text(event, "cat").is_empty()),
            "i" => assert!(["g", "p", "t"].contains(&text(event, "s"))),
            "C" => assert!(event["args"].as_object().expect("series").values().all(Value::is_number)),
            "M" => assert!(matches!(text(event, "name"), "process_name" | "process_sort_index")),
            phase => panic!("{phase} is no phase that we write"),
        }
        assert!(number(event, "ts") <= 50_000_000);
    }
}

#[test]
fn what_begins_ends_in_the_order_of_a_stack() {
    // By process, category and id: when, whether it begins, and its name.
    type Span = (u64, bool, String);
    let mut spans: BTreeMap<(u64, String, String), Vec<Span>> = BTreeMap::new();
    for event in events().iter().filter(|event| ["b", "e"].contains(&text(event, "ph"))) {
        let key = (number(event, "pid"), text(event, "cat").to_owned(), text(event, "id").to_owned());
        let span = (number(event, "ts"), text(event, "ph") == "b", text(event, "name").to_owned());
        spans.entry(key).or_default().push(span);
    }
    for (key, mut spans) in spans {
        spans.sort_by_key(|(ts, ..)| *ts); // stable, as the viewers sort
        let mut open = Vec::new();
        for (_, begins, name) in spans {
            if begins {
                open.push(name);
            } else {
                assert_eq!(open.pop(), Some(name), "{key:?}");
            }
        }
        assert_eq!(open, [""; 0], "{key:?} is left open");
    }
}

#[test]
fn the_trace_shows_the_jobs_faults_deaths_and_takeovers_that_happened() {
    let (events, summary) = (events(), json("summary.json"));
    let count =
        |ph: &str, is: &dyn Fn(&Value) -> bool| events.iter().filter(|e| text(e, "ph") == ph && is(e)).count() as u64;
    let jobs = count("b", &|event| event["cat"] == "job" && event["name"] == event["id"]);
    assert_eq!(jobs, number(&summary["jobs"], "submitted"));
    let completed = count("e", &|event| event["args"]["status"] == "success");
    assert_eq!(completed, number(&summary["jobs"], "completed"));
    for phase in ["auction", "broadcast", "claim", "run", "result"] {
        assert!(count("b", &|event| event["cat"] == "job" && event["name"] == phase) >= jobs, "{phase}");
    }
    let faults: Vec<&str> = events.iter().filter(|e| text(e, "ph") == "X").map(|event| text(event, "name")).collect();
    assert_eq!(faults.len(), 2);
    assert!(
        faults.iter().any(|name| name.starts_with("partition")) && faults.iter().any(|n| n.starts_with("crash n4"))
    );
    assert_eq!(count("i", &|event| event["name"] == "n4 is dead"), 4, "each of the others sees it die");
    let takeovers = count("i", &|event| text(event, "name").starts_with("takes over"));
    assert!(takeovers > 0, "an executor died");
    let traffic = count("C", &|event| event["name"] == "bytes sent per second" && number(&event["args"], "bytes") > 0);
    assert!(traffic > 100, "{traffic}");
}

/// A block's type and body.
fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let length = word(file, 4) as usize;
        assert!(length.is_multiple_of(4) && word(file, length - 4) as usize == length, "both lengths are the block's");
        blocks.push((word(file, 0), &file[8..length - 4]));
        file = &file[length..];
    }
    blocks
}

#[test]
fn packets_are_frames_of_the_run_in_streams_without_a_gap() {
    let file = std::fs::read(results().join("out/trace.pcapng")).expect("written");
    let blocks = blocks(&file);
    let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds[..6], [0x0a0d_0d0a, 1, 1, 1, 1, 1], "a section and an interface for each node");
    assert!(kinds[6..].iter().all(|kind| *kind == 6) && kinds.len() > 500, "{}", kinds.len());
    let mut next: BTreeMap<(Vec<u8>, Vec<u8>, u16, u16), u32> = BTreeMap::new();
    let (mut before, mut whole) = (0, BTreeSet::new());
    for (_, body) in &blocks[6..] {
        let word = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().expect("four bytes"));
        let at = (u64::from(word(4)) << 32) | u64::from(word(8));
        assert!(at >= before, "in order of time");
        before = at;
        let packet = SlicedPacket::from_ip(&body[20..20 + word(12) as usize]).expect("an IP packet");
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("{packet:?}") };
        let (from, to) = (ip.header().source().to_vec(), ip.header().destination().to_vec());
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        match packet.transport.as_ref().expect("UDP or TCP") {
            TransportSlice::Udp(udp) => {
                let checksum = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
                assert_eq!(Ok(udp.checksum()), checksum);
                whole.extend(Envelope::peek(udp.payload(), u32::MAX).map(|envelope| envelope.header.kind));
            }
            TransportSlice::Tcp(tcp) => {
                let checksum = tcp.to_header().calc_checksum_ipv4(&ip.header().to_header(), tcp.payload());
                assert_eq!(Ok(tcp.checksum()), checksum);
                assert_eq!(to[3], word(0) as u8, "captured where it arrives");
                let stream = (from, to, tcp.source_port(), tcp.destination_port());
                let expected = next.entry(stream).or_insert(1);
                assert_eq!(tcp.sequence_number(), *expected);
                *expected += tcp.payload().len() as u32;
                whole.extend(Envelope::peek(tcp.payload(), u32::MAX).map(|envelope| envelope.header.kind));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(whole.len() > 8, "kinds of messages that can be read from a packet: {whole:?}");
}

/// Runs a program of Wireshark's; nothing, and a word, where it is not installed.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn wireshark(program: &str, arguments: &[&str]) -> Option<String> {
    let file = results().join("out/trace.pcapng");
    let Ok(output) = Command::new(program).args(arguments).arg(file).output() else {
        eprintln!("skipped: {program} is not installed (apt-get install wireshark-common tshark)");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn wireshark_reads_the_capture_and_finds_every_checksum_right() {
    if let Some(about) = wireshark("capinfos", &["-M"]) {
        assert!(about.contains("Raw IP") && about.contains("Number of interfaces in file: 5"), "{about}");
        assert!(about.contains("Strict time order:   True"), "{about}");
    }
    let checked = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
    let wrong = "ip.checksum.status==0 || tcp.checksum.status==0 || udp.checksum.status==0 || tcp.analysis.lost_segment \
                 || tcp.analysis.retransmission || tcp.analysis.out_of_order";
    let packets = |filter: &str| {
        let mut arguments = checked.to_vec();
        arguments.extend(["-Y", filter, "-T", "fields", "-e", "frame.number", "-r"]);
        wireshark("tshark", &arguments).map(|lines| lines.lines().count())
    };
    if let (Some(wrong), Some(pings)) = (packets(wrong), packets(r#"frame.comment contains "PING" && tcp"#)) {
        assert_eq!(wrong, 0);
        assert!(pings > 50, "{pings}");
    }
}
