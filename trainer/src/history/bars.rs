//! Bars of a file as events of a market.
//!
//! A bar has no quotes: its close stands between a bid and an ask that are an assumed spread apart, and what the
//! book, trades and seconds of such a market would tell is not known ([`known`] keeps the rest). A bar tells at its
//! close, never before: a pulse at the close is the first that sees it.
//!
//! Bars longer than five minutes travel as the venue's own history does live ([`Body::Candle`]), with the longer
//! timeframes that they fill. Shorter ones travel as four trades inside the bar, because an engine that is spoken to
//! more often than every five minutes closes its own bars.

use tickerml_shared::event::{Body, Candle, GapReason, Level, Side, Trade};
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::features::second::QUIET_MAX;
use tickerml_shared::features::{Group, selected};
use tickerml_shared::instrument::Instrument;
use tickerml_shared::num::{Price, Qty, pow10};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use super::heard::{Queue, gap, heard, nearest, touch};

/// One bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) start: Time,
    pub(super) open: Price,
    pub(super) high: Price,
    pub(super) low: Price,
    pub(super) close: Price,
    pub(super) volume: Qty,
    /// Volume-weighted average price; where the file does not say, the mean of high, low and close.
    pub(super) vwap: Price,
    /// What buyers took; where the file does not say, half of the volume.
    pub(super) bought: Qty,
}

impl Bar {
    /// Why these numbers are no bar.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let prices = [self.open, self.close, self.vwap];
        if self.low.0 <= 0 {
            Some("a price is not positive")
        } else if prices
            .iter()
            .any(|price| *price < self.low || *price > self.high)
        {
            Some("high and low do not hold the other prices")
        } else if self.volume.0 < 0 || self.bought.0 < 0 || self.bought > self.volume {
            Some("a quantity is negative, or more was bought than traded")
        } else {
            None
        }
    }

    /// With the bar that follows it.
    fn join(&mut self, next: &Self) {
        let (one, other) = (self.volume.0 as f64, next.volume.0 as f64);
        if one + other > 0.0 {
            let mean = (self.vwap.0 as f64 * one + next.vwap.0 as f64 * other) / (one + other);
            self.vwap = Price(nearest(mean, 0).unwrap_or(self.vwap.0));
        }
        self.high = self.high.max(next.high);
        self.low = self.low.min(next.low);
        self.vwap = self.vwap.clamp(self.low, self.high);
        self.close = next.close;
        self.volume.0 = self.volume.0.saturating_add(next.volume.0);
        self.bought.0 = self.bought.0.saturating_add(next.bought.0);
    }
}

/// The bits of the selected features that bars alone can tell.
pub(super) fn known() -> u64 {
    let told = |group| matches!(group, Group::Indicators | Group::Alpha158 | Group::Funding);
    (0..)
        .zip(selected())
        .filter(|(_, feature)| told(feature.group))
        .fold(0, |bits, (place, _)| bits | 1 << place)
}

/// A longer timeframe that is being filled.
#[derive(Clone, Copy, Debug)]
struct Filling {
    timeframe: Timeframe,
    /// What is filled of the bar that runs, when it was seen from its start.
    bar: Option<Bar>,
    /// Where the bar after the newest one told begins.
    next: Time,
}

/// Makes events of bars.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    length_ns: u64,
    /// Half of the assumed spread as a fraction.
    half_spread: f64,
    qty_scale: u8,
    fillings: Vec<Filling>,
    /// The close of the newest bar.
    closed: Time,
}

impl Teller {
    pub(super) fn new(instrument: &Instrument, length_ns: u64, spread_bps: f64) -> Self {
        let fills = |timeframe: &Timeframe| {
            let long_ns = timeframe.seconds() * SECONDS;
            long_ns >= length_ns && long_ns.is_multiple_of(length_ns)
        };
        Self {
            length_ns,
            half_spread: spread_bps / 2.0 / 1e4,
            qty_scale: instrument.qty_scale,
            fillings: Timeframe::ALL
                .into_iter()
                .filter(fills)
                .map(|timeframe| Filling {
                    timeframe,
                    bar: None,
                    next: Time::UNKNOWN,
                })
                .collect(),
            closed: Time::UNKNOWN,
        }
    }

    /// Tells a bar that follows all told before. A bar before the newest one's close tells nothing and is refused.
    pub(super) fn tell(&mut self, bar: &Bar, out: &mut Queue) -> Result<(), &'static str> {
        if !bar.start.0.is_multiple_of(self.length_ns) {
            return Err("it does not begin at a multiple of its length");
        }
        if bar.start < self.closed {
            return Err("it does not follow the bar before it");
        }
        if let Some(fault) = bar.fault() {
            return Err(fault);
        }
        if self.closed.is_known() && bar.start > self.closed {
            out.push_back(gap(self.closed.plus(1), GapReason::Silent));
        }
        let close = bar.start.plus(self.length_ns);
        if self.length_ns <= QUIET_MAX * SECONDS {
            self.trades(bar, out);
        } else {
            self.candles(bar, close, out);
        }
        self.closed = close;
        let half = |sign: f64| {
            let quote = nearest(bar.close.0 as f64 * (1.0 + sign * self.half_spread), 0);
            Price(quote.unwrap_or(bar.close.0))
        };
        let (bid, mut ask) = (half(-1.0), half(1.0));
        ask.0 = ask.0.max(bid.0 + 1);
        let qty = Qty(pow10(self.qty_scale));
        let side = |price| Level { price, qty };
        touch(out, (close, close), side(bid), side(ask));
        Ok(())
    }

    /// Continuity was lost: a bar could not be read.
    pub(super) fn lost(&self, out: &mut Queue) {
        if self.closed.is_known() {
            out.push_back(gap(self.closed.plus(1), GapReason::Unparsable));
        }
    }

    fn candles(&mut self, bar: &Bar, close: Time, out: &mut Queue) {
        for filling in &mut self.fillings {
            let long_ns = filling.timeframe.seconds() * SECONDS;
            filling.bar = if bar.start.0.is_multiple_of(long_ns) {
                Some(*bar)
            } else {
                let follows = self.closed == bar.start;
                filling.bar.filter(|_| follows).map(|mut sum| {
                    sum.join(bar);
                    sum
                })
            };
            if !close.0.is_multiple_of(long_ns) {
                continue;
            }
            let Some(whole) = filling.bar.take() else {
                continue;
            };
            let candle = Candle {
                timeframe: filling.timeframe,
                first: filling.next != whole.start,
                start: whole.start,
                open: whole.open,
                high: whole.high,
                low: whole.low,
                close: whole.close,
                vwap: whole.vwap,
                volume: whole.volume,
                bought: whole.bought,
            };
            filling.next = close;
            out.push_back(heard(close, Body::Candle(candle)));
        }
    }

    /// Open, the extreme away from the close, the other one, and close; half of what buyers took at each of the
    /// first two, half of the rest at each of the last two.
    fn trades(&self, bar: &Bar, out: &mut Queue) {
        if bar.volume.0 == 0 {
            return;
        }
        let extremes = if bar.close >= bar.open {
            [bar.low, bar.high]
        } else {
            [bar.high, bar.low]
        };
        let sold = bar.volume.0 - bar.bought.0;
        let quarter = self.length_ns / 4;
        let prints = [
            (MILLIS, bar.open, bar.bought.0 / 2, Side::Buy),
            (
                quarter,
                extremes[0],
                bar.bought.0 - bar.bought.0 / 2,
                Side::Buy,
            ),
            (2 * quarter, extremes[1], sold / 2, Side::Sell),
            (
                self.length_ns - MILLIS,
                bar.close,
                sold - sold / 2,
                Side::Sell,
            ),
        ];
        for (after, price, qty, aggressor) in prints {
            let trade = Trade {
                id: 0,
                price,
                qty: Qty(qty.max(1)),
                aggressor,
            };
            out.push_back(heard(bar.start.plus(after), Body::Trade(trade)));
        }
    }
}
