//! Kraken spot WebSocket v2: truncated books guarded by a CRC32 over their ten best levels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    ConnId, Context, Dialect, HttpReply, LevelChange, Listing, Print, Tag, next_multiple,
    query_value, rfc3339, split_target,
};
use crate::world::{MILLI, Rng, SECOND, Side};

/// Depths that a client may subscribe.
const DEPTHS: [u64; 5] = [10, 25, 100, 500, 1_000];
/// Levels a side under the checksum.
const CHECKSUM_LEVELS: usize = 10;
/// Changes are gathered so long.
const BATCH: u64 = 10 * MILLI;
/// A heartbeat follows after so much silence.
const HEARTBEAT: u64 = SECOND;
/// A connection without subscription or client message closes after this.
const IDLE: u64 = 60 * SECOND;
/// Trades in the snapshot of the trade channel.
const HISTORY: usize = 50;

/// (price, quantity) rows.
type Levels = Vec<(i64, i64)>;

/// What a subscriber has been told, truncated to its depth.
struct View {
    depth: usize,
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

struct Conn {
    books: BTreeMap<usize, View>,
    trades: BTreeSet<usize>,
    /// Subscribing to anything turns heartbeats on.
    beating: bool,
    last_sent: u64,
    last_heard: u64,
}

#[derive(Default)]
struct Symbol {
    dirty: bool,
    fresh: Vec<Print>,
    due: Option<u64>,
    history: std::collections::VecDeque<Print>,
}

pub(super) struct Kraken {
    conns: BTreeMap<ConnId, Conn>,
    symbols: Vec<Symbol>,
    rng: Rng,
}

impl Kraken {
    pub(super) fn new(seed: u64, listings: usize) -> Kraken {
        let symbols = (0..listings).map(|_| Symbol::default()).collect();
        Kraken {
            conns: BTreeMap::new(),
            symbols,
            rng: Rng::labelled(seed, "kraken"),
        }
    }

    fn send(&mut self, conn: ConnId, tag: Tag, text: String, cx: &mut Context) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.last_sent = cx.now;
            cx.send(conn, tag, text);
        }
    }

    /// Subscribes or unsubscribes one symbol of a channel and acknowledges it.
    fn one(&mut self, conn: ConnId, on: bool, symbol: &str, request: &Value, cx: &mut Context) {
        let params = &request["params"];
        let channel = params["channel"].as_str().unwrap_or_default();
        let method = if on { "subscribe" } else { "unsubscribe" };
        let stamps = Stamps::new(request, cx.now);
        let fail = |why: &str| {
            format!(
                r#"{{"error":"{why}","method":"{method}",{}"success":false,"symbol":{},{}}}"#,
                stamps.req_id,
                Value::from(symbol),
                stamps.times
            )
        };
        let Some(listing) = cx.books.find(symbol) else {
            let text = fail(&format!("Currency pair not supported {}", clean(symbol)));
            return self.send(conn, Tag::Control, text, cx);
        };
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        let depth = match &params["depth"] {
            Value::Null => Some(10),
            value => value.as_u64().filter(|d| DEPTHS.contains(d)),
        };
        let snapshot = params["snapshot"].as_bool().unwrap_or(channel == "book");
        let (result, error) = match (channel, on, depth) {
            ("book", _, None) => (String::new(), Some("Subscription depth not supported")),
            ("book", true, Some(_)) if state.books.contains_key(&listing) => {
                (String::new(), Some("Already subscribed"))
            }
            ("book", true, Some(depth)) => {
                let view = View::new(&cx.books.listings[listing], depth as usize);
                state.books.insert(listing, view);
                state.beating = true;
                let text = format!(
                    r#""channel":"book","depth":{depth},"snapshot":{snapshot},"symbol":"{symbol}""#
                );
                (text, None)
            }
            ("book", false, Some(_)) => match state.books.remove(&listing) {
                Some(view) => {
                    let depth = view.depth;
                    (
                        format!(r#""channel":"book","depth":{depth},"symbol":"{symbol}""#),
                        None,
                    )
                }
                None => (String::new(), Some("Subscription Not Found")),
            },
            ("trade", true, _) if !state.trades.insert(listing) => {
                (String::new(), Some("Already subscribed"))
            }
            ("trade", true, _) => {
                state.beating = true;
                (
                    format!(r#""channel":"trade","snapshot":{snapshot},"symbol":"{symbol}""#),
                    None,
                )
            }
            ("trade", false, _) if !state.trades.remove(&listing) => {
                (String::new(), Some("Subscription Not Found"))
            }
            ("trade", false, _) => (format!(r#""channel":"trade","symbol":"{symbol}""#), None),
            _ => (String::new(), Some("Channel not supported")),
        };
        if let Some(why) = error {
            return self.send(conn, Tag::Control, fail(why), cx);
        }
        let ack = stamps.ack(method, &result);
        self.send(conn, Tag::Control, ack, cx);
        if on && snapshot {
            let book = &cx.books.listings[listing];
            if channel == "book" {
                let view = &self.conns[&conn].books[&listing];
                let bids: Vec<(i64, i64)> = view.bids.iter().rev().map(|(p, q)| (*p, *q)).collect();
                let asks: Vec<(i64, i64)> = view.asks.iter().map(|(p, q)| (*p, *q)).collect();
                let text = book_message(book, "snapshot", &bids, &asks, checksum(book), cx.now);
                self.send(conn, Tag::Snapshot, text, cx);
            } else {
                let history: Vec<Print> = self.symbols[listing].history.iter().copied().collect();
                let text = trade_message(book, "snapshot", &history);
                self.send(conn, Tag::Snapshot, text, cx);
            }
        }
    }

    fn cut(&mut self, listing: usize, cx: &mut Context) {
        let book = &cx.books.listings[listing];
        let fresh = std::mem::take(&mut self.symbols[listing].fresh);
        if !fresh.is_empty() {
            let text = trade_message(book, "update", &fresh);
            let subscribed = |c: &Conn| c.trades.contains(&listing);
            for conn in self.pick(subscribed) {
                self.send(conn, Tag::Trades, text.clone(), cx);
            }
        }
        if cx.stalled(listing) {
            self.symbols[listing].due = Some(cx.stalled[listing]);
            return;
        }
        self.symbols[listing].due = None;
        if !std::mem::take(&mut self.symbols[listing].dirty) {
            return;
        }
        let sum = checksum(book);
        for conn in self.pick(|c| c.books.contains_key(&listing)) {
            let Some(view) = self
                .conns
                .get_mut(&conn)
                .and_then(|c| c.books.get_mut(&listing))
            else {
                continue;
            };
            let (bids, asks) = view.catch_up(book);
            if bids.is_empty() && asks.is_empty() {
                continue;
            }
            let near = near(book, Side::Buy, &bids) && near(book, Side::Sell, &asks);
            let text = book_message(book, "update", &bids, &asks, sum, book.time_ns);
            self.send(conn, Tag::Book { listing, near }, text, cx);
        }
    }

    fn pick(&self, wanted: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
        self.conns
            .iter()
            .filter(|(_, c)| wanted(c))
            .map(|(id, _)| *id)
            .collect()
    }
}

impl View {
    fn new(book: &Listing, depth: usize) -> View {
        View {
            depth,
            bids: book.top(Side::Buy, depth).into_iter().collect(),
            asks: book.top(Side::Sell, depth).into_iter().collect(),
        }
    }

    /// The changes that bring a subscriber up to date. A level that fell out of the depth is not
    /// mentioned, because the subscriber truncates; a level that came back is sent again.
    fn catch_up(&mut self, book: &Listing) -> (Levels, Levels) {
        let depth = self.depth;
        let one = |view: &mut BTreeMap<i64, i64>, side: Side| {
            let now: BTreeMap<i64, i64> = book.top(side, depth).into_iter().collect();
            let gone = view
                .keys()
                .filter(|p| !book.side(side).contains_key(p))
                .map(|p| (*p, 0));
            let mut rows: Vec<(i64, i64)> = gone.collect();
            rows.extend(
                now.iter()
                    .filter(|(p, q)| view.get(p) != Some(q))
                    .map(|(p, q)| (*p, *q)),
            );
            *view = now;
            rows
        };
        (
            one(&mut self.bids, Side::Buy),
            one(&mut self.asks, Side::Sell),
        )
    }
}

/// Whether all these rows lie within the ten best of the side.
fn near(book: &Listing, side: Side, rows: &[(i64, i64)]) -> bool {
    let Some((last, _)) = book.top(side, CHECKSUM_LEVELS).last().copied() else {
        return false;
    };
    rows.iter().all(|(p, _)| {
        if side == Side::Buy {
            *p >= last
        } else {
            *p <= last
        }
    })
}

/// CRC32 over the ten best asks, low to high, then the ten best bids, high to low: the digits of
/// price and quantity without the point and without leading zeros.
pub(super) fn checksum(book: &Listing) -> u32 {
    let mut text = String::new();
    for side in [Side::Sell, Side::Buy] {
        for (price, qty) in book.top(side, CHECKSUM_LEVELS) {
            push_digits(&mut text, &book.price(price));
            push_digits(&mut text, &book.qty(qty));
        }
    }
    crc32fast::hash(text.as_bytes())
}

fn push_digits(text: &mut String, number: &str) {
    let digits: String = number.chars().filter(|c| *c != '.').collect();
    text.push_str(digits.trim_start_matches('0'));
}

fn levels(book: &Listing, rows: &[(i64, i64)]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(p, q)| format!(r#"{{"price":{},"qty":{}}}"#, book.price(*p), book.qty(*q)))
        .collect();
    rows.join(",")
}

fn book_message(
    book: &Listing,
    kind: &str,
    bids: &[(i64, i64)],
    asks: &[(i64, i64)],
    checksum: u32,
    time_ns: u64,
) -> String {
    format!(
        concat!(
            r#"{{"channel":"book","type":"{}","data":[{{"symbol":"{}","bids":[{}],"asks":[{}],"#,
            r#""checksum":{},"timestamp":"{}"}}]}}"#
        ),
        kind,
        book.symbol(),
        levels(book, bids),
        levels(book, asks),
        checksum,
        rfc3339(time_ns, 6, false)
    )
}

fn trade_message(book: &Listing, kind: &str, prints: &[Print]) -> String {
    let rows: Vec<String> = prints
        .iter()
        .map(|t| {
            format!(
                concat!(
                    r#"{{"symbol":"{}","side":"{}","price":{},"qty":{},"ord_type":"market","#,
                    r#""trade_id":{},"timestamp":"{}"}}"#
                ),
                book.symbol(),
                if t.taker == Side::Buy { "buy" } else { "sell" },
                book.price(t.price),
                book.qty(t.qty),
                80_000_000 + t.id,
                rfc3339(t.time_ns, 6, false)
            )
        })
        .collect();
    format!(
        r#"{{"channel":"trade","type":"{kind}","data":[{}]}}"#,
        rows.join(",")
    )
}

/// The parts that every answer repeats.
struct Stamps {
    req_id: String,
    times: String,
}

impl Stamps {
    fn new(request: &Value, now: u64) -> Stamps {
        let req_id = match request["req_id"].as_u64() {
            Some(id) => format!(r#""req_id":{id},"#),
            None => String::new(),
        };
        let (time_in, time_out) = (rfc3339(now, 6, false), rfc3339(now + 45_000, 6, false));
        Stamps {
            req_id,
            times: format!(r#""time_in":"{time_in}","time_out":"{time_out}""#),
        }
    }
    fn ack(&self, method: &str, result: &str) -> String {
        format!(
            r#"{{"method":"{method}",{}"result":{{{result}}},"success":true,{}}}"#,
            self.req_id, self.times
        )
    }
}

/// Text that can stand between quotes.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "/-.".contains(*c))
        .take(32)
        .collect()
}

fn instruments(cx: &Context) -> String {
    let pairs: Vec<String> = cx
        .books
        .listings
        .iter()
        .map(|l| {
            let i = &l.instrument;
            format!(
                concat!(
                    r#"{{"base":"{}","cost_min":0.5,"cost_precision":5,"has_index":true,"#,
                    r#""marginable":false,"price_increment":{},"price_precision":{},"#,
                    r#""qty_increment":{},"qty_min":{},"qty_precision":{},"quote":"{}","#,
                    r#""status":"online","symbol":"{}"}}"#
                ),
                i.base,
                exponent(i.price_decimals),
                i.price_decimals,
                exponent(i.qty_decimals),
                exponent(i.qty_decimals.saturating_sub(3)),
                i.qty_decimals,
                i.quote,
                i.symbol
            )
        })
        .collect();
    let assets: Vec<String> = cx
        .books
        .listings
        .iter()
        .map(|l| {
            let (id, precision) = (&l.instrument.base, l.instrument.qty_decimals);
            format!(r#"{{"id":"{id}","status":"enabled","precision":{precision}}}"#)
        })
        .collect();
    format!(
        r#"{{"channel":"instrument","type":"snapshot","data":{{"assets":[{}],"pairs":[{}]}}}}"#,
        assets.join(","),
        pairs.join(",")
    )
}

/// `10^-decimals` the way this channel prints it: plain while short, then with an exponent.
fn exponent(decimals: u32) -> String {
    if decimals < 5 {
        super::fixed(1, decimals)
    } else {
        format!("1e-{decimals:02}")
    }
}

impl Dialect for Kraken {
    fn connect(&mut self, conn: ConnId, target: &str, cx: &mut Context) -> Result<(), u16> {
        if split_target(target).0 != "/v2" {
            return Err(404);
        }
        let state = Conn {
            books: BTreeMap::new(),
            trades: BTreeSet::new(),
            beating: false,
            last_sent: cx.now,
            last_heard: cx.now,
        };
        self.conns.insert(conn, state);
        let id = self.rng.next_u64() | (1 << 63);
        let text = format!(
            concat!(
                r#"{{"channel":"status","type":"update","data":[{{"version":"2.0.10","#,
                r#""system":"online","api_version":"v2","connection_id":{}}}]}}"#
            ),
            id
        );
        self.send(conn, Tag::Control, text, cx);
        Ok(())
    }

    fn frame(&mut self, conn: ConnId, text: &str, cx: &mut Context) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        state.last_heard = cx.now;
        let request = serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        let stamps = Stamps::new(&request, cx.now);
        let on = match request["method"].as_str() {
            Some("ping") => {
                let text = format!(r#"{{"method":"pong",{}{}}}"#, stamps.req_id, stamps.times);
                return self.send(conn, Tag::Control, text, cx);
            }
            Some("subscribe") => true,
            Some("unsubscribe") => false,
            _ => {
                let text = format!(
                    r#"{{"error":"Malformed request","method":"error",{}"success":false,{}}}"#,
                    stamps.req_id, stamps.times
                );
                return self.send(conn, Tag::Control, text, cx);
            }
        };
        if request["params"]["channel"] == "instrument" {
            state.beating |= on;
            let method = if on { "subscribe" } else { "unsubscribe" };
            let result = r#""channel":"instrument","snapshot":true"#;
            self.send(conn, Tag::Control, stamps.ack(method, result), cx);
            if on {
                let text = instruments(cx);
                self.send(conn, Tag::Snapshot, text, cx);
            }
            return;
        }
        let symbols = request["params"]["symbol"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if symbols.is_empty() {
            let text = format!(
                r#"{{"error":"Field symbol is missing","method":"error",{}"success":false,{}}}"#,
                stamps.req_id, stamps.times
            );
            return self.send(conn, Tag::Control, text, cx);
        }
        for symbol in symbols {
            self.one(conn, on, symbol.as_str().unwrap_or_default(), &request, cx);
        }
    }

    fn pong(&mut self, conn: ConnId, cx: &mut Context) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.last_heard = cx.now;
        }
    }

    fn http(&mut self, method: &str, target: &str, cx: &mut Context) -> HttpReply {
        match (method, split_target(target).0) {
            ("GET", "/0/public/Time") => HttpReply::json(
                200,
                format!(
                    r#"{{"error":[],"result":{{"unixtime":{}}}}}"#,
                    cx.now / SECOND
                ),
            ),
            ("GET", "/0/public/SystemStatus") => HttpReply::json(
                200,
                format!(
                    r#"{{"error":[],"result":{{"status":"online","timestamp":"{}"}}}}"#,
                    rfc3339(cx.now, 6, false)
                ),
            ),
            ("GET", "/0/public/OHLC") => ohlc(split_target(target).1, cx),
            _ => HttpReply::json(404, r#"{"error":["EGeneral:Unknown method"]}"#),
        }
    }

    fn disconnected(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    fn level(&mut self, change: LevelChange, cx: &mut Context) {
        let symbol = &mut self.symbols[change.listing];
        symbol.dirty = true;
        symbol.due.get_or_insert(next_multiple(cx.now, BATCH));
    }

    fn trade(&mut self, print: Print, cx: &mut Context) {
        let symbol = &mut self.symbols[print.listing];
        if symbol.history.len() == HISTORY {
            symbol.history.pop_front();
        }
        symbol.history.push_back(print);
        symbol.fresh.push(print);
        // Trades go on while the book is stalled.
        let due = next_multiple(cx.now, BATCH);
        symbol.due = Some(symbol.due.map_or(due, |d| d.min(due)));
    }

    fn timeout(&mut self, cx: &mut Context) {
        for listing in 0..self.symbols.len() {
            if self.symbols[listing].due.is_some_and(|due| due <= cx.now) {
                self.cut(listing, cx);
            }
        }
        for conn in self.pick(|c| c.beating && c.last_sent + HEARTBEAT <= cx.now) {
            self.send(
                conn,
                Tag::Heartbeat,
                r#"{"channel":"heartbeat"}"#.to_string(),
                cx,
            );
        }
        for conn in self.pick(|c| !c.beating && c.last_heard + IDLE <= cx.now) {
            cx.close(conn, 1001, "idle");
        }
    }

    fn poll_timeout(&self) -> Option<u64> {
        let cuts = self.symbols.iter().filter_map(|s| s.due);
        let beats = self.conns.values().map(|c| {
            if c.beating {
                c.last_sent + HEARTBEAT
            } else {
                c.last_heard + IDLE
            }
        });
        cuts.chain(beats).min()
    }
}

/// Bars of a pair, the one that is not over last.
fn ohlc(query: &str, cx: &Context) -> HttpReply {
    let pair = query_value(query, "pair").unwrap_or_default();
    let known = |listing: &Listing| {
        let symbol = listing.symbol();
        pair == symbol
            .replace('/', "")
            .replace("BTC", "XBT")
            .replace("DOGE", "XDG")
    };
    let Some(book) = cx.books.listings.iter().find(|listing| known(listing)) else {
        return HttpReply::json(200, r#"{"error":["EQuery:Unknown asset pair"]}"#);
    };
    let minutes = query_value(query, "interval").and_then(|text| text.parse::<u64>().ok());
    let Some(minutes) = minutes.filter(|m| [1, 5, 15, 30, 60, 240, 1_440].contains(m)) else {
        return HttpReply::json(200, r#"{"error":["EGeneral:Invalid arguments"]}"#);
    };
    let bars = book
        .candles
        .between(minutes * 60, query, ["since", ""], cx.now);
    let rows: Vec<String> = bars
        .iter()
        .map(|bar| {
            let [open, high, low, close, vwap] =
                [bar.open, bar.high, bar.low, bar.close, bar.vwap()].map(|ticks| book.price(ticks));
            format!(
                r#"[{},"{open}","{high}","{low}","{close}","{vwap}","{}",{}]"#,
                bar.start,
                book.qty(bar.volume),
                bar.trades
            )
        })
        .collect();
    let last = bars.iter().rev().nth(1).map_or(0, |bar| bar.start);
    HttpReply::json(
        200,
        format!(
            r#"{{"error":[],"result":{{"{pair}":[{}],"last":{last}}}}}"#,
            rows.join(",")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Instrument, VenueKind, default_instruments};
    use std::path::PathBuf;

    fn ladder_file() -> Option<PathBuf> {
        let root = std::env::var_os("TICKERML_DATA")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
        let file = root.join("kraken-v2-btcusd/checksum_ladders_20260721.jsonl");
        file.exists().then_some(file)
    }

    fn units(text: &str, decimals: u32) -> i64 {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        assert!(
            part.len() <= decimals as usize,
            "{text} has more than {decimals} decimals"
        );
        format!("{whole}{part:0<width$}", width = decimals as usize)
            .parse()
            .unwrap()
    }

    /// The checksum against the venue's own over recorded ladders.
    #[test]
    fn checksum_agrees_with_recorded_ladders() {
        let Some(file) = ladder_file() else {
            println!("SKIP kraken-ladders: no shared data");
            return;
        };
        let instrument: Instrument = default_instruments(VenueKind::Kraken).remove(0);
        let mut cases = 0;
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let side = |name: &str| -> BTreeMap<i64, i64> {
                let rows = case[name].as_array().unwrap();
                rows.iter()
                    .map(|r| {
                        (
                            units(r[0].as_str().unwrap(), 1),
                            units(r[1].as_str().unwrap(), 8),
                        )
                    })
                    .collect()
            };
            let book = Listing {
                instrument: instrument.clone(),
                bids: side("bids"),
                asks: side("asks"),
                last_trade: None,
                time_ns: 0,
                candles: crate::venues::candles::Candles::default(),
            };
            assert_eq!(
                u64::from(checksum(&book)),
                case["expected_checksum"].as_u64().unwrap()
            );
            cases += 1;
        }
        assert_eq!(cases, 100);
    }

    /// Points and leading zeros vanish, asks come first.
    #[test]
    fn checksum_of_a_hand_made_book() {
        let mut instrument: Instrument = default_instruments(VenueKind::Kraken).remove(0);
        (instrument.price_decimals, instrument.qty_decimals) = (5, 8);
        let book = Listing {
            instrument,
            bids: BTreeMap::from([(5_000, 500)]),
            asks: BTreeMap::from([(5_005, 500)]),
            last_trade: None,
            time_ns: 0,
            candles: crate::venues::candles::Candles::default(),
        };
        // "0.05005" and "0.00000500" become "5005500"; then "5000" and "500".
        assert_eq!(checksum(&book), crc32fast::hash(b"50055005000500"));
    }
}
