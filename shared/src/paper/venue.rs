//! The exchange side of paper trading: what would have happened to orders at the venue, told with
//! the delays of the way there and back.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::consumption::Consumption;
use super::counter::{Counter, Entry};
use super::depth::{Change, Depth};
use super::impact::Impact;
use super::latency::{Cursor, Latency, RoundTrips, Sampler};
use super::matching::{self, Scratch};
use super::queue::{Position, QueueModel, base_units};
use super::tape::Tape;
use crate::event::{Side, Trade};
use crate::instrument::{self, Instrument, InstrumentId, MAX_INSTRUMENTS};
use crate::num::{Cash, Price, Qty};
use crate::order::{Fill, MAX_ORDERS, Order, OrderId, Outcome, Reject, Report, Request, VoidCause};
use crate::rand::Rng;
use crate::time::Time;

/// Orders of one instrument that may rest at once, as a rule.
pub const MAX_RESTING: usize = 16;
/// Answers for which there is memory after a request, which market events then need not ask for.
const ANSWERS_AHEAD: usize = 4 * MAX_RESTING;
/// The stream of random numbers that latencies are drawn from.
const STREAM: u64 = 0x0076_656e_7565;

/// How many orders a venue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Orders of one instrument that may rest at once.
    pub resting: usize,
    /// Orders that may be open at once, and requests that may be on their way.
    pub open: usize,
}

impl Capacity {
    /// What the engine needs.
    pub const STANDARD: Self = Self {
        resting: MAX_RESTING,
        open: MAX_ORDERS,
    };

    /// Answers that may be on their way or unheard at once.
    #[must_use]
    pub const fn answers(self) -> usize {
        8 * self.open
    }

    /// Answers for which room is kept: two for each request, one for the end of each resting order,
    /// and one for each resting order that a single event may fill in part.
    pub(super) const fn room(self) -> usize {
        3 * self.open + self.resting
    }

    /// Orders that ended and are remembered, so that their ids are not used again.
    const fn ended(self) -> usize {
        2 * self.open
    }
}

/// Which effects are simulated, and how. With `partial_fills` and `shared_volume` all own fills of a
/// trade together are no larger than the trade.
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

/// What a taking order pays on top of the levels that it takes.
#[derive(Clone, Copy, Debug)]
pub enum Surcharge<'a> {
    /// Always the same.
    Fixed(Cash),
    /// What its impact costs, by the instrument's own tape.
    Impact {
        /// What our taking did so far.
        impact: &'a Impact,
        /// The tape.
        tape: &'a Tape,
        /// Now.
        at: Time,
    },
}

impl Surcharge<'_> {
    /// Nothing.
    pub const NONE: Self = Self::Fixed(Cash::ZERO);

    /// The amount for an order of `qty` that met `touch` and paid `walked` beyond it by walking the
    /// book; never negative.
    #[must_use]
    pub fn amount(
        &self,
        side: Side,
        qty: Qty,
        touch: Price,
        walked: Cash,
        instrument: &Instrument,
    ) -> Cash {
        match self {
            Self::Fixed(amount) => *amount,
            Self::Impact { impact, tape, at } => {
                impact.surcharge(side, qty, touch, walked, tape, instrument, *at)
            }
        }
    }
}

/// The market of one instrument, as an order meets it.
#[derive(Clone, Copy, Debug)]
pub struct Market<'a> {
    /// Its book.
    pub depth: Depth<'a>,
    /// What is traded.
    pub instrument: &'a Instrument,
    /// On which terms.
    pub terms: &'a Terms,
    /// What an order pays on top of the levels.
    pub impact: Surcharge<'a>,
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
    /// Twice the mid price when it reached the venue.
    pub(super) arrival: i64,
    /// The number of its last report.
    pub(super) number: u32,
    /// What its level held was not known when it joined: the first statement of the level tells.
    pub(super) unseen: bool,
}

impl Resting {
    /// Its limit.
    #[must_use]
    pub fn limit(&self) -> Price {
        matching::limit(&self.order).expect("only limit orders rest")
    }

    /// Joins a level as its last.
    pub(super) fn join(
        order: Order,
        left: Qty,
        arrival: i64,
        number: u32,
        market: &Market<'_>,
        at: Time,
    ) -> Self {
        let mut resting = Self {
            order,
            left,
            queue: Position::default(),
            joined_ahead: Qty(0),
            spanned_gap: false,
            since: at,
            arrival,
            number,
            unseen: false,
        };
        if market.terms.rules.queue_position {
            let (side, price) = (order.side, resting.limit());
            let ahead = market.depth.qty_at(side, price);
            resting.joined_ahead = ahead;
            resting.queue = Position::behind(base_units(ahead, market.instrument.qty_scale));
            resting.unseen = ahead.0 == 0 && !market.depth.reaches(side, price);
        }
        resting
    }
}

/// What a venue would state of an instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Signed sum of everything that traded.
    pub position: Qty,
    /// The part of it whose reports were not heard yet.
    pub unheard: Qty,
}

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inbound {
    pub(super) request: Request,
    pub(super) sent: Time,
    /// When it reaches the venue.
    pub(super) arrives: Time,
    /// When the book that the venue had then is known here.
    pub(super) meets: Time,
    /// The number of the order's last report.
    pub(super) number: u32,
    /// A report says that it rests already, though here it has not arrived.
    pub(super) acked: bool,
}

/// An answer on its way, or told and not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) known: Time,
    pub(super) report: Report,
}

/// What the venue holds of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Shelf {
    /// First come, first; at most [`Capacity::resting`].
    pub(super) resting: Vec<Resting>,
    /// Room to work in, empty between events.
    #[serde(skip)]
    pub(super) scratch: Scratch,
    pub(super) consumption: Consumption,
    pub(super) cursor: Cursor,
    /// Signed sum of everything that traded.
    pub(super) position: Qty,
}

impl Shelf {
    /// Makes room for as many orders as rest as a rule, so that market events need no memory.
    fn reserve(&mut self) {
        self.resting
            .reserve(MAX_RESTING.saturating_sub(self.resting.len()));
        self.scratch.reserve(MAX_RESTING);
    }
}

/// The way back, and what every answer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Post {
    pub(super) sampler: Sampler,
    pub(super) capacity: Capacity,
    /// In the order in which they are known; at most [`Capacity::answers`].
    pub(super) answers: VecDeque<Answer>,
    /// How many of them, from the front, were told.
    #[serde(skip)]
    pub(super) told: usize,
    /// The newest orders that ended, oldest first, and their last report's number; at most
    /// [`Capacity::ended`].
    pub(super) ended: VecDeque<(OrderId, u32)>,
}

/// On whose terms something happened, and when.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) terms: &'a Terms,
    pub(super) dialect: instrument::Venue,
    /// At the venue.
    pub(super) executed: Time,
    /// The earliest moment at which it can be known here.
    pub(super) seen: Time,
}

/// The paper venue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Venue {
    /// In the order in which they meet their books; at most [`Capacity::open`].
    pub(super) inbound: VecDeque<Inbound>,
    /// By instrument, as far as one was needed; at most [`MAX_INSTRUMENTS`].
    pub(super) shelves: Vec<Shelf>,
    pub(super) post: Post,
}

pub(super) const fn signed(fill: &Fill) -> i64 {
    fill.side.sign() * fill.qty.0
}

/// Whether an order is over after this.
pub(super) const fn ends(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Filled(fill) => fill.left.0 == 0,
        Outcome::Canceled | Outcome::Expired(_) | Outcome::Rejected(_) | Outcome::Void(_) => true,
        Outcome::Acked | Outcome::Replaced { .. } | Outcome::Unchanged(_) => false,
    }
}

fn shifted(time: Time, nanoseconds: i64) -> Time {
    match u64::try_from(nanoseconds) {
        Ok(later) => time.plus(later),
        Err(_) => time.minus(nanoseconds.unsigned_abs()),
    }
}

/// As the signed integer that recorded latencies count in.
fn stamp(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

impl Post {
    /// Whether an event that ends no order may make answers.
    fn has_room(&self) -> bool {
        self.answers.len() + self.capacity.room() <= self.capacity.answers()
    }

    /// Makes room for what the venue will have to say, so that market events need no memory.
    fn reserve(&mut self) {
        self.ended
            .reserve(self.capacity.ended().saturating_sub(self.ended.len()));
        self.answers.reserve(ANSWERS_AHEAD);
    }

    /// Sends an answer back. It does not overtake an earlier one of its instrument.
    pub(super) fn send(&mut self, known: Time, report: Report) {
        let same = |answer: &&Answer| answer.report.instrument == report.instrument;
        let last = self.answers.iter().rev().find(same);
        let known = last.map_or(known, |last| known.max(last.known));
        let earlier = self
            .answers
            .iter()
            .rev()
            .take_while(|answer| answer.known > known);
        let place = (self.answers.len() - earlier.count()).max(self.told);
        debug_assert!(self.answers.len() < self.capacity.answers(), "room is kept");
        self.answers.insert(place, Answer { known, report });
        if ends(&report.outcome) {
            self.remember(report.order, report.number);
        }
    }

    /// Sends what happened to an order at the venue.
    pub(super) fn answer(
        &mut self,
        moment: &Moment<'_>,
        cursor: &mut Cursor,
        order: (OrderId, InstrumentId, u32),
        outcome: Outcome,
    ) {
        let terms = moment.terms;
        let executed = moment.executed;
        let back = if terms.rules.latency {
            let at = stamp(executed);
            terms
                .latency
                .response(at, moment.dialect, cursor, &mut self.sampler)
        } else {
            0
        };
        let (order, instrument, number) = order;
        let report = Report {
            order,
            instrument,
            number,
            executed,
            outcome,
        };
        self.send(shifted(executed, back).max(moment.seen), report);
    }

    /// An order ended, or one more report of an ended order was made.
    pub(super) fn remember(&mut self, order: OrderId, number: u32) {
        if let Some((_, last)) = self.ended.iter_mut().find(|(id, _)| *id == order) {
            *last = number.max(*last);
            return;
        }
        if self.ended.len() >= self.capacity.ended() {
            self.ended.pop_front();
        }
        self.ended.push_back((order, number));
    }

    /// The number of the last report about an order that ended; 0 for one that was never here.
    pub(super) fn last_number(&self, order: OrderId) -> u32 {
        let ended = self.ended.iter().find(|(id, _)| *id == order);
        ended.map_or(0, |(_, number)| *number)
    }

    /// When something seen here happened at the venue: earlier, where the feed takes time.
    pub(super) fn happened(
        &mut self,
        terms: &Terms,
        dialect: instrument::Venue,
        seen: Time,
    ) -> Time {
        if !terms.rules.latency {
            return seen;
        }
        shifted(seen, -terms.latency.feed(dialect, &mut self.sampler))
    }
}

impl Venue {
    /// A venue without orders.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self::with_capacity(seed, Capacity::STANDARD)
    }

    /// A venue without orders that takes so many.
    #[must_use]
    pub const fn with_capacity(seed: u64, capacity: Capacity) -> Self {
        Self {
            inbound: VecDeque::new(),
            shelves: Vec::new(),
            post: Post {
                sampler: Sampler {
                    rng: Rng::new(seed, STREAM),
                    round_trips: RoundTrips::new(),
                },
                capacity,
                answers: VecDeque::new(),
                told: 0,
                ended: VecDeque::new(),
            },
        }
    }

    /// A round trip to a venue was measured.
    pub fn measured(&mut self, venue: instrument::Venue, round_trip_ns: u64) {
        self.post.sampler.round_trips.measured(venue, round_trip_ns);
    }

    /// The round trips that were measured.
    #[must_use]
    pub const fn round_trips(&self) -> &RoundTrips {
        &self.post.sampler.round_trips
    }

    /// The shelf of an instrument, made when it is first needed.
    pub(super) fn shelf(&mut self, id: InstrumentId) -> &mut Shelf {
        let place = id.index().min(MAX_INSTRUMENTS - 1);
        while self.shelves.len() <= place {
            self.shelves.push(Shelf::default());
        }
        &mut self.shelves[place]
    }

    pub(super) fn find(&self, order: OrderId, instrument: InstrumentId) -> Option<usize> {
        let shelf = self.shelves.get(instrument.index())?;
        let same = |resting: &Resting| resting.order.id == order;
        shelf.resting.iter().position(same)
    }

    /// The place of a new order among the requests on their way.
    pub(super) fn find_inbound(&self, order: OrderId) -> Option<usize> {
        let same = |inbound: &Inbound| match inbound.request {
            Request::New(new) => new.id == order,
            _ => false,
        };
        self.inbound.iter().position(same)
    }

    /// How many orders are on their way or rest.
    fn open(&self) -> usize {
        let new = |inbound: &&Inbound| matches!(inbound.request, Request::New(_));
        let resting = self.shelves.iter().map(|shelf| shelf.resting.len());
        self.inbound.iter().filter(new).count() + resting.sum::<usize>()
    }

    /// The number of the next report about an order, counted as used; 0 for an order that was never
    /// here.
    pub(super) fn next_number(&mut self, order: OrderId, instrument: InstrumentId) -> u32 {
        let number = if let Some(place) = self.find(order, instrument) {
            &mut self.shelves[instrument.index()].resting[place].number
        } else if let Some(place) = self.find_inbound(order) {
            &mut self.inbound[place].number
        } else {
            // What is said of an order that was never here is no report about it.
            return match self.post.last_number(order) {
                0 => 0,
                last => {
                    self.post.remember(order, last + 1);
                    last + 1
                }
            };
        };
        *number += 1;
        *number
    }

    /// Sends a request. Its answer comes out of [`Self::poll`]. An answer of number 0 is no report about
    /// an order of this id: there never was one (`Unchanged(UnknownOrder)` or `Unreachable`).
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
        let (order, instrument) = (request.order(), request.instrument());
        let new = matches!(request, Request::New(_));
        let report = |number, outcome| Report {
            order,
            instrument,
            number,
            executed: now,
            outcome,
        };
        let ended = |(id, _): &(OrderId, u32)| *id == order;
        let known = self.find(order, instrument).is_some()
            || self.find_inbound(order).is_some()
            || self.post.ended.iter().any(ended);
        if new && known {
            return Err(report(0, Outcome::Rejected(Reject::DuplicateId)));
        }
        let most = self.post.capacity.open;
        let full = self.inbound.len() >= most || !self.post.has_room();
        if new && (full || self.open() >= most) {
            return Err(report(1, Outcome::Rejected(Reject::Busy)));
        }
        if full {
            return Err(report(0, Outcome::Unchanged(Reject::Busy)));
        }
        self.post.reserve();
        self.shelf(instrument).reserve();
        let mut cursor = self.shelf(instrument).cursor;
        let (mut entry, mut feed) = (0, 0);
        if terms.rules.latency {
            let sampler = &mut self.post.sampler;
            entry = terms
                .latency
                .entry(stamp(now), dialect, &mut cursor, sampler);
            feed = terms.latency.feed(dialect, sampler);
            self.shelf(instrument).cursor = cursor;
        }
        if entry < 0 {
            let (number, outcome) = if new {
                (1, Outcome::Rejected(Reject::Unreachable))
            } else {
                let number = self.next_number(order, instrument);
                (number, Outcome::Unchanged(Reject::Unreachable))
            };
            let known = now.plus(entry.unsigned_abs());
            self.post.send(known, report(number, outcome));
            return Ok(());
        }
        let same = |inbound: &&Inbound| inbound.request.instrument() == instrument;
        let last = self.inbound.iter().rev().find(same);
        let arrives = shifted(now, entry);
        let arrives = last.map_or(arrives, |last| arrives.max(last.arrives));
        let meets = shifted(arrives, feed);
        let meets = last.map_or(meets, |last| meets.max(last.meets));
        let later = self
            .inbound
            .iter()
            .rev()
            .take_while(|other| other.meets > meets);
        let place = self.inbound.len() - later.count();
        let inbound = Inbound {
            request,
            sent: now,
            arrives,
            meets,
            number: 0,
            acked: false,
        };
        self.inbound.insert(place, inbound);
        Ok(())
    }

    /// When the next request meets its book.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.inbound.front().map(|inbound| inbound.meets)
    }

    /// Lets the requests that are due strictly before a time meet their books. `None` while a book is
    /// between the parts of a message: its requests wait. A book that is not live refuses new orders.
    pub fn arrive<'a>(
        &mut self,
        before: Time,
        market: impl Fn(InstrumentId) -> Option<Market<'a>>,
    ) {
        let mut place = 0;
        while let Some(inbound) = self.inbound.get(place).copied() {
            if inbound.meets >= before {
                return;
            }
            match market(inbound.request.instrument()) {
                None => place += 1,
                Some(market) => {
                    self.inbound.remove(place);
                    self.meet(&inbound, &market);
                }
            }
        }
    }

    /// A request reaches the venue.
    fn meet(&mut self, inbound: &Inbound, market: &Market<'_>) {
        let moment = Moment {
            terms: market.terms,
            dialect: market.instrument.venue,
            executed: inbound.arrives,
            seen: inbound.meets,
        };
        let (id, instrument) = (inbound.request.order(), inbound.request.instrument());
        let place = self.find(id, instrument);
        self.shelf(instrument);
        if place.is_none() && !matches!(inbound.request, Request::New(_)) {
            let number = self.next_number(id, instrument);
            let outcome = Outcome::Unchanged(Reject::UnknownOrder);
            let cursor = &mut self.shelves[instrument.index()].cursor;
            let about = (id, instrument, number);
            return self.post.answer(&moment, cursor, about, outcome);
        }
        let mut counter = Counter {
            shelf: &mut self.shelves[instrument.index()],
            post: &mut self.post,
            market,
        };
        match (inbound.request, place) {
            (Request::New(order), _) => {
                let entry = if inbound.acked {
                    Entry::Known
                } else {
                    Entry::New
                };
                let arrival = market.depth.double_mid();
                counter.enter(order, entry, inbound.number, &moment, arrival);
            }
            (Request::Cancel { .. }, Some(place)) => {
                let resting = counter.shelf.resting.remove(place);
                let number = resting.number + 1;
                counter.answer(&moment, &resting.order, number, Outcome::Canceled);
            }
            (Request::Replace { price, qty, .. }, Some(place)) => {
                counter.replace(place, price, qty, &moment);
            }
            (Request::Move { price, .. }, Some(place)) => {
                let left = counter.shelf.resting[place].left;
                counter.replace(place, price, left, &moment);
            }
            (_, None) => {}
        }
    }

    /// Whether an order of this instrument rests.
    #[must_use]
    pub fn rests(&self, instrument: InstrumentId) -> bool {
        let shelf = self.shelves.get(instrument.index());
        shelf.is_some_and(|shelf| !shelf.resting.is_empty())
    }

    /// Whether level changes of this instrument matter here: an order rests, or something was taken.
    #[must_use]
    pub fn watches(&self, instrument: InstrumentId) -> bool {
        let shelf = self.shelves.get(instrument.index());
        shelf.is_some_and(|shelf| !shelf.resting.is_empty() || !shelf.consumption.is_empty())
    }

    /// The orders of an instrument that rest, in the order in which they came.
    pub fn resting(&self, instrument: InstrumentId) -> impl Iterator<Item = &Resting> {
        let shelf = self.shelves.get(instrument.index());
        shelf.into_iter().flat_map(|shelf| shelf.resting.iter())
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
        let Some(shelf) = self.shelves.get_mut(id.index()) else {
            return;
        };
        let (side, price, new) = (change.side, change.price, change.new_qty);
        if !shelf.consumption.is_empty() {
            let period = rules.consumption_ns;
            shelf.consumption.cap(side, price, new, at, period);
        }
        if !rules.queue_position {
            return;
        }
        for resting in &mut shelf.resting {
            if resting.order.side != side || resting.limit() != price {
                continue;
            }
            let scale = instrument.qty_scale;
            let (before, after) = (base_units(change.prev_qty, scale), base_units(new, scale));
            if resting.unseen && new.0 > 0 {
                resting.unseen = false;
                resting.joined_ahead = new;
                resting.queue = Position::behind(after);
                resting.queue.unseen();
                continue;
            }
            resting.queue.level(rules.queue, before, after);
            if rules.partial_fills {
                resting.queue.bound();
            }
        }
    }

    /// A depth message was applied: resting orders that the other side's best now reaches trade.
    pub fn touched(&mut self, id: InstrumentId, market: &Market<'_>, at: Time) {
        let Some(shelf) = self.shelves.get_mut(id.index()) else {
            return;
        };
        if shelf.resting.is_empty() || !market.depth.is_live() || !self.post.has_room() {
            return;
        }
        let bid = market.depth.best_price(Side::Buy);
        let ask = market.depth.best_price(Side::Sell);
        let reached = |resting: &Resting| match resting.order.side {
            Side::Buy => ask.is_some_and(|ask| resting.limit() >= ask),
            Side::Sell => bid.is_some_and(|bid| resting.limit() <= bid),
        };
        if !shelf.resting.iter().any(reached) {
            return;
        }
        let mut counter = Counter {
            shelf,
            post: &mut self.post,
            market,
        };
        for side in [Side::Buy, Side::Sell] {
            counter.reached(side, at);
            counter.hit(at);
        }
    }

    /// A trade printed; to be called before the depth change that it caused. A trade while the book is
    /// not known counts for nothing.
    pub fn trade(&mut self, id: InstrumentId, trade: &Trade, market: &Market<'_>, at: Time) {
        let Some(shelf) = self.shelves.get_mut(id.index()) else {
            return;
        };
        let side = trade.aggressor.opposite();
        let hit = |resting: &Resting| {
            resting.order.side == side && matching::crosses(side, resting.limit(), trade.price)
        };
        if !shelf.resting.iter().any(hit) || !market.depth.is_live() || !self.post.has_room() {
            return;
        }
        matching::share(&mut shelf.resting, trade, market, &mut shelf.scratch);
        let mut counter = Counter {
            shelf,
            post: &mut self.post,
            market,
        };
        counter.hit(at);
    }

    /// The book's continuity was lost: resting orders are void, or only their optimistic bound falls,
    /// since anything may trade unseen.
    pub fn gap(&mut self, id: InstrumentId, terms: &Terms, dialect: instrument::Venue, at: Time) {
        let Some(shelf) = self.shelves.get_mut(id.index()) else {
            return;
        };
        if !terms.rules.void_on_gap {
            for resting in &mut shelf.resting {
                resting.spanned_gap = true;
                resting.queue.unseen();
            }
            return;
        }
        for resting in core::mem::take(&mut shelf.resting) {
            let executed = self.post.happened(terms, dialect, at).max(resting.since);
            let moment = Moment {
                terms,
                dialect,
                executed,
                seen: at,
            };
            let about = (resting.order.id, id, resting.number + 1);
            let outcome = Outcome::Void(VoidCause::Gap);
            self.post.answer(&moment, &mut shelf.cursor, about, outcome);
        }
    }

    /// The book is known again: nothing can be ahead that its level does not hold. To be followed by
    /// [`Self::touched`], as every depth message.
    pub fn resync(&mut self, id: InstrumentId, market: &Market<'_>, at: Time) {
        let Some(shelf) = self.shelves.get_mut(id.index()) else {
            return;
        };
        let rules = &market.terms.rules;
        let depth = &market.depth;
        shelf.consumption.recap(depth, at, rules.consumption_ns);
        for resting in &mut shelf.resting {
            let (side, price) = (resting.order.side, resting.limit());
            let qty = depth.qty_at(side, price);
            if !rules.queue_position || (qty.0 == 0 && !depth.reaches(side, price)) {
                continue;
            }
            let level = base_units(qty, market.instrument.qty_scale);
            if resting.unseen && qty.0 > 0 {
                resting.unseen = false;
                resting.joined_ahead = qty;
                resting.queue = Position::behind(level);
                resting.queue.unseen();
            }
            resting.queue.rebound(level);
        }
    }

    /// The next answer that is known here, once.
    pub fn poll(&mut self, now: Time) -> Option<Report> {
        let answer = self.post.answers.get(self.post.told)?;
        if answer.known > now {
            return None;
        }
        self.post.told += 1;
        Some(answer.report)
    }

    /// When the next answer is known here.
    #[must_use]
    pub fn known(&self) -> Option<Time> {
        let answer = self.post.answers.get(self.post.told);
        answer.map(|answer| answer.known)
    }

    /// What the venue would state of an instrument.
    #[must_use]
    pub fn statement(&self, instrument: InstrumentId) -> Statement {
        let reports = self.post.answers.iter().map(|answer| &answer.report);
        let unheard = reports
            .filter(|report| report.instrument == instrument)
            .map(|report| match &report.outcome {
                Outcome::Filled(fill) => signed(fill),
                _ => 0,
            });
        let shelf = self.shelves.get(instrument.index());
        Statement {
            position: shelf.map_or(Qty(0), |shelf| shelf.position),
            unheard: Qty(unheard.sum()),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
