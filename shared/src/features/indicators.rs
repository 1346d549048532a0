//! Indicators on bars of time.

use serde::{Deserialize, Serialize};

use super::bars::Series;
use super::table::rows;
use super::{Row, Values};

rows! {
    /// Indicators.
    Indicator {
        /// Placeholder.
        Placeholder: "indicator_placeholder", Number, "", "";
    }
}

/// Their rows.
pub const ROWS: [Row; Indicator::COUNT] = Indicator::ROWS;

/// What the recursive indicators of one timeframe remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Indicators {}

impl Indicators {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }

    /// The newest bar of the series has just closed.
    pub fn close(&mut self, _series: &Series) -> Values<{ Indicator::COUNT }> {
        Values::UNKNOWN
    }
}
