//! Two builds, or two settings, on the same networks: is NEW worse than BASE?
//!
//! Runs are paired by scenario, setting and seed. Draws are keyed ([`crate::draw`]) and jobs are numbered ([`crate::workload`]), so
//! both runs of a pair are offered the same jobs, and a message that both send as the n-th of its kind to the same receiver has
//! the same delay and loss in both. What differs is what the builds do, and what follows from that: most of the noise that tells
//! two seeds apart is in both and cancels. `docs/compare.md` says how far that reaches.
//!
//! - [`side`]: what was measured, read from results on disk.
//! - [`figure`]: what is compared of a KPI, on which scale, and which way is worse.
//! - [`interval`]: how far a mean difference may be off.
//! - [`family`]: what is said of all figures together, so that one false alarm in a hundred comparisons is the most.
//! - [`turn`]: checks and targets that passed and do not any more.
//! - [`tolerance`]: how much worse is not worth a word.
//! - [`table`], [`markdown`], [`junit`]: for people, for a pull request, for a CI server.

pub mod family;
pub mod figure;
pub mod interval;
pub mod junit;
pub mod markdown;
pub mod side;
pub mod table;
pub mod tolerance;
pub mod turn;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use family::Row;
use figure::Figure;
use side::{Case, CaseName, Run, Side};
use tolerance::Tolerances;
use turn::Turn;

/// All that is said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether anything is worse that counts.
    pub regressed: bool,
    /// Those that are on both sides.
    pub cases: Vec<Compared>,
    /// Cases that are in BASE alone.
    pub only_base: Vec<String>,
    /// Cases that are in NEW alone.
    pub only_new: Vec<String>,
}

/// A case on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The scenario and what is set, on both sides or on each.
    pub name: String,
    /// Seeds on both sides.
    pub seeds: u64,
    /// Of these, runs that are the same to the last action.
    pub identical: u64,
    /// Seeds that BASE alone has.
    pub only_base: Vec<u64>,
    /// Seeds that NEW alone has.
    pub only_new: Vec<u64>,
    /// What was measured, in the order of the contract's table.
    pub rows: Vec<Row>,
    /// Checks and targets that turned.
    pub turns: Vec<Turn>,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

/// Compares, or says why there is nothing to compare.
///
/// # Errors
/// Where no case is on both sides with the same seed.
pub fn compare(base: &Side, new: &Side, tolerances: &Tolerances) -> Result<Comparison, String> {
    let (pairs, only_base, only_new) = pair_up(base, new);
    let mut figures: Vec<Vec<Figure>> = Vec::new();
    let mut cases: Vec<Compared> = Vec::new();
    for ((base_name, base), (new_name, new)) in &pairs {
        let runs: Vec<(u64, &Run, &Run)> =
            base.runs.iter().filter_map(|(seed, run)| new.runs.get(seed).map(|other| (*seed, run, other))).collect();
        let alone =
            |of: &Case, other: &Case| of.runs.keys().filter(|seed| !other.runs.contains_key(seed)).copied().collect();
        cases.push(Compared {
            name: title(base_name, new_name),
            seeds: runs.len() as u64,
            identical: runs.iter().filter(|(_, base, new)| is_identical(base, new)).count() as u64,
            only_base: alone(base, new),
            only_new: alone(new, base),
            rows: Vec::new(),
            turns: turn::turns(&runs),
            notes: notes(base_name, base, new_name, new),
        });
        figures.push(figure::figures(&runs.iter().map(|(_, base, new)| (*base, *new)).collect::<Vec<_>>()));
    }
    if cases.iter().all(|case| case.seeds == 0) {
        let names =
            |side: &Side| side.cases.iter().map(|(name, case)| described(name, case)).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "no run of BASE has its like in NEW: the same scenarios and seeds must have been swept, over the same settings; \
             BASE holds {}; NEW holds {}",
            names(base),
            names(new)
        ));
    }
    for (case, rows) in cases.iter_mut().zip(family::judge(figures, tolerances)) {
        case.rows = rows;
    }
    let regressed = cases.iter().any(Compared::regressed);
    Ok(Comparison { regressed, cases, only_base, only_new })
}

impl Compared {
    /// Whether anything here is worse that counts.
    #[must_use]
    pub fn regressed(&self) -> bool {
        self.rows.iter().any(|row| row.says == family::Says::Worse) || self.turns.iter().any(|turn| turn.regression)
    }
}

type Named<'s> = (&'s CaseName, &'s Case);
/// Cases that belong together, and the names of those that have no partner, of BASE and of NEW.
type Paired<'s> = (Vec<(Named<'s>, Named<'s>)>, Vec<String>, Vec<String>);

/// Cases of the same scenario and setting. Of those that are left of a scenario, the ones that differ only in what is set in all of
/// a side: so the same build is compared with itself under another setting, whatever else a sweep varies.
fn pair_up<'s>(base: &'s Side, new: &'s Side) -> Paired<'s> {
    let mut pairs: Vec<_> =
        base.cases.iter().filter_map(|case| Some((case, new.cases.get_key_value(case.0)?))).collect();
    let left = |of: &'s Side, other: &'s Side| -> Vec<Named<'s>> {
        of.cases.iter().filter(|(name, _)| !other.cases.contains_key(name)).collect()
    };
    let (mut base_left, mut new_left) = (left(base, new), left(new, base));
    let scenarios: BTreeSet<&str> = base_left.iter().map(|(name, _)| name.scenario.as_str()).collect();
    for scenario in scenarios {
        let others = by_what_varies(&new_left, scenario);
        for (varying, one) in by_what_varies(&base_left, scenario) {
            let Some(other) = others.get(&varying) else { continue };
            pairs.push((one, *other));
            base_left.retain(|(name, _)| *name != one.0);
            new_left.retain(|(name, _)| *name != other.0);
        }
    }
    pairs.sort_by_key(|((name, _), _)| *name);
    let names = |left: Vec<Named<'s>>| left.into_iter().map(|(name, _)| title(name, name)).collect();
    (pairs, names(base_left), names(new_left))
}

/// Cases of a scenario by their settings, without those that all of them have. A single case has none left.
fn by_what_varies<'s>(left: &[Named<'s>], scenario: &str) -> BTreeMap<Vec<&'s str>, Named<'s>> {
    let of: Vec<Named<'s>> = left.iter().filter(|(name, _)| name.scenario == scenario).copied().collect();
    let in_all = |set: &&str| of.iter().all(|(name, _)| name.setting.split(' ').any(|other| other == *set));
    let varying = |name: &'s CaseName| name.setting.split(' ').filter(|set| !in_all(set)).collect();
    of.iter().map(|case| (varying(case.0), *case)).collect()
}

/// `partition with crypto=token`, and where that differs, `partition with BASE ..; NEW ..`.
fn title(base: &CaseName, new: &CaseName) -> String {
    let setting =
        |name: &CaseName| if name.setting.is_empty() { "nothing set".to_owned() } else { name.setting.clone() };
    if base.setting != new.setting {
        format!("{}, BASE with {}, NEW with {}", base.scenario, setting(base), setting(new))
    } else if base.setting.is_empty() {
        base.scenario.clone()
    } else {
        format!("{} with {}", base.scenario, base.setting)
    }
}

fn described(name: &CaseName, case: &Case) -> String {
    let (first, last) = (case.runs.keys().next(), case.runs.keys().next_back());
    let seeds = match (first, last) {
        (Some(first), Some(last)) if first == last => format!("seed {first}"),
        (Some(first), Some(last)) => format!("{} seeds between {first} and {last}", case.runs.len()),
        (None, _) | (_, None) => "no seeds".to_owned(),
    };
    format!("{} ({seeds})", title(name, name))
}

fn notes(base_name: &CaseName, base: &Case, new_name: &CaseName, new: &Case) -> Vec<String> {
    let differ = matches!((&base.resolved, &new.resolved), (Some(base), Some(new)) if base != new);
    if differ && base_name.setting == new_name.setting {
        let why = "the scenario, or a default that it leaves to the build, is not the same on both sides";
        return vec![why.to_owned()];
    }
    Vec::new()
}

/// The same actions of every node, and the same said of them.
fn is_identical(base: &Run, new: &Run) -> bool {
    !base.action_hash.is_empty() && base == new
}
