//! The thirty days on which nothing is learned: the only door from history to training.
//!
//! A [`Dataset`] holds what lies before its [`Cutoff`] and a [`ValidationSet`] what lies after it. Training,
//! normalisation, the search for hyper-parameters and the choice of features take a [`Dataset`]; nothing that
//! takes one accepts the other:
//!
//! ```compile_fail,E0308
//! use tickerml_trainer::quarantine::{Dataset, ValidationSet};
//!
//! fn train(_: &Dataset) {}
//!
//! fn cheat(recent: &ValidationSet) {
//!     train(recent);
//! }
//! ```
//!
//! ```
//! use tickerml_trainer::quarantine::Dataset;
//!
//! fn train(_: &Dataset) {}
//!
//! fn learn(history: &Dataset) {
//!     train(history);
//! }
//! ```
//!
//! A store is cut between its day files: a [`Dataset`] opens those of whole UTC days before the cut-off, a
//! [`ValidationSet`] those from the cut-off's own day on. No file is opened by both, so what lies in quarantine
//! can neither be learned from nor disturb what is.

use std::fmt;

use tickerml_shared::time::Time;

use crate::history::{HistoryError, Store};
use crate::series::Series;

/// The shortest quarantine, in days. Configuration may lengthen it.
pub const DAYS_MIN: u32 = 30;

/// The instant from which on nothing may be learned. Made here alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoff(Time);

/// Why there is no cut-off: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineError(String);

impl fmt::Display for QuarantineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for QuarantineError {}

impl Cutoff {
    /// So many days before `now`.
    ///
    /// # Errors
    /// When that is less than [`DAYS_MIN`] days, or reaches back before 1970.
    pub fn new(now: Time, days: u32) -> Result<Self, QuarantineError> {
        if days < DAYS_MIN {
            return Err(QuarantineError(format!(
                "quarantine.days = {days}: the last {DAYS_MIN} days are never trained on; write {DAYS_MIN} or more"
            )));
        }
        let span = u64::from(days) * 86_400 * 1_000_000_000;
        match now.0.checked_sub(span) {
            Some(at) => Ok(Self(Time(at))),
            None => Err(QuarantineError(format!(
                "{days} days of quarantine reach back before 1970; is the clock right?"
            ))),
        }
    }

    /// The instant.
    #[must_use]
    pub const fn at(self) -> Time {
        self.0
    }
}

/// History that may be learned from: every step lies before the cut-off.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    series: Vec<Series>,
    cutoff: Cutoff,
}

impl Dataset {
    /// Reads from a store what lies before the UTC day of the cut-off: the files of later days are not opened.
    ///
    /// # Errors
    /// When a day file on this side is damaged or was made under another schema.
    pub fn open(store: &Store, cutoff: Cutoff) -> Result<Self, HistoryError> {
        let series = store.load(&[], Time(0)..cutoff.0.day())?;
        Ok(Self::new(series, cutoff))
    }

    /// Keeps what lies before the cut-off; a label that looks ahead cannot look across it.
    #[must_use]
    pub fn new(series: Vec<Series>, cutoff: Cutoff) -> Self {
        let series = cut(series, |at| at < cutoff.0);
        Self { series, cutoff }
    }

    /// The series.
    #[must_use]
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Where it ends.
    #[must_use]
    pub const fn cutoff(&self) -> Cutoff {
        self.cutoff
    }
}

/// History that only examines: every step lies at the cut-off or after it.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationSet {
    series: Vec<Series>,
}

impl ValidationSet {
    /// Reads from a store what lies at the cut-off or after it: the files of days before it are not opened.
    ///
    /// # Errors
    /// When a day file on this side is damaged or was made under another schema.
    pub fn open(store: &Store, cutoff: Cutoff) -> Result<Self, HistoryError> {
        let series = store.load(&[], cutoff.0..Time(u64::MAX))?;
        Ok(Self::new(series, cutoff))
    }

    /// Keeps what lies at the cut-off or after it.
    #[must_use]
    pub fn new(series: Vec<Series>, cutoff: Cutoff) -> Self {
        Self {
            series: cut(series, |at| at >= cutoff.0),
        }
    }

    /// The series.
    #[must_use]
    pub fn series(&self) -> &[Series] {
        &self.series
    }
}

/// The rows that are kept; series of which nothing is left are dropped.
fn cut(series: Vec<Series>, keep: impl Fn(Time) -> bool) -> Vec<Series> {
    let mut series = series;
    for one in &mut series {
        one.rows.retain(|row| keep(row.at));
    }
    series.retain(|one| !one.rows.is_empty());
    series
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;
    use tickerml_shared::features::Vector;
    use tickerml_shared::rand::Rng;
    use tickerml_shared::time::{DAYS, SECONDS};

    use super::*;
    use crate::history::Origin;
    use crate::series::MarketRow;

    const PULSE_NS: u64 = 3_600 * SECONDS;
    const NAME: &str = "binance:BTCUSDT";
    /// Noon of a day, so that the cut-off falls inside a day.
    const NOW: Time = Time(20_100 * DAYS + DAYS / 2);

    fn rows(from: Time, count: u64, rng: &mut Rng) -> Vec<MarketRow> {
        let row = |n| {
            let mut state = Vector {
                valid: 0b111,
                ..Vector::default()
            };
            state.values[..3].fill_with(|| rng.below(1_000) as f32);
            let bid = 100.0 + rng.below(100) as f64;
            MarketRow {
                at: from.plus(n * PULSE_NS),
                state,
                bid,
                ask: bid + 1.0,
                masked: rng.below(10) == 0,
            }
        };
        (0..count).map(row).collect()
    }

    fn put(store: &Store, rows: Vec<MarketRow>) {
        let series = Series {
            instrument: NAME.to_owned(),
            pulse_ns: PULSE_NS,
            rows,
        };
        let origin = Origin {
            source: "test".to_owned(),
            assumed_spread_bps: None,
        };
        store.put(&series, &origin).expect("room");
    }

    fn day_files(store: &Store) -> Vec<(Time, PathBuf)> {
        let days = store.kept().expect("a folder").remove(0).days;
        days.into_iter()
            .map(|day| (day, store.path(NAME, PULSE_NS, day).expect("a path")))
            .collect()
    }

    #[test]
    fn a_quarantine_of_29_days_does_not_start() {
        for days in [0, 1, DAYS_MIN - 1] {
            let error = Cutoff::new(NOW, days).expect_err("too short").to_string();
            assert!(
                error.contains("never trained on; write 30 or more"),
                "{error}"
            );
        }
        assert_eq!(
            Cutoff::new(NOW, 30).map(Cutoff::at),
            Ok(NOW.minus(30 * DAYS))
        );
        assert_eq!(
            Cutoff::new(NOW, 90).map(Cutoff::at),
            Ok(NOW.minus(90 * DAYS))
        );
        assert!(Cutoff::new(Time(DAYS), 30).is_err());
    }

    #[test]
    fn each_side_opens_its_own_day_files_only() {
        let folder = TempDir::new().expect("a folder");
        let store = Store::create(folder.path()).expect("a store");
        let first = NOW.minus(60 * DAYS).day();
        put(&store, rows(first, 60 * 24 + 12, &mut Rng::new(1, 1)));
        let cutoff = Cutoff::new(NOW, 30).expect("30 days");
        let dataset = Dataset::open(&store, cutoff).expect("whole");
        let recent = ValidationSet::open(&store, cutoff).expect("whole");
        assert_eq!(dataset.series()[0].rows.len(), 30 * 24);
        assert_eq!(recent.series()[0].rows.len(), 30 * 24);
        assert_eq!(recent.series()[0].rows[0].at, cutoff.at());

        let files = day_files(&store);
        let whole: Vec<_> = files
            .iter()
            .map(|(_, path)| fs::read(path).expect("a file"))
            .collect();
        for (day, path) in &files {
            if *day >= cutoff.at().day() {
                // A folder in place of a file can be opened by nobody, not even by root.
                fs::remove_file(path).expect("a file");
                fs::create_dir(path).expect("room");
            }
        }
        assert_eq!(Dataset::open(&store, cutoff), Ok(dataset));
        assert!(ValidationSet::open(&store, cutoff).is_err());
        for ((day, path), bytes) in files.iter().zip(&whole) {
            if *day >= cutoff.at().day() {
                fs::remove_dir(path).expect("a folder");
                fs::write(path, bytes).expect("room");
            } else {
                fs::write(path, b"no Parquet").expect("room");
            }
        }
        assert_eq!(ValidationSet::open(&store, cutoff), Ok(recent));
        assert!(Dataset::open(&store, cutoff).is_err());
    }

    #[test]
    fn what_is_learned_from_is_the_same_to_the_bit_whatever_the_last_thirty_days_are() {
        for seed in 0..12 {
            let mut rng = Rng::new(seed, 7);
            let first = NOW.minus((31 + rng.below(20)) * DAYS + rng.below(DAYS));
            let first = Time(first.0 - first.0 % PULSE_NS);
            let count = NOW.since(first).cast_unsigned() / PULSE_NS;
            let cutoff = Cutoff::new(NOW, 30 + u32::try_from(rng.below(2)).expect("small"))
                .expect("30 or more");
            let all = rows(first, count, &mut rng);
            let before: Vec<_> = all
                .iter()
                .copied()
                .filter(|row| row.at < cutoff.at())
                .collect();
            let others = rows(cutoff.at().plus(PULSE_NS), 24 * 20, &mut rng);
            let replaced: Vec<_> = before.iter().copied().chain(others).collect();
            let mut found = Vec::new();
            for rows in [all, before, replaced] {
                let folder = TempDir::new().expect("a folder");
                let store = Store::create(folder.path()).expect("a store");
                put(&store, rows);
                let dataset = Dataset::open(&store, cutoff).expect("whole");
                assert!(
                    dataset.series()[0]
                        .rows
                        .iter()
                        .all(|row| row.at < cutoff.at())
                );
                found.push(format!("{dataset:?}"));
            }
            assert!(
                found.windows(2).all(|pair| pair[0] == pair[1]),
                "seed {seed}"
            );
        }
    }
}
