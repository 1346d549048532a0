//! The examination that a candidate must pass before it may trade.
//!
//! [`examine`] asks three questions. Is it what it says it is: do its files, its schema and its answers agree,
//! in every form in which they will be computed? Was the time on which it is judged kept from it? And is it worth
//! trading: on the held-out market, through the very code that will trade it and with all costs, is it better than
//! doing nothing, than holding, than the baselines and than what trades now, by more than chance explains?
//!
//! Each "no" is a [`Reason`] with a stable code, its figure and its limit. Paper accounts are never learned from;
//! here is where they count.

pub mod backtest;
mod contest;
pub mod evidence;
mod page;
mod parity;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tickerml_edge::replay::trial::{self, Trial};
use tickerml_edge::web::html::{duration, int, stamp};
use tickerml_shared::bundle::{FILE, Graph, Manifest};
use tickerml_shared::time::{DAYS, MINUTES, Time};

pub use self::contest::{CONTESTANTS_MAX, Contest, Entry, Role};
use self::evidence::{Draw, Interval};
pub use self::parity::Parity;
use crate::quarantine::DAYS_MIN;
use crate::report::{percent, share};
use crate::statistics::Track;
use crate::weights::{json, replace};

/// The record of an examination, in the folder that [`examine`] is given.
pub const VERDICT_FILE: &str = "verdict.json";
/// Its page.
pub const PAGE_FILE: &str = "gate.html";

/// What an examination demands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Length of a period of which returns are compared, in nanoseconds.
    pub period_ns: u64,
    /// What a decision takes, in nanoseconds; null for the median that the journals measured.
    pub decision_ns: Option<u64>,
    /// Level of the intervals.
    pub level: f64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
    /// Its seed.
    pub seed: u64,
    /// By how much a period's mean return may be lower than a rival's and still pass: the interval's lower
    /// end must lie above minus this.
    pub margin: f64,
    /// The least time, in nanoseconds, without holes.
    pub time_min_ns: u64,
    /// The fewest decisions.
    pub decisions_min: u64,
    /// The largest share of decisions to hold.
    pub hold_share_max: f64,
    /// The deepest fall from a high, as a fraction.
    pub drawdown_max: f64,
    /// The Sharpe ratio, per period, that must be exceeded,
    pub sharpe_bar: f64,
    /// with this probability.
    pub sharpe_probability: f64,
    /// Windows of the held-out journals on which all forms of the model must agree,
    pub parity_windows: usize,
    /// within this absolute difference.
    pub parity_max: f32,
    /// What storing weights with eight bits may change of an answer.
    pub int8_max: f32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            period_ns: MINUTES,
            decision_ns: None,
            level: 0.95,
            resamples: 2_000,
            seed: 1,
            margin: 0.0,
            time_min_ns: DAYS,
            decisions_min: 1_000,
            hold_share_max: 0.995,
            drawdown_max: 0.1,
            sharpe_bar: 0.0,
            sharpe_probability: 0.95,
            parity_windows: 64,
            parity_max: 1e-4,
            int8_max: 0.05,
        }
    }
}

impl Terms {
    /// What is wrong with these terms, with its remedy.
    ///
    /// # Errors
    /// When a number makes no sense.
    pub fn check(&self) -> Result<(), String> {
        let inside = |value: f64| value > 0.0 && value < 1.0;
        let rules = [
            (
                self.period_ns > 0,
                "period_ns is 0; a minute is 60000000000",
            ),
            (
                inside(self.level),
                "level lies outside 0 to 1; 0.95 is usual",
            ),
            (
                (100..=1_000_000).contains(&self.resamples),
                "resamples lies outside 100 to 1000000",
            ),
            (
                self.margin.is_finite() && self.margin >= 0.0,
                "margin is below 0 or no number",
            ),
            (
                (0.0..=1.0).contains(&self.hold_share_max),
                "hold_share_max lies outside 0 to 1",
            ),
            (
                inside(self.drawdown_max),
                "drawdown_max lies outside 0 to 1",
            ),
            (
                self.sharpe_bar.is_finite() && inside(self.sharpe_probability),
                "sharpe_bar is no number, or sharpe_probability lies outside 0 to 1",
            ),
            (
                self.parity_max > 0.0 && self.parity_max <= 1e-2,
                "parity_max lies outside 0 to 0.01",
            ),
            (
                self.int8_max >= self.parity_max && self.int8_max <= 1.0,
                "int8_max lies outside parity_max to 1",
            ),
            (
                (1..=4_096).contains(&self.parity_windows),
                "parity_windows lies outside 1 to 4096",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(format!("gate.{why}")),
            None => Ok(()),
        }
    }
}

/// A stretch of time: from an instant to just before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HeldOut {
    /// The first instant that counts.
    pub from: Time,
    /// The first that does not any more.
    pub until: Time,
}

/// Why a candidate is refused: one sentence with figure and limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// Stays the same for good.
    pub code: &'static str,
    /// What was measured; null where the reason is no number.
    pub figure: Option<f64>,
    /// What it should have kept to.
    pub limit: Option<f64>,
    /// In words.
    pub text: String,
}

impl Reason {
    fn of(code: &'static str, figure: f64, limit: f64, text: String) -> Self {
        Self {
            code,
            figure: Some(figure),
            limit: Some(limit),
            text,
        }
    }

    fn words(code: &'static str, text: String) -> Self {
        Self {
            code,
            figure: None,
            limit: None,
            text,
        }
    }
}

/// What becomes of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may trade.
    Pass,
    /// It may not.
    Refused(Vec<Reason>),
}

/// Why there is no verdict: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateError(pub(crate) String);

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GateError {}

/// Who is compared with whom, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Examination<'a> {
    /// The candidate's folder: its graphs and manifest, with its weights in it or beside it.
    pub candidate: &'a Path,
    /// The folder of the backbone, for a candidate that carries its head alone.
    pub installed: Option<&'a Path>,
    /// What trades now: a policy's name, or `model:FOLDER`.
    pub incumbent: Option<&'a str>,
    /// Simpler models: their names in the report, and policies likewise.
    pub baselines: &'a [(String, String)],
    /// The journals.
    pub journals: &'a [PathBuf],
    /// The time that counts; `None` for all that lies behind the candidate's cut-off.
    pub held_out: Option<HeldOut>,
    /// What is demanded.
    pub terms: &'a Terms,
}

/// All that an examination found.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The candidate's folder.
    pub candidate: String,
    /// Its manifest, where it could be read.
    pub manifest: Option<Manifest>,
    /// The time that counted.
    pub held_out: Option<HeldOut>,
    /// What was demanded.
    pub terms: Terms,
    /// How far apart its forms are; `None` where it could not be run.
    pub parity: Option<Parity>,
    /// What the contestants did, the candidate first; empty where there was no contest.
    pub contests: Vec<Contest>,
    /// The candidate's mean return per period less each rival's, by the contests' order without the first.
    pub differences: Vec<Option<Interval>>,
    /// Probability that the candidate's Sharpe ratio exceeds the bar; `None` where it never moved.
    pub sharpe_probability: Option<f64>,
    /// Why it is refused; empty for a pass.
    pub reasons: Vec<Reason>,
}

impl Findings {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.reasons.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Refused(self.reasons.clone())
        }
    }
}

/// Examines a candidate. `out` receives [`VERDICT_FILE`] and [`PAGE_FILE`].
///
/// # Errors
/// When the terms make no sense, a journal or a rival cannot be used, or the files cannot be written. What is
/// wrong with the candidate itself is a reason to refuse it, not an error.
pub fn examine(examination: &Examination<'_>, out: &Path) -> Result<Verdict, GateError> {
    let findings = findings(examination)?;
    let page = page::page(&findings);
    fs::create_dir_all(out).map_err(|error| GateError(format!("{}: {error}", out.display())))?;
    let written = page.write(&out.join(PAGE_FILE));
    written.map_err(|error| GateError(error.to_string()))?;
    // The verdict last: where it stands, the page does.
    let text = json(&Record::of(&findings)) + "\n";
    replace(&out.join(VERDICT_FILE), text.as_bytes()).map_err(GateError)?;
    Ok(findings.verdict())
}

/// Finds all that is to be known of a candidate.
///
/// # Errors
/// As [`examine`].
pub fn findings(examination: &Examination<'_>) -> Result<Findings, GateError> {
    examination.terms.check().map_err(GateError)?;
    if examination.journals.is_empty() {
        let none = "no journal to examine on; name one or more folders of an edge's journal";
        return Err(GateError(none.to_owned()));
    }
    let mut found = Findings {
        candidate: examination.candidate.display().to_string(),
        manifest: None,
        held_out: None,
        terms: examination.terms.clone(),
        parity: None,
        contests: Vec::new(),
        differences: Vec::new(),
        sharpe_probability: None,
        reasons: Vec::new(),
    };
    let manifest = match identity(examination.candidate) {
        Ok(manifest) => manifest,
        Err(reason) => {
            found.reasons.push(reason);
            return Ok(found);
        }
    };
    found.manifest = Some(manifest.clone());
    let held_out = examination.held_out.unwrap_or(HeldOut {
        from: manifest.cutoff,
        until: Time(u64::MAX),
    });
    found.held_out = Some(held_out);
    found.reasons.extend(quarantined(&manifest, held_out));
    match parity::of(examination, &manifest, held_out) {
        Ok(parity) => {
            found.reasons.extend(parity.reasons(examination.terms));
            found.parity = Some(parity);
        }
        Err(parity::Failed::Candidate(reason)) => found.reasons.push(reason),
        Err(parity::Failed::Journal(error)) => return Err(error),
    }
    if !found.reasons.is_empty() {
        // What is not what it says it is, or has seen the time it is judged on, proves nothing by trading.
        return Ok(found);
    }
    let terms = trial_terms(examination, held_out)?;
    found.contests = contest::hold(&entries(examination), examination.journals, &terms)?;
    judge(&mut found);
    Ok(found)
}

/// Judges the contest, of which the candidate is the first.
fn judge(found: &mut Findings) {
    let terms = &found.terms;
    let Some((candidate, rivals)) = found.contests.split_first() else {
        return;
    };
    let draw = Draw {
        level: terms.level,
        resamples: terms.resamples,
        block: None,
        seed: terms.seed,
    };
    let returns: Vec<f64> = candidate.returns().iter().map(|one| one.2).collect();
    found.sharpe_probability = Track::of(&returns)
        .ok()
        .map(|track| track.probabilistic(terms.sharpe_bar));
    let mut reasons = effort(candidate, terms);
    reasons.extend(worth(candidate, found.sharpe_probability, terms));
    found.differences = rivals
        .iter()
        .map(|rival| contest::difference(candidate, rival, &draw))
        .collect();
    for (rival, difference) in rivals.iter().zip(&found.differences) {
        reasons.extend(better(rival, difference.as_ref(), terms));
    }
    found.reasons.extend(reasons);
}

/// The manifest, when the folder holds what it says.
fn identity(folder: &Path) -> Result<Manifest, Reason> {
    let path = folder.join(FILE);
    let bytes = fs::read(&path).map_err(|error| {
        let text = format!(
            "{}: {error}; is it the folder of an exported model?",
            path.display()
        );
        Reason::words("G01-unreadable", text)
    })?;
    let manifest = Manifest::from_bytes(&bytes)
        .map_err(|error| Reason::words("G01-unreadable", format!("{} {error}", path.display())))?;
    manifest
        .agrees()
        .map_err(|error| Reason::words("G02-schema", format!("The model {error}.")))?;
    for graph in Graph::ALL {
        if graph.is_backbone() && !manifest.carries_backbone && !folder.join(graph.file()).exists()
        {
            continue;
        }
        let bytes = fs::read(folder.join(graph.file())).map_err(|error| {
            Reason::words(
                "G03-hash",
                format!("The file {} cannot be read: {error}.", graph.file()),
            )
        })?;
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        if hash != manifest.file(graph).0 {
            let text = format!(
                "The file {} is not the one that the manifest names: its SHA-256 differs.",
                graph.file()
            );
            return Err(Reason::words("G03-hash", text));
        }
    }
    Ok(manifest)
}

/// Whether the time on which the candidate is judged was kept from it.
fn quarantined(manifest: &Manifest, held_out: HeldOut) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let day = |ns: i64| ns as f64 / DAYS as f64;
    let kept = day(manifest.created.since(manifest.cutoff));
    if kept < f64::from(DAYS_MIN) {
        let text = format!(
            "It was made {kept:.1} days after its cut-off; the last {DAYS_MIN} days may not be learned from."
        );
        reasons.push(Reason::of(
            "G10-quarantine",
            kept,
            f64::from(DAYS_MIN),
            text,
        ));
    }
    let first = manifest.cutoff.max(manifest.training.to.plus(1));
    if held_out.from < first {
        let by = day(first.since(held_out.from));
        let text = format!(
            "The time that it is judged on begins {} UTC, {by:.2} days before its quarantine does ({} UTC): it may \
             have learned from it.",
            stamp(held_out.from.0),
            stamp(first.0)
        );
        reasons.push(Reason::of("G11-overlap", by, 0.0, text));
    }
    reasons
}

/// The terms of every trial: the same for all contestants.
fn trial_terms(
    examination: &Examination<'_>,
    held_out: HeldOut,
) -> Result<trial::Terms, GateError> {
    let mut terms = trial::Terms {
        from: held_out.from,
        until: held_out.until,
        every_ns: examination.terms.period_ns,
        decision_ns: examination.terms.decision_ns,
    };
    if terms.decision_ns.is_none() {
        let measured = examination.journals.iter().map(|journal| {
            trial::decision_time(journal, &terms).map_err(|error| GateError(error.to_string()))
        });
        let measured: Vec<Option<u64>> = measured.collect::<Result<_, _>>()?;
        // Of several machines the slowest, for whoever passes must pass there too.
        terms.decision_ns = Some(measured.into_iter().flatten().max().unwrap_or(0));
    }
    Ok(terms)
}

/// The contestants, the candidate first.
fn entries(examination: &Examination<'_>) -> Vec<Entry> {
    let entry = |role, name: &str, policy: &str| Entry {
        role,
        name: name.to_owned(),
        policy: policy.to_owned(),
        installed: None,
    };
    let model = format!("model:{}", examination.candidate.display());
    let mut entries = vec![Entry {
        installed: examination.installed.map(Path::to_path_buf),
        ..entry(Role::Candidate, "candidate", &model)
    }];
    entries.extend(
        examination
            .incumbent
            .map(|policy| entry(Role::Incumbent, "incumbent", policy)),
    );
    entries.extend([
        entry(Role::Flat, "flat", "flat"),
        entry(Role::BuyAndHold, "buy-and-hold", "buy-and-hold"),
        entry(Role::Imbalance, "imbalance", "imbalance"),
    ]);
    let baselines = examination.baselines.iter();
    entries.extend(baselines.map(|(name, policy)| entry(Role::Baseline, name, policy)));
    entries
}

/// Whether the candidate was seen long enough, and did anything.
fn effort(candidate: &Contest, terms: &Terms) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let time = candidate.sum(Trial::covered_ns);
    if time < terms.time_min_ns {
        let text = format!(
            "The held-out journals cover {}; {} are needed to judge.",
            duration(time),
            duration(terms.time_min_ns)
        );
        let (time, least) = (time as f64, terms.time_min_ns as f64);
        reasons.push(Reason::of("G20-time", time / 1e9, least / 1e9, text));
    }
    let decisions = candidate.sum(|trial| trial.decisions);
    if decisions < terms.decisions_min {
        let text = format!(
            "It was asked {} times; {} decisions are needed to judge.",
            int(decisions),
            int(terms.decisions_min)
        );
        let (decisions, least) = (decisions as f64, terms.decisions_min as f64);
        reasons.push(Reason::of("G21-decisions", decisions, least, text));
    }
    let holds = candidate.hold_share();
    if holds > terms.hold_share_max {
        let text = format!(
            "{} of its decisions were to hold; more than {} says that it learned to do nothing.",
            share(holds, 2),
            share(terms.hold_share_max, 2)
        );
        reasons.push(Reason::of(
            "G22-hold-share",
            holds,
            terms.hold_share_max,
            text,
        ));
    }
    reasons
}

/// Whether what it did is worth having by itself.
fn worth(candidate: &Contest, sharpe: Option<f64>, terms: &Terms) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let drawdown = candidate.drawdown();
    if drawdown > terms.drawdown_max {
        let text = format!(
            "It fell {} from a high of equity; {} is allowed.",
            share(drawdown, 2),
            share(terms.drawdown_max, 2)
        );
        reasons.push(Reason::of(
            "G23-drawdown",
            drawdown,
            terms.drawdown_max,
            text,
        ));
    }
    let sharpe = sharpe.unwrap_or(0.0);
    if sharpe < terms.sharpe_probability {
        let text = format!(
            "The probability that its Sharpe ratio exceeds {} a period is {}; {} is needed.",
            terms.sharpe_bar,
            share(sharpe, 1),
            share(terms.sharpe_probability, 1)
        );
        reasons.push(Reason::of(
            "G24-sharpe",
            sharpe,
            terms.sharpe_probability,
            text,
        ));
    }
    reasons
}

/// Whether it is better than a rival by more than chance explains.
fn better(rival: &Contest, difference: Option<&Interval>, terms: &Terms) -> Option<Reason> {
    let (code, name) = (rival.entry.role.code(), &rival.entry.name);
    let limit = -terms.margin;
    let Some(found) = difference else {
        let text = format!("There are too few periods to compare it with {name}.");
        return Some(Reason::words(code, text));
    };
    // Equal to a rival is no better: a lower end of zero is not above zero.
    if found.low > limit {
        return None;
    }
    let text = format!(
        "Against {name} its mean return per period differs by {}, with a {} interval of {} to {}; the lower end must \
         be above {}.",
        percent(found.mean, 4),
        share(terms.level, 0),
        percent(found.low, 4),
        percent(found.high, 4),
        percent(limit, 4)
    );
    Some(Reason::of(code, found.low, limit, text))
}

/// The findings as a program reads them.
#[derive(Serialize)]
struct Record<'a> {
    verdict: &'static str,
    reasons: &'a [Reason],
    candidate: &'a str,
    weights: Option<String>,
    schema: Option<String>,
    trained_ns: Option<[u64; 2]>,
    cutoff_ns: Option<u64>,
    held_out_ns: Option<[u64; 2]>,
    terms: &'a Terms,
    parity: Option<&'a Parity>,
    sharpe_probability: Option<f64>,
    contestants: Vec<Line<'a>>,
}

/// A contestant, as a program reads it.
#[derive(Serialize)]
struct Line<'a> {
    role: Role,
    name: &'a str,
    policy: &'a str,
    earned: f64,
    drawdown: f64,
    decisions: u64,
    fills: u64,
    fees: f64,
    /// The candidate's mean return per period less this one's, and its interval.
    difference: Option<[f64; 3]>,
}

impl<'a> Record<'a> {
    fn of(found: &'a Findings) -> Self {
        let manifest = found.manifest.as_ref();
        let differences = std::iter::once(None).chain(found.differences.iter().copied());
        let lines = found
            .contests
            .iter()
            .zip(differences)
            .map(|(one, interval)| Line {
                role: one.entry.role,
                name: &one.entry.name,
                policy: &one.entry.policy,
                earned: one.earned(),
                drawdown: one.drawdown(),
                decisions: one.sum(|trial| trial.decisions),
                fills: one.sum(|trial| trial.fills),
                fees: one.part(|trial| trial.costs.fees),
                difference: interval.map(|found| [found.mean, found.low, found.high]),
            });
        Self {
            verdict: if found.reasons.is_empty() {
                "pass"
            } else {
                "refused"
            },
            reasons: &found.reasons,
            candidate: &found.candidate,
            weights: manifest.map(|one| one.weights.to_string()),
            schema: manifest.map(|one| one.schema.to_string()),
            trained_ns: manifest.map(|one| [one.training.from.0, one.training.to.0]),
            cutoff_ns: manifest.map(|one| one.cutoff.0),
            held_out_ns: found.held_out.map(|span| [span.from.0, span.until.0]),
            terms: &found.terms,
            parity: found.parity.as_ref(),
            sharpe_probability: found.sharpe_probability,
            contestants: lines.collect(),
        }
    }
}
