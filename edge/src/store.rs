//! Trading state that must survive anything, the ledger of gaps, and the features over time: three
//! redb files.
//!
//! `state.redb` holds what the edge may not lose: the durable trading events since the newest
//! checkpoint, the two newest checkpoints, and a few named values. A commit is on the device when
//! it returns, so the desk commits *before* an order, fill or halt takes effect. `gaps.redb` is a
//! record for people; it is written in the background, at most once a second. `features.redb` is
//! what [`features`] is about; it is large, and may lose its newest minutes.
//!
//! **Invariants.** (1) What [`State::commit`] acknowledged is loaded after a power cut, provided
//! that the device kept its word. (2) There are two checkpoints, and the trading events behind the
//! *older* one are kept: if the newer one is damaged, nothing is lost. (3) A damaged file is
//! never opened by this process first, never deleted and never silently replaced: it is renamed,
//! and the [`OpenReport`] says so.
//!
//! **Why a child process.** Some damaged redb files panic or hang on opening. Cheap SD cards lie
//! about syncs and so make such files: in a simulation with 30 % of the syncs ignored, a quarter
//! of all power cuts left a file that does not open. So `tickerml-edge probe-store <file>` opens
//! and reads it first, under a time limit.
//!
//! **What this does not do.** It does not know what an event is, and it does not rebuild: after a
//! file was set aside the caller alarms and rebuilds from the journal.

pub mod features;
mod gaps;
mod handle;
mod probe;
mod state;

#[cfg(test)]
mod tests;

pub use gaps::{Gaps, MAX_LATEST, MAX_ROWS};
pub use handle::{Acknowledgement, QUEUE_GAPS, QUEUE_MESSAGES, StoreHandle, StoreStats, spawn};
pub use probe::{OpenReport, PROBE_LIMIT, Probe, probe_main};
pub use state::{Loaded, MAX_CHECKPOINT_BYTES, MAX_COMMIT_BYTES, State};

use crate::journal::with_path;
use redb::{Database, Durability, WriteTransaction};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Page cache of each database. redb's default is 1 GiB, more than a Pi Zero 2 W has.
pub const CACHE_BYTES: usize = 4 << 20;

/// What can go wrong with the store, with its remedy in the text. It can be cloned because one
/// failed commit may have to be told to several who waited for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The operating system refused.
    Io {
        /// What was being done, and the answer.
        what: String,
        /// The device is full.
        full: bool,
    },
    /// The database is damaged.
    Damaged(String),
    /// Another process has the data folder or file.
    InUse(String),
    /// The check of a file was interrupted, so nothing is known of it.
    Unchecked(String),
    /// A value is beyond its bound.
    TooLarge {
        /// Bytes offered.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A checkpoint older than the newest one.
    Order {
        /// Sequence number of the newest checkpoint.
        newest: u64,
        /// What came.
        got: u64,
    },
    /// The queue of the store thread is full.
    Busy,
    /// The store thread has ended, or did not end in time.
    Gone,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { what, full: true } => write!(f, "{what}; free space on the device"),
            StoreError::Io { what, full: false } => write!(
                f,
                "{what}; check that the data folder is writable and the card healthy"
            ),
            StoreError::Damaged(what) => write!(
                f,
                "the store is damaged: {what}; restart the edge, which sets the file aside and rebuilds it from the journal"
            ),
            StoreError::InUse(what) => write!(
                f,
                "{what}; stop the other tickerml-edge, or give this one a data folder of its own"
            ),
            StoreError::Unchecked(what) => write!(
                f,
                "{what}; start again, and if it persists move the file away to rebuild it from the journal"
            ),
            StoreError::TooLarge { bytes, limit } => {
                write!(
                    f,
                    "{bytes} bytes where the store takes {limit}; commit smaller pieces"
                )
            }
            StoreError::Order { newest, got } => write!(
                f,
                "checkpoint {got} is older than the newest, {newest}; load the state again before going on"
            ),
            StoreError::Busy => {
                write!(
                    f,
                    "the store cannot keep up; do not act on what is not committed, try again"
                )
            }
            StoreError::Gone => write!(f, "the store thread is gone; restart the edge"),
        }
    }
}

impl std::error::Error for StoreError {}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::InvalidData
                        | io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::InvalidInput
                ) =>
            {
                store_io("the store", e)
            }
            error @ redb::Error::PreviousIo => StoreError::Io {
                what: error.to_string(),
                full: false,
            },
            redb::Error::DatabaseAlreadyOpen => {
                StoreError::InUse("another process has the store open".into())
            }
            error => StoreError::Damaged(error.to_string()),
        }
    }
}

fn store_io(what: &str, error: io::Error) -> StoreError {
    let full = error.kind() == io::ErrorKind::StorageFull;
    StoreError::Io {
        what: format!("{what}: {error}"),
        full,
    }
}

fn path_io(path: &Path, error: io::Error) -> StoreError {
    store_io("the store", with_path(path, error))
}

/// Holds the data folder for this process; released when dropped, and by the system if killed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the data folder for this process, making it if need be.
///
/// # Errors
/// `InUse` if another process has it, naming that process; `Io`.
pub fn lock(dir: &Path) -> Result<Lock, StoreError> {
    /// Longest process number read from a lock file, in bytes.
    const HOLDER_BYTES: u64 = 20;
    fs::create_dir_all(dir).map_err(|e| path_io(dir, e))?;
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| path_io(&path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number is a courtesy; without it the message still stands.
            if file.take(HOLDER_BYTES).read_to_string(&mut holder).is_err() || holder.is_empty() {
                holder = "unknown".into();
            }
            let holder = holder.trim();
            return Err(StoreError::InUse(format!(
                "{} is in use by process {holder}",
                dir.display()
            )));
        }
        Err(TryLockError::Error(e)) => return Err(path_io(&path, e)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|e| path_io(&path, e))?;
    Ok(Lock { _file: file })
}

/// A write transaction that is durable when committed and needs no repair walk after a cut.
fn begin(db: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// The path of a database in the data folder.
fn database_path(dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(dir).map_err(|e| path_io(dir, e))?;
    Ok(dir.join(name))
}
