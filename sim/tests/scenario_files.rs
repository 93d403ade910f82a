//! What scenario files say, and what is said about those that are wrong.
#![expect(clippy::disallowed_methods, reason = "tests read the scenarios of the repository")]

use std::path::{Path, PathBuf};

use marlos::time::Span;
use marlos_sim::byzantine::BEHAVIOURS;
use marlos_sim::cli;
use marlos_sim::fault::{FAULT_HELP, Timeline};
use marlos_sim::scenario::{
    Comparison, CpuSpec, Diagnostic, FaultKind, KpiTarget, LatencyLaw, Overrides, RegionMatrix, Scenario, Statistic,
    Storage, Topology,
};
use proptest::prelude::*;

/// Valid, and small enough to be changed in one place.
const BASE: &str = r#"# What it shows.
name = "base"
duration = "120s"

[nodes]
count = 10

[network]
profile = "lan"

[workload]
jobs_per_second = 5.0

[[fault]]
at = "30s"
for = "20s"
kind = "crash"
nodes = ["n3"]

[kpi]
consensus_s = { p99 = 2 }

[expect]
jobs_completed = ">= 100"
"#;

const MATRIX: &str = "# source\nregion, eu, us\neu, 1, 90\nus, , 2.5\n";

const DELAYS: &str = "# how it was measured\ndelay_ms\n12.5\n3\n40.001\n";

fn parse(text: &str) -> Result<Scenario, Diagnostic> {
    let beside = |file: &str| match file {
        "m.csv" => Ok(MATRIX.to_owned()),
        "d.csv" => Ok(DELAYS.to_owned()),
        _ => Err(format!("cannot read `{file}`")),
    };
    Scenario::parse(text, "base.toml", Overrides::default(), &beside)
}

/// BASE with one text in it replaced by another.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "{from}");
    BASE.replace(from, to)
}

/// What is replaced, by what, at which line and column the caret is, and what is said.
type Mistake<'t> = (&'t str, &'t str, (usize, usize), &'t [&'t str]);

#[test]
fn every_mistake_is_shown_at_its_place_with_what_is_allowed() {
    let nodes = "count = 10\n";
    let fault = "nodes = [\"n3\"]";
    let table: &[Mistake] = &[
        ("name = \"base\"", "name = \"base", (2, 13), &["not TOML"]),
        ("name = \"base\"\n", "", (1, 1), &["the scenario has no `name`"]),
        ("\"base\"", "\"../base\"", (2, 8), &["cannot name a result directory"]),
        ("duration =", "durations =", (3, 1), &["unknown key `durations`", "did you mean `duration`?"]),
        ("\"120s\"", "120", (3, 12), &["must be a duration", "a whole number", "write \"120s\""]),
        ("\"120s\"", "\"120 parsecs\"", (3, 12), &["no unit of time"]),
        ("\"120s\"", "\"40s\"", (3, 12), &["nothing is left of 40s", "10s of warm-up and 30s"]),
        ("\"120s\"", "\"120s\"\nsettle = \"80s\"", (4, 10), &["the last fault ends at 50s"]),
        ("\"120s\"", "\"9999d\"", (3, 12), &["out of range"]),
        (
            "\"120s\"",
            "\"120s\"\ncrypto = \"tokens\"",
            (4, 10),
            &["no valid `crypto`", "`ed25519`", "did you mean `token`?"],
        ),
        ("\"120s\"", "\"120s\"\nseed = -1", (4, 8), &["out of range"]),
        // Nodes.
        ("count = 10", "count = 0", (6, 9), &["`count = 0` is out of range", "1 to 4096"]),
        ("count = 10", "count = 5000", (6, 9), &["1 to 4096"]),
        ("count = 10", "cuont = 10", (6, 1), &["did you mean `count`?"]),
        (
            nodes,
            "count = 10\nconfig = { heartbeat_intervall = \"3s\" }\n",
            (7, 12),
            &["did you mean `heartbeat_interval`?"],
        ),
        (nodes, "count = 10\nconfig = { heartbeat_interval = \"3\" }\n", (7, 33), &["has no unit"]),
        (nodes, "count = 10\nconfig = { heartbeat_interval = \"10ms\" }\n", (7, 33), &["is outside 50ms"]),
        (nodes, "count = 10\nconfig = { heartbeat_interval = \"5s\" }\n", (7, 10), &["less than two heartbeats"]),
        (nodes, "count = 10\nconfig = { election = \"raft\" }\n", (7, 23), &["raft", "rendezvous"]),
        (nodes, "count = 10\nconfig = { bootstrap = [] }\n", (7, 12), &["`bootstrap` cannot be set here"]),
        (nodes, "count = 10\nconfig = { max_members = 5 }\n", (5, 1), &["min_peers = 7"]),
        (nodes, "count = 10\ngroup = [{ name = \"eu\", count = 2 }]\n", (6, 9), &["beside `[[nodes.group]]`"]),
        (nodes, "group = []\n", (5, 1), &["at least one node"]),
        (nodes, "group = [{ name = \"n1\", count = 2 }]\n", (6, 19), &["cannot name a group"]),
        (nodes, "group = [{ name = \"eu\", count = 0 }]\n", (6, 33), &["out of range"]),
        (nodes, "group = [{ name = \"eu\", count = 2, region = \"x\" }]\n", (6, 45), &["without a matrix"]),
        (
            nodes,
            "group = [{ name = \"eu\", count = 2 }, { name = \"eu\", count = 2 }]\n",
            (6, 47),
            &["two groups are named `eu`"],
        ),
        // Network.
        ("\"lan\"", "\"lann\"", (9, 11), &["did you mean `lan`?", "`satellite`"]),
        ("\"lan\"", "\"lan\"\nloss = \"101%\"", (10, 8), &["0% to 100%"]),
        ("\"lan\"", "\"lan\"\nloss = \"100%\"", (10, 8), &["not a network"]),
        ("\"lan\"", "\"lan\"\nloss = 0.1", (10, 8), &["a percentage in quotes"]),
        ("\"lan\"", "\"lan\"\nloss = \"-1%\"", (10, 8), &["not a percentage"]),
        ("\"lan\"", "\"lan\"\nbandwidth = \"1Gb\"", (10, 13), &["not a bandwidth", "Gbit/s"]),
        ("\"lan\"", "\"lan\"\nqueue = \"1B\"", (10, 9), &["not a size in range"]),
        ("\"lan\"", "\"lan\"\nmulticast = \"yes\"", (10, 13), &["must be true or false, not a text"]),
        ("\"lan\"", "\"lan\"\ntopology = \"rings\"", (10, 12), &["did you mean `ring`?", "`full`", "`scale-free`"]),
        (
            "\"lan\"",
            "\"lan\"\ntopology = \"ring\"\ndegree = 3",
            (11, 10),
            &["`degree` without a topology with degrees"],
        ),
        ("\"lan\"", "\"lan\"\nrewire = \"5%\"", (10, 10), &["`rewire` without", "topology is \"full\""]),
        (
            "\"lan\"",
            "\"lan\"\ntopology = \"k-regular\"\ndegree = 10",
            (11, 10),
            &["no \"k-regular\" of these nodes", "at least 11 are needed"],
        ),
        ("\"lan\"", "\"lan\"\ntopology = \"small-world\"\ndegree = 3", (11, 10), &["3 is odd"]),
        ("\"lan\"", "\"lan\"\ntopology = \"k-regular\"\ndegree = 1", (11, 10), &["2 to 4096"]),
        ("\"lan\"", "\"lan\"\ntopology = \"regions(x.csv)\"", (10, 12), &["cannot read `x.csv`"]),
        ("\"lan\"", "\"lan\"\ntopology = \"regions(m.csv)\"", (5, 1), &["`[[nodes.group]]` tables"]),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"paretto\" }",
            (10, 28),
            &["no valid `distribution`", "did you mean `pareto`?"],
        ),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"pareto\", scale = \"1ms\", shape = 1 }",
            (10, 61),
            &["allowed: 1.01 to 100"],
        ),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"pareto\", scale = \"0s\", shape = 2 }",
            (10, 11),
            &["the scale of a pareto law cannot be zero"],
        ),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"empirical\", file = \"x.csv\" }",
            (10, 48),
            &["cannot read `x.csv`"],
        ),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"empirical\", file = \"m.csv\" }",
            (10, 48),
            &["`m.csv`: the first line must be `delay_ms`"],
        ),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"empirical\", file = \"x\", quantiles = [\"2ms\", \"1ms\"] }",
            (10, 65),
            &["must rise"],
        ),
        ("\"lan\"", "\"lan\"\njiter = \"1ms\"", (10, 1), &["did you mean `jitter`?"]),
        ("\"lan\"", "\"lan\"\nasymmetry = \"10%\"", (10, 13), &["no pair has a delay of its own", "`jitter`"]),
        ("\"lan\"", "\"lan\"\nloss_burst = \"1ms\"", (10, 14), &["out of range", "10ms"]),
        ("\"lan\"", "\"ideal\"\nloss_burst = \"1s\"", (10, 14), &["where nothing is lost"]),
        ("\"lan\"", "\"lan\"\ndublicate = \"1%\"", (10, 1), &["did you mean `duplicate`?"]),
        ("\"lan\"", "\"lan\"\nreorder_delay = \"1ms\"", (10, 17), &["without `reorder`"]),
        ("\"lan\"", "\"lan\"\ncorrupt = \"100%\"", (10, 11), &["nothing arrives"]),
        ("\"lan\"", "\"lan\"\nundetected = \"1%\"", (10, 14), &["where nothing is corrupted"]),
        ("\"lan\"", "\"ideal\"\ndownload = \"1Mbit/s\"", (10, 12), &["outwards is unlimited"]),
        ("\"lan\"", "\"lan\"\ndownload = \"unlimited\"", (10, 12), &["must be limited"]),
        ("\"lan\"", "\"lan\"\nqueue_full = \"dorp\"", (10, 14), &["did you mean `drop`?"]),
        ("\"lan\"", "\"lan\"\nslow_joiner = 5", (10, 15), &["must be a table"]),
        ("\"lan\"", "\"lan\"\nloss_within_burst = \"50%\"", (10, 21), &["without `loss_burst`"]),
        (
            "\"lan\"",
            "\"lan\"\nloss = \"5%\"\nloss_burst = \"1s\"\nloss_within_burst = \"5%\"",
            (12, 21),
            &["more than the loss of \"5%\" in the long run"],
        ),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"uniform\", min = \"2ms\", max = \"1ms\" }",
            (10, 11),
            &["max is less than min"],
        ),
        (
            "\"lan\"",
            "\"lan\"\nlatency = { distribution = \"uniform\", median = \"2ms\" }",
            (10, 39),
            &["unknown key `median` in a uniform law"],
        ),
        // Workload.
        ("5.0", "0", (12, 19), &["out of range"]),
        ("5.0", "0.0001", (12, 19), &["more than three decimals"]),
        ("5.0", "1000000", (12, 19), &["at most 5000000 are allowed"]),
        ("5.0", "\"5\"", (12, 19), &["must be a number, not a text"]),
        ("5.0", "5.0\narrival = \"burst\"", (11, 1), &["has no `burst_size`"]),
        ("jobs_per_second = 5.0", "", (11, 1), &["has no `jobs_per_second`"]),
        ("5.0", "5.0\ntrace = \"x.csv\"", (13, 9), &["`trace` beside `jobs_per_second`"]),
        ("5.0", "5.0\nrate = []", (13, 1), &["unknown key `rate`", "did you mean `rates`?"]),
        ("jobs_per_second = 5.0", "rates = []", (12, 9), &["0 points of a rate"]),
        (
            "jobs_per_second = 5.0",
            "rates = [{ at = \"9s\", jobs_per_second = 1 }, { at = \"8s\", jobs_per_second = 1 }]",
            (12, 53),
            &["in the order of time"],
        ),
        (
            "jobs_per_second = 5.0",
            "rates = [{ at = \"9s\", jobs_per_second = 0 }]",
            (12, 9),
            &["no job comes between `start` and `end`"],
        ),
        ("jobs_per_second = 5.0", "trace = \"x.csv\"", (12, 9), &["cannot read `x.csv`"]),
        ("jobs_per_second = 5.0", "trace = \"x\"\narrival = \"uniform\"", (13, 11), &["beside a trace"]),
        ("5.0", "5.0\nmix = [{ type = \"a\" }]", (13, 8), &["has no `share`"]),
        ("5.0", "5.0\nmix = [{ share = 1, paiment = 2 }]", (13, 21), &["did you mean `payment`?"]),
        ("5.0", "5.0\nburst_size = 3", (13, 14), &["without `arrival"]),
        ("5.0", "5.0\nfrom = [\"n0..n10\"]", (13, 9), &["there is no node `n10`", "the nodes are n0 .. n9"]),
        ("5.0", "5.0\nstart = \"90s\"\nend = \"20s\"", (14, 7), &["`start` must lie before `end`"]),
        ("5.0", "5.0\nend = \"121s\"", (13, 7), &["after the end of the run at 120s"]),
        ("5.0", "5.0\njob = { deadlin = \"1s\" }", (13, 9), &["did you mean `deadline`?"]),
        ("5.0", "5.0\njob = { priority = 1.5 }", (13, 20), &["allowed: 0 to 1"]),
        ("5.0", "5.0\njob = { payment = 1e3 }", (13, 19), &["out of range"]),
        // Faults.
        (fault, "nodes = [\"n12\"]", (18, 10), &["there is no node `n12`", "the nodes are n0 .. n9"]),
        (fault, "nodes = [\"n5..n3\"]", (18, 10), &["runs backwards"]),
        (fault, "nodes = [\"n3\", \"n0..n4\"]", (18, 16), &["`n3` is named twice"]),
        (fault, "nodes = []", (18, 9), &["names no node"]),
        (fault, "nodes = [\"north\"]", (18, 10), &["no node, range or group"]),
        (fault, "nodes = \"n3\"", (18, 9), &["must be a list, not a text"]),
        (fault, "", (14, 1), &["a `crash` fault has no `nodes`"]),
        (
            fault,
            "nodes = [\"n3\"]\nstorage = \"tron\"",
            (19, 11),
            &["did you mean `torn`?", "`kept`, `lost`, `torn`, `unsynced_lost`"],
        ),
        (fault, "nodes = [\"n3\"]\ngroups = [[\"n1\"]]", (19, 1), &["unknown key `groups` in a `crash` fault"]),
        (fault, "nodes = [\"n3\"]\nuntil = \"40s\"", (19, 9), &["either `for` or `until`"]),
        ("kind = \"crash\"", "kind = \"crahs\"", (17, 8), &["did you mean `crash`?"]),
        ("kind = \"crash\"", "kind = \"clock\"", (14, 1), &["changes nothing", "needs skew, drift_ppm or jump"]),
        ("kind = \"crash\"", "kind = \"clock\"\nskew = 5", (18, 8), &["a duration in quotes"]),
        ("kind = \"crash\"", "kind = \"byzantine\"", (14, 1), &["a `byzantine` fault has no `behaviour`", "`forge`"]),
        (
            "kind = \"crash\"",
            "kind = \"byzantine\"\nbehaviour = \"forgery\"",
            (18, 13),
            &["no valid `behaviour`", "did you mean `forge`?"],
        ),
        (
            "kind = \"crash\"",
            "kind = \"byzantine\"\nbehaviour = \"forge\"\nshaer = \"10%\"",
            (19, 1),
            &["unknown key `shaer` in a `forge` behaviour", "did you mean `share`?"],
        ),
        (
            "kind = \"crash\"",
            "kind = \"byzantine\"\nbehaviour = \"forge\"\nhow = \"keys\"",
            (19, 7),
            &["no valid `how`", "did you mean `key`?"],
        ),
        ("kind = \"crash\"", "kind = \"one-way\"", (17, 8), &["did you mean `one_way`?"]),
        ("kind = \"crash\"", "", (14, 1), &["a fault has no `kind`"]),
        ("at = \"30s\"", "at = \"130s\"", (15, 6), &["a fault at 130s lies after the end of the run at 120s"]),
        ("at = \"30s\"", "at = \"-1s\"", (15, 6), &["`at`: `-1s` is not a duration"]),
        ("at = \"30s\"", "", (14, 1), &["a `crash` fault has no `at`"]),
        ("for = \"20s\"", "for = \"100s\"", (16, 7), &["this fault ends at 130s", "stays until the end"]),
        ("for = \"20s\"", "for = \"0s\"", (16, 7), &["out of range"]),
        ("for = \"20s\"", "until = \"20s\"", (16, 9), &["must end after it starts"]),
        ("for = \"20s\"", "for = \"20s\"\nevery = \"30s\"", (17, 9), &["`every` without `times`"]),
        ("for = \"20s\"", "for = \"20s\"\ntimes = 3", (17, 9), &["`times` without `every`"]),
        ("for = \"20s\"", "every = \"30s\"\ntimes = 2", (16, 9), &["a fault that stays", "needs `for`"]),
        (
            "for = \"20s\"",
            "for = \"20s\"\nevery = \"20s\"\ntimes = 2",
            (17, 9),
            &["one that never ends", "more than 20s"],
        ),
        ("for = \"20s\"", "for = \"20s\"\nevery = \"30s\"\ntimes = 0", (18, 9), &["`times = 0` is out of range"]),
        (
            "for = \"20s\"",
            "for = \"20s\"\nevery = \"30s\"\ntimes = 4",
            (18, 9),
            &["the last of 4 ends at 140s", "at most 3"],
        ),
        ("for = \"20s\"", "for = \"20s\"\nevery = 30\ntimes = 2", (17, 9), &["must be a duration"]),
        (
            "kind = \"crash\"\nnodes = [\"n3\"]",
            "kind = \"partition\"\ngroups = [[\"n0..n3\"], [\"n3..n9\"]]",
            (18, 24),
            &["`n3` is named twice in `groups`"],
        ),
        (
            "kind = \"crash\"\nnodes = [\"n3\"]",
            "kind = \"partition\"\ngroups = [[\"n0..n9\"]]",
            (18, 10),
            &["separates nobody"],
        ),
        (
            "kind = \"crash\"\nnodes = [\"n3\"]",
            "kind = \"partition\"\ngroups = [[\"n0\"], []]",
            (18, 19),
            &["`groups` names no node"],
        ),
        (
            "kind = \"crash\"\nnodes = [\"n3\"]",
            "kind = \"link\"\nbetween = [[\"n0\"], [\"n1\"]]",
            (14, 1),
            &["changes nothing"],
        ),
        (
            fault,
            "nodes = [\"n3\"]\n[[fault]]\nat = \"49s\"\nkind = \"leave\"\nnodes = [\"n2\", \"n3\"]",
            (22, 9),
            &["`n3` is already down, paused or absent from 30s to 50s"],
        ),
        (
            "for = \"20s\"\nkind = \"crash\"\nnodes = [\"n3\"]",
            "kind = \"join\"\nnodes = [\"n0..n9\"]",
            (17, 9),
            &["no node is there at the start"],
        ),
        (
            "for = \"20s\"\nkind = \"crash\"",
            "for = \"20s\"\nkind = \"join\"",
            (16, 1),
            &["unknown key `for` in a `join` fault"],
        ),
        // Judgement.
        ("consensus_s", "consesus", (21, 1), &["there is no KPI `consesus`", "did you mean `consensus`?"]),
        ("consensus_s", "consensus_ms", (21, 1), &["there is no KPI `consensus_ms`"]),
        ("{ p99 = 2 }", "2", (21, 15), &["must be a target"]),
        ("{ p99 = 2 }", "true", (21, 15), &["cannot be true"]),
        ("{ p99 = 2 }", "{ p95 = 2 }", (21, 17), &["unknown key `p95`", "did you mean `p90`?"]),
        ("{ p99 = 2 }", "{ p99 = 2, max = 3 }", (21, 15), &["exactly one statistic"]),
        ("{ p99 = 2 }", "{ p99 = -2 }", (21, 23), &["zero or more"]),
        ("{ p99 = 2 }", "{ p99 = nan }", (21, 23), &["zero or more"]),
        ("jobs_completed", "job_completed", (24, 1), &["did you mean `jobs_completed`?"]),
        ("\">= 100\"", "100", (24, 18), &["must be a text in quotes"]),
        ("\">= 100\"", "\"about 100\"", (24, 18), &["must be a comparison"]),
    ];
    let mut wrong = Vec::new();
    for (from, to, place, said) in table {
        let Err(diagnostic) = parse(&changed(from, to)) else {
            wrong.push(format!("`{to}` instead of `{from}` is accepted"));
            continue;
        };
        let shown = diagnostic.to_string();
        let path = format!("base.toml:{}:{}\n", place.0, place.1);
        let missing: Vec<_> =
            said.iter().copied().chain([path.as_str()]).filter(|said| !shown.contains(said)).collect();
        if !missing.is_empty() || diagnostic.line_column() != *place {
            wrong.push(format!("`{to}` instead of `{from}`: no {missing:?} in\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_diagnostic_shows_the_line_with_a_caret_and_no_colours() {
    let text = changed("count = 10", "count = 10\nconfig = { heartbeat_intervall = \"3s\" }");
    assert_eq!(
        parse(&text).unwrap_err().to_string(),
        "\
error: unknown key `heartbeat_intervall` in the node configuration
 --> base.toml:7:12
  |
7 | config = { heartbeat_intervall = \"3s\" }
  |            ^^^^^^^^^^^^^^^^^^^ not a key of it
  |
  = help: did you mean `heartbeat_interval`?"
    );
}

#[test]
fn what_a_file_leaves_out_is_the_default_and_what_it_says_is_taken() {
    let scenario = parse(BASE).unwrap();
    assert_eq!(scenario.shows, "What it shows.");
    let for_editors = format!("#:schema scenario.schema.json\n{BASE}");
    assert_eq!(parse(&for_editors).unwrap().shows, "What it shows.");
    assert_eq!((scenario.seed, scenario.nodes.len()), (1, 10));
    assert_eq!(scenario.nodes[3].name, "n3");
    assert_eq!(scenario.nodes[3].config.node_name, "n3");
    assert_eq!(scenario.nodes[3].config.capabilities, ["simulated"]);
    assert_eq!(scenario.nodes[3].config.min_peers, 7, "the quorum of ten");
    let workload = scenario.workload.as_ref().unwrap();
    assert_eq!(workload.from, (0..10).collect::<Vec<_>>());
    assert_eq!((workload.start.0, workload.end.0), (10_000_000, 90_000_000), "between warm-up and settling");
    let target = KpiTarget { statistic: Statistic::P99, comparison: Comparison::Less, target: 2.0 };
    assert_eq!(scenario.kpi["consensus"], Some(target));
    let seeded = Scenario::parse(BASE, "", Overrides { seed: Some(7) }, &|_| Err(String::new())).unwrap();
    assert_eq!(seeded.seed, 7);
}

#[test]
fn nodes_that_join_later_do_not_count_for_the_first_quorum() {
    let scenario = parse(
        &changed("kind = \"crash\"\nnodes = [\"n3\"]", "kind = \"join\"\nnodes = [\"n3..n9\"]")
            .replace("for = \"20s\"\n", ""),
    );
    assert_eq!(scenario.unwrap().nodes[0].config.min_peers, 2, "the quorum of three");
}

/// Everything that the format knows, at once.
const RICH: &str = r#"# Everything "at once" \ with odd signs.
name = "rich"
seed = 18446744073709551615
duration = "400s"
warmup = "0s"
settle = "1.5s"

[nodes]
config = { heartbeat_interval = "2s", stake = 2.5, codec = "json" }
[[nodes.group]]
name = "eu"
count = 4
region = "eu"
config = { heartbeat_interval = "1s", node_name = "x" }
[[nodes.group]]
name = "us"
count = 3
region = "us"

[network]
profile = "satellite"
topology = "regions(m.csv)"
latency = { distribution = "normal", mean = "2ms", deviation = "40us" }
jitter = { distribution = "pareto", scale = "1.5ms", shape = 2.25 }
asymmetry = "12.5%"
loss = "0.0001%"
loss_burst = "1.5s"
loss_within_burst = "33.3%"
duplicate = "1%"
reorder = "2%"
reorder_delay = "30ms"
corrupt = "3%"
undetected = "50%"
download = "20Mbit/s"
queue_full = "drop"
slow_joiner = { distribution = "uniform", min = "1ms", max = "90ms" }
bandwidth = "1.5Mbit/s"
queue = "64KiB"
multicast = true
high_water_mark = 7
connection_timeout = "9s"

[workload]
jobs_per_second = 0.125
arrival = "burst"
burst_size = 3
from = ["us", "n0"]
start = "1s"
end = "399.5s"
mix = [
    { share = 3, failing = "1%" },
    { share = 1, type = "train", requirements = ["gpu"], duration = { distribution = "pareto", scale = "1s", shape = 2 } },
]
job = { type = "render", compressible = false, duration = "1s", payment = 0.000001, priority = 0.25, deadline = "7.5s", requirements = ["gpu", "a\"b"], output_bytes = 0, failing = "12.5%" }

[[fault]]
at = "60s"
kind = "link"
between = [["eu"], ["us"]]
latency = { distribution = "empirical", file = "d.csv" }
loss = "5%"
bandwidth = "64kbit/s"
[[fault]]
at = "10s"
for = "10s"
kind = "partition"
groups = [["eu"], ["n4", "n6"]]
[[fault]]
at = "20s"
for = "10s"
kind = "one_way"
from = ["n0"]
to = ["n0..n2", "us"]
[[fault]]
at = "30s"
until = "31s"
kind = "pause"
nodes = ["n1"]
[[fault]]
at = "31s"
kind = "crash"
nodes = ["n1"]
storage = "lost"
connection = "reset"
[[fault]]
at = "5s"
kind = "join"
nodes = ["n6"]
[[fault]]
at = "50s"
for = "100ms"
kind = "leave"
nodes = ["n6"]

[kpi]
message_latency_ms = false
consensus = { p90 = "<= 2.5" }
heartbeat_interval = { mean = 3, within = "5%" }
throughput = { least = 100 }
false_deaths = { count = 0 }
overhead_per_job_B = { most = 1e300 }

[expect]
votes = "> 1"
frames_cut = "== 0"
"#;

#[test]
fn a_resolved_scenario_reads_back_as_the_same_scenario() {
    for text in [BASE, RICH] {
        let scenario = parse(text).unwrap_or_else(|diagnostic| panic!("{diagnostic}"));
        let written = scenario.to_toml();
        // Nothing beside it is needed any more.
        let again = Scenario::parse(&written, "again", Overrides::default(), &|_| panic!("reads a file"));
        assert_eq!(again.unwrap_or_else(|diagnostic| panic!("{diagnostic}\n{written}")), scenario);
        assert_eq!(written, parse(&written).unwrap().to_toml());
    }
}

#[test]
fn topologies_are_read_written_and_described() {
    for (lines, said) in [
        ("topology = \"ring\"", "topology ring: 10 ways between 10 nodes, 2 to 2 each, connected, at most 5 apart"),
        (
            "topology = \"k-regular\"\ndegree = 9",
            "topology k-regular: 45 ways between 10 nodes, 9 to 9 each, connected, at most 1",
        ),
        ("topology = \"small-world\"\nrewire = \"0%\"", "topology small-world: 20 ways between 10 nodes, 4 to 4 each"),
        ("topology = \"scale-free\"\ndegree = 2", "topology scale-free: 17 ways between 10 nodes, 2 to"),
    ] {
        let scenario = parse(&changed("\"lan\"", &format!("\"lan\"\n{lines}"))).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(parse(&scenario.to_toml()).unwrap(), scenario);
        let shown = marlos_sim::network::topology::describe(&scenario).unwrap();
        assert!(shown.starts_with(said), "{shown}");
    }
    assert_eq!(marlos_sim::network::topology::describe(&parse(BASE).unwrap()), None);
}

/// What the published matrices say, in a few cells, and that both directions are theirs.
#[test]
fn the_published_matrices_are_read_as_published() {
    let matrix = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name);
        Scenario::load(&file, Overrides::default()).unwrap().network.regions.unwrap()
    };
    let rtt = |regions: &RegionMatrix, a: &str, b: &str| {
        let at = |name| regions.names.iter().position(|known| known == name).unwrap();
        regions.rtt[at(a)][at(b)]
    };
    let azure = matrix("regions-azure.toml");
    assert_eq!(azure.names.len(), 7);
    assert_eq!(rtt(&azure, "us-east", "de-west-central"), Span::millis(88));
    assert_eq!(rtt(&azure, "de-west-central", "us-east"), Span::millis(90));
    assert_eq!(rtt(&azure, "jp-east", "jp-east"), Span::ZERO, "an empty cell of a region with itself");
    assert_eq!(azure.describe(), "7 regions of azure-regions.csv, round trips of 17ms to 343ms");
    let ibm = matrix("wan.toml");
    assert_eq!((ibm.names.len(), rtt(&ibm, "us-east", "au-syd")), (5, Span::millis(215)));
}

#[test]
fn groups_regions_laws_and_targets_are_read_as_meant() {
    let rich = parse(RICH).unwrap();
    assert_eq!(rich.nodes[5].group.as_deref(), Some("us"));
    assert_eq!((rich.nodes[0].region, rich.nodes[5].region), (Some(0), Some(1)));
    assert_eq!(rich.nodes[0].config.heartbeat_interval.as_millis(), 1_000);
    assert_eq!(rich.nodes[5].config.heartbeat_interval.as_millis(), 2_000);
    assert_eq!(rich.nodes[0].config.stake.0, 2_500_000, "the group adds to what all have");
    assert_eq!(rich.network.topology, Topology::Regions);
    let regions = rich.network.regions.as_ref().unwrap();
    assert_eq!(regions.names, ["eu", "us"]);
    assert_eq!(regions.rtt[1][0].as_micros(), 90_000, "the empty cell is the other direction's");
    assert_eq!(regions.rtt[1][1].as_micros(), 2_500);
    assert_eq!(rich.network.loss.0, 1);
    assert_eq!(rich.network.bandwidth_bps, Some(1_500_000));
    assert_eq!(rich.workload.as_ref().unwrap().from, [0, 4, 5, 6]);
    assert!(matches!(rich.workload.as_ref().unwrap().job.duration, LatencyLaw::Constant(_)));
    let times: Vec<u64> = rich.faults.iter().map(|fault| fault.at.0 / 1_000_000).collect();
    assert_eq!(times, [5, 10, 20, 30, 31, 50, 60], "sorted by time");
    assert_eq!(rich.faults[1].kind, FaultKind::Partition { groups: vec![vec![0, 1, 2, 3], vec![4, 6]] });
    let target = |name: &str| rich.kpi[name].unwrap();
    assert_eq!(rich.kpi["message_latency"], None);
    assert_eq!(target("heartbeat_interval").comparison, Comparison::Within(5));
    assert_eq!(target("throughput").comparison, Comparison::AtLeast);
    assert_eq!(target("false_deaths").comparison, Comparison::AtMost, "no count is below zero");
}

#[test]
fn a_repeated_fault_is_as_many_faults_and_is_written_as_such() {
    let repeated = changed("for = \"20s\"", "for = \"5s\"\nevery = \"10s\"\ntimes = 6");
    let scenario = parse(&repeated).unwrap();
    let seconds: Vec<_> =
        scenario.faults.iter().map(|f| (f.at.0 / 1_000_000, f.until.map(|until| until.0 / 1_000_000))).collect();
    assert_eq!(seconds, [30, 40, 50, 60, 70, 80].map(|at| (at, Some(at + 5))));
    assert!(scenario.faults.iter().all(|fault| fault.kind == scenario.faults[0].kind));
    let written = scenario.to_toml();
    assert_eq!((written.matches("[[fault]]").count(), written.matches("every").count()), (6, 0), "{written}");
    assert_eq!(parse(&written).unwrap(), scenario);
    // Every one of them must fit to the others.
    let other = "\n[[fault]]\nat = \"62s\"\nfor = \"1s\"\nkind = \"pause\"\nnodes = [\"n3\"]\n[kpi]";
    let diagnostic = parse(&repeated.replace("\n[kpi]", other)).unwrap_err();
    assert!(diagnostic.message().contains("`n3` is already down, paused or absent from 60s to 65s"), "{diagnostic}");
}

#[test]
fn what_a_crash_leaves_of_the_store_is_read_and_written_by_its_name() {
    for storage in Storage::NAMES {
        let text = changed("nodes = [\"n3\"]", &format!("nodes = [\"n3\"]\nstorage = \"{storage}\""));
        let scenario = parse(&text).unwrap();
        let FaultKind::Crash { storage: read, .. } = &scenario.faults[0].kind else { panic!("it is a crash") };
        assert_eq!(read.name(), storage);
        assert_eq!(parse(&scenario.to_toml()).unwrap(), scenario);
        let said = Timeline::new(&scenario).describe(&scenario).join("\n");
        assert!(said.contains(&format!("storage {storage}")), "{said}");
    }
}

#[test]
fn what_work_costs_is_read_for_all_or_for_a_group_and_written_as_meant() {
    let text = changed(
        "count = 10",
        "cpu = { per_message = \"145us\", per_signature = \"22us\" }\n[[nodes.group]]\nname = \"quick\"\ncount = 6\n\
         [[nodes.group]]\nname = \"weak\"\ncount = 4\ncpu = { per_verification = \"1ms\" }",
    );
    let text = text.replace("kind = \"crash\"", "kind = \"slow\"\nfactor = 2.5");
    let scenario = parse(&text).unwrap();
    let cost = |message, signature, verification| CpuSpec {
        per_message: Span(message),
        per_signature: Span(signature),
        per_verification: Span(verification),
    };
    assert_eq!((scenario.nodes[5].cpu, scenario.nodes[6].cpu), (cost(145, 22, 0), cost(0, 0, 1_000)));
    assert_eq!(scenario.faults[0].kind, FaultKind::Slow { nodes: vec![3], factor_millionths: 2_500_000 });
    assert_eq!(parse(&scenario.to_toml()).unwrap(), scenario);
    assert_eq!(parse(BASE).unwrap().nodes[0].cpu, CpuSpec::default(), "nothing costs anything unless it is said");
    for wrong in ["factor = 0.001", "factor = 1001", ""] {
        assert!(parse(&text.replace("factor = 2.5", wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn a_matrix_that_is_not_square_or_named_twice_is_refused() {
    let text = changed("\"lan\"", "\"lan\"\ntopology = \"regions(m.csv)\"");
    for (matrix, said) in [
        ("region,a,b\na,1,2\n", "1 rows for 2 regions"),
        ("region,a,b\na,1,2\nc,3,4\n", "must be `b`"),
        ("region,a,b\na,1,2\nb,3\n", "2 cells, not 3"),
        ("region,a,b\na,1,\nb,,4\n", "no round trip between `a` and `b`"),
        ("region,a,a\na,1,2\na,3,4\n", "two regions are named `a`"),
        ("region,a\na,-1\n", "not a number of milliseconds"),
        ("region\n", "0 regions"),
        ("", "0 regions"),
    ] {
        let diagnostic = Scenario::parse(&text, "x", Overrides::default(), &|_| Ok(matrix.to_owned())).unwrap_err();
        assert!(diagnostic.to_string().contains(said), "{diagnostic}");
    }
}

fn scenario_files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let list = |directory: PathBuf| std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = list(directory.join("byzantine")).chain(list(directory)).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn every_scenario_of_the_repository_is_valid_says_what_it_shows_and_can_fail_to_show_it() {
    let files = scenario_files();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let scenario = Scenario::load(&file, Overrides::default()).unwrap_or_else(|diagnostic| panic!("{diagnostic}"));
        assert_eq!(
            file.file_stem().unwrap().to_str(),
            Some(scenario.name.as_str()),
            "the file is named as the scenario"
        );
        assert!(scenario.shows.contains('?'), "{}: the first line asks a question", scenario.name);
        // What happens in a run of chaos is drawn, so that nothing can be expected of it.
        assert!(!scenario.expect.is_empty() || scenario.name == "chaos", "{}: proves nothing", scenario.name);
        let again = Scenario::parse(&scenario.to_toml(), "again", Overrides::default(), &|_| panic!("reads a file"));
        assert_eq!(again.unwrap(), scenario);
        assert!(Timeline::new(&scenario).steps().len() >= scenario.faults.len());
    }
}

#[test]
fn the_template_and_the_examples_of_all_faults_are_valid() {
    parse(&cli::template("mine")).unwrap_or_else(|diagnostic| panic!("{diagnostic}"));
    for help in FAULT_HELP {
        let text = changed("at = \"30s\"\nfor = \"20s\"\nkind = \"crash\"\nnodes = [\"n3\"]", help.example);
        let scenario = parse(&text).unwrap_or_else(|diagnostic| panic!("{}: {diagnostic}", help.kind));
        assert!(marlos_sim::fault::describe(&scenario.faults[0].kind).starts_with(help.kind));
    }
}

#[test]
fn a_region_or_a_group_that_does_not_exist_is_answered_with_the_nearest() {
    for (from, to, said) in [
        ("region = \"us\"", "region = \"uss\"", "did you mean `us`?"),
        ("region = \"us\"", "", "has no `region`"),
        ("groups = [[\"eu\"]", "groups = [[\"ue\"]", "did you mean `eu`?"),
        ("groups = [[\"eu\"]", "groups = [[\"n0\", \"eu\"]", "`n0` is named twice"),
    ] {
        assert_eq!(RICH.matches(from).count(), 1, "{from}");
        let diagnostic = parse(&RICH.replace(from, to)).unwrap_err();
        assert!(diagnostic.to_string().contains(said), "{diagnostic}");
    }
}

#[test]
fn the_command_exits_with_2_on_wrong_usage_and_shows_no_colours_to_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("good.toml"), BASE).unwrap();
    std::fs::write(directory.path().join("bad.toml"), changed("count = 10", "count = 0")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_marlos-sim"));
        let output = command.args(arguments).current_dir(directory.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(run(&["check", "good.toml"]).0, Some(0));
    let (code, out, err) = run(&["check", "good.toml", "bad.toml"]);
    assert_eq!(code, Some(2));
    assert!(out.starts_with("good.toml: valid: 10 nodes") && !out.contains("bad"), "results to stdout: {out}");
    assert!(err.contains("bad.toml:6:9") && !err.contains('\u{1b}'), "errors to stderr, plain: {err}");
    assert_eq!(run(&["check"]).0, Some(2));
    assert_eq!(run(&["run", "bad.toml"]).0, Some(2));
    assert_eq!(run(&["run", "good.toml", "--until", "5"]).0, Some(2), "a time has a unit");
    assert_eq!(run(&["list"]).0, Some(2), "no scenarios here");
    assert_eq!(run(&["new", "mine"]), (Some(0), "scenarios/mine.toml\n".to_owned(), String::new()));
    assert!(run(&["list"]).1.starts_with("scenarios/mine.toml "));
    let (code, out, _) = run(&["faults"]);
    assert_eq!((code, out.matches("[[fault]]").count()), (Some(0), FAULT_HELP.len() + BEHAVIOURS.len()));
}

#[test]
fn a_file_that_is_missing_too_long_or_no_text_is_an_error_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.toml");
    let load = || Scenario::load(&file, Overrides::default()).unwrap_err().to_string();
    assert!(load().contains("cannot read") && load().contains("x.toml"));
    std::fs::write(&file, [0xFF, 0xFE, 0x00]).unwrap();
    assert!(load().contains("cannot read"));
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(load().contains("more than 1048576 bytes"));
}

#[test]
fn new_writes_a_template_once_and_check_finds_it_valid() {
    let directory = tempfile::tempdir().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = cli::Console { out: &mut out, err: &mut err, coloured: false };
    assert_eq!(cli::new("mine", directory.path(), &mut console).unwrap(), 0);
    let file = directory.path().join("mine.toml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "# mine\n").unwrap();
    assert_eq!(cli::new("mine", directory.path(), &mut console).unwrap(), cli::USAGE, "never overwrites");
    assert!(std::fs::read_to_string(&file).unwrap().ends_with("# mine\n"));
    assert_eq!(cli::new("../mine", directory.path(), &mut console).unwrap(), cli::USAGE);
    let broken = directory.path().join("broken.toml");
    std::fs::write(&broken, "name = 1").unwrap();
    assert_eq!(
        cli::check(&[broken.clone(), file.clone()], &mut console).unwrap(),
        cli::USAGE,
        "the highest of the two"
    );
    assert_eq!(cli::check(std::slice::from_ref(&file), &mut console).unwrap(), 0);
    assert_eq!(cli::run(&[file, broken], &cli::RunOptions::default(), &mut console).unwrap(), cli::USAGE);
    assert_eq!(cli::list(directory.path(), &mut console).unwrap(), cli::USAGE, "names the broken one");
    assert!(String::from_utf8(out).unwrap().contains("What does this scenario show?"));
    assert!(String::from_utf8(err).unwrap().contains("broken.toml:1:8"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_a_scenario_or_a_diagnostic_and_never_a_panic(text in "\\PC{0,200}|(.|\n){0,200}") {
        if let Err(diagnostic) = parse(&text) {
            prop_assert!(!diagnostic.render(true).is_empty() && !diagnostic.render(false).is_empty());
        }
    }

    /// Bytes removed, doubled and replaced in a valid file: what is still valid must also survive being written.
    #[test]
    fn a_mutilated_scenario_is_never_a_panic(
        rich in any::<bool>(),
        wounds in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "[0-9a-z\"\\[\\]{}=.,%\n #-é]{0,6}"), 1..4),
    ) {
        let mut text: Vec<char> = if rich { RICH } else { BASE }.chars().collect();
        for (at, length, instead) in wounds {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, instead.chars());
        }
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(scenario) => {
                let _ = Timeline::new(&scenario);
                prop_assert_eq!(parse(&scenario.to_toml()).unwrap(), scenario);
            }
            Err(diagnostic) => prop_assert!(!diagnostic.render(true).is_empty() && diagnostic.line_column().0 >= 1),
        }
    }
}
