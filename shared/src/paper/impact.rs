//! Market impact beyond the visible book, calibrated on the market's own tape.
//!
//! Two effects, as in Almgren, Thum, Hauptmann and Li, "Direct estimation of equity market impact",
//! Risk 18 (2005): a temporary one that only the order itself pays, and a permanent one that later
//! orders pay, which here decays, since a market forgets. The temporary one follows the square-root
//! law `Y σ √(Q/V)` (Tóth et al., "Anomalous price impact and the critical nature of liquidity in
//! financial markets", Physical Review X 1, 2011). `σ` and `V` are of one minute; the law is the same
//! for every horizon, as `σ` grows with the root of time and `V` with time. The permanent one is
//! Kyle's λ times the quantity. What walking the book has cost already is part of the law and is not
//! charged again.

use serde::{Deserialize, Serialize};

use super::tape::Tape;
use super::wide::{mul_div, narrow};
use crate::event::Side;
use crate::instrument::Instrument;
use crate::num::{CASH_SCALE, Cash, Price, Qty};
use crate::time::{MINUTES, Time};

/// Millionths in one.
const PPM: u128 = 1_000_000;
/// Billionths in one.
const PPB: u128 = 1_000_000_000;
/// Largest temporary impact, in billionths of the price: an order cannot cost more than its notional
/// on top.
const TEMPORARY_LIMIT_PPB: u128 = PPB;
/// Largest permanent shift, in millionths of the price.
pub const SHIFT_LIMIT_PPM: u32 = 50_000;
/// Parts of a unit of the doubled mid price in which the shift is kept.
const SHIFT_SCALE: u32 = 1 << 20;
/// Half-life of the permanent shift when nothing else is configured.
pub const HALF_LIFE_NS: u64 = 5 * MINUTES;

/// How impact is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImpactTerms {
    /// `Y` of the square-root law in millionths. One is what Tóth et al. find in order of magnitude
    /// for the price at the end of an order; charging it on the whole order is on the safe side (the
    /// mean over a uniform execution is two thirds of it).
    pub coefficient_ppm: u32,
    /// After so long, half of a permanent shift is left. Zero: none outlasts its instant.
    pub half_life_ns: u64,
    /// Whether impact is charged at all.
    pub enabled: bool,
}

impl Default for ImpactTerms {
    fn default() -> Self {
        Self {
            coefficient_ppm: 1_000_000,
            half_life_ns: HALF_LIFE_NS,
            enabled: true,
        }
    }
}

/// What own takers did to one instrument's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    terms: ImpactTerms,
    /// The shift at `since`, in `1 / SHIFT_SCALE` of the doubled mid price; positive after buying.
    shift: i64,
    since: Time,
}

impl Impact {
    /// A market that was not touched.
    #[must_use]
    pub const fn new(terms: ImpactTerms) -> Self {
        Self {
            terms,
            shift: 0,
            since: Time::UNKNOWN,
        }
    }

    /// Impact is charged otherwise from now on (a restart with another configuration).
    pub const fn set_terms(&mut self, terms: ImpactTerms) {
        self.terms = terms;
    }

    /// How impact is charged.
    #[must_use]
    pub const fn terms(&self) -> &ImpactTerms {
        &self.terms
    }

    /// Whether the tape has shown enough to charge anything but walking the book.
    #[must_use]
    pub fn calibrated(tape: &Tape) -> bool {
        tape.lambda().is_some() && tape.volatility_ppb().is_some() && tape.volume_per_minute().0 > 0
    }

    /// What taking `qty` costs on top of its fills: what the square-root law asks beyond `walked` (the
    /// money paid beyond the touch by walking the book), and the adverse part of the permanent shift.
    /// A favourable shift is never credited. Without calibration the first part is zero, and a shift
    /// that was calibrated when it arose still counts. Never negative; rounded up.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "the order, the book it met, and the tape are three things of the caller"
    )]
    pub fn surcharge(
        &self,
        side: Side,
        qty: Qty,
        touch: Price,
        walked: Cash,
        tape: &Tape,
        instrument: &Instrument,
        at: Time,
    ) -> Cash {
        if !self.terms.enabled || qty.0 <= 0 || touch.0 <= 0 {
            return Cash::ZERO;
        }
        let temporary = self.temporary(qty, touch, tape, instrument);
        let beyond = temporary.saturating_sub(walked.0.max(0));
        Cash(beyond.max(0)) + self.shifted(side, qty, instrument, at)
    }

    /// `Y σ √(Q/V)` of the notional.
    fn temporary(&self, qty: Qty, touch: Price, tape: &Tape, instrument: &Instrument) -> i64 {
        let Some(sigma) = tape.volatility_ppb().filter(|_| Self::calibrated(tape)) else {
            return 0;
        };
        let volume = u128::from(tape.volume_per_minute().0.unsigned_abs());
        // The root of the share of a minute's volume, in millionths.
        let share = u128::from(qty.0.unsigned_abs()) * PPM * PPM / volume;
        let law = u128::from(self.terms.coefficient_ppm) * u128::from(sigma.unsigned_abs());
        let impact = mul_div(law, share.isqrt(), PPM * PPM).0;
        let notional = u128::from(qty.0.unsigned_abs()) * u128::from(touch.0.unsigned_abs());
        money(notional, impact.min(TEMPORARY_LIMIT_PPB), PPB, instrument)
    }

    /// The adverse part of the permanent shift for this quantity.
    fn shifted(&self, side: Side, qty: Qty, instrument: &Instrument, at: Time) -> Cash {
        let adverse = match side {
            Side::Buy => self.shift_at(at).max(0),
            Side::Sell => self.shift_at(at).min(0),
        };
        // Half of the doubled mid price's move.
        Cash(money(
            u128::from(adverse.unsigned_abs()),
            u128::from(qty.0.unsigned_abs()),
            2 * u128::from(SHIFT_SCALE),
            instrument,
        ))
    }

    /// Own taking of `qty` moved the price by λ times it, for later orders. The shift stays within
    /// [`SHIFT_LIMIT_PPM`] of the price.
    pub fn took(&mut self, side: Side, qty: Qty, at: Time, tape: &Tape) {
        if !self.terms.enabled || qty.0 <= 0 {
            return;
        }
        let (Some(lambda), Some(price)) = (tape.lambda(), doubled(tape)) else {
            return;
        };
        let moved = side.sign() * lambda.times(qty, SHIFT_SCALE);
        let limit = narrow(
            mul_div(
                u128::from(price.unsigned_abs()),
                u128::from(SHIFT_LIMIT_PPM) * u128::from(SHIFT_SCALE),
                PPM,
            )
            .0,
        );
        let left = self.shift_at(at);
        self.shift = left.saturating_add(moved).clamp(-limit, limit);
        self.since = at.max(self.since);
    }

    /// The permanent shift at `at` in whole units of the doubled mid price, toward zero; positive
    /// after buying.
    #[must_use]
    pub fn shift(&self, at: Time) -> i64 {
        self.shift_at(at) / i64::from(SHIFT_SCALE)
    }

    fn shift_at(&self, at: Time) -> i64 {
        let elapsed = at.0.saturating_sub(self.since.0);
        if self.shift == 0 || elapsed == 0 {
            return self.shift;
        }
        let left = decay(self.shift.unsigned_abs(), elapsed, self.terms.half_life_ns);
        self.shift.signum() * narrow(u128::from(left))
    }
}

/// Twice the market's price: the mid, or the last trade when there is none.
fn doubled(tape: &Tape) -> Option<i64> {
    tape.double_mid().or_else(|| {
        let (price, _) = tape.last_trade()?;
        Some(price.0.saturating_mul(2))
    })
}

/// `a * b / divisor`, of units of price times quantity, as money; rounded up and saturated.
fn money(a: u128, b: u128, divisor: u128, instrument: &Instrument) -> i64 {
    let scale =
        i32::from(instrument.price_scale) + i32::from(instrument.qty_scale) - i32::from(CASH_SCALE);
    let unit = 10_u128.pow(scale.unsigned_abs());
    let (product, exact) = if scale >= 0 {
        // The scale is at most 28, the divisor below 2^30: no saturation.
        mul_div(a, b, divisor.saturating_mul(unit))
    } else {
        mul_div(a.saturating_mul(unit), b, divisor)
    };
    narrow(product.saturating_add(u128::from(!exact)))
}

/// Binary digits of the part of a half-life that [`decay`] distinguishes.
const DIGITS: usize = 24;

/// `2^(-1/2), 2^(-1/4), 2^(-1/8), …` in units of `2^-62`, each the root of the one before.
const ROOTS: [u64; DIGITS] = {
    let mut roots = [0; DIGITS];
    let mut before: u128 = 1 << 61;
    let mut place = 0;
    while place < DIGITS {
        before = (before << 62).isqrt();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the root of a number below 2^124"
        )]
        {
            roots[place] = before as u64;
        }
        place += 1;
    }
    roots
};

/// `value * 2^(-elapsed / half_life)`, rounded down: the whole half-lives are a shift, the rest is a
/// product of roots of one half, one for each binary digit.
fn decay(value: u64, elapsed: u64, half_life: u64) -> u64 {
    if half_life == 0 {
        return 0;
    }
    let halvings = elapsed / half_life;
    if halvings >= u64::from(u64::BITS) {
        return 0;
    }
    let mut left = u128::from(value) << 32 >> halvings;
    let mut rest = u128::from(elapsed % half_life);
    for root in ROOTS {
        rest *= 2;
        if rest >= u128::from(half_life) {
            rest -= u128::from(half_life);
            left = mul_div(left, u128::from(root), 1 << 62).0;
        }
    }
    u64::try_from(left >> 32).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Trade;
    use crate::instrument::Venue;
    use crate::time::SECONDS;

    const START: u64 = 1_000_000 * MINUTES;
    const NOW: Time = Time(START + 100 * MINUTES);

    fn instrument(price_scale: u8, qty_scale: u8) -> Instrument {
        Instrument {
            price_scale,
            qty_scale,
            ..Instrument::unknown(Venue::Binance, "T").expect("short")
        }
    }

    /// An hour of minutes that close at 10 000 and 10 000 + `swing` in turn, six trades of `qty`
    /// each, every one of which moves the doubled mid by `moved` with it.
    fn tape(swing: i64, qty: i64, moved: i64) -> Tape {
        let mut tape = Tape::new();
        tape.mid(20_000, Time(START - 1));
        for minute in 0..=60_u64 {
            for step in 0..6_u64 {
                let at = Time(START + minute * MINUTES + step * 10 * SECONDS);
                let (aggressor, mid) = if step % 2 == 0 {
                    (Side::Buy, 20_000 + moved)
                } else {
                    (Side::Sell, 20_000)
                };
                let price = Price(10_000 + i64::from(minute % 2 == 1) * swing);
                let trade = Trade {
                    id: 0,
                    price,
                    qty: Qty(qty),
                    aggressor,
                };
                tape.trade(&trade, at);
                tape.mid(mid, at.plus(SECONDS));
            }
        }
        tape
    }

    fn charge(impact: &Impact, side: Side, qty: i64, walked: i64, tape: &Tape) -> i64 {
        let instrument = instrument(4, 4);
        impact
            .surcharge(
                side,
                Qty(qty),
                Price(10_000),
                Cash(walked),
                tape,
                &instrument,
                NOW,
            )
            .0
    }

    #[test]
    fn charges_what_the_square_root_law_asks_beyond_the_walk() {
        let tape = tape(100, 5, 4);
        assert_eq!(tape.volume_per_minute(), Qty(30));
        let impact = Impact::new(ImpactTerms::default());
        assert!(Impact::calibrated(&tape));
        // 59 returns of +1 % and −0.990 099 % in turn: their deviation is 1.003 446 691 % (Python's
        // statistics.stdev). 120 is four minutes' volume, so the law asks 2 σ of a notional of
        // 1.2 million (price and quantity have four decimals each, cash eight).
        let sigma = tape.volatility_ppb().expect("known");
        assert_eq!(sigma, 10_034_466);
        let want = (2 * sigma * 1_200_000 + 999_999_999) / 1_000_000_000;
        assert_eq!(charge(&impact, Side::Buy, 120, 0, &tape), want);
        assert_eq!(charge(&impact, Side::Sell, 120, 0, &tape), want);
        assert_eq!(charge(&impact, Side::Buy, 120, 1_000, &tape), want - 1_000);
        assert_eq!(charge(&impact, Side::Buy, 120, want + 1, &tape), 0);
        let half = Impact::new(ImpactTerms {
            coefficient_ppm: 500_000,
            ..ImpactTerms::default()
        });
        assert_eq!(charge(&half, Side::Buy, 120, 0, &tape), want / 2 + want % 2);
    }

    #[test]
    fn own_takers_move_the_price_and_are_forgotten() {
        let tape = tape(0, 5, 4);
        let mut impact = Impact::new(ImpactTerms::default());
        assert_eq!(charge(&impact, Side::Buy, 100, 0, &tape), 0, "σ is zero");
        // λ is 4 / 5: a thousand shift the doubled mid by 800, the price by 400.
        impact.took(Side::Buy, Qty(1_000), NOW, &tape);
        assert_eq!(impact.shift(NOW), 800);
        assert_eq!(charge(&impact, Side::Buy, 100, 0, &tape), 40_000);
        assert_eq!(charge(&impact, Side::Sell, 100, 0, &tape), 0, "no credit");
        for (half_lives, left) in [(1, 400), (2, 200), (3, 100), (9, 1), (10, 0), (64, 0)] {
            assert_eq!(impact.shift(NOW.plus(half_lives * HALF_LIFE_NS)), left);
        }
        assert_eq!(impact.shift(NOW.plus(HALF_LIFE_NS / 2)), 565, "800 / √2");
        impact.took(Side::Sell, Qty(1_500), NOW.plus(HALF_LIFE_NS), &tape);
        assert_eq!(impact.shift(NOW.plus(HALF_LIFE_NS)), 400 - 1_200);
        impact.took(Side::Sell, Qty(i64::MAX), NOW.plus(HALF_LIFE_NS), &tape);
        assert_eq!(
            impact.shift(NOW.plus(HALF_LIFE_NS)),
            -1_000,
            "5 % of 20 000"
        );
    }

    #[test]
    fn an_unknown_market_costs_the_walk_alone() {
        let empty = Tape::new();
        assert!(!Impact::calibrated(&empty));
        let mut impact = Impact::new(ImpactTerms::default());
        impact.took(Side::Buy, Qty(1_000), NOW, &empty);
        assert_eq!(charge(&impact, Side::Buy, 1_000_000, 0, &empty), 0);
        let full = tape(100, 5, 4);
        let mut off = Impact::new(ImpactTerms {
            enabled: false,
            ..ImpactTerms::default()
        });
        off.took(Side::Buy, Qty(1_000), NOW, &full);
        assert_eq!(
            (off.shift(NOW), charge(&off, Side::Buy, 120, 0, &full)),
            (0, 0)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Against the exponential itself.
        #[test]
        fn decay_is_exponential(
            value in 0_u64..1 << 62,
            elapsed in 0_u64..100 * MINUTES,
            half_life in 1_u64..60 * MINUTES,
        ) {
            let want = value as f64 * libm::exp2(-(elapsed as f64) / half_life as f64);
            let got = decay(value, elapsed, half_life) as f64;
            prop_assert!((got - want).abs() <= want * 1e-7 + 1.0, "{got} {want}");
            prop_assert!(decay(value, elapsed + 1, half_life) <= decay(value, elapsed, half_life));
        }

        #[test]
        fn grows_with_the_quantity_and_is_never_negative(
            swing in 0_i64..2_000, volume in 1_i64..1_000_000, moved in 0_i64..1_000,
            took in 0_i64..1_000_000, small in 1_i64..1_000_000, more in 0_i64..1_000_000,
            walked in -1_000_i64..1_000_000, wait in 0_u64..100 * MINUTES, buy: bool,
        ) {
            let tape = tape(swing, volume, moved);
            let side = if buy { Side::Buy } else { Side::Sell };
            let mut impact = Impact::new(ImpactTerms::default());
            impact.took(Side::Buy, Qty(took), NOW.minus(wait), &tape);
            let less = charge(&impact, side, small, walked, &tape);
            prop_assert!(less >= 0);
            prop_assert!(charge(&impact, side, small + more, walked, &tape) >= less);
            prop_assert!(charge(&impact, side, small, walked.max(0) + 1, &tape) <= less);
            let forgotten = NOW.plus(64 * HALF_LIFE_NS);
            prop_assert_eq!(impact.shift_at(forgotten), 0);
        }

        #[test]
        fn extremes_saturate(
            scales in (0_u8..=18, 0_u8..=18), qty: i64, touch: i64, walked: i64, coefficient: u32,
            half_life: u64, at: u64, took in proptest::collection::vec((any::<i64>(), any::<u64>(), any::<bool>()), 0..8),
        ) {
            let tape = tape(1_000, i64::MAX / 8, 10_000);
            let mut impact = Impact::new(ImpactTerms {
                coefficient_ppm: coefficient,
                half_life_ns: half_life,
                enabled: true,
            });
            for (qty, at, buy) in took {
                let side = if buy { Side::Buy } else { Side::Sell };
                impact.took(side, Qty(qty), Time(at), &tape);
            }
            let instrument = instrument(scales.0, scales.1);
            for side in [Side::Buy, Side::Sell] {
                let cost = impact.surcharge(
                    side, Qty(qty), Price(touch), Cash(walked), &tape, &instrument, Time(at),
                );
                prop_assert!(cost.0 >= 0);
            }
        }
    }
}
