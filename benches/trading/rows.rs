//! Tapes of level and trade rows, and the orders that are sent into them.

use std::collections::BTreeMap;

use serde_json::Value;
use tickerml_benches::tape;
use tickerml_shared::event::{Side, Trade};
use tickerml_shared::instrument::{Instrument, Venue};
use tickerml_shared::num::{self, Price, Qty, pow10};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::{MILLIS, SECONDS, Time};

/// Seed of everything drawn here.
const SEED: u64 = 20_261_121;
/// The synthetic tape begins here.
const START: Time = Time(1_760_000_000 * SECONDS);
/// Its first best bid in ticks.
const FIRST_BID: i64 = 100_000;
/// Levels a side at its beginning.
const LEVELS: i64 = 400;
/// Mean time between two things that happen in it.
const STEP: u64 = MILLIS;
/// Time between two orders.
const ORDER_EVERY: u64 = SECONDS / 2;
/// The longest life of an order in eighths of a second: at most twelve are open at once, of the sixteen
/// that may rest.
const LIFE_EIGHTHS: u64 = 6 * 8;

/// One row: a level as it stands now, or a trade.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A quantity of zero deletes the level.
    Level {
        side: Side,
        price: Price,
        qty: Qty,
    },
    Trade(Trade),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) at: Time,
    pub(crate) what: What,
}

/// What is asked of the venue about an order; ids count from zero.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    New {
        side: Side,
        price: Price,
        qty: Qty,
        post_only: bool,
    },
    Cancel,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) at: Time,
    pub(crate) id: usize,
    pub(crate) ask: Ask,
}

/// Rows and requests, each in the order of time.
pub(crate) struct Tape {
    pub(crate) name: String,
    /// Prices count ticks.
    pub(crate) instrument: Instrument,
    pub(crate) rows: Vec<Row>,
    pub(crate) requests: Vec<Request>,
    pub(crate) orders: usize,
}

impl Tape {
    fn new(name: &str, scales: Scales, rows: Vec<Row>, spreads: [u64; 3]) -> Self {
        let mut instrument = Instrument::unknown(Venue::Binance, "BTCUSDT").expect("short");
        (instrument.price_scale, instrument.qty_scale) = (scales.0, scales.1);
        instrument.lot = scales.2;
        let (requests, orders) = requests(&rows, scales.2, spreads);
        Self {
            name: name.to_owned(),
            instrument,
            rows,
            requests,
            orders,
        }
    }

    /// What a tick and a lot are, as the peer counts them.
    pub(crate) fn steps(&self) -> (f64, f64) {
        let step = |step: i64, scale| step as f64 / pow10(scale) as f64;
        (
            step(1, self.instrument.price_scale),
            step(self.instrument.lot, self.instrument.qty_scale),
        )
    }

    pub(crate) fn end(&self) -> Time {
        self.rows.last().map_or(START, |row| row.at).plus(SECONDS)
    }

    pub(crate) fn trades(&self) -> usize {
        let trade = |row: &&Row| matches!(row.what, What::Trade(_));
        self.rows.iter().filter(trade).count()
    }

    /// The lowest and the highest price that traded.
    pub(crate) fn range(&self) -> (i64, i64) {
        let prices = self.rows.iter().filter_map(|row| match row.what {
            What::Trade(trade) => Some(trade.price.0),
            What::Level { .. } => None,
        });
        prices.fold((i64::MAX, 0), |(low, high), price| {
            (low.min(price), high.max(price))
        })
    }
}

/// Buys and sells every half second around the last trade, each canceled within six seconds.
fn requests(rows: &[Row], lot: i64, spreads: [u64; 3]) -> (Vec<Request>, usize) {
    let mut rng = Rng::new(SEED, 2);
    let (mut requests, mut cancels) = (Vec::new(), Vec::<Request>::new());
    let mut last = None;
    let mut due = rows.first().map_or(START, |row| row.at).plus(SECONDS);
    let mut id = 0;
    for row in rows {
        while let (true, Some(price)) = (row.at > due, last) {
            cancels.sort_by_key(|cancel| (cancel.at, cancel.id));
            let past = cancels.partition_point(|cancel| cancel.at <= due);
            requests.extend(cancels.drain(..past));
            let side = if rng.below(2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let spread = spreads[rng.below(3) as usize];
            let away = rng.below(spread * 3 / 2).cast_signed() - (spread / 2).cast_signed();
            let price: i64 = price - side.sign() * away;
            let qty = [1, 7, 100, 2_500][rng.below(4) as usize] * lot;
            requests.push(Request {
                at: due,
                id,
                ask: Ask::New {
                    side,
                    price: Price(price),
                    qty: Qty(qty),
                    post_only: rng.below(2) == 0,
                },
            });
            let life = (1 + rng.below(LIFE_EIGHTHS)) * SECONDS / 8;
            cancels.push(Request {
                at: due.plus(life),
                id,
                ask: Ask::Cancel,
            });
            id += 1;
            due = due.plus(ORDER_EVERY);
        }
        if let What::Trade(trade) = row.what {
            last = Some(trade.price.0);
        }
    }
    requests.sort_by_key(|request| request.at);
    (requests, id)
}

/// A market from a fixed seed: trades at the touch with the change of the level after most of them,
/// changes of levels near the touch and, more seldom, far from it, and new levels inside a wide spread.
pub(crate) fn synthetic(count: usize) -> Tape {
    let mut market = Market::new(count);
    while market.rows.len() < count {
        market.step();
    }
    market.rows.truncate(count);
    Tape::new("synthetic", (2, 3, 1), market.rows, [2, 6, 20])
}

struct Market {
    rng: Rng,
    now: Time,
    /// By price, bids and asks.
    books: [BTreeMap<i64, i64>; 2],
    rows: Vec<Row>,
}

const fn place(side: Side) -> usize {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

impl Market {
    fn new(count: usize) -> Self {
        let mut market = Self {
            rng: Rng::new(SEED, 1),
            now: START,
            books: [BTreeMap::new(), BTreeMap::new()],
            rows: Vec::with_capacity(count + 2 * LEVELS as usize),
        };
        for away in 0..LEVELS {
            for (side, price) in [
                (Side::Buy, FIRST_BID - away),
                (Side::Sell, FIRST_BID + 1 + away),
            ] {
                let qty = market.quantity();
                market.set(side, price, qty);
            }
        }
        market
    }

    fn quantity(&mut self) -> i64 {
        1 + self.rng.below(5_000).cast_signed()
    }

    fn best(&self, side: Side) -> i64 {
        let book = &self.books[place(side)];
        let best = match side {
            Side::Buy => book.last_key_value(),
            Side::Sell => book.first_key_value(),
        };
        *best.expect("a side is refilled before it is empty").0
    }

    fn set(&mut self, side: Side, price: i64, qty: i64) {
        let book = &mut self.books[place(side)];
        if qty > 0 {
            book.insert(price, qty);
        } else if book.len() > 1 {
            book.remove(&price);
        } else {
            return;
        }
        self.rows.push(Row {
            at: self.now,
            what: What::Level {
                side,
                price: Price(price),
                qty: Qty(qty),
            },
        });
    }

    fn step(&mut self) {
        self.now = self.now.plus(self.rng.below(2 * STEP));
        let side = if self.rng.below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        match self.rng.below(100) {
            0..20 => self.trade(side),
            20..30 if self.best(Side::Sell) - self.best(Side::Buy) > 1 => {
                let (price, qty) = (self.best(side) + side.sign(), self.quantity());
                self.set(side, price, qty);
            }
            near => {
                let most = if near < 80 { 10 } else { 200 };
                let away = self.rng.below(most).cast_signed();
                let price = self.best(side) - side.sign() * away;
                let qty = if self.rng.below(4) == 0 {
                    0
                } else {
                    self.quantity()
                };
                self.set(side, price, qty);
            }
        }
    }

    /// Somebody takes from the touch, at most what stands there.
    fn trade(&mut self, hit: Side) {
        let price = self.best(hit);
        let there = self.books[place(hit)][&price];
        let most = if self.rng.below(4) == 0 {
            there
        } else {
            (there / 4).max(1)
        };
        let qty = 1 + self.rng.below(most.unsigned_abs()).cast_signed();
        self.rows.push(Row {
            at: self.now,
            what: What::Trade(Trade {
                id: 0,
                price: Price(price),
                qty: Qty(qty),
                aggressor: hit.opposite(),
            }),
        });
        if self.rng.below(10) < 8 {
            self.set(hit, price, there - qty);
        }
    }
}

type Capture = (&'static str, Scales, Venue, &'static [&'static str]);
/// Decimals of prices and of quantities, and what a lot is in those.
type Scales = (u8, u8, i64);

/// The captures that are measured: name, scales, files in order. Spot levels hold parts of a lot.
pub(crate) const CAPTURES: [Capture; 2] = [
    (
        "binance BTCUSDT",
        (2, 8, 1_000),
        Venue::Binance,
        &[
            "hftbacktest-binance-raw/spot_btcusdt_20240808.jsonl.gz",
            "hftbacktest-binance-raw/spot_btcusdt_20240809.jsonl.gz",
        ],
    ),
    (
        "binance-usdm BTCUSDT",
        (1, 3, 1),
        Venue::BinanceUsdm,
        &["hftbacktest-binance-raw/usdm_btcusdt_20240808.jsonl.gz"],
    ),
];

/// The book and the trades of a capture from the snapshot on, row by row as tests/parity makes them;
/// `None` where a file is not at hand.
pub(crate) fn recorded(&(name, scales, venue, files): &Capture) -> Option<Tape> {
    let mut rows = Vec::new();
    let mut last = None;
    for file in files {
        for (at, frame) in tape::recorded(&(name, venue, file))?.frames {
            let frame: Value = serde_json::from_str(&frame).expect("JSON");
            read(at, &frame, scales, &mut last, &mut rows);
        }
    }
    Some(Tape::new(name, scales, rows, [2, 20, 300]))
}

fn read(at: Time, frame: &Value, scales: Scales, last: &mut Option<u64>, rows: &mut Vec<Row>) {
    let number = |value: &Value, scale: u8| {
        let text = value.as_str().expect("numbers are text");
        let text = match text.split_once('.') {
            Some((whole, rest)) => format!("{whole}.{}", rest.trim_end_matches('0')),
            None => text.to_owned(),
        };
        num::parse(text.trim_end_matches('.'), scale).unwrap_or_else(|e| panic!("{text}: {e:?}"))
    };
    let levels = |list: &Value, side: Side, rows: &mut Vec<Row>| {
        rows.extend(list.as_array().expect("levels").iter().map(|level| Row {
            at,
            what: What::Level {
                side,
                price: Price(number(&level[0], scales.0)),
                qty: Qty(number(&level[1], scales.1)),
            },
        }));
    };
    let stream = frame["stream"].as_str().unwrap_or_default();
    let data = frame.get("data").unwrap_or(frame);
    if let Some(id) = data["lastUpdateId"].as_u64() {
        *last = Some(id);
        levels(&data["bids"], Side::Buy, rows);
        levels(&data["asks"], Side::Sell, rows);
        return;
    }
    let Some(snapshot) = *last else {
        return;
    };
    if stream.contains("@depth") && data["u"].as_u64().is_some_and(|id| id > snapshot) {
        levels(&data["b"], Side::Buy, rows);
        levels(&data["a"], Side::Sell, rows);
    } else if stream.contains("@trade") {
        let price = number(&data["p"], scales.0);
        // Some futures trades carry no price; they belong to no market.
        if price > 0 {
            let aggressor = if data["m"] == true {
                Side::Sell
            } else {
                Side::Buy
            };
            rows.push(Row {
                at,
                what: What::Trade(Trade {
                    id: 0,
                    price: Price(price),
                    qty: Qty(number(&data["q"], scales.1)),
                    aggressor,
                }),
            });
        }
    }
}
