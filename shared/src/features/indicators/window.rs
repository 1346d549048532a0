//! Indicators of a window: each is computed from its slice alone, in a fixed order, so none drifts.
//!
//! Slices are oldest first, as [`super::super::bars::Series`] gives them; a window is their last `n`
//! items, and what a shorter slice cannot give is `None`. Where a denominator is zero, a value is
//! the one that TA-Lib 0.6 gives, else `None`; each function says which.

/// The last `n` items.
#[must_use]
pub fn tail(column: &[f64], n: usize) -> Option<&[f64]> {
    column.len().checked_sub(n).map(|from| &column[from..])
}

fn sum(column: &[f64]) -> f64 {
    column.iter().fold(0.0, |sum, value| sum + value)
}

/// `above / below`, unless that is nothing.
pub(super) fn ratio(above: f64, below: f64) -> Option<f64> {
    (below != 0.0).then(|| above / below)
}

/// Simple moving average.
#[must_use]
pub fn sma(column: &[f64], n: usize) -> Option<f64> {
    Some(sum(tail(column, n)?) / n as f64)
}

/// Moving average with weights `1..=n`, newest heaviest.
#[must_use]
pub fn wma(column: &[f64], n: usize) -> Option<f64> {
    let weighted = tail(column, n)?.iter().zip(1_u32..);
    let total = weighted.fold(0.0, |sum, (value, weight)| sum + value * f64::from(weight));
    Some(total / (n * (n + 1)) as f64 * 2.0)
}

/// Moving average with weights that rise to the middle of the window and fall again.
#[must_use]
pub fn trima(column: &[f64], n: usize) -> Option<f64> {
    let (mut total, mut weights) = (0.0, 0.0);
    for (index, value) in tail(column, n)?.iter().enumerate() {
        let weight = (index + 1).min(n - index) as f64;
        total += value * weight;
        weights += weight;
    }
    Some(total / weights)
}

/// Hull (2005): the average of `2 wma(n/2) - wma(n)` with weights `1..=floor(sqrt n)`.
#[must_use]
pub fn hma(column: &[f64], n: usize) -> Option<f64> {
    let short = libm::floor(libm::sqrt(n as f64)) as usize;
    let (mut total, mut weights) = (0.0, 0.0);
    for back in 0..short {
        let past = &column[..column.len().checked_sub(back)?];
        let weight = (short - back) as f64;
        total += weight * (2.0 * wma(past, n / 2)? - wma(past, n)?);
        weights += weight;
    }
    Some(total / weights)
}

/// The highest of the last `n`.
#[must_use]
pub fn highest(column: &[f64], n: usize) -> Option<f64> {
    let window = tail(column, n)?;
    Some(
        window
            .iter()
            .fold(*window.first()?, |high, value| high.max(*value)),
    )
}

/// The lowest of the last `n`.
#[must_use]
pub fn lowest(column: &[f64], n: usize) -> Option<f64> {
    let window = tail(column, n)?;
    Some(
        window
            .iter()
            .fold(*window.first()?, |low, value| low.min(*value)),
    )
}

/// Where the newest close stands between the lowest and the highest of `n` bars, in percent; 0
/// when they are the same (TA-Lib).
#[must_use]
pub fn stochastic(high: &[f64], low: &[f64], close: &[f64], n: usize) -> Option<f64> {
    let (high, low) = (highest(high, n)?, lowest(low, n)?);
    Some(ratio(close.last()? - low, high - low).map_or(0.0, |share| share * 100.0))
}

/// Williams %R; 0 when the range is nothing (TA-Lib).
#[must_use]
pub fn williams(high: &[f64], low: &[f64], close: &[f64], n: usize) -> Option<f64> {
    let (high, low) = (highest(high, n)?, lowest(low, n)?);
    Some(ratio(high - close.last()?, high - low).map_or(0.0, |share| share * -100.0))
}

/// Commodity channel index (Lambert 1980) of typical prices; 0 when they are all the same (TA-Lib).
#[must_use]
pub fn cci(typical: &[f64], n: usize) -> Option<f64> {
    let mean = sma(typical, n)?;
    let window = tail(typical, n)?;
    let deviation = window
        .iter()
        .fold(0.0, |sum, value| sum + (value - mean).abs())
        / n as f64;
    Some(ratio(window[n - 1] - mean, 0.015 * deviation).unwrap_or(0.0))
}

/// Money flow index (Quong, Soudack 1989); 0 when no money flowed.
#[must_use]
pub fn mfi(typical: &[f64], volume: &[f64], n: usize) -> Option<f64> {
    let (typical, volume) = (tail(typical, n + 1)?, tail(volume, n)?);
    let (mut up, mut down) = (0.0, 0.0);
    for (pair, volume) in typical.windows(2).zip(volume) {
        let flow = pair[1] * volume;
        if pair[1] > pair[0] {
            up += flow;
        } else if pair[1] < pair[0] {
            down += flow;
        }
    }
    Some(ratio(up, up + down).map_or(0.0, |share| share * 100.0))
}

/// The change over `n` bars.
#[must_use]
pub fn momentum(column: &[f64], n: usize) -> Option<f64> {
    let window = tail(column, n + 1)?;
    Some(window[n] - window[0])
}

/// The change over `n` bars in percent; 0 from a price of nothing (TA-Lib).
#[must_use]
pub fn roc(column: &[f64], n: usize) -> Option<f64> {
    let window = tail(column, n + 1)?;
    Some(ratio(window[n] - window[0], window[0]).map_or(0.0, |change| change * 100.0))
}

/// Wilder's (1978) true range of the newest bar.
#[must_use]
pub fn true_range(high: &[f64], low: &[f64], close: &[f64]) -> Option<f64> {
    let before = tail(close, 2)?[0];
    let (high, low) = (*high.last()?, *low.last()?);
    Some(
        (high - low)
            .max((high - before).abs())
            .max((low - before).abs()),
    )
}

/// The ultimate oscillator (Williams 1985) over `n`, `2 n` and `4 n` bars; 0 when nothing moved.
#[must_use]
pub fn ultimate(high: &[f64], low: &[f64], close: &[f64], n: usize) -> Option<f64> {
    let bars = 4 * n;
    let (high, low, close) = (tail(high, bars)?, tail(low, bars)?, tail(close, bars + 1)?);
    let (mut pressure, mut range, mut total) = (0.0, 0.0, 0.0);
    for back in 1..=bars {
        let (index, before) = (bars - back, close[bars - back]);
        pressure += close[index + 1] - low[index].min(before);
        range += high[index].max(before) - low[index].min(before);
        for (length, weight) in [(n, 4.0), (2 * n, 2.0), (bars, 1.0)] {
            if back == length {
                total += weight * ratio(pressure, range).unwrap_or(0.0);
            }
        }
    }
    Some(100.0 * total / 7.0)
}

/// Aroon (Chande 1995), up and down: how recent the extremes of `n + 1` bars are, in percent; of
/// equal ones the newest counts (TA-Lib).
#[must_use]
pub fn aroon(high: &[f64], low: &[f64], n: usize) -> Option<(f64, f64)> {
    let (high, low) = (tail(high, n + 1)?, tail(low, n + 1)?);
    let (mut top, mut bottom) = (0, 0);
    for index in 1..=n {
        if high[index] >= high[top] {
            top = index;
        }
        if low[index] <= low[bottom] {
            bottom = index;
        }
    }
    let percent = |index: usize| 100.0 * index as f64 / n as f64;
    Some((percent(top), percent(bottom)))
}

/// Population variance.
#[must_use]
pub fn variance(column: &[f64], n: usize) -> Option<f64> {
    let mean = sma(column, n)?;
    let squares = tail(column, n)?
        .iter()
        .fold(0.0, |sum, value| sum + (value - mean) * (value - mean));
    Some(squares / n as f64)
}

/// Population standard deviation.
#[must_use]
pub fn deviation(column: &[f64], n: usize) -> Option<f64> {
    variance(column, n).map(libm::sqrt)
}

/// Population skewness and kurtosis in excess of the normal one; `None` when all are the same.
#[must_use]
pub fn shape(column: &[f64], n: usize) -> Option<(f64, f64)> {
    let mean = sma(column, n)?;
    let (mut second, mut third, mut fourth) = (0.0, 0.0, 0.0);
    for value in tail(column, n)? {
        let off = value - mean;
        second += off * off;
        third += off * off * off;
        fourth += off * off * off * off;
    }
    let count = n as f64;
    let spread = second / count;
    let skew = ratio(third / count, spread * libm::sqrt(spread))?;
    Some((skew, ratio(fourth / count, spread * spread)? - 3.0))
}

/// Pearson's correlation; 0 when one of the two does not move (TA-Lib).
#[must_use]
pub fn correlation(one: &[f64], other: &[f64], n: usize) -> Option<f64> {
    let (mean, others) = (sma(one, n)?, sma(other, n)?);
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for (one, other) in tail(one, n)?.iter().zip(tail(other, n)?) {
        let (one, other) = (one - mean, other - others);
        both += one * other;
        first += one * one;
        second += other * other;
    }
    Some(ratio(both, libm::sqrt(first) * libm::sqrt(second)).unwrap_or(0.0))
}

/// Least squares on `0..n`: slope, value at the oldest, and R² (0 when flat).
#[must_use]
pub fn regression(column: &[f64], n: usize) -> Option<(f64, f64, f64)> {
    let mean = sma(column, n)?;
    let middle = (n as f64 - 1.0) / 2.0;
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for (index, value) in tail(column, n)?.iter().enumerate() {
        let (x, y) = (index as f64 - middle, value - mean);
        both += x * y;
        first += x * x;
        second += y * y;
    }
    let slope = ratio(both, first)?;
    Some((
        slope,
        mean - slope * middle,
        ratio(both * both, first * second).unwrap_or(0.0),
    ))
}

/// Vortex (Botes, Siepman 2010), up and down; `None` when nothing moved.
#[must_use]
pub fn vortex(high: &[f64], low: &[f64], close: &[f64], n: usize) -> Option<(f64, f64)> {
    let (high, low, close) = (tail(high, n + 1)?, tail(low, n + 1)?, tail(close, n + 1)?);
    let (mut up, mut down, mut range) = (0.0, 0.0, 0.0);
    for now in 1..=n {
        up += (high[now] - low[now - 1]).abs();
        down += (low[now] - high[now - 1]).abs();
        range += true_range(&high[..=now], &low[..=now], &close[..=now])?;
    }
    Some((ratio(up, range)?, ratio(down, range)?))
}

/// Ulcer index (Martin 1987): root mean square of the drawdowns in percent from the highest close
/// so far within the window.
#[must_use]
pub fn ulcer(close: &[f64], n: usize) -> Option<f64> {
    let window = tail(close, n)?;
    let (mut top, mut total) = (window[0], 0.0);
    for value in window {
        top = top.max(*value);
        let drawdown = ratio(value - top, top)? * 100.0;
        total += drawdown * drawdown;
    }
    Some(libm::sqrt(total / n as f64))
}

/// Where the close stands in a bar's range, from -1 to 1; 0 in a bar without range.
#[must_use]
pub fn multiplier(high: f64, low: f64, close: f64) -> f64 {
    ratio((close - low) - (high - close), high - low).unwrap_or(0.0)
}

/// Chaikin money flow; `None` when nothing traded.
#[must_use]
pub fn cmf(high: &[f64], low: &[f64], close: &[f64], volume: &[f64], n: usize) -> Option<f64> {
    let (high, low, close, volume) = (
        tail(high, n)?,
        tail(low, n)?,
        tail(close, n)?,
        tail(volume, n)?,
    );
    let mut flow = 0.0;
    for index in 0..n {
        flow += multiplier(high[index], low[index], close[index]) * volume[index];
    }
    ratio(flow, sum(volume))
}

/// Ease of movement (Arms 1996), mean of `n`: way of the middle times range per volume; `None`
/// with a bar in which nothing traded.
#[must_use]
pub fn ease(high: &[f64], low: &[f64], volume: &[f64], n: usize) -> Option<f64> {
    let (high, low, volume) = (tail(high, n + 1)?, tail(low, n + 1)?, tail(volume, n + 1)?);
    let mut total = 0.0;
    for now in 1..=n {
        let way = (high[now] + low[now]) / 2.0 - (high[now - 1] + low[now - 1]) / 2.0;
        total += ratio(way * (high[now] - low[now]), volume[now])?;
    }
    Some(total / n as f64)
}

/// Volume-weighted moving average; `None` when nothing traded.
#[must_use]
pub fn vwma(close: &[f64], volume: &[f64], n: usize) -> Option<f64> {
    let volume = tail(volume, n)?;
    let pairs = tail(close, n)?.iter().zip(volume);
    ratio(
        pairs.fold(0.0, |sum, (close, volume)| sum + close * volume),
        sum(volume),
    )
}

/// Kaufman's (1995) efficiency ratio: the way made over `n` bars by the way gone; 0 when nothing moved.
#[must_use]
pub fn efficiency(close: &[f64], n: usize) -> Option<f64> {
    let window = tail(close, n + 1)?;
    let gone = window
        .windows(2)
        .fold(0.0, |sum, pair| sum + (pair[1] - pair[0]).abs());
    Some(ratio((window[n] - window[0]).abs(), gone).unwrap_or(0.0))
}

/// Shannon's entropy of the signs of `n` returns (down, none, up) as a share of its maximum, ln 3.
#[must_use]
pub fn entropy(returns: &[f64], n: usize) -> Option<f64> {
    let mut counts = [0_u32; 3];
    for value in tail(returns, n)? {
        counts[usize::from(*value >= 0.0) + usize::from(*value > 0.0)] += 1;
    }
    let mut total = 0.0;
    for count in counts.into_iter().filter(|count| *count > 0) {
        let share = f64::from(count) / n as f64;
        total -= share * libm::log(share);
    }
    Some(total / libm::log(3.0))
}

/// Returns of [`hurst`], and the lengths of its blocks.
pub const HURST_RETURNS: usize = 48;
const HURST_BLOCKS: [usize; 5] = [8, 12, 16, 24, 48];

/// Hurst's exponent by rescaled range (Mandelbrot, Wallis 1969): the slope of the logarithm of mean
/// R/S on that of the blocks' length; `None` with a block that does not move.
#[must_use]
pub fn hurst(returns: &[f64]) -> Option<f64> {
    let window = tail(returns, HURST_RETURNS)?;
    let (mut x, mut y) = ([0.0; HURST_BLOCKS.len()], [0.0; HURST_BLOCKS.len()]);
    for (place, length) in HURST_BLOCKS.into_iter().enumerate() {
        let mut total = 0.0;
        for block in window.chunks_exact(length) {
            let mean = sum(block) / length as f64;
            let (mut walk, mut high, mut low, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0);
            for value in block {
                walk += value - mean;
                high = high.max(walk);
                low = low.min(walk);
                squares += (value - mean) * (value - mean);
            }
            total += ratio(high - low, libm::sqrt(squares / length as f64))?;
        }
        x[place] = libm::log(length as f64);
        y[place] = libm::log(total / (HURST_RETURNS / length) as f64);
    }
    let n = HURST_BLOCKS.len();
    let (mean, level) = (sma(&x, n)?, sma(&y, n)?);
    let (mut both, mut first) = (0.0, 0.0);
    for (x, y) in x.iter().zip(&y) {
        both += (x - mean) * (y - level);
        first += (x - mean) * (x - mean);
    }
    ratio(both, first)
}

/// Fractional difference of order `d` with `n` weights (Lopez de Prado 2018, 5.4), from `origin`.
#[must_use]
pub fn fractional(logs: &[f64], d: f64, n: usize, origin: f64) -> Option<f64> {
    let (mut weight, mut total) = (1.0, 0.0);
    for (value, k) in tail(logs, n)?.iter().rev().zip(1_u32..) {
        total += weight * (value - origin);
        weight *= -(d - f64::from(k) + 1.0) / f64::from(k);
    }
    Some(total)
}
