//! The life of a connection, driven by hand: nothing here sleeps, and every wait is known.

use tickerml_shared::event::Gap;
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::time::{MILLIS, MINUTES, SECONDS};

use super::*;
use crate::venue::session::{Channel, MAX_PENDING};
use crate::venue::{Purpose, Reply, Transmit, public_endpoint};

const START: Time = Time(1_700_000_000 * SECONDS);

/// A session and the time.
struct World {
    session: Session,
    now: Time,
}

impl World {
    fn new(venue: Venue, channel: Channel, symbols: &[&str], seed: u64) -> Self {
        let list = |(id, symbol): (u16, &&str)| {
            let instrument = Instrument::unknown(venue, symbol).expect("short");
            (InstrumentId(id), instrument)
        };
        let instruments = (0..).zip(symbols).map(list).collect();
        let session = Session::new(venue, channel, public_endpoint(venue), instruments, seed);
        Self {
            session,
            now: START,
        }
    }

    /// One that is connected, with nothing left to be sent.
    fn open(venue: Venue, symbols: &[&str]) -> Self {
        let mut world = Self::new(venue, Channel::All, symbols, 1);
        world.session.handle_timeout(world.now);
        world.session.handle_connected(world.now);
        world.transmits();
        assert_eq!(world.session.status().state, "open");
        world
    }

    /// A Binance connection whose book is live.
    fn live() -> Self {
        let mut world = Self::open(Venue::Binance, &["BTCUSDT"]);
        world.run(SECONDS);
        world.reply(0, 200, BODY);
        assert_eq!(world.gaps(), []);
        world
    }

    fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.session.poll_transmit()).collect()
    }

    fn frame(&mut self, text: &str) {
        self.session.handle_frame(self.now, text);
    }

    fn reply(&mut self, place: usize, status: u16, body: &str) {
        let reply = Reply {
            status,
            retry_after_s: None,
            body,
        };
        self.session
            .handle_reply(self.now, Purpose::Snapshot(place), Ok(reply));
    }

    fn gaps(&mut self) -> Vec<(u16, GapReason)> {
        std::iter::from_fn(|| self.session.poll_update())
            .filter_map(|update| match update.body {
                Body::Gap(gap) => Some((update.instrument.0, gap.reason)),
                _ => None,
            })
            .collect()
    }

    /// Lets time pass, timer by timer; gives what was to be sent and when.
    fn run(&mut self, nanoseconds: u64) -> Vec<(u64, Transmit)> {
        let until = self.now.plus(nanoseconds);
        let from = self.now;
        let mut sent = Vec::new();
        for _ in 0..100_000 {
            match self.session.poll_timeout() {
                Some((at, _)) if at <= until => self.now = self.now.max(at),
                _ => {
                    self.now = until;
                    return sent;
                }
            }
            let before = (self.session.poll_timeout(), self.session.status().state);
            self.session.handle_timeout(self.now);
            let passed = self.now.0 - from.0;
            let fresh = self.transmits();
            let moved = before != (self.session.poll_timeout(), self.session.status().state);
            assert!(
                moved || !fresh.is_empty(),
                "a timer that does nothing: {before:?}"
            );
            sent.extend(fresh.into_iter().map(|transmit| (passed, transmit)));
        }
        panic!("timers never rest");
    }
}

const BODY: &str = r#"{"lastUpdateId":10,"bids":[["9","1"]],"asks":[["11","1"]]}"#;

fn diff(symbol: &str, first: u64, last: u64) -> String {
    format!(
        r#"{{"stream":"x@depth@100ms","data":{{"e":"depthUpdate","E":1,"s":"{symbol}","U":{first},"u":{last},"b":[["9","2"]],"a":[]}}}}"#
    )
}

fn requests(sent: &[(u64, Transmit)]) -> Vec<(u64, usize)> {
    sent.iter()
        .filter_map(|(at, transmit)| match transmit {
            Transmit::Request {
                purpose: Purpose::Snapshot(place),
                ..
            } => Some((*at, *place)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_new_session_connects_at_once_and_asks_for_its_snapshot_once() {
    let mut world = World::new(Venue::Binance, Channel::All, &["BTCUSDT"], 1);
    assert!(
        world
            .session
            .poll_timeout()
            .is_some_and(|(at, _)| at <= START)
    );
    let sent = world.run(SECONDS);
    assert!(
        matches!(sent[..], [(0, Transmit::Connect { .. })]),
        "{sent:?}"
    );
    world.session.handle_connected(world.now);
    world.frame(&diff("BTCUSDT", 9, 12));
    let sent = world.run(5 * SECONDS);
    let asked = requests(&sent);
    assert_eq!(asked.len(), 1);
    assert!(
        (250 * MILLIS..=500 * MILLIS).contains(&asked[0].0),
        "after the first diffs"
    );
    let url = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000";
    assert!(matches!(&sent[0].1, Transmit::Request { url: at, post: false, .. } if at == url));
    world.reply(0, 200, BODY);
    let depths = std::iter::from_fn(|| world.session.poll_update()).count();
    assert_eq!(depths, 2, "the snapshot and the diff that waited for it");
    assert_eq!(requests(&world.run(20 * SECONDS)), []);
    assert_eq!(world.session.status().resyncs, 1);
}

#[test]
fn failures_wait_longer_and_longer_up_to_a_minute_at_random() {
    let waits = |seed| {
        let mut world = World::new(Venue::Binance, Channel::All, &["BTCUSDT"], seed);
        let mut waits = Vec::new();
        for _ in 0..200 {
            world.run(0);
            world.session.handle_timeout(world.now);
            world.session.handle_disconnected(world.now, "refused");
            let (until, _) = world.session.poll_timeout().expect("a wait");
            waits.push(until.0 - world.now.0);
            world.now = until;
        }
        assert_eq!(
            world.gaps(),
            [],
            "nothing was connected, so nothing was lost"
        );
        waits
    };
    let one = waits(1);
    assert_eq!(one, waits(1), "the seed decides");
    assert_ne!(one, waits(2));
    assert!(
        one.iter()
            .all(|wait| (200 * MILLIS..=MINUTES).contains(wait))
    );
    assert!(one[0] <= SECONDS && one[1] <= 2 * SECONDS);
    let mean = one[10..].iter().sum::<u64>() / 190;
    assert!(
        (20 * SECONDS..40 * SECONDS).contains(&mean),
        "full jitter: {mean}"
    );
}

#[test]
fn a_healthy_minute_clears_the_record() {
    let mut world = World::new(Venue::Coinbase, Channel::All, &["BTC-USD"], 3);
    for _ in 0..10 {
        let (until, _) = world.session.poll_timeout().expect("a wait");
        world.now = world.now.max(until);
        world.session.handle_timeout(world.now);
        world.session.handle_disconnected(world.now, "refused");
    }
    let (until, _) = world.session.poll_timeout().expect("a wait");
    world.now = until;
    world.session.handle_timeout(world.now);
    world.session.handle_connected(world.now);
    world.now = world.now.plus(MINUTES);
    world.session.handle_disconnected(world.now, "reset");
    let (until, _) = world.session.poll_timeout().expect("a wait");
    assert!(until <= world.now.plus(SECONDS));
    assert_eq!(world.session.status().why, "reset");
}

#[test]
fn the_end_of_a_connection_costs_every_book_and_nothing_of_it_is_sent() {
    let mut world = World::open(Venue::Binance, &["BTCUSDT", "ETHUSDT"]);
    world.run(SECONDS);
    world.reply(0, 200, BODY);
    world.gaps();
    world.session.resync(world.now, InstrumentId(0));
    world
        .session
        .handle_disconnected(world.now, "reset by peer");
    let lost = [(0, GapReason::Disconnected), (1, GapReason::Disconnected)];
    assert_eq!(world.gaps(), lost);
    assert_eq!(world.session.status().state, "waiting");
    // An answer from before is not taken for one of the next connection.
    world.reply(1, 200, BODY);
    assert_eq!(world.session.poll_update(), None);
    let sent = world.run(2 * SECONDS);
    assert!(
        matches!(sent[..], [(_, Transmit::Connect { .. })]),
        "{sent:?}"
    );
    world.session.handle_connected(world.now);
    assert_eq!(requests(&world.run(SECONDS)).len(), 2);
    assert_eq!(world.session.status().reconnects, 1);
}

#[test]
fn silence_closes_the_connection_and_says_so_first() {
    let mut world = World::open(Venue::Coinbase, &["BTC-USD"]);
    world.run(10 * SECONDS);
    world.session.handle_ping(world.now);
    world.run(14 * SECONDS);
    assert_eq!(
        world.session.status().state,
        "open",
        "a ping is a sign of life"
    );
    world.transmits();
    let sent = world.run(SECONDS);
    assert_eq!(world.gaps(), [(0, GapReason::Silent)]);
    assert!(
        matches!(sent[..], [(_, Transmit::Close { .. })]),
        "{sent:?}"
    );
    assert_eq!(world.session.status().state, "closing");
    // Nobody confirms: it is given up.
    world.run(5 * SECONDS);
    assert_eq!(world.session.status().state, "waiting");
    assert_eq!(world.gaps(), [(0, GapReason::Disconnected)]);
}

#[test]
fn a_quiet_binance_connection_is_kept_by_its_probe() {
    let mut world = World::live();
    for _ in 0..6 {
        let sent = world.run(30 * SECONDS);
        assert!(matches!(&sent[..], [(_, Transmit::Send(frame))] if frame.contains("LIST_SUB")));
        world.frame(r#"{"result":["btcusdt@trade"],"id":1}"#);
    }
    assert_eq!(world.session.status().state, "open");
}

#[test]
fn a_connection_is_renewed_before_the_venue_cuts_it() {
    let mut world = World::open(Venue::Binance, &["BTCUSDT"]);
    let opened = world.now;
    world.run(SECONDS);
    world.reply(0, 200, BODY);
    let mut id = 11;
    let closed = loop {
        let sent = world.run(20 * SECONDS);
        world.frame(&diff("BTCUSDT", id, id));
        id += 1;
        if let Some((_, Transmit::Close { reason })) = sent.last() {
            assert!(reason.contains("renewed"));
            break world.now;
        }
        assert_eq!(world.gaps(), []);
    };
    let hours = (closed.0 - opened.0) as f64 / (60 * MINUTES) as f64;
    assert!((22.5..23.1).contains(&hours), "{hours}");
    world.session.handle_disconnected(world.now, "closed");
    let sent = world.run(SECONDS);
    assert!(
        matches!(sent[..], [(_, Transmit::Connect { .. })]),
        "at once: {sent:?}"
    );
}

#[test]
fn a_snapshot_that_does_not_come_is_asked_for_again_one_at_a_time() {
    let mut world = World::open(Venue::Binance, &["BTCUSDT"]);
    let mut asked = Vec::new();
    for _ in 0..30 {
        asked.extend(
            requests(&world.run(10 * SECONDS))
                .iter()
                .map(|_| world.now.0),
        );
        world.frame(r#"{"result":null,"id":1}"#);
    }
    assert!((4..=20).contains(&asked.len()), "{}", asked.len());
    assert!(asked.is_sorted_by(|a, b| b - a >= 10 * SECONDS));
    // A failed request, a refusal and an unreadable reply are tried again as well.
    let failed = Err("timed out".to_owned());
    let mut world = World::open(Venue::Binance, &["BTCUSDT"]);
    world.run(SECONDS);
    world
        .session
        .handle_reply(world.now, Purpose::Snapshot(0), failed);
    assert_eq!(requests(&world.run(3 * SECONDS)).len(), 1);
    world.reply(0, 400, r#"{"code":-1121,"msg":"Invalid symbol."}"#);
    assert_eq!(requests(&world.run(5 * SECONDS)).len(), 1);
    world.reply(0, 200, "<html>");
    assert_eq!(requests(&world.run(9 * SECONDS)).len(), 1);
    let status = world.session.status();
    assert_eq!((status.parse_errors, status.refusals), (1, 1));
    assert_eq!(
        status.refused[0],
        r#"status 400: {"code":-1121,"msg":"Invalid symbol."}"#
    );
    assert_eq!(world.gaps(), [], "the book was never there to be lost");
}

#[test]
fn a_snapshot_older_than_the_diffs_is_asked_for_again_and_the_diffs_wait() {
    let mut world = World::open(Venue::Binance, &["BTCUSDT"]);
    world.frame(&diff("BTCUSDT", 12, 13));
    world.frame(&diff("BTCUSDT", 14, 15));
    world.run(SECONDS);
    world.reply(0, 200, BODY);
    assert_eq!(world.gaps(), [(0, GapReason::Sequence)]);
    assert_eq!(requests(&world.run(3 * SECONDS)).len(), 1);
    world.reply(0, 200, &BODY.replace("10", "13"));
    assert_eq!(world.gaps(), []);
    assert_eq!(
        world.session.reader().listings()[0].sync.last(),
        15,
        "14 to 15 was kept"
    );
}

#[test]
fn too_many_requests_pauses_every_refresh_for_as_long_as_the_venue_says() {
    let mut world = World::open(Venue::Binance, &["A", "B", "C"]);
    assert_eq!(requests(&world.run(SECONDS)).len(), 3);
    for (status, retry_after_s) in [(429, Some(90)), (418, Some(120))] {
        let reply = Reply {
            status,
            retry_after_s,
            body: "",
        };
        let purpose = Purpose::Snapshot(0);
        world.session.handle_reply(world.now, purpose, Ok(reply));
    }
    for (place, paused) in [(1, 90), (2, 60)] {
        let reply = Reply {
            status: 429,
            retry_after_s: Some(paused),
            body: "",
        };
        let purpose = Purpose::Snapshot(place);
        world.session.handle_reply(world.now, purpose, Ok(reply));
    }
    for _ in 0..8 {
        assert_eq!(requests(&world.run(10 * SECONDS)), [], "{:?}", world.now);
        world.frame(r#"{"result":null,"id":1}"#);
    }
    assert_eq!(requests(&world.run(15 * SECONDS)).len(), 3);
}

#[test]
fn many_lost_books_come_back_through_a_token_bucket() {
    let symbols: Vec<String> = (0..20).map(|i| format!("S{i}USDT")).collect();
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let mut world = World::open(Venue::Binance, &symbols);
    assert_eq!(
        requests(&world.run(SECONDS)).len(),
        5,
        "the bucket's capacity"
    );
    for second in 1..=10 {
        for place in 0..20 {
            world.reply(place, 200, BODY);
        }
        let asked = requests(&world.run(2 * SECONDS));
        assert_eq!(asked.len(), 1, "{second}");
        world.frame(r#"{"result":null,"id":1}"#);
    }
}

#[test]
fn a_book_that_falls_silent_while_the_connection_talks_is_asked_for_again() {
    let mut world = World::live();
    let mut gaps = Vec::new();
    let mut asked = 0;
    let quote = r#"{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"9","B":"1","a":"11","A":"1"}}"#;
    for minute in 0..6 {
        world.frame(quote);
        asked += requests(&world.run(MINUTES - SECONDS)).len();
        world.frame(quote);
        asked += requests(&world.run(SECONDS)).len();
        gaps.extend(world.gaps());
        assert_eq!(asked > 0, minute >= 5, "{minute}");
    }
    assert_eq!(gaps, [(0, GapReason::Silent)]);
    assert_eq!(world.session.status().state, "open");
}

#[test]
fn an_unreadable_frame_costs_one_book_and_no_connection() {
    let mut world = World::open(Venue::Binance, &["BTCUSDT", "ETHUSDT"]);
    world.run(SECONDS);
    world.reply(0, 200, BODY);
    world.reply(1, 200, BODY);
    world.gaps();
    world.frame(r#"{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpd"#);
    assert_eq!(world.gaps(), [(1, GapReason::Unparsable)]);
    let sent = world.run(SECONDS);
    assert_eq!(
        requests(&sent)
            .iter()
            .map(|(_, place)| *place)
            .collect::<Vec<_>>(),
        [1]
    );
    let status = world.session.status();
    assert_eq!((status.state, status.parse_errors), ("open", 1));
    assert!(status.last_error.is_some());
}

#[test]
fn a_sequence_gap_asks_for_that_book_alone_and_keeps_the_diff() {
    let mut world = World::live();
    world.frame(&diff("BTCUSDT", 11, 12));
    world.frame(&diff("BTCUSDT", 14, 15));
    assert_eq!(world.gaps(), [(0, GapReason::Sequence)]);
    assert_eq!(requests(&world.run(SECONDS)).len(), 1);
    world.reply(0, 200, &BODY.replace("10", "14"));
    assert_eq!(world.session.reader().listings()[0].sync.last(), 15);
}

#[test]
fn the_engine_may_ask_for_a_book() {
    let mut world = World::live();
    world.session.resync(world.now, InstrumentId(0));
    assert_eq!(world.gaps(), [], "the engine has said it already");
    assert_eq!(requests(&world.run(SECONDS)).len(), 1);
    world.session.resync(world.now, InstrumentId(9));
}

#[test]
fn a_feed_with_snapshots_in_the_stream_is_subscribed_anew() {
    let mut world = World::open(Venue::CoinbaseAdvanced, &["BTC-USD", "ETH-USD"]);
    let beat = |number: u64| {
        format!(
            r#"{{"channel":"heartbeats","sequence_num":{number},"events":[{{"heartbeat_counter":{number}}}]}}"#
        )
    };
    let snapshot = r#"{"channel":"l2_data","timestamp":"2026-08-24T22:34:13Z","sequence_num":0,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[]}]}"#;
    world.frame(snapshot);
    let mut sent = Vec::new();
    for number in 1..=17 {
        world.frame(&beat(number));
        sent.extend(world.run(SECONDS));
    }
    // Only the book whose first snapshot is overdue.
    let frames: Vec<_> = sent.into_iter().map(|(_, transmit)| transmit).collect();
    let expected = ["unsubscribe", "subscribe"].map(|action| {
        Transmit::Send(format!(
            r#"{{"channel":"level2","product_ids":["ETH-USD"],"type":"{action}"}}"#
        ))
    });
    assert_eq!(frames, expected);
    // A hole in the connection's numbers costs both.
    world.gaps();
    world.frame(&beat(30));
    let lost = [(0, GapReason::Sequence), (1, GapReason::Sequence)];
    assert_eq!(world.gaps(), lost);
    let again = world.run(SECONDS);
    assert_eq!(
        again.len(),
        2,
        "the other one is still being asked for: {again:?}"
    );
}

#[test]
fn what_nobody_takes_is_dropped_and_said_to_be_lost() {
    let mut world = World::live();
    for id in 0..=MAX_PENDING as u64 {
        world.frame(&diff("BTCUSDT", 11 + id, 11 + id));
        assert!(world.session.reader().pending() <= MAX_PENDING);
    }
    assert_eq!(world.gaps(), [(0, GapReason::Overflow)]);
    // The same when the caller's channel is full.
    let mut world = World::live();
    world.frame(&diff("BTCUSDT", 11, 11));
    world.session.overflow(world.now);
    world.session.overflow(world.now);
    let first = world.session.poll_update().map(|update| update.body);
    assert_eq!(first, Some(Body::Gap(Gap::of(GapReason::Overflow))));
    assert_eq!(world.session.poll_update(), None);
    assert_eq!(requests(&world.run(SECONDS)).len(), 1);
}

#[test]
fn a_connection_without_books_has_no_gaps() {
    let mut world = World::new(Venue::BinanceUsdm, Channel::Market, &["BTCUSDT"], 1);
    world.session.handle_timeout(world.now);
    world.session.handle_connected(world.now);
    world.transmits();
    world.frame("garbage");
    world.session.overflow(world.now);
    world.session.resync(world.now, InstrumentId(0));
    let sent = world.run(20 * MINUTES);
    assert_eq!(requests(&sent), []);
    assert!(
        matches!(sent[2], (_, Transmit::Close { .. })),
        "silent: {sent:?}"
    );
    world.session.handle_disconnected(world.now, "x");
    assert_eq!(world.gaps(), []);
    assert_eq!(world.session.status().parse_errors, 1);
}

#[test]
fn a_venue_that_shuts_down_is_left_at_once() {
    let mut world = World::live();
    world.frame(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#);
    assert!(matches!(world.transmits()[..], [Transmit::Close { .. }]));
    world.session.handle_disconnected(world.now, "closed");
    assert_eq!(world.gaps(), [(0, GapReason::Disconnected)]);
    let sent = world.run(SECONDS);
    assert!(matches!(sent[..], [(_, Transmit::Connect { .. })]));
    // Its last frames, read late, are of no connection.
    world.frame(&diff("BTCUSDT", 11, 11));
    assert_eq!(world.session.poll_update(), None);
}

#[test]
fn a_connection_that_does_not_come_is_given_up() {
    let mut world = World::new(Venue::Coinbase, Channel::All, &["BTC-USD"], 1);
    world.run(0);
    world.transmits();
    let sent = world.run(20 * SECONDS);
    assert!(
        matches!(sent[..], [(_, Transmit::Close { .. })]),
        "{sent:?}"
    );
    assert_eq!(world.session.status().state, "waiting");
    world.session.handle_connected(world.now);
    assert!(
        matches!(world.transmits()[..], [Transmit::Close { .. }]),
        "too late"
    );
}

const TOKEN: &str = r#"{"code":"200000","data":{"token":"abc","instanceServers":[{"endpoint":"wss://ws-api.example/","encrypt":true,"protocol":"websocket","pingInterval":18000,"pingTimeout":10000}]}}"#;

fn token_reply(world: &mut World, status: u16, body: &str) {
    let reply = Reply {
        status,
        retry_after_s: None,
        body,
    };
    world
        .session
        .handle_reply(world.now, Purpose::Token, Ok(reply));
}

#[test]
fn a_token_comes_before_the_connection_and_a_welcome_before_the_subscriptions() {
    let mut world = World::new(Venue::Kucoin, Channel::All, &["BTC-USDT"], 1);
    let sent = world.run(0);
    let asks = |sent: &[(u64, Transmit)]| {
        let [(_, Transmit::Request { purpose, post, .. })] = sent else {
            panic!("{sent:?}");
        };
        assert_eq!((*purpose, *post), (Purpose::Token, true));
    };
    asks(&sent);
    token_reply(&mut world, 503, "busy");
    assert_eq!(world.session.status().refused, ["status 503: busy"]);
    asks(&world.run(2 * SECONDS));
    token_reply(&mut world, 200, "{}");
    assert_eq!(world.session.status().parse_errors, 1);
    asks(&world.run(4 * SECONDS));
    token_reply(&mut world, 200, TOKEN);
    let transmits = world.transmits();
    assert!(
        matches!(&transmits[..], [Transmit::Connect { url }] if url.contains("token=abc")),
        "{transmits:?}"
    );
    world.session.handle_connected(world.now);
    assert_eq!(world.transmits(), []);
    world.frame(r#"{"id":"x","type":"welcome"}"#);
    let subscriptions = world.transmits();
    assert!(!subscriptions.is_empty());
    assert!(
        subscriptions
            .iter()
            .all(|transmit| matches!(transmit, Transmit::Send(_)))
    );
    world.frame(r#"{"id":"x","type":"welcome"}"#);
    assert_eq!(world.transmits(), [], "once a connection");
    let sent = world.run(20 * SECONDS);
    assert!(!requests(&sent).is_empty());
    assert!(
        sent.iter()
            .any(|(_, t)| matches!(t, Transmit::Send(frame) if frame.contains("ping")))
    );
}

#[test]
fn a_venue_that_does_not_welcome_is_left() {
    let mut world = World::new(Venue::Kucoin, Channel::All, &["BTC-USDT"], 1);
    world.run(0);
    token_reply(&mut world, 200, TOKEN);
    world.session.handle_connected(world.now);
    world.transmits();
    let sent = world.run(10 * SECONDS);
    assert!(
        matches!(sent[..], [(_, Transmit::Close { reason })] if reason.contains("welcome")),
        "{sent:?}"
    );
}
