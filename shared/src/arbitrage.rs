//! Spot of one asset that one venue sells for less than another one pays for it, after all fees.
//!
//! After every event that may change a book, each pair of venues that it takes part in is judged: both
//! books are walked level by level while the next unit still pays both taker fees, and what remains is
//! an [`Opportunity`] for as long as it lasts. Only books count that are live, and whose newest event
//! will be young enough when the slower of the two orders gets there ([`AGE_NS_MAX`]): a quote from a
//! venue that went silent, or whose clock or feed is off, is no quote. A while after an opportunity
//! opened, when orders sent at once would have met the two books, those books say what they would have
//! got ([`Trial`]).
//!
//! Instruments compare when both are [`Kind::Spot`] of one base asset at different venues. Their quote
//! currencies count at par, as in the account ([`crate::ledger`]): the configuration admits no others.
//! A difference between perpetuals is no opportunity here, since it has to be held, and closed at
//! prices of later; it is a feature (`crate::features::cross`). Moving assets between the venues is not
//! counted: both legs trade out of what lies there.
//!
//! Nothing is allocated after [`Monitor::new`]. Money is exact up to the rounding of `num`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::{Level, Side};
use crate::instrument::{Instrument, InstrumentId, Kind};
use crate::num::{Cash, Price, Qty, saturate};
use crate::paper::latency::RoundTrips;
use crate::paper::matching::{Quoted, fee, money, quoted};
use crate::paper::venue::{Market, Terms};
use crate::time::{MILLIS, SECONDS, Time};

/// How old a venue's newest event may be at the moment when the slower of the two orders would reach
/// its venue, delay of the feed included, in nanoseconds.
pub const AGE_NS_MAX: i64 = 2 * SECONDS.cast_signed();
/// How late, or how early by its venue's stamp, the newest event may have come after the clocks'
/// difference is taken off, in nanoseconds.
pub const LAG_NS_MAX: i64 = SECONDS.cast_signed();
/// How far a venue's clock may be from ours, in nanoseconds.
pub const CLOCK_OFFSET_NS_MAX: i64 = SECONDS.cast_signed();
/// Levels of a side that are walked; an opportunity that goes further says so ([`Walk::cut`]).
pub const MAX_LEVELS: usize = 64;
/// Opportunities that are open at once; more are counted ([`Monitor::dropped`]).
pub const MAX_OPEN: usize = 64;
/// Opportunities that are over and kept.
pub const CLOSED_KEPT: usize = 64;
/// Classes of lifetimes: one ends at each power of two of a millisecond, the last has no end.
pub const LIFETIME_CLASSES: usize = 24;

/// Fees are in millionths.
const PARTS: i128 = 1_000_000;

/// One venue's side of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// The market as an order meets it.
    pub market: Market<'a>,
    /// When its newest event left the socket; unknown counts as never.
    pub received: Time,
    /// From the venue's stamp of that event to then, less what the clocks differ.
    pub lag_ns: i64,
    /// Our clock less the venue's.
    pub clock_offset_ns: i64,
    /// The round trips that were measured.
    pub round_trips: &'a RoundTrips,
}

impl<'a> Leg<'a> {
    const fn terms(&self) -> &'a Terms {
        self.market.terms
    }

    const fn instrument(&self) -> &'a Instrument {
        self.market.instrument
    }

    fn fee_ppm(&self) -> i32 {
        if self.terms().rules.fees {
            self.terms().taker_fee_ppm
        } else {
            0
        }
    }

    fn is_live(&self) -> bool {
        self.market.depth.is_live() && !self.market.depth.is_synthetic()
    }

    /// How long an order takes to the venue, as a bound without chance; `None` where it refuses.
    fn entry_ns(&self, at: Time) -> Option<u64> {
        if !self.terms().rules.latency {
            return Some(0);
        }
        let venue = self.instrument().venue;
        self.terms()
            .latency
            .entry_bound(at, venue, self.round_trips)
    }

    /// How long after an order got to the venue the book that it met is known here.
    fn feed_ns(&self) -> u64 {
        if !self.terms().rules.latency {
            return 0;
        }
        let venue = self.instrument().venue;
        self.terms().latency.feed_bound(venue, self.round_trips)
    }

    /// Whether its quotes can be relied on for so long from now.
    fn is_fresh(&self, at: Time, ahead_ns: u64) -> bool {
        let ahead = i64::try_from(ahead_ns).unwrap_or(i64::MAX);
        let age = at.since(self.received).max(0);
        let age = age.saturating_add(self.lag_ns.max(0)).saturating_add(ahead);
        self.received.is_known()
            && age <= AGE_NS_MAX
            && self.lag_ns.saturating_abs() <= LAG_NS_MAX
            && self.clock_offset_ns.saturating_abs() <= CLOCK_OFFSET_NS_MAX
    }

    /// The levels that a taker of a side meets, with the quantity that whole lots make of each.
    fn levels(&self, side: Side) -> impl Iterator<Item = Level> + use<'a> {
        let lot = self.instrument().lot.max(1);
        let levels = self.market.depth.levels(side.opposite());
        levels.take(MAX_LEVELS).map(move |level| Level {
            price: level.price,
            qty: Qty(level.qty.0 - level.qty.0 % lot),
        })
    }
}

/// The common units of two instruments.
#[derive(Clone, Copy, Debug)]
struct Units {
    price_scale: u8,
    qty_scale: u8,
}

impl Units {
    fn of(one: &Instrument, other: &Instrument) -> Self {
        Self {
            price_scale: one.price_scale.max(other.price_scale),
            qty_scale: one.qty_scale.max(other.qty_scale),
        }
    }

    fn price(self, price: Price, instrument: &Instrument) -> i128 {
        i128::from(price.0) * power(self.price_scale - instrument.price_scale)
    }

    fn qty_factor(self, instrument: &Instrument) -> i128 {
        power(self.qty_scale - instrument.qty_scale)
    }
}

fn power(places: u8) -> i128 {
    10_i128.pow(u32::from(places))
}

/// What could be traded at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// How much, in units of `10^-qty_scale` of the base asset ([`Opportunity::qty_scale`]): a
    /// multiple of both lots.
    pub qty: Qty,
    /// What the buying leg costs, without its fee.
    pub cost: Cash,
    /// What the selling leg brings, without its fee.
    pub proceeds: Cash,
    /// The taker fees of both legs.
    pub fees: Cash,
    /// The worst price that the buying leg pays, in its instrument's units.
    pub buy_limit: Price,
    /// The worst price that the selling leg gets, in its instrument's units.
    pub sell_limit: Price,
    /// There may be more: the walk ended at [`MAX_LEVELS`].
    pub cut: bool,
}

impl Walk {
    /// What it brings before fees.
    #[must_use]
    pub fn gross(&self) -> Cash {
        self.proceeds - self.cost
    }

    /// What it brings.
    #[must_use]
    pub fn net(&self) -> Cash {
        self.gross() - self.fees
    }

    /// [`Walk::net`] in millionths of the cost (a hundred are a basis point), rounded down.
    #[must_use]
    pub fn net_ppm(&self) -> i64 {
        ppm(self.net(), self.cost)
    }
}

/// A part in millionths of a whole, rounded down; 0 of nothing.
fn ppm(part: Cash, whole: Cash) -> i64 {
    match whole.0 {
        1.. => saturate((i128::from(part.0) * PARTS).div_euclid(i128::from(whole.0))),
        _ => 0,
    }
}

/// Why an opportunity is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The prices no longer pay for the fees and the smallest order.
    Price,
    /// A book's newest event became too old, or its feed or clock is off.
    Stale,
    /// A book's continuity was lost.
    Gap,
}

impl Cause {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Stale => "stale",
            Self::Gap => "gap",
        }
    }
}

/// One order of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When the book that it meets is known here; `None` when it was lost with the process that sent it.
    pub due: Option<Time>,
    /// What it got, once it met its book: quantity in units of `10^-qty_scale`
    /// ([`Opportunity::qty_scale`]), money with the surcharge for its impact, and fee. A book that is
    /// not live refuses.
    pub got: Option<Quoted>,
}

/// Would it have filled? Both orders are sent when the opportunity opens, for its quantity at its worst
/// prices, immediate or cancel; each meets its venue's book after that venue's latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The buying leg.
    pub buy: Attempt,
    /// The selling leg.
    pub sell: Attempt,
}

/// What came of a trial. Quantities are in units of `10^-qty_scale` ([`Opportunity::qty_scale`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the buying leg got.
    pub bought: Qty,
    /// What the selling leg got.
    pub sold: Qty,
    /// What the part that both legs got brings after fees, each at its leg's average price, rounded
    /// against us.
    pub net: Cash,
}

impl Outcome {
    /// What one leg got and the other did not: long when positive. It is the risk of the legs.
    #[must_use]
    pub const fn unhedged(&self) -> Qty {
        Qty(self.bought.0 - self.sold.0)
    }
}

/// An opportunity, from its opening on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opportunity {
    /// Its number, from 1.
    pub id: u64,
    /// Where to buy.
    pub buy: InstrumentId,
    /// Where to sell.
    pub sell: InstrumentId,
    /// Decimals of its quantities.
    pub qty_scale: u8,
    /// When it was seen first.
    pub opened: Time,
    /// When it was looked at last.
    pub seen: Time,
    /// As it opened.
    pub first: Walk,
    /// As it was seen last.
    pub last: Walk,
    /// As it brought most.
    pub best: Walk,
    /// When and why it ended.
    pub closed: Option<(Time, Cause)>,
    /// Would it have filled.
    pub trial: Trial,
    /// The answer.
    pub outcome: Option<Outcome>,
}

impl Opportunity {
    /// How long it lasted, or lasts so far, in nanoseconds.
    #[must_use]
    pub fn lifetime_ns(&self) -> u64 {
        let end = self.closed.map_or(self.seen, |(at, _)| at);
        u64::try_from(end.since(self.opened)).unwrap_or(0)
    }
}

/// What happened to an opportunity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It is there.
    Opened,
    /// It is over.
    Closed,
    /// Its trial has an outcome.
    Tried,
}

/// What the monitor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// What happened.
    pub stage: Stage,
    /// To which opportunity, as it stands.
    pub opportunity: Opportunity,
}

/// What became of the opportunities of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Where to buy.
    pub buy: InstrumentId,
    /// Where to sell.
    pub sell: InstrumentId,
    /// Opportunities that opened.
    pub opened: u64,
    /// Those of them that are over.
    pub closed: u64,
    /// Sum over them of what they brought at best.
    pub net: Cash,
    /// Sum over them of how long they lasted, in nanoseconds.
    pub lifetime_ns: u64,
    /// How many lasted less than `2^n` milliseconds and not less than half of it; the first class
    /// begins at 0, the last has no end.
    pub lifetimes: [u32; LIFETIME_CLASSES],
    /// Trials that have an outcome.
    pub tried: u64,
    /// Those of them that got all on both legs.
    pub filled: u64,
    /// Sum over all trials of [`Outcome::net`].
    pub tried_net: Cash,
}

impl Pair {
    const fn new(buy: InstrumentId, sell: InstrumentId) -> Self {
        Self {
            buy,
            sell,
            opened: 0,
            closed: 0,
            net: Cash::ZERO,
            lifetime_ns: 0,
            lifetimes: [0; LIFETIME_CLASSES],
            tried: 0,
            filled: 0,
            tried_net: Cash::ZERO,
        }
    }

    /// The mean lifetime in nanoseconds; `None` before one has ended.
    #[must_use]
    pub fn lifetime_ns_mean(&self) -> Option<u64> {
        self.lifetime_ns.checked_div(self.closed)
    }

    /// The end of the class in which the median lifetime lies, in nanoseconds: the median is less than
    /// this and, but for the first class, not less than half of it. The last class has no end and tells
    /// its beginning. `None` before one has ended.
    #[must_use]
    pub fn lifetime_ns_median(&self) -> Option<u64> {
        let half = self.closed.div_ceil(2);
        let mut sum = 0_u64;
        let class = self.lifetimes.iter().position(|count| {
            sum += u64::from(*count);
            sum >= half && half > 0
        })?;
        let end = class.min(LIFETIME_CLASSES - 2);
        Some((1_u64 << end) * MILLIS)
    }

    fn end(&mut self, opportunity: &Opportunity) {
        let lifetime = opportunity.lifetime_ns();
        let class = (u64::BITS - (lifetime / MILLIS).leading_zeros()) as usize;
        let class = &mut self.lifetimes[class.min(LIFETIME_CLASSES - 1)];
        *class = class.saturating_add(1);
        self.closed += 1;
        self.net += opportunity.best.net();
        self.lifetime_ns = self.lifetime_ns.saturating_add(lifetime);
    }

    fn try_out(&mut self, opportunity: &Opportunity, outcome: &Outcome) {
        let all = opportunity.first.qty;
        self.tried += 1;
        self.filled += u64::from(outcome.bought == all && outcome.sold == all);
        self.tried_net += outcome.net;
    }
}

/// What is looked at at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Now.
    pub at: Time,
    /// The smallest order.
    pub min_order: Cash,
}

/// All opportunities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// By instrument, those that compare with it.
    peers: Vec<Vec<InstrumentId>>,
    /// All pairs that compare, sorted.
    pairs: Vec<Pair>,
    /// In the order of their opening; at most [`MAX_OPEN`].
    open: Vec<Opportunity>,
    /// Oldest first; at most [`CLOSED_KEPT`].
    closed: VecDeque<Opportunity>,
    /// Opportunities so far.
    count: u64,
    dropped: u64,
    /// When the next order of a trial meets its book.
    due: Option<Time>,
}

impl Monitor {
    /// Nothing seen yet of these instruments, by id.
    #[must_use]
    pub fn new(instruments: &[Instrument]) -> Self {
        let ids = || (0_u16..).map(InstrumentId).zip(instruments);
        let peers = ids().map(|(id, one)| {
            let compares = |(other_id, other): &(InstrumentId, &Instrument)| {
                *other_id != id && compare(one, other)
            };
            ids().filter(compares).map(|(other, _)| other).collect()
        });
        let peers: Vec<Vec<InstrumentId>> = peers.collect();
        let pairs = ids().flat_map(|(id, _)| {
            let peers = peers[id.index()].iter();
            peers.map(move |other| Pair::new(id, *other))
        });
        Self {
            pairs: pairs.collect(),
            peers,
            open: Vec::with_capacity(MAX_OPEN),
            closed: VecDeque::with_capacity(CLOSED_KEPT),
            count: 0,
            dropped: 0,
            due: None,
        }
    }

    /// The opportunities that are open, in the order of their opening.
    #[must_use]
    pub fn open(&self) -> &[Opportunity] {
        &self.open
    }

    /// The newest of those that are over, oldest first.
    pub fn closed(&self) -> impl ExactSizeIterator<Item = &Opportunity> + DoubleEndedIterator {
        self.closed.iter()
    }

    /// What became of the opportunities, by pair.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// How often an opportunity could not be kept: [`MAX_OPEN`] were open, or it left the newest
    /// [`CLOSED_KEPT`] before its trial had an outcome.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether an event of an instrument can matter here.
    #[must_use]
    pub fn watches(&self, id: InstrumentId) -> bool {
        self.peers
            .get(id.index())
            .is_some_and(|peers| !peers.is_empty())
    }

    /// An instrument's book may have changed, or it was heard of. A market that is `None` is between
    /// the parts of a message: its pairs wait.
    pub fn look<'a>(
        &mut self,
        changed: InstrumentId,
        look: Look,
        markets: &impl Fn(InstrumentId) -> Option<Leg<'a>>,
        tell: &mut impl FnMut(News),
    ) {
        let Some(leg) = self.watches(changed).then(|| markets(changed)).flatten() else {
            return;
        };
        for place in 0..self.peers[changed.index()].len() {
            let other = self.peers[changed.index()][place];
            if let Some(peer) = markets(other) {
                self.judge((changed, &leg), (other, &peer), look, tell);
                self.judge((other, &peer), (changed, &leg), look, tell);
            }
        }
    }

    /// Time went on: what is open is looked at again, since quotes age.
    pub fn pulse<'a>(
        &mut self,
        look: Look,
        markets: &impl Fn(InstrumentId) -> Option<Leg<'a>>,
        tell: &mut impl FnMut(News),
    ) {
        for place in (0..self.open.len()).rev() {
            let Opportunity { buy, sell, .. } = self.open[place];
            if let (Some(buyer), Some(seller)) = (markets(buy), markets(sell)) {
                self.judge((buy, &buyer), (sell, &seller), look, tell);
            }
        }
    }

    /// A process begins: what was open ended when it was seen last, and its orders met nothing.
    pub fn restart(&mut self, tell: &mut impl FnMut(News)) {
        while let Some(opportunity) = self.open.first() {
            let seen = opportunity.seen;
            self.close(0, seen, Cause::Gap, tell);
        }
        for opportunity in &mut self.closed {
            opportunity.trial.buy.due = None;
            opportunity.trial.sell.due = None;
        }
        self.due = None;
    }

    fn judge(
        &mut self,
        (buy, buyer): (InstrumentId, &Leg<'_>),
        (sell, seller): (InstrumentId, &Leg<'_>),
        look: Look,
        tell: &mut impl FnMut(News),
    ) {
        let same = |open: &Opportunity| open.buy == buy && open.sell == sell;
        let place = self.open.iter().position(same);
        match (place, examine(buyer, seller, look)) {
            (None, Err(_)) => {}
            (None, Ok(walk)) => self.begin((buy, buyer), (sell, seller), &walk, look.at, tell),
            (Some(place), Ok(walk)) => {
                let open = &mut self.open[place];
                open.seen = look.at;
                open.last = walk;
                if walk.net() > open.best.net() {
                    open.best = walk;
                }
            }
            (Some(place), Err(cause)) => self.close(place, look.at, cause, tell),
        }
    }

    fn begin(
        &mut self,
        (buy, buyer): (InstrumentId, &Leg<'_>),
        (sell, seller): (InstrumentId, &Leg<'_>),
        walk: &Walk,
        at: Time,
        tell: &mut impl FnMut(News),
    ) {
        if self.open.len() >= MAX_OPEN {
            self.dropped += 1;
            return;
        }
        let attempt = |leg: &Leg<'_>| Attempt {
            due: leg
                .entry_ns(at)
                .map(|entry| at.plus(entry).plus(leg.feed_ns())),
            got: None,
        };
        let trial = Trial {
            buy: attempt(buyer),
            sell: attempt(seller),
        };
        self.count += 1;
        let opportunity = Opportunity {
            id: self.count,
            buy,
            sell,
            qty_scale: Units::of(buyer.instrument(), seller.instrument()).qty_scale,
            opened: at,
            seen: at,
            first: *walk,
            last: *walk,
            best: *walk,
            closed: None,
            trial,
            outcome: None,
        };
        self.open.push(opportunity);
        if let Some(pair) = self.pair(&opportunity) {
            pair.opened += 1;
        }
        self.due = earlier(self.due, earlier(trial.buy.due, trial.sell.due));
        tell(News {
            stage: Stage::Opened,
            opportunity,
        });
    }

    fn close(&mut self, place: usize, at: Time, cause: Cause, tell: &mut impl FnMut(News)) {
        let mut opportunity = self.open.remove(place);
        opportunity.closed = Some((at, cause));
        if let Some(pair) = self.pair(&opportunity) {
            pair.end(&opportunity);
        }
        if self.closed.len() >= CLOSED_KEPT {
            let oldest = self.closed.pop_front();
            self.dropped += u64::from(oldest.is_some_and(|oldest| oldest.outcome.is_none()));
        }
        self.closed.push_back(opportunity);
        tell(News {
            stage: Stage::Closed,
            opportunity,
        });
    }

    fn pair(&mut self, opportunity: &Opportunity) -> Option<&mut Pair> {
        let key = (opportunity.buy, opportunity.sell);
        let place = self
            .pairs
            .binary_search_by_key(&key, |pair| (pair.buy, pair.sell));
        place.ok().map(|place| &mut self.pairs[place])
    }

    /// When the next order of a trial meets its book.
    #[must_use]
    pub const fn due(&self) -> Option<Time> {
        self.due
    }

    /// Lets the orders of trials that are due strictly before a time meet the books as they are.
    pub fn arrive<'a>(
        &mut self,
        before: Time,
        markets: &impl Fn(InstrumentId) -> Option<Leg<'a>>,
        tell: &mut impl FnMut(News),
    ) {
        if self.due.is_none_or(|due| due >= before) {
            return;
        }
        self.due = None;
        let kept = self.closed.len();
        for place in 0..kept + self.open.len() {
            let opportunity = match self.closed.get_mut(place) {
                Some(closed) => closed,
                None => &mut self.open[place - kept],
            };
            if opportunity.outcome.is_some() {
                continue;
            }
            opportunity.meet(before, markets);
            let Trial { buy, sell } = opportunity.trial;
            for waits in [buy, sell].iter().filter(|attempt| attempt.got.is_none()) {
                self.due = earlier(self.due, waits.due);
            }
            opportunity.outcome = opportunity.trial.outcome();
            let opportunity = *opportunity;
            if let Some(outcome) = opportunity.outcome {
                if let Some(pair) = self.pair(&opportunity) {
                    pair.try_out(&opportunity, &outcome);
                }
                tell(News {
                    stage: Stage::Tried,
                    opportunity,
                });
            }
        }
    }
}

/// The earlier one of two times that may not be.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => one.or(other),
    }
}

/// Whether two instruments are the same thing at two venues.
fn compare(one: &Instrument, other: &Instrument) -> bool {
    let spot = one.kind == Kind::Spot && other.kind == Kind::Spot;
    spot && one.venue != other.venue && one.base == other.base && !one.base.is_empty()
}

impl Opportunity {
    /// Lets the orders of its trial that are due meet their books; one that is between the parts of a
    /// message keeps its order waiting.
    fn meet<'a>(&mut self, before: Time, markets: &impl Fn(InstrumentId) -> Option<Leg<'a>>) {
        let Walk {
            qty,
            buy_limit,
            sell_limit,
            ..
        } = self.first;
        let scale = self.qty_scale;
        for (side, id, attempt, limit) in [
            (Side::Buy, self.buy, &mut self.trial.buy, buy_limit),
            (Side::Sell, self.sell, &mut self.trial.sell, sell_limit),
        ] {
            let due = attempt.due.is_some_and(|due| due < before);
            if attempt.got.is_some() || !due {
                continue;
            }
            let Some(leg) = markets(id) else {
                continue;
            };
            if !leg.is_live() {
                attempt.got = Some(Quoted::NOTHING);
                continue;
            }
            let factor = power(scale - leg.instrument().qty_scale);
            let own = Qty(saturate(i128::from(qty.0) / factor));
            let got = quoted(side, own, limit, &leg.market, before);
            attempt.got = Some(Quoted {
                qty: Qty(saturate(i128::from(got.qty.0) * factor)),
                ..got
            });
        }
    }
}

impl Trial {
    /// What came of it, once both orders met their books.
    fn outcome(&self) -> Option<Outcome> {
        let (buy, sell) = (self.buy.got?, self.sell.got?);
        let both = i128::from(buy.qty.0.min(sell.qty.0));
        // What is paid is rounded up, what is received down.
        let part = |amount: Cash, whole: Qty| match whole.0 {
            0 => 0,
            _ => (i128::from(amount.0) * both).div_euclid(i128::from(whole.0)),
        };
        let paid = -part(-(buy.notional + buy.fee), buy.qty);
        let received = part(sell.notional - sell.fee, sell.qty);
        Some(Outcome {
            bought: buy.qty,
            sold: sell.qty,
            net: Cash(saturate(received - paid)),
        })
    }
}

/// What buying at one venue and selling at the other brings now, or why it is nothing.
fn examine(buyer: &Leg<'_>, seller: &Leg<'_>, look: Look) -> Result<Walk, Cause> {
    if !buyer.is_live() || !seller.is_live() {
        return Err(Cause::Gap);
    }
    let (buy_fee, sell_fee) = (buyer.fee_ppm(), seller.fee_ppm());
    let units = Units::of(buyer.instrument(), seller.instrument());
    // The touch rejects almost everything.
    let ask = buyer.market.depth.best(Side::Sell).ok_or(Cause::Price)?;
    let bid = seller.market.depth.best(Side::Buy).ok_or(Cause::Price)?;
    let ask = units.price(ask.price, buyer.instrument());
    let bid = units.price(bid.price, seller.instrument());
    if !pays(ask, buy_fee, bid, sell_fee) {
        return Err(Cause::Price);
    }
    let slower = match (buyer.entry_ns(look.at), seller.entry_ns(look.at)) {
        (Some(one), Some(other)) => one.max(other),
        _ => return Err(Cause::Stale),
    };
    if !buyer.is_fresh(look.at, slower) || !seller.is_fresh(look.at, slower) {
        return Err(Cause::Stale);
    }
    let walk = walk(buyer, seller, units).ok_or(Cause::Price)?;
    let smallest = walk.cost.min(walk.proceeds);
    if smallest >= look.min_order && walk.net() > Cash::ZERO {
        Ok(walk)
    } else {
        Err(Cause::Price)
    }
}

/// Whether a unit bought at `ask` and sold at `bid` brings more than both fees:
/// `bid · (1 − fee) > ask · (1 + fee)`. Prices too large to be compared do not.
fn pays(ask: i128, buy_fee_ppm: i32, bid: i128, sell_fee_ppm: i32) -> bool {
    let paid = ask.checked_mul(PARTS + i128::from(buy_fee_ppm));
    let received = bid.checked_mul(PARTS - i128::from(sell_fee_ppm));
    matches!((paid, received), (Some(paid), Some(received)) if received > paid)
}

/// Walks both books while the next unit pays. `None` when nothing does, in whole lots of both.
fn walk(buyer: &Leg<'_>, seller: &Leg<'_>, units: Units) -> Option<Walk> {
    let (qty, cut) = crossing(buyer, seller, units);
    let (buy, sell) = (buyer.instrument(), seller.instrument());
    let (buy_factor, sell_factor) = (units.qty_factor(buy), units.qty_factor(sell));
    let lots = |lot: i64, factor: i128| i128::from(lot.max(1)).checked_mul(factor);
    let lot = common_multiple(lots(buy.lot, buy_factor)?, lots(sell.lot, sell_factor)?)?;
    let qty = qty.min(i128::from(i64::MAX));
    let qty = qty - qty % lot;
    if qty <= 0 {
        return None;
    }
    let (cost, buy_limit) = price_of(buyer, Side::Buy, qty / buy_factor)?;
    let (proceeds, sell_limit) = price_of(seller, Side::Sell, qty / sell_factor)?;
    let fees = fee(cost, buyer.fee_ppm()) + fee(proceeds, seller.fee_ppm());
    Some(Walk {
        qty: Qty(saturate(qty)),
        cost,
        proceeds,
        fees,
        buy_limit,
        sell_limit,
        cut,
    })
}

/// The quantity that pays, in common units, and whether the walk ended before it was all seen.
fn crossing(buyer: &Leg<'_>, seller: &Leg<'_>, units: Units) -> (i128, bool) {
    let (buy_fee, sell_fee) = (buyer.fee_ppm(), seller.fee_ppm());
    let of = |leg: &Leg<'_>, level: Level| {
        let instrument = leg.instrument();
        let qty = i128::from(level.qty.0.max(0)) * units.qty_factor(instrument);
        (units.price(level.price, instrument), qty)
    };
    let mut asks = buyer.levels(Side::Buy).map(|level| of(buyer, level));
    let mut bids = seller.levels(Side::Sell).map(|level| of(seller, level));
    let (mut ask, mut bid) = (asks.next(), bids.next());
    let (mut asked, mut bade) = (1, 1);
    let mut total = 0_i128;
    while let (Some((ask_price, ask_qty)), Some((bid_price, bid_qty))) = (ask, bid) {
        if !pays(ask_price, buy_fee, bid_price, sell_fee) {
            return (total, false);
        }
        let both = ask_qty.min(bid_qty);
        total = total.saturating_add(both);
        ask = Some((ask_price, ask_qty - both));
        bid = Some((bid_price, bid_qty - both));
        if ask_qty == both {
            ask = asks.next();
            asked += 1;
        }
        if bid_qty == both {
            bid = bids.next();
            bade += 1;
        }
    }
    (total, asked > MAX_LEVELS || bade > MAX_LEVELS)
}

/// What a taker of a quantity (in the instrument's units) pays or gets, and the worst price.
fn price_of(leg: &Leg<'_>, side: Side, qty: i128) -> Option<(Cash, Price)> {
    let mut left = i64::try_from(qty).ok()?;
    let mut sum = 0_i128;
    for level in leg.levels(side) {
        let taken = left.min(level.qty.0);
        sum = sum.saturating_add(i128::from(level.price.0) * i128::from(taken));
        left -= taken;
        if left == 0 {
            return Some((money(sum, leg.instrument()), level.price));
        }
    }
    None
}

/// The least common multiple of two positive numbers.
fn common_multiple(one: i128, other: i128) -> Option<i128> {
    let (mut a, mut b) = (one, other);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (one / a).checked_mul(other)
}

#[cfg(test)]
mod tests;
