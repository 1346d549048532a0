//! What the samples say of each feature: numbers for programs, a table for people.

use std::fmt::{self, Write as _};

use serde::Serialize;
use tickerml_shared::features::{SELECTED, feature};
use tickerml_shared::schema::schema_id;

use super::statistics::{self, BLOCKS_MIN, Coefficient, PAIRS_MIN};
use super::{HORIZONS_S, Samples};

/// All features, the best first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The table's fingerprint.
    pub schema_id: String,
    /// The instruments.
    pub instruments: Vec<String>,
    /// Between two samples of an instrument, in milliseconds.
    pub every_ms: u64,
    /// First and last sample, in nanoseconds since the epoch.
    pub span_ns: [u64; 2],
    /// Samples taken.
    pub samples: usize,
    /// Instants at which an instrument's book was not live.
    pub masked: u64,
    /// A checksum over the bits of every value sampled: two machines that agree have the same.
    pub values_crc32: String,
    /// What the features are sorted by.
    pub sorted_by: &'static str,
    /// The features, the largest first; those without a coefficient last.
    pub features: Vec<Scored>,
    /// What was wrong with the inputs, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}

/// A feature and how it did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Its place in the table.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: &'static str,
    /// Whether a model sees it.
    pub selected: bool,
    /// The share of samples at which it was known.
    pub known: f64,
    /// Rank correlation with itself one sample later.
    pub autocorrelation: Option<f64>,
    /// Mean change from one sample to the next of its rank between −1 and 1.
    pub turnover: Option<f64>,
    /// Its coefficients.
    pub horizons: Vec<Ic>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// An information coefficient.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ic {
    /// So many seconds ahead.
    pub seconds: u64,
    /// Samples with both a value and a return.
    pub pairs: usize,
    /// Rank correlation over all samples.
    pub ic: Option<f64>,
    /// Mean over the blocks of time.
    pub mean: Option<f64>,
    /// That mean over the blocks' standard deviation.
    pub ratio: Option<f64>,
    /// That mean over its standard error.
    pub t: Option<f64>,
    /// The blocks.
    pub blocks: usize,
}

/// Why a feature has no coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was known at no sample.
    Unknown,
    /// It had one value only.
    Constant,
    /// It was known with a return behind it too rarely.
    Few,
    /// The price did not move when it was known.
    Still,
}

impl Why {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "never known",
            Self::Constant => "constant",
            Self::Few => "too few samples",
            Self::Still => "no returns",
        }
    }
}

impl From<(u64, Coefficient)> for Ic {
    fn from((seconds, found): (u64, Coefficient)) -> Self {
        Self {
            seconds,
            pairs: found.pairs,
            ic: found.pooled,
            mean: found.mean,
            ratio: found.ratio,
            t: found.t,
            blocks: found.blocks,
        }
    }
}

fn checksum(samples: &Samples) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for value in samples.rows.iter().flat_map(|row| &row.values) {
        sum.update(&value.to_bits().to_le_bytes());
    }
    sum.finalize()
}

impl Report {
    /// What the samples say.
    #[must_use]
    pub fn new(samples: &Samples, troubles: Vec<String>) -> Self {
        let columns = samples.places.iter().enumerate();
        let mut features: Vec<_> = columns
            .map(|(column, place)| scored(samples, column, *place))
            .collect();
        let by = sort(&mut features);
        let times = || samples.rows.iter().map(|row| row.at.0);
        Self {
            schema_id: schema_id().to_string(),
            instruments: samples.instruments.clone(),
            every_ms: samples.every_ns / 1_000_000,
            span_ns: [times().min().unwrap_or(0), times().max().unwrap_or(0)],
            samples: samples.rows.len(),
            masked: samples.masked,
            values_crc32: format!("{:08x}", checksum(samples)),
            sorted_by: by,
            features,
            troubles,
        }
    }

    /// Whether any feature has a coefficient.
    #[must_use]
    pub fn says_something(&self) -> bool {
        self.features.iter().any(|one| one.why.is_none())
    }

    /// The table of the best `top` features (0: of all) and what stands below it.
    #[must_use]
    pub fn table(&self, top: usize) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_table(top, &mut text);
        text
    }

    fn write_table(&self, top: usize, text: &mut String) -> fmt::Result {
        let with_ic = self.features.iter().filter(|one| one.why.is_none());
        let shown: Vec<_> = match top {
            0 => self.features.iter().collect(),
            _ => with_ic.clone().take(top).collect(),
        };
        let width = |of: fn(&Scored) -> usize| shown.iter().map(|one| of(one)).max().unwrap_or(0);
        let (names, groups) = (
            width(|one| one.name.len()).max("feature".len()),
            width(|one| one.group.len()).max("group".len()),
        );
        write!(text, "{:names$} s {:groups$}", "feature", "group")?;
        for seconds in HORIZONS_S {
            write!(text, " {:>9} {:>6}", format!("IC {seconds} s"), "t")?;
        }
        writeln!(text, " {:>7} {:>6} {:>8}", "known", "lag 1", "turnover")?;
        for one in &shown {
            let mark = if one.selected { '*' } else { ' ' };
            write!(text, "{:names$} {mark} {:groups$}", one.name, one.group)?;
            for ic in &one.horizons {
                let (value, t) = (number(ic.ic, 4, true), number(ic.t, 1, true));
                write!(text, " {value:>9} {t:>6}")?;
            }
            let known = format!("{:.1}%", one.known * 100.0);
            let lag = number(one.autocorrelation, 3, false);
            let turnover = number(one.turnover, 3, false);
            write!(text, " {known:>7} {lag:>6} {turnover:>8}")?;
            match one.why {
                Some(why) => writeln!(text, "  {}", why.text())?,
                None => writeln!(text)?,
            }
        }
        if shown.len() < self.features.len() {
            let mut parts = match with_ic.count() - shown.len() {
                0 => Vec::new(),
                below => vec![format!("{below} below these")],
            };
            for why in [Why::Unknown, Why::Constant, Why::Few, Why::Still] {
                let count = self.features.iter().filter(|one| one.why == Some(why));
                match count.count() {
                    0 => {}
                    count => parts.push(format!("{count} {}", why.text())),
                }
            }
            writeln!(text, "not shown: {}; --top 0 shows all", parts.join(", "))?;
        }
        self.write_foot(text)
    }

    fn write_foot(&self, text: &mut String) -> fmt::Result {
        let (samples, every) = (self.samples, self.every_ms);
        let seconds = (self.span_ns[1] - self.span_ns[0]) / 1_000_000_000;
        writeln!(
            text,
            "{samples} samples over {seconds} s, one each {every} ms of each of {}; {} masked",
            self.instruments.join(", "),
            self.masked
        )?;
        let most = |slot: usize| {
            self.features
                .iter()
                .map(move |one| one.horizons[slot].blocks)
        };
        let blocks: Vec<_> = (0..HORIZONS_S.len())
            .map(|slot| most(slot).max().unwrap_or(0).to_string())
            .collect();
        let blocks = blocks.join(", ");
        writeln!(
            text,
            "IC: rank correlation with the next mid return. t: mean over blocks of time ({blocks} of them for {HORIZONS_S:?} s) \
             against its standard error, from {BLOCKS_MIN} blocks of {PAIRS_MIN} samples on. Sorted by {}. *: a model sees it.",
            self.sorted_by
        )?;
        let tried = self.features.len() * HORIZONS_S.len();
        writeln!(
            text,
            "{tried} coefficients were looked at: by chance alone some |t| reach {:.1}. docs/FEATURES.md says how to read this.",
            (2.0 * (tried.max(2) as f64).ln()).sqrt()
        )?;
        writeln!(text, "schema {}", self.schema_id)
    }
}

/// Sorts by the size of the t-statistic at 10 s; on a tape too short for that, of that at 1 s; and
/// where there is none at all, of the coefficient. A slow feature on a short tape has a large
/// coefficient by chance. Tells what it was.
fn sort(features: &mut [Scored]) -> &'static str {
    let any = |slot: usize| features.iter().any(|one| one.horizons[slot].t.is_some());
    let (slot, name) = match (any(1), any(0)) {
        (true, _) => (Some(1), "|t| at 10 s"),
        (false, true) => (Some(0), "|t| at 1 s"),
        (false, false) => (None, "|IC| at 10 s, or at 1 s"),
    };
    let key = |one: &Scored| {
        let t = slot.and_then(|slot: usize| one.horizons[slot].t);
        let ic = one.horizons[1].ic.or(one.horizons[0].ic);
        [t, ic].map(|value| value.map_or(-1.0, f64::abs))
    };
    features.sort_by(|a, b| {
        let ([t, ic], [other_t, other_ic]) = (key(b), key(a));
        let known = a.why.is_some().cmp(&b.why.is_some());
        known
            .then_with(|| t.total_cmp(&other_t))
            .then_with(|| ic.total_cmp(&other_ic))
    });
    name
}

fn scored(samples: &Samples, column: usize, place: usize) -> Scored {
    let character = statistics::character(samples, column);
    let horizons: Vec<Ic> = HORIZONS_S
        .into_iter()
        .enumerate()
        .map(|(slot, seconds)| (seconds, statistics::coefficient(samples, column, slot)).into())
        .collect();
    let silent = horizons.iter().all(|ic| ic.ic.is_none());
    let why = match character {
        _ if !silent => None,
        found if found.known == 0 => Some(Why::Unknown),
        found if !found.varies => Some(Why::Constant),
        _ if horizons.iter().all(|ic| ic.pairs < PAIRS_MIN) => Some(Why::Few),
        _ => Some(Why::Still),
    };
    let feature = feature(place);
    Scored {
        place,
        name: feature.to_string(),
        group: feature.group.name(),
        selected: SELECTED.contains(&place),
        known: character.known as f64 / samples.rows.len().max(1) as f64,
        autocorrelation: character.autocorrelation,
        turnover: character.turnover,
        horizons,
        why,
    }
}

/// A number, or a dash where there is none.
fn number(value: Option<f64>, decimals: usize, signed: bool) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if signed => format!("{value:+.decimals$}"),
        Some(value) => format!("{value:.decimals$}"),
    }
}
