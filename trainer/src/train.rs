//! The loop: batches in, a taught network out.
//!
//! One step: `accumulate` batches are drawn ahead by a thread of their own, shared out over the devices, and their
//! gradients added in a fixed order; [`AdamW`] moves one flat vector of parameters. [`Mode::Weekly`] runs the
//! backbone without gradients and gives the optimizer only what comes after it.
//!
//! Whatever is random belongs to the seed and the number of its step. On the CPU a training that was broken off and
//! goes on from its checkpoint ends with the same bits as one that was not.

mod checkpoint;
pub mod dashboard;
mod loss;
mod optimizer;
pub mod plots;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use tickerml_edge::clock;
use tickerml_shared::rand::Rng;
use tickerml_shared::time::Time;

use self::checkpoint::Checkpoint;
use self::loss::{FIGURES, Totals};
use self::optimizer::{AdamW, Layout};
use self::plots::Calibration;
use crate::batch::Batch;
use crate::corpus::Corpus;
use crate::kernels;
use crate::model::{self, DecisionTransformer, Inputs, Pass, Precision, host};
use crate::spec::{Spec, Statistics, TOKENS};
use crate::weights::{Weights, replace};

pub use self::checkpoint::{BestAt, FILE as CHECKPOINT_FILE};
pub use self::loss::{LossWeights, Losses};

/// Steps whose batches are drawn before they are wanted.
const STEPS_AHEAD: usize = 2;
/// Steps whose figures may still be on the device while the next one is given to it.
const STEPS_UNREAD: usize = 1;
/// The trained network in its folder; [`Weights::load`] reads it.
pub const MODEL_FILE: &str = "model.safetensors";
/// One [`Progress`] a line.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// The page of [`plots`].
pub const PAGE_FILE: &str = "training.html";

/// What a training may move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything.
    #[default]
    Full,
    /// The last layers, the norm and the heads: see [`Spec::is_backbone`].
    Weekly,
}

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What may move.
    pub mode: Mode,
    /// Steps of the optimizer.
    pub steps: u64,
    /// Sequences of a batch.
    pub batch: usize,
    /// Batches of a step.
    pub accumulate: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps over which it rises to that.
    pub warm_up: u64,
    /// Share of it that is left at the end of the cosine.
    pub floor: f64,
    /// Decoupled decay of matrices.
    pub weight_decay: f64,
    /// Decay of the first and second moments.
    pub betas: [f64; 2],
    /// Longest gradient, over all parameters.
    pub clip: f64,
    /// Share of activations dropped.
    pub dropout: f32,
    /// Number format of matrix products.
    pub precision: Precision,
    /// How much each head counts.
    pub losses: LossWeights,
    /// Steps between evaluations on the held-out corpus.
    pub evaluate_every: u64,
    /// Batches of an evaluation, always the same ones.
    pub evaluate_batches: usize,
    /// Evaluations without a better one after which training stops; 0 for never.
    pub patience: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Of all that is random.
    pub seed: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            mode: Mode::Full,
            steps: 2_000,
            batch: 64,
            accumulate: 1,
            learning_rate: 6e-4,
            warm_up: 100,
            floor: 0.1,
            weight_decay: 0.01,
            betas: [0.9, 0.95],
            clip: 1.0,
            dropout: 0.1,
            precision: Precision::F32,
            losses: LossWeights::default(),
            evaluate_every: 200,
            evaluate_batches: 8,
            patience: 0,
            checkpoint_every: 500,
            seed: 1,
        }
    }
}

impl Terms {
    /// What is wrong with these terms, with its remedy.
    ///
    /// # Errors
    /// When a number makes no sense.
    pub fn check(&self) -> Result<(), String> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let sound = |value: f64| value.is_finite() && value >= 0.0;
        let LossWeights {
            action,
            position,
            risk,
            value,
        } = self.losses;
        let rules = [
            (self.steps > 0, "steps is 0; give it at least 1"),
            (self.batch > 0, "batch is 0; give it at least 1"),
            (self.accumulate > 0, "accumulate is 0; give it at least 1"),
            (
                sound(self.learning_rate) && self.learning_rate > 0.0,
                "learning_rate is not above 0; 0.0006 suits the reference network",
            ),
            (
                (0.0..=1.0).contains(&self.floor),
                "floor lies outside 0 to 1",
            ),
            (
                sound(self.weight_decay),
                "weight_decay is below 0 or not a number",
            ),
            (
                self.betas.into_iter().all(share),
                "betas lie outside 0 to below 1",
            ),
            (
                sound(self.clip) && self.clip > 0.0,
                "clip is not above 0; 1.0 is usual",
            ),
            (
                share(f64::from(self.dropout)),
                "dropout lies outside 0 to below 1",
            ),
            (
                [action, position, risk, value].into_iter().all(sound),
                "losses has a weight below 0 or not a number",
            ),
            (
                self.evaluate_every > 0,
                "evaluate_every is 0; give it at least 1",
            ),
            (
                self.evaluate_batches > 0,
                "evaluate_batches is 0; give it at least 1",
            ),
            (
                self.checkpoint_every > 0,
                "checkpoint_every is 0; give it at least 1",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(format!("train.{why}")),
            None => Ok(()),
        }
    }

    /// The learning rate of a step, counted from 0: a straight rise, then half a cosine
    /// (Loshchilov & Hutter 2017, without restarts).
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
    fn rate(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.learning_rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let span = self.steps.saturating_sub(self.warm_up).max(1) as f64;
        let gone = ((step - self.warm_up) as f64 / span).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * gone).cos());
        self.learning_rate * (self.floor + (1.0 - self.floor) * cosine)
    }
}

/// Where a training begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// With fresh weights of the seed.
    Fresh,
    /// With given weights.
    Weights(Weights),
    /// Where the checkpoint in this folder ends.
    Resume(PathBuf),
}

/// What is taught, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Lesson<'a> {
    /// What is learned from.
    pub corpus: &'a Corpus,
    /// What is examined with, of the same shape.
    pub held_out: Option<&'a Corpus>,
    /// The network's shape.
    pub spec: &'a Spec,
    /// How to train.
    pub terms: &'a Terms,
    /// Each takes an equal share of every batch; one is enough.
    pub devices: &'a [Device],
}

/// One step, done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Losses on its batches, before it.
    pub losses: Losses,
    /// Length of its gradient before clipping.
    pub gradient_norm: f32,
    /// Tokens that went through the network per second.
    pub tokens_per_second: f64,
    /// Losses on the held-out corpus after it, where it was evaluated.
    pub held_out: Option<Losses>,
}

/// A taught network.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The weights of the best evaluation; the last ones where nothing was held out.
    pub weights: Weights,
    /// Steps done.
    pub steps: u64,
    /// The best evaluation.
    pub best: Option<BestAt>,
    /// Whether patience ended before the steps did.
    pub early: bool,
    /// Losses of the last step.
    pub losses: Losses,
}

/// Why there is no network: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainError(String);

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TrainError {}

/// The devices of this machine: all CUDA cards where the feature `cuda` is on and there are any, else the CPU.
#[must_use]
pub fn devices() -> Vec<Device> {
    #[cfg(feature = "cuda")]
    {
        let cards: Vec<Device> = Device::enumerate(burn::tensor::DeviceType::Cuda)
            .into_iter()
            .collect();
        if !cards.is_empty() {
            return cards;
        }
    }
    vec![Device::flex()]
}

/// Trains on the devices of this machine: see [`train_on`].
///
/// # Errors
/// As [`train_on`].
pub fn train(
    corpus: &Corpus,
    held_out: Option<&Corpus>,
    spec: &Spec,
    start: Start,
    terms: &Terms,
    out: Option<&Path>,
    report: &mut dyn FnMut(&Progress),
) -> Result<Trained, TrainError> {
    let devices = devices();
    let lesson = Lesson {
        corpus,
        held_out,
        spec,
        terms,
        devices: &devices,
    };
    train_on(&lesson, start, out, report)
}

/// Trains. With `out`, that folder receives checkpoints, [`METRICS_FILE`], and at the end [`MODEL_FILE`] and
/// [`PAGE_FILE`].
///
/// # Errors
/// When shape, terms or corpus make no sense or do not fit together, a checkpoint does not belong to them, a file
/// cannot be written, or a loss is no longer finite: the last checkpoint is then the last good one.
pub fn train_on(
    lesson: &Lesson<'_>,
    start: Start,
    out: Option<&Path>,
    report: &mut dyn FnMut(&Progress),
) -> Result<Trained, TrainError> {
    let (spec, terms) = (lesson.spec, lesson.terms);
    check(lesson)?;
    kernels::hold_memory();
    let layout = Layout::new(spec, terms.mode);
    let mut at = begin(lesson, &layout, start)?;
    let mut metrics = Metrics::open(out, at.step)?;
    let mut optimizer = AdamW::new(&layout, flat(&layout, &at)?, &lesson.devices[0]);
    let mut models: Vec<DecisionTransformer> = lesson
        .devices
        .iter()
        .map(|device| {
            let device = device.clone().autodiff();
            DecisionTransformer::from_weights(spec, &at.weights, &device)
        })
        .collect();
    let frozen: Option<Vec<DecisionTransformer>> =
        (terms.mode == Mode::Weekly).then(|| models.iter().map(Module::valid).collect());
    let examination = lesson
        .held_out
        .map(|held_out| Examination::new(held_out, lesson));
    let mut unread: VecDeque<Unread> = VecDeque::new();
    let mut clock = clock::now();
    let first = at.step;

    thread::scope(|scope| {
        let (send, batches) = mpsc::sync_channel(STEPS_AHEAD);
        scope.spawn(move || {
            for step in first..terms.steps {
                if send.send(draw(lesson, step)).is_err() {
                    return; // the loop has ended
                }
            }
        });
        while at.step < terms.steps && !at.patience_is_over() {
            let shards: Vec<Vec<Batch>> = batches.recv().map_err(|_| {
                TrainError("the thread that draws batches ended; its panic is above".to_owned())
            })?;
            let (gradient, figures) = gradients(
                lesson,
                &layout,
                &models,
                frozen.as_deref(),
                &shards,
                at.step,
            );
            let rate = terms.rate(at.step);
            at.step += 1;
            let norm = optimizer.step(gradient, terms, at.step, rate);
            models = models
                .into_iter()
                .zip(lesson.devices)
                .map(|(model, device)| {
                    layout.put(model, &optimizer.parameters.clone().to_device(device))
                })
                .collect();
            let figures = Tensor::cat(vec![figures, norm], 0); // [FIGURES + 1]
            unread.push_back(Unread {
                step: at.step,
                rate,
                figures,
                passed: since(&mut clock),
            });

            let due = |every: u64| at.step == terms.steps || at.step.is_multiple_of(every);
            let asked = examination.as_ref().filter(|_| due(terms.evaluate_every));
            let save = due(terms.checkpoint_every);
            let leave = if asked.is_some() || save {
                0
            } else {
                STEPS_UNREAD
            };
            while unread.len() > leave {
                let Some(read) = unread.pop_front() else {
                    break;
                };
                let mut progress = read.settle(lesson, out)?;
                if let Some(asked) = asked.filter(|_| progress.step == at.step) {
                    let losses = asked.losses(&models[0], lesson);
                    progress.held_out = Some(losses);
                    let weights = overlaid(&at.weights, spec, &layout, &optimizer)?;
                    at.judge(losses, weights);
                    // An evaluation is no part of the step after it.
                    clock = clock::now();
                }
                metrics.write(&progress)?;
                report(&progress);
            }
            if let Some(folder) = out.filter(|_| save || at.patience_is_over()) {
                let [_, first, second] = optimizer.state();
                at.weights = overlaid(&at.weights, spec, &layout, &optimizer)?;
                at.first = layout.split(&first);
                at.second = layout.split(&second);
                at.save(folder)?;
            }
        }
        Ok(())
    })?;

    at.weights = overlaid(&at.weights, spec, &layout, &optimizer)?;
    finish(lesson, at, &metrics, examination, out)
}

/// Chooses the weights and writes what is left to write.
fn finish(
    lesson: &Lesson<'_>,
    at: Checkpoint,
    metrics: &Metrics,
    examination: Option<Examination>,
    out: Option<&Path>,
) -> Result<Trained, TrainError> {
    let early = at.step < lesson.terms.steps;
    let (weights, best) = match at.best.filter(|_| lesson.held_out.is_some()) {
        Some(best) => (best.weights, Some(best.at)),
        None => (at.weights, None),
    };
    if let Some(folder) = out {
        let statistics = &lesson.corpus.statistics;
        let path = folder.join(MODEL_FILE);
        weights
            .save(&path, lesson.spec, statistics)
            .map_err(TrainError)?;
        let asked = examination.unwrap_or_else(|| Examination::new(lesson.corpus, lesson));
        let page = plots::page(&metrics.kept, &asked.calibration(&weights, lesson));
        replace(&folder.join(PAGE_FILE), page.as_bytes()).map_err(TrainError)?;
    }
    Ok(Trained {
        weights,
        steps: at.step,
        best,
        early,
        losses: metrics
            .kept
            .last()
            .map(|progress| progress.losses)
            .unwrap_or_default(),
    })
}

/// Refuses what cannot be trained.
fn check(lesson: &Lesson<'_>) -> Result<(), TrainError> {
    let Lesson {
        corpus,
        held_out,
        spec,
        terms,
        devices,
    } = *lesson;
    spec.check().map_err(TrainError)?;
    terms.check().map_err(TrainError)?;
    if devices.is_empty() || terms.batch < devices.len() {
        return Err(TrainError(format!(
            "train.batch = {} cannot be shared out over {} devices; give each at least one sequence",
            terms.batch,
            devices.len()
        )));
    }
    for (name, corpus) in [("training", Some(corpus)), ("held-out", held_out)] {
        let Some(corpus) = corpus else { continue };
        let wrong = |why: String| Err(TrainError(format!("the {name} corpus {why}")));
        if (corpus.state, corpus.actions) != (spec.state, spec.actions) {
            return wrong(format!(
                "has {} features and {} actions, the model {} and {}; make both from one configuration",
                corpus.state, corpus.actions, spec.state, spec.actions
            ));
        }
        let Statistics {
            mean,
            inverse_scale,
            return_scale,
        } = &corpus.statistics;
        if mean.len() != spec.state
            || inverse_scale.len() != spec.state
            || !(return_scale.is_finite() && *return_scale > 0.0)
        {
            return wrong("has statistics of another shape, or a return scale of 0".to_owned());
        }
        if corpus
            .episodes
            .iter()
            .all(|episode| episode.actions.is_empty())
        {
            return wrong("is empty; give it history that is not masked".to_owned());
        }
    }
    let first = corpus
        .episodes
        .iter()
        .find_map(|episode| episode.actions.first());
    let mut actions = corpus.episodes.iter().flat_map(|episode| &episode.actions);
    if spec.actions > 1 && actions.all(|action| Some(action) == first) {
        return Err(TrainError(format!(
            "every action of the training corpus is class {}; add policies that also do something else",
            first.copied().unwrap_or_default()
        )));
    }
    Ok(())
}

/// Where the training stands before its first step.
fn begin(lesson: &Lesson<'_>, layout: &Layout, start: Start) -> Result<Checkpoint, TrainError> {
    let (spec, terms) = (lesson.spec, lesson.terms);
    let statistics = &lesson.corpus.statistics;
    let weights = match start {
        Start::Resume(folder) => return Checkpoint::load(&folder, spec, terms, statistics),
        Start::Weights(weights) => weights,
        Start::Fresh if terms.mode == Mode::Weekly => {
            return Err(TrainError(
                "a weekly training moves the head of a trained network; start from its weights"
                    .to_owned(),
            ));
        }
        Start::Fresh => model::fresh(spec, terms.seed),
    };
    let still = layout.still();
    Ok(Checkpoint {
        spec: spec.clone(),
        terms: terms.clone(),
        statistics: statistics.clone(),
        step: 0,
        weights: Weights::new(spec, weights.into_tensors()).map_err(TrainError)?,
        first: still.clone(),
        second: still,
        best: None,
        waited: 0,
    })
}

/// Parameters and moments as flat vectors.
fn flat(layout: &Layout, at: &Checkpoint) -> Result<[Vec<f32>; 3], TrainError> {
    let join = |tensors| layout.join(tensors).map_err(TrainError);
    let weights = at.weights.clone().into_tensors();
    Ok([join(&weights)?, join(&at.first)?, join(&at.second)?])
}

/// Given weights with those that are trained replaced by the optimizer's.
fn overlaid(
    weights: &Weights,
    spec: &Spec,
    layout: &Layout,
    optimizer: &AdamW,
) -> Result<Weights, TrainError> {
    let [parameters, ..] = optimizer.state();
    let mut tensors = weights.clone().into_tensors();
    tensors.extend(layout.split(&parameters));
    Weights::new(spec, tensors).map_err(TrainError)
}

/// What random numbers are for.
#[derive(Clone, Copy)]
enum Purpose {
    Batches = 1,
    Dropout = 2,
    Examination = 3,
}

/// Numbers that belong to a purpose and an index of it alone (the mixing is Steele et al. 2014, SplitMix64).
fn numbers(seed: u64, purpose: Purpose, index: u64) -> Rng {
    let mut mixed = seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Rng::new(mixed ^ (mixed >> 31), purpose as u64)
}

/// The batches of a step: for each device, its share of each.
pub(crate) fn draw(lesson: &Lesson<'_>, step: u64) -> Vec<Vec<Batch>> {
    let Lesson { spec, terms, .. } = *lesson;
    let count = lesson.devices.len();
    let mut shards = vec![Vec::new(); count];
    for micro in 0..terms.accumulate {
        let index = step * terms.accumulate as u64 + micro as u64;
        let mut rng = numbers(terms.seed, Purpose::Batches, index);
        let batch = lesson.corpus.batch(&mut rng, terms.batch, spec.steps);
        if count == 1 {
            shards[0].push(batch);
            continue;
        }
        for (device, shard) in shards.iter_mut().enumerate() {
            let rows = terms.batch * device / count..terms.batch * (device + 1) / count;
            shard.push(batch.rows(rows));
        }
    }
    shards
}

/// The gradient of a step `[P]` and its figures `[FIGURES]`, on the first device: every device computes its share,
/// and the shares are added in the order of the devices.
fn gradients(
    lesson: &Lesson<'_>,
    layout: &Layout,
    models: &[DecisionTransformer],
    frozen: Option<&[DecisionTransformer]>,
    shards: &[Vec<Batch>],
    step: u64,
) -> (Tensor<1>, Tensor<1>) {
    let totals = Totals::new(shards.iter().flatten());
    let share = |device: usize| {
        let frozen = frozen.map(|frozen| &frozen[device]);
        let index = step * models.len() as u64 + device as u64;
        let pass = Pass {
            precision: lesson.terms.precision,
            dropout: lesson.terms.dropout,
            rng: numbers(lesson.terms.seed, Purpose::Dropout, index),
        };
        let device = &lesson.devices[device];
        (device, frozen, pass)
    };
    let compute = |(index, model): (usize, &DecisionTransformer)| {
        let (device, frozen, mut pass) = share(index);
        shards[index]
            .iter()
            .map(|batch| {
                let inputs = Inputs::new(batch, &lesson.corpus.statistics, lesson.spec, device);
                let outputs = match frozen {
                    Some(frozen) => {
                        let mut still = Pass::plain(pass.precision);
                        let x = frozen.backbone(&inputs, &mut still); // [B, N, d]
                        model.head(x, &inputs, &mut pass)
                    }
                    None => model.forward_with(&inputs, &mut pass),
                };
                let (total, figures) = loss::losses(outputs, batch, &totals, lesson, device);
                (layout.gradient(model, &mut total.backward()), figures)
            })
            .reduce(added)
            .expect("at least one batch a step")
    };
    let parts: Vec<(Tensor<1>, Tensor<1>)> = if models.len() == 1 {
        vec![compute((0, &models[0]))]
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = models
                .iter()
                .enumerate()
                .map(|one| scope.spawn(move || compute(one)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a device's panic is above"))
                .collect()
        })
    };
    let home = lesson.devices[0].clone().inner();
    parts
        .into_iter()
        .map(|(gradient, figures)| (gradient.to_device(&home), figures.to_device(&home)))
        .reduce(added)
        .expect("at least one device")
}

fn added(one: (Tensor<1>, Tensor<1>), other: (Tensor<1>, Tensor<1>)) -> (Tensor<1>, Tensor<1>) {
    (one.0 + other.0, one.1 + other.1)
}

/// A step whose figures are still on the device: `[FIGURES + 1]`, the gradient's norm last.
struct Unread {
    step: u64,
    rate: f64,
    figures: Tensor<1>,
    /// Seconds from the step before to this one, as they were given to the device.
    passed: f64,
}

/// Seconds since the clock was last asked.
fn since(clock: &mut Time) -> f64 {
    let before = std::mem::replace(clock, clock::now());
    Duration::from_nanos(clock.0.saturating_sub(before.0)).as_secs_f64()
}

impl Unread {
    /// Reads the figures, and refuses those that are not finite.
    fn settle(self, lesson: &Lesson<'_>, out: Option<&Path>) -> Result<Progress, TrainError> {
        let figures = host(self.figures);
        if !figures.iter().all(|figure| figure.is_finite()) {
            let back = match out {
                Some(folder) => {
                    format!("the checkpoint in {} is from before that", folder.display())
                }
                None => "no folder for checkpoints was given".to_owned(),
            };
            return Err(TrainError(format!(
                "loss or gradient is not finite in step {}; lower train.learning_rate or look into the data ({back})",
                self.step
            )));
        }
        let terms = lesson.terms;
        let tokens = TOKENS * lesson.spec.steps * terms.batch * terms.accumulate;
        #[expect(clippy::cast_precision_loss, reason = "some millions of tokens")]
        let tokens = tokens as f64;
        Ok(Progress {
            step: self.step,
            learning_rate: self.rate,
            losses: Losses::from_row(&figures[..FIGURES]),
            gradient_norm: figures[FIGURES],
            tokens_per_second: tokens / self.passed.max(1e-9),
            held_out: None,
        })
    }
}

/// Batches that a network is examined with, always the same ones.
struct Examination {
    batches: Vec<Batch>,
    totals: Totals,
}

impl Examination {
    fn new(corpus: &Corpus, lesson: &Lesson<'_>) -> Self {
        let terms = lesson.terms;
        let mut rng = numbers(terms.seed, Purpose::Examination, 0);
        let batches: Vec<Batch> = (0..terms.evaluate_batches)
            .map(|_| corpus.batch(&mut rng, terms.batch, lesson.spec.steps))
            .collect();
        let totals = Totals::new(batches.iter());
        Self { batches, totals }
    }

    /// Without dropout and without gradients.
    fn losses(&self, model: &DecisionTransformer, lesson: &Lesson<'_>) -> Losses {
        let model = model.valid();
        let device = lesson.devices[0].clone().inner();
        let statistics = &lesson.corpus.statistics;
        let sum = self
            .batches
            .iter()
            .map(|batch| {
                let inputs = Inputs::new(batch, statistics, lesson.spec, &device);
                let mut pass = Pass::plain(lesson.terms.precision);
                let outputs = model.forward_with(&inputs, &mut pass);
                loss::losses(outputs, batch, &self.totals, lesson, &device).1
            })
            .reduce(|one, other| one + other)
            .expect("at least one batch");
        Losses::from_row(&host(sum))
    }

    fn calibration(&self, weights: &Weights, lesson: &Lesson<'_>) -> Calibration {
        let spec = lesson.spec;
        let model = DecisionTransformer::from_weights(spec, weights, &lesson.devices[0]);
        let mut calibration = Calibration::default();
        for batch in &self.batches {
            let answer = model.predict(batch, &lesson.corpus.statistics, spec);
            let steps = answer.action.chunks(spec.actions).zip(&batch.action);
            for ((logits, class), weight) in steps.zip(&batch.weight) {
                if *weight > 0.0 {
                    calibration.add(logits, *class as usize);
                }
            }
        }
        calibration
    }
}

/// What happened so far, kept for the page and written line by line.
struct Metrics {
    file: Option<(File, PathBuf)>,
    kept: Vec<Progress>,
}

impl Metrics {
    /// Goes on after so many steps: later lines of an earlier run are dropped.
    fn open(out: Option<&Path>, step: u64) -> Result<Self, TrainError> {
        let Some(folder) = out else {
            let (file, kept) = (None, Vec::new());
            return Ok(Self { file, kept });
        };
        let path = folder.join(METRICS_FILE);
        let failed = |why| TrainError(format!("{}: {why}", path.display()));
        fs::create_dir_all(folder).map_err(failed)?;
        let before = fs::read_to_string(&path).unwrap_or_default();
        let kept: Vec<Progress> = before
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .take_while(|progress: &Progress| progress.step <= step)
            .collect();
        let lines: String = before
            .lines()
            .take(kept.len())
            .flat_map(|line| [line, "\n"])
            .collect();
        replace(&path, lines.as_bytes()).map_err(TrainError)?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(failed)?;
        let file = Some((file, path));
        Ok(Self { file, kept })
    }

    fn write(&mut self, progress: &Progress) -> Result<(), TrainError> {
        self.kept.push(*progress);
        let Some((file, path)) = &mut self.file else {
            return Ok(());
        };
        let line = crate::weights::json(progress) + "\n";
        file.write_all(line.as_bytes())
            .map_err(|why| TrainError(format!("{}: {why}; make room", path.display())))
    }
}
