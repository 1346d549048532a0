//! One task per connection: moves bytes between a socket and a [`Session`], and updates to the desk.
//!
//! The task never waits for the desk: venues drop slow readers. When the channel is full the
//! updates are lost, and said to be: every book of the connection gets an overflow gap and a new
//! snapshot.

use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use tickerml_shared::event::Update;
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::instrument::{InstrumentId, Venue};
use tickerml_shared::time::Time;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clock;
use crate::net::http::{self, Method};
use crate::net::ws::{self, Payload, Socket};
use crate::net::{Limits, NetError};
use crate::telemetry::Histogram;
use crate::venue::session::{Session, Status};
use crate::venue::{Purpose, Reply, Transmit};

/// Updates that may wait for the desk, over all connections: 1.2 MB, or a snapshot of 1,000 levels
/// of every book at once.
pub const CHANNEL_UPDATES: usize = 2048;
/// Commands that may wait for a connection.
const CHANNEL_COMMANDS: usize = 64;
/// Captured lines that may wait for the disk.
pub const CHANNEL_LINES: usize = 8192;
/// WebSocket pings go out so often, on every connection: some venues demand them, and each pong
/// measures the round trip.
const PING_EVERY: Duration = Duration::from_secs(5);
/// The status for the page is renewed so often.
const STATUS_EVERY_NS: u64 = 250_000_000;
/// Free places the channel must have before a connection that overflowed speaks again.
const ROOM_AFTER_OVERFLOW: usize = CHANNEL_UPDATES / 2;
/// Receive-minus-venue times kept for the percentiles.
const LATENCIES: usize = 512;

/// What the desk can ask of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedCommand {
    /// A book was found wrong: get a snapshot.
    Resync(InstrumentId),
    /// Features look back further than we have listened: get the venue's bars.
    History(InstrumentId, Timeframe),
    /// End.
    Stop,
}

/// A line of a capture: when it came, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Receive stamp, unix nanoseconds.
    pub received_ns: u64,
    /// The frame, or a REST snapshot in its capture form.
    pub text: String,
}

/// How a connection is doing.
#[derive(Clone, Debug)]
pub struct FeedStatus {
    /// Its venue.
    pub venue: Venue,
    /// Where it is connected to.
    pub host: String,
    /// The session's own account.
    pub session: Status,
    /// Bytes of frames received.
    pub bytes: u64,
    /// Newest receive-minus-venue times, in nanoseconds; negative is real.
    latencies: Vec<i64>,
    next_latency: usize,
    /// Newest round trip, in nanoseconds.
    pub round_trip_ns: Option<u64>,
    /// Round trips measured.
    pub round_trips: u64,
    /// Time from a frame at hand to its updates, in nanoseconds.
    pub decode: Histogram,
    /// Updates lost because the desk was behind.
    pub overflowed: u64,
    /// Captured lines lost because the disk was behind.
    pub lines_lost: u64,
}

impl FeedStatus {
    fn new(venue: Venue, host: String) -> Self {
        Self {
            venue,
            host,
            session: Status::default(),
            bytes: 0,
            latencies: Vec::new(),
            next_latency: 0,
            round_trip_ns: None,
            round_trips: 0,
            decode: Histogram::new(),
            overflowed: 0,
            lines_lost: 0,
        }
    }

    fn latency(&mut self, nanoseconds: i64) {
        if self.latencies.len() < LATENCIES {
            self.latencies.push(nanoseconds);
        } else {
            self.latencies[self.next_latency] = nanoseconds;
            self.next_latency = (self.next_latency + 1) % LATENCIES;
        }
    }

    /// The quantile of the newest receive-minus-venue times, in nanoseconds.
    #[must_use]
    pub fn latency_quantile(&self, percent: usize) -> Option<i64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * percent / 100).copied()
    }

    /// The venue's clock minus ours, in nanoseconds: half the round trip should lie between a
    /// frame's stamps, and the rest is the clocks' difference.
    #[must_use]
    pub fn clock_offset_ns(&self) -> Option<i64> {
        let half = i64::try_from(self.round_trip_ns? / 2).ok()?;
        Some(half - self.latency_quantile(50)?)
    }
}

/// The desk's end of a connection.
#[derive(Debug)]
pub struct Feed {
    commands: mpsc::Sender<FeedCommand>,
    status: Arc<Mutex<FeedStatus>>,
    instruments: Vec<InstrumentId>,
    task: tokio::task::JoinHandle<()>,
}

impl Feed {
    /// Whether it carries this instrument's book.
    #[must_use]
    pub fn carries(&self, instrument: InstrumentId) -> bool {
        self.instruments.contains(&instrument)
    }

    /// Asks something of it. A command that does not fit is dropped: the session retries by itself.
    pub fn command(&self, command: FeedCommand) {
        let _ = self.commands.try_send(command);
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> FeedStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends it and waits.
    pub async fn stop(self) {
        let _ = self.commands.send(FeedCommand::Stop).await;
        let _ = self.task.await;
    }
}

/// Starts a connection. Updates go to `updates`; every frame also to `tap`, when there is one.
#[must_use]
pub fn spawn(
    session: Session,
    tls: Arc<ClientConfig>,
    updates: mpsc::Sender<Update>,
    tap: Option<mpsc::Sender<Line>>,
) -> Feed {
    let (commands, inbox) = mpsc::channel(CHANNEL_COMMANDS);
    let status = Arc::new(Mutex::new(FeedStatus::new(session.venue(), String::new())));
    let instruments = session
        .reader()
        .listings()
        .iter()
        .map(|listing| listing.id)
        .collect();
    let task = Task {
        session,
        tls,
        limits: Limits::default(),
        updates,
        tap,
        shown: Arc::clone(&status),
        status: status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
        next_status: Time::UNKNOWN,
        overflowing: false,
    };
    Feed {
        commands,
        status,
        instruments,
        task: tokio::spawn(task.run(inbox)),
    }
}

type Connecting = Pin<Box<dyn Future<Output = Result<Socket, NetError>> + Send>>;
type Requesting = Pin<Box<dyn Future<Output = (Purpose, Result<http::Reply, NetError>)> + Send>>;

struct Task {
    session: Session,
    tls: Arc<ClientConfig>,
    limits: Limits,
    updates: mpsc::Sender<Update>,
    tap: Option<mpsc::Sender<Line>>,
    shown: Arc<Mutex<FeedStatus>>,
    status: FeedStatus,
    next_status: Time,
    overflowing: bool,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<FeedCommand>) {
        let mut socket: Option<Socket> = None;
        let mut connecting: Option<Connecting> = None;
        let mut requests: FuturesUnordered<Requesting> = FuturesUnordered::new();
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.session.handle_timeout(clock::now());
        loop {
            self.transmit(&mut socket, &mut connecting, &mut requests)
                .await;
            self.deliver();
            self.show();
            let wait = self.wait();
            tokio::select! {
                frame = receive(&mut socket) => self.frame(frame, &mut socket),
                connected = dial(&mut connecting) => {
                    connecting = None;
                    self.connected(connected, &mut socket);
                }
                Some((purpose, reply)) = requests.next() => self.reply(purpose, reply),
                command = inbox.recv() => match command {
                    Some(FeedCommand::Resync(instrument)) => {
                        self.session.resync(clock::now(), instrument);
                    }
                    Some(FeedCommand::History(instrument, timeframe)) => {
                        self.session.history(clock::now(), instrument, timeframe);
                    }
                    Some(FeedCommand::Stop) | None => break,
                },
                _ = pings.tick() => self.ping(&mut socket).await,
                () = sleep(wait) => self.session.handle_timeout(clock::now()),
            }
        }
        if let Some(socket) = socket {
            let _ = socket.close().await;
        }
        self.next_status = Time::UNKNOWN;
        self.show();
    }

    /// Time to the session's next deadline.
    fn wait(&self) -> Duration {
        let idle = Duration::from_secs(1);
        let until =
            |(at, _): (Time, &str)| Duration::from_nanos(at.0.saturating_sub(clock::now().0));
        // A connection that overflowed looks again soon, so that its books come back.
        let most = if self.overflowing {
            Duration::from_millis(20)
        } else {
            idle
        };
        self.session.poll_timeout().map_or(most, until).min(most)
    }

    async fn transmit(
        &mut self,
        socket: &mut Option<Socket>,
        connecting: &mut Option<Connecting>,
        requests: &mut FuturesUnordered<Requesting>,
    ) {
        while let Some(transmit) = self.session.poll_transmit() {
            match transmit {
                Transmit::Connect { url } => {
                    self.status.host = host(&url).to_owned();
                    let (tls, limits) = (Arc::clone(&self.tls), self.limits);
                    *connecting = Some(Box::pin(async move {
                        ws::connect(&url, &tls, &limits, clock::now_ns).await
                    }));
                }
                Transmit::Send(text) => {
                    let Some(open) = socket else { continue };
                    if let Err(error) = open.send_text(text).await {
                        *socket = None;
                        self.lost(&error);
                    }
                }
                Transmit::Request { purpose, post, url } => {
                    let (tls, limits) = (Arc::clone(&self.tls), self.limits);
                    let method = if post { Method::Post } else { Method::Get };
                    requests.push(Box::pin(async move {
                        (
                            purpose,
                            http::request(method, &url, &tls, &limits, clock::now_ns).await,
                        )
                    }));
                }
                Transmit::Close { reason } => {
                    *connecting = None;
                    tracing::info!(venue = %self.status.venue, reason, "closing");
                    if let Some(open) = socket.take() {
                        let _ = open.close().await;
                    }
                    self.session.handle_disconnected(clock::now(), reason);
                }
            }
        }
    }

    fn lost(&mut self, error: &NetError) {
        tracing::warn!(venue = %self.status.venue, %error, "connection lost");
        self.session
            .handle_disconnected(clock::now(), &error.to_string());
    }

    fn connected(&mut self, connected: Result<Socket, NetError>, socket: &mut Option<Socket>) {
        match connected {
            Ok(open) => {
                tracing::info!(venue = %self.status.venue, host = open.peer(), "connected");
                *socket = Some(open);
                self.session.handle_connected(clock::now());
            }
            Err(error) => self.lost(&error),
        }
    }

    fn frame(&mut self, frame: Result<ws::Frame, NetError>, socket: &mut Option<Socket>) {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                *socket = None;
                self.lost(&error);
                return;
            }
        };
        let received = Time(frame.received_ns);
        match frame.payload {
            Payload::Text(text) => self.text(received, text.as_str()),
            Payload::Binary(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => self.text(received, text),
                Err(_) => self.text(received, "(binary frame that is not UTF-8)"),
            },
            Payload::Ping(_) => self.session.handle_ping(received),
            Payload::Pong(payload) => {
                self.session.handle_ping(received);
                if let Ok(sent) = <[u8; 8]>::try_from(&payload[..]) {
                    let sent = Time(u64::from_be_bytes(sent));
                    self.status.round_trip_ns = u64::try_from(received.since(sent)).ok();
                    self.status.round_trips += 1;
                }
            }
            Payload::Close { code, reason } => {
                tracing::info!(venue = %self.status.venue, code, reason, "closed by the venue");
            }
        }
    }

    fn text(&mut self, received: Time, text: &str) {
        self.status.bytes += text.len() as u64;
        self.capture(received, || text.to_owned());
        let begun = clock::now();
        self.session.handle_frame(received, text);
        self.status
            .decode
            .record(clock::now().since(begun).unsigned_abs());
    }

    fn capture(&mut self, received: Time, text: impl FnOnce() -> String) {
        if let Some(tap) = &self.tap {
            let line = Line {
                received_ns: received.0,
                text: text(),
            };
            self.status.lines_lost += u64::from(tap.try_send(line).is_err());
        }
    }

    fn reply(&mut self, purpose: Purpose, reply: Result<http::Reply, NetError>) {
        let now = clock::now();
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                self.session
                    .handle_reply(now, purpose, Err(error.to_string()));
                return;
            }
        };
        let Ok(body) = std::str::from_utf8(&reply.body) else {
            self.session
                .handle_reply(now, purpose, Err("the reply is not UTF-8".to_owned()));
            return;
        };
        if let (Purpose::Snapshot(place), 200) = (purpose, reply.status) {
            let symbol = self.session.reader().listings()[place]
                .instrument
                .symbol
                .clone();
            if let Some(text) = self.session.dialect().capture_snapshot(&symbol, body) {
                self.capture(now, || text);
            }
        }
        let reply = Reply {
            status: reply.status,
            retry_after_s: reply.retry_after_s,
            body,
        };
        self.session.handle_reply(now, purpose, Ok(reply));
    }

    async fn ping(&mut self, socket: &mut Option<Socket>) {
        let Some(open) = socket else { return };
        let stamp = clock::now().0.to_be_bytes().to_vec();
        if let Err(error) = open.send_ping(stamp).await {
            *socket = None;
            self.lost(&error);
        }
    }

    /// Hands updates to the desk, or loses them and says so.
    fn deliver(&mut self) {
        if self.overflowing {
            if self.updates.capacity() < ROOM_AFTER_OVERFLOW {
                while self.session.poll_update().is_some() {
                    self.status.overflowed += 1;
                }
                return;
            }
            self.overflowing = false;
            self.session.overflow(clock::now());
        }
        while let Some(update) = self.session.poll_update() {
            if update.venue_time.is_known() {
                self.status
                    .latency(update.received.since(update.venue_time));
            }
            match self.updates.try_send(update) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    tracing::warn!(venue = %self.status.venue, "the desk is behind: books are lost");
                    self.status.overflowed += 1;
                    self.overflowing = true;
                    return;
                }
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }

    fn show(&mut self) {
        let now = clock::now();
        if now >= self.next_status {
            self.next_status = now.plus(STATUS_EVERY_NS);
            self.status.session = self.session.status().clone();
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = self.status.clone();
        }
    }
}

async fn receive(socket: &mut Option<Socket>) -> Result<ws::Frame, NetError> {
    match socket {
        Some(open) => open.next().await,
        None => pending().await,
    }
}

async fn dial(connecting: &mut Option<Connecting>) -> Result<Socket, NetError> {
    match connecting {
        Some(future) => future.as_mut().await,
        None => pending().await,
    }
}

/// Host and port of an address, without path and query: a token may stand there.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_shows_no_token() {
        assert_eq!(
            super::host("wss://a.b:443/endpoint?token=secret"),
            "a.b:443"
        );
    }
}
