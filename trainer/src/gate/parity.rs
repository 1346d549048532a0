//! Whether a candidate is one network, however it is computed: in burn, as the window's graphs and as a stream.
//!
//! Golden windows are checked by whoever opens the graphs. Here the forms are compared on windows drawn from the
//! held-out journals, and a stream that runs on is compared with the window at every step. The actions before a
//! step are drawn at random, since a network must agree with itself after any of them.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;
use tickerml_edge::policy::model::Model;
use tickerml_edge::policy::network::{Form, Network};
use tickerml_edge::replay;
use tickerml_shared::action::Action;
use tickerml_shared::bundle::{Heads, Manifest, Row};
use tickerml_shared::instrument::MAX_INSTRUMENTS;
use tickerml_shared::rand::Rng;
use tickerml_shared::time::Time;
use tickerml_shared::window::{Input, Step, Window};

use super::{Examination, GateError, HeldOut, Reason, Terms};
use crate::batch::Batch;
use crate::model::{DecisionTransformer, HostOutputs};
use crate::spec::{Spec, Statistics};
use crate::train::MODEL_FILE;
use crate::weights::Weights;

/// Steps of each instrument over which a stream is compared with the window.
const STREAM_STEPS: usize = 400;
/// Such steps in all: each keeps its window until it was asked about.
const RUNNING_MAX: usize = 1_600;
/// Windows that burn answers at once: bounds memory.
const BATCH: usize = 32;
/// Shares are counted in millionths, so that two answers may differ by one from rounding alone.
const ROUNDING: f32 = 1e-6;
/// The random streams of actions and of windows.
const ACTIONS_STREAM: u64 = 0x0070_6172;
const WINDOWS_STREAM: u64 = 0x0077_696e;

/// How far apart the forms of a candidate are: largest absolute differences over all heads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// Windows drawn from the held-out journals.
    pub windows: usize,
    /// Between burn and the golden answers of the manifest.
    pub golden: f32,
    /// Between burn and the window's graphs.
    pub window: f32,
    /// Between burn and a stream begun with the window.
    pub stream: f32,
    /// Steps over which a stream ran on.
    pub steps: usize,
    /// Between that stream's answers and the window's, as shares.
    pub running: f32,
    /// The candidate stores its weights with eight bits: burn's answers are those of the whole ones.
    pub int8: bool,
}

/// Why there is no parity to tell.
pub(super) enum Failed {
    /// The candidate's fault.
    Candidate(Reason),
    /// Not the candidate's.
    Journal(GateError),
}

impl Parity {
    /// What may lie between burn and the graphs.
    const fn allowed(&self, terms: &Terms) -> f32 {
        if self.int8 {
            terms.int8_max
        } else {
            terms.parity_max
        }
    }

    /// Each figure with its name, its code and its limit.
    pub(super) fn rows(&self, terms: &Terms) -> [(&'static str, &'static str, f32, f32); 4] {
        let allowed = self.allowed(terms);
        [
            (
                "G05-golden",
                "burn and the golden answers",
                self.golden,
                allowed,
            ),
            (
                "G06-window",
                "burn and the window's graphs",
                self.window,
                allowed,
            ),
            (
                "G07-stream",
                "burn and a stream begun anew",
                self.stream,
                allowed,
            ),
            (
                "G08-running",
                "a stream that runs on and the window",
                self.running,
                terms.parity_max + ROUNDING,
            ),
        ]
    }

    /// What is too far apart.
    pub(super) fn reasons(&self, terms: &Terms) -> Vec<Reason> {
        let rows = self.rows(terms).into_iter();
        // A figure that is no number is too far as well.
        let apart = rows.filter(|(_, _, figure, limit)| figure.is_nan() || figure > limit);
        apart
            .map(|(code, what, figure, limit)| {
                let text = format!("Between {what} lie {figure:.2e}; {limit:.0e} is allowed.");
                Reason::of(code, f64::from(figure), f64::from(limit), text)
            })
            .collect()
    }
}

/// Compares the forms of a candidate.
pub(super) fn of(
    examination: &Examination<'_>,
    manifest: &Manifest,
    held_out: HeldOut,
) -> Result<Parity, Failed> {
    let (folder, terms) = (examination.candidate, examination.terms);
    let installed = examination.installed;
    let candidate = |code| move |text: String| Failed::Candidate(Reason::words(code, text));
    let burn = Burn::load(folder, manifest).map_err(candidate("G04-weights"))?;
    let open = |form| {
        Network::open(manifest, folder, installed, form)
            .map_err(|error| candidate("G04-load")(error.to_string()))
    };
    let (mut windowed, mut streamed) = (open(Form::Window)?, open(Form::Streaming)?);
    let load = |form| {
        Model::load_over(folder, installed, form)
            .map_err(|error| candidate("G04-load")(error.to_string()))
    };
    let (mut window, mut stream) = (load(Form::Window)?, load(Form::Streaming)?);
    let drawn = draw(examination.journals, manifest.shape.steps, held_out, terms)
        .map_err(Failed::Journal)?;
    let answered = candidate("G04-load");
    let golden: Vec<Vec<Row>> = manifest.golden.iter().map(|one| one.rows.clone()).collect();
    let mut parity = Parity {
        windows: drawn.rows.len(),
        golden: 0.0,
        window: 0.0,
        stream: 0.0,
        steps: 0,
        running: 0.0,
        int8: manifest.int8,
    };
    for (own, one) in burn.answers(&golden).iter().zip(&manifest.golden) {
        parity.golden = worse(parity.golden, own.distance(&one.heads));
    }
    for (own, rows) in burn.answers(&drawn.rows).iter().zip(&drawn.rows) {
        let whole = windowed
            .ask(rows)
            .map_err(|error| answered(error.to_string()))?;
        parity.window = worse(parity.window, own.distance(whole));
        let begun = streamed
            .ask(rows)
            .map_err(|error| answered(error.to_string()))?;
        parity.stream = worse(parity.stream, own.distance(begun));
    }
    for one in &drawn.running {
        let (whole, ran) = (window.answer(one), stream.answer(one));
        parity.running = worse(parity.running, apart(&whole, &ran));
        parity.steps += 1;
    }
    Ok(parity)
}

/// The larger of two differences; what is no number is the largest.
fn worse(one: f32, other: f32) -> f32 {
    if other.is_nan() || other > one {
        other
    } else {
        one
    }
}

/// The largest difference of two actions, in shares.
fn apart(one: &Action, other: &Action) -> f32 {
    let pairs = one.probabilities.iter().zip(&other.probabilities);
    let shares = pairs.map(|(a, b)| a.abs_diff(*b));
    let rest = [one.size.abs_diff(other.size), one.risk.abs_diff(other.risk)];
    let most = shares.chain(rest).max().unwrap_or(0);
    most.max(one.value.abs_diff(other.value)) as f32 / 1e6
}

/// What was drawn from the journals.
struct Drawn {
    /// Windows as a network reads them.
    rows: Vec<Vec<Row>>,
    /// Windows one after the other, each with the action drawn for the one before.
    running: Vec<Window>,
}

/// Draws windows evenly at random from all live steps of the held-out time.
fn draw(
    journals: &[PathBuf],
    steps: usize,
    held_out: HeldOut,
    terms: &Terms,
) -> Result<Drawn, GateError> {
    let mut actions = Rng::new(terms.seed, ACTIONS_STREAM);
    let mut chooser = Rng::new(terms.seed, WINDOWS_STREAM);
    let mut drawn = Drawn {
        rows: Vec::new(),
        running: Vec::new(),
    };
    let mut seen = 0_u64;
    for (place, journal) in journals.iter().enumerate() {
        let mut windows: Vec<Option<Window>> = vec![None; MAX_INSTRUMENTS];
        let mut ran = vec![0_usize; MAX_INSTRUMENTS];
        let counts = |at: Time| at >= held_out.from && at < held_out.until;
        replay::steps(journal, |step, _| {
            let Some(slot) = windows.get_mut(step.instrument.index()) else {
                return Ok(());
            };
            let window = slot.get_or_insert_with(|| Window::new(step.instrument));
            window.push(Step {
                at: step.at,
                state: step.state,
                action: Action::HOLD,
                masked: step.masked,
            });
            if step.masked || !counts(step.at) {
                return Ok(());
            }
            let ran = &mut ran[step.instrument.index()];
            if place == 0 && *ran < STREAM_STEPS && drawn.running.len() < RUNNING_MAX {
                drawn.running.push(window.clone());
                *ran += 1;
            }
            // A reservoir (Vitter 1985, algorithm R): each window is as likely to be kept as any other.
            seen += 1;
            if drawn.rows.len() < terms.parity_windows {
                drawn.rows.push(rows(window, steps));
            } else {
                let slot = chooser.below(seen) as usize;
                if let Some(kept) = drawn.rows.get_mut(slot) {
                    *kept = rows(window, steps);
                }
            }
            window.decide(action(&mut actions));
            Ok(())
        })
        .map_err(|error| GateError(error.to_string()))?;
    }
    if drawn.rows.is_empty() {
        let none = "no live step in the held-out time of the journals; name journals of that time";
        return Err(GateError(none.to_owned()));
    }
    Ok(drawn)
}

/// An action as any policy could have taken it.
fn action(rng: &mut Rng) -> Action {
    let mut share = || rng.next_u32() as f32 / 4_294_967_296.0;
    let logits = [share(), share(), share()].map(|share| 4.0 * share);
    Action::from_heads(logits, share(), share(), share() - 0.5)
}

fn rows(window: &Window, steps: usize) -> Vec<Row> {
    window.inputs(steps).map(|input| row(&input)).collect()
}

fn row(input: &Input) -> Row {
    Row {
        state: input.state.to_vec(),
        valid: input.valid.to_vec(),
        previous: input.previous.to_vec(),
        live: input.live,
    }
}

/// Where a candidate's weights are: in its folder, or beside it, where a training left them.
fn weights_of(folder: &Path) -> PathBuf {
    let inside = folder.join(MODEL_FILE);
    match folder.parent() {
        Some(parent) if !inside.exists() => parent.join(MODEL_FILE),
        _ => inside,
    }
}

/// The network in burn, with the weights that the graphs were made of.
struct Burn {
    spec: Spec,
    statistics: Statistics,
    network: DecisionTransformer,
    target: f32,
}

impl Burn {
    /// Loads the weights and makes sure that they are those of the manifest. The statistics are the manifest's:
    /// a weekly refresh moves them without touching a frozen weight.
    fn load(folder: &Path, manifest: &Manifest) -> Result<Self, String> {
        let path = weights_of(folder);
        let (spec, _, weights) = Weights::load(&path)?;
        let hash = weights.hash(&spec, |_| true);
        if hash != manifest.weights.0 {
            return Err(format!(
                "{}: its weights are not those that the manifest names; export the model again",
                path.display()
            ));
        }
        if spec.shape() != manifest.shape {
            return Err(format!(
                "{}: its shape is not the manifest's; export the model again",
                path.display()
            ));
        }
        let known = &manifest.normalisation;
        let statistics = Statistics {
            mean: known.mean.clone(),
            inverse_scale: known.inverse_scale.clone(),
            return_scale: known.return_scale,
        };
        let network = DecisionTransformer::from_weights(&spec, &weights, &Device::flex());
        Ok(Self {
            spec,
            statistics,
            network,
            target: manifest.target_return,
        })
    }

    /// Its answers to the last step of each window.
    fn answers(&self, windows: &[Vec<Row>]) -> Vec<Heads> {
        let parts = windows.chunks(BATCH);
        parts.flat_map(|part| self.answer(part)).collect()
    }

    fn answer(&self, windows: &[Vec<Row>]) -> Vec<Heads> {
        let (steps, classes) = (self.spec.steps, self.spec.actions);
        let mut batch = Batch::empty(windows.len(), steps, self.spec.state, classes);
        for (place, rows) in windows.iter().enumerate() {
            self.fill(&mut batch, place * steps, rows);
        }
        let out = self.network.predict(&batch, &self.statistics, &self.spec);
        let ends = windows.iter().enumerate();
        ends.map(|(place, rows)| heads(&out, place * steps + rows.len() - 1, classes))
            .collect()
    }

    /// Writes the rows of a window from a cell on; what lies behind them is not live and seen by none.
    fn fill(&self, batch: &mut Batch, first: usize, rows: &[Row]) {
        let wide = self.spec.state;
        for (cell, row) in (first..).zip(rows) {
            batch.states[cell * wide..(cell + 1) * wide].copy_from_slice(&row.state);
            batch.valid[cell * wide..(cell + 1) * wide].copy_from_slice(&row.valid);
            let class = row.previous.iter().position(|part| *part == 1.0);
            let class = class.unwrap_or(self.spec.actions).min(self.spec.actions);
            batch.previous[cell] = u32::try_from(class).unwrap_or(u32::MAX);
            batch.previous_size[cell] = row.previous.last().copied().unwrap_or(0.0);
            batch.returns[cell] = self.target;
            batch.known[cell] = 1.0;
            batch.live[cell] = f32::from(u8::from(row.live));
        }
    }
}

/// The answer of one cell, its value weighed by the probabilities of the classes.
fn heads(out: &HostOutputs, cell: usize, classes: usize) -> Heads {
    let action = &out.action[cell * classes..(cell + 1) * classes];
    let value = &out.value[cell * classes..(cell + 1) * classes];
    let peak = action.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = action.iter().map(|logit| (logit - peak).exp()).collect();
    let total: f32 = weights.iter().sum();
    let expected = weights
        .iter()
        .zip(value)
        .map(|(weight, value)| weight * value);
    Heads {
        action: action.to_vec(),
        size: out.size[cell],
        risk: out.risk[cell],
        value: expected.sum::<f32>() / total,
    }
}
