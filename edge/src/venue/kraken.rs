//! Kraken spot, WebSocket v2 (and, for older captures, v1).
//!
//! Nothing is numbered: the CRC32 of the ten best levels, sent with every book message, is what
//! detects a loss. It is computed over the digits as printed, so prices and quantities are taken
//! from the raw JSON tokens and the number of decimals of each symbol is learned from them. The
//! venue maintains the subscribed depth and sends no deletion for a level that falls out of it.
//!
//! Source: docs.kraken.com, "Spot WebSockets v2": book, trade, book checksum, ping, heartbeat.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tickerml_shared::event::{Checksum, DepthKind};
use tickerml_shared::instrument::Instrument;
use tickerml_shared::num::decimals;
use tickerml_shared::time::{MINUTES, SECONDS, Time};

use super::dialect::Limits;
use super::reader::{Reader, Unreadable, WireLevel};
use super::session::Channel;
use super::sync::{Ids, Rule};
use super::wire::{bare, side};
use super::{Cue, Endpoint, Transmit, kraken_v1};

/// The depths that can be subscribed; any other is refused.
const DEPTHS: [u16; 5] = [10, 25, 100, 500, 1000];
/// An idle connection is closed after about a minute.
const PING_NS: u64 = 30 * SECONDS;

/// What is known about one symbol's book.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Printed {
    price_digits: u8,
    qty_digits: u8,
    /// The depth that the venue acknowledged; 0 before.
    depth: u16,
}

impl Printed {
    /// Learns the decimals of a message. Prices of one symbol all have the same number, so the
    /// largest seen is it; a token in scientific notation shows none and changes nothing.
    pub(super) fn learn<'a>(&mut self, levels: impl Iterator<Item = WireLevel<'a>>) {
        for (price, qty) in levels {
            self.price_digits = self.price_digits.max(decimals(price));
            self.qty_digits = self.qty_digits.max(decimals(qty));
        }
    }

    /// Forgets the decimals: a snapshot follows, and the venue may have changed them.
    pub(super) const fn forget_digits(&mut self) {
        self.price_digits = 0;
        self.qty_digits = 0;
    }

    /// The venue's checksum with what is needed to compute it.
    pub(super) const fn checksum(&self, crc: u32) -> Checksum {
        Checksum {
            crc,
            price_digits: self.price_digits,
            qty_digits: self.qty_digits,
        }
    }
}

/// The dialect of one connection.
#[derive(Debug)]
pub struct Kraken {
    channel: Channel,
    /// By place in the reader.
    printed: Vec<Printed>,
}

/// The part of a frame that says what it is. Prices are not among it, so nothing is copied.
#[derive(Deserialize)]
struct Head<'a> {
    channel: Option<&'a str>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    method: Option<&'a str>,
    success: Option<bool>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    /// v1 frames that are no arrays.
    event: Option<&'a str>,
    #[serde(borrow, rename = "errorMessage")]
    error_message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Acknowledged<'a> {
    channel: Option<&'a str>,
    #[serde(borrow)]
    symbol: Option<Cow<'a, str>>,
    depth: Option<u16>,
}

#[derive(Deserialize)]
struct BookEntry<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow, default)]
    bids: Vec<Quote<'a>>,
    #[serde(borrow, default)]
    asks: Vec<Quote<'a>>,
    checksum: Option<u32>,
    timestamp: Option<&'a str>,
}

#[derive(Deserialize)]
struct Quote<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

#[derive(Deserialize)]
struct TradeEntry<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    side: &'a str,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
    #[serde(default)]
    trade_id: u64,
    timestamp: Option<&'a str>,
}

impl Kraken {
    /// A dialect that has seen nothing.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self {
            channel,
            printed: Vec::new(),
        }
    }

    /// Nothing is numbered.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule::Unnumbered
    }

    /// Opens a connection.
    pub fn start(&mut self, endpoint: &Endpoint, _reader: &Reader) -> Transmit {
        self.printed.clear();
        Transmit::Connect {
            url: endpoint.ws.clone(),
        }
    }

    /// Books by depth, and trades without the fifty old ones.
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        let mut books = BTreeMap::<u16, Vec<&str>>::new();
        let mut trades = Vec::new();
        for listing in reader.listings() {
            let symbol = listing.instrument.symbol.as_str();
            books
                .entry(depth(&listing.instrument))
                .or_default()
                .push(symbol);
            trades.push(symbol);
        }
        let mut frames = Vec::new();
        if self.channel != Channel::Market {
            frames.extend(
                books
                    .iter()
                    .map(|(depth, symbols)| book_request("subscribe", symbols, *depth)),
            );
        }
        if self.channel != Channel::Book {
            frames.push(
                json!({
                    "method": "subscribe",
                    "params": {"channel": "trade", "symbol": trades, "snapshot": false},
                })
                .to_string(),
            );
        }
        frames
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue documents.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        if text.trim_ascii_start().starts_with('[') {
            return self.frame_v1(text, reader);
        }
        let head: Head<'_> = serde_json::from_str(text)?;
        match (head.channel, head.data) {
            (Some("book"), Some(data)) => self.book(head.kind == Some("snapshot"), data, reader)?,
            (Some("trade"), Some(data)) if head.kind == Some("update") => trades(data, reader)?,
            _ => return self.answer(&head, reader),
        }
        Ok(Cue::None)
    }

    /// An answer to a request.
    fn answer(&mut self, head: &Head<'_>, reader: &mut Reader) -> Result<Cue, Unreadable> {
        let refusal = match (head.method, head.success, head.event) {
            // That something was not subscribed is no loss: the subscription follows.
            (Some("unsubscribe"), ..) => None,
            (Some(_), Some(false), _) => Some(head.error),
            (_, _, Some("subscriptionStatus")) => head.error_message.map(Some),
            _ => None,
        };
        if let Some(words) = refusal {
            return Ok(Cue::Refused(words.map_or("", bare).to_owned()));
        }
        if let (Some("subscribe"), Some(result)) = (head.method, head.result) {
            let result: Acknowledged<'_> = serde_json::from_str(result.get())?;
            if let (Some("book"), Some(symbol), Some(depth)) =
                (result.channel, result.symbol, result.depth)
                && let Some(place) = reader.find(&symbol)
            {
                self.printed(place).depth = depth;
            }
        }
        Ok(Cue::None)
    }

    fn book(
        &mut self,
        is_snapshot: bool,
        data: &RawValue,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        let entries: Vec<BookEntry<'_>> = serde_json::from_str(data.get())?;
        for entry in &entries {
            let Some(place) = reader.find(&entry.symbol) else {
                continue;
            };
            let time = rfc3339(entry.timestamp);
            let (bids, asks) = (quotes(&entry.bids), quotes(&entry.asks));
            let printed = self.printed(place);
            if is_snapshot {
                printed.forget_digits();
            }
            printed.learn(quotes(&entry.bids).chain(quotes(&entry.asks)));
            let checksum = entry.checksum.map(|crc| printed.checksum(crc));
            if is_snapshot {
                let levels = entry.bids.len().max(entry.asks.len());
                let limit = match printed.depth {
                    0 => {
                        let wanted = reader.listings()[place].instrument.depth;
                        maintained(usize::from(wanted.unwrap_or(0)).max(levels))
                    }
                    depth => depth,
                };
                let kind = DepthKind::Snapshot {
                    truncated: false,
                    limit,
                };
                reader.snapshot(place, kind, 0, time, checksum, bids, asks)?;
            } else {
                reader.delta(place, Ids::default(), time, checksum, bids, asks)?;
            }
        }
        Ok(())
    }

    fn frame_v1(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        if let Some(frame) = kraken_v1::read(text)?
            && let Some(place) = reader.find(&frame.pair)
        {
            frame.report(place, self.printed(place), reader)?;
        }
        Ok(Cue::None)
    }

    fn printed(&mut self, place: usize) -> &mut Printed {
        if self.printed.len() <= place {
            self.printed.resize(place + 1, Printed::default());
        }
        &mut self.printed[place]
    }

    /// Subscribes one book anew, which brings its snapshot.
    pub fn refresh(
        &mut self,
        place: usize,
        _endpoint: &Endpoint,
        reader: &Reader,
    ) -> Vec<Transmit> {
        let instrument = &reader.listings()[place].instrument;
        let symbols = [instrument.symbol.as_str()];
        ["unsubscribe", "subscribe"]
            .map(|method| Transmit::Send(book_request(method, &symbols, depth(instrument))))
            .into()
    }

    /// An application ping every half minute.
    #[must_use]
    pub fn keepalive(&self) -> Option<(u64, String)> {
        Some((PING_NS, r#"{"method":"ping"}"#.to_owned()))
    }

    /// Heartbeats come every second once anything is subscribed, but a book of a quiet pair may
    /// rest for minutes; resubscribing it costs one message. The venue documents no longest life of
    /// a connection; a daily one keeps to servers that are in service.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            silence: 10 * SECONDS,
            stale: 5 * MINUTES,
            snapshot: 10 * SECONDS,
            max_age: 23 * 60 * MINUTES,
            refresh_capacity: 10,
            refresh_every: 2 * SECONDS,
        }
    }
}

/// The depth to subscribe for an instrument: the smallest that the venue offers and that covers
/// what is wanted; ten levels if nothing is said.
fn depth(instrument: &Instrument) -> u16 {
    maintained(usize::from(instrument.depth.unwrap_or(0)))
}

/// The depth that the venue maintains when it shows this many levels.
fn maintained(levels: usize) -> u16 {
    let [.., deepest] = DEPTHS;
    DEPTHS
        .into_iter()
        .find(|depth| usize::from(*depth) >= levels)
        .unwrap_or(deepest)
}

fn book_request(method: &str, symbols: &[&str], depth: u16) -> String {
    let mut params = json!({"channel": "book", "symbol": symbols, "depth": depth});
    if method == "subscribe" {
        params["snapshot"] = true.into();
    }
    json!({"method": method, "params": params}).to_string()
}

fn trades(data: &RawValue, reader: &mut Reader) -> Result<(), Unreadable> {
    let entries: Vec<TradeEntry<'_>> = serde_json::from_str(data.get())?;
    for entry in &entries {
        if let Some(place) = reader.find(&entry.symbol) {
            let level = (bare(entry.price), bare(entry.qty));
            let time = rfc3339(entry.timestamp);
            reader.trade(place, time, entry.trade_id, level, side(entry.side)?)?;
        }
    }
    Ok(())
}

fn quotes<'a>(quotes: &[Quote<'a>]) -> impl Iterator<Item = WireLevel<'a>> {
    quotes
        .iter()
        .map(|quote| (bare(quote.price), bare(quote.qty)))
}

fn rfc3339(text: Option<&str>) -> Time {
    text.and_then(Time::from_rfc3339).unwrap_or(Time::UNKNOWN)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tickerml_shared::event::{GapReason, Side};
    use tickerml_shared::instrument::{InstrumentId, Venue};
    use tickerml_shared::num::parse;

    use super::super::tests::tape::{
        Expected, Tape, Want, assert_trade, check_vectors, cut, expected_levels, flip, frames,
        recorded, text, vectors,
    };
    use super::*;

    const CAPTURE: &str = "kraken-v2-btcusd/capture_d10_20260719T1754.jsonl";

    fn reader(instruments: &[(&str, Option<u16>)]) -> Reader {
        let list = instruments.iter().zip(0..).map(|((symbol, depth), id)| {
            let mut instrument = Instrument::unknown(Venue::Kraken, symbol).expect("short");
            instrument.depth = *depth;
            (InstrumentId(id), instrument)
        });
        Reader::new(Venue::Kraken, Rule::Unnumbered, list.collect())
    }

    fn play<'a>(frames: impl IntoIterator<Item = &'a str>) -> Tape {
        let (mut tape, mut kraken) = (Tape::new(reader(&[])), Kraken::new(Channel::All));
        tape.play(frames, |text, reader| kraken.frame(text, reader));
        tape
    }

    /// The frames of the recorded capture, and the place of one change in their midst.
    fn capture() -> Option<(Vec<String>, usize)> {
        let frames = frames(&recorded(CAPTURE)?);
        let middle = (600..frames.len()).find(|at| {
            frames[*at].contains(r#""type":"update""#) && frames[*at].contains("bids")
        })?;
        Some((frames, middle))
    }

    fn verified(tape: &Tape) -> (u64, u64) {
        let counters = tape.books.iter().map(tickerml_shared::book::Book::counters);
        counters.fold((0, 0), |(verified, failed), counters| {
            (
                verified + counters.checksums_verified,
                failed + counters.checksums_failed,
            )
        })
    }

    #[test]
    fn every_checksum_of_the_capture_is_reproduced() {
        let Some((frames, _)) = capture() else { return };
        let tape = play(frames.iter().map(String::as_str));
        assert_eq!(verified(&tape), (1254, 0));
        assert_eq!((tape.gaps.as_slice(), tape.all_live()), (&[][..], true));
        assert_eq!(tape.books[0].len(Side::Buy), 10);
        assert_eq!(tape.reader.listings()[0].instrument.symbol, "BTC/USD");
    }

    #[test]
    fn every_checksum_of_the_v1_capture_is_reproduced() {
        let Some(file) = recorded("cryptofeed-sample/KRAKEN.ws.50.0.zst") else {
            return;
        };
        let text = text(&file);
        // `time: frame` was received; lines that begin with the address were sent.
        let received: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("wss://"))
            .filter_map(|line| line.split_once(": "))
            .map(|(_, frame)| frame)
            .collect();
        // Somebody asks for 9999999997.00000 CHF, which the scales of an undescribed instrument
        // cannot hold.
        let mut instrument = Instrument::unknown(Venue::Kraken, "XBT/CHF").expect("short");
        instrument.price_scale = 5;
        let listed = vec![(InstrumentId(0), instrument)];
        let mut tape = Tape::new(Reader::new(Venue::Kraken, Rule::Unnumbered, listed));
        let mut kraken = Kraken::new(Channel::All);
        tape.play(received, |text, reader| kraken.frame(text, reader));
        assert_eq!((verified(&tape), &tape.gaps), ((2436, 0), &Vec::new()));
        assert_eq!((tape.all_live(), tape.books.len()), (true, 5));
    }

    #[test]
    fn every_ladder_verifies_and_none_with_a_level_changed() {
        let Some(file) = recorded("kraken-v2-btcusd/checksum_ladders_20260721.jsonl") else {
            return;
        };
        let text = text(&file);
        let (mut right, mut wrong) = (0, 0);
        for line in text.lines() {
            let ladder: Value = serde_json::from_str(line).expect("JSON");
            let side = |side: &str| -> Vec<(&str, &str)> {
                let levels = ladder[side].as_array().expect("levels").iter();
                levels
                    .map(|level| {
                        let text = |at: usize| level[at].as_str().expect("text");
                        (text(0), text(1))
                    })
                    .collect()
            };
            let crc = ladder["expected_checksum"].as_u64().expect("a checksum");
            let frame = snapshot("BTC/USD", &side("bids"), &side("asks"), crc);
            let tape = play([frame.as_str()]);
            right += u32::from(verified(&tape) == (1, 0) && tape.all_live());
            let place = usize::try_from(crc % 10).expect("small");
            let mut bids = side("bids");
            let changed = flip(bids[place].1, "");
            bids[place].1 = &changed;
            let frame = snapshot("BTC/USD", &bids, &side("asks"), crc);
            let tape = play([frame.as_str()]);
            wrong += u32::from(tape.stale() == Some(GapReason::Checksum));
        }
        assert_eq!((right, wrong), (100, 100));
    }

    #[test]
    fn damage_makes_the_book_stale_and_says_why() {
        let Some((frames, at)) = capture() else {
            return;
        };
        let whole: Vec<&str> = frames.iter().map(String::as_str).collect();
        let flipped = flip(whole[at], r#""price":"#);
        for (damage, want) in [
            (
                [&whole[..at], &whole[at + 1..]].concat(),
                GapReason::Checksum,
            ),
            (
                [&whole[..at], &[&flipped], &whole[at + 1..]].concat(),
                GapReason::Checksum,
            ),
            (
                [&whole[..at], &[cut(whole[at])], &whole[at + 1..]].concat(),
                GapReason::Unparsable,
            ),
        ] {
            let tape = play(damage);
            // It stays stale: the capture brings no other snapshot.
            assert_eq!((tape.reasons(), tape.stale()), (vec![want], Some(want)));
        }
        // Quantities are absolute, so a repeated message changes nothing.
        let tape = play([&whole[..=at], &whole[at..]].concat());
        assert_eq!(verified(&tape), (1255, 0));
    }

    /// A v2 book snapshot with the numbers as given.
    fn snapshot(symbol: &str, bids: &[WireLevel<'_>], asks: &[WireLevel<'_>], crc: u64) -> String {
        let side = |levels: &[WireLevel<'_>]| -> String {
            let levels: Vec<String> = levels
                .iter()
                .map(|(price, qty)| format!(r#"{{"price":{price},"qty":{qty}}}"#))
                .collect();
            levels.join(",")
        };
        format!(
            r#"{{"channel":"book","type":"snapshot","data":[{{"symbol":"{symbol}","bids":[{}],"asks":[{}],"checksum":{crc}}}]}}"#,
            side(bids),
            side(asks)
        )
    }

    #[test]
    fn a_half_frame_costs_only_the_book_it_names() {
        let quiet = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"A/USD","bids":[{"price":1.0,"qty":1.0}],"asks":[{"price":2.0,"qty":1.0},{"price":3.0,"qty":1.0}]}]}"#;
        let other = quiet.replace("A/USD", "B/USD");
        let tape = play([quiet, &other, cut(&other)]);
        assert_eq!(tape.reasons(), [GapReason::Unparsable]);
        assert_eq!(
            (tape.books[0].is_live(), tape.books[1].is_live()),
            (true, false)
        );
    }

    #[test]
    fn the_acknowledged_depth_is_the_limit_of_the_book() {
        let ack = r#"{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"A/USD"},"success":true,"time_in":"2026-07-19T17:54:39.614696Z"}"#;
        let book = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"A/USD","bids":[{"price":1.0,"qty":1.0}],"asks":[]}]}"#;
        let limit = |tape: &Tape| match tape.depth[0].1.kind {
            DepthKind::Snapshot { limit, truncated } => (limit, truncated),
            DepthKind::Delta => panic!("no snapshot"),
        };
        assert_eq!(limit(&play([ack, book])), (25, false));
        // Captures may lack the acknowledgement: the smallest depth that holds what is shown.
        assert_eq!(limit(&play([book])), (10, false));
        assert_eq!(
            [0, 10, 11, 999, 5000].map(maintained),
            [10, 10, 25, 1000, 1000]
        );
    }

    #[test]
    fn digits_are_those_printed() {
        let book = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"A/USD","bids":[{"price":1.50,"qty":1e-7}],"asks":[{"price":2.50,"qty":0.00000100}],"checksum":1,"timestamp":"2026-07-19T17:54:39.753424Z"}]}"#;
        let tape = play([book]);
        let checksum = tape.depth[0].1.checksum.expect("a checksum");
        assert_eq!((checksum.price_digits, checksum.qty_digits), (2, 8));
        assert_eq!(tape.depth[0].1.bids()[0].qty.0, 10);
        assert_eq!(
            Some(tape.depth[0].0),
            Time::from_rfc3339("2026-07-19T17:54:39.753424Z")
        );
    }

    #[test]
    fn old_trades_are_not_flow() {
        let trade = r#"{"channel":"trade","type":"update","data":[{"symbol":"A/USD","side":"sell","price":4136.4,"qty":0.23374249,"ord_type":"limit","trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"},{"symbol":"A/USD","side":"buy","price":4136.5,"qty":1.0,"ord_type":"market","trade_id":4665907,"timestamp":"2023-09-25T07:49:37.708706Z"}]}"#;
        let old = trade.replace("update", "snapshot");
        let tape = play([old.as_str(), trade]);
        let trades: Vec<_> = tape
            .trades
            .iter()
            .map(|(_, trade)| (trade.id, trade.aggressor))
            .collect();
        assert_eq!(trades, [(4_665_906, Side::Sell), (4_665_907, Side::Buy)]);
    }

    #[test]
    fn requests_are_those_documented() {
        let reader = reader(&[("BTC/USD", None), ("ETH/USD", Some(27))]);
        let mut kraken = Kraken::new(Channel::All);
        let endpoint = super::super::public_endpoint(Venue::Kraken);
        assert_eq!(
            kraken.start(&endpoint, &reader),
            Transmit::Connect {
                url: "wss://ws.kraken.com/v2".to_owned()
            }
        );
        let json = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
        let frames: Vec<Value> = kraken.subscribe(&reader).iter().map(|f| json(f)).collect();
        let book = |symbol: &str, depth: u16| {
            json!({"method": "subscribe", "params":
                {"channel": "book", "symbol": [symbol], "depth": depth, "snapshot": true}})
        };
        let trade = json!({"method": "subscribe", "params":
            {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": false}});
        assert_eq!(frames, [book("BTC/USD", 10), book("ETH/USD", 100), trade]);
        let apart = [Channel::Book, Channel::Market].map(|channel| {
            let frames = Kraken::new(channel).subscribe(&reader);
            frames.iter().map(|f| json(f)).collect::<Vec<Value>>()
        });
        assert_eq!(apart.concat(), frames);
        let leave = json!({"method": "unsubscribe", "params":
            {"channel": "book", "symbol": ["ETH/USD"], "depth": 100}});
        let refresh: Vec<Value> = kraken
            .refresh(1, &endpoint, &reader)
            .iter()
            .map(|transmit| match transmit {
                Transmit::Send(frame) => json(frame),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(refresh, [leave, book("ETH/USD", 100)]);
    }

    #[test]
    fn a_refusal_is_passed_on_in_the_venues_words() {
        let tape = play([
            r#"{"channel":"status","type":"update","data":[{"connection_id":15113583034416118705,"system":"online"}]}"#,
            r#"{"error":"Subscription depth not supported","method":"subscribe","success":false,"symbol":"BTC/USD"}"#,
            r#"{"error":"Subscription Not Found","method":"unsubscribe","success":false}"#,
            r#"{"method":"pong","time_in":"2023-09-25T09:04:31.742599Z"}"#,
            r#"{"channel":"heartbeat"}"#,
            r#"{"errorMessage":"Currency pair not supported","event":"subscriptionStatus","status":"error"}"#,
            r#"{"error":["EQuery:Unknown asset pair"]}"#,
        ]);
        let refused = |words: &str| Cue::Refused(words.to_owned());
        assert_eq!(
            tape.cues,
            [
                refused("Subscription depth not supported"),
                refused("Currency pair not supported")
            ]
        );
        assert!(tape.gaps.is_empty());
    }

    /// What the tardis vectors say and this dialect does not.
    const EXCEPTIONS: [(&str, &str); 3] = [
        (
            "mappers > map kraken messages 6",
            "the vector takes the channel for the symbol, because a null stands before it",
        ),
        (
            "mappers > map kraken messages 7",
            "a best-bid/ask frame (spread): the book has checksums and needs no second stream",
        ),
        (
            "mappers > map kraken v2 messages 5",
            "a best-bid/ask frame (ticker): the book has checksums and needs no second stream",
        ),
    ];

    #[test]
    fn tardis_vectors_are_read_as_expected() {
        for vector in vectors("tardis-node-vectors/kraken.jsonl") {
            let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == vector.name);
            let want = vector.line["expected"].as_array().expect("a list");
            // Changes are of interest only once there is a book.
            let raw: Value = serde_json::from_str(&vector.message).expect("JSON");
            let symbol = match &raw {
                Value::Array(elements) => elements.last(),
                object => object.pointer("/data/0/symbol"),
            };
            let symbol = symbol.and_then(Value::as_str).expect("a symbol");
            let mut tape = Tape::new(reader(&[]));
            let mut kraken = Kraken::new(Channel::All);
            let empty = snapshot(symbol, &[], &[], 0);
            tape.play([empty.as_str()], |text, reader| kraken.frame(text, reader));
            tape.depth.clear();
            tape.play([vector.message.as_str()], |text, reader| {
                kraken.frame(text, reader)
            });
            let of = |kind: &'static str| want.iter().filter(move |w| w["type"] == kind);
            assert_eq!(of("trade").count(), tape.trades.len(), "{}", vector.name);
            for (want, got) in of("trade").zip(&tape.trades) {
                assert_trade(Venue::Kraken, &vector, want, got);
            }
            match of("book_change").next() {
                Some(change) => {
                    assert_eq!(
                        tape.levels(),
                        expected_levels(Venue::Kraken, change),
                        "{}",
                        vector.name
                    );
                    let kind = tape.depth[0].1.kind;
                    assert_eq!(change["isSnapshot"], kind != DepthKind::Delta);
                    let time = change["timestamp"].as_str().expect("a time");
                    assert_eq!(Time::from_rfc3339(time), Some(tape.depth[0].0));
                    assert!(excepted || change["symbol"] == symbol);
                }
                None => assert!(tape.depth.is_empty(), "{}", vector.name),
            }
            assert!(
                excepted || of("book_ticker").next().is_none(),
                "{}",
                vector.name
            );
        }
    }

    #[test]
    fn crypto_msg_parser_vectors_are_read_as_expected() {
        const FUTURES: &str = "of Kraken Futures, read by its own dialect";
        const EMPTY: &str = r#"[320,{"as":[],"bs":[]},"book-25","XBT/USD"]"#;
        let table: [Expected; 11] = [
            (
                "trade::spot",
                "",
                Want::Trade("57126.7", "0.02063928", Side::Buy, 1_616_333_924_737),
            ),
            (
                "l2_event::spot_snapshot",
                "",
                Want::Levels(
                    &[
                        ("39071.4", "7.9310657"),
                        ("39071.3", "0.01090000"),
                        ("39071.2", "0.76"),
                    ],
                    &[
                        ("39090.6", "0.00007039"),
                        ("39094.9", "0.2"),
                        ("39096.2", "0.25584089"),
                    ],
                    1_622_714_255_963,
                ),
            ),
            (
                "l2_event::spot_update",
                EMPTY,
                Want::Levels(
                    &[("38800", "0.03017320")],
                    &[("38800", "0.02203518")],
                    1_622_766_170_577,
                ),
            ),
            ("candlestick::spot", "", Want::Nothing("bars are made here")),
            (
                "l2_snapshot::spot",
                "",
                Want::Nothing("a REST depth reply: snapshots come in the stream"),
            ),
            ("trade::inverse_swap_update", "", Want::Nothing(FUTURES)),
            ("trade::inverse_future_update", "", Want::Nothing(FUTURES)),
            ("l2_event::inverse_swap_update", "", Want::Nothing(FUTURES)),
            (
                "l2_event::inverse_future_update",
                "",
                Want::Nothing(FUTURES),
            ),
            ("ticker::inverse_future", "", Want::Nothing(FUTURES)),
            ("l2_snapshot::inverse_swap", "", Want::Nothing(FUTURES)),
        ];
        check_vectors(
            "crypto-msg-parser-vectors/kraken.jsonl",
            &table,
            |_| reader(&[]),
            |text, reader| Kraken::new(Channel::All).frame(text, reader),
        );
    }

    #[test]
    fn v1_trades_and_republished_levels() {
        let tape = play([
            r#"[1,{"as":[["2.50","1.0","1618678133.1"]],"bs":[["1.50","1.0","1618678133.2"]]},"book-10","XBT/USD"]"#,
            r#"[1,{"a":[["2.60","3.0","1618678100.0","r"],["2.50","0.0","1618678134.5"]]},"book-10","XBT/USD"]"#,
            r#"[1,[["5541.20000","0.15850568","1534614057.321597","s","l",""]],"trade","XBT/USD"]"#,
            r#"[1,{"a":[1]},"ticker","XBT/USD"]"#,
        ]);
        let times: Vec<u64> = tape.depth.iter().map(|(time, _)| time.0).collect();
        assert_eq!(
            times,
            [1_618_678_133_200_000_000, 1_618_678_134_500_000_000]
        );
        assert_eq!(
            tape.books[0].best(Side::Sell).map(|level| level.price.0),
            parse("2.6", 8).ok()
        );
        assert_eq!(tape.trades[0].0, Time(1_534_614_057_321_597_000));
        assert_eq!(tape.trades[0].1.aggressor, Side::Sell);
    }
}
