//! The Decision Transformer in burn: exactly the forward pass of [`crate::spec`].
//!
//! It runs in two halves, as the graphs that the edge runs do: [`DecisionTransformer::backbone`] up to the layers
//! that a weekly refresh moves, and [`DecisionTransformer::head`] from there on. The last layer asks at the state
//! tokens only, because nothing reads its other answers.
//!
//! Weights are f32 always. [`Precision::Bf16`] casts the operands of matrix products; the residual stream, norms,
//! softmax and heads stay f32.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::activation::{gelu, sigmoid, softmax};
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tickerml_shared::rand::Rng;

use crate::batch::Batch;
use crate::kernels::{self, Sight};
use crate::spec::{CLAMP, HIDDEN, LAYER_NORM_EPSILON, Spec, Statistics, TOKENS};
use crate::weights::{self, Weights};

/// Standard deviation of fresh matrices (Radford et al. 2019, GPT-2).
const DEVIATION: f32 = 0.02;
/// Standard deviation of the fresh biases of embeddings.
const KIND_DEVIATION: f32 = 0.5;

/// The number format of matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout.
    #[default]
    F32,
    /// Operands and results of matrix products in bfloat16; weights, norms, softmax and losses in f32.
    Bf16,
}

impl Precision {
    /// Casts an operand of a matrix product.
    fn narrow<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => tensor,
            Self::Bf16 => tensor.cast(DType::BF16),
        }
    }

    /// Casts a result back to f32.
    fn widen<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => tensor,
            Self::Bf16 => tensor.cast(DType::F32),
        }
    }
}

/// How one forward pass is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// Number format of matrix products.
    pub precision: Precision,
    /// Share of activations dropped after the embedding and after both halves of each layer; 0 for none.
    pub dropout: f32,
    /// Draws what is dropped, the same on every device.
    pub rng: Rng,
}

impl Pass {
    /// Without dropout.
    #[must_use]
    pub const fn plain(precision: Precision) -> Self {
        Self {
            precision,
            dropout: 0.0,
            rng: Rng::new(0, 0),
        }
    }

    /// Drops activations and scales up what is left (Srivastava et al. 2014). The share is rounded to 1/256.
    fn dropped(&mut self, x: Tensor<3>) -> Tensor<3> {
        let bytes = (self.dropout * 256.0).round();
        if bytes < 1.0 {
            return x;
        }
        let scale = 256.0 / (256.0 - bytes);
        let [b, n, d] = x.dims();
        let mut keep = Vec::with_capacity(b * n * d + 4);
        while keep.len() < b * n * d {
            for byte in self.rng.next_u32().to_le_bytes() {
                keep.push(if f32::from(byte) < bytes { 0.0 } else { scale });
            }
        }
        keep.truncate(b * n * d);
        let device = x.device().inner();
        x * Tensor::from_data(TensorData::new(keep, [b, n, d]), &device) // [B, N, d]
    }
}

/// A [`Batch`] on a device, normalised. B sequences, T steps, N = 3T tokens.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Normalised states: `[B, T, S]`.
    states: Tensor<3>,
    /// Return-to-go over its scale, and whether it is shown: `[B, T, 2]`.
    returns: Tensor<3>,
    /// One-hot of the previous class, "none", previous size: `[B, T, A + 2]`.
    actions: Tensor<3>,
    /// Whether a step may be attended to: `[B, T]`; none where all may.
    live: Option<Arc<[bool]>>,
}

/// Which keys queries see, and at what distance. Q queries, N keys.
#[derive(Clone, Debug)]
struct Band {
    /// Token distance of a visible key, zero elsewhere: `[Q · N]`.
    distance: Tensor<1, Int>,
    /// Zero where visible, [`HIDDEN`] elsewhere: `[1, 1, Q, N]`.
    mask: Tensor<4>,
}

impl Band {
    /// `every`: 1 for queries at all tokens, [`TOKENS`] for those at state tokens.
    fn new(band: usize, steps: usize, every: usize, device: &Device) -> Self {
        let n = TOKENS * steps;
        let rows = n / every;
        let mut distance = vec![0_i32; rows * n];
        let mut mask = vec![HIDDEN; rows * n];
        for row in 0..rows {
            let query = row * every + every - 1;
            let first = TOKENS * (query / TOKENS + 1).saturating_sub(band);
            for key in first..=query {
                let far = i32::try_from(query - key).expect("a band of some steps");
                distance[row * n + key] = far;
                mask[row * n + key] = 0.0;
            }
        }
        Self {
            distance: Tensor::from_data(TensorData::new(distance, [rows * n]), device),
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, rows, n]), device),
        }
    }
}

impl Inputs {
    /// Normalises a batch and puts it on a device.
    #[must_use]
    pub fn new(batch: &Batch, statistics: &Statistics, spec: &Spec, device: &Device) -> Self {
        let device = &device.clone().inner();
        let (b, t, classes) = (batch.size, batch.steps, spec.actions);
        let put = |values: Vec<f32>, wide: usize| {
            Tensor::<3>::from_data(TensorData::new(values, [b, t, wide]), device)
        };
        let wide = spec.action_inputs();
        let mut actions = vec![0.0; b * t * wide];
        let mut returns = Vec::with_capacity(b * t * 2);
        for cell in 0..b * t {
            actions[cell * wide + batch.previous[cell] as usize] = 1.0;
            actions[cell * wide + classes + 1] = batch.previous_size[cell];
            let known = batch.known[cell];
            returns.extend([known * batch.returns[cell] / statistics.return_scale, known]);
        }
        Self {
            states: put(normalised(batch, statistics), spec.state), // [B, T, S]
            returns: put(returns, 2),                               // [B, T, 2]
            actions: put(actions, wide),                            // [B, T, A + 2]
            live: (!batch.live.iter().all(|live| *live > 0.0))
                .then(|| batch.live.iter().map(|live| *live > 0.0).collect()),
        }
    }

    /// [`HIDDEN`] where a key's step is not live and not the query's own: `[B, 1, Q, N]`.
    fn dead(&self, every: usize) -> Option<Tensor<4>> {
        let live = self.live.as_ref()?;
        let [b, t, _] = self.states.dims();
        let (rows, n) = (TOKENS * t / every, TOKENS * t);
        let keys: Vec<f32> = live
            .iter()
            .flat_map(|live| [if *live { 0.0 } else { HIDDEN }; TOKENS])
            .collect();
        let others: Vec<f32> = (0..rows * n)
            .map(|cell| (cell / n * every / TOKENS, cell % n / TOKENS))
            .map(|(own, step)| f32::from(u8::from(own != step)))
            .collect();
        let device = self.states.device();
        let keys = Tensor::<4>::from_data(TensorData::new(keys, [b, 1, 1, n]), &device);
        let others = Tensor::<4>::from_data(TensorData::new(others, [1, 1, rows, n]), &device);
        Some(keys * others) // [B, 1, Q, N]
    }
}

/// `clamp((state − mean) · inverse_scale, ±CLAMP) · valid`: `[B, T, S]`.
fn normalised(batch: &Batch, statistics: &Statistics) -> Vec<f32> {
    let features = statistics.mean.iter().zip(&statistics.inverse_scale);
    batch
        .states
        .iter()
        .zip(&batch.valid)
        .zip(features.cycle())
        .map(|((state, valid), (mean, inverse))| {
            ((state - mean) * inverse).clamp(-CLAMP, CLAMP) * valid
        })
        .collect()
}

/// What the network answers at every step.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Logits of the classes: `[B, T, A]`.
    pub action: Tensor<3>,
    /// Position size in `[0, 1]`: `[B, T]`.
    pub size: Tensor<2>,
    /// Risk in `[0, 1]`: `[B, T]`.
    pub risk: Tensor<2>,
    /// Return-to-go of each class, over the return scale: `[B, T, A]`.
    pub value: Tensor<3>,
}

/// [`Outputs`] as plain numbers, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct HostOutputs {
    /// Logits of the classes: `[B, T, A]`.
    pub action: Vec<f32>,
    /// Position size in `[0, 1]`: `[B, T]`.
    pub size: Vec<f32>,
    /// Risk in `[0, 1]`: `[B, T]`.
    pub risk: Vec<f32>,
    /// Return-to-go of each class, over the return scale: `[B, T, A]`.
    pub value: Vec<f32>,
}

impl Outputs {
    /// Copies the answers to the host.
    #[must_use]
    pub fn to_host(self) -> HostOutputs {
        HostOutputs {
            action: host(self.action),
            size: host(self.size),
            risk: host(self.risk),
            value: host(self.value),
        }
    }
}

/// The values of an f32 tensor, row by row.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_to_vec()
        .expect("outputs and weights are f32")
}

/// A linear map.
#[derive(Module, Debug)]
struct Dense {
    /// `[inputs, outputs]`.
    weight: Param<Tensor<2>>,
    /// `[outputs]`.
    bias: Param<Tensor<1>>,
}

impl Dense {
    fn new(weights: &Weights, name: &str, device: &Device) -> Self {
        Self {
            weight: parameter(weights, &format!("{name}.weight"), device),
            bias: parameter(weights, &format!("{name}.bias"), device),
        }
    }

    /// `[B, Q, inputs]` to `[B, Q, outputs]`, in the pass's number format.
    fn forward(&self, x: Tensor<3>, precision: Precision) -> Tensor<3> {
        map(x, self.weight.val(), self.bias.val(), precision)
    }

    /// The columns of some outputs alone: `[B, Q, inputs]` to `[B, Q, last − first]`.
    fn columns(&self, x: Tensor<3>, columns: Range<usize>, precision: Precision) -> Tensor<3> {
        let weight = self.weight.val().slice_dim(1, columns.clone());
        map(x, weight, self.bias.val().slice_dim(0, columns), precision)
    }
}

fn map(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, precision: Precision) -> Tensor<3> {
    let x = precision.narrow(x);
    if kernels::take(&x) {
        return kernels::linear(x, weight, bias);
    }
    linear(x, precision.narrow(weight), Some(precision.narrow(bias)))
}

/// A layer norm, in f32 always.
#[derive(Module, Debug)]
struct Norm {
    /// `[d]`.
    gamma: Param<Tensor<1>>,
    /// `[d]`.
    beta: Param<Tensor<1>>,
}

impl Norm {
    fn new(weights: &Weights, name: &str, device: &Device) -> Self {
        Self {
            gamma: parameter(weights, &format!("{name}.gamma"), device),
            beta: parameter(weights, &format!("{name}.beta"), device),
        }
    }

    /// `[B, Q, d]` to `[B, Q, d]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        if kernels::take(&x) {
            return kernels::norm(x, gamma, beta);
        }
        layer_norm(x, gamma, Some(beta), f64::from(LAYER_NORM_EPSILON))
    }
}

fn parameter<const D: usize>(weights: &Weights, name: &str, device: &Device) -> Param<Tensor<D>> {
    let tensor = weights.get(name);
    let data = TensorData::new(tensor.values.clone(), tensor.shape.clone());
    Param::from_data(data, device)
}

/// One layer: attention within a band, then a feed-forward network.
#[derive(Module, Debug)]
struct Layer {
    norm1: Norm,
    qkv: Dense,
    /// Bias of a score by token distance: `[H, 3 · band]`.
    relative: Param<Tensor<2>>,
    out: Dense,
    norm2: Norm,
    up: Dense,
    down: Dense,
    band: usize,
    heads: usize,
}

impl Layer {
    fn new(weights: &Weights, spec: &Spec, layer: usize, device: &Device) -> Self {
        let name = |part: &str| format!("layer.{layer}.{part}");
        Self {
            norm1: Norm::new(weights, &name("norm1"), device),
            qkv: Dense::new(weights, &name("qkv"), device),
            relative: parameter(weights, &name("relative"), device),
            out: Dense::new(weights, &name("out"), device),
            norm2: Norm::new(weights, &name("norm2"), device),
            up: Dense::new(weights, &name("up"), device),
            down: Dense::new(weights, &name("down"), device),
            band: spec.bands[layer],
            heads: spec.heads,
        }
    }

    /// `[B, N, d]` to `[B, N, d]`.
    fn forward(&self, x: Tensor<3>, inputs: &Inputs, pass: &mut Pass) -> Tensor<3> {
        let h = self.norm1.forward(x.clone()); // [B, N, d]
        let h = self.attend(h.clone(), h, inputs, 1, pass.precision); // [B, N, d]
        self.rest(x, h, pass)
    }

    /// `[B, N, d]` to the state tokens' `[B, T, d]`.
    fn last(&self, x: Tensor<3>, inputs: &Inputs, pass: &mut Pass) -> Tensor<3> {
        let h = self.norm1.forward(x.clone()); // [B, N, d]
        let asking = state_tokens(h.clone()); // [B, T, d]
        let h = self.attend(asking, h, inputs, TOKENS, pass.precision); // [B, T, d]
        self.rest(state_tokens(x), h, pass)
    }

    /// Attention of `asking` `[B, Q, d]` over all tokens `[B, N, d]`, before `out`: `[B, Q, d]`.
    fn attend(
        &self,
        asking: Tensor<3>,
        tokens: Tensor<3>,
        inputs: &Inputs,
        every: usize,
        precision: Precision,
    ) -> Tensor<3> {
        let [b, rows, d] = asking.dims();
        let q = self.qkv.columns(asking, 0..d, precision); // [B, Q, d]
        let kv = self.qkv.columns(tokens, d..3 * d, precision); // [B, N, 2d]
        let relative = self.relative.val(); // [H, 3 · band]
        if kernels::take(&q) {
            let sight = Sight {
                rows: b,
                width: d,
                heads: self.heads,
                band: self.band,
                every,
                live: inputs.live.clone(),
            };
            return kernels::attention(q, kv, relative, sight); // [B, Q, d]
        }
        let band = Band::new(self.band, kv.dims()[1] / TOKENS, every, &q.device().inner());
        let (k, v) = (
            kv.clone().slice_dim(2, 0..d), // [B, N, d]
            kv.slice_dim(2, d..2 * d),     // [B, N, d]
        );
        let bias = self.bias(relative, &band, inputs.dead(every)); // [1 or B, H, Q, N]
        let h = attend(self.split(q), self.split(k), self.split(v), bias, precision); // [B, H, Q, d/H]
        h.swap_dims(1, 2).reshape([b, rows, d]) // [B, Q, d]
    }

    /// What follows attention: residual `x` and attended values, both `[B, Q, d]`.
    fn rest(&self, x: Tensor<3>, attended: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let precision = pass.precision;
        let h = precision.widen(self.out.forward(attended, precision)); // [B, Q, d]
        let x = x + pass.dropped(h); // [B, Q, d]
        let h = self.norm2.forward(x.clone()); // [B, Q, d]
        let h = smooth(self.up.forward(h, precision)); // [B, Q, d_ff]
        let h = precision.widen(self.down.forward(h, precision)); // [B, Q, d]
        x + pass.dropped(h)
    }

    /// `[B, Q, d]` to `[B, H, Q, d/H]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [b, n, d] = x.dims();
        x.reshape([b, n, self.heads, d / self.heads])
            .swap_dims(1, 2)
    }

    /// `relative[head, distance] + mask`: `[1, H, Q, N]`, or `[B, H, Q, N]` where steps are dead.
    fn bias(&self, relative: Tensor<2>, band: &Band, dead: Option<Tensor<4>>) -> Tensor<4> {
        let [_, _, rows, n] = band.mask.dims();
        let bias = relative
            .select(1, band.distance.clone()) // [H, Q · N]
            .reshape([1, self.heads, rows, n]); // [1, H, Q, N]
        let bias = bias + band.mask.clone(); // [1, H, Q, N]
        match dead {
            Some(dead) => bias + dead, // [B, H, Q, N]
            None => bias,
        }
    }
}

/// The exact GELU of `[B, Q, d_ff]`.
fn smooth(x: Tensor<3>) -> Tensor<3> {
    if kernels::take(&x) {
        return kernels::gelu(x);
    }
    gelu(x)
}

/// `softmax(q kᵀ / √d_head + bias) v`, for `q` `[B, H, Q, d/H]`, `k` and `v` `[B, H, N, d/H]`.
///
/// Without gradients burn's own attention runs, which the backend may fuse; it has no gradient, so
/// that training takes the plain form.
fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Tensor<4>,
    precision: Precision,
) -> Tensor<4> {
    if [&q, &k, &v, &bias]
        .iter()
        .any(|tensor| tensor.is_autodiff())
    {
        return attend_plainly(q, k, v, bias, precision);
    }
    let bias = precision.narrow(bias);
    attention(q, k, v, None, Some(bias), AttentionModuleOptions::default()) // [B, H, Q, d/H]
}

/// [`attend`] out of single operations, with the softmax in f32.
fn attend_plainly(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Tensor<4>,
    precision: Precision,
) -> Tensor<4> {
    #[expect(clippy::cast_precision_loss, reason = "a width of some dozens")]
    let scale = 1.0 / (q.dims()[3] as f32).sqrt();
    let scores = q.mul_scalar(scale).matmul(k.swap_dims(2, 3)); // [B, H, Q, N]
    let scores = precision.widen(scores) + bias; // [B, H, Q, N]
    let shares = precision.narrow(softmax(scores, 3)); // [B, H, Q, N]
    shares.matmul(v) // [B, H, Q, d/H]
}

/// Every third token: `[B, 3T, d]` to `[B, T, d]`.
fn state_tokens(x: Tensor<3>) -> Tensor<3> {
    let [b, n, d] = x.dims();
    x.reshape([b, n / TOKENS, TOKENS, d]) // [B, T, 3, d]
        .slice_dim(2, TOKENS - 1..TOKENS) // [B, T, 1, d]
        .reshape([b, n / TOKENS, d])
}

/// The network. Its parameters are visited in the order of [`Spec::weights`].
#[derive(Module, Debug)]
pub struct DecisionTransformer {
    state: Dense,
    returns: Dense,
    action: Dense,
    embed_norm: Norm,
    layers: Vec<Layer>,
    norm: Norm,
    head_action: Dense,
    head_size: Dense,
    head_risk: Dense,
    head_value: Dense,
    frozen: usize,
}

impl DecisionTransformer {
    /// A fresh network: see [`fresh`].
    #[must_use]
    pub fn new(spec: &Spec, seed: u64, device: &Device) -> Self {
        Self::from_weights(spec, &fresh(spec, seed), device)
    }

    /// A network of given weights. On a device with autodiff all of them require gradients.
    #[must_use]
    pub fn from_weights(spec: &Spec, weights: &Weights, device: &Device) -> Self {
        let dense = |name: &str| Dense::new(weights, name, device);
        let norm = |name: &str| Norm::new(weights, name, device);
        Self {
            state: dense("state"),
            returns: dense("return"),
            action: dense("action"),
            embed_norm: norm("embed_norm"),
            layers: (0..spec.layers())
                .map(|layer| Layer::new(weights, spec, layer, device))
                .collect(),
            norm: norm("norm"),
            head_action: dense("head.action"),
            head_size: dense("head.size"),
            head_risk: dense("head.risk"),
            head_value: dense("head.value"),
            frozen: spec.frozen_layers(),
        }
    }

    /// The weights, copied to the host.
    ///
    /// # Panics
    /// When they are not of that shape, or not finite: [`crate::train`] stops before that happens.
    #[must_use]
    pub fn weights(&self, spec: &Spec) -> Weights {
        Weights::new(spec, self.tensors(spec)).expect("a network of this shape, and finite")
    }

    /// The weights by name, as they are.
    pub(crate) fn tensors(&self, spec: &Spec) -> BTreeMap<String, weights::Tensor> {
        let mut reader = Reader(Vec::new());
        self.visit(&mut reader);
        spec.weights()
            .into_iter()
            .map(|(name, _)| name)
            .zip(reader.0)
            .collect()
    }

    /// The forward pass in f32, without dropout.
    #[must_use]
    pub fn forward(&self, inputs: &Inputs) -> Outputs {
        self.forward_with(inputs, &mut Pass::plain(Precision::F32))
    }

    /// The forward pass.
    #[must_use]
    pub fn forward_with(&self, inputs: &Inputs, pass: &mut Pass) -> Outputs {
        let x = self.backbone(inputs, pass);
        self.head(x, inputs, pass)
    }

    /// Embeddings and the layers that a weekly refresh leaves alone: `[B, N, d]`.
    #[must_use]
    pub fn backbone(&self, inputs: &Inputs, pass: &mut Pass) -> Tensor<3> {
        let precision = pass.precision;
        let embed = |map: &Dense, x: &Tensor<3>| precision.widen(map.forward(x.clone(), precision));
        let tokens = vec![
            embed(&self.action, &inputs.actions),  // [B, T, d]
            embed(&self.returns, &inputs.returns), // [B, T, d]
            embed(&self.state, &inputs.states),    // [B, T, d]
        ];
        let [b, t, d] = tokens[0].dims();
        let x = Tensor::stack::<4>(tokens, 2).reshape([b, TOKENS * t, d]); // [B, N, d]
        let x = pass.dropped(self.embed_norm.forward(x)); // [B, N, d]
        self.layers[..self.frozen]
            .iter()
            .fold(x, |x, layer| layer.forward(x, inputs, pass))
    }

    /// The last layers and the heads, from what [`Self::backbone`] gives.
    #[must_use]
    pub fn head(&self, x: Tensor<3>, inputs: &Inputs, pass: &mut Pass) -> Outputs {
        let (last, layers) = self.layers.split_last().expect("a checked shape");
        let x = layers[self.frozen..]
            .iter()
            .fold(x, |x, layer| layer.forward(x, inputs, pass)); // [B, N, d]
        let x = self.norm.forward(last.last(x, inputs, pass)); // [B, T, d]
        let answer = |map: &Dense| map.forward(x.clone(), Precision::F32);
        Outputs {
            action: answer(&self.head_action),                     // [B, T, A]
            size: sigmoid(answer(&self.head_size)).squeeze_dim(2), // [B, T]
            risk: sigmoid(answer(&self.head_risk)).squeeze_dim(2), // [B, T]
            value: answer(&self.head_value),                       // [B, T, A]
        }
    }

    /// Answers a batch in f32, without gradients and without dropout.
    #[must_use]
    pub fn predict(&self, batch: &Batch, statistics: &Statistics, spec: &Spec) -> HostOutputs {
        let device = self.state.weight.val().device().inner();
        let inputs = Inputs::new(batch, statistics, spec, &device);
        self.valid().forward(&inputs).to_host()
    }
}

/// Copies parameters to the host in the order in which they are visited.
struct Reader(Vec<weights::Tensor>);

impl ModuleVisitor for Reader {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        self.0.push(weights::Tensor {
            shape: tensor.dims().to_vec(),
            values: host(tensor),
        });
    }
}

/// Fresh weights as GPT-2 starts (Radford et al. 2019): matrices N(0, 0.02), those that add to the residual
/// stream divided by √(2 · layers), biases and relative biases zero, gains one. The same bits on every platform.
///
/// The embeddings differ, because a norm follows them, whose gradient grows as its input shrinks: their matrices
/// are N(0, 1/√inputs) and their biases, which tell the kinds of tokens apart, N(0, 0.5), so that the token of a
/// return that is not shown is not next to zero.
#[must_use]
pub fn fresh(spec: &Spec, seed: u64) -> Weights {
    #[expect(clippy::cast_precision_loss, reason = "layers and widths are small")]
    let root = |count: usize| (count as f32).sqrt();
    let spread = |name: &str, shape: &[usize]| match name {
        "state.weight" | "return.weight" | "action.weight" => 1.0 / root(shape[0]),
        "state.bias" | "return.bias" | "action.bias" => KIND_DEVIATION,
        _ if name.ends_with("out.weight") || name.ends_with("down.weight") => {
            DEVIATION / root(2 * spec.layers())
        }
        _ if name.ends_with(".weight") => DEVIATION,
        _ => 0.0,
    };
    let tensors = spec
        .weights()
        .into_iter()
        .zip(0_u64..)
        .map(|((name, shape), stream)| {
            let count = shape.iter().product();
            let mut rng = Rng::new(seed, stream);
            let deviation = spread(&name, &shape);
            let values = if name.ends_with(".gamma") {
                vec![1.0; count]
            } else {
                (0..count).map(|_| deviation * normal(&mut rng)).collect()
            };
            (name, weights::Tensor { shape, values })
        })
        .collect();
    Weights::new(spec, tensors).expect("made from the shape itself")
}

/// Standard normal within ±6: the sum of twelve uniforms less six, which needs no function whose last bit differs
/// between platforms.
fn normal(rng: &mut Rng) -> f32 {
    let sum: u64 = (0..12).map(|_| u64::from(rng.next_u32() >> 8)).sum();
    #[expect(clippy::cast_precision_loss, reason = "rounded to f32 once")]
    let sum = sum as f32 / 16_777_216.0;
    sum - 6.0
}

#[cfg(test)]
mod tests;
