//! KuCoin spot: the Classic feed (token, topics, row sequences) and, at `/uta`, the newer one
//! (no token, binary frames, snapshot and deltas on the socket).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    ConnId, Context, Dialect, HttpReply, LevelChange, Listing, Print, Tag, next_multiple,
    query_value, split_target,
};
use crate::world::{MILLI, Rng, SECOND, Side};

/// Classic book changes are gathered so long.
const CLASSIC_BATCH: u64 = 20 * MILLI;
/// UTA deltas, `increment@10ms`.
const UTA_BATCH: u64 = 10 * MILLI;
/// The ticker moves so often at most.
const TICKER_EVERY: u64 = 100 * MILLI;
/// A connection without a client frame closes after this.
const SILENCE: u64 = 60 * SECOND;
/// A token opens connections so long.
const TOKEN_LIFE: u64 = 24 * 3_600 * SECOND;
/// Tokens remembered; the oldest goes first.
const MAX_TOKENS: usize = 256;
/// Topics of one subscribe message.
const MAX_TOPICS: usize = 100;
/// Levels a side of a UTA snapshot.
const UTA_LEVELS: usize = 500;
/// One level change in so many is followed by a sequence number that changes nothing visible.
const FILLER_ONE_IN: u64 = 8;

enum Feed {
    Classic {
        books: BTreeSet<usize>,
        matches: BTreeSet<usize>,
        tickers: BTreeSet<usize>,
    },
    /// Books map to whether their snapshot was sent.
    Uta {
        books: BTreeMap<usize, bool>,
        trades: BTreeSet<usize>,
    },
}

struct Conn {
    feed: Feed,
    last_heard: u64,
}

#[derive(Clone, Copy)]
struct Row {
    side: Side,
    /// 0 only advances the sequence.
    price: i64,
    qty: i64,
    sequence: u64,
}

/// Rows that one of the two feeds has not sent yet.
#[derive(Default)]
struct Pending {
    rows: Vec<Row>,
    due: Option<u64>,
}

#[derive(Default)]
struct Symbol {
    sequence: u64,
    match_sequence: u64,
    classic: Pending,
    uta: Pending,
    ticker_due: Option<u64>,
    trade_nonce: u64,
}

pub(super) struct Kucoin {
    conns: BTreeMap<ConnId, Conn>,
    symbols: Vec<Symbol>,
    tokens: Vec<(String, u64)>,
    endpoint: String,
    rng: Rng,
}

impl Kucoin {
    pub(super) fn new(seed: u64, listings: usize) -> Kucoin {
        let mut rng = Rng::labelled(seed, "kucoin");
        let symbols = (0..listings)
            .map(|_| Symbol {
                sequence: 1_610_000_000_000 + rng.below(1 << 30),
                match_sequence: 7_000_000_000 + rng.below(1 << 30),
                ..Default::default()
            })
            .collect();
        let endpoint = "wss://127.0.0.1/".to_string();
        Kucoin {
            conns: BTreeMap::new(),
            symbols,
            tokens: Vec::new(),
            endpoint,
            rng,
        }
    }

    fn wants(&self, pick: impl Fn(&Feed) -> bool) -> Vec<ConnId> {
        self.conns
            .iter()
            .filter(|(_, c)| pick(&c.feed))
            .map(|(id, _)| *id)
            .collect()
    }

    fn classic_frame(&mut self, conn: ConnId, request: &Value, cx: &mut Context) {
        let id = plain(&request["id"]);
        let on = match request["type"].as_str() {
            Some("ping") => {
                let text = format!(
                    r#"{{"id":"{id}","type":"pong","timestamp":{}}}"#,
                    cx.now / 1_000
                );
                return cx.send(conn, Tag::Control, text);
            }
            Some("subscribe") => true,
            Some("unsubscribe") => false,
            _ => {
                let text =
                    format!(r#"{{"id":"{id}","type":"error","code":406,"data":"invalid type"}}"#);
                return cx.send(conn, Tag::Control, text);
            }
        };
        let topic = request["topic"].as_str().unwrap_or_default();
        let (prefix, names) = topic.split_once(':').unwrap_or((topic, ""));
        let names: Vec<&str> = names.split(',').filter(|n| !n.is_empty()).collect();
        if names.len() > MAX_TOPICS {
            let text = format!(
                r#"{{"id":"{id}","type":"error","code":509,"data":"exceed max subscription count limitation of 100 per session"}}"#
            );
            return cx.send(conn, Tag::Control, text);
        }
        let Some(Conn {
            feed:
                Feed::Classic {
                    books,
                    matches,
                    tickers,
                },
            ..
        }) = self.conns.get_mut(&conn)
        else {
            return;
        };
        let set = match prefix {
            "/market/level2" => books,
            "/market/match" => matches,
            "/market/ticker" => tickers,
            _ => {
                let text = format!(
                    r#"{{"id":"{id}","type":"error","code":404,"data":"topic {} is not found"}}"#,
                    plain(&Value::from(prefix))
                );
                return cx.send(conn, Tag::Control, text);
            }
        };
        // An unknown symbol is acknowledged too, and stays silent.
        for listing in names.iter().filter_map(|n| cx.books.find(n)) {
            if on {
                set.insert(listing)
            } else {
                set.remove(&listing)
            };
        }
        if request["response"].as_bool().unwrap_or(false) {
            cx.send(
                conn,
                Tag::Control,
                format!(r#"{{"id":"{id}","type":"ack"}}"#),
            );
        }
    }

    fn uta_frame(&mut self, conn: ConnId, request: &Value, cx: &mut Context) {
        let id = plain(&request["id"]);
        if request["type"] == "ping" {
            let text = format!(r#"{{"id":"{id}","type":"pong","ts":{}}}"#, cx.now);
            return cx.send_binary(conn, Tag::Control, text);
        }
        let refuse =
            |why: &str| format!(r#"{{"id":"{id}","result":false,"code":"400001","msg":"{why}"}}"#);
        let on = match request["action"].as_str() {
            Some("subscribe" | "SUBSCRIBE") => true,
            Some("unsubscribe" | "UNSUBSCRIBE") => false,
            _ => return cx.send_binary(conn, Tag::Control, refuse("unknown action")),
        };
        let channel = request["channel"].as_str().unwrap_or_default();
        if request["tradeType"] != "SPOT" {
            return cx.send_binary(conn, Tag::Control, refuse("tradeType not supported"));
        }
        if channel == "obu" && request["depth"] != "increment@10ms" {
            return cx.send_binary(conn, Tag::Control, refuse("depth not supported"));
        }
        let listing = cx
            .books
            .find(request["symbol"].as_str().unwrap_or_default());
        let Some(Conn {
            feed: Feed::Uta { books, trades },
            ..
        }) = self.conns.get_mut(&conn)
        else {
            return;
        };
        match (channel, on, listing) {
            ("obu", true, Some(listing)) => {
                books.insert(listing, false);
                let due = next_multiple(cx.now, UTA_BATCH);
                self.symbols[listing].uta.due.get_or_insert(due);
            }
            ("obu", false, Some(listing)) => {
                books.remove(&listing);
            }
            ("trade", true, Some(listing)) => {
                trades.insert(listing);
            }
            ("trade", false, Some(listing)) => {
                trades.remove(&listing);
            }
            ("obu" | "trade", _, None) => {}
            _ => return cx.send_binary(conn, Tag::Control, refuse("channel not supported")),
        }
        cx.send_binary(
            conn,
            Tag::Control,
            format!(r#"{{"id":"{id}","result":true}}"#),
        );
    }

    fn cut_classic(&mut self, listing: usize, cx: &mut Context) {
        let pending = std::mem::take(&mut self.symbols[listing].classic);
        let (Some(first), Some(last)) = (pending.rows.first(), pending.rows.last()) else {
            return;
        };
        let book = &cx.books.listings[listing];
        let side = |side| {
            let rows: Vec<String> = pending
                .rows
                .iter()
                .filter(|r| r.side == side)
                .map(|r| {
                    let (p, q) = (book.short_price(r.price), book.short_qty(r.qty));
                    format!(r#"["{p}","{q}","{}"]"#, r.sequence)
                })
                .collect();
            rows.join(",")
        };
        let text = format!(
            concat!(
                r#"{{"type":"message","topic":"/market/level2:{}","subject":"trade.l2update","#,
                r#""data":{{"changes":{{"asks":[{}],"bids":[{}]}},"sequenceEnd":{},"#,
                r#""sequenceStart":{},"symbol":"{}","time":{}}}}}"#
            ),
            book.symbol(),
            side(Side::Sell),
            side(Side::Buy),
            last.sequence,
            first.sequence,
            book.symbol(),
            book.time_ns / MILLI
        );
        let tag = Tag::Book {
            listing,
            near: true,
        };
        for conn in
            self.wants(|f| matches!(f, Feed::Classic { books, .. } if books.contains(&listing)))
        {
            cx.send(conn, tag, text.clone());
        }
    }

    fn cut_uta(&mut self, listing: usize, cx: &mut Context) {
        let pending = std::mem::take(&mut self.symbols[listing].uta);
        let book = &cx.books.listings[listing];
        if let (Some(first), Some(last)) = (pending.rows.first(), pending.rows.last()) {
            let side = |side| {
                // Within a delta a price appears once, with its last quantity.
                let mut levels = BTreeMap::new();
                for row in pending
                    .rows
                    .iter()
                    .filter(|r| r.side == side && r.price != 0)
                {
                    levels.insert(row.price, row.qty);
                }
                uta_rows(book, levels.into_iter())
            };
            let (asks, bids) = (side(Side::Sell), side(Side::Buy));
            let text = uta_book(
                book,
                "delta",
                (first.sequence, last.sequence),
                &asks,
                &bids,
                cx.now,
            );
            let tag = Tag::Book {
                listing,
                near: true,
            };
            let synced = |f: &Feed| matches!(f, Feed::Uta { books, .. } if books.get(&listing) == Some(&true));
            for conn in self.wants(synced) {
                cx.send_binary(conn, tag, text.clone());
            }
        }
        // Snapshots go out with nothing pending, so that the next delta continues them exactly.
        let sequence = self.symbols[listing].sequence;
        for (id, conn) in &mut self.conns {
            let Feed::Uta { books, .. } = &mut conn.feed else {
                continue;
            };
            let Some(sent @ false) = books.get_mut(&listing) else {
                continue;
            };
            *sent = true;
            let side = |side| uta_rows(book, book.top(side, UTA_LEVELS).into_iter());
            let (asks, bids) = (side(Side::Sell), side(Side::Buy));
            let text = uta_book(book, "snapshot", (sequence, sequence), &asks, &bids, cx.now);
            cx.send_binary(*id, Tag::Snapshot, text);
        }
    }

    fn ticker(&mut self, listing: usize, cx: &mut Context) {
        self.symbols[listing].ticker_due = None;
        let book = &cx.books.listings[listing];
        let (Some(bid), Some(ask)) = (book.best(Side::Buy), book.best(Side::Sell)) else {
            return;
        };
        let (price, size) = book.last_trade.unwrap_or(bid);
        let text = format!(
            concat!(
                r#"{{"type":"message","topic":"/market/ticker:{}","subject":"trade.ticker","#,
                r#""data":{{"bestAsk":"{}","bestAskSize":"{}","bestBid":"{}","bestBidSize":"{}","#,
                r#""price":"{}","sequence":"{}","size":"{}","time":{}}}}}"#
            ),
            book.symbol(),
            book.short_price(ask.0),
            book.short_qty(ask.1),
            book.short_price(bid.0),
            book.short_qty(bid.1),
            book.short_price(price),
            self.symbols[listing].sequence,
            book.short_qty(size),
            book.time_ns / MILLI
        );
        for conn in
            self.wants(|f| matches!(f, Feed::Classic { tickers, .. } if tickers.contains(&listing)))
        {
            cx.send(conn, Tag::Quote, text.clone());
        }
    }

    fn order_id(&mut self) -> String {
        format!(
            "{:08x}{:016x}",
            self.rng.below(1 << 32),
            self.rng.next_u64()
        )
    }
}

fn uta_rows(book: &Listing, levels: impl Iterator<Item = (i64, i64)>) -> String {
    let rows: Vec<String> = levels
        .map(|(p, q)| format!(r#"["{}","{}"]"#, book.short_price(p), book.short_qty(q)))
        .collect();
    rows.join(",")
}

fn uta_book(
    book: &Listing,
    kind: &str,
    (open, close): (u64, u64),
    asks: &str,
    bids: &str,
    now: u64,
) -> String {
    format!(
        concat!(
            r#"{{"T":"obu.SPOT","dp":"increment@10ms","t":"{}","P":{},"d":{{"s":"{}","O":{},"#,
            r#""C":{},"M":{},"a":[{}],"b":[{}]}}}}"#
        ),
        kind,
        now,
        book.symbol(),
        open,
        close,
        book.time_ns,
        asks,
        bids
    )
}

/// An id or a name as text that can stand between quotes.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.chars()
        .filter(|c| !matches!(c, '"' | '\\') && !c.is_control())
        .take(64)
        .collect()
}

impl Dialect for Kucoin {
    fn connect(&mut self, conn: ConnId, target: &str, cx: &mut Context) -> Result<(), u16> {
        let (path, query) = split_target(target);
        let last_heard = cx.now;
        if path == "/uta" {
            let feed = Feed::Uta {
                books: BTreeMap::new(),
                trades: BTreeSet::new(),
            };
            self.conns.insert(conn, Conn { feed, last_heard });
            let session = self.order_id();
            let text = format!(
                r#"{{"sessionId":"{session}","message":"welcome","pingInterval":18000,"pingTimeout":10000}}"#
            );
            cx.send_binary(conn, Tag::Control, text);
            return Ok(());
        }
        if !matches!(path, "/" | "/endpoint") {
            return Err(404);
        }
        let token = query_value(query, "token").unwrap_or_default();
        let known = self.tokens.iter().find(|(t, _)| *t == token);
        if known.is_none_or(|(_, made)| cx.now >= made + TOKEN_LIFE) {
            return Err(401);
        }
        let id = query_value(query, "connectId").unwrap_or_default();
        let feed = Feed::Classic {
            books: BTreeSet::new(),
            matches: BTreeSet::new(),
            tickers: BTreeSet::new(),
        };
        self.conns.insert(conn, Conn { feed, last_heard });
        let text = format!(r#"{{"id":"{}","type":"welcome"}}"#, plain(&Value::from(id)));
        cx.send(conn, Tag::Control, text);
        Ok(())
    }

    fn frame(&mut self, conn: ConnId, text: &str, cx: &mut Context) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        state.last_heard = cx.now;
        let classic = matches!(state.feed, Feed::Classic { .. });
        let request = serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        if classic {
            self.classic_frame(conn, &request, cx);
        } else {
            self.uta_frame(conn, &request, cx);
        }
    }

    fn pong(&mut self, conn: ConnId, cx: &mut Context) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.last_heard = cx.now;
        }
    }

    fn http(&mut self, method: &str, target: &str, cx: &mut Context) -> HttpReply {
        let (path, query) = split_target(target);
        let depth = match (method, path) {
            ("POST", "/api/v1/bullet-public") => {
                let token = format!("2neAiu{}{}", self.order_id(), self.order_id());
                if self.tokens.len() == MAX_TOKENS {
                    self.tokens.remove(0);
                }
                self.tokens.push((token.clone(), cx.now));
                return HttpReply::json(
                    200,
                    format!(
                        concat!(
                            r#"{{"code":"200000","data":{{"token":"{}","instanceServers":["#,
                            r#"{{"endpoint":"{}","encrypt":true,"protocol":"websocket","#,
                            r#""pingInterval":18000,"pingTimeout":10000}}]}}}}"#
                        ),
                        token, self.endpoint
                    ),
                );
            }
            ("GET", "/api/v1/timestamp") => {
                let ms = cx.now / MILLI;
                return HttpReply::json(200, format!(r#"{{"code":"200000","data":{ms}}}"#));
            }
            ("GET", "/api/v2/symbols" | "/api/v1/symbols") => {
                return HttpReply::json(200, symbols(cx));
            }
            ("GET", "/api/v1/market/candles") => return candles(query, cx),
            ("GET", "/api/v1/market/orderbook/level2_100") => 100,
            ("GET", "/api/v1/market/orderbook/level2_20") => 20,
            ("GET", "/api/v3/market/orderbook/level2") => {
                // The full book is for signed requests only.
                return HttpReply::json(
                    401,
                    r#"{"code":"400001","msg":"Please check the header of your request for KC-API-KEY, KC-API-SIGN, KC-API-TIMESTAMP, KC-API-PASSPHRASE"}"#,
                );
            }
            _ => return HttpReply::json(404, r#"{"code":"404","msg":"Not Found"}"#),
        };
        let symbol = query_value(query, "symbol").unwrap_or_default();
        let Some(listing) = cx.books.find(&symbol) else {
            return HttpReply::json(400, r#"{"code":"400100","msg":"symbol not exists"}"#);
        };
        let book = &cx.books.listings[listing];
        let side = |side| uta_rows(book, book.top(side, depth).into_iter());
        HttpReply::json(
            200,
            format!(
                r#"{{"code":"200000","data":{{"time":{},"sequence":"{}","bids":[{}],"asks":[{}]}}}}"#,
                cx.now / MILLI,
                self.symbols[listing].sequence,
                side(Side::Buy),
                side(Side::Sell)
            ),
        )
    }

    fn disconnected(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    fn level(&mut self, change: LevelChange, cx: &mut Context) {
        let listing = change.listing;
        let classic = self
            .conns
            .values()
            .any(|c| matches!(&c.feed, Feed::Classic { books, .. } if books.contains(&listing)));
        let uta = self
            .conns
            .values()
            .any(|c| matches!(&c.feed, Feed::Uta { books, .. } if books.contains_key(&listing)));
        let filler = self.rng.below(FILLER_ONE_IN) == 0;
        let symbol = &mut self.symbols[listing];
        symbol.sequence += 1;
        let row = Row {
            side: change.side,
            price: change.price,
            qty: change.qty,
            sequence: symbol.sequence,
        };
        let mut rows = vec![row];
        if filler {
            symbol.sequence += 1;
            rows.push(Row {
                side: Side::Sell,
                price: 0,
                qty: 0,
                sequence: symbol.sequence,
            });
        }
        for (wanted, pending, period) in [
            (classic, &mut symbol.classic, CLASSIC_BATCH),
            (uta, &mut symbol.uta, UTA_BATCH),
        ] {
            if wanted {
                pending.rows.extend_from_slice(&rows);
                pending.due.get_or_insert(next_multiple(cx.now, period));
            } else {
                *pending = Pending::default();
            }
        }
        if change.touch {
            symbol
                .ticker_due
                .get_or_insert(next_multiple(cx.now, TICKER_EVERY));
        }
    }

    fn trade(&mut self, print: Print, cx: &mut Context) {
        let (taker_id, maker_id) = (self.order_id(), self.order_id());
        let symbol = &mut self.symbols[print.listing];
        symbol.match_sequence += 1;
        symbol.trade_nonce += 1;
        let book = &cx.books.listings[print.listing];
        let side = if print.taker == Side::Buy {
            "buy"
        } else {
            "sell"
        };
        let (p, q) = (book.short_price(print.price), book.short_qty(print.qty));
        let (name, sequence, time) = (book.symbol(), symbol.match_sequence, print.time_ns);
        let trade_id = 24_000_000_000_000_000 + print.id;
        let text = format!(
            concat!(
                r#"{{"type":"message","topic":"/market/match:{}","subject":"trade.l3match","#,
                r#""data":{{"makerOrderId":"{}","price":"{}","sequence":"{}","side":"{}","#,
                r#""size":"{}","symbol":"{}","takerOrderId":"{}","time":"{}","tradeId":"{}","#,
                r#""type":"match"}}}}"#
            ),
            name, maker_id, p, sequence, side, q, name, taker_id, time, trade_id
        );
        let listing = print.listing;
        for conn in
            self.wants(|f| matches!(f, Feed::Classic { matches, .. } if matches.contains(&listing)))
        {
            cx.send(conn, Tag::Trades, text.clone());
        }
        let text = format!(
            concat!(
                r#"{{"T":"trade.SPOT","P":{},"d":{{"E":{},"M":{},"S":"{}","p":"{}","q":"{}","#,
                r#""s":"{}","ti":"{}"}}}}"#
            ),
            cx.now, trade_id, time, side, p, q, name, trade_id
        );
        for conn in
            self.wants(|f| matches!(f, Feed::Uta { trades, .. } if trades.contains(&listing)))
        {
            cx.send_binary(conn, Tag::Trades, text.clone());
        }
    }

    fn timeout(&mut self, cx: &mut Context) {
        for listing in 0..self.symbols.len() {
            let symbol = &mut self.symbols[listing];
            let stalled_until = cx.stalled[listing];
            for due in [
                &mut symbol.classic.due,
                &mut symbol.uta.due,
                &mut symbol.ticker_due,
            ] {
                if cx.now < stalled_until && due.is_some_and(|d| d <= cx.now) {
                    *due = Some(stalled_until);
                }
            }
            let [classic, uta, ticker] = [symbol.classic.due, symbol.uta.due, symbol.ticker_due]
                .map(|due| due.is_some_and(|d| d <= cx.now));
            if classic {
                self.cut_classic(listing, cx);
            }
            if uta {
                self.cut_uta(listing, cx);
            }
            if ticker {
                self.ticker(listing, cx);
            }
        }
        for (id, conn) in &self.conns {
            if conn.last_heard + SILENCE <= cx.now {
                cx.close(*id, 1000, "no client frame for a minute");
            }
        }
    }

    fn poll_timeout(&self) -> Option<u64> {
        let cuts = self
            .symbols
            .iter()
            .flat_map(|s| [s.classic.due, s.uta.due, s.ticker_due])
            .flatten();
        cuts.chain(self.conns.values().map(|c| c.last_heard + SILENCE))
            .min()
    }

    fn set_endpoint(&mut self, url: &str) {
        self.endpoint = url.to_string();
    }
}

fn symbols(cx: &Context) -> String {
    let rows: Vec<String> = cx
        .books
        .listings
        .iter()
        .map(|l| {
            let i = &l.instrument;
            format!(
                concat!(
                    r#"{{"symbol":"{}","name":"{}","baseCurrency":"{}","quoteCurrency":"{}","#,
                    r#""baseMinSize":"{}","baseIncrement":"{}","priceIncrement":"{}","#,
                    r#""enableTrading":true}}"#
                ),
                i.symbol,
                i.symbol,
                i.base,
                i.quote,
                l.short_qty(1),
                l.short_qty(1),
                l.short_price(1)
            )
        })
        .collect();
    format!(r#"{{"code":"200000","data":[{}]}}"#, rows.join(","))
}

/// Bars, newest first.
fn candles(query: &str, cx: &Context) -> HttpReply {
    let symbol = query_value(query, "symbol").unwrap_or_default();
    let Some(listing) = cx.books.find(&symbol) else {
        return HttpReply::json(400, r#"{"code":"400100","msg":"symbol not exists"}"#);
    };
    let seconds = match query_value(query, "type").as_deref() {
        Some("1min") => 60,
        Some("5min") => 300,
        Some("15min") => 900,
        Some("1hour") => 3_600,
        Some("4hour") => 14_400,
        Some("1day") => 86_400,
        _ => return HttpReply::json(400, r#"{"code":"400100","msg":"type is invalid"}"#),
    };
    let book = &cx.books.listings[listing];
    let rows = book
        .candles
        .between(seconds, query, ["startAt", "endAt"], cx.now);
    let rows: Vec<String> = rows
        .iter()
        .rev()
        .map(|bar| {
            let [open, close, high, low] =
                [bar.open, bar.close, bar.high, bar.low].map(|ticks| book.short_price(ticks));
            format!(
                r#"["{}","{open}","{close}","{high}","{low}","{}","{}"]"#,
                bar.start,
                book.short_qty(bar.volume),
                bar.value(book)
            )
        })
        .collect();
    HttpReply::json(
        200,
        format!(r#"{{"code":"200000","data":[{}]}}"#, rows.join(",")),
    )
}
