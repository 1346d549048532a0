//! How an order and the book, or resting orders and a trade, match: prices, quantities and money.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::consumption::Consumption;
use super::depth::Depth;
use super::queue::base_units;
use super::venue::{Market, Resting, Rules};
use crate::attribution::Split;
use crate::event::{Side, Trade};
use crate::instrument::Instrument;
use crate::num::{CASH_SCALE, Cash, Price, Qty, div_round, notional, saturate};
use crate::order::{Fill, Kind, Order};
use crate::time::Time;

/// Whether a limit reaches a price of the other side.
#[must_use]
pub const fn crosses(side: Side, limit: Price, other: Price) -> bool {
    side.sign() * (limit.0 - other.0) >= 0
}

/// The mid prices, doubled, that a fill's money is counted between; 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mids {
    /// When the order was sent.
    pub sent: i64,
    /// When it reached the venue.
    pub arrival: i64,
    /// When it traded.
    pub fill: i64,
}

/// Where the money of one fill went: [`Split::of`] the amounts at each mid price. One that is not known
/// is taken to be the next one known in the chain.
#[must_use]
pub fn split(
    side: Side,
    qty: Qty,
    mids: Mids,
    touch: Price,
    paid: Cash,
    instrument: &Instrument,
) -> Split {
    let worth = |price: i64| {
        let (price_scale, qty_scale) = (instrument.price_scale, instrument.qty_scale);
        notional(Price(price), qty, price_scale, qty_scale)
    };
    let touch = worth(touch.0);
    let mid = |double: i64, next: Cash| match double {
        0 => next,
        _ => Cash(div_round(i128::from(worth(double).0), 2)),
    };
    let fill = mid(mids.fill, touch);
    let arrival = mid(mids.arrival, fill);
    let decided = mid(mids.sent, arrival);
    Split::of(side, decided, arrival, fill, touch, paid)
}

/// The fee on an amount in millionths of it, rounded up: against us when it is paid, and toward zero
/// when it is a rebate.
#[must_use]
pub fn fee(notional: Cash, ppm: i32) -> Cash {
    const PARTS: i128 = 1_000_000;
    let product = i128::from(notional.0) * i128::from(ppm);
    Cash(saturate(-(-product).div_euclid(PARTS)))
}

/// A sum of price times quantity as money, rounded to nearest once.
pub(crate) fn money(sum: i128, instrument: &Instrument) -> Cash {
    let scale =
        i32::from(instrument.price_scale) + i32::from(instrument.qty_scale) - i32::from(CASH_SCALE);
    let factor = 10_i128.pow(scale.unsigned_abs());
    Cash(if scale >= 0 {
        div_round(sum, factor)
    } else {
        saturate(sum.saturating_mul(factor))
    })
}

/// What an order takes from the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taking {
    /// How much.
    pub(super) qty: Qty,
    /// The sum of price times quantity.
    pub(super) cost: Cash,
    /// The best price of the other side, taken or not.
    pub(super) touch: Price,
    /// The worst price.
    pub(super) worst: Price,
}

/// What an order of a side can take, no worse than its limit. Nothing changes: see [`consume`].
pub(super) fn take(
    side: Side,
    qty: Qty,
    limit: Option<Price>,
    market: &Market<'_>,
    consumption: &Consumption,
    at: Time,
) -> Option<Taking> {
    let rules = &market.terms.rules;
    let best = market.depth.best(side.opposite())?;
    let mut taking = Taking {
        qty: Qty(0),
        cost: Cash::ZERO,
        touch: best.price,
        worst: best.price,
    };
    let mut sum = 0_i128;
    if !rules.partial_fills {
        if limit.is_none_or(|limit| crosses(side, limit, best.price)) {
            taking.qty = qty;
            sum = i128::from(best.price.0) * i128::from(qty.0);
        }
    } else {
        let lot = market.instrument.lot.max(1);
        for (price, available) in available(side, limit, &market.depth, consumption, rules, at) {
            let left = qty.0 - taking.qty.0;
            let taken = left.min(available.0 - available.0 % lot);
            if left == 0 {
                break;
            }
            if taken > 0 {
                taking.qty.0 += taken;
                taking.worst = price;
                sum += i128::from(price.0) * i128::from(taken);
            }
        }
    }
    taking.cost = money(sum, market.instrument);
    Some(taking)
}

/// What an order would get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// How much.
    pub qty: Qty,
    /// What it pays or gets, with the surcharge for its impact, without its fee.
    pub notional: Cash,
    /// Its fee.
    pub fee: Cash,
}

impl Quoted {
    /// Nothing.
    pub const NOTHING: Self = Self {
        qty: Qty(0),
        notional: Cash::ZERO,
        fee: Cash::ZERO,
    };
}

/// What an order that takes at once or not at all would get of a market of which nothing of ours was
/// taken, no worse than its limit. Nothing changes.
#[must_use]
pub fn quoted(side: Side, qty: Qty, limit: Price, market: &Market<'_>, at: Time) -> Quoted {
    let untouched = Consumption::default();
    let taking = take(side, qty, Some(limit), market, &untouched, at);
    let Some(taking) = taking.filter(|taking| taking.qty.0 > 0) else {
        return Quoted::NOTHING;
    };
    let surcharge = surcharge(side, taking.qty, taking.cost, taking.touch, market);
    let notional = match side {
        Side::Buy => taking.cost + surcharge,
        Side::Sell => (taking.cost - surcharge).max(Cash::ZERO),
    };
    let fee = if market.terms.rules.fees {
        fee(notional, market.terms.taker_fee_ppm)
    } else {
        Cash::ZERO
    };
    Quoted {
        qty: taking.qty,
        notional,
        fee,
    }
}

/// What a taking order pays on top of its levels.
fn surcharge(side: Side, qty: Qty, cost: Cash, touch: Price, market: &Market<'_>) -> Cash {
    let instrument = market.instrument;
    let at_touch = notional(touch, qty, instrument.price_scale, instrument.qty_scale);
    let walked = match side {
        Side::Buy => cost - at_touch,
        Side::Sell => at_touch - cost,
    };
    let surcharge = market.impact.amount(side, qty, touch, walked, instrument);
    surcharge.max(Cash::ZERO)
}

/// Remembers that an order took so much of the levels.
pub(super) fn consume(
    side: Side,
    qty: Qty,
    limit: Option<Price>,
    market: &Market<'_>,
    consumption: &mut Consumption,
    at: Time,
) {
    let rules = &market.terms.rules;
    if rules.consumption_ns == 0 || !rules.partial_fills {
        return;
    }
    let lot = market.instrument.lot.max(1);
    let mut left = qty.0;
    for level in market.depth.levels(side.opposite()) {
        if left == 0 || limit.is_some_and(|limit| !crosses(side, limit, level.price)) {
            return;
        }
        let (other, period) = (side.opposite(), rules.consumption_ns);
        let available = consumption.available(other, level.price, level.qty, at, period);
        let taken = left.min(available.0 - available.0 % lot);
        consumption.take(other, level.price, Qty(taken), at, period);
        left -= taken;
    }
}

/// The levels within a limit and what is available of each, best first.
fn available<'a>(
    side: Side,
    limit: Option<Price>,
    depth: &Depth<'a>,
    consumption: &'a Consumption,
    rules: &'a Rules,
    at: Time,
) -> impl Iterator<Item = (Price, Qty)> + use<'a> {
    let other = side.opposite();
    let levels = depth.levels(other);
    let within =
        levels.take_while(move |level| limit.is_none_or(|limit| crosses(side, limit, level.price)));
    within.map(move |level| {
        let period = rules.consumption_ns;
        let qty = consumption.available(other, level.price, level.qty, at, period);
        (level.price, qty)
    })
}

/// What a trade or a touch gives to one resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Its place among the orders that rest.
    pub(super) place: usize,
    /// How much.
    pub(super) qty: Qty,
}

/// Room to work in, kept so that nothing is allocated for an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scratch {
    /// Orders that are looked at, by place.
    places: Vec<usize>,
    /// What they are given, at most once each.
    pub(super) shares: Vec<Share>,
}

impl Scratch {
    /// Makes room for so many orders.
    pub(super) fn reserve(&mut self, orders: usize) {
        self.places.reserve(orders);
        self.shares.reserve(orders);
    }

    /// Takes the orders of a side that a price reaches: best price first, then first come.
    pub(super) fn reach(&mut self, resting: &[Resting], side: Side, price: Price) {
        let reached = |place: &usize| {
            let order = &resting[*place];
            order.order.side == side && crosses(side, order.limit(), price)
        };
        self.places.clear();
        self.places.extend((0..resting.len()).filter(reached));
        self.places
            .sort_unstable_by_key(|place| (-side.sign() * resting[*place].limit().0, *place));
    }

    /// The next order that was reached.
    pub(super) fn next(&mut self, turn: &mut usize) -> Option<usize> {
        let place = self.places.get(*turn).copied();
        *turn += 1;
        place
    }

    /// Nothing is left of an event.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.shares.clear();
    }
}

/// What a trade gives to the orders that rest on the side that it hit, best price first, then first
/// come, and how it moves their queues.
pub(super) fn share(
    resting: &mut [Resting],
    trade: &Trade,
    market: &Market<'_>,
    scratch: &mut Scratch,
) {
    let rules = &market.terms.rules;
    let side = trade.aggressor.opposite();
    let scale = market.instrument.qty_scale;
    let lot = market.instrument.lot.max(1);
    let volume = base_units(trade.qty, scale);
    let mut budget = trade.qty.0.max(0);
    scratch.reach(resting, side, trade.price);
    let mut turn = 0;
    while let Some(place) = scratch.next(&mut turn) {
        let order = &mut resting[place];
        let limit = order.limit();
        let passing = if rules.shared_volume {
            budget
        } else {
            trade.qty.0.max(0)
        };
        let most = if rules.partial_fills {
            order.left.0.min(passing - passing % lot)
        } else {
            order.left.0
        };
        let qty = if limit == trade.price {
            order.queue.trade(volume, base_units(Qty(passing), scale));
            if rules.partial_fills {
                order.queue.bound();
            }
            let lots = order.queue.passed(base_units(Qty(lot), scale));
            if rules.partial_fills {
                order.queue.bound();
                most.min(lots.saturating_mul(lot))
            } else {
                if lots > 0 { most } else { 0 }
            }
        } else {
            // The trade went through its price, so that nothing can be ahead of it.
            if rules.partial_fills {
                order.queue = super::queue::Position::behind(0.0);
            }
            most
        };
        if qty > 0 {
            budget = (budget - qty).max(0);
            scratch.shares.push(Share {
                place,
                qty: Qty(qty),
            });
        }
    }
}

/// A trade of ours, before it is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Execution<'a> {
    pub(super) order: &'a Order,
    pub(super) qty: Qty,
    /// What is open after it.
    pub(super) left: Qty,
    /// What the levels cost, or the limit.
    pub(super) cost: Cash,
    pub(super) touch: Price,
    pub(super) worst: Price,
    /// Twice the mid price when the order reached the venue.
    pub(super) arrival: i64,
    /// How it rested, when it did.
    pub(super) rested: Option<Rested>,
}

/// How an order rested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rested {
    pub(super) spanned_gap: bool,
    pub(super) joined_ahead: Qty,
}

impl Execution<'_> {
    /// With its impact, fee and attribution.
    pub(super) fn fill(&self, market: &Market<'_>) -> Fill {
        let (terms, instrument) = (market.terms, market.instrument);
        let side = self.order.side;
        let notional = match (self.rested, side) {
            (Some(_), _) => self.cost,
            (None, Side::Buy) => self.cost + self.surcharge(market),
            (None, Side::Sell) => {
                let got = self.cost - self.surcharge(market);
                got.max(Cash::ZERO)
            }
        };
        let ppm = match self.rested {
            Some(_) => terms.maker_fee_ppm,
            None => terms.taker_fee_ppm,
        };
        let mids = Mids {
            sent: self.order.sent_double_mid,
            arrival: self.arrival,
            fill: market.depth.double_mid(),
        };
        let ahead = self.rested.map_or(0, |rested| rested.joined_ahead.0);
        let orders = match market.average_trade.0 {
            1.. => ahead / market.average_trade.0,
            _ => 0,
        };
        Fill {
            side,
            qty: self.qty,
            left: self.left,
            notional,
            worst: self.worst,
            fee: if terms.rules.fees {
                fee(notional, ppm)
            } else {
                Cash::ZERO
            },
            maker: self.rested.is_some(),
            synthetic: market.depth.is_synthetic(),
            spanned_gap: self.rested.is_some_and(|rested| rested.spanned_gap),
            queue_orders: u32::try_from(orders).unwrap_or(u32::MAX),
            split: split(side, self.qty, mids, self.touch, notional, instrument),
        }
    }

    fn surcharge(&self, market: &Market<'_>) -> Cash {
        surcharge(self.order.side, self.qty, self.cost, self.touch, market)
    }
}

/// The limit of an order; `None` for a market order.
pub(super) const fn limit(order: &Order) -> Option<Price> {
    match order.kind {
        Kind::Market => None,
        Kind::Limit(price) => Some(price),
    }
}

/// Whether an order's price and quantity are positive multiples of tick and lot.
pub(super) fn well_formed(kind: Kind, qty: Qty, instrument: &Instrument) -> bool {
    let multiple = |value: i64, step: i64| value > 0 && value % step.max(1) == 0;
    multiple(qty.0, instrument.lot)
        && match kind {
            Kind::Market => true,
            Kind::Limit(price) => multiple(price.0, instrument.tick),
        }
}
