//! What holds whatever the market does.

use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::super::matching::{Mids, split};
use super::super::testing::{DIALECT, ID, REALISTIC, World};
use super::*;
use crate::order::{Kind, TimeInForce};
use TimeInForce::{Fok, Gtc, Ioc, PostOnly};

const BUY: Side = Side::Buy;
const SELL: Side = Side::Sell;

/// What a random market does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Row(Side, i64, i64),
    Trade(Side, i64, i64),
    Send(Side, i64, Option<i64>, TimeInForce),
    Cancel(u64),
    Replace(u64, i64, i64),
    Gap,
    Wait(u64),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(BUY), Just(SELL)]
}

fn step() -> impl Strategy<Value = Step> {
    let price = 95_i64..107;
    let tif = prop_oneof![Just(Gtc), Just(PostOnly), Just(Ioc), Just(Fok)];
    prop_oneof![
        8 => (side(), price.clone(), 0_i64..20).prop_map(|(s, p, q)| Step::Row(s, p, q)),
        6 => (side(), price.clone(), 1_i64..30).prop_map(|(s, p, q)| Step::Trade(s, p, q)),
        4 => (side(), 1_i64..30, proptest::option::weighted(0.9, price.clone()), tif)
            .prop_map(|(s, q, p, t)| Step::Send(s, q, p, t)),
        1 => (1_u64..30).prop_map(Step::Cancel),
        1 => (1_u64..30, price, 0_i64..30).prop_map(|(o, p, q)| Step::Replace(o, p, q)),
        1 => Just(Step::Gap),
        1 => (1_u64..2_000).prop_map(Step::Wait),
    ]
}

impl World {
    fn step(&mut self, step: Step) {
        let terms = self.terms.clone();
        match step {
            Step::Row(side, price, qty) => self.row(side, price, qty),
            Step::Trade(side, price, qty) => self.trade(side, price, qty),
            Step::Send(side, qty, price, tif) => {
                let kind = price.map_or(Kind::Market, |price| Kind::Limit(Price(price)));
                let order = self.order(side, qty, kind, tif);
                let _ = self.request(Request::New(order));
            }
            Step::Cancel(order) => {
                let _ = self.request(Request::Cancel {
                    order: OrderId(order),
                    instrument: ID,
                });
            }
            Step::Replace(order, price, qty) => {
                let _ = self.request(Request::Replace {
                    order: OrderId(order),
                    instrument: ID,
                    price: Price(price),
                    qty: Qty(qty),
                });
            }
            Step::Gap => {
                self.venue.gap(ID, &terms, DIALECT, Time(self.now));
                self.with(|venue, market, at| {
                    venue.resync(ID, market, at);
                    venue.touched(ID, market, at);
                });
            }
            Step::Wait(time) => self.now += time,
        }
    }

    fn unheard_fills(&self) -> i64 {
        let fills = self.venue.post.answers.iter();
        fills
            .filter_map(|answer| match answer.report.outcome {
                Outcome::Filled(fill) => Some(fill.qty.0),
                _ => None,
            })
            .sum()
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(off, queue_position, void_on_gap)| {
        Rules {
            consumption_ns: if off { 0 } else { 1_000 },
            queue_position,
            void_on_gap,
            ..REALISTIC
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn own_fills_of_a_trade_never_exceed_it(
        rules in rules(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::with_book(rules, [10, 20, 30], [4, 5, 6]);
        for step in steps {
            if let Step::Trade(_, _, volume) = step {
                world.now += 1;
                world.arrive();
                let before = world.unheard_fills();
                world.step(step);
                prop_assert!(world.unheard_fills() - before <= volume);
            } else {
                world.step(step);
            }
        }
    }

    #[test]
    fn orders_fill_no_more_than_they_ask_and_the_money_adds_up(
        rules in rules(),
        surcharge in 0_i64..1_000_000,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::with_book(rules, [10, 20, 30], [4, 5, 6]);
        world.surcharge = surcharge;
        let mut open = BTreeMap::new();
        let mut numbers = BTreeMap::new();
        let (mut position, mut known) = (0, Time(0));
        for step in steps {
            if let Step::Send(_, qty, _, _) = step {
                open.insert(world.next_id + 1, qty);
            }
            world.step(step);
            world.now += 1;
            world.arrive();
            for report in world.reports() {
                prop_assert!(report.executed <= world.at() && report.executed >= Time(1_000));
                known = known.max(report.executed);
                if report.number > 0 {
                    let number = numbers.entry(report.order.0).or_insert(0);
                    *number += 1;
                    prop_assert_eq!(report.number, *number);
                }
                match report.outcome {
                    Outcome::Filled(fill) => {
                        let left = open.get_mut(&report.order.0).expect("sent");
                        *left -= fill.qty.0;
                        prop_assert!(fill.qty.0 > 0 && fill.left.0 == *left && *left >= 0);
                        position += fill.side.sign() * fill.qty.0;
                        let split = fill.split;
                        let parts = split.latency.0 + split.queue.0 + split.spread.0 + split.impact.0;
                        prop_assert_eq!(
                            fill.notional.0,
                            split.decided.0 - fill.side.sign() * parts
                        );
                    }
                    Outcome::Replaced { left, .. } => {
                        open.insert(report.order.0, left.0);
                    }
                    _ => {}
                }
            }
            let statement = world.venue.statement(ID);
            prop_assert_eq!(statement, Statement { position: Qty(position), unheard: Qty(0) });
        }
    }

    #[test]
    fn a_checkpoint_in_the_middle_changes_nothing(
        steps in proptest::collection::vec(step(), 2..60),
        cut in 0_usize..60,
    ) {
        let latency = Latency::Measured { entry_ns: (5, 400), response_ns: (5, 400) };
        let mut world = World::with_book(REALISTIC, [10, 20, 30], [4, 5, 6]);
        world.terms.latency = latency;
        let mut restored = World::with_book(REALISTIC, [10, 20, 30], [4, 5, 6]);
        restored.terms = world.terms.clone();
        for (place, step) in steps.into_iter().enumerate() {
            if place == cut {
                let bytes = postcard::to_allocvec(&restored.venue).expect("fits");
                restored.venue = postcard::from_bytes(&bytes).expect("the same");
                prop_assert_eq!(&restored.venue, &world.venue);
            }
            world.step(step);
            restored.step(step);
            prop_assert_eq!(world.reports(), restored.reports());
        }
        prop_assert_eq!(&restored.venue, &world.venue);
    }

    #[test]
    fn a_crash_that_loses_the_journals_tail_trades_nothing_twice(
        rules in rules(),
        steps in proptest::collection::vec(step(), 3..80),
        kept in 0_usize..40,
        lost in 1_usize..30,
        slowest in 0_u64..8,
    ) {
        let mut world = World::with_book(rules, [10, 20, 30], [4, 5, 6]);
        world.terms.latency = Latency::Measured {
            entry_ns: (0, slowest),
            response_ns: (0, slowest),
        };
        let (mut saved, mut tail) = (world.venue.clone(), Vec::new());
        let mut books = BTreeMap::<u64, (u32, i64)>::new();
        let mut position = 0;
        for (place, step) in steps.into_iter().enumerate() {
            if place == kept {
                saved = world.venue.clone();
                tail.clear();
            }
            if place == kept + lost {
                world.venue = saved.clone();
                for report in &tail {
                    world.venue.heard(report);
                }
                world.venue.restart();
            }
            if let Step::Send(_, qty, _, _) = step {
                books.insert(world.next_id + 1, (0, qty));
            }
            world.step(step);
            world.now += 1;
            world.arrive();
            for report in world.reports() {
                tail.push(report);
                let Some((number, left)) = books.get_mut(&report.order.0) else {
                    continue;
                };
                if report.number == 0 {
                    continue;
                }
                prop_assert_eq!(report.number, *number + 1, "{:?}", report);
                *number = report.number;
                match report.outcome {
                    Outcome::Filled(fill) => {
                        *left -= fill.qty.0;
                        position += fill.side.sign() * fill.qty.0;
                        prop_assert!(*left >= 0 && fill.left.0 == *left, "{report:?}");
                    }
                    Outcome::Replaced { left: now, .. } => *left = now.0,
                    _ => {}
                }
            }
            let statement = world.venue.statement(ID);
            prop_assert_eq!(statement.position.0 - statement.unheard.0, position);
        }
    }

    #[test]
    fn the_parts_of_a_split_add_up(
        buy in any::<bool>(),
        qty in 1_i64..1_000_000_000,
        mids in (0_i64..1_000_000_000, 0_i64..1_000_000_000, 0_i64..1_000_000_000),
        touch in 1_i64..1_000_000_000,
        paid in 0_i64..1_000_000_000_000_000,
        scales in (0_u8..=10, 0_u8..=8),
    ) {
        // Amounts fit 64 bits.
        let qty = if scales.0 + scales.1 < 8 { qty % 9 + 1 } else { qty };
        let side = if buy { BUY } else { SELL };
        let instrument = Instrument {
            price_scale: scales.0,
            qty_scale: scales.1,
            ..Instrument::unknown(DIALECT, "T").expect("short")
        };
        let mids = Mids { sent: mids.0, arrival: mids.1, fill: mids.2 };
        let parts = split(side, Qty(qty), mids, Price(touch), Cash(paid), &instrument);
        let sum = i128::from(parts.latency.0) + i128::from(parts.queue.0)
            + i128::from(parts.spread.0) + i128::from(parts.impact.0);
        prop_assert_eq!(i128::from(paid), i128::from(parts.decided.0) - i128::from(side.sign()) * sum);
        if mids.sent == 0 {
            prop_assert_eq!(parts.latency, Cash::ZERO);
        }
    }
}
