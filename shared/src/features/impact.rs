//! What trades do to the price.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{Values, View};
use crate::time::Time;

rows! {
    /// Features of price impact.
    ImpactFeature {
        /// Placeholder.
        Placeholder: "impact_placeholder", Number, "", "";
    }
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {}

impl Impact {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }

    /// A trade, and the book before it.
    pub fn trade(
        &mut self,
        _trade: &crate::event::Trade,
        _top: Option<&super::book::Top>,
        _at: Time,
    ) {
    }
    /// A second is over.
    pub fn second(
        &mut self,
        _second: &super::second::Second,
        _instrument: &crate::instrument::Instrument,
    ) {
    }

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, _at: Time) {}

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _view: &View<'_>) -> Values<{ ImpactFeature::COUNT }> {
        Values::UNKNOWN
    }
}
