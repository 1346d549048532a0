//! The fold: state = fold(engine, journal).
//!
//! [`Engine::handle`] takes one [`Record`] and changes the state; [`Engine::poll`] then gives out
//! what follows from it, until there is no more. Mutate, then drain: the same loop in live trading,
//! replay, recovery and tests, none of which the engine can tell apart. What comes back from the
//! outside (an answer, a report, a mark that is now durable) comes back as a record.

use alloc::vec::Vec;

use heapless::Deque;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::Action;
use crate::book::{Book, State as BookState};
use crate::event::{
    Body, Decision, Event, Funding, Gap, HaltCause, Mark, Operator, Record, Side, Update,
};
use crate::features::cross::Cross;
use crate::features::{Features, Vector};
use crate::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS, Venue};
use crate::ledger::{Ledger, closing_side};
use crate::num::{Cash, Price, Qty};
use crate::paper::{Order, OrderId, Outcome, Paper, Report, Terms};
use crate::risk::{Denial, Limits, Risk, Situation, Watch};
use crate::time::Time;
use crate::trajectory::MarketStep;
use crate::window::{Step, Window};

/// Outputs that one record can give rise to: an ask, a step and a verdict per instrument, and few
/// more. The queue is drained after every record, so its overflow would be a defect.
const MAX_OUTPUTS: usize = 4 * MAX_INSTRUMENTS;

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
    pub terms: Vec<(Venue, Terms)>,
    /// Seed of everything sampled.
    pub seed: u64,
}

/// The terms of a venue that the setup does not name: free and immediate, for replays that only
/// look at the market.
const NO_TERMS: Terms = Terms {
    taker_fee_ppm: 0,
    entry_ns: (0, 0),
    response_ns: (0, 0),
};

/// What follows from a record.
#[derive(Clone, Debug, PartialEq)]
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
    /// The execution venue answered; make it durable, then return it as [`Event::Report`].
    Report(Report),
    /// A new high-water mark; make it durable, then return it as [`Event::Mark`].
    Mark(Mark),
    /// A halt; make it durable, then return it as [`Operator::Halt`].
    Halt(HaltCause),
    /// A book found itself wrong; its venue must send a snapshot.
    Resync {
        /// Whose.
        instrument: InstrumentId,
        /// What was found.
        gap: Gap,
    },
    /// A market step for the trainer.
    Step(MarketStep),
}

/// What the engine knows of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Its book.
    pub book: Book,
    /// Its features' memory.
    features: Features,
    /// Its state vector after the newest market event; `None` while the book yields no price.
    pub vector: Option<Vector>,
    /// The pulses that a policy sees.
    window: Window,
    /// Newest funding.
    pub funding: Option<Funding>,
    /// Bid and ask when the book was last live, for marking.
    marks: Option<(Price, Price)>,
    /// A gap came since the last pulse.
    interrupted: bool,
    /// Trades seen.
    pub trades: u64,
    /// Newest venue time.
    pub venue_time: Time,
    /// Which cross-venue group it belongs to.
    cross: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    seq: u64,
    now: Time,
    cells: Vec<Cell>,
    crosses: Vec<Cross>,
    ledger: Ledger,
    risk: Risk,
    paper: Paper,
    /// Every position is to be closed, again and again until it is.
    flattening: bool,
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
    terms: Vec<Terms>,
    state: State,
    outputs: Deque<Output, MAX_OUTPUTS>,
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

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let crosses = crosses(&setup.instruments);
        let cells = (0_u16..)
            .zip(&setup.instruments)
            .map(|(index, instrument)| {
                let id = InstrumentId(index);
                let group = crosses
                    .iter()
                    .position(|(base, _)| *base == instrument.base);
                Cell::new(id, group.filter(|_| !instrument.base.is_empty()))
            });
        let state = State {
            seq: 0,
            now: Time::UNKNOWN,
            cells: cells.collect(),
            ledger: Ledger::new(setup.capital, setup.instruments.len()),
            risk: Risk::new(setup.limits, setup.capital),
            paper: Paper::new(setup.seed),
            flattening: false,
            crosses: crosses.into_iter().map(|(_, cross)| cross).collect(),
        };
        Self {
            terms: terms(&setup),
            setup,
            state,
            outputs: Deque::new(),
        }
    }

    /// The engine as it was when [`Engine::checkpoint`] was taken.
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are unreadable or were made with other instruments.
    pub fn restore(setup: Setup, checkpoint: &[u8]) -> Result<Self, RestoreError> {
        let (instruments, mut state): (Vec<Instrument>, State) =
            postcard::from_bytes(checkpoint).map_err(|_| RestoreError::Unreadable)?;
        if instruments != setup.instruments {
            return Err(RestoreError::Instruments);
        }
        state.risk.relimit(setup.limits);
        Ok(Self {
            terms: terms(&setup),
            setup,
            state,
            outputs: Deque::new(),
        })
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
        self.state.risk.relimit(setup.limits);
        self.terms = terms(&setup);
        self.setup = setup;
        Ok(())
    }

    /// A start: asks again for the halt that was asked for and never came back, and gives out no
    /// answer to what is on its way, which the caller declares void.
    pub fn recover(&mut self) {
        self.state.risk.recover();
        self.state.paper.void();
    }

    /// Applies one record. Drain [`Engine::poll`] before the next.
    pub fn handle(&mut self, record: &Record) {
        debug_assert!(
            self.outputs.is_empty(),
            "drain the outputs before the next record"
        );
        let at = record.at;
        self.state.seq = record.seq;
        self.state.now = at;
        self.advance(at);
        match &record.event {
            Event::Market(update) => self.market(update, at),
            Event::Pulse => self.pulse(record.seq, at),
            Event::Decision(decision) => self.decide(record.seq, at, decision),
            Event::Report(report) => self.settle(report),
            Event::Mark(mark) => self.state.risk.marked(mark.high_water),
            Event::Operator(command) => self.operate(record.seq, at, *command),
        }
        while let Some(report) = self.state.paper.poll(at) {
            self.emit(Output::Report(report));
        }
    }

    /// What follows from the last record, one at a time.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn emit(&mut self, output: Output) {
        let pushed = self.outputs.push_back(output);
        debug_assert!(pushed.is_ok(), "MAX_OUTPUTS covers every record");
    }

    /// Orders that have arrived by now meet the books as they are before this record.
    fn advance(&mut self, at: Time) {
        let (cells, setup, terms) = (&self.state.cells, &self.setup, &self.terms);
        self.state.paper.advance(at, |id| {
            (
                &cells[id.index()].book,
                &setup.instruments[id.index()],
                &terms[id.index()],
            )
        });
    }

    fn market(&mut self, update: &Update, at: Time) {
        let id = update.instrument;
        let (Some(cell), Some(instrument)) = (
            self.state.cells.get_mut(id.index()),
            self.setup.instruments.get(id.index()),
        ) else {
            return;
        };
        let cross = cell.cross.map(|group| &mut self.state.crosses[group]);
        let gap = cell.market(id, update, instrument, cross, at);
        if let Some(gap) = gap {
            self.emit(Output::Resync {
                instrument: id,
                gap,
            });
        }
    }

    fn pulse(&mut self, seq: u64, at: Time) {
        for index in 0..self.state.cells.len() {
            let instrument = InstrumentId(u16::try_from(index).unwrap_or(u16::MAX));
            let cell = &mut self.state.cells[index];
            let (step, live) = cell.step(instrument, at);
            self.emit(Output::Step(step));
            if live {
                self.emit(Output::Ask {
                    instrument,
                    asked: seq,
                });
            }
        }
        if self.state.flattening {
            self.flatten(seq, at);
        }
        match self.state.risk.watch(self.equity()) {
            Some(Watch::Mark(high_water)) => self.emit(Output::Mark(Mark { high_water })),
            Some(Watch::Halt(cause)) => self.emit(Output::Halt(cause)),
            None => {}
        }
    }

    fn decide(&mut self, seq: u64, at: Time, decision: &Decision) {
        let id = decision.instrument;
        let Some(cell) = self.state.cells.get_mut(id.index()) else {
            return;
        };
        cell.window.decide(decision.action);
        let verdict = self.order(seq, at, id, &decision.action);
        self.emit(Output::Verdict {
            decision: *decision,
            verdict,
        });
    }

    /// Judges an action and sends the order that passes.
    fn order(
        &mut self,
        seq: u64,
        at: Time,
        id: InstrumentId,
        action: &Action,
    ) -> Result<Order, Denial> {
        let cell = &self.state.cells[id.index()];
        let situation = Situation {
            instrument: &self.setup.instruments[id.index()],
            position: self.state.ledger.position(id),
            touch: cell.touch(),
            equity: self.equity(),
            exposure: self.exposure(),
            in_flight: self.state.paper.in_flight(id),
        };
        let approved = self.state.risk.judge(action, &situation)?;
        Ok(self.submit(seq, at, id, approved.side, approved.qty))
    }

    fn submit(&mut self, seq: u64, at: Time, id: InstrumentId, side: Side, qty: Qty) -> Order {
        let sent_double_mid = self.state.cells[id.index()].book.double_mid().unwrap_or(0);
        let order = Order {
            id: OrderId::of(seq, id),
            instrument: id,
            side,
            qty,
            sent: at,
            sent_double_mid,
        };
        if let Err(report) = self.state.paper.submit(order, &self.terms[id.index()]) {
            self.emit(Output::Report(report));
        }
        order
    }

    fn settle(&mut self, report: &Report) {
        let counts = self.state.paper.done(report.order);
        if let (true, Outcome::Filled(fill)) = (counts, &report.outcome) {
            self.state.ledger.fill(report.instrument, fill);
        }
    }

    fn operate(&mut self, seq: u64, at: Time, command: Operator) {
        match command {
            Operator::Halt(cause) => self.state.risk.halt(cause, at),
            Operator::Resume => {
                self.state.flattening = false;
                let equity = self.equity();
                self.state.risk.resume(equity);
            }
            Operator::Flatten(cause) => {
                self.state.risk.halt(cause, at);
                self.state.flattening = true;
                self.flatten(seq, at);
            }
        }
    }

    /// Sends closing orders for what is open and not already on its way out. A stale book cannot
    /// take one; the next pulse tries again.
    fn flatten(&mut self, seq: u64, at: Time) {
        for index in 0..self.state.cells.len() {
            let id = InstrumentId(u16::try_from(index).unwrap_or(u16::MAX));
            let position = *self.state.ledger.position(id);
            let live = self.state.cells[index].book.is_live();
            if position.qty.0 != 0 && live && !self.state.paper.in_flight(id) {
                self.submit(
                    seq,
                    at,
                    id,
                    closing_side(&position),
                    Qty(position.qty.0.abs()),
                );
            }
        }
        self.state.flattening = self.state.ledger.positions().iter().any(|p| p.qty.0 != 0);
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
        let cells = self.state.cells.iter().zip(&self.setup.instruments);
        cells
            .zip(self.state.ledger.positions())
            .filter(|(_, position)| position.qty.0 != 0)
            .map(|((cell, instrument), position)| match cell.marks {
                Some((bid, ask)) => {
                    let mark = if position.qty.0 > 0 { bid } else { ask };
                    Ledger::value(position, mark, instrument)
                }
                None => position.cost,
            })
    }

    /// The window that an ask is about.
    #[must_use]
    pub fn window(&self, instrument: InstrumentId) -> &Window {
        &self.state.cells[instrument.index()].window
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
    pub const fn risk(&self) -> &Risk {
        &self.state.risk
    }

    /// The orders on their way.
    #[must_use]
    pub const fn paper(&self) -> &Paper {
        &self.state.paper
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

impl Cell {
    const fn new(id: InstrumentId, cross: Option<usize>) -> Self {
        Self {
            book: Book::new(),
            features: Features::new(),
            vector: None,
            window: Window::new(id),
            funding: None,
            marks: None,
            interrupted: false,
            trades: 0,
            venue_time: Time::UNKNOWN,
            cross,
        }
    }

    /// Best bid and ask while the book is live.
    #[must_use]
    pub fn touch(&self) -> Option<(Price, Price)> {
        Some((
            self.book.best(Side::Buy)?.price,
            self.book.best(Side::Sell)?.price,
        ))
    }

    /// Bid and ask when the book was last live.
    #[must_use]
    pub const fn marks(&self) -> Option<(Price, Price)> {
        self.marks
    }

    /// Book, then features. Returns a gap that the book found in itself.
    fn market(
        &mut self,
        id: InstrumentId,
        update: &Update,
        instrument: &Instrument,
        cross: Option<&mut Cross>,
        at: Time,
    ) -> Option<Gap> {
        let found = match &update.body {
            Body::Depth(depth) => self.book.depth(depth, instrument, at),
            Body::Touch(touch) => self.book.touch(touch, at),
            Body::Gap(gap) => {
                self.book.invalidate(*gap, at);
                None
            }
            Body::Trade(_) => {
                self.trades += 1;
                None
            }
            Body::Funding(funding) => {
                self.funding = Some(*funding);
                None
            }
        };
        if found.is_some() {
            self.features.interrupt(at);
        }
        self.interrupted |= found.is_some() || matches!(update.body, Body::Gap(_));
        self.venue_time = self.venue_time.max(update.venue_time);
        self.features.update(update, &self.book, at);
        self.marks = self.touch().or(self.marks);
        if self.book.is_partial() {
            return found;
        }
        let cross = cross.map(|cross| {
            cross.mid(id, self.book.double_mid(), instrument);
            &*cross
        });
        self.vector = self.features.vector(&self.book, instrument, cross, at);
        found
    }

    /// Closes the step that ends with this pulse; tells whether the policy may be asked.
    fn step(&mut self, instrument: InstrumentId, at: Time) -> (MarketStep, bool) {
        let live = self.vector.is_some() && self.book.is_live();
        let masked = !live || self.interrupted;
        let state = self.vector.filter(|_| live).unwrap_or_default();
        self.interrupted = false;
        self.window.push(Step {
            at,
            state,
            action: Action::HOLD,
            masked,
        });
        let (bid, ask) = (self.book.best(Side::Buy), self.book.best(Side::Sell));
        (
            MarketStep {
                instrument,
                at,
                state,
                bid,
                ask,
                masked,
            },
            live,
        )
    }

    /// Whether its book is stale, and why since when.
    #[must_use]
    pub const fn book_state(&self) -> BookState {
        self.book.state()
    }
}

/// Groups the instruments that share a base asset.
fn crosses(instruments: &[Instrument]) -> Vec<(heapless::String<12>, Cross)> {
    let mut groups: Vec<(heapless::String<12>, Cross)> = Vec::new();
    for (index, instrument) in (0_u16..).zip(instruments) {
        let id = InstrumentId(index);
        if let Some((_, cross)) = groups.iter_mut().find(|(base, _)| *base == instrument.base) {
            cross.list(id);
        } else {
            let mut cross = Cross::default();
            cross.list(id);
            groups.push((instrument.base.clone(), cross));
        }
    }
    groups
}

fn terms(setup: &Setup) -> Vec<Terms> {
    let of = |venue: Venue| setup.terms.iter().find(|(named, _)| *named == venue);
    setup
        .instruments
        .iter()
        .map(|i| of(i.venue).map_or(NO_TERMS, |(_, terms)| *terms))
        .collect()
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
