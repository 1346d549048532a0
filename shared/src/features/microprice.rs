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
pub const STATE_MIN: f64 = 20.0;
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

    /// How far the micro-price lies above the mid, in basis points of it; zero between equal
    /// quantities. Unknown until an estimate stands on [`MOVES_MIN`] moves of the mid, and in states
    /// that were hardly seen.
    ///
    /// Where the tick is wide it lies between the best prices. Where the tick is a small part of
    /// what it costs to trade, nothing holds it there: on recorded BTC markets it is mostly beyond,
    /// and the mid does go there.
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
        let mid = top.double_mid() as f64;
        (mid > 0.0).then(|| expected / mid * BPS)
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

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// A linear congruential generator (Knuth's MMIX constants).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            let (factor, summand) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
            self.0 = self.0.wrapping_mul(factor).wrapping_add(summand);
            (self.0 >> 33) % bound
        }
    }

    fn top(bid: (i64, i64), ask: (i64, i64)) -> Top {
        Top::sample(&[bid], &[ask])
    }

    type Matrix = Vec<Vec<f64>>;

    /// `a⁻¹·b` by Gauss and Jordan with pivots.
    fn solve(mut a: Matrix, mut b: Matrix) -> Matrix {
        let n = a.len();
        for column in 0..n {
            let largest = |row: &usize| (a[*row][column].abs() * 1e15) as u64;
            let pivot = (column..n).max_by_key(largest).expect("rows");
            a.swap(column, pivot);
            b.swap(column, pivot);
            let head = a[column][column];
            let both = a[column].iter_mut().chain(&mut b[column]);
            both.for_each(|value| *value /= head);
            let (heads, others) = (a[column].clone(), b[column].clone());
            for row in (0..n).filter(|row| *row != column) {
                let factor = a[row][column];
                let mine = a[row].iter_mut().chain(&mut b[row]);
                for (value, head) in mine.zip(heads.iter().chain(&others)) {
                    *value -= factor * head;
                }
            }
        }
        b
    }

    /// The paper's estimate on all thirty states, from the states and mids of a tape: the data and
    /// its mirror image are counted, then `G1`, `B` and the sum of its powers. `prior` transitions
    /// to nowhere are added to those of each state.
    fn paper(tape: &[(usize, f64)], prior: f64, still: bool) -> Vec<f64> {
        let n = IMBALANCES * SPREADS;
        let mirror =
            |state: usize| state / IMBALANCES * IMBALANCES + IMBALANCES - 1 - state % IMBALANCES;
        let (mut q, mut t) = (vec![vec![0.0; n]; n], vec![vec![0.0; n]; n]);
        let (mut rk, mut total) = (vec![vec![0.0]; n], vec![prior; n]);
        for pair in tape.windows(2) {
            let ((from, before), (to, after)) = (pair[0], pair[1]);
            let change = after - before;
            if from == to && change == 0.0 && !still {
                continue;
            }
            for (from, to, change) in [(from, to, change), (mirror(from), mirror(to), -change)] {
                total[from] += 1.0;
                rk[from][0] += change;
                if change == 0.0 {
                    q[from][to] += 1.0;
                } else {
                    t[from][to] += 1.0;
                }
            }
        }
        for row in 0..n {
            let total = total[row].max(1.0);
            q[row].iter_mut().for_each(|value| *value = -*value / total);
            q[row][row] += 1.0;
            t[row]
                .iter_mut()
                .chain(&mut rk[row])
                .for_each(|value| *value /= total);
        }
        let first = solve(q.clone(), rk);
        let b = solve(q, t);
        let mut sum: Vec<f64> = first.iter().map(|row| row[0]).collect();
        for _ in 0..2_000 {
            let times = |row: &Vec<f64>| row.iter().zip(&sum).map(|(b, g)| b * g).sum::<f64>();
            let next = b
                .iter()
                .zip(&first)
                .map(|(row, first)| first[0] + times(row));
            sum = next.collect();
        }
        sum
    }

    /// Against the paper's matrices over all states, on a tape where every state occurs: the price
    /// follows the imbalance, with noise, in ticks of 5.
    #[test]
    fn equals_the_matrices_of_the_paper() {
        let (mut dice, mut micro) = (Dice(7), MicroPrice::new());
        let (mut bid, mut tape, mut tops) = (100_000, Vec::new(), Vec::new());
        for _ in 0..4_000 {
            // Of a prime total, so never on an edge between classes, where mirror images differ.
            let bids = 1 + dice.below(1_008) as i64;
            let asks = 1_009 - bids;
            // The first one shows the step.
            let spread = 1 + dice.below(4) as i64 * i64::from(!tape.is_empty());
            if dice.below(3) == 0 {
                bid += 5 * (dice.below(3) as i64 - 1) + 5 * i64::from(bids > asks);
                bid -= 5 * i64::from(bids < asks);
            }
            let ask = bid + 5 * spread;
            // As the paper has it: the tenth in which the share of the bids lies, whatever the side.
            let tenth = (10.0 * bids as f64 / (bids + asks) as f64) as usize;
            tape.push((
                tenth + 10 * (spread.min(3) as usize - 1),
                (bid + ask) as f64,
            ));
            tops.push(top((bid, bids), (ask, asks)));
            micro.top(&tops[tops.len() - 1]);
        }
        assert_eq!(micro.deviation(&tops[0]), None);
        micro.second(PACE_S - 1);
        let want = paper(&tape, PRIOR, false);
        for (top, (state, mid)) in tops.iter().zip(&tape) {
            let want = want[*state] / mid * BPS;
            let got = micro.deviation(top).expect("all states are known");
            assert!((got - want).abs() < 1e-9, "{state}: {got}, not {want}");
        }
    }

    /// A chain whose answer is known. The imbalance walks through its ten classes, up or down with
    /// equal chances; past the last one the mid moves by a tick that way, and the walk goes on from
    /// the second class of the other end. From class `i` the mid is expected to move by
    /// `(2i - 9) / 18` ticks: the next move is `2(i + 1) / 11 - 1`, less `7/18` of it afterwards.
    #[test]
    fn finds_the_answer_of_a_known_chain() {
        let (mut dice, mut micro) = (Dice(11), MicroPrice::new());
        let (mut bid, mut class, mut tape) = (10_000_i64, 4_i64, Vec::new());
        let at = |bid: i64, class: i64| top((bid, 2 * class + 1), (bid + 10, 19 - 2 * class));
        micro.top(&top((10_000, 9), (10_010, 11)));
        for _ in 0..200_000 {
            class += if dice.below(2) == 0 { 1 } else { -1 };
            if class == 10 {
                (bid, class) = (bid + 10, 1);
            } else if class == -1 {
                (bid, class) = (bid - 10, 8);
            }
            tape.push((class as usize, (2 * bid + 10) as f64));
            micro.top(&at(bid, class));
        }
        micro.second(59);
        let slow = paper(&tape, 0.0, true);
        let mut worst = 0.0_f64;
        for class in 0..10 {
            let ticks = (2 * class - 9) as f64 / 18.0;
            let want = ticks * 10.0 / (bid as f64 + 5.0) * BPS;
            let got = micro.deviation(&at(bid, class)).expect("known");
            worst = worst.max((got / want - 1.0).abs());
            let slow = slow[class as usize] / 20.0;
            assert!((slow - ticks).abs() < 0.02, "{class}: {slow}, not {ticks}");
        }
        assert!(worst < 0.03, "off by {worst} of the value");
    }

    /// Two classes in turn, with a mid that moves each time.
    fn learn(micro: &mut MicroPrice, count: i64) {
        for place in 0..count {
            let odd = place % 2;
            micro.top(&top((100 + odd, 1 + 8 * odd), (101 + odd, 5)));
        }
    }

    #[test]
    fn is_unknown_until_enough_moved_and_again_after_a_gap() {
        let mut micro = MicroPrice::new();
        let here = top((100, 1), (101, 5));
        learn(&mut micro, MOVES_MIN as i64);
        micro.second(59);
        assert_eq!(micro.deviation(&here), None, "one move short");
        learn(&mut micro, MOVES_MIN as i64);
        assert_eq!(micro.deviation(&here), None, "not yet estimated");
        micro.second(119);
        assert!(
            micro.deviation(&here).expect("known") > 0.0,
            "it moves up from there"
        );
        assert_eq!(
            micro.deviation(&top((100, 5), (103, 1))),
            None,
            "a state never seen"
        );
        assert_eq!(
            micro.deviation(&top((100, 0), (101, 0))),
            None,
            "no quantity"
        );
        assert_eq!(
            micro.deviation(&top((100, 5), (101, 5))),
            None,
            "never seen either"
        );
        // What is known fades when nothing happens, and is unknown at last.
        let mut faded = micro.clone();
        for minute in 3..200 {
            faded.second(60 * minute - 1);
        }
        assert_eq!(faded.deviation(&here), None);
        micro.interrupt();
        assert_eq!(micro, MicroPrice::new());
    }

    #[test]
    fn a_smaller_step_makes_other_classes() {
        let mut micro = MicroPrice::new();
        micro.top(&Top::sample(&[(1_000, 1), (985, 1)], &[(1_010, 2)]));
        assert_eq!(micro.step, 5);
        micro.top(&top((1_000, 2), (1_010, 1)));
        assert_eq!(micro.counts.as_flattened().iter().sum::<f64>(), 1.0);
        micro.top(&top((1_001, 2), (1_010, 1)));
        assert_eq!(micro.step, 1);
        assert_eq!(micro.counts.as_flattened().iter().sum::<f64>(), 0.0);
        micro.top(&top((i64::MIN + 1, i64::MAX), (i64::MAX, i64::MAX)));
        micro.top(&top((i64::MIN + 1, 1), (i64::MAX, -1)));
        micro.second(59);
        assert!(size_of::<MicroPrice>() < 5_000);
    }
}
