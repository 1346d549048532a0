//! Features of the trades, and of the mid price over time.

use serde::{Deserialize, Serialize};

use super::{BPS, VOLATILITY_WINDOW_S, seconds};
use crate::event::{Side, Trade};
use crate::time::{SECONDS, Time};

/// Buckets of a window: it moves forward in steps of a twentieth.
const BUCKETS: usize = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    bought: i64,
    sold: i64,
    /// Sum of price times quantity.
    value: i128,
}

impl Bucket {
    const EMPTY: Self = Self {
        bought: 0,
        sold: 0,
        value: 0,
    };
}

/// Trades of a sliding window, as exact integer sums over [`BUCKETS`] buckets: adding and expiring
/// cancel exactly, so a long run cannot drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    window_ns: u64,
    /// Number of the newest bucket since the epoch.
    newest: u64,
    since: Time,
    buckets: [Bucket; BUCKETS],
    total: Bucket,
}

impl Flow {
    /// A window of so many seconds.
    #[must_use]
    pub const fn new(window_s: u32) -> Self {
        Self {
            window_ns: seconds(window_s),
            newest: 0,
            since: Time::UNKNOWN,
            buckets: [Bucket::EMPTY; BUCKETS],
            total: Bucket::EMPTY,
        }
    }

    const fn bucket(&self, at: Time) -> u64 {
        at.0 / (self.window_ns / BUCKETS as u64)
    }

    /// Counts a trade.
    pub fn trade(&mut self, trade: &Trade, at: Time) {
        if !self.since.is_known() {
            self.since = at;
        }
        self.advance(at);
        let value = i128::from(trade.price.0) * i128::from(trade.qty.0);
        let bucket = &mut self.buckets[(self.newest % BUCKETS as u64) as usize];
        for sums in [bucket, &mut self.total] {
            match trade.aggressor {
                Side::Buy => sums.bought = sums.bought.saturating_add(trade.qty.0),
                Side::Sell => sums.sold = sums.sold.saturating_add(trade.qty.0),
            }
            sums.value = sums.value.saturating_add(value);
        }
    }

    /// Observation was interrupted: the window is complete again one length from now. Time may have
    /// been set back meanwhile: an edge starts with whatever clock its machine has.
    pub const fn interrupt(&mut self, at: Time) {
        self.newest = self.bucket(at);
        self.buckets = [Bucket::EMPTY; BUCKETS];
        self.total = Bucket::EMPTY;
        self.since = at;
    }

    fn advance(&mut self, at: Time) {
        let target = self.bucket(at).max(self.newest);
        let steps = (target - self.newest).min(BUCKETS as u64);
        for step in 1..=steps {
            let place = ((target - steps + step) % BUCKETS as u64) as usize;
            let expired = core::mem::take(&mut self.buckets[place]);
            self.total.bought -= expired.bought;
            self.total.sold -= expired.sold;
            self.total.value -= expired.value;
        }
        self.newest = target;
    }

    /// The sums as they stand at `at`, when the whole window has been observed.
    fn sums(&self, at: Time) -> Option<Bucket> {
        if !self.since.is_known() || at.since(self.since) < self.window_ns.cast_signed() {
            return None;
        }
        let mut sums = self.total;
        let expired = self
            .bucket(at)
            .saturating_sub(self.newest)
            .min(BUCKETS as u64);
        for step in 1..=expired {
            let bucket = self.buckets[((self.newest + step) % BUCKETS as u64) as usize];
            sums.bought -= bucket.bought;
            sums.sold -= bucket.sold;
            sums.value -= bucket.value;
        }
        Some(sums)
    }

    /// Trade-flow imbalance: `(bought - sold) / (bought + sold)` by aggressor, in `[-1, 1]`; zero
    /// when nothing traded in the window, unknown until it has been observed in full.
    ///
    /// Source: Cont, Kukanov and Stoikov, "The price impact of order book events", Journal of
    /// Financial Econometrics 12 (2014), section 2.3 (trade imbalance), normalised by volume.
    #[must_use]
    pub fn imbalance(&self, at: Time) -> Option<f64> {
        let sums = self.sums(at)?;
        let (bought, sold) = (sums.bought as f64, sums.sold as f64);
        Some(if bought + sold > 0.0 {
            (bought - sold) / (bought + sold)
        } else {
            0.0
        })
    }

    /// Volume-weighted average price of the window, in units of the instrument's price; unknown
    /// when nothing traded.
    #[must_use]
    pub fn vwap(&self, at: Time) -> Option<f64> {
        let sums = self.sums(at)?;
        let volume = sums.bought as f64 + sums.sold as f64;
        (volume > 0.0).then(|| sums.value as f64 / volume)
    }
}

/// Samples of a window of realised volatility.
const SAMPLES: usize = VOLATILITY_WINDOW_S as usize;

/// Realised volatility of the mid price, sampled once a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volatility {
    /// The second of the newest sample, and the mid then (doubled, exact).
    second: u64,
    sampled: i64,
    /// The newest mid seen, of the current second.
    current: i64,
    count: usize,
    #[serde(with = "squares")]
    squares: [f64; SAMPLES],
}

/// serde's own implementations end at arrays of 32.
mod squares {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::SAMPLES;

    pub(super) fn serialize<S: Serializer>(
        squares: &[f64; SAMPLES],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        squares.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[f64; SAMPLES], D::Error> {
        let squares = heapless::Vec::<f64, SAMPLES>::deserialize(deserializer)?;
        squares
            .into_array()
            .map_err(|_| serde::de::Error::custom("a shorter volatility window"))
    }
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
            second: 0,
            sampled: 0,
            current: 0,
            count: 0,
            squares: [0.0; SAMPLES],
        }
    }

    /// Takes the doubled mid at `at`. The sample of a second is its last mid.
    pub fn mid(&mut self, double_mid: i64, at: Time) {
        let second = at.0 / SECONDS;
        if self.current == 0 || double_mid <= 0 {
            self.second = second;
            self.sampled = double_mid.max(0);
            self.current = double_mid.max(0);
            return;
        }
        if double_mid == self.current && second == self.second {
            return;
        }
        // Seconds without a change repeat the mid: the first ends with the move, the rest with zero.
        let elapsed = second.saturating_sub(self.second);
        for step in 0..elapsed.min(SAMPLES as u64 + 1) {
            let change = if step == 0 {
                libm::log(self.current as f64 / self.sampled as f64)
            } else {
                0.0
            };
            let place = ((self.second + step) % SAMPLES as u64) as usize;
            self.squares[place] = change * change;
            self.count = (self.count + 1).min(SAMPLES);
        }
        if elapsed > 0 {
            self.sampled = self.current;
            self.second = second;
        }
        self.current = double_mid;
    }

    /// Observation was interrupted.
    pub const fn interrupt(&mut self) {
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
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::num::{Price, Qty};
    use crate::time::MILLIS;

    const START: u64 = 1_000_000 * SECONDS;

    fn trade(price: i64, qty: i64, aggressor: Side) -> Trade {
        Trade {
            id: 0,
            price: Price(price),
            qty: Qty(qty),
            aggressor,
        }
    }

    #[test]
    fn a_window_slides_again_after_the_clock_was_set_back() {
        let mut flow = Flow::new(10);
        let before = Time(START + 3_600 * SECONDS);
        flow.trade(&trade(100, 5, Side::Buy), before);
        flow.interrupt(Time(START));
        flow.trade(&trade(100, 5, Side::Buy), Time(START));
        let later = Time(START + 11 * SECONDS);
        flow.trade(&trade(100, 5, Side::Sell), later);
        assert_eq!(
            flow.imbalance(later),
            Some(-1.0),
            "the buy has left the window"
        );
    }

    #[test]
    fn a_window_is_unknown_until_observed_in_full() {
        let mut flow = Flow::new(1);
        flow.trade(&trade(100, 3, Side::Buy), Time(START));
        assert_eq!(flow.imbalance(Time(START + 500 * MILLIS)), None);
        flow.trade(&trade(110, 1, Side::Sell), Time(START + 900 * MILLIS));
        let now = Time(START + 1_000 * MILLIS);
        assert_eq!(
            flow.imbalance(now),
            Some(-1.0),
            "the first trade has just left"
        );
        assert_eq!(flow.vwap(now), Some(110.0));
        assert_eq!(flow.imbalance(Time(START + 10 * SECONDS)), Some(0.0));
        flow.interrupt(Time(START + 11 * SECONDS));
        assert_eq!(
            flow.imbalance(Time(START + 11 * SECONDS + 999 * MILLIS)),
            None
        );
    }

    #[test]
    fn volatility_is_the_root_of_summed_squares() {
        let mut volatility = Volatility::new();
        let mids: Vec<i64> = (0..=62).map(|second| 20_000 + (second % 2) * 20).collect();
        for (second, mid) in (0..).zip(&mids) {
            volatility.mid(*mid, Time(START + second * SECONDS));
        }
        let step = libm::log(20_020.0 / 20_000.0);
        let want = libm::sqrt(60.0 * step * step) * 1e4;
        assert!((volatility.realised().expect("full") - want).abs() < 1e-9);
    }

    #[test]
    fn a_quiet_market_has_no_volatility() {
        let mut volatility = Volatility::new();
        volatility.mid(20_000, Time(START));
        volatility.mid(20_000, Time(START + 90 * SECONDS));
        assert_eq!(volatility.realised(), Some(0.0));
    }

    proptest! {
        /// The rolling sums against adding up the trades that are still in the window.
        #[test]
        fn equals_a_sum_over_the_window(
            trades in proptest::collection::vec((0_u64..700, 1_i64..100, any::<bool>()), 1..100)
        ) {
            let mut flow = Flow::new(1);
            let width = SECONDS / BUCKETS as u64;
            let (mut at, mut seen) = (START, Vec::new());
            flow.interrupt(Time(START - 5 * SECONDS));
            for (wait, qty, buy) in trades {
                at += wait * MILLIS;
                let side = if buy { Side::Buy } else { Side::Sell };
                flow.trade(&trade(7, qty, side), Time(at));
                seen.push((at, qty, buy));
                let later = at + 130 * MILLIS;
                let inside = |buy: bool| -> i64 {
                    seen.iter()
                        .filter(|(when, _, side)| *side == buy && later / width - when / width < BUCKETS as u64)
                        .map(|(_, qty, _)| qty)
                        .sum()
                };
                let (bought, sold) = (inside(true) as f64, inside(false) as f64);
                prop_assert_eq!(flow.imbalance(Time(later)), Some((bought - sold) / (bought + sold)));
            }
        }
    }
}
