//! Small reference clients rebuild the books from the frames and compare them with the truth.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;
use crate::exchange::{Exchange, ExchangeConfig};
use crate::world::{MILLI, VenueKind::*};

const START: u64 = 1_760_000_000 * SECOND;

/// Integer units of decimal text; more decimals than the instrument has must be zeros.
fn units(text: &str, decimals: u32) -> i64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let mut part = part.to_string();
    while part.len() > decimals as usize {
        assert_eq!(
            part.pop(),
            Some('0'),
            "{text} is finer than {decimals} decimals"
        );
    }
    format!("{whole}{part:0<width$}", width = decimals as usize)
        .parse()
        .unwrap()
}

#[derive(Default, Debug, Clone)]
struct Book {
    decimals: (u32, u32),
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// Last sequence number, where the venue has one.
    last: Option<u64>,
    depth: usize,
}

impl Book {
    fn set(&mut self, side: Side, price: &str, qty: &str) {
        let (price, qty) = (units(price, self.decimals.0), units(qty, self.decimals.1));
        let levels = if side == Side::Buy {
            &mut self.bids
        } else {
            &mut self.asks
        };
        if qty == 0 {
            levels.remove(&price);
        } else {
            levels.insert(price, qty);
        }
    }
    fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }
    fn crossed(&self) -> bool {
        match (self.bids.keys().next_back(), self.asks.keys().next()) {
            (Some(bid), Some(ask)) => bid >= ask,
            _ => false,
        }
    }
    fn rows(&mut self, side: Side, rows: &Value) {
        for row in rows.as_array().unwrap() {
            self.set(side, row[0].as_str().unwrap(), row[1].as_str().unwrap());
        }
    }
}

/// Books by symbol, trades counted, and what looked wrong.
struct Client {
    kind: VenueKind,
    books: BTreeMap<String, Book>,
    trades: BTreeMap<String, u64>,
    problems: Vec<(&'static str, String)>,
    sequence: Option<u64>,
    tickers: BTreeMap<(String, u64), Value>,
    ticker_checks: u64,
    kinds: BTreeMap<String, u64>,
    buffered: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
struct KrakenBook<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Vec<KrakenData<'a>>,
}

#[derive(Deserialize)]
struct KrakenData<'a> {
    symbol: &'a str,
    #[serde(borrow)]
    bids: Vec<KrakenLevel<'a>>,
    #[serde(borrow)]
    asks: Vec<KrakenLevel<'a>>,
    checksum: u32,
}

#[derive(Deserialize)]
struct KrakenLevel<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

impl Client {
    fn new(server: &VenueServer, depth: usize) -> Client {
        let books = server
            .listings()
            .iter()
            .map(|l| {
                let decimals = (l.instrument.price_decimals, l.instrument.qty_decimals);
                (
                    l.symbol().to_string(),
                    Book {
                        decimals,
                        depth,
                        ..Default::default()
                    },
                )
            })
            .collect();
        Client {
            kind: server.kind(),
            books,
            trades: BTreeMap::new(),
            problems: Vec::new(),
            sequence: None,
            tickers: BTreeMap::new(),
            ticker_checks: 0,
            kinds: BTreeMap::new(),
            buffered: BTreeMap::new(),
        }
    }

    fn problem(&mut self, what: &'static str, symbol: &str) {
        self.problems.push((what, symbol.to_string()));
    }

    fn see(&mut self, kind: &str) {
        *self.kinds.entry(kind.to_string()).or_default() += 1;
    }

    fn frame(&mut self, frame: &ServerFrame) {
        let text = match frame {
            ServerFrame::Text(text) => text.as_str(),
            ServerFrame::Binary(bytes) => std::str::from_utf8(bytes).unwrap(),
            other => {
                self.see(match other {
                    ServerFrame::Ping(_) => "ping",
                    ServerFrame::Drop => "drop",
                    ServerFrame::Freeze => "freeze",
                    _ => "close",
                });
                return;
            }
        };
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            self.problem("unparsable", "");
            return;
        };
        match self.kind {
            Binance => self.binance(value),
            Coinbase => self.coinbase(&value),
            Kraken => self.kraken(&value, text),
            Kucoin => self.kucoin(&value),
        }
        let crossed: Vec<String> = self
            .books
            .iter()
            .filter(|(_, b)| b.crossed())
            .map(|(s, _)| s.clone())
            .collect();
        for symbol in crossed {
            self.problem("crossed", &symbol);
        }
    }

    fn binance(&mut self, value: Value) {
        let data = if value["data"].is_object() {
            value["data"].clone()
        } else {
            value
        };
        let symbol = data["s"].as_str().unwrap_or_default().to_string();
        match data["e"].as_str() {
            Some("depthUpdate") => {
                self.see("depth");
                if self.books[&symbol].last.is_none() {
                    self.buffered.entry(symbol).or_default().push(data);
                } else {
                    self.binance_diff(&symbol, &data, false);
                }
            }
            Some("trade") => {
                self.see("trade");
                *self.trades.entry(symbol).or_default() += 1;
            }
            _ if data["u"].is_u64() => {
                self.see("ticker");
                let u = data["u"].as_u64().unwrap();
                self.tickers.insert((symbol, u), data);
            }
            _ => self.see("reply"),
        }
    }

    fn binance_diff(&mut self, symbol: &str, data: &Value, first: bool) {
        let (from, to) = (data["U"].as_u64().unwrap(), data["u"].as_u64().unwrap());
        let book = self.books.get_mut(symbol).unwrap();
        let last = book.last.unwrap();
        if to <= last {
            if !first {
                self.problem("stale", symbol);
            }
            return;
        }
        if from > last + 1 || (!first && from != last + 1) {
            return self.problem("sequence", symbol);
        }
        book.rows(Side::Buy, &data["b"]);
        book.rows(Side::Sell, &data["a"]);
        book.last = Some(to);
        if let Some(ticker) = self.tickers.remove(&(symbol.to_string(), to)) {
            let decimals = book.decimals;
            let text = |key: &str, d| units(ticker[key].as_str().unwrap(), d);
            let bid = (text("b", decimals.0), text("B", decimals.1));
            let ask = (text("a", decimals.0), text("A", decimals.1));
            let best = (book.bids.iter().next_back(), book.asks.iter().next());
            if best != (Some((&bid.0, &bid.1)), Some((&ask.0, &ask.1))) {
                self.problem("bbo", symbol);
            }
            self.ticker_checks += 1;
        }
    }

    fn binance_snapshot(&mut self, symbol: &str, body: &str) {
        let value: Value = serde_json::from_str(body).unwrap();
        let book = self.books.get_mut(symbol).unwrap();
        book.clear();
        book.rows(Side::Buy, &value["bids"]);
        book.rows(Side::Sell, &value["asks"]);
        book.last = value["lastUpdateId"].as_u64();
        for data in self.buffered.remove(symbol).unwrap_or_default() {
            self.binance_diff(symbol, &data, true);
        }
    }

    fn coinbase(&mut self, value: &Value) {
        let Some(sequence) = value["sequence_num"].as_u64() else {
            self.see(value["type"].as_str().unwrap_or("pad"));
            return;
        };
        let expected = self.sequence.map_or(0, |s| s + 1);
        if sequence != expected {
            self.problem("sequence", "");
        }
        self.sequence = Some(sequence);
        let channel = value["channel"].as_str().unwrap();
        self.see(channel);
        for event in value["events"].as_array().unwrap() {
            let snapshot = event["type"] == "snapshot";
            match channel {
                "l2_data" => {
                    let book = self
                        .books
                        .get_mut(event["product_id"].as_str().unwrap())
                        .unwrap();
                    if snapshot {
                        book.clear();
                    }
                    for row in event["updates"].as_array().unwrap() {
                        let side = if row["side"] == "bid" {
                            Side::Buy
                        } else {
                            Side::Sell
                        };
                        let text = |key: &str| row[key].as_str().unwrap();
                        assert!(
                            !text("new_quantity").contains('.')
                                || !text("new_quantity").ends_with('0')
                        );
                        book.set(side, text("price_level"), text("new_quantity"));
                    }
                }
                "market_trades" => {
                    for trade in event["trades"].as_array().unwrap() {
                        let product = trade["product_id"].as_str().unwrap().to_string();
                        if !snapshot {
                            *self.trades.entry(product).or_default() += 1;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn kraken(&mut self, value: &Value, text: &str) {
        let channel = value["channel"]
            .as_str()
            .or(value["method"].as_str())
            .unwrap_or("pad");
        self.see(channel);
        if value["success"] == false {
            self.see(value["error"].as_str().unwrap());
        }
        if channel == "trade" && value["type"] == "update" {
            for trade in value["data"].as_array().unwrap() {
                *self
                    .trades
                    .entry(trade["symbol"].as_str().unwrap().to_string())
                    .or_default() += 1;
            }
        }
        if channel != "book" {
            return;
        }
        let message: KrakenBook = serde_json::from_str(text).unwrap();
        for data in message.data {
            let book = self.books.get_mut(data.symbol).unwrap();
            if message.kind == "snapshot" {
                book.clear();
            }
            for (side, levels) in [(Side::Buy, &data.bids), (Side::Sell, &data.asks)] {
                for level in levels {
                    let decimals = |t: &str| t.split_once('.').unwrap().1.len() as u32;
                    assert_eq!(decimals(level.price.get()), book.decimals.0, "{text}");
                    assert_eq!(decimals(level.qty.get()), book.decimals.1, "{text}");
                    book.set(side, level.price.get(), level.qty.get());
                }
            }
            while book.bids.len() > book.depth {
                book.bids.pop_first();
            }
            while book.asks.len() > book.depth {
                book.asks.pop_last();
            }
            // The checksum once more, in another way than the server's.
            let mut digits = String::new();
            for (p, q) in book.asks.iter().take(10) {
                digits.push_str(&format!("{p}{q}"));
            }
            for (p, q) in book.bids.iter().rev().take(10) {
                digits.push_str(&format!("{p}{q}"));
            }
            if crc32fast::hash(digits.as_bytes()) != data.checksum {
                let symbol = data.symbol.to_string();
                self.problem("checksum", &symbol);
            }
        }
    }

    fn kucoin(&mut self, value: &Value) {
        if let Some(kind) = value["T"].as_str() {
            self.see(kind);
            let data = &value["d"];
            let symbol = data["s"].as_str().unwrap().to_string();
            if kind == "trade.SPOT" {
                *self.trades.entry(symbol).or_default() += 1;
                return;
            }
            let (open, close) = (data["O"].as_u64().unwrap(), data["C"].as_u64().unwrap());
            let book = self.books.get_mut(&symbol).unwrap();
            if value["t"] == "snapshot" {
                assert_eq!(open, close);
                book.clear();
            } else if book.last.is_none_or(|last| open != last + 1) {
                return self.problem("sequence", &symbol);
            }
            book.rows(Side::Buy, &data["b"]);
            book.rows(Side::Sell, &data["a"]);
            book.last = Some(close);
            return;
        }
        let data = &value["data"];
        match value["subject"].as_str() {
            Some("trade.l2update") => {
                self.see("l2update");
                let symbol = data["symbol"].as_str().unwrap().to_string();
                if self.books[&symbol].last.is_none() {
                    self.buffered.entry(symbol).or_default().push(data.clone());
                } else {
                    self.kucoin_diff(&symbol, &data.clone(), false);
                }
            }
            Some("trade.l3match") => {
                self.see("match");
                assert!(data["time"].as_str().unwrap().len() == 19);
                *self
                    .trades
                    .entry(data["symbol"].as_str().unwrap().to_string())
                    .or_default() += 1;
            }
            Some(subject) => self.see(subject),
            None => {
                let name = value["type"]
                    .as_str()
                    .or(value["message"].as_str())
                    .unwrap_or("pad");
                self.see(name);
            }
        }
    }

    fn kucoin_diff(&mut self, symbol: &str, data: &Value, first: bool) {
        let (from, to) = (
            data["sequenceStart"].as_u64().unwrap(),
            data["sequenceEnd"].as_u64().unwrap(),
        );
        let book = self.books.get_mut(symbol).unwrap();
        let last = book.last.unwrap();
        if to <= last {
            if !first {
                self.problem("stale", symbol);
            }
            return;
        }
        if from > last + 1 {
            return self.problem("sequence", symbol);
        }
        let mut fillers = 0;
        for (key, side) in [("asks", Side::Sell), ("bids", Side::Buy)] {
            for row in data["changes"][key].as_array().unwrap() {
                let text = |i: usize| row[i].as_str().unwrap();
                let sequence: u64 = text(2).parse().unwrap();
                assert!((from..=to).contains(&sequence));
                if text(0) == "0" {
                    fillers += 1;
                } else if sequence > last {
                    book.set(side, text(0), text(1));
                }
            }
        }
        book.last = Some(to);
        for _ in 0..fillers {
            self.see("filler");
        }
    }

    fn kucoin_snapshot(&mut self, symbol: &str, body: &str) {
        let value: Value = serde_json::from_str(body).unwrap();
        let data = &value["data"];
        let book = self.books.get_mut(symbol).unwrap();
        book.clear();
        book.rows(Side::Buy, &data["bids"]);
        book.rows(Side::Sell, &data["asks"]);
        book.last = Some(data["sequence"].as_str().unwrap().parse().unwrap());
        for data in self.buffered.remove(symbol).unwrap_or_default() {
            self.kucoin_diff(symbol, &data, true);
        }
    }
}

/// An exchange with clients on one of its servers.
struct Rig {
    exchange: Exchange,
    kind: VenueKind,
    now: u64,
    clients: BTreeMap<ConnId, Client>,
}

impl Rig {
    fn new(kind: VenueKind, seed: u64) -> Rig {
        let exchange = Exchange::new(ExchangeConfig::new(seed, START));
        Rig {
            exchange,
            kind,
            now: START,
            clients: BTreeMap::new(),
        }
    }
    fn server(&mut self) -> &mut VenueServer {
        self.exchange.server_mut(self.kind)
    }
    fn connect(&mut self, conn: ConnId, target: &str, depth: usize) {
        let now = self.now;
        self.server().connect(conn, target, now).unwrap();
        let client = Client::new(self.server(), depth);
        self.clients.insert(conn, client);
        self.drain();
    }
    fn say(&mut self, conn: ConnId, text: &str) {
        let now = self.now;
        self.server().handle_frame(conn, text, now);
        self.drain();
    }
    fn get(&mut self, target: &str) -> HttpReply {
        let now = self.now;
        self.server().handle_http("GET", target, now)
    }
    fn drain(&mut self) {
        while let Some((conn, frame)) = self.exchange.server_mut(self.kind).poll_transmit() {
            if matches!(frame, ServerFrame::Ping(_)) {
                let now = self.now;
                self.exchange.server_mut(self.kind).handle_pong(conn, now);
            }
            if let Some(client) = self.clients.get_mut(&conn) {
                client.frame(&frame);
            }
        }
    }
    fn run(&mut self, ms: u64) {
        let end = self.now + ms * MILLI;
        while self.now < end {
            self.now += 10 * MILLI;
            let now = self.now;
            self.exchange.advance(now);
            self.drain();
        }
    }
    /// Lets every pending batch go out while the market stands still.
    fn settle(&mut self) {
        let now = self.now;
        self.server().handle_timeout(now + SECOND - MILLI);
        self.drain();
    }
    fn client(&self, conn: ConnId) -> &Client {
        &self.clients[&conn]
    }
    fn inject(&mut self, fault: Fault) -> bool {
        let now = self.now;
        self.server().inject(&fault, now)
    }
    fn same(&self, conn: ConnId) -> bool {
        let server = self.exchange.server(self.kind);
        server.listings().iter().all(|truth| {
            let book = &self.clients[&conn].books[truth.symbol()];
            let depth = if book.depth == 0 {
                usize::MAX
            } else {
                book.depth
            };
            let rows = |rows: Vec<(i64, i64)>| rows.into_iter().collect::<BTreeMap<_, _>>();
            book.bids == rows(truth.top(Side::Buy, depth))
                && book.asks == rows(truth.top(Side::Sell, depth))
        })
    }
    fn count(&self, conn: ConnId, kind: &str) -> u64 {
        self.clients[&conn].kinds.get(kind).copied().unwrap_or(0)
    }
    fn first_symbol(&self) -> String {
        self.exchange.server(self.kind).listings()[0]
            .symbol()
            .to_string()
    }

    /// A synced client on connection 1.
    fn synced(kind: VenueKind, seed: u64) -> Rig {
        let mut rig = Rig::new(kind, seed);
        rig.run(300);
        rig.subscribe(1);
        rig.run(500);
        rig.snapshots(1);
        rig.run(500);
        assert_eq!(rig.client(1).problems, [], "{kind} starts clean");
        rig
    }
    fn subscribe(&mut self, conn: ConnId) {
        match self.kind {
            Binance => {
                let streams: Vec<String> = ["btcusdt", "ethusdt", "solusdt", "xrpusdt"]
                    .iter()
                    .flat_map(|s| {
                        ["depth@100ms", "trade", "bookTicker"].map(|suffix| format!("{s}@{suffix}"))
                    })
                    .collect();
                self.connect(conn, &format!("/stream?streams={}", streams.join("/")), 0);
            }
            Coinbase => {
                self.connect(conn, "/", 0);
                let products = r#"["BTC-USD","ETH-USD","SOL-USD","XRP-USD"]"#;
                for channel in ["level2", "market_trades"] {
                    self.say(conn, &format!(r#"{{"type":"subscribe","channel":"{channel}","product_ids":{products}}}"#));
                }
                self.say(conn, r#"{"type":"subscribe","channel":"heartbeats"}"#);
            }
            Kraken => self.subscribe_kraken(conn, 10),
            Kucoin => {
                let now = self.now;
                let reply = self
                    .server()
                    .handle_http("POST", "/api/v1/bullet-public", now);
                let value: Value = serde_json::from_str(&reply.body).unwrap();
                let token = value["data"]["token"].as_str().unwrap();
                self.connect(conn, &format!("/?token={token}&connectId=a1"), 0);
                for topic in ["level2", "match", "ticker"] {
                    self.say(conn, &format!(r#"{{"id":"9","type":"subscribe","topic":"/market/{topic}:BTC-USDT,ETH-USDT,SOL-USDT,XRP-USDT","response":true}}"#));
                }
            }
        }
    }
    fn subscribe_kraken(&mut self, conn: ConnId, depth: usize) {
        self.connect(conn, "/v2", depth);
        let symbols = r#"["BTC/USD","ETH/USD","SOL/USD","XRP/USD"]"#;
        self.say(conn, &format!(r#"{{"method":"subscribe","req_id":3,"params":{{"channel":"book","symbol":{symbols},"depth":{depth}}}}}"#));
        self.say(
            conn,
            &format!(
                r#"{{"method":"subscribe","params":{{"channel":"trade","symbol":{symbols}}}}}"#
            ),
        );
    }
    fn snapshots(&mut self, conn: ConnId) {
        let symbols: Vec<String> = self.clients[&conn].books.keys().cloned().collect();
        for symbol in symbols {
            match self.kind {
                Binance => {
                    let reply = self.get(&format!("/api/v3/depth?symbol={symbol}&limit=5000"));
                    assert_eq!(reply.status, 200);
                    self.clients
                        .get_mut(&conn)
                        .unwrap()
                        .binance_snapshot(&symbol, &reply.body);
                }
                Kucoin => {
                    let target = format!("/api/v1/market/orderbook/level2_100?symbol={symbol}");
                    let reply = self.get(&target);
                    assert_eq!(reply.status, 200);
                    self.clients
                        .get_mut(&conn)
                        .unwrap()
                        .kucoin_snapshot(&symbol, &reply.body);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn every_venue_lets_a_client_rebuild_the_true_book() {
    for kind in VenueKind::ALL {
        for seed in [1, 2] {
            let mut rig = Rig::synced(kind, seed);
            for _ in 0..3 {
                rig.run(8_000);
                rig.settle();
                assert!(rig.same(1), "{kind} seed {seed}: the books differ");
            }
            assert_eq!(rig.client(1).problems, [], "{kind}");
            assert_eq!(
                rig.client(1).trades.len(),
                4,
                "{kind}: trades of all symbols"
            );
            if kind == Binance {
                assert!(rig.client(1).ticker_checks > 50);
                assert!(rig.count(1, "ticker") > 100 && rig.count(1, "ping") == 1);
            }
            if kind == Kucoin {
                assert!(rig.count(1, "filler") > 20 && rig.count(1, "trade.ticker") > 100);
                assert_eq!((rig.count(1, "welcome"), rig.count(1, "ack")), (1, 3));
            }
            if kind == Coinbase {
                assert_eq!(
                    (rig.count(1, "heartbeats"), rig.count(1, "subscriptions")),
                    (25, 3)
                );
            }
        }
    }
}

#[test]
fn kraken_truncates_at_every_depth_and_names_bad_requests() {
    let mut rig = Rig::new(Kraken, 5);
    for (conn, depth) in [(10, 10), (25, 25), (100, 100)] {
        rig.subscribe_kraken(conn, depth);
    }
    rig.run(20_000);
    rig.settle();
    for conn in [10, 25, 100] {
        assert_eq!(rig.client(conn).problems, []);
        assert!(rig.same(conn), "depth {conn}");
        assert_eq!(rig.count(conn, "subscribe"), 8);
    }
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":27}}"#,
    );
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"book","symbol":["XBT/USD"],"depth":10}}"#,
    );
    rig.say(10, r#"{"method":"ping","req_id":4}"#);
    rig.say(10, "nonsense");
    assert_eq!(rig.count(10, "Subscription depth not supported"), 1);
    assert_eq!(rig.count(10, "Currency pair not supported XBT/USD"), 1);
    assert_eq!(
        (rig.count(10, "pong"), rig.count(10, "Malformed request")),
        (1, 1)
    );

    // Unsubscribing and subscribing brings a fresh snapshot; instruments are told on request.
    rig.say(
        10,
        r#"{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}"#,
    );
    let before = rig.count(10, "book");
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}"#,
    );
    assert_eq!(rig.count(10, "book"), before + 1);
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"instrument"}}"#,
    );
    assert_eq!(rig.count(10, "instrument"), 1);
    rig.settle();
    assert!(rig.same(10));

    // A connection that subscribes to nothing hears nothing and is closed; a quiet one beats.
    rig.connect(7, "/v2", 10);
    rig.connect(8, "/v2", 10);
    rig.say(
        8,
        r#"{"method":"subscribe","params":{"channel":"instrument"}}"#,
    );
    rig.run(61_000);
    assert_eq!((rig.count(7, "close"), rig.count(7, "heartbeat")), (1, 0));
    assert_eq!((rig.count(8, "close"), rig.count(8, "heartbeat")), (0, 61));
}

#[test]
fn kucoin_uta_speaks_binary_and_continues_its_snapshot() {
    let mut rig = Rig::new(Kucoin, 6);
    let now = rig.now;
    assert_eq!(rig.server().connect(1, "/?token=forged", now), Err(401));
    rig.connect(2, "/uta", 0);
    for symbol in ["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"] {
        for channel in [r#""obu","depth":"increment@10ms""#, r#""trade""#] {
            rig.say(2, &format!(r#"{{"id":"1","action":"subscribe","channel":{channel},"tradeType":"SPOT","symbol":"{symbol}"}}"#));
        }
    }
    rig.say(2, r#"{"id":"5","type":"ping"}"#);
    for _ in 0..3 {
        rig.run(10_000);
        rig.settle();
        assert!(rig.same(2));
    }
    assert_eq!(rig.client(2).problems, []);
    assert_eq!((rig.count(2, "welcome"), rig.count(2, "pong")), (1, 1));
    assert_eq!(rig.client(2).trades.len(), 4);
    rig.run(31_000);
    assert_eq!(
        rig.count(2, "close"),
        1,
        "a minute without a client frame closes"
    );
}

#[test]
fn binance_enforces_its_limits() {
    let mut rig = Rig::new(Binance, 7);
    assert_eq!(rig.server().connect(1, "/v9", START), Err(404));
    rig.connect(1, "/ws", 0);
    rig.say(
        1,
        r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms","nosuch@trade"],"id":1}"#,
    );
    rig.run(1_000);
    assert_eq!(rig.count(1, "reply"), 1);
    assert!(rig.count(1, "depth") >= 4, "{:?}", rig.client(1).kinds);
    rig.say(
        1,
        r#"{"method":"UNSUBSCRIBE","params":["btcusdt@depth@100ms"],"id":2}"#,
    );
    let before = rig.count(1, "depth");
    rig.run(1_000);
    assert_eq!(rig.count(1, "depth"), before);
    for _ in 0..6 {
        rig.say(1, r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#);
    }
    assert_eq!(rig.count(1, "close"), 1);

    // Without pongs the connection is closed a minute after the first ping.
    rig.connect(2, "/ws/btcusdt@trade", 0);
    let end = rig.now + 85 * SECOND;
    while rig.now < end {
        rig.now += SECOND;
        let now = rig.now;
        rig.server().handle_timeout(now);
        while let Some((conn, frame)) = rig.server().poll_transmit() {
            rig.clients.get_mut(&conn).unwrap().frame(&frame);
        }
    }
    assert_eq!((rig.count(2, "ping"), rig.count(2, "close")), (3, 1));

    assert_eq!(rig.get("/api/v3/depth?symbol=NOSUCH").status, 400);
    assert_eq!(rig.get("/api/v3/exchangeInfo").status, 200);
    assert_eq!(
        rig.get("/api/v3/time").body,
        format!(r#"{{"serverTime":{}}}"#, rig.now / MILLI)
    );
    let refused = (0..30)
        .map(|_| rig.get("/api/v3/depth?symbol=BTCUSDT&limit=5000"))
        .last()
        .unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.retry_after.is_some_and(|s| s <= 60));
}

#[test]
fn coinbase_drops_the_silent_and_counts_everything() {
    let mut rig = Rig::new(Coinbase, 8);
    rig.connect(1, "/", 0);
    rig.connect(2, "/", 0);
    rig.say(
        2,
        r#"{"type":"subscribe","channel":"level2","product_ids":["BTC-USDC"]}"#,
    );
    rig.run(5_000);
    assert_eq!((rig.count(1, "close"), rig.count(2, "close")), (1, 0));
    assert_eq!(rig.count(2, "subscriptions"), 1);
    assert!(!rig.client(2).books["BTC-USD"].bids.is_empty());
    rig.say(
        2,
        r#"{"type":"unsubscribe","channel":"level2","product_ids":["BTC-USD"]}"#,
    );
    let before = rig.count(2, "l2_data");
    rig.run(1_000);
    assert_eq!(rig.count(2, "l2_data"), before);
    rig.say(
        2,
        r#"{"type":"subscribe","channel":"level2","product_ids":["NO-SUCH"]}"#,
    );
    assert_eq!(rig.count(2, "error"), 1);
    assert_eq!(rig.client(2).problems, []);
}

#[test]
fn faults_of_a_frame_do_what_they_say() {
    for kind in VenueKind::ALL {
        let symbol = Rig::new(kind, 9).first_symbol();
        let s = || symbol.clone();
        // What a client notices, besides anything that follows from it.
        let cases: Vec<(Fault, &[&str])> = vec![
            (
                Fault::SequenceGap { symbol: s() },
                &["sequence", "checksum"],
            ),
            (Fault::BadChecksum { symbol: s() }, &["checksum"]),
            (Fault::FlippedDigit { symbol: s() }, &["checksum"]),
            (Fault::CrossedBook { symbol: s() }, &["crossed"]),
            (
                Fault::Reorder { symbol: s() },
                &["sequence", "stale", "checksum"],
            ),
            (Fault::Garbage, &["unparsable"]),
            (Fault::TruncatedJson { symbol: s() }, &["unparsable"]),
        ];
        for (fault, expected) in cases {
            let mut rig = Rig::synced(kind, 9);
            if !fault.applies_to(kind) {
                assert!(!rig.inject(fault));
                continue;
            }
            assert!(rig.inject(fault.clone()));
            rig.run(3_000);
            let problems = &rig.client(1).problems;
            assert!(
                problems.iter().any(|(p, _)| expected.contains(p)),
                "{kind} {fault:?}: {problems:?}"
            );
            let server = rig.exchange.server(kind);
            assert_eq!(server.injected_counts()[&fault.kind()], 1);
            assert_eq!(server.injected()[0].fault, fault);
            let listing = server.listing(&symbol).unwrap();
            assert!(listing.best(Side::Buy).unwrap().0 < listing.best(Side::Sell).unwrap().0);
        }

        let mut rig = Rig::synced(kind, 9);
        assert!(rig.inject(Fault::Duplicate { symbol: s() }));
        rig.run(1_000);
        let problems: Vec<_> = rig.client(1).problems.iter().map(|(p, _)| *p).collect();
        match kind {
            Coinbase => assert_eq!(problems, ["sequence"]),
            Kraken => assert!(problems.is_empty()),
            _ => assert_eq!(problems, ["stale"]),
        }
        rig.settle();
        assert!(rig.same(1), "{kind}: a duplicate does no lasting harm");
        assert!(!rig.inject(Fault::Duplicate {
            symbol: "NO-SUCH".into()
        }));
    }
}

#[test]
fn a_stall_delays_one_book_and_loses_nothing() {
    for kind in VenueKind::ALL {
        let mut rig = Rig::synced(kind, 10);
        let symbol = rig.first_symbol();
        rig.settle();
        assert!(rig.same(1));
        let before = rig.client(1).books[&symbol].clone();
        let trades = rig.client(1).trades.get(&symbol).copied().unwrap_or(0);
        assert!(rig.inject(Fault::Stall {
            symbol: symbol.clone(),
            for_ns: 6 * SECOND
        }));
        rig.run(5_900);
        let stalled = &rig.client(1).books[&symbol];
        assert_eq!(
            (&stalled.bids, &stalled.asks),
            (&before.bids, &before.asks),
            "{kind}"
        );
        assert!(
            rig.client(1).trades[&symbol] > trades,
            "{kind}: trades go on"
        );
        rig.run(1_500);
        rig.settle();
        assert!(rig.same(1), "{kind}: the stalled book caught up");
        assert_eq!(rig.client(1).problems, [], "{kind}");
    }
}

#[test]
fn sockets_and_rest_fail_as_told() {
    for kind in VenueKind::ALL {
        let mut rig = Rig::synced(kind, 11);
        assert!(rig.inject(Fault::Oversize));
        let now = rig.now;
        let mut biggest = 0;
        rig.exchange.advance(now + SECOND);
        while let Some((_, frame)) = rig.server().poll_transmit() {
            if let ServerFrame::Text(text) = frame {
                biggest = biggest.max(text.len());
            }
        }
        assert!(biggest > 8 * 1024 * 1024, "{kind}");

        let mut rig = Rig::synced(kind, 11);
        let before: u64 = rig.client(1).kinds.values().sum();
        assert!(rig.inject(Fault::HalfOpen));
        rig.run(5_000);
        assert_eq!(
            rig.client(1).kinds.values().sum::<u64>(),
            before + 1,
            "{kind}"
        );
        assert_eq!(rig.count(1, "freeze"), 1);
        assert_eq!(rig.server().connections(), 1, "nothing was closed");
        let now = rig.now;
        rig.server().disconnected(1);
        rig.subscribe(2);
        rig.run(1_000);
        assert!(
            rig.client(2).kinds.len() > 1,
            "{kind}: a new connection works at {now}"
        );

        let mut rig = Rig::synced(kind, 11);
        assert!(rig.inject(Fault::DisconnectStorm { for_ns: 2 * SECOND }));
        rig.drain();
        assert_eq!(
            (rig.count(1, "drop"), rig.server().connections()),
            (1, 0),
            "{kind}"
        );
        rig.subscribe(2);
        assert_eq!(
            (rig.count(2, "drop"), rig.server().connections()),
            (1, 0),
            "{kind}"
        );
        rig.run(2_000);
        rig.subscribe(3);
        assert_eq!(
            (rig.count(3, "drop"), rig.server().connections()),
            (0, 1),
            "{kind}"
        );

        let mut rig = Rig::synced(kind, 11);
        let slow = Fault::SlowRest {
            delay_ns: 3 * SECOND,
            for_ns: SECOND,
        };
        let limited = Fault::RateLimit {
            retry_after: 7,
            for_ns: SECOND,
        };
        if !slow.applies_to(kind) {
            assert!(!rig.inject(slow) && !rig.inject(limited));
            continue;
        }
        let target = match kind {
            Binance => "/api/v3/depth?symbol=BTCUSDT&limit=100",
            _ => "/api/v1/market/orderbook/level2_100?symbol=BTC-USDT",
        };
        assert!(rig.inject(slow));
        let reply = rig.get(target);
        assert_eq!((reply.status, reply.delay_ns), (200, 3 * SECOND));
        assert!(rig.inject(limited));
        let reply = rig.get(target);
        assert_eq!((reply.status, reply.retry_after), (429, Some(7)));
        rig.run(1_000);
        let reply = rig.get(target);
        assert_eq!((reply.status, reply.delay_ns), (200, 0));
    }
}

#[test]
fn one_seed_gives_the_same_frames() {
    let frames = |seed| {
        let mut rig = Rig::new(Kucoin, seed);
        rig.subscribe(1);
        let mut frames = Vec::new();
        for i in 1..200 {
            rig.exchange.advance(START + i * 25 * MILLI);
            while let Some(frame) = rig.server().poll_transmit() {
                frames.push(frame);
            }
        }
        frames
    };
    assert_eq!(frames(3), frames(3));
    assert_ne!(frames(3), frames(4));
}

#[test]
fn calm_ends_what_waits_and_what_lasts() {
    let mut rig = Rig::synced(Kucoin, 12);
    let symbol = rig.first_symbol();
    assert!(rig.inject(Fault::SequenceGap {
        symbol: symbol.clone()
    }));
    assert!(rig.inject(Fault::Stall {
        symbol,
        for_ns: 60 * SECOND
    }));
    assert!(rig.inject(Fault::RateLimit {
        retry_after: 1,
        for_ns: 60 * SECOND
    }));
    let now = rig.now;
    rig.exchange.calm(now);
    rig.run(2_000);
    rig.settle();
    assert!(rig.same(1));
    assert_eq!(rig.client(1).problems, []);
    assert_eq!(rig.get("/api/v1/timestamp").status, 200);
    let counts = &rig.exchange.injected()[&Kucoin];
    assert_eq!(counts.get(&FaultKind::SequenceGap), None);
    assert_eq!(counts[&FaultKind::Stall], 1);
}
