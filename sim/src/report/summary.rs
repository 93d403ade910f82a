//! `summary.json` and `metrics.json`, the same bytes for the same scenario, seed and version, and `run.json`, all that is not.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::words;
use crate::outcome::{CheckResult, JobCounts, KpiResult, NodeMetrics, Outcome, Verdict, Wall};
use crate::scenario::Statistic;

/// `summary.json`: the fields of the contract in its order, further ones after them.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'a> {
    scenario: &'a str,
    seed: u64,
    version: &'static str,
    verdict: Verdict,
    action_hash: &'a str,
    events: u64,
    kpis: Vec<Kpi<'a>>,
    checks: &'a [CheckResult],
    jobs: JobCounts,
    bytes: &'a BTreeMap<&'static str, u64>,
    deliveries: u64,
    duration_us: u64,
    reached_us: u64,
    nodes: usize,
    refusals: &'a BTreeMap<String, u64>,
    counters: &'a BTreeMap<&'static str, u64>,
}

/// One KPI of `summary.json`; the figures are in `unit`, with three decimals.
#[derive(Clone, Debug, Serialize)]
struct Kpi<'a> {
    name: &'static str,
    unit: &'static str,
    statistic: &'static str,
    target: Option<f64>,
    comparison: Option<String>,
    measured: Option<f64>,
    samples: u64,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
    verdict: Verdict,
    mean: Option<f64>,
    one_sample_per: &'static str,
    note: &'a str,
}

/// The distribution of a KPI's samples, in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stats {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    pub mean: f64,
}

impl Stats {
    /// Of these samples, if there are any.
    #[must_use]
    pub fn of(kpi: &KpiResult) -> Option<Stats> {
        let h: &Histogram<u64> = &kpi.histogram;
        let at = |quantile| to_unit(h.value_at_quantile(quantile), kpi);
        let mean = h.mean() / kpi.raw_per_unit;
        (!h.is_empty()).then(|| Stats { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: to_unit(h.max(), kpi), mean })
    }
}

/// A value of a KPI's histogram, in the KPI's unit.
#[must_use]
pub fn to_unit(raw: u64, kpi: &KpiResult) -> f64 {
    raw as f64 / kpi.raw_per_unit
}

/// The statistic that `measured` is the value of: the target's, or the mean.
#[must_use]
pub fn judged_statistic(kpi: &KpiResult) -> &'static str {
    // What is only counted, and judged by nobody, is shown as a count.
    let natural = if kpi.unit == "1" { Statistic::Count } else { Statistic::Mean };
    words::statistic(kpi.target.map_or(natural, |t| t.statistic))
}

/// The content of `summary.json`, which `--format json` prints.
#[must_use]
pub fn json(outcome: &Outcome) -> String {
    pretty(&Summary {
        scenario: &outcome.scenario.name,
        seed: outcome.scenario.seed,
        version: env!("CARGO_PKG_VERSION"),
        verdict: outcome.verdict,
        action_hash: &outcome.action_hash,
        events: outcome.events,
        kpis: outcome.kpis.iter().map(kpi).collect(),
        checks: &outcome.checks,
        jobs: outcome.jobs,
        bytes: &outcome.bytes_per_message_type,
        deliveries: outcome.deliveries,
        duration_us: outcome.scenario.duration.0,
        reached_us: outcome.reached.0,
        nodes: outcome.scenario.nodes.len(),
        refusals: &outcome.refusals,
        counters: &outcome.counters,
    })
}

/// The content of `metrics.json`: what each node would answer to the document's `get_metrics` at the end, by its names.
#[must_use]
pub fn metrics_json(outcome: &Outcome) -> String {
    #[derive(Serialize)]
    struct Node<'a> {
        node: &'a str,
        up: bool,
        peer_count: u32,
        messages_sent: u64,
        messages_received: u64,
        avg_latency_ms: f64,
        bandwidth_usage_mbps: f64,
        blacklisted_peers: u32,
        partition_detected: bool,
    }
    fn of(NodeMetrics { node, up, metrics }: &NodeMetrics) -> Node<'_> {
        Node {
            node,
            up: *up,
            peer_count: metrics.peer_count,
            messages_sent: metrics.messages_sent,
            messages_received: metrics.messages_received,
            avg_latency_ms: metrics.avg_latency_us as f64 / 1e3,
            bandwidth_usage_mbps: metrics.bandwidth_usage_bits_per_s as f64 / 1e6,
            blacklisted_peers: metrics.blacklisted_peers,
            partition_detected: metrics.partition_detected,
        }
    }
    pretty(&outcome.metrics.iter().map(of).collect::<Vec<_>>())
}

/// The content of `run.json`: speed and machine.
#[must_use]
pub fn run_json(outcome: &Outcome) -> String {
    #[derive(Serialize)]
    struct Run<'a> {
        scenario: &'a str,
        seed: u64,
        version: &'static str,
        build: &'static str,
        #[serde(flatten)]
        wall: Wall,
        machine: Machine,
    }
    #[derive(Serialize)]
    struct Machine {
        os: &'static str,
        arch: &'static str,
        cores: Option<usize>,
    }
    pretty(&Run {
        scenario: &outcome.scenario.name,
        seed: outcome.scenario.seed,
        version: env!("CARGO_PKG_VERSION"),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        wall: outcome.wall,
        machine: Machine {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().ok().map(usize::from),
        },
    })
}

fn kpi(kpi: &KpiResult) -> Kpi<'_> {
    let stats = Stats::of(kpi);
    let stat = |pick: fn(&Stats) -> f64| stats.as_ref().map(pick).map(three_decimals);
    Kpi {
        name: kpi.name,
        unit: kpi.unit,
        statistic: judged_statistic(kpi),
        target: kpi.target.map(|t| t.target),
        comparison: kpi.target.map(|t| words::comparison(t.comparison)),
        measured: kpi.measured.map(three_decimals),
        samples: kpi.histogram.len(),
        p50: stat(|s| s.p50),
        p90: stat(|s| s.p90),
        p99: stat(|s| s.p99),
        max: stat(|s| s.max),
        verdict: kpi.verdict,
        mean: stat(|s| s.mean),
        one_sample_per: kpi.one_sample_per,
        note: &kpi.note,
    }
}

/// Multiplying, rounding and dividing are exact in IEEE 754, so this is the same number on every machine.
fn three_decimals(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn pretty<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data with string keys always encodes");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// The keys of a JSON object as they stand in the text, nested ones left out by their indentation.
    fn keys(text: &str, indent: usize) -> Vec<&str> {
        let start = format!("{}\"", " ".repeat(indent));
        let mut keys: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once("\": ").map(|(key, _)| key)).collect();
        keys.dedup();
        keys
    }

    #[test]
    fn the_summary_has_the_contracts_fields_first_and_in_its_order() {
        let text = json(&fixture::outcome(10, 60));
        let contract = "scenario seed version verdict action_hash events kpis checks jobs bytes";
        assert!(keys(&text, 2).join(" ").starts_with(contract), "{text}");
        let kpis = &text[text.find("\"kpis\"").unwrap()..text.find("\"checks\"").unwrap()];
        let contract = "name unit statistic target comparison measured samples p50 p90 p99 max verdict";
        assert!(keys(kpis, 6).join(" ").starts_with(contract), "{kpis}");
        let checks = &text[text.find("\"checks\"").unwrap()..text.find("\"jobs\"").unwrap()];
        assert!(keys(checks, 6).join(" ").starts_with("name kind verdict detail"), "{checks}");
        let jobs = &text[text.find("\"jobs\"").unwrap()..text.find("\"bytes\"").unwrap()];
        assert_eq!(keys(jobs, 4).join(" "), "submitted completed failed lost duplicate_executions");
    }

    #[test]
    fn the_same_outcome_gives_the_same_bytes_whatever_the_machine_did() {
        let first = fixture::outcome(10, 60);
        let mut second = fixture::outcome(10, 60);
        second.wall = Wall { seconds: 99.0, ..Wall::default() };
        assert_eq!(json(&first), json(&second));
        assert_ne!(run_json(&first), run_json(&second));
    }

    #[test]
    fn figures_have_three_decimals_and_missing_ones_are_null() {
        let text = json(&fixture::outcome(10, 60));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["kpis"][0]["measured"], 28.703);
        assert_eq!(value["kpis"][0]["comparison"], "<");
        let empty = value["kpis"].as_array().unwrap().iter().find(|k| k["samples"] == 0).unwrap();
        assert!(empty["p50"].is_null() && empty["max"].is_null());
        assert_eq!(value["verdict"], "FAIL");
    }
}
