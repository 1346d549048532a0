//! A policy on trial: the market of a journal, traded by another policy from a given instant on.
//!
//! Market, pulses, starts and the health of connections are the journal's; decisions, orders, fills,
//! marks and restrictions are the trial's own, through the same engine, risk gate and paper venue that
//! trade. Operators' commands are left out: they answered another account. Before the trial's span the
//! policy is not asked; the market only warms the features up. A decision takes effect after the time that
//! policies took in the journal, or as long as the terms say. Where the journal lacks records, no book is
//! trusted until its venue's next snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;
use tickerml_shared::attribution::Lines;
use tickerml_shared::engine::{Engine, Output, Setup};
use tickerml_shared::event::{Body, Decision, Event, Gap, GapReason, Record, Update};
use tickerml_shared::instrument::{InstrumentId, MAX_INSTRUMENTS};
use tickerml_shared::num::Cash;
use tickerml_shared::order::Outcome;
use tickerml_shared::record::Decoder;
use tickerml_shared::time::{MINUTES, SECONDS, Time};

use super::{ReplayError, for_each_item, setup_of};
use crate::journal::Item;
use crate::policy::Policy;

/// Points of an equity curve that are kept; when there are more, every other one is dropped and from
/// then on half as many are taken.
pub const POINTS_MAX: usize = 1 << 16;
/// After so long without any record the tape has a hole, and no point is taken in it.
pub const HOLE_NS: u64 = 60 * SECONDS;
/// Decision times that are kept for their median; when there are more, every other one is dropped.
const TIMES_MAX: usize = 1 << 16;
/// Nanoseconds of a day, for turnover.
const DAY_NS: f64 = 86_400e9;

/// The terms of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The policy is asked from here on.
    pub from: Time,
    /// The trial ends before this instant.
    pub until: Time,
    /// Between two points of the equity curve, in nanoseconds of event time.
    pub every_ns: u64,
    /// From question to answer, in nanoseconds; `None` for the median of the journal's decisions.
    pub decision_ns: Option<u64>,
}

impl Terms {
    /// All of a journal, a point each minute, with the decision time that was measured.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            from: Time::UNKNOWN,
            until: Time(u64::MAX),
            every_ns: MINUTES,
            decision_ns: None,
        }
    }
}

/// What a policy made of a journal. Amounts are in the account's currency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The policy's name.
    pub policy: String,
    /// First and last record of the span, in nanoseconds since the epoch.
    pub span_ns: [u64; 2],
    /// What a decision took, in nanoseconds.
    pub decision_ns: u64,
    /// Money at the start.
    pub capital: f64,
    /// Account value at the end: longs at the bid, shorts at the ask.
    pub equity: f64,
    /// The same, exact.
    pub equity_exact: String,
    /// What was earned, as a fraction of the capital.
    pub earned: f64,
    /// The deepest fall from a high of equity, looked at on every pulse, as a fraction of that high.
    pub drawdown: f64,
    /// Mean of the gross exposure over equity, over the span's pulses.
    pub exposure: f64,
    /// Amounts bought and sold in a day, over the capital.
    pub turnover_a_day: f64,
    /// Pulses in the span.
    pub pulses: u64,
    /// Questions that were answered.
    pub decisions: u64,
    /// Questions that came while the answer to the one before was still on its way: not asked.
    pub missed: u64,
    /// Decisions by class: sell, hold, buy.
    pub classes: [u64; 3],
    /// Orders that the risk gate let pass.
    pub orders: u64,
    /// Why it did not, by the code of the denial.
    pub denials: BTreeMap<&'static str, u64>,
    /// Fills.
    pub fills: u64,
    /// Round trips: all, and those that won.
    pub trips: [u64; 2],
    /// Where the money went.
    pub costs: Costs,
    /// What each instrument did to it.
    pub instruments: Vec<InstrumentResult>,
    /// Operators' commands of the journal that were left out.
    pub commands_left_out: u64,
    /// Between two points of the curve, in nanoseconds.
    pub every_ns: u64,
    /// The equity curve: nanoseconds since the epoch, and account value.
    pub curve: Vec<(u64, f64)>,
    /// What was wrong with the journal, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}

/// What each effect earned (positive) or cost (negative); the sum is what was earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Costs {
    /// The market moved after orders were sent.
    pub market: f64,
    /// The market moved while orders travelled.
    pub latency: f64,
    /// The market moved while orders waited in the queue.
    pub queue: f64,
    /// From the mid price to the touch.
    pub spread: f64,
    /// From the touch to what was paid.
    pub impact: f64,
    /// Fees.
    pub fees: f64,
    /// Funding.
    pub funding: f64,
}

/// One instrument of a trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstrumentResult {
    /// Venue and symbol, as `binance:BTCUSDT`.
    pub name: String,
    /// Where its money went.
    pub costs: Costs,
    /// Their sum.
    pub earned: f64,
    /// Amounts bought and sold.
    pub traded: f64,
    /// Fills.
    pub fills: u64,
    /// Worth of the position at the end.
    pub held: f64,
    /// The mid price's own return over the span; `None` where it was never known.
    pub market: Option<f64>,
}

impl Trial {
    /// Returns from point to point of the curve, each with the instant at which it ends.
    #[must_use]
    pub fn returns(&self) -> Vec<(u64, f64)> {
        let pairs = self.curve.windows(2);
        pairs
            .map(|two| {
                let grown = if two[0].1 > 0.0 {
                    two[1].1 / two[0].1 - 1.0
                } else {
                    0.0
                };
                (two[1].0, grown)
            })
            .collect()
    }

    /// The share of decisions that were to hold; 1 when there was none.
    #[must_use]
    pub fn hold_share(&self) -> f64 {
        if self.decisions == 0 {
            return 1.0;
        }
        self.classes[1] as f64 / self.decisions as f64
    }

    /// The time that the curve covers, without holes, in nanoseconds.
    #[must_use]
    pub fn covered_ns(&self) -> u64 {
        let steps = self.curve.windows(2).map(|two| two[1].0 - two[0].0);
        steps.filter(|step| *step <= self.every_ns).sum()
    }
}

impl From<Lines> for Costs {
    fn from(lines: Lines) -> Self {
        Self {
            market: units(lines.market),
            latency: units(lines.latency),
            queue: units(lines.queue),
            spread: units(lines.spread),
            impact: units(lines.impact),
            fees: units(lines.fees),
            funding: units(lines.funding),
        }
    }
}

impl Costs {
    /// Each effect with its name in reports, in order.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, f64); 7] {
        [
            ("market", self.market),
            ("latency", self.latency),
            ("queue", self.queue),
            ("spread", self.spread),
            ("impact", self.impact),
            ("fees", self.fees),
            ("funding", self.funding),
        ]
    }
}

fn units(amount: Cash) -> f64 {
    amount.0 as f64 / Cash::ONE.0 as f64
}

/// Lets a policy trade the market of a journal (a folder of day files, or one of them). `change` sees
/// the account's setup before it takes effect; the journal's own costs hold where it changes nothing.
///
/// # Errors
/// When the journal cannot be read, was made by a build that sees the market otherwise, or has no
/// record in the span.
pub fn trial(
    path: &Path,
    policy: &mut Policy,
    terms: &Terms,
    change: impl Fn(&mut Setup),
) -> Result<Trial, ReplayError> {
    if terms.every_ns == 0 || terms.from >= terms.until {
        return Err(ReplayError(
            "a trial needs a span that ends after it begins, and points that are apart".to_owned(),
        ));
    }
    let decision_ns = match terms.decision_ns {
        Some(given) => given,
        None => decision_time(path, terms)?.unwrap_or(0),
    };
    let mut court = Court::new(policy, terms, decision_ns);
    for_each_item(path, |item| court.item(item, &change))?;
    court.finish(path)
}

/// The median of the time that the journal's decisions of a span took, in nanoseconds; `None` when
/// there are none.
///
/// # Errors
/// When the journal cannot be read.
pub fn decision_time(path: &Path, terms: &Terms) -> Result<Option<u64>, ReplayError> {
    let (mut times, mut stride, mut seen) = (Vec::new(), 1_usize, 0_usize);
    for_each_item(path, |item| {
        let Item::Batch {
            first_seq,
            count,
            bytes,
            ..
        } = item
        else {
            return Ok(ControlFlow::Continue(()));
        };
        for record in Decoder::new(*first_seq, *count, bytes) {
            // Damage is reported by the trial itself.
            let Ok(record) = record else { break };
            if record.at >= terms.until {
                return Ok(ControlFlow::Break(()));
            }
            let Event::Decision(decision) = record.event else {
                continue;
            };
            if record.at < terms.from {
                continue;
            }
            if seen.is_multiple_of(stride) {
                times.push(decision.latency_ns);
            }
            seen += 1;
            if times.len() >= TIMES_MAX {
                times = times.iter().copied().step_by(2).collect();
                stride *= 2;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let middle = times.len() / 2;
    if times.is_empty() {
        return Ok(None);
    }
    Ok(Some(*times.select_nth_unstable(middle).1))
}

/// A running trial.
struct Court<'a> {
    policy: &'a mut Policy,
    terms: &'a Terms,
    decision_ns: u64,
    engine: Option<Engine>,
    /// Number of the newest record applied; the trial numbers its own.
    seq: u64,
    /// Answers on their way, in the order asked; one for each instrument at most.
    pending: VecDeque<(Time, Decision)>,
    span: Option<[Time; 2]>,
    /// First and last mid of each instrument in the span.
    mids: Vec<Option<[f64; 2]>>,
    every_ns: u64,
    next: Time,
    heard: Time,
    curve: Vec<(u64, f64)>,
    peak: f64,
    drawdown: f64,
    exposure: f64,
    pulses: u64,
    decisions: u64,
    missed: u64,
    classes: [u64; 3],
    orders: u64,
    denials: BTreeMap<&'static str, u64>,
    fills: u64,
    commands_left_out: u64,
    troubles: Vec<String>,
}

impl<'a> Court<'a> {
    const fn new(policy: &'a mut Policy, terms: &'a Terms, decision_ns: u64) -> Self {
        Self {
            policy,
            decision_ns,
            engine: None,
            seq: 0,
            pending: VecDeque::new(),
            span: None,
            mids: Vec::new(),
            every_ns: terms.every_ns,
            terms,
            next: Time::UNKNOWN,
            heard: Time::UNKNOWN,
            curve: Vec::new(),
            peak: 0.0,
            drawdown: 0.0,
            exposure: 0.0,
            pulses: 0,
            decisions: 0,
            missed: 0,
            classes: [0; 3],
            orders: 0,
            denials: BTreeMap::new(),
            fills: 0,
            commands_left_out: 0,
            troubles: Vec::new(),
        }
    }

    fn item(
        &mut self,
        item: &Item<'_>,
        change: &impl Fn(&mut Setup),
    ) -> Result<ControlFlow<()>, ReplayError> {
        match item {
            Item::Run(header) => {
                let mut setup = setup_of(header)?;
                change(&mut setup);
                self.begin(setup)?;
            }
            Item::Batch {
                first_seq,
                count,
                bytes,
                ..
            } => {
                for record in Decoder::new(*first_seq, *count, bytes) {
                    match record {
                        Ok(record) if record.at >= self.terms.until => {
                            return Ok(ControlFlow::Break(()));
                        }
                        Ok(record) => self.record(record),
                        Err(error) => {
                            self.troubles.push(format!("batch at {first_seq}: {error}"));
                            self.distrust();
                            break;
                        }
                    }
                }
            }
            Item::Missing { from_seq, to_seq } => {
                self.troubles
                    .push(format!("records {from_seq} to {to_seq} are missing"));
                self.distrust();
            }
            Item::Damaged {
                offset,
                bytes,
                reason,
            } => {
                self.troubles
                    .push(format!("{bytes} bytes at {offset}: {reason}"));
                self.distrust();
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn begin(&mut self, setup: Setup) -> Result<(), ReplayError> {
        if let Some(engine) = &mut self.engine {
            return engine
                .rebase(setup)
                .map_err(|error| ReplayError(error.to_string()));
        }
        self.mids = vec![None; setup.instruments.len()];
        self.peak = units(setup.capital);
        self.engine = Some(Engine::new(setup));
        Ok(())
    }

    /// Changes of books were lost: none is right any more.
    fn distrust(&mut self) {
        let at = self.heard;
        for index in 0..self.mids.len() {
            let update = Update {
                instrument: InstrumentId(u16::try_from(index).unwrap_or(u16::MAX)),
                venue_time: Time::UNKNOWN,
                received: Time::UNKNOWN,
                late: false,
                body: Body::Gap(Gap::of(GapReason::Overflow)),
            };
            self.apply(at, Event::Market(update));
        }
    }

    fn record(&mut self, record: Record) {
        match &record.event {
            Event::Start | Event::Market(_) | Event::Pulse | Event::Health(_) => {}
            Event::Operator(_) => {
                self.commands_left_out += u64::from(record.at >= self.terms.from);
                return;
            }
            Event::Decision(_)
            | Event::Report(_)
            | Event::Funded(_)
            | Event::Mark(_)
            | Event::Restrict(_) => return,
        }
        let at = record.at;
        self.deliver(at);
        if at >= self.terms.from {
            self.sample(at);
            self.span = Some([self.span.map_or(at, |span| span[0]), at]);
        }
        self.heard = at;
        let pulse = record.event == Event::Pulse;
        if record.event == Event::Start {
            // Whoever was thinking is gone.
            self.pending.clear();
        }
        self.apply(at, record.event);
        if pulse && at >= self.terms.from {
            self.look();
        }
    }

    /// Answers that have arrived by now take effect.
    fn deliver(&mut self, now: Time) {
        while let Some((due, decision)) = self.pending.front().copied()
            && due <= now
        {
            self.pending.pop_front();
            self.apply(due, Event::Decision(decision));
        }
    }

    /// Folds an event and everything that follows from it.
    fn apply(&mut self, at: Time, event: Event) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.seq += 1;
            engine.handle(&Record {
                seq: self.seq,
                at,
                event,
            });
            while let Some(output) = engine.poll() {
                match output {
                    Output::Ask { instrument, asked } if at >= self.terms.from => {
                        let waiting = |(_, one): &(Time, Decision)| one.instrument == instrument;
                        if self.pending.iter().any(waiting) {
                            self.missed += 1;
                            continue;
                        }
                        debug_assert!(self.pending.len() < MAX_INSTRUMENTS, "one each");
                        let action = self.policy.answer(engine.window(instrument));
                        self.decisions += 1;
                        self.classes[action.class()] += 1;
                        let decision = Decision {
                            instrument,
                            asked,
                            action,
                            latency_ns: self.decision_ns,
                        };
                        self.pending
                            .push_back((at.plus(self.decision_ns), decision));
                    }
                    Output::Commit(event) => {
                        if let Event::Report(report) = &event {
                            self.fills += u64::from(matches!(report.outcome, Outcome::Filled(_)));
                        }
                        events.push_back(event);
                    }
                    Output::Verdict { verdict, .. } => match verdict {
                        Ok(_) => self.orders += 1,
                        Err(denial) => *self.denials.entry(denial.code()).or_default() += 1,
                    },
                    Output::Ask { .. }
                    | Output::Resync { .. }
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

    /// Takes the points of the grid up to this instant, as the account was before it.
    fn sample(&mut self, at: Time) {
        let Some(engine) = &self.engine else { return };
        let silence = at.since(self.heard);
        let hole = !self.heard.is_known() || silence < 0 || silence.unsigned_abs() > HOLE_NS;
        if hole || self.next < self.terms.from {
            self.next = self.grid(at);
        }
        if self.next > at {
            return;
        }
        let equity = units(engine.equity());
        while self.next <= at {
            self.curve.push((self.next.0, equity));
            self.next = self.next.plus(self.every_ns);
        }
        if self.curve.len() >= POINTS_MAX {
            self.every_ns *= 2;
            let every = self.every_ns;
            self.curve.retain(|(at, _)| at.is_multiple_of(every));
            let last = self.curve.last().map_or(0, |point| point.0);
            self.next = self.grid(at).max(Time(last).plus(every));
        }
    }

    /// The first point of the grid that is not before an instant.
    fn grid(&self, at: Time) -> Time {
        Time(at.0.div_ceil(self.every_ns).saturating_mul(self.every_ns))
    }

    /// Looks at the account after a pulse.
    fn look(&mut self) {
        let Some(engine) = &self.engine else { return };
        let equity = units(engine.equity());
        self.pulses += 1;
        self.peak = self.peak.max(equity);
        if self.peak > 0.0 {
            self.drawdown = self.drawdown.max(1.0 - equity / self.peak);
        }
        if equity > 0.0 {
            self.exposure += units(engine.exposure()) / equity;
        }
        for (mids, cell) in self.mids.iter_mut().zip(engine.cells()) {
            if let Some(mid) = cell.book.double_mid() {
                let mid = mid as f64;
                *mids = Some([mids.map_or(mid, |mids| mids[0]), mid]);
            }
        }
    }

    fn finish(self, path: &Path) -> Result<Trial, ReplayError> {
        let (Some(engine), Some([first, last])) = (&self.engine, self.span) else {
            return Err(ReplayError(format!(
                "{}: no record between the instants asked for; is it a journal of that time?",
                path.display()
            )));
        };
        let capital = units(engine.setup().capital);
        let mut costs = Lines::default();
        let mut instruments = Vec::new();
        for (index, instrument) in engine.setup().instruments.iter().enumerate() {
            let id = InstrumentId(u16::try_from(index).unwrap_or(u16::MAX));
            let held = engine.value(id);
            let attribution = &engine.attribution()[index];
            let (lines, fills) = (attribution.lines(held), attribution.fills());
            costs += lines;
            instruments.push(InstrumentResult {
                name: format!("{}:{}", instrument.venue, instrument.symbol),
                costs: lines.into(),
                earned: units(lines.sum()),
                traded: units(fills.traded),
                fills: fills.fills,
                held: units(held),
                market: self.mids[index].map(|[first, last]| last / first - 1.0),
            });
        }
        let traded: f64 = instruments.iter().map(|one| one.traded).sum();
        let days = last.since(first).max(1) as f64 / DAY_NS;
        let trades = engine.scorecard().portfolio().trades();
        let equity = engine.equity();
        Ok(Trial {
            policy: self.policy.name().to_owned(),
            span_ns: [first.0, last.0],
            decision_ns: self.decision_ns,
            capital,
            equity: units(equity),
            equity_exact: equity.to_string(),
            earned: if capital > 0.0 {
                units(equity) / capital - 1.0
            } else {
                0.0
            },
            drawdown: self.drawdown,
            exposure: self.exposure / self.pulses.max(1) as f64,
            turnover_a_day: if capital > 0.0 {
                traded / capital / days
            } else {
                0.0
            },
            pulses: self.pulses,
            decisions: self.decisions,
            missed: self.missed,
            classes: self.classes,
            orders: self.orders,
            denials: self.denials,
            fills: self.fills,
            trips: [trades.count, trades.wins],
            costs: costs.into(),
            instruments,
            commands_left_out: self.commands_left_out,
            every_ns: self.every_ns,
            curve: self.curve,
            troubles: self.troubles,
        })
    }
}
