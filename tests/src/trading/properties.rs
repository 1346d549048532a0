//! Anything may happen, in any order, and the process may die at any moment.

use std::cell::Cell;

use proptest::prelude::*;
use tickerml_shared::action::Choice;
use tickerml_shared::engine::Setup;
use tickerml_shared::event::{Event, GapReason, Health, Operator, Side};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::{InstrumentId, Venue};
use tickerml_shared::risk::state::{Cause, Scope};
use tickerml_shared::time::{MILLIS, SECONDS};

use super::market::{REALISTIC, setup};
use super::oracle;
use super::run::{Counts, Crash, Run};

/// Cases of each property; `TICKERML_CASES` sets another number.
const CASES: u32 = 2_000;
/// Events that may wait to be made durable; more is no disk but a stop.
const MAX_WAITING: usize = 12;
const INSTRUMENTS: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Go(u8, i8, bool, bool),
    Jump(u8, i8),
    Trade(u8, u8, bool, u8),
    Gap(u8),
    Snapshot(u8),
    Contradict(u8),
    Pulse(u16),
    Command(u8, u8),
    Health(bool, u16, u8),
    Funding(u8, i16, u16),
    Commit(u8),
    Checkpoint,
    Crash(Crash),
}

fn step() -> impl Strategy<Value = Step> {
    let instrument = 0..INSTRUMENTS;
    prop_oneof![
        10 => (1_u64..60).prop_map(Step::Wait),
        8 => prop_oneof![900_u64..1_100, 5_000_u64..70_000].prop_map(Step::Wait),
        24 => (instrument.clone(), -3_i8..=3, any::<bool>(), any::<bool>())
            .prop_map(|(at, ticks, touch, parts)| Step::Go(at, ticks, touch, parts)),
        3 => (instrument.clone(), -12_i8..=12).prop_map(|(at, percent)| Step::Jump(at, percent)),
        24 => (instrument.clone(), 1_u8..80, any::<bool>(), 0_u8..3)
            .prop_map(|(at, lots, buy, through)| Step::Trade(at, lots, buy, through)),
        2 => instrument.clone().prop_map(Step::Gap),
        5 => instrument.clone().prop_map(Step::Snapshot),
        1 => instrument.clone().prop_map(Step::Contradict),
        24 => any::<u16>().prop_map(Step::Pulse),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(what, scope)| Step::Command(what, scope)),
        2 => (any::<bool>(), 0_u16..6_000, 0_u8..20)
            .prop_map(|(venue, trip, errors)| Step::Health(venue, trip, errors)),
        4 => (2_u8..INSTRUMENTS, any::<i16>(), 1_u16..90)
            .prop_map(|(at, rate, minutes)| Step::Funding(at, rate, minutes)),
        16 => (1_u8..6).prop_map(Step::Commit),
        3 => Just(Step::Checkpoint),
        3 => (any::<u8>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(kept, hole, checkpoint, unseen)| Step::Crash(Crash {
                kept,
                hole,
                checkpoint,
                unseen,
            })
        ),
    ]
}

/// Which effects are on, and how orders are sent.
fn any_setup() -> impl Strategy<Value = Setup> {
    (any::<u8>(), any::<u64>(), 1_u64..20).prop_map(|(bits, seed, patience)| {
        let on = |bit: u8| bits >> bit & 1 == 1;
        let mut rules = REALISTIC;
        rules.void_on_gap = on(0);
        rules.latency = on(1) || on(2);
        rules.partial_fills = on(3) || on(4);
        rules.queue_position = on(5);
        let tactic = if on(6) || on(7) {
            Tactic::Make {
                patience_ns: patience * SECONDS,
            }
        } else {
            Tactic::Take
        };
        let mut setup = setup(tactic, rules);
        setup.seed = seed;
        // Often so much that a small move of the market makes it more than a cap.
        setup.limits.base_size_bps = if seed % 4 == 0 { 1_500 } else { 2_500 };
        setup
    })
}

fn scope(bits: u8) -> Scope {
    match bits % 8 {
        0 => Scope::Venue(Venue::Kraken),
        1 => Scope::Venue(Venue::BinanceUsdm),
        2..6 => Scope::Instrument(InstrumentId(u16::from(bits % 8) - 2)),
        _ => Scope::Portfolio,
    }
}

fn play(run: &mut Run, step: &Step) {
    let now = run.now;
    match *step {
        Step::Wait(milliseconds) => run.wait(milliseconds * MILLIS),
        Step::Go(at, ticks, touch, parts) => {
            let events = run.feeds[usize::from(at)].go(i64::from(ticks), touch, parts, now);
            run.events(events);
        }
        Step::Jump(at, percent) => {
            let feed = &mut run.feeds[usize::from(at)];
            let ticks = feed.mid * i64::from(percent) / 100;
            let events = feed.go(ticks, false, false, now);
            run.events(events);
        }
        Step::Trade(at, lots, buy, through) => {
            let aggressor = if buy { Side::Buy } else { Side::Sell };
            let id = InstrumentId(u16::from(at));
            run.trade(id, aggressor, i64::from(lots), i64::from(through));
        }
        Step::Gap(at) => {
            let gap = run.feeds[usize::from(at)].gap(GapReason::Sequence, now);
            run.event(gap);
        }
        Step::Snapshot(at) => {
            let events = run.feeds[usize::from(at)].snapshot(now);
            run.events(events);
        }
        Step::Contradict(at) => {
            let events = run.feeds[usize::from(at)].contradict(now);
            run.events(events);
        }
        Step::Pulse(bits) => {
            run.asks.clear();
            run.pulse();
            for (place, (id, _)) in std::mem::take(&mut run.asks).into_iter().enumerate() {
                let choice = match bits >> (2 * place) & 3 {
                    0 => Choice::Sell,
                    1 => Choice::Hold,
                    _ => Choice::Buy,
                };
                run.decide(id, choice, 1_000_000 - u32::from(bits % 7) * 100_000);
            }
        }
        Step::Command(what, bits) => {
            let command = match what % 8 {
                0 => Operator::Flatten(Cause::Command),
                1 => Operator::Flatten(Cause::KillSwitch),
                2 => Operator::Halt {
                    scope: scope(bits),
                    cause: Cause::KillSwitch,
                },
                3 => Operator::Halt {
                    scope: scope(bits),
                    cause: Cause::Command,
                },
                4..7 => oracle::resume(Scope::Portfolio),
                _ => oracle::resume(scope(bits)),
            };
            run.command(command);
        }
        Step::Health(venue, milliseconds, errors) => run.event(Event::Health(Health {
            venue: [Venue::Kraken, Venue::BinanceUsdm][usize::from(venue)],
            round_trip_ns: Some(u64::from(milliseconds) * MILLIS),
            is_new: true,
            clock_offset_ns: Some(i64::from(errors) * 60_000_000),
            frames: 100,
            errors: u64::from(errors),
        })),
        Step::Funding(at, rate, minutes) => {
            let settles = now.plus(u64::from(minutes) * SECONDS);
            let rate = i64::from(rate) * 10_000;
            let event = run.feeds[usize::from(at)].funding(rate, settles, now);
            run.event(event);
        }
        Step::Commit(count) => {
            for _ in 0..count {
                run.commit();
            }
        }
        Step::Checkpoint => run.take_checkpoint(),
        Step::Crash(crash) => {
            run.crash(crash);
            run.snapshots();
        }
    }
    while run.queue.len() > MAX_WAITING {
        run.commit();
    }
}

thread_local! {
    static TOTAL: Cell<Counts> = const { Cell::new(Counts::ZERO) };
}

fn cases() -> u32 {
    let given = crate::power::number_from_environment("TICKERML_CASES");
    given.map_or(CASES, |cases| u32::try_from(cases).unwrap_or(u32::MAX))
}

fn live(setup: Setup, steps: &[Step]) {
    let mut run = Run::live(setup);
    for step in steps {
        play(&mut run, step);
    }
    run.settle();
    run.replay();
    TOTAL.set(TOTAL.get().plus(&run.counts));
}

#[test]
fn whatever_happens_the_account_is_right() {
    let config = ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    };
    let steps = proptest::collection::vec(step(), 40..160);
    proptest!(config, |(setup in any_setup(), steps in steps)| live(setup, &steps));
    let total = TOTAL.get();
    println!("{total:?}");
    assert!(total.each_happened(), "something never happened: {total:?}");
}
