//! Damaged copies of captures: each must give the right gap and a silent book, or be a copy in which
//! nothing that matters is damaged.

use serde_json::Value;
use tickerml_edge::replay::InstrumentReport;
use tickerml_shared::event::GapReason;
use tickerml_shared::instrument::Venue;
use tickerml_sim::capture::Feed;

use super::rebuild::{Rebuild, messages};
use super::*;

/// A capture to be damaged.
struct Subject {
    venue: Venue,
    symbol: String,
    lines: Vec<String>,
    whole: Vec<InstrumentReport>,
}

impl Subject {
    fn new(venue: Venue, symbol: &str, lines: Vec<String>) -> Self {
        let whole = play_lines(venue, &lines);
        Self {
            venue,
            symbol: symbol.to_owned(),
            lines,
            whole,
        }
    }

    /// Where the symbol's changes stand, after its snapshot: those with a level in them.
    fn diffs(&self) -> Vec<usize> {
        let mut seen = false;
        let mut diffs = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            let Some(frame) = frame(self.venue, line) else {
                continue;
            };
            for message in messages(self.venue, &self.symbol, &frame) {
                seen |= message.is_snapshot && message.symbol == self.symbol;
                if seen
                    && !message.is_snapshot
                    && message.symbol == self.symbol
                    && !message.is_empty()
                {
                    diffs.push(place);
                }
            }
        }
        // Past the first, which joins the snapshot, and with others after it.
        assert!(diffs.len() > 6, "{} {}", self.venue, self.symbol);
        diffs[3..diffs.len() - 2].to_vec()
    }

    /// Three places in the middle.
    fn places(&self) -> [usize; 3] {
        let diffs = self.diffs();
        [diffs[0], diffs[diffs.len() / 2], diffs[diffs.len() - 1]]
    }

    /// Replays a damaged copy: every book either is silent for a reason or is what it is without
    /// the damage. Gives the report of the damaged instrument.
    fn replay(&self, damaged: &[String], what: &str) -> InstrumentReport {
        let reports = play_lines(self.venue, damaged);
        for report in &reports {
            let place = format!("{} {} {what}", self.venue, report.instrument);
            if report.book.state == "stale" {
                assert_eq!(ten(report), NOTHING, "{place}: a silent book");
                assert!(
                    report.book.reason.is_some() && all_gaps(report) > 0,
                    "{place}"
                );
            } else {
                assert_eq!(
                    ten(report),
                    ten(of(&self.whole, &report.instrument)),
                    "{place}"
                );
            }
        }
        of(&reports, &self.symbol).clone()
    }

    /// Replays a damaged copy that must give exactly one gap of this kind.
    fn found(&self, damaged: &[String], kind: GapReason, what: &str) {
        let report = self.replay(damaged, what);
        let place = format!("{} {} {what}: {:?}", self.venue, self.symbol, report.gaps);
        assert_eq!(
            (report.gaps[kind.name()], all_gaps(&report)),
            (1, 1),
            "{place}"
        );
        assert_eq!(report.book.state, "stale", "{place}");
        assert_eq!(report.book.reason, Some(kind.name()), "{place}");
    }

    /// Replays a damaged copy in which nothing that matters is damaged.
    fn unharmed(&self, damaged: &[String], what: &str) {
        let report = self.replay(damaged, what);
        assert_eq!(
            (report.book.state, all_gaps(&report)),
            ("live", 0),
            "{} {what}",
            self.venue
        );
    }

    /// How a change that is missing, or there twice, is found out.
    const fn continuity(&self) -> Option<GapReason> {
        match self.venue {
            Venue::Kraken => Some(GapReason::Checksum),
            // Coinbase Exchange numbers nothing in this stream and gives no checksum.
            Venue::Coinbase => None,
            _ => Some(GapReason::Sequence),
        }
    }

    /// Whether the book after the symbol's next change differs when the one at `at` is missing.
    fn is_missed(&self, at: usize) -> bool {
        let diffs = self.diffs();
        let next = diffs.iter().find(|next| **next > at);
        let next = next.copied().unwrap_or(self.lines.len() - 1);
        let frames = |without: Option<usize>| {
            let places = (0..=next).filter(move |place| Some(*place) != without);
            let frames = places.filter_map(|place| frame(self.venue, &self.lines[place]));
            let frames: Vec<_> = frames.collect();
            Rebuild::of(self.venue, "", frames.iter().map(String::as_str))
        };
        let all = usize::MAX;
        frames(Some(at)).best(&self.symbol, all) != frames(None).best(&self.symbol, all)
    }

    /// What numbers a change, as it stands before the digits.
    const fn number_key(&self) -> Option<&'static str> {
        Some(match self.venue {
            Venue::Binance | Venue::BinanceUs | Venue::BinanceUsdm => r#""u":"#,
            Venue::CoinbaseAdvanced => r#""sequence_num":"#,
            Venue::KrakenFutures => r#""seq":"#,
            Venue::Kucoin => r#""sequenceEnd":"#,
            Venue::KucoinUta => r#""C":"#,
            Venue::Coinbase | Venue::Kraken | Venue::KucoinFutures => return None,
        })
    }
}

/// With the digit at `at` replaced by another one.
fn flip(line: &str, at: usize) -> String {
    let digit = line.as_bytes()[at];
    assert!(digit.is_ascii_digit(), "{line} at {at}");
    let other = if digit == b'9' { b'0' } else { digit + 1 };
    format!("{}{}{}", &line[..at], char::from(other), &line[at + 1..])
}

/// The digits of the number behind a key.
fn digits(line: &str, key: &str) -> std::ops::Range<usize> {
    let start = line.find(key).unwrap_or_else(|| panic!("{key} in {line}")) + key.len();
    let count = line[start..].bytes().take_while(u8::is_ascii_digit).count();
    start..start + count
}

fn check_damage(subject: &Subject) {
    for at in subject.places() {
        let mut removed = subject.lines.clone();
        removed.remove(at);
        match subject.continuity() {
            Some(GapReason::Checksum) if !subject.is_missed(at) => {
                subject.unharmed(&removed, "without a change that the next one replaces");
            }
            Some(kind) => subject.found(&removed, kind, "without a change"),
            None => assert_eq!(subject.venue, Venue::Coinbase),
        }
        let mut doubled = subject.lines.clone();
        doubled.insert(at, doubled[at].clone());
        match subject.continuity() {
            Some(GapReason::Sequence) => {
                subject.found(&doubled, GapReason::Sequence, "with a change twice");
            }
            // Levels are absolute: the same change again changes nothing.
            _ => subject.unharmed(&doubled, "with a change twice"),
        }
        let mut cut = subject.lines.clone();
        let stamp = cut[at].find(' ').expect("a stamp");
        let half = stamp + (cut[at].len() - stamp) / 2;
        cut[at].truncate(half);
        subject.found(&cut, GapReason::Unparsable, "with a frame cut in half");
        if let Some(key) = subject.number_key() {
            for digit in digits(&subject.lines[at], key) {
                let mut flipped = subject.lines.clone();
                flipped[at] = flip(&flipped[at], digit);
                let report = subject.replay(&flipped, "with a digit of a number flipped");
                let place = format!("{} digit {digit}: {:?}", subject.venue, report.gaps);
                assert_eq!(report.book.state, "stale", "{place}");
                // Binance's best-bid/ask stream may contradict the number before the next change does.
                // On Coinbase a wrong number is two breaks of one connection: it is not the next one,
                // and the next one does not follow it.
                let [sequence, touch] = ["sequence", "touch"].map(|kind| report.gaps[kind]);
                let breaks = 1 + u64::from(subject.venue == Venue::CoinbaseAdvanced);
                assert!((1..=breaks).contains(&sequence.max(touch)), "{place}");
                assert_eq!(all_gaps(&report), sequence + touch, "{place}");
            }
        }
    }
}

#[test]
fn damaged_fixtures_are_found_out() {
    for feed in Feed::ALL {
        let (venue, path) = fixture(feed);
        let lines = lines(&path);
        let whole = play(venue, &[path]).inputs.remove(0).instruments;
        for report in whole {
            check_damage(&Subject::new(venue, &report.instrument, lines.clone()));
        }
    }
}

#[test]
fn damaged_recordings_are_found_out() {
    for (venue, name, symbol) in [
        (
            Venue::Binance,
            "captures/binance/NKNUSDT.jsonl.zst",
            "NKNUSDT",
        ),
        (
            Venue::BinanceUs,
            "captures/binance-us/OMGBUSD.jsonl.zst",
            "OMGBUSD",
        ),
        (
            Venue::BinanceUsdm,
            "captures/binance-usdm/SUSHIUSDT.jsonl.zst",
            "SUSHIUSDT",
        ),
        (
            Venue::Coinbase,
            "captures/coinbase/NU-GBP.jsonl.zst",
            "NU-GBP",
        ),
        (
            Venue::Kucoin,
            "captures/kucoin/ANKR-BTC.jsonl.zst",
            "ANKR-BTC",
        ),
        (
            Venue::KrakenFutures,
            "captures/kraken-futures/PI_LTCUSD.jsonl.zst",
            "PI_LTCUSD",
        ),
    ] {
        if let Some(path) = recorded(name) {
            check_damage(&Subject::new(venue, symbol, lines(&path)));
        }
    }
}

/// The start of a Kraken capture, whose lines begin with a stamp, real or made up.
fn kraken_subjects() -> Vec<Subject> {
    let (venue, path) = fixture(Feed::Kraken);
    let mut subjects = vec![Subject::new(venue, "BTC/USD", lines(&path))];
    if let Some(path) = recorded(KRAKEN) {
        let stamped =
            |(at, line): (u64, String)| format!("{} {line}", 1_784_000_000_000_000_000 + at);
        let lines = (0..)
            .zip(lines(&path).into_iter().take(300))
            .map(stamped)
            .collect();
        subjects.push(Subject::new(venue, "BTC/USD", lines));
    }
    subjects
}

/// Where a Kraken book message has its levels and its checksum.
fn checked_part(line: &str) -> std::ops::Range<usize> {
    let end = line
        .find(r#","timestamp""#)
        .expect("a stamp behind the checksum");
    line.find(r#""bids":"#).expect("levels")..end
}

#[test]
fn a_kraken_capture_is_found_out_wherever_it_is_damaged() {
    for subject in kraken_subjects() {
        check_damage(&subject);
        let (mut tried, mut found) = (0, 0);
        let diffs = subject.diffs();
        for nth in 0..12 {
            let at = diffs[nth * diffs.len() / 12];
            let line = &subject.lines[at];
            let digits = checked_part(line).filter(|at| line.as_bytes()[*at].is_ascii_digit());
            for digit in digits.step_by(3) {
                let mut flipped = subject.lines.clone();
                flipped[at] = flip(line, digit);
                // A level that is cut off at once, or a deletion of one that is not there, may have
                // any digits: then the book is right, and `replay` has checked it.
                let report = subject.replay(&flipped, "with a digit flipped");
                tried += 1;
                found += u64::from(report.gaps["checksum"] + report.gaps["crossed"] == 1);
            }
        }
        println!("{found} of {tried} flipped digits mattered, and were found");
        assert!(tried > 60 && found * 10 > tried * 9, "{found} of {tried}");
    }
}

#[test]
fn a_changed_level_of_a_kraken_ladder_is_found_out() {
    for subject in kraken_subjects() {
        let snapshot = subject.lines.iter().position(|line| {
            line.contains(r#""type":"snapshot""#)
                && line.contains("checksum")
                && line.contains("BTC/USD")
        });
        let at = snapshot.expect("a snapshot");
        for side in [r#""bids":[{"#, r#""asks":[{"#] {
            for key in [r#""price":"#, r#""qty":"#] {
                let line = &subject.lines[at];
                let level = line.find(side).expect("a side");
                let digit = level + digits(&line[level..], key).end - 1;
                let mut changed = subject.lines.clone();
                changed[at] = flip(line, digit);
                subject.found(&changed, GapReason::Checksum, "with a level changed");
            }
        }
    }
}

/// The `checksum_ladders` of the recorded data: books of ten levels with the venue's own checksum,
/// each as a capture of one snapshot, whole and with one level changed.
#[test]
fn recorded_ladders_are_verified_and_a_changed_level_is_found_out() {
    let Some(path) = recorded("kraken-v2-btcusd/checksum_ladders_20260721.jsonl") else {
        return;
    };
    let ladders = lines(&path);
    assert_eq!(ladders.len(), 100);
    let mut verified = 0;
    for (nth, ladder) in ladders.iter().enumerate() {
        let frame = ladder_frame(ladder);
        let whole = play_lines(Venue::Kraken, std::slice::from_ref(&frame));
        verified += of(&whole, "BTC/USD").checksums.verified;
        // Each time another one of the twenty levels, in the last digit of its quantity.
        let (level, _) = frame
            .match_indices(r#""qty":"#)
            .nth(nth % 20)
            .expect("a level");
        let last = level + frame[level..].find('}').expect("a level's end") - 1;
        let report = play_lines(Venue::Kraken, &[flip(&frame, last)]).remove(0);
        assert_eq!(
            (report.checksums.failed, report.book.state),
            (1, "stale"),
            "ladder {nth}"
        );
        assert_eq!(ten(&report), NOTHING, "ladder {nth}");
    }
    assert_eq!(verified, 100);
}

/// A ladder as the venue would have sent it: bare numbers with their zeros.
fn ladder_frame(ladder: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Ladder {
        expected_checksum: u32,
        asks: Vec<[Value; 2]>,
        bids: Vec<[Value; 2]>,
    }
    let ladder: Ladder = serde_json::from_str(ladder).expect("a ladder");
    let side = |levels: Vec<[Value; 2]>| {
        let level = |[price, qty]: [Value; 2]| {
            let text = |value: Value| value.as_str().expect("decimal text").to_owned();
            format!(r#"{{"price":{},"qty":{}}}"#, text(price), text(qty))
        };
        levels.into_iter().map(level).collect::<Vec<_>>().join(",")
    };
    format!(
        r#"{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/USD","bids":[{}],"asks":[{}],"checksum":{},"timestamp":"2026-07-21T17:13:00.000000Z"}}]}}"#,
        side(ladder.bids),
        side(ladder.asks),
        ladder.expected_checksum
    )
}

#[test]
fn a_stale_book_comes_back_with_the_captures_own_snapshot() {
    // A venue that sends snapshots in the stream: the capture begins again.
    let (venue, path) = fixture(Feed::Kraken);
    let subject = Subject::new(venue, "BTC/USD", lines(&path));
    let mut lines = subject.lines.clone();
    let missed = subject
        .diffs()
        .into_iter()
        .find(|at| subject.is_missed(*at));
    lines.remove(missed.expect("a change that matters"));
    lines.extend(subject.lines.clone());
    let report = subject.replay(&lines, "with a second beginning");
    assert_eq!((report.book.state, report.gaps["checksum"]), ("live", 1));
    assert_eq!(report.resyncs, 1);
    // A venue that is asked: another answer stands in the capture.
    let (venue, path) = fixture(Feed::Binance);
    let subject = Subject::new(venue, "BTCUSDT", self::lines(&path));
    let [_, removed, resync] = subject.places();
    let frames: Vec<_> = subject.lines[..=resync]
        .iter()
        .filter_map(|line| frame(venue, line))
        .collect();
    let book = Rebuild::of(venue, "", frames.iter().map(String::as_str));
    let [bids, asks] = book.best("BTCUSDT", usize::MAX);
    let id = book.last("BTCUSDT").expect("a number");
    let stamp = subject.lines[resync].split(' ').next().expect("a stamp");
    let data = serde_json::json!({"lastUpdateId": id, "bids": bids, "asks": asks});
    let answer =
        format!(r#"{stamp} {{"stream":"btcusdt@depthSnapshot","generated":true,"data":{data}}}"#);
    let mut lines = subject.lines.clone();
    lines.insert(resync + 1, answer);
    lines.remove(removed);
    let report = subject.replay(&lines, "with a second answer");
    assert_eq!((report.book.state, report.gaps["sequence"]), ("live", 1));
    assert_eq!((report.resyncs, all_gaps(&report)), (1, 1));
}
