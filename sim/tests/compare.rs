//! The command `compare`, as a shell calls it.
#![expect(clippy::disallowed_methods, reason = "tests read what the binary wrote")]

#[path = "support/worlds.rs"]
mod worlds;

use std::path::Path;

use worlds::{call, text};

const SMALL: &str = r#"# Three nodes do a few jobs.
name = "small"
crypto = "token"
duration = "10s"
warmup = "2s"
settle = "3s"
nodes = { count = 3 }
[workload]
jobs_per_second = 5.0
from = ["n0..n2"]
end = "7s"
job = { type = "simulated", duration = { distribution = "constant", value = "200ms" }, deadline = "20s" }
[kpi]
heartbeat_interval = false
"#;

/// Exit code, what was printed, and what was complained of.
fn compare(directory: &Path, arguments: &str) -> (Option<i32>, String, String) {
    let output = call(directory, &format!("compare {arguments}"));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_slower_network_is_a_regression_in_every_form_and_the_same_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    std::fs::write(at.join("small.toml"), SMALL).expect("written");
    for (out, setting) in [("base", "5ms"), ("new", "6ms")] {
        let set = format!("network.latency={{distribution=\"uniform\",min=\"1ms\",max=\"{setting}\"}}");
        let swept = call(at, &format!("sweep small.toml --seeds 1..6 --set {set} --out {out}"));
        assert!(at.join(out).join("sweep.json").is_file(), "{}", text(&swept.stderr));
    }
    let (code, shown, _) = compare(at, "base base");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("6 seeds paired, all the same to the last action\nidentical in every seed: "), "{shown}");
    assert!(shown.ends_with("Verdict: no regression found\n"), "{shown}");

    let (code, shown, _) = compare(at, "base new --junit out/junit.xml --markdown out/comment.md");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("Verdict: REGRESSION\n  small, BASE with network.latency="), "{shown}");
    let junit = std::fs::read_to_string(at.join("out/junit.xml")).expect("written");
    assert!(junit.contains("name=\"message_latency mean\">\n      <failure message=\"WORSE: "), "{junit}");
    let markdown = std::fs::read_to_string(at.join("out/comment.md")).expect("written");
    assert!(markdown.starts_with("### ❌ MarlOS: regression\n"), "{markdown}");
    assert!(markdown.contains("| message\\_latency mean | ") && markdown.contains("| **WORSE** |"), "{markdown}");
    let (code, shown, _) = compare(at, "base new --format json");
    let json: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((code, &json["regressed"]), (Some(1), &serde_json::Value::Bool(true)));

    let (code, shown, _) = compare(at, "base new --tolerance 100%");
    assert_eq!(code, Some(0), "{shown}");
    // What a sweep is compared with may be what `run` left, seed by seed and in a directory of such.
    for seed in [1, 2] {
        let run = format!("run small.toml --seed {seed} --out runs/{seed}");
        assert!(call(at, &run).status.code().is_some_and(|code| code < 2));
    }
    let (code, shown, complaint) = compare(at, "runs runs");
    assert_eq!(code, Some(0), "{shown}{complaint}");
    assert!(shown.contains("small: 2 seeds paired, all the same to the last action; 5 are needed"), "{shown}");
    let (_, shown, _) = compare(at, "base runs");
    assert!(shown.contains("2 seeds paired; in BASE alone: seeds 3, 4, 5, 6"), "{shown}");
}

#[test]
fn what_cannot_be_compared_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    std::fs::create_dir_all(at.join("empty/below")).expect("created");
    let wrong = [
        ("empty empty", "error: there are no results in empty: neither sweep.json nor summary.json"),
        ("nowhere empty", "error: cannot read nowhere: "),
        ("empty empty --tolerance consensu=2%", "did you mean `consensus`?"),
    ];
    for (arguments, said) in wrong {
        let (code, _, complaint) = compare(at, arguments);
        assert_eq!(code, Some(2), "{arguments}");
        assert!(complaint.contains(said), "{arguments}: {complaint}");
    }
}
