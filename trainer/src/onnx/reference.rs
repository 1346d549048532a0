//! The forward pass of [`crate::spec`] in plain f64 loops: what the graphs must give.
//!
//! It is written from the formula alone, for one window, and shares nothing with the network that is trained or
//! with the graphs that are exported, so that it can judge both.

use tickerml_shared::bundle::{Heads, Row};

use crate::spec::{CLAMP, HIDDEN, LAYER_NORM_EPSILON, Spec, Statistics, TOKENS};
use crate::weights::{Tensor, Weights};

/// The answer to the last of some steps, of which the first is a beginning and all have the same target return
/// (raw units).
///
/// # Panics
/// When there are no rows, or their sizes are not the shape's.
#[must_use]
pub fn answer(
    spec: &Spec,
    weights: &Weights,
    statistics: &Statistics,
    target_return: f32,
    rows: &[Row],
) -> Heads {
    let mut x = embed(spec, weights, statistics, target_return, rows);
    let live: Vec<bool> = rows.iter().map(|row| row.live).collect();
    for layer in 0..spec.layers() {
        // Earlier tokens of this layer are seen by no later layer on the way to the answer.
        let ahead = spec.bands[layer + 1..].iter().map(|band| band - 1);
        let needed = (rows.len() - 1).saturating_sub(ahead.sum::<usize>());
        x = one_layer(spec, weights, layer, &x, &live, needed * TOKENS);
    }
    let width = spec.d_model;
    let last = &x[x.len() - width..];
    let last = norm(weights, "norm", last, width);
    let head = |name: &str| linear(weights, &format!("head.{name}"), &last);
    let (logits, values) = (head("action"), head("value"));
    let peak = logits.iter().copied().fold(f64::MIN, f64::max);
    let shares: Vec<f64> = logits.iter().map(|logit| (logit - peak).exp()).collect();
    let total: f64 = shares.iter().sum();
    let expected: f64 = shares.iter().zip(&values).map(|(p, v)| p * v).sum();
    let share = |name: &str| 1.0 / (1.0 + (-head(name)[0]).exp());
    Heads {
        action: logits.into_iter().map(narrow).collect(),
        size: narrow(share("size")),
        risk: narrow(share("risk")),
        value: narrow(expected / total),
    }
}

/// Tokens behind the embedding's norm, `[3n, d]`.
fn embed(
    spec: &Spec,
    weights: &Weights,
    statistics: &Statistics,
    target_return: f32,
    rows: &[Row],
) -> Vec<f64> {
    let known = statistics.mean.iter().zip(&statistics.inverse_scale);
    let mut x = Vec::with_capacity(rows.len() * TOKENS * spec.d_model);
    for row in rows {
        let previous: Vec<f64> = row.previous.iter().copied().map(f64::from).collect();
        let wanted = [
            f64::from(target_return) / f64::from(statistics.return_scale),
            1.0,
        ];
        let features = row.state.iter().zip(&row.valid).zip(known.clone());
        let state: Vec<f64> = features
            .map(|((value, valid), (mean, inverse))| {
                let scaled = (f64::from(*value) - f64::from(*mean)) * f64::from(*inverse);
                scaled.clamp(f64::from(-CLAMP), f64::from(CLAMP)) * f64::from(*valid)
            })
            .collect();
        x.extend(linear(weights, "action", &previous));
        x.extend(linear(weights, "return", &wanted));
        x.extend(linear(weights, "state", &state));
    }
    norm(weights, "embed_norm", &x, spec.d_model)
}

/// One layer's tokens from `first` on; those before stay as they are and are not to be read.
fn one_layer(
    spec: &Spec,
    weights: &Weights,
    layer: usize,
    x: &[f64],
    live: &[bool],
    first: usize,
) -> Vec<f64> {
    let (width, d_head, name) = (spec.d_model, spec.d_head(), format!("layer.{layer}"));
    let span = TOKENS * spec.bands[layer];
    let relative = &weights.get(&format!("{name}.relative")).values;
    let h = norm(weights, &format!("{name}.norm1"), x, width);
    let qkv = linear(weights, &format!("{name}.qkv"), &h);
    let part = |token: usize, part: usize, head: usize| {
        let from = token * 3 * width + part * width + head * d_head;
        &qkv[from..from + d_head]
    };
    #[expect(clippy::cast_precision_loss, reason = "a small size")]
    let scale = (d_head as f64).sqrt().recip();
    let tokens = x.len() / width;
    let mut mixed = vec![0.0; (tokens - first) * width];
    for query in first..tokens {
        for head in 0..spec.heads {
            let oldest = (query / TOKENS + 1).saturating_sub(spec.bands[layer]) * TOKENS;
            let scores: Vec<f64> = (oldest..=query)
                .map(|key| {
                    let dot = dot(part(query, 0, head), part(key, 1, head));
                    let bias = f64::from(relative[head * span + query - key]);
                    let visible = key / TOKENS == query / TOKENS || live[key / TOKENS];
                    dot * scale + bias + if visible { 0.0 } else { f64::from(HIDDEN) }
                })
                .collect();
            let peak = scores.iter().copied().fold(f64::MIN, f64::max);
            let shares: Vec<f64> = scores.iter().map(|score| (score - peak).exp()).collect();
            let total: f64 = shares.iter().sum();
            let from = (query - first) * width + head * d_head;
            for (key, share) in (oldest..).zip(&shares) {
                let into = mixed[from..from + d_head].iter_mut();
                for (into, value) in into.zip(part(key, 2, head)) {
                    *into += share / total * value;
                }
            }
        }
    }
    let out = linear(weights, &format!("{name}.out"), &mixed);
    let mut y = x.to_vec();
    add(&mut y[first * width..], &out);
    let h = norm(
        weights,
        &format!("{name}.norm2"),
        &y[first * width..],
        width,
    );
    let mut h = linear(weights, &format!("{name}.up"), &h);
    for value in &mut h {
        *value = 0.5 * *value * (1.0 + erf(*value / std::f64::consts::SQRT_2));
    }
    let down = linear(weights, &format!("{name}.down"), &h);
    add(&mut y[first * width..], &down);
    y
}

/// The error function by its Maclaurin series near zero and its continued fraction in the tails
/// (Abramowitz and Stegun 1964, 7.1.6 and 7.1.14), to about 1e-15.
fn erf(x: f64) -> f64 {
    let size = x.abs();
    let value = if size < 3.0 {
        let (mut term, mut sum, mut n) = (size, size, 0.0);
        while term > 1e-17 * sum {
            n += 1.0;
            term *= 2.0 * size * size / (2.0 * n + 1.0);
            sum += term;
        }
        2.0 / std::f64::consts::PI.sqrt() * (-size * size).exp() * sum
    } else {
        // erfc(x) = exp(−x²)/√π · 1/(x + ½/(x + 1/(x + 3⁄2/(x + …))))
        let tail = (1..=40_u8)
            .rev()
            .fold(size, |below, n| size + f64::from(n) * 0.5 / below);
        1.0 - (-size * size).exp() / std::f64::consts::PI.sqrt() / tail
    };
    value.copysign(x)
}

fn linear(weights: &Weights, name: &str, x: &[f64]) -> Vec<f64> {
    let Tensor { shape, values } = weights.get(&format!("{name}.weight"));
    let bias = &weights.get(&format!("{name}.bias")).values;
    let (inputs, outputs) = (shape[0], shape[1]);
    let wide: Vec<f64> = values.iter().copied().map(f64::from).collect();
    let mut all = Vec::with_capacity(x.len() / inputs * outputs);
    for row in x.chunks_exact(inputs) {
        let start = all.len();
        all.extend(bias.iter().copied().map(f64::from));
        for (value, weights) in row.iter().zip(wide.chunks_exact(outputs)) {
            for (into, weight) in all[start..].iter_mut().zip(weights) {
                *into += value * weight;
            }
        }
    }
    all
}

fn norm(weights: &Weights, name: &str, x: &[f64], width: usize) -> Vec<f64> {
    let gamma = &weights.get(&format!("{name}.gamma")).values;
    let beta = &weights.get(&format!("{name}.beta")).values;
    #[expect(clippy::cast_precision_loss, reason = "a small size")]
    let count = width as f64;
    let rows = x.chunks_exact(width).flat_map(|row| {
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let inverse = (variance + f64::from(LAYER_NORM_EPSILON)).sqrt().recip();
        let scaled = row.iter().zip(gamma).zip(beta);
        scaled.map(move |((value, gamma), beta)| {
            (value - mean) * inverse * f64::from(*gamma) + f64::from(*beta)
        })
    });
    rows.collect()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn add(into: &mut [f64], what: &[f64]) {
    into.iter_mut()
        .zip(what)
        .for_each(|(into, what)| *into += what);
}

#[expect(clippy::cast_possible_truncation, reason = "an answer is f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_has_its_tabulated_values() {
        // Abramowitz and Stegun 1964, table 7.1, and 7.1.16 for the tail.
        for (x, wanted) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (2.0, 0.995_322_265_0),
            (-1.0, -0.842_700_792_9),
            (3.5, 0.999_999_256_9),
        ] {
            assert!((erf(x) - wanted).abs() < 1e-10, "erf({x}) = {}", erf(x));
        }
        assert!((erf(2.999_999) - erf(3.000_001)).abs() < 1e-9);
    }
}
