//! `tickerml-edge export`: features and market steps for notebooks and other programs.
//!
//! The source is a store of features (`features.redb`) or a journal; the output is Parquet where
//! its name ends in `.parquet`, and one JSON object a line otherwise. A value that is not known is
//! null in both. Rows stream through: memory does not grow with the length of the history.

mod parquet;

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use tickerml_shared::event::Level;
use tickerml_shared::features;
use tickerml_shared::instrument::Instrument;
use tickerml_shared::schema::{self, SchemaId};
use tickerml_shared::time::{SECONDS, Time};
use tickerml_shared::trajectory::MarketStep;

use self::parquet::{Cells, Columns, Table};
use crate::replay::{self, level_text};
use crate::store::features::{FeatureReader, Version, open_to_read};
use crate::store::{Probe, StoreError};

/// Why an export is impossible: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportError(String);

impl ExportError {
    fn new(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExportError {}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::new(error)
    }
}

/// What is exported of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Only this instrument, `venue:symbol`.
    pub instrument: Option<String>,
    /// The version of the features: the first digits of its schema; that of this build without it.
    pub version: Option<String>,
    /// From this time on, unix nanoseconds.
    pub from_ns: Option<u64>,
    /// Before this time, unix nanoseconds.
    pub to_ns: Option<u64>,
}

impl Part {
    fn takes(&self, at_ns: u64) -> bool {
        at_ns >= self.from_ns.unwrap_or(0) && at_ns < self.to_ns.unwrap_or(u64::MAX)
    }
}

/// A time as users write it: a UTC date, an RFC 3339 time, or unix seconds. In unix nanoseconds.
///
/// # Errors
/// A line that says how to write it.
pub fn time(text: &str) -> Result<u64, String> {
    let found = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse::<u64>()
            .ok()
            .and_then(|s| s.checked_mul(SECONDS))
    } else if text.len() == "2026-01-31".len() {
        Time::from_rfc3339(&format!("{text}T00:00:00Z")).map(|time| time.0)
    } else {
        Time::from_rfc3339(text).map(|time| time.0)
    };
    found.ok_or_else(|| {
        format!("{text:?} is no time; write 2026-01-31, 2026-01-31T12:00:00Z or unix seconds")
    })
}

/// Writes a part of a journal or of a store of features; to standard output without `out`. Returns
/// how many rows.
///
/// # Errors
/// When the source cannot be read or has nothing of that part, or the output cannot be written.
pub fn export(
    source: &Path,
    out: Option<&Path>,
    part: &Part,
    probe: &Probe,
) -> Result<u64, ExportError> {
    let is_store = source.extension().is_some_and(|end| end == "redb");
    if !is_store && part.version.is_some() {
        return Err(ExportError::new(
            "--version is for a store of features: a journal has the version of its build",
        ));
    }
    let is_parquet = out.is_some_and(|out| out.extension().is_some_and(|end| end == "parquet"));
    let output = Output::new(out, is_parquet);
    if is_store {
        vectors(source, output, part, probe)
    } else {
        steps(source, output, part)
    }
}

/// Where rows go, before it is known what columns they have.
struct Output<'a> {
    path: Option<&'a Path>,
    is_parquet: bool,
}

impl<'a> Output<'a> {
    const fn new(path: Option<&'a Path>, is_parquet: bool) -> Self {
        Self { path, is_parquet }
    }

    fn open(&self, columns: &Columns<'_>) -> Result<Sink, ExportError> {
        let stream: Box<dyn Write + Send> = match self.path {
            None => Box::new(io::stdout()),
            Some(path) => Box::new(File::create(path).map_err(|error| self.failed(error))?),
        };
        let stream = BufWriter::new(stream);
        Ok(if self.is_parquet {
            Sink::Parquet(Box::new(
                Table::new(stream, columns).map_err(|error| self.failed(error))?,
            ))
        } else {
            Sink::Lines(stream)
        })
    }

    fn failed(&self, error: impl fmt::Display) -> ExportError {
        let path = self
            .path
            .map_or(PathBuf::from("standard output"), Path::to_owned);
        ExportError(format!(
            "{}: {error}: --out must name a file that this user can write, on a device with room",
            path.display()
        ))
    }
}

/// Where rows go.
enum Sink {
    Lines(BufWriter<Box<dyn Write + Send>>),
    Parquet(Box<Table<BufWriter<Box<dyn Write + Send>>>>),
}

impl Sink {
    fn line(stream: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *stream, line)?;
        stream.write_all(b"\n")
    }

    fn close(self) -> io::Result<()> {
        match self {
            Self::Lines(mut stream) => stream.flush(),
            Self::Parquet(table) => table.close()?.flush(),
        }
    }
}

/// One vector of the store as a line.
#[derive(Serialize)]
struct VectorLine<'a> {
    at_ns: u64,
    venue: &'a str,
    instrument: &'a str,
    features: Named<'a>,
}

/// Values under their names, in the order of the table; NaN is null.
struct Named<'a>(&'a [String], &'a [f32]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter().zip(self.1) {
            map.serialize_entry(name, &(!value.is_nan()).then_some(value))?;
        }
        map.end()
    }
}

/// Exports a store of features, one instrument after another.
fn vectors(
    source: &Path,
    output: Output<'_>,
    part: &Part,
    probe: &Probe,
) -> Result<u64, ExportError> {
    let named = |error: &dyn fmt::Display| {
        let file = source.display();
        ExportError(format!("{file}: {error}"))
    };
    let reader = open_to_read(source, probe).map_err(|error| match error {
        StoreError::InUse(_) => named(
            &"an edge that runs has it open; stop that edge first, or export its journal instead",
        ),
        error => named(&error),
    })?;
    let version = chosen(&reader, part.version.as_deref()).map_err(|error| named(&error))?;
    let names = instruments(&reader, version.schema_id, part).map_err(|error| named(&error))?;
    let columns = Columns {
        flags: &[],
        texts: &["venue", "instrument"],
        floats: &version.columns,
    };
    let mut sink = output.open(&columns)?;
    let (from_ns, to_ns) = (part.from_ns.unwrap_or(0), part.to_ns.unwrap_or(u64::MAX));
    let mut count = 0;
    for name in &names {
        let (venue, instrument) = name.split_once(':').unwrap_or(("", name));
        count += reader.read(name, version.schema_id, from_ns, to_ns, |at_ns, values| {
            let written = match &mut sink {
                Sink::Lines(stream) => Sink::line(
                    stream,
                    &VectorLine {
                        at_ns,
                        venue,
                        instrument,
                        features: Named(&version.columns, values),
                    },
                ),
                Sink::Parquet(table) => table.push(&Cells {
                    at_ns,
                    flags: &[],
                    texts: &[Some(venue), Some(instrument)],
                    floats: values,
                }),
            };
            written.map_err(|error| output.failed(error))
        })?;
    }
    sink.close().map_err(|error| output.failed(error))?;
    Ok(count)
}

/// The version that is asked for.
fn chosen(reader: &FeatureReader, wanted: Option<&str>) -> Result<Version, ExportError> {
    let mut versions = reader.versions()?;
    let wanted = wanted.map_or_else(|| schema::schema_id().to_string(), str::to_ascii_lowercase);
    let is_it = |version: &Version| version.schema_id.to_string().starts_with(&wanted);
    let mut found = versions
        .iter()
        .enumerate()
        .filter(|(_, version)| is_it(version));
    match (found.next(), found.next()) {
        (Some((place, _)), None) => Ok(versions.swap_remove(place)),
        (found, _) => {
            let is = if found.is_some() {
                "names several"
            } else {
                "is none"
            };
            let known: Vec<_> = versions.iter().map(|v| v.schema_id.to_string()).collect();
            Err(ExportError(format!(
                "version {wanted} {is} of its versions; write --version with one of {}",
                known.join(", ")
            )))
        }
    }
}

/// The instruments that are asked for.
fn instruments(
    reader: &FeatureReader,
    version: SchemaId,
    part: &Part,
) -> Result<Vec<String>, ExportError> {
    let series = reader.series()?.into_iter();
    let all: Vec<String> = series
        .filter(|series| series.schema_id == version)
        .map(|series| series.instrument)
        .collect();
    let Some(wanted) = &part.instrument else {
        return Ok(all);
    };
    if all.contains(wanted) {
        return Ok(vec![wanted.clone()]);
    }
    Err(ExportError(format!(
        "instrument {wanted} is not in it under version {version}; write --instrument with one of {}",
        all.join(", ")
    )))
}

/// One market step of a journal as a line.
#[derive(Serialize)]
struct StepLine<'a> {
    at_ns: u64,
    venue: &'a str,
    instrument: &'a str,
    masked: bool,
    bid: Option<[String; 2]>,
    ask: Option<[String; 2]>,
    features: Named<'a>,
}

/// Exports the market steps of a journal: what a policy saw at each pulse.
fn steps(source: &Path, output: Output<'_>, part: &Part) -> Result<u64, ExportError> {
    let names: Vec<String> = features::selected().map(|f| f.to_string()).collect();
    let columns = Columns {
        flags: &["masked"],
        texts: &[
            "venue",
            "instrument",
            "bid_price",
            "bid_quantity",
            "ask_price",
            "ask_quantity",
        ],
        floats: &names,
    };
    // The source comes first: a mistaken path must not leave an empty file.
    let mut sink = None;
    let mut count = 0;
    replay::steps(source, |step, instrument| {
        let name = || format!("{}:{}", instrument.venue, instrument.symbol);
        let wanted = part.instrument.as_ref();
        if !part.takes(step.at.0) || wanted.is_some_and(|wanted| *wanted != name()) {
            return Ok(());
        }
        let sink = match &mut sink {
            Some(sink) => sink,
            None => sink.insert(output.open(&columns).map_err(|error| error.0)?),
        };
        count += 1;
        step_row(sink, step, instrument, &names).map_err(|error| output.failed(error).0)
    })
    .map_err(ExportError::new)?;
    match sink {
        Some(sink) => sink,
        None => output.open(&columns)?,
    }
    .close()
    .map_err(|error| output.failed(error))?;
    Ok(count)
}

fn step_row(
    sink: &mut Sink,
    step: &MarketStep,
    instrument: &Instrument,
    names: &[String],
) -> io::Result<()> {
    let level = |level: Option<Level>| level.map(|level| level_text(instrument, level));
    let (bid, ask) = (level(step.bid), level(step.ask));
    let venue = instrument.venue.name();
    let values: Vec<f32> = (0..names.len())
        .map(|index| step.state.get(index).unwrap_or(f32::NAN))
        .collect();
    match sink {
        Sink::Lines(stream) => Sink::line(
            stream,
            &StepLine {
                at_ns: step.at.0,
                venue,
                instrument: &instrument.symbol,
                masked: step.masked,
                bid,
                ask,
                features: Named(names, &values),
            },
        ),
        Sink::Parquet(table) => {
            let text = |level: &'_ Option<[String; 2]>, place: usize| -> Option<String> {
                level.as_ref().map(|level| level[place].clone())
            };
            let levels = [text(&bid, 0), text(&bid, 1), text(&ask, 0), text(&ask, 1)];
            let [bid_price, bid_qty, ask_price, ask_qty] = levels.each_ref().map(Option::as_deref);
            table.push(&Cells {
                at_ns: step.at.0,
                flags: &[step.masked],
                texts: &[
                    Some(venue),
                    Some(&instrument.symbol),
                    bid_price,
                    bid_qty,
                    ask_price,
                    ask_qty,
                ],
                floats: &values,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_rfc3339_or_seconds() {
        let noon = 1_772_366_400 * SECONDS;
        assert_eq!(time("2026-03-01T12:00:00Z"), Ok(noon));
        assert_eq!(time("1772366400"), Ok(noon));
        assert_eq!(time("2026-03-01"), Ok(noon - 12 * 3_600 * SECONDS));
        for text in ["", "yesterday", "2026-13-45", "99999999999999999999"] {
            let error = time(text).expect_err(text);
            assert!(error.contains("write 2026-01-31"), "{error}");
        }
    }
}
