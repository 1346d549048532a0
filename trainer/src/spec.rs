//! The network's shape, and the names and shapes of its weights: the contract of [`crate::model`] (burn),
//! [`crate::onnx`] (the graphs that the edge runs) and `tests/learning` (PyTorch).
//!
//! A Decision Transformer (Chen et al. 2021) whose sequence is one *group* of three tokens a step:
//! previous action, return-to-go, state. That is the paper's order (return, state, action) cut between state and
//! action, so that a group is complete when a decision is asked for; the first group of a sequence carries the
//! class "none" instead of an action. All heads read the state token.
//!
//! Layer `i` sees the last `bands[i]` groups, its own included, causally within the group. Positions enter only as
//! a learned bias per head and token distance (Raffel et al. 2020, T5), so that nothing in the network knows an
//! absolute time, and a stream may run for ever. A step's answer depends on [`Spec::receptive_steps`] groups; when
//! these fit into a window with its previous actions, a streamed answer *is* the window's answer, however long the
//! stream has run: a policy stays a pure function of its window.
//!
//! The forward pass, for states `[B, T, S]`:
//!
//! ```text
//! state token    x[3t+2] = clamp((state − mean) · inverse_scale, ±CLAMP) · valid · W_state + b_state
//! return token   x[3t+1] = (known · return_to_go / return_scale, known) · W_return + b_return
//! action token   x[3t]   = (one-hot of the previous class, none, previous size) · W_action + b_action
//! x = layer_norm(x; embed_norm)
//! layer:  h = layer_norm(x; norm1); q, k, v = h · W_qkv + b_qkv          each [B, heads, 3T, d_head]
//!         a = softmax(q kᵀ / √d_head + relative[head, distance] + mask) v   mask: 0 or −1e9
//!         x = x + a · W_out + b_out;  x = x + gelu(layer_norm(x; norm2) · W_up + b_up) · W_down + b_down
//! x = layer_norm(x; norm) at the state tokens
//! heads:  action logits [A];  size, risk = sigmoid;  value [A]: return-to-go of each action, over return_scale
//! ```
//!
//! A key of another group is visible when its step is live and within the band; keys of the own group up to the
//! query itself are always visible, so that no row of the softmax is empty. GELU is the exact one (erf), layer
//! norms have epsilon [`LAYER_NORM_EPSILON`] and the biased variance.

use serde::{Deserialize, Serialize};
use tickerml_shared::bundle::Shape;
pub use tickerml_shared::bundle::{HEAD_LAYERS, HIDDEN, TOKENS};

/// Normalised features are clamped to this many standard deviations.
pub const CLAMP: f32 = 8.0;
/// Added to the variance in every layer norm.
pub const LAYER_NORM_EPSILON: f32 = 1e-5;

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Features of a state (S).
    pub state: usize,
    /// Classes of the action head (A).
    pub actions: usize,
    /// Steps of a training sequence and of the window form (T).
    pub steps: usize,
    /// Width of a token (d).
    pub d_model: usize,
    /// Attention heads (H); they share `d_model` evenly.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// Groups that each layer sees, its own included: one entry a layer.
    pub bands: Vec<usize>,
}

impl Spec {
    /// The reference network: d 128, 4 heads, 6 layers, K = 60.
    ///
    /// Early layers look at the near past and the last ones far back, so that the whole sees
    /// 59 steps: what a window of 60 holds together with its previous actions.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            state: tickerml_shared::features::SELECTION.len(),
            actions: tickerml_shared::action::CHOICES.len(),
            steps: tickerml_shared::window::STEPS,
            d_model: 128,
            heads: 4,
            d_ff: 512,
            bands: vec![4, 4, 8, 8, 16, 24],
        }
    }

    /// The shape as the edge reads it, whose rules hold here too.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            state: self.state,
            actions: self.actions,
            steps: self.steps,
            d_model: self.d_model,
            heads: self.heads,
            d_ff: self.d_ff,
            bands: self.bands.clone(),
        }
    }

    /// Layers in all.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.bands.len()
    }

    /// Layers of the backbone, which a weekly refresh must not move.
    #[must_use]
    pub fn frozen_layers(&self) -> usize {
        self.shape().frozen_layers()
    }

    /// Width of one head.
    #[must_use]
    pub fn d_head(&self) -> usize {
        self.shape().d_head()
    }

    /// Inputs of the action token: a one-hot of the class, "none", and the size.
    #[must_use]
    pub fn action_inputs(&self) -> usize {
        self.shape().action_inputs()
    }

    /// Groups on which an answer depends.
    #[must_use]
    pub fn receptive_steps(&self) -> usize {
        self.shape().receptive_steps()
    }

    /// Whether a streamed answer equals the window's for ever: the oldest group that matters must
    /// have its previous action inside the window.
    #[must_use]
    pub fn streams_exactly(&self) -> bool {
        self.shape().streams_exactly()
    }

    /// What is wrong with this shape, with its remedy.
    ///
    /// # Errors
    /// When a size is zero, heads do not divide the width, or a band is longer than the sequence.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("state", self.state),
            ("actions", self.actions),
            ("steps", self.steps),
            ("d_model", self.d_model),
            ("heads", self.heads),
            ("d_ff", self.d_ff),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("model.{name} is 0; give it at least 1"));
        }
        if !self.d_model.is_multiple_of(self.heads) {
            return Err(format!(
                "model.heads = {} does not divide model.d_model = {}; choose a divisor",
                self.heads, self.d_model
            ));
        }
        if self.bands.is_empty() {
            return Err("model.bands is empty; give one number of steps per layer".to_owned());
        }
        match self
            .bands
            .iter()
            .find(|band| **band == 0 || **band > self.steps)
        {
            Some(band) => Err(format!(
                "model.bands contains {band}; each layer sees 1 to model.steps = {} steps",
                self.steps
            )),
            None => Ok(()),
        }
    }

    /// Names and shapes of all weights, in the order in which they are hashed. Matrices are
    /// `[inputs, outputs]`.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Vec<usize>)> {
        let (d, mut all) = (self.d_model, Vec::new());
        let mut add = |name: String, shape: &[usize]| all.push((name, shape.to_vec()));
        for (name, inputs) in [
            ("state", self.state),
            ("return", 2),
            ("action", self.action_inputs()),
        ] {
            add(format!("{name}.weight"), &[inputs, d]);
            add(format!("{name}.bias"), &[d]);
        }
        add("embed_norm.gamma".to_owned(), &[d]);
        add("embed_norm.beta".to_owned(), &[d]);
        for (layer, band) in self.bands.iter().enumerate() {
            add(format!("layer.{layer}.norm1.gamma"), &[d]);
            add(format!("layer.{layer}.norm1.beta"), &[d]);
            add(format!("layer.{layer}.qkv.weight"), &[d, 3 * d]);
            add(format!("layer.{layer}.qkv.bias"), &[3 * d]);
            add(
                format!("layer.{layer}.relative"),
                &[self.heads, TOKENS * band],
            );
            add(format!("layer.{layer}.out.weight"), &[d, d]);
            add(format!("layer.{layer}.out.bias"), &[d]);
            add(format!("layer.{layer}.norm2.gamma"), &[d]);
            add(format!("layer.{layer}.norm2.beta"), &[d]);
            add(format!("layer.{layer}.up.weight"), &[d, self.d_ff]);
            add(format!("layer.{layer}.up.bias"), &[self.d_ff]);
            add(format!("layer.{layer}.down.weight"), &[self.d_ff, d]);
            add(format!("layer.{layer}.down.bias"), &[d]);
        }
        add("norm.gamma".to_owned(), &[d]);
        add("norm.beta".to_owned(), &[d]);
        for (name, outputs) in [
            ("action", self.actions),
            ("size", 1),
            ("risk", 1),
            ("value", self.actions),
        ] {
            add(format!("head.{name}.weight"), &[d, outputs]);
            add(format!("head.{name}.bias"), &[outputs]);
        }
        all
    }

    /// Whether a weight belongs to the backbone, which only a full training moves.
    #[must_use]
    pub fn is_backbone(&self, name: &str) -> bool {
        match name.strip_prefix("layer.") {
            Some(rest) => rest
                .split('.')
                .next()
                .and_then(|layer| layer.parse::<usize>().ok())
                .is_some_and(|layer| layer < self.frozen_layers()),
            None => !name.starts_with("head.") && !name.starts_with("norm."),
        }
    }
}

/// What normalisation needs: fitted on training data, bound to the graphs as inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Mean of each feature where it is known (S).
    pub mean: Vec<f32>,
    /// One over its standard deviation; zero for a feature that never moves (S).
    pub inverse_scale: Vec<f32>,
    /// What one unit of the return token and of the value head is worth, as a fraction.
    pub return_scale: f32,
}

impl Statistics {
    /// Changes nothing: for tasks whose states are already of order one.
    #[must_use]
    pub fn identity(state: usize) -> Self {
        Self {
            mean: vec![0.0; state],
            inverse_scale: vec![1.0; state],
            return_scale: 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_streams_exactly_within_its_window() {
        let spec = Spec::reference();
        assert_eq!(spec.check(), Ok(()));
        assert_eq!(
            (spec.layers(), spec.frozen_layers(), spec.d_head()),
            (6, 4, 32)
        );
        assert_eq!(spec.receptive_steps(), 59);
        assert!(spec.streams_exactly());
        let parameters: usize = spec
            .weights()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert!((1_100_000..1_300_000).contains(&parameters), "{parameters}");
    }

    #[test]
    fn a_shape_that_makes_no_sense_is_told_so() {
        let wrong = |change: fn(&mut Spec)| {
            let mut spec = Spec::reference();
            change(&mut spec);
            spec.check().expect_err("a wrong shape")
        };
        assert!(wrong(|spec| spec.heads = 3).contains("does not divide"));
        assert!(wrong(|spec| spec.bands = vec![]).contains("one number of steps per layer"));
        assert!(wrong(|spec| spec.bands[0] = 61).contains("1 to model.steps = 60"));
        assert!(wrong(|spec| spec.d_ff = 0).contains("model.d_ff is 0"));
    }

    #[test]
    fn the_backbone_is_the_embeddings_and_all_but_the_last_two_layers() {
        let spec = Spec::reference();
        for (name, expected) in [
            ("state.weight", true),
            ("embed_norm.beta", true),
            ("layer.3.relative", true),
            ("layer.4.qkv.weight", false),
            ("norm.gamma", false),
            ("head.value.bias", false),
        ] {
            assert_eq!(spec.is_backbone(name), expected, "{name}");
        }
    }
}
