//! An outcome made by hand, for the tests of all reports.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use marlos::metrics::GetMetrics;
use marlos::time::{Span, Time};
use marlos::units::Ppm;

use crate::outcome::{CheckKind, CheckResult, JobCounts, KpiResult, NodeMetrics, Outcome, TimelineRow, Verdict, Wall};
use crate::scenario::{
    Comparison, CpuSpec, CrashConnection, Crypto, Fault, FaultKind, KpiTarget, LatencyLaw, NetworkSpec, NodeSpec,
    Scenario, Statistic, Storage,
};

/// A run in which the nodes split in two for the second quarter of the time and the last node crashes for good near the
/// end; one KPI passes, one fails, one has too few samples and one none; a safety check is violated.
pub fn outcome(nodes: usize, seconds: u64) -> Outcome {
    let (mut noise, mut sample) = (Noise(7), Noise(11));
    let timeline = timeline(nodes, seconds, &mut noise);
    let latencies = (0..5_000).map(|_| 1_000 + sample.below(8_000) * sample.below(8_000) / 2_000);
    let kpis = vec![
        kpi("message_latency", "ms", Some((Statistic::P99, Comparison::Less, 50.0)), latencies, 1_000.0),
        kpi(
            "heartbeat_interval",
            "s",
            Some((Statistic::Mean, Comparison::Within(5), 3.0)),
            (0..600).map(|i| 2_900_000 + i * 337 % 200_000),
            1e6,
        ),
        kpi(
            "peer_discovery",
            "s",
            Some((Statistic::Max, Comparison::Less, 5.0)),
            (0..nodes as u64).map(|i| 900_000 + i * 70_000),
            1e6,
        ),
        kpi(
            "failure_detection",
            "s",
            Some((Statistic::Max, Comparison::Less, 15.0)),
            (0..27).map(|i| 9_000_000 + i * 310_000),
            1e6,
        ),
        kpi("takeover", "s", None, [4_200_000].into_iter(), 1e6),
        kpi(
            "consensus",
            "ms",
            Some((Statistic::P99, Comparison::Less, 2_000.0)),
            (0..12).map(|i| 120_000 + i * 9_000),
            1_000.0,
        ),
        kpi(
            "overhead_per_job",
            "B",
            Some((Statistic::Mean, Comparison::Less, 10_000.0)),
            (0..300).map(|i| 6_000 + i * 7),
            1.0,
        ),
        kpi("false_deaths", "1", Some((Statistic::Count, Comparison::Equal, 0.0)), std::iter::empty(), 1.0),
        kpi("throughput", "1/s", Some((Statistic::Mean, Comparison::AtLeast, 100.0)), std::iter::empty(), 1.0),
    ];
    Outcome {
        scenario: scenario(nodes, seconds),
        verdict: Verdict::Fail,
        action_hash: "9f2c41d07be35a6c".repeat(4),
        events: 1_234_567,
        deliveries: 987_654,
        reached: Time((seconds * 1_000_000).saturating_sub(3_579_000)),
        kpis,
        checks: checks(),
        jobs: JobCounts { submitted: 590, completed: 571, failed: 12, lost: 7, duplicate_executions: 3 },
        bytes_per_message_type: bytes(),
        refusals: BTreeMap::from([("replayed".to_owned(), 4)]),
        counters: BTreeMap::from([("deaths_detected", 9), ("frames_cut", 1_204)]),
        metrics: vec![NodeMetrics {
            node: "n0".to_owned(),
            up: true,
            metrics: GetMetrics {
                peer_count: 4,
                messages_sent: 1_000,
                messages_received: 3_000,
                avg_latency_us: 2_345,
                bandwidth_usage_bits_per_s: 1_234_567,
                blacklisted_peers: 0,
                partition_detected: false,
            },
        }],
        timeline,
        last_changes: vec![
            "55.120 s  n2  n3 is suspect".to_owned(),
            "56.421 s  n4  holds a certificate for j17, round 2".to_owned(),
        ],
        told: crate::story::Told::default(),
        messages: Vec::new(),
        wall: Wall {
            seconds: 1.25,
            events_per_second: 987_654.0,
            deliveries_per_second: 790_123.0,
            peak_memory_bytes: Some(48_000_000),
        },
    }
}

fn kpi(
    name: &'static str,
    unit: &'static str,
    target: Option<(Statistic, Comparison, f64)>,
    samples: impl Iterator<Item = u64>,
    raw_per_unit: f64,
) -> KpiResult {
    let mut histogram = Histogram::new(3).unwrap();
    samples.for_each(|raw| histogram.record(raw).unwrap());
    let target = target.map(|(statistic, comparison, target)| KpiTarget { statistic, comparison, target });
    let value = |t: Statistic| match t {
        Statistic::P50 => histogram.value_at_quantile(0.5) as f64,
        Statistic::P90 => histogram.value_at_quantile(0.9) as f64,
        Statistic::P99 => histogram.value_at_quantile(0.99) as f64,
        Statistic::Max => histogram.max() as f64,
        Statistic::Mean => histogram.mean(),
        Statistic::Count => histogram.len() as f64,
    };
    let counted = target.is_some_and(|t| t.statistic == Statistic::Count);
    let measured = (counted || !histogram.is_empty())
        .then(|| value(target.map_or(Statistic::Mean, |t| t.statistic)) / raw_per_unit);
    let (verdict, note) = match (target, measured) {
        (None, _) => (Verdict::NotApplicable, "not judged here".to_owned()),
        (_, None) => (Verdict::NotApplicable, "under 100 jobs/s offered".to_owned()),
        (Some(t), Some(_)) if t.statistic == Statistic::P99 && histogram.len() < 20 => {
            (Verdict::Unknown, format!("{} samples of the 20 that a percentile needs", histogram.len()))
        }
        (Some(t), Some(m)) if t.comparison == Comparison::Less && m >= t.target => (Verdict::Fail, String::new()),
        _ => (Verdict::Pass, String::new()),
    };
    KpiResult {
        name,
        unit,
        one_sample_per: "message and receiver",
        target,
        measured,
        verdict,
        note,
        histogram,
        raw_per_unit,
    }
}

fn checks() -> Vec<CheckResult> {
    let check = |name: &str, kind, verdict, detail: &str| CheckResult {
        name: name.to_owned(),
        kind,
        verdict,
        detail: detail.to_owned(),
    };
    vec![
        check("S1", CheckKind::Safety, Verdict::Pass, "one certificate per job and round: 571 jobs checked"),
        check(
            "S2",
            CheckKind::Safety,
            Verdict::Fail,
            "a job runs under one lease at a time, but\nn3 runs j17 in round 1 since 55.9 s\nn4 runs j17 in round 2 since 56.4 s",
        ),
        check("L1", CheckKind::Liveness, Verdict::Unknown, "the run ended before the settle time"),
        check("frames_cut", CheckKind::Expect, Verdict::Pass, "1204, expected >= 1"),
    ]
}

fn bytes() -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("CERTIFICATE_REQUEST", 1_204),
        ("CLAIM_VOTE", 1_830_221),
        ("JOB_BID", 2_400_118),
        ("JOB_BROADCAST", 911_042),
        ("JOB_RESULT", 410_977),
        ("PEER_ANNOUNCE", 77_310),
        ("PING", 5_110_442),
    ])
}

/// Scenario with the same faults at any size.
fn scenario(nodes: usize, seconds: u64) -> Scenario {
    let at = |percent: u64| Time(seconds * 10_000 * percent);
    let spec = |i: usize| NodeSpec {
        name: format!("n{i}"),
        group: None,
        region: None,
        config: marlos::Config::default(),
        cpu: CpuSpec::default(),
    };
    Scenario {
        name: "partition".to_owned(),
        shows: "The nodes split in two; the majority goes on, the minority waits.".to_owned(),
        seed: 42,
        crypto: Crypto::Ed25519,
        duration: Time(seconds * 1_000_000),
        warmup: at(8),
        settle: Span::secs(30),
        fixed_membership: false,
        nodes: (0..nodes).map(spec).collect(),
        network: NetworkSpec {
            profile: "lan".to_owned(),
            latency: LatencyLaw::Constant(Span::millis(2)),
            loss: Ppm(1_000),
            bandwidth_bps: None,
            queue_bytes: 1 << 20,
            multicast: true,
            high_water_mark: 1_000,
            connection_timeout: Span::secs(10),
            ..NetworkSpec::of_profile("lan").expect("a profile")
        },
        workload: None,
        faults: vec![
            Fault {
                at: at(25),
                until: Some(at(50)),
                kind: FaultKind::Partition { groups: vec![(0..nodes / 2).collect(), (nodes / 2..nodes).collect()] },
            },
            Fault { at: at(40), until: Some(at(60)), kind: FaultKind::Pause { nodes: vec![0] } },
            Fault {
                at: at(85),
                until: None,
                kind: FaultKind::Crash {
                    nodes: vec![nodes - 1],
                    storage: Storage::Kept,
                    connection: CrashConnection::Silent,
                },
            },
        ],
        kpi: BTreeMap::new(),
        expect: Vec::new(),
    }
}

fn timeline(nodes: usize, seconds: u64, noise: &mut Noise) -> Vec<TimelineRow> {
    let half = nodes as u64 / 2;
    (0..seconds)
        .map(|second| {
            let percent = second * 100 / seconds;
            let split = (27..52).contains(&percent);
            let crashed = percent >= 85;
            let alive_seen = (0..nodes as u64)
                .map(|node| match () {
                    () if second == 0 => 1,
                    () if crashed && node == nodes as u64 - 1 => 0,
                    () if split && node < half => half,
                    () if split => nodes as u64 - half,
                    () => nodes as u64 - u64::from(percent >= 90),
                })
                .map(|seen| u32::try_from(seen).unwrap())
                .collect();
            TimelineRow {
                second,
                accepted: if split { 40 } else { 120 },
                latency_us_p50: 2_000 + noise.below(400),
                latency_us_p99: if split { 30_000 } else { 6_000 } + noise.below(4_000),
                bytes_sent: 90_000,
                jobs_submitted: if percent >= 8 { noise.below(10) } else { 0 },
                jobs_completed: if percent >= 10 { noise.below(if split { 6 } else { 11 }) } else { 0 },
                jobs_failed: u64::from(split && second.is_multiple_of(4)),
                nodes_up: nodes as u64 - u64::from(crashed),
                nodes_degraded: if split { half } else { 0 },
                alive_seen,
            }
        })
        .collect()
}

/// Numbers without a pattern that shows, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
