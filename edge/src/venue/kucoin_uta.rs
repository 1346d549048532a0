//! KuCoin's unified feed ("UTA" or "Pro"): no token, and the snapshot comes in the stream.
//!
//! Spot and futures have hosts of their own, so the instruments of one connection are all the one
//! or all the other. Frames come as binary messages that hold UTF-8 JSON. Each depth message says
//! the range of numbers that it covers (`O` to `C`); levels that leave the 500 that the venue
//! maintains are deleted by it. Quantities of futures are lots.
//!
//! Source: www.kucoin.com/docs-new, "UTA WebSocket": orderbook, trade, mark price, funding fee.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tickerml_shared::event::{DepthKind, Funding, RATE_SCALE};
use tickerml_shared::instrument::{Instrument, Kind};
use tickerml_shared::num::Price;
use tickerml_shared::time::{MINUTES, SECONDS, Time};

use super::dialect::Limits;
use super::reader::{Reader, Unreadable};
use super::session::Channel;
use super::sync::{Ids, Rule};
use super::wire::{Row, bare, integer, levels, nearest, shortened, side, stamp};
use super::{Cue, Endpoint, Transmit};

/// The venue asks for a ping every 18 seconds and allows one a second.
const PING_NS: u64 = 15 * SECONDS;

/// The dialect of one connection.
#[derive(Debug)]
pub struct KucoinUta {
    channel: Channel,
    /// What was said about a contract so far, by place in the reader.
    funding: Vec<Option<Funding>>,
}

#[derive(Deserialize)]
struct Head<'a> {
    /// Topic and kind of trade: `obu.SPOT`.
    #[serde(borrow, rename = "T")]
    topic: Option<Cow<'a, str>>,
    #[serde(rename = "t")]
    kind: Option<&'a str>,
    /// When the venue's gateway sent it.
    #[serde(borrow, rename = "P")]
    sent: Option<&'a RawValue>,
    #[serde(borrow, rename = "d")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
    /// `true` on the wire, `"true"` in the documents.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    #[serde(borrow, rename = "O")]
    first: &'a RawValue,
    #[serde(borrow, rename = "C")]
    last: &'a RawValue,
    #[serde(borrow, rename = "M")]
    time: Option<&'a RawValue>,
    #[serde(borrow, rename = "a", default)]
    asks: Vec<Row<'a>>,
    #[serde(borrow, rename = "b", default)]
    bids: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    #[serde(rename = "S")]
    side: &'a str,
    #[serde(borrow, rename = "p")]
    price: &'a RawValue,
    #[serde(borrow, rename = "q")]
    qty: &'a RawValue,
    #[serde(borrow, rename = "ti")]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "M")]
    time: Option<&'a RawValue>,
}

/// Mark price and funding fee.
#[derive(Deserialize)]
struct Contract<'a> {
    #[serde(borrow, rename = "s")]
    symbol: Cow<'a, str>,
    #[serde(borrow, rename = "mp")]
    mark: Option<&'a RawValue>,
    #[serde(borrow, rename = "ip")]
    index: Option<&'a RawValue>,
    /// Of mark prices; funding fees have only the gateway's.
    #[serde(borrow, rename = "ts")]
    time: Option<&'a RawValue>,
    #[serde(borrow, rename = "fr")]
    rate: Option<&'a RawValue>,
    /// When the interval settles.
    #[serde(borrow, rename = "nt")]
    settles: Option<&'a RawValue>,
    /// The interval in milliseconds.
    #[serde(borrow, rename = "gl")]
    interval: Option<&'a RawValue>,
}

impl KucoinUta {
    /// A dialect that has seen nothing.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self {
            channel,
            funding: Vec::new(),
        }
    }

    /// Ranges of numbers without holes.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule::Contiguous
    }

    /// Opens a connection.
    pub fn start(&mut self, endpoint: &Endpoint, _reader: &Reader) -> Transmit {
        self.funding.clear();
        Transmit::Connect {
            url: endpoint.ws.clone(),
        }
    }

    /// One frame for each book, trade feed, mark price and funding fee: at most 256, where the
    /// venue allows 300 in ten seconds.
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        let mut frames = Vec::new();
        for listing in reader.listings() {
            let instrument = &listing.instrument;
            if self.channel != Channel::Market {
                frames.push(book_request("subscribe", instrument));
            }
            if self.channel == Channel::Book {
                continue;
            }
            frames.push(
                json!({
                    "id": "1",
                    "action": "subscribe",
                    "channel": "trade",
                    "tradeType": trade_type(instrument),
                    "symbol": instrument.symbol.as_str(),
                })
                .to_string(),
            );
            if instrument.kind == Kind::Spot {
                continue;
            }
            frames.extend(["mark-price", "funding-fee"].map(|channel| {
                json!({
                    "id": "1",
                    "action": "subscribe",
                    "channel": channel,
                    "symbol": instrument.symbol.as_str(),
                })
                .to_string()
            }));
        }
        frames
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue documents.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        let head: Head<'_> = serde_json::from_str(text)?;
        let (Some(topic), Some(data)) = (head.topic.as_deref(), head.data) else {
            return Ok(answer(head));
        };
        match topic.split_once('.').map_or(topic, |(topic, _)| topic) {
            "obu" => book(head.kind == Some("snapshot"), data, reader)?,
            "trade" => trade(data, reader)?,
            "mark-price" | "funding-fee" => self.contract(stamp(head.sent), data, reader)?,
            _ => {}
        }
        Ok(Cue::None)
    }

    /// Mark price every second and rate every minute, in frames of their own: each is reported
    /// together with what the other said last.
    fn contract(
        &mut self,
        sent: Time,
        data: &RawValue,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        let contract: Contract<'_> = serde_json::from_str(data.get())?;
        let Some(place) = reader.find(&contract.symbol) else {
            return Ok(());
        };
        let scale = reader.listings()[place].instrument.price_scale;
        if self.funding.len() <= place {
            self.funding.resize(place + 1, None);
        }
        let mut funding = self.funding[place].unwrap_or(Funding {
            mark: Price(0),
            index: Price(0),
            rate: None,
            predicted: None,
            settles: Time::UNKNOWN,
            interval_s: 0,
        });
        if let Some(mark) = contract.mark {
            funding.mark = Price(nearest(bare(mark), scale)?);
        }
        if let Some(index) = contract.index {
            funding.index = Price(nearest(bare(index), scale)?);
        }
        if let Some(rate) = contract.rate {
            funding.rate = Some(nearest(bare(rate), RATE_SCALE)?);
            funding.settles = stamp(contract.settles);
            let interval = contract.interval.map(integer).transpose()?.unwrap_or(0);
            funding.interval_s = u32::try_from(interval / 1000).unwrap_or(0);
        }
        self.funding[place] = Some(funding);
        let time = match contract.time {
            Some(time) => stamp(Some(time)),
            None => sent,
        };
        reader.funding(place, time, funding);
        Ok(())
    }

    /// Subscribes one book anew, which brings its snapshot.
    pub fn refresh(
        &mut self,
        place: usize,
        _endpoint: &Endpoint,
        reader: &Reader,
    ) -> Vec<Transmit> {
        let instrument = &reader.listings()[place].instrument;
        ["unsubscribe", "subscribe"]
            .map(|action| Transmit::Send(book_request(action, instrument)))
            .into()
    }

    /// An application ping.
    #[must_use]
    pub fn keepalive(&self) -> Option<(u64, String)> {
        Some((PING_NS, r#"{"id":"1","type":"ping"}"#.to_owned()))
    }

    /// Each ping is answered, so two missed answers mean a dead connection; a book may rest for
    /// minutes, and a snapshot takes up to six seconds. The venue documents no longest life of a
    /// connection; a daily one keeps to servers that are in service.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            silence: 2 * PING_NS,
            stale: 5 * MINUTES,
            snapshot: 15 * SECONDS,
            max_age: 23 * 60 * MINUTES,
            refresh_capacity: 10,
            refresh_every: 2 * SECONDS,
        }
    }
}

/// A frame that is no data.
fn answer(head: Head<'_>) -> Cue {
    if head.message.as_deref() == Some("welcome") {
        return Cue::Welcome;
    }
    match head.result.map(bare) {
        Some("false") => Cue::Refused(head.msg.or(head.message).unwrap_or_default().into_owned()),
        _ => Cue::None,
    }
}

fn book(is_snapshot: bool, data: &RawValue, reader: &mut Reader) -> Result<(), Unreadable> {
    let book: Book<'_> = serde_json::from_str(data.get())?;
    let Some(place) = reader.find(&book.symbol) else {
        return Ok(());
    };
    let (first, last) = (integer(book.first)?, integer(book.last)?);
    let scale = reader.listings()[place].instrument.qty_scale;
    let (bids, asks) = (levels(&book.bids, scale), levels(&book.asks, scale));
    let time = stamp(book.time);
    if is_snapshot {
        let whole = DepthKind::Snapshot {
            truncated: false,
            limit: 0,
        };
        reader.snapshot(place, whole, last, time, None, bids, asks)
    } else {
        let ids = Ids {
            first,
            last,
            previous: 0,
        };
        reader.delta(place, ids, time, None, bids, asks)
    }
}

fn trade(data: &RawValue, reader: &mut Reader) -> Result<(), Unreadable> {
    let trade: Trade<'_> = serde_json::from_str(data.get())?;
    let Some(place) = reader.find(&trade.symbol) else {
        return Ok(());
    };
    let id = trade.id.and_then(|id| integer(id).ok()).unwrap_or(0);
    let scale = reader.listings()[place].instrument.qty_scale;
    let level = (bare(trade.price), shortened(bare(trade.qty), scale));
    reader.trade(place, stamp(trade.time), id, level, side(trade.side)?)
}

fn trade_type(instrument: &Instrument) -> &'static str {
    if instrument.kind == Kind::Spot {
        "SPOT"
    } else {
        "FUTURES"
    }
}

fn book_request(action: &str, instrument: &Instrument) -> String {
    json!({
        "id": "1",
        "action": action,
        "channel": "obu",
        "tradeType": trade_type(instrument),
        "symbol": instrument.symbol.as_str(),
        "depth": "increment@10ms",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tickerml_shared::event::{Gap, GapReason, Side};
    use tickerml_shared::instrument::{InstrumentId, Venue};
    use tickerml_shared::num::parse;

    use super::super::tests::tape::{Tape, cut};
    use super::*;

    fn reader(instruments: &[(&str, Kind)]) -> Reader {
        let listed = instruments.iter().zip(0..).map(|((symbol, kind), id)| {
            let mut instrument = Instrument::unknown(Venue::KucoinUta, symbol).expect("short");
            instrument.kind = *kind;
            (InstrumentId(id), instrument)
        });
        Reader::new(Venue::KucoinUta, Rule::Contiguous, listed.collect())
    }

    fn play<'a>(frames: impl IntoIterator<Item = &'a str>) -> Tape {
        let mut tape = Tape::new(reader(&[]));
        let mut dialect = KucoinUta::new(Channel::All);
        tape.play(frames, |text, reader| dialect.frame(text, reader));
        tape
    }

    fn frame(symbol: &str, kind: &str, first: u64, last: u64, bids: &str, asks: &str) -> String {
        format!(
            r#"{{"T":"obu.SPOT","dp":"increment@10ms","t":"{kind}","P":1790000000005000001,"d":{{"s":"{symbol}","O":{first},"C":{last},"M":1790000000004000000,"a":[{asks}],"b":[{bids}]}}}}"#
        )
    }

    fn snapshot(last: u64) -> String {
        let (bids, asks) = (r#"["99","1"],["98","2"]"#, r#"["101","1"],["102","2"]"#);
        frame("A-B", "snapshot", last, last, bids, asks)
    }

    fn delta(first: u64, last: u64, bids: &str, asks: &str) -> String {
        frame("A-B", "delta", first, last, bids, asks)
    }

    #[test]
    fn changes_follow_the_snapshot_of_the_stream() {
        // Changes may come first, and one may reach across the snapshot.
        let tape = play([
            delta(5, 6, "", "").as_str(),
            &delta(7, 9, r#"["99","3"]"#, ""),
            &snapshot(8),
            &delta(10, 10, r#"["98","0"]"#, r#"["100.5","0.12345678901"]"#),
        ]);
        assert_eq!((tape.gaps.len(), tape.all_live()), (0, true));
        let side = |side| -> Vec<(i64, i64)> {
            tape.books[0]
                .levels(side)
                .map(|level| (level.price.0, level.qty.0))
                .collect()
        };
        let price = |text| parse(text, 10).expect("a price");
        assert_eq!(side(Side::Buy), [(price("99"), 300_000_000)]);
        assert_eq!(
            side(Side::Sell),
            [
                (price("100.5"), 12_345_678),
                (price("101"), 100_000_000),
                (price("102"), 200_000_000)
            ]
        );
        assert_eq!(tape.depth[0].0, Time(1_790_000_000_004_000_000));
        assert_eq!(
            tape.depth[0].1.kind,
            DepthKind::Snapshot {
                truncated: false,
                limit: 0
            }
        );
    }

    #[test]
    fn damage_makes_the_book_stale_until_the_next_snapshot() {
        let (start, next, later) = (snapshot(8), delta(9, 9, "", ""), delta(11, 12, "", ""));
        let gap = |expected, got| Gap {
            reason: GapReason::Sequence,
            expected,
            got,
        };
        let missing = play([start.as_str(), &next, &later]);
        assert_eq!(missing.gaps, [(0, gap(10, 11))]);
        assert_eq!(missing.stale(), Some(GapReason::Sequence));
        let repeated = play([start.as_str(), &next, &next]);
        assert_eq!(repeated.gaps, [(0, gap(10, 9))]);
        let other = start.replace("A-B", "C-D");
        let half = play([start.as_str(), &other, cut(&other)]);
        assert_eq!(half.reasons(), [GapReason::Unparsable]);
        assert!(half.books[0].is_live() && !half.books[1].is_live());
        // What comes before the new snapshot is joined to it.
        let again = play([
            start.as_str(),
            &later,
            &snapshot(11),
            &delta(13, 13, "", ""),
        ]);
        assert_eq!((again.gaps.len(), again.all_live()), (1, true));
    }

    #[test]
    fn the_side_of_a_trade_is_the_takers() {
        let tape = play([
            r#"{"T":"trade.SPOT","P":1790000000000000003,"d":{"E":7,"M":1790000000000000001,"S":"sell","p":"92525.6","q":"0.00008","s":"A-B","ti":"20631804219899904"}}"#,
            r#"{"T":"trade.FUTURES","P":1790000000000000003,"d":{"S":"BUY","s":"AM","ti":777,"rpi":true,"E":3,"p":"2000.1","q":"4","M":1790000000000000002}}"#,
        ]);
        let got: Vec<_> = tape
            .trades
            .iter()
            .map(|(time, trade)| (time.0 % 10, trade.id, trade.aggressor, trade.qty.0))
            .collect();
        assert_eq!(
            got,
            [
                (1, 20_631_804_219_899_904, Side::Sell, 8_000),
                (2, 777, Side::Buy, 400_000_000)
            ]
        );
    }

    #[test]
    fn mark_prices_and_rates_are_joined() {
        let tape = play([
            r#"{"T":"mark-price","P":1790984885234256943,"d":{"s":"AM","mp":"84517.2","ip":"84564.02","oi":"11793380","ts":1790984885000}}"#,
            r#"{"T":"funding-fee","P":1786809901214267234,"d":{"s":"AM","fr":"-0.000072","lfr":"0.000069","fc":"0.003","ff":"-0.003","ft":1786809600000,"nt":1786838400000,"gl":28800000}}"#,
        ]);
        let price = |text| Price(parse(text, 10).expect("a price"));
        let joined = Funding {
            mark: price("84517.2"),
            index: price("84564.02"),
            rate: Some(-72_000_000),
            predicted: None,
            settles: Time(1_786_838_400_000_000_000),
            interval_s: 28_800,
        };
        assert_eq!(tape.funding[0].0, Time(1_790_984_885_000_000_000));
        assert_eq!(tape.funding[0].1.rate, None);
        assert_eq!(tape.funding[1], (Time(1_786_809_901_214_267_234), joined));
    }

    #[test]
    fn the_conversation() {
        let tape = play([
            r#"{"sessionId":"a1","message":"welcome","pingInterval":18000}"#,
            r#"{"id":"1","result":true}"#,
            r#"{"id":"1","result":"true"}"#,
            r#"{"id":"1","type":"pong","ts":1790000000000000000}"#,
            r#"{"id":"1","result":false,"msg":"invalid request data"}"#,
            r#"{"T":"kline.SPOT","P":1,"d":{"s":"A-B"}}"#,
        ]);
        let refused = Cue::Refused("invalid request data".to_owned());
        assert_eq!(tape.cues, [Cue::Welcome, refused]);
        assert_eq!((tape.gaps.len(), tape.unreadable.len()), (0, 0));

        let reader = reader(&[("BTC-USDT", Kind::Spot), ("XBTUSDTM", Kind::Perpetual)]);
        let mut dialect = KucoinUta::new(Channel::All);
        let json = |text: &String| -> Value { serde_json::from_str(text).expect("JSON") };
        let frames: Vec<Value> = dialect.subscribe(&reader).iter().map(json).collect();
        let book = |action: &str, trade_type: &str, symbol: &str| {
            json!({"id": "1", "action": action, "channel": "obu", "tradeType": trade_type,
                "symbol": symbol, "depth": "increment@10ms"})
        };
        let trade = |trade_type: &str, symbol: &str| {
            json!({"id": "1", "action": "subscribe", "channel": "trade", "tradeType": trade_type,
                "symbol": symbol})
        };
        let plain = |channel: &str| json!({"id": "1", "action": "subscribe", "channel": channel, "symbol": "XBTUSDTM"});
        assert_eq!(
            frames,
            [
                book("subscribe", "SPOT", "BTC-USDT"),
                trade("SPOT", "BTC-USDT"),
                book("subscribe", "FUTURES", "XBTUSDTM"),
                trade("FUTURES", "XBTUSDTM"),
                plain("mark-price"),
                plain("funding-fee"),
            ]
        );
        let counts = [Channel::Book, Channel::Market]
            .map(|channel| KucoinUta::new(channel).subscribe(&reader).len());
        assert_eq!(counts, [2, 4]);
        let endpoint = super::super::public_endpoint(Venue::KucoinUta);
        let refresh: Vec<Value> = dialect
            .refresh(0, &endpoint, &reader)
            .iter()
            .map(|transmit| match transmit {
                Transmit::Send(frame) => json(frame),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            refresh,
            ["unsubscribe", "subscribe"].map(|action| book(action, "SPOT", "BTC-USDT"))
        );
        assert_eq!(dialect.keepalive().map(|(period, _)| period), Some(PING_NS));
    }
}
