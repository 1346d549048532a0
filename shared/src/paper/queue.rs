//! Where a resting order stands in the queue of its level, told by a feed that shows whole levels.
//!
//! Nobody but the venue knows the place. What is known: trades take from the front, and a level can
//! never hold less than what is ahead. What is not: whether a cancellation was ahead or behind. Two
//! bounds answer it in both extreme ways, and a model in between. The models and their arithmetic are
//! those of hftbacktest 0.9.4 (`models/queue.rs`), operation by operation, so that both give the same
//! fills for the same tape.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::num::Qty;

/// How a decrease of a level that no trade explains is shared between what is ahead of an order and
/// what is behind it. `F` is ahead, `B` behind; the probability is that of a decrease behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueModel {
    /// All of it was behind: only trades advance the order.
    RiskAverse,
    /// `ln(1+B) / (ln(1+B) + ln(1+F))`.
    Log,
    /// `ln(1+B) / ln(1+B+F)`.
    Log2,
    /// `B^n / (B^n + F^n)`.
    Power(u8),
    /// `B^n / (B+F)^n`.
    Power2(u8),
    /// `1 - (F / (F+B))^n`.
    Power3(u8),
    /// `Power(2)`.
    Square,
}

impl QueueModel {
    /// The model of that name: `risk_averse`, `log`, `log2`, `power3`, `power2_3`, `power3_3`,
    /// `square`; an exponent is a whole number from 1 to 255.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let exponent = |text: &str| match text.parse() {
            Ok(0) | Err(_) => None,
            Ok(n) => Some(n),
        };
        Some(match name {
            "risk_averse" => Self::RiskAverse,
            "log" => Self::Log,
            "log2" => Self::Log2,
            "square" => Self::Square,
            _ => {
                let rest = name.strip_prefix("power")?;
                match (rest.strip_prefix("2_"), rest.strip_prefix("3_")) {
                    (Some(n), _) => Self::Power2(exponent(n)?),
                    (_, Some(n)) => Self::Power3(exponent(n)?),
                    _ => Self::Power(exponent(rest)?),
                }
            }
        })
    }
}

/// Its name in configuration and reports, which [`QueueModel::from_name`] reads back.
impl fmt::Display for QueueModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RiskAverse => f.write_str("risk_averse"),
            Self::Log => f.write_str("log"),
            Self::Log2 => f.write_str("log2"),
            Self::Power(n) => write!(f, "power{n}"),
            Self::Power2(n) => write!(f, "power2_{n}"),
            Self::Power3(n) => write!(f, "power3_{n}"),
            Self::Square => f.write_str("square"),
        }
    }
}

/// The quantity ahead of an order, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// As if every decrease that no trade explains had been ahead.
    pub optimistic: f64,
    /// As the model has it: what decides fills.
    pub estimate: f64,
    /// As if every such decrease had been behind.
    pub pessimistic: f64,
    /// Traded at the level since it last changed.
    pub traded: f64,
}

impl Position {
    /// The last of a level.
    #[must_use]
    pub const fn behind(ahead: f64) -> Self {
        Self {
            optimistic: ahead,
            estimate: ahead,
            pessimistic: ahead,
            traded: 0.0,
        }
    }
}

/// A quantity in base units: the `f64` nearest to it.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "quantities are below 2^53 units; beyond, the nearest f64 is what is wanted"
)]
pub fn base_units(qty: Qty, qty_scale: u8) -> f64 {
    qty.0 as f64 / crate::num::pow10(qty_scale) as f64
}
