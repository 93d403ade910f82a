//! `[kpi]` and `[expect]`: what is judged, and what must have happened.

use std::collections::BTreeMap;

use marlos::io::Refusal;
use toml::de::DeValue;

use super::asked::{self, Takes};
use super::diagnostic::{Problem, did_you_mean, list};
use super::fields::{Fields, Item, Read};
use super::{Comparison, Expectation, KpiTarget, Statistic};
use crate::byzantine::BEHAVIOURS;
use crate::observe::COUNTERS;

/// A KPI as scenarios name it.
pub(super) struct KpiName {
    /// As in the contract's table.
    pub(super) name: &'static str,
    /// What may follow the name, after an underscore.
    unit: &'static str,
    /// What `least` and `most` compare.
    natural: Statistic,
    /// Whether a bare number is still allowed itself: "false_deaths = { count = 0 }".
    counts: bool,
}

const fn measure(name: &'static str, unit: &'static str) -> KpiName {
    KpiName { name, unit, natural: Statistic::Max, counts: false }
}

const fn mean(name: &'static str, unit: &'static str) -> KpiName {
    KpiName { name, unit, natural: Statistic::Mean, counts: false }
}

const fn count(name: &'static str) -> KpiName {
    KpiName { name, unit: "count", natural: Statistic::Count, counts: true }
}

/// The contract's table.
pub(super) const KPIS: [KpiName; 16] = [
    measure("message_latency", "ms"),
    measure("peer_discovery", "s"),
    mean("heartbeat_interval", "s"),
    measure("failure_detection", "s"),
    measure("job_broadcast", "ms"),
    measure("consensus", "s"),
    mean("overhead_per_job", "B"),
    mean("throughput", "per_s"),
    measure("consensus_learned", "s"),
    measure("takeover", "s"),
    measure("heal", "s"),
    count("false_deaths"),
    mean("background_bytes_per_node_s", "B"),
    count("jobs_lost"),
    count("duplicate_executions"),
    count("election_disagreement"),
];

const STATISTICS: [(&str, Statistic); 6] = [
    ("p50", Statistic::P50),
    ("p90", Statistic::P90),
    ("p99", Statistic::P99),
    ("max", Statistic::Max),
    ("mean", Statistic::Mean),
    ("count", Statistic::Count),
];

const OPERATORS: [(&str, Comparison); 5] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Equal),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

/// Reasons to refuse, as `[expect]` names them.
const REASONS: [&str; Refusal::ALL.len()] = [
    "too_large",
    "malformed",
    "wrong_version",
    "wrong_network",
    "wrong_recipient",
    "unknown_sender",
    "blacklisted",
    "rate_limited",
    "stale_timestamp",
    "replayed",
    "stale_incarnation",
    "bad_signature",
    "from_self",
    "bad_record",
    "too_many_members",
    "not_a_member",
    "unknown_job",
    "too_many_jobs",
    "out_of_place",
    "electorate_differs",
    "wrong_coordinator",
    "bad_certificate",
    "quarantined",
    "bad_transaction",
    "conflicting_transaction",
    "insufficient_balance",
    "bad_evidence",
    "retired_key",
    "stale_rotation",
    "forked_key",
    "cannot_open",
];

/// `[kpi]`.
pub(super) fn read_kpi(item: Option<Item<'_>>) -> Read<BTreeMap<String, Option<KpiTarget>>> {
    let mut targets = BTreeMap::new();
    let Some(item) = item else {
        return Ok(targets);
    };
    let table = item.table()?;
    let with_unit = KPIS.iter().map(|kpi| format!("{}_{}", kpi.name, kpi.unit));
    let all: Vec<String> = KPIS.iter().map(|kpi| kpi.name.to_owned()).chain(with_unit).collect();
    asked::table(table, "`[kpi]`", &all.iter().map(String::as_str).collect::<Vec<_>>());
    for (key, value) in table {
        let item = Item { name: key.get_ref().as_ref(), value };
        let Some(kpi) = KPIS.iter().find(|kpi| kpi.is_named(item.name)) else {
            let names = KPIS.iter().map(|kpi| kpi.name);
            let problem = Problem::new(key.span(), format!("there is no KPI `{}`", item.name), "unknown");
            return Err(match did_you_mean(item.name, names.clone()) {
                Some(hint) => problem.help(hint),
                None => problem.help(format!("the KPIs are {}", list(names))),
            });
        };
        if targets.insert(kpi.name.to_owned(), target(item, kpi)?).is_some() {
            return Err(Problem::new(
                key.span(),
                format!("two targets for `{}`", kpi.name),
                "with and without its unit",
            ));
        }
    }
    Ok(targets)
}

impl KpiName {
    fn is_named(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.name);
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('_').is_some_and(|unit| unit == self.unit))
    }
}

fn target(item: Item<'_>, kpi: &KpiName) -> Read<Option<KpiTarget>> {
    let example = "such as { p99 = 50 }, or false";
    match item.value.get_ref() {
        DeValue::Boolean(false) => return item.bool().map(|_| None),
        DeValue::Boolean(true) => return Err(item.problem(format!("`{}` cannot be true", item.name), example)),
        DeValue::Table(_) => {}
        _ => return Err(item.problem(format!("`{}` must be a target", item.name), example)),
    }
    let keys = ["p50", "p90", "p99", "max", "mean", "count", "least", "most", "within"];
    let fields = Fields::of(item, "a KPI's target", &keys)?;
    let mut given = fields.iter().map(|(_, item)| item).filter(|item| item.name != "within");
    let (Some(bound), None) = (given.next(), given.next()) else {
        return Err(item.problem("a target has exactly one statistic", example));
    };
    let statistic = STATISTICS.iter().find(|(name, _)| *name == bound.name).map(|(_, statistic)| *statistic);
    let (comparison, target) = match bound.name {
        "least" => (Comparison::AtLeast, bound.bound()?),
        "most" => (Comparison::AtMost, bound.bound()?),
        _ if bound.value.get_ref().is_str() => compared(bound)?,
        _ if kpi.counts => (Comparison::AtMost, bound.bound()?),
        _ => (Comparison::Less, bound.bound()?),
    };
    let comparison = match fields.get("within") {
        None => comparison,
        Some(within) => {
            let ppm = within.percentage()?.0;
            if !ppm.is_multiple_of(10_000) || ppm == 0 || comparison != Comparison::Less {
                let message = "`within` is a whole percentage of a plain number";
                return Err(within.problem(message, "such as { mean = 3, within = \"5%\" }"));
            }
            Comparison::Within(ppm / 10_000)
        }
    };
    Ok(Some(KpiTarget { statistic: statistic.unwrap_or(kpi.natural), comparison, target }))
}

/// `">= 100"`
fn compared(item: Item<'_>) -> Read<(Comparison, f64)> {
    let (comparison, number) = operator(item)?;
    let value = number.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    Ok((comparison, value.ok_or_else(|| not_compared(item))?))
}

fn operator(item: Item<'_>) -> Read<(Comparison, &str)> {
    let text = item.text()?.trim();
    asked::value(item.value, || Takes::Comparison);
    let found = OPERATORS.iter().find_map(|(sign, comparison)| Some((*comparison, text.strip_prefix(sign)?.trim())));
    found.ok_or_else(|| not_compared(item))
}

fn not_compared(item: Item<'_>) -> Problem {
    let message = format!("`{}` must be a comparison with a number", item.name);
    item.problem(message, "such as \">= 1\"; with >=, <=, ==, > or <")
}

/// The sign that a comparison is written with; `Within` has none.
pub(super) fn sign(comparison: Comparison) -> &'static str {
    OPERATORS.iter().find(|(_, other)| *other == comparison).map_or("", |(sign, _)| sign)
}

/// The key that a statistic is written with.
pub(super) fn statistic_key(statistic: Statistic) -> &'static str {
    STATISTICS.iter().find(|(_, other)| *other == statistic).map_or("", |(key, _)| key)
}

/// `[expect]`.
pub(super) fn read_expect(item: Option<Item<'_>>) -> Read<Vec<Expectation>> {
    let Some(item) = item else {
        return Ok(Vec::new());
    };
    let fields = Fields::of(item, "`[expect]`", COUNTERS)?;
    let mut expected = Vec::new();
    for (_, item) in fields.iter() {
        match (item.name, item.value.get_ref()) {
            ("refused" | "misdeeds", DeValue::Table(_)) => {
                let parts = Fields::of(item, &format!("`{}`", item.name), &parts_of(item.name))?;
                for (_, part) in parts.iter() {
                    expected.push(expectation(part, format!("{}.{}", item.name, part.name))?);
                }
            }
            (name, _) => expected.push(expectation(item, name.to_owned())?),
        }
    }
    Ok(expected)
}

/// The parts of a counter that can be asked for one by one: `refused = { bad_signature = ">= 1" }`.
fn parts_of(counter: &str) -> Vec<&'static str> {
    match counter {
        "refused" => REASONS.to_vec(),
        _ => BEHAVIOURS.map(|spec| spec.name).to_vec(),
    }
}

fn expectation(item: Item<'_>, counter: String) -> Read<Expectation> {
    let (comparison, number) = operator(item)?;
    let value = number.parse::<u64>().map_err(|_| not_compared(item))?;
    Ok(Expectation { counter, comparison, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpi::counters::reason_name;

    #[test]
    fn what_can_have_a_target_is_what_is_measured() {
        let named: Vec<&str> = KPIS.iter().map(|kpi| kpi.name).collect();
        let measured: Vec<&str> = crate::kpi::KPIS.iter().map(|kpi| kpi.name).collect();
        assert_eq!(named, measured);
    }

    #[test]
    fn every_reason_to_refuse_can_be_expected_by_its_name() {
        let names: Vec<String> = Refusal::ALL.iter().map(|reason| reason_name(*reason)).collect();
        assert_eq!(REASONS.as_slice(), names);
    }
}
