//! What a model learns from: market paths, and episodes of policies over them.
//!
//! Many policies share one path, because a small trader does not move the market; a path is kept once.
//! For market data a corpus can only be made from a [`crate::quarantine::Dataset`].

use tickerml_shared::rand::Rng;

use crate::batch::Batch;
use crate::spec::Statistics;

/// What was seen, step by step: T steps of S features.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Raw features, zero where unknown: `[T, S]`.
    pub states: Vec<f32>,
    /// One where a feature is known: `[T, S]`.
    pub valid: Vec<f32>,
    /// False where the step is masked: `[T]`.
    pub live: Vec<bool>,
}

/// What a policy did along a path, and what came of it: T steps of A classes, from `first` on.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Index of its path.
    pub path: usize,
    /// Its first step on the path.
    pub first: usize,
    /// Classes of its actions: `[T]`.
    pub actions: Vec<u8>,
    /// Their sizes, in `[0, 1]`; NaN where an action has none (holding, tasks without sizes): `[T]`.
    pub sizes: Vec<f32>,
    /// Return-to-go that its actions are conditioned on, in raw units: `[T]`.
    pub returns: Vec<f32>,
    /// Risk met, in `[0, 1]`; NaN where it is not known: `[T]`.
    pub risks: Vec<f32>,
    /// Return-to-go of each action, in raw units; NaN where it is not known: `[T, A]`.
    pub values: Vec<f32>,
}

/// How sequences are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Sequences start at the first step of their episode, as episodes with an end want; else anywhere.
    pub whole: bool,
    /// Share of sequences whose return-to-go is not shown: they teach the value head what to expect.
    pub unconditioned: f64,
}

/// Paths and episodes, with what normalises them.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// Features of a state.
    pub state: usize,
    /// Classes of actions.
    pub actions: usize,
    /// The paths.
    pub paths: Vec<Path>,
    /// The episodes.
    pub episodes: Vec<Episode>,
    /// Fitted on the paths alone.
    pub statistics: Statistics,
    /// How sequences are drawn.
    pub draw: Draw,
}

impl Corpus {
    /// Draws sequences of `steps` steps. A sequence that is shorter is padded at its end, where nothing
    /// is live and nothing is learned; its first step has no previous action, as after a start.
    ///
    /// # Panics
    /// When there is no episode: whoever makes a corpus refuses an empty one.
    #[must_use]
    pub fn batch(&self, rng: &mut Rng, size: usize, steps: usize) -> Batch {
        let mut batch = Batch::empty(size, steps, self.state, self.actions);
        for row in 0..size {
            let episode = self.drawn(rng);
            let room = episode.actions.len().saturating_sub(steps);
            let from = if self.draw.whole {
                0
            } else {
                below(rng, room + 1)
            };
            let shown = share(rng) >= self.draw.unconditioned;
            self.fill(&mut batch, row, episode, from, shown);
        }
        batch
    }

    /// An episode, each as probable as it is long.
    fn drawn(&self, rng: &mut Rng) -> &Episode {
        let total = self
            .episodes
            .iter()
            .map(|episode| episode.actions.len())
            .sum();
        let mut place = below(rng, total);
        for episode in &self.episodes {
            match place.checked_sub(episode.actions.len()) {
                Some(rest) => place = rest,
                None => return episode,
            }
        }
        panic!("a corpus without episodes");
    }

    /// Writes the steps of an episode from `from` on into a row.
    fn fill(&self, batch: &mut Batch, row: usize, episode: &Episode, from: usize, shown: bool) {
        let path = &self.paths[episode.path];
        let (wide, classes) = (self.state, self.actions);
        for step in 0..batch.steps.min(episode.actions.len() - from) {
            let (cell, at) = (row * batch.steps + step, from + step);
            let seen = episode.first + at;
            let live = path.live[seen];
            batch.states[cell * wide..][..wide]
                .copy_from_slice(&path.states[seen * wide..][..wide]);
            batch.valid[cell * wide..][..wide].copy_from_slice(&path.valid[seen * wide..][..wide]);
            batch.live[cell] = f32::from(u8::from(live));
            if step > 0 {
                batch.previous[cell] = u32::from(episode.actions[at - 1]);
                batch.previous_size[cell] = known(episode.sizes[at - 1]).unwrap_or(0.0);
            }
            if shown {
                batch.returns[cell] = episode.returns[at];
                batch.known[cell] = 1.0;
            }
            if !live {
                continue;
            }
            batch.action[cell] = u32::from(episode.actions[at]);
            batch.weight[cell] = 1.0;
            if let Some(size) = known(episode.sizes[at]) {
                batch.position[cell] = size;
                batch.position_weight[cell] = 1.0;
            }
            batch.risk[cell] = known(episode.risks[at]).unwrap_or(0.0);
            for class in 0..classes {
                if let Some(value) = known(episode.values[at * classes + class]) {
                    batch.value[cell * classes + class] = value;
                    batch.value_weight[cell * classes + class] = 1.0;
                }
            }
        }
    }
}

fn known(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a bound that is a usize")
}

/// Uniform in `[0, 1)`.
fn share(rng: &mut Rng) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_an_episode_as_it_was_lived() {
        let nan = f32::NAN;
        let corpus = Corpus {
            state: 1,
            actions: 2,
            paths: vec![Path {
                states: vec![0.0, 1.0, 2.0, 3.0],
                valid: vec![1.0; 4],
                live: vec![true, true, false, true],
            }],
            episodes: vec![Episode {
                path: 0,
                first: 1,
                actions: vec![1, 0, 1],
                sizes: vec![0.5, nan, nan],
                returns: vec![3.0, 2.0, 1.0],
                risks: vec![nan, nan, 0.5],
                values: vec![nan, 3.0, nan, nan, nan, 1.0],
            }],
            statistics: Statistics::identity(1),
            draw: Draw {
                whole: true,
                unconditioned: 0.0,
            },
        };
        let batch = corpus.batch(&mut Rng::new(1, 1), 1, 4);
        assert_eq!(batch.states, [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(batch.live, [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(batch.previous, [2, 1, 0, 2]);
        assert_eq!(batch.previous_size, [0.0, 0.5, 0.0, 0.0]);
        assert_eq!(batch.returns, [3.0, 2.0, 1.0, 0.0]);
        assert_eq!(batch.action, [1, 0, 1, 0]);
        assert_eq!(batch.weight, [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(batch.position_weight, [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(batch.value_weight, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_return_is_hidden_as_often_as_asked() {
        let corpus = Corpus {
            state: 1,
            actions: 1,
            paths: vec![Path {
                states: vec![0.0],
                valid: vec![1.0],
                live: vec![true],
            }],
            episodes: vec![Episode {
                path: 0,
                first: 0,
                actions: vec![0],
                sizes: vec![1.0],
                returns: vec![1.0],
                risks: vec![0.0],
                values: vec![1.0],
            }],
            statistics: Statistics::identity(1),
            draw: Draw {
                whole: false,
                unconditioned: 0.25,
            },
        };
        let batch = corpus.batch(&mut Rng::new(7, 1), 4_000, 1);
        let shown: f32 = batch.known.iter().sum();
        assert!((2_850.0..3_150.0).contains(&shown), "{shown}");
    }
}
