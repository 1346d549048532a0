//! Small reference clients that rebuild the books from the frames, and a rig that drives them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::*;
use crate::exchange::{Exchange, ExchangeConfig};
use crate::world::{MILLI, VenueKind::*};

pub(super) const START: u64 = 1_760_000_000 * SECOND;

/// Integer units of decimal text; more decimals than the instrument has must be zeros.
pub(super) fn units(text: &str, decimals: u32) -> i64 {
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
pub(super) struct Book {
    pub(super) decimals: (u32, u32),
    pub(super) bids: BTreeMap<i64, i64>,
    pub(super) asks: BTreeMap<i64, i64>,
    /// Last sequence number, where the venue has one.
    pub(super) last: Option<u64>,
    pub(super) depth: usize,
}

impl Book {
    pub(super) fn set(&mut self, side: Side, price: &str, qty: &str) {
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
    pub(super) fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }
    pub(super) fn crossed(&self) -> bool {
        match (self.bids.keys().next_back(), self.asks.keys().next()) {
            (Some(bid), Some(ask)) => bid >= ask,
            _ => false,
        }
    }
    pub(super) fn rows(&mut self, side: Side, rows: &Value) {
        for row in rows.as_array().unwrap() {
            self.set(side, row[0].as_str().unwrap(), row[1].as_str().unwrap());
        }
    }
}

/// Books by symbol, trades counted, and what looked wrong.
pub(super) struct Client {
    pub(super) kind: VenueKind,
    pub(super) books: BTreeMap<String, Book>,
    pub(super) trades: BTreeMap<String, u64>,
    pub(super) problems: Vec<(&'static str, String)>,
    pub(super) sequence: Option<u64>,
    pub(super) tickers: BTreeMap<(String, u64), Value>,
    pub(super) ticker_checks: u64,
    pub(super) kinds: BTreeMap<String, u64>,
    pub(super) buffered: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
pub(super) struct KrakenBook<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(borrow)]
    pub(super) data: Vec<KrakenData<'a>>,
}

#[derive(Deserialize)]
pub(super) struct KrakenData<'a> {
    pub(super) symbol: &'a str,
    #[serde(borrow)]
    pub(super) bids: Vec<KrakenLevel<'a>>,
    #[serde(borrow)]
    pub(super) asks: Vec<KrakenLevel<'a>>,
    pub(super) checksum: u32,
}

#[derive(Deserialize)]
pub(super) struct KrakenLevel<'a> {
    #[serde(borrow)]
    pub(super) price: &'a RawValue,
    #[serde(borrow)]
    pub(super) qty: &'a RawValue,
}

impl Client {
    pub(super) fn new(server: &VenueServer, depth: usize) -> Client {
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

    pub(super) fn problem(&mut self, what: &'static str, symbol: &str) {
        self.problems.push((what, symbol.to_string()));
    }

    pub(super) fn see(&mut self, kind: &str) {
        *self.kinds.entry(kind.to_string()).or_default() += 1;
    }

    pub(super) fn frame(&mut self, frame: &ServerFrame) {
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

    pub(super) fn binance(&mut self, value: Value) {
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

    pub(super) fn binance_diff(&mut self, symbol: &str, data: &Value, first: bool) {
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

    pub(super) fn binance_snapshot(&mut self, symbol: &str, body: &str) {
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

    pub(super) fn coinbase(&mut self, value: &Value) {
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

    pub(super) fn kraken(&mut self, value: &Value, text: &str) {
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

    pub(super) fn kucoin(&mut self, value: &Value) {
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

    pub(super) fn kucoin_diff(&mut self, symbol: &str, data: &Value, first: bool) {
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

    pub(super) fn kucoin_snapshot(&mut self, symbol: &str, body: &str) {
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
pub(super) struct Rig {
    pub(super) exchange: Exchange,
    pub(super) kind: VenueKind,
    pub(super) now: u64,
    pub(super) clients: BTreeMap<ConnId, Client>,
}

impl Rig {
    pub(super) fn new(kind: VenueKind, seed: u64) -> Rig {
        let exchange = Exchange::new(ExchangeConfig::new(seed, START));
        Rig {
            exchange,
            kind,
            now: START,
            clients: BTreeMap::new(),
        }
    }
    pub(super) fn server(&mut self) -> &mut VenueServer {
        self.exchange.server_mut(self.kind)
    }
    pub(super) fn connect(&mut self, conn: ConnId, target: &str, depth: usize) {
        let now = self.now;
        self.server().connect(conn, target, now).unwrap();
        let client = Client::new(self.server(), depth);
        self.clients.insert(conn, client);
        self.drain();
    }
    pub(super) fn say(&mut self, conn: ConnId, text: &str) {
        let now = self.now;
        self.server().handle_frame(conn, text, now);
        self.drain();
    }
    pub(super) fn get(&mut self, target: &str) -> HttpReply {
        let now = self.now;
        self.server().handle_http("GET", target, now)
    }
    pub(super) fn drain(&mut self) {
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
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + ms * MILLI;
        while self.now < end {
            self.now += 10 * MILLI;
            let now = self.now;
            self.exchange.advance(now);
            self.drain();
        }
    }
    /// Lets every pending batch go out while the market stands still.
    pub(super) fn settle(&mut self) {
        let now = self.now;
        self.server().handle_timeout(now + SECOND - MILLI);
        self.drain();
    }
    pub(super) fn client(&self, conn: ConnId) -> &Client {
        &self.clients[&conn]
    }
    pub(super) fn inject(&mut self, fault: Fault) -> bool {
        let now = self.now;
        self.server().inject(&fault, now)
    }
    pub(super) fn same(&self, conn: ConnId) -> bool {
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
    pub(super) fn count(&self, conn: ConnId, kind: &str) -> u64 {
        self.clients[&conn].kinds.get(kind).copied().unwrap_or(0)
    }
    pub(super) fn first_symbol(&self) -> String {
        self.exchange.server(self.kind).listings()[0]
            .symbol()
            .to_string()
    }

    /// A synced client on connection 1.
    pub(super) fn synced(kind: VenueKind, seed: u64) -> Rig {
        let mut rig = Rig::new(kind, seed);
        rig.run(300);
        rig.subscribe(1);
        rig.run(500);
        rig.snapshots(1);
        rig.run(500);
        assert_eq!(rig.client(1).problems, [], "{kind} starts clean");
        rig
    }
    pub(super) fn subscribe(&mut self, conn: ConnId) {
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
    pub(super) fn subscribe_kraken(&mut self, conn: ConnId, depth: usize) {
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
    pub(super) fn snapshots(&mut self, conn: ConnId) {
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
