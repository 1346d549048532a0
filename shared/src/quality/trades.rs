//! What is wrong with trades: told twice, away from the others, too large, or missing.

use heapless::{Deque, Vec};
use serde::{Deserialize, Serialize};

use super::Beats;
use crate::event::{Side, Trade};
use crate::num::saturate;
use crate::time::{SECONDS, Time};

/// Trades whose ids are remembered.
pub const IDS_KEPT: usize = 128;
/// Trades with which one that has no id is compared.
pub const TWINS_KEPT: usize = 16;
/// Trade prices of which median and spread are taken.
pub const PRICES: usize = 64;
/// Trades before any is judged by those before it.
pub const TRADES_LEAST: usize = 16;
/// A price is an outlier beyond so many robust standard deviations.
pub const OUTLIER_SCORE: i64 = 8;
/// The robust standard deviation is at least this share of the median, since many trades of one
/// price have none: beyond 0.4 % of the median at a score of 8.
pub const OUTLIER_FLOOR_PPM: i64 = 500;
/// A trade is a spike beyond so many times the mean of the last [`IDS_KEPT`].
pub const SPIKE_MULTIPLE: i128 = 1_000;
/// Trading is halted after so many times its mean interval without a trade,
pub const HALT_INTERVALS: u64 = 20;
/// but not before this.
pub const HALT_NS: u64 = 60 * SECONDS;

/// `1 / Φ⁻¹(3/4)` in ten-thousandths: what turns the median absolute deviation of a normal
/// distribution into its standard deviation.
const MAD_NORMAL: i128 = 14_826;
const TEN_THOUSAND: i128 = 10_000;
const PPM: i128 = 1_000_000;
/// A score is told in thousandths.
const MILLI: i128 = 1_000;

/// What identifies a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    id: u64,
    price: i64,
    qty: i64,
    aggressor: Side,
    venue_time: Time,
}

/// What was found in a trade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) duplicate: Option<i64>,
    pub(super) outlier: Option<i64>,
    pub(super) spike: Option<i64>,
}

/// The trades of an instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trades {
    told: Deque<Told, IDS_KEPT>,
    id_max: u64,
    /// The sum of the quantities in `told`.
    volume: i128,
    prices: Prices,
    beats: Beats,
    /// When the newest trade since the last gap came.
    newest: Time,
}

impl Trades {
    /// Takes a trade. One that was told already counts for nothing else.
    pub(super) fn judge(
        &mut self,
        trade: &Trade,
        venue_time: Time,
        quotes: Option<(i64, i64)>,
        at: Time,
    ) -> Judged {
        let told = Told {
            id: trade.id,
            price: trade.price.0,
            qty: trade.qty.0,
            aggressor: trade.aggressor,
            venue_time,
        };
        if self.is_known(&told) {
            return Judged {
                duplicate: Some(trade.id.cast_signed()),
                ..Judged::default()
            };
        }
        let judged = Judged {
            duplicate: None,
            outlier: self.prices.outlier(trade.price.0, quotes),
            spike: self.spike(trade.qty.0),
        };
        self.keep(told);
        self.prices.push(trade.price.0);
        self.beats.beat(at);
        self.newest = at;
        judged
    }

    /// Told already: by its id, or where there is none by everything that is known of it.
    fn is_known(&self, told: &Told) -> bool {
        if told.id != 0 {
            // Ids rise, so most need no search.
            return told.id <= self.id_max && self.told.iter().any(|other| other.id == told.id);
        }
        told.venue_time.is_known()
            && self
                .told
                .iter()
                .rev()
                .take(TWINS_KEPT)
                .any(|other| other == told)
    }

    fn keep(&mut self, told: Told) {
        if self.told.is_full()
            && let Some(gone) = self.told.pop_front()
        {
            self.volume -= i128::from(gone.qty);
        }
        self.volume += i128::from(told.qty);
        self.id_max = self.id_max.max(told.id);
        let pushed = self.told.push_back(told);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// How many times the mean quantity this is, when that is too often.
    fn spike(&self, qty: i64) -> Option<i64> {
        if self.told.len() < TRADES_LEAST || self.volume <= 0 {
            return None;
        }
        // qty / (volume / n), exactly.
        let scaled = i128::from(qty) * self.told.len() as i128;
        (scaled > SPIKE_MULTIPLE * self.volume).then(|| saturate(scaled / self.volume))
    }

    /// Seconds without a trade, when that is too long.
    pub(super) fn halted(&self, at: Time) -> Option<i64> {
        let mean_ns = self.beats.mean_ns()?;
        let silence_ns = at.0.checked_sub(self.newest.0)?;
        let bound_ns = mean_ns.saturating_mul(HALT_INTERVALS).max(HALT_NS);
        (silence_ns > bound_ns).then(|| (silence_ns / SECONDS).cast_signed())
    }

    /// What came in between is not known: intervals start anew, and so do prices, which may have
    /// moved. Trades that were told stay told: a venue repeats some when it comes back.
    pub(super) fn interrupt(&mut self) {
        self.beats.clear();
        self.prices = Prices::default();
    }
}

/// The last [`PRICES`] trade prices: in order of arrival, and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Prices {
    arrived: Deque<i64, PRICES>,
    sorted: Vec<i64, PRICES>,
}

impl Prices {
    fn push(&mut self, price: i64) {
        if self.arrived.is_full()
            && let Some(gone) = self.arrived.pop_front()
            && let Ok(place) = self.sorted.binary_search(&gone)
        {
            self.sorted.remove(place);
        }
        let place = self.sorted.partition_point(|other| *other < price);
        let pushed =
            self.arrived.push_back(price).is_ok() && self.sorted.insert(place, price).is_ok();
        debug_assert!(pushed, "room was made");
    }

    /// The score of a price, in thousandths, when it is beyond [`OUTLIER_SCORE`].
    ///
    /// The score is the modified z-score of Iglewicz and Hoaglin, *How to Detect and Handle Outliers*
    /// (1993): the distance from the median over 1.4826 times the median absolute deviation (MAD). All
    /// is doubled once for the median and once more for the MAD of an even number of prices, so that
    /// it is exact. Departures: the deviation is not less than [`OUTLIER_FLOOR_PPM`] of the median,
    /// nor than the spread; and the distance is that from the nearest of the median and the quotes,
    /// because a price that somebody quotes is no error, however long ago the last trades were.
    fn outlier(&self, price: i64, quotes: Option<(i64, i64)>) -> Option<i64> {
        if self.sorted.len() < TRADES_LEAST {
            return None;
        }
        let median_x2 = self.median_x2();
        let sigma_x4 = MAD_NORMAL * self.mad_x4(median_x2) / TEN_THOUSAND;
        let floor_x4 = 2 * median_x2.abs() * i128::from(OUTLIER_FLOOR_PPM) / PPM;
        let spread_x4 = quotes.map_or(0, |(bid, ask)| 4 * (i128::from(ask) - i128::from(bid)));
        let sigma_x4 = sigma_x4.max(floor_x4).max(spread_x4).max(1);
        let price = i128::from(price);
        let from_median_x4 = 2 * (2 * price - median_x2).abs();
        let from_quotes_x4 = quotes.map(|(bid, ask)| {
            let (below, above) = (i128::from(bid) - price, price - i128::from(ask));
            4 * below.max(above).max(0)
        });
        let distance_x4 = from_quotes_x4.map_or(from_median_x4, |from| from.min(from_median_x4));
        (distance_x4 > i128::from(OUTLIER_SCORE) * sigma_x4)
            .then(|| saturate(MILLI * distance_x4 / sigma_x4))
    }

    /// Twice the median.
    fn median_x2(&self) -> i128 {
        let (below, above) = (
            self.sorted[(self.sorted.len() - 1) / 2],
            self.sorted[self.sorted.len() / 2],
        );
        i128::from(below) + i128::from(above)
    }

    /// Four times the median absolute deviation from half of `median_x2`.
    ///
    /// Going outward from the middle of what is sorted, the smaller of the two next deviations is the
    /// next one in order, so half of them need to be looked at.
    fn mad_x4(&self, median_x2: i128) -> i128 {
        let deviation_x2 = |place: usize| (2 * i128::from(self.sorted[place]) - median_x2).abs();
        let count = self.sorted.len();
        let mut above = self
            .sorted
            .partition_point(|price| 2 * i128::from(*price) < median_x2);
        let mut below = above;
        let mut next = || {
            let lower = below.checked_sub(1).map(deviation_x2);
            let upper = (above < count).then(|| deviation_x2(above));
            match (lower, upper) {
                (Some(lower), Some(upper)) if lower <= upper => {
                    below -= 1;
                    lower
                }
                (_, Some(upper)) => {
                    above += 1;
                    upper
                }
                (Some(lower), None) => {
                    below -= 1;
                    lower
                }
                (None, None) => 0,
            }
        };
        let mut middle = [0, 0];
        for _ in 0..=count / 2 {
            middle = [middle[1], next()];
        }
        if count.is_multiple_of(2) {
            middle[0] + middle[1]
        } else {
            2 * middle[1]
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::rand::Rng;

    /// By sorting, from the definition, four times too large.
    fn slow(prices: &[i64]) -> (i128, i128) {
        let median_x2 = |values: &[i128]| {
            let mut values = values.to_vec();
            values.sort_unstable();
            values[(values.len() - 1) / 2] + values[values.len() / 2]
        };
        let doubled: Vec<_> = prices.iter().map(|price| i128::from(*price)).collect();
        let middle = median_x2(&doubled);
        let away: Vec<_> = doubled
            .iter()
            .map(|price| (2 * price - middle).abs())
            .collect();
        (middle, median_x2(&away))
    }

    #[test]
    fn median_and_deviation_are_those_of_sorting() {
        let mut rng = Rng::new(3, 3);
        for range in [1, 3, 50, 1 << 40] {
            let (mut prices, mut all) = (Prices::default(), Vec::new());
            for _ in 0..300 {
                let price = rng.below(range).cast_signed();
                prices.push(price);
                all.push(price);
                let window = &all[all.len().saturating_sub(PRICES)..];
                let median_x2 = prices.median_x2();
                assert_eq!((median_x2, prices.mad_x4(median_x2)), slow(window));
            }
        }
    }

    #[test]
    fn the_score_is_the_modified_z_score() {
        let mut prices = Prices::default();
        for n in 0..64 {
            prices.push(1_000_000 + 1_000 * (n % 8));
        }
        // Median 1,003,500; deviations 500, 1500, 2500, 3500 from either side: MAD 2,000.
        let sigma = 2_000 * 14_826 / 10_000;
        assert_eq!(prices.outlier(1_003_500 + 8 * sigma, None), None);
        assert_eq!(prices.outlier(1_003_500 + 10 * sigma, None), Some(10_000));
        assert_eq!(prices.outlier(1_003_500 - 10 * sigma, None), Some(10_000));
        let quotes = Some((1_003_500 + 9 * sigma, 1_003_501 + 9 * sigma));
        assert_eq!(
            prices.outlier(1_003_500 + 10 * sigma, quotes),
            None,
            "somebody quotes it"
        );
    }

    #[test]
    fn prices_at_the_end_of_their_range_are_no_trouble() {
        let mut prices = Prices::default();
        for n in 0..100_i64 {
            prices.push(if n % 2 == 0 { i64::MAX } else { i64::MIN });
            let _ = prices.outlier(i64::MIN, Some((i64::MIN, i64::MAX)));
        }
    }
}
