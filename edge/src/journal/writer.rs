//! Writing a journal file: recovery on open, one write per batch, a sync per segment.

use super::{
    BATCH_HEAD, Disk, FORMAT_VERSION, FRAME_HEAD, Header, Item, JournalConfig, JournalError,
    KIND_BATCH, KIND_RUN, KIND_SEGMENT, MAGIC, MAX_BATCH_BYTES, MAX_HEADER_BYTES, Reader,
    SEGMENT_HEAD, Tail, WINDOW_LOG, codec_error, frame_crc, io_error,
};
use std::io;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

/// A longer file is verified on open from this far before its end, at the first segment there: a
/// Pi reads a day's gigabyte in half a minute, and only the end can be torn.
pub const VERIFY_TAIL_BYTES: u64 = 8 << 20;
/// The run's header is repeated after this many bytes: a bad sector in the only one would cost
/// the whole day, for nothing can be decoded without it.
pub const REPEAT_RUN_BYTES: u64 = 4 << 20;
/// Interrupted or empty writes accepted in a row before the write counts as failed.
const MAX_WRITE_RETRIES: u32 = 16;

/// What one [`Writer::append`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Bytes written to the file.
    pub file_bytes: u64,
    /// The batch ended its segment and was synced.
    pub synced: bool,
}

/// The segment being written.
struct Segment {
    started_ns: u64,
    bytes: u64,
}

/// Appends batches to one journal file.
pub struct Writer<D: Disk> {
    disk: D,
    config: JournalConfig,
    encoder: Encoder<'static>,
    frame: Vec<u8>,
    salt: u32,
    end: u64,
    run: Vec<u8>,
    run_at: u64,
    segment: Option<Segment>,
    expected: Option<u64>,
    broken: bool,
}

impl<D: Disk> Writer<D> {
    /// Recovers the file, cuts off its torn tail, and begins a run, durable when this returns. A
    /// new or empty file gets its preamble first.
    ///
    /// # Errors
    /// `NotAJournal` and `Version` for somebody else's file, which is left as it is; `TooLarge`
    /// for the header; the device's.
    pub fn open(
        disk: D,
        header: &Header,
        config: JournalConfig,
        now_ns: u64,
    ) -> Result<(Self, Tail), JournalError> {
        let mut reader = Reader::open(disk)?;
        let mut tail = recover(&mut reader, VERIFY_TAIL_BYTES)?;
        if tail.last_seq.is_none() && tail.skipped_bytes > 0 {
            reader = Reader::open(reader.into_disk())?;
            tail = recover(&mut reader, u64::MAX)?;
        }
        let (good, torn) = reader
            .ending()
            .map_or((0, 0), |ending| (ending.good_bytes, ending.torn_bytes));
        let salt = reader.salt();
        let mut disk = reader.into_disk();
        if torn > 0 {
            disk.truncate(good).map_err(io_error("repairing"))?;
        }
        let mut encoder = Encoder::new(config.level).map_err(codec_error)?;
        encoder
            .set_parameter(CParameter::WindowLog(WINDOW_LOG))
            .map_err(codec_error)?;
        let mut writer = Self {
            disk,
            config,
            encoder,
            frame: Vec::new(),
            salt,
            end: good,
            run: postcard::to_allocvec(header).map_err(codec_error)?,
            run_at: 0,
            segment: None,
            expected: None,
            broken: false,
        };
        if writer.run.len() > MAX_HEADER_BYTES {
            return Err(JournalError::TooLarge {
                bytes: writer.run.len(),
                limit: MAX_HEADER_BYTES,
            });
        }
        if good == 0 {
            writer.salt = crc32fast::hash(&(now_ns ^ header.run_id.rotate_left(32)).to_le_bytes());
        }
        writer.write_run()?;
        Ok((writer, tail))
    }

    /// Writes the header, in a new file behind the preamble, and syncs.
    fn write_run(&mut self) -> Result<(), JournalError> {
        self.frame.clear();
        if self.end == 0 {
            self.frame.extend_from_slice(&MAGIC);
            self.frame.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
            self.frame.extend_from_slice(&self.salt.to_le_bytes());
        }
        let start = self.frame.len();
        self.run_at = self.end + start as u64;
        self.frame.resize(start + FRAME_HEAD, 0);
        self.frame.extend_from_slice(&self.run);
        self.seal(start, KIND_RUN);
        self.write_frame()?;
        self.disk.sync().map_err(io_error("syncing"))
    }

    /// Writes one batch with one write. `count` events begin at `first_seq`; `at_ns` is the time
    /// that segments are measured by. Sequence numbers may jump forward, never back.
    ///
    /// # Errors
    /// `Sequence` and `TooLarge` refuse the batch and change nothing. After any other error the
    /// writer is `Broken`; open the file again.
    pub fn append(
        &mut self,
        first_seq: u64,
        count: u32,
        at_ns: u64,
        raw: &[u8],
    ) -> Result<Appended, JournalError> {
        if self.broken {
            return Err(JournalError::Broken);
        }
        if raw.len() > MAX_BATCH_BYTES {
            return Err(JournalError::TooLarge {
                bytes: raw.len(),
                limit: MAX_BATCH_BYTES,
            });
        }
        let expected = self.expected.unwrap_or(0);
        let next = first_seq.checked_add(u64::from(count));
        let (Some(next), true) = (next, count > 0 && first_seq >= expected) else {
            return Err(JournalError::Sequence {
                expected,
                got: first_seq,
            });
        };
        let mut synced = self.tick(at_ns)?;
        self.broken = true;
        if self.segment.is_none() && self.end - self.run_at >= REPEAT_RUN_BYTES {
            self.write_run()?;
        }
        let kind = if self.segment.is_some() {
            KIND_BATCH
        } else {
            KIND_SEGMENT
        };
        self.frame.clear();
        self.frame.resize(FRAME_HEAD, 0);
        if kind == KIND_SEGMENT {
            self.frame.extend_from_slice(&self.run_at.to_le_bytes());
        }
        self.frame.extend_from_slice(&first_seq.to_le_bytes());
        self.frame.extend_from_slice(&count.to_le_bytes());
        self.frame.extend_from_slice(&at_ns.to_le_bytes());
        self.frame
            .extend_from_slice(&(raw.len() as u32).to_le_bytes());
        self.compress(raw)?;
        self.seal(0, kind);
        self.write_frame()?;
        self.broken = false;
        self.expected = Some(next);
        let file_bytes = self.frame.len() as u64;
        let segment = self.segment.get_or_insert(Segment {
            started_ns: at_ns,
            bytes: 0,
        });
        segment.bytes += file_bytes;
        if segment.bytes >= self.config.segment_bytes {
            self.sync()?;
            synced = true;
        }
        Ok(Appended { file_bytes, synced })
    }

    /// Ends the segment and syncs if it is old enough by `now_ns`, or from the future because the
    /// clock was set back. Says whether it did.
    ///
    /// # Errors
    /// As [`Writer::sync`].
    pub fn tick(&mut self, now_ns: u64) -> Result<bool, JournalError> {
        match &self.segment {
            Some(segment) if now_ns.abs_diff(segment.started_ns) >= self.config.sync_every_ns => {
                self.sync()
            }
            _ => Ok(false),
        }
    }

    /// Ends the segment and syncs, if one is open. Says whether it did.
    ///
    /// # Errors
    /// The device's; the writer is broken then.
    pub fn sync(&mut self) -> Result<bool, JournalError> {
        if self.broken {
            return Err(JournalError::Broken);
        }
        if self.segment.is_none() {
            return Ok(false);
        }
        self.broken = true;
        self.disk.sync().map_err(io_error("syncing"))?;
        self.encoder.reinit().map_err(codec_error)?;
        self.segment = None;
        self.broken = false;
        Ok(true)
    }

    /// Syncs what is left and gives the device back.
    ///
    /// # Errors
    /// As [`Writer::sync`].
    pub fn close(mut self) -> Result<D, JournalError> {
        self.sync()?;
        Ok(self.disk)
    }

    /// Stops without syncing, as a kill would.
    pub fn abandon(self) -> D {
        self.disk
    }

    /// The device, for a test to change its faults.
    #[cfg(test)]
    pub(super) fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Bytes in the file.
    pub fn file_bytes(&self) -> u64 {
        self.end
    }

    /// Compresses onto the frame and flushes, so that the batch can be decoded from here.
    fn compress(&mut self, raw: &[u8]) -> Result<(), JournalError> {
        self.frame
            .reserve(zstd::compress_bound(raw.len()) + BATCH_HEAD + SEGMENT_HEAD);
        let filled = self.frame.len();
        let mut input = InBuffer::around(raw);
        let mut output = OutBuffer::around_pos(&mut self.frame, filled);
        while input.pos() < raw.len() {
            let before = (input.pos(), output.pos());
            self.encoder
                .run(&mut input, &mut output)
                .map_err(codec_error)?;
            if (input.pos(), output.pos()) == before {
                return Err(codec_error("compressed bytes exceed their bound"));
            }
        }
        if self.encoder.flush(&mut output).map_err(codec_error)? != 0 {
            return Err(codec_error("compressed bytes exceed their bound"));
        }
        Ok(())
    }

    /// Fills in kind, length and checksum of the frame that begins at `start` in the buffer.
    fn seal(&mut self, start: usize, kind: u8) {
        let (head, payload) = self.frame[start..].split_at_mut(FRAME_HEAD);
        head[0] = kind;
        head[1..5].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[5..9].copy_from_slice(&frame_crc(self.salt, kind, payload).to_le_bytes());
    }

    /// Writes the buffer at the end: one write, unless the device takes less than it is offered.
    fn write_frame(&mut self) -> Result<(), JournalError> {
        let mut written = 0;
        let mut retries = 0;
        while written < self.frame.len() {
            match self.disk.append(&self.frame[written..]) {
                Ok(0) => retries += 1,
                Ok(taken) => written += taken,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => retries += 1,
                Err(e) => return Err(io_error("writing")(e)),
            }
            if retries > MAX_WRITE_RETRIES {
                return Err(io_error("writing")(io::ErrorKind::WriteZero.into()));
            }
        }
        self.end += written as u64;
        Ok(())
    }
}

/// Walks the last `verify` bytes of the file and counts what is there.
fn recover<D: Disk>(reader: &mut Reader<D>, verify: u64) -> Result<Tail, JournalError> {
    let mut tail = Tail::default();
    let size = reader.disk().len().map_err(io_error("reading"))?;
    if size > verify && reader.skip_to(size - verify)? {
        tail.skipped_bytes = reader.position();
    }
    while let Some(item) = reader.next_item()? {
        match item {
            Item::Run(_) | Item::Missing { .. } => {}
            Item::Batch { count, .. } => {
                tail.batches += 1;
                tail.events += u64::from(count);
            }
            Item::Damaged { bytes, reason, .. } => {
                tail.damaged_bytes += bytes;
                tail.reason = Some(reason);
            }
        }
    }
    tail.last_seq = reader.next_seq().map(|next| next - 1);
    if let Some(ending) = reader.ending() {
        tail.truncated_bytes = ending.torn_bytes;
        tail.reason = ending.reason.or(tail.reason);
    }
    Ok(tail)
}
