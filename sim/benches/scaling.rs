//! How the simulator's speed, memory and wall time grow with the number of nodes: writes `results/scaling.md`.
//!
//! Each size is a process of its own, so that its peak memory is its own. Nodes that only say their heartbeats and announces run for
//! 60 simulated seconds from a cold start, in which everyone meets everyone: that is the wall time and the memory of the table. Then
//! they run on, and what comes in is counted against the clock: the deliveries per second. All on one core.
//!
//! `cargo bench -p marlos-sim --bench scaling`; with `-- --size N` one size, for a profiler.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock, starts itself again for each size, writes its table and says so"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use marlos::time::{Span, Time};
use marlos_sim::scenario::{Overrides, Scenario};
use marlos_sim::world::{Unwatched, World};

const SIZES: [u64; 6] = [10, 30, 100, 300, 500, 1_000];
/// From a cold start.
const MINUTE: Span = Span::secs(60);
/// Deliveries that are counted at least after it, and the simulated time that this may take.
const COUNTED: u64 = 3_000_000;
const COUNTED_FOR: (u64, u64) = (10, 3_000);

fn scenario(nodes: u64) -> Scenario {
    let text = format!(
        "# Heartbeats only.\nname = \"scaling\"\nseed = 1\nduration = \"2h\"\nwarmup = \"10s\"\nsettle = \"10s\"\n\
         [nodes]\ncount = {nodes}\nconfig = {{ max_peers = {nodes} }}\n[network]\nprofile = \"lan\"\n"
    );
    let none = |_: &str| Err("no file beside it".to_owned());
    Scenario::parse(&text, "scaling.toml", Overrides::default(), &none).expect("a valid scenario")
}

/// One size, in this process: its row of the table.
fn measure(nodes: u64) -> String {
    let began = Instant::now();
    let mut world = World::new(scenario(nodes));
    world.run_until(Time(0) + MINUTE, &mut Unwatched);
    let (wall, first) = (began.elapsed(), world.deliveries());
    let (least, most) = COUNTED_FOR;
    let seconds = (2 * COUNTED / (nodes * (nodes - 1))).clamp(least, most);
    let began = Instant::now();
    world.run_until(Time(0) + MINUTE + Span::secs(seconds), &mut Unwatched);
    let counted = world.deliveries() - first;
    let per_second = counted as f64 / began.elapsed().as_secs_f64();
    format!("| {nodes} | {first} | {:.2} s | {} MiB | {:.2} M/s |", wall.as_secs_f64(), peak_mib(), per_second / 1e6)
}

/// The most memory that this process has held so far, as Linux says.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--test") {
        assert!(measure(3).starts_with("| 3 |"), "a row of the table");
        return;
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--size") {
        let nodes = arguments.get(at + 1).and_then(|nodes| nodes.parse().ok()).expect("--size wants a number of nodes");
        return println!("{}", measure(nodes));
    }
    let mut table = String::from(
        "# How the simulator scales\n\nNodes that only say heartbeats and announces, on a local network, every check and KPI looking on, on one core: 60 simulated\n\
         seconds from a cold start (deliveries, wall time, peak memory), and deliveries per second once everyone knows everyone.\n\
         Made by `cargo bench -p marlos-sim --bench scaling`.\n\n\
         | nodes | deliveries in 60 s | wall time | peak memory | then deliveries |\n|---:|---:|---:|---:|---:|\n",
    );
    let program = std::env::current_exe().expect("this program has a path");
    for nodes in SIZES {
        let run = Command::new(&program).args(["--size", &nodes.to_string()]).output().expect("it runs again");
        assert!(run.status.success(), "{nodes} nodes: {}", String::from_utf8_lossy(&run.stderr));
        let row = String::from_utf8_lossy(&run.stdout);
        println!("{}", row.trim_end());
        writeln!(table, "{}", row.trim_end()).expect("a String takes everything");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/scaling.md");
    std::fs::write(&file, &table).expect("results can be written");
    println!("written to {}", file.display());
}
