//! Bars: by time on seven timeframes at once, and by activity.

use serde::{Deserialize, Serialize};

use super::indicators::{Indicator, Indicators};
use super::second::Second;
use super::table::{array, rows};
use super::{ALPHA158_TIMEFRAME, Values, View, alpha158};
use crate::event::Trade;
use crate::instrument::Instrument;
use crate::time::Time;

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

rows! {
    /// Features of bars by activity.
    ActivityFeature {
        /// Placeholder.
        Placeholder: "activity_placeholder", Number, "", "";
    }
}

/// Why a bar of history is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Placeholder.
    LookAhead,
}

/// The bars of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    values: [Values<{ Indicator::COUNT }>; Timeframe::ALL.len()],
    alpha158: Values<{ alpha158::COUNT }>,
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Bars {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            values: [Values::UNKNOWN; Timeframe::ALL.len()],
            alpha158: Values::UNKNOWN,
        }
    }

    /// A trade.
    pub fn trade(&mut self, _trade: &Trade, _instrument: &Instrument, _at: Time) {}

    /// A second is over.
    pub fn second(&mut self, _second: &Second, _instrument: &Instrument) {
        let _ = (Indicators::new(), ALPHA158_TIMEFRAME);
    }

    /// Observation was interrupted.
    pub fn interrupt(&mut self, _at: Time) {}

    /// Whether a timeframe has no bars.
    #[must_use]
    pub const fn is_empty(&self, _timeframe: Timeframe) -> bool {
        true
    }

    /// One closed bar of the venue's own history.
    ///
    /// # Errors
    /// [`Refused`] when it does not fit.
    pub const fn history(
        &mut self,
        _timeframe: Timeframe,
        _start_s: u64,
        _bar: &Bar,
        _anew: bool,
        _at: Time,
    ) -> Result<(), Refused> {
        Ok(())
    }

    /// Features of bars by activity, at `view.at`.
    #[must_use]
    pub fn activity(&self, _view: &View<'_>) -> Values<{ ActivityFeature::COUNT }> {
        Values::UNKNOWN
    }

    /// The indicators of a timeframe, as its newest closed bar left them.
    #[must_use]
    pub const fn indicators(&self, timeframe: Timeframe) -> &Values<{ Indicator::COUNT }> {
        &self.values[timeframe as usize]
    }

    /// Alpha158 of [`ALPHA158_TIMEFRAME`], as its newest closed bar left it.
    #[must_use]
    pub const fn alpha158(&self) -> &Values<{ alpha158::COUNT }> {
        &self.alpha158
    }
}
