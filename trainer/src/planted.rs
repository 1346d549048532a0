//! Simulated markets with and without an edge: does the trainer find what is there, and only that?
//!
//! A hidden signal follows an autoregression of order one and foretells the next returns; a few of the features of
//! a state show it, each with noise, scale and offset of its own, the others show nothing, and some are often
//! unknown. Costs are such that following the signal blindly loses and following it with patience pays. The
//! *oracle* sees the signal itself and trades it by the best pair of thresholds, chosen with hindsight on the very
//! path that is judged: more than any learner can hope for. In the market without an edge the signal foretells
//! nothing, and the answer is to stand aside.
//!
//! The network learns from replayed policies alone ([`crate::market::learn`]) and is judged on later time.

use burn::tensor::Device;
use tickerml_shared::features::{SELECTION, Vector};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::Time;

use crate::assess::{Asked, Assessment, Policy, account, follow};
use crate::behaviour::{Behaviour, Stretch, Terms};
use crate::market::{Course, Learned, Learning, learn};
use crate::model::DecisionTransformer;
use crate::quarantine::{Cutoff, DAYS_MIN, Dataset};
use crate::series::{MarketRow, Series};
use crate::spec::Spec;
use crate::tasks::{Bar, Proof, TaskError};

/// Nanoseconds of a pulse: an hour.
const PULSE_NS: u64 = 3_600 * 1_000_000_000;
/// Where simulated time begins: 1990.
const BEGIN: u64 = 20 * 365 * 86_400 * 1_000_000_000;
/// Persistence of the signal from step to step.
const PERSISTENCE: f64 = 0.95;
/// Standard deviation of a step's return that nothing foretells.
const NOISE: f64 = 0.002;
/// Return of a step that one unit of the signal foretells, where there is an edge.
const EDGE: f64 = 0.000_8;
/// Half the spread, as a fraction of the mid price.
const HALF_SPREAD: f64 = 0.000_1;
/// Fee of each trade.
const FEE: f64 = 0.001;
/// What holding must be expected to earn over a horizon: a fifth of what chance does to the price in it.
const HURDLE: f64 = 0.002;
/// Steps that returns look ahead.
const HORIZON: usize = 24;
/// Places of the features that show the signal, and the standard deviation of their noise.
const SHOWING: [(usize, f64); 8] = [
    (3, 0.5),
    (9, 0.9),
    (17, 0.6),
    (24, 1.0),
    (30, 0.5),
    (37, 0.8),
    (44, 0.7),
    (58, 0.6),
];
/// Every so many features one is unknown in a fifth of the steps; another one never moves.
const UNKNOWN_EVERY: usize = 7;
/// Place of the feature that never moves.
const CONSTANT: usize = 11;
/// Steps between two holes in the data.
const HOLE_EVERY: usize = 7_001;
/// The oracle chooses both its thresholds among the signals up to this, in steps of a twentieth of it.
const THRESHOLD_MAX: f64 = 2.0;
/// Part of the oracle's return that is to be earned.
const SHARE_OF_ORACLE: f64 = 0.7;
/// Share of the time in the market that is called flat.
const FLAT: f64 = 0.05;
/// The loss where there is no edge: what chance may do in so little time, in log equity.
const LOSS: f64 = 0.1;
/// Pieces in which a market is judged.
const LANES: usize = 64;

/// A market and the signal behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Planted {
    /// What can be seen.
    pub series: Series,
    /// What is behind it, for each row.
    pub signal: Vec<f64>,
}

/// A market of so many steps, with returns that follow the signal by `edge`.
#[must_use]
pub fn market(steps: usize, edge: f64, seed: u64) -> Planted {
    let mut rng = Rng::new(seed, 71);
    let looks: Vec<(f64, f64)> = (0..SELECTION.len())
        .map(|_| ((2.0 * normal(&mut rng)).exp(), 3.0 * normal(&mut rng)))
        .collect();
    let innovation = (1.0 - PERSISTENCE * PERSISTENCE).sqrt();
    let (mut signal, mut mid) = (normal(&mut rng), 100.0_f64);
    let mut planted = Planted {
        series: Series {
            instrument: "simulated:PLANTED".to_owned(),
            pulse_ns: PULSE_NS,
            rows: Vec::with_capacity(steps),
        },
        signal: Vec::with_capacity(steps),
    };
    for step in 0..steps {
        let hole = step % HOLE_EVERY == HOLE_EVERY - 1;
        planted.series.rows.push(MarketRow {
            at: Time(BEGIN + step as u64 * PULSE_NS),
            state: state(signal, &looks, &mut rng),
            bid: mid * (1.0 - HALF_SPREAD),
            ask: mid * (1.0 + HALF_SPREAD),
            masked: hole,
        });
        planted.signal.push(signal);
        // Itô's half variance taken off, so that the price itself does not drift.
        let drift = edge * signal - 0.5 * (NOISE * NOISE + edge * edge);
        mid *= (drift + NOISE * normal(&mut rng)).exp();
        signal = PERSISTENCE * signal + innovation * normal(&mut rng);
    }
    planted
}

fn state(signal: f64, looks: &[(f64, f64)], rng: &mut Rng) -> Vector {
    let mut vector = Vector::default();
    for (place, (scale, offset)) in looks.iter().enumerate() {
        let (chance, unknown) = (normal(rng), rng.below(5) == 0);
        let showing = SHOWING.iter().find(|(shows, _)| *shows == place);
        let seen = match showing {
            Some((_, noise)) => signal + noise * chance,
            None if place == CONSTANT => 0.0,
            None => chance,
        };
        if showing.is_some() || place % UNKNOWN_EVERY != 0 || !unknown {
            vector.values[place] = narrow(offset + scale * seen);
            vector.valid |= 1 << place;
        }
    }
    vector
}

/// The terms on which these markets are traded.
#[must_use]
pub fn terms() -> Terms {
    Terms {
        hurdle: HURDLE,
        ..Terms::spot(FEE, HORIZON)
    }
}

/// The network that is enough for them.
#[must_use]
pub fn spec() -> Spec {
    Spec {
        steps: 16,
        d_model: 32,
        heads: 2,
        d_ff: 64,
        bands: vec![2, 6],
        ..Spec::reference()
    }
}

/// The best that thresholds on the hidden signal earn on a path, chosen on that path: long from above the first
/// until below the second. Gives them and the assessment.
#[must_use]
pub fn oracle(planted: &Planted, terms: &Terms) -> ((f64, f64), Assessment) {
    // Signals of the rows that stretches of two steps or more consist of.
    let stretches = Stretch::all(&planted.series, 2);
    let (mut signals, mut row) = (Vec::with_capacity(planted.signal.len()), 0);
    for step in stretches.iter().flat_map(|stretch| stretch.rows) {
        while planted.series.rows[row].at < step.at {
            row += 1;
        }
        signals.push(planted.signal[row]);
    }
    let grid: Vec<f64> = (-10..=20)
        .map(|place| f64::from(place) * THRESHOLD_MAX / 20.0)
        .collect();
    let mut best = ((f64::INFINITY, f64::INFINITY), Assessment::default());
    for &enter in &grid {
        for &leave in grid.iter().filter(|leave| **leave <= enter) {
            let mut held = 0.0_f32;
            let positions: Vec<f32> = signals
                .iter()
                .map(|&signal| {
                    if signal > enter {
                        held = 1.0;
                    } else if signal < leave {
                        held = 0.0;
                    }
                    held
                })
                .collect();
            let earned = account(&planted.series, terms, &positions).assess();
            if earned.log_return > best.1.log_return {
                best = ((enter, leave), earned);
            }
        }
    }
    best
}

/// How much is simulated and how long is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Steps of history.
    pub history: usize,
    /// Steps that judge.
    pub judged: usize,
    /// Optimizer steps of each phase.
    pub training: u64,
}

impl Size {
    /// The form that is a test.
    pub const SHORT: Self = Self {
        history: 30_000,
        judged: 8_000,
        training: 300,
    };
    /// The whole.
    pub const WHOLE: Self = Self {
        history: 60_000,
        judged: 20_000,
        training: 500,
    };
}

/// What was learned of a market, what it earns later, and what the oracle and holding earn there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The network.
    pub model: Assessment,
    /// The oracle.
    pub oracle: Assessment,
    /// Buying once.
    pub hold: Assessment,
}

/// Learns a market and judges on later time.
///
/// # Errors
/// When training stops.
pub fn examine(
    edge: f64,
    size: Size,
    seed: u64,
    report: &mut impl FnMut(&str),
) -> Result<Outcome, TaskError> {
    let broken = |error: String| TaskError(error);
    let (terms, spec) = (terms(), spec());
    let past = market(size.history, edge, seed);
    let now = Time(BEGIN + (size.history as u64 + u64::from(DAYS_MIN) * 24) * PULSE_NS);
    let cutoff = Cutoff::new(now, DAYS_MIN).map_err(|error| broken(error.to_string()))?;
    let dataset = Dataset::new(vec![past.series], cutoff);
    let how = Learning::small(size.training, seed);
    let learned = learn(
        &dataset,
        &terms,
        &spec,
        &how,
        &Course::default(),
        &mut |_, progress| {
            if let Some(held_out) = progress.held_out {
                report(&format!(
                    "step {}: value loss {:.4}, held out {:.4}",
                    progress.step, progress.losses.value, held_out.value
                ));
            }
        },
    )
    .map_err(|error| broken(error.to_string()))?;
    let outcome = judge(&learned, edge, size, seed, &spec, &terms);
    report(&format!(
        "edge {edge}: earned {:.3}, oracle {:.3}, exposure {:.3}, trades {}",
        outcome.model.log_return,
        outcome.oracle.log_return,
        outcome.model.exposure,
        outcome.model.trades
    ));
    Ok(outcome)
}

fn judge(
    learned: &Learned,
    edge: f64,
    size: Size,
    seed: u64,
    spec: &Spec,
    terms: &Terms,
) -> Outcome {
    // The same looks of the features (they come first from the seed), another path: the one that follows.
    let mut later = market(size.history + size.judged, edge, seed);
    later.series.rows.drain(..size.history);
    later.signal.drain(..size.history);
    let model = DecisionTransformer::from_weights(spec, &learned.weights, &Device::flex());
    let asked = Asked {
        model: &model,
        spec,
        statistics: &learned.statistics,
        target: learned.target,
        lanes: LANES,
    };
    let hold = Policy::Behaviour(&Behaviour::BuyAndHold, seed);
    Outcome {
        model: follow(&later.series, terms, Policy::Model(&asked)).assess(),
        oracle: oracle(&later, terms).1,
        hold: follow(&later.series, terms, hold).assess(),
    }
}

/// Runs the proof for a seed: a market with an edge and one without. `short` is the form that is a test.
///
/// # Errors
/// When training stops.
pub fn prove(seed: u64, short: bool, report: &mut impl FnMut(&str)) -> Result<Proof, TaskError> {
    let size = if short { Size::SHORT } else { Size::WHOLE };
    let mut proof = Proof::new("planted");
    let edge = examine(EDGE, size, seed, report)?;
    let share = edge.model.log_return / edge.oracle.log_return;
    proof.add(
        "oracle's log return after costs",
        edge.oracle.log_return,
        Bar::AtLeast(0.5),
    );
    proof.add(
        "buy-and-hold's log return",
        edge.hold.log_return,
        Bar::Shown,
    );
    proof.add(
        "network's log return after costs",
        edge.model.log_return,
        Bar::Shown,
    );
    proof.add(
        "network's share of the oracle's return",
        share,
        Bar::AtLeast(SHARE_OF_ORACLE),
    );
    let none = examine(0.0, size, seed, report)?;
    proof.add(
        "no edge: share of the time in the market",
        none.model.exposure,
        Bar::AtMost(FLAT),
    );
    proof.add(
        "no edge: log return after costs",
        none.model.log_return,
        Bar::AtLeast(-LOSS),
    );
    Ok(proof)
}

/// A normal number, by Box and Muller (1958).
fn normal(rng: &mut Rng) -> f64 {
    let uniform = |rng: &mut Rng| (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    let radius = (-2.0 * uniform(rng).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

#[expect(clippy::cast_possible_truncation, reason = "features are f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_edge_pays_for_patience_and_not_for_haste() {
        let planted = market(20_000, EDGE, 5);
        let ((enter, leave), best) = oracle(&planted, &terms());
        assert!(enter > leave, "a band of patience: {enter} {leave}");
        assert!(best.log_return > 1.0, "{best:?}");
        let hasty: Vec<f32> = planted
            .signal
            .iter()
            .map(|signal| f32::from(u8::from(*signal > 0.0)))
            .collect();
        let hasty = account(&planted.series, &terms(), &hasty).assess();
        assert!(
            hasty.log_return < 0.8 * best.log_return,
            "{hasty:?} {best:?}"
        );
    }

    #[test]
    fn without_an_edge_no_threshold_earns_much() {
        let planted = market(20_000, 0.0, 5);
        let (_, best) = oracle(&planted, &terms());
        // The best of hundreds of tries on the path itself, against a noise of 0.28 over all of it.
        assert!(best.log_return < 0.6, "{best:?}");
    }

    #[test]
    fn the_network_earns_most_of_what_the_oracle_does_and_stands_aside_without_an_edge() {
        let proof = prove(3, true, &mut |line| println!("{line}")).expect("a training that ends");
        assert!(proof.passed(), "{proof}");
    }
}
