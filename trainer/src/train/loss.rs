//! What a network is taught with: one loss a head, each a weighted mean over what may be learned.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::Lesson;
use crate::batch::Batch;
use crate::model::Outputs;

/// How much each head's loss counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Of the cross-entropy of the action.
    pub action: f64,
    /// Of the squared error of the position size.
    pub position: f64,
    /// Of the squared error of the risk.
    pub risk: f64,
    /// Of the squared error of the value over the return scale, whose minimum is the expected return.
    pub value: f64,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            action: 1.0,
            position: 0.5,
            risk: 0.3,
            value: 0.2,
        }
    }
}

/// The losses of a step or of an evaluation, before their weights, and how often the likeliest class was the one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Weighted sum of the others.
    pub total: f32,
    /// Cross-entropy of the action in nats.
    pub action: f32,
    /// Mean squared error of the position size.
    pub position: f32,
    /// Mean squared error of the risk.
    pub risk: f32,
    /// Mean squared error of the value, in units of the return scale.
    pub value: f32,
    /// Share of steps whose likeliest class was the action taken.
    pub accuracy: f32,
}

/// Numbers in a row of losses: [`Losses`] in the order of its fields.
pub(super) const FIGURES: usize = 6;

impl Losses {
    pub(super) fn from_row(row: &[f32]) -> Self {
        Self {
            total: row[0],
            action: row[1],
            position: row[2],
            risk: row[3],
            value: row[4],
            accuracy: row[5],
        }
    }
}

/// The sums of weights that losses are divided by: over all the batches of a step, so that how a step is cut into
/// batches changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Totals {
    action: f32,
    position: f32,
    value: f32,
}

impl Totals {
    pub(super) fn new<'a>(batches: impl Iterator<Item = &'a Batch>) -> Self {
        let mut sums = [0.0_f64; 3];
        for batch in batches {
            let weights = [&batch.weight, &batch.position_weight, &batch.value_weight];
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum += weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
            }
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "f32 is what losses are computed in"
        )]
        let [action, position, value] = sums.map(|sum| sum as f32);
        Self {
            action,
            position,
            value,
        }
    }
}

/// The losses of a batch: the total `[1]` with its graph, and all figures `[FIGURES]` without.
pub(super) fn losses(
    outputs: Outputs,
    batch: &Batch,
    totals: &Totals,
    lesson: &Lesson<'_>,
    device: &Device,
) -> (Tensor<1>, Tensor<1>) {
    let (b, t, classes) = (batch.size, batch.steps, lesson.spec.actions);
    let scale = lesson.corpus.statistics.return_scale;
    let weights = &lesson.terms.losses;
    let device = device.clone().inner();
    let flat = |values: Vec<f32>| {
        Tensor::<2>::from_data(TensorData::new(values, [b, t]), &device) // [B, T]
    };
    let wide = |values: Vec<f32>| {
        Tensor::<3>::from_data(TensorData::new(values, [b, t, classes]), &device) // [B, T, A]
    };
    let mut taken = vec![0.0; b * t * classes];
    for (cell, (class, weight)) in batch.action.iter().zip(&batch.weight).enumerate() {
        taken[cell * classes + *class as usize] = over(*weight, totals.action);
    }
    let taken = wide(taken); // [B, T, A]

    let logits = outputs.action;
    let likeliest = logits.clone().inner().max_dim(2); // [B, T, 1]
    let right = logits.clone().inner().greater_equal(likeliest).float(); // [B, T, A]
    let accuracy = (right * taken.clone()).sum(); // [1]
    let action = (log_softmax(logits, 2) * taken).sum().neg(); // [1]

    let position = squared(
        outputs.size,
        flat(batch.position.clone()),
        flat(shares(&batch.position_weight, totals.position)),
    );
    let risk = squared(
        outputs.risk,
        flat(batch.risk.clone()),
        flat(shares(&batch.weight, totals.action)),
    );
    let value = squared(
        outputs.value,
        wide(batch.value.iter().map(|v| v / scale).collect()),
        wide(shares(&batch.value_weight, totals.value)),
    );
    let total = action.clone().mul_scalar(weights.action)
        + position.clone().mul_scalar(weights.position)
        + risk.clone().mul_scalar(weights.risk)
        + value.clone().mul_scalar(weights.value); // [1]
    let figures = [&total, &action, &position, &risk, &value]
        .into_iter()
        .map(|loss| loss.clone().inner())
        .chain([accuracy])
        .collect();
    (total, Tensor::cat(figures, 0))
}

/// `Σ weight · (answer − target)²`: `[1]`.
fn squared<const D: usize>(answer: Tensor<D>, target: Tensor<D>, weight: Tensor<D>) -> Tensor<1> {
    ((answer - target).square() * weight).sum()
}

fn shares(weights: &[f32], total: f32) -> Vec<f32> {
    weights.iter().map(|weight| over(*weight, total)).collect()
}

/// A weight's share of all; zero where nothing has weight.
fn over(weight: f32, total: f32) -> f32 {
    if total > 0.0 { weight / total } else { 0.0 }
}
