//! `gaps.redb`: the ledger of gaps, for people. Bounded; the oldest rows go first.

use super::probe::{open_or_set_aside, reopen_database};
use super::{OpenReport, Probe, StoreError, begin, database_path};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows kept: about three weeks of a gap every twenty seconds.
pub const MAX_ROWS: u64 = 100_000;
/// Most rows that [`Gaps::latest`] gives at once.
pub const MAX_LATEST: usize = 1_000;

pub(super) const GAPS: TableDefinition<'_, u64, &'static [u8]> = TableDefinition::new("gaps");

/// The gap ledger.
#[derive(Debug)]
pub struct Gaps {
    /// `None` after a device error, until it is opened again.
    db: Mutex<Option<Arc<Database>>>,
    path: PathBuf,
    max_rows: u64,
}

impl Gaps {
    /// Opens `<dir>/gaps.redb`, or makes it. A damaged file is set aside, and the report says so.
    ///
    /// # Errors
    /// As [`super::State::open`].
    pub fn open(dir: &Path, now_ns: u64, probe: &Probe) -> Result<(Self, OpenReport), StoreError> {
        let path = database_path(dir, "gaps.redb")?;
        let (db, report) = open_or_set_aside(&path, now_ns, probe, |transaction| {
            transaction.open_table(GAPS)?;
            Ok(())
        })?;
        Ok((
            Self {
                db: Mutex::new(Some(Arc::new(db))),
                path,
                max_rows: MAX_ROWS,
            },
            report,
        ))
    }

    /// With fewer rows, for a test.
    #[cfg(test)]
    pub(super) fn with_max_rows(self, max_rows: u64) -> Self {
        Self { max_rows, ..self }
    }

    /// Writes rows and deletes the oldest beyond [`MAX_ROWS`]; durable when this returns.
    ///
    /// # Errors
    /// `Io` or `Damaged`; then nothing changed, and the next call opens the file again.
    pub fn append(&self, rows: &[(u64, Vec<u8>)]) -> Result<(), StoreError> {
        self.with(|db| {
            let transaction = begin(db)?;
            {
                let mut table = transaction.open_table(GAPS)?;
                for (seq, bytes) in rows {
                    table.insert(seq, bytes.as_slice())?;
                }
                while table.len()? > self.max_rows {
                    table.pop_first()?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// The newest rows, newest first; `count` is cut to [`MAX_LATEST`].
    ///
    /// # Errors
    /// `Io` or `Damaged`.
    pub fn latest(&self, count: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.with(|db| {
            let table = db.begin_read()?.open_table(GAPS)?;
            let mut rows = Vec::new();
            for row in table.iter()?.rev().take(count.min(MAX_LATEST)) {
                let (seq, bytes) = row?;
                rows.push((seq.value(), bytes.value().to_vec()));
            }
            Ok(rows)
        })
    }

    /// The newest sequence number, from which the caller counts on.
    ///
    /// # Errors
    /// `Io` or `Damaged`.
    pub fn last_seq(&self) -> Result<Option<u64>, StoreError> {
        self.with(|db| {
            let table = db.begin_read()?.open_table(GAPS)?;
            Ok(table.last()?.map(|(seq, _)| seq.value()))
        })
    }

    /// Works on the open database, without holding the lock: a page that reads does not wait for
    /// the writer's sync. After a device error the file is closed as soon as nobody reads it.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let db = {
            let mut held = self.db.lock().unwrap_or_else(PoisonError::into_inner);
            match &*held {
                Some(db) => Arc::clone(db),
                None => Arc::clone(held.insert(Arc::new(reopen_database(&self.path)?))),
            }
        };
        let result = work(&db);
        if matches!(result, Err(StoreError::Io { .. } | StoreError::Damaged(_))) {
            let mut held = self.db.lock().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have opened it again meanwhile.
            if held
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, &db))
            {
                *held = None;
            }
        }
        result
    }
}
