//! `tickerml-edge run`: recovery, connections, the desk's loop, the page, and an orderly end.

mod effects;
mod features;
mod news;
mod quality;
mod summary;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tickerml_shared::book::State as BookState;
use tickerml_shared::event::{Body, DepthKind, Event, GapReason, Health, Operator, Record, Update};
use tickerml_shared::instrument::Venue;
use tickerml_shared::record::Encoder;
use tickerml_shared::risk::state::{Cause, Level, Scope};
use tickerml_shared::schema;
use tickerml_shared::time::{MILLIS, MINUTES, SECONDS, Time};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::config::{Config, VenueConfig, sync_ns};
use crate::control::{self, Ask, Question};
use crate::desk::{Desk, MAX_BATCH};
use crate::feed::{self, CHANNEL_UPDATES, Feed, FeedStatus};
use crate::journal::{self, Batch, Header, JournalConfig, JournalHandle};
use crate::net::tls;
use crate::policy::model::Model;
use crate::recovery::{self, Recovered};
use crate::store::{self, Gaps, Probe, State, StoreHandle};
use crate::telemetry::{self, Histogram};
use crate::venue::session::{Channel, Session};
use features::Sampler;
pub use summary::Summary;

use crate::view::{self, Recent, Shell};
use crate::web::snapshot::{self as web, Snapshot};
use crate::web::{self as page, WebState};

/// The page's snapshot is renewed so often.
const SNAPSHOT_EVERY_NS: u64 = 500_000_000;
/// The whole state is written to the store so often; the journal bridges the time between.
const CHECKPOINT_EVERY_NS: u64 = 10 * MINUTES;
/// Batches folded without looking at the channels again.
const MAX_TURNS: usize = 16;
/// The desk takes what has arrived so often: a batch is one write of the journal, and an SD card
/// pays for every write. Decisions wait for pulses anyway.
const TURN_EVERY_NS: u64 = 25 * MILLIS;
/// The desk is told so often how the connections do.
const HEALTH_EVERY_NS: u64 = 5 * SECONDS;
/// A commit or checkpoint that takes longer has failed.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);
/// zstd level of the journal: the third costs a microsecond an event and halves the first's bytes.
const JOURNAL_LEVEL: i32 = 3;
/// Digits of the hash of a model's weights that stand for its version on the page.
const VERSION_DIGITS: usize = 12;

/// Why a run could not start or had to end.
#[derive(Debug)]
pub struct RunError(String);

impl RunError {
    fn new(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}

/// Runs until a signal, or for so many seconds.
///
/// # Errors
/// One line that names cause and remedy.
pub async fn run(config: Config, seconds: Option<u64>, exe: PathBuf) -> Result<Summary, RunError> {
    let started = clock::now();
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        let dir = config.data_dir.display();
        RunError(format!(
            "{dir}: {error}: node.data_dir must be a folder that this user can write"
        ))
    })?;
    let lock = store::lock(&config.data_dir).map_err(RunError::new)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        RunError(format!(
            "page.listen = \"{}\": {error}: free the port, or write another one",
            config.listen
        ))
    })?;
    // Only now is it true; a start that fails says one thing, why.
    tracing::info!(page = %config.listen, "the page is at http://{}/", config.listen);
    let mut shell = Runner::recover(&config, started, &Probe::Child(exe)).await?;
    let feeds = connect(&config.venues, config.setup.seed, &shell.updates)?;
    shell.measured = vec![Measured::default(); feeds.len()];
    shell.feeds = feeds;
    drop(config);

    let (stop, mut stopped) = watch::channel(false);
    let state = WebState::new(shell.page.subscribe());
    let server = tokio::spawn(page::serve(listener, state, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    let outcome = shell.drive(seconds).await;
    let summary = Box::pin(shell.end(started)).await;
    let _ = stop.send(true);
    let _ = server.await;
    drop(lock);
    outcome?;
    summary
}

/// Makes the sessions of every venue and starts their connections.
fn connect(
    venues: &[VenueConfig],
    seed: u64,
    updates: &mpsc::Sender<Update>,
) -> Result<Vec<Feed>, RunError> {
    let mut feeds = Vec::new();
    for venue in venues {
        let tls = tls::client_config(venue.ca_file.as_deref()).map_err(RunError::new)?;
        for channel in channels(venue.venue) {
            let session = Session::new(
                venue.venue,
                *channel,
                venue.endpoint.clone(),
                venue.instruments.clone(),
                seed,
            );
            feeds.push(feed::spawn(
                session,
                Arc::clone(&tls),
                updates.clone(),
                None,
            ));
        }
    }
    Ok(feeds)
}

/// The connections that a venue needs: Binance's futures route books and trades differently.
#[must_use]
pub const fn channels(venue: Venue) -> &'static [Channel] {
    match venue {
        Venue::BinanceUsdm => &[Channel::Book, Channel::Market],
        _ => &[Channel::All],
    }
}

/// What was last told of a feed.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    round_trips: u64,
    frames: u64,
    errors: u64,
}

/// The desk and everything around it.
struct Runner {
    desk: Desk,
    /// The data folder.
    dir: PathBuf,
    journal: JournalHandle,
    store: StoreHandle,
    sampler: Sampler,
    feeds: Vec<Feed>,
    updates: mpsc::Sender<Update>,
    inbox: mpsc::Receiver<Update>,
    questions: mpsc::Receiver<Question>,
    page: watch::Sender<Arc<Snapshot>>,
    identity: Snapshot,
    recent: Recent,
    records: Vec<Record>,
    started: Time,
    next_turn: Time,
    next_snapshot: Time,
    next_checkpoint: Time,
    next_health: Time,
    /// What was last told of each feed, in their order.
    measured: Vec<Measured>,
    decisions: u64,
    orders: u64,
    fills: u64,
    gap_row: u64,
    events: u64,
    fold: Histogram,
    to_features: Histogram,
}

impl Runner {
    async fn recover(config: &Config, now: Time, probe: &Probe) -> Result<Self, RunError> {
        let dir = &config.data_dir;
        let (mut state, report) = State::open(dir, now.0, probe).map_err(RunError::new)?;
        let (gaps, gap_report) = Gaps::open(dir, now.0, probe).map_err(RunError::new)?;
        let loaded = state.load().map_err(RunError::new)?;
        let day = state.meta("day").map_err(RunError::new)?;
        let journal_dir = dir.join("journal");
        let (engine, recovered) = recovery::recover(config.setup.clone(), &loaded, &journal_dir)
            .map_err(RunError::new)?;
        let header = Header {
            schema_id: schema::schema_id().0,
            run_id: now.0,
            seed: config.setup.seed,
            created_ns: now.0,
            instruments: postcard::to_allocvec(&config.setup).map_err(RunError::new)?,
        };
        let journal_config = JournalConfig {
            sync_every_ns: sync_ns(&config.journal),
            segment_bytes: u64::from(config.journal.segment_bytes),
            level: JOURNAL_LEVEL,
            retain_days: config.journal.retain_days,
        };
        let (journal, tail) =
            journal::spawn(&journal_dir, header, journal_config, now.0).map_err(RunError::new)?;
        let (sampler, feature_report) =
            Sampler::open(&config.features, &config.setup, dir, now, probe)
                .map_err(RunError::new)?;
        let gap_row = gaps.last_seq().map_err(RunError::new)?.unwrap_or(0);
        let store = store::spawn(state, gaps).map_err(RunError::new)?;
        let last_seq = recovered.last_seq.max(tail.last_seq.unwrap_or(0));
        let policy = config.policy.open().map_err(RunError::new)?;
        let mut desk = Desk::new(
            engine,
            last_seq,
            policy,
            config.pulse_ns,
            config.hold_ns,
            now,
        );
        desk.start();
        if let Some(reference) = &config.drift_reference {
            desk.watch_drift(reference);
        }
        let (updates, inbox) = mpsc::channel(CHANNEL_UPDATES);
        let (asking, questions) = mpsc::channel(control::CHANNEL_COMMANDS);
        control::listen(dir, asking).map_err(|error| {
            RunError(format!(
                "{}: {error}: the folder must allow sockets",
                control::path(dir).display()
            ))
        })?;
        let mut identity = Snapshot::empty("PAPER", &config.name, env!("CARGO_PKG_VERSION"), now.0);
        identity.schema_id = schema::schema_id().to_string();
        identity.config_hash.clone_from(&config.hash);
        let mut runner = Self {
            desk,
            dir: dir.clone(),
            journal,
            store,
            sampler,
            feeds: Vec::new(),
            updates,
            inbox,
            questions,
            page: watch::Sender::new(Arc::new(identity.clone())),
            identity,
            recent: Recent::default(),
            records: Vec::with_capacity(MAX_BATCH),
            started: now,
            next_turn: now,
            next_snapshot: now,
            next_checkpoint: now,
            next_health: now.plus(HEALTH_EVERY_NS),
            measured: Vec::new(),
            decisions: 0,
            orders: 0,
            fills: 0,
            gap_row,
            events: 0,
            fold: Histogram::new(),
            to_features: Histogram::new(),
        };
        runner
            .recent
            .restore_day(day.and_then(|bytes| postcard::from_bytes(&bytes).ok()));
        runner.report_recovery(&recovered, now);
        for report in [report, gap_report, feature_report] {
            if let Some(aside) = report.set_aside {
                let reason = report
                    .reason
                    .map(|reason| reason.to_string())
                    .unwrap_or_default();
                let text = format!("damaged store set aside as {}: {reason}", aside.display());
                runner.alarm("critical", "store-set-aside", text);
            }
        }
        if tail.truncated_bytes > 0 {
            let text = format!(
                "{} bytes cut from the journal's torn tail",
                tail.truncated_bytes
            );
            runner.alarm("warning", "journal-torn", text);
        }
        // What only the store still knew belongs into the journal as well.
        for record in &recovered.restored {
            runner.write_journal(std::slice::from_ref(record));
        }
        Ok(runner)
    }

    fn report_recovery(&mut self, recovered: &Recovered, now: Time) {
        tracing::info!(
            checkpoint = recovered.checkpoint,
            replayed = recovered.replayed,
            bridged = recovered.bridged,
            restored = recovered.restored.len(),
            last_seq = recovered.last_seq,
            took_ms = clock::now().since(now) / 1_000_000,
            state_hash = %hex(&self.desk.engine().state_hash()),
            "recovered",
        );
        for trouble in &recovered.troubles {
            self.alarm("warning", "recovery", trouble.clone());
        }
    }

    fn alarm(&mut self, severity: &str, code: &str, text: String) {
        tracing::warn!(severity, code, text, "alarm");
        self.recent.alarm(clock::now(), severity, code, text);
    }

    /// The loop: wait for something, then fold all that is due.
    async fn drive(&mut self, seconds: Option<u64>) -> Result<(), RunError> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::new)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::new)?;
        let deadline = sleep(Duration::from_secs(seconds.unwrap_or(u64::MAX / 4)));
        tokio::pin!(deadline);
        let mut arrived = Vec::with_capacity(MAX_BATCH);
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            if clock::now() >= self.next_turn {
                self.turn().await?;
                self.next_turn = clock::now().plus(TURN_EVERY_NS);
            }
            self.periodic().await?;
            let wait = self.wait();
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = &mut deadline => return Ok(()),
                Some(question) = self.questions.recv() => self.question(question).await?,
                count = self.inbox.recv_many(&mut arrived, MAX_BATCH) => {
                    debug_assert!(count > 0, "this struct holds a sender");
                    let now = clock::now();
                    for update in arrived.drain(..) {
                        self.desk.push(update, now);
                    }
                }
                () = sleep(wait) => {}
            }
        }
    }

    fn wait(&self) -> Duration {
        let (due, _) = self.desk.poll_timeout();
        let next = due.max(self.next_turn).min(self.next_snapshot);
        Duration::from_nanos(next.0.saturating_sub(clock::now().0))
    }

    /// Journals and folds what is due.
    async fn turn(&mut self) -> Result<(), RunError> {
        for _ in 0..MAX_TURNS {
            let mut records = std::mem::take(&mut self.records);
            records.clear();
            self.desk.collect(clock::now(), &mut records);
            let idle = records.is_empty();
            self.write_journal(&records);
            for record in &records {
                self.fold(record);
            }
            self.records = records;
            let committed = self.durables().await?;
            if idle && committed == 0 && !self.desk.is_due() {
                break;
            }
        }
        Ok(())
    }

    /// Commits, journals and folds what must be durable before it takes effect.
    /// Gives their number.
    async fn durables(&mut self) -> Result<u64, RunError> {
        let mut count = 0;
        while let Some(record) = self.desk.poll_durable(clock::now()) {
            self.commit(&record).await?;
            self.write_journal(std::slice::from_ref(&record));
            self.fold(&record);
            count += 1;
        }
        Ok(count)
    }

    fn fold(&mut self, record: &Record) {
        let begun = clock::now();
        self.desk.fold(record, clock::now);
        self.events += 1;
        if matches!(record.event, Event::Pulse) {
            self.sampler.pulse(self.desk.engine(), record.at);
        }
        if let Event::Market(update) = &record.event {
            let done = clock::now();
            self.fold.record(done.since(begun).unsigned_abs());
            if update.received.is_known()
                && matches!(
                    update.body,
                    Body::Depth(_) | Body::Touch(_) | Body::Trade(_)
                )
            {
                self.to_features
                    .record(done.since(update.received).unsigned_abs());
            }
        }
        self.note_resync(record);
        while let Some(effect) = self.desk.poll_effect() {
            self.effect(record.at, effect);
        }
    }

    /// A snapshot that made its book live ends that book's gaps in the ledger on the page.
    fn note_resync(&mut self, record: &Record) {
        let Event::Market(update) = &record.event else {
            return;
        };
        if let Body::Depth(depth) = &update.body
            && let (DepthKind::Snapshot { .. }, true) = (depth.kind, depth.first)
        {
            let cell = &self.desk.engine().cells()[update.instrument.index()];
            if cell.book.state() == (BookState::Live { since: record.at }) {
                self.recent.resynced(record.at, update.instrument);
            }
        }
    }

    /// Makes an event durable. Nothing may take effect before this returns.
    async fn commit(&mut self, record: &Record) -> Result<(), RunError> {
        debug_assert!(record.event.is_trading(), "what else would be durable");
        let row = (record.seq, recovery::seal_trading(record));
        let done = self.store.commit(vec![row]);
        acknowledged(done, "trading state could not be made durable").await
    }

    fn write_journal(&mut self, records: &[Record]) {
        let Some(last) = records.last() else { return };
        let mut encoder = Encoder::new(self.journal.buffer());
        for record in records {
            encoder.push(record);
        }
        let (first_seq, count, bytes) = encoder.finish();
        let batch = Batch {
            first_seq,
            count,
            at_ns: last.at.0,
            bytes,
        };
        if self.journal.write(batch).is_err() {
            let text = format!("{count} events were not recorded: the disk is too slow or full");
            self.alarm("critical", "journal-dropped", text);
        }
    }

    async fn question(&mut self, question: Question) -> Result<(), RunError> {
        let answer = match question.ask {
            Ask::Status => {
                let now = clock::now();
                page::to_json(&self.snapshot(now))
            }
            ask => match self.command(ask) {
                Err(cause) => format!("error: {cause}"),
                Ok(command) => {
                    let flattens = matches!(command, Operator::Flatten(_));
                    self.desk.command(command);
                    self.turn().await?;
                    let state = self.state();
                    if flattens {
                        format!("{state}, closing every position")
                    } else {
                        state
                    }
                }
            },
        };
        let _ = question.answer.send(answer);
        Ok(())
    }

    /// The operator's command that a question asks for.
    fn command(&self, ask: Ask) -> Result<Operator, String> {
        let instruments = &self.desk.engine().setup().instruments;
        let scope = |text: &str| control::scope(text, instruments);
        let cause = Cause::Command;
        match ask {
            Ask::Halt { scope: text } => Ok(Operator::Halt {
                scope: scope(&text)?,
                cause,
            }),
            Ask::Resume {
                scope: text,
                reason,
            } => Ok(Operator::Resume {
                scope: scope(&text)?,
                reason: heapless::String::try_from(reason.as_str())
                    .map_err(|_| "the reason is too long".to_owned())?,
            }),
            Ask::Flatten => Ok(Operator::Flatten(cause)),
            Ask::Status => Err("status is no command".to_owned()),
        }
    }

    /// In a few words, whether the desk trades, and if not, why.
    fn state(&self) -> String {
        let now = clock::now();
        let states = self.desk.engine().risk().states().iter();
        let mut states: Vec<_> = states
            .filter(|state| state.level > Level::Active && state.holds(now))
            .collect();
        states.sort_by_key(|state| (state.scope, std::cmp::Reverse(state.level)));
        let told = states.iter().map(|state| {
            let scope = match state.scope {
                Scope::Portfolio => String::new(),
                scope => format!("{} ", self.scope_name(scope)),
            };
            format!("{scope}{} ({})", state.level.name(), state.cause.code())
        });
        let told: Vec<String> = told.collect();
        if told.is_empty() {
            "trading".to_owned()
        } else {
            told.join("; ")
        }
    }

    /// Tells the desk how the connections do: round trips become latencies of paper orders.
    fn health(&mut self, now: Time) {
        if now < self.next_health {
            return;
        }
        self.next_health = now.plus(HEALTH_EVERY_NS);
        // One word for each venue, over all its connections.
        let mut venues: Vec<Health> = Vec::new();
        for (feed, before) in self.feeds.iter().zip(&mut self.measured) {
            let status = feed.status();
            let place = venues.iter().position(|known| known.venue == status.venue);
            let place = place.unwrap_or_else(|| {
                venues.push(Health {
                    venue: status.venue,
                    round_trip_ns: None,
                    is_new: false,
                    clock_offset_ns: None,
                    frames: 0,
                    errors: 0,
                });
                venues.len() - 1
            });
            let health = &mut venues[place];
            health.round_trip_ns = health.round_trip_ns.max(status.round_trip_ns);
            health.is_new |= status.round_trips > before.round_trips;
            health.clock_offset_ns = status.clock_offset_ns().or(health.clock_offset_ns);
            health.frames += status.session.frames - before.frames;
            health.errors += status.session.parse_errors - before.errors;
            *before = Measured {
                round_trips: status.round_trips,
                frames: status.session.frames,
                errors: status.session.parse_errors,
            };
        }
        for health in venues {
            self.desk.health(health);
        }
    }

    /// The page, the watchdog, the checkpoint.
    async fn periodic(&mut self) -> Result<(), RunError> {
        let now = clock::now();
        self.health(now);
        if now < self.next_snapshot {
            return Ok(());
        }
        self.next_snapshot = now.plus(SNAPSHOT_EVERY_NS);
        let day = self.recent.day();
        self.recent.equity(now, self.desk.engine().equity());
        if self.recent.day() != day
            && let Ok(bytes) = postcard::to_allocvec(&self.recent.day())
        {
            // Shown on the page only: nothing waits for it.
            drop(self.store.set_meta("day", bytes));
        }
        let snapshot = self.snapshot(now);
        self.page.send_replace(Arc::new(snapshot));
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        if now >= self.next_checkpoint {
            self.next_checkpoint = now.plus(CHECKPOINT_EVERY_NS);
            self.checkpoint().await?;
        }
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<(), RunError> {
        let engine = self.desk.engine();
        let done = self
            .store
            .checkpoint(engine.seq(), recovery::seal_checkpoint(engine));
        acknowledged(done, "the checkpoint could not be written").await
    }

    /// What decides, as the page names it.
    fn model(&self, now: Time) -> web::Model {
        let policy = self.desk.policy();
        let trained = policy.model().map(Model::manifest);
        web::Model {
            name: policy.name().to_owned(),
            kind: trained
                .map_or("baseline", |_| "decision transformer")
                .to_owned(),
            version: trained.map_or_else(
                || env!("CARGO_PKG_VERSION").to_owned(),
                |manifest| manifest.weights.to_string()[..VERSION_DIGITS].to_owned(),
            ),
            age_s: trained.map(|manifest| now.0.saturating_sub(manifest.created.0) / SECONDS),
            expires_in_s: None,
        }
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        let shell = Shell {
            identity: self.identity.clone(),
            system: self.system(now),
            model: self.model(now),
            drift: self.desk.drift().to_vec(),
            feeds: self.feeds.iter().map(Feed::status).collect(),
        };
        view::snapshot(self.desk.engine(), &self.recent, shell, now)
    }

    fn system(&self, now: Time) -> web::System {
        let memory = telemetry::process_memory();
        let stats = self.journal.stats();
        let uptime_s = now.since(self.started).unsigned_abs() / 1_000_000_000;
        let written = stats.compressed_bytes.load(Relaxed)
            + self.store.stats().bytes.load(Relaxed)
            + self.sampler.written();
        let us = |quantile: Option<u64>| quantile.map(|ns| ns as f64 / 1e3);
        let queued = CHANNEL_UPDATES - self.updates.capacity();
        web::System {
            rss_bytes: memory.map(|memory| memory.rss_bytes),
            anon_bytes: memory.map(|memory| memory.anon_bytes),
            cpu_temp_c: telemetry::cpu_temperature_c().map(f64::from),
            disk_written_bytes_per_day: (uptime_s >= 60).then(|| written * 86_400 / uptime_s),
            journal: web::Journal {
                events: stats.events.load(Relaxed),
                bytes: stats.compressed_bytes.load(Relaxed),
                dropped: stats.dropped_events.load(Relaxed),
                suspended: stats.suspended(),
            },
            features: self.sampler.shown(),
            channels: vec![web::Channel {
                name: "market updates".to_owned(),
                depth: queued as u64,
                capacity: CHANNEL_UPDATES as u64,
            }],
            frame_to_features_p50_us: us(self.to_features.quantile(0.5)),
            frame_to_features_p99_us: us(self.to_features.quantile(0.99)),
            uptime_s,
            threads: None,
        }
    }

    /// Stops the connections, folds what is left, writes everything down.
    async fn end(mut self, started: Time) -> Result<Summary, RunError> {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let statuses: Vec<FeedStatus> = {
            let mut statuses = Vec::new();
            for feed in std::mem::take(&mut self.feeds) {
                statuses.push(feed.status());
                feed.stop().await;
            }
            statuses
        };
        self.turn().await?;
        self.checkpoint().await?;
        // The summary counts what was stored.
        self.sampler.close().await?;
        let summary = self.summary(&statuses, started);
        let Self { journal, store, .. } = self;
        tokio::task::spawn_blocking(move || {
            journal.close().map_err(RunError::new)?;
            store.close().map_err(RunError::new)
        })
        .await
        .map_err(RunError::new)??;
        Ok(summary)
    }

    fn summary(&self, feeds: &[FeedStatus], started: Time) -> Summary {
        let engine = self.desk.engine();
        let mut gaps = BTreeMap::new();
        let mut resyncs = 0;
        for cell in engine.cells() {
            let counters = cell.book.counters();
            resyncs += counters.resyncs;
            for reason in GapReason::ALL {
                *gaps.entry(reason.name()).or_default() += counters.gaps[reason as usize];
            }
        }
        gaps.retain(|_, count| *count > 0);
        let mut decode = Histogram::new();
        for feed in feeds {
            decode.merge(&feed.decode);
        }
        let us = |histogram: &Histogram| {
            [0.5, 0.99].map(|q| histogram.quantile(q).unwrap_or(0) as f64 / 1e3)
        };
        let live = engine
            .cells()
            .iter()
            .filter(|cell| cell.book.is_live())
            .count();
        let stats = self.journal.stats();
        let memory = telemetry::process_memory();
        Summary {
            seconds: clock::now().since(started).unsigned_abs() / 1_000_000_000,
            frames: feeds.iter().map(|feed| feed.session.frames).sum(),
            events: self.events,
            resyncs,
            gaps,
            books_live: [live, engine.cells().len()],
            decisions: self.decisions,
            orders: self.orders,
            fills: self.fills,
            equity: engine.equity().to_string(),
            decode_us: us(&decode),
            fold_us: us(&self.fold),
            frame_to_features_us: us(&self.to_features),
            journal: [
                stats.events.load(Relaxed),
                stats.compressed_bytes.load(Relaxed),
                stats.dropped_events.load(Relaxed),
            ],
            features: self
                .sampler
                .shown()
                .map(|shown| [shown.vectors, shown.bytes, shown.dropped]),
            overflowed: feeds.iter().map(|feed| feed.overflowed).sum(),
            rss_bytes: memory.map_or(0, |memory| memory.rss_bytes),
            anon_bytes: memory.map_or(0, |memory| memory.anon_bytes),
            state_hash: hex(&engine.state_hash()),
        }
    }
}

async fn acknowledged(
    done: tokio::sync::oneshot::Receiver<Result<(), store::StoreError>>,
    what: &str,
) -> Result<(), RunError> {
    match timeout(COMMIT_PATIENCE, done).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(RunError(format!("{what}: {error}"))),
        Ok(Err(_)) | Err(_) => Err(RunError(format!(
            "{what}: the store does not answer; check the disk, then start again"
        ))),
    }
}

/// Bytes as hexadecimal text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
