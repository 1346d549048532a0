//! Books rebuilt a second time, the ordinary way: JSON values, text and `BTreeMap`s, and each
//! venue's rule as its documentation words it. Shares no code with the product.

use std::collections::BTreeMap;

use serde_json::Value;
use tickerml_shared::instrument::Venue;

/// Best levels first: price and quantity as decimals without trailing zeros.
pub(super) type Ladder = Vec<[String; 2]>;
/// A level of a message: price, quantity, and its own number where it has one.
type Row = (String, String, Option<u64>);

/// A message about one book.
pub(super) struct Message {
    /// Whose.
    pub(super) symbol: String,
    /// Whether it is the whole book, or what changed.
    pub(super) is_snapshot: bool,
    /// The numbers that it covers, and the one before where the venue says so.
    ids: (u64, u64, Option<u64>),
    /// Bids and asks.
    rows: [Vec<Row>; 2],
}

/// A book by price, in a form that sorts as text.
#[derive(Default)]
struct Book {
    sides: [BTreeMap<String, [String; 2]>; 2],
    /// Number of the last message; none before the snapshot.
    last: Option<u64>,
    snapshot: u64,
    early: Vec<Message>,
}

/// Every book of a capture.
#[derive(Default)]
pub(super) struct Rebuild {
    books: BTreeMap<String, Book>,
    /// Levels a side that a Kraken subscription keeps.
    depth: Option<usize>,
}

impl Rebuild {
    /// Of frames without stamps. `symbol` is whose a nameless snapshot is.
    pub(super) fn of<'a>(
        venue: Venue,
        symbol: &str,
        frames: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut rebuild = Self::default();
        for frame in frames {
            rebuild.frame(venue, symbol, frame);
        }
        rebuild
    }

    fn frame(&mut self, venue: Venue, symbol: &str, frame: &str) {
        if let Some(depth) = depth(venue, frame) {
            self.depth = Some(depth);
        }
        for message in messages(venue, symbol, frame) {
            let book = self.books.entry(message.symbol.clone()).or_default();
            book.take(venue, message);
            let depth = self.depth.unwrap_or(usize::MAX);
            let [bids, asks] = &mut book.sides;
            while bids.len() > depth {
                bids.pop_first();
            }
            while asks.len() > depth {
                asks.pop_last();
            }
        }
    }

    /// The symbols that have a book.
    pub(super) fn symbols(&self) -> Vec<&str> {
        let live = self.books.iter().filter(|(_, book)| book.last.is_some());
        live.map(|(symbol, _)| symbol.as_str()).collect()
    }

    /// So many of the best bids and asks.
    pub(super) fn best(&self, symbol: &str, count: usize) -> [Ladder; 2] {
        let [bids, asks] = &self.books[symbol].sides;
        let bids = bids.values().rev().take(count).cloned().collect();
        [bids, asks.values().take(count).cloned().collect()]
    }

    /// The number of the last message of a book.
    pub(super) fn last(&self, symbol: &str) -> Option<u64> {
        self.books[symbol].last
    }
}

impl Book {
    fn take(&mut self, venue: Venue, message: Message) {
        if message.is_snapshot {
            self.sides = Default::default();
            (self.last, self.snapshot) = (Some(message.ids.1), message.ids.1);
            self.apply(message.rows);
            for early in std::mem::take(&mut self.early) {
                self.take(venue, early);
            }
            return;
        }
        let Some(last) = self.last else {
            self.early.push(message);
            return;
        };
        let (first, id, previous) = message.ids;
        let at_snapshot = last == self.snapshot;
        match venue {
            Venue::BinanceUsdm if id < last => return,
            Venue::BinanceUsdm if at_snapshot && first <= last => {}
            Venue::BinanceUsdm => assert_eq!(previous, Some(last), "{}", message.symbol),
            Venue::Coinbase | Venue::CoinbaseAdvanced | Venue::Kraken => {}
            _ if id <= last => return,
            _ if at_snapshot => assert!(first <= last + 1, "{}", message.symbol),
            _ => assert_eq!(first, last + 1, "{}", message.symbol),
        }
        self.last = Some(id);
        self.apply(message.rows);
    }

    fn apply(&mut self, rows: [Vec<Row>; 2]) {
        for (side, rows) in self.sides.iter_mut().zip(rows) {
            for (price, qty, own) in rows {
                if price == "0" || own.is_some_and(|own| own <= self.snapshot) {
                    continue;
                }
                let (whole, fraction) = price.split_once('.').unwrap_or((&price, ""));
                let key = format!("{whole:0>20}.{fraction}");
                if qty == "0" {
                    side.remove(&key);
                } else {
                    side.insert(key, [price, qty]);
                }
            }
        }
    }
}

/// The book messages of a frame; a snapshot that does not say whose it is, is `symbol`'s.
pub(super) fn messages(venue: Venue, symbol: &str, frame: &str) -> Vec<Message> {
    let Ok(frame) = serde_json::from_str::<Value>(frame) else {
        return Vec::new();
    };
    match venue {
        Venue::Binance | Venue::BinanceUs | Venue::BinanceUsdm => binance(symbol, &frame),
        Venue::Coinbase => coinbase(&frame),
        Venue::CoinbaseAdvanced => advanced(&frame),
        Venue::Kraken if frame.is_array() => kraken_v1(&frame),
        Venue::Kraken => kraken(&frame),
        Venue::KrakenFutures => kraken_futures(&frame),
        Venue::Kucoin => kucoin(symbol, &frame),
        Venue::KucoinUta => kucoin_uta(&frame),
        Venue::KucoinFutures => unreachable!("no capture of it"),
    }
    .into_iter()
    .collect()
}

fn message(symbol: &str, is_snapshot: bool, ids: (u64, u64, Option<u64>)) -> Message {
    let (symbol, rows) = (symbol.to_owned(), Default::default());
    Message {
        symbol,
        is_snapshot,
        ids,
        rows,
    }
}

impl Message {
    /// Whether it changes no level.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.iter().all(Vec::is_empty)
    }

    fn with(mut self, bids: &Value, asks: &Value) -> Vec<Self> {
        self.rows = [rows(bids), rows(asks)];
        vec![self]
    }
}

fn binance(symbol: &str, frame: &Value) -> Vec<Message> {
    let data = frame.get("data").unwrap_or(frame);
    if let Some(id) = data["lastUpdateId"].as_u64() {
        let named = frame["stream"]
            .as_str()
            .and_then(|name| name.split('@').next());
        let symbol = named.map_or(symbol.to_owned(), str::to_ascii_uppercase);
        return message(&symbol, true, (id, id, None)).with(&data["bids"], &data["asks"]);
    }
    if data["e"] != "depthUpdate" {
        return Vec::new();
    }
    let ids = (number(&data["U"]), number(&data["u"]), data["pu"].as_u64());
    message(text(&data["s"]), false, ids).with(&data["b"], &data["a"])
}

fn coinbase(frame: &Value) -> Vec<Message> {
    let symbol = text(&frame["product_id"]);
    match text(&frame["type"]) {
        "snapshot" => message(symbol, true, (0, 0, None)).with(&frame["bids"], &frame["asks"]),
        "l2update" => {
            let mut message = message(symbol, false, (0, 0, None));
            for change in list(&frame["changes"]) {
                let side = usize::from(change[0] == "sell");
                message.rows[side].push((decimal(&change[1]), decimal(&change[2]), None));
            }
            vec![message]
        }
        _ => Vec::new(),
    }
}

fn advanced(frame: &Value) -> Vec<Message> {
    if frame["channel"] != "l2_data" {
        return Vec::new();
    }
    let read = |event: &Value| {
        let is_snapshot = event["type"] == "snapshot";
        let mut message = message(text(&event["product_id"]), is_snapshot, (0, 0, None));
        for change in list(&event["updates"]) {
            let side = usize::from(change["side"] != "bid");
            let (price, qty) = (&change["price_level"], &change["new_quantity"]);
            message.rows[side].push((decimal(price), decimal(qty), None));
        }
        message
    };
    list(&frame["events"]).iter().map(read).collect()
}

fn kraken(frame: &Value) -> Vec<Message> {
    if frame["channel"] != "book" {
        return Vec::new();
    }
    let read = |book: &Value| {
        let is_snapshot = frame["type"] == "snapshot";
        message(text(&book["symbol"]), is_snapshot, (0, 0, None)).with(&book["bids"], &book["asks"])
    };
    list(&frame["data"]).iter().flat_map(read).collect()
}

fn kraken_v1(frame: &Value) -> Vec<Message> {
    let [parts @ .., channel, pair] = &list(frame)[1..] else {
        return Vec::new();
    };
    if !text(channel).starts_with("book-") {
        return Vec::new();
    }
    let is_snapshot = parts[0].get("as").is_some();
    let mut message = message(text(pair), is_snapshot, (0, 0, None));
    for (side, keys) in [["b", "bs"], ["a", "as"]].into_iter().enumerate() {
        for part in parts.iter().flat_map(|part| keys.map(|key| &part[key])) {
            message.rows[side].extend(rows(part));
        }
    }
    vec![message]
}

fn kraken_futures(frame: &Value) -> Vec<Message> {
    let (symbol, id) = (text(&frame["product_id"]), frame["seq"].as_u64());
    match (text(&frame["feed"]), id) {
        ("book_snapshot", Some(id)) => {
            message(symbol, true, (id, id, None)).with(&frame["bids"], &frame["asks"])
        }
        ("book", Some(id)) => {
            let mut message = message(symbol, false, (id, id, None));
            let side = usize::from(frame["side"] == "sell");
            message.rows[side].push((decimal(&frame["price"]), decimal(&frame["qty"]), None));
            vec![message]
        }
        _ => Vec::new(),
    }
}

fn kucoin(symbol: &str, frame: &Value) -> Vec<Message> {
    let data = &frame["data"];
    if let (Some(sequence), true) = (data["sequence"].as_str(), data["bids"].is_array()) {
        let named = frame["topic"]
            .as_str()
            .and_then(|name| name.split(':').nth(1));
        let id = sequence.parse().expect("a number");
        let snapshot = message(named.unwrap_or(symbol), true, (id, id, None));
        return snapshot.with(&data["bids"], &data["asks"]);
    }
    if frame["subject"] != "trade.l2update" {
        return Vec::new();
    }
    let ids = (
        number(&data["sequenceStart"]),
        number(&data["sequenceEnd"]),
        None,
    );
    let changes = &data["changes"];
    message(text(&data["symbol"]), false, ids).with(&changes["bids"], &changes["asks"])
}

fn kucoin_uta(frame: &Value) -> Vec<Message> {
    let data = &frame["d"];
    if !text(&frame["T"]).starts_with("obu.") {
        return Vec::new();
    }
    let ids = (number(&data["O"]), number(&data["C"]), None);
    message(text(&data["s"]), frame["t"] == "snapshot", ids).with(&data["b"], &data["a"])
}

/// Levels as `[price, quantity, …]` or `{"price": …, "qty": …}`.
fn rows(levels: &Value) -> Vec<Row> {
    let read = |level: &Value| match level {
        Value::Object(level) => (decimal(&level["price"]), decimal(&level["qty"]), None),
        _ => {
            let own = level[2].as_str().and_then(|own| own.parse().ok());
            (decimal(&level[0]), decimal(&level[1]), own)
        }
    };
    list(levels).iter().map(read).collect()
}

/// A number, or a number as text, without exponent and trailing zeros.
fn decimal(value: &Value) -> String {
    let text = match value {
        Value::Number(number) => number.as_f64().map(|number| number.to_string()),
        value => value.as_str().map(str::to_owned),
    };
    let text = text.expect("a decimal");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The depth that a Kraken subscription was acknowledged with.
fn depth(venue: Venue, frame: &str) -> Option<usize> {
    if venue != Venue::Kraken || !frame.contains("subscri") {
        return None;
    }
    let frame: Value = serde_json::from_str(frame).ok()?;
    let depth = frame["result"]["depth"].as_u64();
    let depth = depth.or(frame["subscription"]["depth"].as_u64())?;
    usize::try_from(depth).ok()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
