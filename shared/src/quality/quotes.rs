//! What is wrong with quotes: they jump, or they stand still while the market goes on.

use serde::{Deserialize, Serialize};

use super::Beats;
use crate::num::{Price, saturate};
use crate::time::{SECONDS, Time};

/// Quotes without a change for so long are stale, when the venue moves the books of others meanwhile
pub const STALE_NS: u64 = 30 * SECONDS;
/// and so many of their own mean intervals have passed.
pub const STALE_INTERVALS: u64 = 20;
/// The venue moves others when it did within this.
pub const TICKING_NS: u64 = 5 * SECONDS;
/// Quotes without a change for so long are stale, when meanwhile
pub const FROZEN_NS: u64 = 5 * SECONDS;
/// so many trades were made outside them: a trade takes from a book that lives.
pub const FROZEN_TRADES: u32 = 3;
/// A move of the mid within a second is a jump beyond this share of it,
pub const JUMP_PPM: u64 = 5_000;
/// and beyond so many times the mean move of a second.
pub const JUMP_MULTIPLE: u64 = 20;
/// Seconds before a move is judged.
pub const JUMP_SECONDS: u32 = 30;

/// The mean move forgets this share of itself each second.
const FORGET: u64 = 64;
/// Idle seconds after which nothing of the mean is left: (63/64)^1024 is below 10^-6.
const IDLE_MAX: u64 = 1_024;
const PPM: i128 = 1_000_000;
/// The mean move is kept in thousandths of a part per million.
const MILLI: u64 = 1_000;

/// Bid and ask.
type Touch = (i64, i64);

/// The quotes of an instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quotes {
    newest: Time,
    beats: Beats,
    /// Trades outside the quotes since they last changed.
    outside: u32,
    /// The second of the newest event since the last gap.
    second: u64,
    /// The quotes when that second began; `None` in the first one.
    opened: Option<Touch>,
    touch: Option<Touch>,
    /// A jump was found in this second.
    has_jumped: bool,
    /// [`FORGET`] times the mean move of a second, in thousandths of a part per million.
    moved: u64,
    /// Seconds in that mean, up to [`JUMP_SECONDS`].
    seconds: u32,
}

impl Quotes {
    /// When the book last changed, as far as is known since the last gap.
    pub(super) const fn newest(&self) -> Time {
        self.newest
    }

    /// The book changed. Gives the move of the mid since this second began, in parts per million, when
    /// it is a jump; once a second.
    ///
    /// That only one side went away is no jump: the mid moves by no more than the spread then.
    pub(super) fn event(&mut self, touch: Option<Touch>, at: Time) -> Option<i64> {
        self.newest = at;
        self.beats.beat(at);
        self.outside = 0;
        self.enter(at.0 / SECONDS);
        let touch = touch.filter(|(bid, ask)| *bid > 0 && bid < ask)?;
        self.touch = Some(touch);
        let opened = self.opened?;
        if self.has_jumped || self.seconds < JUMP_SECONDS {
            return None;
        }
        let moved_ppm = move_milli(opened, touch) / MILLI;
        let usual_ppm = self.moved / FORGET / MILLI;
        let distance_x2 = double_mid(touch).abs_diff(double_mid(opened));
        let spread = spread(touch).max(spread(opened));
        let jumps = moved_ppm > JUMP_PPM
            && moved_ppm > usual_ppm.saturating_mul(JUMP_MULTIPLE)
            && distance_x2 > 2 * spread.unsigned_abs();
        self.has_jumped = jumps;
        jumps.then(|| moved_ppm.cast_signed())
    }

    /// Closes the seconds before this one.
    fn enter(&mut self, second: u64) {
        if second <= self.second {
            return;
        }
        if let (Some(opened), Some(touch)) = (self.opened, self.touch) {
            self.learn(move_milli(opened, touch));
            for _ in 0..(second - self.second - 1).min(IDLE_MAX) {
                self.learn(0);
            }
        }
        self.opened = self.touch;
        self.has_jumped = false;
        self.second = second;
    }

    fn learn(&mut self, moved: u64) {
        self.moved = (self.moved - self.moved / FORGET).saturating_add(moved);
        self.seconds = (self.seconds + 1).min(JUMP_SECONDS);
    }

    /// Somebody traded.
    pub(super) fn trade(&mut self, price: Price, touch: Option<Touch>) {
        let Some((bid, ask)) = touch else { return };
        self.outside += u32::from(price.0 < bid || price.0 > ask);
    }

    /// Seconds since the book last changed, when that is too long. `others` is when the venue last
    /// moved another book.
    pub(super) fn stale(&self, others: Time, at: Time) -> Option<i64> {
        if !self.newest.is_known() {
            return None;
        }
        let silence_ns = at.0.checked_sub(self.newest.0)?;
        let ticking = others.is_known() && at.0.saturating_sub(others.0) <= TICKING_NS;
        let usual_ns = self.beats.mean_ns().unwrap_or(0);
        let bound_ns = usual_ns.saturating_mul(STALE_INTERVALS).max(STALE_NS);
        let stale = ticking && silence_ns > bound_ns
            || self.outside >= FROZEN_TRADES && silence_ns > FROZEN_NS;
        stale.then(|| (silence_ns / SECONDS).cast_signed())
    }

    /// What came in between is not known.
    pub(super) fn interrupt(&mut self) {
        self.newest = Time::UNKNOWN;
        self.beats.clear();
        self.outside = 0;
        (self.opened, self.touch) = (None, None);
    }
}

fn double_mid((bid, ask): Touch) -> i128 {
    i128::from(bid) + i128::from(ask)
}

fn spread((bid, ask): Touch) -> i128 {
    i128::from(ask) - i128::from(bid)
}

/// How far the mid went, in thousandths of a part per million of where it was.
fn move_milli(from: Touch, to: Touch) -> u64 {
    let distance = (double_mid(to) - double_mid(from)).abs();
    let share = distance * PPM * i128::from(MILLI) / double_mid(from).max(1);
    saturate(share).unsigned_abs()
}
