//! The factors against Qlib's published expressions, written out column by column over whole series.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::bars::Bar;
use super::*;
use crate::rand::Rng;

/// A column with a value for every bar; NaN where there is none.
#[derive(Clone)]
struct Values(Vec<f64>);

impl Values {
    fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(a, b)| f(*a, *b))
                .collect(),
        )
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().map(|a| f(*a)).collect())
    }

    fn div(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    fn sub(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    /// `Ref`.
    fn earlier(&self, bars: usize) -> Self {
        let value = |place: usize| {
            place
                .checked_sub(bars)
                .map_or(f64::NAN, |place| self.0[place])
        };
        Self((0..self.0.len()).map(value).collect())
    }

    /// What a function makes of each full window without unknown values.
    fn rolling(&self, bars: usize, f: impl Fn(&[f64]) -> f64) -> Self {
        self.rolling_pairs(self, bars, false, |one, _| f(one))
    }

    /// Likewise of two columns. Pairs that are not finite may be left out, once the window has seen a
    /// whole number of changes.
    fn rolling_pairs(
        &self,
        other: &Self,
        bars: usize,
        leave_out: bool,
        f: impl Fn(&[f64], &[f64]) -> f64,
    ) -> Self {
        let value = |end: usize| {
            let Some(start) = end.checked_sub(bars) else {
                return f64::NAN;
            };
            let (mut one, mut two) = (Vec::new(), Vec::new());
            for place in start..end {
                let (a, b) = (self.0[place], other.0[place]);
                if a.is_finite() && b.is_finite() {
                    one.push(a);
                    two.push(b);
                } else if !leave_out || place == 0 {
                    return f64::NAN;
                }
            }
            f(&one, &two)
        };
        Self((1..=self.0.len()).map(value).collect())
    }
}

fn mean(window: &[f64]) -> f64 {
    window.iter().sum::<f64>() / window.len() as f64
}

fn std(window: &[f64]) -> f64 {
    let middle = mean(window);
    let squares: f64 = window.iter().map(|a| (a - middle) * (a - middle)).sum();
    libm::sqrt(squares / (window.len() as f64 - 1.0))
}

fn sum(window: &[f64]) -> f64 {
    window.iter().sum()
}

fn max(window: &[f64]) -> f64 {
    window.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn min(window: &[f64]) -> f64 {
    window.iter().copied().fold(f64::INFINITY, f64::min)
}

fn place_of(window: &[f64], value: f64) -> f64 {
    let place = window.iter().position(|other| *other == value);
    place.expect("it is one of them") as f64 + 1.0
}

fn flat(window: &[f64]) -> bool {
    window.len() < 2 || std(window) <= FLAT * mean(window).abs()
}

fn corr(one: &[f64], other: &[f64]) -> f64 {
    if flat(one) || flat(other) {
        return f64::NAN;
    }
    let (a, b) = (mean(one), mean(other));
    let products: f64 = one.iter().zip(other).map(|(x, y)| (x - a) * (y - b)).sum();
    products / (one.len() as f64 - 1.0) / (std(one) * std(other))
}

fn places(window: &[f64]) -> Vec<f64> {
    (1..=window.len()).map(|place| place as f64).collect()
}

/// Slope and residual at the newest of the line of least squares.
fn line(window: &[f64]) -> (f64, f64) {
    let x = places(window);
    let (a, b) = (mean(&x), mean(window));
    let products: f64 = x.iter().zip(window).map(|(x, y)| (x - a) * (y - b)).sum();
    let slope = products / x.iter().map(|x| (x - a) * (x - a)).sum::<f64>();
    let newest = window.len() - 1;
    (slope, window[newest] - b - slope * (x[newest] - a))
}

fn quantile(window: &[f64], part: f64) -> f64 {
    let mut sorted = window.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len() as f64 - 1.0);
    let below = libm::floor(place);
    let above = libm::ceil(place);
    let weight = place - below;
    sorted[below as usize] * (1.0 - weight) + sorted[above as usize] * weight
}

fn rank(window: &[f64]) -> f64 {
    let newest = window[window.len() - 1];
    let mut sorted = window.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ranks: Vec<f64> = (1..=sorted.len())
        .filter(|rank| sorted[rank - 1] == newest)
        .map(|rank| rank as f64)
        .collect();
    mean(&ranks) / window.len() as f64
}

/// Bars as columns.
struct Columns {
    open: Values,
    high: Values,
    low: Values,
    close: Values,
    volume: Values,
    vwap: Values,
}

impl Columns {
    fn of(bars: &[Bar]) -> Self {
        let column = |f: fn(&Bar) -> f64| Values(bars.iter().map(f).collect());
        Self {
            open: column(|bar| bar.open),
            high: column(|bar| bar.high),
            low: column(|bar| bar.low),
            close: column(|bar| bar.close),
            volume: column(|bar| bar.volume),
            vwap: column(|bar| match bar.volume {
                0.0 => bar.close,
                volume => bar.value / volume,
            }),
        }
    }

    fn candle(&self) -> Vec<(&'static str, Values)> {
        let (open, close) = (&self.open, &self.close);
        let range = self.high.sub(&self.low).map(|a| a + 1e-12);
        let body = close.sub(open);
        let above = self.high.sub(&open.zip(close, f64::max));
        let below = open.zip(close, f64::min).sub(&self.low);
        let shift = close.map(|a| 2.0 * a).sub(&self.high).sub(&self.low);
        Vec::from([
            ("KMID", body.div(open)),
            ("KLEN", self.high.sub(&self.low).div(open)),
            ("KMID2", body.div(&range)),
            ("KUP", above.div(open)),
            ("KUP2", above.div(&range)),
            ("KLOW", below.div(open)),
            ("KLOW2", below.div(&range)),
            ("KSFT", shift.div(open)),
            ("KSFT2", shift.div(&range)),
            ("OPEN0", open.div(close)),
            ("HIGH0", self.high.div(close)),
            ("LOW0", self.low.div(close)),
            ("VWAP0", self.vwap.div(close)),
        ])
    }

    /// The operators over one window.
    fn window(&self, bars: usize) -> Vec<(&'static str, Values)> {
        let Self {
            high,
            low,
            close,
            volume,
            ..
        } = self;
        let part = 1.0 / bars as f64;
        let by_close = |f: fn(&[f64]) -> f64| close.rolling(bars, f).div(close);
        let over = |one: &Values, f: fn(&[f64]) -> f64| one.rolling(bars, f);
        let guarded = |one: Values| one.map(|a| a + 1e-12);
        let (highest, lowest) = (over(high, max), over(low, min));
        let idx_max = over(high, |window| place_of(window, max(window)));
        let idx_min = over(low, |window| place_of(window, min(window)));
        let (before, volume_before) = (close.earlier(1), volume.earlier(1));
        // Closes before the first compare with nothing: unknown here.
        let share = |f: fn(f64, f64) -> bool| {
            let compared = close.zip(&before, |a, b| match b.is_nan() {
                true => f64::NAN,
                false => f64::from(u8::from(f(a, b))),
            });
            over(&compared, mean)
        };
        let (up, down) = (share(|a, b| a > b), share(|a, b| a < b));
        // Rust's `max` prefers a number to NaN, numpy's does not.
        let positive = |a: &Values| a.map(|a| if a.is_nan() { a } else { a.max(0.0) });
        let [price_sums, volume_sums] =
            [(close, &before), (volume, &volume_before)].map(|(one, earlier)| {
                let gain = over(&positive(&one.sub(earlier)), sum);
                let loss = over(&positive(&earlier.sub(one)), sum);
                let all = guarded(over(&one.sub(earlier).map(f64::abs), sum));
                [gain.div(&all), loss.div(&all), gain.sub(&loss).div(&all)]
            });
        let [sump, sumn, sumd] = price_sums;
        let [vsump, vsumn, vsumd] = volume_sums;
        // What the newest bar's volume divides is unknown when there is none.
        let divisor = volume.map(|a| if a == 0.0 { f64::NAN } else { a + 1e-12 });
        let moved = close.div(&before).zip(volume, |a, b| (a - 1.0).abs() * b);
        let log_volume = volume.map(libm::log1p);
        let log_change = volume.div(&volume_before).map(libm::log1p);
        Vec::from([
            ("ROC", close.earlier(bars).div(close)),
            ("MA", by_close(mean)),
            ("STD", by_close(std)),
            ("BETA", by_close(|window| line(window).0)),
            (
                "RSQR",
                over(close, |window| corr(window, &places(window))).map(|r| r * r),
            ),
            ("RESI", by_close(|window| line(window).1)),
            ("MAX", highest.div(close)),
            ("MIN", lowest.div(close)),
            ("QTLU", by_close(|window| quantile(window, 0.8))),
            ("QTLD", by_close(|window| quantile(window, 0.2))),
            ("RANK", over(close, rank)),
            (
                "RSV",
                close.sub(&lowest).div(&guarded(highest.sub(&lowest))),
            ),
            ("IMAX", idx_max.map(|a| a * part)),
            ("IMIN", idx_min.map(|a| a * part)),
            ("IMXD", idx_max.sub(&idx_min).map(|a| a * part)),
            ("CORR", close.rolling_pairs(&log_volume, bars, false, corr)),
            (
                "CORD",
                close
                    .div(&before)
                    .rolling_pairs(&log_change, bars, true, corr),
            ),
            ("CNTP", up.clone()),
            ("CNTN", down.clone()),
            ("CNTD", up.sub(&down)),
            ("SUMP", sump),
            ("SUMN", sumn),
            ("SUMD", sumd),
            ("VMA", over(volume, mean).div(&divisor)),
            ("VSTD", over(volume, std).div(&divisor)),
            ("WVMA", over(&moved, std).div(&guarded(over(&moved, mean)))),
            ("VSUMP", vsump),
            ("VSUMN", vsumn),
            ("VSUMD", vsumd),
        ])
    }
}

/// Qlib's names and columns, in its order.
fn batch(bars: &[Bar]) -> Vec<(String, Values)> {
    let columns = Columns::of(bars);
    let mut all: Vec<_> = columns
        .candle()
        .into_iter()
        .map(|(name, values)| (name.to_string(), values))
        .collect();
    let windows = [5, 10, 20, 30, 60].map(|window| (window, columns.window(window)));
    for operator in 0..windows[0].1.len() {
        for (window, operators) in &windows {
            let (name, values) = &operators[operator];
            all.push((format!("{name}{window}"), values.clone()));
        }
    }
    all
}

/// A market of integer ticks and lots.
struct Market {
    tick: f64,
    lot: f64,
    price: u64,
    /// Of a hundred bars: with no trades, and with a close that stays.
    empty: u64,
    still: u64,
    /// The greatest step in ticks.
    step: u64,
    lots: u64,
}

impl Market {
    fn bars(&self, seed: u64, count: usize) -> Vec<Bar> {
        let mut rng = Rng::new(seed, 158);
        let mut close = self.price;
        let mut bar = || {
            let open = close;
            if rng.below(100) < self.empty {
                return self.bar([open; 4], 0, 0.5);
            }
            if rng.below(100) >= self.still {
                close = (close + rng.below(2 * self.step + 1))
                    .saturating_sub(self.step)
                    .max(1);
            }
            let high = open.max(close) + rng.below(self.step / 2 + 1);
            let low = open
                .min(close)
                .saturating_sub(rng.below(self.step / 2 + 1))
                .max(1);
            let part = rng.below(1_001) as f64 / 1e3;
            self.bar([open, high, low, close], 1 + rng.below(self.lots), part)
        };
        (0..count).map(|_| bar()).collect()
    }

    fn bar(&self, prices: [u64; 4], lots: u64, part: f64) -> Bar {
        let [open, high, low, close] = prices.map(|ticks| ticks as f64 * self.tick);
        let volume = lots as f64 * self.lot;
        Bar {
            open,
            high,
            low,
            close,
            volume,
            value: volume * (low + (high - low) * part),
            bought: volume * part,
        }
    }
}

const MARKETS: [Market; 7] = [
    // An ordinary one, and the same with many ties.
    Market {
        tick: 0.01,
        lot: 1e-5,
        price: 6_500_000,
        empty: 0,
        still: 5,
        step: 5_000,
        lots: 10_000_000,
    },
    Market {
        tick: 0.1,
        lot: 0.1,
        price: 300,
        empty: 10,
        still: 40,
        step: 2,
        lots: 5,
    },
    // Hardly a trade, no trade at all, and one price only.
    Market {
        tick: 0.01,
        lot: 1.0,
        price: 10_000,
        empty: 80,
        still: 20,
        step: 10,
        lots: 100,
    },
    Market {
        tick: 0.01,
        lot: 1.0,
        price: 10_000,
        empty: 100,
        still: 0,
        step: 1,
        lots: 1,
    },
    Market {
        tick: 0.01,
        lot: 1.0,
        price: 10_000,
        empty: 0,
        still: 100,
        step: 0,
        lots: 1,
    },
    // As cheap as coins are, and far dearer.
    Market {
        tick: 1e-8,
        lot: 1.0,
        price: 1_234,
        empty: 3,
        still: 20,
        step: 4,
        lots: 1_000_000_000,
    },
    Market {
        tick: 1e6,
        lot: 1e4,
        price: 1_000_000,
        empty: 0,
        still: 0,
        step: 900_000,
        lots: 1_000_000,
    },
];

/// Relative to the greater of the value and one: all factors are of that order, or of a small
/// difference from it.
const TOLERANCE: f64 = 1e-12;

#[test]
fn every_factor_is_qlibs_expression_over_the_columns() {
    for (seed, market) in MARKETS.iter().enumerate() {
        let bars = market.bars(seed as u64, 300);
        let batch = batch(&bars);
        assert_eq!(batch.len(), COUNT);
        let mut series = Series::new();
        let mut known = 0;
        for (newest, bar) in bars.iter().enumerate() {
            series.push(bar);
            for ((row, value), (name, values)) in ROWS.iter().zip(read(&series)).zip(&batch) {
                let want = values.0[newest];
                let what = format!("market {seed}, bar {newest}, {name}: {value} for {want}");
                assert_eq!(value.is_nan(), !want.is_finite(), "{what}");
                if !value.is_nan() {
                    let off = (value - want).abs() / want.abs().max(1.0);
                    assert!(off <= TOLERANCE, "{what} ({})", row.name);
                    known += 1;
                }
            }
        }
        assert!(known > 30_000, "market {seed} shows little: {known}");
    }
}

#[test]
fn rows_are_called_as_qlib_calls_them() {
    let bars = MARKETS[0].bars(1, 2);
    for (row, (name, _)) in ROWS.iter().zip(batch(&bars)) {
        let name = name.to_lowercase();
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let bars = &name[stem.len()..];
        let (want, parameters) = match bars {
            "" | "2" => (format!("alpha158_{name}"), String::new()),
            "0" => (format!("alpha158_{stem}_0"), String::new()),
            _ => (format!("alpha158_{stem}_{bars}"), format!("window={bars}")),
        };
        assert_eq!(
            (row.name, row.parameters),
            (want.as_str(), parameters.as_str())
        );
    }
}

fn named(factors: &[f64; COUNT]) -> BTreeMap<&'static str, f64> {
    ROWS.iter()
        .map(|row| row.name)
        .zip(factors.iter().copied())
        .collect()
}

#[test]
fn a_steady_rise_gives_the_values_of_a_straight_line() {
    let mut series = Series::new();
    for close in 1..=61 {
        let close = f64::from(close) * 2.0;
        series.push(&Bar {
            open: close - 2.0,
            high: close + 1.0,
            low: close - 3.0,
            close,
            volume: close,
            value: close * close,
            bought: close,
        });
    }
    let factors = named(&read(&series));
    for (name, want) in [
        ("kmid", 2.0 / 120.0),
        ("kmid2", 2.0 / 4.0),
        ("vwap_0", 1.0),
        ("roc_60", 2.0 / 122.0),
        ("ma_5", 118.0 / 122.0),
        ("std_5", libm::sqrt(10.0) / 122.0),
        ("beta_30", 2.0 / 122.0),
        ("rsqr_60", 1.0),
        ("resi_60", 0.0),
        ("max_5", 123.0 / 122.0),
        ("min_5", 111.0 / 122.0),
        ("qtlu_10", 118.4 / 122.0),
        ("rank_20", 1.0),
        ("rsv_5", 11.0 / 12.0),
        ("imax_10", 1.0),
        ("imin_10", 0.1),
        ("imxd_10", 0.9),
        ("cntp_60", 1.0),
        ("sumd_60", 1.0),
        ("vma_5", 118.0 / 122.0),
        ("vsumn_10", 0.0),
    ] {
        let value = factors[format!("alpha158_{name}").as_str()];
        assert!((value - want).abs() < 1e-11, "{name}: {value} for {want}");
    }
    // Closes and logarithms of volumes rise together.
    assert!(factors["alpha158_corr_60"] > 0.9);
}

#[test]
fn bars_that_make_no_sense_give_finite_values_or_none() {
    const ODD: [f64; 8] = [0.0, -1.0, 1e-300, 1.0, 1e18, 1e300, f64::MAX, f64::NAN];
    let mut rng = Rng::new(3, 158);
    for _ in 0..200 {
        let kinds = 1 + rng.below(ODD.len() as u64);
        let mut odd = || ODD[rng.below(kinds) as usize];
        let mut series = Series::new();
        for _ in 0..70 {
            series.push(&Bar {
                open: odd(),
                high: odd(),
                low: odd(),
                close: odd(),
                volume: odd(),
                value: odd(),
                bought: odd(),
            });
            assert!(read(&series).iter().all(|factor| !factor.is_infinite()));
        }
    }
}

#[test]
fn only_the_newest_61_bars_count() {
    let bars = MARKETS[1].bars(9, 200);
    let (mut all, mut newest) = (Series::new(), Series::new());
    bars.iter().for_each(|bar| all.push(bar));
    bars[200 - LONGEST - 1..]
        .iter()
        .for_each(|bar| newest.push(bar));
    assert_eq!(
        read(&all).map(f64::to_bits),
        read(&newest).map(f64::to_bits)
    );
}
