//! Marks of maker fills by hand and whatever the mid does.

use alloc::vec::Vec as List;

use proptest::prelude::*;

use super::*;
use crate::instrument::Venue;

const START: u64 = 1_000_000 * SECONDS;

fn instrument() -> Instrument {
    Instrument {
        price_scale: 2,
        qty_scale: 6,
        ..Instrument::unknown(Venue::Binance, "T").expect("short")
    }
}

fn fill(instrument: u16, side: Side, double_mid: i64, queue_orders: u32, at: u64) -> MakerFill {
    MakerFill {
        order: OrderId(at),
        instrument: InstrumentId(instrument),
        side,
        qty: Qty(3_000_000),
        double_mid,
        queue_orders,
        at: Time(at),
    }
}

fn drain(toxicity: &mut Toxicity) -> List<(u8, i64, i64, bool)> {
    core::iter::from_fn(|| toxicity.poll())
        .map(|mark| (mark.horizon_s, mark.adverse_ppm, mark.adverse.0, mark.toxic))
        .collect()
}

#[test]
fn marks_a_buy_against_the_mids_in_force() {
    let mut toxicity = Toxicity::new();
    let id = InstrumentId(3);
    // Bought three at a mid of 100.00.
    toxicity.filled(fill(3, Side::Buy, 20_000, 10, START), &instrument());
    toxicity.mid(id, 20_001, Time(START + SECONDS / 2));
    assert_eq!(toxicity.poll(), None);
    // Stated just after the first second: it counts for the fifth, not for the first.
    toxicity.mid(id, 19_990, Time(START + SECONDS + 1));
    // In favour by half a cent of 100: 50 ppm and 1.5 cents for three.
    assert_eq!(drain(&mut toxicity), [(1, -50, -1_500_000, false)]);
    toxicity.mid(id, 20_000, Time(START + 6 * SECONDS));
    assert_eq!(drain(&mut toxicity), [(5, 500, 15_000_000, true)]);
    // At the very moment: it counts.
    toxicity.mid(id, 20_004, Time(START + 30 * SECONDS));
    assert_eq!(drain(&mut toxicity), [(30, -200, -6_000_000, true)]);
    let sums = toxicity.sums(id);
    assert_eq!((sums.fills, sums.toxic, toxicity.pending()), (1, 1, 0));
    let means = sums.horizons.map(|horizon| horizon.mean_adverse_ppm());
    assert_eq!(means, [Some(-50), Some(500), Some(-200)]);
    assert_eq!(toxicity.sums(InstrumentId(4)), Sums::default());
}

#[test]
fn a_long_queue_or_an_adverse_move_is_toxic_once() {
    let mut toxicity = Toxicity::new();
    toxicity.filled(fill(0, Side::Sell, 20_000, 11, START), &instrument());
    toxicity.filled(fill(0, Side::Sell, 20_000, 0, START), &instrument());
    assert_eq!(toxicity.sums(InstrumentId(0)).toxic, 1);
    toxicity.mid(InstrumentId(0), 20_002, Time(START + 1));
    toxicity.advance(Time(START + SECONDS));
    // 100 ppm is the threshold and not beyond it.
    assert_eq!(
        drain(&mut toxicity),
        [(1, 100, 3_000_000, true), (1, 100, 3_000_000, false)]
    );
    toxicity.mid(InstrumentId(0), 20_003, Time(START + 2 * SECONDS));
    toxicity.advance(Time(START + 40 * SECONDS));
    assert_eq!(drain(&mut toxicity).len(), 4);
    let sums = toxicity.sums(InstrumentId(0));
    assert_eq!((sums.fills, sums.toxic), (2, 2));
}

#[test]
fn a_gap_makes_what_is_to_come_unknown() {
    let mut toxicity = Toxicity::new();
    toxicity.filled(fill(0, Side::Buy, 20_000, 0, START), &instrument());
    toxicity.filled(fill(1, Side::Buy, 20_000, 0, START), &instrument());
    toxicity.gap(InstrumentId(0), Time(START + 2 * SECONDS));
    toxicity.mid(InstrumentId(0), 10_000, Time(START + 3 * SECONDS));
    toxicity.advance(Time(START + 60 * SECONDS));
    let unknown = |id| {
        let sums = toxicity.sums(InstrumentId(id));
        sums.horizons
            .map(|horizon| (horizon.marks, horizon.unknown))
    };
    assert_eq!(unknown(0), [(1, 0), (0, 1), (0, 1)]);
    assert_eq!(unknown(1), [(1, 0); 3]);
    assert_eq!(toxicity.sums(InstrumentId(0)).toxic, 0);
    let mut blind = Toxicity::new();
    blind.filled(fill(0, Side::Buy, 0, 0, START), &instrument());
    let sums = blind.sums(InstrumentId(0));
    assert_eq!((sums.fills, sums.horizons[2].unknown), (1, 1));
}

#[test]
fn bounds_hold_and_are_counted() {
    let mut toxicity = Toxicity::new();
    let fills = MAX_PENDING as u64 + 10;
    for number in 0..fills {
        toxicity.filled(fill(0, Side::Buy, 20_000, 0, START + number), &instrument());
    }
    toxicity.advance(Time(START + 60 * SECONDS));
    let sums = toxicity.sums(InstrumentId(0));
    for horizon in sums.horizons {
        assert_eq!((horizon.marks, horizon.unknown), (MAX_PENDING as u64, 10));
    }
    assert_eq!(drain(&mut toxicity).len(), MAX_READY);
    assert_eq!(toxicity.unread(), 3 * MAX_PENDING as u64 - MAX_READY as u64);
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Fill(u16, Side, u32),
    Mid(u16, i64),
    Gap(u16),
    Nothing,
}

fn happenings() -> impl Strategy<Value = List<(u64, Happening)>> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let happening = prop_oneof![
        4 => (0_u16..3, side, 0_u32..20).prop_map(|(id, side, queue)| Happening::Fill(id, side, queue)),
        8 => (0_u16..3, 19_000_i64..21_000).prop_map(|(id, mid)| Happening::Mid(id, mid)),
        1 => (0_u16..3).prop_map(Happening::Gap),
        2 => Just(Happening::Nothing),
    ];
    let wait = prop_oneof![Just(0), Just(SECONDS), 0..3 * SECONDS];
    proptest::collection::vec((wait, happening), 1..100).prop_map(|list| {
        let mut at = START;
        list.into_iter()
            .map(|(wait, happening)| {
                at += wait;
                (at, happening)
            })
            .collect()
    })
}

/// The mid of an instrument at place `upto` of the list; 20 000 before the first, 0 after a gap.
fn mid_of(list: &[(u64, Happening)], id: u16) -> i64 {
    list.iter()
        .rev()
        .find_map(|(_, happening)| match happening {
            Happening::Mid(whose, mid) if *whose == id => Some(*mid),
            Happening::Gap(whose) if *whose == id => Some(0),
            _ => None,
        })
        .unwrap_or(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Every fill's marks, looked up in the whole list instead of kept along the way.
    #[test]
    fn equals_looking_each_mark_up(list in happenings()) {
        let mut toxicity = Toxicity::new();
        let (mut want, mut unknown) = (List::new(), 0);
        let end = list.last().map_or(START, |(at, _)| at + 40 * SECONDS);
        for id in 0..3 {
            toxicity.mid(InstrumentId(id), 20_000, Time(START));
        }
        for (place, &(at, happening)) in list.iter().enumerate() {
            match happening {
                Happening::Nothing => toxicity.advance(Time(at)),
                Happening::Mid(id, mid) => toxicity.mid(InstrumentId(id), mid, Time(at)),
                Happening::Gap(id) => toxicity.gap(InstrumentId(id), Time(at)),
                Happening::Fill(id, side, queue) => {
                    let double_mid = mid_of(&list[..place], id);
                    toxicity.filled(fill(id, side, double_mid, queue, at), &instrument());
                    for seconds in HORIZONS_S {
                        let due = at + u64::from(seconds) * SECONDS;
                        let later = list[place..].iter().take_while(|(at, _)| *at <= due).count();
                        let until = &list[..place + later];
                        let gap = |(when, happening): &(u64, Happening)| {
                            *when < due && matches!(happening, Happening::Gap(whose) if *whose == id)
                        };
                        if double_mid == 0 || until[place..].iter().any(gap) {
                            unknown += 1;
                        } else {
                            want.push((id, due, side, double_mid, mid_of(until, id)));
                        }
                    }
                }
            }
        }
        toxicity.advance(Time(end));
        // A mark due at the very time of a gap or of several mids depends on their order: left out.
        let tie = |id: u16, due: u64| list.iter().filter(|(at, happening)| {
            *at == due && matches!(happening, Happening::Mid(whose, _) | Happening::Gap(whose) if *whose == id)
        }).count() > 0;
        let ties = want.iter().filter(|mark| tie(mark.0, mark.1)).count();
        let marks: List<Mark> = core::iter::from_fn(|| toxicity.poll()).collect();
        prop_assert_eq!(marks.len(), want.len());
        let counted: u64 = (0..3)
            .flat_map(|id| toxicity.sums(InstrumentId(id)).horizons)
            .map(|horizon| horizon.unknown)
            .sum();
        prop_assert_eq!(counted, unknown);
        let mut matched = 0;
        for mark in &marks {
            let found = want.iter().position(|&(id, due, side, before, after)| {
                let adverse = side.sign() * (before - after);
                mark.instrument == InstrumentId(id) && mark.at == Time(due) && mark.side == side
                    && before > 0
                    && mark.adverse_ppm == div_round(i128::from(adverse) * 1_000_000, i128::from(before))
                    && mark.adverse.0 == adverse * 3_000_000 / 2
            });
            if let Some(found) = found {
                want.swap_remove(found);
                matched += 1;
            }
        }
        prop_assert!(matched + ties >= marks.len(), "{matched} and {ties} of {}", marks.len());
        let bytes = postcard::to_allocvec(&toxicity).expect("plain");
        prop_assert_eq!(postcard::from_bytes::<Toxicity>(&bytes), Ok(toxicity));
    }

    #[test]
    fn nothing_overflows(
        list in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<u64>(), 0_u8..6), 1..100),
        scales in (0_u8..=18, 0_u8..=18), id: u16,
    ) {
        let instrument = Instrument { price_scale: scales.0, qty_scale: scales.1, ..instrument() };
        let mut toxicity = Toxicity::new();
        for (first, second, at, what) in list {
            match what {
                0 => toxicity.gap(InstrumentId(id), Time(at)),
                1..=3 => toxicity.mid(InstrumentId(id % 70), first, Time(at)),
                _ => toxicity.filled(
                    MakerFill { qty: Qty(second), ..fill(id % 70, Side::Sell, first, 0, at) },
                    &instrument,
                ),
            }
        }
        while toxicity.poll().is_some() {}
    }
}
