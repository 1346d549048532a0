//! What an import did, and what a store holds, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::HistoryError;
use super::check::{Checker, Findings, JUMP_SIGMAS, short};
use super::store::{Store, pulse_name};

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Source by source.
    pub sources: Vec<SourceSummary>,
}

/// What came of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// `journal`, `captures` or `files`.
    pub kind: String,
    /// Of its files and terms.
    pub fingerprint: String,
    /// Its files.
    pub files: Vec<String>,
    /// It was done before; the rest says what came of it then.
    #[serde(default)]
    pub already: bool,
    /// Nanoseconds between pulses.
    pub pulse_ns: u64,
    /// Its instruments.
    pub instruments: Vec<StepSummary>,
    /// What was wrong with it, one line each.
    pub troubles: Vec<String>,
}

/// What came of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSummary {
    /// Venue and symbol.
    pub instrument: String,
    /// What was found in its steps.
    pub findings: Findings,
    /// Steps that were new to the store.
    pub added: usize,
    /// Steps that took the place of one that knew less.
    pub replaced: usize,
    /// Steps that were there already.
    pub same: usize,
}

impl Summary {
    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for source in &self.sources {
            let count = source.files.len();
            let before = if source.already { ", done before" } else { "" };
            let pulse = pulse_name(source.pulse_ns);
            writeln!(
                f,
                "{} of {count} file{} every {pulse}{before}",
                source.kind,
                if count == 1 { "" } else { "s" }
            )?;
            write_rows(
                f,
                source
                    .instruments
                    .iter()
                    .map(|one| (&one.instrument, &one.findings)),
            )?;
            for trouble in &source.troubles {
                writeln!(f, "  {trouble}")?;
            }
        }
        Ok(())
    }
}

/// One line an instrument under a line of titles.
fn write_rows<'a>(
    f: &mut fmt::Formatter<'_>,
    rows: impl Iterator<Item = (&'a String, &'a Findings)>,
) -> fmt::Result {
    writeln!(
        f,
        "  {:<28} {:>9} {:<16} {:<16} {:>8} {:>6} {:>8} {:>6} {:>6} {:>7} {:>6} {:>6}",
        "instrument",
        "steps",
        "from",
        "to",
        "masked %",
        "holes",
        "missing",
        "jumps",
        "spikes",
        "crossed",
        "double",
        "known"
    )?;
    for (name, found) in rows {
        writeln!(
            f,
            "  {name:<28} {:>9} {:<16} {:<16} {:>8.2} {:>6} {:>8} {:>6} {:>6} {:>7} {:>6} {:>6.1}",
            found.rows,
            short(found.first_ns),
            short(found.last_ns),
            100.0 * found.masked_share(),
            found.holes,
            found.missing,
            found.jumps,
            found.spikes,
            found.crossed,
            found.duplicates,
            found.known_mean()
        )?;
    }
    Ok(())
}

/// What a store holds of one instrument at one pulse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Venue and symbol.
    pub instrument: String,
    /// Nanoseconds between pulses.
    pub pulse_ns: u64,
    /// Day files.
    pub days: usize,
    /// What is found in its steps.
    pub findings: Findings,
    /// The assumed spread in basis points, where a source had no quotes.
    pub assumed_spread_bps: Option<String>,
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pulse = pulse_name(self.pulse_ns);
        write!(
            f,
            "{} every {pulse}, {} days: {}",
            self.instrument, self.days, self.findings
        )?;
        match &self.assumed_spread_bps {
            Some(spread) => write!(f, "; no quotes, a spread of {spread} bps is assumed"),
            None => Ok(()),
        }
    }
}

/// Looks through a whole store, a day at a time: instruments, spans, steps, what is masked, and holes.
///
/// # Errors
/// When a day file is damaged or was made under another schema.
pub fn summary(store: &Store) -> Result<Vec<Overview>, HistoryError> {
    let mut all = Vec::new();
    for kept in store.kept()? {
        let mut checker = Checker::new(kept.pulse_ns, JUMP_SIGMAS);
        let mut spread = None;
        for day in &kept.days {
            let (head, mut rows) = store.day(&kept.instrument, kept.pulse_ns, *day)?;
            spread = head.assumed_spread_bps.or(spread);
            checker.take(&mut rows);
        }
        all.push(Overview {
            instrument: kept.instrument,
            pulse_ns: kept.pulse_ns,
            days: kept.days.len(),
            findings: checker.findings().clone(),
            assumed_spread_bps: spread,
        });
    }
    Ok(all)
}
