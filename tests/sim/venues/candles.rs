//! What a venue says of the past by REST: bars made of the trades since it began, and of a made-up,
//! unhurried past before them, in which every length of bar tells the same story.

use std::collections::BTreeMap;

use super::{Listing, query_value};
use crate::world::{Rng, SECOND, Side};

/// Minutes kept; what is older is told by the made-up past.
const MINUTES_KEPT: usize = 2 * 1_440;
/// Bars in one answer at most.
const MOST: u64 = 300;
/// Triangular waves of the made-up price: length in minutes, and height as a share of the price.
const WAVES: [(u64, f64); 5] = [
    (7, 0.0004),
    (45, 0.001),
    (310, 0.003),
    (2_900, 0.01),
    (41_000, 0.04),
];
/// Lots traded in a made-up minute, at most.
const MADE_UP_LOTS: u64 = 50_000;

/// A bar in ticks and lots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// Seconds since the epoch.
    pub(super) start: u64,
    pub(super) open: i64,
    pub(super) high: i64,
    pub(super) low: i64,
    pub(super) close: i64,
    /// Traded lots, and those that buyers took.
    pub(super) volume: i64,
    pub(super) bought: i64,
    /// Ticks times lots.
    pub(super) value: i128,
    pub(super) trades: u64,
}

impl Bar {
    fn add(&mut self, later: &Self) {
        self.high = self.high.max(later.high);
        self.low = self.low.min(later.low);
        self.close = later.close;
        self.volume += later.volume;
        self.bought += later.bought;
        self.value += later.value;
        self.trades += later.trades;
    }

    /// Traded value in quote units as text.
    pub(super) fn value(&self, listing: &Listing) -> String {
        let decimals = listing.instrument.price_decimals + listing.instrument.qty_decimals;
        let unit = 10_i128.pow(decimals);
        let cents = self.value * 100_000_000 / unit;
        format!("{}.{:08}", cents / 100_000_000, cents % 100_000_000)
    }

    /// The average price in ticks; the close of a bar without trades.
    pub(super) fn vwap(&self) -> i64 {
        if self.volume == 0 {
            return self.close;
        }
        i64::try_from(self.value / i128::from(self.volume)).expect("between low and high")
    }
}

/// The minutes of one market.
#[derive(Clone, Debug, Default)]
pub struct Candles {
    /// By minute since the epoch; only minutes in which something traded.
    minutes: BTreeMap<u64, Bar>,
}

impl Candles {
    pub(super) fn trade(&mut self, price: i64, qty: i64, taker: Side, now: u64) {
        let minute = now / (60 * SECOND);
        let trade = Bar {
            start: minute * 60,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: qty,
            bought: if taker == Side::Buy { qty } else { 0 },
            value: i128::from(price) * i128::from(qty),
            trades: 1,
        };
        let minutes = &mut self.minutes;
        minutes
            .entry(minute)
            .and_modify(|bar| bar.add(&trade))
            .or_insert(trade);
        if minutes.len() > MINUTES_KEPT {
            minutes.pop_first();
        }
    }

    /// The bar of this minute: what traded, else the last price again, else the made-up past.
    fn minute(&self, minute: u64) -> Option<Bar> {
        let (&first, begun) = self.minutes.first_key_value()?;
        if let Some(bar) = self.minutes.get(&minute) {
            return Some(*bar);
        }
        if minute < first {
            return Some(made_up(minute, first, begun.open));
        }
        let (_, last) = self.minutes.range(..minute).next_back()?;
        Some(Bar {
            start: minute * 60,
            open: last.close,
            high: last.close,
            low: last.close,
            volume: 0,
            bought: 0,
            value: 0,
            trades: 0,
            ..*last
        })
    }

    /// The bars of so many seconds up to the one that is not over yet, oldest first.
    pub(super) fn bars(&self, seconds: u64, count: u64, now: u64) -> Vec<Bar> {
        let (minutes, present) = ((seconds / 60).max(1), now / (60 * SECOND));
        let newest = present / minutes;
        let bar = |number: u64| {
            let first = number * minutes;
            let last = (first + minutes - 1).min(present);
            // A long bar of the made-up past is not worth all its minutes.
            let step = (minutes / 60).max(1) as usize;
            let mut parts = (first..=last)
                .step_by(step)
                .filter_map(|minute| self.minute(minute));
            let mut bar = parts.next()?;
            bar.start = first * 60;
            parts.for_each(|part| bar.add(&part));
            Some(bar)
        };
        let oldest = newest.saturating_sub(count.clamp(1, MOST));
        (oldest..=newest).filter_map(bar).collect()
    }

    /// The bars that a query with a start and an end in seconds asks for.
    pub(super) fn between(&self, seconds: u64, query: &str, keys: [&str; 2], now: u64) -> Vec<Bar> {
        let number = |key| query_value(query, key).and_then(|value| value.parse::<u64>().ok());
        let [start, end] = keys.map(number);
        let mut bars = self.bars(seconds, MOST, now);
        bars.retain(|bar| {
            start.is_none_or(|start| bar.start >= start) && end.is_none_or(|end| bar.start <= end)
        });
        bars
    }
}

/// A minute before the first trade, so that its price runs into that of the trade.
fn made_up(minute: u64, first: u64, price: i64) -> Bar {
    let at = |minute: u64| {
        let ticks = price as f64 * (1.0 + shape(minute) - shape(first));
        (ticks as i64).max(1)
    };
    let (open, close) = (at(minute), at(minute + 1));
    let mut rng = Rng::new(minute);
    let wick = |rng: &mut Rng| (price as u64 / 20_000).max(1).min(1 + rng.below(40)) as i64;
    let volume = 1 + rng.below(MADE_UP_LOTS) as i64;
    let (high, low) = (
        open.max(close) + wick(&mut rng),
        (open.min(close) - wick(&mut rng)).max(1),
    );
    Bar {
        start: minute * 60,
        open,
        high,
        low,
        close,
        volume,
        bought: rng.below(volume as u64) as i64,
        value: i128::from(open.midpoint(close)) * i128::from(volume),
        trades: 1 + rng.below(60),
    }
}

fn shape(minute: u64) -> f64 {
    WAVES
        .iter()
        .map(|(length, height)| {
            let phase = (minute % length) as f64 / *length as f64;
            (1.0 - (4.0 * phase - 2.0).abs()) * height
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * SECOND;

    #[test]
    fn bars_of_every_length_tell_one_story() {
        let mut candles = Candles::default();
        assert!(
            candles.bars(60, 10, 1_000 * MINUTE).is_empty(),
            "nothing is known yet"
        );
        let start = 1_000_003 * MINUTE;
        for (after, price, qty, taker) in [
            (5, 100_000, 3, Side::Buy),
            (7, 100_010, 2, Side::Sell),
            (130, 99_990, 5, Side::Buy),
        ] {
            candles.trade(price, qty, taker, start + after * SECOND);
        }
        let now = start + 200 * SECOND;
        let minutes = candles.bars(60, 5, now);
        assert_eq!(minutes.len(), 6, "the one that is not over is among them");
        let told = |bar: &Bar| {
            [
                bar.open, bar.high, bar.low, bar.close, bar.volume, bar.bought,
            ]
        };
        assert_eq!(
            told(&minutes[2]),
            [100_000, 100_010, 100_000, 100_010, 5, 3]
        );
        assert_eq!(
            told(&minutes[3]),
            [100_010, 100_010, 100_010, 100_010, 0, 0]
        );
        assert_eq!(told(&minutes[4]), [99_990, 99_990, 99_990, 99_990, 5, 5]);
        assert_eq!((minutes[2].vwap(), minutes[3].vwap()), (100_004, 100_010));
        assert_eq!(
            minutes[1].close, minutes[2].open,
            "the past runs into the present"
        );
        let five = candles.bars(300, 2, now);
        assert_eq!(five.last().map(|bar| bar.start % 300), Some(0));
        for pair in candles.bars(86_400, 100, now).windows(2) {
            assert_eq!(pair[0].start + 86_400, pair[1].start);
            assert!(pair[0].low <= pair[0].open.min(pair[0].close) && pair[0].low > 0);
            assert!(pair[0].high >= pair[0].open.max(pair[0].close));
        }
    }
}
