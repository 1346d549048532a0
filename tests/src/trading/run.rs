//! The engine with the shell's part played here: numbers, a store, a journal, and their loss.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tickerml_shared::action::{Action, Choice};
use tickerml_shared::engine::{Engine, Output, Setup};
use tickerml_shared::event::{Decision, Event, GapReason, Record, Side};
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::order::{Fill, Life, Order, OrderId, Outcome, Reason, Report};
use tickerml_shared::risk::denial::Denial;
use tickerml_shared::time::{SECONDS, Time};

use super::market::{Feed, START};
use super::oracle::{self, Before, Facts};

/// How much of the journal survives a crash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    /// Of 256 parts of the records since the checkpoint, how many the journal still has.
    pub(super) kept: u8,
    /// It lacks some in between, too.
    pub(super) hole: bool,
    /// The checkpoint is there; else everything is folded from the beginning.
    pub(super) checkpoint: bool,
    /// An event was made durable that the process did not live to see take effect.
    pub(super) unseen: bool,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) decisions: u64,
    pub(super) approvals: u64,
    pub(super) reducing: u64,
    pub(super) fills: u64,
    pub(super) maker_fills: u64,
    pub(super) exits: u64,
    pub(super) moved: u64,
    pub(super) crashes: u64,
    pub(super) resting_over_crash: u64,
    pub(super) voided_orphans: u64,
    pub(super) funded: u64,
    pub(super) restrictions: u64,
    pub(super) violations: u64,
    pub(super) shared_trades: u64,
}

impl Counts {
    pub(super) const ZERO: Self = Self {
        records: 0,
        decisions: 0,
        approvals: 0,
        reducing: 0,
        fills: 0,
        maker_fills: 0,
        exits: 0,
        moved: 0,
        crashes: 0,
        resting_over_crash: 0,
        voided_orphans: 0,
        funded: 0,
        restrictions: 0,
        violations: 0,
        shared_trades: 0,
    };

    pub(super) const fn plus(&self, other: &Self) -> Self {
        Self {
            records: self.records + other.records,
            decisions: self.decisions + other.decisions,
            approvals: self.approvals + other.approvals,
            reducing: self.reducing + other.reducing,
            fills: self.fills + other.fills,
            maker_fills: self.maker_fills + other.maker_fills,
            exits: self.exits + other.exits,
            moved: self.moved + other.moved,
            crashes: self.crashes + other.crashes,
            resting_over_crash: self.resting_over_crash + other.resting_over_crash,
            voided_orphans: self.voided_orphans + other.voided_orphans,
            funded: self.funded + other.funded,
            restrictions: self.restrictions + other.restrictions,
            violations: self.violations + other.violations,
            shared_trades: self.shared_trades + other.shared_trades,
        }
    }

    pub(super) fn each_happened(&self) -> bool {
        [
            self.records,
            self.decisions,
            self.approvals,
            self.reducing,
            self.fills,
            self.maker_fills,
            self.exits,
            self.moved,
            self.crashes,
            self.resting_over_crash,
            self.voided_orphans,
            self.funded,
            self.restrictions,
            self.violations,
            self.shared_trades,
        ]
        .iter()
        .all(|count| *count > 0)
    }
}

/// An engine and its shell.
pub(super) struct Run {
    pub(super) engine: Engine,
    pub(super) feeds: Vec<Feed>,
    pub(super) now: Time,
    next_seq: u64,
    /// Every record that the state comes from.
    history: Vec<Record>,
    /// To be made durable, oldest first.
    pub(super) queue: VecDeque<Event>,
    /// Questions that were not answered yet.
    pub(super) asks: Vec<(InstrumentId, u64)>,
    durable: Vec<Record>,
    checkpoint: Option<(u64, Vec<u8>)>,
    pub(super) facts: Facts,
    /// Ids of all orders that are known to have been sent.
    ids: BTreeSet<OrderId>,
    /// Orders that a crash made nobody's: each must end by a report.
    lost: BTreeSet<OrderId>,
    pub(super) counts: Counts,
    /// What was booked, for stories.
    pub(super) booked: Vec<(Reason, Fill)>,
    /// The reports that were made durable.
    pub(super) reports: Vec<Report>,
    pub(super) verdict: Option<Result<Order, Denial>>,
    /// A resume was lost from what its record was judged by.
    resumed: bool,
}

impl Run {
    pub(super) fn new(setup: Setup) -> Self {
        let feeds = Feed::all(&setup.instruments);
        let facts = Facts::new(&setup);
        let mut run = Self {
            engine: Engine::new(setup),
            feeds,
            now: START,
            next_seq: 1,
            history: Vec::new(),
            queue: VecDeque::new(),
            asks: Vec::new(),
            durable: Vec::new(),
            checkpoint: None,
            facts,
            ids: BTreeSet::new(),
            lost: BTreeSet::new(),
            counts: Counts::default(),
            booked: Vec::new(),
            reports: Vec::new(),
            verdict: None,
            resumed: false,
        };
        run.start();
        run
    }

    /// A run whose books are all live.
    pub(super) fn live(setup: Setup) -> Self {
        let mut run = Self::new(setup);
        run.snapshots();
        run
    }

    fn start(&mut self) {
        self.engine.recover();
        self.queue.clear();
        self.asks.clear();
        self.durable(Event::Start);
        let now = self.now;
        for index in 0..self.feeds.len() {
            let gap = self.feeds[index].gap(GapReason::Disconnected, now);
            self.event(gap);
        }
    }

    pub(super) fn snapshots(&mut self) {
        let now = self.now;
        for index in 0..self.feeds.len() {
            let events = self.feeds[index].snapshot(now);
            self.events(events);
        }
    }

    fn number(&mut self, event: Event) -> Record {
        let seq = self.next_seq;
        self.next_seq += 1;
        Record {
            seq,
            at: self.now,
            event,
        }
    }

    /// What needs no durability takes effect at once.
    pub(super) fn event(&mut self, event: Event) {
        assert!(!event.is_trading());
        let record = self.number(event);
        self.fold(&record);
    }

    pub(super) fn events(&mut self, events: Vec<Event>) {
        for event in events {
            self.event(event);
        }
    }

    fn durable(&mut self, event: Event) {
        let record = self.write(event);
        self.fold(&record);
    }

    fn write(&mut self, event: Event) -> Record {
        assert!(event.is_trading());
        let record = self.number(event);
        self.facts.take(&record.event);
        if let Event::Report(report) = record.event {
            self.reports.push(report);
            let moved = matches!(report.outcome, Outcome::Replaced { .. });
            self.counts.moved += u64::from(moved);
        }
        self.durable.push(record.clone());
        record
    }

    /// The oldest event that waits is made durable and takes effect.
    pub(super) fn commit(&mut self) -> bool {
        let event = self.queue.pop_front();
        event.map(|event| self.durable(event)).is_some()
    }

    /// All events that wait, and those that follow from them.
    pub(super) fn commit_all(&mut self) {
        let mut left = 10_000;
        while self.commit() {
            left -= 1;
            assert!(left > 0, "events beget events without end");
        }
    }

    pub(super) fn wait(&mut self, nanoseconds: u64) {
        self.now = self.now.plus(nanoseconds);
    }

    /// A pulse, and everything that follows at once; questions wait.
    pub(super) fn pulse(&mut self) {
        self.event(Event::Pulse);
    }

    /// A second goes by, with its pulse; everything that waits is done and nothing decided.
    pub(super) fn second(&mut self) {
        self.wait(SECONDS);
        self.asks.clear();
        self.pulse();
        self.commit_all();
    }

    pub(super) fn decide(&mut self, instrument: InstrumentId, choice: Choice, size: u32) {
        let asked = self.engine.seq();
        let probabilities = match choice {
            Choice::Sell => [900_000, 50_000, 50_000],
            Choice::Hold => [50_000, 900_000, 50_000],
            Choice::Buy => [50_000, 50_000, 900_000],
        };
        let action = Action {
            choice,
            probabilities,
            size,
            risk: 0,
            value: 1_000,
        };
        self.event(Event::Decision(Decision {
            instrument,
            asked,
            action,
            latency_ns: 1_000,
        }));
    }

    pub(super) fn fold(&mut self, record: &Record) {
        self.counts.records += 1;
        let before = Before::of(&self.engine, record);
        self.engine.handle(record);
        let mut verdict = None;
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Commit(event) => self.queue.push_back(event),
                Output::Ask { instrument, asked } => self.asks.push((instrument, asked)),
                Output::Verdict { verdict: given, .. } => verdict = Some(given),
                Output::Booked { fill, reason, .. } => {
                    self.counts.fills += 1;
                    self.counts.maker_fills += u64::from(fill.maker);
                    self.counts.exits += u64::from(reason != Reason::Decision);
                    self.booked.push((reason, fill));
                }
                Output::Resync { .. }
                | Output::History { .. }
                | Output::Step(_)
                | Output::Missed(_)
                | Output::Toxic(_)
                | Output::Arbitrage(_)
                | Output::Funding(_)
                | Output::Quality(_) => {}
            }
        }
        for life in self.engine.orders().open() {
            let order = life.order();
            if oracle::sent_by(order.id) == record.seq {
                assert!(
                    self.ids.insert(order.id),
                    "an id was used twice: {:?}",
                    order.id
                );
            }
        }
        match &record.event {
            Event::Decision(_) => {
                self.counts.decisions += 1;
                let passed = verdict.as_ref().is_some_and(Result::is_ok);
                self.counts.approvals += u64::from(passed);
                self.counts.reducing += u64::from(before.may_reduce());
            }
            Event::Funded(_) => self.counts.funded += 1,
            Event::Restrict(_) => self.counts.restrictions += 1,
            Event::Market(_) => self.counts.shared_trades += u64::from(before.trades_with_us()),
            _ => {}
        }
        self.counts.violations = self.engine.risk().violations_total();
        before.check(&self.engine, record, verdict);
        self.facts_hold(record);
        self.verdict = verdict.or(self.verdict.take());
        self.history.push(record.clone());
    }

    /// What is durable but has not taken effect is not in the engine yet; so only then compare.
    fn facts_hold(&self, record: &Record) {
        if self
            .durable
            .last()
            .is_none_or(|last| last.seq <= record.seq)
        {
            self.facts.check(&self.engine, "after a record");
        }
    }

    pub(super) fn take_checkpoint(&mut self) {
        self.checkpoint = Some((self.engine.seq(), self.engine.checkpoint()));
    }

    /// The process dies, and another begins on what is left, as `edge`'s recovery does it.
    pub(super) fn crash(&mut self, crash: Crash) {
        self.counts.crashes += 1;
        self.facts.holed |= crash.hole;
        // What must be known afterwards: what was known, and what was durable.
        let mut known = Engine::restore(self.engine.setup().clone(), &self.engine.checkpoint())
            .expect("its own checkpoint");
        if crash.unseen
            && let Some(event) = self.queue.pop_front()
        {
            let record = self.write(event);
            oracle::apply(&mut known, &record);
        }
        let checkpoint = self.checkpoint.clone().filter(|_| crash.checkpoint);
        let base = checkpoint.as_ref().map_or(0, |(seq, _)| *seq);
        let since: Vec<&Record> = self.history.iter().filter(|r| r.seq > base).collect();
        let kept = since.len() * usize::from(crash.kept) / 255;
        let hole = kept / 3..if crash.hole { kept / 2 } else { kept / 3 };
        let journal = since.iter().take(kept).enumerate();
        let journal = journal.filter(|(place, _)| !hole.contains(place));
        let mut merged: BTreeMap<u64, &Record> = BTreeMap::new();
        merged.extend(journal.map(|(_, record)| (record.seq, *record)));
        let durable = self.durable.iter().filter(|record| record.seq > base);
        merged.extend(durable.map(|record| (record.seq, record)));
        let before = self.history.iter().filter(|record| record.seq <= base);
        let mut history: Vec<Record> = before.cloned().collect();
        history.extend(merged.values().map(|record| (*record).clone()));
        let setup = self.engine.setup().clone();
        let mut engine = match &checkpoint {
            None => Engine::new(setup),
            Some((_, state)) => Engine::restore(setup, state).expect("a checkpoint"),
        };
        for record in merged.values() {
            oracle::apply(&mut engine, record);
        }
        let lost: BTreeSet<u64> = since.iter().map(|record| record.seq).collect();
        let lost = lost.difference(&merged.keys().copied().collect()).count();
        self.next_seq = engine.seq() + 1;
        self.history = history;
        // What could not be read then cannot be read later.
        self.checkpoint = checkpoint;
        self.engine = engine;
        self.ids.retain(|id| oracle::sent_by(*id) < self.next_seq);
        self.facts.check(&self.engine, "after a crash");
        oracle::compare(&known, &self.engine, lost == 0 || !self.resumed);
        self.known_orders(&known, crash.hole);
        self.start();
    }

    /// Every order that rests is known as it was, or will end by a report. Where the journal has a
    /// hole before the decision, its order is sized by what is left of the market: a report that it
    /// rests does not say how much.
    fn known_orders(&mut self, known: &Engine, hole: bool) {
        for life in known.orders().open() {
            let Life::Resting(was) = life else { continue };
            let order = life.order();
            self.counts.resting_over_crash += 1;
            let same = |life: &&Life| life.order().id == order.id;
            match self.engine.orders().open().find(same) {
                Some(Life::Resting(_)) if hole => {}
                Some(Life::Resting(is)) => {
                    assert_eq!(is.left(), was.left(), "what is open of {order:?}");
                    assert_eq!(is.executed(), was.executed(), "what traded of {order:?}");
                    let known = self.engine.orders().open().find(same).expect("found");
                    assert_eq!(known.order().kind, order.kind, "the price of {order:?}");
                }
                Some(other) => panic!("{order:?} rested and is {}", other.name()),
                None => {
                    self.lost.insert(order.id);
                }
            }
        }
    }

    /// A minute goes by without decisions: what was on its way arrives.
    pub(super) fn settle(&mut self) {
        for _ in 0..3 {
            for index in 0..self.feeds.len() {
                let rest = self.feeds[index].rest(self.now);
                self.events(rest);
            }
            self.second();
        }
        self.wait(60 * SECONDS);
        self.second();
        // Without a pulse nothing new is sent.
        for _ in 0..2 {
            self.wait(SECONDS);
            self.go(InstrumentId(0), 0);
            self.commit_all();
        }
        for id in std::mem::take(&mut self.lost) {
            let ends = |report: &&Report| report.order == id && oracle::ends(&report.outcome);
            let said: Vec<_> = self
                .reports
                .iter()
                .filter(|report| report.order == id)
                .collect();
            assert!(
                said.iter().any(ends),
                "{id:?} was lost without a word: {said:?}"
            );
            self.counts.voided_orphans += 1;
        }
        let rests = |life: &Life| matches!(life, Life::Resting(_));
        assert!(
            self.engine.orders().open().all(rests),
            "nothing is on its way"
        );
        oracle::reconciled(&self.engine);
    }

    /// Folding all records again gives the same state.
    pub(super) fn replay(&self) {
        let mut engine = Engine::new(self.engine.setup().clone());
        for record in &self.history {
            oracle::apply(&mut engine, record);
        }
        if engine.state_hash() != self.engine.state_hash() {
            let (again, live) = (format!("{engine:?}"), format!("{:?}", self.engine));
            let same = again.bytes().zip(live.bytes());
            let place = same.take_while(|(a, b)| a == b).count();
            let from = place.saturating_sub(200);
            let part = |text: &str| text.chars().skip(from).take(400).collect::<String>();
            panic!("replay: {}\nlive: {}", part(&again), part(&live));
        }
    }

    pub(super) fn command(&mut self, command: tickerml_shared::event::Operator) {
        self.resumed |= matches!(command, tickerml_shared::event::Operator::Resume { .. });
        self.queue.push_back(Event::Operator(command));
    }

    pub(super) fn held(&self, id: InstrumentId) -> i64 {
        self.engine.ledger().position(id).qty.0
    }

    pub(super) fn trade(&mut self, id: InstrumentId, aggressor: Side, lots: i64, through: i64) {
        let event = self.feeds[id.index()].trade(aggressor, lots, through, self.now);
        self.event(event);
    }

    pub(super) fn go(&mut self, id: InstrumentId, ticks: i64) {
        let events = self.feeds[id.index()].go(ticks, false, false, self.now);
        self.events(events);
    }
}
