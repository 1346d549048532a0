//! Power cuts, lying cards, full disks.

use super::*;

/// Three runs that end by a power cut, perhaps while the file is being opened: what is read back
/// is what was written, in order, and holds all that an honest device was asked to keep. `false`
/// if the file became unreadable.
fn power_cut(seed: u64, lying_syncs: u8) -> bool {
    let mut random = Random(seed);
    let honest = lying_syncs == 0;
    let faults = Faults {
        short_writes: true,
        lying_syncs,
        ..Faults::NONE
    };
    let disk = Shared::new(FaultyDisk::new(seed, faults));
    let mut written: Vec<Batch> = Vec::new();
    let mut next_seq = 1;
    for round in 0..3 {
        let dies_after = match random.below(3) {
            0 => random.below(4),
            1 => random.below(40),
            _ => u64::MAX,
        };
        disk.0.borrow_mut().set_faults(Faults {
            dies_after,
            ..faults
        });
        let mut synced = written.len();
        match Writer::open(disk.clone(), &header(round), small(), MARCH) {
            Ok((mut writer, tail)) => {
                if honest {
                    let last = written.last().map(|b| b.first_seq + u64::from(b.count) - 1);
                    assert_eq!(tail.last_seq, last, "seed {seed}: as the reader found");
                    assert_eq!(tail.damaged_bytes, 0, "seed {seed}");
                }
                for index in 0..random.below(60) {
                    let one = batch(next_seq, MARCH + index * SECOND / 10);
                    next_seq += u64::from(one.count);
                    written.push(one.clone());
                    match write(&mut writer, &one) {
                        Ok(done) if done.synced => synced = written.len(),
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
            }
            Err(JournalError::Io { .. }) if dies_after < 40 => {}
            // A preamble torn before its first sync is nobody's journal; so is one of a liar.
            Err(JournalError::NotAJournal | JournalError::Version(_))
                if !honest || written.is_empty() =>
            {
                return false;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
        disk.0.borrow_mut().power_cut();
        let contents = match read(disk.0.borrow().bytes()) {
            Ok(contents) => contents,
            Err(_) if !honest || written.is_empty() => return false,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        if honest {
            let got = contents.batches.len();
            assert!(got >= synced, "seed {seed}: {got} of {synced} synced");
            assert_eq!(contents.batches, written[..got], "seed {seed}: a prefix");
            written.truncate(got);
        } else {
            for one in &contents.batches {
                assert!(written.contains(one), "seed {seed}: wrong bytes");
            }
        }
        // The engine goes on from what it recovered; on a liar, from its own state.
        if let (true, Some(last)) = (honest, written.last()) {
            next_seq = last.first_seq + u64::from(last.count);
        }
    }
    true
}

#[test]
fn power_cuts_cost_only_what_was_not_synced() {
    let readable = (0..400).filter(|seed| power_cut(*seed, 0)).count();
    // The others lost power before their first sync, and nothing else.
    assert!(readable > 380, "{readable} of 400 stayed readable");
}

#[test]
fn lying_syncs_never_give_wrong_bytes() {
    let readable = (0..400).filter(|seed| power_cut(*seed, 30)).count();
    assert!(readable > 200, "{readable} of 400 stayed readable");
}

#[test]
fn a_full_disk_breaks_the_writer_and_recovery_mends_it() {
    let list = batches(40);
    let whole = file(&list, small()).len() as u64;
    for capacity in (250..whole).step_by(37) {
        let faults = Faults {
            capacity,
            ..Faults::NONE
        };
        let disk = FaultyDisk::new(3, faults);
        let (mut writer, _) = Writer::open(disk, &header(1), small(), MARCH).unwrap();
        let full = list
            .iter()
            .position(|one| write(&mut writer, one).is_err())
            .unwrap();
        assert!(matches!(
            write(&mut writer, &list[full]),
            Err(JournalError::Broken)
        ));
        let mut disk = writer.abandon();
        disk.set_faults(Faults::NONE);
        let (mut writer, tail) = Writer::open(disk, &header(2), small(), MARCH).unwrap();
        assert_eq!(tail.batches, full as u64, "capacity {capacity}");
        for one in &list[full..] {
            write(&mut writer, one).unwrap();
        }
        assert_eq!(read(writer.close().unwrap().bytes()).unwrap().batches, list);
    }
}

#[test]
fn a_failed_sync_breaks_the_writer() {
    let (mut writer, _) = Writer::open(sound_disk(), &header(1), config(), MARCH).unwrap();
    write(&mut writer, &batch(1, MARCH)).unwrap();
    writer.disk_mut().set_faults(Faults {
        failing_syncs: 100,
        ..Faults::NONE
    });
    assert!(matches!(
        writer.sync(),
        Err(JournalError::Io {
            doing: "syncing",
            ..
        })
    ));
    assert!(matches!(
        write(&mut writer, &batch(50, MARCH)),
        Err(JournalError::Broken)
    ));
}
