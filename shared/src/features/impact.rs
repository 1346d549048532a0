//! What trades do to the price, as statistics.
//!
//! Regressions over the seconds of five minutes, with an intercept, so that a drift of the price is no
//! impact, and with their quality; and estimates of illiquidity and of the spread that need only
//! trades. [`crate::paper::tape::Tape::lambda`] is another λ: exact, without an intercept, over half an
//! hour of ten-second intervals, in ticks per lot, never below zero, for what an order will cost; here
//! a λ is a feature, in units that compare across instruments, and may be negative.
//!
//! Everything is measured when a second is over; reading copies. A second whose book yields no mid
//! repeats the one before.

use serde::{Deserialize, Serialize};

use super::samples::{MINUTE_S, Minute, Samples, ends};
use super::second::{Second, Trades};
use super::table::rows;
use super::volatility::{change, sample};
use super::{BPS, Values, View};
use crate::event::{Side, Trade};
use crate::time::Time;

rows! {
    /// Features of price impact.
    ImpactFeature {
        /// λ of [`Impact::kyle`], for the mean volume of a second.
        KyleLambda: "kyle_lambda_300s", Bps, "window_s=300 sample_s=1", "Kyle (1985)";
        /// R² of [`Impact::kyle`].
        KyleR2: "kyle_r2_300s", Share, "window_s=300 sample_s=1", "Kyle (1985)";
        /// t-statistic of [`Impact::kyle`].
        KyleT: "kyle_t_300s", Score, "window_s=300 sample_s=1", "Kyle (1985)";
        /// λ of [`Impact::hasbrouck`], for the mean root volume of a second.
        HasbrouckLambda: "hasbrouck_lambda_300s", Bps, "window_s=300 sample_s=1", "Hasbrouck (2009)";
        /// R² of [`Impact::hasbrouck`].
        HasbrouckR2: "hasbrouck_r2_300s", Share, "window_s=300 sample_s=1", "Hasbrouck (2009)";
        /// t-statistic of [`Impact::hasbrouck`].
        HasbrouckT: "hasbrouck_t_300s", Score, "window_s=300 sample_s=1", "Hasbrouck (2009)";
        /// [`amihud`] of seconds.
        Amihud300: "amihud_300s", Bps, "window_s=300 sample_s=1", "Amihud (2002), times the mean value";
        /// [`amihud`] of minutes.
        Amihud60m: "amihud_60m", Bps, "samples=60 sample_s=60", "Amihud (2002), times the mean value";
        /// [`roll_spread`] of two hundred trades.
        Roll: "roll_spread_200", Bps, "trades=200", "Roll (1984)";
        /// [`corwin_schultz`], averaged over twenty pairs of minutes.
        CorwinSchultz: "corwin_schultz_spread_20m", Bps, "pairs=20 bar_s=60", "Corwin, Schultz (2012)";
        /// [`Response`] to buying.
        ResponseBuy: "price_response_buy_300s", Bps, "window_s=300 least=10", "Bouchaud, Gefen, Potters, Wyart (2004), one second";
        /// [`Response`] to selling.
        ResponseSell: "price_response_sell_300s", Bps, "window_s=300 least=10", "Bouchaud, Gefen, Potters, Wyart (2004), one second";
        /// [`Response::asymmetry`].
        ResponseAsymmetry: "price_response_asymmetry_300s", Ratio, "window_s=300 least=10", "Bouchaud, Gefen, Potters, Wyart (2004), one second";
    }
}

/// Seconds of a regression.
pub const WINDOW: usize = 300;
/// Minutes of the longer Amihud ratio.
const AMIHUD_MINUTES: usize = 60;
/// Trades of the Roll spread.
const ROLL_TRADES: usize = 200;
/// One-minute bars of the Corwin-Schultz spread: twenty pairs.
const BARS: usize = 21;
/// Seconds of a direction below which its mean response is not known.
const LEAST: u32 = 10;

/// An ordinary least-squares line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Change of `y` for a unit of `x`.
    pub slope: f64,
    /// Share of the variance of `y` that the line explains; zero when `y` does not vary.
    pub r2: f64,
    /// Slope over its standard error, with `n - 2` degrees of freedom; zero when `y` does not vary,
    /// not finite on a perfect line.
    pub t: f64,
}

impl Fit {
    /// `y = a + slope·x`, the slope for the mean of `unit`; `None` while `x` does not vary.
    #[must_use]
    pub fn of(x: &[f64; WINDOW], y: &[f64; WINDOW], unit: &[f64; WINDOW]) -> Option<Self> {
        let count = WINDOW as f64;
        // Sums side by side do not wait for each other.
        let (mut x_sum, mut y_sum, mut unit_sum) = (0.0, 0.0, 0.0);
        for ((x, y), unit) in x.iter().zip(y).zip(unit) {
            x_sum += x;
            y_sum += y;
            unit_sum += unit;
        }
        let (x_mean, y_mean) = (x_sum / count, y_sum / count);
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in x.iter().zip(y) {
            let (x, y) = (x - x_mean, y - y_mean);
            xx += x * x;
            xy += x * y;
            yy += y * y;
        }
        if xx <= 0.0 {
            return None;
        }
        let slope = xy / xx;
        let mut fit = Self {
            slope: slope * (unit_sum / count),
            r2: 0.0,
            t: 0.0,
        };
        if yy > 0.0 {
            let residual = (yy - slope * xy).max(0.0) / (count - 2.0);
            fit.r2 = (slope * xy / yy).min(1.0);
            fit.t = slope / libm::sqrt(residual / xx);
        }
        Some(fit)
    }
}

/// A bar's largest and smallest logarithm of a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Extremes {
    high: f64,
    low: f64,
}

impl Extremes {
    const NONE: Self = Self {
        high: 0.0,
        low: 0.0,
    };
}

/// The impact of one instrument's trades.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// The doubled mid at the end of the last second; 0 while it is not known. Likewise the minute's.
    sampled: i64,
    minute_sampled: i64,
    /// Roots of the traded values of the current second: signed, and not.
    roots: [f64; 2],
    /// By second: the mid's change in basis points, bought minus sold quantity, both together, signed
    /// roots of values and roots, value.
    moves: Samples<f64, WINDOW>,
    signed: Samples<f64, WINDOW>,
    volumes: Samples<f64, WINDOW>,
    signed_roots: Samples<f64, WINDOW>,
    all_roots: Samples<f64, WINDOW>,
    values: Samples<f64, WINDOW>,
    minute: Minute,
    /// By minute: the mid's change in basis points, and value.
    minutes: Samples<[f64; 2], AMIHUD_MINUTES>,
    bars: Samples<Extremes, BARS>,
    /// The logarithm of the last price of the minutes before.
    close: Option<f64>,
    prices: Samples<i64, ROLL_TRADES>,
    measured: Values<{ ImpactFeature::COUNT }>,
}

impl Default for Impact {
    fn default() -> Self {
        Self::new()
    }
}

impl Impact {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sampled: 0,
            minute_sampled: 0,
            roots: [0.0; 2],
            moves: Samples::new(0.0),
            signed: Samples::new(0.0),
            volumes: Samples::new(0.0),
            signed_roots: Samples::new(0.0),
            all_roots: Samples::new(0.0),
            values: Samples::new(0.0),
            minute: Minute::new(),
            minutes: Samples::new([0.0; 2]),
            bars: Samples::new(Extremes::NONE),
            close: None,
            prices: Samples::new(0),
            measured: Values::UNKNOWN,
        }
    }

    /// A trade. One without a positive price and quantity is none.
    pub fn trade(&mut self, trade: &Trade) {
        if trade.price.0 <= 0 || trade.qty.0 <= 0 {
            return;
        }
        self.prices.push(trade.price.0);
        let root = libm::sqrt(trade.price.0 as f64 * trade.qty.0 as f64);
        self.roots[0] += match trade.aggressor {
            Side::Buy => root,
            Side::Sell => -root,
        };
        self.roots[1] += root;
    }

    /// A second is over.
    pub fn second(&mut self, second: &Second) {
        let roots = core::mem::take(&mut self.roots);
        let minute = self.minute.second(second);
        if let Some(trades) = minute {
            self.bar(trades.as_ref());
        }
        if let Some(double_mid) = sample(second, self.sampled) {
            let moved = change_bps(&mut self.sampled, double_mid);
            if let Some(moved) = moved.filter(|_| second.seen) {
                self.observe(moved, second.trades.as_ref(), roots);
            }
            if ends(second, MINUTE_S) {
                let moved = change_bps(&mut self.minute_sampled, double_mid);
                if let (Some(moved), Some(trades)) = (moved, minute) {
                    self.minutes.push([moved, value(trades.as_ref())]);
                    let amihud = self.minutes.full().and_then(|full| amihud(&full));
                    self.measured.set(ImpactFeature::Amihud60m, amihud);
                }
            }
        }
        if second.trades.is_some() {
            let roll = self.prices.full().map(|prices| roll_spread(&prices));
            self.measured.set(ImpactFeature::Roll, roll);
        }
    }

    fn observe(&mut self, moved: f64, trades: Option<&Trades>, [signed_root, root]: [f64; 2]) {
        let (bought, sold) = trades.map_or((0.0, 0.0), |trades| {
            (trades.bought.0 as f64, trades.sold.0 as f64)
        });
        self.moves.push(moved);
        self.signed.push(bought - sold);
        self.volumes.push(bought + sold);
        self.signed_roots.push(signed_root);
        self.all_roots.push(root);
        self.values.push(value(trades));
        let (Some(moves), Some(signed), Some(values)) =
            (self.moves.full(), self.signed.full(), self.values.full())
        else {
            return;
        };
        let (kyle, hasbrouck) = (self.kyle(), self.hasbrouck());
        let mut pairs = [[0.0; 2]; WINDOW];
        for (pair, both) in pairs.iter_mut().zip(moves.iter().zip(&values)) {
            *pair = [*both.0, *both.1];
        }
        let response = Response::of(&moves, &signed);
        let measured = &mut self.measured;
        measured.set(ImpactFeature::KyleLambda, kyle.map(|fit| fit.slope));
        measured.set(ImpactFeature::KyleR2, kyle.map(|fit| fit.r2));
        measured.set(ImpactFeature::KyleT, kyle.map(|fit| fit.t));
        measured.set(
            ImpactFeature::HasbrouckLambda,
            hasbrouck.map(|fit| fit.slope),
        );
        measured.set(ImpactFeature::HasbrouckR2, hasbrouck.map(|fit| fit.r2));
        measured.set(ImpactFeature::HasbrouckT, hasbrouck.map(|fit| fit.t));
        measured.set(ImpactFeature::Amihud300, amihud(&pairs));
        measured.set(ImpactFeature::ResponseBuy, response.buy);
        measured.set(ImpactFeature::ResponseSell, response.sell);
        measured.set(ImpactFeature::ResponseAsymmetry, response.asymmetry());
    }

    /// Kyle's λ over the seconds of five minutes: ordinary least squares of the mid's change in basis
    /// points on bought minus sold quantity, with an intercept. The slope is for the mean traded
    /// quantity of a second of the window, so that it compares across instruments and hours; R² and t
    /// do not depend on that. Unknown while the window is not full or its net quantity does not vary.
    ///
    /// Source: Kyle, "Continuous auctions and insider trading", Econometrica 53 (1985): `Δp = λ·y`.
    #[must_use]
    pub fn kyle(&self) -> Option<Fit> {
        fit(&self.moves, &self.signed, &self.volumes)
    }

    /// The same on signed square roots: for each trade of a second `±√value`, added up; the slope is
    /// for the mean of a second's roots without signs. Large trades weigh less than in λ of Kyle.
    ///
    /// Source: Hasbrouck, "Trading costs and returns for U.S. equities: estimating effective costs from
    /// daily data", Journal of Finance 64 (2009), the price impact of signed root volume.
    #[must_use]
    pub fn hasbrouck(&self) -> Option<Fit> {
        fit(&self.moves, &self.signed_roots, &self.all_roots)
    }

    /// A minute is over. One without trades stands at the last price; before there is one, it is none.
    fn bar(&mut self, trades: Option<&Trades>) {
        let extremes = match trades.filter(|trades| trades.low.0 > 0) {
            Some(trades) => {
                self.close = Some(libm::log(trades.close.0 as f64));
                Some(Extremes {
                    high: libm::log(trades.high.0 as f64),
                    low: libm::log(trades.low.0 as f64),
                })
            }
            None => self.close.map(|close| Extremes {
                high: close,
                low: close,
            }),
        };
        if let Some(extremes) = extremes {
            self.bars.push(extremes);
        }
        let spread = self.bars.full().map(|bars| {
            let pairs = bars.windows(2);
            let count = pairs.len() as f64;
            pairs
                .map(|pair| corwin_schultz(pair[0], pair[1]))
                .sum::<f64>()
                / count
                * BPS
        });
        self.measured.set(ImpactFeature::CorwinSchultz, spread);
    }

    /// Observation was interrupted: every window starts anew.
    pub const fn interrupt(&mut self, _: Time) {
        *self = Self::new();
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _: &View<'_>) -> Values<{ ImpactFeature::COUNT }> {
        self.measured
    }
}

fn value(trades: Option<&Trades>) -> f64 {
    trades.map_or(0.0, |trades| trades.value as f64)
}

fn change_bps(before: &mut i64, double_mid: i64) -> Option<f64> {
    Some(change(before, double_mid)? * BPS)
}

/// The line of `y` on `x`, its slope for the mean of `unit`.
fn fit(
    y: &Samples<f64, WINDOW>,
    x: &Samples<f64, WINDOW>,
    unit: &Samples<f64, WINDOW>,
) -> Option<Fit> {
    Fit::of(&x.full()?, &y.full()?, &unit.full()?)
}

/// Amihud's illiquidity, the mean of `|return| / value` over the samples in which something traded,
/// times the mean value of these: how many basis points a sample's usual value moves the price. Pairs
/// of change and value; unknown when nothing traded.
///
/// Source: Amihud, "Illiquidity and stock returns", Journal of Financial Markets 5 (2002), equation 1.
#[must_use]
pub fn amihud(samples: &[[f64; 2]]) -> Option<f64> {
    let (mut ratios, mut values, mut count) = (0.0, 0.0, 0.0);
    for [moved, value] in samples.iter().filter(|[_, value]| *value > 0.0) {
        ratios += libm::fabs(*moved) / value;
        values += value;
        count += 1.0;
    }
    (count > 0.0).then(|| ratios / count * (values / count))
}

/// Roll's effective spread `2·√(-cov(Δp_t, Δp_{t-1}))` of the prices, in basis points of their mean; 0
/// where the covariance is positive, as when the price trends. The covariance is that of adjacent
/// changes about the mean of all, over the number of pairs.
///
/// Source: Roll, "A simple implicit measure of the effective bid-ask spread in an efficient market",
/// Journal of Finance 39 (1984).
#[must_use]
pub fn roll_spread(prices: &[i64]) -> f64 {
    let changes = |index: usize| prices[index + 1].saturating_sub(prices[index]) as f64;
    let count = prices.len() - 1;
    let mean_change = prices[count].saturating_sub(prices[0]) as f64 / count as f64;
    let (mut covariance, mut price) = (0.0, prices[0] as f64);
    for index in 1..count {
        covariance += (changes(index) - mean_change) * (changes(index - 1) - mean_change);
    }
    for price_of in &prices[1..] {
        price += *price_of as f64;
    }
    covariance /= (count - 1) as f64;
    price /= prices.len() as f64;
    2.0 * libm::sqrt((-covariance).max(0.0)) / price * BPS
}

/// The spread that the ranges of two adjacent bars tell from their volatility, as a fraction:
/// `S = 2·(e^α - 1) / (1 + e^α)`, `α = (√(2β) - √β) / (3 - 2√2) - √(γ / (3 - 2√2))`, where `β` is the
/// sum of the bars' squared log ranges and `γ` the squared log range of both. A negative estimate is
/// zero. No correction is made for a jump between bars: the market does not close.
///
/// Source: Corwin and Schultz, "A simple way to estimate bid-ask spreads from daily high and low
/// prices", Journal of Finance 67 (2012), equations 14 and 18.
fn corwin_schultz(one: Extremes, other: Extremes) -> f64 {
    let square = |range: f64| range * range;
    let beta = square(one.high - one.low) + square(other.high - other.low);
    let gamma = square(one.high.max(other.high) - one.low.min(other.low));
    let divisor = 3.0 - 2.0 * core::f64::consts::SQRT_2;
    let alpha = (libm::sqrt(2.0 * beta) - libm::sqrt(beta)) / divisor - libm::sqrt(gamma / divisor);
    let power = libm::exp(alpha);
    (2.0 * (power - 1.0) / (1.0 + power)).max(0.0)
}

/// How the price answers: the mid's mean change, in basis points and in the direction of the trades,
/// over the seconds with more bought than sold and over those with less. Each is unknown below ten
/// such seconds.
///
/// Source: Bouchaud, Gefen, Potters and Wyart, "Fluctuations and response in financial markets",
/// Quantitative Finance 4 (2004), at a lag of one second and by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response {
    /// After net buying: how far it rose.
    pub buy: Option<f64>,
    /// After net selling: how far it fell.
    pub sell: Option<f64>,
}

impl Response {
    /// Of the changes and net quantities of seconds.
    #[must_use]
    pub fn of(moves: &[f64], signed: &[f64]) -> Self {
        let (mut sums, mut counts) = ([0.0; 2], [0_u32; 2]);
        for (moved, signed) in moves.iter().zip(signed) {
            // Factors instead of branches, which nothing could predict.
            let (buy, sell) = (u32::from(*signed > 0.0), u32::from(*signed < 0.0));
            sums[0] += moved * f64::from(buy);
            sums[1] -= moved * f64::from(sell);
            counts[0] += buy;
            counts[1] += sell;
        }
        let mean =
            |side: usize| (counts[side] >= LEAST).then(|| sums[side] / f64::from(counts[side]));
        Self {
            buy: mean(0),
            sell: mean(1),
        }
    }

    /// `(buy - sell) / (|buy| + |sell|)`: above zero where buying moves the price more; zero when
    /// neither does.
    #[must_use]
    pub fn asymmetry(&self) -> Option<f64> {
        let (buy, sell) = (self.buy?, self.sell?);
        let total = libm::fabs(buy) + libm::fabs(sell);
        Some(if total > 0.0 {
            (buy - sell) / total
        } else {
            0.0
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::num::{Price, Qty};

    fn trade(price: i64, qty: i64) -> Trade {
        Trade {
            id: 0,
            price: Price(price),
            qty: Qty(qty.abs()),
            aggressor: if qty > 0 { Side::Buy } else { Side::Sell },
        }
    }

    fn near(got: f64, want: f64) -> bool {
        (got - want).abs() <= 1e-9 * want.abs().max(1e-9)
    }

    /// A market whose trades and mids are known: by second its doubled mid and trades.
    fn run(seconds: &[(i64, Vec<i64>)]) -> Impact {
        let mut impact = Impact::new();
        for (number, (double_mid, quantities)) in seconds.iter().enumerate() {
            let mut trades: Option<Trades> = None;
            for qty in quantities {
                let trade = trade(double_mid / 2, *qty);
                impact.trade(&trade);
                match &mut trades {
                    Some(trades) => trades.add(&Trades::of(&trade)),
                    None => trades = Some(Trades::of(&trade)),
                }
            }
            impact.second(&Second {
                number: number as u64,
                seen: true,
                double_mid: Some(*double_mid),
                trades,
            });
        }
        impact
    }

    /// Slope, R² and t from sums of raw products, as textbooks print them.
    fn textbook(x: &[f64], y: &[f64]) -> [f64; 3] {
        let n = x.len() as f64;
        let sum = |of: &dyn Fn(usize) -> f64| (0..x.len()).map(of).sum::<f64>();
        let (sx, sy) = (sum(&|i| x[i]), sum(&|i| y[i]));
        let (sxx, sxy) = (sum(&|i| x[i] * x[i]), sum(&|i| x[i] * y[i]));
        let slope = (n * sxy - sx * sy) / (n * sxx - sx * sx);
        let intercept = (sy - slope * sx) / n;
        let residual = sum(&|i| (y[i] - intercept - slope * x[i]).powi(2));
        let total = sum(&|i| (y[i] - sy / n).powi(2));
        let error = (residual / (n - 2.0) / sum(&|i| (x[i] - sx / n).powi(2))).sqrt();
        [slope, 1.0 - residual / total, slope / error]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn equals_textbook_regressions(
            seconds in proptest::collection::vec((-50_i64..51, proptest::collection::vec(-90_i64..91, 0..4)), 301..420)
        ) {
            let mut mid = 200_000_i64;
            let seconds: Vec<_> = seconds.into_iter().map(|(step, mut quantities)| {
                quantities.retain(|qty| *qty != 0);
                mid += step + quantities.iter().sum::<i64>() / 4;
                (mid, quantities)
            }).collect();
            let impact = run(&seconds);
            let window = seconds.len() - 300..seconds.len();
            let moves: Vec<f64> = window.clone()
                .map(|k| (seconds[k].0 as f64 / seconds[k - 1].0 as f64).ln() * 1e4).collect();
            let signed: Vec<f64> = window.clone().map(|k| seconds[k].1.iter().sum::<i64>() as f64).collect();
            let volume = window.clone().flat_map(|k| &seconds[k].1).map(|qty| qty.abs() as f64).sum::<f64>() / 300.0;
            let [slope, r2, t] = textbook(&signed, &moves);
            let kyle = impact.kyle().expect("a full window");
            prop_assert!(near(kyle.slope, slope * volume), "{} {}", kyle.slope, slope * volume);
            prop_assert!((kyle.r2 - r2).abs() < 1e-9 && (kyle.t - t).abs() < 1e-7, "{:?} {} {}", kyle, r2, t);
            let root = |qty: i64, mid: i64| ((qty.abs() * (mid / 2)) as f64).sqrt();
            let roots: Vec<f64> = window.clone().map(|k| {
                seconds[k].1.iter().map(|qty| qty.signum() as f64 * root(*qty, seconds[k].0)).sum()
            }).collect();
            let all = window.clone().map(|k| seconds[k].1.iter().map(|qty| root(*qty, seconds[k].0)).sum::<f64>()).sum::<f64>() / 300.0;
            let [slope, r2, t] = textbook(&roots, &moves);
            let hasbrouck = impact.hasbrouck().expect("a full window");
            prop_assert!((hasbrouck.slope - slope * all).abs() < 1e-8);
            prop_assert!((hasbrouck.r2 - r2).abs() < 1e-9 && (hasbrouck.t - t).abs() < 1e-7);
        }
    }

    #[test]
    fn a_planted_impact_is_found_and_a_drift_is_none() {
        let mut mid = 2_000_000.0;
        let seconds: Vec<_> = (0..301_i64)
            .map(|number| {
                let qty = number * 7 % 11 - 5;
                mid *= libm::exp((0.5 * qty as f64 + 3.0) / 1e4);
                (
                    mid as i64,
                    if qty == 0 {
                        Vec::new()
                    } else {
                        alloc::vec![qty]
                    },
                )
            })
            .collect();
        let fit = run(&seconds).kyle().expect("a full window");
        let mean = seconds[1..].iter().flat_map(|(_, quantities)| quantities);
        let mean = mean.map(|qty| qty.abs() as f64).sum::<f64>() / 300.0;
        assert!(
            (fit.slope / mean - 0.5).abs() < 1e-3 && fit.r2 > 0.999,
            "{fit:?}"
        );
        // A still market with trades: nothing moves, and says so; without trades nothing is known.
        let still: Vec<_> = (0..301_i64)
            .map(|k| {
                (
                    2_000,
                    alloc::vec![k % 3 - 1]
                        .into_iter()
                        .filter(|qty| *qty != 0)
                        .collect(),
                )
            })
            .collect();
        let impact = run(&still);
        let flat = Fit {
            slope: 0.0,
            r2: 0.0,
            t: 0.0,
        };
        assert_eq!(impact.kyle(), Some(flat));
        assert_eq!(
            impact.measured.get(ImpactFeature::ResponseAsymmetry),
            Some(0.0)
        );
        let quiet: Vec<_> = (0..301_i64).map(|k| (2_000 + k, Vec::new())).collect();
        let impact = run(&quiet);
        assert_eq!((impact.kyle(), impact.measured.known()), (None, 0));
    }

    #[test]
    fn windows_are_unknown_until_full_and_after_a_gap() {
        let seconds = |count: i64| -> Vec<_> {
            (0..count)
                .map(|k| (20_000 + k % 5, alloc::vec![1 + k % 3, -1 - k % 2]))
                .collect()
        };
        let known = |count| {
            run(&seconds(count))
                .measured
                .get(ImpactFeature::KyleLambda)
                .is_some()
        };
        assert!(!known(300) && known(301));
        let mut impact = run(&seconds(400));
        impact.interrupt(Time(0));
        assert_eq!(impact, Impact::new());
    }

    #[test]
    fn amihud_is_a_move_for_the_mean_value() {
        // Two bps for 100 and one for 300: (0.02 + 1/300) / 2 times 200; the quiet one is left out.
        let samples = [[2.0, 100.0], [-1.0, 300.0], [5.0, 0.0]];
        let want = (2.0 / 100.0 + 1.0 / 300.0) / 2.0 * 200.0;
        assert!((amihud(&samples).expect("traded") - want).abs() < 1e-12);
        assert_eq!(amihud(&[[1.0, 0.0]]), None);
    }

    #[test]
    fn roll_finds_the_bounce_and_gives_zero_for_a_trend() {
        // Bids and asks in turn, two units apart: cov = -4 about a mean of zero.
        let bounce: Vec<i64> = (0..201).map(|k| 10_000 + k % 2 * 2).collect();
        let spread = roll_spread(&bounce);
        assert!(
            (spread - 2.0 * 2.0 / 10_000.995 * 1e4).abs() < 1e-4,
            "{spread}"
        );
        let trend: Vec<i64> = (0..200).map(|k| 10_000 + k * k).collect();
        assert_eq!(roll_spread(&trend), 0.0);
        assert_eq!(roll_spread(&[7; 200]), 0.0);
    }

    #[test]
    fn corwin_schultz_by_hand() {
        let bar = |high: f64, low: f64| Extremes {
            high: high.ln(),
            low: low.ln(),
        };
        // Two equal bars: β = 2r², γ = r², so α = (2 - √2)·r/(3 - 2√2) - r/√(3 - 2√2) = r.
        let r = (101.0_f64 / 100.0).ln();
        let want = 2.0 * (r.exp() - 1.0) / (1.0 + r.exp());
        assert!((corwin_schultz(bar(101.0, 100.0), bar(101.0, 100.0)) - want).abs() < 1e-12);
        // Disjoint ranges would give a negative spread.
        assert_eq!(corwin_schultz(bar(101.0, 100.0), bar(111.0, 110.0)), 0.0);
        assert_eq!(corwin_schultz(bar(1.0, 1.0), bar(1.0, 1.0)), 0.0);
    }

    #[test]
    fn responses_by_side() {
        let moves: Vec<f64> = (0..40)
            .map(|k| if k % 2 == 0 { 3.0 } else { -1.0 })
            .collect();
        let signed: Vec<f64> = (0..40)
            .map(|k| if k % 2 == 0 { 5.0 } else { -5.0 })
            .collect();
        let response = Response::of(&moves, &signed);
        assert_eq!((response.buy, response.sell), (Some(3.0), Some(1.0)));
        assert_eq!(response.asymmetry(), Some(0.5));
        assert_eq!(Response::of(&moves[..18], &signed[..18]).asymmetry(), None);
    }
}
