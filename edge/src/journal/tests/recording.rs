//! Day files, rotation, suspension and the writer thread.

use super::*;

/// A recorder over files of a folder.
fn recorder(
    dir: &Path,
    config: JournalConfig,
    now_ns: u64,
) -> (impl FnMut(&Batch), Arc<Stats>, Tail) {
    let stats = Arc::new(Stats::default());
    let (mut recorder, tail) = Recorder::open(
        dir,
        FileDisk::create,
        header(1),
        config,
        now_ns,
        Arc::clone(&stats),
    )
    .unwrap();
    (move |one: &Batch| recorder.record(one), stats, tail)
}

fn names(dir: &Path) -> Vec<String> {
    list_days(dir)
        .unwrap()
        .iter()
        .map(|(day, _)| day_name(*day))
        .collect()
}

#[test]
fn a_new_day_begins_a_file_and_ends_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let keep = JournalConfig {
        retain_days: 2,
        ..config()
    };
    let (mut record, stats, _) = recorder(dir.path(), keep.clone(), MARCH);
    let mut seq = 1;
    let mut put = |at_ns: u64| {
        let one = batch(seq, at_ns);
        seq += u64::from(one.count);
        record(&one);
        one
    };
    let mut list = Vec::new();
    for day in 0..4 {
        list.push(put(MARCH + day * DAY));
        // Late events stay in the file of the new day.
        list.push(put(MARCH + day * DAY - SECOND));
    }
    assert_eq!(
        names(dir.path()),
        ["2026-03-02", "2026-03-03", "2026-03-04"]
    );
    // A clock that leaps a year deletes nothing, then or when it comes back.
    list.push(put(MARCH + 365 * DAY));
    list.push(put(MARCH + 3 * DAY + SECOND));
    assert_eq!(
        names(dir.path()),
        ["2026-03-02", "2026-03-03", "2026-03-04", "2027-03-01"]
    );
    assert_eq!(stats.write_errors.load(Relaxed), 0);
    assert_eq!(stats.batches.load(Relaxed), list.len() as u64);

    let mut reader = read_dir(dir.path()).unwrap();
    let mut firsts = Vec::new();
    let mut runs = 0;
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Batch { first_seq, .. } => firsts.push(first_seq),
            Item::Run(_) => runs += 1,
            other => assert!(matches!(other, Item::Missing { .. }), "{other:?}"),
        }
    }
    assert_eq!(
        runs, 5,
        "one for each file, one more for the file come back to"
    );
    assert_eq!(firsts.len(), list.len() - 2, "the first day is deleted");
    assert!(reader.torn().is_empty());

    // The tail of a new day's file knows the last sequence of the day before.
    let (_, _, tail) = recorder(dir.path(), keep, MARCH + 4 * DAY);
    let last = list.last().unwrap();
    assert_eq!(
        tail.last_seq,
        Some(last.first_seq + u64::from(last.count) - 1)
    );
}

#[test]
fn a_start_with_a_clock_set_back_goes_on_above_everything() {
    let dir = tempfile::tempdir().unwrap();
    let list = batches(4);
    let last = |one: &Batch| Some(one.first_seq + u64::from(one.count) - 1);
    let start = |day: u64, one: &Batch| {
        let (mut record, _, tail) = recorder(dir.path(), config(), MARCH + day * DAY);
        record(&Batch {
            at_ns: MARCH + day * DAY,
            ..one.clone()
        });
        tail.last_seq
    };
    assert_eq!(start(1, &list[0]), None);
    // Back over midnight: the newest file goes on, so that the folder is read in order.
    assert_eq!(start(0, &list[1]), last(&list[0]));
    assert_eq!(names(dir.path()), ["2026-03-02"]);
    // From a leap ahead: a file of its own, but no number twice.
    assert_eq!(start(100, &list[2]), last(&list[1]));
    assert_eq!(start(2, &list[3]), last(&list[2]));
    assert_eq!(
        names(dir.path()),
        ["2026-03-02", "2026-03-03", "2026-06-09"]
    );
}

#[test]
fn a_folder_is_one_history() {
    let dir = tempfile::tempdir().unwrap();
    let list = batches(30);
    for (day, part) in list.chunks(10).enumerate() {
        let mut bytes = file(part, small());
        if day == 1 {
            bytes.truncate(bytes.len() - 3);
        }
        fs::write(day_path(dir.path(), day as u64), bytes).unwrap();
    }
    fs::write(dir.path().join("notes.txt"), "not a day").unwrap();
    let lost = &list[19];
    let mut reader = read_dir(dir.path()).unwrap();
    let mut read = 0;
    let mut missing = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Batch { .. } => read += 1,
            Item::Missing { from_seq, to_seq } => missing.push((from_seq, to_seq)),
            _ => {}
        }
    }
    assert_eq!(read, 29);
    let last = lost.first_seq + u64::from(lost.count) - 1;
    assert_eq!(
        missing,
        [(lost.first_seq, last)],
        "a jump between two files is seen"
    );
    assert_eq!(reader.torn().len(), 1);

    let mut reader = read_dir(dir.path()).unwrap();
    reader.seek(list[25].first_seq).unwrap();
    assert!(matches!(reader.next_item().unwrap(), Some(Item::Run(_))));
    let Some(Item::Batch { first_seq, .. }) = reader.next_item().unwrap() else {
        panic!()
    };
    assert_eq!(first_seq, list[20].first_seq);
    assert!(reader.path().unwrap().ends_with("1970-01-03.tml"));
}

#[test]
fn a_full_disk_suspends_and_a_later_try_resumes() {
    use std::cell::Cell;
    let dir = tempfile::tempdir().unwrap();
    let disk = Shared::new(sound_disk());
    let opened = Cell::new(0);
    let open = |_: &Path| {
        opened.set(opened.get() + 1);
        Ok(disk.clone())
    };
    let stats = Arc::new(Stats::default());
    let (mut recorder, _) = Recorder::open(
        dir.path(),
        open,
        header(1),
        small(),
        MARCH,
        Arc::clone(&stats),
    )
    .unwrap();
    let list = batches(500);
    for one in &list[..100] {
        recorder.record(one);
    }
    assert_eq!(stats.suspended(), None);
    let capacity = disk.len().unwrap() + 50;
    disk.0.borrow_mut().set_faults(Faults {
        capacity,
        ..Faults::NONE
    });
    for one in &list[100..200] {
        recorder.record(one);
    }
    let written = stats.batches.load(Relaxed);
    assert!(
        stats.suspended().unwrap().contains("free space"),
        "{:?}",
        stats.suspended()
    );
    assert_eq!(written + stats.dropped_batches.load(Relaxed), 200);
    assert_eq!(opened.get(), 1, "no try within 30 s");
    assert!(!recorder.sync(), "a flush says that nothing is recorded");
    disk.0.borrow_mut().set_faults(Faults::NONE);
    for one in &list[200..] {
        recorder.record(one);
    }
    assert_eq!(stats.suspended(), None);
    assert_eq!(opened.get(), 2);
    assert_eq!(
        stats.batches.load(Relaxed) + stats.dropped_batches.load(Relaxed),
        500
    );
    let events: u64 = list.iter().map(|one| u64::from(one.count)).sum();
    assert_eq!(
        stats.events.load(Relaxed) + stats.dropped_events.load(Relaxed),
        events
    );
    let contents = read(disk.0.borrow().bytes()).unwrap();
    assert_eq!(contents.batches.len() as u64, stats.batches.load(Relaxed));
    let missing: u64 = contents
        .missing
        .iter()
        .map(|(from, to)| to - from + 1)
        .sum();
    assert_eq!(missing, stats.dropped_events.load(Relaxed));
}

#[test]
fn the_thread_writes_recycles_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let list = batches(200);
    let (handle, tail) = spawn(dir.path(), header(1), config(), MARCH).unwrap();
    assert_eq!(tail, Tail::default());
    for one in &list {
        handle.write(one.clone()).unwrap();
    }
    handle.flush_and_sync().unwrap();
    assert!(handle.buffer().capacity() > 0, "written buffers come back");
    let stats = Arc::clone(handle.stats());
    assert_eq!(stats.batches.load(Relaxed), 200);
    assert_eq!(stats.queued_bytes.load(Relaxed), 0);
    assert!(stats.syncs.load(Relaxed) >= 1);
    assert_eq!(stats.last_sync_ns.load(Relaxed), list[199].at_ns);
    let large = Batch {
        bytes: vec![0; MAX_BATCH_BYTES + 1],
        ..list[0].clone()
    };
    assert_eq!(handle.write(large.clone()), Err(large), "given back");
    assert_eq!(stats.dropped_batches.load(Relaxed), 1);
    assert_eq!(stats.queued_bytes.load(Relaxed), 0);
    handle.close().unwrap();

    let path = day_path(dir.path(), day_of(MARCH));
    assert_eq!(read(&fs::read(&path).unwrap()).unwrap().batches, list);
    let (handle, tail) = spawn(dir.path(), header(2), config(), MARCH).unwrap();
    assert_eq!(tail.batches, 200);
    handle.close().unwrap();

    // Somebody else's file is set aside, not overwritten.
    fs::write(&path, "something else entirely").unwrap();
    let (handle, tail) = spawn(dir.path(), header(3), config(), MARCH).unwrap();
    handle.close().unwrap();
    assert_eq!(
        fs::read(tail.set_aside.unwrap()).unwrap(),
        b"something else entirely"
    );
    assert_eq!(read(&fs::read(&path).unwrap()).unwrap().runs, [3]);
}

#[test]
fn a_full_queue_gives_batches_back() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, _) = spawn(dir.path(), header(1), config(), MARCH).unwrap();
    // More bytes than may wait, faster than any disk takes them: some must come back.
    let noise: Vec<u8> = (0..MAX_BATCH_BYTES as u64)
        .map(|i| Random(i).next() as u8)
        .collect();
    let mut refused = 0;
    for seq in 0..64 {
        let one = Batch {
            first_seq: seq,
            count: 1,
            at_ns: MARCH,
            bytes: noise.clone(),
        };
        refused += u64::from(handle.write(one).is_err());
    }
    let stats = Arc::clone(handle.stats());
    handle.close().unwrap();
    assert_eq!(stats.dropped_batches.load(Relaxed), refused);
    assert_eq!(stats.batches.load(Relaxed), 64 - refused);
}

#[test]
fn unusable_folders_are_errors_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let error = spawn(&path.join("journal"), header(1), config(), MARCH).unwrap_err();
    assert!(
        error.to_string().contains("check that the data folder"),
        "{error}"
    );
    assert!(read_dir(&path).is_err());
}
