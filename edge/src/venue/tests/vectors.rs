//! Real frames that other projects recorded, with what they make of them: tardis-node's mapper
//! tests and crypto-msg-parser's tests. Where we differ on purpose, the reason stands in a list.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tickerml_shared::event::{DepthKind, RATE_SCALE};
use tickerml_shared::num::Fixed;

use super::*;

/// A frame of tardis-node and what its mapper gives.
#[derive(Deserialize)]
struct Mapped<'a> {
    test: String,
    #[serde(borrow)]
    message: &'a RawValue,
    expected: Vec<Value>,
}

/// Frames that we read differently, and why.
const EXCEPTIONS: [(&str, &str); 9] = [
    (
        "binance messages 10",
        "made-up numbers: the diff overlaps the one before it, which we call a gap",
    ),
    (
        "binance futures messages 1",
        "it takes trades from the trade stream alone, which futures no longer promise",
    ),
    ("binance futures messages 2", "no last price: trades say it"),
    (
        "binance futures messages 8",
        "made-up numbers: the diff does not follow its predecessor, which we call a gap",
    ),
    ("binance futures messages 9", "no open interest"),
    (
        "binance futures messages 13",
        "no liquidations: their trades are in the trade stream",
    ),
    (
        "coinbase messages 7",
        "the ticker tells of trades, not of quotes",
    ),
    (
        "coinbase messages 8",
        "the ticker tells of trades, not of quotes",
    ),
    (
        "coinbase messages 9",
        "the ticker tells of trades, not of quotes",
    ),
];

fn number(text: impl ToString) -> f64 {
    text.to_string().parse().expect("a number")
}

/// Whether it is a snapshot, when, and its levels by side and price.
type Whole = (bool, Time, BTreeMap<(bool, String), f64>);

/// What our updates of one frame amount to, in tardis' words.
fn normalise(session: &Session, updates: &[Update]) -> Vec<Value> {
    let mut values = Vec::new();
    let mut depth: Option<Whole> = None;
    for update in updates {
        let instrument = &session.reader().listings()[update.instrument.index()].instrument;
        let level = |level: Level| {
            let price = number(instrument.price_text(level.price));
            (price, number(instrument.qty_text(level.qty)))
        };
        match &update.body {
            Body::Trade(trade) => {
                let (price, amount) = level(Level {
                    price: trade.price,
                    qty: trade.qty,
                });
                values.push(serde_json::json!({
                    "type": "trade", "symbol": instrument.symbol.as_str(),
                    "id": trade.id.to_string(), "price": price, "amount": amount,
                    "side": trade.aggressor.name(), "timestamp": update.venue_time.to_string(),
                }));
            }
            Body::Touch(touch) => {
                let (bid, ask) = (level(touch.bid), level(touch.ask));
                values.push(serde_json::json!({
                    "type": "book_ticker", "symbol": instrument.symbol.as_str(),
                    "bidPrice": bid.0, "bidAmount": bid.1, "askPrice": ask.0, "askAmount": ask.1,
                    "timestamp": update.venue_time.to_string(),
                }));
            }
            Body::Funding(funding) => {
                let price = |price| number(instrument.price_text(price));
                let index = price(funding.index);
                let settles = funding.settles;
                values.push(serde_json::json!({
                    "type": "derivative_ticker", "symbol": instrument.symbol.as_str(),
                    "fundingRate": funding.rate.map(|r| number(Fixed::new(r, RATE_SCALE))),
                    "fundingTimestamp": settles.is_known().then(|| settles.to_string()),
                    "markPrice": price(funding.mark),
                    "indexPrice": (index != 0.0).then_some(index),
                    "timestamp": update.venue_time.to_string(),
                }));
            }
            Body::Depth(part) => {
                let is_snapshot = matches!(part.kind, DepthKind::Snapshot { .. });
                let whole = depth.get_or_insert((false, update.venue_time, BTreeMap::new()));
                whole.0 |= is_snapshot;
                for (is_bid, levels) in [(true, part.bids()), (false, part.asks())] {
                    for &each in levels {
                        let (price, amount) = level(each);
                        whole.2.insert((is_bid, price.to_string()), amount);
                    }
                }
            }
            Body::Gap(gap) => values.push(serde_json::json!({"type": gap.reason.name()})),
            Body::Candle(_) => unreachable!("nobody asked for history"),
        }
    }
    if let Some((is_snapshot, at, levels)) = depth {
        let side = |wanted: bool| {
            let levels = levels
                .iter()
                .filter(move |((is_bid, _), _)| *is_bid == wanted);
            let entry = |((_, price), amount): ((&bool, &String), &f64)| serde_json::json!({"price": number(price), "amount": amount});
            levels
                .map(|((is_bid, price), amount)| entry(((is_bid, price), amount)))
                .collect::<Vec<_>>()
        };
        values.push(serde_json::json!({
            "type": "book_change", "isSnapshot": is_snapshot, "timestamp": at.to_string(),
            "bids": side(true), "asks": side(false),
        }));
    }
    values
}

/// Whether each field that we give equals theirs. They put the time of arrival where the venue gives
/// none; we say that it is unknown.
fn equals(ours: &Value, theirs: &Value) -> bool {
    ours.as_object()
        .expect("an object")
        .iter()
        .all(|(key, value)| match key.as_str() {
            "timestamp" => {
                let [ours, theirs] = [value, &theirs[key]]
                    .map(|value| Time::from_rfc3339(value.as_str().unwrap_or_default()));
                ours == theirs || ours == Some(Time::UNKNOWN) && theirs.is_some()
            }
            "fundingTimestamp" => {
                let [ours, theirs] =
                    [value, &theirs[key]].map(|value| value.as_str().and_then(Time::from_rfc3339));
                ours == theirs
            }
            "bids" | "asks" => {
                let sorted = |value: &Value| {
                    let levels = value.as_array().expect("levels").iter();
                    let pair = |level: &Value| (level["price"].as_f64(), level["amount"].as_f64());
                    let mut levels: Vec<_> = levels.map(pair).collect();
                    levels.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
                    levels
                };
                sorted(value) == sorted(&theirs[key])
            }
            _ => match (value.as_f64(), theirs[key].as_f64()) {
                (Some(ours), Some(theirs)) => ours == theirs,
                _ => value == &theirs[key],
            },
        })
}

fn drain(session: &mut Session) -> Vec<Update> {
    std::iter::from_fn(|| session.poll_update()).collect()
}

/// A frame after which a diff of this product is not dropped.
fn coinbase_snapshot(frame: &str) -> Option<String> {
    let frame: Value = serde_json::from_str(frame).expect("JSON");
    (frame["type"] == "l2update").then(|| {
        let product = &frame["product_id"];
        format!(r#"{{"type":"snapshot","product_id":{product},"bids":[],"asks":[]}}"#)
    })
}

fn check_mapped(venue: Venue, file: &str) {
    let Some(path) = recorded(&format!("tardis-node-vectors/{file}")) else {
        return;
    };
    let mut session = Session::capture(venue);
    let (mut agreed, mut seen) = (0, 0);
    for (stamp, line) in (1..).zip(lines(&path)) {
        let vector: Mapped<'_> = serde_json::from_str(&line).expect("a vector");
        let frame = vector.message.get();
        if venue == Venue::Coinbase
            && let Some(snapshot) = coinbase_snapshot(frame)
        {
            session.handle_frame(Time(stamp), &snapshot);
            drain(&mut session);
        }
        session.handle_frame(Time(stamp), frame);
        let updates = drain(&mut session);
        let ours = normalise(&session, &updates);
        let same = ours.len() == vector.expected.len()
            && ours.iter().zip(&vector.expected).all(|(a, b)| equals(a, b));
        let excepted = EXCEPTIONS
            .iter()
            .find(|(name, _)| vector.test.ends_with(name));
        // An exception that agrees after all is none.
        let (test, theirs) = (&vector.test, &vector.expected);
        assert_eq!(same, excepted.is_none(), "{test}: {ours:?}\n{theirs:?}");
        agreed += u32::from(same);
        seen += 1;
    }
    assert_eq!(session.status().parse_errors, 0);
    assert!(agreed * 2 > seen, "{agreed} of {seen}");
}

#[test]
fn binance_frames_mean_what_tardis_says() {
    check_mapped(Venue::Binance, "binance.jsonl");
}

#[test]
fn binance_futures_frames_mean_what_tardis_says() {
    check_mapped(Venue::BinanceUsdm, "binance-futures.jsonl");
}

#[test]
fn coinbase_frames_mean_what_tardis_says() {
    check_mapped(Venue::Coinbase, "coinbase.jsonl");
}

/// A frame of crypto-msg-parser and its assertions, as text.
#[derive(Deserialize)]
struct Asserted {
    test: String,
    market_type: String,
    message: String,
    checks: Option<Vec<String>>,
}

/// Frames of streams that we never ask for, or that are no flow.
const UNUSED: [(&str, &str); 5] = [
    ("l2_topk", "partial depth streams are not diffs"),
    ("ticker", "rolling statistics"),
    ("candlestick", "bars are made from trades"),
    ("open_interest", "not used"),
    (
        "None::trade",
        "the frame is a last_match, which repeats an old trade",
    ),
];

/// A snapshot that the diff in this frame follows.
fn binance_snapshot(frame: &str) -> Option<String> {
    let frame: Value = serde_json::from_str(frame).expect("JSON");
    let data = &frame["data"];
    let symbol = data["s"].as_str()?;
    let before = data["pu"]
        .as_u64()
        .or(data["U"].as_u64().map(|first| first - 1))?;
    let body = format!(r#"{{"lastUpdateId":{before},"bids":[],"asks":[]}}"#);
    Some(crate::venue::binance::Binance::capture_snapshot(
        symbol, &body,
    ))
}

/// What our updates say to the left side of one of their assertions; `None` when it is about
/// something that we do not compute.
fn answer(left: &str, updates: &[Update], instrument: &Instrument) -> Option<f64> {
    let depth = updates.iter().rev().find_map(|update| match &update.body {
        Body::Depth(depth) => Some((update.venue_time, depth)),
        _ => None,
    });
    let price = |level: &Level| number(instrument.price_text(level.price));
    let qty = |level: &Level| number(instrument.qty_text(level.qty));
    let millis = |time: Time| (time.0 / 1_000_000) as f64;
    if let Some(field) = left.strip_prefix("orderbook.") {
        let (at, depth) = depth?;
        if field == "timestamp" {
            return at.is_known().then(|| millis(at));
        }
        let (side, field) = field.split_once(['.', '['])?;
        let levels = if side == "bids" {
            depth.bids()
        } else {
            depth.asks()
        };
        if field == "len()" {
            return Some(levels.len() as f64);
        }
        let (index, field) = field.split_once("].")?;
        let level = levels.get(index.parse::<usize>().ok()?)?;
        return match field {
            "price" => Some(price(level)),
            "quantity_base" | "quantity_contract.unwrap()" => Some(qty(level)),
            _ => None,
        };
    }
    updates
        .iter()
        .find_map(|update| match (&update.body, left) {
            (Body::Trade(trade), "trade.quantity_base") => {
                Some(number(instrument.qty_text(trade.qty)))
            }
            (Body::Trade(trade), "trade.side") => Some(trade.aggressor.sign() as f64),
            (Body::Touch(touch), "bbo_msg.ask_price") => Some(price(&touch.ask)),
            (Body::Touch(touch), "bbo_msg.bid_price") => Some(price(&touch.bid)),
            (Body::Touch(touch), "bbo_msg.ask_quantity_contract") => Some(qty(&touch.ask)),
            (Body::Touch(touch), "bbo_msg.bid_quantity_contract") => Some(qty(&touch.bid)),
            (Body::Touch(touch), "bbo_msg.id") => Some(touch.id as f64),
            (Body::Touch(_), "bbo_msg.timestamp") => Some(millis(update.venue_time)),
            (Body::Funding(funding), "funding_rates[0].funding_rate") => {
                Some(number(Fixed::new(funding.rate?, RATE_SCALE)))
            }
            (Body::Funding(funding), "funding_rates[0].funding_time") => {
                Some(millis(funding.settles))
            }
            (Body::Funding(_), "funding_rates[0].timestamp") => Some(millis(update.venue_time)),
            _ => None,
        })
}

/// A literal of theirs as a number.
fn literal(text: &str) -> Option<f64> {
    match text {
        "TradeSide::Buy" => Some(1.0),
        "TradeSide::Sell" => Some(-1.0),
        _ => text
            .strip_prefix("Some(")
            .map_or(text, |inner| inner.trim_end_matches(')'))
            .parse()
            .ok(),
    }
}

/// Checks every assertion that both sides can answer; gives their number.
fn check_asserted(venue: Venue, file: &str) -> usize {
    let path = format!("crypto-msg-parser-vectors/{file}");
    let Some(path) = recorded(&path) else {
        return usize::MAX;
    };
    let mut checked = 0;
    for line in lines(&path) {
        let vector: Asserted = serde_json::from_str(&line).expect("a vector");
        let venue = match (venue, vector.market_type.as_str()) {
            (Venue::Binance, "Spot") | (Venue::Coinbase, _) => venue,
            _ => Venue::BinanceUsdm,
        };
        let mut session = Session::capture(venue);
        let before = match venue {
            Venue::Coinbase => coinbase_snapshot(&vector.message),
            _ => binance_snapshot(&vector.message),
        };
        if let Some(frame) = before {
            session.handle_frame(Time(1), &frame);
            drain(&mut session);
        }
        session.handle_frame(Time(2), &vector.message);
        let updates = drain(&mut session);
        let status = session.status();
        assert_eq!(
            (status.parse_errors, status.refusals),
            (0, 0),
            "{}",
            vector.test
        );
        let unused = |(name, _): &&(&str, &str)| vector.test.contains(name);
        if UNUSED.iter().any(|each| unused(&each)) {
            assert!(updates.is_empty(), "{}: {updates:?}", vector.test);
            continue;
        }
        let Some(first) = updates.first() else {
            // A nameless snapshot waits for the first diff to say whose it is.
            assert!(vector.test.starts_with("l2_snapshot"), "{}", vector.test);
            continue;
        };
        let instrument = session.reader().listings()[first.instrument.index()]
            .instrument
            .clone();
        for check in vector.checks.unwrap_or_default() {
            let Some((a, b)) = check.split_once(", ") else {
                continue;
            };
            let (left, right) = if literal(a).is_some() { (b, a) } else { (a, b) };
            // Coin-margined quantities in base units are computed from the price.
            let computed = right.contains(['*', '/']);
            if let (Some(theirs), Some(ours), false) = (
                literal(right),
                answer(left, &updates, &instrument),
                computed,
            ) {
                assert_eq!(ours, theirs, "{}: {check}", vector.test);
                checked += 1;
            }
        }
    }
    checked
}

#[test]
fn binance_frames_mean_what_crypto_msg_parser_says() {
    assert!(check_asserted(Venue::Binance, "binance.jsonl") >= 60);
}

#[test]
fn coinbase_frames_mean_what_crypto_msg_parser_says() {
    assert!(check_asserted(Venue::Coinbase, "coinbase_pro.jsonl") >= 5);
}
