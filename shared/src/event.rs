//! Everything that can happen: the closed set of inputs of [`crate::engine::Engine`].
//!
//! A venue's mess stops here. Each [`Record`] is journaled in the order applied, before it is
//! applied. What is missing or damaged is said by a [`Gap`], which is data like any other.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::features::bars::Timeframe;
use crate::instrument::{InstrumentId, Venue};
use crate::num::{Price, Qty};
use crate::order::Report;
use crate::paper::funding::Settlement;
use crate::risk::state::{Cause, Mark, Restriction, Scope};
use crate::time::Time;

/// Price levels in one [`Depth`]; a longer message travels as several parts.
pub const LEVELS_PER_PART: usize = 32;

/// One input of the engine, with its place in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Place in the order applied; the first is 1, each next one more.
    pub seq: u64,
    /// When the desk took it (the receive stamp for replayed captures).
    pub at: Time,
    /// What happened.
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "a fixed size is what bounds every queue of events"
)]
pub enum Event {
    /// A process begins: what was on its way is lost.
    Start,
    /// Something about one instrument's market.
    Market(Update),
    /// The heartbeat that drives decisions.
    Pulse,
    /// The policy's answer to an `Ask`.
    Decision(Decision),
    /// The execution venue's answer to an order.
    Report(Report),
    /// A funding payment.
    Funded(Settlement),
    /// A high-water mark, already durable.
    Mark(Mark),
    /// A restriction of trading, already durable.
    Restrict(Restriction),
    /// An operator's command.
    Operator(Operator),
    /// How a connection does.
    Health(Health),
}

impl Event {
    /// Whether it must be durable before it takes effect.
    #[must_use]
    pub const fn is_trading(&self) -> bool {
        match self {
            Self::Start
            | Self::Report(_)
            | Self::Funded(_)
            | Self::Mark(_)
            | Self::Restrict(_)
            | Self::Operator(_) => true,
            Self::Market(_) | Self::Pulse | Self::Decision(_) | Self::Health(_) => false,
        }
    }
}

/// A market event of one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Whose.
    pub instrument: InstrumentId,
    /// The venue's stamp; [`Time::UNKNOWN`] when it gives none.
    pub venue_time: Time,
    /// When its frame left the socket here.
    pub received: Time,
    /// It was released after a later event of its instrument (set by the synchroniser).
    pub late: bool,
    /// What.
    pub body: Body,
}

/// The kinds of market event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "a fixed size is what bounds every queue of events"
)]
pub enum Body {
    /// Book levels.
    Depth(Depth),
    /// The best bid and ask, from a stream of its own.
    Touch(Touch),
    /// A trade.
    Trade(Trade),
    /// A perpetual contract's price and funding.
    Funding(Funding),
    /// Continuity was lost.
    Gap(Gap),
    /// A bar of the venue's own history.
    Candle(Candle),
}

/// A side of the book, or of a trade's aggressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Bids; a buyer.
    Buy,
    /// Asks; a seller.
    Sell,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `+1` for a buy, `-1` for a sell.
    #[must_use]
    pub const fn sign(self) -> i64 {
        match self {
            Self::Buy => 1,
            Self::Sell => -1,
        }
    }

    /// `buy` or `sell`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

/// A price level: an absolute quantity; zero deletes the level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Where.
    pub price: Price,
    /// How much stands there now.
    pub qty: Qty,
}

/// What a depth message does to the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DepthKind {
    /// Replaces the book.
    Snapshot {
        /// The venue cut it: levels beyond the worst one are unknown until they change.
        truncated: bool,
        /// Levels a side that the venue maintains, to which the book is cut after every message;
        /// 0 for all.
        limit: u16,
    },
    /// Changes levels.
    Delta,
}

/// A depth message, or a part of one. The book is evaluated after the last part only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// What it does.
    pub kind: DepthKind,
    /// The message's first part.
    pub first: bool,
    /// The message's last part.
    pub last: bool,
    /// The venue's id of the book after this message; 0 where it has none.
    pub id: u64,
    /// How many of `levels`, from the front, are bids; the rest are asks.
    pub bids: u8,
    /// The levels in the venue's order within each side.
    pub levels: Vec<Level, LEVELS_PER_PART>,
    /// The venue's checksum of the book after this message (last part only).
    pub checksum: Option<Checksum>,
}

impl Depth {
    /// The bid levels.
    #[must_use]
    pub fn bids(&self) -> &[Level] {
        &self.levels[..usize::from(self.bids).min(self.levels.len())]
    }

    /// The ask levels.
    #[must_use]
    pub fn asks(&self) -> &[Level] {
        &self.levels[usize::from(self.bids).min(self.levels.len())..]
    }
}

/// Kraken's CRC32 over the ten best levels a side, as printed on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// The venue's value.
    pub crc: u32,
    /// Decimals of a price on the wire.
    pub price_digits: u8,
    /// Decimals of a quantity on the wire.
    pub qty_digits: u8,
}

/// The best bid and ask of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// The book id it belongs to, in the same series as [`Depth::id`].
    pub id: u64,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

/// A trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The venue's id, or 0 where it is no number.
    pub id: u64,
    /// Price.
    pub price: Price,
    /// Quantity.
    pub qty: Qty,
    /// Who crossed the spread.
    pub aggressor: Side,
}

/// A perpetual contract's mark price and funding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funding {
    /// Mark price; zero when the frame has none.
    pub mark: Price,
    /// Index price; zero when the frame has none.
    pub index: Price,
    /// The rate of the current interval as a fraction, in units of `10^-12`; `None` for contracts
    /// without funding.
    pub rate: Option<i64>,
    /// The rate predicted for the next interval, same unit.
    pub predicted: Option<i64>,
    /// When the current interval settles; unknown for contracts without funding.
    pub settles: Time,
    /// The interval in seconds; 0 when the frame does not say.
    pub interval_s: u32,
}

/// A closed bar as the venue states it, for features that look back further than we have listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candle {
    /// Its length.
    pub timeframe: Timeframe,
    /// It is the first of an answer: what was known of this timeframe is replaced.
    pub first: bool,
    /// When it begins.
    pub start: Time,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Volume-weighted average price.
    pub vwap: Price,
    /// Traded quantity.
    pub volume: Qty,
    /// The part of it that buyers took; half of it where the venue does not say.
    pub bought: Qty,
}

/// Decimals of a funding rate.
pub const RATE_SCALE: u8 = 12;

/// Why a book's continuity was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GapReason {
    /// No snapshot has arrived yet.
    Unsynced,
    /// Message numbers do not follow one another.
    Sequence,
    /// The venue's checksum differs from the book's.
    Checksum,
    /// The best bid is not below the best ask.
    Crossed,
    /// A bounded buffer was full: events were lost here.
    Overflow,
    /// A frame could not be read.
    Unparsable,
    /// The independent best-bid/ask stream contradicts the book of the same id.
    Touch,
    /// The market moved beyond the levels that the venue's snapshot covered.
    Horizon,
    /// Nothing arrived for too long.
    Silent,
    /// The connection ended.
    Disconnected,
}

impl GapReason {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Unsynced,
        Self::Sequence,
        Self::Checksum,
        Self::Crossed,
        Self::Overflow,
        Self::Unparsable,
        Self::Touch,
        Self::Horizon,
        Self::Silent,
        Self::Disconnected,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsynced => "unsynced",
            Self::Sequence => "sequence",
            Self::Checksum => "checksum",
            Self::Crossed => "crossed",
            Self::Overflow => "overflow",
            Self::Unparsable => "unparsable",
            Self::Touch => "touch",
            Self::Horizon => "horizon",
            Self::Silent => "silent",
            Self::Disconnected => "disconnected",
        }
    }
}

/// A loss of continuity: the book yields nothing until a snapshot follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The number or checksum that should have come; 0 where there is none.
    pub expected: u64,
    /// The one that came; 0 where there is none.
    pub got: u64,
}

impl Gap {
    /// A gap that has no numbers to tell.
    #[must_use]
    pub const fn of(reason: GapReason) -> Self {
        Self {
            reason,
            expected: 0,
            got: 0,
        }
    }
}

/// A policy's answer for one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// For which instrument.
    pub instrument: InstrumentId,
    /// The `seq` of the pulse that asked.
    pub asked: u64,
    /// What to do.
    pub action: Action,
    /// Measured time from question to answer, in nanoseconds.
    pub latency_ns: u64,
}

/// How a venue's connections do, measured by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whose.
    pub venue: Venue,
    /// The newest round trip.
    pub round_trip_ns: Option<u64>,
    /// It was measured since the last event of its kind.
    pub is_new: bool,
    /// The venue's clock minus ours.
    pub clock_offset_ns: Option<i64>,
    /// Frames since the last event of its kind.
    pub frames: u64,
    /// Those of them that could not be read.
    pub errors: u64,
}

/// Bytes of the reason that an operator gives.
pub const REASON_BYTES: usize = 120;

/// What an operator can command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// Stop trading; latched until [`Operator::Resume`].
    Halt {
        /// What of.
        scope: Scope,
        /// Who or what.
        cause: Cause,
    },
    /// Trade again.
    Resume {
        /// What of.
        scope: Scope,
        /// Why, in the operator's words.
        reason: String<REASON_BYTES>,
    },
    /// Halt everything, and close every position.
    Flatten(Cause),
}
