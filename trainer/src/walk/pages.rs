//! A walk forward as a page.

use super::{Course, HOLD, MODEL, WalkReport};
use crate::assess::LEVEL;
use crate::behaviour::Terms;
use crate::report::Page;
use crate::report::chart::Line;
use crate::report::walk::{Compared, Row, Walk, page};

/// Points of a drawn curve.
const POINTS_MAX: usize = 1_000;

impl WalkReport {
    /// The page: fold by fold, all folds together, and whether holding was beaten.
    #[must_use]
    pub fn page(&self, terms: &Terms) -> Page {
        let mut instruments: Vec<&str> = self
            .courses
            .iter()
            .map(|course| course.instrument.as_str())
            .collect();
        instruments.dedup();
        let rows = self.rows.iter().map(|row| Row {
            instrument: row.instrument.clone(),
            from: row.from,
            policy: row.policy.clone(),
            earned: row.earned.log_return.exp() - 1.0,
            sharpe: row.earned.sharpe,
            drawdown: row.earned.max_drawdown,
            exposure: row.earned.exposure,
            trades: row.earned.trades as u64,
            costs: row.earned.costs,
        });
        let compared = self.compared.iter().map(|one| Compared {
            instrument: one.instrument.clone(),
            benchmark: one.benchmark.clone(),
            difference: one.difference.estimate,
            interval: [one.difference.low, one.difference.high],
        });
        // Of several instruments a chart would be a tangle: the network and holding say most.
        let several = instruments.len() > 1;
        let drawn = self
            .courses
            .iter()
            .filter(|course| !several || [MODEL, HOLD].contains(&course.policy.as_str()));
        page(&Walk {
            market: instruments.join(", "),
            costs: format!(
                "a taker fee of {} of the traded value and half the spread",
                terms.taker_fee
            ),
            level: LEVEL,
            model: MODEL.to_owned(),
            holding: HOLD.to_owned(),
            rows: rows.collect(),
            compared: compared.collect(),
            curves: drawn.map(|course| curve(course, several)).collect(),
            paths: Vec::new(),
            overfitting: f64::NAN,
            deflated: f64::NAN,
        })
    }
}

/// Account value over time, one at the start.
fn curve(course: &Course, several: bool) -> Line {
    let stride = course.track.at.len().div_ceil(POINTS_MAX).max(1);
    let mut equity = 0.0_f64;
    let mut points = Vec::new();
    for (step, (at, growth)) in course.track.at.iter().zip(&course.track.growth).enumerate() {
        equity += growth;
        if step % stride == 0 || step + 1 == course.track.at.len() {
            points.push((at.0 as f64, equity.exp()));
        }
    }
    let name = if several {
        format!("{} {}", course.instrument, course.policy)
    } else {
        course.policy.clone()
    };
    Line { name, points }
}
