//! Answers of the API as tables and sentences for people.

use base64::Engine;
use serde_json::{Map, Value};

/// `status`: one line per field.
#[must_use]
pub fn status(answer: &Value) -> String {
    let Value::Object(fields) = answer else { return answer.to_string() };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    fields.iter().map(|(key, value)| format!("{key:width$}  {}\n", plain(value))).collect()
}

/// `peers`.
#[must_use]
pub fn peers(answer: &Value) -> String {
    let columns =
        ["node_id", "node_name", "state", "trust", "pub_endpoint", "silent_ms", "round_trip_us", "capabilities"];
    table(answer, &columns, "no other node is known yet\n")
}

/// `wallet`: the own account, then everyone's.
#[must_use]
pub fn wallet(answer: &Value) -> String {
    let Value::Object(fields) = answer else { return answer.to_string() };
    let mut fields = fields.clone();
    let accounts = fields.remove("accounts").unwrap_or_default();
    fields.remove("balance_micro");
    format!(
        "{}\n{}",
        status(&Value::Object(fields)),
        table(&accounts, &["node_id", "balance"], "no account is known\n")
    )
}

/// `jobs`.
#[must_use]
pub fn jobs(answer: &Value) -> String {
    table(answer, &["job_id", "phase", "status", "round", "executor", "command"], "no job is known\n")
}

/// `jobs ID`: the fields, then the output.
#[must_use]
pub fn job(answer: &Value) -> String {
    let Value::Object(fields) = answer else { return answer.to_string() };
    let mut fields = fields.clone();
    let output = output(answer);
    let had = fields.remove("output").is_some();
    fields.remove("output_base64");
    let mut text = status(&Value::Object(fields));
    if had {
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&output));
    }
    text
}

/// A job's output, byte for byte.
#[must_use]
pub fn output(job: &Value) -> Vec<u8> {
    let exact = job["output_base64"].as_str().and_then(|t| base64::engine::general_purpose::STANDARD.decode(t).ok());
    exact.unwrap_or_else(|| job["output"].as_str().unwrap_or_default().as_bytes().to_vec())
}

/// One event of the stream.
#[must_use]
pub fn event(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return line.to_owned() };
    let name = fields.remove("event").map(|n| plain(&n)).unwrap_or_default();
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
    format!("{name:18} {}", fields.join(" "))
}

/// Prometheus' text as one JSON object.
#[must_use]
pub fn metrics_json(text: &str) -> Value {
    let mut fields = Map::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.rsplit_once(' ')
            && let Ok(value) = value.parse::<f64>()
        {
            fields.insert(name.to_owned(), value.into());
        }
    }
    Value::Object(fields)
}

fn table(answer: &Value, columns: &[&str], empty: &str) -> String {
    let Value::Array(rows) = answer else { return answer.to_string() };
    if rows.is_empty() {
        return empty.to_owned();
    }
    let mut cells = vec![columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()];
    cells.extend(rows.iter().map(|row| columns.iter().map(|c| short(&plain(&row[*c]))).collect()));
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A value for people. Control characters of other people's commands do not reach the terminal.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_a_line_per_row_and_no_control_characters() {
        let rows = json!([{ "job_id": "job-1", "phase": "open", "command": "a\u{1b}[31mb\nc", "round": 0 }]);
        let text = jobs(&rows);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("a [31mb c") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(jobs(&json!([])), "no job is known\n");
    }

    #[test]
    fn output_comes_out_byte_for_byte() {
        assert_eq!(output(&json!({ "output": "\u{fffd}", "output_base64": "/w==" })), [0xff]);
        assert_eq!(output(&json!({ "output": "plain" })), b"plain");
    }
}
