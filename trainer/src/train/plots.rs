//! A training on one page that needs nothing else: loss curves, and how well the probabilities of the action head
//! are calibrated.

use std::fmt::Write as _;

use super::Progress;

/// Width and height of a plot, and the margin that its labels take.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 48.0;
/// A curve has at most this many points: more cannot be told apart.
const POINTS_MAX: usize = 600;
/// Bins of predicted probability.
pub const BINS: usize = 10;

/// Predicted probabilities of classes against how often they were right, over all classes alike
/// (a reliability diagram: DeGroot & Fienberg 1983).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Cases of each bin.
    pub count: [u64; BINS],
    /// Sum of the predicted probabilities of each bin.
    pub predicted: [f64; BINS],
    /// How often the class was the one.
    pub hits: [u64; BINS],
}

impl Calibration {
    /// Adds one step: the logits of its classes and the class that was taken.
    pub fn add(&mut self, logits: &[f32], class: usize) {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let parts: Vec<f64> = logits
            .iter()
            .map(|logit| f64::from(logit - most).exp())
            .collect();
        let sum: f64 = parts.iter().sum();
        for (index, part) in parts.iter().enumerate() {
            let share = part / sum;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a probability times ten"
            )]
            let bin = ((share * BINS as f64) as usize).min(BINS - 1);
            self.count[bin] += 1;
            self.predicted[bin] += share;
            self.hits[bin] += u64::from(index == class);
        }
    }

    /// Mean distance of predicted from observed frequency, each bin weighing as many cases as it has
    /// (expected calibration error: Naeini et al. 2015).
    #[must_use]
    pub fn error(&self) -> f64 {
        let cases: u64 = self.count.iter().sum();
        let off: f64 = (0..BINS)
            .map(|bin| (self.predicted[bin] - float(self.hits[bin])).abs())
            .sum();
        if cases == 0 { 0.0 } else { off / float(cases) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

/// The page: what happened, step by step, and the calibration of the action head at the end.
#[must_use]
pub fn page(progress: &[Progress], calibration: &Calibration) -> String {
    let curve = |take: fn(&Progress) -> Option<f32>| -> Vec<(f64, f64)> {
        progress
            .iter()
            .filter_map(|one| Some((float(one.step), f64::from(take(one)?))))
            .collect()
    };
    let mut body = String::new();
    for (title, train, held_out) in [
        (
            "Loss, all heads",
            curve(|one| Some(one.losses.total)),
            curve(|one| Some(one.held_out?.total)),
        ),
        (
            "Action: cross-entropy in nats",
            curve(|one| Some(one.losses.action)),
            curve(|one| Some(one.held_out?.action)),
        ),
        (
            "Position: squared error",
            curve(|one| Some(one.losses.position)),
            curve(|one| Some(one.held_out?.position)),
        ),
        (
            "Risk: squared error",
            curve(|one| Some(one.losses.risk)),
            curve(|one| Some(one.held_out?.risk)),
        ),
        (
            "Value: squared error, in units of the return scale",
            curve(|one| Some(one.losses.value)),
            curve(|one| Some(one.held_out?.value)),
        ),
    ] {
        body += &plot(
            title,
            &[("training", "#888", train), ("held out", "#c33", held_out)],
        );
    }
    let bins: Vec<(f64, f64)> = (0..BINS)
        .filter(|bin| calibration.count[*bin] > 0)
        .map(|bin| {
            let count = float(calibration.count[bin]);
            (
                calibration.predicted[bin] / count,
                float(calibration.hits[bin]) / count,
            )
        })
        .collect();
    body += &plot(
        &format!(
            "Action: observed frequency over predicted probability (mean distance {:.3})",
            calibration.error()
        ),
        &[
            ("perfect", "#888", vec![(0.0, 0.0), (1.0, 1.0)]),
            ("model", "#c33", bins),
        ],
    );
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>TickerML training</title>\n\
         <style>body{{font:14px sans-serif;margin:2em;max-width:760px}}</style>\n\
         <h1>Training</h1>\n{body}</html>\n"
    )
}

/// Name, colour and points.
type Curve<'a> = (&'a str, &'a str, Vec<(f64, f64)>);

/// One figure with its curves.
fn plot(title: &str, curves: &[Curve<'_>]) -> String {
    let all = || curves.iter().flat_map(|(_, _, points)| points);
    let finite = |value: &f64| value.is_finite();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values
            .filter(finite)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low < high {
            (low, high)
        } else {
            (low - 0.5, low + 0.5)
        }
    };
    if all().next().is_none() {
        return String::new();
    }
    let (left, right) = range(&mut all().map(|point| point.0));
    let (bottom, top) = range(&mut all().map(|point| point.1));
    let x = |value: f64| MARGIN + (value - left) / (right - left) * (WIDTH - 2.0 * MARGIN);
    let y =
        |value: f64| HEIGHT - MARGIN - (value - bottom) / (top - bottom) * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<h2>{title}</h2>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-size=\"11\">\n\
         <rect x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#ccc\"/>\n",
        WIDTH - 2.0 * MARGIN,
        HEIGHT - 2.0 * MARGIN,
    );
    let mut text = |at: (f64, f64), anchor: &str, colour: &str, words: &str| {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>",
            at.0, at.1
        )
        .expect("a string takes everything");
    };
    text(
        (MARGIN - 4.0, HEIGHT - MARGIN),
        "end",
        "#333",
        &short(bottom),
    );
    text((MARGIN - 4.0, MARGIN + 8.0), "end", "#333", &short(top));
    text(
        (MARGIN, HEIGHT - MARGIN + 16.0),
        "start",
        "#333",
        &short(left),
    );
    text(
        (WIDTH - MARGIN, HEIGHT - MARGIN + 16.0),
        "end",
        "#333",
        &short(right),
    );
    let mut at = MARGIN;
    for (name, colour, _) in curves.iter().filter(|curve| !curve.2.is_empty()) {
        text((at, MARGIN - 8.0), "start", colour, name);
        at += 80.0;
    }
    for (_, colour, points) in curves {
        let every = points.len().div_ceil(POINTS_MAX).max(1);
        let path: Vec<String> = points
            .iter()
            .filter(|point| finite(&point.1))
            .step_by(every)
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>",
            path.join(" ")
        )
        .expect("a string takes everything");
    }
    svg + "</svg>\n"
}

/// Four digits are enough for an axis.
fn short(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sure_and_right_head_is_calibrated_and_a_sure_and_wrong_one_is_not() {
        let (mut right, mut wrong) = (Calibration::default(), Calibration::default());
        for _ in 0..100 {
            right.add(&[0.0, 30.0, 0.0], 1);
            wrong.add(&[0.0, 30.0, 0.0], 2);
        }
        assert!(right.error() < 1e-6);
        assert!((wrong.error() - 2.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn equal_logits_that_come_true_equally_often_are_calibrated() {
        let mut calibration = Calibration::default();
        for class in 0..300 {
            calibration.add(&[1.0; 3], class % 3);
        }
        assert_eq!(calibration.count[3], 900);
        assert!(calibration.error() < 1e-9);
    }
}
