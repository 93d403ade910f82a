//! Every behaviour at f = ⌊(n-1)/3⌋ of n nodes, many seeds each: the tables in `SECURITY.md`.
//!
//! ```text
//! cargo run --release -p marlos-sim --example liars [-- SEEDS [NODES ..]]
//! ```
//! The worlds are those of `scenarios/byzantine/`, of another size, with the KPI targets of the contract instead of their own.
//! The first table says which safety and liveness checks were violated and with which seeds; the second, at ten nodes, what the KPIs came to.
#![allow(clippy::print_stdout, reason = "the tables are for people")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use marlos::time::Time;
use marlos_sim::many::{WhileWanted, all_cores, many};
use marlos_sim::report::words;
use marlos_sim::scenario::{Crypto, Overrides, Scenario};
use marlos_sim::sweep::row::Report;
use marlos_sim::sweep::tally::Tally;
use marlos_sim::world::World;

/// The KPIs of the second table, without those that these worlds give no occasion for.
const KPIS: [&str; 6] =
    ["message_latency", "peer_discovery", "job_broadcast", "consensus", "overhead_per_job", "jobs_lost"];

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let seeds = numbers.first().copied().unwrap_or(100);
    let sizes: Vec<u64> = if numbers.len() > 1 { numbers[1..].to_vec() } else { vec![4, 7, 10, 31] };
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/byzantine"));

    let mut judged = Vec::new();
    let heads: String = sizes.iter().map(|nodes| format!(" {} of {nodes} |", liars(*nodes))).collect();
    println!("Seeds 1 to {seeds}, `crypto = \"token\"`.\n\n| behaviour |{heads}\n|---|{}", "---|".repeat(sizes.len()));
    for file in &files {
        let tallies: Vec<Tally> = sizes.iter().map(|nodes| tally(&world(file, *nodes), seeds)).collect();
        let cells: String = tallies.iter().map(|tally| format!(" {} |", safety(tally))).collect();
        println!("| `{}` |{cells}", name(file));
        judged
            .extend(sizes.iter().zip(tallies).filter(|(nodes, _)| **nodes == 10).map(|(_, tally)| (name(file), tally)));
    }
    let heads: String = KPIS.iter().map(|kpi| format!(" `{kpi}` |")).collect();
    println!("\nMedian and worst of the runs at ten nodes, and how many passed where not all did.\n");
    println!("| behaviour |{heads}\n|---|{}", "---|".repeat(KPIS.len()));
    for (name, tally) in judged {
        println!("| `{name}` |{}", KPIS.map(|kpi| format!(" {} |", figure(&tally, kpi))).concat());
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_stem().expect("a file").to_string_lossy().into_owned()
}

fn liars(nodes: u64) -> u64 {
    (nodes - 1) / 3
}

/// The world of a file with another number of nodes. The files name n0 to n6 as honest, of which n6 may join late and n3 crash.
fn world(file: &Path, nodes: u64) -> Scenario {
    let mut text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let honest = nodes - liars(nodes);
    for (from, to) in [
        ("count = 10".to_owned(), format!("count = {nodes}")),
        ("\"n0..n9\"".to_owned(), format!("\"n0..n{}\"", nodes - 1)),
        ("\"n7..n9\"".to_owned(), format!("\"n{honest}..n{}\"", nodes - 1)),
        ("\"n0..n6\"".to_owned(), format!("\"n0..n{}\"", honest - 1)),
        ("\"n0..n5\"".to_owned(), format!("\"n0..n{}\"", honest - 2)),
        ("[\"n6\"]".to_owned(), format!("[\"n{}\"]", honest - 1)),
        ("[\"n3\"]".to_owned(), "[\"n1\"]".to_owned()),
    ] {
        text = text.replace(&from, &to);
    }
    // What they expect and the targets they state are for ten nodes. What stays must still misbehave: see `tally`.
    let end = ["\n[kpi]", "\n[expect]"].iter().filter_map(|table| text.find(table)).min().unwrap_or(text.len());
    let read = Scenario::parse(&text[..end], &name(file), Overrides::default(), &|_| Err(String::new()));
    let scenario = read.unwrap_or_else(|diagnostic| panic!("{}", diagnostic.render(false)));
    Scenario { crypto: Crypto::Token, ..scenario }
}

/// # Panics
/// Where a run had no misdeed in it, for it would prove nothing.
fn tally(world: &Scenario, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    many(
        1..=seeds,
        all_cores(),
        &AtomicBool::new(false),
        |seed, wanted| {
            let mut watcher = WhileWanted::new(wanted);
            let mut world = World::new(Scenario { seed: *seed, ..world.clone() });
            world.run_until(Time::NEVER, &mut watcher);
            let outcome = world.finish();
            let misdeeds = outcome.counters.get("misdeeds").copied().unwrap_or(0);
            (!watcher.broken_off).then(|| (misdeeds, Report::of(&outcome, "")))
        },
        |seed, ran| {
            let report = match ran {
                Ok((0, _)) => panic!("{}: nobody misbehaved with seed {seed}", world.name),
                Ok((_, report)) => report,
                Err(panicked) => Report::of_panic(&world.name, "", seed, &panicked),
            };
            tally.add(&report);
            ControlFlow::Continue(())
        },
    );
    tally
}

/// How many runs, and what was violated.
fn safety(tally: &Tally) -> String {
    let violated = tally.violated.iter().map(|(check, named)| {
        let seeds: Vec<String> = named.seeds.iter().map(u64::to_string).collect();
        format!("{check} in {} (seeds {})", named.count, seeds.join(", "))
    });
    let violated: Vec<String> = violated.collect();
    if violated.is_empty() { format!("{} hold", tally.runs) } else { violated.join("; ") }
}

fn figure(tally: &Tally, name: &str) -> String {
    let Some(kpi) = tally.kpis.iter().find(|kpi| kpi.of.kpi == name) else { return "-".to_owned() };
    let (Some(median), Some((worst, _))) = (kpi.median(), kpi.worst()) else { return "-".to_owned() };
    let [median, worst] = [median, worst].map(|value| words::quantity(value, &kpi.of.unit));
    let passed =
        if kpi.passed == kpi.judged { String::new() } else { format!(", **{} of {}**", kpi.passed, kpi.judged) };
    format!("{median}, {worst}{passed}")
}
