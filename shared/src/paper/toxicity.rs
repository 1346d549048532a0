//! Toxic fills: where the price went after a resting order was hit.
//!
//! A maker is hit most readily by those who know more. Each maker fill is marked against the mid
//! price after 1, 5 and 30 seconds: the mid in force at that moment, which is the last one stated
//! until then. A gap makes the marks that are still to come unknown; they are counted and never
//! guessed.

use heapless::{Deque, Vec};
use serde::{Deserialize, Serialize};

use super::wide::{mul_div, narrow};
use crate::event::Side;
use crate::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS};
use crate::num::{CASH_SCALE, Cash, Qty, div_round, saturate};
use crate::order::OrderId;
use crate::time::{SECONDS, Time};

/// Times after a fill at which it is marked, in seconds.
pub const HORIZONS_S: [u8; 3] = [1, 5, 30];
/// A fill is toxic when its order joined behind more than this many average trades.
pub const TOXIC_QUEUE_ORDERS: u32 = 10;
/// A fill is toxic when the mid moved against it by more than this at any horizon, in millionths.
pub const TOXIC_ADVERSE_PPM: i64 = 100;
/// Fills whose marks are still to come, over all instruments. The oldest gives way.
pub const MAX_PENDING: usize = 256;
/// Marks that were not polled yet. The oldest gives way; its sums are kept.
pub const MAX_READY: usize = 256;

/// A fill of a resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakerFill {
    /// Of which order.
    pub order: OrderId,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// Twice the mid price at the fill; not positive when there was none.
    pub double_mid: i64,
    /// How many average trades stood before the order when it joined.
    pub queue_orders: u32,
    /// When.
    pub at: Time,
}

/// Where the price stood some time after a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Of which order.
    pub order: OrderId,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The fill's side.
    pub side: Side,
    /// The filled quantity.
    pub qty: Qty,
    /// The moment that is marked.
    pub at: Time,
    /// Seconds after the fill, one of [`HORIZONS_S`].
    pub horizon_s: u8,
    /// How far the mid moved against the fill, in millionths of the mid at the fill.
    pub adverse_ppm: i64,
    /// The same as money for the filled quantity.
    pub adverse: Cash,
    /// The fill is toxic, by what is known until now.
    pub toxic: bool,
}

/// Sums over the marks of one horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon {
    /// Marks.
    pub marks: u64,
    /// Marks that cannot be known.
    pub unknown: u64,
    /// Sum of the adverse moves in millionths.
    pub adverse_ppm: i128,
    /// Sum of the adverse moves as money.
    pub adverse: Cash,
}

impl Horizon {
    /// Mean adverse move in millionths, rounded to nearest; unknown without marks.
    #[must_use]
    pub fn mean_adverse_ppm(&self) -> Option<i64> {
        (self.marks > 0).then(|| div_round(self.adverse_ppm, i128::from(self.marks)))
    }
}

/// Sums over one instrument's maker fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Maker fills.
    pub fills: u64,
    /// Those that are toxic; each counts once.
    pub toxic: u64,
    /// By horizon, in the order of [`HORIZONS_S`].
    pub horizons: [Horizon; HORIZONS_S.len()],
}

/// A fill with marks to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    fill: MakerFill,
    /// Decimals of price times quantity.
    scale: u8,
    toxic: bool,
    /// Horizons that are marked.
    marked: u8,
}

impl Pending {
    fn due(&self) -> Time {
        let seconds = HORIZONS_S.get(usize::from(self.marked));
        seconds.map_or(Time(u64::MAX), |seconds| {
            self.fill.at.plus(u64::from(*seconds) * SECONDS)
        })
    }
}

/// What is known of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The doubled mid in force; 0 while it is not known.
    double_mid: i64,
    sums: Sums,
}

/// The marks of maker fills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toxicity {
    pending: Vec<Pending, MAX_PENDING>,
    ready: Deque<Mark, MAX_READY>,
    instruments: Vec<State, MAX_INSTRUMENTS>,
    /// No mark is due before this.
    next: Time,
    unread: u64,
}

impl Default for Toxicity {
    fn default() -> Self {
        Self::new()
    }
}

impl Toxicity {
    /// No fills yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pending: Vec::new(),
            ready: Deque::new(),
            instruments: Vec::new(),
            next: Time(u64::MAX),
            unread: 0,
        }
    }

    /// The instrument's entry; `None` beyond [`MAX_INSTRUMENTS`], which no table holds.
    fn state(&mut self, id: InstrumentId) -> Option<&mut State> {
        while self.instruments.len() <= id.index() {
            self.instruments.push(State::default()).ok()?;
        }
        self.instruments.get_mut(id.index())
    }

    /// A resting order was hit. Call it in the order of time, as everything here.
    pub fn filled(&mut self, fill: MakerFill, instrument: &Instrument) {
        self.advance(fill.at);
        let toxic = fill.queue_orders > TOXIC_QUEUE_ORDERS;
        let Some(state) = self.state(fill.instrument) else {
            return;
        };
        state.sums.fills += 1;
        state.sums.toxic += u64::from(toxic);
        let pending = Pending {
            fill,
            scale: instrument.price_scale + instrument.qty_scale,
            toxic,
            marked: 0,
        };
        if fill.double_mid <= 0 {
            lose(&mut state.sums, &pending);
            return;
        }
        if state.double_mid == 0 {
            state.double_mid = fill.double_mid;
        }
        if self.pending.is_full() {
            let oldest = self.pending.remove(0);
            if let Some(state) = self.state(oldest.fill.instrument) {
                lose(&mut state.sums, &oldest);
            }
        }
        self.next = self.next.min(pending.due());
        let pushed = self.pending.push(pending);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// The doubled mid price of an instrument after a book event. One that is not positive says
    /// nothing: the one before stays in force.
    pub fn mid(&mut self, instrument: InstrumentId, double_mid: i64, at: Time) {
        if double_mid <= 0 {
            return;
        }
        // What was due before is marked at the mid that was in force then.
        self.advance(at.minus(1));
        if let Some(state) = self.state(instrument) {
            state.double_mid = double_mid;
        }
        self.advance(at);
    }

    /// Time passed: marks what is due at the mids in force.
    pub fn advance(&mut self, now: Time) {
        if now < self.next {
            return;
        }
        let mut place = 0;
        while place < self.pending.len() {
            while self.pending[place].due() <= now {
                self.mark(place);
            }
            if usize::from(self.pending[place].marked) == HORIZONS_S.len() {
                self.pending.remove(place);
            } else {
                place += 1;
            }
        }
        self.find_next();
    }

    fn find_next(&mut self) {
        let due = self.pending.iter().map(Pending::due).min();
        self.next = due.unwrap_or(Time(u64::MAX));
    }

    /// Marks a pending fill at its next horizon.
    fn mark(&mut self, place: usize) {
        let pending = &mut self.pending[place];
        let (fill, horizon) = (pending.fill, usize::from(pending.marked));
        let at = pending.due();
        pending.marked += 1;
        let Some(state) = self.instruments.get_mut(fill.instrument.index()) else {
            return;
        };
        let moved = i128::from(state.double_mid) - i128::from(fill.double_mid);
        let adverse_double = -moved * i128::from(fill.side.sign());
        let adverse_ppm = div_round(adverse_double * 1_000_000, i128::from(fill.double_mid));
        let adverse = money(adverse_double, fill.qty, pending.scale);
        if adverse_ppm > TOXIC_ADVERSE_PPM && !pending.toxic {
            pending.toxic = true;
            state.sums.toxic += 1;
        }
        let sums = &mut state.sums.horizons[horizon];
        sums.marks += 1;
        sums.adverse_ppm += i128::from(adverse_ppm);
        sums.adverse += adverse;
        let mark = Mark {
            order: fill.order,
            instrument: fill.instrument,
            side: fill.side,
            qty: fill.qty,
            at,
            horizon_s: HORIZONS_S[horizon],
            adverse_ppm,
            adverse,
            toxic: pending.toxic,
        };
        if self.ready.is_full() {
            self.ready.pop_front();
            self.unread += 1;
        }
        let pushed = self.ready.push_back(mark);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// The instrument's continuity was lost at `at`: what was due until then is marked, what was still
    /// to come is unknown, and so is the mid.
    pub fn gap(&mut self, instrument: InstrumentId, at: Time) {
        self.advance(at);
        let Some(state) = self.instruments.get_mut(instrument.index()) else {
            return;
        };
        state.double_mid = 0;
        let sums = &mut state.sums;
        self.pending.retain(|pending| {
            let other = pending.fill.instrument != instrument;
            if !other {
                lose(sums, pending);
            }
            other
        });
        self.find_next();
    }

    /// The next mark that was not given out yet, oldest first.
    pub fn poll(&mut self) -> Option<Mark> {
        self.ready.pop_front()
    }

    /// Fills with marks to come.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Marks that gave way before they were polled.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.unread
    }

    /// The sums of an instrument.
    #[must_use]
    pub fn sums(&self, instrument: InstrumentId) -> Sums {
        let state = self.instruments.get(instrument.index());
        state.map_or_else(Sums::default, |state| state.sums)
    }
}

/// The marks that a fill will not get.
fn lose(sums: &mut Sums, pending: &Pending) {
    for horizon in &mut sums.horizons[usize::from(pending.marked)..] {
        horizon.unknown += 1;
    }
}

/// Half of a doubled price's move times a quantity, as money, rounded to nearest and saturated.
fn money(double: i128, qty: Qty, scale: u8) -> Cash {
    let magnitude = double.unsigned_abs();
    let scale = i32::from(scale) - i32::from(CASH_SCALE);
    let unit = 10_u128.pow(scale.unsigned_abs());
    let qty = u128::from(qty.0.unsigned_abs());
    // In halves of the last place: an odd one rounds away from zero.
    let halves = if scale >= 0 {
        mul_div(magnitude, qty, unit).0
    } else {
        mul_div(magnitude, qty * unit, 1).0
    };
    let amount = narrow(halves / 2 + halves % 2);
    Cash(saturate(i128::from(amount) * double.signum()))
}

#[cfg(test)]
mod tests;
