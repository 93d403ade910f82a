//! `[network]`: a profile, and what differs from it.

use marlos::time::Span;
use marlos::units::Ppm;

use super::fields::{Fields, Item, Read};
use super::{LatencyLaw, NetworkSpec, RegionMatrix, Topology, limits};

const KEYS: [&str; 10] = [
    "profile",
    "latency",
    "loss",
    "bandwidth",
    "queue",
    "multicast",
    "high_water_mark",
    "connection_timeout",
    "topology",
    "regions",
];

const PROFILES: [&str; 6] = ["ideal", "lan", "metro", "wan", "wifi", "satellite"];

/// Reads a file that stands beside the scenario.
pub(super) type Beside<'f> = &'f dyn Fn(&str) -> Result<String, String>;

/// `[network]`; a local network where there is none.
pub(super) fn read(item: Option<Item<'_>>, beside: Beside<'_>) -> Read<NetworkSpec> {
    let Some(item) = item else {
        return Ok(profile(1));
    };
    let fields = Fields::of(item, "`[network]`", &KEYS)?;
    let index = fields.get("profile").map(|item| item.one_of(&PROFILES, &[])).transpose()?;
    let mut network = profile(index.unwrap_or(1));
    if let Some(item) = fields.get("topology") {
        (network.topology, network.regions) = topology(item, fields.get("regions"), beside)?;
        if network.topology == Topology::Regions {
            // The matrix holds the distance; what is left is jitter. A guess: a few per cent of a long path.
            network.latency = LatencyLaw::Lognormal { median: Span::millis(1), p99: Span::millis(5) };
        }
    } else if let Some(item) = fields.get("regions") {
        return Err(item.problem("`regions` without a topology of regions", "needs `topology = \"regions(FILE.csv)\"`"));
    }
    if let Some(item) = fields.get("latency") {
        network.latency = item.law(limits::LATENCY)?;
    }
    if let Some(item) = fields.get("loss") {
        network.loss = item.percentage()?;
        if network.loss == Ppm::ONE {
            return Err(item.problem("a loss of 100% is not a network", "less than 100%; use a fault to cut links"));
        }
    }
    if let Some(item) = fields.get("bandwidth") {
        network.bandwidth_bps = item.bandwidth()?;
    }
    if let Some(item) = fields.get("queue") {
        network.queue_bytes = item.bytes(1_500..=1 << 30)?;
    }
    if let Some(item) = fields.get("multicast") {
        network.multicast = item.bool()?;
    }
    if let Some(item) = fields.get("high_water_mark") {
        network.high_water_mark = u32::try_from(item.whole(1..=1_000_000)?).expect("in range");
    }
    if let Some(item) = fields.get("connection_timeout") {
        network.connection_timeout = item.duration(Span::millis(100)..=Span::secs(86_400))?;
    }
    Ok(network)
}

impl NetworkSpec {
    /// The network of a profile, as scenarios name it.
    #[must_use]
    pub fn of_profile(name: &str) -> Option<NetworkSpec> {
        PROFILES.iter().position(|known| *known == name).map(profile)
    }
}

/// The profiles are guesses of what is usual, meant to differ from each other rather than to match one place:
/// switched Ethernet, one city, one continent, one crowded access point, one geostationary hop (35,786 km up and down
/// are 239 ms one way).
fn profile(index: usize) -> NetworkSpec {
    let law = |median_us, p99_us| LatencyLaw::Lognormal { median: Span(median_us), p99: Span(p99_us) };
    let gigabit = Some(1_000_000_000);
    let (latency, loss_ppm, bandwidth_bps, multicast) = match PROFILES[index] {
        "ideal" => (LatencyLaw::Constant(Span::ZERO), 0, None, true),
        "metro" => (law(3_000, 10_000), 100, gigabit, false),
        "wan" => (law(40_000, 120_000), 1_000, Some(100_000_000), false),
        "wifi" => (law(3_000, 40_000), 10_000, Some(50_000_000), true),
        "satellite" => (law(270_000, 340_000), 5_000, Some(20_000_000), false),
        _ => (law(500, 2_000), 10, gigabit, true),
    };
    NetworkSpec {
        profile: PROFILES[index].to_owned(),
        latency,
        loss: Ppm(loss_ppm),
        bandwidth_bps,
        queue_bytes: 256 * 1024,
        multicast,
        high_water_mark: 1_000,
        // The real driver gives a subscription up after four silent heartbeats.
        connection_timeout: Span::secs(12),
        topology: Topology::Full,
        regions: None,
    }
}

fn topology(item: Item<'_>, inline: Option<Item<'_>>, beside: Beside<'_>) -> Read<(Topology, Option<RegionMatrix>)> {
    let text = item.text()?.trim();
    let file = text.strip_prefix("regions(").and_then(|rest| rest.strip_suffix(')')).map(str::trim);
    let Some(file) = file else {
        if text.starts_with("regions") {
            return Err(item.problem("a topology of regions names its matrix", "\"regions(FILE.csv)\""));
        }
        let later = ["ring", "k-regular", "small-world", "scale-free"];
        item.one_of(&["full", "regions(FILE.csv)"], &later)?;
        if let Some(inline) = inline {
            return Err(inline.problem("`regions` without a topology of regions", "topology is \"full\""));
        }
        return Ok((Topology::Full, None));
    };
    let simple = !file.is_empty() && file.len() <= 255 && !file.chars().any(|c| c.is_control() || c == ')');
    if !simple {
        return Err(item.problem("this is no file name", "\"regions(FILE.csv)\", relative to the scenario"));
    }
    let regions = match inline {
        Some(inline) => read_inline(inline, file)?,
        None => {
            let text = beside(file).map_err(|why| item.problem(why, "relative to the scenario's directory"))?;
            matrix(file, &text).map_err(|why| item.problem(format!("`{file}`: {why}"), "this matrix"))?
        }
    };
    Ok((Topology::Regions, Some(regions)))
}

/// The matrix as a resolved scenario carries it, so that it can be run from anywhere.
fn read_inline(item: Item<'_>, file: &str) -> Read<RegionMatrix> {
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

/// A matrix of round trips in milliseconds: the first line and the first column name the regions, `#` starts a comment.
/// An empty cell is what the other direction says.
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
        cells.push(record.iter().skip(1).map(|cell| milliseconds(cell, line)).collect::<Result<_, _>>()?);
    }
    if cells.len() != names.len() {
        return Err(format!("{} rows for {} regions", cells.len(), names.len()));
    }
    let rtt_of = |a: usize, b: usize| {
        let rtt = cells[a][b].or(cells[b][a]);
        rtt.ok_or_else(|| format!("no round trip between `{}` and `{}`", names[a], names[b]))
    };
    let row = |a| (0..names.len()).map(|b| rtt_of(a, b)).collect::<Result<Vec<_>, _>>();
    let rtt = (0..names.len()).map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(RegionMatrix { file: file.to_owned(), names, rtt })
}

fn milliseconds(cell: &str, line: u64) -> Result<Option<Span>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    let span = Span::parse(&format!("{cell}ms")).ok().filter(|span| *span <= limits::LATENCY);
    span.map(Some).ok_or_else(|| format!("line {line}: `{cell}` is not a number of milliseconds"))
}
