//! Tapes that several tests fold: random ones from a fixed seed, and recorded ones.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use tickerml_edge::venue::session::Session;
use tickerml_shared::event::{
    Body, Depth, DepthKind, Gap, GapReason, LEVELS_PER_PART, Level, Side, Touch, Trade, Update,
};
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::{MILLIS, SECONDS, Time};

/// What happens in a market, in order of arrival.
#[derive(Clone)]
pub(crate) struct Tape {
    pub(crate) name: String,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) updates: Vec<(Time, Update)>,
}

// --- the synthetic tape -----------------------------------------------------------------------

/// Instruments of one base, so that features compare them.
pub(crate) const INSTRUMENTS: u16 = 4;
/// Updates of the synthetic tape.
const UPDATES: usize = 60_000;
pub(crate) const START: Time = Time(1_760_000_000 * SECONDS);

/// Everything that a market can do, in a random order from a fixed seed: deep and shallow diffs in
/// one and several parts, touches, bursts, late trades, gaps, and snapshots after them. Gaps and
/// bursts get more frequent toward the end, so that the first third warms up for nothing that it
/// has not seen the worst of.
pub(crate) fn synthetic(count: u16) -> Tape {
    random(count, 4 * MILLIS, Gaps::Often)
}

/// How often a random tape loses continuity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    Never,
    /// Every instrument, when half of the tape has passed.
    Once,
    Often,
}

/// A random tape whose updates come within `wait_ns` of each other.
pub(crate) fn random(count: u16, wait_ns: u64, gaps: Gaps) -> Tape {
    let mut rng = Rng::new(7, 1);
    let instruments = (0..count).map(|id| {
        let mut instrument = Instrument::unknown(Venue::Binance, &format!("A{id}")).expect("short");
        instrument.base = "A".try_into().expect("short");
        instrument
    });
    let instruments: Vec<_> = instruments.collect();
    let mut markets: Vec<_> = (0..count).map(|id| Market::new(InstrumentId(id))).collect();
    let (mut updates, mut now) = (Vec::new(), START);
    for market in &mut markets {
        market.snapshot(now, &mut rng, &mut updates);
    }
    let mut whole = gaps == Gaps::Once;
    while updates.len() < UPDATES {
        if whole && updates.len() > UPDATES / 2 {
            whole = false;
            for market in &mut markets {
                market.lose(now, &mut rng, &mut updates);
            }
        }
        let burst = rng.below(1 + updates.len() as u64 / 600) == 99;
        now = now.plus(if burst { 0 } else { rng.below(wait_ns) });
        for _ in 0..if burst { 300 } else { 1 } {
            let market = &mut markets[rng.below(u64::from(count)) as usize];
            market.step(now, gaps == Gaps::Often, &mut rng, &mut updates);
        }
    }
    Tape {
        name: "synthetic".to_owned(),
        instruments,
        updates,
    }
}

struct Market {
    id: InstrumentId,
    /// The best bid; the best ask is two ticks above.
    bid: i64,
    book: u64,
}

impl Market {
    const fn new(id: InstrumentId) -> Self {
        Self {
            id,
            bid: 1_000_000,
            book: 0,
        }
    }

    fn push(&self, now: Time, back: u64, body: Body, updates: &mut Vec<(Time, Update)>) {
        let update = Update {
            instrument: self.id,
            venue_time: now.minus(back),
            received: now,
            late: false,
            body,
        };
        updates.push((now, update));
    }

    fn step(&mut self, now: Time, gaps: bool, rng: &mut Rng, updates: &mut Vec<(Time, Update)>) {
        match rng.below(1000) {
            0 if gaps => self.lose(now, rng, updates),
            0..200 => {
                let trade = Trade {
                    id: 0,
                    price: Price(self.bid + 2 * rng.below(2).cast_signed()),
                    qty: Qty(1 + rng.below(100).cast_signed()),
                    aggressor: if rng.below(2) == 0 {
                        Side::Buy
                    } else {
                        Side::Sell
                    },
                };
                let back = rng.below(20 * MILLIS);
                self.push(now, back, Body::Trade(trade), updates);
            }
            200..600 => {
                let touch = Touch {
                    id: self.book + 1,
                    bid: level(self.bid, 5),
                    ask: level(self.bid + 2, 5),
                };
                self.push(now, 0, Body::Touch(touch), updates);
            }
            600..990 => self.diff(now, 1 + rng.below(12), rng, updates),
            _ => self.diff(now, 200, rng, updates),
        }
    }

    /// A gap, and the book's way back.
    fn lose(&mut self, now: Time, rng: &mut Rng, updates: &mut Vec<(Time, Update)>) {
        let gap = Gap::of(GapReason::Sequence);
        self.push(now, 0, Body::Gap(gap), updates);
        self.snapshot(now, rng, updates);
    }

    /// Levels around the touch, which moves by a tick now and then.
    fn diff(&mut self, now: Time, count: u64, rng: &mut Rng, updates: &mut Vec<(Time, Update)>) {
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let away = rng.below(3 * count.max(20)).cast_signed();
            let qty = if rng.below(3) == 0 {
                0
            } else {
                1 + rng.below(50).cast_signed()
            };
            bids.push(level(self.bid - 1 - away, qty));
            asks.push(level(self.bid + 3 + away, qty));
        }
        match rng.below(8) {
            0 => {
                bids.extend([level(self.bid, 0), level(self.bid - 1, 7)]);
                asks.push(level(self.bid + 1, 7));
                self.bid -= 1;
            }
            1 => {
                asks.extend([level(self.bid + 2, 0), level(self.bid + 3, 7)]);
                bids.push(level(self.bid + 1, 7));
                self.bid += 1;
            }
            _ => {}
        }
        self.book += 2;
        self.parts(now, DepthKind::Delta, &bids, &asks, updates);
    }

    fn snapshot(&mut self, now: Time, rng: &mut Rng, updates: &mut Vec<(Time, Update)>) {
        let side = |first: i64, step: i64| (0..500).map(move |n| level(first + step * n, 3 + n));
        let (bids, asks): (Vec<_>, Vec<_>) = (
            side(self.bid, -1).collect(),
            side(self.bid + 2, 1).collect(),
        );
        self.book += 1 + rng.below(5);
        let kind = DepthKind::Snapshot {
            truncated: false,
            limit: 0,
        };
        self.parts(now, kind, &bids, &asks, updates);
    }

    fn parts(
        &self,
        now: Time,
        kind: DepthKind,
        bids: &[Level],
        asks: &[Level],
        updates: &mut Vec<(Time, Update)>,
    ) {
        let levels: Vec<_> = bids.iter().chain(asks).copied().collect();
        let count = levels.chunks(LEVELS_PER_PART).len();
        for (part, chunk) in levels.chunks(LEVELS_PER_PART).enumerate() {
            let bids_here = bids
                .len()
                .saturating_sub(part * LEVELS_PER_PART)
                .min(chunk.len());
            let depth = Depth {
                kind,
                first: part == 0,
                last: part + 1 == count,
                id: self.book,
                bids: u8::try_from(bids_here).expect("a part is short"),
                levels: chunk.iter().copied().collect(),
                checksum: None,
            };
            self.push(now, 0, Body::Depth(depth), updates);
        }
    }
}

pub(crate) const fn level(price: i64, qty: i64) -> Level {
    Level {
        price: Price(price),
        qty: Qty(qty),
    }
}

// --- the recorded tapes -----------------------------------------------------------------------

pub(crate) const RECORDINGS: [(Venue, &str); 5] = [
    (
        Venue::BinanceUsdm,
        "hftbacktest-binance-raw/usdm_btcusdt_20240808.jsonl.gz",
    ),
    (
        Venue::Binance,
        "hftbacktest-binance-raw/spot_btcusdt_20240808.jsonl.gz",
    ),
    (
        Venue::Kraken,
        "kraken-v2-btcusd/capture_d10_20260719T1754.jsonl",
    ),
    (Venue::Kucoin, "captures/kucoin/BCHSV-USDT.jsonl.zst"),
    (Venue::Coinbase, "captures/coinbase/SKL-USD.jsonl.zst"),
];
/// Lines of a recording that are read.
const LINES_MAX: usize = 30_000;

/// What a recording says, decoded; `None` where it is not at hand.
pub(crate) fn recorded(venue: Venue, path: &str) -> Option<Tape> {
    read(venue, &[&data().join(path)], LINES_MAX)
}

/// Where recordings are.
pub(crate) fn data() -> PathBuf {
    std::env::var_os("TICKERML_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    )
}

/// What the first lines of recordings that follow one another say, decoded; `None` where one is not
/// at hand.
pub(crate) fn read(venue: Venue, files: &[&Path], lines_max: usize) -> Option<Tape> {
    if files.iter().any(|file| !file.exists()) {
        return None;
    }
    let text: String = files.iter().map(|file| unpacked(file)).collect();
    let mut session = Session::capture(venue);
    let (mut updates, mut now) = (Vec::new(), START.minus(400 * 86_400 * SECONDS));
    for line in text.lines().take(lines_max) {
        let (at, frame) = line
            .split_once(' ')
            .and_then(|(stamp, frame)| Some((Time(stamp.parse().ok()?), frame)))
            .unwrap_or((now.plus(100 * MILLIS), line));
        now = at;
        session.handle_frame(now, frame);
        updates.extend(std::iter::from_fn(|| session.poll_update()).map(|update| (now, update)));
    }
    let listings = session.reader().listings();
    let instruments = listings
        .iter()
        .map(|listing| listing.instrument.clone())
        .collect();
    Some(Tape {
        name: files.first()?.display().to_string(),
        instruments,
        updates,
    })
}

fn unpacked(file: &Path) -> String {
    let bytes = std::fs::read(file).expect("a readable recording");
    let mut text = String::new();
    let read = match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text),
        Some("zst") => zstd::stream::read::Decoder::new(&*bytes)
            .and_then(|mut decoder| decoder.read_to_string(&mut text)),
        _ => (&*bytes).read_to_string(&mut text),
    };
    read.expect("a whole recording");
    text
}
