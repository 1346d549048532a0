//! The engine's way from a decision to an order, and from a report to the books.

use super::{Engine, Output, id_of};
use crate::action::Action;
use crate::event::{Event, Operator, Side};
use crate::execution::Tend;
use crate::instrument::InstrumentId;
use crate::ledger::closing_side;
use crate::num::{Price, Qty};
use crate::order::{
    Asked, Fill, Heard, Kind, Life, MAX_ORDERS, Order, OrderId, Outcome, Reason, Report, Request,
    TimeInForce,
};
use crate::paper::funding::Settlement;
use crate::paper::toxicity::MakerFill;
use crate::paper::venue::Statement;
use crate::positions::Strategy;
use crate::risk::denial::Denial;
use crate::risk::gate::Act;
use crate::risk::state::{Cause, Level, Restriction, Scope};
use crate::time::Time;

impl Engine {
    /// Judges an action and sends the order that passes.
    pub(super) fn order(
        &mut self,
        seq: u64,
        at: Time,
        id: InstrumentId,
        action: &Action,
    ) -> Result<Order, Denial> {
        self.reconsider(at, id, action);
        let approved = self.judge(id, action, at)?;
        let touch = self.state.cells[id.index()]
            .touch()
            .ok_or(Denial::StaleBook)?;
        let (kind, time_in_force) = self.setup.tactic.open(approved.side, touch);
        self.submit(
            seq,
            at,
            id,
            Intent {
                side: approved.side,
                qty: approved.qty,
                kind,
                time_in_force,
                reason: Reason::Decision,
            },
        )
        .ok_or(Denial::InFlight)
    }

    /// A decision against an order that still waits ends it.
    fn reconsider(&mut self, at: Time, id: InstrumentId, action: &Action) {
        let Some(wanted) = action.choice.side() else {
            return;
        };
        let against = self
            .state
            .orders
            .of(id)
            .find(|life| matches!(life, Life::Resting(_)) && life.order().side != wanted);
        if let Some(order) = against.map(|life| life.order().id) {
            self.cancel(at, id, order);
        }
    }

    pub(super) fn submit(
        &mut self,
        seq: u64,
        at: Time,
        id: InstrumentId,
        intent: Intent,
    ) -> Option<Order> {
        let order = Order {
            id: OrderId::of(seq, id),
            instrument: id,
            side: intent.side,
            qty: intent.qty,
            kind: intent.kind,
            time_in_force: intent.time_in_force,
            sent: at,
            sent_double_mid: self.state.cells[id.index()].book.double_mid().unwrap_or(0),
            reason: intent.reason,
        };
        self.state.orders.send(order).ok()?;
        self.request(at, Request::New(order));
        Some(order)
    }

    fn request(&mut self, at: Time, request: Request) {
        let index = request.instrument().index();
        let venue = self.setup.instruments[index].venue;
        let sent = self
            .state
            .paper
            .submit(request, at, &self.terms[index], venue);
        match sent {
            Ok(()) => {}
            Err(report) if report.number > 0 => {
                self.emit(Output::Commit(Event::Report(report)));
            }
            Err(report) => self.state.orders.unask(report.order),
        }
    }

    fn cancel(&mut self, at: Time, instrument: InstrumentId, order: OrderId) {
        if self.state.orders.ask(order, Asked::Cancel).is_ok() {
            self.request(at, Request::Cancel { order, instrument });
        }
    }

    /// Asks to end the resting orders that are meant.
    pub(super) fn cancel_where(&mut self, at: Time, meant: impl Fn(&Self, &Life) -> bool) {
        let resting: heapless::Vec<_, MAX_ORDERS> = self
            .state
            .orders
            .open()
            .filter(|life| matches!(life, Life::Resting(_)) && meant(self, life))
            .map(|life| (life.order().instrument, life.order().id))
            .collect();
        for (id, order) in resting {
            self.cancel(at, id, order);
        }
    }

    /// Moves resting orders with the touch, and ends those that waited too long or may no more.
    pub(super) fn tend(&mut self, at: Time) {
        let tactic = self.setup.tactic;
        let open: heapless::Vec<Life, MAX_ORDERS> = self.state.orders.open().copied().collect();
        for life in &open {
            let Order { id, instrument, .. } = *life.order();
            let touch = self.state.cells[instrument.index()].touch();
            let wanted = self.may_rest(life, at);
            match tactic.tend(life, touch, wanted, at) {
                Tend::Leave => {}
                Tend::Move(price) if self.may_move(life, price, at) => {
                    if self.state.orders.ask(id, Asked::Replace).is_ok() {
                        let order = id;
                        let moved = Request::Move {
                            order,
                            instrument,
                            price,
                        };
                        self.request(at, moved);
                    }
                }
                Tend::Cancel | Tend::Move(_) => self.cancel(at, instrument, id),
            }
        }
    }

    /// Whether an order may go on resting: always while trading, and otherwise while it only reduces;
    /// never under the kill switch.
    fn may_rest(&self, life: &Life, at: Time) -> bool {
        let (risk, id) = (&self.state.risk, life.order().instrument);
        !risk.killed(id, at) && (risk.level(id, at) == Level::Active || self.reduces(life))
    }

    /// Whether all that is open of an order makes the position smaller.
    fn reduces(&self, life: &Life) -> bool {
        let held = self.state.ledger.position(life.order().instrument).qty;
        held.0 * life.order().side.sign() < 0 && life.left().0 <= held.0.abs()
    }

    /// Whether an order, sent now at this price in place of itself, would pass: since it was judged the
    /// market has moved, and with it what everything is worth.
    fn may_move(&self, life: &Life, price: Price, at: Time) -> bool {
        let Order {
            instrument, side, ..
        } = *life.order();
        let mut held = self.holdings();
        if let Some(held) = held.get_mut(instrument.index()) {
            let own = match side {
                Side::Buy => &mut held.buying,
                Side::Sell => &mut held.selling,
            };
            own.0 -= life.left().0;
        }
        let situation = self.situation(instrument, &held, at);
        self.state.risk.admits(side, life.left(), price, &situation)
    }

    /// Does what the risk gate asks for.
    pub(super) fn act(&mut self, seq: u64, at: Time, act: &Act) {
        match *act {
            Act::Mark(mark) => self.emit(Output::Commit(Event::Mark(mark))),
            Act::Restrict(restriction) => {
                self.emit(Output::Commit(Event::Restrict(restriction)));
            }
            Act::Close {
                instrument,
                side,
                qty,
                reason,
                cancel,
            } => {
                if cancel {
                    self.cancel_where(at, |_, life| {
                        life.order().instrument == instrument && life.order().side == side
                    });
                }
                self.close(seq, at, instrument, side, qty, reason);
            }
            Act::Cancel(scope) => self.cancel_where(at, |engine, life| {
                let id = life.order().instrument;
                let venue = engine.setup.instruments[id.index()].venue;
                let stays = engine.reduces(life) && !engine.state.risk.killed(id, at);
                scope.covers(id, venue) && !stays
            }),
            Act::Flatten { scope, .. } => self.flatten(seq, at, scope),
        }
    }

    /// Ends what rests and takes the market for what is held. A book that yields no price cannot take
    /// an order; the next pulse tries again.
    fn flatten(&mut self, seq: u64, at: Time, scope: Scope) {
        for index in 0..self.state.cells.len() {
            let id = id_of(index);
            if !scope.covers(id, self.setup.instruments[index].venue) {
                continue;
            }
            self.cancel_where(at, |_, life| life.order().instrument == id);
            let position = *self.state.ledger.position(id);
            let side = closing_side(&position);
            let (buying, selling) = self.state.orders.pending(id);
            let closing = match side {
                Side::Buy => buying,
                Side::Sell => selling,
            };
            let qty = Qty(position.qty.0.abs() - closing.0);
            self.close(seq, at, id, side, qty, Reason::Flatten);
        }
    }

    fn close(
        &mut self,
        seq: u64,
        at: Time,
        id: InstrumentId,
        side: Side,
        qty: Qty,
        reason: Reason,
    ) {
        if qty.0 > 0 && self.state.cells[id.index()].takes_orders() {
            let intent = Intent {
                side,
                qty,
                kind: Kind::Market,
                time_in_force: TimeInForce::Ioc,
                reason,
            };
            self.submit(seq, at, id, intent);
        }
    }

    /// A report came back, durable: the order's life goes on, and what traded is booked.
    pub(super) fn settle(&mut self, report: &Report, at: Time) {
        let reason = self.reason_of(report);
        match self.state.orders.hear(report) {
            Heard::Repeated => {
                self.state.paper.heard(report);
                return;
            }
            Heard::Impossible => {
                self.state.paper.heard(report);
                self.doubt(report.instrument, at);
                return;
            }
            // What counts here counts there.
            Heard::News(_) | Heard::Orphan => self.state.paper.heard_news(report),
        }
        if let Outcome::Filled(fill) = &report.outcome {
            self.book_fill(report, fill, reason, at);
        }
    }

    fn reason_of(&self, report: &Report) -> Reason {
        let life = self
            .state
            .orders
            .open()
            .find(|life| life.order().id == report.order);
        life.map_or(Reason::Decision, |life| life.order().reason)
    }

    /// Books a fill: the account, where the money went, what was closed, and what it does to the
    /// market as we see it.
    fn book_fill(&mut self, report: &Report, fill: &Fill, reason: Reason, at: Time) {
        let id = report.instrument;
        let index = id.index();
        let venue = self.setup.instruments[index].venue;
        self.emit(Output::Booked {
            report: *report,
            fill: *fill,
            reason,
        });
        self.state.ledger.fill(id, fill);
        let explained = self.state.attribution[index].add(reason, fill);
        debug_assert!(explained.is_ok(), "{explained:?}");
        let strategy = Strategy::new(0, reason).expect("the policy in charge has the first slot");
        let tracked = self.state.tracker.fill(id, strategy, fill, at);
        debug_assert!(tracked.is_ok(), "{tracked:?}");
        let scorecard = &mut self.state.scorecard;
        let mut scored = scorecard.traded(id, strategy, at, fill.notional);
        if let Ok(Some(closed)) = tracked {
            self.state.risk.closed(closed.net);
            if let Some(trip) = &closed.trip {
                scored = scored.and(scorecard.closed(trip));
            }
        }
        debug_assert!(scored.is_ok(), "{scored:?}");
        self.state
            .volumes
            .add(venue, fill.notional, report.executed);
        self.reprice(venue, at);
        let cell = &mut self.state.cells[index];
        if fill.maker {
            let double_mid = cell.book.double_mid().unwrap_or(0);
            let queue = fill.queue_orders;
            let filled = MakerFill {
                order: report.order,
                instrument: id,
                side: fill.side,
                qty: fill.qty,
                double_mid,
                queue_orders: queue,
                at,
            };
            self.state
                .toxicity
                .filled(filled, &self.setup.instruments[index]);
        } else {
            cell.impact.took(fill.side, fill.qty, at, &cell.tape);
        }
    }

    /// A funding payment came back, durable.
    pub(super) fn fund(&mut self, settlement: &Settlement, at: Time) {
        let id = settlement.instrument;
        let Some(cell) = self.state.cells.get_mut(id.index()) else {
            return;
        };
        if cell.schedule.settled(settlement) {
            self.state.ledger.fund(id, settlement.amount);
            self.state.attribution[id.index()].fund(settlement.amount);
            let tracked = self.state.tracker.fund(id, settlement.amount, at);
            debug_assert!(tracked.is_ok(), "{tracked:?}");
        }
    }

    /// Compares what is held with what the venue states, when that is due. A difference is a defect
    /// somewhere: it is never adopted, and the instrument may only reduce until somebody has looked.
    pub(super) fn reconcile(&mut self, at: Time) {
        if !self.state.tracker.due(at) {
            return;
        }
        for index in 0..self.state.cells.len() {
            let id = id_of(index);
            let ours = self.state.ledger.position(id).qty;
            let Statement { position, unheard } = self.state.paper.statement(id);
            let same = self
                .state
                .tracker
                .reconcile(id, ours, position, unheard, at);
            if same.is_err() {
                self.doubt(id, at);
            }
        }
    }

    fn doubt(&mut self, id: InstrumentId, at: Time) {
        let restriction = Restriction {
            scope: Scope::Instrument(id),
            level: Level::Reducing,
            cause: Cause::Reconciliation,
            since: at,
            until: None,
            flatten: false,
        };
        let known = self.state.risk.states().iter();
        let known = known
            .filter(|state| state.scope == restriction.scope)
            .any(|state| state.cause == restriction.cause);
        if !known {
            self.emit(Output::Commit(Event::Restrict(restriction)));
        }
    }

    /// A restriction takes effect.
    pub(super) fn restrict(&mut self, seq: u64, at: Time, restriction: &Restriction) {
        for act in self.state.risk.restricted(restriction) {
            self.act(seq, at, &act);
        }
    }

    pub(super) fn operate(&mut self, seq: u64, at: Time, command: &Operator) {
        let halt = |scope, cause, flatten| Restriction {
            scope,
            level: Level::Halted,
            cause,
            since: at,
            until: None,
            flatten,
        };
        match command {
            Operator::Halt { scope, cause } => self.restrict(seq, at, &halt(*scope, *cause, false)),
            Operator::Flatten(cause) => {
                self.restrict(seq, at, &halt(Scope::Portfolio, *cause, true));
            }
            Operator::Resume { scope, .. } => {
                let equity = self.equity();
                self.state.risk.resumed(*scope, equity, at);
            }
        }
    }
}

/// An order that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intent {
    pub(super) side: Side,
    pub(super) qty: Qty,
    pub(super) kind: Kind,
    pub(super) time_in_force: TimeInForce,
    pub(super) reason: Reason,
}
