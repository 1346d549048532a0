//! What we took from the book and the book does not show, so that nothing is taken twice.
//!
//! A paper order leaves no trace at the venue: the next message shows the quantity that it took as if
//! nothing had happened. Here the quantity is remembered per level and missing from what is available.
//! It comes back evenly over a time, as the venue's own levels would be refilled.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::depth::Depth;
use crate::event::Side;
use crate::num::{Price, Qty};
use crate::time::Time;

/// Levels of one instrument whose consumption is remembered; beyond, the oldest is forgotten.
pub const LEVELS_CONSUMED: usize = 64;

/// What was taken from the levels of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumption {
    levels: Vec<Taken, LEVELS_CONSUMED>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    side: Side,
    price: Price,
    qty: Qty,
    since: Time,
}

impl Taken {
    /// What is still missing at a time.
    fn at(&self, now: Time, period_ns: u64) -> Qty {
        let age = now.0.saturating_sub(self.since.0);
        if age >= period_ns {
            return Qty(0);
        }
        let rest = i128::from(self.qty.0) * i128::from(period_ns - age);
        // Rounded up: a remainder of less than a unit is still missing.
        let period = i128::from(period_ns);
        Qty(crate::num::saturate((rest + period - 1) / period))
    }

    /// Older, then farther from the touch: what is forgotten first.
    const fn rank(&self) -> (Time, i64) {
        (self.since, self.side.sign() * self.price.0)
    }
}

impl Consumption {
    /// Nothing was taken.
    #[must_use]
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    fn find(&self, side: Side, price: Price) -> Option<usize> {
        let same = |taken: &Taken| taken.side == side && taken.price == price;
        self.levels.iter().position(same)
    }

    /// What is available of a level that shows `displayed`.
    #[must_use]
    pub fn available(
        &self,
        side: Side,
        price: Price,
        displayed: Qty,
        now: Time,
        period_ns: u64,
    ) -> Qty {
        let taken = self.find(side, price);
        let taken = taken.map_or(0, |place| self.levels[place].at(now, period_ns).0);
        Qty((displayed.0 - taken).max(0))
    }

    /// Remembers that so much of a level was taken. Nothing is remembered for a period of 0.
    pub fn take(&mut self, side: Side, price: Price, qty: Qty, now: Time, period_ns: u64) {
        if period_ns == 0 || qty.0 <= 0 {
            return;
        }
        let mut taken = Taken {
            side,
            price,
            qty,
            since: now,
        };
        if let Some(place) = self.find(side, price) {
            taken.qty.0 += self.levels[place].at(now, period_ns).0;
            self.levels[place] = taken;
            return;
        }
        self.levels.retain(|taken| taken.at(now, period_ns).0 > 0);
        if self.levels.is_full() {
            let ranks = self.levels.iter().map(Taken::rank).enumerate();
            match ranks.min_by_key(|(_, rank)| *rank) {
                Some((place, rank)) if rank <= taken.rank() => {
                    self.levels.swap_remove(place);
                }
                _ => return,
            }
        }
        let pushed = self.levels.push(taken);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// A level shows so much now: no more than that can be missing, and nothing of a level that is
    /// gone.
    pub fn cap(&mut self, side: Side, price: Price, displayed: Qty, now: Time, period_ns: u64) {
        let Some(place) = self.find(side, price) else {
            return;
        };
        let missing = self.levels[place].at(now, period_ns).0;
        if displayed.0 <= 0 || missing == 0 {
            self.levels.swap_remove(place);
        } else if missing > displayed.0 {
            self.levels[place].qty = displayed;
            self.levels[place].since = now;
        }
    }

    /// The whole book was replaced.
    pub(super) fn recap(&mut self, depth: &Depth<'_>, now: Time, period_ns: u64) {
        for place in (0..self.levels.len()).rev() {
            let Taken { side, price, .. } = self.levels[place];
            self.cap(side, price, depth.qty_at(side, price), now, period_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 1_000;

    fn available(book: &Consumption, price: i64, displayed: i64, now: u64) -> i64 {
        book.available(Side::Sell, Price(price), Qty(displayed), Time(now), PERIOD)
            .0
    }

    #[test]
    fn what_was_taken_is_missing_and_comes_back() {
        let mut book = Consumption::new();
        book.take(Side::Sell, Price(100), Qty(8), Time(0), PERIOD);
        assert_eq!(available(&book, 100, 10, 0), 2);
        assert_eq!(available(&book, 100, 10, 500), 6);
        assert_eq!(available(&book, 100, 10, 999), 9, "rounded up");
        assert_eq!(available(&book, 100, 10, 1_000), 10);
        assert_eq!(available(&book, 101, 10, 0), 10, "another level");
        let bids = book.available(Side::Buy, Price(100), Qty(10), Time(0), PERIOD);
        assert_eq!(bids, Qty(10), "the other side");
        book.take(Side::Sell, Price(100), Qty(1), Time(500), PERIOD);
        assert_eq!(available(&book, 100, 10, 500), 5, "half of 8, and 1");
        assert_eq!(available(&book, 100, 3, 500), 0, "never negative");
    }

    #[test]
    fn a_level_misses_no_more_than_it_shows() {
        let mut book = Consumption::new();
        book.take(Side::Sell, Price(100), Qty(8), Time(0), PERIOD);
        book.cap(Side::Sell, Price(100), Qty(3), Time(0), PERIOD);
        assert_eq!(available(&book, 100, 20, 0), 17);
        book.cap(Side::Sell, Price(100), Qty(0), Time(0), PERIOD);
        assert_eq!(available(&book, 100, 20, 0), 20);
        assert!(book.is_empty());
    }

    #[test]
    fn the_oldest_and_farthest_is_forgotten_first() {
        let mut book = Consumption::new();
        for step in 0..=LEVELS_CONSUMED as i64 {
            book.take(Side::Sell, Price(100 + step), Qty(1), Time(5), PERIOD);
        }
        let farthest = 100 + LEVELS_CONSUMED as i64;
        assert_eq!(available(&book, 100, 1, 5), 0, "the touch is kept");
        assert_eq!(available(&book, farthest, 1, 5), 1);
        book.take(Side::Sell, Price(1_000), Qty(1), Time(6), PERIOD);
        assert_eq!(available(&book, 1_000, 1, 6), 0, "newer than the others");
        assert_eq!(available(&book, farthest - 1, 1, 6), 1);
        book.take(Side::Sell, Price(2_000), Qty(1), Time(9), 0);
        assert_eq!(available(&book, 2_000, 1, 9), 1, "switched off");
    }
}
