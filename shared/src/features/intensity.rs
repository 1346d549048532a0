//! How fast trades come.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{Values, View};
use crate::time::Time;

rows! {
    /// Features of the intensity of trading.
    IntensityFeature {
        /// Placeholder.
        Placeholder: "intensity_placeholder", Number, "", "";
    }
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intensity {}

impl Intensity {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }

    /// A trade.
    pub fn trade(&mut self, _trade: &crate::event::Trade, _at: Time) {}

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, _at: Time) {}

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _view: &View<'_>) -> Values<{ IntensityFeature::COUNT }> {
        Values::UNKNOWN
    }
}
