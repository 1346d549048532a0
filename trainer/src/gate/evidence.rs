//! What a series of returns proves: the interval of its mean by the stationary bootstrap.

use tickerml_shared::rand::Rng;

/// The random stream of the bootstrap, so that no other draw of the same seed moves it.
const STREAM: u64 = 0x0062_6f6f_7473;
/// Fewest values of which anything is said.
pub const VALUES_MIN: usize = 8;
/// Lags with small correlations that end the search for the longest one that matters.
const QUIET_LAGS: usize = 5;

/// A mean and the interval in which it lies at the level asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean of the values.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Mean length of the blocks that were drawn.
    pub block: f64,
}

/// How an interval is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Its level, as a fraction.
    pub level: f64,
    /// Resamples.
    pub resamples: usize,
    /// Mean length of a block; `None` for [`block_length`].
    pub block: Option<f64>,
    /// Seed of what is drawn.
    pub seed: u64,
}

/// The interval of the mean of a series whose values may depend on those before them: percentiles of the
/// means of resampled series that are made of blocks of geometric length, wrapped around at the end.
/// `None` for fewer than [`VALUES_MIN`] values or ones that are not finite.
///
/// Source: Politis and Romano, "The stationary bootstrap", Journal of the American Statistical
/// Association 89 (1994).
#[must_use]
pub fn interval(values: &[f64], draw: &Draw) -> Option<Interval> {
    if values.len() < VALUES_MIN || draw.resamples == 0 || !values.iter().all(|v| v.is_finite()) {
        return None;
    }
    let block = draw.block.unwrap_or_else(|| block_length(values)).max(1.0);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let mut means = means(values, block, draw);
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - draw.level) / 2.0;
    Some(Interval {
        mean,
        low: quantile(&means, tail),
        high: quantile(&means, 1.0 - tail),
        block,
    })
}

/// The means of the resamples.
///
/// A block is drawn by its place and its length, and its sum is the difference of two running sums, so that
/// a resample costs as many draws as it has blocks.
fn means(values: &[f64], block: f64, draw: &Draw) -> Vec<f64> {
    let count = values.len();
    let mut sums = vec![0.0; 2 * count + 1];
    for place in 0..2 * count {
        sums[place + 1] = sums[place] + values[place % count];
    }
    let mut rng = Rng::new(draw.seed, STREAM);
    (0..draw.resamples)
        .map(|_| {
            let (mut left, mut sum) = (count, 0.0);
            while left > 0 {
                let start = rng.below(count as u64) as usize;
                let length = geometric(&mut rng, block).min(left);
                sum += sums[start + length] - sums[start];
                left -= length;
            }
            sum / count as f64
        })
        .collect()
}

/// A block's length with this mean: one, and one more with probability `1 − 1/mean` each time.
fn geometric(rng: &mut Rng, mean: f64) -> usize {
    if mean <= 1.0 {
        return 1;
    }
    // In (0, 1], so that its logarithm is finite.
    let uniform = (f64::from(rng.next_u32()) + 1.0) / 4_294_967_296.0;
    let more = uniform.ln() / (1.0 - 1.0 / mean).ln();
    // At most 22 times the largest mean length, which is far below what a usize holds.
    1 + more.floor() as usize
}

/// The value at a share of a sorted list, interpolated.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, part) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * part
}

/// The mean block length that estimates the variance of the mean best, from the values themselves; one
/// for a series that does not depend on its past.
///
/// Source: Politis and White, "Automatic block-length selection for the dependent bootstrap",
/// Econometric Reviews 23 (2004), with the correction of Patton, Politis and White in 28 (2009).
#[must_use]
pub fn block_length(values: &[f64]) -> f64 {
    let count = values.len();
    let n = count as f64;
    if count < VALUES_MIN {
        return 1.0;
    }
    let quiet = QUIET_LAGS.max(n.log10().sqrt().ceil() as usize);
    let most = (n.sqrt().ceil() as usize + quiet).min(count - 1);
    let mean = values.iter().sum::<f64>() / n;
    let covariance = |lag: usize| {
        let pairs = values[lag..].iter().zip(values);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / n
    };
    let covariances: Vec<f64> = (0..=most).map(covariance).collect();
    if covariances[0] <= 0.0 {
        return 1.0;
    }
    let bound = 2.0 * (n.log10() / n).sqrt();
    let loud = |lag: &usize| (covariances[*lag] / covariances[0]).abs() > bound;
    let end = (0..=most.saturating_sub(quiet))
        .find(|lag| !(lag + 1..=lag + quiet).any(|lag| loud(&lag)))
        .unwrap_or_else(|| (1..=most).rev().find(loud).unwrap_or(1));
    let width = (2 * end.max(1)).min(most);
    // The trapezoid window: one up to half its width, falling to zero at its width.
    let weight = |lag: usize| (2.0 * (1.0 - lag as f64 / width as f64)).clamp(0.0, 1.0);
    let lags = 1..=width;
    let slope: f64 = 2.0
        * lags
            .clone()
            .map(|lag| weight(lag) * lag as f64 * covariances[lag])
            .sum::<f64>();
    let spectrum =
        covariances[0] + 2.0 * lags.map(|lag| weight(lag) * covariances[lag]).sum::<f64>();
    if spectrum <= 0.0 {
        return 1.0;
    }
    let longest = (3.0 * n.sqrt()).min(n / 3.0).ceil();
    let best = (n * slope * slope / (spectrum * spectrum)).cbrt();
    best.clamp(1.0, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nearly normal: the sum of twelve uniform numbers less six.
    fn normal(rng: &mut Rng) -> f64 {
        (0..12)
            .map(|_| f64::from(rng.next_u32()) / 4_294_967_296.0)
            .sum::<f64>()
            - 6.0
    }

    fn autoregressive(count: usize, carry: f64, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed, 1);
        let mut last = 0.0;
        (0..count)
            .map(|_| {
                last = carry * last + normal(&mut rng);
                last
            })
            .collect()
    }

    /// The variance of a resampled mean in closed form: Politis and Romano (1994), lemma 1.
    fn exact_variance(values: &[f64], block: f64) -> f64 {
        let (count, n) = (values.len(), values.len() as f64);
        let mean = values.iter().sum::<f64>() / n;
        let covariance = |lag: usize| {
            let pairs = values[lag..].iter().zip(values);
            pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / n
        };
        let keep = 1.0 - 1.0 / block;
        let rest: f64 = (1..count)
            .map(|lag| {
                let part = lag as f64 / n;
                let weight =
                    (1.0 - part) * keep.powi(lag as i32) + part * keep.powi((count - lag) as i32);
                weight * covariance(lag)
            })
            .sum();
        (covariance(0) + 2.0 * rest) / n
    }

    #[test]
    fn resampled_means_have_the_variance_of_the_closed_form() {
        for (carry, block) in [(0.0, 1.0), (0.6, 8.0), (-0.4, 3.0)] {
            let values = autoregressive(300, carry, 3);
            let draw = Draw {
                level: 0.95,
                resamples: 40_000,
                block: Some(block),
                seed: 5,
            };
            let drawn = means(&values, block, &draw);
            let n = drawn.len() as f64;
            let centre = drawn.iter().sum::<f64>() / n;
            let variance = drawn.iter().map(|m| (m - centre).powi(2)).sum::<f64>() / n;
            let exact = exact_variance(&values, block);
            assert!(
                (variance / exact - 1.0).abs() < 0.03,
                "{carry} {block}: {variance} {exact}"
            );
        }
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        let draw = Draw {
            level: 0.9,
            resamples: 500,
            block: None,
            seed: 1,
        };
        let covered = (0..300_u64)
            .filter(|seed| {
                let values = autoregressive(400, 0.5, 100 + seed);
                let found = interval(&values, &draw).expect("enough values");
                found.low <= 0.0 && 0.0 <= found.high
            })
            .count();
        // 270 expected; blocks of finite length cover a little less.
        assert!((246..=288).contains(&covered), "{covered}");
    }

    #[test]
    fn blocks_grow_with_dependence() {
        let length = |carry| block_length(&autoregressive(2_000, carry, 9));
        let [none, some, much] = [0.0, 0.5, 0.9].map(length);
        assert!(
            none < 6.0 && some > none && much > 2.0 * some,
            "{none} {some} {much}"
        );
        assert!((block_length(&[1.0; 50]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn too_few_or_broken_values_prove_nothing() {
        let draw = Draw {
            level: 0.95,
            resamples: 10,
            block: None,
            seed: 1,
        };
        assert_eq!(interval(&[1.0; VALUES_MIN - 1], &draw), None);
        let mut values = vec![1.0; 20];
        let same = interval(&values, &draw).expect("enough");
        assert!((same.low - 1.0).abs() < 1e-12 && (same.high - 1.0).abs() < 1e-12);
        values[3] = f64::NAN;
        assert_eq!(interval(&values, &draw), None);
    }
}
