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
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Decision,
        Self::Flatten,
        Self::StopLoss,
        Self::TakeProfit,
        Self::TrailingStop,
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
    /// Change the price of what is still open of an order when this reaches the venue, so that what
    /// trades meanwhile is not ordered again.
    Move {
        /// Which.
        order: OrderId,
        /// Of which instrument.
        instrument: InstrumentId,
        /// Its new limit.
        price: Price,
    },
}

impl Request {
    /// The order it is about.
    #[must_use]
    pub const fn order(&self) -> OrderId {
        match self {
            Self::New(order) => order.id,
            Self::Cancel { order, .. } | Self::Replace { order, .. } | Self::Move { order, .. } => {
                *order
            }
        }
    }

    /// The instrument it is about.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        match self {
            Self::New(order) => order.instrument,
            Self::Cancel { instrument, .. }
            | Self::Replace { instrument, .. }
            | Self::Move { instrument, .. } => *instrument,
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
    asked: Option<Asked>,
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

impl Sent {
    /// An order that leaves.
    #[must_use]
    pub const fn new(order: Order) -> Self {
        Self { order }
    }

    /// The venue took it into its book.
    #[must_use]
    pub const fn acked(self) -> Resting {
        Resting {
            order: self.order,
            left: self.order.qty,
            executed: Qty(0),
            asked: None,
        }
    }

    /// It traded before anything else was heard of it.
    #[must_use]
    pub const fn filled(self, fill: &Fill) -> Life {
        self.acked().filled(fill)
    }

    const fn ended(self, how: End) -> Ended {
        Ended {
            order: self.order,
            executed: Qty(0),
            how,
        }
    }
}

impl Resting {
    /// It traded.
    #[must_use]
    pub const fn filled(self, fill: &Fill) -> Life {
        let executed = Qty(self.executed.0 + fill.qty.0);
        if fill.left.0 == 0 {
            return Life::Ended(Ended {
                order: self.order,
                executed,
                how: End::Filled,
            });
        }
        Life::Resting(Self {
            left: fill.left,
            executed,
            ..self
        })
    }

    /// It was changed.
    #[must_use]
    pub const fn replaced(mut self, price: Price, left: Qty) -> Self {
        self.order.kind = Kind::Limit(price);
        Self {
            left,
            asked: None,
            ..self
        }
    }

    /// What was asked of it was refused.
    #[must_use]
    pub const fn unchanged(self) -> Self {
        Self {
            asked: None,
            ..self
        }
    }

    /// What is open of it.
    #[must_use]
    pub const fn left(&self) -> Qty {
        self.left
    }

    /// What has traded of it.
    #[must_use]
    pub const fn executed(&self) -> Qty {
        self.executed
    }

    /// What was asked of it and not answered yet.
    #[must_use]
    pub const fn asked(&self) -> Option<Asked> {
        self.asked
    }

    const fn ended(self, how: End) -> Ended {
        Ended {
            order: self.order,
            executed: self.executed,
            how,
        }
    }
}

impl Ended {
    /// How.
    #[must_use]
    pub const fn how(&self) -> End {
        self.how
    }

    /// What had traded of it.
    #[must_use]
    pub const fn executed(&self) -> Qty {
        self.executed
    }
}

impl Life {
    /// The order that lives it.
    #[must_use]
    pub const fn order(&self) -> &Order {
        match self {
            Self::Sent(sent) => &sent.order,
            Self::Resting(resting) => &resting.order,
            Self::Ended(ended) => &ended.order,
        }
    }

    /// What is open of it.
    #[must_use]
    pub const fn left(&self) -> Qty {
        match self {
            Self::Sent(sent) => sent.order.qty,
            Self::Resting(resting) => resting.left,
            Self::Ended(_) => Qty(0),
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sent(_) => "sent",
            Self::Resting(resting) => match (resting.asked, resting.executed.0) {
                (Some(Asked::Cancel), _) => "cancel asked",
                (Some(Asked::Replace), _) => "replace asked",
                (None, 0) => "resting",
                (None, _) => "partially filled",
            },
            Self::Ended(ended) => match ended.how {
                End::Filled => "filled",
                End::Canceled => "canceled",
                End::Expired(_) => "expired",
                End::Rejected(_) => "rejected",
                End::Void(_) => "void",
            },
        }
    }

    /// What a report makes of it; `None` for what cannot follow.
    const fn hear(self, outcome: &Outcome) -> Option<Self> {
        Some(match (self, outcome) {
            (Self::Sent(sent), Outcome::Acked) => Self::Resting(sent.acked()),
            (Self::Sent(sent), Outcome::Filled(fill)) => sent.filled(fill),
            (Self::Sent(sent), Outcome::Expired(why)) => {
                Self::Ended(sent.ended(End::Expired(*why)))
            }
            (Self::Sent(sent), Outcome::Rejected(why)) => {
                Self::Ended(sent.ended(End::Rejected(*why)))
            }
            (Self::Sent(sent), Outcome::Void(why)) => Self::Ended(sent.ended(End::Void(*why))),
            (Self::Sent(sent), Outcome::Unchanged(_)) => Self::Sent(sent),
            (Self::Resting(resting), Outcome::Filled(fill)) => resting.filled(fill),
            (Self::Resting(resting), Outcome::Replaced { price, left }) => {
                Self::Resting(resting.replaced(*price, *left))
            }
            (Self::Resting(resting), Outcome::Unchanged(_)) => Self::Resting(resting.unchanged()),
            (Self::Resting(resting), Outcome::Canceled) => {
                Self::Ended(resting.ended(End::Canceled))
            }
            (Self::Resting(resting), Outcome::Expired(why)) => {
                Self::Ended(resting.ended(End::Expired(*why)))
            }
            (Self::Resting(resting), Outcome::Void(why)) => {
                Self::Ended(resting.ended(End::Void(*why)))
            }
            (Self::Sent(_), Outcome::Replaced { .. } | Outcome::Canceled)
            | (Self::Resting(_), Outcome::Acked | Outcome::Rejected(_))
            | (Self::Ended(_), _) => return None,
        })
    }
}

/// What a report was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// News: the order's life went on, to this.
    News(Life),
    /// News of an order whose sending was lost with the journal's tail: what was made durable counts.
    Orphan,
    /// Its number was seen before: nothing changed.
    Repeated,
    /// It cannot follow on what was heard before: nothing changed.
    Impossible,
}

/// The orders that are open, as far as is known here, and the newest that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    open: Vec<(Life, u32), MAX_ORDERS>,
    /// Id and newest report of those that ended, oldest first.
    ended: Vec<(OrderId, u32), MAX_ENDED>,
}

impl Orders {
    /// No orders.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            open: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// The open orders, in the order sent.
    pub fn open(&self) -> impl Iterator<Item = &Life> + '_ {
        self.open.iter().map(|(life, _)| life)
    }

    /// The open orders of an instrument.
    pub fn of(&self, instrument: InstrumentId) -> impl Iterator<Item = &Life> + '_ {
        self.open()
            .filter(move |life| life.order().instrument == instrument)
    }

    /// Whether another order fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open.is_full()
    }

    /// What is open of an instrument on each side: what buys and what sells.
    #[must_use]
    pub fn pending(&self, instrument: InstrumentId) -> (Qty, Qty) {
        self.of(instrument)
            .fold((Qty(0), Qty(0)), |(buys, sells), life| {
                match life.order().side {
                    Side::Buy => (Qty(buys.0 + life.left().0), sells),
                    Side::Sell => (buys, Qty(sells.0 + life.left().0)),
                }
            })
    }

    /// An order leaves.
    ///
    /// # Errors
    /// [`Reject::Busy`] when [`MAX_ORDERS`] are open, [`Reject::DuplicateId`] when the id was used.
    pub fn send(&mut self, order: Order) -> Result<(), Reject> {
        let used = self.open().any(|life| life.order().id == order.id)
            || self.ended.iter().any(|(id, _)| *id == order.id);
        if used {
            return Err(Reject::DuplicateId);
        }
        self.open
            .push((Life::Sent(Sent::new(order)), 0))
            .map_err(|_| Reject::Busy)
    }

    /// A cancel or a replacement leaves.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`] when no such order rests, [`Reject::Busy`] when something was asked of
    /// it already.
    pub fn ask(&mut self, id: OrderId, asked: Asked) -> Result<(), Reject> {
        let life = self.open.iter_mut().find(|(life, _)| life.order().id == id);
        match life {
            Some((Life::Resting(resting), _)) if resting.asked.is_none() => {
                resting.asked = Some(asked);
                Ok(())
            }
            Some((Life::Resting(_), _)) => Err(Reject::Busy),
            _ => Err(Reject::UnknownOrder),
        }
    }

    /// What was asked of an order never left.
    pub fn unask(&mut self, id: OrderId) {
        let life = self.open.iter_mut().find(|(life, _)| life.order().id == id);
        if let Some((Life::Resting(resting), _)) = life {
            resting.asked = None;
        }
    }

    /// A report came.
    pub fn hear(&mut self, report: &Report) -> Heard {
        let place = self
            .open
            .iter()
            .position(|(life, _)| life.order().id == report.order);
        let Some(place) = place else {
            let ended = self.ended.iter_mut().find(|(id, _)| *id == report.order);
            return match ended {
                Some((_, seen)) if report.number <= *seen => Heard::Repeated,
                Some((_, seen)) => {
                    *seen = report.number;
                    Heard::Orphan
                }
                None => {
                    self.end(report.order, report.number);
                    Heard::Orphan
                }
            };
        };
        let (life, seen) = self.open[place];
        if report.number <= seen {
            return Heard::Repeated;
        }
        let Some(next) = life.hear(&report.outcome) else {
            return Heard::Impossible;
        };
        if let Life::Ended(_) = next {
            self.open.remove(place);
            self.end(report.order, report.number);
        } else {
            self.open[place] = (next, report.number);
        }
        Heard::News(next)
    }

    fn end(&mut self, id: OrderId, seen: u32) {
        if self.ended.is_full() {
            self.ended.remove(0);
        }
        let pushed = self.ended.push((id, seen));
        debug_assert!(pushed.is_ok(), "room was made");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(id: u64) -> Order {
        Order {
            id: OrderId(id),
            instrument: InstrumentId(0),
            side: Side::Buy,
            qty: Qty(10),
            kind: Kind::Limit(Price(100)),
            time_in_force: TimeInForce::Gtc,
            sent: Time(1),
            sent_double_mid: 200,
            reason: Reason::Decision,
        }
    }

    fn report(id: u64, number: u32, outcome: Outcome) -> Report {
        Report {
            order: OrderId(id),
            instrument: InstrumentId(0),
            number,
            executed: Time(2),
            outcome,
        }
    }

    fn fill(qty: i64, left: i64) -> Outcome {
        Outcome::Filled(Fill {
            side: Side::Buy,
            qty: Qty(qty),
            left: Qty(left),
            notional: Cash(qty),
            worst: Price(100),
            fee: Cash::ZERO,
            maker: true,
            synthetic: false,
            spanned_gap: false,
            queue_orders: 0,
            split: Split::default(),
        })
    }

    #[test]
    fn an_order_lives_from_sent_to_filled() {
        let mut orders = Orders::new();
        orders.send(order(1)).expect("room");
        assert_eq!(orders.send(order(1)), Err(Reject::DuplicateId));
        assert_eq!(
            orders.ask(OrderId(1), Asked::Cancel),
            Err(Reject::UnknownOrder)
        );
        let news = orders.hear(&report(1, 1, Outcome::Acked));
        assert!(matches!(news, Heard::News(Life::Resting(_))), "{news:?}");
        assert_eq!(orders.pending(InstrumentId(0)), (Qty(10), Qty(0)));
        orders.hear(&report(1, 2, fill(4, 6)));
        assert_eq!(orders.hear(&report(1, 2, fill(4, 6))), Heard::Repeated);
        assert_eq!(
            orders.open().next().map(Life::name),
            Some("partially filled")
        );
        orders.ask(OrderId(1), Asked::Cancel).expect("rests");
        assert_eq!(orders.ask(OrderId(1), Asked::Replace), Err(Reject::Busy));
        let Heard::News(Life::Ended(ended)) = orders.hear(&report(1, 3, fill(6, 0))) else {
            panic!("filled before the cancel got there");
        };
        assert_eq!((ended.executed(), ended.how()), (Qty(10), End::Filled));
        let refused = Outcome::Unchanged(Reject::UnknownOrder);
        assert_eq!(orders.hear(&report(1, 4, refused)), Heard::Orphan);
        assert_eq!(orders.hear(&report(1, 3, fill(6, 0))), Heard::Repeated);
        assert_eq!(orders.send(order(1)), Err(Reject::DuplicateId));
    }

    #[test]
    fn what_cannot_follow_changes_nothing() {
        let mut orders = Orders::new();
        orders.send(order(1)).expect("room");
        let before = orders.clone();
        assert_eq!(
            orders.hear(&report(1, 1, Outcome::Canceled)),
            Heard::Impossible
        );
        assert_eq!(orders, before);
        orders.hear(&report(1, 1, Outcome::Acked));
        let before = orders.clone();
        assert_eq!(
            orders.hear(&report(1, 2, Outcome::Acked)),
            Heard::Impossible
        );
        assert_eq!(orders, before);
    }

    #[test]
    fn an_order_whose_sending_was_lost_counts_once() {
        let mut orders = Orders::new();
        assert_eq!(orders.hear(&report(9, 2, fill(1, 0))), Heard::Orphan);
        assert_eq!(orders.hear(&report(9, 2, fill(1, 0))), Heard::Repeated);
        for id in 100..100 + 2 * MAX_ENDED as u64 {
            assert_eq!(orders.hear(&report(id, 1, fill(1, 0))), Heard::Orphan);
        }
        assert_eq!(orders.ended.len(), MAX_ENDED);
    }

    #[test]
    fn more_orders_than_fit_are_refused() {
        let mut orders = Orders::new();
        for id in 0..MAX_ORDERS as u64 {
            orders.send(order(id)).expect("room");
        }
        assert!(orders.is_full());
        assert_eq!(orders.send(order(999)), Err(Reject::Busy));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn whatever_is_heard_twice_counts_once(
            parts in proptest::collection::vec((1_i64..5, 0_usize..3), 1..8)
        ) {
            let total: i64 = parts.iter().map(|(qty, _)| qty).sum();
            let mut orders = Orders::new();
            orders.send(Order { qty: Qty(total), ..order(1) }).expect("room");
            let (mut left, mut counted) = (total, 0);
            for (number, (qty, again)) in (1_u32..).zip(&parts) {
                left -= qty;
                for repetition in 0..=*again {
                    let heard = orders.hear(&report(1, number, fill(*qty, left)));
                    if repetition == 0 {
                        counted += qty;
                        prop_assert!(matches!(heard, Heard::News(_)));
                    } else {
                        prop_assert_eq!(heard, Heard::Repeated);
                    }
                }
            }
            prop_assert_eq!(counted, total);
            prop_assert_eq!(orders.open().count(), 0);
        }
    }
}
