//! Features of the book alone.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{BPS, Values, View};
use crate::book::Book;
use crate::event::{Level, Side};

/// Levels a side that book features look at.
pub const LEVELS: usize = 10;

rows! {
    /// Features of the book as it stands.
    BookFeature {
        /// [`imbalance`] of the best level.
        Imbalance1: "book_imbalance_1", Ratio, "levels=1", "Cao, Hansch, Wang (2009)";
        /// [`imbalance`] of five levels.
        Imbalance5: "book_imbalance_5", Ratio, "levels=5", "Cao, Hansch, Wang (2009)";
        /// [`imbalance`] of ten levels.
        Imbalance10: "book_imbalance_10", Ratio, "levels=10", "Cao, Hansch, Wang (2009)";
        /// [`microprice_deviation`].
        MicropriceDeviation: "microprice_deviation", Bps, "", "Stoikov (2018), first approximation";
        /// [`spread`].
        Spread: "spread", Bps, "", "quoted spread";
    }
}

/// The best levels of a live book with both sides, best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    bids: heapless::Vec<Level, LEVELS>,
    asks: heapless::Vec<Level, LEVELS>,
}

impl Top {
    /// `None` while the book is stale or one-sided.
    #[must_use]
    pub fn of(book: &Book) -> Option<Self> {
        let side = |side| book.levels(side).take(LEVELS).collect();
        let (bids, asks): (heapless::Vec<_, _>, heapless::Vec<_, _>) =
            (side(Side::Buy), side(Side::Sell));
        (!bids.is_empty() && !asks.is_empty()).then_some(Self { bids, asks })
    }

    /// Up to [`LEVELS`] levels of a side, at least one.
    #[must_use]
    pub fn side(&self, side: Side) -> &[Level] {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// The best bid.
    #[must_use]
    pub fn bid(&self) -> Level {
        self.bids[0]
    }

    /// The best ask.
    #[must_use]
    pub fn ask(&self) -> Level {
        self.asks[0]
    }

    /// Twice the mid price, exact.
    #[must_use]
    pub fn double_mid(&self) -> i64 {
        self.bid().price.0 + self.ask().price.0
    }
}

/// The features of a book.
#[must_use]
pub fn read(view: &View<'_>) -> Values<{ BookFeature::COUNT }> {
    let (touch, ladder) = (Touch::of(view.top), Ladder::of(view.top));
    let mut values = Values::UNKNOWN;
    values.set(BookFeature::Imbalance1, imbalance(&ladder, 1));
    values.set(BookFeature::Imbalance5, imbalance(&ladder, 5));
    values.set(BookFeature::Imbalance10, imbalance(&ladder, 10));
    values.set(
        BookFeature::MicropriceDeviation,
        microprice_deviation(&touch),
    );
    values.set(BookFeature::Spread, Some(spread(&touch)));
    values
}

/// The best levels of both sides, in the instrument's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    bid: f64,
    ask: f64,
    bid_qty: f64,
    ask_qty: f64,
}

impl Touch {
    /// Of the best levels.
    #[must_use]
    pub fn of(top: &Top) -> Self {
        let (bid, ask) = (top.bid(), top.ask());
        Self {
            bid: bid.price.0 as f64,
            ask: ask.price.0 as f64,
            bid_qty: bid.qty.0 as f64,
            ask_qty: ask.qty.0 as f64,
        }
    }

    /// The mid price, in units of the instrument's price.
    #[must_use]
    pub fn mid(&self) -> f64 {
        f64::midpoint(self.bid, self.ask)
    }
}

/// Cumulated quantities of the best levels: entry `n` is the sum over the best `n + 1` levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    bids: [i64; LEVELS],
    asks: [i64; LEVELS],
}

impl Ladder {
    /// Of the best levels; a side with fewer repeats its total.
    #[must_use]
    pub fn of(top: &Top) -> Self {
        Self {
            bids: cumulate(top.side(Side::Buy).iter().copied()),
            asks: cumulate(top.side(Side::Sell).iter().copied()),
        }
    }
}

fn cumulate(levels: impl Iterator<Item = Level>) -> [i64; LEVELS] {
    let mut sums = [0; LEVELS];
    let (mut total, mut filled) = (0_i64, 0);
    levels.take(LEVELS).for_each(|level| {
        total = total.saturating_add(level.qty.0);
        sums[filled] = total;
        filled += 1;
    });
    sums[filled..].fill(total);
    sums
}

/// Order-book imbalance over the best `levels` levels: `(bids - asks) / (bids + asks)` of their
/// quantities, in `[-1, 1]`.
///
/// Source: Cao, Hansch and Wang, "The information content of an open limit-order book", Journal of
/// Futures Markets 29 (2009); the one-level form in Cartea, Jaimungal and Penalva (2015), 3.5.
#[must_use]
pub fn imbalance(ladder: &Ladder, levels: usize) -> Option<f64> {
    let (bids, asks) = (ladder.bids[levels - 1], ladder.asks[levels - 1]);
    let total = bids as f64 + asks as f64;
    (total > 0.0).then(|| (bids as f64 - asks as f64) / total)
}

/// How far the quantity-weighted mid `(a·Pb + b·Pa) / (a + b)` lies above the mid, in basis points;
/// `a` and `b` are the quantities at the ask `Pa` and the bid `Pb`.
///
/// Source: Stoikov, "The micro-price", Quantitative Finance 18 (2018), as its first approximation.
#[must_use]
pub fn microprice_deviation(touch: &Touch) -> Option<f64> {
    let total = touch.bid_qty + touch.ask_qty;
    let weighted = (touch.ask_qty * touch.bid + touch.bid_qty * touch.ask) / total;
    (total > 0.0).then(|| (weighted / touch.mid() - 1.0) * BPS)
}

/// The quoted spread in basis points of the mid.
#[must_use]
pub fn spread(touch: &Touch) -> f64 {
    (touch.ask - touch.bid) / touch.mid() * BPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_on_their_definitions() {
        let touch = Touch {
            bid: 99.0,
            ask: 101.0,
            bid_qty: 3.0,
            ask_qty: 1.0,
        };
        assert_eq!(touch.mid(), 100.0);
        assert!((spread(&touch) - 200.0).abs() < 1e-9);
        // (1·99 + 3·101) / 4 = 100.5, half a percent of a percent above 100.
        assert!((microprice_deviation(&touch).expect("sizes") - 50.0).abs() < 1e-9);
        let ladder = Ladder {
            bids: [3; LEVELS],
            asks: [1; LEVELS],
        };
        assert_eq!(imbalance(&ladder, 5), Some(0.5));
        assert_eq!(
            imbalance(
                &Ladder {
                    bids: [0; LEVELS],
                    asks: [0; LEVELS]
                },
                1
            ),
            None
        );
    }

    #[test]
    fn a_short_side_repeats_its_total() {
        let level = |qty| Level {
            qty: crate::num::Qty(qty),
            ..Level::default()
        };
        let sums = cumulate([level(2), level(3)].into_iter());
        assert_eq!(sums, [2, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    }
}
