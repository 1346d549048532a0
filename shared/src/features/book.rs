//! Features of the book alone: pure functions of its best levels and of the instrument.

use serde::{Deserialize, Serialize};

use super::microprice::common_step;
use super::table::rows;
use super::{BPS, Values, View};
use crate::book::Book;
use crate::event::{Level, Side};
use crate::instrument::{Instrument, Kind};
use crate::num::pow10;

/// Levels a side that book features look at.
pub const LEVELS: usize = 10;

rows! {
    /// Features of the book as it stands.
    BookFeature {
        /// [`imbalance`] of the best level.
        Imbalance1: "book_imbalance_1", Ratio, "levels=1", "Cao, Hansch, Wang (2009)";
        /// [`imbalance`] of two levels.
        Imbalance2: "book_imbalance_2", Ratio, "levels=2", "Cao, Hansch, Wang (2009)";
        /// [`imbalance`] of three levels.
        Imbalance3: "book_imbalance_3", Ratio, "levels=3", "Cao, Hansch, Wang (2009)";
        /// [`imbalance`] of five levels.
        Imbalance5: "book_imbalance_5", Ratio, "levels=5", "Cao, Hansch, Wang (2009)";
        /// [`imbalance`] of ten levels.
        Imbalance10: "book_imbalance_10", Ratio, "levels=10", "Cao, Hansch, Wang (2009)";
        /// [`near_imbalance`].
        NearImbalance: "book_imbalance_near", Ratio, "levels=10 decay_bps=5", "imbalance with exponential weights of the distance";
        /// [`weighted_mid_deviation`].
        WeightedMidDeviation: "weighted_mid_deviation", Bps, "", "Stoikov (2018), weighted mid-price";
        /// [`spread`].
        Spread: "spread", Bps, "", "quoted spread";
        /// [`spread_ticks`].
        SpreadTicks: "spread_ticks", Ticks, "", "quoted spread";
        /// [`depth`] of the best level, both sides.
        Depth1: "depth_1", Log, "levels=1", "ln(1 + quote notional)";
        /// Of the best bid.
        BidDepth1: "bid_depth_1", Log, "levels=1", "ln(1 + quote notional)";
        /// Of the best ask.
        AskDepth1: "ask_depth_1", Log, "levels=1", "ln(1 + quote notional)";
        /// [`depth`] of five levels, both sides.
        Depth5: "depth_5", Log, "levels=5", "ln(1 + quote notional)";
        /// Of five bids.
        BidDepth5: "bid_depth_5", Log, "levels=5", "ln(1 + quote notional)";
        /// Of five asks.
        AskDepth5: "ask_depth_5", Log, "levels=5", "ln(1 + quote notional)";
        /// [`depth`] of ten levels, both sides.
        Depth10: "depth_10", Log, "levels=10", "ln(1 + quote notional)";
        /// Of ten bids.
        BidDepth10: "bid_depth_10", Log, "levels=10", "ln(1 + quote notional)";
        /// Of ten asks.
        AskDepth10: "ask_depth_10", Log, "levels=10", "ln(1 + quote notional)";
        /// [`depth_within`] five basis points of the mid.
        DepthWithin5: "depth_within_5bps", Log, "levels=10 reach_bps=5", "ln(1 + quote notional)";
        /// [`depth_within`] ten basis points of the mid.
        DepthWithin10: "depth_within_10bps", Log, "levels=10 reach_bps=10", "ln(1 + quote notional)";
        /// [`depth_within`] 25 basis points of the mid.
        DepthWithin25: "depth_within_25bps", Log, "levels=10 reach_bps=25", "ln(1 + quote notional)";
        /// Logarithm of [`slope`] of the bids.
        BidSlope: "bid_slope", Log, "levels=10", "after Naes, Skjeltorp (2006)";
        /// Logarithm of [`slope`] of the asks.
        AskSlope: "ask_slope", Log, "levels=10", "after Naes, Skjeltorp (2006)";
        /// `(bids - asks) / (bids + asks)` of [`slope`].
        SlopeImbalance: "slope_imbalance", Ratio, "levels=10", "after Naes, Skjeltorp (2006)";
        /// [`convexity`] of the bids.
        BidConvexity: "bid_convexity", Ratio, "levels=10", "1 - 2 * area under the depth curve";
        /// [`convexity`] of the asks.
        AskConvexity: "ask_convexity", Ratio, "levels=10", "1 - 2 * area under the depth curve";
        /// [`gap`] of the bids.
        BidGap: "bid_gap", Bps, "", "from the first to the second level";
        /// [`gap`] of the asks.
        AskGap: "ask_gap", Bps, "", "from the first to the second level";
        /// [`pressure`].
        Pressure: "book_pressure", Log, "levels=10", "log ratio of depths over their distance";
        /// [`spacing`] of the bids.
        BidSpacing: "bid_spacing", Log, "levels=10", "ln(ticks between neighbouring levels)";
        /// [`spacing`] of the asks.
        AskSpacing: "ask_spacing", Log, "levels=10", "ln(ticks between neighbouring levels)";
    }
}

/// The best levels of a live book with both sides, best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    bids: heapless::Vec<Level, LEVELS>,
    asks: heapless::Vec<Level, LEVELS>,
}

impl Top {
    /// `None` while the book is stale or one-sided.
    #[must_use]
    pub fn of(book: &Book) -> Option<Self> {
        let side = |side| book.levels(side).take(LEVELS).collect();
        let (bids, asks): (heapless::Vec<_, _>, heapless::Vec<_, _>) =
            (side(Side::Buy), side(Side::Sell));
        (!bids.is_empty() && !asks.is_empty()).then_some(Self { bids, asks })
    }

    /// Up to [`LEVELS`] levels of a side, at least one.
    #[must_use]
    pub fn side(&self, side: Side) -> &[Level] {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// The best bid.
    #[must_use]
    pub fn bid(&self) -> Level {
        self.bids[0]
    }

    /// The best ask.
    #[must_use]
    pub fn ask(&self) -> Level {
        self.asks[0]
    }

    /// Twice the mid price, exact.
    #[must_use]
    pub fn double_mid(&self) -> i64 {
        self.bid().price.0.saturating_add(self.ask().price.0)
    }

    /// The price step: the instrument's, where its table states one; else the largest that all
    /// levels are multiples of. At least 1.
    fn step(&self, instrument: &Instrument) -> i64 {
        if instrument.tick > 1 {
            return instrument.tick;
        }
        let prices = self.bids.iter().chain(&self.asks);
        prices
            .fold(0, |step, level| common_step(step, level.price.0))
            .max(1)
    }
}

/// The features of a book.
#[must_use]
pub fn read(view: &View<'_>) -> Values<{ BookFeature::COUNT }> {
    let (touch, ladder) = (Touch::of(view.top), Ladder::of(view.top));
    let step = view.top.step(view.instrument);
    let mut values = Values::UNKNOWN;
    values.set(BookFeature::Imbalance1, imbalance(&ladder, 1));
    values.set(BookFeature::Imbalance2, imbalance(&ladder, 2));
    values.set(BookFeature::Imbalance3, imbalance(&ladder, 3));
    values.set(BookFeature::Imbalance5, imbalance(&ladder, 5));
    values.set(BookFeature::Imbalance10, imbalance(&ladder, 10));
    values.set(
        BookFeature::WeightedMidDeviation,
        weighted_mid_deviation(&touch),
    );
    if touch.mid() <= 0.0 {
        // Dated futures have traded below zero. Nothing is relative to such a price.
        return values;
    }
    values.set(BookFeature::Spread, Some(spread(&touch)));
    values.set(BookFeature::SpreadTicks, Some(spread_ticks(&touch, step)));
    let sides = [Side::Buy, Side::Sell].map(|side| Shape::of(view.top, side, view.instrument));
    let depths = [
        (
            1,
            [
                BookFeature::Depth1,
                BookFeature::BidDepth1,
                BookFeature::AskDepth1,
            ],
        ),
        (
            5,
            [
                BookFeature::Depth5,
                BookFeature::BidDepth5,
                BookFeature::AskDepth5,
            ],
        ),
        (
            10,
            [
                BookFeature::Depth10,
                BookFeature::BidDepth10,
                BookFeature::AskDepth10,
            ],
        ),
    ];
    for (levels, [both, bid, ask]) in depths {
        let [bids, asks] = sides.each_ref().map(|side| side.depth(levels));
        values.set(both, Some(depth(bids + asks)));
        values.set(bid, Some(depth(bids)));
        values.set(ask, Some(depth(asks)));
    }
    let reaches = [
        (5.0, BookFeature::DepthWithin5),
        (10.0, BookFeature::DepthWithin10),
        (25.0, BookFeature::DepthWithin25),
    ];
    for (reach, row) in reaches {
        values.set(row, Some(depth_within(&sides, reach)));
    }
    values.set(BookFeature::NearImbalance, near_imbalance(&sides));
    values.set(BookFeature::Pressure, pressure(&sides));
    let slopes = sides.each_ref().map(slope);
    values.set(BookFeature::BidSlope, slopes[0].map(libm::log));
    values.set(BookFeature::AskSlope, slopes[1].map(libm::log));
    if let [Some(bids), Some(asks)] = slopes {
        values.set(
            BookFeature::SlopeImbalance,
            Some((bids - asks) / (bids + asks)),
        );
    }
    values.set(BookFeature::BidConvexity, convexity(&sides[0]));
    values.set(BookFeature::AskConvexity, convexity(&sides[1]));
    values.set(BookFeature::BidGap, gap(&sides[0]));
    values.set(BookFeature::AskGap, gap(&sides[1]));
    let spacing = |side| spacing(view.top.side(side), step);
    values.set(BookFeature::BidSpacing, spacing(Side::Buy));
    values.set(BookFeature::AskSpacing, spacing(Side::Sell));
    values
}

/// The best levels of both sides, in the instrument's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    bid: f64,
    ask: f64,
    bid_qty: f64,
    ask_qty: f64,
}

impl Touch {
    /// Of the best levels.
    #[must_use]
    pub fn of(top: &Top) -> Self {
        let (bid, ask) = (top.bid(), top.ask());
        Self {
            bid: bid.price.0 as f64,
            ask: ask.price.0 as f64,
            bid_qty: bid.qty.0 as f64,
            ask_qty: ask.qty.0 as f64,
        }
    }

    /// The mid price, in units of the instrument's price.
    #[must_use]
    pub fn mid(&self) -> f64 {
        f64::midpoint(self.bid, self.ask)
    }
}

/// Cumulated quantities of the best levels: entry `n` is the sum over the best `n + 1` levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    bids: [i64; LEVELS],
    asks: [i64; LEVELS],
}

impl Ladder {
    /// Of the best levels; a side with fewer repeats its total.
    #[must_use]
    pub fn of(top: &Top) -> Self {
        Self {
            bids: cumulate(top.side(Side::Buy).iter().copied()),
            asks: cumulate(top.side(Side::Sell).iter().copied()),
        }
    }
}

fn cumulate(levels: impl Iterator<Item = Level>) -> [i64; LEVELS] {
    let mut sums = [0; LEVELS];
    let (mut total, mut filled) = (0_i64, 0);
    levels.take(LEVELS).for_each(|level| {
        total = total.saturating_add(level.qty.0);
        sums[filled] = total;
        filled += 1;
    });
    sums[filled..].fill(total);
    sums
}

/// One side of the book by its distance from the mid. The mid must be positive.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    points: heapless::Vec<Point, LEVELS>,
}

/// A level.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    /// Basis points of the mid, from the mid outwards.
    distance: f64,
    qty: f64,
    /// Quantity of this level and the better ones.
    total: f64,
    /// In the quote currency.
    notional: f64,
}

impl Shape {
    /// Of one side.
    #[must_use]
    pub fn of(top: &Top, side: Side, instrument: &Instrument) -> Self {
        let mid = f64::midpoint(top.bid().price.0 as f64, top.ask().price.0 as f64);
        let (sign, unit) = (-side.sign() as f64, notional_unit(instrument));
        let mut total = 0.0;
        let points = top.side(side).iter().map(|level| {
            let (price, qty) = (level.price.0 as f64, level.qty.0 as f64);
            total += qty;
            Point {
                distance: sign * (price - mid) / mid * BPS,
                qty,
                total,
                notional: match instrument.kind {
                    Kind::Inverse => qty / unit,
                    _ => price * qty / unit,
                },
            }
        });
        Self {
            points: points.collect(),
        }
    }

    /// What its best levels hold, in the quote currency.
    fn depth(&self, levels: usize) -> f64 {
        self.points
            .iter()
            .take(levels)
            .map(|point| point.notional)
            .sum()
    }
}

/// Units of price times quantity in one of the quote currency; of an inverse contract, whose quantity
/// is money already, units of quantity.
fn notional_unit(instrument: &Instrument) -> f64 {
    let qty = pow10(instrument.qty_scale) as f64;
    match instrument.kind {
        Kind::Inverse => qty,
        _ => qty * pow10(instrument.price_scale) as f64,
    }
}

/// Order-book imbalance over the best `levels` levels: `(bids - asks) / (bids + asks)` of their
/// quantities, in `[-1, 1]`. A side with fewer levels counts with what it has.
///
/// Source: Cao, Hansch and Wang, "The information content of an open limit-order book", Journal of
/// Futures Markets 29 (2009); the one-level form in Cartea, Jaimungal and Penalva (2015), 3.5.
#[must_use]
pub fn imbalance(ladder: &Ladder, levels: usize) -> Option<f64> {
    let (bids, asks) = (ladder.bids[levels - 1], ladder.asks[levels - 1]);
    let total = bids as f64 + asks as f64;
    (total > 0.0).then(|| (bids as f64 - asks as f64) / total)
}

/// The distance, in basis points, over which a level's weight in [`near_imbalance`] falls to `1/e`.
const NEAR_BPS: f64 = 5.0;

/// The imbalance of ten levels, each weighted by `exp(-d / 5)`, `d` being its distance from the best
/// of its side in basis points of the mid: what stands far away counts less, whatever the tick.
#[must_use]
pub fn near_imbalance(sides: &[Shape; 2]) -> Option<f64> {
    let [bids, asks] = sides.each_ref().map(|side| {
        let best = side.points.first().map_or(0.0, |point| point.distance);
        let weighted = |point: &Point| point.qty * libm::exp((best - point.distance) / NEAR_BPS);
        side.points.iter().map(weighted).sum::<f64>()
    });
    (bids + asks > 0.0).then(|| (bids - asks) / (bids + asks))
}

/// How far the quantity-weighted mid `(a·Pb + b·Pa) / (a + b)` lies above the mid, in basis points;
/// `a` and `b` are the quantities at the ask `Pa` and the bid `Pb`.
///
/// Source: Stoikov, "The micro-price", Quantitative Finance 18 (2018), the weighted mid-price.
#[must_use]
pub fn weighted_mid_deviation(touch: &Touch) -> Option<f64> {
    let total = touch.bid_qty + touch.ask_qty;
    let weighted = (touch.ask_qty * touch.bid + touch.bid_qty * touch.ask) / total;
    (total > 0.0 && touch.mid() > 0.0).then(|| (weighted / touch.mid() - 1.0) * BPS)
}

/// The quoted spread in basis points of the mid.
#[must_use]
pub fn spread(touch: &Touch) -> f64 {
    (touch.ask - touch.bid) / touch.mid() * BPS
}

/// The quoted spread in price steps: the instrument's, or, where it states none, the largest step
/// that all levels shown are multiples of.
#[must_use]
pub fn spread_ticks(touch: &Touch, step: i64) -> f64 {
    (touch.ask - touch.bid) / step as f64
}

/// A depth of so much of the quote currency as the table shows it: `ln(1 + notional)`, so that
/// nothing is zero.
#[must_use]
pub fn depth(notional: f64) -> f64 {
    libm::log1p(notional.max(0.0))
}

/// The [`depth`] of both sides within so many basis points of the mid. Ten levels are looked at: when
/// they end nearer, the value is that of all of them, and a lower bound.
#[must_use]
pub fn depth_within(sides: &[Shape; 2], reach_bps: f64) -> f64 {
    let points = sides.iter().flat_map(|side| &side.points);
    let inside = points.filter(|point| point.distance <= reach_bps);
    depth(inside.map(|point| point.notional).sum())
}

/// How fast a side fills with the distance from the mid: the least-squares slope of the share of the
/// shown quantity that lies within a distance, on the distance, over the levels shown; shares per
/// basis point. Unknown with fewer than two levels.
///
/// Source: the slope of Næs and Skjeltorp, "Order book characteristics and the volume–volatility
/// relation", Journal of Financial Markets 9 (2006), which averages the steps of the same
/// curve; a regression on shares depends less on the first step, and on no unit of quantity.
#[must_use]
pub fn slope(side: &Shape) -> Option<f64> {
    let points = &side.points;
    let (count, shown) = (points.len() as f64, points.last()?.total);
    let mean_distance = points.iter().map(|point| point.distance).sum::<f64>() / count;
    let mean_total = points.iter().map(|point| point.total).sum::<f64>() / count;
    let (mut joint, mut square) = (0.0, 0.0);
    for point in points {
        let distance = point.distance - mean_distance;
        joint += distance * (point.total - mean_total);
        square += distance * distance;
    }
    (joint > 0.0 && square > 0.0 && shown > 0.0).then(|| joint / square / shown)
}

/// How the shown quantity is spread over the shown distance: 1 less twice the area under the curve of
/// cumulated quantity, both axes running from 0 at the best level to 1 at the last. Near 1 most lies
/// at the far end, near -1 right behind the best level; 0 is an even spread. Unknown with fewer than
/// three levels.
///
/// Source: the area measure of Gini's coefficient, with the depth curve in place of Lorenz's.
#[must_use]
pub fn convexity(side: &Shape) -> Option<f64> {
    let (first, last) = (side.points.first()?, side.points.last()?);
    let (width, height) = (last.distance - first.distance, last.total - first.total);
    let pairs = side.points.iter().zip(side.points.iter().skip(1));
    let area: f64 = pairs
        .map(|(near, far)| {
            let mean = f64::midpoint(near.total, far.total) - first.total;
            (far.distance - near.distance) * mean
        })
        .sum();
    (side.points.len() > 2 && width > 0.0 && height > 0.0)
        .then(|| 1.0 - 2.0 * area / (width * height))
}

/// From the best level of a side to the second, in basis points of the mid; unknown with one level.
#[must_use]
pub fn gap(side: &Shape) -> Option<f64> {
    match side.points.as_slice() {
        [first, second, ..] => Some(second.distance - first.distance),
        _ => None,
    }
}

/// How much more presses on the mid from below than from above: the logarithm of the ratio of bids to
/// asks, each level's quantity divided by its distance from the mid. Unknown when a side holds
/// nothing, or touches the mid.
#[must_use]
pub fn pressure(sides: &[Shape; 2]) -> Option<f64> {
    let touches = |side: &Shape| side.points.first().is_none_or(|best| best.distance <= 0.0);
    if sides.iter().any(touches) {
        return None;
    }
    let [bids, asks] = sides.each_ref().map(|side| {
        let weighted = side.points.iter().map(|point| point.qty / point.distance);
        weighted.sum::<f64>()
    });
    (bids > 0.0 && asks > 0.0).then(|| libm::log(bids / asks))
}

/// How sparse a side is: the logarithm of the mean distance of neighbouring levels, in price steps; 0
/// when every price has a level. Unknown with one level.
#[must_use]
pub fn spacing(levels: &[Level], step: i64) -> Option<f64> {
    let [first, .., last] = levels else {
        return None;
    };
    let span = (first.price.0 as f64 - last.price.0 as f64).abs();
    (span > 0.0).then(|| libm::log(span / step as f64 / (levels.len() - 1) as f64))
}

#[cfg(test)]
impl Top {
    /// Of prices and quantities, best first.
    pub(super) fn sample(bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Self {
        let side = |levels: &[(i64, i64)]| {
            let level = |(price, qty): &(i64, i64)| Level {
                price: crate::num::Price(*price),
                qty: crate::num::Qty(*qty),
            };
            levels.iter().map(level).collect()
        };
        Self {
            bids: side(bids),
            asks: side(asks),
        }
    }

    /// What features read from.
    pub(super) fn view<'a>(
        &'a self,
        instrument: &'a Instrument,
        at: crate::time::Time,
    ) -> View<'a> {
        View {
            top: self,
            instrument,
            cross: None,
            funding: None,
            received: at,
            lag_ns: 0,
            at,
        }
    }
}

#[cfg(test)]
pub(super) fn sample_instrument() -> Instrument {
    Instrument {
        price_scale: 2,
        qty_scale: 0,
        tick: 100,
        ..Instrument::unknown(crate::instrument::Venue::Kraken, "A").expect("short")
    }
}

#[cfg(test)]
mod tests;
