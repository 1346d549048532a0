//! The journal of a search: one line of JSON a trial, only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Search, SearchError, Trial, Values};

/// Longest journal that is read, in bytes.
const JOURNAL_MAX: u64 = 256 << 20;

/// A trial that was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Number of the configuration.
    pub configuration: usize,
    /// Rung of ASHA; zero otherwise.
    pub rung: usize,
    /// Budget spent on it.
    pub budget: u32,
    /// Its values.
    pub values: Values,
    /// Its score; none when it failed.
    pub score: Option<f64>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Record {
    pub(super) fn new(trial: &Trial, score: Option<f64>, failure: Option<String>) -> Self {
        Self {
            configuration: trial.configuration,
            rung: trial.rung,
            budget: trial.budget,
            values: trial.values.clone(),
            score,
            failure,
        }
    }

    /// Whether this is the record of that trial.
    pub(super) fn of(&self, trial: &Trial) -> bool {
        (self.configuration, self.rung, self.budget, &self.values)
            == (trial.configuration, trial.rung, trial.budget, &trial.values)
    }
}

/// The first line: which search this is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    search: String,
}

/// An open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    past: Vec<Record>,
}

impl Journal {
    /// Opens or begins the journal of a search. A last line without its end is cut off.
    pub(super) fn open(path: &Path, search: &Search) -> Result<Self, SearchError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            SearchError(format!(
                "the search's journal {} cannot be {what}: {error}; choose another file, or free the disk",
                path.display()
            ))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| failed("opened", &error))?;
        let mut text = Vec::new();
        (&mut file)
            .take(JOURNAL_MAX)
            .read_to_end(&mut text)
            .map_err(|error| failed("read", &error))?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let id = identity(search)?;
        let mut past = Vec::new();
        let mut lines = text[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        if let Some(head) = lines.next() {
            let head: Head =
                serde_json::from_slice(head).map_err(|error| failed("read", &error))?;
            if head.search != id {
                return Err(SearchError(format!(
                    "the journal {} belongs to another search (other space, method, seed or workers); choose another \
                     file to begin anew",
                    path.display()
                )));
            }
            for line in lines {
                past.push(serde_json::from_slice(line).map_err(|error| failed("read", &error))?);
            }
        }
        file.set_len(whole as u64)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| failed("cut behind its last whole line", &error))?;
        let mut journal = Self {
            path: path.to_path_buf(),
            file,
            past,
        };
        if whole == 0 {
            journal.write(&[Head { search: id }])?;
        }
        Ok(journal)
    }

    /// The trials of earlier runs.
    pub(super) fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.past)
    }

    /// Adds trials, so that they survive a power cut.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), SearchError> {
        if records.is_empty() {
            return Ok(());
        }
        self.write(records)
    }

    fn write<T: Serialize>(&mut self, lines: &[T]) -> Result<(), SearchError> {
        let mut text = String::new();
        for line in lines {
            let line =
                serde_json::to_string(line).map_err(|error| SearchError(error.to_string()))?;
            text.push_str(&line);
            text.push('\n');
        }
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| {
                SearchError(format!(
                    "the search's journal {} cannot be written: {error}; free the disk and start again, it goes on \
                     where it was",
                    self.path.display()
                ))
            })
    }
}

/// A hash of all that decides what a search tries, but for how many configurations: a search may be lengthened.
fn identity(search: &Search) -> Result<String, SearchError> {
    let text = serde_json::to_string(&(&search.method, search.workers, search.seed, &search.space))
        .map_err(|error| SearchError(error.to_string()))?;
    let hash = Sha256::digest(text.as_bytes());
    Ok(hash
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// A journal holds a trial that this search would not make.
pub(super) fn foreign(record: &Record) -> SearchError {
    SearchError(format!(
        "the journal holds configuration {} on rung {}, which this search would not try there: it was shortened, or \
         the journal was edited; choose another file to begin anew",
        record.configuration, record.rung
    ))
}
