//! Hand-made markets whose accounts are known, and intervals against their formulas.

use burn::tensor::Device;
use tickerml_shared::features::Vector;

use super::*;
use crate::model::fresh;
use crate::planted;
use crate::series::MarketRow;

const HOUR: u64 = 3_600 * 1_000_000_000;

fn series(prices: &[f64]) -> Series {
    let row = |(index, price): (usize, &f64)| MarketRow {
        at: Time(index as u64 * HOUR),
        state: Vector::default(),
        bid: price * 0.999,
        ask: price * 1.001,
        masked: false,
    };
    Series {
        instrument: "test:BTCUSDT".to_owned(),
        pulse_ns: HOUR,
        rows: prices.iter().enumerate().map(row).collect(),
    }
}

#[test]
fn a_course_is_worth_what_an_account_says() {
    // Fee and half spread are a tenth of a percent each: 0.002 for each unit traded.
    let market = series(&[100.0, 110.0, 99.0, 99.0, 100.0]);
    let terms = Terms::spot(0.001, 2);
    let track = account(&market, &terms, &[1.0, 1.0, 0.5, 0.5, 0.5]);
    let expected = [
        1.1_f64 - 0.002,
        0.9,
        1.0 - 0.001,
        1.0 + 0.5 / 99.0,
        1.0 - 0.001,
    ];
    for (got, expected) in track.growth.iter().zip(expected) {
        assert!(
            (got - expected.ln()).abs() < 1e-9,
            "{got} {}",
            expected.ln()
        );
    }
    let earned = track.assess();
    assert!((earned.log_return - expected.iter().product::<f64>().ln()).abs() < 1e-9);
    assert!((earned.turnover - 2.0).abs() < 1e-9 && (earned.costs - 0.004).abs() < 1e-9);
    assert_eq!((earned.trades, earned.steps), (3, 5));
    assert!((earned.exposure - 0.6).abs() < 1e-9);
    assert!(
        (earned.max_drawdown - (1.0 - 0.9 * 0.999)).abs() < 1e-9,
        "{earned:?}"
    );
    assert!((earned.sharpe - earned.sharpe_step * 8_760.0_f64.sqrt()).abs() < 1e-9);
    let nothing = account(&market, &terms, &[0.0; 5]).assess();
    assert_eq!(
        (nothing.log_return, nothing.sharpe, nothing.trades),
        (0.0, 0.0, 0)
    );
}

/// The positions of a model that is asked step by step about one window, told naively.
fn naive(market: &Series, terms: &Terms, asked: &Asked<'_>) -> Vec<f32> {
    let (steps, wide) = (asked.spec.steps, asked.spec.state);
    let (mut answers, mut position, mut positions): (Vec<(u32, f32)>, f32, Vec<f32>) =
        (vec![], 0.0, vec![]);
    for now in 0..market.rows.len() {
        let oldest = (now + 1).saturating_sub(steps);
        let mut batch = Batch::empty(1, steps, wide, CLASSES);
        for (cell, row) in (oldest..=now).enumerate() {
            batch.states[cell * wide..][..wide].copy_from_slice(&market.rows[row].state.values);
            batch.valid[cell * wide..][..wide].copy_from_slice(&market.rows[row].state.known());
            (batch.live[cell], batch.known[cell], batch.returns[cell]) = (1.0, 1.0, asked.target);
            if row > 0 {
                (batch.previous[cell], batch.previous_size[cell]) = answers[row - 1];
            }
        }
        let outputs = asked.model.predict(&batch, asked.statistics, asked.spec);
        let cell = now - oldest;
        let logits: Vec<f32> = outputs.action[cell * CLASSES..][..CLASSES].to_vec();
        let class = (0..CLASSES)
            .max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
            .expect("three");
        let size = if class == 1 {
            0.0
        } else {
            (outputs.size[cell] * 1e6).round() / 1e6
        };
        position = match class {
            0 => 0.0,
            1 => position,
            _ => position.max(size),
        };
        answers.push((u32::try_from(class).expect("three"), size));
        positions.push(position);
    }
    positions.truncate(market.rows.len());
    assert!(!terms.shorting);
    positions
}

#[test]
fn a_model_is_followed_as_if_it_were_asked_step_by_step() {
    let market = planted::market(120, 0.0006, 9).series;
    let (terms, spec) = (planted::terms(), planted::spec());
    let model = DecisionTransformer::from_weights(&spec, &fresh(&spec, 12), &Device::flex());
    let statistics = Statistics {
        inverse_scale: vec![0.7; spec.state],
        return_scale: 0.01,
        ..Statistics::identity(spec.state)
    };
    let mut asked = Asked {
        model: &model,
        spec: &spec,
        statistics: &statistics,
        target: 0.0,
        lanes: 1,
    };
    let expected = naive(&market, &terms, &asked);
    let track = follow(&market, &terms, Policy::Model(&asked));
    for (step, (got, expected)) in track.positions.iter().zip(&expected).take(119).enumerate() {
        assert!(
            (got - expected).abs() < 2e-6,
            "step {step}: {got} {expected}"
        );
    }
    assert_eq!(track.positions[119], 0.0, "closed at the end");
    asked.lanes = 5;
    let cut = follow(&market, &terms, Policy::Model(&asked));
    assert_eq!(cut.at, track.at);
    let same = cut
        .positions
        .iter()
        .zip(&track.positions)
        .filter(|(one, other)| (*one - *other).abs() < 1e-3);
    assert!(same.count() >= 100, "pieces find the same positions");
}

#[test]
fn pieces_cover_every_step_once() {
    let (one, two) = (series(&[100.0; 50]), series(&[100.0; 7]));
    let mut stretches = Stretch::all(&one, 2);
    stretches.extend(Stretch::all(&two, 2));
    for wanted in [1, 3, 8, 57, 100] {
        let mut seen = [vec![0; 50], vec![0; 7]];
        for lane in lanes(&stretches, wanted, 6) {
            assert!(lane.begin == lane.from.saturating_sub(6));
            (lane.from..lane.to).for_each(|step| seen[lane.stretch][step] += 1);
        }
        assert!(seen.iter().flatten().all(|times| *times == 1), "{wanted}");
    }
}

#[test]
fn the_interval_of_independent_steps_is_the_normal_one() {
    let mut rng = Rng::new(3, 3);
    let steps: Vec<f64> = (0..2_000)
        .map(|_| f64::from(rng.next_u32()) / 4_294_967_296.0 - 0.5)
        .collect();
    let sum: f64 = steps.iter().sum();
    let half = 1.96 * (2_000.0_f64 / 12.0).sqrt();
    let got = bootstrap(&steps, 1, 5);
    assert!((got.estimate - sum).abs() < 1e-9);
    assert!(
        (got.low - (sum - half)).abs() < 0.15 * half,
        "{got:?} {sum} {half}"
    );
    assert!(
        (got.high - (sum + half)).abs() < 0.15 * half,
        "{got:?} {sum} {half}"
    );
}

#[test]
fn the_interval_of_dependent_steps_is_wider_than_the_independent_one_says() {
    // Runs of ten equal numbers: the sum varies as that of a tenth as many, ten times as large.
    let mut rng = Rng::new(4, 3);
    let steps: Vec<f64> = (0..300)
        .flat_map(|_| [f64::from(rng.next_u32()) / 4_294_967_296.0 - 0.5; 10])
        .collect();
    let width = |block| {
        let interval = bootstrap(&steps, block, 6);
        interval.high - interval.low
    };
    let truth = 2.0 * 1.96 * 10.0 * (300.0_f64 / 12.0).sqrt();
    assert!(width(1) < 0.5 * truth, "{} {truth}", width(1));
    assert!(
        (width(50) - truth).abs() < 0.3 * truth,
        "{} {truth}",
        width(50)
    );
}
