//! What is watched of one instrument: crash windows, average true range, volatility, feed.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::correlation::RETURN_ONE;
use super::gate::{Observation, SECOND};
use super::limits::Limits;
use super::state::{Cause, Level};
use crate::funding_watch::size_bps;
use crate::num::{BPS, Cash, Price, saturate};
use crate::time::{MILLIS, MINUTES, SECONDS, Time};

/// Samples before a volatility means anything.
pub const MIN_SAMPLES: u32 = 30;
/// Bars of the average true range (Wilder 1978).
pub const ATR_BARS: u32 = 14;

/// The window of the fast crash breaker, in buckets of [`FAST_BUCKET`].
const FAST: u64 = 30;
const FAST_BUCKET: u64 = 10 * SECONDS;
/// The window of the hourly crash breaker, in buckets of [`HOUR_BUCKET`].
const HOUR: u64 = 12;
const HOUR_BUCKET: u64 = 5 * MINUTES;

/// The highest bid and the lowest ask of one bucket of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    index: u64,
    low_ask: i64,
    high_bid: i64,
}

/// The extremes of a sliding window, by buckets: it reaches back over the whole window, and at most
/// one bucket further.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Extremes {
    /// Oldest first; at most one more than the window has.
    buckets: VecDeque<Bucket>,
}

impl Extremes {
    /// Adds a quote; the largest move to it from any quote of the window, in basis points. It is
    /// counted between prices at which both ends could trade, so that a spread that widens is no
    /// move.
    fn push(&mut self, at: Time, bid: i64, ask: i64, width: u64, count: u64) -> i64 {
        let index = at.0 / width;
        while self
            .buckets
            .front()
            .is_some_and(|bucket| bucket.index + count < index)
        {
            self.buckets.pop_front();
        }
        match self.buckets.back_mut() {
            Some(bucket) if bucket.index >= index => {
                bucket.low_ask = bucket.low_ask.min(ask);
                bucket.high_bid = bucket.high_bid.max(bid);
            }
            _ => self.buckets.push_back(Bucket {
                index,
                low_ask: ask,
                high_bid: bid,
            }),
        }
        let low = self.buckets.iter().map(|b| b.low_ask).min().unwrap_or(ask);
        let high = self.buckets.iter().map(|b| b.high_bid).max().unwrap_or(bid);
        share_bps(bid - low, low).max(share_bps(high - ask, high))
    }
}

/// `part` of `whole` in basis points, rounded down and not below zero.
#[must_use]
pub(super) fn share_bps(part: i64, whole: i64) -> i64 {
    let part = i128::from(part.max(0));
    saturate(part * i128::from(BPS) / i128::from(whole.max(1)))
}

/// A funding rate and when it settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rate {
    /// Basis points of the interval, of either sign, rounded up.
    pub(super) bps: i64,
    pub(super) settles: Time,
}

impl Rate {
    /// From a fraction in units of `10^-12`.
    pub(super) fn new(rate: i64, settles: Time) -> Self {
        Self {
            bps: size_bps(rate),
            settles,
        }
    }

    /// Whether it settles so soon that no new risk is taken.
    pub(super) const fn is_near(&self, at: Time, limits: &Limits) -> bool {
        let left = self.settles.since(at);
        self.settles.is_known() && left >= 0 && left <= limits.funding_window_s * SECOND
    }
}

/// A breaker: what it measures, its limit, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    pub(super) cause: Cause,
    pub(super) level: Level,
    /// The limit's name.
    pub(super) name: &'static str,
    pub(super) value: i64,
    pub(super) limit: i64,
}

impl Trip {
    /// Whether the limit is reached.
    pub(super) const fn tripped(&self) -> bool {
        self.value >= self.limit
    }
}

/// What is remembered of one instrument's market.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) observed: Time,
    pub(super) updated: Time,
    pub(super) lag_ns: i64,
    pub(super) spread_bps: i64,
    /// The thinner side.
    pub(super) depth: Cash,
    pub(super) fast_bps: i64,
    pub(super) hour_bps: i64,
    pub(super) funding: Option<Rate>,
    mid: i64,
    fast: Extremes,
    hour: Extremes,
    bar: Option<Bar>,
    /// As a share of the price.
    true_range: f64,
    bars: u32,
    atr_bps: i64,
    /// The mid at the previous sample, when that one was fresh.
    sampled: Option<i64>,
    /// Of one sampling interval's return.
    variance: f64,
    samples: u32,
    volatility_bps: i64,
}

/// A bar of mid prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bar {
    index: u64,
    high: i64,
    low: i64,
    /// The previous bar's close.
    previous: Option<i64>,
}

impl Track {
    /// Takes a live market.
    pub(super) fn observe(&mut self, seen: &Observation, limits: &Limits) {
        let (Price(bid), Price(ask)) = (seen.bid, seen.ask);
        if bid <= 0 || ask < bid {
            return;
        }
        let mid = saturate(i128::midpoint(i128::from(bid), i128::from(ask)));
        self.observed = seen.at;
        self.updated = seen.updated;
        self.lag_ns = seen.lag_ns;
        self.depth = seen.bid_depth.min(seen.ask_depth);
        self.spread_bps = spread_bps(seen.bid, seen.ask);
        self.fast_bps = self.fast.push(seen.at, bid, ask, FAST_BUCKET, FAST);
        self.hour_bps = self.hour.push(seen.at, bid, ask, HOUR_BUCKET, HOUR);
        let bar_s = limits.atr_bar_s.unsigned_abs().max(1);
        self.range(seen.at.0 / (bar_s * SECONDS), mid);
        self.mid = mid;
    }

    /// Adds a mid price to its bar, and closes the bar before it.
    fn range(&mut self, index: u64, mid: i64) {
        match &mut self.bar {
            Some(bar) if bar.index >= index => {
                bar.high = bar.high.max(mid);
                bar.low = bar.low.min(mid);
            }
            Some(bar) => {
                let closed = *bar;
                *bar = Bar {
                    index,
                    high: mid,
                    low: mid,
                    previous: Some(self.mid),
                };
                self.close_bar(&closed);
            }
            None => {
                self.bar = Some(Bar {
                    index,
                    high: mid,
                    low: mid,
                    previous: None,
                });
            }
        }
    }

    /// Wilder's average: the mean of the first bars, then `(13 * before + newest) / 14`.
    #[expect(clippy::cast_precision_loss, reason = "a share of a price")]
    fn close_bar(&mut self, bar: &Bar) {
        let previous = bar.previous.unwrap_or(bar.low);
        let range = bar.high.max(previous) - bar.low.min(previous);
        let share = range as f64 / previous.max(1) as f64;
        self.bars = self.bars.saturating_add(1);
        let weight = f64::from(self.bars.min(ATR_BARS));
        self.true_range += (share - self.true_range) / weight;
        self.atr_bps = up(self.true_range * 1e4);
    }

    /// The feed's delay in milliseconds, rounded up.
    pub(super) const fn lag_ms(&self) -> i64 {
        ms(self.lag_ns)
    }

    /// The average true range of a bar in basis points of the price, once there are enough bars.
    pub(super) fn atr_bps(&self) -> Option<i64> {
        (self.bars >= ATR_BARS).then(|| self.atr_bps.max(1))
    }

    /// Closes a sampling interval: the return since the previous sample, in units of
    /// `1 /` [`RETURN_ONE`]; `None` when the market was not seen at both ends.
    pub(super) fn sample(&mut self, at: Time, limits: &Limits) -> Option<i64> {
        let interval = limits.sample_s.max(1);
        let fresh = self.mid > 0 && at.since(self.observed) <= interval.saturating_mul(SECOND);
        let before = core::mem::replace(&mut self.sampled, fresh.then_some(self.mid))?;
        if !fresh {
            return None;
        }
        let change = i128::from(self.mid) - i128::from(before);
        let moved = saturate(change * i128::from(RETURN_ONE) / i128::from(before));
        self.spread_out(moved, interval, limits.volatility_half_life_s);
        Some(moved)
    }

    /// Exponentially weighted variance (`RiskMetrics` 1996, with zero mean); the first samples
    /// weigh alike.
    #[expect(clippy::cast_precision_loss, reason = "a return")]
    fn spread_out(&mut self, moved: i64, interval: i64, half_life: i64) {
        self.samples = self.samples.saturating_add(1);
        let decay = libm::exp2(-(interval as f64) / half_life.max(1) as f64);
        let per_day = 86_400.0 / interval as f64;
        let weight = (1.0 - decay).max(1.0 / f64::from(self.samples));
        let share = moved as f64 / RETURN_ONE as f64;
        self.variance += weight * (share * share - self.variance);
        self.volatility_bps = up(libm::sqrt(self.variance * per_day) * 1e4);
    }

    /// Volatility of a day in basis points, once there are enough samples.
    pub(super) fn volatility_bps(&self) -> Option<i64> {
        (self.samples >= MIN_SAMPLES).then(|| self.volatility_bps.max(1))
    }

    /// The previous sample is not the one just before the next.
    pub(super) fn interrupt(&mut self) {
        self.sampled = None;
    }

    /// Forgets the samples (their interval changed).
    pub(super) fn resample(&mut self) {
        self.sampled = None;
        self.variance = 0.0;
        self.samples = 0;
        self.volatility_bps = 0;
    }

    /// Forgets the bars (their length changed).
    pub(super) fn rebar(&mut self) {
        self.bar = None;
        self.true_range = 0.0;
        self.bars = 0;
        self.atr_bps = 0;
    }

    /// Measures moves from here on.
    pub(super) fn forget_moves(&mut self) {
        self.fast = Extremes::default();
        self.hour = Extremes::default();
        self.fast_bps = 0;
        self.hour_bps = 0;
    }
}

/// The spread in basis points of the mid, rounded up.
pub(super) fn spread_bps(bid: Price, ask: Price) -> i64 {
    let spread = i128::from(ask.0) - i128::from(bid.0);
    let sum = (i128::from(ask.0) + i128::from(bid.0)).max(1);
    saturate((spread * i128::from(2 * BPS) + sum - 1) / sum)
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn up(value: f64) -> i64 {
    libm::ceil(value) as i64
}

/// Nanoseconds as milliseconds, rounded up; negative ones count as none.
pub(super) const fn ms(nanoseconds: i64) -> i64 {
    if nanoseconds <= 0 {
        return 0;
    }
    nanoseconds.unsigned_abs().div_ceil(MILLIS).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(track: &mut Track, at: u64, bid: i64, ask: i64, limits: &Limits) {
        let seen = Observation {
            at: Time(at),
            bid: Price(bid),
            ask: Price(ask),
            bid_depth: Cash(7),
            ask_depth: Cash(5),
            updated: Time(at),
            lag_ns: 0,
        };
        track.observe(&seen, limits);
    }

    #[test]
    fn a_crash_is_measured_over_its_window_only() {
        let limits = Limits::shipped();
        let start = 1_000_000 * MINUTES;
        let mut track = Track::default();
        see(&mut track, start, 9_999, 10_001, &limits);
        see(&mut track, start + 2 * MINUTES, 8_498, 8_499, &limits);
        // From a bid of 9,999 to an ask of 8,499: 15.00 %.
        assert_eq!((track.fast_bps, track.hour_bps), (1_500, 1_500));
        see(&mut track, start + 6 * MINUTES, 8_498, 8_499, &limits);
        assert_eq!((track.fast_bps, track.hour_bps), (0, 1_500));
        see(&mut track, start + 66 * MINUTES, 8_498, 8_499, &limits);
        assert_eq!(track.hour_bps, 0);
        see(&mut track, start + 67 * MINUTES, 10_200, 10_201, &limits);
        assert_eq!(track.fast_bps, 2_001, "a rise from the lowest ask");
        let before = track.clone();
        see(&mut track, start + 68 * MINUTES, 10_201, 10_200, &limits);
        see(&mut track, start + 68 * MINUTES, 0, 10_200, &limits);
        assert_eq!(track, before, "no market at all");
    }

    #[test]
    fn a_spread_that_widens_is_no_crash() {
        let limits = Limits::shipped();
        let mut track = Track::default();
        see(&mut track, DAY, 9_999, 10_001, &limits);
        see(&mut track, DAY + SECONDS, 5_000, 15_000, &limits);
        assert_eq!((track.fast_bps, track.spread_bps), (0, 10_000));
        assert_eq!(track.depth, Cash(5));
    }

    const DAY: u64 = crate::time::DAYS;

    #[test]
    fn windows_stay_bounded() {
        let limits = Limits::shipped();
        let mut track = Track::default();
        for second in 0..20_000 {
            see(&mut track, DAY + second * SECONDS, 100, 101, &limits);
        }
        assert_eq!(
            (track.fast.buckets.len(), track.hour.buckets.len()),
            (31, 13)
        );
    }

    #[test]
    fn the_range_is_wilders() {
        let limits = Limits {
            atr_bar_s: 60,
            ..Limits::shipped()
        };
        let mut track = Track::default();
        let mut at = DAY;
        // Fourteen bars of 1 % around 10,000, then one of 3 %.
        for bar in 0..16 {
            assert_eq!(track.atr_bps().is_some(), bar >= 15, "bar {bar}");
            let half = if bar == 14 { 150 } else { 50 };
            for mid in [10_000 - half, 10_000 + half, 10_000] {
                see(&mut track, at, mid, mid, &limits);
                at += 20 * SECONDS;
            }
        }
        // (13 * 100 + 300) / 14 = 114.3; the first bar is measured against its own low.
        assert_eq!(track.atr_bps(), Some(115));
    }

    #[test]
    fn volatility_is_a_days() {
        let limits = Limits::shipped();
        let mut track = Track::default();
        // Plus and minus 0.1 % a minute: 0.001 * sqrt(1440) = 3.79 % a day.
        for minute in 0..=60 {
            let at = DAY + minute * MINUTES;
            let mid = if minute % 2 == 0 {
                1_000_000
            } else {
                1_001_000
            };
            see(&mut track, at, mid, mid, &limits);
            let moved = track.sample(Time(at), &limits);
            assert_eq!(moved.is_some(), minute > 0);
            assert_eq!(track.volatility_bps().is_some(), minute >= 30);
        }
        let got = track.volatility_bps().expect("enough samples");
        assert!((379..=381).contains(&got), "{got}");
        // Nothing was seen for two minutes: neither that sample nor the next has a return.
        let late = DAY + 63 * MINUTES;
        assert_eq!(track.sample(Time(late), &limits), None);
        see(&mut track, late + MINUTES, 1_000_000, 1_000_000, &limits);
        assert_eq!(track.sample(Time(late + MINUTES), &limits), None);
        see(
            &mut track,
            late + 2 * MINUTES,
            1_010_000,
            1_010_000,
            &limits,
        );
        assert_eq!(
            track.sample(Time(late + 2 * MINUTES), &limits),
            Some(1_000_000)
        );
    }

    #[test]
    fn funding_is_rounded_up_and_near_before_it_settles() {
        let limits = Limits::shipped();
        let at = Time(DAY);
        let rate = Rate::new(-9_900_000_001, at.plus(600 * SECONDS));
        assert_eq!(rate.bps, 100);
        assert!(rate.is_near(at, &limits));
        assert!(!rate.is_near(at.minus(1), &limits));
        assert!(
            !rate.is_near(at.plus(600 * SECONDS + 1), &limits),
            "it is over"
        );
        assert!(!Rate::new(0, Time::UNKNOWN).is_near(at, &limits));
    }
}
