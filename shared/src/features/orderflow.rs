//! Changes of the book: order-flow imbalance.

use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{Values, View};
use crate::time::Time;

rows! {
    /// Features of changes of the book.
    OrderFlowFeature {
        /// Placeholder.
        Placeholder: "order_flow_placeholder", Number, "", "";
    }
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OrderFlow {}

impl OrderFlow {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }

    /// The best levels changed.
    pub fn top(&mut self, _top: &super::book::Top, _at: Time) {}
    /// A second is over.
    pub fn second(&mut self, _second: &super::second::Second) {}

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, _at: Time) {}

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _view: &View<'_>) -> Values<{ OrderFlowFeature::COUNT }> {
        Values::UNKNOWN
    }
}
