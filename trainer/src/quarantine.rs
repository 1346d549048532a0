//! The thirty days on which nothing is learned: the only door from history to training.
//!
//! A [`Dataset`] holds what lies before its [`Cutoff`] and a [`ValidationSet`] what lies after it. Training,
//! normalisation, the search for hyper-parameters and the choice of features take a [`Dataset`]; nothing that
//! takes one accepts the other.

use std::fmt;

use tickerml_shared::time::Time;

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
