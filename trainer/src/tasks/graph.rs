//! Shortest paths out of random walks: the illustration of the Decision Transformer paper (Chen et al. 2021,
//! introduction and appendix).
//!
//! A directed graph of 20 nodes has each edge with probability 0.12. The state is the node, the action is the node
//! to go to; without such an edge one stays. Each step costs 1 until the goal is reached. The data are 1,000 random
//! walks of at most 10 steps; one that has not arrived by then costs 10 more, so that a return tells whether it
//! arrived (the paper's network knows the time and can tell so; this one knows no time). Asked for the best return that is feasible from its start, the network must find
//! shorter paths than those it has seen, up to the shortest ones, while cloning the behaviour (the return hidden)
//! walks at random.
//!
//! The long form also withholds every walk that took a shortest path from a start three steps or more away: such a
//! path must then be put together from pieces of walks that began elsewhere.

use std::collections::VecDeque;

use tickerml_shared::rand::Rng;

use super::rollout::{Aim, Choice, Learned, Lesson, Run, World, corpus, play, small, teach};
use super::{Bar, Proof, TaskError, below, mean, share};

const NODES: usize = 20;
/// Probability of an edge, in thousandths.
const EDGE: u64 = 120;
/// Random walks in the data.
const WALKS: usize = 1_000;
/// Steps of a walk, at most.
const LIMIT: usize = 10;
/// A graph is drawn again when fewer nodes than this lead to the goal, so that there is something to ask.
const STARTS: usize = 14;
/// … or when none of them is this far away.
const FAR: usize = 4;
/// Graphs that are drawn, at most, until one is good.
const DRAWS: usize = 1_000;
/// What it costs not to have arrived.
const LOST: f32 = 10.0;
/// Walks from each start by which cloning is judged.
const CLONED: usize = 20;
/// From this many steps away, walks along a shortest path are withheld where paths must be put together.
const WITHHELD: usize = 3;
/// One unit of the return token.
const RETURN_SCALE: f32 = 4.0;

/// A directed graph and the way to its goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Graph {
    edges: Vec<Vec<usize>>,
    goal: usize,
    /// Steps to the goal; none where it cannot be reached within the limit.
    distance: Vec<Option<usize>>,
}

impl Graph {
    /// Draws graphs until one has starts enough.
    fn drawn(rng: &mut Rng) -> Result<Self, TaskError> {
        for _ in 0..DRAWS {
            let edges: Vec<Vec<usize>> = (0..NODES)
                .map(|from| {
                    (0..NODES)
                        .filter(|to| rng.below(1_000) < EDGE && *to != from)
                        .collect()
                })
                .collect();
            let goal = below(rng, NODES);
            let graph = Self {
                distance: distances(&edges, goal),
                edges,
                goal,
            };
            let starts = graph.starts();
            if starts.len() >= STARTS && starts.iter().any(|start| graph.steps(*start) >= FAR) {
                return Ok(graph);
            }
        }
        Err(TaskError(format!(
            "none of {DRAWS} random graphs leads to its goal from {STARTS} nodes; choose another seed"
        )))
    }

    /// Nodes that lead to the goal.
    fn starts(&self) -> Vec<usize> {
        (0..NODES)
            .filter(|node| *node != self.goal && self.distance[*node].is_some())
            .collect()
    }

    /// Steps from a start to the goal.
    fn steps(&self, start: usize) -> usize {
        self.distance[start].expect("a start leads to the goal")
    }
}

/// Steps to the goal along the shortest way (breadth first, against the edges).
fn distances(edges: &[Vec<usize>], goal: usize) -> Vec<Option<usize>> {
    let mut distance = vec![None; edges.len()];
    distance[goal] = Some(0);
    let mut next = VecDeque::from([(goal, 0)]);
    while let Some((node, steps)) = next.pop_front() {
        for from in (0..edges.len()).filter(|from| edges[*from].contains(&node)) {
            if distance[from].is_none() && steps < LIMIT {
                distance[from] = Some(steps + 1);
                next.push_back((from, steps + 1));
            }
        }
    }
    distance
}

/// Somebody who walks on a graph.
#[derive(Clone, Copy, Debug)]
struct Walk<'g> {
    graph: &'g Graph,
    node: usize,
    taken: usize,
}

impl<'g> Walk<'g> {
    const fn from(graph: &'g Graph, node: usize) -> Self {
        Self {
            graph,
            node,
            taken: 0,
        }
    }
}

impl World for Walk<'_> {
    fn observe(&self, state: &mut [f32]) {
        state[self.node] = 1.0;
    }

    fn act(&mut self, action: usize, _: &mut Rng) -> f32 {
        if self.graph.edges[self.node].contains(&action) {
            self.node = action;
        }
        self.taken += 1;
        if self.taken == LIMIT && !self.over() {
            return -1.0 - LOST;
        }
        -1.0
    }

    fn over(&self) -> bool {
        self.node == self.graph.goal
    }
}

/// Along a random edge; where there is none, one stays.
fn random_step(walk: &Walk<'_>, rng: &mut Rng) -> usize {
    match walk.graph.edges[walk.node].as_slice() {
        [] => walk.node,
        edges => edges[below(rng, edges.len())],
    }
}

/// Steps of a run, or none when it did not arrive.
fn arrived(graph: &Graph, run: &Run) -> Option<usize> {
    let from = run.states.len() - NODES;
    let last = run.states[from..].iter().position(|seen| *seen > 0.0)?;
    let action = usize::from(*run.actions.last()?);
    (action == graph.goal && graph.edges[last].contains(&action)).then_some(run.actions.len())
}

/// Where a run began.
fn began(run: &Run) -> Option<usize> {
    run.states[..NODES].iter().position(|seen| *seen > 0.0)
}

/// Random walks from random nodes.
fn walks(graph: &Graph, rng: &mut Rng) -> Vec<Run> {
    (0..WALKS)
        .map(|_| {
            let mut node = below(rng, NODES);
            while node == graph.goal {
                node = below(rng, NODES);
            }
            Run::recorded(Walk::from(graph, node), NODES, LIMIT, rng, random_step)
        })
        .collect()
}

/// Whether a walk took a shortest path from a start that is far away.
fn is_withheld(graph: &Graph, run: &Run) -> bool {
    let best = began(run).and_then(|start| graph.distance[start]);
    best.is_some_and(|best| best >= WITHHELD) && arrived(graph, run) == best
}

/// Lengths of paths, counted: 1 to [`LIMIT`] steps, then those that did not arrive.
#[derive(Clone, Debug, Default)]
struct Lengths([usize; LIMIT + 1]);

impl Lengths {
    fn add(&mut self, steps: Option<usize>) {
        self.0[steps.map_or(LIMIT, |steps| steps - 1)] += 1;
    }

    /// Shares in percent, as a line.
    fn line(&self, name: &str) -> String {
        let total = self.0.iter().sum::<usize>().max(1);
        let shares: Vec<String> = self
            .0
            .iter()
            .map(|count| format!("{:>4}", (100 * count + total / 2) / total))
            .collect();
        format!("{name:<22}{}", shares.join(""))
    }
}

/// What was found on all graphs together.
#[derive(Clone, Debug, Default)]
struct Found {
    data: Lengths,
    cloned: Lengths,
    asked: Lengths,
    shortest: Lengths,
    /// Steps over those of the shortest path when asked for it, of cloned behaviour, and of walks in the data; those
    /// that did not arrive count [`LIMIT`] steps.
    excess: [Vec<f64>; 3],
    /// For each start, whether a shortest path was found.
    optimal: Vec<bool>,
    /// The same for starts from which no walk in the data took one.
    unseen: Vec<bool>,
}

impl Found {
    #[expect(clippy::cast_precision_loss, reason = "ten steps")]
    fn add_excess(&mut self, of: usize, steps: Option<usize>, best: usize) {
        self.excess[of].push(steps.unwrap_or(LIMIT) as f64 / best as f64);
    }

    /// Compares what is walked from every start of a graph.
    fn add(&mut self, graph: &Graph, data: &[Run], learned: &Learned, rng: &mut Rng) {
        let starts = graph.starts();
        for run in data {
            let steps = arrived(graph, run);
            self.data.add(steps);
            if let Some(best) = began(run).and_then(|start| graph.distance[start]) {
                self.add_excess(2, steps, best);
            }
        }
        let worlds = |repeat: usize| -> Vec<Walk<'_>> {
            starts
                .iter()
                .flat_map(|node| vec![Walk::from(graph, *node); repeat])
                .collect()
        };
        #[expect(clippy::cast_precision_loss, reason = "ten steps")]
        let aims: Vec<Aim> = starts
            .iter()
            .map(|start| Aim::Return(-(graph.steps(*start) as f32)))
            .collect();
        let asked = play(learned, worlds(1), &aims, Choice::Greedy, rng);
        for (start, run) in starts.iter().zip(&asked) {
            let (steps, best) = (arrived(graph, run), graph.steps(*start));
            self.asked.add(steps);
            self.shortest.add(Some(best));
            self.add_excess(0, steps, best);
            self.optimal.push(steps == Some(best));
            let mut seen = data.iter().filter(|run| began(run) == Some(*start));
            if !seen.any(|run| arrived(graph, run) == Some(best)) {
                self.unseen.push(steps == Some(best));
            }
        }
        let hidden = vec![Aim::Hidden; starts.len() * CLONED];
        let cloned = play(learned, worlds(CLONED), &hidden, Choice::Sampled, rng);
        for (index, run) in cloned.iter().enumerate() {
            let steps = arrived(graph, run);
            self.cloned.add(steps);
            self.add_excess(1, steps, graph.steps(starts[index / CLONED]));
        }
    }

    /// The paper's figure, as shares of paths by their length.
    fn draw(&self, report: &mut impl FnMut(&str)) {
        report("paths in % by steps      1   2   3   4   5   6   7   8   9  10 never");
        for (name, lengths) in [
            ("random walks (data)", &self.data),
            ("behaviour cloned", &self.cloned),
            ("asked for the best", &self.asked),
            ("shortest paths", &self.shortest),
        ] {
            report(&lengths.line(name));
        }
    }
}

/// Teaches a network the walks on some graphs, and compares.
fn found(
    seed: u64,
    graphs: u64,
    steps: u64,
    withhold: bool,
    report: &mut impl FnMut(&str),
) -> Result<Found, TaskError> {
    let mut found = Found::default();
    for index in 0..graphs {
        let mut rng = Rng::new(seed, 100 + index);
        let graph = Graph::drawn(&mut rng)?;
        let mut data = walks(&graph, &mut rng);
        data.retain(|run| !withhold || !is_withheld(&graph, run));
        let corpus = corpus(&data, NODES, NODES, RETURN_SCALE, 0.25);
        let lesson = Lesson {
            steps,
            batch: 64,
            rate: 2e-3,
            seed: seed + index,
        };
        let spec = small(&corpus, LIMIT, 64, 2);
        let learned = teach(&spec, &corpus, lesson, report)?;
        found.add(&graph, &data, &learned, &mut rng);
    }
    found.draw(report);
    Ok(found)
}

/// Runs the proof: one graph in the short form; three, each with all walks and with some withheld, else.
///
/// # Errors
/// When no graph is good, or when training stops.
pub fn prove(seed: u64, short: bool, report: &mut impl FnMut(&str)) -> Result<Proof, TaskError> {
    let (graphs, steps) = if short { (1, 300) } else { (3, 800) };
    let whole = found(seed, graphs, steps, false, report)?;
    let mut proof = Proof::new("graph");
    let [excess, cloned, data] = whole.excess.map(mean);
    proof.add(
        "share of starts solved by a shortest path",
        share(whole.optimal),
        Bar::AtLeast(if short { 0.75 } else { 0.9 }),
    );
    proof.add(
        "steps over the shortest path's, asked for the best return",
        excess,
        Bar::AtMost(if short { 1.4 } else { 1.1 }),
    );
    proof.add("... of random walks in the data", data, Bar::Shown);
    proof.add(
        "... of cloned behaviour",
        cloned,
        Bar::AtLeast(1.5 * excess),
    );
    if short {
        return Ok(proof);
    }
    report("without the walks that took a shortest path from three steps away or more");
    let parts = found(seed, graphs, steps, true, report)?;
    #[expect(clippy::cast_precision_loss, reason = "some dozens of starts")]
    let unseen = parts.unseen.len() as f64;
    proof.add(
        "starts from which no walk took a shortest path",
        unseen,
        Bar::AtLeast(5.0),
    );
    proof.add(
        "... share of them solved by one, put together from pieces",
        share(parts.unseen),
        Bar::AtLeast(0.5),
    );
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_steps_along_the_edges() {
        // 0 → 1 → 2 (goal), 3 → 2, and 4 leads nowhere.
        let edges = vec![vec![1], vec![2], vec![0], vec![2, 4], vec![]];
        assert_eq!(
            distances(&edges, 2),
            [Some(2), Some(1), Some(0), Some(1), None]
        );
    }

    #[test]
    fn walks_follow_edges_and_are_paid_a_step_each() {
        let mut rng = Rng::new(3, 1);
        let graph = Graph::drawn(&mut rng).expect("a graph");
        let data = walks(&graph, &mut rng);
        assert_eq!(data.len(), WALKS);
        for run in &data {
            let steps = run.actions.len();
            assert!((1..=LIMIT).contains(&steps));
            let lost = arrived(&graph, run).map_or(LOST, |_| 0.0);
            assert_eq!(run.earned(), -(steps as f32) - lost);
            assert_eq!(arrived(&graph, run).is_none(), {
                steps == LIMIT && usize::from(run.actions[steps - 1]) != graph.goal
            });
            if let (Some(start), Some(steps)) = (began(run), arrived(&graph, run)) {
                assert!(steps >= graph.steps(start), "shorter than the shortest");
            }
        }
    }

    #[test]
    fn shortest_paths_are_learned_from_random_walks() {
        let proof = prove(1, true, &mut |_: &str| ()).expect("a proof");
        assert!(proof.passed(), "\n{proof}");
    }
}
