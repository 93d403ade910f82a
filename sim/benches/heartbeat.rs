//! The simulator's speed: deliveries per second of wall time on one core.
//!
//! 100 nodes exchange signed heartbeats every 3 s for 60 simulated seconds on the `lan` profile: every delivery passes the
//! full admission path and the membership logic, every KPI and check looks on; then 500 nodes, a quarter of a minute at a time. Beside it, as the measure of the machine, a
//! bare event loop that delivers as many messages and only stores a time. Compare the ratio of the two, not the seconds.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use marlos::time::{Span, Time};
use marlos_sim::scenario::{Overrides, Scenario};
use marlos_sim::world::{Unwatched, World};

/// Simulated time before the measured minute: everyone knows everyone, and each peer's clock has been measured.
const WARM: Span = Span::secs(60);
const MEASURED: Span = Span::secs(60);
/// A round of 500 nodes.
const ROUND: Span = Span::secs(15);

fn scenario(nodes: usize) -> Scenario {
    let text = format!(
        "# Heartbeats only.\nname = \"heartbeat\"\nseed = 1\nduration = \"1h\"\nwarmup = \"10s\"\nsettle = \"10s\"\n\
         [nodes]\ncount = {nodes}\nconfig = {{ max_peers = {nodes} }}\n[network]\nprofile = \"lan\"\n"
    );
    let none = |_: &str| Err("no file beside it".to_owned());
    Scenario::parse(&text, "heartbeat.toml", Overrides::default(), &none).expect("a valid scenario")
}

fn warm_world(nodes: usize) -> World {
    let mut world = World::new(scenario(nodes));
    world.run_until(Time(0) + WARM, &mut Unwatched);
    world
}

fn heartbeats(c: &mut Criterion) {
    let mut group = c.benchmark_group("heartbeat");
    group.sample_size(10);
    hundred(&mut group);
    many(&mut group);
    group.finish();
}

fn hundred(group: &mut BenchmarkGroup<'_, WallTime>) {
    let nodes = 100;
    let mut world = warm_world(nodes);
    let before = world.deliveries();
    world.run_until(Time(0) + WARM + MEASURED, &mut Unwatched);
    let deliveries = world.deliveries() - before;
    group.throughput(Throughput::Elements(deliveries));
    group.bench_function(format!("{nodes} nodes, full admission path"), |b| {
        b.iter_batched(
            || warm_world(nodes),
            |mut world| {
                world.run_until(Time(0) + WARM + MEASURED, &mut Unwatched);
                world
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function(format!("{nodes} nodes, bare event loop"), |b| b.iter(|| bare_loop(nodes, deliveries)));
}

/// 500 nodes take long to meet: one world is warmed up, and what is measured is each further round of heartbeats.
fn many(group: &mut BenchmarkGroup<'_, WallTime>) {
    let nodes = 500;
    let mut world = warm_world(nodes);
    let mut reached = Time(0) + WARM;
    let mut round = |rounds: u64| {
        reached += ROUND.times(rounds);
        world.run_until(reached, &mut Unwatched);
        world.deliveries()
    };
    // Announces come every five seconds, heartbeats every three: fifteen hold as many of both each time.
    let before = round(0);
    let deliveries = round(1) - before;
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(deliveries));
    group.bench_function(format!("{nodes} nodes, full admission path"), |b| {
        b.iter_custom(|rounds| {
            let began = Instant::now();
            round(rounds);
            began.elapsed()
        });
    });
    group.bench_function(format!("{nodes} nodes, bare event loop"), |b| b.iter(|| bare_loop(nodes, deliveries)));
}

/// Delivers `deliveries` messages in order of time, one heap entry each, and stores when.
fn bare_loop(nodes: usize, deliveries: u64) -> u64 {
    let mut queue = BinaryHeap::new();
    let mut last_heard = vec![0u64; nodes * nodes];
    let (mut delivered, mut sequence, mut at) = (0, 0u64, 0u64);
    while delivered < deliveries {
        for sender in 0..nodes {
            for receiver in (0..nodes).filter(|receiver| *receiver != sender) {
                sequence += 1;
                queue.push(Reverse((
                    at + sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 5_000,
                    sequence,
                    sender,
                    receiver,
                )));
            }
            while let Some(Reverse((now, _, sender, receiver))) = queue.pop() {
                last_heard[receiver * nodes + sender] = now;
                delivered += 1;
            }
            at += 30_000;
        }
    }
    black_box(&last_heard);
    delivered
}

criterion_group!(benches, heartbeats);
criterion_main!(benches);
