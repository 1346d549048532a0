//! Whole recordings: every book must come up, stay up, and agree with whatever can contradict it;
//! and a damaged copy must be found out.

use super::*;

/// Replays every file of a folder; each holds one instrument, named by the file.
fn check_folder(venue: Venue, folder: &str) {
    let Some(root) = recorded(folder) else {
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(root)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let symbol = name.split('.').next().expect("a symbol").to_owned();
        let mut replay = Replay::new(venue);
        for line in lines(&file) {
            replay.line(&line);
        }
        let book = &replay.of(&symbol).book;
        assert!(book.is_live(), "{symbol}: {:?}", book.counters());
        assert_eq!(
            replay.all_gaps(&symbol),
            0,
            "{symbol}: {:?}",
            book.counters()
        );
        let status = replay.session.status();
        assert_eq!((status.parse_errors, status.refusals), (0, 0), "{symbol}");
    }
}

#[test]
fn binance_captures_have_no_gap() {
    check_folder(Venue::Binance, "captures/binance");
}

#[test]
fn binance_us_captures_have_no_gap() {
    check_folder(Venue::BinanceUs, "captures/binance-us");
}

#[test]
fn binance_usdm_captures_have_no_gap() {
    check_folder(Venue::BinanceUsdm, "captures/binance-usdm");
}

#[test]
fn coinbase_captures_have_no_gap() {
    check_folder(Venue::Coinbase, "captures/coinbase");
}

#[test]
fn coinbase_advanced_capture_is_continuous_over_its_acknowledgement() {
    let path = "coinbase-advanced-l2/coinbase_l2.jsonl";
    let Some(replay) = check_capture(Venue::CoinbaseAdvanced, path) else {
        return;
    };
    assert_eq!(replay.all_gaps("BTC-USD"), 0);
    let best = replay.best("BTC-USD").expect("live");
    assert_eq!(best, ("78856.05".to_owned(), "78856.06".to_owned()));
    let book = &replay.of("BTC-USD").book;
    let (bid, ask) = (book.best(Side::Buy), book.best(Side::Sell));
    let qty = |level: Option<Level>| replay.text("BTC-USD", level.expect("a level")).1;
    assert_eq!(
        (qty(bid), qty(ask)),
        ("0.04868904".into(), "0.08023149".into())
    );
}

const SPOT: [&str; 2] = [
    "hftbacktest-binance-raw/spot_btcusdt_20240808.jsonl.gz",
    "hftbacktest-binance-raw/spot_btcusdt_20240809.jsonl.gz",
];
const USDM: &str = "hftbacktest-binance-raw/usdm_btcusdt_20240808.jsonl.gz";

/// Every comparison with the best-bid/ask stream must agree, and nothing else be wrong. `equal` is
/// how many an independent rebuild of the recording found.
///
/// Both recordings leave the 1000 levels of their only snapshot. A book that then falls silent
/// ([`GapReason::Horizon`]), and waits for a snapshot that the recording does not have, has compared
/// fewer.
fn agrees_with_touches(replay: &Replay, equal: u64) {
    let counters = replay.counters("BTCUSDT");
    assert_eq!(counters.touches_different, 0);
    if replay.gaps("BTCUSDT", GapReason::Horizon) == 0 {
        assert_eq!(replay.all_gaps("BTCUSDT"), 0, "{counters:?}");
        assert_eq!(counters.touches_equal, equal);
        assert!(replay.of("BTCUSDT").book.is_live());
    } else {
        assert!(counters.touches_equal > equal / 3, "{counters:?}");
    }
}

#[test]
fn binance_spot_agrees_with_its_best_bid_ask_stream_across_two_files() {
    let Some(mut replay) = check_capture(Venue::Binance, SPOT[0]) else {
        return;
    };
    assert_eq!(replay.of("BTCUSDT").trades.len(), 9757);
    let Some(path) = recorded(SPOT[1]) else {
        return;
    };
    for line in lines(&path) {
        replay.line(&line);
    }
    agrees_with_touches(&replay, 1072);
    assert_eq!(replay.of("BTCUSDT").trades.len(), 9757 + 10_147);
    // The continuity of the diffs does not depend on what the book thinks of itself.
    let Some(mut alone) = check_numbers(&SPOT) else {
        return;
    };
    assert_eq!(alone.poll_update(), None);
    assert!(!alone.reader().listings()[0].sync.is_waiting());
}

/// Replays files without a book; no update may be a gap.
fn check_numbers(paths: &[&str]) -> Option<Session> {
    let mut session = Session::capture(Venue::Binance);
    for path in paths {
        for line in lines(&recorded(path)?) {
            let (stamp, frame) = line.split_once(' ').expect("a stamp");
            session.handle_frame(Time(stamp.parse().expect("a stamp")), frame);
            while let Some(update) = session.poll_update() {
                assert!(!matches!(update.body, Body::Gap(_)), "{update:?}");
            }
        }
    }
    Some(session)
}

#[test]
fn binance_usdm_agrees_with_its_best_bid_ask_stream() {
    let Some(replay) = check_capture(Venue::BinanceUsdm, USDM) else {
        return;
    };
    agrees_with_touches(&replay, 629);
    assert_eq!(replay.of("BTCUSDT").trades.len(), 21_313);
}

/// The first lines of the spot recording, and where its snapshot stands.
fn head(count: usize) -> Option<(Vec<String>, usize)> {
    let mut lines = lines(&recorded(SPOT[0])?);
    lines.truncate(count);
    let snapshot = lines
        .iter()
        .position(|line| !line.contains(r#"{"stream""#))
        .expect("a snapshot");
    Some((lines, snapshot))
}

fn replay(lines: &[String]) -> Replay {
    let mut replay = Replay::new(Venue::Binance);
    replay.lines(lines.iter().map(String::as_str));
    replay
}

fn nth_diff(lines: &[String], nth: usize) -> usize {
    let mut diffs = (0..lines.len()).filter(|&i| lines[i].contains("@depth"));
    diffs.nth(nth).expect("so many diffs")
}

#[test]
fn a_missing_diff_is_found_wherever_it_was() {
    let Some((lines, _)) = head(2000) else {
        return;
    };
    let diffs = lines.iter().filter(|line| line.contains("@depth")).count();
    // The first two are older than the snapshot; the last one has no successor to show its loss.
    for nth in 2..diffs - 1 {
        let mut damaged = lines.clone();
        damaged.remove(nth_diff(&lines, nth));
        let replay = replay(&damaged);
        let sequence = replay.gaps("BTCUSDT", GapReason::Sequence);
        assert_eq!(
            (sequence, replay.all_gaps("BTCUSDT")),
            (1, 1),
            "without diff {nth}"
        );
        assert_eq!(replay.best("BTCUSDT"), None, "stale until a snapshot");
    }
}

#[test]
fn a_diff_that_comes_twice_is_a_gap() {
    let Some((mut lines, _)) = head(2000) else {
        return;
    };
    let at = nth_diff(&lines, 20);
    lines.insert(at, lines[at].clone());
    let replay = replay(&lines);
    assert_eq!(replay.gaps("BTCUSDT", GapReason::Sequence), 1);
    assert_eq!(replay.best("BTCUSDT"), None);
}

#[test]
fn a_frame_cut_in_half_costs_the_book_and_not_the_session() {
    let Some((lines, _)) = head(2000) else {
        return;
    };
    for nth in [4, 9, 30] {
        let mut damaged = lines.clone();
        let at = nth_diff(&lines, nth);
        let half = damaged[at].len() / 2;
        damaged[at].truncate(half);
        let replay = replay(&damaged);
        assert_eq!(replay.gaps("BTCUSDT", GapReason::Unparsable), 1);
        assert_eq!(replay.session.status().parse_errors, 1);
        assert_eq!(replay.best("BTCUSDT"), None);
        assert_eq!(replay.session.status().frames, 2000);
    }
}

/// Where the first price behind a key of the snapshot stands, up to its cents.
fn first_price(line: &str, key: &str) -> std::ops::Range<usize> {
    let start = line.find(key).expect("a side") + key.len();
    let point = start + line[start..].find('.').expect("a point");
    start..point + 3
}

#[test]
fn a_wrong_digit_in_the_best_price_of_the_snapshot_is_found() {
    let Some((lines, snapshot)) = head(4000) else {
        return;
    };
    // A best bid that reads too high or a best ask that reads too low stays in the book; the other
    // direction leaves a hole that the next diff fills.
    for (key, toward) in [(r#""bids":[["#, b'9'), (r#""asks":[["#, b'0')] {
        let key = format!("{key}\"");
        let whole = &lines[snapshot];
        for at in first_price(whole, &key) {
            let digit = whole.as_bytes()[at];
            if digit == b'.' || digit == toward {
                continue;
            }
            let mut damaged = lines.clone();
            damaged[snapshot].replace_range(at..=at, &char::from(toward).to_string());
            let replay = replay(&damaged);
            let found = replay.gaps("BTCUSDT", GapReason::Touch)
                + replay.gaps("BTCUSDT", GapReason::Crossed);
            let counters = replay.counters("BTCUSDT");
            assert_eq!(found, 1, "{key} {at}: {counters:?}");
            assert_eq!(replay.best("BTCUSDT"), None);
        }
    }
}

#[test]
fn kucoin_captures_have_no_gap() {
    check_folder(Venue::Kucoin, "captures/kucoin");
}

#[test]
fn kraken_futures_captures_have_no_gap() {
    check_folder(Venue::KrakenFutures, "captures/kraken-futures");
}

#[test]
fn kraken_capture_verifies_every_checksum() {
    let path = "kraken-v2-btcusd/capture_d10_20260719T1754.jsonl";
    let Some(replay) = check_capture(Venue::Kraken, path) else {
        return;
    };
    assert_eq!(replay.all_gaps("BTC/USD"), 0);
    let counters = replay.counters("BTC/USD");
    assert_eq!(
        (counters.checksums_verified, counters.checksums_failed),
        (1254, 0)
    );
}
