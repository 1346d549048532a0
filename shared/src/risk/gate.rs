//! The gate between a decision and an order.
//!
//! [`Gate::observe`], [`Gate::funding`], [`Gate::health`] and [`Gate::closed`] tell it what happens;
//! [`Gate::pulse`] answers with what must be done or made durable; [`Gate::judge`] turns an action
//! into an order or says why not.
//!
//! * A denial is typed and has a code that stays the same for good.
//! * What makes a position smaller is never blocked by a limit; only the kill switch stops it.
//! * Open orders count as if they had filled in the worst way, so that no sequence of approvals can
//!   exceed a cap.
//! * Marks and restrictions are asked for once, and take effect when they come back durable.

use alloc::vec::Vec;

use heapless::Deque;
use serde::{Deserialize, Serialize};

use super::breakers::{Rate, Track, Trip, spread_bps};
use super::correlation::Correlation;
pub use super::denial::Denial;
use super::denial::denial_of;
use super::exposure::{Books, Facts, Order, tightest};
use super::limits::{Limits, Unit};
use super::sizing::{self, Measured, Record, Regime, Sizing};
use super::state::{Cause, Level, Mark, Restriction, Scope};
use crate::action::{Action, Choice};
use crate::event::Side;
use crate::instrument::{Instrument, InstrumentId, Kind, MAX_INSTRUMENTS, Venue};
use crate::num::{BPS, Cash, Price, Qty, saturate};
use crate::order::Reason;
use crate::time::{SECONDS, Time};

/// A second in the signed nanoseconds of [`Time::since`].
pub(super) const SECOND: i64 = SECONDS.cast_signed();

/// Acts that one pulse can give rise to: per instrument a closing, a cancellation and two
/// restrictions, three restrictions per venue, those of the portfolio, its mark and cancellation, and
/// a flattening for each of the causes that an operator can name per scope.
pub const MAX_ACTS: usize =
    4 * MAX_INSTRUMENTS + 3 * Venue::ALL.len() + Cause::ALL.len() + 2 + MAX_RESTRICTIONS;
/// Restrictions that can be in force: one per scope and cause.
pub const MAX_RESTRICTIONS: usize = (1 + Venue::ALL.len() + MAX_INSTRUMENTS) * Cause::ALL.len();
/// Violations that are remembered: as many as `emergency_violations` may be.
const MAX_VIOLATIONS: usize = 16;

/// What the market of an instrument looks like at a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When.
    pub at: Time,
    /// Best bid.
    pub bid: Price,
    /// Best ask.
    pub ask: Price,
    /// Value near the best bid (within the levels that the caller counts).
    pub bid_depth: Cash,
    /// Value near the best ask.
    pub ask_depth: Cash,
    /// When its newest market event was received.
    pub updated: Time,
    /// Time from the venue's stamp to our receipt; 0 where the venue gives no stamp.
    pub lag_ns: i64,
}

/// How a venue's connections do, since the last such report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Our clock less the venue's.
    pub clock_offset_ns: i64,
    /// Round trip of a request.
    pub round_trip_ns: u64,
    /// Frames that failed.
    pub errors: u32,
    /// All frames.
    pub frames: u32,
}

/// What is held and ordered of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Held quantity; negative when short.
    pub qty: Qty,
    /// What it cost, as in the ledger.
    pub cost: Cash,
    /// Newest known bid; zero when there never was one.
    pub bid: Price,
    /// Newest known ask; zero when there never was one.
    pub ask: Price,
    /// What open orders may still buy.
    pub buying: Qty,
    /// What open orders may still sell.
    pub selling: Qty,
}

/// The account at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// When.
    pub at: Time,
    /// Equity, longs marked at the bid and shorts at the ask.
    pub equity: Cash,
    /// Money, as in the ledger.
    pub cash: Cash,
    /// Every instrument's holding, by id.
    pub held: &'a [Held],
}

/// What the gate must know to judge an order.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What would be traded.
    pub instrument: InstrumentId,
    /// Best bid and ask; `None` while the book is stale.
    pub touch: Option<(Price, Price)>,
    /// An order of this instrument is on its way and not answered.
    pub in_flight: bool,
    /// The account.
    pub account: Account<'a>,
}

/// An order that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved {
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// It only makes the position smaller.
    pub reduces: bool,
    /// How the size came about; `None` for what only closes.
    pub sizing: Option<Sizing>,
}

/// What a pulse asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Make this durable, then give it to [`Gate::marked`].
    Mark(Mark),
    /// Make this durable, then give it to [`Gate::restricted`].
    Restrict(Restriction),
    /// Close a position at the market.
    Close {
        /// Of which instrument.
        instrument: InstrumentId,
        /// Which way.
        side: Side,
        /// How much: the position less what open orders of that side would close already.
        qty: Qty,
        /// Why.
        reason: Reason,
        /// Open orders of that side rest, or are on their way: cancel those that rest.
        cancel: bool,
    },
    /// Cancel every open order of a scope that does not close a position.
    Cancel(Scope),
    /// Close every position of a scope at the market; asked at every pulse until all are closed.
    Flatten {
        /// Which positions.
        scope: Scope,
        /// Why.
        cause: Cause,
    },
}

/// Of what a row of the table speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A scope that can be restricted.
    Scope(Scope),
    /// A sector, by its place in the limits.
    Sector(usize),
    /// A correlated group, by its first instrument.
    Group(InstrumentId),
}

/// How near a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not reached.
    Clear,
    /// Close to being reached.
    Warning,
    /// Reached: it blocks, closes or restricts.
    Tripped,
}

/// A limit, what it measures now, and how far that is from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The code of the denial, restriction or closing that it leads to.
    pub code: &'static str,
    /// The limit's name, as in [`super::limits::KEYS`].
    pub name: &'static str,
    /// Of what; for a limit per instrument, venue, sector or group the one closest to it.
    pub subject: Subject,
    /// The unit of the three numbers.
    pub unit: Unit,
    /// What is measured now.
    pub value: i64,
    /// The limit.
    pub limit: i64,
    /// How much is left; negative beyond the limit.
    pub headroom: i64,
    /// The value may not fall below the limit; otherwise it may not exceed it.
    pub floor: bool,
    /// Whether it is reached.
    pub standing: Standing,
}

/// A position's best price, for its trailing stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trail {
    pub(super) long: bool,
    pub(super) best: Price,
}

/// Something that should not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Violation {
    at: Time,
    denial: Denial,
    /// Of which instrument, sector, group or venue, so that a lasting one counts once.
    key: u16,
}

impl Violation {
    /// Of what it is: what its key counts follows from the denial.
    fn subject(&self) -> Subject {
        let venue = || Venue::ALL.get(usize::from(self.key)).copied();
        let scope = match self.denial {
            Denial::SectorCap => return Subject::Sector(usize::from(self.key)),
            Denial::CorrelatedCap => return Subject::Group(InstrumentId(self.key)),
            Denial::PositionCap
            | Denial::CrashHour
            | Denial::CrashFast
            | Denial::Reconciliation => Scope::Instrument(InstrumentId(self.key)),
            Denial::Latency | Denial::ErrorRate | Denial::ClockOffset => {
                venue().map_or(Scope::Portfolio, Scope::Venue)
            }
            _ => Scope::Portfolio,
        };
        Subject::Scope(scope)
    }
}

/// What was asked for and has not come back. It is not part of the stored state, and nothing but
/// asking once depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) mark: Option<Mark>,
    pub(super) restrictions: Vec<(Scope, Cause)>,
}

/// The risk engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub(super) limits: Limits,
    pub(super) mark: Mark,
    pub(super) restrictions: Vec<Restriction>,
    pub(super) record: Record,
    pub(super) facts: Vec<Facts>,
    pub(super) tracks: Vec<Track>,
    pub(super) trails: Vec<Option<Trail>>,
    /// By place in [`Venue::ALL`].
    pub(super) venues: Vec<Health>,
    pub(super) correlation: Correlation,
    /// The newest sampling interval.
    pub(super) sampled: u64,
    violations: Deque<Violation, MAX_VIOLATIONS>,
    violations_total: u64,
    #[serde(skip)]
    pub(super) asked: Asked,
}

/// A cap beyond which the account has drifted, and of what.
type Breach = (Denial, u16);

/// An order in the making.
#[derive(Clone, Copy, Debug)]
struct Wish {
    side: Side,
    qty: i64,
    price: Price,
    sizing: Option<Sizing>,
}

impl Gate {
    /// A gate for these instruments and an account that starts with this equity. The limits are
    /// those that [`Limits::check`] passed; an instrument whose sector has no cap can only be sold.
    #[must_use]
    pub fn new(limits: Limits, instruments: &[Instrument], equity: Cash) -> Self {
        let count = instruments.len();
        let base = |i: usize| &instruments[i].base;
        let same = |i, j| !base(i).is_empty() && base(i) == base(j);
        let mut correlation = Correlation::new(count, same);
        correlation.assume(
            limits.correlation_threshold_ppm,
            limits.correlation_unknown_ppm,
        );
        let facts = instruments.iter().map(|i| Facts::new(i, &limits));
        Self {
            facts: facts.collect(),
            tracks: alloc::vec![Track::default(); count],
            trails: alloc::vec![None; count],
            venues: alloc::vec![Health::default(); Venue::ALL.len()],
            correlation,
            limits,
            mark: Mark::new(equity),
            restrictions: Vec::new(),
            record: Record::default(),
            sampled: 0,
            violations: Deque::new(),
            violations_total: 0,
            asked: Asked::default(),
        }
    }

    /// Takes new limits (a restart with another configuration) for the same instruments. Statistics
    /// whose interval changed start anew.
    pub fn relimit(&mut self, limits: Limits, instruments: &[Instrument]) {
        self.facts = instruments.iter().map(|i| Facts::new(i, &limits)).collect();
        if limits.sample_s != self.limits.sample_s {
            self.tracks.iter_mut().for_each(Track::resample);
            self.correlation.clear();
            self.sampled = 0;
        }
        if limits.atr_bar_s != self.limits.atr_bar_s {
            self.tracks.iter_mut().for_each(Track::rebar);
        }
        self.correlation.assume(
            limits.correlation_threshold_ppm,
            limits.correlation_unknown_ppm,
        );
        self.limits = limits;
    }

    /// The market of an instrument with a live book, at every pulse.
    pub fn observe(&mut self, id: InstrumentId, seen: &Observation) {
        if let Some(track) = self.tracks.get_mut(id.index()) {
            track.observe(seen, &self.limits);
        }
    }

    /// A funding rate (a fraction in units of `10^-12`) and when it settles.
    pub fn funding(&mut self, id: InstrumentId, rate: i64, settles: Time) {
        if let Some(track) = self.tracks.get_mut(id.index()) {
            track.funding = Some(Rate::new(rate, settles));
        }
    }

    /// How a venue's connections do.
    pub fn health(&mut self, venue: Venue, health: &Health) {
        self.venues[venue as usize] = *health;
    }

    /// How a venue's connections were last said to do.
    #[must_use]
    pub fn venue_health(&self, venue: Venue) -> &Health {
        &self.venues[venue as usize]
    }

    /// A position was closed or reduced with this profit after fees.
    pub fn closed(&mut self, realised: Cash) {
        self.record.add(realised);
    }

    /// Turns an action into an order, or says why not.
    ///
    /// The size is cut to what every cap leaves. A cap that leaves less than `min_order` denies, and
    /// the denial is a violation when the account had drifted beyond that cap by more than
    /// `breach_tolerance_bps`; the same one counts once per window.
    ///
    /// # Errors
    /// The first [`Denial`] that applies.
    pub fn judge(
        &mut self,
        action: &Action,
        situation: &Situation<'_>,
    ) -> Result<Approved, Denial> {
        let (touch, held) = self.open(situation)?;
        if situation.in_flight {
            return Err(Denial::InFlight);
        }
        if action.choice == Choice::Hold {
            return Err(Denial::Hold);
        }
        if i64::from(action.confidence()) < self.limits.confidence_none_ppm {
            return Err(Denial::Unsure);
        }
        let wish = self.wish(action, situation, &held, touch)?;
        self.count(self.pass(&wish, &held, touch, situation), situation)
    }

    /// Judges an order that no [`Action`] gave rise to (a quote, an operator's order): the part of it
    /// that fits the limits. `price` is the worst one it may trade at.
    ///
    /// # Errors
    /// The first [`Denial`] that applies.
    pub fn admit(
        &mut self,
        side: Side,
        qty: Qty,
        price: Price,
        situation: &Situation<'_>,
    ) -> Result<Approved, Denial> {
        let (touch, held) = self.open(situation)?;
        let wish = Wish {
            side,
            qty: qty.0,
            price,
            sizing: None,
        };
        self.count(self.pass(&wish, &held, touch, situation), situation)
    }

    /// Whether all of such an order would pass, as far as [`Self::admit`] can tell. Nothing is counted.
    #[must_use]
    pub fn admits(&self, side: Side, qty: Qty, price: Price, situation: &Situation<'_>) -> bool {
        let Ok((touch, held)) = self.open(situation) else {
            return false;
        };
        let wish = Wish {
            side,
            qty: qty.0,
            price,
            sizing: None,
        };
        let (verdict, _) = self.pass(&wish, &held, touch, situation);
        verdict.is_ok_and(|approved| approved.qty >= qty)
    }

    /// Counts the violation that judging came upon.
    fn count(
        &mut self,
        (verdict, breach): (Result<Approved, Denial>, Option<Breach>),
        situation: &Situation<'_>,
    ) -> Result<Approved, Denial> {
        if let Some((denial, key)) = breach {
            self.violate(denial, key, situation.account.at);
        }
        verdict
    }

    /// Whether the kill switch stands over an instrument.
    #[must_use]
    pub fn killed(&self, id: InstrumentId, at: Time) -> bool {
        let Some(facts) = self.facts.get(id.index()) else {
            return true;
        };
        let killed = |r: &Restriction| {
            r.cause == Cause::KillSwitch && r.holds(at) && applies(r.scope, id, facts)
        };
        self.restrictions.iter().any(killed)
    }

    /// What every order needs: a price, an instrument, and no kill switch.
    fn open(&self, s: &Situation<'_>) -> Result<((Price, Price), Held), Denial> {
        let touch = s.touch.ok_or(Denial::StaleBook)?;
        let place = s.instrument.index();
        let held = s.account.held.get(place).ok_or(Denial::Unpriced)?;
        let facts = self.facts.get(place).ok_or(Denial::Unpriced)?;
        // The account counts in the quote currency; such a contract settles in its base.
        if facts.kind == Kind::Inverse {
            return Err(Denial::Forbidden);
        }
        if self.killed(s.instrument, s.account.at) {
            return Err(Denial::Halted);
        }
        Ok((touch, *held))
    }

    /// The order that brings the position, with what is ordered already, to its target.
    fn wish(
        &self,
        action: &Action,
        s: &Situation<'_>,
        held: &Held,
        (bid, ask): (Price, Price),
    ) -> Result<Wish, Denial> {
        let place = s.instrument.index();
        let facts = &self.facts[place];
        let (side, price) = match action.choice {
            Choice::Buy => (Side::Buy, ask),
            _ => (Side::Sell, bid),
        };
        // In the order's direction: what is held and what open orders of its side will add.
        let pending = match side {
            Side::Buy => held.buying.0,
            Side::Sell => held.selling.0,
        };
        let now = side.sign() * held.qty.0 + pending;
        let spot_sale = side == Side::Sell && facts.kind == Kind::Spot;
        let sizing = if spot_sale {
            None
        } else {
            let is = Measured {
                atr_bps: self.tracks[place].atr_bps(),
                volatility_bps: self.tracks[place].volatility_bps(),
                correlation_ppm: self.correlation_held(place, s.account.held),
            };
            sizing::size(&self.limits, s.account.equity, action, &is, &self.record)
        };
        let target = sizing.map_or(0, |sizing| sizing.target.0);
        if target == 0 && now >= 0 {
            return Err(match sizing {
                _ if spot_sale && held.qty.0 <= 0 => Denial::Forbidden,
                None if !spot_sale => Denial::NoEdge,
                _ => Denial::AtTarget,
            });
        }
        let change = target.saturating_sub(facts.value(price, now).0);
        let deadband = Cash(target).bps(self.limits.deadband_bps).0;
        if change <= 0 || target > 0 && change < deadband {
            return Err(Denial::AtTarget);
        }
        let qty = if target == 0 {
            -now
        } else {
            facts.affordable(i128::from(change), price)
        };
        Ok(Wish {
            side,
            qty,
            price,
            sizing,
        })
    }

    /// The largest magnitude of correlation with another instrument that is held or ordered.
    fn correlation_held(&self, place: usize, held: &[Held]) -> i64 {
        let others = held.iter().enumerate().filter(|(other, held)| {
            *other != place && (held.qty.0, held.buying.0, held.selling.0) != (0, 0, 0)
        });
        others
            .map(|(other, _)| self.correlation.magnitude(place, other))
            .max()
            .unwrap_or(0)
    }

    /// Lets pass what closes, and of the rest what the limits allow.
    fn pass(
        &self,
        wish: &Wish,
        held: &Held,
        touch: (Price, Price),
        s: &Situation<'_>,
    ) -> (Result<Approved, Denial>, Option<Breach>) {
        let facts = self.facts[s.instrument.index()];
        let against = -wish.side.sign() * held.qty.0;
        let pending = match wish.side {
            Side::Buy => held.buying.0,
            Side::Sell => held.selling.0,
        };
        let closable = against.saturating_sub(pending).max(0);
        let closing = Approved {
            side: wish.side,
            qty: Qty(facts.lots(closable.min(wish.qty))),
            reduces: true,
            sizing: None,
        };
        let (denial, breach) = if wish.qty <= closable {
            (Denial::TooSmall, None)
        } else {
            match self.add(wish, held, touch, s, &facts) {
                Ok(qty) if qty > closable => {
                    let adding = Approved {
                        qty: Qty(qty),
                        reduces: false,
                        sizing: wish.sizing,
                        ..closing
                    };
                    return (Ok(adding), None);
                }
                Ok(_) => (Denial::TooSmall, None),
                Err(refused) => refused,
            }
        };
        if closing.qty.0 > 0 {
            (Ok(closing), breach)
        } else {
            (Err(denial), breach)
        }
    }

    /// How much of an order that adds risk may pass.
    fn add(
        &self,
        wish: &Wish,
        held: &Held,
        (bid, ask): (Price, Price),
        s: &Situation<'_>,
        facts: &Facts,
    ) -> Result<i64, (Denial, Option<Breach>)> {
        let refused = |denial| (denial, None);
        if facts.kind == Kind::Spot && wish.side == Side::Sell {
            return Err(refused(Denial::Forbidden));
        }
        self.barrier(s, facts, bid, ask).map_err(refused)?;
        let place = s.instrument.index();
        let mut stops = [0; MAX_INSTRUMENTS];
        for (stop, track) in stops.iter_mut().zip(&self.tracks) {
            *stop = stop_bps(&self.limits, track);
        }
        let books = Books {
            facts: &self.facts,
            groups: self.correlation.groups(),
            stops: &stops,
        };
        let totals = books
            .totals(&s.account, place, ask)
            .ok_or(refused(Denial::Unpriced))?;
        let order = Order {
            facts,
            held,
            side: wish.side,
            price: wish.price.max(ask),
            ask,
            stop_bps: stops[place],
        };
        let bound = tightest(&self.limits, &s.account, &totals, &order);
        let cut = bound.qty < wish.qty;
        let qty = facts.lots(wish.qty.min(bound.qty));
        let small = qty <= 0 || facts.value(wish.price, qty) < self.limits.min_order;
        match (small, cut) {
            (false, _) => Ok(qty),
            (true, false) => Err(refused(Denial::TooSmall)),
            (true, true) => {
                let breach = bound.breached.then(|| {
                    let key = match bound.denial {
                        Denial::PositionCap => s.instrument.0,
                        Denial::SectorCap => facts.sector.map_or(u16::MAX, u16::from),
                        Denial::CorrelatedCap => self.correlation.groups()[place],
                        _ => 0,
                    };
                    (bound.denial, key)
                });
                Err((bound.denial, breach))
            }
        }
    }

    /// What stops all new risk of an instrument.
    fn barrier(
        &self,
        s: &Situation<'_>,
        facts: &Facts,
        bid: Price,
        ask: Price,
    ) -> Result<(), Denial> {
        let (id, at, limits) = (s.instrument, s.account.at, &self.limits);
        let mut denial = None;
        for r in &self.restrictions {
            if r.level != Level::Active && r.holds(at) && applies(r.scope, id, facts) {
                denial = Some(match (r.level, r.until) {
                    (Level::Halted, _) => return Err(Denial::Halted),
                    (_, Some(_)) => denial.unwrap_or(Denial::CoolingOff),
                    (_, None) => Denial::Reducing,
                });
            }
        }
        if let Some(denial) = denial {
            return Err(denial);
        }
        if self.emergency(at) {
            return Err(Denial::Emergency);
        }
        let track = &self.tracks[id.index()];
        let portfolio = self.portfolio_trips(s.account.equity).into_iter();
        let mut trips = portfolio
            .chain(self.instrument_trips(track))
            .chain(self.venue_trips(facts.venue));
        if let Some(trip) = trips.find(Trip::tripped) {
            return Err(denial_of(trip.cause));
        }
        if at.since(track.updated) > saturate(i128::from(limits.stale_s) * i128::from(SECONDS)) {
            return Err(Denial::StaleFeed);
        }
        if track.lag_ms() >= limits.latency_ms {
            return Err(Denial::Latency);
        }
        if spread_bps(bid, ask) > limits.max_spread_bps {
            return Err(Denial::WideSpread);
        }
        if track.depth < limits.min_depth {
            return Err(Denial::ThinBook);
        }
        match track.funding.filter(|_| facts.is_perpetual()) {
            Some(rate) if rate.bps >= limits.funding_block_bps => Err(Denial::FundingRate),
            Some(rate) if rate.is_near(at, limits) => Err(Denial::FundingWindow),
            _ => Ok(()),
        }
    }

    /// Counts a violation, unless the same one was counted within the window.
    pub(super) fn violate(&mut self, denial: Denial, key: u16, at: Time) {
        let window = self.limits.emergency_window_s.saturating_mul(SECOND);
        while self
            .violations
            .front()
            .is_some_and(|violation| at.since(violation.at) >= window)
        {
            self.violations.pop_front();
        }
        let mut known = self.violations.iter();
        if known.any(|violation| (violation.denial, violation.key) == (denial, key)) {
            return;
        }
        if self.violations.is_full() {
            self.violations.pop_front();
        }
        self.violations_total += 1;
        let pushed = self.violations.push_back(Violation { at, denial, key });
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// Violations within the window.
    #[must_use]
    pub fn violations(&self, at: Time) -> i64 {
        let window = self.limits.emergency_window_s.saturating_mul(SECOND);
        let recent = self.violations.iter().filter(|v| at.since(v.at) < window);
        i64::try_from(recent.count()).unwrap_or(i64::MAX)
    }

    /// The violations within the window: when, what, and of what; newest first.
    pub fn recent_violations(
        &self,
        at: Time,
    ) -> impl Iterator<Item = (Time, Denial, Subject)> + '_ {
        let window = self.limits.emergency_window_s.saturating_mul(SECOND);
        let recent = self.violations.iter().rev();
        recent
            .filter(move |violation| at.since(violation.at) < window)
            .map(|violation| (violation.at, violation.denial, violation.subject()))
    }

    /// Violations so far.
    #[must_use]
    pub const fn violations_total(&self) -> u64 {
        self.violations_total
    }

    /// Whether there are too many violations.
    pub(super) fn emergency(&self, at: Time) -> bool {
        self.violations(at) >= self.limits.emergency_violations
    }

    /// Violations no longer count.
    pub(super) fn pardon(&mut self) {
        self.violations.clear();
    }

    /// The distance to an instrument's stop in basis points, as portfolio heat counts it: its
    /// stop-loss, or its ATR stop when that is wider; all of it for one that the gate does not know.
    #[must_use]
    pub fn stop_bps(&self, id: InstrumentId) -> i64 {
        let track = self.tracks.get(id.index());
        track.map_or(BPS, |track| stop_bps(&self.limits, track))
    }

    /// The restrictions that were not lifted; those with an end may have passed it.
    #[must_use]
    pub fn states(&self) -> &[Restriction] {
        &self.restrictions
    }

    /// The halt of everything, when there is one.
    #[must_use]
    pub fn halted(&self) -> Option<&Restriction> {
        let halts = |r: &&Restriction| r.scope == Scope::Portfolio && r.level == Level::Halted;
        self.restrictions.iter().find(halts)
    }

    /// The strictest level that applies to an instrument.
    #[must_use]
    pub fn level(&self, id: InstrumentId, at: Time) -> Level {
        let Some(facts) = self.facts.get(id.index()) else {
            return Level::Halted;
        };
        let apply = |r: &&Restriction| r.holds(at) && applies(r.scope, id, facts);
        let levels = self.restrictions.iter().filter(apply).map(|r| r.level);
        levels.max().unwrap_or_default()
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The equities from which losses are measured.
    #[must_use]
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// The record of closed trades.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Correlation between the instruments.
    #[must_use]
    pub const fn correlation(&self) -> &Correlation {
        &self.correlation
    }

    /// The volatility regime of an instrument.
    #[must_use]
    pub fn regime(&self, id: InstrumentId) -> Regime {
        let track = self.tracks.get(id.index());
        Regime::of(track.and_then(Track::volatility_bps), &self.limits)
    }
}

/// Whether a restriction of this scope restricts an instrument.
pub(super) fn applies(scope: Scope, id: InstrumentId, facts: &Facts) -> bool {
    match scope {
        Scope::Portfolio => true,
        Scope::Venue(venue) => venue == facts.venue,
        Scope::Instrument(restricted) => restricted == id,
    }
}

/// See [`Gate::stop_bps`].
pub(super) fn stop_bps(limits: &Limits, track: &Track) -> i64 {
    let atr = i128::from(track.atr_bps().unwrap_or(0));
    let wide = saturate(atr * i128::from(limits.atr_multiple_bps) / i128::from(BPS));
    limits.stop_loss_bps.max(wide).min(BPS)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod restrictions;
#[cfg(test)]
mod tests;
