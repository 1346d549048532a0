//! How fast trades come: sums of decaying exponentials, one for each side and speed.
//!
//! These are the intensities that a Hawkes process with an exponential kernel adds for its past
//! events; base rate and branching ratio are the model's to learn, so each event here weighs as much
//! as any other. A sum is kept as it stood at its newest trade and decays when it is read: nothing is
//! sampled, and reading does not change it.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{Values, View};
use crate::event::{Side, Trade};
use crate::time::{SECONDS, Time};

rows! {
    /// Features of the intensity of trading.
    IntensityFeature {
        /// [`log_intensity`] of buys with the fast decay.
        BuyFast: "buy_intensity_fast", Log, "decay_per_s=1", "Hawkes (1971)";
        /// [`log_intensity`] of sells with the fast decay.
        SellFast: "sell_intensity_fast", Log, "decay_per_s=1", "Hawkes (1971)";
        /// [`imbalance`] with the fast decay.
        ImbalanceFast: "intensity_imbalance_fast", Ratio, "decay_per_s=1", "Bacry, Mastromatteo, Muzy (2015)";
        /// [`log_intensity`] of buys with the slow decay.
        BuySlow: "buy_intensity_slow", Log, "decay_per_s=0.1", "Hawkes (1971)";
        /// [`log_intensity`] of sells with the slow decay.
        SellSlow: "sell_intensity_slow", Log, "decay_per_s=0.1", "Hawkes (1971)";
        /// [`imbalance`] with the slow decay.
        ImbalanceSlow: "intensity_imbalance_slow", Ratio, "decay_per_s=0.1", "Bacry, Mastromatteo, Muzy (2015)";
        /// [`burst`] of all trades.
        Burst: "trade_burst", Log, "fast_per_s=1 slow_per_s=0.1", "Bacry, Mastromatteo, Muzy (2015)";
        /// [`burst`] of buys.
        BuyBurst: "buy_burst", Log, "fast_per_s=1 slow_per_s=0.1", "Bacry, Mastromatteo, Muzy (2015)";
        /// [`burst`] of sells.
        SellBurst: "sell_burst", Log, "fast_per_s=1 slow_per_s=0.1", "Bacry, Mastromatteo, Muzy (2015)";
    }
}

/// The decays, per second: fast and slow.
pub const DECAYS: [f64; 2] = [1.0, 0.1];
/// An intensity is known after this many times the mean life of an event: what came before would
/// weigh less than `e^-10`, a twenty-thousandth.
const LIVES: f64 = 10.0;
/// Trades per second that are too few to tell apart: they keep logarithms and ratios of a silent
/// market finite.
pub const FLOOR: f64 = 1e-3;

/// Both sides' intensities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intensity {
    /// Since when everything is observed.
    since: Time,
    /// When the sums stood so.
    last: Time,
    /// Trades per second of each side (buys first) by decay.
    sums: [[f64; 2]; DECAYS.len()],
}

impl Default for Intensity {
    fn default() -> Self {
        Self::new()
    }
}

impl Intensity {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            since: Time::UNKNOWN,
            last: Time::UNKNOWN,
            sums: [[0.0; 2]; DECAYS.len()],
        }
    }

    /// A trade. One stamped before the newest counts as if at the same time.
    pub fn trade(&mut self, trade: &Trade, at: Time) {
        if !self.since.is_known() {
            self.since = at;
            self.last = at;
        }
        for (speed, decay) in DECAYS.into_iter().enumerate() {
            self.sums[speed] = self.decayed(speed, at);
            let side = match trade.aggressor {
                Side::Buy => &mut self.sums[speed][0],
                Side::Sell => &mut self.sums[speed][1],
            };
            *side += decay;
        }
        self.last = Time(self.last.0.max(at.0));
    }

    /// Observation was interrupted: every window starts anew.
    pub const fn interrupt(&mut self, at: Time) {
        *self = Self::new();
        self.since = at;
        self.last = at;
    }

    /// The intensities of buys and sells at `at`, in trades per second: `Σ β·e^{-β(t - t_i)}` over the
    /// trades `t_i ≤ t`, where `β` is the decay. Unknown until ten mean lives were observed.
    ///
    /// Source: Hawkes, "Spectra of some self-exciting and mutually exciting point processes",
    /// Biometrika 58 (1971), with the kernel `β·e^{-βt}`, whose weights add up to one.
    #[must_use]
    pub fn at(&self, speed: usize, at: Time) -> Option<[f64; 2]> {
        let observed = at.since(self.since) as f64 / SECONDS as f64;
        (self.since.is_known() && observed * DECAYS[speed] >= LIVES)
            .then(|| self.decayed(speed, at))
    }

    fn decayed(&self, speed: usize, at: Time) -> [f64; 2] {
        let elapsed = at.since(self.last).max(0) as f64 / SECONDS as f64;
        let factor = libm::exp(-DECAYS[speed] * elapsed);
        self.sums[speed].map(|sum| sum * factor)
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, view: &View<'_>) -> Values<{ IntensityFeature::COUNT }> {
        let (fast, slow) = (self.at(0, view.at), self.at(1, view.at));
        let log = |sides: Option<[f64; 2]>, side: usize| sides.map(|of| log_intensity(of[side]));
        let ratio = |of: fn([f64; 2]) -> f64| Some(burst(of(fast?), of(slow?)));
        let mut values = Values::UNKNOWN;
        values.set(IntensityFeature::BuyFast, log(fast, 0));
        values.set(IntensityFeature::SellFast, log(fast, 1));
        values.set(IntensityFeature::ImbalanceFast, fast.map(imbalance));
        values.set(IntensityFeature::BuySlow, log(slow, 0));
        values.set(IntensityFeature::SellSlow, log(slow, 1));
        values.set(IntensityFeature::ImbalanceSlow, slow.map(imbalance));
        values.set(IntensityFeature::Burst, ratio(|[buys, sells]| buys + sells));
        values.set(IntensityFeature::BuyBurst, ratio(|[buys, _]| buys));
        values.set(IntensityFeature::SellBurst, ratio(|[_, sells]| sells));
        values
    }
}

/// The natural logarithm of an intensity, of a trade per second as zero; [`FLOOR`] is added first.
#[must_use]
pub fn log_intensity(intensity: f64) -> f64 {
    libm::log(intensity + FLOOR)
}

/// `(buys - sells) / (buys + sells)` of intensities, in `(-1, 1)`; [`FLOOR`] is added to their sum, so
/// that it fades to zero in a silent market.
///
/// Source: Bacry, Mastromatteo and Muzy, "Hawkes processes in finance", Market Microstructure and
/// Liquidity 1 (2015): buys and sells as one process of two components.
#[must_use]
pub fn imbalance([buys, sells]: [f64; 2]) -> f64 {
    (buys - sells) / (buys + sells + FLOOR)
}

/// The logarithm of the fast intensity over the slow one, [`FLOOR`] added to both: above zero while
/// trades come in a burst.
#[must_use]
pub fn burst(fast: f64, slow: f64) -> f64 {
    libm::log((fast + FLOOR) / (slow + FLOOR))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::num::{Price, Qty};
    use crate::time::MILLIS;

    const START: Time = Time(1_000_000 * SECONDS);

    fn trade(aggressor: Side) -> Trade {
        Trade {
            id: 0,
            price: Price(100),
            qty: Qty(1),
            aggressor,
        }
    }

    proptest! {
        /// The recursion against the sum over all trades.
        #[test]
        fn equals_the_sum_of_exponentials(
            trades in proptest::collection::vec((0_u64..3_000, any::<bool>()), 1..200), wait in 0_u64..20_000
        ) {
            let mut intensity = Intensity::new();
            intensity.interrupt(START);
            let (mut at, mut seen) = (START.plus(100 * SECONDS), Vec::new());
            for (wait, buy) in trades {
                at = at.plus(wait * MILLIS);
                intensity.trade(&trade(if buy { Side::Buy } else { Side::Sell }), at);
                seen.push((at, buy));
            }
            let now = at.plus(wait * MILLIS);
            for (speed, decay) in DECAYS.into_iter().enumerate() {
                let direct = |buy: bool| -> f64 {
                    let of_side = seen.iter().filter(|(_, side)| *side == buy);
                    of_side.map(|(at, _)| {
                        let age = now.since(*at) as f64 / 1e9;
                        decay * (-decay * age).exp()
                    }).sum()
                };
                let got = intensity.at(speed, now).expect("observed");
                for (got, want) in got.into_iter().zip([direct(true), direct(false)]) {
                    prop_assert!((got - want).abs() <= 1e-12 * want.max(1e-300), "{} {}", got, want);
                }
            }
        }
    }

    #[test]
    fn is_unknown_until_ten_mean_lives_were_observed() {
        let mut intensity = Intensity::new();
        assert_eq!(intensity.at(0, START), None);
        intensity.interrupt(START);
        intensity.trade(&trade(Side::Buy), START.plus(9 * SECONDS));
        assert_eq!(intensity.at(0, START.plus(9_999 * MILLIS)), None);
        let [buys, sells] = intensity.at(0, START.plus(10 * SECONDS)).expect("known");
        assert!((buys - libm::exp(-1.0)).abs() < 1e-15 && sells == 0.0);
        assert_eq!(intensity.at(1, START.plus(99 * SECONDS)), None);
        assert!(intensity.at(1, START.plus(100 * SECONDS)).is_some());
        intensity.interrupt(START.plus(200 * SECONDS));
        assert_eq!(intensity.at(0, START.plus(201 * SECONDS)), None);
    }

    #[test]
    fn a_silent_market_has_defined_values() {
        let mut intensity = Intensity::new();
        intensity.interrupt(START);
        intensity.trade(&trade(Side::Sell), START);
        let silent = intensity
            .at(0, START.plus(100_000 * SECONDS))
            .expect("known");
        assert_eq!((silent, imbalance(silent)), ([0.0; 2], 0.0));
        assert_eq!(burst(silent[1], silent[1]), 0.0);
        assert_eq!(log_intensity(0.0), libm::log(FLOOR));
        // Time that went back decays nothing.
        intensity.trade(&trade(Side::Sell), START.plus(100 * SECONDS));
        intensity.trade(&trade(Side::Sell), START.plus(99 * SECONDS));
        let sells = intensity.at(0, START.plus(100 * SECONDS)).expect("known")[1];
        assert!((sells - 2.0).abs() < 1e-12);
    }
}
