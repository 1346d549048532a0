//! `[risk]`: every limit of the engine by its name, and the sectors.

use serde::Deserialize;
use tickerml_shared::instrument::Instrument;
use tickerml_shared::num::{CASH_SCALE, parse};
use tickerml_shared::risk::limits::{KEYS, Key, Limits, Method, Sector, Sectors, Unit};
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
            "is missing: it must be there as in the shipped config/edge.toml".to_owned(),
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
        fail("method", format!("{method:?} is unknown; write {names}"))
    })?;
    let raw = table.get("sectors").ok_or_else(|| missing("sectors"))?;
    limits.sectors = sectors(raw).map_err(|(key, cause)| fail(&key, cause))?;
    limits
        .check(instruments)
        .map_err(|error| ("risk".to_owned(), error.to_string()))?;
    Ok(limits)
}

fn amount(key: &Key, value: &Value) -> Result<i64, String> {
    match (key.unit, value) {
        (Unit::Money, Value::String(text)) => {
            parse(text, CASH_SCALE).map_err(|error| format!("{text:?} {error}; write e.g. \"10\""))
        }
        (Unit::Money, other) => Err(format!("{other:?} is no amount; write e.g. \"10\"")),
        (_, Value::Integer(value)) => Ok(*value),
        (_, other) => Err(format!(
            "{other:?} is no whole number of {}; write {} to {}",
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
        let long = |what: &str| (key.clone(), format!("{what} is too long, or too many"));
        let sector: RawSector = value
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| (key.clone(), error.message().to_owned()))?;
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
