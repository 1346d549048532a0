//! Binance spot: combined and raw streams, live subscriptions, depth snapshots over REST.
//!
//! Source of the rules: the venue's public API documentation; the shapes are those of recorded
//! frames.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use super::{
    ConnId, Context, Dialect, HttpReply, Inbound, LevelChange, Listing, Print, Tag, fixed,
    next_multiple, query_value, split_target, unescape,
};
use crate::world::{MILLI, Rng, SECOND, Side};

/// All numbers are written with eight decimals.
const DECIMALS: u32 = 8;
/// The server pings so often.
const PING_EVERY: u64 = 20 * SECOND;
/// A pong must arrive within this time.
const PONG_WITHIN: u64 = 60 * SECOND;
/// Messages a second, pongs included, before the connection is cut.
const MESSAGES_A_SECOND: u32 = 5;
/// Request weight a minute, over all clients of this server.
const WEIGHT_A_MINUTE: u32 = 6_000;
/// Most streams of one connection.
const MAX_STREAMS: usize = 1_024;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stream {
    Depth100,
    Depth1000,
    Trade,
    AggTrade,
    BookTicker,
}

impl Stream {
    fn suffix(self) -> &'static str {
        match self {
            Stream::Depth100 => "depth@100ms",
            Stream::Depth1000 => "depth",
            Stream::Trade => "trade",
            Stream::AggTrade => "aggTrade",
            Stream::BookTicker => "bookTicker",
        }
    }
    fn parse(suffix: &str) -> Option<Stream> {
        let all = [
            Stream::Depth100,
            Stream::Depth1000,
            Stream::Trade,
            Stream::AggTrade,
            Stream::BookTicker,
        ];
        // `@depth` is also spelled out with its default speed.
        if suffix == "depth@1000ms" {
            return Some(Stream::Depth1000);
        }
        all.into_iter().find(|s| s.suffix() == suffix)
    }
}

/// The two depth speeds.
const SPEEDS: [(Stream, u64); 2] = [
    (Stream::Depth100, 100 * MILLI),
    (Stream::Depth1000, 1_000 * MILLI),
];

struct Conn {
    combined: bool,
    micro: bool,
    streams: BTreeSet<(usize, Stream)>,
    next_ping: u64,
    unanswered_since: Option<u64>,
    inbound: Inbound,
}

/// Changes since the last depth event of one speed.
#[derive(Default)]
struct Pending {
    first_id: u64,
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// Set while there is something to send.
    due: Option<u64>,
}

#[derive(Default)]
struct Symbol {
    last_id: u64,
    pending: [Pending; 2],
}

pub(super) struct Binance {
    conns: BTreeMap<ConnId, Conn>,
    symbols: Vec<Symbol>,
    trade_base: u64,
    minute: u64,
    weight: u32,
}

impl Binance {
    pub(super) fn new(seed: u64, listings: usize) -> Binance {
        let mut rng = Rng::labelled(seed, "binance");
        let symbols = (0..listings)
            .map(|_| Symbol {
                last_id: 50_000_000_000 + rng.below(1 << 32),
                ..Default::default()
            })
            .collect();
        let trade_base = 3_000_000_000 + rng.below(1 << 28);
        Binance {
            conns: BTreeMap::new(),
            symbols,
            trade_base,
            minute: 0,
            weight: 0,
        }
    }

    fn parse_stream(name: &str, cx: &Context) -> Option<(usize, Stream)> {
        let (symbol, suffix) = name.split_once('@')?;
        if symbol.chars().any(|c| c.is_ascii_uppercase()) {
            return None;
        }
        Some((
            cx.books.find(&symbol.to_ascii_uppercase())?,
            Stream::parse(suffix)?,
        ))
    }

    fn wanted(&self, listing: usize, stream: Stream) -> bool {
        self.conns
            .values()
            .any(|c| c.streams.contains(&(listing, stream)))
    }

    /// Sends to each subscriber; `data` gets the function that turns nanoseconds into its unit.
    fn publish(
        &self,
        listing: usize,
        stream: Stream,
        tag: Tag,
        cx: &mut Context,
        data: impl Fn(&dyn Fn(u64) -> u64) -> String,
    ) {
        for (id, conn) in &self.conns {
            if !conn.streams.contains(&(listing, stream)) {
                continue;
            }
            let micro = conn.micro;
            let body = data(&|ns| if micro { ns / 1_000 } else { ns / MILLI });
            let text = if conn.combined {
                let symbol = cx.books.listings[listing].symbol().to_ascii_lowercase();
                format!(
                    r#"{{"stream":"{symbol}@{}","data":{body}}}"#,
                    stream.suffix()
                )
            } else {
                body
            };
            cx.send(*id, tag, text);
        }
    }

    fn cut(&mut self, listing: usize, speed: usize, cx: &mut Context) {
        let last_id = self.symbols[listing].last_id;
        let pending = std::mem::take(&mut self.symbols[listing].pending[speed]);
        let book = &cx.books.listings[listing];
        let bids = rows(book, pending.bids.iter().rev());
        let asks = rows(book, pending.asks.iter());
        let (symbol, now) = (book.symbol().to_string(), cx.now);
        let tag = Tag::Book {
            listing,
            near: true,
        };
        self.publish(listing, SPEEDS[speed].0, tag, cx, |unit| {
            format!(
                r#"{{"e":"depthUpdate","E":{},"s":"{symbol}","U":{},"u":{last_id},"b":{bids},"a":{asks}}}"#,
                unit(now),
                pending.first_id,
            )
        });
    }

    /// Adds to the minute's weight; false when it is used up.
    fn spend(&mut self, weight: u32, now: u64) -> bool {
        let minute = now / (60 * SECOND);
        if minute != self.minute {
            (self.minute, self.weight) = (minute, 0);
        }
        self.weight += weight;
        self.weight <= WEIGHT_A_MINUTE
    }
}

/// Numbers with eight decimals, whatever the instrument's own are.
fn wide(units: i64, decimals: u32) -> String {
    fixed(units * 10i64.pow(DECIMALS - decimals), DECIMALS)
}

fn price(book: &Listing, ticks: i64) -> String {
    wide(ticks, book.instrument.price_decimals)
}

fn qty(book: &Listing, lots: i64) -> String {
    wide(lots, book.instrument.qty_decimals)
}

fn rows<'a>(book: &Listing, levels: impl Iterator<Item = (&'a i64, &'a i64)>) -> String {
    let mut text = String::from("[");
    for (i, (p, q)) in levels.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}["{}","{}"]"#,
            price(book, *p),
            qty(book, *q)
        );
    }
    text.push(']');
    text
}

impl Dialect for Binance {
    fn connect(&mut self, conn: ConnId, target: &str, cx: &mut Context) -> Result<(), u16> {
        let (path, query) = split_target(target);
        let (combined, names) = if path == "/stream" {
            (true, query_value(query, "streams").unwrap_or_default())
        } else if path == "/ws" {
            (false, String::new())
        } else if let Some(names) = path.strip_prefix("/ws/") {
            (false, unescape(names))
        } else {
            return Err(404);
        };
        let streams: BTreeSet<_> = names
            .split('/')
            .filter_map(|name| Self::parse_stream(name, cx))
            .collect();
        if streams.len() > MAX_STREAMS {
            return Err(400);
        }
        let unit = query_value(query, "timeUnit").unwrap_or_default();
        let micro = unit.eq_ignore_ascii_case("microsecond");
        let next_ping = cx.now + PING_EVERY;
        let inbound = Inbound::default();
        let unanswered_since = None;
        let state = Conn {
            combined,
            micro,
            streams,
            next_ping,
            unanswered_since,
            inbound,
        };
        self.conns.insert(conn, state);
        Ok(())
    }

    fn frame(&mut self, conn: ConnId, text: &str, cx: &mut Context) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        if !state.inbound.allow(cx.now, MESSAGES_A_SECOND) {
            cx.close(conn, 1008, "Too many requests");
            return;
        }
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            let text = r#"{"error":{"code":3,"msg":"Invalid JSON"}}"#;
            cx.send(conn, Tag::Control, text.to_string());
            return;
        };
        let id = request.get("id").unwrap_or(&Value::Null).to_string();
        let names: Vec<&str> = request["params"]
            .as_array()
            .map(|a| a.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let parsed: Vec<_> = names
            .iter()
            .filter_map(|n| Self::parse_stream(n, cx))
            .collect();
        let reply = match request["method"].as_str() {
            // An unknown stream is acknowledged all the same, and stays silent.
            Some("SUBSCRIBE") if !names.is_empty() => {
                state.streams.extend(parsed);
                format!(r#"{{"result":null,"id":{id}}}"#)
            }
            Some("UNSUBSCRIBE") if !names.is_empty() => {
                for stream in parsed {
                    state.streams.remove(&stream);
                }
                format!(r#"{{"result":null,"id":{id}}}"#)
            }
            Some("LIST_SUBSCRIPTIONS") => {
                let list: Vec<String> = state
                    .streams
                    .iter()
                    .map(|(i, s)| {
                        let symbol = cx.books.listings[*i].symbol().to_ascii_lowercase();
                        format!(r#""{symbol}@{}""#, s.suffix())
                    })
                    .collect();
                format!(r#"{{"result":[{}],"id":{id}}}"#, list.join(","))
            }
            _ => format!(
                r#"{{"error":{{"code":2,"msg":"Invalid request: unknown method or no params"}},"id":{id}}}"#
            ),
        };
        cx.send(conn, Tag::Control, reply);
    }

    fn pong(&mut self, conn: ConnId, cx: &mut Context) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.unanswered_since = None;
            if !state.inbound.allow(cx.now, MESSAGES_A_SECOND) {
                cx.close(conn, 1008, "Too many requests");
            }
        }
    }

    fn http(&mut self, method: &str, target: &str, cx: &mut Context) -> HttpReply {
        let (path, query) = split_target(target);
        if method != "GET" {
            return HttpReply::json(405, r#"{"code":-1000,"msg":"Method not allowed"}"#);
        }
        let limit = query_value(query, "limit").and_then(|l| l.parse::<usize>().ok());
        let weight = match (path, limit.unwrap_or(100)) {
            ("/api/v3/depth", 0..=100) => 5,
            ("/api/v3/depth", 101..=500) => 25,
            ("/api/v3/depth", 501..=1000) => 50,
            ("/api/v3/depth", _) => 250,
            ("/api/v3/exchangeInfo", _) => 20,
            _ => 1,
        };
        if !self.spend(weight, cx.now) {
            let mut reply = HttpReply::json(
                429,
                r#"{"code":-1003,"msg":"Too much request weight used"}"#,
            );
            reply.retry_after = Some((60 - cx.now / SECOND % 60) as u32);
            return reply;
        }
        match path {
            "/api/v3/ping" => HttpReply::json(200, "{}"),
            "/api/v3/time" => {
                HttpReply::json(200, format!(r#"{{"serverTime":{}}}"#, cx.now / MILLI))
            }
            "/api/v3/depth" => {
                let symbol = query_value(query, "symbol").unwrap_or_default();
                let Some(listing) = cx.books.find(&symbol) else {
                    return HttpReply::json(400, r#"{"code":-1121,"msg":"Invalid symbol."}"#);
                };
                let depth = limit.unwrap_or(100).clamp(1, 5_000);
                let book = &cx.books.listings[listing];
                let side = |side| {
                    let levels = book.top(side, depth);
                    rows(book, levels.iter().map(|(p, q)| (p, q)))
                };
                HttpReply::json(
                    200,
                    format!(
                        r#"{{"lastUpdateId":{},"bids":{},"asks":{}}}"#,
                        self.symbols[listing].last_id,
                        side(Side::Buy),
                        side(Side::Sell)
                    ),
                )
            }
            "/api/v3/exchangeInfo" => HttpReply::json(200, exchange_info(query, cx)),
            "/api/v3/klines" => klines(query, limit, cx),
            _ => HttpReply::json(404, r#"{"code":-1000,"msg":"Not found"}"#),
        }
    }

    fn disconnected(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    fn level(&mut self, change: LevelChange, cx: &mut Context) {
        self.symbols[change.listing].last_id += 1;
        for (speed, (stream, period)) in SPEEDS.into_iter().enumerate() {
            if !self.wanted(change.listing, stream) {
                self.symbols[change.listing].pending[speed] = Pending::default();
                continue;
            }
            let symbol = &mut self.symbols[change.listing];
            let pending = &mut symbol.pending[speed];
            if pending.due.is_none() {
                pending.first_id = symbol.last_id;
                pending.due = Some(next_multiple(cx.now, period));
            }
            let side = match change.side {
                Side::Buy => &mut pending.bids,
                Side::Sell => &mut pending.asks,
            };
            side.insert(change.price, change.qty);
        }
        if change.touch && !cx.stalled(change.listing) {
            let book = &cx.books.listings[change.listing];
            let (Some(bid), Some(ask)) = (book.best(Side::Buy), book.best(Side::Sell)) else {
                return;
            };
            let body = format!(
                r#"{{"u":{},"s":"{}","b":"{}","B":"{}","a":"{}","A":"{}"}}"#,
                self.symbols[change.listing].last_id,
                book.symbol(),
                price(book, bid.0),
                qty(book, bid.1),
                price(book, ask.0),
                qty(book, ask.1)
            );
            self.publish(change.listing, Stream::BookTicker, Tag::Quote, cx, |_| {
                body.clone()
            });
        }
    }

    fn trade(&mut self, print: Print, cx: &mut Context) {
        let book = &cx.books.listings[print.listing];
        let symbol = book.symbol().to_string();
        let (p, q) = (price(book, print.price), qty(book, print.qty));
        let id = self.trade_base + print.id;
        let (now, time) = (cx.now, print.time_ns);
        let buyer_is_maker = print.taker == Side::Sell;
        self.publish(print.listing, Stream::Trade, Tag::Trades, cx, |unit| {
            format!(
                r#"{{"e":"trade","E":{},"s":"{symbol}","t":{id},"p":"{p}","q":"{q}","T":{},"m":{buyer_is_maker},"M":true}}"#,
                unit(now),
                unit(time)
            )
        });
        self.publish(print.listing, Stream::AggTrade, Tag::Trades, cx, |unit| {
            format!(
                r#"{{"e":"aggTrade","E":{},"s":"{symbol}","a":{id},"p":"{p}","q":"{q}","f":{id},"l":{id},"T":{},"m":{buyer_is_maker},"M":true}}"#,
                unit(now),
                unit(time)
            )
        });
    }

    fn timeout(&mut self, cx: &mut Context) {
        for listing in 0..self.symbols.len() {
            for speed in 0..SPEEDS.len() {
                let pending = &mut self.symbols[listing].pending[speed];
                match pending.due {
                    Some(due) if due <= cx.now && cx.now < cx.stalled[listing] => {
                        pending.due = Some(cx.stalled[listing]);
                    }
                    Some(due) if due <= cx.now => self.cut(listing, speed, cx),
                    _ => {}
                }
            }
        }
        for (id, conn) in &mut self.conns {
            if conn
                .unanswered_since
                .is_some_and(|since| cx.now >= since + PONG_WITHIN)
            {
                cx.close(*id, 1008, "Pong timeout");
            } else if conn.next_ping <= cx.now {
                conn.next_ping = cx.now + PING_EVERY;
                conn.unanswered_since.get_or_insert(cx.now);
                cx.ping(*id, (cx.now / MILLI).to_string().into_bytes());
            }
        }
    }

    fn poll_timeout(&self) -> Option<u64> {
        let cuts = self
            .symbols
            .iter()
            .flat_map(|s| s.pending.iter().filter_map(|p| p.due));
        let pings = self.conns.values().map(|c| {
            c.unanswered_since
                .map_or(c.next_ping, |s| c.next_ping.min(s + PONG_WITHIN))
        });
        cuts.chain(pings).min()
    }
}

/// Bars, the one that is not over last.
fn klines(query: &str, limit: Option<usize>, cx: &Context) -> HttpReply {
    let symbol = query_value(query, "symbol").unwrap_or_default();
    let Some(listing) = cx.books.find(&symbol) else {
        return HttpReply::json(400, r#"{"code":-1121,"msg":"Invalid symbol."}"#);
    };
    let seconds = match query_value(query, "interval").as_deref() {
        Some("1m") => 60,
        Some("5m") => 300,
        Some("15m") => 900,
        Some("1h") => 3_600,
        Some("4h") => 14_400,
        Some("1d") => 86_400,
        _ => return HttpReply::json(400, r#"{"code":-1120,"msg":"Invalid interval."}"#),
    };
    let book = &cx.books.listings[listing];
    let rows = book
        .candles
        .bars(seconds, limit.unwrap_or(500) as u64, cx.now);
    let rows: Vec<String> = rows
        .iter()
        .map(|bar| {
            let [open, high, low, close] =
                [bar.open, bar.high, bar.low, bar.close].map(|ticks| price(book, ticks));
            let end = (bar.start + seconds) * 1_000 - 1;
            format!(
                r#"[{}000,"{open}","{high}","{low}","{close}","{}",{end},"{}",{},"{}","0","0"]"#,
                bar.start,
                qty(book, bar.volume),
                bar.value(book),
                bar.trades,
                qty(book, bar.bought)
            )
        })
        .collect();
    HttpReply::json(200, format!("[{}]", rows.join(",")))
}

fn exchange_info(query: &str, cx: &Context) -> String {
    let only = query_value(query, "symbol");
    let symbols: Vec<String> = cx
        .books
        .listings
        .iter()
        .filter(|l| only.as_deref().is_none_or(|s| s == l.symbol()))
        .map(|l| {
            let i = &l.instrument;
            let (tick, lot) = (wide(1, i.price_decimals), wide(1, i.qty_decimals));
            format!(
                concat!(
                    r#"{{"symbol":"{}","status":"TRADING","baseAsset":"{}","baseAssetPrecision":8,"#,
                    r#""quoteAsset":"{}","quotePrecision":8,"quoteAssetPrecision":8,"#,
                    r#""isSpotTradingAllowed":true,"filters":["#,
                    r#"{{"filterType":"PRICE_FILTER","minPrice":"{}","maxPrice":"1000000.00000000","tickSize":"{}"}},"#,
                    r#"{{"filterType":"LOT_SIZE","minQty":"{}","maxQty":"9000000.00000000","stepSize":"{}"}}]}}"#
                ),
                i.symbol, i.base, i.quote, tick, tick, lot, lot
            )
        })
        .collect();
    format!(
        concat!(
            r#"{{"timezone":"UTC","serverTime":{},"rateLimits":["#,
            r#"{{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":{}}}],"#,
            r#""exchangeFilters":[],"symbols":[{}]}}"#
        ),
        cx.now / MILLI,
        WEIGHT_A_MINUTE,
        symbols.join(",")
    )
}
