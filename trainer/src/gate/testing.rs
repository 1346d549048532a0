//! A journal for tests: an hour or so of one synthetic market, traded by the baseline, written through
//! the edge's own desk and journal.

use std::cell::Cell;
use std::path::Path;

use tickerml_edge::desk::{Desk, Effect};
use tickerml_edge::journal::{FileDisk, Header, JournalConfig, Writer, day_name, day_of};
use tickerml_edge::policy::Policy;
use tickerml_shared::engine::{Costs, Engine, Setup};
use tickerml_shared::event::{Body, Depth, DepthKind, Level, Record, Side, Trade, Update};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{Cash, Price, Qty};
use tickerml_shared::paper::fees::Tier;
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::paper::venue::Rules;
use tickerml_shared::rand::Rng;
use tickerml_shared::record::Encoder;
use tickerml_shared::risk::limits::Sectors;
use tickerml_shared::schema::schema_id;
use tickerml_shared::time::{MICROS, MILLIS, SECONDS, Time};

/// When the journal begins: an hour into a day.
pub(crate) const START: Time = Time(1_790_035_200 * SECONDS);
/// What a decision takes on the desk's clock.
pub(crate) const ANSWER_NS: u64 = 400 * MICROS;
/// Units of price in a tick.
const TICK: i64 = 1_000_000;
/// The first mid, in ticks of 0.01.
const FIRST_MID: f64 = 5_000_000.0;

/// A market.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Market {
    /// Seconds.
    pub(crate) seconds: u64,
    /// Ticks by which the price moves with the pressure in a second, on average.
    pub(crate) edge: f64,
    /// Ticks by which it moves besides.
    pub(crate) noise: f64,
    /// Taker fee in millionths.
    pub(crate) fee_ppm: i32,
    /// Of what is drawn.
    pub(crate) seed: u64,
}

impl Market {
    /// The order book tells where the price goes, and trading costs little.
    pub(crate) const PLANTED: Self = Self {
        seconds: 5_400,
        edge: 220.0,
        noise: 150.0,
        fee_ppm: 20,
        seed: 3,
    };
    /// The order book tells nothing, and trading costs what it costs.
    pub(crate) const BARREN: Self = Self {
        edge: 0.0,
        fee_ppm: 1_000,
        ..Self::PLANTED
    };

    /// The account that trades it.
    pub(crate) fn setup(&self) -> Setup {
        let mut instrument = Instrument::unknown(Venue::Binance, "BTCUSDT").expect("short");
        instrument.base = "BTC".try_into().expect("short");
        instrument.quote = "USDT".try_into().expect("short");
        instrument.tick = TICK;
        instrument.lot = 1_000;
        let mut setup = Setup::market_only(vec![instrument]);
        setup.capital = Cash(10_000 * Cash::ONE.0);
        setup.limits.sectors = Sectors::shipped();
        // Positions that can be seen in an hour.
        setup.limits.base_size_bps = 2_500;
        setup.tactic = Tactic::Take;
        setup.costs = vec![(
            Venue::Binance,
            Costs {
                tiers: vec![Tier {
                    volume: Cash::ZERO,
                    maker_fee_ppm: self.fee_ppm,
                    taker_fee_ppm: self.fee_ppm,
                }],
                latency: Latency::Constant {
                    entry_ns: 2_000_000,
                    response_ns: 2_000_000,
                },
                rules: Rules {
                    fees: true,
                    latency: true,
                    ..Rules::hftbacktest(QueueModel::RiskAverse)
                },
            },
        )];
        setup
    }
}

/// What the desk that wrote a journal had at its end.
pub(crate) struct Wrote {
    /// Equity, exact.
    pub(crate) equity: String,
    /// Fills.
    pub(crate) fills: u64,
}

/// Trades a market with the baseline and writes the journal of it into a folder.
pub(crate) fn write(folder: &Path, market: &Market) -> Wrote {
    let setup = market.setup();
    let header = Header {
        schema_id: schema_id().0,
        run_id: 1,
        seed: setup.seed,
        created_ns: START.0,
        instruments: postcard::to_allocvec(&setup).expect("plain data"),
    };
    let path = folder.join(format!("{}.tml", day_name(day_of(START.0))));
    let disk = FileDisk::create(&path).expect("a file");
    let config = JournalConfig::standard(30);
    let (mut writer, _) = Writer::open(disk, &header, config, START.0).expect("a journal");
    let desk = Desk::new(
        Engine::new(setup),
        0,
        Policy::Imbalance,
        SECONDS,
        10 * MILLIS,
        START,
    );
    let mut floor = Floor {
        desk,
        writer: &mut writer,
        clock: Cell::new(0),
        fills: 0,
    };
    floor.desk.start();
    floor.turn(START);
    let mut world = World::new(market);
    for second in 1..=market.seconds {
        // One at a time, so that what follows from each has the next number, as in a trial.
        let at = START.plus(second * SECONDS - 500 * MILLIS);
        for (update, step) in world.second(second, at).into_iter().zip(0..) {
            let at = at.plus(step * 50 * MILLIS);
            floor.desk.push(update, at);
            floor.turn(at.plus(20 * MILLIS));
        }
        let pulse = START.plus(second * SECONDS);
        floor.turn(pulse);
        floor.turn(pulse.plus(MILLIS));
        floor.turn(pulse.plus(30 * MILLIS));
    }
    let wrote = Wrote {
        equity: floor.desk.engine().equity().to_string(),
        fills: floor.fills,
    };
    writer.close().expect("synced");
    wrote
}

/// The desk with its journal.
struct Floor<'a> {
    desk: Desk,
    writer: &'a mut Writer<FileDisk>,
    clock: Cell<u64>,
    fills: u64,
}

impl Floor<'_> {
    /// What is due: durable events first, then one batch.
    fn turn(&mut self, now: Time) {
        self.settle(now);
        let mut records = Vec::new();
        self.desk.collect(now, &mut records);
        assert!(records.len() <= 1, "one at a time");
        for record in &records {
            self.fold(record);
        }
        self.settle(now);
    }

    fn settle(&mut self, now: Time) {
        while let Some(record) = self.desk.poll_durable(now) {
            self.fold(&record);
        }
    }

    fn fold(&mut self, record: &Record) {
        let mut encoder = Encoder::new(Vec::new());
        encoder.push(record);
        let (first, count, bytes) = encoder.finish();
        self.writer
            .append(first, count, record.at.0, &bytes)
            .expect("written");
        self.desk.fold(record, || {
            self.clock.set(self.clock.get() + ANSWER_NS);
            Time(self.clock.get())
        });
        while let Some(effect) = self.desk.poll_effect() {
            self.fills += u64::from(matches!(effect, Effect::Booked { .. }));
        }
    }
}

/// Where the price is and which way it is pressed.
struct World {
    rng: Rng,
    market: Market,
    mid: f64,
    pressure: f64,
    until: u64,
}

impl World {
    fn new(market: &Market) -> Self {
        Self {
            rng: Rng::new(market.seed, 7),
            market: *market,
            mid: FIRST_MID,
            pressure: 0.0,
            until: 0,
        }
    }

    /// Uniform in −1 to 1.
    fn draw(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / 2_147_483_648.0 - 1.0
    }

    /// The book and a trade of one second.
    fn second(&mut self, second: u64, at: Time) -> [Update; 2] {
        if second >= self.until {
            self.pressure = [-1.0, 0.0, 1.0][self.rng.below(3) as usize];
            self.until = second + 20 + self.rng.below(60);
        }
        self.mid += self.pressure * self.market.edge + self.draw() * self.market.noise;
        let bid = (self.mid.floor() as i64) * TICK;
        let weight = |side: f64| {
            let heavy = 1.0 + 0.8 * side * self.pressure;
            Qty((heavy * 2e8) as i64)
        };
        let (bids, asks) = (weight(1.0), weight(-1.0));
        let levels = (0..10_i64)
            .map(|step| (bid - step * TICK, bids))
            .chain((0..10_i64).map(|step| (bid + (1 + step) * TICK, asks)));
        let depth = Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: second,
            bids: 10,
            levels: levels
                .map(|(price, qty)| Level {
                    price: Price(price),
                    qty,
                })
                .collect(),
            checksum: None,
        };
        let aggressor = if self.draw() + self.pressure > 0.0 {
            Side::Buy
        } else {
            Side::Sell
        };
        let trade = Trade {
            id: second,
            price: Price(if aggressor == Side::Buy {
                bid + TICK
            } else {
                bid
            }),
            qty: Qty(1_000_000),
            aggressor,
        };
        let update = |body| Update {
            instrument: InstrumentId(0),
            venue_time: at,
            received: at,
            late: false,
            body,
        };
        [update(Body::Trade(trade)), update(Body::Depth(depth))]
    }
}
