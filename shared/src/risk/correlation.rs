//! Rolling correlation of all instruments (Pearson), and the groups that it forms.
//!
//! Returns are integers, so the running sums are exact: a row that leaves takes out what it brought
//! in, and no drift can build up. A sample that is missing masks its pairs, each of which keeps a
//! count of its own (pairwise complete).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::action::PPM;
use crate::instrument::MAX_INSTRUMENTS;

/// Samples that a coefficient looks back on.
pub const WINDOW: usize = 120;
/// Common samples from which a coefficient means anything.
pub const MIN_SAMPLES: i64 = 30;
/// A return of one, in the units in which returns are counted; larger ones are cut to it, so that
/// `WINDOW` squares fit an `i64`.
pub const RETURN_ONE: i64 = 100_000_000;

const _: () = assert!(
    MAX_INSTRUMENTS <= u64::BITS as usize,
    "one bit each in a row's mask"
);

/// The returns of one sampling interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    /// Which instruments have a return.
    mask: u64,
    /// By instrument; 0 where masked.
    returns: Vec<i32>,
}

/// Sums over the common samples of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    count: i64,
    x: i64,
    y: i64,
    xx: i64,
    yy: i64,
    xy: i64,
}

impl Sums {
    /// Adds (`sign` 1) or takes out (-1) a sample.
    fn add(&mut self, x: i64, y: i64, sign: i64) {
        self.count += sign;
        self.x += sign * x;
        self.y += sign * y;
        self.xx += sign * x * x;
        self.yy += sign * y * y;
        self.xy += sign * x * y;
    }

    /// Pearson's coefficient; `None` with too few samples or when one of the two does not move.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the differences, in which digits could cancel, are exact integers"
    )]
    fn coefficient(&self) -> Option<f64> {
        if self.count < MIN_SAMPLES {
            return None;
        }
        let centred = |product: i64, a: i64, b: i64| {
            i128::from(self.count) * i128::from(product) - i128::from(a) * i128::from(b)
        };
        let spread_x = centred(self.xx, self.x, self.x);
        let spread_y = centred(self.yy, self.y, self.y);
        if spread_x <= 0 || spread_y <= 0 {
            return None;
        }
        let scale = libm::sqrt(spread_x as f64) * libm::sqrt(spread_y as f64);
        let ratio = centred(self.xy, self.x, self.y) as f64 / scale;
        Some(ratio.clamp(-1.0, 1.0))
    }
}

/// What is stored: everything else follows from it.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    same: Vec<u64>,
    threshold_ppm: i64,
    unknown_ppm: i64,
    rows: VecDeque<Row>,
}

/// Correlation between all instruments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Correlation {
    /// By instrument, those with the same base asset: one thing at several venues.
    same: Vec<u64>,
    /// Magnitude from which two instruments belong to one group.
    threshold_ppm: i64,
    /// Magnitude assumed of a pair with too few samples.
    unknown_ppm: i64,
    /// Oldest first; at most [`WINDOW`].
    rows: VecDeque<Row>,
    /// By pair.
    sums: Vec<Sums>,
    /// By pair, the magnitude in use.
    magnitudes: Vec<i32>,
    /// By instrument, the first instrument of its group.
    groups: Vec<u16>,
}

impl From<Correlation> for Stored {
    fn from(from: Correlation) -> Self {
        Self {
            same: from.same,
            threshold_ppm: from.threshold_ppm,
            unknown_ppm: from.unknown_ppm,
            rows: from.rows,
        }
    }
}

impl TryFrom<Stored> for Correlation {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let count = stored.same.len();
        let fits = stored.rows.iter().all(|row| row.returns.len() == count);
        if count > MAX_INSTRUMENTS || stored.rows.len() > WINDOW || !fits {
            return Err("correlation rows of another shape");
        }
        let mut made = Self {
            sums: alloc::vec![Sums::default(); pairs(count)],
            magnitudes: alloc::vec![0; pairs(count)],
            groups: alloc::vec![0; count],
            same: stored.same,
            threshold_ppm: stored.threshold_ppm,
            unknown_ppm: stored.unknown_ppm,
            rows: VecDeque::with_capacity(WINDOW),
        };
        for row in stored.rows {
            made.take(&row, 1);
            made.rows.push_back(row);
        }
        made.refresh();
        Ok(made)
    }
}

const fn pairs(count: usize) -> usize {
    count * count.saturating_sub(1) / 2
}

impl Correlation {
    /// No samples yet. `same` tells whether two instruments trade the same asset: such a pair always
    /// counts as perfectly correlated.
    ///
    /// # Panics
    /// With more than [`MAX_INSTRUMENTS`], a defect of the caller.
    #[must_use]
    pub fn new(count: usize, same: impl Fn(usize, usize) -> bool) -> Self {
        assert!(
            count <= MAX_INSTRUMENTS,
            "more instruments than a mask has bits"
        );
        let same = (0..count).map(|i| {
            let twins = (0..count).filter(|&j| j != i && same(i, j));
            twins.fold(0, |mask, j| mask | 1 << j)
        });
        let mut made = Self {
            same: same.collect(),
            threshold_ppm: PPM,
            unknown_ppm: 0,
            rows: VecDeque::with_capacity(WINDOW),
            sums: alloc::vec![Sums::default(); pairs(count)],
            magnitudes: alloc::vec![0; pairs(count)],
            groups: alloc::vec![0; count],
        };
        made.refresh();
        made
    }

    /// Takes the magnitude from which two instruments are one group, and the one assumed of a pair
    /// with too few samples, in parts per million.
    pub fn assume(&mut self, threshold_ppm: i64, unknown_ppm: i64) {
        self.threshold_ppm = threshold_ppm;
        self.unknown_ppm = unknown_ppm;
        self.refresh();
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.sums.fill(Sums::default());
        self.refresh();
    }

    /// Adds one interval's returns, in units of `1 /` [`RETURN_ONE`]; `None` masks an instrument.
    /// The oldest row leaves a full window.
    pub fn push(&mut self, returns: impl IntoIterator<Item = Option<i64>>) {
        let count = self.same.len();
        let mut row = Row {
            mask: 0,
            returns: alloc::vec![0; count],
        };
        for (place, value) in returns.into_iter().enumerate().take(count) {
            if let Some(value) = value {
                let cut = value.clamp(-RETURN_ONE, RETURN_ONE);
                row.returns[place] = i32::try_from(cut).expect("RETURN_ONE fits 32 bits");
                row.mask |= 1 << place;
            }
        }
        if self.rows.len() == WINDOW
            && let Some(oldest) = self.rows.pop_front()
        {
            self.take(&oldest, -1);
        }
        self.take(&row, 1);
        self.rows.push_back(row);
        self.refresh();
    }

    fn take(&mut self, row: &Row, sign: i64) {
        let mut pair = 0;
        for (i, &x) in row.returns.iter().enumerate() {
            let rest = &row.returns[i + 1..];
            let sums = &mut self.sums[pair..pair + rest.len()];
            pair += rest.len();
            if row.mask >> i & 1 == 0 {
                continue;
            }
            let mut others = row.mask >> i;
            for (sum, &y) in sums.iter_mut().zip(rest) {
                others >>= 1;
                if others & 1 == 1 {
                    sum.add(i64::from(x), i64::from(y), sign);
                }
            }
        }
    }

    /// Recomputes magnitudes and groups from the sums.
    fn refresh(&mut self) {
        let count = self.same.len();
        for (place, group) in (0..).zip(&mut self.groups) {
            *group = place;
        }
        let mut pair = 0;
        for i in 0..count {
            for j in i + 1..count {
                let known = self.sums[pair].coefficient().map(magnitude);
                let unknown = i32::try_from(self.unknown_ppm).unwrap_or(i32::MAX);
                let twins = self.same[i] >> j & 1 == 1;
                let used = if twins {
                    magnitude(1.0)
                } else {
                    known.unwrap_or(unknown)
                };
                self.magnitudes[pair] = used;
                if i64::from(used) >= self.threshold_ppm {
                    self.join(i, j);
                }
                pair += 1;
            }
        }
        // Every chain now ends at its group's first member.
        for place in 0..count {
            self.groups[place] = self.first(place);
        }
    }

    /// The first member of a group: chains lead to smaller places only.
    fn first(&self, mut place: usize) -> u16 {
        while usize::from(self.groups[place]) != place {
            place = usize::from(self.groups[place]);
        }
        self.groups[place]
    }

    fn join(&mut self, i: usize, j: usize) {
        let (a, b) = (self.first(i), self.first(j));
        self.groups[usize::from(a.max(b))] = a.min(b);
    }

    fn pair(&self, i: usize, j: usize) -> Option<usize> {
        let (low, high) = (i.min(j), i.max(j));
        let count = self.same.len();
        (low < high && high < count).then(|| low * (2 * count - low - 1) / 2 + (high - low - 1))
    }

    /// The measured coefficient of two different instruments; `None` with fewer than
    /// [`MIN_SAMPLES`] common samples or when one of them does not move.
    #[must_use]
    pub fn coefficient(&self, i: usize, j: usize) -> Option<f64> {
        self.sums[self.pair(i, j)?].coefficient()
    }

    /// The magnitude in use between two instruments, in parts per million: measured, else assumed.
    #[must_use]
    pub fn magnitude(&self, i: usize, j: usize) -> i64 {
        self.pair(i, j)
            .map_or(PPM, |pair| i64::from(self.magnitudes[pair]))
    }

    /// By instrument, the first instrument of its group: groups are what the graph of all pairs at
    /// or above the threshold connects, so that every instrument belongs to exactly one.
    #[must_use]
    pub fn groups(&self) -> &[u16] {
        &self.groups
    }

    /// Rows held.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "within [0, 1] times a million"
)]
fn magnitude(coefficient: f64) -> i32 {
    libm::round(libm::fabs(coefficient) * 1e6) as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Knuth's MMIX generator, cut to `[-10^6, 10^6]`.
    fn series(mut seed: u64, count: usize) -> Vec<i64> {
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((seed >> 33) % 2_000_001).expect("small") - 1_000_000
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn agrees_with_numpy() {
        // numpy 2.4.6: corrcoef over the last 120 of 200 samples of a, a + 2 b and b - 3 c; then of
        // the first two with every third sample left out.
        let (a, b, c) = (series(1, 200), series(2, 200), series(3, 200));
        assert_eq!(a[..3], [-165_680, 943_607, -659_500]);
        let mut whole = Correlation::new(3, |_, _| false);
        let mut masked = Correlation::new(3, |_, _| false);
        for i in 0..200 {
            let (y, z) = (a[i] + 2 * b[i], b[i] - 3 * c[i]);
            whole.push([Some(a[i]), Some(y), Some(z)]);
            masked.push([Some(a[i]), Some(y).filter(|_| i % 3 != 0), None]);
        }
        for (i, j, expected) in [(0, 1, NUMPY_AB), (0, 2, NUMPY_AC), (2, 1, NUMPY_BC)] {
            let got = whole.coefficient(i, j).expect("enough samples");
            assert!((got - expected).abs() < 1e-12, "{i} {j}: {got}");
        }
        let got = masked.coefficient(0, 1).expect("80 common samples");
        assert!((got - NUMPY_MASKED).abs() < 1e-12, "{got}");
        assert_eq!(masked.coefficient(0, 2), None, "never a common sample");
    }

    const NUMPY_AB: f64 = 0.5545583006005713;
    const NUMPY_AC: f64 = -0.024062307643932527;
    const NUMPY_BC: f64 = 0.21407027026922343;
    const NUMPY_MASKED: f64 = 0.568928180987552;

    #[test]
    fn groups_are_what_the_graph_connects() {
        let (a, b) = (series(1, 60), series(2, 60));
        let mut correlation = Correlation::new(5, |i, j| (i, j) == (3, 4) || (i, j) == (4, 3));
        correlation.assume(700_000, 500_000);
        assert_eq!(
            correlation.groups(),
            [0, 1, 2, 3, 3],
            "only what is the same asset"
        );
        assert_eq!(correlation.magnitude(0, 1), 500_000, "assumed");
        assert_eq!(correlation.magnitude(4, 3), PPM);
        for i in 0..60 {
            // 0 follows 2 inversely, 4 follows 2; 1 is on its own, and 3 never trades.
            let row = [-a[i], b[i], a[i] + b[i] / 8, 0, a[i] - b[i] / 8];
            correlation.push(row.map(Some));
        }
        assert_eq!(correlation.groups(), [0, 1, 0, 0, 0]);
        assert_eq!(correlation.coefficient(3, 0), None, "it does not move");
        assert!(correlation.coefficient(0, 2).expect("known") < -0.95);
        assert!(correlation.magnitude(2, 0) > 950_000);
        correlation.assume(1_000_000, 700_000);
        assert_eq!(correlation.groups(), [0, 1, 2, 3, 3]);
        correlation.clear();
        assert_eq!(
            (correlation.rows(), correlation.magnitude(0, 2)),
            (0, 700_000)
        );
    }

    /// Two passes over plain floats, as a textbook has it.
    fn naive(rows: &[Vec<Option<i64>>], i: usize, j: usize) -> Option<f64> {
        let newest = &rows[rows.len().saturating_sub(WINDOW)..];
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let common: Vec<(f64, f64)> = newest
            .iter()
            .filter_map(|row| Some((row[i]? as f64, row[j]? as f64)))
            .collect();
        if common.len() < usize::try_from(MIN_SAMPLES).expect("small") {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let count = common.len() as f64;
        let mean_x = common.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = common.iter().map(|(_, y)| y).sum::<f64>() / count;
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            common.iter().map(|(x, y)| of(x - mean_x, y - mean_y)).sum()
        };
        let (xx, yy) = (sum(&|x, _| x * x), sum(&|_, y| y * y));
        (xx > 1e-6 && yy > 1e-6).then(|| sum(&|x, y| x * y) / (xx * yy).sqrt())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn equals_a_recomputation_and_survives_storage(
            rows in proptest::collection::vec(
                proptest::collection::vec(
                    proptest::option::weighted(0.9, -20_000_000_i64..20_000_000), 4),
                1..300),
            stored in 0_usize..300,
        ) {
            let mut correlation = Correlation::new(4, |_, _| false);
            for (place, row) in rows.iter().enumerate() {
                if place == stored {
                    let bytes = postcard::to_allocvec(&correlation).expect("plain data");
                    let again: Correlation = postcard::from_bytes(&bytes).expect("as written");
                    prop_assert_eq!(&again, &correlation);
                    correlation = again;
                }
                correlation.push(row.iter().copied());
            }
            for i in 0..4 {
                for j in i + 1..4 {
                    let (got, expected) = (correlation.coefficient(i, j), naive(&rows, i, j));
                    match (got, expected) {
                        (Some(got), Some(expected)) => {
                            prop_assert!((got - expected).abs() < 1e-9, "{} {}", got, expected);
                        }
                        (got, expected) => prop_assert_eq!(got, expected),
                    }
                    prop_assert_eq!(got, correlation.coefficient(j, i));
                }
            }
        }
    }

    #[test]
    fn rows_of_another_shape_are_refused() {
        let mut correlation = Correlation::new(2, |_, _| false);
        correlation.push([Some(2 * RETURN_ONE), None]);
        assert_eq!(correlation.sums[0].count, 0);
        let mut stored = Stored::from(correlation.clone());
        assert_eq!(stored.rows[0].returns, [100_000_000, 0], "cut");
        stored.rows[0].returns.pop();
        assert!(Correlation::try_from(stored).is_err());
    }
}
