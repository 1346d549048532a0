//! Settlements by hand, by real rates, and whatever is announced.

use alloc::vec::Vec as List;

use proptest::prelude::*;

use super::*;
use crate::instrument::Venue;

const HOUR: u64 = 60 * MINUTES;
/// 2020-03-12 08:00 UTC.
const START: u64 = 1_584_000_000 * SECONDS;
const ID: InstrumentId = InstrumentId(7);

fn instrument(kind: Kind) -> Instrument {
    Instrument {
        kind,
        ..Instrument::unknown(Venue::BinanceUsdm, "BTCUSDT").expect("short")
    }
}

fn schedule() -> Schedule {
    Schedule::new(ID, &instrument(Kind::Perpetual))
}

fn says(settles: u64, rate: i64, mark: i64) -> Funding {
    Funding {
        mark: Price(mark),
        index: Price(0),
        rate: Some(rate),
        predicted: None,
        settles: Time(settles),
        interval_s: 0,
    }
}

/// The next settlement, made durable at once.
fn settle(schedule: &mut Schedule, now: u64, position: i64) -> Option<(u64, i64, bool)> {
    let settlement = schedule.due(Time(now), Qty(position))?;
    assert!(schedule.settled(&settlement));
    Some((
        settlement.settled.0,
        settlement.amount.0,
        settlement.estimated,
    ))
}

/// Five settlements of Binance's BTCUSDT perpetual from 2020-03-12 08:00 UTC on, eight hours apart:
/// the rate in `10^-12` and the mark price with eight decimals (the venue's funding history, and the
/// opening of its mark price kline of that hour).
const BTC: [(i64, i64); 5] = [
    (100_000_000, 738_661_159_137),
    (-151_490_000, 613_181_601_339),
    (-160_730_000, 480_152_015_627),
    (-3_000_000_000, 538_593_000_000),
    (-653_780_000, 520_413_771_930),
];

#[test]
fn settles_recorded_rates_to_the_last_unit() {
    // −1.5 · mark · rate and its opposite, by Python's decimal, rounded against us.
    let long = [
        -110_799_174,
        139_336_321,
        115_762_250,
        2_423_668_500,
        510_354_173,
    ];
    let short = [
        110_799_173,
        -139_336_322,
        -115_762_251,
        -2_423_668_500,
        -510_354_174,
    ];
    for (position, want) in [(150_000_000, long), (-150_000_000, short)] {
        let mut schedule = schedule();
        let mut got = List::new();
        for (number, (rate, mark)) in (0..).zip(BTC) {
            let settles = START + number * 8 * HOUR;
            schedule.update(&says(settles, 1, 1), Time(settles - HOUR));
            schedule.update(&says(settles, rate, mark), Time(settles - SECONDS));
            assert_eq!(settle(&mut schedule, settles - 1, position), None);
            // A frame of the interval that is over comes too late.
            schedule.update(&says(settles, 5, 5), Time(settles));
            let (when, amount, estimated) = settle(&mut schedule, settles, position).expect("due");
            assert_eq!((when, estimated), (settles, false));
            got.push(amount);
            schedule.update(&says(settles + 8 * HOUR, 1, 1), Time(settles + SECONDS));
            assert_eq!(settle(&mut schedule, settles + SECONDS, position), None);
        }
        assert_eq!(got, want);
        assert_eq!(schedule.interval_s(), Some(8 * 3_600));
        assert_eq!(schedule.poll_missed(), None);
    }
}

#[test]
fn asks_once_until_durable_and_again_after_a_start() {
    let mut schedule = schedule();
    schedule.update(&says(START, 1_000_000, 500), Time(START - 1));
    let first = schedule.due(Time(START), Qty(4)).expect("due");
    assert_eq!(schedule.due(Time(START + 1), Qty(9)), None, "asked");
    let bytes = postcard::to_allocvec(&schedule).expect("plain");
    let mut restored: Schedule = postcard::from_bytes(&bytes).expect("same");
    assert_eq!(
        restored.due(Time(START + 2), Qty(9)),
        Some(first),
        "what was held then"
    );
    schedule.recover();
    assert_eq!(schedule.due(Time(START + 2), Qty(0)), Some(first));
    assert!(schedule.settled(&first));
    assert!(!schedule.settled(&first), "counts once");
    assert_eq!(schedule.due(Time(START + HOUR), Qty(4)), None);
    // The event is durable, but the journal lost the record that gave rise to it.
    let mut behind = Schedule::new(ID, &instrument(Kind::Perpetual));
    behind.update(&says(START, 1_000_000, 500), Time(START - 1));
    assert!(behind.settled(&first));
    assert_eq!(behind.due(Time(START), Qty(4)), None, "it counted");
}

#[test]
fn the_position_is_the_one_at_the_settlement() {
    let mut schedule = schedule();
    schedule.update(&says(START, 1_000_000_000_000, 100), Time(START - 1));
    assert_eq!(schedule.due(Time(START), Qty(0)), None);
    assert_eq!(
        schedule.due(Time(START + 1), Qty(1_000_000_000)),
        None,
        "bought later"
    );
    schedule.update(&says(START + HOUR, 1_000_000_000_000, 100), Time(START + 2));
    let funding = says(START + HOUR, 1_000_000_000_000, 100);
    schedule.update(&funding, Time(START + HOUR - 1));
    // Eight and eight decimals make one: 10^9 · 100 / 10^8.
    assert_eq!(
        settle(&mut schedule, START + HOUR, 1_000_000_000),
        Some((START + HOUR, -1_000, false))
    );
}

#[test]
fn an_outage_is_charged_for_the_intervals_it_really_had() {
    let mut schedule = schedule();
    // Hourly, witnessed once, so the interval is known though no frame says it.
    schedule.update(&says(START, 10, 100_000_000), Time(START - 1));
    schedule.update(&says(START + HOUR, 20, 100_000_000), Time(START + 1));
    assert_eq!(schedule.interval_s(), Some(3_600));
    let position = 10_i64.pow(15);
    assert_eq!(
        settle(&mut schedule, START + 1, position),
        Some((START, -10_000, false))
    );
    // Down from here to half past four hours later: one heard long before, three never seen.
    schedule.update(
        &says(START + 5 * HOUR, 99, 100_000_000),
        Time(START + 4 * HOUR + HOUR / 2),
    );
    let now = START + 4 * HOUR + HOUR / 2;
    for hour in 1..=4 {
        assert_eq!(
            settle(&mut schedule, now, position),
            Some((START + hour * HOUR, -20_000, true))
        );
    }
    assert_eq!(settle(&mut schedule, now, position), None);
    let missed = Missed {
        instrument: ID,
        from: Time(START + 2 * HOUR),
        to: Time(START + 4 * HOUR),
        count: Some(3),
        charged: true,
    };
    assert_eq!(
        (schedule.poll_missed(), schedule.poll_missed()),
        (Some(missed), None)
    );
    schedule.update(
        &says(START + 5 * HOUR, 30, 100_000_000),
        Time(START + 5 * HOUR - 1),
    );
    assert_eq!(
        settle(&mut schedule, START + 5 * HOUR, position),
        Some((START + 5 * HOUR, -30_000, false))
    );
}

#[test]
fn an_outage_of_unknown_intervals_is_told_and_not_charged() {
    let mut unknown = schedule();
    unknown.update(&says(START, 10, 1_000), Time(START - 1));
    unknown.update(&says(START + 12 * HOUR, 10, 1_000), Time(START + 9 * HOUR));
    let told = Missed {
        instrument: ID,
        from: Time(START),
        to: Time(START + 12 * HOUR),
        count: None,
        charged: false,
    };
    assert_eq!(unknown.poll_missed(), Some(told));
    assert!(settle(&mut unknown, START + 9 * HOUR, 1).is_some());
    assert_eq!(settle(&mut unknown, START + 9 * HOUR, 1), None);
    // The venue states another interval than before: how many of which is not known.
    let mut changed = schedule();
    let stated = |settles, interval_s| Funding {
        interval_s,
        ..says(settles, 10, 1_000)
    };
    changed.update(&stated(START, 8 * 3_600), Time(START - 1));
    changed.update(
        &stated(START + 12 * HOUR, 4 * 3_600),
        Time(START + 9 * HOUR),
    );
    assert_eq!(changed.poll_missed(), Some(told));
    assert_eq!(changed.interval_s(), Some(4 * 3_600));
}

#[test]
fn the_venue_may_change_its_interval_and_move_a_settlement() {
    let mut schedule = schedule();
    for (number, settles) in [0, 8, 16, 20, 24, 25].into_iter().enumerate() {
        let settles = START + settles * HOUR;
        schedule.update(&says(settles, 1, 1), Time(settles - MINUTES));
        if number > 0 {
            assert_eq!(schedule.poll_missed(), None);
        }
        assert!(settle(&mut schedule, settles, 1).is_some());
        let next = START + [8, 16, 20, 24, 25, 26][number] * HOUR;
        schedule.update(&says(next, 1, 1), Time(settles + SECONDS));
    }
    assert_eq!(schedule.interval_s(), Some(3_600));
    // Moved from 26 h to 28 h and back to 27 h before any of them: nothing settled.
    let at = |minutes: u64| Time(START + 25 * HOUR + minutes * MINUTES);
    schedule.update(&says(START + 28 * HOUR, 1, 1), at(10));
    schedule.update(&says(START + 27 * HOUR, 1, 1), at(20));
    assert_eq!(schedule.due(Time(START + 27 * HOUR - 1), Qty(1)), None);
    assert_eq!(schedule.settles(), Some(Time(START + 27 * HOUR)));
    // Stamps that jitter name the same settlement.
    schedule.update(&says(START + 27 * HOUR + 7_000_000, 1, 1), at(30));
    assert_eq!(schedule.settles(), Some(Time(START + 27 * HOUR)));
}

#[test]
fn only_perpetuals_with_a_schedule_settle() {
    for kind in [Kind::Spot, Kind::Future, Kind::Inverse] {
        let mut schedule = Schedule::new(ID, &instrument(kind));
        schedule.update(&says(START, 10, 10), Time(START - 1));
        assert!(!schedule.is_scheduled());
        assert_eq!(schedule.due(Time(START), Qty(1)), None);
    }
    let mut schedule = schedule();
    schedule.update(&says(0, 10, 10), Time(START));
    schedule.update(
        &Funding {
            rate: None,
            ..says(START, 0, 10)
        },
        Time(START - 1),
    );
    assert!(!schedule.is_scheduled());
    assert_eq!(schedule.predicted(Time(START), Qty(1), HOUR), None);
    // Never a price: told, not charged.
    schedule.update(&says(START, 10, 0), Time(START - 1));
    assert_eq!(schedule.predicted(Time(START - 1), Qty(1), HOUR / 2), None);
    assert_eq!(schedule.due(Time(START), Qty(1)), None);
    let missed = schedule.poll_missed().expect("told");
    assert_eq!((missed.count, missed.charged), (Some(1), false));
}

#[test]
fn predicts_the_settlements_that_fall_into_the_time() {
    let mut schedule = schedule();
    let hourly = Funding {
        predicted: Some(-3_000_000_000),
        interval_s: 3_600,
        ..says(START, 1_000_000_000, 100_000_000)
    };
    schedule.update(&hourly, Time(START - HOUR / 2));
    // Ten at 1.00: a thousandth is one cent, three thousandths of the other sign are three.
    let held = |holding| {
        let cost = schedule.predicted(Time(START - HOUR / 2), Qty(1_000_000_000), holding);
        cost.map(|cash| cash.0)
    };
    assert_eq!(held(HOUR / 2 - 1), Some(0));
    assert_eq!(held(HOUR / 2), Some(-1_000_000));
    assert_eq!(held(HOUR), Some(-1_000_000));
    assert_eq!(held(HOUR / 2 + 2 * HOUR), Some(-1_000_000 + 2 * 3_000_000));
    let mut unstated = Schedule::new(ID, &instrument(Kind::Perpetual));
    unstated.update(
        &says(START, 1_000_000_000, 100_000_000),
        Time(START - HOUR / 2),
    );
    let held = |holding| unstated.predicted(Time(START - HOUR / 2), Qty(1_000_000_000), holding);
    assert_eq!(held(HOUR), Some(Cash(-1_000_000)));
    assert_eq!(
        held(HOUR / 2 + SHORTEST_NS),
        None,
        "a second one is possible"
    );
}

#[test]
fn a_queue_that_nobody_empties_is_told() {
    let mut schedule = schedule();
    for hour in 0..2 * MAX_RUNS as u64 + 5 {
        schedule.update(
            &says(START + hour * HOUR, 1, 1),
            Time(START + hour * HOUR - SECONDS),
        );
        let _ = schedule.due(Time(START + hour * HOUR), Qty(1));
        let next = START + (hour + 1) * HOUR;
        schedule.update(&says(next, 1, 1), Time(next - HOUR + SECONDS));
    }
    assert_eq!(schedule.runs.len(), MAX_RUNS);
    let mut told = List::new();
    told.extend(core::iter::from_fn(|| schedule.poll_missed()));
    assert_eq!(told.len(), MAX_RUNS);
    assert_eq!(told[0].from, Time(START + MAX_RUNS as u64 * HOUR));
    let newest = told.last().expect("some");
    assert_eq!(newest.to, Time(START + (2 * MAX_RUNS as u64 + 4) * HOUR));
    assert_eq!((newest.count, newest.charged), (None, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Any sequence of intervals, watched throughout, with starts and repeated events in between,
    /// against multiplying out each settlement.
    #[test]
    fn each_settlement_counts_once_and_exactly(
        steps in proptest::collection::vec(
            (1_u64..10, -5_000_000_000_i64..5_000_000_000, 1_i64..10_000_000_000_000,
             -10_000_000_000_i64..10_000_000_000, any::<bool>(), any::<bool>()),
            1..30,
        ),
    ) {
        let mut schedule = schedule();
        let mut settles = START;
        let (mut total, mut want) = (0_i128, 0_i128);
        let mut counted = List::new();
        for (hours, rate, mark, position, restart, repeat) in steps {
            schedule.update(&says(settles, rate / 2, mark / 2), Time(settles - 30 * MINUTES));
            schedule.update(&says(settles, rate, mark), Time(settles - SECONDS));
            prop_assert_eq!(schedule.due(Time(settles - 1), Qty(position / 3)), None);
            let mut given = schedule.due(Time(settles), Qty(position));
            prop_assert_eq!(schedule.due(Time(settles + 1), Qty(position / 2)), None);
            if restart {
                schedule.recover();
                prop_assert_eq!(schedule.due(Time(settles + 2), Qty(1)), given);
            }
            prop_assert_eq!(given.is_some(), position != 0);
            if let Some(settlement) = given.take() {
                prop_assert!(schedule.settled(&settlement));
                total += i128::from(settlement.amount.0);
                counted.push(settlement);
            }
            if repeat && let Some(old) = counted.first() {
                prop_assert!(!schedule.settled(old));
            }
            // 10^-28 of a unit: exact, and rounded down, which is against us.
            let exact = -i128::from(position) * i128::from(mark) * i128::from(rate);
            want += exact.div_euclid(10_i128.pow(20));
            let over = Time(settles + SECONDS);
            settles += hours * HOUR;
            schedule.update(&says(settles, 1, 1), over);
        }
        prop_assert_eq!(total, want);
        prop_assert_eq!(schedule.poll_missed(), None);
    }

    /// After an outage of any length: one settlement for each that there was, in order, none twice.
    #[test]
    fn an_outage_has_one_settlement_for_each_interval(
        interval in 1_u64..9, heard in 0_u64..8 * 3_600, missed in 0_u64..200, back in 1_u64..3_600,
    ) {
        let mut schedule = schedule();
        let step = interval * HOUR;
        schedule.update(&says(START, 7, 100), Time(START - SECONDS));
        let heard = (heard * SECONDS).min(step - 1);
        schedule.update(&says(START + step, 7, 100), Time(START + SECONDS));
        schedule.update(&says(START + step, 7, 100), Time(START + step - heard.max(1)));
        let next = START + (missed + 2) * step;
        let now = next - back * SECONDS;
        schedule.update(&says(next, 9, 100), Time(now));
        for number in 0..missed + 2 {
            let settlement = schedule.due(Time(now), Qty(1)).expect("due");
            prop_assert_eq!(settlement.settled, Time(START + number * step));
            prop_assert_eq!(settlement.rate, 7);
            let late = number == 1 && heard > WITNESS_NS;
            prop_assert_eq!(settlement.estimated, number > 1 || late);
            prop_assert!(schedule.settled(&settlement));
        }
        prop_assert_eq!(schedule.due(Time(now), Qty(1)), None);
        let told = schedule.poll_missed().and_then(|told| told.count).unwrap_or(0);
        prop_assert_eq!(u64::from(told), missed);
        prop_assert_eq!(schedule.due(Time(next), Qty(1)).map(|s| s.rate), Some(9));
    }

    /// Any announcement at any time is answered.
    #[test]
    fn nothing_overflows(
        list in proptest::collection::vec(
            (any::<u64>(), any::<u64>(), any::<i64>(), any::<i64>(), any::<u32>(), any::<i64>()), 1..60),
        near in any::<bool>(), scales in (0_u8..=18, 0_u8..=18),
    ) {
        let instrument = Instrument {
            price_scale: scales.0, qty_scale: scales.1, ..instrument(Kind::Perpetual)
        };
        let mut schedule = Schedule::new(ID, &instrument);
        for (at, ahead, rate, mark, interval_s, position) in list {
            let (at, settles) = if near {
                let at = START + at % (1_000 * HOUR);
                (at, at + ahead % (10 * HOUR))
            } else {
                (at, ahead)
            };
            let funding = Funding { interval_s, predicted: Some(rate), ..says(settles, rate, mark) };
            schedule.update(&funding, Time(at));
            let _ = schedule.predicted(Time(at), Qty(position), ahead);
            if let Some(settlement) = schedule.due(Time(at), Qty(position)) {
                let paid = (position < 0) == (rate < 0);
                prop_assert!(settlement.rate != rate || settlement.position != Qty(position)
                    || (settlement.amount.0 <= 0) == paid || settlement.amount.0 == 0);
                if interval_s % 3 > 0 {
                    schedule.settled(&settlement);
                }
            }
        }
        while schedule.poll_missed().is_some() {}
    }
}
