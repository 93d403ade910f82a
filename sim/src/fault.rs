//! Faults as an explicit timeline, and what they do to who can reach whom.
//!
//! A scenario's faults overlap freely. [`Timeline`] turns them into steps in the order in which the world applies them;
//! [`FaultState`] holds which of them are on, and answers for each direction of each pair whether frames pass and what
//! is different about the way.
//!
//! Of one instant, ends come before begins: a node that is restarted and crashed at the same moment is down afterwards,
//! and a cut that follows another at once is one that never opened, as long as the world applies *all* steps of an
//! instant before it looks (that is what [`FaultState::apply`] takes a slice for).

use std::cmp::Reverse;

use marlos::time::Time;
use marlos::units::{Ppm, write_millionths};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::draw::Draws;
use crate::network::topology;
use crate::scenario::{Fault, FaultKind, LatencyLaw, NodeNo, Scenario};

/// A fault begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Time,
    /// Which, as an index into [`Scenario::faults`].
    pub fault: usize,
    /// Begins, or ends.
    pub begins: bool,
}

/// Everything that goes wrong, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    steps: Vec<Step>,
}

impl Timeline {
    /// The steps of a scenario's faults, by time; of one instant the ends first, then by the number of the fault.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Timeline {
        let mut steps = Vec::with_capacity(scenario.faults.len() * 2);
        for (fault, Fault { at, until, .. }) in scenario.faults.iter().enumerate() {
            assert!(until.is_none_or(|until| until > *at), "fault {fault} ends before it begins");
            steps.push(Step { at: *at, fault, begins: true });
            steps.extend(until.map(|until| Step { at: until, fault, begins: false }));
        }
        steps.sort_by_key(|step| (step.at, step.begins, step.fault));
        Timeline { steps }
    }

    /// All steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps instant by instant.
    pub fn instants(&self) -> impl Iterator<Item = (Time, &[Step])> {
        self.steps.chunk_by(|a, b| a.at == b.at).map(|steps| (steps[0].at, steps))
    }

    /// One line per step, for people; where it changes who can reach whom, with the sides that there are then.
    #[must_use]
    pub fn describe(&self, scenario: &Scenario) -> Vec<String> {
        let mut state = FaultState::new(scenario);
        let mut lines = Vec::new();
        for (at, steps) in self.instants() {
            for step in steps {
                let verb = if step.begins { "begins" } else { "ends" };
                lines.push(format!("{at} {verb}: {}", describe(&scenario.faults[step.fault].kind)));
            }
            if state.apply(steps) {
                lines.push(format!("{at} {}", describe_sides(&sides(state.matrix()))));
            }
        }
        lines
    }
}

/// The sides, and whether one of them can decide.
fn describe_sides(sides: &[Vec<NodeNo>]) -> String {
    let nodes: usize = sides.iter().map(Vec::len).sum();
    let quorum = marlos::quorum::quorum(u32::try_from(nodes).expect("at most 4,096 nodes")) as usize;
    let [largest, ..] = sides else { return "nobody is there".to_owned() };
    if sides.len() == 1 {
        return "everyone reaches everyone".to_owned();
    }
    let sizes: Vec<String> = sides.iter().map(|side| side.len().to_string()).collect();
    let decides = if largest.len() >= quorum { "the largest has it" } else { "no side has it" };
    format!("sides of {}; a quorum of all {nodes} is {quorum}: {decides}", sizes.join(", "))
}

/// Who is cut off from whom: the sets of nodes that can still hear each other, if need be through others, largest first.
/// A node that nobody hears is a side of its own.
#[must_use]
pub fn sides(reaches: &[Vec<bool>]) -> Vec<Vec<NodeNo>> {
    let mut graph = DiGraph::<(), ()>::new();
    let nodes: Vec<_> = reaches.iter().map(|_| graph.add_node(())).collect();
    for (from, row) in reaches.iter().enumerate() {
        for (to, _) in row.iter().enumerate().filter(|(to, reached)| **reached && *to != from) {
            graph.add_edge(nodes[from], nodes[to], ());
        }
    }
    let numbers = |side: Vec<NodeIndex>| {
        let mut side: Vec<NodeNo> = side.into_iter().map(NodeIndex::index).collect();
        side.sort_unstable();
        side
    };
    let mut sides: Vec<Vec<NodeNo>> = tarjan_scc(&graph).into_iter().map(numbers).collect();
    sides.sort_by_key(|side| (Reverse(side.len()), side[0]));
    sides
}

/// When the last fault is over: its end, or its beginning where it stays. The settle time counts from here. Nothing
/// where there are no faults.
#[must_use]
pub fn last_fault_end(scenario: &Scenario) -> Option<Time> {
    last_end(&scenario.faults)
}

/// As [`last_fault_end`], of a list.
pub(crate) fn last_end(faults: &[Fault]) -> Option<Time> {
    faults.iter().map(|fault| fault.until.unwrap_or(fault.at)).max()
}

/// Which nodes are started at time 0: all but those that join later.
#[must_use]
pub fn initial_nodes(nodes: usize, faults: &[Fault]) -> Vec<bool> {
    let mut there = vec![true; nodes];
    for fault in faults {
        if let FaultKind::Join { nodes } = &fault.kind {
            nodes.iter().for_each(|node| there[*node] = false);
        }
    }
    there
}

/// What is different about a way from one node to another. What is absent is as the network says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkOverride {
    /// Instead of the network's law; a matrix of regions still comes on top.
    pub latency: Option<LatencyLaw>,
    /// Instead of the network's loss.
    pub loss: Option<Ppm>,
    /// The bandwidth of this way alone.
    pub bandwidth_bps: Option<u64>,
}

/// Which faults are on.
#[derive(Clone, Debug)]
pub struct FaultState {
    faults: Vec<Fault>,
    nodes: usize,
    /// The faults that are on, in the order in which they began.
    active: Vec<usize>,
    /// `reaches[from][to]`, of `active`.
    reaches: Vec<Vec<bool>>,
    /// The same where nothing is cut: the topology.
    ways: Vec<Vec<bool>>,
}

impl FaultState {
    /// Nothing has gone wrong yet.
    #[must_use]
    pub fn new(scenario: &Scenario) -> FaultState {
        let nodes = scenario.nodes.len();
        let ways = topology::graph(scenario.network.topology, nodes, &Draws::new(scenario.seed));
        let ways = ways.map_or_else(|| vec![vec![true; nodes]; nodes], |graph| graph.matrix());
        FaultState { faults: scenario.faults.clone(), nodes, active: Vec::new(), reaches: ways.clone(), ways }
    }

    /// Applies all steps of one instant; says whether who can reach whom was computed anew.
    pub fn apply(&mut self, steps: &[Step]) -> bool {
        let mut cuts_changed = false;
        for step in steps {
            if step.begins {
                assert!(!self.active.contains(&step.fault), "fault {} begins twice", step.fault);
                self.active.push(step.fault);
            } else {
                let place = self.active.iter().position(|fault| *fault == step.fault);
                self.active.remove(place.expect("a fault ends that has not begun"));
            }
            let kind = &self.faults[step.fault].kind;
            cuts_changed |= matches!(kind, FaultKind::Partition { .. } | FaultKind::OneWay { .. });
        }
        if cuts_changed {
            self.compute_reaches();
        }
        cuts_changed
    }

    /// The faults that are on, in the order in which they began.
    #[must_use]
    pub fn active(&self) -> &[usize] {
        &self.active
    }

    /// Whether the network carries frames that way. Who is up is another question; a node always reaches itself.
    #[must_use]
    pub fn reaches(&self, from: NodeNo, to: NodeNo) -> bool {
        self.reaches[from][to]
    }

    /// `matrix()[from][to]`, for [`crate::observe::Truth::reaches`].
    #[must_use]
    pub fn matrix(&self) -> &[Vec<bool>] {
        &self.reaches
    }

    /// What is different about the way from one node to another. Of several faults the one that began last decides,
    /// value by value.
    #[must_use]
    pub fn link(&self, from: NodeNo, to: NodeNo) -> LinkOverride {
        let mut link = LinkOverride::default();
        for fault in &self.active {
            let FaultKind::Link { between: [one, other], latency, loss, bandwidth_bps } = &self.faults[*fault].kind
            else {
                continue;
            };
            let within = |side: &[NodeNo], node| side.binary_search(&node).is_ok();
            let there = within(one, from) && within(other, to);
            if there || within(other, from) && within(one, to) {
                link.latency = latency.clone().or(link.latency);
                link.loss = loss.or(link.loss);
                link.bandwidth_bps = bandwidth_bps.or(link.bandwidth_bps);
            }
        }
        link
    }

    fn compute_reaches(&mut self) {
        self.reaches.clone_from(&self.ways);
        for fault in &self.active {
            match &self.faults[*fault].kind {
                FaultKind::Partition { groups } => cut_between(&mut self.reaches, &group_of(self.nodes, groups)),
                FaultKind::OneWay { from, to } => {
                    for from in from {
                        to.iter().filter(|to| *to != from).for_each(|to| self.reaches[*from][*to] = false);
                    }
                }
                FaultKind::Link { .. }
                | FaultKind::Crash { .. }
                | FaultKind::Pause { .. }
                | FaultKind::Slow { .. }
                | FaultKind::Join { .. }
                | FaultKind::Leave { .. }
                | FaultKind::Rotate { .. }
                | FaultKind::Clock { .. }
                | FaultKind::Byzantine { .. } => {}
            }
        }
    }
}

/// The number of each node's group; those in none share the last number.
fn group_of(nodes: usize, groups: &[Vec<NodeNo>]) -> Vec<usize> {
    let mut group_of = vec![groups.len(); nodes];
    for (number, group) in groups.iter().enumerate() {
        group.iter().for_each(|node| group_of[*node] = number);
    }
    group_of
}

fn cut_between(reaches: &mut [Vec<bool>], group_of: &[usize]) {
    for (from, row) in reaches.iter_mut().enumerate() {
        for (to, reached) in row.iter_mut().enumerate() {
            *reached &= group_of[from] == group_of[to];
        }
    }
}

/// A fault in a few words.
#[must_use]
pub fn describe(kind: &FaultKind) -> String {
    let nodes = |nodes: &[NodeNo]| crate::scenario::ranges(nodes).join(", ");
    match kind {
        FaultKind::Partition { groups } => {
            let groups: Vec<String> = groups.iter().map(|group| nodes(group)).collect();
            format!("partition [{}]", groups.join("] [")) + if groups.len() == 1 { " from the rest" } else { "" }
        }
        FaultKind::OneWay { from, to } => format!("one_way, nothing from {} to {}", nodes(from), nodes(to)),
        FaultKind::Link { between: [one, other], .. } => format!("link between {} and {}", nodes(one), nodes(other)),
        FaultKind::Crash { nodes: who, storage, connection } => {
            format!("crash {}, storage {}, connections {connection:?}", nodes(who), storage.name()).to_lowercase()
        }
        FaultKind::Pause { nodes: who } => format!("pause {}", nodes(who)),
        FaultKind::Slow { nodes: who, factor_millionths } => {
            let mut factor = String::new();
            write_millionths(&mut factor, *factor_millionths).expect("a String takes everything");
            format!("slow {}, everything takes {factor} times as long", nodes(who))
        }
        FaultKind::Join { nodes: who } => format!("join {}", nodes(who)),
        FaultKind::Leave { nodes: who } => format!("leave {}", nodes(who)),
        FaultKind::Rotate { nodes: who } => format!("rotate {}", nodes(who)),
        FaultKind::Clock { nodes: who, skew_us, drift_ppm, jump_us } => {
            format!("clock {}, skew {skew_us} us, drift {drift_ppm} ppm, jump {jump_us} us", nodes(who))
        }
        FaultKind::Byzantine { nodes: who, behaviour } => format!("byzantine {}: {}", nodes(who), behaviour.name()),
    }
}

/// A kind of fault, for people.
#[derive(Clone, Copy, Debug)]
pub struct FaultHelp {
    /// As `kind` names it.
    pub kind: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Its keys, besides `at`.
    pub keys: &'static str,
    /// A `[[fault]]` that can be copied.
    pub example: &'static str,
    /// What it does to messages that are already under way, or are sent meanwhile.
    pub under_way: &'static str,
}

/// Every kind that can be used, in the order of the contract.
pub const FAULT_HELP: &[FaultHelp] = &[
    FaultHelp {
        kind: "partition",
        what: "Nothing passes between different groups. Nodes in no group are a group together.",
        keys: "groups; for or until (absent: until the end); every, times",
        example: "at = \"30s\"\nfor = \"30s\"\nkind = \"partition\"\ngroups = [[\"n0..n5\"], [\"n6..n9\"]]",
        under_way: "TCP links freeze what is under way and what is sent meanwhile, up to the high-water mark, and deliver it in \
                    order when the cut ends; past `connection_timeout` the connection is reset and all of it is lost. UDP drops it.",
    },
    FaultHelp {
        kind: "one_way",
        what: "What `from` sends to `to` does not arrive; the other direction works.",
        keys: "from, to; for or until (absent: until the end); every, times",
        example: "at = \"30s\"\nfor = \"20s\"\nkind = \"one_way\"\nfrom = [\"n0\"]\nto = [\"n1..n9\"]",
        under_way: "As `partition`, in that direction alone.",
    },
    FaultHelp {
        kind: "link",
        what: "The links between two sets of nodes are worse, in both directions. Of several the last that began decides.",
        keys: "between, and at least one of latency, loss, bandwidth; for or until (absent: until the end); every, times",
        example: "at = \"30s\"\nfor = \"20s\"\nkind = \"link\"\nbetween = [[\"n0\"], [\"n1..n9\"]]\nlatency = \"200ms\"\nloss = \"5%\"",
        under_way: "What is under way arrives as it would have; what is sent from now on meets the worse link. Its latency is \
                    drawn for each message, in place of what the pair has as its own; its losses come one by one. A lost segment \
                    comes later over TCP and never over UDP.",
    },
    FaultHelp {
        kind: "crash",
        what: "The process dies; it starts again when the fault ends, with its key and with what is left of its store: \
               \"kept\", all that was written; \"lost\", nothing; \"unsynced_lost\", what was durable: a persist is durable when a \
               frame or an answer to a client has followed it, a forget when a later persist is; \"torn\", that and the first \
               records after it, up to one of which a part was written: it is found by its checksum and cut off.",
        keys: "nodes; storage = \"kept\" (unless said), \"lost\", \"torn\" or \"unsynced_lost\"; connection = \"silent\" (the machine vanishes) or \"reset\" (it says so); \
               for or until (absent: for good); every, times",
        example: "at = \"40s\"\nfor = \"20s\"\nkind = \"crash\"\nnodes = [\"n3\"]\nstorage = \"lost\"",
        under_way: "What the node has sent still arrives. What is sent to it is lost: TCP notices at once where connections are \
                    reset, and after `connection_timeout` where they fall silent.",
    },
    FaultHelp {
        kind: "pause",
        what: "The process stands still, as on a laptop that sleeps, and goes on when the fault ends; its connections stay.",
        keys: "nodes; for or until (absent: until the end); every, times",
        example: "at = \"40s\"\nfor = \"10s\"\nkind = \"pause\"\nnodes = [\"n3\", \"n4\"]",
        under_way: "TCP keeps what arrives, up to the high-water mark, and the node reads it all when it goes on. UDP drops it.",
    },
    FaultHelp {
        kind: "slow",
        what: "The processor takes `factor` times as long: for each message and signature, where `cpu` in `[nodes]` says what they cost, \
               and for each execution that begins. Factors of several faults at once multiply.",
        keys: "nodes, factor (0.01 to 1000); for or until (absent: until the end); every, times",
        example: "at = \"40s\"\nfor = \"20s\"\nkind = \"slow\"\nnodes = [\"n3\"]\nfactor = 10",
        under_way: "They arrive as they would have, and wait in order until the node has done what came before.",
    },
    FaultHelp {
        kind: "join",
        what: "The node starts only now.",
        keys: "nodes",
        example: "at = \"40s\"\nkind = \"join\"\nnodes = [\"n8..n9\"]",
        under_way: "Nothing was sent to it before.",
    },
    FaultHelp {
        kind: "leave",
        what: "The node says goodbye and stops; it starts again when the fault ends, if it does.",
        keys: "nodes; for or until (absent: for good); every, times",
        example: "at = \"40s\"\nkind = \"leave\"\nnodes = [\"n9\"]",
        under_way: "What it has sent still arrives, its goodbye included. Its connections are closed; what is sent to it is lost.",
    },
    FaultHelp {
        kind: "rotate",
        what: "The node gives its identity another key; one that is down does so before it starts again. No fault, but a thing that \
               happens: at most 16 times for each node, at least 60 s apart.",
        keys: "nodes",
        example: "at = \"40s\"\nkind = \"rotate\"\nnodes = [\"n3..n5\"]",
        under_way: "What it has sent still arrives, and its old key's signatures are taken for 60 s.",
    },
    FaultHelp {
        kind: "clock",
        what: "The wall clock is wrong; the node is honest all the same. It is off by `skew` and runs faster by `drift_ppm` while the \
               fault lasts, and is then set right; it jumps by `jump` at the beginning, and nobody sets that right.",
        keys: "nodes; at least one of skew, drift_ppm, jump, each of which may be below zero; for or until (absent: until the end); every, times",
        example: "at = \"30s\"\nfor = \"30s\"\nkind = \"clock\"\nnodes = [\"n3\"]\nskew = \"-2s\"\ndrift_ppm = 200",
        under_way: "Arrives as it was sent; its stamp is judged by the clock of the receiver.",
    },
    FaultHelp {
        kind: "byzantine",
        what: "The nodes misbehave, with real keys and real frames; those of one fault share a plan and each other's keys. Several \
               behaviours of one node are passed in the order in which they begin. Whoever has misbehaved is not judged any more, but \
               what it does to the others is. The behaviours follow below.",
        keys: "nodes, behaviour and its keys; for or until (absent: until the end); every, times",
        example: "at = \"20s\"\nkind = \"byzantine\"\nnodes = [\"n7..n9\"]\nbehaviour = \"forge\"\nshare = \"100%\"",
        under_way: "What is under way arrives as it was sent.",
    },
];

#[cfg(test)]
mod tests;
