//! Features know nothing of the future, nothing of how they were asked, and nothing across a gap.
//!
//! Metamorphic: the same tape is folded in two ways that must not matter, and every value of the
//! table is compared bit for bit.

use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{Body, Event, Record, Update};
use tickerml_shared::features::{Group, Table, feature, features};
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::num::Qty;
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use crate::tapes::{Gaps, INSTRUMENTS, RECORDINGS, Tape, random, recorded};

/// Time between pulses, and so between the tables that are compared.
const PULSE_NS: u64 = SECONDS;
/// Updates of a recording that are folded: enough for some minutes, and again for every variant.
const UPDATES_MAX: usize = 40_000;

/// Tables that a comparison must have found on each tape: the shortest recording has some seconds.
const TABLES_MIN: usize = 5;

/// The tables of every instrument at one pulse.
struct Sample {
    at: Time,
    tables: Vec<Option<Table>>,
}

/// A fold of a tape as the desk does it: updates through the synchroniser, pulses on the second.
struct Fold {
    engine: Engine,
    synchroniser: Synchroniser,
    seq: u64,
    next_pulse: Time,
    samples: Vec<Sample>,
    /// Asks for every table after every record.
    asks_often: bool,
    /// Becomes another engine by way of a checkpoint at every pulse.
    reborn: bool,
}

impl Fold {
    fn new(tape: &Tape) -> Self {
        let first = tape.updates.first().expect("a tape that holds something").0;
        Self {
            engine: Engine::new(Setup::market_only(tape.instruments.clone())),
            synchroniser: Synchroniser::new(HOLD_NS),
            seq: 0,
            next_pulse: Time(first.0 - first.0 % PULSE_NS + PULSE_NS),
            samples: Vec::new(),
            asks_often: false,
            reborn: false,
        }
    }

    fn tables(&self) -> Vec<Option<Table>> {
        let ids = (0..).map(InstrumentId).take(self.engine.cells().len());
        ids.map(|id| self.engine.table(id)).collect()
    }

    fn handle(&mut self, at: Time, event: Event) {
        self.seq += 1;
        let seq = self.seq;
        self.engine.handle(&Record { seq, at, event });
        while self.engine.poll().is_some() {}
        if self.asks_often {
            std::hint::black_box(self.tables());
        }
    }

    /// What is due before `now`, with the pulses in between.
    fn advance(&mut self, now: Time) {
        while self.next_pulse <= now {
            let pulse = self.next_pulse;
            self.release(pulse);
            self.handle(pulse, Event::Pulse);
            let tables = self.tables();
            self.samples.push(Sample { at: pulse, tables });
            self.next_pulse = pulse.plus(PULSE_NS);
            if self.reborn {
                let setup = self.engine.setup().clone();
                self.engine = Engine::restore(setup, &self.engine.checkpoint()).expect("its own");
            }
        }
        self.release(now);
    }

    fn release(&mut self, now: Time) {
        while let Some(update) = self.synchroniser.poll(now) {
            self.handle(now, Event::Market(update));
        }
    }

    fn run(mut self, tape: &Tape) -> Vec<Sample> {
        for (now, update) in &tape.updates {
            self.advance(*now);
            self.synchroniser.push(update.clone(), *now);
        }
        let end = self.next_pulse.plus(3 * PULSE_NS);
        self.advance(end);
        self.samples
    }
}

fn fold(tape: &Tape) -> Vec<Sample> {
    Fold::new(tape).run(tape)
}

/// A market of an hour or so without gaps, and the recordings.
fn tapes() -> Vec<Tape> {
    let mut tapes = vec![random(INSTRUMENTS, 60 * MILLIS, Gaps::Never)];
    for (venue, path) in RECORDINGS {
        match recorded(venue, path) {
            Some(mut tape) => {
                tape.updates.truncate(UPDATES_MAX);
                tapes.push(tape);
            }
            None => println!("SKIP {path}: no recorded data (set TICKERML_DATA)"),
        }
    }
    tapes
}

/// The first value in which two samples differ.
fn difference(one: &Sample, other: &Sample) -> Option<String> {
    for (place, (a, b)) in one.tables.iter().zip(&other.tables).enumerate() {
        let (a, b) = match (a, b) {
            (None, None) => continue,
            (Some(a), Some(b)) => (a, b),
            (a, b) => {
                return Some(format!(
                    "at {}, instrument {place}: a table or none: {a:?}, {b:?}",
                    one.at
                ));
            }
        };
        let values = a.as_slice().iter().zip(b.as_slice()).enumerate();
        for (index, (x, y)) in values {
            if x.to_bits() != y.to_bits() {
                let name = feature(index);
                return Some(format!(
                    "at {}, instrument {place}, {name}: {x} or {y}",
                    one.at
                ));
            }
        }
    }
    None
}

fn assert_same(name: &str, what: &str, ours: &[Sample], theirs: &[Sample], until: Time) {
    let pairs = ours.iter().zip(theirs).filter(|(one, _)| one.at <= until);
    let mut compared = 0;
    for (one, other) in pairs {
        assert_eq!(one.at, other.at, "{name}: {what}");
        if let Some(difference) = difference(one, other) {
            panic!("{name}: {what}: {difference}");
        }
        compared += one.tables.iter().flatten().count();
    }
    assert!(
        compared >= TABLES_MIN,
        "{name}: {what}: {compared} tables compared"
    );
}

#[test]
fn what_comes_later_changes_nothing_before_it() {
    for tape in tapes() {
        let plain = fold(&tape);
        for tenths in [3, 6, 9] {
            let cut = tape.updates.len() * tenths / 10;
            let now = tape.updates[cut].0;
            // A pulse at the very time of the first later update comes before it.
            let until = Time(now.0 - 1);
            let mut shorter = tape.clone();
            shorter.updates.truncate(cut);
            assert_same(
                &tape.name,
                "without the rest",
                &plain,
                &fold(&shorter),
                until,
            );
            let mut other = tape.clone();
            for (_, update) in &mut other.updates[cut..] {
                if let Body::Trade(trade) = &mut update.body {
                    trade.price.0 = trade.price.0 * 11 / 10;
                    trade.qty.0 *= 7;
                    trade.aggressor = trade.aggressor.opposite();
                }
            }
            assert_same(
                &tape.name,
                "with other trades later",
                &plain,
                &fold(&other),
                until,
            );
            let mut denser = tape.clone();
            let rest = denser.updates.split_off(cut);
            for (at, update) in rest {
                let twice = matches!(update.body, Body::Trade(_));
                denser.updates.push((at, update.clone()));
                if twice {
                    denser.updates.push((at, update));
                }
            }
            assert_same(
                &tape.name,
                "with more trades later",
                &plain,
                &fold(&denser),
                until,
            );
        }
    }
}

#[test]
fn how_and_when_one_asks_changes_nothing() {
    for tape in tapes() {
        let plain = fold(&tape);
        let end = plain.last().expect("pulses").at;
        let mut often = Fold::new(&tape);
        often.asks_often = true;
        assert_same(
            &tape.name,
            "asked after each record",
            &plain,
            &often.run(&tape),
            end,
        );
        let mut reborn = Fold::new(&tape);
        reborn.reborn = true;
        assert_same(
            &tape.name,
            "restored at each pulse",
            &plain,
            &reborn.run(&tape),
            end,
        );
    }
}

/// Groups whose memory a short gap does not end, because their bars are much longer than it: what a
/// gap does to them is tested where they are made.
const OUTLIVE_GAPS: [Group; 3] = [Group::Activity, Group::Indicators, Group::Alpha158];

#[test]
fn nothing_comes_across_a_gap() {
    let tape = random(1, 60 * MILLIS, Gaps::Once);
    let lost = |(_, update): &(Time, Update)| matches!(update.body, Body::Gap(_));
    let middle = tape.updates.iter().position(lost).expect("one gap");
    let now = tape.updates[middle].0;
    let mut other = tape.clone();
    for (_, update) in &mut other.updates[..middle] {
        match &mut update.body {
            Body::Trade(trade) => {
                trade.qty = Qty(trade.qty.0 * 3 + 1);
                trade.aggressor = trade.aggressor.opposite();
            }
            Body::Touch(touch) => touch.bid.qty.0 *= 2,
            _ => {}
        }
    }
    let (one, two) = (fold(&tape), fold(&other));
    let mut compared = 0;
    for (one, two) in one.iter().zip(&two).filter(|(one, _)| one.at > now) {
        let (Some(a), Some(b)) = (&one.tables[0], &two.tables[0]) else {
            continue;
        };
        for feature in features().filter(|feature| !OUTLIVE_GAPS.contains(&feature.group)) {
            let (x, y) = (a.get(feature.place), b.get(feature.place));
            let same = x.map(f32::to_bits) == y.map(f32::to_bits);
            assert!(same, "{feature} at {}: {x:?} or {y:?}", one.at);
            compared += usize::from(x.is_some());
        }
    }
    assert!(compared > 1_000, "{compared} values compared");
}
