//! How much the price moves: of the mid sampled once a second, once in ten, once a minute; and of the
//! ranges of one-minute bars of trades.
//!
//! A second whose book yields no mid repeats the one before, so a window is a span of time. Returns
//! are logarithmic. Windows hold returns, not sums, and are computed anew. Volatilities are per window
//! or per minute in basis points, as their rows say; nothing here forecasts.

use serde::{Deserialize, Serialize};

use super::samples::{MINUTE_S, Minute, Samples, ends};
use super::second::{Second, Trades};
use super::table::rows;
use super::{BPS, Values, View};
use crate::time::Time;

rows! {
    /// Features of the mid price over time.
    VolatilityFeature {
        /// [`Volatility::realised`] of a minute.
        Realised60: "realised_volatility_60s", Bps, "window_s=60", "Andersen, Bollerslev, Diebold, Labys (2001)";
        /// [`Volatility::realised`] of ten seconds.
        Realised10: "realised_volatility_10s", Bps, "window_s=10", "Andersen, Bollerslev, Diebold, Labys (2001)";
        /// [`Volatility::realised`] of five minutes.
        Realised300: "realised_volatility_300s", Bps, "window_s=300", "Andersen, Bollerslev, Diebold, Labys (2001)";
        /// [`Volatility::realised_hour`].
        Realised3600: "realised_volatility_3600s", Bps, "window_s=3600 sample_s=10", "Andersen, Bollerslev, Diebold, Labys (2001)";
        /// [`Moments::bipower`] of five minutes.
        Bipower: "bipower_volatility_300s", Bps, "window_s=300", "Barndorff-Nielsen, Shephard (2004)";
        /// [`Moments::jump_share`] of five minutes.
        JumpShare: "jump_share_300s", Share, "window_s=300", "Barndorff-Nielsen, Shephard (2004)";
        /// [`Moments::asymmetry`] of five minutes.
        Semivariance: "semivariance_asymmetry_300s", Ratio, "window_s=300", "Barndorff-Nielsen, Kinnebrock, Shephard (2010)";
        /// [`Range::parkinson`], averaged over thirty minutes, per minute.
        Parkinson: "parkinson_volatility_30m", Bps, "bars=30 bar_s=60", "Parkinson (1980)";
        /// [`Range::garman_klass`], averaged over thirty minutes, per minute.
        GarmanKlass: "garman_klass_volatility_30m", Bps, "bars=30 bar_s=60", "Garman, Klass (1980)";
        /// [`Range::rogers_satchell`], averaged over thirty minutes, per minute.
        RogersSatchell: "rogers_satchell_volatility_30m", Bps, "bars=30 bar_s=60", "Rogers, Satchell (1991)";
        /// [`volatility_of_volatility`] of five minutes.
        VolatilityOfVolatility: "volatility_of_volatility_300s", Number, "window_s=300 block_s=10", "coefficient of variation of realised volatility";
        /// Logarithm of the daily volatility in percent, from five minutes.
        LogDaily300: "log_daily_volatility_300s", Log, "window_s=300 floor_percent=0.01", "square-root-of-time rule";
        /// Logarithm of the daily volatility in percent, from an hour.
        LogDaily3600: "log_daily_volatility_3600s", Log, "window_s=3600 floor_percent=0.01", "square-root-of-time rule";
        /// Volatility of ten seconds over that of five minutes, per square root of time.
        Ratio10: "volatility_ratio_10s_300s", Number, "short_s=10 long_s=300", "ratio of realised volatilities";
        /// Volatility of a minute over that of an hour, per square root of time.
        Ratio60: "volatility_ratio_60s_3600s", Number, "short_s=60 long_s=3600", "ratio of realised volatilities";
        /// [`Volatility::ewma`] of one-minute returns, per minute.
        Ewma: "ewma_volatility_1m", Bps, "decay=0.94 first=30", "RiskMetrics (1996)";
    }
}

/// One-second returns that are kept.
pub const SECONDS_KEPT: usize = 300;
/// Ten-second returns that are kept: an hour.
pub const TENS_KEPT: usize = 360;
/// Seconds between two samples of the hour.
pub const TEN_S: u64 = 10;
/// One-minute bars that ranges are averaged over.
const RANGES: usize = 30;
/// One-minute returns whose mean square the exponential average starts with.
const EWMA_FIRST: u32 = 30;
/// The weight that the exponential average keeps in a minute.
const EWMA_DECAY: f64 = 0.94;
/// Seconds of a day.
const DAY_S: f64 = 86_400.0;
/// A daily volatility in percent below which logarithms do not go.
const DAILY_FLOOR: f64 = 0.01;

/// Volatility of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volatility {
    /// The doubled mid at the end of the last second; 0 while it is not known.
    sampled: i64,
    /// The same at the last whole ten seconds and at the last whole minute.
    ten: i64,
    minute: i64,
    seconds: Samples<f64, SECONDS_KEPT>,
    tens: Samples<f64, TENS_KEPT>,
    bar: Minute,
    /// The last trade's price; 0 before one.
    close: i64,
    ranges: Samples<Range, RANGES>,
    /// Variance of one-minute returns, and how many are in it; the sum of their squares before
    /// [`EWMA_FIRST`].
    variance: f64,
    minutes: u32,
    /// [`Volatility::realised_hour`], when ten seconds ended last.
    hour: Option<f64>,
    values: Values<{ VolatilityFeature::COUNT }>,
}

impl Default for Volatility {
    fn default() -> Self {
        Self::new()
    }
}

impl Volatility {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sampled: 0,
            ten: 0,
            minute: 0,
            seconds: Samples::new(0.0),
            tens: Samples::new(0.0),
            bar: Minute::new(),
            close: 0,
            ranges: Samples::new(Range::FLAT),
            variance: 0.0,
            minutes: 0,
            hour: None,
            values: Values::UNKNOWN,
        }
    }

    /// A second is over.
    pub fn second(&mut self, second: &Second) {
        if let Some(trades) = self.bar.second(second) {
            self.range(trades.as_ref());
        }
        let Some(double_mid) = sample(second, self.sampled) else {
            return;
        };
        if let Some(change) = change(&mut self.sampled, double_mid) {
            self.seconds.push(change);
        }
        if ends(second, TEN_S)
            && let Some(change) = change(&mut self.ten, double_mid)
        {
            self.tens.push(change);
            self.hourly();
        }
        if ends(second, MINUTE_S)
            && let Some(change) = change(&mut self.minute, double_mid)
        {
            self.average(change);
        }
        self.measure();
    }

    fn range(&mut self, trades: Option<&Trades>) {
        let range = match trades {
            Some(trades) => Range::of(trades),
            None => (self.close > 0).then_some(Range::FLAT),
        };
        if let Some(trades) = trades {
            self.close = trades.close.0;
        }
        if let Some(range) = range {
            self.ranges.push(range);
        }
        let mean = |of: fn(Range) -> f64| {
            let sum = self.ranges.iter().map(of).sum::<f64>();
            let known = self.ranges.is_full();
            known.then(|| libm::sqrt((sum / RANGES as f64).max(0.0)) * BPS)
        };
        let [parkinson, garman_klass, rogers_satchell] = [
            mean(Range::parkinson),
            mean(Range::garman_klass),
            mean(Range::rogers_satchell),
        ];
        let values = &mut self.values;
        values.set(VolatilityFeature::Parkinson, parkinson);
        values.set(VolatilityFeature::GarmanKlass, garman_klass);
        values.set(VolatilityFeature::RogersSatchell, rogers_satchell);
    }

    fn average(&mut self, change: f64) {
        self.minutes = self.minutes.saturating_add(1);
        let square = change * change;
        if self.minutes <= EWMA_FIRST {
            self.variance += square;
            if self.minutes == EWMA_FIRST {
                self.variance /= f64::from(EWMA_FIRST);
            }
        } else {
            self.variance = EWMA_DECAY * self.variance + (1.0 - EWMA_DECAY) * square;
        }
        let ewma = self.ewma();
        self.values.set(VolatilityFeature::Ewma, ewma);
    }

    /// What is known anew every ten seconds.
    fn hourly(&mut self) {
        let hour = self.realised_hour();
        self.hour = hour;
        let log = daily_percent(hour, 3_600.0).map(log_daily);
        self.values.set(VolatilityFeature::Realised3600, hour);
        self.values.set(VolatilityFeature::LogDaily3600, log);
    }

    /// What is known anew every second.
    fn measure(&mut self) {
        let [ten, minute, long] = [10, 60, SECONDS_KEPT].map(|window| self.realised(window));
        let hour = self.hour;
        let returns = self.seconds.full();
        let values = &mut self.values;
        values.set(VolatilityFeature::Realised10, ten);
        values.set(VolatilityFeature::Realised60, minute);
        values.set(VolatilityFeature::Realised300, long);
        values.set(VolatilityFeature::Ratio10, ratio(ten, 10.0, long, 300.0));
        values.set(
            VolatilityFeature::Ratio60,
            ratio(minute, 60.0, hour, 3_600.0),
        );
        let log = daily_percent(long, 300.0).map(log_daily);
        values.set(VolatilityFeature::LogDaily300, log);
        let Some(returns) = returns else {
            return;
        };
        let of = Moments::of(&returns);
        let bipower = libm::sqrt(of.bipower) * BPS;
        values.set(VolatilityFeature::Bipower, Some(bipower));
        values.set(VolatilityFeature::JumpShare, Some(of.jump_share()));
        values.set(VolatilityFeature::Semivariance, Some(of.asymmetry()));
        let spread = volatility_of_volatility(&returns);
        values.set(VolatilityFeature::VolatilityOfVolatility, spread);
    }

    /// Observation was interrupted: every window starts anew.
    pub const fn interrupt(&mut self, _: Time) {
        *self = Self::new();
    }

    /// The square root of the sum of squared one-second log returns over so many seconds, at most
    /// [`SECONDS_KEPT`], in basis points; unknown until the window has been observed in full.
    ///
    /// Source: Andersen, Bollerslev, Diebold and Labys, "The distribution of realized exchange rate
    /// volatility", JASA 96 (2001).
    #[must_use]
    pub fn realised(&self, window_s: usize) -> Option<f64> {
        Some(libm::sqrt(squares(self.seconds.newest(window_s)?)) * BPS)
    }

    /// The same of ten-second returns over an hour.
    #[must_use]
    pub fn realised_hour(&self) -> Option<f64> {
        Some(libm::sqrt(squares(self.tens.newest(TENS_KEPT)?)) * BPS)
    }

    /// The exponentially weighted volatility of one-minute returns, per minute in basis points:
    /// `σ² ← 0.94·σ² + 0.06·r²`, started with the mean square of the first thirty; unknown before.
    ///
    /// Source: J.P. Morgan/Reuters, "RiskMetrics: technical document" (1996), equation 5.3.
    #[must_use]
    pub fn ewma(&self) -> Option<f64> {
        (self.minutes >= EWMA_FIRST).then(|| libm::sqrt(self.variance) * BPS)
    }

    /// The one-second log returns.
    #[must_use]
    pub const fn seconds(&self) -> &Samples<f64, SECONDS_KEPT> {
        &self.seconds
    }

    /// The ten-second log returns; a second that ends ten seconds has added one, once two such mids
    /// were observed.
    #[must_use]
    pub const fn tens(&self) -> &Samples<f64, TENS_KEPT> {
        &self.tens
    }

    /// Daily volatility in percent from five minutes and from an hour.
    #[must_use]
    pub fn daily(&self) -> [Option<f64>; 2] {
        [
            daily_percent(self.realised(SECONDS_KEPT), 300.0),
            daily_percent(self.hour, 3_600.0),
        ]
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _: &View<'_>) -> Values<{ VolatilityFeature::COUNT }> {
        self.values
    }
}

/// The doubled mid that a second ends with, or the one before; `None` while neither is known.
pub(super) fn sample(second: &Second, before: i64) -> Option<i64> {
    let known = second.double_mid.filter(|mid| *mid > 0);
    known.or((before > 0).then_some(before))
}

/// The log return since the sample before, which the new one replaces.
pub(super) fn change(before: &mut i64, sample: i64) -> Option<f64> {
    let before = core::mem::replace(before, sample);
    (before > 0).then(|| libm::log(sample as f64 / before as f64))
}

fn squares(returns: impl Iterator<Item = f64>) -> f64 {
    returns.map(|change| change * change).sum()
}

/// A window's volatility in basis points as a day's in percent: variance grows with time.
fn daily_percent(bps: Option<f64>, window_s: f64) -> Option<f64> {
    Some(bps? / 100.0 * libm::sqrt(DAY_S / window_s))
}

fn log_daily(percent: f64) -> f64 {
    libm::log(percent.max(DAILY_FLOOR))
}

/// The ratio of two windows' volatilities, both per square root of time; unknown while the longer one
/// is zero.
fn ratio(short: Option<f64>, short_s: f64, long: Option<f64>, long_s: f64) -> Option<f64> {
    let long = long.filter(|long| *long > 0.0)?;
    Some(short? / long * libm::sqrt(long_s / short_s))
}

/// What squares and products of adjacent returns tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Sum of squares of the returns above zero.
    pub up: f64,
    /// Sum of squares of those below.
    pub down: f64,
    /// Bipower variation `π/2 · n/(n-1) · Σ|r_i|·|r_{i-1}|`, which a jump does not raise.
    ///
    /// Source: Barndorff-Nielsen and Shephard, "Power and bipower variation with stochastic volatility
    /// and jumps", Journal of Financial Econometrics 2 (2004), corrected for the missing term.
    pub bipower: f64,
}

impl Moments {
    /// Of returns.
    #[must_use]
    pub fn of(returns: &[f64]) -> Self {
        let (mut up, mut down, mut products, mut before) = (0.0, 0.0, 0.0, 0.0);
        for change in returns {
            let (rise, fall) = (change.max(0.0), change.min(0.0));
            up += rise * rise;
            down += fall * fall;
            products += libm::fabs(change * before);
            before = *change;
        }
        let count = returns.len() as f64;
        Self {
            up,
            down,
            bipower: core::f64::consts::FRAC_PI_2 * (count / (count - 1.0)) * products,
        }
    }

    /// The share of jumps in realised variance: `max(0, (RV - BV) / RV)`; zero when nothing moved.
    #[must_use]
    pub fn jump_share(&self) -> f64 {
        let realised = self.up + self.down;
        if realised > 0.0 {
            ((realised - self.bipower) / realised).max(0.0)
        } else {
            0.0
        }
    }

    /// `(up - down) / (up + down)`, the realised semivariances' asymmetry, in `[-1, 1]`; zero when
    /// nothing moved.
    ///
    /// Source: Barndorff-Nielsen, Kinnebrock and Shephard, "Measuring downside risk: realised
    /// semivariance", in Volatility and Time Series Econometrics (2010).
    #[must_use]
    pub fn asymmetry(&self) -> f64 {
        if self.up + self.down > 0.0 {
            (self.up - self.down) / (self.up + self.down)
        } else {
            0.0
        }
    }
}

/// The sample deviation of the realised volatilities of blocks of ten returns over their mean; unknown
/// when nothing moved.
#[must_use]
pub fn volatility_of_volatility(returns: &[f64]) -> Option<f64> {
    const BLOCK: usize = 10;
    let blocks = returns.chunks_exact(BLOCK);
    let count = blocks.len() as f64;
    let volatilities = blocks.map(|block| libm::sqrt(squares(block.iter().copied())));
    let mean = volatilities.clone().sum::<f64>() / count;
    let deviations = squares(volatilities.map(|one| one - mean));
    (mean > 0.0).then(|| libm::sqrt(deviations / (count - 1.0)) / mean)
}

/// The logarithms of a bar's high, low and close over its open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Range {
    high: f64,
    low: f64,
    close: f64,
}

impl Range {
    /// A bar in which nothing moved.
    const FLAT: Self = Self {
        high: 0.0,
        low: 0.0,
        close: 0.0,
    };

    /// Of a bar's trades; `None` when a price is not positive.
    #[must_use]
    pub fn of(trades: &Trades) -> Option<Self> {
        let open = trades.open.0 as f64;
        let log = |price: i64| libm::log(price as f64 / open);
        (trades.low.0 > 0 && trades.open.0 > 0).then(|| Self {
            high: log(trades.high.0),
            low: log(trades.low.0),
            close: log(trades.close.0),
        })
    }

    /// Variance of a bar `ln(H/L)² / (4·ln 2)`.
    ///
    /// Source: Parkinson, "The extreme value method for estimating the variance of the rate of
    /// return", Journal of Business 53 (1980).
    #[must_use]
    pub fn parkinson(self) -> f64 {
        let range = self.high - self.low;
        range * range / (4.0 * core::f64::consts::LN_2)
    }

    /// Variance of a bar `½·ln(H/L)² - (2·ln 2 - 1)·ln(C/O)²`, without the jump from the bar before.
    ///
    /// Source: Garman and Klass, "On the estimation of security price volatilities from historical
    /// data", Journal of Business 53 (1980).
    #[must_use]
    pub fn garman_klass(self) -> f64 {
        let range = self.high - self.low;
        0.5 * range * range - (2.0 * core::f64::consts::LN_2 - 1.0) * self.close * self.close
    }

    /// Variance of a bar `ln(H/O)·ln(H/C) + ln(L/O)·ln(L/C)`, whatever its drift.
    ///
    /// Source: Rogers and Satchell, "Estimating variance from high, low and closing prices", Annals of
    /// Applied Probability 1 (1991).
    #[must_use]
    pub fn rogers_satchell(self) -> f64 {
        self.high * (self.high - self.close) + self.low * (self.low - self.close)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::num::{Price, Qty};

    fn second(number: u64, double_mid: Option<i64>) -> Second {
        Second {
            number,
            seen: true,
            double_mid,
            trades: None,
        }
    }

    fn close(got: Option<f32>, want: f64) -> bool {
        got.is_some_and(|got| (f64::from(got) - want).abs() <= 1e-6 * want.abs().max(1e-6))
    }

    #[test]
    fn volatility_is_the_root_of_summed_squares() {
        let mut volatility = Volatility::new();
        for number in 0..=62 {
            assert_eq!(volatility.realised(60).is_some(), number > 60);
            let double_mid = 20_000 + i64::from(number % 2 == 1) * 20;
            volatility.second(&second(number, Some(double_mid)));
        }
        let step = libm::log(20_020.0 / 20_000.0);
        let want = libm::sqrt(60.0 * step * step) * 1e4;
        assert!((volatility.realised(60).expect("full") - want).abs() < 1e-9);
        // A second without a mid did not move.
        volatility.second(&second(63, None));
        let want = libm::sqrt(59.0 * step * step) * 1e4;
        assert!((volatility.realised(60).expect("full") - want).abs() < 1e-9);
        volatility.interrupt(Time(0));
        assert_eq!(volatility, Volatility::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        /// Everything against the mids of the whole past.
        #[test]
        fn equals_what_the_mids_say(
            moves in proptest::collection::vec(-30_i64..31, 400..3_800), start in 0_u64..100
        ) {
            let (mut volatility, mut mid, mut mids) = (Volatility::new(), 100_000_i64, Vec::new());
            for (place, step) in moves.iter().enumerate() {
                mid += step;
                mids.push(mid as f64);
                volatility.second(&second(start + place as u64, Some(mid)));
            }
            let last = mids.len() - 1;
            let returns = |step: usize, count: usize, end: usize| -> Option<Vec<f64>> {
                let first = end.checked_sub(step * count)?;
                Some((1..=count).map(|k| (mids[first + k * step] / mids[first + (k - 1) * step]).ln()).collect())
            };
            let root = |returns: &[f64]| returns.iter().map(|r| r * r).sum::<f64>().sqrt() * 1e4;
            let values = volatility.values;
            for (feature, window) in [
                (VolatilityFeature::Realised10, 10), (VolatilityFeature::Realised60, 60), (VolatilityFeature::Realised300, 300),
            ] {
                prop_assert!(close(values.get(feature), root(&returns(1, window, last).expect("long"))));
            }
            let window = returns(1, 300, last).expect("long");
            let rv: f64 = window.iter().map(|r| r * r).sum();
            let mut bv = 0.0;
            for k in 1..300 { bv += window[k].abs() * window[k - 1].abs(); }
            bv *= core::f64::consts::PI / 2.0 * 300.0 / 299.0;
            prop_assert!(close(values.get(VolatilityFeature::Bipower), bv.sqrt() * 1e4));
            prop_assert!(close(values.get(VolatilityFeature::JumpShare), ((rv - bv) / rv).max(0.0)));
            let up: f64 = window.iter().filter(|r| **r > 0.0).map(|r| r * r).sum();
            prop_assert!(close(values.get(VolatilityFeature::Semivariance), (2.0 * up - rv) / rv));
            // The newest second that ended ten, and an hour of such before it.
            let ten = (0..=last).rev().find(|place| (start + *place as u64 + 1).is_multiple_of(10)).expect("one");
            let hour = returns(10, 360, ten).map(|returns| root(&returns));
            prop_assert_eq!(values.get(VolatilityFeature::Realised3600).is_some(), hour.is_some());
            if let Some(hour) = hour {
                prop_assert!(close(values.get(VolatilityFeature::Realised3600), hour));
                let log = (hour / 100.0 * 24_f64.sqrt()).ln();
                prop_assert!(close(values.get(VolatilityFeature::LogDaily3600), log));
                let short = root(&returns(1, 60, last).expect("long"));
                prop_assert!(close(values.get(VolatilityFeature::Ratio60), short / hour * 60_f64.sqrt()));
            }
            let minute = (0..=last).rev().find(|place| (start + *place as u64 + 1).is_multiple_of(60)).expect("one");
            let minutes = returns(60, minute / 60, minute).expect("as many as there are");
            prop_assert_eq!(values.get(VolatilityFeature::Ewma).is_some(), minutes.len() >= 30);
            if minutes.len() >= 30 {
                let mut variance = minutes[..30].iter().map(|r| r * r).sum::<f64>() / 30.0;
                for r in &minutes[30..] { variance = 0.94 * variance + 0.06 * r * r; }
                prop_assert!(close(values.get(VolatilityFeature::Ewma), variance.sqrt() * 1e4));
            }
        }
    }

    #[test]
    fn ranges_stand_on_their_formulas() {
        let trades = |open, high, low, close| Trades {
            open: Price(open),
            high: Price(high),
            low: Price(low),
            close: Price(close),
            bought: Qty(1),
            sold: Qty(1),
            value: 1,
            count: 2,
        };
        let range = Range::of(&trades(100, 110, 95, 105)).expect("prices");
        let (hl, co) = ((110.0_f64 / 95.0).ln(), 1.05_f64.ln());
        assert!((range.parkinson() - hl * hl / (4.0 * 2_f64.ln())).abs() < 1e-15);
        let want = 0.5 * hl * hl - (2.0 * 2_f64.ln() - 1.0) * co * co;
        assert!((range.garman_klass() - want).abs() < 1e-15);
        let want =
            (110.0_f64 / 105.0).ln() * 1.1_f64.ln() + (95.0_f64 / 105.0).ln() * 0.95_f64.ln();
        assert!((range.rogers_satchell() - want).abs() < 1e-15);
        assert_eq!(Range::of(&trades(0, 1, 0, 1)), None);
        // Thirty minutes of it, the last one of which is quiet.
        let mut volatility = Volatility::new();
        for number in 0..1_800 {
            let bar = second(number, None);
            let traded = number % 60 == 7 && number < 1_740;
            volatility.second(&Second {
                trades: traded.then(|| trades(100, 110, 95, 105)),
                ..bar
            });
            assert_eq!(volatility.values.known() > 0, number == 1_799);
        }
        let want = (range.parkinson() * 29.0 / 30.0).sqrt() * 1e4;
        assert!(close(
            volatility.values.get(VolatilityFeature::Parkinson),
            want
        ));
    }

    #[test]
    fn a_jump_is_seen_and_a_still_market_defined() {
        let mut returns = [1e-4; 300];
        assert!(
            Moments::of(&returns).jump_share() < 1e-9,
            "BV is larger: never below zero"
        );
        returns[150] = 1e-2;
        assert!(Moments::of(&returns).jump_share() > 0.9);
        assert!((volatility_of_volatility(&[1e-4; 300]).expect("moved")).abs() < 1e-9);
        let still = [0.0; 300];
        assert_eq!(
            (
                Moments::of(&still).jump_share(),
                Moments::of(&still).asymmetry()
            ),
            (0.0, 0.0)
        );
        assert_eq!(volatility_of_volatility(&still), None);
        assert_eq!(ratio(Some(1.0), 10.0, Some(0.0), 300.0), None);
        assert_eq!(
            daily_percent(Some(0.0), 300.0).map(log_daily),
            Some(libm::log(0.01))
        );
    }
}
