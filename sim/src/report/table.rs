//! A run's results for people: one table, the checks, the verdict, and how to see a violation again.

use std::io::IsTerminal as _;
use std::path::Path;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::summary::Stats;
use super::words;
use crate::network::topology;
use crate::outcome::{CheckKind, CheckResult, Outcome, Verdict};

/// Characters per line. Fixed, so that the same run prints the same text everywhere.
const WIDTH: u16 = 124;
/// Lines above, below and under the header only.
const RULED: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// What a table says besides the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The scenario file as the user named it, for the command that reproduces a violation.
    pub file: &'a str,
    /// Where the results were written, if they were.
    pub written_to: Option<&'a Path>,
    /// Whether verdicts are coloured; see [`wants_colour`].
    pub colour: bool,
}

/// Whether standard output is a terminal whose user has not refused colours (<https://no-color.org>).
#[must_use]
pub fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The whole report, ending in a line break.
#[must_use]
pub fn render(outcome: &Outcome, context: Context<'_>) -> String {
    let mut parts = vec![heading(outcome), kpi_table(outcome)];
    parts.extend(notes(outcome));
    if !outcome.checks.is_empty() {
        parts.push(check_table(&outcome.checks));
    }
    parts.push(jobs_line(outcome));
    parts.extend(violations(outcome, context.file));
    let mut last = verdict_line(outcome);
    if let Some(dir) = context.written_to {
        last.push_str(&format!("\nResults in {}", dir.display()));
    }
    parts.push(last);
    let text = parts.join("\n\n") + "\n";
    if context.colour { coloured(&text) } else { text }
}

/// The speed of the run, for stderr: it is another one each time.
#[must_use]
pub fn speed_line(outcome: &Outcome) -> String {
    let wall = &outcome.wall;
    let memory = wall.peak_memory_bytes.map(|b| format!(", peak memory {}", bytes(b))).unwrap_or_default();
    let rate = words::count(wall.events_per_second as u64);
    format!("{}: {} of wall time, {rate} events/s{memory}", outcome.scenario.name, words::quantity(wall.seconds, "s"))
}

fn heading(outcome: &Outcome) -> String {
    let scenario = &outcome.scenario;
    let shows = if scenario.shows.is_empty() { String::new() } else { format!(": {}", scenario.shows) };
    let reached = if outcome.reached < scenario.duration {
        format!("{} of {}", seconds(outcome.reached.0), seconds(scenario.duration.0))
    } else {
        seconds(scenario.duration.0)
    };
    let topology = topology::describe(scenario).map(|line| format!("\n{line}")).unwrap_or_default();
    format!(
        "{}{shows}\nseed {}, {} nodes, {reached} simulated, {} events, action hash {}{topology}",
        scenario.name,
        scenario.seed,
        scenario.nodes.len(),
        words::count(outcome.events),
        outcome.action_hash.get(..16).unwrap_or(&outcome.action_hash),
    )
}

fn kpi_table(outcome: &Outcome) -> String {
    let mut table = bare_table(&["KPI", "measured", "target", "samples", "p50", "p90", "p99", "max", "verdict"]);
    for kpi in &outcome.kpis {
        let stats = Stats::of(kpi);
        let stat =
            |pick: fn(&Stats) -> f64| stats.as_ref().map_or("-".to_owned(), |s| words::quantity(pick(s), kpi.unit));
        table.add_row([
            kpi.name.to_owned(),
            words::measured(kpi),
            kpi.target.map_or("-".to_owned(), |t| words::target(&t, kpi.unit)),
            words::count(kpi.histogram.len()),
            stat(|s| s.p50),
            stat(|s| s.p90),
            stat(|s| s.p99),
            stat(|s| s.max),
            words::verdict(kpi.verdict).to_owned(),
        ]);
    }
    (1..=7).for_each(|column| right(&mut table, column));
    tidy(&table)
}

/// Why KPIs are UNKNOWN or n/a.
fn notes(outcome: &Outcome) -> Option<String> {
    let lines: Vec<String> = outcome
        .kpis
        .iter()
        .filter(|kpi| !kpi.note.is_empty())
        .map(|kpi| format!("{} is {}: {}", kpi.name, words::verdict(kpi.verdict), kpi.note))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn check_table(checks: &[CheckResult]) -> String {
    let mut table = bare_table(&["check", "kind", "verdict", "detail"]);
    for check in checks {
        let detail = if is_violation(check) { "violated, see below" } else { &check.detail };
        table.add_row([&check.name, kind_word(check.kind), words::verdict(check.verdict), detail]);
    }
    tidy(&table)
}

fn jobs_line(outcome: &Outcome) -> String {
    let jobs = &outcome.jobs;
    format!(
        "Jobs: {} submitted, {} completed, {} failed, {} lost, {} executed more than once. Sent: {}, all receivers counted.",
        words::count(jobs.submitted),
        words::count(jobs.completed),
        words::count(jobs.failed),
        words::count(jobs.lost),
        words::count(jobs.duplicate_executions),
        bytes(outcome.bytes_per_message_type.values().sum()),
    )
}

/// What was violated, what happened just before, and how to see it again.
fn violations(outcome: &Outcome, file: &str) -> Option<String> {
    let mut text = String::new();
    for check in outcome.checks.iter().filter(|c| is_violation(c)) {
        let at = match check.kind {
            CheckKind::Safety => {
                format!(" after {} at event {}", seconds(outcome.reached.0), words::count(outcome.events))
            }
            CheckKind::Liveness | CheckKind::Expect => String::new(),
        };
        text.push_str(&format!("VIOLATION of {} ({}){at}\n", check.name, kind_word(check.kind)));
        text.extend(check.detail.lines().map(|line| format!("  {line}\n")));
    }
    if text.is_empty() {
        return None;
    }
    if !outcome.last_changes.is_empty() {
        text.push_str("Last state changes, the newest last:\n");
        text.extend(outcome.last_changes.iter().map(|line| format!("  {line}\n")));
    }
    text.push_str(&format!("Reproduce: marlos-sim run {file} --seed {}", outcome.scenario.seed));
    Some(text)
}

fn verdict_line(outcome: &Outcome) -> String {
    let kpis = tally("KPI", outcome.kpis.iter().map(|k| k.verdict));
    let checks = tally("check", outcome.checks.iter().map(|c| c.verdict));
    format!("Verdict: {} ({kpis}; {checks})", words::verdict(outcome.verdict))
}

/// `KPIs: 5 PASS, 1 FAIL`, verdicts that do not occur left out.
fn tally(what: &str, verdicts: impl Iterator<Item = Verdict> + Clone) -> String {
    let counts: Vec<String> = [Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::NotApplicable]
        .into_iter()
        .map(|verdict| (verdict, verdicts.clone().filter(|v| *v == verdict).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {}", words::verdict(verdict)))
        .collect();
    if counts.is_empty() { format!("no {what}s") } else { format!("{what}s: {}", counts.join(", ")) }
}

/// A check whose failure is told in full below the table. A missed expectation is told in the table.
fn is_violation(check: &CheckResult) -> bool {
    check.verdict == Verdict::Fail && check.kind != CheckKind::Expect
}

fn kind_word(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Safety => "safety",
        CheckKind::Liveness => "liveness",
        CheckKind::Expect => "expect",
    }
}

/// Simulated time in seconds with three decimals at most: an event's place must be findable in a log.
fn seconds(micros: u64) -> String {
    format!("{} s", words::number(micros as f64 / 1e6))
}

fn bytes(bytes: u64) -> String {
    words::quantity(bytes as f64, "B")
}

/// A table with this header and rules above and below alone.
pub(crate) fn bare_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(header.to_vec());
    table
}

/// A column of figures.
pub(crate) fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Without the blanks at the ends of lines, which only make copies ragged.
pub(crate) fn tidy(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Verdicts in colour. Words alone carry the meaning, so nothing is lost without.
fn coloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    for (i, word) in text.split_inclusive([' ', '\n']).enumerate() {
        let bare = word.trim_end_matches([' ', '\n', ',', ')', ';']);
        let code = match bare {
            "PASS" => "32",
            "FAIL" | "VIOLATION" => "1;31",
            "UNKNOWN" => "33",
            "n/a" => "2",
            _ if i == 0 => "1",
            _ => "",
        };
        if code.is_empty() {
            out.push_str(word);
        } else {
            out.push_str(&format!("\u{1b}[{code}m{bare}\u{1b}[0m{}", &word[bare.len()..]));
        }
    }
    out
}

#[cfg(test)]
mod tests;
