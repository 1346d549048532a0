//! No sequence of approvals, fills, price moves and restarts breaks a limit.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::tests::{NOON, act, instruments};
use super::*;
use crate::num::div_round;
use crate::time::MINUTES;

/// What can happen.
#[derive(Clone, Debug)]
enum Step {
    /// A decision.
    Judge {
        id: usize,
        choice: u8,
        size: u32,
        sure: u32,
    },
    /// Any order.
    Admit {
        id: usize,
        buy: bool,
        qty: i64,
        above: i64,
    },
    /// A part of the newest open order of an instrument trades.
    Fill { id: usize, percent: i64 },
    /// The open orders of an instrument end.
    Cancel { id: usize },
    /// A price moves.
    Move {
        id: usize,
        bps: i64,
        spread_bps: i64,
    },
    /// A pulse, after which what was asked comes back, or is lost with the power.
    Pulse { seconds: u64, comes_back: bool },
    /// A restart from the stored state.
    Restart,
    /// An operator resumes the portfolio.
    Resume,
    /// The kill switch, for the rest.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..5_usize;
    prop_oneof![
        8 => (id.clone(), 0..3_u8, 0..=1_000_000_u32, 500_000..=1_000_000_u32)
            .prop_map(|(id, choice, size, sure)| Step::Judge { id, choice, size, sure }),
        8 => (id.clone(), any::<bool>(), 1..2_000_000_i64, 0..200_i64)
            .prop_map(|(id, buy, qty, above)| Step::Admit { id, buy, qty, above }),
        8 => (id.clone(), 1..=100_i64).prop_map(|(id, percent)| Step::Fill { id, percent }),
        2 => id.clone().prop_map(|id| Step::Cancel { id }),
        6 => (id, -900..900_i64, 0..90_i64)
            .prop_map(|(id, bps, spread_bps)| Step::Move { id, bps, spread_bps }),
        6 => (1..120_u64, prop::bool::weighted(0.8))
            .prop_map(|(seconds, comes_back)| Step::Pulse { seconds, comes_back }),
        2 => Just(Step::Restart),
        2 => Just(Step::Resume),
        1 => prop::bool::weighted(0.1).prop_map(|kill| if kill { Step::Kill } else { Step::Restart }),
    ]
}

struct World {
    gate: Gate,
    held: Vec<Held>,
    cash: i64,
    at: Time,
    /// Restrictions that came back and were neither lifted nor ended: they must be in force.
    standing: Vec<Restriction>,
    /// The marks that came back.
    mark: Mark,
    killed: bool,
}

const FEE_PPM: i64 = 1_000;

impl World {
    fn new(method: u8, cut: [i64; 5]) -> Self {
        let mut limits = Limits {
            method: crate::risk::limits::Method::ALL[usize::from(method)],
            base_size_bps: 2_500,
            // So that every cap binds now and then.
            gross_cap_bps: cut[0],
            exposure_cap_bps: cut[1],
            correlated_cap_bps: cut[2],
            heat_cap_bps: cut[3],
            cash_reserve_bps: cut[4],
            atr_bar_s: 60,
            min_depth: Cash::ZERO,
            ..Limits::shipped()
        };
        limits.sectors.caps[0].cap_bps = 3_500;
        assert_eq!(limits.check(&instruments()), Ok(()));
        let equity = Cash(10_000 * Cash::ONE.0);
        let held = Held {
            bid: Price(1_000_000),
            ask: Price(1_000_000),
            ..Held::default()
        };
        let mut world = Self {
            gate: Gate::new(limits, &instruments(), equity),
            held: alloc::vec![held; 5],
            cash: equity.0,
            at: NOON,
            standing: Vec::new(),
            mark: Mark::new(equity),
            killed: false,
        };
        // ETH and DOGE move together, the others each on its own.
        for minute in 0..40 {
            let wave = |period: i64| 1_000 * (minute % period - period / 2);
            let waves = [wave(2), wave(7), wave(7), wave(3), wave(5)];
            for (held, wave) in world.held.iter_mut().zip(waves) {
                (held.bid, held.ask) = (Price(1_000_000 + wave), Price(1_000_000 + wave));
            }
            world.at = world.at.plus(MINUTES);
            world.pulse(true);
        }
        assert_eq!(world.connected(1), [false, true, true, false, false]);
        world
    }

    /// Longs at the bid, shorts at the ask. Values are plain products here.
    fn equity(&self) -> Cash {
        let value = |held: &Held| {
            held.qty.0
                * if held.qty.0 > 0 {
                    held.bid.0
                } else {
                    held.ask.0
                }
        };
        Cash(self.cash + self.held.iter().map(value).sum::<i64>())
    }

    fn pulse(&mut self, comes_back: bool) {
        for (id, held) in (0..).map(InstrumentId).zip(&self.held) {
            let seen = Observation {
                at: self.at,
                bid: held.bid,
                ask: held.ask,
                bid_depth: Cash::ONE,
                ask_depth: Cash::ONE,
                updated: self.at,
                lag_ns: 0,
            };
            self.gate.observe(id, &seen);
        }
        let (equity, cash) = (self.equity(), Cash(self.cash));
        let account = Account {
            at: self.at,
            equity,
            cash,
            held: &self.held,
        };
        let acts = self.gate.pulse(&account);
        self.standing
            .retain(|restriction| restriction.holds(self.at));
        if !comes_back {
            return;
        }
        for act in acts {
            match act {
                Act::Mark(mark) => {
                    self.gate.marked(&mark);
                    self.mark.peak = self.mark.peak.max(mark.peak);
                    if mark.day > self.mark.day {
                        (self.mark.day, self.mark.day_equity) = (mark.day, mark.day_equity);
                    }
                    if mark.week > self.mark.week {
                        (self.mark.week, self.mark.week_equity) = (mark.week, mark.week_equity);
                    }
                }
                Act::Restrict(restriction) => {
                    self.gate.restricted(&restriction);
                    self.standing.push(restriction);
                }
                Act::Close {
                    instrument,
                    side,
                    qty,
                    ..
                } => {
                    let held = &mut self.held[instrument.index()];
                    match side {
                        Side::Buy => held.buying.0 += qty.0,
                        Side::Sell => held.selling.0 += qty.0,
                    }
                }
                Act::Cancel(_) | Act::Flatten { .. } => {}
            }
        }
    }

    fn situation(&self, id: usize) -> Situation<'_> {
        let held = &self.held[id];
        Situation {
            instrument: InstrumentId(u16::try_from(id).expect("small")),
            touch: Some((held.bid, held.ask)),
            in_flight: false,
            account: Account {
                at: self.at,
                equity: self.equity(),
                cash: Cash(self.cash),
                held: &self.held,
            },
        }
    }

    /// Orders what was approved, and checks every cap from scratch.
    fn order(&mut self, id: usize, approved: &Approved) -> Result<(), TestCaseError> {
        let before = self.held[id];
        prop_assert!(approved.qty.0 > 0);
        match approved.side {
            Side::Buy => self.held[id].buying.0 += approved.qty.0,
            Side::Sell => self.held[id].selling.0 += approved.qty.0,
        }
        let against = -approved.side.sign() * before.qty.0;
        let pending = match approved.side {
            Side::Buy => before.buying.0,
            Side::Sell => before.selling.0,
        };
        prop_assert_eq!(
            approved.reduces,
            approved.qty.0 + pending <= against,
            "never a flip"
        );
        prop_assert!(!self.killed, "the kill switch stops everything");
        if approved.reduces {
            return Ok(());
        }
        let level = self
            .gate
            .level(InstrumentId(u16::try_from(id).expect("small")), self.at);
        prop_assert_eq!(level, Level::Active);
        self.check_caps(id, approved.side)
    }

    fn check_caps(&self, id: usize, side: Side) -> Result<(), TestCaseError> {
        let limits = self.gate.limits();
        let equity = i128::from(self.equity().0);
        let worst = |held: &Held| -> i128 {
            let up = (held.qty.0 + held.buying.0).abs();
            let down = (held.qty.0 - held.selling.0).abs();
            i128::from(up.max(down)) * i128::from(held.ask.0)
        };
        let within = |name: &str, value: i128, bps: i64| {
            prop_assert!(
                value * 10_000 <= equity * i128::from(bps),
                "{} {} of {}",
                name,
                value,
                equity
            );
            Ok(())
        };
        let all: Vec<i128> = self.held.iter().map(worst).collect();
        let sum = |of: &dyn Fn(usize) -> bool| -> i128 {
            (0..5).filter(|&i| of(i)).map(|i| all[i]).sum()
        };
        within("position", all[id], limits.position_cap_bps)?;
        within("gross", sum(&|_| true), limits.gross_cap_bps)?;
        within("reserve", sum(&|_| true), 10_000 - limits.cash_reserve_bps)?;
        let net = |signed: &dyn Fn(&Held) -> i64| -> i128 {
            let value = |held: &Held| i128::from(signed(held)) * i128::from(held.ask.0);
            self.held.iter().map(value).sum()
        };
        // The direction of the order; the other may be beyond its cap by price moves alone.
        let towards = match side {
            Side::Buy => net(&|held| held.qty.0 + held.buying.0),
            Side::Sell => net(&|held| held.selling.0 - held.qty.0),
        };
        within("net", towards, limits.exposure_cap_bps)?;
        if side == Side::Buy {
            let left = i128::from(self.cash) - net(&|held| held.buying.0);
            let reserve = equity * i128::from(limits.cash_reserve_bps);
            prop_assert!(left * 10_000 >= reserve, "cash {} of {}", left, equity);
        }
        let table = instruments();
        let sector = |i: usize| limits.sectors.of(&table[i].base).expect("all have one");
        let cap = limits.sectors.caps[sector(id)].cap_bps;
        within("sector", sum(&|i| sector(i) == sector(id)), cap)?;
        let groups = self.connected(id);
        within("group", sum(&|i| groups[i]), limits.correlated_cap_bps)?;
        let heat = (0..5_u16).map(InstrumentId);
        let heat: i128 = heat
            .map(|i| all[i.index()] * i128::from(self.gate.stop_bps(i)))
            .sum();
        prop_assert!(
            heat <= equity * i128::from(limits.heat_cap_bps),
            "heat {}",
            heat
        );
        Ok(())
    }

    /// What is connected with an instrument, found by spreading out from it.
    fn connected(&self, id: usize) -> [bool; 5] {
        let (correlation, limits) = (self.gate.correlation(), self.gate.limits());
        let table = instruments();
        let mut reached = [false; 5];
        reached[id] = true;
        for _ in 0..5 {
            for i in 0..5 {
                for j in 0..5 {
                    let measured = correlation.coefficient(i, j).map_or(0.0, f64::abs);
                    let near = measured * 1e6 >= 1e-6 + 700_000.0;
                    let linked = near || table[i].base == table[j].base;
                    reached[j] |= reached[i] && linked;
                }
            }
        }
        assert_eq!(limits.correlation_threshold_ppm, 700_000);
        reached
    }

    fn fill(&mut self, id: usize, percent: i64) {
        let held = &mut self.held[id];
        let (sign, open) = if held.buying.0 >= held.selling.0 {
            (1, held.buying.0)
        } else {
            (-1, held.selling.0)
        };
        let qty = (open * percent / 100).max(1).min(open);
        if qty == 0 {
            return;
        }
        let price = if sign > 0 { held.ask.0 } else { held.bid.0 };
        let paid = sign * qty * price;
        let fee = div_round(i128::from(qty * price) * i128::from(FEE_PPM), 1_000_000);
        self.cash -= paid + fee;
        let closes = held.qty.0.signum() == -sign;
        let closed = if closes { qty.min(held.qty.0.abs()) } else { 0 };
        if closed > 0 {
            let cost = held.cost.0 * closed / held.qty.0.abs();
            held.cost.0 -= cost;
            self.gate.closed(Cash(-sign * closed * price - cost - fee));
        }
        held.cost.0 += sign * (qty - closed) * price;
        held.qty.0 += sign * qty;
        match sign {
            1 => held.buying.0 -= qty,
            _ => held.selling.0 -= qty,
        }
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Judge {
                id,
                choice,
                size,
                sure,
            } => {
                let choice = crate::action::CHOICES[usize::from(choice)];
                let mut action = act(choice);
                action.size = size;
                action.value = 10;
                action.probabilities = [0; 3];
                let place = crate::action::CHOICES.iter().position(|c| *c == choice);
                action.probabilities[place.expect("one of them")] = sure;
                let mut gate = self.gate.clone();
                let verdict = gate.judge(&action, &self.situation(id));
                self.gate = gate;
                if let Ok(approved) = verdict {
                    self.order(id, &approved)?;
                }
            }
            Step::Admit {
                id,
                buy,
                qty,
                above,
            } => {
                let side = if buy { Side::Buy } else { Side::Sell };
                let price = Price(self.held[id].ask.0 + above);
                let mut gate = self.gate.clone();
                let verdict = gate.admit(side, Qty(qty), price, &self.situation(id));
                self.gate = gate;
                if let Ok(approved) = verdict {
                    prop_assert!(approved.qty.0 <= qty);
                    self.order(id, &approved)?;
                }
            }
            Step::Fill { id, percent } => self.fill(id, percent),
            Step::Cancel { id } => {
                (self.held[id].buying, self.held[id].selling) = (Qty(0), Qty(0));
            }
            Step::Move {
                id,
                bps,
                spread_bps,
            } => {
                let mid = self.held[id].bid.0 * (10_000 + bps) / 10_000;
                self.held[id].bid = Price(mid.max(10_000));
                self.held[id].ask = Price(mid.max(10_000) * (10_000 + spread_bps) / 10_000);
            }
            Step::Pulse {
                seconds,
                comes_back,
            } => {
                self.at = self.at.plus(seconds * SECONDS);
                self.pulse(comes_back);
            }
            Step::Restart => {
                let bytes = postcard::to_allocvec(&self.gate).expect("plain data");
                self.gate = postcard::from_bytes(&bytes).expect("as written");
                self.gate.recover();
            }
            Step::Resume => {
                let equity = self.equity();
                self.gate.resumed(Scope::Portfolio, equity, self.at);
                self.standing
                    .retain(|restriction| restriction.scope != Scope::Portfolio);
                self.mark = *self.gate.mark();
                self.killed = false;
            }
            Step::Kill => {
                let kill = Restriction {
                    scope: Scope::Portfolio,
                    level: Level::Halted,
                    cause: Cause::KillSwitch,
                    since: self.at,
                    until: None,
                    flatten: false,
                };
                self.gate.restricted(&kill);
                if !self.killed {
                    self.standing.push(kill);
                }
                self.killed = true;
            }
        }
        self.check()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        // What came back durable is in force, and nothing else is.
        let holding = self
            .gate
            .states()
            .iter()
            .filter(|r| r.holds(self.at))
            .count();
        let standing = self.standing.iter().filter(|r| r.holds(self.at)).count();
        prop_assert_eq!(holding, standing);
        for restriction in &self.standing {
            let lost = restriction.holds(self.at) && !self.gate.states().contains(restriction);
            prop_assert!(!lost, "{:?}", restriction);
        }
        prop_assert_eq!(self.gate.mark(), &self.mark);
        // What makes a position smaller always passes, but for the kill switch.
        for (id, held) in self.held.iter().enumerate() {
            let side = if held.qty.0 > 0 {
                Side::Sell
            } else {
                Side::Buy
            };
            let pending = if held.qty.0 > 0 {
                held.selling.0
            } else {
                held.buying.0
            };
            let open = held.qty.0.abs() - pending;
            if open <= 0 {
                continue;
            }
            for qty in [open, open / 2 + 1] {
                let got = self
                    .gate
                    .clone()
                    .admit(side, Qty(qty), held.bid, &self.situation(id));
                let expected = Approved {
                    side,
                    qty: Qty(qty),
                    reduces: true,
                    sizing: None,
                };
                let expected = if self.killed {
                    Err(Denial::Halted)
                } else {
                    Ok(expected)
                };
                prop_assert_eq!(got, expected);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_sequence_of_approvals_exceeds_a_limit(
        method in 0..4_u8,
        cut in [3_000..=10_000_i64, 2_000..=10_000_i64, 2_000..=10_000_i64, 100..=800_i64, 0..=8_000_i64],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(method, cut);
        for step in &steps {
            world.run(step)?;
        }
    }

    #[test]
    fn what_was_asked_and_lost_is_asked_again(equity in 1..20_000_i64, minutes in 0..20_000_u64) {
        let mut world = World::new(0, [9_500, 8_000, 6_000, 600, 1_000]);
        world.cash = equity * Cash::ONE.0;
        world.at = world.at.plus(minutes * MINUTES);
        let account = |world: &World| (Cash(world.cash), world.at, world.held.clone());
        let (equity, at, held) = account(&world);
        let account = Account { at, equity, cash: equity, held: &held };
        let first = world.gate.pulse(&account);
        prop_assert_eq!(world.gate.pulse(&account), &[][..]);
        let bytes = postcard::to_allocvec(&world.gate).expect("plain data");
        let mut again: Gate = postcard::from_bytes(&bytes).expect("as written");
        again.recover();
        world.gate.recover();
        prop_assert_eq!(&again, &world.gate);
        prop_assert_eq!(again.pulse(&account), &first[..]);
        // All of it in force: nothing more is asked, and a restart changes nothing.
        for act in &first {
            match act {
                Act::Mark(mark) => again.marked(mark),
                Act::Restrict(restriction) => drop(again.restricted(restriction)),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        again.recover();
        let rest = again.pulse(&account);
        let settled = rest.iter().all(|act| matches!(act, Act::Restrict(r)
            if matches!(r.cause, Cause::Emergency | Cause::DailyLoss | Cause::DailyHalt | Cause::WeeklyLoss)));
        prop_assert!(settled, "{:?}", rest);
        let down = again.mark().peak > equity;
        let bps = if down { (again.mark().peak.0 - equity.0) / (again.mark().peak.0 / 10_000) } else { 0 };
        prop_assert_eq!(again.states().iter().any(|r| r.cause == Cause::Drawdown), bps >= 2_500);
        prop_assert_eq!(again.states().iter().any(|r| r.cause == Cause::DrawdownReduce), bps >= 1_500);
    }
}
