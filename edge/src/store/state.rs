//! `state.redb`: durable trading events, two checkpoints, and named values.

use super::probe::{open_or_set_aside, reopen_database};
use super::{OpenReport, Probe, StoreError, begin, database_path};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::path::{Path, PathBuf};

/// Largest checkpoint, in bytes before compression.
pub const MAX_CHECKPOINT_BYTES: usize = 16 << 20;
/// Largest commit: the bytes of its rows together.
pub const MAX_COMMIT_BYTES: usize = 1 << 20;

pub(super) const TRADING: TableDefinition<'_, u64, &'static [u8]> = TableDefinition::new("trading");
pub(super) const CHECKPOINT: TableDefinition<'_, u64, &'static [u8]> =
    TableDefinition::new("checkpoint");
pub(super) const META: TableDefinition<'_, &'static str, &'static [u8]> =
    TableDefinition::new("meta");

/// Checkpoints kept.
const CHECKPOINTS: u64 = 2;
/// `raw_len u32, crc32 u32` in front of a checkpoint's compressed bytes.
const CHECKPOINT_HEAD: usize = 8;
const CHECKPOINT_LEVEL: i32 = 3;

/// What a start finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest checkpoint that is whole, with its sequence number.
    pub checkpoint: Option<(u64, Vec<u8>)>,
    /// The trading events after it, ascending.
    pub trading: Vec<(u64, Vec<u8>)>,
    /// Newer checkpoints that are damaged: alarm. If there is no whole checkpoint although this
    /// is not empty, the events before `trading` must come from the journal.
    pub damaged: Vec<u64>,
}

/// The trading state on disk.
#[derive(Debug)]
pub struct State {
    /// `None` after a device error, until it is opened again.
    db: Option<Database>,
    path: PathBuf,
}

impl State {
    /// Opens `<dir>/state.redb`, or makes it. A damaged file is set aside, and the report says
    /// so. Blocks, for [`super::PROBE_LIMIT`] at worst.
    ///
    /// # Errors
    /// `InUse`, `Unchecked` if the check could not be made, or `Io`.
    pub fn open(dir: &Path, now_ns: u64, probe: &Probe) -> Result<(Self, OpenReport), StoreError> {
        let path = database_path(dir, "state.redb")?;
        let (db, report) = open_or_set_aside(&path, now_ns, probe, make_tables)?;
        Ok((Self { db: Some(db), path }, report))
    }

    /// Over a device of a test's own.
    #[cfg(test)]
    pub(super) fn with_database(db: Database) -> Result<Self, StoreError> {
        let transaction = begin(&db)?;
        make_tables(&transaction)?;
        transaction.commit()?;
        Ok(Self {
            db: Some(db),
            path: PathBuf::from("/nonexistent/state.redb"),
        })
    }

    /// The newest whole checkpoint and the trading events after it.
    ///
    /// # Errors
    /// `Damaged` or `Io`.
    pub fn load(&mut self) -> Result<Loaded, StoreError> {
        self.with(|db| {
            let transaction = db.begin_read()?;
            let mut loaded = Loaded::default();
            for row in transaction.open_table(CHECKPOINT)?.iter()?.rev() {
                let (seq, stored) = row?;
                match decode_checkpoint(seq.value(), stored.value()) {
                    Some(bytes) => {
                        loaded.checkpoint = Some((seq.value(), bytes));
                        break;
                    }
                    None => loaded.damaged.push(seq.value()),
                }
            }
            let trading = transaction.open_table(TRADING)?;
            let after = loaded.checkpoint.as_ref().map(|(seq, _)| *seq);
            for row in trading.iter()? {
                let (seq, bytes) = row?;
                if after.is_none_or(|after| seq.value() > after) {
                    loaded.trading.push((seq.value(), bytes.value().to_vec()));
                }
            }
            Ok(loaded)
        })
    }

    /// Writes trading events; durable when this returns. An event that is there is replaced.
    ///
    /// # Errors
    /// `TooLarge`; `Io` or `Damaged`, and then nothing of this commit is there. The next call
    /// opens the file again.
    pub fn commit(&mut self, rows: &[(u64, &[u8])]) -> Result<(), StoreError> {
        check_commit(rows.iter().map(|(_, bytes)| bytes.len()).sum())?;
        self.commit_unchecked(rows)
    }

    /// Several commits in one, each of which was checked.
    pub(super) fn commit_unchecked(&mut self, rows: &[(u64, &[u8])]) -> Result<(), StoreError> {
        self.with(|db| {
            let transaction = begin(db)?;
            {
                let mut trading = transaction.open_table(TRADING)?;
                for (seq, bytes) in rows {
                    trading.insert(seq, bytes)?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Writes a checkpoint that holds all events up to and including `seq`, keeps the two newest,
    /// and deletes the trading events that the older of them holds.
    ///
    /// # Errors
    /// `TooLarge`; `Order` if there is a newer one; `Io` or `Damaged`, and then nothing changed.
    pub fn checkpoint(&mut self, seq: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let stored = encode_checkpoint(seq, bytes)?;
        self.with(|db| {
            let transaction = begin(db)?;
            {
                let mut checkpoints = transaction.open_table(CHECKPOINT)?;
                let newest = checkpoints.last()?.map(|(newest, _)| newest.value());
                if let Some(newest) = newest.filter(|newest| *newest > seq) {
                    return Err(StoreError::Order { newest, got: seq });
                }
                checkpoints.insert(seq, stored.as_slice())?;
                while checkpoints.len()? > CHECKPOINTS {
                    checkpoints.pop_first()?;
                }
                let older = checkpoints.first()?.map(|(older, _)| older.value());
                if checkpoints.len()? == CHECKPOINTS
                    && let Some(older) = older
                {
                    transaction
                        .open_table(TRADING)?
                        .retain_in(..=older, |_, _| false)?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// A named value.
    ///
    /// # Errors
    /// `Damaged` or `Io`.
    pub fn meta(&mut self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|db| {
            let table = db.begin_read()?.open_table(META)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Sets a named value; durable when this returns.
    ///
    /// # Errors
    /// As [`State::commit`].
    pub fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        check_commit(key.len() + value.len())?;
        self.with(|db| {
            let transaction = begin(db)?;
            transaction.open_table(META)?.insert(key, value)?;
            Ok(transaction.commit()?)
        })
    }

    /// Works on the open database. After a device error redb answers no more, so the file is
    /// closed and the next call opens it again.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => reopen_database(&self.path)?,
        };
        let result = work(&db);
        if !matches!(result, Err(StoreError::Io { .. } | StoreError::Damaged(_))) {
            self.db = Some(db);
        }
        result
    }
}

fn make_tables(transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(TRADING)?;
    transaction.open_table(CHECKPOINT)?;
    transaction.open_table(META)?;
    Ok(())
}

/// Refuses a commit beyond its bound.
pub(super) fn check_commit(bytes: usize) -> Result<(), StoreError> {
    if bytes > MAX_COMMIT_BYTES {
        return Err(StoreError::TooLarge {
            bytes,
            limit: MAX_COMMIT_BYTES,
        });
    }
    Ok(())
}

/// Checksum of a checkpoint, tied to its sequence number.
fn checkpoint_crc(seq: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn encode_checkpoint(seq: u64, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    if bytes.len() > MAX_CHECKPOINT_BYTES {
        return Err(StoreError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_CHECKPOINT_BYTES,
        });
    }
    let packed = zstd::bulk::compress(bytes, CHECKPOINT_LEVEL)
        .map_err(|e| super::store_io("compressing a checkpoint", e))?;
    let mut stored = Vec::with_capacity(CHECKPOINT_HEAD + packed.len());
    stored.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    stored.extend_from_slice(&checkpoint_crc(seq, bytes).to_le_bytes());
    stored.extend_from_slice(&packed);
    Ok(stored)
}

/// `None` if any of it is wrong.
fn decode_checkpoint(seq: u64, stored: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = stored.split_first_chunk::<4>()?;
    let (crc, packed) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_CHECKPOINT_BYTES {
        return None;
    }
    let bytes = zstd::bulk::decompress(packed, length).ok()?;
    let sound = bytes.len() == length && checkpoint_crc(seq, &bytes) == u32::from_le_bytes(*crc);
    sound.then_some(bytes)
}
