//! A scenario file, from text to [`Scenario`].

use std::path::Path;

use marlos::time::{Span, Time};
use toml::de::DeTable;

use super::diagnostic::Problem;
use super::fields::{Fields, Item, Read};
use super::jobs::Frame;
use super::set::{Setting, with_settings};
use super::{Crypto, Diagnostic, Fault, FaultKind, Scenario, faults, jobs, network, nodes, targets};
use crate::fault;

/// Bounds on what a file may ask for, so that a slip of the finger does not fill the memory.
pub mod limits {
    use marlos::time::Span;

    /// Bytes of a scenario file, or of a matrix of regions.
    pub const FILE_BYTES: u64 = 1 << 20;
    /// Nodes: as many as a node's own `max_members` allows.
    pub const NODES: u64 = 4_096;
    /// Faults.
    pub const FAULTS: usize = 100_000;
    /// Nodes that all faults together name.
    pub const NODES_NAMED_IN_FAULTS: usize = 1_000_000;
    /// Jobs.
    pub const JOBS: u64 = 5_000_000;
    /// Jobs of a trace.
    pub const TRACE_JOBS: usize = 10_000;
    /// Points of a rate that changes.
    pub const RATE_POINTS: usize = 1_000;
    /// Kinds of jobs of a mix.
    pub const MIXED_JOBS: usize = 64;
    /// How long one job runs.
    pub const JOB: Span = Span::secs(86_400);
    /// From a submission to its deadline.
    pub const DEADLINE: Span = Span::secs(7 * 86_400);
    /// What one job needs.
    pub const REQUIREMENTS: usize = 16;
    /// Bytes of one output.
    pub const OUTPUT_BYTES: u32 = 16 * 1024 * 1024;
    /// Regions of a matrix.
    pub const REGIONS: usize = 256;
    /// Simulated time.
    pub const DURATION: Span = Span::secs(30 * 86_400);
    /// How wrong a clock may be.
    pub const CLOCK: Span = Span::secs(366 * 86_400);
    /// How much faster or slower than right it may run, in parts per million: a tenth.
    pub const DRIFT_PPM: u64 = 100_000;
    /// What one message or signature costs a processor.
    pub const CPU: Span = Span::secs(1);
    /// By what a `slow` fault multiplies, in millionths: a hundredth to a thousand.
    pub const SLOW_MILLIONTHS: std::ops::RangeInclusive<u64> = 10_000..=1_000_000_000;
    /// Mean length of a burst of losses. Shorter ones would be many, and are as good as single losses.
    pub const LOSS_BURST: std::ops::RangeInclusive<Span> = Span::millis(10)..=Span::secs(3_600);
    /// Quantiles of an empirical law.
    pub const QUANTILES: usize = 1_001;
    /// One delay.
    pub const LATENCY: Span = Span::secs(3_600);
}

/// Reads a file that stands beside the scenario, or says why it cannot.
pub(super) type Beside<'f> = &'f dyn Fn(&str) -> Result<String, String>;

const KEYS: [&str; 12] = [
    "name", "seed", "duration", "crypto", "warmup", "settle", "nodes", "network", "workload", "fault", "kpi", "expect",
];

/// What the command line says instead of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Beats the file's seed.
    pub seed: Option<u64>,
}

impl Scenario {
    /// Reads a scenario from a file, and the matrix of regions that it may name from beside it.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with file, line, column and what is allowed.
    pub fn load(path: &Path, overrides: Overrides) -> Result<Scenario, Diagnostic> {
        Scenario::load_with(path, overrides, &[])
    }

    /// Reads a scenario from a file, as if these settings stood in it.
    ///
    /// # Errors
    /// As [`Scenario::load`]; what is shown is the text with the settings.
    pub fn load_with(path: &Path, overrides: Overrides, settings: &[Setting]) -> Result<Scenario, Diagnostic> {
        let file_name = path.display().to_string();
        let text = read_text(path).and_then(|text| with_settings(text, settings));
        let text = text.map_err(|why| Diagnostic::of_file(&file_name, why))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Scenario::parse(&text, &file_name, overrides, &|file| read_text(&directory.join(file)))
    }

    /// Reads a scenario from its text. `beside` reads a file named relative to it, or says why it cannot.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(
        text: &str,
        file_name: &str,
        overrides: Overrides,
        beside: Beside<'_>,
    ) -> Result<Scenario, Diagnostic> {
        read(text, overrides, beside).map_err(|problem| Diagnostic::new(file_name, text, problem))
    }
}

#[expect(clippy::disallowed_methods, reason = "loading what the user named; nothing of it reaches a running world")]
fn read_text(path: &Path) -> Result<String, String> {
    use std::io::Read as _;

    let cannot = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut text = String::new();
    let length = file.take(limits::FILE_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    if length as u64 > limits::FILE_BYTES {
        return Err(format!("`{}` has more than {} bytes", path.display(), limits::FILE_BYTES));
    }
    Ok(text)
}

/// A behaviour that needs to know who votes, if there is one.
fn makes_up_ids(faults: &[Fault]) -> Option<&'static str> {
    faults.iter().find_map(|fault| match &fault.kind {
        FaultKind::Byzantine { behaviour, .. } if behaviour.needs_fixed_membership() => Some(behaviour.name()),
        _ => None,
    })
}

fn read(text: &str, overrides: Overrides, beside: Beside<'_>) -> Read<Scenario> {
    if text.len() as u64 > limits::FILE_BYTES {
        return Err(Problem::new(0..0, format!("more than {} bytes", limits::FILE_BYTES), "too long"));
    }
    let document = DeTable::parse(text).map_err(|error| {
        Problem::new(error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()), "here")
    })?;
    read_document(document.get_ref(), text, overrides, beside)
}

/// A document that was parsed from `text`.
pub(super) fn read_document(
    document: &DeTable<'_>,
    text: &str,
    overrides: Overrides,
    beside: Beside<'_>,
) -> Read<Scenario> {
    let fields = Fields::new("the scenario", 0..0, document, &KEYS, &[])?;
    let name = name(fields.need("name")?)?;
    let seed = fields.get("seed").map(|item| item.whole(0..=u64::MAX)).transpose()?;
    let crypto = fields.get("crypto").map(|item| item.one_of(&Crypto::NAMES, &[])).transpose()?;
    let frame = frame(&fields)?;
    let network = network::read(fields.get("network"), beside)?;
    let mut nodes = nodes::read(fields.need("nodes")?, network.regions.as_ref())?;
    network::fits(fields.get("network"), &network, nodes.specs.len())?;
    let faults = faults::read(fields.get("fault"), &nodes.names, frame.duration, beside)?;
    nodes.set_min_peers(fault::initial_nodes(nodes.specs.len(), &faults).iter().filter(|there| **there).count())?;
    settles(&fields, &faults, frame)?;
    if let Some(behaviour) = makes_up_ids(&faults).filter(|_| !nodes.fixed_membership) {
        let message = format!("`{behaviour}` makes up ids, and here everyone votes: nothing is promised then");
        return Err(fields.need("nodes")?.problem(message, "say `membership = \"fixed\"` in `[nodes]`"));
    }
    let workload = fields.get("workload").map(|item| jobs::read(item, &nodes.names, frame, beside)).transpose()?;
    Ok(Scenario {
        name,
        shows: first_comment(text),
        seed: overrides.seed.or(seed).unwrap_or(1),
        crypto: [Crypto::Ed25519, Crypto::Token][crypto.unwrap_or_default()],
        duration: frame.duration,
        warmup: frame.warmup,
        settle: frame.settle,
        fixed_membership: nodes.fixed_membership,
        nodes: nodes.specs,
        network,
        workload,
        faults,
        kpi: targets::read_kpi(fields.get("kpi"))?,
        expect: targets::read_expect(fields.get("expect"))?,
    })
}

/// The name becomes a directory's.
fn name(item: Item<'_>) -> Read<String> {
    let name = item.short_text(64)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !plain || name.starts_with('-') {
        let message = format!("`{name}` cannot name a result directory");
        return Err(item.problem(message, "letters, digits, - and _"));
    }
    Ok(name.to_owned())
}

fn frame(fields: &Fields<'_>) -> Read<Frame> {
    let duration = fields.need("duration")?.duration(Span::millis(1)..=limits::DURATION)?;
    let span = |key: &str, default: Span| match fields.get(key) {
        None => Ok(default),
        Some(item) => item.duration(Span::ZERO..=limits::DURATION),
    };
    let (warmup, settle) = (span("warmup", Span::secs(10))?, span("settle", Span::secs(30))?);
    if warmup + settle >= duration {
        let place = fields.get("settle").or_else(|| fields.get("warmup")).or_else(|| fields.get("duration"));
        let message = format!("nothing is left of {duration} after {warmup} of warm-up and {settle} to settle");
        return Err(place
            .expect("the duration is there")
            .problem(message, "`warmup` + `settle` must be less than `duration`")
            .help("the defaults are warmup = \"10s\" and settle = \"30s\""));
    }
    Ok(Frame { duration: Time(duration.0), warmup: Time(warmup.0), settle })
}

/// The liveness checks are judged at the last fault's end plus `settle`: that must come.
fn settles(fields: &Fields<'_>, faults: &[Fault], frame: Frame) -> Read<()> {
    let Some(last) = fault::last_end(faults).filter(|last| *last + frame.settle > frame.duration) else {
        return Ok(());
    };
    let item = fields.get("settle").or_else(|| fields.get("duration")).expect("the duration is there");
    let message = format!(
        "the last fault ends at {}, and {} to settle after it go beyond the end of the run at {}",
        Span(last.0),
        frame.settle,
        Span(frame.duration.0)
    );
    Err(item.problem(message, "a longer `duration` or a shorter `settle`"))
}

/// What the file shows: its first line, where that is a comment. What is addressed to an editor, `#:schema ..`, may stand above it.
pub(super) fn first_comment(text: &str) -> String {
    let first = text.lines().find(|line| !line.starts_with("#:")).unwrap_or_default();
    first.strip_prefix('#').unwrap_or_default().trim().to_owned()
}
