//! `schema` prints what editors complete and mark by: it takes every scenario that the parser takes, and marks what it would refuse.

#[path = "support/worlds.rs"]
mod worlds;

use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use marlos_sim::cli::template;
use marlos_sim::scenario::schema::schema;
use marlos_sim::scenario::{Overrides, Scenario};
use serde_json::Value;
use worlds::scenarios;

struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Validator {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("scenario.json", schema()).expect("a schema");
        let index = compiler.compile("scenario.json", &mut schemas).expect("a valid schema");
        Validator(schemas, index)
    }

    /// What it says of a scenario, if anything.
    fn complaint(&self, text: &str) -> Option<String> {
        let value: Value = toml::from_str(text).expect("TOML");
        self.0.validate(&value, self.1).err().map(|error| format!("{error:#}"))
    }
}

/// Every scenario below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("readable").path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|name| name == "toml")).collect()
}

#[test]
fn every_scenario_of_the_repository_is_valid_as_it_is_and_as_it_is_resolved() {
    let validator = Validator::new();
    let files = files(&scenarios());
    assert!(files.len() > 40, "{}", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        assert_eq!(validator.complaint(&text), None, "{}", file.display());
        let scenario = Scenario::load(&file, Overrides::default()).expect("valid");
        assert_eq!(validator.complaint(&scenario.to_toml()), None, "{}, resolved", file.display());
    }
    assert_eq!(validator.complaint(&template("fresh")), None);
}

#[test]
fn what_the_parser_refuses_by_its_keys_types_and_names_is_marked() {
    let validator = Validator::new();
    let good = r#"
name = "good"
duration = "100s"
[nodes]
count = 10
config = { heartbeat_interval = "3s" }
[network]
loss = "0.1%"
latency = { distribution = "lognormal", median = "2ms", p99 = "8ms" }
[workload]
jobs_per_second = 5.0
[[fault]]
at = "40s"
kind = "crash"
nodes = ["n3"]
storage = "lost"
[[fault]]
at = "40s"
kind = "byzantine"
nodes = ["n4"]
behaviour = "flood"
[kpi]
message_latency_ms = { p99 = 50 }
[expect]
jobs_completed = ">= 100"
"#;
    assert_eq!(validator.complaint(good), None);
    let beside = |file: &str| Err(format!("{file} is not there"));
    let refuses = |text: &str| Scenario::parse(text, "t.toml", Overrides::default(), &beside).is_err();
    assert!(!refuses(good));
    for (right, wrong) in [
        ("duration = \"100s\"", "durations = \"100s\""),
        ("duration = \"100s\"", ""),
        ("duration = \"100s\"", "duration = 100"),
        ("duration = \"100s\"", "duration = \"100 parsecs\""),
        ("count = 10", "count = 10\ncuont = 10"),
        ("count = 10", "count = 0"),
        ("heartbeat_interval", "hartbeat_interval"),
        ("loss = \"0.1%\"", "loss = 0.001"),
        ("loss = \"0.1%\"", "lots = \"0.1%\""),
        ("p99 = \"8ms\"", "p98 = \"8ms\""),
        ("\"lognormal\"", "\"lognormel\""),
        ("jobs_per_second = 5.0", "jobs_per_second = \"5\""),
        ("storage = \"lost\"", "storage = \"gone\""),
        ("storage = \"lost\"", "store = \"lost\""),
        ("kind = \"crash\"", "kind = \"crush\""),
        ("behaviour = \"flood\"", "behaviour = \"drought\""),
        ("behaviour = \"flood\"", "behaviour = \"flood\"\nstorage = \"lost\""),
        ("message_latency_ms", "message_latency_s"),
        ("p99 = 50", "p98 = 50"),
        ("jobs_completed", "jobs_complete"),
        ("\">= 100\"", "100"),
    ] {
        let text = good.replacen(right, wrong, 1);
        assert!(text != good && refuses(&text), "the parser takes {wrong}");
        assert!(validator.complaint(&text).is_some(), "nothing is marked at {wrong}");
    }
}
