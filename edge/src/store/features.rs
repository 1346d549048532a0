//! `features.redb`: the whole table of features over time, by instrument and version.
//!
//! A vector is every feature of one instrument at one pulse. Vectors collect in one open block an
//! instrument; a block is packed column by column and is one row of the database, under
//! (instrument, version, time of its first vector). A version is the fingerprint of the schema with
//! the names of its columns: a build that computes other features writes under another one, and
//! what earlier builds wrote stays readable under the names that it had.
//!
//! **Three steps, for the sake of the card.** What comes is buffered and committed at
//! [`COMMIT_VECTORS`] vectors or at an age of [`COMMIT_AGE`]: readers see it. Such a commit writes
//! nothing to the device: a durable one costs some 200 KB of redb's own pages whatever it holds,
//! which every second is 17 GB a day. A durable commit follows every [`SYNC_NS`] and at the end; it
//! writes each block once, as large as it will ever be. A kill or a power cut costs what came since, and never a block that
//! was made durable. The loss is bearable because features follow from the journal, which is synced
//! every few seconds.
//!
//! **Bounds.** The blocks' pages together stay below `max_mib`: the oldest blocks go first, whatever
//! their version, and a version without blocks goes with them. A redb file does not shrink, but
//! what was freed is used again.
//!
//! **What this does not do.** It computes no feature, and a damaged file is not rebuilt: it is set
//! aside, and a new one begins.

mod block;
mod writer;

pub use writer::{FeatureHandle, FeatureStats, QUEUE_VECTORS, spawn};

use super::probe::{open_or_set_aside, reopen_database};
use super::{OpenReport, Probe, StoreError, begin, database_path, store_io};
use block::{Block, MAX_VECTORS, pack, unpack};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tickerml_shared::features;
use tickerml_shared::schema::{self, SchemaId};
use tickerml_shared::time::SECONDS;

/// Name of the file in the data folder.
pub const FILE: &str = "features.redb";
/// Vectors of all instruments together that are committed at the latest.
pub const COMMIT_VECTORS: usize = 100;
/// Age at which fewer are.
pub const COMMIT_AGE: Duration = Duration::from_secs(1);
/// Event time between durable commits. Each costs the same beside its blocks, and makes them end: at
/// ten seconds the fixed part alone would be 1.7 GB a day.
pub const SYNC_NS: u64 = 120 * SECONDS;
/// A block is closed at this size: redb keeps a row of up to 16 KiB in a page of 16 KiB, and one
/// byte more in a page of 32.
const BLOCK_BYTES: usize = 15_000;
/// What redb keeps beside a row in its page.
const ROW_BYTES: usize = 64;
const PAGE_BYTES: usize = 4_096;
/// Blocks deleted in one commit, so that none takes long.
const MAX_DELETIONS: usize = 64;
/// Instruments that the file knows, over all its life.
const MAX_INSTRUMENTS: u16 = 4_096;

/// (instrument, version, time of the first vector in unix nanoseconds).
type Key = (u16, u32, u64);
const BLOCKS: TableDefinition<'_, Key, &'static [u8]> = TableDefinition::new("blocks");
/// Name of the instrument by its number.
const INSTRUMENTS: TableDefinition<'_, u16, &'static str> = TableDefinition::new("instruments");
/// [`Version`] by its number.
const VERSIONS: TableDefinition<'_, u32, &'static [u8]> = TableDefinition::new("versions");
/// (bytes of pages, vectors) of an instrument and version.
const SERIES: TableDefinition<'_, (u16, u32), (u64, u64)> = TableDefinition::new("series");

/// A version of the table of features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The fingerprint of the schema.
    pub schema_id: SchemaId,
    /// The names of the columns, in their order.
    pub columns: Vec<String>,
}

impl Version {
    /// That of this build.
    #[must_use]
    pub fn present() -> Self {
        Self {
            schema_id: schema::schema_id(),
            columns: features::features().map(|f| f.to_string()).collect(),
        }
    }
}

/// What the file holds of one instrument in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// `venue:symbol`.
    pub instrument: String,
    /// The fingerprint of its schema.
    pub schema_id: SchemaId,
    /// Vectors.
    pub vectors: u64,
    /// Bytes of their pages.
    pub bytes: u64,
    /// Time of the first vector, unix nanoseconds.
    pub first_ns: u64,
}

/// A vector on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector<'a> {
    /// Its instrument, as [`FeatureStore::instrument`] numbered it.
    pub instrument: u16,
    /// Unix nanoseconds.
    pub at_ns: u64,
    /// One value for each column; NaN is unknown.
    pub values: &'a [f32],
}

/// What a commit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// Bytes of the blocks that were made durable.
    pub bytes: u64,
    /// Blocks deleted to stay within the bound.
    pub deleted: u64,
}

/// The block of an instrument that still grows.
#[derive(Debug, Default)]
struct Open {
    key_ns: u64,
    block: Block,
    /// Vectors of it that the database has, and the pages that they take.
    committed: usize,
    pages: u64,
}

/// The open file. `None` after a device error, until it is opened again.
type Shared = Arc<Mutex<Option<Arc<Database>>>>;

/// The store of features.
#[derive(Debug)]
pub struct FeatureStore {
    shared: Shared,
    path: PathBuf,
    version: u32,
    columns: usize,
    max_bytes: u64,
    open: BTreeMap<u16, Open>,
    /// Bytes of blocks closed since the newest durable commit.
    unsynced: u64,
    oldest_ns: Option<u64>,
}

impl FeatureStore {
    /// Opens `<dir>/features.redb`, or makes it, for vectors of this version. A damaged file is set
    /// aside, and the report says so.
    ///
    /// # Errors
    /// As [`super::State::open`].
    pub fn open(
        dir: &Path,
        now_ns: u64,
        probe: &Probe,
        version: &Version,
        max_bytes: u64,
    ) -> Result<(Self, OpenReport), StoreError> {
        let path = database_path(dir, FILE)?;
        let (db, report) = open_or_set_aside(&path, now_ns, probe, make_tables)?;
        Ok((Self::over(db, path, version, max_bytes)?, report))
    }

    /// Over a device of a test's own.
    #[cfg(test)]
    pub(super) fn with_database(
        db: Database,
        version: &Version,
        max_bytes: u64,
    ) -> Result<Self, StoreError> {
        let transaction = begin(&db)?;
        make_tables(&transaction)?;
        transaction.commit()?;
        Self::over(
            db,
            PathBuf::from("/nonexistent/features.redb"),
            version,
            max_bytes,
        )
    }

    fn over(
        db: Database,
        path: PathBuf,
        version: &Version,
        max_bytes: u64,
    ) -> Result<Self, StoreError> {
        let number = register(&db, version)?;
        let oldest_ns = oldest(&db)?.map(|(_, _, at)| at);
        Ok(Self {
            shared: Arc::new(Mutex::new(Some(Arc::new(db)))),
            path,
            version: number,
            columns: version.columns.len(),
            max_bytes,
            open: BTreeMap::new(),
            unsynced: 0,
            oldest_ns,
        })
    }

    /// The number of an instrument, which the file keeps for good.
    ///
    /// # Errors
    /// `TooLarge` when it has had too many; `Io` or `Damaged`.
    pub fn instrument(&mut self, name: &str) -> Result<u16, StoreError> {
        self.with(|db, _| {
            let known = db.begin_read()?.open_table(INSTRUMENTS)?;
            let mut next = 0;
            for row in known.iter()? {
                let (number, known) = row?;
                if known.value() == name {
                    return Ok(number.value());
                }
                next = number.value() + 1;
            }
            if next >= MAX_INSTRUMENTS {
                return Err(StoreError::TooLarge {
                    bytes: usize::from(next) + 1,
                    limit: MAX_INSTRUMENTS.into(),
                });
            }
            let transaction = begin(db)?;
            transaction.open_table(INSTRUMENTS)?.insert(next, name)?;
            transaction.commit()?;
            Ok(next)
        })
    }

    /// Buffers a vector. Nothing of it is in the database before a commit. Gives how many vectors
    /// had to be thrown away for it: those of a full block that could not be written.
    pub fn push(&mut self, vector: &Vector<'_>) -> u64 {
        debug_assert_eq!(vector.values.len(), self.columns);
        let open = self.open.entry(vector.instrument).or_default();
        let mut lost = 0;
        if open.block.times.len() >= MAX_VECTORS {
            lost = (open.block.times.len() - open.committed) as u64;
            *open = Open::default();
        }
        if open.block.times.is_empty() {
            open.key_ns = vector.at_ns;
        }
        open.block.times.push(vector.at_ns);
        open.block.values.extend_from_slice(vector.values);
        lost
    }

    /// Puts what is buffered into the database, and deletes what is beyond the bound. A durable
    /// commit is on the device when this returns, with all that was committed before it, and closes
    /// every block.
    ///
    /// # Errors
    /// `Io` or `Damaged`. Then what was buffered is still buffered, what was committed since the
    /// last durable commit may be lost, and the next call opens the file again.
    pub fn commit(&mut self, durable: bool) -> Result<Committed, StoreError> {
        let (version, columns, max_bytes) = (self.version, self.columns, self.max_bytes);
        let mut done = Committed::default();
        let (growth, oldest_ns) = self.with(|db, open| {
            let mut transaction = db.begin_write()?;
            if durable {
                transaction.set_durability(Durability::Immediate)?;
                transaction.set_quick_repair(true);
            } else {
                transaction.set_durability(Durability::None)?;
            }
            let (mut growth, mut growing) = (Vec::new(), Vec::new());
            for (instrument, open) in open {
                let key = (*instrument, version, open.key_ns);
                if open.block.times.len() > open.committed {
                    let stored = store(&transaction, key, open, columns)?;
                    growth.push((*instrument, stored));
                    growing.push((*instrument, version, stored.0));
                } else if open.committed > 0 {
                    growing.push(key);
                }
            }
            done.deleted = retain(&transaction, &growing, version, max_bytes)?;
            transaction.commit()?;
            Ok((growth, if done.deleted > 0 { oldest(db)? } else { None }))
        })?;
        for (instrument, (key_ns, pages, bytes)) in growth {
            let Some(open) = self.open.get_mut(&instrument) else {
                continue;
            };
            (open.key_ns, open.pages) = (key_ns, pages);
            open.committed = open.block.times.len();
            self.oldest_ns = Some(self.oldest_ns.map_or(key_ns, |oldest| oldest.min(key_ns)));
            if bytes >= BLOCK_BYTES || open.committed >= MAX_VECTORS {
                self.unsynced += pages;
                *open = Open::default();
            }
        }
        if let Some((_, _, at)) = oldest_ns {
            self.oldest_ns = Some(at);
        }
        if durable {
            done.bytes = std::mem::take(&mut self.unsynced)
                + self.open.values().map(|o| o.pages).sum::<u64>();
            self.open.clear();
        }
        Ok(done)
    }

    /// Time of the oldest vector, in unix nanoseconds.
    #[must_use]
    pub const fn oldest_ns(&self) -> Option<u64> {
        self.oldest_ns
    }

    /// For reading what was committed, from any thread.
    #[must_use]
    pub fn reader(&self) -> FeatureReader {
        FeatureReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Closes the file, as soon as nobody reads it.
    fn close(&mut self) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Goes on with another file; who reads this one reads that one then.
    fn replace(&mut self, other: Self) {
        let db = other
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let shared = Arc::clone(&self.shared);
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = db;
        *self = Self { shared, ..other };
    }

    /// Works on the open database. After a device error it is closed, and the blocks count as not
    /// committed: the next durable commit writes them whole.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&Database, &BTreeMap<u16, Open>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let db = {
            let mut held = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            match &*held {
                Some(db) => Arc::clone(db),
                None => Arc::clone(held.insert(Arc::new(reopen_database(&self.path)?))),
            }
        };
        let result = work(&db, &self.open);
        if matches!(result, Err(StoreError::Io { .. } | StoreError::Damaged(_))) {
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.unsynced = 0;
            for open in self.open.values_mut() {
                (open.committed, open.pages) = (0, 0);
            }
        }
        result
    }
}

fn make_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(BLOCKS)?;
    transaction.open_table(INSTRUMENTS)?;
    transaction.open_table(VERSIONS)?;
    transaction.open_table(SERIES)?;
    Ok(())
}

/// The number of this version in the file, a new one if it is not there.
fn register(db: &Database, version: &Version) -> Result<u32, StoreError> {
    let mut next = 0;
    for row in db.begin_read()?.open_table(VERSIONS)?.iter()? {
        let (number, bytes) = row?;
        if decode_version(bytes.value())? == *version {
            return Ok(number.value());
        }
        next = number.value() + 1;
    }
    let bytes = postcard::to_allocvec(version)
        .map_err(|e| StoreError::Damaged(format!("a version cannot be written: {e}")))?;
    let transaction = begin(db)?;
    transaction
        .open_table(VERSIONS)?
        .insert(next, bytes.as_slice())?;
    transaction.commit()?;
    Ok(next)
}

fn decode_version(bytes: &[u8]) -> Result<Version, StoreError> {
    postcard::from_bytes(bytes)
        .map_err(|e| StoreError::Damaged(format!("the names of a version are unreadable: {e}")))
}

/// A key as the bytes that its checksum covers.
fn place((instrument, version, at): Key) -> [u8; 14] {
    let mut place = [0; 14];
    place[..2].copy_from_slice(&instrument.to_le_bytes());
    place[2..6].copy_from_slice(&version.to_le_bytes());
    place[6..].copy_from_slice(&at.to_le_bytes());
    place
}

/// The pages that a row takes: a power of two.
fn pages(bytes: usize) -> u64 {
    (bytes + ROW_BYTES).next_power_of_two().max(PAGE_BYTES) as u64
}

/// Writes an open block under its key. Gives the time in that key, its pages and its bytes.
fn store(
    transaction: &WriteTransaction,
    (instrument, version, mut at): Key,
    open: &Open,
    columns: usize,
) -> Result<(u64, u64, usize), StoreError> {
    let mut blocks = transaction.open_table(BLOCKS)?;
    // A clock that was set back must not replace what was written before.
    while open.committed == 0 && blocks.get((instrument, version, at))?.is_some() {
        at += 1;
    }
    let key = (instrument, version, at);
    let bytes = pack(&open.block, columns, &place(key)).map_err(|e| store_io("packing", e))?;
    blocks.insert(key, bytes.as_slice())?;
    let mut series = transaction.open_table(SERIES)?;
    let known = series.get((instrument, version))?.map(|row| row.value());
    let (all_pages, vectors) = known.unwrap_or_default();
    let taken = pages(bytes.len());
    let new = (open.block.times.len() - open.committed) as u64;
    let row = (all_pages.saturating_sub(open.pages) + taken, vectors + new);
    series.insert((instrument, version), row)?;
    Ok((at, taken, bytes.len()))
}

/// The oldest block of all.
fn oldest(db: &Database) -> Result<Option<Key>, StoreError> {
    let transaction = db.begin_read()?;
    oldest_in(
        &transaction.open_table(SERIES)?,
        &transaction.open_table(BLOCKS)?,
    )
}

fn oldest_in(
    series: &impl ReadableTable<(u16, u32), (u64, u64)>,
    blocks: &impl ReadableTable<Key, &'static [u8]>,
) -> Result<Option<Key>, StoreError> {
    let mut found: Option<Key> = None;
    for row in series.iter()? {
        let (instrument, version) = row?.0.value();
        let range = (instrument, version, 0)..=(instrument, version, u64::MAX);
        if let Some(first) = blocks.range(range)?.next() {
            let key = first?.0.value();
            if found.is_none_or(|(_, _, at)| key.2 < at) {
                found = Some(key);
            }
        }
    }
    Ok(found)
}

/// Deletes the oldest blocks while there are too many bytes; never one that still grows.
fn retain(
    transaction: &WriteTransaction,
    growing: &[Key],
    present: u32,
    max_bytes: u64,
) -> Result<u64, StoreError> {
    let mut series = transaction.open_table(SERIES)?;
    let mut total = 0;
    for row in series.iter()? {
        total += row?.1.value().0;
    }
    let mut deleted = 0;
    if total <= max_bytes {
        return Ok(0);
    }
    let mut blocks = transaction.open_table(BLOCKS)?;
    for _ in 0..MAX_DELETIONS {
        let Some(key) = oldest_in(&series, &blocks)? else {
            break;
        };
        let (instrument, version, _) = key;
        if growing.contains(&key) {
            break;
        }
        let Some((freed, vectors)) = blocks.remove(key)?.map(|row| {
            let bytes = row.value();
            (pages(bytes.len()), block::vectors(bytes))
        }) else {
            break;
        };
        let known = series.get((instrument, version))?.map(|row| row.value());
        let (all_pages, all_vectors) = known.unwrap_or_default();
        let left = all_pages.saturating_sub(freed);
        if left == 0 {
            series.remove((instrument, version))?;
        } else {
            let row = (left, all_vectors.saturating_sub(vectors));
            series.insert((instrument, version), row)?;
        }
        deleted += 1;
        total = total.saturating_sub(freed);
        if total <= max_bytes {
            break;
        }
    }
    forget(transaction, &series, present)?;
    Ok(deleted)
}

/// Deletes the versions that no series has, but for the present one.
fn forget(
    transaction: &WriteTransaction,
    series: &impl ReadableTable<(u16, u32), (u64, u64)>,
    present: u32,
) -> Result<(), StoreError> {
    let mut used = vec![present];
    for row in series.iter()? {
        used.push(row?.0.value().1);
    }
    let mut versions = transaction.open_table(VERSIONS)?;
    versions.retain(|number, _| used.contains(&number))?;
    Ok(())
}

/// Opens a file that is not this process's own, to read it, and changes nothing of what it holds.
///
/// # Errors
/// `InUse` by an edge that runs, `Damaged`, or `Io`.
pub fn open_to_read(path: &Path, probe: &Probe) -> Result<FeatureReader, StoreError> {
    // redb would make a file that is missing.
    std::fs::File::open(path).map_err(|e| super::path_io(path, e))?;
    let db = super::probe::open_probed(path, probe)?;
    Ok(FeatureReader {
        shared: Arc::new(Mutex::new(Some(Arc::new(db)))),
    })
}

/// Reads what was committed.
#[derive(Debug, Clone)]
pub struct FeatureReader {
    shared: Shared,
}

impl FeatureReader {
    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let held = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or(StoreError::Gone)
    }

    /// The versions that the file has, the newest last.
    ///
    /// # Errors
    /// `Io` or `Damaged`; `Gone` while the writer has closed the file after an error.
    pub fn versions(&self) -> Result<Vec<Version>, StoreError> {
        let table = self.database()?.begin_read()?.open_table(VERSIONS)?;
        let mut versions = Vec::new();
        for row in table.iter()? {
            versions.push(decode_version(row?.1.value())?);
        }
        Ok(versions)
    }

    /// What there is of each instrument in each version.
    ///
    /// # Errors
    /// As [`FeatureReader::versions`].
    pub fn series(&self) -> Result<Vec<Series>, StoreError> {
        let transaction = self.database()?.begin_read()?;
        let (versions, names) = (
            transaction.open_table(VERSIONS)?,
            transaction.open_table(INSTRUMENTS)?,
        );
        let blocks = transaction.open_table(BLOCKS)?;
        let mut list = Vec::new();
        for row in transaction.open_table(SERIES)?.iter()? {
            let (key, value) = row?;
            let ((instrument, version), (bytes, vectors)) = (key.value(), value.value());
            let (Some(name), Some(layout)) = (names.get(instrument)?, versions.get(version)?)
            else {
                continue;
            };
            let range = (instrument, version, 0)..=(instrument, version, u64::MAX);
            let first = blocks.range(range)?.next().transpose()?;
            list.push(Series {
                instrument: name.value().to_owned(),
                schema_id: decode_version(layout.value())?.schema_id,
                vectors,
                bytes,
                first_ns: first.map_or(0, |(key, _)| key.value().2),
            });
        }
        Ok(list)
    }

    /// Gives the vectors of one instrument in one version whose time lies in `from_ns..to_ns`, in
    /// the order of their blocks, which is that of time unless the clock was set back. Returns how
    /// many; none for an instrument or version that the file does not have.
    ///
    /// # Errors
    /// `Damaged` at a damaged block, after what precedes it; the error of `each`; otherwise as
    /// [`FeatureReader::versions`].
    pub fn read<E: From<StoreError>>(
        &self,
        instrument: &str,
        schema_id: SchemaId,
        from_ns: u64,
        to_ns: u64,
        mut each: impl FnMut(u64, &[f32]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut count = 0;
        let Some((blocks, instrument, version, columns)) = self.find(instrument, schema_id)? else {
            return Ok(0);
        };
        // The block before may reach into the range; it covers the time of a sync at most, and a
        // clock set back is the only reason why others could.
        let lowest = (instrument, version, 0);
        let start = {
            let mut before = blocks
                .range(lowest..(instrument, version, from_ns))
                .map_err(StoreError::from)?;
            match before.next_back() {
                Some(row) => row.map_err(StoreError::from)?.0.value(),
                None => lowest,
            }
        };
        let range = start..(instrument, version, to_ns);
        if range.is_empty() {
            return Ok(0);
        }
        for row in blocks.range(range).map_err(StoreError::from)? {
            let (key, bytes) = row.map_err(StoreError::from)?;
            let block = unpack(bytes.value(), columns, &place(key.value())).ok_or_else(|| {
                let (_, _, at) = key.value();
                StoreError::Damaged(format!("the block of features at {at} is damaged"))
            })?;
            for (at, values) in block.rows(columns) {
                if (from_ns..to_ns).contains(&at) {
                    each(at, values)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// The blocks with the numbers of an instrument and a version, and the version's columns.
    #[expect(clippy::type_complexity, reason = "redb's table and three numbers")]
    fn find(
        &self,
        instrument: &str,
        schema_id: SchemaId,
    ) -> Result<Option<(redb::ReadOnlyTable<Key, &'static [u8]>, u16, u32, usize)>, StoreError>
    {
        let transaction = self.database()?.begin_read()?;
        let mut number = None;
        for row in transaction.open_table(INSTRUMENTS)?.iter()? {
            let (key, name) = row?;
            if name.value() == instrument {
                number = Some(key.value());
            }
        }
        let Some(number) = number else {
            return Ok(None);
        };
        for row in transaction.open_table(VERSIONS)?.iter()? {
            let (key, bytes) = row?;
            let version = decode_version(bytes.value())?;
            if version.schema_id == schema_id {
                let blocks = transaction.open_table(BLOCKS)?;
                return Ok(Some((blocks, number, key.value(), version.columns.len())));
            }
        }
        Ok(None)
    }
}

/// What the probing child reads of this file: the names, and both ends of each series. All of it
/// would take minutes on a card; a damaged block is found when it is read, and costs itself only.
pub(super) fn check_features(db: &Database) -> Result<(), StoreError> {
    let transaction = db.begin_read()?;
    let tables = (
        transaction.open_table(SERIES),
        transaction.open_table(BLOCKS),
        transaction.open_table(VERSIONS),
        transaction.open_table(INSTRUMENTS),
    );
    let (Ok(series), Ok(blocks), Ok(versions), Ok(names)) = tables else {
        // A cut while the file was made leaves it without tables.
        return Ok(());
    };
    for row in versions.iter()? {
        decode_version(row?.1.value())?;
    }
    for row in names.iter()? {
        row?;
    }
    for row in series.iter()? {
        let (instrument, version) = row?.0.value();
        let mut rows = blocks.range((instrument, version, 0)..=(instrument, version, u64::MAX))?;
        for end in [rows.next(), rows.next_back()] {
            end.transpose()?;
        }
    }
    Ok(())
}
