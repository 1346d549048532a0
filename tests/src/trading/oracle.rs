//! What must hold, worked out without the engine's own arithmetic of it.

use std::collections::{BTreeMap, BTreeSet};

use tickerml_shared::action::Choice;
use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{Body, Event, Operator, Record, Side, Update};
use tickerml_shared::instrument::{InstrumentId, Kind, MAX_INSTRUMENTS, Venue};
use tickerml_shared::num::{BPS, CASH_SCALE, Cash, Price};
use tickerml_shared::order::{Asked, Fill, Life, Order, OrderId, Outcome, Reason, Report};
use tickerml_shared::paper::venue::Statement;
use tickerml_shared::risk::denial::Denial;
use tickerml_shared::risk::state::{Cause, Level, Restriction, Scope};
use tickerml_shared::time::Time;

/// Rounding of values to whole units of money, over all instruments.
const SLACK: i128 = 8;

/// Applies a record whose consequences are records themselves.
pub(super) fn apply(engine: &mut Engine, record: &Record) {
    engine.handle(record);
    while engine.poll().is_some() {}
}

/// The number of the record that an order came from.
pub(super) const fn sent_by(id: OrderId) -> u64 {
    id.0 / MAX_INSTRUMENTS as u64
}

pub(super) const fn ends(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Filled(fill) => fill.left.0 == 0,
        Outcome::Canceled | Outcome::Expired(_) | Outcome::Rejected(_) | Outcome::Void(_) => true,
        Outcome::Acked | Outcome::Replaced { .. } | Outcome::Unchanged(_) => false,
    }
}

fn ids(engine: &Engine) -> impl Iterator<Item = InstrumentId> + use<> {
    let count = u16::try_from(engine.cells().len()).expect("few");
    (0..count).map(InstrumentId)
}

/// What the durable events say, summed up here.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    cash: i64,
    positions: Vec<(i64, u64)>,
    reports: BTreeSet<(OrderId, u32)>,
    pub(super) settlements: BTreeSet<(InstrumentId, Time)>,
    /// What traded of each order.
    executed: BTreeMap<OrderId, i64>,
    /// A journal had a hole, after which orders may be sized otherwise than when they were sent.
    pub(super) holed: bool,
}

impl Facts {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            cash: setup.capital.0,
            positions: vec![(0, 0); setup.instruments.len()],
            reports: BTreeSet::new(),
            settlements: BTreeSet::new(),
            executed: BTreeMap::new(),
            holed: false,
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Report(report) => {
                let key = (report.order, report.number);
                let first = self.reports.insert(key);
                assert!(first || report.number == 0, "told twice: {report:?}");
                if let Outcome::Filled(fill) = &report.outcome {
                    self.fill(report, fill);
                }
            }
            Event::Funded(funded) => {
                let key = (funded.instrument, funded.settled);
                assert!(self.settlements.insert(key), "paid twice: {funded:?}");
                self.cash += funded.amount.0;
            }
            _ => {}
        }
    }

    fn fill(&mut self, report: &Report, fill: &Fill) {
        let sign = match fill.side {
            Side::Buy => 1,
            Side::Sell => -1,
        };
        let position = &mut self.positions[report.instrument.index()];
        position.0 += sign * fill.qty.0;
        position.1 += 1;
        self.cash -= sign * fill.notional.0 + fill.fee.0;
        *self.executed.entry(report.order).or_default() += fill.qty.0;
    }

    /// Every durable fill and settlement counts exactly once.
    pub(super) fn check(&self, engine: &Engine, what: &str) {
        let positions = engine.ledger().positions().iter();
        let positions: Vec<_> = positions.map(|p| (p.qty.0, p.fills)).collect();
        assert_eq!(positions, self.positions, "{what}: positions and fills");
        assert_eq!(engine.ledger().cash().0, self.cash, "{what}: cash");
        for life in engine.orders().open() {
            let order = life.order();
            let executed = self.executed.get(&order.id).copied().unwrap_or(0);
            assert!(
                self.holed || executed + life.left().0 <= order.qty.0,
                "{what}: {executed} traded of {life:?}"
            );
        }
    }
}

/// What is held and open of an instrument, and what it is worth.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    kind: Option<Kind>,
    venue: Option<Venue>,
    scale: u32,
    held: i64,
    cost: i64,
    buying: i64,
    selling: i64,
    bid: i64,
    ask: i64,
    live: bool,
}

impl Place {
    fn of(engine: &Engine, id: InstrumentId) -> Self {
        let instrument = &engine.setup().instruments[id.index()];
        let cell = &engine.cells()[id.index()];
        let (bid, ask) = cell.marks().unwrap_or((Price(0), Price(0)));
        let scale = instrument.price_scale + instrument.qty_scale - CASH_SCALE.min(6);
        let mut place = Self {
            kind: Some(instrument.kind),
            venue: Some(instrument.venue),
            scale: u32::from(scale),
            held: engine.ledger().position(id).qty.0,
            cost: engine.ledger().position(id).cost.0,
            bid: bid.0,
            ask: ask.0,
            live: cell.touch().is_some(),
            ..Self::default()
        };
        for life in engine.orders().of(id) {
            match life.order().side {
                Side::Buy => place.buying += life.left().0,
                Side::Sell => place.selling += life.left().0,
            }
        }
        place
    }

    /// In units of money: two decimals of price and four of quantity make six of its eight.
    fn value(&self, price: i64, qty: i64) -> i128 {
        assert_eq!(self.scale, 0);
        i128::from(price) * i128::from(qty) * 100
    }

    /// At its cost while no price was ever seen.
    fn marked(&self) -> i128 {
        if self.ask == 0 {
            return i128::from(self.cost);
        }
        let mark = if self.held > 0 { self.bid } else { self.ask };
        self.value(mark, self.held)
    }

    fn worst(&self) -> i128 {
        let bought = self.value(self.ask, self.held + self.buying).abs();
        let sold = self.value(self.ask, self.held - self.selling).abs();
        bought.max(sold)
    }
}

/// The state before a record.
pub(super) struct Before {
    places: Vec<Place>,
    cash: i128,
    restrictions: Vec<Restriction>,
    /// The decision's place, when it would make a position smaller and nothing may stop it.
    must_pass: Option<usize>,
    /// What rests, and the volume of the trade that comes, when only the trade can fill it.
    trade: Option<(usize, i64, i64)>,
    /// Orders that move already.
    asked: BTreeSet<OrderId>,
}

impl Before {
    pub(super) fn of(engine: &Engine, record: &Record) -> Self {
        let places: Vec<_> = ids(engine).map(|id| Place::of(engine, id)).collect();
        let restrictions = engine.risk().states().to_vec();
        let mut before = Self {
            places,
            cash: i128::from(engine.ledger().cash().0),
            restrictions,
            must_pass: None,
            trade: None,
            asked: moving(engine),
        };
        match &record.event {
            Event::Decision(decision) => {
                let index = decision.instrument.index();
                let place = before.places[index];
                let smaller = match decision.action.choice {
                    Choice::Buy => place.held < 0,
                    Choice::Sell => place.held > 0,
                    Choice::Hold => false,
                };
                let free = place.buying == 0 && place.selling == 0;
                let killed = before.killed(index, record.at);
                if smaller && free && place.live && !killed {
                    before.must_pass = Some(index);
                }
            }
            Event::Market(Update {
                instrument,
                body: Body::Trade(trade),
                ..
            }) if engine.paper().due().is_none_or(|due| due >= record.at) => {
                let left = rests(engine, *instrument);
                before.trade = Some((instrument.index(), left, trade.qty.0));
            }
            _ => {}
        }
        before
    }

    pub(super) const fn may_reduce(&self) -> bool {
        self.must_pass.is_some()
    }

    pub(super) fn trades_with_us(&self) -> bool {
        self.trade.is_some_and(|(_, left, _)| left > 0)
    }

    /// The kill switch stands over an instrument.
    fn killed(&self, index: usize, at: Time) -> bool {
        let venue = self.places[index].venue;
        self.restrictions.iter().any(|r| {
            let covers = match r.scope {
                Scope::Portfolio => true,
                Scope::Venue(named) => Some(named) == venue,
                Scope::Instrument(named) => named.index() == index,
            };
            covers && r.cause == Cause::KillSwitch && r.until.is_none_or(|until| at < until)
        })
    }

    fn equity(&self) -> i128 {
        self.cash + self.places.iter().map(Place::marked).sum::<i128>()
    }

    pub(super) fn check(
        &self,
        engine: &Engine,
        record: &Record,
        verdict: Option<Result<Order, Denial>>,
    ) {
        account(engine);
        match verdict {
            Some(Ok(order)) => self.approval(engine, &order),
            Some(Err(denial)) if self.must_pass.is_some() => {
                panic!("what reduces was denied: {denial:?}, {:?}", record.event)
            }
            _ => {}
        }
        for life in engine.orders().open() {
            let order = life.order();
            if sent_by(order.id) == record.seq && self.killed(order.instrument.index(), record.at) {
                assert_eq!(order.reason, Reason::Flatten, "the kill switch stands");
            }
        }
        if record.event == Event::Pulse {
            self.moves(engine, record.at);
        }
        if let Some((index, left, volume)) = self.trade {
            let id = InstrumentId(u16::try_from(index).expect("few"));
            let rules = engine.terms()[index].rules;
            let filled = left - rests(engine, id);
            let shared = rules.shared_volume && rules.partial_fills;
            assert!(
                !shared || filled <= volume,
                "{filled} of a trade of {volume}"
            );
        }
    }

    /// What was approved: a new order, or one that moves.
    fn approval(&self, engine: &Engine, order: &Order) {
        let index = order.instrument.index();
        let mut places = self.places.clone();
        let was = places[index];
        let (against, pending) = match order.side {
            Side::Buy => (-was.held, was.buying),
            Side::Sell => (was.held, was.selling),
        };
        match order.side {
            Side::Buy => places[index].buying += order.qty.0,
            Side::Sell => places[index].selling += order.qty.0,
        }
        if order.qty.0 > against - pending {
            self.caps(engine, &places, index, order.side);
        }
    }

    /// Orders that follow the market are judged anew, and none rests on under the kill switch.
    fn moves(&self, engine: &Engine, at: Time) {
        for life in engine.orders().open() {
            let (Life::Resting(resting), order) = (life, life.order()) else {
                continue;
            };
            let index = order.instrument.index();
            assert!(
                resting.asked().is_some() || !self.killed(index, at),
                "{order:?} rests under the kill switch"
            );
            let place = self.places[index];
            let (against, pending) = match order.side {
                Side::Buy => (-place.held, place.buying),
                Side::Sell => (place.held, place.selling),
            };
            let asked = resting.asked() == Some(Asked::Replace);
            if asked && !self.asked.contains(&order.id) && pending > against {
                self.caps(engine, &self.places, index, order.side);
            }
        }
    }

    /// No cap is exceeded when all that is open has filled in the worst way.
    fn caps(&self, engine: &Engine, places: &[Place], index: usize, side: Side) {
        let limits = engine.risk().limits();
        let equity = self.equity().max(0);
        let share = |bps: i64| equity * i128::from(bps) / i128::from(BPS) + SLACK;
        let own = places[index];
        let what = format!("{side:?} of {index} over {places:?}");
        assert!(own.live, "from a stale book: {what}");
        assert!(
            own.worst() <= share(limits.position_cap_bps),
            "position: {what}"
        );
        let gross: i128 = places.iter().map(Place::worst).sum();
        assert!(gross <= share(limits.gross_cap_bps), "gross: {what}");
        assert!(
            gross <= share(BPS - limits.cash_reserve_bps),
            "reserve: {what}"
        );
        let base = |i: usize| engine.setup().instruments[i].base.as_str();
        let sector = |i: usize| limits.sectors.of(base(i));
        let sector_worst: i128 = (0..places.len())
            .filter(|i| sector(*i) == sector(index))
            .map(|i| places[i].worst())
            .sum();
        let cap = sector(index).map_or(0, |sector| limits.sectors.caps[sector].cap_bps);
        assert!(sector_worst <= share(cap), "sector: {what}");
        let bought = |p: &Place| p.value(p.ask, p.held + p.buying);
        let sold = |p: &Place| p.value(p.ask, p.held - p.selling);
        let net: i128 = match side {
            Side::Buy => places.iter().map(bought).sum(),
            Side::Sell => -places.iter().map(sold).sum::<i128>(),
        };
        assert!(net <= share(limits.exposure_cap_bps), "exposure: {what}");
        if side == Side::Buy {
            let spent: i128 = places.iter().map(|p| p.value(p.ask, p.buying)).sum();
            let reserve = equity * i128::from(limits.cash_reserve_bps) / i128::from(BPS);
            assert!(self.cash - spent >= reserve - SLACK, "cash: {what}");
        }
        if own.kind == Some(Kind::Spot) {
            assert!(
                own.held >= own.selling,
                "a spot sale of what is not held: {what}"
            );
        }
    }
}

fn moving(engine: &Engine) -> BTreeSet<OrderId> {
    let asked = |life: &&Life| match life {
        Life::Resting(resting) => resting.asked() == Some(Asked::Replace),
        _ => false,
    };
    let moving = engine.orders().open().filter(asked);
    moving.map(|life| life.order().id).collect()
}

fn rests(engine: &Engine, id: InstrumentId) -> i64 {
    engine
        .paper()
        .resting(id)
        .map(|resting| resting.left.0)
        .sum()
}

/// What holds at all times.
fn account(engine: &Engine) {
    assert_eq!(engine.ledger().check(), Ok(()));
    let mut explained = 0;
    let mut equity = engine.ledger().cash().0;
    for id in ids(engine) {
        let place = Place::of(engine, id);
        let value = Cash(i64::try_from(place.marked()).expect("small"));
        equity += value.0;
        explained += engine.attribution()[id.index()].lines(value).sum().0;
        if place.kind == Some(Kind::Spot) {
            assert!(place.held >= 0, "short of a spot instrument");
        }
    }
    assert_eq!(engine.equity().0, equity, "equity at conservative marks");
    let profit = equity - engine.ledger().capital().0;
    assert_eq!(explained, profit, "the lines explain the profit");
    reconciled(engine);
    let doubts = engine.risk().states().iter();
    let doubts = doubts.filter(|r| r.cause == Cause::Reconciliation);
    assert_eq!(doubts.count(), 0, "nothing was ever in doubt");
}

/// The venue's statement is what is held and what is on its way here.
pub(super) fn reconciled(engine: &Engine) {
    for id in ids(engine) {
        let held = engine.ledger().position(id).qty.0;
        let Statement { position, unheard } = engine.paper().statement(id);
        assert_eq!(
            position.0,
            held + unheard.0,
            "the venue's statement of {id:?}"
        );
    }
}

/// What a crash must not change.
pub(super) fn compare(was: &Engine, is: &Engine, marks: bool) {
    let at = was.now().max(is.now());
    let in_force = |engine: &Engine| -> BTreeMap<(Scope, Cause), (Level, Option<Time>, bool)> {
        let states = engine.risk().states().iter().filter(|r| r.holds(at));
        states
            .map(|r| ((r.scope, r.cause), (r.level, r.until, r.flatten)))
            .collect()
    };
    assert_eq!(in_force(is), in_force(was), "restrictions after a crash");
    if marks {
        assert_eq!(is.risk().mark(), was.risk().mark(), "marks after a crash");
    }
    assert_eq!(is.ledger(), was.ledger(), "the ledger after a crash");
    assert_eq!(is.risk().record(), was.risk().record(), "closed trades");
    assert_eq!(is.volumes(), was.volumes(), "traded volumes");
    for (is, was) in is.attribution().iter().zip(was.attribution()) {
        assert_eq!(is.fills(), was.fills(), "attribution after a crash");
        assert_eq!(is.funding(), was.funding(), "funding after a crash");
    }
}

/// A command that resumes a scope.
pub(super) fn resume(scope: Scope) -> Operator {
    Operator::Resume {
        scope,
        reason: "looked at".try_into().expect("short"),
    }
}
