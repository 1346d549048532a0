//! From a decoded update to features, nothing is asked of the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;

use tickerml_shared::action::{Action, Choice};
use tickerml_shared::engine::{Costs, Engine, Output, Setup};
use tickerml_shared::event::{Decision, Event, Record, Update};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::Cash;
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::paper::venue::Rules;
use tickerml_shared::risk::limits::{Limits, OTHER};
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use crate::tapes::{INSTRUMENTS, RECORDINGS, START, Tape, recorded, synthetic};

thread_local! {
    // By thread, so that other tests do not count. Constant and without a destructor, so that
    // reading it inside the allocator needs no heap itself.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The calls of this thread that gave memory so far.
pub(crate) fn calls() -> u64 {
    CALLS.get()
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

/// Folds a tape; gives the heap calls of its last two thirds, the events in them, and how many of
/// these left features behind.
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
            let instrument = update.instrument;
            let event = Event::Market(update);
            engine.handle(&Record {
                seq,
                at: now,
                event,
            });
            while engine.poll().is_some() {}
            events += usize::from(place >= warm);
            let seen = engine.table(instrument).is_some();
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
    check(&synthetic(INSTRUMENTS));
    for (venue, path) in RECORDINGS {
        match recorded(venue, path) {
            Some(tape) => check(&tape),
            None => println!("SKIP {path}: no recorded data (set TICKERML_DATA)"),
        }
    }
}

/// Orders rest, are filled and marked while the market goes on: still nothing.
#[test]
fn market_events_allocate_nothing_while_orders_rest() {
    let mut desk = Desk::new();
    let tape = synthetic(RESTING);
    let mut pulse = START;
    for (place, (now, update)) in tape.updates.iter().enumerate() {
        if *now >= pulse {
            desk.pulse(*now);
            pulse = now.plus(SECONDS / 5);
        }
        desk.market(*now, update.clone(), place >= tape.updates.len() / 3);
    }
    let Seen {
        calls,
        events,
        resting,
        most,
        fills,
        marks,
    } = desk.seen;
    println!(
        "{events} events, {resting} of them where an order rests, {most} at once; {fills} fills, \
         {marks} marks"
    );
    assert_eq!(calls, 0, "heap calls over {events} events");
    assert_eq!(most, usize::from(RESTING), "one order of each instrument");
    assert!(resting > events / 4, "{resting} of {events}");
    assert!(fills > 256 && marks > 256, "{fills} fills, {marks} marks");
    let traded = |cell: &tickerml_shared::engine::Cell| cell.tape.average_trade().0 > 0;
    assert!(desk.engine.cells().iter().all(traded), "tape statistics");
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

// --- orders in the synthetic tape -------------------------------------------------------------

/// Instruments of which an order rests each.
const RESTING: u16 = 16;

#[derive(Default)]
struct Seen {
    /// Heap calls of market events that counted.
    calls: u64,
    events: usize,
    /// Events of an instrument of which an order rested.
    resting: usize,
    /// The most orders that rested at once.
    most: usize,
    fills: usize,
    marks: usize,
}

/// The engine, and what comes back to it.
struct Desk {
    engine: Engine,
    seq: u64,
    returns: VecDeque<Event>,
    seen: Seen,
}

impl Desk {
    fn new() -> Self {
        let instruments = (0..RESTING).map(|id| {
            let mut instrument =
                Instrument::unknown(Venue::Binance, &format!("A{id}")).expect("short");
            instrument.base = format!("A{id}").as_str().try_into().expect("short");
            (instrument.price_scale, instrument.qty_scale) = (2, 2);
            instrument
        });
        let instruments: Vec<_> = instruments.collect();
        let mut limits = Limits::shipped();
        let sector = limits.sectors.caps.iter_mut().find(|cap| cap.name == OTHER);
        sector.expect("a shipped sector").cap_bps = 9_000;
        // Order after order of one direction may lose here.
        limits.losses_in_a_row = 1_000;
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
        Self {
            engine: Engine::new(Setup {
                capital: Cash(1_000_000 * Cash::ONE.0),
                limits,
                costs: vec![(Venue::Binance, costs)],
                tactic: Tactic::Make {
                    patience_ns: 20 * SECONDS,
                },
                ..Setup::market_only(instruments)
            }),
            seq: 0,
            returns: VecDeque::with_capacity(1024),
            seen: Seen::default(),
        }
    }

    fn handle(&mut self, at: Time, event: Event) {
        self.seq += 1;
        let seq = self.seq;
        self.engine.handle(&Record { seq, at, event });
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Commit(event) => self.returns.push_back(event),
                Output::Booked { .. } => self.seen.fills += 1,
                Output::Toxic(_) => self.seen.marks += 1,
                _ => {}
            }
        }
    }

    fn settle(&mut self, at: Time) {
        while let Some(event) = self.returns.pop_front() {
            self.handle(at, event);
        }
    }

    fn market(&mut self, at: Time, update: Update, counts: bool) {
        let paper = self.engine.paper();
        let rests = paper.rests(update.instrument);
        let all = (0..RESTING).filter(|id| paper.rests(InstrumentId(*id)));
        self.seen.most = self.seen.most.max(all.count());
        let before = CALLS.get();
        self.handle(at, Event::Market(update));
        if counts {
            self.seen.calls += CALLS.get() - before;
            self.seen.events += 1;
            self.seen.resting += usize::from(rests);
        }
        self.settle(at);
    }

    /// A pulse, and a decision for every instrument of which no order is open.
    fn pulse(&mut self, at: Time) {
        self.handle(at, Event::Pulse);
        let asked = self.seq;
        self.settle(at);
        for id in (0..RESTING).map(InstrumentId) {
            if self.engine.orders().of(id).next().is_some() {
                continue;
            }
            let (choice, probabilities) = if self.engine.ledger().position(id).qty.0 > 0 {
                (Choice::Sell, [900_000, 50_000, 50_000])
            } else {
                (Choice::Buy, [50_000, 50_000, 900_000])
            };
            let action = Action {
                choice,
                probabilities,
                size: 1_000_000,
                risk: 0,
                value: 0,
            };
            let decision = Decision {
                instrument: id,
                asked,
                action,
                latency_ns: 0,
            };
            self.handle(at, Event::Decision(decision));
            self.settle(at);
        }
    }
}
