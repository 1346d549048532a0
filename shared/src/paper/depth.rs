//! What an order meets: a verified book, a bare list of levels, or an L2 book kept row by row.

use serde::{Deserialize, Serialize};

use super::ladder::Ladder;
use crate::book::Book;
use crate::event::{Level, Side};
use crate::num::{Price, Qty};

/// A book to match against.
#[derive(Clone, Copy, Debug)]
pub enum Depth<'a> {
    /// The venue's book as the engine keeps it.
    Book(&'a Book),
    /// A book kept row by row.
    Rows(&'a Rows),
    /// A book made up from bars, best first.
    Levels {
        /// Bids, from high to low.
        bids: &'a [Level],
        /// Asks, from low to high.
        asks: &'a [Level],
    },
}

impl<'a> Depth<'a> {
    /// The best level of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        match (*self, side) {
            (Self::Book(book), _) => book.best(side),
            (Self::Rows(rows), _) => rows.best(side),
            (Self::Levels { bids, .. }, Side::Buy) => bids.first().copied(),
            (Self::Levels { asks, .. }, Side::Sell) => asks.first().copied(),
        }
    }

    /// The best price of a side.
    #[must_use]
    pub fn best_price(&self, side: Side) -> Option<Price> {
        match self {
            Self::Rows(rows) => rows.best_price(side),
            _ => self.best(side).map(|level| level.price),
        }
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + use<'a> {
        let (book, rows, made_up): (Option<&'a Book>, Option<&'a Rows>, &'a [Level]) =
            match (*self, side) {
                (Self::Book(book), _) => (Some(book), None, &[]),
                (Self::Rows(rows), _) => (None, Some(rows), &[]),
                (Self::Levels { bids, .. }, Side::Buy) => (None, None, bids),
                (Self::Levels { asks, .. }, Side::Sell) => (None, None, asks),
            };
        book.into_iter()
            .flat_map(move |book| book.levels(side))
            .chain(rows.into_iter().flat_map(move |rows| rows.levels(side)))
            .chain(made_up.iter().copied())
    }

    /// What stands at a price; zero when nothing does.
    #[must_use]
    pub fn qty_at(&self, side: Side, price: Price) -> Qty {
        if let Self::Rows(rows) = self {
            return rows.qty_at(side, price);
        }
        self.levels(side)
            .find(|level| level.price == price)
            .map_or(Qty(0), |level| level.qty)
    }

    /// Twice the mid price; 0 when a side is empty.
    #[must_use]
    pub fn double_mid(&self) -> i64 {
        match (self.best_price(Side::Buy), self.best_price(Side::Sell)) {
            (Some(bid), Some(ask)) => bid.0 + ask.0,
            _ => 0,
        }
    }

    /// Whether what stands at a price is known: a venue's book may be cut, and what lies beyond its
    /// worst level exists unseen.
    #[must_use]
    pub fn reaches(&self, side: Side, price: Price) -> bool {
        match self {
            Self::Book(book) => {
                let worst = book.levels(side).last();
                worst.is_some_and(|worst| side.sign() * (price.0 - worst.price.0) >= 0)
            }
            Self::Rows(_) | Self::Levels { .. } => true,
        }
    }

    /// Whether it was made up from bars.
    #[must_use]
    pub const fn is_synthetic(&self) -> bool {
        matches!(self, Self::Levels { .. })
    }

    /// Whether it may be believed.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Book(book) => book.is_live(),
            Self::Rows(_) | Self::Levels { .. } => true,
        }
    }
}

/// One level changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which side.
    pub side: Side,
    /// Where.
    pub price: Price,
    /// What stood there.
    pub prev_qty: Qty,
    /// What stands there now.
    pub new_qty: Qty,
    /// The best price of its side before.
    pub prev_best: Option<Price>,
    /// The best price of its side now.
    pub new_best: Option<Price>,
}

/// Levels a side of a book kept row by row; beyond, the farthest from the touch is forgotten.
pub const ROWS_KEPT: usize = 1 << 16;

/// An L2 book kept row by row, with the rules of hftbacktest 0.9.4's `HashMapMarketDepth`: a level
/// that crosses the other side moves that side's best away and leaves the crossed levels where they
/// are, out of date, until a row says something of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    bids: Half,
    asks: Half,
}

/// One side. Keys grow toward the touch: the price of a bid, the negated price of an ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Half {
    /// By key; at most [`ROWS_KEPT`].
    levels: Ladder,
    best: Option<i64>,
    /// The least key since the side was last empty.
    worst: Option<i64>,
}

impl Rows {
    /// An empty book.
    #[must_use]
    pub const fn new() -> Self {
        const EMPTY: Half = Half {
            levels: Ladder::new(),
            best: None,
            worst: None,
        };
        Self {
            bids: EMPTY,
            asks: EMPTY,
        }
    }

    const fn half(&self, side: Side) -> &Half {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// Sets a level; zero deletes it.
    pub fn update(&mut self, side: Side, price: Price, qty: Qty) -> Change {
        let (own, other) = match side {
            Side::Buy => (&mut self.bids, &mut self.asks),
            Side::Sell => (&mut self.asks, &mut self.bids),
        };
        let key = side.sign() * price.0;
        let price_of = |key: i64| Price(side.sign() * key);
        let prev_best = own.best.map(price_of);
        let prev_qty = own.set(key, qty);
        if qty.0 == 0 {
            if own.best == Some(key) {
                own.best = own.next_below(key);
                if own.best.is_none() {
                    own.worst = None;
                }
            }
        } else {
            if own.best.is_none_or(|best| key > best) {
                own.best = Some(key);
                // The other side's levels that this one crosses are out of date.
                if other.best.is_some_and(|best| best >= -key) {
                    other.best = other.next_below(-key);
                }
            }
            own.worst = Some(own.worst.map_or(key, |worst| worst.min(key)));
        }
        Change {
            side,
            price,
            prev_qty,
            new_qty: qty,
            prev_best,
            new_best: own.best.map(price_of),
        }
    }

    /// Forgets a side, or both.
    pub fn clear(&mut self, side: Option<Side>) {
        if side != Some(Side::Sell) {
            self.bids.clear();
        }
        if side != Some(Side::Buy) {
            self.asks.clear();
        }
    }

    /// The best level of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.levels(side).next()
    }

    /// The best price of a side.
    #[must_use]
    pub fn best_price(&self, side: Side) -> Option<Price> {
        let best = self.half(side).best;
        best.map(|best| Price(side.sign() * best))
    }

    /// What was last said of a price, out of date or not; zero when nothing stands there.
    #[must_use]
    pub fn qty_at(&self, side: Side, price: Price) -> Qty {
        let half = self.half(side);
        half.levels.get(side.sign() * price.0).unwrap_or(Qty(0))
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        let half = self.half(side);
        let levels = half.best.map(|best| half.levels.down_from(best));
        levels.into_iter().flatten().map(move |(key, qty)| Level {
            price: Price(side.sign() * key),
            qty,
        })
    }
}

impl Half {
    fn clear(&mut self) {
        self.levels.clear();
        self.best = None;
        self.worst = None;
    }

    /// Sets a level and gives what stood there.
    fn set(&mut self, key: i64, qty: Qty) -> Qty {
        let before = self.levels.set(key, qty);
        if self.levels.len() > ROWS_KEPT {
            self.levels.remove_first();
        }
        before
    }

    /// The greatest key below one and not below the worst.
    fn next_below(&self, key: i64) -> Option<i64> {
        let next = self.levels.below(key)?;
        self.worst
            .is_some_and(|worst| next >= worst)
            .then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const BUY: Side = Side::Buy;
    const SELL: Side = Side::Sell;

    /// The rules in their plainest form: a map a side, best prices found tick by tick.
    #[derive(Default)]
    struct Plain {
        bids: BTreeMap<i64, i64>,
        asks: BTreeMap<i64, i64>,
        bid: Option<i64>,
        ask: Option<i64>,
        low: Option<i64>,
        high: Option<i64>,
    }

    impl Plain {
        fn below(&self, from: i64) -> Option<i64> {
            let low = self.low?;
            (low..from).rev().find(|tick| self.bids.contains_key(tick))
        }

        fn above(&self, from: i64) -> Option<i64> {
            let high = self.high?;
            (from + 1..=high).find(|tick| self.asks.contains_key(tick))
        }

        fn update(&mut self, side: Side, tick: i64, qty: i64) {
            let map = match side {
                BUY => &mut self.bids,
                SELL => &mut self.asks,
            };
            if qty > 0 {
                map.insert(tick, qty);
            } else {
                map.remove(&tick);
            }
            match (side, qty) {
                (BUY, 0) if self.bid == Some(tick) => {
                    self.bid = self.below(tick);
                    self.low = self.low.filter(|_| self.bid.is_some());
                }
                (SELL, 0) if self.ask == Some(tick) => {
                    self.ask = self.above(tick);
                    self.high = self.high.filter(|_| self.ask.is_some());
                }
                (_, 0) => {}
                (BUY, _) => {
                    if self.bid.is_none_or(|bid| tick > bid) {
                        self.bid = Some(tick);
                        if self.ask.is_some_and(|ask| tick >= ask) {
                            self.ask = self.above(tick);
                        }
                    }
                    self.low = Some(self.low.map_or(tick, |low| low.min(tick)));
                }
                (SELL, _) => {
                    if self.ask.is_none_or(|ask| tick < ask) {
                        self.ask = Some(tick);
                        if self.bid.is_some_and(|bid| bid >= tick) {
                            self.bid = self.below(tick);
                        }
                    }
                    self.high = Some(self.high.map_or(tick, |high| high.max(tick)));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn rows_keep_the_rules_of_the_plain_map(
            rows in proptest::collection::vec((any::<bool>(), 90_i64..110, 0_i64..4), 1..120),
        ) {
            let (mut rows_book, mut plain) = (Rows::new(), Plain::default());
            for (buy, tick, qty) in rows {
                let side = if buy { BUY } else { SELL };
                let before = if buy { plain.bid } else { plain.ask };
                let map = if buy { &plain.bids } else { &plain.asks };
                let prev = map.get(&tick).copied().unwrap_or(0);
                plain.update(side, tick, qty);
                let after = if buy { plain.bid } else { plain.ask };
                let change = rows_book.update(side, Price(tick), Qty(qty));
                prop_assert_eq!(change, Change {
                    side,
                    price: Price(tick),
                    prev_qty: Qty(prev),
                    new_qty: Qty(qty),
                    prev_best: before.map(Price),
                    new_best: after.map(Price),
                });
                prop_assert_eq!(rows_book.best_price(BUY), plain.bid.map(Price));
                prop_assert_eq!(rows_book.best_price(SELL), plain.ask.map(Price));
                for (side, map) in [(BUY, &plain.bids), (SELL, &plain.asks)] {
                    for tick in 90..110 {
                        let want = map.get(&tick).copied().unwrap_or(0);
                        prop_assert_eq!(rows_book.qty_at(side, Price(tick)), Qty(want));
                    }
                }
            }
        }
    }

    #[test]
    fn a_crossing_level_leaves_the_crossed_ones_out_of_date() {
        let mut rows = Rows::new();
        for (price, qty) in [(101, 4), (102, 5), (103, 6)] {
            rows.update(SELL, Price(price), Qty(qty));
        }
        let change = rows.update(BUY, Price(102), Qty(1));
        assert_eq!(
            (change.prev_best, change.new_best),
            (None, Some(Price(102)))
        );
        assert_eq!(rows.best_price(SELL), Some(Price(103)));
        assert_eq!(rows.qty_at(SELL, Price(101)), Qty(4), "still there");
        let asks: Vec<_> = rows.levels(SELL).map(|level| level.price.0).collect();
        assert_eq!(asks, [103]);
        rows.clear(Some(SELL));
        assert_eq!(
            (rows.best(SELL), rows.best_price(BUY)),
            (None, Some(Price(102)))
        );
        rows.clear(None);
        assert_eq!(rows, Rows::new());
    }

    #[test]
    fn every_kind_of_book_answers_alike() {
        let mut rows = Rows::new();
        let level = |price, qty| Level {
            price: Price(price),
            qty: Qty(qty),
        };
        let (bids, asks) = (vec![level(100, 7), level(99, 8)], vec![level(101, 4)]);
        for bid in &bids {
            rows.update(BUY, bid.price, bid.qty);
        }
        rows.update(SELL, asks[0].price, asks[0].qty);
        let made_up = Depth::Levels {
            bids: &bids,
            asks: &asks,
        };
        for depth in [Depth::Rows(&rows), made_up] {
            assert_eq!(depth.best(BUY), Some(level(100, 7)));
            assert_eq!(depth.best_price(SELL), Some(Price(101)));
            assert_eq!(depth.qty_at(BUY, Price(99)), Qty(8));
            assert_eq!(depth.qty_at(BUY, Price(98)), Qty(0));
            assert_eq!((depth.double_mid(), depth.is_live()), (201, true));
            assert_eq!(depth.levels(BUY).collect::<Vec<_>>(), bids);
        }
        assert!(made_up.is_synthetic() && !Depth::Rows(&rows).is_synthetic());
        let stale = Book::new();
        let stale = Depth::Book(&stale);
        assert_eq!(
            (stale.best(BUY), stale.double_mid(), stale.is_live()),
            (None, 0, false)
        );
    }

    #[test]
    fn rows_are_bounded() {
        let mut rows = Rows::new();
        for price in (1..=ROWS_KEPT as i64 + 5).rev() {
            rows.update(BUY, Price(price), Qty(1));
        }
        assert_eq!(rows.levels(BUY).count(), ROWS_KEPT);
        assert_eq!(rows.best_price(BUY), Some(Price(ROWS_KEPT as i64 + 5)));
    }
}
