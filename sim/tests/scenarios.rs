//! The scenarios of the repository pass with their own seeds, and the binary behaves as the contract says.
#![expect(clippy::disallowed_methods, reason = "tests read what the binary wrote")]

#[path = "support/worlds.rs"]
mod worlds;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use marlos_sim::many::{Wanted, all_cores, many};
use marlos_sim::outcome::{CheckKind, CheckResult, Verdict};
use marlos_sim::scenario::{Overrides, Scenario};
use marlos_sim::world::{self, Unwatched};
use worlds::{at, failed, marlos_sim, scenarios};

/// Nodes above which a scenario is not run to its end in a debug build, which takes ten times as long.
const NODES_IN_DEBUG: usize = 20;

fn files() -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(scenarios()).expect("the scenarios are there").collect();
    // Misbehaviour at each kind of message is a test of its own in debug builds: see `byzantine.rs`.
    if !cfg!(debug_assertions) {
        entries.extend(std::fs::read_dir(scenarios().join("byzantine")).expect("these too"));
    }
    let files = entries.into_iter().map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|e| e == "toml")).collect();
    files.sort_unstable();
    files
}

#[test]
fn every_scenario_of_the_repository_passes_with_its_own_seed() {
    let files = files();
    assert!(files.len() >= 8, "{files:?}");
    let judge = |file: &PathBuf, _: Wanted<'_>| {
        let scenario = Scenario::load(file, Overrides::default()).unwrap_or_else(|d| panic!("{}", d.render(false)));
        let long = cfg!(debug_assertions) && scenario.nodes.len() > NODES_IN_DEBUG;
        let until = long.then_some(scenario.warmup);
        let outcome = world::run(scenario, until, &mut Unwatched);
        let violated = |c: &CheckResult| c.kind == CheckKind::Safety && c.verdict == Verdict::Fail;
        let passed = if long { !outcome.checks.iter().any(violated) } else { outcome.exit_code() == 0 };
        Some((passed, failed(&outcome)))
    };
    many(files, all_cores(), &AtomicBool::new(false), judge, |file, result| {
        let (passed, failed) = result.unwrap_or_else(|panicked| panic!("{}: {panicked:?}", file.display()));
        assert!(passed, "{}: {failed:#?}", file.display());
        ControlFlow::Continue(())
    });
}

/// Four nodes and a few jobs, with more lines where a test needs them.
fn small(config: &str, more: &str) -> String {
    format!(
        r#"# Four nodes and a few jobs.
name = "small"
seed = 5
duration = "20s"
warmup = "3s"
settle = "5s"
[nodes]
count = 4
config = {{ {config} }}
[network]
profile = "lan"
[workload]
jobs_per_second = 2.0
from = ["n0..n3"]
end = "15s"
job = {{ type = "simulated", duration = {{ distribution = "constant", value = "100ms" }}, deadline = "3s" }}
{more}
"#
    )
}

/// A directory with `small.toml` in it.
fn directory(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("small.toml"), text).expect("written");
    directory
}

/// The exit code, stdout and stderr of a run in a directory of its own.
fn run_in(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = marlos_sim(directory, &[&["run", "small.toml"], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn summary(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path.join("summary.json")).expect("written")).expect("JSON")
}

#[test]
fn the_exit_code_says_what_was_wrong() {
    let cut = "[[fault]]\nat = \"6s\"\nkind = \"partition\"\ngroups = [[\"n0\"], [\"n1..n3\"]]";
    for (config, more, code) in [
        ("", "", 0),
        ("", "[kpi]\nmessage_latency_ms = { p99 = 0.01 }", 1),
        ("", "[expect]\nframes_cut = \">= 1\"", 1),
        ("plant = \"quorum-one-short\"", "", 3),
        ("plant = \"announces-dropped\"", "", 4),
        ("plant = \"execute-without-claim\"", "[kpi]\nmessage_latency_ms = { p99 = 0.01 }", 3),
        ("", "[kpi]\nmessage_latancy_ms = { p99 = 1 }", 2),
        ("", &cut.replace("n1..n3", "n1..n9"), 2),
    ] {
        let directory = directory(&small(config, more));
        let (exit, out, err) = run_in(directory.path(), &[]);
        assert_eq!(exit, Some(code), "{config} {more}\n{out}\n{err}");
        if code == 2 {
            assert!(err.contains("small.toml:") && out.is_empty(), "{err}");
            assert!(!directory.path().join("results").exists(), "nothing is written");
        }
        if code == 3 {
            assert!(out.contains("violated") && out.contains("--seed 5"), "what, and how to see it again: {out}");
        }
    }
}

#[test]
fn several_files_exit_with_the_highest_code_and_write_beside_each_other() {
    let directory = directory(&small("", ""));
    let missed =
        small("", "[kpi]\nmessage_latency_ms = { p99 = 0.01 }").replace("name = \"small\"", "name = \"missed\"");
    std::fs::write(directory.path().join("missed.toml"), missed).expect("written");
    let output = marlos_sim(directory.path(), &["run", "small.toml", "missed.toml", "--out", "both"]);
    assert_eq!(output.status.code(), Some(1));
    let verdict = |name: &str| summary(&directory.path().join("both").join(name))["verdict"].clone();
    assert_eq!((verdict("small"), verdict("missed")), ("PASS".into(), "FAIL".into()));
}

#[test]
fn results_are_complete_and_the_resolved_scenario_is_the_same_run() {
    let directory = directory(&small("", ""));
    let (exit, _, _) = run_in(directory.path(), &[]);
    assert_eq!(exit, Some(0));
    let results = directory.path().join("results/small");
    for file in ["summary.json", "run.json", "scenario.toml", "kpi.csv", "timeline.csv"] {
        assert!(results.join(file).metadata().is_ok_and(|meta| meta.len() > 0), "{file}");
    }
    let holds = |folder: &str, ending: &str| {
        let files = std::fs::read_dir(results.join(folder)).expect("is there");
        let names = files.map(|file| file.expect("an entry").file_name().into_string().expect("a name"));
        names.filter(|name| name.ends_with(ending)).count()
    };
    assert!(holds("histograms", ".hgrm") >= 4 && holds("histograms", ".csv") >= 4);
    assert!(holds("plots", ".svg") >= 4 && holds("plots", ".png") >= 4);
    let rows = std::fs::read_to_string(results.join("timeline.csv")).expect("written").lines().count();
    assert_eq!(rows, 1 + 20, "a header and a row for each second");
    let found = summary(&results);
    for key in ["scenario", "seed", "version", "verdict", "action_hash", "events", "kpis", "checks", "jobs", "bytes"] {
        assert!(found.get(key).is_some(), "summary.json has no {key}");
    }
    std::fs::copy(results.join("scenario.toml"), directory.path().join("small.toml")).expect("copied");
    run_in(directory.path(), &["--out", "again"]);
    assert_eq!(summary(&directory.path().join("again"))["action_hash"], found["action_hash"]);
}

#[test]
fn options_do_what_they_say() {
    let directory = directory(&small("", ""));
    let (exit, out, _) = run_in(directory.path(), &["--seed", "9", "--out", "here", "--format", "json"]);
    assert_eq!(exit, Some(0));
    let printed: serde_json::Value = serde_json::from_str(&out).expect("stdout is JSON and nothing else");
    let written = summary(&directory.path().join("here"));
    assert_eq!((&printed, printed["seed"].as_u64()), (&written, Some(9)));
    assert!(!directory.path().join("results").exists(), "only where asked");

    let (exit, _, err) = run_in(directory.path(), &["--until", "8s", "--out", "early"]);
    assert_eq!(exit, Some(1), "what was not reached is UNKNOWN, and not a pass: {err}");
    let rows = std::fs::read_to_string(directory.path().join("early/timeline.csv")).expect("written").lines().count();
    assert_eq!(rows, 1 + 8);

    let (_, plain, quiet) = run_in(directory.path(), &["--out", "a"]);
    let (_, _, changes) = run_in(directory.path(), &["--out", "b", "--log", "changes"]);
    let (_, _, full) = run_in(directory.path(), &["--out", "c", "--log", "full"]);
    assert!(plain.contains("message_latency") && plain.contains("PASS"), "{plain}");
    assert!(quiet.lines().count() <= 2, "{quiet}");
    assert!(changes.contains("  job_completed  ") && !changes.contains("  accepted  "), "changes only");
    assert!(full.contains("  accepted  ") && full.lines().count() > changes.lines().count());
    let hash = |of: &str| summary(&directory.path().join(of))["action_hash"].clone();
    assert!(hash("a") == hash("b") && hash("a") == hash("c"), "looking on changes nothing");
    assert_ne!(hash("a"), hash("here"), "another seed");
}

#[test]
fn a_run_that_is_stopped_early_says_how_far_it_came() {
    let scenario = worlds::scenario(&small("", ""), 5);
    let outcome = world::run(scenario, Some(at(4)), &mut Unwatched);
    assert_eq!(outcome.reached, at(4));
}

#[test]
fn what_is_tallied_of_a_nodes_reports_is_what_the_node_itself_knows() {
    let fault = "[[fault]]\nat = \"6s\"\nfor = \"12s\"\nkind = \"partition\"\ngroups = [[\"n0\"], [\"n1..n3\"]]";
    let scenario = worlds::scenario(&small("", fault).replace("duration = \"20s\"", "duration = \"40s\""), 5);
    for until in [at(3), at(17), at(40)] {
        let mut world = world::World::new(scenario.clone());
        world.run_until(until, &mut Unwatched);
        let expected: Vec<_> = (0..4)
            .map(|node| {
                let view = world.node(node).expect("up").view();
                let alive = view.peers(until).filter(|peer| peer.state == marlos::io::PeerState::Alive).count();
                let counted = view.metrics();
                (alive as u32, counted.messages_sent, counted.messages_received, view.degraded())
            })
            .collect();
        assert_eq!(expected[0].3, until == at(17), "n0 is cut off in the middle");
        let outcome = world.finish();
        let tallied = outcome.metrics.iter().map(|node| {
            let said = node.metrics;
            assert!(node.up && said.avg_latency_us > 0 && said.bandwidth_usage_bits_per_s > 0, "{node:?}");
            (said.peer_count, said.messages_sent, said.messages_received, said.partition_detected)
        });
        assert_eq!(tallied.collect::<Vec<_>>(), expected);
    }
}
