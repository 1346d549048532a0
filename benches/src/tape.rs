//! Tapes: the frames of one connection, in order, with their times of arrival.
//!
//! Recorded ones where the recordings are at hand (`TICKERML_DATA`, else `../shared/data` beside the
//! repository), and always one of each simulated venue: a real session against a sans-IO server in
//! virtual time, from a fixed seed, the same on every machine.

use std::env;
use std::io::Read as _;
use std::path::PathBuf;

use tickerml_edge::venue::session::{Channel, Session};
use tickerml_edge::venue::{Endpoint, Purpose, Reply, Transmit};
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::time::{MILLIS, SECONDS, Time};
use tickerml_sim::world::default_instruments;
use tickerml_sim::{Exchange, ExchangeConfig, ServerFrame, VenueKind, VenueServer};

/// The frames of one connection.
#[derive(Clone, Debug)]
pub struct Tape {
    /// For tables.
    pub name: String,
    /// In which dialect it speaks.
    pub venue: Venue,
    /// Frames with their times of arrival.
    pub frames: Vec<(Time, String)>,
}

/// A recording: name in tables, venue, path below the folder of recordings.
pub type Recording = (&'static str, Venue, &'static str);

/// The recordings that are measured.
pub const RECORDINGS: [Recording; 6] = [
    (
        "binance-usdm BTCUSDT",
        Venue::BinanceUsdm,
        "hftbacktest-binance-raw/usdm_btcusdt_20240808.jsonl.gz",
    ),
    (
        "binance BTCUSDT",
        Venue::Binance,
        "hftbacktest-binance-raw/spot_btcusdt_20240808.jsonl.gz",
    ),
    (
        "kraken BTC/USD",
        Venue::Kraken,
        "kraken-v2-btcusd/capture_d10_20260719T1754.jsonl",
    ),
    (
        "kucoin BCHSV-USDT",
        Venue::Kucoin,
        "captures/kucoin/BCHSV-USDT.jsonl.zst",
    ),
    (
        "coinbase SKL-USD",
        Venue::Coinbase,
        "captures/coinbase/SKL-USD.jsonl.zst",
    ),
    (
        "kraken-futures PI_ETHUSD",
        Venue::KrakenFutures,
        "captures/kraken-futures/PI_ETHUSD.jsonl.zst",
    ),
];

/// Seed of the simulated tapes.
pub const SEED: u64 = 20_240_808;
/// Simulated time begins here.
const START: u64 = 1_760_000_000 * SECONDS;
/// Level changes and trades a second and symbol: a busy market.
const RATES: (f64, f64) = (400.0, 40.0);
/// The simulation's step; the venues' batches are longer.
const STEP: u64 = MILLIS;
/// A stampless frame arrives so long after the one before it.
const STAMPLESS_STEP: u64 = 100 * MILLIS;

/// A recording, or `None` where it is not at hand.
///
/// # Panics
/// When it is there but cannot be read.
#[must_use]
pub fn recorded(&(name, venue, path): &Recording) -> Option<Tape> {
    let root = env::var_os("TICKERML_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let path = root.join(path);
    if !path.exists() {
        return None;
    }
    let bytes = std::fs::read(&path).expect("a readable recording");
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some("zst") => zstd::decode_all(bytes.as_slice()).expect("zstd"),
        Some("gz") => {
            let mut text = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes.as_slice())
                .read_to_end(&mut text)
                .expect("gzip");
            text
        }
        _ => bytes,
    };
    let text = String::from_utf8(bytes).expect("UTF-8");
    let mut now = Time::UNKNOWN;
    let frames = text.lines().map(|line| {
        let stamped = line
            .split_once(' ')
            .and_then(|(stamp, frame)| Some((Time(stamp.parse().ok()?), frame)));
        let (at, frame) = stamped.unwrap_or((now.max(Time(START)).plus(STAMPLESS_STEP), line));
        now = now.max(at);
        (now, frame.to_owned())
    });
    let frames = frames.collect();
    Some(Tape {
        name: name.to_owned(),
        venue,
        frames,
    })
}

/// What a simulated venue sends in so many seconds about its four default symbols.
///
/// # Panics
/// When the server refuses the session: then one of them is wrong.
#[must_use]
pub fn simulated(kind: VenueKind, seconds: u64) -> Tape {
    let venue = match kind {
        VenueKind::Binance => Venue::Binance,
        VenueKind::Coinbase => Venue::CoinbaseAdvanced,
        VenueKind::Kraken => Venue::Kraken,
        VenueKind::Kucoin => Venue::Kucoin,
    };
    let mut config = ExchangeConfig::new(SEED, START);
    config.world.instruments = default_instruments(kind);
    (config.world.book_rate, config.world.trade_rate) = RATES;
    let ids = (0..).map(InstrumentId).zip(&config.world.instruments);
    let instruments = ids
        .map(|(id, listed)| {
            (
                id,
                Instrument::unknown(venue, &listed.symbol).expect("a short symbol"),
            )
        })
        .collect();
    let mut exchange = Exchange::new(config);
    exchange.server_mut(kind).set_endpoint("wss://simulated/");
    let endpoint = Endpoint {
        ws: if kind == VenueKind::Kraken {
            "wss://simulated/v2"
        } else {
            "wss://simulated"
        }
        .to_owned(),
        rest: "https://simulated".to_owned(),
    };
    let mut session = Session::new(venue, Channel::All, endpoint, instruments, SEED);
    let mut frames = Vec::new();
    for now in (START..START + seconds * SECONDS)
        .step_by(STEP as usize)
        .map(Time)
    {
        exchange.advance(now.0);
        session.handle_timeout(now);
        let server = exchange.server_mut(kind);
        while let Some(transmit) = session.poll_transmit() {
            act(transmit, now, &mut session, server, &mut frames);
        }
        while let Some((_, frame)) = server.poll_transmit() {
            if let ServerFrame::Text(text) = frame {
                session.handle_frame(now, &text);
                while session.poll_update().is_some() {}
                frames.push((now, text));
            }
        }
    }
    Tape {
        name: format!("simulated {kind}"),
        venue,
        frames,
    }
}

/// Does what the session wants; a snapshot becomes a frame of the tape, as in a capture.
fn act(
    transmit: Transmit,
    now: Time,
    session: &mut Session,
    server: &mut VenueServer,
    frames: &mut Vec<(Time, String)>,
) {
    const CONNECTION: u64 = 1;
    let target = |url: &str| {
        let path = url
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
        path.unwrap_or_else(|| "/".to_owned())
    };
    match transmit {
        Transmit::Connect { url } => {
            server
                .connect(CONNECTION, &target(&url), now.0)
                .expect("the address that the dialect makes");
            session.handle_connected(now);
        }
        Transmit::Send(text) => server.handle_frame(CONNECTION, &text, now.0),
        Transmit::Request { purpose, post, url } => {
            let method = if post { "POST" } else { "GET" };
            let reply = server.handle_http(method, &target(&url), now.0);
            if let Purpose::Snapshot(place) = purpose {
                let symbol = session.reader().listings()[place].instrument.symbol.clone();
                let line = session.dialect().capture_snapshot(&symbol, &reply.body);
                frames.push((now, line.expect("a venue with snapshots by request")));
            }
            let body = &reply.body;
            let reply = Reply {
                status: reply.status,
                retry_after_s: None,
                body,
            };
            session.handle_reply(now, purpose, Ok(reply));
            while session.poll_update().is_some() {}
        }
        Transmit::Close { reason } => panic!("the session closed an honest connection: {reason}"),
    }
}
