//! Round-trip times between regions: a CSV file that stands beside the scenario.

use marlos::time::Span;

use super::fields::{Fields, Item, Read};
use super::law::milliseconds;
use super::limits;

/// Round-trip times between regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionMatrix {
    /// The CSV file it was read from, as the scenario names it.
    pub file: String,
    /// Region names, in the order of the matrix.
    pub names: Vec<String>,
    /// `rtt[a][b]`, symmetric where the file says only one direction.
    pub rtt: Vec<Vec<Span>>,
}

impl RegionMatrix {
    /// How many regions, and the shortest and longest round trips between two of them.
    #[must_use]
    pub fn describe(&self) -> String {
        let others = |a: usize| self.rtt[a].iter().enumerate().filter(move |(b, _)| *b != a).map(|(_, rtt)| *rtt);
        let between = || (0..self.names.len()).flat_map(others);
        let (Some(least), Some(most)) = (between().min(), between().max()) else {
            return format!("one region of {}", self.file);
        };
        format!("{} regions of {}, round trips of {least} to {most}", self.names.len(), self.file)
    }
}

/// The matrix as a resolved scenario carries it, so that it can be run from anywhere.
pub(super) fn read_inline(item: Item<'_>, file: &str) -> Read<RegionMatrix> {
    let fields = Fields::of(item, "`regions`", &["names", "rtt"])?;
    let names: Vec<String> =
        fields.need("names")?.list()?.iter().map(|n| n.short_text(32).map(str::to_owned)).collect::<Read<_>>()?;
    let row = |row: &Item<'_>| -> Read<Vec<Span>> {
        row.list()?.iter().map(|cell| cell.duration(Span::ZERO..=limits::LATENCY)).collect()
    };
    let rtt = fields.need("rtt")?.list()?.iter().map(row).collect::<Read<Vec<_>>>()?;
    check_names(&names).map_err(|why| item.problem(why, "in `names`"))?;
    if rtt.len() != names.len() || rtt.iter().any(|row| row.len() != names.len()) {
        let message = format!("`rtt` must have {0} rows of {0} durations, as there are {0} names", names.len());
        return Err(item.problem(message, "not square"));
    }
    Ok(RegionMatrix { file: file.to_owned(), names, rtt })
}

fn check_names(names: &[String]) -> Result<(), String> {
    if names.is_empty() || names.len() > limits::REGIONS {
        return Err(format!("{} regions; 1 to {} are allowed", names.len(), limits::REGIONS));
    }
    if let Some(bad) = names.iter().find(|n| n.is_empty() || n.len() > 32 || n.chars().any(char::is_control)) {
        return Err(format!("`{}` cannot name a region: 1 to 32 bytes", bad.escape_debug()));
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two regions are named `{}`", pair[0])),
        None => Ok(()),
    }
}

/// A matrix of round trips in milliseconds: the first line and the first column name the regions, in one order; `#` starts a
/// comment. The row is where a round trip begins, the column where it turns. An empty cell is what the other direction says; an
/// empty cell of a region with itself is zero, so that nothing but the network's law is between its nodes.
pub(super) fn matrix(file: &str, text: &str) -> Result<RegionMatrix, String> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let names: Vec<String> = header.iter().skip(1).map(str::to_owned).collect();
    check_names(&names)?;
    let mut cells: Vec<Vec<Option<Span>>> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let expected = names.get(cells.len()).ok_or_else(|| format!("line {line}: more rows than columns"))?;
        if record.get(0) != Some(expected) {
            return Err(format!("line {line}: this row must be `{expected}`, in the order of the first line"));
        }
        if record.len() != names.len() + 1 {
            return Err(format!("line {line}: {} cells, not {}", record.len(), names.len() + 1));
        }
        cells.push(record.iter().skip(1).map(|cell| round_trip(cell, line)).collect::<Result<_, _>>()?);
    }
    if cells.len() != names.len() {
        return Err(format!("{} rows for {} regions", cells.len(), names.len()));
    }
    let rtt_of = |a: usize, b: usize| {
        let rtt = cells[a][b].or(cells[b][a]).or((a == b).then_some(Span::ZERO));
        rtt.ok_or_else(|| format!("no round trip between `{}` and `{}`", names[a], names[b]))
    };
    let row = |a| (0..names.len()).map(|b| rtt_of(a, b)).collect::<Result<Vec<_>, _>>();
    let rtt = (0..names.len()).map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(RegionMatrix { file: file.to_owned(), names, rtt })
}

fn round_trip(cell: &str, line: u64) -> Result<Option<Span>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    let rtt = milliseconds(cell, limits::LATENCY);
    rtt.map(Some).ok_or_else(|| format!("line {line}: `{cell}` is not a number of milliseconds"))
}
