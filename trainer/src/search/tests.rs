//! Searches on functions with a known best, in the same order again, and after a break.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn branin_space() -> Space {
    let range = |low, high| Range::Uniform { low, high };
    [
        ("x".to_owned(), range(-5.0, 10.0)),
        ("y".to_owned(), range(0.0, 15.0)),
    ]
    .into()
}

/// Branin's function, turned over: its highest value is −0.397887 in three places.
fn branin(trial: &Trial) -> Result<f64, SearchError> {
    let (x, y) = (trial.number("x")?, trial.number("y")?);
    let pi = std::f64::consts::PI;
    let (b, c, t) = (5.1 / (4.0 * pi * pi), 5.0 / pi, 1.0 / (8.0 * pi));
    Ok(-((y - b * x * x + c * x - 6.0).powi(2) + 10.0 * (1.0 - t) * x.cos() + 10.0))
}

fn search(method: Method, configurations: usize, workers: usize, seed: u64) -> Search {
    Search {
        method,
        configurations,
        workers,
        seed,
        space: branin_space(),
    }
}

const TPE: Method = Method::Tpe {
    startup: 10,
    candidates: 24,
};
const ASHA: Method = Method::Asha {
    least: 1,
    most: 81,
    reduction: 3,
};

fn best(search: &Search) -> f64 {
    let found = search.run(None, branin).expect("a search");
    found.best.and_then(|best| best.score).expect("a score")
}

#[test]
fn tpe_finds_more_than_random_search_with_the_same_budget() {
    let median = |method| {
        let mut all: Vec<f64> = (0..21)
            .map(|seed| best(&search(method, 60, 1, seed)))
            .collect();
        all.sort_by(f64::total_cmp);
        all[10]
    };
    let (tpe, random) = (median(TPE), median(Method::Random));
    // How far each is from the top.
    let (tpe, random) = (-0.397_887 - tpe, -0.397_887 - random);
    assert!(
        tpe < 0.5 * random,
        "TPE misses by {tpe}, random search by {random}"
    );
}

/// Trial `i` approaches its own level as its budget grows; the noise of small budgets misleads a little.
fn arm(trial: &Trial) -> Result<f64, SearchError> {
    let level = 1.0 - (trial.number("x")? - 3.0).abs() / 15.0;
    let luck = f64::from(u8::try_from(trial.seed % 100).expect("below 100")) / 100.0 - 0.5;
    Ok(level + 0.2 * luck / f64::from(trial.budget))
}

#[test]
fn asha_finds_the_best_arm_with_a_fraction_of_the_full_budget() {
    for seed in 0..5 {
        let asha = search(ASHA, 81, 1, seed);
        assert_eq!(asha.budgets(), [1, 3, 9, 27, 81]);
        let found = asha.run(None, arm).expect("a search");
        let full = 81 * 81;
        assert!(found.spent * 10 < full, "{} of {full}", found.spent);
        assert_eq!(found.trials, 81);
        let best = found.best.expect("a best trial");
        assert_eq!(best.rung, 4);
        let all = search(Method::Random, 81, 1, seed).run(None, |trial| {
            arm(&Trial {
                budget: 81,
                ..trial.clone()
            })
        });
        let all = all.expect("a search").best.expect("a best trial");
        assert_eq!(best.configuration, all.configuration, "seed {seed}");
    }
}

#[test]
fn a_search_that_was_interrupted_goes_on_as_if_it_had_not_been() {
    for (method, workers) in [(Method::Random, 3), (TPE, 1), (TPE, 4), (ASHA, 2)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("search.jsonl");
        let whole = search(method, 30, workers, 7);
        let expected = whole.run(None, branin).expect("a search");
        assert_eq!(whole.run(Some(&path), branin), Ok(expected.clone()));
        let text = std::fs::read_to_string(&path).expect("a journal");
        for cut in [
            0,
            10,
            text.len() / 3,
            text.len() / 2,
            text.len() - 1,
            text.len(),
        ] {
            std::fs::write(&path, &text[..cut]).expect("a cut journal");
            let runs = AtomicUsize::new(0);
            let again = whole.run(Some(&path), |trial| {
                runs.fetch_add(1, Ordering::Relaxed);
                branin(trial)
            });
            assert_eq!(again, Ok(expected.clone()), "{method:?} cut at {cut}");
            let kept = text[..cut].matches('\n').count().saturating_sub(1);
            assert_eq!(runs.into_inner(), expected.records.len() - kept);
            assert_eq!(std::fs::read_to_string(&path).expect("a journal"), text);
        }
    }
}

#[test]
fn a_search_can_be_lengthened_but_not_become_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("search.jsonl");
    search(TPE, 18, 4, 7)
        .run(Some(&path), branin)
        .expect("a search");
    let longer = search(TPE, 30, 4, 7);
    assert_eq!(longer.run(Some(&path), branin), longer.run(None, branin));
    let refused = |other: Search| {
        other
            .run(Some(&path), branin)
            .expect_err("another search")
            .to_string()
    };
    assert!(refused(search(TPE, 30, 4, 8)).contains("belongs to another search"));
    assert!(refused(search(TPE, 30, 3, 7)).contains("belongs to another search"));
    assert!(refused(search(TPE, 5, 4, 7)).contains("it was shortened"));
    assert!(
        search(TPE, 5, 1, 7)
            .run(Some(folder.path()), branin)
            .expect_err("a folder")
            .to_string()
            .contains("cannot be opened")
    );
}

#[test]
fn timing_does_not_change_what_is_tried() {
    for method in [TPE, ASHA] {
        let wanted = search(method, 24, 4, 3);
        let slow = wanted.run(None, |trial| {
            std::thread::sleep(std::time::Duration::from_millis(trial.seed % 7));
            branin(trial)
        });
        assert_eq!(slow, wanted.run(None, branin));
    }
    let tried = |workers| {
        let all = search(Method::Random, 24, workers, 3)
            .run(None, branin)
            .expect("a search");
        all.records
    };
    assert_eq!(tried(1), tried(5));
}

#[test]
fn workers_are_named_so_that_each_has_its_device() {
    let found = search(Method::Random, 9, 3, 1).run(None, |trial| {
        if trial.worker == trial.configuration % 3 {
            Ok(1.0)
        } else {
            Err("another worker")
        }
    });
    assert!(
        found
            .expect("a search")
            .records
            .iter()
            .all(|record| record.failure.is_none())
    );
}

#[test]
fn a_trial_that_fails_is_kept_and_never_wins() {
    let found = search(TPE, 20, 2, 5).run(None, |trial| match trial.configuration % 4 {
        0 => Err("out of memory".to_owned()),
        1 => Ok(f64::NAN),
        2 => panic!("a bug in a trial"),
        _ => branin(trial).map_err(|error| error.to_string()),
    });
    let found = found.expect("a search");
    assert_eq!(found.records[0].failure.as_deref(), Some("out of memory"));
    assert_eq!(
        found.records[1].failure.as_deref(),
        Some("the score is NaN")
    );
    assert_eq!(
        found.records[2].failure.as_deref(),
        Some("the trial panicked")
    );
    assert_eq!(found.trials, 20);
    assert_eq!(found.best.expect("a best trial").configuration % 4, 3);
    let none = search(ASHA, 6, 2, 5).run(None, |_| Err::<f64, _>("no device"));
    assert_eq!(none.expect("a search").best, None);
}

const TEXT: &str = r#"
configurations = 40
workers = 2
seed = 1
method = { method = "tpe", startup = 8, candidates = 24 }

[space]
rate = { kind = "log_uniform", low = 1e-5, high = 1e-2 }
layers = { kind = "int", low = 2, high = 8 }
dropout = { kind = "uniform", low = 0.0, high = 0.3 }
target = { kind = "choice", of = ["plain", "relabelled"] }
"#;

#[test]
fn a_space_is_read_from_toml_and_searched_in_all_its_kinds() {
    let search = Search::from_toml(TEXT).expect("a search");
    let found = search.run(None, |trial| {
        let (rate, layers) = (trial.number("rate")?, trial.int("layers")?);
        assert!((1e-5..=1e-2).contains(&rate) && (2..=8).contains(&layers));
        assert!((0.0..=0.3).contains(&trial.number("dropout")?));
        let word = trial.word("target")?;
        assert!(trial.int("rate").is_err() && trial.word("layers").is_err());
        let penalty = if word == "plain" { 1.0 } else { 0.0 };
        Ok::<f64, SearchError>(
            -(rate.log10() + 3.0).powi(2) - f64::from(layers - 5).abs() - penalty,
        )
    });
    let best = found.expect("a search").best.expect("a best trial");
    assert!(best.score.expect("a score") > -1.0, "{best:?}");
    assert_eq!(best.values["target"], Value::Word("relabelled".to_owned()));
}

#[test]
fn a_search_without_sense_does_not_start() {
    let wrong = |from: &str, to: &str| {
        Search::from_toml(&TEXT.replace(from, to))
            .expect_err("no search")
            .to_string()
    };
    assert!(wrong("low = 1e-5", "low = 0.0").contains("space.rate is empty"));
    assert!(wrong("low = 2", "low = 9").contains("space.layers is empty"));
    assert!(wrong("[\"plain\", \"relabelled\"]", "[]").contains("space.target is empty"));
    assert!(wrong("workers = 2", "workers = 65").contains("give 1 to 64"));
    assert!(wrong("seed = 1", "seed = 1\nspeed = 2").contains("unknown field"));
    assert!(wrong("configurations = 40", "configurations = 0").contains("give 1 to 100000"));
    let asha = wrong(
        "\"tpe\", startup = 8, candidates = 24",
        "\"asha\", least = 4, most = 2, reduction = 3",
    );
    assert!(asha.contains("budgets rise"));
}
