//! What the store of features must survive, keep, and spare the card.

use super::faults::{Backend, database};
use super::*;
use crate::store::features::{
    Committed, FILE, FeatureReader, FeatureStore, Vector, Version, check_features, open_to_read,
};
use tickerml_shared::features::{TABLE_LEN, Table};
use tickerml_shared::schema::{SchemaId, schema_id};
use tickerml_shared::time::SECONDS;

const MAX_BYTES: u64 = 64 << 20;
const BTC: &str = "kraken:BTC/USD";
const ETH: &str = "kraken:ETH/USD";

/// A version of so many columns.
fn version(mark: u8, columns: usize) -> Version {
    Version {
        schema_id: SchemaId([mark; 32]),
        columns: (0..columns).map(|c| format!("column_{c}")).collect(),
    }
}

/// Values as features have them: some unknown, some that change with the minute, some noise.
fn values(instrument: u16, at_ns: u64, columns: usize) -> Vec<f32> {
    (0..columns)
        .map(|column| {
            let time = match column % 4 {
                0 => at_ns,
                1 => at_ns / (60 * SECONDS),
                2 => at_ns / (3_600 * SECONDS),
                _ if at_ns / SECONDS % 90 < 30 => return f32::NAN,
                _ => at_ns / (10 * SECONDS),
            };
            let mut mixed = time ^ (u64::from(instrument) << 40) ^ ((column as u64) << 50);
            mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 40) as f32 / 1e6 - 8.0
        })
        .collect()
}

fn open_features(dir: &Path, version: &Version, max_bytes: u64) -> (FeatureStore, OpenReport) {
    FeatureStore::open(dir, NOW, &Probe::InProcess, version, max_bytes).unwrap()
}

fn push(store: &mut FeatureStore, instrument: u16, at_ns: u64, columns: usize) {
    let lost = store.push(&Vector {
        instrument,
        at_ns,
        values: &values(instrument, at_ns, columns),
    });
    assert_eq!(lost, 0);
}

/// The times read, each vector compared with what was written.
fn times(
    reader: &FeatureReader,
    name: &str,
    instrument: u16,
    of: &Version,
    range: (u64, u64),
) -> Vec<u64> {
    let mut times = Vec::new();
    let count = reader
        .read(name, of.schema_id, range.0, range.1, |at, row| {
            let bits = |row: &[f32]| row.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(row), bits(&values(instrument, at, of.columns.len())));
            times.push(at);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(count, times.len() as u64);
    times
}

const ALL: (u64, u64) = (0, u64::MAX);

#[test]
fn vectors_are_read_by_instrument_version_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let old = version(1, 7);
    let (mut store, report) = open_features(dir.path(), &old, MAX_BYTES);
    assert!(report.fresh);
    let btc = store.instrument(BTC).unwrap();
    for step in 0..5 {
        push(&mut store, btc, NOW + step * SECONDS, 7);
    }
    let reader = store.reader();
    assert_eq!(times(&reader, BTC, btc, &old, ALL), [0; 0], "buffered");
    assert_eq!(store.commit(false).unwrap(), Committed::default());
    assert_eq!(times(&reader, BTC, btc, &old, ALL).len(), 5, "committed");
    push(&mut store, btc, NOW + 5 * SECONDS, 7);
    assert!(store.commit(true).unwrap().bytes > 0);
    drop((reader, store));

    // Another build has other columns.
    let new = version(2, 12);
    let (mut store, report) = open_features(dir.path(), &new, MAX_BYTES);
    assert_eq!(report, OpenReport::default());
    assert_eq!(store.oldest_ns(), Some(NOW));
    assert_eq!(store.instrument(BTC).unwrap(), btc, "numbers stay");
    let eth = store.instrument(ETH).unwrap();
    assert_ne!(eth, btc);
    let written: Vec<u64> = (10..350).map(|step| NOW + step * SECONDS).collect();
    for at in &written {
        push(&mut store, btc, *at, 12);
        push(&mut store, eth, *at, 12);
        store.commit((at / SECONDS).is_multiple_of(120)).unwrap();
    }
    store.commit(true).unwrap();
    drop(store);

    let (store, _) = open_features(dir.path(), &old, MAX_BYTES);
    let reader = store.reader();
    assert_eq!(times(&reader, BTC, btc, &old, ALL).len(), 6);
    assert_eq!(times(&reader, ETH, eth, &old, ALL), [0; 0]);
    for (name, number) in [(BTC, btc), (ETH, eth)] {
        assert_eq!(times(&reader, name, number, &new, ALL), written);
        for (from, to) in [(0, 1), (9, 11), (40, 41), (99, 260), (349, 350), (350, 999)] {
            let range = (NOW + from * SECONDS, NOW + to * SECONDS);
            let within = written.iter().copied();
            let within: Vec<_> = within
                .filter(|at| (range.0..range.1).contains(at))
                .collect();
            assert_eq!(
                times(&reader, name, number, &new, range),
                within,
                "{from}..{to}"
            );
        }
    }
    assert_eq!(times(&reader, "kraken:none", 9, &new, ALL), [0; 0]);
    assert_eq!(times(&reader, BTC, btc, &version(3, 1), ALL), [0; 0]);
    assert_eq!(reader.versions().unwrap(), [old.clone(), new.clone()]);
    let series = reader.series().unwrap();
    let shown: Vec<_> = series
        .iter()
        .map(|s| {
            (
                s.instrument.as_str(),
                s.schema_id,
                s.vectors,
                s.first_ns - NOW,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (BTC, old.schema_id, 6, 0),
            (BTC, new.schema_id, 340, 10 * SECONDS),
            (ETH, new.schema_id, 340, 10 * SECONDS)
        ]
    );
}

#[test]
fn a_clock_set_back_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let of = version(1, 3);
    let (mut store, _) = open_features(dir.path(), &of, MAX_BYTES);
    let btc = store.instrument(BTC).unwrap();
    for _ in 0..2 {
        for step in [0, 1] {
            push(&mut store, btc, NOW + step, 3);
        }
        store.commit(true).unwrap();
    }
    let read = times(&store.reader(), BTC, btc, &of, ALL);
    assert_eq!(read, [NOW, NOW + 1, NOW, NOW + 1]);
}

#[test]
fn the_oldest_blocks_go_first_and_a_version_with_its_last() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (version(1, 40), version(2, 40));
    let max_bytes = 256 << 10;
    let mut next = NOW;
    let mut fill = |of: &Version, seconds: u64| {
        let (mut store, _) = open_features(dir.path(), of, max_bytes);
        let numbers = [
            store.instrument(BTC).unwrap(),
            store.instrument(ETH).unwrap(),
        ];
        let mut deleted = 0;
        for step in 0..seconds {
            next += SECONDS;
            for number in numbers {
                push(&mut store, number, next, 40);
            }
            deleted += store.commit(step % 60 == 59).unwrap().deleted;
        }
        store.commit(true).unwrap();
        let reader = store.reader();
        let total: u64 = reader.series().unwrap().iter().map(|s| s.bytes).sum();
        assert!(total <= max_bytes, "{total} of {max_bytes}");
        let oldest = reader.series().unwrap().iter().map(|s| s.first_ns).min();
        assert_eq!(store.oldest_ns(), oldest);
        let kept = times(&reader, BTC, numbers[0], of, ALL);
        let expected = (kept[0]..=next).step_by(SECONDS as usize);
        assert_eq!(kept, expected.collect::<Vec<_>>(), "no hole");
        let versions = reader.versions().unwrap().len();
        (versions, deleted, reader.series().unwrap().len())
    };
    assert_eq!(fill(&old, 300), (1, 0, 2));
    let (versions, deleted, _) = fill(&new, 2_500);
    assert_eq!(versions, 1, "the older version went with its last block");
    assert!(deleted > 10, "{deleted}");
    let grown = fs::metadata(dir.path().join(FILE)).unwrap().len();
    fill(&new, 2_500);
    let file = fs::metadata(dir.path().join(FILE)).unwrap().len();
    assert!(
        file <= grown,
        "what was freed is used again: {file}, {grown}"
    );
}

/// Vectors in several sync intervals over a device that dies after `fuel` operations. Gives the
/// time of the newest vector that was made durable.
fn store_until(backend: &Backend, of: &Version, seed: u64, fuel: u64) -> Option<u64> {
    let columns = of.columns.len();
    let mut store = FeatureStore::with_database(database(backend).unwrap(), of, 96 << 10).unwrap();
    let numbers = [
        store.instrument(BTC).unwrap(),
        store.instrument(ETH).unwrap(),
    ];
    let mut durable = None;
    backend.device().fuel = fuel;
    for step in 0..120 + seed % 7 {
        let at = NOW + step * SECONDS;
        for number in numbers {
            push(&mut store, number, at, columns);
        }
        let sync = step % 20 == 19;
        match store.commit(sync) {
            Ok(_) if sync => durable = Some(at),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // Closing must not reach the device any more.
    backend.device().fuel = 0;
    durable
}

#[test]
fn a_power_cut_at_any_write_costs_what_was_not_synced_and_no_block() {
    let of = version(1, 30);
    let (mut cuts, mut beyond) = (0, 0);
    for torn in [false, true] {
        for fuel in (0..).step_by(3) {
            let backend = Backend::new(fuel + 1, 0, torn);
            let durable = store_until(&backend, &of, fuel, fuel);
            let image = backend.device().power_cut();
            let mut db = database(&Backend::over(image, fuel, 0, torn)).unwrap();
            check_database(&mut db).unwrap();
            check_features(&db).unwrap();
            let mut store = FeatureStore::with_database(db, &of, 96 << 10).unwrap();
            let reader = store.reader();
            let mut ends = Vec::new();
            for name in [BTC, ETH] {
                let number = store.instrument(name).unwrap();
                let kept = times(&reader, name, number, &of, ALL);
                // From its first vector on there is no hole.
                let expected = kept
                    .first()
                    .map_or(0..0, |first| *first..kept[kept.len() - 1] + 1);
                assert_eq!(kept, expected.step_by(SECONDS as usize).collect::<Vec<_>>());
                assert!(kept.last().copied() >= durable, "fuel {fuel}");
                ends.push(kept.last().copied());
            }
            assert_eq!(ends[0], ends[1], "one commit, whole or not at all");
            let total: u64 = reader.series().unwrap().iter().map(|s| s.bytes).sum();
            assert!(total <= 96 << 10);
            cuts += 1;
            beyond += usize::from(ends[0] > durable);
            if durable >= Some(NOW + 119 * SECONDS) {
                break;
            }
        }
    }
    println!("{cuts} cuts, {beyond} of them inside a durable commit that had taken effect");
    assert!(cuts > 40 && beyond < cuts / 2, "{cuts}, {beyond}");
}

#[test]
fn a_lying_device_is_survived_by_setting_the_features_aside() {
    let of = version(1, 30);
    let mut set_aside = 0;
    for seed in 0..40 {
        let backend = Backend::new(seed, 30, true);
        store_until(&backend, &of, seed, 400 + seed * 7);
        let image = backend.device().power_cut();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), image).unwrap();
        let (mut store, report) = open_features(dir.path(), &of, MAX_BYTES);
        set_aside += usize::from(report.set_aside.is_some());
        let number = store.instrument(BTC).unwrap();
        // What is read is right, or is said to be damaged.
        let read = store
            .reader()
            .read(BTC, of.schema_id, 0, u64::MAX, |at, row| {
                assert_eq!(row[0].to_bits(), values(number, at, 30)[0].to_bits());
                Ok::<_, StoreError>(())
            });
        assert!(
            matches!(read, Ok(_) | Err(StoreError::Damaged(_))),
            "{read:?}"
        );
    }
    println!("{set_aside} of 40 files had to be set aside");
    assert!(set_aside > 0);
}

#[test]
fn a_full_device_keeps_the_buffer_until_there_is_room() {
    let of = version(1, 8);
    let backend = Backend::new(3, 0, false);
    let mut store =
        FeatureStore::with_database(database(&backend).unwrap(), &of, MAX_BYTES).unwrap();
    let btc = store.instrument(BTC).unwrap();
    push(&mut store, btc, NOW, 8);
    backend.device().fuel = 0;
    let error = store.commit(true).unwrap_err();
    assert!(
        matches!(error, StoreError::Io { full: true, .. }),
        "{error:?}"
    );
    let mut lost = 0;
    for step in 1..=250 {
        let at_ns = NOW + step;
        let values = values(btc, at_ns, 8);
        lost += store.push(&Vector {
            instrument: btc,
            at_ns,
            values: &values,
        });
    }
    assert_eq!(lost, 200, "two full blocks, counted");
}

#[test]
fn features_that_are_damaged_are_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), vec![7; 50_000]).unwrap();
    let of = version(1, 3);
    let (mut store, report) = open_features(dir.path(), &of, MAX_BYTES);
    assert!(report.fresh && report.set_aside.is_some(), "{report:?}");
    let btc = store.instrument(BTC).unwrap();
    push(&mut store, btc, NOW, 3);
    store.commit(true).unwrap();
    let path = dir.path().join(FILE);
    let in_use = open_to_read(&path, &Probe::InProcess).unwrap_err();
    assert!(matches!(in_use, StoreError::InUse(_)), "{in_use:?}");
    drop(store);
    let reader = open_to_read(&path, &Probe::InProcess).unwrap();
    assert_eq!(times(&reader, BTC, btc, &of, ALL), [NOW]);
    let missing = open_to_read(&dir.path().join("none.redb"), &Probe::InProcess).unwrap_err();
    assert!(missing.to_string().contains("none.redb"), "{missing}");
    assert!(!dir.path().join("none.redb").exists());
}

#[test]
fn a_commit_writes_nothing_and_a_sync_each_block_once() {
    const INSTRUMENTS: u64 = 16;
    const COLUMNS: usize = 400;
    let of = version(1, COLUMNS);
    let backend = Backend::new(9, 0, false);
    let mut store = FeatureStore::with_database(database(&backend).unwrap(), &of, 1 << 30).unwrap();
    let numbers: Vec<u16> = (0..INSTRUMENTS)
        .map(|place| store.instrument(&format!("kraken:{place}")).unwrap())
        .collect();
    let before = backend.device().written;
    let (mut vectors, mut blocks) = (0, 0);
    for step in 0..6 * 24_u64 {
        for number in &numbers {
            push(&mut store, *number, NOW + step * 5 * SECONDS, COLUMNS);
            vectors += 1;
        }
        let start = backend.device().written;
        let sync = step % 24 == 23;
        blocks += store.commit(sync).unwrap().bytes;
        if !sync {
            assert_eq!(backend.device().written, start, "step {step}");
        }
    }
    let written = backend.device().written - before;
    println!(
        "{vectors} vectors: {written} bytes written, {blocks} in blocks, {} a vector",
        written / vectors
    );
    // Beside the blocks, a durable commit writes some fifty pages of redb's own.
    assert!(written < blocks * 5 / 2, "{written} for blocks of {blocks}");
}

#[test]
fn the_thread_stores_counts_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let names = vec![BTC.to_owned(), ETH.to_owned()];
    let (handle, report) =
        super::super::features::spawn(dir.path(), NOW, &Probe::InProcess, MAX_BYTES, names)
            .unwrap();
    assert!(report.fresh);
    let mut table = Table::UNKNOWN;
    table.set(3_usize, Some(0.5));
    for step in 0..100 {
        for place in 0..2 {
            handle.push(place, NOW + step * SECONDS, table);
        }
    }
    let stats = Arc::clone(handle.stats());
    handle.close().unwrap();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    assert_eq!(count(&stats.vectors) + count(&stats.dropped), 200);
    assert_eq!(count(&stats.dropped), 0);
    assert_eq!(count(&stats.errors), 0);
    assert_eq!(count(&stats.oldest_ns), NOW);
    assert_eq!(count(&stats.newest_ns), NOW + 99 * SECONDS);
    assert!(count(&stats.bytes) > 0 && count(&stats.syncs) > 0);
    assert_eq!(stats.suspended(), None);
    let reader = open_to_read(&dir.path().join(FILE), &Probe::InProcess).unwrap();
    let mut read = 0;
    reader
        .read(ETH, schema_id(), NOW, u64::MAX, |at, row| {
            assert_eq!(at, NOW + read * SECONDS);
            assert_eq!(row.len(), TABLE_LEN);
            assert_eq!(row.iter().filter(|v| !v.is_nan()).count(), 1);
            read += 1;
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(read, 100);
}
