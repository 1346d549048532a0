//! The exchange side of paper trading: what would have happened to orders at the venue, told with
//! the delays of the way there and back.

use serde::{Deserialize, Serialize};

use super::depth::{Change, Depth};
use super::latency::Latency;
use super::queue::{Position, QueueModel};
use crate::event::{Side, Trade};
use crate::instrument::{self, Instrument, InstrumentId};
use crate::num::{Cash, Price, Qty};
use crate::order::{Order, Report, Request};
use crate::rand::Rng;
use crate::time::Time;

/// Orders of one instrument that may rest at once.
pub const MAX_RESTING: usize = 16;

/// Which effects are simulated, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The queue model whose estimate decides fills.
    pub queue: QueueModel,
    /// An order joins behind what its level holds. Off: it is at the front at once.
    pub queue_position: bool,
    /// Takers walk the levels and makers get what is left of a trade. Off: whole orders fill.
    pub partial_fills: bool,
    /// Own orders share the volume of a trade. Off: each gets all of it.
    pub shared_volume: bool,
    /// How long what we took stays missing from the book, in nanoseconds; 0 is off.
    pub consumption_ns: u64,
    /// Fees are paid.
    pub fees: bool,
    /// Requests and answers take time.
    pub latency: bool,
    /// An order that rests across a gap is void. Off: it stays, and its later fills say so.
    pub void_on_gap: bool,
}

impl Rules {
    /// The rules of hftbacktest 0.9.4's `NoPartialFillExchange`.
    #[must_use]
    pub const fn hftbacktest(queue: QueueModel) -> Self {
        Self {
            queue,
            queue_position: true,
            partial_fills: false,
            shared_volume: false,
            consumption_ns: 0,
            fees: true,
            latency: true,
            void_on_gap: false,
        }
    }
}

/// What trading at a venue costs, in money and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Fee of a resting order in millionths of the notional; negative is a rebate.
    pub maker_fee_ppm: i32,
    /// Fee of a taking order in millionths of the notional; negative is a rebate.
    pub taker_fee_ppm: i32,
    /// How long requests and answers take.
    pub latency: Latency,
    /// Which effects are simulated.
    pub rules: Rules,
}

/// What an order pays beyond the levels it takes, from its side, quantity, the touch it met and what
/// the levels cost beyond the touch; never negative.
pub type Impact<'a> = dyn Fn(Side, Qty, Price, Cash) -> Cash + 'a;

/// The market of one instrument, as an order meets it.
#[derive(Clone, Copy)]
pub struct Market<'a> {
    /// Its book.
    pub depth: Depth<'a>,
    /// What is traded.
    pub instrument: &'a Instrument,
    /// On which terms.
    pub terms: &'a Terms,
    /// What an order pays on top of the levels.
    pub impact: &'a Impact<'a>,
    /// The quantity of an average trade; 0 when unknown.
    pub average_trade: Qty,
}

/// An order in the paper venue's book.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resting {
    /// As it was sent, with the price and quantity of its last replacement.
    pub order: Order,
    /// What is open of it.
    pub left: Qty,
    /// Its place in the queue.
    pub queue: Position,
    /// What its level held when it joined.
    pub joined_ahead: Qty,
    /// It has rested across a gap.
    pub spanned_gap: bool,
    /// When it joined its level.
    pub since: Time,
}

/// What a venue would state of an instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Signed sum of everything that traded.
    pub position: Qty,
    /// The part of it whose reports were not heard yet.
    pub unheard: Qty,
}

/// The paper venue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Venue {
    rng: Rng,
}

#[expect(
    unused_variables,
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    clippy::needless_pass_by_value,
    reason = "signatures first"
)]
impl Venue {
    /// A venue without orders.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, 0x0070_6170_6572),
        }
    }

    /// A round trip to a venue was measured.
    pub fn measured(&mut self, venue: instrument::Venue, round_trip_ns: u64) {}

    /// Sends a request. Its answer comes out of [`Self::poll`].
    ///
    /// # Errors
    /// A report that is known at once, since the request never leaves: `Rejected(Busy)` (number 1),
    /// and with number 0, which is no report about the order that has this id, `Rejected(DuplicateId)`
    /// and `Unchanged(Busy)`.
    pub fn submit(
        &mut self,
        request: Request,
        now: Time,
        terms: &Terms,
        dialect: instrument::Venue,
    ) -> Result<(), Report> {
        Ok(())
    }

    /// When the next request meets its book.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        None
    }

    /// Lets the requests that are due strictly before a time meet their books. `None` while a book is
    /// between the parts of a message: its requests wait. A book that is not live refuses new orders.
    pub fn arrive<'a>(
        &mut self,
        before: Time,
        market: impl Fn(InstrumentId) -> Option<Market<'a>>,
    ) {
    }

    /// Whether an order of this instrument rests.
    #[must_use]
    pub fn rests(&self, instrument: InstrumentId) -> bool {
        false
    }

    /// Whether level changes of this instrument matter here: an order rests, or something was taken.
    #[must_use]
    pub fn watches(&self, instrument: InstrumentId) -> bool {
        false
    }

    /// The orders of an instrument that rest, in the order in which they came.
    pub fn resting(&self, instrument: InstrumentId) -> impl Iterator<Item = &Resting> {
        core::iter::empty()
    }

    /// A level was stated, changed or not.
    pub fn level(
        &mut self,
        id: InstrumentId,
        change: &Change,
        rules: &Rules,
        instrument: &Instrument,
        at: Time,
    ) {
    }

    /// A depth message was applied: resting orders that the other side's best now reaches trade.
    pub fn touched(&mut self, id: InstrumentId, market: &Market<'_>, at: Time) {}

    /// A trade printed; to be called before the depth change that it caused.
    pub fn trade(&mut self, id: InstrumentId, trade: &Trade, market: &Market<'_>, at: Time) {}

    /// The book's continuity was lost.
    pub fn gap(&mut self, id: InstrumentId, terms: &Terms, dialect: instrument::Venue, at: Time) {}

    /// The book is known again.
    pub fn resync(&mut self, id: InstrumentId, market: &Market<'_>, at: Time) {}

    /// The next answer that is known here, once.
    pub fn poll(&mut self, now: Time) -> Option<Report> {
        None
    }

    /// When the next answer is known here.
    #[must_use]
    pub fn known(&self) -> Option<Time> {
        None
    }

    /// A report came back as an event, so it is durable.
    pub fn heard(&mut self, report: &Report) {}

    /// A new process: requests on their way are lost, answers not heard are told again.
    pub fn restart(&mut self) {}

    /// What the venue would state of an instrument.
    #[must_use]
    pub fn statement(&self, instrument: InstrumentId) -> Statement {
        Statement::default()
    }
}
