//! Kraken Futures: inverse (`PI_`), linear (`PF_`) and dated (`FI_`, `FF_`) contracts.
//!
//! The book feed sends a snapshot and then one level a message, numbered by product without holes
//! (measured on every capture; the venue does not promise it). Trades have a numbering of their own
//! and begin with a hundred old ones in one `trade_snapshot`, which are never flow. The feed is to
//! be kept alive by WebSocket pings at least once a minute; it knows no ping of its own.
//!
//! Source: docs.kraken.com, "Futures WebSockets": book, trade, ticker, heartbeat.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tickerml_shared::event::{DepthKind, Funding, RATE_SCALE, Side};
use tickerml_shared::instrument::Instrument;
use tickerml_shared::num::Price;
use tickerml_shared::time::{MINUTES, SECONDS};

use super::reader::{Reader, Unreadable, WireLevel};
use super::sync::{Ids, Rule};
use super::wire::{bare, nearest, side, stamp};
use super::{Cue, Endpoint, Limits, Transmit};

/// The feeds of each product.
const FEEDS: [&str; 3] = ["book", "trade", "ticker"];

/// The dialect of one connection.
#[derive(Debug, Default)]
pub struct KrakenFutures;

/// Every field of every frame that is read; each feed uses a few.
#[derive(Deserialize)]
struct Frame<'a> {
    feed: Option<&'a str>,
    event: Option<&'a str>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    product_id: Option<Cow<'a, str>>,
    seq: Option<u64>,
    side: Option<&'a str>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    qty: Option<&'a RawValue>,
    /// Of book frames; old ones have none.
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    /// Of trades and tickers.
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bids: Option<Vec<Quote<'a>>>,
    #[serde(borrow, default)]
    asks: Option<Vec<Quote<'a>>>,
    #[serde(borrow, rename = "markPrice")]
    mark: Option<&'a RawValue>,
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow, rename = "relative_funding_rate")]
    rate: Option<&'a RawValue>,
    #[serde(borrow, rename = "relative_funding_rate_prediction")]
    predicted: Option<&'a RawValue>,
    #[serde(borrow, rename = "next_funding_rate_time")]
    settles: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Quote<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

impl Quote<'_> {
    fn level(&self) -> WireLevel<'_> {
        (bare(self.price), bare(self.qty))
    }
}

impl KrakenFutures {
    /// A dialect that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Each book message is the next one; the snapshot has the number before the first change.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule::Contiguous
    }

    /// Opens a connection.
    pub fn start(&mut self, endpoint: &Endpoint, _reader: &Reader) -> Transmit {
        Transmit::Connect {
            url: endpoint.ws.clone(),
        }
    }

    /// Never asked for.
    ///
    /// # Errors
    /// Always: the public feed needs no token.
    pub fn token(&mut self, _body: &str, _endpoint: &Endpoint) -> Result<Transmit, Unreadable> {
        Err(Unreadable::new(
            "Kraken Futures' public feed needs no token",
        ))
    }

    /// Heartbeats, which show that the connection lives, then each feed with all products.
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        let products: Vec<String> = reader
            .listings()
            .iter()
            .map(|listing| product(&listing.instrument))
            .collect();
        let heartbeat = json!({"event": "subscribe", "feed": "heartbeat"}).to_string();
        std::iter::once(heartbeat)
            .chain(FEEDS.map(|feed| request("subscribe", feed, &products)))
            .collect()
    }

    /// Subscriptions are taken at once.
    #[must_use]
    pub const fn waits_for_welcome(&self) -> bool {
        false
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue documents.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        let frame: Frame<'_> = serde_json::from_str(text)?;
        if matches!(frame.event, Some("error" | "alert" | "subscribed_failed")) {
            return Ok(Cue::Refused(frame.message.unwrap_or_default().into_owned()));
        }
        let (Some(feed), Some(product)) = (frame.feed, frame.product_id.as_deref()) else {
            return Ok(Cue::None);
        };
        if frame.event.is_none()
            && let Some(place) = reader.find(product)
        {
            match feed {
                "book_snapshot" => frame.snapshot(place, reader)?,
                "book" => frame.delta(place, reader)?,
                // Block trades are negotiated elsewhere: they take nothing from this book.
                "trade" if frame.kind != Some("block") => frame.trade(place, reader)?,
                "ticker" => frame.funding(place, reader)?,
                _ => {}
            }
        }
        Ok(Cue::None)
    }

    /// Never asked for.
    ///
    /// # Errors
    /// Always: the snapshot comes in the stream.
    pub fn snapshot(
        &mut self,
        _place: usize,
        _body: &str,
        _reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        Err(Unreadable::new(
            "Kraken Futures sends its snapshots in the stream",
        ))
    }

    /// Subscribes one book anew, which brings its snapshot.
    pub fn refresh(
        &mut self,
        place: usize,
        _endpoint: &Endpoint,
        reader: &Reader,
    ) -> Vec<Transmit> {
        let products = [product(&reader.listings()[place].instrument)];
        ["unsubscribe", "subscribe"]
            .map(|event| Transmit::Send(request(event, "book", &products)))
            .into()
    }

    /// The venue has no ping of its own; the WebSocket's must be sent at least every minute.
    #[must_use]
    pub const fn keepalive(&self) -> Option<(u64, String)> {
        None
    }

    /// Heartbeats come every second once subscribed; a dated contract's book may rest for minutes.
    /// A hundred requests a second are allowed. The venue documents no longest life of a
    /// connection; a daily one keeps to servers that are in service.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            silence_ns: 10 * SECONDS,
            book_silence_ns: 5 * MINUTES,
            first_snapshot_ns: 10 * SECONDS,
            max_age_ns: 23 * 60 * MINUTES,
            refresh_capacity: 10,
            refresh_per_minute: 30,
        }
    }
}

impl Frame<'_> {
    fn seq(&self) -> Result<u64, Unreadable> {
        self.seq
            .ok_or_else(|| Unreadable::new("a numbered message without its number"))
    }

    fn level(&self) -> Result<WireLevel<'_>, Unreadable> {
        match (self.price, self.qty) {
            (Some(price), Some(qty)) => Ok((bare(price), bare(qty))),
            _ => Err(Unreadable::new("a price or a quantity is missing")),
        }
    }

    fn side(&self) -> Result<Side, Unreadable> {
        side(self.side.unwrap_or_default())
    }

    fn snapshot(&self, place: usize, reader: &mut Reader) -> Result<(), Unreadable> {
        let (Some(bids), Some(asks)) = (&self.bids, &self.asks) else {
            return Err(Unreadable::new("a snapshot without a side"));
        };
        let whole = DepthKind::Snapshot {
            truncated: false,
            limit: 0,
        };
        reader.snapshot(
            place,
            whole,
            self.seq()?,
            stamp(self.timestamp),
            None,
            bids.iter().map(Quote::level),
            asks.iter().map(Quote::level),
        )
    }

    fn delta(&self, place: usize, reader: &mut Reader) -> Result<(), Unreadable> {
        let (ids, time) = (Ids::one(self.seq()?), stamp(self.timestamp));
        let level = Some(self.level()?);
        let (bid, ask) = match self.side()? {
            Side::Buy => (level, None),
            Side::Sell => (None, level),
        };
        reader.delta(place, ids, time, None, bid.into_iter(), ask.into_iter())
    }

    fn trade(&self, place: usize, reader: &mut Reader) -> Result<(), Unreadable> {
        reader.trade(
            place,
            stamp(self.time),
            self.seq()?,
            self.level()?,
            self.side()?,
        )
    }

    /// `funding_rate` is money for one contract and an hour, `relative_funding_rate` the same as a
    /// fraction. Dated contracts have neither. The frame does not say how long an interval is.
    fn funding(&self, place: usize, reader: &mut Reader) -> Result<(), Unreadable> {
        let scale = reader.listings()[place].instrument.price_scale;
        let price = |raw: Option<&RawValue>| match raw {
            Some(raw) => nearest(bare(raw), scale).map(Price),
            None => Ok(Price::default()),
        };
        let rate = |raw: Option<&RawValue>| {
            raw.map(|raw| nearest(bare(raw), RATE_SCALE))
                .transpose()
        };
        let funding = Funding {
            mark: price(self.mark)?,
            index: price(self.index)?,
            rate: rate(self.rate)?,
            predicted: rate(self.predicted)?,
            settles: stamp(self.settles),
            interval_s: 0,
        };
        reader.funding(place, stamp(self.time), funding);
        Ok(())
    }
}

/// A product as requests name it; the venue answers in capitals whatever it is asked in.
fn product(instrument: &Instrument) -> String {
    instrument.symbol.to_ascii_uppercase()
}

fn request(event: &str, feed: &str, products: &[String]) -> String {
    json!({"event": event, "feed": feed, "product_ids": products}).to_string()
}
