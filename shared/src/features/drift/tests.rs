//! Drift of made-up features, against slow computations and by defect.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::*;
use crate::features::{TABLE_LEN, Table, Vector};
use crate::instrument::InstrumentId;
use crate::rand::Rng;
use crate::schema::SchemaId;
use crate::time::SECONDS;

/// What a feature does.
type Draw = fn(&mut Rng, u64) -> Option<f32>;

/// Uniform in [0, 1).
fn uniform(rng: &mut Rng) -> f64 {
    rng.below(1 << 24) as f64 / f64::from(1 << 24)
}

/// Standard normal: the sum of twelve uniforms less six.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0
}

fn single(value: f64) -> Option<f32> {
    Some(value as f32)
}

/// What the features of the tests are drawn from, one after another over the selection: normal,
/// skewed, two-valued with long runs, and sometimes missing.
const DRAWS: [Draw; 4] = [
    |rng, _| single(5.0 + 2.0 * normal(rng)),
    |rng, _| single(libm::exp(normal(rng))),
    |rng, n| Some(f32::from(u8::from(n % 400 < 60 || rng.below(50) == 0))),
    |rng, _| single(normal(rng)).filter(|_| rng.below(10) > 2),
];

fn vector(rng: &mut Rng, n: u64, changed: Option<Draw>) -> Vector {
    let mut vector = Vector::default();
    for index in 0..SELECTION.len() {
        let draw = if index == 0 {
            changed.unwrap_or(DRAWS[0])
        } else {
            DRAWS[index % DRAWS.len()]
        };
        if let Some(value) = draw(rng, n) {
            vector.values[index] = value;
            vector.valid |= 1 << index;
        }
    }
    vector
}

fn step(n: u64, state: Vector) -> MarketStep {
    MarketStep {
        instrument: InstrumentId(0),
        at: Time((n + 1) * SECONDS),
        state,
        bid: None,
        ask: None,
        masked: false,
    }
}

fn reference() -> Reference {
    let (mut builder, mut rng) = (ReferenceBuilder::new(), Rng::new(1, 1));
    for n in 0..20_000 {
        builder.push_selected(&vector(&mut rng, n, None));
    }
    builder.finish()
}

/// The monitor after so many updates in which the first feature is drawn otherwise.
fn after(updates: u64, changed: Draw) -> Drift {
    let (mut drift, mut rng) = (Drift::new(Some(&reference())), Rng::new(2, 2));
    for n in 0..1_000 {
        drift.update(&step(n, vector(&mut rng, n, None)));
    }
    assert_eq!(drift.level(), Level::Stable);
    for n in 1_000..1_000 + updates {
        drift.update(&step(n, vector(&mut rng, n, Some(changed))));
    }
    drift
}

fn first(drift: &Drift) -> Verdict {
    *drift.verdicts().next().expect("features")
}

#[test]
fn what_is_drawn_from_the_reference_raises_no_alarm() {
    let reference = reference();
    let (mut judged, mut alarms) = (0, 0);
    for seed in 0..40 {
        let (mut drift, mut rng) = (Drift::new(Some(&reference)), Rng::new(100 + seed, 1));
        for n in 0..5_000 {
            drift.update(&step(n, vector(&mut rng, n, None)));
            if (n + 1).is_multiple_of(u64::from(BLOCK)) {
                let counts = drift.counts();
                judged += counts.stable + counts.watch + counts.drifted;
                alarms += counts.watch + counts.drifted;
                assert_eq!(drift.level(), Level::Stable);
            }
        }
    }
    std_print(judged, alarms);
    assert!(
        judged > 20_000 && alarms * 10_000 <= judged,
        "{alarms} of {judged}"
    );
}

/// The rate, for who looks.
fn std_print(judged: u32, alarms: u32) {
    extern crate std;
    std::println!("{alarms} alarms in {judged} judgements of features");
}

#[test]
fn without_a_reference_nothing_is_known() {
    let (mut drift, mut rng) = (Drift::new(None), Rng::new(2, 2));
    for n in 0..2_000 {
        assert_eq!(drift.update(&step(n, vector(&mut rng, n, None))), None);
    }
    assert_eq!(
        (drift.level(), drift.since()),
        (Level::Unknown, Time::UNKNOWN)
    );
    assert!(
        drift
            .verdicts()
            .all(|verdict| verdict.level == Level::Unknown)
    );
}

#[test]
fn each_defect_is_found_by_what_it_is() {
    let cases: [(Draw, u64, Level, Why); 6] = [
        (
            |rng, _| single(9.5 + 2.0 * normal(rng)),
            100,
            Level::Drifted,
            Why::Mean,
        ),
        (|_, _| None, 100, Level::Drifted, Why::Missing),
        (
            |rng, _| single(5.0 + 2.0 * normal(rng)).filter(|_| rng.below(100) > 14),
            1_000,
            Level::Watch,
            Why::Missing,
        ),
        (|_, _| Some(5.0), 100, Level::Drifted, Why::Constant),
        // The mean is as ever, the spread is not.
        (
            |rng, _| single(5.0 + 6.0 * normal(rng)),
            1_000,
            Level::Drifted,
            Why::Index,
        ),
        (
            |rng, _| single(5.6 + 2.0 * normal(rng)),
            1_000,
            Level::Watch,
            Why::Distance,
        ),
    ];
    for (draw, updates, level, why) in cases {
        // The constant's run must be longer than a block.
        let updates = updates + if why == Why::Constant { 100 } else { 0 };
        let drift = after(updates, draw);
        let verdict = first(&drift);
        assert!(verdict.level >= level, "{why:?}: {verdict:?}");
        assert!(verdict.since > Time(1_000 * SECONDS));
        let seen = match why {
            Why::Mean => verdict.measures.deviations.expect("a mean") > MEAN_DEVIATIONS,
            Why::Index => verdict.measures.index.expect("an index") > INDEX_DRIFTED,
            Why::Distance => verdict.measures.distance.expect("a distance") > DISTANCE_WATCH,
            Why::Missing | Why::Constant => verdict.why == Some(why),
        };
        assert!(seen, "{why:?}: {verdict:?}");
        let mut others = drift.verdicts().skip(1);
        assert!(
            others.all(|verdict| verdict.level == Level::Stable),
            "{why:?}"
        );
        assert_eq!(drift.level(), Level::Stable, "one feature is not all");
    }
}

#[test]
fn index_and_distance_are_those_of_a_slow_computation() {
    let reference = reference();
    let statistics = reference.get(SELECTED[0]).expect("known");
    let mut sample: Vec<f32> = Vec::new();
    let (mut drift, mut rng) = (Drift::new(Some(&reference)), Rng::new(9, 9));
    let mut kept: Vec<f32> = Vec::new();
    let mut again = Rng::new(1, 1);
    for n in 0..20_000 {
        kept.push(vector(&mut again, n, None).values[0]);
    }
    let draw: Draw = |rng, _| single(5.5 + 2.5 * normal(rng));
    for n in 0..1_700 {
        let state = vector(&mut rng, n, Some(draw));
        sample.push(state.values[0]);
        drift.update(&step(n, state));
    }
    let window = &sample[700..];
    // Between the printed edges, one bin at a time.
    let share = |values: &[f32], low: f32, high: f32| {
        let inside = values
            .iter()
            .filter(|value| **value > low && **value <= high);
        inside.count() as f64 / values.len() as f64
    };
    let mut bounds = alloc::vec![f32::NEG_INFINITY];
    bounds.extend(statistics.edges);
    bounds.push(f32::INFINITY);
    let mut psi = 0.0;
    for bin in bounds.windows(2) {
        let (actual, expected) = (
            share(window, bin[0], bin[1]),
            statistics.shares[statistics.bin(bin[1].min(f32::MAX))],
        );
        // 8,192 or fewer of the 20,000 values made the shares.
        assert!((share(&kept, bin[0], bin[1]) - expected).abs() < 0.02);
        psi += (actual.max(1e-4) - expected) * (actual.max(1e-4) / expected).ln();
    }
    let cdf = |values: &[f32], x: f32| {
        values.iter().filter(|value| **value <= x).count() as f64 / values.len() as f64
    };
    let exact = kept
        .iter()
        .map(|x| (cdf(window, *x) - cdf(&kept, *x)).abs());
    let exact = exact.fold(0.0, f64::max);
    let measures = first(&drift).measures;
    let (index, distance) = (
        measures.index.expect("full"),
        measures.distance.expect("full"),
    );
    assert!((index - psi).abs() < 1e-12, "{index} {psi}");
    assert!(
        distance <= exact + 0.02 && exact - distance < 0.1,
        "{distance} {exact}"
    );
    let mean = window[900..]
        .iter()
        .map(|value| f64::from(*value))
        .sum::<f64>()
        / 100.0;
    let deviations = (mean - statistics.mean) / statistics.deviation;
    assert!((measures.deviations.expect("full") - deviations).abs() < 1e-12);
}

#[test]
fn statistics_are_those_of_all_values_at_once() {
    let (mut builder, mut rng) = (ReferenceBuilder::new(), Rng::new(5, 5));
    let mut values = Vec::new();
    for n in 0..6_000_u64 {
        let mut table = Table::UNKNOWN;
        if n % 4 != 0 {
            let value = 100.0 + normal(&mut rng);
            table.set(3_usize, Some(value));
            values.push(f64::from(value as f32));
        }
        builder.push(&table);
    }
    let reference = builder.finish();
    assert_eq!(
        (0..TABLE_LEN)
            .filter(|place| reference.get(*place).is_some())
            .count(),
        1
    );
    let statistics = reference.get(3).expect("known");
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    assert!((statistics.mean - mean).abs() < 1e-9);
    assert!((statistics.deviation - (squares / (count - 1.0)).sqrt()).abs() < 1e-9);
    assert_eq!((statistics.count, statistics.missing), (4_500, 0.25));
    values.sort_by(f64::total_cmp);
    for (tenth, edge) in (1..).zip(statistics.edges) {
        assert_eq!(f64::from(edge), values[tenth * 450 - 1]);
    }
    assert!(
        statistics
            .shares
            .iter()
            .all(|share| (share - 0.1).abs() < 1e-12)
    );
    assert_eq!(
        (f64::from(statistics.least), f64::from(statistics.greatest)),
        (values[0], values[4_499])
    );
}

#[test]
fn samples_stay_bounded_and_even() {
    let mut builder = ReferenceBuilder::new();
    let mut vector = Vector {
        valid: 1,
        ..Vector::default()
    };
    for n in 0..200_000_u32 {
        vector.values[0] = n as f32;
        builder.push_selected(&vector);
    }
    let statistics = builder.finish().get(SELECTED[0]).expect("known");
    for (tenth, edge) in (1_u8..).zip(statistics.edges) {
        assert!((edge - 20_000.0 * f32::from(tenth)).abs() < 64.0, "{edge}");
    }
    assert_eq!((statistics.count, statistics.longest_run), (200_000, 1));
}

#[test]
fn a_constant_of_the_reference_may_stay_and_not_move() {
    let mut builder = ReferenceBuilder::new();
    let mut vector = Vector {
        valid: 1,
        ..Vector::default()
    };
    vector.values[0] = 3.0;
    for _ in 0..1_000 {
        builder.push_selected(&vector);
    }
    let mut drift = Drift::new(Some(&builder.finish()));
    for n in 0..2_000 {
        drift.update(&step(n, vector));
    }
    assert_eq!(first(&drift).level, Level::Stable);
    vector.values[0] = 2.9;
    for n in 2_000..2_100 {
        drift.update(&step(n, vector));
    }
    assert_eq!(
        (first(&drift).level, first(&drift).why),
        (Level::Drifted, Some(Why::Mean))
    );
}

#[test]
fn all_has_drifted_when_many_have_until_few_have() {
    let (mut drift, mut rng) = (Drift::new(Some(&reference())), Rng::new(2, 2));
    let away = |vector: &mut Vector, count: usize| {
        for value in vector.values.iter_mut().step_by(DRAWS.len()).take(count) {
            *value += 100.0;
        }
    };
    // A quarter of the features are normal ones; the skewed ones make up the rest.
    let many = SELECTION.len().div_ceil(4) + 1;
    let mut n = 0;
    let mut block = |drift: &mut Drift, changed: usize| {
        let mut levels = Vec::new();
        for _ in 0..BLOCK {
            let mut vector = vector(&mut rng, n, None);
            away(&mut vector, changed);
            for value in vector.values.iter_mut().skip(1).step_by(DRAWS.len()) {
                *value += if changed >= many { 100.0 } else { 0.0 };
            }
            levels.extend(drift.update(&step(n, vector)));
            n += 1;
        }
        levels
    };
    assert_eq!(block(&mut drift, 0), [Level::Stable]);
    assert_eq!(block(&mut drift, many), [Level::Drifted]);
    let since = drift.since();
    assert_eq!(block(&mut drift, many), [], "told once");
    assert_eq!(drift.since(), since);
    let mut levels = Vec::new();
    for _ in 0..12 {
        levels.extend(block(&mut drift, 0));
    }
    assert_eq!(levels.last(), Some(&Level::Stable), "{levels:?}");
}

#[test]
fn masked_steps_are_no_updates_and_what_is_not_finite_is_missing() {
    let (mut drift, mut rng) = (Drift::new(Some(&reference())), Rng::new(2, 2));
    for n in 0..100 {
        let mut masked = step(n, Vector::default());
        masked.masked = true;
        drift.update(&masked);
        let mut state = vector(&mut rng, n, None);
        state.values[0] = [f32::NAN, f32::INFINITY][usize::from(n % 2 == 0)];
        drift.update(&step(n, state));
    }
    assert_eq!(drift.updates(), 100);
    assert_eq!(first(&drift).why, Some(Why::Missing));
    let bytes = postcard::to_allocvec(&drift).expect("memory");
    assert_eq!(postcard::from_bytes(&bytes), Ok(drift));
}

#[test]
fn a_file_comes_back_and_another_one_is_refused() {
    let reference = reference();
    let bytes = reference.to_bytes();
    assert_eq!(Reference::from_bytes(&bytes), Ok(reference));
    let changed = |place: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = to;
        Reference::from_bytes(&bytes)
    };
    assert_eq!(Reference::from_bytes(b"PAR1"), Err(ReferenceError::Foreign));
    assert_eq!(changed(8, 9), Err(ReferenceError::Version(9)));
    let schema = changed(10, !bytes[10]).expect_err("another schema");
    assert!(matches!(schema, ReferenceError::Schema(SchemaId(_))));
    assert!(schema.to_string().contains("make it again"), "{schema}");
    assert_eq!(
        changed(bytes.len() - 1, !bytes[bytes.len() - 1]),
        Err(ReferenceError::Damaged)
    );
    for length in 8..bytes.len().min(200) {
        assert_eq!(
            Reference::from_bytes(&bytes[..length]),
            Err(ReferenceError::Damaged)
        );
    }
}
