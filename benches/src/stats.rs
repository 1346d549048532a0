//! Times of single operations, and what is said about them.

use serde::Serialize;

/// The times of one pass over a tape, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<u32>);

/// Percentiles of one or several passes, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Operations of a pass.
    pub count: usize,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Longest.
    pub max: f64,
}

impl Times {
    /// Room for so many, so that noting a time allocates nothing.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Notes a time; what exceeds four seconds counts as four seconds.
    pub fn note(&mut self, nanoseconds: u128) {
        self.0.push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
    }

    /// What there is to say about them: exact percentiles (nearest rank), of every time noted.
    #[must_use]
    pub fn summary(mut self) -> Summary {
        self.0.sort_unstable();
        let count = self.0.len();
        let Some(&max) = self.0.last() else {
            return Summary::default();
        };
        let sum: u64 = self.0.iter().map(|time| u64::from(*time)).sum();
        let rank =
            |permille: usize| f64::from(self.0[(count * permille).div_ceil(1000).max(1) - 1]);
        Summary {
            count,
            mean: sum as f64 / count as f64,
            p50: rank(500),
            p99: rank(990),
            p999: rank(999),
            max: f64::from(max),
        }
    }
}

impl Summary {
    /// Each figure's lowest over several passes: what the machine can do when nothing else runs on
    /// it. Other load only ever adds.
    #[must_use]
    pub fn least(passes: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let least = passes.iter().map(figure).reduce(f64::min);
            least.unwrap_or_default()
        };
        Self {
            count: passes.first().map_or(0, |pass| pass.count),
            mean: of(|pass| pass.mean),
            p50: of(|pass| pass.p50),
            p99: of(|pass| pass.p99),
            p999: of(|pass| pass.p999),
            max: of(|pass| pass.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_nearest_rank() {
        let mut times = Times::default();
        (1..=1000).rev().for_each(|time| times.note(time));
        let summary = times.summary();
        assert_eq!(
            (summary.p50, summary.p99, summary.p999),
            (500.0, 990.0, 999.0)
        );
        assert_eq!(
            (summary.count, summary.mean, summary.max),
            (1000, 500.5, 1000.0)
        );
        assert_eq!(Times::default().summary(), Summary::default());
    }

    #[test]
    fn passes_are_joined_by_their_least() {
        let pass = |p50| Summary {
            p50,
            ..Summary::default()
        };
        let passes = [pass(3.0), pass(900.0), pass(2.0)];
        assert_eq!(Summary::least(&passes).p50, 2.0);
    }
}
