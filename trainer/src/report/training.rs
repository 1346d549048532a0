//! How a training went: read from the lines that it wrote as it went.
//!
//! Each line of [`crate::train::METRICS_FILE`] is an object with `step`, `learning_rate`, `losses`,
//! `gradient_norm`, `tokens_per_second` and, where the model was held against what it had not seen,
//! `held_out`. Whatever else stands there is left alone, and a line that cannot be read (the last one, after
//! a crash) is counted and passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;
use tickerml_edge::web::html::{int, significant};

use super::chart::{Axis, Bin, Line, Lines, Unit};
use super::{Page, ReportError, Tone};

/// Longest line that is read, in bytes.
const LINE_MAX: usize = 1 << 20;
/// Lines that are read; more would be decades of training.
const LINES_MAX: usize = 4_000_000;
/// Nested objects are followed so deep.
const DEPTH_MAX: usize = 3;

/// What was read of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Numbers by their name (`losses.action`), with the step at which they were written.
    pub numbers: BTreeMap<String, Vec<(f64, f64)>>,
    /// Lines read.
    pub lines: usize,
    /// Lines that could not be read.
    pub unreadable: usize,
}

impl Metrics {
    /// Reads the lines of a file.
    ///
    /// # Errors
    /// When it cannot be opened or read, or holds no line of a training.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let failed = |error: std::io::Error| {
            ReportError(format!(
                "{}: {error}: is it the metrics file of a training?",
                path.display()
            ))
        };
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let mut metrics = Self::default();
        let mut line = Vec::new();
        for _ in 0..LINES_MAX {
            line.clear();
            let mut limited = std::io::Read::take(&mut reader, LINE_MAX as u64);
            if limited.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            metrics.line(&line);
        }
        if metrics.lines == 0 {
            return Err(ReportError(format!(
                "{}: no line of a training in it; name the metrics.jsonl of one",
                path.display()
            )));
        }
        Ok(metrics)
    }

    /// Takes one line.
    fn line(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let parsed: Option<Value> = serde_json::from_slice(line).ok();
        let step = parsed.as_ref().and_then(|value| value["step"].as_f64());
        let (Some(Value::Object(fields)), Some(step)) = (parsed, step) else {
            self.unreadable += 1;
            return;
        };
        self.lines += 1;
        for (name, value) in &fields {
            if name != "step" {
                self.take(name, value, step, 0);
            }
        }
    }

    fn take(&mut self, name: &str, value: &Value, step: f64, depth: usize) {
        if let Some(number) = value.as_f64() {
            let points = self.numbers.entry(name.to_owned()).or_default();
            points.push((step, number));
        } else if let Value::Object(fields) = value
            && depth < DEPTH_MAX
        {
            for (part, value) in fields {
                self.take(&format!("{name}.{part}"), value, step, depth + 1);
            }
        }
    }

    /// The numbers of a group (`losses`), each under what follows its name; the total first.
    fn group(&self, group: &str) -> Vec<Line> {
        let prefix = format!("{group}.");
        let mut lines: Vec<Line> = self
            .numbers
            .iter()
            .filter_map(|(name, points)| {
                let short = if name == group {
                    "total"
                } else {
                    name.strip_prefix(&prefix)?
                };
                Some(Line {
                    name: short.to_owned(),
                    points: points.clone(),
                })
            })
            .collect();
        lines.sort_by_key(|line| line.name != "total");
        lines
    }

    /// The newest value of a number.
    fn newest(&self, name: &str) -> Option<f64> {
        Some(self.numbers.get(name)?.last()?.1)
    }
}

/// What a training's page shows besides its metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// What it learned from, how and with which seed: names and values.
    pub facts: Vec<(String, String)>,
    /// Calibration of the value head on data it had not seen.
    pub calibration: Vec<Bin>,
    /// Equity of the trained policy and of others on data it had not seen: nanoseconds and account value.
    pub equity: Vec<Line>,
}

/// The page of a training.
#[must_use]
pub fn page(title: &str, metrics: &Metrics, extras: &Extras) -> Page {
    let last = metrics
        .numbers
        .values()
        .filter_map(|points| points.last())
        .map(|point| point.0)
        .fold(0.0, f64::max);
    let under = format!(
        "{} steps, {} lines of metrics",
        int(last as u64),
        int(metrics.lines as u64)
    );
    let mut page = Page::new(title, &under);
    lead(&mut page, metrics);
    page.section("Losses");
    chart(
        &mut page,
        "Training loss by step.",
        Axis::Log,
        metrics.group("losses"),
    );
    let held = metrics.group("held_out");
    if !held.is_empty() {
        page.heading("On what it had not seen");
        chart(
            &mut page,
            "Held-out loss by step; the best is what is kept.",
            Axis::Log,
            held,
        );
    }
    page.section("Steps");
    for (name, caption, axis) in [
        ("learning_rate", "Learning rate.", Axis::Linear),
        (
            "gradient_norm",
            "Norm of the gradients before clipping.",
            Axis::Log,
        ),
        ("tokens_per_second", "Tokens a second.", Axis::Linear),
    ] {
        if let Some(points) = metrics.numbers.get(name) {
            let line = Line {
                name: name.to_owned(),
                points: points.clone(),
            };
            chart(&mut page, caption, axis, vec![line]);
        }
    }
    if !extras.calibration.is_empty() {
        page.section("Calibration");
        page.calibration(
            "Expected return against the return that came, by bins of the expectation.",
            &extras.calibration,
            Unit::Plain,
        );
    }
    if !extras.equity.is_empty() {
        page.section("Equity on what it had not seen");
        page.lines(&Lines {
            caption: "Account value after costs.".to_owned(),
            across: Unit::Time,
            lines: extras.equity.clone(),
            ..Lines::default()
        });
    }
    if !extras.facts.is_empty() {
        page.section("What it was");
        let facts: Vec<(&str, String)> = extras
            .facts
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        page.facts(&facts);
    }
    page
}

fn lead(page: &mut Page, metrics: &Metrics) {
    let held = metrics.group("held_out").into_iter().next();
    let best = held.as_ref().and_then(|line| {
        let finite = line.points.iter().filter(|point| point.1.is_finite());
        finite
            .min_by(|one, other| one.1.total_cmp(&other.1))
            .copied()
    });
    let newest = metrics.newest("losses.total").or(metrics.newest("losses"));
    let mut sentence = match newest {
        Some(loss) => format!("The newest training loss is {}.", significant(Some(loss))),
        None => "It wrote no loss.".to_owned(),
    };
    if let Some((step, loss)) = best {
        sentence += &format!(
            " The lowest held-out loss is {}, at step {}.",
            significant(Some(loss)),
            int(step as u64)
        );
    }
    if metrics.unreadable > 0 {
        let lines = if metrics.unreadable == 1 {
            "One line".to_owned()
        } else {
            format!("{} lines", metrics.unreadable)
        };
        sentence += &format!(" {lines} could not be read.");
    }
    let (tone, word) = match newest {
        Some(loss) if loss.is_finite() => (Tone::Idle, "TRAINED"),
        _ => (Tone::Warn, "NO LOSS"),
    };
    page.lead(tone, word, &sentence);
}

fn chart(page: &mut Page, caption: &str, axis: Axis, lines: Vec<Line>) {
    let positive = |line: &Line| line.points.iter().any(|point| point.1 > 0.0);
    // A loss may be negative (a likelihood): then it is shown as it is.
    let axis = if lines.iter().all(positive) {
        axis
    } else {
        Axis::Linear
    };
    page.lines(&Lines {
        caption: caption.to_owned(),
        axis,
        lines,
        ..Lines::default()
    });
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn written() -> String {
        let mut text = String::new();
        for step in 0..200_u32 {
            let fall = 2.0 / (1.0 + f64::from(step) / 20.0);
            let held = if step % 20 == 0 {
                format!(
                    r#","held_out":{{"total":{},"value":{}}}"#,
                    fall * 1.1,
                    fall * 0.2
                )
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                r#"{{"step":{step},"learning_rate":{},"losses":{{"total":{fall},"action":{},"size":{}}},"gradient_norm":{},"tokens_per_second":{},"note":"<x>"{held}}}"#,
                3e-4 * (1.0 - f64::from(step) / 200.0),
                fall * 0.7,
                fall * 0.1,
                fall * 3.0,
                9_000 + step % 7 * 100
            );
        }
        text.push_str("{\"step\": 200, \"lo");
        text
    }

    #[test]
    fn metrics_are_read_leniently_and_a_torn_line_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, written()).expect("written");
        let metrics = Metrics::read(&path).expect("readable");
        assert_eq!((metrics.lines, metrics.unreadable), (200, 1));
        let names: Vec<String> = metrics
            .group("losses")
            .into_iter()
            .map(|l| l.name)
            .collect();
        assert_eq!(names, ["total", "action", "size"]);
        assert_eq!(metrics.numbers["held_out.total"].len(), 10);
        let extras = Extras {
            facts: vec![("seed".to_owned(), "7".to_owned())],
            calibration: (0..9_u32)
                .map(|bin| Bin {
                    predicted: f64::from(bin) / 9.0,
                    observed: f64::from(bin) / 10.0 + 0.02,
                    count: 10 + u64::from(bin) * 5,
                })
                .collect(),
            equity: Vec::new(),
        };
        let text = page("Training", &metrics, &extras).finish();
        assert!(text.contains("One line could not be read"), "{text}");
        assert!(
            text.contains("at step 180"),
            "the lowest is the last one held out"
        );
        crate::report::shown("training.html", &text);
    }

    #[test]
    fn a_file_without_a_training_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        let error = Metrics::read(&path).expect_err("nothing there");
        assert!(error.to_string().contains("metrics.jsonl"), "{error}");
        std::fs::write(&path, "{}\nnot json\n").expect("written");
        assert!(Metrics::read(&path).is_err());
    }
}
