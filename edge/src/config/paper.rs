//! How paper trading is told to behave: effects, fees, latencies, the tactic.

use std::path::Path;

use serde::Deserialize;
use tickerml_shared::engine::Costs;
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::Venue;
use tickerml_shared::num::{CASH_SCALE, Cash, parse};
use tickerml_shared::paper::fees::{self, Tier, TierError};
use tickerml_shared::paper::impact::ImpactTerms;
use tickerml_shared::paper::latency::{Latency, Row};
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::paper::venue::Rules;
use tickerml_shared::time::{MILLIS, SECONDS};

use super::RawVenue;

/// The longest latency that may be configured, in milliseconds.
const MAX_LATENCY_MS: f64 = 60_000.0;
/// The longest time that may be configured for an effect to fade, or an order to wait.
const MAX_FADE_S: u64 = 86_400;
const MAX_FADE_MS: u64 = MAX_FADE_S * 1_000;
/// Rows that a file of recorded latencies may have.
const MAX_LATENCY_ROWS: usize = 1_000_000;

/// `[execution]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExecution {
    tactic: String,
    patience_ms: u64,
}

/// `[paper]`: one switch per effect.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPaper {
    queue_model: String,
    queue_position: bool,
    partial_fills: bool,
    shared_volume: bool,
    consumption_ms: u64,
    impact: bool,
    impact_coefficient: f64,
    impact_half_life_s: u64,
    latency: bool,
    fees: bool,
    funding: bool,
    synthetic_book: bool,
    void_on_gap: bool,
}

/// One row of a venue's fee schedule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFee {
    volume: String,
    maker_ppm: i32,
    taker_ppm: i32,
}

/// What `[paper]` and `[execution]` resolve to.
pub(super) struct Paper {
    pub(super) rules: Rules,
    pub(super) impact: ImpactTerms,
    pub(super) funding: bool,
    pub(super) synthetic_book: bool,
    pub(super) tactic: Tactic,
}

/// An error is the key and what is wrong with it.
pub(super) type KeyError = (String, String);

/// Checks `[paper]` and `[execution]`.
pub(super) fn resolve(paper: &RawPaper, execution: &RawExecution) -> Result<Paper, KeyError> {
    let fail = |key: &str, cause: String| Err((key.to_owned(), cause));
    let Some(queue) = QueueModel::from_name(&paper.queue_model) else {
        let cause = format!(
            "{:?} is unknown; write risk_averse, log, log2, power3, power2_3, power3_3 or square",
            paper.queue_model
        );
        return fail("paper.queue_model", cause);
    };
    let coefficient = paper.impact_coefficient;
    if !(0.0..=100.0).contains(&coefficient) {
        let cause = format!("{coefficient} is not between 0 and 100; 1.0 is the law as published");
        return fail("paper.impact_coefficient", cause);
    }
    for (key, value, least, most) in [
        (
            "paper.impact_half_life_s",
            paper.impact_half_life_s,
            1,
            MAX_FADE_S,
        ),
        ("paper.consumption_ms", paper.consumption_ms, 0, MAX_FADE_MS),
        (
            "execution.patience_ms",
            execution.patience_ms,
            1,
            MAX_FADE_MS,
        ),
    ] {
        if !(least..=most).contains(&value) {
            return fail(key, format!("{value} is not between {least} and {most}"));
        }
    }
    let tactic = match execution.tactic.as_str() {
        "take" => Tactic::Take,
        "make" => Tactic::Make {
            patience_ns: execution.patience_ms * MILLIS,
        },
        other => {
            let cause = format!("{other:?} is unknown; write \"make\" or \"take\"");
            return fail("execution.tactic", cause);
        }
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in 0..=1e8"
    )]
    let coefficient_ppm = (coefficient * 1e6).round() as u32;
    Ok(Paper {
        rules: Rules {
            queue,
            queue_position: paper.queue_position,
            partial_fills: paper.partial_fills,
            shared_volume: paper.shared_volume,
            consumption_ns: paper.consumption_ms * MILLIS,
            fees: paper.fees,
            latency: paper.latency,
            void_on_gap: paper.void_on_gap,
        },
        impact: ImpactTerms {
            coefficient_ppm,
            half_life_ns: paper.impact_half_life_s * SECONDS,
            enabled: paper.impact,
        },
        funding: paper.funding,
        synthetic_book: paper.synthetic_book,
        tactic,
    })
}

/// What a venue costs.
pub(super) fn costs(entry: &RawVenue, rules: Rules, root: &Path) -> Result<(Venue, Costs), String> {
    let venue = super::venue(&entry.name)?;
    let mut tiers = Vec::new();
    for fee in &entry.fees {
        let volume = parse(&fee.volume, CASH_SCALE)
            .map_err(|error| format!("fees: volume {:?} {error}", fee.volume))?;
        tiers.push(Tier {
            volume: Cash(volume),
            maker_fee_ppm: fee.maker_ppm,
            taker_fee_ppm: fee.taker_ppm,
        });
    }
    fees::check(&tiers).map_err(|error| {
        let remedy = match error {
            TierError::Beyond => "; write -1000000 to 1000000",
            TierError::NoStart => " in its first row",
            TierError::Unsorted => "; sort its rows by volume, each volume once",
            TierError::Empty => "",
        };
        format!("fees {error}{remedy}")
    })?;
    let latency = latency(entry, root)?;
    Ok((
        venue,
        Costs {
            tiers,
            latency,
            rules,
        },
    ))
}

fn latency(entry: &RawVenue, root: &Path) -> Result<Latency, String> {
    let span = |key: &str, [least, most]: [f64; 2]| {
        if !(0.0 <= least && least <= most && most <= MAX_LATENCY_MS) {
            return Err(format!(
                "{key} = [{least}, {most}] must be [shortest, longest] within 0 and {MAX_LATENCY_MS} milliseconds"
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded above"
        )]
        let ns = |ms: f64| (ms * MILLIS as f64) as u64;
        Ok((ns(least), ns(most)))
    };
    let (entry_ns, response_ns) = (
        span("entry_ms", entry.entry_ms)?,
        span("response_ms", entry.response_ms)?,
    );
    match entry.latency.as_str() {
        "measured" => Ok(Latency::Measured {
            entry_ns,
            response_ns,
        }),
        "constant" if entry_ns.0 == entry_ns.1 && response_ns.0 == response_ns.1 => {
            Ok(Latency::Constant {
                entry_ns: entry_ns.0.cast_signed(),
                response_ns: response_ns.0.cast_signed(),
            })
        }
        "constant" => Err(
            "latency = \"constant\" needs entry_ms and response_ms with twice the same number"
                .to_owned(),
        ),
        "recorded" if entry.latency_file.as_os_str().is_empty() => Err(
            "latency = \"recorded\" needs latency_file; write a path relative to this file"
                .to_owned(),
        ),
        "recorded" => recorded(&root.join(&entry.latency_file)),
        other => Err(format!(
            "latency {other:?} is unknown; write \"measured\", \"constant\" or \"recorded\""
        )),
    }
}

/// Recorded latencies: a line per request, `request,venue,response` in nanoseconds since the epoch.
fn recorded(path: &Path) -> Result<Latency, String> {
    let named = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("latency_file {named}: {error}: it must be a readable file"))?;
    let mut rows: Vec<Row> = Vec::new();
    for (place, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let wrong = || {
            format!(
                "latency_file {named}:{place}: write request,venue,response in nanoseconds, rising by \
                 request, the venue's time between the other two or 0 for a refusal"
            )
        };
        let numbers: Result<Vec<i64>, _> =
            line.split(',').map(|text| text.trim().parse()).collect();
        let Ok([request, venue, response]) = numbers.as_deref() else {
            return Err(wrong());
        };
        let (request, venue, response) = (*request, *venue, *response);
        let ordered = rows.last().is_none_or(|last| last.request < request);
        // A venue time of zero is a refusal.
        let sane = response >= request && (venue <= 0 || (request..=response).contains(&venue));
        if !ordered || !sane || rows.len() >= MAX_LATENCY_ROWS {
            return Err(wrong());
        }
        rows.push(Row {
            request,
            venue,
            response,
        });
    }
    if rows.is_empty() {
        return Err(format!(
            "latency_file {named}: it has no row; write request,venue,response in nanoseconds"
        ));
    }
    let refuses = |row: Option<&Row>| row.is_some_and(|row| row.venue <= 0);
    if refuses(rows.first()) || refuses(rows.last()) {
        return Err(format!(
            "latency_file {named}: its first and last row stand for all time before and after and \
             cannot be refusals; remove those with a venue time of 0"
        ));
    }
    Ok(Latency::Recorded(rows))
}
