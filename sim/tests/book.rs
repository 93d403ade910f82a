//! The book: its reference is what the code says, all its pages can be found, and every link leads somewhere.

#[path = "support/pages.rs"]
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use marlos::time::Span;
use marlos::units::Tokens;
use marlos_sim::scenario::Takes;
use marlos_sim::scenario::keys::{Key, ROOT, Shape, Table, tables};
use marlos_sim::scenario::schema::schema;
use pages::{commands, docs, is_fresh};

#[test]
fn the_page_of_scenario_keys_is_what_the_parser_asks() {
    is_fresh("reference-scenario.md", &scenario_page());
}

#[test]
fn the_page_of_commands_is_what_their_help_prints() {
    let head = "# Commands of marlos-sim\n\nWhat `--help` prints. This page is made of the program by a test.\n";
    is_fresh("reference-commands.md", &format!("{head}{}", commands(env!("CARGO_BIN_EXE_marlos-sim"), "marlos-sim")));
}

#[test]
fn the_schema_beside_the_book_is_what_the_command_prints() {
    is_fresh("scenario.schema.json", &format!("{:#}\n", schema()));
}

/// Keys that every fault may have; they are shown once.
const OF_EVERY_FAULT: [&str; 6] = ["at", "for", "until", "every", "times", "kind"];

fn scenario_page() -> String {
    let tables = tables();
    let mut page = String::from(
        "# Keys of a scenario\n\nEvery key that a scenario file can have. This page is made by a test of what the parser asks and of \
         `sim/src/scenario/keys.toml`; a key, type or bound that stands here is the parser's own. `marlos-sim check FILE` says what is wrong \
         with a file, `marlos-sim schema` prints the same for editors.\n\nA duration is a number and `us`, `ms`, `s`, `m`, `h` or `d`, in \
         quotes. Nodes are named `\"n3\"`, `\"n0..n5\"` (both ends belong to it), or by their group.\n",
    );
    let mut shown = BTreeSet::new();
    show(ROOT, "The scenario itself", &tables, &mut shown, &mut page);
    assert_eq!(shown.len(), tables.len(), "every table can be reached");
    page
}

/// A table, and below it those that its keys can be.
fn show(what: &str, title: &str, tables: &BTreeMap<String, Table>, shown: &mut BTreeSet<String>, page: &mut String) {
    if !shown.insert(what.to_owned()) {
        return;
    }
    let table = &tables[what];
    let fault = table.keys.iter().any(|key| key.name == "kind");
    let hidden = |key: &&Key| !(fault && OF_EVERY_FAULT.contains(&key.name.as_str()));
    writeln!(page, "\n## {title}").expect("a String takes everything");
    if let Some(key) = table
        .keys
        .iter()
        .find(|key| ["behaviour", "kind", "distribution"].contains(&key.name.as_str()) && !key.about.is_empty())
    {
        let deciding = table.keys.iter().find(|key| key.name == "behaviour").unwrap_or(key);
        let deciding = if fault { deciding } else { key };
        let others: Vec<&str> =
            OF_EVERY_FAULT.into_iter().filter(|name| table.keys.iter().any(|key| key.name == *name)).collect();
        let others =
            if fault { format!(" Its times: `{}`.", others[..others.len() - 1].join("`, `")) } else { String::new() };
        writeln!(page, "{}.{others}\n", upper(&deciding.about)).expect("a String takes everything");
    }
    let rows: Vec<&Key> = table.keys.iter().filter(hidden).collect();
    // Where dozens of keys are alike, their names are all that there is to say.
    let (told, alike): (Vec<&Key>, Vec<&Key>) = rows.into_iter().partition(|key| !key.about.is_empty());
    if !told.is_empty() {
        page.push_str("| key | can be | what it is | example |\n|---|---|---|---|\n");
    }
    for key in told {
        let needed = if table.needed.contains(&key.name) { ", needed" } else { "" };
        let example = if key.example.is_empty() { String::new() } else { format!("`{}`", key.example) };
        let can_be = any_of(&key.can_be);
        writeln!(page, "| `{}` | {}{needed} | {} | {} |", key.name, cell(&can_be), cell(&key.about), cell(&example))
            .expect("a String takes everything");
    }
    if let Some(first) = alike.first() {
        let names: Vec<String> = alike.iter().map(|key| format!("`{}`", key.name)).collect();
        writeln!(page, "\nEach of these is {}: {}.", any_of(&first.can_be), names.join(", "))
            .expect("a String takes everything");
    }
    for what in table.keys.iter().flat_map(|key| key.can_be.iter().flat_map(tables_of)) {
        show(what, &upper(what), tables, shown, page);
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn tables_of(shape: &Shape) -> Vec<&str> {
    match shape {
        Shape::One(_) => Vec::new(),
        Shape::List(elements) => elements.iter().flat_map(tables_of).collect(),
        Shape::Table(what) => vec![what],
    }
}

fn any_of(shapes: &BTreeSet<Shape>) -> String {
    let laws = shapes.iter().filter(|shape| matches!(shape, Shape::Table(what) if what.ends_with(" law"))).count();
    let alone = |shape: &&Shape| !matches!(shape, Shape::Table(what) if what.ends_with(" law") || what.ends_with(" fault") || what.ends_with(" behaviour"));
    let mut words: Vec<String> = shapes.iter().filter(alone).map(of_shape).collect();
    if laws > 0 {
        words.push("a law of durations".to_owned());
    }
    if words.is_empty() && !shapes.is_empty() {
        words.push("a fault".to_owned());
    }
    if words.is_empty() { "any value".to_owned() } else { words.join(", or ") }
}

fn of_shape(shape: &Shape) -> String {
    match shape {
        Shape::One(takes) => of_value(takes),
        Shape::List(elements) => format!("a list of: {}", any_of(elements)),
        Shape::Table(what) => format!("a table: [{what}](#{})", anchor(what)),
    }
}

fn of_value(takes: &Takes) -> String {
    match takes {
        Takes::Text => "a text".to_owned(),
        Takes::Names(names) => names.iter().map(|name| format!("`\"{name}\"`")).collect::<Vec<_>>().join(", "),
        Takes::Flag => "`true` or `false`".to_owned(),
        Takes::Whole(least, u64::MAX) => format!("a whole number from {least} up"),
        Takes::Whole(least, most) => format!("a whole number, {least} to {most}"),
        Takes::Signed(most) => format!("a whole number, -{most} to {most}"),
        Takes::Millionths(least, most) => format!("a number, {} to {}", Tokens(*least), Tokens(*most)),
        Takes::Bound => "a number from 0 up".to_owned(),
        Takes::Comparison => "a comparison: `\">= 10\"`".to_owned(),
        Takes::Duration(_, Span(u64::MAX)) => "a duration".to_owned(),
        Takes::Duration(least, most) => format!("a duration, {least} to {most}"),
        Takes::SignedDuration(most) => format!("a duration, -{most} to {most}"),
        Takes::Percentage => "a percentage: `\"0.1%\"`".to_owned(),
        Takes::Bandwidth => "a bandwidth: `\"1Gbit/s\"`, or `\"unlimited\"`".to_owned(),
        Takes::Bytes(least, most) => format!("a size, {least} to {most} bytes: `\"256KiB\"`"),
    }
}

/// As mdBook and GitHub make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

// ---- links -----------------------------------------------------------------------------------------------------------

/// A page's lines outside of blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// Targets of `[..](target)`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let after = prose.split("](").skip(1);
    after.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

fn pages_of_the_book() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(docs()).expect("the book");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut pages: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|name| name == "md")).collect();
    pages.sort();
    pages
}

#[test]
fn every_link_of_the_book_and_the_readme_leads_to_a_page_and_a_heading_that_are_there() {
    let mut broken = Vec::new();
    let root = docs().join("..");
    let others = [root.join("README.md"), root.join("SECURITY.md"), root.join("results/README.md")];
    for page in pages_of_the_book().into_iter().chain(others) {
        let text = std::fs::read_to_string(&page).expect("readable");
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a directory").join(file) };
            let there = target.exists() && (heading.is_empty() || has_heading(&target, heading));
            if !there {
                broken.push(format!("{} -> {link}", page.display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

fn has_heading(page: &Path, heading: &str) -> bool {
    anchors(&std::fs::read_to_string(page).expect("readable")).contains(heading)
}

#[test]
fn every_page_stands_in_the_summary_once() {
    let summary = std::fs::read_to_string(docs().join("SUMMARY.md")).expect("the book has one");
    let mut listed: Vec<String> = links(&summary);
    listed.sort();
    let name = |page: &PathBuf| page.file_name().expect("a file").to_string_lossy().into_owned();
    let pages: Vec<String> = pages_of_the_book().iter().map(name).filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(listed, pages);
}
