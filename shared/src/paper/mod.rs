//! The paper venue: what would have happened to an order at the venue, told with its delays.

use serde::{Deserialize, Serialize};

use crate::event::Side;
use crate::instrument::InstrumentId;
use crate::num::{Cash, Price, Qty};
use crate::time::Time;

/// A client order id: the `seq` of the record that gave rise to the order, so that the same intent
/// always has the same id and cannot be sent twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct OrderId(pub u64);

/// What the venue answers to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// To which order.
    pub order: OrderId,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// What.
    pub outcome: Outcome,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It traded (all of it, or what the visible book held).
    Filled(Fill),
    /// It did not.
    Rejected(Reject),
}

/// A trade of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// Exact sum of price times quantity over the levels taken.
    pub notional: Cash,
    /// The worst price taken.
    pub worst: Price,
    /// Twice the mid price when the order was sent (arrival price), for slippage.
    pub sent_double_mid: i64,
    /// Fee paid, in the quote currency.
    pub fee: Cash,
    /// When it reached the book.
    pub executed: Time,
}

/// Why an order did not trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reject {
    /// The book was stale, one-sided or empty when the order reached it.
    NoBook,
    /// The venue's answer was lost with the process; nothing is known to have traded.
    Void,
    /// Too many orders were in flight.
    Busy,
}
