//! How many jobs per second the network stands: the rate at which the p99 of consensus passes two seconds, by number of nodes.
//!
//! Rates are doubled until one is too much, then the gap is halved until it is a fifth. A rate holds if consensus is below two seconds
//! (p99), all jobs that were offered were accepted and completed, and nobody was banned. Jobs pay next to nothing, so that nobody runs
//! out of money. Each node has one processor, whose work costs what `cargo bench -p marlos --no-default-features --bench handle`
//! measured (below); what was busiest says what gave way. Writes `results/knee.md`; the same version writes the same table.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark writes its table and says so")]

use std::fmt::Write as _;
use std::path::Path;

use marlos::time::{Span, Time};
use marlos_sim::outcome::{CheckKind, Outcome, Verdict};
use marlos_sim::scenario::{Overrides, Scenario};
use marlos_sim::world::{Unwatched, World};

const NODES: [u64; 4] = [5, 10, 20, 50];
/// p99 of consensus that a rate may have, in microseconds.
const TARGET_US: u64 = 2_000_000;
/// Where the search begins and where it ends at the latest, in jobs per second.
const FIRST: u64 = 1_600;
const MOST: u64 = 12_800;
/// The search ends where what holds and what is too much are as close as this part of the latter.
const GAP: u64 = 5;
/// For how long jobs are offered, in seconds.
const LOAD: u64 = 6;
/// From when on.
const FROM: u64 = 5;
/// What a message, a signature and a verification cost, measured on a virtual machine of two cores (AMD EPYC).
const CPU: &str = "{ per_message = \"4us\", per_signature = \"18us\", per_verification = \"42us\" }";

/// What a rate did.
struct Tried {
    rate: u64,
    p99_us: u64,
    kilobytes_per_job: u64,
    /// How busy the busiest processor and all of them were while jobs were offered, in per cent.
    busiest: u64,
    mean_busy: u64,
    /// Why it was too much, if it was.
    too_much: Option<String>,
}

fn scenario(nodes: u64, rate: u64) -> Scenario {
    let text = format!(
        "# Jobs that take no time.\nname = \"knee\"\ncrypto = \"token\"\nseed = 1\nduration = \"22s\"\nwarmup = \"5s\"\nsettle = \"10s\"\n\
         [nodes]\ncount = {nodes}\ncpu = {CPU}\n[network]\nprofile = \"lan\"\n[workload]\njobs_per_second = {rate}\nstart = \"{FROM}s\"\nend = \"{}s\"\n\
         job = {{ type = \"simulated\", duration = \"10ms\", payment = 0.01, deadline = \"10s\", output_bytes = 64 }}\n",
        FROM + LOAD
    );
    let none = |_: &str| Err("no file beside it".to_owned());
    Scenario::parse(&text, "knee.toml", Overrides::default(), &none).expect("a valid scenario")
}

fn attempt(nodes: u64, rate: u64) -> Tried {
    let mut world = World::new(scenario(nodes, rate));
    let busy = |world: &World| (0..nodes as usize).map(|node| world.cpu_busy(node)).collect::<Vec<Span>>();
    world.run_until(Time(0) + Span::secs(FROM), &mut Unwatched);
    let before = busy(&world);
    world.run_until(Time(0) + Span::secs(FROM + LOAD), &mut Unwatched);
    let worked: Vec<u64> =
        busy(&world).iter().zip(&before).map(|(now, then)| now.saturating_sub(*then).as_micros()).collect();
    world.run_until(Time::NEVER, &mut Unwatched);
    let outcome = world.finish();
    let per_cent = |us: u64| us / (LOAD * 10_000);
    let busiest = per_cent(worked.iter().copied().max().expect("there are nodes"));
    let mean_busy = per_cent(worked.iter().sum::<u64>() / nodes);
    let consensus = outcome.kpis.iter().find(|kpi| kpi.name == "consensus").expect("in the table");
    let overhead = outcome.kpis.iter().find(|kpi| kpi.name == "overhead_per_job").expect("in the table");
    let p99_us = consensus.histogram.value_at_quantile(0.99);
    let kilobytes_per_job = overhead.measured.map_or(0, |bytes| (bytes / 1e3).round() as u64);
    Tried { rate, p99_us, kilobytes_per_job, busiest, mean_busy, too_much: too_much(&outcome, rate, p99_us) }
}

fn too_much(outcome: &Outcome, rate: u64, p99_us: u64) -> Option<String> {
    let violated =
        |check: &&marlos_sim::outcome::CheckResult| check.kind == CheckKind::Safety && check.verdict == Verdict::Fail;
    if let Some(check) = outcome.checks.iter().find(violated) {
        return Some(format!("{} does not hold", check.name));
    }
    if p99_us >= TARGET_US {
        return Some(format!("consensus p99 {}", seconds(p99_us)));
    }
    // Arrivals are random: a hundredth less than offered is nothing, a tenth less was refused.
    if outcome.jobs.submitted * 10 < rate * LOAD * 9 {
        return Some(format!("only {} of {} jobs accepted", outcome.jobs.submitted, rate * LOAD));
    }
    let open = outcome.jobs.submitted - outcome.jobs.completed;
    (open > 0).then(|| format!("{open} of {} jobs without a result", outcome.jobs.submitted))
}

fn seconds(us: u64) -> String {
    Span(us / 1_000 * 1_000).to_string()
}

/// The highest rate that holds, and the lowest that does not.
fn knee(nodes: u64) -> (Option<Tried>, Option<Tried>) {
    let (mut holds, mut fails): (Option<Tried>, Option<Tried>) = (None, None);
    loop {
        let (low, high) = (holds.as_ref().map_or(0, |t| t.rate), fails.as_ref().map(|t| t.rate));
        let rate = match high {
            None if low == 0 => FIRST,
            None if low >= MOST => return (holds, fails),
            None => low * 2,
            Some(high) if (high - low) * GAP <= high || high - low <= 1 => return (holds, fails),
            Some(high) => low.midpoint(high),
        };
        let tried = attempt(nodes, rate);
        println!(
            "{nodes} nodes, {rate} jobs/s: p99 {}, busiest {} %, mean {} %, {:?}",
            seconds(tried.p99_us),
            tried.busiest,
            tried.mean_busy,
            tried.too_much
        );
        let side = if tried.too_much.is_none() { &mut holds } else { &mut fails };
        *side = Some(tried);
    }
}

fn busy(tried: &Tried) -> String {
    format!("{} %, {} %", tried.busiest, tried.mean_busy)
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        assert!(attempt(5, FIRST / 4).too_much.is_none(), "a quarter of the first rate holds");
        return;
    }
    let mut table = format!(
        "# The knee\n\nJobs per second that the network stands on a local network: consensus stays below 2 s (p99), every job of {LOAD} s of load is\n\
         completed, nobody is banned. Jobs take 10 ms. Each node has one processor with a queue before it, whose work costs\n\
         `{CPU}`: what `Node::handle` takes per message, and Ed25519, as measured by\n\
         `cargo bench -p marlos --no-default-features --bench handle` on a virtual machine of two cores (AMD EPYC); sockets, disk and kernel cost nothing here.\n\
         Signatures are tokens of the same size that cost a processor as much. Busy is how much of the load's time the busiest node and\n\
         the mean of all worked. Found to a fifth, up to {MOST} jobs/s, by\n\
         `cargo bench -p marlos-sim --bench knee`.\n\n\
         | nodes | jobs/s | consensus p99 | sent per job | busy: busiest, mean | too much | because | busy then |\n\
         |---:|---:|---:|---:|---:|---:|---|---:|\n"
    );
    for nodes in NODES {
        let (holds, fails) = knee(nodes);
        let none = || "-".to_owned();
        writeln!(
            table,
            "| {nodes} | {} | {} | {} | {} | {} | {} | {} |",
            holds.as_ref().map_or_else(none, |t| t.rate.to_string()),
            holds.as_ref().map_or_else(none, |t| seconds(t.p99_us)),
            holds.as_ref().map_or_else(none, |t| format!("{} kB", t.kilobytes_per_job)),
            holds.as_ref().map_or_else(none, busy),
            fails.as_ref().map_or_else(none, |t| t.rate.to_string()),
            fails.as_ref().and_then(|t| t.too_much.clone()).unwrap_or_else(none),
            fails.as_ref().map_or_else(none, busy),
        )
        .expect("a String takes everything");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/knee.md");
    std::fs::write(&file, &table).expect("results can be written");
    println!("{table}\nwritten to {}", file.display());
}
