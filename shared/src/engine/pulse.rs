//! What happens at every pulse: steps and questions, risk's look at the account, what is due.

use super::{Engine, Output, id_of};
use crate::action::Action;
use crate::event::{Event, Side};
use crate::features::Vector;
use crate::instrument::{InstrumentId, MAX_INSTRUMENTS};
use crate::num::Cash;
use crate::risk::denial::Denial;
use crate::risk::gate::{Account, Approved, Held, Observation, Row, Situation};
use crate::time::Time;

/// What is held of every instrument, by id.
pub(super) type Holdings = heapless::Vec<Held, MAX_INSTRUMENTS>;

impl Engine {
    pub(super) fn pulse(&mut self, seq: u64, at: Time) {
        for (cell, instrument) in self.state.cells.iter_mut().zip(&self.setup.instruments) {
            cell.advance(instrument, at);
        }
        for cross in &mut self.state.crosses {
            cross.advance(at);
            cross.estimate(at);
        }
        for index in 0..self.state.cells.len() {
            self.step(id_of(index), seq, at);
        }
        for index in 0..self.state.cells.len() {
            if let Some(timeframe) = self.state.cells[index].wants_history(at) {
                self.emit(Output::History {
                    instrument: id_of(index),
                    timeframe,
                });
            }
        }
        let books = self.state.cells.iter().map(|cell| &cell.book);
        self.state.quality.pulse(books, at);
        self.state.toxicity.advance(at);
        self.state.tracker.advance(at);
        self.observe(at);
        self.recompare(at);
        self.tend(at);
        let held = self.holdings();
        let acts = self.state.risk.pulse(&self.account(&held, at));
        for act in &acts {
            self.act(seq, at, act);
        }
        self.settlements(at);
        self.reconcile(at);
        self.score(at);
    }

    /// Marks the account and every instrument for the record of performance.
    fn score(&mut self, at: Time) {
        let (equity, exposure) = (self.equity(), self.exposure());
        self.state.scorecard.mark(at, equity, exposure);
        for index in 0..self.state.cells.len() {
            let value = self.value(id_of(index));
            let earned = self.state.attribution[index].lines(value).sum();
            let exposure = Cash(value.0.abs());
            let marked = self
                .state
                .scorecard
                .mark_instrument(id_of(index), at, earned, exposure);
            debug_assert!(marked.is_ok(), "{marked:?}");
        }
    }

    /// Closes an instrument's step, and asks the policy when its book is live.
    fn step(&mut self, instrument: InstrumentId, seq: u64, at: Time) {
        let state = self.table(instrument).map(|table| Vector::select(&table));
        let (step, live) = self.state.cells[instrument.index()].step(instrument, state, at);
        self.emit(Output::Step(step));
        if live {
            self.emit(Output::Ask {
                instrument,
                asked: seq,
            });
        }
    }

    /// Shows the market to the risk gate.
    fn observe(&mut self, at: Time) {
        for index in 0..self.state.cells.len() {
            let (cell, id) = (&mut self.state.cells[index], id_of(index));
            let instrument = &self.setup.instruments[index];
            cell.make_up(instrument, self.setup.synthetic_book, at);
            if let Some(funding) = &cell.funding
                && let Some(rate) = funding.rate
            {
                self.state.risk.funding(id, rate, funding.settles);
            }
            let Some((bid, ask)) = cell.touch() else {
                continue;
            };
            let seen = Observation {
                at,
                bid,
                ask,
                bid_depth: cell.near(Side::Buy, instrument),
                ask_depth: cell.near(Side::Sell, instrument),
                updated: cell.received,
                lag_ns: cell.lag_ns,
            };
            self.state.risk.observe(id, &seen);
        }
    }

    /// Funding that is due is made durable, then paid.
    fn settlements(&mut self, at: Time) {
        if !self.setup.funding {
            return;
        }
        for index in 0..self.state.cells.len() {
            let position = self.state.ledger.position(id_of(index)).qty;
            let schedule = &mut self.state.cells[index].schedule;
            let (due, missed) = (schedule.due(at, position), schedule.poll_missed());
            if let Some(settlement) = due {
                self.emit(Output::Commit(Event::Funded(settlement)));
            }
            if let Some(missed) = missed {
                self.emit(Output::Missed(missed));
            }
        }
    }

    /// Judges an action.
    pub(super) fn judge(
        &mut self,
        id: InstrumentId,
        action: &Action,
        at: Time,
    ) -> Result<Approved, Denial> {
        let held = self.holdings();
        let situation = self.situation(id, &held, at);
        self.state.risk.judge(action, &situation)
    }

    /// What the gate must know to judge an order.
    pub(super) fn situation<'a>(
        &self,
        id: InstrumentId,
        held: &'a Holdings,
        at: Time,
    ) -> Situation<'a> {
        Situation {
            instrument: id,
            touch: self.state.cells[id.index()].touch(),
            in_flight: self.state.orders.of(id).next().is_some(),
            account: self.account(held, at),
        }
    }

    pub(super) fn holdings(&self) -> Holdings {
        let cells = self.state.cells.iter().enumerate();
        cells
            .map(|(index, cell)| {
                let id = id_of(index);
                let position = self.state.ledger.position(id);
                let (buying, selling) = self.state.orders.pending(id);
                let (bid, ask) = cell.marks().unwrap_or_default();
                Held {
                    qty: position.qty,
                    cost: position.cost,
                    bid,
                    ask,
                    buying,
                    selling,
                }
            })
            .collect()
    }

    fn account<'a>(&self, held: &'a Holdings, at: Time) -> Account<'a> {
        Account {
            at,
            equity: self.equity(),
            cash: self.state.ledger.cash(),
            held,
        }
    }

    /// Every limit with its present value.
    #[must_use]
    pub fn limits(&self) -> alloc::vec::Vec<Row> {
        let held = self.holdings();
        self.state.risk.table(&self.account(&held, self.state.now))
    }
}
