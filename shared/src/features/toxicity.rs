//! Toxicity of the flow in volume time: the volume-synchronised probability of informed trading.
//!
//! Bars of time are poured into buckets of equal volume; the share of a bar's volume that was bought
//! comes from the change of its price (bulk classification) or from the trades' own aggressors. Sizes
//! of buckets and deviations are taken from bars that are over, never from the future. What this does
//! not do is say which trader is informed: a one-sided market looks the same.

use serde::{Deserialize, Serialize};

use super::samples::{Minute, Samples};
use super::second::{Second, Trades};
use super::table::rows;
use super::{Values, View};
use crate::num::saturate;
use crate::time::Time;

rows! {
    /// Features of toxicity.
    ToxicityFeature {
        /// [`Vpin::value`] by bulk classification, over about five minutes.
        Bulk5m: "vpin_5m_bulk", Share, "buckets=50 bar_s=1 span_s=300", "Easley, López de Prado, O'Hara (2012)";
        /// [`Vpin::value`] by aggressor, over about five minutes.
        Aggressor5m: "vpin_5m_aggressor", Share, "buckets=50 bar_s=1 span_s=300", "Easley, López de Prado, O'Hara (2012)";
        /// [`Vpin::value`] by bulk classification, over about a day.
        Bulk1d: "vpin_1d_bulk", Share, "buckets=50 bar_s=60 span_s=86400", "Easley, López de Prado, O'Hara (2012)";
        /// [`Vpin::value`] by aggressor, over about a day.
        Aggressor1d: "vpin_1d_aggressor", Share, "buckets=50 bar_s=60 span_s=86400", "Easley, López de Prado, O'Hara (2012)";
        /// [`Vpin::rank`] of `vpin_5m_bulk`.
        BulkRank5m: "vpin_5m_bulk_rank", Share, "buckets=50 bar_s=1 span_s=300 ranked=64", "Easley, López de Prado, O'Hara (2012), CDF of VPIN";
        /// [`Vpin::rank`] of `vpin_5m_aggressor`.
        AggressorRank5m: "vpin_5m_aggressor_rank", Share, "buckets=50 bar_s=1 span_s=300 ranked=64", "Easley, López de Prado, O'Hara (2012), CDF of VPIN";
        /// [`Vpin::rank`] of `vpin_1d_bulk`.
        BulkRank1d: "vpin_1d_bulk_rank", Share, "buckets=50 bar_s=60 span_s=86400 ranked=64", "Easley, López de Prado, O'Hara (2012), CDF of VPIN";
        /// [`Vpin::rank`] of `vpin_1d_aggressor`.
        AggressorRank1d: "vpin_1d_aggressor_rank", Share, "buckets=50 bar_s=60 span_s=86400 ranked=64", "Easley, López de Prado, O'Hara (2012), CDF of VPIN";
    }
}

/// Buckets that a value is made of: the paper's `n`.
pub const BUCKETS: usize = 50;
/// Bars, and among them price changes, that the first size of a bucket is taken from.
pub const FIRST_BARS: usize = 30;
/// Values among which the newest is ranked.
pub const RANKED: usize = 64;
/// Largest change of a price that counts, in units of [`crate::num::Price`]: sums of squares then fit
/// 128 bits.
const CHANGE_LIMIT: i64 = 1 << 50;

/// How the bought share of a bar is found: the places of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classification {
    /// By the change of the price: `Φ(ΔP/σ)`.
    Bulk,
    /// By the aggressors.
    Aggressor,
}

/// Both classifications of a volume.
type Both = [f64; 2];

/// VPIN over bars of time of which `SPAN` last about as long as [`BUCKETS`] buckets.
///
/// The exact rule, in whole units of quantity:
///
/// * Every bar observed in full adds its volume `V` to a window of the newest `SPAN` bars. A bar with
///   trades that has another before it also adds its change `ΔP` of the last trade's price to a
///   window of the newest `SPAN` changes; `σ` is their sample deviation, this bar's own included.
/// * The bought share of the bar is `Φ(ΔP/σ)`, or `1/2`, `1`, `0` by the sign of `ΔP` while `σ = 0`;
///   by aggressor it is what buyers took over `V`.
/// * Once both windows hold [`FIRST_BARS`], a bucket's size is the window's volume times `SPAN` over
///   its bars times [`BUCKETS`], rounded down, at least 1. It is taken anew at the end of the bar in
///   which the fiftieth bucket since then was closed. The bars after fill buckets of that size; a
///   bucket begun before keeps the size that it began with.
/// * A bar fills as many buckets as its volume suffices for, each part with the bar's share.
/// * The value is `Σ|bought - sold| / Σ volume` over the newest [`BUCKETS`] full buckets, which is the
///   paper's `Σ|V^S - V^B| / (n·V)` while all are of one size.
///
/// Source: Easley, López de Prado and O'Hara, "Flow toxicity and liquidity in a high-frequency world",
/// Review of Financial Studies 25 (2012).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vpin<const SPAN: usize> {
    /// The last trade's price; 0 before one.
    close: i64,
    volumes: Samples<i64, SPAN>,
    /// Sum of `volumes`.
    volume: i128,
    changes: Samples<i64, SPAN>,
    /// Sums of `changes` and of their squares.
    change: i128,
    squares: i128,
    /// The size of the buckets to come; 0 before one is known.
    size: i64,
    /// Buckets closed since it was taken.
    closed: i64,
    /// The bucket that is being filled: its size, what it holds, what of that was bought.
    open_size: i64,
    filled: i64,
    bought: Both,
    /// Full buckets: their volumes and `|bought - sold|`.
    sizes: Samples<i64, BUCKETS>,
    imbalances: Samples<Both, BUCKETS>,
    value: Option<Both>,
    /// Values at the ends of bars that closed a bucket.
    values: Samples<Both, RANKED>,
}

impl<const SPAN: usize> Default for Vpin<SPAN> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SPAN: usize> Vpin<SPAN> {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            close: 0,
            volumes: Samples::new(0),
            volume: 0,
            changes: Samples::new(0),
            change: 0,
            squares: 0,
            size: 0,
            closed: 0,
            open_size: 0,
            filled: 0,
            bought: [0.0; 2],
            sizes: Samples::new(0),
            imbalances: Samples::new([0.0; 2]),
            value: None,
            values: Samples::new([0.0; 2]),
        }
    }

    /// A bar is over; `None`: nothing traded in it.
    pub fn bar(&mut self, trades: Option<&Trades>) {
        let volume = trades.map_or(0, |trades| trades.volume().0.max(0));
        self.volume += i128::from(volume);
        self.volume -= i128::from(self.volumes.push(volume).unwrap_or(0));
        if let Some(trades) = trades {
            let before = core::mem::replace(&mut self.close, trades.close.0);
            if before != 0 {
                let change = trades.close.0.saturating_sub(before);
                let change = change.clamp(-CHANGE_LIMIT, CHANGE_LIMIT);
                self.change(change);
                if self.size > 0 && volume > 0 {
                    let bought = trades.bought.0.max(0) as f64 / volume as f64;
                    self.pour(volume, [self.bulk(change), bought]);
                }
            }
        }
        let known = self.volumes.len() >= FIRST_BARS && self.changes.len() >= FIRST_BARS;
        if known && (self.size == 0 || self.closed >= BUCKETS as i64) {
            let bars = (self.volumes.len() * BUCKETS) as i128;
            self.size = saturate(self.volume * SPAN as i128 / bars).max(1);
            self.closed = 0;
            if self.filled == 0 {
                self.open_size = self.size;
            }
        }
    }

    fn change(&mut self, change: i64) {
        let left = self.changes.push(change).unwrap_or(0);
        self.change += i128::from(change) - i128::from(left);
        self.squares += i128::from(change).pow(2) - i128::from(left).pow(2);
    }

    /// `Φ(ΔP/σ)`.
    fn bulk(&self, change: i64) -> f64 {
        let count = self.changes.len() as i128;
        let squares = count * self.squares - self.change.pow(2);
        if squares <= 0 {
            return 0.5 * (1.0 + change.signum() as f64);
        }
        let deviation = libm::sqrt(squares as f64 / (count * (count - 1)) as f64);
        normal(change as f64 / deviation)
    }

    fn pour(&mut self, volume: i64, shares: Both) {
        let closed = self.closed;
        let first = volume.min(self.open_size - self.filled);
        self.fill(first, shares);
        let rest = volume - first;
        if rest > 0 {
            let whole = rest / self.size;
            // Those before the newest fifty would leave the window again.
            for _ in 0..whole.min(BUCKETS as i64) {
                self.push(self.size, shares.map(|share| share * self.size as f64));
            }
            self.closed = self.closed.saturating_add(whole);
            self.fill(rest % self.size, shares);
        }
        if self.closed > closed && self.sizes.is_full() {
            self.measure();
        }
    }

    /// Adds to the open bucket what fits into it.
    fn fill(&mut self, part: i64, shares: Both) {
        self.filled += part;
        for (bought, share) in self.bought.iter_mut().zip(shares) {
            *bought += share * part as f64;
        }
        if self.filled == self.open_size {
            self.push(self.open_size, self.bought);
            self.closed = self.closed.saturating_add(1);
            (self.open_size, self.filled, self.bought) = (self.size, 0, [0.0; 2]);
        }
    }

    fn push(&mut self, size: i64, bought: Both) {
        let volume = size as f64;
        self.sizes.push(size);
        self.imbalances
            .push(bought.map(|bought| libm::fabs(2.0 * bought - volume)));
    }

    fn measure(&mut self) {
        let (mut volume, mut sums) = (0.0, [0.0; 2]);
        for (size, imbalances) in self.sizes.iter().zip(self.imbalances.iter()) {
            volume += size as f64;
            for (sum, imbalance) in sums.iter_mut().zip(imbalances) {
                *sum += imbalance;
            }
        }
        let value = sums.map(|sum| sum / volume);
        self.value = Some(value);
        self.values.push(value);
    }

    /// VPIN, in `[0, 1]`: 0 when all buckets are balanced, 1 when each is one-sided. Unknown until
    /// [`BUCKETS`] buckets are full.
    #[must_use]
    pub fn value(&self, by: Classification) -> Option<f64> {
        Some(self.value?[by as usize])
    }

    /// The share of the newest [`RANKED`] values, one a bar that closed a bucket, that are below the
    /// newest, those equal to it counting half. Unknown until there are as many.
    #[must_use]
    pub fn rank(&self, by: Classification) -> Option<f64> {
        let newest = self.values.last().filter(|_| self.values.is_full())?;
        let newest = newest[by as usize];
        let mut halves = 0_u32;
        for value in self.values.iter() {
            let value = value[by as usize];
            halves += u32::from(value < newest) + u32::from(value <= newest);
        }
        Some(f64::from(halves) / (2.0 * RANKED as f64))
    }

    /// The size of the buckets to come, in units of quantity; `None` before it is known.
    #[must_use]
    pub fn size(&self) -> Option<i64> {
        (self.size > 0).then_some(self.size)
    }
}

/// The distribution function of the standard normal.
fn normal(score: f64) -> f64 {
    0.5 * libm::erfc(-score * core::f64::consts::FRAC_1_SQRT_2)
}

/// Bars of a second in five minutes.
const SHORT_BARS: usize = 300;
/// Bars of a minute in a day.
const LONG_BARS: usize = 1_440;

/// VPIN of one instrument, over five minutes and over a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Toxicity {
    minute: Minute,
    short: Vpin<SHORT_BARS>,
    long: Vpin<LONG_BARS>,
    ranks: [Option<f64>; 4],
}

impl Default for Toxicity {
    fn default() -> Self {
        Self::new()
    }
}

impl Toxicity {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            minute: Minute::new(),
            short: Vpin::new(),
            long: Vpin::new(),
            ranks: [None; 4],
        }
    }

    /// A second is over. One that was not observed in full is no bar.
    pub fn second(&mut self, second: &Second) {
        if second.seen {
            self.short.bar(second.trades.as_ref());
        }
        if let Some(trades) = self.minute.second(second) {
            self.long.bar(trades.as_ref());
        }
        self.ranks = [
            self.short.rank(Classification::Bulk),
            self.short.rank(Classification::Aggressor),
            self.long.rank(Classification::Bulk),
            self.long.rank(Classification::Aggressor),
        ];
    }

    /// Observation was interrupted: every window starts anew.
    pub const fn interrupt(&mut self, _: Time) {
        *self = Self::new();
    }

    /// The features at `view.at`.
    #[must_use]
    pub fn read(&self, _: &View<'_>) -> Values<{ ToxicityFeature::COUNT }> {
        use Classification::{Aggressor, Bulk};
        let mut values = Values::UNKNOWN;
        values.set(ToxicityFeature::Bulk5m, self.short.value(Bulk));
        values.set(ToxicityFeature::Aggressor5m, self.short.value(Aggressor));
        values.set(ToxicityFeature::Bulk1d, self.long.value(Bulk));
        values.set(ToxicityFeature::Aggressor1d, self.long.value(Aggressor));
        let [bulk_5m, aggressor_5m, bulk_1d, aggressor_1d] = self.ranks;
        values.set(ToxicityFeature::BulkRank5m, bulk_5m);
        values.set(ToxicityFeature::AggressorRank5m, aggressor_5m);
        values.set(ToxicityFeature::BulkRank1d, bulk_1d);
        values.set(ToxicityFeature::AggressorRank1d, aggressor_1d);
        values
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::num::{Price, Qty};

    fn bar(close: i64, bought: i64, sold: i64) -> Trades {
        Trades {
            open: Price(close),
            high: Price(close),
            low: Price(close),
            close: Price(close),
            bought: Qty(bought),
            sold: Qty(sold),
            value: i128::from(close) * i128::from(bought + sold),
            count: 1,
        }
    }

    /// The rule unit by unit of volume: no division of a bar, no window that slides.
    fn direct(bars: &[Option<Trades>], span: usize) -> Option<[f64; 2]> {
        let (mut changes, mut close) = (Vec::new(), None::<i64>);
        let (mut size, mut closed) = (0, 0);
        let mut buckets: Vec<(i64, [f64; 2])> = Vec::new();
        let mut open = (0, vec![]);
        for (place, trades) in bars.iter().enumerate() {
            if let Some(trades) = trades {
                if let Some(close) = close {
                    let change = (trades.close.0 - close) as f64;
                    changes.push(change);
                    let from = changes.len().saturating_sub(span);
                    let window = &changes[from..];
                    let mean = window.iter().sum::<f64>() / window.len() as f64;
                    let square: f64 = window.iter().map(|one| (one - mean).powi(2)).sum();
                    let deviation = (square / (window.len() as f64 - 1.0)).sqrt();
                    let volume = trades.bought.0 + trades.sold.0;
                    let bulk = if deviation > 0.0 {
                        0.5 * (1.0 + libm::erf(change / deviation / 2_f64.sqrt()))
                    } else {
                        0.5
                    };
                    let shares = [bulk, trades.bought.0 as f64 / volume as f64];
                    for _ in 0..if size > 0 { volume } else { 0 } {
                        if open.1.is_empty() {
                            open.0 = size;
                        }
                        open.1.push(shares);
                        if open.1.len() as i64 == open.0 {
                            let sum = |by: usize| -> f64 {
                                open.1
                                    .iter()
                                    .map(|shares: &[f64; 2]| 2.0 * shares[by] - 1.0)
                                    .sum()
                            };
                            buckets.push((open.0, [sum(0).abs(), sum(1).abs()]));
                            open.1.clear();
                            closed += 1;
                        }
                    }
                }
                close = Some(trades.close.0);
            }
            let from = (place + 1).saturating_sub(span);
            let volumes = bars[from..=place].iter().flatten();
            let volume: i64 = volumes.map(|bar| bar.bought.0 + bar.sold.0).sum();
            let seen = place + 1 - from;
            if seen.min(changes.len()) >= FIRST_BARS && (size == 0 || closed >= 50) {
                size = (volume * span as i64 / (seen as i64 * 50)).max(1);
                closed = 0;
            }
        }
        let newest = &buckets[buckets.len().checked_sub(50)?..];
        let volume: i64 = newest.iter().map(|bucket| bucket.0).sum();
        let sum = |by: usize| newest.iter().map(|bucket| bucket.1[by]).sum::<f64>() / volume as f64;
        Some([sum(0), sum(1)])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_the_rule_unit_by_unit(
            bars in proptest::collection::vec((-5_i64..6, 0_i64..40, 0_i64..40, 0_u8..5), 100..260)
        ) {
            let (mut vpin, mut price, mut all) = (Vpin::<60>::new(), 1_000, Vec::new());
            let mut known = 0;
            for (change, bought, sold, kind) in bars {
                price += change;
                let trades = (kind > 0 && bought + sold > 0).then(|| bar(price, bought, sold));
                vpin.bar(trades.as_ref());
                all.push(trades);
                let want = direct(&all, 60);
                prop_assert_eq!(vpin.value.is_some(), want.is_some());
                for (got, want) in vpin.value.into_iter().flatten().zip(want.into_iter().flatten()) {
                    prop_assert!((got - want).abs() < 1e-9, "{} {}", got, want);
                    known += 1;
                }
            }
            prop_assert!(known > 0 || all.len() < 180);
        }
    }

    #[test]
    fn one_sided_flow_is_wholly_toxic_and_balanced_flow_is_not() {
        let (mut one_sided, mut balanced) = (Vpin::<60>::new(), Vpin::<60>::new());
        for place in 0..200 {
            one_sided.bar(Some(&bar(100 + place % 2, 10, 0)));
            balanced.bar(Some(&bar(100, 5, 5)));
        }
        assert_eq!(one_sided.value(Classification::Aggressor), Some(1.0));
        assert_eq!(balanced.value(Classification::Aggressor), Some(0.0));
        assert_eq!(balanced.value(Classification::Bulk), Some(0.0), "σ = 0");
        assert_eq!(balanced.rank(Classification::Bulk), Some(0.5), "all equal");
        // Sixty bars of ten over fifty buckets.
        assert_eq!(balanced.size(), Some(12));
    }

    #[test]
    fn extremes_are_survived() {
        let mut vpin = Vpin::<60>::new();
        for place in 0..200_i64 {
            let close = if place % 2 == 0 { i64::MAX } else { i64::MIN };
            let trades = Trades {
                bought: Qty(i64::MAX),
                sold: Qty(i64::MAX),
                value: i128::MAX,
                ..bar(1, 0, 0)
            };
            let trades = Trades {
                close: Price(close),
                ..trades
            };
            vpin.bar(Some(&trades));
            vpin.bar(Some(&bar(1, 0, 0)));
            vpin.bar(None);
        }
        let value = vpin.value(Classification::Bulk).expect("buckets");
        assert!((0.0..=1.0).contains(&value), "{value}");
        assert!((normal(0.0) - 0.5).abs() < 1e-16 && normal(40.0) == 1.0 && normal(-40.0) == 0.0);
    }

    #[test]
    fn a_gap_makes_it_unknown_until_fifty_buckets_are_full_again() {
        let mut toxicity = Toxicity::new();
        let mut first_known = Vec::new();
        for (number, gap) in (0..1_200).map(|number| (number, number == 600)) {
            if gap {
                toxicity.interrupt(Time(number));
            }
            toxicity.second(&Second {
                number,
                seen: !gap,
                double_mid: None,
                trades: Some(bar(100 + number as i64 % 3, 3, 4)),
            });
            let known = toxicity.short.value(Classification::Bulk).is_some();
            if first_known
                .last()
                .is_none_or(|last: &(u64, bool)| last.1 != known)
            {
                first_known.push((number, known));
            }
        }
        // A bar without a price before it, thirty changes, fifty buckets of 42 in bars of 7.
        assert_eq!(
            first_known,
            [(0, false), (330, true), (600, false), (931, true)]
        );
        assert_eq!(toxicity.long.value(Classification::Bulk), None);
    }
}
