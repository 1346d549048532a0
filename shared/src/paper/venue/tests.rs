//! The paper venue rule by rule.

use alloc::vec;

use super::super::latency::Row;
use super::super::queue::Exponent;
use super::super::testing::*;
use super::*;
use crate::order::{Expiry, Kind, Reason, TimeInForce};
use TimeInForce::{Fok, Gtc, Ioc, PostOnly};

const SIMPLE: Rules = Rules::hftbacktest(QueueModel::Power3(Exponent::whole(3)));
const BUY: Side = Side::Buy;
const SELL: Side = Side::Sell;

fn simple() -> World {
    World::with_book(SIMPLE, [10, 20, 30], [4, 5, 6])
}

fn real() -> World {
    World::with_book(REALISTIC, [10, 20, 30], [4, 5, 6])
}

fn expired(why: Expiry) -> Vec<Outcome> {
    vec![Outcome::Expired(why)]
}

#[test]
fn whole_orders_take_at_the_touch_under_the_rules_of_hftbacktest() {
    for tif in [Gtc, Ioc, Fok] {
        let mut world = simple();
        let fill = filled(&world.send(BUY, 50, Some(102), tif));
        assert_eq!(
            (fill.qty, fill.left, fill.worst),
            (Qty(50), Qty(0), Price(101))
        );
        assert_eq!(
            (fill.notional, fill.maker),
            (Cash(50 * 101 * 10_000), false)
        );
        assert_eq!(fill.fee, Cash(50 * 101 * 10));
    }
    let mut world = simple();
    assert_eq!(
        world.send(BUY, 50, Some(101), PostOnly),
        expired(Expiry::WouldTake)
    );
    assert_eq!(
        world.send(BUY, 50, Some(100), Ioc),
        expired(Expiry::NoneLeft)
    );
    assert_eq!(world.send(BUY, 50, Some(100), Fok), expired(Expiry::NotAll));
    assert_eq!(world.send(BUY, 50, Some(100), PostOnly), [Outcome::Acked]);
    let fill = filled(&world.send(SELL, 70, None, Gtc));
    assert_eq!((fill.qty, fill.worst), (Qty(70), Price(100)));
    let mut empty = World::new(SIMPLE);
    let no_book = [Outcome::Rejected(Reject::NoBook)];
    assert_eq!(empty.send(SELL, 70, None, Gtc), no_book);
    assert_eq!(
        empty.buy(5, 100),
        [Outcome::Acked],
        "a limit waits for the book"
    );
}

#[test]
fn a_resting_order_fills_when_the_other_side_reaches_it() {
    let mut world = simple();
    world.buy(50, 100);
    world.row(SELL, 101, 0);
    world.row(SELL, 101, 9);
    assert_eq!(world.fills(), []);
    world.row(SELL, 100, 1);
    let fill = filled(&world.told());
    assert_eq!(
        (fill.qty, fill.maker, fill.worst),
        (Qty(50), true, Price(100))
    );
    assert_eq!(fill.notional, Cash(50 * 100 * 10_000));
    assert_eq!(fill.fee, Cash(-50 * 100), "a rebate");
    assert!(!world.venue.rests(ID));
}

#[test]
fn a_resting_order_fills_when_a_trade_goes_through_or_its_turn_comes() {
    let mut world = simple();
    world.buy(50, 100);
    world.buy(50, 99);
    world.trade(SELL, 100, 10);
    assert_eq!(world.fills(), [], "all of it was ahead");
    world.row(BUY, 100, 5);
    world.trade(BUY, 100, 50);
    assert_eq!(world.fills(), [], "the other side's trade");
    world.trade(SELL, 100, 1);
    assert_eq!(world.fills(), [(1, 50)], "its turn");
    world.trade(SELL, 98, 1);
    assert_eq!(world.fills(), [(2, 50)], "through its price");
    world.send(SELL, 7, Some(102), Gtc);
    world.trade(BUY, 103, 1);
    assert_eq!(world.fills(), [(3, 7)]);
}

#[test]
fn a_taker_walks_the_levels_and_they_stay_taken_for_a_while() {
    let mut world = real();
    world.surcharge = 123;
    let fill = filled(&world.send(BUY, 6, None, Gtc));
    assert_eq!(
        (fill.qty, fill.left, fill.worst),
        (Qty(6), Qty(0), Price(102))
    );
    assert_eq!(fill.notional, Cash((4 * 101 + 2 * 102) * 10_000 + 123));
    assert_eq!(fill.split.impact, Cash(-(2 * 10_000 + 123)));
    assert_eq!(fill.split.spread, Cash(-6 * 10_000 / 2));
    assert_eq!(fill.split.decided, Cash(6 * 201 * 10_000 / 2));
    let fill = filled(&world.send(BUY, 4, Some(102), Ioc));
    assert_eq!(
        (fill.qty, fill.left),
        (Qty(3), Qty(1)),
        "what is left of 102"
    );
    world.now += 2_000;
    let fill = filled(&world.send(BUY, 4, Some(102), Ioc));
    assert_eq!((fill.qty, fill.worst), (Qty(4), Price(101)), "it came back");
    let fill = filled(&world.send(SELL, 40, Some(99), Ioc));
    assert_eq!(
        (fill.qty, fill.notional),
        (Qty(30), Cash((1_000 + 1_980) * 10_000 - 123))
    );
}

#[test]
fn what_cannot_trade_expires_or_rests() {
    let mut world = real();
    assert_eq!(world.send(BUY, 10, Some(102), Fok), expired(Expiry::NotAll));
    assert!(!world.venue.watches(ID), "nothing was taken");
    let told = world.send(BUY, 10, Some(102), Ioc);
    assert_eq!(
        (told.len(), told[1]),
        (2, Outcome::Expired(Expiry::NoneLeft))
    );
    assert_eq!(filled(&told).left, Qty(1));
    let told = world.send(BUY, 10, None, Gtc);
    assert_eq!(told[1], Outcome::Expired(Expiry::Exhausted));
    assert_eq!(filled(&told).qty, Qty(6));
    assert_eq!(world.send(BUY, 1, None, Gtc), expired(Expiry::Exhausted));
    let mut world = real();
    let told = world.send(BUY, 10, Some(101), Gtc);
    assert_eq!((told.len(), told[0]), (2, Outcome::Acked));
    assert_eq!(filled(&told).qty, Qty(4));
    let resting = *world.venue.resting(ID).next().expect("rests");
    assert_eq!((resting.left, resting.limit()), (Qty(6), Price(101)));
    world.row(SELL, 102, 5);
    assert_eq!(world.fills(), [], "the four are ours already");
    world.now += 2_000;
    world.row(SELL, 102, 5);
    let fill = filled(&world.told());
    assert_eq!(
        (fill.qty, fill.maker, fill.worst),
        (Qty(4), true, Price(101))
    );
}

#[test]
fn a_trade_is_shared_by_price_and_then_by_turn() {
    let mut world = real();
    world.buy(5, 100);
    world.buy(5, 100);
    world.buy(5, 99);
    world.trade(SELL, 100, 12);
    assert_eq!(world.fills(), [(1, 2)], "ten were ahead");
    world.trade(SELL, 100, 4);
    assert_eq!(world.fills(), [(1, 3), (2, 1)]);
    world.trade(SELL, 99, 3);
    assert_eq!(world.fills(), [(2, 3)], "the better price first");
    world.trade(SELL, 99, 20);
    assert_eq!(
        world.fills(),
        [(2, 1)],
        "nineteen passed, twenty were ahead"
    );
    world.trade(SELL, 99, 2);
    assert_eq!(world.fills(), [(3, 1)]);
    let total = world.venue.statement(ID);
    assert_eq!((total.position, total.unheard), (Qty(11), Qty(0)));
}

#[test]
fn without_sharing_each_order_sees_the_whole_trade() {
    let mut world = World::with_book(
        Rules {
            shared_volume: false,
            ..REALISTIC
        },
        [10, 20, 30],
        [4, 5, 6],
    );
    world.buy(5, 100);
    world.buy(5, 100);
    world.trade(SELL, 100, 12);
    assert_eq!(world.fills(), [(1, 2), (2, 2)]);
    world.terms.rules.queue_position = false;
    world.buy(5, 98);
    world.trade(SELL, 98, 1);
    assert_eq!(world.fills(), [(1, 1), (2, 1), (3, 1)], "nothing is ahead");
}

#[test]
fn a_touch_gives_no_more_than_it_shows() {
    let mut world = real();
    world.buy(5, 100);
    world.buy(5, 99);
    world.row(SELL, 100, 3);
    assert_eq!(world.fills(), [(1, 3)]);
    world.row(SELL, 100, 3);
    assert_eq!(world.fills(), [], "the same three");
    world.row(SELL, 99, 1);
    assert_eq!(world.fills(), [(1, 1)], "the better price first");
    world.row(SELL, 99, 0);
    world.row(SELL, 100, 0);
    world.row(SELL, 99, 9);
    assert_eq!(
        world.fills(),
        [(1, 1), (2, 5)],
        "a level that went and came is new"
    );
}

#[test]
fn only_a_smaller_quantity_at_the_same_price_keeps_its_place() {
    let mut world = real();
    world.buy(8, 100);
    let order = OrderId(1);
    let replace = |price, qty| Request::Replace {
        order,
        instrument: ID,
        price: Price(price),
        qty: Qty(qty),
    };
    let ask = |world: &mut World, price, qty| {
        world.request(replace(price, qty)).expect("room");
        world.now += 1;
        world.arrive();
        let told = world.told();
        let ahead = world
            .venue
            .resting(ID)
            .next()
            .map(|resting| resting.joined_ahead.0);
        (told, ahead)
    };
    let replaced = |price, qty| {
        vec![Outcome::Replaced {
            price: Price(price),
            left: Qty(qty),
        }]
    };
    world.row(BUY, 100, 15);
    assert_eq!(ask(&mut world, 100, 6), (replaced(100, 6), Some(10)));
    assert_eq!(ask(&mut world, 100, 7), (replaced(100, 7), Some(15)));
    assert_eq!(ask(&mut world, 99, 7), (replaced(99, 7), Some(20)));
    let malformed = vec![Outcome::Unchanged(Reject::Malformed)];
    assert_eq!(ask(&mut world, 99, 0), (malformed, Some(20)));
    let (told, rests) = ask(&mut world, 101, 4);
    assert_eq!((told[0], rests), (replaced(101, 4)[0], None));
    assert_eq!(filled(&told).qty, Qty(4), "it takes");
    let unknown = vec![Outcome::Unchanged(Reject::UnknownOrder)];
    assert_eq!(ask(&mut world, 99, 7), (unknown, None));
}

#[test]
fn an_order_that_never_was_cannot_be_changed() {
    let mut world = real();
    let order = OrderId(9_999);
    let replace = Request::Replace {
        order,
        instrument: ID,
        price: Price(99),
        qty: Qty(5),
    };
    let cancel = Request::Cancel {
        order,
        instrument: ID,
    };
    let before = world.venue.statement(ID);
    for request in [replace, cancel] {
        world.request(request).expect("room");
        world.now += 1;
        world.arrive();
        let reports = world.reports();
        let told: Vec<_> = reports
            .iter()
            .map(|report| (report.order, report.number, report.outcome))
            .collect();
        let unknown = Outcome::Unchanged(Reject::UnknownOrder);
        assert_eq!(told, [(order, 0, unknown)], "{request:?}");
    }
    assert_eq!(
        (world.venue.rests(ID), world.venue.statement(ID)),
        (false, before)
    );
}

#[test]
fn refusals_are_typed_and_numbered() {
    let mut world = real();
    world.instrument.tick = 2;
    world.instrument.lot = 5;
    let malformed = [Outcome::Rejected(Reject::Malformed)];
    for (qty, price) in [(5, 99), (6, 98), (0, 98), (-5, 98), (5, 0), (5, -2)] {
        assert_eq!(world.buy(qty, price), malformed, "{qty} at {price}");
    }
    world.buy(5, 98);
    let resting = world.venue.resting(ID).next().expect("rests").order;
    let again = world
        .request(Request::New(resting))
        .expect_err("there already");
    assert_eq!(
        (again.number, again.outcome),
        (0, Outcome::Rejected(Reject::DuplicateId))
    );
    let cancel = Request::Cancel {
        order: resting.id,
        instrument: ID,
    };
    for _ in 0..2 {
        world.request(cancel).expect("room");
        world.now += 1;
        world.arrive();
    }
    let reports = world.reports();
    assert_eq!(
        (reports[0].number, reports[0].outcome),
        (2, Outcome::Canceled)
    );
    let unknown = Outcome::Unchanged(Reject::UnknownOrder);
    assert_eq!((reports[1].number, reports[1].outcome), (3, unknown));
    let again = world
        .request(Request::New(resting))
        .expect_err("its id was used");
    assert_eq!(again.outcome, Outcome::Rejected(Reject::DuplicateId));
}

#[test]
fn what_is_held_is_bounded() {
    let mut world = real();
    for _ in 0..MAX_RESTING {
        assert_eq!(world.buy(1, 98), [Outcome::Acked]);
    }
    assert_eq!(world.buy(1, 98), [Outcome::Rejected(Reject::Busy)]);
    assert_eq!(filled(&world.buy(1, 101)).qty, Qty(1), "it need not rest");
    for _ in MAX_RESTING..MAX_ORDERS {
        let order = world.order(BUY, 1, Kind::Limit(Price(98)), Gtc);
        world.request(Request::New(order)).expect("room");
    }
    let order = world.order(BUY, 1, Kind::Limit(Price(98)), Gtc);
    let busy = world.request(Request::New(order)).expect_err("full");
    assert_eq!(
        (busy.number, busy.outcome),
        (1, Outcome::Rejected(Reject::Busy))
    );
}

#[test]
fn unheard_answers_are_bounded_and_the_end_of_every_order_has_room() {
    let mut world = World::with_book(REALISTIC, [0, 0, 0], [4, 5, 6]);
    for _ in 0..MAX_RESTING {
        world.buy(1_000_000, 98);
    }
    for _ in 0..2 * Capacity::STANDARD.answers() {
        world.now += 1;
        let trade = Trade {
            id: 0,
            price: Price(98),
            qty: Qty(1),
            aggressor: SELL,
        };
        world.with(|venue, market, at| venue.trade(ID, &trade, market, at));
    }
    let unheard = world.venue.post.answers.len();
    assert!(
        unheard <= Capacity::STANDARD.answers() - Capacity::STANDARD.room() + MAX_RESTING,
        "{unheard}"
    );
    assert_eq!(world.fills().len(), unheard);
    world.trade(SELL, 98, 1);
    assert_eq!(world.fills(), [(1, 1)], "heard, so there is room");
}

#[test]
fn a_gap_voids_or_lowers_only_the_optimistic_bound() {
    let mut world = real();
    world.buy(5, 100);
    world.trade(SELL, 100, 5);
    let terms = world.terms.clone();
    world.venue.gap(ID, &terms, DIALECT, Time(world.now));
    let queue = world.venue.resting(ID).next().expect("kept").queue;
    assert_eq!(
        (queue.optimistic, queue.estimate, queue.pessimistic),
        (0.0, 0.05, 0.05)
    );
    world.book.update(BUY, Price(100), Qty(3));
    world.with(|venue, market, at| venue.resync(ID, market, at));
    let queue = world.venue.resting(ID).next().expect("kept").queue;
    assert_eq!(
        (queue.optimistic, queue.estimate, queue.pessimistic),
        (0.0, 0.03, 0.03)
    );
    world.trade(SELL, 100, 4);
    let fill = filled(&world.told());
    assert!(fill.spanned_gap && fill.qty == Qty(1));
    let mut terms = world.terms.clone();
    terms.rules.void_on_gap = true;
    world.venue.gap(ID, &terms, DIALECT, Time(world.now));
    assert_eq!(world.told(), [Outcome::Void(VoidCause::Gap)]);
    assert!(!world.venue.rests(ID));
}

#[test]
fn requests_and_answers_take_their_time_and_do_not_overtake() {
    let mut world = simple();
    world.terms.latency = Latency::Constant {
        entry_ns: 10,
        response_ns: 5,
    };
    let order = world.order(BUY, 5, Kind::Limit(Price(100)), Gtc);
    world.request(Request::New(order)).expect("room");
    assert_eq!(world.venue.due(), Some(Time(1_010)));
    world.terms.latency = Latency::Constant {
        entry_ns: 1,
        response_ns: 1,
    };
    let cancel = Request::Cancel {
        order: order.id,
        instrument: ID,
    };
    world.request(cancel).expect("room");
    world.now = 1_010;
    world.arrive();
    assert_eq!(world.venue.due(), Some(Time(1_010)), "strictly earlier");
    world.now = 1_011;
    world.terms.latency = Latency::Constant {
        entry_ns: 10,
        response_ns: 5,
    };
    world.arrive();
    assert_eq!(
        (world.venue.due(), world.venue.known()),
        (None, Some(Time(1_015)))
    );
    world.now = 1_014;
    assert_eq!(world.told(), []);
    world.now = 1_015;
    let reports = world.reports();
    let told: Vec<_> = reports
        .iter()
        .map(|r| (r.number, r.executed, r.outcome))
        .collect();
    let at = Time(1_010);
    assert_eq!(told, [(1, at, Outcome::Acked), (2, at, Outcome::Canceled)]);
}

#[test]
fn an_unreachable_venue_refuses() {
    let mut world = simple();
    world.terms.latency = Latency::Constant {
        entry_ns: -7,
        response_ns: 5,
    };
    let order = world.order(BUY, 5, Kind::Limit(Price(100)), Gtc);
    world.request(Request::New(order)).expect("taken");
    assert_eq!(
        (world.venue.due(), world.venue.known()),
        (None, Some(Time(1_007)))
    );
    world.now = 1_007;
    assert_eq!(world.told(), [Outcome::Rejected(Reject::Unreachable)]);
    let row = |request, venue, response| Row {
        request,
        venue,
        response,
    };
    world.terms.latency = Latency::Recorded(vec![row(1_000, 0, 1_030), row(2_000, 0, 2_030)]);
    let order = world.order(BUY, 5, Kind::Limit(Price(100)), Gtc);
    world.request(Request::New(order)).expect("taken");
    assert_eq!(world.venue.known(), Some(Time(1_037)));
    world.terms.rules.latency = false;
    let order = world.order(BUY, 5, Kind::Limit(Price(100)), Gtc);
    world.request(Request::New(order)).expect("taken");
    assert_eq!(world.venue.due(), Some(Time(1_007)), "switched off");
}

#[test]
fn measured_latency_meets_the_book_that_the_venue_had() {
    let mut world = simple();
    world.terms.latency = Latency::Measured {
        entry_ns: (10, 10),
        response_ns: (5, 5),
    };
    let order = world.order(BUY, 5, None.map_or(Kind::Market, Kind::Limit), Gtc);
    world.request(Request::New(order)).expect("room");
    assert_eq!(
        world.venue.due(),
        Some(Time(1_015)),
        "arrival and the feed's delay"
    );
    world.now = 1_016;
    world.arrive();
    let report = world.reports().remove(0);
    assert_eq!(report.executed, Time(1_010));
    let order = world.order(BUY, 5, Kind::Limit(Price(100)), Gtc);
    world.request(Request::New(order)).expect("room");
    world.now = 1_100;
    world.arrive();
    world.reports();
    world.trade(SELL, 99, 1);
    assert_eq!(
        world.venue.known(),
        Some(Time(1_101)),
        "known when the trade is"
    );
    assert_eq!(
        world.reports()[0].executed,
        Time(1_096),
        "but it happened before"
    );
}

#[test]
fn a_stale_or_unfinished_book_refuses_or_waits() {
    let mut world = simple();
    let stale = crate::book::Book::new();
    let order = world.order(BUY, 5, Kind::Limit(Price(100)), Gtc);
    world.request(Request::New(order)).expect("room");
    let before = Time(2_000);
    world.with(|venue, _, _| venue.arrive(before, |_| None));
    assert_eq!(world.venue.due(), Some(Time(1_000)), "waits");
    world.with(|venue, market, _| {
        let market = Market {
            depth: Depth::Book(&stale),
            ..*market
        };
        venue.arrive(before, |_| Some(market));
    });
    assert_eq!(world.told(), [Outcome::Rejected(Reject::NoBook)]);
}

#[test]
fn beyond_a_cut_book_the_first_statement_of_the_level_is_all_ahead() {
    use crate::book::Book;
    use crate::event::{Depth as Message, DepthKind, Level};
    let mut world = real();
    let level = |price, qty| Level {
        price: Price(price),
        qty: Qty(qty),
    };
    let kind = DepthKind::Snapshot {
        truncated: false,
        limit: 2,
    };
    let message = Message {
        kind,
        first: true,
        last: true,
        id: 1,
        bids: 2,
        levels: [level(100, 10), level(99, 20), level(101, 4), level(102, 5)]
            .into_iter()
            .collect(),
        checksum: None,
    };
    let mut book = Book::new();
    assert_eq!(book.depth(&message, &world.instrument, Time(1)), None);
    let order = world.order(BUY, 5, Kind::Limit(Price(97)), Gtc);
    world.request(Request::New(order)).expect("room");
    world.with(|venue, market, _| {
        let market = Market {
            depth: Depth::Book(&book),
            ..*market
        };
        venue.arrive(Time(2_000), |_| Some(market));
    });
    world.row(BUY, 97, 40);
    let resting = world.venue.resting(ID).next().expect("rests");
    assert_eq!(
        (resting.queue.optimistic, resting.queue.pessimistic),
        (0.0, 0.4)
    );
    assert_eq!(resting.joined_ahead, Qty(40));
}

#[test]
fn a_synthetic_book_is_said_to_be_one() {
    let mut world = real();
    let asks = [crate::event::Level {
        price: Price(101),
        qty: Qty(3),
    }];
    let order = world.order(BUY, 2, Kind::Market, Ioc);
    world.request(Request::New(order)).expect("room");
    world.with(|venue, market, _| {
        let depth = Depth::Levels {
            bids: &[],
            asks: &asks,
        };
        let market = Market { depth, ..*market };
        venue.arrive(Time(2_000), |_| Some(market));
    });
    world.now = 2_000;
    let fill = filled(&world.told());
    assert!(fill.synthetic && fill.qty == Qty(2));
}

#[test]
fn a_place_in_the_queue_is_told_in_average_trades() {
    let mut world = real();
    world.average_trade = Qty(3);
    world.buy(5, 100);
    world.trade(SELL, 100, 11);
    assert_eq!(filled(&world.told()).queue_orders, 3);
}

#[test]
fn a_new_process_voids_what_nobody_heard_of_and_repeats_how_orders_ended() {
    let mut world = real();
    world.buy(5, 100);
    world.trade(SELL, 100, 12);
    world.venue.poll(Time(world.now)).expect("filled");
    assert_eq!(world.venue.statement(ID).unheard, Qty(2));
    let on_its_way = world.order(BUY, 1, Kind::Market, Ioc);
    world.request(Request::New(on_its_way)).expect("room");
    let cancel = Request::Cancel {
        order: OrderId(1),
        instrument: ID,
    };
    world.request(cancel).expect("room");
    let bytes = postcard::to_allocvec(&world.venue).expect("fits");
    world.venue = postcard::from_bytes(&bytes).expect("the same");
    world.venue.restart();
    assert_eq!(world.venue.due(), None);
    assert_eq!(world.venue.statement(ID), Statement::default());
    assert!(!world.venue.rests(ID), "what traded of it is not known");
    let told = |world: &mut World| -> Vec<_> {
        let reports = world.reports().into_iter();
        reports
            .map(|report| (report.order.0, report.number, report.outcome))
            .collect()
    };
    let void = Outcome::Void(VoidCause::Restart);
    let unchanged = Outcome::Unchanged(Reject::Unreachable);
    let expected = [(1, 2, void), (2, 1, void), (1, 3, unchanged)];
    assert_eq!(told(&mut world), expected);

    world.buy(5, 100);
    let cancel = Request::Cancel {
        order: OrderId(3),
        instrument: ID,
    };
    world.request(cancel).expect("room");
    world.now += 1;
    world.venue.restart();
    let unreachable = told(&mut world);
    assert_eq!(unreachable, [(3, 2, unchanged)]);
    assert!(world.venue.rests(ID), "the order itself is as it was");
    world.request(cancel).expect("room");
    world.now += 1;
    world.arrive();
    let ended = world.venue.poll(Time(world.now)).expect("canceled");
    world.venue.restart();
    assert_eq!(world.reports(), [ended]);
}

#[test]
fn a_report_that_outlived_the_journals_tail_is_the_truth() {
    let mut world = real();
    world.buy(5, 100);
    let before = world.venue.clone();
    world.trade(SELL, 100, 12);
    world.trade(SELL, 100, 1);
    let reports = world.reports();
    assert_eq!(reports.len(), 2);
    // The order is known to rest, its fills are not.
    world.venue = before;
    for report in [&reports[0], &reports[1], &reports[0]] {
        world.venue.heard(report);
    }
    assert_eq!(
        world.venue.resting(ID).next().map(|resting| resting.left),
        Some(Qty(2))
    );
    assert_eq!(world.venue.statement(ID).position, Qty(3));
    // Nothing is known of the order: it cannot be sent again, nor traded here.
    world.venue = Venue::new(1);
    world.venue.heard(&reports[0]);
    world.venue.heard(&reports[0]);
    assert_eq!(world.venue.statement(ID).position, Qty(2));
    let void = world.reports();
    assert_eq!(
        (void[0].number, void[0].outcome),
        (3, Outcome::Void(VoidCause::Restart))
    );
    // It is still on its way here, and filled by the report.
    let order = world.order(BUY, 5, Kind::Limit(Price(100)), Gtc);
    world.request(Request::New(order)).expect("room");
    let Outcome::Filled(fill) = reports[0].outcome else {
        panic!("a fill")
    };
    let whole = Report {
        order: order.id,
        number: 1,
        outcome: Outcome::Filled(Fill {
            left: Qty(0),
            ..fill
        }),
        ..reports[0]
    };
    world.venue.heard(&whole);
    assert_eq!(world.venue.due(), None, "it cannot trade twice");
}

#[test]
fn another_history_gives_in_to_the_durable_report() {
    let mut world = real();
    world.buy(5, 100);
    world.trade(SELL, 100, 13);
    let mine = world.venue.poll(Time(world.now)).expect("three filled");
    let Outcome::Filled(fill) = mine.outcome else {
        panic!("a fill")
    };
    assert_eq!(fill.qty, Qty(3));
    let durable = Report {
        outcome: Outcome::Filled(Fill {
            qty: Qty(4),
            left: Qty(1),
            ..fill
        }),
        ..mine
    };
    world.venue.heard(&durable);
    assert_eq!(
        world.venue.statement(ID),
        Statement {
            position: Qty(4),
            unheard: Qty(0)
        }
    );
    assert_eq!(
        world.venue.resting(ID).next().map(|resting| resting.left),
        Some(Qty(1))
    );
}

#[test]
fn fees_round_against_us() {
    use super::super::matching::fee;
    for (notional, ppm, want) in [
        (1_000_000, 1_000, 1_000),
        (1, 1, 1),
        (1_500_000, 1, 2),
        (1_500_000, -1, -1),
        (1, -1, 0),
        (0, 5, 0),
    ] {
        assert_eq!(fee(Cash(notional), ppm), Cash(want), "{notional} at {ppm}");
    }
}

#[test]
fn reasons_do_not_change_what_the_venue_does() {
    let mut outcomes = Vec::new();
    for reason in Reason::ALL {
        let mut world = real();
        let order = Order {
            reason,
            ..world.order(BUY, 6, Kind::Market, Ioc)
        };
        world.request(Request::New(order)).expect("room");
        world.now += 1;
        world.arrive();
        outcomes.push(world.told());
    }
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]));
}
