//! The fold: state = fold(engine, journal).
//!
//! [`Engine::handle`] takes one [`Record`] and changes the state; [`Engine::poll`] then gives out
//! what follows from it, until there is no more. Mutate, then drain: the same loop in live trading,
//! replay, recovery and tests, none of which the engine can tell apart. What comes back from the
//! outside (an answer, a report, a mark that is now durable) comes back as a record.

mod cell;
mod pulse;
mod trading;
mod watch;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use cell::Cell;

use crate::arbitrage::{self, Monitor};
use crate::attribution::Attribution;
use crate::event::{Body, Decision, Event, Gap, Health, Record, Side, Trade, Update};
use crate::execution::Tactic;
use crate::features::Table;
use crate::features::bars::Timeframe;
use crate::features::cross::Cross;
use crate::funding_watch::{self, Watch};
use crate::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS, Venue};
use crate::ledger::Ledger;
use crate::num::Cash;
use crate::order::{Fill, Order, Orders, Reason, Report};
use crate::paper::depth::Change;
use crate::paper::fees::{self, Tier, Volumes};
use crate::paper::funding::Missed;
use crate::paper::impact::ImpactTerms;
use crate::paper::latency::Latency;
use crate::paper::queue::QueueModel;
use crate::paper::toxicity::{self, Toxicity};
use crate::paper::venue::{self as paper, Rules, Terms};
use crate::performance::{DEFAULT_PERIOD_NS, Scorecard};
use crate::positions::Tracker;
use crate::quality::{self, Quality};
use crate::risk;
use crate::risk::denial::Denial;
use crate::risk::gate::Gate;
use crate::risk::limits::Limits;
use crate::time::Time;
use crate::trajectory::MarketStep;
use crate::window::Window;

/// Outputs that one record can give rise to: a pulse asks, steps, restricts, settles, closes and
/// reports, each at most once or twice per instrument; every opportunity of arbitrage that is kept may end or be
/// tried out, and as many may begin. The queue is drained after every record, so its overflow would be
/// a defect.
const MAX_OUTPUTS: usize = 9 * MAX_INSTRUMENTS + 3 * arbitrage::MAX_OPEN + arbitrage::CLOSED_KEPT;

/// Everything that makes two engines the same, apart from the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The instruments, by id.
    pub instruments: Vec<Instrument>,
    /// Money at the start.
    pub capital: Cash,
    /// Risk limits.
    pub limits: Limits,
    /// What each venue costs.
    pub costs: Vec<(Venue, Costs)>,
    /// How decisions become orders.
    pub tactic: Tactic,
    /// How impact is charged.
    pub impact: ImpactTerms,
    /// Funding is paid.
    pub funding: bool,
    /// Where only trades arrive, market orders meet a book made of bars.
    pub synthetic_book: bool,
    /// Seed of everything sampled.
    pub seed: u64,
}

/// What trading at a venue costs, in money and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// Its fee schedule.
    pub tiers: Vec<Tier>,
    /// How long requests and answers take.
    pub latency: Latency,
    /// Which effects are simulated.
    pub rules: Rules,
}

/// The costs of a venue that the setup does not name: free and immediate, for replays that only look
/// at the market.
const NO_COSTS: &Costs = &Costs {
    tiers: Vec::new(),
    latency: Latency::Constant {
        entry_ns: 0,
        response_ns: 0,
    },
    rules: Rules::hftbacktest(QueueModel::RiskAverse),
};

/// What follows from a record.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a fixed size is what bounds the queue"
)]
pub enum Output {
    /// The policy is asked about [`Engine::window`] of this instrument; answer with
    /// [`Event::Decision`].
    Ask {
        /// About which instrument.
        instrument: InstrumentId,
        /// The `seq` of the pulse that asks.
        asked: u64,
    },
    /// What the risk gate made of a decision.
    Verdict {
        /// The decision.
        decision: Decision,
        /// The order it gave, or why none.
        verdict: Result<Order, Denial>,
    },
    /// A fill was booked.
    Booked {
        /// The report that brought it.
        report: Report,
        /// What traded.
        fill: Fill,
        /// Why the order was sent.
        reason: Reason,
    },
    /// Make this event durable, then return it: it takes effect only then.
    Commit(Event),
    /// A book found itself wrong; its venue must send a snapshot.
    Resync {
        /// Whose.
        instrument: InstrumentId,
        /// What was found.
        gap: Gap,
    },
    /// Features look back further than we have listened: the venue's own bars are wanted, as
    /// [`Body::Candle`].
    History {
        /// Whose.
        instrument: InstrumentId,
        /// Of what length.
        timeframe: Timeframe,
    },
    /// A market step for the trainer.
    Step(MarketStep),
    /// Funding settlements passed unseen.
    Missed(Missed),
    /// Where the price went after a resting order was hit.
    Toxic(toxicity::Mark),
    /// An opportunity of arbitrage opened, closed, or was tried out.
    Arbitrage(arbitrage::News),
    /// A funding rate became more, or less, alarming.
    Funding(funding_watch::Alert),
    /// What an instrument's data were like on the UTC day that is over.
    Quality(quality::Report),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    seq: u64,
    now: Time,
    cells: Vec<Cell>,
    crosses: Vec<Cross>,
    ledger: Ledger,
    attribution: Vec<Attribution>,
    tracker: Tracker,
    scorecard: Scorecard,
    risk: Gate,
    /// What is known here of our orders.
    orders: Orders,
    /// What the venue knows of them.
    paper: paper::Venue,
    /// What was traded at each venue, for its fee schedule.
    volumes: Volumes,
    toxicity: Box<Toxicity>,
    arbitrage: Monitor,
    funding: Watch,
    quality: Quality,
}

impl State {
    fn hash(&self) -> [u8; 32] {
        let hashed = postcard::serialize_with_flavor(self, Fingerprint(Sha256::new()));
        hashed.expect("plain data in memory")
    }
}

/// The trading engine.
#[derive(Debug)]
pub struct Engine {
    setup: Setup,
    /// The terms in force, by instrument.
    terms: Vec<Terms>,
    state: State,
    /// At most [`MAX_OUTPUTS`].
    outputs: VecDeque<Output>,
}

/// Why a checkpoint cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// Its bytes are damaged or of another version.
    Unreadable,
    /// It was made with other instruments.
    Instruments,
}

impl core::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the checkpoint is damaged or of another version",
            Self::Instruments => {
                "the instrument table changed while the account holds state for the old one: \
                 restore the old table, or start with an empty data folder"
            }
        })
    }
}

impl Setup {
    /// For replays that only look at the market: no money, no costs, nothing is traded.
    #[must_use]
    pub fn market_only(instruments: Vec<Instrument>) -> Self {
        Self {
            instruments,
            capital: Cash::ZERO,
            limits: Limits::shipped(),
            costs: Vec::new(),
            tactic: Tactic::Take,
            impact: ImpactTerms::default(),
            funding: false,
            synthetic_book: false,
            seed: 0,
        }
    }
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let crosses = crosses(&setup.instruments);
        let cells = setup
            .instruments
            .iter()
            .enumerate()
            .map(|(index, instrument)| {
                let group = crosses
                    .iter()
                    .position(|(base, _)| *base == instrument.base);
                let cross = group.filter(|_| !instrument.base.is_empty());
                Cell::new(id_of(index), instrument, setup.impact, cross)
            });
        let state = State {
            seq: 0,
            now: Time::UNKNOWN,
            cells: cells.collect(),
            ledger: Ledger::new(setup.capital, setup.instruments.len()),
            attribution: alloc::vec![Attribution::default(); setup.instruments.len()],
            tracker: Tracker::new(setup.instruments.len()),
            scorecard: Scorecard::new(DEFAULT_PERIOD_NS, setup.capital, setup.instruments.len()),
            risk: Gate::new(setup.limits.clone(), &setup.instruments, setup.capital),
            orders: Orders::new(),
            paper: paper::Venue::new(setup.seed),
            volumes: Volumes::default(),
            toxicity: Box::default(),
            arbitrage: Monitor::new(&setup.instruments),
            funding: Watch::new(setup.instruments.len()),
            quality: Quality::new(&setup.instruments),
            crosses: crosses.into_iter().map(|(_, cross)| cross).collect(),
        };
        Self::of(setup, state)
    }

    fn of(setup: Setup, state: State) -> Self {
        let mut engine = Self {
            terms: Vec::new(),
            setup,
            state,
            outputs: VecDeque::new(),
        };
        engine.agree();
        engine
    }

    /// Takes terms, limits and effects from the setup.
    fn agree(&mut self) {
        let (setup, state) = (&self.setup, &mut self.state);
        state.risk.relimit(setup.limits.clone(), &setup.instruments);
        for cell in &mut state.cells {
            cell.impact.set_terms(setup.impact);
        }
        let terms = setup.instruments.iter().map(|instrument| {
            let volume = state.volumes.trailing(instrument.venue, state.now);
            terms(costs(setup, instrument.venue), volume)
        });
        self.terms = terms.collect();
    }

    /// A day left the window that fee tiers count.
    fn reprice_all(&mut self, at: Time) {
        for index in 0..self.setup.costs.len() {
            self.reprice(self.setup.costs[index].0, at);
        }
    }

    /// What was traded at a venue may have changed its fees.
    fn reprice(&mut self, venue: Venue, at: Time) {
        let volume = self.state.volumes.trailing(venue, at);
        let tier = fees::tier(&costs(&self.setup, venue).tiers, volume);
        for (terms, instrument) in self.terms.iter_mut().zip(&self.setup.instruments) {
            if instrument.venue == venue {
                terms.maker_fee_ppm = tier.maker_fee_ppm;
                terms.taker_fee_ppm = tier.taker_fee_ppm;
            }
        }
    }

    /// The engine as it was when [`Engine::checkpoint`] was taken.
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are unreadable or were made with other instruments.
    pub fn restore(setup: Setup, checkpoint: &[u8]) -> Result<Self, RestoreError> {
        let (instruments, state): (Vec<Instrument>, State) =
            postcard::from_bytes(checkpoint).map_err(|_| RestoreError::Unreadable)?;
        if instruments != setup.instruments {
            return Err(RestoreError::Instruments);
        }
        Ok(Self::of(setup, state))
    }

    /// The [`Engine::state_hash`] of the state in a checkpoint; `None` when it is unreadable.
    #[must_use]
    pub fn restored_hash(checkpoint: &[u8]) -> Option<[u8; 32]> {
        let (_, state): (Vec<Instrument>, State) = postcard::from_bytes(checkpoint).ok()?;
        Some(state.hash())
    }

    /// The whole state as bytes.
    ///
    /// # Panics
    /// Never: the state is plain data in memory.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        postcard::to_allocvec(&(&self.setup.instruments, &self.state))
            .expect("plain data in memory")
    }

    /// A fingerprint of the whole state: two engines with the same one go on alike.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        self.state.hash()
    }

    /// Takes another setup for the same instruments (a restart with changed limits or fees).
    ///
    /// # Errors
    /// [`RestoreError::Instruments`] when the instruments differ.
    pub fn rebase(&mut self, setup: Setup) -> Result<(), RestoreError> {
        if setup.instruments != self.setup.instruments {
            return Err(RestoreError::Instruments);
        }
        self.setup = setup;
        self.agree();
        Ok(())
    }

    /// What was asked of the shell and never came back is asked again. Call it after recovery.
    pub fn recover(&mut self) {
        self.state.risk.recover();
        for cell in &mut self.state.cells {
            cell.schedule.recover();
        }
    }

    /// Applies one record. Drain [`Engine::poll`] before the next.
    pub fn handle(&mut self, record: &Record) {
        debug_assert!(
            self.outputs.is_empty(),
            "drain the outputs before the next record"
        );
        let (seq, at) = (record.seq, record.at);
        let new_day = self.state.now.day() != at.day();
        self.state.seq = seq;
        self.state.now = at;
        if new_day {
            self.reprice_all(at);
            self.close_day();
        }
        // What was on its way when the last process ended met no book.
        if record.event != Event::Start {
            self.arrive(at);
            self.try_out(at);
        }
        match &record.event {
            Event::Start => self.start(),
            Event::Market(update) => {
                self.market(update, at);
                self.watch(update, at);
            }
            Event::Pulse => self.pulse(seq, at),
            Event::Decision(decision) => self.decide(seq, at, decision),
            Event::Report(report) => self.settle(report, at),
            Event::Funded(settlement) => self.fund(settlement, at),
            Event::Mark(mark) => self.state.risk.marked(mark),
            Event::Restrict(restriction) => self.restrict(seq, at, restriction),
            Event::Operator(command) => self.operate(seq, at, command),
            Event::Health(health) => self.health(health),
        }
        while let Some(report) = self.state.paper.poll(at) {
            self.emit(Output::Commit(Event::Report(report)));
        }
        while let Some(mark) = self.state.toxicity.poll() {
            self.emit(Output::Toxic(mark));
        }
    }

    /// Reports on the data of the day that is over.
    fn close_day(&mut self) {
        for index in 0..self.state.cells.len() {
            if let Some(report) = self.state.quality.close(id_of(index)) {
                self.emit(Output::Quality(report));
            }
        }
    }

    /// What follows from the last record, one at a time.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn emit(&mut self, output: Output) {
        debug_assert!(
            self.outputs.len() < MAX_OUTPUTS,
            "MAX_OUTPUTS covers every record"
        );
        self.outputs.push_back(output);
    }

    /// Requests that reached the venue before now meet the books as they are before this record.
    fn arrive(&mut self, at: Time) {
        if self.state.paper.due().is_none_or(|due| due >= at) {
            return;
        }
        for (cell, instrument) in self.state.cells.iter_mut().zip(&self.setup.instruments) {
            cell.make_up(instrument, self.setup.synthetic_book, at);
        }
        let (cells, setup, terms) = (&self.state.cells, &self.setup, &self.terms);
        self.state.paper.arrive(at, |id| {
            let index = id.index();
            cells[index].market(&setup.instruments[index], &terms[index], at)
        });
    }

    fn start(&mut self) {
        self.state.paper.restart();
        self.state.tracker.restart();
        self.forget_opportunities();
    }

    fn health(&mut self, health: &Health) {
        if let Some(round_trip_ns) = health.round_trip_ns.filter(|_| health.is_new) {
            self.state.paper.measured(health.venue, round_trip_ns);
        }
        self.state.risk.health(
            health.venue,
            &risk::gate::Health {
                clock_offset_ns: -health.clock_offset_ns.unwrap_or(0),
                round_trip_ns: health.round_trip_ns.unwrap_or(0),
                errors: u32::try_from(health.errors).unwrap_or(u32::MAX),
                frames: u32::try_from(health.frames).unwrap_or(u32::MAX),
            },
        );
    }

    fn market(&mut self, update: &Update, at: Time) {
        let id = update.instrument;
        let Some(cell) = self.state.cells.get(id.index()) else {
            return;
        };
        let was_live = cell.book.is_live();
        match &update.body {
            Body::Trade(trade) => self.traded(id, trade, at),
            Body::Gap(_) => self.lost(id, at),
            _ => {}
        }
        let changes = self.changes(update);
        let found = self.update(update, at);
        if let Some(gap) = found {
            self.lost(id, at);
            self.emit(Output::Resync {
                instrument: id,
                gap,
            });
            return;
        }
        if matches!(update.body, Body::Depth(_) | Body::Touch(_)) {
            self.stated(id, was_live, &changes, at);
        }
    }

    /// Book and features take the update, and it is judged. Returns a gap that the book found in itself.
    fn update(&mut self, update: &Update, at: Time) -> Option<Gap> {
        let index = update.instrument.index();
        let cell = &mut self.state.cells[index];
        let instrument = &self.setup.instruments[index];
        let cross = cell.cross.map(|group| &mut self.state.crosses[group]);
        let found = cell.update(update.instrument, update, instrument, cross, at);
        self.state
            .quality
            .update(update, &cell.book, found.as_ref(), at);
        found
    }

    /// A trade hits what rests, before the depth change that it caused.
    fn traded(&mut self, id: InstrumentId, trade: &Trade, at: Time) {
        let index = id.index();
        self.state.cells[index].tape.trade(trade, at);
        if !self.state.paper.watches(id) {
            return;
        }
        let cell = &self.state.cells[index];
        let instrument = &self.setup.instruments[index];
        if let Some(market) = cell.market(instrument, &self.terms[index], at) {
            self.state.paper.trade(id, trade, &market, at);
        }
    }

    /// Continuity was lost: what rests is void or marked, and what was to be learnt is unknown.
    fn lost(&mut self, id: InstrumentId, at: Time) {
        let index = id.index();
        let venue = self.setup.instruments[index].venue;
        self.state.cells[index].tape.gap();
        self.state.toxicity.gap(id, at);
        self.state.paper.gap(id, &self.terms[index], venue, at);
    }

    /// The levels that a depth message states and that our orders wait at, or took from.
    fn changes(&self, update: &Update) -> heapless::Vec<Change, { crate::event::LEVELS_PER_PART }> {
        let id = update.instrument;
        let Body::Depth(depth) = &update.body else {
            return heapless::Vec::new();
        };
        if !self.state.paper.watches(id) {
            return heapless::Vec::new();
        }
        let book = &self.state.cells[id.index()].book;
        let bids = depth.bids().iter().map(|level| (Side::Buy, level));
        let asks = depth.asks().iter().map(|level| (Side::Sell, level));
        bids.chain(asks)
            .map(|(side, level)| Change {
                side,
                price: level.price,
                prev_qty: book.displayed(side, level.price),
                new_qty: level.qty,
                prev_best: None,
                new_best: None,
            })
            .collect()
    }

    /// The book as a whole is known again after a message: what rests learns of its levels, and of
    /// the other side's best.
    fn stated(&mut self, id: InstrumentId, was_live: bool, changes: &[Change], at: Time) {
        let index = id.index();
        let instrument = &self.setup.instruments[index];
        let terms = &self.terms[index];
        if was_live {
            for change in changes {
                self.state
                    .paper
                    .level(id, change, &terms.rules, instrument, at);
            }
        }
        let cell = &mut self.state.cells[index];
        if !cell.book.is_live() {
            return;
        }
        if let Some(double_mid) = cell.book.double_mid() {
            cell.tape.mid(double_mid, at);
            self.state.toxicity.mid(id, double_mid, at);
        }
        if !self.state.paper.watches(id) {
            return;
        }
        if let Some(market) = self.state.cells[index].market(instrument, terms, at) {
            if !was_live {
                self.state.paper.resync(id, &market, at);
            }
            self.state.paper.touched(id, &market, at);
        }
    }

    fn decide(&mut self, seq: u64, at: Time, decision: &Decision) {
        let id = decision.instrument;
        let Some(cell) = self.state.cells.get_mut(id.index()) else {
            return;
        };
        cell.decide(decision.action);
        let verdict = self.order(seq, at, id, &decision.action);
        self.emit(Output::Verdict {
            decision: *decision,
            verdict,
        });
    }

    /// Account value with longs marked at the bid and shorts at the ask, at their last live prices
    /// where a book is stale.
    #[must_use]
    pub fn equity(&self) -> Cash {
        self.values()
            .fold(self.state.ledger.cash(), |sum, value| sum + value)
    }

    /// Sum of the absolute values of all positions.
    #[must_use]
    pub fn exposure(&self) -> Cash {
        self.values()
            .fold(Cash::ZERO, |sum, value| sum + Cash(value.0.abs()))
    }

    fn values(&self) -> impl Iterator<Item = Cash> + '_ {
        (0..self.state.cells.len()).map(|index| self.value_at(index))
    }

    /// Longs at the bid and shorts at the ask, at their last live prices where a book is stale.
    fn value_at(&self, index: usize) -> Cash {
        let position = self.state.ledger.position(id_of(index));
        match self.state.cells[index].marks() {
            _ if position.qty.0 == 0 => Cash::ZERO,
            Some((bid, ask)) => {
                let mark = if position.qty.0 > 0 { bid } else { ask };
                Ledger::value(position, mark, &self.setup.instruments[index])
            }
            None => position.cost,
        }
    }

    /// The window that an ask is about.
    #[must_use]
    pub fn window(&self, instrument: InstrumentId) -> &Window {
        self.state.cells[instrument.index()].window()
    }

    /// The features of an instrument at the newest record that concerned it or every instrument;
    /// `None` while its book yields no price.
    #[must_use]
    pub fn table(&self, instrument: InstrumentId) -> Option<Table> {
        let index = instrument.index();
        let cell = self.state.cells.get(index)?;
        let cross = cell.cross.map(|group| &self.state.crosses[group]);
        cell.table(&self.setup.instruments[index], cross, self.state.now)
    }

    /// What [`Engine::table`] will say at a later instant, if nothing happens until then. Seconds and
    /// bars are closed in a copy, as a pulse closes them, so that whoever looks changes nothing; the
    /// copy costs memory and time, which reports have. What pulses estimate besides (who leads among
    /// venues) stays as the last one left it.
    #[must_use]
    pub fn table_at(&self, instrument: InstrumentId, at: Time) -> Option<Table> {
        let index = instrument.index();
        let cell = self.state.cells.get(index)?;
        let mut cross = cell.cross.map(|group| self.state.crosses[group].clone());
        let at = at.max(self.state.now);
        if let Some(cross) = &mut cross {
            cross.advance(at);
        }
        cell.table_at(&self.setup.instruments[index], cross.as_ref(), at)
    }

    /// What is known of each instrument, by id.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.state.cells
    }

    /// The setup.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The account.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.state.ledger
    }

    /// The risk gate.
    #[must_use]
    pub const fn risk(&self) -> &Gate {
        &self.state.risk
    }

    /// The open orders, as far as is known here.
    #[must_use]
    pub const fn orders(&self) -> &Orders {
        &self.state.orders
    }

    /// The paper venue.
    #[must_use]
    pub const fn paper(&self) -> &paper::Venue {
        &self.state.paper
    }

    /// Where each instrument's money went, by id.
    #[must_use]
    pub fn attribution(&self) -> &[Attribution] {
        &self.state.attribution
    }

    /// Returns, round trips and turnover.
    #[must_use]
    pub const fn scorecard(&self) -> &Scorecard {
        &self.state.scorecard
    }

    /// What a position is worth at its conservative mark.
    #[must_use]
    pub fn value(&self, id: InstrumentId) -> Cash {
        self.value_at(id.index())
    }

    /// Positions over time.
    #[must_use]
    pub const fn tracker(&self) -> &Tracker {
        &self.state.tracker
    }

    /// The marks of maker fills.
    #[must_use]
    pub fn toxicity(&self) -> &Toxicity {
        &self.state.toxicity
    }

    /// How good each instrument's data are.
    #[must_use]
    pub const fn quality(&self) -> &Quality {
        &self.state.quality
    }

    /// The terms in force, by instrument.
    #[must_use]
    pub fn terms(&self) -> &[Terms] {
        &self.terms
    }

    /// What was traded at each venue, for its fee schedule.
    #[must_use]
    pub const fn volumes(&self) -> &Volumes {
        &self.state.volumes
    }

    /// The `seq` of the newest record applied; 0 before the first.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.state.seq
    }

    /// The time of the newest record applied.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.state.now
    }
}

/// Groups the instruments that share a base asset.
fn crosses(instruments: &[Instrument]) -> Vec<(heapless::String<12>, Cross)> {
    let mut groups: Vec<(heapless::String<12>, Cross)> = Vec::new();
    for (index, instrument) in (0_u16..).zip(instruments) {
        let id = InstrumentId(index);
        if let Some((_, cross)) = groups.iter_mut().find(|(base, _)| *base == instrument.base) {
            cross.list(id, instrument);
        } else {
            let mut cross = Cross::default();
            cross.list(id, instrument);
            groups.push((instrument.base.clone(), cross));
        }
    }
    groups
}

fn costs(setup: &Setup, venue: Venue) -> &Costs {
    let named = setup.costs.iter().find(|(named, _)| *named == venue);
    named.map_or(NO_COSTS, |(_, costs)| costs)
}

fn terms(costs: &Costs, volume: Cash) -> Terms {
    let tier = fees::tier(&costs.tiers, volume);
    Terms {
        maker_fee_ppm: tier.maker_fee_ppm,
        taker_fee_ppm: tier.taker_fee_ppm,
        latency: costs.latency.clone(),
        rules: costs.rules,
    }
}

/// The id of a place in the instrument table.
fn id_of(index: usize) -> InstrumentId {
    InstrumentId(u16::try_from(index).unwrap_or(u16::MAX))
}

/// Hashes what is serialised, without keeping it.
struct Fingerprint(Sha256);

impl postcard::ser_flavors::Flavor for Fingerprint {
    type Output = [u8; 32];

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.update([byte]);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.update(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self::Output> {
        Ok(self.0.finalize().into())
    }
}
