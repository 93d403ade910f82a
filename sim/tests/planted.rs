//! Every defect that can be planted in a node is caught by the check that guards against it, within a few seeds and with the
//! right exit code, and the same scenario without the defect passes.

#[path = "support/worlds.rs"]
mod worlds;

use marlos_sim::outcome::{CheckKind, Verdict};
use marlos_sim::{report, retrace};
use worlds::{failed, run};

/// Seeds in which a defect must have shown itself.
const SEEDS: u64 = 5;

/// A scenario with a place for the defect.
struct Chance {
    plant: &'static str,
    check: &'static str,
    exit: u8,
    scenario: &'static str,
}

/// All six go down at once, and three come back much sooner than the others.
const FEW_COME_BACK: &str = r#"
name = "few-come-back"
duration = "45s"
warmup = "4s"
settle = "15s"
[nodes]
count = 6
config = { min_peers = 3, PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 2.0
from = ["n0..n2"]
job = { type = "simulated", duration = { distribution = "uniform", min = "100ms", max = "2s" }, deadline = "60s" }
[[fault]]
at = "8s"
for = "2s"
kind = "crash"
nodes = ["n0..n2"]
[[fault]]
at = "8s"
for = "20s"
kind = "crash"
nodes = ["n3..n5"]
[kpi]
overhead_per_job_B = false
consensus_s = false
message_latency_ms = false
job_broadcast_ms = false
failure_detection_s = false
"#;

/// Ten nodes, jobs, nothing goes wrong.
const QUIET: &str = r#"
name = "quiet"
duration = "16s"
warmup = "4s"
settle = "5s"
[nodes]
count = 10
config = { PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 5.0
from = ["n0..n9"]
job = { type = "simulated", duration = { distribution = "uniform", min = "100ms", max = "2s" }, deadline = "60s" }
[kpi]
overhead_per_job_B = false
"#;

/// The connections of crashing nodes break, and slow links carry the news: for a while, members elect different coordinators
/// of one round, and those who already suspect the crashed one accept both.
const VIEWS_DIFFER: &str = r#"
name = "views-differ"
duration = "40s"
warmup = "8s"
settle = "5s"
[nodes]
count = 10
config = { PLANT }
[network]
profile = "lan"
latency = { distribution = "lognormal", median = "60ms", p99 = "200ms" }
[workload]
jobs_per_second = 20.0
from = ["n5..n9"]
job = { type = "simulated", duration = { distribution = "uniform", min = "100ms", max = "2s" }, deadline = "60s" }
[[fault]]
at = "10s"
for = "6s"
kind = "crash"
nodes = ["n0"]
connection = "reset"
[[fault]]
at = "18s"
for = "6s"
kind = "crash"
nodes = ["n1"]
connection = "reset"
[[fault]]
at = "26s"
for = "6s"
kind = "crash"
nodes = ["n2"]
connection = "reset"
[kpi]
message_latency_ms = false
job_broadcast_ms = false
overhead_per_job_B = false
consensus_s = false
peer_discovery_s = false
"#;

/// One round that lasts long. Two of four are down, so that a coordinator's proposal gets its own vote and one more, one short;
/// then it crashes itself, hears of the job again when all are back, and proposes another winner in the same round.
const ROUND_ACROSS_A_RESTART: &str = r#"
name = "round-across-a-restart"
duration = "80s"
warmup = "10s"
settle = "40s"
[nodes]
count = 4
config = { round_timeout = "25s", lease = "30s", PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 10.0
from = ["n0"]
start = "19s"
end = "24s"
job = { type = "simulated", duration = { distribution = "constant", value = "100ms" }, deadline = "60s" }
[[fault]]
at = "20s"
for = "4s"
kind = "crash"
nodes = ["n2", "n3"]
[[fault]]
at = "23s"
for = "2s"
kind = "crash"
nodes = ["n1"]
[kpi]
overhead_per_job_B = false
consensus_s = false
failure_detection_s = false
"#;

/// A minority of two, whose jobs nobody may claim before their deadline.
const CUT_OFF: &str = r#"
name = "cut-off"
duration = "40s"
warmup = "4s"
settle = "10s"
[nodes]
count = 5
config = { PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 4.0
from = ["n0..n1"]
end = "15s"
job = { type = "simulated", duration = { distribution = "constant", value = "100ms" }, deadline = "5s" }
[[fault]]
at = "6s"
for = "20s"
kind = "partition"
groups = [["n0..n1"], ["n2..n4"]]
[kpi]
overhead_per_job_B = false
consensus_s = false
"#;

/// Four nodes with as many jobs as they can take: each has more to say to each than the rate limit lets pass one by one.
const CROWDED: &str = r#"
name = "crowded"
duration = "20s"
warmup = "4s"
settle = "5s"
[nodes]
count = 4
config = { PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 150.0
from = ["n0..n3"]
end = "10s"
job = { type = "simulated", duration = { distribution = "uniform", min = "10ms", max = "50ms" }, deadline = "60s" }
[kpi]
overhead_per_job_B = false
"#;

/// Backups that do not hear executors which everyone else hears.
const UNHEARD: &str = r#"
name = "unheard"
duration = "90s"
warmup = "4s"
settle = "20s"
[nodes]
count = 7
config = { PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 2.0
from = ["n0..n2"]
end = "20s"
job = { type = "simulated", duration = "50s", deadline = "80s" }
[[fault]]
at = "20s"
for = "30s"
kind = "one_way"
from = ["n3..n4"]
to = ["n5..n6"]
[kpi]
message_latency_ms = false
overhead_per_job_B = false
false_deaths = false
"#;

/// An executor sleeps, and wakes with jobs in hand that others have been running for ten seconds.
const SLEEPER: &str = r#"
name = "sleeper"
duration = "90s"
warmup = "4s"
settle = "20s"
[nodes]
count = 7
config = { PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 2.0
from = ["n0..n2"]
end = "20s"
job = { type = "simulated", duration = "40s", deadline = "80s" }
[[fault]]
at = "20s"
for = "20s"
kind = "pause"
nodes = ["n3"]
[kpi]
message_latency_ms = false
job_broadcast_ms = false
overhead_per_job_B = false
"#;

/// Jobs are paid soon, by nodes that have not much.
const POOR: &str = r#"
name = "poor"
duration = "40s"
warmup = "4s"
settle = "5s"
[nodes]
count = 7
config = { settle_after = "1s", genesis_balance = 150, PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 6.0
from = ["n0..n2"]
end = "30s"
job = { type = "simulated", duration = { distribution = "constant", value = "100ms" }, payment = 10.0, deadline = "10s" }
[kpi]
overhead_per_job_B = false
[expect]
transactions = ">= 10"
"#;

/// A node is away while everyone is paid for the last jobs: it learns of that only where it asks.
const MISSED: &str = r#"
name = "missed"
duration = "40s"
warmup = "4s"
settle = "10s"
[nodes]
count = 7
config = { settle_after = "1s", PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 4.0
from = ["n0..n2"]
end = "16s"
job = { type = "simulated", duration = { distribution = "constant", value = "100ms" }, deadline = "10s" }
[[fault]]
at = "12s"
for = "12s"
kind = "crash"
nodes = ["n6"]
[kpi]
overhead_per_job_B = false
[expect]
transactions = ">= 10"
"#;

/// Two payers of seven sign two transactions of one number, and everyone gets both.
const SPENDERS: &str = r#"
name = "spenders"
duration = "40s"
warmup = "4s"
settle = "5s"
[nodes]
count = 7
config = { settle_after = "1s", PLANT }
[network]
profile = "lan"
[workload]
jobs_per_second = 6.0
from = ["n0..n2"]
end = "30s"
job = { type = "simulated", duration = { distribution = "constant", value = "100ms" }, payment = 10.0, deadline = "10s" }
[[fault]]
at = "4s"
until = "28s"
kind = "byzantine"
nodes = ["n0..n1"]
behaviour = "double_spend"
witnesses = 7
[kpi]
overhead_per_job_B = false
"#;

const CHANCES: &[Chance] = &[
    Chance { plant: "quorum-one-short", check: "S1", exit: 3, scenario: QUIET },
    Chance { plant: "members-unrecalled", check: "S1", exit: 3, scenario: FEW_COME_BACK },
    Chance { plant: "provisional-for-quorum", check: "S1", exit: 3, scenario: CUT_OFF },
    Chance { plant: "any-coordinator", check: "S1", exit: 3, scenario: VIEWS_DIFFER },
    Chance { plant: "votes-forgotten", check: "S1", exit: 3, scenario: VIEWS_DIFFER },
    Chance { plant: "votes-not-persisted", check: "S1", exit: 3, scenario: ROUND_ACROSS_A_RESTART },
    Chance { plant: "double-vote", check: "S3", exit: 3, scenario: SPENDERS },
    Chance { plant: "balance-unchecked", check: "ledger", exit: 3, scenario: POOR },
    Chance { plant: "paid-twice", check: "ledger", exit: 3, scenario: POOR },
    Chance { plant: "execute-without-claim", check: "S2", exit: 3, scenario: QUIET },
    Chance { plant: "lease-ignored", check: "S2", exit: 3, scenario: UNHEARD },
    Chance { plant: "fence-ignored", check: "S2", exit: 3, scenario: SLEEPER },
    Chance { plant: "replay-window-off", check: "S4", exit: 3, scenario: QUIET },
    Chance { plant: "nothing-bundled", check: "S5", exit: 3, scenario: CROWDED },
    Chance { plant: "announces-dropped", check: "L1", exit: 4, scenario: QUIET },
    Chance { plant: "deadline-ignored", check: "L2", exit: 4, scenario: CUT_OFF },
    Chance { plant: "penalty-twice", check: "ledger", exit: 3, scenario: SLEEPER },
    Chance { plant: "heads-ignored", check: "L3", exit: 4, scenario: MISSED },
];

#[test]
fn every_planted_defect_is_caught_by_its_check_within_a_few_seeds() {
    for Chance { plant, check, exit, scenario } in CHANCES {
        let text = scenario.replace("PLANT", &format!("plant = \"{plant}\""));
        let mut said = Vec::new();
        let caught = (1..=SEEDS).any(|seed| {
            let outcome = run(&text, seed);
            let fails =
                |c: &&marlos_sim::outcome::CheckResult| c.verdict == Verdict::Fail && c.kind != CheckKind::Expect;
            let first = outcome.checks.iter().find(fails);
            said.push(format!("seed {seed}: exit {}, {:?}", outcome.exit_code(), failed(&outcome)));
            first.is_some_and(|first| first.name == *check && outcome.exit_code() == *exit)
        });
        assert!(caught, "{plant} is not caught by {check}: {said:#?}");
    }
}

#[test]
fn the_same_scenarios_pass_without_the_defect() {
    for scenario in [
        QUIET,
        FEW_COME_BACK,
        VIEWS_DIFFER,
        ROUND_ACROSS_A_RESTART,
        UNHEARD,
        SLEEPER,
        CROWDED,
        CUT_OFF,
        POOR,
        SPENDERS,
        MISSED,
    ] {
        let text = scenario.replace("PLANT", "plant = \"nothing\"");
        for seed in 1..=2 {
            let outcome = run(&text, seed);
            assert_eq!(outcome.exit_code(), 0, "{} with seed {seed}: {:#?}", outcome.scenario.name, failed(&outcome));
        }
    }
}

#[test]
fn a_violation_is_shown_with_the_messages_before_it_and_where_to_run_it_again() {
    let mut outcome = run(&SLEEPER.replace("PLANT", "plant = \"fence-ignored\""), 1);
    assert_eq!(outcome.exit_code(), 3, "{:#?}", failed(&outcome));
    outcome.messages = retrace::last_messages(&outcome);
    let last = outcome.messages.last().expect("something was said before");
    assert!(last.heard <= outcome.reached && last.sent < last.heard && last.from != last.to, "{last:?}");
    let page = report::html::page(&outcome, &outcome.scenario.to_toml()).unwrap();
    assert!(page.contains("id=\"violation\"") && page.contains(&format!("\"{}\"]", last.kind.name())), "no chart");
    let directory = tempfile::tempdir().unwrap();
    report::write(&outcome, &outcome.scenario.to_toml(), &directory.path().join("seen")).unwrap();
}
