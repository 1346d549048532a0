//! The contest: a candidate and what it must beat, each alone on the same held-out market.

use std::path::PathBuf;
use std::thread;

use serde::Serialize;
use tickerml_edge::policy::model::Model;
use tickerml_edge::policy::{Policy, PolicyError, Setting};
use tickerml_edge::replay::trial::{self, Trial, trial};

use super::GateError;
use super::evidence::{self, Draw, Interval};

/// Contestants of an examination, at most.
pub const CONTESTANTS_MAX: usize = 16;

/// What a contestant is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It is examined.
    Candidate,
    /// It trades now.
    Incumbent,
    /// It does nothing.
    Flat,
    /// It is always long.
    BuyAndHold,
    /// It follows the imbalance of the order book.
    Imbalance,
    /// It learned the same by simpler means.
    Baseline,
}

impl Role {
    /// The code of the reason for which a candidate is refused that is no better.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Candidate => "G00-candidate",
            Self::Flat => "G30-flat",
            Self::BuyAndHold => "G31-buy-and-hold",
            Self::Imbalance => "G32-imbalance",
            Self::Incumbent => "G33-incumbent",
            Self::Baseline => "G34-baseline",
        }
    }
}

/// Who enters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What for.
    pub role: Role,
    /// Its name in the report.
    pub name: String,
    /// What it is, as [`Setting::from_text`] reads it: a policy's name, or `model:FOLDER`.
    pub policy: String,
    /// The folder of the backbone, for a model that carries its head alone.
    pub installed: Option<PathBuf>,
}

impl Entry {
    /// The policy, fresh.
    fn open(&self) -> Result<Policy, PolicyError> {
        match Setting::from_text(&self.policy)? {
            Setting::Model { folder, form } => {
                let model = Model::load_over(&folder, self.installed.as_deref(), form)?;
                Ok(Policy::Model(Box::new(model)))
            }
            named => named.open(),
        }
    }
}

/// What a contestant did, journal by journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Contest {
    /// Who.
    pub entry: Entry,
    /// What it did with each journal, in their order.
    pub trials: Vec<Trial>,
}

impl Contest {
    /// Returns from point to point: the journal's place, the instant at which each ends, and the return.
    #[must_use]
    pub fn returns(&self) -> Vec<(usize, u64, f64)> {
        let trials = self.trials.iter().enumerate();
        let each = trials.flat_map(|(place, trial)| {
            let returns = trial.returns().into_iter();
            returns.map(move |(at, earned)| (place, at, earned))
        });
        each.collect()
    }

    /// What an account earned that lived through all journals, as a fraction.
    #[must_use]
    pub fn earned(&self) -> f64 {
        let grown = self.trials.iter().map(|trial| 1.0 + trial.earned);
        grown.product::<f64>() - 1.0
    }

    /// The deepest fall within a journal.
    #[must_use]
    pub fn drawdown(&self) -> f64 {
        let each = self.trials.iter().map(|trial| trial.drawdown);
        each.fold(0.0, f64::max)
    }

    /// A count over all journals.
    #[must_use]
    pub fn sum(&self, of: impl Fn(&Trial) -> u64) -> u64 {
        self.trials.iter().map(of).sum()
    }

    /// An amount over all journals, as a fraction of their capitals.
    #[must_use]
    pub fn part(&self, of: impl Fn(&Trial) -> f64) -> f64 {
        let capital: f64 = self.trials.iter().map(|trial| trial.capital).sum();
        if capital > 0.0 {
            self.trials.iter().map(of).sum::<f64>() / capital
        } else {
            0.0
        }
    }

    /// The share of decisions that were to hold; 1 when there was none.
    #[must_use]
    pub fn hold_share(&self) -> f64 {
        match self.sum(|trial| trial.decisions) {
            0 => 1.0,
            decisions => self.sum(|trial| trial.classes[1]) as f64 / decisions as f64,
        }
    }

    /// A mean over the journals, weighted by their pulses.
    #[must_use]
    pub fn mean(&self, of: impl Fn(&Trial) -> f64) -> f64 {
        let pulses = self.sum(|trial| trial.pulses).max(1) as f64;
        let each = self.trials.iter();
        each.map(|trial| of(trial) * trial.pulses as f64)
            .sum::<f64>()
            / pulses
    }
}

/// Lets all of them trade every journal, each in a thread of its own.
///
/// # Errors
/// When a policy cannot be had or a journal cannot be replayed, with its name.
pub(super) fn hold(
    entries: &[Entry],
    journals: &[PathBuf],
    terms: &trial::Terms,
) -> Result<Vec<Contest>, GateError> {
    if entries.len() > CONTESTANTS_MAX {
        return Err(GateError(format!(
            "{} contestants are too many; compare with {} at most",
            entries.len(),
            CONTESTANTS_MAX
        )));
    }
    thread::scope(|scope| {
        let running: Vec<_> = entries
            .iter()
            .map(|entry| scope.spawn(move || one(entry, journals, terms)))
            .collect();
        let done = running.into_iter().zip(entries);
        done.map(|(thread, entry)| {
            thread.join().unwrap_or_else(|_| {
                Err(GateError(format!(
                    "{}: its trial broke off: that is a defect of this program",
                    entry.name
                )))
            })
        })
        .collect()
    })
}

fn one(entry: &Entry, journals: &[PathBuf], terms: &trial::Terms) -> Result<Contest, GateError> {
    let failed = |error: String| GateError(format!("{}: {error}", entry.name));
    let mut trials = Vec::new();
    for journal in journals {
        // A fresh one each time: nothing may be carried from one journal to another.
        let mut policy = entry.open().map_err(|error| failed(error.to_string()))?;
        let tried = trial(journal, &mut policy, terms, |_| ());
        trials.push(tried.map_err(|error| failed(error.to_string()))?);
    }
    Ok(Contest {
        entry: entry.clone(),
        trials,
    })
}

/// The interval of the mean difference of return per period; `None` when there are too few periods.
/// Both must have been through the same journals: their points are the same instants.
pub(super) fn difference(candidate: &Contest, rival: &Contest, draw: &Draw) -> Option<Interval> {
    let (own, its) = (candidate.returns(), rival.returns());
    let same = own.len() == its.len()
        && own
            .iter()
            .zip(&its)
            .all(|(own, its)| (own.0, own.1) == (its.0, its.1));
    let differences: Vec<f64> = own
        .iter()
        .zip(&its)
        .map(|(own, its)| own.2 - its.2)
        .collect();
    evidence::interval(&differences, draw).filter(|_| same)
}
