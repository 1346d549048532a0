//! Baselines on tasks that each can learn, their graphs in tract, and what they refuse.

use prost::Message as _;
use tract_onnx::prelude::*;

use super::*;
use crate::corpus::{Draw, Episode, Path};

const STATE: usize = 4;
const ACTIONS: usize = 3;

/// What the better action earns at a step, from the states up to it; its sign says which action that is.
type Edge = fn(&[[f32; STATE]], usize) -> f32;

/// The state says it, in a straight line.
fn straight(states: &[[f32; STATE]], step: usize) -> f32 {
    states[step][0] - states[step][1]
}

/// Two states say it together: neither of them says anything alone.
fn together(states: &[[f32; STATE]], step: usize) -> f32 {
    2.0 * states[step][0].signum() * states[step][1].signum()
}

/// The state before says it.
fn before(states: &[[f32; STATE]], step: usize) -> f32 {
    if step == 0 {
        0.0
    } else {
        2.0 * states[step - 1][2]
    }
}

/// A path whose states are uniform in [-1, 1); the last of them is unknown half of the time.
fn path(steps: usize, seed: u64) -> (Path, Vec<[f32; STATE]>) {
    let mut rng = Rng::new(seed, 5);
    let mut uniform = || f32::from(u16::try_from(rng.below(2_000)).expect("small")) / 1_000.0 - 1.0;
    let mut states: Vec<[f32; STATE]> = (0..steps)
        .map(|_| std::array::from_fn(|_| uniform()))
        .collect();
    let mut valid = vec![1.0; steps * STATE];
    for (step, state) in states
        .iter_mut()
        .enumerate()
        .filter(|(step, _)| step % 2 == 1)
    {
        state[3] = 0.0;
        valid[step * STATE + 3] = 0.0;
    }
    let one = Path {
        states: states.concat(),
        valid,
        live: vec![true; steps],
    };
    (one, states)
}

/// Selling earns `-edge`, holding nothing, buying `edge`, each less a cost of 0.3 for a trade; all of it is known.
fn corpus(steps: usize, seed: u64, edge: Edge) -> Corpus {
    let (path, states) = path(steps, seed);
    let mut rng = Rng::new(seed, 6);
    let values: Vec<f32> = (0..steps)
        .flat_map(|step| {
            let edge = edge(&states, step);
            [-edge - 0.3, 0.0, edge - 0.3]
        })
        .collect();
    let actions: Vec<u8> = (0..steps)
        .map(|_| u8::try_from(rng.below(3)).expect("a class"))
        .collect();
    let episode = Episode {
        path: 0,
        first: 0,
        sizes: actions
            .iter()
            .map(|class| if *class == 1 { f32::NAN } else { 0.75 })
            .collect(),
        returns: vec![0.0; steps],
        risks: states.iter().map(|state| 0.5 + 0.25 * state[2]).collect(),
        values,
        actions,
    };
    Corpus {
        state: STATE,
        actions: ACTIONS,
        paths: vec![path],
        episodes: vec![episode],
        statistics: Statistics {
            return_scale: 2.0,
            ..Statistics::identity(STATE)
        },
        draw: Draw {
            whole: false,
            unconditioned: 0.5,
        },
    }
}

fn terms(kind: Kind) -> Terms {
    Terms {
        look_back: 2,
        rounds: 40,
        ..Terms::reference(kind)
    }
}

/// Share of the steps of another path at which the best action is chosen, and the mean error of its value.
fn judged(baseline: &Baseline, edge: Edge) -> (f64, f32) {
    let steps = 1_000_u16;
    let other = corpus(usize::from(steps), 99, edge);
    let (mut right, mut error) = (0_u16, 0.0);
    for step in 0..usize::from(steps) {
        let got = baseline
            .predict_at(&other.paths[0], step)
            .expect("an answer");
        let values = &other.episodes[0].values[step * ACTIONS..][..ACTIONS];
        let best = (0..ACTIONS).fold(0, |best, one| {
            if values[one] > values[best] {
                one
            } else {
                best
            }
        });
        right += u16::from(got.action() == best);
        error += (got.value[2] * 2.0 - values[2]).abs() / f32::from(steps);
    }
    (f64::from(right) / f64::from(steps), error)
}

#[test]
fn each_baseline_learns_what_the_state_says() {
    let corpus = corpus(6_000, 1, straight);
    for kind in Kind::ALL {
        let baseline = Baseline::fit(&corpus, &terms(kind), 1).expect("a baseline");
        let (right, error) = judged(&baseline, straight);
        assert!(
            right > 0.9 && error < 0.15,
            "{}: {right}, {error}",
            kind.name()
        );
        let one = baseline.predict_at(&corpus.paths[0], 7).expect("an answer");
        let state = corpus.paths[0].states[7 * STATE + 2];
        assert!(
            (one.risk - 0.5 - 0.25 * state).abs() < 0.1,
            "{}: risk {}",
            kind.name(),
            one.risk
        );
        assert!(
            (one.size - 0.75).abs() < 0.1,
            "{}: size {}",
            kind.name(),
            one.size
        );
    }
}

#[test]
fn only_a_network_and_trees_learn_what_two_states_say_together() {
    let corpus = corpus(4_000, 2, together);
    for (kind, low, high) in [
        (Kind::Linear, 0.3, 0.7),
        (Kind::Network, 0.9, 1.0),
        (Kind::Trees, 0.9, 1.0),
    ] {
        let baseline = Baseline::fit(&corpus, &terms(kind), 1).expect("a baseline");
        let (right, _) = judged(&baseline, together);
        assert!((low..=high).contains(&right), "{}: {right}", kind.name());
    }
}

#[test]
fn a_baseline_sees_as_far_back_as_it_is_told() {
    let corpus = corpus(3_000, 3, before);
    for kind in Kind::ALL {
        for (look_back, sees) in [(1, false), (2, true)] {
            let terms = Terms {
                look_back,
                ..terms(kind)
            };
            let baseline = Baseline::fit(&corpus, &terms, 1).expect("a baseline");
            let (right, _) = judged(&baseline, before);
            assert_eq!(
                right > 0.85,
                sees,
                "{} with {look_back} steps: {right}",
                kind.name()
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_bytes_come_back() {
    let corpus = corpus(400, 4, straight);
    for kind in Kind::ALL {
        let fit = |seed| Baseline::fit(&corpus, &terms(kind), seed).expect("a baseline");
        let (one, same, other) = (fit(1), fit(1), fit(2));
        assert_eq!(one, same);
        assert_ne!(one, other, "{} does not use its seed", kind.name());
        let bytes = one.to_bytes().expect("bytes");
        assert_eq!(Baseline::from_bytes(&bytes), Ok(one));
        assert!(Baseline::from_bytes(&bytes[..bytes.len() / 2]).is_err());
    }
}

/// States and flags of some steps.
type Seen = (Vec<f32>, Vec<f32>);

/// tract's answers of a baseline's graph, read back from bytes, to rows `[N, L · S]`: all outputs of each row.
fn through_tract(baseline: &Baseline, rows: &[Seen]) -> TractResult<Vec<Vec<f32>>> {
    let bytes = baseline.onnx().encode_to_vec();
    let wide = rows[0].0.len();
    let mut model = tract_onnx::onnx().model_for_read(&mut &bytes[..])?;
    for input in 0..2 {
        model.set_input_fact(input, f32::fact([rows.len(), wide]).into())?;
    }
    let model = model.into_optimized()?.into_runnable()?;
    let table = |pick: fn(&Seen) -> &Vec<f32>| -> TractResult<Tensor> {
        let all: Vec<f32> = rows
            .iter()
            .flat_map(|row| pick(row).iter().copied())
            .collect();
        Tensor::from_shape(&[rows.len(), wide], &all)
    };
    let got = model.run(tvec![
        table(|row| &row.0)?.into(),
        table(|row| &row.1)?.into()
    ])?;
    let mut answers = vec![Vec::new(); rows.len()];
    for output in got {
        let columns = output.shape()[1];
        let plain = output.try_as_plain_ram()?;
        for (answer, row) in answers
            .iter_mut()
            .zip(plain.as_slice::<f32>()?.chunks_exact(columns))
        {
            answer.extend(row);
        }
    }
    Ok(answers)
}

fn rows_of(corpus: &Corpus, look_back: usize, count: usize) -> Vec<Seen> {
    (0..count)
        .map(|step| rows::seen(&corpus.paths[0], step, look_back, STATE))
        .collect()
}

fn outputs(one: &Prediction) -> Vec<f32> {
    [&one.logits[..], &[one.size, one.risk], &one.value].concat()
}

#[test]
fn the_graph_answers_in_tract_as_the_baseline_does() {
    for edge in [straight as Edge, together] {
        let mut corpus = corpus(1_200, 5, edge);
        corpus.statistics.mean = vec![0.1, -0.2, 0.0, 0.3];
        corpus.statistics.inverse_scale = vec![1.5, 2.0, 0.0, 40.0];
        for kind in Kind::ALL {
            let baseline = Baseline::fit(&corpus, &terms(kind), 1).expect("a baseline");
            let rows = rows_of(&corpus, 2, 1_000);
            let theirs = through_tract(&baseline, &rows).expect("tract runs the graph");
            for ((states, valid), theirs) in rows.iter().zip(theirs) {
                let ours = outputs(&baseline.predict(states, valid).expect("an answer"));
                for (a, b) in ours.iter().zip(&theirs) {
                    assert!((a - b).abs() < 1e-4, "{}: {ours:?} {theirs:?}", kind.name());
                }
            }
        }
    }
}

#[test]
fn where_values_cannot_be_compared_the_best_episodes_teach() {
    let nan = f32::NAN;
    let mut corpus = corpus(900, 6, straight);
    let plain = corpus.episodes[0].clone();
    corpus.episodes.clear();
    // Four policies: one follows the edge and is the only one that earns; the others act at random.
    for policy in 0..4_u64 {
        let mut rng = Rng::new(policy, 8);
        let actions: Vec<u8> = plain
            .values
            .chunks_exact(ACTIONS)
            .map(|values| match policy {
                2 => u8::from(values[2] > values[0]) * 2,
                _ => u8::try_from(rng.below(3)).expect("a class"),
            })
            .collect();
        corpus.episodes.push(Episode {
            sizes: vec![nan; 900],
            risks: vec![nan; 900],
            values: vec![nan; 900 * ACTIONS],
            returns: vec![if policy == 2 { 9.0 } else { 1.0 }; 900],
            actions,
            ..plain.clone()
        });
    }
    for kind in Kind::ALL {
        let baseline = Baseline::fit(&corpus, &terms(kind), 1).expect("a baseline");
        let answers = (0..900).map(|step| {
            baseline
                .predict_at(&corpus.paths[0], step)
                .expect("an answer")
        });
        let right = answers
            .zip(&corpus.episodes[2].actions)
            .filter(|(one, best)| one.action() == usize::from(**best));
        assert!(right.count() > 850, "{}", kind.name());
    }
    let linear = Baseline::fit(&corpus, &terms(Kind::Linear), 1).expect("a baseline");
    let one = linear.predict_at(&corpus.paths[0], 3).expect("an answer");
    assert_eq!((one.size, one.risk), (1.0, 0.0));
}

#[test]
fn what_cannot_be_learned_is_told_with_its_remedy() {
    let good = corpus(300, 7, straight);
    let wrong = |change: fn(&mut Corpus, &mut Terms)| {
        let (mut corpus, mut terms) = (good.clone(), terms(Kind::Linear));
        change(&mut corpus, &mut terms);
        Baseline::fit(&corpus, &terms, 1)
            .expect_err("no baseline")
            .to_string()
    };
    assert!(wrong(|corpus, _| corpus.episodes.clear()).contains("no step to learn from"));
    assert!(wrong(|corpus, _| corpus.paths[0].live.fill(false)).contains("no step to learn from"));
    assert!(
        wrong(|corpus, _| {
            for values in corpus.episodes[0].values.chunks_exact_mut(ACTIONS) {
                values.copy_from_slice(&[0.0, 0.0, 1.0]);
            }
        })
        .contains("all 300 steps teach class 2")
    );
    assert!(wrong(|corpus, _| corpus.episodes[0].path = 3).contains("does not fit its path"));
    assert!(wrong(|corpus, _| corpus.episodes[0].actions[0] = 9).contains("unknown action"));
    assert!(wrong(|_, terms| terms.look_back = 65).contains("baseline.look_back = 65"));
    assert!(wrong(|_, terms| terms.columns = 1.5).contains("columns in (0, 1]"));
    assert!(wrong(|corpus, _| corpus.paths[0].states[0] = f32::INFINITY).contains("finite"));
    let baseline = Baseline::fit(&good, &terms(Kind::Linear), 1).expect("a baseline");
    assert!(baseline.predict(&[0.0; 3], &[1.0; 3]).is_err());
    assert!(baseline.predict_at(&good.paths[0], 300).is_err());
}

#[test]
fn an_ensemble_answers_with_the_weighted_mean_of_probabilities_sizes_and_values() {
    let one = Prediction {
        logits: vec![0.0, 3_f32.ln()],
        size: 0.2,
        risk: 0.0,
        value: vec![1.0, 2.0],
    };
    let other = Prediction {
        logits: vec![0.0, 0.0],
        size: 1.0,
        risk: 0.5,
        value: vec![-1.0, 0.0],
    };
    let mean = Prediction::mean(&[(3.0, one.clone()), (1.0, other.clone())]).expect("a mean");
    let expected = [0.3125, 0.6875, 0.4, 0.125, 0.5, 1.5];
    let got = [
        &mean.probabilities()[..],
        &[mean.size, mean.risk],
        &mean.value,
    ]
    .concat();
    assert!(
        got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
        "{got:?}"
    );
    assert!(Prediction::mean(&[]).is_err());
    assert!(Prediction::mean(&[(0.0, one.clone())]).is_err());
    assert!(Prediction::mean(&[(2.0, one), (-1.0, other)]).is_err());

    let corpus = corpus(500, 8, straight);
    let fit = |kind| Baseline::fit(&corpus, &terms(kind), 1).expect("a baseline");
    let (linear, trees) = (fit(Kind::Linear), fit(Kind::Trees));
    let both =
        Ensemble::new(vec![(1.0, linear.clone()), (0.0, trees.clone())]).expect("an ensemble");
    let (states, valid) = rows::seen(&corpus.paths[0], 9, 2, STATE);
    let (got, alone) = (
        both.predict(&states, &valid),
        linear.predict(&states, &valid).expect("an answer"),
    );
    let got = got.expect("an answer");
    assert_eq!(got.value, alone.value);
    let near = got
        .probabilities()
        .iter()
        .zip(alone.probabilities())
        .all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near);
    assert!(Ensemble::new(vec![]).is_err());
    let narrow = Terms {
        look_back: 1,
        ..terms(Kind::Linear)
    };
    let narrow = Baseline::fit(&corpus, &narrow, 1).expect("a baseline");
    assert!(Ensemble::new(vec![(1.0, trees), (1.0, narrow)]).is_err());
}
