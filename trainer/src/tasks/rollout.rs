//! Worlds, runs through them, and how a run becomes an episode or is played by a learned policy.

use burn::tensor::Device;
use tickerml_shared::rand::Rng;

use super::TaskError;
use crate::batch::Batch;
use crate::corpus::{Corpus, Draw, Episode, Path};
use crate::model::DecisionTransformer;
use crate::spec::{Spec, Statistics};
use crate::train::{self, Start, Terms};

/// Runs that are played side by side, at most: what one forward pass takes.
const ROWS: usize = 256;
/// Steps of the optimizer from one line of a report to the next.
const REPORT_EVERY: u64 = 100;

/// A world that one acts in, whose runs end.
pub(crate) trait World {
    /// Writes what is seen now; the slice is zero before.
    fn observe(&self, state: &mut [f32]);
    /// Takes an action and gives the reward.
    fn act(&mut self, action: usize, rng: &mut Rng) -> f32;
    /// Whether the run has ended.
    fn over(&self) -> bool;
}

/// What was seen, done and earned, step by step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    /// States: `[T, S]`.
    pub(crate) states: Vec<f32>,
    /// Classes of the actions: `[T]`.
    pub(crate) actions: Vec<u8>,
    /// Rewards: `[T]`.
    pub(crate) rewards: Vec<f32>,
}

impl Run {
    /// Acts by `choose` until the world is over, for `limit` steps at most.
    pub(crate) fn recorded<W: World>(
        mut world: W,
        features: usize,
        limit: usize,
        rng: &mut Rng,
        mut choose: impl FnMut(&W, &mut Rng) -> usize,
    ) -> Self {
        let mut run = Self::default();
        while !world.over() && run.actions.len() < limit {
            let mut state = vec![0.0; features];
            world.observe(&mut state);
            let action = choose(&world, rng);
            run.states.extend(state);
            run.push(action, world.act(action, rng));
        }
        run
    }

    fn push(&mut self, action: usize, reward: f32) {
        self.actions
            .push(u8::try_from(action).expect("a handful of actions"));
        self.rewards.push(reward);
    }

    /// Rewards in all.
    pub(crate) fn earned(&self) -> f32 {
        self.rewards.iter().sum()
    }

    /// Rewards from each step on: `[T]`.
    pub(crate) fn returns(&self) -> Vec<f32> {
        let mut rest = 0.0;
        let mut returns: Vec<f32> = self
            .rewards
            .iter()
            .rev()
            .map(|reward| {
                rest += reward;
                rest
            })
            .collect();
        returns.reverse();
        returns
    }
}

/// Makes episodes of runs, a path each. The value of the action that was taken is what was earned from there on;
/// that of the others is not known.
pub(crate) fn corpus(
    runs: &[Run],
    features: usize,
    actions: usize,
    return_scale: f32,
    unconditioned: f64,
) -> Corpus {
    let paths = runs
        .iter()
        .map(|run| Path {
            states: run.states.clone(),
            valid: vec![1.0; run.states.len()],
            live: vec![true; run.actions.len()],
        })
        .collect();
    let episodes = runs
        .iter()
        .enumerate()
        .map(|(path, run)| {
            let returns = run.returns();
            let mut values = vec![f32::NAN; run.actions.len() * actions];
            for (step, (action, value)) in run.actions.iter().zip(&returns).enumerate() {
                values[step * actions + usize::from(*action)] = *value;
            }
            Episode {
                path,
                first: 0,
                actions: run.actions.clone(),
                sizes: vec![f32::NAN; run.actions.len()],
                returns,
                risks: vec![f32::NAN; run.actions.len()],
                values,
            }
        })
        .collect();
    Corpus {
        state: features,
        actions,
        paths,
        episodes,
        statistics: Statistics {
            return_scale,
            ..Statistics::identity(features)
        },
        draw: Draw {
            whole: true,
            unconditioned,
        },
    }
}

/// What a policy is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// Nothing: the return stays hidden, which clones the behaviour.
    Hidden,
    /// This return in all; what was earned is taken off it step by step.
    Return(f32),
    /// At each step the highest return that the network's own value head expects of any action, asked with the
    /// return hidden: what can be expected, whatever luck has done so far.
    Expected,
}

/// How an action is taken from the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The most probable one.
    Greedy,
    /// Drawn by its probability.
    Sampled,
}

/// How long and how fast a policy is taught.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lesson {
    /// Optimizer steps.
    pub(crate) steps: u64,
    /// Sequences a step.
    pub(crate) batch: usize,
    /// Highest learning rate.
    pub(crate) rate: f64,
    /// Seeds the weights and the draws.
    pub(crate) seed: u64,
}

/// A network that has been taught, with what it needs to answer.
#[derive(Clone, Debug)]
pub(crate) struct Learned {
    pub(crate) model: DecisionTransformer,
    pub(crate) spec: Spec,
    pub(crate) statistics: Statistics,
}

/// A small network that sees its whole episode in every layer.
pub(crate) fn small(corpus: &Corpus, steps: usize, d_model: usize, layers: usize) -> Spec {
    Spec {
        state: corpus.state,
        actions: corpus.actions,
        steps,
        d_model,
        heads: 4,
        d_ff: 4 * d_model,
        bands: vec![steps; layers],
    }
}

/// Teaches a network a corpus on the CPU, from fresh weights, by the same loop as any training.
///
/// # Errors
/// When training stops.
pub(crate) fn teach(
    spec: &Spec,
    corpus: &Corpus,
    lesson: Lesson,
    report: &mut impl FnMut(&str),
) -> Result<Learned, TaskError> {
    let terms = Terms {
        steps: lesson.steps,
        batch: lesson.batch,
        learning_rate: lesson.rate,
        warm_up: 50,
        dropout: 0.0,
        seed: lesson.seed,
        ..Terms::default()
    };
    let device = [Device::flex()];
    let teaching = train::Lesson {
        corpus,
        held_out: None,
        spec,
        terms: &terms,
        devices: &device,
    };
    let trained = train::train_on(&teaching, Start::Fresh, None, &mut |progress| {
        if progress.step.is_multiple_of(REPORT_EVERY) {
            report(&format!(
                "step {} of {}: action {:.4}, value {:.4}",
                progress.step, lesson.steps, progress.losses.action, progress.losses.value
            ));
        }
    })
    .map_err(|why| TaskError(why.to_string()))?;
    Ok(Learned {
        model: DecisionTransformer::from_weights(spec, &trained.weights, &device[0]),
        spec: spec.clone(),
        statistics: corpus.statistics.clone(),
    })
}

/// The value head's answers along runs, with the return hidden, in raw units: `[T, A]` for each, T the steps of the
/// network.
pub(crate) fn predicted(learned: &Learned, runs: &[Run]) -> Vec<Vec<f32>> {
    let Learned {
        model,
        spec,
        statistics,
    } = learned;
    let (steps, wide) = (spec.steps, spec.actions);
    let mut values = Vec::with_capacity(runs.len());
    for chunk in runs.chunks(ROWS) {
        let mut batch = Batch::empty(chunk.len(), steps, spec.state, wide);
        for (row, run) in chunk.iter().enumerate() {
            for step in 0..run.actions.len().min(steps) {
                see(
                    &mut batch,
                    row,
                    step,
                    &run.states[step * spec.state..][..spec.state],
                );
                if step > 0 {
                    batch.previous[row * steps + step] = u32::from(run.actions[step - 1]);
                }
            }
        }
        let answer = model.predict(&batch, statistics, spec).value;
        values.extend(answer.chunks(steps * wide).map(|row| {
            row.iter()
                .map(|value| value * statistics.return_scale)
                .collect::<Vec<f32>>()
        }));
    }
    values
}

/// Writes a state into a batch and makes its step live.
fn see(batch: &mut Batch, row: usize, step: usize, state: &[f32]) {
    let cell = row * batch.steps + step;
    batch.states[cell * state.len()..][..state.len()].copy_from_slice(state);
    batch.valid[cell * state.len()..][..state.len()].fill(1.0);
    batch.live[cell] = 1.0;
}

/// Plays each world by what was learned, with an aim each, until it is over or the network's steps are used up.
pub(crate) fn play<W: World>(
    learned: &Learned,
    worlds: Vec<W>,
    aims: &[Aim],
    choice: Choice,
    rng: &mut Rng,
) -> Vec<Run> {
    assert_eq!(worlds.len(), aims.len(), "an aim for each world");
    let mut runs = Vec::with_capacity(worlds.len());
    let mut worlds = worlds.into_iter();
    for aims in aims.chunks(ROWS) {
        let together = worlds.by_ref().take(aims.len()).collect();
        runs.extend(play_together(learned, together, aims, choice, rng));
    }
    runs
}

/// [`play`] for as many worlds as fit into one forward pass.
fn play_together<W: World>(
    learned: &Learned,
    mut worlds: Vec<W>,
    aims: &[Aim],
    choice: Choice,
    rng: &mut Rng,
) -> Vec<Run> {
    let Learned {
        model,
        spec,
        statistics,
    } = learned;
    let (steps, classes) = (spec.steps, spec.actions);
    let mut batch = Batch::empty(worlds.len(), steps, spec.state, classes);
    let mut runs = vec![Run::default(); worlds.len()];
    for step in 0..steps {
        for (row, world) in worlds.iter().enumerate().filter(|(_, world)| !world.over()) {
            let mut state = vec![0.0; spec.state];
            world.observe(&mut state);
            see(&mut batch, row, step, &state);
            runs[row].states.extend(&state);
        }
        aim(learned, &mut batch, step, aims, &runs);
        let logits = model.predict(&batch, statistics, spec).action;
        for (row, world) in worlds.iter_mut().enumerate() {
            if world.over() {
                continue;
            }
            let cell = row * steps + step;
            let action = chosen(&logits[cell * classes..][..classes], choice, rng);
            let reward = world.act(action, rng);
            runs[row].push(action, reward);
            if step + 1 < steps {
                batch.previous[cell + 1] = u32::try_from(action).expect("a handful of actions");
            }
        }
        if worlds.iter().all(World::over) {
            break;
        }
    }
    runs
}

/// Writes what is asked for at a step.
fn aim(learned: &Learned, batch: &mut Batch, step: usize, aims: &[Aim], runs: &[Run]) {
    let expected = aims.contains(&Aim::Expected).then(|| {
        let mut hidden = batch.clone();
        hidden.returns.fill(0.0);
        hidden.known.fill(0.0);
        let answer = learned
            .model
            .predict(&hidden, &learned.statistics, &learned.spec);
        answer.value
    });
    let (steps, classes) = (learned.spec.steps, learned.spec.actions);
    for (row, aim) in aims.iter().enumerate() {
        let cell = row * steps + step;
        let wanted = match (aim, &expected) {
            (Aim::Return(all), _) => all - runs[row].earned(),
            (Aim::Expected, Some(values)) => {
                let best = values[cell * classes..][..classes]
                    .iter()
                    .fold(f32::MIN, |best, value| best.max(*value));
                best * learned.statistics.return_scale
            }
            _ => continue,
        };
        batch.returns[cell] = wanted;
        batch.known[cell] = 1.0;
    }
}

/// An action by its logit.
fn chosen(logits: &[f32], choice: Choice, rng: &mut Rng) -> usize {
    let highest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    let highest = highest.expect("at least one action");
    if choice == Choice::Greedy {
        return highest;
    }
    let weights: Vec<f64> = logits
        .iter()
        .map(|logit| f64::from(logit - logits[highest]).exp())
        .collect();
    let mut place = f64::from(rng.next_u32()) / 4_294_967_296.0 * weights.iter().sum::<f64>();
    for (action, weight) in weights.iter().enumerate() {
        place -= weight;
        if place < 0.0 {
            return action;
        }
    }
    highest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_becomes_an_episode_with_its_returns_to_go() {
        let run = Run {
            states: vec![1.0, 2.0, 3.0],
            actions: vec![1, 0, 1],
            rewards: vec![1.0, 0.0, -3.0],
        };
        assert_eq!(run.earned(), -2.0);
        let corpus = corpus(&[run], 1, 2, 2.0, 0.5);
        let episode = &corpus.episodes[0];
        assert_eq!(episode.returns, [-2.0, -3.0, -3.0]);
        assert_eq!(episode.values[1], -2.0);
        assert_eq!(episode.values[2], -3.0);
        assert!(episode.values[0].is_nan());
    }

    #[test]
    fn what_was_earned_is_taken_off_the_aim_and_what_is_expected_is_asked_of_the_network() {
        let run = Run {
            states: vec![1.0],
            actions: vec![1],
            rewards: vec![-2.0],
        };
        let corpus = corpus(std::slice::from_ref(&run), 1, 2, 4.0, 0.0);
        let spec = small(&corpus, 2, 8, 2);
        let learned = Learned {
            model: DecisionTransformer::new(&spec, 1, &Device::flex()),
            statistics: corpus.statistics,
            spec,
        };
        let aims = [Aim::Hidden, Aim::Return(5.0), Aim::Expected];
        let runs = vec![run; aims.len()];
        let mut batch = Batch::empty(aims.len(), 2, 1, 2);
        for (row, run) in runs.iter().enumerate() {
            see(&mut batch, row, 0, &run.states);
            see(&mut batch, row, 1, &[3.0]);
            batch.previous[row * 2 + 1] = 1;
        }
        let hidden = batch.clone();
        aim(&learned, &mut batch, 1, &aims, &runs);
        assert_eq!(batch.known, [0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(batch.returns[..4], [0.0, 0.0, 0.0, 7.0]);
        let answer = learned
            .model
            .predict(&hidden, &learned.statistics, &learned.spec);
        let best = answer.value[10].max(answer.value[11]);
        assert!((batch.returns[5] - 4.0 * best).abs() < 1e-6);
    }

    #[test]
    fn actions_are_drawn_as_probable_as_their_logits_say() {
        let logits = [0.0, 3.0_f32.ln(), f32::NEG_INFINITY];
        let mut rng = Rng::new(1, 1);
        let mut counts = [0; 3];
        for _ in 0..4_000 {
            counts[chosen(&logits, Choice::Sampled, &mut rng)] += 1;
        }
        assert!((2_900..3_100).contains(&counts[1]), "{counts:?}");
        assert_eq!(counts[2], 0);
        assert_eq!(chosen(&logits, Choice::Greedy, &mut rng), 1);
    }
}
