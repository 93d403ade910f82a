//! The commands `sweep`, `merge` and `run --set`, as a shell calls them.
#![expect(clippy::disallowed_methods, reason = "tests read what the binary wrote")]

#[path = "support/worlds.rs"]
mod worlds;

use worlds::{call, text};

const SMALL: &str = r#"# Three nodes meet.
name = "small"
crypto = "token"
duration = "8s"
warmup = "3s"
settle = "3s"
nodes = { count = 3 }
network = { profile = "lan" }
[kpi]
heartbeat_interval = false
"#;

#[test]
fn shards_of_a_sweep_are_merged_to_what_the_whole_leaves_and_its_commands_reproduce() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    std::fs::write(at.join("small.toml"), SMALL).expect("written");
    let sweep = "sweep small.toml --seeds 1..2 --set nodes.count=3,4 --set kpi.peer_discovery_s.max=5,0.000001";

    let whole = call(at, sweep);
    let shown = text(&whole.stdout);
    assert_eq!(whole.status.code(), Some(1), "{shown}{}", text(&whole.stderr));
    assert!(shown.contains("small with nodes.count=4 kpi.peer_discovery_s.max=5: 2 of 2 runs passed"), "{shown}");
    let command = "run small.toml --seed 1 --set nodes.count=3 --set kpi.peer_discovery_s.max=0.000001";
    assert!(shown.contains(&format!("marlos-sim {command}\n    exit 1, peer_discovery max is")), "{shown}");

    let again = call(at, command);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stdout));
    let runs = text(&std::fs::read(at.join("results/sweep/runs.csv")).expect("written"));
    let summary = text(&std::fs::read(at.join("results/small/summary.json")).expect("written"));
    let hash = runs.lines().nth(3).and_then(|row| row.split(',').nth(12)).expect("a row for each run");
    assert!(hash.len() == 64 && summary.contains(hash), "the same run: {hash}\n{summary}");

    for shard in ["1/2", "2/2"] {
        assert_eq!(call(at, &format!("{sweep} --shard {shard}")).status.code(), Some(1));
    }
    let merged = call(at, "merge results/sweep-1-of-2 results/sweep-2-of-2 --out results/merged");
    assert_eq!(merged.status.code(), Some(1), "{}", text(&merged.stderr));
    for file in ["sweep.json", "runs.csv", "kpi.csv", "checks.csv", "histograms/small/4/message_latency.v2"] {
        let bytes = |dir: &str| std::fs::read(at.join("results").join(dir).join(file)).expect("written");
        assert!(bytes("sweep") == bytes("merged"), "{file} differs");
    }
}

#[test]
fn wrong_usage_of_a_sweep_says_what_is_wrong_and_runs_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    std::fs::write(at.join("small.toml"), SMALL).expect("written");
    std::fs::write(at.join("other.toml"), SMALL).expect("written");
    for (command, why) in [
        ("sweep small.toml --seeds 5..1", "must go upwards"),
        ("sweep small.toml --seeds 1 --shard 3/2", "no shard 3 of 2"),
        ("sweep small.toml --seeds 1 --set nodes.cuont=4", "did you mean `count`?"),
        ("sweep small.toml --seeds 1 --set crypto=ed25519,none", "`none` is no valid `crypto`"),
        ("sweep small.toml other.toml --seeds 1", "are both named `small`"),
        ("merge small.toml --out results/merged", "cannot read small.toml/sweep.json"),
    ] {
        let output = call(at, command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains(why), "{command}: {said}");
    }
    assert!(!at.join("results/merged").exists() && !at.join("results/sweep").exists());
}
