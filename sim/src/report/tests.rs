#![expect(clippy::disallowed_methods, reason = "these tests look at files")]

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

const TOML: &str = "name = \"partition\"\n";

/// Every file below a directory, by its relative path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().replace('\\', "/");
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn all_files_of_the_contract_are_there_and_equal_when_written_twice() {
    let temp = tempfile::tempdir().unwrap();
    let (a, b) = (temp.path().join("deep/a"), temp.path().join("b"));
    let outcome = fixture::outcome(5, 20);
    write(&outcome, TOML, &a).unwrap();
    write(&fixture::outcome(5, 20), TOML, &b).unwrap();
    let (first, second) = (files(&a), files(&b));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, content) in &first {
        assert!(!content.is_empty(), "{name} is empty");
        assert!(content == &second[name], "{name} differs between two writes");
    }
    assert_eq!(first["scenario.toml"], TOML.as_bytes());
    let expected = [
        "summary.json",
        "metrics.json",
        "report.html",
        "run.json",
        "kpi.csv",
        "timeline.csv",
        "histograms/consensus.csv",
        "histograms/consensus.hgrm",
    ];
    for name in expected {
        assert!(first.contains_key(name), "{name} is missing");
    }
    for plot in ["kpi_message_latency", "latency", "members", "bytes", "jobs"] {
        assert!(first[&format!("plots/{plot}.svg")].starts_with(b"<svg"), "{plot}");
        assert!(first[&format!("plots/{plot}.png")].starts_with(b"\x89PNG"), "{plot}");
    }
}

#[test]
fn older_results_are_replaced_and_nothing_is_left_beside_them() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("partition");
    write(&fixture::outcome(3, 5), TOML, &dir).unwrap();
    put(&dir.join("plots/stale.png"), b"x").unwrap();
    put(&dir.join("trace.json"), b"x").unwrap();
    write(&fixture::outcome(3, 5), TOML, &dir).unwrap();
    assert!(!dir.join("plots/stale.png").exists() && !dir.join("trace.json").exists());
    let beside: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(beside, ["partition"]);
}

#[test]
fn a_directory_that_holds_anything_else_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let outcome = fixture::outcome(3, 5);
    let home = temp.path().join("home");
    std::fs::create_dir(&home).unwrap();
    write(&outcome, TOML, &home).expect("an empty directory may be taken");

    put(&home.join("thesis.txt"), b"years").unwrap();
    let error = write(&outcome, TOML, &home).unwrap_err().to_string();
    assert!(error.contains("home holds thesis.txt") && error.contains("--out"), "{error}");

    let other = temp.path().join("other");
    std::fs::create_dir(&other).unwrap();
    put(&other.join("main.rs"), b"").unwrap();
    let error = write(&outcome, TOML, &other).unwrap_err().to_string();
    assert!(error.contains("no summary.json beside main.rs"), "{error}");

    let file = temp.path().join("file");
    put(&file, b"years").unwrap();
    let error = write(&outcome, TOML, &file).unwrap_err().to_string();
    assert!(error.contains("is not a directory"), "{error}");

    assert_eq!(files(temp.path())["home/thesis.txt"], b"years");
    assert_eq!(files(temp.path())["file"], b"years");
}

#[test]
fn an_error_names_the_file_and_leaves_no_half_results() {
    let temp = tempfile::tempdir().unwrap();
    let mut outcome = fixture::outcome(3, 5);
    outcome.kpis[0].name = "no/such/directory";
    let dir = temp.path().join("partition");
    let error = write(&outcome, TOML, &dir).unwrap_err().to_string();
    assert!(error.starts_with("cannot write") && error.contains("no/such/directory.csv"), "{error}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}
