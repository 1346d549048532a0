//! The graphs answer as the formula and as burn do, in both forms, however long a stream has run.

use tickerml_edge::policy::model::Model;
use tickerml_edge::policy::network::{Form, Network, Ring, Seen, manifest};
use tickerml_shared::action::Action;
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::rand::Rng;
use tickerml_shared::window::Window;

use super::*;
use crate::batch::Batch;
use crate::model::DecisionTransformer;

/// A shape in which nothing is equal by accident.
fn small() -> Spec {
    Spec {
        state: 5,
        actions: 4,
        steps: 12,
        d_model: 12,
        heads: 3,
        d_ff: 20,
        bands: vec![2, 1, 4, 5],
    }
}

/// The edge's features and window in a narrow network.
fn narrow() -> Spec {
    Spec {
        d_model: 16,
        heads: 2,
        d_ff: 24,
        ..Spec::reference()
    }
}

/// Everything that an export needs.
struct Sample {
    spec: Spec,
    weights: Weights,
    statistics: Statistics,
    golden: Vec<Vec<Row>>,
    quantisation: Quantisation,
    with_backbone: bool,
}

const TARGET: f32 = 0.004;

impl Sample {
    fn new(spec: Spec) -> Self {
        let mut rng = Rng::new(3, 3);
        let lengths = [1, 2, spec.steps / 2, spec.steps];
        Self {
            weights: invented::weights(&spec, 1),
            statistics: invented::statistics(&spec, 2),
            golden: lengths
                .map(|count| invented::rows(&spec, count, &mut rng))
                .into(),
            spec,
            quantisation: Quantisation::None,
            with_backbone: true,
        }
    }

    fn export(&self, folder: &Path) -> Result<Exported, ExportError> {
        let what = Export {
            spec: &self.spec,
            weights: &self.weights,
            statistics: &self.statistics,
            target_return: TARGET,
            training: Span {
                from: Time(1),
                to: Time(2),
            },
            cutoff: Time(3),
            created: Time(4),
            metrics: "nothing was trained",
            golden: &self.golden,
            quantisation: self.quantisation,
            with_backbone: self.with_backbone,
        };
        export(&what, folder)
    }

    fn formula(&self, rows: &[Row]) -> Heads {
        reference::answer(&self.spec, &self.weights, &self.statistics, TARGET, rows)
    }
}

fn exported(sample: &Sample) -> (tempfile::TempDir, PathBuf, Exported) {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("model");
    let exported = sample.export(&folder).expect("exported");
    (home, folder, exported)
}

fn open(folder: &Path, form: Form) -> Network {
    let manifest = manifest(folder).expect("a manifest");
    Network::open(&manifest, folder, None, form).expect("it runs here")
}

/// Rows as a window sees them: the first has no action before it.
fn cut(rows: &[Row], actions: usize) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows[0].previous.fill(0.0);
    rows[0].previous[actions] = 1.0;
    rows
}

#[test]
fn both_forms_answer_a_thousand_windows_as_the_formula_does() {
    let sample = Sample::new(small());
    let (_home, folder, exported) = exported(&sample);
    assert!(exported.error < 1e-5, "{}", exported.error);
    let mut forms = [Form::Streaming, Form::Window].map(|form| open(&folder, form));
    let mut rng = Rng::new(5, 5);
    let mut most = 0.0_f32;
    for turn in 0..1000 {
        let count = 1 + turn % sample.spec.steps;
        let mut rows = invented::rows(&sample.spec, count, &mut rng);
        // Masked starts, and windows in which nothing else is live.
        let masked = turn / sample.spec.steps % (count + 1);
        rows[..masked].iter_mut().for_each(|row| row.live = false);
        let wanted = sample.formula(&rows);
        for network in &mut forms {
            let found = network.ask(&rows).expect("it runs");
            most = most.max(found.distance(&wanted));
        }
    }
    assert!(most < TOLERANCE, "{most}");
    println!("largest difference of 1,000 windows to the formula: {most:e}");
}

#[test]
fn burn_answers_as_the_formula_does() {
    let sample = Sample::new(small());
    let spec = &sample.spec;
    let network =
        DecisionTransformer::from_weights(spec, &sample.weights, &burn::tensor::Device::flex());
    let mut rng = Rng::new(6, 6);
    let windows: Vec<Vec<Row>> = (0..64)
        .map(|turn| invented::rows(spec, 1 + turn % spec.steps, &mut rng))
        .collect();
    let mut batch = Batch::empty(windows.len(), spec.steps, spec.state, spec.actions);
    for (place, rows) in windows.iter().enumerate() {
        let padding = spec.steps - rows.len();
        for (step, row) in rows.iter().enumerate() {
            let cell = place * spec.steps + padding + step;
            batch.states[cell * spec.state..][..spec.state].copy_from_slice(&row.state);
            batch.valid[cell * spec.state..][..spec.state].copy_from_slice(&row.valid);
            let class = row.previous[..=spec.actions]
                .iter()
                .position(|one| *one == 1.0);
            batch.previous[cell] = u32::try_from(class.expect("one-hot")).expect("small");
            batch.previous_size[cell] = row.previous[spec.actions + 1];
            (batch.returns[cell], batch.known[cell]) = (TARGET, 1.0);
            batch.live[cell] = f32::from(u8::from(row.live));
        }
    }
    let found = network.predict(&batch, &sample.statistics, spec);
    for (place, rows) in windows.iter().enumerate() {
        let cell = (place + 1) * spec.steps - 1;
        let classes = cell * spec.actions..(cell + 1) * spec.actions;
        let action = found.action[classes.clone()].to_vec();
        let peak = action.iter().copied().fold(f32::MIN, f32::max);
        let shares: Vec<f32> = action.iter().map(|logit| (logit - peak).exp()).collect();
        let total: f32 = shares.iter().sum();
        let value = shares.iter().zip(&found.value[classes]);
        let heads = Heads {
            size: found.size[cell],
            risk: found.risk[cell],
            value: value.map(|(share, value)| share / total * value).sum(),
            action,
        };
        let distance = heads.distance(&sample.formula(rows));
        assert!(distance < TOLERANCE, "window {place}: {distance}");
    }
}

#[test]
fn a_stream_does_not_drift_in_ten_thousand_steps() {
    let sample = Sample::new(small());
    let (_home, folder, _) = exported(&sample);
    let [mut streaming, mut window] =
        [Form::Streaming, Form::Window].map(|form| open(&folder, form));
    let rows = invented::rows(&sample.spec, 10_000, &mut Rng::new(7, 7));
    let mut ring = Ring::new(streaming.shape()).expect("memory");
    for (step, row) in rows.iter().enumerate() {
        let found = streaming
            .step(&mut ring, row.into())
            .expect("it runs")
            .clone();
        if (step + 1) % 500 == 0 {
            let seen = cut(
                &rows[step + 1 - sample.spec.steps..=step],
                sample.spec.actions,
            );
            let whole = window.window(seen.iter().map(Seen::from)).expect("it runs");
            assert!(found.distance(whole) < TOLERANCE, "step {step}");
            assert!(
                found.distance(&sample.formula(&seen)) < TOLERANCE,
                "step {step}"
            );
        }
    }
}

#[test]
fn an_answer_is_a_function_of_the_window_whatever_was_asked_before() {
    let (_home, folder, _) = exported(&Sample::new(narrow()));
    let load = |form| Model::load(&folder, form).expect("it runs here");
    let (mut streaming, mut whole) = (load(Form::Streaming), load(Form::Window));
    let mut steps = invented::steps(Rng::new(8, 8));
    let mut window = Window::new(InstrumentId(3));
    let mut answers = Vec::new();
    for pulse in 0..400 {
        // Some pulses are not asked about, some windows twice.
        let taken = steps.next().expect("for ever");
        window.push(tickerml_shared::window::Step {
            action: Action::HOLD,
            ..taken
        });
        if pulse % 7 != 3 {
            let answer = streaming.answer(&window);
            assert_eq!(streaming.answer(&window), answer, "asked twice at {pulse}");
            if pulse % 5 == 0 {
                let close = whole.answer(&window);
                let apart = |a: u32, b: u32| a.abs_diff(b);
                let probabilities = answer.probabilities.iter().zip(close.probabilities);
                assert!(
                    probabilities.clone().all(|(a, b)| apart(*a, b) < 100),
                    "pulse {pulse}"
                );
                assert!(apart(answer.size, close.size) < 100, "pulse {pulse}");
                assert!(answer.value.abs_diff(close.value) < 100, "pulse {pulse}");
            }
            answers.push((window.clone(), answer));
        }
        window.decide(taken.action);
    }
    // Another order, begun anew each time: the same bits.
    for (window, answer) in answers.iter().rev().step_by(17) {
        assert_eq!(streaming.answer(window), *answer, "out of order");
    }
    // A past action that changed is noticed.
    let (mut changed, answer) = answers.last().expect("some").clone();
    assert_eq!(streaming.answer(&changed), answer);
    let mut other = Window::new(changed.instrument);
    for (place, step) in changed.steps().enumerate() {
        let mut step = *step;
        if place + 2 == changed.steps().len() {
            step.action = Action::from_heads([0.0, 0.0, 9.0], 0.123, 0.0, 0.0);
        }
        other.push(step);
    }
    let told = streaming.answer(&other);
    assert_ne!(told, answer);
    changed = other;
    assert_eq!(load(Form::Streaming).answer(&changed), told);
    // Instruments do not disturb each other.
    let mut elsewhere = Window::new(InstrumentId(0));
    elsewhere.push(*changed.newest().expect("steps"));
    assert_ne!(streaming.answer(&elsewhere), told);
    assert_eq!(streaming.answer(&changed), told);
    assert_eq!(
        streaming.answer(&Window::new(InstrumentId(0))),
        Action::HOLD
    );
}

#[test]
fn a_backbone_that_did_not_move_keeps_its_bytes_and_serves_another_head() {
    let mut sample = Sample::new(narrow());
    let (_home, first, before) = exported(&sample);
    let tensors = sample.weights.iter().map(|(name, tensor)| {
        let mut tensor = tensor.clone();
        if !sample.spec.is_backbone(name) {
            tensor.values.iter_mut().for_each(|value| *value *= 0.9);
        }
        (name.to_owned(), tensor)
    });
    let weights = Weights::new(&sample.spec, tensors.collect()).expect("the same shapes");
    sample.weights = weights;
    sample.with_backbone = false;
    let (_home, second, after) = exported(&sample);
    assert_eq!(
        before.manifest.backbone_weights,
        after.manifest.backbone_weights
    );
    assert_ne!(before.manifest.weights, after.manifest.weights);
    for graph in Graph::ALL {
        let same = before.manifest.file(graph) == after.manifest.file(graph);
        assert_eq!(same, graph.is_backbone(), "{}", graph.file());
        assert_eq!(second.join(graph.file()).exists(), !graph.is_backbone());
    }
    let alone = Model::load(&second, Form::Streaming)
        .expect_err("no backbone")
        .0;
    assert!(alone.contains("carries the head alone"), "{alone}");
    for form in [Form::Streaming, Form::Window] {
        Model::load_over(&second, Some(&first), form).expect("over the installed backbone");
    }
    sample.weights = invented::weights(&sample.spec, 99);
    sample.with_backbone = true;
    let (_home, third, _) = exported(&sample);
    let other = Model::load_over(&second, Some(&third), Form::Streaming);
    let other = other.expect_err("another backbone").0;
    assert!(other.contains("the manifest names"), "{other}");
}

#[test]
fn a_bundle_that_does_not_fit_is_refused_with_the_reason() {
    let sample = Sample::new(narrow());
    let refused = |change: fn(&mut Manifest), wanted: &str| {
        let (_home, folder, exported) = exported(&sample);
        let mut manifest = exported.manifest;
        change(&mut manifest);
        let bytes = manifest.to_bytes().expect("it makes sense");
        fs::write(folder.join(FILE), bytes).expect("written");
        let told = Model::load(&folder, Form::Streaming).expect_err(wanted).0;
        assert!(
            told.contains(wanted) && !told.contains('\n'),
            "{wanted}: {told}"
        );
    };
    refused(
        |manifest| manifest.golden[3].heads.risk += 0.001,
        "golden window 3",
    );
    refused(
        |manifest| manifest.files[1] = SchemaId([0; 32]),
        "fetch the bundle again",
    );
    let other = |manifest: &mut Manifest| {
        manifest.description = manifest.description.replace("action hold", "action wait");
        manifest.schema = fingerprint(manifest.description.as_bytes());
    };
    refused(
        other,
        "\"action wait\" where this build has \"action hold\"",
    );
    let (_home, folder, _) = exported(&Sample::new(small()));
    let told = Model::load(&folder, Form::Streaming)
        .expect_err("another shape")
        .0;
    assert!(told.contains("reads 5 features"), "{told}");
    let mut long = Sample::new(narrow());
    long.spec.bands = vec![24, 24, 24];
    let long = Sample::new(long.spec);
    let home = tempfile::tempdir().expect("a folder");
    let told = long
        .export(&home.path().join("long"))
        .expect_err("too long")
        .0;
    assert!(told.contains("70 steps"), "{told}");
    assert!(
        fs::read_dir(home.path())
            .expect("a folder")
            .next()
            .is_none()
    );
    let told = Model::load(home.path(), Form::Streaming)
        .expect_err("nothing there")
        .0;
    assert!(
        told.contains("name the folder of an exported model"),
        "{told}"
    );
    fs::write(home.path().join("mine"), "precious").expect("written");
    let told = sample.export(home.path()).expect_err("not empty").0;
    assert!(told.contains("is not empty"), "{told}");
    assert!(home.path().join("mine").exists());
}

#[test]
fn eight_bits_are_a_third_of_the_size_and_lose_what_they_say() {
    let mut sample = Sample::new(Spec {
        d_model: 64,
        d_ff: 128,
        ..narrow()
    });
    let (_home, _, plain) = exported(&sample);
    sample.quantisation = Quantisation::Int8;
    let (_home, folder, small) = exported(&sample);
    assert!(
        small.bytes[0] * 3 < plain.bytes[0],
        "{:?} of {:?}",
        small.bytes,
        plain.bytes
    );
    assert!(
        small.error > plain.error && small.error < 0.5,
        "{}",
        small.error
    );
    assert!(small.manifest.int8 && small.manifest.metrics.contains("int8: answers at most"));
    for form in [Form::Streaming, Form::Window] {
        Model::load(&folder, form).expect("eight bits run here");
    }
}
