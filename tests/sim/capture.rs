//! Small captures of the simulated venues: what a recorder would write, in virtual time.
//!
//! A client of each feed connects to its server, subscribes to two markets, asks for snapshots where
//! the venue gives them by request, and writes down every frame as `<receive ns> <frame>`. At the
//! end the market stands still until the last batch is out, so that the last lines of the capture
//! and the true book agree.

use std::collections::BTreeMap;

use crate::exchange::{Exchange, ExchangeConfig};
use crate::venues::{ServerFrame, Truth};
use crate::world::{MILLI, SECOND, VenueKind, WorldConfig};

/// Venue time of the market's first event.
const START_NS: u64 = 1_790_000_000 * SECOND;
/// The market trades for so long before the client comes.
const BEFORE: u64 = 2 * SECOND;
/// Snapshots by request are asked for so long after subscribing, and the second one later still.
const REQUEST_AFTER: u64 = 250 * MILLI;
/// Time moves in such steps.
const STEP: u64 = 10 * MILLI;
/// From the venue to the client.
const WIRE: u64 = 7 * MILLI;
/// After this the market stands still.
const LIVE: u64 = 30 * SECOND;
/// Every batch is out after so long.
const CALM: u64 = 2 * SECOND;
/// Levels of a Binance snapshot; the simulated books have fewer.
const SNAPSHOT_LEVELS: usize = 1_000;

/// A feed that is captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feed {
    /// Binance spot, combined streams.
    Binance,
    /// Coinbase Advanced Trade.
    CoinbaseAdvanced,
    /// Kraken spot v2 at depth 10.
    Kraken,
    /// KuCoin Classic.
    Kucoin,
    /// KuCoin unified.
    KucoinUta,
}

/// A capture and what the books were when it ended.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The lines, each with its line feed.
    pub text: String,
    /// By symbol.
    pub truth: BTreeMap<String, Truth>,
}

impl Feed {
    /// All of them.
    pub const ALL: [Feed; 5] = [
        Feed::Binance,
        Feed::CoinbaseAdvanced,
        Feed::Kraken,
        Feed::Kucoin,
        Feed::KucoinUta,
    ];

    /// Its name, as replay knows it.
    pub fn name(self) -> &'static str {
        match self {
            Feed::Binance => "binance",
            Feed::CoinbaseAdvanced => "coinbase-advanced",
            Feed::Kraken => "kraken",
            Feed::Kucoin => "kucoin",
            Feed::KucoinUta => "kucoin-uta",
        }
    }

    fn kind(self) -> VenueKind {
        match self {
            Feed::Binance => VenueKind::Binance,
            Feed::CoinbaseAdvanced => VenueKind::Coinbase,
            Feed::Kraken => VenueKind::Kraken,
            Feed::Kucoin | Feed::KucoinUta => VenueKind::Kucoin,
        }
    }

    /// The two markets that are captured.
    fn symbols(self) -> [&'static str; 2] {
        match self {
            Feed::Binance => ["BTCUSDT", "XRPUSDT"],
            Feed::CoinbaseAdvanced => ["BTC-USD", "XRP-USD"],
            Feed::Kraken => ["BTC/USD", "XRP/USD"],
            Feed::Kucoin | Feed::KucoinUta => ["BTC-USDT", "XRP-USDT"],
        }
    }

    /// Levels a side that a subscriber knows.
    fn depth(self) -> usize {
        match self {
            Feed::Kraken => 10,
            _ => usize::MAX,
        }
    }

    fn subscriptions(self) -> Vec<String> {
        let [first, second] = self.symbols();
        match self {
            // The streams stand in the address.
            Feed::Binance => Vec::new(),
            Feed::CoinbaseAdvanced => ["level2", "market_trades"]
                .map(|channel| {
                    format!(
                        r#"{{"type":"subscribe","product_ids":["{first}","{second}"],"channel":"{channel}"}}"#
                    )
                })
                .into_iter()
                .chain([r#"{"type":"subscribe","channel":"heartbeats"}"#.to_owned()])
                .collect(),
            Feed::Kraken => ["book", "trade"]
                .map(|channel| {
                    let depth = if channel == "book" { r#","depth":10"# } else { "" };
                    format!(
                        r#"{{"method":"subscribe","params":{{"channel":"{channel}","symbol":["{first}","{second}"]{depth}}}}}"#
                    )
                })
                .into(),
            Feed::Kucoin => ["level2", "match"]
                .map(|topic| {
                    format!(
                        r#"{{"id":"1","type":"subscribe","topic":"/market/{topic}:{first},{second}","response":true}}"#
                    )
                })
                .into(),
            Feed::KucoinUta => self
                .symbols()
                .iter()
                .flat_map(|symbol| {
                    [("obu", r#","depth":"increment@10ms""#), ("trade", "")].map(|(channel, depth)| {
                        format!(
                            r#"{{"id":"1","action":"subscribe","channel":"{channel}","tradeType":"SPOT","symbol":"{symbol}"{depth}}}"#
                        )
                    })
                })
                .collect(),
        }
    }

    /// The request for a snapshot, where there is one.
    fn request(self, symbol: &str) -> Option<String> {
        match self {
            Feed::Binance => Some(format!(
                "/api/v3/depth?symbol={symbol}&limit={SNAPSHOT_LEVELS}"
            )),
            Feed::Kucoin => Some(format!(
                "/api/v1/market/orderbook/level2_100?symbol={symbol}"
            )),
            _ => None,
        }
    }

    /// A snapshot as a line of a capture: in the envelope of a stream, so that it says whose it is.
    fn envelope(self, symbol: &str, body: &str) -> String {
        if self == Feed::Kucoin {
            let data = body.split_once(r#""data":"#).map_or("null", |(_, rest)| {
                rest.trim_end_matches('\n')
                    .strip_suffix('}')
                    .unwrap_or(rest)
            });
            return format!(
                r#"{{"topic":"/market/level2Snapshot:{symbol}","generated":true,"subject":"trade.l2Snapshot","data":{data}}}"#
            );
        }
        let stream = symbol.to_ascii_lowercase();
        format!(r#"{{"stream":"{stream}@depthSnapshot","generated":true,"data":{body}}}"#)
    }
}

/// Captures a feed of the market of this seed: live until `bytes` are written (or half a minute has
/// passed), then to the end of the last batch.
pub fn capture(feed: Feed, seed: u64, bytes: usize) -> Capture {
    let mut config = ExchangeConfig::new(seed, START_NS);
    config.world = WorldConfig::new(seed, START_NS);
    let mut exchange = Exchange::new(config);
    let mut now = START_NS + BEFORE;
    exchange.advance(now);
    let target = target(feed, &mut exchange, now);
    let server = exchange.server_mut(feed.kind());
    let connected = server.connect(1, &target, now);
    connected.expect("the server takes its own client");
    for frame in feed.subscriptions() {
        server.handle_frame(1, &frame, now);
    }
    let asked = now + REQUEST_AFTER;
    let mut requests = feed.symbols().map(|symbol| (asked, symbol)).to_vec();
    requests[1].0 += REQUEST_AFTER;
    let mut text = String::new();
    let connected = now;
    let mut still_since = None;
    while still_since.is_none_or(|since| now < since + CALM) {
        drain(feed, &mut exchange, now, &mut text);
        let (due, later) = requests.into_iter().partition(|(at, _)| *at <= now);
        requests = later;
        for (_, symbol) in due {
            let Some(request) = feed.request(symbol) else {
                continue;
            };
            let server = exchange.server_mut(feed.kind());
            let body = server.handle_http("GET", &request, now).body;
            line(&mut text, now, &feed.envelope(symbol, &body));
        }
        now += STEP;
        if still_since.is_none() && (text.len() >= bytes || now >= connected + LIVE) {
            still_since = Some(now);
        }
        match still_since {
            None => exchange.advance(now),
            Some(_) => exchange.server_mut(feed.kind()).handle_timeout(now),
        }
    }
    let truth = feed.symbols().map(|symbol| {
        let mut truth = exchange
            .server(feed.kind())
            .truth(symbol)
            .expect("a listed market");
        truth.bids.truncate(feed.depth());
        truth.asks.truncate(feed.depth());
        (symbol.to_owned(), truth)
    });
    Capture {
        text,
        truth: truth.into(),
    }
}

/// Path and query of the feed's WebSocket.
fn target(feed: Feed, exchange: &mut Exchange, now: u64) -> String {
    match feed {
        Feed::Binance => {
            let streams = feed.symbols().map(|symbol| {
                let symbol = symbol.to_ascii_lowercase();
                format!("{symbol}@depth@100ms/{symbol}@bookTicker/{symbol}@trade")
            });
            format!("/stream?streams={}", streams.join("/"))
        }
        Feed::CoinbaseAdvanced => "/".to_owned(),
        Feed::Kraken => "/v2".to_owned(),
        Feed::Kucoin => {
            let server = exchange.server_mut(feed.kind());
            let body = server
                .handle_http("POST", "/api/v1/bullet-public", now)
                .body;
            let token = body
                .split_once(r#""token":""#)
                .map_or("", |(_, rest)| rest.split('"').next().unwrap_or_default());
            format!("/?token={token}&connectId=1")
        }
        Feed::KucoinUta => "/uta".to_owned(),
    }
}

fn drain(feed: Feed, exchange: &mut Exchange, now: u64, text: &mut String) {
    let server = exchange.server_mut(feed.kind());
    while let Some((conn, frame)) = server.poll_transmit() {
        match frame {
            ServerFrame::Text(frame) => line(text, now, &frame),
            ServerFrame::Binary(frame) => line(text, now, &String::from_utf8_lossy(&frame)),
            ServerFrame::Ping(_) => server.handle_pong(conn, now),
            ServerFrame::Close { .. } | ServerFrame::Drop | ServerFrame::Freeze => {
                unreachable!("no fault was asked for")
            }
        }
    }
}

fn line(text: &mut String, now: u64, frame: &str) {
    text.push_str(&format!("{} {frame}\n", now + WIRE));
}
