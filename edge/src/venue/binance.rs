//! Binance spot, Binance.US spot and Binance USDT-margined futures: one dialect, three hosts.
//!
//! A connection asks for its streams in its address, so there is nothing to subscribe. Diffs of the
//! book arrive at once; their snapshot is a REST request. What is told apart between the three:
//!
//! * spot numbers its diffs without holes, futures chain them by `pu` ([`Rule`]);
//! * futures serve book streams and everything else under two addresses (`/public`, `/market`). A
//!   stream asked for under the wrong one is acknowledged and never sends anything;
//! * futures have no documented trade stream, so trades are `aggTrade` there.
//!
//! Depth and best-bid/ask events carry the time `E` at which the venue sent them. Futures also give
//! `T`, the time of the last transaction inside. `E` is taken for both: it exists in both dialects,
//! it never runs backwards within a stream, and it is never before the trades that the event
//! contains, so that ordering by time puts a trade before the depth that shows its effect.
//!
//! Sources: binance-spot-api-docs `web-socket-streams.md` ("How to manage a local order book
//! correctly"); developers.binance.com, USDS-M "How to manage a local order book correctly", "Mark
//! Price Stream" and "Important WebSocket Change Notice" of 2026-03-06.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tickerml_shared::event::{DepthKind, Funding, RATE_SCALE, Side};
use tickerml_shared::instrument::Venue;
use tickerml_shared::num::Price;
use tickerml_shared::time::{MINUTES, SECONDS, Time};

use super::dialect::Limits;
use super::reader::{Reader, Unreadable, WireLevel};
use super::session::Channel;
use super::sync::{Ids, Rule};
use super::wire::{is_zero, nearest};
use super::{Cue, Endpoint, Purpose, Transmit};

/// Levels a side that a snapshot is asked for with; a side that has as many may have more.
const SNAPSHOT_LIMIT: usize = 1000;
/// The limits that the venues' depth requests accept: a recorded snapshot with exactly as many
/// levels on a side was cut there.
const SNAPSHOT_LIMITS: [usize; 5] = [20, 100, 500, 1000, 5000];
/// How often the venue is asked for the list of streams. The answer is a frame, so a connection
/// whose markets are all quiet still shows that it lives.
const PROBE_EVERY: u64 = 30 * SECONDS;
/// The probe; one of the five (spot) or ten (futures) client messages a second that are allowed.
const PROBE: &str = r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#;

/// One connection to one of the three.
#[derive(Debug)]
pub struct Binance {
    venue: Venue,
    channel: Channel,
    /// What was seen of each instrument's trades, by place.
    tapes: Vec<Tape>,
    /// A snapshot in a capture that came before any frame with a name.
    orphan: Option<String>,
}

/// Which of the two trade streams feeds an instrument. A capture may hold both.
#[derive(Clone, Copy, Debug, Default)]
struct Tape {
    /// The `trade` stream was seen: `aggTrade` repeats it.
    has_trades: bool,
    /// The newest single trade that an `aggTrade` reported contained.
    last_aggregated: u64,
}

/// Anything the venue sends, as far as it is of use.
enum Event<'a> {
    Diff(Diff<'a>),
    Ticker(BookTicker<'a>),
    Trade(Trade<'a>),
    Aggregate(Aggregate<'a>),
    Mark(MarkPrice<'a>),
    Snapshot(Option<Cow<'a, str>>, &'a str),
    Shutdown,
    Refused(String),
    Ignored,
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The fields by which a frame without a telling prefix is recognised.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    e: Option<Cow<'a, str>>,
    #[serde(rename = "lastUpdateId", default)]
    last_update_id: Option<u64>,
    /// Quantity at the best bid: a spot `bookTicker` has no event name.
    #[serde(rename = "B", default)]
    bid_qty: Option<IgnoredAny>,
    #[serde(rename = "A", default)]
    ask_qty: Option<IgnoredAny>,
    #[serde(default)]
    code: Option<i64>,
    #[serde(borrow, default)]
    msg: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    error: Option<Fault<'a>>,
}

#[derive(Deserialize)]
struct Fault<'a> {
    code: i64,
    #[serde(borrow)]
    msg: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Diff<'a> {
    #[serde(rename = "E")]
    sent: u64,
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    #[serde(rename = "U")]
    first: u64,
    #[serde(rename = "u")]
    last: u64,
    #[serde(rename = "pu", default)]
    previous: u64,
    #[serde(borrow, rename = "b")]
    bids: Vec<WireLevel<'a>>,
    #[serde(borrow, rename = "a")]
    asks: Vec<WireLevel<'a>>,
}

#[derive(Deserialize)]
struct BookTicker<'a> {
    #[serde(rename = "E", default)]
    sent: u64,
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    #[serde(rename = "u")]
    id: u64,
    #[serde(rename = "b")]
    bid: &'a str,
    #[serde(rename = "B")]
    bid_qty: &'a str,
    #[serde(rename = "a")]
    ask: &'a str,
    #[serde(rename = "A")]
    ask_qty: &'a str,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    #[serde(rename = "t")]
    id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    qty: &'a str,
    #[serde(rename = "T")]
    at: u64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
    /// Futures: `MARKET`, or how else the position changed hands.
    #[serde(borrow, rename = "X", default)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Aggregate<'a> {
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    /// Absent in frames of 2019.
    #[serde(rename = "a", default)]
    id: u64,
    #[serde(rename = "l")]
    last_trade: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    qty: &'a str,
    #[serde(rename = "T")]
    at: u64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
}

#[derive(Deserialize)]
struct MarkPrice<'a> {
    #[serde(rename = "E")]
    sent: u64,
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    #[serde(rename = "p")]
    mark: &'a str,
    /// Absent in frames of 2019.
    #[serde(rename = "i", default)]
    index: &'a str,
    /// The rate of the running interval, still moving; empty for dated contracts.
    #[serde(rename = "r", default)]
    rate: &'a str,
    /// When it settles; 0 for dated contracts.
    #[serde(rename = "T", default)]
    settles: u64,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    id: u64,
    /// Futures only.
    #[serde(rename = "E", default)]
    sent: u64,
    #[serde(borrow)]
    bids: Vec<WireLevel<'a>>,
    #[serde(borrow)]
    asks: Vec<WireLevel<'a>>,
}

impl Binance {
    /// A connection to `venue` (one of the three) for these streams. Futures cannot carry the book
    /// and the rest on one connection; [`Channel::All`] means the book there.
    #[must_use]
    pub const fn new(venue: Venue, channel: Channel) -> Self {
        Self {
            venue,
            channel,
            tapes: Vec::new(),
            orphan: None,
        }
    }

    const fn is_futures(&self) -> bool {
        matches!(self.venue, Venue::BinanceUsdm)
    }

    /// How diffs are numbered.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        if self.is_futures() {
            Rule::Chained
        } else {
            Rule::Contiguous
        }
    }

    /// The address with every stream in it.
    #[must_use]
    pub fn start(&mut self, endpoint: &Endpoint, reader: &Reader) -> Transmit {
        let (path, streams): (&str, &[&str]) = match (self.is_futures(), self.channel) {
            (true, Channel::All | Channel::Book) => ("/public", &["depth@100ms", "bookTicker"]),
            (true, Channel::Market) => ("/market", &["aggTrade", "markPrice@1s"]),
            (false, Channel::All) => ("", &["depth@100ms", "trade", "bookTicker"]),
            (false, Channel::Book) => ("", &["depth@100ms", "bookTicker"]),
            (false, Channel::Market) => ("", &["trade"]),
        };
        let mut url = format!("{}{path}/stream?streams=", endpoint.ws);
        for (index, listing) in reader.listings().iter().enumerate() {
            let symbol = listing.instrument.symbol.to_lowercase();
            for (position, stream) in streams.iter().enumerate() {
                let slash = if index + position > 0 { "/" } else { "" };
                url.push_str(&format!("{slash}{symbol}@{stream}"));
            }
        }
        Transmit::Connect { url }
    }

    /// Nothing: the streams stand in the address.
    #[must_use]
    pub fn subscribe(&mut self, _reader: &Reader) -> Vec<String> {
        Vec::new()
    }

    /// Reads one frame, or a snapshot that stands inline in a capture.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue is known to send.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        let event = match split(text).map(|(stream, data)| Event::read(Some(stream.into()), data)) {
            Some(Ok(event)) => event,
            // The quick split may have been wrong; the slow one says what is.
            Some(Err(_)) => {
                let wrapped: Wrapped<'_> = serde_json::from_str(text)?;
                Event::read(Some(wrapped.stream), wrapped.data.get())?
            }
            None => match serde_json::from_str::<Wrapped<'_>>(text) {
                Ok(wrapped) => Event::read(Some(wrapped.stream), wrapped.data.get())?,
                Err(_) => Event::read(None, text.trim())?,
            },
        };
        self.take(event, reader)
    }

    fn take(&mut self, event: Event<'_>, reader: &mut Reader) -> Result<Cue, Unreadable> {
        match event {
            Event::Diff(diff) => self.diff(&diff, reader)?,
            Event::Ticker(ticker) => book_ticker(&ticker, reader)?,
            Event::Trade(trade) => self.trade(&trade, reader)?,
            Event::Aggregate(trade) => self.aggregate(&trade, reader)?,
            Event::Mark(mark) => mark_price(&mark, reader)?,
            Event::Snapshot(Some(symbol), data) => {
                if let Some(place) = reader.find(&symbol) {
                    take_snapshot(place, data, reader)?;
                }
            }
            Event::Snapshot(None, data) => return self.nameless(data, reader),
            Event::Shutdown => return Ok(Cue::Restart("the venue is shutting down")),
            Event::Refused(why) => return Ok(Cue::Refused(why)),
            Event::Ignored => {}
        }
        Ok(Cue::None)
    }

    fn diff(&mut self, diff: &Diff<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
        let Some(place) = reader.find(&diff.symbol) else {
            return Ok(());
        };
        if let Some(orphan) = self.orphan.take() {
            take_snapshot(place, &orphan, reader)?;
        }
        let ids = Ids {
            first: diff.first,
            last: diff.last,
            previous: diff.previous,
        };
        let sent = Time::from_epoch(diff.sent);
        let (bids, asks) = (diff.bids.iter().copied(), diff.asks.iter().copied());
        reader.delta(place, ids, sent, None, bids, asks)
    }

    fn tape(&mut self, place: usize) -> &mut Tape {
        if self.tapes.len() <= place {
            self.tapes.resize(place + 1, Tape::default());
        }
        &mut self.tapes[place]
    }

    fn trade(&mut self, trade: &Trade<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
        // Insurance fund and auto-deleveraging trades change positions without crossing the book.
        if trade.kind.as_deref().is_some_and(|kind| kind != "MARKET") {
            return Ok(());
        }
        let Some(place) = reader.find(&trade.symbol) else {
            return Ok(());
        };
        let tape = self.tape(place);
        tape.has_trades = true;
        if trade.id <= tape.last_aggregated {
            return Ok(());
        }
        let level = (trade.price, trade.qty);
        let at = Time::from_epoch(trade.at);
        reader.trade(place, at, trade.id, level, aggressor(trade.buyer_is_maker))
    }

    fn aggregate(&mut self, trade: &Aggregate<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
        let Some(place) = reader.find(&trade.symbol) else {
            return Ok(());
        };
        let tape = self.tape(place);
        if tape.has_trades {
            return Ok(());
        }
        tape.last_aggregated = trade.last_trade;
        let level = (trade.price, trade.qty);
        let at = Time::from_epoch(trade.at);
        reader.trade(place, at, trade.id, level, aggressor(trade.buyer_is_maker))
    }

    /// A snapshot in a capture that does not say whose it is.
    fn nameless(&mut self, data: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        if let Some(place) = reader.nameless() {
            take_snapshot(place, data, reader)?;
        } else if reader.listings().is_empty() {
            self.orphan = Some(data.to_owned());
        } else {
            let why = "a snapshot names no instrument and several could be meant";
            return Ok(Cue::Refused(why.to_owned()));
        }
        Ok(Cue::None)
    }

    /// Reads the reply to a snapshot request.
    ///
    /// # Errors
    /// [`Unreadable`] when it is no snapshot.
    pub fn snapshot(
        &mut self,
        place: usize,
        body: &str,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        take_snapshot(place, body, reader)
    }

    /// The request for a new snapshot.
    #[must_use]
    pub fn refresh(&mut self, place: usize, endpoint: &Endpoint, reader: &Reader) -> Vec<Transmit> {
        let path = if self.is_futures() {
            "/fapi/v1/depth"
        } else {
            "/api/v3/depth"
        };
        let symbol = &reader.listings()[place].instrument.symbol;
        vec![Transmit::Request {
            purpose: Purpose::Snapshot(place),
            post: false,
            url: format!(
                "{}{path}?symbol={symbol}&limit={SNAPSHOT_LIMIT}",
                endpoint.rest
            ),
        }]
    }

    /// A question whose answer shows that the connection lives. The venue's own pings are answered
    /// by the WebSocket layer.
    #[must_use]
    pub fn keepalive(&self) -> Option<(u64, String)> {
        Some((PROBE_EVERY, PROBE.to_owned()))
    }

    /// Request weights, against their limits a minute: 50 of 6000 (spot), 50 of 1200 on Binance.US
    /// (eight at once and fifteen more within the minute are 1150), 20 of 2400 (futures). A
    /// connection lives at most 24 hours.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        let (refresh_capacity, refresh_every) = match self.venue {
            Venue::BinanceUs => (8, 4 * SECONDS),
            _ => (5, 2 * SECONDS),
        };
        Limits {
            silence: 75 * SECONDS,
            stale: 5 * MINUTES,
            snapshot: 15 * SECONDS,
            refresh_capacity,
            refresh_every,
            max_age: 23 * 60 * MINUTES,
        }
    }

    /// A snapshot reply as a capture holds it: on one line, under its instrument's name.
    #[must_use]
    pub fn capture_snapshot(symbol: &str, body: &str) -> String {
        let (stream, body) = (symbol.to_lowercase(), body.replace(['\r', '\n'], " "));
        format!(r#"{{"stream":"{stream}@depthSnapshot","generated":true,"data":{body}}}"#)
    }
}

impl<'a> Event<'a> {
    fn read(stream: Option<Cow<'a, str>>, data: &'a str) -> Result<Self, Unreadable> {
        let (symbol, kind) = match stream.as_deref().map(|name| name.split_once('@')) {
            Some(Some(parts)) => parts,
            _ => ("", ""),
        };
        if kind == "depthSnapshot" {
            return Ok(Self::Snapshot(Some(symbol.to_uppercase().into()), data));
        }
        if data.starts_with(r#"{"e":"depthUpdate","#) && !is_partial(kind) {
            return Ok(Self::Diff(serde_json::from_str(data)?));
        }
        if data.starts_with(r#"{"e":"trade","#) {
            return Ok(Self::Trade(serde_json::from_str(data)?));
        }
        if kind == "bookTicker" {
            return Ok(Self::Ticker(serde_json::from_str(data)?));
        }
        if data.starts_with('[') {
            // The all-market streams, which are never asked for.
            serde_json::from_str::<IgnoredAny>(data)?;
            return Ok(Self::Ignored);
        }
        let head: Head<'_> = serde_json::from_str(data)?;
        Ok(match head.e.as_deref() {
            Some("depthUpdate") if !is_partial(kind) => Self::Diff(serde_json::from_str(data)?),
            Some("trade") => Self::Trade(serde_json::from_str(data)?),
            Some("aggTrade") => Self::Aggregate(serde_json::from_str(data)?),
            Some("bookTicker") => Self::Ticker(serde_json::from_str(data)?),
            Some("markPriceUpdate") => Self::Mark(serde_json::from_str(data)?),
            Some("serverShutdown") => Self::Shutdown,
            Some(_) => Self::Ignored,
            None if head.last_update_id.is_some() && !is_partial(kind) => {
                Self::Snapshot(None, data)
            }
            None if head.bid_qty.is_some() && head.ask_qty.is_some() => {
                Self::Ticker(serde_json::from_str(data)?)
            }
            None => match (head.error, head.code, head.msg) {
                (Some(fault), ..) => Self::Refused(format!("{}: {}", fault.code, fault.msg)),
                (None, Some(code), Some(msg)) => Self::Refused(format!("{code}: {msg}")),
                _ => Self::Ignored,
            },
        })
    }
}

/// The stream's name and the data of a combined-stream frame, without a look at the data.
fn split(text: &str) -> Option<(&str, &str)> {
    let (stream, rest) = text.strip_prefix(r#"{"stream":""#)?.split_once('"')?;
    let data = rest.strip_prefix(r#","data":"#)?.strip_suffix('}')?;
    (!stream.contains('\\')).then_some((stream, data))
}

/// The streams of the best 5, 10 or 20 levels: no diffs, although they look alike. Never asked for.
fn is_partial(kind: &str) -> bool {
    kind.strip_prefix("depth")
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

const fn aggressor(buyer_is_maker: bool) -> Side {
    if buyer_is_maker {
        Side::Sell
    } else {
        Side::Buy
    }
}

fn book_ticker(ticker: &BookTicker<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
    // An empty side is printed as zeros; there is nothing to compare with then.
    if is_zero(ticker.bid_qty) || is_zero(ticker.ask_qty) {
        return Ok(());
    }
    let Some(place) = reader.find(&ticker.symbol) else {
        return Ok(());
    };
    reader.touch(
        place,
        Time::from_epoch(ticker.sent),
        ticker.id,
        (ticker.bid, ticker.bid_qty),
        (ticker.ask, ticker.ask_qty),
    )
}

fn mark_price(frame: &MarkPrice<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
    let Some(place) = reader.find(&frame.symbol) else {
        return Ok(());
    };
    let scale = reader.listings()[place].instrument.price_scale;
    let dated = frame.settles == 0 || frame.rate.is_empty();
    let funding = Funding {
        mark: rounded(frame.mark, scale)?,
        index: rounded(frame.index, scale)?,
        rate: if dated {
            None
        } else {
            Some(nearest(frame.rate, RATE_SCALE)?)
        },
        predicted: None,
        settles: Time::from_epoch(frame.settles),
        interval_s: 0,
    };
    reader.funding(place, Time::from_epoch(frame.sent), funding);
    Ok(())
}

/// A computed price, printed with eight decimals whatever the tick; zero when there is none.
fn rounded(text: &str, scale: u8) -> Result<Price, Unreadable> {
    if text.is_empty() {
        return Ok(Price(0));
    }
    nearest(text, scale).map(Price)
}

fn take_snapshot(place: usize, body: &str, reader: &mut Reader) -> Result<(), Unreadable> {
    let snapshot: Snapshot<'_> = serde_json::from_str(body)?;
    let was_cut = |levels: usize| levels > SNAPSHOT_LIMIT || SNAPSHOT_LIMITS.contains(&levels);
    let kind = DepthKind::Snapshot {
        truncated: was_cut(snapshot.bids.len()) || was_cut(snapshot.asks.len()),
        limit: 0,
    };
    let sent = Time::from_epoch(snapshot.sent);
    let (bids, asks) = (snapshot.bids.into_iter(), snapshot.asks.into_iter());
    reader.snapshot(place, kind, snapshot.id, sent, None, bids, asks)
}
