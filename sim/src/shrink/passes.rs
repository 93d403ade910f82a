//! What can be left out of a scenario: each pass proposes smaller ones, the boldest first.

use std::ops::Range;

use marlos::Config;
use marlos::quorum::quorum;
use marlos::time::{Span, Time};
use marlos::units::Ppm;
use marlos::wire::message::Consistency;

use super::Wronged;
use crate::byzantine::settings::Setting;
use crate::fault::initial_nodes;
use crate::scenario::{Arrival, Fault, FaultKind, LatencyLaw, NetworkSpec, NodeNo, Scenario, WorkloadSpec};

/// Proposes smaller scenarios.
type Pass = fn(&Wronged) -> Vec<Scenario>;

/// All of them, what saves the most first.
pub(super) const PASSES: [(&str, Pass); 10] = [
    ("ends where it is decided", end_earlier),
    ("fewer faults", fewer_faults),
    ("fewer nodes", fewer_nodes),
    ("faults of fewer nodes", faults_of_fewer),
    ("fewer jobs", fewer_jobs),
    ("plainer misbehaviour", plainer_misbehaviour),
    ("plainer network", plainer_network),
    ("plainer configuration", plainer_configuration),
    ("sooner", sooner),
    ("rounder times", rounder_times),
];

/// The times that faults are rounded to.
const ROUND: [Span; 3] = [Span::secs(1), Span::millis(100), Span::millis(10)];
/// Configuration that is the world's, or says who the node is.
const KEPT: [&str; 6] = ["node_name", "capabilities", "min_peers", "pub_endpoint", "sub_endpoint", "bootstrap"];

/// Of a violation nothing matters that comes after it; of liveness, nothing that is not judged.
fn end_earlier(wronged: &Wronged) -> Vec<Scenario> {
    let scenario = &wronged.scenario;
    if !wronged.ends_there() {
        let last = crate::fault::last_fault_end(scenario).unwrap_or(scenario.warmup).max(scenario.warmup);
        let mut shorter = scenario.clone();
        shorter.duration = (last + scenario.settle).max(Time(scenario.warmup.0 + scenario.settle.0 + 1));
        shorten_workload(&mut shorter);
        return vec![shorter];
    }
    let after = |span: Span| {
        let end = wronged.reached + span;
        let mut cut = scenario.clone();
        cut.faults.retain(|fault| fault.at < end);
        for fault in &mut cut.faults {
            fault.until = fault.until.filter(|until| *until <= end);
        }
        cut.settle = Span::millis(1);
        cut.warmup = cut.warmup.min(Time(end.0 / 2));
        cut.duration = end + cut.settle;
        shorten_workload(&mut cut);
        cut
    };
    // With the settle time, whole seconds.
    let second = Span::micros(1_000_000 - wronged.reached.0 % 1_000_000);
    vec![after(second.saturating_sub(Span::millis(1)))]
}

/// Jobs come while the run lasts.
fn shorten_workload(scenario: &mut Scenario) {
    if let Some(load) = &mut scenario.workload {
        load.end = load.end.min(scenario.duration);
        if load.end <= load.start {
            scenario.workload = None;
        }
    }
}

fn fewer_faults(wronged: &Wronged) -> Vec<Scenario> {
    let without = |chunk: Range<usize>| {
        let mut fewer = wronged.scenario.clone();
        fewer.faults.drain(chunk);
        fewer
    };
    chunks(wronged.scenario.faults.len()).map(without).collect()
}

/// All of a list, its halves, quarters, and so on down to the single items.
fn chunks(length: usize) -> impl Iterator<Item = Range<usize>> {
    let sizes = std::iter::successors(Some(length), |size| (*size > 1).then(|| size.div_ceil(2)));
    sizes
        .filter(|size| *size > 0)
        .flat_map(move |size| (0..length).step_by(size).map(move |start| start..(start + size).min(length)))
}

/// Nodes are left out from the end first: those before them keep their numbers, and with them their part of the network.
fn fewer_nodes(wronged: &Wronged) -> Vec<Scenario> {
    let count = wronged.scenario.nodes.len();
    let halved = without_nodes(&wronged.scenario, count.div_ceil(2)..count);
    let one_by_one = (0..count).rev().filter_map(|node| without_nodes(&wronged.scenario, node..node + 1));
    halved.into_iter().chain(one_by_one).collect()
}

fn without_nodes(scenario: &Scenario, gone: Range<NodeNo>) -> Option<Scenario> {
    let count = gone.len();
    if count == 0 || count == scenario.nodes.len() {
        return None;
    }
    let mut fewer = scenario.clone();
    let before = initial(scenario);
    fewer.nodes.drain(gone.clone());
    for (number, node) in fewer.nodes.iter_mut().enumerate() {
        let name = format!("n{number}");
        if node.config.node_name == node.name {
            node.config.node_name.clone_from(&name);
        }
        node.name = name;
    }
    let keep = |nodes: &mut Vec<NodeNo>| {
        nodes.retain(|node| !gone.contains(node));
        nodes.iter_mut().filter(|node| **node >= gone.end).for_each(|node| *node -= count);
    };
    fewer.faults.retain_mut(|fault| {
        lists(&mut fault.kind).into_iter().for_each(keep);
        if let FaultKind::Byzantine { behaviour, .. } = &mut fault.kind {
            *behaviour = behaviour.changed(|_, setting| {
                let mut setting = setting.clone();
                if let Setting::Nodes(nodes) = &mut setting {
                    keep(nodes);
                }
                setting
            });
        }
        tidy(&mut fault.kind)
    });
    if let Some(load) = &mut fewer.workload {
        keep(&mut load.from);
        if load.from.is_empty() {
            fewer.workload = None;
        }
    }
    // Where it is the quorum of the beginning, it stays that.
    let after = initial(&fewer);
    for node in &mut fewer.nodes {
        if node.config.min_peers == quorum(before) && after > 0 {
            node.config.min_peers = quorum(after);
        }
    }
    Some(fewer)
}

fn initial(scenario: &Scenario) -> u32 {
    let there = initial_nodes(scenario.nodes.len(), &scenario.faults).iter().filter(|there| **there).count();
    u32::try_from(there).expect("at most 4,096 nodes")
}

/// The lists of nodes that a fault names.
fn lists(kind: &mut FaultKind) -> Vec<&mut Vec<NodeNo>> {
    match kind {
        FaultKind::Partition { groups } => groups.iter_mut().collect(),
        FaultKind::OneWay { from, to } => vec![from, to],
        FaultKind::Link { between: [one, other], .. } => vec![one, other],
        FaultKind::Crash { nodes, .. }
        | FaultKind::Pause { nodes }
        | FaultKind::Join { nodes }
        | FaultKind::Leave { nodes }
        | FaultKind::Slow { nodes, .. }
        | FaultKind::Clock { nodes, .. }
        | FaultKind::Rotate { nodes }
        | FaultKind::Byzantine { nodes, .. } => vec![nodes],
    }
}

/// Drops empty groups; says whether the fault still names whom it needs.
fn tidy(kind: &mut FaultKind) -> bool {
    if let FaultKind::Partition { groups } = kind {
        groups.retain(|group| !group.is_empty());
        return !groups.is_empty();
    }
    lists(kind).iter().all(|nodes| !nodes.is_empty())
}

/// How many nodes a fault names.
pub(super) fn named(kind: &FaultKind) -> usize {
    lists(&mut kind.clone()).iter().map(|nodes| nodes.len()).sum()
}

fn faults_of_fewer(wronged: &Wronged) -> Vec<Scenario> {
    let mut smaller = Vec::new();
    for (number, fault) in wronged.scenario.faults.iter().enumerate() {
        let mut kind = fault.kind.clone();
        let lengths: Vec<usize> = lists(&mut kind).iter().map(|nodes| nodes.len()).collect();
        for (list, length) in lengths.into_iter().enumerate().filter(|(_, length)| *length > 1) {
            for chunk in chunks(length).skip(1) {
                let mut fewer = wronged.scenario.clone();
                lists(&mut fewer.faults[number].kind)[list].drain(chunk);
                smaller.push(fewer);
            }
        }
    }
    smaller
}

fn fewer_jobs(wronged: &Wronged) -> Vec<Scenario> {
    let Some(load) = &wronged.scenario.workload else { return Vec::new() };
    let with = |change: &dyn Fn(&mut WorkloadSpec)| {
        let mut smaller = wronged.scenario.clone();
        smaller.workload.as_mut().into_iter().for_each(change);
        smaller
    };
    let mut smaller = vec![Scenario { workload: None, ..wronged.scenario.clone() }];
    // Job n is the same job as long as the start and the rate stay: so the end goes first.
    let lasts = load.end.since(load.start);
    for part in [8, 4, 2] {
        smaller.push(with(&|load| load.end = load.start + Span(lasts.0 / part)));
    }
    smaller.push(with(&|load| load.end = Time(load.end.0 - lasts.0 / 8)));
    for chunk in chunks(load.from.len()).skip(1) {
        smaller.push(with(&|load| drop(load.from.drain(chunk.clone()))));
    }
    for chunk in chunks(load.mix.len()) {
        smaller.push(with(&|load| drop(load.mix.drain(chunk.clone()))));
    }
    if let Some(trace) = &load.trace {
        for chunk in chunks(trace.jobs.len()).skip(1) {
            smaller.push(with(&|load| drop(load.trace.as_mut().map(|trace| trace.jobs.drain(chunk.clone())))));
        }
        // Of all the rest it says itself.
        return smaller;
    }
    smaller.push(with(&|load| load.rates.clear()));
    smaller.push(with(&|load| load.start += Span(lasts.0 / 2)));
    smaller.push(with(&|load| load.jobs_per_1000_s = (load.jobs_per_1000_s / 2).max(1)));
    smaller.push(with(&|load| load.arrival = Arrival::Uniform));
    smaller.push(with(&|load| load.job.failing = Ppm(0)));
    smaller.push(with(&|load| load.job.max_attempts = 1));
    smaller.push(with(&|load| (load.job.output_bytes, load.job.compressible) = (64, true)));
    smaller.push(with(&|load| load.job.consistency = Consistency::Quorum));
    smaller.push(with(&|load| load.job.duration = LatencyLaw::Constant(Span::millis(100))));
    smaller.push(with(&|load| load.job.duration = LatencyLaw::Constant(Span::secs(1))));
    smaller
}

/// Each key of each behaviour as it is unless said.
fn plainer_misbehaviour(wronged: &Wronged) -> Vec<Scenario> {
    let mut plainer = Vec::new();
    for (number, fault) in wronged.scenario.faults.iter().enumerate() {
        let FaultKind::Byzantine { nodes, behaviour } = &fault.kind else { continue };
        for (place, (key, _)) in behaviour.entries().enumerate() {
            let behaviour =
                behaviour.changed(|at, setting| if at == place { key.unless_said() } else { setting.clone() });
            let mut candidate = wronged.scenario.clone();
            candidate.faults[number].kind = FaultKind::Byzantine { nodes: nodes.clone(), behaviour };
            plainer.push(candidate);
        }
    }
    plainer
}

fn lan() -> NetworkSpec {
    NetworkSpec::of_profile("lan").expect("a profile")
}

fn plainer_network(wronged: &Wronged) -> Vec<Scenario> {
    let with = |change: &dyn Fn(&mut NetworkSpec)| {
        let mut plainer = wronged.scenario.clone();
        change(&mut plainer.network);
        plainer
    };
    let lan = lan();
    // The regions stay where nodes name them, and with them the law on top.
    let whole: &dyn Fn(&mut NetworkSpec) = &|network| {
        let kept = network.clone();
        network.clone_from(&lan);
        if kept.regions.is_some() {
            (network.topology, network.regions, network.latency) = (kept.topology, kept.regions, kept.latency);
        }
    };
    vec![
        with(whole),
        with(&|network| (network.loss, network.loss_burst) = (lan.loss, None)),
        with(&|network| network.loss_burst = None),
        with(&|network| network.jitter = None),
        with(&|network| network.asymmetry = Ppm(0)),
        with(&|network| (network.duplicate, network.reorder) = (Ppm(0), None)),
        with(&|network| network.corrupt = Ppm(0)),
        with(&|network| (network.download_bps, network.queue_full) = (None, lan.queue_full)),
        with(&|network| network.slow_joiner = None),
        with(&|network| {
            if network.regions.is_none() {
                network.topology = lan.topology;
            }
        }),
        with(&|network| (network.bandwidth_bps, network.download_bps) = (lan.bandwidth_bps, None)),
        with(&|network| network.connection_timeout = lan.connection_timeout),
        with(&|network| network.high_water_mark = lan.high_water_mark),
        with(&|network| network.multicast = lan.multicast),
    ]
}

/// The configuration's keys that are not the default, at once and one by one.
fn plainer_configuration(wronged: &Wronged) -> Vec<Scenario> {
    let peculiar = peculiar_keys(&wronged.scenario);
    let with = |keys: &[String]| {
        let mut plainer = wronged.scenario.clone();
        for node in &mut plainer.nodes {
            node.config = defaulted(&node.config, keys)?;
        }
        Some(plainer)
    };
    chunks(peculiar.len()).filter_map(|chunk| with(&peculiar[chunk])).collect()
}

/// The keys of any node's configuration that are not the default.
fn peculiar_keys(scenario: &Scenario) -> Vec<String> {
    let default = table(&Config::default());
    let mut keys: Vec<String> = Vec::new();
    for node in scenario.nodes.chunk_by(|a, b| a.group == b.group).map(|group| &group[0]) {
        let differs =
            |key: &String, value: &toml::Value| default.get(key) != Some(value) && !KEPT.contains(&key.as_str());
        keys.extend(table(&node.config).iter().filter(|(key, value)| differs(key, value)).map(|(key, _)| key.clone()));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn defaulted(config: &Config, keys: &[String]) -> Option<Config> {
    let (mut own, default) = (table(config), table(&Config::default()));
    for key in keys {
        own.insert(key.clone(), default.get(key)?.clone());
    }
    own.try_into().ok()
}

fn table(config: &Config) -> toml::Table {
    toml::Table::try_from(config).expect("a configuration is a table")
}

/// How much of network, jobs and configuration is not as usual.
pub(super) fn peculiarities(scenario: &Scenario) -> u64 {
    let (lan, network) = (lan(), &scenario.network);
    let mut count = peculiar_keys(scenario).len() as u64;
    count += u64::from(network.latency != lan.latency) + u64::from(network.loss != lan.loss);
    count += u64::from(network.bandwidth_bps != lan.bandwidth_bps);
    count += u64::from(network.connection_timeout != lan.connection_timeout);
    count += u64::from(network.high_water_mark != lan.high_water_mark);
    count += u64::from(network.jitter.is_some()) + u64::from(network.asymmetry.0 > 0);
    count += u64::from(network.loss_burst.is_some()) + u64::from(network.duplicate.0 > 0);
    count += u64::from(network.reorder.is_some()) + u64::from(network.corrupt.0 > 0);
    count += u64::from(network.download_bps.is_some()) + u64::from(network.queue_full != lan.queue_full);
    count += u64::from(network.slow_joiner.is_some());
    count += u64::from(network.topology != lan.topology && network.regions.is_none());
    count += u64::from(network.multicast != lan.multicast) + u64::from(network.queue_bytes != lan.queue_bytes);
    for fault in &scenario.faults {
        if let FaultKind::Byzantine { behaviour, .. } = &fault.kind {
            count += behaviour.entries().filter(|(key, setting)| **setting != key.unless_said()).count() as u64;
        }
    }
    if let Some(WorkloadSpec { arrival, job, rates, mix, trace, .. }) = &scenario.workload {
        count += rates.len() as u64 + mix.len() as u64 + trace.as_ref().map_or(0, |trace| trace.jobs.len() as u64);
        count += u64::from(*arrival != Arrival::Uniform) + u64::from(job.failing != Ppm(0));
        count += u64::from(job.max_attempts != 1) + u64::from(job.output_bytes != 64);
        count += u64::from(job.consistency != Consistency::Quorum);
        count += u64::from(!matches!(job.duration, LatencyLaw::Constant(_)));
    }
    count
}

/// Faults that last shorter, and the whole that begins sooner.
fn sooner(wronged: &Wronged) -> Vec<Scenario> {
    let scenario = &wronged.scenario;
    let mut sooner = Vec::new();
    let first =
        scenario.faults.iter().map(|fault| fault.at).chain(scenario.workload.as_ref().map(|load| load.start)).min();
    for part in [1, 2] {
        let by = Span(first.map_or(0, |first| first.0.saturating_sub(1_000_000)) / part);
        sooner.push(earlier(scenario, by));
    }
    for (number, fault) in scenario.faults.iter().enumerate() {
        for part in [8, 2] {
            let Some(until) = fault.until else { continue };
            let mut shorter = scenario.clone();
            shorter.faults[number].until = Some(fault.at + Span((until.0 - fault.at.0).div_ceil(part)));
            sooner.push(shorter);
        }
    }
    sooner
}

fn earlier(scenario: &Scenario, by: Span) -> Scenario {
    let back = |time: Time| Time(time.0.saturating_sub(by.0));
    let mut earlier = scenario.clone();
    for fault in &mut earlier.faults {
        (fault.at, fault.until) = (back(fault.at), fault.until.map(back));
    }
    if let Some(load) = &mut earlier.workload {
        (load.start, load.end) = (back(load.start), back(load.end));
    }
    earlier.warmup = earlier.warmup.min(back(earlier.warmup).max(Time(1_000)));
    earlier.duration = back(earlier.duration);
    earlier
}

fn rounder_times(wronged: &Wronged) -> Vec<Scenario> {
    let scenario = &wronged.scenario;
    let mut rounder = Vec::new();
    for to in ROUND {
        let all = scenario.faults.iter().map(|fault| rounded(fault, to)).collect();
        let mut round = Scenario { faults: all, ..scenario.clone() };
        if let Some(load) = &mut round.workload {
            (load.start, load.end) = (nearest(load.start, to), nearest(load.end, to));
        }
        rounder.push(round);
    }
    for (number, fault) in scenario.faults.iter().enumerate() {
        for to in ROUND {
            let mut round = scenario.clone();
            round.faults[number] = rounded(fault, to);
            rounder.push(round);
        }
    }
    rounder
}

fn rounded(fault: &Fault, to: Span) -> Fault {
    let at = nearest(fault.at, to);
    Fault { at, until: fault.until.map(|until| nearest(until, to).max(at + to)), kind: fault.kind.clone() }
}

fn nearest(time: Time, to: Span) -> Time {
    Time((time.0 + to.0 / 2) / to.0 * to.0)
}
