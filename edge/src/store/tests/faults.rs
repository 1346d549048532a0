//! redb over a device that loses power. What is proven here is not redb but our use of it: that
//! every acknowledged commit was asked for as durable, and that a file which a lying card has
//! ruined is survived.

use super::*;
use redb::{Builder, StorageBackend};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that reach the device together.
const SECTOR: usize = 512;

#[derive(Debug)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Pending {
    /// Lets the change reach an image, in the sectors that survive.
    fn reach(self, image: &mut Vec<u8>, mut survives: impl FnMut() -> bool) {
        match self {
            Pending::Length(len) => image.resize(len, 0),
            Pending::Write { at, bytes } => {
                if image.len() < at + bytes.len() {
                    image.resize(at + bytes.len(), 0);
                }
                for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                    if survives() {
                        let from = at + index * SECTOR;
                        image[from..from + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Device {
    random: u64,
    lying_syncs: u64,
    torn: bool,
    /// Writes and syncs fail once this reaches zero.
    pub(super) fuel: u64,
    /// Bytes that it was given to write.
    pub(super) written: u64,
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

impl Device {
    /// xorshift64 (Marsaglia 2003); the seed is not zero.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    /// What a power cut leaves: all that was synced, and a random part of the rest.
    pub(super) fn power_cut(&mut self) -> Vec<u8> {
        let mut image = std::mem::take(&mut self.durable);
        for change in std::mem::take(&mut self.pending) {
            let (whole, torn) = (self.below(2) == 0, self.torn);
            change.reach(&mut image, || if torn { self.below(2) == 0 } else { whole });
        }
        image
    }

    fn burn(&mut self) -> io::Result<()> {
        self.fuel = self.fuel.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Backend(Arc<Mutex<Device>>);

impl Backend {
    pub(super) fn new(seed: u64, lying_syncs: u64, torn: bool) -> Self {
        Self::over(Vec::new(), seed, lying_syncs, torn)
    }

    pub(super) fn over(bytes: Vec<u8>, seed: u64, lying_syncs: u64, torn: bool) -> Self {
        Self(Arc::new(Mutex::new(Device {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            lying_syncs,
            torn,
            fuel: u64::MAX,
            written: 0,
            visible: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
        })))
    }

    pub(super) fn device(&self) -> std::sync::MutexGuard<'_, Device> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.device().visible.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let device = self.device();
        let from = offset as usize;
        let bytes = from
            .checked_add(out.len())
            .and_then(|to| device.visible.get(from..to));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut device = self.device();
        device.burn()?;
        device.visible.resize(len as usize, 0);
        device.pending.push(Pending::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut device = self.device();
        device.burn()?;
        if device.below(100) >= device.lying_syncs {
            let mut durable = std::mem::take(&mut device.durable);
            for change in std::mem::take(&mut device.pending) {
                change.reach(&mut durable, || true);
            }
            device.durable = durable;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut device = self.device();
        device.burn()?;
        device.written += data.len() as u64;
        let at = offset as usize;
        device.visible[at..at + data.len()].copy_from_slice(data);
        device.pending.push(Pending::Write {
            at,
            bytes: data.to_vec(),
        });
        Ok(())
    }
}

pub(super) fn database(backend: &Backend) -> Result<Database, StoreError> {
    Ok(Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend.clone())?)
}

/// Some commits and checkpoints, and what was acknowledged: the last event, the last checkpoint.
fn trade(backend: &Backend, seed: u64) -> (u64, Option<u64>) {
    let mut state = State::with_database(database(backend).unwrap()).unwrap();
    let mut checkpoint = None;
    let last = 5 + seed % 20;
    for seq in 1..=last {
        commit(&mut state, seq..=seq);
        if seq % 7 == 0 {
            state.checkpoint(seq, &row(seq)).unwrap();
            checkpoint = Some(seq);
        }
    }
    // A commit under way when the power goes: neither its success nor its failure is known.
    backend.device().fuel = seed % 11;
    let _ = state.commit(&[(last + 1, &row(last + 1))]);
    // Closing must not reach the device any more.
    backend.device().fuel = 0;
    (last, checkpoint)
}

fn assert_all_there(loaded: &Loaded, last: u64, checkpoint: Option<u64>, seed: u64) {
    assert_eq!(
        loaded.checkpoint.as_ref().map(|(seq, _)| *seq),
        checkpoint,
        "seed {seed}"
    );
    if let Some((seq, bytes)) = &loaded.checkpoint {
        assert_eq!(*bytes, row(*seq), "seed {seed}");
    }
    let mut expected: Vec<u64> = (checkpoint.unwrap_or(0) + 1..=last).collect();
    if loaded.trading.len() > expected.len() {
        expected.push(last + 1);
    }
    assert_eq!(seqs(&loaded.trading), expected, "seed {seed}");
    assert!(
        loaded
            .trading
            .iter()
            .all(|(seq, bytes)| *bytes == row(*seq)),
        "seed {seed}"
    );
}

#[test]
fn an_honest_device_loses_nothing_in_a_power_cut() {
    for torn in [false, true] {
        let mut unacknowledged = 0;
        for seed in 0..100 {
            let backend = Backend::new(seed, 0, torn);
            let (last, checkpoint) = trade(&backend, seed);
            let image = backend.device().power_cut();
            let mut db = database(&Backend::over(image, seed, 0, torn)).unwrap();
            check_database(&mut db).unwrap();
            let loaded = State::with_database(db).unwrap().load().unwrap();
            assert_all_there(&loaded, last, checkpoint, seed);
            unacknowledged += usize::from(loaded.trading.iter().any(|(seq, _)| *seq == last + 1));
        }
        assert!(unacknowledged < 100, "the power was cut inside commits");
    }
}

#[test]
fn a_lying_device_is_survived_by_setting_aside() {
    let mut set_aside = 0;
    for seed in 0..40 {
        let backend = Backend::new(seed, 30, true);
        trade(&backend, seed);
        let image = backend.device().power_cut();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.redb"), image).unwrap();
        let (mut state, report) = open(dir.path());
        let loaded = state.load().unwrap();
        if report.set_aside.is_some() {
            set_aside += 1;
            assert_eq!(loaded, Loaded::default());
        } else {
            // Acknowledged events may be missing, for the device lied; none may be wrong.
            assert!(
                loaded
                    .trading
                    .iter()
                    .all(|(seq, bytes)| *bytes == row(*seq)),
                "seed {seed}"
            );
            assert_eq!(loaded.damaged, [0_u64; 0], "seed {seed}");
        }
        commit(&mut state, 1_000..=1_001);
    }
    assert!(
        set_aside > 0,
        "no file was ruined: the device does not lie enough"
    );
    println!("{set_aside} of 40 files had to be set aside");
}

#[test]
fn a_full_device_fails_the_commit_and_keeps_what_was_there() {
    let backend = Backend::new(5, 0, false);
    let mut state = State::with_database(database(&backend).unwrap()).unwrap();
    commit(&mut state, 1..=3);
    backend.device().fuel = 0;
    let error = state.commit(&[(4, b"x")]).unwrap_err();
    assert!(
        matches!(error, StoreError::Io { full: true, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("free space"), "{error}");
    drop(state);
    backend.device().fuel = u64::MAX;
    let mut state = State::with_database(database(&backend).unwrap()).unwrap();
    assert_eq!(seqs(&state.load().unwrap().trading), [1, 2, 3]);
}
