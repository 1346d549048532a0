//! Weights that nobody trained and windows that nobody recorded: what parity and speed are measured with.
//!
//! Weights are large enough that every part of the network shows in its answers, which those of a fresh network
//! are not.

use tickerml_shared::action::{Action, CHOICES};
use tickerml_shared::bundle::Row;
use tickerml_shared::features::{SELECTION, Vector};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::{SECONDS, Time};
use tickerml_shared::window::Step;

use crate::spec::{Spec, Statistics};
use crate::weights::{Tensor, Weights};

/// One step in so many is masked,
const MASKED_ONE_IN: u32 = 9;
/// and one feature in so many is unknown.
const UNKNOWN_ONE_IN: u32 = 7;

/// A standard normal number within ±6: twelve uniform ones less six.
fn normal(rng: &mut Rng) -> f32 {
    let sum: u64 = (0..12).map(|_| u64::from(rng.next_u32() >> 8)).sum();
    #[expect(clippy::cast_precision_loss, reason = "rounded to f32 once")]
    let sum = sum as f32 / 16_777_216.0;
    sum - 6.0
}

fn one_in(rng: &mut Rng, count: u32) -> bool {
    rng.next_u32().is_multiple_of(count)
}

/// Weights of a shape: matrices keep the size of what they multiply, biases are about 0.1, gains about one.
///
/// # Panics
/// Never: they are made from the shape itself.
#[must_use]
pub fn weights(spec: &Spec, seed: u64) -> Weights {
    let named = spec.weights().into_iter().zip(0_u64..);
    let tensors = named.map(|((name, shape), stream)| {
        let mut rng = Rng::new(seed, stream);
        #[expect(clippy::cast_precision_loss, reason = "a small size")]
        let (base, deviation) = match name.rsplit('.').next() {
            Some("weight") => (0.0, (shape[0] as f32).sqrt().recip()),
            Some("gamma") => (1.0, 0.1),
            _ => (0.0, 0.1),
        };
        let count = shape.iter().product();
        let values = (0..count).map(|_| base + deviation * normal(&mut rng));
        let values = values.collect();
        (name, Tensor { shape, values })
    });
    Weights::new(spec, tensors.collect()).expect("made from the shape itself")
}

/// Statistics of the features that [`rows`] and [`steps`] have.
#[must_use]
pub fn statistics(spec: &Spec, seed: u64) -> Statistics {
    let mut rng = Rng::new(seed, u64::MAX);
    Statistics {
        mean: (0..spec.state).map(|_| 0.5 * normal(&mut rng)).collect(),
        inverse_scale: (0..spec.state)
            .map(|_| 0.5 + 0.1 * normal(&mut rng).abs())
            .collect(),
        return_scale: 0.01,
    }
}

/// Steps of one stream from its beginning, as a network reads them.
#[must_use]
pub fn rows(spec: &Spec, count: usize, rng: &mut Rng) -> Vec<Row> {
    let mut rows = Vec::with_capacity(count);
    for step in 0..count {
        let valid: Vec<f32> = (0..spec.state)
            .map(|_| f32::from(u8::from(!one_in(rng, UNKNOWN_ONE_IN))))
            .collect();
        let mut previous = vec![0.0; spec.action_inputs()];
        if step == 0 {
            previous[spec.actions] = 1.0;
        } else {
            previous[rng.next_u32() as usize % spec.actions] = 1.0;
            previous[spec.actions + 1] = normal(rng).abs().min(1.0);
        }
        rows.push(Row {
            state: valid
                .iter()
                .map(|known| known * 2.0 * normal(rng))
                .collect(),
            valid,
            previous,
            live: !one_in(rng, MASKED_ONE_IN),
        });
    }
    rows
}

/// The market at one pulse after another, a second apart, with the action that was taken; for ever.
pub fn steps(mut rng: Rng) -> impl Iterator<Item = Step> {
    (1_u64..).map(move |pulse| {
        let mut state = Vector::default();
        for (index, value) in state.values.iter_mut().enumerate().take(SELECTION.len()) {
            if !one_in(&mut rng, UNKNOWN_ONE_IN) {
                *value = 2.0 * normal(&mut rng);
                state.valid |= 1 << index;
            }
        }
        let masked = one_in(&mut rng, MASKED_ONE_IN);
        let mut logits = [0.0; CHOICES.len()];
        logits[rng.next_u32() as usize % CHOICES.len()] = 3.0;
        let taken = Action::from_heads(logits, normal(&mut rng).abs(), 0.0, 0.0);
        Step {
            at: Time(pulse * SECONDS),
            state,
            action: if masked { Action::HOLD } else { taken },
            masked,
        }
    })
}
