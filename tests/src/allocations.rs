//! From a decoded update to features, nothing is asked of the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read as _;
use std::path::PathBuf;

use tickerml_edge::venue::session::Session;
use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{
    Body, Depth, DepthKind, Event, Gap, GapReason, LEVELS_PER_PART, Level, Record, Side, Touch,
    Trade, Update,
};
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::rand::Rng;
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

thread_local! {
    // By thread, so that other tests do not count. Constant and without a destructor, so that
    // reading it inside the allocator needs no heap itself.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator; counts the calls of each thread that give memory.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes to `System` unchanged, which keeps the contract; counting touches a
// thread-local integer and nothing of the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `memory` came from `System` by this allocator, with this layout.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `System` by this allocator, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What happens in a market, in order of arrival.
struct Tape {
    name: String,
    instruments: Vec<Instrument>,
    updates: Vec<(Time, Update)>,
}

/// Folds a tape; gives the heap calls of its last two thirds, the events in them, and how many of
/// these left a state vector behind.
fn fold(tape: &Tape) -> (u64, usize, usize) {
    let mut synchroniser = Synchroniser::new(HOLD_NS);
    let mut engine = Engine::new(Setup::market_only(tape.instruments.clone()));
    let (mut seq, mut events, mut vectors) = (0, 0, 0);
    let warm = tape.updates.len() / 3;
    let mut before = 0;
    let mut updates = tape.updates.clone().into_iter();
    for place in 0..tape.updates.len() {
        if place == warm {
            before = CALLS.get();
        }
        let Some((now, update)) = updates.next() else {
            break;
        };
        synchroniser.push(update, now);
        while let Some(update) = synchroniser.poll(now) {
            seq += 1;
            let instrument = update.instrument.index();
            let event = Event::Market(update);
            engine.handle(&Record {
                seq,
                at: now,
                event,
            });
            while engine.poll().is_some() {}
            events += usize::from(place >= warm);
            let seen = engine.cells()[instrument].vector.is_some();
            vectors += usize::from(place >= warm && seen);
        }
    }
    (CALLS.get() - before, events, vectors)
}

fn check(tape: &Tape) {
    let (calls, events, vectors) = fold(tape);
    let name = &tape.name;
    assert_eq!(calls, 0, "{name}: heap calls over {events} events");
    assert!(
        events > tape.updates.len() / 2,
        "{name}: {events} events came out"
    );
    assert!(
        vectors > events / 2,
        "{name}: {vectors} of {events} events gave features"
    );
}

#[test]
fn market_events_allocate_nothing() {
    check(&synthetic());
    for (venue, path) in RECORDINGS {
        match recorded(venue, path) {
            Some(tape) => check(&tape),
            None => println!("SKIP {path}: no recorded data (set TICKERML_DATA)"),
        }
    }
}

/// The counter itself: a test that cannot fail shows nothing.
#[test]
fn the_counter_counts() {
    let before = CALLS.get();
    let memory = std::hint::black_box(vec![0_u8; 64]);
    assert_eq!((CALLS.get() - before, memory.len()), (1, 64));
    let mut memory = std::hint::black_box(Vec::<u8>::with_capacity(1));
    memory.extend_from_slice(&[0; 4096]);
    assert_eq!(CALLS.get() - before, 3);
}

// --- the synthetic tape -----------------------------------------------------------------------

/// Instruments of one base, so that features compare them.
const INSTRUMENTS: u16 = 4;
/// Updates of the synthetic tape.
const UPDATES: usize = 60_000;
const START: Time = Time(1_760_000_000 * SECONDS);

/// Everything that a market can do, in a random order from a fixed seed: deep and shallow diffs in
/// one and several parts, touches, bursts, late trades, gaps, and snapshots after them. Gaps and
/// bursts get more frequent toward the end, so that the first third warms up for nothing that it
/// has not seen the worst of.
fn synthetic() -> Tape {
    let mut rng = Rng::new(7, 1);
    let instruments = (0..INSTRUMENTS).map(|id| {
        let mut instrument = Instrument::unknown(Venue::Binance, &format!("A{id}")).expect("short");
        instrument.base = "A".try_into().expect("short");
        instrument
    });
    let instruments: Vec<_> = instruments.collect();
    let mut markets: Vec<_> = (0..INSTRUMENTS)
        .map(|id| Market::new(InstrumentId(id)))
        .collect();
    let (mut updates, mut now) = (Vec::new(), START);
    for market in &mut markets {
        market.snapshot(now, &mut rng, &mut updates);
    }
    while updates.len() < UPDATES {
        let burst = rng.below(1 + updates.len() as u64 / 600) == 99;
        now = now.plus(if burst { 0 } else { rng.below(4 * MILLIS) });
        let count = if burst { 300 } else { 1 };
        for _ in 0..count {
            let market = &mut markets[rng.below(u64::from(INSTRUMENTS)) as usize];
            market.step(now, &mut rng, &mut updates);
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

    fn step(&mut self, now: Time, rng: &mut Rng, updates: &mut Vec<(Time, Update)>) {
        match rng.below(1000) {
            0 => {
                let gap = Gap::of(GapReason::Sequence);
                self.push(now, 0, Body::Gap(gap), updates);
                self.snapshot(now, rng, updates);
            }
            1..200 => {
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

const fn level(price: i64, qty: i64) -> Level {
    Level {
        price: Price(price),
        qty: Qty(qty),
    }
}

// --- the recorded tapes -----------------------------------------------------------------------

const RECORDINGS: [(Venue, &str); 5] = [
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
fn recorded(venue: Venue, path: &str) -> Option<Tape> {
    let root = std::env::var_os("TICKERML_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let file = root.join(path);
    if !file.exists() {
        return None;
    }
    let bytes = std::fs::read(&file).expect("a readable recording");
    let mut text = String::new();
    let read = match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text),
        Some("zst") => zstd::stream::read::Decoder::new(&*bytes)
            .and_then(|mut decoder| decoder.read_to_string(&mut text)),
        _ => (&*bytes).read_to_string(&mut text),
    };
    read.expect("a whole recording");
    let mut session = Session::capture(venue);
    let (mut updates, mut now) = (Vec::new(), START.minus(400 * 86_400 * SECONDS));
    for line in text.lines().take(LINES_MAX) {
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
        name: path.to_owned(),
        instruments,
        updates,
    })
}
