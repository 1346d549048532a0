//! One market event through the engine, with an order of ours waiting in its book and without.

use std::collections::VecDeque;

use tickerml_shared::action::{Action, Choice};
use tickerml_shared::engine::{Costs, Engine, Output, Setup};
use tickerml_shared::event::{
    Body, Decision, Depth, DepthKind, Event, Level, Record, Side, Trade, Update,
};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{Cash, Price, Qty};
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::paper::venue::Rules;
use tickerml_shared::rand::Rng;
use tickerml_shared::risk::limits::{Limits, OTHER};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use crate::meter::Meter;

/// Each has one order at a time: so many rest.
pub(crate) const INSTRUMENTS: u16 = 16;
const START: Time = Time(1_760_000_000 * SECONDS);
const PULSE: u64 = SECONDS / 5;
/// Mean time between two events of the whole market.
const STEP: u64 = MILLIS / 2;
const PRICE: i64 = 1_000_000;

/// What is measured, in the order of the rows.
pub(crate) const WORK: [(&str, &str); 4] = [
    ("depth event", "no order"),
    ("depth event", "an order rests"),
    ("trade event", "no order"),
    ("trade event", "an order rests"),
];

/// What a pass saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) events: usize,
    pub(crate) fills: usize,
    pub(crate) toxic_marks: usize,
    /// Orders resting, summed over the events.
    resting: usize,
}

impl Seen {
    pub(crate) fn mean_resting(&self) -> f64 {
        self.resting as f64 / self.events.max(1) as f64
    }
}

fn setup() -> Setup {
    let instruments = (0..INSTRUMENTS).map(|id| {
        let mut instrument =
            Instrument::unknown(Venue::Binance, &format!("X{id}USDT")).expect("short");
        instrument.base = format!("X{id}").as_str().try_into().expect("short");
        (instrument.price_scale, instrument.qty_scale) = (2, 2);
        instrument
    });
    let instruments: Vec<_> = instruments.collect();
    let mut limits = Limits::shipped();
    let sector = limits.sectors.caps.iter_mut().find(|cap| cap.name == OTHER);
    sector.expect("a shipped sector").cap_bps = 9_000;
    assert_eq!(limits.check(&instruments), Ok(()));
    let rules = Rules {
        queue: QueueModel::Log2,
        queue_position: true,
        partial_fills: true,
        shared_volume: true,
        consumption_ns: SECONDS,
        fees: true,
        latency: true,
        void_on_gap: true,
    };
    let latency = Latency::Constant {
        entry_ns: 5 * MILLIS.cast_signed(),
        response_ns: 5 * MILLIS.cast_signed(),
    };
    let costs = Costs {
        tiers: Vec::new(),
        latency,
        rules,
    };
    Setup {
        capital: Cash(1_000_000 * Cash::ONE.0),
        limits,
        costs: vec![(Venue::Binance, costs)],
        tactic: Tactic::Make {
            patience_ns: 20 * SECONDS,
        },
        ..Setup::market_only(instruments)
    }
}

/// The engine, and the records that go into it.
struct Desk {
    engine: Engine,
    seq: u64,
}

impl Desk {
    fn record(&mut self, at: Time, event: Event) -> Record {
        self.seq += 1;
        let seq = self.seq;
        Record { seq, at, event }
    }

    /// Hands a record in and gives back what must become durable and return.
    fn handle(&mut self, record: &Record, seen: &mut Seen, returns: &mut VecDeque<Event>) {
        self.engine.handle(record);
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Commit(event) => returns.push_back(event),
                Output::Booked { .. } => seen.fills += 1,
                Output::Toxic(_) => seen.toxic_marks += 1,
                Output::Resync { gap, .. } => panic!("{gap:?}"),
                Output::Ask { .. }
                | Output::Verdict { .. }
                | Output::Missed(_)
                | Output::History { .. }
                | Output::Step(_)
                | Output::Arbitrage(_)
                | Output::Funding(_)
                | Output::Quality(_) => {}
            }
        }
    }

    fn settle(&mut self, at: Time, seen: &mut Seen, returns: &mut VecDeque<Event>) {
        while let Some(event) = returns.pop_front() {
            let record = self.record(at, event);
            self.handle(&record, seen, returns);
        }
    }

    /// A pulse, and for every instrument without an order a decision to buy or to sell.
    fn pulse(&mut self, at: Time, trades: bool, seen: &mut Seen, returns: &mut VecDeque<Event>) {
        let record = self.record(at, Event::Pulse);
        let asked = record.seq;
        self.handle(&record, seen, returns);
        self.settle(at, seen, returns);
        for id in (0..INSTRUMENTS).map(InstrumentId) {
            if !trades || self.engine.orders().of(id).next().is_some() {
                continue;
            }
            let (choice, probabilities) = if self.engine.ledger().position(id).qty.0 > 0 {
                (Choice::Sell, [900_000, 50_000, 50_000])
            } else {
                (Choice::Buy, [50_000, 50_000, 900_000])
            };
            let decision = Decision {
                instrument: id,
                asked,
                action: Action {
                    choice,
                    probabilities,
                    size: 1_000_000,
                    risk: 0,
                    value: 0,
                },
                latency_ns: 0,
            };
            let record = self.record(at, Event::Decision(decision));
            self.handle(&record, seen, returns);
            self.settle(at, seen, returns);
        }
    }
}

/// A market whose touch moves by a tick now and then.
struct Market {
    id: InstrumentId,
    /// The best bid; the best ask is two ticks above.
    bid: i64,
    book: u64,
}

const fn level(price: i64, qty: i64) -> Level {
    Level {
        price: Price(price),
        qty: Qty(qty),
    }
}

impl Market {
    fn depth(&mut self, kind: DepthKind, bids: &[Level], asks: &[Level]) -> Body {
        self.book += 1;
        Body::Depth(Depth {
            kind,
            first: true,
            last: true,
            id: self.book,
            bids: u8::try_from(bids.len()).expect("few"),
            levels: bids.iter().chain(asks).copied().collect(),
            checksum: None,
        })
    }

    fn snapshot(&mut self) -> Body {
        let side = |first: i64, step: i64| (0..12).map(move |n| level(first + step * n, 500 + n));
        let (bids, asks): (Vec<_>, Vec<_>) = (
            side(self.bid, -1).collect(),
            side(self.bid + 2, 1).collect(),
        );
        let kind = DepthKind::Snapshot {
            truncated: false,
            limit: 0,
        };
        self.depth(kind, &bids, &asks)
    }

    fn step(&mut self, rng: &mut Rng) -> Body {
        if rng.below(4) == 0 {
            let aggressor = if rng.below(2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let price = match aggressor {
                Side::Buy => self.bid + 2,
                Side::Sell => self.bid,
            };
            return Body::Trade(Trade {
                id: 0,
                price: Price(price),
                qty: Qty(1 + rng.below(100).cast_signed()),
                aggressor,
            });
        }
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        for _ in 0..1 + rng.below(6) {
            let away = rng.below(12).cast_signed();
            let qty = 1 + rng.below(1_000).cast_signed();
            bids.push(level(self.bid - away, qty));
            asks.push(level(self.bid + 2 + away, qty));
        }
        match rng.below(200) {
            0 => {
                bids.push(level(self.bid, 0));
                bids.retain(|level| level.price.0 != self.bid || level.qty.0 == 0);
                bids.push(level(self.bid - 1, 500));
                asks.push(level(self.bid + 1, 500));
                self.bid -= 1;
            }
            1 => {
                asks.retain(|level| level.price.0 != self.bid + 2);
                asks.extend([level(self.bid + 2, 0), level(self.bid + 3, 500)]);
                bids.push(level(self.bid + 1, 500));
                self.bid += 1;
            }
            _ => {}
        }
        self.depth(DepthKind::Delta, &bids, &asks)
    }
}

/// One pass over so many events; with `trades`, orders are kept waiting.
pub(crate) fn pass(meters: &mut [Meter; WORK.len()], trades: bool, events: usize) -> Seen {
    let engine = Engine::new(setup());
    let mut desk = Desk { engine, seq: 0 };
    let mut rng = Rng::new(5, 1);
    let mut markets: Vec<_> = (0..INSTRUMENTS)
        .map(|id| Market {
            id: InstrumentId(id),
            bid: PRICE,
            book: 0,
        })
        .collect();
    let (mut seen, mut returns) = (Seen::default(), VecDeque::with_capacity(256));
    let (mut now, mut pulse) = (START, START.plus(PULSE));
    let update = |market: &Market, body: Body, now: Time| {
        Event::Market(Update {
            instrument: market.id,
            venue_time: now.minus(MILLIS),
            received: now,
            late: false,
            body,
        })
    };
    for market in &mut markets {
        let body = market.snapshot();
        let record = desk.record(now, update(market, body, now));
        desk.handle(&record, &mut seen, &mut returns);
    }
    let measured = if trades { [1, 3] } else { [0, 2] };
    for place in measured {
        meters[place].begin(events);
    }
    for place in 0..events {
        now = now.plus(rng.below(2 * STEP));
        if now >= pulse {
            desk.pulse(now, trades, &mut seen, &mut returns);
            pulse = now.plus(PULSE);
        }
        let market = &mut markets[rng.below(u64::from(INSTRUMENTS)) as usize];
        let body = market.step(&mut rng);
        let kind = if matches!(body, Body::Trade(_)) { 2 } else { 0 };
        let rests = desk.engine.paper().rests(market.id);
        let record = desk.record(now, update(market, body, now));
        seen.events += 1;
        let resting = (0..INSTRUMENTS).filter(|id| desk.engine.paper().rests(InstrumentId(*id)));
        seen.resting += resting.count();
        if rests == trades {
            let warm = place > events / 3;
            let meter = &mut meters[kind + usize::from(trades)];
            meter.time(warm, || desk.handle(&record, &mut seen, &mut returns));
        } else {
            desk.handle(&record, &mut seen, &mut returns);
        }
        desk.settle(now, &mut seen, &mut returns);
    }
    for place in measured {
        meters[place].end();
    }
    seen
}
