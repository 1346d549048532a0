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

use super::dialect::Limits;
use super::reader::{Reader, Unreadable, WireLevel};
use super::session::Channel;
use super::sync::{Ids, Rule};
use super::wire::{bare, nearest, side, stamp};
use super::{Cue, Endpoint, Transmit};

/// The dialect of one connection.
#[derive(Debug)]
pub struct KrakenFutures {
    channel: Channel,
}

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
    pub const fn new(channel: Channel) -> Self {
        Self { channel }
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

    /// Heartbeats, which show that the connection lives, then each feed with all products.
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        let products: Vec<String> = reader
            .listings()
            .iter()
            .map(|listing| product(&listing.instrument))
            .collect();
        let feeds: &[&str] = match self.channel {
            Channel::All => &["book", "trade", "ticker"],
            Channel::Book => &["book"],
            Channel::Market => &["trade", "ticker"],
        };
        let heartbeat = json!({"event": "subscribe", "feed": "heartbeat"}).to_string();
        std::iter::once(heartbeat)
            .chain(
                feeds
                    .iter()
                    .map(|feed| request("subscribe", feed, &products)),
            )
            .collect()
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
            silence: 10 * SECONDS,
            stale: 5 * MINUTES,
            snapshot: 10 * SECONDS,
            max_age: 23 * 60 * MINUTES,
            refresh_capacity: 10,
            refresh_every: 2 * SECONDS,
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
        let rate =
            |raw: Option<&RawValue>| raw.map(|raw| nearest(bare(raw), RATE_SCALE)).transpose();
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

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tickerml_shared::event::GapReason;
    use tickerml_shared::instrument::{InstrumentId, Venue};
    use tickerml_shared::num::parse;
    use tickerml_shared::time::Time;

    use super::super::tests::tape::{
        Expected, Tape, Vector, Want, assert_trade, check_vectors, cut, exact, expected_levels,
        flip, folder, frames, recorded, text, vectors,
    };
    use super::*;

    fn reader() -> Reader {
        Reader::new(Venue::KrakenFutures, Rule::Contiguous, Vec::new())
    }

    fn play<'a>(frames: impl IntoIterator<Item = &'a str>) -> Tape {
        let mut tape = Tape::new(reader());
        tape.play(frames, |text, reader| {
            KrakenFutures::new(Channel::All).frame(text, reader)
        });
        tape
    }

    fn count(frames: &[String], feed: &str) -> usize {
        let feed = format!(r#""feed":"{feed}""#);
        // Old trades stand inside their snapshot.
        let is_of = |frame: &&String| frame.starts_with(&format!("{{{feed}"));
        frames.iter().filter(is_of).count()
    }

    #[test]
    fn every_capture_stays_live() {
        for file in folder("captures/kraken-futures") {
            let frames = frames(&file);
            let tape = play(frames.iter().map(String::as_str));
            let name = file.display();
            assert_eq!((&tape.gaps, tape.all_live()), (&Vec::new(), true), "{name}");
            assert_eq!(tape.books.len(), 1, "{name}");
            let depth = count(&frames, "book") + count(&frames, "book_snapshot");
            assert_eq!(
                usize::try_from(tape.books[0].counters().events),
                Ok(depth),
                "{name}"
            );
            assert_eq!(tape.trades.len(), count(&frames, "trade"), "{name}");
        }
    }

    #[test]
    fn products_of_one_connection_are_numbered_apart() {
        let Some(file) = recorded("cryptofeed-sample/KRAKEN_FUTURES.ws.1.0.zst") else {
            return;
        };
        let text = text(&file);
        let received = text
            .lines()
            .filter(|line| !line.starts_with("wss://"))
            .filter_map(|line| line.split_once(": "))
            .map(|(_, frame)| frame);
        let tape = play(received);
        assert_eq!((tape.books.len(), tape.gaps.len()), (10, 0));
        assert!(tape.all_live());
        assert_eq!(tape.trades.len(), 3);
    }

    #[test]
    fn damage_makes_the_book_stale_and_says_why() {
        let Some(file) = recorded("captures/kraken-futures/PI_LTCUSD.jsonl.zst") else {
            return;
        };
        let frames = frames(&file);
        let whole: Vec<&str> = frames.iter().map(String::as_str).collect();
        let at = (200..whole.len())
            .find(|at| whole[*at].contains(r#""feed":"book","#))
            .expect("a change");
        let flipped = flip(whole[at], r#""seq":34"#);
        for (damage, want) in [
            (
                [&whole[..at], &whole[at + 1..]].concat(),
                GapReason::Sequence,
            ),
            ([&whole[..=at], &whole[at..]].concat(), GapReason::Sequence),
            (
                [&whole[..at], &[&flipped], &whole[at + 1..]].concat(),
                GapReason::Sequence,
            ),
            (
                [&whole[..at], &[cut(whole[at])], &whole[at + 1..]].concat(),
                GapReason::Unparsable,
            ),
        ] {
            let tape = play(damage);
            assert_eq!((tape.reasons(), tape.stale()), (vec![want], Some(want)));
        }
    }

    /// An empty book whose next change is this message.
    fn primer(message: &str) -> String {
        let message: Value = serde_json::from_str(message).expect("JSON");
        let seq = message["seq"].as_u64().unwrap_or(1) - 1;
        json!({"feed": "book_snapshot", "product_id": message["product_id"], "seq": seq,
            "timestamp": 1, "bids": [], "asks": []})
        .to_string()
    }

    /// What the tardis vectors say and this dialect does not.
    const EXCEPTIONS: [(&str, &str); 5] = [
        (
            "mappers > map cryptofacilities messages 1",
            "the vector takes the time of arrival where the venue stated none",
        ),
        (
            "mappers > map cryptofacilities messages 3",
            "the vector's rate is money for a contract; the fraction is the other field",
        ),
        (
            "mappers > map cryptofacilities messages 6",
            "the vector's rate is money for a contract; the fraction is the other field",
        ),
        (
            "mappers > map cryptofacilities messages 13",
            "the vector's rate is money for a contract; the fraction is the other field",
        ),
        (
            "mappers > map cryptofacilities messages 14",
            "the vector drops a contract whose rate is zero; zero is a rate",
        ),
    ];

    #[test]
    fn tardis_vectors_are_read_as_expected() {
        for vector in vectors("tardis-node-vectors/cryptofacilities.jsonl") {
            let name = &vector.name;
            let excepted = EXCEPTIONS.iter().any(|(except, _)| except == name);
            let primer = primer(&vector.message);
            let mut tape = play([primer.as_str()]);
            tape.depth.clear();
            tape.play([vector.message.as_str()], |text, reader| {
                KrakenFutures::new(Channel::All).frame(text, reader)
            });
            assert_eq!(tape.gaps, [], "{name}");
            let mut told = 0;
            for want in vector.line["expected"].as_array().expect("a list") {
                match want["type"].as_str().expect("a type") {
                    "trade" => assert_trade(Venue::KrakenFutures, &vector, want, &tape.trades[0]),
                    "book_change" => assert_change(&vector, want, &tape, excepted),
                    "derivative_ticker" => assert_funding(&vector, want, &tape, excepted),
                    // The same trade once more.
                    "liquidation" => continue,
                    // Neither is the touch that a ticker contains of any book message.
                    "book_ticker" => continue,
                    other => panic!("{name}: {other}"),
                }
                told += 1;
            }
            let got = tape.trades.len() + tape.depth.len() + tape.funding.len();
            assert_eq!(got, told + usize::from(excepted && told == 0), "{name}");
        }
    }

    fn assert_change(vector: &Vector, want: &Value, tape: &Tape, excepted: bool) {
        assert_eq!(
            tape.levels(),
            expected_levels(Venue::KrakenFutures, want),
            "{}",
            vector.name
        );
        let stated = Time::from_rfc3339(want["timestamp"].as_str().expect("a time"));
        let time = tape.depth[0].0;
        if excepted {
            assert_eq!(time, Time::UNKNOWN, "{}", vector.name);
        } else {
            assert_eq!(Some(time), stated, "{}", vector.name);
        }
    }

    fn assert_funding(vector: &Vector, want: &Value, tape: &Tape, excepted: bool) {
        let name = &vector.name;
        let [(time, funding)] = tape.funding.as_slice() else {
            panic!("{name}: {:?}", tape.funding);
        };
        let rounded = |value: &Value, scale| nearest(&value.to_string(), scale).expect("a number");
        assert_eq!(funding.mark.0, rounded(&want["markPrice"], 8), "{name}");
        assert_eq!(funding.index.0, exact(&want["indexPrice"], 8), "{name}");
        let stated = |field: &str| want[field].as_str().and_then(Time::from_rfc3339);
        assert_eq!(Some(*time), stated("timestamp"), "{name}");
        assert_eq!(
            funding.settles,
            stated("fundingTimestamp").unwrap_or(Time::UNKNOWN),
            "{name}"
        );
        let message: Value = serde_json::from_str(&vector.message).expect("JSON");
        for (got, field, relative) in [
            (funding.rate, "fundingRate", "relative_funding_rate"),
            (
                funding.predicted,
                "predictedFundingRate",
                "relative_funding_rate_prediction",
            ),
        ] {
            let value = if excepted {
                &message[relative]
            } else {
                &want[field]
            };
            let want = (!value.is_null()).then(|| rounded(value, RATE_SCALE));
            assert_eq!(got, want, "{name}: {field}");
        }
    }

    #[test]
    fn crypto_msg_parser_vectors_are_read_as_expected() {
        const SPOT: &str = "of Kraken spot, read by its own dialect";
        // The dialect is given no arrays in live use; as unreadable they would cost books.
        let is_spot = |text: &str| text.starts_with('[');
        let table: [Expected; 11] = [
            ("trade::spot", "", Want::Nothing(SPOT)),
            (
                "trade::inverse_swap_update",
                "",
                Want::Trade("39054.5", "386", Side::Sell, 1_646_472_684_700),
            ),
            (
                "trade::inverse_future_update",
                "",
                Want::Trade("39456.5", "15742", Side::Buy, 1_646_478_498_512),
            ),
            ("l2_event::spot_snapshot", "", Want::Nothing(SPOT)),
            ("l2_event::spot_update", "", Want::Nothing(SPOT)),
            (
                "l2_event::inverse_swap_update",
                r#"{"feed":"book_snapshot","product_id":"PI_XBTUSD","seq":270613032,"bids":[],"asks":[]}"#,
                Want::Levels(&[("39080.5", "0")], &[], 1_646_479_025_941),
            ),
            (
                "l2_event::inverse_future_update",
                r#"{"feed":"book_snapshot","product_id":"FI_XBTUSD_220624","seq":21313955,"bids":[],"asks":[]}"#,
                Want::Levels(&[], &[("39442.5", "332")], 1_646_480_579_478),
            ),
            ("candlestick::spot", "", Want::Nothing(SPOT)),
            (
                "ticker::inverse_future",
                "",
                Want::Mark("29904.25", 1_654_164_693_039),
            ),
            ("l2_snapshot::spot", "", Want::Nothing(SPOT)),
            (
                "l2_snapshot::inverse_swap",
                "",
                Want::Nothing("a REST depth reply: snapshots come in the stream"),
            ),
        ];
        check_vectors(
            "crypto-msg-parser-vectors/kraken.jsonl",
            &table,
            |_| reader(),
            |text, reader| {
                if is_spot(text) {
                    return Ok(Cue::None);
                }
                KrakenFutures::new(Channel::All).frame(text, reader)
            },
        );
    }

    #[test]
    fn old_and_negotiated_trades_are_not_flow() {
        let trade = r#"{"feed":"trade","product_id":"PI_XBTUSD","uid":"05af78ac","side":"sell","type":"liquidation","seq":653355,"time":1612266317519,"qty":15000,"price":3.4969E+4}"#;
        let block = trade.replace("liquidation", "block");
        let old =
            format!(r#"{{"feed":"trade_snapshot","product_id":"PI_XBTUSD","trades":[{trade}]}}"#);
        let tape = play([old.as_str(), &block, trade]);
        assert_eq!(tape.trades.len(), 1);
        let (time, trade) = tape.trades[0];
        assert_eq!((time, trade.id), (Time(1_612_266_317_519_000_000), 653_355));
        assert_eq!(Ok(trade.price.0), parse("34969", 8));
    }

    #[test]
    fn a_gap_asks_for_that_book_alone() {
        let snapshot = |product: &str| {
            format!(
                r#"{{"feed":"book_snapshot","product_id":"{product}","timestamp":1612269825817,"seq":7,"bids":[{{"price":1.5,"qty":6385}}],"asks":[{{"price":2.5,"qty":1.5e-5}}]}}"#
            )
        };
        let change =
            r#"{"feed":"book","product_id":"PI_A","side":"sell","seq":9,"price":2.0,"qty":1}"#;
        let tape = play([snapshot("PI_A").as_str(), &snapshot("PI_B"), change]);
        assert_eq!(tape.reasons(), [GapReason::Sequence]);
        assert_eq!((tape.gaps[0].1.expected, tape.gaps[0].1.got), (8, 9));
        assert!(!tape.books[0].is_live() && tape.books[1].is_live());
    }

    #[test]
    fn requests_and_refusals() {
        let instrument = Instrument::unknown(Venue::KrakenFutures, "pf_xbtusd").expect("short");
        let listed = vec![(InstrumentId(0), instrument)];
        let reader = Reader::new(Venue::KrakenFutures, Rule::Contiguous, listed);
        let mut dialect = KrakenFutures::new(Channel::All);
        let frames: Vec<Value> = dialect
            .subscribe(&reader)
            .iter()
            .map(|frame| serde_json::from_str(frame).expect("JSON"))
            .collect();
        let feed = |event: &str, feed: &str| json!({"event": event, "feed": feed, "product_ids": ["PF_XBTUSD"]});
        assert_eq!(
            frames,
            [
                json!({"event": "subscribe", "feed": "heartbeat"}),
                feed("subscribe", "book"),
                feed("subscribe", "trade"),
                feed("subscribe", "ticker"),
            ]
        );
        let counts = [Channel::Book, Channel::Market]
            .map(|channel| KrakenFutures::new(channel).subscribe(&reader).len());
        assert_eq!(counts, [2, 3]);
        let endpoint = super::super::public_endpoint(Venue::KrakenFutures);
        assert_eq!(
            dialect.refresh(0, &endpoint, &reader),
            ["unsubscribe", "subscribe"]
                .map(|event| Transmit::Send(feed(event, "book").to_string()))
        );
        let tape = play([
            r#"{"event":"info","version":1}"#,
            r#"{"event":"subscribed","feed":"book","product_ids":["PI_XBTUSD"]}"#,
            r#"{"feed":"heartbeat","time":1534262350627}"#,
            r#"{"event":"error","message":"Invalid product id"}"#,
            r#"{"event":"alert","message":"Bad websocket message"}"#,
        ]);
        let refused = ["Invalid product id", "Bad websocket message"]
            .map(|words| Cue::Refused(words.to_owned()));
        assert_eq!(tape.cues, refused);
        assert!(tape.books.is_empty());
    }
}
