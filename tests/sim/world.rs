//! The seeded market: one efficient price per base asset, one true book per venue and symbol.
//!
//! Nothing here reads a clock. Each base asset and each instrument has a generator of its own, so
//! the tape does not depend on the steps in which [`World::advance`] is called. Only additions,
//! multiplications, divisions and square roots of floats are used (no library transcendentals),
//! so one seed gives one tape on every machine.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLI: u64 = 1_000_000;

/// Step of the efficient price path, nanoseconds.
const PATH_STEP: u64 = 10 * MILLI;
/// How far ahead of now the path is known; informed flow looks [`HORIZON`] ahead.
const PATH_AHEAD: u64 = 2 * SECOND;
/// How much of the past is kept, for venues that lag.
const PATH_BEHIND: u64 = SECOND;
/// How far ahead informed traders see, nanoseconds.
const HORIZON: u64 = 1_200 * MILLI;
/// A move of this fraction over [`HORIZON`] makes informed flow fully one-sided.
const FULL_SIGNAL: f64 = 8e-5;
/// Fraction of the price between two levels on which orders are placed.
const GRID: f64 = 5e-5;
/// Levels a side that never vanish.
pub const MIN_LEVELS: usize = 60;
/// Levels a side at the start.
const START_LEVELS: usize = 84;
/// A market order walks at most so many levels.
const MAX_SWEEP: usize = 6;
/// Trades that one trade brings about on average (branching ratio of the self-excitation).
const BRANCHING: f64 = 0.35;
/// Decay of that excitation, per second.
const DECAY: f64 = 2.5;
/// Ceiling of the excitation, trades a second.
const MAX_EXCITATION: f64 = 25.0;

/// A venue that is simulated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum VenueKind {
    /// Binance spot.
    Binance,
    /// Coinbase Advanced Trade.
    Coinbase,
    /// Kraken spot, WebSocket v2.
    Kraken,
    /// KuCoin spot, Classic and UTA.
    Kucoin,
}

impl VenueKind {
    /// All four, in order.
    pub const ALL: [VenueKind; 4] = [
        VenueKind::Binance,
        VenueKind::Coinbase,
        VenueKind::Kraken,
        VenueKind::Kucoin,
    ];

    /// The lower-case name, as in `addresses.json`.
    pub fn name(self) -> &'static str {
        match self {
            VenueKind::Binance => "binance",
            VenueKind::Coinbase => "coinbase",
            VenueKind::Kraken => "kraken",
            VenueKind::Kucoin => "kucoin",
        }
    }
}

impl fmt::Display for VenueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A side of the book, or the side of the order that took liquidity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// Bids; a buying taker.
    Buy,
    /// Asks; a selling taker.
    Sell,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
}

/// One market: a symbol on a venue, with the units of its integers.
#[derive(Clone, PartialEq, Debug)]
pub struct Instrument {
    /// Where it trades.
    pub venue: VenueKind,
    /// The venue's own symbol, such as `BTCUSDT`, `BTC-USD`, `BTC/USD`, `BTC-USDT`.
    pub symbol: Arc<str>,
    /// Base asset, such as `BTC`: instruments of one base share an efficient price.
    pub base: String,
    /// Quote asset, such as `USDT`.
    pub quote: String,
    /// One tick is `10^-price_decimals`.
    pub price_decimals: u32,
    /// One lot is `10^-qty_decimals`.
    pub qty_decimals: u32,
    /// The efficient price at the start, in quote units.
    pub start_price: f64,
}

/// The four default symbols of a venue: BTC, ETH, SOL and XRP against USDT or USD.
pub fn default_instruments(venue: VenueKind) -> Vec<Instrument> {
    // Base, start price, and price and quantity decimals as the venues list them.
    type Row = (&'static str, f64, u32, u32);
    let (quote, glue, rows): (&str, &str, [Row; 4]) = match venue {
        VenueKind::Binance => (
            "USDT",
            "",
            [
                ("BTC", 64_000.0, 2, 5),
                ("ETH", 3_400.0, 2, 4),
                ("SOL", 180.0, 2, 3),
                ("XRP", 2.4, 4, 1),
            ],
        ),
        VenueKind::Coinbase => (
            "USD",
            "-",
            [
                ("BTC", 64_000.0, 2, 8),
                ("ETH", 3_400.0, 2, 8),
                ("SOL", 180.0, 2, 8),
                ("XRP", 2.4, 4, 6),
            ],
        ),
        VenueKind::Kraken => (
            "USD",
            "/",
            [
                ("BTC", 64_000.0, 1, 8),
                ("ETH", 3_400.0, 2, 8),
                ("SOL", 180.0, 2, 8),
                ("XRP", 2.4, 5, 8),
            ],
        ),
        VenueKind::Kucoin => (
            "USDT",
            "-",
            [
                ("BTC", 64_000.0, 1, 8),
                ("ETH", 3_400.0, 2, 7),
                ("SOL", 180.0, 3, 4),
                ("XRP", 2.4, 5, 4),
            ],
        ),
    };
    rows.into_iter()
        .map(
            |(base, start_price, price_decimals, qty_decimals)| Instrument {
                venue,
                symbol: format!("{base}{glue}{quote}").into(),
                base: base.to_string(),
                quote: quote.to_string(),
                price_decimals,
                qty_decimals,
                start_price,
            },
        )
        .collect()
}

/// The sixteen default instruments of the four venues.
pub fn all_default_instruments() -> Vec<Instrument> {
    VenueKind::ALL
        .into_iter()
        .flat_map(default_instruments)
        .collect()
}

/// What happened at a venue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A trade; the level change that it causes follows as an event of its own.
    Trade {
        /// Price, ticks.
        price: i64,
        /// Quantity, lots.
        qty: i64,
        /// Side of the order that took liquidity.
        taker: Side,
        /// Consecutive per instrument, from 1.
        id: u64,
    },
    /// A level of the book now holds this absolute quantity.
    Level {
        /// Bids or asks.
        side: Side,
        /// Price, ticks.
        price: i64,
        /// New quantity, lots; 0 removes the level.
        qty: i64,
    },
}

/// One event of the market.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorldEvent {
    /// Where.
    pub venue: VenueKind,
    /// The venue's own symbol.
    pub symbol: Arc<str>,
    /// Venue time, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// What.
    pub kind: EventKind,
}

/// The character of one minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Regime {
    /// Low volatility, no drift.
    Calm,
    /// A steady drift that informed flow leans into.
    Trending,
    /// High volatility, jumps and busier flow.
    Volatile,
}

impl Regime {
    /// Volatility per square root of a second, as a fraction of the price.
    fn volatility(self) -> f64 {
        match self {
            Regime::Calm => 4e-5,
            Regime::Trending => 5e-5,
            Regime::Volatile => 1.1e-4,
        }
    }
    /// Drift a second, as a fraction of the price, before its sign.
    fn drift(self) -> f64 {
        match self {
            Regime::Trending => 6e-5,
            _ => 0.0,
        }
    }
    /// Jumps a second.
    fn jump_rate(self) -> f64 {
        match self {
            Regime::Calm => 0.01,
            Regime::Trending => 0.02,
            Regime::Volatile => 0.10,
        }
    }
    /// Multiplier of all event rates.
    fn activity(self) -> f64 {
        match self {
            Regime::Calm => 0.8,
            Regime::Trending => 1.0,
            Regime::Volatile => 1.3,
        }
    }
}

/// Largest [`Regime::activity`], for thinning.
const MAX_ACTIVITY: f64 = 1.3;

/// SplitMix64 (Steele, Lea and Flood 2014): small, seedable, good enough for a market of noise.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }
    /// A generator for one purpose: the seed and a label decide the stream.
    pub fn labelled(seed: u64, label: &str) -> Rng {
        // FNV-1a over the label, so that streams do not depend on the order of construction.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut rng = Rng(seed ^ hash);
        rng.next_u64();
        rng
    }
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() <= p
    }
    /// Uniform in `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next_u64() % n }
    }
    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -ln(self.unit())
    }
    /// Standard normal, near enough: twelve uniforms (Irwin-Hall), tails end at six.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Natural logarithm for `x` in (0, 1] out of basic operations, equal on every platform.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52));
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let (mut term, mut sum) = (z, 0.0);
    for k in 0..10 {
        sum += term / f64::from(2 * k + 1);
        term *= z * z;
    }
    2.0 * sum + exponent as f64 * std::f64::consts::LN_2
}

/// `e^-y` for `y >= 0` out of basic operations, equal on every platform; relative error below
/// 1e-3 up to 5.
fn decayed(y: f64) -> f64 {
    if y > 30.0 {
        return 0.0;
    }
    let small = y / 256.0;
    let mut power = 1.0 / (1.0 + small + small * small / 2.0);
    for _ in 0..8 {
        power *= power;
    }
    power
}

/// Scrambles a word; used for facts that must not depend on how far a stream has run.
fn scramble(seed: u64, a: u64) -> u64 {
    Rng(seed ^ a.wrapping_mul(0x2545_f491_4f6c_dd1d)).next_u64()
}

/// The regime of a minute: calm every third minute, trending and volatile between them in an order
/// drawn from the seed, so that each minute differs from the one before.
pub fn regime_of_minute(seed: u64, minute: u64) -> Regime {
    let trending_first = scramble(seed, minute / 3) & 1 == 0;
    match (minute % 3, trending_first) {
        (0, _) => Regime::Calm,
        (1, true) | (2, false) => Regime::Trending,
        _ => Regime::Volatile,
    }
}

/// The efficient price of one base asset, known a little ahead of now.
#[derive(Debug)]
struct Path {
    seed: u64,
    base_label: u64,
    rng: Rng,
    start_ns: u64,
    /// Index of the step at the front of `prices`.
    first: u64,
    prices: VecDeque<f64>,
}

impl Path {
    fn new(seed: u64, base: &str, start_ns: u64, price: f64) -> Path {
        let mut rng = Rng::labelled(seed, base);
        let base_label = rng.next_u64();
        Path {
            seed,
            base_label,
            rng,
            start_ns,
            first: 0,
            prices: VecDeque::from([price]),
        }
    }

    fn minute(&self, time_ns: u64) -> u64 {
        time_ns.saturating_sub(self.start_ns) / (60 * SECOND)
    }

    fn regime(&self, time_ns: u64) -> Regime {
        regime_of_minute(self.seed, self.minute(time_ns))
    }

    /// Makes the path known from a little before `time_ns` to [`PATH_AHEAD`] after it.
    fn extend(&mut self, time_ns: u64) {
        let wanted = (time_ns.saturating_sub(self.start_ns) + PATH_AHEAD) / PATH_STEP;
        while self.first + self.prices.len() as u64 <= wanted {
            let step = self.first + self.prices.len() as u64;
            let at = self.start_ns + step * PATH_STEP;
            let last = *self
                .prices
                .back()
                .expect("the path holds at least its start");
            let regime = self.regime(at);
            let dt = PATH_STEP as f64 / SECOND as f64;
            // Most assets trend together; one in four goes its own way.
            let minute = self.minute(at);
            let own = scramble(self.base_label, minute);
            let sign_bits = if own.is_multiple_of(4) {
                own >> 8
            } else {
                scramble(self.seed ^ 0x5157, minute)
            };
            let sign = if sign_bits & 1 == 0 { 1.0 } else { -1.0 };
            let mut change =
                sign * regime.drift() * dt + regime.volatility() * dt.sqrt() * self.rng.normal();
            if self.rng.chance(regime.jump_rate() * dt) {
                let up = if self.rng.chance(0.5) { 1.0 } else { -1.0 };
                change += up * (2e-4 + 3e-4 * self.rng.exponential().min(3.0));
            }
            self.prices.push_back(last * (1.0 + change));
        }
        let oldest = time_ns
            .saturating_sub(self.start_ns)
            .saturating_sub(PATH_BEHIND)
            / PATH_STEP;
        while self.first < oldest && self.prices.len() > 1 {
            self.prices.pop_front();
            self.first += 1;
        }
    }

    fn at(&self, time_ns: u64) -> f64 {
        let step = time_ns.saturating_sub(self.start_ns) / PATH_STEP;
        let index = step
            .saturating_sub(self.first)
            .min(self.prices.len() as u64 - 1);
        self.prices[index as usize]
    }

    /// Where the price is about to go, in [-1, 1].
    fn signal(&self, time_ns: u64) -> f64 {
        let (now, then) = (self.at(time_ns), self.at(time_ns + HORIZON));
        ((then - now) / (now * FULL_SIGNAL)).clamp(-1.0, 1.0)
    }
}

/// One market and its true book.
#[derive(Debug)]
struct Market {
    instrument: Instrument,
    path: usize,
    rng: Rng,
    /// The venue sees the efficient price so late.
    lag_ns: u64,
    /// Factor between this venue's quote currency and the efficient price.
    basis: f64,
    ticks_per_unit: f64,
    lots_per_quote: f64,
    grid: i64,
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    clock_ns: u64,
    candidate_ns: u64,
    /// Rate bound at which the candidate was drawn.
    bound: f64,
    excitation: f64,
    trade_id: u64,
    opened: bool,
}

impl Market {
    fn levels(&self, side: Side) -> &BTreeMap<i64, i64> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn best_bid(&self) -> i64 {
        *self.bids.keys().next_back().expect("a side never empties")
    }

    fn best_ask(&self) -> i64 {
        *self.asks.keys().next().expect("a side never empties")
    }

    fn emit(&self, time_ns: u64, kind: EventKind, out: &mut Vec<WorldEvent>) {
        out.push(WorldEvent {
            venue: self.instrument.venue,
            symbol: self.instrument.symbol.clone(),
            time_ns,
            kind,
        });
    }

    /// Sets a level to an absolute quantity and says so.
    fn set(&mut self, side: Side, price: i64, qty: i64, now: u64, out: &mut Vec<WorldEvent>) {
        let levels = match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        let before = if qty == 0 {
            levels.remove(&price)
        } else {
            levels.insert(price, qty)
        };
        if before.unwrap_or(0) != qty {
            self.emit(now, EventKind::Level { side, price, qty }, out);
        }
    }

    /// A random quantity worth about `quote` units of the quote currency, at least one lot.
    fn draw_qty(&mut self, quote: f64) -> i64 {
        let raw = quote * (0.05 + self.rng.exponential()) * self.lots_per_quote;
        let mut lots = raw.max(1.0) as i64;
        // People like round quantities: they also make trailing zeros on the wire.
        if self.rng.chance(0.3) {
            let round = 10i64.pow(self.instrument.qty_decimals.saturating_sub(2));
            if lots > round {
                lots -= lots % round;
            }
        }
        lots.max(1)
    }

    /// A price on the placement grid at or below `price`.
    fn floor_grid(&self, price: f64) -> i64 {
        (price / self.grid as f64).floor() as i64 * self.grid
    }

    fn open(&mut self, price: f64, now: u64, out: &mut Vec<WorldEvent>) {
        let mid = self.floor_grid(price * self.ticks_per_unit);
        for k in 0..START_LEVELS as i64 {
            for side in [Side::Buy, Side::Sell] {
                let qty = self.draw_qty(5_000.0 + 400.0 * k as f64);
                let at = match side {
                    Side::Buy => mid - k * self.grid,
                    Side::Sell => mid + (k + 1) * self.grid,
                };
                self.set(side, at, qty, now, out);
            }
        }
    }

    /// One order of the flow, given the (lagged) efficient price in ticks and the signal.
    fn act(
        &mut self,
        market_order: bool,
        reference: f64,
        signal: f64,
        max_levels: usize,
        now: u64,
        out: &mut Vec<WorldEvent>,
    ) {
        if market_order {
            self.market_order(reference, signal, now, out);
        } else {
            self.book_order(reference, signal, max_levels, now, out);
        }
        for side in [Side::Buy, Side::Sell] {
            while self.levels(side).len() < MIN_LEVELS {
                self.add_outer(side, now, out);
            }
        }
    }

    fn market_order(&mut self, reference: f64, signal: f64, now: u64, out: &mut Vec<WorldEvent>) {
        let (bid, ask, grid) = (
            self.best_bid() as f64,
            self.best_ask() as f64,
            self.grid as f64,
        );
        // Quotes left behind by the efficient price are picked off.
        let lean = if ask < reference - 0.5 * grid {
            0.92
        } else if bid > reference + 0.5 * grid {
            0.08
        } else {
            0.5 + 0.42 * signal
        };
        let taker = if self.rng.chance(lean) {
            Side::Buy
        } else {
            Side::Sell
        };
        let mut left = self.draw_qty(1_200.0 * (1.0 + 1.5 * signal.abs()));
        for _ in 0..MAX_SWEEP {
            let makers = taker.other();
            if left == 0 || self.levels(makers).len() <= 2 {
                break;
            }
            let price = match taker {
                Side::Buy => self.best_ask(),
                Side::Sell => self.best_bid(),
            };
            let there = self.levels(makers)[&price];
            let qty = left.min(there);
            self.trade_id += 1;
            self.emit(
                now,
                EventKind::Trade {
                    price,
                    qty,
                    taker,
                    id: self.trade_id,
                },
                out,
            );
            self.set(makers, price, there - qty, now, out);
            left -= qty;
        }
        self.excitation += BRANCHING * DECAY;
    }

    fn book_order(
        &mut self,
        reference: f64,
        signal: f64,
        max_levels: usize,
        now: u64,
        out: &mut Vec<WorldEvent>,
    ) {
        let grid = self.grid;
        let g = grid as f64;
        // Quotes that the efficient price has passed are pulled, several when it jumped.
        for side in [Side::Buy, Side::Sell] {
            let behind = match side {
                Side::Buy => self.best_bid() as f64 - reference,
                Side::Sell => reference - self.best_ask() as f64,
            };
            if behind > 0.25 * g && self.rng.chance(0.75) {
                let pulls = 1 + (behind / g).min(8.0) as usize;
                for _ in 0..pulls {
                    if self.levels(side).len() <= MIN_LEVELS {
                        self.add_outer(side, now, out);
                    }
                    let price = match side {
                        Side::Buy => self.best_bid(),
                        Side::Sell => self.best_ask(),
                    };
                    self.set(side, price, 0, now, out);
                }
                return;
            }
        }
        // A wide gap is filled by quotes nearer to the efficient price.
        for side in [Side::Buy, Side::Sell] {
            let (gap, price) = match side {
                Side::Buy => {
                    let price = self
                        .floor_grid(reference - 0.4 * g)
                        .min(self.best_ask() - grid);
                    (price - self.best_bid(), price)
                }
                Side::Sell => {
                    let price =
                        (self.floor_grid(reference + 0.4 * g) + grid).max(self.best_bid() + grid);
                    (self.best_ask() - price, price)
                }
            };
            if gap > 0 && self.levels(side).len() < max_levels && self.rng.chance(0.7) {
                // Whoever knows better shows more size on the side that will be right.
                let lean = if side == Side::Buy { signal } else { -signal };
                let qty = self.draw_qty(9_000.0 * (1.0 + 0.85 * lean));
                self.set(side, price, qty, now, out);
                return;
            }
        }
        // Depth is kept within its band by orders at the far end.
        for side in [Side::Buy, Side::Sell] {
            let levels = self.levels(side).len();
            if levels + 14 < START_LEVELS && self.rng.chance(0.5) {
                self.add_outer(side, now, out);
                return;
            }
            if levels + 4 > max_levels && self.rng.chance(0.5) {
                let worst = match side {
                    Side::Buy => *self.bids.keys().next().expect("a side never empties"),
                    Side::Sell => *self.asks.keys().next_back().expect("a side never empties"),
                };
                self.set(side, worst, 0, now, out);
                return;
            }
        }
        let add = self.rng.chance(0.5);
        // Informed makers add where the price is going from, and leave where it is going to.
        let favoured = if self.rng.chance(0.5 + 0.46 * signal) {
            Side::Buy
        } else {
            Side::Sell
        };
        let side = if add { favoured } else { favoured.other() };
        let mut steps = 0i64;
        if self.rng.chance(0.7) {
            while steps < 20 && self.rng.chance(0.5) {
                steps += 1;
            }
        } else {
            steps = self.rng.below(START_LEVELS as u64) as i64;
        }
        if add {
            let price = match side {
                Side::Buy => self.best_bid() - steps * grid,
                Side::Sell => self.best_ask() + steps * grid,
            };
            let there = self.levels(side).get(&price).copied();
            if there.is_none() && self.levels(side).len() >= max_levels {
                return;
            }
            let qty = self.draw_qty(6_000.0 + 100.0 * steps as f64);
            self.set(side, price, there.unwrap_or(0) + qty, now, out);
        } else {
            let mut keys: Box<dyn Iterator<Item = (&i64, &i64)>> = match side {
                Side::Buy => Box::new(self.bids.iter().rev()),
                Side::Sell => Box::new(self.asks.iter()),
            };
            let Some((price, there)) = keys.nth(steps as usize).map(|(p, q)| (*p, *q)) else {
                return;
            };
            drop(keys);
            let qty = self.draw_qty(6_000.0 + 100.0 * steps as f64);
            let whole = self.rng.chance(0.3) || qty >= there;
            if whole && self.levels(side).len() <= MIN_LEVELS {
                return;
            }
            self.set(side, price, if whole { 0 } else { there - qty }, now, out);
        }
    }

    /// Adds a level beyond the worst one.
    fn add_outer(&mut self, side: Side, now: u64, out: &mut Vec<WorldEvent>) {
        let gap = (1 + self.rng.below(2) as i64) * self.grid;
        let price = match side {
            Side::Buy => *self.bids.keys().next().expect("a side never empties") - gap,
            Side::Sell => *self.asks.keys().next_back().expect("a side never empties") + gap,
        };
        let qty = self.draw_qty(20_000.0);
        self.set(side, price, qty, now, out);
    }

    /// Draws the next candidate of the thinned process.
    fn schedule(&mut self, book_rate: f64, trade_rate: f64) {
        // The excitation only decays until then, so its present value bounds it.
        self.bound = MAX_ACTIVITY * (0.85 * book_rate + 0.85 * trade_rate) + self.excitation;
        let wait = self.rng.exponential() / self.bound;
        self.candidate_ns = self.clock_ns + ((wait * SECOND as f64) as u64).max(1);
    }
}

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Decides everything.
    pub seed: u64,
    /// The markets.
    pub instruments: Vec<Instrument>,
    /// Venue time of the first event, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Level changes a second and symbol, about.
    pub book_rate: f64,
    /// Trades a second and symbol, about.
    pub trade_rate: f64,
    /// Levels a side never exceed this; with the default, 100 levels a side are the whole book.
    pub max_levels: usize,
}

impl WorldConfig {
    /// The sixteen default markets at the default rates: 20 level changes and 2 trades a second.
    pub fn new(seed: u64, start_ns: u64) -> WorldConfig {
        WorldConfig {
            seed,
            instruments: all_default_instruments(),
            start_ns,
            book_rate: 20.0,
            trade_rate: 2.0,
            max_levels: 96,
        }
    }
}

/// The seeded market.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    paths: Vec<(String, Path)>,
    markets: Vec<Market>,
    now_ns: u64,
    events: Vec<WorldEvent>,
}

impl World {
    /// A world of these instruments at the default rates.
    pub fn new(seed: u64, instruments: Vec<Instrument>, start_ns: u64) -> World {
        World::with_config(WorldConfig {
            instruments,
            ..WorldConfig::new(seed, start_ns)
        })
    }

    /// A world as configured. Rates below zero count as zero; `max_levels` is at least 90.
    pub fn with_config(mut config: WorldConfig) -> World {
        config.max_levels = config.max_levels.max(START_LEVELS + 6);
        config.book_rate = config.book_rate.max(0.001);
        config.trade_rate = config.trade_rate.max(0.0);
        let mut paths: Vec<(String, Path)> = Vec::new();
        let mut markets = Vec::new();
        for instrument in &config.instruments {
            let path = paths.iter().position(|(base, _)| *base == instrument.base);
            let path = path.unwrap_or_else(|| {
                let path = Path::new(
                    config.seed,
                    &instrument.base,
                    config.start_ns,
                    instrument.start_price,
                );
                paths.push((instrument.base.clone(), path));
                paths.len() - 1
            });
            let label = format!("{}:{}", instrument.venue, instrument.symbol);
            let ticks_per_unit = 10i64.pow(instrument.price_decimals) as f64;
            let mut market = Market {
                path,
                rng: Rng::labelled(config.seed, &label),
                lag_ns: match instrument.venue {
                    VenueKind::Binance => 0,
                    VenueKind::Coinbase => 40 * MILLI,
                    VenueKind::Kraken => 90 * MILLI,
                    VenueKind::Kucoin => 140 * MILLI,
                },
                basis: if instrument.quote == "USDT" {
                    1.0
                } else {
                    1.0002
                },
                ticks_per_unit,
                lots_per_quote: 10i64.pow(instrument.qty_decimals) as f64 / instrument.start_price,
                grid: ((instrument.start_price * GRID * ticks_per_unit) as i64).max(1),
                bids: BTreeMap::new(),
                asks: BTreeMap::new(),
                clock_ns: config.start_ns,
                candidate_ns: config.start_ns,
                bound: 1.0,
                excitation: 0.0,
                trade_id: 0,
                opened: false,
                instrument: instrument.clone(),
            };
            // Round the placement grid to a short number, as people would.
            let mut unit = 1;
            while market.grid / unit >= 10 {
                unit *= 10;
            }
            market.grid -= market.grid % unit;
            markets.push(market);
        }
        let now_ns = config.start_ns;
        World {
            config,
            paths,
            markets,
            now_ns,
            events: Vec::new(),
        }
    }

    /// The markets, in the order given.
    pub fn instruments(&self) -> &[Instrument] {
        &self.config.instruments
    }

    /// The time up to which the world has been lived.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The character of the present minute.
    pub fn regime(&self) -> Regime {
        let minute = self.now_ns.saturating_sub(self.config.start_ns) / (60 * SECOND);
        regime_of_minute(self.config.seed, minute)
    }

    /// Lives until `to_ns` (inclusive) and returns what happened, in time order. The first call
    /// opens the books with a `Level` event per level at the start time.
    pub fn advance(&mut self, to_ns: u64) -> &[WorldEvent] {
        self.events.clear();
        let (book_rate, trade_rate) = (self.config.book_rate, self.config.trade_rate);
        for market in &mut self.markets {
            if !market.opened {
                market.opened = true;
                let path = &self.paths[market.path].1;
                let price = path.at(self.config.start_ns) * market.basis;
                market.open(price, self.config.start_ns, &mut self.events);
                market.schedule(book_rate, trade_rate);
            }
        }
        loop {
            let next = self
                .markets
                .iter()
                .enumerate()
                .min_by_key(|(i, m)| (m.candidate_ns, *i));
            let Some((index, market)) = next else { break };
            let at = market.candidate_ns;
            if at > to_ns {
                break;
            }
            let market = &mut self.markets[index];
            let path = &mut self.paths[market.path].1;
            path.extend(at);
            let elapsed = (at - market.clock_ns) as f64 / SECOND as f64;
            market.clock_ns = at;
            market.excitation = (market.excitation * decayed(DECAY * elapsed)).min(MAX_EXCITATION);
            let signal = path.signal(at);
            let activity = path.regime(at).activity();
            // A third of the mean rate comes of itself; informed bursts and self-excitation bring
            // the rest. One book order changes more than one level on average.
            let trades = trade_rate * activity * (0.28 + 0.42 * signal.abs()) + market.excitation;
            let changes = 0.85 * book_rate * activity;
            let draw = market.rng.unit() * market.bound;
            if draw <= trades + changes {
                let seen = at.saturating_sub(market.lag_ns);
                let reference = path.at(seen) * market.basis * market.ticks_per_unit;
                let market_order = draw <= trades;
                let max_levels = self.config.max_levels;
                market.act(
                    market_order,
                    reference,
                    signal,
                    max_levels,
                    at,
                    &mut self.events,
                );
            }
            market.schedule(book_rate, trade_rate);
        }
        self.now_ns = self.now_ns.max(to_ns);
        &self.events
    }
}

#[cfg(test)]
mod tests;
