//! The trainer's configuration: raw text to checked values, once.
//!
//! It holds what may differ between hosts and markets. What the two machines must agree on is in the schema and
//! cannot be configured.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tickerml_shared::action::CHOICES;
use tickerml_shared::features::SELECTION;

use crate::behaviour;
use crate::market::Learning;
use crate::quarantine::DAYS_MIN;
use crate::spec::Spec;

/// Why a configuration is refused: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The store of steps.
    pub store: PathBuf,
    /// Days before the present on which nothing is learned; at least [`DAYS_MIN`].
    pub quarantine_days: u32,
    /// Instruments that are learned from, as `venue:symbol`; all of the store when empty.
    pub instruments: Vec<String>,
    /// The network.
    pub spec: Spec,
    /// Costs, horizon and replayed policies.
    pub market: behaviour::Terms,
    /// The phases of training.
    pub learning: Learning,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    store: RawStore,
    quarantine: RawQuarantine,
    model: RawModel,
    market: behaviour::Terms,
    learning: Learning,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    folder: PathBuf,
    instruments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuarantine {
    days: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    steps: usize,
    d_model: usize,
    heads: usize,
    d_ff: usize,
    bands: Vec<usize>,
}

impl Config {
    /// Reads a file. Relative paths in it are relative to the working directory.
    ///
    /// # Errors
    /// When it cannot be read, or as [`Config::from_toml`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let named = |cause: &dyn fmt::Display| ConfigError(format!("{}: {cause}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
        Self::from_toml(&text).map_err(|error| named(&error))
    }

    /// Reads text.
    ///
    /// # Errors
    /// When a key is missing, unknown or makes no sense; the quarantine is shorter than [`DAYS_MIN`] days; or the
    /// network's answer would depend on more than its window.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|error| ConfigError(error.to_string().trim().replace('\n', " ")))?;
        if raw.quarantine.days < DAYS_MIN {
            return Err(ConfigError(format!(
                "quarantine.days = {}: the last {DAYS_MIN} days are never trained on; write {DAYS_MIN} or more",
                raw.quarantine.days
            )));
        }
        let spec = Spec {
            state: SELECTION.len(),
            actions: CHOICES.len(),
            steps: raw.model.steps,
            d_model: raw.model.d_model,
            heads: raw.model.heads,
            d_ff: raw.model.d_ff,
            bands: raw.model.bands,
        };
        spec.check().map_err(ConfigError)?;
        if !spec.streams_exactly() {
            return Err(ConfigError(format!(
                "model.bands lets an answer depend on {} steps, and with its previous actions a window holds {}; \
                 make the sum of (band - 1) at most {}",
                spec.receptive_steps(),
                spec.steps - 1,
                spec.steps.saturating_sub(2)
            )));
        }
        raw.market
            .check()
            .map_err(|error| ConfigError(error.to_string()))?;
        for (phase, terms) in [
            ("estimate", &raw.learning.estimate),
            ("decide", &raw.learning.decide),
        ] {
            terms
                .check()
                .map_err(|error| ConfigError(format!("learning.{phase}: {error}")))?;
        }
        Ok(Self {
            store: raw.store.folder,
            quarantine_days: raw.quarantine.days,
            instruments: raw.store.instruments,
            spec,
            market: raw.market,
            learning: raw.learning,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/trainer.toml");

    fn refused(from: &str, to: &str) -> String {
        assert!(SHIPPED.contains(from), "{from}");
        let changed = SHIPPED.replacen(from, to, 1);
        Config::from_toml(&changed).expect_err(to).to_string()
    }

    #[test]
    fn the_shipped_configuration_is_the_reference() {
        let config = Config::from_toml(SHIPPED).expect("sound");
        assert_eq!(config.spec, Spec::reference());
        assert_eq!(config.quarantine_days, DAYS_MIN);
    }

    #[test]
    fn twenty_nine_days_do_not_start() {
        let error = refused("days = 30", "days = 29");
        assert!(error.contains("quarantine.days = 29"), "{error}");
        assert!(error.contains("write 30 or more"), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (from, to, named) in [
            ("days = 30", "day = 30", "day"),
            (
                "bands = [4, 4, 8, 8, 16, 24]",
                "bands = [60, 60]",
                "at most 58",
            ),
            ("heads = 4", "heads = 5", "does not divide"),
            ("taker_fee = 0.001", "taker_fee = 7", "taker_fee"),
            ("horizon = 60", "horizon = 0", "horizon"),
        ] {
            let error = refused(from, to);
            assert!(error.contains(named), "{error}");
        }
    }
}
