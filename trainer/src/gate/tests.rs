//! What trials, contests and examinations find in journals of known markets.

mod whole;

use std::sync::OnceLock;

use tempfile::TempDir;
use tickerml_edge::policy::Policy;
use tickerml_edge::replay::trial::{self, Trial, decision_time, trial};
use tickerml_shared::num::Cash;
use tickerml_shared::time::SECONDS;

use super::contest::hold;
use super::testing::{ANSWER_NS, Market, START, Wrote, write};
use super::*;

/// What a decision takes in the journals of these tests: the desk's next turn.
const TURN_NS: u64 = 1_000_000;

/// A journal that is written once for all tests.
fn planted() -> &'static (TempDir, Wrote) {
    static ONCE: OnceLock<(TempDir, Wrote)> = OnceLock::new();
    ONCE.get_or_init(|| written(&Market::PLANTED))
}

fn barren() -> &'static (TempDir, Wrote) {
    static ONCE: OnceLock<(TempDir, Wrote)> = OnceLock::new();
    ONCE.get_or_init(|| written(&Market::BARREN))
}

fn written(market: &Market) -> (TempDir, Wrote) {
    let folder = tempfile::tempdir().expect("a folder");
    let wrote = write(folder.path(), market);
    (folder, wrote)
}

fn run(journal: &Path, mut policy: Policy, terms: &trial::Terms) -> Trial {
    trial(journal, &mut policy, terms, |_| ()).expect("a trial")
}

fn at_once() -> trial::Terms {
    trial::Terms {
        decision_ns: Some(TURN_NS),
        ..trial::Terms::all()
    }
}

#[test]
fn a_trial_of_the_policy_that_wrote_the_journal_gives_its_account() {
    for (folder, wrote) in [planted(), barren()] {
        let found = run(folder.path(), Policy::Imbalance, &at_once());
        assert_eq!(found.equity_exact, wrote.equity, "to the last unit");
        assert_eq!(found.fills, wrote.fills);
        assert!(found.fills > 20 && found.troubles.is_empty());
        let lines: f64 = found.costs.named().iter().map(|(_, amount)| amount).sum();
        assert!((lines - (found.equity - found.capital)).abs() < 1e-6);
        assert_eq!(found.decisions, found.classes.iter().sum::<u64>());
        assert_eq!(found.covered_ns(), 5_400 * SECONDS);
        assert_eq!(found.curve.len(), 5_400 / 60 + 1, "a point each minute");
    }
}

#[test]
fn doing_nothing_costs_nothing_and_holding_is_the_market_in_small() {
    let journal = planted().0.path();
    let flat = run(journal, Policy::Flat, &at_once());
    assert_eq!((flat.earned, flat.fills, flat.drawdown), (0.0, 0, 0.0));
    assert!((flat.hold_share() - 1.0).abs() < 1e-12);
    let held = run(journal, Policy::Hold, &at_once());
    assert!(held.fills > 0 && held.exposure > 0.05);
    let market = held.instruments[0].market.expect("a price");
    assert_eq!(held.earned > 0.0, market > 0.0, "{} {market}", held.earned);
}

#[test]
fn a_decision_takes_the_time_that_was_measured_and_being_late_costs() {
    let journal = planted().0.path();
    let measured = decision_time(journal, &trial::Terms::all()).expect("readable");
    assert_eq!(measured, Some(ANSWER_NS));
    let found = run(journal, Policy::Imbalance, &trial::Terms::all());
    assert_eq!(found.decision_ns, ANSWER_NS);
    let late = trial::Terms {
        decision_ns: Some(15 * SECONDS),
        ..trial::Terms::all()
    };
    let late = run(journal, Policy::Imbalance, &late);
    assert!(late.missed > 0 && late.decisions < found.decisions / 10);
    assert!(
        late.earned < found.earned * 0.8,
        "{} {}",
        late.earned,
        found.earned
    );
}

#[test]
fn only_the_span_counts_and_what_lies_before_it_warms_up() {
    let journal = planted().0.path();
    let (from, until) = (START.plus(1_800 * SECONDS), START.plus(3_600 * SECONDS));
    let terms = trial::Terms {
        from,
        until,
        ..at_once()
    };
    let found = run(journal, Policy::Imbalance, &terms);
    assert_eq!(found.pulses, 1_800);
    assert_eq!(
        found.decisions, 1_800,
        "features are known from the first pulse on"
    );
    assert!(found.span_ns[0] >= from.0 && found.span_ns[1] < until.0);
    assert_eq!(found.curve.first().map(|point| point.1), Some(10_000.0));
    let outside = trial::Terms {
        from: START.plus(100_000 * SECONDS),
        ..at_once()
    };
    let error = trial(journal, &mut Policy::Flat, &outside, |_| ()).expect_err("no record there");
    assert!(error.to_string().contains("of that time"), "{error}");
}

#[test]
fn a_curve_is_bounded_and_a_setup_can_be_changed() {
    let journal = planted().0.path();
    let fine = trial::Terms {
        every_ns: SECONDS / 64,
        ..at_once()
    };
    let found = run(journal, Policy::Flat, &fine);
    assert!(found.curve.len() < trial::POINTS_MAX && found.curve.len() >= trial::POINTS_MAX / 2);
    assert!(found.every_ns > fine.every_ns);
    let steps = found.curve.windows(2).map(|two| two[1].0 - two[0].0);
    assert!(steps.into_iter().all(|step| step == found.every_ns));
    let free = trial(journal, &mut Policy::Imbalance, &at_once(), |setup| {
        setup.capital = Cash(2 * setup.capital.0);
    });
    assert!((free.expect("a trial").capital - 20_000.0).abs() < 1e-9);
}

/// A contest in which the baseline stands for the candidate.
fn contested(journal: &Path, terms: Terms) -> Findings {
    let entry = |role, policy: &str| Entry {
        role,
        name: policy.to_owned(),
        policy: policy.to_owned(),
        installed: None,
    };
    let entries = [
        entry(Role::Candidate, "imbalance"),
        entry(Role::Flat, "flat"),
        entry(Role::BuyAndHold, "buy-and-hold"),
        entry(Role::Incumbent, "imbalance"),
    ];
    let trials = trial::Terms {
        every_ns: terms.period_ns,
        ..at_once()
    };
    let contests = hold(&entries, &[journal.to_path_buf()], &trials).expect("a contest");
    let mut found = Findings {
        candidate: "imbalance".to_owned(),
        manifest: None,
        held_out: None,
        terms,
        parity: None,
        contests,
        differences: Vec::new(),
        sharpe_probability: None,
        reasons: Vec::new(),
    };
    judge(&mut found);
    found
}

fn codes(found: &Findings) -> Vec<&'static str> {
    found.reasons.iter().map(|reason| reason.code).collect()
}

/// Terms that an hour and a half can meet.
fn short() -> Terms {
    Terms {
        time_min_ns: 3_600 * SECONDS,
        ..Terms::default()
    }
}

#[test]
fn a_policy_with_an_edge_passes_all_but_its_equal() {
    let found = contested(planted().0.path(), short());
    // It is better than nothing and than holding; it is not better than itself.
    assert_eq!(codes(&found), ["G33-incumbent"], "{:#?}", found.reasons);
    assert!(found.sharpe_probability.expect("it moved") > 0.99);
    shown(&found, "gate-planted.html");
}

#[test]
fn a_policy_without_an_edge_is_refused_with_figures() {
    let found = contested(barren().0.path(), short());
    let codes = codes(&found);
    for code in ["G24-sharpe", "G30-flat", "G33-incumbent"] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
    for reason in &found.reasons {
        assert!(reason.figure.is_some() && reason.limit.is_some());
        assert!(reason.text.ends_with('.') && !reason.text.contains('\n'));
    }
    assert!(matches!(found.verdict(), Verdict::Refused(reasons) if reasons == found.reasons));
    shown(&found, "gate-barren.html");
}

#[test]
fn too_little_time_decisions_or_courage_are_named() {
    let terms = Terms {
        decisions_min: 10_000,
        hold_share_max: 0.1,
        drawdown_max: 1e-6,
        ..Terms::default()
    };
    let found = contested(planted().0.path(), terms);
    let codes = codes(&found);
    for code in [
        "G20-time",
        "G21-decisions",
        "G22-hold-share",
        "G23-drawdown",
    ] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
}

/// Keeps a page for people to look at, where they ask for it.
fn shown(found: &Findings, name: &str) {
    let text = page::page(found).finish();
    assert!(text.contains("buy-and-hold") && !text.contains("NaN"));
    crate::report::shown(name, &text);
}

#[test]
fn a_folder_that_is_no_model_is_refused_and_the_verdict_is_written() {
    let (folder, out) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let out = out.expect("a folder");
    let terms = short();
    let examination = Examination {
        candidate: folder.path(),
        installed: None,
        incumbent: None,
        baselines: &[],
        journals: &[planted().0.path().to_path_buf()],
        held_out: None,
        terms: &terms,
    };
    let verdict = examine(&examination, out.path()).expect("a verdict");
    let Verdict::Refused(reasons) = verdict else {
        panic!("nothing passed");
    };
    assert_eq!(reasons[0].code, "G01-unreadable");
    let record = fs::read_to_string(out.path().join(VERDICT_FILE)).expect("written");
    assert!(record.contains(r#""verdict":"refused""#), "{record}");
    let page = fs::read_to_string(out.path().join(PAGE_FILE)).expect("written");
    assert!(page.contains("REFUSED") && page.contains("G01-unreadable"));
    let none = Examination {
        journals: &[],
        ..examination
    };
    assert!(examine(&none, out.path()).is_err());
}

#[test]
fn terms_that_make_no_sense_are_told() {
    let wrong = |change: fn(&mut Terms)| {
        let mut terms = Terms::default();
        change(&mut terms);
        terms.check().expect_err("wrong terms")
    };
    assert_eq!(Terms::default().check(), Ok(()));
    assert!(wrong(|terms| terms.level = 1.0).contains("level"));
    assert!(wrong(|terms| terms.period_ns = 0).contains("period_ns"));
    assert!(wrong(|terms| terms.margin = f64::NAN).contains("margin"));
    assert!(wrong(|terms| terms.parity_max = 1.0).contains("parity_max"));
}

#[test]
fn a_backtest_is_a_table_or_json() {
    let journals = [planted().0.path().to_path_buf()];
    let trials = backtest::backtest("imbalance", &journals, &at_once()).expect("a trial");
    let table = backtest::to_table(&trials);
    assert!(
        table.contains("fees") && table.contains("binance:BTCUSDT"),
        "{table}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&backtest::to_json(&trials)).expect("it is JSON");
    assert_eq!(json[0]["decisions"], trials[0].decisions);
    let error = backtest::backtest("nobody", &journals, &at_once()).expect_err("no such policy");
    assert!(error.to_string().contains("nobody"), "{error}");
}
