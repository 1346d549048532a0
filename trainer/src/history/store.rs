//! Where steps are kept: one Parquet file an instrument, pulse and UTC day.
//!
//! ```text
//! history/
//!   binance/BTCUSDT/3600s/2024-08-09.parquet   the steps of a day
//!   schema/6f0c….txt                           the description of the schema that the files name
//!   done/91ab….json                            what was imported, by fingerprint of its source
//! ```
//!
//! The description of a schema is longer than a day of hourly steps; it is therefore kept once beside the files,
//! which name it. A day is read, merged and written anew as a whole:
//! under a temporary name, flushed to the device, then renamed, so that a file is there whole or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tickerml_shared::schema::{description, difference};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use super::HistoryError;
use super::table::{self, Head};
use crate::series::{MarketRow, Series};

/// All time.
pub const ALWAYS: Range<Time> = Time(0)..Time(u64::MAX);
/// The folder of descriptions; no venue is called so.
const SCHEMA: &str = "schema";
/// The folder of what is done; no venue is called so.
const DONE: &str = "done";
/// Sources that a day file names at most; more are counted.
const SOURCES_MAX: usize = 16;

/// A folder of market history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

/// Where steps come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Kind and fingerprint of the source.
    pub source: String,
    /// The spread in basis points that stands in for quotes that the source lacks, as text; `None` where it has
    /// quotes.
    pub assumed_spread_bps: Option<String>,
}

/// The steps of one instrument at one pulse, as they lie in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// Venue and symbol, as `binance:BTCUSDT`.
    pub instrument: String,
    /// Nanoseconds between pulses.
    pub pulse_ns: u64,
    /// The starts of its UTC days, in order.
    pub days: Vec<Time>,
}

/// What came of rows that were put into a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Rows that were not there.
    pub added: usize,
    /// Rows that took the place of one that knew less.
    pub replaced: usize,
    /// Rows that were there already.
    pub same: usize,
    /// Day files that were written.
    pub files: usize,
}

impl Put {
    pub(super) const fn add(&mut self, other: Self) {
        self.added += other.added;
        self.replaced += other.replaced;
        self.same += other.same;
        self.files += other.files;
    }
}

impl Store {
    /// The store in a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn create(folder: &Path) -> Result<Self, HistoryError> {
        let store = Self {
            folder: folder.to_owned(),
        };
        for part in [SCHEMA, DONE] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(|error| cannot_write(&part, error))?;
        }
        let path = store.description_path(&table::SCHEMA);
        if !path.exists() {
            replace(&path, description().as_bytes())?;
        }
        Ok(store)
    }

    /// The store in a folder that has one.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        if !folder.join(SCHEMA).is_dir() {
            return Err(HistoryError(format!(
                "{}: no history in it; name the folder that `import` wrote, or import first",
                folder.display()
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What lies in it, by names alone: no day file is opened.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn kept(&self) -> Result<Vec<Kept>, HistoryError> {
        let mut all = Vec::new();
        for venue in listed(&self.folder)? {
            if venue == SCHEMA || venue == DONE || !self.folder.join(&venue).is_dir() {
                continue;
            }
            let venue_folder = self.folder.join(&venue);
            for symbol in listed(&venue_folder)? {
                for pulse in listed(&venue_folder.join(&symbol))? {
                    let Some(pulse_ns) = pulse_of(&pulse) else {
                        continue;
                    };
                    let folder = venue_folder.join(&symbol).join(&pulse);
                    let days: Vec<Time> = listed(&folder)?
                        .iter()
                        .filter_map(|name| day_of(name))
                        .collect();
                    if !days.is_empty() {
                        all.push(Kept {
                            instrument: format!("{venue}:{}", unescaped(&symbol)),
                            pulse_ns,
                            days,
                        });
                    }
                }
            }
        }
        all.sort();
        Ok(all)
    }

    /// The steps of the named instruments (of all without a name) in a span of time, one series an instrument
    /// and pulse, in the order of names. Day files outside the span are not opened.
    ///
    /// # Errors
    /// When a name is not in the store; when a day file is damaged or was made under another schema: the message
    /// names the file and what to do.
    pub fn load(
        &self,
        instruments: &[&str],
        span: Range<Time>,
    ) -> Result<Vec<Series>, HistoryError> {
        let kept = self.kept()?;
        for name in instruments {
            if !kept.iter().any(|kept| kept.instrument == *name) {
                let known: Vec<_> = kept.iter().map(|kept| kept.instrument.as_str()).collect();
                return Err(HistoryError(format!(
                    "{name} is not in {}; it has {}",
                    self.folder.display(),
                    if known.is_empty() {
                        "nothing: import first".to_owned()
                    } else {
                        known.join(", ")
                    }
                )));
            }
        }
        let mut all = Vec::new();
        for kept in kept {
            if !instruments.is_empty() && !instruments.contains(&kept.instrument.as_str()) {
                continue;
            }
            let mut rows = Vec::new();
            for day in kept.days {
                if day < span.end && span.start <= last_of(day) {
                    let (_, found) = self.day(&kept.instrument, kept.pulse_ns, day)?;
                    rows.extend(found.into_iter().filter(|row| span.contains(&row.at)));
                }
            }
            if !rows.is_empty() {
                all.push(Series {
                    instrument: kept.instrument,
                    pulse_ns: kept.pulse_ns,
                    rows,
                });
            }
        }
        Ok(all)
    }

    /// One day file: what it says of itself, and its rows in order of time.
    ///
    /// # Errors
    /// Those of [`Store::load`].
    pub fn day(
        &self,
        instrument: &str,
        pulse_ns: u64,
        day: Time,
    ) -> Result<(Head, Vec<MarketRow>), HistoryError> {
        let path = self.path(instrument, pulse_ns, day)?;
        let damaged = |cause: &dyn fmt::Display| {
            HistoryError(format!(
                "{}: {cause}; it is damaged: delete this file and import its day again, the other days are whole",
                path.display()
            ))
        };
        let (head, rows) = table::read(&path).map_err(|error| damaged(&error))?;
        self.agree(&path, &head.schema_id)?;
        if head.instrument != instrument || head.pulse_ns != pulse_ns {
            return Err(damaged(&format!(
                "it says that it is {} every {}",
                head.instrument,
                pulse_name(head.pulse_ns)
            )));
        }
        if rows.iter().any(|row| row.at.day() != day) {
            return Err(damaged(&"it has rows of another day"));
        }
        Ok((head, rows))
    }

    /// Refuses files of another schema, and says where it differs.
    fn agree(&self, path: &Path, theirs: &str) -> Result<(), HistoryError> {
        let ours = &*table::SCHEMA;
        if ours == theirs {
            return Ok(());
        }
        let described = fs::read_to_string(self.description_path(theirs)).ok();
        let ours_text = description();
        let differs = described
            .as_deref()
            .and_then(|theirs| difference(&ours_text, theirs))
            .map_or_else(String::new, |(ours, theirs)| {
                format!(": this build has `{ours}` where the file has `{theirs}`")
            });
        Err(HistoryError(format!(
            "{}: computed under schema {}, this build is {}{differs}; import the sources again into another folder",
            path.display(),
            &theirs[..theirs.len().min(12)],
            &ours[..12]
        )))
    }

    /// Puts rows into the store. Of two rows of one instant the one that knows more stays: an unmasked one before
    /// a masked one, then the one with more known features, then the one that was there.
    ///
    /// # Errors
    /// When a day file cannot be read or written; days before it are written then.
    pub fn put(&self, series: &Series, origin: &Origin) -> Result<Put, HistoryError> {
        let mut put = Put::default();
        let mut days: BTreeMap<Time, Vec<MarketRow>> = BTreeMap::new();
        for row in &series.rows {
            days.entry(row.at.day()).or_default().push(*row);
        }
        for (day, rows) in days {
            put.add(self.put_day(series, origin, day, rows)?);
        }
        Ok(put)
    }

    fn put_day(
        &self,
        series: &Series,
        origin: &Origin,
        day: Time,
        rows: Vec<MarketRow>,
    ) -> Result<Put, HistoryError> {
        let path = self.path(&series.instrument, series.pulse_ns, day)?;
        let mut head = Head {
            schema_id: table::SCHEMA.clone(),
            instrument: series.instrument.clone(),
            pulse_ns: series.pulse_ns,
            sources: Vec::new(),
            assumed_spread_bps: None,
        };
        let mut merged: BTreeMap<Time, MarketRow> = BTreeMap::new();
        let exists = path.exists();
        if exists {
            let (found, before) = self.day(&series.instrument, series.pulse_ns, day)?;
            head = found;
            merged.extend(before.into_iter().map(|row| (row.at, row)));
        }
        let mut put = Put::default();
        for row in rows {
            match merged.get_mut(&row.at) {
                None => {
                    merged.insert(row.at, row);
                    put.added += 1;
                }
                Some(there) if knows(&row) > knows(there) => {
                    *there = row;
                    put.replaced += 1;
                }
                Some(_) => put.same += 1,
            }
        }
        if exists && put.added + put.replaced == 0 {
            return Ok(put);
        }
        if !head.sources.contains(&origin.source) && head.sources.len() < SOURCES_MAX {
            head.sources.push(origin.source.clone());
            head.sources.sort();
        }
        if origin.assumed_spread_bps.is_some() {
            head.assumed_spread_bps
                .clone_from(&origin.assumed_spread_bps);
        }
        let rows: Vec<MarketRow> = merged.into_values().collect();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
        }
        written(&path, |file| {
            table::write(file, &head, &rows).map_err(io::Error::other)
        })?;
        put.files = 1;
        Ok(put)
    }

    /// Where a day lies.
    ///
    /// # Errors
    /// When the instrument is not `venue:symbol`.
    pub fn path(
        &self,
        instrument: &str,
        pulse_ns: u64,
        day: Time,
    ) -> Result<PathBuf, HistoryError> {
        let (year, month, date) = day.civil();
        let Some((venue, symbol)) = instrument.split_once(':') else {
            return Err(HistoryError(format!(
                "{instrument} is no instrument; write venue:symbol, as binance:BTCUSDT"
            )));
        };
        Ok(self
            .folder
            .join(escaped(venue))
            .join(escaped(symbol))
            .join(pulse_name(pulse_ns))
            .join(format!("{year:04}-{month:02}-{date:02}.parquet")))
    }

    fn description_path(&self, id: &str) -> PathBuf {
        self.folder.join(SCHEMA).join(format!("{id}.txt"))
    }

    /// What was noted of a source that is done.
    pub(super) fn done(&self, fingerprint: &str) -> Result<Option<String>, HistoryError> {
        let path = self.folder.join(DONE).join(format!("{fingerprint}.json"));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HistoryError(format!(
                "{}: {error}: the folder must be readable for this user",
                path.display()
            ))),
        }
    }

    /// Notes that a source is done.
    pub(super) fn note(&self, fingerprint: &str, text: &str) -> Result<(), HistoryError> {
        let path = self.folder.join(DONE).join(format!("{fingerprint}.json"));
        replace(&path, text.as_bytes())
    }
}

/// How much a row knows: unmasked, then the number of known features.
const fn knows(row: &MarketRow) -> (bool, u32) {
    (!row.masked, row.state.valid.count_ones())
}

/// The last instant of the day that starts at `day`.
pub(super) const fn last_of(day: Time) -> Time {
    Time(day.0.saturating_add(tickerml_shared::time::DAYS - 1))
}

/// `3600s`, `100ms` or nanoseconds.
#[must_use]
pub fn pulse_name(pulse_ns: u64) -> String {
    if pulse_ns.is_multiple_of(SECONDS) {
        format!("{}s", pulse_ns / SECONDS)
    } else if pulse_ns.is_multiple_of(MILLIS) {
        format!("{}ms", pulse_ns / MILLIS)
    } else {
        format!("{pulse_ns}ns")
    }
}

fn pulse_of(name: &str) -> Option<u64> {
    let split = name.find(|letter: char| !letter.is_ascii_digit())?;
    let count: u64 = name[..split].parse().ok()?;
    match &name[split..] {
        "s" => count.checked_mul(SECONDS),
        "ms" => count.checked_mul(MILLIS),
        "ns" => Some(count),
        _ => None,
    }
}

/// The day of `2024-08-09.parquet`; other names are not ours.
fn day_of(name: &str) -> Option<Time> {
    let date = name.strip_suffix(".parquet")?;
    Time::from_rfc3339(&format!("{date}T00:00:00Z"))
}

/// A symbol as a name that every file system takes: what is no letter, digit or hyphen becomes `%` and its code.
fn escaped(symbol: &str) -> String {
    let mut name = String::new();
    for byte in symbol.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.bytes());
        match after
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend(rest.bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The names in a folder, sorted; none where there is no folder.
fn listed(folder: &Path) -> Result<Vec<String>, HistoryError> {
    let failed = |error: io::Error| {
        HistoryError(format!(
            "{}: {error}: the folder must be readable for this user",
            folder.display()
        ))
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(
            entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

fn cannot_write(path: &Path, error: impl fmt::Display) -> HistoryError {
    HistoryError(format!(
        "{}: {error}: the folder must be writable for this user, on a device with room",
        path.display()
    ))
}

/// Replaces a file, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), HistoryError> {
    written(path, |mut file| {
        file.write_all(bytes)?;
        Ok(file)
    })
}

/// Writes under a temporary name, flushes to the device, and renames.
fn written(path: &Path, write: impl FnOnce(File) -> io::Result<File>) -> Result<(), HistoryError> {
    let temporary = path.with_extension("partial");
    let attempt = || -> io::Result<()> {
        let file = write(File::create(&temporary)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    attempt().map_err(|error| {
        // What is half written is of no use; that it cannot be removed changes nothing.
        let _ = fs::remove_file(&temporary);
        cannot_write(path, error)
    })
}

#[cfg(test)]
mod tests;
