//! A sweep for people: a table for each case, and the commands that show its worst runs again.

use super::results::{ManifestCase, Results};
use super::tally::{KpiTally, Tally};
use crate::report::table::{bare_table, right, tidy};
use crate::report::words;

/// Everything, ending in a line break.
#[must_use]
pub fn render(results: &Results) -> String {
    let manifest = &results.manifest;
    let mut parts: Vec<String> =
        manifest.cases.iter().zip(&results.tallies).filter(|(_, tally)| tally.runs > 0).map(case).collect();
    let (runs, passed) = results.tallies.iter().fold((0, 0), |(r, p), tally| (r + tally.runs, p + tally.passed));
    let mut last = format!("{} of {} runs passed", words::count(passed), words::count(runs));
    if manifest.done < manifest.planned {
        last.push_str(&format!("; {} of {} planned were not done", manifest.planned - runs, manifest.planned));
    }
    parts.push(last);
    parts.join("\n\n") + "\n"
}

fn case((case, tally): (&ManifestCase, &Tally)) -> String {
    let setting = if case.settings.is_empty() { String::new() } else { format!(" with {}", case.setting()) };
    let mut text = format!(
        "{}{setting}: {} of {} runs passed; jobs: {} submitted, {} completed, {} lost\n",
        case.scenario,
        words::count(tally.passed),
        words::count(tally.runs),
        words::count(tally.submitted),
        words::count(tally.completed),
        words::count(tally.lost),
    );
    text.push_str(&kpi_table(&tally.kpis));
    for (check, named) in &tally.violated {
        let seeds: Vec<String> = named.seeds.iter().map(u64::to_string).collect();
        let more = if named.count > named.seeds.len() as u64 { ", .." } else { "" };
        text.push_str(&format!("\n{check} violated in {} runs: seeds {}{more}", named.count, seeds.join(", ")));
    }
    for failure in &tally.worst {
        text.push_str(&format!("\n{}\n    exit {}, {}", command(case, failure.seed), failure.exit, failure.why));
    }
    text
}

fn kpi_table(kpis: &[KpiTally]) -> String {
    let mut table = bare_table(&["KPI", "judged", "median", "worst", "at seed", "passed"]);
    for kpi in kpis.iter().filter(|kpi| !kpi.values.is_empty() || kpi.judged > 0) {
        let row = &kpi.of;
        let shown = |value: f64| words::quantity(value, &row.unit);
        let judged = match row.target {
            Some(target) => {
                format!("{} {} {}", row.statistic, row.comparison, words::exact_quantity(target, &row.unit))
            }
            None => row.statistic.clone(),
        };
        let worst = kpi.worst();
        table.add_row([
            row.kpi.clone(),
            judged,
            kpi.median().map_or_else(|| "-".to_owned(), shown),
            worst.map_or_else(|| "-".to_owned(), |(value, _)| shown(value)),
            worst.map_or_else(String::new, |(_, seed)| seed.to_string()),
            if kpi.judged == 0 { "not judged".to_owned() } else { format!("{} of {}", kpi.passed, kpi.judged) },
        ]);
    }
    (2..=5).for_each(|column| right(&mut table, column));
    tidy(&table)
}

/// The command that does one run of a case again.
#[must_use]
pub fn command(case: &ManifestCase, seed: u64) -> String {
    let mut command = format!("marlos-sim run {} --seed {seed}", shell(&case.file));
    for setting in &case.settings {
        command.push_str(&format!(" --set {}", shell(setting)));
    }
    command
}

/// A word as a shell takes it.
#[must_use]
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=%:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
