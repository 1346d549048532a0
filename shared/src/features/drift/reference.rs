//! How features were distributed where the model learned.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::features::{SELECTED, TABLE_LEN, Table, Vector};
use crate::schema::{SchemaId, schema_id};

/// Bins between the quantiles.
pub const BINS: usize = 10;
/// Values kept of each feature for its quantiles, from the whole of what was seen, evenly.
pub const SAMPLES_MAX: usize = 8_192;
/// Known values without which a feature has no statistics.
pub const VALUES_LEAST: u64 = 100;
/// A reference file begins so,
const MAGIC: [u8; 8] = *b"TMLDRIFT";
/// and goes on with its version,
const VERSION: u16 = 1;
/// the schema, and the checksum of the rest.
const HEAD: usize = MAGIC.len() + 2 + 32 + 4;
/// A deviation is not less than this share of the mean: what `f32` can tell apart.
const DEVIATION_LEAST: f64 = 1e-6;
/// How far the shares of all bins may be from one in a file.
const SHARES_SLACK: f64 = 1e-6;

/// How one feature was distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Known values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation.
    pub deviation: f64,
    /// The least of them.
    pub least: f32,
    /// The nine deciles, which separate the bins. A value equal to an edge is below it.
    pub edges: [f32; BINS - 1],
    /// The greatest value.
    pub greatest: f32,
    /// The share of values in each bin: a tenth, except where many values are equal.
    pub shares: [f64; BINS],
    /// The share of all updates in which it was not known.
    pub missing: f64,
    /// The longest run of equal values.
    pub longest_run: u64,
}

impl Statistics {
    /// The bin of a value.
    #[must_use]
    pub fn bin(&self, value: f32) -> usize {
        self.edges.partition_point(|edge| *edge < value)
    }

    /// How many standard deviations a value is from the mean. Where all values were equal, what `f32`
    /// can tell apart counts as the deviation.
    #[must_use]
    pub fn deviations(&self, value: f64) -> f64 {
        let least = (self.mean.abs() * DEVIATION_LEAST).max(f64::from(f32::MIN_POSITIVE));
        (value - self.mean) / self.deviation.max(least)
    }

    /// Not all values were equal.
    #[must_use]
    pub fn varies(&self) -> bool {
        self.least < self.greatest
    }

    fn is_sound(&self) -> bool {
        let total: f64 = self.shares.iter().sum();
        let finite = [self.mean, self.deviation, self.missing];
        self.count >= VALUES_LEAST
            && finite.iter().all(|value| value.is_finite())
            && self.deviation >= 0.0
            && (0.0..=1.0).contains(&self.missing)
            && self.least.is_finite()
            && self.greatest.is_finite()
            && self.least <= self.edges[0]
            && self.edges.is_sorted()
            && self.edges[BINS - 2] <= self.greatest
            && self.shares.iter().all(|share| (0.0..=1.0).contains(share))
            && (total - 1.0).abs() < SHARES_SLACK
    }
}

/// How the features of the table were distributed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    schema: SchemaId,
    /// By place in the table; `None` for a feature that was hardly known.
    features: Vec<Option<Statistics>>,
}

/// Why bytes are no reference for this build: cause and remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceError {
    /// They do not begin like one.
    Foreign,
    /// It is of another version.
    Version(u16),
    /// It was made from another table of features, that of this fingerprint.
    Schema(SchemaId),
    /// Its bytes are damaged.
    Damaged,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("no drift reference; name the file that training wrote"),
            Self::Version(version) => write!(
                f,
                "a drift reference of version {version}, this build reads {VERSION}: make it again"
            ),
            Self::Schema(schema) => write!(
                f,
                "a drift reference of schema {schema}, this build has {}: make it again with this build",
                schema_id()
            ),
            Self::Damaged => f.write_str("a damaged drift reference: copy or make it again"),
        }
    }
}

impl core::error::Error for ReferenceError {}

impl Reference {
    /// The table of features that it is about.
    #[must_use]
    pub const fn schema(&self) -> SchemaId {
        self.schema
    }

    /// How the feature at a place of the table was distributed, when that is known.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Statistics> {
        *self.features.get(place)?
    }

    /// As the bytes of a file.
    ///
    /// # Panics
    /// Never: it is plain data in memory.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(&self.features).expect("plain data in memory");
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.schema.0);
        bytes.extend(crc32fast::hash(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// From the bytes of a file.
    ///
    /// # Errors
    /// [`ReferenceError`] when they are none for this build.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReferenceError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(ReferenceError::Foreign)?;
        let (version, rest) = rest.split_first_chunk().ok_or(ReferenceError::Damaged)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Err(ReferenceError::Version(version));
        }
        let (schema, rest) = rest.split_first_chunk().ok_or(ReferenceError::Damaged)?;
        let schema = SchemaId(*schema);
        if schema != schema_id() {
            return Err(ReferenceError::Schema(schema));
        }
        let (sum, body) = rest.split_first_chunk().ok_or(ReferenceError::Damaged)?;
        if u32::from_le_bytes(*sum) != crc32fast::hash(body) {
            return Err(ReferenceError::Damaged);
        }
        let features: Vec<Option<Statistics>> =
            postcard::from_bytes(body).map_err(|_| ReferenceError::Damaged)?;
        let is_sound = features.iter().flatten().all(Statistics::is_sound);
        if features.len() != TABLE_LEN || !is_sound {
            return Err(ReferenceError::Damaged);
        }
        Ok(Self { schema, features })
    }
}

/// Makes a [`Reference`] of tables, one after another, in bounded memory: mean and deviation of all
/// values (Welford, *Note on a Method for Calculating Corrected Sums of Squares and Products*, 1962),
/// quantiles of every n-th one, where n doubles whenever [`SAMPLES_MAX`] are kept.
///
/// Give it what a [`super::Drift`] will be given: the steps that are not masked, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceBuilder {
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    count: u64,
    missing: u64,
    mean: f64,
    /// Sum of the squares of the distances from the mean.
    squares: f64,
    last: Option<f32>,
    run: u64,
    longest_run: u64,
    least: f32,
    greatest: f32,
    samples: Vec<f32>,
    /// Every so-many-th value is a sample.
    stride: u64,
}

impl Default for ReferenceBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ReferenceBuilder {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        let column = Column {
            count: 0,
            missing: 0,
            mean: 0.0,
            squares: 0.0,
            last: None,
            run: 0,
            longest_run: 0,
            least: f32::INFINITY,
            greatest: f32::NEG_INFINITY,
            samples: Vec::new(),
            stride: 1,
        };
        Self {
            columns: alloc::vec![column; TABLE_LEN],
        }
    }

    /// Takes the table of a step.
    pub fn push(&mut self, table: &Table) {
        for (place, column) in self.columns.iter_mut().enumerate() {
            column.push(table.get(place));
        }
    }

    /// Takes the selected part of a table, where there is no more; the other features get no
    /// statistics.
    pub fn push_selected(&mut self, vector: &Vector) {
        for (index, place) in SELECTED.into_iter().enumerate() {
            self.columns[place].push(vector.get(index));
        }
    }

    /// What was seen.
    #[must_use]
    pub fn finish(&self) -> Reference {
        Reference {
            schema: schema_id(),
            features: self.columns.iter().map(Column::finish).collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of steps")]
impl Column {
    fn push(&mut self, value: Option<f32>) {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            self.missing += 1;
            return;
        };
        self.run = if self.last == Some(value) {
            self.run + 1
        } else {
            1
        };
        self.last = Some(value);
        self.longest_run = self.longest_run.max(self.run);
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        if self.count.is_multiple_of(self.stride) {
            self.sample(value);
        }
        self.count += 1;
        let away = f64::from(value) - self.mean;
        self.mean += away / self.count as f64;
        self.squares += away * (f64::from(value) - self.mean);
    }

    fn sample(&mut self, value: f32) {
        if self.samples.len() == SAMPLES_MAX {
            let mut place = 0_usize;
            self.samples.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride *= 2;
        }
        if self.count.is_multiple_of(self.stride) {
            self.samples.push(value);
        }
    }

    fn finish(&self) -> Option<Statistics> {
        if self.count < VALUES_LEAST {
            return None;
        }
        let mut sorted = self.samples.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        // The value of which a tenth of the samples, rounded up, is not greater.
        let edge = |tenth: usize| sorted[(tenth * sorted.len()).div_ceil(BINS) - 1];
        let edges = core::array::from_fn(|bin| edge(bin + 1));
        let mut statistics = Statistics {
            count: self.count,
            mean: self.mean,
            deviation: libm::sqrt(self.squares.max(0.0) / (self.count - 1) as f64),
            least: self.least,
            edges,
            greatest: self.greatest,
            shares: [0.0; BINS],
            missing: self.missing as f64 / (self.count + self.missing) as f64,
            longest_run: self.longest_run,
        };
        let mut counts = [0_u32; BINS];
        for value in &sorted {
            counts[statistics.bin(*value)] += 1;
        }
        for (share, count) in statistics.shares.iter_mut().zip(counts) {
            *share = f64::from(count) / sorted.len() as f64;
        }
        Some(statistics)
    }
}
