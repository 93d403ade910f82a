//! One run of chaos: everything about it, drawn before its first event, as a scenario that runs by itself.

use std::collections::BTreeMap;
use std::fmt;

use marlos::config::Membership;
use marlos::quorum::quorum;
use marlos::time::{Span, Time};

use super::cast::Cast;
use super::dice::{Dice, What};
use super::setting;
use super::storm::{self, Kind};
use crate::scenario::{Fault, FaultKind, NodeNo, Scenario};

/// The fewest nodes of a run, where the base scenario has as many.
const NODES_LEAST: usize = 3;
/// The shortest warm-up: nodes that start together have met by then.
const WARMUP_LEAST: Span = Span::secs(3);
/// The shortest storm.
const STORM_LEAST: Span = Span::secs(6);

/// What chaos is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// All runs are functions of it.
    pub seed: u64,
    /// Whether more nodes may misbehave than the protocol promises to bear.
    pub beyond_f: bool,
}

/// A run that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its number.
    pub run: u64,
    /// What is run.
    pub scenario: Scenario,
    /// The kinds of fault that it has not switched off.
    pub kinds: Vec<Kind>,
    /// Who may lose its store or misbehave.
    pub suspects: Vec<NodeNo>,
    /// What is configured otherwise than in the base scenario.
    pub knobs: Vec<String>,
}

impl Chaos {
    /// Draws a run on top of a base scenario: its nodes and duration are the most that a run has, its settle time, job type and
    /// configuration are kept. Groups of nodes and a topology of regions are kept as they are.
    #[must_use]
    pub fn plan(&self, base: &Scenario, run: u64) -> Plan {
        let dice = Dice::new(self.seed, run);
        let kinds = storm::kinds(&dice);
        let mut scenario = base.clone();
        scenario.name = format!("chaos-{}-{run}", self.seed);
        scenario.shows = format!("Run {run} of chaos with seed {} on {}.", self.seed, base.name);
        scenario.seed = dice.bits(What::Seed, 0) >> 1;
        scenario.expect.clear();
        let plain = base
            .nodes
            .iter()
            .all(|node| node.group.is_none() && node.region.is_none() && node.config.membership == Membership::Open);
        if plain && base.nodes.len() > NODES_LEAST {
            // A third of the runs have any number, the others few.
            let most = if dice.one_in(What::Nodes, 0, 3) { base.nodes.len() } else { base.nodes.len().min(7) };
            let count = dice.between(What::Nodes, 1, NODES_LEAST as u64, most as u64);
            scenario.nodes.truncate(usize::try_from(count).expect("few"));
        }
        let cast = Cast::draw(&dice, scenario.nodes.len(), &kinds, self.beyond_f);
        scenario.network = setting::network(&dice, &base.network);
        let warmup = dice.span(What::Warmup, 0, WARMUP_LEAST, Span(base.warmup.0).max(WARMUP_LEAST));
        let room = Span(base.duration.0).saturating_sub(base.settle + warmup).max(STORM_LEAST);
        let end =
            Time(0) + warmup + Span::millis(dice.between(What::Storm, 0, STORM_LEAST.as_millis(), room.as_millis()));
        (scenario.warmup, scenario.duration) = (Time(0) + warmup, end + base.settle);
        let knobs = self.configure(&dice, &mut scenario, &cast);
        if let Some(load) = &base.workload {
            let storm = (scenario.warmup, end);
            scenario.workload =
                Some(setting::workload(&dice, load, &cast.all(), scenario.network.bandwidth_bps, storm, base.settle));
        }
        scenario.faults = storm::faults(&dice, &cast, &kinds, end, &scenario.nodes[0].config);
        let names_voters = |fault: &Fault| matches!(&fault.kind, FaultKind::Byzantine { behaviour, .. } if behaviour.needs_fixed_membership());
        scenario.fixed_membership |= scenario.faults.iter().any(names_voters);
        Plan { run, scenario, kinds, suspects: cast.suspects, knobs }
    }

    fn configure(&self, dice: &Dice, scenario: &mut Scenario, cast: &Cast) -> Vec<String> {
        let there = u32::try_from(cast.nodes - cast.late.len()).expect("few nodes");
        let network = scenario.network.clone();
        let mut knobs = Vec::new();
        for node in &mut scenario.nodes {
            knobs = setting::knobs(dice, &mut node.config, &network);
            // A node that has not met the others yet must not take the few it knows for the network.
            node.config.min_peers = quorum(there);
        }
        knobs
    }
}

impl fmt::Display for Plan {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { nodes, network, duration, workload, faults, .. } = &self.scenario;
        let mut counts: BTreeMap<Kind, usize> = self.kinds.iter().map(|kind| (*kind, 0)).collect();
        for fault in faults {
            *counts.entry(Kind::of(&fault.kind)).or_default() += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        let knobs = if self.knobs.is_empty() { "none".to_owned() } else { self.knobs.join(" ") };
        write!(f, "{} nodes, {}, {}", nodes.len(), network.profile, Span(duration.0))?;
        if let Some(load) = workload {
            let rate = load.jobs_per_1000_s;
            write!(f, ", {}.{:03} jobs/s", rate / 1_000, rate % 1_000)?;
        }
        let suspects = crate::scenario::ranges(&self.suspects).join(" ");
        let suspects = if suspects.is_empty() { "none" } else { &suspects };
        write!(f, "; suspects: {suspects}; faults: {}; knobs: {knobs}", counts.join(", "))
    }
}
