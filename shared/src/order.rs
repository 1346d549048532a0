//! Orders: what is asked of a venue, what it answers, and what is known here of each.
//!
//! An order's life is a chain of types, [`Sent`] → [`Resting`] → [`Ended`]: a transition that the
//! venue cannot make has no function. [`Orders`] keeps the lives and lets each report count once.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::attribution::Split;
use crate::event::Side;
use crate::instrument::{InstrumentId, MAX_INSTRUMENTS};
use crate::num::{Cash, Price, Qty};
use crate::time::Time;

/// Orders that may be open at once, over all instruments.
pub const MAX_ORDERS: usize = 2 * MAX_INSTRUMENTS;
/// Orders that ended and are remembered, so that no report counts twice: as many as can be answered
/// between a report and its repetition.
const MAX_ENDED: usize = MAX_ORDERS;

/// A client order id: made from the `seq` of the record that gave rise to the order, so that the same
/// intent always has the same id and cannot be sent twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct OrderId(pub u64);

impl OrderId {
    /// The order that record `seq` gives rise to for an instrument.
    #[must_use]
    pub const fn of(seq: u64, instrument: InstrumentId) -> Self {
        Self(seq * MAX_INSTRUMENTS as u64 + instrument.0 as u64)
    }
}

/// How an order names its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Whatever the book holds.
    Market,
    /// No worse than this.
    Limit(Price),
}

/// How long an order lives, and whether it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeInForce {
    /// Until it is canceled.
    Gtc,
    /// Until it is canceled, and it never takes: an order that would take expires on arrival.
    PostOnly,
    /// What cannot trade on arrival expires.
    Ioc,
    /// All of it trades on arrival, or nothing.
    Fok,
}

/// Why an order was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The policy decided it.
    Decision,
    /// Every position is to be closed.
    Flatten,
    /// The position lost as much as it may.
    StopLoss,
    /// The position gained what it should.
    TakeProfit,
    /// The position gave back as much of its best as it may.
    TrailingStop,
    /// A limit asks for a smaller position.
    Reduce,
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::Decision,
        Self::Flatten,
        Self::StopLoss,
        Self::TakeProfit,
        Self::TrailingStop,
        Self::Reduce,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Flatten => "flatten",
            Self::StopLoss => "stop-loss",
            Self::TakeProfit => "take-profit",
            Self::TrailingStop => "trailing-stop",
            Self::Reduce => "reduce",
        }
    }
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its client id.
    pub id: OrderId,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// At which price.
    pub kind: Kind,
    /// For how long.
    pub time_in_force: TimeInForce,
    /// When it was sent.
    pub sent: Time,
    /// Twice the mid price then; 0 when there was none.
    pub sent_double_mid: i64,
    /// Why.
    pub reason: Reason,
}

/// What is asked of a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Take this order.
    New(Order),
    /// End an order.
    Cancel {
        /// Which.
        order: OrderId,
        /// Of which instrument.
        instrument: InstrumentId,
    },
    /// Change an order. It keeps its place in the queue only when the price stays and the quantity
    /// does not grow.
    Replace {
        /// Which.
        order: OrderId,
        /// Of which instrument.
        instrument: InstrumentId,
        /// Its new limit.
        price: Price,
        /// What shall be open of it from now on.
        qty: Qty,
    },
}

impl Request {
    /// The order it is about.
    #[must_use]
    pub const fn order(&self) -> OrderId {
        match self {
            Self::New(order) => order.id,
            Self::Cancel { order, .. } | Self::Replace { order, .. } => *order,
        }
    }

    /// The instrument it is about.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        match self {
            Self::New(order) => order.instrument,
            Self::Cancel { instrument, .. } | Self::Replace { instrument, .. } => *instrument,
        }
    }
}

/// What the venue says about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// About which order.
    pub order: OrderId,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Which of the order's reports it is; the first is 1. A number that was seen counts no more.
    pub number: u32,
    /// When it happened at the venue.
    pub executed: Time,
    /// What.
    pub outcome: Outcome,
}

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It rests in the book.
    Acked,
    /// It traded, in part or whole.
    Filled(Fill),
    /// It was changed; this much is open at this price.
    Replaced {
        /// Its limit.
        price: Price,
        /// What is open.
        left: Qty,
    },
    /// It ended on request.
    Canceled,
    /// It ended by its own terms.
    Expired(Expiry),
    /// The venue refused it.
    Rejected(Reject),
    /// The venue refused to cancel or change it; the order itself is as it was, or had ended.
    Unchanged(Reject),
    /// It cannot be known what happened to it; nothing is counted as traded.
    Void(VoidCause),
}

/// Why an order ended by its own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiry {
    /// A post-only order would have taken.
    WouldTake,
    /// An immediate-or-cancel order found no more.
    NoneLeft,
    /// A fill-or-kill order did not find all of it.
    NotAll,
    /// A market order found the book exhausted.
    Exhausted,
}

/// Why the venue refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reject {
    /// The book was stale, one-sided or empty when the order reached it.
    NoBook,
    /// Too many orders are open.
    Busy,
    /// There is no such open order.
    UnknownOrder,
    /// An order of this id was there already.
    DuplicateId,
    /// Price or quantity is not a positive multiple of tick and lot.
    Malformed,
    /// The venue failed to take it (a recorded latency without a venue time).
    Unreachable,
}

/// Why an order is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VoidCause {
    /// The process ended while it was on its way.
    Restart,
    /// It rested while the book was not known.
    Gap,
}

/// A trade of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// What is open of the order after it.
    pub left: Qty,
    /// What was paid (or got) without the fee: the exact sum of price times quantity over what was
    /// taken, and the impact on top.
    pub notional: Cash,
    /// The worst price.
    pub worst: Price,
    /// Fee paid, in the quote currency; negative is a rebate.
    pub fee: Cash,
    /// It rested and was hit.
    pub maker: bool,
    /// The book that it met was made up from bars, since the venue gives none.
    pub synthetic: bool,
    /// It rested across a gap: what happened in between is not known.
    pub spanned_gap: bool,
    /// Its place in the queue was worth more than so many average trades when it joined (0 for a
    /// taker).
    pub queue_orders: u32,
    /// Where the money went.
    pub split: Split,
}

/// What is known here of an order between its sending and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// Sent; nothing has come back.
    Sent(Sent),
    /// In the book.
    Resting(Resting),
    /// Over.
    Ended(Ended),
}

/// An order of which nothing has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    order: Order,
}

/// An order that the venue has taken and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    order: Order,
    left: Qty,
    executed: Qty,
    /// A cancel or a replacement is on its way.
    pub asked: Option<Asked>,
}

/// What was asked of a resting order and not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// To end it.
    Cancel,
    /// To change it.
    Replace,
}

/// An order that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    order: Order,
    executed: Qty,
    how: End,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// All of it traded.
    Filled,
    /// On request.
    Canceled,
    /// By its own terms.
    Expired(Expiry),
    /// Refused.
    Rejected(Reject),
    /// Not known.
    Void(VoidCause),
}
