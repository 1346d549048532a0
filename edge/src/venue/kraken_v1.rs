//! Kraken spot, WebSocket v1: arrays whose last elements name the channel and the pair.
//!
//! Only captures speak it; new connections are made with v2. The rules of the book are the same,
//! but snapshots carry no checksum and the pair is spelled with `XBT`.
//!
//! Source: docs.kraken.com, "Spot WebSockets v1": book, trade.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tickerml_shared::event::DepthKind;
use tickerml_shared::num::parse;
use tickerml_shared::time::Time;

use super::kraken::Printed;
use super::reader::{Reader, Unreadable};
use super::sync::Ids;
use super::wire::{Row, bare, side};

/// A frame whose channel is of interest.
pub(super) struct Frame<'a> {
    /// Whose.
    pub(super) pair: Cow<'a, str>,
    content: Content<'a>,
}

enum Content<'a> {
    Trades(Vec<Trade<'a>>),
    Book { limit: u16, parts: Vec<Part<'a>> },
}

/// `[price, volume, time, side, order type, miscellaneous]`
type Trade<'a> = Vec<&'a RawValue>;

/// One object of a book frame. Changes of both sides come as two objects.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "as")]
    all_asks: Option<Vec<Row<'a>>>,
    #[serde(borrow, rename = "bs")]
    all_bids: Option<Vec<Row<'a>>>,
    #[serde(borrow, rename = "a", default)]
    asks: Vec<Row<'a>>,
    #[serde(borrow, rename = "b", default)]
    bids: Vec<Row<'a>>,
    #[serde(borrow, rename = "c")]
    checksum: Option<&'a RawValue>,
}

/// Reads an array frame; `None` when its channel is not of interest.
pub(super) fn read(text: &str) -> Result<Option<Frame<'_>>, Unreadable> {
    let elements: Vec<&RawValue> = serde_json::from_str(text)?;
    let [_, contents @ .., channel, pair] = elements.as_slice() else {
        return Err(Unreadable::new("an array of too few elements"));
    };
    let pair: Cow<'_, str> = serde_json::from_str(pair.get())?;
    let content = match bare(channel) {
        "trade" => {
            let mut trades = Vec::new();
            for content in contents {
                trades.extend(serde_json::from_str::<Vec<Trade<'_>>>(content.get())?);
            }
            Content::Trades(trades)
        }
        channel => match channel.strip_prefix("book-") {
            Some(depth) => Content::Book {
                limit: depth.parse().map_err(Unreadable::new)?,
                parts: contents
                    .iter()
                    .filter(|content| content.get() != "null")
                    .map(|content| serde_json::from_str(content.get()))
                    .collect::<Result<_, _>>()?,
            },
            None => return Ok(None),
        },
    };
    Ok(Some(Frame { pair, content }))
}

impl Frame<'_> {
    /// Gives what it says to the reader.
    pub(super) fn report(
        &self,
        place: usize,
        printed: &mut Printed,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        match &self.content {
            Content::Trades(trades) => {
                for trade in trades {
                    let [price, volume, time, taker, ..] = trade.as_slice() else {
                        return Err(Unreadable::new("a trade of too few elements"));
                    };
                    let level = (bare(price), bare(volume));
                    reader.trade(place, seconds(bare(time)), 0, level, side(bare(taker))?)?;
                }
                Ok(())
            }
            Content::Book { limit, parts } => book(*limit, parts, place, printed, reader),
        }
    }
}

fn book(
    limit: u16,
    parts: &[Part<'_>],
    place: usize,
    printed: &mut Printed,
    reader: &mut Reader,
) -> Result<(), Unreadable> {
    let is_snapshot = parts
        .iter()
        .any(|part| part.all_asks.is_some() || part.all_bids.is_some());
    let asks = || {
        parts
            .iter()
            .flat_map(|part| part.all_asks.iter().flatten().chain(&part.asks))
    };
    let bids = || {
        parts
            .iter()
            .flat_map(|part| part.all_bids.iter().flatten().chain(&part.bids))
    };
    // A republished level keeps its old time, so the newest one is the message's.
    let time = asks()
        .chain(bids())
        .filter_map(|row| row.third)
        .map(seconds)
        .max()
        .unwrap_or(Time::UNKNOWN);
    if is_snapshot {
        printed.forget_digits();
    }
    printed.learn(asks().chain(bids()).map(Row::level));
    let checksum = match parts.iter().find_map(|part| part.checksum) {
        Some(crc) => Some(printed.checksum(bare(crc).parse().map_err(Unreadable::new)?)),
        None => None,
    };
    let (bids, asks) = (bids().map(Row::level), asks().map(Row::level));
    if is_snapshot {
        let kind = DepthKind::Snapshot {
            truncated: false,
            limit,
        };
        reader.snapshot(place, kind, 0, time, checksum, bids, asks)
    } else {
        reader.delta(place, Ids::default(), time, checksum, bids, asks)
    }
}

/// Epoch seconds with a fraction.
fn seconds(text: &str) -> Time {
    parse(text, 9)
        .ok()
        .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
        .map_or(Time::UNKNOWN, Time)
}
