//! From market history to what a model learns: statistics, episodes of policies, and the three phases of learning.
//!
//! Everything here takes a [`Dataset`], so that nothing from the quarantine can reach a statistic, a label or a
//! weight. An episode lies within one unbroken stretch and ends a horizon before its end: no label looks across a
//! hole or the cut-off.
//!
//! [`learn`] is the way from history to weights. A network is first taught with the return hidden, so that its value
//! head learns what each action is expected to earn. Each step is then labelled with what its action is expected to
//! earn less than the best one ([`Against::Best`]): its regret. The final network is taught on these, and is asked
//! for no regret ([`NO_REGRET`]), which can be had at every step. So standing aside is an answer where nothing pays.

use std::fmt;
use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use tickerml_shared::features::SELECTION;
use tickerml_shared::rand::Rng;
use tickerml_shared::time::Time;

use crate::behaviour::{CLASSES, Stretch, Terms};
use crate::corpus::{self, Corpus, Draw};
use crate::model::DecisionTransformer;
use crate::quarantine::Dataset;
use crate::relabel::{Against, Relabelling, relabel_against};
use crate::series::{MarketRow, Series};
use crate::spec::{Spec, Statistics};
use crate::train::{self, CHECKPOINT_FILE, LossWeights, Progress, Start};
use crate::weights::Weights;

/// What a model is asked for that was taught by [`learn`].
pub const NO_REGRET: f32 = 0.0;
/// Share of sequences whose return is hidden in a corpus: they keep the value head honest.
pub const UNCONDITIONED: f64 = 0.2;
/// A feature whose standard deviation is below this share of its magnitude is a constant.
const CONSTANT: f64 = 1e-6;
/// A regret beyond so many round trips is as bad as any.
const REGRET_MAX: f32 = 8.0;
/// The unit of regrets is this share of the return scale at least, where trading costs nothing.
const UNIT_MIN: f32 = 0.05;
/// Windows in one forward pass when a corpus is relabelled.
const RELABEL_ROWS: usize = 64;

/// Why there is nothing to learn: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketError(pub(crate) String);

impl fmt::Display for MarketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MarketError {}

fn failed<T>(text: impl Into<String>) -> Result<T, MarketError> {
    Err(MarketError(text.into()))
}

/// Steps that a stretch must have to be learned from at such a horizon: one label at least.
fn shortest(terms: &Terms) -> usize {
    terms.horizon + 1
}

/// All stretches of a data set that are long enough to be learned from.
fn stretches<'a>(dataset: &'a Dataset, terms: &Terms) -> Vec<Stretch<'a>> {
    let series = dataset.series().iter();
    series
        .flat_map(|series| Stretch::all(series, shortest(terms)))
        .collect()
}

/// Mean and inverse scale of each feature over the steps that can be learned from, where it is known; the return
/// scale is the root mean square of the mid price's log return over a horizon.
///
/// # Errors
/// When no stretch is long enough, or the price never moves.
pub fn statistics(dataset: &Dataset, terms: &Terms) -> Result<Statistics, MarketError> {
    let stretches = stretches(dataset, terms);
    check_steps(dataset, &stretches, terms)?;
    let mut statistics = Statistics::identity(SELECTION.len());
    for feature in 0..SELECTION.len() {
        let rows = || stretches.iter().flat_map(|stretch| stretch.rows);
        let known = || {
            rows()
                .filter_map(|row| row.state.get(feature))
                .map(f64::from)
        };
        let count = known().count() as f64;
        let mean = known().sum::<f64>() / count.max(1.0);
        let variance = known().map(|value| (value - mean).powi(2)).sum::<f64>() / count.max(1.0);
        let deviation = variance.sqrt();
        let moves = deviation.is_finite() && deviation > CONSTANT * mean.abs().max(CONSTANT);
        statistics.mean[feature] = narrow(mean);
        statistics.inverse_scale[feature] = if moves { narrow(1.0 / deviation) } else { 0.0 };
    }
    let (mut squares, mut count) = (0.0, 0_usize);
    for stretch in &stretches {
        for step in terms.horizon..stretch.len() {
            squares += stretch
                .past(step, terms.horizon)
                .map_or(0.0, |past| past * past);
            count += 1;
        }
    }
    let scale = (squares / count.max(1) as f64).sqrt();
    if scale <= 0.0 {
        return failed("the price never moves in the data set; import a market that trades");
    }
    statistics.return_scale = narrow(scale);
    Ok(statistics)
}

fn check_steps(
    dataset: &Dataset,
    stretches: &[Stretch<'_>],
    terms: &Terms,
) -> Result<(), MarketError> {
    let rows: usize = dataset.series().iter().map(|one| one.rows.len()).sum();
    if rows == 0 {
        return failed(
            "the data set has no step before the cut-off; import older history or shorten no quarantine",
        );
    }
    if stretches.is_empty() {
        return failed(format!(
            "none of {rows} steps lies in an unbroken stretch of {} live ones; import history without masked steps \
             or shorten terms.horizon",
            shortest(terms)
        ));
    }
    Ok(())
}

/// The corpus of a data set: each stretch is a path, over which each policy of the terms lives an episode. Returns
/// are the realised ones (the plain form).
///
/// # Errors
/// When the terms make no sense, no step can be learned from, or all policies together know one class only.
pub fn corpus(dataset: &Dataset, terms: &Terms, seed: u64) -> Result<Corpus, MarketError> {
    if let Err(error) = terms.check() {
        return failed(error.to_string());
    }
    let statistics = statistics(dataset, terms)?;
    let stretches = stretches(dataset, terms);
    let unit = f64::from(statistics.return_scale);
    let mut episodes = Vec::with_capacity(stretches.len() * terms.policies.len());
    for (path, stretch) in stretches.iter().enumerate() {
        for (index, policy) in terms.policies.iter().enumerate() {
            let mut rng = Rng::new(seed, (path * terms.policies.len() + index) as u64);
            episodes.push(policy.replay(stretch, path, terms, unit, &mut rng));
        }
    }
    let mut classes = [0_usize; CLASSES];
    for action in episodes.iter().flat_map(|episode| &episode.actions) {
        classes[usize::from(*action)] += 1;
    }
    if classes.iter().filter(|count| **count > 0).count() < 2 {
        return failed(
            "the policies of the terms take one class of action only, from which no choice can be learned; \
             add random or momentum to terms.policies",
        );
    }
    Ok(Corpus {
        state: SELECTION.len(),
        actions: CLASSES,
        paths: stretches.iter().map(|stretch| path(stretch.rows)).collect(),
        episodes,
        statistics,
        draw: Draw {
            whole: false,
            unconditioned: UNCONDITIONED,
        },
    })
}

fn path(rows: &[MarketRow]) -> corpus::Path {
    corpus::Path {
        states: rows.iter().flat_map(|row| row.state.values).collect(),
        valid: rows.iter().flat_map(|row| row.state.known()).collect(),
        live: vec![true; rows.len()],
    }
}

/// The quantile of the return-to-go over all steps of a corpus, for serving a model that was taught the plain form.
///
/// # Panics
/// When the corpus has no step: [`corpus`] makes none such.
#[must_use]
pub fn target_return(corpus: &Corpus, quantile: f64) -> f32 {
    let mut returns: Vec<f32> = corpus
        .episodes
        .iter()
        .flat_map(|episode| {
            episode
                .returns
                .iter()
                .copied()
                .filter(|value| value.is_finite())
        })
        .collect();
    returns.sort_unstable_by(f32::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the vector"
    )]
    let place = ((returns.len() - 1) as f64 * quantile.clamp(0.0, 1.0)).round() as usize;
    returns[place]
}

/// The part of a data set from one instant to before another; none when nothing lies there.
#[must_use]
pub fn between(dataset: &Dataset, from: Time, to: Time) -> Option<Dataset> {
    let part = dataset.series().iter().map(|series| Series {
        instrument: series.instrument.clone(),
        pulse_ns: series.pulse_ns,
        rows: series
            .rows
            .iter()
            .filter(|row| (from..to).contains(&row.at))
            .copied()
            .collect(),
    });
    let part = Dataset::new(part.collect(), dataset.cutoff());
    (!part.series().is_empty()).then_some(part)
}

/// Cuts the newest `share` of the time off, and drops `embargo` steps before it, so that no label of the older part
/// looks into the newer one, and no feature of the newer one remembers much of the older.
///
/// # Errors
/// When the embargo is shorter than the horizon, the share leaves nothing on one side.
pub fn held_out(
    dataset: &Dataset,
    terms: &Terms,
    share: f64,
    embargo: usize,
) -> Result<(Dataset, Dataset), MarketError> {
    if embargo < terms.horizon {
        return failed(format!(
            "an embargo of {embargo} steps is shorter than terms.horizon = {}; labels would look across it",
            terms.horizon
        ));
    }
    let times = || {
        dataset
            .series()
            .iter()
            .flat_map(|series| &series.rows)
            .map(|row| row.at)
    };
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return failed("the data set is empty; import history before the cut-off");
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a span of nanoseconds times a share"
    )]
    let newer = ((last.0 - first.0) as f64 * share.clamp(0.0, 1.0)) as u64;
    let split = Time(last.0 - newer);
    let pulse = dataset
        .series()
        .iter()
        .map(|one| one.pulse_ns)
        .max()
        .unwrap_or(0);
    let end = Time(split.0.saturating_sub(pulse.saturating_mul(embargo as u64)));
    let old = between(dataset, Time(0), end);
    let new = between(dataset, split, Time(u64::MAX));
    match (old, new) {
        (Some(old), Some(new)) => Ok((old, new)),
        _ => failed(format!(
            "a held-out share of {share} and an embargo of {embargo} steps leave one side empty; choose a share \
             between 0.05 and 0.5 or import more history"
        )),
    }
}

/// How the phases of [`learn`] are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learning {
    /// The first network, whose value head estimates.
    pub estimate: train::Terms,
    /// The final network.
    pub decide: train::Terms,
    /// Share of the time that examines the first network, so that it stops before it learns noise.
    pub held_out: f64,
    /// Seed of the replayed policies.
    pub seed: u64,
}

impl Learning {
    /// Terms for a small network: so many steps for each phase.
    #[must_use]
    pub fn small(steps: u64, seed: u64) -> Self {
        let common = train::Terms {
            steps,
            batch: 64,
            learning_rate: 8e-3,
            warm_up: steps / 20,
            floor: 0.05,
            weight_decay: 0.05,
            dropout: 0.0,
            evaluate_every: (steps / 8).max(1),
            evaluate_batches: 12,
            checkpoint_every: steps.max(1),
            seed,
            ..train::Terms::default()
        };
        let estimate = train::Terms {
            losses: LossWeights {
                action: 0.0,
                position: 0.0,
                risk: 0.0,
                value: 1.0,
            },
            ..common.clone()
        };
        Self {
            estimate,
            decide: common,
            held_out: 0.15,
            seed,
        }
    }
}

/// What [`learn`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// The first network, whose value head estimates.
    pub estimate: Weights,
    /// The final network.
    pub weights: Weights,
    /// What normalises its inputs, and the unit of its value head.
    pub statistics: Statistics,
    /// The return-to-go to show it at every step.
    pub target: f32,
}

/// Folder of the first network's checkpoints and metrics, within that of a run.
pub const ESTIMATE: &str = "estimate";
/// Folder of the final network's.
pub const DECIDE: &str = "decide";

/// What a run begins with, and where it is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course<'a> {
    /// The run's folder; nothing is kept without it.
    pub out: Option<&'a Path>,
    /// Goes on with the checkpoints that lie there.
    pub resume: bool,
    /// A run whose two networks are refreshed: their backbones stay, the last layers and heads move.
    pub refreshed: Option<&'a Learned>,
}

impl Course<'_> {
    /// Where a phase begins, and on what terms.
    fn begin(&self, phase: &str, terms: &train::Terms) -> (Start, train::Terms) {
        let mut terms = terms.clone();
        let checkpoint = self.out.map(|out| out.join(phase));
        let kept = checkpoint.filter(|folder| self.resume && folder.join(CHECKPOINT_FILE).exists());
        let start = match (kept, self.refreshed) {
            (Some(folder), _) => Start::Resume(folder),
            (None, Some(run)) if phase == ESTIMATE => Start::Weights(run.estimate.clone()),
            (None, Some(run)) => Start::Weights(run.weights.clone()),
            (None, None) => Start::Fresh,
        };
        if self.refreshed.is_some() {
            terms.mode = train::Mode::Weekly;
        }
        (start, terms)
    }
}

/// Learns from a data set: see the head of this file. Each step of both phases is reported with its name.
///
/// # Errors
/// As [`corpus`] and [`held_out`], or when a training stops.
pub fn learn(
    dataset: &Dataset,
    terms: &Terms,
    spec: &Spec,
    how: &Learning,
    course: &Course<'_>,
    report: &mut dyn FnMut(&str, &Progress),
) -> Result<Learned, MarketError> {
    let (old, new) = held_out(dataset, terms, how.held_out, terms.horizon)?;
    let mut known = corpus(&old, terms, how.seed)?;
    let mut examined = corpus(&new, terms, how.seed)?;
    examined.statistics = known.statistics.clone();
    (known.draw.unconditioned, examined.draw.unconditioned) = (1.0, 1.0);
    let mut train = |phase: &str, corpus: &Corpus, held: Option<&Corpus>, terms: &train::Terms| {
        let (start, terms) = course.begin(phase, terms);
        let out = course.out.map(|out| out.join(phase));
        let told = &mut |progress: &Progress| report(phase, progress);
        train::train(corpus, held, spec, start, &terms, out.as_deref(), told)
            .map_err(|error| MarketError(format!("{phase}: {error}")))
    };
    let estimate = train(ESTIMATE, &known, Some(&examined), &how.estimate)?.weights;
    let device = train::devices()
        .into_iter()
        .next()
        .unwrap_or_else(Device::flex);
    let estimator = DecisionTransformer::from_weights(spec, &estimate, &device);
    let relabelling = Relabelling {
        rows: RELABEL_ROWS,
        stride: (spec.steps / 2).max(1),
    };
    let mut relabelled = relabel_against(&known, &estimator, spec, relabelling, Against::Best);
    drop(known);
    relabelled.draw.unconditioned = UNCONDITIONED;
    let finer = in_round_trips(&mut relabelled, &old, terms);
    let mut decide = how.decide.clone();
    decide.losses.value *= f64::from(finer * finer);
    let decider = train(DECIDE, &relabelled, None, &decide)?;
    Ok(Learned {
        estimate,
        weights: decider.weights,
        statistics: relabelled.statistics,
        target: NO_REGRET,
    })
}

/// Makes what a round trip costs the unit of returns, since regrets differ by costs where a decision is close, and
/// cuts regrets at [`REGRET_MAX`] of them. Gives the new unit over the old one.
fn in_round_trips(corpus: &mut Corpus, dataset: &Dataset, terms: &Terms) -> f32 {
    let stretches = stretches(dataset, terms);
    let (mut paid, mut steps) = (0.0, 0_usize);
    for stretch in &stretches {
        for step in 0..stretch.len() {
            paid += 2.0 * terms.cost(stretch.half_spread(step), 1.0);
        }
        steps += stretch.len();
    }
    let old = corpus.statistics.return_scale;
    let unit = narrow(paid / steps.max(1) as f64).max(old * UNIT_MIN);
    for episode in &mut corpus.episodes {
        for regret in &mut episode.returns {
            *regret = regret.max(-REGRET_MAX * unit);
        }
    }
    corpus.statistics.return_scale = unit;
    unit / old
}

#[expect(clippy::cast_possible_truncation, reason = "statistics are f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
