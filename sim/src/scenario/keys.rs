//! Every table and key that a scenario can have: what `marlos-sim schema` and the reference page are made of.
//!
//! It is not a list beside the parser, but what the parser itself asks when it reads `keys.toml`, a commented file of
//! every key, and every behaviour with all of its settings. Keys that are allowed and not in that file are here all the same, without
//! a word on them and of any type.

use std::collections::{BTreeMap, BTreeSet};

use marlos::Config;
use marlos::time::Span;
use toml::de::{DeTable, DeValue};

use super::asked::{self, Asked, Takes, place_of};
use super::fields::Value;
use super::nodes::WORLDS_OWN;
use super::parse::read_document;
use super::{Diagnostic, Overrides, byzantine};
use crate::byzantine::{BEHAVIOURS, Spec};

const SAMPLES: &str = include_str!("keys.toml");
/// What says what a configuration's keys mean.
const CONFIG_SOURCE: &str = include_str!("../../../src/config.rs");
/// The table of a node's configuration, as the parser calls it.
const CONFIGURATION: &str = "the node configuration";
/// Keys whose value decides which others there are.
const DECIDING: [&str; 3] = ["kind", "behaviour", "distribution"];
/// Keys that are one of several names which the scenario itself gives.
const NAMED_IN_THE_FILE: [&str; 1] = ["region"];
/// What only tests can set, where they are built for it.
const OF_TESTS: &str = "plant";
/// Tables all of whose keys are alike.
const ALIKE: [&str; 4] = ["`[kpi]`", "`[expect]`", "`refused`", "`misdeeds`"];

/// A table of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its keys, in the order in which the parser lists them.
    pub keys: Vec<Key>,
    /// The keys that it must have.
    pub needed: BTreeSet<String>,
}

/// A key of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// What it can be; nothing: anything.
    pub can_be: BTreeSet<Shape>,
    /// What it means, for people.
    pub about: String,
    /// An example of its value, as TOML.
    pub example: String,
}

/// What a value can be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// A single value.
    One(Takes),
    /// A list whose elements can be these.
    List(BTreeSet<Shape>),
    /// A table, by its name in [`tables`].
    Table(String),
}

/// All tables, by what the parser calls them. The scenario itself is [`ROOT`].
#[must_use]
pub fn tables() -> BTreeMap<String, Table> {
    let mut gathered = Gathered::default();
    for (number, sample) in SAMPLES.split("\n#---\n").enumerate() {
        let head = "name = \"sample\"\nduration = \"100s\"\nnodes = { count = 10 }\n";
        let whole = sample.lines().any(|line| line.starts_with("name = "));
        gathered.add_both(
            &format!("document {number} of keys.toml"),
            &if whole { sample.to_owned() } else { format!("{head}{sample}") },
        );
    }
    for spec in BEHAVIOURS {
        gathered.add_both(spec.name, &behaviour(spec));
    }
    gathered.tables.get_mut(CONFIGURATION).expect("a sample has one").keys = configuration();
    any_law(&mut gathered.tables);
    for name in ALIKE {
        make_alike(gathered.tables.get_mut(name).expect("a sample has one"));
    }
    gathered.tables
}

/// The table that a scenario is.
pub const ROOT: &str = "the scenario";

/// A scenario in which one node behaves so, with all keys at what they are unless said.
fn behaviour(spec: &Spec) -> String {
    let times = [
        "at = \"10s\"  # when it begins",
        "for = \"5s\"  # how long it lasts; or `until`; without either until the end",
        "every = \"10s\"  # it happens again, so long after it began",
        "times = 3  # so often in all",
        "kind = \"byzantine\"  # the nodes misbehave, with one plan and each other's keys",
        "nodes = [\"n7\"]  # which",
    ];
    let settings = spec.keys.iter().map(|key| {
        let unless = byzantine::written(key, &key.unless_said()).unwrap_or_else(|| "[\"n0\"]".to_owned());
        format!(
            "{} = {unless}  # {}\n",
            key.name,
            byzantine::described(key).split_once(": ").map_or("", |(_, about)| about)
        )
    });
    let head = "name = \"sample\"\nduration = \"100s\"\nnodes = { count = 10, membership = \"fixed\" }\n";
    let what = spec.what.replace('\n', " ");
    let settings: String = settings.collect();
    format!("{head}[[fault]]\n{}\nbehaviour = \"{}\"  # {what}\n{settings}", times.join("\n"), spec.name)
}

#[derive(Default)]
struct Gathered {
    tables: BTreeMap<String, Table>,
}

/// What was asked of one document, by where it lies.
#[derive(Default)]
struct Heard {
    tables: BTreeMap<usize, (String, Vec<String>)>,
    needed: BTreeMap<usize, BTreeSet<String>>,
    values: BTreeMap<usize, Takes>,
}

impl Gathered {
    /// A document, and the same with `until` in the place of `for`: a fault has one of them.
    fn add_both(&mut self, name: &str, text: &str) {
        self.add(name, text);
        let other = "until = \"15s\"  # when it ends, instead of `for`";
        if text.lines().any(|line| line.starts_with("for = ")) {
            let lines = text.lines().map(|line| if line.starts_with("for = ") { other } else { line });
            self.add(name, &lines.collect::<Vec<_>>().join("\n"));
        }
    }

    /// Lets the parser read a document, and takes what it asked.
    fn add(&mut self, name: &str, text: &str) {
        let document = DeTable::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let beside = |file: &str| match file {
            "regions.csv" => Ok(",eu-west,us-east\neu-west,1,80\nus-east,80,1\n".to_owned()),
            "jobs.csv" => Ok("at_s,duration_s\n1,2\n".to_owned()),
            _ => Ok("delay_ms\n1\n2\n".to_owned()),
        };
        let root = document.get_ref();
        let (read, asked) = asked::listen(|| read_document(root, text, Overrides::default(), &beside));
        if let Err(problem) = read {
            panic!("{}", Diagnostic::new(name, text, problem).render(false));
        }
        let mut heard = Heard::default();
        for asked in asked {
            match asked {
                // Of two names for one table the later knows more of it.
                Asked::Table { at, what, allowed } => drop(heard.tables.insert(at, (what, allowed))),
                Asked::Needed { at, key } => drop(heard.needed.entry(at).or_default().insert(key)),
                Asked::Value { at, takes } => drop(heard.values.insert(at, takes)),
            }
        }
        self.take_table(root, &heard, text);
    }

    fn take_table(&mut self, table: &DeTable<'_>, heard: &Heard, text: &str) -> Option<String> {
        let (what, allowed) = heard.tables.get(&place_of(table))?;
        let needed = heard.needed.get(&place_of(table)).cloned().unwrap_or_default();
        let known =
            self.tables.entry(what.clone()).or_insert_with(|| Table { keys: Vec::new(), needed: needed.clone() });
        known.needed.retain(|key| needed.contains(key));
        for name in allowed {
            if !known.keys.iter().any(|key| key.name == *name) {
                known.keys.push(Key { name: name.clone(), ..Key::default() });
            }
        }
        for (name, value) in table.iter() {
            let (about, example) = line_of(text, name.span().start, name.get_ref());
            let name = name.get_ref().as_ref();
            let can_be = self.shapes(name, value, heard, text);
            let keys = &mut self.tables.get_mut(what).expect("it was just entered").keys;
            let key = keys.iter_mut().find(|key| key.name == name).expect("the parser has allowed it");
            join(&mut key.can_be, can_be);
            if key.about.is_empty() {
                (key.about, key.example) = (about, example);
            }
        }
        Some(what.clone())
    }

    fn shapes(&mut self, name: &str, value: &Value<'_>, heard: &Heard, text: &str) -> BTreeSet<Shape> {
        match value.get_ref() {
            DeValue::Table(table) => self.take_table(table, heard, text).map(Shape::Table).into_iter().collect(),
            DeValue::Array(list) => {
                let mut elements = BTreeSet::new();
                list.iter().for_each(|element| join(&mut elements, self.shapes(name, element, heard, text)));
                BTreeSet::from([Shape::List(elements)])
            }
            DeValue::String(said) => {
                let takes = match heard.values.get(&place_of(value)).cloned() {
                    Some(Takes::Names(_)) if DECIDING.contains(&name) => Some(Takes::Names(vec![said.to_string()])),
                    Some(Takes::Names(_)) if NAMED_IN_THE_FILE.contains(&name) => Some(Takes::Text),
                    takes => takes,
                };
                takes.map(Shape::One).into_iter().collect()
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                heard.values.get(&place_of(value)).cloned().map(Shape::One).into_iter().collect()
            }
        }
    }
}

/// The comment behind a key that has a line to itself, and its value on that line.
fn line_of(text: &str, at: usize, name: &str) -> (String, String) {
    let begins = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[begins..].lines().next().unwrap_or_default();
    let (said, about) = line.split_once(" # ").unwrap_or((line, ""));
    let own = said.trim_start_matches(['[', ' ']).rsplit_once('.').map_or(said, |(_, last)| last);
    let value = said.strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('='));
    let header = said.starts_with('[') && own.trim_start_matches('[').trim_end_matches([' ', ']']) == name;
    match value {
        Some(value) => (about.trim().to_owned(), value.trim().to_owned()),
        None if header => (about.trim().to_owned(), String::new()),
        None => (String::new(), String::new()),
    }
}

/// The keys of a node's configuration that a scenario may set, as their defaults and their own comments say.
fn configuration() -> Vec<Key> {
    let defaults = toml::Table::try_from(Config::default()).expect("a configuration is a table");
    let closed = |name: &str| WORLDS_OWN.contains(&name) || name == OF_TESTS;
    let open = defaults.into_iter().filter(|(name, _)| !closed(name));
    let key = |(name, value): (String, toml::Value)| {
        let can_be = configured(&value).into_iter().collect();
        Key { about: comment_of(&name), example: value.to_string(), name, can_be }
    };
    open.map(key).collect()
}

fn configured(value: &toml::Value) -> Option<Shape> {
    Some(Shape::One(match value {
        toml::Value::String(text) if Span::parse(text).is_ok() => Takes::Duration(Span::ZERO, Span(u64::MAX)),
        toml::Value::String(_) => Takes::Text,
        toml::Value::Integer(_) => Takes::Whole(0, u64::MAX),
        toml::Value::Float(_) => Takes::Bound,
        toml::Value::Boolean(_) => Takes::Flag,
        toml::Value::Array(_) => return Some(Shape::List(BTreeSet::from([Shape::One(Takes::Text)]))),
        toml::Value::Table(_) | toml::Value::Datetime(_) => return None,
    }))
}

/// The comment on a field of the configuration.
fn comment_of(field: &str) -> String {
    let mut about = Vec::new();
    for line in CONFIG_SOURCE.lines().map(str::trim) {
        match line.strip_prefix("///") {
            Some(words) => about.push(words.trim()),
            None if line.starts_with(&format!("pub {field}: ")) => return about.join(" "),
            None => about.clear(),
        }
    }
    String::new()
}

/// Every key can be what one of them can be, but for a table of its own, which is called by its name.
fn make_alike(table: &mut Table) {
    let own = |shape: &Shape| matches!(shape, Shape::Table(what) if what.starts_with('`'));
    let all = table.keys.iter().flat_map(|key| key.can_be.clone()).filter(|shape| !own(shape));
    let all: BTreeSet<Shape> = all.collect();
    table.keys.iter_mut().for_each(|key| key.can_be.extend(all.clone()));
}

/// What can be one law can be every law.
fn any_law(tables: &mut BTreeMap<String, Table>) {
    let laws: BTreeSet<Shape> =
        tables.keys().filter(|what| what.ends_with(" law")).map(|what| Shape::Table(what.clone())).collect();
    for key in tables.values_mut().flat_map(|table| &mut table.keys) {
        if !key.can_be.is_disjoint(&laws) {
            key.can_be.extend(laws.clone());
        }
    }
}

/// What can be one of either; lists become one list.
fn join(into: &mut BTreeSet<Shape>, more: BTreeSet<Shape>) {
    for shape in more {
        let Shape::List(mut elements) = shape else {
            into.insert(shape);
            continue;
        };
        let known = into.iter().find(|shape| matches!(shape, Shape::List(_))).cloned();
        if let Some(Shape::List(other)) = known.and_then(|known| into.take(&known)) {
            join(&mut elements, other);
        }
        into.insert(Shape::List(elements));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_the_parser_allows_has_a_word_and_an_example_in_keys_toml() {
        let mut missing = Vec::new();
        for (what, table) in tables() {
            let alike = ALIKE.contains(&what.as_str());
            let bare = |key: &&Key| key.can_be.is_empty() && what != CONFIGURATION || key.about.is_empty() && !alike;
            missing.extend(table.keys.iter().filter(bare).map(|key| format!("`{}` in {what}", key.name)));
        }
        assert_eq!(missing, [""; 0], "give each a line with a comment in sim/src/scenario/keys.toml");
    }
}
