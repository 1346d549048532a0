//! What a restatement of the trainer in PyTorch is compared with (`tests/learning`): weights, batches, answers and
//! losses of this one, in safetensors files.
//!
//! [`dump`] writes two of them. [`CURVE`] holds a small network, every batch of a training, and the losses, gradient
//! norms and learning rates of all its steps; its corpus has whatever a corpus may have: unknown features, masked
//! steps, hidden returns, actions without a size. [`REFERENCE`] holds the reference network with weights at random,
//! none of them zero, one batch, and the answers to it. [`milliseconds`] takes the time of training steps.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use tickerml_shared::rand::Rng;

use super::TaskError;
use crate::batch::Batch;
use crate::corpus::{self, Corpus, Draw, Episode};
use crate::model::{self, DecisionTransformer, HostOutputs};
use crate::spec::{Spec, Statistics, TOKENS};
use crate::train::{self, Lesson, Start, Terms};
use crate::weights::{Tensor, Weights, json, write_tensors};

/// The file of a training's course.
pub const CURVE: &str = "curve.safetensors";
/// The file of one forward pass of the reference network.
pub const REFERENCE: &str = "reference.safetensors";

/// Steps of the training that is written down.
const STEPS: u64 = 200;
/// Paths of the invented corpus, each with [`POLICIES`] episodes.
const PATHS: usize = 6;
const POLICIES: usize = 3;
/// Sequences of a batch whose step time is taken, and of the reference network's forward pass.
const ROWS: usize = 64;

/// Writes [`CURVE`] and [`REFERENCE`] into a folder that exists.
///
/// # Errors
/// When training stops or a file cannot be written.
pub fn dump(folder: &Path, seed: u64) -> Result<(), TaskError> {
    curve(&folder.join(CURVE), seed)?;
    reference(&folder.join(REFERENCE), seed)
}

/// Times of `steps` training steps of the reference network on batches of [`ROWS`] sequences on the CPU, in
/// milliseconds. The first ones are slower than the others.
///
/// # Errors
/// When training stops.
pub fn milliseconds(seed: u64, steps: u64) -> Result<Vec<f64>, TaskError> {
    let spec = Spec::reference();
    let terms = Terms {
        steps,
        batch: ROWS,
        dropout: 0.0,
        seed,
        ..Terms::default()
    };
    let corpus = invented(&spec, seed);
    let device = [Device::flex()];
    let lesson = Lesson {
        corpus: &corpus,
        held_out: None,
        spec: &spec,
        terms: &terms,
        devices: &device,
    };
    #[expect(clippy::cast_precision_loss, reason = "some thousands of tokens")]
    let tokens = (TOKENS * spec.steps * ROWS) as f64;
    let mut times = Vec::new();
    train::train_on(&lesson, Start::Fresh, None, &mut |progress| {
        times.push(1e3 * tokens / progress.tokens_per_second);
    })
    .map_err(|why| TaskError(why.to_string()))?;
    Ok(times)
}

/// Trains a small network and writes its course.
fn curve(path: &Path, seed: u64) -> Result<(), TaskError> {
    let spec = Spec {
        state: 12,
        actions: 3,
        steps: 16,
        d_model: 64,
        heads: 4,
        d_ff: 128,
        bands: vec![4, 8, 16],
    };
    let terms = Terms {
        steps: STEPS,
        batch: 16,
        learning_rate: 1e-3,
        warm_up: 20,
        dropout: 0.0,
        seed,
        ..Terms::default()
    };
    let corpus = invented(&spec, seed);
    let device = [Device::flex()];
    let lesson = Lesson {
        corpus: &corpus,
        held_out: None,
        spec: &spec,
        terms: &terms,
        devices: &device,
    };
    let batches: Vec<Batch> = (0..STEPS)
        .flat_map(|step| train::draw(&lesson, step))
        .flatten()
        .collect();
    let start = model::fresh(&spec, seed);
    let mut course = Vec::new();
    let from = Start::Weights(start.clone());
    let trained = train::train_on(&lesson, from, None, &mut |progress| course.push(*progress))
        .map_err(|why| TaskError(why.to_string()))?;
    #[expect(clippy::cast_possible_truncation, reason = "written as f32 like all")]
    let figures = |progress: &train::Progress| {
        let losses = progress.losses;
        vec![
            losses.total,
            losses.action,
            losses.position,
            losses.risk,
            losses.value,
            losses.accuracy,
            progress.gradient_norm,
            progress.learning_rate as f32,
        ]
    };
    let mut file = BTreeMap::new();
    let rows: Vec<f32> = course.iter().flat_map(figures).collect();
    put(&mut file, "course", vec![course.len(), 8], rows);
    put_weights(&mut file, "weight", &start);
    put_weights(&mut file, "trained", &trained.weights);
    put_batches(&mut file, &batches, &spec);
    let answer = |weights: &Weights| {
        let model = DecisionTransformer::from_weights(&spec, weights, &device[0]);
        model.predict(&batches[0], &corpus.statistics, &spec)
    };
    put_answer(&mut file, "answer", answer(&start), &batches[0], &spec);
    let last = answer(&trained.weights);
    put_answer(&mut file, "trained_answer", last, &batches[0], &spec);
    write(path, &file, &spec, &corpus.statistics, &terms)
}

/// Writes a forward pass of the reference network.
fn reference(path: &Path, seed: u64) -> Result<(), TaskError> {
    let spec = Spec::reference();
    let corpus = invented(&spec, seed);
    let mut rng = Rng::new(seed, 500);
    let weights = scattered(&spec, &mut rng)?;
    let batch = corpus.batch(&mut rng, ROWS, spec.steps);
    let model = DecisionTransformer::from_weights(&spec, &weights, &Device::flex());
    let answer = model.predict(&batch, &corpus.statistics, &spec);
    let mut file = BTreeMap::new();
    put_weights(&mut file, "weight", &weights);
    put_answer(&mut file, "answer", answer, &batch, &spec);
    put_batches(&mut file, &[batch], &spec);
    let terms = Terms {
        batch: ROWS,
        dropout: 0.0,
        ..Terms::default()
    };
    write(path, &file, &spec, &corpus.statistics, &terms)
}

/// Weights of which none is zero: a fresh network has biases that would hide a mistake.
fn scattered(spec: &Spec, rng: &mut Rng) -> Result<Weights, TaskError> {
    let tensors = spec
        .weights()
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product::<usize>();
            let (centre, spread) = match name.rsplit('.').next() {
                Some("gamma") => (1.0, 0.2),
                Some("relative") => (0.0, 1.0),
                _ => (0.0, 0.06),
            };
            let values = (0..count)
                .map(|_| centre + spread * between(rng, -1.0, 1.0))
                .collect();
            (name, Tensor { shape, values })
        })
        .collect();
    Weights::new(spec, tensors).map_err(TaskError)
}

/// A corpus of noise with a little to learn, that has whatever a corpus may have.
fn invented(spec: &Spec, seed: u64) -> Corpus {
    let rng = &mut Rng::new(seed, 400);
    let (steps, wide, classes) = (3 * spec.steps, spec.state, spec.actions);
    let paths: Vec<corpus::Path> = (0..PATHS)
        .map(|_| {
            let valid: Vec<f32> = (0..steps * wide)
                .map(|_| f32::from(u8::from(rng.below(10) > 0)))
                .collect();
            corpus::Path {
                states: valid
                    .iter()
                    .map(|known| known * between(rng, -3.0, 3.0))
                    .collect(),
                valid,
                live: (0..steps).map(|_| rng.below(20) > 0).collect(),
            }
        })
        .collect();
    let episodes = (0..PATHS * POLICIES)
        .map(|index| {
            let path = index % PATHS;
            let actions: Vec<u8> = (0..steps)
                .map(|step| {
                    let seen = paths[path].states[step * wide];
                    let class = match rng.below(3) {
                        0 => rng.below(classes as u64),
                        _ => u64::from(seen > 0.0),
                    };
                    u8::try_from(class).expect("a handful of actions")
                })
                .collect();
            let mut sometimes = |low: f32, high: f32| -> Vec<f32> {
                let mut one = |_| match rng.below(4) {
                    0 => f32::NAN,
                    _ => between(rng, low, high),
                };
                (0..steps).map(&mut one).collect()
            };
            Episode {
                path,
                first: 0,
                sizes: sometimes(0.0, 1.0),
                risks: sometimes(0.0, 1.0),
                values: (0..classes).flat_map(|_| sometimes(-1.0, 1.0)).collect(),
                returns: actions
                    .iter()
                    .map(|action| f32::from(*action) - 1.0)
                    .collect(),
                actions,
            }
        })
        .collect();
    Corpus {
        state: wide,
        actions: classes,
        paths,
        episodes,
        statistics: Statistics {
            mean: (0..wide).map(|_| between(rng, -0.5, 0.5)).collect(),
            inverse_scale: (0..wide)
                .map(|feature| match feature {
                    1 => 0.0,  // a feature that never moved
                    2 => 20.0, // one that is clamped
                    _ => between(rng, 0.5, 2.0),
                })
                .collect(),
            return_scale: 0.5,
        },
        draw: Draw {
            whole: false,
            unconditioned: 0.25,
        },
    }
}

/// Uniform between two numbers.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
fn between(rng: &mut Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * ((rng.next_u32() >> 8) as f32 / 16_777_216.0)
}

type File = BTreeMap<String, Tensor>;

fn put(file: &mut File, name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) {
    file.insert(name.into(), Tensor { shape, values });
}

fn put_weights(file: &mut File, prefix: &str, weights: &Weights) {
    for (name, tensor) in weights.iter() {
        file.insert(format!("{prefix}.{name}"), tensor.clone());
    }
}

fn put_answer(file: &mut File, prefix: &str, answer: HostOutputs, batch: &Batch, spec: &Spec) {
    let (b, t, a) = (batch.size, batch.steps, spec.actions);
    for (name, shape, values) in [
        ("action", vec![b, t, a], answer.action),
        ("size", vec![b, t], answer.size),
        ("risk", vec![b, t], answer.risk),
        ("value", vec![b, t, a], answer.value),
    ] {
        put(file, format!("{prefix}.{name}"), shape, values);
    }
}

/// Batches of one size, one after the other: `[batches, B, T, …]`.
fn put_batches(file: &mut File, batches: &[Batch], spec: &Spec) {
    let (b, t) = (batches[0].size, batches[0].steps);
    let mut add = |name: &str, wide: Option<usize>, of: &dyn Fn(&Batch) -> Vec<f32>| {
        let shape = [batches.len(), b, t].into_iter().chain(wide).collect();
        let values = batches.iter().flat_map(of).collect();
        put(file, format!("batch.{name}"), shape, values);
    };
    #[expect(clippy::cast_precision_loss, reason = "a handful of classes")]
    let classes = |classes: &[u32]| classes.iter().map(|class| *class as f32).collect();
    let (state, actions) = (Some(spec.state), Some(spec.actions));
    add("states", state, &|batch| batch.states.clone());
    add("valid", state, &|batch| batch.valid.clone());
    add("previous", None, &|batch| classes(&batch.previous));
    add("previous_size", None, &|batch| batch.previous_size.clone());
    add("returns", None, &|batch| batch.returns.clone());
    add("known", None, &|batch| batch.known.clone());
    add("live", None, &|batch| batch.live.clone());
    add("action", None, &|batch| classes(&batch.action));
    add("weight", None, &|batch| batch.weight.clone());
    add("position", None, &|batch| batch.position.clone());
    add("position_weight", None, &|batch| {
        batch.position_weight.clone()
    });
    add("risk", None, &|batch| batch.risk.clone());
    add("value", actions, &|batch| batch.value.clone());
    add("value_weight", actions, &|batch| batch.value_weight.clone());
}

fn write(
    path: &Path,
    file: &File,
    spec: &Spec,
    statistics: &Statistics,
    terms: &Terms,
) -> Result<(), TaskError> {
    let facts = BTreeMap::from([
        ("spec".to_owned(), json(spec)),
        ("statistics".to_owned(), json(statistics)),
        ("terms".to_owned(), json(terms)),
    ]);
    write_tensors(path, file, facts).map_err(TaskError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::read_tensors;

    #[test]
    fn what_is_written_holds_every_batch_and_every_step_of_the_training() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(CURVE);
        curve(&path, 1).expect("written");
        let (file, facts) = read_tensors(&path).expect("read");
        assert_eq!(file["course"].shape, [200, 8]);
        assert_eq!(file["batch.states"].shape, [200, 16, 16, 12]);
        assert_eq!(file["answer.value"].shape, [16, 16, 3]);
        assert!(facts["terms"].contains("\"weight_decay\":0.01"));
        // It has what a restatement could get wrong.
        for (name, rare) in [
            ("valid", 0.0),
            ("live", 0.0),
            ("known", 0.0),
            ("weight", 0.0),
        ] {
            let values = &file[&format!("batch.{name}")].values;
            assert!(values.contains(&rare) && values.contains(&1.0), "{name}");
        }
        let total = |step: usize| file["course"].values[step * 8];
        assert!(total(199) < total(0), "it learns");
    }
}
