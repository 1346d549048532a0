//! What a policy earns along a market, after costs, and how sure one can be of it.
//!
//! A policy is followed in a closed loop: what it sees of its own past is what it answered. A model is followed in
//! many lanes at once: a stretch is cut into pieces, and each piece is begun [`WARM_UP`] windows early, so that the
//! policy finds its own position before its piece begins. The pieces are then one course of positions again, whose
//! every change is paid for. With one lane a stretch, nothing is cut.

use tickerml_shared::action::{Action, Choice};
use tickerml_shared::rand::Rng;
use tickerml_shared::reward::Course;
use tickerml_shared::time::Time;

use crate::batch::Batch;
use crate::behaviour::{Behaviour, CLASSES, Stretch, Terms};
use crate::gate::evidence::{self, Draw};
use crate::model::DecisionTransformer;
use crate::series::Series;
use crate::spec::{Spec, Statistics};

/// Nanoseconds in the year of 365 days by which figures are annualised.
const YEAR_NS: f64 = 365.0 * 86_400.0 * 1e9;
/// Windows by which a lane begins before its piece.
pub const WARM_UP: usize = 2;
/// Level of the intervals.
pub const LEVEL: f64 = 0.95;
/// Resamples of a bootstrap.
pub const RESAMPLES: usize = 1_000;
/// A position that changes by less than this is not traded: rounding.
const NOTHING: f32 = 1e-6;

/// A model with what it needs to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The network.
    pub model: &'a DecisionTransformer,
    /// Its shape.
    pub spec: &'a Spec,
    /// What normalises its inputs.
    pub statistics: &'a Statistics,
    /// The return-to-go that it is shown at every step.
    pub target: f32,
    /// Pieces that are followed at the same time, at most.
    pub lanes: usize,
}

/// Who is followed.
#[derive(Clone, Copy, Debug)]
pub enum Policy<'a> {
    /// A policy of the past, with the seed of its chances.
    Behaviour(&'a Behaviour, u64),
    /// A network.
    Model(&'a Asked<'a>),
}

/// What happened, step by step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// When.
    pub at: Vec<Time>,
    /// Growth of log equity from the step to the next one, after costs.
    pub growth: Vec<f64>,
    /// Position held from the step to the next one.
    pub positions: Vec<f32>,
    /// Value traded at the step, as a share of equity.
    pub traded: Vec<f64>,
    /// Paid for it, as a share of equity.
    pub paid: Vec<f64>,
    /// Nanoseconds between pulses.
    pub pulse_ns: u64,
}

/// What a [`Track`] amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Assessment {
    /// Steps.
    pub steps: usize,
    /// Growth of log equity.
    pub log_return: f64,
    /// Mean over standard deviation of the growth of a step; zero when it never moves.
    pub sharpe_step: f64,
    /// The same for a year.
    pub sharpe: f64,
    /// Deepest fall from a peak, as a share.
    pub max_drawdown: f64,
    /// Value traded, in units of equity.
    pub turnover: f64,
    /// Steps at which something was traded.
    pub trades: usize,
    /// Mean magnitude of the position.
    pub exposure: f64,
    /// Costs paid, as shares of equity added up.
    pub costs: f64,
}

impl Track {
    /// What it amounts to.
    #[must_use]
    pub fn assess(&self) -> Assessment {
        let steps = self.growth.len();
        let count = steps.max(1) as f64;
        let log_return: f64 = self.growth.iter().sum();
        let mean = log_return / count;
        let squares: f64 = self
            .growth
            .iter()
            .map(|growth| (growth - mean).powi(2))
            .sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        let sharpe_step = if deviation > 0.0 {
            mean / deviation
        } else {
            0.0
        };
        let (mut equity, mut peak, mut worst) = (0.0_f64, 0.0_f64, 0.0_f64);
        for growth in &self.growth {
            equity += growth;
            peak = peak.max(equity);
            worst = worst.max(peak - equity);
        }
        let held: f64 = self
            .positions
            .iter()
            .map(|held| f64::from(held.abs()))
            .sum();
        Assessment {
            steps,
            log_return,
            sharpe_step,
            sharpe: sharpe_step * (YEAR_NS / self.pulse_ns.max(1) as f64).sqrt(),
            max_drawdown: 1.0 - (-worst).exp(),
            turnover: self.traded.iter().sum(),
            trades: self.traded.iter().filter(|traded| **traded > 0.0).count(),
            exposure: held / count,
            costs: self.paid.iter().sum(),
        }
    }

    /// Adds a stretch at whose last step the position is closed.
    fn add(&mut self, stretch: &Stretch<'_>, positions: &[f32], terms: &Terms) {
        let (mut held, mut course) = (0.0_f32, Course::default());
        let last = stretch.len() - 1;
        for (step, &position) in positions.iter().enumerate() {
            let wanted = if step == last { 0.0 } else { position };
            let position = if (wanted - held).abs() < NOTHING {
                held
            } else {
                wanted
            };
            let change = f64::from(position) - f64::from(held);
            let paid = terms.cost(stretch.half_spread(step), change);
            let before = course.equity;
            course.step(f64::from(position), stretch.change(step), paid);
            self.at.push(stretch.rows[step].at);
            self.growth.push(course.equity - before);
            self.positions.push(position);
            self.traded.push(change.abs());
            self.paid.push(paid);
            held = position;
        }
    }
}

/// Follows a policy along a series, flat at the start and at the end of each stretch.
#[must_use]
pub fn follow(series: &Series, terms: &Terms, policy: Policy<'_>) -> Track {
    let stretches = Stretch::all(series, 2);
    let mut track = Track {
        pulse_ns: series.pulse_ns,
        ..Track::default()
    };
    let courses: Vec<Vec<f32>> = match policy {
        Policy::Behaviour(behaviour, seed) => (0_u64..)
            .zip(&stretches)
            .map(|(index, stretch)| behaviour.positions(stretch, terms, &mut Rng::new(seed, index)))
            .collect(),
        Policy::Model(asked) => answered(&stretches, terms, asked),
    };
    for (stretch, positions) in stretches.iter().zip(&courses) {
        track.add(stretch, positions, terms);
    }
    track
}

/// What a policy earns that takes given positions, one for each step of all stretches of two steps or more.
#[must_use]
pub fn account(series: &Series, terms: &Terms, positions: &[f32]) -> Track {
    let mut track = Track {
        pulse_ns: series.pulse_ns,
        ..Track::default()
    };
    let mut from = 0;
    for stretch in Stretch::all(series, 2) {
        let to = (from + stretch.len()).min(positions.len());
        track.add(&stretch, &positions[from..to], terms);
        from = to;
    }
    track
}

/// A piece of a stretch on its way.
struct Lane {
    stretch: usize,
    /// Where it began, before its piece.
    begin: usize,
    /// The piece.
    from: usize,
    to: usize,
    /// Answers from `begin` on: class and size.
    answers: Vec<(u32, f32)>,
    position: f32,
}

/// Cuts stretches into pieces of about the same length.
fn lanes(stretches: &[Stretch<'_>], wanted: usize, warm_up: usize) -> Vec<Lane> {
    let total: usize = stretches.iter().map(Stretch::len).sum();
    let piece = total.div_ceil(wanted.max(1)).max(1);
    let mut lanes = Vec::new();
    for (stretch, rows) in stretches.iter().enumerate() {
        let mut from = 0;
        while from < rows.len() {
            let to = (from + piece).min(rows.len());
            lanes.push(Lane {
                stretch,
                begin: from.saturating_sub(warm_up),
                from,
                to,
                answers: Vec::with_capacity(to - from + warm_up),
                position: 0.0,
            });
            from = to;
        }
    }
    lanes
}

/// The positions that a model takes, for each stretch.
fn answered(stretches: &[Stretch<'_>], terms: &Terms, asked: &Asked<'_>) -> Vec<Vec<f32>> {
    let mut lanes = lanes(stretches, asked.lanes, WARM_UP * asked.spec.steps);
    let mut positions: Vec<Vec<f32>> = stretches
        .iter()
        .map(|stretch| vec![0.0; stretch.len()])
        .collect();
    // Longest first, so that those which still run are always the first ones; in groups of bounded size.
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.to - lane.begin));
    for group in lanes.chunks_mut(asked.lanes.max(1)) {
        let longest = group
            .iter()
            .map(|lane| lane.to - lane.begin)
            .max()
            .unwrap_or(0);
        for tick in 0..longest {
            let running = group
                .iter()
                .take_while(|lane| lane.begin + tick < lane.to)
                .count();
            let group = &mut group[..running];
            let actions = ask(stretches, group, tick, asked);
            for (lane, action) in group.iter_mut().zip(actions) {
                let size = match action.choice {
                    Choice::Hold => 0.0,
                    _ => action.size(),
                };
                let class = action.class();
                lane.position = terms.moved(lane.position, class, size);
                lane.answers.push((u32::try_from(class).unwrap_or(0), size));
                let step = lane.begin + tick;
                if step >= lane.from {
                    positions[lane.stretch][step] = lane.position;
                }
            }
        }
    }
    positions
}

/// The answers of a model to the step of each lane.
fn ask(stretches: &[Stretch<'_>], lanes: &[Lane], tick: usize, asked: &Asked<'_>) -> Vec<Action> {
    let (steps, wide) = (asked.spec.steps, asked.spec.state);
    let seen = (tick + 1).min(steps);
    let mut batch = Batch::empty(lanes.len(), steps, wide, CLASSES);
    for (row, lane) in lanes.iter().enumerate() {
        for place in 0..seen {
            let (cell, since) = (row * steps + place, tick + 1 - seen + place);
            let state = &stretches[lane.stretch].rows[lane.begin + since].state;
            batch.states[cell * wide..][..wide].copy_from_slice(&state.values);
            batch.valid[cell * wide..][..wide].copy_from_slice(&state.known());
            batch.live[cell] = 1.0;
            batch.returns[cell] = asked.target;
            batch.known[cell] = 1.0;
            if let Some(before) = since.checked_sub(1) {
                (batch.previous[cell], batch.previous_size[cell]) = lane.answers[before];
            }
        }
    }
    let outputs = asked.model.predict(&batch, asked.statistics, asked.spec);
    let answers = (0..lanes.len()).map(|row| {
        let cell = row * steps + seen - 1;
        let heads = cell * CLASSES;
        let logits: [f32; CLASSES] = std::array::from_fn(|class| outputs.action[heads + class]);
        let value = outputs.value[heads..heads + CLASSES]
            .iter()
            .copied()
            .fold(f32::MIN, f32::max);
        let value = value * asked.statistics.return_scale;
        Action::from_heads(logits, outputs.size[cell], outputs.risk[cell], value)
    });
    answers.collect()
}

/// A figure with an interval around it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The figure as measured.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95 % interval of how much more log equity grew on one track than on another, by the stationary bootstrap
/// (Politis and Romano 1994): the differences of steps are drawn in blocks of geometric length, `block` on
/// average, around the end. The interval is of percentiles.
///
/// # Panics
/// When the tracks are not of the same steps: a defect of the caller.
#[must_use]
pub fn difference(one: &Track, other: &Track, block: usize, seed: u64) -> Interval {
    assert_eq!(one.at, other.at, "tracks of the same steps");
    let pairs = one.growth.iter().zip(&other.growth);
    let steps: Vec<f64> = pairs.map(|(one, other)| one - other).collect();
    bootstrap(&steps, block, seed)
}

/// The interval of a sum of dependent numbers: see [`difference`]. Nothing where there are too few of them.
#[must_use]
pub fn bootstrap(steps: &[f64], block: usize, seed: u64) -> Interval {
    let draw = Draw {
        level: LEVEL,
        resamples: RESAMPLES,
        block: Some(block as f64),
        seed,
    };
    let count = steps.len() as f64;
    evidence::interval(steps, &draw).map_or_else(Interval::default, |mean| Interval {
        estimate: mean.mean * count,
        low: mean.low * count,
        high: mean.high * count,
    })
}

#[cfg(test)]
mod tests;
