//! What an order meets: a verified book, a bare list of levels, or an L2 book kept row by row.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

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
    levels: Vec<(i64, Qty)>,
    best: Option<i64>,
    /// The least key since the side was last empty.
    worst: Option<i64>,
}

impl Rows {
    /// An empty book.
    #[must_use]
    pub const fn new() -> Self {
        const EMPTY: Half = Half {
            levels: Vec::new(),
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
        half.find(side.sign() * price.0)
            .map_or(Qty(0), |index| half.levels[index].1)
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        let half = self.half(side);
        let end = half.best.map_or(0, |best| {
            half.levels.partition_point(|level| level.0 <= best)
        });
        half.levels[..end]
            .iter()
            .rev()
            .map(move |&(key, qty)| Level {
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

    fn find(&self, key: i64) -> Result<usize, usize> {
        self.levels.binary_search_by_key(&key, |level| level.0)
    }

    /// Sets a level and gives what stood there.
    fn set(&mut self, key: i64, qty: Qty) -> Qty {
        match self.find(key) {
            Ok(index) if qty.0 == 0 => self.levels.remove(index).1,
            Ok(index) => core::mem::replace(&mut self.levels[index].1, qty),
            Err(_) if qty.0 == 0 => Qty(0),
            Err(index) => {
                self.levels.insert(index, (key, qty));
                if self.levels.len() > ROWS_KEPT {
                    self.levels.remove(0);
                }
                Qty(0)
            }
        }
    }

    /// The greatest key below one and not below the worst.
    fn next_below(&self, key: i64) -> Option<i64> {
        let end = self.levels.partition_point(|level| level.0 < key);
        let next = self.levels[..end].last()?.0;
        self.worst
            .is_some_and(|worst| next >= worst)
            .then_some(next)
    }
}
