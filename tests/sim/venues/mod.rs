//! The servers: sans-IO state machines, one per venue, each holding the true book.
//!
//! Bytes, sockets and clocks are the caller's: frames and requests go in with the time, frames
//! come out of [`VenueServer::poll_transmit`]. Between the honest dialect and that queue stands
//! the fault layer of [`crate::faults`]; the true book never sees a fault.

mod binance;
mod candles;
mod coinbase;
mod kraken;
mod kucoin;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::faults::{Fault, FaultKind, FaultLayer, Injected};
use crate::world::{EventKind, Instrument, SECOND, Side, VenueKind, WorldEvent};

/// A connection, numbered by the caller.
pub type ConnId = u64;

/// Connections that one server serves at a time; more are answered 503.
pub const MAX_CONNS: usize = 256;
/// Frames that may wait in [`VenueServer::poll_transmit`]; a caller that lets more gather loses
/// the newest, and the connection that they were for.
pub const MAX_WAITING_FRAMES: usize = 65_536;

/// Timers that fire before one event; more than ever fall between two events.
const MAX_TIMERS_PER_EVENT: usize = 10_000;

/// What a server puts on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerFrame {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// A WebSocket ping; the client's pong comes back through [`VenueServer::handle_pong`].
    Ping(Vec<u8>),
    /// A close frame; the server has forgotten the connection.
    Close {
        /// WebSocket close code.
        code: u16,
        /// Reason text.
        reason: &'static str,
    },
    /// The socket goes away with no close frame; the server has forgotten the connection.
    Drop,
    /// Half-open from here on: the socket stays, nothing is sent, not even a pong.
    Freeze,
}

/// An answer to a plain HTTP request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// `Retry-After`, seconds.
    pub retry_after: Option<u32>,
    /// JSON body.
    pub body: String,
    /// The reply leaves so much later, nanoseconds.
    pub delay_ns: u64,
}

impl HttpReply {
    fn json(status: u16, body: impl Into<String>) -> HttpReply {
        HttpReply {
            status,
            retry_after: None,
            body: body.into(),
            delay_ns: 0,
        }
    }
}

/// The true book of a symbol, as decimal text without trailing zeros.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Truth {
    /// (price, quantity), best first.
    pub bids: Vec<(String, String)>,
    /// (price, quantity), best first.
    pub asks: Vec<(String, String)>,
}

/// One market of a server: its true book in integer ticks and lots.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Names and units.
    pub instrument: Instrument,
    /// Price in ticks to quantity in lots.
    pub bids: BTreeMap<i64, i64>,
    /// Price in ticks to quantity in lots.
    pub asks: BTreeMap<i64, i64>,
    /// Price and quantity of the last trade.
    pub last_trade: Option<(i64, i64)>,
    /// Venue time of the last event, nanoseconds.
    pub time_ns: u64,
    /// Its trades by the minute.
    pub candles: candles::Candles,
}

impl Listing {
    fn symbol(&self) -> &str {
        &self.instrument.symbol
    }
    fn side(&self, side: Side) -> &BTreeMap<i64, i64> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }
    /// Best price and quantity of a side.
    pub fn best(&self, side: Side) -> Option<(i64, i64)> {
        let level = match side {
            Side::Buy => self.bids.iter().next_back(),
            Side::Sell => self.asks.iter().next(),
        };
        level.map(|(p, q)| (*p, *q))
    }
    /// The `depth` best levels of a side, best first.
    pub fn top(&self, side: Side, depth: usize) -> Vec<(i64, i64)> {
        let levels: Vec<(i64, i64)> = match side {
            Side::Buy => self
                .bids
                .iter()
                .rev()
                .take(depth)
                .map(|(p, q)| (*p, *q))
                .collect(),
            Side::Sell => self
                .asks
                .iter()
                .take(depth)
                .map(|(p, q)| (*p, *q))
                .collect(),
        };
        levels
    }
    fn price(&self, ticks: i64) -> String {
        fixed(ticks, self.instrument.price_decimals)
    }
    fn qty(&self, lots: i64) -> String {
        fixed(lots, self.instrument.qty_decimals)
    }
    fn short_price(&self, ticks: i64) -> String {
        trimmed(ticks, self.instrument.price_decimals)
    }
    fn short_qty(&self, lots: i64) -> String {
        trimmed(lots, self.instrument.qty_decimals)
    }
}

/// All markets of a server.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) listings: Vec<Listing>,
}

impl Books {
    fn find(&self, symbol: &str) -> Option<usize> {
        self.listings.iter().position(|l| l.symbol() == symbol)
    }
}

/// What a frame carries, so that a fault can pick its victim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tag {
    /// Acks, welcomes, errors, pongs.
    Control,
    /// Heartbeats.
    Heartbeat,
    /// A full book.
    Snapshot,
    /// A change of this listing's book. `near`: every level is one of the ten best, so that a
    /// checksum over ten levels notices damage.
    Book { listing: usize, near: bool },
    /// Best bid and ask.
    Quote,
    /// Trades.
    Trades,
}

/// A frame on its way from the dialect to the fault layer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) conn: ConnId,
    pub(crate) frame: ServerFrame,
    pub(crate) tag: Tag,
}

/// What a dialect may see and do.
struct Context<'a> {
    now: u64,
    books: &'a Books,
    /// Per listing: no book data before this time.
    stalled: &'a [u64],
    out: &'a mut VecDeque<Outgoing>,
}

impl Context<'_> {
    fn send(&mut self, conn: ConnId, tag: Tag, text: String) {
        self.out.push_back(Outgoing {
            conn,
            frame: ServerFrame::Text(text),
            tag,
        });
    }
    fn send_binary(&mut self, conn: ConnId, tag: Tag, text: String) {
        let frame = ServerFrame::Binary(text.into_bytes());
        self.out.push_back(Outgoing { conn, frame, tag });
    }
    fn ping(&mut self, conn: ConnId, payload: Vec<u8>) {
        let frame = ServerFrame::Ping(payload);
        self.out.push_back(Outgoing {
            conn,
            frame,
            tag: Tag::Heartbeat,
        });
    }
    fn close(&mut self, conn: ConnId, code: u16, reason: &'static str) {
        let frame = ServerFrame::Close { code, reason };
        self.out.push_back(Outgoing {
            conn,
            frame,
            tag: Tag::Control,
        });
    }
    fn stalled(&self, listing: usize) -> bool {
        self.now < self.stalled[listing]
    }
}

/// A change of a level as the world told it.
#[derive(Clone, Copy, Debug)]
struct LevelChange {
    listing: usize,
    side: Side,
    price: i64,
    qty: i64,
    /// The best price of that side, or its quantity, changed.
    touch: bool,
    time_ns: u64,
}

/// A trade as the world told it.
#[derive(Clone, Copy, Debug)]
struct Print {
    listing: usize,
    price: i64,
    qty: i64,
    taker: Side,
    id: u64,
    time_ns: u64,
}

/// The wire protocol of one venue.
trait Dialect: Send {
    /// Accepts a WebSocket on this path, or names the HTTP status of the refusal.
    fn connect(&mut self, conn: ConnId, target: &str, cx: &mut Context) -> Result<(), u16>;
    fn frame(&mut self, conn: ConnId, text: &str, cx: &mut Context);
    fn pong(&mut self, conn: ConnId, cx: &mut Context);
    fn http(&mut self, method: &str, target: &str, cx: &mut Context) -> HttpReply;
    fn disconnected(&mut self, conn: ConnId);
    fn level(&mut self, change: LevelChange, cx: &mut Context);
    fn trade(&mut self, print: Print, cx: &mut Context);
    fn timeout(&mut self, cx: &mut Context);
    fn poll_timeout(&self) -> Option<u64>;
    /// Tells the dialect its own public address, for venues that hand it out.
    fn set_endpoint(&mut self, _url: &str) {}
}

/// A simulated venue.
pub struct VenueServer {
    kind: VenueKind,
    books: Books,
    dialect: Box<dyn Dialect>,
    stalled: Vec<u64>,
    conns: BTreeSet<ConnId>,
    raw: VecDeque<Outgoing>,
    faults: FaultLayer,
    wire: VecDeque<(ConnId, ServerFrame)>,
}

impl std::fmt::Debug for VenueServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VenueServer")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl VenueServer {
    /// A server of `kind` with empty books for these instruments; those of other venues are
    /// ignored. The seed decides ids and fillers, nothing that a client may rely on.
    pub fn new(kind: VenueKind, seed: u64, instruments: &[Instrument]) -> VenueServer {
        let listings: Vec<Listing> = instruments
            .iter()
            .filter(|i| i.venue == kind)
            .map(|instrument| Listing {
                instrument: instrument.clone(),
                bids: BTreeMap::new(),
                asks: BTreeMap::new(),
                last_trade: None,
                time_ns: 0,
                candles: candles::Candles::default(),
            })
            .collect();
        let n = listings.len();
        let dialect: Box<dyn Dialect> = match kind {
            VenueKind::Binance => Box::new(binance::Binance::new(seed, n)),
            VenueKind::Coinbase => Box::new(coinbase::Coinbase::new(n)),
            VenueKind::Kraken => Box::new(kraken::Kraken::new(seed, n)),
            VenueKind::Kucoin => Box::new(kucoin::Kucoin::new(seed, n)),
        };
        VenueServer {
            kind,
            books: Books { listings },
            dialect,
            stalled: vec![0; n],
            conns: BTreeSet::new(),
            raw: VecDeque::new(),
            faults: FaultLayer::new(kind, seed),
            wire: VecDeque::new(),
        }
    }

    /// Which venue this is.
    pub fn kind(&self) -> VenueKind {
        self.kind
    }

    /// The markets with their true books in ticks and lots.
    pub fn listings(&self) -> &[Listing] {
        &self.books.listings
    }

    /// The true book of a symbol in ticks and lots.
    pub fn listing(&self, symbol: &str) -> Option<&Listing> {
        self.books.find(symbol).map(|i| &self.books.listings[i])
    }

    /// The true book of a symbol as text without trailing zeros.
    pub fn truth(&self, symbol: &str) -> Option<Truth> {
        let listing = self.listing(symbol)?;
        let text = |side| {
            listing
                .top(side, usize::MAX)
                .into_iter()
                .map(|(p, q)| (listing.short_price(p), listing.short_qty(q)))
                .collect()
        };
        Some(Truth {
            bids: text(Side::Buy),
            asks: text(Side::Sell),
        })
    }

    /// Tells KuCoin the WebSocket address (`wss://host:port/`) that its token endpoint hands out.
    pub fn set_endpoint(&mut self, url: &str) {
        self.dialect.set_endpoint(url);
    }

    /// A client asks for a WebSocket on this path and query. `Err` is the HTTP status with which
    /// the upgrade is refused.
    pub fn connect(&mut self, conn: ConnId, target: &str, now: u64) -> Result<(), u16> {
        if self.conns.len() >= MAX_CONNS {
            return Err(503);
        }
        self.with(now, |dialect, cx| dialect.connect(conn, target, cx))?;
        self.conns.insert(conn);
        if self.faults.storming(now) {
            self.drop_conn(conn);
        }
        self.drain(now);
        Ok(())
    }

    /// A text frame (or the UTF-8 of a binary one) arrived.
    pub fn handle_frame(&mut self, conn: ConnId, text: &str, now: u64) {
        if self.conns.contains(&conn) && !self.faults.is_frozen(conn) {
            self.with(now, |dialect, cx| dialect.frame(conn, text, cx));
            self.drain(now);
        }
    }

    /// A WebSocket pong arrived.
    pub fn handle_pong(&mut self, conn: ConnId, now: u64) {
        if self.conns.contains(&conn) && !self.faults.is_frozen(conn) {
            self.with(now, |dialect, cx| dialect.pong(conn, cx));
            self.drain(now);
        }
    }

    /// A plain HTTP request arrived.
    pub fn handle_http(&mut self, method: &str, target: &str, now: u64) -> HttpReply {
        if let Some(reply) = self.faults.http_refusal(now) {
            return reply;
        }
        let mut reply = self.with(now, |dialect, cx| dialect.http(method, target, cx));
        reply.delay_ns = self.faults.http_delay(now);
        self.drain(now);
        reply
    }

    /// The client or the network ended this connection.
    pub fn disconnected(&mut self, conn: ConnId) {
        self.forget(conn);
        self.faults.forget(conn);
        self.wire.retain(|(c, _)| *c != conn);
    }

    /// Connections that are open, from this server's view.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Applies an event of the world to the true book; events of other venues are ignored. Timers
    /// that are due before the event fire first.
    pub fn apply(&mut self, event: &WorldEvent) {
        if event.venue != self.kind {
            return;
        }
        let Some(listing) = self.books.find(&event.symbol) else {
            return;
        };
        for _ in 0..MAX_TIMERS_PER_EVENT {
            match self.poll_timeout() {
                Some(due) if due <= event.time_ns => self.handle_timeout(due),
                _ => break,
            }
        }
        let now = event.time_ns;
        let book = &mut self.books.listings[listing];
        book.time_ns = now;
        match event.kind {
            EventKind::Level { side, price, qty } => {
                let before = book.best(side);
                let levels = match side {
                    Side::Buy => &mut book.bids,
                    Side::Sell => &mut book.asks,
                };
                if qty == 0 {
                    levels.remove(&price);
                } else {
                    levels.insert(price, qty);
                }
                let touch = before != book.best(side);
                let change = LevelChange {
                    listing,
                    side,
                    price,
                    qty,
                    touch,
                    time_ns: now,
                };
                self.with(now, |dialect, cx| dialect.level(change, cx));
            }
            EventKind::Trade {
                price,
                qty,
                taker,
                id,
            } => {
                book.last_trade = Some((price, qty));
                book.candles.trade(price, qty, taker, now);
                let print = Print {
                    listing,
                    price,
                    qty,
                    taker,
                    id,
                    time_ns: now,
                };
                self.with(now, |dialect, cx| dialect.trade(print, cx));
            }
        }
        self.drain(now);
    }

    /// Timers that are due fire.
    pub fn handle_timeout(&mut self, now: u64) {
        self.with(now, |dialect, cx| dialect.timeout(cx));
        self.drain(now);
    }

    /// When [`VenueServer::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.dialect.poll_timeout()
    }

    /// The next frame for the wire.
    pub fn poll_transmit(&mut self) -> Option<(ConnId, ServerFrame)> {
        self.wire.pop_front()
    }

    /// Injects a fault. Faults of a frame wait for the next frame that suits them. `false` when
    /// the fault cannot happen here: it does not apply to the venue, the symbol is unknown, there
    /// is no connection to hurt, or too many faults wait already.
    pub fn inject(&mut self, fault: &Fault, now: u64) -> bool {
        if !fault.applies_to(self.kind) {
            return false;
        }
        let listing = match fault.symbol() {
            Some(symbol) => match self.books.find(symbol) {
                Some(listing) => Some(listing),
                None => return false,
            },
            None => None,
        };
        match fault {
            Fault::Stall { for_ns, .. } => {
                let listing = listing.expect("a stall names a symbol");
                self.stalled[listing] = now + (*for_ns).min(crate::faults::MAX_DURATION);
                self.faults.record(fault, now);
                true
            }
            Fault::HalfOpen => {
                if self.conns.is_empty() {
                    return false;
                }
                for conn in self.conns.clone() {
                    if self.faults.freeze(conn) {
                        self.wire.push_back((conn, ServerFrame::Freeze));
                    }
                }
                self.faults.record(fault, now);
                true
            }
            Fault::DisconnectStorm { .. } => {
                for conn in self.conns.clone() {
                    self.drop_conn(conn);
                }
                self.faults.arm(fault, listing, now)
            }
            _ => self.faults.arm(fault, listing, now),
        }
    }

    /// Ends all faults: nothing waits to be injected, stalls end, storms and REST trouble end.
    /// Frozen connections stay frozen, as half-open sockets do.
    pub fn disarm(&mut self, now: u64) {
        for until in &mut self.stalled {
            *until = (*until).min(now);
        }
        self.faults.disarm(&mut self.wire);
    }

    /// What was injected so far, oldest first (the first 10,000).
    pub fn injected(&self) -> &[Injected] {
        self.faults.log()
    }

    /// How often each kind of fault was injected.
    pub fn injected_counts(&self) -> &BTreeMap<FaultKind, u64> {
        self.faults.counts()
    }

    fn with<T>(
        &mut self,
        now: u64,
        act: impl FnOnce(&mut Box<dyn Dialect>, &mut Context) -> T,
    ) -> T {
        let mut cx = Context {
            now,
            books: &self.books,
            stalled: &self.stalled,
            out: &mut self.raw,
        };
        act(&mut self.dialect, &mut cx)
    }

    /// Passes what the dialect said through the fault layer.
    fn drain(&mut self, now: u64) {
        while let Some(outgoing) = self.raw.pop_front() {
            if !self.conns.contains(&outgoing.conn) {
                continue;
            }
            let conn = outgoing.conn;
            let closing = matches!(outgoing.frame, ServerFrame::Close { .. });
            self.faults.pass(outgoing, &self.books, now, &mut self.wire);
            if closing {
                self.forget(conn);
            } else if self.wire.len() > MAX_WAITING_FRAMES {
                self.wire.retain(|(c, _)| *c != conn);
                self.drop_conn(conn);
            }
        }
    }

    fn drop_conn(&mut self, conn: ConnId) {
        self.raw.retain(|o| o.conn != conn);
        self.forget(conn);
        self.faults.forget(conn);
        self.wire.push_back((conn, ServerFrame::Drop));
    }

    fn forget(&mut self, conn: ConnId) {
        if self.conns.remove(&conn) {
            self.dialect.disconnected(conn);
        }
    }
}

/// Counts client messages in one-second windows.
#[derive(Clone, Copy, Debug, Default)]
struct Inbound {
    second: u64,
    count: u32,
}

impl Inbound {
    /// Notes one message; false when there were more than `limit` in this second.
    fn allow(&mut self, now: u64, limit: u32) -> bool {
        let second = now / SECOND;
        if second != self.second {
            *self = Inbound { second, count: 0 };
        }
        self.count += 1;
        self.count <= limit
    }
}

/// `units * 10^-decimals` with exactly `decimals` digits after the point.
pub(crate) fn fixed(units: i64, decimals: u32) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = units.unsigned_abs();
    let scale = 10u64.pow(decimals);
    if decimals == 0 {
        return format!("{sign}{digits}");
    }
    let (whole, part) = (digits / scale, digits % scale);
    format!("{sign}{whole}.{part:0width$}", width = decimals as usize)
}

/// `units * 10^-decimals` without trailing zeros.
pub(crate) fn trimmed(units: i64, decimals: u32) -> String {
    let text = fixed(units, decimals);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

/// RFC 3339 in UTC with this many digits of the second's fraction, or, with `trim`, nine digits
/// less trailing zeros, but six at least.
pub(crate) fn rfc3339(ns: u64, digits: usize, trim: bool) -> String {
    let (seconds, part) = (ns / SECOND, ns % SECOND);
    // Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let days = (seconds / 86_400) as i64 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let clock = seconds % 86_400;
    let mut fraction = format!("{part:09}");
    fraction.truncate(digits);
    if trim {
        while fraction.len() > 6 && fraction.ends_with('0') {
            fraction.pop();
        }
    }
    let (h, m, s) = (clock / 3_600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{fraction}Z")
}

/// The first multiple of `period` after `now`.
fn next_multiple(now: u64, period: u64) -> u64 {
    (now / period + 1) * period
}

/// Splits `/path?query`.
fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// The value of a query parameter with percent escapes resolved.
fn query_value(query: &str, key: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| unescape(value))
    })
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes
            .get(i + 1..i + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod text_tests {
    use super::*;

    #[test]
    fn decimals_and_times_are_written_exactly() {
        assert_eq!(fixed(6_452_500, 2), "64525.00");
        assert_eq!(fixed(5, 8), "0.00000005");
        assert_eq!(fixed(-15, 1), "-1.5");
        assert_eq!(fixed(12, 0), "12");
        assert_eq!(trimmed(6_452_500, 2), "64525");
        assert_eq!(trimmed(100, 0), "100");
        assert_eq!(trimmed(10, 8), "0.0000001");
        let ns = 1_784_483_679_753_424_000;
        assert_eq!(rfc3339(ns, 6, false), "2026-07-19T17:54:39.753424Z");
        assert_eq!(rfc3339(ns, 9, true), "2026-07-19T17:54:39.753424Z");
        assert_eq!(rfc3339(ns + 10, 9, true), "2026-07-19T17:54:39.75342401Z");
        assert_eq!(
            rfc3339(951_782_400 * SECOND, 6, false),
            "2000-02-29T00:00:00.000000Z"
        );
        assert_eq!(rfc3339(0, 6, false), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn query_values_are_unescaped() {
        assert_eq!(
            query_value("a=1&streams=x%40trade/y", "streams").unwrap(),
            "x@trade/y"
        );
        assert_eq!(query_value("a=1", "b"), None);
        assert_eq!(query_value("a=%4", "a").unwrap(), "%4");
        assert_eq!(split_target("/x?y"), ("/x", "y"));
    }
}
