//! A comparison as a CI server shows test results: a suite for each case, a test for each figure and each verdict that turned.
//!
//! Written by hand: it is four elements, and the crates that write them bring a clock and random ids.

use super::family::Says;
use super::{Compared, Comparison, table};

/// `JUnit` XML, ending in a line break.
#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"marlos-sim compare\">\n".to_owned();
    comparison.cases.iter().for_each(|case| text.push_str(&suite(case)));
    text.push_str("</testsuites>\n");
    text
}

fn suite(case: &Compared) -> String {
    let mut tests: Vec<String> = Vec::new();
    let (mut failures, mut skipped) = (0, 0);
    for turn in &case.turns {
        let said = table::turn_line(turn);
        failures += usize::from(turn.regression);
        tests.push(test(case, &turn.what, turn.regression.then_some(("failure", said.as_str()))));
    }
    for row in &case.rows {
        let [_, base, new, change, interval, ..] = table::cells(row);
        let said = format!("{}: {base} to {new}, {change} ({interval})", row.says.word());
        let outcome = match row.says {
            Says::Worse => Some(("failure", said.as_str())),
            Says::CannotTell => Some(("skipped", said.as_str())),
            Says::Better | Says::Same | Says::Identical => None,
        };
        failures += usize::from(row.says == Says::Worse);
        skipped += usize::from(row.says == Says::CannotTell);
        tests.push(test(case, &table::label(row), outcome));
    }
    format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n{}  </testsuite>\n",
        escaped(&case.name),
        tests.len(),
        tests.concat()
    )
}

fn test(case: &Compared, name: &str, outcome: Option<(&str, &str)>) -> String {
    let head = format!("    <testcase classname=\"{}\" name=\"{}\"", escaped(&case.name), escaped(name));
    match outcome {
        None => format!("{head}/>\n"),
        Some((element, said)) => {
            format!("{head}>\n      <{element} message=\"{}\"/>\n    </testcase>\n", escaped(said))
        }
    }
}

/// As an attribute's value. What XML does not know at all, such as other control characters, becomes a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            _ => out.push(c),
        }
    }
    out
}
