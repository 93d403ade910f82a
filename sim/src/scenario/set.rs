//! `--set KEY=VALUE`: a scenario with some keys set to something else, as if they stood so in its file.

use std::fmt;
use std::str::FromStr as _;

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

/// Characters of a key or a value.
const LONGEST: usize = 1_024;

/// A key of a scenario file, by its dotted path, and its value. Shown as the command line writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    key: String,
    value: String,
}

impl Setting {
    /// `network.loss=1%`. The value is TOML, or else a text that needs no quotes: `1%`, `"1%"`, `20`, `["n0..n5"]`.
    /// Elements of lists of tables are numbered from 0: `fault.0.for=60s`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Setting, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
        let (key, value) = (key.trim(), value.trim());
        let plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !key.split('.').all(plain) {
            return Err(format!("`{key}` is no key: letters, digits, _ and -, with dots between them"));
        }
        if value.is_empty() || value.len() > LONGEST || value.chars().any(char::is_control) {
            return Err(format!("the value of `{key}` must have 1 to {LONGEST} bytes and no control characters"));
        }
        Ok(Setting { key: key.to_owned(), value: value.to_owned() })
    }

    /// `network.loss=0%,1%`: one setting for each of the values. Commas within brackets, braces and quotes do not part them.
    ///
    /// # Errors
    /// As [`Setting::parse`].
    pub fn parse_all(text: &str) -> Result<Vec<Setting>, String> {
        let (key, values) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE,VALUE"))?;
        split_outside(values).into_iter().map(|value| Setting::parse(&format!("{key}={value}"))).collect()
    }

    /// The key, by its dotted path.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    fn apply(&self, document: &mut DocumentMut) -> Result<(), String> {
        let value = Value::from_str(&self.value).unwrap_or_else(|_| Value::from(self.value.as_str()));
        let path: Vec<&str> = self.key.split('.').collect();
        put(document.as_item_mut(), &path, value).map_err(|why| format!("--set {self}: {why}"))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// The text with these settings. A text that is no TOML is left as it is: reading it will say so.
pub(super) fn with_settings(text: String, settings: &[Setting]) -> Result<String, String> {
    if settings.is_empty() {
        return Ok(text);
    }
    let Ok(mut document) = text.parse::<DocumentMut>() else { return Ok(text) };
    settings.iter().try_for_each(|setting| setting.apply(&mut document))?;
    Ok(document.to_string())
}

/// Puts a value at a path; tables on the way are made where they are missing.
fn put(at: &mut Item, path: &[&str], value: Value) -> Result<(), String> {
    let [key, rest @ ..] = path else {
        let mut value = value;
        if let Some(before) = at.as_value() {
            *value.decor_mut() = before.decor().clone();
        }
        *at = Item::Value(value);
        return Ok(());
    };
    if let Some(tables) = at.as_array_of_tables_mut() {
        let length = tables.len();
        let table = key.parse().ok().and_then(|index: usize| tables.get_mut(index));
        let table = table.ok_or_else(|| format!("`{key}` is none of the {length} there, counted from 0"))?;
        if rest.is_empty() {
            return Err(format!("`{key}` is a table: name one of its keys"));
        }
        // A table of a list is no item of its own.
        let mut item = Item::Table(std::mem::take(table));
        let done = put(&mut item, rest, value);
        *table = item.into_table().map_err(|_| "a table stays a table")?;
        return done;
    }
    let inline = at.is_value();
    let Some(table) = at.as_table_like_mut() else {
        return Err(format!("there is no `{key}` in what is not a table; set the whole of it"));
    };
    if table.get(key).is_none() {
        let missing = match (rest, inline) {
            ([], _) => Item::None,
            (_, true) => Item::Value(Value::InlineTable(InlineTable::new())),
            (_, false) => Item::Table({
                let mut table = Table::new();
                table.set_implicit(true);
                table
            }),
        };
        if rest.is_empty() {
            table.insert(key, Item::Value(value));
            return Ok(());
        }
        table.insert(key, missing);
    }
    put(table.get_mut(key).ok_or("what was put there is gone")?, rest, value)
}

/// Splits at commas that are not within brackets, braces or quotes.
fn split_outside(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# What it shows.
name = "x"
duration = "60s" # long enough
nodes = { count = 3 }

[network]
loss = "0%"

[[fault]]
at = "1s"
kind = "pause"
"#;

    fn set(settings: &[&str]) -> Result<String, String> {
        let settings: Vec<Setting> = settings.iter().map(|text| Setting::parse(text).unwrap()).collect();
        with_settings(FILE.to_owned(), &settings)
    }

    #[test]
    fn what_is_set_replaces_what_stood_there_and_nothing_else() {
        for (setting, before, after) in [
            ("network.loss=1%", "loss = \"0%\"", "loss = \"1%\""),
            ("network.loss=\"1%\"", "loss = \"0%\"", "loss = \"1%\""),
            ("duration=90s", "\"60s\" #", "\"90s\" #"),
            ("nodes.count=20", "count = 3", "count = 20"),
            ("fault.0.at=2s", "\"1s\"", "\"2s\""),
            ("nodes.config.max_peers=9", "{ count = 3 }", "{ count = 3 , config = { max_peers = 9 } }"),
            ("crypto=token", "\n\n[network]", "\ncrypto = \"token\"\n\n[network]"),
            ("kpi.heal.p99=20", "\"pause\"\n", "\"pause\"\n\n[kpi.heal]\np99 = 20\n"),
        ] {
            let (found, wanted) = (set(&[setting]).unwrap(), FILE.replacen(before, after, 1));
            let parsed = |text: &str| text.parse::<toml::Table>().unwrap();
            assert_eq!(parsed(&found), parsed(&wanted), "{setting}\n{found}");
            assert!(found.starts_with("# What it shows.\n"), "{found}");
        }
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        for (setting, why) in [
            ("fault.1.at=2s", "`1` is none of the 1 there"),
            ("fault.0=2s", "is a table: name one of its keys"),
            ("name.x=2s", "there is no `x` in what is not a table"),
        ] {
            assert!(set(&[setting]).unwrap_err().contains(why), "{setting}");
        }
        for wrong in ["loss", "=1", "a b=1", "a..b=1", "a="] {
            assert!(Setting::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_part_at_commas_outside_of_brackets_and_quotes() {
        let values = |text: &str| -> Vec<String> {
            Setting::parse_all(text).unwrap().iter().map(|setting| setting.value.clone()).collect()
        };
        assert_eq!(values("network.loss=0%, 1%"), ["0%", "1%"]);
        assert_eq!(values("a=[1, 2],{ b = 3, c = 4 },\"5,6\""), ["[1, 2]", "{ b = 3, c = 4 }", "\"5,6\""]);
    }
}
