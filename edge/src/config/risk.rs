//! `[risk]`: every limit of the engine by its name, and the sectors.

use serde::Deserialize;
use tickerml_shared::instrument::{ASSET_BYTES, Instrument, MAX_INSTRUMENTS};
use tickerml_shared::num::{CASH_SCALE, parse};
use tickerml_shared::risk::limits::{
    KEYS, Key, LimitError, Limits, MAX_SECTORS, Method, OTHER, SECTOR_BYTES, Sector, Sectors, Unit,
};
use toml::{Table, Value};

use super::paper::KeyError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSector {
    cap_bps: i64,
    assets: Vec<String>,
}

/// Checks `[risk]`: exactly the limits that there are, each within its range.
pub(super) fn resolve(table: &Table, instruments: &[Instrument]) -> Result<Limits, KeyError> {
    let fail = |key: &str, cause: String| (format!("risk.{key}"), cause);
    let mut limits = Limits::shipped();
    for name in table.keys() {
        let known = matches!(name.as_str(), "method" | "sectors")
            || KEYS.iter().any(|key| key.name == name);
        if !known {
            return Err(fail(name, "is no limit; remove it".to_owned()));
        }
    }
    let missing = |name: &str| {
        fail(
            name,
            "is missing; write it as in the shipped config/edge.toml".to_owned(),
        )
    };
    for key in KEYS {
        let value = table.get(key.name).ok_or_else(|| missing(key.name))?;
        let value = amount(key, value).map_err(|cause| fail(key.name, cause))?;
        limits
            .set(key.name, value)
            .map_err(|error| fail(key.name, error.to_string()))?;
    }
    let method = table.get("method").ok_or_else(|| missing("method"))?;
    limits.method = method.as_str().and_then(Method::from_name).ok_or_else(|| {
        let names = Method::ALL.map(Method::name).join(", ");
        let method = shown(method);
        fail("method", format!("{method} is unknown; write {names}"))
    })?;
    let raw = table.get("sectors").ok_or_else(|| missing("sectors"))?;
    limits.sectors = sectors(raw).map_err(|(key, cause)| fail(&key, cause))?;
    limits
        .check(instruments)
        .map_err(|error| wrong(&error, &limits.sectors, instruments))?;
    Ok(limits)
}

/// Which key a mistake is about, and what is wrong with it.
fn wrong(error: &LimitError, sectors: &Sectors, instruments: &[Instrument]) -> KeyError {
    let text = error.to_string();
    let (key, cause) = match error {
        LimitError::Range { key, .. } => {
            // The key stands before the cause already.
            let cause = text.strip_prefix(key.name).unwrap_or(&text).trim_start();
            (key.name.to_owned(), cause.to_owned())
        }
        LimitError::Order { lower, .. } => ((*lower).to_owned(), text),
        LimitError::NoCap { sector } if sector == OTHER => {
            let homeless = instruments.iter().find(|i| sectors.of(&i.base).is_none());
            let base = homeless.map_or("what remains", |instrument| instrument.base.as_str());
            let cause = format!(
                "is missing, and {base} belongs to no sector; write {OTHER} = {{ cap_bps = 4000, \
                 assets = [] }}, or name {base} in a sector that there is"
            );
            (format!("sectors.{OTHER}"), cause)
        }
        LimitError::NoCap { sector }
        | LimitError::Cap { sector, .. }
        | LimitError::SectorTwice { sector } => (format!("sectors.{sector}"), text),
        LimitError::AssetTwice { .. } | LimitError::Unknown => ("sectors".to_owned(), text),
    };
    (format!("risk.{key}"), cause)
}

/// A value as the reader of the message may have written it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Boolean(value) => value.to_string(),
        other => format!("this {}", other.type_str()),
    }
}

fn amount(key: &Key, value: &Value) -> Result<i64, String> {
    match (key.unit, value) {
        (Unit::Money, Value::String(text)) => {
            parse(text, CASH_SCALE).map_err(|error| format!("{text:?} {error}; write e.g. \"10\""))
        }
        (Unit::Money, other) => Err(format!(
            "{} is no amount in quotes; write e.g. \"10\"",
            shown(other)
        )),
        (_, Value::Integer(value)) => Ok(*value),
        (_, other) => Err(format!(
            "{} is no whole number of {}; write {} to {}",
            shown(other),
            key.unit.name(),
            key.low,
            key.high
        )),
    }
}

fn sectors(raw: &Value) -> Result<Sectors, KeyError> {
    let mut sectors = Sectors::default();
    let table = raw.as_table().ok_or_else(|| {
        let cause = "must be a table of name = { cap_bps = 5000, assets = [\"BTC\"] }";
        ("sectors".to_owned(), cause.to_owned())
    })?;
    for (name, value) in table {
        let key = format!("sectors.{name}");
        let long = |what: &str| {
            let cause = format!(
                "{what:?} is too long, or one too many: a sector's name has at most {SECTOR_BYTES} \
                 letters, an asset's {ASSET_BYTES}, and there are at most {MAX_SECTORS} sectors of \
                 {MAX_INSTRUMENTS} assets together"
            );
            (key.clone(), cause)
        };
        let sector: RawSector = value.clone().try_into().map_err(|error: toml::de::Error| {
            let cause = error.message().replace('\n', " ");
            let remedy = "write { cap_bps = 5000, assets = [\"BTC\"] }";
            (key.clone(), format!("{cause}; {remedy}"))
        })?;
        let named = heapless::String::try_from(name.as_str()).map_err(|_| long(name))?;
        for asset in &sector.assets {
            let base = heapless::String::try_from(asset.as_str()).map_err(|_| long(asset))?;
            let pushed = sectors.assets.push((base, named.clone()));
            pushed.map_err(|_| long(asset))?;
        }
        let pushed = sectors.caps.push(Sector {
            name: named,
            cap_bps: sector.cap_bps,
        });
        pushed.map_err(|_| long(name))?;
    }
    Ok(sectors)
}
