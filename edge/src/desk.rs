//! The desk: the one owner of all trading state, and the loop that drives it. Pure.
//!
//! Market updates go in ([`Desk::push`]); the synchroniser orders them; [`Desk::collect`] numbers
//! what is due as records, which the caller journals; [`Desk::fold`] applies one record and turns
//! what follows from it into the next events. An event that changes the account ([`Durable`]) is
//! handed to the caller first, who makes it durable and gives it back. Live trading, the simulation
//! and recovery drive this same desk.

use std::collections::VecDeque;

use tickerml_shared::arbitrage;
use tickerml_shared::engine::{Engine, Output};
use tickerml_shared::event::{
    Body, Decision, Event, Gap, GapReason, Health, Operator, Record, Update,
};
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::features::drift::{self, Drift, Reference};
use tickerml_shared::funding_watch;
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::order::{Fill, Order, Reason, Report};
use tickerml_shared::paper::funding::Missed;
use tickerml_shared::paper::toxicity;
use tickerml_shared::quality;
use tickerml_shared::risk::denial::Denial;
use tickerml_shared::synchroniser::{Counts, Synchroniser};
use tickerml_shared::time::Time;

use crate::policy::Policy;

/// Records taken from the synchroniser in one turn: a batch of the journal.
pub const MAX_BATCH: usize = 512;

/// What the caller should know or do after a fold.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The venue's own bars are wanted.
    History(InstrumentId, Timeframe),
    /// A book lost continuity, by its venue's word or by its own finding.
    Gap {
        /// Whose.
        instrument: InstrumentId,
        /// What was lost.
        gap: Gap,
        /// The book found it itself: its venue must be asked for a snapshot.
        found: bool,
    },
    /// A decision was judged.
    Verdict {
        /// The decision.
        decision: Decision,
        /// The order, or why none.
        verdict: Result<Order, Denial>,
    },
    /// A fill was booked.
    Booked {
        /// The report that brought it.
        report: Report,
        /// What traded.
        fill: Fill,
        /// Why the order was sent.
        reason: Reason,
    },
    /// A durable event was applied.
    Settled(Box<Event>),
    /// Funding settlements passed unseen.
    Missed(Missed),
    /// Where the price went after a resting order was hit.
    Toxic(toxicity::Mark),
    /// An opportunity between two venues began, ended or was tried.
    Arbitrage(arbitrage::News),
    /// A perpetual's funding became, or is no longer, worth a warning.
    Funding(funding_watch::Alert),
    /// What a model would see of an instrument is at another level of drift.
    Drift(InstrumentId, drift::Level),
    /// What an instrument's data were like on the day that is over.
    Quality(Box<quality::Report>),
}

/// An event that must be durable before it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable(Event);

/// The owner of the engine.
#[derive(Debug)]
pub struct Desk {
    engine: Engine,
    synchroniser: Synchroniser,
    policy: Policy,
    pulse_ns: u64,
    next_pulse: Time,
    next_seq: u64,
    /// Events that follow from the last fold and go into the next batch.
    derived: VecDeque<Event>,
    durable: VecDeque<Durable>,
    effects: VecDeque<Effect>,
    /// By instrument; empty where no reference is at hand.
    drift: Vec<Drift>,
}

impl Desk {
    /// A desk over an engine that continues after `last_seq`, the newest number ever journaled.
    /// Pulses come every `pulse_ns`, aligned to the epoch.
    #[must_use]
    pub fn new(
        engine: Engine,
        last_seq: u64,
        policy: Policy,
        pulse_ns: u64,
        hold_ns: u64,
        now: Time,
    ) -> Self {
        Self {
            next_seq: last_seq.max(engine.seq()) + 1,
            engine,
            synchroniser: Synchroniser::new(hold_ns),
            policy,
            pulse_ns,
            next_pulse: Time((now.0 / pulse_ns + 1) * pulse_ns),
            derived: VecDeque::new(),
            durable: VecDeque::new(),
            effects: VecDeque::new(),
            drift: Vec::new(),
        }
    }

    /// Compares what a model would see with what it was trained on, from here on. It decides nothing
    /// and is no part of the engine's state.
    pub fn watch_drift(&mut self, reference: &Reference) {
        let count = self.engine.cells().len();
        self.drift = vec![Drift::new(Some(reference)); count];
    }

    /// By instrument, how far its features are from the reference; empty without one.
    #[must_use]
    pub fn drift(&self) -> &[Drift] {
        &self.drift
    }

    /// What a start means: what was connected is not, what was in flight is void. The caller takes
    /// [`Desk::poll_durable`] before the first [`Desk::collect`]: the start takes effect first.
    pub fn start(&mut self) {
        self.engine.recover();
        self.durable.push_back(Durable(Event::Start));
        for index in 0..self.engine.cells().len() {
            let instrument = InstrumentId(u16::try_from(index).unwrap_or(u16::MAX));
            let body = Body::Gap(Gap::of(GapReason::Disconnected));
            self.derived.push_back(Event::Market(Update {
                instrument,
                venue_time: Time::UNKNOWN,
                received: Time::UNKNOWN,
                late: false,
                body,
            }));
        }
    }

    /// Takes a market update.
    pub fn push(&mut self, update: Update, now: Time) {
        self.synchroniser.push(update, now);
    }

    /// Takes how a venue's connection does.
    pub fn health(&mut self, health: Health) {
        self.derived.push_back(Event::Health(health));
    }

    /// Takes an operator's command. It comes back through [`Desk::poll_durable`].
    pub fn command(&mut self, command: Operator) {
        self.durable.push_back(Durable(Event::Operator(command)));
    }

    /// Numbers what is due at `now`, at most [`MAX_BATCH`] records: derived events first, then
    /// market updates, then the pulse. Journal them, then [`Desk::fold`] each. Nothing while an event
    /// waits to be made durable: what follows must find it in effect.
    pub fn collect(&mut self, now: Time, records: &mut Vec<Record>) {
        if !self.durable.is_empty() {
            return;
        }
        while records.len() < MAX_BATCH {
            let event = if let Some(event) = self.derived.pop_front() {
                event
            } else if let Some(update) = self.synchroniser.poll(now) {
                Event::Market(update)
            } else {
                break;
            };
            records.push(self.number(event, now));
        }
        if records.len() < MAX_BATCH && self.next_pulse <= now {
            records.push(self.number(Event::Pulse, now));
            // A pulse that was missed is not made up for: its moment is gone.
            self.next_pulse = Time((now.0 / self.pulse_ns + 1) * self.pulse_ns);
        }
    }

    fn number(&mut self, event: Event, now: Time) -> Record {
        let seq = self.next_seq;
        self.next_seq += 1;
        Record {
            seq,
            at: now,
            event,
        }
    }

    /// Applies a journaled record. `clock` is read around each question to the policy.
    pub fn fold(&mut self, record: &Record, clock: impl Fn() -> Time) {
        if let Event::Market(Update {
            instrument,
            body: Body::Gap(gap),
            ..
        }) = record.event
        {
            self.effects.push_back(Effect::Gap {
                instrument,
                gap,
                found: false,
            });
        }
        self.engine.handle(record);
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Ask { instrument, asked } => {
                    let asked_at = clock();
                    let action = self.policy.answer(self.engine.window(instrument));
                    let latency_ns = clock().since(asked_at).unsigned_abs();
                    let decision = Decision {
                        instrument,
                        asked,
                        action,
                        latency_ns,
                    };
                    self.derived.push_back(Event::Decision(decision));
                }
                Output::Verdict { decision, verdict } => {
                    self.effects
                        .push_back(Effect::Verdict { decision, verdict });
                }
                Output::Commit(event) => self.durable.push_back(Durable(event)),
                Output::Resync { instrument, gap } => {
                    self.effects.push_back(Effect::Gap {
                        instrument,
                        gap,
                        found: true,
                    });
                }
                Output::Booked {
                    report,
                    fill,
                    reason,
                } => self.effects.push_back(Effect::Booked {
                    report,
                    fill,
                    reason,
                }),
                Output::Missed(missed) => self.effects.push_back(Effect::Missed(missed)),
                Output::Toxic(mark) => self.effects.push_back(Effect::Toxic(mark)),
                Output::History {
                    instrument,
                    timeframe,
                } => self
                    .effects
                    .push_back(Effect::History(instrument, timeframe)),
                Output::Arbitrage(news) => self.effects.push_back(Effect::Arbitrage(news)),
                Output::Funding(alert) => self.effects.push_back(Effect::Funding(alert)),
                Output::Quality(report) => {
                    self.effects.push_back(Effect::Quality(Box::new(report)));
                }
                Output::Step(step) => {
                    let drift = self.drift.get_mut(step.instrument.index());
                    if let Some(level) = drift.and_then(|drift| drift.update(&step)) {
                        self.effects
                            .push_back(Effect::Drift(step.instrument, level));
                    }
                }
            }
        }
        if record.event.is_trading() {
            self.effects
                .push_back(Effect::Settled(Box::new(record.event.clone())));
        }
    }

    /// The next event that must be durable before it is applied, numbered. Commit it to the store,
    /// journal it, then [`Desk::fold`] it.
    pub fn poll_durable(&mut self, now: Time) -> Option<Record> {
        let Durable(event) = self.durable.pop_front()?;
        Some(self.number(event, now))
    }

    /// What the caller should know or do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether [`Desk::collect`] has something at once, whatever the time.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.derived.is_empty()
    }

    /// When to [`Desk::collect`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> (Time, &'static str) {
        let pulse = (self.next_pulse, "pulse");
        match self.synchroniser.poll_timeout() {
            Some(release) if release.0 < pulse.0 => release,
            _ => pulse,
        }
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the synchroniser did.
    #[must_use]
    pub const fn synchroniser(&self) -> Counts {
        self.synchroniser.counts()
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}
