//! What the simulated market promises.

use super::*;

const START: u64 = 1_760_000_000 * SECOND;

fn tape(seed: u64, seconds: u64, step: u64) -> Vec<WorldEvent> {
    let mut world = World::new(seed, all_default_instruments(), START);
    let mut tape = Vec::new();
    let mut now = START;
    while now < START + seconds * SECOND {
        now = (now + step).min(START + seconds * SECOND);
        tape.extend_from_slice(world.advance(now));
    }
    tape
}

#[derive(Default)]
struct Book {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    levels: u64,
    trades: u64,
}

impl Book {
    fn apply(&mut self, kind: EventKind) {
        match kind {
            EventKind::Level { side, price, qty } => {
                let map = if side == Side::Buy {
                    &mut self.bids
                } else {
                    &mut self.asks
                };
                if qty == 0 {
                    assert!(map.remove(&price).is_some(), "a delete of an unknown level");
                } else {
                    map.insert(price, qty);
                }
                self.levels += 1;
            }
            EventKind::Trade { .. } => self.trades += 1,
        }
    }
    fn mid(&self) -> f64 {
        let bid = *self.bids.keys().next_back().unwrap();
        (bid + self.asks.keys().next().unwrap()) as f64 / 2.0
    }
    fn imbalance(&self) -> f64 {
        let bid: i64 = self.bids.values().rev().take(3).sum();
        let ask: i64 = self.asks.values().take(3).sum();
        (bid - ask) as f64 / (bid + ask) as f64
    }
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let (mx, my) = pairs
        .iter()
        .fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xy += (x - mx) * (y - my);
        xx += (x - mx) * (x - mx);
        yy += (y - my) * (y - my);
    }
    xy / (xx * yy).sqrt()
}

#[test]
fn one_seed_gives_one_tape_whatever_the_step() {
    let coarse = tape(7, 3, SECOND);
    assert_eq!(coarse, tape(7, 3, 3 * MILLI));
    assert_ne!(coarse, tape(8, 3, SECOND));
    assert!(coarse.is_sorted_by_key(|e| e.time_ns));
}

/// Another machine must reproduce this fingerprint: floats here are basic operations only.
/// It changes when the market's parameters do, and then only on purpose.
#[test]
fn the_tape_of_a_seed_is_pinned() {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for event in tape(42, 5, SECOND) {
        for byte in format!("{event:?}").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(hash, 16_357_938_755_633_476_682);
}

#[test]
fn logarithm_and_decay_are_accurate() {
    for x in [1e-12, 0.001, 0.1, 0.5, 0.75, 0.999, 1.0] {
        assert!((ln(x) - x.ln()).abs() < 1e-8, "ln({x})");
    }
    for y in [0.0, 0.01, 0.5, 1.0, 3.0, 5.0] {
        assert!((decayed(y) / (-y).exp() - 1.0).abs() < 1e-3, "exp(-{y})");
    }
}

#[test]
fn books_never_cross_and_keep_their_depth() {
    let mut books: BTreeMap<(VenueKind, Arc<str>), Book> = BTreeMap::new();
    let seconds = 240;
    let events = tape(3, seconds, 50 * MILLI);
    for (i, event) in events.iter().enumerate() {
        let key = (event.venue, event.symbol.clone());
        let book = books.entry(key.clone()).or_default();
        book.apply(event.kind);
        let ended = events
            .get(i + 1)
            .is_none_or(|n| n.time_ns > event.time_ns || (n.venue, n.symbol.clone()) != key);
        if event.time_ns == START {
            continue;
        }
        let bid = book.bids.keys().next_back().expect("bids");
        let ask = book.asks.keys().next().expect("asks");
        assert!(bid < ask, "{key:?} crossed: {bid} {ask}");
        if ended {
            assert!(book.bids.len() >= MIN_LEVELS && book.bids.len() <= 96);
            assert!(book.asks.len() >= MIN_LEVELS && book.asks.len() <= 96);
        }
    }
    assert_eq!(books.len(), 16);
    for (key, book) in &books {
        let changes = (book.levels - 2 * START_LEVELS as u64) as f64 / seconds as f64;
        let trades = book.trades as f64 / seconds as f64;
        assert!(
            (12.0..32.0).contains(&changes),
            "{key:?}: {changes} changes a second"
        );
        assert!(
            (1.0..4.0).contains(&trades),
            "{key:?}: {trades} trades a second"
        );
    }
}

#[test]
fn imbalance_and_flow_predict_but_do_not_foretell() {
    for base in ["BTC", "ETH", "SOL", "XRP"] {
        let one = |i: &Instrument| i.base == base;
        let instruments = all_default_instruments().into_iter().filter(one).collect();
        let mut world = World::new(11, instruments, START);
        let mut books: BTreeMap<VenueKind, Book> = BTreeMap::new();
        let mut samples: BTreeMap<VenueKind, Vec<(f64, f64, f64)>> = BTreeMap::new();
        let mut now = START;
        for _ in 0..3000 {
            now += 200 * MILLI;
            let mut flow: BTreeMap<VenueKind, f64> = BTreeMap::new();
            for event in world.advance(now) {
                books.entry(event.venue).or_default().apply(event.kind);
                if let EventKind::Trade { qty, taker, .. } = event.kind {
                    let sign = if taker == Side::Buy { 1.0 } else { -1.0 };
                    *flow.entry(event.venue).or_default() += sign * qty as f64;
                }
            }
            for (venue, book) in &books {
                let flow = flow.get(venue).copied().unwrap_or(0.0);
                samples
                    .entry(*venue)
                    .or_default()
                    .push((book.mid(), book.imbalance(), flow));
            }
        }
        for (venue, rows) in &samples {
            let imbalance: Vec<_> = rows
                .windows(6)
                .map(|w| (w[0].1, (w[5].0 - w[0].0) / w[0].0))
                .collect();
            let c = correlation(&imbalance);
            let flow: Vec<_> = rows
                .windows(10)
                .map(|w| {
                    let signed: f64 = w[..5].iter().map(|r| r.2).sum();
                    (signed, (w[9].0 - w[4].0) / w[4].0)
                })
                .collect();
            let f = correlation(&flow);
            assert!(c > 0.1 && c < 0.9, "{venue} {base}: imbalance {c}");
            assert!(f > 0.05 && f < 0.9, "{venue} {base}: flow {f}");
        }
    }
}

#[test]
fn the_regime_changes_each_minute() {
    for seed in 0..20 {
        for minute in 0..30 {
            let (a, b) = (
                regime_of_minute(seed, minute),
                regime_of_minute(seed, minute + 1),
            );
            assert_ne!(a, b, "seed {seed}, minute {minute}");
        }
    }
}
