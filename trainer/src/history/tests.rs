//! Tests of the import: every format, causality, repetition.

mod edge;
mod recorded;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use tempfile::TempDir;
use tickerml_shared::features::bars::{Bar, Bars, Timeframe};
use tickerml_shared::features::indicators;
use tickerml_shared::features::selected;
use tickerml_shared::rand::Rng;
use tickerml_shared::time::{DAYS, MILLIS, SECONDS};

use super::*;

const START: Time = Time(20_000 * DAYS);
const HOUR_NS: u64 = 3_600 * SECONDS;

/// Open, high, low, close and volume of random bars.
fn walk(count: usize, seed: u64) -> Vec<[f64; 5]> {
    let mut rng = Rng::new(seed, 1);
    let mut close: f64 = 100.0;
    let cents = |value: f64| (value * 100.0).round() / 100.0;
    (0..count)
        .map(|_| {
            let mut step = |width: u64| (rng.below(width) as f64 - width as f64 / 2.0) / 1_000.0;
            let open = close;
            close = cents(open * (1.0 + step(20)));
            let high = cents(open.max(close) * 1.003);
            let low = cents(open.min(close) * 0.997);
            let volume = cents(10.0 + 1_000.0 * step(10));
            [open, high, low, close, volume]
        })
        .collect()
}

fn table(bars: &[[f64; 5]], length_ns: u64, header: bool, unit_ns: u64) -> String {
    let mut text = String::new();
    if header {
        text.push_str("open_time_ms,open,high,low,close,volume\n");
    }
    for (n, [open, high, low, close, volume]) in (0..).zip(bars) {
        let start = START.plus(n * length_ns).0 / unit_ns;
        text.push_str(&format!("{start},{open},{high},{low},{close},{volume}\n"));
    }
    text
}

fn feed(path: &Path) -> Feed {
    Feed {
        path: path.to_owned(),
        venue: Venue::Binance,
        symbol: "BTCUSDT".to_owned(),
        format: None,
        bar_ns: None,
    }
}

/// Imports texts as files of one instrument; what is in the store then, and what was found.
fn steps(files: &[(&str, &[u8])], terms: &Terms) -> Result<(Vec<Series>, Summary), HistoryError> {
    let folder = TempDir::new().expect("a folder");
    let mut feeds = Vec::new();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("room");
        feeds.push(feed(&path));
    }
    let store = Store::create(&folder.path().join("store"))?;
    let summary = import(&[Source::Files(feeds)], &store, terms, Progress::Quiet)?;
    Ok((store.load(&[], ALWAYS)?, summary))
}

fn from(text: &str) -> Series {
    let (mut series, _) =
        steps(&[("file", text.as_bytes())], &Terms::default()).expect("a good file");
    series.remove(0)
}

fn zipped(name: &str, bytes: &[u8], method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    archive.start_file(name, options).expect("memory");
    archive.write_all(bytes).expect("memory");
    archive.finish().expect("memory").into_inner()
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            let inner = contents(&path);
            let name = PathBuf::from(entry.file_name());
            all.extend(
                inner
                    .into_iter()
                    .map(|(path, bytes)| (name.join(path), bytes)),
            );
        } else {
            all.insert(
                PathBuf::from(entry.file_name()),
                fs::read(&path).expect("a file"),
            );
        }
    }
    all
}

#[test]
fn the_same_bars_are_read_from_every_packing_header_and_unit() {
    let bars = walk(400, 1);
    let plain = table(&bars, HOUR_NS, true, MILLIS);
    let expected = from(&plain);
    assert_eq!(expected.rows.len(), 400);
    assert_eq!(expected.pulse_ns, HOUR_NS);
    assert_eq!(expected.rows[0].at, START.plus(HOUR_NS));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain.as_bytes()).expect("memory");
    let packed = [
        gzip.finish().expect("memory"),
        zstd::encode_all(plain.as_bytes(), 1).expect("memory"),
        zipped("a.csv", plain.as_bytes(), zip::CompressionMethod::Deflated),
        zipped("a.csv", plain.as_bytes(), zip::CompressionMethod::Stored),
        table(&bars, HOUR_NS, false, MILLIS).into_bytes(),
        table(&bars, HOUR_NS, false, 1_000).into_bytes(),
    ];
    for bytes in packed {
        let (series, _) =
            steps(&[("file", bytes.as_slice())], &Terms::default()).expect("a good file");
        assert_eq!(
            format!("{series:?}"),
            format!("{:?}", std::slice::from_ref(&expected))
        );
    }
}

#[test]
fn quotes_stand_the_assumed_spread_around_the_close() {
    let bars = walk(30, 2);
    let series = from(&table(&bars, HOUR_NS, true, MILLIS));
    for (row, [.., close, _]) in series.rows.iter().zip(&bars) {
        assert!((row.bid - close * (1.0 - 1e-4)).abs() < 1e-6, "{row:?}");
        assert!((row.ask - close * (1.0 + 1e-4)).abs() < 1e-6, "{row:?}");
        assert!(!row.masked);
    }
}

#[test]
fn a_bar_tells_nothing_before_its_close() {
    for length_ns in [60 * SECONDS, HOUR_NS] {
        let bars = walk(600, 3);
        let whole = from(&table(&bars, length_ns, true, MILLIS));
        for cut in [1, 250, 599] {
            let mut other = bars.clone();
            for bar in &mut other[cut..] {
                *bar = bar.map(|number| (number * 130.0).round() / 100.0);
            }
            let other = from(&table(&other, length_ns, true, MILLIS));
            let (ours, theirs) = (&whole.rows[..cut], &other.rows[..cut]);
            assert_eq!(
                format!("{ours:?}"),
                format!("{theirs:?}"),
                "{length_ns} {cut}"
            );
            assert_ne!(format!("{:?}", whole.rows), format!("{:?}", other.rows));
        }
    }
}

/// A second way from bars to features: the bars of each timeframe that are over, given as history.
#[test]
fn the_features_of_a_step_are_those_of_the_bars_that_closed_by_then() {
    let bars = walk(24 * 40, 4);
    let series = from(&table(&bars, HOUR_NS, true, MILLIS));
    let mut history = Bars::new();
    let mut compared = 0;
    for (n, row) in series.rows.iter().enumerate() {
        let hours = n + 1;
        for (timeframe, length) in [
            (Timeframe::Hour1, 1),
            (Timeframe::Hour4, 4),
            (Timeframe::Day1, 24),
        ] {
            if hours % length != 0 {
                continue;
            }
            let part = &bars[hours - length..hours];
            let volume: f64 = part.iter().map(|bar| bar[4]).sum();
            let bar = Bar {
                open: part[0][0],
                high: part.iter().map(|bar| bar[1]).fold(0.0, f64::max),
                low: part.iter().map(|bar| bar[2]).fold(f64::MAX, f64::min),
                close: part[length - 1][3],
                volume,
                value: part
                    .iter()
                    .map(|bar| (bar[1] + bar[2] + bar[3]) / 3.0 * bar[4])
                    .sum(),
                bought: volume / 2.0,
            };
            let start_s = (row.at.0 - length as u64 * HOUR_NS) / SECONDS;
            assert_eq!(
                history.history(timeframe, start_s, &bar, false, row.at),
                Ok(())
            );
        }
        for (index, feature) in selected().enumerate() {
            let Some(timeframe @ (Timeframe::Hour1 | Timeframe::Hour4 | Timeframe::Day1)) =
                feature.timeframe
            else {
                continue;
            };
            let place = indicators::ROWS
                .iter()
                .position(|row| row.name == feature.row.name);
            let expected = history
                .indicators(timeframe)
                .get(place.expect("an indicator"));
            let found = row.state.get(index);
            assert_eq!(
                found.is_some(),
                expected.is_some(),
                "{feature} after {hours} hours"
            );
            if let (Some(found), Some(expected)) = (found, expected) {
                let far = (found - expected).abs() / expected.abs().max(1.0);
                assert!(
                    far < 1e-4,
                    "{feature} after {hours} hours: {found} {expected}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 4_000, "{compared}");
}

#[test]
fn bars_shorter_than_the_engines_patience_give_the_same_hours() {
    let minutes = walk(60 * 24 * 3, 5);
    let hours: Vec<[f64; 5]> = minutes
        .chunks(60)
        .map(|part| {
            [
                part[0][0],
                part.iter().map(|bar| bar[1]).fold(0.0, f64::max),
                part.iter().map(|bar| bar[2]).fold(f64::MAX, f64::min),
                part[59][3],
                (part.iter().map(|bar| bar[4]).sum::<f64>() * 100.0).round() / 100.0,
            ]
        })
        .collect();
    let fine = from(&table(&minutes, 60 * SECONDS, true, MILLIS));
    let coarse = from(&table(&hours, HOUR_NS, true, MILLIS));
    let place = selected()
        .position(|feature| feature.is_called("ema_26@1h"))
        .expect("selected");
    let mut compared = 0;
    for row in &coarse.rows {
        let other = fine
            .rows
            .iter()
            .find(|other| other.at == row.at)
            .expect("the same hour");
        // The first hour of minutes was not seen from its start: one bar less is known.
        if let (Some(one), Some(other)) = (row.state.get(place), other.state.get(place)) {
            assert!(
                (one - other).abs() < 0.15 * one.abs().max(10.0),
                "{one} {other}"
            );
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
    let minute = selected()
        .position(|feature| feature.is_called("rsi_14@1m"))
        .expect("selected");
    assert!(
        fine.rows
            .iter()
            .filter(|row| row.state.get(minute).is_some())
            .count()
            > 4_000
    );
}

#[test]
fn a_hole_is_left_open_and_the_step_after_it_is_masked() {
    let bars = walk(300, 6);
    let text = table(&bars, HOUR_NS, true, MILLIS);
    let holed: String = text
        .lines()
        .enumerate()
        .filter(|(n, _)| !(100..105).contains(n))
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let (series, summary) =
        steps(&[("file", holed.as_bytes())], &Terms::default()).expect("a good file");
    let rows = &series[0].rows;
    assert_eq!(rows.len(), 295);
    assert_eq!(rows[99].at.since(rows[98].at), 6 * HOUR_NS.cast_signed());
    assert!(rows[99].masked && !rows[98].masked && !rows[100].masked);
    let findings = &summary.sources[0].instruments[0].findings;
    assert_eq!(
        (findings.holes, findings.missing, findings.masked),
        (1, 5, 1)
    );
    let hour = selected()
        .position(|feature| feature.is_called("ema_26@1h"))
        .expect("selected");
    assert!(rows[98].state.get(hour).is_some() && rows[105].state.get(hour).is_none());
}

#[test]
fn a_bad_row_is_masked_and_told() {
    let bars = walk(100, 7);
    let mut lines: Vec<String> = table(&bars, HOUR_NS, true, MILLIS)
        .lines()
        .map(str::to_owned)
        .collect();
    lines[50] = lines[50].replacen("00,", "00,x", 1);
    let (series, summary) =
        steps(&[("file", lines.join("\n").as_bytes())], &Terms::default()).expect("readable");
    let rows = &series[0].rows;
    assert_eq!(rows.len(), 99);
    assert_eq!(rows.iter().filter(|row| row.masked).count(), 1);
    assert!(
        summary.sources[0].troubles[0].contains("1 of 100 rows"),
        "{:?}",
        summary.sources[0].troubles
    );
}

#[test]
fn an_import_that_was_interrupted_goes_on_and_ends_as_if_it_had_not_been() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(
        at("BTCUSDT-1h.csv"),
        table(&walk(100, 8), HOUR_NS, true, MILLIS),
    )
    .expect("room");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(table(&walk(3_000, 9), HOUR_NS, true, MILLIS).as_bytes())
        .expect("memory");
    let whole = gzip.finish().expect("memory");
    fs::write(at("ETHUSDT-1h.csv"), &whole[..whole.len() / 2]).expect("room");
    let sources: Vec<Source> = ["BTCUSDT", "ETHUSDT"]
        .map(|symbol| {
            let path = at(&format!("{symbol}-1h.csv"));
            Source::Files(vec![Feed {
                symbol: symbol.to_owned(),
                ..feed(&path)
            }])
        })
        .into();
    let terms = Terms::default();
    let store = Store::create(&at("one")).expect("a store");
    let error = import(&sources, &store, &terms, Progress::Quiet)
        .expect_err("cut off")
        .to_string();
    assert!(
        error.contains("ETHUSDT-1h.csv") && error.contains("is it whole"),
        "{error}"
    );
    let kept = store.load(&["binance:BTCUSDT"], ALWAYS).expect("whole");
    assert_eq!(kept[0].rows.len(), 100);
    assert!(
        !store
            .load(&["binance:ETHUSDT"], ALWAYS)
            .expect("whole days")[0]
            .rows
            .is_empty()
    );
    fs::write(at("ETHUSDT-1h.csv"), &whole).expect("room");
    let done = import(&sources, &store, &terms, Progress::Quiet).expect("whole");
    assert!(done.sources[0].already && !done.sources[1].already);
    let after = contents(&at("one"));
    let again = import(&sources, &store, &terms, Progress::Quiet).expect("whole");
    assert!(again.sources.iter().all(|source| source.already));
    assert_eq!(contents(&at("one")), after);
    let fresh = Store::create(&at("two")).expect("a store");
    import(&sources, &fresh, &terms, Progress::Quiet).expect("whole");
    let days = |all: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, Vec<u8>> {
        all.into_iter()
            .filter(|(path, _)| path.starts_with("binance"))
            .collect()
    };
    // What was written before the break has another fingerprint: the file was another one then.
    let rows = |store: &Store| format!("{:?}", store.load(&[], ALWAYS).expect("whole"));
    assert_eq!(rows(&store), rows(&fresh));
    assert_eq!(days(after).len(), days(contents(&at("two"))).len());
    let overview = summary(&fresh).expect("whole");
    assert_eq!(overview.len(), 2);
    assert_eq!((overview[1].findings.rows, overview[1].days), (3_000, 126));
    assert_eq!(overview[0].assumed_spread_bps.as_deref(), Some("2"));
    assert_eq!(age_s(&fresh, START.plus(3_001 * HOUR_NS)), Ok(Some(3_600)));
}

/// Second by second: two trades and a quote.
fn binance_ticks() -> (String, String) {
    let mut trades =
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
            .to_owned();
    let mut quotes = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n".to_owned();
    for n in 0..900_u64 {
        let at = START.plus(n * SECONDS + 100 * MILLIS).0 / MILLIS;
        let mid = 5_000 + n % 7;
        quotes.push_str(&format!("{n},{}.5,3,{}.5,1,{at},{at}\n", mid - 1, mid));
        trades.push_str(&format!(
            "{n},{mid}.5,0.5,{n},{n},{},{}\n",
            at + 10,
            n % 3 == 0
        ));
    }
    (trades, quotes)
}

fn named(row: &MarketRow, name: &str) -> Option<f32> {
    row.state.named(name)
}

#[test]
fn trades_and_quotes_of_binance_are_merged_by_time() {
    let (trades, quotes) = binance_ticks();
    let (series, _) = steps(
        &[("t", trades.as_bytes()), ("q", quotes.as_bytes())],
        &Terms::default(),
    )
    .expect("good files");
    let rows = &series[0].rows;
    assert_eq!((rows.len(), series[0].pulse_ns), (899, SECONDS));
    let last = rows[898];
    assert_eq!((last.bid, last.ask, last.masked), (5_001.5, 5_002.5, false));
    assert_eq!(named(&last, "book_imbalance_1"), Some(0.5));
    assert_eq!(
        named(&last, "book_imbalance_10"),
        None,
        "a quote has no depth"
    );
    assert!(named(&last, "trade_flow_60s").is_some_and(|flow| flow > 0.2));
    // Without quotes a bid and an ask are made up around each trade, and no feature of the book is known.
    let (series, summary) =
        steps(&[("t", trades.as_bytes())], &Terms::default()).expect("a good file");
    let last = series[0].rows[898];
    assert!((last.ask / last.bid - 1.0002).abs() < 1e-6);
    assert_eq!(named(&last, "spread"), None);
    assert!(named(&last, "trade_flow_60s").is_some());
    assert!(summary.sources[0].troubles.is_empty());
}

#[test]
fn a_headerless_dump_is_told_by_its_columns() {
    let stamp = START.0 / MILLIS;
    let micros = START.0 / 1_000;
    let rows = [
        (
            format!("1,5.1,2,1,1,{stamp},true,true"),
            Format::BinanceAggTrades,
        ),
        (
            format!("1,5.1,2,1,1,{stamp},true"),
            Format::BinanceAggTrades,
        ),
        (
            format!("1,5.1,2,10.2,{micros},True,True"),
            Format::BinanceTrades,
        ),
        (format!("1,5.1,2,10.2,{stamp},true"), Format::BinanceTrades),
        (
            format!("1,5.1,2,5.2,1,{stamp},{stamp}"),
            Format::BinanceBookTicker,
        ),
        (format!("{stamp},8,0.0001"), Format::FundingRates),
        (
            format!("{stamp},1,2,1,2,9,{stamp},18,4,5,10,0"),
            Format::Bars,
        ),
        (format!("{micros},1,2,1,2,9"), Format::Bars),
    ];
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("file");
    for (row, format) in rows {
        fs::write(&path, &row).expect("room");
        assert_eq!(detect(&path), Ok(Found::File(format)), "{row}");
    }
    fs::write(&path, "1723161253937085768 {\"a\":1}\n").expect("room");
    assert_eq!(detect(&path), Ok(Found::Capture));
    for strange in ["", "timestamp,percentage,depth,notional", "hello"] {
        fs::write(&path, strange).expect("room");
        let error = detect(&path).expect_err(strange).to_string();
        assert!(
            error.contains("none of: a journal") && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn tardis_books_and_trades_become_a_book_of_levels() {
    let mut book =
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n".to_owned();
    let mut trades = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n".to_owned();
    let micros = |n: u64, more: u64| START.plus(n * SECONDS).0 / 1_000 + more;
    for level in 0..40 {
        let at = micros(0, 1_000);
        book.push_str(&format!(
            "binance,BTCUSDT,{at},{at},true,bid,{},2\n",
            99.9 - f64::from(level) / 10.0
        ));
        book.push_str(&format!(
            "binance,BTCUSDT,{at},{at},true,ask,{},1\n",
            100.1 + f64::from(level) / 10.0
        ));
    }
    for n in 1..400 {
        let at = micros(n, 5_000);
        let amount = 2 + n % 5;
        book.push_str(&format!(
            "binance,BTCUSDT,{at},{},false,bid,99.9,{amount}\n",
            at + 40
        ));
        book.push_str(&format!(
            "binance,BTCUSDT,{at},{},false,ask,100.1,{}\n",
            at + 40,
            1 + n % 3
        ));
        trades.push_str(&format!(
            "binance,BTCUSDT,{at},{},x{n},buy,100.1,0.2\n",
            at + 30
        ));
    }
    let files: [(&str, &[u8]); 2] = [("b", book.as_bytes()), ("t", trades.as_bytes())];
    let (series, summary) = steps(&files, &Terms::default()).expect("good files");
    assert!(
        summary.sources[0].troubles.is_empty(),
        "{:?}",
        summary.sources[0].troubles
    );
    let last = series[0].rows.last().expect("steps");
    assert_eq!((last.bid, last.ask, last.masked), (99.9, 100.1, false));
    assert!(named(last, "book_imbalance_10").is_some_and(|found| found > 0.2));
    assert!(named(last, "trade_flow_60s").is_some_and(|flow| flow > 0.9));
    let quotes =
        "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n";
    let both: [(&str, &[u8]); 2] = [("b", book.as_bytes()), ("q", quotes.as_bytes())];
    let error = steps(&both, &Terms::default())
        .expect_err("two books")
        .to_string();
    assert!(error.contains("one of them"), "{error}");
}

#[test]
fn hftbacktest_events_are_read_from_an_array() {
    let mut header = "{'descr': [('ev', '<u8'), ('exch_ts', '<i8'), ('local_ts', '<i8'), ('px', '<f8'), ('qty', '<f8'), \
        ('order_id', '<u8'), ('ival', '<i8'), ('fval', '<f8')], 'fortran_order': False, 'shape': (COUNT,), }"
        .to_owned();
    let mut events: Vec<(u64, u64, f64, f64)> = vec![(3, 0, 0.0, 0.0)];
    for level in 0..12 {
        let away = f64::from(level) * 0.5;
        events.push((4 | npz::BUY, 0, 100.0 - away, 3.0));
        events.push((4 | npz::SELL, 0, 100.5 + away, 1.0));
    }
    for n in 1..300 {
        let at = n * SECONDS;
        events.push((1 | npz::BUY, at, 100.0, 3.0 + (n % 4) as f64));
        events.push((2 | npz::SELL, at + MILLIS, 100.0, 0.25));
    }
    header = header.replace("COUNT", &events.len().to_string());
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend(u16::try_from(header.len()).expect("short").to_le_bytes());
    array.extend(header.bytes());
    for (ev, after, px, qty) in &events {
        let at = START.plus(after + 7).0;
        array.extend((ev | npz::LOCAL | 1 << 31).to_le_bytes());
        array.extend((at - 5).to_le_bytes());
        array.extend(at.to_le_bytes());
        array.extend(px.to_le_bytes());
        array.extend(qty.to_le_bytes());
        array.extend([0; 24]);
    }
    let npz = zipped("data.npy", &array, zip::CompressionMethod::Deflated);
    let (series, summary) =
        steps(&[("a.npz", npz.as_slice())], &Terms::default()).expect("a good file");
    assert!(
        summary.sources[0].troubles.is_empty(),
        "{:?}",
        summary.sources[0].troubles
    );
    let last = series[0].rows.last().expect("steps");
    assert_eq!((last.bid, last.ask, last.masked), (100.0, 100.5, false));
    assert!(named(last, "trade_flow_60s").is_some_and(|flow| flow < -0.9));
    let cut = zipped(
        "data.npy",
        &array[..array.len() - 30],
        zip::CompressionMethod::Stored,
    );
    let error = steps(&[("a.npz", cut.as_slice())], &Terms::default())
        .expect_err("cut off")
        .to_string();
    assert!(error.contains("a.npz"), "{error}");
}

#[test]
fn funding_is_known_from_its_settlement_on() {
    let bars = walk(72, 10);
    let mut rates = "open_time_ms,funding_rate\n".to_owned();
    for n in 0..9_u64 {
        rates.push_str(&format!(
            "{},{}\n",
            START.plus(n * 8 * HOUR_NS).0 / MILLIS,
            0.0001 * (n + 1) as f64
        ));
    }
    let bars = table(&bars, HOUR_NS, true, MILLIS);
    let files: [(&str, &[u8]); 2] = [("b", bars.as_bytes()), ("f", rates.as_bytes())];
    let (series, _) = steps(&files, &Terms::default()).expect("good files");
    for row in &series[0].rows {
        let settled = row.at.since(START).cast_unsigned() / (8 * HOUR_NS);
        let expected = (settled >= 1).then_some((settled + 1).min(9) as f32);
        let expected = expected.filter(|_| row.at < START.plus(72 * HOUR_NS));
        assert_eq!(
            named(row, "funding_rate").map(f32::round),
            expected,
            "{}",
            row.at
        );
    }
}
