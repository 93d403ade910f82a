//! Laws of durations: how a scenario names them, and how a resolved scenario carries them.
//!
//! `empirical` reads a CSV file that stands beside the scenario. Its first line is `delay_ms`; every further line is one
//! measured delay in milliseconds, in any order; `#` starts a comment. Of more than [`limits::QUANTILES`] values only as many
//! evenly spaced quantiles are kept, the least and the greatest among them.

use marlos::time::Span;
use marlos::units::write_millionths;

use super::diagnostic::Problem;
use super::fields::{Fields, Item, Read};
use super::limits;
use super::parse::Beside;
use super::write::{quoted, span};

/// A law of durations, such as of one-way delays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum LatencyLaw {
    /// Always this.
    Constant(Span),
    /// Evenly between the two.
    Uniform { min: Span, max: Span },
    /// Normal, cut off at zero.
    Normal { mean: Span, deviation: Span },
    /// Lognormal, by its median and 99th percentile.
    Lognormal { median: Span, p99: Span },
    /// Pareto: never below `scale`, and above x with probability (scale / x) ^ shape. The smaller the shape the heavier the
    /// tail; what is longer than a day is a day.
    Pareto { scale: Span, shape_millionths: u64 },
    /// As measured: quantiles from the least to the greatest, evenly spaced in probability, straight lines between them.
    Empirical { file: String, quantiles: Vec<Span> },
}

/// Each law with its own keys.
const LAWS: [(&str, &[&str]); 6] = [
    ("constant", &["value"]),
    ("uniform", &["min", "max"]),
    ("normal", &["mean", "deviation"]),
    ("lognormal", &["median", "p99"]),
    ("pareto", &["scale", "shape"]),
    // `quantiles` stands in resolved scenarios, which are run from anywhere: the file is not read then.
    ("empirical", &["file", "quantiles"]),
];

/// Shapes of a Pareto law. At 1 and below it has no mean.
const SHAPE_MILLIONTHS: std::ops::RangeInclusive<u64> = 1_010_000..=100_000_000;

impl LatencyLaw {
    /// A table with `distribution` and its keys, or one duration, which is then constant. None of its times is longer than
    /// `most`, but for what a tail brings.
    pub(super) fn read(item: Item<'_>, most: Span, beside: Beside<'_>) -> Read<LatencyLaw> {
        if item.value.get_ref().is_str() {
            return item.duration(Span::ZERO..=most).map(LatencyLaw::Constant);
        }
        let all: Vec<&str> =
            ["distribution"].into_iter().chain(LAWS.iter().flat_map(|(_, keys)| keys.iter().copied())).collect();
        let fields = Fields::of(item, &format!("`{}`", item.name), &all)?;
        let law = fields.need("distribution")?.one_of(&LAWS.map(|(name, _)| name), &[])?;
        let (name, keys) = LAWS[law];
        let article = if name == "empirical" { "an" } else { "a" };
        let fields = Fields::of(item, &format!("{article} {name} law"), &[&["distribution"], keys].concat())?;
        let read = |key| fields.need(key)?.duration(Span::ZERO..=most);
        let ordered = |low: Span, high: Span| {
            let message = format!("`{}`: {} is less than {}", item.name, keys[1], keys[0]);
            if low <= high { Ok(()) } else { Err(item.problem(message, format!("{high} < {low}"))) }
        };
        let not_zero = |value: Span| {
            let message = format!("the {} of a {name} law cannot be zero", keys[0]);
            if value > Span::ZERO { Ok(()) } else { Err(item.problem(message, "write \"0s\" for no delay")) }
        };
        Ok(match name {
            "constant" => LatencyLaw::Constant(read("value")?),
            "uniform" => {
                let (min, max) = (read("min")?, read("max")?);
                ordered(min, max)?;
                LatencyLaw::Uniform { min, max }
            }
            "normal" => LatencyLaw::Normal { mean: read("mean")?, deviation: read("deviation")? },
            "lognormal" => {
                let (median, p99) = (read("median")?, read("p99")?);
                ordered(median, p99)?;
                not_zero(median)?;
                LatencyLaw::Lognormal { median, p99 }
            }
            "pareto" => {
                let scale = read("scale")?;
                not_zero(scale)?;
                LatencyLaw::Pareto { scale, shape_millionths: fields.need("shape")?.millionths(SHAPE_MILLIONTHS)? }
            }
            _ => empirical(&fields, most, beside)?,
        })
    }

    /// As [`LatencyLaw::read`] reads it.
    pub(super) fn written(&self) -> String {
        let two = |law: &str, a: (&str, Span), b: (&str, Span)| {
            format!("{{ distribution = \"{law}\", {} = {}, {} = {} }}", a.0, span(a.1), b.0, span(b.1))
        };
        match self {
            LatencyLaw::Constant(value) => format!("{{ distribution = \"constant\", value = {} }}", span(*value)),
            LatencyLaw::Uniform { min, max } => two("uniform", ("min", *min), ("max", *max)),
            LatencyLaw::Normal { mean, deviation } => two("normal", ("mean", *mean), ("deviation", *deviation)),
            LatencyLaw::Lognormal { median, p99 } => two("lognormal", ("median", *median), ("p99", *p99)),
            LatencyLaw::Pareto { scale, shape_millionths } => {
                let mut shape = String::new();
                write_millionths(&mut shape, *shape_millionths).expect("a String takes everything");
                format!("{{ distribution = \"pareto\", scale = {}, shape = {shape} }}", span(*scale))
            }
            LatencyLaw::Empirical { file, quantiles } => {
                let quantiles: Vec<String> = quantiles.iter().map(|value| span(*value)).collect();
                let (file, quantiles) = (quoted(file), quantiles.join(", "));
                format!("{{ distribution = \"empirical\", file = {file}, quantiles = [{quantiles}] }}")
            }
        }
    }
}

fn empirical(fields: &Fields<'_>, most: Span, beside: Beside<'_>) -> Read<LatencyLaw> {
    let item = fields.need("file")?;
    let file = item.short_text(255)?.to_owned();
    if let Some(inline) = fields.get("quantiles") {
        let values = inline.list()?;
        if values.is_empty() || values.len() > limits::QUANTILES {
            return Err(inline.problem(format!("{} quantiles", values.len()), format!("1 to {}", limits::QUANTILES)));
        }
        let quantiles: Vec<Span> = values.iter().map(|value| value.duration(Span::ZERO..=most)).collect::<Read<_>>()?;
        if !quantiles.is_sorted() {
            return Err(inline.problem("`quantiles` must rise", "from the least to the greatest"));
        }
        return Ok(LatencyLaw::Empirical { file, quantiles });
    }
    let problem = |why: String| -> Problem { item.problem(format!("`{file}`: {why}"), "these measurements") };
    let text = beside(&file).map_err(|why| item.problem(why, "relative to the scenario's directory"))?;
    let values = measured(&text, most).map_err(problem)?;
    Ok(LatencyLaw::Empirical { file, quantiles: thinned(&values) })
}

/// The values of a file of measurements, sorted.
fn measured(text: &str, most: Span) -> Result<Vec<Span>, String> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?;
    if !header.iter().eq(["delay_ms"]) {
        return Err("the first line must be `delay_ms`, and every further line one number of milliseconds".to_owned());
    }
    let mut values = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = if record.len() == 1 { &record[0] } else { "" };
        values.push(milliseconds(cell, most).ok_or_else(|| {
            format!("line {line}: not one number of milliseconds up to {}", most.as_micros() / 1_000)
        })?);
    }
    if values.is_empty() {
        return Err("no measurement in it".to_owned());
    }
    values.sort_unstable();
    Ok(values)
}

/// A number of milliseconds, as CSV files have it.
pub(super) fn milliseconds(cell: &str, most: Span) -> Option<Span> {
    Span::parse(&format!("{cell}ms")).ok().filter(|span| *span <= most)
}

/// At most [`limits::QUANTILES`] of sorted values, evenly spaced.
fn thinned(values: &[Span]) -> Vec<Span> {
    let kept = values.len().min(limits::QUANTILES);
    let last = values.len() - 1;
    (0..kept).map(|at| values[if kept == 1 { 0 } else { (at * last + (kept - 1) / 2) / (kept - 1) }]).collect()
}
