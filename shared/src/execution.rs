//! How an approved quantity becomes orders: taking at once, or waiting in the queue at the touch.

use serde::{Deserialize, Serialize};

use crate::event::Side;
use crate::num::Price;
use crate::order::{Kind, Life, TimeInForce};
use crate::time::Time;

/// How decisions are carried out. Exits that risk demands always take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tactic {
    /// Market orders.
    Take,
    /// Post-only orders at the own side's touch, moved when the touch moves away, and canceled when
    /// they waited too long.
    Make {
        /// How long an order may wait for its fill, in nanoseconds.
        patience_ns: u64,
    },
}

/// What shall happen to a resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tend {
    /// Nothing.
    Leave,
    /// It ends.
    Cancel,
    /// It moves to this price.
    Move(Price),
}

impl Tactic {
    /// The kind of order for a decision, given the best bid and ask.
    #[must_use]
    pub const fn open(self, side: Side, (bid, ask): (Price, Price)) -> (Kind, TimeInForce) {
        match (self, side) {
            (Self::Take, _) => (Kind::Market, TimeInForce::Ioc),
            (Self::Make { .. }, Side::Buy) => (Kind::Limit(bid), TimeInForce::PostOnly),
            (Self::Make { .. }, Side::Sell) => (Kind::Limit(ask), TimeInForce::PostOnly),
        }
    }

    /// What shall happen at `now` to an open order, given the best bid and ask (`None` while the book
    /// is stale) and whether it is still wanted. What is on its way, or was asked something already, is left alone.
    #[must_use]
    pub fn tend(self, life: &Life, touch: Option<(Price, Price)>, wanted: bool, now: Time) -> Tend {
        let (Life::Resting(resting), Kind::Limit(price)) = (life, life.order().kind) else {
            return Tend::Leave;
        };
        if resting.asked().is_some() {
            return Tend::Leave;
        }
        let patience_ns = match self {
            Self::Take => 0,
            Self::Make { patience_ns } => patience_ns,
        };
        let waited = now.since(life.order().sent).max(0).unsigned_abs();
        if !wanted || waited >= patience_ns {
            return Tend::Cancel;
        }
        match (touch, life.order().side) {
            (Some((bid, _)), Side::Buy) if bid > price => Tend::Move(bid),
            (Some((_, ask)), Side::Sell) if ask < price => Tend::Move(ask),
            _ => Tend::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::InstrumentId;
    use crate::num::Qty;
    use crate::order::{Order, OrderId, Reason, Sent};

    const MAKE: Tactic = Tactic::Make { patience_ns: 100 };
    const TOUCH: (Price, Price) = (Price(99), Price(101));

    fn resting(side: Side) -> Life {
        let (kind, time_in_force) = MAKE.open(side, TOUCH);
        assert_eq!(time_in_force, TimeInForce::PostOnly);
        Life::Resting(
            Sent::new(Order {
                id: OrderId(1),
                instrument: InstrumentId(0),
                side,
                qty: Qty(5),
                kind,
                time_in_force,
                sent: Time(1_000),
                sent_double_mid: 200,
                reason: Reason::Decision,
            })
            .acked(),
        )
    }

    #[test]
    fn it_follows_the_touch_and_gives_up() {
        let touch = |bid, ask| Some((Price(bid), Price(ask)));
        for (side, away) in [(Side::Buy, touch(100, 102)), (Side::Sell, touch(98, 100))] {
            let life = resting(side);
            assert_eq!(
                MAKE.tend(&life, Some(TOUCH), true, Time(1_050)),
                Tend::Leave
            );
            assert_eq!(
                MAKE.tend(&life, away, true, Time(1_050)),
                Tend::Move(Price(100))
            );
            assert_eq!(MAKE.tend(&life, None, true, Time(1_050)), Tend::Leave);
            assert_eq!(MAKE.tend(&life, away, true, Time(1_100)), Tend::Cancel);
            assert_eq!(
                MAKE.tend(&life, Some(TOUCH), false, Time(1_001)),
                Tend::Cancel
            );
        }
        let behind = touch(98, 102);
        assert_eq!(
            MAKE.tend(&resting(Side::Buy), behind, true, Time(1_001)),
            Tend::Leave
        );
    }

    #[test]
    fn what_is_on_its_way_is_left_alone() {
        let Life::Resting(_) = resting(Side::Buy) else {
            panic!("rests")
        };
        let sent = Life::Sent(Sent::new(*resting(Side::Buy).order()));
        assert_eq!(
            MAKE.tend(&sent, Some(TOUCH), false, Time(9_000)),
            Tend::Leave
        );
        assert_eq!(
            Tactic::Take.open(Side::Buy, TOUCH),
            (Kind::Market, TimeInForce::Ioc)
        );
    }
}
