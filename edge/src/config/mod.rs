//! Site configuration: what may differ per machine, and nothing else.
//!
//! Every key is written out in `config/edge.toml`; there are no defaults to guess. The raw form is
//! what the user typed; [`Config`] is typed, checked, and made once, in `main`.

mod paper;
mod risk;
pub mod terms;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tickerml_shared::engine::{Costs, Setup};
use tickerml_shared::features::drift::Reference;
use tickerml_shared::instrument::{Instrument, InstrumentId, Kind, MAX_INSTRUMENTS, Venue};
use tickerml_shared::num::{CASH_SCALE, Cash, MAX_SCALE, parse};
use tickerml_shared::paper::venue::Rules;
use tickerml_shared::time::{MILLIS, SECONDS};

use crate::policy::Setting;
use crate::policy::network::Form;
use crate::venue::Endpoint;
use paper::{KeyError, RawExecution, RawFee, RawPaper};

/// Longest time between stored vectors, in seconds.
const FEATURES_EVERY_S_MAX: u64 = 3_600;
/// Least room for stored features, in MiB: some blocks of the most instruments.
const FEATURES_MIB_MIN: u32 = 16;
/// Most room for stored features, in MiB: a terabyte.
const FEATURES_MIB_MAX: u32 = 1 << 20;

/// What is wrong with the configuration, and where: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name on the page.
    pub name: String,
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// Instruments, account, risk and costs.
    pub setup: Setup,
    /// Time between pulses, in nanoseconds.
    pub pulse_ns: u64,
    /// Bound on holding an update, in nanoseconds.
    pub hold_ns: u64,
    /// What decides.
    pub policy: Setting,
    /// Where the page listens.
    pub listen: SocketAddr,
    /// The journal's durability and retention.
    pub journal: JournalKeys,
    /// The store of features.
    pub features: FeatureKeys,
    /// What features looked like in training; `None` where drift is not watched.
    pub drift_reference: Option<Reference>,
    /// Log format: `text` or `json`.
    pub log_format: String,
    /// Log filter, as tracing's environment filter.
    pub log_filter: String,
    /// The venues and their instruments.
    pub venues: Vec<VenueConfig>,
    /// SHA-256 of the files' text, so that the page can tell configurations apart.
    pub hash: String,
}

/// Durability of the journal.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct JournalKeys {
    /// Longest time between syncs, in seconds.
    pub sync_seconds: u64,
    /// Most compressed bytes between syncs.
    pub segment_bytes: u32,
    /// Day files kept.
    pub retain_days: u32,
}

/// What is kept of the features.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct FeatureKeys {
    /// Whether they are stored at all.
    pub store: bool,
    /// Seconds between the vectors of an instrument.
    pub every_s: u64,
    /// Most mebibytes of vectors kept; the oldest go first.
    pub max_mib: u32,
}

/// One venue.
#[derive(Clone, Debug)]
pub struct VenueConfig {
    /// Its dialect.
    pub venue: Venue,
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// An additional root certificate (PEM), for simulated venues.
    pub ca_file: Option<PathBuf>,
    /// Its instruments.
    pub instruments: Vec<(InstrumentId, Instrument)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    node: RawNode,
    account: RawAccount,
    desk: RawDesk,
    model: RawModel,
    risk: toml::Table,
    paper: RawPaper,
    execution: RawExecution,
    page: RawPage,
    journal: JournalKeys,
    features: FeatureKeys,
    drift: RawDrift,
    log: RawLog,
    venue: Vec<RawVenue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDrift {
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    name: String,
    data_dir: PathBuf,
    instruments: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccount {
    capital: String,
    at_par: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDesk {
    pulse_ms: u64,
    hold_ms: u64,
    seed: u64,
    policy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    folder: PathBuf,
    form: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPage {
    listen: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    format: String,
    filter: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVenue {
    name: String,
    ws: String,
    rest: String,
    ca_file: PathBuf,
    fees: Vec<RawFee>,
    latency: String,
    latency_file: PathBuf,
    entry_ms: [f64; 2],
    response_ms: [f64; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    instrument: Vec<RawInstrument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInstrument {
    venue: String,
    symbol: String,
    base: String,
    quote: String,
    kind: String,
    price_scale: u8,
    qty_scale: u8,
    tick: String,
    lot: String,
    depth: u16,
}

/// Reads and checks a configuration file and the instrument table that it names.
///
/// # Errors
/// One line that names the file, the key, the cause and the remedy.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(
        path,
        "--config FILE must name a readable file, such as config/edge.toml",
    )?;
    let raw: Raw = from_toml(path, &text, "edge.toml")?;
    let root = path.parent().unwrap_or(Path::new(""));
    let table_path = root.join(&raw.node.instruments);
    let table_text = read(
        &table_path,
        "node.instruments is relative to the configuration file",
    )?;
    let table: RawTable = from_toml(&table_path, &table_text, "instruments.toml")?;
    resolve(
        raw,
        &table,
        path,
        &table_path,
        root,
        &format!("{text}\0{table_text}"),
    )
}

fn read(path: &Path, remedy: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("{}: {error}: {remedy}", path.display())))
}

fn from_toml<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
    shipped: &str,
) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        let (path, message) = (path.display(), error.message().replace('\n', " "));
        ConfigError(format!(
            "{path}:{line}: {message}: it must have every key of the shipped config/{shipped}, and no other"
        ))
    })
}

fn resolve(
    raw: Raw,
    table: &RawTable,
    path: &Path,
    table_path: &Path,
    root: &Path,
    text: &str,
) -> Result<Config, ConfigError> {
    let fail = |key: &str, cause: &dyn fmt::Display| {
        ConfigError(format!("{}: {key}: {cause}", path.display()))
    };
    let instruments = instruments_of(table, &raw.account.at_par, table_path)?;
    let named = |(key, cause): (String, String)| fail(&key, &cause);
    let paper = paper::resolve(&raw.paper, &raw.execution).map_err(named)?;
    let (venues, costs) = venues_of(&raw.venue, &instruments, root, paper.rules).map_err(named)?;
    let limits = risk::resolve(&raw.risk, &instruments).map_err(named)?;
    let capital = parse(&raw.account.capital, CASH_SCALE).map(Cash);
    let capital = capital.map_err(|error| {
        let text = &raw.account.capital;
        fail(
            "account.capital",
            &format_args!("{text:?} {error}; write e.g. \"10000\""),
        )
    })?;
    if capital <= Cash::ZERO {
        let cause = format_args!("{capital} is not positive; write e.g. \"10000\"").to_string();
        return Err(fail("account.capital", &cause));
    }
    let positive = |key: &str, value: u64, most: u64| {
        let cause = format_args!("{value} is not between 1 and {most}").to_string();
        if (1..=most).contains(&value) {
            Ok(value)
        } else {
            Err(fail(key, &cause))
        }
    };
    let setup = Setup {
        instruments,
        capital,
        limits,
        costs,
        tactic: paper.tactic,
        impact: paper.impact,
        funding: paper.funding,
        synthetic_book: paper.synthetic_book,
        seed: raw.desk.seed,
    };
    let listen = raw.page.listen.parse().map_err(|_| {
        fail(
            "page.listen",
            &format_args!(
                "{:?} is no address; write e.g. \"127.0.0.1:8787\"",
                raw.page.listen
            ),
        )
    })?;
    let policy = policy_of(root, &raw.desk.policy, &raw.model).map_err(named)?;
    if !matches!(raw.log.format.as_str(), "text" | "json") {
        let cause = format!(
            "{:?} is unknown; write \"text\" or \"json\"",
            raw.log.format
        );
        return Err(fail("log.format", &cause));
    }
    positive("journal.sync_seconds", raw.journal.sync_seconds, 3_600)?;
    features_of(raw.features).map_err(named)?;
    let drift_reference =
        drift_of(root, &raw.drift.reference).map_err(|cause| fail("drift.reference", &cause))?;
    Ok(Config {
        name: raw.node.name,
        data_dir: root.join(raw.node.data_dir),
        setup,
        pulse_ns: positive("desk.pulse_ms", raw.desk.pulse_ms, 3_600_000)? * MILLIS,
        hold_ns: positive("desk.hold_ms", raw.desk.hold_ms, 1_000)? * MILLIS,
        policy,
        listen,
        journal: raw.journal,
        features: raw.features,
        drift_reference,
        log_format: raw.log.format,
        log_filter: raw.log.filter,
        venues,
        hash: tickerml_shared::schema::fingerprint(text.as_bytes()).to_string(),
    })
}

/// Which policy decides. A model is read when trading starts. An error is the key and what is wrong with it.
fn policy_of(root: &Path, name: &str, model: &RawModel) -> Result<Setting, KeyError> {
    let form = Form::from_name(&model.form).ok_or_else(|| {
        let cause = format!(
            "{:?} is unknown; write \"streaming\" or \"window\"",
            model.form
        );
        ("model.form".to_owned(), cause)
    })?;
    match name {
        "imbalance" => Ok(Setting::Imbalance),
        "flat" => Ok(Setting::Flat),
        "model" if model.folder.as_os_str().is_empty() => Err((
            "model.folder".to_owned(),
            "is empty; name the folder of an exported model".to_owned(),
        )),
        "model" => Ok(Setting::Model {
            folder: root.join(&model.folder),
            form,
        }),
        _ => Err((
            "desk.policy".to_owned(),
            format!("{name:?} is unknown; write \"imbalance\", \"flat\" or \"model\""),
        )),
    }
}

/// Reads the reference for drift; `None` where the key is empty.
fn drift_of(root: &Path, file: &str) -> Result<Option<Reference>, String> {
    if file.is_empty() {
        return Ok(None);
    }
    let path = root.join(file);
    let remedy = "make it with `tickerml-edge features --reference`, or write \"\" for none";
    let bytes =
        std::fs::read(&path).map_err(|error| format!("{}: {error}; {remedy}", path.display()))?;
    let reference = Reference::from_bytes(&bytes);
    reference
        .map(Some)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Checks the keys of the store of features. An error is the key and what is wrong with it.
fn features_of(keys: FeatureKeys) -> Result<(), KeyError> {
    let refused = |key: &str, value: u64, least: u64, most: u64, remedy: &str| {
        let cause = format!("{value} is not between {least} and {most}; {remedy}");
        Err((format!("features.{key}"), cause))
    };
    let (most_s, most_mib) = (FEATURES_EVERY_S_MAX, FEATURES_MIB_MAX);
    if !(1..=most_s).contains(&keys.every_s) {
        let remedy = "write e.g. 5, or store = false to keep none";
        return refused("every_s", keys.every_s, 1, most_s, remedy);
    }
    if !(FEATURES_MIB_MIN..=most_mib).contains(&keys.max_mib) {
        let remedy = "write e.g. 2048, or store = false to keep none";
        let (least, most) = (FEATURES_MIB_MIN.into(), most_mib.into());
        return refused("max_mib", keys.max_mib.into(), least, most, remedy);
    }
    Ok(())
}

/// The instrument table, checked.
fn instruments_of(
    table: &RawTable,
    at_par: &[String],
    path: &Path,
) -> Result<Vec<Instrument>, ConfigError> {
    let mut instruments = Vec::new();
    for (place, entry) in table.instrument.iter().enumerate() {
        let checked = instrument(entry, at_par).map_err(|cause| {
            let (path, place) = (path.display(), place + 1);
            let (venue, symbol) = (&entry.venue, &entry.symbol);
            ConfigError(format!(
                "{path}: instrument {place} ({venue} {symbol}): {cause}"
            ))
        })?;
        instruments.push(checked);
    }
    if instruments.is_empty() || instruments.len() > MAX_INSTRUMENTS {
        let (path, count) = (path.display(), instruments.len());
        let cause = format!("{count} instruments; 1 to {MAX_INSTRUMENTS} are possible");
        return Err(ConfigError(format!("{path}: {cause}")));
    }
    Ok(instruments)
}

type Venues = (Vec<VenueConfig>, Vec<(Venue, Costs)>);

/// The venues with their instruments and terms. An error is the key and what is wrong with it.
fn venues_of(
    entries: &[RawVenue],
    instruments: &[Instrument],
    root: &Path,
    rules: Rules,
) -> Result<Venues, KeyError> {
    let mut venues = Vec::new();
    let mut costs: Vec<(Venue, Costs)> = Vec::new();
    for entry in entries {
        let key = || format!("venue.name = {:?}", entry.name);
        let (venue, cost) = paper::costs(entry, rules, root).map_err(|cause| (key(), cause))?;
        if costs.iter().any(|(named, _)| *named == venue) {
            return Err((key(), "stands twice; write each venue once".to_owned()));
        }
        let ids = (0_u16..).map(InstrumentId).zip(instruments.iter().cloned());
        let own: Vec<_> = ids
            .filter(|(_, instrument)| instrument.venue == venue)
            .collect();
        if own.is_empty() {
            let cause = "has no instrument in the table; add one or remove the venue";
            return Err((key(), cause.to_owned()));
        }
        let ca_file = (!entry.ca_file.as_os_str().is_empty()).then(|| root.join(&entry.ca_file));
        let endpoint = Endpoint {
            ws: entry.ws.trim_end_matches('/').to_owned(),
            rest: entry.rest.trim_end_matches('/').to_owned(),
        };
        costs.push((venue, cost));
        venues.push(VenueConfig {
            venue,
            endpoint,
            ca_file,
            instruments: own,
        });
    }
    let orphaned = |instrument: &&Instrument| !costs.iter().any(|(v, _)| *v == instrument.venue);
    match instruments.iter().find(orphaned) {
        Some(orphan) => {
            let cause = format!(
                "{} {} has no [[venue]]; add it",
                orphan.venue, orphan.symbol
            );
            Err(("venue".to_owned(), cause))
        }
        None => Ok((venues, costs)),
    }
}

/// The venue of that name.
///
/// # Errors
/// A line that lists the names there are.
pub fn venue(name: &str) -> Result<Venue, String> {
    Venue::from_name(name).ok_or_else(|| {
        let names = Venue::ALL.map(Venue::name).join(", ");
        format!("{name:?} is no known venue; known are {names}")
    })
}

fn instrument(entry: &RawInstrument, at_par: &[String]) -> Result<Instrument, String> {
    let long = |what: &str, text: &str| format!("{what} {text:?} is too long");
    if entry.symbol.is_empty() || entry.base.is_empty() {
        return Err("symbol and base must not be empty".to_owned());
    }
    if !at_par.contains(&entry.quote) {
        return Err(format!(
            "quote {:?} is not counted at par; add it to account.at_par if it should be",
            entry.quote
        ));
    }
    if entry.price_scale > MAX_SCALE || entry.qty_scale > MAX_SCALE {
        return Err(format!("scales go from 0 to {MAX_SCALE}"));
    }
    let kind = match entry.kind.as_str() {
        "spot" => Kind::Spot,
        "perpetual" => Kind::Perpetual,
        "inverse" => Kind::Inverse,
        "future" => Kind::Future,
        other => {
            return Err(format!(
                "kind {other:?}; write spot, perpetual, inverse or future"
            ));
        }
    };
    let step = |key: &str, text: &str, scale: u8| match parse(text, scale) {
        Ok(step) if step > 0 => Ok(step),
        Ok(_) => Err(format!("{key} must be positive")),
        Err(error) => Err(format!("{key} {text:?} {error}")),
    };
    Ok(Instrument {
        venue: venue(&entry.venue)?,
        symbol: heapless::String::try_from(entry.symbol.as_str())
            .map_err(|_| long("symbol", &entry.symbol))?,
        base: heapless::String::try_from(entry.base.as_str())
            .map_err(|_| long("base", &entry.base))?,
        quote: heapless::String::try_from(entry.quote.as_str())
            .map_err(|_| long("quote", &entry.quote))?,
        kind,
        price_scale: entry.price_scale,
        qty_scale: entry.qty_scale,
        tick: step("tick", &entry.tick, entry.price_scale)?,
        lot: step("lot", &entry.lot, entry.qty_scale)?,
        depth: (entry.depth > 0).then_some(entry.depth),
    })
}

/// The journal's sync interval in nanoseconds.
#[must_use]
pub const fn sync_ns(keys: &JournalKeys) -> u64 {
    keys.sync_seconds * SECONDS
}

#[cfg(test)]
mod tests;
