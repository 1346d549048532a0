//! Coinbase Advanced Trade: one channel per subscription, one `sequence_num` per connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::{
    ConnId, Context, Dialect, HttpReply, Inbound, LevelChange, Listing, Print, Tag, next_multiple,
    query_value, rfc3339, split_target,
};
use crate::world::{MILLI, SECOND, Side};

/// Book updates are batched so long.
const BOOK_BATCH: u64 = 50 * MILLI;
/// Trades are batched so long.
const TRADE_BATCH: u64 = 250 * MILLI;
/// A connection that has not subscribed by then is dropped.
const SUBSCRIBE_WITHIN: u64 = 5 * SECOND;
/// Messages a second from a client.
const MESSAGES_A_SECOND: u32 = 8;
/// Trades that a new subscriber gets as history.
const HISTORY: usize = 100;

struct Conn {
    sequence: u64,
    level2: BTreeSet<usize>,
    trades: BTreeSet<usize>,
    heartbeats: bool,
    heartbeat_counter: u64,
    next_heartbeat: u64,
    /// Until the first subscription.
    deadline: Option<u64>,
    inbound: Inbound,
}

#[derive(Default)]
struct Symbol {
    updates: Vec<LevelChange>,
    updates_due: Option<u64>,
    fresh: Vec<Print>,
    fresh_due: Option<u64>,
    history: VecDeque<Print>,
}

pub(super) struct Coinbase {
    conns: BTreeMap<ConnId, Conn>,
    symbols: Vec<Symbol>,
    last_stamp: u64,
}

impl Coinbase {
    pub(super) fn new(listings: usize) -> Coinbase {
        let symbols = (0..listings).map(|_| Symbol::default()).collect();
        Coinbase {
            conns: BTreeMap::new(),
            symbols,
            last_stamp: 0,
        }
    }

    /// Wraps events for one connection and counts them.
    fn send(&mut self, conn: ConnId, channel: &str, tag: Tag, events: &str, cx: &mut Context) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        // Envelopes carry nanoseconds that are rarely round, and never go back.
        self.last_stamp = (cx.now + state.sequence * 7_919 % 1_000).max(self.last_stamp + 1);
        let text = format!(
            r#"{{"channel":"{channel}","timestamp":"{}","sequence_num":{},"events":{events}}}"#,
            rfc3339(self.last_stamp, 9, true),
            state.sequence
        );
        state.sequence += 1;
        cx.send(conn, tag, text);
    }

    fn acknowledge(&mut self, conn: ConnId, cx: &mut Context) {
        let Some(state) = self.conns.get(&conn) else {
            return;
        };
        let names = |set: &BTreeSet<usize>| {
            let names: Vec<String> = set
                .iter()
                .map(|i| format!(r#""{}""#, cx.books.listings[*i].symbol()))
                .collect();
            names.join(",")
        };
        let mut parts = Vec::new();
        if state.heartbeats {
            parts.push(r#""heartbeats":["heartbeats"]"#.to_string());
        }
        if !state.level2.is_empty() {
            parts.push(format!(r#""level2":[{}]"#, names(&state.level2)));
        }
        if !state.trades.is_empty() {
            parts.push(format!(r#""market_trades":[{}]"#, names(&state.trades)));
        }
        let events = format!(r#"[{{"subscriptions":{{{}}}}}]"#, parts.join(","));
        self.send(conn, "subscriptions", Tag::Control, &events, cx);
    }

    fn subscribers(&self, pick: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
        self.conns
            .iter()
            .filter(|(_, c)| pick(c))
            .map(|(id, _)| *id)
            .collect()
    }
}

fn update(book: &Listing, side: Side, price: i64, qty: i64, time_ns: u64) -> String {
    let side = if side == Side::Buy { "bid" } else { "offer" };
    format!(
        r#"{{"side":"{side}","event_time":"{}","price_level":"{}","new_quantity":"{}"}}"#,
        rfc3339(time_ns, 6, false),
        book.short_price(price),
        book.short_qty(qty)
    )
}

/// Trades newest first, with the MAKER's side, as in the venue's Exchange feed.
fn trades(book: &Listing, prints: &[Print]) -> String {
    let rows: Vec<String> = prints
        .iter()
        .rev()
        .map(|t| {
            let side = if t.taker == Side::Buy { "SELL" } else { "BUY" };
            format!(
                concat!(
                    r#"{{"trade_id":"{}","product_id":"{}","price":"{}","size":"{}","#,
                    r#""side":"{}","time":"{}"}}"#
                ),
                700_000_000 + t.id,
                book.symbol(),
                book.short_price(t.price),
                book.short_qty(t.qty),
                side,
                rfc3339(t.time_ns, 6, false)
            )
        })
        .collect();
    format!("[{}]", rows.join(","))
}

fn error(message: &str) -> String {
    format!(r#"{{"type":"error","message":"{message}"}}"#)
}

impl Dialect for Coinbase {
    fn connect(&mut self, conn: ConnId, target: &str, cx: &mut Context) -> Result<(), u16> {
        if split_target(target).0 != "/" {
            return Err(404);
        }
        self.conns.insert(
            conn,
            Conn {
                sequence: 0,
                level2: BTreeSet::new(),
                trades: BTreeSet::new(),
                heartbeats: false,
                heartbeat_counter: 0,
                next_heartbeat: u64::MAX,
                deadline: Some(cx.now + SUBSCRIBE_WITHIN),
                inbound: Inbound::default(),
            },
        );
        Ok(())
    }

    fn frame(&mut self, conn: ConnId, text: &str, cx: &mut Context) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        if !state.inbound.allow(cx.now, MESSAGES_A_SECOND) {
            cx.send(conn, Tag::Control, error("rate limit exceeded"));
            cx.close(conn, 1008, "rate limit exceeded");
            return;
        }
        let request = serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        let on = match request["type"].as_str() {
            Some("subscribe") => true,
            Some("unsubscribe") => false,
            _ => {
                cx.send(conn, Tag::Control, error("invalid message type"));
                return;
            }
        };
        let channel = request["channel"].as_str().unwrap_or_default();
        let mut listings = Vec::new();
        for product in request["product_ids"].as_array().into_iter().flatten() {
            // USDC products are answered with the USD product's data.
            let name = product.as_str().unwrap_or_default();
            let usd = name.strip_suffix("-USDC").map(|base| format!("{base}-USD"));
            match cx.books.find(usd.as_deref().unwrap_or(name)) {
                Some(listing) => listings.push(listing),
                None => {
                    cx.send(
                        conn,
                        Tag::Control,
                        error("failed to subscribe: invalid product"),
                    );
                    return;
                }
            }
        }
        if channel != "heartbeats" && listings.is_empty() {
            cx.send(conn, Tag::Control, error("product_ids required"));
            return;
        }
        match channel {
            "heartbeats" => {
                state.heartbeats = on;
                state.next_heartbeat = if on { cx.now + SECOND } else { u64::MAX };
            }
            "level2" => {
                for listing in &listings {
                    if on {
                        state.level2.insert(*listing)
                    } else {
                        state.level2.remove(listing)
                    };
                }
            }
            "market_trades" => {
                for listing in &listings {
                    if on {
                        state.trades.insert(*listing)
                    } else {
                        state.trades.remove(listing)
                    };
                }
            }
            _ => {
                cx.send(conn, Tag::Control, error("channel not supported"));
                return;
            }
        }
        state.deadline = None;
        if on {
            for listing in listings {
                let book = &cx.books.listings[listing];
                if channel == "level2" {
                    let rows: Vec<String> = [Side::Buy, Side::Sell]
                        .into_iter()
                        .flat_map(|side| {
                            let row = move |(p, q)| update(book, side, p, q, book.time_ns);
                            book.top(side, usize::MAX).into_iter().map(row)
                        })
                        .collect();
                    let events = format!(
                        r#"[{{"type":"snapshot","product_id":"{}","updates":[{}]}}]"#,
                        book.symbol(),
                        rows.join(",")
                    );
                    self.send(conn, "l2_data", Tag::Snapshot, &events, cx);
                } else {
                    let history: Vec<Print> =
                        self.symbols[listing].history.iter().copied().collect();
                    let events = format!(
                        r#"[{{"type":"snapshot","trades":{}}}]"#,
                        trades(book, &history)
                    );
                    self.send(conn, "market_trades", Tag::Snapshot, &events, cx);
                }
            }
        }
        // The acknowledgement takes a number like any other message, and comes after data.
        self.acknowledge(conn, cx);
    }

    fn pong(&mut self, _conn: ConnId, _cx: &mut Context) {}

    fn http(&mut self, method: &str, target: &str, cx: &mut Context) -> HttpReply {
        match (method, split_target(target).0) {
            ("GET", "/api/v3/brokerage/time") => HttpReply::json(
                200,
                format!(
                    r#"{{"iso":"{}","epochSeconds":"{}","epochMillis":"{}"}}"#,
                    rfc3339(cx.now, 6, false),
                    cx.now / SECOND,
                    cx.now / MILLI
                ),
            ),
            ("GET", path) if path.ends_with("/candles") => candles(path, target, cx),
            ("GET", "/api/v3/brokerage/market/products") => {
                let rows: Vec<String> = cx
                    .books
                    .listings
                    .iter()
                    .map(|l| {
                        format!(
                            concat!(
                                r#"{{"product_id":"{}","base_increment":"{}","#,
                                r#""quote_increment":"{}","status":"online"}}"#
                            ),
                            l.symbol(),
                            l.short_qty(1),
                            l.short_price(1)
                        )
                    })
                    .collect();
                let (rows, n) = (rows.join(","), rows.len());
                HttpReply::json(
                    200,
                    format!(r#"{{"products":[{rows}],"num_products":{n}}}"#),
                )
            }
            _ => HttpReply::json(404, r#"{"error":"NOT_FOUND","message":"route not found"}"#),
        }
    }

    fn disconnected(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    fn level(&mut self, change: LevelChange, cx: &mut Context) {
        let wanted = self
            .conns
            .values()
            .any(|c| c.level2.contains(&change.listing));
        let symbol = &mut self.symbols[change.listing];
        if wanted {
            symbol.updates.push(change);
            symbol
                .updates_due
                .get_or_insert(next_multiple(cx.now, BOOK_BATCH));
        } else {
            symbol.updates.clear();
            symbol.updates_due = None;
        }
    }

    fn trade(&mut self, print: Print, cx: &mut Context) {
        let wanted = self
            .conns
            .values()
            .any(|c| c.trades.contains(&print.listing));
        let symbol = &mut self.symbols[print.listing];
        if symbol.history.len() == HISTORY {
            symbol.history.pop_front();
        }
        symbol.history.push_back(print);
        if wanted {
            symbol.fresh.push(print);
            symbol
                .fresh_due
                .get_or_insert(next_multiple(cx.now, TRADE_BATCH));
        } else {
            symbol.fresh.clear();
            symbol.fresh_due = None;
        }
    }

    fn timeout(&mut self, cx: &mut Context) {
        for listing in 0..self.symbols.len() {
            let book = &cx.books.listings[listing];
            let symbol = &mut self.symbols[listing];
            if symbol.fresh_due.is_some_and(|due| due <= cx.now) {
                symbol.fresh_due = None;
                let fresh = std::mem::take(&mut symbol.fresh);
                let events = format!(r#"[{{"type":"update","trades":{}}}]"#, trades(book, &fresh));
                for conn in self.subscribers(|c| c.trades.contains(&listing)) {
                    self.send(conn, "market_trades", Tag::Trades, &events, cx);
                }
            }
            let symbol = &mut self.symbols[listing];
            if symbol.updates_due.is_some_and(|due| due <= cx.now) {
                if cx.stalled(listing) {
                    symbol.updates_due = Some(cx.stalled[listing]);
                    continue;
                }
                symbol.updates_due = None;
                let rows: Vec<String> = std::mem::take(&mut symbol.updates)
                    .into_iter()
                    .map(|c| update(book, c.side, c.price, c.qty, c.time_ns))
                    .collect();
                let events = format!(
                    r#"[{{"type":"update","product_id":"{}","updates":[{}]}}]"#,
                    book.symbol(),
                    rows.join(",")
                );
                let tag = Tag::Book {
                    listing,
                    near: true,
                };
                for conn in self.subscribers(|c| c.level2.contains(&listing)) {
                    self.send(conn, "l2_data", tag, &events, cx);
                }
            }
        }
        for conn in self.subscribers(|c| c.next_heartbeat <= cx.now) {
            let Some(state) = self.conns.get_mut(&conn) else {
                continue;
            };
            state.next_heartbeat = cx.now + SECOND;
            state.heartbeat_counter += 1;
            let events = format!(
                r#"[{{"current_time":"{} +0000 UTC m=+{}.000000001","heartbeat_counter":{}}}]"#,
                rfc3339(cx.now, 9, false).replace('T', " ").replace('Z', ""),
                state.heartbeat_counter,
                state.heartbeat_counter
            );
            self.send(conn, "heartbeats", Tag::Heartbeat, &events, cx);
        }
        for conn in self.subscribers(|c| c.deadline.is_some_and(|d| d <= cx.now)) {
            cx.close(conn, 1008, "no subscription in time");
        }
    }

    fn poll_timeout(&self) -> Option<u64> {
        let cuts = self
            .symbols
            .iter()
            .flat_map(|s| [s.updates_due, s.fresh_due])
            .flatten();
        let beats = self
            .conns
            .values()
            .map(|c| c.next_heartbeat.min(c.deadline.unwrap_or(u64::MAX)));
        cuts.chain(beats).filter(|at| *at != u64::MAX).min()
    }
}

/// Bars of a product, newest first.
fn candles(path: &str, target: &str, cx: &Context) -> HttpReply {
    let product = path
        .strip_prefix("/api/v3/brokerage/market/products/")
        .and_then(|rest| rest.strip_suffix("/candles"));
    let Some(listing) = product.and_then(|product| cx.books.find(product)) else {
        return HttpReply::json(
            404,
            r#"{"error":"NOT_FOUND","message":"valid product_id is required"}"#,
        );
    };
    let query = split_target(target).1;
    let seconds = match query_value(query, "granularity").as_deref() {
        Some("ONE_MINUTE") => 60,
        Some("FIVE_MINUTE") => 300,
        Some("FIFTEEN_MINUTE") => 900,
        Some("ONE_HOUR") => 3_600,
        Some("FOUR_HOUR") => 14_400,
        Some("ONE_DAY") => 86_400,
        _ => {
            return HttpReply::json(
                400,
                r#"{"error":"INVALID_ARGUMENT","message":"invalid granularity"}"#,
            );
        }
    };
    let book = &cx.books.listings[listing];
    let rows = book
        .candles
        .between(seconds, query, ["start", "end"], cx.now);
    let rows: Vec<String> = rows
        .iter()
        .rev()
        .map(|bar| {
            let [open, high, low, close] =
                [bar.open, bar.high, bar.low, bar.close].map(|ticks| book.short_price(ticks));
            format!(
                r#"{{"start":"{}","low":"{low}","high":"{high}","open":"{open}","close":"{close}","volume":"{}"}}"#,
                bar.start,
                book.short_qty(bar.volume)
            )
        })
        .collect();
    HttpReply::json(200, format!(r#"{{"candles":[{}]}}"#, rows.join(",")))
}
