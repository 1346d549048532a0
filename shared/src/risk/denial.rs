//! Why an order was not sent: every reason with a code that stays the same for good.
//!
//! Which of them are violations: a denial by a cap (R08, R11 to R16) while the account is beyond that
//! cap by more than is tolerated, and a breaker that trips (R20 to R31 and R39, when its restriction takes
//! effect). A policy that holds, is unsure, or wants more of what it may have no more of violates
//! nothing; neither does a market that is stale, wide, thin or near its funding.

use serde::{Deserialize, Serialize};

use super::state::Cause;

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
    /// The instrument's rules forbid it (a spot position cannot be short; an inverse contract settles
    /// in what the account does not hold).
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
    /// What is held here differs from what the venue states.
    Reconciliation,
}

impl Denial {
    /// All of them, in order.
    pub const ALL: [Self; 37] = [
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
        Self::Reconciliation,
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
            Self::Reconciliation => Cause::Reconciliation.code(),
        }
    }
}

/// The denial for the same reason as a restriction.
pub(super) const fn denial_of(cause: Cause) -> Denial {
    match cause {
        Cause::DailyLoss => Denial::DailyLoss,
        Cause::DailyHalt => Denial::DailyHalt,
        Cause::WeeklyLoss => Denial::WeeklyLoss,
        Cause::DrawdownReduce => Denial::DrawdownReduce,
        Cause::Drawdown => Denial::Drawdown,
        Cause::Losses => Denial::Losses,
        Cause::CrashHour => Denial::CrashHour,
        Cause::CrashFast => Denial::CrashFast,
        Cause::Latency => Denial::Latency,
        Cause::ErrorRate => Denial::ErrorRate,
        Cause::ClockOffset => Denial::ClockOffset,
        Cause::Emergency => Denial::Emergency,
        Cause::Reconciliation => Denial::Reconciliation,
        Cause::Command | Cause::KillSwitch => Denial::Halted,
    }
}
