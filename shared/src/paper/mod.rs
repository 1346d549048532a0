//! The paper venue: what would have happened to an order at the venue, told with its delays.
//!
//! An order travels (entry latency), meets the book as it stands when it arrives, takes level after
//! level at their prices, pays the fee, and the answer travels back (response latency). Nothing is
//! known before the answer is there. Latencies are sampled from a seed, so a replay repeats them.

pub mod consumption;
mod counter;
pub mod depth;
pub mod latency;
pub mod matching;
pub mod queue;
mod recovery;
#[cfg(test)]
mod testing;
pub mod venue;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::book::{Book, State};
use crate::event::Side;
use crate::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS};
use crate::num::{Cash, Price, Qty, div_away, notional};
use crate::rand::Rng;
use crate::time::Time;

/// Orders that may be on their way at once: one per instrument.
pub const MAX_ORDERS: usize = MAX_INSTRUMENTS;
/// Orders that are done and remembered, so that no answer counts twice: as many as can be answered
/// between an answer and its repetition.
const MAX_DONE: usize = MAX_ORDERS;

/// A client order id: the `seq` of the record that gave rise to the order, so that the same intent
/// always has the same id and cannot be sent twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct OrderId(pub u64);

impl OrderId {
    /// The order that record `seq` gives rise to for an instrument.
    #[must_use]
    pub const fn of(seq: u64, instrument: InstrumentId) -> Self {
        Self(seq * MAX_INSTRUMENTS as u64 + instrument.0 as u64)
    }
}

/// What the venue answers to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// To which order.
    pub order: OrderId,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// What.
    pub outcome: Outcome,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It traded (all of it, or what the visible book held).
    Filled(Fill),
    /// It did not.
    Rejected(Reject),
}

/// A trade of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// Exact sum of price times quantity over the levels taken.
    pub notional: Cash,
    /// The worst price taken.
    pub worst: Price,
    /// Twice the mid price when the order was sent (arrival price), for slippage.
    pub sent_double_mid: i64,
    /// Fee paid, in the quote currency.
    pub fee: Cash,
    /// When it reached the book.
    pub executed: Time,
}

/// Why an order did not trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reject {
    /// The book was stale, one-sided or empty when the order reached it.
    NoBook,
    /// The venue's answer was lost with the process; nothing is known to have traded.
    Void,
    /// Too many orders were in flight.
    Busy,
}

/// What trading at a venue costs, in money and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Taker fee in millionths of the notional.
    pub taker_fee_ppm: u32,
    /// Shortest and longest time from here to the book, in nanoseconds.
    pub entry_ns: (u64, u64),
    /// Shortest and longest time of the answer, in nanoseconds.
    pub response_ns: (u64, u64),
}

/// A market order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its client id.
    pub id: OrderId,
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// When it was sent.
    pub sent: Time,
    /// Twice the mid price then.
    pub sent_double_mid: i64,
}

/// An order on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Working {
    /// What was sent.
    pub order: Order,
    /// When it reaches the book.
    arrives: Time,
    /// What happened there, and when that is known here.
    answer: Option<(Time, Report)>,
    /// No answer will be given out any more: it was, and has not come back as an event, or the order
    /// is void.
    #[serde(skip)]
    told: bool,
}

/// Every order on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paper {
    working: Vec<Working, MAX_ORDERS>,
    /// The newest orders that are done, oldest first.
    done: Vec<OrderId, MAX_DONE>,
    rng: Rng,
}

impl Paper {
    /// A venue without orders.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            working: Vec::new(),
            done: Vec::new(),
            rng: Rng::new(seed, 0x0070_6170_6572),
        }
    }

    /// The orders on their way.
    #[must_use]
    pub fn working(&self) -> &[Working] {
        &self.working
    }

    /// Whether an order of this instrument is on its way.
    #[must_use]
    pub fn in_flight(&self, instrument: InstrumentId) -> bool {
        self.working
            .iter()
            .any(|working| working.order.instrument == instrument)
    }

    /// Sends an order.
    ///
    /// # Errors
    /// The rejection when [`MAX_ORDERS`] are on their way.
    pub fn submit(&mut self, order: Order, terms: &Terms) -> Result<(), Report> {
        let arrives = order.sent.plus(self.sample(terms.entry_ns));
        self.working
            .push(Working {
                order,
                arrives,
                answer: None,
                told: false,
            })
            .map_err(|_| Report {
                order: order.id,
                instrument: order.instrument,
                outcome: Outcome::Rejected(Reject::Busy),
            })
    }

    fn sample(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.rng.below(most.saturating_sub(least) + 1)
    }

    /// Lets the orders that have arrived by `now` meet their books.
    pub fn advance<'a>(
        &mut self,
        now: Time,
        market: impl Fn(InstrumentId) -> (&'a Book, &'a Instrument, &'a Terms),
    ) {
        for place in 0..self.working.len() {
            let working = self.working[place];
            if working.answer.is_some() || working.arrives > now {
                continue;
            }
            let (book, instrument, terms) = market(working.order.instrument);
            if book.is_partial() {
                continue;
            }
            let report = meet(&working, book, instrument, terms);
            let back = working.arrives.plus(self.sample(terms.response_ns));
            self.working[place].answer = Some((back, report));
        }
    }

    /// The next answer that is known at `now`, once.
    pub fn poll(&mut self, now: Time) -> Option<Report> {
        let due = |working: &&mut Working| {
            !working.told && working.answer.is_some_and(|(back, _)| back <= now)
        };
        let next = self
            .working
            .iter_mut()
            .filter(due)
            .min_by_key(|working| (working.answer.map(|(back, _)| back), working.order.id))?;
        next.told = true;
        next.answer.map(|(_, report)| report)
    }

    /// An answer came back as an event: the order is done. `true` when the answer counts, `false`
    /// when the order was done already: the same answer twice changes nothing. The answer to an order
    /// that was never seen counts: it was durable, and the record that sent the order was lost with
    /// the journal's tail.
    pub fn done(&mut self, id: OrderId) -> bool {
        let place = self.working.iter().position(|w| w.order.id == id);
        match place {
            Some(place) => drop(self.working.remove(place)),
            None if self.done.contains(&id) => return false,
            None => {}
        }
        if self.done.is_full() {
            self.done.remove(0);
        }
        let pushed = self.done.push(id);
        debug_assert!(pushed.is_ok(), "room was made");
        true
    }

    /// A start: what is on its way is void, and no answer of its own will be given out. The caller
    /// answers each with [`Reject::Void`].
    pub fn void(&mut self) {
        for working in &mut self.working {
            working.told = true;
        }
    }
}

/// What happens to a market order when it meets the book.
fn meet(working: &Working, book: &Book, instrument: &Instrument, terms: &Terms) -> Report {
    let order = &working.order;
    let report = |outcome| Report {
        order: order.id,
        instrument: order.instrument,
        outcome,
    };
    if !matches!(book.state(), State::Live { .. }) {
        return report(Outcome::Rejected(Reject::NoBook));
    }
    let mut left = order.qty.0;
    let mut paid = Cash::ZERO;
    let mut worst = None;
    for level in book.levels(order.side.opposite()) {
        if left == 0 {
            break;
        }
        let taken = left.min(level.qty.0);
        left -= taken;
        paid += notional(
            level.price,
            Qty(taken),
            instrument.price_scale,
            instrument.qty_scale,
        );
        worst = Some(level.price);
    }
    let Some(worst) = worst else {
        return report(Outcome::Rejected(Reject::NoBook));
    };
    let fee = Cash(div_away(
        i128::from(paid.0) * i128::from(terms.taker_fee_ppm),
        1_000_000,
    ));
    report(Outcome::Filled(Fill {
        side: order.side,
        qty: Qty(order.qty.0 - left),
        notional: paid,
        worst,
        sent_double_mid: order.sent_double_mid,
        fee,
        executed: working.arrives,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Depth, DepthKind, Gap, GapReason, Level};
    use crate::instrument::Venue;

    const TERMS: Terms = Terms {
        taker_fee_ppm: 1_000,
        entry_ns: (10, 10),
        response_ns: (5, 5),
    };

    fn instrument() -> Instrument {
        Instrument {
            price_scale: 0,
            qty_scale: 8,
            ..Instrument::unknown(Venue::Binance, "T").expect("short")
        }
    }

    fn book(asks: &[(i64, i64)]) -> Book {
        let mut book = Book::new();
        let level = |&(price, qty): &(i64, i64)| Level {
            price: Price(price),
            qty: Qty(qty),
        };
        let depth = Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: 1,
            bids: 0,
            levels: asks.iter().map(level).collect(),
            checksum: None,
        };
        book.depth(&depth, &instrument(), Time(1));
        book
    }

    fn order(qty: i64) -> Order {
        Order {
            id: OrderId(64),
            instrument: InstrumentId(0),
            side: Side::Buy,
            qty: Qty(qty),
            sent: Time(100),
            sent_double_mid: 200,
        }
    }

    fn outcome(qty: i64, book: &Book) -> Outcome {
        let mut paper = Paper::new(1);
        paper.submit(order(qty), &TERMS).expect("room");
        let instrument = instrument();
        paper.advance(Time(109), |_| (book, &instrument, &TERMS));
        assert_eq!(paper.poll(Time(1_000)), None, "still on its way");
        paper.advance(Time(110), |_| (book, &instrument, &TERMS));
        assert_eq!(paper.poll(Time(114)), None, "the answer is on its way");
        let report = paper.poll(Time(115)).expect("back");
        assert_eq!(paper.poll(Time(115)), None, "told once");
        assert!(paper.done(report.order) && !paper.done(report.order));
        report.outcome
    }

    #[test]
    fn walks_the_depth_and_pays_the_fee() {
        let Outcome::Filled(fill) = outcome(5, &book(&[(101, 3), (103, 9)])) else {
            panic!("filled")
        };
        assert_eq!(
            (fill.qty, fill.worst, fill.executed),
            (Qty(5), Price(103), Time(110))
        );
        assert_eq!(fill.notional, Cash(3 * 101 + 2 * 103));
        assert_eq!(fill.fee, Cash(1), "rounded up");
    }

    #[test]
    fn fills_no_more_than_the_book_holds() {
        let Outcome::Filled(fill) = outcome(50, &book(&[(101, 3), (103, 9)])) else {
            panic!("filled")
        };
        assert_eq!(fill.qty, Qty(12));
    }

    #[test]
    fn an_answer_counts_once_even_when_its_order_was_lost() {
        let mut paper = Paper::new(1);
        assert!(paper.done(OrderId(7)), "never seen, so it was lost");
        assert!(!paper.done(OrderId(7)), "the same answer again");
        for id in 0..2 * MAX_DONE as u64 {
            assert!(paper.done(OrderId(1_000 + id)));
        }
        assert_eq!(paper.done.len(), MAX_DONE);
    }

    #[test]
    fn what_is_void_gives_no_answer() {
        let mut paper = Paper::new(1);
        paper.submit(order(1), &TERMS).expect("room");
        let (book, instrument) = (book(&[(101, 3)]), instrument());
        paper.advance(Time(1_000), |_| (&book, &instrument, &TERMS));
        paper.void();
        assert_eq!(paper.poll(Time(10_000)), None);
        assert!(paper.done(OrderId(64)), "the caller's answer counts");
    }

    #[test]
    fn a_stale_book_trades_nothing() {
        let mut stale = book(&[(101, 3)]);
        stale.invalidate(Gap::of(GapReason::Sequence), Time(2));
        assert_eq!(outcome(1, &stale), Outcome::Rejected(Reject::NoBook));
        assert_eq!(outcome(1, &book(&[])), Outcome::Rejected(Reject::NoBook));
    }
}
