//! What the trainer learns from: market steps, never the paper account's own outcomes.

use serde::{Deserialize, Serialize};

use crate::event::Level;
use crate::features::Vector;
use crate::instrument::InstrumentId;
use crate::time::Time;

/// The market of one instrument at one pulse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarketStep {
    /// Whose.
    pub instrument: InstrumentId,
    /// When.
    pub at: Time,
    /// The state vector.
    pub state: Vector,
    /// Best bid, when the book was live.
    pub bid: Option<Level>,
    /// Best ask, when the book was live.
    pub ask: Option<Level>,
    /// A gap lies in this step, or the book is stale: it must not be learned from.
    pub masked: bool,
}
