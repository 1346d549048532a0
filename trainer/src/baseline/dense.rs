//! Dense layers and their forward pass.

use serde::{Deserialize, Serialize};

use crate::spec::{CLAMP, Statistics};

/// `y = x · weight + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dense {
    /// Numbers in (I).
    pub(super) inputs: usize,
    /// Numbers out (O).
    pub(super) outputs: usize,
    /// `[I, O]`.
    pub(super) weight: Vec<f32>,
    /// `[O]`.
    pub(super) bias: Vec<f32>,
}

/// How size and risk are brought into `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Squash {
    /// Cut off: what ridge regression wants.
    Clip,
    /// By the logistic function: what was trained with it.
    Sigmoid,
}

/// Layers with `max(0, ·)` between them. The last one answers: A logits, size, risk, A values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Network {
    pub(super) layers: Vec<Dense>,
    pub(super) squash: Squash,
}

/// What dense layers see of a row: normalised states, then the flags: `[2 · L · S]`.
pub(super) fn inputs(statistics: &Statistics, states: &[f32], valid: &[f32]) -> Vec<f32> {
    let state = statistics.mean.len();
    let normal = states
        .iter()
        .zip(valid)
        .enumerate()
        .map(|(at, (value, flag))| {
            let feature = at % state;
            let scaled = (value - statistics.mean[feature]) * statistics.inverse_scale[feature];
            scaled.clamp(-CLAMP, CLAMP) * flag
        });
    normal.chain(valid.iter().copied()).collect()
}

impl Dense {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut y = self.bias.clone();
        for (value, weights) in x.iter().zip(self.weight.chunks_exact(self.outputs)) {
            if *value != 0.0 {
                for (sum, weight) in y.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
        }
        y
    }
}

impl Network {
    /// The answer to a row: A logits, size, risk, A values.
    pub(super) fn answer(&self, x: &[f32], actions: usize) -> Vec<f32> {
        let mut y = x.to_vec();
        for (at, layer) in self.layers.iter().enumerate() {
            if at > 0 {
                y.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            y = layer.forward(&y);
        }
        for value in &mut y[actions..actions + 2] {
            *value = match self.squash {
                Squash::Clip => value.clamp(0.0, 1.0),
                Squash::Sigmoid => 1.0 / (1.0 + (-*value).exp()),
            };
        }
        y
    }
}
