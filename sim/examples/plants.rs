//! How many runs of chaos it takes to find each planted defect: the table in `docs/chaos.md`.
//!
//! ```text
//! cargo run --release -p marlos-sim --example plants [-- RUNS [SEED ..]] [--only PLANT]
//! ```
//! A defect that no check notices says what chaos lacks. The last line is the same without a defect, which nothing may be found in.
#![allow(clippy::print_stdout, reason = "the table is for people")]

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use marlos::config::Plant;
use marlos_sim::chaos::Chaos;
use marlos_sim::scenario::{Overrides, Scenario};
use marlos_sim::shrink::{self, Bench};

const GROUND: &str = include_str!("../../scenarios/chaos.toml");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let only = arguments.iter().position(|word| word == "--only").and_then(|at| arguments.get(at + 1).cloned());
    let numbers: Vec<u64> = arguments.iter().filter_map(|word| word.parse().ok()).collect();
    let runs = numbers.first().copied().unwrap_or(50);
    let seeds = if numbers.len() > 1 { &numbers[1..] } else { &[1, 2, 3] };
    let heads: Vec<String> = seeds.iter().map(|seed| format!(" seed {seed} |")).collect();
    println!("| defect |{} found by |\n|---|{}---|", heads.concat(), "---:|".repeat(seeds.len()));
    for plant in Plant::ALL.into_iter().chain([Plant::Nothing]) {
        let name = name(plant);
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let found: Vec<Option<(u64, String)>> = seeds.iter().map(|seed| first(plant, *seed, runs)).collect();
        let cells = found.iter().map(|found| match found {
            Some((run, _)) => format!(" {} |", run + 1),
            None => format!(" not in {runs} |"),
        });
        let mut by: Vec<&str> = found.iter().flatten().map(|(_, by)| by.as_str()).collect();
        by.sort_unstable();
        by.dedup();
        println!("| `{name}` |{} {} |", cells.collect::<String>(), by.join("; "));
    }
}

/// The first run that finds something, counted from 0, and what. What the same run has without the defect does not count.
fn first(plant: Plant, seed: u64, runs: u64) -> Option<(u64, String)> {
    let read = Scenario::parse(GROUND, "chaos.toml", Overrides::default(), &|_| Err(String::new()));
    let base = planted(read.unwrap_or_else(|diagnostic| panic!("{}", diagnostic.render(false))), plant);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let never = AtomicBool::new(false);
    let mut first = None;
    let chaos = Chaos { seed, beyond_f: false };
    chaos.runs(&base, 0..runs, threads, &never, |plan, ran| {
        let Some(finding) = ran.finding else { return ControlFlow::Continue(()) };
        if plant != Plant::Nothing {
            let bench = Bench { threads: NonZeroUsize::MIN, interrupted: &never };
            let without = shrink::wrong(planted(plan.scenario, Plant::Nothing), bench);
            if without.is_some_and(|without| without.finding.fingerprint == finding.fingerprint) {
                return ControlFlow::Continue(());
            }
        }
        first = Some((plan.run, finding.fingerprint));
        ControlFlow::Break(())
    });
    first
}

fn planted(mut scenario: Scenario, plant: Plant) -> Scenario {
    scenario.nodes.iter_mut().for_each(|node| node.config.plant = plant);
    scenario
}

fn name(plant: Plant) -> String {
    serde_json::to_value(plant).ok().and_then(|name| name.as_str().map(str::to_owned)).expect("a defect has a name")
}
