//! KuCoin's Classic feeds: spot and futures, reached with a token.
//!
//! The depth stream sends changes only; the snapshot is a REST reply. Spot messages cover a range
//! of sequence numbers and each row carries its own, futures messages are one level and one number.
//! A row of price zero changes nothing but the sequence. Quantities of futures are lots.
//!
//! Source: the Kucoin/kucoin-api-docs and Kucoin/kucoin-futures-api-docs repositories: "Apply
//! connect token", "Level-2 market data", "Match execution data", "Contract market data".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tickerml_shared::event::{DepthKind, Funding, RATE_SCALE, Side};
use tickerml_shared::instrument::Venue;
use tickerml_shared::num::Price;
use tickerml_shared::time::{MILLIS, MINUTES, SECONDS, Time};

use super::dialect::Limits;
use super::reader::{Reader, Unreadable, WireLevel};
use super::session::Channel;
use super::sync::{Ids, Rule};
use super::wire::{Row, bare, integer, is_zero, levels, nearest, shortened, side, stamp};
use super::{Cue, Endpoint, Purpose, Transmit};

/// The ping period until the token reply states the venue's.
const PING_NS: u64 = 18 * SECONDS;
/// The code of a REST reply that holds what was asked for.
const OK: &str = "200000";
/// Levels a side at which the venue cuts the snapshots that need no key; a side of just as many is
/// taken as cut.
const CUTS: [usize; 2] = [20, 100];
/// Funding is settled at whole hours; a rate of a finer interval is a running estimate.
const SETTLED_MS: u64 = 3_600_000;

/// Where spot and futures differ.
#[derive(Debug)]
struct Paths {
    snapshot: &'static str,
    /// The topic by which captures name a REST snapshot.
    captured: &'static str,
    /// The topic of the book.
    book: &'static str,
    /// The topics of trades and of what else the venue has.
    market: &'static [&'static str],
}

const SPOT: Paths = Paths {
    snapshot: "/api/v1/market/orderbook/level2_100",
    captured: "/market/level2Snapshot",
    book: "/market/level2",
    market: &["/market/match"],
};

const FUTURES: Paths = Paths {
    snapshot: "/api/v1/level2/snapshot",
    captured: "/contractMarket/level2Snapshot",
    book: "/contractMarket/level2",
    market: &["/contractMarket/execution", "/contract/instrument"],
};

/// The dialect of one connection.
#[derive(Debug)]
pub struct Kucoin {
    channel: Channel,
    paths: &'static Paths,
    ping_ns: u64,
    /// Connections so far: tells their ids apart.
    connections: u64,
    /// By place in the reader.
    known: Vec<Known>,
}

/// What earlier frames said about an instrument.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The sequence of the newest snapshot.
    snapshot: u64,
    /// Whether a settled rate was seen, so that estimates are about the next interval.
    settled: bool,
    funding: Option<Funding>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    subject: Option<&'a str>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    sequence_start: u64,
    sequence_end: u64,
    /// Absent before 2022.
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    changes: Sides<'a>,
}

#[derive(Deserialize)]
struct Sides<'a> {
    #[serde(borrow, default)]
    asks: Vec<Row<'a>>,
    #[serde(borrow, default)]
    bids: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct LevelChanged<'a> {
    #[serde(borrow)]
    sequence: &'a RawValue,
    /// `price,side,quantity`
    change: &'a str,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sequence: &'a RawValue,
    #[serde(borrow)]
    bids: Vec<Row<'a>>,
    #[serde(borrow)]
    asks: Vec<Row<'a>>,
    /// Spot.
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    /// Futures.
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Match<'a> {
    side: &'a str,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    size: &'a RawValue,
    #[serde(borrow)]
    trade_id: Option<&'a RawValue>,
    /// Spot.
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    /// Futures.
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contract<'a> {
    granularity: Option<u64>,
    #[serde(borrow)]
    funding_rate: Option<&'a RawValue>,
    #[serde(borrow)]
    mark_price: Option<&'a RawValue>,
    #[serde(borrow)]
    index_price: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token<'a> {
    token: &'a str,
    #[serde(borrow)]
    instance_servers: Vec<Server<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Server<'a> {
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
    /// Milliseconds.
    ping_interval: Option<u64>,
}

impl Kucoin {
    /// A dialect for [`Venue::Kucoin`] or [`Venue::KucoinFutures`].
    #[must_use]
    pub fn new(venue: Venue, channel: Channel) -> Self {
        Self {
            channel,
            paths: if venue == Venue::KucoinFutures {
                &FUTURES
            } else {
                &SPOT
            },
            ping_ns: PING_NS,
            connections: 0,
            known: Vec::new(),
        }
    }

    /// Ranges of sequence numbers without holes.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule::Contiguous
    }

    /// Asks for a token first.
    pub fn start(&mut self, endpoint: &Endpoint, _reader: &Reader) -> Transmit {
        self.known.clear();
        Transmit::Request {
            purpose: Purpose::Token,
            post: true,
            url: format!("{}/api/v1/bullet-public", endpoint.rest),
        }
    }

    /// Takes the token, the server's address and its ping period, and opens the connection.
    ///
    /// # Errors
    /// [`Unreadable`] when the reply is a refusal or names no server.
    pub fn token(&mut self, body: &str, _endpoint: &Endpoint) -> Result<Transmit, Unreadable> {
        let reply: Token<'_> = serde_json::from_str(content(body)?.get())?;
        let server = reply
            .instance_servers
            .first()
            .ok_or_else(|| Unreadable::new("the token reply names no server"))?;
        if let Some(interval) = server.ping_interval.filter(|interval| *interval > 0) {
            self.ping_ns = interval.saturating_mul(MILLIS);
        }
        self.connections += 1;
        Ok(Transmit::Connect {
            url: join(&server.endpoint, reply.token, self.connections),
        })
    }

    /// One frame a topic, naming every instrument.
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        let symbols: Vec<&str> = reader
            .listings()
            .iter()
            .map(|listing| listing.instrument.symbol.as_str())
            .collect();
        let symbols = symbols.join(",");
        let book = (self.channel != Channel::Market).then_some(&self.paths.book);
        let market = match self.channel {
            Channel::Book => &[],
            Channel::All | Channel::Market => self.paths.market,
        };
        (1..)
            .zip(book.into_iter().chain(market))
            .map(|(id, topic)| {
                json!({
                    "id": id.to_string(),
                    "type": "subscribe",
                    "topic": format!("{topic}:{symbols}"),
                    "response": true,
                })
                .to_string()
            })
            .collect()
    }

    /// Reads a frame, or a REST snapshot that stands in a capture.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue documents.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        let head: Head<'_> = serde_json::from_str(text)?;
        match head.kind {
            Some("welcome") => return Ok(Cue::Welcome),
            Some("error") => {
                let words = head.data.or(head.msg).map_or("", bare);
                return Ok(Cue::Refused(words.to_owned()));
            }
            _ => {}
        }
        let Some(data) = head.data else {
            return Ok(Cue::None);
        };
        match head
            .topic
            .as_deref()
            .and_then(|topic| topic.split_once(':'))
        {
            // Candles carry their period in the symbol's place: nobody's name.
            Some((topic, _)) if topic.ends_with("/candles") => {}
            Some((topic, symbol)) => {
                if let Some(place) = reader.find(symbol) {
                    self.message(topic, head.subject, place, data, reader)?;
                }
            }
            None if head.code.is_some_and(|code| bare(code) == OK) => {
                self.nameless(data, reader)?;
            }
            None => {}
        }
        Ok(Cue::None)
    }

    fn message(
        &mut self,
        topic: &str,
        subject: Option<&str>,
        place: usize,
        data: &RawValue,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        match topic {
            "/market/level2" => self.changes(place, data, reader),
            "/contractMarket/level2" => change(place, data, reader),
            "/market/match" | "/contractMarket/execution" => matched(place, data, reader),
            "/contract/instrument" => self.contract(subject, place, data, reader),
            topic if topic == self.paths.captured => self.whole(place, data, reader),
            _ => Ok(()),
        }
    }

    /// A spot depth message.
    fn changes(
        &mut self,
        place: usize,
        data: &RawValue,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        let mut message: Changed<'_> = serde_json::from_str(data.get())?;
        let ids = Ids {
            first: message.sequence_start,
            last: message.sequence_end,
            previous: 0,
        };
        // The first message after a snapshot may begin before it; the rows that the snapshot
        // already contains are left out. Of messages that waited for the snapshot nothing need be
        // left out: in a message that reaches beyond the snapshot, the last row of a price is at
        // least as new as the snapshot's.
        let last = reader.listings()[place].sync.last();
        let straddles = last > 0 && last == self.known(place).snapshot && ids.first <= last;
        let applies = |row: &Row<'_>| {
            let sequence = row.third.and_then(|sequence| sequence.parse::<u64>().ok());
            !is_zero(row.price) && (!straddles || sequence.is_none_or(|own| own > last))
        };
        message.changes.bids.retain(applies);
        message.changes.asks.retain(applies);
        let scale = reader.listings()[place].instrument.qty_scale;
        let bids = levels(&message.changes.bids, scale);
        let asks = levels(&message.changes.asks, scale);
        let time = stamp(message.time);
        reader.delta(place, ids, time, None, bids, asks)
    }

    /// A snapshot.
    fn whole(
        &mut self,
        place: usize,
        data: &RawValue,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        let snapshot: Whole<'_> = serde_json::from_str(data.get())?;
        let is_cut = |side: &[Row<'_>]| CUTS.contains(&side.len());
        let kind = DepthKind::Snapshot {
            truncated: is_cut(&snapshot.bids) || is_cut(&snapshot.asks),
            limit: 0,
        };
        let sequence = integer(snapshot.sequence)?;
        self.known(place).snapshot = sequence;
        let scale = reader.listings()[place].instrument.qty_scale;
        reader.snapshot(
            place,
            kind,
            sequence,
            stamp(snapshot.time.or(snapshot.ts)),
            None,
            levels(&snapshot.bids, scale),
            levels(&snapshot.asks, scale),
        )
    }

    /// A reply in a capture, which does not say what was asked. Replies other than snapshots are
    /// passed over.
    fn nameless(&mut self, data: &RawValue, reader: &mut Reader) -> Result<(), Unreadable> {
        let Ok(snapshot) = serde_json::from_str::<Whole<'_>>(data.get()) else {
            return Ok(());
        };
        let place = match snapshot.symbol.as_deref() {
            Some(symbol) => reader.find(symbol),
            None => reader.nameless(),
        };
        match place {
            Some(place) => self.whole(place, data, reader),
            None => Ok(()),
        }
    }

    /// Mark and index price every second, the rate every minute, in frames of their own: each is
    /// reported together with what the other said last.
    fn contract(
        &mut self,
        subject: Option<&str>,
        place: usize,
        data: &RawValue,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        let contract: Contract<'_> = serde_json::from_str(data.get())?;
        let scale = reader.listings()[place].instrument.price_scale;
        let known = self.known(place);
        let mut funding = known.funding.unwrap_or(UNKNOWN_FUNDING);
        match (subject, contract.funding_rate) {
            (Some("funding.rate"), Some(rate)) => {
                let rate = Some(nearest(bare(rate), RATE_SCALE)?);
                match contract.granularity {
                    Some(interval) if interval >= SETTLED_MS => {
                        known.settled = true;
                        funding.rate = rate;
                        funding.interval_s = u32::try_from(interval / 1000).unwrap_or(0);
                    }
                    // The estimate stands for the rate until the venue has stated one.
                    _ if known.settled => funding.predicted = rate,
                    _ => funding.rate = rate,
                }
            }
            (Some("mark.index.price"), _) => {
                if let Some(mark) = contract.mark_price {
                    funding.mark = Price(nearest(bare(mark), scale)?);
                }
                if let Some(index) = contract.index_price {
                    funding.index = Price(nearest(bare(index), scale)?);
                }
            }
            _ => return Ok(()),
        }
        known.funding = Some(funding);
        reader.funding(place, stamp(contract.timestamp), funding);
        Ok(())
    }

    fn known(&mut self, place: usize) -> &mut Known {
        if self.known.len() <= place {
            self.known.resize(place + 1, Known::default());
        }
        &mut self.known[place]
    }

    /// Takes the reply to a snapshot request.
    ///
    /// # Errors
    /// [`Unreadable`] when it is a refusal or no snapshot.
    pub fn snapshot(
        &mut self,
        place: usize,
        body: &str,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        self.whole(place, content(body)?, reader)
    }

    /// Asks for a snapshot. Spot's full book needs a key, so a hundred levels must do.
    pub fn refresh(&mut self, place: usize, endpoint: &Endpoint, reader: &Reader) -> Vec<Transmit> {
        let symbol = &reader.listings()[place].instrument.symbol;
        let (rest, path) = (&endpoint.rest, self.paths.snapshot);
        vec![Transmit::Request {
            purpose: Purpose::Snapshot(place),
            post: false,
            url: format!("{rest}{path}?symbol={symbol}"),
        }]
    }

    /// Data does not keep the connection alive: a minute without a frame from here ends it.
    #[must_use]
    pub fn keepalive(&self) -> Option<(u64, String)> {
        Some((self.ping_ns, r#"{"id":"1","type":"ping"}"#.to_owned()))
    }

    /// Each ping is answered, so two missed answers mean a dead connection; a book may rest for
    /// minutes. A snapshot costs 3 to 5 of 2000 units in 30 seconds. The token is for a day.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            silence: self.ping_ns.saturating_mul(2),
            stale: 5 * MINUTES,
            snapshot: 10 * SECONDS,
            max_age: 23 * 60 * MINUTES,
            refresh_capacity: 10,
            refresh_every: SECONDS,
        }
    }

    /// A REST snapshot as one line of a capture, which says whose it is.
    #[must_use]
    pub fn capture_snapshot(&self, symbol: &str, body: &str) -> String {
        let topic = json!(format!("{}:{symbol}", self.paths.captured));
        let data = content(body).map_or("null", RawValue::get);
        format!(
            r#"{{"topic":{topic},"generated":true,"subject":"trade.l2Snapshot","data":{data}}}"#
        )
    }
}

/// A contract of which nothing is known yet.
const UNKNOWN_FUNDING: Funding = Funding {
    mark: Price(0),
    index: Price(0),
    rate: None,
    predicted: None,
    settles: Time::UNKNOWN,
    interval_s: 0,
};

/// A futures depth message: one level.
fn change(place: usize, data: &RawValue, reader: &mut Reader) -> Result<(), Unreadable> {
    let message: LevelChanged<'_> = serde_json::from_str(data.get())?;
    let ids = Ids::one(integer(message.sequence)?);
    let mut parts = message.change.split(',');
    let (Some(price), Some(taken), Some(qty), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Unreadable::new(format_args!(
            "{:?} is not \"price,side,quantity\"",
            message.change
        )));
    };
    let scale = reader.listings()[place].instrument.qty_scale;
    let level: Option<WireLevel<'_>> = (!is_zero(price)).then_some((price, shortened(qty, scale)));
    let (bid, ask) = match side(taken)? {
        Side::Buy => (level, None),
        Side::Sell => (None, level),
    };
    let time = stamp(message.timestamp);
    reader.delta(place, ids, time, None, bid.into_iter(), ask.into_iter())
}

/// A trade. Its id is a number only on newer pairs.
fn matched(place: usize, data: &RawValue, reader: &mut Reader) -> Result<(), Unreadable> {
    let trade: Match<'_> = serde_json::from_str(data.get())?;
    let id = trade.trade_id.and_then(|id| integer(id).ok()).unwrap_or(0);
    let scale = reader.listings()[place].instrument.qty_scale;
    let level = (bare(trade.price), shortened(bare(trade.size), scale));
    let time = stamp(trade.time.or(trade.ts));
    reader.trade(place, time, id, level, side(trade.side)?)
}

/// What a REST reply holds.
fn content(body: &str) -> Result<&RawValue, Unreadable> {
    let reply: Head<'_> = serde_json::from_str(body)?;
    let code = reply.code.map_or("", bare);
    match reply.data {
        Some(data) if code == OK => Ok(data),
        _ => {
            let words = reply.msg.map_or("", bare);
            Err(Unreadable::new(format_args!(
                "the venue answered code {code:?} {words}"
            )))
        }
    }
}

/// The server's address with token and connection id. Servers are named with and without a path.
fn join(endpoint: &str, token: &str, connection: u64) -> String {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host);
    let separator = if host.contains('?') {
        "&"
    } else if host.contains('/') {
        "?"
    } else {
        "/?"
    };
    format!("{endpoint}{separator}token={token}&connectId=tickerml-{connection}")
}

#[cfg(test)]
mod tests;
