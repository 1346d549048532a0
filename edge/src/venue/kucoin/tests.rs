//! The rules of KuCoin's Classic feeds, recordings of them, and other projects' vectors.

use serde_json::Value;
use tickerml_shared::book::Book;
use tickerml_shared::event::{Gap, GapReason};
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::num::parse;

use super::super::tests::tape::{
    Expected, Tape, Want, assert_trade, check_vectors, cut, expected_levels, flip, folder, frames,
    recorded, text, vectors,
};
use super::*;

fn reader(venue: Venue, symbols: &[&str]) -> Reader {
    let listed = symbols.iter().zip(0..).map(|(symbol, id)| {
        let instrument = Instrument::unknown(venue, symbol).expect("short");
        (InstrumentId(id), instrument)
    });
    Reader::new(venue, Rule::Contiguous, listed.collect())
}

fn play<'a>(frames: impl IntoIterator<Item = &'a str>) -> Tape {
    let mut tape = Tape::new(reader(Venue::Kucoin, &[]));
    let mut kucoin = Kucoin::new(Venue::Kucoin, Channel::All);
    tape.play(frames, |text, reader| kucoin.frame(text, reader));
    tape
}

fn count(frames: &[String], part: &str) -> usize {
    frames.iter().filter(|frame| frame.contains(part)).count()
}

#[test]
fn every_capture_stays_live() {
    for file in folder("captures/kucoin") {
        let frames = frames(&file);
        let name = file.display();
        let tape = play(frames.iter().map(String::as_str));
        assert_eq!(tape.unreadable, Vec::<String>::new(), "{name}");
        assert_eq!((&tape.gaps, tape.all_live()), (&Vec::new(), true), "{name}");
        assert_eq!(tape.trades.len(), count(&frames, "trade.l3match"), "{name}");
        // The book of the last change.
        let last = frames
            .iter()
            .rev()
            .find(|frame| frame.contains("l2update"))
            .and_then(|frame| serde_json::from_str::<Value>(frame).ok())
            .and_then(|frame| frame["data"]["sequenceEnd"].as_u64());
        assert_eq!(Some(tape.reader.listings()[0].sync.last()), last, "{name}");
    }
}

#[test]
fn snapshots_of_several_books_are_told_apart_once_named() {
    let (Some(frames), Some(replies)) = (
        recorded("cryptofeed-sample/KUCOIN.ws.1.0.zst"),
        recorded("cryptofeed-sample/KUCOIN.http.0.0.zst"),
    ) else {
        return;
    };
    let seconds = |stamp: &str| parse(stamp, 9).expect("a stamp");
    let mut kucoin = Kucoin::new(Venue::Kucoin, Channel::All);
    let mut timed: Vec<(i64, String)> = text(&frames)
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(stamp, _)| !stamp.starts_with("wss://"))
        .map(|(stamp, frame)| (seconds(stamp), frame.to_owned()))
        .collect();
    for line in text(&replies).lines() {
        let (request, reply) = line.split_once(" -> ").expect("a reply");
        let (_, symbol) = request.split_once("symbol=").expect("a symbol");
        let (stamp, body) = reply.split_once(": ").expect("a body");
        timed.push((seconds(stamp), kucoin.capture_snapshot(symbol, body)));
    }
    timed.sort();
    let mut tape = Tape::new(reader(Venue::Kucoin, &[]));
    tape.play(
        timed.iter().map(|(_, frame)| frame.as_str()),
        |text, reader| kucoin.frame(text, reader),
    );
    assert_eq!((&tape.gaps, tape.unreadable.len()), (&Vec::new(), 0));
    assert_eq!(tape.books.iter().filter(|book| book.is_live()).count(), 5);
    assert_eq!(tape.cues, [Cue::Welcome]);
}

#[test]
fn damage_makes_the_book_stale_and_says_why() {
    let Some(file) = recorded("captures/kucoin/BCHSV-USDT.jsonl.zst") else {
        return;
    };
    let frames = frames(&file);
    let whole: Vec<&str> = frames.iter().map(String::as_str).collect();
    let at = (600..whole.len())
        .find(|at| whole[*at].contains("l2update"))
        .expect("a change");
    let flipped = flip(whole[at], r#""sequenceStart":161327"#);
    for (damage, want) in [
        (
            [&whole[..at], &whole[at + 1..]].concat(),
            GapReason::Sequence,
        ),
        ([&whole[..=at], &whole[at..]].concat(), GapReason::Sequence),
        (
            [&whole[..at], &[&flipped], &whole[at + 1..]].concat(),
            GapReason::Sequence,
        ),
        (
            [&whole[..at], &[cut(whole[at])], &whole[at + 1..]].concat(),
            GapReason::Unparsable,
        ),
    ] {
        let tape = play(damage);
        // It waits for a snapshot that the capture does not bring; the diffs kept meanwhile
        // are more than are ever kept, which is said too.
        assert_eq!(tape.reasons().first(), Some(&want));
        let later = &tape.reasons()[1..];
        assert!(later.iter().all(|reason| *reason == GapReason::Overflow));
        assert!(!tape.books[0].is_live());
    }
}

fn update(start: u64, end: u64, asks: &str, bids: &str) -> String {
    format!(
        r#"{{"data":{{"sequenceStart":{start},"symbol":"A-B","changes":{{"asks":[{asks}],"bids":[{bids}]}},"sequenceEnd":{end},"time":1685578980002}},"subject":"trade.l2update","topic":"/market/level2:A-B","type":"message"}}"#
    )
}

fn reply(sequence: u64, levels: usize) -> String {
    let side = |sign: i64| -> String {
        let levels: Vec<String> = (1..=i64::try_from(levels).expect("few"))
            .map(|place| format!(r#"["{}","1"]"#, 1000 + sign * place))
            .collect();
        levels.join(",")
    };
    format!(
        r#"{{"code":"200000","data":{{"time":1685578980001,"sequence":"{sequence}","bids":[{}],"asks":[{}]}}}}"#,
        side(-1),
        side(1)
    )
}

#[test]
fn rows_that_the_snapshot_contains_are_left_out() {
    // Row 8 took the level away, row 9 (in the snapshot) brought it back, row 11 changed it.
    let straddling = update(8, 11, r#"["1001","0","8"],["1002","7","11"]"#, "");
    let tape = play([update(5, 6, "", "").as_str(), &reply(9, 3), &straddling]);
    assert_eq!(tape.gaps, []);
    let asks: Vec<_> = tape.books[0]
        .levels(Side::Sell)
        .map(|level| (level.price.0 / 10_000_000_000, level.qty.0 / 100_000_000))
        .collect();
    assert_eq!(asks, [(1001, 1), (1002, 7), (1003, 1)]);
    // In steady state a row's own sequence means nothing.
    let odd = update(12, 13, r#"["1001","5","12"]"#, r#"["999","0","4"]"#);
    let tape = play([reply(9, 3).as_str(), &update(10, 11, "", ""), &odd]);
    assert_eq!(
        (tape.books.len(), tape.gaps.len()),
        (0, 0),
        "nobody's snapshot"
    );
    let named = Kucoin::new(Venue::Kucoin, Channel::All).capture_snapshot("A-B", &reply(9, 3));
    let tape = play([named.as_str(), &update(10, 11, "", ""), &odd]);
    assert_eq!(tape.books[0].len(Side::Buy), 2);
    assert_eq!(
        tape.depth.last().map(|(time, _)| *time),
        Some(Time(1_685_578_980_002_000_000))
    );
}

#[test]
fn a_price_of_zero_only_advances_the_sequence() {
    let zero = update(10, 10, r#"["0","0","10"]"#, r#"["0","3","10"]"#);
    let next = update(11, 11, "", r#"["999","0","11"]"#);
    let tape = play([update(9, 9, "", "").as_str(), &reply(9, 2), &zero, &next]);
    assert_eq!((tape.gaps.len(), tape.all_live()), (0, true));
    assert_eq!(
        (tape.books[0].len(Side::Buy), tape.books[0].len(Side::Sell)),
        (1, 2)
    );
}

#[test]
fn a_snapshot_of_a_round_number_of_levels_is_cut() {
    for (levels, cut) in [(19, false), (20, true), (99, false), (100, true)] {
        let named =
            Kucoin::new(Venue::Kucoin, Channel::All).capture_snapshot("A-B", &reply(9, levels));
        let tape = play([named.as_str()]);
        let kind = DepthKind::Snapshot {
            truncated: cut,
            limit: 0,
        };
        assert_eq!(tape.depth[0].1.kind, kind, "{levels}");
    }
}

#[test]
fn the_token_reply_says_where_to_connect_and_how_often_to_ping() {
    let reader = reader(Venue::KucoinFutures, &["XBTUSDTM", "ETHUSDTM"]);
    let endpoint = super::super::public_endpoint(Venue::KucoinFutures);
    let mut kucoin = Kucoin::new(Venue::KucoinFutures, Channel::All);
    assert_eq!(
        kucoin.start(&endpoint, &reader),
        Transmit::Request {
            purpose: Purpose::Token,
            post: true,
            url: "https://api-futures.kucoin.com/api/v1/bullet-public".to_owned(),
        }
    );
    let reply = r#"{"code":"200000","data":{"token":"2neAiu==.x","instanceServers":[{"endpoint":"wss://ws-api-futures.kucoin.com/","encrypt":true,"protocol":"websocket","pingInterval":17000,"pingTimeout":10000}]}}"#;
    assert_eq!(
        kucoin.token(reply, &endpoint),
        Ok(Transmit::Connect {
            url: "wss://ws-api-futures.kucoin.com/?token=2neAiu==.x&connectId=tickerml-1"
                .to_owned()
        })
    );
    assert_eq!(
        kucoin.keepalive().map(|(period, _)| period),
        Some(17 * SECONDS)
    );
    for (endpoint, url) in [
        ("wss://a", "wss://a/?token=t&connectId=tickerml-3"),
        (
            "wss://a/endpoint",
            "wss://a/endpoint?token=t&connectId=tickerml-3",
        ),
        (
            "wss://a/?acceptUserMessage=true",
            "wss://a/?acceptUserMessage=true&token=t&connectId=tickerml-3",
        ),
    ] {
        assert_eq!(join(endpoint, "t", 3), url);
    }
    let refusal = r#"{"code":"429000","msg":"Too Many Requests"}"#;
    let error = kucoin.token(refusal, &endpoint).expect_err("a refusal");
    assert!(
        error.cause.contains("429000") && error.cause.contains("Too Many"),
        "{error}"
    );
    let nowhere = r#"{"code":"200000","data":{"token":"t","instanceServers":[]}}"#;
    assert!(kucoin.token(nowhere, &endpoint).is_err());
    let topics: Vec<Value> = kucoin
        .subscribe(&reader)
        .iter()
        .map(|frame| serde_json::from_str::<Value>(frame).expect("JSON")["topic"].clone())
        .collect();
    assert_eq!(
        topics,
        [
            "/contractMarket/level2:XBTUSDTM,ETHUSDTM",
            "/contractMarket/execution:XBTUSDTM,ETHUSDTM",
            "/contract/instrument:XBTUSDTM,ETHUSDTM"
        ]
    );
    let frames = |channel| Kucoin::new(Venue::KucoinFutures, channel).subscribe(&reader);
    assert!(matches!(frames(Channel::Book).as_slice(), [book] if book.contains("level2")));
    assert_eq!(frames(Channel::Market).len(), 2);
    assert_eq!(
        kucoin.refresh(1, &endpoint, &reader),
        [Transmit::Request {
            purpose: Purpose::Snapshot(1),
            post: false,
            url: "https://api-futures.kucoin.com/api/v1/level2/snapshot?symbol=ETHUSDTM".to_owned(),
        }]
    );
}

#[test]
fn a_snapshot_reply_joins_the_changes_that_waited() {
    let mut reader = reader(Venue::Kucoin, &["A-B"]);
    let mut kucoin = Kucoin::new(Venue::Kucoin, Channel::All);
    for start in 5..9 {
        let text = update(start, start, r#"["1001","5","0"]"#, "");
        assert_eq!(kucoin.frame(&text, &mut reader), Ok(Cue::None));
    }
    assert_eq!(reader.poll(), None, "all are kept");
    assert_eq!(kucoin.snapshot(0, &reply(6, 100), &mut reader), Ok(()));
    assert_eq!(reader.listings()[0].sync.last(), 8);
    for body in [
        r#"{"code":"400100","msg":"Parameter invalid"}"#,
        r#"{"code":"200000","data":{"time":1,"sequence":null,"bids":null,"asks":null}}"#,
        "<html>502</html>",
    ] {
        assert!(kucoin.snapshot(0, body, &mut reader).is_err(), "{body}");
    }
}

#[test]
fn futures_change_one_level_at_a_time() {
    let change = |sequence: u64, change: &str| {
        format!(
            r#"{{"topic":"/contractMarket/level2:XBTUSDTM","type":"message","subject":"level2","sn":7,"data":{{"sequence":{sequence},"change":"{change}","timestamp":1731680019100}}}}"#
        )
    };
    let whole = r#"{"code":"200000","data":{"sequence":18,"symbol":"XBTUSDTM","bids":[[90000.1,500]],"asks":[[90000.2,"12"]],"ts":1731680019000000000}}"#;
    let play = |frames: &[&str]| {
        let mut tape = Tape::new(reader(Venue::KucoinFutures, &[]));
        let mut kucoin = Kucoin::new(Venue::KucoinFutures, Channel::All);
        tape.play(frames.iter().copied(), |text, reader| {
            kucoin.frame(text, reader)
        });
        tape
    };
    let (bid, ask) = (change(19, "90000.1,buy,0"), change(20, "90000.2,sell,13"));
    let tape = play(&[whole, &bid, &ask]);
    assert_eq!((tape.gaps.len(), tape.all_live()), (0, true));
    assert_eq!(tape.books[0].best(Side::Buy), None);
    assert_eq!(
        tape.books[0].best(Side::Sell).map(|level| level.qty.0),
        Some(1_300_000_000)
    );
    let gap = Gap {
        reason: GapReason::Sequence,
        expected: 19,
        got: 20,
    };
    assert_eq!(play(&[whole, &ask]).gaps, [(0, gap)]);
    for bad in [
        "90000.2,sell",
        "90000.2,both,1",
        "90000.2,sell,1,1",
        "x,buy,1",
    ] {
        let tape = play(&[whole, &change(19, bad)]);
        assert_eq!(tape.reasons(), [GapReason::Unparsable], "{bad}");
    }
}

#[test]
fn mark_prices_and_rates_are_joined() {
    let frame = |subject: &str, data: &str| {
        format!(
            r#"{{"topic":"/contract/instrument:XBTUSDTM","type":"message","subject":"{subject}","data":{{{data},"timestamp":1731899129000}}}}"#
        )
    };
    let mark = frame(
        "mark.index.price",
        r#""granularity":1000,"markPrice":90445.02,"indexPrice":90445.123456789012"#,
    );
    let estimate = |rate: &str| {
        frame(
            "funding.rate",
            &format!(r#""granularity":60000,"fundingRate":{rate}"#),
        )
    };
    let settled = frame(
        "funding.rate",
        r#""granularity":28800000,"fundingRate":1.0E-4"#,
    );
    let mut tape = Tape::new(reader(Venue::KucoinFutures, &[]));
    let mut kucoin = Kucoin::new(Venue::KucoinFutures, Channel::All);
    let frames = [mark, estimate("-0.002966"), settled, estimate("5e-05")];
    tape.play(frames.iter().map(String::as_str), |text, reader| {
        kucoin.frame(text, reader)
    });
    let got: Vec<_> = tape
        .funding
        .iter()
        .map(|(_, f)| (f.mark.0, f.rate, f.predicted, f.interval_s))
        .collect();
    let mark = 904_450_200_000_000;
    assert_eq!(
        got,
        [
            (mark, None, None, 0),
            (mark, Some(-2_966_000_000), None, 0),
            (mark, Some(100_000_000), None, 28_800),
            (mark, Some(100_000_000), Some(50_000_000), 28_800),
        ]
    );
    assert_eq!(tape.funding[0].1.index.0, 904_451_234_567_890);
    assert_eq!(tape.funding[0].0, Time(1_731_899_129_000_000_000));
}

#[test]
fn refusals_are_passed_on_in_the_venues_words() {
    let tape = play([
        r#"{"id":"hQvf8jkno","type":"welcome"}"#,
        r#"{"id":"1545910660739","type":"ack"}"#,
        r#"{"id":"1545910590801","type":"pong"}"#,
        r#"{"id":"1","type":"error","code":404,"data":"topic /market/nothing:A-B is not found"}"#,
    ]);
    let words = "topic /market/nothing:A-B is not found".to_owned();
    assert_eq!(tape.cues, [Cue::Welcome, Cue::Refused(words)]);
    assert_eq!(tape.unreadable, Vec::<String>::new());
}

/// What the tardis vectors say and this dialect does not.
const EXCEPTIONS: [(&str, &str); 4] = [
    (
        "map kucoin messages 7",
        "a best-bid/ask frame (ticker): it is sampled and has no part in the book",
    ),
    (
        "map kucoin messages 13",
        "the vector joins changes to the snapshot although numbers are missing between them",
    ),
    (
        "map kucoin messages 14",
        "it follows the hole of message 13; it is read when the one before it is there",
    ),
    (
        "map kucoin messages 16",
        "it ends before it begins: at a number that the snapshot already has",
    ),
];

#[test]
fn tardis_vectors_are_read_as_expected() {
    let vectors = vectors("tardis-node-vectors/kucoin.jsonl");
    let mut tape = Tape::new(reader(Venue::Kucoin, &["BTC-USDT"]));
    let mut kucoin = Kucoin::new(Venue::Kucoin, Channel::All);
    for vector in &vectors {
        let name = &vector.name;
        let excepted = EXCEPTIONS.iter().any(|(except, _)| except == name);
        tape.trades.clear();
        tape.depth.clear();
        tape.play([vector.message.as_str()], |text, reader| {
            kucoin.frame(text, reader)
        });
        let want = vector.line["expected"].as_array().expect("a list");
        let of = |kind: &'static str| want.iter().filter(move |w| w["type"] == kind);
        assert_eq!(of("trade").count(), tape.trades.len(), "{name}");
        for (want, got) in of("trade").zip(&tape.trades) {
            assert_trade(Venue::Kucoin, vector, want, got);
        }
        assert!(excepted || want.len() == of("trade").count(), "{name}");
        assert!(tape.depth.is_empty(), "{name}");
    }
    if !vectors.is_empty() {
        let hole = Gap {
            reason: GapReason::Sequence,
            expected: 1_636_276_324_357,
            got: 1_636_276_324_361,
        };
        assert_eq!(tape.gaps.first(), Some(&(0, hole)));
    }
}

#[test]
fn tardis_changes_are_read_as_expected_one_by_one() {
    for vector in vectors("tardis-node-vectors/kucoin.jsonl") {
        let message: Value = serde_json::from_str(&vector.message).expect("JSON");
        let Some(start) = message["data"]["sequenceStart"].as_u64() else {
            continue;
        };
        let mut kucoin = Kucoin::new(Venue::Kucoin, Channel::All);
        let mut tape = Tape::new(reader(Venue::Kucoin, &[]));
        let primer = kucoin.capture_snapshot("BTC-USDT", &reply(start - 1, 0));
        tape.play([primer.as_str()], |text, reader| kucoin.frame(text, reader));
        tape.depth.clear();
        tape.play([vector.message.as_str()], |text, reader| {
            kucoin.frame(text, reader)
        });
        let name = vector.name.as_str();
        if name.ends_with("16") {
            assert_eq!((tape.depth.len(), tape.gaps.len()), (0, 0), "{name}");
            continue;
        }
        // The vectors tell nothing of what was buffered; what they changed is plain.
        let price = |text: &str| parse(text, 10).expect("a price");
        let (bids, asks) = match name.rsplit(' ').next() {
            Some("9") => (vec![(price("24081.2"), 265_000)], vec![]),
            Some("11") => (vec![(price("12"), 12_000_000)], vec![]),
            Some("12") => (vec![], vec![(price("24088.8"), 0)]),
            Some("14") => {
                let [bids, asks] = expected_levels(Venue::Kucoin, &vector.line["expected"][0]);
                (bids, asks)
            }
            _ => (vec![], vec![]),
        };
        assert_eq!(
            (tape.levels(), tape.gaps.len()),
            ([bids, asks], 0),
            "{name}"
        );
        assert!(tape.books.first().is_some_and(Book::is_live), "{name}");
    }
}

#[test]
fn crypto_msg_parser_vectors_are_read_as_expected() {
    const UNUSED: &str = "a channel that is not subscribed";
    let table: [Expected; 18] = [
        (
            "trade::spot",
            "",
            Want::Trade("57659.6", "0.00013064", Side::Buy, 1_616_362_370_760),
        ),
        (
            "trade::inverse_swap",
            "",
            Want::Trade("57798", "5000", Side::Buy, 1_616_362_601_277),
        ),
        (
            "l2_event::spot_update",
            r#"{"topic":"/market/level2Snapshot:BTC-USDT","data":{"sequence":"1617071937789","bids":[],"asks":[]}}"#,
            Want::Levels(&[("39272", "0.0530867")], &[], 0),
        ),
        (
            "l2_event::inverse_swap_update",
            r#"{"code":"200000","data":{"symbol":"XBTUSDM","sequence":1617852459593,"bids":[],"asks":[]}}"#,
            Want::Levels(&[("39069", "23960")], &[], 1_622_718_985_044),
        ),
        (
            "l2_event::inverse_future_update",
            r#"{"code":"200000","data":{"symbol":"XBTMM21","sequence":1616827077940,"bids":[],"asks":[]}}"#,
            Want::Levels(&[], &[("39006", "11450")], 1_622_719_594_867),
        ),
        ("l2_topk::inverse_swap", "", Want::Nothing(UNUSED)),
        ("l2_topk::inverse_future", "", Want::Nothing(UNUSED)),
        ("bbo::spot_2", "", Want::Nothing(UNUSED)),
        ("bbo::inverse_swap", "", Want::Nothing(UNUSED)),
        ("l3_event::spot", "", Want::Nothing(UNUSED)),
        ("l3_event::inverse_swap", "", Want::Nothing(UNUSED)),
        ("candlestick::spot", "", Want::Nothing(UNUSED)),
        ("candlestick::inverse_swap", "", Want::Nothing(UNUSED)),
        ("ticker::spot", "", Want::Nothing(UNUSED)),
        ("ticker::inverse_swap", "", Want::Nothing(UNUSED)),
        (
            "l2_snapshot::spot",
            "",
            Want::Levels(
                &[
                    ("29701.4", "1.1244206"),
                    ("29701.2", "0.00006727"),
                    ("29700.1", "0.49009689"),
                ],
                &[
                    ("29701.5", "0.00023088"),
                    ("29701.6", "0.48701789"),
                    ("29701.7", "0.00034976"),
                ],
                1_654_325_095_225,
            ),
        ),
        (
            "l2_snapshot::inverse_swap",
            "",
            Want::Levels(
                &[("29625", "15226"), ("29624", "6845"), ("29623", "2521")],
                &[("29626", "2521"), ("29627", "16476"), ("29630", "6266")],
                1_654_326_900_579,
            ),
        ),
        (
            "open_interest::unknown",
            "",
            Want::Nothing("contract details are not asked for"),
        ),
    ];
    check_vectors(
        "crypto-msg-parser-vectors/kucoin.jsonl",
        &table,
        // The spot snapshot does not say whose it is.
        |_| reader(Venue::Kucoin, &["BTC-USDT"]),
        |text, reader| Kucoin::new(Venue::Kucoin, Channel::All).frame(text, reader),
    );
}
