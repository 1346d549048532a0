//! A tape through the paper venue, with the client's side of its orders.

use std::hint::black_box;

use tickerml_shared::event::Side;
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::order::{self, Kind, Order, OrderId, Outcome, Reason, TimeInForce};
use tickerml_shared::paper::depth::{Depth, Rows};
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::paper::venue::{Market, Rules, Surcharge, Terms, Venue};
use tickerml_shared::time::Time;

use crate::rows::{Ask, Request, Row, Tape, What};

/// From here to the venue and back, for both.
pub(crate) const LATENCY_NS: i64 = 10_000_000;
/// Maker and taker fee in millionths, for both.
pub(crate) const FEES_PPM: (i32, i32) = (-50, 500);
const INSTRUMENT: InstrumentId = InstrumentId(0);

/// How an order stands with the client when the tape ends, and since when at the venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) status: Status,
    pub(crate) at: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Sent,
    Open,
    Filled,
    Canceled,
    Expired,
}

/// By which rules the venue goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those of the peer.
    Hftbacktest,
    /// Those that TickerML trades by.
    Realistic,
}

/// A tape before it is played.
pub(crate) struct Player<'a> {
    tape: &'a Tape,
    terms: Terms,
    venue: Box<Venue>,
    rows: Rows,
    /// The client's own copy of the book, where it keeps one.
    copy: Option<Rows>,
    ends: Vec<End>,
}

impl<'a> Player<'a> {
    pub(crate) fn new(tape: &'a Tape, queue: QueueModel, which: Which, copies: bool) -> Self {
        let rules = match which {
            Which::Hftbacktest => Rules::hftbacktest(queue),
            Which::Realistic => Rules {
                queue,
                queue_position: true,
                partial_fills: true,
                shared_volume: true,
                consumption_ns: 1_000_000_000,
                fees: true,
                latency: true,
                void_on_gap: true,
            },
        };
        Self {
            tape,
            terms: Terms {
                maker_fee_ppm: FEES_PPM.0,
                taker_fee_ppm: FEES_PPM.1,
                latency: Latency::Constant {
                    entry_ns: LATENCY_NS,
                    response_ns: LATENCY_NS,
                },
                rules,
            },
            venue: Box::new(Venue::new(1)),
            rows: Rows::new(),
            copy: copies.then(Rows::new),
            ends: vec![End::default(); tape.orders],
        }
    }

    /// Plays it to its end. Rows come before requests of the same time.
    pub(crate) fn play(&mut self) -> Vec<End> {
        let tape = self.tape;
        let mut rows = tape.rows.iter().peekable();
        for request in &tape.requests {
            while let Some(row) = rows.next_if(|row| row.at <= request.at) {
                self.row(row);
            }
            self.settle(request.at);
            self.request(request);
        }
        for row in rows {
            self.row(row);
        }
        self.settle(tape.end());
        black_box(&self.copy);
        std::mem::take(&mut self.ends)
    }

    fn row(&mut self, row: &Row) {
        self.arrive(row.at);
        match &row.what {
            What::Trade(trade) => {
                let market = market(&self.rows, self.tape, &self.terms);
                self.venue.trade(INSTRUMENT, trade, &market, row.at);
            }
            What::Level { side, price, qty } => {
                if let Some(copy) = &mut self.copy {
                    copy.update(*side, *price, *qty);
                }
                let change = self.rows.update(*side, *price, *qty);
                if !self.venue.watches(INSTRUMENT) {
                    return;
                }
                let (rules, instrument) = (&self.terms.rules, &self.tape.instrument);
                self.venue
                    .level(INSTRUMENT, &change, rules, instrument, row.at);
                let market = market(&self.rows, self.tape, &self.terms);
                self.venue.touched(INSTRUMENT, &market, row.at);
            }
        }
    }

    fn arrive(&mut self, before: Time) {
        if self.venue.due().is_some_and(|due| due < before) {
            let market = market(&self.rows, self.tape, &self.terms);
            self.venue.arrive(before, |_| Some(market));
        }
    }

    fn settle(&mut self, now: Time) {
        self.arrive(now.plus(1));
        while let Some(report) = self.venue.poll(now) {
            self.venue.heard(&report);
            let status = match report.outcome {
                Outcome::Acked | Outcome::Replaced { .. } => Status::Open,
                Outcome::Filled(fill) if fill.left.0 > 0 => Status::Open,
                Outcome::Filled(_) => Status::Filled,
                Outcome::Canceled => Status::Canceled,
                Outcome::Expired(_) => Status::Expired,
                Outcome::Unchanged(_) => continue,
                other @ (Outcome::Rejected(_) | Outcome::Void(_)) => panic!("{other:?}"),
            };
            let at = report.executed.0.cast_signed();
            self.ends[report.order.0 as usize] = End { status, at };
        }
    }

    fn request(&mut self, request: &Request) {
        let (now, id) = (request.at, OrderId(request.id as u64));
        let sent = match request.ask {
            Ask::New {
                side,
                price,
                qty,
                post_only,
            } => order::Request::New(Order {
                id,
                instrument: INSTRUMENT,
                side,
                qty,
                kind: Kind::Limit(price),
                time_in_force: if post_only {
                    TimeInForce::PostOnly
                } else {
                    TimeInForce::Gtc
                },
                sent: now,
                sent_double_mid: Depth::Rows(&self.rows).double_mid(),
                reason: Reason::Decision,
            }),
            Ask::Cancel => {
                if self.ends[request.id].status != Status::Open {
                    return;
                }
                order::Request::Cancel {
                    order: id,
                    instrument: INSTRUMENT,
                }
            }
        };
        let dialect = self.tape.instrument.venue;
        let sent = self.venue.submit(sent, now, &self.terms, dialect);
        sent.expect("room for fourteen orders");
    }
}

fn market<'a>(rows: &'a Rows, tape: &'a Tape, terms: &'a Terms) -> Market<'a> {
    Market {
        depth: Depth::Rows(rows),
        instrument: &tape.instrument,
        terms,
        impact: Surcharge::NONE,
        average_trade: tickerml_shared::num::Qty(0),
    }
}

/// The book alone: what is left of the time is the venue's.
pub(crate) fn book_only(tape: &Tape) -> Rows {
    let mut rows = Rows::new();
    for row in &tape.rows {
        if let What::Level { side, price, qty } = row.what {
            black_box(rows.update(side, price, qty));
        }
    }
    black_box(rows.best(Side::Buy));
    rows
}
