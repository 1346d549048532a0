//! Stories of orders: how they rest, trade, move and end, and what the account says afterwards.

use tickerml_shared::action::Choice;
use tickerml_shared::attribution::Lines;
use tickerml_shared::engine::Setup;
use tickerml_shared::event::{Event, GapReason, Operator, Side};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::num::{Cash, Price, Qty};
use tickerml_shared::order::{Kind, Life, Order, Outcome, Reason, VoidCause};
use tickerml_shared::paper::fees::Tier;
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::risk::state::Cause;
use tickerml_shared::time::{MILLIS, SECONDS};

use super::market::{REALISTIC, setup};
use super::run::{Crash, Run};

/// Bitcoin against dollars, lots of 25.
pub(super) const SPOT: InstrumentId = InstrumentId(0);
/// The perpetual on it.
pub(super) const PERPETUAL: InstrumentId = InstrumentId(2);
const LOT: i64 = 25;
const MAKE: Tactic = Tactic::Make {
    patience_ns: 10 * SECONDS,
};

/// A way of 10 ms each, and no fees.
pub(super) fn steady(tactic: Tactic) -> Setup {
    let mut setup = setup(tactic, REALISTIC);
    for (_, costs) in &mut setup.costs {
        costs.latency = Latency::Constant {
            entry_ns: 10_000_000,
            response_ns: 10_000_000,
        };
        costs.tiers = vec![Tier::default()];
    }
    setup
}

/// A run whose levels all hold so many lots.
pub(super) fn with_lots(setup: Setup, lots: i64) -> Run {
    let mut run = Run::new(setup);
    let now = run.now;
    for feed in &mut run.feeds {
        feed.lots = Some(lots);
        feed.go(0, false, false, now);
    }
    run.snapshots();
    run.second();
    run
}

/// What was sent arrives, and what is answered is heard.
pub(super) fn arrive(run: &mut Run) {
    run.wait(50 * MILLIS);
    for index in 0..4 {
        run.go(InstrumentId(index), 0);
    }
    run.commit_all();
}

pub(super) fn choose(run: &mut Run, id: InstrumentId, choice: Choice) -> Order {
    run.decide(id, choice, 1_000_000);
    let verdict = run.verdict.expect("judged");
    verdict.unwrap_or_else(|denial| panic!("denied: {denial:?}"))
}

/// Takes a position at the market.
pub(super) fn hold(run: &mut Run, id: InstrumentId, choice: Choice) -> i64 {
    choose(run, id, choice);
    arrive(run);
    assert_ne!(run.held(id), 0);
    run.held(id)
}

fn resting(run: &Run) -> Option<(Price, Qty)> {
    let mut open = run.engine.orders().open();
    match open.next()? {
        Life::Resting(resting) => match open.count() {
            0 => {
                let Kind::Limit(price) = Life::Resting(*resting).order().kind else {
                    panic!("a market order rests")
                };
                Some((price, resting.left()))
            }
            more => panic!("{more} more orders"),
        },
        other => panic!("{} instead of resting", other.name()),
    }
}

#[test]
fn a_maker_rests_trades_in_part_moves_and_gives_up() {
    let mut run = with_lots(steady(MAKE), 20);
    let order = choose(&mut run, SPOT, Choice::Buy);
    let bid = run.feeds[0].bid();
    assert_eq!(order.kind, Kind::Limit(bid));
    arrive(&mut run);
    assert_eq!(resting(&run), Some((bid, order.qty)));

    // Twenty lots stand before ours; three of the next trade are for us.
    run.trade(SPOT, Side::Sell, 23, 0);
    arrive(&mut run);
    assert_eq!(run.held(SPOT), 3 * LOT);
    let left = Qty(order.qty.0 - 3 * LOT);
    assert_eq!(resting(&run), Some((bid, left)));
    let (reason, fill) = run.booked[0];
    assert!(fill.maker && reason == Reason::Decision);
    assert!(fill.split.spread > Cash::ZERO, "a maker earns the spread");

    run.go(SPOT, 2);
    run.second();
    arrive(&mut run);
    let moved = Price(bid.0 + 200);
    assert_eq!(resting(&run), Some((moved, left)));

    for _ in 0..11 {
        run.second();
    }
    arrive(&mut run);
    assert_eq!(resting(&run), None);
    let last = run.reports.last().expect("it ended");
    assert_eq!(last.outcome, Outcome::Canceled);
    assert_eq!(run.held(SPOT), 3 * LOT);
    run.settle();
    run.replay();
}

#[test]
fn what_trades_while_an_order_moves_is_not_ordered_again() {
    let mut run = with_lots(steady(MAKE), 20);
    let order = choose(&mut run, SPOT, Choice::Buy);
    arrive(&mut run);
    run.go(SPOT, 2);
    run.second();
    // The request to move is on its way, and the old level trades through.
    run.wait(2 * MILLIS);
    run.trade(SPOT, Side::Sell, 4, 9);
    assert_eq!(run.held(SPOT), 0, "not heard yet");
    arrive(&mut run);
    assert_eq!(run.held(SPOT), 4 * LOT);
    let (price, left) = resting(&run).expect("it rests");
    assert_eq!((price, left.0), (run.feeds[0].bid(), order.qty.0 - 4 * LOT));
}

#[test]
fn a_taker_pays_for_the_way() {
    let mut run = with_lots(steady(Tactic::Take), 200);
    let order = choose(&mut run, PERPETUAL, Choice::Buy);
    run.go(PERPETUAL, 2);
    assert_eq!(run.held(PERPETUAL), 0, "it has not arrived");
    arrive(&mut run);
    assert_eq!(run.held(PERPETUAL), order.qty.0);
    let (_, fill) = run.booked[0];
    assert_eq!(fill.worst, run.feeds[2].ask());
    // Two ticks of 1.00, four decimals of quantity.
    let late = Cash(-200 * order.qty.0 * 100);
    assert_eq!(fill.split.latency, late);
    assert_eq!(
        fill.split.spread,
        Cash(-100 * order.qty.0 * 100),
        "one tick"
    );
    assert_eq!(
        fill.split.impact,
        Cash::ZERO,
        "the first level holds it all"
    );
}

#[test]
fn a_gap_voids_what_rests() {
    let mut run = with_lots(steady(MAKE), 20);
    let order = choose(&mut run, SPOT, Choice::Buy);
    arrive(&mut run);
    let now = run.now;
    let gap = run.feeds[0].gap(GapReason::Sequence, now);
    run.event(gap);
    run.wait(20 * MILLIS);
    run.go(InstrumentId(1), 0);
    run.commit_all();
    assert_eq!(resting(&run), None);
    let last = run.reports.last().expect("told");
    let void = Outcome::Void(VoidCause::Gap);
    assert_eq!((last.order, last.outcome), (order.id, void));
    run.snapshots();
    run.trade(SPOT, Side::Sell, 100, 3);
    arrive(&mut run);
    assert_eq!(run.held(SPOT), 0, "what is void does not trade");
}

#[test]
fn an_order_that_outlives_a_gap_says_so() {
    let mut setup = steady(MAKE);
    for (_, costs) in &mut setup.costs {
        costs.rules.void_on_gap = false;
    }
    let mut run = with_lots(setup, 20);
    let order = choose(&mut run, SPOT, Choice::Buy);
    arrive(&mut run);
    let now = run.now;
    let gap = run.feeds[0].gap(GapReason::Sequence, now);
    run.event(gap);
    run.snapshots();
    assert!(resting(&run).is_some());
    run.trade(SPOT, Side::Sell, 100, 3);
    arrive(&mut run);
    assert_eq!(run.held(SPOT), order.qty.0);
    assert!(run.booked.iter().all(|(_, fill)| fill.spanned_gap));
}

#[test]
fn a_position_closes_on_a_book_of_bars_when_its_own_is_dark() {
    let mut run = with_lots(steady(Tactic::Take), 200);
    hold(&mut run, SPOT, Choice::Buy);
    let trade = |run: &mut Run, second: i64| {
        let side = if second % 2 == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        run.trade(SPOT, side, 40, second % 3);
        run.second();
    };
    for second in 0..180 {
        trade(&mut run, second);
    }
    let now = run.now;
    let gap = run.feeds[0].gap(GapReason::Disconnected, now);
    run.event(gap);
    run.command(Operator::Flatten(Cause::Command));
    run.commit_all();
    let booked = run.booked.len();
    for second in 0..55 {
        trade(&mut run, second);
    }
    assert_eq!(run.booked.len(), booked, "the venue may come back soon");
    for second in 0..12 {
        trade(&mut run, second);
    }
    assert_eq!(run.held(SPOT), 0);
    let (reason, fill) = run.booked.last().expect("closed");
    assert!(fill.synthetic && *reason == Reason::Flatten);
    run.replay();
}

#[test]
fn funding_is_paid_once_over_restarts() {
    for unseen in [true, false] {
        let mut run = with_lots(steady(Tactic::Take), 200);
        let held = hold(&mut run, PERPETUAL, Choice::Buy);
        let (now, rate) = (run.now, 100_000_000);
        let event = run.feeds[2].funding(rate, now.plus(60 * SECONDS), now);
        run.event(event);
        run.take_checkpoint();
        run.wait(61 * SECONDS);
        run.pulse();
        assert!(
            run.queue
                .iter()
                .any(|event| matches!(event, Event::Funded(_)))
        );
        while !matches!(run.queue.front(), Some(Event::Funded(_))) {
            run.commit();
        }
        for kept in [255, 0, 255] {
            run.crash(Crash {
                kept,
                hole: false,
                checkpoint: true,
                unseen,
            });
            run.snapshots();
            if unseen || kept == 255 {
                run.second();
            }
        }
        run.settle();
        // A ten-thousandth of the position's value at the mark: the mid, 20,000.00.
        let paid = Cash(-(held * 2_000_000 * 100) / 10_000);
        assert_eq!(run.engine.ledger().funding(), paid);
        assert_eq!(run.facts.settlements.len(), 1);
        run.replay();
    }
}

#[test]
fn fees_fall_with_what_was_traded() {
    let mut setup = steady(Tactic::Take);
    let tier = |volume, taker_fee_ppm| Tier {
        volume: Cash(volume * Cash::ONE.0),
        maker_fee_ppm: 0,
        taker_fee_ppm,
    };
    for (_, costs) in &mut setup.costs {
        costs.tiers = vec![tier(0, 500), tier(2_000, 300)];
    }
    let mut run = with_lots(setup, 200);
    for choice in [Choice::Buy, Choice::Sell, Choice::Buy, Choice::Sell] {
        choose(&mut run, SPOT, choice);
        arrive(&mut run);
        run.second();
    }
    let fee = |place: usize| {
        let (_, fill) = run.booked[place];
        (fill.fee.0 * 1_000_000 + fill.notional.0 - 1) / fill.notional.0
    };
    assert_eq!([0, 1, 2, 3].map(fee), [500, 500, 300, 300]);
    // At the other venue nothing was traded.
    hold(&mut run, PERPETUAL, Choice::Buy);
    assert_eq!(fee_of(&run), 500);
}

fn fee_of(run: &Run) -> i64 {
    let (_, fill) = run.booked.last().expect("traded");
    (fill.fee.0 * 1_000_000 + fill.notional.0 - 1) / fill.notional.0
}

/// The same day with levels of so many lots and these settings: a market that is well known, a purchase that walks the book after
/// the market moved, and a funding settlement.
fn day(lots: i64, change: impl Fn(&mut Setup)) -> Lines {
    let mut setup = steady(Tactic::Take);
    change(&mut setup);
    let mut run = with_lots(setup, lots);
    for second in 0..800 {
        let buy = second % 7 < 4;
        run.trade(PERPETUAL, if buy { Side::Buy } else { Side::Sell }, 5, 0);
        run.go(PERPETUAL, if buy { 1 } else { -1 });
        run.second();
    }
    choose(&mut run, PERPETUAL, Choice::Buy);
    run.wait(2 * MILLIS);
    run.go(PERPETUAL, 2);
    arrive(&mut run);
    let now = run.now;
    let event = run.feeds[2].funding(100_000_000, now.plus(2 * SECONDS), now);
    run.event(event);
    for _ in 0..4 {
        run.second();
    }
    run.settle();
    let value = run.engine.value(PERPETUAL);
    run.engine.attribution()[2].lines(value)
}

#[test]
fn each_effect_is_a_line_of_its_own() {
    let all = day(10, |_| {});
    let differ_in = |one: Lines, other: Lines| -> Vec<&str> {
        let pairs = one.named().into_iter().zip(other.named());
        let differ = pairs.filter(|(one, other)| one.1 != other.1);
        differ.map(|(one, _)| one.0).collect()
    };
    let differ = |lines| differ_in(all, lines);
    let tier = Tier {
        taker_fee_ppm: 500,
        ..Tier::default()
    };
    let fees = day(10, |setup| {
        for (_, costs) in &mut setup.costs {
            costs.tiers = vec![tier];
        }
    });
    assert_eq!(differ(fees), ["fees"]);
    let free = day(10, |setup| {
        for (_, costs) in &mut setup.costs {
            costs.tiers = vec![tier];
            costs.rules.fees = false;
        }
    });
    assert_eq!(free, all);
    let unpaid = day(10, |setup| setup.funding = false);
    assert_eq!(
        (differ(unpaid), unpaid.funding),
        (vec!["funding"], Cash::ZERO)
    );
    let (harsh, mild) = (
        day(200, |_| {}),
        day(200, |setup| setup.impact.enabled = false),
    );
    assert_eq!(differ_in(harsh, mild), ["impact"]);
    assert!(harsh.impact < mild.impact && mild.impact == Cash::ZERO);
    let deep = day(10, |setup| {
        setup.impact.enabled = false;
        for (_, costs) in &mut setup.costs {
            costs.rules.partial_fills = false;
        }
    });
    assert_eq!((differ(deep), deep.impact), (vec!["impact"], Cash::ZERO));
    let quick = day(10, |setup| {
        for (_, costs) in &mut setup.costs {
            costs.rules.latency = false;
        }
    });
    assert_eq!((quick.latency, quick.market), (Cash::ZERO, all.market));
    assert!(all.latency < Cash::ZERO);
}
