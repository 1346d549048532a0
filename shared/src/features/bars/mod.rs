//! Bars: by time on seven timeframes at once, and by activity.
//!
//! Bars of time are made of closed [`Second`]s: a bar closes with the second that ends it. A bar in
//! which nothing traded repeats the previous close with no volume; before the first trade there is no
//! bar. A bar of which more than [`UNSEEN_MAX_PERCENT`] was not seen is *holed*: from the moment that
//! is certain its timeframe knows nothing, and it starts anew with the next bar. Bars that a venue has
//! in its history may stand in for those that nobody saw ([`Bars::history`]).

mod activity;
mod timed;

use serde::{Deserialize, Serialize};

use super::indicators::Indicator;
use super::second::Second;
use super::table::array;
use super::{ALPHA158_TIMEFRAME, Values, View, alpha158};
use crate::event::Trade;
use crate::instrument::Instrument;
use crate::time::Time;
use activity::Activity;
pub use activity::ActivityFeature;
use timed::Timed;
pub use timed::{Refused, UNSEEN_MAX_PERCENT};

/// The lengths of time bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timeframe {
    /// A second.
    Second1,
    /// A minute.
    Minute1,
    /// Five minutes.
    Minute5,
    /// A quarter of an hour.
    Minute15,
    /// An hour.
    Hour1,
    /// Four hours.
    Hour4,
    /// A UTC day.
    Day1,
}

impl Timeframe {
    /// All of them, shortest first.
    pub const ALL: [Self; 7] = [
        Self::Second1,
        Self::Minute1,
        Self::Minute5,
        Self::Minute15,
        Self::Hour1,
        Self::Hour4,
        Self::Day1,
    ];

    /// Its name in feature names and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second1 => "1s",
            Self::Minute1 => "1m",
            Self::Minute5 => "5m",
            Self::Minute15 => "15m",
            Self::Hour1 => "1h",
            Self::Hour4 => "4h",
            Self::Day1 => "1d",
        }
    }

    /// Its length in seconds. Bars begin at multiples of it since the epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second1 => 1,
            Self::Minute1 => 60,
            Self::Minute5 => 300,
            Self::Minute15 => 900,
            Self::Hour1 => 3_600,
            Self::Hour4 => 14_400,
            Self::Day1 => 86_400,
        }
    }
}

/// Bars of a [`Series`].
pub const BARS_KEPT: usize = 64;

/// One bar, in quote units per base unit and in base units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Traded quantity in base units.
    pub volume: f64,
    /// Traded value in quote units.
    pub value: f64,
    /// The part of `volume` that buyers took.
    pub bought: f64,
}

/// The newest closed bars, column by column, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    #[serde(with = "array")]
    open: [f64; BARS_KEPT],
    #[serde(with = "array")]
    high: [f64; BARS_KEPT],
    #[serde(with = "array")]
    low: [f64; BARS_KEPT],
    #[serde(with = "array")]
    close: [f64; BARS_KEPT],
    #[serde(with = "array")]
    volume: [f64; BARS_KEPT],
    #[serde(with = "array")]
    value: [f64; BARS_KEPT],
    #[serde(with = "array")]
    bought: [f64; BARS_KEPT],
    len: usize,
}

impl Default for Series {
    fn default() -> Self {
        Self::new()
    }
}

impl Series {
    /// No bars.
    #[must_use]
    pub const fn new() -> Self {
        const EMPTY: [f64; BARS_KEPT] = [0.0; BARS_KEPT];
        Self {
            open: EMPTY,
            high: EMPTY,
            low: EMPTY,
            close: EMPTY,
            volume: EMPTY,
            value: EMPTY,
            bought: EMPTY,
            len: 0,
        }
    }

    /// Adds the newest bar; the oldest leaves a full series.
    pub fn push(&mut self, bar: &Bar) {
        let columns = [
            (&mut self.open, bar.open),
            (&mut self.high, bar.high),
            (&mut self.low, bar.low),
            (&mut self.close, bar.close),
            (&mut self.volume, bar.volume),
            (&mut self.value, bar.value),
            (&mut self.bought, bar.bought),
        ];
        for (column, value) in columns {
            // The newest stands last, so that every window is a slice.
            column.copy_within(1.., 0);
            column[BARS_KEPT - 1] = value;
        }
        self.len = (self.len + 1).min(BARS_KEPT);
    }

    /// How many bars there are, at most [`BARS_KEPT`].
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Opening prices, oldest first.
    #[must_use]
    pub fn open(&self) -> &[f64] {
        &self.open[BARS_KEPT - self.len..]
    }

    /// Highest prices, oldest first.
    #[must_use]
    pub fn high(&self) -> &[f64] {
        &self.high[BARS_KEPT - self.len..]
    }

    /// Lowest prices, oldest first.
    #[must_use]
    pub fn low(&self) -> &[f64] {
        &self.low[BARS_KEPT - self.len..]
    }

    /// Closing prices, oldest first.
    #[must_use]
    pub fn close(&self) -> &[f64] {
        &self.close[BARS_KEPT - self.len..]
    }

    /// Traded quantities, oldest first.
    #[must_use]
    pub fn volume(&self) -> &[f64] {
        &self.volume[BARS_KEPT - self.len..]
    }

    /// Traded values, oldest first.
    #[must_use]
    pub fn value(&self) -> &[f64] {
        &self.value[BARS_KEPT - self.len..]
    }

    /// The parts of the volumes that buyers took, oldest first.
    #[must_use]
    pub fn bought(&self) -> &[f64] {
        &self.bought[BARS_KEPT - self.len..]
    }
}

/// The bars of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    timed: [Timed; Timeframe::ALL.len()],
    alpha158: Values<{ alpha158::COUNT }>,
    activity: Activity,
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Bars {
    /// Nothing observed yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            timed: Timeframe::ALL.map(|_| Timed::new()),
            alpha158: Values::UNKNOWN,
            activity: Activity::new(),
        }
    }

    /// A trade.
    pub fn trade(&mut self, trade: &Trade, _instrument: &Instrument, at: Time) {
        self.activity.trade(trade, at);
    }

    /// A second is over.
    pub fn second(&mut self, second: &Second, instrument: &Instrument) {
        self.activity.second(second);
        for timeframe in Timeframe::ALL {
            let timed = &mut self.timed[timeframe as usize];
            let closed = timed.second(second, instrument, timeframe.seconds());
            if timeframe == ALPHA158_TIMEFRAME && closed {
                self.factors();
            }
        }
    }

    /// A closed bar of the venue's own history, which began at that second of the epoch, as known at
    /// `at`. With `anew` the timeframe is cleared first. It must follow the timeframe's last bar, or
    /// be its first. Live bars go on from there when they are contiguous. The live bar that was not
    /// observed from its beginning is skipped: to keep the history, give it once more, with that bar
    /// as its last, after the bar is over.
    ///
    /// # Errors
    /// [`Refused`] leaves everything as it was.
    pub fn history(
        &mut self,
        timeframe: Timeframe,
        bar_start_s: u64,
        bar: &Bar,
        anew: bool,
        at: Time,
    ) -> Result<(), Refused> {
        let timed = &mut self.timed[timeframe as usize];
        timed.history(bar_start_s, bar, anew, at, timeframe.seconds())?;
        if timeframe == ALPHA158_TIMEFRAME {
            self.factors();
        }
        Ok(())
    }

    fn factors(&mut self) {
        let series = self.timed[ALPHA158_TIMEFRAME as usize].series();
        self.alpha158 = Values::UNKNOWN;
        for (place, value) in alpha158::read(series).into_iter().enumerate() {
            self.alpha158.set(place, Some(value));
        }
    }

    /// Observation was interrupted. Bars of time learn it from the seconds.
    pub const fn interrupt(&mut self, _at: Time) {
        self.activity.interrupt();
    }

    /// Whether a timeframe has no bars.
    #[must_use]
    pub const fn is_empty(&self, timeframe: Timeframe) -> bool {
        self.timed[timeframe as usize].series().is_empty()
    }

    /// Features of bars by activity, at `view.at`.
    #[must_use]
    pub fn activity(&self, _view: &View<'_>) -> Values<{ ActivityFeature::COUNT }> {
        self.activity.read()
    }

    /// The closed bars of a timeframe.
    #[must_use]
    pub const fn series(&self, timeframe: Timeframe) -> &Series {
        self.timed[timeframe as usize].series()
    }

    /// The indicators of a timeframe, as its newest closed bar left them.
    #[must_use]
    pub const fn indicators(&self, timeframe: Timeframe) -> &Values<{ Indicator::COUNT }> {
        self.timed[timeframe as usize].values()
    }

    /// Alpha158 of [`ALPHA158_TIMEFRAME`], as its newest closed bar left it.
    #[must_use]
    pub fn alpha158(&self) -> &Values<{ alpha158::COUNT }> {
        const NOTHING: &Values<{ alpha158::COUNT }> = &Values::UNKNOWN;
        if self.timed[ALPHA158_TIMEFRAME as usize].series().is_empty() {
            return NOTHING;
        }
        &self.alpha158
    }
}

#[cfg(test)]
mod tests;
