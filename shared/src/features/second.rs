//! One second after the other: what the market did in each, on a grid that all features share.
//!
//! Windows that are sampled once a second, and all time bars, are made of these. A second closes with
//! the first event at or after its end, so when that is noticed does not matter.

use serde::{Deserialize, Serialize};

use crate::event::{Side, Trade};
use crate::num::{Price, Qty};
use crate::time::{SECONDS, Time};

/// Seconds without an event after which observation starts anew: closing them costs something.
pub const QUIET_MAX: u64 = 300;

/// The trades of a span of time, as exact integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trades {
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Quantity that buyers took.
    pub bought: Qty,
    /// Quantity that sellers took.
    pub sold: Qty,
    /// Sum of price times quantity, in units of both.
    pub value: i128,
    /// How many.
    pub count: u32,
}

impl Trades {
    /// A single trade.
    #[must_use]
    pub const fn of(trade: &Trade) -> Self {
        let (bought, sold) = match trade.aggressor {
            Side::Buy => (trade.qty, Qty(0)),
            Side::Sell => (Qty(0), trade.qty),
        };
        Self {
            open: trade.price,
            high: trade.price,
            low: trade.price,
            close: trade.price,
            bought,
            sold,
            value: trade.price.0 as i128 * trade.qty.0 as i128,
            count: 1,
        }
    }

    /// With those that follow.
    pub fn add(&mut self, later: &Self) {
        self.high = self.high.max(later.high);
        self.low = self.low.min(later.low);
        self.close = later.close;
        self.bought.0 = self.bought.0.saturating_add(later.bought.0);
        self.sold.0 = self.sold.0.saturating_add(later.sold.0);
        self.value = self.value.saturating_add(later.value);
        self.count = self.count.saturating_add(later.count);
    }

    /// What was traded.
    #[must_use]
    pub const fn volume(&self) -> Qty {
        Qty(self.bought.0.saturating_add(self.sold.0))
    }
}

/// One second of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// Its number since the epoch: it covers `[number, number + 1)` seconds.
    pub number: u64,
    /// It was observed from its beginning to its end.
    pub seen: bool,
    /// The doubled mid at its end; `None` when the book yielded none.
    pub double_mid: Option<i64>,
    /// Its trades.
    pub trades: Option<Trades>,
}

/// The current second of one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What is known of the current second; `None` before the first event and when idle.
    current: Option<Second>,
    /// The book is live: what happens is seen.
    observing: bool,
    /// Seconds closed since the last event.
    quiet: u64,
}

/// What [`Clock::advance`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This second is over.
    Closed(Second),
    /// Nothing was heard for [`QUIET_MAX`]: what follows starts anew.
    Idle,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            current: None,
            observing: false,
            quiet: 0,
        }
    }

    /// Whether the market is observed.
    #[must_use]
    pub const fn is_observing(&self) -> bool {
        self.observing
    }

    /// The next second that is over at `at`. Call it until it gives nothing more.
    pub fn advance(&mut self, at: Time) -> Option<Step> {
        let number = at.0 / SECONDS;
        let current = self.current.as_mut()?;
        if number <= current.number {
            return None;
        }
        if self.quiet >= QUIET_MAX {
            self.current = None;
            self.observing = false;
            return Some(Step::Idle);
        }
        let closed = *current;
        self.quiet += 1;
        *current = Second {
            number: closed.number + 1,
            seen: self.observing,
            double_mid: closed.double_mid,
            trades: None,
        };
        Some(Step::Closed(closed))
    }

    /// Something was heard at `at`; advance first. Time that went back (a clock that was set) goes on
    /// from there. Tells whether it did.
    pub fn hear(&mut self, at: Time) -> bool {
        let number = at.0 / SECONDS;
        let back = self.current.is_some_and(|current| number < current.number);
        self.quiet = 0;
        if back || self.current.is_none() {
            self.current = Some(Second {
                number,
                seen: false,
                double_mid: None,
                trades: None,
            });
        }
        back
    }

    /// A trade of the current second.
    pub fn trade(&mut self, trade: &Trade) {
        let trade = Trades::of(trade);
        if let Some(current) = &mut self.current {
            match &mut current.trades {
                Some(trades) => trades.add(&trade),
                None => current.trades = Some(trade),
            }
        }
    }

    /// The book's doubled mid now.
    pub const fn mid(&mut self, double_mid: Option<i64>) {
        if let Some(current) = &mut self.current {
            current.double_mid = double_mid;
        }
    }

    /// Observation ends here: the current second and those that follow are not seen in full.
    pub const fn interrupt(&mut self) {
        self.observing = false;
        if let Some(current) = &mut self.current {
            current.seen = false;
            current.double_mid = None;
        }
    }

    /// Observation begins again.
    pub const fn resume(&mut self) {
        self.observing = true;
    }
}
