//! Sums over a sliding window of time, as exact integers.
//!
//! What enters leaves again with the same digits, so a long run cannot drift. A window is unknown
//! until it has been observed in full. It moves forward in steps of a twentieth of its length; what
//! it tells is about the last nineteen to twenty twentieths.

use serde::{Deserialize, Serialize};

use super::seconds;
use super::table::array;
use crate::time::Time;

/// Buckets of a window.
pub const BUCKETS: usize = 20;

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sums<const N: usize>(#[serde(with = "array")] [i128; N]);

impl<const N: usize> Sums<N> {
    const ZERO: Self = Self([0; N]);

    fn add(&mut self, more: &[i128; N]) {
        for (sum, more) in self.0.iter_mut().zip(more) {
            *sum += more;
        }
    }

    fn remove(&mut self, less: &Self) {
        for (sum, less) in self.0.iter_mut().zip(&less.0) {
            *sum -= less;
        }
    }
}

/// `N` sums over one window, of numbers that fit an `i64`: an `i128` holds any count of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling<const N: usize> {
    /// Nanoseconds of a bucket.
    width_ns: u64,
    /// Number of the newest bucket since the epoch.
    newest: u64,
    since: Time,
    buckets: [Sums<N>; BUCKETS],
    total: Sums<N>,
}

impl<const N: usize> Rolling<N> {
    /// A window of so many seconds.
    #[must_use]
    pub const fn new(window_s: u32) -> Self {
        Self {
            width_ns: seconds(window_s) / BUCKETS as u64,
            newest: 0,
            since: Time::UNKNOWN,
            buckets: [Sums::ZERO; BUCKETS],
            total: Sums::ZERO,
        }
    }

    const fn bucket(&self, at: Time) -> u64 {
        at.0 / self.width_ns
    }

    const fn place(bucket: u64) -> usize {
        (bucket % BUCKETS as u64) as usize
    }

    /// Adds to the sums. What is older than the newest counts as if it came with it.
    pub fn add(&mut self, at: Time, more: &[i128; N]) {
        if !self.since.is_known() {
            self.since = at;
        }
        let target = self.bucket(at).max(self.newest);
        let steps = (target - self.newest).min(BUCKETS as u64);
        for step in 0..steps {
            let expired = &mut self.buckets[Self::place(target - step)];
            self.total.remove(expired);
            *expired = Sums::ZERO;
        }
        self.newest = target;
        self.buckets[Self::place(target)].add(more);
        self.total.add(more);
    }

    /// Observation was interrupted: the window is complete again one length from now. Time may have
    /// been set back meanwhile.
    pub const fn interrupt(&mut self, at: Time) {
        self.newest = self.bucket(at);
        self.buckets = [Sums::ZERO; BUCKETS];
        self.total = Sums::ZERO;
        self.since = at;
    }

    /// The sums as they stand at `at`, when the whole window has been observed.
    #[must_use]
    pub fn sums(&self, at: Time) -> Option<[i128; N]> {
        let window_ns = self.width_ns * BUCKETS as u64;
        if !self.since.is_known() || at.since(self.since) < window_ns.cast_signed() {
            return None;
        }
        let mut sums = self.total;
        let steps = self.bucket(at).saturating_sub(self.newest);
        for step in 1..=steps.min(BUCKETS as u64) {
            sums.remove(&self.buckets[Self::place(self.newest + step)]);
        }
        Some(sums.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::time::{MILLIS, SECONDS};

    const START: u64 = 1_000_000 * SECONDS;

    #[test]
    fn a_window_is_unknown_until_observed_in_full_and_again_after_a_gap() {
        let mut rolling = Rolling::<1>::new(1);
        assert_eq!(rolling.sums(Time(START)), None);
        rolling.add(Time(START), &[3]);
        assert_eq!(rolling.sums(Time(START + SECONDS - 1)), None);
        rolling.add(Time(START + 900 * MILLIS), &[4]);
        assert_eq!(rolling.sums(Time(START + SECONDS)), Some([4]));
        assert_eq!(rolling.sums(Time(START + 60 * SECONDS)), Some([0]));
        // A clock that was set back by an hour.
        let back = START - 3_600 * SECONDS;
        rolling.interrupt(Time(back));
        assert_eq!(rolling.sums(Time(back + SECONDS - 1)), None);
        rolling.add(Time(back + SECONDS), &[5]);
        assert_eq!(rolling.sums(Time(back + SECONDS)), Some([5]));
    }

    proptest! {
        /// Against adding up what is still inside, with waits longer than the window and times that
        /// go back.
        #[test]
        fn equals_a_sum_over_the_window(
            events in proptest::collection::vec((-100_i64..700, -100_i128..100), 1..100)
        ) {
            let mut rolling = Rolling::<2>::new(1);
            let width = SECONDS / BUCKETS as u64;
            let (mut at, mut newest) = (START, START - 5 * SECONDS);
            let mut seen: Vec<(u64, i128)> = Vec::new();
            rolling.interrupt(Time(START - 5 * SECONDS));
            for (wait, amount) in events {
                at = at.saturating_add_signed(wait * MILLIS.cast_signed());
                newest = newest.max(at);
                rolling.add(Time(at), &[amount, 1]);
                seen.push((newest, amount));
                let later = newest + 130 * MILLIS;
                let inside = || seen.iter().filter(|(when, _)| later / width - when / width < BUCKETS as u64);
                let want = [inside().map(|(_, amount)| amount).sum(), inside().count() as i128];
                prop_assert_eq!(rolling.sums(Time(later)), Some(want));
            }
        }
    }
}
