//! Features of perpetual funding.
//!
//! They tell of the interval that is running: from its settlement until the venue announces the next
//! one, nothing is known but the basis. A rate is positive when longs pay shorts.

use super::table::rows;
use super::{BPS, Values, View};
use crate::event::{Funding, RATE_SCALE};
use crate::time::SECONDS;

rows! {
    /// Features of perpetual funding.
    FundingFeature {
        /// The rate of the current interval.
        Rate: "funding_rate", Bps, "", "He, Manela, Ross, von Wachter (2022), 2";
        /// The rate that the venue predicts for the next interval.
        Predicted: "funding_rate_predicted", Bps, "", "venue's prediction";
        /// The rate of the current interval by the day, at the interval's real length.
        PerDay: "funding_rate_day", Bps, "", "rate over the real interval";
        /// The rate of the current interval less that of the one that settled last.
        Change: "funding_rate_change", Bps, "", "change from interval to interval";
        /// From now to the settlement.
        Left: "funding_time_left", Hours, "", "venue's settlement time";
        /// The same as a share of the interval.
        LeftShare: "funding_time_left_share", Share, "", "venue's settlement time";
        /// How far the mark price lies above the index price.
        Basis: "funding_mark_index_basis", Bps, "", "He, Manela, Ross, von Wachter (2022), 2";
        /// Who pays: 1 longs, -1 shorts, 0 nobody.
        Payer: "funding_payer", Ratio, "", "sign of the rate";
    }
}

/// Seconds in a day.
const DAY_S: f64 = 86_400.0;
/// Seconds in an hour.
const HOUR_S: f64 = 3_600.0;

/// What a venue announced of a perpetual's funding, and what is known besides.
#[derive(Clone, Copy, Debug)]
pub struct Announced<'a> {
    /// The newest announcement.
    pub newest: &'a Funding,
    /// The length of an interval in seconds, stated or witnessed.
    pub interval_s: Option<u32>,
    /// The rate of the interval that settled last, in units of `10^-12`.
    pub settled_rate: Option<i64>,
}

/// The features at `view.at`.
#[must_use]
pub fn read(view: &View<'_>) -> Values<{ FundingFeature::COUNT }> {
    let mut values = Values::UNKNOWN;
    let Some(announced) = view.funding else {
        return values;
    };
    let newest = announced.newest;
    values.set(FundingFeature::Basis, basis(newest));
    let stated = Some(newest.interval_s).filter(|interval_s| *interval_s > 0);
    let interval_s = announced.interval_s.or(stated).map(f64::from);
    if newest.settles.is_known() {
        let left_ns = newest.settles.since(view.at);
        if left_ns <= 0 {
            return values;
        }
        let left_s = left_ns as f64 / SECONDS as f64;
        let share = interval_s.map(|interval_s| (left_s / interval_s).min(1.0));
        values.set(FundingFeature::Left, Some(left_s / HOUR_S));
        values.set(FundingFeature::LeftShare, share);
    }
    let Some(rate) = newest.rate else {
        return values;
    };
    let predicted = newest.predicted.map(bps);
    let per_day = interval_s.map(|interval_s| bps(rate) * (DAY_S / interval_s));
    let change = announced.settled_rate.map(|before| bps(rate) - bps(before));
    values.set(FundingFeature::Rate, Some(bps(rate)));
    values.set(FundingFeature::Predicted, predicted);
    values.set(FundingFeature::PerDay, per_day);
    values.set(FundingFeature::Change, change);
    values.set(FundingFeature::Payer, Some(rate.signum() as f64));
    values
}

/// A rate in basis points.
fn bps(rate: i64) -> f64 {
    rate as f64 / crate::num::pow10(RATE_SCALE) as f64 * BPS
}

/// How far the mark price lies above the index price, in basis points; unknown where the venue states
/// not both.
///
/// Source: He, Manela, Ross and von Wachter, "Fundamentals of Perpetual Futures" (2022), section 2.
fn basis(funding: &Funding) -> Option<f64> {
    let (mark, index) = (funding.mark.0, funding.index.0);
    (mark > 0 && index > 0).then(|| (mark as f64 / index as f64 - 1.0) * BPS)
}

#[cfg(test)]
mod tests {
    use super::super::book::Top;
    use super::*;
    use crate::book::Book;
    use crate::event::{Depth, DepthKind, Level};
    use crate::instrument::{Instrument, Venue};
    use crate::num::{Price, Qty};
    use crate::time::Time;

    const START: Time = Time(1_000_000 * 3_600 * SECONDS);

    fn values(announced: Option<Announced<'_>>, at: Time) -> Values<{ FundingFeature::COUNT }> {
        let instrument = Instrument::unknown(Venue::BinanceUsdm, "BTCUSDT").expect("short");
        let level = |price| Level {
            price: Price(price),
            qty: Qty(1),
        };
        let message = Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: 0,
            bids: 1,
            levels: [level(10), level(12)].into_iter().collect(),
            checksum: None,
        };
        let mut book = Book::new();
        assert_eq!(book.depth(&message, &instrument, at), None);
        let view = View {
            top: &Top::of(&book).expect("live"),
            instrument: &instrument,
            cross: None,
            funding: announced,
            received: at,
            lag_ns: 0,
            at,
        };
        read(&view)
    }

    #[test]
    fn the_rows_follow_from_the_announcement() {
        use FundingFeature as F;
        let funding = Funding {
            mark: Price(10_010),
            index: Price(10_000),
            rate: Some(-300_000_000),
            predicted: Some(100_000_000),
            settles: START.plus(4 * 3_600 * SECONDS),
            interval_s: 0,
        };
        let announced = Announced {
            newest: &funding,
            interval_s: Some(28_800),
            settled_rate: Some(200_000_000),
        };
        let at = START.plus(3_600 * SECONDS);
        let got = values(Some(announced), at);
        for (feature, want) in [
            (F::Rate, -3.0),
            (F::Predicted, 1.0),
            (F::PerDay, -9.0),
            (F::Change, -5.0),
            (F::Left, 3.0),
            (F::LeftShare, 0.375),
            (F::Basis, 10.0),
            (F::Payer, -1.0),
        ] {
            let value = got.get(feature).expect("known");
            assert!(
                (f64::from(value) - want).abs() < 1e-5,
                "{feature:?} {value}"
            );
        }
        // The interval is over: only the basis is known.
        let over = values(Some(announced), funding.settles);
        assert_eq!((over.known(), over.get(F::Basis).is_some()), (1, true));
        assert_eq!(values(None, at).known(), 0);
    }

    #[test]
    fn what_the_venue_does_not_state_is_unknown() {
        use FundingFeature as F;
        let funding = Funding {
            mark: Price(0),
            index: Price(10_000),
            rate: Some(0),
            predicted: None,
            settles: Time::UNKNOWN,
            interval_s: 0,
        };
        let mut announced = Announced {
            newest: &funding,
            interval_s: None,
            settled_rate: None,
        };
        let got = values(Some(announced), START);
        assert_eq!(
            (got.get(F::Rate), got.get(F::Payer)),
            (Some(0.0), Some(0.0))
        );
        assert_eq!(got.known(), 2);
        let silent = Funding {
            rate: None,
            interval_s: 3_600,
            ..funding
        };
        announced.newest = &silent;
        assert_eq!(values(Some(announced), START).known(), 0);
    }
}
