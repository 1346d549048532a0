//! What restrains trading and lasts: marks, restrictions and their scopes.
//!
//! Marks and restrictions are asked for, made durable by the caller, and take effect only when they
//! come back; so nothing that was in effect can be lost with the power.

use serde::{Deserialize, Serialize};

use crate::instrument::{InstrumentId, Venue};
use crate::num::Cash;
use crate::time::{DAYS, Time};

/// What may be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Everything that the limits allow.
    #[default]
    Active,
    /// Only what makes a position smaller.
    Reducing,
    /// Trading has stopped; what makes a position smaller still passes, unless the kill switch acted.
    Halted,
}

impl Level {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reducing => "reducing",
            Self::Halted => "halted",
        }
    }
}

/// What a restriction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Everything.
    Portfolio,
    /// One venue.
    Venue(Venue),
    /// One instrument.
    Instrument(InstrumentId),
}

/// Why trading is restricted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The day's loss reached the first limit.
    DailyLoss,
    /// The day's loss reached the second limit.
    DailyHalt,
    /// The week's loss.
    WeeklyLoss,
    /// The first drawdown limit.
    DrawdownReduce,
    /// The second drawdown limit.
    Drawdown,
    /// Losses in a row.
    Losses,
    /// A large move within an hour.
    CrashHour,
    /// A large move within five minutes.
    CrashFast,
    /// Slow answers of a venue.
    Latency,
    /// A venue's frames failed.
    ErrorRate,
    /// Our clock and the venue's differ.
    ClockOffset,
    /// Too many violations in a short time.
    Emergency,
    /// What is held here differs from what the venue states.
    Reconciliation,
    /// The operator's command.
    Command,
    /// The kill switch.
    KillSwitch,
}

impl Scope {
    /// Whether an instrument of a venue belongs to it.
    #[must_use]
    pub fn covers(self, instrument: InstrumentId, venue: Venue) -> bool {
        match self {
            Self::Portfolio => true,
            Self::Venue(named) => named == venue,
            Self::Instrument(named) => named == instrument,
        }
    }
}

impl Cause {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::DailyLoss,
        Self::DailyHalt,
        Self::WeeklyLoss,
        Self::DrawdownReduce,
        Self::Drawdown,
        Self::Losses,
        Self::CrashHour,
        Self::CrashFast,
        Self::Latency,
        Self::ErrorRate,
        Self::ClockOffset,
        Self::Emergency,
        Self::Reconciliation,
        Self::Command,
        Self::KillSwitch,
    ];

    /// Its code, the same for good; a denial for the same reason has the same one.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::DailyLoss => "R20-daily-loss",
            Self::DailyHalt => "R21-daily-halt",
            Self::WeeklyLoss => "R22-weekly-loss",
            Self::DrawdownReduce => "R23-drawdown-reduce",
            Self::Drawdown => "R24-drawdown-halt",
            Self::Losses => "R25-losses-in-a-row",
            Self::CrashHour => "R26-crash-hour",
            Self::CrashFast => "R27-crash-fast",
            Self::Latency => "R29-latency",
            Self::ErrorRate => "R30-error-rate",
            Self::ClockOffset => "R31-clock-offset",
            Self::Emergency => "R33-emergency",
            Self::Reconciliation => "R39-reconciliation",
            Self::Command => "R40-command",
            Self::KillSwitch => "R41-kill-switch",
        }
    }

    /// Whether its taking effect is a violation. A breaker that trips is one; what an operator
    /// commands is none, nor is the emergency itself.
    #[must_use]
    pub const fn is_violation(self) -> bool {
        !matches!(self, Self::Emergency | Self::Command | Self::KillSwitch)
    }
}

/// A restriction of trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// Of what.
    pub scope: Scope,
    /// How strict.
    pub level: Level,
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Time,
    /// When it ends by itself; `None`: it stands until an operator resumes its scope.
    pub until: Option<Time>,
    /// Every position is to be closed.
    pub flatten: bool,
}

impl Restriction {
    /// Whether it is still in force at that time.
    #[must_use]
    pub fn holds(&self, at: Time) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

/// The equities from which losses are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The highest equity so far, or since an operator resumed.
    pub peak: Cash,
    /// Start of the UTC day; unknown before the first pulse.
    pub day: Time,
    /// Equity at the day's first pulse.
    pub day_equity: Cash,
    /// Start of the week (Monday, 00:00 UTC).
    pub week: Time,
    /// Equity at the week's first pulse.
    pub week_equity: Cash,
}

impl Mark {
    /// For an account that starts with this equity.
    #[must_use]
    pub const fn new(equity: Cash) -> Self {
        Self {
            peak: equity,
            day: Time::UNKNOWN,
            day_equity: equity,
            week: Time::UNKNOWN,
            week_equity: equity,
        }
    }
}

/// The start of the week, Monday 00:00 UTC. The epoch was a Thursday.
#[must_use]
pub const fn week(at: Time) -> Time {
    let days = at.0 / DAYS;
    let since_monday = (days + 3) % 7;
    Time(days.saturating_sub(since_monday) * DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_starts_on_monday() {
        // 2026-10-05 is a Monday (`date -d 2026-10-05 +%u` prints 1).
        let monday = Time::from_rfc3339("2026-10-05T00:00:00Z").expect("a date");
        assert_eq!(week(monday), monday);
        assert_eq!(week(monday.plus(7 * DAYS - 1)), monday);
        assert_eq!(week(monday.minus(1)), monday.minus(7 * DAYS));
        assert_eq!(week(Time(DAYS)), Time::UNKNOWN, "before the first Monday");
    }

    #[test]
    fn a_restriction_ends_with_its_cool_off() {
        let mut restriction = Restriction {
            scope: Scope::Portfolio,
            level: Level::Reducing,
            cause: Cause::Losses,
            since: Time(5),
            until: Some(Time(9)),
            flatten: false,
        };
        assert!(restriction.holds(Time(8)) && !restriction.holds(Time(9)));
        restriction.until = None;
        assert!(restriction.holds(Time(u64::MAX)));
    }

    #[test]
    fn codes_differ() {
        let mut codes = Cause::ALL.map(Cause::code);
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
