//! What the store must survive: kills, power cuts, lying cards, damaged files, a second instance.

mod faults;
mod features;

use super::probe::{check_database, probe_child};
use super::*;
use redb::{ReadableTable, ReadableTableMetadata};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const NOW: u64 = 1_772_323_200_000_000_000;

fn open(dir: &Path) -> (State, OpenReport) {
    State::open(dir, NOW, &Probe::InProcess).unwrap()
}

fn row(seq: u64) -> Vec<u8> {
    format!("fill {seq} of order {}", seq * 7).into_bytes()
}

fn commit(state: &mut State, seqs: std::ops::RangeInclusive<u64>) {
    let rows: Vec<_> = seqs.map(|seq| (seq, row(seq))).collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|(seq, bytes)| (*seq, bytes.as_slice()))
        .collect();
    state.commit(&rows).unwrap();
}

fn seqs(rows: &[(u64, Vec<u8>)]) -> Vec<u64> {
    rows.iter().map(|(seq, _)| *seq).collect()
}

/// A checkpoint of some size that is not all alike.
fn snapshot(seq: u64) -> Vec<u8> {
    (0..40_000u64)
        .flat_map(|i| (i * seq % 1_000).to_le_bytes())
        .collect()
}

#[test]
fn what_is_committed_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, report) = open(dir.path());
    assert_eq!(
        report,
        OpenReport {
            fresh: true,
            ..OpenReport::default()
        }
    );
    assert_eq!(state.load().unwrap(), Loaded::default());
    commit(&mut state, 1..=5);
    commit(&mut state, 9..=9);
    state.set_meta("slot", b"head-17").unwrap();
    drop(state);
    let (mut state, report) = open(dir.path());
    assert_eq!(report, OpenReport::default());
    let loaded = state.load().unwrap();
    assert_eq!(seqs(&loaded.trading), [1, 2, 3, 4, 5, 9]);
    assert!(
        loaded
            .trading
            .iter()
            .all(|(seq, bytes)| *bytes == row(*seq))
    );
    assert_eq!(loaded.checkpoint, None);
    assert_eq!(
        state.meta("slot").unwrap().as_deref(),
        Some(&b"head-17"[..])
    );
    assert_eq!(state.meta("none").unwrap(), None);
}

#[test]
fn two_checkpoints_are_kept_and_the_events_behind_the_older() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, _) = open(dir.path());
    commit(&mut state, 1..=10);
    state.checkpoint(4, &snapshot(4)).unwrap();
    state.checkpoint(6, &snapshot(6)).unwrap();
    state.checkpoint(8, &snapshot(8)).unwrap();
    let loaded = state.load().unwrap();
    assert_eq!(loaded.checkpoint, Some((8, snapshot(8))));
    assert_eq!(seqs(&loaded.trading), [9, 10]);
    assert_eq!(loaded.damaged, [0_u64; 0]);
    assert_eq!(
        state.checkpoint(7, b""),
        Err(StoreError::Order { newest: 8, got: 7 })
    );

    // The newer one goes bad: the older and all events behind it are there.
    drop(state);
    let path = dir.path().join("state.redb");
    let db = Database::open(&path).unwrap();
    let transaction = begin(&db).unwrap();
    {
        let mut table = transaction.open_table(super::state::CHECKPOINT).unwrap();
        assert_eq!(table.len().unwrap(), 2);
        let mut stored = table.get(8).unwrap().unwrap().value().to_vec();
        assert!(stored.len() < snapshot(8).len() / 2, "compressed");
        let middle = stored.len() / 2;
        stored[middle] ^= 4;
        table.insert(8, stored.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(db);
    let (mut state, _) = open(dir.path());
    let loaded = state.load().unwrap();
    assert_eq!(loaded.checkpoint, Some((6, snapshot(6))));
    assert_eq!(seqs(&loaded.trading), [7, 8, 9, 10]);
    assert_eq!(loaded.damaged, [8]);
}

#[test]
fn bounds_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, _) = open(dir.path());
    let large = vec![0; MAX_COMMIT_BYTES + 1];
    assert!(matches!(
        state.commit(&[(1, &large)]),
        Err(StoreError::TooLarge { .. })
    ));
    assert!(matches!(
        state.set_meta("x", &large),
        Err(StoreError::TooLarge { .. })
    ));
    let large = vec![0; MAX_CHECKPOINT_BYTES + 1];
    assert!(matches!(
        state.checkpoint(1, &large),
        Err(StoreError::TooLarge { .. })
    ));
    state.checkpoint(1, &large[1..]).unwrap();
    assert_eq!(
        state.load().unwrap().checkpoint.unwrap().1.len(),
        MAX_CHECKPOINT_BYTES
    );
}

#[test]
fn a_kill_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut state, _) = open(dir.path());
    for seq in 1..=40 {
        commit(&mut state, seq..=seq);
        if seq % 16 == 0 {
            state.checkpoint(seq, &snapshot(seq)).unwrap();
        }
        if seq % 6 != 0 && seq % 16 != 0 {
            continue;
        }
        // What a kill leaves is what the file holds at that moment, without a close.
        let after = tempfile::tempdir().unwrap();
        fs::copy(
            dir.path().join("state.redb"),
            after.path().join("state.redb"),
        )
        .unwrap();
        let (mut killed, report) = open(after.path());
        assert_eq!(report, OpenReport::default());
        assert_eq!(killed.load().unwrap(), state.load().unwrap(), "after {seq}");
    }
}

#[test]
fn a_damaged_file_is_set_aside() {
    let garbage: Vec<u8> = (0..100_000u32).map(|i| (i * 31 % 251) as u8).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    for round in 0..6 {
        fs::write(&path, &garbage).unwrap();
        let (mut state, report) = State::open(dir.path(), NOW + round, &Probe::InProcess).unwrap();
        assert!(report.fresh && report.reason.is_some(), "{report:?}");
        let aside = report.set_aside.unwrap();
        let name = aside.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            name,
            format!("state.redb.corrupt-2026-03-01T000000.00000000{round}Z")
        );
        assert_eq!(fs::read(&aside).unwrap(), garbage, "kept as it was");
        commit(&mut state, 1..=3);
    }
    let kept = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(kept, 1 + 4, "the database and the four newest");
    assert_eq!(seqs(&open(dir.path()).0.load().unwrap().trading), [1, 2, 3]);
    // An empty file is what a power cut leaves of a new one.
    fs::write(&path, "").unwrap();
    let (_, report) = open(dir.path());
    assert_eq!(
        report,
        OpenReport {
            fresh: true,
            ..OpenReport::default()
        }
    );
}

/// Not a test by itself: what a child of the tests below runs, as `probe-store` does.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a child process is told what to do and ends with a code"
)]
fn child_entry() {
    if let Ok(path) = std::env::var("TICKERML_TEST_PROBE") {
        std::process::exit(i32::from(probe_main(Path::new(&path))));
    }
}

/// This test program again, as the checking child.
fn child(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::tests::child_entry", "--nocapture"]);
    command.env("TICKERML_TEST_PROBE", path);
    command
}

#[test]
fn a_child_finds_files_sound_damaged_or_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let limit = Duration::from_secs(30);
    let (mut state, _) = open(dir.path());
    commit(&mut state, 1..=100);
    assert!(matches!(
        probe_child(child(&path), limit),
        Err(StoreError::InUse(_))
    ));
    drop(state);
    assert_eq!(probe_child(child(&path), limit), Ok(()));
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(4_096) {
        *byte ^= 0x55;
    }
    fs::write(&path, &bytes).unwrap();
    let verdict = probe_child(child(&path), limit);
    assert!(
        matches!(verdict, Err(StoreError::Damaged(_))),
        "{verdict:?}"
    );
    fs::write(&path, "not a database").unwrap();
    assert!(matches!(
        probe_child(child(&path), limit),
        Err(StoreError::Damaged(_))
    ));
    let missing = dir.path().join("none").join("state.redb");
    let verdict = probe_child(child(&missing), limit);
    assert!(
        matches!(verdict, Err(StoreError::Unchecked(_))),
        "{verdict:?}"
    );
}

#[test]
fn a_child_that_hangs_crashes_or_is_ended_is_told_apart() {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    let limit = Duration::from_millis(200);
    let verdict = probe_child(shell("exec sleep 30"), limit);
    assert!(matches!(&verdict, Err(StoreError::Damaged(why)) if why.contains("took over")));
    let limit = Duration::from_secs(30);
    let verdict = probe_child(shell("echo assertion failed >&2; exit 101"), limit);
    assert!(matches!(&verdict, Err(StoreError::Damaged(why)) if why.contains("assertion failed")));
    let verdict = probe_child(shell("kill -ABRT $$"), limit);
    assert!(
        matches!(verdict, Err(StoreError::Damaged(_))),
        "{verdict:?}"
    );
    let verdict = probe_child(shell("kill -TERM $$"), limit);
    assert!(
        matches!(verdict, Err(StoreError::Unchecked(_))),
        "{verdict:?}"
    );
    let verdict = probe_child(Command::new("/nonexistent/tickerml-edge"), limit);
    assert!(
        matches!(verdict, Err(StoreError::Unchecked(_))),
        "{verdict:?}"
    );
}

#[test]
fn an_unchecked_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let before = fs::read(dir.path().join("state.redb")).unwrap();
    let probe = Probe::Child("/nonexistent/tickerml-edge".into());
    assert!(matches!(
        State::open(dir.path(), NOW, &probe),
        Err(StoreError::Unchecked(_))
    ));
    assert_eq!(fs::read(dir.path().join("state.redb")).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_second_instance_is_told_who_has_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let held = lock(dir.path()).unwrap();
    let error = lock(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("in use by process {}", std::process::id())),
        "{error}"
    );
    assert!(error.contains("data folder of its own"), "{error}");
    drop(held);
    lock(dir.path()).unwrap();
    let (_state, _) = open(dir.path());
    assert!(matches!(
        State::open(dir.path(), NOW, &Probe::InProcess),
        Err(StoreError::InUse(_))
    ));
}

#[test]
fn an_unwritable_folder_is_an_error_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for error in [
        lock(&file.join("data")).unwrap_err(),
        State::open(&file.join("data"), NOW, &Probe::InProcess).unwrap_err(),
    ] {
        assert!(
            error
                .to_string()
                .contains("check that the data folder is writable"),
            "{error}"
        );
    }
}

#[test]
fn gaps_are_bounded_and_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let (gaps, _) = Gaps::open(dir.path(), NOW, &Probe::InProcess).unwrap();
    let gaps = gaps.with_max_rows(10);
    assert_eq!(gaps.last_seq().unwrap(), None);
    for start in [0, 8, 16] {
        let rows: Vec<_> = (start..start + 8).map(|seq| (seq, row(seq))).collect();
        gaps.append(&rows).unwrap();
    }
    assert_eq!(seqs(&gaps.latest(3).unwrap()), [23, 22, 21]);
    assert_eq!(
        seqs(&gaps.latest(100).unwrap()),
        (14..24).rev().collect::<Vec<_>>()
    );
    assert_eq!(gaps.last_seq().unwrap(), Some(23));
    drop(gaps);
    let (gaps, report) = Gaps::open(dir.path(), NOW, &Probe::InProcess).unwrap();
    assert_eq!(report, OpenReport::default());
    assert_eq!(gaps.latest(1).unwrap(), [(23, row(23))]);
}

#[test]
fn the_threads_acknowledge_in_order_and_close() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = open(dir.path());
    let (gaps, _) = Gaps::open(dir.path(), NOW, &Probe::InProcess).unwrap();
    let handle = spawn(state, gaps).unwrap();
    let mut waiting = Vec::new();
    for seq in 1..=60 {
        waiting.push(handle.commit(vec![(seq, row(seq))]));
        if seq % 25 == 0 {
            waiting.push(handle.checkpoint(seq, snapshot(seq)));
        }
        handle.gap(seq, row(seq));
    }
    waiting.push(handle.set_meta("cursor", vec![60]));
    for one in waiting {
        assert_eq!(one.blocking_recv(), Ok(Ok(())));
    }
    let refused = handle.commit(vec![(61, vec![0; MAX_COMMIT_BYTES + 1])]);
    assert!(matches!(
        refused.blocking_recv(),
        Ok(Err(StoreError::TooLarge { .. }))
    ));
    let late = handle.checkpoint(3, Vec::new()).blocking_recv();
    assert_eq!(late, Ok(Err(StoreError::Order { newest: 50, got: 3 })));
    let stats = Arc::clone(handle.stats());
    handle.close().unwrap();
    assert_eq!(stats.rows.load(Relaxed), 60);
    assert!(stats.commits.load(Relaxed) <= 60);
    assert_eq!(stats.checkpoints.load(Relaxed), 2);
    assert_eq!(stats.errors.load(Relaxed), 2);
    assert_eq!(stats.gap_rows.load(Relaxed), 60);
    assert_eq!(stats.gap_drops.load(Relaxed), 0);

    let (mut state, _) = open(dir.path());
    let loaded = state.load().unwrap();
    assert_eq!(loaded.checkpoint, Some((50, snapshot(50))));
    assert_eq!(seqs(&loaded.trading), (51..=60).collect::<Vec<_>>());
    assert_eq!(state.meta("cursor").unwrap(), Some(vec![60]));
    let (gaps, _) = Gaps::open(dir.path(), NOW, &Probe::InProcess).unwrap();
    assert_eq!(gaps.latest(60).unwrap().len(), 60);
}
