//! What risk allows, and how near its limits are.

use serde::Serialize;

/// What risk allows and what it has refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Risk {
    /// The portfolio, every venue and every instrument, whatever their state.
    pub scopes: Vec<Scope>,
    /// Every limit.
    pub limits: Vec<Limit>,
    /// Violations of limits.
    pub violations: Violations,
    /// The last runs of denials, newest first.
    pub denials: Vec<Denial>,
    /// Denials since start by code.
    pub denial_counts: Vec<DenialCount>,
}

impl Risk {
    /// The scopes that are not plainly active.
    pub fn restricted(&self) -> impl Iterator<Item = &Scope> {
        self.scopes
            .iter()
            .filter(|scope| scope.state != TradingState::Active)
    }
}

/// What may be traded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TradingState {
    /// Everything.
    #[default]
    Active,
    /// Only what makes a position smaller.
    Reducing,
    /// Nothing that an operator did not ask for.
    Halted,
}

impl TradingState {
    /// All of them, in order of severity.
    pub const ALL: [Self; 3] = [Self::Active, Self::Reducing, Self::Halted];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reducing => "reducing",
            Self::Halted => "halted",
        }
    }
}

/// What may be traded of one portfolio, venue or instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// `portfolio`, `venue` or `instrument`.
    pub scope: String,
    /// Which one; unique among those of its kind.
    pub what: String,
    /// What may be traded of it.
    pub state: TradingState,
    /// A stable code of the cause; empty where it is active.
    pub code: String,
    /// The cause in one sentence; empty where it is active.
    pub cause: String,
    /// Since when, unix nanoseconds.
    pub since_ns: Option<u64>,
    /// When it ends by itself, unix nanoseconds.
    pub until_ns: Option<u64>,
    /// What ends it, in one sentence.
    pub how_to_clear: String,
    /// The exact command that ends it, where one does.
    pub command: Option<String>,
}

/// Which side of a limit is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The value may not exceed the limit.
    #[default]
    Most,
    /// The value may not fall below the limit.
    Least,
}

/// One limit and where its value stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limit {
    /// A stable code.
    pub code: String,
    /// Its name in the configuration; empty where it has none.
    pub key: String,
    /// What is limited, for people.
    pub name: String,
    /// Of what: `portfolio`, a venue, an instrument. Code and scope together are unique.
    pub scope: String,
    /// The present value.
    pub value: Option<f64>,
    /// The limit.
    pub limit: f64,
    /// The unit of both.
    pub unit: String,
    /// Which side of it is allowed.
    pub bound: Bound,
    /// It is in force now: something is refused, reduced or halted because of it.
    pub tripped: bool,
}

impl Limit {
    /// The share of the limit that is used: 1 at the limit, more beyond it. `None` where the value
    /// is not known, or where a share makes no sense (a limit or a value that is not positive).
    #[must_use]
    pub fn used(&self) -> Option<f64> {
        let value = self.value.filter(|v| v.is_finite())?;
        let (part, whole) = match self.bound {
            Bound::Most => (value.max(0.0), self.limit),
            Bound::Least => (self.limit, value),
        };
        (whole > 0.0 && part >= 0.0).then(|| part / whole)
    }

    /// How far the value is from the limit, in the limit's unit; negative beyond it.
    #[must_use]
    pub fn head_room(&self) -> Option<f64> {
        self.value.map(|value| match self.bound {
            Bound::Most => self.limit - value,
            Bound::Least => value - self.limit,
        })
    }
}

/// Violations of limits; so many in so long a time shut the desk down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Violations {
    /// Those in the window, newest first.
    pub recent: Vec<Violation>,
    /// How many are in the window.
    pub count: u64,
    /// How many shut the desk down.
    pub most: u64,
    /// Length of the window in seconds.
    pub window_s: u64,
    /// Violations since start.
    pub total: u64,
}

/// One violation of a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// When, unix nanoseconds.
    pub ns: u64,
    /// The limit's code.
    pub code: String,
    /// Of what.
    pub scope: String,
    /// One sentence.
    pub text: String,
}

/// A run of orders of one instrument that risk refused for one cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The last one, unix nanoseconds.
    pub ns: u64,
    /// The first one, unix nanoseconds.
    pub since_ns: u64,
    /// How many.
    pub count: u64,
    /// Instrument.
    pub instrument: String,
    /// Venue.
    pub venue: String,
    /// A stable code.
    pub code: String,
    /// One sentence.
    pub text: String,
}

/// How often risk refused for one cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DenialCount {
    /// A stable code.
    pub code: String,
    /// How often since start.
    pub count: u64,
}
