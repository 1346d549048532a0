//! Small reference clients rebuild the books from the frames and compare them with the truth.

mod client;

use super::*;

use crate::world::{MILLI, VenueKind::*};
use client::*;

#[test]
fn every_venue_lets_a_client_rebuild_the_true_book() {
    for kind in VenueKind::ALL {
        for seed in [1, 2] {
            let mut rig = Rig::synced(kind, seed);
            for _ in 0..3 {
                rig.run(8_000);
                rig.settle();
                assert!(rig.same(1), "{kind} seed {seed}: the books differ");
            }
            assert_eq!(rig.client(1).problems, [], "{kind}");
            assert_eq!(
                rig.client(1).trades.len(),
                4,
                "{kind}: trades of all symbols"
            );
            if kind == Binance {
                assert!(rig.client(1).ticker_checks > 50);
                assert!(rig.count(1, "ticker") > 100 && rig.count(1, "ping") == 1);
            }
            if kind == Kucoin {
                assert!(rig.count(1, "filler") > 20 && rig.count(1, "trade.ticker") > 100);
                assert_eq!((rig.count(1, "welcome"), rig.count(1, "ack")), (1, 3));
            }
            if kind == Coinbase {
                assert_eq!(
                    (rig.count(1, "heartbeats"), rig.count(1, "subscriptions")),
                    (25, 3)
                );
            }
        }
    }
}

#[test]
fn kraken_truncates_at_every_depth_and_names_bad_requests() {
    let mut rig = Rig::new(Kraken, 5);
    for (conn, depth) in [(10, 10), (25, 25), (100, 100)] {
        rig.subscribe_kraken(conn, depth);
    }
    rig.run(20_000);
    rig.settle();
    for conn in [10, 25, 100] {
        assert_eq!(rig.client(conn).problems, []);
        assert!(rig.same(conn), "depth {conn}");
        assert_eq!(rig.count(conn, "subscribe"), 8);
    }
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":27}}"#,
    );
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"book","symbol":["XBT/USD"],"depth":10}}"#,
    );
    rig.say(10, r#"{"method":"ping","req_id":4}"#);
    rig.say(10, "nonsense");
    assert_eq!(rig.count(10, "Subscription depth not supported"), 1);
    assert_eq!(rig.count(10, "Currency pair not supported XBT/USD"), 1);
    assert_eq!(
        (rig.count(10, "pong"), rig.count(10, "Malformed request")),
        (1, 1)
    );

    // Unsubscribing and subscribing brings a fresh snapshot; instruments are told on request.
    rig.say(
        10,
        r#"{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}"#,
    );
    let before = rig.count(10, "book");
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}"#,
    );
    assert_eq!(rig.count(10, "book"), before + 1);
    rig.say(
        10,
        r#"{"method":"subscribe","params":{"channel":"instrument"}}"#,
    );
    assert_eq!(rig.count(10, "instrument"), 1);
    rig.settle();
    assert!(rig.same(10));

    // A connection that subscribes to nothing hears nothing and is closed; a quiet one beats.
    rig.connect(7, "/v2", 10);
    rig.connect(8, "/v2", 10);
    rig.say(
        8,
        r#"{"method":"subscribe","params":{"channel":"instrument"}}"#,
    );
    rig.run(61_000);
    assert_eq!((rig.count(7, "close"), rig.count(7, "heartbeat")), (1, 0));
    assert_eq!((rig.count(8, "close"), rig.count(8, "heartbeat")), (0, 61));
}

#[test]
fn kucoin_uta_speaks_binary_and_continues_its_snapshot() {
    let mut rig = Rig::new(Kucoin, 6);
    let now = rig.now;
    assert_eq!(rig.server().connect(1, "/?token=forged", now), Err(401));
    rig.connect(2, "/uta", 0);
    for symbol in ["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"] {
        for channel in [r#""obu","depth":"increment@10ms""#, r#""trade""#] {
            rig.say(2, &format!(r#"{{"id":"1","action":"subscribe","channel":{channel},"tradeType":"SPOT","symbol":"{symbol}"}}"#));
        }
    }
    rig.say(2, r#"{"id":"5","type":"ping"}"#);
    for _ in 0..3 {
        rig.run(10_000);
        rig.settle();
        assert!(rig.same(2));
    }
    assert_eq!(rig.client(2).problems, []);
    assert_eq!((rig.count(2, "welcome"), rig.count(2, "pong")), (1, 1));
    assert_eq!(rig.client(2).trades.len(), 4);
    rig.run(31_000);
    assert_eq!(
        rig.count(2, "close"),
        1,
        "a minute without a client frame closes"
    );
}

#[test]
fn binance_enforces_its_limits() {
    let mut rig = Rig::new(Binance, 7);
    assert_eq!(rig.server().connect(1, "/v9", START), Err(404));
    rig.connect(1, "/ws", 0);
    rig.say(
        1,
        r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms","nosuch@trade"],"id":1}"#,
    );
    rig.run(1_000);
    assert_eq!(rig.count(1, "reply"), 1);
    assert!(rig.count(1, "depth") >= 4, "{:?}", rig.client(1).kinds);
    rig.say(
        1,
        r#"{"method":"UNSUBSCRIBE","params":["btcusdt@depth@100ms"],"id":2}"#,
    );
    let before = rig.count(1, "depth");
    rig.run(1_000);
    assert_eq!(rig.count(1, "depth"), before);
    for _ in 0..6 {
        rig.say(1, r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#);
    }
    assert_eq!(rig.count(1, "close"), 1);

    // Without pongs the connection is closed a minute after the first ping.
    rig.connect(2, "/ws/btcusdt@trade", 0);
    let end = rig.now + 85 * SECOND;
    while rig.now < end {
        rig.now += SECOND;
        let now = rig.now;
        rig.server().handle_timeout(now);
        while let Some((conn, frame)) = rig.server().poll_transmit() {
            rig.clients.get_mut(&conn).unwrap().frame(&frame);
        }
    }
    assert_eq!((rig.count(2, "ping"), rig.count(2, "close")), (3, 1));

    assert_eq!(rig.get("/api/v3/depth?symbol=NOSUCH").status, 400);
    assert_eq!(rig.get("/api/v3/exchangeInfo").status, 200);
    assert_eq!(
        rig.get("/api/v3/time").body,
        format!(r#"{{"serverTime":{}}}"#, rig.now / MILLI)
    );
    let refused = (0..30)
        .map(|_| rig.get("/api/v3/depth?symbol=BTCUSDT&limit=5000"))
        .last()
        .unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.retry_after.is_some_and(|s| s <= 60));
}

#[test]
fn coinbase_drops_the_silent_and_counts_everything() {
    let mut rig = Rig::new(Coinbase, 8);
    rig.connect(1, "/", 0);
    rig.connect(2, "/", 0);
    rig.say(
        2,
        r#"{"type":"subscribe","channel":"level2","product_ids":["BTC-USDC"]}"#,
    );
    rig.run(5_000);
    assert_eq!((rig.count(1, "close"), rig.count(2, "close")), (1, 0));
    assert_eq!(rig.count(2, "subscriptions"), 1);
    assert!(!rig.client(2).books["BTC-USD"].bids.is_empty());
    rig.say(
        2,
        r#"{"type":"unsubscribe","channel":"level2","product_ids":["BTC-USD"]}"#,
    );
    let before = rig.count(2, "l2_data");
    rig.run(1_000);
    assert_eq!(rig.count(2, "l2_data"), before);
    rig.say(
        2,
        r#"{"type":"subscribe","channel":"level2","product_ids":["NO-SUCH"]}"#,
    );
    assert_eq!(rig.count(2, "error"), 1);
    assert_eq!(rig.client(2).problems, []);
}

#[test]
fn faults_of_a_frame_do_what_they_say() {
    for kind in VenueKind::ALL {
        let symbol = Rig::new(kind, 9).first_symbol();
        let s = || symbol.clone();
        // What a client notices, besides anything that follows from it.
        let cases: Vec<(Fault, &[&str])> = vec![
            (
                Fault::SequenceGap { symbol: s() },
                &["sequence", "checksum"],
            ),
            (Fault::BadChecksum { symbol: s() }, &["checksum"]),
            (Fault::FlippedDigit { symbol: s() }, &["checksum"]),
            (Fault::CrossedBook { symbol: s() }, &["crossed"]),
            (
                Fault::Reorder { symbol: s() },
                &["sequence", "stale", "checksum"],
            ),
            (Fault::Garbage, &["unparsable"]),
            (Fault::TruncatedJson { symbol: s() }, &["unparsable"]),
        ];
        for (fault, expected) in cases {
            let mut rig = Rig::synced(kind, 9);
            if !fault.applies_to(kind) {
                assert!(!rig.inject(fault));
                continue;
            }
            assert!(rig.inject(fault.clone()));
            rig.run(3_000);
            let problems = &rig.client(1).problems;
            assert!(
                problems.iter().any(|(p, _)| expected.contains(p)),
                "{kind} {fault:?}: {problems:?}"
            );
            let server = rig.exchange.server(kind);
            assert_eq!(server.injected_counts()[&fault.kind()], 1);
            assert_eq!(server.injected()[0].fault, fault);
            let listing = server.listing(&symbol).unwrap();
            assert!(listing.best(Side::Buy).unwrap().0 < listing.best(Side::Sell).unwrap().0);
        }

        let mut rig = Rig::synced(kind, 9);
        assert!(rig.inject(Fault::Duplicate { symbol: s() }));
        rig.run(1_000);
        let problems: Vec<_> = rig.client(1).problems.iter().map(|(p, _)| *p).collect();
        match kind {
            Coinbase => assert_eq!(problems, ["sequence"]),
            Kraken => assert!(problems.is_empty()),
            _ => assert_eq!(problems, ["stale"]),
        }
        rig.settle();
        assert!(rig.same(1), "{kind}: a duplicate does no lasting harm");
        assert!(!rig.inject(Fault::Duplicate {
            symbol: "NO-SUCH".into()
        }));
    }
}

#[test]
fn faults_hurt_deep_books_and_binary_frames_noticeably() {
    let s = || "BTC/USD".to_string();
    for fault in [
        Fault::SequenceGap { symbol: s() },
        Fault::FlippedDigit { symbol: s() },
        Fault::Reorder { symbol: s() },
    ] {
        for seed in 20..26 {
            let mut rig = Rig::new(Kraken, seed);
            rig.subscribe_kraken(1, 100);
            rig.run(1_000);
            assert!(rig.inject(fault.clone()));
            rig.run(6_000);
            assert_eq!(rig.server().injected().len(), 1);
            // Absolute quantities may heal a book within the same message, never silently harm it.
            rig.settle();
            let noticed = rig.client(1).problems.iter().any(|(p, _)| *p == "checksum");
            assert!(noticed || rig.same(1), "{fault:?} seed {seed}");
        }
    }
    let s = || "BTC-USDT".to_string();
    for (fault, what) in [
        (Fault::SequenceGap { symbol: s() }, "sequence"),
        (Fault::Duplicate { symbol: s() }, "sequence"),
        (Fault::CrossedBook { symbol: s() }, "crossed"),
        (Fault::TruncatedJson { symbol: s() }, "unparsable"),
    ] {
        let mut rig = Rig::new(Kucoin, 21);
        rig.connect(1, "/uta", 0);
        rig.say(1, r#"{"id":"1","action":"subscribe","channel":"obu","depth":"increment@10ms","tradeType":"SPOT","symbol":"BTC-USDT"}"#);
        rig.run(1_000);
        assert_eq!(rig.client(1).problems, []);
        assert!(rig.inject(fault.clone()));
        rig.run(2_000);
        assert_eq!(rig.client(1).problems[0].0, what, "{fault:?}");
    }
}

#[test]
fn a_stall_delays_one_book_and_loses_nothing() {
    for kind in VenueKind::ALL {
        let mut rig = Rig::synced(kind, 10);
        let symbol = rig.first_symbol();
        rig.settle();
        assert!(rig.same(1));
        let before = rig.client(1).books[&symbol].clone();
        let trades = rig.client(1).trades.get(&symbol).copied().unwrap_or(0);
        assert!(rig.inject(Fault::Stall {
            symbol: symbol.clone(),
            for_ns: 6 * SECOND
        }));
        rig.run(5_900);
        let stalled = &rig.client(1).books[&symbol];
        assert_eq!(
            (&stalled.bids, &stalled.asks),
            (&before.bids, &before.asks),
            "{kind}"
        );
        assert!(
            rig.client(1).trades[&symbol] > trades,
            "{kind}: trades go on"
        );
        rig.run(1_500);
        rig.settle();
        assert!(rig.same(1), "{kind}: the stalled book caught up");
        assert_eq!(rig.client(1).problems, [], "{kind}");
    }
}

#[test]
fn sockets_and_rest_fail_as_told() {
    for kind in VenueKind::ALL {
        let mut rig = Rig::synced(kind, 11);
        assert!(rig.inject(Fault::Oversize));
        let now = rig.now;
        let mut biggest = 0;
        rig.exchange.advance(now + SECOND);
        while let Some((_, frame)) = rig.server().poll_transmit() {
            if let ServerFrame::Text(text) = frame {
                biggest = biggest.max(text.len());
            }
        }
        assert!(biggest > 8 * 1024 * 1024, "{kind}");

        let mut rig = Rig::synced(kind, 11);
        let before: u64 = rig.client(1).kinds.values().sum();
        assert!(rig.inject(Fault::HalfOpen));
        rig.run(5_000);
        assert_eq!(
            rig.client(1).kinds.values().sum::<u64>(),
            before + 1,
            "{kind}"
        );
        assert_eq!(rig.count(1, "freeze"), 1);
        assert_eq!(rig.server().connections(), 1, "nothing was closed");
        let now = rig.now;
        rig.server().disconnected(1);
        rig.subscribe(2);
        rig.run(1_000);
        assert!(
            rig.client(2).kinds.len() > 1,
            "{kind}: a new connection works at {now}"
        );

        let mut rig = Rig::synced(kind, 11);
        assert!(rig.inject(Fault::DisconnectStorm { for_ns: 2 * SECOND }));
        rig.drain();
        assert_eq!(
            (rig.count(1, "drop"), rig.server().connections()),
            (1, 0),
            "{kind}"
        );
        rig.subscribe(2);
        assert_eq!(
            (rig.count(2, "drop"), rig.server().connections()),
            (1, 0),
            "{kind}"
        );
        rig.run(2_000);
        rig.subscribe(3);
        assert_eq!(
            (rig.count(3, "drop"), rig.server().connections()),
            (0, 1),
            "{kind}"
        );

        let mut rig = Rig::synced(kind, 11);
        let slow = Fault::SlowRest {
            delay_ns: 3 * SECOND,
            for_ns: SECOND,
        };
        let limited = Fault::RateLimit {
            retry_after: 7,
            for_ns: SECOND,
        };
        if !slow.applies_to(kind) {
            assert!(!rig.inject(slow) && !rig.inject(limited));
            continue;
        }
        let target = match kind {
            Binance => "/api/v3/depth?symbol=BTCUSDT&limit=100",
            _ => "/api/v1/market/orderbook/level2_100?symbol=BTC-USDT",
        };
        assert!(rig.inject(slow));
        let reply = rig.get(target);
        assert_eq!((reply.status, reply.delay_ns), (200, 3 * SECOND));
        assert!(rig.inject(limited));
        let reply = rig.get(target);
        assert_eq!((reply.status, reply.retry_after), (429, Some(7)));
        rig.run(1_000);
        let reply = rig.get(target);
        assert_eq!((reply.status, reply.delay_ns), (200, 0));
    }
}

#[test]
fn one_seed_gives_the_same_frames() {
    let frames = |seed| {
        let mut rig = Rig::new(Kucoin, seed);
        rig.subscribe(1);
        let mut frames = Vec::new();
        for i in 1..200 {
            rig.exchange.advance(START + i * 25 * MILLI);
            while let Some(frame) = rig.server().poll_transmit() {
                frames.push(frame);
            }
        }
        frames
    };
    assert_eq!(frames(3), frames(3));
    assert_ne!(frames(3), frames(4));
}

#[test]
fn calm_ends_what_waits_and_what_lasts() {
    let mut rig = Rig::synced(Kucoin, 12);
    let symbol = rig.first_symbol();
    assert!(rig.inject(Fault::SequenceGap {
        symbol: symbol.clone()
    }));
    assert!(rig.inject(Fault::Stall {
        symbol,
        for_ns: 60 * SECOND
    }));
    assert!(rig.inject(Fault::RateLimit {
        retry_after: 1,
        for_ns: 60 * SECOND
    }));
    let now = rig.now;
    rig.exchange.calm(now);
    rig.run(2_000);
    rig.settle();
    assert!(rig.same(1));
    assert_eq!(rig.client(1).problems, []);
    assert_eq!(rig.get("/api/v1/timestamp").status, 200);
    let counts = &rig.exchange.injected()[&Kucoin];
    assert_eq!(counts.get(&FaultKind::SequenceGap), None);
    assert_eq!(counts[&FaultKind::Stall], 1);
}
