//! Tests of the store: what comes back, what stays, and what is refused.

use tempfile::TempDir;
use tickerml_shared::features::{SELECTION, Vector};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::DAYS;

use super::*;

const START: Time = Time(20_000 * DAYS);

fn origin() -> Origin {
    Origin {
        source: "test 00".to_owned(),
        assumed_spread_bps: None,
    }
}

fn row(at: Time, seed: u64, masked: bool) -> MarketRow {
    let mut state = Vector {
        valid: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ..Vector::default()
    };
    for index in 0..SELECTION.len() {
        if state.valid >> index & 1 == 1 {
            state.values[index] = (seed as f32 + index as f32) * 0.1;
        }
    }
    MarketRow {
        at,
        state,
        bid: if masked {
            f64::NAN
        } else {
            100.0 + seed as f64
        },
        ask: if masked {
            f64::NAN
        } else {
            100.5 + seed as f64
        },
        masked,
    }
}

fn series(count: u64) -> Series {
    Series {
        instrument: "kraken:BTC/USD".to_owned(),
        pulse_ns: 600 * SECONDS,
        rows: (0..count)
            .map(|n| row(START.plus(n * 600 * SECONDS), n, n % 7 == 3))
            .collect(),
    }
}

fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(bytes(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    all
}

/// Equality to the bit, for which NaN is equal to itself.
fn text(series: &[Series]) -> String {
    format!("{series:?}")
}

#[test]
fn what_is_put_comes_back_and_putting_it_again_changes_no_byte() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::create(folder.path()).expect("a store");
    let series = series(400);
    let put = store.put(&series, &origin()).expect("room");
    assert_eq!((put.added, put.files), (400, 3));
    let before = bytes(folder.path());
    let again = store.put(&series, &origin()).expect("room");
    assert_eq!((again.same, again.files), (400, 0));
    assert_eq!(bytes(folder.path()), before);
    let store = Store::open(folder.path()).expect("a store");
    assert_eq!(
        text(&store.load(&[], ALWAYS).expect("whole")),
        text(std::slice::from_ref(&series))
    );
    let span = START.plus(DAYS)..START.plus(DAYS + 1_200 * SECONDS);
    let part = store.load(&["kraken:BTC/USD"], span).expect("whole");
    assert_eq!(
        text(&part),
        text(&[Series {
            rows: series.rows[144..146].to_vec(),
            ..series
        }])
    );
    let error = store
        .load(&["kraken:ETH/USD"], ALWAYS)
        .expect_err("unknown");
    assert!(
        error.to_string().contains("it has kraken:BTC/USD"),
        "{error}"
    );
}

#[test]
fn the_row_that_knows_more_stays_whichever_came_first() {
    let folders = [
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    ];
    let (full, mut poor) = (series(3), series(3));
    poor.rows[0].state = Vector::default();
    poor.rows[1].masked = true;
    let orders = [[&full, &poor], [&poor, &full]];
    for (folder, order) in folders.iter().zip(orders) {
        let store = Store::create(folder.path()).expect("a store");
        for series in order {
            store.put(series, &origin()).expect("room");
        }
        assert_eq!(
            text(&store.load(&[], ALWAYS).expect("whole")),
            text(std::slice::from_ref(&full))
        );
    }
}

#[test]
fn a_truncated_day_is_named_with_its_remedy_and_the_others_stay_readable() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::create(folder.path()).expect("a store");
    store.put(&series(400), &origin()).expect("room");
    let day = START.plus(DAYS);
    let path = store
        .path("kraken:BTC/USD", 600 * SECONDS, day)
        .expect("a path");
    let whole = fs::read(&path).expect("a file");
    for length in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("room");
        let error = store.load(&[], ALWAYS).expect_err("damaged").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(
            error.contains("delete this file and import its day again"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
        let others = store.load(&[], START..day).expect("the first day");
        assert_eq!(others[0].rows.len(), 144);
        store
            .load(&[], day.plus(DAYS)..Time(u64::MAX))
            .expect("the last day");
    }
}

#[test]
fn another_schema_is_refused_with_the_first_line_that_differs() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::create(folder.path()).expect("a store");
    let series = series(10);
    store.put(&series, &origin()).expect("room");
    let other = "ab".repeat(32);
    let theirs = description().replace("feature spread bps", "feature spread ticks");
    fs::write(store.description_path(&other), theirs).expect("room");
    let path = store
        .path(&series.instrument, series.pulse_ns, START)
        .expect("a path");
    let (mut head, rows) = store
        .day(&series.instrument, series.pulse_ns, START)
        .expect("whole");
    head.schema_id = other;
    let file = File::create(&path).expect("room");
    table::write(file, &head, &rows).expect("room");
    let error = store
        .load(&[], ALWAYS)
        .expect_err("another schema")
        .to_string();
    assert!(error.contains("abababababab"), "{error}");
    assert!(error.contains("feature spread bps"), "{error}");
    assert!(error.contains("feature spread ticks"), "{error}");
    let error = store
        .put(&series, &origin())
        .expect_err("another schema")
        .to_string();
    assert!(error.contains("import the sources again"), "{error}");
}

#[test]
fn a_folder_without_history_is_said_to_be_one() {
    let folder = TempDir::new().expect("a folder");
    let error = Store::open(folder.path())
        .expect_err("nothing there")
        .to_string();
    assert!(error.contains("import first"), "{error}");
}

#[test]
fn any_rows_come_back_to_the_bit() {
    let mut rng = Rng::new(5, 1);
    for _ in 0..24 {
        let folder = TempDir::new().expect("a folder");
        let store = Store::create(folder.path()).expect("a store");
        let mut rows = BTreeMap::new();
        for _ in 0..=rng.below(60) {
            let at = START.plus(rng.below(500_000) * SECONDS);
            let masked = rng.below(2) == 0;
            let price = f64::from_bits(u64::from(rng.next_u32()) << 32 | u64::from(rng.next_u32()));
            let price = if price.is_nan() { f64::NAN } else { price };
            let row = MarketRow {
                bid: price,
                ..row(at, rng.below(1_000), masked)
            };
            rows.insert(at, row);
        }
        let series = Series {
            rows: rows.into_values().collect(),
            pulse_ns: SECONDS,
            instrument: "binance:A.B_C".to_owned(),
        };
        store.put(&series, &origin()).expect("room");
        let loaded = store.load(&[], ALWAYS).expect("whole");
        assert_eq!(text(&loaded), text(&[series]));
    }
}
