//! What the loop must do.

use super::*;
use crate::corpus::{Draw, Episode, Path as MarketPath};

fn small() -> Spec {
    Spec {
        state: 2,
        actions: 3,
        steps: 6,
        d_model: 16,
        heads: 2,
        d_ff: 32,
        bands: vec![2, 2, 3],
    }
}

fn terms(steps: u64) -> Terms {
    Terms {
        steps,
        batch: 16,
        learning_rate: 3e-3,
        warm_up: 5,
        evaluate_every: 5,
        evaluate_batches: 2,
        checkpoint_every: 10,
        ..Terms::default()
    }
}

/// States at random; the right action tells whether the first feature is low, middling or high. `shift` makes
/// every action wrong in the same way.
fn corpus(seed: u64, shift: u8) -> Corpus {
    let mut rng = Rng::new(seed, 1);
    let steps = 40;
    let (mut paths, mut episodes) = (Vec::new(), Vec::new());
    for path in 0..8 {
        let levels: Vec<u8> = (0..steps)
            .map(|_| u8::try_from(rng.below(3)).expect("a level"))
            .collect();
        let states = levels
            .iter()
            .flat_map(|level| [f32::from(*level) - 1.0, f32::from(rng.below(2) == 1)])
            .collect();
        paths.push(MarketPath {
            states,
            valid: vec![1.0; steps * 2],
            live: (0..steps).map(|step| step % 13 != 5).collect(),
        });
        let actions: Vec<u8> = levels.iter().map(|level| (level + shift) % 3).collect();
        episodes.push(Episode {
            path,
            first: 0,
            sizes: actions
                .iter()
                .map(|action| {
                    if *action == 1 {
                        f32::NAN
                    } else {
                        f32::from(*action) / 2.0
                    }
                })
                .collect(),
            returns: vec![1.0; steps],
            risks: levels.iter().map(|level| f32::from(*level) / 4.0).collect(),
            values: levels
                .iter()
                .flat_map(|level| [f32::from(*level), f32::NAN, -1.0])
                .collect(),
            actions,
        });
    }
    Corpus {
        state: 2,
        actions: 3,
        paths,
        episodes,
        statistics: Statistics::identity(2),
        draw: Draw {
            whole: false,
            unconditioned: 0.2,
        },
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn run(terms: &Terms, start: Start, out: Option<&Path>) -> Result<Trained, TrainError> {
    let (spec, learned, held_out) = (small(), corpus(1, 0), corpus(2, 0));
    train(
        &learned,
        Some(&held_out),
        &spec,
        start,
        terms,
        out,
        &mut |_| {},
    )
}

#[test]
fn a_rule_is_learned_and_holds_where_nothing_was_learned() {
    let trained = run(&terms(150), Start::Fresh, None).expect("trained");
    let best = trained.best.expect("it was examined").losses;
    assert!(best.accuracy > 0.98, "{best:?}");
    assert!(
        best.action < 0.1 && best.position < 0.02 && best.risk < 0.01,
        "{best:?}"
    );
    assert!(best.value < 0.05, "{best:?}");
    assert!(!trained.early && trained.steps == 150);
}

#[test]
fn bfloat16_learns_the_rule_with_other_bits() {
    let mut rough = terms(150);
    rough.precision = Precision::Bf16;
    let rough = run(&rough, Start::Fresh, None).expect("trained");
    let best = rough.best.expect("it was examined").losses;
    assert!(best.accuracy > 0.98, "{best:?}");
    let exact = run(&terms(150), Start::Fresh, None).expect("trained");
    assert_ne!(rough.weights, exact.weights);
}

#[test]
fn a_training_that_was_broken_off_ends_with_the_same_bits() {
    let mut terms = terms(20);
    terms.accumulate = 2;
    let (whole, broken) = (folder(), folder());
    let (spec, learned, held_out) = (small(), corpus(1, 0), corpus(2, 0));
    let straight = train(
        &learned,
        Some(&held_out),
        &spec,
        Start::Fresh,
        &terms,
        Some(whole.path()),
        &mut |progress| {
            if progress.step == 12 {
                let from = whole.path().join(CHECKPOINT_FILE);
                fs::copy(from, broken.path().join(CHECKPOINT_FILE)).expect("copied");
            }
        },
    )
    .expect("trained");
    let at = |folder: &Path| {
        Checkpoint::load(folder, &spec, &terms, &learned.statistics).expect("a checkpoint")
    };
    assert_eq!(at(broken.path()).step, 10);
    let start = Start::Resume(broken.path().to_owned());
    let resumed = run(&terms, start, Some(broken.path())).expect("resumed");
    assert_eq!(resumed, straight);
    assert_eq!(at(whole.path()), at(broken.path()));
    let end = |folder: &Path| fs::read(folder.join(CHECKPOINT_FILE)).expect("written");
    assert_eq!(end(whole.path()), end(broken.path()));
}

#[test]
fn another_seed_gives_another_network() {
    let one = run(&terms(5), Start::Fresh, None).expect("trained");
    let mut other = terms(5);
    other.seed = 2;
    let other = run(&other, Start::Fresh, None).expect("trained");
    assert_ne!(one.weights, other.weights);
}

#[test]
fn a_checkpoint_is_not_taken_up_under_other_terms() {
    let out = folder();
    run(&terms(10), Start::Fresh, Some(out.path())).expect("trained");
    let start = Start::Resume(out.path().to_owned());
    let why = run(&terms(11), start, None).expect_err("other terms");
    assert!(why.to_string().contains("another terms"), "{why}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_training_and_leaves_the_checkpoint_before() {
    let out = folder();
    let (spec, learned) = (small(), corpus(1, 0));
    let path = out.path().to_owned();
    let why = train(
        &learned,
        None,
        &spec,
        Start::Fresh,
        &terms(30),
        Some(out.path()),
        &mut |progress| {
            if progress.step == 15 {
                let new = path.join(format!("{CHECKPOINT_FILE}.new"));
                std::os::unix::fs::symlink("/dev/full", new).expect("a link");
            }
        },
    )
    .expect_err("a full disk");
    assert!(why.to_string().contains("No space left"), "{why}");
    let at = Checkpoint::load(out.path(), &spec, &terms(30), &learned.statistics);
    assert_eq!(at.expect("the one before").step, 10);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training_before_it_is_kept() {
    let out = folder();
    let mut wild = terms(30);
    wild.checkpoint_every = 1;
    wild.learning_rate = 1e30;
    let why = run(&wild, Start::Fresh, Some(out.path())).expect_err("infinite");
    assert!(why.to_string().contains("not finite in step 2"), "{why}");
    let at = Checkpoint::load(out.path(), &small(), &wild, &Statistics::identity(2));
    assert_eq!(at.expect("the one before").step, 1);
}

#[test]
fn training_stops_when_the_held_out_loss_only_grows() {
    let (spec, learned, held_out) = (small(), corpus(1, 0), corpus(2, 1));
    let mut terms = terms(400);
    terms.patience = 3;
    let mut seen = Vec::new();
    let trained = train(
        &learned,
        Some(&held_out),
        &spec,
        Start::Fresh,
        &terms,
        None,
        &mut |progress| seen.extend(progress.held_out.map(|losses| losses.total)),
    )
    .expect("trained");
    let best = trained.best.expect("it was examined");
    assert!(trained.early && trained.steps < 400);
    assert_eq!(trained.steps, best.step + 15);
    let lowest = seen.iter().copied().fold(f32::INFINITY, f32::min);
    assert_eq!(best.losses.total.to_bits(), lowest.to_bits());
}

#[test]
fn a_weekly_training_moves_the_whole_head_and_nothing_of_the_backbone() {
    let spec = small();
    let full = run(&terms(20), Start::Fresh, None)
        .expect("trained")
        .weights;
    let mut weekly = terms(20);
    weekly.mode = Mode::Weekly;
    let start = Start::Weights(full.clone());
    let moved = run(&weekly, start, None).expect("trained").weights;
    let backbone = |weights: &Weights| weights.hash(&spec, |name| spec.is_backbone(name));
    assert_eq!(backbone(&full), backbone(&moved));
    let mut still = Vec::new();
    for (name, tensor) in full.iter().filter(|(name, _)| !spec.is_backbone(name)) {
        if moved.get(name) == tensor {
            still.push(name.to_owned());
        }
    }
    assert_eq!(still, Vec::<String>::new());
    let why = run(&weekly, Start::Fresh, None).expect_err("nothing to refresh");
    assert!(why.to_string().contains("start from its weights"), "{why}");
}

#[test]
fn the_frozen_part_is_not_in_the_optimizer() {
    let spec = small();
    let count = |mode| Layout::new(&spec, mode).still().len();
    let head = spec
        .weights()
        .iter()
        .filter(|(name, _)| !spec.is_backbone(name))
        .count();
    assert_eq!(count(Mode::Weekly), head);
    assert_eq!(count(Mode::Full), spec.weights().len());
}

fn lesson<'a>(
    learned: &'a Corpus,
    spec: &'a Spec,
    terms: &'a Terms,
    devices: &'a [Device],
) -> Lesson<'a> {
    Lesson {
        corpus: learned,
        held_out: None,
        spec,
        terms,
        devices,
    }
}

#[test]
fn two_devices_learn_what_one_learns() {
    let (spec, learned, mut terms) = (small(), corpus(1, 0), terms(10));
    terms.dropout = 0.0;
    let devices = [Device::flex(), Device::flex()];
    let one = lesson(&learned, &spec, &terms, &devices[..1]);
    let two = lesson(&learned, &spec, &terms, &devices);
    let one = train_on(&one, Start::Fresh, None, &mut |_| {}).expect("trained");
    let two = train_on(&two, Start::Fresh, None, &mut |_| {}).expect("trained");
    for (name, tensor) in one.weights.iter() {
        for (a, b) in tensor.values.iter().zip(&two.weights.get(name).values) {
            assert!((a - b).abs() < 2e-4, "{name} {a} {b}");
        }
    }
    assert!((one.losses.total - two.losses.total).abs() < 1e-4);
}

#[test]
fn a_batch_cut_in_parts_has_the_gradient_of_the_whole() {
    let (spec, learned, mut terms) = (small(), corpus(1, 0), terms(10));
    terms.dropout = 0.0;
    let devices = [Device::flex()];
    let lesson = lesson(&learned, &spec, &terms, &devices);
    let layout = Layout::new(&spec, Mode::Full);
    let models = [DecisionTransformer::new(
        &spec,
        3,
        &Device::flex().autodiff(),
    )];
    let batch = learned.batch(&mut Rng::new(4, 4), 12, spec.steps);
    let parts = vec![vec![batch.rows(0..5), batch.rows(5..12)]];
    let gradient = |shards: &[Vec<Batch>]| {
        let (gradient, figures) = gradients(&lesson, &layout, &models, None, shards, 0);
        (host(gradient), host(figures))
    };
    let (whole, cut) = (gradient(&[vec![batch]]), gradient(&parts));
    let far = |one: &[f32], other: &[f32]| {
        let pairs = one.iter().zip(other);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let most = whole.0.iter().map(|value| value.abs()).fold(0.0, f32::max);
    assert!(far(&whole.0, &cut.0) < 1e-5 * most && most > 0.01, "{most}");
    assert!(far(&whole.1, &cut.1) < 1e-5);
}

/// Central differences of the loss in f32 agree with the gradient to some percent of its largest part.
#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let (spec, learned, mut terms) = (small(), corpus(1, 0), terms(10));
    terms.dropout = 0.0;
    let devices = [Device::flex()];
    let lesson = lesson(&learned, &spec, &terms, &devices);
    let layout = Layout::new(&spec, Mode::Full);
    let weights = model::fresh(&spec, 5);
    let device = Device::flex().autodiff();
    let shards = [vec![learned.batch(&mut Rng::new(6, 6), 8, spec.steps)]];
    let slope = |weights: &Weights| {
        let models = [DecisionTransformer::from_weights(&spec, weights, &device)];
        let (gradient, figures) = gradients(&lesson, &layout, &models, None, &shards, 0);
        (layout.split(&host(gradient)), host(figures)[0])
    };
    let (gradient, _) = slope(&weights);
    for name in [
        "state.weight",
        "embed_norm.gamma",
        "layer.0.qkv.weight",
        "layer.1.relative",
        "layer.1.norm2.beta",
        "layer.2.qkv.bias",
        "layer.2.down.weight",
        "head.value.weight",
        "head.risk.bias",
    ] {
        let values = &gradient[name].values;
        let (place, largest) = values
            .iter()
            .enumerate()
            .max_by(|one, other| one.1.abs().total_cmp(&other.1.abs()))
            .expect("a weight");
        let at = |shift: f32| {
            let mut tensors = weights.clone().into_tensors();
            tensors.get_mut(name).expect("a weight").values[place] += shift;
            slope(&Weights::new(&spec, tensors).expect("the same shapes")).1
        };
        let step = 2e-2;
        let measured = (at(step) - at(-step)) / (2.0 * step);
        let off = (measured - largest).abs();
        assert!(
            off < 0.03 * largest.abs() + 2e-5,
            "{name} {measured} {largest}"
        );
    }
}

/// Against the formulas of Loshchilov & Hutter (2019), algorithm 2, in f64 and one parameter at a time.
#[test]
fn a_step_is_that_of_the_paper() {
    let (spec, mut terms) = (small(), terms(10));
    terms.weight_decay = 0.1;
    let layout = Layout::new(&spec, Mode::Full);
    let start = layout
        .join(&model::fresh(&spec, 1).into_tensors())
        .expect("its own weights");
    let still = vec![0.0; start.len()];
    let state = [start.clone(), still.clone(), still];
    let mut optimizer = AdamW::new(&layout, state, &Device::flex());
    let mut rng = Rng::new(9, 9);
    let mut expected: Vec<[f64; 3]> = start.iter().map(|p| [f64::from(*p), 0.0, 0.0]).collect();
    for step in 1..=4 {
        let gradient: Vec<f32> = start
            .iter()
            .map(|_| f32::from(u8::try_from(rng.below(100)).expect("small")) / 50.0 - 1.0)
            .collect();
        let count = gradient.len();
        let data = burn::tensor::TensorData::new(gradient.clone(), [count]);
        let tensor = Tensor::<1>::from_data(data, &Device::flex());
        let norm = host(optimizer.step(tensor, &terms, step, 1e-2))[0];
        let squares: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
        assert!((f64::from(norm) / squares.sqrt() - 1.0).abs() < 1e-5);
        let allowed = (terms.clip / (squares.sqrt() + 1e-6)).min(1.0);
        let power = i32::try_from(step).expect("small");
        let decays = layout.split(&start);
        let matrices = spec.weights();
        let matrices = matrices.iter().flat_map(|(name, _)| {
            let matrix = name.ends_with(".weight");
            decays[name].values.iter().map(move |_| matrix)
        });
        for (([p, m, v], g), matrix) in expected.iter_mut().zip(&gradient).zip(matrices) {
            let g = f64::from(*g) * allowed;
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.95 * *v + 0.05 * g * g;
            let (m_hat, v_hat) = (
                *m / (1.0 - 0.9_f64.powi(power)),
                *v / (1.0 - 0.95_f64.powi(power)),
            );
            let decay = if matrix { 1e-2 * 0.1 * *p } else { 0.0 };
            *p -= decay + 1e-2 * m_hat / (v_hat.sqrt() + 1e-8);
        }
    }
    let [got, ..] = optimizer.state();
    for (got, [expected, ..]) in got.iter().zip(&expected) {
        assert!(
            (f64::from(*got) - expected).abs() < 1e-5,
            "{got} {expected}"
        );
    }
}

#[test]
fn the_learning_rate_rises_and_falls_as_a_cosine() {
    let terms = Terms {
        steps: 110,
        warm_up: 10,
        learning_rate: 1.0,
        floor: 0.1,
        ..Terms::default()
    };
    let close =
        |step, expected: f64| assert!((terms.rate(step) - expected).abs() < 1e-12, "{step}");
    close(0, 0.1);
    close(9, 1.0);
    close(10, 1.0);
    close(60, 0.55);
    close(110, 0.1);
}

#[test]
fn a_folder_receives_the_model_the_metrics_and_the_page() {
    let out = folder();
    let mut told = Vec::new();
    let (spec, learned, held_out) = (small(), corpus(1, 0), corpus(2, 0));
    let trained = train(
        &learned,
        Some(&held_out),
        &spec,
        Start::Fresh,
        &terms(12),
        Some(out.path()),
        &mut |progress| told.push(*progress),
    )
    .expect("trained");
    let path = out.path().join(MODEL_FILE);
    let expected = (spec, learned.statistics, trained.weights);
    assert_eq!(Weights::load(&path), Ok(expected));
    let lines = fs::read_to_string(out.path().join(METRICS_FILE)).expect("metrics");
    let lines: Vec<Progress> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect();
    assert_eq!(lines.len(), 12);
    let figures = |all: &[Progress]| {
        all.iter()
            .map(|one| (one.step, one.losses, one.held_out))
            .collect::<Vec<_>>()
    };
    assert_eq!(figures(&lines), figures(&told));
    assert_eq!(lines[11].step, 12);
    let examined = lines.iter().filter(|line| line.held_out.is_some()).count();
    assert_eq!(examined, 3);
    let page = fs::read_to_string(out.path().join(PAGE_FILE)).expect("a page");
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn what_cannot_be_trained_is_told_with_its_remedy() {
    let spec = small();
    let refused = |change: fn(&mut Corpus, &mut Terms)| {
        let (mut learned, mut terms) = (corpus(1, 0), terms(5));
        change(&mut learned, &mut terms);
        let trained = train(
            &learned,
            None,
            &spec,
            Start::Fresh,
            &terms,
            None,
            &mut |_| {},
        );
        trained.expect_err("nonsense").to_string()
    };
    assert!(refused(|corpus, _| corpus.episodes.clear()).contains("is empty"));
    assert!(refused(|corpus, _| corpus.state = 3).contains("has 3 features"));
    assert!(refused(|corpus, _| corpus.statistics.return_scale = 0.0).contains("return scale"));
    let same = |corpus: &mut Corpus, _: &mut Terms| {
        for episode in &mut corpus.episodes {
            episode.actions.fill(2);
        }
    };
    assert!(refused(same).contains("is class 2"));
    assert!(refused(|_, terms| terms.clip = f64::NAN).contains("train.clip"));
    assert!(refused(|_, terms| terms.batch = 0).contains("train.batch"));
}

#[test]
fn terms_come_from_toml_and_know_no_other_words() {
    let text = toml::to_string(&Terms::default()).expect("plain values");
    assert_eq!(toml::from_str::<Terms>(&text), Ok(Terms::default()));
    let why = toml::from_str::<Terms>(&format!("speed = 1\n{text}")).expect_err("unknown");
    assert!(why.to_string().contains("unknown field `speed`"), "{why}");
}
