//! Tests of bars: history against listening, holes, thresholds, and bars of any kind.

use proptest::prelude::*;

use super::*;
use crate::event::Side;
use crate::features::indicators::Indicators;
use crate::features::second::Trades;
use crate::instrument::Venue;
use crate::num::{Price, Qty};
use crate::time::SECONDS;

/// A midnight.
const START_S: u64 = 86_400 * 20_000;

fn instrument() -> Instrument {
    Instrument::unknown(Venue::Binance, "BTCUSDT").expect("a symbol")
}

fn second(number: u64, seen: bool) -> Second {
    let price = 100_000 + (number * 7_919 % 1_000) as i64;
    let trade = Trade {
        id: 0,
        price: Price(price),
        qty: Qty(1 + (number % 13) as i64),
        aggressor: if number.is_multiple_of(3) {
            Side::Buy
        } else {
            Side::Sell
        },
    };
    Second {
        number,
        seen,
        double_mid: None,
        trades: (!number.is_multiple_of(5)).then(|| Trades::of(&trade)),
    }
}

fn newest(series: &Series) -> Bar {
    let at = series.len() - 1;
    Bar {
        open: series.open()[at],
        high: series.high()[at],
        low: series.low()[at],
        close: series.close()[at],
        volume: series.volume()[at],
        value: series.value()[at],
        bought: series.bought()[at],
    }
}

#[test]
fn history_stands_in_for_what_was_not_observed() {
    let (mut live, mut late) = (Bars::new(), Bars::new());
    let timeframe = Timeframe::Minute1;
    let joins = START_S + 60 * 100;
    for number in START_S..joins + 60 * 30 {
        if number >= joins {
            late.second(&second(number, true), &instrument());
        }
        live.second(&second(number, true), &instrument());
        if number < joins && number % 60 == 59 {
            let bar = newest(live.series(timeframe));
            let start_s = number - 59;
            let early = Time(number * SECONDS);
            assert_eq!(
                late.history(timeframe, start_s, &bar, false, early),
                Err(Refused::LookAhead)
            );
            let at = Time((number + 1) * SECONDS);
            assert_eq!(late.history(timeframe, start_s, &bar, false, at), Ok(()));
            assert_eq!(
                late.history(timeframe, start_s, &bar, false, at),
                Err(Refused::OutOfOrder)
            );
            let wrong = Bar {
                high: f64::NAN,
                ..bar
            };
            assert_eq!(
                late.history(timeframe, start_s, &wrong, true, at),
                Err(Refused::Invalid)
            );
        }
    }
    let place = timeframe as usize;
    assert_eq!(live.timed[place], late.timed[place]);
    assert_eq!(live.alpha158, late.alpha158);
    assert!(live.indicators(timeframe).known() > 60);
}

#[test]
fn only_a_bar_that_was_hardly_missed_is_kept() {
    let mut bars = Bars::new();
    // Three seconds of five minutes are one percent; the fourth is too many.
    for number in START_S..START_S + 900 {
        let seen =
            !(300..303).contains(&(number - START_S)) && !(600..604).contains(&(number - START_S));
        bars.second(&second(number, seen), &instrument());
        match number - START_S {
            599 => assert_eq!(bars.series(Timeframe::Minute5).len(), 2),
            898 => assert_eq!(bars.series(Timeframe::Minute5).len(), 2, "still true"),
            _ => {}
        }
    }
    assert!(bars.series(Timeframe::Minute5).is_empty());
    assert_eq!(bars.series(Timeframe::Minute1).len(), 4);
}

/// What the venue tells in the middle of a bar whose beginning nobody saw is good until that bar ends.
#[test]
fn history_is_known_through_a_bar_that_is_not_whole() {
    let (mut bars, timeframe) = (Bars::new(), Timeframe::Minute1);
    let joins = START_S + 60 * 200 + 17;
    bars.second(&second(joins, true), &instrument());
    let mut told = Bars::new();
    for number in START_S..joins {
        told.second(&second(number, true), &instrument());
        if number % 60 == 59 {
            let bar = newest(told.series(timeframe));
            let at = Time((joins + 1) * SECONDS);
            let anew = number == START_S + 59;
            assert_eq!(bars.history(timeframe, number - 59, &bar, anew, at), Ok(()));
        }
    }
    assert!(bars.alpha158().known() > 100);
    let whole = joins - joins % 60 + 60;
    for number in joins + 1..whole {
        assert_eq!(bars.indicators(timeframe), told.indicators(timeframe));
        bars.second(&second(number, true), &instrument());
    }
    assert!(bars.is_empty(timeframe), "the bar was not whole");
    assert_eq!(
        (bars.indicators(timeframe).known(), bars.alpha158().known()),
        (0, 0)
    );
}

/// Observation fell idle inside a bar: when that bar is over, the venue's own stands in for it.
#[test]
fn history_goes_on_through_bars_that_were_left_idle() {
    let (mut bars, mut told, timeframe) = (Bars::new(), Bars::new(), Timeframe::Hour1);
    let length_s = timeframe.seconds();
    for hour in 0..80_u64 {
        let start_s = START_S + hour * length_s;
        let end_s = start_s + length_s;
        let close = 100.0 + (hour * 7 % 11) as f64;
        let bar = Bar {
            open: 100.0,
            high: 120.0,
            low: 90.0,
            close,
            volume: 5.0,
            value: 500.0,
            bought: 2.0,
        };
        let at = Time(end_s * SECONDS);
        assert_eq!(bars.history(timeframe, start_s, &bar, false, at), Ok(()));
        assert_eq!(told.history(timeframe, start_s, &bar, false, at), Ok(()));
        for number in end_s..end_s + 300 {
            let mut second = second(number, true);
            second.trades = None;
            bars.second(&second, &instrument());
        }
        // While the bar runs, it is the live one.
        let early = Time((end_s + 300) * SECONDS);
        assert_eq!(
            bars.history(timeframe, end_s, &bar, false, early),
            Err(Refused::LookAhead)
        );
        assert_eq!(bars.indicators(timeframe), told.indicators(timeframe));
    }
    assert!(bars.indicators(timeframe).known() > 40);
}

#[test]
fn a_bar_of_ticks_closes_with_its_sixth_of_a_minute() {
    let mut bars = Bars::new();
    let trade = |price, aggressor| Trade {
        id: 0,
        price: Price(price),
        qty: Qty(2),
        aggressor,
    };
    for number in START_S..START_S + 60 {
        let mut second = second(number, true);
        second.trades = Some(Trades::of(&trade(1_000, Side::Buy)));
        assert_eq!(bars.activity.read().known(), 0);
        bars.second(&second, &instrument());
    }
    for index in 0..20_u64 {
        let side = if index % 10 == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        let at = Time((START_S + 60 + index) * SECONDS);
        bars.trade(&trade(1_000 + index as i64, side), &instrument(), at);
    }
    let values = bars.activity.read();
    let expected = (1_019.0_f64 / 1_009.0).ln() * 1e4;
    assert_eq!(
        values.get(ActivityFeature::TickReturn),
        Some(expected as f32)
    );
    assert_eq!(values.get(ActivityFeature::TickImbalance), Some(-0.8));
    assert_eq!(
        values.get(ActivityFeature::TickDuration),
        Some(9.0_f64.ln() as f32)
    );
    assert_eq!(values.get(ActivityFeature::TickProgress), Some(0.0));
    bars.interrupt(Time(START_S * SECONDS));
    assert_eq!(bars.activity.read().known(), 0);
}

fn any_bar() -> impl Strategy<Value = Bar> {
    let price = prop_oneof![Just(100.0), 1.0..200.0, Just(1e-20), Just(1e20)];
    let volume = prop_oneof![Just(0.0), 0.0..1e6, Just(1e20)];
    (price.clone(), price.clone(), price.clone(), price, volume).prop_map(|(a, b, c, d, volume)| {
        Bar {
            open: a,
            high: f64::max(a.max(b), c.max(d)),
            low: f64::min(a.min(b), c.min(d)),
            close: b,
            volume,
            value: volume,
            bought: volume / 2.0,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bars_make_nonsense_and_memory_comes_back(bars in prop::collection::vec(any_bar(), 1..150), split in 0_usize..150) {
        let (mut series, mut memory) = (Series::new(), Indicators::new());
        let mut copy = memory.clone();
        for (index, bar) in bars.iter().enumerate() {
            if index == split {
                let bytes = postcard::to_allocvec(&memory).expect("memory");
                copy = postcard::from_bytes(&bytes).expect("the same");
            }
            series.push(bar);
            let start_s = START_S + index as u64 * 3_600;
            let values = memory.close(&series, start_s).values();
            prop_assert_eq!(copy.close(&series, start_s).values(), values);
            // NaN does not equal itself.
            prop_assert_eq!(&memory, &copy);
        }
    }
}
