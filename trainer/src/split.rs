//! Which rows train and which test: walk-forward, purged k-fold and combinatorial purged splits.
//!
//! López de Prado, *Advances in Financial Machine Learning* (2018), chapters 7 and 12. Rows are in order of time.
//! A label looks ahead, so rows before a test set are *purged* where their labels reach into it; features look
//! back, so rows after a test set are purged as well and *embargoed* a while longer. Everything is index
//! arithmetic over ranges; nothing here knows what a row is.
//!
//! Definitions are those of skfolio (`CombinatorialPurgedCV`, `WalkForward`), against which `tests/splits`
//! compares them: rows are cut into `folds` folds of `rows / folds` rows, the last one takes what is left; each
//! choice of `test_folds` folds is one split, in lexicographic order. A fold is tested in
//! `C(folds − 1, test_folds − 1)` splits, and as many *paths* run through all folds: path `p` takes each fold from
//! the `p`-th split that tests it.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// More splits than this are a mistake: each one is a training.
pub const SPLITS_MAX: usize = 100_000;

/// Why there are no splits: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitError(String);

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SplitError {}

/// One training and its tests, as ranges of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Split {
    /// Rows to train on, in order of time; none is empty and none touch.
    pub train: Vec<Range<usize>>,
    /// Rows to test on: one range a test fold, in order of time.
    pub test: Vec<Range<usize>>,
}

impl Split {
    /// Rows to train on, counted.
    #[must_use]
    pub fn train_rows(&self) -> usize {
        self.train.iter().map(Range::len).sum()
    }

    /// Rows to test on, counted.
    #[must_use]
    pub fn test_rows(&self) -> usize {
        self.test.iter().map(Range::len).sum()
    }
}

/// Trains on the past and tests on what comes next, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalkForward {
    /// Rows of the first training, and of every one that rolls.
    pub train: usize,
    /// Rows of each test.
    pub test: usize,
    /// Rows left out between the two: as many as a label looks ahead.
    #[serde(default)]
    pub purge: usize,
    /// Rows left out besides.
    #[serde(default)]
    pub embargo: usize,
    /// Training starts at the first row each time, instead of rolling along.
    #[serde(default)]
    pub expanding: bool,
    /// The last test may be shorter than the others, instead of being left out.
    #[serde(default)]
    pub short_end: bool,
}

impl WalkForward {
    /// The splits over so many rows.
    ///
    /// # Errors
    /// When a size is zero, the rows hold no split, or they hold more than [`SPLITS_MAX`].
    pub fn splits(&self, rows: usize) -> Result<Vec<Split>, SplitError> {
        if self.train == 0 || self.test == 0 {
            return Err(SplitError(format!(
                "walk-forward with train = {} and test = {}: both want at least one row",
                self.train, self.test
            )));
        }
        let first = [self.train, self.purge, self.embargo]
            .iter()
            .try_fold(0_usize, |sum, part| sum.checked_add(*part));
        let wanted = if self.short_end { 1 } else { self.test };
        let Some(first) = first.filter(|first| {
            first
                .checked_add(wanted)
                .is_some_and(|needed| needed <= rows)
        }) else {
            return Err(SplitError(format!(
                "{rows} rows are too few for one walk-forward split: train = {}, purge = {}, embargo = {} and \
                 test = {} do not fit; shorten them or bring more history",
                self.train, self.purge, self.embargo, self.test
            )));
        };
        let count = if self.short_end {
            (rows - first).div_ceil(self.test)
        } else {
            (rows - first) / self.test
        };
        if count > SPLITS_MAX {
            return Err(SplitError(format!(
                "walk-forward makes {count} splits, each one a training; lengthen test = {} so that there are at \
                 most {SPLITS_MAX}",
                self.test
            )));
        }
        Ok((0..count)
            .map(|split| {
                let start = first + split * self.test;
                let end = start - self.purge - self.embargo;
                let from = if self.expanding { 0 } else { end - self.train };
                Split {
                    train: vec![Range { start: from, end }],
                    test: vec![Range {
                        start,
                        end: rows.min(start + self.test),
                    }],
                }
            })
            .collect())
    }
}

/// Every choice of test folds: combinatorial purged cross-validation, and purged k-fold with one test fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Combinatorial {
    /// Folds into which the rows are cut (N).
    pub folds: usize,
    /// Folds that each split tests (k).
    pub test_folds: usize,
    /// Rows left out of training on both sides of a test set: as many as a label looks ahead.
    #[serde(default)]
    pub purge: usize,
    /// Rows left out besides, after a test set.
    #[serde(default)]
    pub embargo: usize,
}

/// A fold of a test path, and the split whose model is tested on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Index of the split.
    pub split: usize,
    /// Index of the fold.
    pub fold: usize,
    /// Which of the split's tests this is.
    pub test: usize,
    /// Its rows.
    pub rows: Range<usize>,
}

impl Combinatorial {
    /// Purged k-fold: each fold is tested once, by a model trained on all others.
    #[must_use]
    pub const fn k_fold(folds: usize, purge: usize, embargo: usize) -> Self {
        Self {
            folds,
            test_folds: 1,
            purge,
            embargo,
        }
    }

    /// What is wrong with this choice of folds, whatever the rows.
    ///
    /// # Errors
    /// When there are fewer than two folds, none or all of them are tested, or there are more than
    /// [`SPLITS_MAX`] splits.
    pub fn check(&self) -> Result<(), SplitError> {
        let (folds, tests) = (self.folds, self.test_folds);
        if folds < 2 || tests == 0 || tests >= folds {
            return Err(SplitError(format!(
                "folds = {folds} and test_folds = {tests}: at least one fold must test and one must train"
            )));
        }
        match binomial(folds, tests) {
            Some(count) if count <= SPLITS_MAX => Ok(()),
            _ => Err(SplitError(format!(
                "folds = {folds} and test_folds = {tests} make more than {SPLITS_MAX} splits, each one a training; \
                 take fewer folds"
            ))),
        }
    }

    /// How many splits there are: `C(folds, test_folds)`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn split_count(&self) -> Result<usize, SplitError> {
        self.check()?;
        Ok(binomial(self.folds, self.test_folds).unwrap_or(0))
    }

    /// How many test paths they make: `C(folds − 1, test_folds − 1)`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn path_count(&self) -> Result<usize, SplitError> {
        self.check()?;
        Ok(binomial(self.folds - 1, self.test_folds - 1).unwrap_or(0))
    }

    /// The rows of a fold.
    fn fold(&self, fold: usize, rows: usize) -> Range<usize> {
        let size = rows / self.folds;
        let end = if fold + 1 == self.folds {
            rows
        } else {
            (fold + 1) * size
        };
        fold * size..end
    }

    /// What is wrong with this choice of folds over so many rows.
    fn check_rows(&self, rows: usize) -> Result<(), SplitError> {
        self.check()?;
        let size = rows / self.folds;
        if size == 0 {
            return Err(SplitError(format!(
                "{rows} rows are too few for {} folds; take fewer folds or bring more history",
                self.folds
            )));
        }
        let gap = self.purge.saturating_add(self.embargo);
        // One train fold between two test folds must keep rows of its own.
        if gap > 0 && gap >= size - 1 {
            return Err(SplitError(format!(
                "purge = {} and embargo = {} use up a fold of {size} rows; take fewer folds, or leave out less",
                self.purge, self.embargo
            )));
        }
        Ok(())
    }

    /// The splits over so many rows, in lexicographic order of their test folds.
    ///
    /// # Errors
    /// As [`Self::check`], and when a fold is empty or used up by purge and embargo.
    pub fn splits(&self, rows: usize) -> Result<impl Iterator<Item = Split> + use<>, SplitError> {
        self.check_rows(rows)?;
        let scheme = *self;
        Ok(self.choices().map(move |tests| scheme.split(&tests, rows)))
    }

    /// The split that tests these folds.
    fn split(&self, tests: &[usize], rows: usize) -> Split {
        let tested = |fold: usize| tests.binary_search(&fold).is_ok();
        let mut train: Vec<Range<usize>> = Vec::new();
        for fold in (0..self.folds).filter(|fold| !tested(*fold)) {
            let mut kept = self.fold(fold, rows);
            if fold > 0 && tested(fold - 1) {
                kept.start += self.purge + self.embargo;
            }
            if fold + 1 < self.folds && tested(fold + 1) {
                kept.end = kept.end.saturating_sub(self.purge);
            }
            match train.last_mut() {
                _ if kept.is_empty() => {}
                Some(last) if last.end == kept.start => last.end = kept.end,
                _ => train.push(kept),
            }
        }
        Split {
            train,
            test: tests.iter().map(|fold| self.fold(*fold, rows)).collect(),
        }
    }

    /// The test folds of each split.
    fn choices(&self) -> Choices {
        Choices {
            of: self.folds,
            next: Some((0..self.test_folds).collect()),
        }
    }

    /// For each split, the path to which each of its tests belongs: `[splits, test_folds]`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn path_ids(&self) -> Result<Vec<Vec<usize>>, SplitError> {
        self.check()?;
        let mut seen = vec![0; self.folds];
        Ok(self
            .choices()
            .map(|tests| {
                tests
                    .iter()
                    .map(|fold| {
                        seen[*fold] += 1;
                        seen[*fold] - 1
                    })
                    .collect()
            })
            .collect())
    }

    /// The test paths over so many rows: each runs once through all rows, every fold judged by a model that was
    /// not trained on it: `[paths, folds]`.
    ///
    /// # Errors
    /// As [`Self::splits`].
    pub fn paths(&self, rows: usize) -> Result<Vec<Vec<Piece>>, SplitError> {
        self.check_rows(rows)?;
        let mut paths = vec![Vec::with_capacity(self.folds); self.path_count()?];
        for (split, (tests, ids)) in self.choices().zip(self.path_ids()?).enumerate() {
            for (test, (fold, path)) in tests.into_iter().zip(ids).enumerate() {
                paths[path].push(Piece {
                    split,
                    fold,
                    test,
                    rows: self.fold(fold, rows),
                });
            }
        }
        for path in &mut paths {
            path.sort_by_key(|piece| piece.fold);
        }
        Ok(paths)
    }

    /// Joins what each split said about its test rows into the test paths: `[paths, rows]`.
    ///
    /// `tested[split]` holds one value a test row, fold after fold.
    ///
    /// # Errors
    /// As [`Self::splits`], and when `tested` has other lengths than the splits.
    pub fn recombine<T: Clone>(
        &self,
        rows: usize,
        tested: &[Vec<T>],
    ) -> Result<Vec<Vec<T>>, SplitError> {
        let splits: Vec<Split> = self.splits(rows)?.collect();
        let fits = splits.len() == tested.len()
            && splits
                .iter()
                .zip(tested)
                .all(|(split, values)| split.test_rows() == values.len());
        if !fits {
            return Err(SplitError(format!(
                "test results do not belong to these splits: {} splits over {rows} rows want one value a test row",
                splits.len()
            )));
        }
        let joined = self.paths(rows)?.into_iter().map(|path| {
            path.into_iter()
                .flat_map(|piece| {
                    let before: usize = splits[piece.split].test[..piece.test]
                        .iter()
                        .map(Range::len)
                        .sum();
                    tested[piece.split][before..][..piece.rows.len()].to_vec()
                })
                .collect()
        });
        Ok(joined.collect())
    }
}

/// Choices of some of `0..of`, ascending, in lexicographic order.
struct Choices {
    of: usize,
    next: Option<Vec<usize>>,
}

impl Iterator for Choices {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        let now = self.next.take()?;
        let (of, some) = (self.of, now.len());
        // The last place that can still move up, and all behind it in a row after it.
        if let Some(place) = (0..some).rev().find(|i| now[*i] < of - some + i) {
            let mut next = now.clone();
            let base = now[place] + 1;
            for (offset, value) in next[place..].iter_mut().enumerate() {
                *value = base + offset;
            }
            self.next = Some(next);
        }
        Some(now)
    }
}

/// `C(n, k)`, unless it is far beyond [`SPLITS_MAX`].
fn binomial(n: usize, k: usize) -> Option<usize> {
    let k = k.min(n - k);
    (0..k).try_fold(1_usize, |all, i| {
        all.checked_mul(n - i)
            .map(|all| all / (i + 1))
            .filter(|all| *all <= SPLITS_MAX * 1_000)
    })
}

/// A way to split, as configuration writes it: `{ scheme = "combinatorial", folds = 10, test_folds = 2 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "snake_case")]
pub enum Scheme {
    /// Trains on the past, tests on what comes next.
    WalkForward(WalkForward),
    /// Tests every choice of folds; one test fold is purged k-fold.
    Combinatorial(Combinatorial),
}

impl Scheme {
    /// The splits over so many rows.
    ///
    /// # Errors
    /// As [`WalkForward::splits`] and [`Combinatorial::splits`].
    pub fn splits(&self, rows: usize) -> Result<Vec<Split>, SplitError> {
        match self {
            Self::WalkForward(scheme) => scheme.splits(rows),
            Self::Combinatorial(scheme) => Ok(scheme.splits(rows)?.collect()),
        }
    }

    /// Reads a scheme from JSON.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn from_json(text: &str) -> Result<Self, SplitError> {
        serde_json::from_str(text).map_err(|error| {
            SplitError(format!(
                "the scheme cannot be read ({error}); write for instance \
                 {{\"scheme\":\"combinatorial\",\"folds\":10,\"test_folds\":2,\"purge\":5,\"embargo\":5}}"
            ))
        })
    }

    /// The splits over so many rows as one line of JSON: the scheme, `rows`, `splits` with their `train` and
    /// `test` ranges as `{start, end}`, and `path_ids` (empty for walk-forward, which has one path).
    ///
    /// # Errors
    /// As [`Self::splits`].
    pub fn json(&self, rows: usize) -> Result<String, SplitError> {
        let path_ids = match self {
            Self::WalkForward(_) => Vec::new(),
            Self::Combinatorial(scheme) => scheme.path_ids()?,
        };
        Ok(serde_json::json!({
            "scheme": self,
            "rows": rows,
            "splits": self.splits(rows)?,
            "path_ids": path_ids,
        })
        .to_string())
    }

    /// The splits over so many rows as text for people, one a line.
    ///
    /// # Errors
    /// As [`Self::splits`].
    pub fn text(&self, rows: usize) -> Result<String, SplitError> {
        let ranges = |ranges: &[Range<usize>]| {
            let all: Vec<String> = ranges
                .iter()
                .map(|range| format!("{}..{}", range.start, range.end))
                .collect();
            all.join(" ")
        };
        let lines: Vec<String> = self
            .splits(rows)?
            .iter()
            .enumerate()
            .map(|(at, split)| {
                format!(
                    "split {at}: train {} ({} rows), test {} ({} rows)\n",
                    ranges(&split.train),
                    split.train_rows(),
                    ranges(&split.test),
                    split.test_rows()
                )
            })
            .collect();
        Ok(lines.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(ranges: &[Range<usize>]) -> Vec<usize> {
        ranges.iter().cloned().flatten().collect()
    }

    #[test]
    fn the_documented_example_of_skfolio_comes_out() {
        let scheme = Combinatorial {
            folds: 3,
            test_folds: 2,
            purge: 1,
            embargo: 0,
        };
        let splits: Vec<Split> = scheme.splits(12).expect("splits").collect();
        let train: Vec<Vec<usize>> = splits.iter().map(|split| rows_of(&split.train)).collect();
        assert_eq!(train, [vec![9, 10, 11], vec![5, 6], vec![0, 1, 2]]);
        assert_eq!(splits[1].test, [0..4, 8..12]);
        assert_eq!(
            scheme.path_ids(),
            Ok(vec![vec![0, 0], vec![1, 0], vec![1, 1]])
        );
    }

    /// The definition, row by row: a row trains if it is no test row and far enough from each.
    #[test]
    fn no_training_row_is_near_a_test_row_and_no_other_row_is_left_out() {
        for (folds, test_folds, purge, embargo, rows) in [
            (5, 1, 2, 1, 53),
            (6, 2, 3, 2, 61),
            (6, 3, 0, 0, 60),
            (10, 8, 1, 1, 107),
            (4, 2, 6, 1, 40),
        ] {
            let scheme = Combinatorial {
                folds,
                test_folds,
                purge,
                embargo,
            };
            for split in scheme.splits(rows).expect("splits") {
                let tests = rows_of(&split.test);
                let expected: Vec<usize> = (0..rows)
                    .filter(|row| {
                        tests
                            .iter()
                            .all(|test| row + purge < *test || *row > test + purge + embargo)
                    })
                    .collect();
                assert_eq!(rows_of(&split.train), expected, "{scheme:?} {split:?}");
            }
        }
    }

    #[test]
    fn each_path_runs_once_through_all_rows_and_no_test_is_used_twice() {
        let scheme = Combinatorial {
            folds: 6,
            test_folds: 2,
            purge: 1,
            embargo: 1,
        };
        assert_eq!((scheme.split_count(), scheme.path_count()), (Ok(15), Ok(5)));
        let tested: Vec<Vec<(usize, usize)>> = scheme
            .splits(64)
            .expect("splits")
            .enumerate()
            .map(|(at, split)| {
                rows_of(&split.test)
                    .into_iter()
                    .map(|row| (at, row))
                    .collect()
            })
            .collect();
        let paths = scheme.recombine(64, &tested).expect("paths");
        assert_eq!(paths.len(), 5);
        let mut used = Vec::new();
        for path in paths {
            assert!(path.iter().map(|(_, row)| *row).eq(0..64));
            used.extend(path);
        }
        let all = used.len();
        used.sort_unstable();
        used.dedup();
        assert_eq!((used.len(), all), (5 * 64, 5 * 64));
        assert!(scheme.recombine(63, &tested).is_err());
    }

    #[test]
    fn walk_forward_rolls_or_expands_and_keeps_its_distance() {
        let mut scheme = WalkForward {
            train: 10,
            test: 4,
            purge: 2,
            embargo: 1,
            expanding: false,
            short_end: false,
        };
        let splits = scheme.splits(23).expect("splits");
        assert_eq!(splits.len(), 2);
        assert_eq!(
            (&splits[1].train[0], &splits[1].test[0]),
            (&(4..14), &(17..21))
        );
        scheme.expanding = true;
        scheme.short_end = true;
        let splits = scheme.splits(23).expect("splits");
        assert_eq!(splits.len(), 3);
        assert_eq!(
            (&splits[2].train[0], &splits[2].test[0]),
            (&(0..18), &(21..23))
        );
    }

    #[test]
    fn what_cannot_be_split_is_told_with_its_remedy() {
        let of = |folds, test_folds, purge, embargo, rows| {
            let scheme = Scheme::Combinatorial(Combinatorial {
                folds,
                test_folds,
                purge,
                embargo,
            });
            scheme.splits(rows).expect_err("no splits").to_string()
        };
        assert!(of(3, 3, 0, 0, 90).contains("one must train"));
        assert!(of(30, 15, 0, 0, 900).contains("more than 100000 splits"));
        assert!(of(10, 2, 0, 0, 9).contains("too few for 10 folds"));
        assert!(of(10, 2, 5, 5, 100).contains("use up a fold of 10 rows"));
        let walk = WalkForward {
            train: usize::MAX,
            test: 1,
            purge: 1,
            embargo: 0,
            expanding: false,
            short_end: false,
        };
        assert!(
            walk.splits(10)
                .expect_err("too few")
                .to_string()
                .contains("too few")
        );
        let none = WalkForward { test: 0, ..walk };
        assert!(
            none.splits(10)
                .expect_err("no test")
                .to_string()
                .contains("at least one row")
        );
        assert!(Scheme::from_json("{\"scheme\":\"leave\"}").is_err());
        let read = Scheme::from_json("{\"scheme\":\"walk_forward\",\"train\":2,\"test\":1}")
            .expect("a scheme");
        assert_eq!(read.splits(4).expect("splits").len(), 2);
        assert!(
            read.text(4)
                .expect("text")
                .contains("split 1: train 1..3 (2 rows), test 3..4 (1 rows)")
        );
    }
}
