//! One instrument's order book: verified after every message, silent when in doubt.
//!
//! Each side is a sorted array of fixed capacity with the best level last, so that what happens at
//! the touch (almost everything) moves no memory, and nothing is ever allocated. A book that has lost
//! continuity is [`State::Stale`] and answers every question about prices with `None` until a
//! snapshot arrives. Crossed books, checksums and contradictions with the best-bid/ask stream are
//! found here, after the last part of a message, never in between.
//!
//! Where the venue has a best-bid/ask stream it runs ahead of the batched depth stream, so
//! [`Book::levels`] shows the two fused: the newest touch first, then the depth levels behind it.

mod digits;
mod ladder;

use heapless::Deque;
use serde::{Deserialize, Serialize};

use crate::event::{Checksum, Depth, DepthKind, Gap, GapReason, Level, Side, Touch};
use crate::instrument::Instrument;
use crate::num::{Price, Qty, pow10};
use crate::time::Time;
use digits::{Digits, bytes_for};
use ladder::Ladder;

/// Levels kept a side. What lies beyond is dropped and remembered as a horizon.
pub const BOOK_LEVELS: usize = 1024;
/// Best-bid/ask frames kept to be compared with the depth message of the same id.
pub const TOUCHES_KEPT: usize = 256;
/// Levels a side under Kraken's checksum.
const CHECKSUM_LEVELS: usize = 10;
/// Whether a book may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Every message since its snapshot was seen and agreed.
    Live {
        /// When the snapshot was applied.
        since: Time,
    },
    /// It must not be believed.
    Stale {
        /// Why.
        reason: GapReason,
        /// Since when.
        since: Time,
    },
}

/// What happened to the book since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Depth messages applied.
    pub events: u64,
    /// Snapshots that brought it back from staleness after the first.
    pub resyncs: u64,
    /// Gaps by [`GapReason`].
    pub gaps: [u64; GapReason::ALL.len()],
    /// Checksums that agreed.
    pub checksums_verified: u64,
    /// Checksums that did not.
    pub checksums_failed: u64,
    /// Best-bid/ask frames equal to the book of the same id.
    pub touches_equal: u64,
    /// Best-bid/ask frames that contradict the book of the same id.
    pub touches_different: u64,
}

/// An order book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    state: State,
    /// Between the first and the last part of a message.
    partial: bool,
    /// Whether a snapshot was ever applied.
    synced: bool,
    id: u64,
    limit: u16,
    truncated: bool,
    bids: Ladder,
    asks: Ladder,
    touches: Deque<Touch, TOUCHES_KEPT>,
    counters: Counters,
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl Book {
    /// A book without a snapshot.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Stale {
                reason: GapReason::Unsynced,
                since: Time::UNKNOWN,
            },
            partial: false,
            synced: false,
            id: 0,
            limit: 0,
            truncated: false,
            bids: Ladder::new(),
            asks: Ladder::new(),
            touches: Deque::new(),
            counters: Counters {
                events: 0,
                resyncs: 0,
                gaps: [0; GapReason::ALL.len()],
                checksums_verified: 0,
                checksums_failed: 0,
                touches_equal: 0,
                touches_different: 0,
            },
        }
    }

    /// Whether it may be believed.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether it is live and between messages.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. }) && !self.partial
    }

    /// Whether part of a message was applied and the rest is still to come.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.partial
    }

    /// What happened to it.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Applies a depth message or a part of one. A gap that it reveals has already made the book
    /// stale when it is returned.
    pub fn depth(&mut self, depth: &Depth, instrument: &Instrument, at: Time) -> Option<Gap> {
        if depth.first
            && let DepthKind::Snapshot { truncated, limit } = depth.kind
        {
            self.bids.clear();
            self.asks.clear();
            self.limit = limit;
            self.truncated = truncated;
            if matches!(self.state, State::Stale { .. }) {
                self.counters.resyncs += u64::from(self.synced);
                self.synced = true;
                self.state = State::Live { since: at };
                self.touches.clear();
            }
        }
        if matches!(self.state, State::Stale { .. }) {
            return None;
        }
        self.partial = !depth.last;
        let key = |sign: i64| move |level: &Level| (sign * level.price.0, level.qty);
        self.bids.apply(depth.bids().iter().map(key(1)));
        self.asks.apply(depth.asks().iter().map(key(-1)));
        if !depth.last {
            return None;
        }
        self.finish(depth, instrument)
            .inspect(|gap| self.invalidate(*gap, at))
    }

    /// Cuts, counts and verifies after a whole message.
    fn finish(&mut self, depth: &Depth, instrument: &Instrument) -> Option<Gap> {
        self.id = depth.id;
        self.counters.events += 1;
        if self.limit > 0 {
            self.bids.cut(usize::from(self.limit));
            self.asks.cut(usize::from(self.limit));
        } else if self.truncated && matches!(depth.kind, DepthKind::Snapshot { .. }) {
            self.bids.end_here();
            self.asks.end_here();
        }
        if let Some(checksum) = depth.checksum {
            let got = self.checksum(&checksum, instrument);
            if got != checksum.crc {
                self.counters.checksums_failed += 1;
                return Some(Gap {
                    reason: GapReason::Checksum,
                    expected: u64::from(checksum.crc),
                    got: u64::from(got),
                });
            }
            self.counters.checksums_verified += 1;
        }
        if let (Some((bid, _)), Some((ask, _))) = (self.bids.best(), self.asks.best())
            && bid >= -ask
        {
            return Some(Gap {
                reason: GapReason::Crossed,
                expected: bid.unsigned_abs(),
                got: ask.unsigned_abs(),
            });
        }
        // Where a best-bid/ask stream bears witness, it and not the snapshot's reach decides.
        let witnessed = !self.touches.is_empty();
        if !witnessed && (self.bids.is_beyond_horizon() || self.asks.is_beyond_horizon()) {
            return Some(Gap::of(GapReason::Horizon));
        }
        let touch = self
            .touches
            .iter()
            .rev()
            .find(|touch| touch.id <= self.id)
            .copied();
        match touch {
            Some(touch) if touch.id == self.id && self.id != 0 => self.compare(&touch),
            _ => None,
        }
    }

    /// Takes a best-bid/ask frame. Returns a gap when it contradicts the depth of the same id.
    pub fn touch(&mut self, touch: &Touch, at: Time) -> Option<Gap> {
        if self.touches.is_full() {
            self.touches.pop_front();
        }
        let pushed = self.touches.push_back(*touch);
        debug_assert!(pushed.is_ok(), "room was made");
        if !self.is_live() || touch.id != self.id || self.id == 0 {
            return None;
        }
        self.compare(touch).inspect(|gap| self.invalidate(*gap, at))
    }

    fn compare(&mut self, touch: &Touch) -> Option<Gap> {
        let bid = self.bids.best() == Some((touch.bid.price.0, touch.bid.qty));
        let ask = self.asks.best() == Some((-touch.ask.price.0, touch.ask.qty));
        if bid && ask {
            self.counters.touches_equal += 1;
            return None;
        }
        self.counters.touches_different += 1;
        Some(Gap {
            reason: GapReason::Touch,
            expected: touch.id,
            got: self.id,
        })
    }

    /// Continuity was lost: the book says nothing until the next snapshot.
    pub fn invalidate(&mut self, gap: Gap, at: Time) {
        self.counters.gaps[gap.reason as usize] += 1;
        if matches!(self.state, State::Live { .. }) {
            self.state = State::Stale {
                reason: gap.reason,
                since: at,
            };
        } else if let State::Stale { reason, .. } = &mut self.state
            && *reason != GapReason::Unsynced
        {
            *reason = gap.reason;
        }
        self.partial = false;
        self.bids.clear();
        self.asks.clear();
        self.touches.clear();
        self.id = 0;
    }

    /// The newest best-bid/ask frame, while it is ahead of the depth.
    fn ahead(&self) -> Option<&Touch> {
        self.touches
            .back()
            .filter(|touch| touch.id > self.id && self.id != 0)
    }

    /// The levels of a side, best first, depth and touch fused. Nothing while the book is stale.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        let touch = self
            .ahead()
            .filter(|_| self.is_live())
            .map(|touch| match side {
                Side::Buy => touch.bid,
                Side::Sell => touch.ask,
            });
        let ahead = move |level: &Level| match (touch, side) {
            (None, _) => false,
            (Some(touch), Side::Buy) => level.price >= touch.price,
            (Some(touch), Side::Sell) => level.price <= touch.price,
        };
        touch.into_iter().chain(self.ladder(side).skip_while(ahead))
    }

    /// The levels of a side as the depth stream alone has them, best first: what checksums and
    /// comparisons are about. Nothing while the book is stale.
    pub fn ladder(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        let (ladder, sign) = match side {
            Side::Buy => (&self.bids, 1),
            Side::Sell => (&self.asks, -1),
        };
        let levels = ladder.levels_if(self.is_live());
        levels.map(move |entry| level(sign, entry))
    }

    /// The quantity that the depth stream last gave for a price, 0 where it gave none. Also between
    /// the parts of a message, when the book as a whole may not be read.
    #[must_use]
    pub fn displayed(&self, side: Side, price: Price) -> Qty {
        match side {
            Side::Buy => self.bids.get(price.0),
            Side::Sell => self.asks.get(-price.0),
        }
    }

    /// The best level of a side, depth and touch fused; `None` while the book is stale or empty.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        if !self.is_live() {
            return None;
        }
        match (self.ahead(), side) {
            (Some(touch), Side::Buy) => Some(touch.bid),
            (Some(touch), Side::Sell) => Some(touch.ask),
            (None, Side::Buy) => self.bids.best().map(|best| level(1, best)),
            (None, Side::Sell) => self.asks.best().map(|best| level(-1, best)),
        }
    }

    /// Twice the mid price (`bid + ask`), exact. `None` while the book is stale or one-sided.
    #[must_use]
    pub fn double_mid(&self) -> Option<i64> {
        Some(self.best(Side::Buy)?.price.0 + self.best(Side::Sell)?.price.0)
    }

    /// How many depth levels a side holds; 0 while the book is stale.
    #[must_use]
    pub fn len(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.len(),
            Side::Sell => self.asks.len(),
        }
    }

    /// Whether it holds no level at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bids.len() == 0 && self.asks.len() == 0
    }

    /// Kraken's CRC32: the ten best asks from low to high, then the ten best bids from high to low,
    /// price and quantity digits without point and leading zeros.
    ///
    /// Source: Kraken, "Spot WebSockets (v2): book checksum".
    fn checksum(&self, digits: &Checksum, instrument: &Instrument) -> u32 {
        let price = Rescale::new(instrument.price_scale, digits.price_digits);
        let qty = Rescale::new(instrument.qty_scale, digits.qty_digits);
        let mut text = Digits::<{ bytes_for(2 * 2 * CHECKSUM_LEVELS) }>::new();
        for ladder in [&self.asks, &self.bids] {
            for (key, quantity) in ladder.levels().take(CHECKSUM_LEVELS) {
                text.push(price.of(key.unsigned_abs()));
                text.push(qty.of(quantity.0.unsigned_abs()));
            }
        }
        // At once: its fast way needs more bytes than one side has.
        crc32fast::hash(text.as_bytes())
    }
}

const fn level(sign: i64, (key, qty): (i64, Qty)) -> Level {
    Level {
        price: Price(sign * key),
        qty,
    }
}

/// Counts of `10^-from` as counts of `10^-to`.
struct Rescale {
    factor: u64,
    divisor: u64,
}

impl Rescale {
    const fn new(from: u8, to: u8) -> Self {
        Self {
            factor: pow10(to.saturating_sub(from)).unsigned_abs(),
            divisor: pow10(from.saturating_sub(to)).unsigned_abs(),
        }
    }

    const fn of(&self, value: u64) -> u64 {
        // Quantities are mostly held as printed, and a division takes longer than the rest.
        if self.divisor == 1 {
            return value.saturating_mul(self.factor);
        }
        value / self.divisor
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec as List;

    use proptest::prelude::*;

    use super::*;
    use crate::instrument::Venue;

    fn instrument() -> Instrument {
        Instrument {
            price_scale: 0,
            qty_scale: 0,
            ..Instrument::unknown(Venue::Binance, "T").expect("short")
        }
    }

    fn message(kind: DepthKind, id: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Depth {
        let level = |&(price, qty): &(i64, i64)| Level {
            price: Price(price),
            qty: Qty(qty),
        };
        Depth {
            kind,
            first: true,
            last: true,
            id,
            bids: u8::try_from(bids.len()).expect("few"),
            levels: bids.iter().chain(asks).map(level).collect(),
            checksum: None,
        }
    }

    const WHOLE: DepthKind = DepthKind::Snapshot {
        truncated: false,
        limit: 0,
    };

    fn side(book: &Book, side: Side) -> List<(i64, i64)> {
        book.levels(side)
            .map(|level| (level.price.0, level.qty.0))
            .collect()
    }

    #[test]
    fn levels_that_fall_out_of_a_limited_book_do_not_come_back() {
        // The case of a ten-level venue: 2.5 pushes 10 out; when 2.5 goes, the venue sends 11.
        let snapshot = DepthKind::Snapshot {
            truncated: false,
            limit: 10,
        };
        let asks: List<_> = (1..=10).map(|price| (price * 10, 1)).collect();
        let mut book = Book::new();
        assert_eq!(
            book.depth(&message(snapshot, 1, &[], &asks), &instrument(), Time(1)),
            None
        );
        book.depth(
            &message(DepthKind::Delta, 2, &[], &[(25, 1)]),
            &instrument(),
            Time(2),
        );
        book.depth(
            &message(DepthKind::Delta, 3, &[], &[(25, 0), (110, 1)]),
            &instrument(),
            Time(3),
        );
        let prices: List<_> = side(&book, Side::Sell)
            .iter()
            .map(|level| level.0)
            .collect();
        assert_eq!(prices, [10, 20, 30, 40, 50, 60, 70, 80, 90, 110]);
    }

    #[test]
    fn a_crossed_book_goes_silent_until_a_snapshot() {
        let mut book = Book::new();
        book.depth(
            &message(WHOLE, 1, &[(10, 1)], &[(12, 1)]),
            &instrument(),
            Time(1),
        );
        let gap = book.depth(
            &message(DepthKind::Delta, 2, &[(12, 1)], &[]),
            &instrument(),
            Time(2),
        );
        assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Crossed));
        assert_eq!((book.best(Side::Buy), book.double_mid()), (None, None));
        book.depth(
            &message(DepthKind::Delta, 3, &[(9, 1)], &[]),
            &instrument(),
            Time(3),
        );
        assert_eq!(book.best(Side::Buy), None);
        book.depth(
            &message(WHOLE, 4, &[(9, 1)], &[(12, 1)]),
            &instrument(),
            Time(4),
        );
        assert_eq!(book.double_mid(), Some(21));
        assert_eq!(book.counters().resyncs, 1);
    }

    #[test]
    fn an_unfinished_message_is_not_quoted() {
        let mut book = Book::new();
        let mut part = message(WHOLE, 1, &[(10, 1)], &[(12, 1)]);
        part.last = false;
        book.depth(&part, &instrument(), Time(1));
        assert_eq!(book.best(Side::Buy), None);
        part = Depth {
            first: false,
            last: true,
            ..message(DepthKind::Delta, 1, &[(11, 1)], &[])
        };
        part.kind = WHOLE;
        book.depth(&part, &instrument(), Time(1));
        assert_eq!(side(&book, Side::Buy), [(11, 1), (10, 1)]);
    }

    #[test]
    fn the_touch_stream_leads_the_depth_and_must_agree_with_it() {
        let touch = |id, bid, ask| Touch {
            id,
            bid: Level {
                price: Price(bid),
                qty: Qty(5),
            },
            ask: Level {
                price: Price(ask),
                qty: Qty(5),
            },
        };
        let mut book = Book::new();
        book.depth(
            &message(WHOLE, 1, &[(10, 1), (9, 1)], &[(12, 1), (13, 1)]),
            &instrument(),
            Time(1),
        );
        assert_eq!(book.touch(&touch(2, 9, 12), Time(2)), None);
        assert_eq!(side(&book, Side::Buy), [(9, 5)]);
        assert_eq!(side(&book, Side::Sell), [(12, 5), (13, 1)]);
        let delta = message(DepthKind::Delta, 2, &[(10, 0), (9, 5)], &[(12, 5)]);
        assert_eq!(book.depth(&delta, &instrument(), Time(3)), None);
        assert_eq!(book.counters().touches_equal, 1);
        let gap = book.touch(&touch(2, 8, 12), Time(4));
        assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Touch));
        assert!(!book.is_live());
    }

    #[test]
    fn the_horizon_is_a_gap_not_a_guess() {
        let mut book = Book::new();
        let cut = DepthKind::Snapshot {
            truncated: true,
            limit: 0,
        };
        book.depth(
            &message(cut, 1, &[(10, 1), (9, 1)], &[(12, 1)]),
            &instrument(),
            Time(1),
        );
        let delta = message(DepthKind::Delta, 2, &[(10, 0), (9, 0), (7, 1)], &[]);
        let gap = book.depth(&delta, &instrument(), Time(2));
        assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Horizon));
    }

    proptest! {
        /// The array book against an ordered map, over any sequence of changes.
        #[test]
        fn equals_an_ordered_map(changes in proptest::collection::vec((1_i64..60, 0_i64..4, any::<bool>()), 1..300)) {
            let mut book = Book::new();
            let mut maps = [BTreeMap::new(), BTreeMap::new()];
            book.depth(&message(WHOLE, 1, &[(100, 1)], &[(200, 1)]), &instrument(), Time(1));
            maps[0].insert(100, 1);
            maps[1].insert(200, 1);
            for (id, (offset, qty, buy)) in (2..).zip(changes) {
                let price = if buy { 100 - offset + 1 } else { 200 + offset - 1 };
                let change = [(price, qty)];
                let (bids, asks): (&[_], &[_]) = if buy { (&change, &[]) } else { (&[], &change) };
                book.depth(&message(DepthKind::Delta, id, bids, asks), &instrument(), Time(id));
                let map = &mut maps[usize::from(!buy)];
                if qty == 0 { map.remove(&price); } else { map.insert(price, qty); }
                prop_assert_eq!(side(&book, Side::Buy), maps[0].iter().rev().map(|(p, q)| (*p, *q)).collect::<List<_>>());
                prop_assert_eq!(side(&book, Side::Sell), maps[1].iter().map(|(p, q)| (*p, *q)).collect::<List<_>>());
            }
        }
    }
}
