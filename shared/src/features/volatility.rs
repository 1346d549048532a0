//! How much the price moves, sampled once a second.

use serde::{Deserialize, Serialize};

use super::second::Second;
use super::table::{array, rows};
use super::{BPS, Values, View};
use crate::time::Time;

rows! {
    /// Features of the mid price over time.
    VolatilityFeature {
        /// [`Volatility::realised`] of a minute.
        Realised60: "realised_volatility_60s", Bps, "window_s=60", "Andersen, Bollerslev, Diebold, Labys (2001)";
    }
}

/// Samples of a window of realised volatility.
const SAMPLES: usize = 60;

/// Realised volatility of the mid price, sampled once a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volatility {
    /// The doubled mid at the end of the last second; 0 when it is not known.
    sampled: i64,
    next: usize,
    count: usize,
    #[serde(with = "array")]
    squares: [f64; SAMPLES],
}

impl Default for Volatility {
    fn default() -> Self {
        Self::new()
    }
}

impl Volatility {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sampled: 0,
            next: 0,
            count: 0,
            squares: [0.0; SAMPLES],
        }
    }

    /// A second is over.
    pub fn second(&mut self, second: &Second) {
        let Some(double_mid) = second.double_mid.filter(|mid| *mid > 0) else {
            return;
        };
        if self.sampled > 0 {
            let change = libm::log(double_mid as f64 / self.sampled as f64);
            self.squares[self.next] = change * change;
            self.next = (self.next + 1) % SAMPLES;
            self.count = (self.count + 1).min(SAMPLES);
        }
        self.sampled = double_mid;
    }

    /// Observation was interrupted.
    pub const fn interrupt(&mut self, _: Time) {
        *self = Self::new();
    }

    /// The square root of the sum of squared log returns over the window, in basis points; unknown
    /// until the window has been observed in full.
    ///
    /// Source: Andersen, Bollerslev, Diebold and Labys, "The distribution of realized exchange rate
    /// volatility", JASA 96 (2001).
    #[must_use]
    pub fn realised(&self) -> Option<f64> {
        (self.count == SAMPLES).then(|| libm::sqrt(self.squares.iter().sum::<f64>()) * BPS)
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _: &View<'_>) -> Values<{ VolatilityFeature::COUNT }> {
        let mut values = Values::UNKNOWN;
        values.set(VolatilityFeature::Realised60, self.realised());
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64, double_mid: i64) -> Second {
        Second {
            number,
            seen: true,
            double_mid: Some(double_mid),
            trades: None,
        }
    }

    #[test]
    fn volatility_is_the_root_of_summed_squares() {
        let mut volatility = Volatility::new();
        for number in 0..=62 {
            assert_eq!(volatility.realised().is_some(), number > 60);
            let double_mid = 20_000 + i64::from(number % 2 == 1) * 20;
            volatility.second(&second(number, double_mid));
        }
        let step = libm::log(20_020.0 / 20_000.0);
        let want = libm::sqrt(60.0 * step * step) * 1e4;
        assert!((volatility.realised().expect("full") - want).abs() < 1e-9);
    }
}
