//! Coinbase's two public feeds: Exchange and Advanced Trade.
//!
//! Both send the book's snapshot in the stream and number no diff of a book. What can be verified:
//!
//! * Advanced numbers every frame of a *connection*, across all channels and acknowledgements, from
//!   zero. A hole therefore may concern any book, and all of them are lost. (The prose of the docs
//!   says "per product"; recorded connections say otherwise.)
//! * Exchange numbers nothing on its free book channel. Its trade ids and the `last_trade_id` of its
//!   heartbeats tell of lost trades, not of lost diffs, and are no gap of a book.
//!
//! Exchange offers `level2` only with a key; `level2_batch` is the same in batches of 50 ms.
//! Advanced's channel is subscribed to as `level2` and arrives as `l2_data`.
//!
//! Sources: docs.cdp.coinbase.com, Exchange "WebSocket channels" and "rate limits"; Advanced Trade
//! "WebSocket channels", "WebSocket rate limits" and its AsyncAPI description.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_json::value::RawValue;
use tickerml_shared::book::BOOK_LEVELS;
use tickerml_shared::event::{DepthKind, Gap, GapReason, Side};
use tickerml_shared::instrument::Instrument;
use tickerml_shared::time::{MINUTES, SECONDS, Time};

use super::dialect::Limits;
use super::reader::{Reader, Unreadable, WireLevel};
use super::session::Channel;
use super::sync::{Ids, Rule};
use super::{Cue, Endpoint, Transmit};

/// Whether Advanced's `market_trades` give the side of the resting order, as the Exchange feed does.
/// The venue's texts do not say; clients disagree. To be measured: an aggressive buy prints at the
/// ask.
pub const MARKET_TRADES_SIDE_IS_MAKER: bool = true;

/// How a broken quantity begins that Exchange has sent inside snapshots (`"0.-10000"`). The venue
/// repeats it in every snapshot of that product for as long as the level stands, so refusing the
/// message would keep the book stale for good. The level is left out; the next diff that touches it
/// states it anew. Everywhere else a broken number makes the frame unreadable.
const BROKEN_QTY: &str = "0.-";

/// Subscriptions and refreshes a second are limited to 8 by both feeds; heartbeats come every
/// second, so fifteen seconds of silence are a dead connection.
const LIMITS: Limits = Limits {
    silence: 15 * SECONDS,
    stale: 5 * MINUTES,
    snapshot: 15 * SECONDS,
    refresh_capacity: 3,
    refresh_every: 2 * SECONDS,
    max_age: 23 * 60 * MINUTES,
};

/// A connection to the Exchange feed.
#[derive(Debug)]
pub struct Exchange {
    channel: Channel,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    changes: Vec<(&'a str, &'a str, &'a str)>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    bids: Vec<WireLevel<'a>>,
    #[serde(borrow)]
    asks: Vec<WireLevel<'a>>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Match<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    trade_id: u64,
    side: &'a str,
    price: &'a str,
    size: &'a str,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl Exchange {
    /// A connection for these streams.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { channel }
    }

    const fn channels(&self) -> &'static [&'static str] {
        match self.channel {
            Channel::All => &["level2_batch", "matches", "heartbeat"],
            Channel::Book => &["level2_batch", "heartbeat"],
            Channel::Market => &["matches", "heartbeat"],
        }
    }

    /// Nothing is numbered.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule::Unnumbered
    }

    /// The feed's address.
    #[must_use]
    pub fn start(&mut self, endpoint: &Endpoint, _reader: &Reader) -> Transmit {
        connect(endpoint)
    }

    /// One frame for everything. It must come within 5 seconds of connecting.
    #[must_use]
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        vec![
            json!({"type": "subscribe", "product_ids": products(reader), "channels": self.channels()})
                .to_string(),
        ]
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue is known to send.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        if text.starts_with(r#"{"type":"l2update","#) {
            update(&serde_json::from_str(text)?, reader)?;
            return Ok(Cue::None);
        }
        let kind: Kind<'_> = serde_json::from_str(text)?;
        match &*kind.kind {
            "l2update" => update(&serde_json::from_str(text)?, reader)?,
            "snapshot" => whole(serde_json::from_str(text)?, reader)?,
            "match" => executed(&serde_json::from_str(text)?, reader)?,
            "error" => {
                let Kind {
                    message, reason, ..
                } = kind;
                return Ok(Cue::Refused(format!("{message}: {reason}")));
            }
            // `last_match` repeats a trade from before the subscription; `ticker` repeats matches.
            _ => {}
        }
        Ok(Cue::None)
    }

    /// Subscribing anew brings a new snapshot.
    #[must_use]
    pub fn refresh(
        &mut self,
        place: usize,
        _endpoint: &Endpoint,
        reader: &Reader,
    ) -> Vec<Transmit> {
        let product = &reader.listings()[place].instrument.symbol;
        ["unsubscribe", "subscribe"]
            .map(|action| {
                json!({"type": action, "product_ids": [product], "channels": ["level2_batch"]})
                    .to_string()
            })
            .map(Transmit::Send)
            .into()
    }

    /// The heartbeat channel keeps the connection alive.
    #[must_use]
    pub const fn keepalive(&self) -> Option<(u64, String)> {
        None
    }

    /// See [`Limits`].
    #[must_use]
    pub const fn limits(&self) -> Limits {
        LIMITS
    }
}

fn update(frame: &Update<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
    let Some(place) = reader.find(&frame.product_id) else {
        return Ok(());
    };
    for (side, ..) in &frame.changes {
        read_side(side)?;
    }
    let of = |wanted: Side| {
        let changes = frame.changes.iter();
        changes.filter_map(move |&(side, price, size)| {
            (read_side(side) == Ok(wanted)).then_some((price, size))
        })
    };
    let (at, ids) = (time(&frame.time), Ids::default());
    reader.delta(place, ids, at, None, of(Side::Buy), of(Side::Sell))
}

fn whole(mut frame: Snapshot<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
    let Some(place) = reader.find(&frame.product_id) else {
        return Ok(());
    };
    for side in [&mut frame.bids, &mut frame.asks] {
        side.retain(|(_, size)| !size.starts_with(BROKEN_QTY));
    }
    let at = time(&frame.time);
    snapshot(place, at, frame.bids, frame.asks, reader)
}

fn executed(frame: &Match<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
    let Some(place) = reader.find(&frame.product_id) else {
        return Ok(());
    };
    let aggressor = read_side(frame.side)?.opposite();
    let level = (frame.price, frame.size);
    reader.trade(place, time(&frame.time), frame.trade_id, level, aggressor)
}

/// A connection to Advanced Trade.
#[derive(Debug)]
pub struct Advanced {
    channel: Channel,
    /// The number that the next frame must have; unknown before the first one.
    next: Option<u64>,
    /// The number that the next heartbeat must have; unknown before the first one.
    next_beat: Option<u64>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    timestamp: Cow<'a, str>,
    sequence_num: u64,
    #[serde(borrow)]
    events: &'a RawValue,
}

/// How the venue begins a frame of the book.
const BOOK_FRAME: &str = r#"{"channel":"l2_data","#;

#[derive(Deserialize)]
struct BookFrame<'a> {
    #[serde(borrow, default)]
    timestamp: Cow<'a, str>,
    sequence_num: u64,
    #[serde(borrow)]
    events: Vec<BookEvent<'a>>,
}

#[derive(Deserialize)]
struct BookEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "changes")]
    updates: Vec<Change<'a>>,
}

/// Levels for which room is made at once: a batch of 50 ms seldom has more.
const USUAL_CHANGES: usize = 32;

/// Reads levels into a list that need not grow while it is filled.
fn changes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Change<'de>>, D::Error> {
    struct Levels;

    impl<'de> Visitor<'de> for Levels {
        type Value = Vec<Change<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("levels")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut levels: A) -> Result<Self::Value, A::Error> {
            let mut changes = Vec::with_capacity(USUAL_CHANGES);
            while let Some(change) = levels.next_element()? {
                changes.push(change);
            }
            Ok(changes)
        }
    }

    deserializer.deserialize_seq(Levels)
}

#[derive(Deserialize)]
struct Change<'a> {
    side: &'a str,
    #[serde(default)]
    event_time: &'a str,
    price_level: &'a str,
    new_quantity: &'a str,
}

#[derive(Deserialize)]
struct TradesEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    trades: Vec<MarketTrade<'a>>,
}

#[derive(Deserialize)]
struct MarketTrade<'a> {
    #[serde(deserialize_with = "number_or_text")]
    trade_id: u64,
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    price: &'a str,
    size: &'a str,
    side: &'a str,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Beat {
    #[serde(deserialize_with = "number_or_text")]
    heartbeat_counter: u64,
}

impl Advanced {
    /// A connection for these streams.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self {
            channel,
            next: None,
            next_beat: None,
        }
    }

    /// No book is numbered; the connection is.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule::Unnumbered
    }

    /// The feed's address.
    #[must_use]
    pub fn start(&mut self, endpoint: &Endpoint, _reader: &Reader) -> Transmit {
        connect(endpoint)
    }

    /// One frame a channel; the first must come within 5 seconds of connecting. Heartbeats keep the
    /// others open while their markets are quiet.
    #[must_use]
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        (self.next, self.next_beat) = (None, None);
        let channels: &[&str] = match self.channel {
            Channel::All => &["level2", "market_trades"],
            Channel::Book => &["level2"],
            Channel::Market => &["market_trades"],
        };
        let ids = products(reader);
        std::iter::once(json!({"type": "subscribe", "channel": "heartbeats"}))
            .chain(channels.iter().map(
                |channel| json!({"type": "subscribe", "product_ids": ids, "channel": channel}),
            ))
            .map(|frame| frame.to_string())
            .collect()
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue is known to send.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        // Almost every frame is of the book: read in one go. What does not read so is read in steps,
        // which say what is wrong.
        if text.starts_with(BOOK_FRAME)
            && let Ok(frame) = serde_json::from_str::<BookFrame<'_>>(text)
        {
            self.follow(frame.sequence_num, reader);
            let sent = time(&frame.timestamp);
            for event in frame.events {
                book_event(event, sent, reader)?;
            }
            return Ok(Cue::None);
        }
        let envelope: Envelope<'_> = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            Err(error) => return self.odd_frame(text, error),
        };
        self.follow(envelope.sequence_num, reader);
        let (events, sent) = (envelope.events.get(), time(&envelope.timestamp));
        match &*envelope.channel {
            "l2_data" => {
                for event in serde_json::from_str::<Vec<BookEvent<'_>>>(events)? {
                    book_event(event, sent, reader)?;
                }
            }
            "market_trades" => {
                for event in serde_json::from_str::<Vec<TradesEvent<'_>>>(events)? {
                    trades_event(event, reader)?;
                }
            }
            "heartbeats" => {
                for beat in serde_json::from_str::<Vec<Beat>>(events)? {
                    self.beat(beat.heartbeat_counter, reader);
                }
            }
            _ => {}
        }
        Ok(Cue::None)
    }

    /// An error message, or a frame that cannot be read. The latter used up a number.
    fn odd_frame(&mut self, text: &str, error: serde_json::Error) -> Result<Cue, Unreadable> {
        match serde_json::from_str::<Kind<'_>>(text) {
            Ok(kind) if kind.kind == "error" => Ok(Cue::Refused(kind.message.into_owned())),
            _ => {
                self.next = self.next.map(|next| next.saturating_add(1));
                Err(error.into())
            }
        }
    }

    /// Frames of a connection follow one another without a hole.
    fn follow(&mut self, got: u64, reader: &mut Reader) {
        let expected = self.next.replace(got.saturating_add(1)).unwrap_or(got);
        if expected != got {
            // The hole may have held a heartbeat; it is told once.
            self.next_beat = None;
        }
        lose_all_unless(expected, got, reader);
    }

    /// So do heartbeats: a missed one means that the venue dropped frames before it numbered them.
    fn beat(&mut self, got: u64, reader: &mut Reader) {
        let expected = self.next_beat.replace(got.saturating_add(1)).unwrap_or(got);
        lose_all_unless(expected, got, reader);
    }

    /// Subscribing anew brings a new snapshot.
    #[must_use]
    pub fn refresh(
        &mut self,
        place: usize,
        _endpoint: &Endpoint,
        reader: &Reader,
    ) -> Vec<Transmit> {
        let product = &reader.listings()[place].instrument.symbol;
        ["unsubscribe", "subscribe"]
            .map(|action| {
                json!({"type": action, "product_ids": [product], "channel": "level2"}).to_string()
            })
            .map(Transmit::Send)
            .into()
    }

    /// The heartbeat channel keeps the connection alive.
    #[must_use]
    pub const fn keepalive(&self) -> Option<(u64, String)> {
        None
    }

    /// See [`Limits`].
    #[must_use]
    pub const fn limits(&self) -> Limits {
        LIMITS
    }
}

fn lose_all_unless(expected: u64, got: u64, reader: &mut Reader) {
    if got != expected {
        reader.lose_all(Gap {
            reason: GapReason::Sequence,
            expected,
            got,
        });
    }
}

fn book_event(event: BookEvent<'_>, sent: Time, reader: &mut Reader) -> Result<(), Unreadable> {
    let Some(place) = find(&event.product_id, reader) else {
        return Ok(());
    };
    for change in &event.updates {
        if !matches!(change.side, "bid" | "offer" | "ask") {
            return Err(Unreadable::new(format_args!(
                "side {:?} is neither bid nor offer",
                change.side
            )));
        }
    }
    let of = |is_bid: bool| {
        let changes = event.updates.iter();
        changes.filter_map(move |change| {
            ((change.side == "bid") == is_bid).then_some((change.price_level, change.new_quantity))
        })
    };
    match &*event.kind {
        // Levels of a snapshot carry the time of their own last change, or 1970.
        "snapshot" => snapshot(place, sent, of(true).collect(), of(false).collect(), reader),
        "update" => {
            let changed = event.updates.last().map(|change| time(change.event_time));
            let at = changed.filter(|at| at.is_known()).unwrap_or(sent);
            reader.delta(place, Ids::default(), at, None, of(true), of(false))
        }
        other => Err(Unreadable::new(format_args!("{other:?} is no book event"))),
    }
}

fn trades_event(mut event: TradesEvent<'_>, reader: &mut Reader) -> Result<(), Unreadable> {
    // The first event repeats recent history.
    if event.kind == "snapshot" {
        return Ok(());
    }
    // Batches of 250 ms come in no promised order.
    event.trades.sort_by_key(|trade| trade.trade_id);
    for trade in &event.trades {
        let Some(place) = find(&trade.product_id, reader) else {
            continue;
        };
        let side = read_side(trade.side)?;
        let aggressor = if MARKET_TRADES_SIDE_IS_MAKER {
            side.opposite()
        } else {
            side
        };
        let level = (trade.price, trade.size);
        reader.trade(place, time(&trade.time), trade.trade_id, level, aggressor)?;
    }
    Ok(())
}

/// The place of a product. The venue answers a subscription to `BTC-USDC` with `BTC-USD`.
fn find(product: &str, reader: &mut Reader) -> Option<usize> {
    reader.find(product).or_else(|| {
        let alias = product.strip_suffix("-USD")?;
        reader.find(&format!("{alias}-USDC"))
    })
}

fn connect(endpoint: &Endpoint) -> Transmit {
    Transmit::Connect {
        url: endpoint.ws.clone(),
    }
}

fn products(reader: &Reader) -> Vec<&str> {
    let listings = reader.listings().iter();
    listings.map(|l| l.instrument.symbol.as_str()).collect()
}

/// The venue's stamp; it writes the year 1 when it has none.
fn time(text: &str) -> Time {
    Time::from_rfc3339(text).unwrap_or_default()
}

fn read_side(text: &str) -> Result<Side, Unreadable> {
    match text {
        "buy" | "BUY" => Ok(Side::Buy),
        "sell" | "SELL" => Ok(Side::Sell),
        other => Err(Unreadable::new(format_args!(
            "side {other:?} is neither buy nor sell"
        ))),
    }
}

/// Hands a snapshot on. The venue sends every level it has, tens of thousands for the great
/// markets; what no book of ours can hold is cut off here and said to be unknown.
fn snapshot(
    place: usize,
    at: Time,
    mut bids: Vec<WireLevel<'_>>,
    mut asks: Vec<WireLevel<'_>>,
    reader: &mut Reader,
) -> Result<(), Unreadable> {
    let instrument = &reader.listings()[place].instrument;
    let truncated = cut(&mut bids, -1, instrument)? | cut(&mut asks, 1, instrument)?;
    let kind = DepthKind::Snapshot {
        truncated,
        limit: 0,
    };
    reader.snapshot(place, kind, 0, at, None, bids.into_iter(), asks.into_iter())
}

/// Leaves the best [`BOOK_LEVELS`]; says whether there were more. `sign` is `1` when the lowest
/// price is the best.
fn cut(
    levels: &mut Vec<WireLevel<'_>>,
    sign: i64,
    instrument: &Instrument,
) -> Result<bool, Unreadable> {
    if levels.len() <= BOOK_LEVELS {
        return Ok(false);
    }
    let mut keyed = Vec::with_capacity(levels.len());
    for &level in levels.iter() {
        let price = instrument.price(level.0).map_err(|error| {
            Unreadable::new(format_args!("{}: {:?} {error}", instrument.symbol, level.0))
        })?;
        keyed.push((sign * price.0, level));
    }
    keyed.select_nth_unstable_by_key(BOOK_LEVELS - 1, |(key, _)| *key);
    keyed.truncate(BOOK_LEVELS);
    levels.clear();
    levels.extend(keyed.into_iter().map(|(_, level)| level));
    Ok(true)
}

/// An integer that prose shows in quotes and the wire sends without.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<'a> {
        Number(u64),
        #[serde(borrow)]
        Text(Cow<'a, str>),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text
            .parse()
            .map_err(|_| D::Error::custom(format_args!("{text:?} is no number"))),
    }
}
