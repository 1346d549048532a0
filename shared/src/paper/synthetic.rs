//! A made-up book from the last bars, for a venue that gives no depth.
//!
//! The spread is estimated from highs and lows, the size from what a minute trades. A fill against
//! it is marked as such by the venue that uses it: it is a stand-in, never data.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::tape::{BAR_NS, Bar, Tape};
use super::wide::{mul_div, narrow};
use crate::event::{Level, Side};
use crate::instrument::Instrument;
use crate::num::{Price, Qty};
use crate::time::{MINUTES, Time};

/// Levels a side.
pub const LEVELS: usize = 10;
/// The last trade must not be older than this, in nanoseconds.
pub const MAX_AGE_NS: u64 = 5 * MINUTES;
/// Pairs of adjacent minutes, from the newest back, that the spread is averaged over.
pub const PAIRS: usize = 15;

/// A made-up book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synthetic {
    bids: Vec<Level, LEVELS>,
    asks: Vec<Level, LEVELS>,
}

impl Synthetic {
    /// The book around the last trade as it would stand at `at`. `None` without a pair of adjacent
    /// minutes that both traded, or when the last trade is older than [`MAX_AGE_NS`].
    ///
    /// The touch stands half the estimated spread from the last price, each side rounded away from it
    /// to a tick, and at least one tick apart. Levels follow at half the spread, at least a tick. Each
    /// side holds half of what a mean minute trades, level `i` of `n` the share `i / (1 + … + n)`,
    /// rounded down to a lot, at least one lot.
    #[must_use]
    pub fn build(tape: &Tape, instrument: &Instrument, at: Time) -> Option<Self> {
        let (price, traded) = tape.last_trade()?;
        if at.since(traded) > MAX_AGE_NS.cast_signed() {
            return None;
        }
        let volume = tape.volume_per_minute().0;
        if volume <= 0 {
            return None;
        }
        let spread = spread_ppb(tape.bars())?;
        let half = mul_div(
            u128::from(price.0.unsigned_abs()),
            u128::from(spread.unsigned_abs()),
            2_000_000_000,
        );
        let half = narrow(half.0.saturating_add(u128::from(!half.1)));
        let tick = instrument.tick.max(1);
        let step = half.saturating_add(tick - 1) / tick * tick;
        let step = step.max(tick);
        let bid = price.0.saturating_sub(half).div_euclid(tick) * tick;
        let top = price.0.saturating_add(half);
        let ask = match top % tick {
            0 => top,
            beyond => top.checked_add(tick - beyond)?,
        };
        let ask = ask.max(bid.saturating_add(tick));
        Some(Self {
            bids: levels(Side::Buy, bid, step, volume / 2, instrument),
            asks: levels(Side::Sell, ask, step, volume / 2, instrument),
        })
    }

    /// The bids, best first. Fewer than [`LEVELS`] when the price is so low that they would reach
    /// zero.
    #[must_use]
    pub fn bids(&self) -> &[Level] {
        &self.bids
    }

    /// The asks, best first.
    #[must_use]
    pub fn asks(&self) -> &[Level] {
        &self.asks
    }

    /// The levels of a side, best first.
    #[must_use]
    pub fn levels(&self, side: Side) -> &[Level] {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }
}

fn levels(
    side: Side,
    best: i64,
    step: i64,
    volume: i64,
    instrument: &Instrument,
) -> Vec<Level, LEVELS> {
    let lot = instrument.lot.max(1);
    let shares = (LEVELS * (LEVELS + 1) / 2) as i128;
    let mut levels = Vec::new();
    let mut price = Some(best);
    for share in 1..=LEVELS as i128 {
        let Some(here) = price.filter(|price| *price > 0) else {
            break;
        };
        let qty = narrow((i128::from(volume) * share / shares).unsigned_abs());
        let pushed = levels.push(Level {
            price: Price(here),
            qty: Qty((qty - qty % lot).max(lot)),
        });
        debug_assert!(pushed.is_ok(), "one for each of LEVELS");
        price = match side {
            Side::Buy => here.checked_sub(step),
            Side::Sell => here.checked_add(step),
        };
    }
    levels
}

/// The spread in billionths of the price, from the newest [`PAIRS`] pairs of adjacent minutes that
/// both traded: the mean of their estimates, a negative one counting as zero. `None` without a pair.
///
/// Source: Corwin and Schultz, "A simple way to estimate bid-ask spreads from daily high and low
/// prices", Journal of Finance 67 (2012), equations 14 and 18 with the adjustment for a price that
/// jumped between the periods, and on minutes instead of days:
/// `α = (√(2β) − √β) / (3 − 2√2) − √(γ / (3 − 2√2))`, which is `(1 + √2) (√β − √γ)`, and
/// `S = 2 (e^α − 1) / (1 + e^α)`, which is `2 tanh(α / 2)`.
#[must_use]
pub fn spread_ppb<'a>(bars: impl DoubleEndedIterator<Item = &'a Bar>) -> Option<i64> {
    let (mut sum, mut count) = (0_i128, 0_i128);
    let mut newer: Option<&Bar> = None;
    for bar in bars.rev() {
        if let Some(after) = newer
            && bar.start.plus(BAR_NS) == after.start
            && bar.trades > 0
            && after.trades > 0
        {
            sum += pair(bar, after);
            count += 1;
            if count == PAIRS as i128 {
                break;
            }
        }
        newer = Some(bar);
    }
    (count > 0).then(|| narrow(((sum / count * 1_000_000_000) >> FRACTION).unsigned_abs()))
}

/// Binary places of the fixed-point numbers below.
const FRACTION: u32 = 48;
const ONE: i128 = 1 << FRACTION;
/// `ln 2`, in units of `2^-48`.
const LN_2: i128 = 195_103_586_505_167;
/// `1 + √2`, in units of `2^-48`.
const SILVER: i128 = ONE + (2 * ONE * ONE).isqrt();

/// The estimate of one pair in units of `2^-48`, not below zero.
fn pair(before: &Bar, after: &Bar) -> i128 {
    let (high, low) = (ln(before.high), ln(before.low));
    let close = ln(before.close);
    let (next_high, next_low) = (ln(after.high), ln(after.low));
    // The price jumped over its next range: the range is moved back to it.
    let jump = (close - next_high).max(0) + (close - next_low).min(0);
    let square = |range: i128| range * range;
    let beta = square(high - low) + square(next_high - next_low);
    let gamma = square(high.max(next_high + jump) - low.min(next_low + jump));
    let alpha = ((beta.isqrt() - gamma.isqrt()) * SILVER) >> FRACTION;
    if alpha <= 0 {
        return 0;
    }
    2 * tanh(alpha / 2)
}

/// The natural logarithm of a positive price in units of `2^-48`, within a few of them.
fn ln(price: Price) -> i128 {
    let price = u64::try_from(price.0.max(1)).expect("positive");
    let power = price.ilog2();
    // `m` in [1, 2) and `ln m = 2 artanh z` with `z = (m − 1) / (m + 1)`, below a third.
    let mantissa = (i128::from(price) << FRACTION) >> power;
    let z = ((mantissa - ONE) << FRACTION) / (mantissa + ONE);
    let square = (z * z) >> FRACTION;
    let (mut term, mut sum) = (z, 0);
    let mut odd = 1;
    while term > 0 {
        sum += term / odd;
        term = (term * square) >> FRACTION;
        odd += 2;
    }
    i128::from(power) * LN_2 + 2 * sum
}

/// The hyperbolic tangent of a number that is not negative, by Lambert's continued fraction
/// `x / (1 + x² / (3 + x² / (5 + …)))`; beyond 8 it is one within `3 · 10^-7`.
fn tanh(x: i128) -> i128 {
    if x >= 8 * ONE {
        return ONE;
    }
    let square = (x * x) >> FRACTION;
    let mut below = 33 * ONE;
    for place in (0..16).rev() {
        below = (2 * place + 1) * ONE + (square << FRACTION) / below;
    }
    ((x << FRACTION) / below).min(ONE)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec as List;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Trade;
    use crate::instrument::Venue;
    use crate::time::SECONDS;

    const START: u64 = 1_000_000 * MINUTES;

    /// Open, high, low, close and volume of fifteen minutes of Binance's XMRUSDT perpetual from
    /// 2026-01-05 09:18 UTC, prices in cents and volume in thousandths, from the venue's klines.
    const XMR: [[i64; 5]; 15] = [
        [42_838, 42_876, 42_838, 42_860, 110_804],
        [42_861, 42_884, 42_835, 42_837, 43_842],
        [42_841, 42_858, 42_817, 42_848, 16_451],
        [42_845, 42_891, 42_840, 42_890, 27_826],
        [42_890, 42_895, 42_827, 42_831, 30_067],
        [42_829, 42_834, 42_817, 42_834, 11_414],
        [42_834, 42_862, 42_820, 42_851, 27_928],
        [42_849, 42_962, 42_847, 42_922, 82_644],
        [42_921, 42_930, 42_909, 42_922, 8_641],
        [42_922, 42_933, 42_908, 42_908, 17_600],
        [42_906, 42_908, 42_899, 42_906, 5_440],
        [42_905, 42_936, 42_899, 42_908, 33_592],
        [42_908, 42_914, 42_883, 42_897, 42_848],
        [42_899, 42_933, 42_892, 42_921, 32_058],
        [42_923, 42_924, 42_885, 42_901, 26_624],
    ];

    fn instrument() -> Instrument {
        Instrument {
            price_scale: 2,
            qty_scale: 3,
            ..Instrument::unknown(Venue::BinanceUsdm, "XMRUSDT").expect("short")
        }
    }

    /// Each minute as four trades of a quarter of its volume, at its four prices.
    fn tape(minutes: &[[i64; 5]]) -> Tape {
        let mut tape = Tape::new();
        for (number, [open, high, low, close, volume]) in (0..).zip(minutes) {
            for (step, price) in (0..).zip([open, high, low, close]) {
                let trade = Trade {
                    id: 0,
                    price: Price(*price),
                    qty: Qty(volume / 4),
                    aggressor: Side::Buy,
                };
                tape.trade(&trade, Time(START + number * MINUTES + step * SECONDS));
            }
        }
        tape.mid(1, Time(START + minutes.len() as u64 * MINUTES));
        tape
    }

    fn bar(minute: u64, high: i64, low: i64, close: i64) -> Bar {
        Bar {
            start: Time(START + minute * MINUTES),
            open: Price(close),
            high: Price(high),
            low: Price(low),
            close: Price(close),
            volume: Qty(1),
            signed: Qty(1),
            trades: 1,
        }
    }

    /// The paper's formula as it is printed, in floating point.
    fn printed(before: &Bar, after: &Bar) -> f64 {
        let ln = |price: Price| libm::log(price.0 as f64);
        let (close, mut high, mut low) = (ln(before.close), ln(after.high), ln(after.low));
        let jump = (close - high).max(0.0) + (close - low).min(0.0);
        (high, low) = (high + jump, low + jump);
        let square = |x: f64| x * x;
        let beta = square(ln(before.high) - ln(before.low)) + square(high - low);
        let gamma = square(high.max(ln(before.high)) - low.min(ln(before.low)));
        let share = 3.0 - 2.0 * libm::sqrt(2.0);
        let alpha = (libm::sqrt(2.0 * beta) - libm::sqrt(beta)) / share - libm::sqrt(gamma / share);
        let power = libm::exp(alpha);
        (2.0 * (power - 1.0) / (1.0 + power)).max(0.0)
    }

    #[test]
    fn a_pure_bounce_is_the_spread() {
        // Both minutes span 99.5 to 100.5, nothing but the bounce: β = 2 γ, so the estimate is
        // 2 tanh(ln(100.5 / 99.5) (1 + √2) (√2 − 1) / 2) = 1 / 100 exactly.
        let bars = [bar(0, 10_050, 9_950, 10_050), bar(1, 10_050, 9_950, 9_950)];
        assert_eq!(spread_ppb(bars.iter()), Some(9_999_999));
        // A pure trend: the second minute begins where the first ends. √γ > √β, so zero.
        let bars = [
            bar(0, 10_100, 10_000, 10_100),
            bar(1, 10_200, 10_100, 10_200),
        ];
        assert_eq!(spread_ppb(bars.iter()), Some(0));
        // Not adjacent, or without trades: no pair.
        let bars = [bar(0, 10_050, 9_950, 10_050), bar(2, 10_050, 9_950, 9_950)];
        assert_eq!(spread_ppb(bars.iter()), None);
        let quiet = Bar {
            trades: 0,
            ..bar(1, 9_950, 9_950, 9_950)
        };
        assert_eq!(
            spread_ppb([bar(0, 10_050, 9_950, 10_050), quiet].iter()),
            None
        );
    }

    #[test]
    fn real_minutes_make_a_plausible_book() {
        let tape = tape(&XMR);
        let bars: List<Bar> = tape.bars().copied().collect();
        assert_eq!(bars.len(), XMR.len());
        let want = bars
            .windows(2)
            .map(|two| printed(&two[0], &two[1]))
            .sum::<f64>()
            / 14.0;
        let spread = spread_ppb(bars.iter()).expect("pairs");
        assert!((spread as f64 - want * 1e9).abs() < 2.0, "{spread} {want}");
        // The estimator CS2 of the R package bidask 2.0.6 (cs.R) in Python's doubles: 204 827.9.
        assert_eq!(spread, 204_827);
        let at = Time(START + 15 * MINUTES);
        let book = Synthetic::build(&tape, &instrument(), at).expect("fresh");
        let (bid, ask) = (book.bids()[0], book.asks()[0]);
        // Half of 0.0204827 % of 429.01 is 4.4 cents, counted as 5; the same from level to level.
        assert_eq!((bid.price, ask.price), (Price(42_896), Price(42_906)));
        assert_eq!(book.asks()[1].price, Price(42_911));
        // 34.517 a minute, 17.258 a side, of which the first level has 1 / 55 and the last 10 / 55.
        assert_eq!(tape.volume_per_minute(), Qty(34_517));
        assert_eq!((ask.qty, book.asks()[9].qty), (Qty(313), Qty(3_137)));
        assert_eq!(book.levels(Side::Buy), book.bids());
    }

    #[test]
    fn stale_or_empty_tapes_make_no_book() {
        let tape = tape(&XMR);
        let last = START + 14 * MINUTES + 3 * SECONDS;
        let build = |at: u64| Synthetic::build(&tape, &instrument(), Time(at));
        assert!(build(last + MAX_AGE_NS).is_some());
        assert_eq!(build(last + MAX_AGE_NS + 1), None);
        assert_eq!(
            Synthetic::build(&Tape::new(), &instrument(), Time(last)),
            None
        );
    }

    #[test]
    fn functions_agree_with_libm() {
        for price in [1, 2, 3, 99, 1_000, 42_901, i64::MAX / 3, i64::MAX] {
            let got = ln(Price(price)) as f64 / ONE as f64;
            assert!((got - libm::log(price as f64)).abs() < 1e-12, "{price}");
        }
        for x in [0.0, 1e-6, 1e-3, 0.1, 1.0, 3.0, 7.9, 9.0] {
            let got = tanh((x * ONE as f64) as i128) as f64 / ONE as f64;
            let within = if x < 8.0 { 1e-12 } else { 3e-7 };
            assert!((got - libm::tanh(x)).abs() < within, "{x} {got}");
        }
        assert!((LN_2 as f64 / ONE as f64 - core::f64::consts::LN_2).abs() < 1e-14);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn equals_the_printed_formula(
            prices in proptest::collection::vec((1_000_i64..2_000_000, 0_i64..50_000, 0_i64..50_000), 2..40)
        ) {
            let bars: List<Bar> = (0..)
                .zip(&prices)
                .map(|(minute, (low, range, close))| {
                    bar(minute, low + range, *low, low + close.min(range))
                })
                .collect();
            let newest = &bars[bars.len().saturating_sub(PAIRS + 1)..];
            let pairs = newest.windows(2).map(|two| printed(&two[0], &two[1]));
            let want = pairs.sum::<f64>() / (newest.len() - 1) as f64 * 1e9;
            let got = spread_ppb(bars.iter()).expect("pairs") as f64;
            prop_assert!((got - want).abs() < 5.0, "{got} {want}");
        }

        /// Whatever traded, the book is ordered, on ticks and lots, and sizes grow.
        #[test]
        fn any_book_is_well_formed(
            prices in proptest::collection::vec((1_i64..i64::MAX, 1_i64..i64::MAX), 8..60),
            near in any::<bool>(), tick in -1_i64..1_000, lot in -1_i64..1_000,
        ) {
            let mut tape = Tape::new();
            for (number, (price, qty)) in (0..).zip(&prices) {
                let price = if near { 1 + price % 1_000 } else { *price };
                let trade = Trade { id: 0, price: Price(price), qty: Qty(*qty), aggressor: Side::Sell };
                tape.trade(&trade, Time(START + number * 20 * SECONDS));
            }
            let instrument = Instrument { tick, lot, ..instrument() };
            let at = Time(START + prices.len() as u64 * 20 * SECONDS);
            let (tick, lot) = (tick.max(1), lot.max(1));
            if let Some(book) = Synthetic::build(&tape, &instrument, at) {
                prop_assert!(book.asks().windows(2).all(|two| two[0].price < two[1].price));
                prop_assert!(book.bids().windows(2).all(|two| two[0].price > two[1].price));
                for level in book.bids().iter().chain(book.asks()) {
                    prop_assert!(level.price.0 > 0 && level.price.0 % tick == 0);
                    prop_assert!(level.qty.0 >= lot && level.qty.0 % lot == 0);
                }
                prop_assert!(book.asks().windows(2).all(|two| two[0].qty <= two[1].qty));
                if let (Some(bid), Some(ask)) = (book.bids().first(), book.asks().first()) {
                    prop_assert!(ask.price.0 - bid.price.0 >= tick);
                    let last = tape.last_trade().expect("some").0;
                    prop_assert!(bid.price <= last && last <= ask.price);
                }
            }
        }
    }
}
