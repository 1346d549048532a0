//! What the paper venue makes of a report that comes back, and of a new process.
//!
//! Reports are durable before they count; what the venue itself knew may be older when the journal's
//! tail was lost. A report is then the truth about its order, and the venue catches up with it: what
//! traded once cannot trade again.

use super::venue::{Venue, ends, signed};
use crate::instrument::InstrumentId;
use crate::num::Qty;
use crate::order::{Kind, OrderId, Outcome, Reject, Report, Request, VoidCause};

impl Venue {
    /// A report came back as an event, so it is durable: it is not told again. When the order here is
    /// behind what it says, or went another way, the order here gives in.
    pub fn heard(&mut self, report: &Report) {
        self.learn(report, false);
    }

    /// The same of a report that is known to be news, whatever number is the newest here: the fold of
    /// a journal with a hole may have come further here than what was told.
    pub fn heard_news(&mut self, report: &Report) {
        self.learn(report, true);
    }

    fn learn(&mut self, report: &Report, news: bool) {
        let same = |other: &Report| {
            let numbered = other.order == report.order && other.number == report.number;
            numbered && (report.number > 0 || other == report)
        };
        let answers = &self.post.answers;
        let place = answers.iter().position(|answer| same(&answer.report));
        match place {
            Some(place) if self.post.answers[place].report == *report => {
                self.forget(place);
                return;
            }
            // No report about an order.
            _ if report.number == 0 => return,
            Some(_) => {
                let void = self.take_back(report.order, report.number);
                self.catch_up(report, void);
                return;
            }
            // It was heard before.
            None if !news && report.number <= self.last_number(report) => return,
            None => {}
        }
        self.catch_up(report, false);
    }

    fn forget(&mut self, place: usize) -> Option<Report> {
        self.post.told -= usize::from(place < self.post.told);
        self.post.answers.remove(place).map(|answer| answer.report)
    }

    fn last_number(&self, report: &Report) -> u32 {
        if let Some(place) = self.find(report.order, report.instrument) {
            return self.shelves[report.instrument.index()].resting[place].number;
        }
        match self.find_inbound(report.order) {
            Some(place) => self.inbound[place].number,
            None => self.post.last_number(report.order),
        }
    }

    /// Forgets the answers about an order from a number on, and what they say traded. `true` when the
    /// order was to be void by one of them.
    fn take_back(&mut self, order: OrderId, number: u32) -> bool {
        let mut void = false;
        for place in (0..self.post.answers.len()).rev() {
            let report = self.post.answers[place].report;
            if report.order != order || report.number < number {
                continue;
            }
            self.forget(place);
            void |= matches!(report.outcome, Outcome::Void(_));
            if let Outcome::Filled(fill) = report.outcome {
                self.shelf(report.instrument).position.0 -= signed(&fill);
            }
        }
        void
    }

    /// The order is as a report says, which is newer than what is known here. `void`: nobody knew its
    /// terms before either, and it was to be void.
    fn catch_up(&mut self, report: &Report, void: bool) {
        let (order, instrument, number) = (report.order, report.instrument, report.number);
        if let Outcome::Filled(fill) = &report.outcome {
            self.shelf(instrument).position.0 += signed(fill);
        }
        if let Some(place) = self.find(order, instrument) {
            self.catch_up_resting(place, report);
        } else if let Some(place) = self.find_inbound(order) {
            self.catch_up_inbound(place, report);
        } else {
            self.post.remember(order, number);
            // It is open by the report and nobody here knows its terms.
            let unchanged = matches!(report.outcome, Outcome::Unchanged(_));
            if !ends(&report.outcome) && (void || !unchanged) {
                let lost = Report {
                    number: number + 1,
                    outcome: Outcome::Void(VoidCause::Restart),
                    ..*report
                };
                self.post.send(report.executed, lost);
            }
        }
    }

    fn catch_up_resting(&mut self, place: usize, report: &Report) {
        let shelf = self.shelf(report.instrument);
        let resting = &mut shelf.resting[place];
        resting.number = report.number;
        match report.outcome {
            Outcome::Filled(fill) => resting.left = fill.left,
            Outcome::Replaced { price, left } => {
                // At another price its place is not known.
                resting.unseen |= resting.limit() != price;
                resting.order.kind = Kind::Limit(price);
                resting.order.qty = left;
                resting.left = left;
            }
            _ => {}
        }
        if ends(&report.outcome) {
            shelf.resting.remove(place);
            self.post.remember(report.order, report.number);
        }
    }

    fn catch_up_inbound(&mut self, place: usize, report: &Report) {
        let inbound = &mut self.inbound[place];
        inbound.number = report.number;
        if let Request::New(order) = &mut inbound.request {
            match report.outcome {
                Outcome::Filled(fill) => order.qty = fill.left,
                Outcome::Replaced { price, left } => {
                    order.kind = Kind::Limit(price);
                    order.qty = left;
                }
                _ => {}
            }
            // A market order's rest is still to trade or expire.
            inbound.acked |= order.kind != Kind::Market
                && matches!(
                    report.outcome,
                    Outcome::Acked | Outcome::Filled(_) | Outcome::Replaced { .. }
                );
        }
        if ends(&report.outcome) {
            self.inbound.remove(place);
            self.post.remember(report.order, report.number);
        }
    }

    /// A new process: requests on their way are lost, which is answered at once. Answers that nobody
    /// heard are not durable, and they may come from a market that was older than what is durable: of
    /// an order of which they say that it rests, changed or traded, nothing of that counts, and it is
    /// void. Those that only say that an order ended are told again.
    pub fn restart(&mut self) {
        self.post.told = 0;
        while let Some(report) = self.unsettled() {
            let (order, instrument, number) = (report.order, report.instrument, report.number);
            self.take_back(order, number);
            if let Some(place) = self.find(order, instrument) {
                self.shelf(instrument).resting.remove(place);
            }
            let void = Report {
                outcome: Outcome::Void(VoidCause::Restart),
                ..report
            };
            self.post.send(report.executed, void);
        }
        for inbound in core::mem::take(&mut self.inbound) {
            let (order, instrument) = (inbound.request.order(), inbound.request.instrument());
            let (number, outcome) = match inbound.request {
                Request::New(_) => (inbound.number + 1, Outcome::Void(VoidCause::Restart)),
                Request::Cancel { .. } | Request::Replace { .. } | Request::Move { .. } => (
                    self.next_number(order, instrument),
                    Outcome::Unchanged(Reject::Unreachable),
                ),
            };
            let report = Report {
                order,
                instrument,
                number,
                executed: inbound.sent,
                outcome,
            };
            self.post.send(inbound.sent, report);
        }
    }

    /// The first report that nobody heard about an order of which one that nobody heard says that it
    /// rests, changed or traded.
    fn unsettled(&self) -> Option<Report> {
        let mut reports = self.post.answers.iter().map(|answer| answer.report);
        let settles = |report: &Report| {
            let lives = matches!(
                report.outcome,
                Outcome::Acked | Outcome::Filled(_) | Outcome::Replaced { .. }
            );
            lives && report.number > 0
        };
        let order = reports.clone().find(settles)?.order;
        reports.find(|report| report.order == order && report.number > 0)
    }

    /// Every instrument in which something traded, and how much on balance.
    pub fn positions(&self) -> impl Iterator<Item = (InstrumentId, Qty)> {
        let shelves = self.shelves.iter().enumerate();
        shelves
            .map(|(place, shelf)| (place, shelf.position))
            .filter(|(_, position)| position.0 != 0)
            .filter_map(|(place, position)| {
                Some((InstrumentId(u16::try_from(place).ok()?), position))
            })
    }
}
