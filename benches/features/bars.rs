//! The indicators of one bar on one timeframe: ours, those that the crates `ta` and `yata` have in common
//! with us, and TA-Lib computing all of its own anew over the newest bars.
//!
//! Ours makes all of its values at once, so the ratio is of the time that a value takes.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use ta::Next as _;
use ta::indicators as theirs;
use tickerml_benches::stats::Summary;
use tickerml_shared::features::alpha158;
use tickerml_shared::features::bars::{Bar, Series};
use tickerml_shared::features::indicators::{Indicator, Indicators};
use tickerml_shared::rand::Rng;
use yata::core::{IndicatorConfig, IndicatorInstance as _, Method as _};
use yata::{indicators as other, methods};

use crate::meter::Meter;
use crate::{PASSES, Row};

/// Bars of a pass: measured, and in a test run.
const BARS: (usize, usize) = (20_000, 200);
/// Bars after which the peers agree on averages.
const SETTLED: usize = 150;
/// They may differ by rounding.
const TOLERANCE: f64 = 1e-6;
/// What talib_batch.py ends with when there is no TA-Lib.
const SKIPPED: i32 = 77;

const WHAT: &str = "indicators of a bar";

fn bars(count: usize) -> Vec<Bar> {
    let mut rng = Rng::new(11, 1);
    let mut close = 65_000.0;
    let mut bar = || {
        let mut below = |bound: u64| rng.below(bound) as f64;
        let open = close;
        close = (open + below(201) - 100.0_f64).max(10_000.0);
        let (high, low) = (open.max(close) + below(50), open.min(close) - below(50));
        let volume = 1.0 + below(10_000) / 100.0;
        Bar {
            open,
            high,
            low,
            close,
            volume,
            value: volume * (high + low + close) / 3.0,
            bought: volume * below(101) / 100.0,
        }
    };
    (0..count).map(|_| bar()).collect()
}

/// Those of the crate `ta`.
struct Ta {
    sma: theirs::SimpleMovingAverage,
    ema: theirs::ExponentialMovingAverage,
    rsi: theirs::RelativeStrengthIndex,
    macd: theirs::MovingAverageConvergenceDivergence,
    ppo: theirs::PercentagePriceOscillator,
    atr: theirs::AverageTrueRange,
    bands: theirs::BollingerBands,
    cci: theirs::CommodityChannelIndex,
    mfi: theirs::MoneyFlowIndex,
    obv: theirs::OnBalanceVolume,
    stochastic: theirs::SlowStochastic,
    roc: theirs::RateOfChange,
    keltner: theirs::KeltnerChannel,
    deviation: theirs::StandardDeviation,
}

/// Values that [`Ta::next`] makes.
const TA_VALUES: usize = 22;

impl Ta {
    fn new() -> Option<Self> {
        Some(Self {
            sma: theirs::SimpleMovingAverage::new(20).ok()?,
            ema: theirs::ExponentialMovingAverage::new(20).ok()?,
            rsi: theirs::RelativeStrengthIndex::new(14).ok()?,
            macd: theirs::MovingAverageConvergenceDivergence::new(12, 26, 9).ok()?,
            ppo: theirs::PercentagePriceOscillator::new(12, 26, 9).ok()?,
            atr: theirs::AverageTrueRange::new(14).ok()?,
            bands: theirs::BollingerBands::new(20, 2.0).ok()?,
            cci: theirs::CommodityChannelIndex::new(20).ok()?,
            mfi: theirs::MoneyFlowIndex::new(14).ok()?,
            obv: theirs::OnBalanceVolume::new(),
            stochastic: theirs::SlowStochastic::new(14, 3).ok()?,
            roc: theirs::RateOfChange::new(10).ok()?,
            keltner: theirs::KeltnerChannel::new(20, 2.0).ok()?,
            deviation: theirs::StandardDeviation::new(20).ok()?,
        })
    }

    fn next(&mut self, bar: &ta::DataItem) -> [f64; TA_VALUES] {
        let macd = self.macd.next(bar);
        let ppo = self.ppo.next(bar);
        let bands = self.bands.next(bar);
        let keltner = self.keltner.next(bar);
        [
            self.sma.next(bar),
            self.ema.next(bar),
            bands.upper,
            bands.lower,
            self.rsi.next(bar),
            macd.macd,
            macd.signal,
            macd.histogram,
            ppo.ppo,
            ppo.signal,
            ppo.histogram,
            self.atr.next(bar),
            bands.average,
            self.cci.next(bar),
            self.mfi.next(bar),
            self.obv.next(bar),
            self.stochastic.next(bar),
            self.roc.next(bar),
            keltner.average,
            keltner.upper,
            keltner.lower,
            self.deviation.next(bar),
        ]
    }
}

type Candle = (f64, f64, f64, f64, f64);

type InstanceOf<T> = <T as IndicatorConfig>::Instance;

/// Those of the crate `yata`.
struct Yata {
    sma: methods::SMA,
    ema: methods::EMA,
    wma: methods::WMA,
    hma: methods::HMA,
    dema: methods::DEMA,
    tema: methods::TEMA,
    rsi: InstanceOf<other::RelativeStrengthIndex>,
    macd: InstanceOf<other::MACD>,
    bands: InstanceOf<other::BollingerBands>,
    cci: InstanceOf<other::CommodityChannelIndex>,
    mfi: InstanceOf<other::MoneyFlowIndex>,
    stochastic: InstanceOf<other::StochasticOscillator>,
    adx: InstanceOf<other::AverageDirectionalIndex>,
    aroon: InstanceOf<other::Aroon>,
    sar: InstanceOf<other::ParabolicSAR>,
    cmf: InstanceOf<other::ChaikinMoneyFlow>,
    donchian: InstanceOf<other::DonchianChannel>,
    keltner: InstanceOf<other::KeltnerChannel>,
    kaufman: InstanceOf<other::Kaufman>,
    ichimoku: InstanceOf<other::IchimokuCloud>,
}

impl Yata {
    fn new(first: &Candle) -> Option<Self> {
        let close = &first.3;
        Some(Self {
            sma: methods::SMA::new(20, close).ok()?,
            ema: methods::EMA::new(20, close).ok()?,
            wma: methods::WMA::new(20, close).ok()?,
            hma: methods::HMA::new(20, close).ok()?,
            dema: methods::DEMA::new(20, close).ok()?,
            tema: methods::TEMA::new(20, close).ok()?,
            rsi: other::RelativeStrengthIndex::default().init(first).ok()?,
            macd: other::MACD::default().init(first).ok()?,
            bands: other::BollingerBands::default().init(first).ok()?,
            cci: other::CommodityChannelIndex::default().init(first).ok()?,
            mfi: other::MoneyFlowIndex::default().init(first).ok()?,
            stochastic: other::StochasticOscillator::default().init(first).ok()?,
            adx: other::AverageDirectionalIndex::default().init(first).ok()?,
            aroon: other::Aroon::default().init(first).ok()?,
            sar: other::ParabolicSAR::default().init(first).ok()?,
            cmf: other::ChaikinMoneyFlow::default().init(first).ok()?,
            donchian: other::DonchianChannel::default().init(first).ok()?,
            keltner: other::KeltnerChannel::default().init(first).ok()?,
            kaufman: other::Kaufman::default().init(first).ok()?,
            ichimoku: other::IchimokuCloud::default().init(first).ok()?,
        })
    }

    /// The averages that can be compared, and how many values there were.
    fn next(&mut self, bar: &Candle) -> ([f64; 2], usize) {
        let close = &bar.3;
        let averages = [
            self.sma.next(close),
            self.ema.next(close),
            self.wma.next(close),
            self.hma.next(close),
            self.dema.next(close),
            self.tema.next(close),
        ];
        black_box(averages);
        let bands = self.bands.next(bar);
        let results = [
            self.rsi.next(bar),
            self.macd.next(bar),
            self.cci.next(bar),
            self.mfi.next(bar),
            self.stochastic.next(bar),
            self.adx.next(bar),
            self.aroon.next(bar),
            self.sar.next(bar),
            self.cmf.next(bar),
            self.donchian.next(bar),
            self.keltner.next(bar),
            self.kaufman.next(bar),
            self.ichimoku.next(bar),
        ];
        let values = results.iter().map(|result| result.values().len());
        let count = averages.len() + bands.values().len() + values.sum::<usize>();
        black_box(&results);
        ([averages[0], averages[1]], count)
    }
}

/// The two peers agree on averages of the same definition: they do the work. Ours has other units, and its
/// tests compare it with TA-Lib. Gives how many values the second makes.
fn assert_agreement(bars: &[Bar]) -> usize {
    let candles: Vec<_> = bars.iter().map(candle).collect();
    let mut ta = Ta::new().expect("valid parameters");
    let mut yata = Yata::new(&candles[0]).expect("valid parameters");
    let mut count = 0;
    for (place, (bar, candle)) in bars.iter().zip(&candles).enumerate() {
        let one = ta.next(&item(bar));
        let (other, values) = yata.next(candle);
        count = values;
        // They fill the windows before the first bars differently.
        if place < SETTLED {
            continue;
        }
        for (one, other) in one.iter().zip(other) {
            assert!(
                (one - other).abs() <= TOLERANCE * other.abs(),
                "bar {place}: {one} and {other}"
            );
        }
    }
    count
}

fn item(bar: &Bar) -> ta::DataItem {
    let item = ta::DataItem::builder()
        .open(bar.open)
        .high(bar.high)
        .low(bar.low)
        .close(bar.close)
        .volume(bar.volume);
    item.build().expect("a bar that makes sense")
}

const fn candle(bar: &Bar) -> Candle {
    (bar.open, bar.high, bar.low, bar.close, bar.volume)
}

pub(crate) fn rows(quick: bool) -> Vec<Row> {
    let bars = bars(if quick { BARS.1 } else { BARS.0 });
    let yata_values = assert_agreement(&bars);
    let (items, candles): (Vec<_>, Vec<_>) =
        bars.iter().map(|bar| (item(bar), candle(bar))).unzip();
    let mut meters: [Meter; 4] = Default::default();
    let warm = bars.len() / 3;
    for _ in 0..if quick { 1 } else { PASSES } {
        let [ours, factors, ta, yata] = &mut meters;
        let (mut series, mut indicators) = (Series::new(), Indicators::new());
        ours.begin(bars.len());
        factors.begin(bars.len());
        for (place, bar) in bars.iter().enumerate() {
            ours.time(place >= warm, || {
                series.push(bar);
                black_box(indicators.close(&series, 60 * place as u64).values());
            });
            factors.time(place >= warm, || black_box(alpha158::read(&series)));
        }
        ours.end();
        factors.end();
        let mut peer = Ta::new().expect("valid parameters");
        ta.begin(bars.len());
        for (place, item) in items.iter().enumerate() {
            ta.time(place >= warm, || black_box(peer.next(item)));
        }
        ta.end();
        let mut peer = Yata::new(&candles[0]).expect("valid parameters");
        yata.begin(bars.len());
        for (place, candle) in candles.iter().enumerate() {
            yata.time(place >= warm, || black_box(peer.next(candle)));
        }
        yata.end();
    }
    let [ours, factors, ta, yata] = &meters;
    for (meter, what) in [(ours, "indicators"), (factors, "Alpha158")] {
        assert_eq!(meter.heap_calls(), 0, "{what}: heap calls");
    }
    let mut rows = vec![
        Row::of("bars", WHAT, "ours", Indicator::COUNT, ours),
        Row::of("bars", WHAT, "ta 0.5, in common", TA_VALUES, ta),
        Row::of("bars", WHAT, "yata 0.7, in common", yata_values, yata),
        Row::of(
            "bars",
            "Alpha158 of a bar",
            "ours",
            alpha158::COUNT,
            factors,
        ),
    ];
    if !quick {
        rows.extend(talib(&bars));
    }
    rows
}

/// What talib_batch.py prints.
#[derive(Deserialize)]
struct Batch {
    version: String,
    window: usize,
    values: usize,
    count: usize,
    mean: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// TA-Lib, where it is at hand.
fn talib(bars: &[Bar]) -> Option<Row> {
    let Ok(python) = std::env::var("TICKERML_TALIB") else {
        println!(
            "SKIP TA-Lib: set TICKERML_TALIB to a Python that has it (benches/talib_batch.py says how)"
        );
        return None;
    };
    let rows = bars.iter().map(|bar| {
        format!(
            "{},{},{},{},{}\n",
            bar.open, bar.high, bar.low, bar.close, bar.volume
        )
    });
    let file = std::env::temp_dir().join(format!("tickerml-bars-{}.csv", std::process::id()));
    std::fs::write(&file, rows.collect::<String>()).expect("a folder for temporary files");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("talib_batch.py");
    let done = Command::new(&python).arg(script).arg(&file).output();
    std::fs::remove_file(&file).expect("written before");
    let done = match done {
        Ok(done) if done.status.success() => done.stdout,
        Ok(done) if done.status.code() == Some(SKIPPED) => {
            println!(
                "SKIP TA-Lib: {}",
                String::from_utf8_lossy(&done.stderr).trim()
            );
            return None;
        }
        Ok(done) => panic!("talib_batch.py: {}", String::from_utf8_lossy(&done.stderr)),
        Err(e) => {
            println!("SKIP TA-Lib: {python}: {e}");
            return None;
        }
    };
    let batch: Batch = serde_json::from_slice(&done).expect("what talib_batch.py prints");
    Some(Row {
        part: "bars",
        what: WHAT.to_owned(),
        way: format!(
            "TA-Lib {} anew over {} bars, in common",
            batch.version, batch.window
        ),
        values: batch.values,
        times: Summary {
            count: batch.count,
            mean: batch.mean,
            p50: batch.p50,
            p99: batch.p99,
            p999: batch.p999,
            max: batch.max,
        },
        allocations: None,
        bytes: None,
    })
}
