//! Corpora and weights that the quarantine must not reach, and what is refused by name.

use tickerml_shared::features::Vector;

use super::*;
use crate::behaviour::Behaviour;
use crate::planted;
use crate::quarantine::{Cutoff, DAYS_MIN};

const HOUR: u64 = 3_600 * 1_000_000_000;

/// A planted market and the instant that is thirty days after its row of that number.
fn history(steps: usize, known: usize) -> (Series, Cutoff) {
    let series = planted::market(steps, 0.0006, 4).series;
    let now = Time(series.rows[0].at.0 + (known as u64 + u64::from(DAYS_MIN) * 24) * HOUR);
    (series, Cutoff::new(now, DAYS_MIN).expect("thirty days"))
}

fn terms() -> Terms {
    Terms {
        policies: vec![
            Behaviour::Random { patience: 6 },
            Behaviour::Momentum { steps: 6 },
            Behaviour::Hindsight { flipped: 0.3 },
        ],
        ..Terms::spot(0.001, 8)
    }
}

/// Everything that is learned of a history, in bits.
fn all_of(series: Vec<Series>, cutoff: Cutoff) -> (Statistics, Corpus, Learned) {
    let (terms, spec) = (terms(), planted::spec());
    let dataset = Dataset::new(series, cutoff);
    let how = Learning {
        estimate: train::Terms {
            batch: 8,
            ..Learning::small(4, 3).estimate
        },
        decide: train::Terms {
            batch: 8,
            ..Learning::small(4, 3).decide
        },
        ..Learning::small(4, 3)
    };
    let learned = learn(
        &dataset,
        &terms,
        &spec,
        &how,
        &Course::default(),
        &mut |_, _| (),
    )
    .expect("weights");
    let corpus = corpus(&dataset, &terms, 3).expect("a corpus");
    (corpus.statistics.clone(), corpus, learned)
}

#[test]
fn the_last_thirty_days_change_no_bit_of_statistics_corpus_or_weights() {
    let (whole, cutoff) = history(1_000 + 720, 1_000);
    let mut without = whole.clone();
    without.rows.truncate(1_000);
    // The last thirty days tell the next return in every feature, and never stop rising.
    let mut perfect = whole.clone();
    for (index, row) in perfect.rows.iter_mut().enumerate().skip(1_000) {
        row.state = Vector {
            values: [1e3 + index as f32; SELECTION.len()],
            valid: u64::MAX,
        };
        row.bid = 100.0 * 1.01_f64.powi(i32::try_from(index - 1_000).expect("small"));
        row.ask = row.bid;
        row.masked = false;
    }
    let bits = |(statistics, corpus, learned): &(Statistics, Corpus, Learned)| {
        let spec = planted::spec();
        let labels = corpus
            .episodes
            .iter()
            .flat_map(|one| one.values.iter().chain(&one.returns).chain(&one.risks));
        let scales = statistics.mean.iter().chain(&statistics.inverse_scale);
        let states = corpus.paths.iter().flat_map(|path| &path.states);
        let numbers: Vec<u32> = labels
            .chain(scales)
            .chain(states)
            .map(|value| value.to_bits())
            .collect();
        let actions: Vec<Vec<u8>> = corpus
            .episodes
            .iter()
            .map(|one| one.actions.clone())
            .collect();
        let weights = learned.weights.hash(&spec, |_| true);
        (
            numbers,
            actions,
            weights,
            learned.statistics.return_scale.to_bits(),
            learned.target.to_bits(),
        )
    };
    let expected = bits(&all_of(vec![without.clone()], cutoff));
    assert!(
        bits(&all_of(vec![whole], cutoff)) == expected,
        "the last thirty days were read"
    );
    assert!(
        bits(&all_of(vec![perfect], cutoff)) == expected,
        "a planted signal was read"
    );
    // The comparison can fail: an older day does change it.
    without.rows[500].bid *= 0.99;
    assert!(bits(&all_of(vec![without], cutoff)) != expected);
}

#[test]
fn statistics_are_of_known_values_and_a_constant_has_no_scale() {
    let (mut series, cutoff) = history(9, 9);
    for (index, row) in series.rows.iter_mut().enumerate() {
        row.state = Vector::default();
        row.state.valid = 0b1011;
        row.state.values[0] = index as f32;
        row.state.values[1] = 7.5;
        // Known at two steps only, and wildly wrong where it is not.
        row.state.values[3] = [100.0, 2.0, 4.0, -9e9, 1e9, 1e9, 1e9, 1e9, 1e9][index];
        if index == 0 || index > 2 {
            row.state.valid &= !0b1000;
        }
    }
    let got = statistics(&Dataset::new(vec![series], cutoff), &terms()).expect("nine steps");
    assert!((got.mean[0] - 4.0).abs() < 1e-6);
    // The variance of 0 to 8 is 60/9.
    assert!((got.inverse_scale[0] - (9.0_f32 / 60.0).sqrt()).abs() < 1e-6);
    assert_eq!((got.mean[1], got.inverse_scale[1]), (7.5, 0.0));
    assert_eq!((got.mean[2], got.inverse_scale[2]), (0.0, 0.0));
    assert!((got.mean[3] - 3.0).abs() < 1e-6 && (got.inverse_scale[3] - 1.0).abs() < 1e-6);
}

#[test]
fn episodes_lie_within_unbroken_stretches() {
    let (mut series, cutoff) = history(100, 100);
    series.rows[40].masked = true;
    let terms = terms();
    let corpus = corpus(&Dataset::new(vec![series], cutoff), &terms, 1).expect("two stretches");
    assert_eq!(corpus.paths.len(), 2);
    assert_eq!(corpus.episodes.len(), 6);
    for episode in &corpus.episodes {
        let steps = corpus.paths[episode.path].live.len();
        assert_eq!(steps, [40, 59][episode.path]);
        assert_eq!(episode.actions.len(), steps - terms.horizon);
        assert!(
            episode
                .values
                .iter()
                .chain(&episode.returns)
                .all(|value| value.is_finite())
        );
        assert!(episode.risks.iter().all(|risk| (0.0..=1.0).contains(risk)));
    }
    let (low, high) = (target_return(&corpus, 0.0), target_return(&corpus, 1.0));
    assert!(low < target_return(&corpus, 0.9) && target_return(&corpus, 0.9) < high);
}

#[test]
fn history_from_which_nothing_can_be_learned_is_named() {
    let (series, cutoff) = history(60, 60);
    let told = |series: Vec<Series>, terms: &Terms| {
        let dataset = Dataset::new(series, cutoff);
        corpus(&dataset, terms, 1)
            .expect_err("nothing to learn")
            .to_string()
    };
    assert!(told(vec![], &terms()).contains("no step before the cut-off"));
    let mut masked = series.clone();
    masked.rows.iter_mut().for_each(|row| row.masked = true);
    assert!(
        told(vec![masked], &terms()).contains("none of 60 steps lies in an unbroken stretch of 9")
    );
    let mut still = series.clone();
    still
        .rows
        .iter_mut()
        .for_each(|row| (row.bid, row.ask) = (1.0, 1.0));
    assert!(told(vec![still], &terms()).contains("the price never moves"));
    let one = Terms {
        policies: vec![Behaviour::Hindsight { flipped: 0.0 }],
        horizon: 30,
        explore: 0.0,
        taker_fee: 0.4,
        shorting: true,
        ..terms()
    };
    assert!(told(vec![series.clone()], &one).contains("one class of action only"));
    let never = Terms {
        horizon: 0,
        ..terms()
    };
    assert!(told(vec![series], &never).contains("terms.horizon = 0"));
}

#[test]
fn what_is_held_out_lies_an_embargo_behind() {
    let (series, cutoff) = history(1_000, 1_000);
    let dataset = Dataset::new(vec![series], cutoff);
    let (old, new) = held_out(&dataset, &terms(), 0.2, 50).expect("both sides");
    let (last, first) = (
        old.series()[0].rows.last().expect("rows").at,
        new.series()[0].rows[0].at,
    );
    assert!(first.0 - last.0 > 50 * HOUR && first.0 - last.0 <= 51 * HOUR);
    assert_eq!(new.series()[0].rows.len(), 200);
    assert_eq!(old.cutoff(), dataset.cutoff());
    let told = |share, embargo| {
        held_out(&dataset, &terms(), share, embargo)
            .expect_err("nonsense")
            .to_string()
    };
    assert!(told(0.2, 7).contains("shorter than terms.horizon = 8"));
    assert!(told(0.99, 50).contains("leave one side empty"));
}
