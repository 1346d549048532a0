//! Where the money went: every fill split into what each effect cost, to the last unit.

use serde::{Deserialize, Serialize};

use crate::num::Cash;

/// What each effect earned (positive) or cost (negative) on one fill, fee and funding aside.
///
/// The parts are differences of one chain of amounts, so that their sum is exact: the quantity at the
/// mid price when the order was sent, when it reached the venue, when it traded, at the touch, and
/// what was paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The quantity at the mid price when the order was sent: what market movement is counted from.
    pub decided: Cash,
    /// The market moved while the order travelled.
    pub latency: Cash,
    /// The market moved while the order waited in the queue.
    pub queue: Cash,
    /// From the mid price to the touch: paid by takers, earned by makers.
    pub spread: Cash,
    /// From the touch to what was paid: levels walked and impact.
    pub impact: Cash,
}
