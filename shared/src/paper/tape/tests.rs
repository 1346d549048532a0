//! The tape against a slow recomputation from the list of events.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A whole minute.
const START: u64 = 1_000_000 * BAR_NS;

fn trade(price: i64, qty: i64, aggressor: Side) -> Trade {
    Trade {
        id: 0,
        price: Price(price),
        qty: Qty(qty),
        aggressor,
    }
}

/// `count` intervals of one trade each, of `+qty` and `-qty` in turn, that move the doubled mid by
/// `moved` with the flow.
fn flows(count: u64, qty: i64, moved: i64) -> Tape {
    let mut tape = Tape::new();
    tape.mid(20_000, Time(START - 1));
    for number in 0..=count {
        let at = START + number * INTERVAL_NS;
        let (side, mid) = if number % 2 == 0 {
            (Side::Buy, 20_000 + moved)
        } else {
            (Side::Sell, 20_000)
        };
        tape.trade(&trade(10_000, qty, side), Time(at));
        tape.mid(mid, Time(at + SECONDS));
    }
    tape
}

#[test]
fn lambda_is_the_slope_of_moves_on_flows() {
    assert_eq!(flows(29, 7, 14).lambda(), None, "too few");
    let lambda = flows(30, 7, 14).lambda().expect("enough");
    assert_eq!(
        (lambda.numerator(), lambda.denominator()),
        (30 * 7 * 14, 30 * 7 * 7)
    );
    assert_eq!(lambda.times(Qty(1), 1), 2);
    assert_eq!(lambda.times(Qty(-5), 1_000), 10_000);
    assert_eq!(lambda.times(Qty(i64::MIN), u32::MAX), i64::MAX);
    let against = flows(30, 7, -14).lambda().expect("enough");
    assert_eq!(against.numerator(), 0, "a negative slope is none");
}

#[test]
fn quiet_intervals_push_old_ones_out() {
    let mut tape = flows(40, 7, 14);
    let end = START + 41 * INTERVAL_NS;
    tape.mid(20_000, Time(end + (INTERVALS as u64 - 30) * INTERVAL_NS));
    assert!(tape.lambda().is_some());
    tape.mid(20_000, Time(end + (INTERVALS as u64 - 29) * INTERVAL_NS));
    assert_eq!(tape.lambda(), None, "29 flows are left");
    tape.mid(20_000, Time(end + 10_000 * INTERVAL_NS));
    assert_eq!((tape.products, tape.squares, tape.informative), (0, 0, 0));
}

#[test]
fn volatility_is_the_deviation_of_returns() {
    let mut tape = Tape::new();
    // Closes 100 000, 100 100, 100 000, …: returns +0.001 and −0.000 999 001 in turn.
    for minute in 0..=12_u64 {
        let price = if minute % 2 == 0 { 100_000 } else { 100_100 };
        assert_eq!(tape.volatility_ppm().is_some(), minute > 11, "{minute}");
        tape.trade(&trade(price, 3, Side::Buy), Time(START + minute * BAR_NS));
    }
    // Eleven returns: six of +1 000 000 ppb, five of −999 001 ppb. Their mean is 91 363.18 and their
    // sample deviation 1 043 944.22 (Python's statistics.stdev).
    assert_eq!(tape.volatility_ppb(), Some(1_043_944));
    assert_eq!(tape.volatility_ppm(), Some(1_044));
    assert_eq!(tape.volume_per_minute(), Qty(3));
    assert_eq!(tape.average_trade(), Qty(3));
}

#[test]
fn a_gap_costs_what_it_interrupts_and_no_return_spans_it() {
    let mut tape = Tape::new();
    for minute in 0..12_u64 {
        tape.trade(&trade(100, 4, Side::Sell), Time(START + minute * BAR_NS));
    }
    assert_eq!(tape.bars().len(), 11);
    tape.gap();
    let back = START + 14 * BAR_NS + 1;
    tape.trade(&trade(900, 8, Side::Sell), Time(back));
    tape.trade(&trade(900, 8, Side::Sell), Time(back + BAR_NS));
    assert_eq!(tape.bars().len(), 11, "neither minute is whole");
    assert_eq!(tape.volatility_ppb(), Some(0));
    tape.trade(&trade(900, 8, Side::Sell), Time(back + 2 * BAR_NS));
    assert_eq!(tape.bars().len(), 12);
    assert_eq!(tape.volatility_ppb(), Some(0), "the jump spans the gap");
    assert_eq!(tape.bars().next_back().map(|bar| bar.volume), Some(Qty(8)));
    assert_eq!(tape.volume_per_minute(), Qty((11 * 4 + 8) / 12));
    assert_eq!(
        tape.average_trade(),
        Qty(5),
        "(44 + 8 + 8) / 13, to nearest"
    );
    assert_eq!(tape.double_mid(), None);
}

#[test]
fn a_clock_set_back_starts_anew() {
    let mut tape = flows(60, 7, 14);
    let earlier = Time(START - 3_600 * SECONDS);
    let mut gapped = tape.clone();
    tape.mid(20_000, earlier);
    assert_eq!((tape.lambda(), tape.bars().len()), (None, 0));
    gapped.gap();
    gapped.mid(20_000, earlier);
    assert_eq!(gapped, tape);
    let mut jitter = flows(60, 7, 14);
    let bars: Vec<Bar> = jitter.bars().copied().collect();
    let end = bars[bars.len() - 1].start.plus(BAR_NS);
    jitter.gap();
    jitter.trade(&trade(10_000, 1, Side::Buy), end.minus(1));
    jitter.trade(&trade(10_000, 1, Side::Buy), end.plus(BAR_NS));
    assert!(jitter.bars().eq(bars.iter()), "the minute is not whole");
    let mut late = flows(60, 7, 14);
    let bars = late.bars().len();
    late.trade(&trade(10_000, 1, Side::Buy), Time(START + 590 * SECONDS));
    assert_eq!(late.bars().len(), bars, "a late trade changes no minute");
}

#[test]
fn nonsense_is_no_observation() {
    let mut tape = Tape::new();
    tape.trade(&trade(0, 5, Side::Buy), Time(START));
    tape.trade(&trade(5, 0, Side::Buy), Time(START));
    tape.trade(&trade(5, i64::MIN, Side::Sell), Time(START));
    tape.mid(0, Time(START));
    assert_eq!(tape, Tape::new());
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Trade(Trade),
    Mid(i64),
    Gap,
}

/// The bars and flows of a list of happenings, by their definitions alone.
fn recompute(list: &[(u64, Happening)]) -> (Vec<Bar>, Vec<(i64, i64)>) {
    let (mut bars, mut flows) = (Vec::new(), Vec::new());
    for part in list.split(|(_, happening)| matches!(happening, Happening::Gap)) {
        let (Some(&(begin, _)), Some(&(end, _))) = (part.first(), part.last()) else {
            continue;
        };
        let trades = |from: u64, to: u64| {
            part.iter()
                .filter_map(move |(at, happening)| match happening {
                    Happening::Trade(trade) if (from..to).contains(at) => Some(*trade),
                    _ => None,
                })
        };
        let mid_before = |time: u64| {
            part.iter()
                .rev()
                .find_map(|(at, happening)| match happening {
                    Happening::Mid(mid) if *at < time => Some(*mid),
                    _ => None,
                })
        };
        let net = |from, to| -> i64 {
            trades(from, to)
                .map(|trade| trade.aggressor.sign() * trade.qty.0)
                .sum()
        };
        let mut from = begin.div_ceil(BAR_NS) * BAR_NS;
        while from + BAR_NS <= end {
            let to = from + BAR_NS;
            let inside: Vec<Trade> = trades(from, to).collect();
            let prices = || inside.iter().map(|trade| trade.price);
            if let (Some(first), Some(last)) = (inside.first(), inside.last()) {
                bars.push(Bar {
                    start: Time(from),
                    open: first.price,
                    high: prices().max().expect("some"),
                    low: prices().min().expect("some"),
                    close: last.price,
                    volume: Qty(inside.iter().map(|trade| trade.qty.0).sum()),
                    signed: Qty(net(from, to)),
                    trades: u32::try_from(inside.len()).expect("few"),
                });
            } else if let Some(before) = trades(0, from).next_back() {
                bars.push(Bar::flat(Time(from), before.price));
            }
            from = to;
        }
        let mut from = begin.div_ceil(INTERVAL_NS) * INTERVAL_NS;
        while from + INTERVAL_NS <= end {
            let to = from + INTERVAL_NS;
            if let (Some(opened), Some(closed)) = (mid_before(from), mid_before(to)) {
                flows.push((closed - opened, net(from, to)));
            }
            from = to;
        }
    }
    let bars = bars.split_off(bars.len().saturating_sub(BARS));
    let flows = flows.split_off(flows.len().saturating_sub(INTERVALS));
    (bars, flows)
}

fn happenings() -> impl Strategy<Value = Vec<(u64, Happening)>> {
    let wait = prop_oneof![
        12 => 0..2 * SECONDS,
        6 => SECONDS..30 * SECONDS,
        2 => (0_u64..4).prop_map(|steps| steps * INTERVAL_NS),
        1 => 0..200 * SECONDS,
    ];
    let happening = prop_oneof![
        40 => (90_i64..110, 1_i64..50, any::<bool>()).prop_map(|(price, qty, buy)| {
            Happening::Trade(trade(price, qty, if buy { Side::Buy } else { Side::Sell }))
        }),
        40 => (180_i64..220).prop_map(Happening::Mid),
        1 => Just(Happening::Gap),
    ];
    proptest::collection::vec((wait, happening), 1..600).prop_map(|list| {
        let mut at = START;
        list.into_iter()
            .map(|(wait, happening)| {
                at += wait;
                (at, happening)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn equals_a_recomputation_from_every_event(list in happenings()) {
        let mut tape = Tape::new();
        for &(at, happening) in &list {
            match happening {
                Happening::Trade(trade) => tape.trade(&trade, Time(at)),
                Happening::Mid(mid) => tape.mid(mid, Time(at)),
                Happening::Gap => tape.gap(),
            }
        }
        let (bars, flows) = recompute(&list);
        prop_assert!(tape.bars().eq(bars.iter()));
        let products: i128 = flows.iter().map(|&(m, q)| i128::from(m) * i128::from(q)).sum();
        let squares: i128 = flows.iter().map(|&(_, q)| i128::from(q) * i128::from(q)).sum();
        let informative = flows.iter().filter(|(_, q)| *q != 0).count();
        let want = (informative >= usize::from(LEAST_FLOWS)).then(|| Lambda {
            moved: products.max(0).unsigned_abs(),
            traded: squares.unsigned_abs(),
        });
        prop_assert_eq!(tape.lambda(), want);

        let returns: Vec<f64> = bars
            .windows(2)
            .filter(|pair| pair[1].start.0 - pair[0].start.0 == BAR_NS)
            .map(|pair| (pair[1].close.0 as f64 / pair[0].close.0 as f64 - 1.0) * 1e9)
            .collect();
        let count = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let squares = returns.iter().map(|change| (change - mean) * (change - mean)).sum::<f64>();
        match tape.volatility_ppb() {
            Some(got) => prop_assert!((got as f64 - libm::sqrt(squares / (count - 1.0))).abs() < 2.0),
            None => prop_assert!(returns.len() < LEAST_RETURNS),
        }
        let volume: i64 = bars.iter().map(|bar| bar.volume.0).sum();
        let minutes = i64::try_from(bars.len()).expect("few").max(1);
        prop_assert_eq!(tape.volume_per_minute(), Qty(volume / minutes));

        let bytes = postcard::to_allocvec(&tape).expect("plain");
        prop_assert_eq!(postcard::from_bytes::<Tape>(&bytes), Ok(tape));
    }

    /// Any stamp, price and quantity is answered.
    #[test]
    fn nothing_overflows(
        list in proptest::collection::vec((any::<u64>(), any::<i64>(), any::<i64>(), 0_u8..8), 1..200),
        leap in any::<bool>(),
    ) {
        let mut tape = Tape::new();
        let mut at = START;
        for (time, first, second, what) in list {
            at = if leap { time } else { at + time % (40 * SECONDS) };
            match what {
                0 => tape.gap(),
                1..=3 => tape.mid(first, Time(at)),
                _ => {
                    let side = if what % 2 == 0 { Side::Buy } else { Side::Sell };
                    tape.trade(&trade(first, second, side), Time(at));
                }
            }
            let _ = (tape.volatility_ppm(), tape.volume_per_minute(), tape.average_trade());
            if let Some(lambda) = tape.lambda() {
                prop_assert!(lambda.times(Qty(second), u32::MAX) >= 0);
            }
        }
    }
}
