//! What kind of market it is: how volatile, whether it trends or reverts, and whether that just
//! changed.
//!
//! It reads the returns that [`Volatility`] keeps. Tests of five minutes of seconds run every ten
//! seconds, in between the change-point statistics of ten-second returns, so that no second costs
//! much. Classes are for a model and for people; the sizes of positions follow
//! [`crate::risk::sizing::Regime`], which is not this one: see [`class`].

use serde::{Deserialize, Serialize};

use super::samples::ends;
use super::second::Second;
use super::table::{array, rows};
use super::volatility::{SECONDS_KEPT, TEN_S, Volatility};
use super::{Values, View};
use crate::time::Time;

rows! {
    /// Features of the regime.
    RegimeFeature {
        /// Volatility of five minutes as a day's, in percent.
        Daily300: "daily_volatility_300s", Percent, "window_s=300 sample_s=1", "square-root-of-time rule";
        /// Volatility of an hour as a day's, in percent.
        Daily3600: "daily_volatility_3600s", Percent, "window_s=3600 sample_s=10", "square-root-of-time rule";
        /// [`class`] of `daily_volatility_300s`.
        Class300: "volatility_regime_300s", Class, "percent=1,3,5", "low, normal, high, extreme";
        /// [`class`] of `daily_volatility_3600s`.
        Class3600: "volatility_regime_3600s", Class, "percent=1,3,5", "low, normal, high, extreme";
        /// [`scale`] of `daily_volatility_3600s`.
        Scale3600: "volatility_scale_3600s", Share, "top_percent=10", "low, normal, high, extreme";
        /// [`VarianceRatio`] of five seconds.
        Ratio5: "variance_ratio_5_300s", Number, "q=5 window_s=300", "Lo, MacKinlay (1988)";
        /// Its z-statistic.
        RatioZ5: "variance_ratio_z_5_300s", Score, "q=5 window_s=300", "Lo, MacKinlay (1988), heteroscedasticity-robust";
        /// [`VarianceRatio`] of twenty seconds.
        Ratio20: "variance_ratio_20_300s", Number, "q=20 window_s=300", "Lo, MacKinlay (1988)";
        /// Its z-statistic.
        RatioZ20: "variance_ratio_z_20_300s", Score, "q=20 window_s=300", "Lo, MacKinlay (1988), heteroscedasticity-robust";
        /// [`efficiency`] of a minute.
        Efficiency60: "efficiency_ratio_60s", Share, "window_s=60", "Kaufman (1995)";
        /// [`efficiency`] of five minutes.
        Efficiency300: "efficiency_ratio_300s", Share, "window_s=300", "Kaufman (1995)";
        /// [`trend`]: 1 trends, -1 reverts, 0 neither.
        Trend: "trend_regime", Class, "q=5 enter_z=1.96 leave_z=1", "Lo, MacKinlay (1988), with hysteresis";
        /// [`Cusum`] of rising returns.
        CusumUp: "cusum_up", Score, "sample_s=10 slack=0.5 alarm=5 deviation_s=300", "Page (1954)";
        /// [`Cusum`] of falling returns.
        CusumDown: "cusum_down", Score, "sample_s=10 slack=0.5 alarm=5 deviation_s=300", "Page (1954)";
        /// Direction of the newest alarm of [`Cusum`] in five minutes; 0 without one.
        CusumAlarm: "cusum_alarm", Class, "sample_s=10 slack=0.5 alarm=5 held_s=300", "Page (1954)";
        /// [`ChangePoints::expected_run`], in ten seconds.
        RunLength: "run_length_expected", Number, "sample_s=10 runs=64 hazard=1/60 reference_s=3600", "Adams, MacKay (2007)";
        /// [`ChangePoints::short_run`].
        ShortRun: "run_length_short", Share, "sample_s=10 runs=64 hazard=1/60 reference_s=3600 below=6", "Adams, MacKay (2007)";
    }
}

/// Daily volatilities in percent at which normal, high and extreme begin.
pub const THRESHOLDS: [f64; 3] = [1.0, 3.0, 5.0];
/// The daily volatility in percent that marks the top of the scale.
pub const TOP: f64 = 10.0;
/// Aggregations of the variance ratios, in seconds.
const AGGREGATIONS: [usize; 2] = [5, 20];
/// Lags below the largest aggregation.
const LAGS: usize = AGGREGATIONS[1] - 1;
/// The second of each ten at which variance ratios are computed: not the one that ends it.
const RATIO_OFFSET: u64 = 5;
/// z-statistics at which a trend or a reversion begins (5 % two-sided) and ends.
const TREND_ENTER: f64 = 1.96;
const TREND_LEAVE: f64 = 1.0;
/// Ten-second returns before the newest that standardise it for [`Cusum`], and the fewest for
/// [`ChangePoints`].
const REFERENCE: usize = 30;
/// Largest standardised return: more is not more of a surprise.
const SCORE_LIMIT: f64 = 20.0;

/// The regime of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regime {
    trend: i8,
    cusum: Cusum,
    change_points: ChangePoints,
    values: Values<{ RegimeFeature::COUNT }>,
}

impl Default for Regime {
    fn default() -> Self {
        Self::new()
    }
}

impl Regime {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            trend: 0,
            cusum: Cusum::new(),
            change_points: ChangePoints::new(),
            values: Values::UNKNOWN,
        }
    }

    /// A second is over, and `volatility` has taken it.
    pub fn second(&mut self, second: &Second, volatility: &Volatility) {
        let returns = volatility.seconds();
        let [minute, long] = [60, SECONDS_KEPT].map(|window| returns.newest(window));
        self.values
            .set(RegimeFeature::Efficiency60, minute.map(efficiency));
        self.values
            .set(RegimeFeature::Efficiency300, long.map(efficiency));
        if second.number % TEN_S == RATIO_OFFSET
            && let Some(returns) = returns.full()
        {
            self.ratios(&returns);
        }
        if ends(second, TEN_S) {
            self.classify(volatility);
            self.changes(volatility);
        }
    }

    fn ratios(&mut self, returns: &[f64; SECONDS_KEPT]) {
        let ratios = variance_ratios(returns);
        let [five, twenty] = [0, 1].map(|place| ratios.map(|ratios| ratios[place]));
        self.trend = five.map_or(0, |ratio| trend(self.trend, ratio.z));
        let class = five.map(|_| f64::from(self.trend));
        let values = &mut self.values;
        values.set(RegimeFeature::Ratio5, five.map(|ratio| ratio.ratio));
        values.set(RegimeFeature::RatioZ5, five.map(|ratio| ratio.z));
        values.set(RegimeFeature::Ratio20, twenty.map(|ratio| ratio.ratio));
        values.set(RegimeFeature::RatioZ20, twenty.map(|ratio| ratio.z));
        values.set(RegimeFeature::Trend, class);
    }

    fn classify(&mut self, volatility: &Volatility) {
        let [short, long] = volatility.daily();
        let values = &mut self.values;
        values.set(RegimeFeature::Daily300, short);
        values.set(RegimeFeature::Daily3600, long);
        values.set(RegimeFeature::Class300, short.map(class));
        values.set(RegimeFeature::Class3600, long.map(class));
        values.set(RegimeFeature::Scale3600, long.map(scale));
    }

    fn changes(&mut self, volatility: &Volatility) {
        let tens = volatility.tens();
        let (Some(newest), Some(short)) = (tens.last(), tens.newest(REFERENCE + 1)) else {
            return;
        };
        self.cusum.add(score(newest, short.take(REFERENCE)));
        let before = tens.iter().take(tens.len() - 1);
        self.change_points.add(score(newest, before));
        let (cusum, points) = (&self.cusum, &self.change_points);
        let values = &mut self.values;
        values.set(RegimeFeature::CusumUp, Some(cusum.up));
        values.set(RegimeFeature::CusumDown, Some(cusum.down));
        values.set(RegimeFeature::CusumAlarm, Some(f64::from(cusum.alarm())));
        values.set(RegimeFeature::RunLength, points.expected_run());
        values.set(RegimeFeature::ShortRun, points.short_run());
    }

    /// Observation was interrupted: every window starts anew.
    pub const fn interrupt(&mut self, _: Time) {
        *self = Self::new();
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _: &View<'_>) -> Values<{ RegimeFeature::COUNT }> {
        self.values
    }
}

/// A return over the root mean square of those before it, within ±[`SCORE_LIMIT`]; where these did not
/// move, 0 or the limit.
fn score(newest: f64, before: impl Iterator<Item = f64>) -> f64 {
    let (mut squares, mut count) = (0.0, 0.0);
    for change in before {
        squares += change * change;
        count += 1.0;
    }
    if squares > 0.0 {
        (newest / libm::sqrt(squares / count)).clamp(-SCORE_LIMIT, SCORE_LIMIT)
    } else if newest == 0.0 {
        0.0
    } else {
        libm::copysign(SCORE_LIMIT, newest)
    }
}

/// The regime of a daily volatility in percent: 0 low (below 1), 1 normal (below 3), 2 high (below 5),
/// 3 extreme (5 and more). Of four regimes "at 1, 3, 5 and 10 %", three are bounded by the first three
/// figures; the fourth, [`TOP`], is where the scale of an extreme day ends ([`scale`]).
///
/// [`crate::risk::sizing::Regime`] differs: its bounds come from the limits (the same three by
/// default), its volatility is the exponentially weighted one of the gate's minutes, gaps do not clear
/// it, and a volatility that is not known counts as high there; here it is unknown.
#[must_use]
pub fn class(daily_percent: f64) -> f64 {
    let passed = THRESHOLDS.iter().filter(|bound| daily_percent >= **bound);
    passed.map(|_| 1.0).sum()
}

/// A daily volatility in percent as a share of [`TOP`], at most 1.
#[must_use]
pub fn scale(daily_percent: f64) -> f64 {
    (daily_percent / TOP).min(1.0)
}

/// Kaufman's efficiency ratio `|Σr| / Σ|r|` of log returns, in `[0, 1]`: 1 for a straight path; zero
/// when nothing moved.
///
/// Source: Kaufman, "Smarter Trading" (1995), there of prices.
pub fn efficiency(returns: impl Iterator<Item = f64>) -> f64 {
    let (mut net, mut path) = (0.0, 0.0);
    for change in returns {
        net += change;
        path += libm::fabs(change);
    }
    if path > 0.0 {
        (libm::fabs(net) / path).min(1.0)
    } else {
        0.0
    }
}

/// A variance ratio: 1 for a random walk, above for a trend, below for reversion.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VarianceRatio {
    /// Variance of sums of `q` returns over `q` times that of one.
    pub ratio: f64,
    /// Its distance from 1 in standard errors that hold under changing volatility.
    pub z: f64,
}

/// The variance ratios of [`AGGREGATIONS`], overlapping and corrected for bias; `None` when the
/// returns do not vary.
///
/// With `n` returns `r_k` of mean `μ`, `σ_a² = Σ(r_k - μ)² / (n - 1)`, `σ_c² = Σ(r_k + … + r_{k-q+1} -
/// q·μ)² / m`, `m = q·(n - q + 1)·(1 - q/n)`: the ratio is `σ_c² / σ_a²`, and `z = √n·(ratio - 1) /
/// √θ`, `θ = Σ_{j<q} (2(q - j)/q)²·δ_j`, `δ_j = n·Σ(r_k - μ)²·(r_{k-j} - μ)² / (Σ(r_k - μ)²)²`.
///
/// Source: Lo and MacKinlay, "Stock market prices do not follow random walks", Review of Financial
/// Studies 1 (1988), section 1.
#[must_use]
pub fn variance_ratios(
    returns: &[f64; SECONDS_KEPT],
) -> Option<[VarianceRatio; AGGREGATIONS.len()]> {
    let count = SECONDS_KEPT as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let centred = returns.map(|change| change - mean);
    let squares = centred.map(|change| change * change);
    let total = squares.iter().sum::<f64>();
    if total <= 0.0 {
        return None;
    }
    let mut path = [0.0; SECONDS_KEPT + 1];
    for (place, change) in centred.iter().enumerate() {
        path[place + 1] = path[place] + change;
    }
    // Lags side by side: sums that do not wait for each other.
    let mut products = [0.0; LAGS];
    for (place, square) in squares.iter().enumerate() {
        let before = &squares[place.saturating_sub(LAGS)..place];
        for (product, earlier) in products.iter_mut().zip(before.iter().rev()) {
            *product += square * earlier;
        }
    }
    Some(AGGREGATIONS.map(|q| {
        let width = q as f64;
        let mut sums = 0.0;
        for (later, earlier) in path[q..].iter().zip(&path) {
            let sum = later - earlier;
            sums += sum * sum;
        }
        let m = width * (count - width + 1.0) * (1.0 - width / count);
        let ratio = (sums / m) / (total / (count - 1.0));
        let mut theta = 0.0;
        for (product, lag) in products.iter().zip(1..q) {
            let weight = 2.0 * (q - lag) as f64 / width;
            theta += weight * weight * (count * product / (total * total));
        }
        // A single move among three hundred: nothing to compare with.
        let z = if theta > 0.0 {
            libm::sqrt(count) * (ratio - 1.0) / libm::sqrt(theta)
        } else {
            0.0
        };
        VarianceRatio { ratio, z }
    }))
}

/// The class after a z-statistic: 1 from 1.96 on until it falls below 1, -1 likewise below, 0
/// otherwise.
fn trend(class: i8, z: f64) -> i8 {
    if z >= TREND_ENTER {
        1
    } else if z <= -TREND_ENTER {
        -1
    } else if f64::from(class) * z < TREND_LEAVE {
        0
    } else {
        class
    }
}

/// Two-sided cumulative sums of standardised returns: `S⁺ ← max(0, S⁺ + z - k)`, `S⁻ ← max(0, S⁻ - z -
/// k)`, `k = 1/2`; one that passes 5 raises an alarm, and both begin again.
///
/// Source: Page, "Continuous inspection schemes", Biometrika 41 (1954).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    up: f64,
    down: f64,
    direction: i8,
    /// Returns since the newest alarm.
    age: usize,
}

impl Cusum {
    const SLACK: f64 = 0.5;
    const ALARM: f64 = 5.0;
    /// Returns for which an alarm is shown.
    const HELD: usize = 30;

    /// Nothing added yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            up: 0.0,
            down: 0.0,
            direction: 0,
            age: 0,
        }
    }

    /// Adds a standardised return.
    pub fn add(&mut self, score: f64) {
        self.up = (self.up + score - Self::SLACK).max(0.0);
        self.down = (self.down - score - Self::SLACK).max(0.0);
        self.age = self.age.saturating_add(1);
        let direction = if self.up > Self::ALARM {
            1
        } else if self.down > Self::ALARM {
            -1
        } else {
            return;
        };
        *self = Self {
            direction,
            ..Self::new()
        };
    }

    /// The direction of an alarm raised by one of the newest thirty returns, else 0.
    #[must_use]
    pub const fn alarm(&self) -> i8 {
        if self.age < Self::HELD {
            self.direction
        } else {
            0
        }
    }
}

/// Lengths of a run that are told apart, from 0 on; the last one stands for all beyond.
pub const RUNS: usize = 64;
/// A run is short below this many returns: a minute.
const SHORT: usize = 6;
/// Chance of a change at each return: one in ten minutes.
const HAZARD: f64 = 1.0 / 60.0;
/// The prior of a run's mean and variance, a normal-inverse-gamma: a mean of 0 that weighs as much as
/// one return, and a variance of about one, of the reference.
const PRIOR_WEIGHT: f64 = 1.0;
const PRIOR_SHAPE: f64 = 1.0;
const PRIOR_SCATTER: f64 = 1.0;
/// `Γ(3/2) / Γ(1) = √π/2`, for [`PRIOR_SHAPE`].
const PRIOR_GAMMAS: f64 = 0.886_226_925_452_758;

/// Bayesian online change points: how long ago the mean or variance of returns changed, as a
/// distribution over the length of the current run.
///
/// Returns come in units of their root mean square over the hour before. Of a run with more than
/// `RUNS - 1` returns it remembers the newest `RUNS - 1`, and its mass is kept whole.
///
/// Source: Adams and MacKay, "Bayesian online changepoint detection" (2007), algorithm 1, with a
/// constant hazard and the Student-t predictive of a normal with unknown mean and variance (Murphy,
/// "Conjugate Bayesian analysis of the Gaussian distribution" (2007), section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoints {
    /// Probability of each length.
    #[serde(with = "array")]
    mass: [f64; RUNS],
    /// Posterior mean and scatter of a run of each length; weight and shape follow from the length.
    #[serde(with = "array")]
    mean: [f64; RUNS],
    #[serde(with = "array")]
    scatter: [f64; RUNS],
    added: usize,
}

impl Default for ChangePoints {
    fn default() -> Self {
        Self::new()
    }
}

impl ChangePoints {
    /// Nothing added yet: a run of length 0.
    #[must_use]
    pub const fn new() -> Self {
        let mut mass = [0.0; RUNS];
        mass[0] = 1.0;
        Self {
            mass,
            mean: [0.0; RUNS],
            scatter: [PRIOR_SCATTER; RUNS],
            added: 0,
        }
    }

    /// Adds a return in units of the reference.
    pub fn add(&mut self, score: f64) {
        // So near that the prior of a new run gives it a density above zero.
        let score = score.clamp(-SCORE_LIMIT, SCORE_LIMIT);
        self.added = self.added.saturating_add(1);
        let mut weights = [0.0; RUNS];
        let (mut total, mut gammas) = (0.0, PRIOR_GAMMAS);
        for (run, weight) in weights.iter_mut().enumerate() {
            *weight = self.mass[run] * self.predictive(run, gammas, score);
            total += *weight;
            gammas = shape(run) / gammas;
        }
        for run in (0..RUNS - 1).rev() {
            let (weight, from_mean) = (weight(run), score - self.mean[run]);
            self.mass[run + 1] = weights[run] * (1.0 - HAZARD) / total;
            self.mean[run + 1] = self.mean[run] + from_mean / (weight + 1.0);
            self.scatter[run + 1] =
                self.scatter[run] + weight * from_mean * from_mean / (2.0 * (weight + 1.0));
        }
        self.mass[RUNS - 1] += weights[RUNS - 1] * (1.0 - HAZARD) / total;
        (self.mass[0], self.mean[0], self.scatter[0]) = (HAZARD, 0.0, PRIOR_SCATTER);
    }

    /// Density of the next return after a run: Student's t with `2α` degrees of freedom about the
    /// run's mean, with squared scale `β·(κ + 1) / (α·κ)`. `gammas` is `Γ(α + 1/2) / Γ(α)`: the next
    /// run's follows from it, since `Γ(α + 1) = α·Γ(α)`.
    fn predictive(&self, run: usize, gammas: f64, score: f64) -> f64 {
        let (weight, shape) = (weight(run), shape(run));
        let spread = 2.0 * self.scatter[run] * (weight + 1.0) / weight;
        let distance = score - self.mean[run];
        let tail = libm::log(1.0 + distance * distance / spread);
        gammas / libm::sqrt(core::f64::consts::PI * spread) * libm::exp(-(shape + 0.5) * tail)
    }

    /// The expected length of the run, in returns; unknown below thirty returns.
    #[must_use]
    pub fn expected_run(&self) -> Option<f64> {
        let mass = self.mass.iter().zip(0_u32..);
        let sum = mass.map(|(mass, run)| mass * f64::from(run)).sum();
        (self.added >= REFERENCE).then_some(sum)
    }

    /// The probability that the run is shorter than six returns; unknown below thirty returns. The
    /// probability of length 0 alone would say nothing: whether a run ends with a return shows only in
    /// those after it, so with a constant hazard it always equals the hazard.
    #[must_use]
    pub fn short_run(&self) -> Option<f64> {
        let sum = self.mass[..SHORT].iter().sum();
        (self.added >= REFERENCE).then_some(sum)
    }
}

/// `κ` after so many returns.
const fn weight(run: usize) -> f64 {
    PRIOR_WEIGHT + run as f64
}

/// `α` after so many returns.
const fn shape(run: usize) -> f64 {
    PRIOR_SHAPE + run as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Standard normal numbers, by summing twelve uniform ones of a linear congruence.
    fn normals(count: usize, mut state: u64) -> Vec<f64> {
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..count)
            .map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0)
            .collect()
    }

    /// The run-length distribution without a bound, every run's posterior from its own returns.
    fn unbounded(scores: &[f64]) -> Vec<f64> {
        let mut mass = vec![1.0];
        for (now, x) in scores.iter().enumerate() {
            let mut weights = Vec::new();
            for (run, mass) in mass.iter().enumerate() {
                let seen = &scores[now - run..now];
                let n = run as f64;
                let mean = if run == 0 {
                    0.0
                } else {
                    seen.iter().sum::<f64>() / n
                };
                let (kappa, alpha) = (1.0 + n, 1.0 + n / 2.0);
                let mu = n * mean / kappa;
                let beta = 1.0
                    + 0.5 * seen.iter().map(|one| (one - mean).powi(2)).sum::<f64>()
                    + n * mean * mean / (2.0 * kappa);
                let (nu, scale) = (2.0 * alpha, beta * (kappa + 1.0) / (alpha * kappa));
                let log = libm::lgamma((nu + 1.0) / 2.0)
                    - libm::lgamma(nu / 2.0)
                    - 0.5 * (nu * core::f64::consts::PI * scale).ln()
                    - (nu + 1.0) / 2.0 * (1.0 + (x - mu).powi(2) / (nu * scale)).ln();
                weights.push(mass * log.exp());
            }
            let total: f64 = weights.iter().sum();
            mass = vec![weights.iter().map(|weight| weight / 60.0).sum::<f64>() / total];
            mass.extend(weights.iter().map(|weight| weight * 59.0 / 60.0 / total));
        }
        mass
    }

    fn runs(scores: &[f64]) -> ChangePoints {
        let mut points = ChangePoints::new();
        scores.iter().for_each(|score| points.add(*score));
        points
    }

    #[test]
    fn change_points_equal_the_unbounded_computation() {
        // The mean moves by six deviations after forty returns.
        let mut scores = normals(63, 1);
        scores[40..].iter_mut().for_each(|score| *score += 6.0);
        for count in 1..=63 {
            let (got, want) = (runs(&scores[..count]), unbounded(&scores[..count]));
            for (run, want) in want.iter().enumerate() {
                let got = got.mass[run];
                assert!(
                    (got - want).abs() <= 1e-9 * want.max(1e-30),
                    "{count} {run} {got} {want}"
                );
            }
        }
        let short = |count: usize| runs(&scores[..count]).short_run().expect("known");
        assert!(
            short(40) < 0.15 && short(45) > 0.5,
            "{} {}",
            short(40),
            short(45)
        );
        let expected = runs(&scores).expected_run().expect("known");
        assert!(
            (expected - 23.0).abs() < 2.0,
            "23 returns after the change: {expected}"
        );
        assert_eq!(runs(&scores).mass[0], HAZARD, "whatever the returns");
        assert_eq!(runs(&scores[..29]).expected_run(), None);
    }

    #[test]
    fn a_bound_on_runs_keeps_their_mass_and_sees_the_change() {
        // The deviation becomes four times as large after two hundred returns.
        let mut scores = normals(206, 2);
        scores[200..].iter_mut().for_each(|score| *score *= 4.0);
        let before = runs(&scores[..200]);
        assert!((before.mass.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let direct: f64 = unbounded(&scores[..200])[RUNS - 1..].iter().sum();
        assert!(
            (before.mass[RUNS - 1] - direct).abs() < 0.1,
            "{} {direct}",
            before.mass[RUNS - 1]
        );
        let (before, after) = (before.short_run(), runs(&scores).short_run());
        assert!(
            before < Some(0.2) && after > Some(0.5),
            "{before:?} {after:?}"
        );
        // Whatever comes, the distribution stays one.
        let mut points = runs(&[0.0; 300]);
        for score in [20.0, -20.0, 20.0, 0.0, -20.0] {
            points.add(score);
            assert!(
                (points.mass.iter().sum::<f64>() - 1.0).abs() < 1e-9,
                "{points:?}"
            );
        }
    }

    /// Lo and MacKinlay's statistics as they print them, from log prices.
    fn printed(returns: &[f64], q: usize) -> (f64, f64) {
        let mut prices = vec![0.0];
        for change in returns {
            prices.push(prices[prices.len() - 1] + change);
        }
        let n = returns.len();
        let mu = (prices[n] - prices[0]) / n as f64;
        let a: f64 = (1..=n)
            .map(|k| (prices[k] - prices[k - 1] - mu).powi(2))
            .sum();
        let m = (q * (n - q + 1)) as f64 * (1.0 - q as f64 / n as f64);
        let c: f64 = (q..=n)
            .map(|k| (prices[k] - prices[k - q] - q as f64 * mu).powi(2))
            .sum();
        let ratio = (c / m) / (a / (n as f64 - 1.0));
        let mut theta = 0.0;
        for j in 1..q {
            let square = |k: usize| (prices[k] - prices[k - 1] - mu).powi(2);
            let delta = n as f64
                * ((j + 1)..=n)
                    .map(|k| square(k) * square(k - j))
                    .sum::<f64>()
                / (a * a);
            theta += (2.0 * (q - j) as f64 / q as f64).powi(2) * delta;
        }
        (ratio, (n as f64).sqrt() * (ratio - 1.0) / theta.sqrt())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn variance_ratios_are_those_of_the_paper(seed in any::<u64>(), pull in -0.9_f64..0.9) {
            let mut returns = [0.0; SECONDS_KEPT];
            let mut before = 0.0;
            for (change, noise) in returns.iter_mut().zip(normals(SECONDS_KEPT, seed)) {
                before = pull * before + noise * 1e-4;
                *change = before;
            }
            let got = variance_ratios(&returns).expect("moves");
            for (got, q) in got.into_iter().zip(AGGREGATIONS) {
                let (ratio, z) = printed(&returns, q);
                prop_assert!((got.ratio - ratio).abs() < 1e-9 * ratio && (got.z - z).abs() < 1e-8, "{:?} {} {}", got, ratio, z);
            }
            if pull.abs() > 0.5 {
                prop_assert_eq!(got[0].z > 0.0, pull > 0.0);
            }
        }
    }

    #[test]
    fn still_markets_and_single_moves_are_defined() {
        let mut returns = [0.0; SECONDS_KEPT];
        assert_eq!(variance_ratios(&returns), None);
        assert_eq!(efficiency(returns.iter().copied()), 0.0);
        returns[7] = 1e-3;
        assert!(variance_ratios(&returns).expect("moves")[1].z.is_finite());
        assert_eq!(efficiency(returns.iter().copied()), 1.0);
        assert_eq!(score(0.0, [0.0; 3].into_iter()), 0.0);
        assert_eq!(score(-1e-9, [0.0; 3].into_iter()), -SCORE_LIMIT);
        assert!((score(3.0, [1.0, -1.0].into_iter()) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn classes_have_their_bounds() {
        let classes = [0.0, 0.99, 1.0, 2.9, 3.0, 4.9, 5.0, 10.0, 80.0].map(class);
        assert_eq!(classes, [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
        assert_eq!([5.0, 10.0, 80.0].map(scale), [0.5, 1.0, 1.0]);
        let path = [1.0, 2.0, 1.5, 1.0, 0.9, -1.5, -2.0, -1.2, -0.5, 1.9];
        let mut at = 0;
        let classes = path.map(|z| {
            at = trend(at, z);
            at
        });
        assert_eq!(classes, [0, 1, 1, 1, 0, 0, -1, -1, 0, 0]);
    }

    #[test]
    fn sums_raise_an_alarm_and_begin_again() {
        let mut cusum = Cusum::new();
        for _ in 0..3 {
            cusum.add(2.0);
        }
        assert_eq!((cusum.up, cusum.down, cusum.alarm()), (4.5, 0.0, 0));
        cusum.add(2.0);
        assert_eq!((cusum.up, cusum.alarm()), (0.0, 1));
        for _ in 0..29 {
            cusum.add(0.0);
        }
        assert_eq!(cusum.alarm(), 1);
        cusum.add(-6.0);
        assert_eq!(cusum.alarm(), -1);
        for _ in 0..30 {
            cusum.add(0.0);
        }
        assert_eq!(cusum.alarm(), 0);
    }

    #[test]
    fn rows_become_known_one_after_the_other() {
        let (mut volatility, mut regime) = (Volatility::new(), Regime::new());
        let moves = normals(4_000, 3);
        let mut mid = 1e9;
        let mut known = Vec::new();
        for (number, step) in moves.into_iter().enumerate() {
            mid *= libm::exp(step * 1e-4);
            let second = Second {
                number: number as u64,
                seen: true,
                double_mid: Some(mid as i64),
                trades: None,
            };
            volatility.second(&second);
            regime.second(&second, &volatility);
            if known
                .last()
                .is_none_or(|(_, count)| *count != regime.values.known())
            {
                known.push((number, regime.values.known()));
            }
        }
        // Sixty returns; three hundred; the tests after them; the ten-second returns.
        let want = [
            (0, 0),
            (60, 1),
            (300, 2),
            (305, 7),
            (309, 9),
            (319, 12),
            (609, 14),
            (3_609, 17),
        ];
        assert_eq!(known, want);
        // A deviation of a basis point a second is 2.9 % a day.
        assert_eq!(regime.values.get(RegimeFeature::Class3600), Some(1.0));
        regime.interrupt(Time(0));
        assert_eq!(regime.values.known(), 0);
    }
}
