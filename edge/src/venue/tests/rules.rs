//! The rules of Binance and Coinbase, one by one, on small frames.

use tickerml_shared::event::Gap;
use tickerml_shared::instrument::InstrumentId;

use super::*;
use crate::venue::binance::Binance;
use crate::venue::coinbase::MARKET_TRADES_SIDE_IS_MAKER;
use crate::venue::session::Channel;
use crate::venue::{Transmit, public_endpoint};

const SNAPSHOT: &str = r#"{"stream":"btcusdt@depthSnapshot","generated":true,"data":{"lastUpdateId":10,"bids":[["9","1"]],"asks":[["11","1"]]}}"#;

fn spot_diff(first: u64, last: u64, levels: &str) -> String {
    format!(
        r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1700000000000,"s":"BTCUSDT","U":{first},"u":{last},{levels}}}}}"#
    )
}

fn spot_trade(id: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":2,"s":"BTCUSDT","t":{id},"p":"10","q":"1","T":1700000000001,"m":true,"M":true}}}}"#
    )
}

fn aggregate(id: u64, first: u64, last: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@aggTrade","data":{{"e":"aggTrade","E":2,"s":"BTCUSDT","a":{id},"p":"10","q":"1","f":{first},"l":{last},"T":1700000000001,"m":false}}}}"#
    )
}

fn trade_ids(replay: &Replay, symbol: &str) -> Vec<u64> {
    let trades = replay.of(symbol).trades.iter();
    trades.map(|(_, trade)| trade.id).collect()
}

#[test]
fn a_named_snapshot_may_come_before_any_diff() {
    let mut replay = Replay::new(Venue::Binance);
    replay.line(SNAPSHOT);
    replay.line(&spot_diff(11, 12, r#""b":[["9.5","2"]],"a":[]"#));
    assert_eq!(replay.best("BTCUSDT"), Some(("9.5".into(), "11".into())));
}

#[test]
fn a_nameless_snapshot_is_given_to_the_book_that_waits_and_was_heard_last() {
    let nameless = r#"{"lastUpdateId":10,"bids":[["9","1"]],"asks":[["11","1"]]}"#;
    let diff = spot_diff(11, 12, r#""b":[],"a":[]"#);
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([nameless, diff.as_str()]);
    assert!(replay.of("BTCUSDT").book.is_live(), "before the first name");
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([diff.as_str(), nameless]);
    assert!(replay.of("BTCUSDT").book.is_live(), "after it");
    let other = diff.replace("BTCUSDT", "ETHUSDT");
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([diff.as_str(), other.as_str(), nameless]);
    assert!(replay.of("ETHUSDT").book.is_live() && !replay.of("BTCUSDT").book.is_live());
}

#[test]
fn frames_without_the_stream_wrapper_and_with_other_key_orders_read_alike() {
    let raw = r#"{"s":"BTCUSDT","U":11,"u":12,"b":[["9.5","2"]],"a":[],"e":"depthUpdate","E":1}"#;
    let turned = format!(r#"{{"data":{raw},"stream":"btcusdt@depth"}}"#);
    for frame in [raw, turned.as_str()] {
        let mut replay = Replay::new(Venue::Binance);
        replay.lines([SNAPSHOT, frame]);
        assert_eq!(replay.best("BTCUSDT"), Some(("9.5".into(), "11".into())));
        assert_eq!(replay.all_gaps("BTCUSDT"), 0);
    }
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([
        SNAPSHOT,
        r#"{"u":10,"s":"BTCUSDT","b":"9","B":"1","a":"11","A":"1"}"#,
    ]);
    assert_eq!(replay.counters("BTCUSDT").touches_equal, 1);
}

#[test]
fn a_snapshot_with_as_many_levels_as_were_asked_for_was_cut() {
    for (levels, beyond) in [(19, 0), (20, 1)] {
        let asks: Vec<_> = (0..levels)
            .map(|i| format!(r#"["{}","1"]"#, 11 + i))
            .collect();
        let asks = asks.join(",");
        let data = format!(r#"{{"lastUpdateId":10,"bids":[["9","1"]],"asks":[{asks}]}}"#);
        let frame = Binance::capture_snapshot("BTCUSDT", &data);
        let mut replay = Replay::new(Venue::Binance);
        replay.line(&frame);
        // Every ask goes; one farther out remains.
        let gone: Vec<_> = (0..levels)
            .map(|i| format!(r#"["{}","0"]"#, 11 + i))
            .collect();
        let asks = format!(r#""b":[],"a":[{},["99","1"]]"#, gone.join(","));
        replay.line(&spot_diff(11, 12, &asks));
        let horizon = replay.gaps("BTCUSDT", GapReason::Horizon);
        assert_eq!(horizon, beyond, "{levels} levels");
    }
}

#[test]
fn a_captured_snapshot_is_one_line_that_reads_back() {
    let body = "{\"lastUpdateId\":10,\r\n\"bids\":[[\"9\",\"1\"]],\n\"asks\":[]}";
    let line = Binance::capture_snapshot("BTCUSDT", body);
    assert!(!line.contains(['\r', '\n']));
    let mut replay = Replay::new(Venue::BinanceUs);
    replay.line(&line);
    assert_eq!(replay.of("BTCUSDT").book.len(Side::Buy), 1);
}

#[test]
fn a_capture_with_both_trade_streams_counts_no_trade_twice() {
    let mut replay = Replay::new(Venue::Binance);
    // The capture begins between an aggregate and the trades that it contains.
    replay.line(&aggregate(5, 100, 101));
    for id in [101, 102, 103] {
        replay.line(&spot_trade(id));
    }
    replay.line(&aggregate(6, 102, 103));
    assert_eq!(trade_ids(&replay, "BTCUSDT"), [5, 102, 103]);
    let sides: Vec<_> = replay
        .of("BTCUSDT")
        .trades
        .iter()
        .map(|(_, t)| t.aggressor)
        .collect();
    assert_eq!(
        sides,
        [Side::Buy, Side::Sell, Side::Sell],
        "m: the buyer was the maker"
    );
}

#[test]
fn partial_depth_streams_do_not_touch_the_book() {
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([
        SNAPSHOT,
        r#"{"stream":"btcusdt@depth20","data":{"lastUpdateId":99,"bids":[["1","1"]],"asks":[]}}"#,
        r#"{"stream":"btcusdt@depth5@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[],"a":[]}}"#,
    ]);
    assert_eq!(replay.best("BTCUSDT"), Some(("9".into(), "11".into())));
    assert_eq!(replay.all_gaps("BTCUSDT"), 0);
}

#[test]
fn an_empty_side_of_the_quote_is_not_compared() {
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([
        SNAPSHOT,
        r#"{"stream":"btcusdt@bookTicker","data":{"u":10,"s":"BTCUSDT","b":"9","B":"1","a":"0.00000000","A":"0.00000000"}}"#,
    ]);
    let counters = replay.counters("BTCUSDT");
    assert_eq!((counters.touches_equal, counters.touches_different), (0, 0));
}

#[test]
fn usdm_trades_that_cross_no_book_are_no_flow() {
    let trade = |id: u64, kind: &str| {
        format!(
            r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":1,"T":1700000000001,"s":"BTCUSDT","t":{id},"p":"10","q":"1","X":"{kind}","m":true}}}}"#
        )
    };
    let mut replay = Replay::new(Venue::BinanceUsdm);
    for (id, kind) in [(1, "MARKET"), (2, "INSURANCE_FUND"), (3, "ADL"), (4, "NA")] {
        replay.line(&trade(id, kind));
    }
    assert_eq!(trade_ids(&replay, "BTCUSDT"), [1]);
}

#[test]
fn mark_prices_are_rounded_and_dated_contracts_have_no_rate() {
    let mark = |rate: &str, settles: u64| {
        format!(
            r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":1700000000000,"s":"BTCUSDT","ap":"1","p":"8291.34697815","i":"8290.00000005","P":"1","r":"{rate}","T":{settles}}}}}"#
        )
    };
    let mut instrument = Instrument::unknown(Venue::BinanceUsdm, "BTCUSDT").expect("short");
    instrument.price_scale = 1;
    let mut session = Session::new(
        Venue::BinanceUsdm,
        Channel::Market,
        public_endpoint(Venue::BinanceUsdm),
        vec![(InstrumentId(7), instrument)],
        1,
    );
    session.handle_timeout(Time(1));
    session.handle_connected(Time(1));
    session.handle_frame(Time(2), &mark("-0.00010000", 1_700_006_400_000));
    session.handle_frame(Time(3), &mark("", 0));
    let fundings: Vec<_> = std::iter::from_fn(|| session.poll_update())
        .map(|update| match update.body {
            Body::Funding(funding) => (update.instrument, funding),
            other => panic!("{other:?}"),
        })
        .collect();
    let (id, first) = fundings[0];
    assert_eq!(id, InstrumentId(7));
    assert_eq!(
        (first.mark.0, first.index.0),
        (82_913, 82_900),
        "to a tenth"
    );
    assert_eq!(first.rate, Some(-100_000_000));
    assert_eq!(first.settles, Time::from_epoch(1_700_006_400_000));
    assert_eq!((first.predicted, first.interval_s), (None, 0));
    let (_, second) = fundings[1];
    assert_eq!((second.rate, second.settles), (None, Time::UNKNOWN));
}

#[test]
fn binance_control_frames() {
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([
        r#"{"result":null,"id":1}"#,
        r#"{"result":["btcusdt@trade"],"id":1}"#,
        r#"{"code":2,"msg":"Invalid request: unknown variant"}"#,
        r#"{"error":{"code":-1121,"msg":"Invalid symbol."},"id":2}"#,
        r#"{"stream":"!markPrice@arr","data":[{"e":"markPriceUpdate"}]}"#,
        r#"{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":1}}}"#,
    ]);
    let status = replay.session.status();
    assert_eq!((status.parse_errors, status.refusals), (0, 2));
    assert_eq!(
        status.refused,
        [
            "2: Invalid request: unknown variant",
            "-1121: Invalid symbol."
        ]
    );
}

#[test]
fn escaped_names_are_understood() {
    let mut replay = Replay::new(Venue::Binance);
    replay.lines([
        SNAPSHOT,
        r#"{"stream":"btcusdt\u0040bookTicker","data":{"u":10,"s":"BTC\u0055SDT","b":"9","B":"1","a":"11","A":"1"}}"#,
    ]);
    assert_eq!(replay.counters("BTCUSDT").touches_equal, 1);
}

#[test]
fn a_negative_quantity_is_not_a_quantity() {
    let mut replay = Replay::new(Venue::Binance);
    replay.line(SNAPSHOT);
    replay.line(&spot_diff(11, 12, r#""b":[["9","-1"]],"a":[]"#));
    assert_eq!(replay.gaps("BTCUSDT", GapReason::Unparsable), 1);
    replay.line(SNAPSHOT);
    assert!(
        replay.of("BTCUSDT").book.is_live(),
        "a new snapshot heals it"
    );
}

#[test]
fn garbage_never_ends_a_session() {
    for venue in [
        Venue::Binance,
        Venue::BinanceUsdm,
        Venue::Coinbase,
        Venue::CoinbaseAdvanced,
    ] {
        let mut replay = Replay::new(venue);
        for frame in [
            "",
            "{",
            "[]",
            "null",
            "7",
            "\u{0}",
            "{}",
            r#"{"stream":"}"#,
            r#"{"stream":"a","data":}"#,
            r#"{"stream":"a","data":{"e":"depthUpdate","E":-1}}"#,
            r#"{"type":"l2update"}"#,
            r#"{"channel":"l2_data","sequence_num":18446744073709551615,"events":[]}"#,
            r#"{"channel":"l2_data","sequence_num":0,"events":[{"type":"update"}]}"#,
        ] {
            replay.line(frame);
        }
        assert!(replay.session.status().parse_errors > 5);
        assert_eq!(replay.session.status().frames, 13);
    }
}

const COINBASE: &str = r#"{"type":"snapshot","product_id":"BTC-USD","asks":[["11","1"]],"bids":[["9","1"],["8","0.-10000"]]}"#;

#[test]
fn coinbase_leaves_a_broken_level_out_of_a_snapshot_only() {
    let mut replay = Replay::new(Venue::Coinbase);
    replay.line(COINBASE);
    assert_eq!(replay.of("BTC-USD").book.len(Side::Buy), 1);
    assert_eq!(replay.all_gaps("BTC-USD"), 0);
    replay.line(r#"{"type":"l2update","product_id":"BTC-USD","changes":[["buy","8","0.-10000"]],"time":"2021-04-17T16:43:37.093357Z"}"#);
    assert_eq!(replay.gaps("BTC-USD", GapReason::Unparsable), 1);
    assert_eq!(replay.best("BTC-USD"), None);
}

#[test]
fn coinbase_matches_name_the_maker_and_last_match_is_old() {
    let trade = |kind: &str, id: u64, side: &str| {
        format!(
            r#"{{"type":"{kind}","trade_id":{id},"maker_order_id":"a","taker_order_id":"b","side":"{side}","size":"2","price":"10","product_id":"BTC-USD","sequence":7,"time":"2021-04-17T16:43:37.093357Z"}}"#
        )
    };
    let mut replay = Replay::new(Venue::Coinbase);
    replay.line(COINBASE);
    replay.line(&trade("last_match", 1, "sell"));
    replay.line(&trade("match", 2, "sell"));
    // A hole in the trade ids, and a heartbeat that knows of a later trade: no gap of the book.
    replay.line(&trade("match", 5, "buy"));
    replay.line(r#"{"type":"heartbeat","last_trade_id":9,"product_id":"BTC-USD","sequence":9,"time":"2021-04-17T16:43:38Z"}"#);
    let trades: Vec<_> = replay
        .of("BTC-USD")
        .trades
        .iter()
        .map(|(_, t)| (t.id, t.aggressor))
        .collect();
    assert_eq!(trades, [(2, Side::Buy), (5, Side::Sell)]);
    assert_eq!(replay.all_gaps("BTC-USD"), 0);
}

#[test]
fn coinbase_writes_the_year_one_for_no_time_and_says_why_it_refuses() {
    let mut session = Session::capture(Venue::Coinbase);
    session.handle_frame(Time(1), COINBASE);
    session.handle_frame(Time(2), r#"{"type":"l2update","product_id":"BTC-USD","changes":[["sell","12","1"]],"time":"0001-01-01T00:00:00.000000Z"}"#);
    session.handle_frame(Time(3), r#"{"type":"error","message":"Failed to subscribe","reason":"level2 requires authentication"}"#);
    let updates: Vec<_> = std::iter::from_fn(|| session.poll_update()).collect();
    assert_eq!(updates.len(), 2);
    assert_eq!(updates[1].venue_time, Time::UNKNOWN);
    assert_eq!(
        session.status().refused,
        ["Failed to subscribe: level2 requires authentication"]
    );
}

#[test]
fn coinbase_keeps_the_best_levels_of_a_snapshot_that_no_book_can_hold() {
    let bids: Vec<_> = (1..=3000)
        .map(|price| format!(r#"["{price}","1"]"#))
        .collect();
    let frame = format!(
        r#"{{"type":"snapshot","product_id":"BTC-USD","asks":[["9000","1"]],"bids":[{}]}}"#,
        bids.join(",")
    );
    let mut session = Session::capture(Venue::Coinbase);
    session.handle_frame(Time(1), &frame);
    let parts = std::iter::from_fn(|| session.poll_update()).count();
    assert!(parts <= 33, "{parts} parts");
    let mut replay = Replay::new(Venue::Coinbase);
    replay.line(&frame);
    let book = &replay.of("BTC-USD").book;
    assert_eq!(book.len(Side::Buy), tickerml_shared::book::BOOK_LEVELS);
    assert_eq!(replay.best("BTC-USD"), Some(("3000".into(), "9000".into())));
}

fn advanced(channel: &str, number: u64, events: &str) -> String {
    format!(
        r#"{{"channel":"{channel}","timestamp":"2026-08-24T22:34:13.79Z","sequence_num":{number},"events":[{events}]}}"#
    )
}

fn book_event(kind: &str, product: &str, bid: &str) -> String {
    format!(
        r#"{{"type":"{kind}","product_id":"{product}","updates":[{{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"{bid}","new_quantity":"1"}},{{"side":"offer","event_time":"2026-08-24T22:34:13.5Z","price_level":"99","new_quantity":"1"}}]}}"#
    )
}

/// A connection with two live books; the next number is 9.
fn two_books() -> Replay {
    let mut replay = Replay::new(Venue::CoinbaseAdvanced);
    // A capture may begin anywhere.
    replay.line(&advanced(
        "l2_data",
        7,
        &book_event("snapshot", "BTC-USD", "10"),
    ));
    replay.line(&advanced(
        "l2_data",
        8,
        &book_event("snapshot", "ETH-USD", "20"),
    ));
    replay
}

#[test]
fn advanced_numbers_run_over_all_channels_and_a_hole_costs_every_book() {
    let mut replay = two_books();
    replay.line(&advanced(
        "subscriptions",
        9,
        r#"{"subscriptions":{"level2":["BTC-USD"]}}"#,
    ));
    replay.line(&advanced(
        "heartbeats",
        10,
        r#"{"current_time":"x","heartbeat_counter":5}"#,
    ));
    replay.line(&advanced(
        "heartbeats",
        11,
        r#"{"current_time":"x","heartbeat_counter":"6"}"#,
    ));
    replay.line(&advanced(
        "status",
        12,
        r#"{"type":"snapshot","products":[]}"#,
    ));
    replay.line(&advanced(
        "l2_data",
        13,
        &book_event("update", "BTC-USD", "11"),
    ));
    assert_eq!(replay.best("BTC-USD"), Some(("11".into(), "99".into())));
    replay.line(&advanced(
        "l2_data",
        15,
        &book_event("update", "BTC-USD", "12"),
    ));
    for product in ["BTC-USD", "ETH-USD"] {
        assert_eq!(replay.gaps(product, GapReason::Sequence), 1, "{product}");
        assert_eq!(replay.best(product), None);
    }
    replay.line(&advanced(
        "l2_data",
        16,
        &book_event("snapshot", "ETH-USD", "21"),
    ));
    assert_eq!(replay.best("ETH-USD"), Some(("21".into(), "99".into())));
    assert_eq!(replay.best("BTC-USD"), None);
}

#[test]
fn advanced_says_which_number_it_expected() {
    let mut session = Session::capture(Venue::CoinbaseAdvanced);
    session.handle_frame(
        Time(1),
        &advanced("l2_data", 0, &book_event("snapshot", "BTC-USD", "10")),
    );
    session.handle_frame(
        Time(2),
        &advanced("l2_data", 3, &book_event("update", "BTC-USD", "11")),
    );
    let gap = std::iter::from_fn(|| session.poll_update()).find_map(|update| match update.body {
        Body::Gap(gap) => Some(gap),
        _ => None,
    });
    let expected = Gap {
        reason: GapReason::Sequence,
        expected: 1,
        got: 3,
    };
    assert_eq!(gap, Some(expected));
}

#[test]
fn an_advanced_frame_that_cannot_be_read_uses_up_its_number() {
    let mut replay = two_books();
    let frame = advanced("l2_data", 9, &book_event("update", "BTC-USD", "11"));
    replay.line(&frame[..frame.len() / 2]);
    assert_eq!(replay.best("BTC-USD"), None, "it names this one");
    replay.line(&advanced(
        "l2_data",
        10,
        &book_event("update", "ETH-USD", "21"),
    ));
    assert_eq!(replay.best("ETH-USD"), Some(("21".into(), "99".into())));
    assert_eq!(replay.gaps("BTC-USD", GapReason::Unparsable), 1);
    assert_eq!(replay.gaps("ETH-USD", GapReason::Sequence), 0);
}

#[test]
fn a_missed_advanced_heartbeat_costs_every_book() {
    let mut replay = two_books();
    replay.line(&advanced("heartbeats", 9, r#"{"heartbeat_counter":5}"#));
    replay.line(&advanced("heartbeats", 10, r#"{"heartbeat_counter":7}"#));
    assert_eq!(replay.gaps("BTC-USD", GapReason::Sequence), 1);
    assert_eq!(replay.gaps("ETH-USD", GapReason::Sequence), 1);
}

#[test]
fn advanced_trades_are_sorted_and_history_is_no_flow() {
    let trade = |id: u64, side: &str| {
        format!(
            r#"{{"trade_id":"{id}","product_id":"BTC-USD","price":"10","size":"1","side":"{side}","time":"2026-08-24T22:34:13.483122Z"}}"#
        )
    };
    let batch = |kind: &str, trades: &[String]| {
        format!(r#"{{"type":"{kind}","trades":[{}]}}"#, trades.join(","))
    };
    let mut replay = two_books();
    let history = batch("snapshot", &[trade(5, "BUY")]);
    replay.line(&advanced("market_trades", 9, &history));
    let fresh = batch(
        "update",
        &[trade(8, "BUY"), trade(6, "SELL"), trade(7, "BUY")],
    );
    replay.line(&advanced("market_trades", 10, &fresh));
    assert_eq!(trade_ids(&replay, "BTC-USD"), [6, 7, 8]);
    let (at, first) = replay.of("BTC-USD").trades[0];
    let taker = if MARKET_TRADES_SIDE_IS_MAKER {
        Side::Buy
    } else {
        Side::Sell
    };
    assert_eq!(
        (first.aggressor, at.0 % 1_000_000_000),
        (taker, 483_122_000)
    );
}

#[test]
fn a_product_that_the_venue_renames_is_found() {
    let id = InstrumentId(3);
    let instrument = Instrument::unknown(Venue::CoinbaseAdvanced, "BTC-USDC").expect("short");
    let mut session = Session::new(
        Venue::CoinbaseAdvanced,
        Channel::All,
        public_endpoint(Venue::CoinbaseAdvanced),
        vec![(id, instrument)],
        1,
    );
    session.handle_timeout(Time(1));
    session.handle_connected(Time(1));
    session.handle_frame(
        Time(2),
        &advanced("l2_data", 0, &book_event("snapshot", "BTC-USD", "10")),
    );
    session.handle_frame(
        Time(2),
        &advanced("l2_data", 1, &book_event("snapshot", "DOGE-USD", "1")),
    );
    let updates: Vec<_> = std::iter::from_fn(|| session.poll_update()).collect();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].instrument, id);
}

#[test]
fn what_each_venue_is_asked_for() {
    let first = |venue, channel| {
        let names = match venue {
            Venue::Coinbase | Venue::CoinbaseAdvanced => ["BTC-USD", "ETH-USD"],
            _ => ["BTCUSDT", "ETHUSDT"],
        };
        let list = |(id, name)| {
            (
                InstrumentId(id),
                Instrument::unknown(venue, name).expect("short"),
            )
        };
        let instruments = (0..).zip(names).map(list).collect();
        let mut session = Session::new(venue, channel, public_endpoint(venue), instruments, 1);
        session.handle_timeout(Time(1));
        session.handle_connected(Time(1));
        std::iter::from_fn(|| session.poll_transmit()).collect::<Vec<_>>()
    };
    let url = |venue, channel| match &first(venue, channel)[..] {
        [Transmit::Connect { url }] => url.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        url(Venue::Binance, Channel::All),
        "wss://stream.binance.com:9443/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker/ethusdt@depth@100ms/ethusdt@trade/ethusdt@bookTicker"
    );
    assert_eq!(
        url(Venue::BinanceUsdm, Channel::Book),
        "wss://fstream.binance.com/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/ethusdt@depth@100ms/ethusdt@bookTicker"
    );
    assert_eq!(
        url(Venue::BinanceUsdm, Channel::Market),
        "wss://fstream.binance.com/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s/ethusdt@aggTrade/ethusdt@markPrice@1s"
    );
    let sends = |venue, channel| {
        let send = |transmit| match transmit {
            Transmit::Send(frame) => Some(frame),
            _ => None,
        };
        first(venue, channel)
            .into_iter()
            .filter_map(send)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        sends(Venue::Coinbase, Channel::All),
        [
            r#"{"channels":["level2_batch","matches","heartbeat"],"product_ids":["BTC-USD","ETH-USD"],"type":"subscribe"}"#
        ]
    );
    assert_eq!(
        sends(Venue::CoinbaseAdvanced, Channel::All),
        [
            r#"{"channel":"heartbeats","type":"subscribe"}"#,
            r#"{"channel":"level2","product_ids":["BTC-USD","ETH-USD"],"type":"subscribe"}"#,
            r#"{"channel":"market_trades","product_ids":["BTC-USD","ETH-USD"],"type":"subscribe"}"#,
        ]
    );
}
