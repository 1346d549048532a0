//! The simulated market has predictors that are known by name; the evaluation must find them, and
//! must find nothing where there is nothing.
//!
//! What is planted follows from `sim/world.rs`: informed traders see the price 1.2 s ahead, take on
//! the side that will be right (trade flow), show more size there and leave the other (the book's
//! imbalance, and with it the microprice); Coinbase, Kraken and KuCoin see the common price 40 to
//! 140 ms after Binance, so that a venue that stands apart from the others comes back to them.

use tickerml_edge::evaluate::statistics::{Coefficient, coefficient};
use tickerml_edge::evaluate::{HORIZONS_S, Sampler, Samples, Terms};
use tickerml_shared::features::{TABLE_LEN, features};
use tickerml_shared::instrument::Venue;
use tickerml_shared::time::SECONDS;
use tickerml_sim::world::Rng;

use crate::simulation::{START_NS, Simulation, setup};

/// The market lives for so long.
const LIVED_NS: u64 = 30 * 60 * SECONDS;
/// The features that must foretell the next second, which way, and whether they must be among the
/// best: informed makers move the touch first, so that deeper levels dilute what it says.
const PLANTED: [(&str, f64, bool); 6] = [
    ("book_imbalance_1", 1.0, true),
    ("book_imbalance_5", 1.0, false),
    ("book_imbalance_10", 1.0, false),
    ("microprice_deviation", 1.0, true),
    ("trade_flow_1s", 1.0, true),
    ("cross_venue_deviation", -1.0, true),
];
/// As many as `tickerml-edge features --evaluate` shows.
const TOP: usize = 40;
/// Their t-statistic is beyond this.
const T_MIN: f64 = 4.0;
/// The probability that the control fails where there is nothing to find.
const FALSE_ALARM: f64 = 0.01;

/// One asset at four venues, a sample each second. Behind the table stands a column of pure noise.
fn samples(seed: u64) -> Samples {
    let mut setup = setup(Venue::Kucoin);
    setup
        .instruments
        .retain(|instrument| instrument.base == "BTC");
    setup.seed = seed;
    let mut simulation = Simulation::with_setup(setup, false);
    let terms = Terms::new(1_000, (0..TABLE_LEN).collect(), Vec::new());
    let mut sampler = Sampler::new(terms.expect("good terms"));
    while simulation.now < START_NS + LIVED_NS {
        simulation.step_world(true);
        turn(&mut simulation, &mut sampler);
    }
    let mut samples = sampler.finish();
    let mut rng = Rng::labelled(seed, "noise");
    for row in &mut samples.rows {
        let mut values = row.values.to_vec();
        values.push(rng.unit() as f32);
        row.values = values.into();
    }
    samples
}

/// The desk's turn, with a look at the engine before each record.
fn turn(simulation: &mut Simulation, sampler: &mut Sampler) {
    let now = simulation.edge_now();
    let mut records = Vec::new();
    loop {
        records.clear();
        simulation.desk.collect(now, &mut records);
        while let Some(record) = simulation.desk.poll_durable(now) {
            records.push(record);
        }
        if records.is_empty() {
            return;
        }
        for record in &records {
            sampler.before(simulation.desk.engine(), record.at);
            simulation.fold(record);
        }
    }
}

fn size(found: &Coefficient) -> f64 {
    found.pooled.map_or(0.0, f64::abs)
}

fn seed() -> u64 {
    let named = std::env::var("TICKERML_SEED").ok();
    named.and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

#[test]
fn the_planted_predictors_rank_on_top_and_noise_does_not() {
    let seed = seed();
    let samples = samples(seed);
    let instruments = samples.instruments.len();
    assert_eq!(instruments, 4);
    let all: Vec<Coefficient> = (0..=TABLE_LEN)
        .map(|column| coefficient(&samples, column, 0))
        .collect();
    let rank = |column: usize| {
        let better = all.iter().filter(|one| size(one) > size(&all[column]));
        better.count() + 1
    };
    let said = |name: &str, column: usize| {
        let found = &all[column];
        println!(
            "seed {seed} {name}: IC {:?}, t {:?}, {} pairs, {} blocks, place {}",
            found.pooled,
            found.t,
            found.pairs,
            found.blocks,
            rank(column)
        );
    };
    let mut weakest = f64::MAX;
    for (name, sign, is_best) in PLANTED {
        let feature = features().find(|feature| feature.is_called(name));
        let column = feature.expect("a feature of the table").place;
        said(name, column);
        let (ic, t) = (all[column].pooled, all[column].t);
        let (ic, t) = (ic.expect("a coefficient") * sign, t.expect("blocks") * sign);
        assert!(t > T_MIN, "seed {seed}: {name} has t {t}");
        assert!(ic > 0.0, "seed {seed}: {name}: {ic}");
        let place = rank(column);
        assert!(
            !is_best || place <= TOP,
            "seed {seed}: {name} is number {place}"
        );
        weakest = weakest.min(ic);
    }
    said("noise", TABLE_LEN);
    let noise = &all[TABLE_LEN];
    assert!(size(noise) < weakest / 2.0, "seed {seed}: {noise:?}");
    assert!(
        noise.t.is_some_and(|t| t.abs() < T_MIN),
        "seed {seed}: {noise:?}"
    );
    nothing_is_found_in_shuffled_returns(seed, samples);
}

/// Returns that belong to other instants are foretold by nothing.
fn nothing_is_found_in_shuffled_returns(seed: u64, mut samples: Samples) {
    let mut rng = Rng::labelled(seed, "shuffle");
    for rows in samples
        .rows
        .chunk_by_mut(|a, b| a.instrument == b.instrument)
    {
        for last in (1..rows.len()).rev() {
            let other = rng.below(last as u64 + 1) as usize;
            let returns = rows[last].returns;
            rows[last].returns = rows[other].returns;
            rows[other].returns = returns;
        }
    }
    let tries = (TABLE_LEN * HORIZONS_S.len()) as f64;
    // Bonferroni, with P(Z > z) <= exp(-z^2 / 2).
    let z = (2.0 * (2.0 * tries / FALSE_ALARM).ln()).sqrt();
    let (mut largest, mut looked) = ((0.0_f64, 0.0_f64), 0);
    for column in 0..TABLE_LEN {
        for horizon in 0..HORIZONS_S.len() {
            let found = coefficient(&samples, column, horizon);
            let Some(ic) = found.pooled else { continue };
            looked += 1;
            let score = ic.abs() * (found.pairs as f64).sqrt();
            assert!(
                score < z,
                "seed {seed}: column {column}, {horizon}: {found:?}"
            );
            largest.0 = largest.0.max(score);
            if let Some(t) = found.t {
                let bound = student(z, found.blocks as f64 - 1.0);
                assert!(
                    t.abs() < bound,
                    "seed {seed}: column {column}, {horizon}: {found:?}"
                );
                largest.1 = largest.1.max(t.abs() / bound);
            }
        }
    }
    println!(
        "seed {seed}: shuffled, {looked} coefficients: largest {:.2} standard errors of {z:.2}, \
         largest t {:.2} of its bound",
        largest.0, largest.1
    );
    assert!(looked >= 3 * PLANTED.len());
}

/// Student's quantile from the normal one (Cornish and Fisher 1938, to the second order), which
/// needs more than a few degrees of freedom; no bound below them.
fn student(z: f64, degrees: f64) -> f64 {
    if degrees < 8.0 {
        return f64::INFINITY;
    }
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / degrees + second / degrees.powi(2)
}
