//! Bars of one timeframe.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::super::Values;
use super::super::indicators::{Indicator, Indicators};
use super::super::second::{Second, Trades};
use super::{BARS_KEPT, Bar, Series};
use crate::instrument::Instrument;
use crate::num::pow10;
use crate::time::{SECONDS, Time};

/// The part of a bar, in percent, that may be unseen.
pub const UNSEEN_MAX_PERCENT: u64 = 1;
/// The largest price, quantity or value of a bar of history, and the inverse of the smallest price:
/// whatever is computed from such bars is finite.
const NUMBER_MAX: f64 = 1e20;

/// Why a bar of history was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It ends in the future, or after the live bar began.
    LookAhead,
    /// It does not begin where a bar of its timeframe begins, or does not follow the last one.
    OutOfOrder,
    /// Its numbers are no bar: not finite, out of all scale, or high and low do not hold the rest.
    Invalid,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookAhead => "the bar is not over",
            Self::OutOfOrder => "the bar does not follow the last one",
            Self::Invalid => "the numbers are no bar",
        })
    }
}

impl core::error::Error for Refused {}

/// The bar that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    start_s: u64,
    /// Seconds of it that nobody saw.
    unseen: u64,
    trades: Option<Trades>,
}

/// The bars of one timeframe and their indicators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Timed {
    series: Series,
    indicators: Indicators,
    values: Values<{ Indicator::COUNT }>,
    open: Option<Open>,
    /// The second that comes next.
    expected_s: u64,
    /// Where the bar after the newest of the series begins.
    next_s: u64,
    /// Newest bars without trades.
    empty: usize,
}

const fn is_holed(unseen: u64, length_s: u64) -> bool {
    unseen * 100 > length_s * UNSEEN_MAX_PERCENT
}

impl Timed {
    pub(super) fn new() -> Self {
        Self {
            series: Series::new(),
            indicators: Indicators::new(),
            values: Values::UNKNOWN,
            open: None,
            expected_s: 0,
            next_s: 0,
            empty: 0,
        }
    }

    pub(super) const fn series(&self) -> &Series {
        &self.series
    }

    pub(super) const fn values(&self) -> &Values<{ Indicator::COUNT }> {
        &self.values
    }

    /// Everything but the open bar.
    fn forget(&mut self) {
        if !self.series.is_empty() {
            self.series = Series::new();
            self.indicators = Indicators::new();
            self.values = Values::UNKNOWN;
        }
        self.empty = 0;
    }

    /// A second is over. Tells whether the series has a new bar.
    pub(super) fn second(
        &mut self,
        second: &Second,
        instrument: &Instrument,
        length_s: u64,
    ) -> bool {
        let number = second.number;
        let start_s = number - number % length_s;
        if number < self.expected_s {
            // Time went back.
            self.open = None;
            self.forget();
        }
        let mut open = match self.open.take() {
            Some(mut open) if open.start_s == start_s => {
                open.unseen += number - self.expected_s;
                open
            }
            _ => {
                if !self.series.is_empty() && self.next_s != start_s {
                    self.forget();
                }
                Open {
                    start_s,
                    unseen: number - start_s,
                    trades: None,
                }
            }
        };
        self.expected_s = number + 1;
        open.unseen += u64::from(!second.seen);
        match (&mut open.trades, &second.trades) {
            (Some(trades), Some(later)) => trades.add(later),
            (trades @ None, later) => *trades = *later,
            (Some(_), None) => {}
        }
        if self.expected_s != start_s + length_s {
            self.open = Some(open);
            return false;
        }
        if is_holed(open.unseen, length_s) {
            self.forget();
            return false;
        }
        let before = self.series.close().last().copied();
        let bar = match (&open.trades, before) {
            (Some(trades), _) => bar(trades, instrument),
            (None, Some(close)) => flat(close),
            (None, None) => return false,
        };
        self.push(start_s, &bar, length_s)
    }

    /// Tells whether the timeframe still has bars.
    fn push(&mut self, start_s: u64, bar: &Bar, length_s: u64) -> bool {
        self.empty = if bar.volume > 0.0 { 0 } else { self.empty + 1 };
        if self.empty >= BARS_KEPT || !is_bar(bar) {
            self.forget();
            return false;
        }
        self.series.push(bar);
        self.next_s = start_s + length_s;
        self.values = self.indicators.close(&self.series, start_s).values();
        true
    }

    pub(super) fn history(
        &mut self,
        start_s: u64,
        bar: &Bar,
        anew: bool,
        at: Time,
        length_s: u64,
    ) -> Result<(), Refused> {
        let end_s = start_s.checked_add(length_s).ok_or(Refused::LookAhead)?;
        let now_s = at.0 / SECONDS;
        // A bar that should be over and is still open was left when observation fell idle: it is no
        // longer live, and the venue's own may stand in for it.
        let open = self.open.as_ref().map(|open| open.start_s);
        let live = open.filter(|start_s| start_s + length_s > now_s);
        if end_s > now_s || live.is_some_and(|live| end_s > live) {
            return Err(Refused::LookAhead);
        }
        let follows = anew || self.series.is_empty() || self.next_s == start_s;
        if !start_s.is_multiple_of(length_s) || !follows {
            return Err(Refused::OutOfOrder);
        }
        if !is_bar(bar) {
            return Err(Refused::Invalid);
        }
        if anew {
            self.forget();
        }
        self.push(start_s, bar, length_s);
        Ok(())
    }
}

fn is_bar(bar: &Bar) -> bool {
    let prices = [bar.open, bar.high, bar.low, bar.close];
    let amounts = [bar.volume, bar.value, bar.bought];
    prices
        .iter()
        .all(|price| (1.0 / NUMBER_MAX..=NUMBER_MAX).contains(price))
        && amounts
            .iter()
            .all(|amount| (0.0..=NUMBER_MAX).contains(amount))
        && bar.bought <= bar.volume
        && prices
            .iter()
            .all(|price| (bar.low..=bar.high).contains(price))
}

fn bar(trades: &Trades, instrument: &Instrument) -> Bar {
    let (price, qty) = (
        pow10(instrument.price_scale) as f64,
        pow10(instrument.qty_scale) as f64,
    );
    Bar {
        open: trades.open.0 as f64 / price,
        high: trades.high.0 as f64 / price,
        low: trades.low.0 as f64 / price,
        close: trades.close.0 as f64 / price,
        volume: trades.volume().0 as f64 / qty,
        value: trades.value as f64 / (price * qty),
        bought: trades.bought.0 as f64 / qty,
    }
}

const fn flat(close: f64) -> Bar {
    Bar {
        open: close,
        high: close,
        low: close,
        close,
        volume: 0.0,
        value: 0.0,
        bought: 0.0,
    }
}
