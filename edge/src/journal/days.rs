//! Day files: their names, their order, and reading a folder of them as one history.

use super::{Disk, Ending, FileDisk, Item, JournalError, Reader, io_error, with_path};
use std::fs;
use std::path::{Path, PathBuf};
use tickerml_shared::time::Time;

const NS_PER_DAY: u64 = 86_400_000_000_000;
const EXTENSION: &str = "tml";
/// Most day files that are listed in one folder: a century.
const MAX_DAY_FILES: usize = 36_525;

/// Days since 1970-01-01 UTC.
pub fn day_of(now_ns: u64) -> u64 {
    now_ns / NS_PER_DAY
}

/// `YYYY-MM-DD` of a day number.
pub fn day_name(day: u64) -> String {
    let (year, month, date) = Time(day * NS_PER_DAY).civil();
    format!("{year:04}-{month:02}-{date:02}")
}

/// The day number of a `YYYY-MM-DD.tml` file name; `None` for any other name.
pub fn parse_day(file_name: &str) -> Option<u64> {
    let stem = file_name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let day = day_of(Time::from_rfc3339(&format!("{stem}T00:00:00Z"))?.0);
    (day_name(day) == stem).then_some(day)
}

/// The path of a day's file.
pub(super) fn day_path(dir: &Path, day: u64) -> PathBuf {
    dir.join(format!("{}.{EXTENSION}", day_name(day)))
}

/// `YYYY-MM-DDThhmmss.nnnnnnnnnZ`, for the names of files that are set aside.
pub fn stamp(now_ns: u64) -> String {
    let seconds = now_ns % NS_PER_DAY / 1_000_000_000;
    format!(
        "{}T{:02}{:02}{:02}.{:09}Z",
        day_name(day_of(now_ns)),
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        now_ns % 1_000_000_000
    )
}

/// The day files of a folder in date order. Other files are ignored.
///
/// # Errors
/// The folder cannot be read.
pub fn list_days(dir: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let list = fs::read_dir(dir).map_err(|e| io_error("listing")(with_path(dir, e)))?;
    let mut days = Vec::new();
    for entry in list {
        let entry = entry.map_err(|e| io_error("listing")(with_path(dir, e)))?;
        if let Some(day) = entry.file_name().to_str().and_then(parse_day)
            && days.len() < MAX_DAY_FILES
        {
            days.push((day, entry.path()));
        }
    }
    days.sort_unstable();
    Ok(days)
}

/// Reads all day files of a folder in date order as one history.
///
/// # Errors
/// The folder cannot be read.
pub fn read_dir(dir: &Path) -> Result<DirReader, JournalError> {
    Ok(DirReader {
        days: list_days(dir)?,
        next: 0,
        current: None,
        torn: Vec::new(),
        expected: None,
    })
}

/// A history over several day files. See [`read_dir`].
pub struct DirReader {
    days: Vec<(u64, PathBuf)>,
    next: usize,
    current: Option<Reader<FileDisk>>,
    torn: Vec<(PathBuf, Ending)>,
    expected: Option<u64>,
}

impl DirReader {
    /// Skips what ends before a sequence number, without reading it all: enters at the last day
    /// file, and in it near the last segment, that begins at or before `seq`. A few batches
    /// before `seq` may still come.
    ///
    /// # Errors
    /// A file cannot be read. Files that are no journal are passed over.
    pub fn seek(&mut self, seq: u64) -> Result<(), JournalError> {
        for index in (0..self.days.len()).rev() {
            let Ok(mut reader) = open_day(&self.days[index].1) else {
                continue;
            };
            if reader.seek(seq)? || index == 0 {
                self.next = index + 1;
                self.current = Some(reader);
                self.expected = None;
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next item, or `None` at the end of the last file.
    ///
    /// # Errors
    /// A file cannot be read or is no journal. Calling again goes on with the next file.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, JournalError> {
        loop {
            match self.current.as_mut().map(Reader::advance) {
                Some(Ok(true)) => break,
                Some(Ok(false)) | None => {}
                Some(Err(error)) => {
                    self.current = None;
                    return Err(error);
                }
            }
            if let Some(reader) = self.current.take() {
                self.expected = reader.next_seq().or(self.expected);
                if let Some(ending) = reader.ending()
                    && ending.torn_bytes > 0
                {
                    self.torn.push((self.days[self.next - 1].1.clone(), ending));
                }
            }
            let Some((_, path)) = self.days.get(self.next) else {
                return Ok(None);
            };
            self.next += 1;
            let mut reader = open_day(path)?;
            reader.continue_from(self.expected);
            self.current = Some(reader);
        }
        Ok(self.current.as_ref().and_then(Reader::item))
    }

    /// The file that the last item came from.
    pub fn path(&self) -> Option<&Path> {
        let index = self.next.checked_sub(1)?;
        self.days.get(index).map(|(_, path)| path.as_path())
    }

    /// The files read so far that ended in a torn tail.
    pub fn torn(&self) -> &[(PathBuf, Ending)] {
        &self.torn
    }
}

/// A reader over one day file.
fn open_day(path: &Path) -> Result<Reader<FileDisk>, JournalError> {
    Reader::open(FileDisk::open_read(path).map_err(io_error("opening"))?)
}

/// The last sequence number that can be read in the newest day file before `day` that has any,
/// from the end of each file; at most `LOOK_BACK` files are tried.
pub(super) fn last_seq_before(dir: &Path, day: u64) -> Option<u64> {
    /// Day files searched for a last sequence number.
    const LOOK_BACK: usize = 4;
    let days = list_days(dir).ok()?;
    let before = days.iter().rev().filter(|(d, _)| *d < day);
    before
        .take(LOOK_BACK)
        .find_map(|(_, path)| last_seq_in(path))
}

/// The highest last sequence number that can be read in the day files after `day`.
pub(super) fn last_seq_after(dir: &Path, day: u64) -> Option<u64> {
    let days = list_days(dir).ok()?;
    let after = days.iter().filter(|(d, _)| *d > day);
    after.filter_map(|(_, path)| last_seq_in(path)).max()
}

/// The last sequence number that can be read near the end of a file.
fn last_seq_in(path: &Path) -> Option<u64> {
    let mut reader = open_day(path).ok()?;
    let size = reader.disk().len().ok()?;
    if size > super::VERIFY_TAIL_BYTES {
        reader.skip_to(size - super::VERIFY_TAIL_BYTES).ok()?;
    }
    while reader.advance().ok()? {}
    reader.next_seq().map(|next| next - 1)
}
