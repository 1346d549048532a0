//! Where a resting order stands in the queue of its level, told by a feed that shows whole levels.
//!
//! Nobody but the venue knows the place. What is known: trades take from the front, and a level can
//! never hold less than what is ahead. What is not: whether a cancellation was ahead or behind. Two
//! bounds answer it in both extreme ways, and a model in between. The models and their arithmetic are
//! those of hftbacktest 0.9.4 (`models/queue.rs`), operation by operation, so that both give the same
//! fills for the same tape.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::num::{Fixed, Qty, parse, pow10};

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
    Power(Exponent),
    /// `B^n / (B+F)^n`.
    Power2(Exponent),
    /// `1 - (F / (F+B))^n`.
    Power3(Exponent),
    /// `Power(2)`.
    Square,
}

/// The exponent of a power model, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exponent(u32);

impl Exponent {
    /// Two.
    const TWO: Self = Self::whole(2);
    const ONE: u32 = 1_000;
    /// The largest.
    const MOST: u32 = 255 * Self::ONE;

    /// A whole exponent.
    #[must_use]
    pub const fn whole(n: u8) -> Self {
        Self(n as u32 * Self::ONE)
    }

    /// From a decimal text with at most three decimals: positive, at most 255.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let thousandths = u32::try_from(parse(text, 3).ok()?).ok()?;
        (1..=Self::MOST)
            .contains(&thousandths)
            .then_some(Self(thousandths))
    }

    /// As a number.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ONE)
    }

    /// As a whole number, when it is one.
    fn as_whole(self) -> Option<u8> {
        let whole = u8::try_from(self.0 / Self::ONE).ok()?;
        self.0.is_multiple_of(Self::ONE).then_some(whole)
    }
}

impl fmt::Display for Exponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fixed::new(i64::from(self.0), 3).trimmed().fmt(f)
    }
}

impl QueueModel {
    /// The model of that name: `risk_averse`, `log`, `log2`, `power3`, `power2_3`, `power3_3`,
    /// `square`; an exponent is a number from 0.001 to 255.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let exponent = Exponent::from_text;
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

impl QueueModel {
    /// The probability that a decrease was behind, from what is ahead and what is behind.
    fn behind(self, front: f64, back: f64) -> f64 {
        let log = |x: f64| libm::log(1.0 + x);
        match self {
            Self::RiskAverse => 1.0,
            Self::Log => log(back) / (log(back) + log(front)),
            Self::Log2 => log(back) / log(back + front),
            Self::Power(n) => power(back, n) / (power(back, n) + power(front, n)),
            Self::Power2(n) => power(back, n) / power(back + front, n),
            Self::Power3(n) => 1.0 - power(front / (front + back), n),
            Self::Square => {
                let (back, front) = (power(back, Exponent::TWO), power(front, Exponent::TWO));
                back / (back + front)
            }
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
    /// Traded at the level since it was last stated.
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

    /// A trade of `volume` printed at the level, of which `passing` was left for the queue ahead.
    pub(super) fn trade(&mut self, volume: f64, passing: f64) {
        self.optimistic -= passing;
        self.estimate -= passing;
        self.pessimistic -= passing;
        self.traded += volume;
    }

    /// How many lots of the last trade went past everything ahead; when any did, nothing is ahead any
    /// more.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what does not fit saturates, and is cut to what is open"
    )]
    pub(super) fn passed(&mut self, lot: f64) -> i64 {
        let lots = libm::round(-self.estimate / lot) as i64;
        if lots > 0 {
            self.estimate = 0.0;
        }
        self.optimistic = self.optimistic.max(0.0);
        self.pessimistic = self.pessimistic.max(0.0);
        lots.max(0)
    }

    /// The level was stated, changed or not.
    pub(super) fn level(&mut self, model: QueueModel, prev: f64, new: f64) {
        let mut change = prev - new;
        // What traded is gone from ahead already.
        change -= self.traded;
        self.traded = 0.0;
        self.pessimistic = self.pessimistic.min(new);
        if change > 0.0 {
            self.optimistic -= change;
        }
        self.optimistic = self.optimistic.min(new).max(0.0);
        if model == QueueModel::RiskAverse {
            self.estimate = self.estimate.min(new);
            return;
        }
        // It grew: what came is behind.
        if change < 0.0 {
            self.estimate = self.estimate.min(new);
            return;
        }
        let front = self.estimate;
        let back = prev - front;
        let mut behind = model.behind(front, back);
        if behind.is_infinite() {
            behind = 1.0;
        }
        // What is behind cannot shrink by more than there is: the rest was ahead.
        let front = front - (1.0 - behind) * change + (back - behind * change).min(0.0);
        self.estimate = front.min(new);
    }

    /// Keeps the estimate between the bounds, which the reference does not.
    pub(super) fn bound(&mut self) {
        self.estimate = self.estimate.max(self.optimistic).min(self.pessimistic);
    }

    /// The level was not seen for a while: anything may have traded.
    pub(super) fn unseen(&mut self) {
        self.optimistic = 0.0;
        self.traded = 0.0;
    }

    /// The level is seen again.
    pub(super) fn rebound(&mut self, level: f64) {
        self.traded = 0.0;
        self.pessimistic = self.pessimistic.min(level);
        self.estimate = self.estimate.min(level);
        self.optimistic = self.optimistic.min(level);
        self.bound();
    }
}

/// A quantity in base units: the `f64` nearest to it.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "quantities are below 2^53 units; beyond, the nearest f64 is what is wanted"
)]
pub fn base_units(qty: Qty, qty_scale: u8) -> f64 {
    qty.0 as f64 / pow10(qty_scale) as f64
}

/// `x^n` in twice the precision of an `f64` and rounded once, since the reference calls a `pow` that
/// almost always gives the nearest `f64`. A broken exponent has only the one precision.
fn power(x: f64, exponent: Exponent) -> f64 {
    let Some(n) = exponent.as_whole() else {
        return libm::pow(x, exponent.value());
    };
    let magnitude = libm::pow(libm::fabs(x), f64::from(n));
    // Splitting overflows above, and loses its low half below.
    if !(1e-200..1e200).contains(&magnitude) {
        return libm::pow(x, f64::from(n));
    }
    let mut product = Double {
        high: 1.0,
        low: 0.0,
    };
    let mut square = Double { high: x, low: 0.0 };
    let mut n = n;
    loop {
        if n & 1 == 1 {
            product = product.times(square);
        }
        n >>= 1;
        if n == 0 {
            return product.high;
        }
        square = square.times(square);
    }
}

/// A number as the unevaluated sum of two (Dekker, "A floating-point technique for extending the
/// available precision", 1971).
#[derive(Clone, Copy)]
struct Double {
    high: f64,
    low: f64,
}

impl Double {
    fn times(self, other: Self) -> Self {
        let high = self.high * other.high;
        let (a, b) = split(self.high);
        let (c, d) = split(other.high);
        let low = ((a * c - high) + a * d + b * c) + b * d;
        let low = low + (self.high * other.low + self.low * other.high);
        let sum = high + low;
        Self {
            high: sum,
            low: low - (sum - high),
        }
    }
}

/// Two halves of 26 bits (Veltkamp), whose products are exact.
fn split(x: f64) -> (f64, f64) {
    let shifted = 134_217_729.0 * x;
    let high = shifted - (shifted - x);
    (high, x - high)
}

#[cfg(test)]
mod calibration;
#[cfg(test)]
mod tests;
