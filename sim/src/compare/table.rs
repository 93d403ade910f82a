//! A comparison for people at a terminal, and the words that the other forms share with it.

use super::family::{FALSE_ALARMS, Row, Says};
use super::figure::Scale;
use super::interval::LEAST;
use super::turn::Turn;
use super::{Compared, Comparison};
use crate::outcome::CheckKind;
use crate::report::table::{bare_table, right, tidy};
use crate::report::words;

/// Ten times as much, as a change.
const TENFOLD: f64 = 9.0;
/// Seeds that are named one by one.
const NAMED: usize = 8;

/// Everything, ending in a line break.
#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let mut parts: Vec<String> = comparison.cases.iter().map(case).collect();
    parts.extend(alone(comparison));
    if comparison.cases.iter().flat_map(|case| &case.rows).any(|row| row.interval.is_some()) {
        parts.push(how_sure());
    }
    parts.push(verdict(comparison));
    parts.join("\n\n") + "\n"
}

fn case(case: &Compared) -> String {
    let mut text = heading(case);
    let shown: Vec<&Row> = case.rows.iter().filter(|row| row.says != Says::Identical).collect();
    if !shown.is_empty() {
        let mut table = bare_table(&["KPI", "BASE", "NEW", "change", "interval", "seeds", "says"]);
        for row in shown {
            table.add_row(cells(row));
        }
        (1..=5).for_each(|column| right(&mut table, column));
        text.push('\n');
        text.push_str(&tidy(&table));
    }
    text.extend(identical(case).map(|line| format!("\n{line}")));
    text.extend(case.turns.iter().map(|turn| format!("\n{}", turn_line(turn))));
    text
}

/// What a case is, in a line or a few.
pub(super) fn heading(case: &Compared) -> String {
    let mut text = format!("{}: {} paired", case.name, counted(case.seeds, "seed"));
    match case.identical {
        0 => {}
        all if all == case.seeds => text.push_str(", all the same to the last action"),
        some => text.push_str(&format!(", {some} of them the same to the last action")),
    }
    for (seeds, side) in [(&case.only_base, "BASE"), (&case.only_new, "NEW")] {
        if !seeds.is_empty() {
            text.push_str(&format!("; in {side} alone: {}", named(seeds)));
        }
    }
    if case.seeds > 0 && case.seeds < LEAST as u64 {
        text.push_str(&format!("; {LEAST} are needed to tell figures apart"));
    }
    text.extend(case.notes.iter().map(|note| format!("\nnote: {note}")));
    text
}

/// A row's cells, as the columns of every table are.
pub(super) fn cells(row: &Row) -> [String; 7] {
    let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| words::quantity(value, &row.unit));
    let seeds = match row.unpaired {
        0 => row.seeds.to_string(),
        unpaired => format!("{} of {}", row.seeds, row.seeds + unpaired),
    };
    [
        label(row),
        value(row.base),
        value(row.new),
        row.change.map_or_else(|| "-".to_owned(), |change| amount(row, change)),
        interval(row),
        seeds,
        row.says.word().to_owned(),
    ]
}

/// `consensus p99`; what is a count is one.
pub(super) fn label(row: &Row) -> String {
    if row.statistic == "count" { row.kpi.clone() } else { format!("{} {}", row.kpi, row.statistic) }
}

/// `+4.10 % .. +5.92 %`. Where one seed differs by much and the others by nothing, it may have no end that is worth printing.
pub(super) fn interval(row: &Row) -> String {
    match row.interval {
        None => "-".to_owned(),
        Some(i) if row.scale == Scale::Ratio && i.high > TENFOLD => "beyond tenfold".to_owned(),
        Some(i) => format!("{} .. {}", amount(row, i.low), amount(row, i.high)),
    }
}

/// A change with its sign: `+5.01 %`, `-0.30`, `+0.33 % off` of what shall be near a target.
pub(super) fn amount(row: &Row, change: f64) -> String {
    let percent = |fraction: f64| {
        let percent = fraction * 100.0;
        let decimals = if percent.abs() < 10.0 { 2 } else { usize::from(percent.abs() < 100.0) };
        format!("{percent:+.decimals$} %")
    };
    match row.scale {
        Scale::Ratio => percent(change),
        Scale::Distance => format!("{} off", percent(change)),
        Scale::Difference => {
            let sign = if change < 0.0 { "" } else { "+" };
            format!("{sign}{}", words::quantity(change, &row.unit))
        }
    }
}

/// The figures that are the same in every seed.
pub(super) fn identical(case: &Compared) -> Option<String> {
    let same: Vec<String> = case.rows.iter().filter(|row| row.says == Says::Identical).map(label).collect();
    match same.len() {
        0 => None,
        all if all == case.rows.len() => Some(format!("identical in every seed: all {all} figures")),
        _ => Some(format!("identical in every seed: {}", same.join(", "))),
    }
}

/// What turned, in a line or two.
pub(super) fn turn_line(turn: &Turn) -> String {
    let kind = match turn.kind {
        Some(CheckKind::Safety) => "safety",
        Some(CheckKind::Liveness) => "liveness",
        Some(CheckKind::Expect) => "expectation",
        None => "target",
    };
    let mut said = Vec::new();
    if !turn.newly_failing.is_empty() {
        let word = if turn.regression { "NEWLY FAILS" } else { "newly fails" };
        said.push(format!("{word} in {}", named(&turn.newly_failing)));
    }
    if !turn.newly_passing.is_empty() {
        said.push(format!("newly passes in {}", named(&turn.newly_passing)));
    }
    if !turn.not_judged.is_empty() {
        said.push(format!("is not judged any more in {}", named(&turn.not_judged)));
    }
    if !turn.failing_before.is_empty() && !turn.newly_failing.is_empty() {
        said.push(format!("did not pass in {} of BASE either", named(&turn.failing_before)));
    }
    let detail = turn.detail.lines().next().unwrap_or_default();
    let detail = if detail.is_empty() { String::new() } else { format!("\n    {detail}") };
    format!("{} ({kind}) {}{detail}", turn.what, said.join("; "))
}

/// What is on one side alone.
pub(super) fn alone(comparison: &Comparison) -> Option<String> {
    let lines: Vec<String> = [("BASE", &comparison.only_base), ("NEW", &comparison.only_new)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(side, names)| format!("in {side} alone: {}", names.join("; ")))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What the intervals mean.
pub(super) fn how_sure() -> String {
    let percent = words::number(FALSE_ALARMS * 100.0);
    format!(
        "An interval holds the true change; that one of all these does not happens in {percent} % of comparisons at most. \
         WORSE and better lie beyond the tolerance as a whole, same within it."
    )
}

/// The last line.
pub(super) fn verdict(comparison: &Comparison) -> String {
    if !comparison.regressed {
        return "Verdict: no regression found".to_owned();
    }
    let mut why = Vec::new();
    for case in comparison.cases.iter().filter(|case| case.regressed()) {
        let turned = case.turns.iter().filter(|turn| turn.regression).map(|turn| format!("{} newly fails", turn.what));
        let worse = case.rows.iter().filter(|row| row.says == Says::Worse);
        let worse = worse.map(|row| format!("{} {}", label(row), amount(row, row.change.unwrap_or_default())));
        why.push(format!("{}: {}", case.name, turned.chain(worse).collect::<Vec<_>>().join(", ")));
    }
    format!("Verdict: REGRESSION\n  {}", why.join("\n  "))
}

/// `seeds 3, 5, ..`
fn named(seeds: &[u64]) -> String {
    let mut shown: Vec<String> = seeds.iter().take(NAMED).map(u64::to_string).collect();
    if seeds.len() > NAMED {
        shown.push(format!(".. ({})", seeds.len()));
    }
    format!("seed{} {}", if seeds.len() == 1 { "" } else { "s" }, shown.join(", "))
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", words::count(count), if count == 1 { "" } else { "s" })
}
