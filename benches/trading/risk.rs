//! The risk gate with fifty instruments, all held and all correlated.

use std::collections::VecDeque;
use std::hint::black_box;

use tickerml_shared::action::{Action, Choice};
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{Cash, Price, Qty};
use tickerml_shared::rand::Rng;
use tickerml_shared::risk::correlation::{Correlation, WINDOW};
use tickerml_shared::risk::gate::{Account, Act, Gate, Held, Observation, Situation};
use tickerml_shared::risk::limits::{Limits, OTHER};
use tickerml_shared::time::{DAYS, MINUTES, SECONDS, Time};

use crate::meter::Meter;

/// Instruments of the gate.
pub(crate) const INSTRUMENTS: usize = 50;
/// Calls of a pass, and of a test run.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) judge: usize,
    pub(crate) others: usize,
}

pub(crate) const FULL: Calls = Calls {
    judge: 200_000,
    others: 2_000,
};
pub(crate) const QUICK: Calls = Calls {
    judge: 1_000,
    others: 20,
};
/// Both ways to the same coefficient agree to this.
const TOLERANCE: f64 = 1e-9;
/// A Thursday, so that no pulse begins a week.
const START: Time = Time(20_411 * DAYS);
const EQUITY: Cash = Cash(1_000_000 * Cash::ONE.0);
/// Its first price; prices and quantities have two decimals.
const PRICE: i64 = 10_000;

/// What is measured, in the order of the rows.
pub(crate) const WORK: [(&str, &str); 7] = [
    ("judge", "ours"),
    ("observe", "ours"),
    ("pulse, no sample", "ours"),
    ("pulse, samples", "ours"),
    ("table", "ours"),
    ("correlation", "ours"),
    ("correlation", "recomputed in f64"),
];

/// The account and its market.
struct World {
    rng: Rng,
    gate: Gate,
    held: Vec<Held>,
    mids: Vec<i64>,
    at: Time,
}

impl World {
    fn new() -> Self {
        let instruments: Vec<_> = (0..INSTRUMENTS)
            .map(|id| {
                let mut instrument =
                    Instrument::unknown(Venue::Binance, &format!("X{id}USDT")).expect("short");
                instrument.base = format!("X{id}").as_str().try_into().expect("short");
                (instrument.price_scale, instrument.qty_scale) = (2, 2);
                instrument
            })
            .collect();
        let mut limits = Limits::shipped();
        // They are all of one sector, which may hold all that the other caps leave.
        let sector = limits.sectors.caps.iter_mut().find(|cap| cap.name == OTHER);
        sector.expect("a shipped sector").cap_bps = 9_000;
        assert_eq!(limits.check(&instruments), Ok(()));
        // Half a percent of equity each.
        let qty = EQUITY.0 / Cash::ONE.0 / 200;
        let held = Held {
            qty: Qty(qty * 100 * 100 / PRICE),
            cost: Cash(qty * Cash::ONE.0),
            bid: Price(PRICE),
            ask: Price(PRICE + 1),
            ..Held::default()
        };
        let mut world = Self {
            rng: Rng::new(7, 1),
            gate: Gate::new(limits, &instruments, EQUITY),
            held: vec![held; INSTRUMENTS],
            mids: vec![PRICE; INSTRUMENTS],
            at: START,
        };
        for _ in 0..2 * WINDOW {
            world.minute();
            let acts = world.pulse();
            world.obey(&acts);
        }
        let groups = world.gate.correlation().groups();
        assert!(groups.iter().all(|group| *group == 0), "all are correlated");
        assert_eq!(world.gate.correlation().rows(), WINDOW);
        assert!(world.gate.states().is_empty(), "{:?}", world.gate.states());
        world
    }

    /// A minute passes: one move that all share, and a smaller one of each.
    fn minute(&mut self) {
        self.at = self.at.plus(MINUTES);
        let all = self.rng.below(21).cast_signed() - 10;
        for (mid, held) in self.mids.iter_mut().zip(&mut self.held) {
            // Back to where they began, or stop-losses would close what is held.
            let back = (PRICE - *mid) / 16;
            *mid += all + back + self.rng.below(7).cast_signed() - 3;
            (held.bid, held.ask) = (Price(*mid), Price(*mid + 1));
        }
        self.observe_all();
    }

    fn seen(&self, place: usize) -> (InstrumentId, Observation) {
        let seen = Observation {
            at: self.at,
            bid: self.held[place].bid,
            ask: self.held[place].ask,
            bid_depth: Cash(100_000 * Cash::ONE.0),
            ask_depth: Cash(100_000 * Cash::ONE.0),
            updated: self.at,
            lag_ns: 1_000_000,
        };
        (id(place), seen)
    }

    fn observe_all(&mut self) {
        for place in 0..INSTRUMENTS {
            let (id, seen) = self.seen(place);
            self.gate.observe(id, &seen);
        }
    }

    fn pulse(&mut self) -> Vec<Act> {
        let account = account(self.at, &self.held);
        self.gate.pulse(&account)
    }

    /// What a pulse asks to be made durable comes back.
    fn obey(&mut self, acts: &[Act]) {
        for act in acts {
            match act {
                Act::Mark(mark) => self.gate.marked(mark),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn id(place: usize) -> InstrumentId {
    InstrumentId(u16::try_from(place).expect("few"))
}

fn account(at: Time, held: &[Held]) -> Account<'_> {
    Account {
        at,
        equity: EQUITY,
        cash: Cash(EQUITY.0 / 4 * 3),
        held,
    }
}

/// One pass over all of it.
pub(crate) fn pass(meters: &mut [Meter; WORK.len()], calls: Calls) {
    let [judge, observe, quiet, samples, table, ours, naive] = meters;
    let mut world = World::new();
    judge_pass(&mut world, judge, calls.judge);
    for meter in [&mut *observe, &mut *quiet, &mut *samples, &mut *table] {
        meter.begin(calls.others);
    }
    for call in 0..calls.others {
        let warm = call > calls.others / 3;
        world.minute();
        let acts = samples.time(warm, || world.pulse());
        world.obey(&acts);
        world.at = world.at.plus(SECONDS);
        let (id, seen) = world.seen(call % INSTRUMENTS);
        observe.time(warm, || world.gate.observe(id, &seen));
        let acts = quiet.time(warm, || world.pulse());
        world.obey(&acts);
        world.at = world.at.minus(SECONDS);
        let rows = table.time(warm, || world.gate.table(&account(world.at, &world.held)));
        black_box(rows);
    }
    for meter in [observe, quiet, samples, table] {
        meter.end();
    }
    correlation_pass(ours, naive, calls.others);
}

fn judge_pass(world: &mut World, meter: &mut Meter, calls: usize) {
    let mut approved = 0;
    meter.begin(calls);
    for call in 0..calls {
        // Three buys, then a sale.
        let (choice, probabilities) = if call % 4 == 3 {
            (Choice::Sell, [900_000, 50_000, 50_000])
        } else {
            (Choice::Buy, [50_000, 50_000, 900_000])
        };
        let action = Action {
            choice,
            probabilities,
            size: 900_000 + u32::try_from(call % 1_000).expect("small") * 100,
            risk: 0,
            value: 0,
        };
        let place = call % INSTRUMENTS;
        let Held { bid, ask, .. } = world.held[place];
        let situation = Situation {
            instrument: id(place),
            touch: Some((bid, ask)),
            in_flight: false,
            account: account(world.at, &world.held),
        };
        let gate = &mut world.gate;
        let verdict = meter.time(call > calls / 3, || gate.judge(&action, &situation));
        approved += usize::from(black_box(verdict).is_ok());
    }
    meter.end();
    assert_eq!(approved, calls, "every order goes the whole way");
}

/// The ordinary way: the window as rows of floats, and every coefficient anew from them.
struct Naive {
    rows: VecDeque<Vec<f64>>,
    matrix: Vec<f64>,
}

impl Naive {
    fn push(&mut self, returns: &[i64]) {
        if self.rows.len() == WINDOW {
            self.rows.pop_front();
        }
        self.rows
            .push_back(returns.iter().map(|value| *value as f64).collect());
        let (n, count) = (INSTRUMENTS, self.rows.len() as f64);
        let mut means = vec![0.0; n];
        for row in &self.rows {
            for (mean, value) in means.iter_mut().zip(row) {
                *mean += value / count;
            }
        }
        self.matrix.fill(0.0);
        for row in &self.rows {
            for i in 0..n {
                let x = row[i] - means[i];
                for j in i..n {
                    self.matrix[i * n + j] += x * (row[j] - means[j]);
                }
            }
        }
        let spreads: Vec<f64> = (0..n).map(|i| self.matrix[i * n + i].sqrt()).collect();
        for i in 0..n {
            for j in i..n {
                let value = self.matrix[i * n + j] / (spreads[i] * spreads[j]);
                self.matrix[i * n + j] = value;
                self.matrix[j * n + i] = value;
            }
        }
    }
}

fn correlation_pass(ours: &mut Meter, naive: &mut Meter, calls: usize) {
    let mut rng = Rng::new(11, 3);
    let mut running = Correlation::new(INSTRUMENTS, |_, _| false);
    running.assume(700_000, 500_000);
    let mut anew = Naive {
        rows: VecDeque::with_capacity(WINDOW),
        matrix: vec![0.0; INSTRUMENTS * INSTRUMENTS],
    };
    let mut draw = || {
        let all = rng.below(200_001).cast_signed() - 100_000;
        let own = |_| all + rng.below(100_001).cast_signed() - 50_000;
        (0..INSTRUMENTS).map(own).collect::<Vec<i64>>()
    };
    for _ in 0..WINDOW {
        let returns = draw();
        running.push(returns.iter().copied().map(Some));
        anew.push(&returns);
    }
    ours.begin(calls);
    naive.begin(calls);
    for _ in 0..calls {
        let returns = draw();
        ours.time(true, || running.push(returns.iter().copied().map(Some)));
        naive.time(true, || anew.push(&returns));
    }
    ours.end();
    naive.end();
    for i in 0..INSTRUMENTS {
        for j in i + 1..INSTRUMENTS {
            let ours = running.coefficient(i, j).expect("a full window");
            let theirs = anew.matrix[i * INSTRUMENTS + j];
            assert!(
                (ours - theirs).abs() < TOLERANCE,
                "{i} {j}: {ours} {theirs}"
            );
        }
    }
}
