//! AdamW over one flat vector of all parameters that a mode trains.
//!
//! One vector, in the order of [`Spec::weights`], makes a step a handful of operations however many tensors there
//! are, lets devices add their gradients in one go, and gives every moment its parameter's name in a checkpoint.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::{Mode, Terms};
use crate::model::{DecisionTransformer, host};
use crate::spec::Spec;
use crate::weights;

/// Added to the root of the second moment (Kingma & Ba 2015).
const EPSILON: f64 = 1e-8;
/// Added to the norm that a gradient is divided by.
const NORM_EPSILON: f64 = 1e-6;

/// Which weights lie where in the flat vector. P values in all.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Name and shape of every weight, and whether it is trained, in the order of the shape.
    entries: Vec<(String, Vec<usize>, bool)>,
}

impl Layout {
    pub(super) fn new(spec: &Spec, mode: Mode) -> Self {
        let entries = spec
            .weights()
            .into_iter()
            .map(|(name, shape)| {
                let trained = mode == Mode::Full || !spec.is_backbone(&name);
                (name, shape, trained)
            })
            .collect();
        Self { entries }
    }

    fn trained(&self) -> impl Iterator<Item = (&str, &[usize], usize)> {
        self.entries
            .iter()
            .filter(|(_, _, trained)| *trained)
            .map(|(name, shape, _)| (name.as_str(), shape.as_slice(), shape.iter().product()))
    }

    /// Cuts a flat vector into named tensors.
    pub(super) fn split(&self, flat: &[f32]) -> BTreeMap<String, weights::Tensor> {
        let mut rest = flat;
        let mut tensors = BTreeMap::new();
        for (name, shape, count) in self.trained() {
            let (values, tail) = rest.split_at(count);
            rest = tail;
            let (shape, values) = (shape.to_vec(), values.to_vec());
            tensors.insert(name.to_owned(), weights::Tensor { shape, values });
        }
        tensors
    }

    /// Moments before the first step: zero.
    pub(super) fn still(&self) -> BTreeMap<String, weights::Tensor> {
        let count = self.trained().map(|(_, _, count)| count).sum();
        self.split(&vec![0.0; count])
    }

    /// Joins named tensors to a flat vector.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub(super) fn join(
        &self,
        tensors: &BTreeMap<String, weights::Tensor>,
    ) -> Result<Vec<f32>, String> {
        let mut flat = Vec::new();
        for (name, shape, _) in self.trained() {
            match tensors.get(name) {
                Some(tensor) if tensor.shape == shape => flat.extend(&tensor.values),
                _ => return Err(format!("{name} is missing or misshapen")),
            }
        }
        Ok(flat)
    }

    /// One where weight decay applies, which is in matrices alone: `[P]`.
    fn decayed(&self) -> Vec<f32> {
        self.trained()
            .flat_map(|(name, _, count)| {
                std::iter::repeat_n(f32::from(u8::from(name.ends_with(".weight"))), count)
            })
            .collect()
    }

    /// The gradients of a network as a flat vector, zero where nothing flowed: `[P]`.
    pub(super) fn gradient(
        &self,
        model: &DecisionTransformer,
        gradients: &mut Gradients,
    ) -> Tensor<1> {
        let mut taker = Taker {
            gradients,
            trained: self
                .entries
                .iter()
                .map(|(_, _, trained)| *trained)
                .collect(),
            seen: 0,
            flat: Vec::new(),
        };
        model.visit(&mut taker);
        Tensor::cat(taker.flat, 0)
    }

    /// The network with the values of a flat vector on the same device.
    pub(super) fn put(&self, model: DecisionTransformer, flat: &Tensor<1>) -> DecisionTransformer {
        model.map(&mut Putter {
            trained: self
                .entries
                .iter()
                .map(|(_, _, trained)| *trained)
                .collect(),
            seen: 0,
            at: 0,
            flat: flat.clone(),
        })
    }
}

struct Taker<'a> {
    gradients: &'a mut Gradients,
    trained: Vec<bool>,
    seen: usize,
    flat: Vec<Tensor<1>>,
}

impl ModuleVisitor for Taker<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let trained = self.trained[self.seen];
        self.seen += 1;
        if !trained {
            return;
        }
        let value = param.val();
        let count = value.shape().num_elements();
        self.flat.push(match value.grad_remove(self.gradients) {
            Some(gradient) => gradient.reshape([count]),
            None => Tensor::zeros([count], &value.device().inner()),
        });
    }
}

struct Putter {
    trained: Vec<bool>,
    seen: usize,
    at: usize,
    flat: Tensor<1>,
}

impl ModuleMapper for Putter {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = self.trained[self.seen];
        self.seen += 1;
        if !trained {
            return param;
        }
        let shape = param.val().dims();
        let count = shape.iter().product::<usize>();
        let value = self.flat.clone().slice(self.at..self.at + count);
        self.at += count;
        Param::from_tensor(value.reshape(shape).autodiff())
    }
}

/// Parameters and moments, each `[P]`, on the first device.
#[derive(Debug)]
pub(super) struct AdamW {
    pub(super) parameters: Tensor<1>,
    first: Tensor<1>,
    second: Tensor<1>,
    decayed: Tensor<1>,
}

impl AdamW {
    /// Starts from given parameters and moments.
    pub(super) fn new(layout: &Layout, state: [Vec<f32>; 3], device: &Device) -> Self {
        let device = device.clone().inner();
        let put = |values: Vec<f32>| {
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), &device)
        };
        let [parameters, first, second] = state.map(put);
        Self {
            parameters,
            first,
            second,
            decayed: put(layout.decayed()),
        }
    }

    /// Parameters, first and second moments, copied to the host.
    pub(super) fn state(&self) -> [Vec<f32>; 3] {
        [&self.parameters, &self.first, &self.second].map(|tensor| host(tensor.clone()))
    }

    /// One step (Loshchilov & Hutter 2019, decoupled decay) at a learning rate; `step` counts from 1. The gradient
    /// is first scaled down to the norm that is allowed (Pascanu et al. 2013). Returns its norm before that: `[1]`.
    pub(super) fn step(
        &mut self,
        gradient: Tensor<1>,
        terms: &Terms,
        step: u64,
        rate: f64,
    ) -> Tensor<1> {
        let norm = gradient.clone().square().sum().sqrt(); // [1]
        let allowed = norm
            .clone()
            .add_scalar(NORM_EPSILON)
            .recip()
            .mul_scalar(terms.clip)
            .clamp_max(1.0); // [1]
        let gradient = gradient * allowed; // [P]
        let [one, two] = terms.betas;
        let first = self.first.clone().mul_scalar(one) + gradient.clone().mul_scalar(1.0 - one);
        let second = self.second.clone().mul_scalar(two) + gradient.square().mul_scalar(1.0 - two);
        #[expect(clippy::cast_precision_loss, reason = "a step count is far below 2^52")]
        let power = step as f64;
        let (unbias_one, unbias_two) = (1.0 - one.powf(power), 1.0 - two.powf(power));
        let root = second
            .clone()
            .sqrt()
            .mul_scalar(1.0 / unbias_two.sqrt())
            .add_scalar(EPSILON); // [P]
        let kept = self
            .decayed
            .clone()
            .mul_scalar(-rate * terms.weight_decay)
            .add_scalar(1.0); // [P]
        let moved = (first.clone() / root).mul_scalar(rate / unbias_one); // [P]
        self.parameters = self.parameters.clone() * kept - moved;
        self.first = first;
        self.second = second;
        norm
    }
}
