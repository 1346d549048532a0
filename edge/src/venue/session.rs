//! The life of a connection to a venue, without the connection.
//!
//! Frames, replies and the time go in; what to do, what happened and when to come back come out.
//! The caller loops: `handle_*` whatever arrived, then drain [`Session::poll_transmit`] and
//! [`Session::poll_update`], then sleep until [`Session::poll_timeout`] and call
//! [`Session::handle_timeout`]. A new session asks to be called at once and then connects.
//!
//! What it keeps true:
//!
//! * A book that may be wrong has said so by a [`Gap`] before anything else is said about it.
//! * One bad book never costs the connection: only that book is asked for again, through a token
//!   bucket, with jitter and back-off, one request in flight a book.
//! * A connection is made anew when it ends, when it is silent, before the venue cuts it, and when
//!   the venue says so; each attempt waits longer, at random, up to a minute.
//! * Nothing grows without bound: what waits here is dropped, and said to be lost, beyond
//!   [`MAX_PENDING`] updates.
//!
//! It does not know what a frame means (that is the [`Dialect`]), nor any socket or clock.

use std::collections::VecDeque;

use tickerml_shared::event::{Gap, GapReason, Update};
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS, Venue};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::{MILLIS, MINUTES, SECONDS, Time};

use super::dialect::{Dialect, Limits};
use super::reader::Reader;
use super::{Cue, Endpoint, Purpose, Reply, Transmit, history};

/// Updates that may wait to be taken. A part of a depth message is about 600 bytes.
pub const MAX_PENDING: usize = 8192;
/// Transmissions that may wait to be taken: a subscription an instrument, several times over.
const MAX_TRANSMITS: usize = 1024;
/// Connecting, or getting a token, takes no longer.
const CONNECT_TIMEOUT: u64 = 20 * SECONDS;
/// The venue's welcome comes no later after connecting.
const WELCOME_TIMEOUT: u64 = 10 * SECONDS;
/// A closed connection is given up for ended after this.
const CLOSE_TIMEOUT: u64 = 5 * SECONDS;
/// The first wait after a failure is at most this long, and each next one twice as long.
const BACKOFF_FIRST: u64 = SECONDS;
/// No wait is longer.
const BACKOFF_MAX: u64 = MINUTES;
/// No wait is shorter, whatever the dice say.
const BACKOFF_MIN: u64 = 200 * MILLIS;
/// A connection that lived this long clears the record of failures.
const HEALTHY_AFTER: u64 = MINUTES;
/// A lost book is asked for again after a random wait up to this, so that a loss of many books, or
/// of one book at many machines, does not ask at once.
const REFRESH_JITTER: u64 = 250 * MILLIS;
/// The first snapshots by REST are asked for so long after subscribing, to be newer than the first
/// diffs.
const FIRST_REQUEST_DELAY: u64 = 250 * MILLIS;
/// The age at which a connection is renewed varies downward by up to this.
const ROTATION_JITTER: u64 = 20 * MINUTES;
/// Pause of all refreshes when a venue says "too many requests" and not for how long.
const DEFAULT_PAUSE: u64 = MINUTES;
/// No pause that a venue asks for is taken to be longer.
const MAX_PAUSE: u64 = 24 * 60 * MINUTES;
/// Histories that may wait to be asked for: every timeframe of every instrument.
const MAX_HISTORIES: usize = MAX_INSTRUMENTS * Timeframe::ALL.len();
/// Histories are asked for one at a time, so long apart: well below what any venue allows.
const HISTORY_EVERY: u64 = SECONDS;
/// An answer with history must come within this time.
const HISTORY_TIMEOUT: u64 = 20 * SECONDS;
/// Refusals kept for the status.
const MAX_REFUSED: usize = 8;
/// Characters kept of an error's or a refusal's text.
const MAX_TEXT: usize = 200;

/// Which of a venue's streams a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Everything on one connection.
    All,
    /// The book: depth and best bid/ask.
    Book,
    /// Trades and funding. Such a connection reports no gaps: it has no book to lose.
    Market,
}

/// How a session is doing, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `waiting`, `connecting`, `open`, `closing` or `replay`.
    pub state: &'static str,
    /// Why it is not open, or was last not open.
    pub why: String,
    /// Since when it is open.
    pub connected_since: Option<Time>,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Frames received.
    pub frames: u64,
    /// Frames and replies that could not be read.
    pub parse_errors: u64,
    /// The last thing that went wrong: what could not be read, or which request failed.
    pub last_error: Option<String>,
    /// Requests the venue refused.
    pub refusals: u64,
    /// Its words for the last few of them, newest last.
    pub refused: VecDeque<String>,
    /// Snapshots asked for and books resubscribed.
    pub resyncs: u64,
    /// When the last frame arrived.
    pub last_frame: Time,
}

/// What a session is doing; each state owns what only it needs.
#[derive(Debug)]
enum Phase {
    /// Frames of a capture are handed in; nothing is ever sent.
    Replay,
    /// Until the next attempt.
    Waiting { until: Time, why: &'static str },
    /// A token or a connection was asked for.
    Connecting { since: Time },
    /// Connected.
    Open(Open),
    /// Asked to be closed. Frames still count.
    Closing { since: Time, opened: Time },
}

#[derive(Debug)]
struct Open {
    since: Time,
    /// When a frame or a ping last arrived.
    heard: Time,
    /// Whether the subscriptions were sent.
    subscribed: bool,
    /// When to send the keepalive frame next.
    keepalive: Time,
    /// When to renew the connection.
    retire: Time,
}

/// The way back of one book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refresh {
    /// Nothing is needed.
    Idle,
    /// To be asked for, not before `at`.
    Wanted { at: Time, attempt: u32 },
    /// Asked for.
    Asked { since: Time, attempt: u32 },
}

/// A token bucket in integers.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    capacity: u32,
    every: u64,
    /// Up to when tokens were handed out.
    filled: Time,
    /// The venue asked for quiet until then.
    paused: Time,
}

impl Bucket {
    const fn new(limits: &Limits) -> Self {
        Self {
            tokens: limits.refresh_capacity,
            capacity: limits.refresh_capacity,
            every: limits.refresh_every,
            filled: Time::UNKNOWN,
            paused: Time::UNKNOWN,
        }
    }

    fn take(&mut self, now: Time) -> bool {
        let earned = now.0.saturating_sub(self.filled.0) / self.every.max(1);
        let tokens = u64::from(self.tokens).saturating_add(earned);
        self.tokens = u32::try_from(tokens).unwrap_or(u32::MAX).min(self.capacity);
        self.filled = if self.tokens == self.capacity {
            self.filled.max(now)
        } else {
            self.filled.plus(earned * self.every)
        };
        if now < self.paused || self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// When one can be taken at the earliest.
    fn ready(&self) -> Time {
        let earned = if self.tokens > 0 {
            Time::UNKNOWN
        } else {
            self.filled.plus(self.every)
        };
        earned.max(self.paused)
    }

    fn pause(&mut self, until: Time) {
        self.paused = self.paused.max(until);
    }
}

/// One connection to a venue.
#[derive(Debug)]
pub struct Session {
    venue: Venue,
    channel: Channel,
    dialect: Dialect,
    endpoint: Endpoint,
    limits: Limits,
    reader: Reader,
    phase: Phase,
    /// By place.
    refreshes: Vec<Refresh>,
    bucket: Bucket,
    /// Histories to be asked for, by place; at most [`MAX_HISTORIES`].
    histories: VecDeque<(usize, Timeframe)>,
    /// When the next one may be.
    next_history: Time,
    rng: Rng,
    /// Failures in a row.
    failures: u32,
    /// Whether it was ever connected.
    connected_once: bool,
    transmits: VecDeque<Transmit>,
    status: Status,
}

impl Session {
    /// A session that will connect to `venue` at `endpoint` for these instruments. `seed` drives
    /// its jitter.
    #[must_use]
    pub fn new(
        venue: Venue,
        channel: Channel,
        endpoint: Endpoint,
        instruments: Vec<(InstrumentId, Instrument)>,
        seed: u64,
    ) -> Self {
        let phase = Phase::Waiting {
            until: Time::UNKNOWN,
            why: "first connection",
        };
        Self::make(venue, channel, endpoint, instruments, seed, phase)
    }

    /// A session that is handed the frames of a capture: it lists every instrument that they name,
    /// numbered in order of appearance, and sends nothing.
    #[must_use]
    pub fn capture(venue: Venue) -> Self {
        let endpoint = Endpoint {
            ws: String::new(),
            rest: String::new(),
        };
        let mut session = Self::make(venue, Channel::All, endpoint, Vec::new(), 0, Phase::Replay);
        session.reader.discover();
        session
    }

    fn make(
        venue: Venue,
        channel: Channel,
        endpoint: Endpoint,
        instruments: Vec<(InstrumentId, Instrument)>,
        seed: u64,
        phase: Phase,
    ) -> Self {
        let dialect = Dialect::new(venue, channel);
        let limits = dialect.limits();
        let refreshes = vec![Refresh::Idle; instruments.len()];
        let reader = Reader::new(venue, dialect.rule(), instruments);
        let mut session = Self {
            venue,
            channel,
            dialect,
            endpoint,
            limits,
            reader,
            phase,
            refreshes,
            bucket: Bucket::new(&limits),
            histories: VecDeque::new(),
            next_history: Time::UNKNOWN,
            rng: Rng::new(seed, (venue as u64) << 2 | channel as u64),
            failures: 0,
            connected_once: false,
            transmits: VecDeque::new(),
            status: Status::default(),
        };
        session.show_state();
        session
    }

    /// Its venue.
    #[must_use]
    pub const fn venue(&self) -> Venue {
        self.venue
    }

    /// Its streams.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        self.channel
    }

    /// Its instruments and the continuity of their books.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Its dialect.
    #[must_use]
    pub const fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// How it is doing.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// What to do next, in order.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What happened, in order.
    pub fn poll_update(&mut self) -> Option<Update> {
        self.reader.poll()
    }

    /// When to call [`Session::handle_timeout`] at the latest, and what for. `None` for captures.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        match &self.phase {
            Phase::Replay => None,
            &Phase::Waiting { until, why } => Some((until, why)),
            Phase::Connecting { since } => {
                Some((since.plus(CONNECT_TIMEOUT), "connecting takes too long"))
            }
            Phase::Closing { since, .. } => {
                Some((since.plus(CLOSE_TIMEOUT), "closing takes too long"))
            }
            Phase::Open(open) => Some(self.next_deadline(open)),
        }
    }

    fn next_deadline(&self, open: &Open) -> (Time, &'static str) {
        let mut next = (open.retire, "rotation");
        let mut sooner = |at: Time, why| {
            if at < next.0 {
                next = (at, why);
            }
        };
        sooner(open.heard.plus(self.limits.silence), "silent connection");
        if !open.subscribed {
            sooner(open.since.plus(WELCOME_TIMEOUT), "no welcome");
            return next;
        }
        sooner(open.keepalive, "keepalive");
        if !self.histories.is_empty() {
            sooner(self.next_history, "history");
        }
        if !self.has_books() {
            return next;
        }
        let ready = self.bucket.ready();
        for (listing, refresh) in self.reader.listings().iter().zip(&self.refreshes) {
            match *refresh {
                Refresh::Wanted { at, .. } => sooner(at.max(ready), "refresh"),
                Refresh::Asked { since, .. } => {
                    sooner(since.plus(self.limits.snapshot), "snapshot overdue");
                }
                Refresh::Idle => {
                    let heard = listing.last_depth.max(open.since);
                    sooner(heard.plus(self.limits.stale), "silent book");
                }
            }
        }
        next
    }

    /// The connection that was asked for is there.
    pub fn handle_connected(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Connecting { .. }) {
            self.transmit(Transmit::Close {
                reason: "connected too late",
            });
            return;
        }
        let jitter = self.rng.below(ROTATION_JITTER);
        let keepalive = self.dialect.keepalive();
        self.phase = Phase::Open(Open {
            since: now,
            heard: now,
            subscribed: false,
            keepalive: keepalive.map_or(Time(u64::MAX), |(every, _)| now.plus(every)),
            retire: now.plus(self.limits.max_age.saturating_sub(jitter)),
        });
        self.status.reconnects += u64::from(self.connected_once);
        self.status.connected_since = Some(now);
        self.connected_once = true;
        if !self.dialect.waits_for_welcome() {
            self.subscribe(now);
        }
        self.settle(now);
    }

    /// A text frame arrived, or a line of a capture is handed in.
    pub fn handle_frame(&mut self, now: Time, text: &str) {
        match &mut self.phase {
            Phase::Open(open) => open.heard = now,
            Phase::Replay | Phase::Closing { .. } => {}
            // It belongs to a connection that is over.
            Phase::Waiting { .. } | Phase::Connecting { .. } => return,
        }
        self.status.frames += 1;
        self.status.last_frame = now;
        self.reader.received(now);
        match self.dialect.frame(text, &mut self.reader) {
            Ok(Cue::None) => {}
            Ok(Cue::Welcome) => self.welcomed(now),
            Ok(Cue::Refused(why)) => self.refused(&why),
            Ok(Cue::Restart(why)) => self.close(now, why),
            Ok(Cue::Answer(frame)) => self.transmit(Transmit::Send(frame)),
            Err(error) => {
                self.parse_error(&error.cause);
                if self.has_books() {
                    self.reader.unreadable(text);
                }
            }
        }
        self.settle(now);
    }

    /// A ping arrived below the frames: a sign of life. (Answering it is the socket's business.)
    pub fn handle_ping(&mut self, now: Time) {
        if let Phase::Open(open) = &mut self.phase {
            open.heard = now;
        }
    }

    /// A REST request was answered, or failed for the reason given.
    pub fn handle_reply(&mut self, now: Time, purpose: Purpose, reply: Result<Reply<'_>, String>) {
        self.reader.received(now);
        match purpose {
            Purpose::Token => self.take_token(now, reply),
            Purpose::Snapshot(place) => self.take_snapshot(now, place, reply),
            Purpose::History(place, timeframe) => self.take_history(now, place, timeframe, reply),
        }
        self.settle(now);
    }

    /// The connection ended, or could not be made.
    pub fn handle_disconnected(&mut self, now: Time, why: &str) {
        self.reader.received(now);
        self.disconnected(now, why);
        self.settle(now);
    }

    /// The time that [`Session::poll_timeout`] named has come. Harmless when called earlier.
    pub fn handle_timeout(&mut self, now: Time) {
        self.reader.received(now);
        match &self.phase {
            Phase::Replay => return,
            Phase::Waiting { until, .. } if now >= *until => self.connect(now),
            Phase::Connecting { since } if now >= since.plus(CONNECT_TIMEOUT) => {
                self.transmit(Transmit::Close {
                    reason: "connecting took too long",
                });
                self.disconnected(now, "connecting took too long");
            }
            Phase::Closing { since, .. } if now >= since.plus(CLOSE_TIMEOUT) => {
                self.disconnected(now, "closed");
            }
            Phase::Open(_) => self.open_timeouts(now),
            Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Closing { .. } => {}
        }
        self.settle(now);
    }

    /// The engine found this book wrong and has already said so.
    pub fn resync(&mut self, now: Time, instrument: InstrumentId) {
        let listings = self.reader.listings();
        if let Some(place) = listings.iter().position(|l| l.id == instrument)
            && self.has_books()
        {
            self.reader.await_snapshot(place);
            self.settle(now);
        }
    }

    /// The engine wants the venue's bars. What the venue does not have, or what does not fit, is not
    /// asked for: the engine asks again.
    pub fn history(&mut self, now: Time, instrument: InstrumentId, timeframe: Timeframe) {
        let listings = self.reader.listings();
        let Some(place) = listings.iter().position(|l| l.id == instrument) else {
            return;
        };
        let wanted = (place, timeframe);
        if self.histories.len() < MAX_HISTORIES && !self.histories.contains(&wanted) {
            self.histories.push_back(wanted);
        }
        self.settle(now);
    }

    /// Updates taken from here could not be delivered: every book is lost. The gaps that say so are
    /// the next updates, to be delivered when there is room again.
    pub fn overflow(&mut self, now: Time) {
        self.reader.received(now);
        self.reader.drop_pending();
        if self.has_books() {
            self.reader.lose_all(Gap::of(GapReason::Overflow));
        }
        self.settle(now);
    }

    const fn has_books(&self) -> bool {
        !matches!(self.channel, Channel::Market)
    }

    fn transmit(&mut self, transmit: Transmit) {
        if matches!(self.phase, Phase::Replay) {
            return;
        }
        if self.transmits.len() >= MAX_TRANSMITS {
            // Nobody takes them, so there is no connection to keep.
            self.transmits.clear();
        }
        self.transmits.push_back(transmit);
    }

    fn connect(&mut self, now: Time) {
        self.phase = Phase::Connecting { since: now };
        let first = self.dialect.start(&self.endpoint, &self.reader);
        self.transmit(first);
    }

    fn subscribe(&mut self, now: Time) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        open.subscribed = true;
        for frame in self.dialect.subscribe(&self.reader) {
            self.transmit(Transmit::Send(frame));
        }
        let by_request = self.dialect.asks_for_snapshots();
        for place in 0..self.refreshes.len() {
            self.refreshes[place] = match (self.has_books(), by_request) {
                (false, _) => Refresh::Idle,
                (true, true) => Refresh::Wanted {
                    at: now.plus(FIRST_REQUEST_DELAY + self.rng.below(REFRESH_JITTER)),
                    attempt: 0,
                },
                (true, false) => Refresh::Asked {
                    since: now,
                    attempt: 0,
                },
            };
        }
    }

    fn welcomed(&mut self, now: Time) {
        if matches!(&self.phase, Phase::Open(open) if !open.subscribed) {
            self.subscribe(now);
        }
    }

    fn refused(&mut self, why: &str) {
        self.status.refusals += 1;
        if self.status.refused.len() >= MAX_REFUSED {
            self.status.refused.pop_front();
        }
        self.status.refused.push_back(clip(why));
    }

    fn parse_error(&mut self, cause: &str) {
        self.status.parse_errors += 1;
        self.status.last_error = Some(clip(cause));
    }

    fn close(&mut self, now: Time, reason: &'static str) {
        if let Phase::Open(open) = &self.phase {
            self.phase = Phase::Closing {
                since: now,
                opened: open.since,
            };
            reason.clone_into(&mut self.status.why);
            self.transmit(Transmit::Close { reason });
        }
    }

    fn disconnected(&mut self, now: Time, why: &str) {
        let (opened, was_asked) = match self.phase {
            Phase::Replay | Phase::Waiting { .. } => return,
            Phase::Connecting { .. } => (None, false),
            Phase::Open(Open { since, .. }) => (Some(since), false),
            Phase::Closing { opened, .. } => (Some(opened), true),
        };
        if let Some(opened) = opened {
            if self.has_books() {
                self.reader.lose_all(Gap::of(GapReason::Disconnected));
            }
            if now >= opened.plus(HEALTHY_AFTER) {
                self.failures = 0;
            }
        }
        // What was to be sent was meant for the connection that is gone.
        self.transmits
            .retain(|transmit| matches!(transmit, Transmit::Close { .. }));
        self.refreshes.fill(Refresh::Idle);
        self.status.connected_since = None;
        if !was_asked {
            self.status.why = clip(why);
        }
        let wait = self.backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting {
            until: now.plus(wait),
            why: "back-off",
        };
    }

    /// Full jitter: anything up to a bound that doubles with each attempt.
    fn backoff(&mut self, attempt: u32) -> u64 {
        let bound = BACKOFF_FIRST << attempt.min(6);
        self.rng.below(bound.min(BACKOFF_MAX)).max(BACKOFF_MIN)
    }

    fn open_timeouts(&mut self, now: Time) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if now >= open.heard.plus(self.limits.silence) {
            if self.has_books() {
                self.reader.lose_all(Gap::of(GapReason::Silent));
            }
            self.close(now, "nothing arrived for too long");
            return;
        }
        if now >= open.retire {
            self.close(now, "renewed before the venue cuts it");
            return;
        }
        if !open.subscribed {
            if now >= open.since.plus(WELCOME_TIMEOUT) {
                self.close(now, "the venue sent no welcome");
            }
            return;
        }
        if now >= open.keepalive
            && let Some((every, frame)) = self.dialect.keepalive()
        {
            open.keepalive = now.plus(every);
            self.transmit(Transmit::Send(frame));
        }
        self.book_timeouts(now);
    }

    fn book_timeouts(&mut self, now: Time) {
        let Phase::Open(Open { since: opened, .. }) = self.phase else {
            return;
        };
        if !self.has_books() {
            return;
        }
        for place in 0..self.refreshes.len() {
            match self.refreshes[place] {
                Refresh::Asked { since, attempt } if now >= since.plus(self.limits.snapshot) => {
                    self.retry(now, place, attempt);
                }
                Refresh::Idle => {
                    let heard = self.reader.listings()[place].last_depth.max(opened);
                    if now >= heard.plus(self.limits.stale) {
                        self.reader.lose(place, Gap::of(GapReason::Silent));
                    }
                }
                Refresh::Asked { .. } | Refresh::Wanted { .. } => {}
            }
        }
    }

    fn retry(&mut self, now: Time, place: usize, attempt: u32) {
        let at = now.plus(self.backoff(attempt));
        self.refreshes[place] = Refresh::Wanted {
            at,
            attempt: attempt.saturating_add(1),
        };
    }

    fn take_token(&mut self, now: Time, reply: Result<Reply<'_>, String>) {
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        let connect = match reply {
            Ok(reply) if is_success(reply.status) => self
                .dialect
                .token(reply.body, &self.endpoint)
                .map_err(|error| error.cause)
                .inspect_err(|_| self.status.parse_errors += 1),
            Ok(reply) => {
                self.refused(&describe(&reply));
                Err(format!("the token request got status {}", reply.status))
            }
            Err(why) => Err(why),
        };
        match connect {
            Ok(connect) => self.transmit(connect),
            Err(why) => {
                self.status.last_error = Some(clip(&why));
                self.disconnected(now, &why);
            }
        }
    }

    fn take_snapshot(&mut self, now: Time, place: usize, reply: Result<Reply<'_>, String>) {
        let Some(&Refresh::Asked { attempt, .. }) = self.refreshes.get(place) else {
            // It was given up, or belongs to a connection that is over.
            return;
        };
        match reply {
            Ok(reply) if is_success(reply.status) => {
                let read = self.dialect.snapshot(place, reply.body, &mut self.reader);
                if let Err(error) = read {
                    self.parse_error(&error.cause);
                }
            }
            Ok(reply) => {
                self.refused(&describe(&reply));
                if let Some(pause) = pause(&reply) {
                    self.bucket.pause(now.plus(pause));
                }
            }
            Err(why) => self.status.last_error = Some(clip(&why)),
        }
        if self.reader.listings()[place].sync.is_waiting() {
            self.retry(now, place, attempt);
        } else {
            self.refreshes[place] = Refresh::Idle;
        }
    }

    fn ask_history(&mut self, now: Time) {
        if now < self.next_history {
            return;
        }
        let Some((place, timeframe)) = self.histories.pop_front() else {
            return;
        };
        let instrument = &self.reader.listings()[place].instrument;
        if let Some(url) = history::request(instrument, &self.endpoint, timeframe, now) {
            // The answer brings the time of the next one forward.
            self.next_history = now.plus(HISTORY_TIMEOUT);
            self.transmit(Transmit::Request {
                purpose: Purpose::History(place, timeframe),
                post: false,
                url,
            });
        }
    }

    fn take_history(
        &mut self,
        now: Time,
        place: usize,
        timeframe: Timeframe,
        reply: Result<Reply<'_>, String>,
    ) {
        self.next_history = now.plus(HISTORY_EVERY);
        match reply {
            Ok(reply) if is_success(reply.status) => {
                let instrument = &self.reader.listings()[place].instrument;
                match history::read(instrument, timeframe, reply.body, now) {
                    Ok(candles) => {
                        for candle in candles {
                            self.reader.candle(place, candle);
                        }
                    }
                    Err(error) => self.parse_error(&error.cause),
                }
            }
            Ok(reply) => {
                self.refused(&describe(&reply));
                if let Some(pause) = pause(&reply) {
                    self.next_history = now.plus(pause);
                }
            }
            Err(why) => self.status.last_error = Some(clip(&why)),
        }
    }

    /// After everything that was handled: sees which books are lost or back, asks for what may be
    /// asked for now, and bounds what waits.
    fn settle(&mut self, now: Time) {
        if self.reader.pending() > MAX_PENDING {
            self.reader.drop_pending();
            if self.has_books() {
                self.reader.lose_all(Gap::of(GapReason::Overflow));
            }
        }
        let is_open = matches!(&self.phase, Phase::Open(open) if open.subscribed);
        while let Some(place) = self.reader.poll_wanted() {
            if is_open && self.has_books() && self.refreshes[place] == Refresh::Idle {
                let at = now.plus(self.rng.below(REFRESH_JITTER));
                self.refreshes[place] = Refresh::Wanted { at, attempt: 0 };
            }
        }
        if is_open {
            self.ask(now);
            self.ask_history(now);
        }
        self.show_state();
    }

    fn ask(&mut self, now: Time) {
        for place in 0..self.refreshes.len() {
            match self.refreshes[place] {
                Refresh::Idle => {}
                _ if !self.reader.listings()[place].sync.is_waiting() => {
                    self.refreshes[place] = Refresh::Idle;
                }
                Refresh::Wanted { at, attempt } if now >= at && self.bucket.take(now) => {
                    self.refreshes[place] = Refresh::Asked {
                        since: now,
                        attempt,
                    };
                    self.status.resyncs += 1;
                    for step in self.dialect.refresh(place, &self.endpoint, &self.reader) {
                        self.transmit(step);
                    }
                }
                Refresh::Wanted { .. } | Refresh::Asked { .. } => {}
            }
        }
    }

    const fn show_state(&mut self) {
        self.status.state = match self.phase {
            Phase::Replay => "replay",
            Phase::Waiting { .. } => "waiting",
            Phase::Connecting { .. } => "connecting",
            Phase::Open(_) => "open",
            Phase::Closing { .. } => "closing",
        };
    }
}

const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299)
}

/// How long a reply asks for quiet: 429 "too many requests", and 418 or 403 for those who went on.
fn pause(reply: &Reply<'_>) -> Option<u64> {
    if !matches!(reply.status, 403 | 418 | 429) {
        return None;
    }
    let asked = reply.retry_after_s.map(|s| u64::from(s) * SECONDS);
    Some(asked.unwrap_or(DEFAULT_PAUSE).min(MAX_PAUSE))
}

fn describe(reply: &Reply<'_>) -> String {
    format!("status {}: {}", reply.status, reply.body)
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
