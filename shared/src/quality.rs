//! How good the data is: what is wrong with what a venue sends, counted by kind, scored and reported.
//!
//! A [`Monitor`] per instrument looks at every market update after the book took it, and at every
//! pulse. It only judges: nothing is repaired or held back here, and what the book finds in itself
//! (gaps) is counted, not found again. All is integers, exact, and allocates nothing after the start.
//! What is ordinary on real venues is clean: streams that overtake one another, trades away from
//! quotes that lag, receive clocks behind the venue's, many trades of one instant.
//!
//! The score is the share of clean events over a rolling day. An event is a market update (a message
//! of several parts counts once) or a pulse; an update is flawed when anything was found in it, a
//! pulse while quotes are stale, trading is halted, or the book is dark.

mod quotes;
mod trades;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use heapless::Deque;
use serde::{Deserialize, Serialize};

use crate::book::{Book, State as BookState};
use crate::event::{Body, DepthKind, Gap, GapReason, Side, Touch, Update};
use crate::instrument::{Instrument, InstrumentId, Venue};
use crate::synchroniser::HOLD_NS;
use crate::time::{MINUTES, SECONDS, Time};
use quotes::Quotes;
use trades::Trades;

pub use quotes::{
    FROZEN_NS, FROZEN_TRADES, JUMP_MULTIPLE, JUMP_PPM, JUMP_SECONDS, STALE_INTERVALS, STALE_NS,
    TICKING_NS,
};
pub use trades::{
    HALT_INTERVALS, HALT_NS, IDS_KEPT, OUTLIER_FLOOR_PPM, OUTLIER_SCORE, PRICES, SPIKE_MULTIPLE,
    TRADES_LEAST, TWINS_KEPT,
};

/// The score that data should reach, in parts per million.
pub const TARGET_PPM: u32 = 999_000;
/// Hours of a rolling day.
const HOURS_KEPT: u64 = 24;
/// Nanoseconds in an hour.
const HOURS: u64 = 60 * MINUTES;
/// Parts in one.
const PPM: u64 = 1_000_000;
/// How far back venue times may go within a stream: what the synchroniser puts in order anyway.
pub const ORDER_SLACK_NS: i64 = HOLD_NS.cast_signed();
/// How far back the stamps of a depth stream may go. Its order is the book's to check; Coinbase stamps
/// messages by what they hold and by when they were sent, a quarter of a second apart.
pub const DEPTH_SLACK_NS: i64 = SECONDS.cast_signed();
/// Times of which the mean interval is taken.
const BEATS: usize = 64;
/// Intervals without which there is no mean.
const BEATS_LEAST: usize = 16;

/// What can be wrong with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A trade far from the trades before it and from the quotes. Value: its score, in thousandths.
    PriceOutlier,
    /// Bid and ask moved far within a second. Value: the mid's move, in parts per million.
    PriceJump,
    /// The book is live but nothing moves it. Value: seconds since its newest message.
    StaleQuotes,
    /// Best bid and best ask are equal. Value: 0.
    Locked,
    /// The best bid is above the best ask. Value: ask minus bid, in units of the price scale.
    Crossed,
    /// A trade that was told already. Value: its id, 0 where it has none.
    DuplicateTrade,
    /// An update older than one before it of the same stream. Value: by how many nanoseconds.
    OutOfOrder,
    /// A trade far larger than those before it. Value: how many times their mean.
    VolumeSpike,
    /// The book is live but nobody trades any more. Value: seconds since the newest trade.
    Halt,
    /// Continuity was lost otherwise. Value: the place of the reason in [`GapReason::ALL`].
    Gap,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::PriceOutlier,
        Self::PriceJump,
        Self::StaleQuotes,
        Self::Locked,
        Self::Crossed,
        Self::DuplicateTrade,
        Self::OutOfOrder,
        Self::VolumeSpike,
        Self::Halt,
        Self::Gap,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PriceOutlier => "price_outlier",
            Self::PriceJump => "price_jump",
            Self::StaleQuotes => "stale_quotes",
            Self::Locked => "locked",
            Self::Crossed => "crossed",
            Self::DuplicateTrade => "duplicate_trade",
            Self::OutOfOrder => "out_of_order",
            Self::VolumeSpike => "volume_spike",
            Self::Halt => "halt",
            Self::Gap => "gap",
        }
    }
}

/// What was found of one kind since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How often.
    pub count: u64,
    /// When last; unknown before the first.
    pub last: Time,
    /// The newest value, in the unit that its [`Kind`] says.
    pub value: i64,
}

/// Events and how many of them were flawed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All.
    pub events: u64,
    /// Those in which something was found.
    pub flawed: u64,
}

impl Tally {
    fn count(&mut self, flawed: bool) {
        self.events += 1;
        self.flawed += u64::from(flawed);
    }

    const fn add(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            flawed: self.flawed + other.flawed,
        }
    }

    /// The share of clean events in parts per million, rounded down, so that a flaw always shows;
    /// `None` without events.
    #[must_use]
    pub fn score_ppm(self) -> Option<u32> {
        let clean = u128::from(self.events.saturating_sub(self.flawed));
        let score = (clean * u128::from(PPM)).checked_div(u128::from(self.events))?;
        u32::try_from(score).ok()
    }
}

/// The minute with the most flawed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Its start.
    pub start: Time,
    /// What it held.
    pub tally: Tally,
}

/// What a UTC day was like for one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which instrument.
    pub instrument: InstrumentId,
    /// The start of the day.
    pub day: Time,
    /// Its events.
    pub tally: Tally,
    /// Findings by [`Kind`].
    pub findings: [u64; Kind::COUNT],
    /// Gaps by [`GapReason`], crossed books included.
    pub gaps: [u64; GapReason::ALL.len()],
    /// Updates that came after a later one of another stream: ordinary, and counted for what it tells
    /// of the connection.
    pub late: u64,
    /// The worst minute; `None` while nothing was found. The earliest of equals.
    pub worst: Option<Minute>,
}

impl Report {
    const fn new(instrument: InstrumentId, day: Time) -> Self {
        Self {
            instrument,
            day,
            tally: Tally {
                events: 0,
                flawed: 0,
            },
            findings: [0; Kind::COUNT],
            gaps: [0; GapReason::ALL.len()],
            late: 0,
            worst: None,
        }
    }

    /// The share of clean events, in parts per million; `None` without events.
    #[must_use]
    pub fn score_ppm(&self) -> Option<u32> {
        self.tally.score_ppm()
    }

    /// How often this was found.
    #[must_use]
    pub const fn count(&self, kind: Kind) -> u64 {
        self.findings[kind as usize]
    }
}

/// Times of events, one a second at most, for the mean interval between seconds that have any: a
/// burst is one of them, however many events it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Beats(Deque<Time, BEATS>);

impl Beats {
    fn beat(&mut self, at: Time) {
        if let Some(newest) = self.0.back()
            && at.0 / SECONDS <= newest.0 / SECONDS
        {
            return;
        }
        if self.0.is_full() {
            self.0.pop_front();
        }
        let pushed = self.0.push_back(at);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    /// The mean interval; `None` for fewer than [`BEATS_LEAST`] of them.
    fn mean_ns(&self) -> Option<u64> {
        let intervals = self.0.len().saturating_sub(1);
        if intervals < BEATS_LEAST {
            return None;
        }
        let span = self.0.back()?.0.saturating_sub(self.0.front()?.0);
        span.checked_div(intervals as u64)
    }
}

/// The streams of which each is in order by itself.
#[derive(Clone, Copy)]
enum Stream {
    Trades,
    Depth,
    Touch,
}

impl Stream {
    /// How far back its venue times may go.
    const fn slack_ns(self) -> i64 {
        match self {
            Self::Trades | Self::Touch => ORDER_SLACK_NS,
            Self::Depth => DEPTH_SLACK_NS,
        }
    }
}

/// Watches one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    venue: Venue,
    trades: Trades,
    quotes: Quotes,
    /// The newest venue time of each [`Stream`].
    newest: [Time; 3],
    /// A book was seen: from then on pulses count.
    seen: bool,
    is_stale: bool,
    is_halted: bool,
    findings: [Finding; Kind::COUNT],
    gaps: [u64; GapReason::ALL.len()],
    /// By hour of the day.
    hours: [Tally; HOURS_KEPT as usize],
    /// Hours since the epoch, of the newest event.
    hour: u64,
    minute: Minute,
    today: Report,
    closed: Option<Report>,
}

impl Monitor {
    fn new(instrument: InstrumentId, venue: Venue) -> Self {
        Self {
            venue,
            trades: Trades::default(),
            quotes: Quotes::default(),
            newest: [Time::UNKNOWN; 3],
            seen: false,
            is_stale: false,
            is_halted: false,
            findings: [Finding::default(); Kind::COUNT],
            gaps: [0; GapReason::ALL.len()],
            hours: [Tally::default(); HOURS_KEPT as usize],
            hour: 0,
            minute: Minute {
                start: Time::UNKNOWN,
                tally: Tally::default(),
            },
            today: Report::new(instrument, Time::UNKNOWN),
            closed: None,
        }
    }

    /// What was found since the start.
    #[must_use]
    pub const fn finding(&self, kind: Kind) -> &Finding {
        &self.findings[kind as usize]
    }

    /// What was found since the start, by kind.
    pub fn findings(&self) -> impl Iterator<Item = (Kind, &Finding)> {
        Kind::ALL.into_iter().zip(&self.findings)
    }

    /// Gaps since the start, crossed books included; [`GapReason::Unsynced`] is none.
    pub fn gaps(&self) -> impl Iterator<Item = (GapReason, u64)> {
        GapReason::ALL.into_iter().zip(self.gaps)
    }

    /// Quotes are stale now.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Trading is halted now.
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// The events of the last day: of this hour and the 23 before it.
    #[must_use]
    pub fn rolling(&self) -> Tally {
        self.hours
            .iter()
            .fold(Tally::default(), |sum, hour| sum.add(*hour))
    }

    /// The share of clean events over the last day, in parts per million; `None` without events.
    #[must_use]
    pub fn score_ppm(&self) -> Option<u32> {
        self.rolling().score_ppm()
    }

    /// The UTC day so far.
    #[must_use]
    pub fn today(&self) -> Report {
        let mut report = self.today;
        worsen(&mut report.worst, &self.minute);
        report
    }

    /// The newest day that is over.
    #[must_use]
    pub const fn closed(&self) -> Option<&Report> {
        self.closed.as_ref()
    }

    /// Takes a market event after the book took it; `found` is the gap that the book found in itself.
    fn update(&mut self, update: &Update, book: &Book, found: Option<&Gap>, at: Time) {
        let stream = match &update.body {
            Body::Trade(_) => Some(Stream::Trades),
            Body::Depth(depth) if depth.last => Some(Stream::Depth),
            Body::Touch(_) => Some(Stream::Touch),
            Body::Funding(_) | Body::Gap(_) => None,
            // What is told of the past, and a message that is not over, are nothing yet.
            Body::Candle(_) | Body::Depth(_) => return,
        };
        self.enter(at);
        let mut flawed = false;
        if let Some(stream) = stream {
            flawed |= self.order(update, stream, at);
        }
        match &update.body {
            Body::Trade(trade) => {
                let quotes = touch_of(book);
                let judged = self.trades.judge(trade, update.venue_time, quotes, at);
                flawed |= self.found(Kind::DuplicateTrade, judged.duplicate, at);
                flawed |= self.found(Kind::PriceOutlier, judged.outlier, at);
                flawed |= self.found(Kind::VolumeSpike, judged.spike, at);
                if judged.duplicate.is_none() {
                    self.is_halted = false;
                    self.quotes.trade(trade.price, quotes);
                }
            }
            Body::Touch(touch) => flawed |= self.inverted(touch, at),
            _ => {}
        }
        if matches!(stream, Some(Stream::Depth | Stream::Touch)) && found.is_none() {
            self.is_stale = false;
            let jump = self.quotes.event(touch_of(book), at);
            flawed |= self.found(Kind::PriceJump, jump, at);
        }
        if let Body::Gap(gap) = &update.body {
            flawed |= self.gap(gap, at);
        }
        if let Some(gap) = found {
            flawed |= self.gap(gap, at);
        }
        self.seen |= is_up(book);
        self.count(flawed);
    }

    /// Whether the update is older than one before it of its stream. That it is only older than one
    /// of another stream is ordinary: venues order none of them by the others.
    fn order(&mut self, update: &Update, stream: Stream, at: Time) -> bool {
        self.today.late += u64::from(update.late);
        let newest = &mut self.newest[stream as usize];
        // A snapshot answers a request, and differences that it does not hold may be older.
        if let Body::Depth(depth) = &update.body
            && matches!(depth.kind, DepthKind::Snapshot { .. })
        {
            *newest = Time::UNKNOWN;
            return false;
        }
        if !update.venue_time.is_known() {
            return false;
        }
        let back_ns = newest.since(update.venue_time);
        if newest.is_known() && back_ns > stream.slack_ns() {
            return self.found(Kind::OutOfOrder, Some(back_ns), at);
        }
        *newest = update.venue_time.max(*newest);
        false
    }

    /// A best-bid/ask frame whose bid is not below its ask.
    fn inverted(&mut self, touch: &Touch, at: Time) -> bool {
        let (bid, ask) = (touch.bid.price.0, touch.ask.price.0);
        if bid <= 0 || ask <= 0 || bid < ask {
            return false;
        }
        let kind = if bid == ask {
            Kind::Locked
        } else {
            Kind::Crossed
        };
        self.found(kind, Some(ask.saturating_sub(bid)), at)
    }

    /// Continuity was lost: silences from here on are ours.
    fn gap(&mut self, gap: &Gap, at: Time) -> bool {
        self.trades.interrupt();
        self.quotes.interrupt();
        self.newest = [Time::UNKNOWN; 3];
        (self.is_stale, self.is_halted) = (false, false);
        if gap.reason == GapReason::Unsynced {
            return false;
        }
        self.gaps[gap.reason as usize] += 1;
        self.today.gaps[gap.reason as usize] += 1;
        let (kind, value) = match gap.reason {
            GapReason::Crossed if gap.expected == gap.got => (Kind::Locked, 0),
            GapReason::Crossed => (
                Kind::Crossed,
                gap.got.wrapping_sub(gap.expected).cast_signed(),
            ),
            reason => (Kind::Gap, reason as i64),
        };
        self.found(kind, Some(value), at)
    }

    /// A second passed. `others` is when the venue last moved the book of another instrument.
    fn pulse(&mut self, book: &Book, others: Time, at: Time) {
        if !self.seen {
            return;
        }
        self.enter(at);
        let is_up = is_up(book);
        if is_up && !self.is_stale {
            let stale = self.quotes.stale(others, at);
            self.is_stale = self.found(Kind::StaleQuotes, stale, at);
        }
        if is_up && !self.is_halted {
            let halted = self.trades.halted(at);
            self.is_halted = self.found(Kind::Halt, halted, at);
        }
        self.count(!is_up || self.is_stale || self.is_halted);
    }

    /// Notes a value that was found, if any.
    fn found(&mut self, kind: Kind, value: Option<i64>, at: Time) -> bool {
        let Some(value) = value else { return false };
        let finding = &mut self.findings[kind as usize];
        finding.count += 1;
        (finding.last, finding.value) = (at, value);
        self.today.findings[kind as usize] += 1;
        true
    }

    /// Moves on to the hour and the minute of `at`; time that goes back stays where it was.
    fn enter(&mut self, at: Time) {
        let hour = at.0 / HOURS;
        if hour > self.hour {
            let passed = (hour - self.hour).min(HOURS_KEPT);
            for gone in 0..passed {
                self.hours[((hour - gone) % HOURS_KEPT) as usize] = Tally::default();
            }
            self.hour = hour;
        }
        let start = Time(at.0 - at.0 % MINUTES);
        if start > self.minute.start {
            worsen(&mut self.today.worst, &self.minute);
            self.minute = Minute {
                start,
                tally: Tally::default(),
            };
        }
        if !self.today.day.is_known() {
            self.today.day = at.day();
        }
    }

    fn count(&mut self, flawed: bool) {
        self.hours[(self.hour % HOURS_KEPT) as usize].count(flawed);
        self.minute.tally.count(flawed);
        self.today.tally.count(flawed);
    }

    /// The day is over. Its report, when there was anything.
    fn close(&mut self) -> Option<Report> {
        let report = self.today();
        let instrument = report.instrument;
        self.today = Report::new(instrument, Time::UNKNOWN);
        self.minute.tally = Tally::default();
        if report.tally.events == 0 {
            return None;
        }
        self.closed = Some(report);
        self.closed
    }
}

/// Keeps the worse minute, the earlier one of equals.
fn worsen(worst: &mut Option<Minute>, minute: &Minute) {
    let before = worst.map_or(0, |worst| worst.tally.flawed);
    if minute.tally.flawed > before {
        *worst = Some(*minute);
    }
}

const fn is_up(book: &Book) -> bool {
    matches!(book.state(), BookState::Live { .. })
}

/// Best bid and ask, in units of the price scale.
fn touch_of(book: &Book) -> Option<(i64, i64)> {
    let (bid, ask) = (book.best(Side::Buy)?, book.best(Side::Sell)?);
    Some((bid.price.0, ask.price.0))
}

/// Watches every instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality(Vec<Monitor>);

impl Quality {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(instruments: &[Instrument]) -> Self {
        let instruments = (0_u16..).zip(instruments);
        Self(
            instruments
                .map(|(id, instrument)| Monitor::new(InstrumentId(id), instrument.venue))
                .collect(),
        )
    }

    /// What is known of each instrument, by id.
    #[must_use]
    pub fn monitors(&self) -> &[Monitor] {
        &self.0
    }

    /// The events of a venue over the last day.
    #[must_use]
    pub fn venue(&self, venue: Venue) -> Tally {
        let monitors = self.0.iter().filter(|monitor| monitor.venue == venue);
        monitors.fold(Tally::default(), |sum, monitor| sum.add(monitor.rolling()))
    }

    /// The share of clean events of a venue over the last day, in parts per million; `None` without
    /// events.
    #[must_use]
    pub fn venue_score_ppm(&self, venue: Venue) -> Option<u32> {
        self.venue(venue).score_ppm()
    }

    /// Takes a market event after the book took it; `found` is the gap that the book found in itself.
    pub fn update(&mut self, update: &Update, book: &Book, found: Option<&Gap>, at: Time) {
        if let Some(monitor) = self.0.get_mut(update.instrument.index()) {
            monitor.update(update, book, found, at);
        }
    }

    /// A second passed; `books` are by instrument.
    pub fn pulse<'a>(&mut self, books: impl Iterator<Item = &'a Book>, at: Time) {
        // The newest book event of each venue, of which instrument, and the newest of another one.
        let mut newest = [(Time::UNKNOWN, 0, Time::UNKNOWN); Venue::ALL.len()];
        for (index, monitor) in self.0.iter().enumerate() {
            let (first, holder, second) = &mut newest[monitor.venue as usize];
            let event = monitor.quotes.newest();
            if event > *first {
                (*first, *holder, *second) = (event, index, *first);
            } else {
                *second = event.max(*second);
            }
        }
        for (index, (monitor, book)) in self.0.iter_mut().zip(books).enumerate() {
            let (first, holder, second) = newest[monitor.venue as usize];
            let others = if holder == index { second } else { first };
            monitor.pulse(book, others, at);
        }
    }

    /// A UTC day is over for an instrument. Its report, when anything was seen of it.
    pub fn close(&mut self, instrument: InstrumentId) -> Option<Report> {
        self.0.get_mut(instrument.index())?.close()
    }
}
