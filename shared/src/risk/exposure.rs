//! The caps on what may be held: what an order may be at most, given everything held and ordered.
//!
//! An open order counts as filled. What is worst of an instrument is the larger of its position with
//! all its buys and with all its sells filled; all worsts are taken together.

use super::gate::{Account, Denial, Held};
use super::limits::Limits;
use crate::event::Side;
use crate::instrument::{Instrument, Kind, Venue};
use crate::num::{BPS, Cash, Price, Qty, affordable, notional, saturate};

use serde::{Deserialize, Serialize};

/// What the gate must know of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) venue: Venue,
    pub(super) kind: Kind,
    price_scale: u8,
    qty_scale: u8,
    pub(super) lot: i64,
    /// Its sector among the limits; `None`: a sector without a cap, which holds nothing.
    pub(super) sector: Option<u8>,
}

impl Facts {
    pub(super) fn new(instrument: &Instrument, limits: &Limits) -> Self {
        let sector = limits.sectors.of(&instrument.base);
        Self {
            venue: instrument.venue,
            kind: instrument.kind,
            price_scale: instrument.price_scale,
            qty_scale: instrument.qty_scale,
            lot: instrument.lot.max(1),
            sector: sector.and_then(|place| u8::try_from(place).ok()),
        }
    }

    pub(super) fn value(&self, price: Price, qty: i64) -> Cash {
        notional(price, Qty(qty), self.price_scale, self.qty_scale)
    }

    pub(super) fn affordable(&self, cash: i128, price: Price) -> i64 {
        affordable(
            Cash(saturate(cash)),
            price,
            self.price_scale,
            self.qty_scale,
        )
        .0
    }

    /// Whether funding is paid for holding it.
    pub(super) const fn is_perpetual(&self) -> bool {
        matches!(self.kind, Kind::Perpetual | Kind::Inverse)
    }

    /// The quantity in whole lots.
    pub(super) const fn lots(&self, qty: i64) -> i64 {
        qty - qty % self.lot
    }
}

/// What an instrument is worth when its open orders have filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Worth {
    /// With all buys filled; negative when still short.
    pub(super) bought: i64,
    /// With all sells filled; negative when short.
    pub(super) sold: i64,
    /// What the open buys cost.
    pub(super) buys: i64,
}

impl Worth {
    /// `None` when there is something to value and no price.
    pub(super) fn of(held: &Held, ask: Price, facts: &Facts) -> Option<Self> {
        let (qty, buying, selling) = (held.qty.0, held.buying.0, held.selling.0);
        if qty == 0 && buying == 0 && selling == 0 {
            return Some(Self::default());
        }
        if ask.0 <= 0 {
            return None;
        }
        let now = facts.value(ask, qty).0;
        let with = |change: i64| match change {
            0 => now,
            _ => facts.value(ask, qty.saturating_add(change)).0,
        };
        Some(Self {
            bought: with(buying),
            sold: with(-selling),
            buys: if buying == 0 {
                0
            } else {
                facts.value(ask, buying).0
            },
        })
    }

    /// The larger magnitude.
    pub(super) const fn worst(self) -> i64 {
        let (bought, sold) = (self.bought.saturating_abs(), self.sold.saturating_abs());
        if bought > sold { bought } else { sold }
    }
}

/// What the caps of one instrument's order compare. Heat is in basis points times [`Cash`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) gross: i128,
    /// All buys filled: what is long less what is short.
    pub(super) long: i128,
    /// All sells filled: what is short less what is long.
    pub(super) short: i128,
    pub(super) sector: i128,
    pub(super) group: i128,
    pub(super) heat: i128,
    pub(super) buys: i128,
    pub(super) own: Worth,
}

/// What the totals are taken over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Books<'a> {
    pub(super) facts: &'a [Facts],
    /// By instrument, the group it belongs to.
    pub(super) groups: &'a [u16],
    /// By instrument, the distance to its stop in basis points.
    pub(super) stops: &'a [i64],
}

impl Books<'_> {
    /// The totals around one instrument; `None` when something held or ordered has no price.
    /// Each is valued at its newest ask, `own` at this one.
    pub(super) fn totals(&self, account: &Account<'_>, own: usize, ask: Price) -> Option<Totals> {
        let mut totals = Totals::default();
        let (sector, group) = (self.facts[own].sector, self.groups[own]);
        let places = account.held.iter().zip(self.facts);
        for (place, (held, facts)) in places.enumerate() {
            let price = if place == own { ask } else { held.ask };
            let worth = Worth::of(held, price, facts)?;
            let worst = i128::from(worth.worst());
            totals.gross += worst;
            totals.long += i128::from(worth.bought);
            totals.short -= i128::from(worth.sold);
            totals.buys += i128::from(worth.buys);
            totals.heat += worst * i128::from(self.stops[place]);
            if facts.sector == sector {
                totals.sector += worst;
            }
            if self.groups[place] == group {
                totals.group += worst;
            }
            if place == own {
                totals.own = worth;
            }
        }
        Some(totals)
    }
}

/// A cap that an order meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) denial: Denial,
    /// The quantity that it leaves for the order; negative when there is none.
    pub(super) qty: i64,
    /// The account is beyond it already, by more than is tolerated.
    pub(super) breached: bool,
}

/// An order against the caps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    pub(super) facts: &'a Facts,
    pub(super) held: &'a Held,
    pub(super) side: Side,
    /// What a buy may cost at most, per unit.
    pub(super) price: Price,
    pub(super) ask: Price,
    pub(super) stop_bps: i64,
}

/// The tightest cap for an order that adds risk.
pub(super) fn tightest(
    limits: &Limits,
    account: &Account<'_>,
    totals: &Totals,
    order: &Order<'_>,
) -> Bound {
    let equity = i128::from(account.equity.0.max(0));
    let share = |bps: i64| equity * i128::from(bps) / i128::from(BPS);
    let own = i128::from(totals.own.worst());
    let stop = i128::from(order.stop_bps.max(1));
    let sector_bps = order
        .facts
        .sector
        .and_then(|place| limits.sectors.caps.get(usize::from(place)))
        .map_or(0, |sector| sector.cap_bps);
    let heat = equity * i128::from(limits.heat_cap_bps);
    let net = match order.side {
        Side::Buy => (totals.long, i128::from(totals.own.bought)),
        Side::Sell => (totals.short, -i128::from(totals.own.sold)),
    };
    let free = share(BPS - limits.cash_reserve_bps);
    // Each: the denial, the total now, its limit, and what the instrument may be worth at most.
    let caps = [
        cap(
            Denial::PositionCap,
            own,
            share(limits.position_cap_bps),
            own,
        ),
        cap(Denial::SectorCap, totals.sector, share(sector_bps), own),
        cap(
            Denial::CorrelatedCap,
            totals.group,
            share(limits.correlated_cap_bps),
            own,
        ),
        cap(
            Denial::GrossCap,
            totals.gross,
            share(limits.gross_cap_bps),
            own,
        ),
        cap(Denial::CashReserve, totals.gross, free, own),
        cap(
            Denial::Exposure,
            net.0,
            share(limits.exposure_cap_bps),
            net.1,
        ),
        (
            Denial::Heat,
            totals.heat,
            heat,
            (heat - totals.heat + own * stop).div_euclid(stop),
        ),
    ];
    let (held, sign) = (order.held, order.side.sign());
    let (pending, other) = match order.side {
        Side::Buy => (held.buying.0, totals.own.sold),
        Side::Sell => (held.selling.0, totals.own.bought),
    };
    // What the position is, in the order's direction, when the side's open orders have filled.
    let before = sign.saturating_mul(held.qty.0).saturating_add(pending);
    let tolerance = i128::from(BPS + limits.breach_tolerance_bps);
    let mut tight = Bound {
        denial: Denial::TooSmall,
        qty: i64::MAX,
        breached: false,
    };
    for (denial, total, limit, room) in caps {
        // The instrument's other direction counts as well, but not towards the net.
        let blocked = denial != Denial::Exposure && i128::from(other.saturating_abs()) > room;
        let qty = if blocked || room < 0 {
            -1
        } else {
            order
                .facts
                .affordable(room, order.ask)
                .saturating_sub(before)
        };
        if qty < tight.qty {
            let breached = total * i128::from(BPS) > limit * tolerance;
            tight = Bound {
                denial,
                qty,
                breached,
            };
        }
    }
    if order.side == Side::Buy {
        let reserve = share(limits.cash_reserve_bps);
        let spent = totals.buys - i128::from(totals.own.buys);
        let room = i128::from(account.cash.0) - reserve - spent;
        let qty = order
            .facts
            .affordable(room, order.price)
            .saturating_sub(pending);
        if qty < tight.qty {
            let left = i128::from(account.cash.0) - totals.buys;
            let tolerated = i128::from(BPS - limits.breach_tolerance_bps);
            tight = Bound {
                denial: Denial::CashReserve,
                qty,
                breached: left * i128::from(BPS) < reserve * tolerated,
            };
        }
    }
    tight
}

const fn cap(denial: Denial, total: i128, limit: i128, part: i128) -> (Denial, i128, i128, i128) {
    (denial, total, limit, limit - total + part)
}
