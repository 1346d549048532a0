//! Indicators on bars of time, as they stand when a bar closes.
//!
//! There are two layers. [`Raw`] has the classical values, in the units of their authors: golden tests
//! compare these. The value of a row is made of it so that it is stationary and comparable:
//!
//! * a level (an average, a band, a stop) becomes `(close / level - 1) * 10^4`, bps;
//! * a difference of prices (MACD, ATR, momentum, deviation, slope) becomes bps of the close, a
//!   variance bps squared of it;
//! * bounded oscillators, ratios and percentages stay;
//! * what counts volume is divided by volume: OBV and A/D become their change over [`CHANGE_BARS`]
//!   by the volume traded meanwhile; the Chaikin oscillator, Force and Ease of movement are per mean
//!   volume of as many bars; NVI and PVI become their relative change in bps.
//!
//! Windows are recomputed from the series; what is recursive is known after its seed. A value is
//! unknown (NaN here, never in the memory) until then, and where its definition divides by zero,
//! unless TA-Lib says what it is then (see [`window`]). The memory belongs to one run of contiguous
//! bars: whoever loses a bar begins with new memory.

pub mod recursive;
pub mod window;

use serde::{Deserialize, Serialize};

use super::bars::Series;
use super::table::rows;
use super::{BPS, Row, Values};
use recursive::{Average, Direction, Kama, Last, Parabola, Strength, SuperTrend, Triple};
use window::{highest, lowest, ratio, sma};

rows! {
    /// Indicators.
    Indicator {
        /// `sma_20`: arithmetic mean. Deviation of the close from it.
        Sma: "sma_20", Bps, "n=20", "arithmetic mean";
        /// `ema_12`: exponential average, seeded with the mean (TA-Lib). Deviation of the close from it.
        Ema12: "ema_12", Bps, "n=12", "exponential average, seeded with the mean (TA-Lib)";
        /// `ema_26`: exponential average, seeded with the mean (TA-Lib). Deviation of the close from it.
        Ema26: "ema_26", Bps, "n=26", "exponential average, seeded with the mean (TA-Lib)";
        /// `wma_20`: linearly weighted mean. Deviation of the close from it.
        Wma: "wma_20", Bps, "n=20", "linearly weighted mean";
        /// `dema_20`: Mulloy (1994), DEMA. Deviation of the close from it.
        Dema: "dema_20", Bps, "n=20", "Mulloy (1994), DEMA";
        /// `tema_20`: Mulloy (1994), TEMA. Deviation of the close from it.
        Tema: "tema_20", Bps, "n=20", "Mulloy (1994), TEMA";
        /// `trima_20`: triangularly weighted mean. Deviation of the close from it.
        Trima: "trima_20", Bps, "n=20", "triangularly weighted mean";
        /// `hma_14`: Hull (2005). Deviation of the close from it.
        Hma: "hma_14", Bps, "n=14", "Hull (2005)";
        /// `kama_10`: Kaufman (1995). Deviation of the close from it.
        Kama: "kama_10", Bps, "n=10,fast=2,slow=30", "Kaufman (1995)";
        /// `vwma_14`: volume-weighted mean. Deviation of the close from it.
        Vwma: "vwma_14", Bps, "n=14", "volume-weighted mean";
        /// `vwap_session`: volume-weighted typical price. Deviation of the close from it.
        Vwap: "vwap_session", Bps, "session=utc_day", "volume-weighted typical price";
        /// `rsi_14`: Wilder (1978).
        Rsi: "rsi_14", Percent, "n=14", "Wilder (1978)";
        /// `stoch_k_14_3`: Lane (1984).
        StochK: "stoch_k_14_3", Percent, "n=14,smooth=3", "Lane (1984)";
        /// `stoch_d_3`: Lane (1984).
        StochD: "stoch_d_3", Percent, "n=14,smooth=3,signal=3", "Lane (1984)";
        /// `stochrsi_k_14_5`: Chande, Kroll (1994).
        StochRsiK: "stochrsi_k_14_5", Percent, "rsi=14,n=5", "Chande, Kroll (1994)";
        /// `stochrsi_d_14_5_3`: Chande, Kroll (1994).
        StochRsiD: "stochrsi_d_14_5_3", Percent, "rsi=14,n=5,signal=3", "Chande, Kroll (1994)";
        /// `kdj_k`: KDJ, averages of weight 1/3 from 50.
        KdjK: "kdj_k", Percent, "n=9,smooth=3", "KDJ, averages of weight 1/3 from 50";
        /// `kdj_d`: KDJ, averages of weight 1/3 from 50.
        KdjD: "kdj_d", Percent, "n=9,smooth=3", "KDJ, averages of weight 1/3 from 50";
        /// `kdj_j`: KDJ, 3 k - 2 d.
        KdjJ: "kdj_j", Percent, "n=9,smooth=3", "KDJ, 3 k - 2 d";
        /// `willr_14`: Williams (1973).
        Williams: "willr_14", Percent, "n=14", "Williams (1973)";
        /// `cci_20`: Lambert (1980).
        Cci: "cci_20", Percent, "n=20", "Lambert (1980)";
        /// `cmo_14`: Chande, Kroll (1994), smoothed by Wilder (TA-Lib).
        Cmo: "cmo_14", Percent, "n=14", "Chande, Kroll (1994), smoothed by Wilder (TA-Lib)";
        /// `mfi_14`: Quong, Soudack (1989).
        Mfi: "mfi_14", Percent, "n=14", "Quong, Soudack (1989)";
        /// `ultosc`: Williams (1985).
        Ultimate: "ultosc", Percent, "n=7,14,28", "Williams (1985)";
        /// `macd`: Appel (1979). In bps of the close.
        Macd: "macd", Bps, "fast=12,slow=26", "Appel (1979)";
        /// `macd_signal`: Appel (1979). In bps of the close.
        MacdSignal: "macd_signal", Bps, "fast=12,slow=26,signal=9", "Appel (1979)";
        /// `macd_histogram`: Appel (1979). In bps of the close.
        MacdHistogram: "macd_histogram", Bps, "fast=12,slow=26,signal=9", "Appel (1979)";
        /// `ppo`: Appel (1979), in percent of the slow average.
        Ppo: "ppo", Percent, "fast=12,slow=26", "Appel (1979), in percent of the slow average";
        /// `trix_15`: Hutson (1983).
        Trix: "trix_15", Percent, "n=15", "Hutson (1983)";
        /// `roc_10`: rate of change.
        Roc: "roc_10", Percent, "n=10", "rate of change";
        /// `momentum_10`: change of the close. In bps of the close.
        Momentum: "momentum_10", Bps, "n=10", "change of the close";
        /// `awesome`: Williams (1995). In bps of the close.
        Awesome: "awesome", Bps, "fast=5,slow=34", "Williams (1995)";
        /// `adx_14`: Wilder (1978).
        Adx: "adx_14", Percent, "n=14", "Wilder (1978)";
        /// `plus_di_14`: Wilder (1978).
        PlusDi: "plus_di_14", Percent, "n=14", "Wilder (1978)";
        /// `minus_di_14`: Wilder (1978).
        MinusDi: "minus_di_14", Percent, "n=14", "Wilder (1978)";
        /// `aroon_up_14`: Chande (1995).
        AroonUp: "aroon_up_14", Percent, "n=14", "Chande (1995)";
        /// `aroon_down_14`: Chande (1995).
        AroonDown: "aroon_down_14", Percent, "n=14", "Chande (1995)";
        /// `aroon_oscillator_14`: Chande (1995).
        AroonOscillator: "aroon_oscillator_14", Percent, "n=14", "Chande (1995)";
        /// `psar`: Wilder (1978). Deviation of the close from it.
        Psar: "psar", Bps, "step=0.02,most=0.2", "Wilder (1978)";
        /// `supertrend`: Seban (2008). Deviation of the close from it.
        SuperTrend: "supertrend", Bps, "n=10,width=3", "Seban (2008)";
        /// `ichimoku_tenkan`: Hosoda (1969). Deviation of the close from it.
        Tenkan: "ichimoku_tenkan", Bps, "n=9", "Hosoda (1969)";
        /// `ichimoku_kijun`: Hosoda (1969). Deviation of the close from it.
        Kijun: "ichimoku_kijun", Bps, "n=26", "Hosoda (1969)";
        /// `ichimoku_senkou_a`: Hosoda (1969). Deviation of the close from it.
        SenkouA: "ichimoku_senkou_a", Bps, "n=9,26,ahead=26", "Hosoda (1969)";
        /// `ichimoku_senkou_b`: Hosoda (1969). Deviation of the close from it.
        SenkouB: "ichimoku_senkou_b", Bps, "n=52,ahead=26", "Hosoda (1969)";
        /// `ichimoku_cloud_distance`: Hosoda (1969); 0 inside the cloud. In bps of the close.
        Cloud: "ichimoku_cloud_distance", Bps, "n=9,26,52,ahead=26", "Hosoda (1969); 0 inside the cloud";
        /// `vortex_up_14`: Botes, Siepman (2010).
        VortexUp: "vortex_up_14", Number, "n=14", "Botes, Siepman (2010)";
        /// `vortex_down_14`: Botes, Siepman (2010).
        VortexDown: "vortex_down_14", Number, "n=14", "Botes, Siepman (2010)";
        /// `true_range`: Wilder (1978). In bps of the close.
        TrueRange: "true_range", Bps, "", "Wilder (1978)";
        /// `atr_14`: Wilder (1978). In bps of the close.
        Atr: "atr_14", Bps, "n=14", "Wilder (1978)";
        /// `natr_14`: Wilder (1978), in percent of the close.
        Natr: "natr_14", Percent, "n=14", "Wilder (1978), in percent of the close";
        /// `bollinger_upper`: Bollinger (2001), population deviation. Deviation of the close from it.
        BollingerUpper: "bollinger_upper", Bps, "n=20,width=2", "Bollinger (2001), population deviation";
        /// `bollinger_middle`: Bollinger (2001). Deviation of the close from it.
        BollingerMiddle: "bollinger_middle", Bps, "n=20,width=2", "Bollinger (2001)";
        /// `bollinger_lower`: Bollinger (2001), population deviation. Deviation of the close from it.
        BollingerLower: "bollinger_lower", Bps, "n=20,width=2", "Bollinger (2001), population deviation";
        /// `bollinger_percent_b`: Bollinger (2001).
        BollingerPercent: "bollinger_percent_b", Number, "n=20,width=2", "Bollinger (2001)";
        /// `bollinger_width`: Bollinger (2001).
        BollingerWidth: "bollinger_width", Number, "n=20,width=2", "Bollinger (2001)";
        /// `keltner_upper`: Raschke (1995). Deviation of the close from it.
        KeltnerUpper: "keltner_upper", Bps, "n=20,width=2,atr=10", "Raschke (1995)";
        /// `keltner_middle`: Raschke (1995). Deviation of the close from it.
        KeltnerMiddle: "keltner_middle", Bps, "n=20,width=2,atr=10", "Raschke (1995)";
        /// `keltner_lower`: Raschke (1995). Deviation of the close from it.
        KeltnerLower: "keltner_lower", Bps, "n=20,width=2,atr=10", "Raschke (1995)";
        /// `donchian_upper`: Donchian (1960), of the bars before the newest. Deviation of the close from it.
        DonchianUpper: "donchian_upper", Bps, "n=20", "Donchian (1960), of the bars before the newest";
        /// `donchian_middle`: Donchian (1960), of the bars before the newest. Deviation of the close from it.
        DonchianMiddle: "donchian_middle", Bps, "n=20", "Donchian (1960), of the bars before the newest";
        /// `donchian_lower`: Donchian (1960), of the bars before the newest. Deviation of the close from it.
        DonchianLower: "donchian_lower", Bps, "n=20", "Donchian (1960), of the bars before the newest";
        /// `stddev_20`: population standard deviation. In bps of the close.
        Deviation: "stddev_20", Bps, "n=20", "population standard deviation";
        /// `variance_20`: population variance. In bps squared.
        Variance: "variance_20", Number, "n=20", "population variance";
        /// `chandelier_long`: LeBeau (1999). Deviation of the close from it.
        ChandelierLong: "chandelier_long", Bps, "n=22,width=3", "LeBeau (1999)";
        /// `chandelier_short`: LeBeau (1999). Deviation of the close from it.
        ChandelierShort: "chandelier_short", Bps, "n=22,width=3", "LeBeau (1999)";
        /// `ulcer_14`: Martin (1987).
        Ulcer: "ulcer_14", Percent, "n=14", "Martin (1987)";
        /// `obv_change_14`: Granville (1963), change per volume.
        Obv: "obv_change_14", Ratio, "n=14", "Granville (1963), change per volume";
        /// `ad_change_14`: Chaikin, change per volume.
        AccumulationDistribution: "ad_change_14", Ratio, "n=14", "Chaikin, change per volume";
        /// `cmf_20`: Chaikin.
        Cmf: "cmf_20", Ratio, "n=20", "Chaikin";
        /// `adosc_3_10`: Chaikin, per mean volume.
        ChaikinOscillator: "adosc_3_10", Number, "fast=3,slow=10,mean=14", "Chaikin, per mean volume";
        /// `force_13`: Elder (1993), per mean volume. In bps of the close.
        Force: "force_13", Bps, "n=13,mean=14", "Elder (1993), per mean volume";
        /// `ease_14`: Arms (1996), per mean volume and close. In bps of the close.
        Ease: "ease_14", Bps, "n=14", "Arms (1996), per mean volume and close";
        /// `nvi_change_14`: Fosback (1976), change.
        Nvi: "nvi_change_14", Bps, "n=14", "Fosback (1976), change";
        /// `pvi_change_14`: Fosback (1976), change.
        Pvi: "pvi_change_14", Bps, "n=14", "Fosback (1976), change";
        /// `pivot`: floor traders' pivots of the previous day. Deviation of the close from it.
        Pivot: "pivot", Bps, "classic,day=utc", "floor traders' pivots of the previous day";
        /// `pivot_r1`: floor traders' pivots of the previous day. Deviation of the close from it.
        PivotR1: "pivot_r1", Bps, "classic,day=utc", "floor traders' pivots of the previous day";
        /// `pivot_s1`: floor traders' pivots of the previous day. Deviation of the close from it.
        PivotS1: "pivot_s1", Bps, "classic,day=utc", "floor traders' pivots of the previous day";
        /// `pivot_r2`: floor traders' pivots of the previous day. Deviation of the close from it.
        PivotR2: "pivot_r2", Bps, "classic,day=utc", "floor traders' pivots of the previous day";
        /// `pivot_s2`: floor traders' pivots of the previous day. Deviation of the close from it.
        PivotS2: "pivot_s2", Bps, "classic,day=utc", "floor traders' pivots of the previous day";
        /// `linreg_slope_14`: least squares, per bar. In bps of the close.
        Slope: "linreg_slope_14", Bps, "n=14", "least squares, per bar";
        /// `linreg_intercept_14`: least squares, at the oldest bar. Deviation of the close from it.
        Intercept: "linreg_intercept_14", Bps, "n=14", "least squares, at the oldest bar";
        /// `linreg_r2_14`: least squares.
        RSquared: "linreg_r2_14", Share, "n=14", "least squares";
        /// `zscore_20`: close by mean and population deviation.
        ZScore: "zscore_20", Score, "n=20", "close by mean and population deviation";
        /// `hurst_48`: Mandelbrot, Wallis (1969), rescaled range.
        Hurst: "hurst_48", Number, "n=48,blocks=8..48", "Mandelbrot, Wallis (1969), rescaled range";
        /// `fractional_difference_20`: Lopez de Prado (2018), 5.4, of log prices.
        Fractional: "fractional_difference_20", Bps, "d=0.4,n=20", "Lopez de Prado (2018), 5.4, of log prices";
        /// `skew_30`: population skewness of log returns.
        Skew: "skew_30", Number, "n=30", "population skewness of log returns";
        /// `kurtosis_30`: population excess kurtosis of log returns.
        Kurtosis: "kurtosis_30", Number, "n=30", "population excess kurtosis of log returns";
        /// `autocorrelation_30`: Pearson, of log returns.
        Autocorrelation: "autocorrelation_30", Ratio, "n=30,lag=1", "Pearson, of log returns";
        /// `entropy_30`: Shannon (1948), of the returns' signs.
        Entropy: "entropy_30", Share, "n=30", "Shannon (1948), of the returns' signs";
        /// `correl_high_low_30`: Pearson, of highs and lows.
        CorrelHighLow: "correl_high_low_30", Ratio, "n=30", "Pearson, of highs and lows";
        /// `efficiency_10`: Kaufman (1995).
        Efficiency: "efficiency_10", Share, "n=10", "Kaufman (1995)";
    }
}

/// Their rows.
pub const ROWS: [Row; Indicator::COUNT] = Indicator::ROWS;
/// Bars over which cumulative indicators give their change.
pub const CHANGE_BARS: usize = 14;
/// Bars that typical prices are kept for.
const TYPICAL_KEPT: usize = 21;
/// Bars by which Ichimoku's cloud is ahead.
const CLOUD_AHEAD: usize = 26;
/// Log prices kept, for [`window::hurst`].
const LOGS_KEPT: usize = window::HURST_RETURNS + 1;
/// Order and weights of the fractional difference.
const FRACTION: (f64, usize) = (0.4, 20);
/// Seconds in a session.
const DAY_S: u64 = 86_400;

/// The indicators at the close of one bar; NaN is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    classical: [f64; Indicator::COUNT],
    rows: [f64; Indicator::COUNT],
    close: f64,
}

impl Raw {
    const fn new(close: f64) -> Self {
        Self {
            classical: [f64::NAN; Indicator::COUNT],
            rows: [f64::NAN; Indicator::COUNT],
            close,
        }
    }

    /// The classical value, when it is known.
    #[must_use]
    pub fn get(&self, indicator: Indicator) -> Option<f64> {
        let value = self.classical[indicator as usize];
        value.is_finite().then_some(value)
    }

    /// The values of the rows.
    #[must_use]
    pub fn values(&self) -> Values<{ Indicator::COUNT }> {
        let mut values = Values::UNKNOWN;
        for (place, value) in self.rows.into_iter().enumerate() {
            values.set(place, Some(value));
        }
        values
    }

    fn both(&mut self, indicator: Indicator, classical: Option<f64>, row: Option<f64>) {
        self.classical[indicator as usize] = classical.unwrap_or(f64::NAN);
        self.rows[indicator as usize] = row.unwrap_or(f64::NAN);
    }

    /// It stays as it is.
    fn same(&mut self, indicator: Indicator, value: Option<f64>) {
        self.both(indicator, value, value);
    }

    /// A price.
    fn level(&mut self, indicator: Indicator, value: Option<f64>) {
        let row = value.and_then(|level| Some((ratio(self.close, level)? - 1.0) * BPS));
        self.both(indicator, value, row);
    }

    /// A difference of prices.
    fn difference(&mut self, indicator: Indicator, value: Option<f64>) {
        let row = value.and_then(|value| Some(ratio(value, self.close)? * BPS));
        self.both(indicator, value, row);
    }
}

/// The high, low and close of a day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Day {
    number: u64,
    /// Its first bar began with it.
    whole: bool,
    high: f64,
    low: f64,
    close: f64,
    /// Sum of typical price times volume, and of volume.
    money: f64,
    volume: f64,
}

/// What the recursive indicators of one timeframe remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Indicators {
    typical: Last<TYPICAL_KEPT>,
    middle: Last<34>,
    logs: Last<LOGS_KEPT>,
    ema12: Average,
    ema26: Average,
    signal: Average,
    triple20: Triple,
    triple15: Triple,
    trix: Option<f64>,
    kama: Kama,
    strength: Strength,
    rsi: Last<5>,
    stochrsi: Last<3>,
    stochastic: Last<3>,
    smoothed: Last<3>,
    kdj: Option<(f64, f64)>,
    direction: Direction,
    parabola: Parabola,
    supertrend: SuperTrend,
    cloud: Last<{ CLOUD_AHEAD + 1 }>,
    cloud_b: Last<{ CLOUD_AHEAD + 1 }>,
    atr10: Average,
    atr14: Average,
    atr22: Average,
    obv: Last<{ CHANGE_BARS + 1 }>,
    ad: Last<{ CHANGE_BARS + 1 }>,
    chaikin: Option<(f64, f64)>,
    force: Average,
    nvi: Last<{ CHANGE_BARS + 1 }>,
    pvi: Last<{ CHANGE_BARS + 1 }>,
    today: Option<Day>,
    yesterday: Option<Day>,
}

impl Indicators {
    /// Nothing observed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest bar of the series, which began at that second, has just closed.
    pub fn close(&mut self, series: &Series, start_s: u64) -> Raw {
        let mut raw = Raw::new(f64::NAN);
        let (Some(high), Some(low), Some(close)) = (
            series.high().last(),
            series.low().last(),
            series.close().last(),
        ) else {
            return raw;
        };
        raw.close = *close;
        self.typical.push((high + low + close) / 3.0);
        self.middle.push((high + low) / 2.0);
        if *close > 0.0 {
            self.logs.push(libm::log(*close));
        } else {
            self.logs = Last::new();
        }
        let range = window::true_range(series.high(), series.low(), series.close());
        self.averages(&mut raw, series);
        self.oscillators(&mut raw, series);
        self.trends(&mut raw, series, range);
        self.bands(&mut raw, series, range);
        self.volumes(&mut raw, series);
        self.day(&mut raw, series, start_s);
        self.statistics(&mut raw, series);
        raw
    }

    fn averages(&mut self, raw: &mut Raw, series: &Series) {
        use Indicator as I;
        let close = series.close();
        let now = raw.close;
        raw.level(I::Sma, sma(close, 20));
        let (fast, slow) = (self.ema12.ema(now, 12), self.ema26.ema(now, 26));
        raw.level(I::Ema12, fast);
        raw.level(I::Ema26, slow);
        let macd = fast.zip(slow).map(|(fast, slow)| fast - slow);
        let signal = macd.and_then(|macd| self.signal.ema(macd, 9));
        raw.difference(I::Macd, macd);
        raw.difference(I::MacdSignal, signal);
        raw.difference(
            I::MacdHistogram,
            macd.zip(signal).map(|(macd, signal)| macd - signal),
        );
        raw.same(
            I::Ppo,
            macd.zip(slow)
                .and_then(|(macd, slow)| Some(ratio(macd, slow)? * 100.0)),
        );
        raw.level(I::Wma, window::wma(close, 20));
        let [one, two, three] = self.triple20.push(now, 20);
        raw.level(I::Dema, one.zip(two).map(|(one, two)| 2.0 * one - two));
        let tema = one.zip(two).zip(three);
        raw.level(
            I::Tema,
            tema.map(|((one, two), three)| 3.0 * one - 3.0 * two + three),
        );
        raw.level(I::Trima, window::trima(close, 20));
        raw.level(I::Hma, window::hma(close, 14));
        raw.level(I::Kama, self.kama.push(close, 10, 2.0, 30.0));
        raw.level(I::Vwma, window::vwma(close, series.volume(), 14));
        let third = self.triple15.push(now, 15)[2];
        let trix = third
            .zip(self.trix)
            .and_then(|(now, before)| ratio(now - before, before));
        raw.same(I::Trix, trix.map(|change| change * 100.0));
        self.trix = third;
    }

    fn oscillators(&mut self, raw: &mut Raw, series: &Series) {
        use Indicator as I;
        let (high, low, close) = (series.high(), series.low(), series.close());
        let change = window::momentum(close, 1);
        if let Some((gain, loss)) = change.and_then(|change| self.strength.push(change, 14)) {
            let percent = |part: f64| ratio(part, gain + loss).map_or(0.0, |share| share * 100.0);
            let rsi = percent(gain);
            raw.same(I::Rsi, Some(rsi));
            raw.same(I::Cmo, Some(percent(gain - loss)));
            self.rsi.push(rsi);
            let rsi = self.rsi.as_slice();
            if let Some(k) = window::stochastic(rsi, rsi, rsi, 5) {
                self.stochrsi.push(k);
                raw.same(I::StochRsiK, Some(k));
                raw.same(I::StochRsiD, sma(self.stochrsi.as_slice(), 3));
            }
        }
        if let Some(fast) = window::stochastic(high, low, close, 14) {
            self.stochastic.push(fast);
            if let Some(k) = sma(self.stochastic.as_slice(), 3) {
                self.smoothed.push(k);
                raw.same(I::StochK, Some(k));
                raw.same(I::StochD, sma(self.smoothed.as_slice(), 3));
            }
        }
        if let Some(fast) = window::stochastic(high, low, close, 9) {
            let (k, d) = self.kdj.unwrap_or((50.0, 50.0));
            let k = k + (fast - k) / 3.0;
            let d = d + (k - d) / 3.0;
            self.kdj = Some((k, d));
            raw.same(I::KdjK, Some(k));
            raw.same(I::KdjD, Some(d));
            raw.same(I::KdjJ, Some(3.0 * k - 2.0 * d));
        }
        raw.same(I::Williams, window::williams(high, low, close, 14));
        raw.same(I::Cci, window::cci(self.typical.as_slice(), 20));
        raw.same(
            I::Mfi,
            window::mfi(self.typical.as_slice(), series.volume(), 14),
        );
        raw.same(I::Ultimate, window::ultimate(high, low, close, 7));
        raw.same(I::Roc, window::roc(close, 10));
        raw.difference(I::Momentum, window::momentum(close, 10));
        let middle = self.middle.as_slice();
        let awesome = sma(middle, 5).zip(sma(middle, 34));
        raw.difference(I::Awesome, awesome.map(|(fast, slow)| fast - slow));
    }

    fn trends(&mut self, raw: &mut Raw, series: &Series, range: Option<f64>) {
        use Indicator as I;
        let (high, low, close) = (series.high(), series.low(), series.close());
        let direction = range.and_then(|range| self.direction.push(high, low, range, 14));
        if let Some((plus, minus, adx)) = direction {
            raw.same(I::PlusDi, Some(plus));
            raw.same(I::MinusDi, Some(minus));
            raw.same(I::Adx, adx);
        }
        if let Some((up, down)) = window::aroon(high, low, 14) {
            raw.same(I::AroonUp, Some(up));
            raw.same(I::AroonDown, Some(down));
            raw.same(I::AroonOscillator, Some(up - down));
        }
        raw.level(I::Psar, self.parabola.push(high, low, 0.02, 0.2));
        let middle = |n| Some((highest(high, n)? + lowest(low, n)?) / 2.0);
        let (tenkan, kijun) = (middle(9), middle(26));
        raw.level(I::Tenkan, tenkan);
        raw.level(I::Kijun, kijun);
        if let Some((tenkan, kijun)) = tenkan.zip(kijun) {
            self.cloud.push((tenkan + kijun) / 2.0);
        }
        if let Some(b) = middle(52) {
            self.cloud_b.push(b);
        }
        let ahead = |kept: &Last<{ CLOUD_AHEAD + 1 }>| {
            window::tail(kept.as_slice(), CLOUD_AHEAD + 1).map(|kept| kept[0])
        };
        let (a, b) = (ahead(&self.cloud), ahead(&self.cloud_b));
        raw.level(I::SenkouA, a);
        raw.level(I::SenkouB, b);
        let cloud = a
            .zip(b)
            .map(|(a, b)| (raw.close - a.max(b)).max(0.0) + (raw.close - a.min(b)).min(0.0));
        raw.difference(I::Cloud, cloud);
        if let Some((up, down)) = window::vortex(high, low, close, 14) {
            raw.same(I::VortexUp, Some(up));
            raw.same(I::VortexDown, Some(down));
        }
    }

    fn bands(&mut self, raw: &mut Raw, series: &Series, range: Option<f64>) {
        use Indicator as I;
        let (high, low, close) = (series.high(), series.low(), series.close());
        raw.difference(I::TrueRange, range);
        let atr10 = range.and_then(|range| self.atr10.wilder(range, 10));
        let atr14 = range.and_then(|range| self.atr14.wilder(range, 14));
        let atr22 = range.and_then(|range| self.atr22.wilder(range, 22));
        raw.difference(I::Atr, atr14);
        raw.same(
            I::Natr,
            atr14.and_then(|atr| Some(ratio(atr, raw.close)? * 100.0)),
        );
        let middle = (high[high.len() - 1] + low[low.len() - 1]) / 2.0;
        let trend = atr10.and_then(|atr| self.supertrend.push(middle, close, 3.0 * atr));
        raw.level(I::SuperTrend, trend.map(|(line, _)| line));
        let deviation = window::deviation(close, 20);
        raw.difference(I::Deviation, deviation);
        let variance = window::variance(close, 20);
        let square = variance.and_then(|value| ratio(value, raw.close * raw.close));
        raw.both(I::Variance, variance, square.map(|value| value * BPS * BPS));
        if let Some((mean, deviation)) = sma(close, 20).zip(deviation) {
            let (upper, lower) = (mean + 2.0 * deviation, mean - 2.0 * deviation);
            raw.level(I::BollingerUpper, Some(upper));
            raw.level(I::BollingerMiddle, Some(mean));
            raw.level(I::BollingerLower, Some(lower));
            raw.same(I::BollingerPercent, ratio(raw.close - lower, upper - lower));
            raw.same(I::BollingerWidth, ratio(upper - lower, mean));
            raw.same(I::ZScore, ratio(raw.close - mean, deviation));
        }
        // The average of 20 closes is the first of the three that DEMA and TEMA have.
        if let Some((middle, atr)) = self.triple20.first(20).zip(atr10) {
            raw.level(I::KeltnerUpper, Some(middle + 2.0 * atr));
            raw.level(I::KeltnerMiddle, Some(middle));
            raw.level(I::KeltnerLower, Some(middle - 2.0 * atr));
        }
        let before = close.len() - 1;
        let donchian = highest(&high[..before], 20).zip(lowest(&low[..before], 20));
        raw.level(I::DonchianUpper, donchian.map(|(upper, _)| upper));
        raw.level(
            I::DonchianMiddle,
            donchian.map(|(upper, lower)| (upper + lower) / 2.0),
        );
        raw.level(I::DonchianLower, donchian.map(|(_, lower)| lower));
        let long = highest(high, 22)
            .zip(atr22)
            .map(|(high, atr)| high - 3.0 * atr);
        let short = lowest(low, 22).zip(atr22).map(|(low, atr)| low + 3.0 * atr);
        raw.level(I::ChandelierLong, long);
        raw.level(I::ChandelierShort, short);
        raw.same(I::Ulcer, window::ulcer(close, 14));
    }

    fn volumes(&mut self, raw: &mut Raw, series: &Series) {
        use Indicator as I;
        let (high, low, close, volume) =
            (series.high(), series.low(), series.close(), series.volume());
        let newest = volume.len() - 1;
        let now = volume[newest];
        let mean = sma(volume, CHANGE_BARS).filter(|mean| *mean > 0.0);
        let change = window::momentum(close, 1);
        let last = |kept: &Last<{ CHANGE_BARS + 1 }>| kept.as_slice().last().copied();
        let sign = change.map_or(1.0, |change| {
            f64::from(i8::from(change > 0.0) - i8::from(change < 0.0))
        });
        self.obv.push(last(&self.obv).unwrap_or(0.0) + sign * now);
        let flow = window::multiplier(high[newest], low[newest], raw.close) * now;
        let ad = last(&self.ad).unwrap_or(0.0) + flow;
        self.ad.push(ad);
        let traded = mean.map(|mean| mean * CHANGE_BARS as f64);
        let share = |kept: &Last<{ CHANGE_BARS + 1 }>| {
            ratio(window::momentum(kept.as_slice(), CHANGE_BARS)?, traded?)
        };
        raw.both(I::Obv, last(&self.obv), share(&self.obv));
        raw.both(I::AccumulationDistribution, Some(ad), share(&self.ad));
        let (fast, slow) = self.chaikin.unwrap_or((ad, ad));
        let (fast, slow) = (
            fast + (ad - fast) * 2.0 / 4.0,
            slow + (ad - slow) * 2.0 / 11.0,
        );
        self.chaikin = Some((fast, slow));
        let oscillator = (close.len() >= 10).then_some(fast - slow);
        raw.both(
            I::ChaikinOscillator,
            oscillator,
            oscillator.zip(mean).map(|(value, mean)| value / mean),
        );
        raw.same(I::Cmf, window::cmf(high, low, close, volume, 20));
        let force = change.and_then(|change| self.force.ema(change * now, 13));
        let per_mean = force
            .zip(mean)
            .and_then(|(force, mean)| ratio(force, mean * raw.close));
        raw.both(I::Force, force, per_mean.map(|value| value * BPS));
        let ease = window::ease(high, low, volume, 14);
        let per_mean = ease
            .zip(mean)
            .and_then(|(ease, mean)| ratio(ease * mean, raw.close * raw.close));
        raw.both(I::Ease, ease, per_mean.map(|value| value * BPS));
        let grown = window::tail(close, 2)
            .and_then(|pair| ratio(pair[1], pair[0]))
            .unwrap_or(1.0);
        let before = window::tail(volume, 2).map_or(now, |pair| pair[0]);
        for (kept, counts, indicator) in [
            (&mut self.nvi, now < before, I::Nvi),
            (&mut self.pvi, now > before, I::Pvi),
        ] {
            let index = kept.as_slice().last().copied().unwrap_or(1_000.0);
            let index = if counts { index * grown } else { index };
            // An index that left every scale begins anew.
            kept.push(if (1e-100..1e100).contains(&index) {
                index
            } else {
                1_000.0
            });
            let change = window::roc(kept.as_slice(), CHANGE_BARS).map(|percent| percent * 100.0);
            raw.both(indicator, kept.as_slice().last().copied(), change);
        }
    }

    fn day(&mut self, raw: &mut Raw, series: &Series, start_s: u64) {
        use Indicator as I;
        let newest = series.len() - 1;
        let (high, low, volume) = (
            series.high()[newest],
            series.low()[newest],
            series.volume()[newest],
        );
        let typical = (high + low + raw.close) / 3.0;
        let number = start_s / DAY_S;
        match &mut self.today {
            Some(day) if day.number == number => {
                day.high = day.high.max(high);
                day.low = day.low.min(low);
                day.close = raw.close;
                day.money += typical * volume;
                day.volume += volume;
            }
            today => {
                self.yesterday = today.take().filter(|day| day.whole);
                *today = Some(Day {
                    number,
                    whole: start_s.is_multiple_of(DAY_S),
                    high,
                    low,
                    close: raw.close,
                    money: typical * volume,
                    volume,
                });
            }
        }
        let whole = self.today.filter(|day| day.whole);
        raw.level(I::Vwap, whole.and_then(|day| ratio(day.money, day.volume)));
        if let Some(day) = self.yesterday {
            let pivot = (day.high + day.low + day.close) / 3.0;
            raw.level(I::Pivot, Some(pivot));
            raw.level(I::PivotR1, Some(2.0 * pivot - day.low));
            raw.level(I::PivotS1, Some(2.0 * pivot - day.high));
            raw.level(I::PivotR2, Some(pivot + (day.high - day.low)));
            raw.level(I::PivotS2, Some(pivot - (day.high - day.low)));
        }
    }

    fn statistics(&self, raw: &mut Raw, series: &Series) {
        use Indicator as I;
        let close = series.close();
        if let Some((slope, intercept, fit)) = window::regression(close, 14) {
            raw.difference(I::Slope, Some(slope));
            raw.level(I::Intercept, Some(intercept));
            raw.same(I::RSquared, Some(fit));
        }
        raw.same(
            I::CorrelHighLow,
            window::correlation(series.high(), series.low(), 30),
        );
        raw.same(I::Efficiency, window::efficiency(close, 10));
        let logs = self.logs.as_slice();
        let (d, n) = FRACTION;
        let origin = window::tail(logs, n).map_or(0.0, |window| window[0]);
        let local = window::fractional(logs, d, n, origin).map(|value| value * BPS);
        raw.both(I::Fractional, window::fractional(logs, d, n, 0.0), local);
        let mut returns = [0.0; LOGS_KEPT - 1];
        for (to, pair) in returns.iter_mut().zip(logs.windows(2)) {
            *to = pair[1] - pair[0];
        }
        let returns = &returns[..logs.len().saturating_sub(1)];
        if let Some((skew, kurtosis)) = window::shape(returns, 30) {
            raw.same(I::Skew, Some(skew));
            raw.same(I::Kurtosis, Some(kurtosis));
        }
        let lagged = window::tail(returns, 31).map(|lagged| &lagged[..30]);
        raw.same(
            I::Autocorrelation,
            lagged.and_then(|lagged| window::correlation(returns, lagged, 30)),
        );
        raw.same(I::Entropy, window::entropy(returns, 30));
        raw.same(I::Hurst, window::hurst(returns));
    }
}
