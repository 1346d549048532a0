//! From a store to a model that can be examined: the whole of `train` and `refresh`.
//!
//! A run's folder holds both networks with their checkpoints and metrics (`estimate`, `decide`), the bundle that the
//! edge loads (`model`) and a page about the training (`training.html`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use tickerml_edge::web::html::stamp;
use tickerml_shared::action::Action;
use tickerml_shared::bundle::{Row, Span};
use tickerml_shared::time::Time;
use tickerml_shared::window::action_input;

use crate::config::Config;
use crate::history::Store;
use crate::market::{Course, DECIDE, ESTIMATE, Learned, NO_REGRET, learn};
use crate::onnx::{Export, Exported, Quantisation, export};
use crate::quarantine::{Cutoff, Dataset};
use crate::report::training;
use crate::train::{Losses, METRICS_FILE, MODEL_FILE, Progress};
use crate::weights::Weights;

/// Folder of the bundle within that of a run.
pub const BUNDLE: &str = "model";
/// The page about a run.
pub const PAGE: &str = "training.html";
/// Golden windows of a bundle.
const GOLDEN: usize = 8;

/// Why there is no model: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineError(String);

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PipelineError {}

fn failed(error: impl fmt::Display) -> PipelineError {
    PipelineError(error.to_string())
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// How.
    pub config: &'a Config,
    /// The present, from which the quarantine counts.
    pub now: Time,
    /// The run's folder.
    pub out: &'a Path,
    /// Goes on where a run in that folder was interrupted.
    pub resume: bool,
    /// The run that is refreshed: its backbone stays.
    pub refreshed: Option<&'a Path>,
    /// How the bundle's weights are stored.
    pub quantisation: Quantisation,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The networks.
    pub learned: Learned,
    /// The bundle.
    pub exported: Exported,
    /// The newest step that was learned from, and the first.
    pub span: Span,
    /// Steps of history.
    pub steps: usize,
    /// The page.
    pub page: PathBuf,
}

/// The history that a configuration learns from.
///
/// # Errors
/// When the cut-off cannot be made, the store not be read, or nothing of the instruments lies before the cut-off.
pub fn dataset(config: &Config, now: Time) -> Result<Dataset, PipelineError> {
    let cutoff = Cutoff::new(now, config.quarantine_days).map_err(failed)?;
    let store = Store::open(&config.store).map_err(failed)?;
    let all = Dataset::open(&store, cutoff).map_err(failed)?;
    let wanted = |name: &String| config.instruments.is_empty() || config.instruments.contains(name);
    let series = all.series().iter().filter(|one| wanted(&one.instrument));
    let dataset = Dataset::new(series.cloned().collect(), cutoff);
    if dataset.series().is_empty() {
        return Err(PipelineError(format!(
            "{}: nothing of the instruments lies before the cut-off, {} days ago; import older history",
            config.store.display(),
            config.quarantine_days
        )));
    }
    Ok(dataset)
}

/// Trains, or refreshes a run, and writes its bundle and page. Progress is told with the name of the phase.
///
/// # Errors
/// When there is nothing to learn from, a training stops, or a file cannot be written.
pub fn run(job: &Job<'_>, report: &mut dyn FnMut(&str, &Progress)) -> Result<Made, PipelineError> {
    let config = job.config;
    let dataset = dataset(config, job.now)?;
    let earlier = job
        .refreshed
        .map(|folder| load(folder, config))
        .transpose()?;
    let course = Course {
        out: Some(job.out),
        resume: job.resume,
        refreshed: earlier.as_ref(),
    };
    let mut measured = Measured::default();
    let learned = learn(
        &dataset,
        &config.market,
        &config.spec,
        &config.learning,
        &course,
        &mut |phase, progress| {
            measured.note(phase, progress);
            report(phase, progress);
        },
    )
    .map_err(failed)?;
    // The gate asks the weights themselves, beside the bundle.
    learned
        .weights
        .save(&job.out.join(MODEL_FILE), &config.spec, &learned.statistics)
        .map_err(failed)?;
    let times = || {
        dataset
            .series()
            .iter()
            .flat_map(|one| &one.rows)
            .map(|row| row.at)
    };
    let span = Span {
        from: times().min().unwrap_or_default(),
        to: times().max().unwrap_or_default(),
    };
    let golden = golden(&dataset, config.spec.steps);
    let exported = export(
        &Export {
            spec: &config.spec,
            weights: &learned.weights,
            statistics: &learned.statistics,
            target_return: learned.target,
            training: span,
            cutoff: dataset.cutoff().at(),
            created: job.now,
            metrics: &measured.text(),
            golden: &golden,
            quantisation: job.quantisation,
            with_backbone: true,
        },
        &job.out.join(BUNDLE),
    )
    .map_err(failed)?;
    let page = page(job, &dataset, span)?;
    Ok(Made {
        learned,
        exported,
        span,
        steps: times().count(),
        page,
    })
}

/// The newest figures of each phase, for the manifest.
#[derive(Default)]
struct Measured {
    phases: BTreeMap<String, (Progress, Option<Losses>)>,
}

impl Measured {
    fn note(&mut self, phase: &str, progress: &Progress) {
        let before = self.phases.get(phase).and_then(|(_, held_out)| *held_out);
        let held_out = progress.held_out.or(before);
        self.phases.insert(phase.to_owned(), (*progress, held_out));
    }

    /// One line a phase.
    fn text(&self) -> String {
        let lines = self.phases.iter().map(|(phase, (last, held_out))| {
            let held_out = held_out.map_or(String::new(), |losses| {
                format!(", held out {:.6}", losses.total)
            });
            format!(
                "{phase}: {} steps, loss {:.6}{held_out}\n",
                last.step, last.losses.total
            )
        });
        lines.collect()
    }
}

/// The networks of a run.
///
/// # Errors
/// When one cannot be read, or has another shape than the configuration's.
pub fn load(folder: &Path, config: &Config) -> Result<Learned, PipelineError> {
    let read = |phase: &str| {
        let path = folder.join(phase).join(MODEL_FILE);
        let (spec, statistics, weights) = Weights::load(&path).map_err(failed)?;
        if spec == config.spec {
            return Ok((statistics, weights));
        }
        Err(PipelineError(format!(
            "{}: is a network of another shape than the configuration's [model]; refresh it with the configuration \
             that it was trained with",
            path.display()
        )))
    };
    let ((_, estimate), (statistics, weights)) = (read(ESTIMATE)?, read(DECIDE)?);
    Ok(Learned {
        estimate,
        weights,
        statistics,
        target: NO_REGRET,
    })
}

/// Windows from all over the history, each from a beginning, with the course of holding nothing.
fn golden(dataset: &Dataset, steps: usize) -> Vec<Vec<Row>> {
    let mut windows = Vec::new();
    for series in dataset.series() {
        let each = GOLDEN.div_ceil(dataset.series().len());
        for place in 0..each {
            let from = place * series.rows.len().saturating_sub(steps) / each;
            let rows = series.rows[from..].iter().take(steps).enumerate();
            windows.push(
                rows.map(|(step, row)| Row {
                    state: row.state.values.to_vec(),
                    valid: row.state.known().to_vec(),
                    previous: action_input((step > 0).then_some(&Action::HOLD)).to_vec(),
                    live: !row.masked,
                })
                .collect(),
            );
        }
    }
    windows.truncate(GOLDEN);
    windows
}

/// Writes the page about a run.
fn page(job: &Job<'_>, dataset: &Dataset, span: Span) -> Result<PathBuf, PipelineError> {
    let metrics =
        training::Metrics::read(&job.out.join(DECIDE).join(METRICS_FILE)).map_err(failed)?;
    let named: Vec<&str> = dataset
        .series()
        .iter()
        .map(|one| one.instrument.as_str())
        .collect();
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let extras = training::Extras {
        facts: vec![
            fact("instruments", named.join(", ")),
            fact("learned from", stamp(span.from.0)),
            fact("to", stamp(span.to.0)),
            fact("cut-off", stamp(dataset.cutoff().at().0)),
            fact("horizon", format!("{} steps", job.config.market.horizon)),
            fact("taker fee", format!("{}", job.config.market.taker_fee)),
            fact("seed", format!("{}", job.config.learning.seed)),
        ],
        ..training::Extras::default()
    };
    let path = job.out.join(PAGE);
    training::page("Training", &metrics, &extras)
        .write(&path)
        .map_err(failed)?;
    Ok(path)
}
