//! Fits dense layers: by AdamW in burn, and in closed form where there is one.

use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{log_softmax, relu, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use tickerml_shared::rand::Rng;

use super::dense::{Dense, Network, Squash, inputs};
use super::rows::Rows;
use super::{BaselineError, Terms};
use crate::spec::Statistics;

/// Weights of the losses, as those of the transformer's heads.
const SIZE_WEIGHT: f32 = 0.5;
const RISK_WEIGHT: f32 = 0.3;
const VALUE_WEIGHT: f32 = 0.2;

#[derive(Module, Debug)]
struct Layer {
    /// `[I, O]`
    weight: Param<Tensor<2>>,
    /// `[O]`
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Layers {
    all: Vec<Layer>,
}

impl Layers {
    /// Layers between these widths, biases zero; weights uniform with the variance of He et al. (2015), but zero for
    /// a single layer, whose loss has one minimum.
    fn new(widths: &[usize], rng: &mut Rng, device: &Device) -> Self {
        let all = widths.windows(2).map(|pair| {
            let (wide, out) = (pair[0], pair[1]);
            let bound = if widths.len() == 2 {
                0.0
            } else {
                (6.0 / float(wide)).sqrt()
            };
            let weight: Vec<f32> = (0..wide * out).map(|_| bound * symmetric(rng)).collect();
            Layer {
                weight: Param::from_data(TensorData::new(weight, [wide, out]), device),
                bias: Param::from_data(TensorData::new(vec![0.0_f32; out], [out]), device),
            }
        });
        Self { all: all.collect() }
    }

    /// `[N, I]` to `[N, O]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut y = x;
        for (at, layer) in self.all.iter().enumerate() {
            if at > 0 {
                y = relu(y);
            }
            y = y.matmul(layer.weight.val()) + layer.bias.val().unsqueeze(); // [N, O]
        }
        y
    }

    /// The same layers as plain numbers.
    fn dense(&self) -> Result<Vec<Dense>, BaselineError> {
        self.all
            .iter()
            .map(|layer| {
                let [inputs, outputs] = layer.weight.dims();
                Ok(Dense {
                    inputs,
                    outputs,
                    weight: numbers(layer.weight.val().into_data())?,
                    bias: numbers(layer.bias.val().into_data())?,
                })
            })
            .collect()
    }
}

/// Softmax regression for the class; ridge regression for size, risk and values.
pub(super) fn linear(
    rows: &Rows,
    statistics: &Statistics,
    terms: &Terms,
    rng: &mut Rng,
) -> Result<Network, BaselineError> {
    let table = table(rows, statistics);
    let wide = 2 * rows.wide;
    let actions = rows.actions;
    let classes = descend(rows, &table, &[wide, actions], terms, rng)?;
    let outputs = 2 * actions + 2;
    let mut one = Dense {
        inputs: wide,
        outputs,
        weight: vec![0.0; wide * outputs],
        bias: vec![0.0; outputs],
    };
    let mut put = |output: usize, column: &mut dyn Iterator<Item = f32>, bias: f32| {
        for (row, weight) in column.enumerate() {
            one.weight[row * outputs + output] = weight;
        }
        one.bias[output] = bias;
    };
    for class in 0..actions {
        let column = &classes[0].weight[class..];
        put(
            class,
            &mut column.iter().copied().step_by(actions),
            classes[0].bias[class],
        );
    }
    let targets: Vec<Vec<f32>> = (0..2 + actions)
        .map(|index| rows.target(index).collect())
        .collect();
    let mut gram: Option<(Vec<bool>, Vec<f64>)> = None;
    for (index, target) in targets.iter().enumerate() {
        let known: Vec<bool> = target.iter().map(|value| value.is_finite()).collect();
        if !known.contains(&true) {
            // A full size and no risk, where nothing is known.
            put(
                actions + index,
                &mut std::iter::empty(),
                f32::from(u8::from(index == 0)),
            );
            continue;
        }
        // Targets that are known in the same rows share the matrix.
        if gram.as_ref().is_none_or(|(of, _)| *of != known) {
            let fresh = factor(&table, wide, &known, terms.ridge)?;
            gram = Some((known.clone(), fresh));
        }
        let factor = gram.as_ref().map_or(&[][..], |(_, factor)| factor);
        let solved = solve(factor, &table, wide, &known, target);
        put(
            actions + index,
            &mut solved[..wide].iter().map(|value| single(*value)),
            single(solved[wide]),
        );
    }
    Ok(Network {
        layers: vec![one],
        squash: Squash::Clip,
    })
}

/// Two hidden layers, all heads at once.
pub(super) fn network(
    rows: &Rows,
    statistics: &Statistics,
    terms: &Terms,
    rng: &mut Rng,
) -> Result<Network, BaselineError> {
    let table = table(rows, statistics);
    let widths = [
        2 * rows.wide,
        terms.hidden,
        terms.hidden,
        2 * rows.actions + 2,
    ];
    Ok(Network {
        layers: descend(rows, &table, &widths, terms, rng)?,
        squash: Squash::Sigmoid,
    })
}

/// What dense layers see of all rows: `[N, 2 · L · S]`.
fn table(rows: &Rows, statistics: &Statistics) -> Vec<f32> {
    (0..rows.count)
        .flat_map(|row| {
            let here = row * rows.wide;
            inputs(
                statistics,
                &rows.states[here..][..rows.wide],
                &rows.valid[here..][..rows.wide],
            )
        })
        .collect()
}

/// Trains layers by AdamW on the class, and on the other targets where the last width has room for them.
fn descend(
    rows: &Rows,
    table: &[f32],
    widths: &[usize],
    terms: &Terms,
    rng: &mut Rng,
) -> Result<Vec<Dense>, BaselineError> {
    let device = Device::flex().autodiff();
    let wide = widths[0];
    let whole = widths[widths.len() - 1] > rows.actions;
    let mut layers = Layers::new(widths, rng, &device);
    let mut optimizer = AdamWConfig::new().with_weight_decay(terms.decay).init();
    let mut order: Vec<usize> = (0..rows.count).collect();
    let steps = terms.epochs * rows.count.div_ceil(terms.batch);
    let mut step = 0;
    for epoch in 0..terms.epochs {
        shuffle(&mut order, rng);
        let mut last = 0.0;
        for chosen in order.chunks(terms.batch) {
            let seen: Vec<f32> = chosen
                .iter()
                .flat_map(|row| table[row * wide..][..wide].iter().copied())
                .collect();
            let x = Tensor::<2>::from_data(TensorData::new(seen, [chosen.len(), wide]), &device);
            let y = layers.forward(x); // [N, A] or [N, 2 A + 2]
            let loss = loss(rows, chosen, y, whole, &device); // [1]
            last = numbers(loss.clone().into_data())?[0];
            let gradients = GradientsParams::from_grads(loss.backward(), &layers);
            let rate =
                terms.rate * (1.0 - f64::from(single_count(step)) / f64::from(single_count(steps)));
            layers = optimizer.step(rate, layers, gradients);
            step += 1;
        }
        if !last.is_finite() {
            return Err(BaselineError(format!(
                "the loss is {last} in pass {epoch}; lower baseline.rate = {}, or look for features that are not finite",
                terms.rate
            )));
        }
    }
    layers.dense()
}

/// The losses of some rows: cross-entropy of the class, squared errors of the rest, where they are known.
fn loss(rows: &Rows, chosen: &[usize], y: Tensor<2>, whole: bool, device: &Device) -> Tensor<1> {
    let (count, actions) = (chosen.len(), rows.actions);
    let mut classes = vec![0.0_f32; count * actions];
    for (at, row) in chosen.iter().enumerate() {
        if let Some(class) = rows.class[*row] {
            classes[at * actions + class] = 1.0;
        }
    }
    let known = chosen
        .iter()
        .filter(|row| rows.class[**row].is_some())
        .count()
        .max(1);
    let classes = Tensor::<2>::from_data(TensorData::new(classes, [count, actions]), device); // [N, A]
    let logits = y.clone().slice([0..count, 0..actions]); // [N, A]
    let cross = (log_softmax(logits, 1) * classes).sum().neg() / float(known); // [1]
    if !whole {
        return cross;
    }
    let wide = 2 + actions;
    let head = |index: usize| match index {
        0 => SIZE_WEIGHT,
        1 => RISK_WEIGHT,
        _ => VALUE_WEIGHT / float(actions),
    };
    let mut counts = vec![0_usize; wide];
    for row in chosen {
        for (index, count) in counts.iter_mut().enumerate() {
            *count += usize::from(rows.targets[row * wide + index].is_finite());
        }
    }
    let mut targets = vec![0.0_f32; count * wide];
    let mut weights = targets.clone();
    for (at, row) in chosen.iter().enumerate() {
        for index in 0..wide {
            let target = rows.targets[row * wide + index];
            if target.is_finite() {
                targets[at * wide + index] = target;
                weights[at * wide + index] = head(index) / float(counts[index]);
            }
        }
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [count, wide]), device); // [N, 2 + A]
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [count, wide]), device); // [N, 2 + A]
    let shares = sigmoid(y.clone().slice([0..count, actions..actions + 2])); // [N, 2]
    let values = y.slice([0..count, actions + 2..2 * actions + 2]); // [N, A]
    let error = Tensor::cat(vec![shares, values], 1) - targets; // [N, 2 + A]
    cross + (error.clone() * error * weights).sum() // [1]
}

/// The Cholesky factor of `Xᵀ X + ridge · n · I` over the known rows, X with a last column of ones whose coefficient
/// is not shrunk: lower triangle, `[F + 1, F + 1]`.
fn factor(
    table: &[f32],
    wide: usize,
    known: &[bool],
    ridge: f64,
) -> Result<Vec<f64>, BaselineError> {
    let size = wide + 1;
    let mut gram = vec![0.0; size * size];
    let mut row = vec![0.0; size];
    let mut count = 0.0;
    for (seen, _) in table
        .chunks_exact(wide)
        .zip(known)
        .filter(|(_, known)| **known)
    {
        for (to, from) in row.iter_mut().zip(seen) {
            *to = f64::from(*from);
        }
        row[wide] = 1.0;
        count += 1.0;
        for (i, value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            for (sum, other) in gram[i * size..][..=i].iter_mut().zip(&row) {
                *sum += value * other;
            }
        }
    }
    for i in 0..wide {
        gram[i * size + i] += ridge * count;
    }
    for i in 0..size {
        for j in 0..=i {
            let (upper, lower) = (&gram[j * size..][..j], &gram[i * size..][..j]);
            let dot: f64 = upper.iter().zip(lower).map(|(a, b)| a * b).sum();
            let rest = gram[i * size + j] - dot;
            gram[i * size + j] = if i > j {
                rest / gram[j * size + j]
            } else if rest > 0.0 {
                rest.sqrt()
            } else {
                return Err(BaselineError(format!(
                    "ridge regression over {count} rows has no solution; raise baseline.ridge = {ridge}"
                )));
            };
        }
    }
    Ok(gram)
}

/// The coefficients, the last one of the column of ones: `[F + 1]`.
fn solve(factor: &[f64], table: &[f32], wide: usize, known: &[bool], target: &[f32]) -> Vec<f64> {
    let size = wide + 1;
    let mut x = vec![0.0; size];
    for ((seen, target), _) in table
        .chunks_exact(wide)
        .zip(target)
        .zip(known)
        .filter(|(_, known)| **known)
    {
        let target = f64::from(*target);
        for (sum, value) in x.iter_mut().zip(seen) {
            *sum += target * f64::from(*value);
        }
        x[wide] += target;
    }
    for i in 0..size {
        let dot: f64 = (0..i).map(|j| factor[i * size + j] * x[j]).sum();
        x[i] = (x[i] - dot) / factor[i * size + i];
    }
    for i in (0..size).rev() {
        let dot: f64 = (i + 1..size).map(|j| factor[j * size + i] * x[j]).sum();
        x[i] = (x[i] - dot) / factor[i * size + i];
    }
    x
}

fn shuffle(order: &mut [usize], rng: &mut Rng) {
    for last in (1..order.len()).rev() {
        let other = usize::try_from(rng.below(last as u64 + 1)).expect("below a usize");
        order.swap(last, other);
    }
}

/// Uniform in `[-1, 1)`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "24 bits are what single precision holds"
)]
fn symmetric(rng: &mut Rng) -> f32 {
    (f64::from(rng.next_u32() >> 8) / 8_388_608.0 - 1.0) as f32
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows and columns")]
fn float(count: usize) -> f32 {
    count as f32
}

/// A count of steps; far below 2^32.
fn single_count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "answers are in single precision"
)]
fn single(value: f64) -> f32 {
    value as f32
}

fn numbers(data: TensorData) -> Result<Vec<f32>, BaselineError> {
    data.try_to_vec::<f32>()
        .map_err(|error| BaselineError(format!("burn gave no single-precision numbers: {error:?}")))
}
