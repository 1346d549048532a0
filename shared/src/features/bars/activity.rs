//! Bars by activity (Lopez de Prado 2018, 2.3): by trades, by quantity and by value.
//!
//! A bar closes with the trade that fills it; what that trade is over the threshold is not split off.
//! The threshold is a sixth of what happened in the [`TRAILING_S`] closed seconds before it was set,
//! which makes about one bar in ten seconds. It is set when so many seconds have been observed, and
//! again whenever a bar closes (unless nothing traded meanwhile); it never moves while a bar is open.

use serde::{Deserialize, Serialize};

use super::super::second::{Second, Trades};
use super::super::table::{array, rows};
use super::super::{BPS, Values};
use crate::event::Trade;
use crate::time::{MILLIS, SECONDS, Time};

rows! {
    /// Features of bars by activity.
    ActivityFeature {
        /// Tick bars: log return of the newest bar on the close before it.
        TickReturn: "tick_bar_return", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log return of the newest bar on the close before it";
        /// Tick bars: log of its seconds from first to last trade, at least a millisecond.
        TickDuration: "tick_bar_duration", Log, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log of its seconds from first to last trade, at least a millisecond";
        /// Tick bars: bought less sold by traded quantity.
        TickImbalance: "tick_bar_imbalance", Ratio, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: bought less sold by traded quantity";
        /// Tick bars: log of its high by its low.
        TickRange: "tick_bar_range", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log of its high by its low";
        /// Tick bars: log return of ten bars.
        TickReturn10: "tick_bar_return_10", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log return of ten bars";
        /// Tick bars: how far the open bar is.
        TickProgress: "tick_bar_progress", Share, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: how far the open bar is";
        /// Volume bars: log return of the newest bar on the close before it.
        VolumeReturn: "volume_bar_return", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log return of the newest bar on the close before it";
        /// Volume bars: log of its seconds from first to last trade, at least a millisecond.
        VolumeDuration: "volume_bar_duration", Log, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log of its seconds from first to last trade, at least a millisecond";
        /// Volume bars: bought less sold by traded quantity.
        VolumeImbalance: "volume_bar_imbalance", Ratio, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: bought less sold by traded quantity";
        /// Volume bars: log of its high by its low.
        VolumeRange: "volume_bar_range", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log of its high by its low";
        /// Volume bars: log return of ten bars.
        VolumeReturn10: "volume_bar_return_10", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log return of ten bars";
        /// Volume bars: how far the open bar is.
        VolumeProgress: "volume_bar_progress", Share, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: how far the open bar is";
        /// Dollar bars: log return of the newest bar on the close before it.
        DollarReturn: "dollar_bar_return", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log return of the newest bar on the close before it";
        /// Dollar bars: log of its seconds from first to last trade, at least a millisecond.
        DollarDuration: "dollar_bar_duration", Log, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log of its seconds from first to last trade, at least a millisecond";
        /// Dollar bars: bought less sold by traded quantity.
        DollarImbalance: "dollar_bar_imbalance", Ratio, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: bought less sold by traded quantity";
        /// Dollar bars: log of its high by its low.
        DollarRange: "dollar_bar_range", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log of its high by its low";
        /// Dollar bars: log return of ten bars.
        DollarReturn10: "dollar_bar_return_10", Bps, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: log return of ten bars";
        /// Dollar bars: how far the open bar is.
        DollarProgress: "dollar_bar_progress", Share, "bars_per_minute=6", "Lopez de Prado (2018), 2.3: how far the open bar is";
    }
}

/// Seconds of activity that set a threshold.
const TRAILING_S: usize = 60;
/// Bars that so much activity makes.
const BARS_PER_MINUTE: i128 = 6;
/// Closes kept: the newest and those of ten bars before.
const CLOSES: usize = 11;
/// Rows of each kind.
const ROWS_EACH: usize = ActivityFeature::COUNT / 3;

/// Trades, quantity and value.
type Amounts = [i128; 3];

const fn amounts(trades: &Trades) -> Amounts {
    [
        trades.count as i128,
        trades.volume().0 as i128,
        trades.value,
    ]
}

/// Bars of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Builder {
    /// 0 until one is known.
    threshold: i128,
    open: Option<(Trades, Time)>,
    newest: Option<(Trades, u64)>,
    /// Newest last.
    closes: [i64; CLOSES],
    bars: u32,
}

impl Builder {
    const NEW: Self = Self {
        threshold: 0,
        open: None,
        newest: None,
        closes: [0; CLOSES],
        bars: 0,
    };

    const fn set(&mut self, trailing: i128) {
        if trailing > 0 {
            let part = trailing / BARS_PER_MINUTE;
            self.threshold = if part > 0 { part } else { 1 };
        }
    }

    fn trade(&mut self, trade: &Trades, at: Time, kind: usize, trailing: i128) {
        if self.threshold == 0 {
            return;
        }
        let (trades, since) = match self.open.take() {
            Some((mut trades, since)) => {
                trades.add(trade);
                (trades, since)
            }
            None => (*trade, at),
        };
        if amounts(&trades)[kind] < self.threshold {
            self.open = Some((trades, since));
            return;
        }
        self.newest = Some((trades, at.0.saturating_sub(since.0)));
        self.closes.copy_within(1.., 0);
        self.closes[CLOSES - 1] = trades.close.0;
        self.bars = self.bars.saturating_add(1);
        self.set(trailing);
    }

    fn read(&self, kind: usize, values: &mut Values<{ ActivityFeature::COUNT }>) {
        let at = kind * ROWS_EACH;
        let back = |bars: usize| {
            let known = self.bars as usize > bars;
            known
                .then(|| log_bps(self.closes[CLOSES - 1], self.closes[CLOSES - 1 - bars]))
                .flatten()
        };
        values.set(at, back(1));
        values.set(at + 4, back(CLOSES - 1));
        if let Some((trades, duration)) = &self.newest {
            let lasted = (*duration).max(MILLIS) as f64 / SECONDS as f64;
            values.set(at + 1, Some(libm::log(lasted)));
            let volume = trades.volume().0 as f64;
            let signed = trades.bought.0 as f64 - trades.sold.0 as f64;
            values.set(at + 2, (volume > 0.0).then(|| signed / volume));
            values.set(at + 3, log_bps(trades.high.0, trades.low.0));
        }
        let done = self.open.map_or(0, |(trades, _)| amounts(&trades)[kind]);
        let progress = (self.threshold > 0).then(|| done as f64 / self.threshold as f64);
        values.set(at + 5, progress);
    }
}

fn log_bps(price: i64, base: i64) -> Option<f64> {
    (price > 0 && base > 0).then(|| libm::log(price as f64 / base as f64) * BPS)
}

/// The three kinds of one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Activity {
    #[serde(with = "array")]
    seconds: [Amounts; TRAILING_S],
    newest: usize,
    observed: usize,
    sums: Amounts,
    builders: [Builder; 3],
}

impl Activity {
    pub(super) const fn new() -> Self {
        Self {
            seconds: [[0; 3]; TRAILING_S],
            newest: 0,
            observed: 0,
            sums: [0; 3],
            builders: [Builder::NEW; 3],
        }
    }

    pub(super) const fn interrupt(&mut self) {
        *self = Self::new();
    }

    pub(super) fn trade(&mut self, trade: &Trade, at: Time) {
        let trade = Trades::of(trade);
        for (kind, builder) in self.builders.iter_mut().enumerate() {
            builder.trade(&trade, at, kind, self.sums[kind]);
        }
    }

    pub(super) fn second(&mut self, second: &Second) {
        if !second.seen {
            self.interrupt();
            return;
        }
        self.newest = (self.newest + 1) % TRAILING_S;
        let amounts = second.trades.as_ref().map_or([0; 3], amounts);
        for (kind, amount) in amounts.into_iter().enumerate() {
            self.sums[kind] = self.sums[kind]
                .saturating_add(amount)
                .saturating_sub(self.seconds[self.newest][kind]);
        }
        self.seconds[self.newest] = amounts;
        self.observed = (self.observed + 1).min(TRAILING_S);
        if self.observed == TRAILING_S {
            for (builder, trailing) in self.builders.iter_mut().zip(self.sums) {
                if builder.threshold == 0 {
                    builder.set(trailing);
                }
            }
        }
    }

    pub(super) fn read(&self) -> Values<{ ActivityFeature::COUNT }> {
        let mut values = Values::UNKNOWN;
        for (kind, builder) in self.builders.iter().enumerate() {
            builder.read(kind, &mut values);
        }
        values
    }
}
