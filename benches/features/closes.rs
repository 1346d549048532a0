//! The end of a second, by how many timeframes end with it: one at most of them, all seven at midnight.

use std::hint::black_box;

use tickerml_shared::book::Book;
use tickerml_shared::event::{Body, Depth, DepthKind, Level, Side, Trade, Update};
use tickerml_shared::features::bars::{BARS_KEPT, Timeframe};
use tickerml_shared::features::{Features, TABLE_LEN, View};
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use crate::meter::Meter;
use crate::{PASSES, Row};

/// A midnight, long ago.
const START_S: u64 = 1_760_054_400;
const DAY_S: u64 = 86_400;
/// Days before what is measured, so that every window of day bars is full; none in a test run.
const DAYS_BEFORE: (u64, u64) = (BARS_KEPT as u64, 0);
/// Seconds before midnight that are measured: all of a day, and in a test run enough for five minutes.
const MEASURED_S: (u64, u64) = (DAY_S, 400);
/// Midnights of a pass: one and the same, from copies of the state before it.
const MIDNIGHTS: (usize, usize) = (2_000, 5);
/// Levels a side.
const LEVELS: i64 = 12;

/// A market that trades a few times a second.
struct Market {
    rng: Rng,
    instrument: Instrument,
    book: Book,
    features: Box<Features>,
    bid: i64,
    id: u64,
}

impl Market {
    fn new() -> Self {
        let mut instrument = Instrument::unknown(Venue::Binance, "XUSDT").expect("short");
        (instrument.price_scale, instrument.qty_scale) = (2, 5);
        Self {
            rng: Rng::new(7, 1),
            instrument,
            book: Book::new(),
            features: Features::boxed(),
            bid: 6_500_000,
            id: 0,
        }
    }

    fn update(&mut self, body: Body, at: Time) {
        let update = Update {
            instrument: InstrumentId(0),
            venue_time: at,
            received: at,
            late: false,
            body,
        };
        if let Body::Depth(depth) = &update.body {
            let gap = self.book.depth(depth, &self.instrument, at);
            assert!(gap.is_none(), "{gap:?}");
        }
        self.features
            .update(&update, &self.book, &self.instrument, at);
    }

    /// The book moves, and then somebody trades.
    fn second(&mut self, number: u64, trades: u64) {
        self.bid = (self.bid + self.rng.below(201).cast_signed() - 100).max(1_000_000);
        self.id += 1;
        let level = |price: i64, qty: i64| Level {
            price: Price(price),
            qty: Qty(qty),
        };
        let bids = (0..LEVELS).map(|away| level(self.bid - away, 100_000 + away));
        let asks = (0..LEVELS).map(|away| level(self.bid + 1 + away, 100_000 + away));
        let depth = Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: self.id,
            bids: u8::try_from(LEVELS).expect("few"),
            levels: bids.chain(asks).collect(),
            checksum: None,
        };
        let at = Time(number * SECONDS);
        self.update(Body::Depth(depth), at.plus(MILLIS));
        for trade in 0..trades {
            let (aggressor, price) = match self.rng.below(2) {
                0 => (Side::Buy, self.bid + 1),
                _ => (Side::Sell, self.bid),
            };
            let trade_at = at.plus((2 + 20 * trade) * MILLIS);
            let trade = Trade {
                id: 0,
                price: Price(price),
                qty: Qty(1 + self.rng.below(1_000_000).cast_signed()),
                aggressor,
            };
            self.update(Body::Trade(trade), trade_at);
        }
    }
}

impl Market {
    /// How many features are known.
    fn known(&self, at: Time) -> usize {
        let top = self.features.top().expect("a live book");
        let view = View {
            top,
            instrument: &self.instrument,
            cross: None,
            funding: None,
            received: at,
            lag_ns: 0,
            at,
        };
        self.features.read(&view).known()
    }
}

/// How many timeframes end where a second begins.
fn ending(number: u64) -> usize {
    Timeframe::ALL
        .iter()
        .filter(|timeframe| number.is_multiple_of(timeframe.seconds()))
        .count()
}

pub(crate) fn rows(quick: bool) -> Vec<Row> {
    let choose = |(full, little): (u64, u64)| if quick { little } else { full };
    let mut market = Market::new();
    let midnight = START_S + (choose(DAYS_BEFORE) + 1) * DAY_S;
    let measured = midnight - choose(MEASURED_S);
    let first = if quick { measured - 100 } else { START_S };
    for number in first..measured {
        market.second(number, 2);
    }
    let mut meters: [Meter; Timeframe::ALL.len()] = Default::default();
    for meter in &mut meters {
        meter.begin(DAY_S as usize);
    }
    for number in measured..midnight {
        let at = Time(number * SECONDS);
        let Market {
            features,
            instrument,
            ..
        } = &mut market;
        meters[ending(number) - 1].time(true, || features.advance(instrument, at));
        market.second(number, 5);
    }
    for meter in &mut meters {
        meter.end();
    }
    println!(
        "before the midnight that is measured, {} of {TABLE_LEN} features are known",
        market.known(Time(midnight * SECONDS - 1)),
    );
    let all = &mut meters[Timeframe::ALL.len() - 1];
    *all = Meter::default();
    let midnights = if quick { MIDNIGHTS.1 } else { MIDNIGHTS.0 };
    let mut features = market.features.clone();
    for _ in 0..if quick { 1 } else { PASSES } {
        all.begin(midnights);
        for _ in 0..midnights {
            features.clone_from(&market.features);
            all.time(true, || {
                features.advance(&market.instrument, Time(midnight * SECONDS));
            });
            black_box(&features);
        }
        all.end();
    }
    let mut rows = Vec::new();
    for (count, meter) in (1..).zip(&meters) {
        assert_eq!(meter.heap_calls(), 0, "{count} timeframes: heap calls");
        if meter.summary().count > 0 {
            let way = Timeframe::ALL[count - 1].name();
            let what = format!("a second with which {count} timeframes end");
            rows.push(Row::of(
                "closes",
                &what,
                &format!("to {way}"),
                TABLE_LEN,
                meter,
            ));
        }
    }
    rows
}
