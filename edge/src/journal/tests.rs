//! What a journal must survive: torn tails at each byte, flipped bits, power cuts, full disks.

mod faults;
mod recording;

use super::days::day_path;
use super::faulty::{Faults, FaultyDisk};
use super::recorder::Recorder;
use super::*;
use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// 2026-03-01T00:00:00Z.
const MARCH: u64 = 1_772_323_200 * SECOND;

fn header(run_id: u64) -> Header {
    Header {
        schema_id: [7; 32],
        run_id,
        seed: 42,
        created_ns: MARCH,
        instruments: b"BTC-USD ETH-USD".to_vec(),
    }
}

fn config() -> JournalConfig {
    JournalConfig::standard(30)
}

/// Small segments, so that a short file has several.
fn small() -> JournalConfig {
    JournalConfig {
        segment_bytes: 300,
        ..config()
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let x = self.0 ^ (self.0 >> 33);
        x.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (x >> 29)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 8) % bound
    }
}

/// A batch whose bytes follow from its sequence number, so that wrong bytes are noticed.
fn batch(first_seq: u64, at_ns: u64) -> Batch {
    let mut random = Random(first_seq ^ 0x5eed);
    let count = 1 + random.below(5) as u32;
    let mut bytes = Vec::new();
    for event in 0..u64::from(count) {
        bytes.extend_from_slice(&(first_seq + event).to_le_bytes());
        bytes.extend_from_slice(b"kraken BTC/USD bid ");
        bytes.extend_from_slice(&random.below(1 << 20).to_le_bytes()[..3]);
    }
    Batch {
        first_seq,
        count,
        at_ns,
        bytes,
    }
}

/// `count` batches in sequence, a tenth of a second apart.
fn batches(count: usize) -> Vec<Batch> {
    let mut first_seq = 100;
    (0..count as u64)
        .map(|index| {
            let one = batch(first_seq, MARCH + index * SECOND / 10);
            first_seq += u64::from(one.count);
            one
        })
        .collect()
}

fn write<D: Disk>(writer: &mut Writer<D>, one: &Batch) -> Result<Appended, JournalError> {
    writer.append(one.first_seq, one.count, one.at_ns, &one.bytes)
}

fn sound_disk() -> FaultyDisk {
    FaultyDisk::new(1, Faults::NONE)
}

/// Lets the test keep the device while something writes to it.
#[derive(Clone)]
struct Shared(Rc<RefCell<FaultyDisk>>);
impl Shared {
    fn new(disk: FaultyDisk) -> Self {
        Self(Rc::new(RefCell::new(disk)))
    }
}

impl Disk for Shared {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().append(bytes)
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow().read_at(offset, out)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.borrow().len()
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.borrow_mut().truncate(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.borrow_mut().sync()
    }
}

/// A closed file with these batches.
fn file(list: &[Batch], config: JournalConfig) -> Vec<u8> {
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config, MARCH).unwrap();
    for one in list {
        write(&mut writer, one).unwrap();
    }
    writer.close().unwrap().bytes().to_vec()
}

/// Everything in a file.
#[derive(Debug, Default)]
struct Contents {
    runs: Vec<u64>,
    batches: Vec<Batch>,
    missing: Vec<(u64, u64)>,
    damaged: u64,
    ending: Option<Ending>,
}

fn read(bytes: &[u8]) -> Result<Contents, JournalError> {
    let mut reader = Reader::open(FaultyDisk::with_bytes(bytes.to_vec(), 0, Faults::NONE))?;
    let mut contents = Contents::default();
    while let Some(item) = reader.next_item()? {
        match item {
            Item::Run(header) => contents.runs.push(header.run_id),
            Item::Batch {
                first_seq,
                count,
                at_ns,
                bytes,
            } => {
                contents.batches.push(Batch {
                    first_seq,
                    count,
                    at_ns,
                    bytes: bytes.to_vec(),
                });
            }
            Item::Missing { from_seq, to_seq } => contents.missing.push((from_seq, to_seq)),
            Item::Damaged { bytes, .. } => contents.damaged += bytes,
        }
    }
    contents.ending = reader.ending();
    Ok(contents)
}

#[test]
fn dates_are_civil() {
    let named = |days: u64| day_name(days);
    assert_eq!(named(0), "1970-01-01");
    assert_eq!(named(11_016), "2000-02-29");
    assert_eq!(named(11_017), "2000-03-01");
    assert_eq!(named(day_of(MARCH)), "2026-03-01");
    assert_eq!(named(day_of(MARCH - 1)), "2026-02-28");
    assert_eq!(
        stamp(MARCH + 3_661 * SECOND + 5),
        "2026-03-01T010101.000000005Z"
    );
    for day in 0..80_000 {
        assert_eq!(parse_day(&format!("{}.tml", day_name(day))), Some(day));
    }
    for name in [
        "2026-02-30.tml",
        "2026-03-01",
        "2026-3-1.tml",
        "1969-12-31.tml",
        "x.tml",
        ".tml",
    ] {
        assert_eq!(parse_day(name), None, "{name}");
    }
    assert_eq!(parse_day("2026-03-01.tml.corrupt-1"), None);
}

#[test]
fn what_is_written_is_read() {
    let mut list = batches(300);
    list[7].bytes.clear();
    list[8].bytes = (0..MAX_BATCH_BYTES as u64)
        .map(|i| Random(i).next() as u8)
        .collect();
    let contents = read(&file(&list, config())).unwrap();
    assert_eq!(contents.batches, list);
    assert_eq!(contents.runs, [1]);
    assert_eq!(contents.missing, []);
    assert_eq!(contents.ending.unwrap().torn_bytes, 0);
}

#[test]
fn a_batch_is_readable_as_soon_as_it_is_written() {
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config(), MARCH).unwrap();
    for one in batches(5) {
        write(&mut writer, &one).unwrap();
    }
    // No sync and no end of the segment.
    assert_eq!(read(writer.abandon().bytes()).unwrap().batches, batches(5));
}

#[test]
fn segments_end_by_size_and_by_age() {
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config(), MARCH).unwrap();
    assert!(!writer.tick(MARCH + DAY).unwrap(), "nothing to sync");
    let one = batch(1, MARCH);
    assert!(!write(&mut writer, &one).unwrap().synced);
    assert!(!writer.tick(MARCH + 9 * SECOND).unwrap());
    assert!(writer.tick(MARCH + 10 * SECOND).unwrap());
    let next = batch(1 + u64::from(one.count), MARCH + 60 * SECOND);
    write(&mut writer, &next).unwrap();
    assert!(
        writer.tick(MARCH).unwrap(),
        "a clock set back does not put the sync off"
    );
    // Bytes without pattern fill a segment at once.
    let noise: Vec<u8> = (0..20_000u64).map(|i| Random(i).next() as u8).collect();
    assert!(
        writer
            .append(1_000, 1, MARCH + 61 * SECOND, &noise)
            .unwrap()
            .synced
    );
    assert_eq!(
        writer.abandon().honest_syncs(),
        4,
        "the header and three segments"
    );
}

#[test]
fn a_restart_appends_a_run() {
    let list = batches(40);
    let disk = FaultyDisk::with_bytes(file(&list[..20], small()), 0, Faults::NONE);
    let (mut writer, tail) = Writer::open(disk, &header(2), small(), MARCH).unwrap();
    let last = &list[19];
    assert_eq!(
        tail.last_seq,
        Some(last.first_seq + u64::from(last.count) - 1)
    );
    assert_eq!(tail.batches, 20);
    assert_eq!(
        tail.events,
        list[..20].iter().map(|b| u64::from(b.count)).sum::<u64>()
    );
    assert_eq!(
        (tail.truncated_bytes, tail.damaged_bytes, tail.reason),
        (0, 0, None)
    );
    for one in &list[20..] {
        write(&mut writer, one).unwrap();
    }
    let contents = read(writer.close().unwrap().bytes()).unwrap();
    assert_eq!(contents.runs, [1, 2]);
    assert_eq!(contents.batches, list);
    assert_eq!(contents.missing, []);
}

#[test]
fn a_tail_torn_at_any_byte_leaves_a_prefix() {
    let list = batches(24);
    let whole = file(&list, small());
    let mut seen = 0;
    for cut in 0..whole.len() {
        let contents = read(&whole[..cut]).unwrap();
        let got = contents.batches.len();
        assert_eq!(contents.batches, list[..got], "cut at {cut}");
        assert!(
            got == seen || got == seen + 1,
            "cut at {cut}: {seen} then {got}"
        );
        seen = got;
        let ending = contents.ending.unwrap();
        assert_eq!(ending.good_bytes + ending.torn_bytes, cut as u64);
        assert_eq!(ending.torn_bytes > 0, ending.reason.is_some());

        // Recovery cuts there and goes on.
        let disk = FaultyDisk::with_bytes(whole[..cut].to_vec(), 0, Faults::NONE);
        let (mut writer, tail) = Writer::open(disk, &header(2), small(), MARCH).unwrap();
        assert_eq!(
            (tail.batches, tail.truncated_bytes),
            (got as u64, ending.torn_bytes)
        );
        if let Some(next) = list.get(got) {
            write(&mut writer, next).unwrap();
        }
        let again = read(writer.close().unwrap().bytes()).unwrap();
        assert_eq!(
            again.batches,
            list[..(got + 1).min(list.len())],
            "cut at {cut}"
        );
        assert_eq!(again.ending.unwrap().torn_bytes, 0);
    }
    assert_eq!(seen, list.len() - 1);
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let list = batches(24);
    let whole = file(&list, small());
    let mut survivors = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let contents = match read(&bytes) {
            Ok(contents) => contents,
            Err(JournalError::NotAJournal | JournalError::Version(_)) if at < 12 => continue,
            Err(error) => panic!("flip at {at}: {error}"),
        };
        let torn = contents.ending.unwrap().torn_bytes;
        assert!(
            contents.damaged > 0 || torn > 0,
            "flip at {at} passed unseen"
        );
        assert!(contents.batches.len() < list.len(), "flip at {at}");
        for one in &contents.batches {
            assert!(list.contains(one), "flip at {at} gave wrong bytes");
        }
        survivors = survivors.max(contents.batches.len());
        // What the damage cost is said in sequence numbers too, if anything was read behind it.
        if let (true, Some(end)) = (contents.damaged > 0, contents.batches.last()) {
            let read: u64 = contents.batches.iter().map(|b| u64::from(b.count)).sum();
            let missing: u64 = contents
                .missing
                .iter()
                .map(|(from, to)| to - from + 1)
                .sum();
            let first = contents.batches[0].first_seq;
            assert_eq!(read + missing, end.first_seq + u64::from(end.count) - first);
        }
    }
    assert!(survivors > list.len() / 2, "reading goes on behind damage");
}

#[test]
fn damage_in_the_middle_is_kept_and_passed() {
    let list = batches(60);
    let mut bytes = file(&list, small());
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 40] {
        *byte = 0;
    }
    let disk = FaultyDisk::with_bytes(bytes.clone(), 0, Faults::NONE);
    let (writer, tail) = Writer::open(disk, &header(2), small(), MARCH).unwrap();
    assert_eq!(tail.truncated_bytes, 0);
    assert!(
        tail.damaged_bytes >= 40 && tail.damaged_bytes < 1_000,
        "{tail:?}"
    );
    assert!(tail.reason.is_some());
    let last = list.last().unwrap();
    assert_eq!(
        tail.last_seq,
        Some(last.first_seq + u64::from(last.count) - 1)
    );
    assert!(writer.abandon().bytes().starts_with(&bytes));
}

#[test]
fn jumps_in_the_sequence_are_reported() {
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config(), MARCH).unwrap();
    writer.append(10, 5, MARCH, b"a").unwrap();
    writer.append(20, 1, MARCH, b"b").unwrap();
    assert!(matches!(
        writer.append(20, 1, MARCH, b"c"),
        Err(JournalError::Sequence {
            expected: 21,
            got: 20
        })
    ));
    assert!(matches!(
        writer.append(21, 0, MARCH, b"c"),
        Err(JournalError::Sequence { .. })
    ));
    assert!(matches!(
        writer.append(u64::MAX, 1, MARCH, b"c"),
        Err(JournalError::Sequence { .. })
    ));
    let large = vec![0; MAX_BATCH_BYTES + 1];
    assert!(matches!(
        writer.append(21, 1, MARCH, &large),
        Err(JournalError::TooLarge { .. })
    ));
    writer.append(21, 1, MARCH, b"d").unwrap();
    let contents = read(writer.close().unwrap().bytes()).unwrap();
    assert_eq!(contents.missing, [(15, 19)]);
    assert_eq!(contents.batches.len(), 3, "refusals leave the writer whole");
}

#[test]
fn arbitrary_bytes_neither_panic_nor_pass() {
    let whole = file(&batches(24), small());
    for seed in 0..1_500u64 {
        let mut random = Random(seed);
        let bytes: Vec<u8> = if seed % 3 == 0 {
            let mut bytes = whole[..PREAMBLE_BYTES as usize].to_vec();
            for _ in 0..random.below(400) {
                let kinds = [KIND_RUN, KIND_SEGMENT, KIND_BATCH, 0, random.next() as u8];
                bytes.push(kinds[random.below(5) as usize]);
            }
            bytes
        } else {
            // A good file with pieces overwritten, moved, or cut out.
            let mut bytes = whole.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                let len = random.below((bytes.len() - at) as u64 + 1) as usize % 64;
                match random.below(3) {
                    0 => bytes[at..at + len].fill_with(|| random.next() as u8),
                    1 => bytes.copy_within(at..at + len, 0),
                    _ => drop(bytes.drain(at..at + len)),
                }
            }
            bytes
        };
        if let Ok(contents) = read(&bytes) {
            let list = batches(24);
            assert!(
                contents.batches.iter().all(|one| list.contains(one)),
                "seed {seed}"
            );
        }
        let disk = FaultyDisk::with_bytes(bytes.clone(), seed, Faults::NONE);
        let mut reader = match Reader::open(disk) {
            Ok(reader) => reader,
            Err(_) => continue,
        };
        reader.seek(random.below(200)).unwrap();
        reader.skip_to(random.below(4_000)).unwrap();
        while reader.next_item().unwrap().is_some() {}
    }
}

#[test]
fn a_forged_length_does_not_allocate() {
    let mut bytes = file(&[], config());
    bytes.push(KIND_BATCH);
    bytes.extend_from_slice(&(MAX_FRAME_BYTES as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 100]);
    let mut reader = Reader::open(FaultyDisk::with_bytes(bytes, 0, Faults::NONE)).unwrap();
    while reader.next_item().unwrap().is_some() {}
    assert_eq!(reader.ending().unwrap().reason, Some(Reason::Truncated));
    assert!(reader.held_bytes() < 1 << 17, "{}", reader.held_bytes());
}

#[test]
fn other_files_are_refused_by_name() {
    assert!(matches!(
        read(b"{\"not\": \"a journal\"}"),
        Err(JournalError::NotAJournal)
    ));
    let mut bytes = file(&[], config());
    bytes[8] = 9;
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, JournalError::Version(9)));
    assert!(error.to_string().contains("version 9"), "{error}");
    assert_eq!(read(b"").unwrap().ending.unwrap().torn_bytes, 0);
    assert_eq!(read(b"TMLJ").unwrap().ending.unwrap().torn_bytes, 4);
}

#[test]
fn a_segment_of_another_file_does_not_pass() {
    let list = batches(30);
    let here = file(&list[..2], small());
    let (mut other, _) = Writer::open(sound_disk(), &header(1), small(), MARCH + 1).unwrap();
    for one in &list {
        write(&mut other, one).unwrap();
    }
    let other = other.close().unwrap().bytes().to_vec();
    let mut bytes = here.clone();
    bytes.extend_from_slice(&other[here.len()..]);
    let contents = read(&bytes).unwrap();
    assert_eq!(contents.batches, list[..2]);
    assert_eq!(contents.ending.unwrap().reason, Some(Reason::BadChecksum));
}

#[test]
fn a_stale_segment_of_the_same_run_does_not_pass() {
    let list = batches(30);
    let whole = file(&list, small());
    let header = file(&[], small()).len();
    let mut bytes = whole.clone();
    bytes.extend_from_slice(&whole[header..]);
    let contents = read(&bytes).unwrap();
    assert_eq!(contents.batches, list);
    let ending = contents.ending.unwrap();
    assert_eq!(ending.reason, Some(Reason::SequenceBack));
    assert_eq!(
        contents.damaged + ending.torn_bytes,
        (whole.len() - header) as u64
    );
}

#[test]
fn seeking_lands_close_before() {
    let list = batches(4_000);
    let bytes = file(&list, small());
    for target in [0, 99, 100, 101, 2_000, 7_000, 11_000, 1_000_000] {
        let mut reader =
            Reader::open(FaultyDisk::with_bytes(bytes.clone(), 0, Faults::NONE)).unwrap();
        let found = reader.seek(target).unwrap();
        assert_eq!(found, target >= 100);
        assert!(
            matches!(reader.next_item().unwrap(), Some(Item::Run(_))),
            "the run comes first"
        );
        let Some(Item::Batch { first_seq, .. }) = reader.next_item().unwrap() else {
            panic!("no batch")
        };
        assert!(!found || first_seq <= target);
        let mut rest = 1;
        while reader.next_item().unwrap().is_some() {
            rest += 1;
        }
        let due = list.iter().filter(|one| one.first_seq >= target).count();
        assert!(rest >= due, "nothing at or after {target} is passed over");
        assert!(rest < due + 2_500, "{rest} batches for {due}");
        assert_eq!(reader.ending().unwrap().torn_bytes, 0);
    }
}

#[test]
fn long_files_repeat_the_run_and_are_verified_from_near_the_end() {
    let noise: Vec<u8> = (0..400_000u64).map(|i| Random(i).next() as u8).collect();
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config(), MARCH).unwrap();
    for seq in 0..30 {
        writer
            .append(seq, 1, MARCH, &noise[seq as usize..])
            .unwrap();
    }
    let mut bytes = writer.close().unwrap().bytes().to_vec();
    assert!(bytes.len() as u64 > VERIFY_TAIL_BYTES);
    assert_eq!(
        read(&bytes).unwrap().runs,
        [1, 1, 1],
        "at the start and after each 4 MiB"
    );
    bytes.truncate(bytes.len() - 1);
    let disk = FaultyDisk::with_bytes(bytes.clone(), 0, Faults::NONE);
    let (_, tail) = Writer::open(disk, &header(2), config(), MARCH).unwrap();
    assert_eq!(tail.last_seq, Some(28));
    assert!(
        tail.skipped_bytes > 3_000_000 && tail.batches < 21,
        "{tail:?}"
    );
    assert_eq!(
        tail.truncated_bytes,
        400_000 - 29 + bytes_over(400_000 - 29)
    );
    // With its first header gone a reader finds the next one.
    bytes[PREAMBLE_BYTES as usize + 20] ^= 1;
    let contents = read(&bytes).unwrap();
    assert!(contents.batches.len() > 15 && contents.damaged > 4_000_000);
}

/// Framing around the last, incompressible batch, less the byte cut off.
fn bytes_over(raw: usize) -> u64 {
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config(), MARCH).unwrap();
    let noise: Vec<u8> = (29..400_000u64).map(|i| Random(i).next() as u8).collect();
    writer.append(29, 1, MARCH, &noise).unwrap().file_bytes - raw as u64 - 1
}

/// 1,000 book changes a second in batches of a tenth of a second, coded as a journal would: deltas
/// as varints; changes come several to a message, near the best price, and nearly half delete a
/// level or bring back a size seen before.
#[test]
fn a_market_compresses() {
    let mut random = Random(9);
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config(), MARCH).unwrap();
    let varint = |bytes: &mut Vec<u8>, mut value: u64| {
        while value >= 128 {
            bytes.push(value as u8 | 128);
            value >>= 7;
        }
        bytes.push(value as u8);
    };
    let (mut raw, mut alone, mut seq, mut syncs) = (0, 0, 0, 0);
    let mut sizes = [0u64; 64];
    for index in 0..3_000u64 {
        let mut bytes = Vec::new();
        let mut instrument = 0;
        for change in 0..100 {
            if change % 8 == 0 {
                instrument = random.below(4) * random.below(4);
            }
            bytes.push(1 + (random.below(2) << 4) as u8);
            bytes.push(instrument as u8);
            varint(
                &mut bytes,
                if change % 8 == 0 {
                    random.below(100_000_000)
                } else {
                    0
                },
            );
            varint(&mut bytes, random.below(6) * random.below(6));
            let size = match random.below(20) {
                0..9 => 0,
                9..15 => sizes[random.below(64) as usize],
                _ => {
                    let fresh = random.below(2_000) * 10u64.pow(random.below(3) as u32);
                    sizes[random.below(64) as usize] = fresh;
                    fresh
                }
            };
            varint(&mut bytes, size);
        }
        raw += bytes.len() as u64;
        let framing = FRAME_HEAD + BATCH_HEAD;
        alone += (framing + zstd::bulk::compress(&bytes, 3).unwrap().len()) as u64;
        let done = writer
            .append(seq, 100, MARCH + index * SECOND / 10, &bytes)
            .unwrap();
        syncs += u64::from(done.synced);
        seq += 100;
    }
    let written = writer.file_bytes();
    println!(
        "300 s at 1,000 changes/s: {raw} B delta-coded; {written} B in the file, framing included \
         ({:.2} of it, {:.1} B a change, {:.2} GB a day, {syncs} syncs); each batch compressed \
         alone: {alone} B",
        written as f64 / raw as f64,
        written as f64 / 300_000.0,
        written as f64 / 300.0 * 86_400.0 / 1e9
    );
    assert!(written * 10 < raw * 8, "{written} of {raw}");
    assert!(
        written < alone,
        "a context carried from batch to batch helps"
    );
    assert!(syncs >= written / (20 << 10), "{syncs} syncs");
}
