//! How the simulator's speed, memory and wall time grow with the number of nodes: writes `results/scaling.md`.
//!
//! Each size is a process of its own, so that its peak memory is its own. Nodes that only say their heartbeats and announces run for
//! 60 simulated seconds from a cold start, in which everyone meets everyone: that is the wall time and the memory of the table. Then
//! they run on, and what comes in is counted against the clock: the deliveries per second. All on one core.
//!
//! What a delivery waits for in a large world is memory, and part of that is to find where a page of it lies: the processes
//! ask for huge pages, as anyone can for a large run ([`HUGE_PAGES`]).
//!
//! Beside the wall clock stands the time that the core was really given to the process, as Linux says: on a machine that others use it
//! is the steadier one. Of several tries the best is shown, by that time; what others do to the caches can only make it longer.
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

/// Numbers of nodes, and how often each is tried.
const SIZES: [(u64, u32); 6] = [(10, 5), (30, 5), (100, 5), (300, 3), (500, 3), (1_000, 2)];
/// Has glibc's allocator ask Linux for huge pages. Elsewhere it does nothing.
const HUGE_PAGES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
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

/// What one try of one size found.
struct Row {
    nodes: u64,
    deliveries: u64,
    cold: Took,
    per_second: f64,
    peak_mib: u64,
}

/// How long something took: by the clock, and of the core's time.
#[derive(Clone, Copy)]
struct Took {
    wall_s: f64,
    core_s: f64,
}

/// One size, in this process.
fn measure(nodes: u64) -> Row {
    let mut world = World::new(scenario(nodes));
    let cold = timed(|| world.run_until(Time(0) + MINUTE, &mut Unwatched));
    let deliveries = world.deliveries();
    let (least, most) = COUNTED_FOR;
    let seconds = (2 * COUNTED / (nodes * (nodes - 1))).clamp(least, most);
    let warm = timed(|| world.run_until(Time(0) + MINUTE + Span::secs(seconds), &mut Unwatched));
    let per_second = (world.deliveries() - deliveries) as f64 / warm.core_s;
    Row { nodes, deliveries, cold, per_second, peak_mib: peak_mib() }
}

fn timed(run: impl FnOnce() -> bool) -> Took {
    let (began, core_before) = (Instant::now(), core_s());
    let more = run();
    assert!(more, "the scenario is longer than what is measured");
    Took { wall_s: began.elapsed().as_secs_f64(), core_s: core_s() - core_before }
}

/// Seconds that this process, which has one thread, has been on a core.
fn core_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux, with CONFIG_SCHED_INFO");
    let on_cpu = text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
    on_cpu.expect("nanoseconds come first") as f64 / 1e9
}

impl Row {
    /// As one process tells it to another, and to people: a row of the table.
    fn text(&self) -> String {
        let Row { nodes, deliveries, cold, per_second, peak_mib } = self;
        let (wall_s, core_s) = (cold.wall_s, cold.core_s);
        format!(
            "| {nodes} | {deliveries} | {wall_s:.2} s | {core_s:.2} s | {peak_mib} MiB | {:.2} M/s |",
            per_second / 1e6
        )
    }
}

/// The best of several tries, each a process of its own.
fn best_of(program: &Path, nodes: u64, tries: u32) -> String {
    let core_s = |row: &String| -> f64 {
        let cell = row.split('|').nth(4).and_then(|cell| cell.trim().strip_suffix(" s")?.parse().ok());
        cell.expect("the core's time is the fourth cell")
    };
    let rows = (0..tries).map(|_| {
        let (name, value) = HUGE_PAGES;
        let run = Command::new(program).args(["--size", &nodes.to_string()]).env(name, value).output();
        let run = run.expect("it runs again");
        assert!(run.status.success(), "{nodes} nodes: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8_lossy(&run.stdout).trim_end().to_owned()
    });
    rows.min_by(|a, b| core_s(a).total_cmp(&core_s(b))).expect("it is tried once at least")
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
        assert!(measure(3).text().starts_with("| 3 |"), "a row of the table");
        return;
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--size") {
        let nodes = arguments.get(at + 1).and_then(|nodes| nodes.parse().ok()).expect("--size wants a number of nodes");
        return println!("{}", measure(nodes).text());
    }
    let mut table = String::from(
        "# How the simulator scales\n\nNodes that only say heartbeats and announces, with real signatures, on a local network, every check and KPI looking on, on one core:\n\
         60 simulated seconds from a cold start, in which everyone meets everyone (deliveries, wall time, time on the core, peak memory), and deliveries\n\
         per second on the core once everyone knows everyone, with huge pages (`GLIBC_TUNABLES=glibc.malloc.hugetlb=1`). The best of five tries (two with 1,000 nodes) on a machine of two virtual cores\n\
         that others used at the same time: wall times are theirs as well.\n\
         Made by `cargo bench -p marlos-sim --bench scaling`.\n\n\
         | nodes | deliveries in 60 s | wall time | on the core | peak memory | then deliveries |\n|---:|---:|---:|---:|---:|---:|\n",
    );
    let program = std::env::current_exe().expect("this program has a path");
    for (nodes, tries) in SIZES {
        let row = best_of(&program, nodes, tries);
        println!("{row}");
        writeln!(table, "{row}").expect("a String takes everything");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/scaling.md");
    std::fs::write(&file, &table).expect("results can be written");
    println!("written to {}", file.display());
}
