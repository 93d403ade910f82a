//! What a run found: everything that the reports show and `summary.json` holds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use marlos::metrics::GetMetrics;
use marlos::time::Time;
use marlos::wire::MsgType;

use crate::scenario::{KpiTarget, NodeNo, Scenario};
use crate::story::Told;

/// Pass, fail, or: it was not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Shown.
    Pass,
    /// The scenario gives no occasion for it, or says that it is not judged here.
    #[serde(rename = "n/a")]
    NotApplicable,
    /// Too little was seen to say. Not a pass.
    Unknown,
    /// Shown not to hold.
    Fail,
}

/// One KPI of a run.
#[derive(Clone, Debug)]
pub struct KpiResult {
    /// As in the contract's table: `message_latency`, ...
    pub name: &'static str,
    /// `ms`, `s`, `B`, `1/s` or `1`.
    pub unit: &'static str,
    /// What the samples are, for people: "message and receiver".
    pub one_sample_per: &'static str,
    /// What is judged, if anything.
    pub target: Option<KpiTarget>,
    /// The value of the target's statistic (or of the mean), in `unit`; nothing where there are no samples.
    pub measured: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
    /// Why it is UNKNOWN or n/a, or how much of it never happened, in words; else empty.
    pub note: String,
    /// The samples, in `raw_per_unit`ths of the unit (latencies: microseconds).
    pub histogram: Histogram<u64>,
    /// Raw histogram units per unit of the KPI: 1000 where the histogram holds microseconds and the unit is ms.
    pub raw_per_unit: f64,
}

/// What a check guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// Must hold after every event. A violation ends the run with exit code 3.
    Safety,
    /// Must hold after the settle time. Exit code 4.
    Liveness,
    /// What the scenario expects to have happened.
    Expect,
}

/// One check of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CheckResult {
    /// `S1`, `L2`, or the expected counter's name.
    pub name: String,
    /// What it guards.
    pub kind: CheckKind,
    /// UNKNOWN where it never had anything to check.
    pub verdict: Verdict,
    /// The violated sentence with the two facts that contradict, or what was checked how often.
    pub detail: String,
}

/// What became of the jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct JobCounts {
    /// Accepted from clients.
    pub submitted: u64,
    /// With a result, whatever its status.
    pub completed: u64,
    /// Given up visibly.
    pub failed: u64,
    /// Neither, though the deadline and the settle time have passed and the submitter is up.
    pub lost: u64,
    /// Executions beyond the first of a job.
    pub duplicate_executions: u64,
}

/// One simulated second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimelineRow {
    /// The second's number, from 0.
    pub second: u64,
    /// Frames accepted.
    pub accepted: u64,
    /// Median one-way latency of them, in microseconds.
    pub latency_us_p50: u64,
    /// 99th percentile of it.
    pub latency_us_p99: u64,
    /// Bytes sent, all receivers counted.
    pub bytes_sent: u64,
    /// Jobs submitted.
    pub jobs_submitted: u64,
    /// Jobs with a result.
    pub jobs_completed: u64,
    /// Jobs given up.
    pub jobs_failed: u64,
    /// Nodes that are up, at the second's end.
    pub nodes_up: u64,
    /// Nodes that are degraded, at the second's end.
    pub nodes_degraded: u64,
    /// For each node, how many members it holds for alive at the second's end, itself included; 0 for a node that is down.
    pub alive_seen: Vec<u32>,
}

/// A frame that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// When it was sent.
    pub sent: Time,
    /// When it was accepted.
    pub heard: Time,
    /// Who really sent it.
    pub from: NodeNo,
    /// Who accepted it.
    pub to: NodeNo,
    /// What it was.
    pub kind: MsgType,
}

/// The document's `get_metrics` of one node, at the end of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMetrics {
    /// Its name.
    pub node: String,
    /// Whether it is up; else these are its last words.
    pub up: bool,
    /// Of its last process.
    pub metrics: GetMetrics,
}

/// A run's results. Everything but [`Outcome::wall`] is a function of scenario, seed and version.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run.
    pub scenario: Scenario,
    /// The worst of KPIs and checks.
    pub verdict: Verdict,
    /// SHA-256 over every action of every node, in hex.
    pub action_hash: String,
    /// Events handled.
    pub events: u64,
    /// Frames that reached a node.
    pub deliveries: u64,
    /// The simulated time reached: less than the duration where a safety check ended the run or a person did.
    pub reached: Time,
    /// The KPIs, in the order of the contract's table.
    pub kpis: Vec<KpiResult>,
    /// The checks: S, then L, then expectations.
    pub checks: Vec<CheckResult>,
    /// The jobs.
    pub jobs: JobCounts,
    /// All bytes sent after the warm-up, by message type's name, every receiver counted.
    pub bytes_per_message_type: BTreeMap<&'static str, u64>,
    /// Refusals by reason's name, where there were any.
    pub refusals: BTreeMap<String, u64>,
    /// Counters that `[expect]` can name.
    pub counters: BTreeMap<&'static str, u64>,
    /// The document's `get_metrics` of each node, in the order of their numbers.
    pub metrics: Vec<NodeMetrics>,
    /// One row per simulated second.
    pub timeline: Vec<TimelineRow>,
    /// The last state changes before a violation, oldest first; empty where there was none.
    pub last_changes: Vec<String>,
    /// The lives of the jobs.
    pub told: Told,
    /// The frames that were accepted shortly before a violation, where somebody looked at them.
    pub messages: Vec<Message>,
    /// What is not deterministic.
    pub wall: Wall,
}

/// What depends on the machine: `run.json`.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Wall {
    /// Seconds of wall time.
    pub seconds: f64,
    /// Events per second of wall time.
    pub events_per_second: f64,
    /// Deliveries per second of wall time.
    pub deliveries_per_second: f64,
    /// Peak resident memory, in bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

impl Outcome {
    /// The exit code of this run alone: 3 safety, 4 liveness, 1 a KPI or expectation missed or UNKNOWN, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let failed = |kind| self.checks.iter().any(|c| c.kind == kind && c.verdict == Verdict::Fail);
        let unclear = |verdict| matches!(verdict, Verdict::Fail | Verdict::Unknown);
        if failed(CheckKind::Safety) {
            3
        } else if failed(CheckKind::Liveness) {
            4
        } else if self.kpis.iter().any(|k| unclear(k.verdict)) || self.checks.iter().any(|c| unclear(c.verdict)) {
            1
        } else {
            0
        }
    }
}
