//! One instrument's tape: what the market itself traded, and how far that moved it.
//!
//! The models of [`super::impact`] and [`super::synthetic`] take their parameters from here, so that
//! nothing about a market's depth is assumed. Sums are exact integers: what enters a window and what
//! leaves it cancel, so a long run cannot drift. A gap costs the minute and the interval that it
//! falls into; what was observed before it stays.

use heapless::Deque;
use serde::{Deserialize, Serialize};

use super::wide::{mul_div, narrow};
use crate::event::{Side, Trade};
use crate::num::{Price, Qty, div_round, saturate};
use crate::time::{MINUTES, SECONDS, Time};

/// Bars that are kept: an hour.
pub const BARS: usize = 60;
/// Length of a bar in nanoseconds.
pub const BAR_NS: u64 = MINUTES;
/// Intervals that λ is estimated from: half an hour.
pub const INTERVALS: usize = 180;
/// Length of such an interval in nanoseconds.
pub const INTERVAL_NS: u64 = 10 * SECONDS;
/// Intervals with a net traded quantity below which λ is not known.
pub const LEAST_FLOWS: u16 = 30;
/// One-minute returns below which the volatility is not known.
pub const LEAST_RETURNS: usize = 10;
/// Unit of a one-minute return inside [`Tape::volatility_ppb`].
const PPB: i128 = 1_000_000_000;
/// Largest return that is counted, in ppb: a thousandfold price.
const RETURN_LIMIT: i64 = 1_000 * 1_000_000_000;
/// Largest flow and move of an interval that are counted: the sums of [`INTERVALS`] products then fit
/// 128 bits.
const FLOW_LIMIT: i64 = 1 << 59;

/// A minute of trades. A minute in which nothing traded repeats the last price with a volume of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// When it begins.
    pub start: Time,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Traded quantity.
    pub volume: Qty,
    /// Bought minus sold quantity, by aggressor.
    pub signed: Qty,
    /// Trades.
    pub trades: u32,
}

impl Bar {
    const fn flat(start: Time, price: Price) -> Self {
        Self {
            start,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: Qty(0),
            signed: Qty(0),
            trades: 0,
        }
    }

    fn add(&mut self, trade: &Trade) {
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.close = trade.price;
        self.volume.0 = self.volume.0.saturating_add(trade.qty.0);
        self.signed.0 = self.signed.0.saturating_add(signed(trade));
        self.trades = self.trades.saturating_add(1);
    }
}

const fn signed(trade: &Trade) -> i64 {
    match trade.aggressor {
        Side::Buy => trade.qty.0,
        Side::Sell => -trade.qty.0,
    }
}

/// One observation of the regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Flow {
    /// Change of the doubled mid price.
    moved: i64,
    /// Bought minus sold quantity.
    traded: i64,
}

impl Flow {
    const QUIET: Self = Self {
        moved: 0,
        traded: 0,
    };

    fn product(self) -> i128 {
        i128::from(self.moved) * i128::from(self.traded)
    }

    fn square(self) -> i128 {
        i128::from(self.traded) * i128::from(self.traded)
    }
}

/// Kyle's λ as an exact fraction: units of the doubled mid price per unit of quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lambda {
    moved: u128,
    traded: u128,
}

impl Lambda {
    /// Numerator: the sum of move times flow, not below zero.
    #[must_use]
    pub const fn numerator(&self) -> u128 {
        self.moved
    }

    /// Denominator: the sum of squared flows, above zero.
    #[must_use]
    pub const fn denominator(&self) -> u128 {
        self.traded
    }

    /// `λ * qty * scale`, in units of the doubled mid price divided by `scale`; rounded down and
    /// saturated. The sign of `qty` is ignored.
    #[must_use]
    pub fn times(&self, qty: Qty, scale: u32) -> i64 {
        let factor = u128::from(qty.0.unsigned_abs()) * u128::from(scale);
        narrow(mul_div(self.moved, factor, self.traded).0)
    }
}

/// Statistics of one instrument's tape.
///
/// Events come in the order of the journal. A stamp before the current minute counts in the current
/// one; one that lies more than a whole minute before it means that the clock was set back, and
/// everything starts anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tape {
    /// Something was observed since the start or the last gap.
    observing: bool,
    /// Number of the current minute since the epoch, and whether it is observed from its beginning.
    minute: u64,
    whole_minute: bool,
    /// The trades of the current minute.
    bar: Option<Bar>,
    /// The price that a minute without trades repeats; unknown after a gap.
    close: Option<Price>,
    bars: Deque<Bar, BARS>,
    /// Sums over `bars`.
    volume: i128,
    trades: u64,
    /// The newest trade, gaps or not.
    last: Option<(Price, Time)>,
    /// Number of the current interval since the epoch, and whether it is observed from its beginning.
    interval: u64,
    whole_interval: bool,
    /// Bought minus sold in the current interval.
    traded: i64,
    /// The doubled mid at the beginning of the interval and now; 0 where it is not known.
    opened: i64,
    double_mid: i64,
    flows: Deque<Flow, INTERVALS>,
    /// Sums over `flows`.
    products: i128,
    squares: i128,
    informative: u16,
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Tape {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            observing: false,
            minute: 0,
            whole_minute: false,
            bar: None,
            close: None,
            bars: Deque::new(),
            volume: 0,
            trades: 0,
            last: None,
            interval: 0,
            whole_interval: false,
            traded: 0,
            opened: 0,
            double_mid: 0,
            flows: Deque::new(),
            products: 0,
            squares: 0,
            informative: 0,
        }
    }

    /// Takes a trade of the market. One without a positive price and quantity is none.
    pub fn trade(&mut self, trade: &Trade, at: Time) {
        if trade.price.0 <= 0 || trade.qty.0 <= 0 {
            return;
        }
        self.advance(at);
        let start = Time(self.minute * BAR_NS);
        self.bar
            .get_or_insert_with(|| Bar::flat(start, trade.price))
            .add(trade);
        self.traded = self.traded.saturating_add(signed(trade));
        self.last = Some((trade.price, at));
    }

    /// Takes the doubled mid price after a book event. One that is not positive is none.
    pub fn mid(&mut self, double_mid: i64, at: Time) {
        if double_mid <= 0 {
            return;
        }
        self.advance(at);
        self.double_mid = double_mid;
    }

    /// Continuity was lost: the minute and the interval in progress are not known in full and never
    /// will be, nor are those in which observation begins again.
    pub const fn gap(&mut self) {
        self.observing = false;
        self.bar = None;
        self.close = None;
        self.traded = 0;
        self.opened = 0;
        self.double_mid = 0;
    }

    fn advance(&mut self, at: Time) {
        let (minute, interval) = (at.0 / BAR_NS, at.0 / INTERVAL_NS);
        let newest = match self.bars.back() {
            Some(bar) if !self.observing => bar.start.0 / BAR_NS,
            _ => self.minute,
        };
        if minute.saturating_add(1) < newest {
            *self = Self::new();
        }
        if !self.observing {
            self.observing = true;
            // A stamp of jitter's size before the newest bar's end belongs behind it.
            let after = self.bars.back().map_or(0, |bar| bar.start.0 / BAR_NS + 1);
            (self.minute, self.interval) = (minute.max(after), interval);
            self.whole_minute = at.0.is_multiple_of(BAR_NS) && minute >= after;
            self.whole_interval = at.0.is_multiple_of(INTERVAL_NS);
            return;
        }
        if minute > self.minute {
            self.close_minutes(minute);
        }
        if interval > self.interval {
            self.close_intervals(interval);
        }
    }

    /// Ends the current minute and the quiet ones between it and `minute`.
    fn close_minutes(&mut self, minute: u64) {
        let ended = self.bar.take();
        self.close = ended.map(|bar| bar.close).or(self.close);
        if self.whole_minute {
            let start = Time(self.minute * BAR_NS);
            if let Some(bar) = ended.or(self.close.map(|price| Bar::flat(start, price))) {
                self.push_bar(bar);
            }
        }
        if let Some(price) = self.close {
            // Older ones would leave the ring again.
            let first = (self.minute + 1).max(minute.saturating_sub(BARS as u64));
            for quiet in first..minute {
                self.push_bar(Bar::flat(Time(quiet * BAR_NS), price));
            }
        }
        self.minute = minute;
        self.whole_minute = true;
    }

    fn push_bar(&mut self, bar: Bar) {
        if self.bars.is_full()
            && let Some(oldest) = self.bars.pop_front()
        {
            self.volume -= i128::from(oldest.volume.0);
            self.trades -= u64::from(oldest.trades);
        }
        self.volume += i128::from(bar.volume.0);
        self.trades += u64::from(bar.trades);
        let pushed = self.bars.push_back(bar);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// Ends the current interval and the quiet ones between it and `interval`.
    fn close_intervals(&mut self, interval: u64) {
        if self.whole_interval && self.opened > 0 && self.double_mid > 0 {
            self.push_flow(Flow {
                moved: (self.double_mid - self.opened).clamp(-FLOW_LIMIT, FLOW_LIMIT),
                traded: self.traded.clamp(-FLOW_LIMIT, FLOW_LIMIT),
            });
        }
        if self.double_mid > 0 {
            let quiet = (interval - self.interval - 1).min(INTERVALS as u64);
            for _ in 0..quiet {
                self.push_flow(Flow::QUIET);
            }
        }
        self.interval = interval;
        self.whole_interval = true;
        self.traded = 0;
        self.opened = self.double_mid;
    }

    fn push_flow(&mut self, flow: Flow) {
        if self.flows.is_full()
            && let Some(oldest) = self.flows.pop_front()
        {
            self.products -= oldest.product();
            self.squares -= oldest.square();
            self.informative -= u16::from(oldest.traded != 0);
        }
        self.products += flow.product();
        self.squares += flow.square();
        self.informative += u16::from(flow.traded != 0);
        let pushed = self.flows.push_back(flow);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// The complete minutes, oldest first. Minutes of a gap are missing.
    pub fn bars(&self) -> impl DoubleEndedIterator<Item = &Bar> + ExactSizeIterator {
        self.bars.iter()
    }

    /// The newest trade's price and time.
    #[must_use]
    pub const fn last_trade(&self) -> Option<(Price, Time)> {
        self.last
    }

    /// The newest doubled mid price; unknown since a gap.
    #[must_use]
    pub const fn double_mid(&self) -> Option<i64> {
        if self.double_mid > 0 {
            Some(self.double_mid)
        } else {
            None
        }
    }

    /// Kyle's λ: how far the doubled mid price moves for each unit of net traded quantity, by ordinary
    /// least squares without an intercept over the intervals of [`INTERVAL_NS`] that were observed in
    /// full: `λ = Σ(Δm·q) / Σq²`, not below zero. Unknown below [`LEAST_FLOWS`] intervals whose net
    /// quantity is not zero.
    ///
    /// Source: Kyle, "Continuous auctions and insider trading", Econometrica 53 (1985): the price
    /// change is `λ` times the net flow, and a zero flow moves nothing, hence no intercept.
    #[must_use]
    pub fn lambda(&self) -> Option<Lambda> {
        (self.informative >= LEAST_FLOWS && self.squares > 0).then(|| Lambda {
            moved: self.products.max(0).unsigned_abs(),
            traded: self.squares.unsigned_abs(),
        })
    }

    /// Standard deviation of one-minute returns in billionths, over pairs of adjacent minutes (sample
    /// deviation, from close to close). Unknown below [`LEAST_RETURNS`] returns.
    #[must_use]
    pub fn volatility_ppb(&self) -> Option<i64> {
        let (mut count, mut sum, mut squares) = (0_i128, 0_i128, 0_i128);
        for (before, after) in self.bars.iter().zip(self.bars.iter().skip(1)) {
            if before.start.plus(BAR_NS) != after.start {
                continue;
            }
            let moved = i128::from(after.close.0) - i128::from(before.close.0);
            let change = div_round(moved * PPB, i128::from(before.close.0))
                .clamp(-RETURN_LIMIT, RETURN_LIMIT);
            count += 1;
            sum += i128::from(change);
            squares += i128::from(change) * i128::from(change);
        }
        if count < LEAST_RETURNS as i128 {
            return None;
        }
        let variance = (count * squares - sum * sum) / (count * (count - 1));
        Some(saturate(variance.max(0).isqrt()))
    }

    /// [`Self::volatility_ppb`] in millionths, rounded to nearest.
    #[must_use]
    pub fn volatility_ppm(&self) -> Option<i64> {
        let ppb = self.volatility_ppb()?;
        Some(div_round(i128::from(ppb), 1_000))
    }

    /// Mean traded quantity of the complete minutes, rounded down; zero when there are none.
    #[must_use]
    pub fn volume_per_minute(&self) -> Qty {
        let minutes = self.bars.len() as i128;
        if minutes == 0 {
            return Qty(0);
        }
        Qty(saturate(self.volume / minutes))
    }

    /// Mean quantity of a trade over the complete minutes and the current one, rounded to nearest but
    /// not to zero; zero when nothing traded.
    #[must_use]
    pub fn average_trade(&self) -> Qty {
        let (volume, trades) = match &self.bar {
            Some(bar) => (
                self.volume + i128::from(bar.volume.0),
                self.trades + u64::from(bar.trades),
            ),
            None => (self.volume, self.trades),
        };
        if trades == 0 {
            return Qty(0);
        }
        Qty(div_round(volume, i128::from(trades)).max(1))
    }
}

#[cfg(test)]
mod tests;
