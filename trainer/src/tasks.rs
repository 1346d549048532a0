//! Proofs that the trainer learns as the reference does, on tasks whose best answer is known.
//!
//! [`graph`] is the illustration of the Decision Transformer paper: shortest paths out of random walks.
//! [`key_to_door`] asks for credit over a time in which nothing tells what was done. [`gamble`] rewards luck, where
//! plain return conditioning is known to fail and [`crate::relabel`] is the cure. [`parity`] writes what
//! `tests/learning` compares with a restatement in PyTorch.
//!
//! Each proof is seeded, takes minutes on two cores, and has a short form of less than a minute that is a test.

pub mod gamble;
pub mod graph;
pub mod key_to_door;
pub mod parity;
pub mod rollout;

use std::fmt;

use tickerml_shared::rand::Rng;

/// Names of the proofs, as [`prove`] takes them.
pub const NAMES: [&str; 3] = ["graph", "key-to-door", "gamble"];

/// Why a proof could not be run: one line, cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError(pub String);

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TaskError {}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Nothing: it is shown for comparison.
    Shown,
}

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Its value; shares are in `[0, 1]`.
    pub value: f64,
    /// What it must reach.
    pub bar: Bar,
}

impl Figure {
    /// Whether it reaches its bar; a value that is not a number reaches none.
    #[must_use]
    pub fn passed(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.value >= bar,
            Bar::AtMost(bar) => self.value <= bar,
            Bar::Shown => true,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bar, verdict) = match self.bar {
            Bar::AtLeast(bar) => (format!(">= {bar:.3}"), self.passed()),
            Bar::AtMost(bar) => (format!("<= {bar:.3}"), self.passed()),
            Bar::Shown => return write!(f, "{:<62} {:>9.4}", self.name, self.value),
        };
        let verdict = if verdict { "PASS" } else { "FAIL" };
        write!(
            f,
            "{:<62} {:>9.4}  {bar:<11} {verdict}",
            self.name, self.value
        )
    }
}

/// The outcome of a proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// Its name, one of [`NAMES`].
    pub name: &'static str,
    /// What was measured, in the order in which it reads best.
    pub figures: Vec<Figure>,
}

impl Proof {
    /// A proof without figures yet.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            figures: Vec::new(),
        }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, bar: Bar) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            bar,
        });
    }

    /// Whether every figure reaches its bar.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.figures.iter().all(Figure::passed)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figure in &self.figures {
            writeln!(f, "{:<12} {figure}", self.name)?;
        }
        let verdict = if self.passed() { "PASS" } else { "FAIL" };
        write!(f, "{:<12} {verdict}", self.name)
    }
}

/// Runs a proof. `short` is the form of less than a minute. `report` receives a line now and then.
///
/// # Errors
/// When the name is unknown, or when training stops.
pub fn prove(
    name: &str,
    seed: u64,
    short: bool,
    mut report: impl FnMut(&str),
) -> Result<Proof, TaskError> {
    match name {
        "graph" => graph::prove(seed, short, &mut report),
        "key-to-door" => key_to_door::prove(seed, short, &mut report),
        "gamble" => gamble::prove(seed, short, &mut report),
        _ => Err(TaskError(format!(
            "no proof is called {name}; choose one of {}",
            NAMES.join(", ")
        ))),
    }
}

/// Uniform in `0..bound`.
pub(crate) fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a bound that is a usize")
}

/// The mean of some numbers; not a number when there are none.
#[expect(clippy::cast_precision_loss, reason = "counts of some thousands")]
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count as f64
}

/// The share of some answers that is true; not a number when there are none.
pub(crate) fn share(answers: impl IntoIterator<Item = bool>) -> f64 {
    mean(answers.into_iter().map(|yes| f64::from(u8::from(yes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_not_a_number_reaches_no_bar() {
        let figure = |value, bar| Figure {
            name: "x".to_owned(),
            value,
            bar,
        };
        assert!(figure(1.0, Bar::AtLeast(1.0)).passed());
        assert!(!figure(f64::NAN, Bar::AtLeast(1.0)).passed());
        assert!(!figure(f64::NAN, Bar::AtMost(1.0)).passed());
        assert!(!figure(2.0, Bar::AtMost(1.0)).passed());
    }

    #[test]
    fn an_unknown_proof_is_told_with_the_known_ones() {
        let error = prove("chess", 1, true, |_| ()).expect_err("no such proof");
        assert!(error.0.contains("graph, key-to-door, gamble"), "{error}");
    }
}
