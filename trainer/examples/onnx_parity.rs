//! Writes an exported network with windows and the answers of burn, of the formula and of tract in both forms, for
//! `tests/onnx/compare.py` and `tests/onnx/speed.py`, which ask onnxruntime the same.
//!
//! `cargo run --release -p tickerml-trainer --example onnx_parity -- FOLDER` makes the folder, which must not exist
//! yet. Numbers are raw little-endian f32; `sizes.json` says how many.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use tickerml_edge::policy::network::{Form, Network, Ring, Seen};
use tickerml_shared::bundle::{Heads, Row, Span};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::Time;
use tickerml_trainer::batch::Batch;
use tickerml_trainer::model::DecisionTransformer;
use tickerml_trainer::onnx::{Export, Quantisation, export, invented, reference};
use tickerml_trainer::spec::{Spec, Statistics};
use tickerml_trainer::weights::Weights;

/// Windows of every length, with masked starts and masked steps.
const WINDOWS: usize = 1000;
/// Every so many of them is computed by the formula in f64, too, which is slow.
const FORMULA_EVERY: usize = 20;
/// Steps of the long stream,
const STREAMED: usize = 10_000;
/// of which every so many is compared with its window.
const COMPARE_EVERY: usize = 500;
/// Windows that burn answers at once.
const BATCH: usize = 50;
/// What the policy asks for.
const TARGET: f32 = 0.004;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a new folder")?);
    fs::create_dir(&folder)?;
    let spec = Spec::reference();
    let (weights, statistics) = (invented::weights(&spec, 1), invented::statistics(&spec, 2));
    let mut rng = Rng::new(11, 11);
    let windows: Vec<Vec<Row>> = (0..WINDOWS)
        .map(|turn| {
            let count = 1 + turn % spec.steps;
            let mut rows = invented::rows(&spec, count, &mut rng);
            let masked = turn / spec.steps % (count + 1);
            rows[..masked].iter_mut().for_each(|row| row.live = false);
            rows
        })
        .collect();
    for (name, quantisation) in [("model", Quantisation::None), ("int8", Quantisation::Int8)] {
        let what = Export {
            spec: &spec,
            weights: &weights,
            statistics: &statistics,
            target_return: TARGET,
            training: Span {
                from: Time(1),
                to: Time(2),
            },
            cutoff: Time(3),
            created: Time(4),
            metrics: "invented weights",
            golden: &windows[spec.steps - 4..spec.steps],
            quantisation,
            with_backbone: true,
        };
        let exported = export(&what, &folder.join(name))?;
        let (bytes, error) = (exported.bytes, exported.error);
        println!("{name}: {bytes:?} bytes, golden answers at most {error:e} off the formula");
    }
    let manifest = tickerml_edge::policy::network::manifest(&folder.join("model"))?;
    let open = |form| Network::open(&manifest, &folder.join("model"), None, form);
    let (mut streaming, mut window) = (open(Form::Streaming)?, open(Form::Window)?);
    let mut found: [Vec<Heads>; 2] = [Vec::new(), Vec::new()];
    for rows in &windows {
        found[0].push(streaming.ask(rows)?.clone());
        found[1].push(window.ask(rows)?.clone());
    }
    let burnt = burn_answers(&spec, &weights, &statistics, &windows);
    let formula: Vec<(usize, Heads)> = (0..WINDOWS)
        .step_by(FORMULA_EVERY)
        .map(|place| {
            let rows = &windows[place];
            (
                place,
                reference::answer(&spec, &weights, &statistics, TARGET, rows),
            )
        })
        .collect();
    let apart = |one: &[Heads], other: &[Heads]| {
        let pairs = one.iter().zip(other);
        pairs.fold(0.0_f32, |most, (one, other)| most.max(one.distance(other)))
    };
    let to_formula = |heads: &[Heads]| {
        let pairs = formula.iter();
        pairs.fold(0.0_f32, |most, (place, wanted)| {
            most.max(heads[*place].distance(wanted))
        })
    };
    println!("{WINDOWS} windows, largest differences:");
    println!(
        "  tract streaming to tract window: {:e}",
        apart(&found[0], &found[1])
    );
    println!("  tract streaming to burn: {:e}", apart(&found[0], &burnt));
    for (name, heads) in [
        ("streaming", &found[0]),
        ("window", &found[1]),
        ("burn", &burnt),
    ] {
        println!(
            "  {name} to the formula, {} of them: {:e}",
            formula.len(),
            to_formula(heads)
        );
    }
    write_rows(&folder, "windows", windows.iter())?;
    write_heads(&folder, "windows.streaming", &found[0])?;
    write_heads(&folder, "windows.window", &found[1])?;
    write_heads(&folder, "windows.burn", &burnt)?;
    let stream = invented::rows(&spec, STREAMED, &mut rng);
    let mut ring = Ring::new(streaming.shape())?;
    let (mut streamed, mut drift) = (Vec::new(), 0.0_f32);
    for (step, row) in stream.iter().enumerate() {
        streamed.push(streaming.step(&mut ring, row.into())?.clone());
        if (step + 1) % COMPARE_EVERY == 0 {
            let mut rows = stream[step + 1 - spec.steps..=step].to_vec();
            rows[0].previous.fill(0.0);
            rows[0].previous[spec.actions] = 1.0;
            let whole = window.window(rows.iter().map(Seen::from))?;
            drift = drift.max(streamed[step].distance(whole));
        }
    }
    println!("{STREAMED} streamed steps, every {COMPARE_EVERY} against its window: {drift:e}");
    write_rows(&folder, "stream", std::iter::once(&stream))?;
    write_heads(&folder, "stream.streaming", &streamed)?;
    let sizes = serde_json::json!({
        "windows": WINDOWS, "streamed": STREAMED, "steps": spec.steps, "state": spec.state,
        "actions": spec.actions, "heads": spec.heads, "d_head": spec.d_head(), "bands": spec.bands,
        "frozen": spec.frozen_layers(), "target": TARGET / statistics.return_scale,
        "mean": statistics.mean, "inverse_scale": statistics.inverse_scale,
    });
    fs::write(folder.join("sizes.json"), sizes.to_string())?;
    Ok(())
}

/// burn's answers to the last steps of the windows.
fn burn_answers(
    spec: &Spec,
    weights: &Weights,
    statistics: &Statistics,
    windows: &[Vec<Row>],
) -> Vec<Heads> {
    let network = DecisionTransformer::from_weights(spec, weights, &Device::flex());
    let mut burnt = Vec::new();
    for windows in windows.chunks(BATCH) {
        let outputs = network.predict(&batch_of(spec, windows), statistics, spec);
        for place in 0..windows.len() {
            let cell = (place + 1) * spec.steps - 1;
            let classes = cell * spec.actions..(cell + 1) * spec.actions;
            let action = outputs.action[classes.clone()].to_vec();
            let value = expected(&action, &outputs.value[classes]);
            burnt.push(Heads {
                action,
                size: outputs.size[cell],
                risk: outputs.risk[cell],
                value,
            });
        }
    }
    burnt
}

/// Σ softmax(logits) · values.
fn expected(logits: &[f32], values: &[f32]) -> f32 {
    let peak = logits.iter().copied().fold(f32::MIN, f32::max);
    let shares: Vec<f32> = logits.iter().map(|logit| (logit - peak).exp()).collect();
    let total: f32 = shares.iter().sum();
    shares
        .iter()
        .zip(values)
        .map(|(share, value)| share / total * value)
        .sum()
}

fn batch_of(spec: &Spec, windows: &[Vec<Row>]) -> Batch {
    let mut batch = Batch::empty(windows.len(), spec.steps, spec.state, spec.actions);
    for (place, rows) in windows.iter().enumerate() {
        for (step, row) in rows.iter().enumerate() {
            let cell = (place + 1) * spec.steps - rows.len() + step;
            batch.states[cell * spec.state..][..spec.state].copy_from_slice(&row.state);
            batch.valid[cell * spec.state..][..spec.state].copy_from_slice(&row.valid);
            let class = row.previous[..=spec.actions]
                .iter()
                .position(|one| *one > 0.5);
            batch.previous[cell] = class
                .and_then(|class| u32::try_from(class).ok())
                .unwrap_or(0);
            batch.previous_size[cell] = row.previous[spec.actions + 1];
            (batch.returns[cell], batch.known[cell]) = (TARGET, 1.0);
            batch.live[cell] = f32::from(u8::from(row.live));
        }
    }
    batch
}

/// Per window: its length, then state, valid, previous action and live of its steps.
fn write_rows<'a>(
    folder: &Path,
    name: &str,
    windows: impl Iterator<Item = &'a Vec<Row>>,
) -> std::io::Result<()> {
    let mut numbers = Vec::new();
    for rows in windows {
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        numbers.push(rows.len() as f32);
        for row in rows {
            numbers.extend(&row.state);
            numbers.extend(&row.valid);
            numbers.extend(&row.previous);
            numbers.push(f32::from(u8::from(row.live)));
        }
    }
    write(folder, name, &numbers)
}

fn write_heads(folder: &Path, name: &str, heads: &[Heads]) -> std::io::Result<()> {
    let numbers = heads.iter().flat_map(|heads| {
        let rest = [heads.size, heads.risk, heads.value];
        heads.action.iter().copied().chain(rest)
    });
    write(folder, name, &numbers.collect::<Vec<f32>>())
}

fn write(folder: &Path, name: &str, numbers: &[f32]) -> std::io::Result<()> {
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    fs::write(folder.join(format!("{name}.f32")), bytes)
}
