//! The writer thread: takes batches from a bounded queue, never makes the desk wait, rotates by
//! day, deletes old days, and survives a full disk by counting what it drops.

use super::days::{day_path, last_seq_after, last_seq_before, list_days};
use super::{
    Disk, FileDisk, Header, JournalConfig, JournalError, MAX_BATCH_BYTES, Tail, Writer, day_of,
    io_error, stamp,
};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Batches that may wait for the disk. At ten a second this rides out a stall of 25 s.
pub const QUEUE_BATCHES: usize = 256;
/// Bytes that may wait for the disk, whatever their number.
pub const QUEUE_BYTES: u64 = 8 << 20;
/// After a failed write, recording is tried again this much event time later.
pub const RETRY_NS: u64 = 30_000_000_000;

/// Buffers kept for reuse, and the largest worth keeping.
const SPARE_BUFFERS: usize = 32;
const SPARE_BYTES: usize = 256 << 10;
/// [`JournalHandle::flush_and_sync`]: how long it tries to be heard, and then to be answered.
const FLUSH_ATTEMPTS: u32 = 400;
const FLUSH_PAUSE: Duration = Duration::from_millis(5);
const FLUSH_WAIT: Duration = Duration::from_secs(10);
/// Shortest idle wait, so that a tiny `sync_every_ns` does not spin.
const IDLE_LEAST: Duration = Duration::from_millis(10);
const STACK_BYTES: usize = 512 << 10;

/// A batch of events on its way to the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Sequence number of the first event.
    pub first_seq: u64,
    /// Number of events, at least one.
    pub count: u32,
    /// Event time of the batch, unix nanoseconds: chooses the day file and ages segments.
    pub at_ns: u64,
    /// The encoded events, at most [`MAX_BATCH_BYTES`].
    pub bytes: Vec<u8>,
}

enum Message {
    Batch(Batch),
    Sync(SyncSender<bool>),
}

/// What the writer thread has done, readable from anywhere.
#[derive(Debug, Default)]
pub struct Stats {
    /// Batches written.
    pub batches: AtomicU64,
    /// Events written.
    pub events: AtomicU64,
    /// Bytes before compression.
    pub raw_bytes: AtomicU64,
    /// Bytes appended for them, framing included.
    pub compressed_bytes: AtomicU64,
    /// Segments synced.
    pub syncs: AtomicU64,
    /// Event time of the newest sync, unix nanoseconds; 0 before the first.
    pub last_sync_ns: AtomicU64,
    /// Writes, syncs, re-openings and deletions that failed.
    pub write_errors: AtomicU64,
    /// Batches refused because the queue was full, or lost because the disk was.
    pub dropped_batches: AtomicU64,
    /// Events in them.
    pub dropped_events: AtomicU64,
    /// Bytes waiting in the queue.
    pub queued_bytes: AtomicU64,
    suspended: Mutex<Option<String>>,
}

impl Stats {
    /// Why nothing is being recorded at the moment, if so.
    pub fn suspended(&self) -> Option<String> {
        self.suspended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn suspend(&self, why: Option<String>) {
        *self
            .suspended
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn dropped(&self, batch: &Batch) {
        self.dropped_batches.fetch_add(1, Relaxed);
        self.dropped_events
            .fetch_add(u64::from(batch.count), Relaxed);
    }
}

/// The desk's end of the journal.
#[derive(Debug)]
pub struct JournalHandle {
    queue: SyncSender<Message>,
    spare: Mutex<Receiver<Vec<u8>>>,
    stats: Arc<Stats>,
    thread: JoinHandle<()>,
}

impl JournalHandle {
    /// Hands a batch to the writer thread; never waits. Gives the batch back, and counts it as
    /// dropped, if the queue is full or the batch too large; a reader will see the jump.
    ///
    /// # Errors
    /// The batch itself.
    pub fn write(&self, batch: Batch) -> Result<(), Batch> {
        let bytes = batch.bytes.len() as u64;
        let queued = self.stats.queued_bytes.fetch_add(bytes, Relaxed) + bytes;
        let sent = if queued > QUEUE_BYTES || batch.bytes.len() > MAX_BATCH_BYTES {
            Err(TrySendError::Full(Message::Batch(batch)))
        } else {
            self.queue.try_send(Message::Batch(batch))
        };
        match sent {
            Err(TrySendError::Full(Message::Batch(batch)))
            | Err(TrySendError::Disconnected(Message::Batch(batch))) => {
                self.stats.queued_bytes.fetch_sub(bytes, Relaxed);
                self.stats.dropped(&batch);
                Err(batch)
            }
            // Only the message sent can come back.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// An empty buffer for the next batch: one that the writer thread is done with, if any.
    pub fn buffer(&self) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.try_recv().unwrap_or_default()
    }

    /// What the writer thread has done so far.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Waits until everything handed over is written and synced, for 12 s at most. Blocks: from
    /// async code call it on a blocking thread.
    ///
    /// # Errors
    /// `Timeout`; or `Broken` if recording is suspended or the sync failed.
    pub fn flush_and_sync(&self) -> Result<(), JournalError> {
        let (answer, answered) = sync_channel(1);
        let mut message = Message::Sync(answer);
        for _ in 0..FLUSH_ATTEMPTS {
            match self.queue.try_send(message) {
                Ok(()) => {
                    return match answered.recv_timeout(FLUSH_WAIT) {
                        Ok(true) => Ok(()),
                        Ok(false) => Err(JournalError::Broken),
                        Err(_) => Err(JournalError::Timeout),
                    };
                }
                Err(TrySendError::Full(back)) => message = back,
                Err(TrySendError::Disconnected(_)) => {
                    return Err(JournalError::Thread("it is gone".into()));
                }
            }
            thread::sleep(FLUSH_PAUSE);
        }
        Err(JournalError::Timeout)
    }

    /// Flushes, syncs and ends the thread. A handle that is merely dropped lets the thread finish
    /// by itself.
    ///
    /// # Errors
    /// As [`JournalHandle::flush_and_sync`]; the thread is then left to itself.
    pub fn close(self) -> Result<(), JournalError> {
        self.flush_and_sync()?;
        drop(self.queue);
        self.thread
            .join()
            .map_err(|_| JournalError::Thread("it panicked".into()))
    }
}

/// Opens today's file, recovers it, and starts the writer thread. A file of today that is no
/// journal of this version is renamed to `….corrupt-<time>`, which the [`Tail`] reports.
///
/// # Errors
/// The folder or file cannot be used, or the thread not started.
pub fn spawn(
    dir: &Path,
    header: Header,
    config: JournalConfig,
    now_ns: u64,
) -> Result<(JournalHandle, Tail), JournalError> {
    fs::create_dir_all(dir).map_err(io_error("making the folder of"))?;
    let idle = Duration::from_nanos(config.sync_every_ns).max(IDLE_LEAST);
    let stats = Arc::new(Stats::default());
    let (recorder, tail) = Recorder::open(
        dir,
        FileDisk::create,
        header,
        config,
        now_ns,
        Arc::clone(&stats),
    )?;
    let (queue, messages) = sync_channel(QUEUE_BATCHES);
    let (recycle, spare) = sync_channel(SPARE_BUFFERS);
    let thread = thread::Builder::new()
        .name("journal".into())
        .stack_size(STACK_BYTES)
        .spawn(move || run(recorder, &messages, &recycle, idle))
        .map_err(|e| JournalError::Thread(e.to_string()))?;
    Ok((
        JournalHandle {
            queue,
            spare: Mutex::new(spare),
            stats,
            thread,
        },
        tail,
    ))
}

/// The thread: until the handle is gone and the queue empty.
fn run<D: Disk, O: FnMut(&Path) -> io::Result<D>>(
    mut recorder: Recorder<D, O>,
    messages: &Receiver<Message>,
    recycle: &SyncSender<Vec<u8>>,
    idle: Duration,
) {
    loop {
        match messages.recv_timeout(idle) {
            Ok(Message::Batch(mut batch)) => {
                recorder.record(&batch);
                recorder
                    .stats
                    .queued_bytes
                    .fetch_sub(batch.bytes.len() as u64, Relaxed);
                if batch.bytes.capacity() <= SPARE_BYTES {
                    batch.bytes.clear();
                    // Full means that there are spares enough.
                    drop(recycle.try_send(batch.bytes));
                }
            }
            Ok(Message::Sync(answer)) => {
                // Nobody may be waiting any more.
                let _ = answer.try_send(recorder.sync());
            }
            Err(RecvTimeoutError::Timeout) => {
                recorder.sync();
            }
            Err(RecvTimeoutError::Disconnected) => {
                recorder.sync();
                return;
            }
        }
    }
}

/// What the thread does, without the thread: the file of the day, its rotation, and suspension.
pub(super) struct Recorder<D: Disk, O: FnMut(&Path) -> io::Result<D>> {
    dir: PathBuf,
    open_disk: O,
    header: Header,
    config: JournalConfig,
    day: u64,
    writer: Option<Writer<D>>,
    retry_at_ns: u64,
    newest_ns: u64,
    stats: Arc<Stats>,
}

impl<D: Disk, O: FnMut(&Path) -> io::Result<D>> Recorder<D, O> {
    pub(super) fn open(
        dir: &Path,
        open_disk: O,
        header: Header,
        config: JournalConfig,
        now_ns: u64,
        stats: Arc<Stats>,
    ) -> Result<(Self, Tail), JournalError> {
        let today = day_of(now_ns);
        let days = list_days(dir)?;
        // A clock set back over midnight goes on in the newest file, as in `ready`: the records of
        // an earlier file are read first.
        let tomorrow = days.iter().any(|(day, _)| *day == today + 1);
        let mut recorder = Self {
            dir: dir.to_path_buf(),
            open_disk,
            header,
            config,
            day: today + u64::from(tomorrow),
            writer: None,
            retry_at_ns: 0,
            newest_ns: now_ns,
            stats,
        };
        let mut tail = recorder.open_day(now_ns)?;
        if tail.last_seq.is_none() {
            tail.last_seq = last_seq_before(dir, recorder.day);
        }
        // Nor may the numbers of a clock that leapt ahead be given again.
        tail.last_seq = tail.last_seq.max(last_seq_after(dir, recorder.day));
        Ok((recorder, tail))
    }

    /// Opens the file of `self.day`, setting aside what is no journal.
    fn open_day(&mut self, now_ns: u64) -> Result<Tail, JournalError> {
        let path = day_path(&self.dir, self.day);
        let mut set_aside = None;
        loop {
            let disk = (self.open_disk)(&path).map_err(io_error("opening"))?;
            match Writer::open(disk, &self.header, self.config.clone(), now_ns) {
                Ok((writer, mut tail)) => {
                    self.writer = Some(writer);
                    tail.set_aside = set_aside;
                    return Ok(tail);
                }
                Err(JournalError::NotAJournal | JournalError::Version(_))
                    if set_aside.is_none() =>
                {
                    let mut name = path.clone().into_os_string();
                    name.push(format!(".corrupt-{}", stamp(now_ns)));
                    fs::rename(&path, &name).map_err(io_error("setting aside"))?;
                    set_aside = Some(name.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes one batch, or counts it as dropped.
    pub(super) fn record(&mut self, batch: &Batch) {
        self.newest_ns = batch.at_ns;
        let result = self.ready(batch.at_ns).and_then(|ready| {
            if ready {
                self.append(batch)
            } else {
                self.stats.dropped(batch);
                Ok(())
            }
        });
        if let Err(error) = result {
            self.stats.dropped(batch);
            self.failed(&error);
        }
    }

    fn append(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let writer = self.writer.as_mut().ok_or(JournalError::Broken)?;
        let done = writer.append(batch.first_seq, batch.count, batch.at_ns, &batch.bytes)?;
        self.stats.batches.fetch_add(1, Relaxed);
        self.stats.events.fetch_add(u64::from(batch.count), Relaxed);
        self.stats
            .raw_bytes
            .fetch_add(batch.bytes.len() as u64, Relaxed);
        self.stats
            .compressed_bytes
            .fetch_add(done.file_bytes, Relaxed);
        if done.synced {
            self.count_sync();
        }
        Ok(())
    }

    /// Sees to it that the right day's file is open; `false` while suspended.
    fn ready(&mut self, at_ns: u64) -> Result<bool, JournalError> {
        let day = day_of(at_ns);
        // Events a little late after midnight stay in the new file; a clock that was set back by
        // more than that takes its own day.
        let turned = day > self.day || day + 1 < self.day;
        if turned {
            if let Some(writer) = self.writer.take() {
                writer.close()?;
                self.count_sync();
            }
            // Only from one day to the next: a clock that leaps must not empty the folder.
            if day == self.day + 1 {
                self.delete_old(day);
            }
            self.day = day;
        }
        if self.writer.is_none() {
            // A clock set back would otherwise put the retry off for as long.
            if !turned && at_ns < self.retry_at_ns && self.retry_at_ns - at_ns <= RETRY_NS {
                return Ok(false);
            }
            self.open_day(at_ns)?;
            self.stats.suspend(None);
        }
        Ok(true)
    }

    /// Stops recording until the retry. A batch that the writer refuses on its own account does
    /// not stop anything.
    fn failed(&mut self, error: &JournalError) {
        self.stats.write_errors.fetch_add(1, Relaxed);
        if matches!(
            error,
            JournalError::Sequence { .. } | JournalError::TooLarge { .. }
        ) {
            tracing::warn!(%error, "batch not recorded");
            return;
        }
        tracing::error!(%error, "recording suspended");
        self.writer = None;
        self.retry_at_ns = self.newest_ns.saturating_add(RETRY_NS);
        self.stats.suspend(Some(error.to_string()));
    }

    /// Ends the segment and syncs; `false` if that failed or recording is suspended.
    pub(super) fn sync(&mut self) -> bool {
        match self.writer.as_mut().map(Writer::sync) {
            Some(Ok(true)) => self.count_sync(),
            Some(Ok(false)) => {}
            Some(Err(error)) => {
                self.failed(&error);
                return false;
            }
            None => return false,
        }
        true
    }

    fn count_sync(&self) {
        self.stats.syncs.fetch_add(1, Relaxed);
        self.stats.last_sync_ns.store(self.newest_ns, Relaxed);
    }

    /// Deletes day files older than the limit. Failing to is counted, not fatal.
    fn delete_old(&self, today: u64) {
        let Ok(days) = list_days(&self.dir) else {
            return;
        };
        for (day, path) in days {
            if day + u64::from(self.config.retain_days) < today
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!(path = %path.display(), %error, "old journal not deleted");
                self.stats.write_errors.fetch_add(1, Relaxed);
            }
        }
    }
}
