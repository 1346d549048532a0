//! Times and heap use of every step from a frame to features, against peers in the same run.
//!
//! `cargo bench -p tickerml-benches` measures every tape; words after `--` name the tapes to keep
//! (`-- kraken`). It prints a table for people, then one JSON object a line for programs.
//! docs/BENCHMARKS.md says how to read them. Without `--bench` (a test run) it makes one quick pass
//! over the simulated tapes, for its assertions: that the peers do the same work.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use hftbacktest::depth::{BTreeMarketDepth, HashMapMarketDepth, L2MarketDepth, MarketDepth};
use hftbacktest::types::Side as PeerSide;
use serde::Serialize;
use tickerml_benches::counting::{Counting, Heap};
use tickerml_benches::ordinary::{BOOK_FEATURES, Ordinary};
use tickerml_benches::stats::{Summary, Times};
use tickerml_benches::tape::{self, RECORDINGS, Tape};
use tickerml_edge::venue::session::Session;
use tickerml_shared::book::Book;
use tickerml_shared::engine::{Engine, Output, Setup};
use tickerml_shared::event::{Body, Depth, DepthKind, Event, Level, Record, Side, Touch, Update};
use tickerml_shared::features::{Features, Vector, View};
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::num::pow10;
use tickerml_shared::synchroniser::Synchroniser;
use tickerml_shared::time::Time;
use tickerml_sim::VenueKind;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Passes over a tape; each figure is its least over them.
const PASSES: usize = 7;
/// Short tapes are run so often that a pass has about this many operations.
const OPERATIONS: usize = 40_000;
/// Seconds of simulated market: measured, and in a test run.
const SIMULATED_S: (u64, u64) = (60, 3);
/// The target of frame→features on the development machine, nanoseconds: median and 99th percentile.
const TARGET: (f64, f64) = (5_000.0, 20_000.0);
/// Book features of both ways are equal to the precision of the state vector, which is `f32`.
const TOLERANCE: f64 = 1e-4;
/// Of them, those that look beyond the touch.
const DEEPER: [&str; 2] = ["book_imbalance_5", "book_imbalance_10"];
/// Reads of the clock by which its cost is told.
const CLOCK_READS: u32 = 100_000;

/// What was measured of one way to do one piece of work on one tape.
#[derive(Clone, Debug, Serialize)]
struct Row {
    tape: String,
    work: &'static str,
    way: &'static str,
    #[serde(flatten)]
    times: Summary,
    /// A frame, after the first third of the tape.
    allocations: f64,
    /// Likewise.
    bytes: f64,
}

/// A tape with all that is decoded of it.
struct Prepared<'a> {
    tape: &'a Tape,
    instruments: Vec<Instrument>,
    /// Everything that the session gave, in order, with the time of its frame.
    updates: Vec<(Time, Update)>,
    messages: Vec<Message>,
    /// The same messages as the peer takes them.
    peer_messages: Vec<PeerMessage>,
    /// Step of price and of quantity that all levels of an instrument share.
    steps: Vec<(i64, i64)>,
}

/// A whole depth message.
struct Message {
    now: Time,
    instrument: usize,
    parts: Vec<Depth>,
    /// Best-bid/ask frames since the message before it.
    touches: Vec<Touch>,
}

/// The same as the peer takes it.
struct PeerMessage {
    instrument: usize,
    snapshot: bool,
    bids: Vec<(f64, f64)>,
    asks: Vec<(f64, f64)>,
}

/// The times of each pass and the heap use of the last.
struct Meter {
    passes: Vec<Summary>,
    heap: Heap,
    counted: u64,
}

impl Meter {
    const fn new() -> Self {
        Self {
            passes: Vec::new(),
            heap: Heap { calls: 0, bytes: 0 },
            counted: 0,
        }
    }

    /// One pass: `rounds` times everything in `items`, each round on a new state.
    fn pass<S, T>(
        &mut self,
        rounds: usize,
        make: impl Fn() -> S,
        items: impl ExactSizeIterator<Item = T> + Clone,
        work: impl FnMut(&mut S, T),
    ) {
        self.prepared_pass(rounds, make, items, |_, item| item, work);
    }

    /// Likewise; what `prepare` does before each piece of work is not measured.
    fn prepared_pass<S, I, T>(
        &mut self,
        rounds: usize,
        make: impl Fn() -> S,
        items: impl ExactSizeIterator<Item = I> + Clone,
        mut prepare: impl FnMut(&mut S, I) -> T,
        mut work: impl FnMut(&mut S, T),
    ) {
        let warm = items.len() / 3;
        let mut times = Times::with_capacity(items.len() * rounds);
        (self.heap, self.counted) = (Heap::default(), 0);
        for _ in 0..rounds {
            let mut state = make();
            for (place, item) in items.clone().enumerate() {
                let item = prepare(&mut state, item);
                let heap = Heap::now();
                let start = Instant::now();
                work(&mut state, item);
                times.note(start.elapsed().as_nanos());
                if place >= warm {
                    let used = Heap::now().since(heap);
                    self.heap.calls += used.calls;
                    self.heap.bytes += used.bytes;
                    self.counted += 1;
                }
            }
        }
        self.passes.push(times.summary());
    }

    fn row(&self, tape: &Tape, work: &'static str, way: &'static str) -> Row {
        let counted = self.counted.max(1) as f64;
        Row {
            tape: tape.name.clone(),
            work,
            way,
            times: Summary::least(&self.passes),
            allocations: self.heap.calls as f64 / counted,
            bytes: self.heap.bytes as f64 / counted,
        }
    }
}

/// Frames to features as the desk does it, without holding anything back.
struct Pipeline {
    session: Session,
    synchroniser: Synchroniser,
    engine: Engine,
    seq: u64,
    /// Whether the venue's checksums are verified; no peer does it.
    verifies: bool,
}

impl Pipeline {
    fn new(prepared: &Prepared<'_>, verifies: bool) -> Self {
        Self {
            session: Session::capture(prepared.tape.venue),
            synchroniser: Synchroniser::new(0),
            engine: Engine::new(Setup::market_only(prepared.instruments.clone())),
            seq: 0,
            verifies,
        }
    }

    fn frame(&mut self, now: Time, text: &str) {
        self.session.handle_frame(now, text);
        while let Some(mut update) = self.session.poll_update() {
            if let (false, Body::Depth(depth)) = (self.verifies, &mut update.body) {
                depth.checksum = None;
            }
            self.synchroniser.push(update, now);
        }
        while let Some(update) = self.synchroniser.poll(now) {
            self.seq += 1;
            let instrument = update.instrument;
            self.engine.handle(&Record {
                seq: self.seq,
                at: now,
                event: Event::Market(update),
            });
            black_box(self.engine.table(instrument));
            while let Some(output) = self.engine.poll() {
                if let Output::Resync { instrument, .. } = output {
                    self.session.resync(now, instrument);
                }
            }
        }
    }
}

impl<'a> Prepared<'a> {
    fn new(tape: &'a Tape) -> Self {
        let mut session = Session::capture(tape.venue);
        let mut updates = Vec::new();
        for (now, text) in &tape.frames {
            session.handle_frame(*now, text);
            updates
                .extend(std::iter::from_fn(|| session.poll_update()).map(|update| (*now, update)));
        }
        assert_eq!(
            session.status().parse_errors,
            0,
            "{}: a frame could not be read",
            tape.name
        );
        let listings = session.reader().listings();
        let instruments: Vec<_> = listings
            .iter()
            .map(|listing| listing.instrument.clone())
            .collect();
        let mut prepared = Self {
            tape,
            updates,
            messages: Vec::new(),
            peer_messages: Vec::new(),
            steps: vec![(0, 0); instruments.len()],
            instruments,
        };
        prepared.cut();
        prepared
    }

    /// Cuts the depth messages out, and finds their steps.
    fn cut(&mut self) {
        let mut open: Vec<(Vec<Depth>, Vec<Touch>)> =
            vec![Default::default(); self.instruments.len()];
        for (now, update) in &self.updates {
            let instrument = update.instrument.index();
            let (parts, touches) = &mut open[instrument];
            let depth = match &update.body {
                Body::Depth(depth) => depth,
                Body::Touch(touch) => {
                    touches.push(*touch);
                    continue;
                }
                Body::Trade(_) | Body::Funding(_) | Body::Gap(_) | Body::Candle(_) => continue,
            };
            let (tick, lot) = &mut self.steps[instrument];
            for level in &depth.levels {
                (*tick, *lot) = (gcd(*tick, level.price.0), gcd(*lot, level.qty.0));
            }
            parts.push(depth.clone());
            if depth.last {
                let (parts, touches) = std::mem::take(&mut open[instrument]);
                self.peer_messages
                    .push(PeerMessage::of(instrument, &self.instruments, &parts));
                self.messages.push(Message {
                    now: *now,
                    instrument,
                    parts,
                    touches,
                });
            }
        }
    }

    fn has_checksums(&self) -> bool {
        let mut parts = self.messages.iter().flat_map(|message| &message.parts);
        parts.any(|part| part.checksum.is_some())
    }

    fn rounds(&self, quick: bool, operations: usize) -> usize {
        if quick {
            1
        } else {
            (OPERATIONS / operations.max(1)).max(1)
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What one is, in units of price and of quantity.
fn units(instrument: &Instrument) -> (f64, f64) {
    (
        pow10(instrument.price_scale) as f64,
        pow10(instrument.qty_scale) as f64,
    )
}

impl PeerMessage {
    fn of(instrument: usize, instruments: &[Instrument], parts: &[Depth]) -> Self {
        let (price, qty) = units(&instruments[instrument]);
        let float = |level: &Level| (level.price.0 as f64 / price, level.qty.0 as f64 / qty);
        Self {
            instrument,
            snapshot: parts
                .iter()
                .any(|depth| matches!(depth.kind, DepthKind::Snapshot { .. })),
            bids: parts.iter().flat_map(Depth::bids).map(float).collect(),
            asks: parts.iter().flat_map(Depth::asks).map(float).collect(),
        }
    }

    fn apply(&self, books: &mut [impl L2MarketDepth + MarketDepth]) -> (i64, i64) {
        let book = &mut books[self.instrument];
        if self.snapshot {
            book.clear_depth(PeerSide::None, 0.0);
        }
        for (price, qty) in &self.bids {
            book.update_bid_depth(*price, *qty, 0);
        }
        for (price, qty) in &self.asks {
            book.update_ask_depth(*price, *qty, 0);
        }
        (book.best_bid_tick(), book.best_ask_tick())
    }
}

impl Message {
    fn apply(&self, books: &mut [Book], instruments: &[Instrument]) -> (i64, i64) {
        let book = &mut books[self.instrument];
        for depth in &self.parts {
            black_box(book.depth(depth, &instruments[self.instrument], self.now));
        }
        let best = |side| book.best(side).map_or(0, |level| level.price.0);
        (best(Side::Buy), best(Side::Sell))
    }

    /// The frames of the other stream that came before it.
    fn touch(&self, books: &mut [Book]) {
        for touch in &self.touches {
            black_box(books[self.instrument].touch(touch, self.now));
        }
    }

    /// Without the venue's checksum: the peer verifies none.
    fn unverified(&self) -> Self {
        let bare = |depth: &Depth| Depth {
            checksum: None,
            ..depth.clone()
        };
        Self {
            now: self.now,
            instrument: self.instrument,
            parts: self.parts.iter().map(bare).collect(),
            touches: self.touches.clone(),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = !arguments.iter().any(|argument| argument == "--bench");
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let mut tapes = Vec::new();
    for recording in if quick { &[][..] } else { &RECORDINGS[..] } {
        match tape::recorded(recording) {
            Some(tape) => tapes.push(tape),
            None => println!(
                "SKIP {}: no recording at hand (set TICKERML_DATA)",
                recording.0
            ),
        }
    }
    let seconds = if quick { SIMULATED_S.1 } else { SIMULATED_S.0 };
    tapes.extend(VenueKind::ALL.map(|kind| tape::simulated(kind, seconds)));
    tapes.retain(|tape| wanted.is_empty() || wanted.iter().any(|word| tape.name.contains(*word)));
    println!(
        "reading the clock takes {:.0} ns of every time below",
        clock_cost()
    );
    let mut rows = Vec::new();
    for tape in &tapes {
        let prepared = Prepared::new(tape);
        assert_same_features(&prepared);
        report_agreement(&prepared);
        rows.extend(measure(&prepared, quick));
    }
    if quick {
        println!("a test run: nothing here is a measurement");
        return ExitCode::SUCCESS;
    }
    print_table(&rows);
    for row in &rows {
        println!("{}", serde_json::to_string(row).expect("plain data"));
    }
    ExitCode::SUCCESS
}

fn clock_cost() -> f64 {
    let start = Instant::now();
    for _ in 0..CLOCK_READS {
        black_box(Instant::now());
    }
    start.elapsed().as_nanos() as f64 / f64::from(CLOCK_READS)
}

/// The two ways must give the same book features after every frame, else a ratio says nothing. Only
/// the sums over several levels may differ, on tapes whose market moves beyond the levels that our
/// book keeps; how often they do is printed.
fn assert_same_features(prepared: &Prepared<'_>) {
    let mut ours = Pipeline::new(prepared, true);
    let mut theirs = Ordinary::new(prepared.tape.venue);
    let (mut compared, mut deeper) = (0, 0);
    for (line, (now, text)) in prepared.tape.frames.iter().enumerate() {
        ours.frame(*now, text);
        theirs.frame(now.0, text).expect("JSON");
        for (id, instrument) in (0..).map(InstrumentId).zip(&prepared.instruments) {
            let table = ours.engine.table(id);
            let vector = table.map(|table| Vector::select(&table));
            let theirs = theirs
                .markets
                .get(instrument.symbol.as_str())
                .and_then(|market| market.features);
            let (Some(ours), Some(theirs)) = (vector, theirs) else {
                continue;
            };
            compared += 1;
            let differing = BOOK_FEATURES.iter().zip(theirs).find(|(name, theirs)| {
                let ours = f64::from(ours.named(name).expect("a live book has it"));
                (ours - theirs).abs() > TOLERANCE * theirs.abs().max(1.0)
            });
            match differing {
                None => {}
                Some((name, _)) if DEEPER.contains(name) => deeper += 1,
                Some((name, theirs)) => panic!(
                    "{} line {}: {name} of {:?}: {:?} against {theirs:?}",
                    prepared.tape.name,
                    line + 1,
                    instrument.symbol,
                    ours.named(name)
                ),
            }
        }
    }
    println!(
        "{}: of {compared} comparisons with the ordinary way, {deeper} differ, and only beyond the touch",
        prepared.tape.name
    );
    assert!(compared > 0, "{}: nothing to compare", prepared.tape.name);
    for (instrument, cell) in prepared.instruments.iter().zip(ours.engine.cells()) {
        let counters = cell.book.counters();
        assert!(
            cell.book.is_live() || counters.events == 0,
            "{}: {:?} ended stale: {counters:?}",
            prepared.tape.name,
            instrument.symbol
        );
    }
}

/// How often the peer's books have the same best bid and ask as ours after a message.
fn report_agreement(prepared: &Prepared<'_>) {
    let mut ours = books(prepared);
    let mut hashes = hash_books(prepared);
    let mut trees = tree_books(prepared);
    let mut agreed = [0_usize; 2];
    for (mine, message) in prepared.messages.iter().zip(&prepared.peer_messages) {
        mine.touch(&mut ours);
        mine.apply(&mut ours, &prepared.instruments);
        let book = &ours[mine.instrument];
        assert!(book.is_live(), "{}: a stale book", prepared.tape.name);
        let (tick, _) = prepared.steps[message.instrument];
        // The diffs alone: the peer hears of no best-bid/ask stream.
        let best = |side| {
            book.ladder(side)
                .next()
                .map_or(0, |level| level.price.0 / tick)
        };
        let best = (best(Side::Buy), best(Side::Sell));
        agreed[0] += usize::from(message.apply(&mut hashes) == best);
        agreed[1] += usize::from(message.apply(&mut trees) == best);
    }
    println!(
        "{}: of {} depth messages, best bid and ask equal ours after {} (HashMap) and {} (BTree)",
        prepared.tape.name,
        prepared.messages.len(),
        agreed[0],
        agreed[1]
    );
}

fn books(prepared: &Prepared<'_>) -> Vec<Book> {
    vec![Book::new(); prepared.instruments.len()]
}

fn hash_books(prepared: &Prepared<'_>) -> Vec<HashMapMarketDepth> {
    steps(prepared)
        .map(|(tick, lot)| HashMapMarketDepth::new(tick, lot))
        .collect()
}

fn tree_books(prepared: &Prepared<'_>) -> Vec<BTreeMarketDepth> {
    steps(prepared)
        .map(|(tick, lot)| BTreeMarketDepth::new(tick, lot))
        .collect()
}

fn steps(prepared: &Prepared<'_>) -> impl Iterator<Item = (f64, f64)> {
    prepared
        .instruments
        .iter()
        .zip(&prepared.steps)
        .map(|(instrument, (tick, lot))| {
            let (price, qty) = units(instrument);
            (*tick as f64 / price, *lot as f64 / qty)
        })
}

/// Where the venue sends checksums: the book with the verification that no peer does, and the whole
/// way without it.
const VERIFIED: &str = "ours, checksums verified";
const UNVERIFIED: &str = "ours, checksums not verified";

/// Every piece of work on one tape. Each pass measures all of them in turn, so that whatever else
/// the machine does meets ours and the peers alike.
fn measure(prepared: &Prepared<'_>, quick: bool) -> Vec<Row> {
    const ROWS: [(&str, &str); 12] = [
        ("decode", "ours"),
        ("decode", "serde_json::Value, parse only"),
        ("book", "ours"),
        ("book", VERIFIED),
        ("book", "hftbacktest HashMapMarketDepth"),
        ("book", "hftbacktest BTreeMarketDepth"),
        ("synchroniser", "ours"),
        ("features", "ours"),
        ("engine", "ours"),
        ("frame→features", "ours"),
        ("frame→features", UNVERIFIED),
        ("frame→features", "Value, f64, BTreeMap, VecDeque"),
    ];
    let mut meters: Vec<Meter> = ROWS.iter().map(|_| Meter::new()).collect();
    for _ in 0..if quick { 1 } else { PASSES } {
        let [
            decode,
            parse,
            book,
            verified,
            hash,
            tree,
            hold,
            features,
            engine,
            whole,
            unverified,
            ordinary,
        ] = &mut meters[..]
        else {
            unreachable!("one meter a row");
        };
        frame_passes(
            prepared,
            quick,
            [decode, parse, whole, unverified, ordinary],
        );
        book_passes(prepared, quick, [book, verified, hash, tree]);
        update_passes(prepared, quick, [hold, features, engine]);
    }
    let rows = ROWS.iter().zip(&meters);
    rows.filter(|(_, meter)| !meter.passes.is_empty())
        .map(|((work, way), meter)| meter.row(prepared.tape, work, way))
        .collect()
}

fn frame_passes(prepared: &Prepared<'_>, quick: bool, meters: [&mut Meter; 5]) {
    let [decode, parse, whole, unverified, ordinary] = meters;
    let (tape, frames) = (prepared.tape, prepared.tape.frames.iter());
    let rounds = prepared.rounds(quick, frames.len());
    let session = || Session::capture(tape.venue);
    decode.pass(rounds, session, frames.clone(), |session, (now, text)| {
        session.handle_frame(*now, text);
        while let Some(update) = session.poll_update() {
            black_box(&update);
        }
    });
    parse.pass(
        rounds,
        || (),
        frames.clone(),
        |(), (_, text)| {
            drop(black_box(serde_json::from_str::<serde_json::Value>(text)));
        },
    );
    for (meter, verifies) in [(whole, true), (unverified, false)] {
        if verifies || prepared.has_checksums() {
            meter.pass(
                rounds,
                || Pipeline::new(prepared, verifies),
                frames.clone(),
                |pipeline, (now, text)| {
                    pipeline.frame(*now, text);
                    black_box(pipeline.engine.cells());
                },
            );
        }
    }
    let way = || Ordinary::new(tape.venue);
    ordinary.pass(rounds, way, frames, |way, (now, text)| {
        let read = way.frame(now.0, text);
        debug_assert!(read.is_ok(), "asserted before");
        black_box(&way.markets);
    });
}

fn book_passes(prepared: &Prepared<'_>, quick: bool, meters: [&mut Meter; 4]) {
    let [ours, verified, hash, tree] = meters;
    let rounds = prepared.rounds(quick, prepared.messages.len());
    let bare: Vec<Message> = prepared.messages.iter().map(Message::unverified).collect();
    for (meter, messages) in [(ours, &bare), (verified, &prepared.messages)] {
        if !std::ptr::eq(messages, &bare) && !prepared.has_checksums() {
            continue;
        }
        meter.prepared_pass(
            rounds,
            || books(prepared),
            messages.iter(),
            |books, message| {
                message.touch(books);
                message
            },
            |books, message| {
                black_box(message.apply(books, &prepared.instruments));
            },
        );
    }
    let messages = prepared.peer_messages.iter();
    hash.pass(
        rounds,
        || hash_books(prepared),
        messages.clone(),
        |books, message| {
            black_box(message.apply(books));
        },
    );
    tree.pass(
        rounds,
        || tree_books(prepared),
        messages,
        |books, message| {
            black_box(message.apply(books));
        },
    );
}

fn update_passes(prepared: &Prepared<'_>, quick: bool, meters: [&mut Meter; 3]) {
    let [hold, features, engine] = meters;
    let updates = prepared.updates.iter();
    let rounds = prepared.rounds(quick, updates.len());
    // Cloned before its time starts: in the product an update comes warm from the session.
    let cloned = updates.clone().cloned();
    hold.pass(
        rounds,
        || Synchroniser::new(0),
        cloned,
        |synchroniser, (now, update)| {
            synchroniser.push(update, now);
            while let Some(update) = synchroniser.poll(now) {
                black_box(&update);
            }
        },
    );
    // The book moves on before the time starts, so only its features are measured.
    features.prepared_pass(
        rounds,
        || {
            (
                books(prepared),
                vec![Features::new(); prepared.instruments.len()],
            )
        },
        updates.clone(),
        |(books, _), (now, update)| {
            let place = update.instrument.index();
            let book = &mut books[place];
            match &update.body {
                Body::Depth(depth) => drop(book.depth(depth, &prepared.instruments[place], *now)),
                Body::Touch(touch) => drop(book.touch(touch, *now)),
                Body::Gap(gap) => book.invalidate(*gap, *now),
                Body::Trade(_) | Body::Funding(_) | Body::Candle(_) => {}
            }
            (place, *now, update)
        },
        |(books, features), (place, now, update)| {
            let instrument = &prepared.instruments[place];
            features[place].update(update, &books[place], instrument, now);
            let top = features[place].top();
            black_box(top.map(|top| {
                features[place].read(&View {
                    top,
                    instrument,
                    cross: None,
                    funding: None,
                    received: now,
                    lag_ns: 0,
                    at: now,
                })
            }));
        },
    );
    let make = || {
        (
            Engine::new(Setup::market_only(prepared.instruments.clone())),
            0,
        )
    };
    let records = updates.map(|(now, update)| Record {
        seq: 0,
        at: *now,
        event: Event::Market(update.clone()),
    });
    engine.pass(rounds, make, records, |(engine, seq), mut record| {
        *seq += 1;
        record.seq = *seq;
        engine.handle(&record);
        while engine.poll().is_some() {}
    });
}

fn print_table(rows: &[Row]) {
    let line = |cells: [String; 12]| println!("| {} |", cells.join(" | "));
    line(
        [
            "tape",
            "work",
            "way",
            "a pass",
            "mean",
            "p50",
            "p99",
            "p99.9",
            "× p50",
            "× p99",
            "allocations",
            "bytes",
        ]
        .map(str::to_owned),
    );
    println!("|---|---|---|{}", "--:|".repeat(9));
    for row in rows {
        let ours = rows
            .iter()
            .find(|other| (other.work, other.way, &other.tape) == (row.work, "ours", &row.tape));
        let ratio = |figure: fn(&Summary) -> f64| match ours {
            Some(ours) if row.way != "ours" => {
                format!("{:.1}", figure(&row.times) / figure(&ours.times))
            }
            _ => String::new(),
        };
        line([
            row.tape.clone(),
            row.work.to_owned(),
            row.way.to_owned(),
            row.times.count.to_string(),
            format!("{:.0}", row.times.mean),
            format!("{:.0}", row.times.p50),
            format!("{:.0}", row.times.p99),
            format!("{:.0}", row.times.p999),
            ratio(|times| times.p50),
            ratio(|times| times.p99),
            format!("{:.2}", row.allocations),
            format!("{:.0}", row.bytes),
        ]);
    }
    for row in rows
        .iter()
        .filter(|row| (row.work, row.way) == ("frame→features", "ours"))
    {
        let (p50, p99) = (row.times.p50, row.times.p99);
        let verdict = if p50 <= TARGET.0 && p99 <= TARGET.1 {
            "met"
        } else {
            "missed"
        };
        println!(
            "target {verdict}: {}: p50 {p50:.0} ns, p99 {p99:.0} ns",
            row.tape
        );
    }
}
