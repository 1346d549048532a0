//! Ranks and what is computed of them. Pure functions over columns, for reports.

use std::collections::BTreeMap;

use super::{HORIZONS_S, Samples};
use tickerml_shared::time::SECONDS;

/// Pairs without which nothing is said, of a tape or of a block.
pub const PAIRS_MIN: usize = 10;
/// Blocks without which no t-statistic is given.
pub const BLOCKS_MIN: usize = 5;
/// A block is so many times as long as the return it is about.
const BLOCK_HORIZONS: u64 = 20;
/// And at least as long as so many samples, or so many seconds.
const BLOCK_SAMPLES: u64 = 60;

/// Ranks from 1, the mean of their ranks for equal values. No value may be NaN.
#[must_use]
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    // Zero has two signs, which are one value.
    for equal in order.chunk_by(|one, other| one.0 == other.0) {
        let mean = before as f64 + (equal.len() + 1) as f64 / 2.0;
        for (_, place) in equal {
            ranks[*place] = mean;
        }
        before += equal.len();
    }
    ranks
}

/// Ranks as places between −1 and 1, symmetric about 0.
fn positions(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let mut ranks = ranks(values);
    for rank in &mut ranks {
        *rank = (2.0 * *rank - 1.0) / count - 1.0;
    }
    ranks
}

/// Sums for a correlation of pairs that are centred already.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    xx: f64,
    yy: f64,
    xy: f64,
    count: usize,
}

impl Moments {
    fn add(&mut self, x: f64, y: f64) {
        self.xx += x * x;
        self.yy += y * y;
        self.xy += x * y;
        self.count += 1;
    }

    /// `None` when one side is constant.
    fn correlation(&self) -> Option<f64> {
        let square = self.xx * self.yy;
        (square > 0.0).then(|| (self.xy / square.sqrt()).clamp(-1.0, 1.0))
    }
}

/// Spearman's rank correlation (Spearman 1904, with mean ranks for ties); `None` when one side is
/// constant or there are fewer than [`PAIRS_MIN`] pairs.
#[must_use]
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < PAIRS_MIN {
        return None;
    }
    moments(pairs).correlation()
}

fn moments(pairs: &[(f64, f64)]) -> Moments {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let mut sums = Moments::default();
    for (x, y) in positions(&x).into_iter().zip(positions(&y)) {
        sums.add(x, y);
    }
    sums
}

/// How a feature went with the returns of one horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coefficient {
    /// Samples with both a value and a return.
    pub pairs: usize,
    /// Rank correlation over all of them. Ranks are taken within each instrument, so that a
    /// difference in level between two instruments foretells nothing.
    pub pooled: Option<f64>,
    /// Mean of the blocks' rank correlations.
    pub mean: Option<f64>,
    /// That mean over the blocks' standard deviation.
    pub ratio: Option<f64>,
    /// That mean over its standard error.
    pub t: Option<f64>,
    /// How many blocks.
    pub blocks: usize,
}

/// One sample's value and return.
#[derive(Clone, Copy, Debug)]
struct Pair {
    at_ns: u64,
    value: f64,
    ahead: f64,
}

/// The information coefficient of a column for a horizon, by its place in [`HORIZONS_S`].
///
/// Blocks of time follow each other without overlap, and a sample whose return ends in the next
/// block is left out of them, so that no return is in two blocks. The correlations of several
/// instruments in one block are one observation, their mean: venues of one asset move together.
#[must_use]
pub fn coefficient(samples: &Samples, column: usize, horizon: usize) -> Coefficient {
    let ahead_ns = HORIZONS_S[horizon] * SECONDS;
    let block_ns = block_ns(samples.every_ns, ahead_ns);
    let mut pooled = Moments::default();
    let mut blocks: BTreeMap<u64, (f64, usize)> = BTreeMap::new();
    for rows in samples.rows.chunk_by(|a, b| a.instrument == b.instrument) {
        let pairs: Vec<Pair> = rows
            .iter()
            .map(|row| Pair {
                at_ns: row.at.0,
                value: f64::from(row.values[column]),
                ahead: row.returns[horizon],
            })
            .filter(|pair| !pair.value.is_nan() && !pair.ahead.is_nan())
            .collect();
        let of = |pairs: &[Pair]| -> Vec<(f64, f64)> {
            pairs.iter().map(|pair| (pair.value, pair.ahead)).collect()
        };
        let own = moments(&of(&pairs));
        pooled.xx += own.xx;
        pooled.yy += own.yy;
        pooled.xy += own.xy;
        pooled.count += own.count;
        for block in pairs.chunk_by(|a, b| a.at_ns / block_ns == b.at_ns / block_ns) {
            let number = block[0].at_ns / block_ns;
            let end = (number + 1) * block_ns;
            let inside = block.partition_point(|pair| pair.at_ns + ahead_ns <= end);
            if let Some(own) = spearman(&of(&block[..inside])) {
                let sum = blocks.entry(number).or_default();
                sum.0 += own * inside as f64;
                sum.1 += inside;
            }
        }
    }
    let means: Vec<f64> = blocks
        .values()
        .map(|(sum, count)| sum / *count as f64)
        .collect();
    let spread = Spread::of(&means).filter(|_| means.len() >= BLOCKS_MIN);
    Coefficient {
        pairs: pooled.count,
        pooled: pooled.correlation().filter(|_| pooled.count >= PAIRS_MIN),
        mean: spread.map(|spread| spread.mean),
        ratio: spread.and_then(|spread| spread.ratio()),
        t: spread.and_then(|spread| Some(spread.ratio()? * (means.len() as f64).sqrt())),
        blocks: means.len(),
    }
}

/// The length of a block, in nanoseconds.
fn block_ns(every_ns: u64, ahead_ns: u64) -> u64 {
    let samples = every_ns.max(SECONDS).saturating_mul(BLOCK_SAMPLES);
    ahead_ns.saturating_mul(BLOCK_HORIZONS).max(samples)
}

/// Mean and standard deviation of a few numbers.
#[derive(Clone, Copy, Debug)]
struct Spread {
    mean: f64,
    deviation: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 2 {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            deviation: (squares / (count - 1.0)).sqrt(),
        })
    }

    fn ratio(self) -> Option<f64> {
        (self.deviation > 0.0).then(|| self.mean / self.deviation)
    }
}

/// What a column is like by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Character {
    /// Samples at which it is known.
    pub known: usize,
    /// It has more than one value for some instrument.
    pub varies: bool,
    /// Rank correlation with itself one sample later.
    pub autocorrelation: Option<f64>,
    /// How much of its range it moves from one sample to the next: the mean absolute change of a
    /// position that is its rank between −1 and 1. Of pure noise it is 2/3.
    pub turnover: Option<f64>,
}

/// What a column is like by itself. Ranks are taken within each instrument.
#[must_use]
pub fn character(samples: &Samples, column: usize) -> Character {
    let mut found = Character::default();
    let mut sums = Moments::default();
    let mut moved = 0.0;
    for rows in samples.rows.chunk_by(|a, b| a.instrument == b.instrument) {
        let known: Vec<_> = rows
            .iter()
            .filter(|row| !row.values[column].is_nan())
            .collect();
        let values: Vec<f64> = known
            .iter()
            .map(|row| f64::from(row.values[column]))
            .collect();
        found.known += values.len();
        found.varies |= values.windows(2).any(|two| two[0] != two[1]);
        let places = positions(&values);
        for (rows, places) in known.windows(2).zip(places.windows(2)) {
            let next = rows[0].at.plus(samples.every_ns);
            if rows[0].run == rows[1].run && rows[1].at == next {
                sums.add(places[0], places[1]);
                moved += (places[1] - places[0]).abs();
            }
        }
    }
    if sums.count >= PAIRS_MIN {
        found.autocorrelation = sums.correlation();
        found.turnover = found.varies.then(|| moved / sums.count as f64);
    }
    found
}
