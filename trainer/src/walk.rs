//! A walk forward through real history: learn from the past, wait, trade the next year, and tell honestly.
//!
//! Each fold learns from everything before its year, less an embargo, and is judged on the year alone, after costs,
//! against doing nothing, holding, and simple policies. The judged years are joined to one course per instrument, and
//! the differences to the benchmarks get intervals by the stationary bootstrap. All of it lies before the cut-off.

mod pages;

use std::fmt;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use tickerml_shared::time::Time;

use crate::assess::{Asked, Assessment, Interval, Policy, Track, difference, follow};
use crate::behaviour::{Behaviour, Terms};
use crate::market::{self, Learned, Learning, MarketError, between, learn};
use crate::model::DecisionTransformer;
use crate::quarantine::Dataset;
use crate::series::Series;
use crate::spec::Spec;
use crate::train::Progress;

/// Nanoseconds of a day.
const DAY_NS: u64 = 86_400 * 1_000_000_000;
/// Fewest steps of a judged year; a shorter rest of history is not judged.
const FEWEST: usize = 1_000;
/// Folds at most.
const FOLDS_MAX: usize = 32;
/// Pieces in which a year is followed.
const LANES: usize = 64;

/// How to walk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walk {
    /// Days of history before the first judged span.
    pub first_days: u64,
    /// Days of a judged span.
    pub judged_days: u64,
    /// Steps between what is learned from and what is judged; at least the horizon.
    pub embargo: usize,
    /// Shape of the network.
    pub spec: Spec,
    /// How each fold is learned.
    pub learning: Learning,
    /// Mean block of the bootstrap, in steps.
    pub block: usize,
}

impl Walk {
    /// Three years, then year by year, with a small network: minutes on two cores.
    #[must_use]
    pub fn yearly(terms: &Terms, seed: u64) -> Self {
        Self {
            first_days: 3 * 365,
            judged_days: 365,
            embargo: terms.horizon + 24 * 7,
            spec: Spec {
                steps: 24,
                d_model: 32,
                heads: 2,
                d_ff: 64,
                bands: vec![4, 12],
                ..Spec::reference()
            },
            learning: Learning::small(500, seed),
            block: 24 * 7,
        }
    }
}

/// What one policy earned in one judged span.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Venue and symbol.
    pub instrument: String,
    /// First instant of the judged span; none for all spans together.
    pub from: Option<Time>,
    /// Whose.
    pub policy: String,
    /// What it earned.
    pub earned: Assessment,
}

/// How much more the network earned than a benchmark, over all judged spans of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Venue and symbol.
    pub instrument: String,
    /// The benchmark.
    pub benchmark: String,
    /// Difference of log equity at the end.
    pub difference: Interval,
}

/// One policy's course through all judged spans of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Venue and symbol.
    pub instrument: String,
    /// Whose.
    pub policy: String,
    /// Step by step.
    pub track: Track,
}

/// The outcome of a walk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalkReport {
    /// Span by span, then all spans together.
    pub rows: Vec<Row>,
    /// Against the benchmarks.
    pub compared: Vec<Compared>,
    /// The joined courses of all spans: the network's first, then the benchmarks', instrument by instrument.
    pub courses: Vec<Course>,
    /// Spans that were judged.
    pub folds: usize,
}

impl WalkReport {
    /// Whether the network beat holding on every instrument, with the whole interval above zero.
    #[must_use]
    pub fn beats_holding(&self) -> bool {
        let mut against = self
            .compared
            .iter()
            .filter(|one| one.benchmark == HOLD)
            .peekable();
        against.peek().is_some() && against.all(|one| one.difference.low > 0.0)
    }
}

impl fmt::Display for WalkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18} {:>11} {:<24} {:>9} {:>8} {:>9} {:>9} {:>7} {:>9}",
            "instrument",
            "day",
            "policy",
            "log ret",
            "sharpe",
            "drawdown",
            "exposure",
            "trades",
            "costs"
        )?;
        for row in &self.rows {
            let day = row
                .from
                .map_or("all".to_owned(), |from| (from.0 / DAY_NS).to_string());
            let earned = &row.earned;
            writeln!(
                f,
                "{:<18} {day:>11} {:<24} {:>9.4} {:>8.2} {:>9.3} {:>9.3} {:>7} {:>9.4}",
                row.instrument,
                row.policy,
                earned.log_return,
                earned.sharpe,
                earned.max_drawdown,
                earned.exposure,
                earned.trades,
                earned.costs
            )?;
        }
        for one in &self.compared {
            let Interval {
                estimate,
                low,
                high,
            } = one.difference;
            writeln!(
                f,
                "{:<18} model - {:<18} {estimate:>9.4}  95% [{low:.4}, {high:.4}]",
                one.instrument, one.benchmark
            )?;
        }
        let verdict = if self.beats_holding() {
            "beats"
        } else {
            "does not beat"
        };
        write!(
            f,
            "The network {verdict} buy-and-hold after costs at 95 % on every instrument."
        )
    }
}

/// Name of the network in a report.
pub const MODEL: &str = "model";
/// Name of the benchmark that holds.
const HOLD: &str = "buy-and-hold";

fn benchmarks(terms: &Terms) -> Vec<Behaviour> {
    vec![
        Behaviour::Flat,
        Behaviour::BuyAndHold,
        Behaviour::Momentum {
            steps: terms.horizon,
        },
        Behaviour::MeanReversion {
            steps: terms.horizon,
        },
    ]
}

/// Walks forward: see the head of this file.
///
/// # Errors
/// When there is too little history for a single fold, or a fold cannot be learned.
pub fn forward(
    dataset: &Dataset,
    terms: &Terms,
    walk: &Walk,
    report: &mut dyn FnMut(&str),
) -> Result<WalkReport, MarketError> {
    let times = || {
        dataset
            .series()
            .iter()
            .flat_map(|series| &series.rows)
            .map(|row| row.at)
    };
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Err(MarketError(
            "there is no history before the cut-off; import some".to_owned(),
        ));
    };
    let pulse = dataset
        .series()
        .iter()
        .map(|one| one.pulse_ns)
        .max()
        .unwrap_or(0);
    let mut courses = Courses::new(dataset, terms);
    let mut outcome = WalkReport::default();
    for fold in 0..FOLDS_MAX as u64 {
        let from = Time(first.0 + (walk.first_days + fold * walk.judged_days) * DAY_NS);
        let to = Time(from.0 + walk.judged_days * DAY_NS);
        if from > last {
            break;
        }
        let end = Time(from.0.saturating_sub(pulse * walk.embargo as u64));
        let (Some(past), Some(judged)) =
            (between(dataset, Time(0), end), between(dataset, from, to))
        else {
            continue;
        };
        let steps = judged
            .series()
            .iter()
            .map(|series| series.rows.len())
            .max()
            .unwrap_or(0);
        if steps < FEWEST {
            continue;
        }
        let learned = learn(
            &past,
            terms,
            &walk.spec,
            &walk.learning,
            &market::Course::default(),
            &mut |phase: &str, progress: &Progress| {
                if let Some(held_out) = progress.held_out {
                    report(&format!(
                        "fold {fold}, {phase}, step {}: value loss {:.4}, held out {:.4}",
                        progress.step, progress.losses.value, held_out.value
                    ));
                }
            },
        )?;
        courses.judge(judged.series(), from, &learned, walk, &mut outcome);
        outcome.folds += 1;
        report(&format!("fold {fold} is judged on {steps} steps"));
    }
    if outcome.folds == 0 {
        return Err(MarketError(format!(
            "history is shorter than {} days and a judged span of {FEWEST} steps; import more or lower first_days",
            walk.first_days
        )));
    }
    courses.finish(walk, &mut outcome);
    Ok(outcome)
}

/// The joined courses of the model and of the benchmarks, for each instrument.
struct Courses<'a> {
    terms: &'a Terms,
    benchmarks: Vec<Behaviour>,
    instruments: Vec<(String, Vec<Track>)>,
}

impl<'a> Courses<'a> {
    fn new(dataset: &Dataset, terms: &'a Terms) -> Self {
        let benchmarks = benchmarks(terms);
        let series = dataset.series().iter();
        let instruments = series.map(|series| {
            let empty = Track {
                pulse_ns: series.pulse_ns,
                ..Track::default()
            };
            (series.instrument.clone(), vec![empty; 1 + benchmarks.len()])
        });
        let instruments = instruments.collect();
        Self {
            terms,
            benchmarks,
            instruments,
        }
    }

    fn names(&self) -> Vec<String> {
        let benchmarks = self.benchmarks.iter().map(Behaviour::name);
        std::iter::once(MODEL.to_owned())
            .chain(benchmarks)
            .collect()
    }

    fn judge(
        &mut self,
        series: &[Series],
        from: Time,
        learned: &Learned,
        walk: &Walk,
        into: &mut WalkReport,
    ) {
        let model =
            DecisionTransformer::from_weights(&walk.spec, &learned.weights, &Device::flex());
        let asked = Asked {
            model: &model,
            spec: &walk.spec,
            statistics: &learned.statistics,
            target: learned.target,
            lanes: LANES,
        };
        let names = self.names();
        for series in series {
            let Some((_, joined)) = self
                .instruments
                .iter_mut()
                .find(|(name, _)| *name == series.instrument)
            else {
                continue;
            };
            let policies = self
                .benchmarks
                .iter()
                .map(|one| Policy::Behaviour(one, walk.learning.seed));
            let policies = std::iter::once(Policy::Model(&asked)).chain(policies);
            for ((policy, name), joined) in policies.zip(&names).zip(joined) {
                let track = follow(series, self.terms, policy);
                into.rows.push(Row {
                    instrument: series.instrument.clone(),
                    from: Some(from),
                    policy: name.clone(),
                    earned: track.assess(),
                });
                joined.at.extend(track.at);
                joined.growth.extend(track.growth);
                joined.positions.extend(track.positions);
                joined.traded.extend(track.traded);
                joined.paid.extend(track.paid);
            }
        }
    }

    fn finish(&self, walk: &Walk, into: &mut WalkReport) {
        let names = self.names();
        for (instrument, tracks) in &self.instruments {
            for (name, track) in names.iter().zip(tracks) {
                into.rows.push(Row {
                    instrument: instrument.clone(),
                    from: None,
                    policy: name.clone(),
                    earned: track.assess(),
                });
                into.courses.push(Course {
                    instrument: instrument.clone(),
                    policy: name.clone(),
                    track: track.clone(),
                });
            }
            for (name, track) in names.iter().zip(tracks).skip(1) {
                into.compared.push(Compared {
                    instrument: instrument.clone(),
                    benchmark: name.clone(),
                    difference: difference(&tracks[0], track, walk.block, walk.learning.seed),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;
    use crate::quarantine::{Cutoff, DAYS_MIN};

    #[test]
    fn a_walk_judges_each_span_once_and_says_whether_holding_was_beaten() {
        let planted = planted::market(9_000, 0.0, 3);
        let last = planted.series.rows[8_999].at;
        let now = Time(last.0 + u64::from(DAYS_MIN + 1) * DAY_NS);
        let cutoff = Cutoff::new(now, DAYS_MIN).expect("thirty days");
        let dataset = Dataset::new(vec![planted.series], cutoff);
        let terms = planted::terms();
        let walk = Walk {
            first_days: 150,
            judged_days: 100,
            learning: Learning::small(8, 1),
            spec: planted::spec(),
            ..Walk::yearly(&terms, 1)
        };
        let outcome = forward(&dataset, &terms, &walk, &mut |_| ()).expect("a walk");
        // 375 days: 150 to learn from, two spans of 100, and 25 that are too few to be judged.
        assert_eq!(
            (outcome.folds, outcome.rows.len(), outcome.compared.len()),
            (2, 15, 4)
        );
        let flat: Vec<&Row> = outcome
            .rows
            .iter()
            .filter(|row| row.policy == "flat")
            .collect();
        assert!(
            flat.iter()
                .all(|row| row.earned.log_return.abs() < f64::EPSILON)
        );
        let model: Vec<&Row> = outcome
            .rows
            .iter()
            .filter(|row| row.policy == MODEL)
            .collect();
        let parts = model[0].earned.log_return + model[1].earned.log_return;
        assert!((parts - model[2].earned.log_return).abs() < 1e-9);
        assert!(!outcome.beats_holding() || outcome.compared[1].difference.low > 0.0);
        let short = Walk {
            first_days: 900,
            ..walk
        };
        let error = forward(&dataset, &terms, &short, &mut |_| ()).expect_err("too little history");
        assert!(error.to_string().contains("shorter than 900 days"));
    }
}
