//! A comparison as a comment of a pull request: the verdict, what differs, and the rest behind a fold.

use super::family::{Row, Says};
use super::{Compared, Comparison, table};

/// Everything, ending in a line break.
#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let title = if comparison.regressed { "❌ MarlOS: regression" } else { "✅ MarlOS: no regression found" };
    let mut parts = vec![format!("### {title}")];
    parts.extend(comparison.cases.iter().map(case));
    parts.extend(table::alone(comparison).map(|text| escaped(&text)));
    parts.push(format!("<sub>{}</sub>", escaped(&table::how_sure())));
    parts.join("\n\n") + "\n"
}

fn case(case: &Compared) -> String {
    let mut parts = vec![format!("**{}**", escaped(&table::heading(case)).replace('\n', "  \n"))];
    let turned: Vec<String> = case
        .turns
        .iter()
        .map(|turn| {
            let mark = if turn.regression { "❌ " } else { "" };
            format!("- {mark}{}", escaped(&table::turn_line(turn)).replace('\n', "  \n "))
        })
        .collect();
    if !turned.is_empty() {
        parts.push(turned.join("\n"));
    }
    let (changed, rest): (Vec<&Row>, Vec<&Row>) =
        case.rows.iter().partition(|row| matches!(row.says, Says::Worse | Says::Better));
    if !changed.is_empty() {
        parts.push(rows(&changed));
    }
    let differing: Vec<&Row> = rest.into_iter().filter(|row| row.says != Says::Identical).collect();
    let mut folded = Vec::new();
    if !differing.is_empty() {
        folded.push(rows(&differing));
    }
    folded.extend(table::identical(case).map(|line| escaped(&line)));
    if !folded.is_empty() {
        let summary = format!("{} neither better nor worse", case.rows.len() - changed.len());
        parts.push(format!("<details><summary>{summary}</summary>\n\n{}\n\n</details>", folded.join("\n\n")));
    }
    parts.join("\n\n")
}

fn rows(rows: &[&Row]) -> String {
    let mut lines = vec![
        "| KPI | BASE | NEW | change | interval | seeds | says |".to_owned(),
        "|---|--:|--:|--:|--:|--:|---|".to_owned(),
    ];
    for row in rows {
        let mut cells = table::cells(row).map(|cell| escaped(&cell));
        if row.says == Says::Worse {
            cells[6] = "**WORSE**".to_owned();
        }
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    lines.join("\n")
}

/// What others wrote, such as names and details, as plain text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}
