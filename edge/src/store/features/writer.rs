//! The thread of the store of features: it takes vectors from a bounded queue and never makes the
//! desk wait.
//!
//! A device error suspends writing until the next commit succeeds; damage that shows while it runs
//! sets the file aside and begins a new one. Neither ends the thread, and both are counted.

use super::{
    COMMIT_AGE, COMMIT_VECTORS, Committed, FeatureReader, FeatureStore, SYNC_NS, Vector, Version,
};
use crate::store::probe::{guarded, set_aside};
use crate::store::{OpenReport, Probe, StoreError, store_io};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tickerml_shared::features::Table;

/// Vectors that may wait for the thread: some pulses of the most instruments.
pub const QUEUE_VECTORS: usize = 512;
/// How long [`FeatureHandle::close`] waits.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 512 << 10;

/// An instrument by its place in the configuration, when, and what was known then.
type Message = (usize, u64, Box<Table>);

/// What the thread has done, readable from anywhere.
#[derive(Debug, Default)]
pub struct FeatureStats {
    /// Vectors committed.
    pub vectors: AtomicU64,
    /// Bytes of blocks made durable, as the pages that they take.
    pub bytes: AtomicU64,
    /// Durable commits.
    pub syncs: AtomicU64,
    /// Blocks deleted to stay within the bound.
    pub deleted: AtomicU64,
    /// Vectors refused because the queue was full, or lost to a device error.
    pub dropped: AtomicU64,
    /// Commits that failed.
    pub errors: AtomicU64,
    /// Time of the oldest vector in the file, unix nanoseconds; 0 while there is none.
    pub oldest_ns: AtomicU64,
    /// Time of the newest vector committed by this process, unix nanoseconds; 0 before the first.
    pub newest_ns: AtomicU64,
    suspended: Mutex<Option<String>>,
}

impl FeatureStats {
    /// Why nothing is being stored at the moment, if so.
    pub fn suspended(&self) -> Option<String> {
        let held = self.suspended.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn suspend(&self, why: Option<String>) {
        let held = self.suspended.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// The desk's end of the store of features.
#[derive(Debug)]
pub struct FeatureHandle {
    queue: SyncSender<Message>,
    ended: Receiver<()>,
    reader: FeatureReader,
    stats: Arc<FeatureStats>,
}

impl FeatureHandle {
    /// Hands over the table of the instrument at this place of the configuration. Never blocks; what
    /// does not fit is counted and lost.
    pub fn push(&self, place: usize, at_ns: u64, table: Table) {
        if self
            .queue
            .try_send((place, at_ns, Box::new(table)))
            .is_err()
        {
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    /// For reading what was committed, from any thread.
    pub fn reader(&self) -> &FeatureReader {
        &self.reader
    }

    /// What the thread has done so far.
    pub fn stats(&self) -> &Arc<FeatureStats> {
        &self.stats
    }

    /// Waits until everything handed over is durable and the file closed. Blocks: from async code
    /// call it on a blocking thread.
    ///
    /// # Errors
    /// `Gone` if that takes over 10 s.
    pub fn close(self) -> Result<(), StoreError> {
        drop((self.queue, self.reader));
        match self.ended.recv_timeout(CLOSE_WAIT) {
            Err(RecvTimeoutError::Timeout) => Err(StoreError::Gone),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }
}

/// Opens the file for this build's features of these instruments, `venue:symbol` each, and starts
/// the thread.
///
/// # Errors
/// As [`FeatureStore::open`]; `Io` if the system gives no thread.
pub fn spawn(
    dir: &Path,
    now_ns: u64,
    probe: &Probe,
    max_bytes: u64,
    instruments: Vec<String>,
) -> Result<(FeatureHandle, OpenReport), StoreError> {
    let version = Version::present();
    let (store, report) = FeatureStore::open(dir, now_ns, probe, &version, max_bytes)?;
    let reader = store.reader();
    let stats = Arc::new(FeatureStats::default());
    let mut keeper = Keeper::new(store, version, instruments, Arc::clone(&stats))?;
    let (queue, inbox) = sync_channel(QUEUE_VECTORS);
    // The thread drops its sender when it ends.
    let (ends, ended) = sync_channel(0);
    thread::Builder::new()
        .name("features".into())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            keeper.run(&inbox);
            drop(keeper);
            drop::<SyncSender<()>>(ends);
        })
        .map_err(|e| store_io("starting the thread of features", e))?;
    let handle = FeatureHandle {
        queue,
        ended,
        reader,
        stats,
    };
    Ok((handle, report))
}

/// What the thread does.
struct Keeper {
    store: FeatureStore,
    version: Version,
    instruments: Vec<String>,
    /// Their numbers in the file.
    numbers: Vec<u16>,
    buffered: usize,
    newest_ns: u64,
    synced_ns: Option<u64>,
    stats: Arc<FeatureStats>,
}

impl Keeper {
    fn new(
        mut store: FeatureStore,
        version: Version,
        instruments: Vec<String>,
        stats: Arc<FeatureStats>,
    ) -> Result<Self, StoreError> {
        let numbers = instruments.iter().map(|name| store.instrument(name));
        let numbers = numbers.collect::<Result<_, _>>()?;
        stats
            .oldest_ns
            .store(store.oldest_ns().unwrap_or(0), Relaxed);
        Ok(Self {
            store,
            version,
            instruments,
            numbers,
            buffered: 0,
            newest_ns: 0,
            synced_ns: None,
            stats,
        })
    }

    /// Until the handle is gone and the queue empty.
    fn run(&mut self, inbox: &Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            let first_ns = first.1;
            self.take(&first);
            while self.buffered < COMMIT_VECTORS {
                let Ok(next) = inbox.recv_timeout(COMMIT_AGE) else {
                    break;
                };
                let age_ns = next.1.abs_diff(first_ns);
                self.take(&next);
                if u128::from(age_ns) >= COMMIT_AGE.as_nanos() {
                    break;
                }
            }
            let synced_ns = *self.synced_ns.get_or_insert(first_ns);
            self.commit(self.newest_ns.abs_diff(synced_ns) >= SYNC_NS);
        }
        self.commit(true);
    }

    fn take(&mut self, (place, at_ns, table): &Message) {
        let Some(instrument) = self.numbers.get(*place) else {
            return;
        };
        let lost = self.store.push(&Vector {
            instrument: *instrument,
            at_ns: *at_ns,
            values: table.as_slice(),
        });
        self.stats.dropped.fetch_add(lost, Relaxed);
        self.buffered += 1;
        self.newest_ns = *at_ns;
    }

    fn commit(&mut self, durable: bool) {
        let store = &mut self.store;
        match guarded(|| store.commit(durable)) {
            Ok(done) => self.committed(done, durable),
            Err(error) => self.failed(&error),
        }
    }

    fn committed(&mut self, done: Committed, durable: bool) {
        let stats = &self.stats;
        let new = std::mem::take(&mut self.buffered) as u64;
        stats.vectors.fetch_add(new, Relaxed);
        stats.bytes.fetch_add(done.bytes, Relaxed);
        stats.deleted.fetch_add(done.deleted, Relaxed);
        let oldest_ns = self.store.oldest_ns().unwrap_or(0);
        stats.oldest_ns.store(oldest_ns, Relaxed);
        stats.newest_ns.store(self.newest_ns, Relaxed);
        if durable {
            stats.syncs.fetch_add(1, Relaxed);
            self.synced_ns = Some(self.newest_ns);
        }
        if stats.suspended().is_some() {
            stats.suspend(None);
        }
    }

    fn failed(&mut self, error: &StoreError) {
        tracing::error!(%error, "features not stored");
        self.stats.errors.fetch_add(1, Relaxed);
        self.stats.suspend(Some(error.to_string()));
        if matches!(error, StoreError::Damaged(_)) {
            let lost = std::mem::take(&mut self.buffered) as u64;
            self.stats.dropped.fetch_add(lost, Relaxed);
            if let Err(error) = self.begin_anew(error.clone()) {
                tracing::error!(%error, "no new store of features");
            }
        }
    }

    /// Sets the damaged file aside and opens a new one.
    fn begin_anew(&mut self, error: StoreError) -> Result<(), StoreError> {
        let path = self.store.path.clone();
        let Some(dir) = path.parent() else {
            return Ok(());
        };
        self.store.close();
        let now_ns = self.newest_ns;
        set_aside(&path, now_ns, error, &mut OpenReport::default())?;
        let max_bytes = self.store.max_bytes;
        // The file is new: there is nothing to probe.
        let (store, _) =
            FeatureStore::open(dir, now_ns, &Probe::InProcess, &self.version, max_bytes)?;
        self.store.replace(store);
        for (name, number) in self.instruments.iter().zip(&mut self.numbers) {
            *number = self.store.instrument(name)?;
        }
        Ok(())
    }
}
