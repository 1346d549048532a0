//! Fee tiers: what a venue charges falls with what was traded there in the last thirty days.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::instrument::Venue;
use crate::num::Cash;
use crate::time::{DAYS, Time};

/// Days that count toward a tier, the present one included.
pub const TIER_DAYS: usize = 30;
/// The largest fee, in millionths of the notional: all of it.
pub const MAX_FEE_PPM: i32 = 1_000_000;

/// One row of a venue's fee schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Traded in the last [`TIER_DAYS`] days at least this much.
    pub volume: Cash,
    /// Fee of a resting order in millionths of the notional; negative is a rebate.
    pub maker_fee_ppm: i32,
    /// Fee of a taking order in millionths of the notional; negative is a rebate.
    pub taker_fee_ppm: i32,
}

/// What is wrong with a fee schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierError {
    /// It has no row.
    Empty,
    /// Its first row does not begin at zero.
    NoStart,
    /// Volumes do not rise from row to row.
    Unsorted,
    /// A fee lies beyond ±100 %.
    Beyond,
}

impl core::fmt::Display for TierError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Empty => "has no row; write at least { volume = \"0\", ... }",
            Self::NoStart => "must begin with volume = \"0\"",
            Self::Unsorted => "must have rising volumes",
            Self::Beyond => "has a fee beyond ±1000000 millionths (100 %)",
        })
    }
}

/// Checks a schedule.
///
/// # Errors
/// The first [`TierError`] that applies.
pub fn check(tiers: &[Tier]) -> Result<(), TierError> {
    let first = tiers.first().ok_or(TierError::Empty)?;
    if first.volume != Cash::ZERO {
        return Err(TierError::NoStart);
    }
    if tiers
        .windows(2)
        .any(|pair| pair[0].volume >= pair[1].volume)
    {
        return Err(TierError::Unsorted);
    }
    let beyond = |fee: i32| !(-MAX_FEE_PPM..=MAX_FEE_PPM).contains(&fee);
    if tiers
        .iter()
        .any(|tier| beyond(tier.maker_fee_ppm) || beyond(tier.taker_fee_ppm))
    {
        return Err(TierError::Beyond);
    }
    Ok(())
}

/// The row that applies to a traded volume; free where there is no schedule.
#[must_use]
pub fn tier(tiers: &[Tier], volume: Cash) -> Tier {
    let reached = tiers.iter().take_while(|tier| tier.volume <= volume);
    reached.last().copied().unwrap_or_default()
}

/// What was traded at each venue, day by day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volumes {
    /// Venue and its days since the epoch with what was traded then, oldest first.
    venues: Vec<(Venue, heapless::Vec<(u64, Cash), TIER_DAYS>)>,
}

impl Volumes {
    /// Counts a trade of ours.
    pub fn add(&mut self, venue: Venue, notional: Cash, at: Time) {
        let day = at.0 / DAYS;
        let place = self.venues.iter().position(|(named, _)| *named == venue);
        let place = place.unwrap_or_else(|| {
            self.venues.push((venue, heapless::Vec::new()));
            self.venues.len() - 1
        });
        let days = &mut self.venues[place].1;
        match days.last_mut() {
            // A clock that was set back adds to the newest day rather than losing the trade.
            Some((last, traded)) if *last >= day => *traded += notional,
            _ => {
                if days.is_full() {
                    days.remove(0);
                }
                let pushed = days.push((day, notional));
                debug_assert!(pushed.is_ok(), "room was made");
            }
        }
    }

    /// What was traded at a venue in the last [`TIER_DAYS`] days.
    #[must_use]
    pub fn trailing(&self, venue: Venue, at: Time) -> Cash {
        let oldest = (at.0 / DAYS + 1).saturating_sub(TIER_DAYS as u64);
        let days = self.venues.iter().find(|(named, _)| *named == venue);
        days.into_iter()
            .flat_map(|(_, days)| days)
            .filter(|(day, _)| *day >= oldest)
            .fold(Cash::ZERO, |sum, (_, traded)| sum + *traded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIERS: [Tier; 3] = [
        Tier {
            volume: Cash::ZERO,
            maker_fee_ppm: 1_000,
            taker_fee_ppm: 2_000,
        },
        Tier {
            volume: Cash(100),
            maker_fee_ppm: 500,
            taker_fee_ppm: 1_500,
        },
        Tier {
            volume: Cash(1_000),
            maker_fee_ppm: -100,
            taker_fee_ppm: 1_000,
        },
    ];

    #[test]
    fn thirty_days_of_trading_decide_the_row() {
        let mut volumes = Volumes::default();
        let fee = |volumes: &Volumes, day: u64| {
            tier(&TIERS, volumes.trailing(Venue::Kraken, Time(day * DAYS))).maker_fee_ppm
        };
        assert_eq!(fee(&volumes, 0), 1_000);
        for day in 0..40 {
            volumes.add(Venue::Kraken, Cash(40), Time(day * DAYS + 5));
        }
        assert_eq!(
            volumes.trailing(Venue::Kraken, Time(39 * DAYS)),
            Cash(1_200)
        );
        assert_eq!(fee(&volumes, 39), -100);
        assert_eq!(fee(&volumes, 50), 500, "eleven days have left the window");
        assert_eq!(fee(&volumes, 99), 1_000);
        assert_eq!(
            volumes.trailing(Venue::Binance, Time(39 * DAYS)),
            Cash::ZERO
        );
        volumes.add(Venue::Kraken, Cash(1), Time(0));
        assert_eq!(
            volumes.trailing(Venue::Kraken, Time(39 * DAYS)),
            Cash(1_201)
        );
    }

    #[test]
    fn a_bad_schedule_is_refused() {
        assert_eq!(check(&TIERS), Ok(()));
        assert_eq!(check(&[]), Err(TierError::Empty));
        assert_eq!(check(&TIERS[1..]), Err(TierError::NoStart));
        assert_eq!(check(&[TIERS[0], TIERS[0]]), Err(TierError::Unsorted));
        let robber = Tier {
            maker_fee_ppm: -MAX_FEE_PPM - 1,
            ..TIERS[0]
        };
        assert_eq!(check(&[robber]), Err(TierError::Beyond));
    }
}
