//! What the transformer must beat: a linear model, a small network and gradient-boosted trees.
//!
//! They learn from the same [`Corpus`] as it does, but see only the last few steps, flattened, and neither
//! return-to-go nor earlier actions. What each step teaches (see [`rows`]):
//!
//! * *class*: where the corpus knows the return-to-go of two actions or more, the one with the highest mean over the
//!   episodes that share the step. Elsewhere, the action that most of the best episodes took, the best being the
//!   quarter with the highest return from their start on ("%BC" in Chen et al. 2021);
//! * *value*: the mean return-to-go of each action where it is known, over the corpus's return scale;
//! * *size*: the mean size of those who took that class; *risk*: the mean risk met there.
//!
//! Answers have the form of the transformer's, so that the gate can play them: logits and values per action, size and
//! risk in `[0, 1]`. [`Baseline::onnx`] writes the same model as a graph.

use std::fmt;

use serde::{Deserialize, Serialize};
use tickerml_shared::rand::Rng;

use crate::corpus::Corpus;
use crate::spec::Statistics;

mod dense;
mod graph;
mod learn;
mod rows;
mod trees;

use dense::Network;
use rows::Rows;
use trees::Forest;

/// Most steps that a baseline looks back on.
pub const LOOK_BACK_MAX: usize = 64;

/// Why there is no baseline: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineError(String);

impl fmt::Display for BaselineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BaselineError {}

/// Which model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Softmax regression for the class, ridge regression for the rest.
    Linear,
    /// Two hidden layers.
    Network,
    /// Gradient-boosted trees, one against the rest for the classes.
    Trees,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Network, Self::Trees];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Network => "network",
            Self::Trees => "trees",
        }
    }
}

/// How a baseline is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Which model.
    pub kind: Kind,
    /// Steps it sees, the current one included (L).
    pub look_back: usize,
    /// Most rows it learns from; of more, evenly spaced ones are taken.
    pub rows: usize,
    /// Linear: weight of the squared coefficients, per row.
    pub ridge: f64,
    /// Linear and network: passes over the rows.
    pub epochs: usize,
    /// Linear and network: rows of a step of the optimizer.
    pub batch: usize,
    /// Linear and network: highest learning rate of AdamW; it falls to zero in a straight line.
    pub rate: f64,
    /// Linear and network: weight decay of AdamW.
    pub decay: f32,
    /// Network: width of its two hidden layers.
    pub hidden: usize,
    /// Trees: rounds of boosting, each a tree an output.
    pub rounds: usize,
    /// Trees: depth of a tree.
    pub depth: usize,
    /// Trees: share of a tree's correction that is taken.
    pub shrinkage: f32,
    /// Trees: share of the columns that each tree may split by.
    pub columns: f64,
}

impl Terms {
    /// Reference terms.
    #[must_use]
    pub const fn reference(kind: Kind) -> Self {
        Self {
            kind,
            look_back: 3,
            rows: 50_000,
            ridge: 1e-3,
            epochs: 20,
            batch: 256,
            // Softmax regression is convex and starts at zero: large steps are safe.
            rate: match kind {
                Kind::Linear => 5e-2,
                Kind::Network | Kind::Trees => 3e-3,
            },
            decay: 1e-3,
            hidden: 64,
            rounds: 100,
            depth: 4,
            shrinkage: 0.1,
            columns: 0.5,
        }
    }

    /// What is wrong with these terms.
    fn check(&self) -> Result<(), BaselineError> {
        for (name, value, most) in [
            ("look_back", self.look_back, LOOK_BACK_MAX),
            ("rows", self.rows, 10_000_000),
            ("epochs", self.epochs, 10_000),
            ("batch", self.batch, 65_536),
            ("hidden", self.hidden, 4_096),
            ("rounds", self.rounds, 10_000),
            ("depth", self.depth, 16),
        ] {
            if !(1..=most).contains(&value) {
                return Err(BaselineError(format!(
                    "baseline.{name} = {value}; give 1 to {most}"
                )));
            }
        }
        let fits = self.ridge > 0.0
            && self.rate > 0.0
            && self.decay >= 0.0
            && self.shrinkage > 0.0
            && self.columns > 0.0
            && self.columns <= 1.0;
        if !fits {
            return Err(BaselineError(
                "baseline.ridge, rate and shrinkage must be above zero, decay not below, and columns in (0, 1]"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// A model's answer for one step, in the form of the transformer's heads.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Logits of the actions (A).
    pub logits: Vec<f32>,
    /// Position size, in `[0, 1]`.
    pub size: f32,
    /// Risk, in `[0, 1]`.
    pub risk: f32,
    /// Return-to-go of each action, over the return scale (A).
    pub value: Vec<f32>,
}

impl Prediction {
    /// Probabilities of the actions: the softmax of the logits.
    #[must_use]
    pub fn probabilities(&self) -> Vec<f32> {
        let most = self
            .logits
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let raised: Vec<f32> = self
            .logits
            .iter()
            .map(|logit| (logit - most).exp())
            .collect();
        let total: f32 = raised.iter().sum();
        raised.into_iter().map(|one| one / total).collect()
    }

    /// The most probable action; the first of equals.
    #[must_use]
    pub fn action(&self) -> usize {
        let mut best = 0;
        for (class, logit) in self.logits.iter().enumerate() {
            if *logit > self.logits[best] {
                best = class;
            }
        }
        best
    }

    /// The weighted mean of some answers: of their probabilities (returned as logits), sizes, risks and values.
    /// Any model's answers may be averaged, the transformer's too.
    ///
    /// # Errors
    /// When there is no answer, they have different actions, or weights are negative or all zero.
    pub fn mean(answers: &[(f32, Self)]) -> Result<Self, BaselineError> {
        let total: f32 = answers.iter().map(|(weight, _)| weight).sum();
        let actions = answers.first().map_or(0, |(_, one)| one.logits.len());
        let fits = total > 0.0
            && total.is_finite()
            && answers.iter().all(|(weight, one)| {
                *weight >= 0.0 && one.logits.len() == actions && one.value.len() == actions
            });
        if !fits {
            return Err(BaselineError(format!(
                "{} models with weights that sum to {total} cannot be averaged: give weights of zero or more, one of \
                 them above, to models with the same actions",
                answers.len()
            )));
        }
        let mut mean = Self {
            logits: vec![0.0; actions],
            size: 0.0,
            risk: 0.0,
            value: vec![0.0; actions],
        };
        for (weight, one) in answers {
            let share = weight / total;
            for (sum, probability) in mean.logits.iter_mut().zip(one.probabilities()) {
                *sum += share * probability;
            }
            for (sum, value) in mean.value.iter_mut().zip(&one.value) {
                *sum += share * value;
            }
            mean.size += share * one.size;
            mean.risk += share * one.risk;
        }
        for logit in &mut mean.logits {
            *logit = logit.max(f32::MIN_POSITIVE).ln();
        }
        Ok(mean)
    }
}

/// The fitted numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Model {
    Dense(Network),
    Trees(Forest),
}

/// A fitted baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    kind: Kind,
    state: usize,
    actions: usize,
    look_back: usize,
    statistics: Statistics,
    model: Model,
}

impl Baseline {
    /// Fits a baseline. The same corpus, terms and seed give the same bits on one machine.
    ///
    /// # Errors
    /// When the terms make no sense, the corpus is empty or teaches one class only, or a loss is no finite number.
    pub fn fit(corpus: &Corpus, terms: &Terms, seed: u64) -> Result<Self, BaselineError> {
        terms.check()?;
        let rows = Rows::of(corpus, terms)?;
        let mut rng = Rng::new(seed, 0xBA5E);
        let model = match terms.kind {
            Kind::Linear => {
                Model::Dense(learn::linear(&rows, &corpus.statistics, terms, &mut rng)?)
            }
            Kind::Network => {
                Model::Dense(learn::network(&rows, &corpus.statistics, terms, &mut rng)?)
            }
            Kind::Trees => Model::Trees(trees::grow(&rows, terms, seed)?),
        };
        Ok(Self {
            kind: terms.kind,
            state: corpus.state,
            actions: corpus.actions,
            look_back: terms.look_back,
            statistics: corpus.statistics.clone(),
            model,
        })
    }

    /// Which model this is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Steps it sees (L).
    #[must_use]
    pub const fn look_back(&self) -> usize {
        self.look_back
    }

    /// Its answer to the last steps: raw features and whether they are known, `[L, S]` each, the oldest step first;
    /// steps before the start and masked ones are zero in both.
    ///
    /// # Errors
    /// When the lengths are not `L · S`.
    pub fn predict(&self, states: &[f32], valid: &[f32]) -> Result<Prediction, BaselineError> {
        let wide = self.look_back * self.state;
        if states.len() != wide || valid.len() != wide {
            return Err(BaselineError(format!(
                "{} features and {} flags: this {} baseline sees {} steps of {} features",
                states.len(),
                valid.len(),
                self.kind.name(),
                self.look_back,
                self.state
            )));
        }
        let outputs = match &self.model {
            Model::Dense(network) => network.answer(
                &dense::inputs(&self.statistics, states, valid),
                self.actions,
            ),
            Model::Trees(forest) => forest.answer(&trees::inputs(states, valid), self.actions),
        };
        let (logits, rest) = outputs.split_at(self.actions);
        Ok(Prediction {
            logits: logits.to_vec(),
            size: rest[0],
            risk: rest[1],
            value: rest[2..].to_vec(),
        })
    }

    /// Its answer at a step of a path: what [`Self::predict`] says of the steps that end there.
    ///
    /// # Errors
    /// When the path has other features, or no such step.
    pub fn predict_at(
        &self,
        path: &crate::corpus::Path,
        step: usize,
    ) -> Result<Prediction, BaselineError> {
        if step >= path.live.len() || path.states.len() != path.live.len() * self.state {
            return Err(BaselineError(format!(
                "step {step} of a path with {} steps and {} numbers: this baseline sees {} features a step",
                path.live.len(),
                path.states.len(),
                self.state
            )));
        }
        let (states, valid) = rows::seen(path, step, self.look_back, self.state);
        self.predict(&states, &valid)
    }

    /// The same model as an ONNX graph: inputs `states` and `valid` `[batch, L · S]`, outputs `action` `[batch, A]`,
    /// `size` and `risk` `[batch, 1]`, `value` `[batch, A]`. Normalisation is inside.
    #[must_use]
    pub fn onnx(&self) -> tract_onnx::pb::ModelProto {
        graph::write(self)
    }

    /// This baseline as bytes.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BaselineError> {
        postcard::to_allocvec(self)
            .map_err(|error| BaselineError(format!("the baseline cannot be written: {error}")))
    }

    /// A baseline from bytes.
    ///
    /// # Errors
    /// When they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BaselineError> {
        postcard::from_bytes(bytes).map_err(|error| {
            BaselineError(format!(
                "these bytes are no baseline ({error}); fit it again"
            ))
        })
    }
}

/// Several baselines that answer as one, each with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    members: Vec<(f32, Baseline)>,
}

impl Ensemble {
    /// An ensemble of these baselines with these weights.
    ///
    /// # Errors
    /// When there is none, they see different steps or actions, or weights are negative or all zero.
    pub fn new(members: Vec<(f32, Baseline)>) -> Result<Self, BaselineError> {
        let shape = |one: &Baseline| (one.look_back, one.state, one.actions);
        let total: f32 = members.iter().map(|(weight, _)| weight).sum();
        let fits = total > 0.0
            && total.is_finite()
            && members
                .iter()
                .all(|(weight, one)| *weight >= 0.0 && shape(one) == shape(&members[0].1));
        if fits {
            Ok(Self { members })
        } else {
            Err(BaselineError(format!(
                "{} baselines with weights that sum to {total} are no ensemble: give weights of zero or more, one of \
                 them above, to baselines that see the same steps",
                members.len()
            )))
        }
    }

    /// The weighted mean of the members' answers, as [`Prediction::mean`].
    ///
    /// # Errors
    /// As [`Baseline::predict`].
    pub fn predict(&self, states: &[f32], valid: &[f32]) -> Result<Prediction, BaselineError> {
        let answers = self
            .members
            .iter()
            .map(|(weight, one)| Ok((*weight, one.predict(states, valid)?)))
            .collect::<Result<Vec<_>, BaselineError>>()?;
        Prediction::mean(&answers)
    }
}

#[cfg(test)]
#[path = "baseline/tests.rs"]
mod tests;
