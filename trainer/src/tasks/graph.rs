//! Shortest paths out of random walks: the illustration of the Decision Transformer paper (Chen et al. 2021,
//! introduction and appendix).
//!
//! A directed graph of 20 nodes has each edge with probability 0.12. The state is the node, the action is the node
//! to go to; without such an edge one stays. Each step costs 1 until the goal is reached. The data are 1,000 random
//! walks of at most 10 steps. Asked for the best return that is feasible from its start, the network must find
//! shorter paths than those it has seen, up to the shortest ones, while cloning the behaviour (the return hidden)
//! walks at random.

use std::collections::VecDeque;

use tickerml_shared::rand::Rng;

use super::rollout::{Aim, Choice, Learned, Lesson, Run, World, corpus, play, small, teach};
use super::{Bar, Proof, TaskError, mean, share};

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
/// Walks from each start by which cloning is judged.
const CLONED: usize = 20;
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
}

impl World for Walk<'_> {
    fn observe(&self, state: &mut [f32]) {
        state[self.node] = 1.0;
    }

    fn act(&mut self, action: usize, _: &mut Rng) -> f32 {
        if self.graph.edges[self.node].contains(&action) {
            self.node = action;
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
            Run::recorded(Walk { graph, node }, NODES, LIMIT, rng, random_step)
        })
        .collect()
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
    /// Steps when asked over steps of the shortest path; failures count [`LIMIT`].
    excess: Vec<f64>,
    /// The same for cloning and for the walks in the data.
    cloned_excess: Vec<f64>,
    data_excess: Vec<f64>,
    optimal: Vec<bool>,
    /// Starts from which no walk in the data took a shortest path, and whether they were solved optimally.
    unseen: Vec<bool>,
}

impl Found {
    #[expect(clippy::cast_precision_loss, reason = "ten steps")]
    fn excess(steps: Option<usize>, best: usize) -> f64 {
        steps.unwrap_or(LIMIT) as f64 / best as f64
    }

    /// Compares what is walked from every start of a graph.
    fn add(&mut self, graph: &Graph, data: &[Run], learned: &Learned, rng: &mut Rng) {
        let starts = graph.starts();
        let best_seen = |start: usize| {
            data.iter()
                .filter(|run| began(run) == Some(start))
                .filter_map(|run| arrived(graph, run))
                .min()
        };
        for run in data {
            let steps = arrived(graph, run);
            self.data.add(steps);
            if let Some(best) = began(run).and_then(|start| graph.distance[start]) {
                self.data_excess.push(Self::excess(steps, best));
            }
        }
        let worlds = |repeat: usize| -> Vec<Walk<'_>> {
            starts
                .iter()
                .flat_map(|node| vec![Walk { graph, node: *node }; repeat])
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
            self.excess.push(Self::excess(steps, best));
            self.optimal.push(steps == Some(best));
            if best_seen(*start) != Some(best) {
                self.unseen.push(steps == Some(best));
            }
        }
        let hidden = vec![Aim::Hidden; starts.len() * CLONED];
        let cloned = play(learned, worlds(CLONED), &hidden, Choice::Sampled, rng);
        for (index, run) in cloned.iter().enumerate() {
            let steps = arrived(graph, run);
            self.cloned.add(steps);
            self.cloned_excess
                .push(Self::excess(steps, graph.steps(starts[index / CLONED])));
        }
    }
}

/// Runs the proof: one graph and a small network in the short form, three graphs else.
///
/// # Errors
/// When no graph is good, or when training stops.
pub fn prove(seed: u64, short: bool, report: &mut impl FnMut(&str)) -> Result<Proof, TaskError> {
    let (graphs, steps, d_model) = if short { (1, 350, 64) } else { (3, 1_200, 64) };
    let mut found = Found::default();
    for index in 0..graphs {
        let mut rng = Rng::new(seed, 100 + index);
        let graph = Graph::drawn(&mut rng)?;
        let data = walks(&graph, &mut rng);
        let corpus = corpus(&data, NODES, NODES, RETURN_SCALE, 0.25);
        let lesson = Lesson {
            steps,
            batch: 64,
            rate: 2e-3,
            seed: seed + index,
        };
        let spec = small(&corpus, LIMIT, d_model, 3);
        let learned = teach(&spec, &corpus, lesson, report)?;
        found.add(&graph, &data, &learned, &mut rng);
        report(&format!(
            "graph {} of {graphs}: {:.0} % of the starts so far solved optimally",
            index + 1,
            100.0 * share(found.optimal.iter().copied())
        ));
    }
    report("share of paths in % by steps  1   2   3   4   5   6   7   8   9  10 never");
    report(&found.data.line("random walks (data)"));
    report(&found.cloned.line("behaviour cloned"));
    report(&found.asked.line("asked for the best"));
    report(&found.shortest.line("shortest paths"));
    let mut proof = Proof::new("graph");
    let excess = mean(found.excess);
    proof.add(
        "share of starts solved by a shortest path",
        share(found.optimal),
        Bar::AtLeast(if short { 0.7 } else { 0.9 }),
    );
    proof.add(
        "steps over the shortest path's, asked for the best return",
        excess,
        Bar::AtMost(if short { 1.5 } else { 1.15 }),
    );
    proof.add(
        "… of random walks in the data",
        mean(found.data_excess),
        Bar::Shown,
    );
    let cloned = mean(found.cloned_excess);
    proof.add("… of cloned behaviour", cloned, Bar::AtLeast(1.5 * excess));
    #[expect(clippy::cast_precision_loss, reason = "some dozens of starts")]
    proof.add(
        "starts from which no walk in the data took a shortest path",
        found.unseen.len() as f64,
        Bar::Shown,
    );
    if !found.unseen.is_empty() {
        proof.add(
            "… share of them solved by one",
            share(found.unseen),
            Bar::Shown,
        );
    }
    Ok(proof)
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a bound that is a usize")
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
            assert_eq!(run.earned(), -(steps as f32));
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
