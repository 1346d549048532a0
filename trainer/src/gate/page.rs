//! The page by which a person judges an examination.

use tickerml_edge::replay::trial::Trial;
use tickerml_edge::web::html::{UNKNOWN, duration, int, money, signed, stamp};

use super::contest::{Contest, Role};
use super::{Findings, Terms};
use crate::report::chart::{Bar, Line, Lines, Unit};
use crate::report::{Cell, Page, Table, Tone, percent, share};

/// The page.
pub(super) fn page(found: &Findings) -> Page {
    let under = match found.contests.first().and_then(span) {
        Some([first, last]) => format!(
            "{}; judged on {} to {} UTC",
            found.candidate,
            &stamp(first)[..16],
            &stamp(last)[..16]
        ),
        None => found.candidate.clone(),
    };
    let mut page = Page::new("Examination of a candidate", &under);
    lead(&mut page, found);
    if !found.reasons.is_empty() {
        page.section("Why it is refused");
        let reasons = found.reasons.iter();
        page.reasons(reasons.map(|reason| (reason.code, reason.text.as_str())));
    }
    if let Some((candidate, rivals)) = found.contests.split_first() {
        page.section("Equity");
        equity(&mut page, &found.contests);
        page.section("Contestants");
        page.table(&contestants(&found.contests));
        page.section("Is it better, by more than chance explains?");
        differences(&mut page, found, rivals);
        page.section("Where its money went");
        costs(&mut page, candidate);
        page.section("What it did");
        deeds(&mut page, candidate);
    }
    page.section("Is it one network, however it is computed?");
    parity(&mut page, found);
    page.section("The candidate");
    manifest(&mut page, found);
    page.section("What was demanded");
    page.facts(&demands(&found.terms));
    let troubles: Vec<&String> = found
        .contests
        .first()
        .into_iter()
        .flat_map(|one| one.trials.iter().flat_map(|trial| &trial.troubles))
        .collect();
    if !troubles.is_empty() {
        page.section("What was wrong with the journals");
        for trouble in troubles {
            page.note(trouble);
        }
    }
    page
}

fn lead(page: &mut Page, found: &Findings) {
    let candidate = found.contests.first();
    let earned = candidate.map_or(String::new(), |one| {
        format!(
            " It earned {} after costs on the time it was judged on.",
            percent(one.earned(), 2)
        )
    });
    if found.reasons.is_empty() {
        let sentence = format!(
            "It is what it says it is, was kept from the time it is judged on, and was better than all it was \
             compared with.{earned}"
        );
        page.lead(Tone::Good, "PASS", &sentence);
        return;
    }
    let count = found.reasons.len();
    let reasons = if count == 1 {
        "one reason".to_owned()
    } else {
        format!("{count} reasons")
    };
    let traded = if candidate.is_some() {
        String::new()
    } else {
        " It was not let near a market.".to_owned()
    };
    let sentence = format!("It may not trade, for {reasons} given below.{earned}{traded}");
    page.lead(Tone::Bad, "REFUSED", &sentence);
}

/// First and last record of all journals.
fn span(contest: &Contest) -> Option<[u64; 2]> {
    let first = contest.trials.iter().map(|trial| trial.span_ns[0]).min()?;
    let last = contest.trials.iter().map(|trial| trial.span_ns[1]).max()?;
    Some([first, last])
}

fn equity(page: &mut Page, contests: &[Contest]) {
    let journals = contests.first().map_or(0, |one| one.trials.len());
    for place in 0..journals {
        let lines = contests.iter().map(|one| {
            let trial = &one.trials[place];
            let points = trial.curve.iter();
            Line {
                name: one.entry.name.clone(),
                points: points
                    .map(|(at, equity)| {
                        (
                            *at as f64,
                            equity / trial.capital.max(f64::MIN_POSITIVE) - 1.0,
                        )
                    })
                    .collect(),
            }
        });
        let caption = if journals > 1 {
            format!(
                "Journal {} of {journals}: earned since the start, after costs.",
                place + 1
            )
        } else {
            "Earned since the start, after costs.".to_owned()
        };
        page.lines(&Lines {
            caption,
            across: Unit::Time,
            up: Unit::Percent,
            lines: lines.collect(),
            ..Lines::default()
        });
    }
}

fn contestants(contests: &[Contest]) -> Table {
    let mut table = Table::new(&[
        "contestant",
        "earned",
        "drawdown",
        "fees and funding",
        "exposure",
        "turnover a day",
        "decisions",
        "to hold",
        "fills",
        "round trips won",
    ]);
    for one in contests {
        let trips = [0, 1].map(|part| one.sum(|trial| trial.trips[part]));
        let won = if trips[0] == 0 {
            UNKNOWN.to_owned()
        } else {
            format!("{} of {}", int(trips[1]), int(trips[0]))
        };
        if one.entry.role == Role::Candidate {
            table.strong.push(table.rows.len());
        }
        table.rows.push(vec![
            Cell::text(&one.entry.name),
            Cell::Signed(percent(one.earned(), 3), one.earned()),
            Cell::number(share(one.drawdown(), 2)),
            Cell::number(percent(
                one.part(|trial| trial.costs.fees + trial.costs.funding),
                3,
            )),
            Cell::number(share(one.mean(|trial| trial.exposure), 1)),
            Cell::number(share(one.mean(|trial| trial.turnover_a_day), 0)),
            Cell::number(int(one.sum(|trial| trial.decisions))),
            Cell::number(share(one.hold_share(), 1)),
            Cell::number(int(one.sum(|trial| trial.fills))),
            Cell::number(won),
        ]);
    }
    table
}

fn differences(page: &mut Page, found: &Findings, rivals: &[Contest]) {
    let mut rows = Vec::new();
    let mut table = Table::new(&["against", "difference per period", "interval", "verdict"]);
    for (rival, difference) in rivals.iter().zip(&found.differences) {
        let Some(found_here) = difference else {
            table.rows.push(vec![
                Cell::text(&rival.entry.name),
                Cell::number(UNKNOWN),
                Cell::number(UNKNOWN),
                Cell::Badge(Tone::Bad, "too few periods".to_owned()),
            ]);
            continue;
        };
        let passed = found_here.low > -found.terms.margin;
        rows.push(Bar {
            name: rival.entry.name.clone(),
            value: found_here.mean,
            interval: Some([found_here.low, found_here.high]),
            text: percent(found_here.mean, 4),
        });
        let (tone, word) = match (passed, found_here.high < 0.0) {
            (true, _) => (Tone::Good, "better"),
            (false, true) => (Tone::Bad, "worse"),
            (false, false) => (Tone::Warn, "not shown to be better"),
        };
        table.rows.push(vec![
            Cell::text(&rival.entry.name),
            Cell::Signed(percent(found_here.mean, 4), found_here.mean),
            Cell::number(format_args!(
                "{} to {}",
                percent(found_here.low, 4),
                percent(found_here.high, 4)
            )),
            Cell::Badge(tone, word.to_owned()),
        ]);
    }
    page.bars(&rows, Unit::Percent);
    page.table(&table);
    let sharpe = found
        .sharpe_probability
        .map_or(UNKNOWN.to_owned(), |value| share(value, 1));
    page.note(format!(
        "Mean return per period of {} of the candidate less that of each other, with {} intervals of the stationary \
         bootstrap (Politis and Romano 1994; {} resamples, mean block by Politis and White 2004). The probability that \
         its Sharpe ratio exceeds {} a period is {sharpe} (Bailey and López de Prado 2012).",
        duration(found.terms.period_ns),
        share(found.terms.level, 0),
        int(found.terms.resamples as u64),
        found.terms.sharpe_bar,
    ));
}

fn costs(page: &mut Page, candidate: &Contest) {
    let names = candidate
        .trials
        .first()
        .map(|trial| trial.costs.named().map(|(name, _)| name))
        .unwrap_or_default();
    let rows: Vec<Bar> = names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let value = candidate.part(|trial| trial.costs.named()[place].1);
            Bar {
                name: (*name).to_owned(),
                value,
                interval: None,
                text: percent(value, 3),
            }
        })
        .collect();
    page.bars(&rows, Unit::Percent);
    page.note(
        "Of the capital at the start. Market: what prices did after orders were sent; the others are what execution \
         cost, and sum with it to what was earned.",
    );
    let mut table = Table::new(&[
        "instrument",
        "earned",
        "fees",
        "traded",
        "fills",
        "the market itself",
    ]);
    for trial in &candidate.trials {
        for one in &trial.instruments {
            table.rows.push(vec![
                Cell::text(&one.name),
                Cell::Signed(signed(Some(one.earned), 2), one.earned),
                Cell::number(signed(Some(one.costs.fees), 2)),
                Cell::number(money(Some(one.traded))),
                Cell::number(int(one.fills)),
                Cell::number(
                    one.market
                        .map_or(UNKNOWN.to_owned(), |moved| percent(moved, 2)),
                ),
            ]);
        }
    }
    page.heading("Instruments");
    page.table(&table);
}

fn deeds(page: &mut Page, candidate: &Contest) {
    let decisions = candidate.sum(|trial| trial.decisions).max(1) as f64;
    let part = |class: usize| {
        let count = candidate.sum(|trial| trial.classes[class]);
        format!("{} ({})", int(count), share(count as f64 / decisions, 1))
    };
    let took = candidate.trials.iter().map(|trial| trial.decision_ns).max();
    page.stats(&[
        ("Sell", part(0)),
        ("Hold", part(1)),
        ("Buy", part(2)),
        ("Orders", int(candidate.sum(|trial| trial.orders))),
        ("Fills", int(candidate.sum(|trial| trial.fills))),
        ("Questions missed", int(candidate.sum(|trial| trial.missed))),
        (
            "A decision took",
            took.map_or(UNKNOWN.to_owned(), |ns| {
                format!("{}\u{a0}µs", int(ns / 1_000))
            }),
        ),
        ("Time covered", duration(candidate.sum(Trial::covered_ns))),
    ]);
    let mut denials = std::collections::BTreeMap::new();
    for trial in &candidate.trials {
        for (code, count) in &trial.denials {
            *denials.entry(*code).or_insert(0_u64) += count;
        }
    }
    if !denials.is_empty() {
        page.heading("Decisions that gave no order, by the risk gate's reason");
        let mut table = Table::new(&["reason", "times"]);
        for (code, count) in denials {
            table
                .rows
                .push(vec![Cell::Code(code.to_owned()), Cell::number(int(count))]);
        }
        page.table(&table);
    }
    let left_out = candidate.sum(|trial| trial.commands_left_out);
    if left_out > 0 {
        page.note(format!(
            "{} commands of operators in the journals were left out: they answered another account.",
            int(left_out)
        ));
    }
}

fn parity(page: &mut Page, found: &Findings) {
    let Some(parity) = &found.parity else {
        page.note("It could not be run, so there is nothing to compare.");
        return;
    };
    let mut table = Table::new(&["between", "largest difference", "allowed", "verdict"]);
    for (_, what, figure, limit) in parity.rows(&found.terms) {
        let (tone, word) = if figure <= limit {
            (Tone::Good, "agree")
        } else {
            (Tone::Bad, "differ")
        };
        table.rows.push(vec![
            Cell::text(what),
            Cell::number(format_args!("{figure:.2e}")),
            Cell::number(format_args!("{limit:.0e}")),
            Cell::Badge(tone, word.to_owned()),
        ]);
    }
    page.table(&table);
    page.note(format!(
        "On {} windows and {} running steps of the held-out journals, over all heads.{}",
        int(parity.windows as u64),
        int(parity.steps as u64),
        if parity.int8 {
            " Weights are stored with eight bits; burn has the whole ones."
        } else {
            ""
        }
    ));
}

fn manifest(page: &mut Page, found: &Findings) {
    let Some(manifest) = &found.manifest else {
        page.note("Its manifest cannot be read.");
        return;
    };
    let shape = &manifest.shape;
    let mut facts = vec![
        (
            "Learned from",
            format!(
                "{} to {} UTC",
                stamp(manifest.training.from.0),
                stamp(manifest.training.to.0)
            ),
        ),
        (
            "Quarantine's cut-off",
            format!("{} UTC", stamp(manifest.cutoff.0)),
        ),
        ("Made", format!("{} UTC", stamp(manifest.created.0))),
    ];
    if let Some(held_out) = &found.held_out {
        let until = if held_out.until.0 == u64::MAX {
            "the end".to_owned()
        } else {
            format!("{} UTC", stamp(held_out.until.0))
        };
        facts.push((
            "Judged on",
            format!("{} UTC to {until}", stamp(held_out.from.0)),
        ));
    }
    facts.extend([
        (
            "Network",
            format!(
                "{} layers, width {}, {} heads, {} steps of {} features, bands {:?}",
                shape.bands.len(),
                shape.d_model,
                shape.heads,
                shape.steps,
                shape.state,
                shape.bands
            ),
        ),
        (
            "Return asked for",
            percent(f64::from(manifest.target_return), 3),
        ),
        ("Schema", manifest.schema.to_string()),
        ("Weights", manifest.weights.to_string()),
        ("Backbone's weights", manifest.backbone_weights.to_string()),
    ]);
    for graph in tickerml_shared::bundle::Graph::ALL {
        facts.push((graph.file(), manifest.file(graph).to_string()));
    }
    page.facts(&facts);
    if !manifest.metrics.is_empty() {
        page.heading("What its trainer measured");
        for line in manifest.metrics.lines() {
            page.note(line);
        }
    }
}

fn demands(terms: &Terms) -> Vec<(&'static str, String)> {
    vec![
        ("Time, at least", duration(terms.time_min_ns)),
        ("Decisions, at least", int(terms.decisions_min)),
        ("Share of holding, at most", share(terms.hold_share_max, 2)),
        ("Drawdown, at most", share(terms.drawdown_max, 1)),
        (
            "Probability of a Sharpe ratio above the bar, at least",
            share(terms.sharpe_probability, 1),
        ),
        (
            "Lower end of every interval, above",
            percent(-terms.margin, 4),
        ),
        (
            "Difference between forms, at most",
            format!("{:.0e}", terms.parity_max),
        ),
        (
            "Time of a decision",
            terms
                .decision_ns
                .map_or("as measured in the journals".to_owned(), |ns| {
                    format!("{}\u{a0}µs", int(ns / 1_000))
                }),
        ),
        ("Seed", terms.seed.to_string()),
    ]
}
