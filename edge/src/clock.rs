//! The only place that reads the operating system's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tickerml_shared::time::Time;

/// The newest time given out.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// The time now, never the same twice and never running backwards in this process: when the system
/// clock is set back, time creeps by a nanosecond a reading until the clock has caught up.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one room that reads the clock"
)]
pub fn now() -> Time {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let system = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    let next = |newest: u64| system.max(newest.saturating_add(1));
    let previous = NEWEST.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| Some(next(n)));
    Time(next(previous.unwrap_or_default()))
}

/// [`now`] in nanoseconds, as a function pointer for the net.
#[must_use]
pub fn now_ns() -> u64 {
    now().0
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_strictly_monotonic() {
        let stamps: Vec<_> = (0..1_000).map(|_| super::now()).collect();
        assert!(stamps.is_sorted_by(|a, b| a < b));
    }
}
