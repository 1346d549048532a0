//! The past through the same code: captures and journals.
//!
//! A capture is a venue's frames, one per line; they go through the session, the synchroniser and
//! the engine exactly as live frames do. A journal is the engine's own records: folding them gives
//! the state of that day again, and what the engine concludes on the way (fills, above all) is
//! compared with what the journal says. With another policy the logged decisions and fills are
//! dropped and asked for again.

pub mod grid;
mod lines;
pub mod trial;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tickerml_shared::book::{Counters, State as BookState};
use tickerml_shared::engine::{Cell, Engine, Output, Setup};
use tickerml_shared::event::{Decision, Event, GapReason, Level, Record, Side};
use tickerml_shared::instrument::{Instrument, MAX_INSTRUMENTS, Venue};
use tickerml_shared::order::{Outcome, Report};
use tickerml_shared::record::Decoder;
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::Time;
use tickerml_shared::trajectory::MarketStep;

use self::lines::{Ending, for_each_line};
use crate::journal::{self, Item, JournalError};
use crate::policy::Policy;
use crate::run::hex;
use crate::venue::session::Session;

/// Levels a side that are printed.
const SHOWN_LEVELS: usize = 10;
/// Stampless lines are this far apart, in nanoseconds, unless a venue's stamp says otherwise.
const STAMPLESS_STEP_NS: u64 = 1_000;
/// Progress is printed every so many lines, to a terminal only.
const PROGRESS_LINES: u64 = 20_000;

/// Why a replay is impossible: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayError(String);

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReplayError {}

/// What a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// One entry per input, in order.
    pub inputs: Vec<Input>,
    /// The engine's fingerprint after all of them.
    pub state_hash: String,
    /// The account, for journals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

/// One input.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// Its path.
    pub path: String,
    /// Its venue; `journal` for a journal.
    pub venue: String,
    /// Its instruments.
    pub instruments: Vec<InstrumentReport>,
    /// What was wrong with it, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}

/// What one input said about one instrument.
#[derive(Clone, Debug, Serialize)]
pub struct InstrumentReport {
    /// The venue's symbol (with the venue's name before it, for journals).
    pub instrument: String,
    /// Frames that concern it or all instruments; records, for journals.
    pub frames: u64,
    /// Depth messages applied.
    pub events: u64,
    /// Trades.
    pub trades: u64,
    /// Snapshots that brought the book back after a gap.
    pub resyncs: u64,
    /// Gaps by kind.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Venue checksums.
    pub checksums: Checksums,
    /// Best-bid/ask frames compared with the book of the same update id.
    pub bbo_checks: BboChecks,
    /// The book at the end.
    pub book: BookReport,
    /// Newest venue stamp.
    pub last_venue_time_ns: u64,
    /// Updates that arrived too late to be put in order.
    pub late: u64,
}

/// Venue checksums.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Checksums {
    /// That agreed.
    pub verified: u64,
    /// That did not.
    pub failed: u64,
}

/// Best-bid/ask comparisons.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct BboChecks {
    /// That agreed.
    pub equal: u64,
    /// That did not.
    pub different: u64,
}

/// A book.
#[derive(Clone, Debug, Serialize)]
pub struct BookReport {
    /// `live` or `stale`.
    pub state: &'static str,
    /// Why it is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The ten best bids of the depth stream, best first: price and quantity.
    pub bids: Vec<[String; 2]>,
    /// The ten best asks, likewise.
    pub asks: Vec<[String; 2]>,
    /// All levels held: bids, asks.
    pub depth: [usize; 2],
}

/// The account at the end of a journal.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Equity, exact.
    pub equity: String,
    /// Cash, exact.
    pub cash: String,
    /// Fills.
    pub fills: u64,
    /// Decisions.
    pub decisions: u64,
    /// Whether every fill of the journal is what the engine computes.
    pub fills_equal: u64,
    /// Fills that differ.
    pub fills_different: u64,
    /// The newest record.
    pub last_seq: u64,
}

/// Shown the engine before each record is applied, and the record's time.
pub type Before<'a> = &'a mut dyn FnMut(&Engine, Time);

/// Replays captures of one venue as one tape, in the order given.
///
/// # Errors
/// When an input cannot be read, or names more instruments than an engine holds.
pub fn captures(venue: Venue, paths: &[PathBuf]) -> Result<Replay, ReplayError> {
    watch_captures(venue, paths, &mut |_, _| {})
}

/// Replays captures of one venue, as [`captures`] does, and shows the engine before each record.
///
/// # Errors
/// Those of [`captures`].
pub fn watch_captures(
    venue: Venue,
    paths: &[PathBuf],
    before: Before<'_>,
) -> Result<Replay, ReplayError> {
    let instruments = discover(venue, paths)?;
    let engine = Engine::new(Setup::market_only(instruments));
    let mut tape = Tape::new(venue, engine, before);
    let mut inputs = Vec::new();
    for path in paths {
        let before = tape.marks();
        let mut frames = vec![Frames::default(); tape.engine.cells().len()];
        let mut progress = Progress::new(path);
        let ending = for_each_line(path, venue, |received, text| {
            progress.line();
            tape.frame(received, text, &mut frames);
        })?;
        progress.done();
        let mut input = tape.report(path, &before, &frames);
        if let Ending::Torn = ending {
            let text = "its compressed stream breaks off, as when a recorder was killed";
            input.troubles.push(text.to_owned());
        }
        inputs.push(input);
    }
    Ok(Replay {
        inputs,
        state_hash: hex(&tape.engine.state_hash()),
        account: None,
    })
}

/// The instruments that the captures name, in order of appearance.
fn discover(venue: Venue, paths: &[PathBuf]) -> Result<Vec<Instrument>, ReplayError> {
    let mut session = Session::capture(venue);
    for path in paths {
        for_each_line(path, venue, |received, text| {
            session.handle_frame(received.unwrap_or_default(), text);
            while session.poll_update().is_some() {}
        })?;
    }
    let listings = session.reader().listings();
    if listings.is_empty() {
        let paths: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(ReplayError(format!(
            "{}: no frame of {venue} in it; is --venue right?",
            paths.join(", ")
        )));
    }
    if listings.len() >= MAX_INSTRUMENTS {
        return Err(ReplayError(format!(
            "the captures name {MAX_INSTRUMENTS} instruments or more; replay fewer at once"
        )));
    }
    Ok(listings
        .iter()
        .map(|listing| listing.instrument.clone())
        .collect())
}

/// A running replay of captures.
struct Tape<'a> {
    watch: Before<'a>,
    venue: Venue,
    session: Session,
    synchroniser: Synchroniser,
    engine: Engine,
    now: Time,
    seq: u64,
    late: Vec<u64>,
    /// Instruments that the current frame changed.
    touched: Vec<usize>,
}

/// Frames of one input that concern an instrument, and those that concern none in particular.
#[derive(Clone, Copy, Default)]
struct Frames {
    own: u64,
    shared: u64,
}

/// Counters of a cell when an input began.
type Mark = (Counters, u64, u64);

impl<'a> Tape<'a> {
    fn new(venue: Venue, engine: Engine, watch: Before<'a>) -> Self {
        let late = vec![0; engine.cells().len()];
        let session = Session::capture(venue);
        let synchroniser = Synchroniser::new(HOLD_NS);
        Self {
            watch,
            venue,
            session,
            synchroniser,
            engine,
            now: Time(1),
            seq: 0,
            late,
            touched: Vec::new(),
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let late = self.late.iter();
        self.engine
            .cells()
            .iter()
            .zip(late)
            .map(|(cell, late)| (cell.book.counters().clone(), cell.trades, *late))
            .collect()
    }

    fn frame(&mut self, received: Option<Time>, text: &str, frames: &mut [Frames]) {
        self.now = received
            .unwrap_or_else(|| self.now.plus(STAMPLESS_STEP_NS))
            .max(self.now);
        self.session.handle_frame(self.now, text);
        self.touched.clear();
        while let Some(update) = self.session.poll_update() {
            if received.is_none() {
                self.now = self.now.max(update.venue_time);
            }
            self.touched.push(update.instrument.index());
            self.synchroniser.push(update, self.now);
        }
        self.count(text, frames);
        self.release(self.now);
    }

    /// A frame counts for the instruments that it changed, else for those that it names, else for
    /// all.
    fn count(&mut self, text: &str, frames: &mut [Frames]) {
        if self.touched.is_empty() && frames.len() > 1 {
            self.touched = self.session.reader().named(text);
        } else if self.touched.is_empty() {
            self.touched.push(0);
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        if self.touched.is_empty() {
            frames.iter_mut().for_each(|count| count.shared += 1);
        }
        for place in &self.touched {
            frames[*place].own += 1;
        }
    }

    fn release(&mut self, until: Time) {
        while let Some(update) = self.synchroniser.poll(until) {
            self.late[update.instrument.index()] += u64::from(update.late);
            self.seq += 1;
            let record = Record {
                seq: self.seq,
                at: self.now,
                event: Event::Market(update),
            };
            (self.watch)(&self.engine, record.at);
            self.engine.handle(&record);
            while let Some(output) = self.engine.poll() {
                if let Output::Resync { instrument, .. } = output {
                    self.session.resync(self.now, instrument);
                }
            }
        }
    }

    fn finish(&mut self) {
        self.release(Time(u64::MAX));
    }

    fn report(&mut self, path: &Path, before: &[Mark], frames: &[Frames]) -> Input {
        // What this input still holds back belongs to it.
        self.finish();
        let instruments = &self.engine.setup().instruments;
        let cells = self.engine.cells().iter().zip(instruments);
        let instruments = cells
            .zip(before)
            .zip(frames)
            .zip(&self.late)
            .filter(|(((_, _), frames), _)| frames.own > 0)
            .map(|((((cell, instrument), before), frames), late)| {
                let name = instrument.symbol.to_string();
                instrument_report(
                    name,
                    cell,
                    instrument,
                    before,
                    frames.own + frames.shared,
                    *late,
                )
            })
            .collect();
        Input {
            path: path.display().to_string(),
            venue: self.venue.name().to_owned(),
            instruments,
            troubles: self
                .session
                .status()
                .last_error
                .clone()
                .into_iter()
                .collect(),
        }
    }
}

fn instrument_report(
    name: String,
    cell: &Cell,
    instrument: &Instrument,
    (before, trades, late_before): &Mark,
    frames: u64,
    late: u64,
) -> InstrumentReport {
    let counters = cell.book.counters();
    let gaps = GapReason::ALL
        .into_iter()
        .filter(|reason| *reason != GapReason::Unsynced)
        .map(|reason| {
            (
                reason.name(),
                counters.gaps[reason as usize] - before.gaps[reason as usize],
            )
        });
    InstrumentReport {
        instrument: name,
        frames,
        events: counters.events - before.events,
        trades: cell.trades - trades,
        resyncs: counters.resyncs - before.resyncs,
        gaps: gaps.collect(),
        checksums: Checksums {
            verified: counters.checksums_verified - before.checksums_verified,
            failed: counters.checksums_failed - before.checksums_failed,
        },
        bbo_checks: BboChecks {
            equal: counters.touches_equal - before.touches_equal,
            different: counters.touches_different - before.touches_different,
        },
        book: book_report(cell, instrument),
        last_venue_time_ns: cell.venue_time.0,
        late: late - late_before,
    }
}

fn book_report(cell: &Cell, instrument: &Instrument) -> BookReport {
    let levels = |side: Side| {
        let text = |level: Level| level_text(instrument, level);
        cell.book
            .ladder(side)
            .take(SHOWN_LEVELS)
            .map(text)
            .collect()
    };
    let (state, reason) = match cell.book.state() {
        BookState::Live { .. } => ("live", None),
        BookState::Stale { reason, .. } => ("stale", Some(reason.name())),
    };
    let depth = [cell.book.len(Side::Buy), cell.book.len(Side::Sell)];
    BookReport {
        state,
        reason,
        bids: levels(Side::Buy),
        asks: levels(Side::Sell),
        depth,
    }
}

/// Price and quantity as exact text.
pub(crate) fn level_text(instrument: &Instrument, level: Level) -> [String; 2] {
    [
        instrument.price_text(level.price).to_string(),
        instrument.qty_text(level.qty).to_string(),
    ]
}

/// Replays a journal: a folder of day files, or one of them.
///
/// # Errors
/// When it cannot be read, or was made by a build that sees the market otherwise.
pub fn journals(path: &Path, policy: Option<&mut Policy>) -> Result<Replay, ReplayError> {
    let mut fold = JournalFold::new(policy);
    walk(path, &mut fold, |_, _| Ok(()))?;
    fold.report(path)
}

/// Replays a journal, as [`journals`] does, and shows the engine before each record.
///
/// # Errors
/// Those of [`journals`].
pub fn watch_journals(path: &Path, before: Before<'_>) -> Result<Replay, ReplayError> {
    let mut fold = JournalFold::new(None);
    fold.watch = Some(before);
    walk(path, &mut fold, |_, _| Ok(()))?;
    fold.report(path)
}

/// Gives the market steps of a journal with their instruments: what a policy saw at each pulse. An
/// error of `each` ends it.
///
/// # Errors
/// When the journal cannot be read; the error of `each`.
pub fn steps(
    path: &Path,
    mut each: impl FnMut(&MarketStep, &Instrument) -> Result<(), String>,
) -> Result<(), ReplayError> {
    walk(path, &mut JournalFold::new(None), |step, instrument| {
        each(step, instrument).map_err(ReplayError)
    })
}

/// What is done with each market step of a journal.
type OnStep<'a> = &'a mut dyn FnMut(&MarketStep, &Instrument) -> Result<(), ReplayError>;

/// Folds a journal: a folder of day files, or one of them.
fn walk(
    path: &Path,
    fold: &mut JournalFold<'_>,
    mut each: impl FnMut(&MarketStep, &Instrument) -> Result<(), ReplayError>,
) -> Result<(), ReplayError> {
    for_each_item(path, |item| {
        fold.item(item, &mut each)?;
        Ok(ControlFlow::Continue(()))
    })
}

/// Gives the items of a journal, a folder of day files or one of them, until `each` has enough.
fn for_each_item(
    path: &Path,
    mut each: impl FnMut(&Item<'_>) -> Result<ControlFlow<()>, ReplayError>,
) -> Result<(), ReplayError> {
    let failed = |error: JournalError| ReplayError(format!("{}: {error}", path.display()));
    let mut progress = Progress::new(path);
    if path.is_dir() {
        let mut reader = journal::read_dir(path).map_err(failed)?;
        while let Some(item) = reader.next_item().map_err(failed)? {
            progress.line();
            if each(&item)?.is_break() {
                break;
            }
        }
    } else {
        // The error names the path.
        let disk = journal::FileDisk::open_read(path).map_err(|error| {
            ReplayError(format!("{error}: is it a journal that this user can read?"))
        })?;
        let mut reader = journal::Reader::open(disk).map_err(failed)?;
        while let Some(item) = reader.next_item().map_err(failed)? {
            progress.line();
            if each(&item)?.is_break() {
                break;
            }
        }
    }
    progress.done();
    Ok(())
}

/// The setup that a run was journaled under.
fn setup_of(header: &journal::Header) -> Result<Setup, ReplayError> {
    let ours = tickerml_shared::schema::schema_id();
    if header.schema_id != ours.0 {
        return Err(ReplayError(format!(
            "the journal was written under schema {}, this build is {ours}: replay it with the build that wrote it",
            hex(&header.schema_id)
        )));
    }
    postcard::from_bytes(&header.instruments)
        .map_err(|error| ReplayError(format!("the journal's instrument table: {error}")))
}

/// The fold of a journal's items.
struct JournalFold<'a> {
    watch: Option<Before<'a>>,
    engine: Option<Engine>,
    policy: Option<&'a mut Policy>,
    /// Fills that the engine computed and the journal has not confirmed yet.
    expected: Vec<Report>,
    records: Vec<u64>,
    late: Vec<u64>,
    troubles: Vec<String>,
    decisions: u64,
    fills: u64,
    equal: u64,
    different: u64,
}

impl<'a> JournalFold<'a> {
    const fn new(policy: Option<&'a mut Policy>) -> Self {
        Self {
            watch: None,
            engine: None,
            policy,
            expected: Vec::new(),
            records: Vec::new(),
            late: Vec::new(),
            troubles: Vec::new(),
            decisions: 0,
            fills: 0,
            equal: 0,
            different: 0,
        }
    }

    fn item(&mut self, item: &Item<'_>, each: OnStep<'_>) -> Result<(), ReplayError> {
        match item {
            Item::Run(header) => self.begin(header)?,
            Item::Batch {
                first_seq,
                count,
                bytes,
                ..
            } => {
                for record in Decoder::new(*first_seq, *count, bytes) {
                    match record {
                        Ok(record) => self.record(&record, each)?,
                        Err(error) => {
                            self.troubles.push(format!("batch at {first_seq}: {error}"));
                            break;
                        }
                    }
                }
            }
            Item::Missing { from_seq, to_seq } => {
                self.troubles
                    .push(format!("records {from_seq} to {to_seq} are missing"));
            }
            Item::Damaged {
                offset,
                bytes,
                reason,
            } => {
                self.troubles
                    .push(format!("{bytes} bytes at {offset}: {reason}"));
            }
        }
        Ok(())
    }

    fn begin(&mut self, header: &journal::Header) -> Result<(), ReplayError> {
        let setup = setup_of(header)?;
        match &mut self.engine {
            Some(engine) => engine
                .rebase(setup)
                .map_err(|error| ReplayError(error.to_string())),
            None => {
                self.records = vec![0; setup.instruments.len()];
                self.late = vec![0; setup.instruments.len()];
                self.engine = Some(Engine::new(setup));
                Ok(())
            }
        }
    }

    fn record(&mut self, record: &Record, each: OnStep<'_>) -> Result<(), ReplayError> {
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        if let Event::Market(update) = &record.event
            && let Some(count) = self.records.get_mut(update.instrument.index())
        {
            *count += 1;
            self.late[update.instrument.index()] += u64::from(update.late);
        }
        if let Some(policy) = &mut self.policy {
            match record.event {
                Event::Start
                | Event::Market(_)
                | Event::Pulse
                | Event::Operator(_)
                | Event::Health(_) => {
                    ask_again(engine, record, policy, &mut self.decisions, &mut self.fills);
                }
                Event::Decision(_)
                | Event::Report(_)
                | Event::Funded(_)
                | Event::Mark(_)
                | Event::Restrict(_) => {}
            }
            return Ok(());
        }
        self.decisions += u64::from(matches!(record.event, Event::Decision(_)));
        if let Event::Report(report) = &record.event {
            self.compare(report);
        }
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        if let Some(watch) = &mut self.watch {
            watch(engine, record.at);
        }
        engine.handle(record);
        while let Some(output) = engine.poll() {
            match output {
                Output::Commit(Event::Report(report)) => self.expected.push(report),
                Output::Step(step) => {
                    each(&step, &engine.setup().instruments[step.instrument.index()])?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn compare(&mut self, report: &Report) {
        let place = self.expected.iter().position(|expected| {
            (expected.order, expected.number) == (report.order, report.number)
        });
        let Some(place) = place else { return };
        let same = self.expected.remove(place) == *report;
        self.fills += u64::from(matches!(report.outcome, Outcome::Filled(_)));
        self.equal += u64::from(same);
        self.different += u64::from(!same);
    }

    fn report(self, path: &Path) -> Result<Replay, ReplayError> {
        let Some(engine) = self.engine else {
            return Err(ReplayError(format!(
                "{}: no run in it; is it a journal?",
                path.display()
            )));
        };
        let zero = (Counters::default(), 0, 0);
        let cells = engine.cells().iter().zip(&engine.setup().instruments);
        let instruments = cells
            .zip(&self.records)
            .zip(&self.late)
            .map(|(((cell, instrument), records), late)| {
                let name = format!("{} {}", instrument.venue, instrument.symbol);
                instrument_report(name, cell, instrument, &zero, *records, *late)
            })
            .collect();
        let account = Account {
            equity: engine.equity().to_string(),
            cash: engine.ledger().cash().to_string(),
            fills: self.fills,
            decisions: self.decisions,
            fills_equal: self.equal,
            fills_different: self.different,
            last_seq: engine.seq(),
        };
        let input = Input {
            path: path.display().to_string(),
            venue: "journal".to_owned(),
            instruments,
            troubles: self.troubles,
        };
        let state_hash = hex(&engine.state_hash());
        Ok(Replay {
            inputs: vec![input],
            state_hash,
            account: Some(account),
        })
    }
}

/// Folds a logged market event or pulse and everything that a policy makes of it. Derived events
/// share the record's number and time.
fn ask_again(
    engine: &mut Engine,
    record: &Record,
    policy: &mut Policy,
    decisions: &mut u64,
    fills: &mut u64,
) {
    let mut events = VecDeque::from([record.event.clone()]);
    while let Some(event) = events.pop_front() {
        engine.handle(&Record {
            seq: record.seq,
            at: record.at,
            event,
        });
        while let Some(output) = engine.poll() {
            match output {
                Output::Ask { instrument, asked } => {
                    *decisions += 1;
                    let action = policy.answer(engine.window(instrument));
                    let decision = Decision {
                        instrument,
                        asked,
                        action,
                        latency_ns: 0,
                    };
                    events.push_back(Event::Decision(decision));
                }
                Output::Commit(event) => {
                    if let Event::Report(report) = &event {
                        *fills += u64::from(matches!(report.outcome, Outcome::Filled(_)));
                    }
                    events.push_back(event);
                }
                Output::Resync { .. }
                | Output::Verdict { .. }
                | Output::Step(_)
                | Output::History { .. }
                | Output::Booked { .. }
                | Output::Missed(_)
                | Output::Toxic(_)
                | Output::Arbitrage(_)
                | Output::Funding(_)
                | Output::Quality(_) => {}
            }
        }
    }
}

/// Lines done, on a terminal.
struct Progress {
    name: String,
    lines: u64,
    shown: bool,
    terminal: bool,
}

impl Progress {
    fn new(path: &Path) -> Self {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            name,
            lines: 0,
            shown: false,
            terminal: io::stderr().is_terminal(),
        }
    }

    fn line(&mut self) {
        self.lines += 1;
        if self.terminal && self.lines.is_multiple_of(PROGRESS_LINES) {
            eprint!("\r{}: {} lines", self.name, self.lines);
            self.shown = true;
        }
    }

    fn done(&self) {
        if self.shown {
            eprintln!("\r{}: {} lines, done", self.name, self.lines);
        }
    }
}
