//! A device in memory that fails on command, from a seed: what a power cut, a full disk and a
//! lying card do to a file. For tests, here and in the integration suite.

use super::Disk;
use std::io;

/// Which faults a [`FaultyDisk`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Writes beyond this many bytes fail as on a full disk, after taking what fits.
    pub capacity: u64,
    /// Writes may take fewer bytes than offered.
    pub short_writes: bool,
    /// Syncs, in percent, that report success and do nothing.
    pub lying_syncs: u8,
    /// Syncs, in percent, that fail.
    pub failing_syncs: u8,
    /// Writes, cuts and syncs until the power goes and all of them fail.
    pub dies_after: u64,
}

impl Faults {
    /// A sound device: only a power cut harms it.
    pub const NONE: Self = Self {
        capacity: u64::MAX,
        short_writes: false,
        lying_syncs: 0,
        failing_syncs: 0,
        dies_after: u64::MAX,
    };
}

/// A change that no honest sync has made durable yet.
#[derive(Debug, Clone)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// A device in memory. Reads see all writes; [`FaultyDisk::power_cut`] keeps what was synced and
/// a random part of the rest.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    faults: Faults,
    random: u64,
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    syncs: u64,
}

impl FaultyDisk {
    /// An empty device.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::with_bytes(Vec::new(), seed, faults)
    }

    /// A device that durably holds these bytes.
    pub fn with_bytes(bytes: Vec<u8>, seed: u64, faults: Faults) -> Self {
        let durable = bytes.clone();
        Self {
            faults,
            random: seed,
            visible: bytes,
            durable,
            pending: Vec::new(),
            syncs: 0,
        }
    }

    /// What a read sees now.
    pub fn bytes(&self) -> &[u8] {
        &self.visible
    }

    /// Changes the faults from here on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Syncs that were honest so far.
    pub fn honest_syncs(&self) -> u64 {
        self.syncs
    }

    /// Cuts the power: each write and cut that was not synced survives whole, in part or not at
    /// all; what a lost write leaves in a grown file is zeros or garbage.
    pub fn power_cut(&mut self) {
        let mut image = std::mem::take(&mut self.durable);
        for change in std::mem::take(&mut self.pending) {
            match change {
                Pending::Truncate(len) => {
                    if self.below(2) == 0 {
                        image.truncate(len);
                    }
                }
                Pending::Write { at, bytes } => self.survive(&mut image, at, &bytes),
            }
        }
        self.visible = image.clone();
        self.durable = image;
    }

    /// Lets a random part of one write reach the image.
    fn survive(&mut self, image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        let fate = self.below(4);
        if fate == 0 {
            return;
        }
        // The length is kept apart from the data: the file may have grown without its bytes.
        if image.len() < at + bytes.len() {
            image.resize(at + bytes.len(), 0);
        }
        match fate {
            1 => image[at..at + bytes.len()].copy_from_slice(bytes),
            2 => {
                let garbage = self.below(4) == 0;
                let from = self.below(bytes.len() as u64 + 1) as usize;
                let to = from + self.below((bytes.len() - from) as u64 + 1) as usize;
                if garbage {
                    for byte in &mut image[at..at + bytes.len()] {
                        *byte = self.next() as u8;
                    }
                }
                image[at + from..at + to].copy_from_slice(&bytes[from..to]);
            }
            _ => {
                // A prefix, and the file ends there if nothing lies behind.
                let keep = self.below(bytes.len() as u64 + 1) as usize;
                image[at..at + keep].copy_from_slice(&bytes[..keep]);
                if image.len() == at + bytes.len() {
                    image.truncate(at + keep);
                }
            }
        }
    }

    /// Counts one change down to the moment the power goes.
    fn live(&mut self) -> io::Result<()> {
        let left = self.faults.dies_after.checked_sub(1);
        self.faults.dies_after = left.ok_or_else(|| io::Error::other("injected power cut"))?;
        Ok(())
    }

    /// splitmix64 (Steele, Lea and Flood 2014).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl Disk for FaultyDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.live()?;
        let at = self.visible.len();
        let room = self
            .faults
            .capacity
            .saturating_sub(at as u64)
            .min(usize::MAX as u64) as usize;
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut taken = bytes.len().min(room);
        if self.faults.short_writes && taken > 1 && self.below(3) == 0 {
            taken = 1 + self.below(taken as u64 - 1) as usize;
        }
        self.visible.extend_from_slice(&bytes[..taken]);
        self.pending.push(Pending::Write {
            at,
            bytes: bytes[..taken].to_vec(),
        });
        Ok(taken)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let from = (offset.min(self.visible.len() as u64)) as usize;
        let got = out.len().min(self.visible.len() - from);
        out[..got].copy_from_slice(&self.visible[from..from + got]);
        Ok(got)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.visible.len() as u64)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.live()?;
        let len = len.min(self.visible.len() as u64) as usize;
        self.visible.truncate(len);
        self.pending.push(Pending::Truncate(len));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.live()?;
        let chance = self.below(100) as u8;
        if chance < self.faults.failing_syncs {
            return Err(io::Error::other("injected sync failure"));
        }
        if chance
            < self
                .faults
                .failing_syncs
                .saturating_add(self.faults.lying_syncs)
        {
            return Ok(());
        }
        self.durable.clone_from(&self.visible);
        self.pending.clear();
        self.syncs += 1;
        Ok(())
    }
}
