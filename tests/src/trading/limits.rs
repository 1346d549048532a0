//! Stories of limits: what trips them, what they do, and how long it lasts.

use tickerml_shared::action::Choice;
use tickerml_shared::engine::{Engine, Output, Setup};
use tickerml_shared::event::{Event, Health, Operator, Record};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::{InstrumentId, Venue};
use tickerml_shared::num::Qty;
use tickerml_shared::order::{Life, Outcome, Reason};
use tickerml_shared::risk::denial::Denial;
use tickerml_shared::risk::state::{Cause, Level, Scope};
use tickerml_shared::time::{DAYS, MILLIS, MINUTES, SECONDS, Time};

use super::oracle;
use super::run::{Crash, Run};
use super::scenarios::{PERPETUAL, SPOT, arrive, choose, hold, steady, with_lots};

const ETHER: InstrumentId = InstrumentId(1);

/// Only what a story is about can trip.
fn calm() -> Setup {
    let mut setup = steady(Tactic::Take);
    let limits = &mut setup.limits;
    limits.stop_loss_bps = 10_000;
    limits.take_profit_bps = 1_000_000;
    limits.trailing_stop_bps = 0;
    limits.heat_cap_bps = 10_000;
    limits.daily_stop_bps = 10_000;
    limits.daily_halt_bps = 10_000;
    limits.weekly_halt_bps = 10_000;
    limits.drawdown_reduce_bps = 10_000;
    limits.drawdown_halt_bps = 10_000;
    limits.crash_fast_bps = 1_000_000;
    limits.crash_hour_bps = 1_000_000;
    setup
}

fn denied(run: &mut Run, id: InstrumentId, choice: Choice) -> Option<Denial> {
    run.decide(id, choice, 1_000_000);
    run.verdict.expect("judged").err()
}

/// The price goes by so many thousandths; what follows is done.
fn shock(run: &mut Run, id: InstrumentId, thousandths: i64) {
    let ticks = run.feeds[id.index()].mid * thousandths / 1_000;
    run.go(id, ticks);
    run.second();
    arrive(run);
}

fn causes(run: &Run) -> Vec<Cause> {
    run.engine.risk().states().iter().map(|r| r.cause).collect()
}

#[test]
fn exits_close_a_position() {
    let shipped = |change: fn(&mut Setup)| {
        let mut setup = calm();
        change(&mut setup);
        let mut run = with_lots(setup, 200);
        hold(&mut run, SPOT, Choice::Buy);
        run
    };
    let closed = |run: &Run| {
        let (reason, _) = run.booked.last().expect("booked");
        (run.held(SPOT) == 0).then_some(*reason)
    };

    let mut run = shipped(|setup| setup.limits.stop_loss_bps = 500);
    shock(&mut run, SPOT, -40);
    assert_eq!(closed(&run), None);
    shock(&mut run, SPOT, -20);
    assert_eq!(closed(&run), Some(Reason::StopLoss));

    let mut run = shipped(|setup| setup.limits.take_profit_bps = 1_000);
    shock(&mut run, SPOT, 90);
    assert_eq!(closed(&run), None);
    shock(&mut run, SPOT, 20);
    assert_eq!(closed(&run), Some(Reason::TakeProfit));

    let mut run = shipped(|setup| setup.limits.trailing_stop_bps = 300);
    shock(&mut run, SPOT, 30);
    shock(&mut run, SPOT, -35);
    assert_eq!(closed(&run), None, "it was not armed");
    shock(&mut run, SPOT, 60);
    assert_eq!(closed(&run), None);
    shock(&mut run, SPOT, -35);
    assert_eq!(closed(&run), Some(Reason::TrailingStop));
    let trips = run.engine.scorecard().portfolio().trades().count;
    assert_eq!(trips, 1, "a round trip is counted");
    run.replay();
}

#[test]
fn a_drawdown_reduces_then_closes_and_halts() {
    let mut setup = calm();
    setup.limits.drawdown_reduce_bps = 100;
    setup.limits.drawdown_halt_bps = 200;
    let mut run = with_lots(setup, 200);
    let held = hold(&mut run, SPOT, Choice::Buy);
    shock(&mut run, SPOT, -100);
    assert_eq!(causes(&run), [Cause::DrawdownReduce]);
    assert_eq!(run.held(SPOT), held, "it may be kept");
    assert_eq!(
        denied(&mut run, PERPETUAL, Choice::Buy),
        Some(Denial::Reducing)
    );
    shock(&mut run, SPOT, -100);
    arrive(&mut run);
    assert_eq!(run.engine.risk().flattening(), Some(Cause::Drawdown));
    assert_eq!(run.held(SPOT), 0);
    assert_eq!(
        denied(&mut run, PERPETUAL, Choice::Buy),
        Some(Denial::Halted)
    );
    // Nothing but an operator ends it.
    run.crash(Crash {
        kept: 0,
        hole: false,
        checkpoint: false,
        unseen: false,
    });
    run.snapshots();
    run.second();
    assert_eq!(
        denied(&mut run, PERPETUAL, Choice::Buy),
        Some(Denial::Halted)
    );
    run.command(oracle::resume(Scope::Portfolio));
    run.commit_all();
    run.second();
    choose(&mut run, PERPETUAL, Choice::Buy);
    run.settle();
    run.replay();
}

#[test]
fn a_daily_loss_lasts_until_the_next_day() {
    let mut setup = calm();
    setup.limits.daily_stop_bps = 50;
    let mut run = with_lots(setup, 200);
    hold(&mut run, SPOT, Choice::Buy);
    shock(&mut run, SPOT, -60);
    assert_eq!(causes(&run), [Cause::DailyLoss]);
    shock(&mut run, SPOT, 60);
    assert_eq!(
        denied(&mut run, ETHER, Choice::Buy),
        Some(Denial::CoolingOff)
    );
    run.crash(Crash {
        kept: 100,
        hole: false,
        checkpoint: false,
        unseen: false,
    });
    run.snapshots();
    run.second();
    assert_eq!(
        denied(&mut run, ETHER, Choice::Buy),
        Some(Denial::CoolingOff)
    );
    run.now = Time(run.now.day().0 + DAYS - SECONDS);
    run.snapshots();
    assert_eq!(
        denied(&mut run, ETHER, Choice::Buy),
        Some(Denial::CoolingOff)
    );
    run.second();
    run.snapshots();
    run.second();
    assert_eq!(causes(&run), []);
    choose(&mut run, ETHER, Choice::Buy);
}

fn health(run: &mut Run, bad: bool) {
    let worse = u64::from(bad);
    for venue in [Venue::Kraken, Venue::BinanceUsdm] {
        run.event(Event::Health(Health {
            venue,
            round_trip_ns: Some(worse * 6_000 * MILLIS),
            is_new: true,
            clock_offset_ns: Some(worse.cast_signed() * 1_200_000_000),
            frames: 100,
            errors: worse * 20,
        }));
    }
}

#[test]
fn violations_close_everything_until_somebody_looks() {
    let mut run = with_lots(calm(), 200);
    hold(&mut run, SPOT, Choice::Buy);
    hold(&mut run, PERPETUAL, Choice::Sell);
    health(&mut run, true);
    run.second();
    assert_eq!(run.counts.violations, 6, "three of each venue");
    assert_eq!(run.engine.risk().halted(), None);
    health(&mut run, false);
    run.second();
    let halt = run.engine.risk().halted().expect("an emergency");
    assert!(halt.cause == Cause::Emergency && halt.flatten);
    arrive(&mut run);
    assert_eq!((run.held(SPOT), run.held(PERPETUAL)), (0, 0));
    assert!(
        run.booked[2..]
            .iter()
            .all(|(reason, _)| *reason == Reason::Flatten)
    );
    run.wait(10 * MINUTES);
    run.snapshots();
    run.second();
    assert_eq!(denied(&mut run, SPOT, Choice::Buy), Some(Denial::Halted));
    run.command(oracle::resume(Scope::Portfolio));
    run.commit_all();
    run.second();
    choose(&mut run, SPOT, Choice::Buy);
}

#[test]
fn the_kill_switch_leaves_nothing_in_the_book() {
    let make = Tactic::Make {
        patience_ns: 100 * SECONDS,
    };
    let mut setup = calm();
    setup.tactic = make;
    let mut run = with_lots(setup, 20);
    let order = choose(&mut run, SPOT, Choice::Buy);
    arrive(&mut run);
    run.trade(SPOT, tickerml_shared::event::Side::Sell, 200, 3);
    arrive(&mut run);
    assert_eq!(run.held(SPOT), order.qty.0);
    // An order that only closes rests on through a halt, but not through the kill switch.
    choose(&mut run, SPOT, Choice::Sell);
    arrive(&mut run);
    let halt = |cause| Operator::Halt {
        scope: Scope::Portfolio,
        cause,
    };
    run.command(halt(Cause::Command));
    run.commit_all();
    run.second();
    arrive(&mut run);
    let rests = |run: &Run| {
        let mut open = run.engine.orders().open();
        open.any(|life| matches!(life, Life::Resting(_)))
    };
    assert!(rests(&run));
    run.command(halt(Cause::KillSwitch));
    run.commit_all();
    arrive(&mut run);
    assert!(!rests(&run));
    assert_eq!(denied(&mut run, SPOT, Choice::Sell), Some(Denial::Halted));
    assert_eq!(run.held(SPOT), order.qty.0);
    run.command(Operator::Flatten(Cause::KillSwitch));
    run.commit_all();
    run.second();
    arrive(&mut run);
    assert_eq!(run.held(SPOT), 0);
}

#[test]
fn an_order_that_has_become_too_large_does_not_follow_the_market() {
    for (thousandths, follows) in [(10, true), (150, false)] {
        let mut setup = calm();
        setup.tactic = Tactic::Make {
            patience_ns: 100 * SECONDS,
        };
        // 22.5 % of equity, of which 25 % may be in one instrument.
        setup.limits.base_size_bps = 2_500;
        let mut run = with_lots(setup, 20);
        let order = choose(&mut run, SPOT, Choice::Buy);
        arrive(&mut run);
        shock(&mut run, SPOT, thousandths);
        let outcome = run.reports.last().expect("answered").outcome;
        let moved = Outcome::Replaced {
            price: run.feeds[0].bid(),
            left: order.qty,
        };
        let expected = if follows { moved } else { Outcome::Canceled };
        assert_eq!(outcome, expected);
        assert_eq!(run.counts.violations, 0, "nobody asked for too much");
    }
}

/// The venue's position in a checkpoint, changed: the one place of this number whose change shows in
/// the venue's statement alone.
fn corrupt(engine: &Engine, from: i64, to: i64) -> Engine {
    let encode = |qty: i64| postcard_of(qty);
    let (from_bytes, to_bytes) = (encode(from), encode(to));
    assert_eq!(from_bytes.len(), to_bytes.len());
    let state = engine.checkpoint();
    let places = state.windows(from_bytes.len()).enumerate();
    let places = places.filter(|(_, window)| *window == from_bytes);
    for (place, _) in places {
        let mut edited = state.clone();
        edited[place..place + to_bytes.len()].copy_from_slice(&to_bytes);
        let Ok(edited) = Engine::restore(engine.setup().clone(), &edited) else {
            continue;
        };
        let kept = edited.ledger() == engine.ledger();
        if kept && edited.paper().statement(SPOT).position == Qty(to) {
            return edited;
        }
    }
    panic!("the position is nowhere");
}

/// A signed integer in postcard's form: zigzag, seven bits a byte, least first.
fn postcard_of(value: i64) -> Vec<u8> {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

#[test]
fn a_position_that_the_venue_denies_is_doubted_and_never_adopted() {
    let mut run = with_lots(calm(), 200);
    let held = hold(&mut run, SPOT, Choice::Buy);
    run.settle();
    let mut engine = corrupt(&run.engine, held, held - 25);
    let pulse = |engine: &mut Engine, event: Event, seconds: u64| {
        engine.handle(&Record {
            seq: engine.seq() + 1,
            at: engine.now().plus(seconds * SECONDS),
            event,
        });
        let mut asked = Vec::new();
        while let Some(output) = engine.poll() {
            if let Output::Commit(event @ Event::Restrict(_)) = output {
                asked.push(event);
            }
        }
        asked
    };
    let asked = pulse(&mut engine, Event::Pulse, 61);
    let [Event::Restrict(restriction)] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(restriction.scope, Scope::Instrument(SPOT));
    assert_eq!(restriction.cause, Cause::Reconciliation);
    assert_eq!(
        (restriction.level, restriction.until),
        (Level::Reducing, None)
    );
    let restriction = asked[0].clone();
    pulse(&mut engine, restriction, 0);
    for _ in 0..3 {
        assert_eq!(pulse(&mut engine, Event::Pulse, 61), [], "asked once");
    }
    assert_eq!(engine.risk().level(SPOT, engine.now()), Level::Reducing);
    assert_eq!(engine.risk().level(PERPETUAL, engine.now()), Level::Active);
    assert_eq!(engine.ledger(), run.engine.ledger());
    assert_eq!(engine.paper().statement(SPOT).position, Qty(held - 25));
}
