//! The market history of one instrument, as the trainer reads it.

use tickerml_shared::features::Vector;
use tickerml_shared::time::Time;

/// One step of a market. Prices are floats here: they are learned from, never traded on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarketRow {
    /// When the pulse was.
    pub at: Time,
    /// What a model sees of it.
    pub state: Vector,
    /// Best bid in quote currency; NaN when masked.
    pub bid: f64,
    /// Best ask in quote currency; NaN when masked.
    pub ask: f64,
    /// A gap lies in this step, or the book was stale: it must not be learned from.
    pub masked: bool,
}

/// The steps of one instrument, in order of time, one a pulse.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Venue and symbol, as `binance:BTCUSDT`.
    pub instrument: String,
    /// Nanoseconds between pulses.
    pub pulse_ns: u64,
    /// The steps; a pulse that is missing is a hole, across which nothing may be learned.
    pub rows: Vec<MarketRow>,
}
