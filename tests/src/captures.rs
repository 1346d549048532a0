//! Whole captures through `replay`: recorded days of the real venues where this machine has them
//! (`TICKERML_DATA`), and the simulated ones of `tests/fixtures` always.
//!
//! Every book must come up, stay up, and equal a second rebuild (`rebuild.rs`); every damaged copy
//! must give the right gap and a silent book, never a wrong price.

mod damage;
mod rebuild;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tickerml_edge::replay::{self, InstrumentReport, Replay};
use tickerml_shared::instrument::Venue;
use tickerml_sim::capture::{Feed, capture};

use rebuild::{Ladder, Rebuild};

/// The recorded Kraken capture at depth 10.
const KRAKEN: &str = "kraken-v2-btcusd/capture_d10_20260719T1754.jsonl";
/// Levels a side that a replay shows.
const SHOWN: usize = 10;
/// The levels of a silent book.
const NOTHING: [Ladder; 2] = [Vec::new(), Vec::new()];

// --- where captures are, and their lines -------------------------------------------------------

/// A file or folder of the recorded data; says so when it is not there.
pub(crate) fn recorded(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TICKERML_DATA")
        .map_or_else(|| crate::root().join("../shared/data"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("SKIP {name}: no recorded data");
    None
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end != "md"));
    files.sort();
    assert!(!files.is_empty(), "{}: no captures", folder.display());
    files
}

fn fixture(feed: Feed) -> (Venue, PathBuf) {
    let venue = Venue::from_name(feed.name()).expect("a venue");
    let folder = crate::root().join("tests/fixtures").join(feed.name());
    (venue, folder.join("simulated.jsonl"))
}

/// The lines of a capture, unpacked.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let packed = std::fs::read(path).expect("a readable file");
    let mut text = String::new();
    match path.extension().and_then(|end| end.to_str()) {
        Some("zst") => zstd::stream::read::Decoder::new(packed.as_slice())
            .expect("zstd")
            .read_to_string(&mut text),
        Some("gz") => {
            flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text)
        }
        _ => packed.as_slice().read_to_string(&mut text),
    }
    .expect("text");
    text.lines().map(str::to_owned).collect()
}

/// The frame of a line: what follows its stamp, or a REST answer in a stream's envelope. Nothing
/// for what the recorder's own client sent.
fn frame(venue: Venue, line: &str) -> Option<String> {
    if let Some((url, rest)) = line.split_once(" -> ").filter(|_| line.starts_with("http")) {
        let symbol = url.split_once("symbol=")?.1.split('&').next()?;
        let body = rest.split_once(": ")?.1;
        return Some(match venue {
            Venue::Kucoin => {
                let body: Value = serde_json::from_str(body).expect("JSON");
                format!(
                    r#"{{"topic":"/market/level2:{symbol}","data":{}}}"#,
                    body["data"]
                )
            }
            _ => {
                let stream = symbol.to_ascii_lowercase();
                format!(r#"{{"stream":"{stream}@depthSnapshot","data":{body}}}"#)
            }
        });
    }
    let is_frame = |text: &str| text.starts_with(['{', '[']);
    let bare = line.split_once(' ').map_or(line, |(_, rest)| rest);
    [line, bare]
        .into_iter()
        .find(|text| is_frame(text))
        .map(str::to_owned)
}

fn write(folder: &TempDir, name: &str, lines: &[String]) -> PathBuf {
    let path = folder.path().join(name);
    let text: String = lines
        .iter()
        .flat_map(|line| [line.as_str(), "\n"])
        .collect();
    std::fs::write(&path, text).expect("a writable folder");
    path
}

fn play(venue: Venue, paths: &[PathBuf]) -> Replay {
    replay::captures(venue, paths).expect("a readable capture")
}

/// A replay of lines, through a file as any other.
fn play_lines(venue: Venue, lines: &[String]) -> Vec<InstrumentReport> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(&folder, "capture.jsonl", lines);
    play(venue, &[path]).inputs.remove(0).instruments
}

fn of<'a>(reports: &'a [InstrumentReport], symbol: &str) -> &'a InstrumentReport {
    let found = reports.iter().find(|report| report.instrument == symbol);
    found.unwrap_or_else(|| panic!("{symbol} is reported"))
}

fn all_gaps(report: &InstrumentReport) -> u64 {
    report.gaps.values().sum()
}

fn ten(report: &InstrumentReport) -> [Ladder; 2] {
    [report.book.bids.clone(), report.book.asks.clone()]
}

/// The symbol that a capture of one instrument is named after.
fn symbol_of(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.expect("a name");
    name.split('.').next().expect("a symbol").to_owned()
}

// --- whole captures ----------------------------------------------------------------------------

/// One input's reports against the second rebuild.
fn agrees(venue: Venue, path: &Path, reports: &[InstrumentReport], rebuild: &Rebuild) {
    let symbols = rebuild.symbols();
    assert!(!symbols.is_empty(), "{}: no book", path.display());
    assert_eq!(reports.len(), symbols.len(), "{}", path.display());
    for symbol in symbols {
        let report = of(reports, symbol);
        let place = format!("{} {venue} {symbol}", path.display());
        assert_eq!(report.book.state, "live", "{place}");
        assert_eq!(all_gaps(report), 0, "{place}: {:?}", report.gaps);
        assert_eq!((report.resyncs, report.checksums.failed), (0, 0), "{place}");
        assert_eq!(report.bbo_checks.different, 0, "{place}");
        assert_eq!(ten(report), rebuild.best(symbol, SHOWN), "{place}");
    }
}

/// Replays files one by one and as one tape; both must agree with the second rebuild.
fn check_files(venue: Venue, paths: &[PathBuf]) {
    let together = play(venue, paths);
    assert_eq!(together.inputs.len(), paths.len());
    check_json(&together);
    for (path, input) in paths.iter().zip(&together.inputs) {
        let frames: Vec<_> = lines(path)
            .iter()
            .filter_map(|line| frame(venue, line))
            .collect();
        let frames = frames.iter().map(String::as_str);
        let rebuild = Rebuild::of(venue, &symbol_of(path), frames);
        agrees(venue, path, &input.instruments, &rebuild);
        let alone = play(venue, std::slice::from_ref(path));
        assert_eq!(alone.inputs[0].troubles, Vec::<String>::new());
        agrees(venue, path, &alone.inputs[0].instruments, &rebuild);
    }
}

fn check_folder(venue: Venue) {
    if let Some(folder) = recorded(&format!("captures/{venue}")) {
        check_files(venue, &files(&folder));
    }
}

#[test]
fn binance_captures_replay_without_a_gap() {
    check_folder(Venue::Binance);
}

#[test]
fn binance_us_captures_replay_without_a_gap() {
    check_folder(Venue::BinanceUs);
}

#[test]
fn binance_usdm_captures_replay_without_a_gap() {
    check_folder(Venue::BinanceUsdm);
}

#[test]
fn coinbase_captures_replay_without_a_gap() {
    check_folder(Venue::Coinbase);
}

#[test]
fn kucoin_captures_replay_without_a_gap() {
    check_folder(Venue::Kucoin);
}

#[test]
fn kraken_futures_captures_replay_without_a_gap() {
    check_folder(Venue::KrakenFutures);
}

#[test]
fn the_coinbase_advanced_capture_replays_without_a_gap() {
    if let Some(path) = recorded("coinbase-advanced-l2/coinbase_l2.jsonl") {
        check_files(Venue::CoinbaseAdvanced, &[path]);
    }
}

#[test]
fn every_checksum_of_the_kraken_capture_is_verified() {
    let Some(path) = recorded(KRAKEN) else { return };
    check_files(Venue::Kraken, std::slice::from_ref(&path));
    let report = play(Venue::Kraken, &[path])
        .inputs
        .remove(0)
        .instruments
        .remove(0);
    assert_eq!((report.frames, report.checksums.verified), (1376, 1254));
}

/// A tape of one instrument over several files; `equal` is how often the best-bid/ask stream agrees
/// with the depth stream by an independent count.
fn check_tape(venue: Venue, names: &[&str], equal: u64) {
    let paths: Option<Vec<_>> = names.iter().map(|name| recorded(name)).collect();
    let Some(paths) = paths else { return };
    let replay = play(venue, &paths);
    check_json(&replay);
    let lines: Vec<_> = paths.iter().flat_map(|path| lines(path)).collect();
    // The other streams are most of it and say nothing about depth.
    let depth = lines
        .iter()
        .filter(|line| line.contains("epth") || line.contains("lastUpdateId"));
    let frames: Vec<_> = depth.filter_map(|line| frame(venue, line)).collect();
    let rebuild = Rebuild::of(venue, "BTCUSDT", frames.iter().map(String::as_str));
    let input = replay.inputs.last().expect("an input");
    agrees(venue, &paths[0], &input.instruments, &rebuild);
    let reports = replay.inputs.iter().flat_map(|input| &input.instruments);
    let (mut gaps, mut agreed, mut contradicted) = (0, 0, 0);
    for report in reports {
        gaps += all_gaps(report);
        agreed += report.bbo_checks.equal;
        contradicted += report.bbo_checks.different;
    }
    assert_eq!((gaps, agreed, contradicted), (0, equal, 0));
}

#[test]
fn two_days_of_binance_spot_are_one_tape() {
    let names = [
        "hftbacktest-binance-raw/spot_btcusdt_20240808.jsonl.gz",
        "hftbacktest-binance-raw/spot_btcusdt_20240809.jsonl.gz",
    ];
    check_tape(Venue::Binance, &names, 1072);
}

#[test]
fn the_binance_usdm_tape_agrees_with_its_best_bid_ask_stream() {
    let names = ["hftbacktest-binance-raw/usdm_btcusdt_20240808.jsonl.gz"];
    check_tape(Venue::BinanceUsdm, &names, 629);
}

/// Recordings as their recorder left them: REST answers in a file of their own, connections and
/// requests between the frames, several instruments on one connection.
///
/// Left out: KRAKEN.ws.48 (trades only) and KRAKEN.ws.49 (tickers only), which hold no book.
#[test]
fn recordings_replay_as_their_recorder_left_them() {
    for (venue, names) in [
        (Venue::Binance, &["BINANCE.http.0.0", "BINANCE.ws.1.0"][..]),
        (
            Venue::BinanceUs,
            &["BINANCE_US.http.0.0", "BINANCE_US.ws.1.0"],
        ),
        (
            Venue::BinanceUsdm,
            &["BINANCE_FUTURES.http.0.0", "BINANCE_FUTURES.ws.1.0"],
        ),
        (Venue::Kucoin, &["KUCOIN.http.0.0", "KUCOIN.ws.1.0"]),
        (Venue::KrakenFutures, &["KRAKEN_FUTURES.ws.1.0"]),
        (Venue::Coinbase, &["COINBASE.ws.28.0"]),
        (Venue::Kraken, &["KRAKEN.ws.50.0"]),
    ] {
        let name = |name: &&str| recorded(&format!("cryptofeed-sample/{name}.zst"));
        let paths: Option<Vec<_>> = names.iter().map(name).collect();
        let Some(paths) = paths else { continue };
        let lines: Vec<_> = paths.iter().flat_map(|path| lines(path)).collect();
        let frames: Vec<_> = lines.iter().filter_map(|line| frame(venue, line)).collect();
        let rebuild = Rebuild::of(venue, "", frames.iter().map(String::as_str));
        let replay = play(venue, &paths);
        check_json(&replay);
        let input = replay.inputs.last().expect("an input");
        agrees(venue, &paths[0], &input.instruments, &rebuild);
        assert_eq!(input.troubles, Vec::<String>::new(), "{venue}");
    }
}

#[test]
fn our_own_fixtures_replay_without_a_gap() {
    for feed in Feed::ALL {
        let (venue, path) = fixture(feed);
        check_files(venue, std::slice::from_ref(&path));
        let reports = play(venue, &[path]).inputs.remove(0).instruments;
        assert_eq!(reports.len(), 2, "{venue}: each instrument is listed");
        for report in reports {
            assert!(
                report.events > 40 && report.trades > 3,
                "{venue}: {report:?}"
            );
            let checked = match venue {
                Venue::Binance => report.bbo_checks.equal,
                Venue::Kraken => report.checksums.verified,
                _ => continue,
            };
            assert!(checked > 5, "{venue}: {report:?}");
        }
    }
}

#[test]
fn fresh_captures_end_with_the_true_books() {
    for feed in Feed::ALL {
        let made = capture(feed, 77, 24 * 1024);
        let lines: Vec<_> = made.text.lines().map(str::to_owned).collect();
        let venue = Venue::from_name(feed.name()).expect("a venue");
        let reports = play_lines(venue, &lines);
        for (symbol, truth) in made.truth {
            let report = of(&reports, &symbol);
            assert_eq!(
                (report.book.state, all_gaps(report)),
                ("live", 0),
                "{venue} {symbol}"
            );
            let best = |side: Vec<(String, String)>| -> Ladder {
                side.into_iter()
                    .take(SHOWN)
                    .map(|(price, qty)| [price, qty])
                    .collect()
            };
            let truth = [best(truth.bids), best(truth.asks)];
            assert_eq!(ten(report), truth, "{venue} {symbol}");
        }
    }
}

// --- other forms of the same capture -----------------------------------------------------------

/// What must not depend on the form: everything but what comes of stamps.
fn essence(reports: &[InstrumentReport]) -> Vec<Value> {
    let plain = |report| {
        let mut value = serde_json::to_value(report).expect("JSON");
        value["late"] = Value::Null;
        value
    };
    reports.iter().map(plain).collect()
}

fn check_forms(venue: Venue, lines: &[String]) {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = write(&folder, "plain.jsonl", lines);
    let text = std::fs::read(&plain).expect("just written");
    let zst = folder.path().join("packed.jsonl.zst");
    std::fs::write(&zst, zstd::encode_all(text.as_slice(), 3).expect("zstd")).expect("written");
    let gz = folder.path().join("packed.jsonl.gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).expect("gzip");
    std::fs::write(&gz, encoder.finish().expect("gzip")).expect("written");
    // What a program calls a file does not decide how it is read.
    let misnamed = folder.path().join("packed");
    std::fs::copy(&gz, &misnamed).expect("written");
    let split = |line: &String| {
        let (stamp, frame) = line.split_once(' ').expect("a stamp");
        (stamp.to_owned(), frame.to_owned())
    };
    let seconds = |line| {
        let (stamp, frame) = split(line);
        let (whole, nanos) = stamp.split_at(stamp.len() - 9);
        format!("{whole}.{nanos} {frame}")
    };
    let seconds: Vec<_> = lines.iter().map(seconds).collect();
    let seconds = write(&folder, "seconds.jsonl", &seconds);
    let bare: Vec<_> = lines.iter().map(|line| split(line).1).collect();
    let bare = write(&folder, "bare.jsonl", &bare);
    let plain = play(venue, &[plain]);
    for path in [zst, gz, misnamed, seconds] {
        let other = play(venue, std::slice::from_ref(&path));
        assert_eq!(
            other.state_hash,
            plain.state_hash,
            "{venue} {}",
            path.display()
        );
        let reports = &other.inputs[0].instruments;
        assert_eq!(
            essence(reports),
            essence(&plain.inputs[0].instruments),
            "{}",
            path.display()
        );
    }
    let bare = play(venue, &[bare]);
    let reports = &bare.inputs[0].instruments;
    assert_eq!(
        essence(reports),
        essence(&plain.inputs[0].instruments),
        "{venue} without stamps"
    );
}

#[test]
fn packed_and_stamped_in_any_way_a_capture_says_the_same() {
    for feed in Feed::ALL {
        let (venue, path) = fixture(feed);
        check_forms(venue, &lines(&path));
    }
    if let Some(path) = recorded("captures/binance-us/OMGBUSD.jsonl.zst") {
        check_forms(Venue::BinanceUs, &lines(&path));
    }
}

#[test]
fn what_a_killed_recorder_left_is_replayed_up_to_there() {
    let (venue, path) = fixture(Feed::Kraken);
    let text = std::fs::read(&path).expect("a fixture");
    let folder = tempfile::tempdir().expect("a folder");
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("zstd");
    let (written, never) = text.split_at(text.len() / 2);
    encoder.write_all(written).expect("packed");
    encoder.flush().expect("packed");
    let flushed = encoder.get_ref().clone();
    drop((encoder, never));
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&text).expect("packed");
    let gz = gz.finish().expect("packed");
    for (name, packed) in [("torn.zst", &flushed[..]), ("torn.gz", &gz[..gz.len() / 2])] {
        let path = folder.path().join(name);
        std::fs::write(&path, packed).expect("written");
        let input = play(venue, &[path]).inputs.remove(0);
        assert_eq!(input.troubles.len(), 1, "{name}: {:?}", input.troubles);
        assert!(input.troubles[0].contains("breaks off"), "{name}");
        for report in input.instruments {
            assert_eq!(
                (report.book.state, all_gaps(&report)),
                ("live", 0),
                "{name}"
            );
            assert!(report.checksums.verified > 30, "{name}: {report:?}");
        }
    }
}

#[test]
fn captures_without_a_readable_frame_are_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let noise: Vec<u8> = (0..4096_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let packed = zstd::encode_all(noise.as_slice(), 3).expect("zstd");
    for (name, bytes) in [("empty", Vec::new()), ("noise", noise), ("packed", packed)] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        for venue in Venue::ALL {
            let error = replay::captures(venue, std::slice::from_ref(&path));
            let error = error.expect_err(name).to_string();
            assert!(error.contains(name) && !error.contains('\n'), "{error}");
        }
    }
}

// --- the contract of `replay --json` -----------------------------------------------------------

/// Every key that scripts rely on is there and of its kind; decimals are exact and trimmed; levels
/// are best first.
fn check_json(replay: &Replay) {
    check_contract(&serde_json::to_value(replay).expect("JSON"));
}

pub(crate) fn check_contract(replay: &Value) {
    let hash = replay["state_hash"].as_str().expect("state_hash");
    assert!(
        hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{hash}"
    );
    for input in replay["inputs"].as_array().expect("inputs") {
        assert!(input["path"].is_string() && input["venue"].is_string());
        for one in input["instruments"].as_array().expect("instruments") {
            assert!(one["instrument"].is_string());
            for key in [
                "frames",
                "events",
                "trades",
                "resyncs",
                "last_venue_time_ns",
            ] {
                assert!(one[key].is_u64(), "{key} of {one}");
            }
            for (group, keys) in [
                (
                    "gaps",
                    &["sequence", "checksum", "crossed", "overflow", "unparsable"][..],
                ),
                ("checksums", &["verified", "failed"]),
                ("bbo_checks", &["equal", "different"]),
            ] {
                assert!(
                    keys.iter().all(|key| one[group][key].is_u64()),
                    "{group} of {one}"
                );
            }
            check_book(&one["book"]);
        }
    }
}

fn check_book(book: &Value) {
    let state = book["state"].as_str().expect("state");
    assert!(["live", "stale"].contains(&state), "{state}");
    let prices = ["bids", "asks"].map(|side| {
        let levels = book[side].as_array().expect("levels");
        assert!(
            levels.len() <= SHOWN && (state == "live" || levels.is_empty()),
            "{book}"
        );
        levels.iter().map(check_level).collect::<Vec<_>>()
    });
    assert!(prices[0].is_sorted_by(|a, b| a > b), "bids fall: {book}");
    assert!(prices[1].is_sorted_by(|a, b| a < b), "asks rise: {book}");
    if let [Some(bid), Some(ask)] = [prices[0].first(), prices[1].first()] {
        assert!(bid < ask, "crossed: {book}");
    }
}

/// Price and quantity, each as trimmed decimal text. Gives the price.
fn check_level(level: &Value) -> f64 {
    let pair = level.as_array().expect("a pair");
    let [price, qty] = pair.as_slice() else {
        panic!("{level} is no pair");
    };
    let number = |value: &Value| {
        let text = value.as_str().expect("decimal text");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "1"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        assert!(
            digits(whole) && digits(fraction) && !fraction.ends_with('0'),
            "{text}"
        );
        assert!(whole == "0" || !whole.starts_with('0'), "{text}");
        text.parse::<f64>().expect("a number")
    };
    assert!(number(qty) > 0.0, "{level}");
    number(price)
}
