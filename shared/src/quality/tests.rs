//! What is found in made-up markets, and what is left alone.

use alloc::vec::Vec;

use super::*;
use crate::event::{Depth, Level, Trade};
use crate::num::{Price, Qty};
use crate::time::{DAYS, MILLIS};

const START: Time = Time(1_760_000_000 * SECONDS);
/// Half of the spread between the quotes.
const HALF: i64 = 5;

/// Instruments of one venue, and what is done to them.
struct Desk {
    quality: Quality,
    instruments: Vec<Instrument>,
    books: Vec<Book>,
    now: Time,
    trade_id: u64,
}

impl Desk {
    fn new(count: usize) -> Self {
        let instrument = Instrument::unknown(Venue::Binance, "A").expect("short");
        let instruments = alloc::vec![instrument; count];
        let mut desk = Self {
            quality: Quality::new(&instruments),
            instruments,
            books: alloc::vec![Book::new(); count],
            now: START,
            trade_id: 0,
        };
        for index in 0..count {
            desk.quote(index, 1_000_000);
        }
        desk
    }

    fn send(&mut self, index: usize, body: Body) {
        let update = Update {
            instrument: InstrumentId(u16::try_from(index).expect("few")),
            venue_time: self.now,
            received: self.now,
            late: false,
            body,
        };
        self.send_update(index, &update);
    }

    fn send_update(&mut self, index: usize, update: &Update) {
        let (book, now) = (&mut self.books[index], self.now);
        let found = match &update.body {
            Body::Depth(depth) => book.depth(depth, &self.instruments[index], now),
            Body::Touch(touch) => book.touch(touch, now),
            Body::Gap(gap) => {
                book.invalidate(*gap, now);
                None
            }
            _ => None,
        };
        self.quality.update(update, book, found.as_ref(), now);
    }

    /// A book of one level a side.
    fn book(&mut self, index: usize, bid: i64, ask: i64) {
        let level = |price| Level {
            price: Price(price),
            qty: Qty(10),
        };
        let depth = Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: 0,
            bids: 1,
            levels: [level(bid), level(ask)].into_iter().collect(),
            checksum: None,
        };
        self.send(index, Body::Depth(depth));
    }

    fn quote(&mut self, index: usize, mid: i64) {
        self.book(index, mid - HALF, mid + HALF);
    }

    fn trade(&mut self, index: usize, price: i64, qty: i64) {
        self.trade_id += 1;
        let trade = Trade {
            id: self.trade_id,
            price: Price(price),
            qty: Qty(qty),
            aggressor: Side::Buy,
        };
        self.send(index, Body::Trade(trade));
    }

    fn second(&mut self) {
        self.now = self.now.plus(SECONDS);
        self.quality.pulse(self.books.iter(), self.now);
    }

    /// Ordinary seconds of every instrument.
    fn live(&mut self, seconds: usize) {
        for n in 0..seconds {
            for index in 0..self.books.len() {
                let mid = 1_000_000 + i64::try_from(n % 3).expect("few");
                self.quote(index, mid);
                self.trade(index, mid + HALF, 10);
            }
            self.second();
        }
    }

    fn count(&self, kind: Kind) -> u64 {
        self.quality.monitors()[0].finding(kind).count
    }

    /// Everything found of the first instrument.
    fn found(&self) -> Vec<(&'static str, u64, i64)> {
        let found = self.quality.monitors()[0].findings();
        found
            .filter(|(_, finding)| finding.count > 0)
            .map(|(kind, finding)| (kind.name(), finding.count, finding.value))
            .collect()
    }
}

#[test]
fn an_ordinary_market_is_clean() {
    let mut desk = Desk::new(2);
    desk.live(500);
    assert_eq!(desk.found(), []);
    assert_eq!(
        desk.quality.venue_score_ppm(Venue::Binance),
        Some(1_000_000)
    );
    assert_eq!(desk.quality.venue_score_ppm(Venue::Kraken), None);
}

#[test]
fn a_jump_of_both_quotes_is_found_once_a_second_and_a_vanished_side_is_none() {
    let mut desk = Desk::new(1);
    desk.live(60);
    desk.book(0, 1_000_000 - HALF, 1_100_000);
    assert_eq!(desk.found(), [], "only the asks went away");
    desk.quote(0, 1_000_000);
    desk.second();
    desk.live(10);
    desk.quote(0, 1_010_000);
    desk.quote(0, 1_020_000);
    assert_eq!(desk.found(), [("price_jump", 1, 10_000)]);
    desk.second();
    desk.quote(0, 1_020_001);
    assert_eq!(desk.count(Kind::PriceJump), 1, "it stays where it went");
}

#[test]
fn a_market_that_always_jumps_is_measured_by_itself() {
    let mut desk = Desk::new(1);
    for n in 0..300 {
        desk.quote(0, if n % 2 == 0 { 1_000_000 } else { 1_006_000 });
        desk.second();
    }
    // Beyond the warm-up only.
    assert_eq!(desk.found(), []);
}

#[test]
fn quotes_are_stale_when_the_venue_moves_others() {
    let mut desk = Desk::new(2);
    desk.live(100);
    for n in 0..29 {
        desk.quote(1, 1_000_000 + n);
        desk.second();
    }
    assert_eq!(desk.found(), []);
    for n in 0..10 {
        desk.quote(1, 1_000_000 + n);
        desk.second();
    }
    assert_eq!(desk.found(), [("stale_quotes", 1, 31)]);
    let monitor = &desk.quality.monitors()[0];
    assert!(monitor.is_stale());
    assert_eq!(monitor.rolling().flawed, 10, "each second of it");
    desk.quote(0, 1_000_000);
    assert!(!desk.quality.monitors()[0].is_stale());
}

#[test]
fn a_silent_venue_has_no_stale_quotes_and_a_slow_instrument_may_be_slow() {
    let mut desk = Desk::new(2);
    desk.live(100);
    for _ in 0..100 {
        desk.second();
    }
    assert_eq!(
        desk.count(Kind::StaleQuotes),
        0,
        "nothing moves: the session's business"
    );
    let mut slow = Desk::new(2);
    for n in 0..2_000 {
        slow.quote(1, 1_000_000 + n % 2);
        if n % 20 == 0 {
            slow.quote(0, 1_000_000 + n);
        }
        slow.second();
    }
    for _ in 0..300 {
        slow.quote(1, 1_000_000);
        slow.second();
    }
    assert_eq!(
        slow.count(Kind::StaleQuotes),
        0,
        "twenty intervals of twenty seconds"
    );
}

#[test]
fn quotes_are_stale_when_trades_leave_them() {
    let mut desk = Desk::new(1);
    desk.live(100);
    for _ in 0..10 {
        desk.trade(0, 1_000_100, 10);
        desk.second();
    }
    assert_eq!(desk.found(), [("stale_quotes", 1, 6)]);
}

#[test]
fn a_halt_is_found_and_a_gap_is_none() {
    let mut desk = Desk::new(1);
    desk.live(100);
    for n in 0..70 {
        desk.quote(0, 1_000_000 + n);
        desk.second();
    }
    assert_eq!(desk.found(), [("halt", 1, 61)]);
    assert!(desk.quality.monitors()[0].is_halted());
    desk.trade(0, 1_000_069, 10);
    assert!(!desk.quality.monitors()[0].is_halted());
    let mut lost = Desk::new(1);
    lost.live(100);
    lost.send(0, Body::Gap(Gap::of(GapReason::Disconnected)));
    lost.quote(0, 1_000_000);
    for n in 0..100 {
        lost.quote(0, 1_000_000 + n);
        lost.second();
    }
    assert_eq!(lost.found(), [("gap", 1, GapReason::Disconnected as i64)]);
}

#[test]
fn locked_and_crossed_books_are_told_apart() {
    let mut desk = Desk::new(1);
    desk.book(0, 1_000, 1_000);
    assert_eq!(desk.found(), [("locked", 1, 0)]);
    desk.book(0, 1_003, 1_000);
    assert_eq!(desk.found(), [("locked", 1, 0), ("crossed", 1, -3)]);
    let gaps: Vec<_> = desk.quality.monitors()[0].gaps().collect();
    assert_eq!(gaps[GapReason::Crossed as usize], (GapReason::Crossed, 2));
    desk.second();
    assert_eq!(
        desk.quality.monitors()[0].rolling().flawed,
        3,
        "the book is dark"
    );
}

#[test]
fn trades_without_ids_are_told_twice_only_when_all_is_equal() {
    let mut desk = Desk::new(1);
    let trade = Trade {
        id: 0,
        price: Price(1_000_000),
        qty: Qty(7),
        aggressor: Side::Sell,
    };
    desk.send(0, Body::Trade(trade));
    desk.send(
        0,
        Body::Trade(Trade {
            qty: Qty(8),
            ..trade
        }),
    );
    assert_eq!(desk.found(), []);
    desk.send(0, Body::Trade(trade));
    assert_eq!(desk.found(), [("duplicate_trade", 1, 0)]);
    desk.now = desk.now.plus(1);
    desk.send(0, Body::Trade(trade));
    assert_eq!(desk.count(Kind::DuplicateTrade), 1, "another instant");
}

#[test]
fn only_a_stream_of_its_own_goes_back() {
    let mut desk = Desk::new(1);
    desk.live(10);
    let trade = |id| {
        Body::Trade(Trade {
            id,
            price: Price(1_000_000),
            qty: Qty(7),
            aggressor: Side::Sell,
        })
    };
    let at = |back_ns, body| Update {
        instrument: InstrumentId(0),
        venue_time: START.plus(20 * SECONDS).minus(back_ns),
        received: START,
        late: true,
        body,
    };
    desk.send_update(0, &at(0, trade(1_000)));
    desk.send_update(0, &at(10 * MILLIS, trade(1_001)));
    assert_eq!(desk.found(), [], "what the synchroniser may reorder");
    desk.send_update(0, &at(11 * MILLIS, trade(1_002)));
    assert_eq!(desk.found(), [("out_of_order", 1, 11_000_000)]);
    assert_eq!(desk.quality.monitors()[0].today().late, 3);
}

#[test]
fn the_day_is_reported_and_the_worst_minute_named() {
    let mut desk = Desk::new(1);
    desk.now = Time(START.day().0 + DAYS - 3 * MINUTES);
    desk.live(60);
    for minute in [1, 2] {
        for _ in 0..minute {
            desk.trade(0, 9_000_000, 10);
        }
        desk.live(60);
    }
    let report = desk.quality.close(InstrumentId(0)).expect("a day");
    assert_eq!(report.day, START.day());
    assert_eq!(report.count(Kind::PriceOutlier), 3);
    let worst = report.worst.expect("flaws");
    assert_eq!(worst.start, START.day().plus(DAYS - MINUTES));
    assert_eq!(worst.tally.flawed, 2);
    assert_eq!(report.score_ppm(), desk.quality.monitors()[0].score_ppm());
    let monitor = &desk.quality.monitors()[0];
    assert_eq!(
        (monitor.closed(), monitor.today().tally.events),
        (Some(&report), 0)
    );
    assert_eq!(desk.quality.close(InstrumentId(0)), None, "nothing since");
}

#[test]
fn the_score_rolls_over_a_day() {
    let mut desk = Desk::new(1);
    desk.live(100);
    desk.trade(0, 9_000_000, 10);
    let events = 100 * 3 + 2;
    assert_eq!(
        desk.quality.monitors()[0].rolling(),
        Tally { events, flawed: 1 }
    );
    assert_eq!(
        desk.quality.monitors()[0].score_ppm(),
        Some(u32::try_from(1_000_000 * (events - 1) / events).expect("a share"))
    );
    desk.now = desk.now.plus(23 * HOURS);
    desk.quote(0, 1_000_000);
    assert_eq!(desk.quality.monitors()[0].rolling().flawed, 1);
    desk.now = desk.now.plus(HOURS);
    desk.quote(0, 1_000_000);
    let rolling = desk.quality.monitors()[0].rolling();
    assert_eq!((rolling.events, rolling.flawed), (2, 0));
    desk.now = desk.now.plus(1_000 * HOURS);
    desk.quote(0, 1_000_000);
    assert_eq!(desk.quality.monitors()[0].rolling().events, 1);
}

#[test]
fn nothing_that_a_market_can_say_is_a_panic_and_all_comes_back() {
    let mut desk = Desk::new(1);
    for n in 0..200 {
        let extreme = [i64::MAX, i64::MIN, 0, -1][n % 4];
        desk.trade(0, extreme, extreme);
        desk.book(0, 1, i64::MAX);
        desk.book(0, i64::MAX - 1, i64::MAX);
        desk.book(0, 0, 1);
        desk.now = Time([0, u64::MAX, 1, START.0][n % 4]);
        desk.quality.pulse(desk.books.iter(), desk.now);
    }
    let bytes = postcard::to_allocvec(&desk.quality).expect("memory");
    assert_eq!(postcard::from_bytes(&bytes), Ok(desk.quality));
}
