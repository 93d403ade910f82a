//! `[nodes]`: how many, in which groups, with which configuration; and how the rest of the file names them.

use std::ops::Range;

use marlos::Config;
use marlos::time::Span;
use serde::Deserialize;
use toml::de::DeValue;

use super::diagnostic::{Problem, did_you_mean};
use super::fields::{Fields, Item, Read, Value};
use super::{CpuSpec, NodeNo, NodeSpec, RegionMatrix, limits};

/// What the world decides, not the scenario.
pub(super) const WORLDS_OWN: [&str; 3] = ["pub_endpoint", "sub_endpoint", "bootstrap"];

/// The nodes as read; `min_peers` is still open where the file does not give it.
pub(super) struct Nodes {
    pub(super) specs: Vec<NodeSpec>,
    pub(super) fixed_membership: bool,
    pub(super) names: Names,
    gives_min_peers: Vec<bool>,
    span: Range<usize>,
}

/// How nodes can be named: `n3`, `n0..n5`, or by group.
pub(super) struct Names {
    count: usize,
    groups: Vec<(String, Range<usize>)>,
}

/// `[nodes]`, once the regions are known.
pub(super) fn read(item: Item<'_>, regions: Option<&RegionMatrix>) -> Read<Nodes> {
    let fields = Fields::of(item, "`[nodes]`", &["count", "config", "cpu", "group", "membership"])?;
    let base = fields.get("config").map(config_table).transpose()?.unwrap_or_default();
    let membership = fields.get("membership").map(|item| item.one_of(&["open", "fixed"], &[])).transpose()?;
    let mut nodes = Nodes {
        specs: Vec::new(),
        fixed_membership: membership == Some(1),
        names: Names { count: 0, groups: Vec::new() },
        gives_min_peers: Vec::new(),
        span: item.value.span(),
    };
    let config_item = fields.get("config");
    let cpu_of_all = fields.get("cpu").map(cpu).transpose()?.unwrap_or_default();
    let Some(groups) = fields.get("group") else {
        if regions.is_some() {
            let message = "a topology of regions needs `[[nodes.group]]` tables that give each node its region";
            return Err(fields.problem(message, "no groups here"));
        }
        let count = fields.need("count")?.whole(1..=limits::NODES)? as usize;
        add(&mut nodes, count, &Of { group: None, region: None, cpu: cpu_of_all }, &base, config_item, &fields)?;
        return Ok(nodes);
    };
    if let Some(count) = fields.get("count") {
        return Err(count.problem("`count` beside `[[nodes.group]]`: each group has its own", "leave it out"));
    }
    let groups = groups.list()?;
    if groups.is_empty() {
        return Err(fields.problem("`group` is empty", "at least one node is needed"));
    }
    for group in groups {
        let group = Fields::of(group, "`[[nodes.group]]`", &["name", "count", "region", "config", "cpu"])?;
        let name = group_name(group.need("name")?, &nodes.names)?;
        let count = group.need("count")?.whole(1..=limits::NODES - nodes.specs.len() as u64)? as usize;
        let region = region(&group, regions)?;
        let cpu = group.get("cpu").map(cpu).transpose()?.unwrap_or(cpu_of_all);
        let own = group.get("config");
        let mut config = base.clone();
        config.extend(own.map(config_table).transpose()?.unwrap_or_default());
        let first = nodes.specs.len();
        nodes.names.groups.push((name.to_owned(), first..first + count));
        let of = Of { group: Some(name), region, cpu };
        add(&mut nodes, count, &of, &config, own.or(config_item), &group)?;
    }
    Ok(nodes)
}

fn group_name<'t>(item: Item<'t>, names: &Names) -> Read<&'t str> {
    let name = item.short_text(32)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !plain || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || number_of(name).is_some() {
        let message = format!("`{name}` cannot name a group");
        return Err(item.problem(message, "a letter, then letters, digits, - and _; not like a node's name"));
    }
    if names.groups.iter().any(|(other, _)| other == name) {
        return Err(item.problem(format!("two groups are named `{name}`"), "the second"));
    }
    Ok(name)
}

fn region(group: &Fields<'_>, regions: Option<&RegionMatrix>) -> Read<Option<usize>> {
    match (group.get("region"), regions) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(group.missing("region")),
        (Some(item), None) => {
            let message = "`region` without a matrix of regions";
            Err(item.problem(message, "needs `topology = \"regions(FILE.csv)\"` in `[network]`"))
        }
        (Some(item), Some(regions)) => {
            let names: Vec<&str> = regions.names.iter().map(String::as_str).collect();
            item.one_of(&names, &[]).map(Some)
        }
    }
}

/// `cpu`: what is absent costs nothing.
fn cpu(item: Item<'_>) -> Read<CpuSpec> {
    let fields = Fields::of(item, "`cpu`", &["per_message", "per_signature", "per_verification"])?;
    let cost = |key| match fields.get(key) {
        None => Ok(Span::ZERO),
        Some(item) => item.duration(Span::ZERO..=limits::CPU),
    };
    Ok(CpuSpec {
        per_message: cost("per_message")?,
        per_signature: cost("per_signature")?,
        per_verification: cost("per_verification")?,
    })
}

/// Every key checked by itself, so that its own value is what the error points at.
fn config_table(item: Item<'_>) -> Read<toml::Table> {
    let defaults = toml::Table::try_from(Config::default()).expect("a configuration is a table");
    let all: Vec<&str> = defaults.keys().map(String::as_str).collect();
    let open: Vec<&str> = all.iter().copied().filter(|key| !WORLDS_OWN.contains(key)).collect();
    let mut config = toml::Table::new();
    let fields = Fields::new("the node configuration", item.value.span(), item.table()?, &all, &[])?;
    for (key_span, field) in fields.iter() {
        if !open.contains(&field.name) {
            let message = format!("`{}` cannot be set here", field.name);
            return Err(Problem::new(key_span, message, "the simulated network decides it"));
        }
        let value = plain(field.value)?;
        let single = toml::Table::from_iter([(field.name.to_owned(), value.clone())]);
        Config::deserialize(single).map_err(|error| {
            field.problem(format!("`{}`: {}", field.name, error.message().trim()), "cannot be read as this key's value")
        })?;
        config.insert(field.name.to_owned(), value);
    }
    Ok(config)
}

/// A value without its places.
fn plain(value: &Value<'_>) -> Read<toml::Value> {
    let too_large = || Problem::new(value.span(), "this number is too large", "64 bits at most");
    Ok(match value.get_ref() {
        DeValue::String(text) => toml::Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            toml::Value::Integer(number.map_err(|_| too_large())?)
        }
        DeValue::Float(number) => toml::Value::Float(number.as_str().parse().map_err(|_| too_large())?),
        DeValue::Boolean(value) => toml::Value::Boolean(*value),
        DeValue::Datetime(date) => toml::Value::Datetime(*date),
        DeValue::Array(array) => toml::Value::Array(array.iter().map(plain).collect::<Read<_>>()?),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), plain(value)?)));
            toml::Value::Table(entries.collect::<Read<_>>()?)
        }
    })
}

/// What nodes have in common besides their configuration.
struct Of<'a> {
    group: Option<&'a str>,
    region: Option<usize>,
    cpu: CpuSpec,
}

/// Appends nodes of one configuration.
fn add(
    nodes: &mut Nodes,
    count: usize,
    of: &Of<'_>,
    config: &toml::Table,
    place: Option<Item<'_>>,
    around: &Fields<'_>,
) -> Read<()> {
    let gives_min_peers = config.contains_key("min_peers");
    let mut config_of_all = match Config::deserialize(config.clone()) {
        Ok(config) => config,
        Err(error) => return Err(around.problem(error.message(), "in this configuration")),
    };
    if !config.contains_key("capabilities") {
        config_of_all.capabilities = vec!["simulated".to_owned()];
    }
    if !gives_min_peers {
        config_of_all.min_peers = 1;
    }
    if let Err(error) = config_of_all.validate() {
        return Err(invalid(&error.0, place, around));
    }
    for _ in 0..count {
        let name = format!("n{}", nodes.specs.len());
        let mut config_of_one = config_of_all.clone();
        if !config.contains_key("node_name") {
            config_of_one.node_name.clone_from(&name);
        }
        let group = of.group.map(str::to_owned);
        nodes.specs.push(NodeSpec { name, group, region: of.region, config: config_of_one, cpu: of.cpu });
        nodes.gives_min_peers.push(gives_min_peers);
    }
    nodes.names.count = nodes.specs.len();
    Ok(())
}

/// What `Config::validate` says begins with the field: that is where the caret goes, if the field stands in the file.
fn invalid(message: &str, place: Option<Item<'_>>, around: &Fields<'_>) -> Problem {
    let field = message.split([' ', ':']).next().unwrap_or_default();
    let table = place.and_then(|place| place.table().ok());
    match table.and_then(|table| table.get(field)) {
        Some(value) => Problem::new(value.span(), format!("node configuration: {message}"), "not allowed"),
        None => match place {
            Some(place) => place.problem(format!("node configuration: {message}"), "in this configuration"),
            None => around.problem(format!("node configuration: {message}"), "in these nodes"),
        },
    }
}

impl Nodes {
    /// Sets `min_peers` to the quorum of those that start at 0, where it was left open: a node that has not met them
    /// yet must not take the few it knows for the network.
    pub(super) fn set_min_peers(&mut self, initial: usize) -> Read<()> {
        let quorum = marlos::quorum::quorum(u32::try_from(initial).expect("at most 4096 nodes"));
        for (spec, given) in self.specs.iter_mut().zip(&self.gives_min_peers) {
            if !given {
                spec.config.min_peers = quorum;
            }
            if let Err(error) = spec.config.validate() {
                let message = format!("node configuration of {}: {error}", spec.name);
                return Err(Problem::new(self.span.clone(), message, "in these nodes"));
            }
        }
        Ok(())
    }
}

impl Names {
    /// All nodes.
    pub(super) fn all(&self) -> Vec<NodeNo> {
        (0..self.count).collect()
    }

    /// A list of nodes, ranges and groups, sorted. None twice, and at least one.
    pub(super) fn read_list(&self, item: Item<'_>) -> Read<Vec<NodeNo>> {
        let mut taken = vec![false; self.count];
        self.read_into(item, &mut taken)
    }

    /// Several lists that share no node.
    pub(super) fn read_groups(&self, item: Item<'_>) -> Read<Vec<Vec<NodeNo>>> {
        let mut taken = vec![false; self.count];
        item.list()?.into_iter().map(|group| self.read_into(group, &mut taken)).collect()
    }

    fn read_into(&self, item: Item<'_>, taken: &mut [bool]) -> Read<Vec<NodeNo>> {
        let names = item.list()?;
        if names.is_empty() {
            return Err(item.problem(format!("`{}` names no node", item.name), "empty"));
        }
        let mut nodes = Vec::new();
        for name in names {
            for node in self.resolve(name)? {
                if std::mem::replace(&mut taken[node], true) {
                    let message = format!("`n{node}` is named twice in `{}`", item.name);
                    return Err(name.problem(message, "it is already in this list or in another group"));
                }
                nodes.push(node);
            }
        }
        nodes.sort_unstable();
        Ok(nodes)
    }

    fn resolve(&self, item: Item<'_>) -> Read<Range<usize>> {
        let text = item.text()?.trim();
        if let Some((_, range)) = self.groups.iter().find(|(name, _)| name == text) {
            return Ok(range.clone());
        }
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (self.number(first.trim(), item)?, self.number(last.trim(), item)?);
        if first > last {
            return Err(item.problem(format!("the range `{text}` runs backwards"), "the lower number comes first"));
        }
        Ok(first..last + 1)
    }

    /// One node by its name, as a file beside the scenario has it.
    pub(super) fn one(&self, name: &str) -> Result<NodeNo, String> {
        let number = number_of(name).filter(|number| *number < self.count);
        number.ok_or_else(|| format!("there is no node `{}`; they are n0 .. n{}", name.escape_debug(), self.count - 1))
    }

    fn number(&self, name: &str, item: Item<'_>) -> Read<usize> {
        let valid = format!("the nodes are n0 .. n{}", self.count - 1);
        let Some(number) = number_of(name) else {
            let groups = self.groups.iter().map(|(name, _)| name.as_str());
            let problem = item.problem(format!("`{name}` is no node, range or group"), valid);
            return Err(match did_you_mean(name, groups) {
                Some(hint) => problem.help(hint),
                None => problem.help("a node is written \"n3\", a range \"n0..n5\" (both ends belong to it)"),
            });
        };
        if number >= self.count {
            return Err(item.problem(format!("there is no node `{name}`"), valid));
        }
        Ok(number)
    }
}

/// 3 for `n3`; nothing for `n03` or `north`.
fn number_of(name: &str) -> Option<usize> {
    let digits = name.strip_prefix('n')?;
    let number = digits.parse::<usize>().ok()?;
    (number.to_string() == digits).then_some(number)
}
