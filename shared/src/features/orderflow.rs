//! Changes of the book: order-flow imbalance by level and over levels, and the micro-price.
//!
//! A change of the book is one event, whatever moved in it: several changes that a venue sends in one
//! message count as their net effect. Quantities and counts are exact integers over sliding windows;
//! only what is learned from one second to the next (the common factor) is a floating-point number.

use serde::{Deserialize, Serialize};

use super::book::Top;
use super::microprice::MicroPrice;
use super::rolling::Rolling;
use super::second::Second;
use super::table::rows;
use super::{Values, View};
use crate::event::{Level, Side};
use crate::num::{Price, Qty};
use crate::time::Time;

rows! {
    /// Features of changes of the book.
    OrderFlowFeature {
        /// [`MicroPrice::deviation`].
        MicropriceDeviation: "microprice_deviation", Bps, "imbalances=10 spreads=3 half_life_s=3600", "Stoikov (2018)";
        /// Order-flow imbalance at the touch over a second, by the average depth there.
        Imbalance1: "order_flow_imbalance_1s", Number, "level=1 window_s=1", "Cont, Kukanov, Stoikov (2014)";
        /// Over ten seconds.
        Imbalance10: "order_flow_imbalance_10s", Number, "level=1 window_s=10", "Cont, Kukanov, Stoikov (2014)";
        /// Over a minute.
        Imbalance60: "order_flow_imbalance_60s", Number, "level=1 window_s=60", "Cont, Kukanov, Stoikov (2014)";
        /// At the second level, by the average depth of five.
        Level2: "order_flow_imbalance_level_2_10s", Number, "level=2 window_s=10", "Xu, Gould, Howison (2018)";
        /// At the third level.
        Level3: "order_flow_imbalance_level_3_10s", Number, "level=3 window_s=10", "Xu, Gould, Howison (2018)";
        /// At the fourth level.
        Level4: "order_flow_imbalance_level_4_10s", Number, "level=4 window_s=10", "Xu, Gould, Howison (2018)";
        /// At the fifth level.
        Level5: "order_flow_imbalance_level_5_10s", Number, "level=5 window_s=10", "Xu, Gould, Howison (2018)";
        /// [`Factor`]'s mean of five levels.
        Integrated10: "order_flow_imbalance_integrated_10s", Number, "levels=5 window_s=10 half_life_s=600", "Cont, Cucuringu, Zhang (2023)";
    }
}

/// Levels a side whose changes are looked at.
pub const FLOW_LEVELS: usize = 5;
/// Sums of a window of the touch: order flow, depth of both sides, events.
const TOUCH_SUMS: usize = 3;
/// Sums of a window of five levels: order flow of each, depth of all, events.
const LEVEL_SUMS: usize = FLOW_LEVELS + 2;

/// The best levels of both sides, five each: bids, then asks. A level that does not exist is one of
/// no quantity, worse than every price.
type Ranks = [[Level; FLOW_LEVELS]; 2];

fn ranks(top: &Top) -> Ranks {
    [(Side::Buy, -i64::MAX), (Side::Sell, i64::MAX)].map(|(side, worst)| {
        let nothing = Level {
            price: Price(worst),
            qty: Qty(0),
        };
        let levels = top.side(side);
        core::array::from_fn(|rank| levels.get(rank).copied().unwrap_or(nothing))
    })
}

/// What came to a queue of bids less what left it: the bid's part of `e_n`. At a better price all of
/// the new queue came; at a worse one all of the old left.
///
/// Source: Cont, Kukanov and Stoikov, "The price impact of order book events", Journal of Financial
/// Econometrics 12 (2014), the definition of `e_n`; for deeper levels Xu, Gould and Howison,
/// "Multi-level order-flow imbalance in a limit order book", Market Microstructure and Liquidity 4
/// (2018).
pub(super) fn flow(side: Side, before: Level, now: Level) -> i128 {
    let (old, new) = (i128::from(before.qty.0), i128::from(now.qty.0));
    let better = match side {
        Side::Buy => now.price.cmp(&before.price),
        Side::Sell => before.price.cmp(&now.price),
    };
    match better {
        core::cmp::Ordering::Greater => new,
        core::cmp::Ordering::Equal => new - old,
        core::cmp::Ordering::Less => -old,
    }
}

/// Memory of the changes of the book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderFlow {
    before: Option<Ranks>,
    /// One, ten and sixty seconds.
    touch: [Rolling<TOUCH_SUMS>; 3],
    levels: Rolling<LEVEL_SUMS>,
    /// The current second's part of `levels`.
    current: [i128; LEVEL_SUMS],
    factor: Factor,
    micro: MicroPrice,
}

impl Default for OrderFlow {
    fn default() -> Self {
        Self::new()
    }
}

impl OrderFlow {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            before: None,
            touch: [Rolling::new(1), Rolling::new(10), Rolling::new(60)],
            levels: Rolling::new(10),
            current: [0; LEVEL_SUMS],
            factor: Factor::new(),
            micro: MicroPrice::new(),
        }
    }

    /// The best levels may have changed.
    pub fn top(&mut self, top: &Top, at: Time) {
        let now = ranks(top);
        let Some(before) = self.before.replace(now) else {
            self.micro.top(top);
            return;
        };
        if before == now {
            return;
        }
        let [bids, asks] = [0, 1].map(|side| (&before[side], &now[side]));
        let mut sums = [0; LEVEL_SUMS];
        let mut depth = 0;
        for (rank, sum) in sums.iter_mut().take(FLOW_LEVELS).enumerate() {
            *sum = flow(Side::Buy, bids.0[rank], bids.1[rank])
                - flow(Side::Sell, asks.0[rank], asks.1[rank]);
            depth += i128::from(bids.1[rank].qty.0) + i128::from(asks.1[rank].qty.0);
        }
        sums[FLOW_LEVELS] = depth;
        sums[FLOW_LEVELS + 1] = 1;
        self.levels.add(at, &sums);
        for (sum, more) in self.current.iter_mut().zip(sums) {
            *sum += more;
        }
        if bids.0[0] != bids.1[0] || asks.0[0] != asks.1[0] {
            let depth = i128::from(bids.1[0].qty.0) + i128::from(asks.1[0].qty.0);
            for window in &mut self.touch {
                window.add(at, &[sums[0], depth, 1]);
            }
            self.micro.top(top);
        }
    }

    /// A second is over.
    pub fn second(&mut self, second: &Second) {
        let sums = core::mem::replace(&mut self.current, [0; LEVEL_SUMS]);
        if second.seen {
            self.factor.add(&by_depth(&sums));
        }
        self.micro.second(second.number);
    }

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, at: Time) {
        self.before = None;
        for window in &mut self.touch {
            window.interrupt(at);
        }
        self.levels.interrupt(at);
        self.current = [0; LEVEL_SUMS];
        self.factor = Factor::new();
        self.micro.interrupt();
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, view: &View<'_>) -> Values<{ OrderFlowFeature::COUNT }> {
        let mut values = Values::UNKNOWN;
        values.set(
            OrderFlowFeature::MicropriceDeviation,
            self.micro.deviation(view.top),
        );
        let rows = [
            OrderFlowFeature::Imbalance1,
            OrderFlowFeature::Imbalance10,
            OrderFlowFeature::Imbalance60,
        ];
        for (row, window) in rows.into_iter().zip(&self.touch) {
            let imbalance = window
                .sums(view.at)
                .map(|[flow, depth, events]| flow as f64 * per_depth(depth, events, 1));
            values.set(row, imbalance);
        }
        if let Some(levels) = self.levels.sums(view.at).map(|sums| by_depth(&sums)) {
            values.set(OrderFlowFeature::Level2, Some(levels[1]));
            values.set(OrderFlowFeature::Level3, Some(levels[2]));
            values.set(OrderFlowFeature::Level4, Some(levels[3]));
            values.set(OrderFlowFeature::Level5, Some(levels[4]));
            values.set(
                OrderFlowFeature::Integrated10,
                self.factor.integrate(&levels),
            );
        }
        values
    }
}

/// One over the average quantity of a queue, given the sum over events of both sides' `levels` best
/// queues after each; zero without events or quantities, when there is no flow either.
///
/// Source: the average depth `AD` of Cont, Kukanov and Stoikov (2014), over the changes of the levels
/// in question; over several levels, the scaling of Cont, Cucuringu and Zhang (2023).
fn per_depth(depth: i128, events: i128, levels: u32) -> f64 {
    if depth > 0 {
        events as f64 * f64::from(2 * levels) / depth as f64
    } else {
        0.0
    }
}

/// The order flow of each level by the average depth of all.
fn by_depth(sums: &[i128; LEVEL_SUMS]) -> [f64; FLOW_LEVELS] {
    let scale = per_depth(sums[FLOW_LEVELS], sums[FLOW_LEVELS + 1], FLOW_LEVELS as u32);
    core::array::from_fn(|level| sums[level] as f64 * scale)
}

/// Seconds of the common factor before it is believed.
const FACTOR_SECONDS_MIN: u32 = 60;
/// What is left of a second's weight after another: `2^(-1/600)`, a half-life of ten minutes.
const FACTOR_KEEP: f64 = 0.998_845_421_738_030_1;
/// Steps of the power method in a second. It goes on from where it was, so it follows.
const FACTOR_STEPS: usize = 4;

/// The common factor of the levels' order flows: the first principal component of their vectors, one
/// a second, with exponential weights.
///
/// Source: Cont, Cucuringu and Zhang, "Cross-impact of order flow imbalance in equity markets",
/// Quantitative Finance 23 (2023), integrated order-flow imbalance. The paper takes the component of the 30 minutes
/// before; here older seconds fade (the recursion of West, "Updating mean and variance estimates",
/// Communications of the ACM 22 (1979), with a constant weight), and the component is followed by the
/// power method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    seconds: u32,
    mean: [f64; FLOW_LEVELS],
    covariance: [[f64; FLOW_LEVELS]; FLOW_LEVELS],
    /// The component, of length 1 and with a sum that is not negative.
    weights: [f64; FLOW_LEVELS],
}

impl Default for Factor {
    fn default() -> Self {
        Self::new()
    }
}

impl Factor {
    /// Nothing observed yet: all levels count the same.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            seconds: 0,
            mean: [0.0; FLOW_LEVELS],
            covariance: [[0.0; FLOW_LEVELS]; FLOW_LEVELS],
            weights: [1.0; FLOW_LEVELS],
        }
    }

    /// Takes the flows of a second.
    pub fn add(&mut self, flows: &[f64; FLOW_LEVELS]) {
        self.seconds = self.seconds.saturating_add(1);
        let new = 1.0 - FACTOR_KEEP;
        let deltas: [f64; FLOW_LEVELS] =
            core::array::from_fn(|level| flows[level] - self.mean[level]);
        for (row, mean) in self.mean.iter_mut().enumerate() {
            *mean += new * deltas[row];
            for (value, delta) in self.covariance[row].iter_mut().zip(deltas) {
                *value = FACTOR_KEEP * (*value + new * deltas[row] * delta);
            }
        }
        for _ in 0..FACTOR_STEPS {
            self.step();
        }
    }

    /// One step of the power method. Without variance, or beyond the range of numbers, the component
    /// stays what it was.
    fn step(&mut self) {
        let product: [f64; FLOW_LEVELS] = core::array::from_fn(|row| {
            let terms = self.covariance[row].iter().zip(&self.weights);
            terms.map(|(value, weight)| value * weight).sum()
        });
        let length = libm::sqrt(product.iter().map(|value| value * value).sum());
        if length > 0.0 && length.is_finite() {
            let sign = if product.iter().sum::<f64>() < 0.0 {
                -1.0
            } else {
                1.0
            };
            self.weights = product.map(|value| sign * value / length);
        }
    }

    /// The weighted sum of the flows, the weights' absolute values summing to 1; unknown during the
    /// first minute.
    #[must_use]
    pub fn integrate(&self, flows: &[f64; FLOW_LEVELS]) -> Option<f64> {
        let norm: f64 = self.weights.iter().map(|weight| weight.abs()).sum();
        let terms = self.weights.iter().zip(flows);
        let sum: f64 = terms.map(|(weight, flow)| weight * flow).sum();
        (self.seconds >= FACTOR_SECONDS_MIN && norm > 0.0).then(|| sum / norm)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::features::book::sample_instrument;
    use crate::features::rolling::BUCKETS;
    use crate::time::{MILLIS, SECONDS};

    const START: u64 = 1_000_000 * SECONDS;

    fn get(flow: &OrderFlow, top: &Top, at: u64, row: OrderFlowFeature) -> Option<f64> {
        let instrument = sample_instrument();
        let values = flow.read(&top.view(&instrument, Time(at)));
        values.get(row).map(f64::from)
    }

    /// A tape of the touch with the `e_n` of each change by hand.
    #[test]
    fn order_flow_stands_on_its_definition() {
        let tape = [
            ((100, 10), (102, 20), 0),
            // Five more bid, five fewer asked: pressure of ten.
            ((100, 15), (102, 15), 10),
            // A better bid: all of it is new.
            ((101, 7), (102, 15), 7),
            // Back to the old one: all of it is gone.
            ((100, 15), (102, 15), -7),
            // The ask is taken: what stood there is gone.
            ((100, 15), (103, 9), 15),
            // A better ask.
            ((100, 15), (102, 4), -4),
        ];
        let mut flow = OrderFlow::new();
        flow.interrupt(Time(START - 60 * SECONDS));
        let (mut sum, mut depth, mut events) = (0, 0, 0);
        for (place, (bid, ask, change)) in tape.into_iter().enumerate() {
            let at = START + place as u64 * MILLIS;
            let top = Top::sample(&[bid], &[ask]);
            flow.top(&top, Time(at));
            // What changes nothing counts for nothing.
            flow.top(&top, Time(at));
            if place > 0 {
                sum += change;
                depth += bid.1 + ask.1;
                events += 1;
            }
            let want = if events == 0 {
                0.0
            } else {
                sum as f64 / (depth as f64 / (2 * events) as f64)
            };
            for row in [
                OrderFlowFeature::Imbalance1,
                OrderFlowFeature::Imbalance10,
                OrderFlowFeature::Imbalance60,
            ] {
                let got = get(&flow, &top, at, row).expect("a full window");
                assert!((got - want).abs() < 1e-6, "{place}: {got}, not {want}");
            }
        }
        // All of it leaves the window.
        let top = Top::sample(&[(100, 15)], &[(102, 4)]);
        let later = START + 2 * SECONDS;
        assert_eq!(
            get(&flow, &top, later, OrderFlowFeature::Imbalance1),
            Some(0.0)
        );
        assert_ne!(
            get(&flow, &top, later, OrderFlowFeature::Imbalance10),
            Some(0.0)
        );
        flow.interrupt(Time(later));
        for (window, row) in [
            (1, OrderFlowFeature::Imbalance1),
            (10, OrderFlowFeature::Level2),
            (60, OrderFlowFeature::Imbalance60),
        ] {
            let full = later + window * SECONDS;
            assert_eq!(get(&flow, &top, full - 1, row), None);
            assert_eq!(get(&flow, &top, full, row), Some(0.0));
        }
    }

    /// Prices and quantities of both sides.
    type Sides = [Vec<(i64, i64)>; 2];

    fn side() -> impl Strategy<Value = Vec<(i64, i64)>> {
        proptest::collection::vec((1_i64..4, 1_i64..50), 1..8)
    }

    /// `e_n` as the paper prints it, with indicators.
    fn printed(before: [(i64, i64); 2], now: [(i64, i64); 2]) -> i64 {
        let [(pb0, qb0), (pa0, qa0)] = before;
        let [(pb, qb), (pa, qa)] = now;
        i64::from(pb >= pb0) * qb - i64::from(pb <= pb0) * qb0 - i64::from(pa <= pa0) * qa
            + i64::from(pa >= pa0) * qa0
    }

    proptest! {
        /// Every level and window against a sum over the list of all books, by the printed formula.
        #[test]
        fn windows_equal_a_sum_over_the_books(
            books in proptest::collection::vec((0_u64..1_500, side(), side()), 2..60)
        ) {
            let mut flow = OrderFlow::new();
            flow.interrupt(Time(START - 60 * SECONDS));
            let mut at = START;
            let mut seen: Vec<(u64, Sides)> = Vec::new();
            for (wait, bids, asks) in books {
                at += wait * MILLIS;
                let outwards = |best: i64, sign: i64, steps: &[(i64, i64)]| -> Vec<_> {
                    let mut price = best;
                    steps.iter().map(|(step, qty)| { price += sign * step; (price, *qty) }).collect()
                };
                let sides = [outwards(1_000, -1, &bids), outwards(1_000, 1, &asks)];
                let top = Top::sample(&sides[0], &sides[1]);
                flow.top(&top, Time(at));
                seen.push((at, sides));
                let level = |sides: &Sides, rank: usize| {
                    let at = |side: usize, worst| sides[side].get(rank).copied().unwrap_or((worst, 0));
                    [at(0, 0), at(1, 1_000_000)]
                };
                let later = at + 70 * MILLIS;
                let sum = |rank: usize, levels: usize, window_s: u64| -> f64 {
                    let width = window_s * SECONDS / BUCKETS as u64;
                    let (mut sum, mut depth, mut events) = (0, 0, 0);
                    for pair in seen.windows(2) {
                        let inside = later / width - pair[1].0 / width < BUCKETS as u64;
                        let differs = (0..levels).any(|n| level(&pair[0].1, n) != level(&pair[1].1, n));
                        if !inside || !differs { continue; }
                        sum += printed(level(&pair[0].1, rank), level(&pair[1].1, rank));
                        let both = |n| level(&pair[1].1, n).map(|(_, qty)| qty).iter().sum::<i64>();
                        depth += (0..levels).map(both).sum::<i64>();
                        events += 1;
                    }
                    if events == 0 { return 0.0; }
                    sum as f64 / (depth as f64 / (2 * events * levels) as f64)
                };
                for (row, rank, levels, window_s) in [
                    (OrderFlowFeature::Imbalance1, 0, 1, 1),
                    (OrderFlowFeature::Imbalance10, 0, 1, 10),
                    (OrderFlowFeature::Imbalance60, 0, 1, 60),
                    (OrderFlowFeature::Level2, 1, 5, 10),
                    (OrderFlowFeature::Level3, 2, 5, 10),
                    (OrderFlowFeature::Level4, 3, 5, 10),
                    (OrderFlowFeature::Level5, 4, 5, 10),
                ] {
                    let (got, want) = (get(&flow, &top, later, row), sum(rank, levels, window_s));
                    let near = got.is_some_and(|got| (got - want).abs() <= 1e-6 * want.abs().max(1.0));
                    prop_assert!(near, "{row:?}: {got:?}, not {want}");
                }
            }
        }
    }

    /// The eigenvector of the largest eigenvalue, by Jacobi's rotations.
    fn first_component(mut matrix: [[f64; FLOW_LEVELS]; FLOW_LEVELS]) -> [f64; FLOW_LEVELS] {
        const N: usize = FLOW_LEVELS;
        let mut vectors: [[f64; N]; N] = core::array::from_fn(|row| {
            core::array::from_fn(|column| f64::from(u8::from(row == column)))
        });
        for _ in 0..50 {
            for p in 0..N {
                for q in p + 1..N {
                    let angle = 0.5 * libm::atan2(2.0 * matrix[p][q], matrix[q][q] - matrix[p][p]);
                    let (sin, cos) = (libm::sin(angle), libm::cos(angle));
                    for row in &mut matrix {
                        (row[p], row[q]) =
                            (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
                    }
                    let (one, other) = (matrix[p], matrix[q]);
                    matrix[p] = core::array::from_fn(|n| cos * one[n] - sin * other[n]);
                    matrix[q] = core::array::from_fn(|n| sin * one[n] + cos * other[n]);
                    for row in &mut vectors {
                        (row[p], row[q]) =
                            (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
                    }
                }
            }
        }
        let largest = (0..N).max_by(|p, q| matrix[*p][*p].total_cmp(&matrix[*q][*q]));
        let column = vectors.map(|row| row[largest.expect("five")]);
        let sign = if column.iter().sum::<f64>() < 0.0 {
            -1.0
        } else {
            1.0
        };
        column.map(|value| sign * value)
    }

    /// The factor against the covariance of all samples with their weights, and its eigenvectors by
    /// another method.
    #[test]
    fn the_factor_is_the_first_principal_component() {
        let (mut factor, mut samples) = (Factor::new(), Vec::new());
        let mut state = 5_u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5
        };
        for second in 1..=900_u32 {
            let common = noise();
            let loads = [1.0, 1.4, 0.9, 0.6, -0.2];
            let flows = loads.map(|load| load * common + 0.4 * noise() + 0.1);
            factor.add(&flows);
            samples.push(flows);
            assert_eq!(factor.integrate(&flows).is_some(), second >= 60);
        }
        // What was before the first sample has the rest of the weight, at zero.
        let weight =
            |place: usize| (1.0 - FACTOR_KEEP) * libm::pow(FACTOR_KEEP, (899 - place) as f64);
        let rest = libm::pow(FACTOR_KEEP, 900.0);
        let mut mean = [0.0; FLOW_LEVELS];
        for (place, sample) in samples.iter().enumerate() {
            for (mean, value) in mean.iter_mut().zip(sample) {
                *mean += weight(place) * value;
            }
        }
        let covariance: [[f64; FLOW_LEVELS]; FLOW_LEVELS] = core::array::from_fn(|row| {
            core::array::from_fn(|column| {
                let product = |sample: &[f64; FLOW_LEVELS]| {
                    (sample[row] - mean[row]) * (sample[column] - mean[column])
                };
                let terms = samples.iter().enumerate();
                let sum: f64 = terms
                    .map(|(place, sample)| weight(place) * product(sample))
                    .sum();
                sum + rest * product(&[0.0; FLOW_LEVELS])
            })
        });
        for (row, want) in factor.covariance.iter().zip(covariance) {
            for (got, want) in row.iter().zip(want) {
                assert!((got - want).abs() < 1e-12, "{got}, not {want}");
            }
        }
        let want = first_component(covariance);
        for (got, want) in factor.weights.iter().zip(want) {
            assert!(
                (got - want).abs() < 1e-4,
                "{:?}, not {want:?}",
                factor.weights
            );
        }
        let norm: f64 = want.iter().map(|weight| weight.abs()).sum();
        let flows = [3.0, -1.0, 0.5, 2.0, 1.0];
        let want = want
            .iter()
            .zip(flows)
            .map(|(weight, flow)| weight * flow)
            .sum::<f64>()
            / norm;
        let got = factor.integrate(&flows).expect("known");
        assert!((got - want).abs() < 1e-3, "{got}, not {want}");
    }

    #[test]
    fn a_factor_of_nothing_is_the_plain_mean() {
        let mut factor = Factor::new();
        for _ in 0..60 {
            factor.add(&[0.0; FLOW_LEVELS]);
        }
        assert_eq!(factor.integrate(&[1.0, 2.0, 3.0, 4.0, 5.0]), Some(3.0));
    }

    /// The largest quantities there are neither panic nor give what is not a number.
    #[test]
    fn strange_books_are_held() {
        let mut flow = OrderFlow::new();
        for second in 0..200 {
            let at = START + second * SECONDS;
            let odd = (second % 2).cast_signed();
            let qty = odd * i64::MAX;
            let top = Top::sample(&[(-odd, qty), (-7, 0)], &[(i64::MAX - odd, i64::MAX - qty)]);
            flow.top(&top, Time(at));
            flow.second(&Second {
                number: at / SECONDS,
                seen: true,
                double_mid: None,
                trades: None,
            });
            get(&flow, &top, at, OrderFlowFeature::Integrated10);
            assert_eq!(flow, flow.clone(), "no NaN inside");
        }
    }
}
