//! The processor time of a thread: what a long measurement counts on a machine that does other work.

use std::ffi::{c_int, c_long};
use std::time::Duration;

/// `struct timespec` where `time_t` and `long` are 64 bits, as on every Linux that this is measured on.
#[repr(C)]
#[derive(Default)]
struct Timespec {
    seconds: c_long,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
}

/// Processor time of the calling thread so far; it stands still while the thread waits for a core.
///
/// # Panics
/// When the system has no such clock.
#[must_use]
pub fn thread_time() -> Duration {
    const CLOCK_THREAD_CPUTIME_ID: c_int = 3;
    let mut time = Timespec::default();
    // SAFETY: the call writes one `timespec`, which `time` is, and keeps no pointer to it.
    let code = unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(code, 0, "Linux has a clock per thread");
    let seconds = u64::try_from(time.seconds).expect("not negative");
    let nanoseconds = u32::try_from(time.nanoseconds).expect("below a second");
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_while_the_thread_sleeps() {
        let before = thread_time();
        std::thread::sleep(Duration::from_millis(50));
        let slept = thread_time().checked_sub(before).expect("it only grows");
        assert!(slept < Duration::from_millis(25), "{slept:?}");
        let mut sum = 0_u64;
        while thread_time() == before {
            sum = std::hint::black_box(sum + 1);
        }
    }
}
