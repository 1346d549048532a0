//! The micro-price: where the mid is expected to go from the imbalance and the spread of now.
//!
//! Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance 18
//! (2018). The touch is a Markov chain of [`IMBALANCES`] classes of imbalance times [`SPREADS`]
//! classes of spread, and the micro-price is the limit of the expected mid: `P = M + G*`, where
//! `G* = G1 + B·G1 + B²·G1 + …`, `G1 = (1 - Q)⁻¹·R·K` is the expected first move of
//! the mid and `B = (1 - Q)⁻¹·T` the state after it. `Q` are the transitions that leave
//! the mid where it is, `T` those that move it.
//!
//! Three identities make it small. The sum solves `(1 - Q - T)·G* = R·K`: a jump counts once, whether
//! it moves the mid or not. A transition from a state to itself that moves nothing changes no
//! solution, so it is not counted. And the paper makes the data symmetric by adding to every
//! transition its mirror image (bid for ask), so `G*` of a mirrored state is the opposite, and half
//! of the states are enough.
//!
//! The paper fits once to days of data; here the counts fade with a half-life of an hour, and the
//! estimate is renewed once a minute. What it does not do: it tells nothing of the size of a spread of
//! three ticks or more, which is one class, as in the paper.

use serde::{Deserialize, Serialize};

use super::BPS;
use super::book::Top;
use crate::event::Side;

/// Classes of imbalance: tenths of `bid / (bid + ask)`.
pub const IMBALANCES: usize = 10;
/// Classes of spread: one tick, two, more.
pub const SPREADS: usize = 3;
/// Moves of the mid, as they fade, that an estimate needs.
pub const MOVES_MIN: f64 = 50.0;
/// Transitions from a state, as they fade, without which it says nothing.
pub const STATE_MIN: f64 = 5.0;
/// Transitions into balance, from which nothing is expected, that each state is given beforehand: a
/// rarely seen one expects little, and the equations always have a solution.
const PRIOR: f64 = 1.0;
/// Seconds between two estimates.
const PACE_S: u64 = 60;
/// What is left of a count after [`PACE_S`]: `2^(-1/60)`, a half-life of an hour.
const KEEP: f64 = 0.988_514_020_352_896_2;
/// Classes of imbalance in which the bid is the smaller.
const HALF: usize = IMBALANCES / 2;
/// States that are not the mirror image of another.
const STATES: usize = HALF * SPREADS;

/// A state of the touch: one of [`STATES`], or its mirror image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    index: usize,
    /// The ask is the smaller.
    mirrored: bool,
}

impl State {
    /// `None` when nothing stands at the touch.
    fn of(top: &Top, step: i64) -> Option<Self> {
        let (bid, ask) = (top.bid(), top.ask());
        let qty = |qty: i64| u128::from(qty.max(0).unsigned_abs());
        let (bids, asks) = (qty(bid.qty.0), qty(ask.qty.0));
        let tenths = (bids.min(asks) * IMBALANCES as u128).checked_div(bids + asks)?;
        // Equal quantities belong to both middle classes.
        let imbalance = tenths.min(HALF as u128 - 1) as usize;
        let ticks = ask.price.0.saturating_sub(bid.price.0) / step.max(1);
        let spread = ticks.clamp(1, SPREADS as i64).unsigned_abs() as usize - 1;
        Some(Self {
            index: spread * HALF + imbalance,
            mirrored: bids > asks,
        })
    }

    /// Its column: mirror images follow the rest.
    const fn column(self) -> usize {
        self.index + if self.mirrored { STATES } else { 0 }
    }
}

/// An estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Estimate {
    /// `G*` in halves of a unit of price; `None` in states that were hardly seen.
    moves: [Option<f64>; STATES],
}

/// The micro-price of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MicroPrice {
    /// The price step: the largest that every price at the touch is a multiple of; 0 before the
    /// first. Instruments that no table describes do not state theirs.
    step: i64,
    /// The newest state and doubled mid.
    before: Option<(State, i64)>,
    /// Transitions from a state to another or to the mirror image of one.
    counts: [[f64; 2 * STATES]; STATES],
    /// Sums of the moves of the doubled mid from a state.
    moves: [f64; STATES],
    /// Moves of the mid.
    moved: f64,
    estimate: Option<Estimate>,
}

impl Default for MicroPrice {
    fn default() -> Self {
        Self::new()
    }
}

impl MicroPrice {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            step: 0,
            before: None,
            counts: [[0.0; 2 * STATES]; STATES],
            moves: [0.0; STATES],
            moved: 0.0,
            estimate: None,
        }
    }

    /// Observation was interrupted: it learns anew.
    pub const fn interrupt(&mut self) {
        *self = Self::new();
    }

    /// The touch may have changed.
    pub fn top(&mut self, top: &Top) {
        self.learn_step(top);
        let Some(state) = State::of(top, self.step) else {
            return;
        };
        let double_mid = top.double_mid();
        let Some((from, mid)) = self.before.replace((state, double_mid)) else {
            return;
        };
        let change = double_mid.saturating_sub(mid);
        if from == state && change == 0 {
            return;
        }
        let to = State {
            mirrored: from.mirrored != state.mirrored,
            ..state
        };
        let sign = if from.mirrored { -1.0 } else { 1.0 };
        self.counts[from.index][to.column()] += 1.0;
        self.moves[from.index] += sign * change as f64;
        self.moved += f64::from(u8::from(change != 0));
    }

    /// A smaller step than was thought makes other classes of the spreads, so all starts anew.
    fn learn_step(&mut self, top: &Top) {
        let (bid, ask) = (top.bid().price.0, top.ask().price.0);
        if self.step > 0 && bid % self.step == 0 && ask % self.step == 0 {
            return;
        }
        let levels = [Side::Buy, Side::Sell].map(|side| top.side(side));
        let prices = levels.into_iter().flatten().map(|level| level.price.0);
        let step = prices.fold(self.step, common_step);
        *self = Self {
            step,
            ..Self::new()
        };
    }

    /// A second is over. Estimates come at whole minutes.
    pub fn second(&mut self, number: u64) {
        if !(number + 1).is_multiple_of(PACE_S) {
            return;
        }
        self.estimate = (self.moved >= MOVES_MIN).then(|| self.estimate());
        let counts = self.counts.as_flattened_mut().iter_mut();
        for count in counts.chain(&mut self.moves) {
            *count *= KEEP;
        }
        self.moved *= KEEP;
    }

    /// Solves `(1 - Q - T)·G* = R·K` on the half of the states, by elimination: each row's diagonal
    /// exceeds the sum of the others because of [`PRIOR`], so that no pivoting is needed.
    fn estimate(&self) -> Estimate {
        let mut rows = [[0.0; STATES + 1]; STATES];
        let mut totals = [0.0; STATES];
        for (from, row) in rows.iter_mut().enumerate() {
            let counts = &self.counts[from];
            totals[from] = counts.iter().sum::<f64>();
            let total = totals[from] + PRIOR;
            for to in 0..STATES {
                row[to] = (counts[to + STATES] - counts[to]) / total;
            }
            row[from] += 1.0;
            row[STATES] = self.moves[from] / total;
        }
        for pivot in 0..STATES {
            let head = rows[pivot];
            for row in &mut rows[pivot + 1..] {
                let factor = row[pivot] / head[pivot];
                for (place, value) in row.iter_mut().enumerate().skip(pivot) {
                    *value -= factor * head[place];
                }
            }
        }
        let mut solved = [0.0; STATES];
        for index in (0..STATES).rev() {
            let row = &rows[index];
            let mut rest = row[STATES];
            for later in index + 1..STATES {
                rest -= row[later] * solved[later];
            }
            solved[index] = rest / row[index];
        }
        let known = |index: usize| totals[index] >= STATE_MIN && solved[index].is_finite();
        Estimate {
            moves: core::array::from_fn(|index| known(index).then(|| solved[index])),
        }
    }

    /// How far the micro-price lies above the mid, in basis points of it. Never beyond the best bid
    /// or ask, where an estimate from few moves could otherwise lie; zero between equal quantities.
    /// Unknown until an estimate stands on [`MOVES_MIN`] moves of the mid, and in states that were
    /// hardly seen.
    #[must_use]
    pub fn deviation(&self, top: &Top) -> Option<f64> {
        let estimate = self.estimate.as_ref()?;
        let state = State::of(top, self.step)?;
        let expected = estimate.moves[state.index]?;
        let (bid, ask) = (top.bid(), top.ask());
        let expected = match bid.qty.cmp(&ask.qty) {
            core::cmp::Ordering::Less => expected,
            core::cmp::Ordering::Equal => 0.0,
            core::cmp::Ordering::Greater => -expected,
        };
        // Of the doubled mid, so a whole spread leads to the other side.
        let reach = ask.price.0.saturating_sub(bid.price.0).max(0) as f64;
        let mid = top.double_mid() as f64;
        (mid > 0.0).then(|| expected.clamp(-reach, reach) / mid * BPS)
    }
}

/// The largest number that both are multiples of, the first being 0 when nothing is known yet.
pub(super) const fn common_step(step: i64, price: i64) -> i64 {
    let (mut one, mut other) = (step.saturating_abs(), price.saturating_abs());
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}
