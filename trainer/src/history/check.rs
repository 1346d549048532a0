//! What is wrong with steps: holes, jumps, spikes, crossed quotes, and how old the newest is.
//!
//! A bad row is masked and counted, never dropped. Whether a row is masked follows from rows before it and, for a
//! spike, from the one after it on the same UTC day: no row is judged by what lies across a midnight ahead of it, so
//! that what lies in quarantine cannot change what is learned from.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};
use tickerml_shared::time::{SECONDS, Time};

use crate::series::MarketRow;

/// Moves of the mid that tell how far it usually moves.
const WINDOW: usize = 512;
/// Moves that must be known before a jump is one.
const LEAST: usize = 64;
/// From the median of absolute deviations to a standard deviation of a normal distribution.
const MAD_TO_SIGMA: f64 = 1.4826;
/// The smallest usual move, as a fraction: a still market that moves a few ticks does not jump.
const SIGMA_MIN: f64 = 1e-4;
/// A spike comes back to within this part of its jump.
const COMES_BACK: f64 = 0.5;
/// Holes that are listed; more are counted.
pub const HOLES_LISTED: usize = 64;
/// The usual limit of a jump, in robust standard deviations.
pub const JUMP_SIGMAS: f64 = 25.0;

/// A hole between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The step before it, unix nanoseconds.
    pub from_ns: u64,
    /// The step after it, unix nanoseconds.
    pub to_ns: u64,
    /// Pulses missing.
    pub missing: u64,
}

/// What was found in the steps of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Steps.
    pub rows: u64,
    /// Those that must not be learned from.
    pub masked: u64,
    /// First step, unix nanoseconds; 0 without steps.
    pub first_ns: u64,
    /// Last step, unix nanoseconds; 0 without steps.
    pub last_ns: u64,
    /// Holes between steps.
    pub holes: u64,
    /// Pulses missing in them.
    pub missing: u64,
    /// The first [`HOLES_LISTED`] of them.
    pub listed: Vec<Hole>,
    /// Moves beyond the limit that stayed: a market does that.
    pub jumps: u64,
    /// Moves beyond the limit that came back at the next step: masked.
    pub spikes: u64,
    /// Bids at or above their ask: masked.
    pub crossed: u64,
    /// Steps of an instant that was there already: left out.
    pub duplicates: u64,
    /// Known features, summed over unmasked steps.
    pub known: u64,
}

impl Findings {
    /// Seconds from the newest step to `now`; negative when it lies ahead of it.
    #[must_use]
    pub const fn age_s(&self, now: Time) -> i64 {
        now.since(Time(self.last_ns)) / SECONDS.cast_signed()
    }

    /// The share of masked steps.
    #[must_use]
    pub fn masked_share(&self) -> f64 {
        self.masked as f64 / self.rows.max(1) as f64
    }

    /// Known features of an unmasked step, on average.
    #[must_use]
    pub fn known_mean(&self) -> f64 {
        self.known as f64 / (self.rows - self.masked).max(1) as f64
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps from {} to {}, {:.2} % masked, {} holes ({} pulses), {} jumps, {} spikes, {} crossed, {} double, \
             {:.1} features known",
            self.rows,
            short(self.first_ns),
            short(self.last_ns),
            100.0 * self.masked_share(),
            self.holes,
            self.missing,
            self.jumps,
            self.spikes,
            self.crossed,
            self.duplicates,
            self.known_mean()
        )
    }
}

/// A time to the minute.
pub(super) fn short(at_ns: u64) -> String {
    Time(at_ns)
        .to_string()
        .chars()
        .take("2024-08-09T00:00".len())
        .collect()
}

/// Checks steps day by day, in order of time.
#[derive(Clone, Debug)]
pub(super) struct Checker {
    pulse_ns: u64,
    jump_sigmas: f64,
    findings: Findings,
    /// The newest moves of the mid across one pulse, oldest first.
    moves: VecDeque<f64>,
    /// Time and logarithm of the mid of the newest step that had one.
    before: Option<(Time, f64)>,
}

impl Checker {
    pub(super) fn new(pulse_ns: u64, jump_sigmas: f64) -> Self {
        Self {
            pulse_ns,
            jump_sigmas,
            findings: Findings::default(),
            moves: VecDeque::with_capacity(WINDOW),
            before: None,
        }
    }

    /// Takes the steps of one day, or of a part of one; leaves out those that do not come after what was taken, and
    /// masks those that are bad.
    pub(super) fn take(&mut self, rows: &mut Vec<MarketRow>) {
        let mut last = Time(self.findings.last_ns);
        let before = rows.len();
        rows.retain(|row| {
            let follows = row.at > last;
            last = last.max(row.at);
            follows
        });
        self.findings.duplicates += (before - rows.len()) as u64;
        for index in 0..rows.len() {
            self.hole(rows[index].at);
            let next = rows.get(index + 1).copied();
            let bad = self.is_bad(&rows[index], next.as_ref());
            let row = &mut rows[index];
            row.masked |= bad;
            let findings = &mut self.findings;
            findings.rows += 1;
            findings.masked += u64::from(row.masked);
            if findings.first_ns == 0 {
                findings.first_ns = row.at.0;
            }
            findings.last_ns = row.at.0;
            if !row.masked {
                findings.known += u64::from(row.state.valid.count_ones());
            }
        }
    }

    /// Steps that are so far apart have a hole between them: live pulses come a little early or late.
    const fn hole_ns(&self) -> u64 {
        self.pulse_ns + self.pulse_ns / 2 + 1
    }

    fn hole(&mut self, at: Time) {
        let hole_ns = self.hole_ns();
        let findings = &mut self.findings;
        let apart = at.0.saturating_sub(findings.last_ns);
        if findings.last_ns == 0 || apart < hole_ns {
            return;
        }
        let missing = (apart + self.pulse_ns / 2) / self.pulse_ns - 1;
        findings.holes += 1;
        findings.missing += missing;
        if findings.listed.len() < HOLES_LISTED {
            findings.listed.push(Hole {
                from_ns: findings.last_ns,
                to_ns: at.0,
                missing,
            });
        }
    }

    /// Judges the prices of a step.
    fn is_bad(&mut self, row: &MarketRow, next: Option<&MarketRow>) -> bool {
        let Some(mid) = log_mid(row) else {
            return false;
        };
        if row.bid >= row.ask {
            self.findings.crossed += 1;
            return true;
        }
        let before = self.before.replace((row.at, mid));
        let Some((at, from)) = before else {
            return false;
        };
        if row.at.since(at) >= self.hole_ns().cast_signed() {
            return false;
        }
        let moved = mid - from;
        let limit = self.limit(row);
        let jumped = limit.is_some_and(|limit| moved.abs() > limit);
        if !jumped {
            self.remember(moved);
            return false;
        }
        let back = next
            .filter(|next| next.at.day() == row.at.day())
            .and_then(log_mid)
            .is_some_and(|next| (next - from).abs() < moved.abs() * COMES_BACK);
        if back {
            self.findings.spikes += 1;
            // The step after it is compared with the one before it.
            self.before = Some((row.at, from));
            return true;
        }
        self.findings.jumps += 1;
        self.remember(moved);
        false
    }

    /// How far the mid may move in a step: the robust deviation of the moves before it.
    fn limit(&self, row: &MarketRow) -> Option<f64> {
        if self.moves.len() < LEAST {
            return None;
        }
        let mut sizes: Vec<f64> = self.moves.iter().map(|moved| moved.abs()).collect();
        let middle = sizes.len() / 2;
        let (_, median, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
        let spread = (row.ask - row.bid) / row.bid;
        Some(self.jump_sigmas * (*median * MAD_TO_SIGMA).max(SIGMA_MIN).max(spread))
    }

    fn remember(&mut self, moved: f64) {
        if self.moves.len() == WINDOW {
            self.moves.pop_front();
        }
        self.moves.push_back(moved);
    }

    pub(super) fn findings(&self) -> &Findings {
        &self.findings
    }
}

/// The logarithm of the mid of an unmasked step with prices.
fn log_mid(row: &MarketRow) -> Option<f64> {
    let is_priced = row.bid > 0.0 && row.ask > 0.0 && row.bid.is_finite() && row.ask.is_finite();
    (is_priced && !row.masked).then(|| f64::midpoint(row.bid, row.ask).ln())
}

#[cfg(test)]
mod tests {
    use tickerml_shared::features::Vector;
    use tickerml_shared::rand::Rng;
    use tickerml_shared::time::DAYS;

    use super::*;

    const START: Time = Time(20_000 * DAYS);

    fn rows(count: u64) -> Vec<MarketRow> {
        let mut rng = Rng::new(3, 1);
        let mut price = 100.0;
        (1..=count)
            .map(|n| {
                price *= 1.0 + (rng.below(2_001) as f64 - 1_000.0) / 1e6;
                MarketRow {
                    at: START.plus(n * SECONDS),
                    state: Vector {
                        valid: 0b11,
                        ..Vector::default()
                    },
                    bid: price,
                    ask: price + 0.001,
                    masked: false,
                }
            })
            .collect()
    }

    fn checked(mut rows: Vec<MarketRow>) -> (Findings, Vec<MarketRow>) {
        let mut checker = Checker::new(SECONDS, JUMP_SIGMAS);
        checker.take(&mut rows);
        (checker.findings().clone(), rows)
    }

    #[test]
    fn a_quiet_series_has_nothing_to_tell() {
        let (findings, _) = checked(rows(1_000));
        assert_eq!(
            (findings.rows, findings.masked, findings.holes),
            (1_000, 0, 0)
        );
        assert_eq!(
            (findings.jumps, findings.spikes, findings.known),
            (0, 0, 2_000)
        );
        assert_eq!(findings.age_s(START.plus(1_060 * SECONDS)), 60);
    }

    #[test]
    fn a_spike_is_masked_and_a_jump_that_stays_is_counted() {
        let mut spiked = rows(600);
        spiked[400].bid *= 1.2;
        spiked[400].ask *= 1.2;
        let (findings, masked) = checked(spiked);
        assert_eq!(
            (findings.spikes, findings.jumps, findings.masked),
            (1, 0, 1)
        );
        assert!(masked[400].masked && !masked[401].masked);
        let mut crashed = rows(600);
        for row in &mut crashed[400..] {
            row.bid *= 0.8;
            row.ask *= 0.8;
        }
        let (findings, _) = checked(crashed);
        assert_eq!(
            (findings.spikes, findings.jumps, findings.masked),
            (0, 1, 0)
        );
    }

    #[test]
    fn the_last_row_of_a_day_is_not_judged_by_the_day_after() {
        let day = DAYS / SECONDS;
        let mut long = rows(day + 10);
        let last = usize::try_from(day).expect("small") - 2;
        long[last].bid *= 1.2;
        long[last].ask *= 1.2;
        assert_eq!(long[last + 1].at, START.plus(DAYS));
        let (findings, _) = checked(long);
        assert_eq!(findings.spikes, 0);
        assert!(findings.jumps >= 1);
    }

    #[test]
    fn holes_doubles_and_crossed_quotes_are_counted() {
        let mut holed = rows(300);
        holed.drain(100..110);
        let twice = holed[50];
        holed.insert(51, twice);
        holed[200].ask = holed[200].bid;
        let (findings, rows) = checked(holed);
        assert_eq!(
            (findings.holes, findings.missing, findings.duplicates),
            (1, 10, 1)
        );
        assert_eq!(findings.listed[0].missing, 10);
        assert_eq!((findings.crossed, findings.masked, rows.len()), (1, 1, 290));
    }
}
