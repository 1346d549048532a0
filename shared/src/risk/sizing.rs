//! How large a position should be, before any cap.

use serde::{Deserialize, Serialize};

use super::limits::Method;
use crate::num::Cash;

/// How the size of a position came about, for the page. Factors are in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizing {
    /// How the base was found.
    pub method: Method,
    /// Value before scaling.
    pub base: Cash,
    /// Strength of the signal.
    pub strength: i64,
    /// Factor for the volatility regime.
    pub volatility: i64,
    /// Factor for correlation with what is held.
    pub correlation: i64,
    /// Factor for the policy's confidence.
    pub confidence: i64,
    /// Value that the position should have, within the cap of one position.
    pub target: Cash,
}
