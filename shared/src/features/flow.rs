//! Features of the trades by their aggressor.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{BPS, Values, View, seconds};
use crate::event::{Side, Trade};
use crate::time::Time;

rows! {
    /// Features of the trades by their aggressor.
    FlowFeature {
        /// [`Flow::imbalance`] of a second.
        Flow1: "trade_flow_1s", Ratio, "window_s=1", "Cont, Kukanov, Stoikov (2014), 2.3";
        /// [`Flow::imbalance`] of ten seconds.
        Flow10: "trade_flow_10s", Ratio, "window_s=10", "Cont, Kukanov, Stoikov (2014), 2.3";
        /// [`Flow::imbalance`] of a minute.
        Flow60: "trade_flow_60s", Ratio, "window_s=60", "Cont, Kukanov, Stoikov (2014), 2.3";
        /// The mid's deviation from [`Flow::vwap`] of a minute.
        VwapDeviation60: "vwap_deviation_60s", Bps, "window_s=60", "volume-weighted average price";
    }
}

/// The windows of trade flow, in seconds.
const WINDOWS_S: [u32; 3] = [1, 10, 60];

/// Trade flow over several windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    windows: [Flow; WINDOWS_S.len()],
}

impl Default for Flows {
    fn default() -> Self {
        Self::new()
    }
}

impl Flows {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            windows: [
                Flow::new(WINDOWS_S[0]),
                Flow::new(WINDOWS_S[1]),
                Flow::new(WINDOWS_S[2]),
            ],
        }
    }

    /// Counts a trade.
    pub fn trade(&mut self, trade: &Trade, at: Time) {
        for window in &mut self.windows {
            window.trade(trade, at);
        }
    }

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, at: Time) {
        for window in &mut self.windows {
            window.interrupt(at);
        }
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, view: &View<'_>) -> Values<{ FlowFeature::COUNT }> {
        let [second, ten, minute] = &self.windows;
        let mid = view.top.double_mid() as f64 / 2.0;
        let deviation = |flow: &Flow| flow.vwap(view.at).map(|vwap| (mid / vwap - 1.0) * BPS);
        let mut values = Values::UNKNOWN;
        values.set(FlowFeature::Flow1, second.imbalance(view.at));
        values.set(FlowFeature::Flow10, ten.imbalance(view.at));
        values.set(FlowFeature::Flow60, minute.imbalance(view.at));
        values.set(FlowFeature::VwapDeviation60, deviation(minute));
        values
    }
}

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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::num::{Price, Qty};
    use crate::time::{MILLIS, SECONDS};

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
