//! Market history: an append-only journal of opaque batches that survives power cuts.
//!
//! One file a day, `<dir>/YYYY-MM-DD.tml` (UTC), so that retention is an unlink. A file is
//!
//! ```text
//! magic "TMLJRNL\0" | version u32 | salt u32                 the preamble, 16 bytes
//! kind u8 | len u32 | crc32 u32 | payload                    a frame, again and again
//! ```
//!
//! with three kinds of frame. All integers are little endian.
//!
//! * `Run`: a postcard [`Header`]. Each start of the edge appends one; so does each re-opening.
//! * `Segment`: `run_offset u64`, then a batch. It begins a zstd stream of its own, and names the
//!   run that it belongs to, so a reader can enter the file here.
//! * `Batch`: `first_seq u64, count u32, at_ns u64, raw_len u32`, then compressed bytes that
//!   continue the segment's stream, flushed, so that each batch is whole as soon as it is written.
//!
//! The checksum covers kind, length and payload and is seeded with the file's salt: an old sector
//! of another file that turns up in this one does not pass.
//!
//! **Invariants.** (1) A batch is one `write` and is either read back whole or not at all.
//! (2) Whatever precedes a finished sync is read back after a power cut, provided that the device
//! kept its word. (3) A reader never yields bytes that were not written, never panics and never
//! holds more than [`MAX_FRAME_BYTES`] for one frame. (4) Nothing is silent: torn tails, damage in
//! the middle and jumps in the sequence are reported with their size.
//!
//! Segments end after 10 s or 14 KB, and that is when the file is synced. So on an honest device
//! the un-synced tail holds at most one segment start, and its first damaged frame ends what can
//! be read: recovery truncates there. If a valid `Segment` or `Run` follows the damage, then
//! synced data went bad; that is reported, kept, and reading goes on behind it.
//!
//! **What this does not do.** It does not know what an event is, does not read the clock (time is
//! an argument) and keeps no trading state: that lives in [`crate::store`].
//!
//! # Assumptions on SD cards
//! * A write may be torn at any byte, and un-synced writes may survive in any subset and any
//!   order. A lost region reads as zeros, as garbage or as what stood there before.
//! * When `fdatasync` has returned, the bytes are there after a power cut. Cheap cards break this
//!   promise; then up to everything since the last honest sync is lost, and it is noticed.
//! * A synced byte may rot. One flipped bit costs the rest of its segment, not the file.
//! * After a failed `fdatasync` nothing is known of the un-synced pages; the file is closed,
//!   recovered from what can be read, and continued by a new run.
//! * The file system is journaled and does not show blocks of deleted files (ext4's default).
//! * Bytes written, not IO operations, wear the card: hence compression before each write and few
//!   syncs. Expect about three device writes for each sync, whatever its size.

mod days;
pub mod faulty;
mod reader;
mod recorder;
mod writer;

#[cfg(test)]
mod tests;

pub use days::{DirReader, day_name, day_of, list_days, parse_day, read_dir, stamp};
pub use reader::{Ending, Item, Reader};
pub use recorder::{Batch, JournalHandle, QUEUE_BATCHES, QUEUE_BYTES, RETRY_NS, Stats, spawn};
pub use writer::{Appended, REPEAT_RUN_BYTES, VERIFY_TAIL_BYTES, Writer};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The first eight bytes of each journal file.
pub const MAGIC: [u8; 8] = *b"TMLJRNL\0";
/// Version of the file layout described above.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes before the first frame: magic, version, salt.
pub const PREAMBLE_BYTES: u64 = 16;
/// Largest batch accepted, in bytes before compression.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// Largest encoded [`Header`] accepted, in bytes.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Largest payload of a frame, and so the most that a reader holds for one: an incompressible
/// batch or a header, with its fixed fields.
pub const MAX_FRAME_BYTES: usize = MAX_BATCH_BYTES + (64 << 10);
/// zstd window of a segment as a power of two: 128 KiB, which bounds the decoder's memory too.
pub const WINDOW_LOG: u32 = 17;

/// kind, length and checksum in front of each payload.
const FRAME_HEAD: usize = 9;
/// `first_seq, count, at_ns, raw_len` in front of the compressed bytes.
const BATCH_HEAD: usize = 24;
/// `run_offset` in front of a segment's first batch.
const SEGMENT_HEAD: usize = 8;

const KIND_RUN: u8 = b'R';
const KIND_SEGMENT: u8 = b'S';
const KIND_BATCH: u8 = b'B';

/// What a reader must know to decode the batches of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Fingerprint of the features, actions and events that writer and reader must share.
    pub schema_id: [u8; 32],
    /// Which start of the edge this is. A re-opened file repeats it.
    pub run_id: u64,
    /// Seed of the run.
    pub seed: u64,
    /// When the run began, unix nanoseconds.
    pub created_ns: u64,
    /// The opaque table that decoding needs (instruments, scales).
    pub instruments: Vec<u8>,
}

/// When to sync and how long to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// A segment ends and is synced when this old, in nanoseconds of event time.
    pub sync_every_ns: u64,
    /// A segment ends and is synced when its frames hold this many bytes.
    pub segment_bytes: u64,
    /// zstd level.
    pub level: i32,
    /// Day files older than this many days are deleted when a new day begins.
    pub retain_days: u32,
}

impl JournalConfig {
    /// The measured compromise: 10 s or 14 KB, level 3.
    pub const fn standard(retain_days: u32) -> Self {
        Self {
            sync_every_ns: 10_000_000_000,
            segment_bytes: 14 << 10,
            level: 3,
            retain_days,
        }
    }
}

/// What recovery found when a file was opened for writing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    /// Sequence number of the newest event that can be read: here, or in the day before, or in a
    /// later day that a wrong clock made.
    pub last_seq: Option<u64>,
    /// Batches read and verified.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes cut off behind the last good frame.
    pub truncated_bytes: u64,
    /// Bytes that cannot be read although good data follows: the device broke its word.
    pub damaged_bytes: u64,
    /// Bytes in front of the verified part, see [`VERIFY_TAIL_BYTES`].
    pub skipped_bytes: u64,
    /// Why bytes were cut or found damaged: the last reason met.
    pub reason: Option<Reason>,
    /// A file of today that was no journal was renamed to this.
    pub set_aside: Option<PathBuf>,
}

/// Why a frame is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The file ends inside the preamble or a frame.
    Truncated,
    /// The kind byte is none of ours.
    UnknownKind,
    /// The length is beyond [`MAX_FRAME_BYTES`] or too short for its kind.
    BadLength,
    /// The checksum differs.
    BadChecksum,
    /// The checksum is right but the fields contradict each other.
    BadFields,
    /// A batch outside any segment, or whose segment began in the damage.
    NoSegment,
    /// A segment whose run header cannot be read: its events cannot be decoded.
    NoRun,
    /// The compressed bytes do not decode to the length written beside them.
    BadCompression,
    /// The sequence goes back within one run, as a stale sector would make it.
    SequenceBack,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Truncated => "the file ends inside a frame",
            Reason::UnknownKind => "unknown kind of frame",
            Reason::BadLength => "impossible frame length",
            Reason::BadChecksum => "checksum differs",
            Reason::BadFields => "fields contradict each other",
            Reason::NoSegment => "batch outside a segment",
            Reason::NoRun => "segment without its run header",
            Reason::BadCompression => "compressed bytes do not decode",
            Reason::SequenceBack => "sequence numbers go back",
        })
    }
}

/// What can go wrong with a journal, with its remedy in the text.
#[derive(Debug)]
pub enum JournalError {
    /// The device or file system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// The answer of the operating system; names the file where one is known.
        source: io::Error,
    },
    /// The file does not begin as a journal does.
    NotAJournal,
    /// Written by another version of the layout.
    Version(u32),
    /// A batch or header is beyond its bound.
    TooLarge {
        /// Bytes offered.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The sequence of a batch goes back, or the batch is empty.
    Sequence {
        /// The lowest `first_seq` that would be accepted.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// An earlier write or sync failed; this writer is of no more use.
    Broken,
    /// zstd or postcard refused.
    Codec(String),
    /// The writer thread did not answer in time.
    Timeout,
    /// The writer thread could not be started or is gone.
    Thread(String),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Io { doing, source } if source.kind() == io::ErrorKind::StorageFull => {
                write!(
                    f,
                    "{doing} the journal: {source}; free space or lower journal.retain_days"
                )
            }
            JournalError::Io { doing, source } => write!(
                f,
                "{doing} the journal: {source}; check that the data folder is writable and the card healthy"
            ),
            JournalError::NotAJournal => {
                write!(
                    f,
                    "not a TickerML journal; name a .tml file, or move this one away"
                )
            }
            JournalError::Version(found) => write!(
                f,
                "journal layout version {found}, this program reads {FORMAT_VERSION}; use the version that wrote it, or move the file away"
            ),
            JournalError::TooLarge { bytes, limit } => {
                write!(
                    f,
                    "{bytes} bytes where {limit} are allowed; write smaller batches"
                )
            }
            JournalError::Sequence { expected, got } => write!(
                f,
                "batch begins at sequence {got}, expected {expected} or later and not empty; open a new run to start over"
            ),
            JournalError::Broken => {
                write!(
                    f,
                    "an earlier write failed; open the journal again to recover it"
                )
            }
            JournalError::Codec(what) => write!(f, "journal codec: {what}; please report this"),
            JournalError::Timeout => write!(
                f,
                "the journal thread did not answer in time; the disk may be hanging, check the card"
            ),
            JournalError::Thread(what) => {
                write!(f, "journal thread: {what}; restart the edge")
            }
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JournalError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { doing, source }
}

fn codec_error(error: impl fmt::Display) -> JournalError {
    JournalError::Codec(error.to_string())
}

/// The device under a journal file. It exists so that a fault injector can stand here; it is the
/// only trait of the workspace.
#[expect(
    clippy::len_without_is_empty,
    reason = "a device is asked for its length only"
)]
pub trait Disk {
    /// Writes at the end and says how many bytes were taken; fewer than offered is allowed.
    ///
    /// # Errors
    /// Whatever the operating system says; some of the bytes may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Reads at an offset and says how many bytes came; zero is the end.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file to a length that is not beyond its end.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Makes everything appended or cut so far durable.
    ///
    /// # Errors
    /// Whatever the operating system says; then nothing is known of what was not yet durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A real file.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    path: PathBuf,
    end: u64,
}

impl FileDisk {
    /// Opens for writing, making the file, and its entry in the folder durable, if need be.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = |error| with_path(path, error);
        let is_new = !path.try_exists().map_err(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(name)?;
        if is_new && let Some(dir) = path.parent() {
            sync_dir(dir)?;
        }
        let end = file.metadata().map_err(name)?.len();
        Ok(Self {
            file,
            path: path.to_path_buf(),
            end,
        })
    }

    /// Opens for reading only.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn open_read(path: &Path) -> io::Result<Self> {
        let name = |error| with_path(path, error);
        let file = File::open(path).map_err(name)?;
        let end = file.metadata().map_err(name)?.len();
        Ok(Self {
            file,
            path: path.to_path_buf(),
            end,
        })
    }
}

impl Disk for FileDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self
            .file
            .write_at(bytes, self.end)
            .map_err(|e| with_path(&self.path, e))?;
        self.end += taken as u64;
        Ok(taken)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.file
            .read_at(out, offset)
            .map_err(|e| with_path(&self.path, e))
    }

    fn len(&self) -> io::Result<u64> {
        self.file
            .metadata()
            .map(|m| m.len())
            .map_err(|e| with_path(&self.path, e))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file
            .set_len(len)
            .map_err(|e| with_path(&self.path, e))?;
        self.end = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data().map_err(|e| with_path(&self.path, e))
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| with_path(dir, e))
}

/// The same kind of error, naming the file.
pub(crate) fn with_path(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Checksum of a frame in a file with this salt.
fn frame_crc(salt: u32, kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&[kind]);
    hasher.update(&(payload.len() as u32).to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Little-endian integers at fixed places; the caller has checked the length.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
