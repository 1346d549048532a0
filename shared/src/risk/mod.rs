//! The gate between a decision and an order, and the halts that latch.
//!
//! A denial is typed and has a code that stays the same for good. Orders that reduce risk are never
//! blocked by caps. A halt latches until an operator resumes, and the high-water mark and every halt
//! are made durable before they take effect: the engine asks for them (`Output::Mark`,
//! `Output::Halt`) and changes only when they come back as events.

pub mod breakers;
pub mod correlation;
pub mod denial;
mod exposure;
pub mod gate;
pub mod limits;
pub mod sizing;
pub mod state;
pub mod table;
mod watch;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Choice, PPM};
use crate::event::{HaltCause, Side};
use crate::instrument::{Instrument, Kind};
use crate::ledger::{Ledger, Position};
use crate::num::{BPS, Cash, Price, Qty, affordable, notional};
use crate::time::Time;

/// Limits that may differ per machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest position of one instrument, in basis points of equity.
    pub position_cap_bps: u32,
    /// Largest sum of all positions, in basis points of equity.
    pub exposure_cap_bps: u32,
    /// Smallest order.
    pub min_order: Cash,
    /// A target closer than this to the position, in basis points of the cap, is left alone.
    pub deadband_bps: u32,
    /// Drawdown from the high-water mark at which trading halts, in basis points.
    pub drawdown_bps: u32,
    /// The least probability at which a choice is followed, in parts per million.
    pub min_confidence: u32,
    /// The widest spread at which an order that adds risk is sent, in basis points of the mid.
    pub max_spread_bps: u32,
}

/// Why a decision gave no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Denial {
    /// The policy chose to hold.
    Hold,
    /// The book is stale: no price, no order.
    StaleBook,
    /// Trading is halted.
    Halted,
    /// An order of this instrument is still in flight.
    InFlight,
    /// The policy is not sure enough.
    Unsure,
    /// The position is already where it should be.
    AtTarget,
    /// The order would be smaller than the least allowed.
    TooSmall,
    /// The spread is too wide.
    WideSpread,
    /// The exposure cap is reached.
    Exposure,
    /// The instrument's rules forbid it (a spot position cannot be short).
    Forbidden,
}

impl Denial {
    /// Its code, the same for good.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Hold => "R00-hold",
            Self::StaleBook => "R01-stale-book",
            Self::Halted => "R02-halted",
            Self::InFlight => "R03-in-flight",
            Self::Unsure => "R04-unsure",
            Self::AtTarget => "R05-at-target",
            Self::TooSmall => "R06-too-small",
            Self::WideSpread => "R07-wide-spread",
            Self::Exposure => "R08-exposure",
            Self::Forbidden => "R09-forbidden",
        }
    }
}

/// A halt that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Who or what halted.
    pub cause: HaltCause,
    /// Since when.
    pub since: Time,
}

/// What the gate remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    limits: Limits,
    halt: Option<Halt>,
    high_water: Cash,
    /// The drawdown halt was asked for and has not come back yet; forgotten on recovery, so that it
    /// is asked for again.
    #[serde(skip)]
    asked: bool,
}

/// What the gate must know about the market and the account.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What would be traded.
    pub instrument: &'a Instrument,
    /// What is held of it.
    pub position: &'a Position,
    /// Best bid and ask; `None` while the book is stale.
    pub touch: Option<(Price, Price)>,
    /// Equity, marked conservatively.
    pub equity: Cash,
    /// Sum of the absolute values of all positions.
    pub exposure: Cash,
    /// An order of this instrument is in flight.
    pub in_flight: bool,
}

/// An order that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved {
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
}

/// The step by which equity must exceed the high-water mark before the mark is raised: every raise
/// is a durable write.
const MARK_STEP_BPS: i64 = 5;

impl Risk {
    /// A gate for an account that starts with this equity.
    #[must_use]
    pub const fn new(limits: Limits, equity: Cash) -> Self {
        Self {
            limits,
            halt: None,
            high_water: equity,
            asked: false,
        }
    }

    /// Takes new limits (a restart with another configuration).
    pub const fn relimit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets what was asked for and never came back.
    pub const fn recover(&mut self) {
        self.asked = false;
    }

    /// The halt in force.
    #[must_use]
    pub const fn halted(&self) -> Option<Halt> {
        self.halt
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The highest equity that was made durable.
    #[must_use]
    pub const fn high_water(&self) -> Cash {
        self.high_water
    }

    /// How far this equity lies below the high-water mark, in basis points.
    #[must_use]
    pub fn drawdown_bps(&self, equity: Cash) -> i64 {
        let below = (self.high_water - equity).0.max(0);
        let base = self.high_water.0.max(1);
        crate::num::saturate(i128::from(below) * i128::from(BPS) / i128::from(base))
    }

    /// Watches equity at a pulse: what must be made durable, if anything.
    pub fn watch(&mut self, equity: Cash) -> Option<Watch> {
        if self.drawdown_bps(equity) >= i64::from(self.limits.drawdown_bps)
            && self.halt.is_none()
            && !self.asked
        {
            self.asked = true;
            return Some(Watch::Halt(HaltCause::Drawdown));
        }
        (equity > self.high_water + self.high_water.bps(MARK_STEP_BPS))
            .then_some(Watch::Mark(equity))
    }

    /// A mark came back, durable.
    pub fn marked(&mut self, high_water: Cash) {
        self.high_water = self.high_water.max(high_water);
    }

    /// A halt came back, durable. The first cause stands until resumed.
    pub fn halt(&mut self, cause: HaltCause, at: Time) {
        self.asked = false;
        self.halt.get_or_insert(Halt { cause, since: at });
    }

    /// An operator re-armed trading. The high-water mark starts anew at this equity, or the drawdown
    /// that halted would halt again at once.
    pub const fn resume(&mut self, equity: Cash) {
        self.halt = None;
        self.asked = false;
        self.high_water = equity;
    }

    /// Turns an action into an order, or says why not.
    ///
    /// # Errors
    /// The first [`Denial`] that applies.
    pub fn judge(&self, action: &Action, situation: &Situation<'_>) -> Result<Approved, Denial> {
        let (bid, ask) = situation.touch.ok_or(Denial::StaleBook)?;
        if self.halt.is_some() {
            return Err(Denial::Halted);
        }
        if situation.in_flight {
            return Err(Denial::InFlight);
        }
        if action.choice == Choice::Hold {
            return Err(Denial::Hold);
        }
        if action.confidence() < self.limits.min_confidence {
            return Err(Denial::Unsure);
        }
        let instrument = situation.instrument;
        let cap = situation
            .equity
            .bps(i64::from(self.limits.position_cap_bps));
        let wanted =
            crate::num::div_round(i128::from(cap.0) * i128::from(action.size), i128::from(PPM));
        let (side, price, target) = match action.choice {
            Choice::Buy => (Side::Buy, ask, wanted),
            _ if instrument.kind == Kind::Spot => (Side::Sell, bid, 0),
            _ => (Side::Sell, bid, -wanted),
        };
        let held = Ledger::value(situation.position, price, instrument);
        if situation.position.qty.0 == 0 && target == 0 {
            return Err(Denial::Forbidden);
        }
        let change = (target - held.0) * side.sign();
        let deadband = cap.bps(i64::from(self.limits.deadband_bps)).0;
        let closes = target == 0;
        if change <= 0 || !closes && change < deadband {
            return Err(Denial::AtTarget);
        }
        let qty = if closes {
            Qty(situation.position.qty.0.abs())
        } else {
            affordable(
                Cash(change),
                price,
                instrument.price_scale,
                instrument.qty_scale,
            )
        };
        let qty = Qty(qty.0 - qty.0 % instrument.lot.max(1));
        let adds = situation.position.qty.0 * side.sign() >= 0;
        let value = notional(price, qty, instrument.price_scale, instrument.qty_scale);
        if qty.0 <= 0 || adds && value < self.limits.min_order {
            return Err(Denial::TooSmall);
        }
        if adds {
            self.admit(situation, value, bid, ask)?;
        }
        Ok(Approved { side, qty })
    }

    /// Limits that bind only orders that add risk.
    fn admit(&self, s: &Situation<'_>, value: Cash, bid: Price, ask: Price) -> Result<(), Denial> {
        let spread = i128::from(ask.0 - bid.0) * i128::from(2 * BPS);
        let mid = i128::from(ask.0) + i128::from(bid.0);
        if spread > mid * i128::from(self.limits.max_spread_bps) {
            return Err(Denial::WideSpread);
        }
        let cap = s.equity.bps(i64::from(self.limits.exposure_cap_bps));
        if s.exposure + value > cap {
            Err(Denial::Exposure)
        } else {
            Ok(())
        }
    }
}

/// What [`Risk::watch`] wants made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// A new high-water mark.
    Mark(Cash),
    /// A halt.
    Halt(HaltCause),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::Venue;

    const LIMITS: Limits = Limits {
        position_cap_bps: 2_500,
        exposure_cap_bps: 5_000,
        min_order: Cash(10 * Cash::ONE.0),
        deadband_bps: 1_000,
        drawdown_bps: 2_500,
        min_confidence: 400_000,
        max_spread_bps: 50,
    };

    fn instrument(kind: Kind) -> Instrument {
        let plain = Instrument::unknown(Venue::Binance, "T").expect("short");
        Instrument {
            price_scale: 2,
            qty_scale: 4,
            lot: 10,
            kind,
            ..plain
        }
    }

    fn buy(size: u32) -> Action {
        Action {
            choice: Choice::Buy,
            probabilities: [0, 100_000, 900_000],
            size,
            risk: 0,
            value: 0,
        }
    }

    fn sell(size: u32) -> Action {
        Action {
            choice: Choice::Sell,
            probabilities: [900_000, 100_000, 0],
            ..buy(size)
        }
    }

    fn judge(
        risk: &Risk,
        action: Action,
        qty: i64,
        change: impl Fn(&mut Situation<'_>),
        kind: Kind,
    ) -> Result<Approved, Denial> {
        let instrument = instrument(kind);
        let position = Position {
            qty: Qty(qty),
            ..Position::default()
        };
        let mut situation = Situation {
            instrument: &instrument,
            position: &position,
            touch: Some((Price(9_990), Price(10_000))),
            equity: Cash(1_000 * Cash::ONE.0),
            exposure: Cash::ZERO,
            in_flight: false,
        };
        change(&mut situation);
        risk.judge(&action, &situation)
    }

    #[test]
    fn a_buy_goes_to_its_share_of_the_cap() {
        let risk = Risk::new(LIMITS, Cash(1_000 * Cash::ONE.0));
        // 25 % of 1000 is 250, at 100.00 and half size: 1.25.
        let approved = judge(&risk, buy(500_000), 0, |_| {}, Kind::Spot);
        assert_eq!(
            approved,
            Ok(Approved {
                side: Side::Buy,
                qty: Qty(12_500)
            })
        );
    }

    #[test]
    fn each_denial_has_its_reason() {
        let risk = Risk::new(LIMITS, Cash(1_000 * Cash::ONE.0));
        let denied = |action, qty, change: &dyn Fn(&mut Situation<'_>)| {
            judge(&risk, action, qty, change, Kind::Spot).err()
        };
        assert_eq!(denied(Action::HOLD, 0, &|_| {}), Some(Denial::Hold));
        assert_eq!(
            denied(buy(500_000), 0, &|s| s.touch = None),
            Some(Denial::StaleBook)
        );
        assert_eq!(
            denied(buy(500_000), 0, &|s| s.in_flight = true),
            Some(Denial::InFlight)
        );
        assert_eq!(
            denied(buy(500_000), 12_400, &|_| {}),
            Some(Denial::AtTarget)
        );
        assert_eq!(
            denied(buy(500_000), 0, &|s| s.equity = Cash(40 * Cash::ONE.0)),
            Some(Denial::TooSmall)
        );
        assert_eq!(
            denied(buy(500_000), 0, &|s| s.touch =
                Some((Price(9_900), Price(10_000)))),
            Some(Denial::WideSpread)
        );
        assert_eq!(
            denied(buy(500_000), 0, &|s| s.exposure = Cash(490 * Cash::ONE.0)),
            Some(Denial::Exposure)
        );
        assert_eq!(denied(sell(500_000), 0, &|_| {}), Some(Denial::Forbidden));
        let unsure = Action {
            probabilities: [300_000, 300_000, 400_000 - 1],
            ..buy(1)
        };
        assert_eq!(denied(unsure, 0, &|_| {}), Some(Denial::Unsure));
    }

    #[test]
    fn reducing_is_never_blocked_by_caps() {
        let risk = Risk::new(LIMITS, Cash(1_000 * Cash::ONE.0));
        let crowded = |s: &mut Situation<'_>| {
            s.exposure = Cash(9_000 * Cash::ONE.0);
            s.touch = Some((Price(5_000), Price(10_000)));
        };
        let approved = judge(&risk, sell(1), 20, crowded, Kind::Spot);
        assert_eq!(
            approved,
            Ok(Approved {
                side: Side::Sell,
                qty: Qty(20)
            })
        );
        let short =
            judge(&risk, sell(500_000), 0, |_| {}, Kind::Perpetual).expect("perpetuals go short");
        assert_eq!(short.side, Side::Sell);
    }

    #[test]
    fn drawdown_halts_once_and_latches() {
        let mut risk = Risk::new(LIMITS, Cash(1_000));
        assert_eq!(
            risk.watch(Cash(1_001)),
            Some(Watch::Mark(Cash(1_001))).filter(|_| false)
        );
        assert_eq!(risk.watch(Cash(1_100)), Some(Watch::Mark(Cash(1_100))));
        risk.marked(Cash(1_100));
        assert_eq!(risk.watch(Cash(826)), None);
        assert_eq!(
            risk.watch(Cash(825)),
            Some(Watch::Halt(HaltCause::Drawdown))
        );
        assert_eq!(risk.watch(Cash(800)), None, "asked once");
        risk.halt(HaltCause::Drawdown, Time(7));
        assert_eq!(
            judge(&risk, buy(500_000), 0, |_| {}, Kind::Spot),
            Err(Denial::Halted)
        );
        risk.halt(HaltCause::Command, Time(9));
        assert_eq!(
            risk.halted(),
            Some(Halt {
                cause: HaltCause::Drawdown,
                since: Time(7)
            })
        );
        risk.resume(Cash(800));
        assert_eq!((risk.halted(), risk.watch(Cash(800))), (None, None));
    }
}
