//! Orders, fills, and what became of the money.

use serde::Serialize;

/// Seconds after a fill at which [`Toxicity::adverse_bps`] looks.
pub const TOXICITY_HORIZONS_S: [u64; 3] = [1, 5, 30];

/// One working order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Order {
    /// Client order id.
    pub id: String,
    /// Instrument.
    pub instrument: String,
    /// Venue.
    pub venue: String,
    /// `buy` or `sell`.
    pub side: String,
    /// `market` or `limit`.
    pub kind: String,
    /// `gtc`, `post-only`, `ioc` or `fok`.
    pub time_in_force: String,
    /// Exact quantity as decimal text.
    pub qty: String,
    /// What of it has traded, exact decimal text.
    pub executed: String,
    /// What of it is open, exact decimal text.
    pub left: String,
    /// Exact limit price as decimal text, where the order has one.
    pub price: Option<String>,
    /// State of the order's life, one of [`Order::STATES`].
    pub state: String,
    /// Why it was sent: `decision`, `flatten`, `stop-loss` and so on.
    pub reason: String,
    /// Age in milliseconds.
    pub age_ms: u64,
    /// Its place in the queue, where it rests.
    pub queue: Option<Queue>,
    /// It rested across a gap: what happened in between is not known.
    pub spanned_gap: bool,
    /// The book that it rests in is made up from bars, since the venue gives none.
    pub synthetic: bool,
}

impl Order {
    /// The states that [`Order::state`] names.
    pub const STATES: [&str; 5] = [
        "sent",
        "resting",
        "partially filled",
        "cancel asked",
        "replace asked",
    ];
}

/// The quantity ahead of an order at its price, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Queue {
    /// The least that can be ahead.
    pub optimistic: f64,
    /// What the queue model believes.
    pub estimate: f64,
    /// The most that can be ahead.
    pub pessimistic: f64,
    /// What was ahead when it joined; the scale of the bar.
    pub joined: Option<f64>,
}

/// One fill.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fill {
    /// When, unix nanoseconds.
    pub ns: u64,
    /// Client id of the order.
    pub order: String,
    /// Instrument.
    pub instrument: String,
    /// Venue.
    pub venue: String,
    /// `buy` or `sell`.
    pub side: String,
    /// Exact quantity as decimal text.
    pub qty: String,
    /// Exact price as decimal text.
    pub price: String,
    /// It rested and was hit; otherwise it took.
    pub maker: bool,
    /// Fee paid; negative is a rebate.
    pub fee: f64,
    /// Price paid worse than the mid at the decision, in basis points; negative is better.
    pub slippage_bps: Option<f64>,
    /// What each effect earned or cost.
    pub split: Option<Split>,
    /// Signs that a better informed trader was on the other side.
    pub toxicity: Toxicity,
    /// Why the order was sent.
    pub reason: String,
    /// The order rested across a gap: what happened in between is not known.
    pub spanned_gap: bool,
    /// The book that it met was made up from bars, since the venue gives none.
    pub synthetic: bool,
}

/// What each effect earned (positive) or cost (negative) on a fill, in the currency of account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Split {
    /// The market moved while the order travelled.
    pub latency: f64,
    /// The market moved while the order waited in the queue.
    pub queue: f64,
    /// From the mid price to the touch: paid by takers, earned by makers.
    pub spread: f64,
    /// From the touch to what was paid: levels walked and impact.
    pub impact: f64,
}

/// Signs that a fill was adversely selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Toxicity {
    /// Whether it counts as toxic, by any of the marks below.
    pub toxic: bool,
    /// How many orders of average size stood before it when it joined; 0 for a taker.
    pub joined_behind: u32,
    /// How far the mid went against the fill after each of [`TOXICITY_HORIZONS_S`], in basis
    /// points: positive is adverse, `None` until that much time has passed.
    pub adverse_bps: [Option<f64>; TOXICITY_HORIZONS_S.len()],
}

/// Fills since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FillCounts {
    /// Fills of orders that rested.
    pub maker: u64,
    /// Fills of orders that took.
    pub taker: u64,
    /// Fills marked as toxic.
    pub toxic: u64,
    /// Fills against a book made up from bars.
    pub synthetic: u64,
}

/// Where the profit came from, since the account was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attribution {
    /// All instruments together; `None` before the first mark.
    pub total: Option<Effects>,
    /// By instrument.
    pub by_instrument: Vec<Effects>,
    /// By the reason of the orders.
    pub by_reason: Vec<Effects>,
    /// Equity less the capital put in, from the ledger.
    pub ledger_profit: Option<f64>,
}

impl Attribution {
    /// The sum of the effects less the ledger's profit, where both are known. Both come from exact
    /// integers by the same conversion, so anything but zero is a fault.
    #[must_use]
    pub fn difference(&self) -> Option<f64> {
        Some(self.total.as_ref()?.sum - self.ledger_profit?)
    }
}

/// What each effect contributed to profit, in the currency of account: what was earned is positive,
/// what was paid is negative, fees and funding included.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Effects {
    /// The instrument, or the reason; empty for the total.
    pub name: String,
    /// The instrument's venue.
    pub venue: String,
    /// The market moved after the order was sent.
    pub market: f64,
    /// From the mid price to the touch.
    pub spread: f64,
    /// The market moved while orders travelled.
    pub latency: f64,
    /// The market moved while orders waited in the queue.
    pub queue: f64,
    /// Levels walked and impact.
    pub impact: f64,
    /// Fees, less rebates.
    pub fees: f64,
    /// Funding of perpetual contracts.
    pub funding: f64,
    /// All of it: converted from the exact sum, not added up from the numbers above.
    pub sum: f64,
}

impl Effects {
    /// Effect and amount, in a fixed order, without the sum.
    #[must_use]
    pub fn effects(&self) -> [(&'static str, f64); 7] {
        [
            ("market", self.market),
            ("spread", self.spread),
            ("latency", self.latency),
            ("queue", self.queue),
            ("impact", self.impact),
            ("fees", self.fees),
            ("funding", self.funding),
        ]
    }
}

/// How well it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Performance {
    /// Since when it is measured, unix nanoseconds.
    pub since_ns: Option<u64>,
    /// Returns that the statistics rest on.
    pub returns: u64,
    /// Seconds between two of them.
    pub return_step_s: u64,
    /// All instruments together.
    pub portfolio: Figures,
    /// By instrument.
    pub by_instrument: Vec<Figures>,
    /// By strategy, which is the reason of the orders.
    pub by_strategy: Vec<Figures>,
}

/// Figures of performance. Each is `None` until there is enough data for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// The instrument or strategy; empty for the portfolio.
    pub name: String,
    /// The instrument's venue.
    pub venue: String,
    /// Profit, in the currency of account.
    pub pnl: Option<f64>,
    /// Return on the capital put in, in percent.
    pub return_pct: Option<f64>,
    /// Sharpe ratio, annualised.
    pub sharpe: Option<f64>,
    /// Sortino ratio, annualised.
    pub sortino: Option<f64>,
    /// Calmar ratio: annual return over the deepest drawdown.
    pub calmar: Option<f64>,
    /// Deepest drawdown in percent, zero or positive.
    pub max_drawdown_pct: Option<f64>,
    /// Longest time below a high-water mark, in seconds.
    pub max_drawdown_s: Option<u64>,
    /// The loss that one return in twenty exceeds, in percent, positive for a loss.
    pub var_95_pct: Option<f64>,
    /// The mean of the returns beyond it, in percent, positive for a loss.
    pub cvar_95_pct: Option<f64>,
    /// Share of the closed trades that gained, in 0 to 1.
    pub win_rate: Option<f64>,
    /// What winners gained over what losers lost.
    pub profit_factor: Option<f64>,
    /// What was traded over the capital put in.
    pub turnover: Option<f64>,
    /// Mean gross exposure over equity, in percent.
    pub exposure_pct: Option<f64>,
    /// Closed trades.
    pub trades: u64,
}

/// Whether what is known here equals what the venue knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reconciliation {
    /// When both were compared last, unix nanoseconds.
    pub checked_ns: Option<u64>,
    /// Comparisons since start.
    pub checks: u64,
    /// Where they differ, as of the last comparison.
    pub differences: Vec<Difference>,
}

impl Reconciliation {
    /// Differences that nothing on its way explains.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.differences.iter().filter(|d| !d.explained).count()
    }
}

/// One difference between the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Venue.
    pub venue: String,
    /// What differs: an order, a position, a balance.
    pub what: String,
    /// What is known here.
    pub ours: String,
    /// What the venue says.
    pub theirs: String,
    /// What is still travelling between the two.
    pub travelling: String,
    /// What is travelling explains the difference; otherwise it is a fault.
    pub explained: bool,
    /// Since when they differ, unix nanoseconds.
    pub since_ns: Option<u64>,
}

/// The terms on which the paper venue trades.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PaperTerms {
    /// Venue.
    pub venue: String,
    /// Fee of a fill that rested, in basis points; negative is a rebate.
    pub maker_fee_bps: Option<f64>,
    /// Fee of a fill that took, in basis points.
    pub taker_fee_bps: Option<f64>,
    /// Where the latency comes from: `measured`, `fixed`, `recorded` or `none`.
    pub latency_mode: String,
    /// Median of the measured round trips, in milliseconds.
    pub round_trip_p50_ms: Option<f64>,
    /// 99th percentile of the measured round trips, in milliseconds.
    pub round_trip_p99_ms: Option<f64>,
    /// Round trips measured.
    pub round_trips: u64,
    /// The model of the queue.
    pub queue_model: String,
    /// The effects that can be switched.
    pub switches: Vec<Switch>,
}

/// One effect of the paper venue that can be switched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// The effect.
    pub name: String,
    /// Whether it is on.
    pub on: bool,
}
