//! A token bucket: how often something may be asked of a peer. Pure, in exact integers.

/// A store of tokens that refills steadily. It starts full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    capacity: u64,
    refill: u64,
    period_ns: u64,
    /// Tokens times `period_ns`, so that a nanosecond's refill is a whole number.
    level: u128,
    /// The time up to which the refill has been counted; none before the first call.
    counted_ns: Option<u64>,
}

/// The answer of [`Bucket::take`] when no wait can ever satisfy it.
pub const NEVER: u64 = u64::MAX;

impl Bucket {
    /// At most `capacity` tokens, refilled by `refill_per_s` each second.
    pub const fn new(capacity: u64, refill_per_s: u64) -> Self {
        Self::per(capacity, refill_per_s, 1_000_000_000)
    }

    /// At most `capacity` tokens, refilled by `refill` in each `period_ns` (in even steps, not at
    /// its end): 6,000 a minute stays exact. A period of zero counts as one nanosecond.
    pub const fn per(capacity: u64, refill: u64, period_ns: u64) -> Self {
        let period_ns = if period_ns == 0 { 1 } else { period_ns };
        let level = capacity as u128 * period_ns as u128;
        Self {
            capacity,
            refill,
            period_ns,
            level,
            counted_ns: None,
        }
    }

    /// Takes `cost` tokens at `now_ns`, all or none.
    ///
    /// A clock that went backwards adds nothing and takes nothing; counting goes on from the new
    /// time.
    ///
    /// # Errors
    /// The time in unix nanoseconds from which the same cost will be there, if nobody else takes
    /// meanwhile; [`NEVER`] if the cost exceeds the capacity or nothing is refilled.
    pub fn take(&mut self, now_ns: u64, cost: u64) -> Result<(), u64> {
        let full = u128::from(self.capacity) * u128::from(self.period_ns);
        let elapsed = now_ns.saturating_sub(self.counted_ns.unwrap_or(now_ns));
        let refill = u128::from(elapsed) * u128::from(self.refill);
        self.level = self.level.saturating_add(refill).min(full);
        self.counted_ns = Some(now_ns);

        let price = u128::from(cost) * u128::from(self.period_ns);
        if let Some(left) = self.level.checked_sub(price) {
            self.level = left;
            return Ok(());
        }
        if price > full || self.refill == 0 {
            return Err(NEVER);
        }
        let wait = (price - self.level).div_ceil(u128::from(self.refill));
        Err(now_ns.saturating_add(u64::try_from(wait).unwrap_or(NEVER)))
    }

    /// Whole tokens that were there at the last call.
    pub fn tokens(&self) -> u64 {
        // The level never exceeds the capacity times the period.
        (self.level / u128::from(self.period_ns)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_the_steady_rate() {
        let mut bucket = Bucket::new(3, 2);
        let t = 100 * SECOND;
        for _ in 0..3 {
            assert_eq!(bucket.take(t, 1), Ok(()));
        }
        assert_eq!(bucket.take(t, 1), Err(t + SECOND / 2));
        assert_eq!(bucket.take(t + SECOND / 2 - 1, 1), Err(t + SECOND / 2));
        assert_eq!(bucket.take(t + SECOND / 2, 1), Ok(()));
        assert_eq!(bucket.take(t + SECOND / 2, 1), Err(t + SECOND));
        // A long rest fills it to the brim and no further.
        let t = t + 3600 * SECOND;
        assert_eq!(bucket.take(t, 3), Ok(()));
        assert_eq!(bucket.take(t, 1), Err(t + SECOND / 2));
    }

    #[test]
    fn the_promised_time_is_exact_and_the_rate_is_kept() {
        // 7 tokens in 3 ns steps of awkward sizes: whatever the order of calls, no more than
        // capacity + refill is given.
        let mut bucket = Bucket::per(10, 7, 1_000_003);
        let (mut now, mut given) = (5_u64, 0_u64);
        for step in 1..5000_u64 {
            let cost = step % 11;
            match bucket.take(now, cost) {
                Ok(()) => given += cost,
                Err(until) => {
                    assert!(until > now && until != NEVER);
                    assert!(bucket.clone().take(until - 1, cost).is_err(), "not earlier");
                    assert_eq!(bucket.clone().take(until, cost), Ok(()), "not later");
                    now += (until - now) / 2 + step % 3;
                }
            }
            let allowed = 10 + (u128::from(now - 5) * 7).div_ceil(1_000_003);
            assert!(u128::from(given) <= allowed, "{given} > {allowed}");
        }
        assert!(given > 1000);
    }

    #[test]
    fn refused_calls_cost_nothing() {
        let (mut asked, mut quiet) = (Bucket::new(5, 1), Bucket::new(5, 1));
        assert_eq!(asked.take(0, 5), Ok(()));
        assert_eq!(quiet.take(0, 5), Ok(()));
        for now in 0..999 {
            assert_eq!(asked.take(now * SECOND / 1000, 1), Err(SECOND));
        }
        assert_eq!(asked.take(SECOND, 1), quiet.take(SECOND, 1));
        assert_eq!(asked, quiet);
    }

    #[test]
    fn a_clock_that_goes_backwards_gives_nothing_and_blocks_nothing() {
        let mut bucket = Bucket::new(2, 1);
        assert_eq!(bucket.take(100 * SECOND, 2), Ok(()));
        assert_eq!(bucket.take(40 * SECOND, 1), Err(41 * SECOND));
        assert_eq!(bucket.take(41 * SECOND, 1), Ok(()));
        assert_eq!(bucket.tokens(), 0);
    }

    #[test]
    fn the_impossible_is_never() {
        assert_eq!(Bucket::new(2, 1).take(0, 3), Err(NEVER));
        let mut dry = Bucket::new(1, 0);
        assert_eq!(dry.take(0, 1), Ok(()));
        assert_eq!(dry.take(u64::MAX, 1), Err(NEVER));
        assert_eq!(
            Bucket::per(u64::MAX, u64::MAX, u64::MAX).take(u64::MAX, u64::MAX),
            Ok(())
        );
        assert_eq!(Bucket::per(1, 1, 0).take(0, 1), Ok(()));
    }
}
