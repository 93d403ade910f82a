//! How quantities, targets and verdicts are written, for people and for programs.

use marlos::io::FailReason;

use super::summary::judged_statistic;
use crate::outcome::{KpiResult, Verdict};
use crate::scenario::{Comparison, Fault, FaultKind, KpiTarget, NodeNo, Statistic};

/// A quantity of a KPI's unit in the unit that reads best, with three significant digits: `12.3 ms`, `1.50 s`, `9.87 KB`.
#[must_use]
pub fn quantity(value: f64, unit: &str) -> String {
    let (scaled, shown) = scale(value, unit);
    let decimals = match scaled.abs() {
        _ if scaled == 0.0 || matches!(shown, "B" | "") && scaled.fract() == 0.0 => 0,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    with_unit(&fixed(scaled, decimals), shown)
}

/// As [`quantity`], with as many more digits as it takes to look different from a target that it differs from.
/// Otherwise 49.97 ms would read as "50.0 ms" beside "< 50 ms" and a PASS.
#[must_use]
pub fn quantity_beside(value: f64, target: f64, unit: &str) -> String {
    let rounded = quantity(value, unit);
    let alike = |text: &str| trimmed(text.split(' ').next().unwrap_or_default()) == trimmed(&number_of(target, unit));
    if value == target || !alike(&rounded) {
        return rounded;
    }
    let (scaled, shown) = scale(value, unit);
    (3..=6).map(|d| with_unit(&fixed(scaled, d), shown)).find(|text| !alike(text)).unwrap_or(rounded)
}

/// A target without its statistic: `< 50 ms`, `3 s ± 5 %`, `≥ 100 /s`.
#[must_use]
pub fn target(target: &KpiTarget, unit: &str) -> String {
    let bound = exact_quantity(target.target, unit);
    match target.comparison {
        Comparison::Less => format!("< {bound}"),
        Comparison::AtMost => format!("≤ {bound}"),
        Comparison::AtLeast => format!("≥ {bound}"),
        Comparison::Greater => format!("> {bound}"),
        Comparison::Equal => format!("= {bound}"),
        Comparison::Within(percent) => format!("{bound} ± {percent} %"),
    }
}

/// A quantity with up to six decimals and no trailing zeros, for bounds that somebody wrote.
#[must_use]
pub fn exact_quantity(value: f64, unit: &str) -> String {
    with_unit(&number_of(value, unit), scale(value, unit).1)
}

/// A plain number without a unit, with up to six decimals and no trailing zeros: ticks of an axis.
#[must_use]
pub fn number(value: f64) -> String {
    trimmed(&fixed(value, 6)).to_owned()
}

/// A whole number with its thousands apart: `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The statistic as `summary.json` and scenario files name it.
#[must_use]
pub fn statistic(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::P50 => "p50",
        Statistic::P90 => "p90",
        Statistic::P99 => "p99",
        Statistic::Max => "max",
        Statistic::Mean => "mean",
        Statistic::Count => "count",
    }
}

/// The comparison as `summary.json` names it: `<`, `<=`, `>=`, `>`, `==`, `within 5%`.
#[must_use]
pub fn comparison(comparison: Comparison) -> String {
    match comparison {
        Comparison::Less => "<".to_owned(),
        Comparison::AtMost => "<=".to_owned(),
        Comparison::AtLeast => ">=".to_owned(),
        Comparison::Greater => ">".to_owned(),
        Comparison::Equal => "==".to_owned(),
        Comparison::Within(percent) => format!("within {percent}%"),
    }
}

/// The verdict, as everywhere.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::NotApplicable => "n/a",
        Verdict::Unknown => "UNKNOWN",
        Verdict::Fail => "FAIL",
    }
}

/// What was measured of a KPI, with its statistic: `p99 12.3 ms`.
#[must_use]
pub fn measured(kpi: &KpiResult) -> String {
    let Some(value) = kpi.measured else { return "-".to_owned() };
    let shown =
        kpi.target.map_or_else(|| quantity(value, kpi.unit), |target| quantity_beside(value, target.target, kpi.unit));
    format!("{} {shown}", judged_statistic(kpi))
}

/// What a check guards, in a sentence; nothing for an expectation, which is one itself.
#[must_use]
pub fn check(name: &str) -> &'static str {
    match name {
        "S1" => "One claim certificate for each round of a job, with the votes of a quorum",
        "S2" => "Nobody runs a job without a certificate of its own; one node for each round",
        "S3" => "One certified transaction for each account and number",
        "S4" => "Nothing forged, replayed, stale or misdirected is accepted",
        "S5" => "No honest node is banned or quarantined by honest ones",
        "ledger" => "No money is made or lost, and no job is paid twice",
        "L1" => "Once it is quiet, all live nodes that reach each other hold each other for alive",
        "L2" => "Every accepted job ends, in a result or a visible failure",
        "L3" => "Once it is quiet, all live nodes that reach each other hold the same state",
        _ => "",
    }
}

/// Why a job was given up.
#[must_use]
pub fn fail_reason(reason: FailReason) -> &'static str {
    match reason {
        FailReason::NoQuorum => "no quorum",
        FailReason::NoBids => "no bids",
        FailReason::NoClaim => "no claim",
        FailReason::NoResult => "no result",
    }
}

/// A KPI's name as a title: `Message latency`.
#[must_use]
pub fn title(name: &str) -> String {
    let mut text = name.replace('_', " ");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// A fault in a few words: `partition 6 | 4`, `crash n3`, `leave 12 nodes`.
#[must_use]
pub fn fault(fault: &Fault) -> String {
    match &fault.kind {
        FaultKind::Partition { groups } => {
            let sizes: Vec<String> = groups.iter().map(|g| g.len().to_string()).collect();
            format!("partition {}", sizes.join(" | "))
        }
        FaultKind::OneWay { from, to } => format!("one-way {} → {}", nodes(from), nodes(to)),
        FaultKind::Link { between: [a, b], .. } => format!("link {} – {}", nodes(a), nodes(b)),
        FaultKind::Crash { nodes: n, .. } => format!("crash {}", nodes(n)),
        FaultKind::Pause { nodes: n } => format!("pause {}", nodes(n)),
        FaultKind::Slow { nodes: n, .. } => format!("slow {}", nodes(n)),
        FaultKind::Join { nodes: n } => format!("join {}", nodes(n)),
        FaultKind::Leave { nodes: n } => format!("leave {}", nodes(n)),
        FaultKind::Rotate { nodes: n } => format!("rotate {}", nodes(n)),
        FaultKind::Clock { nodes: n, .. } => format!("clock {}", nodes(n)),
        FaultKind::Byzantine { nodes: n, behaviour } => format!("{} {}", behaviour.name(), nodes(n)),
    }
}

/// Up to two nodes by name, more by number.
fn nodes(nodes: &[NodeNo]) -> String {
    match nodes {
        [one] => format!("n{one}"),
        [one, two] => format!("n{one}, n{two}"),
        many => format!("{} nodes", many.len()),
    }
}

/// The value in the best unit, and that unit as it is shown.
fn scale(value: f64, unit: &str) -> (f64, &str) {
    let size = value.abs();
    match unit {
        "ms" if size >= 1_000.0 => (value / 1_000.0, "s"),
        "ms" if size > 0.0 && size < 0.1 => (value * 1_000.0, "µs"),
        "s" if size > 0.0 && size < 1.0 => (value * 1_000.0, "ms"),
        "B" if size >= 1e9 => (value / 1e9, "GB"),
        "B" if size >= 1e6 => (value / 1e6, "MB"),
        "B" if size >= 1e3 => (value / 1e3, "KB"),
        "1/s" => (value, "/s"),
        "1" => (value, ""),
        same => (value, same),
    }
}

/// A bound's number in its best unit.
fn number_of(value: f64, unit: &str) -> String {
    number(scale(value, unit).0)
}

fn with_unit(number: &str, unit: &str) -> String {
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// A number with so many decimals and its thousands apart.
fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Without the zeros that say nothing.
fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_shown_in_the_unit_that_reads_best() {
        let table = [
            (0.0, "ms", "0 ms"),
            (0.012, "ms", "12.0 µs"),
            (0.25, "ms", "0.25 ms"),
            (12.345, "ms", "12.3 ms"),
            (1500.0, "ms", "1.50 s"),
            (0.25, "s", "250 ms"),
            (3.0, "s", "3.00 s"),
            (999.0, "B", "999 B"),
            (9_870.0, "B", "9.87 KB"),
            (12_345_678.0, "B", "12.3 MB"),
            (104.2, "1/s", "104 /s"),
            (3.0, "1", "3"),
            (12_345.0, "1", "12,345"),
        ];
        for (value, unit, text) in table {
            assert_eq!(quantity(value, unit), text);
        }
    }

    #[test]
    fn a_value_just_short_of_its_target_does_not_look_equal_to_it() {
        assert_eq!(quantity_beside(49.97, 50.0, "ms"), "49.970 ms");
        assert_eq!(quantity_beside(50.0, 50.0, "ms"), "50.0 ms");
        assert_eq!(quantity_beside(12.345, 50.0, "ms"), "12.3 ms");
    }

    #[test]
    fn targets_keep_every_digit_that_was_written() {
        let of = |comparison, value| KpiTarget { statistic: Statistic::P99, comparison, target: value };
        assert_eq!(target(&of(Comparison::Less, 50.0), "ms"), "< 50 ms");
        assert_eq!(target(&of(Comparison::Less, 12_345.0), "B"), "< 12.345 KB");
        assert_eq!(target(&of(Comparison::AtLeast, 100.0), "1/s"), "≥ 100 /s");
        assert_eq!(target(&of(Comparison::Within(5), 3.0), "s"), "3 s ± 5 %");
        assert_eq!(target(&of(Comparison::Equal, 0.0), "1"), "= 0");
    }
}
