//! What happens at the venue's counter: orders come to the book, are changed, and trade.

use super::matching::{self, Execution, Rested, Share, crosses};
use super::queue::Position;
use super::venue::{Market, Moment, Post, Resting, Shelf, signed};
use crate::event::Side;
use crate::num::{Price, Qty, notional};
use crate::order::{Expiry, Kind, Order, Outcome, Reject, TimeInForce, VoidCause};
use crate::time::Time;

/// An instrument's side of the venue while something happens there.
pub(super) struct Counter<'v, 'm> {
    pub(super) shelf: &'v mut Shelf,
    pub(super) post: &'v mut Post,
    pub(super) market: &'m Market<'m>,
}

/// How an order comes to the book.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// For the first time.
    New,
    /// It was changed, and lost its place.
    Replaced,
    /// It rested already, as a report says that outlived what was known here.
    Known,
}

impl Counter<'_, '_> {
    pub(super) fn answer(
        &mut self,
        moment: &Moment<'_>,
        order: &Order,
        number: u32,
        outcome: Outcome,
    ) {
        let about = (order.id, order.instrument, number);
        self.post
            .answer(moment, &mut self.shelf.cursor, about, outcome);
    }

    /// An order comes to the book: it takes what it may, and what is left rests or expires.
    pub(super) fn enter(
        &mut self,
        order: Order,
        entry: Entry,
        mut number: u32,
        moment: &Moment<'_>,
        arrival: i64,
    ) {
        let market = self.market;
        let limit = matching::limit(&order);
        let best = market.depth.best_price(order.side.opposite());
        let taking = match (limit, best) {
            _ if entry == Entry::Known => None,
            (Some(limit), Some(best)) if !crosses(order.side, limit, best) => None,
            _ => {
                let book = &self.shelf.consumption;
                matching::take(order.side, order.qty, limit, market, book, moment.seen)
            }
        };
        let taken = taking.map_or(Qty(0), |taking| taking.qty);
        let left = Qty(order.qty.0 - taken.0);
        let lives = matches!(
            order.time_in_force,
            TimeInForce::Gtc | TimeInForce::PostOnly
        );
        let rests = limit.is_some() && lives && left.0 > 0;
        let end = if entry == Entry::Known {
            // It was accepted once: it cannot be refused now.
            let full = self.shelf.resting.len() >= self.post.capacity.resting;
            full.then_some(Outcome::Void(VoidCause::Restart))
        } else if !matching::well_formed(order.kind, order.qty, market.instrument) {
            Some(Outcome::Rejected(Reject::Malformed))
        } else if !market.depth.is_live() || (limit.is_none() && best.is_none()) {
            Some(Outcome::Rejected(Reject::NoBook))
        } else if order.time_in_force == TimeInForce::PostOnly && taking.is_some() {
            Some(Outcome::Expired(Expiry::WouldTake))
        } else if order.time_in_force == TimeInForce::Fok && left.0 > 0 {
            Some(Outcome::Expired(Expiry::NotAll))
        } else if rests && self.shelf.resting.len() >= self.post.capacity.resting {
            Some(Outcome::Rejected(Reject::Busy))
        } else {
            None
        };
        if let Some(end) = end {
            return self.answer(moment, &order, number + 1, end);
        }
        if rests && entry == Entry::New {
            number += 1;
            self.answer(moment, &order, number, Outcome::Acked);
        }
        if let Some(taking) = taking.filter(|taking| taking.qty.0 > 0) {
            let book = &mut self.shelf.consumption;
            matching::consume(order.side, taken, limit, market, book, moment.seen);
            let execution = Execution {
                order: &order,
                qty: taken,
                left,
                cost: taking.cost,
                touch: taking.touch,
                worst: taking.worst,
                arrival,
                rested: None,
            };
            let fill = execution.fill(market);
            number += 1;
            self.shelf.position.0 += signed(&fill);
            self.answer(moment, &order, number, Outcome::Filled(fill));
        }
        if rests {
            let executed = moment.executed;
            let resting = Resting::join(order, left, arrival, number, market, executed);
            self.shelf.resting.push(resting);
        } else if left.0 > 0 {
            let why = match limit {
                None => Expiry::Exhausted,
                Some(_) => Expiry::NoneLeft,
            };
            self.answer(moment, &order, number + 1, Outcome::Expired(why));
        }
    }

    /// Changes a resting order.
    pub(super) fn replace(&mut self, place: usize, price: Price, qty: Qty, moment: &Moment<'_>) {
        let market = self.market;
        let resting = &mut self.shelf.resting[place];
        resting.number += 1;
        let number = resting.number;
        let unchanged = if !matching::well_formed(Kind::Limit(price), qty, market.instrument) {
            Some(Reject::Malformed)
        } else if !market.depth.is_live() {
            Some(Reject::NoBook)
        } else {
            None
        };
        if let Some(reject) = unchanged {
            let order = resting.order;
            return self.answer(moment, &order, number, Outcome::Unchanged(reject));
        }
        let stays = resting.limit() == price && qty <= resting.left;
        resting.order.kind = Kind::Limit(price);
        resting.order.qty = qty;
        resting.left = qty;
        let resting = *resting;
        let replaced = Outcome::Replaced { price, left: qty };
        if stays {
            return self.answer(moment, &resting.order, number, replaced);
        }
        self.shelf.resting.remove(place);
        let best = market.depth.best_price(resting.order.side.opposite());
        let takes = best.is_some_and(|best| crosses(resting.order.side, price, best));
        if takes && resting.order.time_in_force == TimeInForce::PostOnly {
            let end = Outcome::Expired(Expiry::WouldTake);
            return self.answer(moment, &resting.order, number, end);
        }
        self.answer(moment, &resting.order, number, replaced);
        self.enter(
            resting.order,
            Entry::Replaced,
            number,
            moment,
            resting.arrival,
        );
    }

    /// Resting orders trade their shares at their limits; those with nothing left are gone.
    pub(super) fn hit(&mut self, at: Time) {
        let mut scratch = core::mem::take(&mut self.shelf.scratch);
        let market = self.market;
        let (terms, instrument) = (market.terms, market.instrument);
        for share in &scratch.shares {
            let happened = self.post.happened(terms, instrument.venue, at);
            let resting = &mut self.shelf.resting[share.place];
            resting.left.0 -= share.qty.0;
            resting.number += 1;
            let resting = *resting;
            let price = resting.limit();
            let (price_scale, qty_scale) = (instrument.price_scale, instrument.qty_scale);
            let execution = Execution {
                order: &resting.order,
                qty: share.qty,
                left: resting.left,
                cost: notional(price, share.qty, price_scale, qty_scale),
                touch: price,
                worst: price,
                arrival: resting.arrival,
                rested: Some(Rested {
                    spanned_gap: resting.spanned_gap,
                    joined_ahead: resting.joined_ahead,
                }),
            };
            let fill = execution.fill(market);
            self.shelf.position.0 += signed(&fill);
            let moment = Moment {
                terms,
                dialect: instrument.venue,
                executed: happened.max(resting.since),
                seen: at,
            };
            self.answer(
                &moment,
                &resting.order,
                resting.number,
                Outcome::Filled(fill),
            );
        }
        if !scratch.shares.is_empty() {
            self.shelf.resting.retain(|resting| resting.left.0 > 0);
        }
        scratch.clear();
        self.shelf.scratch = scratch;
    }

    /// What the other side's best gives to the orders of a side that it reaches.
    pub(super) fn reached(&mut self, side: Side, at: Time) {
        let (market, rules) = (self.market, &self.market.terms.rules);
        let Some(best) = market.depth.best_price(side.opposite()) else {
            return;
        };
        let shelf = &mut *self.shelf;
        shelf.scratch.reach(&shelf.resting, side, best);
        let mut turn = 0;
        while let Some(place) = shelf.scratch.next(&mut turn) {
            let resting = &mut shelf.resting[place];
            let (limit, mut qty) = (resting.limit(), resting.left);
            if rules.partial_fills {
                let book = &mut shelf.consumption;
                let taking = matching::take(side, qty, Some(limit), market, book, at);
                qty = taking.map_or(Qty(0), |taking| taking.qty);
                matching::consume(side, qty, Some(limit), market, book, at);
                resting.queue = Position::behind(0.0);
                resting.unseen = false;
            }
            if qty.0 > 0 {
                shelf.scratch.shares.push(Share { place, qty });
            }
        }
    }
}
