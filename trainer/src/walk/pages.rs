//! A walk forward as pages, one an instrument.

use tickerml_shared::time::Time;

use super::{Course, HOLD, MODEL, WalkReport};
use crate::assess::{Interval, Track, difference};
use crate::behaviour::Terms;
use crate::report::Page;
use crate::report::chart::Line;
use crate::report::walk::{Fold, Walk, page};

/// Points of a drawn curve.
const POINTS_MAX: usize = 1_000;
/// Level of [`difference`].
const LEVEL: f64 = 0.95;

impl WalkReport {
    /// The pages, each with the name of its instrument. `block` is the bootstrap's mean block, in steps.
    #[must_use]
    pub fn pages(&self, terms: &Terms, block: usize, seed: u64) -> Vec<(String, Page)> {
        let models = self.courses.iter().filter(|course| course.policy == MODEL);
        models
            .filter_map(|model| {
                let walk = self.walk(model, terms, block, seed)?;
                Some((model.instrument.clone(), page(&walk)))
            })
            .collect()
    }

    /// What a page shows of an instrument; none when it was never judged.
    fn walk(&self, model: &Course, terms: &Terms, block: usize, seed: u64) -> Option<Walk> {
        let own = || {
            self.courses
                .iter()
                .filter(|course| course.instrument == model.instrument)
        };
        let held = own().find(|course| course.policy == HOLD)?;
        let starts: Vec<Time> = self
            .rows
            .iter()
            .filter(|row| row.instrument == model.instrument && row.policy == MODEL)
            .filter_map(|row| row.from)
            .collect();
        let folds: Vec<Fold> = starts
            .iter()
            .enumerate()
            .filter_map(|(fold, from)| {
                let to = starts.get(fold + 1).copied().unwrap_or(Time(u64::MAX));
                let (one, other) = (part(&model.track, *from, to), part(&held.track, *from, to));
                let (first, last) = (*one.at.first()?, *one.at.last()?);
                let (mean, interval) = per_step(&one, &other, block, seed);
                let earned = one.assess();
                Some(Fold {
                    learned: [self.began, *from],
                    tried: [first, last],
                    earned: earned.log_return.exp() - 1.0,
                    held: other.assess().log_return.exp() - 1.0,
                    difference: mean,
                    interval,
                    sharpe: earned.sharpe,
                    drawdown: earned.max_drawdown,
                    trades: earned.trades as u64,
                })
            })
            .collect();
        let (mean, interval) = per_step(&model.track, &held.track, block, seed);
        Some(Walk {
            market: model.instrument.clone(),
            costs: format!(
                "a taker fee of {} of the traded value and half the spread",
                terms.taker_fee
            ),
            level: LEVEL,
            folds,
            difference: mean,
            interval,
            curves: own().map(curve).collect(),
            paths: Vec::new(),
            overfitting: f64::NAN,
            deflated: f64::NAN,
        })
    }
}

/// The steps of a track from one instant to before another.
fn part(track: &Track, from: Time, to: Time) -> Track {
    let (first, end) = (
        track.at.partition_point(|at| *at < from),
        track.at.partition_point(|at| *at < to),
    );
    Track {
        at: track.at[first..end].to_vec(),
        growth: track.growth[first..end].to_vec(),
        positions: track.positions[first..end].to_vec(),
        traded: track.traded[first..end].to_vec(),
        paid: track.paid[first..end].to_vec(),
        pulse_ns: track.pulse_ns,
    }
}

/// Mean difference of a step, and its interval.
fn per_step(one: &Track, other: &Track, block: usize, seed: u64) -> (f64, [f64; 2]) {
    let steps = one.growth.len().max(1) as f64;
    let Interval {
        estimate,
        low,
        high,
        ..
    } = difference(one, other, block, seed);
    (estimate / steps, [low / steps, high / steps])
}

/// Account value over time, one at the start.
fn curve(course: &Course) -> Line {
    let stride = course.track.at.len().div_ceil(POINTS_MAX).max(1);
    let mut equity = 0.0_f64;
    let mut points = Vec::new();
    for (step, (at, growth)) in course.track.at.iter().zip(&course.track.growth).enumerate() {
        equity += growth;
        if step % stride == 0 || step + 1 == course.track.at.len() {
            points.push((at.0 as f64, equity.exp()));
        }
    }
    Line {
        name: course.policy.clone(),
        points,
    }
}
