//! The search for hyper-parameters: random, TPE and ASHA over a space that configuration describes.
//!
//! * **Random**: every trial is drawn from the space.
//! * **TPE** (Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization*): past trials are cut at a quantile
//!   of their scores into good and bad ones; of some candidates drawn from the density of the good, the one with the
//!   best ratio of the two densities is tried.
//! * **ASHA** (Li et al. 2018, *A System for Massively Parallel Hyperparameter Tuning*): each trial starts with a
//!   small budget, and the best `1 / reduction` of every rung goes on with `reduction` times as much, without
//!   waiting for a rung to be full.
//!
//! Scores are better the higher they are. The search counts every trial, also those that failed: the deflated
//! Sharpe ratio asks for that number ([`Outcome::trials`]).
//!
//! Trials run in *waves* of as many as there are workers. What a wave tries depends on the trials before it alone,
//! never on which of them was ready first: with the same seed and the same number of workers a search gives the
//! same journal, whatever the machine's load. Another number of workers makes other waves, so another search,
//! except for random search, whose trials do not depend on each other at all.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tickerml_shared::rand::Rng;

use crate::quarantine::Dataset;

mod journal;
mod propose;

pub use journal::Record;

/// Most trials of a search.
pub const TRIALS_MAX: usize = 100_000;
/// Most trials at once: one a device.
pub const WORKERS_MAX: usize = 64;
/// Most parameters of a space.
pub const PARAMETERS_MAX: usize = 64;

/// Why there is no search: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchError(String);

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SearchError {}

/// One parameter, as configuration writes it: `rate = { kind = "log_uniform", low = 1e-5, high = 1e-2 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Range {
    /// Any number from `low` to `high`.
    Uniform {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// Any number from `low` to `high`, each order of magnitude as probable as the next.
    LogUniform {
        /// The least; above zero.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// A whole number from `low` to `high`, both included.
    Int {
        /// The least.
        low: i32,
        /// The greatest.
        high: i32,
    },
    /// One of some words.
    Choice {
        /// The words.
        of: Vec<String>,
    },
}

/// A parameter's value in a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Of a whole number.
    Int(i32),
    /// Of a number.
    Number(f64),
    /// Of a choice.
    Word(String),
}

/// The parameters of a search, in order of their names.
pub type Space = std::collections::BTreeMap<String, Range>;
/// Their values in a trial.
pub type Values = std::collections::BTreeMap<String, Value>;

/// How trials are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Method {
    /// Each trial on its own.
    Random,
    /// Near what was good and away from what was bad.
    Tpe {
        /// Random trials before the densities are trusted.
        startup: usize,
        /// Candidates of which the best is tried.
        candidates: usize,
    },
    /// Random trials, of which the better get a larger budget.
    Asha {
        /// Budget of the first rung (r), in the trial's own unit.
        least: u32,
        /// Budget of the last (R).
        most: u32,
        /// One in so many goes on, with so many times the budget (η).
        reduction: u32,
    },
}

/// A search, as configuration describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// How trials are chosen.
    pub method: Method,
    /// Configurations tried; with ASHA each of them on one rung or more.
    pub configurations: usize,
    /// Trials at once, one a device.
    pub workers: usize,
    /// Makes the search repeatable.
    pub seed: u64,
    /// What is searched.
    pub space: Space,
}

/// One trial to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Number of the configuration, from zero on.
    pub configuration: usize,
    /// Its values.
    pub values: Values,
    /// Rung of ASHA; zero otherwise.
    pub rung: usize,
    /// Budget of this rung, in the trial's own unit; zero where the method has none.
    pub budget: u32,
    /// A seed of its own, the same on every rung.
    pub seed: u64,
    /// Which worker runs it, from zero on: the device to use.
    pub worker: usize,
}

impl Trial {
    /// A number of this trial.
    ///
    /// # Errors
    /// When the space has no such number.
    pub fn number(&self, name: &str) -> Result<f64, SearchError> {
        match self.values.get(name) {
            Some(Value::Number(value)) => Ok(*value),
            Some(Value::Int(value)) => Ok(f64::from(*value)),
            _ => Err(SearchError(format!(
                "the trial has no number {name}; describe it in the search's space"
            ))),
        }
    }

    /// A whole number of this trial.
    ///
    /// # Errors
    /// When the space has no such whole number.
    pub fn int(&self, name: &str) -> Result<i32, SearchError> {
        match self.values.get(name) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(SearchError(format!(
                "the trial has no whole number {name}; describe it in the search's space with kind = \"int\""
            ))),
        }
    }

    /// A word of this trial.
    ///
    /// # Errors
    /// When the space has no such choice.
    pub fn word(&self, name: &str) -> Result<&str, SearchError> {
        match self.values.get(name) {
            Some(Value::Word(word)) => Ok(word),
            _ => Err(SearchError(format!(
                "the trial has no choice {name}; describe it in the search's space with kind = \"choice\""
            ))),
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The best trial on the highest rung that was reached; none when all failed.
    pub best: Option<Record>,
    /// Every trial that was run, in the order of the journal.
    pub records: Vec<Record>,
    /// Configurations tried: what the deflated Sharpe ratio counts.
    pub trials: usize,
    /// Budget spent, in the trial's own unit.
    pub spent: u64,
}

impl Search {
    /// Reads a search from TOML.
    ///
    /// # Errors
    /// When the text is no search, or [`Self::check`] finds something.
    pub fn from_toml(text: &str) -> Result<Self, SearchError> {
        let search: Self = toml::from_str(text).map_err(|error| {
            SearchError(format!("the search cannot be read: {}", error.message()))
        })?;
        search.check()?;
        Ok(search)
    }

    /// What is wrong with this search.
    ///
    /// # Errors
    /// When a number is out of its bounds or a range is empty.
    pub fn check(&self) -> Result<(), SearchError> {
        let bounded = |name: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(SearchError(format!(
                    "search.{name} = {value}; give 1 to {most}"
                )))
            }
        };
        bounded("configurations", self.configurations, TRIALS_MAX)?;
        bounded("workers", self.workers, WORKERS_MAX)?;
        bounded(
            "space holds parameters, their number",
            self.space.len(),
            PARAMETERS_MAX,
        )?;
        for (name, range) in &self.space {
            let fits = match range {
                Range::Uniform { low, high } => low < high && (high - low).is_finite(),
                Range::LogUniform { low, high } => 0.0 < *low && low < high && high.is_finite(),
                Range::Int { low, high } => low <= high,
                Range::Choice { of } => !of.is_empty(),
            };
            if !fits {
                return Err(SearchError(format!(
                    "search.space.{name} is empty: low must be below high (above zero for log_uniform), and a choice \
                     wants a word"
                )));
            }
        }
        match self.method {
            Method::Random => Ok(()),
            Method::Tpe {
                startup,
                candidates,
            } => {
                bounded("method.startup", startup, TRIALS_MAX)?;
                bounded("method.candidates", candidates, 10_000)
            }
            Method::Asha {
                least,
                most,
                reduction,
            } => {
                if least == 0 || most < least || reduction < 2 {
                    return Err(SearchError(format!(
                        "search.method with least = {least}, most = {most}, reduction = {reduction}: budgets rise from \
                         1 or more, by a factor of 2 or more"
                    )));
                }
                Ok(())
            }
        }
    }

    /// Budgets of the rungs; one of zero where the method has none.
    #[must_use]
    pub fn budgets(&self) -> Vec<u32> {
        let Method::Asha {
            least,
            most,
            reduction,
        } = self.method
        else {
            return vec![0];
        };
        let mut budgets = vec![least];
        let mut next = least.saturating_mul(reduction);
        while next <= most && next > *budgets.last().unwrap_or(&most) {
            budgets.push(next);
            next = next.saturating_mul(reduction);
        }
        budgets
    }

    /// Searches on market history. It takes a [`Dataset`], so that nothing from the quarantine can decide.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_on<F, E>(
        &self,
        dataset: &Dataset,
        journal: Option<&Path>,
        trial: F,
    ) -> Result<Outcome, SearchError>
    where
        F: Fn(&Dataset, &Trial) -> Result<f64, E> + Sync,
        E: fmt::Display,
    {
        self.run(journal, |one| trial(dataset, one))
    }

    /// Searches. `trial` gives a score, the higher the better; one that fails or is no finite number is kept as a
    /// failure and never wins.
    ///
    /// With a `journal` every trial is written when its wave is ready, and a search that was interrupted goes on
    /// where it was: the same trials as without the interruption. A torn last line is dropped and tried again.
    ///
    /// # Errors
    /// When [`Self::check`] finds something, the journal belongs to another search, or it cannot be written.
    pub fn run<F, E>(&self, journal: Option<&Path>, trial: F) -> Result<Outcome, SearchError>
    where
        F: Fn(&Trial) -> Result<f64, E> + Sync,
        E: fmt::Display,
    {
        self.check()?;
        let mut kept = match journal {
            Some(path) => Some(journal::Journal::open(path, self)?),
            None => None,
        };
        let past = kept
            .as_mut()
            .map(journal::Journal::take)
            .unwrap_or_default();
        let mut past = past.into_iter().peekable();
        let mut records: Vec<Record> = Vec::new();
        // Each wave runs one trial or more, and no configuration runs twice on a rung.
        let waves_max = self.configurations * self.budgets().len();
        for _ in 0..waves_max {
            let wave = propose::wave(self, &records);
            if wave.is_empty() {
                break;
            }
            let mut ready = Vec::with_capacity(wave.len());
            for one in &wave {
                match past.next() {
                    Some(record) if record.of(one) => ready.push(record),
                    Some(record) => return Err(journal::foreign(&record)),
                    None => break,
                }
            }
            let rest = &wave[ready.len()..];
            let fresh = run_wave(rest, &trial);
            if let Some(kept) = &mut kept {
                kept.append(&fresh)?;
            }
            ready.extend(fresh);
            records.extend(ready);
        }
        if let Some(record) = past.peek() {
            return Err(journal::foreign(record));
        }
        Ok(outcome(records))
    }
}

/// Runs the trials of a wave, each on a thread of its own, and gives their records in order.
fn run_wave<F, E>(wave: &[Trial], trial: &F) -> Vec<Record>
where
    F: Fn(&Trial) -> Result<f64, E> + Sync,
    E: fmt::Display,
{
    let judged = |one: &Trial| {
        let (score, failure) = match trial(one) {
            Ok(score) if score.is_finite() => (Some(score), None),
            Ok(score) => (None, Some(format!("the score is {score}"))),
            Err(error) => (None, Some(error.to_string())),
        };
        Record::new(one, score, failure)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = wave
            .iter()
            .map(|one| scope.spawn(move || judged(one)))
            .collect();
        running
            .into_iter()
            .zip(wave)
            .map(|(thread, one)| {
                thread.join().unwrap_or_else(|_| {
                    Record::new(one, None, Some("the trial panicked".to_owned()))
                })
            })
            .collect()
    })
}

/// The best of all trials, and what they cost.
fn outcome(records: Vec<Record>) -> Outcome {
    let mut best: Option<&Record> = None;
    for record in records.iter().filter(|record| record.score.is_some()) {
        let better = best.is_none_or(|best| (record.rung, record.score) > (best.rung, best.score));
        if better {
            best = Some(record);
        }
    }
    Outcome {
        best: best.cloned(),
        trials: records.iter().filter(|record| record.rung == 0).count(),
        spent: records.iter().map(|record| u64::from(record.budget)).sum(),
        records,
    }
}

/// A generator of its own for each configuration and purpose.
fn stream(seed: u64, configuration: usize, purpose: u64) -> Rng {
    Rng::new(seed, (configuration as u64) << 2 | purpose)
}

#[cfg(test)]
#[path = "search/tests.rs"]
mod tests;
