//! Features of one asset over several venues.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::table::rows;
use super::{BPS, Values, View};
use crate::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS};

rows! {
    /// Features of one asset over several venues.
    CrossFeature {
        /// [`Cross::deviation`].
        Deviation: "cross_venue_deviation", Bps, "", "deviation of the mid from the mean of the venues";
    }
}

/// The features at `view.at`.
#[must_use]
pub fn read(view: &View<'_>) -> Values<{ CrossFeature::COUNT }> {
    let mid = view.top.double_mid() as f64 / 2.0;
    let deviation = view
        .cross
        .and_then(|cross| cross.deviation(mid, view.instrument));
    let mut values = Values::UNKNOWN;
    values.set(CrossFeature::Deviation, deviation);
    values
}

/// The newest mids of the instruments that share a base asset, in quote units.
///
/// USD and its stablecoins count as one quote: their basis is part of what the feature shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cross {
    mids: Vec<(InstrumentId, Option<f64>), MAX_INSTRUMENTS>,
}

impl Cross {
    /// Lists an instrument of the asset.
    pub fn list(&mut self, id: InstrumentId) {
        let listed = self.mids.push((id, None));
        debug_assert!(listed.is_ok(), "the instrument table has the same bound");
    }

    /// Takes an instrument's doubled mid in its own units; `None` when its book yields none.
    pub fn mid(&mut self, id: InstrumentId, double_mid: Option<i64>, instrument: &Instrument) {
        if let Some((_, mid)) = self.mids.iter_mut().find(|(listed, _)| *listed == id) {
            *mid = double_mid.map(|double| double as f64 / (2.0 * unit(instrument)));
        }
    }

    /// How far this venue's mid (in its own units) lies above the mean over all venues whose books
    /// are live, in basis points; unknown when it is the only one.
    #[must_use]
    pub fn deviation(&self, mid: f64, instrument: &Instrument) -> Option<f64> {
        let live = self.mids.iter().filter_map(|(_, mid)| *mid);
        let (count, sum) = live.fold((0_u32, 0.0), |(count, sum), mid| (count + 1, sum + mid));
        (count > 1).then(|| (mid / unit(instrument) / (sum / f64::from(count)) - 1.0) * BPS)
    }
}

fn unit(instrument: &Instrument) -> f64 {
    crate::num::pow10(instrument.price_scale) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::Venue;

    #[test]
    fn compares_with_the_venues_that_are_live() {
        let cents = Instrument {
            price_scale: 2,
            ..Instrument::unknown(Venue::Binance, "A").expect("short")
        };
        let whole = Instrument {
            price_scale: 0,
            ..Instrument::unknown(Venue::Kraken, "A").expect("short")
        };
        let mut cross = Cross::default();
        cross.list(InstrumentId(0));
        cross.list(InstrumentId(1));
        cross.mid(InstrumentId(0), Some(20_200), &cents);
        assert_eq!(cross.deviation(10_100.0, &cents), None, "alone");
        cross.mid(InstrumentId(1), Some(198), &whole);
        let deviation = cross.deviation(10_100.0, &cents).expect("two venues");
        assert!(
            (deviation - 100.0).abs() < 1e-9,
            "101 against a mean of 100: {deviation}"
        );
        cross.mid(InstrumentId(1), None, &whole);
        assert_eq!(cross.deviation(10_100.0, &cents), None);
    }
}
