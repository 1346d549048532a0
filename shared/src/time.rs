//! Points in time and the calendar, as integers.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Nanoseconds in a microsecond.
pub const MICROS: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub const MILLIS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SECONDS: u64 = 1_000_000_000;
/// Nanoseconds in a minute.
pub const MINUTES: u64 = 60 * SECONDS;
/// Nanoseconds in a day.
pub const DAYS: u64 = 86_400 * SECONDS;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z. Zero means "the venue did not say".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// Unknown.
    pub const UNKNOWN: Self = Self(0);

    /// Whether the venue stated it.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 != 0
    }

    /// `self - earlier` in nanoseconds; negative when `earlier` is later (clocks differ: receive
    /// stamps before venue stamps are real data, never an error).
    #[must_use]
    #[expect(
        clippy::cast_possible_wrap,
        reason = "the wrapped difference is the signed one"
    )]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }

    /// This much later.
    #[must_use]
    pub const fn plus(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_add(nanoseconds))
    }

    /// This much earlier, not before the epoch.
    #[must_use]
    pub const fn minus(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_sub(nanoseconds))
    }

    /// The start of its UTC day.
    #[must_use]
    pub const fn day(self) -> Self {
        Self(self.0 - self.0 % DAYS)
    }

    /// From an integer epoch stamp whose unit follows from its magnitude (seconds, milliseconds,
    /// microseconds or nanoseconds), as venues change units without notice.
    #[must_use]
    pub const fn from_epoch(stamp: u64) -> Self {
        // Each unit's range covers the years 1973 to 5138 of the next larger one's digits.
        Self(if stamp < 100_000_000_000 {
            stamp.saturating_mul(SECONDS)
        } else if stamp < 100_000_000_000_000 {
            stamp.saturating_mul(MILLIS)
        } else if stamp < 100_000_000_000_000_000 {
            stamp.saturating_mul(MICROS)
        } else {
            stamp
        })
    }

    /// Parses RFC 3339 (`2026-07-19T17:54:39.768901Z`, 0 to 9 fractional digits, `Z` or an
    /// offset). `None` for anything else and for years before 1970 (venues send 0001-01-01).
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < 20
            || bytes[4] != b'-'
            || bytes[7] != b'-'
            || !matches!(bytes[10], b'T' | b't' | b' ')
            || bytes[13] != b':'
            || bytes[16] != b':'
        {
            return None;
        }
        let number = |range: core::ops::Range<usize>| -> Option<u64> {
            bytes[range].iter().try_fold(0_u64, |value, byte| {
                byte.is_ascii_digit()
                    .then(|| value * 10 + u64::from(byte - b'0'))
            })
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut rest = &bytes[19..];
        let mut nanoseconds = 0_u64;
        if let [b'.', tail @ ..] = rest {
            let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            nanoseconds = number(20..20 + digits)? * 10_u64.pow(9 - u32::try_from(digits).ok()?);
            rest = &tail[digits..];
        }
        let offset_seconds: i64 = match rest {
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let digit = |b: &u8| b.is_ascii_digit().then(|| i64::from(b - b'0'));
                let seconds =
                    (digit(h1)? * 10 + digit(h2)?) * 3600 + (digit(m1)? * 10 + digit(m2)?) * 60;
                if *sign == b'+' { seconds } else { -seconds }
            }
            _ => return None,
        };
        let days = days_from_civil(year, month, day);
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        let seconds = u64::try_from(i64::try_from(seconds).ok()? - offset_seconds).ok()?;
        Some(Self(
            seconds.checked_mul(SECONDS)?.checked_add(nanoseconds)?,
        ))
    }

    /// Year, month (1 to 12) and day (1 to 31) in UTC.
    #[must_use]
    pub const fn civil(self) -> (u64, u64, u64) {
        // Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
        let days = self.0 / DAYS + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + (month <= 2) as u64;
        (year, month, day)
    }
}

/// Days since the epoch of a proleptic Gregorian date from 1970 on (Hinnant, `days_from_civil`).
const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        let seconds = self.0 % DAYS / SECONDS;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let nanoseconds = self.0 % SECONDS;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_stamps_of_every_venue() {
        let kraken = Time::from_rfc3339("2026-07-19T17:54:39.768901Z").expect("kraken");
        assert_eq!(kraken.to_string(), "2026-07-19T17:54:39.768901000Z");
        let coinbase = Time::from_rfc3339("2026-08-24T22:34:13.82310097Z").expect("coinbase");
        assert_eq!(coinbase.0 % SECONDS, 823_100_970);
        assert_eq!(
            Time::from_rfc3339("2026-07-21T17:13:05.810195+00:00").map(|t| t.0 % SECONDS),
            Some(810_195_000)
        );
        assert_eq!(
            Time::from_rfc3339("2026-01-01T01:00:00+01:00"),
            Time::from_rfc3339("2026-01-01T00:00:00Z")
        );
        for text in [
            "0001-01-01T00:00:00.000000Z",
            "2026-13-01T00:00:00Z",
            "yesterday",
            "2026-01-01T00:00:00.Z",
        ] {
            assert_eq!(Time::from_rfc3339(text), None, "{text}");
        }
        for (stamp, unit) in [
            (1_723_161_255, SECONDS),
            (1_723_161_255_208, MILLIS),
            (1_741_046_400_123_456, MICROS),
        ] {
            assert_eq!(Time::from_epoch(stamp), Time(stamp * unit));
        }
        assert_eq!(Time(5).since(Time(9)), -4);
    }

    proptest! {
        #[test]
        fn the_calendar_round_trips(stamp in 0_u64..250 * 366 * DAYS) {
            prop_assert_eq!(Time::from_rfc3339(&Time(stamp).to_string()), Some(Time(stamp)));
        }
    }
}
