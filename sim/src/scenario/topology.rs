//! Who may connect to whom, as a scenario says it. What the graphs are is [`crate::network::topology`]'s.

use marlos::units::Ppm;

use super::fields::{Fields, Item, Read};
use super::parse::Beside;
use super::{RegionMatrix, limits, regions};

/// Who may connect to whom: see [`crate::network::topology`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Topology {
    /// Everyone to everyone.
    Full,
    /// As `Full`, with delays by region.
    Regions,
    /// Each to the one before it and the one after it; the last is before the first.
    Ring,
    /// Each to `degree` others, at random.
    KRegular { degree: u32 },
    /// Each to the `degree` that are nearest on a ring, but a share of these ways leads anywhere.
    SmallWorld { degree: u32, rewire: Ppm },
    /// Nodes that come one by one, each with ways to `degree` of those before, who are the likelier the more ways they have.
    ScaleFree { degree: u32 },
}

impl Topology {
    const NAMES: [&'static str; 6] = ["full", "regions(FILE.csv)", "ring", "k-regular", "small-world", "scale-free"];

    /// As scenarios name it, without the matrix's file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Topology::Full => "full",
            Topology::Regions => "regions",
            Topology::Ring => "ring",
            Topology::KRegular { .. } => "k-regular",
            Topology::SmallWorld { .. } => "small-world",
            Topology::ScaleFree { .. } => "scale-free",
        }
    }

    /// How many others each node is given, where the topology asks.
    pub(super) fn degree(self) -> Option<u32> {
        match self {
            Topology::Full | Topology::Regions | Topology::Ring => None,
            Topology::KRegular { degree } | Topology::SmallWorld { degree, .. } | Topology::ScaleFree { degree } => {
                Some(degree)
            }
        }
    }

    /// Why there is no such graph of so many nodes, if there is none.
    pub(super) fn impossible(self, nodes: usize) -> Option<String> {
        let fewer = |least: usize| (nodes < least).then(|| format!("{nodes} nodes; at least {least} are needed"));
        match self {
            Topology::Full | Topology::Regions => None,
            Topology::Ring => fewer(3),
            Topology::KRegular { degree } if !(degree as usize * nodes).is_multiple_of(2) => {
                Some(format!("{nodes} nodes cannot have {degree} neighbours each: one of the two must be even"))
            }
            Topology::SmallWorld { degree, .. } if !degree.is_multiple_of(2) => {
                Some(format!("a small world begins as a ring with as many on either side: {degree} is odd"))
            }
            Topology::KRegular { degree } | Topology::SmallWorld { degree, .. } | Topology::ScaleFree { degree } => {
                fewer(degree as usize + 1)
            }
        }
    }
}

/// `topology`, and the keys that only some topologies have.
pub(super) fn read(item: Item<'_>, fields: &Fields<'_>, beside: Beside<'_>) -> Read<(Topology, Option<RegionMatrix>)> {
    let text = item.text()?.trim();
    if text.starts_with("regions") {
        refuse(fields, &["degree", "rewire"], Topology::Regions)?;
        let file = text.strip_prefix("regions(").and_then(|rest| rest.strip_suffix(')')).map(str::trim);
        let Some(file) = file else {
            return Err(item.problem("a topology of regions names its matrix", "\"regions(FILE.csv)\""));
        };
        return Ok((Topology::Regions, Some(regions_of(item, file, fields.get("regions"), beside)?)));
    }
    let degree = |least: u64| -> Read<u32> {
        let degree = fields.get("degree").map_or(Ok(4), |item| item.whole(least..=limits::NODES))?;
        Ok(u32::try_from(degree).expect("at most 4,096"))
    };
    let topology = match item.one_of(&Topology::NAMES, &[])? {
        2 => Topology::Ring,
        3 => Topology::KRegular { degree: degree(2)? },
        4 => {
            let rewire = fields.get("rewire").map_or(Ok(Ppm(100_000)), |item| item.percentage())?;
            Topology::SmallWorld { degree: degree(2)?, rewire }
        }
        5 => Topology::ScaleFree { degree: degree(1)? },
        _ => Topology::Full,
    };
    let others: &[&str] = match topology {
        Topology::Full | Topology::Ring => &["degree", "rewire", "regions"],
        Topology::KRegular { .. } | Topology::ScaleFree { .. } => &["rewire", "regions"],
        Topology::SmallWorld { .. } | Topology::Regions => &["regions"],
    };
    refuse(fields, others, topology)?;
    Ok((topology, None))
}

/// Keys of other topologies.
pub(super) fn refuse(fields: &Fields<'_>, keys: &[&str], topology: Topology) -> Read<()> {
    let Some((key, item)) = keys.iter().find_map(|key| Some((key, fields.get(key)?))) else { return Ok(()) };
    let whose = match *key {
        "regions" => "a topology of regions",
        "rewire" => "a topology of \"small-world\"",
        _ => "a topology with degrees: \"k-regular\", \"small-world\" or \"scale-free\"",
    };
    Err(item.problem(format!("`{key}` without {whose}"), format!("topology is \"{}\"", topology.name())))
}

fn regions_of(item: Item<'_>, file: &str, inline: Option<Item<'_>>, beside: Beside<'_>) -> Read<RegionMatrix> {
    let simple = !file.is_empty() && file.len() <= 255 && !file.chars().any(|c| c.is_control() || c == ')');
    if !simple {
        return Err(item.problem("this is no file name", "\"regions(FILE.csv)\", relative to the scenario"));
    }
    match inline {
        Some(inline) => regions::read_inline(inline, file),
        None => {
            let text = beside(file).map_err(|why| item.problem(why, "relative to the scenario's directory"))?;
            regions::matrix(file, &text).map_err(|why| item.problem(format!("`{file}`: {why}"), "this matrix"))
        }
    }
}
