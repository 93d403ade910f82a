//! `[[fault]]`: what goes wrong, and when.
//!
//! A fault with `every` and `times` stands for as many faults as it has times; from here on there is only the explicit timeline.

use std::ops::Range;

use marlos::identity::chain::OVERLAP;
use marlos::time::{Span, Time};
use marlos::wire::message::MAX_ROTATIONS;

use super::byzantine;
use super::diagnostic::{Problem, did_you_mean, list};
use super::fields::{Fields, Item, Read};
use super::nodes::Names;
use super::parse::Beside;
use super::{CrashConnection, Fault, FaultKind, LatencyLaw, NodeNo, Storage, limits};

/// Each kind with its own keys, in the order of the contract.
const KINDS: [(&str, &[&str]); 11] = [
    ("partition", &["groups"]),
    ("one_way", &["from", "to"]),
    ("link", &["between", "latency", "loss", "bandwidth"]),
    ("crash", &["nodes", "storage", "connection"]),
    ("pause", &["nodes"]),
    ("slow", &["nodes", "factor"]),
    ("clock", &["nodes", "skew", "drift_ppm", "jump"]),
    // And those of the behaviour.
    ("byzantine", &["nodes", "behaviour"]),
    ("join", &["nodes"]),
    ("leave", &["nodes"]),
    ("rotate", &["nodes"]),
];

/// All faults, sorted by time; those of one instant stay in the order of the file.
pub(super) fn read(item: Option<Item<'_>>, names: &Names, duration: Time, beside: Beside<'_>) -> Read<Vec<Fault>> {
    let Some(item) = item else {
        return Ok(Vec::new());
    };
    let tables = item.list()?;
    if tables.len() > limits::FAULTS {
        return Err(item.problem(format!("{} faults; at most {} are allowed", tables.len(), limits::FAULTS), ""));
    }
    let mut named = 0;
    let mut faults = Vec::new();
    for table in tables {
        let (fault, repeats, nodes_span) = read_one(table, names, duration, beside)?;
        named += named_nodes(&fault.kind).saturating_mul(repeats.times);
        if named > limits::NODES_NAMED_IN_FAULTS {
            let message = format!("the faults name more than {} nodes", limits::NODES_NAMED_IN_FAULTS);
            return Err(table.problem(message, "at this one"));
        }
        if faults.len() + repeats.times > limits::FAULTS {
            let message = format!("more than {} faults, repeated ones counted", limits::FAULTS);
            return Err(table.problem(message, "at this one"));
        }
        faults.extend(repeats.of(&fault).map(|fault| (fault, nodes_span.clone())));
    }
    faults.sort_by_key(|(fault, _)| fault.at);
    refuse_overlaps(&faults, names)?;
    refuse_hasty_rotations(&faults, names)?;
    Ok(faults.into_iter().map(|(fault, _)| fault).collect())
}

fn read_one(item: Item<'_>, names: &Names, duration: Time, beside: Beside<'_>) -> Read<(Fault, Repeats, Range<usize>)> {
    let kind = kind_of(item)?;
    let (kind_name, own) = KINDS[kind];
    let common: &[&str] = if matches!(kind_name, "join" | "rotate") {
        &["at", "kind"]
    } else {
        &["at", "for", "until", "every", "times", "kind"]
    };
    let spec = if kind_name == "byzantine" { Some(byzantine::spec_of(item)?) } else { None };
    let own = spec.map_or(own.to_vec(), byzantine::keys_of);
    let what = spec.map_or(format!("a `{kind_name}` fault"), |spec| format!("a `{}` behaviour", spec.name));
    let fields = Fields::of(item, &what, &[common, &own].concat())?;
    let (at, until) = times(&fields, duration)?;
    let repeats = Repeats::read(&fields, at, until, duration)?;
    let nodes_item = own.iter().find_map(|key| fields.get(key)).unwrap_or(item);
    let nodes = || names.read_list(fields.need("nodes")?);
    let kind = match kind_name {
        _ if spec.is_some() => {
            let spec = spec.expect("it was just seen");
            FaultKind::Byzantine { nodes: nodes()?, behaviour: byzantine::read(spec, &fields, names)? }
        }
        "partition" => FaultKind::Partition { groups: groups(&fields, names)? },
        "one_way" => {
            FaultKind::OneWay { from: names.read_list(fields.need("from")?)?, to: names.read_list(fields.need("to")?)? }
        }
        "link" => link(&fields, names, beside)?,
        "crash" => FaultKind::Crash {
            nodes: nodes()?,
            storage: match fields.get("storage").map(|s| s.one_of(&Storage::NAMES, &[])).transpose()? {
                Some(1) => Storage::Lost,
                Some(2) => Storage::Torn,
                Some(3) => Storage::UnsyncedLost,
                _ => Storage::Kept,
            },
            connection: match fields.get("connection").map(|c| c.one_of(&["silent", "reset"], &[])).transpose()? {
                Some(1) => CrashConnection::Reset,
                _ => CrashConnection::Silent,
            },
        },
        "clock" => clock(&fields, nodes()?)?,
        "pause" => FaultKind::Pause { nodes: nodes()? },
        "slow" => FaultKind::Slow {
            nodes: nodes()?,
            factor_millionths: fields.need("factor")?.millionths(limits::SLOW_MILLIONTHS)?,
        },
        "join" => FaultKind::Join { nodes: nodes()? },
        "rotate" => FaultKind::Rotate { nodes: nodes()? },
        _ => FaultKind::Leave { nodes: nodes()? },
    };
    Ok((Fault { at, until, kind }, repeats, nodes_item.value.span()))
}

/// The kind decides which keys are known, so it is read first.
fn kind_of(item: Item<'_>) -> Read<usize> {
    let Some((name, value)) = item.table()?.get_key_value("kind") else {
        let message = "a fault has no `kind`";
        return Err(item.problem(message, format!("one of {}", list(KINDS.iter().map(|k| k.0)))));
    };
    let kind = Item { name: name.get_ref().as_ref(), value };
    let names = KINDS.map(|(name, _)| name);
    let text = kind.text()?;
    match kind.one_of(&names, &[]) {
        Ok(index) => Ok(index),
        Err(problem) if problem.help.is_none() => Err(match did_you_mean(&text.replace('-', "_"), names) {
            Some(hint) => problem.help(hint),
            None => problem.help("`marlos-sim faults` shows every kind with its keys and an example"),
        }),
        Err(problem) => Err(problem),
    }
}

fn times(fields: &Fields<'_>, duration: Time) -> Read<(Time, Option<Time>)> {
    let end = Span(duration.0);
    let at_item = fields.need("at")?;
    let at = at_item.duration(Span::ZERO..=limits::DURATION)?;
    if at >= end {
        let message = format!("a fault at {at} lies after the end of the run at {end}");
        return Err(at_item.problem(message, format!("must be before {end}")));
    }
    let (item, until) = match (fields.get("for"), fields.get("until")) {
        (None, None) => return Ok((Time(at.0), None)),
        (Some(_), Some(until)) => {
            return Err(until.problem("a fault has either `for` or `until`", "leave one of them out"));
        }
        (Some(item), None) => (item, at + item.duration(Span(1)..=limits::DURATION)?),
        (None, Some(item)) => (item, item.duration(Span::ZERO..=limits::DURATION)?),
    };
    if until <= at {
        return Err(item.problem(format!("a fault from {at} until {until}"), "must end after it starts"));
    }
    if until > end {
        let message = format!("this fault ends at {until}, after the end of the run at {end}");
        return Err(item
            .problem(message, format!("at most {}", end.saturating_sub(at)))
            .help("leave it out for a fault that stays until the end"));
    }
    Ok((Time(at.0), Some(Time(until.0))))
}

/// How often a fault happens: once, unless it says otherwise.
#[derive(Clone, Copy)]
struct Repeats {
    every: Span,
    times: usize,
}

impl Repeats {
    /// The first of the faults is `at` to `until`.
    fn read(fields: &Fields<'_>, at: Time, until: Option<Time>, duration: Time) -> Read<Repeats> {
        let (every_item, times_item) = match (fields.get("every"), fields.get("times")) {
            (None, None) => return Ok(Repeats { every: Span::ZERO, times: 1 }),
            (Some(every), Some(times)) => (every, times),
            (Some(every), None) => return Err(every.problem("`every` without `times`", "how often?")),
            (None, Some(times)) => return Err(times.problem("`times` without `every`", "how far apart?")),
        };
        let every = every_item.duration(Span(1)..=limits::DURATION)?;
        let times = times_item.whole(1..=limits::FAULTS as u64)?;
        let Some(until) = until else {
            return Err(every_item.problem("a fault that stays cannot be repeated", "needs `for`"));
        };
        let lasts = until.since(at);
        if every <= lasts {
            let message = format!("a fault of {lasts} every {every} is one that never ends");
            return Err(every_item.problem(message, format!("must be more than {lasts}")));
        }
        let last = until.0.saturating_add(every.0.saturating_mul(times - 1));
        if last > duration.0 {
            let (last, end) = (Span(last), Span(duration.0));
            let most = (duration.0 - until.0) / every.0 + 1;
            let message = format!("the last of {times} ends at {last}, after the end of the run at {end}");
            return Err(times_item.problem(message, format!("at most {most}")));
        }
        Ok(Repeats { every, times: usize::try_from(times).expect("at most as many as there may be faults") })
    }

    fn of(self, first: &Fault) -> impl Iterator<Item = Fault> {
        (0..self.times as u64).map(move |n| {
            let later = self.every.times(n);
            Fault { at: first.at + later, until: first.until.map(|until| until + later), kind: first.kind.clone() }
        })
    }
}

fn groups(fields: &Fields<'_>, names: &Names) -> Read<Vec<Vec<NodeNo>>> {
    let item = fields.need("groups")?;
    let groups = names.read_groups(item)?;
    if groups.is_empty() {
        return Err(item.problem("`groups` is empty", "at least one group of nodes"));
    }
    if groups.len() == 1 && groups[0].len() == names.all().len() {
        return Err(item.problem("this partition separates nobody", "one group with every node in it"));
    }
    Ok(groups)
}

fn link(fields: &Fields<'_>, names: &Names, beside: Beside<'_>) -> Read<FaultKind> {
    let item = fields.need("between")?;
    let sides = item.list()?;
    let [one, other] = sides[..] else {
        return Err(item.problem("`between` must hold two lists of nodes", "[[\"n0\"], [\"n1\", \"n2\"]]"));
    };
    let between = [names.read_list(one)?, names.read_list(other)?];
    let latency = fields.get("latency").map(|item| LatencyLaw::read(item, limits::LATENCY, beside)).transpose()?;
    let loss = fields.get("loss").map(|item| item.percentage()).transpose()?;
    let bandwidth_bps = match fields.get("bandwidth") {
        None => None,
        Some(item) => {
            let rate = item.bandwidth()?;
            Some(rate.ok_or_else(|| item.problem("a worse link has a bandwidth", "such as \"64kbit/s\""))?)
        }
    };
    if latency.is_none() && loss.is_none() && bandwidth_bps.is_none() {
        return Err(fields.problem("this `link` fault changes nothing", "needs latency, loss or bandwidth"));
    }
    Ok(FaultKind::Link { between, latency, loss, bandwidth_bps })
}

fn clock(fields: &Fields<'_>, nodes: Vec<NodeNo>) -> Read<FaultKind> {
    let wrong = |key| fields.get(key).map_or(Ok(0), |item| item.signed_duration(limits::CLOCK));
    let (skew_us, jump_us) = (wrong("skew")?, wrong("jump")?);
    let drift_ppm = fields.get("drift_ppm").map_or(Ok(0), |item| item.signed(limits::DRIFT_PPM))?;
    if (skew_us, drift_ppm, jump_us) == (0, 0, 0) {
        return Err(fields.problem("this `clock` fault changes nothing", "needs skew, drift_ppm or jump"));
    }
    Ok(FaultKind::Clock { nodes, skew_us, drift_ppm, jump_us })
}

fn named_nodes(kind: &FaultKind) -> usize {
    match kind {
        FaultKind::Partition { groups } => groups.iter().map(Vec::len).sum(),
        FaultKind::OneWay { from, to } => from.len() + to.len(),
        FaultKind::Link { between: [one, other], .. } => one.len() + other.len(),
        FaultKind::Crash { nodes, .. }
        | FaultKind::Pause { nodes }
        | FaultKind::Slow { nodes, .. }
        | FaultKind::Join { nodes }
        | FaultKind::Leave { nodes }
        | FaultKind::Rotate { nodes }
        | FaultKind::Clock { nodes, .. }
        | FaultKind::Byzantine { nodes, .. } => nodes.len(),
    }
}

/// Rotations of one node are bounded in number, and far enough apart that what the key before signed has arrived.
fn refuse_hasty_rotations(faults: &[(Fault, Range<usize>)], names: &Names) -> Read<()> {
    let mut rotations: Vec<Vec<Time>> = vec![Vec::new(); names.all().len()];
    for (fault, span) in faults {
        let FaultKind::Rotate { nodes } = &fault.kind else { continue };
        for node in nodes {
            if rotations[*node].last().is_some_and(|last| fault.at < *last + OVERLAP) {
                let message = format!("`n{node}` rotates twice within {OVERLAP}");
                return Err(Problem::new(span.clone(), message, format!("must be {OVERLAP} after the one before")));
            }
            rotations[*node].push(fault.at);
            if rotations[*node].len() > MAX_ROTATIONS {
                let message = format!("`n{node}` rotates more than {MAX_ROTATIONS} times");
                return Err(Problem::new(span.clone(), message, "its chain of keys would be too long"));
            }
        }
    }
    Ok(())
}

/// A node cannot crash while it is down, nor leave before it has joined: what that would mean is anybody's guess.
fn refuse_overlaps(faults: &[(Fault, Range<usize>)], names: &Names) -> Read<()> {
    let mut busy: Vec<Vec<(Time, Time, usize)>> = vec![Vec::new(); names.all().len()];
    for (index, (fault, _)) in faults.iter().enumerate() {
        let (nodes, from, until) = match &fault.kind {
            FaultKind::Join { nodes } => (nodes, Time(0), fault.at),
            FaultKind::Crash { nodes, .. } | FaultKind::Pause { nodes } | FaultKind::Leave { nodes } => {
                (nodes, fault.at, fault.until.unwrap_or(Time::NEVER))
            }
            FaultKind::Partition { .. }
            | FaultKind::OneWay { .. }
            | FaultKind::Link { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Rotate { .. }
            | FaultKind::Clock { .. }
            | FaultKind::Byzantine { .. } => continue,
        };
        for node in nodes {
            busy[*node].push((from, until, index));
        }
    }
    for (node, spans) in busy.iter_mut().enumerate() {
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let ((from, until, _), (next, _, index)) = (pair[0], pair[1]);
            if next < until {
                let until = if until == Time::NEVER { "the end".to_owned() } else { Span(until.0).to_string() };
                let message = format!("`n{node}` is already down, paused or absent from {} to {until}", Span(from.0));
                return Err(Problem::new(faults[index].1.clone(), message, "two faults of one node overlap"));
            }
        }
    }
    if !busy.is_empty() && busy.iter().all(|spans| spans.first().is_some_and(|(from, ..)| *from == Time(0))) {
        let span = faults.first().map_or(0..0, |(_, span)| span.clone());
        return Err(Problem::new(span, "no node is there at the start", "all of them join later or are down"));
    }
    Ok(())
}
