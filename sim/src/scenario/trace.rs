//! Jobs as they were once submitted: a CSV file that stands beside the scenario.
//!
//! The first line names the columns, in any order; `#` starts a comment. `at_s` must be there: seconds since `start` of the
//! workload, in any order of the lines. The others may be left out, or a cell left empty: then `from` is drawn among the submitters,
//! and the rest is as `job` has it. `from` (a node), `type`, `duration_s`, `payment`, `priority`, `deadline_s`, `requirements`
//! (with `;` between them), `output_bytes`, `fails` (0 or 1).

use std::fmt::Write as _;

use marlos::time::Span;
use marlos::units::{Ppm, Tokens, parse_millionths};

use super::nodes::Names;
use super::{JobTemplate, LatencyLaw, NodeNo, limits};

/// The jobs of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The CSV file it was read from, as the scenario names it.
    pub file: String,
    /// By rising time; at least one.
    pub jobs: Vec<TraceJob>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceJob {
    /// Since the workload's start.
    pub at: Span,
    /// Who submits it; otherwise drawn.
    pub from: Option<NodeNo>,
    /// What it is. Its duration is constant where the trace says it, and it fails always or never where the trace says so.
    pub job: JobTemplate,
}

const COLUMNS: [&str; 9] =
    ["at_s", "from", "type", "duration_s", "payment", "priority", "deadline_s", "requirements", "output_bytes"];
const FAILS: &str = "fails";

impl Trace {
    /// Reads a trace; what a line does not say is as `job` has it.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its line.
    pub(super) fn parse(file: &str, text: &str, job: &JobTemplate, names: &Names) -> Result<Trace, String> {
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        for (at, column) in header.iter().enumerate() {
            if !COLUMNS.contains(&column) && column != FAILS {
                let all = super::diagnostic::list(COLUMNS.into_iter().chain([FAILS]));
                return Err(match super::did_you_mean(column, COLUMNS.into_iter().chain([FAILS])) {
                    Some(hint) => format!("there is no column `{}`: {hint}", column.escape_debug()),
                    None => format!("there is no column `{}`; there may be {all}", column.escape_debug()),
                });
            }
            if header.iter().position(|other| other == column) != Some(at) {
                return Err(format!("two columns are named `{column}`"));
            }
        }
        if !header.iter().any(|column| column == COLUMNS[0]) {
            return Err("the first line names no column `at_s`".to_owned());
        }
        let mut jobs = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != header.len() {
                return Err(format!("line {line}: {} cells, not {}", record.len(), header.len()));
            }
            let cells = header.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
            let mut one = TraceJob { at: limits::DURATION, from: None, job: job.clone() };
            let mut timed = false;
            for (column, cell) in cells {
                timed |= column == COLUMNS[0];
                one.set(column, cell, names).map_err(|why| format!("line {line}, {column}: {why}"))?;
            }
            if !timed {
                return Err(format!("line {line} has no `at_s`"));
            }
            jobs.push(one);
            if jobs.len() > limits::TRACE_JOBS {
                return Err(format!("more than {} jobs", limits::TRACE_JOBS));
            }
        }
        if jobs.is_empty() {
            return Err("no job in it".to_owned());
        }
        jobs.sort_by_key(|job| job.at);
        Ok(Trace { file: file.to_owned(), jobs })
    }

    /// As [`Trace::parse`] reads it, with everything that can differ from `job`.
    pub(super) fn written(&self) -> String {
        let mut out = COLUMNS.join(",") + "," + FAILS + "\n";
        for TraceJob { at, from, job } in &self.jobs {
            let seconds = |span: Span| Tokens(span.as_micros()).to_string();
            let cells = [
                seconds(*at),
                from.map_or_else(String::new, |node| format!("n{node}")),
                job.job_type.clone(),
                if let LatencyLaw::Constant(span) = job.duration { seconds(span) } else { String::new() },
                job.payment.to_string(),
                job.priority.to_string(),
                seconds(job.deadline),
                job.requirements.join(";"),
                job.output_bytes.to_string(),
                match job.failing {
                    Ppm(0) => "0".to_owned(),
                    Ppm::ONE => "1".to_owned(),
                    Ppm(_) => String::new(),
                },
            ];
            writeln!(out, "{}", cells.join(",")).expect("a String takes everything");
        }
        out
    }
}

impl TraceJob {
    fn set(&mut self, column: &str, cell: &str, names: &Names) -> Result<(), String> {
        let number = |most: u64| {
            let value = parse_millionths(cell).filter(|value| *value <= most);
            value.ok_or_else(|| format!("`{cell}` is no number from 0 to {}", Tokens(most)))
        };
        // Seconds of six decimals are microseconds.
        let seconds = |most: Span| number(most.as_micros()).map(Span::micros);
        match column {
            "at_s" => self.at = seconds(limits::DURATION)?,
            "from" => self.from = Some(names.one(cell)?),
            "type" => self.job.job_type = word(cell)?,
            "duration_s" => self.job.duration = LatencyLaw::Constant(seconds(limits::JOB)?),
            "payment" => self.job.payment = Tokens(number(1_000_000_000_000_000)?),
            "priority" => self.job.priority = Ppm(u32::try_from(number(1_000_000)?).expect("in range")),
            "deadline_s" => self.job.deadline = seconds(limits::DEADLINE)?.max(Span::millis(1)),
            "requirements" => {
                self.job.requirements = cell.split(';').map(|part| word(part.trim())).collect::<Result<_, _>>()?;
                if self.job.requirements.len() > limits::REQUIREMENTS {
                    return Err(format!("more than {} requirements", limits::REQUIREMENTS));
                }
            }
            "output_bytes" => {
                let bytes = cell.parse().ok().filter(|bytes| *bytes <= limits::OUTPUT_BYTES);
                self.job.output_bytes = bytes.ok_or_else(|| format!("`{cell}` is no number of bytes up to 16 MiB"))?;
            }
            _ => {
                self.job.failing = match cell {
                    "0" => Ppm(0),
                    "1" => Ppm::ONE,
                    _ => return Err(format!("`{cell}` is neither 0 nor 1")),
                };
            }
        }
        Ok(())
    }
}

/// A name that needs no quotes in any file.
fn word(cell: &str) -> Result<String, String> {
    let plain = cell.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/+".contains(c));
    let short = !cell.is_empty() && cell.len() <= 32;
    let message = || format!("`{}` is no name: 1 to 32 letters, digits, and - _ . : / +", cell.escape_debug());
    if plain && short { Ok(cell.to_owned()) } else { Err(message()) }
}
