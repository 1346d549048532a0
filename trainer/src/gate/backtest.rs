//! Journals replayed with a policy, as a table for people or as JSON for programs.

use std::fmt::Write as _;
use std::path::PathBuf;

use tickerml_edge::replay::trial::{Terms, Trial};
use tickerml_edge::web::html::{duration, int, money, stamp};

use super::GateError;
use super::contest::{self, Entry, Role};
use crate::report::{percent, share};
use crate::weights::json;

/// Lets a policy (a name, or `model:FOLDER`) trade journals, one account for each.
///
/// # Errors
/// When the policy cannot be had or a journal cannot be replayed.
pub fn backtest(
    policy: &str,
    journals: &[PathBuf],
    terms: &Terms,
) -> Result<Vec<Trial>, GateError> {
    let entry = Entry {
        role: Role::Candidate,
        name: policy.to_owned(),
        policy: policy.to_owned(),
        installed: None,
    };
    let mut contests = contest::hold(&[entry], journals, terms)?;
    Ok(contests.pop().map(|one| one.trials).unwrap_or_default())
}

/// Trials as JSON, with their equity curves.
#[must_use]
pub fn to_json(trials: &[Trial]) -> String {
    json(&trials)
}

/// Trials as a table: two columns for each, one trial below the other.
#[must_use]
pub fn to_table(trials: &[Trial]) -> String {
    let mut text = String::new();
    for trial in trials {
        for (name, value) in rows(trial) {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name:<24} {value}");
        }
        text.push('\n');
    }
    text.replace('\u{a0}', " ")
}

fn rows(trial: &Trial) -> Vec<(String, String)> {
    let [first, last] = trial.span_ns;
    let [sell, hold, buy] = trial.classes.map(int);
    let mut rows: Vec<(&str, String)> = vec![
        ("policy", trial.policy.clone()),
        ("from", format!("{} UTC", stamp(first))),
        ("to", format!("{} UTC", stamp(last))),
        ("time covered", duration(trial.covered_ns())),
        (
            "a decision takes",
            format!("{} µs", int(trial.decision_ns / 1_000)),
        ),
        ("capital", money(Some(trial.capital))),
        ("equity", trial.equity_exact.clone()),
        ("earned", percent(trial.earned, 4)),
        ("drawdown", share(trial.drawdown, 4)),
        ("exposure", share(trial.exposure, 2)),
        ("turnover a day", share(trial.turnover_a_day, 1)),
        ("decisions", int(trial.decisions)),
        ("sell / hold / buy", format!("{sell} / {hold} / {buy}")),
        ("questions missed", int(trial.missed)),
        ("orders", int(trial.orders)),
        ("fills", int(trial.fills)),
        (
            "round trips won",
            format!("{} of {}", int(trial.trips[1]), int(trial.trips[0])),
        ),
    ];
    rows.extend(
        trial
            .costs
            .named()
            .map(|(name, amount)| (name, money(Some(amount)))),
    );
    let mut rows: Vec<(String, String)> = rows
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (code, count) in &trial.denials {
        rows.push((format!("denied {code}"), int(*count)));
    }
    for one in &trial.instruments {
        let market = one.market.map_or("-".to_owned(), |moved| percent(moved, 2));
        let value = format!(
            "earned {}, {} fills, fees {}; the market {market}",
            money(Some(one.earned)),
            int(one.fills),
            money(Some(one.costs.fees)),
        );
        rows.push((one.name.clone(), value));
    }
    for trouble in &trial.troubles {
        rows.push(("trouble".to_owned(), trouble.clone()));
    }
    rows
}
