//! Replayed policies against the edge's meaning of an action, and returns against a slow restatement.

use tickerml_shared::features::{SELECTION, Vector};
use tickerml_shared::time::Time;

use super::*;

const PULSE: u64 = 1_000_000_000;

fn series(prices: &[f64]) -> Series {
    let row = |(index, price): (usize, &f64)| MarketRow {
        at: Time(index as u64 * PULSE),
        state: Vector::default(),
        bid: price - 0.1,
        ask: price + 0.1,
        masked: false,
    };
    Series {
        instrument: "test:BTCUSDT".to_owned(),
        pulse_ns: PULSE,
        rows: prices.iter().enumerate().map(row).collect(),
    }
}

fn terms(horizon: usize, shorting: bool) -> Terms {
    Terms {
        impact: 0.0005,
        hurdle: 0.002,
        explore: 0.0,
        shorting,
        ..Terms::spot(0.001, horizon)
    }
}

fn wandering(steps: usize, seed: u64) -> Series {
    let mut rng = Rng::new(seed, 1);
    let mut price = 100.0;
    let prices: Vec<f64> = (0..steps)
        .map(|_| {
            price *= 1.0 + 0.01 * (share(&mut rng) - 0.5);
            price
        })
        .collect();
    series(&prices)
}

/// What an account is worth that takes these positions one after the other and is then closed, told naively.
fn told(series: &Series, terms: &Terms, from: usize, held: f64, positions: &[f64]) -> f64 {
    let mid = |row: usize| f64::midpoint(series.rows[row].bid, series.rows[row].ask);
    let cost = |row: usize, change: f64| {
        let half = (series.rows[row].ask - series.rows[row].bid) / 2.0 / mid(row);
        change.abs() * (terms.taker_fee + half + terms.impact * change.abs())
    };
    let (mut held, mut wealth, mut logs) = (held, 1.0_f64, vec![0.0]);
    let mut variance = 0.0;
    for (index, &position) in positions.iter().enumerate() {
        let row = from + index;
        let move_ = position * (mid(row + 1) / mid(row) - 1.0);
        wealth *= 1.0 + move_ - cost(row, position - held);
        variance += move_ * move_;
        logs.push(wealth.ln());
        held = position;
    }
    wealth *= 1.0 - cost(from + positions.len(), held);
    logs.push(wealth.ln());
    let (mut peak, mut worst) = (0.0_f64, 0.0_f64);
    for log in logs {
        peak = peak.max(log);
        worst = worst.max(peak - log);
    }
    let exposed: f64 = positions.iter().map(|position| position.abs()).sum();
    let hurdle = 0.002 * exposed / positions.len() as f64;
    wealth.ln() - 0.02 * worst - 0.5 * variance - hurdle
}

#[test]
fn the_return_of_every_class_is_what_an_account_would_have_earned() {
    for (seed, shorting) in [(1, false), (2, true), (3, true)] {
        let (market, terms) = (wandering(60, seed), terms(7, shorting));
        let stretch = &Stretch::all(&market, 1)[0];
        for policy in &terms.policies {
            let episode = policy.replay(stretch, 0, &terms, 0.01, &mut Rng::new(seed, 9));
            let plan = policy.plan(stretch, &terms, &mut Rng::new(seed, 9));
            assert_eq!(episode.actions.len(), 53);
            let mut position = 0.0_f64;
            for step in 0..episode.actions.len() {
                for class in 0..CLASSES {
                    let taken = class == usize::from(episode.actions[step]);
                    let lowest = if shorting { -1.0 } else { 0.0 };
                    let first = match (taken, class) {
                        (true, _) => plan[step].map_or(position, f64::from),
                        (_, HOLD) => position,
                        (_, BUY) => 1.0,
                        _ => lowest,
                    };
                    let mut course = vec![first];
                    for later in &plan[step + 1..step + 7] {
                        let last = course[course.len() - 1];
                        course.push(later.map_or(last, f64::from));
                    }
                    let expected = told(&market, &terms, step, position, &course);
                    let got = f64::from(episode.values[step * CLASSES + class]);
                    assert!(
                        (got - expected).abs() < 1e-6,
                        "{} {step} {class}: {got} {expected}",
                        policy.name()
                    );
                    if taken {
                        assert_eq!(
                            episode.returns[step].to_bits(),
                            episode.values[step * CLASSES + class].to_bits()
                        );
                    }
                }
                position = plan[step].map_or(position, f64::from);
            }
        }
    }
}

#[test]
fn actions_lead_to_the_planned_positions_as_the_edge_trades_them() {
    for shorting in [false, true] {
        let (market, terms) = (wandering(80, 5), terms(5, shorting));
        let stretch = &Stretch::all(&market, 1)[0];
        for policy in &terms.policies {
            let episode = policy.replay(stretch, 0, &terms, 0.01, &mut Rng::new(4, 4));
            let plan = policy.plan(stretch, &terms, &mut Rng::new(4, 4));
            let (mut by_action, mut by_plan) = (0.0_f32, 0.0_f32);
            let taken = episode.actions.iter().zip(&episode.sizes).zip(&plan);
            for (step, ((class, size), planned)) in taken.enumerate() {
                let (class, size) = (usize::from(*class), *size);
                assert_eq!(class == HOLD, size.is_nan(), "only holding has no size");
                by_action = terms.moved(by_action, class, size);
                by_plan = planned.map_or(by_plan, f32::from);
                assert_eq!(by_action.abs(), by_plan.abs(), "{} {step}", policy.name());
                assert!(by_action * by_plan >= 0.0);
            }
        }
    }
}

#[test]
fn an_action_moves_the_position_towards_its_own_side_only() {
    let (spot, margin) = (terms(5, false), terms(5, true));
    assert_eq!(spot.moved(1.0, BUY, 0.5), 1.0);
    assert_eq!(spot.moved(0.3, BUY, 0.5), 0.5);
    assert_eq!(spot.moved(0.3, SELL, 0.0), 0.0);
    assert_eq!(margin.moved(0.3, SELL, 0.4), -0.4);
    assert_eq!(margin.moved(-0.5, SELL, 0.4), -0.5);
    assert_eq!(margin.moved(-0.5, BUY, 0.0), 0.0);
    assert_eq!(margin.moved(-0.5, HOLD, 0.9), -0.5);
}

#[test]
fn exploring_takes_every_class_and_the_plan_goes_on_from_there() {
    let market = wandering(400, 5);
    let terms = Terms {
        explore: 1.0,
        ..terms(5, false)
    };
    let stretch = &Stretch::all(&market, 1)[0];
    let episode = Behaviour::Flat.replay(stretch, 0, &terms, 0.01, &mut Rng::new(4, 4));
    for class in 0..CLASSES {
        let taken = episode
            .actions
            .iter()
            .filter(|action| usize::from(**action) == class)
            .count();
        assert!((90..175).contains(&taken), "{class}: {taken}");
    }
    // Flat says once that it is flat, so that what was bought is held to the horizon.
    let bought =
        (1..300).find(|step| episode.actions[*step] == 2 && episode.actions[step - 1] == 0);
    let step = bought.expect("a purchase from flat");
    let expected = told(&market, &terms, step, 0.0, &[1.0; 5]);
    assert!((f64::from(episode.returns[step]) - expected).abs() < 1e-6);
}

#[test]
fn stretches_end_at_holes_masked_rows_and_rows_without_prices() {
    let mut market = wandering(20, 6);
    market.rows[4].masked = true;
    market.rows[9].bid = f64::NAN;
    market.rows.remove(15);
    let lengths: Vec<usize> = Stretch::all(&market, 1).iter().map(Stretch::len).collect();
    assert_eq!(lengths, [4, 4, 5, 4]);
    assert_eq!(Stretch::all(&market, 5).len(), 1);
    let first = Stretch::all(&market, 5)[0].rows[0].at;
    assert_eq!(first, Time(10 * PULSE));
}

#[test]
fn what_happens_after_the_horizon_changes_no_label() {
    let market = wandering(60, 8);
    let mut other = market.clone();
    for row in &mut other.rows[41..] {
        (row.bid, row.ask) = (row.bid * 2.0, row.ask * 2.0);
    }
    let terms = terms(10, false);
    let replay = |market: &Series| {
        let policy = Behaviour::Momentum { steps: 3 };
        policy.replay(
            &Stretch::all(market, 1)[0],
            0,
            &terms,
            0.01,
            &mut Rng::new(1, 1),
        )
    };
    let (one, two) = (replay(&market), replay(&other));
    // Step 30 sees rows 30 to 40; step 31 is the first that sees row 41.
    assert_eq!(one.values[..31 * CLASSES], two.values[..31 * CLASSES]);
    assert_ne!(one.values[31 * CLASSES..], two.values[31 * CLASSES..]);
}

#[test]
fn hindsight_beats_every_other_plan_of_a_short_path() {
    for shorting in [false, true] {
        let market = series(&[100.0, 101.0, 100.9, 98.0, 99.5, 99.4, 97.0, 96.9, 98.5]);
        let terms = Terms {
            impact: 0.0,
            ..terms(1, shorting)
        };
        let stretch = &Stretch::all(&market, 1)[0];
        let worth = |positions: &[i8]| {
            let (mut held, mut log) = (0_i8, 0.0);
            for (step, &to) in positions.iter().enumerate() {
                let paid = terms.cost(stretch.half_spread(step), f64::from(to - held));
                log += (1.0 + f64::from(to) * stretch.change(step) - paid).ln();
                held = to;
            }
            log - terms.cost(stretch.half_spread(positions.len()), f64::from(held))
        };
        let exact = Behaviour::Hindsight { flipped: 0.0 };
        let plan = exact.positions(stretch, &terms, &mut Rng::new(1, 1));
        #[expect(clippy::cast_possible_truncation, reason = "-1, 0 or 1")]
        let found: Vec<i8> = plan[..8].iter().map(|position| *position as i8).collect();
        let mut most = f64::NEG_INFINITY;
        for code in 0..3_usize.pow(8) {
            let positions: Vec<i8> = (0..8)
                .map(|place| [0, 1, -1][code / 3_usize.pow(place) % 3])
                .collect();
            if shorting || !positions.contains(&-1) {
                most = most.max(worth(&positions));
            }
        }
        assert!(
            (worth(&found) - most).abs() < 1e-12,
            "{} is not {most}",
            worth(&found)
        );
        assert!(most > 0.0);
    }
}

#[test]
fn the_imbalance_policy_keeps_its_position_while_its_features_are_unknown() {
    let mut market = wandering(6, 3);
    let pressed = |value: f32, valid: u64| Vector {
        values: [value; SELECTION.len()],
        valid,
    };
    for (row, (value, valid)) in market.rows.iter_mut().zip([
        (0.8, u64::MAX),
        (0.8, 0),
        (-0.8, 0),
        (-0.1, u64::MAX),
        (-0.8, u64::MAX),
        (0.8, 0),
    ]) {
        row.state = pressed(value, valid);
    }
    let stretch = &Stretch::all(&market, 1)[0];
    let held = Behaviour::Imbalance.positions(stretch, &terms(1, true), &mut Rng::new(1, 1));
    assert_eq!(held, [1.0, 1.0, 1.0, 1.0, -1.0, -1.0]);
}

#[test]
fn trend_followers_and_their_opposites_take_opposite_sides() {
    let prices: Vec<f64> = (0..12).map(|step| 100.0 + 2.0 * f64::from(step)).collect();
    let market = series(&prices);
    let stretch = &Stretch::all(&market, 1)[0];
    let held =
        |policy: &Behaviour| policy.positions(stretch, &terms(2, true), &mut Rng::new(1, 1))[11];
    assert_eq!(held(&Behaviour::Momentum { steps: 3 }), 1.0);
    assert_eq!(held(&Behaviour::MeanReversion { steps: 3 }), -1.0);
    let quiet = series(&[100.0; 12]);
    let stretch = &Stretch::all(&quiet, 1)[0];
    let plan = Behaviour::Momentum { steps: 3 }.plan(stretch, &terms(2, true), &mut Rng::new(1, 1));
    assert!(plan.iter().all(Option::is_none));
}

#[test]
fn terms_that_make_no_sense_are_told_so() {
    let wrong = |change: fn(&mut Terms)| {
        let mut terms = Terms::spot(0.001, 10);
        change(&mut terms);
        terms.check().expect_err("wrong terms").to_string()
    };
    assert!(wrong(|terms| terms.taker_fee = -0.1).contains("terms.taker_fee = -0.1"));
    assert!(wrong(|terms| terms.horizon = 0).contains("terms.horizon = 0"));
    assert!(wrong(|terms| terms.policies.clear()).contains("terms.policies is empty"));
    assert!(
        wrong(|terms| terms.policies = vec![Behaviour::Hindsight { flipped: 2.0 }])
            .contains("flipped = 2")
    );
    assert!(
        wrong(|terms| terms.policies = vec![Behaviour::Random { patience: 0 }]).contains("0 steps")
    );
    assert_eq!(Terms::spot(0.001, 10).check(), Ok(()));
}
