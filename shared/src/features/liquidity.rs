//! How the book is filled and emptied: queues at the touch, quoting, resiliency, age.
//!
//! What left a queue is seen in the book, what was traded in the trades; the difference was cancelled.
//! A message of the venue may hold several changes of a level, so additions and removals in between
//! are their net.

use serde::{Deserialize, Serialize};

use super::book::{LEVELS, Top};
use super::orderflow::flow;
use super::rolling::Rolling;
use super::second::Second;
use super::table::{array, rows};
use super::{Values, View};
use crate::event::{Level, Side, Trade};
use crate::time::{SECONDS, Time};

rows! {
    /// Features of liquidity.
    LiquidityFeature {
        /// [`depletion`] of the best bid.
        BidDepletion: "bid_depletion_10s", Log, "window_s=10 max_s=3600", "ln(quantity / rate of removal)";
        /// [`depletion`] of the best ask.
        AskDepletion: "ask_depletion_10s", Log, "window_s=10 max_s=3600", "ln(quantity / rate of removal)";
        /// [`up_probability`].
        UpProbability: "queue_up_probability", Share, "half_life_s=300", "Cont, de Larrard (2012)";
        /// [`cancel_share`].
        CancelShare: "touch_cancel_share_10s", Share, "window_s=10", "cancelled of all that left the touch";
        /// `ln(1 + changes of the ten best levels a second)`.
        QuoteRate: "quote_rate_10s", Log, "levels=10 window_s=10", "ln(1 + changes per second)";
        /// Changes of the best bid's or ask's price a second.
        TouchRate: "touch_rate_10s", PerSecond, "window_s=10", "changes of the best prices";
        /// [`reversion`] of the spread.
        SpreadReversion: "spread_reversion_60s", PerSecond, "window_s=60", "Kempf, Mayston, Gehde-Trapp, Yadav (2015)";
        /// The depth of ten levels against its mean of a minute.
        DepthRecovery: "depth_recovery_60s", Log, "levels=10 window_s=60", "ln(depth / mean depth)";
        /// [`staleness`].
        Staleness: "staleness", Seconds, "max_s=3600", "age of the newest event at the venue";
        /// `ln(1 + seconds since the best bid's or ask's price changed)`.
        TouchAge: "touch_age", Log, "", "ln(1 + seconds)";
    }
}

/// Seconds of the sliding window.
const WINDOW_S: u32 = 10;
/// Sums of the window: what left the bid and the ask, what was traded there, changes of the levels
/// shown, changes of the best prices.
const SUMS: usize = 6;
/// Seconds of the windows that are sampled once a second.
const SAMPLES: usize = 60;
/// The longest time that is told from a longer one, in seconds.
const SECONDS_MAX: f64 = 3_600.0;

/// Memory of liquidity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Liquidity {
    before: Option<Top>,
    /// When the best prices changed; [`Time::UNKNOWN`] until they do.
    touched: Time,
    window: Rolling<SUMS>,
    queues: Queues,
    spreads: Samples<{ SAMPLES + 1 }>,
    depths: Samples<SAMPLES>,
}

impl Default for Liquidity {
    fn default() -> Self {
        Self::new()
    }
}

impl Liquidity {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            before: None,
            touched: Time::UNKNOWN,
            window: Rolling::new(WINDOW_S),
            queues: Queues::new(),
            spreads: Samples::new(),
            depths: Samples::new(),
        }
    }

    /// The best levels may have changed.
    pub fn top(&mut self, top: &Top, at: Time) {
        let Some(before) = &self.before else {
            self.before = Some(top.clone());
            return;
        };
        if before == top {
            return;
        }
        let (bids, asks) = ((before.bid(), top.bid()), (before.ask(), top.ask()));
        let moved = bids.0.price != bids.1.price || asks.0.price != asks.1.price;
        if moved {
            self.touched = at;
        }
        self.queues.change(bids, asks);
        let left = |side, (before, now)| (-flow(side, before, now)).max(0);
        let sums = [
            left(Side::Buy, bids),
            left(Side::Sell, asks),
            0,
            0,
            1,
            i128::from(moved),
        ];
        self.window.add(at, &sums);
        self.before = Some(top.clone());
    }

    /// A trade, and the book before it. Trades behind the touch are of levels that this says nothing
    /// about.
    pub fn trade(&mut self, trade: &Trade, top: Option<&Top>, at: Time) {
        let Some(top) = top else { return };
        let qty = i128::from(trade.qty.0);
        match trade.aggressor {
            Side::Sell if trade.price >= top.bid().price => {
                self.window.add(at, &[0, 0, qty, 0, 0, 0]);
            }
            Side::Buy if trade.price <= top.ask().price => {
                self.window.add(at, &[0, 0, 0, qty, 0, 0]);
            }
            _ => {}
        }
    }

    /// A second is over; the book at its end. A second without a price on both sides breaks the
    /// windows that are sampled.
    pub fn second(&mut self, second: &Second, top: Option<&Top>) {
        match top {
            Some(top) => {
                let (bid, ask) = (top.bid().price.0, top.ask().price.0);
                self.spreads.push(ask.saturating_sub(bid));
                self.depths.push(shown(top));
            }
            None => {
                self.spreads = Samples::new();
                self.depths = Samples::new();
            }
        }
        self.queues.second(second.seen);
    }

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, at: Time) {
        self.before = None;
        self.touched = Time::UNKNOWN;
        self.window.interrupt(at);
        self.queues = Queues::new();
        self.spreads = Samples::new();
        self.depths = Samples::new();
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, view: &View<'_>) -> Values<{ LiquidityFeature::COUNT }> {
        let (bid, ask) = (view.top.bid().qty.0, view.top.ask().qty.0);
        let mut values = Values::UNKNOWN;
        if let Some(sums) = self.window.sums(view.at) {
            let rate = |sum: i128| sum as f64 / f64::from(WINDOW_S);
            values.set(
                LiquidityFeature::BidDepletion,
                depletion(bid, rate(sums[0])),
            );
            values.set(
                LiquidityFeature::AskDepletion,
                depletion(ask, rate(sums[1])),
            );
            values.set(
                LiquidityFeature::CancelShare,
                cancel_share([(sums[0], sums[2]), (sums[1], sums[3])]),
            );
            values.set(
                LiquidityFeature::QuoteRate,
                Some(libm::log1p(rate(sums[4]))),
            );
            values.set(LiquidityFeature::TouchRate, Some(rate(sums[5])));
        }
        let up = |rho| up_probability(bid, ask, rho);
        values.set(
            LiquidityFeature::UpProbability,
            self.queues.correlation().and_then(up),
        );
        values.set(
            LiquidityFeature::SpreadReversion,
            self.spreads.full().and_then(reversion),
        );
        let recovery = self.depths.full().and_then(|depths| {
            let mean = depths.map(|depth| depth as f64).sum::<f64>() / SAMPLES as f64;
            let now = shown(view.top) as f64;
            (mean > 0.0 && now > 0.0).then(|| libm::log(now / mean))
        });
        values.set(LiquidityFeature::DepthRecovery, recovery);
        values.set(LiquidityFeature::Staleness, staleness(view));
        if self.touched.is_known() {
            let age = view.at.since(self.touched).max(0) as f64 / SECONDS as f64;
            values.set(LiquidityFeature::TouchAge, Some(libm::log1p(age)));
        }
        values
    }
}

/// The quantity of all levels shown.
fn shown(top: &Top) -> i64 {
    let levels = [Side::Buy, Side::Sell].map(|side| top.side(side));
    let quantities = levels.into_iter().flatten().take(2 * LEVELS);
    quantities.fold(0, |sum: i64, level| sum.saturating_add(level.qty.0))
}

/// The logarithm of the seconds until a queue is empty when no more comes and as much leaves it as
/// did in the window, by trades and cancellations; between a millisecond and [`SECONDS_MAX`], which
/// is also the value when nothing left.
#[must_use]
pub fn depletion(qty: i64, rate: f64) -> Option<f64> {
    let seconds = if rate > 0.0 {
        (qty as f64 / rate).clamp(1e-3, SECONDS_MAX)
    } else {
        SECONDS_MAX
    };
    (qty > 0).then(|| libm::log(seconds))
}

/// Of what left the two best queues, how much was cancelled and not traded: what left less what was
/// traded, for each side, never below zero (a venue shows trades before the book, and hidden
/// quantities too). Unknown when nothing left and nothing was traded.
#[must_use]
pub fn cancel_share(sides: [(i128, i128); 2]) -> Option<f64> {
    let cancelled: i128 = sides
        .iter()
        .map(|(left, traded)| (left - traded).max(0))
        .sum();
    let traded: i128 = sides.iter().map(|(_, traded)| traded).sum();
    let all = cancelled + traded;
    (all > 0).then(|| cancelled as f64 / all as f64)
}

/// The probability that the mid's next move is up, given the two best queues and the correlation of
/// their changes: that a Brownian motion which starts at `(bid, ask)` in the quadrant leaves it
/// through the axis where the ask is empty.
///
/// `1/2 - arctan(c · (ask - bid) / (ask + bid)) / (2 · arctan(c))`, `c = √((1 + rho) / (1 - rho))`.
///
/// Source: Cont and de Larrard, "Order book dynamics in liquid markets: limit theorems and diffusion
/// approximations" (2012), for queues of equal variance.
#[must_use]
pub fn up_probability(bid: i64, ask: i64, rho: f64) -> Option<f64> {
    let (bid, ask) = (bid as f64, ask as f64);
    let slope = libm::sqrt((1.0 + rho) / (1.0 - rho));
    let ratio = (ask - bid) / (ask + bid);
    (bid >= 0.0 && ask >= 0.0 && bid + ask > 0.0)
        .then(|| 0.5 - libm::atan(slope * ratio) / (2.0 * libm::atan(slope)))
}

/// How much of the spread's deviation from its mean is gone a second later: `-b` of the regression
/// `s(t) - s(t-1) = a + b · s(t-1)` over a minute. 1 is at once, 0 never; unknown while the spread does
/// not change, when there is nothing to revert.
///
/// Source: Kempf, Mayston, Gehde-Trapp and Yadav, "Resiliency: a dynamic view of liquidity" (2015),
/// without lagged differences; after Dong, Kempf and Yadav, "Resiliency, the neglected dimension of
/// market liquidity" (2007).
fn reversion(spreads: impl Iterator<Item = i64> + Clone) -> Option<f64> {
    let pairs = spreads.clone().zip(spreads.skip(1));
    let pairs = pairs.map(|(before, now)| (before as f64, now as f64 - before as f64));
    let count = SAMPLES as f64;
    let mean_before = pairs.clone().map(|(before, _)| before).sum::<f64>() / count;
    let mean_change = pairs.clone().map(|(_, change)| change).sum::<f64>() / count;
    let (mut joint, mut square) = (0.0, 0.0);
    for (before, change) in pairs {
        let before = before - mean_before;
        joint += before * (change - mean_change);
        square += before * before;
    }
    (square > 0.0).then(|| -joint / square)
}

/// Seconds since the newest event of this instrument happened at the venue: the time since it left
/// the socket and the feed's lag before that. The lag is the difference of two clocks and negative
/// when ours is behind; the sum is held between 0 and [`SECONDS_MAX`]. Unknown before the first
/// event.
#[must_use]
pub fn staleness(view: &View<'_>) -> Option<f64> {
    let age = view.at.since(view.received).saturating_add(view.lag_ns);
    let seconds = age as f64 / SECONDS as f64;
    view.received
        .is_known()
        .then(|| seconds.clamp(0.0, SECONDS_MAX))
}

/// The newest `N` samples, one a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Samples<const N: usize> {
    /// The oldest, once full.
    next: usize,
    count: usize,
    #[serde(with = "array")]
    values: [i64; N],
}

impl<const N: usize> Samples<N> {
    const fn new() -> Self {
        Self {
            next: 0,
            count: 0,
            values: [0; N],
        }
    }

    const fn push(&mut self, value: i64) {
        self.values[self.next] = value;
        self.next = (self.next + 1) % N;
        if self.count < N {
            self.count += 1;
        }
    }

    /// All of them, oldest first, once there are `N`.
    fn full(&self) -> Option<impl Iterator<Item = i64> + Clone> {
        let (newer, older) = self.values.split_at(self.next);
        (self.count == N).then(|| older.iter().chain(newer).copied())
    }
}

/// What is left of a second's weight after another: `2^(-1/300)`, a half-life of five minutes.
const QUEUES_KEEP: f64 = 0.997_692_176_527_023_4;
/// Seconds of [`Queues`] before they are believed.
const QUEUES_SECONDS_MIN: u32 = 60;
/// The largest correlation that is believed, either way: at 1 the formula divides by zero.
const CORRELATION_MAX: f64 = 0.9;

/// How the two best queues change together, by the second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Queues {
    /// What the bid and the ask gained in the current second, at unchanged prices.
    current: [i128; 2],
    seconds: u32,
    /// Faded sums of squares, and of products.
    squares: [f64; 2],
    products: f64,
}

impl Queues {
    const fn new() -> Self {
        Self {
            current: [0; 2],
            seconds: 0,
            squares: [0.0; 2],
            products: 0.0,
        }
    }

    /// The touch before and now. A queue at another price is another queue.
    fn change(&mut self, bids: (Level, Level), asks: (Level, Level)) {
        for (sum, (before, now)) in self.current.iter_mut().zip([bids, asks]) {
            if before.price == now.price {
                *sum += i128::from(now.qty.0) - i128::from(before.qty.0);
            }
        }
    }

    fn second(&mut self, seen: bool) {
        let [bid, ask] = core::mem::take(&mut self.current).map(|sum| sum as f64);
        if !seen {
            return;
        }
        self.seconds = self.seconds.saturating_add(1);
        self.squares[0] = self.squares[0] * QUEUES_KEEP + bid * bid;
        self.squares[1] = self.squares[1] * QUEUES_KEEP + ask * ask;
        self.products = self.products * QUEUES_KEEP + bid * ask;
    }

    /// The correlation of their changes by the second, about zero; 0 while one of them does not
    /// change.
    fn correlation(&self) -> Option<f64> {
        let scale = libm::sqrt(self.squares[0]) * libm::sqrt(self.squares[1]);
        let correlation = if scale > 0.0 {
            (self.products / scale).clamp(-CORRELATION_MAX, CORRELATION_MAX)
        } else {
            0.0
        };
        (self.seconds >= QUEUES_SECONDS_MIN).then_some(correlation)
    }
}

#[cfg(test)]
mod tests;
