//! What the edge told somebody for good, summed up without the engine.

use std::collections::{BTreeMap, BTreeSet};

use tickerml_shared::engine::Engine;
use tickerml_shared::event::{Event, Operator};
use tickerml_shared::num::{Cash, Qty};
use tickerml_shared::order::{Fill, Life, OrderId, Outcome, Report};
use tickerml_shared::risk::state::{Cause, Level, Restriction, Scope};
use tickerml_shared::time::Time;

/// What was acknowledged to somebody, summed up without the engine.
#[derive(Clone)]
pub(super) struct Acknowledged {
    cash: Cash,
    /// Quantity and fills, by instrument.
    pub(super) positions: Vec<(i64, u64)>,
    /// Restrictions in force, by scope and cause.
    restrictions: BTreeMap<(Scope, Cause), Restriction>,
    /// Since the newest `resume`, which starts it anew.
    high_water: Option<Cash>,
    /// What is open of the orders that rest, by their reports; `None` for one whose sending was lost
    /// before the report that it rests.
    resting: BTreeMap<OrderId, Option<Qty>>,
}

impl Acknowledged {
    /// Nothing yet, to an account with this much money.
    pub(super) const fn new(cash: Cash, positions: Vec<(i64, u64)>) -> Self {
        Self {
            cash,
            positions,
            restrictions: BTreeMap::new(),
            high_water: None,
            resting: BTreeMap::new(),
        }
    }

    pub(super) fn take(&mut self, event: &Event, engine: &Engine) {
        if let Event::Report(report) = event {
            self.rest(report, engine);
        }
        match event {
            Event::Report(Report {
                instrument,
                outcome: Outcome::Filled(fill),
                ..
            }) => {
                let position = &mut self.positions[instrument.index()];
                position.0 += fill.side.sign() * fill.qty.0;
                position.1 += 1;
                self.cash.0 -= fill.side.sign() * fill.notional.0 + fill.fee.0;
            }
            Event::Mark(mark) => self.high_water = self.high_water.max(Some(mark.peak)),
            Event::Restrict(restriction) => self.restrict(*restriction),
            Event::Operator(Operator::Halt { scope, cause }) => self.halt(*scope, *cause),
            Event::Operator(Operator::Flatten(cause)) => self.halt(Scope::Portfolio, *cause),
            Event::Operator(Operator::Resume { scope, .. }) => {
                self.restrictions.retain(|(named, _), _| named != scope);
                self.high_water = None;
            }
            Event::Funded(funded) => self.cash.0 += funded.amount.0,
            Event::Report(_)
            | Event::Start
            | Event::Market(_)
            | Event::Pulse
            | Event::Decision(_)
            | Event::Health(_) => {}
        }
    }

    fn rest(&mut self, report: &Report, engine: &Engine) {
        let id = report.order;
        match &report.outcome {
            Outcome::Acked => {
                let mut open = engine.orders().open();
                let order = open.find(|life| life.order().id == id);
                self.resting.insert(id, order.map(|life| life.order().qty));
            }
            Outcome::Filled(fill) if fill.left == Qty(0) => {
                self.resting.remove(&id);
            }
            Outcome::Filled(Fill { left, .. }) | Outcome::Replaced { left, .. } => {
                // A taker's part comes without a word that it rests.
                if let Some(open) = self.resting.get_mut(&id) {
                    *open = open.and(Some(*left));
                }
            }
            Outcome::Unchanged(_) => {}
            Outcome::Canceled | Outcome::Expired(_) | Outcome::Rejected(_) | Outcome::Void(_) => {
                self.resting.remove(&id);
            }
        }
    }

    /// Every acknowledged order rests as it did, but for those whose sending is `lost`: to them a
    /// report will come. Returns how many there are of both.
    pub(super) fn check_orders(
        &self,
        engine: &Engine,
        what: &str,
        exact: bool,
        lost: impl Fn(OrderId) -> bool,
    ) -> (u64, u64) {
        let (mut kept, mut gone) = (0, 0);
        for (id, left) in &self.resting {
            let same = |life: &&Life| life.order().id == *id;
            match engine.orders().open().find(same) {
                Some(Life::Resting(resting)) => {
                    kept += 1;
                    let equal = !exact || left.is_none_or(|left| left == resting.left());
                    assert!(equal, "{what}: {left:?} is open of {resting:?}");
                }
                Some(life) => panic!("{what}: an order that rests is {}", life.name()),
                None => {
                    gone += 1;
                    assert!(left.is_none() || lost(*id), "{what}: {id:?} is gone");
                }
            }
        }
        (kept, gone)
    }

    fn halt(&mut self, scope: Scope, cause: Cause) {
        self.restrict(Restriction {
            scope,
            level: Level::Halted,
            cause,
            since: Time::UNKNOWN,
            until: None,
            flatten: false,
        });
    }

    fn restrict(&mut self, restriction: Restriction) {
        let key = (restriction.scope, restriction.cause);
        let known = self.restrictions.entry(key).or_insert(restriction);
        known.level = known.level.max(restriction.level);
        known.until = known
            .until
            .and_then(|old| restriction.until.map(|new| old.max(new)));
    }

    /// The scopes and causes in force for good; those that end by themselves may have ended.
    fn latched(&self) -> BTreeSet<(Scope, Cause)> {
        let latched = self.restrictions.iter().filter(|(_, r)| r.until.is_none());
        latched.map(|(key, _)| *key).collect()
    }

    pub(super) fn check(&self, engine: &Engine, what: &str) {
        let positions = engine.ledger().positions().iter();
        let positions: Vec<_> = positions.map(|p| (p.qty.0, p.fills)).collect();
        assert_eq!(positions, self.positions, "{what}: positions and fills");
        assert_eq!(engine.ledger().cash(), self.cash, "{what}: cash");
        let latched = engine.risk().states().iter().filter(|r| r.until.is_none());
        let latched: BTreeSet<_> = latched.map(|r| (r.scope, r.cause)).collect();
        assert_eq!(latched, self.latched(), "{what}: restrictions");
        assert!(
            Some(engine.risk().mark().peak) >= self.high_water,
            "{what}: high-water mark"
        );
        assert_eq!(
            engine.ledger().check(),
            Ok(()),
            "{what}: the ledger conserves"
        );
    }
}
