//! Recorded markets of any origin, through the edge's own engine, into a store of steps.
//!
//! Every source becomes the records that the edge itself journals, and goes through the engine that trades: a step of
//! history is what a policy would have seen. Journals hold pulses of their own; everything else is stepped on a
//! regular grid of time.
//!
//! [`import`] is idempotent: a source that is done is noted by the fingerprint of its files and terms, and not read
//! again; one that was interrupted is read again from its start, and finds its steps already there.

mod bars;
pub mod check;
mod decode;
mod files;
pub mod format;
mod heard;
mod npz;
pub mod store;
mod summary;
mod table;
mod tape;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tickerml_edge::replay;
use tickerml_shared::event::Level;
use tickerml_shared::instrument::{Instrument, Kind, Venue};
use tickerml_shared::num::pow10;
use tickerml_shared::schema::schema_id;
use tickerml_shared::time::Time;
use tickerml_shared::trajectory::MarketStep;

use self::check::{Checker, JUMP_SIGMAS};
use self::format::Found;
use self::tape::{PULSE_NS, Tape, name_of};
use crate::series::{MarketRow, Series};

pub use check::{Findings, Hole};
pub use files::Progress;
pub use format::{Format, detect};
pub use store::{ALWAYS, Kept, Origin, Put, Store};
pub use summary::{Overview, SourceSummary, StepSummary, Summary, summary};
pub use table::Head;

/// Digits of a fingerprint that day files carry.
const FINGERPRINT_SHOWN: usize = 12;

/// Why history cannot be read or kept: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryError(String);

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HistoryError {}

/// A file of one instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Where it lies.
    pub path: PathBuf,
    /// Where it was recorded.
    pub venue: Venue,
    /// The venue's symbol.
    pub symbol: String,
    /// What it holds; told by its content without it.
    pub format: Option<Format>,
    /// Nanoseconds of its bars; the least distance of two of them without it.
    pub bar_ns: Option<u64>,
}

/// Something to import: all of it is one tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The edge's own journal: a folder of day files, or one of them.
    Journal(PathBuf),
    /// A venue's frames, one JSON a line, in the order of recording.
    Captures {
        /// Whose.
        venue: Venue,
        /// The files.
        files: Vec<PathBuf>,
    },
    /// Tables and arrays of events; those of one instrument are merged by time, and instruments of one base asset
    /// see one another as venues do.
    Files(Vec<Feed>),
}

/// How sources are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Nanoseconds between pulses; without it a second, or the length of the bars. A journal has its own.
    pub pulse_ns: Option<u64>,
    /// The spread that is assumed where a source has no quotes, in basis points.
    pub spread_bps: f64,
    /// How many robust standard deviations a move must have to be a jump.
    pub jump_sigmas: f64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            pulse_ns: None,
            spread_bps: 2.0,
            jump_sigmas: JUMP_SIGMAS,
        }
    }
}

impl Source {
    /// Sorts paths into sources by what lies there: each journal is one, captures of the venue are one in the order
    /// of their names, and so are all files. A symbol that is not given is the part of a file's name before the first
    /// hyphen, as in `BTCUSDT-1h-2024-08.zip`.
    ///
    /// # Errors
    /// When a path cannot be read or holds nothing known, or its venue or symbol is wanted and not known.
    pub fn detect(
        paths: &[PathBuf],
        venue: Option<Venue>,
        symbol: Option<&str>,
    ) -> Result<Vec<Self>, HistoryError> {
        let (mut sources, mut captures, mut feeds) = (Vec::new(), Vec::new(), Vec::new());
        let named = |path: &Path| {
            venue.ok_or_else(|| {
                HistoryError(format!(
                    "{}: its venue is not in it; name it with --venue",
                    path.display()
                ))
            })
        };
        for path in paths {
            match detect(path)? {
                Found::Journal => sources.push(Self::Journal(path.clone())),
                Found::Capture => {
                    named(path)?;
                    captures.push(path.clone());
                }
                Found::File(format) => {
                    let stem = path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    let guessed = stem.split_once('-').map(|(symbol, _)| symbol);
                    let symbol = symbol.or(guessed).ok_or_else(|| {
                        HistoryError(format!(
                            "{}: its symbol is not in its name; name it with --symbol",
                            path.display()
                        ))
                    })?;
                    feeds.push(Feed {
                        path: path.clone(),
                        venue: named(path)?,
                        symbol: symbol.to_owned(),
                        format: Some(format),
                        bar_ns: None,
                    });
                }
            }
        }
        if let Some(venue) = venue.filter(|_| !captures.is_empty()) {
            captures.sort();
            sources.push(Self::Captures {
                venue,
                files: captures,
            });
        }
        if !feeds.is_empty() {
            sources.push(Self::Files(feeds));
        }
        Ok(sources)
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Journal(_) => "journal",
            Self::Captures { .. } => "captures",
            Self::Files(_) => "files",
        }
    }

    /// Its files, in order.
    fn files(&self) -> Result<Vec<PathBuf>, HistoryError> {
        match self {
            Self::Journal(path) if path.is_dir() => {
                let entries =
                    std::fs::read_dir(path).map_err(|error| files::unreadable(path, error))?;
                let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                all.retain(|path| path.is_file());
                all.sort();
                Ok(all)
            }
            Self::Journal(path) => Ok(vec![path.clone()]),
            Self::Captures { files, .. } => Ok(files.clone()),
            Self::Files(feeds) => Ok(feeds.iter().map(|feed| feed.path.clone()).collect()),
        }
    }

    /// What tells it from every other source: its files' bytes, what is known of them, and the terms.
    fn fingerprint(&self, terms: &Terms) -> Result<String, HistoryError> {
        let mut hash = Sha256::new();
        hash.update(schema_id().0);
        hash.update(format!("{} {terms:?}", self.kind()));
        match self {
            Self::Journal(_) => {}
            Self::Captures { venue, .. } => hash.update(venue.name()),
            Self::Files(feeds) => {
                for feed in feeds {
                    let Feed {
                        venue,
                        symbol,
                        format,
                        bar_ns,
                        ..
                    } = feed;
                    hash.update(format!("{venue} {symbol} {format:?} {bar_ns:?};"));
                }
            }
        }
        for file in self.files()? {
            hash.update(files::fingerprint(&file)?);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Reads sources into a store. What was done before is not done again.
///
/// # Errors
/// When a source cannot be read or the store not be written; sources before it are done then, and running again goes
/// on with this one.
pub fn import(
    sources: &[Source],
    store: &Store,
    terms: &Terms,
    progress: Progress,
) -> Result<Summary, HistoryError> {
    let mut summary = Summary::default();
    for source in sources {
        let fingerprint = source.fingerprint(terms)?;
        if let Some(noted) = store.done(&fingerprint)?
            && let Ok(before) = serde_json::from_str::<SourceSummary>(&noted)
        {
            summary.sources.push(SourceSummary {
                already: true,
                ..before
            });
            continue;
        }
        let done = one(source, &fingerprint, store, terms, progress)?;
        let note = serde_json::to_string_pretty(&done).map_err(|error| {
            HistoryError(format!("{fingerprint}: cannot be noted as done: {error}"))
        })?;
        store.note(&fingerprint, &note)?;
        summary.sources.push(done);
    }
    Ok(summary)
}

/// Reads one source.
fn one(
    source: &Source,
    fingerprint: &str,
    store: &Store,
    terms: &Terms,
    progress: Progress,
) -> Result<SourceSummary, HistoryError> {
    let shown = &fingerprint[..FINGERPRINT_SHOWN];
    let mut sink = Sink {
        store,
        origin: Origin {
            source: format!("{} {shown}", source.kind()),
            assumed_spread_bps: None,
        },
        jump_sigmas: terms.jump_sigmas,
        pulse_ns: terms.pulse_ns.unwrap_or(PULSE_NS),
        open: BTreeMap::new(),
    };
    let troubles = match source {
        Source::Journal(path) => {
            sink.pulse_ns = journal_pulse(path)?;
            replay::steps(path, |step, instrument| sink.step(step, instrument))
                .map_err(|error| HistoryError(error.to_string()))?;
            Vec::new()
        }
        Source::Captures { venue, files } => {
            let pulse_ns = sink.pulse_ns;
            replay::grid::capture_steps(*venue, files, pulse_ns, &mut |step, instrument| {
                sink.step(step, instrument)
            })
            .map_err(|error| HistoryError(error.to_string()))?;
            Vec::new()
        }
        Source::Files(feeds) => {
            let files: Vec<tape::File> = feeds.iter().map(file).collect::<Result<_, _>>()?;
            let tape = Tape::new(&files, terms.pulse_ns, terms.spread_bps)?;
            sink.pulse_ns = tape.pulse_ns;
            sink.origin.assumed_spread_bps =
                tape.assumes_spread().then(|| terms.spread_bps.to_string());
            tape.run(progress, |step, instrument| sink.step(step, instrument))?
        }
    };
    let pulse_ns = sink.pulse_ns;
    let instruments = sink.finish()?;
    let names = source.files()?;
    Ok(SourceSummary {
        kind: source.kind().to_owned(),
        fingerprint: fingerprint.to_owned(),
        files: names
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        already: false,
        pulse_ns,
        instruments,
        troubles,
    })
}

/// What is known of a feed's instrument, and what its file holds.
fn file(feed: &Feed) -> Result<tape::File, HistoryError> {
    let long = |length: usize| {
        HistoryError(format!(
            "{}: a symbol of {length} bytes is too long",
            feed.symbol
        ))
    };
    let mut instrument = Instrument::unknown(feed.venue, &feed.symbol).map_err(long)?;
    if matches!(
        feed.venue,
        Venue::BinanceUsdm | Venue::KrakenFutures | Venue::KucoinFutures
    ) {
        instrument.kind = Kind::Perpetual;
    }
    let format = match feed.format {
        Some(format) => format,
        None => match detect(&feed.path)? {
            Found::File(format) => format,
            Found::Journal | Found::Capture => {
                return Err(HistoryError(format!(
                    "{}: is a journal or a capture; import it as one",
                    feed.path.display()
                )));
            }
        },
    };
    Ok(tape::File {
        path: feed.path.clone(),
        instrument,
        format,
        bar_ns: feed.bar_ns,
    })
}

/// The least distance of two steps of a journal: its pulse.
fn journal_pulse(path: &Path) -> Result<u64, HistoryError> {
    /// Steps of the first instrument that are looked at.
    const LOOKED_AT: usize = 200;
    const ENOUGH: &str = "enough";
    let (mut stamps, mut first) = (Vec::new(), None);
    let looked = replay::steps(path, |step, _| {
        if *first.get_or_insert(step.instrument) == step.instrument {
            stamps.push(step.at);
        }
        if stamps.len() < LOOKED_AT {
            Ok(())
        } else {
            Err(ENOUGH.to_owned())
        }
    });
    match looked {
        Err(error) if error.to_string() != ENOUGH => return Err(HistoryError(error.to_string())),
        _ => {}
    }
    let mut apart: Vec<i64> = stamps
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .collect();
    apart.retain(|apart| *apart > 0);
    apart.sort_unstable();
    // Live pulses come a little early or late: the middle one is the pulse, to a hundredth of a second.
    let middle = apart
        .get(apart.len() / 2)
        .copied()
        .unwrap_or_default()
        .cast_unsigned();
    let grain = PULSE_NS / 100;
    Ok(((middle + grain / 2) / grain * grain).max(grain))
}

/// Takes steps, checks them, and puts each day into the store when it is over.
struct Sink<'a> {
    store: &'a Store,
    origin: Origin,
    jump_sigmas: f64,
    pulse_ns: u64,
    open: BTreeMap<String, Open>,
}

/// One instrument's day.
struct Open {
    rows: Vec<MarketRow>,
    checker: Checker,
    put: Put,
}

impl Sink<'_> {
    fn step(&mut self, step: &MarketStep, instrument: &Instrument) -> Result<(), String> {
        let name = name_of(instrument);
        let (pulse_ns, sigmas) = (self.pulse_ns, self.jump_sigmas);
        let open = self.open.entry(name.clone()).or_insert_with(|| Open {
            rows: Vec::new(),
            checker: Checker::new(pulse_ns, sigmas),
            put: Put::default(),
        });
        let day = open.rows.last().map(|row| row.at.day());
        if day.is_some_and(|day| day != step.at.day()) {
            flush(self.store, &self.origin, &name, pulse_ns, open).map_err(|error| error.0)?;
        }
        open.rows.push(row(step, instrument));
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<StepSummary>, HistoryError> {
        let mut all = Vec::new();
        for (name, open) in &mut self.open {
            flush(self.store, &self.origin, name, self.pulse_ns, open)?;
            all.push(StepSummary {
                instrument: name.clone(),
                findings: open.checker.findings().clone(),
                added: open.put.added,
                replaced: open.put.replaced,
                same: open.put.same,
            });
        }
        Ok(all)
    }
}

fn flush(
    store: &Store,
    origin: &Origin,
    name: &str,
    pulse_ns: u64,
    open: &mut Open,
) -> Result<(), HistoryError> {
    let mut rows = std::mem::take(&mut open.rows);
    open.checker.take(&mut rows);
    let series = Series {
        instrument: name.to_owned(),
        pulse_ns,
        rows,
    };
    open.put.add(store.put(&series, origin)?);
    open.rows = series.rows;
    open.rows.clear();
    Ok(())
}

/// A step as it is kept.
fn row(step: &MarketStep, instrument: &Instrument) -> MarketRow {
    let price = |level: Option<Level>| {
        level.map_or(f64::NAN, |level| {
            level.price.0 as f64 / pow10(instrument.price_scale) as f64
        })
    };
    MarketRow {
        at: step.at,
        state: step.state,
        bid: price(step.bid),
        ask: price(step.ask),
        masked: step.masked,
    }
}

/// How old the newest step of a store is at `now`, in seconds; `None` for an empty one. Reads one day file an
/// instrument and pulse.
///
/// # Errors
/// When a day file is damaged or was made under another schema.
pub fn age_s(store: &Store, now: Time) -> Result<Option<i64>, HistoryError> {
    let mut newest = None;
    for kept in store.kept()? {
        if let Some(day) = kept.days.last() {
            let (_, rows) = store.day(&kept.instrument, kept.pulse_ns, *day)?;
            newest = newest.max(rows.last().map(|row| row.at));
        }
    }
    Ok(newest.map(|at| now.since(at) / tickerml_shared::time::SECONDS.cast_signed()))
}

#[cfg(test)]
mod tests;
