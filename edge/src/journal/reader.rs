//! Reading a journal file: frame by frame, checking everything, stopping at a torn tail and
//! going on behind damage.

use super::{
    BATCH_HEAD, Disk, FORMAT_VERSION, FRAME_HEAD, Header, JournalError, KIND_BATCH, KIND_RUN,
    KIND_SEGMENT, MAGIC, MAX_BATCH_BYTES, MAX_FRAME_BYTES, PREAMBLE_BYTES, Reason, SEGMENT_HEAD,
    WINDOW_LOG, codec_error, frame_crc, io_error, u32_at, u64_at,
};
use std::io::ErrorKind;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// Bytes fetched from the device at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Places that look like the start of a segment and are checked behind one damaged frame. Random
/// bytes look so once in about 500 kB.
const MAX_CANDIDATES: u32 = 65_536;
/// Interrupted reads that are tried again for one refill.
const MAX_INTERRUPTS: u32 = 16;
/// A seek stops bisecting when it knows the place to this many bytes.
const SEEK_GRAIN: u64 = 64 << 10;

/// One thing met in a journal, in the order written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// A run begins, or goes on after its file was opened again (then with the same `run_id`).
    Run(&'a Header),
    /// A batch of events.
    Batch {
        /// Sequence number of its first event.
        first_seq: u64,
        /// Number of events.
        count: u32,
        /// When it was written, unix nanoseconds of event time.
        at_ns: u64,
        /// The bytes given to [`super::Writer::append`].
        bytes: &'a [u8],
    },
    /// These sequence numbers, both included, were never written or cannot be read.
    Missing {
        /// First one missing.
        from_seq: u64,
        /// Last one missing.
        to_seq: u64,
    },
    /// These bytes cannot be read although good data follows.
    Damaged {
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// What is wrong with the first frame there.
        reason: Reason,
    },
}

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Where the last good frame ends.
    pub good_bytes: u64,
    /// Bytes behind it that cannot be read; 0 for a clean end.
    pub torn_bytes: u64,
    /// What is wrong with them.
    pub reason: Option<Reason>,
}

/// The item that the reader stands on.
enum Current {
    Nothing,
    Run,
    Batch,
    Missing {
        from_seq: u64,
        to_seq: u64,
    },
    Damaged {
        offset: u64,
        bytes: u64,
        reason: Reason,
    },
}

/// What one frame turned out to be.
enum Step {
    Run,
    Batch,
    End,
    Bad(Reason),
}

/// Fields of the batch that lies decoded in `Reader::raw`.
#[derive(Clone, Copy, Default)]
struct BatchFields {
    first_seq: u64,
    count: u32,
    at_ns: u64,
    raw_len: usize,
}

impl BatchFields {
    /// Reads and checks the fixed fields; `None` if they contradict each other.
    fn parse(head: &[u8]) -> Option<Self> {
        let fields = Self {
            first_seq: u64_at(head, 0),
            count: u32_at(head, 8),
            at_ns: u64_at(head, 12),
            raw_len: u32_at(head, 20) as usize,
        };
        let sound = fields.count > 0
            && fields.raw_len <= MAX_BATCH_BYTES
            && fields
                .first_seq
                .checked_add(u64::from(fields.count))
                .is_some();
        sound.then_some(fields)
    }
}

/// A window over the device that is refilled in chunks.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    at: u64,
}

impl Window {
    /// Up to `len` bytes at `offset`; fewer only where the file ends.
    fn get<D: Disk>(&mut self, disk: &D, offset: u64, len: usize) -> Result<&[u8], JournalError> {
        let held = self.at + self.bytes.len() as u64;
        if offset < self.at || offset + len as u64 > held {
            self.fill(disk, offset, len.max(CHUNK_BYTES))?;
        }
        let from = ((offset - self.at) as usize).min(self.bytes.len());
        let to = (from + len).min(self.bytes.len());
        Ok(&self.bytes[from..to])
    }

    /// The bytes held from `offset` on, at least one unless the file ends there.
    fn some<D: Disk>(&mut self, disk: &D, offset: u64) -> Result<&[u8], JournalError> {
        let held = self.at + self.bytes.len() as u64;
        if offset < self.at || offset >= held {
            self.fill(disk, offset, CHUNK_BYTES)?;
        }
        Ok(&self.bytes[(offset - self.at) as usize..])
    }

    fn fill<D: Disk>(&mut self, disk: &D, offset: u64, want: usize) -> Result<(), JournalError> {
        let size = disk.len().map_err(io_error("reading"))?;
        let want = want.min(size.saturating_sub(offset) as usize);
        self.at = offset;
        self.bytes.resize(want, 0);
        let mut have = 0;
        let mut interrupted = 0;
        while have < want {
            let got = match disk.read_at(offset + have as u64, &mut self.bytes[have..]) {
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::Interrupted && interrupted < MAX_INTERRUPTS => {
                    interrupted += 1;
                    continue;
                }
                Err(e) => {
                    self.bytes.clear();
                    return Err(io_error("reading")(e));
                }
            };
            if got == 0 {
                break;
            }
            have += got;
        }
        self.bytes.truncate(have);
        Ok(())
    }
}

/// A frame that passed its checksum: kind and whole length. Its payload is in the window.
struct Frame {
    kind: u8,
    bytes: u64,
}

/// Reads one journal file. Call [`Reader::next_item`] until `None`, then ask [`Reader::ending`].
pub struct Reader<D: Disk> {
    disk: D,
    size: u64,
    position: u64,
    salt: u32,
    window: Window,
    decoder: Decoder<'static>,
    raw: Vec<u8>,
    fields: BatchFields,
    header: Option<Header>,
    /// Where the run in force began, and whether its header is still to be shown.
    run_at: Option<u64>,
    show_run: bool,
    /// The decoder stands in a whole segment.
    in_segment: bool,
    /// A run has just begun: its sequence may start lower than the last one ended.
    may_go_back: bool,
    expected: Option<u64>,
    /// A decoded batch waits behind the `Missing` in front of it.
    batch_waits: bool,
    current: Current,
    ending: Option<Ending>,
}

impl<D: Disk> Reader<D> {
    /// Begins to read. A file that ends inside its preamble, or whose preamble was only partly
    /// written, is a torn file without items.
    ///
    /// # Errors
    /// `NotAJournal`, `Version`, or the device's.
    pub fn open(disk: D) -> Result<Self, JournalError> {
        let size = disk.len().map_err(io_error("reading"))?;
        let mut decoder = Decoder::new().map_err(codec_error)?;
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
            .map_err(codec_error)?;
        let mut reader = Self {
            disk,
            size,
            position: PREAMBLE_BYTES,
            salt: 0,
            window: Window::default(),
            decoder,
            raw: Vec::new(),
            fields: BatchFields::default(),
            header: None,
            run_at: None,
            show_run: false,
            in_segment: false,
            may_go_back: false,
            expected: None,
            batch_waits: false,
            current: Current::Nothing,
            ending: None,
        };
        reader.read_preamble()?;
        Ok(reader)
    }

    fn read_preamble(&mut self) -> Result<(), JournalError> {
        let preamble = self.window.get(&self.disk, 0, PREAMBLE_BYTES as usize)?;
        let mut expected = [0; 12];
        expected[..8].copy_from_slice(&MAGIC);
        expected[8..].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let whole = preamble.len() == PREAMBLE_BYTES as usize;
        if whole && preamble[..12] == expected {
            self.salt = u32_at(preamble, 12);
            return Ok(());
        }
        if whole && preamble[..8] == MAGIC && preamble[8..12] != [0; 4] {
            return Err(JournalError::Version(u32_at(preamble, 8)));
        }
        // A power cut while the file was made leaves any part of the preamble, and zeros.
        if preamble
            .iter()
            .zip(expected)
            .any(|(&found, right)| found != right && found != 0)
        {
            return Err(JournalError::NotAJournal);
        }
        let reason = (self.size > 0).then_some(Reason::Truncated);
        self.ending = Some(Ending {
            good_bytes: 0,
            torn_bytes: self.size,
            reason,
        });
        Ok(())
    }

    /// The next item, or `None` at the end.
    ///
    /// # Errors
    /// The device's. Damage is no error, it is an item or the ending.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, JournalError> {
        Ok(if self.advance()? { self.item() } else { None })
    }

    /// Steps to the next item; `false` at the end. The item is then had from [`Reader::item`].
    ///
    /// # Errors
    /// As [`Reader::next_item`].
    pub fn advance(&mut self) -> Result<bool, JournalError> {
        self.current = Current::Nothing;
        if self.show_run {
            self.show_run = false;
            self.current = Current::Run;
            return Ok(true);
        }
        if self.batch_waits {
            self.batch_waits = false;
            self.current = Current::Batch;
            return Ok(true);
        }
        if self.ending.is_some() {
            return Ok(false);
        }
        match self.step()? {
            Step::Run => self.current = Current::Run,
            Step::Batch => self.accept_batch(),
            Step::End => {
                self.ending = Some(Ending {
                    good_bytes: self.position,
                    torn_bytes: 0,
                    reason: None,
                });
            }
            Step::Bad(reason) => self.pass_damage(reason)?,
        }
        Ok(!matches!(self.current, Current::Nothing))
    }

    /// The item that the reader stands on.
    pub fn item(&self) -> Option<Item<'_>> {
        Some(match self.current {
            Current::Nothing => return None,
            Current::Run => Item::Run(self.header.as_ref()?),
            Current::Batch => {
                let BatchFields {
                    first_seq,
                    count,
                    at_ns,
                    raw_len,
                } = self.fields;
                Item::Batch {
                    first_seq,
                    count,
                    at_ns,
                    bytes: self.raw.get(..raw_len)?,
                }
            }
            Current::Missing { from_seq, to_seq } => Item::Missing { from_seq, to_seq },
            Current::Damaged {
                offset,
                bytes,
                reason,
            } => Item::Damaged {
                offset,
                bytes,
                reason,
            },
        })
    }

    /// How the file ended, once it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The sequence number that would come next, if any batch was read.
    pub fn next_seq(&self) -> Option<u64> {
        self.expected
    }

    /// Says what the file before ended with, so that a jump between two files is seen.
    pub fn continue_from(&mut self, next_seq: Option<u64>) {
        self.expected = next_seq;
        self.may_go_back = true;
    }

    /// The device read from.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Gives the device back.
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// Bytes held in buffers.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.window.bytes.capacity() + self.raw.capacity()
    }

    /// Where the next frame begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The salt of the file's checksums.
    pub(super) fn salt(&self) -> u32 {
        self.salt
    }

    /// Enters the file at the first segment or run at or after `offset`; the header of the run in
    /// force is the next item. `false`, and nothing changed, if there is none.
    ///
    /// # Errors
    /// The device's.
    pub fn skip_to(&mut self, offset: u64) -> Result<bool, JournalError> {
        if self.ending.is_some_and(|e| e.good_bytes == 0) {
            return Ok(false);
        }
        let mut from = offset.max(PREAMBLE_BYTES);
        while let Some(at) = self.find_entry(from, self.size, true)? {
            if self.enter(at)? {
                return Ok(true);
            }
            from = at + 1;
        }
        Ok(false)
    }

    /// Enters the file near the last segment whose first batch begins at or before `seq`: at most
    /// 64 KiB and one segment too early. `false`, and the reader at the beginning, if there is none.
    ///
    /// # Errors
    /// The device's.
    pub fn seek(&mut self, seq: u64) -> Result<bool, JournalError> {
        let (mut low, mut high) = (PREAMBLE_BYTES, self.size);
        let mut best = None;
        // The first segment is asked for in any case; then each step halves what is left.
        let mut probe = low;
        while low < high {
            match self.find_entry(probe, high, false)? {
                Some(at) if self.first_seq_at(at)?.is_some_and(|first| first <= seq) => {
                    best = Some(at);
                    low = at + 1;
                }
                _ => high = probe,
            }
            if high.saturating_sub(low) <= SEEK_GRAIN {
                break;
            }
            probe = low + (high - low) / 2;
        }
        match best {
            Some(at) => self.enter(at),
            None => Ok(false),
        }
    }

    /// First sequence number of the segment frame at `at`, which has been checked.
    fn first_seq_at(&mut self, at: u64) -> Result<Option<u64>, JournalError> {
        let need = FRAME_HEAD + SEGMENT_HEAD + BATCH_HEAD;
        let bytes = self.window.get(&self.disk, at, need)?;
        Ok((bytes.len() == need).then(|| u64_at(bytes, FRAME_HEAD + SEGMENT_HEAD)))
    }

    /// Stands at a segment or run frame, with the run's header loaded.
    fn enter(&mut self, at: u64) -> Result<bool, JournalError> {
        let Ok(frame) = self.frame(at)? else {
            return Ok(false);
        };
        if frame.kind == KIND_SEGMENT {
            let bytes = self.window.get(&self.disk, at, FRAME_HEAD + SEGMENT_HEAD)?;
            let run_at = u64_at(bytes, FRAME_HEAD);
            if self.run_at != Some(run_at) {
                if run_at >= at || !self.load_run(run_at)? {
                    return Ok(false);
                }
                self.run_at = Some(run_at);
            }
            self.show_run = true;
        }
        self.position = at;
        self.in_segment = false;
        self.batch_waits = false;
        self.expected = None;
        self.ending = None;
        self.current = Current::Nothing;
        Ok(true)
    }

    /// Loads the header at `at`; `false` if there is no good one.
    fn load_run(&mut self, at: u64) -> Result<bool, JournalError> {
        let Ok(frame) = self.frame(at)? else {
            return Ok(false);
        };
        if frame.kind != KIND_RUN {
            return Ok(false);
        }
        let bytes = self.window.get(&self.disk, at, frame.bytes as usize)?;
        let Ok(header) = postcard::from_bytes(&bytes[FRAME_HEAD..]) else {
            return Ok(false);
        };
        self.header = Some(header);
        Ok(true)
    }

    /// Reads the frame at the position and moves behind it if it is good.
    fn step(&mut self) -> Result<Step, JournalError> {
        if self.position >= self.size {
            return Ok(Step::End);
        }
        let at = self.position;
        let frame = match self.frame(at)? {
            Ok(frame) => frame,
            Err(reason) => return Ok(Step::Bad(reason)),
        };
        if frame.kind == KIND_RUN {
            if !self.load_run(at)? {
                return Ok(Step::Bad(Reason::BadFields));
            }
            self.run_at = Some(at);
            self.in_segment = false;
            self.may_go_back = true;
            self.position += frame.bytes;
            return Ok(Step::Run);
        }
        if let Err(reason) = self.decode(at, &frame)? {
            self.in_segment = false;
            return Ok(Step::Bad(reason));
        }
        self.position += frame.bytes;
        Ok(Step::Batch)
    }

    /// Checks the frame at `at`: kind, length, checksum.
    fn frame(&mut self, at: u64) -> Result<Result<Frame, Reason>, JournalError> {
        let head = self.window.get(&self.disk, at, FRAME_HEAD)?;
        if head.len() < FRAME_HEAD {
            return Ok(Err(Reason::Truncated));
        }
        let (kind, len, crc) = (head[0], u32_at(head, 1) as usize, u32_at(head, 5));
        let least = match kind {
            KIND_RUN => 1,
            KIND_BATCH => BATCH_HEAD,
            KIND_SEGMENT => SEGMENT_HEAD + BATCH_HEAD,
            _ => return Ok(Err(Reason::UnknownKind)),
        };
        if len < least || len > MAX_FRAME_BYTES {
            return Ok(Err(Reason::BadLength));
        }
        // Asked before the window grows: a forged length in a small file costs nothing.
        if at + (FRAME_HEAD + len) as u64 > self.size {
            return Ok(Err(Reason::Truncated));
        }
        let bytes = self.window.get(&self.disk, at, FRAME_HEAD + len)?;
        if bytes.len() < FRAME_HEAD + len {
            return Ok(Err(Reason::Truncated));
        }
        if frame_crc(self.salt, kind, &bytes[FRAME_HEAD..]) != crc {
            return Ok(Err(Reason::BadChecksum));
        }
        Ok(Ok(Frame {
            kind,
            bytes: (FRAME_HEAD + len) as u64,
        }))
    }

    /// Decodes the batch in the checked frame at `at` into `raw`.
    fn decode(&mut self, at: u64, frame: &Frame) -> Result<Result<(), Reason>, JournalError> {
        let bytes = self.window.get(&self.disk, at, frame.bytes as usize)?;
        let mut payload = &bytes[FRAME_HEAD..];
        if frame.kind == KIND_SEGMENT {
            if self.run_at != Some(u64_at(payload, 0)) {
                return Ok(Err(Reason::NoRun));
            }
            payload = &payload[SEGMENT_HEAD..];
            self.decoder.reinit().map_err(codec_error)?;
            self.in_segment = true;
        } else if !self.in_segment {
            return Ok(Err(Reason::NoSegment));
        }
        let Some(fields) = BatchFields::parse(payload) else {
            return Ok(Err(Reason::BadFields));
        };
        let goes_back = self
            .expected
            .is_some_and(|expected| fields.first_seq < expected);
        if goes_back && !self.may_go_back {
            return Ok(Err(Reason::SequenceBack));
        }
        // One byte more than promised, so that too much is noticed as well as too little.
        if self.raw.len() <= fields.raw_len {
            self.raw.resize(fields.raw_len + 1, 0);
        }
        let mut input = InBuffer::around(&payload[BATCH_HEAD..]);
        let mut output = OutBuffer::around(&mut self.raw[..fields.raw_len + 1]);
        loop {
            let before = (input.pos(), output.pos());
            if self.decoder.run(&mut input, &mut output).is_err() {
                return Ok(Err(Reason::BadCompression));
            }
            if (input.pos(), output.pos()) == before || output.pos() > fields.raw_len {
                break;
            }
        }
        if output.pos() != fields.raw_len || input.pos() != payload.len() - BATCH_HEAD {
            return Ok(Err(Reason::BadCompression));
        }
        self.fields = fields;
        Ok(Ok(()))
    }

    /// A batch was decoded: shows it, or first what is missing before it.
    fn accept_batch(&mut self) {
        let BatchFields {
            first_seq, count, ..
        } = self.fields;
        self.current = match self.expected {
            Some(expected) if expected < first_seq => {
                self.batch_waits = true;
                Current::Missing {
                    from_seq: expected,
                    to_seq: first_seq - 1,
                }
            }
            _ => Current::Batch,
        };
        self.expected = Some(first_seq + u64::from(count));
        self.may_go_back = false;
    }

    /// The frame at the position is bad: goes on at the next segment or run, or ends here.
    fn pass_damage(&mut self, reason: Reason) -> Result<(), JournalError> {
        let offset = self.position;
        self.in_segment = false;
        match self.find_entry(offset + 1, self.size, true)? {
            Some(at) => {
                self.position = at;
                self.current = Current::Damaged {
                    offset,
                    bytes: at - offset,
                    reason,
                };
            }
            None => {
                let torn_bytes = self.size - offset;
                self.ending = Some(Ending {
                    good_bytes: offset,
                    torn_bytes,
                    reason: Some(reason),
                });
            }
        }
        Ok(())
    }

    /// The first good segment frame (or run frame, if wanted) that begins in `from..to`.
    fn find_entry(
        &mut self,
        from: u64,
        to: u64,
        or_run: bool,
    ) -> Result<Option<u64>, JournalError> {
        let is_entry = |kind: u8| kind == KIND_SEGMENT || (or_run && kind == KIND_RUN);
        let mut at = from;
        let mut candidates = 0;
        while at < to && candidates < MAX_CANDIDATES {
            let chunk = self.window.some(&self.disk, at)?;
            if chunk.is_empty() {
                break;
            }
            match chunk.iter().position(|&kind| is_entry(kind)) {
                None => at += chunk.len() as u64,
                Some(skip) => {
                    at += skip as u64;
                    if at >= to {
                        break;
                    }
                    match self.frame(at)? {
                        Ok(_) => return Ok(Some(at)),
                        // Only a plausible length costs more than a glance.
                        Err(Reason::BadChecksum) => candidates += 1,
                        Err(_) => {}
                    }
                    at += 1;
                }
            }
        }
        Ok(None)
    }
}
