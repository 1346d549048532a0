//! Tests of depletion, rates and recovery: by hand, and as direct sums.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::features::book::sample_instrument;
use crate::features::rolling::BUCKETS;
use crate::num::{Price, Qty};
use crate::time::MILLIS;

const START: u64 = 1_000_000 * SECONDS;

fn top(bid: (i64, i64), ask: (i64, i64)) -> Top {
    Top::sample(&[bid], &[ask])
}

fn trade(price: i64, qty: i64, aggressor: Side) -> Trade {
    Trade {
        id: 0,
        price: Price(price),
        qty: Qty(qty),
        aggressor,
    }
}

fn second(number: u64) -> Second {
    Second {
        number,
        seen: true,
        double_mid: None,
        trades: None,
    }
}

fn get(liquidity: &Liquidity, top: &Top, at: u64, row: LiquidityFeature) -> Option<f64> {
    let instrument = sample_instrument();
    let values = liquidity.read(&top.view(&instrument, Time(at)));
    values.get(row).map(f64::from)
}

fn assert_near(got: Option<f64>, want: f64, what: &str) {
    let near = got.is_some_and(|got| (got - want).abs() <= 1e-6 * want.abs().max(1.0));
    assert!(near, "{what}: {got:?}, not {want}");
}

/// Ten seconds of a touch, everything counted by hand.
#[test]
fn queues_are_emptied_by_trades_and_cancellations() {
    let mut liquidity = Liquidity::new();
    liquidity.interrupt(Time(START));
    let at = |ms: u64| START + ms * MILLIS;
    let first = top((100, 50), (101, 40));
    liquidity.top(&first, Time(at(0)));
    // 20 are sold to the bid, 5 more below it; then 30 are gone from it: 10 were cancelled.
    liquidity.trade(&trade(100, 20, Side::Sell), Some(&first), Time(at(1_000)));
    liquidity.trade(&trade(99, 5, Side::Sell), Some(&first), Time(at(1_000)));
    liquidity.trade(&trade(99, 5, Side::Sell), None, Time(at(1_000)));
    liquidity.top(&top((100, 20), (101, 40)), Time(at(1_100)));
    // The ask gains 10, then all 50 of it are bought, and more than was shown.
    let before = top((100, 20), (101, 50));
    liquidity.top(&before, Time(at(2_000)));
    liquidity.trade(&trade(101, 60, Side::Buy), Some(&before), Time(at(3_000)));
    let last = top((100, 20), (102, 8));
    liquidity.top(&last, Time(at(3_000)));
    // The same again is no change.
    liquidity.top(&last, Time(at(4_000)));
    for row in LiquidityFeature::ALL {
        let known = matches!(
            row,
            LiquidityFeature::Staleness | LiquidityFeature::TouchAge
        );
        assert_eq!(
            get(&liquidity, &last, at(9_000), row).is_some(),
            known,
            "{row:?}"
        );
    }
    let now = at(10_000);
    let check = |row, want| {
        assert_near(
            get(&liquidity, &last, now, row),
            want,
            &alloc::format!("{row:?}"),
        )
    };
    // 30 left the bid in ten seconds and 50 the ask.
    check(LiquidityFeature::BidDepletion, libm::log(20.0 / 3.0));
    check(LiquidityFeature::AskDepletion, libm::log(8.0 / 5.0));
    // 10 cancelled; 20 and 60 traded.
    check(LiquidityFeature::CancelShare, 10.0 / 90.0);
    check(LiquidityFeature::QuoteRate, libm::log(1.3));
    check(LiquidityFeature::TouchRate, 0.1);
    check(LiquidityFeature::TouchAge, libm::log(8.0));
    // Later nothing leaves any more.
    let now = at(60_000);
    let check = |row, want| {
        assert_near(
            get(&liquidity, &last, now, row),
            want,
            &alloc::format!("{row:?}"),
        )
    };
    check(LiquidityFeature::BidDepletion, libm::log(3_600.0));
    check(LiquidityFeature::QuoteRate, 0.0);
    check(LiquidityFeature::TouchRate, 0.0);
    assert_eq!(
        get(&liquidity, &last, now, LiquidityFeature::CancelShare),
        None
    );
    let empty = top((100, 0), (102, 8));
    assert_eq!(
        get(&liquidity, &empty, now, LiquidityFeature::BidDepletion),
        None
    );
    liquidity.interrupt(Time(now));
    for row in LiquidityFeature::ALL {
        let known = row == LiquidityFeature::Staleness;
        assert_eq!(get(&liquidity, &last, now, row).is_some(), known, "{row:?}");
    }
}

proptest! {
    /// The window against a look at every pair of books and every trade that is still inside.
    #[test]
    fn the_window_equals_a_sum_over_the_events(
        events in proptest::collection::vec(
            (0_u64..3_000, 95_i64..100, 1_i64..9, 100_i64..105, 1_i64..9, prop::option::of((95_i64..105, 1_i64..9, any::<bool>()))),
            1..60,
        )
    ) {
        let mut liquidity = Liquidity::new();
        liquidity.interrupt(Time(START - 10 * SECONDS));
        let (mut at, mut books, mut trades) = (START, Vec::new(), Vec::new());
        for (wait, bid, bid_qty, ask, ask_qty, traded) in events {
            at += wait * MILLIS;
            if let (Some((price, qty, buy)), Some((_, known))) = (traded, books.last()) {
                let side = if buy { Side::Buy } else { Side::Sell };
                liquidity.trade(&trade(price, qty, side), Some(known), Time(at));
                let best: &Top = known;
                let hits = if buy { price <= best.ask().price.0 } else { price >= best.bid().price.0 };
                if hits { trades.push((at, usize::from(buy), qty)); }
            }
            let now = top((bid, bid_qty), (ask, ask_qty));
            liquidity.top(&now, Time(at));
            books.push((at, now.clone()));
            let later = at + 90 * MILLIS;
            let width = 10 * SECONDS / BUCKETS as u64;
            let inside = |when: u64| later / width - when / width < BUCKETS as u64;
            let (mut left, mut changes, mut moves) = ([0, 0], 0, 0);
            for pair in books.windows(2).filter(|pair| inside(pair[1].0)) {
                let (old, new) = (&pair[0].1, &pair[1].1);
                changes += i32::from(old != new);
                let (b0, b1, a0, a1) = (old.bid(), new.bid(), old.ask(), new.ask());
                moves += i32::from(b0.price != b1.price || a0.price != a1.price);
                left[0] += if b1.price < b0.price { b0.qty.0 }
                    else if b1.price == b0.price && b1.qty < b0.qty { b0.qty.0 - b1.qty.0 } else { 0 };
                left[1] += if a1.price > a0.price { a0.qty.0 }
                    else if a1.price == a0.price && a1.qty < a0.qty { a0.qty.0 - a1.qty.0 } else { 0 };
            }
            let traded = |side: usize| -> i64 {
                let mine = trades.iter().filter(|(when, of, _)| *of == side && inside(*when));
                mine.map(|(_, _, qty)| qty).sum()
            };
            let cancelled: i64 = (0..2).map(|side| (left[side] - traded(side)).max(0)).sum();
            let all = cancelled + traded(0) + traded(1);
            let got = |row| get(&liquidity, &now, later, row);
            let near = |got: Option<f64>, want: f64| got.is_some_and(|got| (got - want).abs() < 1e-6 * want.abs().max(1.0));
            if all > 0 {
                prop_assert!(near(got(LiquidityFeature::CancelShare), cancelled as f64 / all as f64));
            } else {
                prop_assert_eq!(got(LiquidityFeature::CancelShare), None);
            }
            let seconds = |qty: i64, left: i64| if left > 0 { qty as f64 * 10.0 / left as f64 } else { 3_600.0 };
            prop_assert!(near(got(LiquidityFeature::BidDepletion), libm::log(seconds(bid_qty, left[0]))));
            prop_assert!(near(got(LiquidityFeature::AskDepletion), libm::log(seconds(ask_qty, left[1]))));
            prop_assert!(near(got(LiquidityFeature::QuoteRate), libm::log(1.0 + f64::from(changes) / 10.0)));
            prop_assert!(near(got(LiquidityFeature::TouchRate), f64::from(moves) / 10.0));
        }
    }

    /// The probability is the bounded function that is 1 where the ask is empty and 0 where the bid
    /// is, and that correlated diffusion leaves unchanged on average.
    #[test]
    fn the_probability_solves_its_equation(bid in 2_000_i64..9_000, ask in 2_000_i64..9_000, rho in -0.9..0.9) {
        let p = |bid: i64, ask: i64| up_probability(bid, ask, rho).expect("quantities");
        prop_assert!((p(bid, 0) - 1.0).abs() < 1e-12 && p(0, ask).abs() < 1e-12);
        prop_assert!((p(bid, bid) - 0.5).abs() < 1e-12);
        prop_assert!((p(bid, ask) + p(ask, bid) - 1.0).abs() < 1e-12);
        let h = 20;
        let here = 2.0 * p(bid, ask);
        let xx = p(bid + h, ask) + p(bid - h, ask) - here;
        let yy = p(bid, ask + h) + p(bid, ask - h) - here;
        let xy = (p(bid + h, ask + h) + p(bid - h, ask - h) - p(bid + h, ask - h) - p(bid - h, ask + h)) / 4.0;
        let scale = xx.abs() + yy.abs() + xy.abs();
        prop_assert!((xx + yy + 2.0 * rho * xy).abs() < 2e-3 * scale + 1e-12, "{xx} {yy} {xy}");
        // Without correlation it is an angle.
        let angle = libm::atan2(ask as f64, bid as f64) / core::f64::consts::FRAC_PI_2;
        prop_assert!((up_probability(bid, ask, 0.0).expect("quantities") - 1.0 + angle).abs() < 1e-12);
    }

    /// Regression, mean depth and correlation against the textbook's sums over the newest minute.
    #[test]
    fn what_is_sampled_equals_sums_over_the_minute(
        tape in proptest::collection::vec((1_i64..20, 1_i64..1_000, 1_i64..1_000), 62..130)
    ) {
        let mut liquidity = Liquidity::new();
        let mut tops: Vec<Top> = Vec::new();
        for (place, (spread, bid_qty, ask_qty)) in tape.iter().enumerate() {
            let now = Top::sample(&[(100, *bid_qty), (99, 7)], &[(100 + spread, *ask_qty)]);
            liquidity.top(&now, Time(START + place as u64 * SECONDS));
            liquidity.second(&second(place as u64), Some(&now));
            tops.push(now);
            let last = &tops[place];
            let got = |row| get(&liquidity, last, START + place as u64 * SECONDS, row);
            prop_assert_eq!(got(LiquidityFeature::SpreadReversion).is_some(), place >= 60);
            prop_assert_eq!(got(LiquidityFeature::DepthRecovery).is_some(), place >= 59);
            prop_assert_eq!(got(LiquidityFeature::UpProbability).is_some(), place >= 59);
        }
        let spread = |top: &Top| (top.ask().price.0 - top.bid().price.0) as f64;
        let minute: Vec<f64> = tops[tops.len() - 61..].iter().map(spread).collect();
        let pairs: Vec<(f64, f64)> = minute.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let sum = |f: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>();
        let (x, y, xx, xy) = (sum(&|p| p.0), sum(&|p| p.1), sum(&|p| p.0 * p.0), sum(&|p| p.0 * p.1));
        // One less the slope of s(t) on s(t-1).
        let want = 1.0 - (60.0 * xy - x * y) / (60.0 * xx - x * x);
        let last = &tops[tops.len() - 1];
        let at = START + (tops.len() as u64 - 1) * SECONDS;
        let got = |row| get(&liquidity, last, at, row).expect("known");
        prop_assert!((got(LiquidityFeature::SpreadReversion) - want).abs() < 1e-5);
        let depth = |(_, bid, ask): &(i64, i64, i64)| (bid + ask + 7) as f64;
        let mean = tape[tape.len() - 60..].iter().map(depth).sum::<f64>() / 60.0;
        let want = libm::log(depth(&tape[tape.len() - 1]) / mean);
        prop_assert!((got(LiquidityFeature::DepthRecovery) - want).abs() < 1e-5);
        let (mut bb, mut aa, mut ba) = (0.0, 0.0, 0.0);
        for (place, pair) in tape.windows(2).enumerate() {
            let weight = libm::pow(0.5, (tape.len() - 2 - place) as f64 / 300.0);
            let bid = (pair[1].1 - pair[0].1) as f64;
            let same = f64::from(u8::from(pair[1].0 == pair[0].0));
            let ask = (pair[1].2 - pair[0].2) as f64 * same;
            bb += weight * bid * bid;
            aa += weight * ask * ask;
            ba += weight * bid * ask;
        }
        let rho = if aa * bb > 0.0 { ba / libm::sqrt(aa * bb) } else { 0.0 };
        let (_, bid, ask) = tape[tape.len() - 1];
        let want = up_probability(bid, ask, rho.clamp(-0.9, 0.9)).expect("quantities");
        prop_assert!((got(LiquidityFeature::UpProbability) - want).abs() < 1e-5);
    }
}

/// A spread of constant width tells nothing of resiliency; one that alternates reverts twofold; a
/// second without a price begins the minute anew.
#[test]
fn resiliency_has_its_edge_cases() {
    let mut liquidity = Liquidity::new();
    let feed = |liquidity: &mut Liquidity, seconds: u64, wide: i64| {
        for number in 0..seconds {
            let odd = (number % 2).cast_signed();
            liquidity.second(&second(number), Some(&top((100, 5), (101 + odd * wide, 5))));
        }
    };
    let row = LiquidityFeature::SpreadReversion;
    let here = top((100, 5), (101, 5));
    feed(&mut liquidity, 61, 0);
    assert_eq!(get(&liquidity, &here, START, row), None);
    assert_eq!(
        get(&liquidity, &here, START, LiquidityFeature::DepthRecovery),
        Some(0.0)
    );
    feed(&mut liquidity, 61, 3);
    assert_near(get(&liquidity, &here, START, row), 2.0, "alternating");
    liquidity.second(&second(61), None);
    feed(&mut liquidity, 60, 3);
    assert_eq!(get(&liquidity, &here, START, row), None);
    feed(&mut liquidity, 61, 3);
    assert!(get(&liquidity, &here, START, row).is_some());
}

/// The age of the newest event: ours and the feed's, with clocks that differ.
#[test]
fn staleness_counts_the_lag_and_is_held() {
    let (here, instrument) = (top((100, 5), (101, 5)), sample_instrument());
    for (waited_ms, lag_ms, want) in [
        (0, 0, 0.0),
        (1_500, 250, 1.75),
        (1_500, -250, 1.25),
        (100, -250, 0.0),
        (9_000_000, 0, 3_600.0),
        (0, i64::MAX / 1_000_000, 3_600.0),
    ] {
        let mut view = here.view(&instrument, Time(START + waited_ms * MILLIS));
        view.received = Time(START);
        view.lag_ns = lag_ms * 1_000_000;
        assert_eq!(staleness(&view), Some(want));
        view.received = Time::UNKNOWN;
        assert_eq!(staleness(&view), None);
    }
}

/// The largest quantities there are neither panic nor give what is not a number.
#[test]
fn strange_books_are_held() {
    let mut liquidity = Liquidity::new();
    for place in 0..200 {
        let at = START + place * SECONDS;
        let odd = (place % 2).cast_signed();
        let qty = odd * i64::MAX;
        let here = top((-odd, qty), (i64::MAX - odd, i64::MAX - qty));
        liquidity.top(&here, Time(at));
        liquidity.trade(&trade(i64::MIN, i64::MAX, Side::Buy), Some(&here), Time(at));
        liquidity.second(&second(place), Some(&here));
        for row in LiquidityFeature::ALL {
            get(&liquidity, &here, at, row);
        }
        assert_eq!(liquidity, liquidity.clone(), "no NaN inside");
    }
}
