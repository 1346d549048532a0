//! Features of perpetual funding.

use super::table::rows;
use super::{Values, View};

rows! {
    /// Features of perpetual funding.
    FundingFeature {
        /// Placeholder.
        Placeholder: "funding_placeholder", Number, "", "";
    }
}

/// The features at `view.at`.
#[must_use]
pub fn read(_view: &View<'_>) -> Values<{ FundingFeature::COUNT }> {
    Values::UNKNOWN
}
