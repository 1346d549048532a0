//! Features of the order book on recorded markets: order flow against sums over the list of all
//! books, the micro-price ahead of the mid, ratios inside their range.

use std::io::Read as _;
use std::path::PathBuf;

use tickerml_edge::venue::session::Session;
use tickerml_shared::book::Book;
use tickerml_shared::event::{Body, Level, Side, Update};
use tickerml_shared::features::book::Top;
use tickerml_shared::features::rolling::BUCKETS;
use tickerml_shared::features::{Features, Group, Table, Unit, View, features};
use tickerml_shared::instrument::{Instrument, Venue};
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

/// Recordings that hold at least a minute.
const RECORDINGS: [(Venue, &str); 4] = [
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
    (Venue::Coinbase, "captures/coinbase/SKL-USD.jsonl.zst"),
];
/// Lines of a recording that are read.
const LINES_MAX: usize = 60_000;
/// Events between two looks at everything.
const PACE: usize = 23;
/// Events between two sums over the list of all books, a multiple of [`PACE`].
const SUM_PACE: usize = 10 * PACE;
/// Looks that a correlation needs.
const SAID_MIN: usize = 500;
/// Levels of order flow.
const LEVELS: usize = 5;

/// The lines of a recording; says so when it is not there.
fn recorded(path: &str) -> Option<String> {
    let root = std::env::var_os("TICKERML_DATA")
        .map_or_else(|| crate::root().join("../shared/data"), PathBuf::from);
    let file = root.join(path);
    if !file.exists() {
        println!("SKIP {path}: no recorded data");
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
    Some(text)
}

/// Its first instrument, and what happened to it in order.
fn tape(venue: Venue, text: &str) -> (Instrument, Vec<(Time, Update)>) {
    let (mut session, mut synchroniser) = (Session::capture(venue), Synchroniser::new(HOLD_NS));
    let (mut updates, mut now) = (Vec::new(), Time(1_600_000_000 * SECONDS));
    for line in text.lines().take(LINES_MAX) {
        let (stamp, frame) = line
            .split_once(' ')
            .and_then(|(stamp, frame)| Some((stamp_of(stamp)?, frame)))
            .unwrap_or((now.plus(100 * MILLIS), line));
        now = stamp.max(now);
        session.handle_frame(now, frame);
        while let Some(update) = session.poll_update() {
            synchroniser.push(update, now);
        }
        updates.extend(
            std::iter::from_fn(|| synchroniser.poll(now))
                .filter(|update| update.instrument.index() == 0)
                .map(|update| (now, update)),
        );
    }
    let instrument = session.reader().listings()[0].instrument.clone();
    (instrument, updates)
}

fn stamp_of(text: &str) -> Option<Time> {
    let number = text.parse().ok().map(Time::from_epoch);
    number.or_else(|| Time::from_rfc3339(text))
}

/// Five levels of both sides; where there are fewer, nothing at the worst price.
type Ranks = [[Level; LEVELS]; 2];

fn ranks(top: &Top) -> Ranks {
    [(Side::Buy, i64::MIN), (Side::Sell, i64::MAX)].map(|(side, worst)| {
        let nothing = Level {
            price: Price(worst),
            qty: Qty(0),
        };
        std::array::from_fn(|rank| top.side(side).get(rank).copied().unwrap_or(nothing))
    })
}

/// The paper's `e_n` of one level, with its indicators.
fn event(before: &Ranks, now: &Ranks, rank: usize) -> i64 {
    let ([b0, b1], [a0, a1]) = (
        [before[0][rank], now[0][rank]],
        [before[1][rank], now[1][rank]],
    );
    let mut sum = 0;
    if b1.price >= b0.price {
        sum += b1.qty.0;
    }
    if b1.price <= b0.price {
        sum -= b0.qty.0;
    }
    if a1.price <= a0.price {
        sum -= a1.qty.0;
    }
    if a1.price >= a0.price {
        sum += a0.qty.0;
    }
    sum
}

/// Order flow of a level over a window, by the average depth of so many levels.
fn order_flow(books: &[(Time, Ranks)], at: Time, rank: usize, levels: usize, window_s: u64) -> f64 {
    let width = window_s * SECONDS / BUCKETS as u64;
    let (mut sum, mut depth, mut events) = (0, 0, 0);
    for pair in books.windows(2).rev() {
        let ([(_, before), (when, now)], oldest) = ([pair[0], pair[1]], at.0 / width + 1);
        if when.0 / width + (BUCKETS as u64) < oldest {
            break;
        }
        let differs = |side: usize| before[side][..levels] != now[side][..levels];
        if differs(0) || differs(1) {
            sum += event(&before, &now, rank);
            let side = |side: usize| now[side][..levels].iter().map(|level| level.qty.0);
            depth += side(0).chain(side(1)).sum::<i64>();
            events += 1;
        }
    }
    if depth == 0 {
        return 0.0;
    }
    sum as f64 / (depth as f64 / (2 * events * levels as i64) as f64)
}

fn named(table: &Table, name: &str) -> Option<f64> {
    let found = features().find(|feature| feature.is_called(name));
    let place = found.unwrap_or_else(|| panic!("{name} exists")).place;
    table.get(place).map(f64::from)
}

/// The correlation of the micro-price's deviation, and of the weighted mid's, with the relative change
/// of the mid over the second after.
fn ahead(said: &[(Time, i64, f64, f64)]) -> [f64; 2] {
    let (mut changes, mut sides) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (place, (at, double_mid, micro, weighted)) in said.iter().enumerate() {
        let later = said[place..]
            .iter()
            .find(|(then, ..)| *then >= at.plus(SECONDS));
        let Some((_, then, ..)) = later else { break };
        changes.push((then - double_mid) as f64 / *double_mid as f64);
        sides[0].push(*micro);
        sides[1].push(*weighted);
    }
    sides.map(|values| correlation(&values, &changes))
}

fn correlation(xs: &[f64], ys: &[f64]) -> f64 {
    let count = xs.len() as f64;
    let (x, y) = (
        xs.iter().sum::<f64>() / count,
        ys.iter().sum::<f64>() / count,
    );
    let pairs = || {
        xs.iter()
            .map(|other| other - x)
            .zip(ys.iter().map(|other| other - y))
    };
    let sum = |f: fn((f64, f64)) -> f64| pairs().map(f).sum::<f64>();
    sum(|(x, y)| x * y) / (sum(|(x, _)| x * x) * sum(|(_, y)| y * y)).sqrt()
}

/// What looks found.
#[derive(Default)]
struct Seen {
    flows: usize,
    /// When, the doubled mid, the micro-price's and the weighted mid's deviation from it.
    said: Vec<(Time, i64, f64, f64)>,
}

struct Replay<'a> {
    instrument: &'a Instrument,
    book: Book,
    features: Box<Features>,
    books: Vec<(Time, Ranks)>,
    seen: Seen,
}

impl Replay<'_> {
    fn update(&mut self, update: &Update, at: Time) {
        let gap = match &update.body {
            Body::Depth(depth) => self.book.depth(depth, self.instrument, at),
            Body::Touch(touch) => self.book.touch(touch, at),
            _ => None,
        };
        assert_eq!(gap, None, "recordings have no gaps");
        self.features
            .update(update, &self.book, self.instrument, at);
        if self.book.is_partial() || !matches!(update.body, Body::Depth(_) | Body::Touch(_)) {
            return;
        }
        if let Some(top) = Top::of(&self.book) {
            self.books.push((at, ranks(&top)));
        }
    }

    fn look(&mut self, update: &Update, at: Time, sums: bool) {
        let Some(top) = self.features.top() else {
            return;
        };
        let double_mid = top.double_mid();
        let table = self.features.read(&View {
            top,
            instrument: self.instrument,
            cross: None,
            funding: None,
            received: update.received,
            lag_ns: update.received.since(update.venue_time),
            at,
        });
        if sums {
            self.flows(&table, at);
        }
        for feature in features() {
            let mine = matches!(
                feature.group,
                Group::Book | Group::OrderFlow | Group::Liquidity
            );
            let Some(value) = table.get(feature.place).filter(|_| mine) else {
                continue;
            };
            match feature.row.unit {
                Unit::Ratio => assert!((-1.0..=1.0).contains(&value), "{feature}: {value}"),
                Unit::Share => assert!((0.0..=1.0).contains(&value), "{feature}: {value}"),
                Unit::Seconds => assert!((0.0..=3_600.0).contains(&value), "{feature}: {value}"),
                _ => {}
            }
        }
        if let Some(micro) = named(&table, "microprice_deviation") {
            let weighted = named(&table, "weighted_mid_deviation").expect("quantities");
            self.seen.said.push((at, double_mid, micro, weighted));
        }
    }

    fn flows(&mut self, table: &Table, at: Time) {
        for (name, rank, levels, window_s) in [
            ("order_flow_imbalance_1s", 0, 1, 1),
            ("order_flow_imbalance_10s", 0, 1, 10),
            ("order_flow_imbalance_60s", 0, 1, 60),
            ("order_flow_imbalance_level_2_10s", 1, LEVELS, 10),
            ("order_flow_imbalance_level_3_10s", 2, LEVELS, 10),
            ("order_flow_imbalance_level_4_10s", 3, LEVELS, 10),
            ("order_flow_imbalance_level_5_10s", 4, LEVELS, 10),
        ] {
            let got = named(table, name);
            let observed = at.since(self.books[0].0) >= (window_s * SECONDS).cast_signed();
            assert_eq!(got.is_some(), observed, "{name}");
            let Some(got) = got else { continue };
            let want = order_flow(&self.books, at, rank, levels, window_s);
            let near = (got - want).abs() <= 1e-6 * want.abs().max(1.0);
            assert!(near, "{name}: {got}, not {want}");
            self.seen.flows += 1;
        }
    }
}

#[test]
fn order_flow_and_micro_price_on_recorded_markets() {
    for (venue, path) in RECORDINGS {
        let Some(text) = recorded(path) else { continue };
        let (instrument, updates) = tape(venue, &text);
        let mut replay = Replay {
            instrument: &instrument,
            book: Book::new(),
            features: Features::boxed(),
            books: Vec::new(),
            seen: Seen::default(),
        };
        for (place, (at, update)) in updates.iter().enumerate() {
            replay.update(update, *at);
            if place % PACE == 0 && !replay.book.is_partial() {
                replay.look(update, *at, place % SUM_PACE == 0);
            }
        }
        let Seen { flows, said } = replay.seen;
        println!(
            "{path}: {} events, {} books; {flows} order flows equal; micro-price known {} times",
            updates.len(),
            replay.books.len(),
            said.len(),
        );
        assert!(flows > 0, "{path}: no window was full");
        if said.len() >= SAID_MIN {
            let [micro, weighted] = ahead(&said);
            println!(
                "{path}: correlation with the mid's change over a second: micro-price {micro:.3}, \
                 weighted mid {weighted:.3}"
            );
            assert!(
                micro > 0.15 && micro > weighted,
                "{path}: {micro}, {weighted}"
            );
        }
    }
}
