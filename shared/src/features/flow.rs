//! Features of the trades by their aggressor: who trades, how much, at which price against the mid.
//!
//! Windows slide with every event in steps of a twentieth and hold exact integer sums, so adding and
//! expiring cancel. What is measured by the second, the spreads above all, says so. Trades whose
//! second, or the book before them, was not observed are left out of it.

use serde::{Deserialize, Serialize};

use super::book::Top;
use super::samples::Samples;
use super::second::Second;
use super::table::rows;
use super::volatility::sample;
use super::{BPS, Values, View, seconds};
use crate::event::{Side, Trade};
use crate::time::{SECONDS, Time};

rows! {
    /// Features of the trades by their aggressor.
    FlowFeature {
        /// [`Flow::imbalance`] of a second.
        Flow1: "trade_flow_1s", Ratio, "window_s=1", "Cont, Kukanov, Stoikov (2014), 2.3";
        /// [`Flow::imbalance`] of ten seconds.
        Flow10: "trade_flow_10s", Ratio, "window_s=10", "Cont, Kukanov, Stoikov (2014), 2.3";
        /// [`Flow::imbalance`] of a minute.
        Flow60: "trade_flow_60s", Ratio, "window_s=60", "Cont, Kukanov, Stoikov (2014), 2.3";
        /// [`Flow::imbalance`] of five minutes.
        Flow300: "trade_flow_300s", Ratio, "window_s=300", "Cont, Kukanov, Stoikov (2014), 2.3";
        /// The mid's deviation from [`Flow::vwap`] of ten seconds.
        VwapDeviation10: "vwap_deviation_10s", Bps, "window_s=10", "volume-weighted average price";
        /// The mid's deviation from [`Flow::vwap`] of a minute.
        VwapDeviation60: "vwap_deviation_60s", Bps, "window_s=60", "volume-weighted average price";
        /// The mid's deviation from [`Flow::vwap`] of five minutes.
        VwapDeviation300: "vwap_deviation_300s", Bps, "window_s=300", "volume-weighted average price";
        /// The mid's deviation from [`Flow::vwap`] of an hour.
        VwapDeviation3600: "vwap_deviation_3600s", Bps, "window_s=3600", "volume-weighted average price";
        /// [`Flow::log_rate`] of ten seconds.
        Rate10: "log_trade_rate_10s", Log, "window_s=10", "trades per second, one added";
        /// [`Flow::log_rate`] of a minute.
        Rate60: "log_trade_rate_60s", Log, "window_s=60", "trades per second, one added";
        /// Logarithm of the mean trade of ten seconds over that of five minutes.
        Size10: "log_trade_size_10s_300s", Log, "short_s=10 long_s=300", "ratio of mean trade sizes";
        /// [`Flow::largest_share`] of a minute.
        LargestShare60: "largest_trade_share_60s", Share, "window_s=60", "largest trade over volume";
        /// [`Signs::run`].
        Run: "trade_run", Number, "limit=1000", "signed length of the run of one side";
        /// [`Signs::persistence`] of a hundred trades.
        SignPersistence: "trade_sign_persistence_100", Ratio, "trades=100 lag=1", "Lillo, Farmer (2004)";
        /// [`autocorrelation`] of one-second signed volume.
        VolumeAutocorrelation: "signed_volume_autocorrelation_300s", Ratio, "window_s=300 lag_s=1", "sample autocorrelation";
        /// [`effective_spread`] of the newest trade.
        EffectiveSpread: "effective_spread", Bps, "", "Huang, Stoll (1996)";
        /// [`Spreads::effective`], over a minute.
        EffectiveSpread60: "effective_spread_60s", Bps, "window_s=60 horizon_s=5", "Huang, Stoll (1996)";
        /// [`Spreads::realised`], over a minute.
        RealisedSpread60: "realised_spread_60s", Bps, "window_s=60 horizon_s=5", "Huang, Stoll (1996)";
        /// [`Spreads::impact`], over a minute.
        PriceImpact60: "price_impact_60s", Bps, "window_s=60 horizon_s=5", "Huang, Stoll (1996)";
    }
}

/// The windows of trade flow, in seconds.
const WINDOWS_S: [u32; 5] = [1, 10, 60, 300, 3_600];
/// Seconds of the autocorrelation of signed volume.
const SIGNED_S: usize = 300;

/// Trade flow over several windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flows {
    windows: [Flow; WINDOWS_S.len()],
    signs: Signs,
    /// Bought minus sold quantity by second.
    signed: Samples<i64, SIGNED_S>,
    autocorrelation: Option<f64>,
    spreads: Spreads,
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
                Flow::new(WINDOWS_S[3]),
                Flow::new(WINDOWS_S[4]),
            ],
            signs: Signs::new(),
            signed: Samples::new(0),
            autocorrelation: None,
            spreads: Spreads::new(),
        }
    }

    /// Counts a trade; `top` is the book before it.
    pub fn trade(&mut self, trade: &Trade, top: Option<&Top>, at: Time) {
        for window in &mut self.windows {
            window.trade(trade, at);
        }
        self.signs.trade(trade.aggressor);
        if let Some(top) = top {
            self.spreads.trade(trade, top.double_mid());
        }
    }

    /// A second is over.
    pub fn second(&mut self, second: &Second) {
        self.spreads.second(second);
        if second.seen {
            let signed = second
                .trades
                .map_or(0, |trades| trades.bought.0.saturating_sub(trades.sold.0));
            self.signed.push(signed);
            self.autocorrelation = self.signed.full().and_then(|full| autocorrelation(&full));
        }
    }

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, at: Time) {
        for window in &mut self.windows {
            window.interrupt(at);
        }
        self.signs = Signs::new();
        self.signed.clear();
        self.autocorrelation = None;
        self.spreads = Spreads::new();
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, view: &View<'_>) -> Values<{ FlowFeature::COUNT }> {
        let at = view.at;
        let [second, ten, minute, long, hour] = &self.windows;
        let mid = view.top.double_mid() as f64 / 2.0;
        let deviation = |flow: &Flow| flow.vwap(at).map(|vwap| (mid / vwap - 1.0) * BPS);
        let mut values = Values::UNKNOWN;
        values.set(FlowFeature::Flow1, second.imbalance(at));
        values.set(FlowFeature::Flow10, ten.imbalance(at));
        values.set(FlowFeature::Flow60, minute.imbalance(at));
        values.set(FlowFeature::Flow300, long.imbalance(at));
        values.set(FlowFeature::VwapDeviation10, deviation(ten));
        values.set(FlowFeature::VwapDeviation60, deviation(minute));
        values.set(FlowFeature::VwapDeviation300, deviation(long));
        values.set(FlowFeature::VwapDeviation3600, deviation(hour));
        values.set(FlowFeature::Rate10, ten.log_rate(at));
        values.set(FlowFeature::Rate60, minute.log_rate(at));
        let sizes = ten.mean_size(at).zip(long.mean_size(at));
        let size = sizes.map(|(short, long)| libm::log(short / long));
        values.set(FlowFeature::Size10, size);
        values.set(FlowFeature::LargestShare60, minute.largest_share(at));
        values.set(FlowFeature::Run, self.signs.run());
        values.set(FlowFeature::SignPersistence, self.signs.persistence());
        values.set(FlowFeature::VolumeAutocorrelation, self.autocorrelation);
        values.set(FlowFeature::EffectiveSpread, self.spreads.newest);
        let [effective, realised, impact] = [
            self.spreads.effective(),
            self.spreads.realised(),
            self.spreads.impact(),
        ];
        values.set(FlowFeature::EffectiveSpread60, effective);
        values.set(FlowFeature::RealisedSpread60, realised);
        values.set(FlowFeature::PriceImpact60, impact);
        values
    }
}

/// The sample autocorrelation of adjacent values, `Σ(x_t - μ)(x_{t-1} - μ) / Σ(x_t - μ)²`; unknown
/// when they do not vary.
#[must_use]
pub fn autocorrelation(values: &[i64]) -> Option<f64> {
    let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
    let mean = sum as f64 / values.len() as f64;
    let (mut products, mut squares, mut before) = (0.0, 0.0, 0.0);
    for value in values {
        let centred = *value as f64 - mean;
        products += centred * before;
        squares += centred * centred;
        before = centred;
    }
    (squares > 0.0).then(|| products / squares)
}

/// Trades whose signs are remembered.
const SIGNS: u32 = 100;
/// A run counts no further.
const RUN_LIMIT: i64 = 1_000;

/// The sides of the newest trades.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signs {
    /// One bit a trade, the newest lowest; set for a buy.
    bits: u128,
    count: u32,
    /// The length of the current run, negative for sells, and whether its beginning was observed.
    run: i64,
    begun: bool,
}

impl Signs {
    /// No trades yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bits: 0,
            count: 0,
            run: 0,
            begun: false,
        }
    }

    /// Adds a trade's side.
    pub fn trade(&mut self, aggressor: Side) {
        let sign = aggressor.sign();
        self.bits = self.bits << 1 | u128::from(sign > 0);
        self.count = (self.count + 1).min(SIGNS);
        if self.run * sign > 0 {
            self.run = (self.run + sign).clamp(-RUN_LIMIT, RUN_LIMIT);
        } else {
            self.begun = self.run != 0;
            self.run = sign;
        }
    }

    /// How many trades of one side came last in a row, negative for sells; unknown until the side
    /// changed once.
    #[must_use]
    pub fn run(&self) -> Option<f64> {
        self.begun.then_some(self.run as f64)
    }

    /// The mean product of adjacent signs among the newest hundred trades, in `[-1, 1]`: 1 when all
    /// are of one side, -1 when they alternate.
    ///
    /// Source: Lillo and Farmer, "The long memory of the efficient market", Studies in Nonlinear
    /// Dynamics and Econometrics 8 (2004): the autocorrelation of signs at lag 1, about a mean of zero.
    #[must_use]
    pub fn persistence(&self) -> Option<f64> {
        const PAIRS: u32 = SIGNS - 1;
        let changes = (self.bits ^ self.bits >> 1) & ((1 << PAIRS) - 1);
        let changes = f64::from(changes.count_ones());
        (self.count == SIGNS).then(|| 1.0 - 2.0 * changes / f64::from(PAIRS))
    }
}

/// Seconds from a trade's second to the mid that judges it.
const HORIZON: usize = 5;
/// Seconds that spreads are averaged over.
const SPREAD_S: usize = 60;

/// What the trades of a second paid, summed; in basis points where it is a spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Paid {
    count: u32,
    /// Signs, and signs over doubled mids.
    signs: i64,
    inverses: f64,
    /// Effective spreads.
    effective: f64,
    /// The part that the price moved within the horizon.
    impact: f64,
}

impl Paid {
    const NOTHING: Self = Self {
        count: 0,
        signs: 0,
        inverses: 0.0,
        effective: 0.0,
        impact: 0.0,
    };
}

/// Spreads that trades paid, and what became of them.
///
/// For a trade at `P` of sign `D` (1 for a buyer) with the mid `M` before it and `M₅` at the end of the
/// fifth second after its own: effective `2·D·(P - M)/M` = realised `2·D·(P - M₅)/M` + impact `2·D·(M₅ -
/// M)/M`. The means are over the trades of the sixty seconds before the newest five; unknown when there
/// were none.
///
/// Source: Huang and Stoll, "Dealer versus auction markets", Journal of Financial Economics 41 (1996),
/// doubled to be spreads and relative to the mid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spreads {
    /// The doubled mid at the end of the last second; 0 while it is not known.
    sampled: i64,
    /// The newest trade's effective spread.
    newest: Option<f64>,
    current: Paid,
    /// The newest seconds, whose horizon has not come.
    waiting: Samples<Paid, HORIZON>,
    judged: Samples<Paid, SPREAD_S>,
    /// Over `judged`.
    total: Paid,
}

impl Default for Spreads {
    fn default() -> Self {
        Self::new()
    }
}

impl Spreads {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sampled: 0,
            newest: None,
            current: Paid::NOTHING,
            waiting: Samples::new(Paid::NOTHING),
            judged: Samples::new(Paid::NOTHING),
            total: Paid::NOTHING,
        }
    }

    /// A trade, and the doubled mid before it.
    pub fn trade(&mut self, trade: &Trade, double_mid: i64) {
        if double_mid <= 0 {
            return;
        }
        let effective = effective_spread(trade, double_mid);
        let sign = trade.aggressor.sign();
        self.newest = Some(effective);
        self.current.count = self.current.count.saturating_add(1);
        self.current.signs += sign;
        self.current.inverses += sign as f64 / double_mid as f64;
        self.current.effective += effective;
    }

    /// A second is over.
    pub fn second(&mut self, second: &Second) {
        let current = core::mem::take(&mut self.current);
        let Some(double_mid) = sample(second, self.sampled) else {
            return;
        };
        self.sampled = double_mid;
        if !second.seen {
            return;
        }
        if let Some(mut paid) = self.waiting.push(current) {
            let moved = double_mid as f64 * paid.inverses - paid.signs as f64;
            paid.impact = 2.0 * BPS * moved;
            self.judged.push(paid);
            let mut total = Paid::NOTHING;
            for paid in self.judged.iter() {
                total.count = total.count.saturating_add(paid.count);
                total.effective += paid.effective;
                total.impact += paid.impact;
            }
            self.total = total;
        }
    }

    fn mean(&self, of: f64) -> Option<f64> {
        let known = self.judged.is_full() && self.total.count > 0;
        known.then(|| of / f64::from(self.total.count))
    }

    /// Mean effective spread.
    #[must_use]
    pub fn effective(&self) -> Option<f64> {
        self.mean(self.total.effective)
    }

    /// Mean realised spread: what the side that provided kept.
    #[must_use]
    pub fn realised(&self) -> Option<f64> {
        self.mean(self.total.effective - self.total.impact)
    }

    /// Mean price impact: what it lost to the price.
    #[must_use]
    pub fn impact(&self) -> Option<f64> {
        self.mean(self.total.impact)
    }
}

/// A trade's effective spread `2·D·(P - M)/M` in basis points; negative when it was better than the
/// mid, as happens where trades and books come on different streams.
///
/// Source: Huang and Stoll (1996), as [`Spreads`].
#[must_use]
pub fn effective_spread(trade: &Trade, double_mid: i64) -> f64 {
    let above = i128::from(trade.price.0) * 2 - i128::from(double_mid);
    2.0 * trade.aggressor.sign() as f64 * above as f64 / double_mid as f64 * BPS
}

/// Buckets of a window: it moves forward in steps of a twentieth.
const BUCKETS: usize = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    bought: i64,
    sold: i64,
    /// Sum of price times quantity.
    value: i128,
    count: i64,
    /// The largest trade; only in a bucket.
    largest: i64,
}

impl Bucket {
    const EMPTY: Self = Self {
        bought: 0,
        sold: 0,
        value: 0,
        count: 0,
        largest: 0,
    };

    const fn remove(&mut self, expired: &Self) {
        self.bought = self.bought.saturating_sub(expired.bought);
        self.sold = self.sold.saturating_sub(expired.sold);
        self.value = self.value.saturating_sub(expired.value);
        self.count = self.count.saturating_sub(expired.count);
    }
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
            sums.count = sums.count.saturating_add(1);
            sums.largest = sums.largest.max(trade.qty.0);
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
            self.total.remove(&expired);
        }
        self.newest = target;
    }

    /// Buckets that have left the window at `at` and still stand in it.
    fn expired(&self, at: Time) -> u64 {
        let steps = self.bucket(at).saturating_sub(self.newest);
        steps.min(BUCKETS as u64)
    }

    /// The sums as they stand at `at`, when the whole window has been observed.
    fn sums(&self, at: Time) -> Option<Bucket> {
        if !self.since.is_known() || at.since(self.since) < self.window_ns.cast_signed() {
            return None;
        }
        let mut sums = self.total;
        let expired = self.expired(at);
        for step in 1..=expired {
            let bucket = self.buckets[((self.newest + step) % BUCKETS as u64) as usize];
            sums.remove(&bucket);
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

    /// Logarithm of the trades per second, one trade added so that it is defined without any.
    #[must_use]
    pub fn log_rate(&self, at: Time) -> Option<f64> {
        let window_s = (self.window_ns / SECONDS) as f64;
        Some(libm::log((self.sums(at)?.count as f64 + 1.0) / window_s))
    }

    /// Mean quantity of a trade; unknown when nothing traded.
    #[must_use]
    pub fn mean_size(&self, at: Time) -> Option<f64> {
        let sums = self.sums(at)?;
        let volume = sums.bought as f64 + sums.sold as f64;
        (volume > 0.0).then(|| volume / sums.count as f64)
    }

    /// The largest trade's share of the volume, in `[0, 1]`; zero when nothing traded.
    #[must_use]
    pub fn largest_share(&self, at: Time) -> Option<f64> {
        let sums = self.sums(at)?;
        let volume = sums.bought as f64 + sums.sold as f64;
        let mut largest = 0;
        for step in self.expired(at)..BUCKETS as u64 {
            // From the oldest bucket of the window to the newest.
            let place = (self.newest + 1 + step) % BUCKETS as u64;
            largest = largest.max(self.buckets[place as usize].largest);
        }
        Some(if volume > 0.0 {
            largest as f64 / volume
        } else {
            0.0
        })
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

    #[test]
    fn counts_sizes_and_the_largest_trade_follow_the_window() {
        let mut flow = Flow::new(10);
        flow.interrupt(Time(START - 20 * SECONDS));
        let now = |millis: u64| Time(START + millis * MILLIS);
        for (at, qty) in [(0, 90), (6_000, 10), (9_900, 20)] {
            flow.trade(&trade(100, qty, Side::Buy), now(at));
        }
        assert_eq!(flow.largest_share(now(9_900)), Some(90.0 / 120.0));
        assert_eq!(flow.mean_size(now(9_900)), Some(40.0));
        assert_eq!(flow.log_rate(now(9_900)), Some(libm::log(0.4)));
        // The first has left, though nothing came since.
        assert_eq!(flow.largest_share(now(10_100)), Some(20.0 / 30.0));
        assert_eq!(flow.mean_size(now(10_100)), Some(15.0));
        assert_eq!(flow.log_rate(now(30_000)), Some(libm::log(0.1)));
        assert_eq!(
            (flow.mean_size(now(30_000)), flow.largest_share(now(30_000))),
            (None, Some(0.0))
        );
    }

    #[test]
    fn runs_and_persistence_count_signs() {
        let mut signs = Signs::new();
        for _ in 0..3 {
            signs.trade(Side::Buy);
        }
        assert_eq!(signs.run(), None, "it may have begun before");
        signs.trade(Side::Sell);
        signs.trade(Side::Sell);
        assert_eq!((signs.run(), signs.persistence()), (Some(-2.0), None));
        for _ in 0..2_000 {
            signs.trade(Side::Buy);
        }
        assert_eq!(
            (signs.run(), signs.persistence()),
            (Some(1_000.0), Some(1.0))
        );
        for place in 0..100 {
            signs.trade(if place % 2 == 0 {
                Side::Sell
            } else {
                Side::Buy
            });
        }
        assert_eq!((signs.run(), signs.persistence()), (Some(1.0), Some(-1.0)));
    }

    #[test]
    fn autocorrelation_by_hand() {
        // Mean 2: (-1, 1, 2, -2); products -1, 2, -4 over 1 + 1 + 4 + 4.
        assert_eq!(autocorrelation(&[1, 3, 4, 0]), Some(-0.3));
        assert_eq!(autocorrelation(&[5; 9]), None);
    }

    /// Trades of the whole past with the mids before and five seconds after them.
    fn direct(seconds: &[(i64, Vec<(i64, bool)>)], last: usize) -> Option<[f64; 3]> {
        let (mut count, mut sums) = (0.0, [0.0; 3]);
        for second in (last + 1).checked_sub(65)?..=last - 5 {
            let mid = |second: usize| seconds[second].0 as f64 / 2.0;
            for (price, buy) in &seconds[second].1 {
                let (sign, before) = (if *buy { 2e4 } else { -2e4 }, mid(second - 1));
                let (price, after) = (*price as f64, mid(second + 5));
                count += 1.0;
                sums[0] += sign * (price - before) / before;
                sums[1] += sign * (price - after) / before;
                sums[2] += sign * (after - before) / before;
            }
        }
        (count > 0.0).then(|| sums.map(|sum| sum / count))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn spreads_equal_those_of_every_trade(
            moves in proptest::collection::vec((-20_i64..21, proptest::collection::vec((-30_i64..31, any::<bool>()), 0..3)), 60..160)
        ) {
            let (mut spreads, mut mid, mut all) = (Spreads::new(), 200_000_i64, Vec::new());
            for (number, (step, trades)) in moves.into_iter().enumerate() {
                let trades: Vec<_> = trades.into_iter().map(|(off, buy)| (mid / 2 + off, buy)).collect();
                // The first second is observed in part.
                for (price, buy) in &trades {
                    let side = if *buy { Side::Buy } else { Side::Sell };
                    spreads.trade(&trade(*price, 1, side), mid);
                }
                mid += step;
                spreads.second(&Second { number: number as u64, seen: number > 0, double_mid: Some(mid), trades: None });
                all.push((mid, trades));
                let got = [spreads.effective(), spreads.realised(), spreads.impact()];
                // A window of sixty seconds and five, from the second second on.
                let want = if number >= 65 { direct(&all, number) } else { None };
                for (place, got) in got.into_iter().enumerate() {
                    let want = want.map(|all| all[place]);
                    prop_assert_eq!(got.is_some(), want.is_some());
                    if let (Some(got), Some(want)) = (got, want) {
                        prop_assert!((got - want).abs() < 1e-7, "{} {} {}", place, got, want);
                    }
                }
            }
        }
    }

    #[test]
    fn a_buyer_above_the_mid_pays_and_below_it_gains() {
        assert_eq!(effective_spread(&trade(101, 1, Side::Buy), 200), 200.0);
        assert_eq!(effective_spread(&trade(99, 1, Side::Sell), 200), 200.0);
        assert_eq!(effective_spread(&trade(99, 1, Side::Buy), 200), -200.0);
    }
}
