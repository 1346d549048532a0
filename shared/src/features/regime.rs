//! What kind of market it is.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{Values, View};
use crate::time::Time;

rows! {
    /// Features of the regime.
    RegimeFeature {
        /// Placeholder.
        Placeholder: "regime_placeholder", Number, "", "";
    }
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Regime {}

impl Regime {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }

    /// A second is over.
    pub fn second(&mut self, _second: &super::second::Second) {}

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, _at: Time) {}

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _view: &View<'_>) -> Values<{ RegimeFeature::COUNT }> {
        Values::UNKNOWN
    }
}
