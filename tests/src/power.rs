//! The power goes, at 200 moments of a run: between any two steps of the desk, and inside a write.
//!
//! The simulation trades in virtual time while its journal goes through the product's own writer to a
//! [`FaultyDisk`] and its trading events to a model of the store, in which a commit is durable at once.
//! At each cut, what survives is recovered by the product's own path and compared with what this file
//! works out for itself: the surviving journal and the committed events, merged by number and folded
//! from the beginning. One cut of each generation is real: the run goes on from what was recovered.
//! Half of the generations take, so that fills are many; the other half makes, so that orders rest
//! over the cuts. `TICKERML_SEED=n cargo test -p tests power` repeats a failure.

mod acknowledged;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;

use tickerml_edge::desk::Desk;
use tickerml_edge::journal::faulty::{Faults, FaultyDisk};
use tickerml_edge::journal::{self, Batch, Disk, Header, Item, JournalConfig, Reader, Writer};
use tickerml_edge::policy::Policy;
use tickerml_edge::recovery::{self, Recovered};
use tickerml_edge::run::hex;
use tickerml_edge::store::Loaded;
use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{Event, Operator, Record};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::{MAX_INSTRUMENTS, Venue};
use tickerml_shared::num::Cash;
use tickerml_shared::order::{OrderId, Outcome, Report};
use tickerml_shared::rand::Rng;
use tickerml_shared::record::{Decoder, Encoder};
use tickerml_shared::risk::state::{Cause, Scope};
use tickerml_shared::time::{MILLIS, MINUTES, SECONDS};

use crate::simulation::{self, Simulation};
use acknowledged::Acknowledged;

/// A seed under which everything that can happen to a cut does.
const DEFAULT_SEED: u64 = 12;
/// How often the run goes on from what a cut left, with each tactic.
const GENERATIONS: u64 = 3;
/// Cuts in one generation: 204 in all.
const CUTS: u64 = 34;
/// Cuts in one generation on a card that lies.
const CUTS_LYING: u64 = 10;
/// Moments in a generation, on average; the desk has about 300 in a second.
const MOMENTS: u64 = 4_500;
/// A generation that is not cut by then has a defect.
const GENERATION_STEPS: u64 = 12_000;
/// Steps of a restart after the last cut.
const LAST_STEPS: u64 = 200;
/// How often the whole state goes to the store.
const CHECKPOINT_EVERY_NS: u64 = 10 * SECONDS;
/// The journal's thread is behind by up to so much.
const LAG_NS: u64 = 40 * MILLIS;
/// Bytes that a torn tail may lose beyond what the disk lost.
const TORN_BYTES: u64 = 2_048;
/// How far the edge's clock is off in each generation: it jumps to the next day, and back, and
/// back over midnight.
const SKEWS_NS: [i64; 5] = [
    0,
    -(MINUTES as i64),
    600 * MINUTES as i64,
    570 * MINUTES as i64,
    540 * MINUTES as i64,
];

/// The card under the journal, shared with the writer on it.
#[derive(Clone)]
struct Card(Rc<RefCell<FaultyDisk>>);

impl Card {
    fn new(bytes: Vec<u8>, seed: u64, lying_syncs: u8) -> Self {
        let faults = Faults {
            short_writes: true,
            lying_syncs,
            ..Faults::NONE
        };
        Self(Rc::new(RefCell::new(FaultyDisk::with_bytes(
            bytes, seed, faults,
        ))))
    }
}

impl Disk for Card {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().append(bytes)
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow().read_at(offset, out)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.borrow().len()
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.borrow_mut().truncate(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.borrow_mut().sync()
    }
}

/// What `state.redb` holds, on a device that keeps its word.
#[derive(Clone, Default)]
struct Store {
    /// Checkpoints that cannot be read any more.
    rotten: BTreeSet<u64>,
    checkpoints: BTreeMap<u64, Vec<u8>>,
    trading: BTreeMap<u64, Vec<u8>>,
}

impl Store {
    fn commit(&mut self, record: &Record) {
        let bytes = recovery::seal_trading(record);
        let before = self.trading.insert(record.seq, bytes);
        assert_eq!(before, None, "number {} was used twice", record.seq);
    }

    fn checkpoint(&mut self, engine: &Engine) {
        let newest = self.checkpoints.keys().last().copied().unwrap_or(0);
        assert!(
            newest <= engine.seq(),
            "the store refuses a checkpoint older than its newest"
        );
        let bytes = recovery::seal_checkpoint(engine);
        self.checkpoints.insert(engine.seq(), bytes);
        while self.checkpoints.len() > 2 {
            self.checkpoints.pop_first();
        }
        if self.checkpoints.len() == 2
            && let Some(older) = self.checkpoints.keys().next()
        {
            self.trading = self.trading.split_off(&(older + 1));
        }
    }

    /// What a start loads; with `rotten`, the newest checkpoint's bytes have gone bad, provided
    /// that there is another: two at once are more than the store promises to bear.
    fn load(&self, rotten: bool) -> Loaded {
        let mut checkpoints: Vec<_> = self.checkpoints.iter().rev().collect();
        let whole = checkpoints
            .iter()
            .filter(|(seq, _)| !self.rotten.contains(seq));
        let mut rots = rotten && whole.count() > 1;
        let mut damaged = Vec::new();
        checkpoints.retain(|(seq, _)| {
            let bad = self.rotten.contains(seq) || std::mem::take(&mut rots);
            if bad {
                damaged.push(**seq);
            }
            !bad
        });
        let checkpoint = checkpoints
            .first()
            .map(|(seq, bytes)| (**seq, (*bytes).clone()));
        let after = checkpoint.as_ref().map_or(0, |(seq, _)| *seq);
        let trading = self.trading.range(after + 1..);
        Loaded {
            checkpoint,
            trading: trading.map(|(seq, bytes)| (*seq, bytes.clone())).collect(),
            damaged,
        }
    }
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The process was killed: what was written is there.
    Kill,
    /// The power went: what was not synced is there, torn or not there.
    Power,
    /// The process was killed inside its newest write.
    MidWrite,
    /// Killed, and the file lost more of its end.
    KillTorn,
    /// The power went, and the file lost more of its end.
    PowerTorn,
    /// Killed, and the newest checkpoint cannot be read.
    Rotten,
}

const KINDS: [Kind; 6] = [
    Kind::Kill,
    Kind::Power,
    Kind::MidWrite,
    Kind::KillTorn,
    Kind::PowerTorn,
    Kind::Rotten,
];

/// What survives a cut.
pub(crate) struct Remains {
    /// Which cut.
    pub(crate) what: String,
    /// Day files.
    pub(crate) files: BTreeMap<u64, Vec<u8>>,
    /// From the store.
    pub(crate) loaded: Loaded,
}

/// What can be read of a journal.
#[derive(Default)]
pub(crate) struct Survivors {
    records: BTreeMap<u64, Record>,
    missing: Vec<(u64, u64)>,
}

/// A state from which a journal can be folded although a checkpoint was ahead of it.
pub(crate) type Base = Option<(u64, Vec<u8>)>;

impl Survivors {
    pub(crate) fn read(files: &BTreeMap<u64, Vec<u8>>) -> Self {
        let mut found = Self::default();
        let mut expected = None;
        for bytes in files.values() {
            let disk = FaultyDisk::with_bytes(bytes.clone(), 0, Faults::NONE);
            // A preamble that turned to garbage: the file is set aside.
            let Ok(mut reader) = Reader::open(disk) else {
                continue;
            };
            reader.continue_from(expected);
            while let Some(item) = reader.next_item().expect("a sound device") {
                match item {
                    Item::Batch {
                        first_seq,
                        count,
                        bytes,
                        ..
                    } => {
                        for record in Decoder::new(first_seq, count, bytes) {
                            let record = record.expect("what passed its checksum");
                            let twice = found.records.insert(record.seq, record);
                            assert!(twice.is_none(), "a number was written twice: {twice:?}");
                        }
                    }
                    Item::Missing { from_seq, to_seq } => found.missing.push((from_seq, to_seq)),
                    Item::Run(_) | Item::Damaged { .. } => {}
                }
            }
            expected = reader.next_seq().or(expected);
        }
        found
    }

    pub(crate) fn last(&self) -> u64 {
        self.records.keys().last().copied().unwrap_or(0)
    }
}

impl Remains {
    /// The state that the checkpoint holds, with its number.
    pub(crate) fn checkpoint(&self) -> Option<(u64, &[u8])> {
        let checkpoint = self.loaded.checkpoint.as_ref();
        checkpoint.map(|(seq, sealed)| (*seq, &sealed[32..]))
    }

    /// Where the fold must begin: `None` for the very beginning, where the journal reaches back to
    /// it; else the state that bridges what it lacks.
    pub(crate) fn start<'a>(&'a self, survivors: &Survivors, base: &'a Base) -> Option<&'a [u8]> {
        let base = base.as_ref().map(|(seq, state)| (*seq, state.as_slice()));
        match (self.checkpoint(), base) {
            (Some((seq, state)), _) if seq > survivors.last() => Some(state),
            (Some((seq, state)), Some((base, _))) if seq < base => Some(state),
            (_, base) => base.map(|(_, state)| state),
        }
    }

    /// What the state must be: everything that survives, merged by number and folded.
    pub(crate) fn fold(&self, setup: Setup, start: Option<&[u8]>, survivors: &Survivors) -> Engine {
        let mut engine = match start {
            None => Engine::new(setup),
            Some(state) => Engine::restore(setup, state).expect("what was sealed"),
        };
        let rows = self.loaded.trading.iter();
        let committed: Vec<Record> = rows
            .map(|(_, bytes)| recovery::open_trading(bytes).expect("what was committed"))
            .collect();
        let mut all: BTreeMap<u64, &Record> = BTreeMap::new();
        all.extend(survivors.records.iter().map(|(seq, record)| (*seq, record)));
        for record in &committed {
            let journaled = all.insert(record.seq, record);
            assert!(
                journaled.is_none_or(|journaled| journaled == record),
                "{}: journal and store disagree at {}",
                self.what,
                record.seq
            );
        }
        let from = engine.seq() + 1;
        for record in all.range(from..).map(|(_, record)| *record) {
            recovery::apply(&mut engine, record);
        }
        engine
    }
}

/// What the whole run came to.
#[derive(Debug, Default)]
struct Counts {
    cuts: u64,
    /// Cuts by kind.
    kinds: BTreeMap<String, u64>,
    /// Trading events that only the store still had.
    restored: u64,
    /// Fills among them whose order was lost with the journal.
    orphans: u64,
    /// Orders that rested over a cut.
    rested: u64,
    /// Orders that rested and whose sending was lost with the journal.
    unknown: u64,
    /// Trading events that the journal lacked between others.
    bridged: u64,
    /// Cuts after which the checkpoint was ahead of the journal.
    ahead: u64,
    /// Fills in the end.
    fills: u64,
    /// Virtual seconds.
    seconds: u64,
}

impl Counts {
    fn plus(mut self, other: Self) -> Self {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.cuts += other.cuts;
        self.restored += other.restored;
        self.orphans += other.orphans;
        self.rested += other.rested;
        self.unknown += other.unknown;
        self.bridged += other.bridged;
        self.ahead += other.ahead;
        self.fills += other.fills;
        self.seconds += other.seconds;
        self
    }
}

struct Machine {
    simulation: Simulation,
    random: Rng,
    lying_syncs: u8,
    card: Card,
    writer: Option<Writer<Card>>,
    day: u64,
    /// Day files before the one that is being written.
    closed: BTreeMap<u64, Vec<u8>>,
    /// Length of the file before its newest frame.
    before_write: u64,
    /// The journal thread's queue, with the true time at which each batch is written.
    queue: VecDeque<(u64, Batch)>,
    store: Store,
    acknowledged: Acknowledged,
    /// The state from which the journal can be folded since a checkpoint was ahead of it.
    base: Base,
    /// Numbers up to this one must not be given again.
    used: u64,
    next_checkpoint: u64,
    next_command: u64,
    moments: u64,
    cuts: u64,
    cuts_left: u64,
    died: Option<Remains>,
    counts: Counts,
}

impl Machine {
    fn new(seed: u64, cuts: u64, lying_syncs: u8, tactic: Tactic) -> Self {
        let mut setup = simulation::setup(Venue::KucoinUta);
        setup.seed = seed;
        // It shall trade a lot, so that there is something to lose.
        setup.limits.confidence_none_ppm = 0;
        setup.limits.deadband_bps = 100;
        setup.limits.max_spread_bps = 1_000;
        setup.limits.min_depth = Cash::ZERO;
        setup.limits.confidence_half_ppm = 0;
        setup.tactic = tactic;
        let simulation = Simulation::with_setup(setup, true);
        let engine = simulation.desk.engine();
        let instruments = engine.cells().len();
        let acknowledged = Acknowledged::new(engine.ledger().cash(), vec![(0, 0); instruments]);
        let now = simulation.edge_now().0;
        let mut machine = Self {
            random: Rng::new(seed, 0x0070_6f77_6572),
            lying_syncs,
            card: Card::new(Vec::new(), seed, lying_syncs),
            writer: None,
            day: journal::day_of(now),
            closed: BTreeMap::new(),
            before_write: 0,
            queue: VecDeque::new(),
            store: Store::default(),
            acknowledged,
            base: None,
            used: 0,
            next_checkpoint: 0,
            next_command: simulation.now + 5 * SECONDS,
            moments: 0,
            cuts,
            cuts_left: cuts,
            died: None,
            counts: Counts::default(),
            simulation,
        };
        machine.open_journal();
        machine.moments = machine.draw_moments();
        machine
    }

    fn draw_moments(&mut self) -> u64 {
        1 + self.random.below(2 * MOMENTS / self.cuts)
    }

    /// Begins a run in the card's file, as the edge does when it starts.
    fn open_journal(&mut self) -> journal::Tail {
        let setup = self.simulation.desk.engine().setup();
        let now = self.simulation.edge_now().0;
        let header = Header {
            schema_id: [0; 32],
            run_id: now,
            seed: setup.seed,
            created_ns: now,
            instruments: Vec::new(),
        };
        let config = JournalConfig::standard(30);
        let opened = Writer::open(self.card.clone(), &header, config, now);
        let (writer, tail) = opened.expect("the card takes writes");
        self.before_write = writer.file_bytes();
        self.writer = Some(writer);
        tail
    }

    /// Lives until the last cut of the generation.
    fn live(&mut self) -> Remains {
        for _ in 0..GENERATION_STEPS {
            self.step();
            if let Some(remains) = self.died.take() {
                return remains;
            }
        }
        panic!("{} cuts are left after a minute", self.cuts_left);
    }

    /// One step of the world, the edge and the journal's thread.
    fn step(&mut self) {
        self.simulation.step_world(true);
        self.command();
        self.turn();
        if self.died.is_some() {
            return;
        }
        let now = self.simulation.now;
        while self.queue.front().is_some_and(|(due, _)| *due <= now) {
            self.write_one();
        }
        if now >= self.next_checkpoint {
            self.next_checkpoint = now + CHECKPOINT_EVERY_NS;
            self.store.checkpoint(self.simulation.desk.engine());
        }
    }

    /// An operator halts and resumes, and sometimes has everything closed.
    fn command(&mut self) {
        if self.simulation.now < self.next_command {
            return;
        }
        let halted = self.simulation.desk.engine().risk().halted().is_some();
        let (command, pause) = match (halted, self.random.below(4)) {
            (true, _) => (
                Operator::Resume {
                    scope: Scope::Portfolio,
                    reason: "the test goes on".try_into().expect("short"),
                },
                3 * SECONDS,
            ),
            (false, 0) => (Operator::Flatten(Cause::Command), SECONDS),
            (false, _) => (
                Operator::Halt {
                    scope: Scope::Portfolio,
                    cause: Cause::Command,
                },
                SECONDS / 2,
            ),
        };
        self.next_command = self.simulation.now + pause + self.random.below(pause);
        self.simulation.desk.command(command);
    }

    /// The desk's turn as the run loop does it; ends at once when the power goes.
    fn turn(&mut self) {
        let now = self.simulation.edge_now();
        let mut records = Vec::new();
        loop {
            records.clear();
            self.simulation.desk.collect(now, &mut records);
            self.journal(&records);
            for record in &records {
                self.simulation.fold(record);
            }
            if self.moment() {
                return;
            }
            let mut idle = records.is_empty();
            while let Some(record) = self.simulation.desk.poll_durable(now) {
                idle = false;
                assert!(record.event.is_trading());
                self.store.commit(&record);
                let engine = self.simulation.desk.engine();
                self.acknowledged.take(&record.event, engine);
                if self.moment() {
                    return;
                }
                self.journal(std::slice::from_ref(&record));
                self.simulation.fold(&record);
                if self.moment() {
                    return;
                }
            }
            if idle && !self.simulation.desk.is_due() {
                return;
            }
        }
    }

    /// Hands records to the journal's thread.
    fn journal(&mut self, records: &[Record]) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return;
        };
        assert!(first.seq > self.used, "number {} is given again", first.seq);
        self.used = last.seq;
        let mut encoder = Encoder::new(Vec::new());
        records.iter().for_each(|record| encoder.push(record));
        let (first_seq, count, bytes) = encoder.finish();
        let batch = Batch {
            first_seq,
            count,
            at_ns: last.at.0,
            bytes,
        };
        let due = self.simulation.now + self.random.below(LAG_NS);
        self.queue.push_back((due, batch));
    }

    /// The journal's thread writes its next batch.
    fn write_one(&mut self) {
        let (Some((_, batch)), Some(writer)) = (self.queue.pop_front(), &mut self.writer) else {
            return;
        };
        self.before_write = writer.file_bytes();
        writer
            .append(batch.first_seq, batch.count, batch.at_ns, &batch.bytes)
            .expect("the card takes writes");
    }

    /// A moment at which the power may go. `true` when it has gone for good.
    fn moment(&mut self) -> bool {
        self.moments -= 1;
        if self.moments > 0 {
            return false;
        }
        self.moments = self.draw_moments();
        self.cuts_left -= 1;
        let remains = self.cut();
        self.check(&remains);
        if self.cuts_left == 0 {
            self.died = Some(remains);
        }
        self.cuts_left == 0
    }

    /// Takes a copy of what a cut would leave here.
    fn cut(&mut self) -> Remains {
        let kind = KINDS[self.random.below(KINDS.len() as u64) as usize];
        let mut disk = self.card.0.borrow().clone();
        if matches!(kind, Kind::Power | Kind::PowerTorn) {
            disk.power_cut();
        }
        let mut bytes = disk.bytes().to_vec();
        let len = bytes.len() as u64;
        let keep = match kind {
            Kind::Kill | Kind::Power | Kind::Rotten => len,
            Kind::MidWrite => self.before_write + self.random.below(len - self.before_write + 1),
            Kind::KillTorn | Kind::PowerTorn => len - self.random.below(TORN_BYTES.min(len) + 1),
        };
        bytes.truncate(keep as usize);
        let mut files = self.closed.clone();
        files.insert(self.day, bytes);
        self.counts.cuts += 1;
        *self.counts.kinds.entry(format!("{kind:?}")).or_default() += 1;
        let seed = self.simulation.desk.engine().setup().seed;
        Remains {
            what: format!("seed {seed}, cut {} ({kind:?})", self.counts.cuts),
            files,
            loaded: self.store.load(kind == Kind::Rotten),
        }
    }

    /// The product's own recovery over these files.
    fn recover(&self, remains: &Remains) -> (Engine, Recovered) {
        let dir = tempfile::tempdir().expect("a folder");
        for (day, bytes) in &remains.files {
            let name = format!("{}.tml", journal::day_name(*day));
            std::fs::write(dir.path().join(name), bytes).expect("writable");
        }
        let setup = self.simulation.desk.engine().setup().clone();
        recovery::recover(setup, &remains.loaded, dir.path())
            .unwrap_or_else(|error| panic!("{}: {error}", remains.what))
    }

    /// What the state must be. A card that lies may lack anything that the checkpoint holds.
    fn expected(&self, remains: &Remains, survivors: &Survivors) -> Engine {
        let setup = self.simulation.desk.engine().setup().clone();
        let start = match remains.checkpoint() {
            Some((_, state)) if self.lying_syncs > 0 => Some(state),
            _ => remains.start(survivors, &self.base),
        };
        remains.fold(setup, start, survivors)
    }

    /// Recovers from a cut and compares.
    fn check(&mut self, remains: &Remains) {
        let what = &remains.what;
        let (engine, found) = self.recover(remains);
        let survivors = Survivors::read(&remains.files);
        let expected = self.expected(remains, &survivors);
        self.acknowledged.check(&engine, what);
        assert_eq!(
            hex(&engine.state_hash()),
            hex(&expected.state_hash()),
            "{what}: recovery equals the fold of what survives; {found:?}"
        );
        let loaded = &remains.loaded;
        let checkpoint = loaded.checkpoint.as_ref().map_or(0, |(seq, _)| *seq);
        let numbers = [
            checkpoint,
            survivors.last(),
            loaded.trading.last().map_or(0, |(seq, _)| *seq),
            loaded.damaged.first().copied().unwrap_or(0),
        ];
        assert_eq!(
            Some(&found.last_seq),
            numbers.iter().max(),
            "{what}: numbers go on above journal, checkpoints and commits"
        );
        let lost = |id: OrderId| {
            let sent = id.0 / MAX_INSTRUMENTS as u64;
            sent > checkpoint && !survivors.records.contains_key(&sent)
        };
        // A hole before a decision may size its order otherwise.
        let exact = self.lying_syncs == 0;
        let (kept, gone) = self.acknowledged.check_orders(&engine, what, exact, lost);
        self.counts.rested += kept;
        self.counts.unknown += gone;
        self.counts.restored += found.restored.len() as u64;
        self.counts.ahead += u64::from(checkpoint > survivors.last());
        self.counts.bridged += found.bridged;
        for record in &found.restored {
            if let Event::Report(Report {
                order,
                outcome: Outcome::Filled(_),
                ..
            }) = record.event
            {
                // The record that sent it is not in the journal, nor in the checkpoint.
                self.counts.orphans += u64::from(lost(order));
            }
        }
    }

    /// Starts the edge again on what a cut left, as `run` does.
    fn restart(&mut self, remains: Remains, skew_ns: i64) {
        let (engine, found) = self.recover(&remains);
        let survivors = Survivors::read(&remains.files);
        let ahead = |(seq, _): &(u64, Vec<u8>)| *seq > survivors.last();
        if remains.loaded.checkpoint.as_ref().is_some_and(ahead) {
            self.base = Some((engine.seq(), engine.checkpoint()));
        }
        self.store.rotten.extend(&remains.loaded.damaged);
        self.simulation.skew_ns = skew_ns;
        let now = self.simulation.edge_now();
        self.queue.clear();
        self.closed = remains.files;
        // A clock that was set back goes on in the newest file.
        let newest = self.closed.keys().last().copied().unwrap_or(0);
        self.day = journal::day_of(now.0).max(newest);
        let mut bytes = self.closed.remove(&self.day).unwrap_or_default();
        if Reader::open(FaultyDisk::with_bytes(bytes.clone(), 0, Faults::NONE)).is_err() {
            bytes.clear();
        }
        self.card = Card::new(bytes, self.random.next_u64(), self.lying_syncs);
        let pulse_ns = SECONDS;
        let hold_ns = 10 * MILLIS;
        let policy = Policy::Imbalance;
        let tail = self.open_journal();
        let last_seq = found.last_seq.max(tail.last_seq.unwrap_or(0));
        let mut desk = Desk::new(engine, last_seq, policy, pulse_ns, hold_ns, now);
        desk.start();
        self.simulation.restart(desk);
        // Numbers that are gone without a trace may be given again; those that are seen may not.
        self.used = survivors.last();
        for record in &found.restored {
            self.journal(std::slice::from_ref(record));
        }
        self.used = found.last_seq;
        self.next_checkpoint = 0;
        self.cuts_left = self.cuts;
    }

    /// Ends in good order; the journal must give the final state.
    fn end(mut self) -> Counts {
        while !self.queue.is_empty() {
            self.write_one();
        }
        let writer = self.writer.take().expect("open");
        writer.close().expect("the card takes writes");
        let mut files = self.closed.clone();
        files.insert(self.day, self.card.0.borrow().bytes().to_vec());
        let survivors = Survivors::read(&files);
        let remains = Remains {
            what: "the end".to_owned(),
            files,
            loaded: if self.lying_syncs > 0 {
                self.store.load(false)
            } else {
                Loaded::default()
            },
        };
        let folded = self.expected(&remains, &survivors).state_hash();
        let engine = self.simulation.desk.engine();
        assert_eq!(hex(&folded), hex(&engine.state_hash()), "replay at the end");
        assert_eq!(survivors.last(), engine.seq());
        if let Some((base, _)) = self.base {
            assert!(
                survivors.missing.iter().any(|(from, _)| *from <= base),
                "a journal that a checkpoint was ahead of says what is missing"
            );
        }
        self.acknowledged.check(engine, "the end");
        let none = |_| false;
        let exact = self.lying_syncs == 0;
        self.acknowledged
            .check_orders(engine, "the end", exact, none);
        let fills = self.acknowledged.positions.iter();
        self.counts.fills = fills.map(|(_, fills)| fills).sum();
        self.counts.seconds = (self.simulation.now - simulation::START_NS) / SECONDS;
        self.counts
    }
}

/// Lives and dies so many times.
fn run(cuts: u64, lying_syncs: u8) -> (Counts, bool) {
    let seed = number_from_environment("TICKERML_SEED").unwrap_or(DEFAULT_SEED);
    let make = Tactic::Make {
        patience_ns: 10 * SECONDS,
    };
    let takes = live_and_die(seed, cuts, lying_syncs, Tactic::Take);
    let makes = live_and_die(seed, cuts, lying_syncs, make);
    (takes.plus(makes), seed == DEFAULT_SEED)
}

fn live_and_die(seed: u64, cuts: u64, lying_syncs: u8, tactic: Tactic) -> Counts {
    let mut machine = Machine::new(seed, cuts, lying_syncs, tactic);
    for generation in 0..GENERATIONS {
        let remains = machine.live();
        let skew = SKEWS_NS[(generation as usize + 1) % SKEWS_NS.len()];
        machine.restart(remains, skew);
    }
    // The last restart lives a little, too.
    machine.moments = u64::MAX;
    for _ in 0..LAST_STEPS {
        machine.step();
    }
    machine.end()
}

/// A number that a person gave.
pub(crate) fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_cut_at_any_moment_loses_nothing_acknowledged() {
    let (counts, is_default) = run(CUTS, 0);
    println!("{counts:?}");
    assert_eq!(counts.cuts, 2 * GENERATIONS * CUTS);
    if is_default {
        assert_eq!(counts.kinds.len(), KINDS.len(), "every kind of cut");
        let met = [
            counts.fills,
            counts.restored,
            counts.orphans,
            counts.ahead,
            counts.rested,
        ];
        assert!(!met.contains(&0), "choose another DEFAULT_SEED: {counts:?}");
    }
}

#[test]
fn a_card_that_lies_about_syncs_loses_nothing_acknowledged() {
    let (counts, is_default) = run(CUTS_LYING, 60);
    println!("{counts:?}");
    if is_default {
        let met = [counts.fills, counts.restored, counts.bridged];
        assert!(!met.contains(&0), "choose another DEFAULT_SEED: {counts:?}");
    }
}
