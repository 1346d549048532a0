//! Positions against a double-entry oracle.

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::{Strategy, *};
use crate::attribution::Split;
use crate::num::Price;
use crate::time::SECONDS;

const ID: InstrumentId = InstrumentId(0);
const HOUR: u64 = SNAPSHOT_NS;

fn strategy(reason: Reason) -> Strategy {
    Strategy::new(0, reason).expect("the first policy")
}

fn fill(side: Side, qty: i64, notional: i64, fee: i64) -> Fill {
    Fill {
        side,
        qty: Qty(qty),
        left: Qty(0),
        notional: Cash(notional),
        worst: Price(1),
        fee: Cash(fee),
        maker: false,
        synthetic: false,
        spanned_gap: false,
        queue_orders: 0,
        split: Split::default(),
    }
}

fn run(
    tracker: &mut Tracker,
    reason: Reason,
    (side, qty, notional, fee): (Side, i64, i64, i64),
    at: u64,
) -> Option<Closed> {
    let fill = fill(side, qty, notional, fee);
    tracker
        .fill(ID, strategy(reason), &fill, Time(at))
        .expect("a good fill")
}

#[test]
fn a_round_trip_tells_what_it_earned() {
    let mut tracker = Tracker::new(1);
    let decision = Reason::Decision;
    let opened = run(&mut tracker, decision, (Side::Buy, 10, 1_000, 10), 100);
    assert_eq!(opened, None);
    tracker.fund(ID, Cash(-7), Time(150)).expect("known");
    // 4 of 10 at 110 each: 440 - 400, less 4 of the opening fees, less 3.
    let reduced = run(&mut tracker, Reason::Flatten, (Side::Sell, 4, 440, 3), 200);
    let expected = Closed {
        qty: Qty(4),
        net: Cash(33),
        trip: None,
    };
    assert_eq!(reduced, Some(expected));
    // 9 at 90 each: 6 close at a loss of 60 with 6 + 4 in fees, 3 open short with a fee of 2.
    let stop = Reason::StopLoss;
    let turned = run(&mut tracker, stop, (Side::Sell, 9, 810, 6), 500).expect("closed");
    assert_eq!((turned.qty, turned.net), (Qty(6), Cash(-70)));
    let trip = turned.trip.expect("ended");
    assert_eq!(
        trip,
        Trip {
            instrument: ID,
            strategy: strategy(Reason::Decision),
            side: Side::Buy,
            opened: Time(100),
            closed: Time(500),
            result: Cash(33 - 70 - 7),
            fees: Cash(10 + 3 + 4),
            funding: Cash(-7),
            fills: 3,
        }
    );
    assert_eq!((trip.won(), trip.held_ns()), (false, 400));
    let held = Held {
        qty: Qty(-3),
        cost: Cash(-270),
        fees: Cash(2),
        realised: Cash(-44),
    };
    assert_eq!(tracker.held(ID), Some(&held));
    let closed = run(&mut tracker, decision, (Side::Buy, 3, 240, 1), 600).expect("closed");
    let trip = closed.trip.expect("ended");
    assert_eq!(
        (trip.side, trip.result, trip.fills),
        (Side::Sell, Cash(27), 2)
    );
    assert_eq!(trip.strategy.reason(), Reason::StopLoss);
    assert!(trip.won());
    // Funding that settles on a position already closed is money all the same.
    tracker.fund(ID, Cash(5), Time(700)).expect("known");
    let flat = Held {
        realised: Cash(-44 + 27 + 5),
        ..Held::default()
    };
    assert_eq!(tracker.held(ID), Some(&flat));
    assert_eq!(tracker.changes().len(), 4);
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let mut tracker = Tracker::new(1);
    let big = fill(Side::Buy, i64::MAX, 1, 0);
    let decision = strategy(Reason::Decision);
    tracker
        .fill(ID, decision, &big, Time(1))
        .expect("the largest");
    let before = tracker.clone();
    let other = InstrumentId(1);
    for (id, fill, error) in [
        (other, big, TrackError::UnknownInstrument(other)),
        (
            ID,
            fill(Side::Buy, 0, 1, 0),
            TrackError::NotPositive(Qty(0)),
        ),
        (
            ID,
            fill(Side::Sell, i64::MIN, 1, 0),
            TrackError::NotPositive(Qty(i64::MIN)),
        ),
        (ID, fill(Side::Buy, 1, 1, 0), TrackError::TooLarge),
    ] {
        assert_eq!(tracker.fill(id, decision, &fill, Time(2)), Err(error));
    }
    assert!(tracker.fund(other, Cash(1), Time(2)).is_err());
    assert_eq!(tracker, before);
    assert_eq!(Strategy::new(4, Reason::Decision), None);
}

#[test]
fn strategies_fill_their_table() {
    let places: Vec<usize> = Strategy::all().map(Strategy::index).collect();
    assert_eq!(places, (0..MAX_STRATEGIES).collect::<Vec<_>>());
}

#[test]
fn snapshots_are_hourly_for_seven_days() {
    let mut tracker = Tracker::new(2);
    let buy = (Side::Buy, 1, 100, 0);
    let start = 1_000 * HOUR + 7;
    run(&mut tracker, Reason::Decision, buy, start);
    tracker.advance(Time(start + HOUR / 2));
    assert_eq!(tracker.snapshots(ID).count(), 0);
    // The fill comes before anything else in its hour: the snapshot is of the position before it.
    run(&mut tracker, Reason::Decision, buy, start + HOUR);
    let first: Vec<_> = tracker.snapshots(ID).map(|s| (s.at, s.held.qty)).collect();
    assert_eq!(first, [(Time(1_001 * HOUR), Qty(1))]);
    for hour in 2..400 {
        tracker.advance(Time(start + hour * HOUR));
    }
    let times: Vec<u64> = tracker.snapshots(ID).map(|s| s.at.0 / HOUR).collect();
    assert_eq!(times, (1_232..1_400).collect::<Vec<_>>());
    assert_eq!(
        tracker.snapshots(InstrumentId(1)).count(),
        0,
        "never traded"
    );
    // An outage: what is older than seven days goes, although there is room for it.
    tracker.advance(Time(start + 500 * HOUR));
    let times: Vec<u64> = tracker.snapshots(ID).map(|s| s.at.0 / HOUR).collect();
    let mut expected: Vec<u64> = (1_333..1_400).collect();
    expected.push(1_500);
    assert_eq!(times, expected);
    // The clock is set back.
    tracker.advance(Time(start + 398 * HOUR));
    let times: Vec<u64> = tracker.snapshots(ID).map(|s| s.at.0 / HOUR).collect();
    assert_eq!(times, (1_333..1_399).collect::<Vec<_>>());
}

#[test]
fn changes_are_bounded() {
    let mut tracker = Tracker::new(1);
    for at in 1..=300 {
        run(&mut tracker, Reason::Decision, (Side::Buy, 1, 100, 0), at);
    }
    let times: Vec<u64> = tracker.changes().map(|c| c.snapshot.at.0).collect();
    assert_eq!(times, (45..=300).collect::<Vec<_>>());
}

#[test]
fn a_difference_is_told_and_never_adopted() {
    let mut tracker = Tracker::new(1);
    run(&mut tracker, Reason::Decision, (Side::Buy, 5, 500, 0), 1);
    let held = *tracker.held(ID).expect("known");
    let at = Time(2);
    let mut compare = |ours, statement, unheard| {
        let compared = tracker.reconcile(ID, Qty(ours), Qty(statement), Qty(unheard), at);
        (compared, tracker.differences().copied().collect::<Vec<_>>())
    };
    assert_eq!(compare(5, 5, 0), (Ok(()), Vec::new()));
    // The venue sold 2 of them and the report is on its way.
    assert_eq!(compare(5, 3, -2), (Ok(()), Vec::new()));
    let difference = Difference {
        instrument: ID,
        ours: Qty(5),
        unheard: Qty(0),
        statement: Qty(3),
        at,
    };
    assert_eq!(compare(5, 3, 0), (Err(difference), [difference].into()));
    assert_eq!(difference.by(), Qty(-2));
    let (compared, _) = compare(i64::MAX, -1, i64::MAX);
    assert_eq!(compared.expect_err("wraps to -2").by(), Qty(i64::MIN));
    assert_eq!(compare(5, 5, 0), (Ok(()), Vec::new()));
    assert_eq!(tracker.held(ID), Some(&held));
}

#[test]
fn reconciliation_is_due_at_the_start_and_every_minute() {
    let mut tracker = Tracker::new(1);
    let start = 1_000 * SECONDS;
    let mut due = |at: u64| tracker.due(Time(at));
    assert!(due(start));
    assert!(!due(start));
    assert!(!due(start + MINUTES - 1));
    assert!(due(start + MINUTES));
    assert!(!due(start + 2 * MINUTES - 1));
    assert!(due(start + 3 * MINUTES));
    assert!(due(start), "the clock was set back");
    assert!(!due(start + 1));
    tracker.restart();
    assert!(tracker.due(Time(start + 2)));
}

#[derive(Clone, Debug)]
enum Happening {
    Fill(bool, i64, i64, i64),
    Funding(i64),
}

fn happening() -> impl proptest::strategy::Strategy<Value = Happening> {
    prop_oneof![
        6 => (any::<bool>(), 1_i64..20, 0_i64..1_000_000, -50_i64..500)
            .prop_map(|(buy, qty, notional, fee)| Happening::Fill(buy, qty, notional, fee)),
        1 => (-1_000_i64..1_000).prop_map(Happening::Funding),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// The oracle knows only how much money came in and what is held.
    #[test]
    fn results_sum_to_the_money_that_came_in(
        happenings in proptest::collection::vec(happening(), 1..80), last in 0_i64..1_000_000
    ) {
        let mut tracker = Tracker::new(1);
        let (mut money, mut held, mut flat_funding) = (0_i64, 0_i64, 0_i64);
        let (mut nets, mut trips, mut funding, mut fees) = (0_i64, 0_i64, 0_i64, 0_i64);
        let mut ended = 0;
        let mut flattened = false;
        let mut at = 0;
        let mut queue: VecDeque<Happening> = happenings.into();
        while let Some(happening) = queue.pop_front() {
            at += 1;
            match happening {
                Happening::Fill(buy, qty, notional, fee) => {
                    let side = if buy { Side::Buy } else { Side::Sell };
                    money -= side.sign() * notional + fee;
                    fees += fee;
                    let before = held;
                    held += side.sign() * qty;
                    let closed = run(&mut tracker, Reason::Decision, (side, qty, notional, fee), at);
                    let reduces = before.signum() == -side.sign();
                    prop_assert_eq!(closed.is_some(), reduces);
                    if let Some(closed) = closed {
                        prop_assert_eq!(closed.qty.0, before.abs().min(qty));
                        nets += closed.net.0;
                        prop_assert_eq!(closed.trip.is_some(), qty >= before.abs());
                        if let Some(trip) = closed.trip {
                            trips += trip.result.0;
                            ended += 1;
                            prop_assert_eq!(trip.side, side.opposite());
                            prop_assert_eq!(trip.closed, Time(at));
                        }
                    }
                }
                Happening::Funding(amount) => {
                    money += amount;
                    funding += amount;
                    if held == 0 {
                        flat_funding += amount;
                    }
                    tracker.fund(ID, Cash(amount), Time(at)).expect("known");
                }
            }
            let now = *tracker.held(ID).expect("known");
            prop_assert_eq!(now.qty, Qty(held));
            prop_assert_eq!(now.realised.0, nets + funding);
            prop_assert_eq!(now.realised.0 - now.cost.0 - now.fees.0, money);
            if queue.is_empty() && !flattened {
                flattened = true;
                if held != 0 {
                    queue.push_back(Happening::Fill(held < 0, held.abs(), last, 3));
                }
            }
        }
        prop_assert_eq!(trips + flat_funding, money);
        prop_assert_eq!(tracker.held(ID).map(|h| (h.qty, h.cost, h.fees)), Some((Qty(0), Cash(0), Cash(0))));
        prop_assert!(ended > 0 || fees == 0);
        let bytes = postcard::to_allocvec(&tracker).expect("plain data");
        prop_assert_eq!(postcard::from_bytes(&bytes), Ok(tracker));
    }
}
