//! How sure one can be of a backtest: Sharpe ratios with their errors, and the price of having searched.
//!
//! Sources: Bailey and López de Prado, *The Sharpe Ratio Efficient Frontier* (Journal of Risk 15(2), 2012): the
//! probabilistic Sharpe ratio and the minimum track record length; the same, *The Deflated Sharpe Ratio* (Journal
//! of Portfolio Management 40(5), 2014); Bailey, Borwein, López de Prado and Zhu, *The Probability of Backtest
//! Overfitting* (Journal of Computational Finance 20(4), 2017).
//!
//! Sharpe ratios are per period unless a name says otherwise; kurtosis is 3 for a normal distribution. The normal
//! distribution comes from libm's `erfc` (error below one unit in the last place) and Wichura's inverse (1988,
//! AS 241, relative error about 1e-16).

use std::fmt;

use serde::Serialize;

/// The Euler–Mascheroni constant.
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;
/// Most blocks of the combinatorially symmetric cross-validation: `C(20, 10)` = 184,756 choices.
pub const BLOCKS_MAX: usize = 20;

/// Why there is no figure: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsError(String);

impl fmt::Display for StatisticsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StatisticsError {}

/// The share of a standard normal distribution below `x`.
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The point below which a share `p` of a standard normal distribution lies; infinite at 0 and 1, NaN outside.
///
/// Wichura, *Algorithm AS 241* (Applied Statistics 37(3), 1988), PPND16.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    /// A polynomial, its highest power first.
    fn polynomial(coefficients: &[f64], x: f64) -> f64 {
        coefficients.iter().fold(0.0, |sum, c| sum * x + c)
    }
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&CENTRE.0, r) / polynomial(&CENTRE.1, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-tail.ln()).sqrt();
    let (shifted, (above, below)) = if r <= 5.0 {
        (r - 1.6, &MIDDLE)
    } else {
        (r - 5.0, &FAR)
    };
    (polynomial(above, shifted) / polynomial(below, shifted)).copysign(q)
}

type Rational = ([f64; 8], [f64; 8]);

/// `|p − 0.5| ≤ 0.425`.
const CENTRE: Rational = (
    [
        2.509_080_928_730_122_7e3,
        3.343_057_558_358_813e4,
        6.726_577_092_700_87e4,
        4.592_195_393_154_987e4,
        1.373_169_376_550_946e4,
        1.971_590_950_306_551_4e3,
        1.331_416_678_917_843_8e2,
        3.387_132_872_796_366_6,
    ],
    [
        5.226_495_278_852_854e3,
        2.872_908_573_572_194_3e4,
        3.930_789_580_009_271e4,
        2.121_379_430_158_659_6e4,
        5.394_196_021_424_751e3,
        6.871_870_074_920_579e2,
        4.231_333_070_160_091e1,
        1.0,
    ],
);
/// The tails down to `exp(−25)`.
const MIDDLE: Rational = (
    [
        7.745_450_142_783_414e-4,
        2.272_384_498_926_918_5e-2,
        2.417_807_251_774_506e-1,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_6,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_6,
    ],
    [
        1.050_750_071_644_416_8e-9,
        5.475_938_084_995_345e-4,
        1.519_866_656_361_645_7e-2,
        1.481_039_764_274_800_7e-1,
        6.897_673_349_851e-1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ],
);
/// The tails below.
const FAR: Rational = (
    [
        2.010_334_399_292_288_1e-7,
        2.711_555_568_743_487_6e-5,
        1.242_660_947_388_078_4e-3,
        2.653_218_952_657_612_3e-2,
        2.965_605_718_285_049e-1,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_103,
    ],
    [
        2.044_263_103_389_939_8e-15,
        1.421_511_758_316_446e-7,
        1.846_318_317_510_054_7e-5,
        7.868_691_311_456_133e-4,
        1.487_536_129_085_061_5e-2,
        1.369_298_809_227_358e-1,
        5.998_322_065_558_88e-1,
        1.0,
    ],
);

/// A count as a float: rows and trials stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

/// A track record: what is known of a strategy's returns, per period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Track {
    /// Returns seen (n).
    pub count: usize,
    /// Mean over standard deviation (the sample's, over n − 1).
    pub sharpe: f64,
    /// Third standardised moment.
    pub skewness: f64,
    /// Fourth standardised moment: 3 for a normal distribution.
    pub kurtosis: f64,
}

impl Track {
    /// The track record of these returns. Doing nothing (all returns zero) has a Sharpe ratio of zero.
    ///
    /// # Errors
    /// When there are fewer than two returns, one is not finite, or all are the same and not zero.
    pub fn of(returns: &[f64]) -> Result<Self, StatisticsError> {
        let count = returns.len();
        if count < 2 {
            return Err(StatisticsError(format!(
                "a Sharpe ratio of {count} returns: it wants at least 2; bring a longer test"
            )));
        }
        if let Some(at) = returns.iter().position(|r| !r.is_finite()) {
            return Err(StatisticsError(format!(
                "return {at} is {}; leave masked steps out",
                returns[at]
            )));
        }
        let n = float(count);
        let mean = returns.iter().sum::<f64>() / n;
        let moment = |power: i32| returns.iter().map(|r| (r - mean).powi(power)).sum::<f64>() / n;
        let variance = moment(2);
        // Equal returns leave nothing but rounding errors.
        if variance.sqrt() <= mean.abs() * 1e-14 {
            if mean == 0.0 {
                return Ok(Self {
                    count,
                    sharpe: 0.0,
                    skewness: 0.0,
                    kurtosis: 3.0,
                });
            }
            return Err(StatisticsError(format!(
                "all {count} returns are {mean}: without any deviation there is no Sharpe ratio"
            )));
        }
        Ok(Self {
            count,
            sharpe: mean / (variance * n / (n - 1.0)).sqrt(),
            skewness: moment(3) / variance.powf(1.5),
            kurtosis: moment(4) / (variance * variance),
        })
    }

    /// The Sharpe ratio of a year of so many periods, were returns independent: `sharpe · √periods` (Lo 2002).
    #[must_use]
    pub fn annualised(&self, periods: f64) -> f64 {
        self.sharpe * periods.sqrt()
    }

    /// Variance of the estimated ratio, times n − 1 (Mertens 2002): `1 − γ₃ SR + (γ₄ − 1)/4 · SR²`.
    fn spread(&self) -> f64 {
        1.0 - self.skewness * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe * self.sharpe
    }

    /// Standard error of the Sharpe ratio.
    #[must_use]
    pub fn error(&self) -> f64 {
        (self.spread() / (float(self.count) - 1.0)).sqrt()
    }

    /// The probabilistic Sharpe ratio: how probable it is that the true ratio exceeds `benchmark` (per period):
    /// `Φ((SR − SR*) √(n − 1) / √(1 − γ₃ SR + (γ₄ − 1)/4 · SR²))`.
    #[must_use]
    pub fn probabilistic(&self, benchmark: f64) -> f64 {
        normal_cdf((self.sharpe - benchmark) / self.error())
    }

    /// The minimum track record length: returns that it takes to be sure, with this `confidence`, that the true
    /// ratio exceeds `benchmark`: `1 + (1 − γ₃ SR + (γ₄ − 1)/4 · SR²) (z / (SR − SR*))²`. None when the ratio
    /// does not exceed the benchmark: no length will do.
    #[must_use]
    pub fn minimum_length(&self, benchmark: f64, confidence: f64) -> Option<f64> {
        let z = normal_quantile(confidence);
        (self.sharpe > benchmark)
            .then(|| 1.0 + self.spread() * (z / (self.sharpe - benchmark)).powi(2))
    }

    /// The deflated Sharpe ratio: how probable it is that the true ratio exceeds what the best of `trials`
    /// worthless strategies would show, when the ratios of the trials have this `variance` (per period).
    ///
    /// # Errors
    /// As [`expected_maximum`].
    pub fn deflated(&self, variance: f64, trials: usize) -> Result<f64, StatisticsError> {
        Ok(self.probabilistic(expected_maximum(variance, trials)?))
    }
}

/// The largest Sharpe ratio to expect of `trials` independent strategies without skill, whose ratios have this
/// `variance`: `√V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e)))`, γ of Euler and Mascheroni. One trial: zero.
///
/// # Errors
/// When there is no trial, or the variance is negative or no number.
pub fn expected_maximum(variance: f64, trials: usize) -> Result<f64, StatisticsError> {
    if trials == 0 || !(variance >= 0.0 && variance.is_finite()) {
        return Err(StatisticsError(format!(
            "{trials} trials whose Sharpe ratios have the variance {variance}: count every trial, also those that failed"
        )));
    }
    if trials == 1 {
        return Ok(0.0);
    }
    let n = float(trials);
    let once = normal_quantile(1.0 - 1.0 / n);
    let more = normal_quantile(1.0 - 1.0 / (n * std::f64::consts::E));
    Ok(variance.sqrt() * ((1.0 - EULER_GAMMA) * once + EULER_GAMMA * more))
}

/// What choosing the best of several strategies by backtest is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overfitting {
    /// Share of choices whose winner is in the worse half out of sample (PBO). Half: choosing is worth nothing.
    pub probability: f64,
    /// Share of choices whose winner has a negative Sharpe ratio out of sample.
    pub loss: f64,
    /// Slope of the winner's Sharpe ratio out of sample on that in sample: below zero, the better it looks, the
    /// worse it does.
    pub slope: f64,
    /// For each choice the logit of the winner's relative rank out of sample: above zero, it is in the better half.
    pub logits: Vec<f64>,
}

/// The probability of backtest overfitting by combinatorially symmetric cross-validation.
///
/// `returns` are those of N strategies over the same T periods, `[N, T]`: all that were tried, not only the good
/// ones. Time is cut into `blocks` blocks (S, even); the first `T mod S` are one period longer. Each choice of half
/// of them is in sample once: the strategy with the best Sharpe ratio there is ranked among all in the other half.
///
/// # Errors
/// When there are fewer than two strategies, their lengths differ, one return is not finite, `blocks` is odd or
/// above [`BLOCKS_MAX`], or a half has fewer than two periods.
pub fn overfitting(returns: &[Vec<f64>], blocks: usize) -> Result<Overfitting, StatisticsError> {
    let strategies = returns.len();
    if strategies < 2 {
        return Err(StatisticsError(format!(
            "{strategies} strategies: overfitting is a matter of choosing among several; bring every one that was tried"
        )));
    }
    let periods = returns[0].len();
    if let Some(other) = returns.iter().find(|one| one.len() != periods) {
        return Err(StatisticsError(format!(
            "strategies with {periods} and {} returns: bring those of the same periods",
            other.len()
        )));
    }
    if returns.iter().flatten().any(|r| !r.is_finite()) {
        return Err(StatisticsError(
            "a return is not finite; leave masked steps out, in all strategies alike".to_owned(),
        ));
    }
    if blocks < 2 || blocks % 2 == 1 || blocks > BLOCKS_MAX || periods < 2 * blocks {
        return Err(StatisticsError(format!(
            "{blocks} blocks of {periods} periods: blocks are even, at most {BLOCKS_MAX}, and hold 2 periods or more"
        )));
    }
    let sums = block_sums(returns, blocks);
    let mut logits = Vec::new();
    let mut pairs = Vec::new();
    for chosen in 0_u32..1 << blocks {
        if chosen.count_ones() as usize * 2 != blocks {
            continue;
        }
        let ratio = |strategy: usize, inside: bool| {
            let mut total = Sums::default();
            for (block, sums) in sums[strategy].iter().enumerate() {
                if (chosen >> block & 1 == 1) == inside {
                    total.add(sums);
                }
            }
            total.sharpe()
        };
        let mut winner = (0, ratio(0, true));
        for strategy in 1..strategies {
            let seen = ratio(strategy, true);
            if seen > winner.1 {
                winner = (strategy, seen);
            }
        }
        let outside: Vec<f64> = (0..strategies).map(|one| ratio(one, false)).collect();
        let own = outside[winner.0];
        let worse = outside.iter().filter(|other| **other < own).count();
        let equal = outside.iter().filter(|other| **other == own).count();
        // Ties share the mean of their ranks, so that copies of one strategy are neither good nor bad.
        let rank = float(worse) + (float(equal) + 1.0) / 2.0;
        let relative = rank / (float(strategies) + 1.0);
        logits.push((relative / (1.0 - relative)).ln());
        pairs.push((winner.1, own));
    }
    let share = |count: usize| float(count) / float(logits.len());
    Ok(Overfitting {
        probability: share(logits.iter().filter(|logit| **logit <= 0.0).count()),
        loss: share(pairs.iter().filter(|(_, own)| *own < 0.0).count()),
        slope: slope(&pairs),
        logits,
    })
}

/// What a Sharpe ratio needs of a block.
#[derive(Clone, Copy, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The Sharpe ratio; zero for doing nothing, infinite for a certain gain.
    fn sharpe(&self) -> f64 {
        let mean = self.sum / self.count;
        let variance = (self.squares - self.sum * mean) / (self.count - 1.0);
        if variance > 1e-15 * mean * mean {
            mean / variance.sqrt()
        } else if mean == 0.0 {
            0.0
        } else {
            f64::INFINITY.copysign(mean)
        }
    }
}

/// Sums of each strategy's blocks: `[N, S]`.
fn block_sums(returns: &[Vec<f64>], blocks: usize) -> Vec<Vec<Sums>> {
    returns
        .iter()
        .map(|one| {
            let (size, longer) = (one.len() / blocks, one.len() % blocks);
            (0..blocks)
                .map(|block| {
                    let start = block * size + block.min(longer);
                    let rows = &one[start..][..size + usize::from(block < longer)];
                    Sums {
                        count: float(rows.len()),
                        sum: rows.iter().sum(),
                        squares: rows.iter().map(|r| r * r).sum(),
                    }
                })
                .collect()
        })
        .collect()
}

/// The least-squares slope of the second on the first, over finite pairs; zero where the first does not vary.
fn slope(pairs: &[(f64, f64)]) -> f64 {
    let pairs: Vec<_> = pairs
        .iter()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let n = float(pairs.len());
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / n;
    let square: f64 = pairs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let product: f64 = pairs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    if square > 0.0 { product / square } else { 0.0 }
}

/// How a figure is spread over paths, folds or seeds: what is reported in place of one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Values.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation; zero for a single value.
    pub deviation: f64,
    /// The smallest.
    pub least: f64,
    /// Twentieth.
    pub p05: f64,
    /// Quarter.
    pub p25: f64,
    /// Median.
    pub p50: f64,
    /// Three quarters.
    pub p75: f64,
    /// All but a twentieth.
    pub p95: f64,
    /// The largest.
    pub greatest: f64,
    /// Share of values below zero.
    pub below_zero: f64,
}

impl Distribution {
    /// The distribution of these values. Quantiles are interpolated linearly (type 7 of Hyndman and Fan 1996).
    ///
    /// # Errors
    /// When there is no value, or one is not finite.
    pub fn of(values: &[f64]) -> Result<Self, StatisticsError> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return Err(StatisticsError(format!(
                "a distribution of {} values, all of which must be finite numbers: is there a path at all?",
                values.len()
            )));
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = float(sorted.len());
        let mean = sorted.iter().sum::<f64>() / n;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        Ok(Self {
            count: sorted.len(),
            mean,
            deviation: if sorted.len() > 1 {
                (squares / (n - 1.0)).sqrt()
            } else {
                0.0
            },
            least: sorted[0],
            p05: quantile(&sorted, 5),
            p25: quantile(&sorted, 25),
            p50: quantile(&sorted, 50),
            p75: quantile(&sorted, 75),
            p95: quantile(&sorted, 95),
            greatest: sorted[sorted.len() - 1],
            below_zero: float(sorted.iter().filter(|value| **value < 0.0).count()) / n,
        })
    }

    /// The distribution of the annualised Sharpe ratios of some test paths, `[paths, periods]`.
    ///
    /// # Errors
    /// As [`Track::of`] and [`Self::of`].
    pub fn of_sharpes(paths: &[Vec<f64>], periods: f64) -> Result<Self, StatisticsError> {
        let sharpes = paths
            .iter()
            .map(|path| Ok(Track::of(path)?.annualised(periods)))
            .collect::<Result<Vec<f64>, StatisticsError>>()?;
        Self::of(&sharpes)
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "median {:.3} (5 % {:.3}, 25 % {:.3}, 75 % {:.3}, 95 % {:.3}; mean {:.3}, {:.0} % below zero, n = {})",
            self.p50,
            self.p05,
            self.p25,
            self.p75,
            self.p95,
            self.mean,
            100.0 * self.below_zero,
            self.count
        )
    }
}

/// The value below which so many percent of sorted values lie, interpolated.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let scaled = (sorted.len() - 1) * percent;
    let (below, part) = (scaled / 100, float(scaled % 100) / 100.0);
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
#[path = "statistics/tests.rs"]
mod tests;
