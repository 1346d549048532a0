//! Indicators against values that others computed: TA-Lib on 3000 hours of Bitcoin, and the reference
//! results of Stock.Indicators on 502 days of a fund. Every column and field is either compared or
//! listed with the reason why it is not. `docs/INDICATORS.md` has the differences that this prints.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tickerml_shared::features::bars::{Bar, Series};
use tickerml_shared::features::indicators::recursive::{Last, Triple};
use tickerml_shared::features::indicators::window;
use tickerml_shared::features::indicators::{Indicator as I, Indicators, Raw};

/// The largest difference, relative to the value or the column's [`Scale`].
const TOLERANCE: f64 = 1e-9;
/// Bars after which an average forgot how it was seeded to within [`TOLERANCE`].
const SETTLED: usize = 400;

/// The least that a difference is compared with.
#[derive(Clone, Copy)]
enum Scale {
    /// The close: differences of prices come from subtracting prices.
    Price,
    /// The close squared.
    Square,
    /// A fixed number: 100 for percentages, 1 for ratios.
    Fixed(f64),
    /// The bar's volume.
    Volume,
}

impl Scale {
    fn of(self, bar: &Bar) -> f64 {
        match self {
            Self::Price => bar.close,
            Self::Square => bar.close * bar.close,
            Self::Fixed(number) => number,
            Self::Volume => bar.volume,
        }
    }
}

const PERCENT: Scale = Scale::Fixed(100.0);
const ONE: Scale = Scale::Fixed(1.0);

/// TA-Lib's columns, what they are here, and the bars after which they are compared.
const TALIB: [(&str, I, Scale, usize); 43] = [
    ("SMA_20", I::Sma, Scale::Price, 0),
    ("EMA_12", I::Ema12, Scale::Price, 0),
    ("EMA_26", I::Ema26, Scale::Price, 0),
    ("WMA_20", I::Wma, Scale::Price, 0),
    ("DEMA_20", I::Dema, Scale::Price, 0),
    ("TEMA_20", I::Tema, Scale::Price, 0),
    ("KAMA_10", I::Kama, Scale::Price, 0),
    ("TRIMA_20", I::Trima, Scale::Price, 0),
    ("RSI_14", I::Rsi, PERCENT, 0),
    ("MACD", I::Macd, Scale::Price, SETTLED),
    ("MACD_SIGNAL", I::MacdSignal, Scale::Price, SETTLED),
    ("MACD_HIST", I::MacdHistogram, Scale::Price, SETTLED),
    ("BB_UP_20_2", I::BollingerUpper, Scale::Price, 0),
    ("BB_MID", I::BollingerMiddle, Scale::Price, 0),
    ("BB_LO", I::BollingerLower, Scale::Price, 0),
    ("ATR_14", I::Atr, Scale::Price, 0),
    ("NATR_14", I::Natr, PERCENT, 0),
    ("TRANGE", I::TrueRange, Scale::Price, 0),
    ("ADX_14", I::Adx, PERCENT, SETTLED),
    ("PLUS_DI_14", I::PlusDi, PERCENT, SETTLED),
    ("MINUS_DI_14", I::MinusDi, PERCENT, SETTLED),
    ("STOCH_K_14_3", I::StochK, PERCENT, 0),
    ("STOCH_D_3", I::StochD, PERCENT, 0),
    ("STOCHRSI_K", I::StochRsiK, PERCENT, 0),
    ("STOCHRSI_D", I::StochRsiD, PERCENT, 0),
    ("CCI_20", I::Cci, PERCENT, 0),
    ("MFI_14", I::Mfi, PERCENT, 0),
    ("OBV", I::Obv, Scale::Volume, 0),
    ("AD", I::AccumulationDistribution, Scale::Volume, 0),
    ("ADOSC_3_10", I::ChaikinOscillator, Scale::Volume, 0),
    ("WILLR_14", I::Williams, PERCENT, 0),
    ("ROC_10", I::Roc, PERCENT, 0),
    ("MOM_10", I::Momentum, Scale::Price, 0),
    ("CMO_14", I::Cmo, PERCENT, 0),
    ("TRIX_15", I::Trix, PERCENT, 0),
    ("ULTOSC", I::Ultimate, PERCENT, 0),
    ("AROON_DOWN_14", I::AroonDown, PERCENT, 0),
    ("AROON_UP_14", I::AroonUp, PERCENT, 0),
    ("SAR", I::Psar, Scale::Price, 0),
    ("STDDEV_20", I::Deviation, Scale::Price, 0),
    ("VAR_20", I::Variance, Scale::Square, 0),
    ("LINEARREG_SLOPE_14", I::Slope, Scale::Price, 0),
    ("CORREL_HL_30", I::CorrelHighLow, ONE, 0),
];

/// What one value of a peer is here, from the bars and the indicators of the newest.
type Ours = Box<dyn FnMut(&Series, &Raw) -> Option<f64>>;

fn row(indicator: I) -> Ours {
    Box::new(move |_, raw| raw.get(indicator))
}

fn of(function: fn(&Series) -> Option<f64>) -> Ours {
    Box::new(move |series, _| function(series))
}

fn pair(one: fn(f64, f64) -> f64, first: I, second: I) -> Ours {
    Box::new(move |_, raw| Some(one(raw.get(first)?, raw.get(second)?)))
}

fn triple(n: u32, combine: fn([Option<f64>; 3]) -> Option<f64>) -> Ours {
    let mut parts = Triple::new();
    Box::new(move |series, _| combine(parts.push(*series.close().last()?, n)))
}

/// The stochastic of the RSI over 14 bars, and its mean of 3: the rows have TA-Lib's 5 bars.
fn stochastic_rsi(smooth: usize) -> Ours {
    let (mut kept, mut smoothed) = (Last::<14>::new(), Last::<3>::new());
    Box::new(move |_, raw| {
        kept.push(raw.get(I::Rsi)?);
        let kept = kept.as_slice();
        smoothed.push(window::stochastic(kept, kept, kept, 14)?);
        window::sma(smoothed.as_slice(), smooth)
    })
}

fn money_flow(series: &Series) -> Option<f64> {
    let (high, low, close) = (series.high(), series.low(), series.close());
    Some(window::multiplier(
        *high.last()?,
        *low.last()?,
        *close.last()?,
    ))
}

/// Fields of Stock.Indicators' results, `file.field`.
fn stock() -> Vec<Field> {
    let mut fields = stock_adx_to_mfi();
    fields.extend(stock_obv_to_wma());
    fields
}

/// A field, how we compute it, what a difference is measured by, and the bars until it has settled.
type Field = (&'static str, Ours, Scale, usize);

fn stock_adx_to_mfi() -> Vec<Field> {
    const P: Scale = Scale::Price;
    vec![
        ("adx.pdi", row(I::PlusDi), PERCENT, 350),
        ("adx.mdi", row(I::MinusDi), PERCENT, 350),
        ("adx.adx", row(I::Adx), PERCENT, 350),
        (
            "aroon.aroonUp",
            of(|s| Some(window::aroon(s.high(), s.low(), 25)?.0)),
            PERCENT,
            0,
        ),
        (
            "aroon.aroonDown",
            of(|s| Some(window::aroon(s.high(), s.low(), 25)?.1)),
            PERCENT,
            0,
        ),
        (
            "aroon.oscillator",
            of(|s| window::aroon(s.high(), s.low(), 25).map(|(up, down)| up - down)),
            PERCENT,
            0,
        ),
        ("atr.tr", row(I::TrueRange), P, 0),
        ("atr.atr", row(I::Atr), P, 0),
        ("atr.atrp", row(I::Natr), PERCENT, 0),
        ("bb.sma", row(I::BollingerMiddle), P, 0),
        ("bb.upperBand", row(I::BollingerUpper), P, 0),
        ("bb.lowerBand", row(I::BollingerLower), P, 0),
        ("bb.percentB", row(I::BollingerPercent), ONE, 0),
        ("bb.zScore", row(I::ZScore), ONE, 0),
        ("bb.width", row(I::BollingerWidth), ONE, 0),
        ("cci.cci", row(I::Cci), PERCENT, 0),
        ("cmf.moneyFlowMultiplier", of(money_flow), ONE, 0),
        (
            "cmf.moneyFlowVolume",
            of(|s| Some(money_flow(s)? * s.volume().last()?)),
            Scale::Volume,
            0,
        ),
        ("cmf.cmf", row(I::Cmf), ONE, 0),
        (
            "dema.dema",
            triple(14, |[one, two, _]| Some(2.0 * one? - two?)),
            P,
            SETTLED,
        ),
        ("donchian.upperBand", row(I::DonchianUpper), P, 0),
        ("donchian.centerline", row(I::DonchianMiddle), P, 0),
        ("donchian.lowerBand", row(I::DonchianLower), P, 0),
        ("ema.ema", row(I::KeltnerMiddle), P, 0),
        ("hma.hma", row(I::Hma), P, 0),
        ("kama.er", row(I::Efficiency), ONE, 0),
        ("kama.kama", row(I::Kama), P, 10),
        ("keltner.upperBand", row(I::KeltnerUpper), P, 0),
        ("keltner.centerline", row(I::KeltnerMiddle), P, 0),
        ("keltner.lowerBand", row(I::KeltnerLower), P, 0),
        ("macd.macd", row(I::Macd), P, 0),
        ("macd.signal", row(I::MacdSignal), P, 0),
        ("macd.histogram", row(I::MacdHistogram), P, 0),
        ("macd.fastEma", row(I::Ema12), P, 0),
        ("macd.slowEma", row(I::Ema26), P, 0),
        ("mfi.mfi", row(I::Mfi), PERCENT, 0),
    ]
}

fn stock_obv_to_wma() -> Vec<Field> {
    const P: Scale = Scale::Price;
    vec![
        // TA-Lib begins with the first volume, this one with nothing.
        (
            "obv.obv",
            {
                let mut first = None;
                Box::new(move |series, raw| {
                    let first = *first.get_or_insert(*series.volume().last()?);
                    Some(raw.get(I::Obv)? - first)
                })
            },
            Scale::Volume,
            0,
        ),
        ("psar.sar", row(I::Psar), P, 100),
        (
            "roc.momentum",
            of(|s| window::momentum(s.close(), 14)),
            P,
            0,
        ),
        ("roc.roc", of(|s| window::roc(s.close(), 14)), PERCENT, 0),
        ("rsi.rsi", row(I::Rsi), PERCENT, 0),
        ("slope.slope", row(I::Slope), P, 0),
        (
            "slope.stdDev",
            of(|s| window::deviation(s.close(), 14)),
            P,
            0,
        ),
        ("slope.rSquared", row(I::RSquared), ONE, 0),
        // Counted from the first bar of all there, from the first of the window here.
        (
            "slope.intercept",
            {
                let mut bars = 0.0;
                Box::new(move |_, raw| {
                    bars += 1.0;
                    Some(raw.get(I::Intercept)? - raw.get(I::Slope)? * (bars - 13.0))
                })
            },
            P,
            0,
        ),
        ("sma.sma", row(I::Sma), P, 0),
        (
            "stdev.stdDev",
            of(|s| window::deviation(s.close(), 14)),
            P,
            0,
        ),
        ("stdev.mean", of(|s| window::sma(s.close(), 14)), P, 0),
        (
            "stdev.zScore",
            of(|s| {
                Some(
                    (s.close().last()? - window::sma(s.close(), 14)?)
                        / window::deviation(s.close(), 14)?,
                )
            }),
            ONE,
            0,
        ),
        ("stoch-rsi.stochRsi", stochastic_rsi(1), PERCENT, 0),
        ("stoch-rsi.signal", stochastic_rsi(3), PERCENT, 0),
        ("stoch.oscillator", row(I::StochK), PERCENT, 0),
        ("stoch.signal", row(I::StochD), PERCENT, 0),
        ("stoch.k", row(I::StochK), PERCENT, 0),
        ("stoch.d", row(I::StochD), PERCENT, 0),
        (
            "stoch.j",
            pair(|k, d| 3.0 * k - 2.0 * d, I::StochK, I::StochD),
            PERCENT,
            0,
        ),
        (
            "stoch.percentJ",
            pair(|k, d| 3.0 * k - 2.0 * d, I::StochK, I::StochD),
            PERCENT,
            0,
        ),
        ("supertrend.superTrend", row(I::SuperTrend), P, 0),
        ("tema.tema", row(I::Tema), P, SETTLED),
        ("tr.tr", row(I::TrueRange), P, 0),
        ("vwap.vwap", row(I::Vwap), P, 0),
        ("vwma.vwma", row(I::Vwma), P, 0),
        ("willr.williamsR", row(I::Williams), PERCENT, 0),
        ("wma.wma", of(|s| window::wma(s.close(), 14)), P, 0),
    ]
}

/// Fields that are not compared, and why.
const DIFFERENT: [(&str, &str); 9] = [
    (
        "adx.dx",
        "not an indicator here: the step between DI and ADX",
    ),
    ("adx.adxr", "not an indicator here"),
    (
        "donchian.width",
        "not an indicator here: it follows from the bands",
    ),
    (
        "keltner.width",
        "not an indicator here: it follows from the bands",
    ),
    ("psar.isReversal", "not a number"),
    (
        "slope.line",
        "drawn for the last window only; intercept and slope are compared",
    ),
    ("supertrend.upperBand", "the line itself while it falls"),
    ("supertrend.lowerBand", "the line itself while it rises"),
    ("timestamp", "not a value"),
];

/// Fields that differ on so many bars because of a definition, and why.
const EXCEPTIONS: [(&str, usize, &str); 4] = [
    (
        "aroon.aroonDown",
        1,
        "of equal extremes the oldest counts there, the newest in TA-Lib",
    ),
    (
        "aroon.aroonUp",
        1,
        "of equal extremes the oldest counts there, the newest in TA-Lib",
    ),
    (
        "aroon.oscillator",
        2,
        "of equal extremes the oldest counts there, the newest in TA-Lib",
    ),
    (
        "psar.sar",
        1,
        "a stop that turns is not moved out of the bar there; in TA-Lib it is",
    ),
];

fn recorded() -> Option<PathBuf> {
    let root = std::env::var_os("TICKERML_DATA")
        .map_or_else(|| crate::root().join("../shared/data"), PathBuf::from);
    let path = root.join("indicator-golden");
    if path.exists() {
        return Some(path);
    }
    println!("SKIP indicator-golden: no recorded data");
    None
}

fn text(path: &Path) -> String {
    let packed = std::fs::read(path).expect("a readable file");
    let mut text = String::new();
    zstd::stream::read::Decoder::new(packed.as_slice())
        .expect("zstd")
        .read_to_string(&mut text)
        .expect("text");
    text
}

fn bar(cells: &[&str]) -> Bar {
    let number = |index: usize| cells[index].parse::<f64>().expect("a number");
    Bar {
        open: number(0),
        high: number(1),
        low: number(2),
        close: number(3),
        volume: number(4),
        value: number(4) * number(3),
        bought: 0.0,
    }
}

/// The largest difference of a column, and from how many values.
#[derive(Clone, Copy, Default)]
struct Worst {
    difference: f64,
    compared: usize,
    /// Bars over the tolerance.
    apart: usize,
}

impl Worst {
    fn compare(&mut self, ours: Option<f64>, theirs: f64, scale: f64) {
        let difference = ours.map_or(f64::INFINITY, |ours| {
            (ours - theirs).abs() / theirs.abs().max(scale)
        });
        if difference > TOLERANCE {
            self.apart += 1;
        } else {
            self.difference = self.difference.max(difference);
        }
        self.compared += 1;
    }
}

fn report(found: &BTreeMap<&str, Worst>) {
    let mut wrong = Vec::new();
    for (name, worst) in found {
        let Worst {
            difference,
            compared,
            apart,
        } = worst;
        println!("{name}: {difference:.1e} over {compared}, {apart} apart");
        let exception = EXCEPTIONS.iter().find(|(field, ..)| field == name);
        if *apart != exception.map_or(0, |(_, bars, _)| *bars) || *compared == 0 {
            wrong.push(*name);
        }
    }
    assert!(wrong.is_empty(), "different: {wrong:?}");
}

#[test]
fn indicators_equal_talib() {
    let Some(folder) = recorded() else { return };
    let csv = text(&folder.join("talib/BTCUSDT_1h_talib.csv.zst"));
    let mut lines = csv.lines();
    let names: Vec<_> = lines.next().expect("a head").split(',').collect();
    let listed: Vec<_> = TALIB.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names[6..], listed, "every column is compared");
    let (mut series, mut indicators) = (Series::new(), Indicators::new());
    let mut found: BTreeMap<_, _> = listed
        .iter()
        .map(|name| (*name, Worst::default()))
        .collect();
    for (index, line) in lines.enumerate() {
        let cells: Vec<_> = line.split(',').collect();
        let bar = bar(&cells[1..6]);
        series.push(&bar);
        let start_s = cells[0].parse::<u64>().expect("a stamp") / 1_000;
        let raw = indicators.close(&series, start_s);
        for ((name, indicator, scale, warm), theirs) in TALIB.iter().zip(&cells[6..]) {
            if index >= *warm && !theirs.is_empty() {
                let theirs = theirs.parse().expect("a number");
                let worst = found.get_mut(name).expect("listed");
                worst.compare(raw.get(*indicator), theirs, scale.of(&bar));
            }
        }
    }
    report(&found);
}

#[test]
fn indicators_equal_stock_indicators() {
    let Some(folder) = recorded() else { return };
    let folder = folder.join("stock-indicators");
    let quotes = text(&folder.join("quotes/default.csv.zst"));
    let mut results = BTreeMap::new();
    for entry in std::fs::read_dir(folder.join("results")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let (name, _) = name.split_once('.').expect("an ending");
        let rows: Vec<Value> = serde_json::from_str(&text(&path)).expect("JSON");
        results.insert(name.to_owned(), rows);
    }
    let mut peers = stock();
    for (file, rows) in &results {
        for field in rows[0].as_object().expect("an object").keys() {
            let name = format!("{file}.{field}");
            let listed = peers.iter().any(|(peer, ..)| *peer == name)
                || DIFFERENT
                    .iter()
                    .any(|(other, _)| *other == name || other == field);
            assert!(listed, "{name} is neither compared nor listed as different");
        }
    }
    let (mut series, mut indicators) = (Series::new(), Indicators::new());
    let mut found: BTreeMap<_, _> = peers
        .iter()
        .map(|(name, ..)| (*name, Worst::default()))
        .collect();
    for (index, line) in quotes.lines().skip(1).enumerate() {
        let cells: Vec<_> = line.split(',').collect();
        let bar = bar(&cells[1..6]);
        series.push(&bar);
        // All in one session, since their volume-weighted price has one.
        let raw = indicators.close(&series, index as u64);
        for (name, ours, scale, warm) in &mut peers {
            let ours = ours(&series, &raw);
            let (file, field) = name.split_once('.').expect("file.field");
            let theirs = results[file][index][field].as_f64();
            if let Some(theirs) = theirs.filter(|_| index >= *warm) {
                found
                    .get_mut(name)
                    .expect("listed")
                    .compare(ours, theirs, scale.of(&bar));
            }
        }
    }
    report(&found);
}
