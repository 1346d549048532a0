//! The gate between a decision and an order.
//!
//! [`Gate::observe`], [`Gate::funding`], [`Gate::health`] and [`Gate::closed`] tell it what happens;
//! [`Gate::pulse`] answers with what must be done or made durable; [`Gate::judge`] turns an action
//! into an order or says why not.
//!
//! * A denial is typed and has a code that stays the same for good.
//! * What makes a position smaller is never blocked by a limit; only the kill switch stops it.
//! * Open orders count as if they had filled in the worst way, so that no sequence of approvals can
//!   exceed a cap.
//! * Marks and restrictions are asked for once, and take effect when they come back durable.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::limits::{Limits, Unit};
use super::sizing::Sizing;
use super::state::{Cause, Level, Mark, Restriction, Scope};
use crate::action::Action;
use crate::event::Side;
use crate::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS, Venue};
use crate::num::{Cash, Price, Qty};
use crate::order::Reason;
use crate::time::Time;

/// Acts that one pulse can give rise to: per instrument a closing and two restrictions, three
/// restrictions per venue, and those of the portfolio.
pub const MAX_ACTS: usize = 3 * MAX_INSTRUMENTS + 3 * Venue::ALL.len() + Cause::ALL.len() + 3;

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
    /// The cap on net exposure.
    Exposure,
    /// The instrument's rules forbid it (a spot position cannot be short).
    Forbidden,
    /// Positions may only shrink.
    Reducing,
    /// The cap of one instrument's position.
    PositionCap,
    /// The cap of the instrument's sector.
    SectorCap,
    /// The cap of the instrument's correlated group.
    CorrelatedCap,
    /// Portfolio heat.
    Heat,
    /// The cash reserve.
    CashReserve,
    /// The cap on the sum of all positions.
    GrossCap,
    /// Too little stands near the touch.
    ThinBook,
    /// The funding rate.
    FundingRate,
    /// A funding settlement is near.
    FundingWindow,
    /// The day's loss.
    DailyLoss,
    /// The day's loss, beyond its second limit.
    DailyHalt,
    /// The week's loss.
    WeeklyLoss,
    /// Drawdown beyond its first limit.
    DrawdownReduce,
    /// Drawdown beyond its second limit.
    Drawdown,
    /// Losses in a row.
    Losses,
    /// A large move within an hour.
    CrashHour,
    /// A large move within five minutes.
    CrashFast,
    /// Nothing was heard of the instrument for too long.
    StaleFeed,
    /// The feed is delayed, or the venue answers slowly.
    Latency,
    /// Too many of the venue's frames failed.
    ErrorRate,
    /// Our clock and the venue's differ.
    ClockOffset,
    /// A breaker tripped and its cool-off has not ended.
    CoolingOff,
    /// Too many violations in a short time.
    Emergency,
    /// Kelly's bet is nothing.
    NoEdge,
    /// Something held or ordered has no price, so that exposure cannot be told.
    Unpriced,
}

impl Denial {
    /// All of them, in order.
    pub const ALL: [Self; 36] = [
        Self::Hold,
        Self::StaleBook,
        Self::Halted,
        Self::InFlight,
        Self::Unsure,
        Self::AtTarget,
        Self::TooSmall,
        Self::WideSpread,
        Self::Exposure,
        Self::Forbidden,
        Self::Reducing,
        Self::PositionCap,
        Self::SectorCap,
        Self::CorrelatedCap,
        Self::Heat,
        Self::CashReserve,
        Self::GrossCap,
        Self::ThinBook,
        Self::FundingRate,
        Self::FundingWindow,
        Self::DailyLoss,
        Self::DailyHalt,
        Self::WeeklyLoss,
        Self::DrawdownReduce,
        Self::Drawdown,
        Self::Losses,
        Self::CrashHour,
        Self::CrashFast,
        Self::StaleFeed,
        Self::Latency,
        Self::ErrorRate,
        Self::ClockOffset,
        Self::CoolingOff,
        Self::Emergency,
        Self::NoEdge,
        Self::Unpriced,
    ];

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
            Self::Reducing => "R10-reducing",
            Self::PositionCap => "R11-position-cap",
            Self::SectorCap => "R12-sector-cap",
            Self::CorrelatedCap => "R13-correlated-cap",
            Self::Heat => "R14-heat",
            Self::CashReserve => "R15-cash-reserve",
            Self::GrossCap => "R16-gross-cap",
            Self::ThinBook => "R17-thin-book",
            Self::FundingRate => "R18-funding-rate",
            Self::FundingWindow => "R19-funding-window",
            Self::DailyLoss => Cause::DailyLoss.code(),
            Self::DailyHalt => Cause::DailyHalt.code(),
            Self::WeeklyLoss => Cause::WeeklyLoss.code(),
            Self::DrawdownReduce => Cause::DrawdownReduce.code(),
            Self::Drawdown => Cause::Drawdown.code(),
            Self::Losses => Cause::Losses.code(),
            Self::CrashHour => Cause::CrashHour.code(),
            Self::CrashFast => Cause::CrashFast.code(),
            Self::StaleFeed => "R28-stale-feed",
            Self::Latency => Cause::Latency.code(),
            Self::ErrorRate => Cause::ErrorRate.code(),
            Self::ClockOffset => Cause::ClockOffset.code(),
            Self::CoolingOff => "R32-cooling-off",
            Self::Emergency => Cause::Emergency.code(),
            Self::NoEdge => "R34-no-edge",
            Self::Unpriced => "R35-unpriced",
        }
    }
}

/// What the market of an instrument looks like at a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When.
    pub at: Time,
    /// Best bid.
    pub bid: Price,
    /// Best ask.
    pub ask: Price,
    /// Value near the best bid (within the levels that the caller counts).
    pub bid_depth: Cash,
    /// Value near the best ask.
    pub ask_depth: Cash,
    /// When its newest market event was received.
    pub updated: Time,
    /// Time from the venue's stamp to our receipt; 0 where the venue gives no stamp.
    pub lag_ns: i64,
}

/// How a venue's connections do, since the last such report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Our clock less the venue's.
    pub clock_offset_ns: i64,
    /// Round trip of a request.
    pub round_trip_ns: u64,
    /// Frames that failed.
    pub errors: u32,
    /// All frames.
    pub frames: u32,
}

/// What is held and ordered of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Held quantity; negative when short.
    pub qty: Qty,
    /// What it cost, as in the ledger.
    pub cost: Cash,
    /// Newest known bid; zero when there never was one.
    pub bid: Price,
    /// Newest known ask; zero when there never was one.
    pub ask: Price,
    /// What open orders may still buy.
    pub buying: Qty,
    /// What open orders may still sell.
    pub selling: Qty,
}

/// The account at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// When.
    pub at: Time,
    /// Equity, longs marked at the bid and shorts at the ask.
    pub equity: Cash,
    /// Money, as in the ledger.
    pub cash: Cash,
    /// Every instrument's holding, by id.
    pub held: &'a [Held],
}

/// What the gate must know to judge an order.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What would be traded.
    pub instrument: InstrumentId,
    /// Best bid and ask; `None` while the book is stale.
    pub touch: Option<(Price, Price)>,
    /// An order of this instrument is on its way and not answered.
    pub in_flight: bool,
    /// The account.
    pub account: Account<'a>,
}

/// An order that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved {
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// It only makes the position smaller.
    pub reduces: bool,
    /// How the size came about; `None` for what only closes.
    pub sizing: Option<Sizing>,
}

/// What a pulse asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Make this durable, then give it to [`Gate::marked`].
    Mark(Mark),
    /// Make this durable, then give it to [`Gate::restricted`].
    Restrict(Restriction),
    /// Close a position at the market.
    Close {
        /// Of which instrument.
        instrument: InstrumentId,
        /// Which way.
        side: Side,
        /// How much: the position less what open orders of that side would close already.
        qty: Qty,
        /// Why.
        reason: Reason,
        /// Open orders of that side rest, or are on their way: cancel those that rest.
        cancel: bool,
    },
    /// Cancel every open order that does not close a position.
    CancelAll,
    /// Close every position at the market, again at every pulse until all are closed.
    Flatten(Cause),
}

/// Of what a row of the table speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A scope that can be restricted.
    Scope(Scope),
    /// A sector, by its place in the limits.
    Sector(usize),
    /// A correlated group, by its first instrument.
    Group(InstrumentId),
}

/// How near a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not reached.
    Clear,
    /// Close to being reached.
    Warning,
    /// Reached: it blocks, closes or restricts.
    Tripped,
}

/// A limit, what it measures now, and how far that is from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The code of the denial, restriction or closing that it leads to.
    pub code: &'static str,
    /// The limit's name, as in [`super::limits::KEYS`].
    pub name: &'static str,
    /// Of what; for a limit per instrument, venue, sector or group the one closest to it.
    pub subject: Subject,
    /// The unit of the three numbers.
    pub unit: Unit,
    /// What is measured now.
    pub value: i64,
    /// The limit.
    pub limit: i64,
    /// How much is left; negative beyond the limit.
    pub headroom: i64,
    /// Whether it is reached.
    pub standing: Standing,
}

/// The risk engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    limits: Limits,
    mark: Mark,
}

impl Gate {
    /// A gate for these instruments and an account that starts with this equity.
    #[must_use]
    pub fn new(limits: Limits, instruments: &[Instrument], equity: Cash) -> Self {
        let _ = instruments;
        Self {
            limits,
            mark: Mark::new(equity),
        }
    }

    /// Takes new limits (a restart with another configuration) for the same instruments.
    pub fn relimit(&mut self, limits: Limits, instruments: &[Instrument]) {
        let _ = instruments;
        self.limits = limits;
    }

    /// Forgets what was asked for and never came back, so that it is asked for again.
    pub fn recover(&mut self) {}

    /// The market of an instrument with a live book, at every pulse.
    pub fn observe(&mut self, id: InstrumentId, seen: &Observation) {
        let _ = (id, seen);
    }

    /// A funding rate (a fraction in units of `10^-12`) and when it settles.
    pub fn funding(&mut self, id: InstrumentId, rate: i64, settles: Time) {
        let _ = (id, rate, settles);
    }

    /// How a venue's connections do.
    pub fn health(&mut self, venue: Venue, health: &Health) {
        let _ = (venue, health);
    }

    /// A position was closed or reduced with this profit after fees.
    pub fn closed(&mut self, realised: Cash) {
        let _ = realised;
    }

    /// Looks at the account, after all [`Gate::observe`]s of a pulse.
    pub fn pulse(&mut self, account: &Account<'_>) -> Vec<Act> {
        let _ = account;
        Vec::new()
    }

    /// A mark came back, durable.
    pub fn marked(&mut self, mark: &Mark) {
        self.mark = *mark;
    }

    /// A restriction came back, durable (or an operator commanded it), and takes effect. What
    /// follows at once: [`Act::CancelAll`] and [`Act::Flatten`] when it flattens.
    pub fn restricted(&mut self, restriction: &Restriction) -> Vec<Act> {
        let _ = restriction;
        Vec::new()
    }

    /// An operator resumed a scope: its restrictions end, and what led to them is measured from here.
    pub fn resumed(&mut self, scope: Scope, equity: Cash, at: Time) {
        let _ = (scope, equity, at);
    }

    /// Turns an action into an order, or says why not.
    ///
    /// # Errors
    /// The first [`Denial`] that applies.
    pub fn judge(
        &mut self,
        action: &Action,
        situation: &Situation<'_>,
    ) -> Result<Approved, Denial> {
        let _ = (action, situation);
        Err(Denial::Hold)
    }

    /// Judges an order that no [`Action`] gave rise to (a quote, an operator's order): the part of it
    /// that fits the limits.
    ///
    /// # Errors
    /// The first [`Denial`] that applies.
    pub fn admit(
        &mut self,
        side: Side,
        qty: Qty,
        price: Price,
        situation: &Situation<'_>,
    ) -> Result<Approved, Denial> {
        let _ = (side, qty, price, situation);
        Err(Denial::Hold)
    }

    /// Every limit with its present value.
    #[must_use]
    pub fn table(&self, account: &Account<'_>) -> Vec<Row> {
        let _ = account;
        Vec::new()
    }

    /// The restrictions in force.
    #[must_use]
    pub fn states(&self) -> &[Restriction] {
        &[]
    }

    /// The strictest level that applies to an instrument.
    #[must_use]
    pub fn level(&self, id: InstrumentId, at: Time) -> Level {
        let _ = (id, at);
        Level::Active
    }

    /// Why every position is to be closed, when so.
    #[must_use]
    pub fn flattening(&self) -> Option<Cause> {
        None
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The equities from which losses are measured.
    #[must_use]
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }
}
