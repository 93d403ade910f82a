//! Who may connect to whom, as a graph of the nodes.
//!
//! A way between two nodes is one that connections can be made over and datagrams sent on; where there is none, nothing passes,
//! as if a firewall stood between them, from the beginning to the end. Faults cut what there is, and never add to it. Nodes
//! pass on what others have signed (who is there, what is certified), and nothing else: an auction, a vote or a heartbeat
//! is heard by neighbours alone. So a graph that is connected lets all know of all, but only those with a quorum among their
//! neighbours and themselves can decide (`docs/protocol-notes.md` has relaying among what is not built).
//!
//! Each node's first contacts are neighbours of it, as an operator would have set them.

use std::collections::{BTreeSet, VecDeque};

use marlos::units::Ppm;
use petgraph::algo::connected_components;
use petgraph::graph::{NodeIndex, UnGraph};

use crate::draw::{Draws, Purpose, below};
use crate::scenario::{NodeNo, Scenario, Topology};

/// The graph of a topology; nothing where everyone may connect to everyone.
#[must_use]
pub fn graph(topology: Topology, nodes: usize, draws: &Draws) -> Option<Graph> {
    let mut dice = Dice { draws, n: 0 };
    let ways = match topology {
        Topology::Full | Topology::Regions => return None,
        Topology::Ring => lattice(nodes, 2),
        Topology::KRegular { degree } => shuffled(lattice(nodes, degree as usize), nodes, &mut dice),
        Topology::SmallWorld { degree, rewire } => rewired(nodes, degree as usize, rewire, &mut dice),
        Topology::ScaleFree { degree } => grown(nodes, degree as usize, &mut dice),
    };
    Some(Graph::new(nodes, ways))
}

/// A line on who may connect to whom in a scenario; nothing where everyone may connect to everyone.
#[must_use]
pub fn describe(scenario: &Scenario) -> Option<String> {
    let topology = scenario.network.topology;
    let graph = graph(topology, scenario.nodes.len(), &Draws::new(scenario.seed))?;
    Some(format!("topology {}: {}", topology.name(), graph.shape()))
}

/// A way, the lower number first.
type Way = (NodeNo, NodeNo);

/// Nodes and the ways between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Of each node, by rising number.
    neighbours: Vec<Vec<NodeNo>>,
}

impl Graph {
    fn new(nodes: usize, ways: BTreeSet<Way>) -> Graph {
        let mut neighbours = vec![Vec::new(); nodes];
        for (a, b) in ways {
            assert!(a < b && b < nodes, "a way from n{a} to n{b}");
            neighbours[a].push(b);
            neighbours[b].push(a);
        }
        neighbours.iter_mut().for_each(|list| list.sort_unstable());
        Graph { neighbours }
    }

    /// To whom a node may connect, by rising number.
    #[must_use]
    pub fn neighbours(&self, node: NodeNo) -> &[NodeNo] {
        &self.neighbours[node]
    }

    /// `matrix()[a][b]`: whether there is a way. Every node reaches itself.
    #[must_use]
    pub fn matrix(&self) -> Vec<Vec<bool>> {
        let n = self.neighbours.len();
        let row = |node: NodeNo| {
            let mut row = vec![false; n];
            row[node] = true;
            self.neighbours[node].iter().for_each(|other| row[*other] = true);
            row
        };
        (0..n).map(row).collect()
    }

    /// What is to be known of it.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let degrees = || self.neighbours.iter().map(Vec::len);
        let mut petgraph = UnGraph::<(), ()>::new_undirected();
        let nodes: Vec<NodeIndex> = self.neighbours.iter().map(|_| petgraph.add_node(())).collect();
        for (a, list) in self.neighbours.iter().enumerate() {
            for b in list.iter().filter(|b| a < **b) {
                petgraph.add_edge(nodes[a], nodes[*b], ());
            }
        }
        let parts = connected_components(&petgraph);
        Shape {
            nodes: self.neighbours.len(),
            ways: petgraph.edge_count(),
            least: degrees().min().unwrap_or(0),
            most: degrees().max().unwrap_or(0),
            parts,
            diameter: (parts == 1)
                .then(|| (0..self.neighbours.len()).map(|node| self.farthest(node)).max().unwrap_or(0)),
        }
    }

    /// How many ways it takes from a node to the one that is farthest from it, of those that it reaches.
    fn farthest(&self, node: NodeNo) -> usize {
        let mut hops = vec![None; self.neighbours.len()];
        hops[node] = Some(0);
        let (mut next, mut most) = (VecDeque::from([node]), 0);
        while let Some(at) = next.pop_front() {
            let far = hops[at].expect("it was reached");
            most = most.max(far);
            for other in &self.neighbours[at] {
                if hops[*other].is_none() {
                    hops[*other] = Some(far + 1);
                    next.push_back(*other);
                }
            }
        }
        most
    }
}

/// What is to be known of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many nodes.
    pub nodes: usize,
    /// How many ways between them.
    pub ways: usize,
    /// The fewest neighbours of a node.
    pub least: usize,
    /// The most.
    pub most: usize,
    /// Parts without a way between them; one where the graph is connected.
    pub parts: usize,
    /// The most ways that lie between two nodes; nothing where the graph is not connected.
    pub diameter: Option<usize>,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shape { nodes, ways, least, most, parts, diameter } = self;
        write!(f, "{ways} ways between {nodes} nodes, {least} to {most} each, ")?;
        match diameter {
            Some(diameter) => write!(f, "connected, at most {diameter} apart (the diameter)"),
            None => write!(f, "not connected: {parts} parts"),
        }?;
        let quorum = marlos::quorum::quorum(u32::try_from(*nodes).expect("at most 4,096 nodes")) as usize;
        if *least + 1 < quorum {
            let who = if *most + 1 < quorum { "no node has" } else { "not every node has" };
            write!(f, "; {who} a quorum of {quorum} among itself and its neighbours")?;
        }
        Ok(())
    }
}

/// Draws in a row.
struct Dice<'a> {
    draws: &'a Draws,
    n: u64,
}

impl Dice<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.n += 1;
        let draw = below(self.draws.one(Purpose::Topology, 0, 0, 0, self.n), bound as u64);
        usize::try_from(draw).expect("a place in memory")
    }
}

fn way(a: NodeNo, b: NodeNo) -> Way {
    (a.min(b), a.max(b))
}

/// Each node and those that are nearest on a ring, `degree` of them; with an odd degree also the one across, so that the
/// number of nodes must be even then.
fn lattice(nodes: usize, degree: usize) -> BTreeSet<Way> {
    let mut ways = BTreeSet::new();
    for node in 0..nodes {
        ways.extend((1..=degree / 2).map(|off| way(node, (node + off) % nodes)));
        if !degree.is_multiple_of(2) {
            ways.insert(way(node, (node + nodes / 2) % nodes));
        }
    }
    ways
}

/// How often two ways exchange their ends, for each way.
const EXCHANGES: usize = 10;

/// A graph with the same degrees and otherwise at random: again and again two ways exchange their ends (a Markov chain on such
/// graphs; Rao, Jana, Bandyopadhyay 1996).
fn shuffled(ways: BTreeSet<Way>, nodes: usize, dice: &mut Dice<'_>) -> BTreeSet<Way> {
    let mut list: Vec<Way> = ways.iter().copied().collect();
    let mut ways = ways;
    // As long as it falls apart, some more. There is an end to it: what is left then is what it is.
    for _ in 0..20 {
        for _ in 0..EXCHANGES * list.len() {
            let (one, other) = (dice.below(list.len()), dice.below(list.len()));
            let ((a, b), (c, d)) = (list[one], list[other]);
            let (c, d) = if dice.below(2) == 0 { (c, d) } else { (d, c) };
            let new = [way(a, d), way(c, b)];
            let simple = a != d && c != b && new[0] != new[1] && new.iter().all(|way| !ways.contains(way));
            if one != other && simple {
                ways.remove(&list[one]);
                ways.remove(&list[other]);
                ways.extend(new);
                (list[one], list[other]) = (new[0], new[1]);
            }
        }
        if Graph::new(nodes, ways.clone()).shape().parts == 1 {
            break;
        }
    }
    ways
}

/// A small world: a lattice of which some ways lead elsewhere (Watts, Strogatz 1998).
fn rewired(nodes: usize, degree: usize, share: Ppm, dice: &mut Dice<'_>) -> BTreeSet<Way> {
    let mut ways = lattice(nodes, degree);
    for off in 1..=degree / 2 {
        for node in 0..nodes {
            let old = way(node, (node + off) % nodes);
            let hit = (dice.below(Ppm::ONE.0 as usize) as u64) < u64::from(share.0);
            let to = dice.below(nodes);
            // Where it already has a way, or is itself, everything stays.
            if hit && to != node && ways.contains(&old) && !ways.contains(&way(node, to)) {
                ways.remove(&old);
                ways.insert(way(node, to));
            }
        }
    }
    ways
}

/// Nodes that come one by one, each with `degree` ways to nodes that have many already: few have very many in the end
/// (Barabási, Albert 1999). The first `degree + 1` know each other.
fn grown(nodes: usize, degree: usize, dice: &mut Dice<'_>) -> BTreeSet<Way> {
    let mut ways: BTreeSet<Way> = (0..=degree).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    // Each node as often as it has ways: a draw of one prefers those with many.
    let mut ends: Vec<NodeNo> = ways.iter().flat_map(|(a, b)| [*a, *b]).collect();
    for node in degree + 1..nodes {
        let mut chosen = BTreeSet::new();
        while chosen.len() < degree {
            chosen.insert(ends[dice.below(ends.len())]);
        }
        for other in chosen {
            ways.insert(way(other, node));
            ends.extend([other, node]);
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn degrees(graph: &Graph) -> Vec<usize> {
        graph.neighbours.iter().map(Vec::len).collect()
    }

    fn made(topology: Topology, nodes: usize, seed: u64) -> Graph {
        graph(topology, nodes, &Draws::new(seed)).expect("a graph of its own")
    }

    #[test]
    fn everyone_may_connect_to_everyone_unless_it_is_said() {
        assert_eq!(graph(Topology::Full, 10, &Draws::new(1)), None);
        assert_eq!(graph(Topology::Regions, 10, &Draws::new(1)), None);
    }

    #[test]
    fn a_ring_has_two_neighbours_each_and_half_its_size_as_diameter() {
        for nodes in [3, 10, 11, 100] {
            let ring = made(Topology::Ring, nodes, 1);
            assert!(degrees(&ring).iter().all(|degree| *degree == 2));
            let shape = ring.shape();
            assert_eq!((shape.ways, shape.parts, shape.diameter), (nodes, 1, Some(nodes / 2)), "{nodes} nodes");
        }
        assert_eq!(made(Topology::Ring, 10, 1).neighbours(0), [1, 9]);
    }

    #[test]
    fn a_regular_graph_has_its_degree_everywhere_is_connected_and_much_narrower_than_a_ring() {
        for (nodes, degree) in [(10, 3), (20, 4), (11, 10), (100, 4), (100, 7), (8, 7)] {
            for seed in 0..10 {
                let graph = made(Topology::KRegular { degree }, nodes, seed);
                assert!(degrees(&graph).iter().all(|d| *d == degree as usize), "{nodes}, {degree}: {graph:?}");
                let shape = graph.shape();
                assert_eq!((shape.parts, shape.ways), (1, nodes * degree as usize / 2));
                assert!(shape.diameter.is_some_and(|d| d <= 7), "{shape}");
            }
        }
        assert_ne!(made(Topology::KRegular { degree: 4 }, 20, 1), made(Topology::KRegular { degree: 4 }, 20, 2));
    }

    #[test]
    fn a_small_world_keeps_its_ways_and_some_of_them_shorten_all() {
        let world = |rewire| made(Topology::SmallWorld { degree: 4, rewire: Ppm(rewire) }, 200, 1);
        let (lattice, small) = (world(0), world(100_000));
        assert_eq!(lattice.shape().diameter, Some(50));
        assert_eq!((lattice.shape().ways, small.shape().ways), (400, 400));
        assert!(small.shape().diameter.is_some_and(|diameter| diameter < 15), "{}", small.shape());
        let near = |node: usize, other: usize| node.abs_diff(other).min(200 - node.abs_diff(other)) <= 2;
        let far: usize =
            (0..200).map(|node| small.neighbours(node).iter().filter(|other| !near(node, **other)).count()).sum();
        // A tenth of 400 ways, each seen from both ends; a few draws hit what is there.
        assert!((far / 2).abs_diff(40) < 20, "{far}");
    }

    #[test]
    fn in_a_scale_free_graph_few_have_very_many() {
        let graph = made(Topology::ScaleFree { degree: 2 }, 400, 1);
        let mut degrees = degrees(&graph);
        degrees.sort_unstable();
        let shape = graph.shape();
        assert_eq!((shape.ways, shape.parts, degrees[0]), (3 + 397 * 2, 1, 2));
        assert!(degrees[399] > 30 && degrees[200] <= 3, "{degrees:?}");
        // The share of nodes with at least k ways falls as m (m + 1) / (k (k + 1)): for k = 4 it is 0.3.
        let share = degrees.iter().filter(|degree| **degree >= 4).count() as f64 / 400.0;
        assert!((share - 0.3).abs() < 0.07, "{share}");
    }

    #[test]
    fn a_graph_that_falls_apart_says_so_and_one_without_quorum_too() {
        let apart = Graph::new(4, BTreeSet::from([(0, 1), (2, 3)])).shape();
        assert_eq!((apart.parts, apart.diameter), (2, None));
        assert!(apart.to_string().contains("not connected: 2 parts"), "{apart}");
        let ring = made(Topology::Ring, 10, 1).shape().to_string();
        assert!(ring.contains("at most 5 apart") && ring.contains("no node has a quorum of 7"), "{ring}");
        let small = made(Topology::Ring, 3, 1).shape().to_string();
        assert!(!small.contains("quorum"), "three in a ring are everyone: {small}");
    }

    #[test]
    fn the_matrix_is_the_graph() {
        let graph = made(Topology::Ring, 5, 1);
        assert_eq!(graph.matrix()[0], [true, true, false, false, true]);
        let matrix = graph.matrix();
        assert!((0..5).all(|a| (0..5).all(|b| matrix[a][b] == matrix[b][a])));
    }
}
