//! Pages of the book that are made of the code: written anew with `MARLOS_BLESS=1`, compared otherwise. And what a program's `--help`
//! prints, command by command.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![expect(clippy::disallowed_methods, reason = "tests read and write the book")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The book's directory.
pub fn docs() -> PathBuf {
    // From the simulator's directory, and from the node's own.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    [here.join("docs"), here.join("../docs")].into_iter().find(|docs| docs.is_dir()).expect("the book is there")
}

/// A page is what the code says, or is made so.
pub fn is_fresh(page: &str, content: &str) {
    let path = docs().join(page);
    if std::env::var_os("MARLOS_BLESS").is_some() {
        std::fs::write(&path, content).expect("the book can be written to");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let first = written.lines().zip(content.lines()).find(|(old, new)| old != new);
    assert!(
        written == content,
        "docs/{page} is not what the code says: MARLOS_BLESS=1 writes it anew. First: {first:#?}"
    );
}

/// A section for each command of a program, with what its `--help` prints.
pub fn commands(program: &str, name: &str) -> String {
    let mut page = String::new();
    section(program, name, &[], &mut page);
    page
}

fn section(program: &str, name: &str, path: &[&str], page: &mut String) {
    let help = Command::new(program).args(path).arg("--help").env_clear().output().expect("it runs");
    assert!(help.status.success(), "{path:?}");
    let help = String::from_utf8(help.stdout).expect("text");
    let words: Vec<&str> = [&[name], path].concat();
    page.push_str(&format!("\n## {}\n```text\n{}\n```\n", words.join(" "), help.trim_end()));
    let listed = help
        .split_once("\nCommands:\n")
        .map_or("", |(_, after)| after.split_once("\n\n").map_or(after, |(list, _)| list));
    for line in listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let command = line.split_whitespace().next().expect("a line of the list names a command");
        if command != "help" {
            section(program, name, &[path, &[command]].concat(), page);
        }
    }
}
