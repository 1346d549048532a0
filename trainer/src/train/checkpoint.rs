//! Where a training stands, as one file that is replaced whole: weights, moments, the best weights so far, and the
//! terms, shape and step they belong to.
//!
//! Every batch and every dropout mask is drawn from a seed that belongs to its step, so that the number of the step
//! is all that random numbers need to go on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::loss::Losses;
use super::{Terms, TrainError};
use crate::spec::{Spec, Statistics};
use crate::weights::{self, Tensor, Weights};

/// The name of the file in its folder.
pub const FILE: &str = "checkpoint.safetensors";

/// The best evaluation so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Best {
    pub(super) at: BestAt,
    pub(super) weights: Weights,
}

/// When it was, and how good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestAt {
    /// Steps done then.
    pub step: u64,
    /// Losses on the held-out corpus.
    pub losses: Losses,
}

/// Where a training stands after `step` steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) spec: Spec,
    pub(super) terms: Terms,
    pub(super) statistics: Statistics,
    pub(super) step: u64,
    pub(super) weights: Weights,
    /// First moments of what is trained, by name.
    pub(super) first: BTreeMap<String, Tensor>,
    /// Second moments, by name.
    pub(super) second: BTreeMap<String, Tensor>,
    pub(super) best: Option<Best>,
    /// Evaluations since the best one.
    pub(super) waited: u64,
}

impl Checkpoint {
    /// Takes note of an evaluation.
    pub(super) fn judge(&mut self, losses: Losses, weights: Weights) {
        let better = |best: &Best| losses.total < best.at.losses.total;
        self.waited += 1;
        if self.best.as_ref().is_none_or(better) {
            let step = self.step;
            let at = BestAt { step, losses };
            self.best = Some(Best { at, weights });
            self.waited = 0;
        }
    }

    /// Whether as many evaluations as the terms allow have passed without a better one.
    pub(super) fn patience_is_over(&self) -> bool {
        self.terms.patience > 0 && self.waited >= self.terms.patience
    }

    /// Replaces the checkpoint of a folder.
    pub(super) fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let mut tensors = BTreeMap::new();
        let mut add = |group: &str, name: &str, tensor: &Tensor| {
            tensors.insert(format!("{group}/{name}"), tensor.clone());
        };
        for (name, tensor) in self.weights.iter() {
            add("weights", name, tensor);
        }
        for (name, tensor) in &self.first {
            add("first", name, tensor);
        }
        for (name, tensor) in &self.second {
            add("second", name, tensor);
        }
        if let Some(best) = &self.best {
            for (name, tensor) in best.weights.iter() {
                add("best", name, tensor);
            }
        }
        let facts = BTreeMap::from(
            [
                ("spec", weights::json(&self.spec)),
                ("terms", weights::json(&self.terms)),
                ("statistics", weights::json(&self.statistics)),
                ("step", weights::json(&self.step)),
                (
                    "best",
                    weights::json(&self.best.as_ref().map(|best| best.at)),
                ),
                ("waited", weights::json(&self.waited)),
            ]
            .map(|(name, fact)| (name.to_owned(), fact)),
        );
        weights::write_tensors(&folder.join(FILE), &tensors, facts).map_err(TrainError)
    }

    /// Reads the checkpoint of a folder, which must be one of this shape, these terms and these statistics.
    pub(super) fn load(
        folder: &Path,
        spec: &Spec,
        terms: &Terms,
        statistics: &Statistics,
    ) -> Result<Self, TrainError> {
        let path = folder.join(FILE);
        let (tensors, facts) = weights::read_tensors(&path).map_err(TrainError)?;
        let named = |why: String| TrainError(format!("{}: {why}", path.display()));
        for (name, expected) in [
            ("spec", weights::json(spec)),
            ("terms", weights::json(terms)),
            ("statistics", weights::json(statistics)),
        ] {
            if facts.get(name) != Some(&expected) {
                return Err(named(format!(
                    "it was made with another {name}; resume with that, or start from its weights"
                )));
            }
        }
        let mut groups: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
        for (name, tensor) in tensors {
            if let Some((group, name)) = name.split_once('/') {
                let group = groups.entry(group.to_owned()).or_default();
                group.insert(name.to_owned(), tensor);
            }
        }
        let mut take = |group: &str| groups.remove(group).unwrap_or_default();
        let mut read = || -> Result<Self, String> {
            let at: Option<BestAt> = weights::fact(&facts, "best")?;
            let best = match at {
                Some(at) => Some(Best {
                    at,
                    weights: Weights::new(spec, take("best"))?,
                }),
                None => None,
            };
            Ok(Self {
                spec: spec.clone(),
                terms: terms.clone(),
                statistics: statistics.clone(),
                step: weights::fact(&facts, "step")?,
                weights: Weights::new(spec, take("weights"))?,
                first: take("first"),
                second: take("second"),
                best,
                waited: weights::fact(&facts, "waited")?,
            })
        };
        read().map_err(named)
    }
}
