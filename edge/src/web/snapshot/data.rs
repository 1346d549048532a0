//! What the page shows of the data itself: its quality, and how far features have drifted.

use serde::Serialize;

use super::Market;

/// The quality of one instrument's data.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Whose.
    pub market: Market,
    /// Share of clean events over the last day, in parts per million; `None` before the first event.
    pub score_ppm: Option<u32>,
    /// Events of the last day.
    pub events: u64,
    /// Those of them that were flawed.
    pub flawed: u64,
    /// Nothing moves its book although something should.
    pub stale: bool,
    /// Nobody trades although somebody should.
    pub halted: bool,
    /// What was found since the start, most frequent first.
    pub findings: Vec<Finding>,
}

/// What was found of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Finding {
    /// Its name.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// The newest, unix nanoseconds.
    pub last_ns: u64,
}

/// How far one instrument's features are from those that a model learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Drift {
    /// Whose.
    pub market: Market,
    /// `unknown`, `stable`, `watch` or `drifted`.
    pub level: String,
    /// Since when, unix nanoseconds.
    pub since_ns: Option<u64>,
    /// Pulses compared.
    pub updates: u64,
    /// Features not judged, stable, to be watched, and drifted.
    pub counts: [u32; 4],
    /// Those that are not stable, the drifted ones first.
    pub features: Vec<DriftedFeature>,
}

/// A feature that is not stable.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DriftedFeature {
    /// Its name.
    pub name: String,
    /// `watch` or `drifted`.
    pub level: String,
    /// What tells so: `missing`, `constant`, `mean`, `psi` or `ks`.
    pub why: String,
    /// Its mean, in the reference's standard deviations from the reference's mean.
    pub deviations: Option<f64>,
    /// The population stability index.
    pub psi: Option<f64>,
}
