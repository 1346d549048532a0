//! Qlib's 158 bar factors: nine of a candle, four prices of it, and 29 operators over the newest 5, 10,
//! 20, 30 and 60 bars.
//!
//! Source: Yang, Liu, Zhou, Bian and Liu, "Qlib: An AI-oriented Quantitative Investment Platform",
//! arXiv:2009.11189 (2020), with the expressions that Qlib publishes as `Alpha158DL`. Names are Qlib's in
//! lower case, with the number of bars set off: `ROC5` is `alpha158_roc_5`.
//!
//! [`read`] is a pure function of a series. It goes through the bars once, from the newest to the oldest,
//! in the same order each time: nothing is carried from bar to bar, so nothing drifts.
//!
//! Where it departs from Qlib:
//!
//! * Qlib's windows grow with the first bars (`min_periods=1`). Here a factor is unknown until its window is
//!   full, and until there is one bar more where the window holds changes from bar to bar.
//! * Qlib leaves out a correlation or an R² when a standard deviation is below 2e-5 in whatever unit the
//!   column has, so all of them for cheap coins. Here it is unknown when the standard deviation is at most
//!   [`FLAT`] of the mean.
//! * `VMA` and `VSTD` divide by the newest bar's volume. When it is zero they are unknown, not the 1e12-fold
//!   that Qlib's guard against division by zero makes of them.
//! * `VWAP0` of a bar without trades is its close.
//!
//! As in Qlib, 1e-12 is added to divisors that may vanish: a candle or a window in which nothing moved gives
//! zero. As in pandas, `CORD` leaves out bars whose change of volume is not finite (the bar before them had
//! none), and is unknown when fewer than two are left. Bars are finite; what is not finite after all is
//! unknown.

use super::Row;
use super::bars::Series;
use super::table::Unit;

/// How many there are.
pub const COUNT: usize = Factor::COUNT + Operator::COUNT * WINDOWS.len();

/// Bars that the operators look at.
pub const WINDOWS: [usize; 5] = [5, 10, 20, 30, 60];

/// The longest of [`WINDOWS`].
const LONGEST: usize = WINDOWS[WINDOWS.len() - 1];

/// A standard deviation that is a smaller part of the mean is rounding.
pub const FLAT: f64 = 1e-12;

/// Qlib's guard against division by zero.
const GUARD: f64 = 1e-12;

const SOURCE: &str = "Qlib Alpha158 (Yang et al. 2020)";

const fn row(name: &'static str, unit: Unit, parameters: &'static str) -> Row {
    Row {
        name,
        unit,
        parameters,
        source: SOURCE,
    }
}

/// Declares the factors: those of the newest bar, then the operators with a row for each window.
macro_rules! factors {
    (
        bar { $($factor:ident: $bar:literal, $bar_unit:ident;)+ }
        windows { $($operator:ident: $name:literal, $unit:ident;)+ }
    ) => {
        /// Factors of the newest bar alone.
        #[derive(Clone, Copy)]
        enum Factor { $($factor),+ }

        impl Factor {
            const COUNT: usize = [$($bar),+].len();
        }

        /// Operators over the newest bars.
        #[derive(Clone, Copy)]
        enum Operator { $($operator),+ }

        impl Operator {
            const COUNT: usize = [$($name),+].len();
        }

        /// Their rows, in Qlib's order.
        pub const ROWS: [Row; COUNT] = [
            $(row(concat!("alpha158_", $bar), Unit::$bar_unit, ""),)+
            $(
                row(concat!("alpha158_", $name, "_5"), Unit::$unit, "window=5"),
                row(concat!("alpha158_", $name, "_10"), Unit::$unit, "window=10"),
                row(concat!("alpha158_", $name, "_20"), Unit::$unit, "window=20"),
                row(concat!("alpha158_", $name, "_30"), Unit::$unit, "window=30"),
                row(concat!("alpha158_", $name, "_60"), Unit::$unit, "window=60"),
            )+
        ];
    };
}

factors! {
    bar {
        Kmid: "kmid", Number;
        Klen: "klen", Number;
        Kmid2: "kmid2", Ratio;
        Kup: "kup", Number;
        Kup2: "kup2", Share;
        Klow: "klow", Number;
        Klow2: "klow2", Share;
        Ksft: "ksft", Number;
        Ksft2: "ksft2", Ratio;
        Open: "open_0", Number;
        High: "high_0", Number;
        Low: "low_0", Number;
        Vwap: "vwap_0", Number;
    }
    windows {
        Roc: "roc", Number;
        Ma: "ma", Number;
        Std: "std", Number;
        Beta: "beta", Number;
        Rsqr: "rsqr", Share;
        Resi: "resi", Number;
        Max: "max", Number;
        Min: "min", Number;
        Qtlu: "qtlu", Number;
        Qtld: "qtld", Number;
        Rank: "rank", Share;
        Rsv: "rsv", Share;
        Imax: "imax", Share;
        Imin: "imin", Share;
        Imxd: "imxd", Ratio;
        Corr: "corr", Ratio;
        Cord: "cord", Ratio;
        Cntp: "cntp", Share;
        Cntn: "cntn", Share;
        Cntd: "cntd", Ratio;
        Sump: "sump", Share;
        Sumn: "sumn", Share;
        Sumd: "sumd", Ratio;
        Vma: "vma", Number;
        Vstd: "vstd", Number;
        Wvma: "wvma", Number;
        Vsump: "vsump", Share;
        Vsumn: "vsumn", Share;
        Vsumd: "vsumd", Ratio;
    }
}

/// The factors of the newest bar; NaN where one is not known.
#[must_use]
pub fn read(series: &Series) -> [f64; COUNT] {
    let mut factors = [f64::NAN; COUNT];
    if series.is_empty() {
        return factors;
    }
    candle(series, &mut factors);
    let past = Past::of(series);
    let (mut levels, mut changes) = (Levels::new(&past), Changes::new(&past));
    let mut sorted = Sorted::new();
    let mut age = 0;
    for (window, bars) in WINDOWS.into_iter().enumerate() {
        if past.len < bars {
            break;
        }
        let is_preceded = past.len > bars;
        while age < bars {
            levels.add(&past, age);
            sorted.insert(past.close[age]);
            if is_preceded {
                changes.add(&past, age);
            }
            age += 1;
        }
        let mut set = |operator: Operator, value: f64| {
            factors[Factor::COUNT + operator as usize * WINDOWS.len() + window] = value;
        };
        levels.write(&past, bars, &mut set);
        sorted.write(past.close[0], &mut set);
        if is_preceded {
            set(Operator::Roc, past.close[bars] / past.close[0]);
            changes.write(bars, &mut set);
        }
    }
    for factor in &mut factors {
        if !factor.is_finite() {
            *factor = f64::NAN;
        }
    }
    factors
}

/// The factors of the newest bar alone.
fn candle(series: &Series, factors: &mut [f64; COUNT]) {
    let newest = |column: &[f64]| column[column.len() - 1];
    let (open, close) = (newest(series.open()), newest(series.close()));
    let (high, low) = (newest(series.high()), newest(series.low()));
    let (volume, value) = (newest(series.volume()), newest(series.value()));
    let vwap = if volume > 0.0 { value / volume } else { close };
    let length = high - low + GUARD;
    let (body, shift) = (close - open, 2.0 * close - high - low);
    let (above, below) = (high - open.max(close), open.min(close) - low);
    for (factor, value) in [
        (Factor::Kmid, body / open),
        (Factor::Klen, (high - low) / open),
        (Factor::Kmid2, body / length),
        (Factor::Kup, above / open),
        (Factor::Kup2, above / length),
        (Factor::Klow, below / open),
        (Factor::Klow2, below / length),
        (Factor::Ksft, shift / open),
        (Factor::Ksft2, shift / length),
        (Factor::Open, open / close),
        (Factor::High, high / close),
        (Factor::Low, low / close),
        (Factor::Vwap, vwap / close),
    ] {
        factors[factor as usize] = value;
    }
}

/// The columns of the newest bars by their age: the newest has age zero.
struct Past {
    len: usize,
    close: [f64; LONGEST + 1],
    high: [f64; LONGEST + 1],
    low: [f64; LONGEST + 1],
    volume: [f64; LONGEST + 1],
}

impl Past {
    fn of(series: &Series) -> Self {
        let by_age = |column: &[f64]| {
            let mut aged = [0.0; LONGEST + 1];
            for (place, value) in aged.iter_mut().zip(column.iter().rev()) {
                *place = *value;
            }
            aged
        };
        Self {
            len: series.len().min(LONGEST + 1),
            close: by_age(series.close()),
            high: by_age(series.high()),
            low: by_age(series.low()),
            volume: by_age(series.volume()),
        }
    }

    /// The close and the volume over those of the bar before: the ratio of the closes, and Qlib's
    /// logarithm of one and the ratio of the volumes.
    fn ratios(&self, age: usize) -> (f64, f64) {
        (
            self.close[age] / self.close[age + 1],
            libm::log1p(self.volume[age] / self.volume[age + 1]),
        )
    }

    /// The volume, weighted by how far the close moved.
    fn moved(&self, age: usize) -> f64 {
        (self.close[age] / self.close[age + 1] - 1.0).abs() * self.volume[age]
    }
}

/// Sums over a column of its values less one of them. Their scatter is then at least the greatest square
/// over the number of values, which bounds what the subtraction in [`Column::scatter`] can lose.
struct Column {
    origin: f64,
    sum: f64,
    squares: f64,
}

impl Column {
    const fn new(origin: f64) -> Self {
        Self {
            origin,
            sum: 0.0,
            squares: 0.0,
        }
    }

    /// Adds a value and gives it back less the origin.
    fn add(&mut self, value: f64) -> f64 {
        let value = value - self.origin;
        self.sum += value;
        self.squares += value * value;
        value
    }

    fn mean(&self, count: f64) -> f64 {
        self.origin + self.sum / count
    }

    /// The sum of squared distances from the mean.
    fn scatter(&self, count: f64) -> f64 {
        (self.squares - self.sum * self.sum / count).max(0.0)
    }

    /// The sample standard deviation, as pandas has it: over one less than the count.
    fn deviation(&self, count: f64) -> f64 {
        libm::sqrt(self.scatter(count) / (count - 1.0))
    }

    /// Whether what scatter there is may be rounding.
    fn is_flat(&self, count: f64) -> bool {
        self.deviation(count) <= FLAT * self.mean(count).abs()
    }
}

/// Pearson's correlation of two columns with the sum of their products; NaN when one of them is flat.
fn correlation(one: &Column, other: &Column, products: f64, count: f64) -> f64 {
    if count < 2.0 || one.is_flat(count) || other.is_flat(count) {
        return f64::NAN;
    }
    let common = products - one.sum * other.sum / count;
    let scale = libm::sqrt(one.scatter(count)) * libm::sqrt(other.scatter(count));
    (common / scale).clamp(-1.0, 1.0)
}

/// Sums over the bars of a window.
struct Levels {
    close: Column,
    volume: Column,
    log_volume: Column,
    /// Closes times logarithms of volumes.
    products: f64,
    /// Closes times ages.
    aged: f64,
    /// The highest price and the age of the oldest bar that had it.
    high: (f64, usize),
    /// Likewise the lowest.
    low: (f64, usize),
}

impl Levels {
    fn new(past: &Past) -> Self {
        Self {
            close: Column::new(past.close[0]),
            volume: Column::new(past.volume[0]),
            log_volume: Column::new(libm::log1p(past.volume[0])),
            products: 0.0,
            aged: 0.0,
            high: (past.high[0], 0),
            low: (past.low[0], 0),
        }
    }

    fn add(&mut self, past: &Past, age: usize) {
        let close = self.close.add(past.close[age]);
        self.volume.add(past.volume[age]);
        self.products += close * self.log_volume.add(libm::log1p(past.volume[age]));
        self.aged += close * age as f64;
        if past.high[age] >= self.high.0 {
            self.high = (past.high[age], age);
        }
        if past.low[age] <= self.low.0 {
            self.low = (past.low[age], age);
        }
    }

    fn write(&self, past: &Past, bars: usize, set: &mut impl FnMut(Operator, f64)) {
        let (count, close) = (bars as f64, past.close[0]);
        set(Operator::Ma, self.close.mean(count) / close);
        set(Operator::Std, self.close.deviation(count) / close);
        self.write_trend(count, close, set);
        let ((high, high_age), (low, low_age)) = (self.high, self.low);
        set(Operator::Max, high / close);
        set(Operator::Min, low / close);
        set(Operator::Rsv, (close - low) / (high - low + GUARD));
        // Qlib counts places from one at the oldest bar, and of equals takes the oldest.
        set(Operator::Imax, (bars - high_age) as f64 / count);
        set(Operator::Imin, (bars - low_age) as f64 / count);
        set(Operator::Imxd, (low_age as f64 - high_age as f64) / count);
        set(
            Operator::Corr,
            correlation(&self.close, &self.log_volume, self.products, count),
        );
        let volume = past.volume[0];
        if volume > 0.0 {
            set(Operator::Vma, self.volume.mean(count) / (volume + GUARD));
            set(
                Operator::Vstd,
                self.volume.deviation(count) / (volume + GUARD),
            );
        }
    }

    /// The straight line of least squares through the closes.
    fn write_trend(&self, count: f64, close: f64, set: &mut impl FnMut(Operator, f64)) {
        let age_mean = (count - 1.0) / 2.0;
        let age_scatter = count * (count * count - 1.0) / 12.0;
        // Age falls as time goes on.
        let common = age_mean * self.close.sum - self.aged;
        let slope = common / age_scatter;
        set(Operator::Beta, slope / close);
        // The newest close is the origin, so less the line it is minus the line.
        let line = self.close.sum / count + slope * age_mean;
        set(Operator::Resi, -line / close);
        if !self.close.is_flat(count) {
            let explained = slope * common / self.close.scatter(count);
            set(Operator::Rsqr, explained.min(1.0));
        }
    }
}

/// Sums over the changes from bar to bar in a window.
struct Changes {
    /// Ratios of closes and logarithms of ratios of volumes, where both are finite; `None` before the
    /// first.
    ratios: Option<(Column, Column)>,
    products: f64,
    pairs: usize,
    ups: usize,
    downs: usize,
    gains: f64,
    losses: f64,
    volume_gains: f64,
    volume_losses: f64,
    moved: Column,
}

impl Changes {
    fn new(past: &Past) -> Self {
        Self {
            ratios: None,
            products: 0.0,
            pairs: 0,
            ups: 0,
            downs: 0,
            gains: 0.0,
            losses: 0.0,
            volume_gains: 0.0,
            volume_losses: 0.0,
            moved: Column::new(past.moved(0)),
        }
    }

    fn add(&mut self, past: &Past, age: usize) {
        let (close, volume) = past.ratios(age);
        if close.is_finite() && volume.is_finite() {
            let (closes, volumes) = self
                .ratios
                .get_or_insert_with(|| (Column::new(close), Column::new(volume)));
            self.products += closes.add(close) * volumes.add(volume);
            self.pairs += 1;
        }
        self.moved.add(past.moved(age));
        let change = past.close[age] - past.close[age + 1];
        self.ups += usize::from(change > 0.0);
        self.downs += usize::from(change < 0.0);
        self.gains += change.max(0.0);
        self.losses += (-change).max(0.0);
        let change = past.volume[age] - past.volume[age + 1];
        self.volume_gains += change.max(0.0);
        self.volume_losses += (-change).max(0.0);
    }

    fn write(&self, bars: usize, set: &mut impl FnMut(Operator, f64)) {
        let count = bars as f64;
        if let Some((closes, volumes)) = &self.ratios {
            let together = correlation(closes, volumes, self.products, self.pairs as f64);
            set(Operator::Cord, together);
        }
        let (ups, downs) = (self.ups as f64 / count, self.downs as f64 / count);
        set(Operator::Cntp, ups);
        set(Operator::Cntn, downs);
        set(Operator::Cntd, ups - downs);
        let all = self.gains + self.losses + GUARD;
        set(Operator::Sump, self.gains / all);
        set(Operator::Sumn, self.losses / all);
        set(Operator::Sumd, (self.gains - self.losses) / all);
        set(
            Operator::Wvma,
            self.moved.deviation(count) / (self.moved.mean(count) + GUARD),
        );
        let all = self.volume_gains + self.volume_losses + GUARD;
        set(Operator::Vsump, self.volume_gains / all);
        set(Operator::Vsumn, self.volume_losses / all);
        set(
            Operator::Vsumd,
            (self.volume_gains - self.volume_losses) / all,
        );
    }
}

/// The closes of a window in ascending order.
struct Sorted {
    closes: [f64; LONGEST],
    len: usize,
}

impl Sorted {
    const fn new() -> Self {
        Self {
            closes: [0.0; LONGEST],
            len: 0,
        }
    }

    fn insert(&mut self, close: f64) {
        let place = self.closes[..self.len].partition_point(|other| *other < close);
        self.closes.copy_within(place..self.len, place + 1);
        self.closes[place] = close;
        self.len += 1;
    }

    /// The quantile in fifths below one, between the two nearest in proportion, as pandas' `linear` has it.
    fn quantile(&self, fifths: usize) -> f64 {
        let place = (self.len - 1) * fifths;
        let (below, part) = (self.closes[place / 5], (place % 5) as f64 / 5.0);
        below + (self.closes[place / 5 + 1] - below) * part
    }

    fn write(&self, close: f64, set: &mut impl FnMut(Operator, f64)) {
        set(Operator::Qtlu, self.quantile(4) / close);
        set(Operator::Qtld, self.quantile(1) / close);
        let closes = &self.closes[..self.len];
        let below = closes.partition_point(|other| *other < close);
        let equal = closes[below..].partition_point(|other| *other <= close);
        // Equals share the mean of their ranks, which count from one.
        let rank = below as f64 + (equal as f64 + 1.0) / 2.0;
        set(Operator::Rank, rank / self.len as f64);
    }
}

#[cfg(test)]
mod tests;
