//! What a policy answers: an action, how large, how sure, and what it expects.
//!
//! A model's floats become integers here, once, so that decisions can be compared and hashed.

use serde::{Deserialize, Serialize};

use crate::event::Side;

/// One, in the parts per million that shares are counted in.
pub const PPM: i64 = 1_000_000;
/// The classes of the action head, in the order of its logits.
pub const CHOICES: [Choice; 3] = [Choice::Sell, Choice::Hold, Choice::Buy];

/// The direction of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Choice {
    /// Be short (flat where shorting is not allowed).
    Sell,
    /// Leave the position as it is.
    Hold,
    /// Be long.
    Buy,
}

impl Choice {
    /// The side of an order toward it; none to hold.
    #[must_use]
    pub const fn side(self) -> Option<Side> {
        match self {
            Self::Sell => Some(Side::Sell),
            Self::Hold => None,
            Self::Buy => Some(Side::Buy),
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sell => "sell",
            Self::Hold => "hold",
            Self::Buy => "buy",
        }
    }
}

/// A policy's answer; shares are in parts per million ([`PPM`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The most probable choice.
    pub choice: Choice,
    /// Probabilities of [`CHOICES`]; they sum to one within rounding.
    pub probabilities: [u32; 3],
    /// Target position as a share of the largest allowed, in `[0, 1]`.
    pub size: u32,
    /// The policy's own estimate of risk, in `[0, 1]`.
    pub risk: u32,
    /// Expected return over the policy's horizon, as a fraction; may be negative.
    pub value: i32,
}

impl Action {
    /// Do nothing.
    pub const HOLD: Self = Self {
        choice: Choice::Hold,
        probabilities: [0, 1_000_000, 0],
        size: 0,
        risk: 0,
        value: 0,
    };

    /// From the four heads: action logits, position size, risk, value. Values that are not finite
    /// give [`Action::HOLD`]: a broken model does nothing.
    #[must_use]
    pub fn from_heads(logits: [f32; 3], size: f32, risk: f32, value: f32) -> Self {
        let finite = logits
            .iter()
            .chain([&size, &risk, &value])
            .all(|head| head.is_finite());
        if !finite {
            return Self::HOLD;
        }
        let peak = logits.iter().copied().fold(f32::MIN, f32::max);
        let weights = logits.map(|logit| libm::expf(logit - peak));
        let total: f32 = weights.iter().sum();
        let best = (0..3)
            .max_by(|&a, &b| weights[a].total_cmp(&weights[b]))
            .unwrap_or(1);
        Self {
            choice: CHOICES[best],
            probabilities: weights.map(|weight| share(weight / total)),
            size: share(size),
            risk: share(risk),
            value: signed(value),
        }
    }

    /// The place of the choice in [`CHOICES`].
    #[must_use]
    pub const fn class(&self) -> usize {
        match self.choice {
            Choice::Sell => 0,
            Choice::Hold => 1,
            Choice::Buy => 2,
        }
    }

    /// The target position as a share of the largest allowed, as the model reads it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "parts per million fit into f32")]
    pub const fn size(&self) -> f32 {
        self.size as f32 / PPM as f32
    }

    /// The probability of the choice.
    #[must_use]
    pub fn confidence(&self) -> u32 {
        self.probabilities[self.class()]
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to [0, 1]"
)]
fn share(value: f32) -> u32 {
    libm::roundf(value.clamp(0.0, 1.0) * 1e6) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to [-1000, 1000]")]
fn signed(value: f32) -> i32 {
    libm::roundf(value.clamp(-1e3, 1e3) * 1e6) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_become_integers() {
        let action = Action::from_heads([0.0, 0.0, 2.0], 0.5, 2.0, -0.001);
        assert_eq!(action.choice, Choice::Buy);
        assert_eq!(
            (action.size, action.risk, action.value),
            (500_000, 1_000_000, -1_000)
        );
        assert!((i64::from(action.probabilities.iter().sum::<u32>()) - PPM).abs() <= 2);
        assert_eq!(action.confidence(), action.probabilities[2]);
        assert_eq!(
            Action::from_heads([f32::NAN, 0.0, 0.0], 1.0, 0.0, 0.0),
            Action::HOLD
        );
    }
}
