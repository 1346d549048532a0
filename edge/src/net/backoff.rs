//! How long to wait before the next attempt: exponential growth with full jitter. Pure.
//!
//! "Full jitter" draws the delay uniformly from zero to the current ceiling (Brooker, "Exponential
//! Backoff And Jitter", 2015), which spreads the return of many clients, here of many sockets after
//! one outage of the line, better than any jitter around a fixed delay. It may draw almost zero, so
//! attempts are also paid for from a [`super::bucket::Bucket`].

/// The state of one thing that is tried again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base_ns: u64,
    cap_ns: u64,
    healthy_ns: u64,
    failures: u32,
    opened_ns: Option<u64>,
}

impl Backoff {
    /// The ceiling of the delay starts at `base_ns`, doubles with each attempt and stops at
    /// `cap_ns`. A connection that stayed open for `healthy_ns` starts again from the base. A cap
    /// below the base counts as the base.
    pub const fn new(base_ns: u64, cap_ns: u64, healthy_ns: u64) -> Self {
        let cap_ns = if cap_ns < base_ns { base_ns } else { cap_ns };
        Self {
            base_ns,
            cap_ns,
            healthy_ns,
            failures: 0,
            opened_ns: None,
        }
    }

    /// The delay in nanoseconds before the next attempt, which counts as failed until told
    /// otherwise. `random` gives uniform 64-bit numbers; one is used.
    pub fn next(&mut self, random: &mut impl FnMut() -> u64) -> u64 {
        let ceiling = self.ceiling_ns();
        self.failures = self.failures.saturating_add(1);
        // The high half of the product is uniform on 0..=ceiling up to one part in 2^64 / ceiling.
        ((u128::from(random()) * (u128::from(ceiling) + 1)) >> 64) as u64
    }

    /// As [`Backoff::next`], on top of `floor_ns`: for a peer that said how long to stay away.
    pub fn next_after(&mut self, floor_ns: u64, random: &mut impl FnMut() -> u64) -> u64 {
        floor_ns.saturating_add(self.next(random))
    }

    /// The largest delay that the next draw can give, in nanoseconds.
    pub fn ceiling_ns(&self) -> u64 {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        self.base_ns.saturating_mul(factor).min(self.cap_ns)
    }

    /// Attempts since the last healthy period.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt succeeded at `now_ns`. That alone proves little: a peer that accepts and hangs up
    /// at once must not be hammered, so the count stays until the connection has lasted.
    pub const fn opened(&mut self, now_ns: u64) {
        self.opened_ns = Some(now_ns);
    }

    /// The connection ended at `now_ns`. If it lasted for the healthy period the count starts
    /// again. A clock that went backwards meanwhile makes it look short, which only errs towards
    /// patience.
    pub const fn closed(&mut self, now_ns: u64) {
        if let Some(opened_ns) = self.opened_ns
            && now_ns.saturating_sub(opened_ns) >= self.healthy_ns
        {
            self.failures = 0;
        }
        self.opened_ns = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn the_ceiling_doubles_and_stops() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND, 0);
        let mut largest = || u64::MAX;
        let delays: Vec<u64> = (0..8)
            .map(|_| backoff.next(&mut largest) / SECOND)
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..200 {
            assert_eq!(backoff.next(&mut largest), 60 * SECOND);
        }
        assert_eq!(backoff.next(&mut || 0), 0);
    }

    #[test]
    fn delays_stay_below_the_ceiling_and_fill_it() {
        let mut random = random(7);
        let (mut low, mut high, mut sum) = (0, 0, 0_u64);
        for _ in 0..1000 {
            let mut backoff = Backoff::new(SECOND, 8 * SECOND, 0);
            for _ in 0..3 {
                let ceiling = backoff.ceiling_ns();
                assert!(backoff.next(&mut random) <= ceiling);
            }
            let delay = backoff.next(&mut random);
            low += u32::from(delay < 2 * SECOND);
            high += u32::from(delay > 6 * SECOND);
            sum += delay / 1000;
        }
        // A quarter each, and half of the ceiling on average; the bounds are five standard
        // deviations wide.
        assert!(
            (180..=320).contains(&low) && (180..=320).contains(&high),
            "{low} {high}"
        );
        assert!((3_600_000..=4_400_000).contains(&(sum / 1000)), "{sum}");
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let draw = |seed| {
            let (mut backoff, mut random) = (Backoff::new(SECOND, 60 * SECOND, 0), random(seed));
            (0..10)
                .map(|_| backoff.next(&mut random))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn only_a_lasting_connection_resets() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND, 30 * SECOND);
        let mut zero = || 0;
        for _ in 0..3 {
            backoff.next(&mut zero);
        }
        backoff.closed(1000 * SECOND);
        assert_eq!(backoff.failures(), 3, "never opened");
        backoff.opened(1000 * SECOND);
        backoff.closed(1029 * SECOND);
        assert_eq!(backoff.failures(), 3, "too short");
        backoff.opened(1000 * SECOND);
        backoff.closed(10 * SECOND);
        assert_eq!(backoff.failures(), 3, "the clock went backwards");
        backoff.opened(1000 * SECOND);
        backoff.closed(1030 * SECOND);
        assert_eq!(backoff.failures(), 0);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut backoff = Backoff::new(u64::MAX, 1, 0);
        assert_eq!(backoff.next(&mut || u64::MAX), u64::MAX);
        assert_eq!(backoff.next_after(5, &mut || u64::MAX), u64::MAX);
        let mut backoff = Backoff::new(0, 0, 0);
        assert_eq!(backoff.next(&mut || u64::MAX), 0);
        assert_eq!(backoff.next_after(5, &mut || u64::MAX), 5);
    }
}
