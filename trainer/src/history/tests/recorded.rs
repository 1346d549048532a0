//! Recorded markets, where this machine has them (`TICKERML_DATA`, else `../shared/data` beside the repository).

use tempfile::TempDir;
use tickerml_shared::features::selected;
use tickerml_shared::time::SECONDS;

use super::*;

/// Hourly bars: file, symbol, rows and gaps as the README of the data states them.
const HOURLY: [(&str, &str, u64, u64); 1] = [(
    "binance-ohlcv/spot_BTCUSDT_1h.csv.zst",
    "BTCUSDT",
    64_870,
    27,
)];
/// Two files of frames, the second going on where the first ends.
const FRAMES: [&str; 2] = [
    "hftbacktest-binance-raw/spot_btcusdt_20240808.jsonl.gz",
    "hftbacktest-binance-raw/spot_btcusdt_20240809.jsonl.gz",
];

/// A recorded file; says so when it is not there.
pub(super) fn recorded(name: &str) -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test finds its data by the environment"
    )]
    let root = std::env::var_os("TICKERML_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIP {name}: no recorded data (set TICKERML_DATA)");
    None
}

fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                bytes_of(&path)
            } else {
                entry.metadata().expect("a file").len()
            }
        })
        .sum()
}

#[test]
fn eight_years_of_hourly_bars_become_steps() {
    let mut feeds = Vec::new();
    for (name, symbol, ..) in HOURLY {
        let Some(path) = recorded(name) else { return };
        feeds.push(Feed {
            path,
            venue: Venue::Binance,
            symbol: symbol.to_owned(),
            format: None,
            bar_ns: None,
        });
    }
    let folder = TempDir::new().expect("a folder");
    let store = Store::create(folder.path()).expect("a store");
    let sources = [Source::Files(feeds)];
    let done = import(&sources, &store, &Terms::default(), Progress::Quiet).expect("read");
    println!("{done}");
    for ((_, symbol, rows, gaps), found) in HOURLY.iter().zip(&done.sources[0].instruments) {
        assert_eq!(found.instrument, format!("binance:{symbol}"));
        assert_eq!((found.findings.rows, found.findings.holes), (*rows, *gaps));
        // The step after each gap, and what was no price: nothing else.
        assert_eq!(found.findings.masked, gaps + found.findings.spikes);
    }
    let size = bytes_of(folder.path());
    let steps = 64_870.0;
    println!(
        "{:.0} bytes a step, {size} bytes in all",
        size as f64 / steps
    );
    let series = store.load(&["binance:BTCUSDT"], ALWAYS).expect("whole");

    let known: Vec<String> = selected()
        .enumerate()
        .map(|(index, feature)| {
            let known = series[0]
                .rows
                .iter()
                .filter(|row| row.state.get(index).is_some())
                .count();
            (
                feature.to_string(),
                known as f64 / series[0].rows.len() as f64,
            )
        })
        .filter(|(_, share)| *share > 0.0)
        .map(|(name, share)| format!("{name} {share:.3}"))
        .collect();
    println!("known: {}", known.join(", "));
    assert_eq!(known.len(), 6, "{known:?}");
    let again = import(&sources, &store, &Terms::default(), Progress::Quiet).expect("read");
    assert!(again.sources[0].already);
}

#[test]
fn two_recordings_that_follow_one_another_become_one_series() {
    let Some(files) = FRAMES
        .iter()
        .map(|name| recorded(name))
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let store = Store::create(folder.path()).expect("a store");
    let source = Source::Captures {
        venue: Venue::Binance,
        files,
    };
    let done = import(&[source], &store, &Terms::default(), Progress::Quiet).expect("read");
    println!("{done}");
    let found = &done.sources[0].instruments[0];
    assert_eq!(found.instrument, "binance:BTCUSDT");
    // From the first whole second after anything was told to the last: 23:54:15 to 00:05:04.
    assert_eq!(
        (
            found.findings.rows,
            found.findings.holes,
            found.findings.crossed
        ),
        (650, 0, 0)
    );
    assert!(found.findings.masked <= 3, "{}", found.findings);
    assert!(found.findings.known_mean() > 30.0, "{}", found.findings);
    let series = store.load(&[], ALWAYS).expect("whole");
    assert!(
        series[0]
            .rows
            .windows(2)
            .all(|pair| pair[1].at.since(pair[0].at) == SECONDS.cast_signed())
    );
    let size = bytes_of(folder.path());
    println!("99574 frames, {size} bytes");
}
