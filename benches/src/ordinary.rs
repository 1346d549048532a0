//! The same work done the ordinary way, to be measured beside ours.
//!
//! `serde_json::Value` for the frame, `f64` for the numbers, a `BTreeMap` a side for the book, a
//! `VecDeque` a window for the trades: what one writes when one just wants the features. It does
//! less than ours: no sequence rules, no checksum, no contradiction between streams is looked for,
//! no number is exact. The features of the book are the same, and the bench asserts that they are
//! equal on every frame.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;
use tickerml_shared::instrument::Venue;

/// Book features stand first, under these names of ours.
pub const BOOK_FEATURES: [&str; 5] = [
    "book_imbalance_1",
    "book_imbalance_5",
    "book_imbalance_10",
    "weighted_mid_deviation",
    "spread",
];
/// Those, trade flow over three windows, VWAP deviation and realised volatility.
pub type Features = [f64; 10];

/// A price as an ordered key, as everybody makes one of a float.
const KEY: f64 = 1e8;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Windows of trade flow, seconds.
const WINDOWS: [u64; 3] = [1, 10, 60];
/// Samples of realised volatility.
const SAMPLES: usize = 60;
/// Basis points in one.
const BPS: f64 = 1e4;
/// Levels a side in the features.
const LEVELS: usize = 10;

#[derive(Clone, Copy, Debug)]
struct Ticker {
    id: u64,
    bid: (f64, f64),
    ask: (f64, f64),
}

#[derive(Clone, Copy, Debug)]
struct Trade {
    at: u64,
    price: f64,
    qty: f64,
    buy: bool,
}

/// One rolling window of trades.
#[derive(Debug, Default)]
struct Flow {
    trades: VecDeque<Trade>,
    bought: f64,
    sold: f64,
    value: f64,
}

impl Flow {
    fn push(&mut self, trade: Trade) {
        self.count(&trade, 1.0);
        self.trades.push_back(trade);
    }

    fn expire(&mut self, before: u64) {
        while let Some(trade) = self
            .trades
            .front()
            .copied()
            .filter(|trade| trade.at < before)
        {
            self.count(&trade, -1.0);
            self.trades.pop_front();
        }
    }

    fn count(&mut self, trade: &Trade, sign: f64) {
        if trade.buy {
            self.bought += sign * trade.qty;
        } else {
            self.sold += sign * trade.qty;
        }
        self.value += sign * trade.price * trade.qty;
    }
}

/// One instrument.
#[derive(Debug, Default)]
pub struct Market {
    bids: BTreeMap<i64, f64>,
    asks: BTreeMap<i64, f64>,
    /// Levels a side that the venue keeps; 0 for all.
    depth: usize,
    id: u64,
    synced: bool,
    ticker: Option<Ticker>,
    /// Diffs that came before the snapshot.
    early: Vec<Value>,
    flows: [Flow; WINDOWS.len()],
    sampled: Option<(u64, f64)>,
    squares: VecDeque<f64>,
    /// After the newest frame; `None` without two sides.
    pub features: Option<Features>,
}

/// All instruments of a connection.
#[derive(Debug)]
pub struct Ordinary {
    venue: Venue,
    /// By symbol.
    pub markets: HashMap<String, Market>,
    /// The only symbol that a nameless snapshot can mean.
    nameless: Option<Value>,
}

fn float(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        other => other.as_f64().unwrap_or(f64::NAN),
    }
}

fn integer(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap_or_default(),
        other => other.as_u64().unwrap_or_default(),
    }
}

/// A level as `[price, quantity, …]` or as `{"price": …, "qty": …}`.
fn level(row: &Value) -> (f64, f64) {
    if row.is_array() {
        (float(&row[0]), float(&row[1]))
    } else {
        (float(&row["price"]), float(&row["qty"]))
    }
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl Ordinary {
    /// A reader of a venue's frames.
    #[must_use]
    pub fn new(venue: Venue) -> Self {
        Self {
            venue,
            markets: HashMap::new(),
            nameless: None,
        }
    }

    /// Reads a frame, updates the books and trades that it is about, and computes their features.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn frame(&mut self, now: u64, text: &str) -> Result<(), serde_json::Error> {
        let frame: Value = serde_json::from_str(text)?;
        match self.venue {
            Venue::Binance | Venue::BinanceUs | Venue::BinanceUsdm => self.binance(now, frame),
            Venue::Kraken => self.kraken(now, &frame),
            Venue::Kucoin => self.kucoin(now, frame),
            Venue::Coinbase => self.coinbase(now, &frame),
            Venue::CoinbaseAdvanced => self.advanced(now, &frame),
            Venue::KrakenFutures => self.kraken_futures(now, &frame),
            Venue::KucoinUta | Venue::KucoinFutures => {}
        }
        Ok(())
    }

    fn market(&mut self, symbol: &str) -> &mut Market {
        if !self.markets.contains_key(symbol) {
            self.markets.insert(symbol.to_owned(), Market::default());
        }
        self.markets.get_mut(symbol).expect("just inserted")
    }

    fn binance(&mut self, now: u64, mut frame: Value) {
        let stream = frame["stream"].as_str().unwrap_or_default().to_owned();
        if stream.is_empty() && frame["lastUpdateId"].is_u64() {
            match self.markets.values_mut().next() {
                Some(market) => market.rest(now, &frame, "lastUpdateId", "u"),
                None => self.nameless = Some(frame),
            }
            return;
        }
        let data = frame["data"].take();
        if stream.ends_with("@depthSnapshot") {
            let symbol = stream.split('@').next().unwrap_or_default().to_uppercase();
            return self.market(&symbol).rest(now, &data, "lastUpdateId", "u");
        }
        let Some(symbol) = data["s"].as_str().map(ToOwned::to_owned) else {
            return;
        };
        let nameless = self.nameless.take();
        let market = self.market(&symbol);
        if let Some(snapshot) = nameless {
            market.rest(now, &snapshot, "lastUpdateId", "u");
        }
        match data["e"].as_str() {
            Some("depthUpdate") => market.diff(data, "u", "b", "a"),
            Some("trade") => market.trade(Trade {
                at: now,
                price: float(&data["p"]),
                qty: float(&data["q"]),
                buy: data["m"] == false,
            }),
            _ => {
                market.ticker = Some(Ticker {
                    id: integer(&data["u"]),
                    bid: (float(&data["b"]), float(&data["B"])),
                    ask: (float(&data["a"]), float(&data["A"])),
                });
            }
        }
        market.compute(now);
    }

    fn kraken(&mut self, now: u64, frame: &Value) {
        let snapshot = frame["type"] == "snapshot";
        match frame["channel"].as_str() {
            Some("book") => {
                for data in rows(&frame["data"]) {
                    let market = self.market(data["symbol"].as_str().unwrap_or_default());
                    if snapshot {
                        market.clear();
                        market.depth = rows(&data["bids"]).count();
                    }
                    market.apply(&data["bids"], &data["asks"]);
                    market.compute(now);
                }
            }
            Some("trade") if !snapshot => {
                for data in rows(&frame["data"]) {
                    let market = self.market(data["symbol"].as_str().unwrap_or_default());
                    market.trade(Trade {
                        at: now,
                        price: float(&data["price"]),
                        qty: float(&data["qty"]),
                        buy: data["side"] == "buy",
                    });
                    market.compute(now);
                }
            }
            _ => {}
        }
    }

    fn kucoin(&mut self, now: u64, mut frame: Value) {
        let mut data = frame["data"].take();
        let topic = frame["topic"].as_str().unwrap_or_default();
        let symbol = topic.split(':').nth(1).unwrap_or_default().to_owned();
        match frame["subject"].as_str() {
            Some("trade.l2update") => {
                let market = self.market(&symbol);
                data["asks"] = data["changes"]["asks"].take();
                data["bids"] = data["changes"]["bids"].take();
                market.diff(data, "sequenceEnd", "bids", "asks");
                market.compute(now);
            }
            Some("trade.l2Snapshot") => {
                self.market(&symbol)
                    .rest(now, &data, "sequence", "sequenceEnd");
            }
            Some("trade.l3match") => {
                let market = self.market(&symbol);
                market.trade(Trade {
                    at: now,
                    price: float(&data["price"]),
                    qty: float(&data["size"]),
                    buy: data["side"] == "buy",
                });
                market.compute(now);
            }
            None if frame["code"] == "200000" => {
                if let Some(market) = self.markets.values_mut().next() {
                    market.rest(now, &data, "sequence", "sequenceEnd");
                }
            }
            _ => {}
        }
    }

    fn coinbase(&mut self, now: u64, frame: &Value) {
        let Some(symbol) = frame["product_id"].as_str() else {
            return;
        };
        let market = self.market(symbol);
        match frame["type"].as_str() {
            Some("snapshot") => {
                market.clear();
                market.apply(&frame["bids"], &frame["asks"]);
            }
            Some("l2update") => {
                for change in rows(&frame["changes"]) {
                    let level = (float(&change[1]), float(&change[2]));
                    market.set(change[0] == "buy", level);
                }
            }
            Some("match") => market.trade(Trade {
                at: now,
                price: float(&frame["price"]),
                qty: float(&frame["size"]),
                // `side` is the maker's.
                buy: frame["side"] == "sell",
            }),
            _ => return,
        }
        market.compute(now);
    }

    fn advanced(&mut self, now: u64, frame: &Value) {
        let channel = frame["channel"].as_str();
        for event in rows(&frame["events"]) {
            let snapshot = event["type"] == "snapshot";
            match channel {
                Some("l2_data") => {
                    let market = self.market(event["product_id"].as_str().unwrap_or_default());
                    if snapshot {
                        market.clear();
                    }
                    for change in rows(&event["updates"]) {
                        let level = (
                            float(&change["price_level"]),
                            float(&change["new_quantity"]),
                        );
                        market.set(change["side"] == "bid", level);
                    }
                    market.compute(now);
                }
                Some("market_trades") if !snapshot => {
                    for trade in rows(&event["trades"]) {
                        let market = self.market(trade["product_id"].as_str().unwrap_or_default());
                        market.trade(Trade {
                            at: now,
                            price: float(&trade["price"]),
                            qty: float(&trade["size"]),
                            // `side` is the maker's.
                            buy: trade["side"] == "SELL",
                        });
                        market.compute(now);
                    }
                }
                _ => {}
            }
        }
    }

    fn kraken_futures(&mut self, now: u64, frame: &Value) {
        let Some(symbol) = frame["product_id"].as_str() else {
            return;
        };
        let market = self.market(symbol);
        match frame["feed"].as_str() {
            Some("book_snapshot") => {
                market.clear();
                market.apply(&frame["bids"], &frame["asks"]);
            }
            Some("book") => market.set(frame["side"] == "buy", level(frame)),
            Some("trade") => market.trade(Trade {
                at: now,
                price: float(&frame["price"]),
                qty: float(&frame["qty"]),
                buy: frame["side"] == "buy",
            }),
            _ => return,
        }
        market.compute(now);
    }
}

impl Market {
    fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
        self.synced = true;
    }

    fn set(&mut self, bid: bool, (price, qty): (f64, f64)) {
        let side = if bid { &mut self.bids } else { &mut self.asks };
        let key = (price * KEY).round() as i64;
        if qty == 0.0 {
            side.remove(&key);
        } else {
            side.insert(key, qty);
        }
    }

    fn apply(&mut self, bids: &Value, asks: &Value) {
        for row in rows(bids) {
            self.set(true, level(row));
        }
        for row in rows(asks) {
            self.set(false, level(row));
        }
        if self.depth > 0 {
            while self.bids.len() > self.depth {
                self.bids.pop_first();
            }
            while self.asks.len() > self.depth {
                self.asks.pop_last();
            }
        }
    }

    fn diff(&mut self, data: Value, id: &str, bids: &str, asks: &str) {
        if !self.synced {
            self.early.push(data);
            return;
        }
        let last = integer(&data[id]);
        if last > self.id {
            self.id = last;
            self.apply(&data[bids], &data[asks]);
        }
    }

    /// A snapshot by request, and the diffs that came before it.
    fn rest(&mut self, now: u64, data: &Value, id: &str, diff_id: &str) {
        self.clear();
        self.ticker = None;
        self.id = integer(&data[id]);
        self.apply(&data["bids"], &data["asks"]);
        let (bids, asks) = if diff_id == "u" {
            ("b", "a")
        } else {
            ("bids", "asks")
        };
        for early in std::mem::take(&mut self.early) {
            self.diff(early, diff_id, bids, asks);
        }
        self.compute(now);
    }

    fn trade(&mut self, trade: Trade) {
        for flow in &mut self.flows {
            flow.push(trade);
        }
    }

    /// The best levels of a side, behind the ticker where that is newer than the diffs.
    fn top(&self, bid: bool) -> impl Iterator<Item = (f64, f64)> + '_ {
        let ticker = self
            .ticker
            .filter(|ticker| ticker.id > self.id && self.id != 0);
        let touch = ticker.map(|ticker| if bid { ticker.bid } else { ticker.ask });
        let side = if bid { &self.bids } else { &self.asks };
        let mut forward = side.iter();
        let levels = std::iter::from_fn(move || {
            if bid {
                forward.next_back()
            } else {
                forward.next()
            }
        })
        .map(|(key, qty)| (*key as f64 / KEY, *qty))
        .skip_while(move |(price, _)| match touch {
            Some(touch) if bid => *price >= touch.0 - 1e-9,
            Some(touch) => *price <= touch.0 + 1e-9,
            None => false,
        });
        touch.into_iter().chain(levels).take(LEVELS)
    }

    fn compute(&mut self, now: u64) {
        self.features = self.computed(now);
    }

    fn computed(&mut self, now: u64) -> Option<Features> {
        if !self.synced {
            return None;
        }
        let ((bid, bid_qty), (ask, ask_qty)) = (self.top(true).next()?, self.top(false).next()?);
        let mid = f64::midpoint(bid, ask);
        let imbalance = |levels: usize| {
            let bids: f64 = self.top(true).take(levels).map(|level| level.1).sum();
            let asks: f64 = self.top(false).take(levels).map(|level| level.1).sum();
            (bids - asks) / (bids + asks)
        };
        let micro = (ask_qty * bid + bid_qty * ask) / (bid_qty + ask_qty);
        let mut features = [
            imbalance(1),
            imbalance(5),
            imbalance(10),
            (micro / mid - 1.0) * BPS,
            (ask - bid) / mid * BPS,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ];
        for (place, (flow, window)) in self.flows.iter_mut().zip(WINDOWS).enumerate() {
            flow.expire(now.saturating_sub(window * SECOND));
            let volume = flow.bought + flow.sold;
            if volume > 0.0 {
                features[5 + place] = (flow.bought - flow.sold) / volume;
                // The last window also gives the VWAP.
                features[8] = (mid / (flow.value / volume) - 1.0) * BPS;
            }
        }
        features[9] = self.volatility(now, mid);
        Some(features)
    }

    fn volatility(&mut self, now: u64, mid: f64) -> f64 {
        let second = now / SECOND;
        match self.sampled {
            Some((sampled, _)) if sampled == second => {}
            Some((sampled, last)) => {
                let change = (mid / last).ln();
                self.squares.push_back(change * change);
                for _ in sampled + 1..second.min(sampled + SAMPLES as u64) {
                    self.squares.push_back(0.0);
                }
                while self.squares.len() > SAMPLES {
                    self.squares.pop_front();
                }
                self.sampled = Some((second, mid));
            }
            None => self.sampled = Some((second, mid)),
        }
        self.squares.iter().sum::<f64>().sqrt() * BPS
    }
}
