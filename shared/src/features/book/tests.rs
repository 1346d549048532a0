//! Tests of the book as it stands: by hand, and recomputed another way.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::instrument::Venue;
use crate::num::{Price, Qty};
use crate::time::Time;

fn features(top: &Top, instrument: &Instrument) -> Values<{ BookFeature::COUNT }> {
    read(&top.view(instrument, Time(1)))
}

/// Everything of a small book, computed by hand: mid 100.
#[test]
fn stand_on_their_definitions() {
    let top = Top::sample(
        &[(9_900, 3), (9_800, 5), (9_600, 2)],
        &[(10_100, 1), (10_200, 4)],
    );
    let values = features(&top, &sample_instrument());
    let ln = libm::log;
    let far = libm::exp(-20.0);
    let (near_bids, near_asks) = (3.0 + 5.0 * far + 2.0 * libm::exp(-60.0), 1.0 + 4.0 * far);
    let want = [
        (BookFeature::Imbalance1, Some(0.5)),
        (BookFeature::Imbalance2, Some(3.0 / 13.0)),
        (BookFeature::Imbalance3, Some(5.0 / 15.0)),
        (BookFeature::Imbalance5, Some(5.0 / 15.0)),
        (BookFeature::Imbalance10, Some(5.0 / 15.0)),
        (
            BookFeature::NearImbalance,
            Some((near_bids - near_asks) / (near_bids + near_asks)),
        ),
        // (1·99 + 3·101) / 4 = 100.5, half a percent above 100.
        (BookFeature::WeightedMidDeviation, Some(50.0)),
        (BookFeature::Spread, Some(200.0)),
        (BookFeature::SpreadTicks, Some(2.0)),
        // 3·99 = 297 and 101.
        (BookFeature::Depth1, Some(ln(399.0))),
        (BookFeature::BidDepth1, Some(ln(298.0))),
        (BookFeature::AskDepth1, Some(ln(102.0))),
        // And 5·98 + 2·96 = 682 and 4·102 = 408.
        (BookFeature::Depth5, Some(ln(1_489.0))),
        (BookFeature::BidDepth5, Some(ln(980.0))),
        (BookFeature::AskDepth5, Some(ln(510.0))),
        (BookFeature::Depth10, Some(ln(1_489.0))),
        (BookFeature::BidDepth10, Some(ln(980.0))),
        (BookFeature::AskDepth10, Some(ln(510.0))),
        (BookFeature::DepthWithin5, Some(0.0)),
        (BookFeature::DepthWithin10, Some(0.0)),
        (BookFeature::DepthWithin25, Some(0.0)),
        // Distances 100, 200, 400 with 3, 8, 10: (-400/3·-4 - 100/3·1 + 500/3·3) / (140000/3) / 10.
        (BookFeature::BidSlope, Some(ln(3.0 / 1_400.0))),
        // Distances 100, 200 with 1, 5: 4 / 100 / 5.
        (BookFeature::AskSlope, Some(ln(0.008))),
        (
            BookFeature::SlopeImbalance,
            Some((3.0 / 1_400.0 - 0.008) / (3.0 / 1_400.0 + 0.008)),
        ),
        // 100·2.5 + 200·6 = 1450 of 300·7.
        (BookFeature::BidConvexity, Some(1.0 - 2_900.0 / 2_100.0)),
        (BookFeature::AskConvexity, None),
        (BookFeature::BidGap, Some(100.0)),
        (BookFeature::AskGap, Some(100.0)),
        // 3/100 + 5/200 + 2/400 = 0.06 against 1/100 + 4/200 = 0.03.
        (BookFeature::Pressure, Some(ln(2.0))),
        (BookFeature::BidSpacing, Some(ln(1.5))),
        (BookFeature::AskSpacing, Some(0.0)),
    ];
    assert_eq!(want.map(|(row, _)| row), BookFeature::ALL);
    for (row, want) in want {
        let got = values.get(row);
        let same = match (got, want) {
            (Some(got), Some(want)) => (f64::from(got) - want).abs() < 1e-5 * want.abs().max(0.1),
            (got, want) => got.is_none() && want.is_none(),
        };
        assert!(same, "{row:?}: {got:?}, not {want:?}");
    }
}

#[test]
fn depth_within_a_distance_ends_with_it_and_with_the_levels() {
    // 4.9, 9.9 and 24.9 basis points away on both sides.
    let offsets = [490, 990, 2_490];
    let bids = offsets.map(|offset| (1_000_000 - offset, 1));
    let asks = offsets.map(|offset| (1_000_000 + offset, 2));
    let top = Top::sample(&bids, &asks);
    let sides = [Side::Buy, Side::Sell].map(|side| Shape::of(&top, side, &sample_instrument()));
    let notional = |levels: usize| -> f64 {
        let sum = |levels: &[(i64, i64)]| -> i64 { levels.iter().map(|(p, q)| p * q).sum() };
        (sum(&bids[..levels]) + sum(&asks[..levels])) as f64 / 100.0
    };
    for (reach, levels) in [(4.0, 0), (5.0, 1), (10.0, 2), (25.0, 3), (400.0, 3)] {
        let (got, want) = (depth_within(&sides, reach), libm::log1p(notional(levels)));
        assert!((got - want).abs() < 1e-12, "{reach}: {got}, not {want}");
    }
}

/// An inverse contract's quantity is money, whatever the price.
#[test]
fn the_depth_of_an_inverse_contract_is_its_quantity() {
    let top = Top::sample(&[(9_900, 3)], &[(10_100, 1)]);
    let instrument = Instrument {
        kind: Kind::Inverse,
        ..sample_instrument()
    };
    let depth = features(&top, &instrument).get(BookFeature::Depth1);
    assert_eq!(depth, Some(libm::log(5.0) as f32));
}

/// Where no table states the tick, it is what the levels have in common.
#[test]
fn a_tick_that_is_not_stated_is_seen_in_the_levels() {
    let top = Top::sample(&[(9_900, 3), (9_875, 5)], &[(9_950, 1)]);
    let unstated = Instrument::unknown(Venue::Kraken, "A").expect("short");
    let ticks = |instrument| features(&top, instrument).get(BookFeature::SpreadTicks);
    assert_eq!(ticks(&unstated), Some(2.0));
    assert_eq!(ticks(&sample_instrument()), Some(0.5));
}

#[test]
fn a_short_side_repeats_its_total() {
    let level = |qty| Level {
        qty: Qty(qty),
        ..Level::default()
    };
    let sums = cumulate([level(2), level(3)].into_iter());
    assert_eq!(sums, [2, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
}

/// Nothing panics, and what has no meaning is unknown.
#[test]
fn strange_books_have_defined_values() {
    let extremes = [i64::MIN + 1, -5, 0, 1, i64::MAX];
    for bid in extremes {
        for ask in extremes {
            for qty in [0, 1, i64::MAX] {
                let top = Top::sample(&[(bid, qty), (bid.saturating_sub(1), qty)], &[(ask, qty)]);
                for instrument in [
                    sample_instrument(),
                    Instrument::unknown(Venue::Kraken, "A").expect("short"),
                ] {
                    let values = features(&top, &instrument);
                    if top.double_mid() <= 0 {
                        assert_eq!(values.get(BookFeature::Spread), None);
                    }
                    if qty == 0 {
                        assert_eq!(values.get(BookFeature::Imbalance10), None);
                        assert_eq!(values.get(BookFeature::Pressure), None);
                        assert_eq!(values.get(BookFeature::BidSlope), None);
                    }
                }
            }
        }
    }
}

/// One side of a random book: steps outwards and quantities.
fn side() -> impl Strategy<Value = Vec<(i64, i64)>> {
    proptest::collection::vec((1_i64..50, 1_i64..1_000_000), 1..=LEVELS)
}

/// Least squares by the normal equations, another way than the code's.
fn least_squares(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let sum = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>();
    let (x, y) = (sum(&|p| p.0), sum(&|p| p.1));
    (n * sum(&|p| p.0 * p.1) - x * y) / (n * sum(&|p| p.0 * p.0) - x * x)
}

proptest! {
    /// Every value of a random book against sums over its levels as integers.
    #[test]
    fn random_books_equal_a_slow_computation(
        bid in 50_000_i64..200_000, width in 1_i64..100, bids in side(), asks in side()
    ) {
        let outwards = |best: i64, sign: i64, steps: &[(i64, i64)]| -> Vec<(i64, i64)> {
            let mut price = best + sign * -steps[0].0;
            steps.iter().map(|(step, qty)| { price += sign * step; (price, *qty) }).collect()
        };
        let (bids, asks) = (outwards(bid, -1, &bids), outwards(bid + width, 1, &asks));
        let top = Top::sample(&bids, &asks);
        let instrument = Instrument { tick: 2, ..sample_instrument() };
        let values = features(&top, &instrument);
        let close = |row: BookFeature, want: f64| {
            let got = values.get(row).map(f64::from);
            let near = got.is_some_and(|got| (got - want).abs() <= 2e-5 * want.abs().max(1.0));
            prop_assert!(near, "{row:?}: {got:?}, not {want}");
            Ok(())
        };
        let doubled = bids[0].0 + asks[0].0;
        let bps = |price: i64| (2 * price - doubled).abs() as f64 / doubled as f64 * 1e4;
        let held = |side: &[(i64, i64)], n: usize| side.iter().take(n).map(|(_, q)| q).sum::<i64>();
        for (row, n) in [
            (BookFeature::Imbalance1, 1), (BookFeature::Imbalance2, 2), (BookFeature::Imbalance3, 3),
            (BookFeature::Imbalance5, 5), (BookFeature::Imbalance10, 10),
        ] {
            let (b, a) = (held(&bids, n), held(&asks, n));
            close(row, (b - a) as f64 / (b + a) as f64)?;
        }
        let money = |side: &[(i64, i64)], keep: &dyn Fn(usize, i64) -> bool| -> i64 {
            let kept = side.iter().enumerate().filter(|(n, (p, _))| keep(*n, *p));
            kept.map(|(_, (p, q))| p * q).sum()
        };
        let log = |cents: i64| libm::log(1.0 + cents as f64 / 100.0);
        for (n, rows) in [
            (1, [BookFeature::Depth1, BookFeature::BidDepth1, BookFeature::AskDepth1]),
            (5, [BookFeature::Depth5, BookFeature::BidDepth5, BookFeature::AskDepth5]),
            (10, [BookFeature::Depth10, BookFeature::BidDepth10, BookFeature::AskDepth10]),
        ] {
            let [b, a] = [&bids, &asks].map(|side| money(side, &|place, _| place < n));
            close(rows[0], log(b + a))?;
            close(rows[1], log(b))?;
            close(rows[2], log(a))?;
        }
        for (reach, row) in [
            (5, BookFeature::DepthWithin5), (10, BookFeature::DepthWithin10), (25, BookFeature::DepthWithin25),
        ] {
            // On the very edge the two may round apart.
            let edge = |price: i64| (2 * price - doubled).abs() * 10_000 == reach * doubled;
            if !bids.iter().chain(&asks).any(|(p, _)| edge(*p)) {
                let inside = |_: usize, price: i64| (2 * price - doubled).abs() * 10_000 < reach * doubled;
                close(row, log(money(&bids, &inside) + money(&asks, &inside)))?;
            }
        }
        let mut slopes = [None; 2];
        let rows = [
            (&bids, BookFeature::BidSlope, BookFeature::BidConvexity, BookFeature::BidGap, BookFeature::BidSpacing),
            (&asks, BookFeature::AskSlope, BookFeature::AskConvexity, BookFeature::AskGap, BookFeature::AskSpacing),
        ];
        for (index, (side, slope, convexity, gap, spacing)) in rows.into_iter().enumerate() {
            let all = held(side, LEVELS) as f64;
            let curve: Vec<_> = (1..=side.len())
                .map(|n| (bps(side[n - 1].0), held(side, n) as f64 / all))
                .collect();
            if side.len() < 2 {
                for row in [slope, convexity, gap, spacing] {
                    prop_assert_eq!(values.get(row), None);
                }
                continue;
            }
            slopes[index] = Some(least_squares(&curve));
            close(slope, libm::log(slopes[index].expect("just set")))?;
            close(gap, (bps(side[1].0) - bps(side[0].0)).abs())?;
            let span = (side[0].0 - side[side.len() - 1].0).abs() as f64 / 2.0;
            close(spacing, libm::log(span / (side.len() - 1) as f64))?;
            if side.len() > 2 {
                // The polygon under the curve, by its corners (the shoelace formula).
                let (first, last) = (curve[0], curve[curve.len() - 1]);
                let mut corners = curve.clone();
                corners.push((last.0, first.1));
                let next = corners.iter().cycle().skip(1);
                let twice: f64 = corners.iter().zip(next).map(|(p, q)| p.0 * q.1 - q.0 * p.1).sum();
                close(convexity, 1.0 - twice.abs() / ((last.0 - first.0) * (last.1 - first.1)))?;
            } else {
                prop_assert_eq!(values.get(convexity), None);
            }
        }
        if let [Some(b), Some(a)] = slopes {
            close(BookFeature::SlopeImbalance, (b - a) / (b + a))?;
        }
        let weigh = |side: &[(i64, i64)], weight: &dyn Fn(f64) -> f64| -> f64 {
            side.iter().map(|(p, q)| *q as f64 * weight(bps(*p))).sum()
        };
        let near = |side: &[(i64, i64)]| weigh(side, &|d| libm::exp(-(d - bps(side[0].0)) / 5.0));
        let (b, a) = (near(&bids), near(&asks));
        close(BookFeature::NearImbalance, (b - a) / (b + a))?;
        let press = |side: &[(i64, i64)]| weigh(side, &|d| 1.0 / d);
        close(BookFeature::Pressure, libm::log(press(&bids)) - libm::log(press(&asks)))?;
        let ((p, b), (s, a)) = (bids[0], asks[0]);
        let weighted = (a * p + b * s) as f64 / (a + b) as f64;
        close(BookFeature::WeightedMidDeviation, (2.0 * weighted - doubled as f64) / doubled as f64 * 1e4)?;
        close(BookFeature::Spread, 2e4 * (s - p) as f64 / doubled as f64)?;
        close(BookFeature::SpreadTicks, (s - p) as f64 / 2.0)?;
        prop_assert_eq!(top.bid().price, Price(p));
    }
}
