//! The account: fixed-point, double-entry, conserving after every fill.
//!
//! Every posting moves an amount from one account to another, so the sum over all accounts of one
//! commodity (money, or one instrument's base) is zero for ever; [`Ledger::check`] asserts it,
//! together with the identity between cash, cost, realised profit and fees. Quote currencies count
//! at par; which ones may be mixed is the configuration's decision.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::event::Side;
use crate::instrument::{Instrument, InstrumentId};
use crate::num::{Cash, Price, Qty, div_round, notional};
use crate::order::Fill;

/// A position in one instrument, at average cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Held quantity; negative when short.
    pub qty: Qty,
    /// What the held quantity cost (negative: what a short was sold for), without fees.
    pub cost: Cash,
    /// Profit of what was closed, without fees.
    pub realised: Cash,
    /// Fees paid; negative when rebates exceed them.
    pub fees: Cash,
    /// Funding received; negative when paid.
    pub funding: Cash,
    /// Fills.
    pub fills: u64,
}

/// All accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Money deposited at the start; its counter-entry is `capital`.
    cash: Cash,
    capital: Cash,
    /// Money owed by (positive) or paid to (negative) the market, per instrument.
    market_cash: Vec<Cash>,
    /// Base handed out by (negative) or to the market, per instrument.
    market_base: Vec<i64>,
    positions: Vec<Position>,
}

/// A broken invariant: a defect of this program, never of the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// Which sum is not zero.
    pub what: &'static str,
    /// By how much.
    pub by: i64,
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ledger: {} is off by {}", self.what, self.by)
    }
}

impl Ledger {
    /// An account with this much money and no positions.
    #[must_use]
    pub fn new(capital: Cash, instruments: usize) -> Self {
        Self {
            cash: capital,
            capital: -capital,
            market_cash: alloc::vec![Cash::ZERO; instruments],
            market_base: alloc::vec![0; instruments],
            positions: alloc::vec![Position::default(); instruments],
        }
    }

    /// Free money.
    #[must_use]
    pub const fn cash(&self) -> Cash {
        self.cash
    }

    /// The money deposited at the start.
    #[must_use]
    pub fn capital(&self) -> Cash {
        -self.capital
    }

    /// The position in an instrument.
    #[must_use]
    pub fn position(&self, id: InstrumentId) -> &Position {
        &self.positions[id.index()]
    }

    /// All positions, by instrument.
    #[must_use]
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Posts a fill.
    ///
    /// # Panics
    /// When the books do not balance afterwards: going on would corrupt the account.
    pub fn fill(&mut self, id: InstrumentId, fill: &Fill) {
        let place = id.index();
        let signed = fill.side.sign() * fill.qty.0;
        let paid = Cash(fill.side.sign() * fill.notional.0);
        self.cash = self.cash - paid - fill.fee;
        self.market_cash[place] += paid;
        self.market_base[place] -= signed;

        let position = &mut self.positions[place];
        let held = position.qty.0;
        let closing = if held.signum() == -signed.signum() {
            held.abs().min(signed.abs())
        } else {
            0
        };
        if closing > 0 {
            // The share of cost and of proceeds that belongs to what is closed; the rest opens.
            let released = Cash(div_round(
                i128::from(position.cost.0) * i128::from(closing),
                i128::from(held.abs()),
            ));
            let proceeds = Cash(div_round(
                i128::from(paid.0) * i128::from(closing),
                i128::from(signed.abs()),
            ));
            position.realised += -proceeds - released;
            position.cost = position.cost - released + (paid - proceeds);
        } else {
            position.cost += paid;
        }
        position.qty.0 += signed;
        position.fees += fill.fee;
        position.fills += 1;
        if let Err(imbalance) = self.check() {
            panic!("{imbalance}");
        }
    }

    /// Posts a funding payment: what a position received, negative when it paid.
    ///
    /// # Panics
    /// When the books do not balance afterwards.
    pub fn fund(&mut self, id: InstrumentId, received: Cash) {
        self.cash += received;
        self.positions[id.index()].funding += received;
        if let Err(imbalance) = self.check() {
            panic!("{imbalance}");
        }
    }

    /// Conservation: every commodity sums to zero over all accounts, and cash is explained by
    /// capital, cost, realised profit, fees and funding.
    ///
    /// # Errors
    /// The first sum that is off.
    pub fn check(&self) -> Result<(), Imbalance> {
        let (fees, funding) = (self.fees(), self.funding());
        let market = self
            .market_cash
            .iter()
            .fold(Cash::ZERO, |sum, cash| sum + *cash);
        let money = self.cash + self.capital + market + fees - funding;
        if money != Cash::ZERO {
            return Err(Imbalance {
                what: "money over all accounts",
                by: money.0,
            });
        }
        for (position, market) in self.positions.iter().zip(&self.market_base) {
            let base = position.qty.0 + market;
            if base != 0 {
                return Err(Imbalance {
                    what: "base over all accounts",
                    by: base,
                });
            }
            if position.qty.0 == 0 && position.cost != Cash::ZERO {
                return Err(Imbalance {
                    what: "cost of a flat position",
                    by: position.cost.0,
                });
            }
        }
        let (cost, realised) = (self.sum(|p| p.cost), self.sum(|p| p.realised));
        let explained = self.capital() - cost + realised - fees + funding;
        if self.cash != explained {
            return Err(Imbalance {
                what: "cash against its explanation",
                by: (self.cash - explained).0,
            });
        }
        Ok(())
    }

    fn sum(&self, part: impl Fn(&Position) -> Cash) -> Cash {
        self.positions
            .iter()
            .fold(Cash::ZERO, |sum, position| sum + part(position))
    }

    /// Fees paid so far.
    #[must_use]
    pub fn fees(&self) -> Cash {
        self.sum(|position| position.fees)
    }

    /// Funding received so far; negative when paid.
    #[must_use]
    pub fn funding(&self) -> Cash {
        self.sum(|position| position.funding)
    }

    /// Profit of closed quantities, without fees.
    #[must_use]
    pub fn realised(&self) -> Cash {
        self.sum(|position| position.realised)
    }

    /// The value of a position at this price; negative when short.
    #[must_use]
    pub fn value(position: &Position, price: Price, instrument: &Instrument) -> Cash {
        notional(
            price,
            position.qty,
            instrument.price_scale,
            instrument.qty_scale,
        )
    }
}

/// The side that closes a position.
#[must_use]
pub const fn closing_side(position: &Position) -> Side {
    if position.qty.0 > 0 {
        Side::Sell
    } else {
        Side::Buy
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attribution::Split;

    fn fill(side: Side, qty: i64, price: i64, fee: i64) -> Fill {
        Fill {
            side,
            qty: Qty(qty),
            left: Qty(0),
            notional: Cash(qty * price),
            worst: Price(price),
            fee: Cash(fee),
            maker: false,
            synthetic: false,
            spanned_gap: false,
            queue_orders: 0,
            split: Split::default(),
        }
    }

    #[test]
    fn a_round_trip_realises_its_profit() {
        let mut ledger = Ledger::new(Cash(1_000_000), 1);
        let id = InstrumentId(0);
        ledger.fill(id, &fill(Side::Buy, 10, 100, 5));
        ledger.fill(id, &fill(Side::Sell, 4, 110, 5));
        assert_eq!(
            *ledger.position(id),
            Position {
                qty: Qty(6),
                cost: Cash(600),
                realised: Cash(40),
                fees: Cash(10),
                funding: Cash::ZERO,
                fills: 2
            }
        );
        ledger.fill(id, &fill(Side::Sell, 10, 90, 0));
        let short = ledger.position(id);
        assert_eq!(
            (short.qty, short.cost, short.realised),
            (Qty(-4), Cash(-360), Cash(-20))
        );
        ledger.fill(id, &fill(Side::Buy, 4, 80, 0));
        assert_eq!(ledger.realised(), Cash(20));
        assert_eq!(ledger.cash(), Cash(1_000_000 + 20 - 10));
    }

    proptest! {
        #[test]
        fn conserves_over_any_fills(
            fills in proptest::collection::vec((any::<bool>(), 1_i64..1000, 1_i64..100_000, -20_i64..50, 0_u16..3, -99_i64..99), 1..200)
        ) {
            let mut ledger = Ledger::new(Cash(1_000_000_000), 3);
            for (buy, qty, price, fee, id, funding) in fills {
                let side = if buy { Side::Buy } else { Side::Sell };
                ledger.fill(InstrumentId(id), &fill(side, qty, price, fee));
                ledger.fund(InstrumentId(id), Cash(funding));
                prop_assert_eq!(ledger.check(), Ok(()));
            }
        }
    }
}
