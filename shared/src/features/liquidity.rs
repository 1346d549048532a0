//! How the book is filled and emptied.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{Values, View};
use crate::time::Time;

rows! {
    /// Features of liquidity.
    LiquidityFeature {
        /// Placeholder.
        Placeholder: "liquidity_placeholder", Number, "", "";
    }
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Liquidity {}

impl Liquidity {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }

    /// The best levels changed.
    pub fn top(&mut self, _top: &super::book::Top, _at: Time) {}
    /// A trade, and the book before it.
    pub fn trade(
        &mut self,
        _trade: &crate::event::Trade,
        _top: Option<&super::book::Top>,
        _at: Time,
    ) {
    }
    /// A second is over; the book at its end.
    pub fn second(&mut self, _second: &super::second::Second, _top: Option<&super::book::Top>) {}

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, _at: Time) {}

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _view: &View<'_>) -> Values<{ LiquidityFeature::COUNT }> {
        Values::UNKNOWN
    }
}
