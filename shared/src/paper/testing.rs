//! A small market for tests: one instrument, one row-by-row book, one paper venue.

use alloc::vec::Vec;

use super::depth::{Depth, Rows};
use super::latency::Latency;
use super::queue::{Exponent, QueueModel};
use super::venue::{Market, Rules, Surcharge, Terms, Venue};
use crate::event::{Side, Trade};
use crate::instrument::{self, Instrument, InstrumentId};
use crate::num::{Cash, Price, Qty};
use crate::order::{Fill, Kind, Order, OrderId, Outcome, Reason, Report, Request, TimeInForce};
use crate::time::Time;

pub(super) const ID: InstrumentId = InstrumentId(3);
pub(super) const DIALECT: instrument::Venue = instrument::Venue::Binance;

/// Every effect on.
pub(super) const REALISTIC: Rules = Rules {
    queue: QueueModel::Power3(Exponent::whole(3)),
    queue_position: true,
    partial_fills: true,
    shared_volume: true,
    consumption_ns: 1_000,
    fees: true,
    latency: true,
    void_on_gap: false,
};

pub(super) struct World {
    pub(super) venue: Venue,
    pub(super) book: Rows,
    pub(super) instrument: Instrument,
    pub(super) terms: Terms,
    pub(super) surcharge: i64,
    pub(super) average_trade: Qty,
    pub(super) now: u64,
    pub(super) next_id: u64,
}

impl World {
    /// A market without a book and without latency, whose time starts at 1,000.
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            venue: Venue::new(7),
            book: Rows::new(),
            instrument: Instrument {
                price_scale: 2,
                qty_scale: 2,
                ..Instrument::unknown(DIALECT, "T").expect("short")
            },
            terms: Terms {
                maker_fee_ppm: -100,
                taker_fee_ppm: 1_000,
                latency: Latency::Constant {
                    entry_ns: 0,
                    response_ns: 0,
                },
                rules,
            },
            surcharge: 0,
            average_trade: Qty(0),
            now: 1_000,
            next_id: 0,
        }
    }

    /// With bids 100, 99, 98 and asks 101, 102, 103 of these quantities.
    pub(super) fn with_book(rules: Rules, bids: [i64; 3], asks: [i64; 3]) -> Self {
        let mut world = Self::new(rules);
        for (step, (bid, ask)) in bids.into_iter().zip(asks).enumerate() {
            let step = i64::try_from(step).expect("small");
            world.book.update(Side::Buy, Price(100 - step), Qty(bid));
            world.book.update(Side::Sell, Price(101 + step), Qty(ask));
        }
        world
    }

    pub(super) fn at(&self) -> Time {
        Time(self.now)
    }

    /// Calls with the venue and the market that it meets.
    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut Venue, &Market<'_>, Time) -> T) -> T {
        let surcharge = Cash(self.surcharge);
        let market = Market {
            depth: Depth::Rows(&self.book),
            instrument: &self.instrument,
            terms: &self.terms,
            impact: Surcharge::Fixed(surcharge),
            average_trade: self.average_trade,
        };
        act(&mut self.venue, &market, Time(self.now))
    }

    /// One row of the book.
    pub(super) fn row(&mut self, side: Side, price: i64, qty: i64) {
        self.now += 1;
        self.arrive();
        let change = self.book.update(side, Price(price), Qty(qty));
        self.with(|venue, market, at| {
            venue.level(ID, &change, &market.terms.rules, market.instrument, at);
            venue.touched(ID, market, at);
        });
    }

    pub(super) fn trade(&mut self, aggressor: Side, price: i64, qty: i64) {
        self.now += 1;
        self.arrive();
        let trade = Trade {
            id: 0,
            price: Price(price),
            qty: Qty(qty),
            aggressor,
        };
        self.with(|venue, market, at| venue.trade(ID, &trade, market, at));
    }

    pub(super) fn order(&mut self, side: Side, qty: i64, kind: Kind, tif: TimeInForce) -> Order {
        self.next_id += 1;
        Order {
            id: OrderId(self.next_id),
            instrument: ID,
            side,
            qty: Qty(qty),
            kind,
            time_in_force: tif,
            sent: self.at(),
            sent_double_mid: Depth::Rows(&self.book).double_mid(),
            reason: Reason::Decision,
        }
    }

    /// Sends a request, which meets the book as soon as its latency allows.
    pub(super) fn request(&mut self, request: Request) -> Result<(), Report> {
        let (now, terms) = (self.at(), self.terms.clone());
        self.venue.submit(request, now, &terms, DIALECT)
    }

    pub(super) fn arrive(&mut self) {
        let before = self.at();
        self.with(|venue, market, _| venue.arrive(before, |_| Some(*market)));
    }

    /// Sends an order without latency and gives what the venue said at once.
    pub(super) fn send(
        &mut self,
        side: Side,
        qty: i64,
        price: Option<i64>,
        tif: TimeInForce,
    ) -> Vec<Outcome> {
        let kind = price.map_or(Kind::Market, |price| Kind::Limit(Price(price)));
        let order = self.order(side, qty, kind, tif);
        self.request(Request::New(order)).expect("room");
        self.now += 1;
        self.arrive();
        self.told()
    }

    pub(super) fn buy(&mut self, qty: i64, price: i64) -> Vec<Outcome> {
        self.send(Side::Buy, qty, Some(price), TimeInForce::Gtc)
    }

    /// What is known now and was not told before; each is heard.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while let Some(report) = self.venue.poll(self.at()) {
            self.venue.heard(&report);
            reports.push(report);
        }
        reports
    }

    pub(super) fn told(&mut self) -> Vec<Outcome> {
        self.reports()
            .into_iter()
            .map(|report| report.outcome)
            .collect()
    }

    /// The fills that are known now: order, quantity.
    pub(super) fn fills(&mut self) -> Vec<(u64, i64)> {
        let fill = |report: Report| match report.outcome {
            Outcome::Filled(fill) => Some((report.order.0, fill.qty.0)),
            _ => None,
        };
        self.reports().into_iter().filter_map(fill).collect()
    }
}

pub(super) fn filled(outcomes: &[Outcome]) -> Fill {
    let fill = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Filled(fill) => Some(*fill),
        _ => None,
    });
    fill.expect("filled")
}
