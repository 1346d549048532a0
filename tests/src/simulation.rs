//! One seed drives world, faults and edge in virtual time, without sockets.
//!
//! Four simulated venues misbehave on schedule while the edge's own sessions, desk and engine trade
//! on them over a pretended network with delays. When the faults are over and the market stands
//! still, every book must equal the truth or be stale with a reason; no order may ever have come
//! from a stale book; the ledger must conserve; and folding the journal again must give the same
//! state. `TICKERML_SEED=n cargo test -p tests simulation` repeats a failure.

use std::collections::{BTreeMap, VecDeque};

use tickerml_edge::config;
use tickerml_edge::desk::{Desk, Effect};
use tickerml_edge::policy::Policy;
use tickerml_edge::recovery;
use tickerml_edge::run::hex;
use tickerml_edge::venue::session::{Channel, Session};
use tickerml_edge::venue::{Endpoint, Purpose, Reply, Transmit};
use tickerml_shared::book::State;
use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{Record, Side};
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::features::indicators::Indicator;
use tickerml_shared::instrument::{Instrument, Venue};
use tickerml_shared::record::{Decoder, Encoder};
use tickerml_shared::time::{MILLIS, SECONDS, Time};
use tickerml_sim::{
    ConnId, Exchange, ExchangeConfig, FaultSchedule, HttpReply, ServerFrame, VenueKind,
};

/// Virtual time goes forward in such steps.
const STEP_NS: u64 = 5 * MILLIS;
/// One way through the network.
const WIRE_NS: u64 = 7 * MILLIS;
/// How long faults happen.
const STORM_NS: u64 = 90 * SECONDS;
/// How long the market stands still before books are compared: longer than every silence timer that
/// a half-open socket must trip, and the back-off after it.
const CALM_NS: u64 = 240 * SECONDS;
pub(crate) const START_NS: u64 = 1_790_000_000 * SECONDS;

/// What travels from a venue to the edge.
enum Inbound {
    Connected(ConnId),
    Refused,
    Frame(ConnId, ServerFrame),
    Reply(Purpose, HttpReply),
}

/// A connection of the edge to a simulated venue, with the network between.
struct Link {
    kind: VenueKind,
    session: Session,
    conn: Option<ConnId>,
    inbound: VecDeque<(u64, Inbound)>,
}

/// World, network, sessions and desk.
pub(crate) struct Simulation {
    exchange: Exchange,
    links: Vec<Link>,
    pub(crate) desk: Desk,
    /// The true time.
    pub(crate) now: u64,
    /// How far the edge's clock is from it.
    pub(crate) skew_ns: i64,
    next_conn: ConnId,
    journal: Vec<(u64, u32, Vec<u8>)>,
    live_orders: u64,
    fills: u64,
    gaps: BTreeMap<&'static str, u64>,
}

fn kind_of(venue: Venue) -> VenueKind {
    match venue {
        Venue::Binance | Venue::BinanceUs => VenueKind::Binance,
        Venue::CoinbaseAdvanced => VenueKind::Coinbase,
        Venue::Kraken => VenueKind::Kraken,
        Venue::Kucoin | Venue::KucoinUta => VenueKind::Kucoin,
        other => panic!("{other} is not simulated"),
    }
}

/// The shipped configuration, with KuCoin's Classic or unified feed.
pub(crate) fn setup(kucoin: Venue) -> Setup {
    let path = crate::root().join("config/edge.toml");
    let mut setup = config::load(&path)
        .expect("the shipped configuration")
        .setup;
    for instrument in &mut setup.instruments {
        if instrument.venue == Venue::KucoinUta {
            instrument.venue = kucoin;
        }
    }
    for (venue, _) in &mut setup.costs {
        if *venue == Venue::KucoinUta {
            *venue = kucoin;
        }
    }
    setup
}

/// A connection to each venue, before it is dialled.
fn links(setup: &Setup) -> Vec<Link> {
    let mut venues: Vec<Venue> = setup.instruments.iter().map(|i| i.venue).collect();
    venues.dedup();
    venues
        .into_iter()
        .map(|venue| {
            let ids = (0_u16..).map(tickerml_shared::instrument::InstrumentId);
            let own = ids.zip(setup.instruments.iter().cloned());
            let own: Vec<_> = own.filter(|(_, i)| i.venue == venue).collect();
            let path = match venue {
                Venue::Kraken => "/v2",
                Venue::KucoinUta => "/uta",
                _ => "",
            };
            let endpoint = Endpoint {
                ws: format!("wss://{venue}.test{path}"),
                rest: format!("https://{venue}.test"),
            };
            let session = Session::new(venue, Channel::All, endpoint, own, setup.seed);
            Link {
                kind: kind_of(venue),
                session,
                conn: None,
                inbound: VecDeque::new(),
            }
        })
        .collect()
}

impl Simulation {
    fn new(seed: u64, kucoin: Venue, faults: bool) -> Self {
        let setup = Setup {
            seed,
            ..setup(kucoin)
        };
        Self::with_setup(setup, faults)
    }

    /// A simulation of this edge; its seed is the world's too.
    pub(crate) fn with_setup(setup: Setup, faults: bool) -> Self {
        let seed = setup.seed;
        let mut exchange_config = ExchangeConfig::new(seed, START_NS);
        if faults {
            exchange_config.faults = FaultSchedule::demo(seed);
        }
        let mut exchange = Exchange::new(exchange_config);
        exchange
            .server_mut(VenueKind::Kucoin)
            .set_endpoint("wss://kucoin.test/");
        let links = links(&setup);
        let engine = Engine::new(setup);
        let mut desk = Desk::new(
            engine,
            0,
            Policy::Imbalance,
            SECONDS,
            10 * MILLIS,
            Time(START_NS),
        );
        desk.start();
        Self {
            exchange,
            links,
            desk,
            now: START_NS,
            skew_ns: 0,
            next_conn: 1,
            journal: Vec::new(),
            live_orders: 0,
            fills: 0,
            gaps: BTreeMap::new(),
        }
    }

    /// The time on the edge's clock.
    pub(crate) fn edge_now(&self) -> Time {
        Time(self.now.saturating_add_signed(self.skew_ns))
    }

    /// The edge's process ended and another began: every connection is gone.
    pub(crate) fn restart(&mut self, desk: Desk) {
        for link in &self.links {
            if let Some(conn) = link.conn {
                self.exchange.server_mut(link.kind).disconnected(conn);
            }
        }
        self.links = links(desk.engine().setup());
        self.desk = desk;
    }

    /// One step of everything. The world lives only while `moving`.
    fn step(&mut self, moving: bool) {
        self.step_world(moving);
        self.turn();
    }

    /// One step of the world and the network, up to the desk's door.
    pub(crate) fn step_world(&mut self, moving: bool) {
        self.now += STEP_NS;
        if moving {
            self.exchange.advance(self.now);
        } else {
            for kind in VenueKind::ALL {
                self.exchange.server_mut(kind).handle_timeout(self.now);
            }
        }
        self.collect_from_venues();
        for place in 0..self.links.len() {
            self.deliver(place);
        }
    }

    fn collect_from_venues(&mut self) {
        for kind in VenueKind::ALL {
            let server = self.exchange.server_mut(kind);
            while let Some((conn, frame)) = server.poll_transmit() {
                let link = self.links.iter_mut().find(|link| link.conn == Some(conn));
                if let Some(link) = link {
                    link.inbound
                        .push_back((self.now + WIRE_NS, Inbound::Frame(conn, frame)));
                }
            }
        }
    }

    /// What arrives at the edge now, and what the session does about it.
    fn deliver(&mut self, place: usize) {
        let now = self.edge_now();
        let link = &mut self.links[place];
        let mut later = VecDeque::new();
        while let Some((at, inbound)) = link.inbound.pop_front() {
            if at > self.now {
                later.push_back((at, inbound));
                continue;
            }
            match inbound {
                Inbound::Connected(conn) if link.conn == Some(conn) => {
                    link.session.handle_connected(now);
                }
                Inbound::Refused => link.session.handle_disconnected(now, "refused"),
                Inbound::Reply(purpose, reply) => {
                    let body = &reply.body;
                    let (status, retry_after_s) = (reply.status, reply.retry_after);
                    link.session.handle_reply(
                        now,
                        purpose,
                        Ok(Reply {
                            status,
                            retry_after_s,
                            body,
                        }),
                    );
                }
                Inbound::Frame(conn, frame) if link.conn == Some(conn) => match frame {
                    ServerFrame::Text(text) => link.session.handle_frame(now, &text),
                    ServerFrame::Binary(bytes) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        link.session.handle_frame(now, &text);
                    }
                    ServerFrame::Ping(_) => {
                        link.session.handle_ping(now);
                        self.exchange
                            .server_mut(link.kind)
                            .handle_pong(conn, self.now);
                    }
                    ServerFrame::Close { .. } | ServerFrame::Drop => {
                        link.conn = None;
                        link.session.handle_disconnected(now, "closed by the venue");
                    }
                    ServerFrame::Freeze => {}
                },
                Inbound::Connected(_) | Inbound::Frame(..) => {}
            }
        }
        link.inbound = later;
        if link.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
            link.session.handle_timeout(now);
        }
        self.transmit(place);
        let link = &mut self.links[place];
        while let Some(update) = link.session.poll_update() {
            self.desk.push(update, now);
        }
    }

    fn transmit(&mut self, place: usize) {
        let now = self.edge_now();
        let link = &mut self.links[place];
        while let Some(transmit) = link.session.poll_transmit() {
            let server = self.exchange.server_mut(link.kind);
            let there_and_back = self.now + 2 * WIRE_NS;
            match transmit {
                Transmit::Connect { url } => {
                    let conn = self.next_conn;
                    self.next_conn += 1;
                    let arrival = match server.connect(conn, target(&url), self.now) {
                        Ok(()) => {
                            link.conn = Some(conn);
                            Inbound::Connected(conn)
                        }
                        Err(_) => Inbound::Refused,
                    };
                    link.inbound.push_back((there_and_back, arrival));
                }
                Transmit::Send(text) => {
                    if let Some(conn) = link.conn {
                        server.handle_frame(conn, &text, self.now);
                    }
                }
                Transmit::Request { purpose, post, url } => {
                    let method = if post { "POST" } else { "GET" };
                    let reply = server.handle_http(method, target(&url), self.now);
                    let at = there_and_back + reply.delay_ns;
                    link.inbound.push_back((at, Inbound::Reply(purpose, reply)));
                }
                Transmit::Close { reason } => {
                    if let Some(conn) = link.conn.take() {
                        server.disconnected(conn);
                    }
                    link.session.handle_disconnected(now, reason);
                }
            }
        }
    }

    /// The desk's turn, as the run loop does it, with the journal in memory.
    fn turn(&mut self) {
        let now = self.edge_now();
        let mut records = Vec::new();
        loop {
            records.clear();
            self.desk.collect(now, &mut records);
            self.write(&records);
            for record in &records {
                self.fold(record);
            }
            let mut idle = records.is_empty();
            while let Some(record) = self.desk.poll_durable(now) {
                self.write(std::slice::from_ref(&record));
                self.fold(&record);
                idle = false;
            }
            if idle {
                break;
            }
        }
    }

    fn write(&mut self, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        let mut encoder = Encoder::new(Vec::new());
        records.iter().for_each(|record| encoder.push(record));
        self.journal.push(encoder.finish());
    }

    pub(crate) fn fold(&mut self, record: &Record) {
        let now = self.edge_now();
        self.desk.fold(record, || now);
        assert_eq!(
            self.desk.engine().ledger().check(),
            Ok(()),
            "the ledger conserves"
        );
        while let Some(effect) = self.desk.poll_effect() {
            match effect {
                Effect::Verdict { decision, verdict } => {
                    let live = self.desk.engine().cells()[decision.instrument.index()]
                        .book
                        .is_live();
                    assert!(live || verdict.is_err(), "an order came from a stale book");
                    self.live_orders += u64::from(verdict.is_ok());
                }
                Effect::Gap {
                    instrument,
                    gap,
                    found,
                } => {
                    *self.gaps.entry(gap.reason.name()).or_default() += 1;
                    if found {
                        for link in &mut self.links {
                            link.session.resync(now, instrument);
                        }
                    }
                }
                Effect::History(instrument, timeframe) => {
                    for link in &mut self.links {
                        link.session.history(now, instrument, timeframe);
                    }
                }
                Effect::Booked { .. } => self.fills += 1,
                Effect::Settled(_)
                | Effect::Missed(_)
                | Effect::Toxic(_)
                | Effect::Arbitrage(_)
                | Effect::Funding(_)
                | Effect::Drift(..)
                | Effect::Quality(_) => {}
            }
        }
    }

    fn run(&mut self) {
        while self.now < START_NS + STORM_NS {
            self.step(true);
        }
        self.exchange.calm(self.now);
        while self.now < START_NS + STORM_NS + CALM_NS {
            self.step(false);
        }
    }

    /// Compares every book with the venue's own. Returns how many are live.
    fn compare(&self) -> usize {
        let engine = self.desk.engine();
        let mut live = 0;
        for (cell, instrument) in engine.cells().iter().zip(&engine.setup().instruments) {
            if let State::Stale { .. } = cell.book.state() {
                continue;
            }
            live += 1;
            let server = self.exchange.server(kind_of(instrument.venue));
            let truth = server.truth(&instrument.symbol).expect("listed");
            for (side, mut want) in [(Side::Buy, truth.bids), (Side::Sell, truth.asks)] {
                want.truncate(usize::from(instrument.depth.unwrap_or(u16::MAX)));
                let got: Vec<_> = cell
                    .book
                    .ladder(side)
                    .map(|l| text(instrument, l))
                    .collect();
                assert_eq!(
                    got, want,
                    "{} {} {side:?}",
                    instrument.venue, instrument.symbol
                );
            }
        }
        live
    }

    /// Folds the journal from the beginning; gives the state's fingerprint.
    fn refold(&self) -> [u8; 32] {
        let mut engine = Engine::new(self.desk.engine().setup().clone());
        for (first_seq, count, bytes) in &self.journal {
            for record in Decoder::new(*first_seq, *count, bytes) {
                recovery::apply(&mut engine, &record.expect("what was encoded"));
            }
        }
        engine.state_hash()
    }
}

fn text(instrument: &Instrument, level: tickerml_shared::event::Level) -> (String, String) {
    (
        instrument.price_text(level.price).to_string(),
        instrument.qty_text(level.qty).to_string(),
    )
}

/// Path and query of an address.
fn target(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

fn seeds() -> Vec<u64> {
    match std::env::var("TICKERML_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => vec![seed],
        None => vec![1, 2, 3],
    }
}

#[test]
fn every_book_equals_the_truth_or_is_stale_with_a_reason() {
    for seed in seeds() {
        for kucoin in [Venue::Kucoin, Venue::KucoinUta] {
            let mut simulation = Simulation::new(seed, kucoin, true);
            simulation.run();
            let live = simulation.compare();
            println!(
                "seed {seed} {kucoin}: {live} of 16 live, gaps {:?}, orders {}, fills {}, injected {:?}",
                simulation.gaps,
                simulation.live_orders,
                simulation.fills,
                simulation.exchange.injected(),
            );
            assert_eq!(live, 16, "seed {seed}: after a calm every book is back");
            assert!(
                simulation.live_orders > 0 && simulation.fills > 0,
                "seed {seed}: it trades"
            );
            assert!(simulation.gaps.len() > 3, "seed {seed}: faults were felt");
            let hash = simulation.desk.engine().state_hash();
            assert_eq!(
                hex(&simulation.refold()),
                hex(&hash),
                "seed {seed}: replay of the journal"
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut simulation = Simulation::new(7, Venue::Kucoin, true);
        while simulation.now < START_NS + 30 * SECONDS {
            simulation.step(true);
        }
        hex(&simulation.desk.engine().state_hash())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_market_without_faults_has_no_gaps() {
    let mut simulation = Simulation::new(11, Venue::Kucoin, false);
    while simulation.now < START_NS + 60 * SECONDS {
        simulation.step(true);
    }
    let gaps: Vec<_> = simulation.gaps.keys().copied().collect();
    assert_eq!(gaps, ["disconnected"], "only the start's own");
    assert_eq!(simulation.gaps["disconnected"], 16);
}

/// Every venue is asked for its own bars, so that long timeframes are known after a minute or two, and
/// again for the bar whose beginning nobody saw.
#[test]
fn long_timeframes_are_known_soon_after_the_start() {
    for kucoin in [Venue::Kucoin, Venue::KucoinUta] {
        let mut simulation = Simulation::new(5, kucoin, false);
        while simulation.now < START_NS + 150 * SECONDS {
            simulation.step(true);
        }
        let engine = simulation.desk.engine();
        for (cell, instrument) in engine.cells().iter().zip(&engine.setup().instruments) {
            for timeframe in &Timeframe::ALL[1..] {
                let values = cell.features().bars().indicators(*timeframe);
                assert!(
                    values.known() > Indicator::COUNT * 9 / 10,
                    "{} {} {}: {values:?}",
                    instrument.venue,
                    instrument.symbol,
                    timeframe.name()
                );
            }
            assert!(cell.features().bars().alpha158().known() > 150);
        }
        let hash = hex(&engine.state_hash());
        assert_eq!(
            hex(&simulation.refold()),
            hash,
            "the bars are in the journal"
        );
    }
}
