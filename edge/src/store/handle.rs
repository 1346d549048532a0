//! The threads of the store: one for trading state, acknowledged; one for gaps, in the
//! background, so that a commit never waits for the sync of the gap ledger.

use super::state::{MAX_CHECKPOINT_BYTES, MAX_COMMIT_BYTES, check_commit};
use super::{Gaps, State, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Commits that may wait for the device.
pub const QUEUE_MESSAGES: usize = 256;
/// Gap rows that may wait for the next second.
pub const QUEUE_GAPS: usize = 1_024;

/// Commits that are waiting are written in one transaction: this many at most, and no more once
/// there are [`MAX_COMMIT_BYTES`].
const MAX_GROUP: usize = 64;
/// The gap ledger is written at most this often.
const GAP_PAUSE: Duration = Duration::from_secs(1);
/// How long [`StoreHandle::close`] waits for each thread.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 512 << 10;

/// Resolves when the commit is durable or has failed. An error of the receiver itself means that
/// the store thread died: the commit must be taken as not made.
pub type Acknowledgement = oneshot::Receiver<Result<(), StoreError>>;
type Acknowledge = oneshot::Sender<Result<(), StoreError>>;

enum Message {
    Commit {
        rows: Vec<(u64, Vec<u8>)>,
        done: Acknowledge,
    },
    Checkpoint {
        seq: u64,
        bytes: Vec<u8>,
        done: Acknowledge,
    },
    Meta {
        key: String,
        value: Vec<u8>,
        done: Acknowledge,
    },
}

impl Message {
    /// Bytes of the rows of a commit.
    fn bytes(&self) -> usize {
        match self {
            Message::Commit { rows, .. } => rows.iter().map(|(_, bytes)| bytes.len()).sum(),
            _ => 0,
        }
    }

    fn acknowledge(self, result: Result<(), StoreError>) {
        let (Message::Commit { done, .. }
        | Message::Checkpoint { done, .. }
        | Message::Meta { done, .. }) = self;
        // Nobody may be waiting any more.
        let _ = done.send(result);
    }
}

/// What the store threads have done, readable from anywhere.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// Transactions of trading events made durable; one may hold several commits.
    pub commits: AtomicU64,
    /// Trading events made durable.
    pub rows: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Checkpoints written.
    pub checkpoints: AtomicU64,
    /// Commits, checkpoints and named values that failed or were refused.
    pub errors: AtomicU64,
    /// Gap rows written.
    pub gap_rows: AtomicU64,
    /// Transactions of the gap ledger.
    pub gap_commits: AtomicU64,
    /// Gap rows refused because the queue was full, or lost to a device error.
    pub gap_drops: AtomicU64,
}

/// The desk's end of the store.
#[derive(Debug)]
pub struct StoreHandle {
    messages: SyncSender<Message>,
    gap_rows: SyncSender<(u64, Vec<u8>)>,
    /// Dropped to wake the gap thread from its pause.
    awake: SyncSender<()>,
    state_ended: Receiver<()>,
    gaps_ended: Receiver<()>,
    gaps: Arc<Gaps>,
    stats: Arc<StoreStats>,
}

/// Starts the threads.
///
/// # Errors
/// `Io` if the system gives no thread.
pub fn spawn(state: State, gaps: Gaps) -> Result<StoreHandle, StoreError> {
    let stats = Arc::new(StoreStats::default());
    let gaps = Arc::new(gaps);
    let (messages, inbox) = sync_channel(QUEUE_MESSAGES);
    let (gap_rows, gap_inbox) = sync_channel(QUEUE_GAPS);
    let (awake, pause) = sync_channel(0);
    // A thread that ends drops its sender.
    let (state_ends, state_ended) = sync_channel(0);
    let (gaps_end, gaps_ended) = sync_channel(0);
    let thread = |name: &str| {
        thread::Builder::new()
            .name(name.into())
            .stack_size(STACK_BYTES)
    };
    let failed = |e| super::store_io("starting the store thread", e);
    thread("store")
        .spawn({
            let stats = Arc::clone(&stats);
            move || {
                run_state(state, &inbox, &stats);
                drop::<SyncSender<()>>(state_ends);
            }
        })
        .map_err(failed)?;
    thread("gaps")
        .spawn({
            let (stats, gaps) = (Arc::clone(&stats), Arc::clone(&gaps));
            move || {
                run_gaps(&gaps, &gap_inbox, &pause, &stats);
                // The file is closed before the end is announced.
                drop(gaps);
                drop::<SyncSender<()>>(gaps_end);
            }
        })
        .map_err(failed)?;
    Ok(StoreHandle {
        messages,
        gap_rows,
        awake,
        state_ended,
        gaps_ended,
        gaps,
        stats,
    })
}

impl StoreHandle {
    /// Asks for trading events to be made durable. Never blocks; the answer is `Busy` if the
    /// queue is full. Nothing may take effect before the answer is `Ok`.
    pub fn commit(&self, rows: Vec<(u64, Vec<u8>)>) -> Acknowledgement {
        let checked = check_commit(rows.iter().map(|(_, bytes)| bytes.len()).sum());
        self.send(checked, |done| Message::Commit { rows, done })
    }

    /// Asks for a checkpoint of all events up to and including `seq`, after the commits asked for
    /// before. See [`State::checkpoint`].
    pub fn checkpoint(&self, seq: u64, bytes: Vec<u8>) -> Acknowledgement {
        let checked = if bytes.len() > MAX_CHECKPOINT_BYTES {
            Err(StoreError::TooLarge {
                bytes: bytes.len(),
                limit: MAX_CHECKPOINT_BYTES,
            })
        } else {
            Ok(())
        };
        self.send(checked, |done| Message::Checkpoint { seq, bytes, done })
    }

    /// Asks for a named value to be set.
    pub fn set_meta(&self, key: &str, value: Vec<u8>) -> Acknowledgement {
        let checked = check_commit(key.len() + value.len());
        self.send(checked, |done| Message::Meta {
            key: key.to_owned(),
            value,
            done,
        })
    }

    fn send(
        &self,
        checked: Result<(), StoreError>,
        message: impl FnOnce(Acknowledge) -> Message,
    ) -> Acknowledgement {
        let (done, acknowledgement) = oneshot::channel();
        let message = message(done);
        let refused = match checked {
            Err(error) => Some((message, error)),
            Ok(()) => match self.messages.try_send(message) {
                Ok(()) => None,
                Err(TrySendError::Full(message)) => Some((message, StoreError::Busy)),
                Err(TrySendError::Disconnected(message)) => Some((message, StoreError::Gone)),
            },
        };
        if let Some((message, error)) = refused {
            self.stats.errors.fetch_add(1, Relaxed);
            message.acknowledge(Err(error));
        }
        acknowledgement
    }

    /// Hands a gap row over; it is written within about a second. Never blocks; a row that does
    /// not fit is counted and lost, for its event is in the journal too.
    pub fn gap(&self, seq: u64, bytes: Vec<u8>) {
        if self.gap_rows.try_send((seq, bytes)).is_err() {
            self.stats.gap_drops.fetch_add(1, Relaxed);
        }
    }

    /// The gap ledger, for reading.
    pub fn gaps(&self) -> &Arc<Gaps> {
        &self.gaps
    }

    /// What the threads have done so far.
    pub fn stats(&self) -> &Arc<StoreStats> {
        &self.stats
    }

    /// Waits until everything asked for is written and both files are closed by their threads.
    /// Blocks: from async code call it on a blocking thread.
    ///
    /// # Errors
    /// `Gone` if that takes over 10 s for either.
    pub fn close(self) -> Result<(), StoreError> {
        drop((self.messages, self.gap_rows, self.awake));
        for ended in [self.state_ended, self.gaps_ended] {
            if ended.recv_timeout(CLOSE_WAIT) == Err(RecvTimeoutError::Timeout) {
                return Err(StoreError::Gone);
            }
        }
        Ok(())
    }
}

/// Writes what is asked for, in order, commits that wait together as one, until the handle is
/// gone and the queue empty.
fn run_state(mut state: State, inbox: &Receiver<Message>, stats: &StoreStats) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut held = None;
    while let Some(message) = held.take().or_else(|| inbox.recv().ok()) {
        if !matches!(message, Message::Commit { .. }) {
            apply(&mut state, message, stats);
            continue;
        }
        let mut bytes = message.bytes();
        group.push(message);
        while group.len() < MAX_GROUP && bytes < MAX_COMMIT_BYTES && held.is_none() {
            match inbox.try_recv() {
                Ok(message @ Message::Commit { .. }) => {
                    bytes += message.bytes();
                    group.push(message);
                }
                Ok(other) => held = Some(other),
                Err(_) => break,
            }
        }
        commit_group(&mut state, &mut group, stats);
    }
}

fn commit_group(state: &mut State, group: &mut Vec<Message>, stats: &StoreStats) {
    let rows: Vec<(u64, &[u8])> = group
        .iter()
        .filter_map(|message| match message {
            Message::Commit { rows, .. } => Some(rows),
            _ => None,
        })
        .flatten()
        .map(|(seq, bytes)| (*seq, bytes.as_slice()))
        .collect();
    let bytes: usize = rows.iter().map(|(_, bytes)| bytes.len()).sum();
    let result = state.commit_unchecked(&rows);
    match &result {
        Ok(()) => {
            stats.commits.fetch_add(1, Relaxed);
            stats.rows.fetch_add(rows.len() as u64, Relaxed);
            stats.bytes.fetch_add(bytes as u64, Relaxed);
        }
        Err(error) => {
            tracing::error!(%error, "trading events not committed");
            stats.errors.fetch_add(group.len() as u64, Relaxed);
        }
    }
    for message in group.drain(..) {
        message.acknowledge(result.clone());
    }
}

fn apply(state: &mut State, message: Message, stats: &StoreStats) {
    let result = match &message {
        Message::Checkpoint { seq, bytes, .. } => state.checkpoint(*seq, bytes),
        Message::Meta { key, value, .. } => state.set_meta(key, value),
        Message::Commit { .. } => Ok(()),
    };
    match &result {
        Ok(()) if matches!(message, Message::Checkpoint { .. }) => {
            stats.checkpoints.fetch_add(1, Relaxed);
        }
        Ok(()) => {}
        Err(error) => {
            tracing::error!(%error, "state not written");
            stats.errors.fetch_add(1, Relaxed);
        }
    }
    message.acknowledge(result);
}

/// Writes the gaps of a second together.
fn run_gaps(
    gaps: &Gaps,
    inbox: &Receiver<(u64, Vec<u8>)>,
    pause: &Receiver<()>,
    stats: &StoreStats,
) {
    while let Ok(first) = inbox.recv() {
        let rows: Vec<_> = std::iter::once(first)
            .chain(inbox.try_iter().take(QUEUE_GAPS))
            .collect();
        match gaps.append(&rows) {
            Ok(()) => {
                stats.gap_commits.fetch_add(1, Relaxed);
                stats.gap_rows.fetch_add(rows.len() as u64, Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "gaps not recorded");
                stats.gap_drops.fetch_add(rows.len() as u64, Relaxed);
            }
        }
        // Ends early only when the handle is gone.
        let _ = pause.recv_timeout(GAP_PAUSE);
    }
}
