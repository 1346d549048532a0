//! Which venue of an asset moves first.
//!
//! Every venue's mid changes at times of its own. Their covariance is estimated without bringing them
//! onto a common grid (Hayashi and Yoshida 2005), once for each lag by which one of the two is moved
//! (Hoffmann, Rosenbaum and Yoshida 2013); where the correlation is strongest lies the lead. Times are
//! those of arrival here, since only what has arrived can be acted upon: a lead therefore contains
//! what the two feeds differ in delay.
//!
//! Bounded: [`CHANGES`] changes of each venue, [`LAGS_MS`] lags, one pass over both for each lag.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::{MILLIS, Time};

/// Changes of the mid that are kept of an instrument.
pub const CHANGES: usize = 128;
/// Changes within the common time that an estimate needs of each venue.
pub const CHANGES_NEEDED: usize = 16;
/// Lags of the contrast to either side, in milliseconds.
pub const LAGS_MS: [i64; 7] = [10, 20, 50, 100, 200, 500, 1_000];

/// A mid and since when it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    at: Time,
    double_mid: i64,
}

/// The newest mids of one instrument: at most [`CHANGES`] changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mids {
    /// Times rise strictly; mids are positive.
    points: VecDeque<Point>,
}

/// A change of the log price over `(from, to]`, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// When the price before it began.
    pub from: i64,
    /// When it came.
    pub to: i64,
    /// By how much.
    pub by: f64,
}

/// The changes of one instrument, oldest first.
pub type Changes = heapless::Vec<Change, CHANGES>;

impl Mids {
    /// Nothing seen yet, with the memory that is ever needed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            points: VecDeque::with_capacity(CHANGES + 1),
        }
    }

    /// The doubled mid is this from a time on. Of several at one time the last counts; a time before
    /// the newest one is taken to be that one. What is not positive is no price and changes nothing.
    pub fn push(&mut self, double_mid: i64, at: Time) {
        if double_mid <= 0 {
            return;
        }
        match self.points.back_mut() {
            Some(last) if last.double_mid == double_mid => {}
            Some(last) if at <= last.at => last.double_mid = double_mid,
            _ => {
                if self.points.len() > CHANGES {
                    self.points.pop_front();
                }
                self.points.push_back(Point { at, double_mid });
            }
        }
    }

    /// Observation was interrupted.
    pub fn clear(&mut self) {
        self.points.clear();
    }

    /// The changes of the log mid.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let logs = self.points.iter().map(|point| {
            let at = i64::try_from(point.at.0).unwrap_or(i64::MAX);
            (at, libm::log(point.double_mid as f64))
        });
        let mut before = None;
        let mut changes = Changes::new();
        for (to, log) in logs {
            if let Some((from, last)) = before.replace((to, log)) {
                let by = log - last;
                let pushed = changes.push(Change { from, to, by });
                debug_assert!(pushed.is_ok(), "one fewer than points");
            }
        }
        changes
    }

    /// The log return from `since` to now; `None` when what is kept does not reach back so far.
    #[must_use]
    pub fn return_since(&self, since: Time) -> Option<f64> {
        let newest = self.points.back()?;
        let then = self.points.iter().rev().find(|point| point.at <= since)?;
        Some(libm::log(newest.double_mid as f64 / then.double_mid as f64))
    }
}

/// The covariance of two asynchronous processes, the second one taken `lag_ns` later: the sum of
/// `x · y` over all pairs of changes whose intervals overlap once those of `y` are moved back by the
/// lag. Intervals of each must follow one another.
///
/// Source: Hayashi and Yoshida, "On covariance estimation of non-synchronously observed diffusion
/// processes", Bernoulli 11 (2005), definition 2.1; with a lag Hoffmann, Rosenbaum and Yoshida,
/// "Estimation of the lead-lag parameter from non-synchronous data", Bernoulli 19 (2013), equation 4.
#[must_use]
pub fn covariance(x: &[Change], y: &[Change], lag_ns: i64) -> f64 {
    let (mut sum, mut first) = (0.0, 0);
    for one in x {
        while y
            .get(first)
            .is_some_and(|other| other.to - lag_ns <= one.from)
        {
            first += 1;
        }
        let overlapping = y[first..].iter();
        let overlapping = overlapping.take_while(|other| other.from - lag_ns < one.to);
        let inner = overlapping.fold(0.0, |inner, other| inner + other.by);
        sum += one.by * inner;
    }
    sum
}

/// Which of two venues moves first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// By how many milliseconds the first one leads; negative when it follows.
    pub lag_ms: i64,
    /// The correlation at that lag, in `[-1, 1]`.
    pub correlation: f64,
    /// `(P − N) / (P + N)` of the squared correlations summed over the positive and over the negative
    /// lags, in `[-1, 1]`: above zero when the first one leads. `P / N` is the lead-lag ratio of Huth
    /// and Abergel, "High frequency lead/lag relationships", Journal of Empirical Finance 26 (2014),
    /// section 3.2; this is the same order on a bounded scale.
    pub ratio: f64,
}

/// Judges two venues by the time that is common to both. `None` with fewer than [`CHANGES_NEEDED`]
/// changes of either in it, or where one has not moved.
#[must_use]
pub fn lead(x: &[Change], y: &[Change]) -> Option<Lead> {
    let since = x.first()?.from.max(y.first()?.from);
    let within = |changes: &[Change]| changes.iter().filter(|change| change.from < since).count();
    let (x, y) = (&x[within(x)..], &y[within(y)..]);
    if x.len() < CHANGES_NEEDED || y.len() < CHANGES_NEEDED {
        return None;
    }
    let square = |changes: &[Change]| changes.iter().fold(0.0, |sum, one| sum + one.by * one.by);
    let scale = libm::sqrt(square(x) * square(y));
    if scale <= 0.0 {
        return None;
    }
    let correlation = |lag_ms: i64| covariance(x, y, lag_ms * MILLIS.cast_signed()) / scale;
    let mut best = (0, correlation(0));
    let (mut ahead, mut behind) = (0.0, 0.0);
    for lag_ms in LAGS_MS {
        for (lag_ms, side) in [(lag_ms, &mut ahead), (-lag_ms, &mut behind)] {
            let found = correlation(lag_ms);
            *side += found * found;
            if libm::fabs(found) > libm::fabs(best.1) {
                best = (lag_ms, found);
            }
        }
    }
    let ratio = (ahead - behind) / (ahead + behind);
    let lead = Lead {
        lag_ms: best.0,
        correlation: best.1.clamp(-1.0, 1.0),
        ratio: if ahead + behind > 0.0 { ratio } else { 0.0 },
    };
    (lead.correlation.is_finite() && lead.ratio.is_finite()).then_some(lead)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::rand::Rng;

    fn of(steps: &[(u64, i64)]) -> Mids {
        let mut mids = Mids::new();
        let (mut at, mut price) = (1_000_000 * MILLIS, 20_000_000_i64);
        for (wait, change) in steps {
            mids.push(price, Time(at));
            at += wait * MILLIS;
            price += change;
        }
        mids
    }

    /// Equation 2.1 as it stands: every pair, and whether the two intervals share a point.
    fn double_sum(x: &[Change], y: &[Change], lag_ns: i64) -> f64 {
        let mut sum = 0.0;
        for one in x {
            for other in y {
                let (from, to) = (other.from - lag_ns, other.to - lag_ns);
                if one.from.max(from) < one.to.min(to) {
                    sum += one.by * other.by;
                }
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn the_covariance_is_the_double_sum(
            x in proptest::collection::vec((1_u64..90, -500_i64..500), 2..200),
            y in proptest::collection::vec((1_u64..90, -500_i64..500), 2..200),
            lag_ms in -1_200_i64..1_200,
        ) {
            let (x, y) = (of(&x).changes(), of(&y).changes());
            let lag_ns = lag_ms * MILLIS.cast_signed();
            let (got, want) = (covariance(&x, &y, lag_ns), double_sum(&x, &y, lag_ns));
            let size: f64 = x.iter().map(|one| one.by.abs()).sum::<f64>()
                * y.iter().map(|one| one.by.abs()).sum::<f64>();
            prop_assert!((got - want).abs() <= 1e-12 * size, "{got} {want}");
        }

        #[test]
        fn the_two_venues_see_the_same_from_both_ends(
            x in proptest::collection::vec((1_u64..90, -500_i64..500), 20..200),
            y in proptest::collection::vec((1_u64..90, -500_i64..500), 20..200),
        ) {
            let (x, y) = (of(&x).changes(), of(&y).changes());
            if let (Some(one), Some(other)) = (lead(&x, &y), lead(&y, &x)) {
                prop_assert!((one.ratio + other.ratio).abs() < 1e-9);
                prop_assert!((one.correlation.abs() - other.correlation.abs()).abs() < 1e-9);
            }
        }
    }

    /// A venue that sees a walk `lag_ms` late, at times of its own.
    fn observe(walk: &[i64], lag_ms: usize, mean_ms: u64, rng: &mut Rng) -> Mids {
        let mut mids = Mids::new();
        let mut at = 1_100_u64;
        while (at as usize) < walk.len() {
            mids.push(walk[at as usize - lag_ms], Time(at * MILLIS));
            at += 1 + rng.below(2 * mean_ms);
        }
        mids
    }

    #[test]
    fn a_known_lag_is_found() {
        let mut found = Vec::new();
        for lag_ms in [0_usize, 20, 50, 100, 200, 500] {
            let mut right = 0;
            for seed in 0..20 {
                let mut rng = Rng::new(seed, 1);
                let mut price = 200_000_000_i64;
                let walk: Vec<i64> = (0..4_000)
                    .map(|_| {
                        price += i64::try_from(rng.below(2_001)).expect("small") - 1_000;
                        price
                    })
                    .collect();
                let leader = observe(&walk, 0, 12, &mut rng).changes();
                let follower = observe(&walk, lag_ms, 15, &mut rng).changes();
                let forward = lead(&leader, &follower).expect("enough changes");
                let back = lead(&follower, &leader).expect("enough changes");
                let lag_ms = i64::try_from(lag_ms).expect("small");
                right += u32::from(forward.lag_ms == lag_ms && back.lag_ms == -lag_ms);
                assert!(lag_ms < 50 || forward.ratio > 0.0 && back.ratio < 0.0);
                assert!(forward.correlation > 0.3, "{forward:?}");
            }
            found.push((lag_ms, right));
        }
        std::println!("lag in ms and how often of 20 it was found exactly: {found:?}");
        assert!(found.iter().all(|(_, right)| *right >= 17), "{found:?}");
    }

    #[test]
    fn mids_are_bounded_and_returns_reach_no_further() {
        let mut mids = Mids::new();
        for number in 1..=500_u32 {
            mids.push(i64::from(number) * 100, Time(u64::from(number) * MILLIS));
        }
        let changes = mids.changes();
        assert_eq!(changes.len(), CHANGES);
        assert_eq!(changes[0].from, 372 * MILLIS.cast_signed());
        assert_eq!(mids.return_since(Time(371 * MILLIS)), None);
        let got = mids.return_since(Time(400 * MILLIS + 5)).expect("kept");
        assert!((got - libm::log(500.0 / 400.0)).abs() < 1e-15);
        // The clock went back, and a price that is none.
        mids.push(7, Time(MILLIS));
        mids.push(0, Time(900 * MILLIS));
        mids.push(-5, Time(900 * MILLIS));
        let last = *mids.changes().last().expect("some");
        assert_eq!(
            (last.from, last.to),
            (499 * MILLIS as i64, 500 * MILLIS as i64)
        );
        mids.clear();
        assert!(mids.changes().is_empty());
        assert_eq!(mids.return_since(Time(u64::MAX)), None);
    }

    #[test]
    fn a_venue_that_does_not_move_leads_nobody() {
        let moving = of(&[(10, 5); 40]).changes();
        let still = of(&[(10, 0); 40]).changes();
        assert_eq!(lead(&moving, &still), None);
        assert_eq!(
            lead(&moving, &moving[30..]),
            None,
            "too few changes in common"
        );
        assert_eq!(lead(&[], &moving), None);
    }
}
