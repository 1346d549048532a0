//! Each breaker trips, is asked for once, takes effect when it comes back, and lasts; each exit closes.

use alloc::vec::Vec;

use super::tests::{ASK, BTC, DOGE, ETH, NOON, PERP, USD, World, act, instruments};
use super::*;
use crate::risk::state::week;
use crate::risk::table::exit_code;
use crate::time::{DAYS, MILLIS, MINUTES};

#[test]
fn venues_are_restricted_for_a_while() {
    for (health, cause, name) in [
        (
            Health {
                round_trip_ns: 5_000 * MILLIS,
                ..Health::default()
            },
            Cause::Latency,
            "latency_ms",
        ),
        (
            Health {
                errors: 2,
                frames: 20,
                ..Health::default()
            },
            Cause::ErrorRate,
            "error_rate_bps",
        ),
        (
            Health {
                clock_offset_ns: -SECOND,
                ..Health::default()
            },
            Cause::ClockOffset,
            "clock_offset_ms",
        ),
    ] {
        let mut world = World::plain();
        world.gate.health(Venue::Binance, &health);
        assert_eq!(
            world.buy(BTC).map_err(Denial::code),
            Err(cause.code()),
            "at once"
        );
        assert_eq!(world.buy(DOGE), Ok(100_000), "another venue; the meme cap");
        let row = world.row(cause.code());
        assert_eq!((row.name, row.standing), (name, Standing::Tripped));
        assert_eq!(row.subject, Subject::Scope(Scope::Venue(Venue::Binance)));
        let (restriction, acts) = world.restrict();
        assert_eq!(restriction.scope, Scope::Venue(Venue::Binance));
        assert_eq!(
            (restriction.level, restriction.cause),
            (Level::Reducing, cause)
        );
        assert_eq!(acts, [Act::Cancel(restriction.scope)]);
        world.gate.health(Venue::Binance, &Health::default());
        assert_eq!(world.buy(BTC), Err(Denial::CoolingOff));
        assert_eq!(world.gate.level(ETH, world.at), Level::Reducing);
        assert_eq!(world.gate.level(DOGE, world.at), Level::Active);
        world.at = world.at.plus(60 * SECONDS);
        world.see(BTC, |_| {});
        assert_eq!(world.buy(BTC), Ok(200_000), "the cool-off is over");
        world.pulse();
        assert_eq!(world.gate.states(), []);
        assert_eq!(
            world.gate.violations(world.at),
            1,
            "a breaker that trips is a violation"
        );
        let (_, what, subject) = world.gate.recent_violations(world.at).next().expect("one");
        assert_eq!(
            (what.code(), subject),
            (cause.code(), Subject::Scope(restriction.scope))
        );
    }
    let mut world = World::plain();
    world.gate.health(
        Venue::Binance,
        &Health {
            errors: 19,
            frames: 19,
            ..Health::default()
        },
    );
    assert_eq!(world.buy(BTC), Ok(200_000), "too few frames to tell");
}

#[test]
fn a_crash_restricts_its_instrument() {
    for (price, minutes, cause, name) in [
        (850_000, 4, Cause::CrashFast, "crash_fast_bps"),
        (800_000, 59, Cause::CrashHour, "crash_hour_bps"),
    ] {
        let mut world = World::plain();
        world.at = world.at.plus(minutes * MINUTES);
        for id in [BTC, ETH] {
            world.see(id, |seen| {
                let price = if id == BTC { price } else { price + 1 };
                (seen.bid, seen.ask) = (Price(price), Price(price));
            });
        }
        assert_eq!(world.buy(BTC).map_err(Denial::code), Err(cause.code()));
        assert_eq!(world.buy(ETH), Ok(200_000), "a hair less");
        let row = world.row(cause.code());
        assert_eq!(
            (row.name, row.standing, row.headroom),
            (name, Standing::Tripped, 0)
        );
        let (restriction, _) = world.restrict();
        assert_eq!(restriction.scope, Scope::Instrument(BTC));
        assert_eq!(restriction.until, Some(world.at.plus(30 * MINUTES)));
        assert_eq!(world.buy(BTC), Err(Denial::CoolingOff));
        world.hold(BTC, 5);
        assert!(
            world
                .judge(BTC, act(Choice::Sell))
                .is_ok_and(|order| order.reduces)
        );
        world.hold(BTC, 0);
        world
            .gate
            .resumed(restriction.scope, world.equity, world.at);
        assert_eq!(world.buy(BTC), Ok(200_000), "measured from here on");
    }
}

#[test]
fn losses_of_the_account_restrict_it() {
    for (equity, cause, level, flatten) in [
        (9_700, Cause::DailyLoss, Level::Reducing, false),
        (9_500, Cause::DailyHalt, Level::Halted, false),
        (8_500, Cause::WeeklyLoss, Level::Halted, false),
        (8_500, Cause::DrawdownReduce, Level::Reducing, false),
        (7_500, Cause::Drawdown, Level::Halted, true),
    ] {
        // The other limits stay out of the way.
        let mut world = World::new(|limits| {
            let others = [
                (Cause::DailyHalt, &mut limits.daily_halt_bps),
                (Cause::DailyLoss, &mut limits.daily_stop_bps),
                (Cause::WeeklyLoss, &mut limits.weekly_halt_bps),
                (Cause::Drawdown, &mut limits.drawdown_halt_bps),
                (Cause::DrawdownReduce, &mut limits.drawdown_reduce_bps),
            ];
            for (other, limit) in others {
                if other != cause {
                    *limit = 10_000;
                }
            }
        });
        world.equity = Cash(equity * USD + 1);
        assert!(world.buy(BTC).is_ok(), "{cause:?} is not reached");
        world.equity = Cash(equity * USD);
        assert_eq!(world.buy(BTC).map_err(Denial::code), Err(cause.code()));
        assert_eq!(world.row(cause.code()).standing, Standing::Tripped);
        let (restriction, acts) = world.restrict();
        assert_eq!((restriction.cause, restriction.level), (cause, level));
        assert_eq!(
            (restriction.scope, restriction.flatten),
            (Scope::Portfolio, flatten)
        );
        assert_eq!(acts.len(), 1 + usize::from(flatten));
        let next = (cause == Cause::DailyLoss).then(|| world.at.day().plus(DAYS));
        assert_eq!(restriction.until, next);
        assert_eq!(world.gate.flattening(), flatten.then_some(cause));

        // It stands whatever equity does, and through a restart.
        world.equity = Cash(10_000 * USD);
        let bytes = postcard::to_allocvec(&world.gate).expect("plain data");
        world.gate = postcard::from_bytes(&bytes).expect("as written");
        world.gate.recover();
        let denial = match (level, next) {
            (Level::Halted, _) => Denial::Halted,
            (_, Some(_)) => Denial::CoolingOff,
            (_, None) => Denial::Reducing,
        };
        assert_eq!(world.buy(BTC), Err(denial));
        world.hold(ETH, 3);
        assert!(
            world
                .judge(ETH, act(Choice::Sell))
                .is_ok_and(|order| order.qty == Qty(30_000))
        );
        let flattening = world.pulse().contains(&Act::Flatten {
            scope: Scope::Portfolio,
            cause,
        });
        assert_eq!(flattening, flatten, "asked again while something is held");

        world.equity = Cash(equity * USD);
        world
            .gate
            .resumed(Scope::Instrument(BTC), world.equity, world.at);
        assert_eq!(world.buy(BTC), Err(denial), "another scope");
        world.gate.resumed(Scope::Portfolio, world.equity, world.at);
        assert!(world.buy(BTC).is_ok(), "{cause:?} is measured from here");
    }
}

#[test]
fn an_operators_halt_does_not_forget_the_days_loss() {
    let mut world = World::plain();
    let halt = Restriction {
        scope: Scope::Portfolio,
        level: Level::Halted,
        cause: Cause::Command,
        since: world.at,
        until: None,
        flatten: false,
    };
    assert_eq!(
        world.gate.restricted(&halt),
        [Act::Cancel(Scope::Portfolio)]
    );
    world.equity = Cash(9_700 * USD);
    world.gate.resumed(Scope::Portfolio, world.equity, world.at);
    assert_eq!(world.buy(BTC), Err(Denial::DailyLoss));
}

#[test]
fn losses_in_a_row_cool_off() {
    let mut world = World::plain();
    (0..4).for_each(|_| world.gate.closed(Cash(-1)));
    world.gate.closed(Cash::ZERO);
    assert!(world.buy(BTC).is_ok());
    world.gate.closed(Cash(-1));
    assert_eq!(world.buy(BTC), Err(Denial::Losses));
    world.tripped(Denial::Losses, "losses_in_a_row");
    let (restriction, _) = world.restrict();
    assert_eq!(restriction.until, Some(world.at.plus(60 * MINUTES)));
    assert_eq!(world.buy(BTC), Err(Denial::CoolingOff));
    world.at = world.at.plus(60 * MINUTES);
    world.see(BTC, |_| {});
    assert!(world.buy(BTC).is_ok());
}

#[test]
fn a_new_day_and_a_new_week_take_effect_when_durable() {
    let mut world = World::plain();
    assert_eq!(
        (world.gate.mark().day, world.gate.mark().week),
        (NOON.day(), NOON.day())
    );
    assert_eq!(week(NOON), NOON.day(), "a Monday");
    world.equity = Cash(9_600 * USD);
    world.restrict();
    world.at = NOON.day().plus(DAYS);
    let acts = world.pulse();
    let [Act::Mark(mark)] = acts[..] else {
        panic!("yesterday's loss is over: {acts:?}")
    };
    assert_eq!(
        (mark.day, mark.day_equity, mark.week),
        (world.at, world.equity, NOON.day())
    );
    assert_eq!(mark.peak, Cash(10_000 * USD));
    assert_eq!(world.pulse(), [], "asked once");
    world.gate.recover();
    assert_eq!(world.pulse(), [Act::Mark(mark)]);
    world.see(BTC, |_| {});
    assert_eq!(
        world.buy(BTC),
        Err(Denial::DailyLoss),
        "until the mark is durable"
    );
    world.gate.marked(&mark);
    assert!(world.buy(BTC).is_ok());

    // A peak is raised in steps; the week's mark on the next Monday.
    world.equity = Cash(10_005 * USD);
    assert_eq!(world.pulse(), []);
    world.equity = Cash(10_006 * USD);
    let peak = Mark {
        peak: world.equity,
        ..mark
    };
    assert_eq!(world.pulse(), [Act::Mark(peak)]);
    assert_eq!(
        world.gate.mark().peak,
        Cash(10_000 * USD),
        "not durable yet"
    );
    world.gate.marked(&peak);
    world.at = NOON.plus(7 * DAYS);
    let acts = world.pulse();
    let [Act::Mark(mark)] = acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!(
        (mark.week, mark.week_equity),
        (NOON.day().plus(7 * DAYS), world.equity)
    );
}

#[test]
fn five_violations_close_everything_and_latch() {
    let mut world = World::plain();
    for (place, venue) in Venue::ALL[..4].iter().enumerate() {
        let restriction = Restriction {
            scope: Scope::Venue(*venue),
            level: Level::Reducing,
            cause: Cause::Latency,
            since: world.at,
            until: Some(world.at.plus(1)),
            flatten: false,
        };
        world.gate.restricted(&restriction);
        world.gate.restricted(&restriction);
        assert_eq!(
            world.gate.violations(world.at),
            1 + i64::try_from(place).expect("small")
        );
    }
    world.at = world.at.plus(299 * SECONDS);
    world.see(ETH, |_| {});
    let row = world.row("R33-emergency");
    assert_eq!(
        (row.value, row.headroom, row.standing),
        (4, 1, Standing::Warning)
    );
    world.hold(ETH, 30);
    assert_eq!(world.buy(ETH), Err(Denial::AtTarget));
    let crowd = Situation {
        instrument: ETH,
        touch: world.touch,
        in_flight: false,
        account: world.account(),
    };
    let mut gate = world.gate.clone();
    let denied = gate.admit(Side::Buy, Qty(10_000), ASK, &crowd);
    assert_eq!(denied, Err(Denial::PositionCap));
    world.gate = gate;
    world.tripped(Denial::Emergency, "emergency_violations");
    world.see(DOGE, |_| {});
    assert_eq!(world.buy(DOGE), Err(Denial::Emergency), "at once");
    let (restriction, acts) = world.restrict();
    let everything = Scope::Portfolio;
    assert_eq!(
        (restriction.cause, restriction.level),
        (Cause::Emergency, Level::Halted)
    );
    let flatten = Act::Flatten {
        scope: everything,
        cause: Cause::Emergency,
    };
    assert_eq!(acts, [Act::Cancel(everything), flatten]);
    world.held[2].buying = Qty(1);
    assert_eq!(
        world.pulse(),
        [Act::Cancel(everything), flatten],
        "until it is done"
    );
    world.held[2].buying = Qty(0);
    world.hold(ETH, 0);
    assert_eq!(world.pulse(), []);
    world.at = world.at.plus(DAYS / 4);
    assert_eq!(world.buy(DOGE), Err(Denial::Halted), "it latches");
    world.gate.resumed(everything, world.equity, world.at);
    world.see(DOGE, |_| {});
    assert_eq!(world.buy(DOGE), Ok(100_000));
}

#[test]
fn violations_leave_their_window() {
    let mut world = World::plain();
    for key in 0..20 {
        world.gate.violate(Denial::PositionCap, key, world.at);
        world.at = world.at.plus(61 * SECONDS);
    }
    assert_eq!(world.gate.violations(world.at), 4);
    assert_eq!(world.pulse().len(), 0);
}

#[test]
fn positions_are_closed_at_their_exits() {
    let exit = |bids: &[i64], units: i64| -> Vec<Option<Reason>> {
        let mut world = World::new(|limits| limits.daily_stop_bps = limits.daily_halt_bps);
        world.hold(PERP, units);
        let mut closed = Vec::new();
        for &bid in bids {
            (world.held[3].bid, world.held[3].ask) = (Price(bid), Price(bid));
            let acts = world.pulse();
            closed.push(match acts[..] {
                [] => None,
                [
                    Act::Close {
                        instrument,
                        side,
                        qty,
                        reason,
                        cancel,
                    },
                ] => {
                    assert_eq!(
                        (instrument, qty, cancel),
                        (PERP, Qty(units.abs() * 10_000), false)
                    );
                    assert_eq!(side.sign(), -units.signum());
                    let row = world.row(exit_code(reason).expect("the gate's own"));
                    assert_eq!(row.standing, Standing::Tripped, "{row:?}");
                    Some(reason)
                }
                _ => panic!("{acts:?}"),
            });
        }
        closed
    };
    let (stop, profit, trail) = (Reason::StopLoss, Reason::TakeProfit, Reason::TrailingStop);
    assert_eq!(exit(&[950_001, 950_000], 10), [None, Some(stop)]);
    assert_eq!(exit(&[1_050_000], -10), [Some(stop)]);
    assert_eq!(exit(&[1_099_999, 1_100_000], 10), [None, Some(profit)]);
    assert_eq!(exit(&[900_000], -10), [Some(profit)]);
    // From a best of 1,050,000 three percent are 31,500; below a gain of 4 % it is not armed.
    assert_eq!(
        exit(&[1_050_000, 1_018_501, 1_018_500], 10),
        [None, None, Some(trail)]
    );
    assert_eq!(exit(&[1_039_999, 1_000_000], 10), [None, None]);
    assert_eq!(
        exit(&[950_000, 978_499, 978_500], -10),
        [None, None, Some(trail)]
    );
}

#[test]
fn the_trailing_stop_remembers_its_best_through_a_restart() {
    let mut world = World::plain();
    world.hold(ETH, 10);
    world.held[1].bid = Price(1_060_000);
    assert_eq!(world.pulse(), []);
    let bytes = postcard::to_allocvec(&world.gate).expect("plain data");
    world.gate = postcard::from_bytes(&bytes).expect("as written");
    world.held[1].bid = Price(1_028_000);
    world.held[1].selling = Qty(30_000);
    let close = Act::Close {
        instrument: ETH,
        side: Side::Sell,
        qty: Qty(70_000),
        reason: Reason::TrailingStop,
        cancel: true,
    };
    assert_eq!(world.pulse(), [close]);
    // Closed and opened anew: the best is forgotten.
    world.hold(ETH, 0);
    world.pulse();
    world.hold(ETH, 10);
    world.held[1].selling = Qty(0);
    assert_eq!(world.pulse(), []);
}

#[test]
fn the_kill_switch_leaves_only_flattening() {
    let mut world = World::plain();
    world.hold(ETH, 10);
    let mut kill = Restriction {
        scope: Scope::Portfolio,
        level: Level::Halted,
        cause: Cause::KillSwitch,
        since: world.at,
        until: None,
        flatten: false,
    };
    world.gate.restricted(&kill);
    world.held[1].bid = Price(900_000);
    assert_eq!(world.judge(ETH, act(Choice::Sell)), Err(Denial::Halted));
    assert_eq!(world.pulse(), [], "not even a stop-loss");
    kill.flatten = true;
    let flatten = Act::Flatten {
        scope: Scope::Portfolio,
        cause: Cause::KillSwitch,
    };
    assert!(world.gate.restricted(&kill).contains(&flatten));
    assert_eq!(world.pulse(), [flatten]);
    assert_eq!(world.gate.violations(world.at), 0);
}

#[test]
fn a_flip_is_cut_to_closing_where_no_risk_may_be_added() {
    let mut world = World::plain();
    world.hold(PERP, -10);
    let flip = world.judge(PERP, act(Choice::Buy)).expect("allowed");
    assert_eq!((flip.qty, flip.reduces), (Qty(300_000), false));
    world.gate.health(
        Venue::BinanceUsdm,
        &Health {
            clock_offset_ns: 2 * SECOND,
            ..Health::default()
        },
    );
    let cut = world.judge(PERP, act(Choice::Buy)).expect("it closes");
    assert_eq!(
        (cut.qty, cut.reduces, cut.sizing),
        (Qty(100_000), true, None)
    );
    world.held[3].buying = Qty(100_000);
    assert_eq!(world.buy(PERP), Err(Denial::ClockOffset), "closed already");
}

#[test]
fn orders_that_add_are_canceled_where_no_risk_may_be_added() {
    let mut world = World::plain();
    world.hold(ETH, 10);
    world.held[1].selling = Qty(100_000);
    world.held[0].buying = Qty(1);
    let restriction = Restriction {
        scope: Scope::Instrument(BTC),
        level: Level::Reducing,
        cause: Cause::Command,
        since: world.at,
        until: None,
        flatten: false,
    };
    world.gate.restricted(&restriction);
    assert_eq!(world.pulse(), [Act::Cancel(Scope::Instrument(BTC))]);
    let all = Restriction {
        scope: Scope::Portfolio,
        ..restriction
    };
    world.gate.restricted(&all);
    assert_eq!(world.pulse(), [Act::Cancel(Scope::Portfolio)]);
    world.held[0].buying = Qty(0);
    assert_eq!(world.pulse(), [], "what closes stays");
    world.held[1].selling = Qty(100_001);
    assert_eq!(world.pulse(), [Act::Cancel(Scope::Portfolio)]);
}

#[test]
fn new_limits_keep_what_stands() {
    let mut world = World::plain();
    world.equity = Cash(9_600 * USD);
    let (restriction, _) = world.restrict();
    let mut limits = world.gate.limits().clone();
    limits.daily_stop_bps = 500;
    limits.sample_s = 5;
    limits.atr_bar_s = 60;
    limits.sectors.caps.clear();
    world.gate.relimit(limits, &instruments());
    assert_eq!(world.gate.states(), [restriction]);
    world.gate.resumed(Scope::Portfolio, world.equity, world.at);
    assert_eq!(
        world.buy(BTC),
        Err(Denial::SectorCap),
        "no cap: nothing may be held"
    );
    assert_eq!(world.gate.sector(BTC), None);
}
