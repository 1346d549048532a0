//! Plays a tape: the market moves, requests travel, and what a client would know of its orders is
//! kept.

use std::collections::BTreeMap;

use serde::Serialize;

use tickerml_shared::num::{Fixed, Price, Qty};
use tickerml_shared::order::{self, Kind, Order, OrderId, Outcome, Reject, Report};
use tickerml_shared::paper::depth::{Depth, Rows};
use tickerml_shared::paper::venue::{Capacity, Market, Rules, Surcharge, Terms, Venue};
use tickerml_shared::time::Time;

use crate::format::{Ask, Event, INSTRUMENT, Request, Tape, What};

/// How long what was taken stays missing from the book under the realistic rules.
const CONSUMPTION_NS: u64 = 1_000_000_000;

/// An order as it is known locally when the tape ends.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    id: u64,
    status: &'static str,
    executed: String,
    price: String,
    maker: bool,
    exchange_time: u64,
    local_time: u64,
}

/// What a client knows of an order. It keeps one request about it on its way, and no more.
struct Known {
    order: Order,
    status: &'static str,
    executed: Qty,
    /// Its limit as last asked for, or as the venue said since.
    limit: Price,
    /// Its limit as the venue last said.
    venue_limit: Price,
    /// The worst price at which it last traded.
    traded: Option<Price>,
    maker: bool,
    exchange_time: Time,
    local_time: Time,
    /// Cancels and replacements on their way.
    asked: u32,
    /// No request may be sent: the last one is not answered.
    waits: bool,
}

impl Known {
    fn sent(order: Order) -> Self {
        let limit = match order.kind {
            Kind::Limit(limit) => limit,
            Kind::Market => Price(0),
        };
        Self {
            order,
            status: "new",
            executed: Qty(0),
            limit,
            venue_limit: limit,
            traded: None,
            maker: false,
            exchange_time: Time(0),
            local_time: order.sent,
            asked: 0,
            waits: true,
        }
    }

    /// The venue says something about it.
    fn hear(&mut self, report: &Report) {
        match report.outcome {
            Outcome::Acked => self.status = "new",
            Outcome::Filled(fill) => {
                self.executed.0 += fill.qty.0;
                self.traded = Some(fill.worst);
                self.maker = fill.maker;
                self.status = if fill.left.0 == 0 {
                    "filled"
                } else {
                    "partially-filled"
                };
            }
            Outcome::Replaced { price, .. } => {
                (self.limit, self.venue_limit) = (price, price);
                self.status = "new";
                self.asked = self.asked.saturating_sub(1);
            }
            Outcome::Canceled => {
                self.status = "canceled";
                self.asked = self.asked.saturating_sub(1);
                self.limit = self.venue_limit;
            }
            Outcome::Expired(_) => {
                self.status = "expired";
                self.asked = self.asked.saturating_sub(1);
            }
            Outcome::Rejected(_) => self.status = "rejected",
            Outcome::Void(_) => self.status = "void",
            Outcome::Unchanged(_) => {
                self.asked = self.asked.saturating_sub(1);
                self.waits = self.asked > 0;
                return;
            }
        }
        // What never reached the venue has no venue time.
        if report.outcome != Outcome::Rejected(Reject::Unreachable) {
            self.exchange_time = report.executed;
        }
        self.waits = false;
    }
}

/// Which rules the venue follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    /// Those of hftbacktest's exchange without partial fills.
    Hftbacktest,
    /// Those that TickerML trades by, without fees.
    Realistic,
}

/// A tape being played.
pub(crate) struct Player<'a> {
    tape: &'a Tape,
    terms: Terms,
    venue: Box<Venue>,
    rows: Rows,
    known: BTreeMap<OrderId, Known>,
}

impl<'a> Player<'a> {
    /// A tape before its first event.
    pub(crate) fn new(tape: &'a Tape, which: Which) -> Self {
        let rules = match which {
            Which::Hftbacktest => Rules::hftbacktest(tape.queue),
            Which::Realistic => Rules {
                queue: tape.queue,
                queue_position: true,
                partial_fills: true,
                shared_volume: true,
                consumption_ns: CONSUMPTION_NS,
                fees: false,
                latency: true,
                void_on_gap: true,
            },
        };
        Self {
            tape,
            terms: Terms {
                maker_fee_ppm: 0,
                taker_fee_ppm: 0,
                latency: tape.latency.clone(),
                rules,
            },
            // As many as the tape has: the reference knows no bound.
            venue: Box::new(Venue::with_capacity(
                1,
                Capacity {
                    resting: tape.requests.len().max(1),
                    open: tape.requests.len().max(1),
                },
            )),
            rows: Rows::new(),
            known: BTreeMap::new(),
        }
    }

    /// Plays it to its end. Data comes before requests of the same time.
    ///
    /// # Errors
    /// Says which request the venue had no room for.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        let mut events = self.tape.events.iter().peekable();
        for request in self.sent() {
            while let Some(event) = events.next_if(|event| event.at <= request.at) {
                self.event(event);
            }
            self.settle(request.at);
            self.request(request)?;
        }
        for event in events.take_while(|event| event.at <= self.tape.end) {
            self.event(event);
        }
        self.settle(self.tape.end);
        Ok(())
    }

    /// The requests that were sent by the end.
    fn sent(&self) -> impl Iterator<Item = &'a Request> + use<'a> {
        let end = self.tape.end;
        let requests = self.tape.requests.iter();
        requests.take_while(move |request| request.at <= end)
    }

    /// What is known, in the order of the ids that the tape gave.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let new = |request: &&Request| matches!(request.ask, Ask::New(_));
        let ids = self.sent().filter(new);
        ids.map(|request| self.line(&self.known[&request.id]))
            .collect()
    }

    fn line(&self, known: &Known) -> Line {
        let instrument = &self.tape.instrument;
        let price = known.traded.unwrap_or(known.limit);
        Line {
            id: known.order.id.0,
            status: known.status,
            executed: Fixed::new(known.executed.0, instrument.qty_scale)
                .trimmed()
                .to_string(),
            price: Fixed::new(price.0, instrument.price_scale)
                .trimmed()
                .to_string(),
            maker: known.maker,
            exchange_time: known.exchange_time.0,
            local_time: known.local_time.0,
        }
    }

    /// Requests that arrive before a time meet the book as it is.
    fn arrive(&mut self, before: Time) {
        if self.venue.due().is_some_and(|due| due < before) {
            let market = market(&self.rows, self.tape, &self.terms);
            self.venue.arrive(before, |_| Some(market));
        }
    }

    fn event(&mut self, event: &Event) {
        self.arrive(event.at);
        match &event.what {
            What::Trade(trade) => {
                let market = market(&self.rows, self.tape, &self.terms);
                self.venue.trade(INSTRUMENT, trade, &market, event.at);
            }
            What::Level { side, price, qty } => {
                let change = self.rows.update(*side, *price, *qty);
                if !self.venue.watches(INSTRUMENT) {
                    return;
                }
                let (rules, instrument) = (&self.terms.rules, &self.tape.instrument);
                self.venue
                    .level(INSTRUMENT, &change, rules, instrument, event.at);
                let market = market(&self.rows, self.tape, &self.terms);
                self.venue.touched(INSTRUMENT, &market, event.at);
            }
        }
    }

    /// Everything of a time and before it happens, and all that is known of it then is heard.
    fn settle(&mut self, now: Time) {
        self.arrive(now.plus(1));
        while let Some(report) = self.venue.poll(now) {
            self.venue.heard(&report);
            if let Some(known) = self.known.get_mut(&report.order) {
                known.hear(&report);
            }
        }
    }

    fn request(&mut self, request: &Request) -> Result<(), String> {
        let now = request.at;
        let sent = match request.ask {
            Ask::New(order) => {
                let order = Order {
                    sent_double_mid: Depth::Rows(&self.rows).double_mid(),
                    ..order
                };
                self.known.insert(order.id, Known::sent(order));
                order::Request::New(order)
            }
            Ask::Cancel | Ask::Replace(..) => {
                let known = self.known.get_mut(&request.id);
                let known = known.expect("the format lets no request come before its order");
                if known.waits {
                    return Ok(());
                }
                known.waits = true;
                known.asked += 1;
                known.local_time = now;
                let (order, instrument) = (request.id, INSTRUMENT);
                match request.ask {
                    Ask::Replace(price, qty) => {
                        known.limit = price;
                        order::Request::Replace {
                            order,
                            instrument,
                            price,
                            qty,
                        }
                    }
                    _ => order::Request::Cancel { order, instrument },
                }
            }
        };
        let dialect = self.tape.instrument.venue;
        self.venue
            .submit(sent, now, &self.terms, dialect)
            .map_err(|report| {
                let id = request.id.0;
                format!(
                    "order {id} at {now}: the venue has no room ({:?}); keep fewer orders open",
                    report.outcome,
                    now = now.0
                )
            })
    }
}

/// The market as the venue sees it.
fn market<'a>(rows: &'a Rows, tape: &'a Tape, terms: &'a Terms) -> Market<'a> {
    Market {
        depth: Depth::Rows(rows),
        instrument: &tape.instrument,
        terms,
        impact: Surcharge::NONE,
        average_trade: Qty(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level of 20 falls to 14 while 10 of it are ahead of an order; then so much trades.
    fn fills_after(model: &str, traded: &str) -> bool {
        let text = format!(
            r#"{{
            "events": [
                {{"t": 100, "kind": "depth", "side": "buy", "price": "99", "quantity": "10"}},
                {{"t": 200, "kind": "depth", "side": "buy", "price": "99", "quantity": "20"}},
                {{"t": 300, "kind": "depth", "side": "buy", "price": "99", "quantity": "14"}},
                {{"t": 400, "kind": "trade", "side": "sell", "price": "99", "quantity": "{traded}"}}
            ],
            "orders": [
                {{"t": 150, "id": 1, "side": "buy", "price": "99", "quantity": "1", "kind": "limit", "time_in_force": "gtc"}}
            ],
            "queue_model": "{model}", "latency_ns": [10, 20], "tick": "1", "lot": "0.01", "end": 500
        }}"#
        );
        let tape = Tape::parse(&text, None).expect("a tape");
        let mut player = Player::new(&tape, Which::Hftbacktest);
        player.play().expect("room");
        let lines = player.lines();
        let (status, time) = (lines[0].status, lines[0].exchange_time);
        assert!(
            (status, time) == ("filled", 400) || (status, time) == ("new", 160),
            "{lines:?}"
        );
        status == "filled"
    }

    /// The smallest trades at which hftbacktest 2.4.4 was seen to fill, to four decimals.
    #[test]
    fn an_order_fills_at_the_trade_at_which_it_fills_in_hftbacktest() {
        for (model, enough, short) in [
            ("risk_averse", "10.0051", "10.0049"),
            ("log", "7.0051", "7.0049"),
            ("log2", "8.7307", "8.7306"),
            ("power3", "7.0051", "7.0049"),
            ("power2_3", "4.7551", "4.7549"),
            ("power3_3", "9.2551", "9.2549"),
            ("square", "7.0051", "7.0049"),
        ] {
            assert!(fills_after(model, enough), "{model} at {enough}");
            assert!(!fills_after(model, short), "{model} at {short}");
        }
    }
}
