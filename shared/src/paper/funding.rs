//! Funding of perpetual contracts: paid between holders at the venue's own settlement times.
//!
//! Nothing is assumed about the times: the venue states when the current interval settles, and the
//! length of an interval is what it states or, where it states none (Binance, Kraken Futures), what
//! two settlements that were both witnessed lie apart. A long pays a positive rate:
//! `amount = −position · mark · rate` (Binance, "Introduction to Binance Futures Funding Rates"),
//! rounded against us. A fraction that a venue states relative to its index (Kraken Futures) is taken
//! of the mark price too; the difference is the basis times the rate.
//!
//! Only [`Kind::Perpetual`] has funding here. Spot and dated contracts have none; a
//! [`Kind::Inverse`] contract settles in its base currency, which no account here holds. A venue that
//! states no settlement time (KuCoin's Classic feed) gives no settlements:
//! [`Schedule::is_scheduled`] tells.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::wide::{mul_div, narrow};
use crate::event::{Funding, RATE_SCALE};
use crate::instrument::{Instrument, InstrumentId, Kind};
use crate::num::{CASH_SCALE, Cash, Price, Qty};
use crate::time::{MINUTES, SECONDS, Time};

/// Runs of settlements that may wait for their event to become durable.
pub const MAX_RUNS: usize = 16;
/// Settlements that one outage may be charged for: hourly ones of more than a year.
pub const MAX_MISSED: u32 = 10_000;
/// An announcement counts as witnessed when it came within this of its settlement, in nanoseconds.
pub const WITNESS_NS: u64 = 5 * MINUTES;
/// Settlement times closer than this are the same one; a venue that names the next one so much
/// earlier than our clock has settled. In nanoseconds.
pub const SAME_NS: u64 = MINUTES;
/// No venue settles more often than hourly; only a prediction over an interval that is not known
/// relies on it. In nanoseconds.
pub const SHORTEST_NS: u64 = 60 * MINUTES;

/// What one settlement moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The venue's settlement time.
    pub settled: Time,
    /// The rate in force, in units of `10^-12`.
    pub rate: i64,
    /// The mark price.
    pub mark: Price,
    /// What was held.
    pub position: Qty,
    /// Received (positive) or paid (negative).
    pub amount: Cash,
    /// Rate and mark are the last known ones and were not witnessed at the settlement.
    pub estimated: bool,
}

/// Settlements that passed unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The first one; where it is not known how many there were, the last known one before.
    pub from: Time,
    /// The last one; where it is not known how many there were, the first known one after.
    pub to: Time,
    /// How many; `None` when the interval is not known or changed meanwhile.
    pub count: Option<u32>,
    /// They come as estimated settlements. Otherwise nothing is charged for them.
    pub charged: bool,
}

/// What the venue announced of one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Interval {
    settles: Time,
    rate: i64,
    predicted: Option<i64>,
    /// Zero when none was stated.
    mark: Price,
    /// When it was announced last.
    heard: Time,
}

/// Settlements of one rate and mark that wait for their event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    next: Time,
    count: u32,
    step_ns: u64,
    rate: i64,
    mark: Price,
    /// What was held, once the caller said so.
    position: Option<Qty>,
    estimated: bool,
}

/// The settlements of one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    instrument: InstrumentId,
    perpetual: bool,
    /// Decimals of price times quantity.
    scale: u8,
    current: Option<Interval>,
    /// The newest interval that has settled.
    ended: Option<Interval>,
    /// Zero while it is not known.
    interval_s: u32,
    runs: Vec<Run, MAX_RUNS>,
    missed: Vec<Missed, MAX_RUNS>,
    /// The newest settlement whose event came back.
    through: Time,
    /// The first waiting settlement was given out.
    #[serde(skip)]
    asked: bool,
}

impl Schedule {
    /// Nothing announced yet.
    #[must_use]
    pub const fn new(id: InstrumentId, instrument: &Instrument) -> Self {
        Self {
            instrument: id,
            perpetual: matches!(instrument.kind, Kind::Perpetual),
            scale: instrument.price_scale + instrument.qty_scale,
            current: None,
            ended: None,
            interval_s: 0,
            runs: Vec::new(),
            missed: Vec::new(),
            through: Time::UNKNOWN,
            asked: false,
        }
    }

    /// Whether the venue has stated a settlement that is still to come.
    #[must_use]
    pub const fn is_scheduled(&self) -> bool {
        self.current.is_some()
    }

    /// When the current interval settles.
    #[must_use]
    pub fn settles(&self) -> Option<Time> {
        self.current.map(|interval| interval.settles)
    }

    /// The length of an interval in seconds, stated or witnessed; `None` while it is not known.
    #[must_use]
    pub fn interval_s(&self) -> Option<u32> {
        (self.interval_s > 0).then_some(self.interval_s)
    }

    /// The rate of the newest interval that has settled, in units of `10^-12`.
    #[must_use]
    pub fn settled_rate(&self) -> Option<i64> {
        self.ended.map(|interval| interval.rate)
    }

    /// Takes an announcement. One without a rate or a settlement time, or of an interval that is
    /// over, says nothing: the rate in force is the last one that came before the settlement.
    pub fn update(&mut self, funding: &Funding, at: Time) {
        let Some(rate) = funding.rate.filter(|_| self.perpetual) else {
            return;
        };
        if !funding.settles.is_known() || funding.settles <= at {
            return;
        }
        let known = self.current.or(self.ended);
        let stated = [funding.mark, funding.index]
            .into_iter()
            .find(|price| price.0 > 0);
        let mut announced = Interval {
            settles: funding.settles,
            rate,
            predicted: funding.predicted,
            mark: stated
                .or(known.map(|interval| interval.mark))
                .unwrap_or_default(),
            heard: at,
        };
        let stale = |interval: &Interval| {
            announced.settles <= interval.settles || same(announced.settles, interval.settles)
        };
        if self.ended.as_ref().is_some_and(stale) {
            return;
        }
        match self.current {
            Some(current) if same(announced.settles, current.settles) => {
                announced.settles = current.settles;
                if at < current.settles {
                    self.current = Some(announced);
                    self.state(funding.interval_s);
                }
            }
            Some(current)
                if announced.settles > current.settles && at.plus(SAME_NS) >= current.settles =>
            {
                self.end(current);
                self.open(announced, funding.interval_s);
            }
            // The venue moved a settlement that is still to come.
            Some(_) => {
                self.current = Some(announced);
                self.state(funding.interval_s);
            }
            None => self.open(announced, funding.interval_s),
        }
    }

    const fn state(&mut self, interval_s: u32) {
        if interval_s > 0 {
            self.interval_s = interval_s;
        }
    }

    /// The current interval has settled.
    fn end(&mut self, interval: Interval) {
        self.current = None;
        self.ended = Some(interval);
        if interval.settles <= self.through {
            return;
        }
        let run = Run {
            next: interval.settles,
            count: 1,
            step_ns: 0,
            rate: interval.rate,
            mark: interval.mark,
            position: None,
            estimated: interval.settles.0.saturating_sub(interval.heard.0) > WITNESS_NS,
        };
        if !self.wait(run) {
            self.miss(interval.settles, interval.settles, Some(1), false);
        }
    }

    /// Whether a run can be charged; it waits for the caller then.
    fn wait(&mut self, run: Run) -> bool {
        run.mark.0 > 0 && run.count <= MAX_MISSED && self.runs.push(run).is_ok()
    }

    fn miss(&mut self, from: Time, to: Time, count: Option<u32>, charged: bool) {
        let missed = Missed {
            instrument: self.instrument,
            from,
            to,
            count,
            charged,
        };
        if let Err(missed) = self.missed.push(missed)
            && let Some(last) = self.missed.last_mut()
        {
            // Nobody polls: what is known of the newest two is that they lie in between.
            *last = Missed {
                from: last.from,
                count: None,
                charged: last.charged && missed.charged,
                ..missed
            };
        }
    }

    /// The next interval was announced: finds out what lies between it and the last one.
    fn open(&mut self, next: Interval, stated_s: u32) {
        self.current = Some(next);
        let Some(ended) = self.ended else {
            self.state(stated_s);
            return;
        };
        let span_ns = next.settles.0 - ended.settles.0;
        let after = next.heard.0.saturating_sub(ended.settles.0);
        let before = ended.settles.0.saturating_sub(ended.heard.0);
        if before <= WITNESS_NS && after <= WITNESS_NS {
            let witnessed = (span_ns + SECONDS / 2) / SECONDS;
            self.interval_s = u32::try_from(witnessed).unwrap_or(0);
            self.state(stated_s);
            return;
        }
        let changed = stated_s > 0 && self.interval_s > 0 && stated_s != self.interval_s;
        self.state(stated_s);
        let step_ns = u64::from(self.interval_s) * SECONDS;
        let whole = step_ns > 0 && {
            let rest = span_ns % step_ns;
            rest.min(step_ns - rest) < SAME_NS
        };
        if changed || !whole {
            self.miss(ended.settles, next.settles, None, false);
            return;
        }
        let steps = (span_ns + step_ns / 2) / step_ns;
        let count = u32::try_from(steps.saturating_sub(1)).unwrap_or(u32::MAX);
        if count == 0 {
            return;
        }
        let run = Run {
            next: ended.settles.plus(step_ns),
            count,
            step_ns,
            rate: ended.rate,
            mark: ended.mark,
            position: None,
            estimated: true,
        };
        let last = ended.settles.plus(u64::from(count).saturating_mul(step_ns));
        let charged = self.wait(run);
        self.miss(run.next, last, Some(count), charged);
    }

    /// The oldest settlement that is due and whose event has not come back, once: it is given out
    /// again only after [`Self::recover`]. `position` is what is held at `now`; call it whenever time
    /// moves, before a fill is posted, so that this is what was held at the settlement. Who holds
    /// nothing settles nothing.
    pub fn due(&mut self, now: Time, position: Qty) -> Option<Settlement> {
        if let Some(current) = self.current.filter(|current| current.settles <= now) {
            self.end(current);
        }
        for run in &mut self.runs {
            run.position.get_or_insert(position);
        }
        self.runs.retain(|run| run.position != Some(Qty(0)));
        if self.asked {
            return None;
        }
        let run = self.runs.first()?;
        let position = run.position?;
        self.asked = true;
        Some(Settlement {
            instrument: self.instrument,
            settled: run.next,
            rate: run.rate,
            mark: run.mark,
            position,
            amount: amount(position, run.mark, run.rate, self.scale),
            estimated: run.estimated,
        })
    }

    /// A settlement came back as an event, so it is durable. `true` when it counts, `false` when it
    /// counted already. One that is not known here counts: the record that gave rise to it was lost
    /// with the journal's tail.
    pub fn settled(&mut self, settlement: &Settlement) -> bool {
        if settlement.settled <= self.through {
            return false;
        }
        self.through = settlement.settled;
        self.asked = false;
        while let Some(run) = self.runs.first_mut()
            && run.next <= settlement.settled
        {
            run.count -= 1;
            run.next = run.next.plus(run.step_ns);
            if run.count == 0 {
                self.runs.remove(0);
            }
        }
        if let Some(current) = self.current.filter(|c| c.settles <= settlement.settled) {
            self.end(current);
        }
        true
    }

    /// A start: what was given out and did not come back is given out again, unchanged.
    pub const fn recover(&mut self) {
        self.asked = false;
    }

    /// Settlements that passed unseen, each once.
    pub fn poll_missed(&mut self) -> Option<Missed> {
        (!self.missed.is_empty()).then(|| self.missed.remove(0))
    }

    /// What holding `position` from `now` for so long would receive (positive) or pay (negative):
    /// the first settlement at the rate in force, later ones at the predicted rate where the venue
    /// gives one, all at the last mark. Zero when none falls into the time. `None` when the next
    /// settlement, a price or the number of settlements is not known.
    #[must_use]
    pub fn predicted(&self, now: Time, position: Qty, holding_ns: u64) -> Option<Cash> {
        let current = self.current.filter(|current| current.settles > now)?;
        let end = now.plus(holding_ns);
        if position.0 == 0 || end < current.settles {
            return Some(Cash::ZERO);
        }
        if current.mark.0 <= 0 {
            return None;
        }
        let beyond = end.0 - current.settles.0;
        let later = match u64::from(self.interval_s) * SECONDS {
            0 if beyond >= SHORTEST_NS => return None,
            0 => 0,
            step => beyond / step,
        };
        let at = |rate| amount(position, current.mark, rate, self.scale);
        let next = at(current.predicted.unwrap_or(current.rate));
        let later = i64::try_from(later).unwrap_or(i64::MAX);
        Some(at(current.rate) + Cash(next.0.saturating_mul(later)))
    }
}

fn same(one: Time, other: Time) -> bool {
    one.0.abs_diff(other.0) < SAME_NS
}

/// `−position · mark · rate` as money: what is paid is rounded up, what is received down.
fn amount(position: Qty, mark: Price, rate: i64, scale: u8) -> Cash {
    // 10^38 is the largest power of ten below 2^128.
    const LARGEST: u32 = 38;
    let held = u128::from(position.0.unsigned_abs()) * u128::from(mark.0.max(0).unsigned_abs());
    let rate_abs = u128::from(rate.unsigned_abs());
    let places = (u32::from(scale) + u32::from(RATE_SCALE)).saturating_sub(u32::from(CASH_SCALE));
    let first = places.min(LARGEST);
    let (quotient, exact) = mul_div(held, rate_abs, 10_u128.pow(first));
    let rest = 10_u128.pow(places - first);
    let (magnitude, exact) = (quotient / rest, exact && quotient.is_multiple_of(rest));
    if (position.0 < 0) == (rate < 0) {
        -Cash(narrow(magnitude.saturating_add(u128::from(!exact))))
    } else {
        Cash(narrow(magnitude))
    }
}

#[cfg(test)]
mod tests;
