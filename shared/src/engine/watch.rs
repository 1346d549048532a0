//! What the engine only watches: arbitrage between venues, and the funding of perpetuals.

use alloc::collections::VecDeque;

use super::{Cell, Engine, Output, Setup, id_of};
use crate::arbitrage::{Leg, Look, Monitor, News};
use crate::event::{Body, Update};
use crate::features::cross::Cross;
use crate::funding_watch::{Holding, Status};
use crate::instrument::{InstrumentId, Kind};
use crate::num::Qty;
use crate::paper::depth::Depth;
use crate::paper::latency::RoundTrips;
use crate::paper::venue::{Market, Surcharge, Terms};
use crate::risk::gate::Gate;
use crate::time::Time;

/// Every market as the monitor of arbitrage sees it.
#[derive(Clone, Copy)]
struct Markets<'a> {
    cells: &'a [Cell],
    setup: &'a Setup,
    terms: &'a [Terms],
    round_trips: &'a RoundTrips,
    risk: &'a Gate,
    at: Time,
}

impl<'a> Markets<'a> {
    fn leg(&self, id: InstrumentId) -> Option<Leg<'a>> {
        let index = id.index();
        let (cell, instrument) = (self.cells.get(index)?, &self.setup.instruments[index]);
        if cell.book.is_partial() {
            return None;
        }
        let clock_offset_ns = self.risk.venue_health(instrument.venue).clock_offset_ns;
        // A book made of bars is nobody's quote, and no order joins a queue here.
        let market = Market {
            depth: Depth::Book(&cell.book),
            instrument,
            terms: &self.terms[index],
            impact: Surcharge::Impact {
                impact: &cell.impact,
                tape: &cell.tape,
                at: self.at,
            },
            average_trade: Qty(0),
        };
        Some(Leg {
            market,
            received: cell.received,
            lag_ns: cell.lag_ns.saturating_sub(clock_offset_ns),
            clock_offset_ns,
            round_trips: self.round_trips,
        })
    }
}

impl Engine {
    /// The monitor, what it looks at, and where its news go.
    fn opportunities(&mut self, at: Time) -> (&mut Monitor, Markets<'_>, &mut VecDeque<Output>) {
        let state = &mut self.state;
        let markets = Markets {
            cells: &state.cells,
            setup: &self.setup,
            terms: &self.terms,
            round_trips: state.paper.round_trips(),
            risk: &state.risk,
            at,
        };
        (&mut state.arbitrage, markets, &mut self.outputs)
    }

    fn looking(&self, at: Time) -> Look {
        Look {
            at,
            min_order: self.state.risk.limits().min_order,
        }
    }

    /// After a market event was applied.
    pub(super) fn watch(&mut self, update: &Update, at: Time) {
        let id = update.instrument;
        if let Body::Funding(funding) = &update.body {
            let kind = self.setup.instruments.get(id.index()).map(|one| one.kind);
            let limits = self.state.risk.limits();
            let alert = match kind {
                Some(Kind::Perpetual) => self.state.funding.update(id, funding, limits),
                _ => None,
            };
            if let Some(alert) = alert {
                self.emit(Output::Funding(alert));
            }
        } else if self.state.arbitrage.watches(id) {
            let look = self.looking(at);
            let (monitor, markets, outputs) = self.opportunities(at);
            let mut tell = |news| outputs.push_back(Output::Arbitrage(news));
            monitor.look(id, look, &|id| markets.leg(id), &mut tell);
        }
    }

    /// At a pulse: quotes age while nothing happens.
    pub(super) fn recompare(&mut self, at: Time) {
        let look = self.looking(at);
        let (monitor, markets, outputs) = self.opportunities(at);
        let mut tell = |news| outputs.push_back(Output::Arbitrage(news));
        monitor.pulse(look, &|id| markets.leg(id), &mut tell);
    }

    /// What would have been sent when an opportunity opened meets the books as they are before this
    /// record.
    pub(super) fn try_out(&mut self, at: Time) {
        if self.state.arbitrage.due().is_none_or(|due| due >= at) {
            return;
        }
        let (monitor, markets, outputs) = self.opportunities(at);
        let mut tell = |news| outputs.push_back(Output::Arbitrage(news));
        monitor.arrive(at, &|id| markets.leg(id), &mut tell);
    }

    /// A process begins.
    pub(super) fn forget_opportunities(&mut self) {
        let outputs = &mut self.outputs;
        let mut tell = |news: News| outputs.push_back(Output::Arbitrage(news));
        self.state.arbitrage.restart(&mut tell);
    }

    /// Arbitrage between venues: what is open, what was, and how long it lasts.
    #[must_use]
    pub const fn arbitrage(&self) -> &Monitor {
        &self.state.arbitrage
    }

    /// What is known of each asset over its venues.
    #[must_use]
    pub fn crosses(&self) -> &[Cross] {
        &self.state.crosses
    }

    /// Funding of every perpetual whose venue announced any, with what is held of it kept for
    /// `holding_ns` more.
    pub fn funding(&self, holding_ns: u64) -> impl Iterator<Item = Status> + '_ {
        let cells = self.state.cells.iter().zip(&self.setup.instruments);
        cells
            .enumerate()
            .filter_map(move |(index, (cell, instrument))| {
                let id = id_of(index);
                let holding = Holding {
                    qty: self.state.ledger.position(id).qty,
                    funded: self.state.tracker.funded(id),
                };
                Status::of(
                    (id, instrument.kind),
                    cell.funding.as_ref(),
                    &cell.schedule,
                    holding,
                    self.state.funding.level(id),
                    (self.state.now, holding_ns),
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::attribution::Split;
    use crate::event::{Event, Funding, Gap, GapReason, Record, Side};
    use crate::funding_watch::{Level, Timing};
    use crate::instrument::{Instrument, Venue};
    use crate::num::{Cash, Price};
    use crate::order::{Fill, OrderId, Outcome, Report};
    use crate::paper::funding::Settlement;
    use crate::time::{MINUTES, SECONDS};

    const HOUR: u64 = 60 * MINUTES;
    const START: Time = Time(1_000_000 * HOUR);
    const ID: InstrumentId = InstrumentId(1);

    struct Run {
        engine: Engine,
        seq: u64,
    }

    impl Run {
        fn handle(&mut self, at: Time, event: Event) -> Vec<Output> {
            self.seq += 1;
            let seq = self.seq;
            self.engine.handle(&Record { seq, at, event });
            core::iter::from_fn(|| self.engine.poll()).collect()
        }

        fn market(&mut self, at: Time, body: Body) -> Vec<Output> {
            let update = Update {
                instrument: ID,
                venue_time: at,
                received: at,
                late: false,
                body,
            };
            self.handle(at, Event::Market(update))
        }
    }

    #[test]
    fn funding_is_told_with_what_is_held() {
        let of = |kind| Instrument {
            kind,
            price_scale: 2,
            qty_scale: 3,
            ..Instrument::unknown(Venue::BinanceUsdm, "BTCUSDT").expect("short")
        };
        let setup = Setup::market_only(alloc::vec![of(Kind::Spot), of(Kind::Perpetual)]);
        let mut run = Run {
            engine: Engine::new(setup),
            seq: 0,
        };
        assert_eq!(run.engine.funding(HOUR).count(), 0, "nothing announced");
        let settles = START.plus(8 * HOUR);
        let funding = Funding {
            mark: Price(1_000_000),
            index: Price(1_000_000),
            rate: Some(-6_000_000_000),
            predicted: None,
            settles,
            interval_s: 28_800,
        };
        let outputs = run.market(START, Body::Funding(funding));
        let [Output::Funding(alert)] = outputs.as_slice() else {
            panic!("{outputs:?}");
        };
        assert_eq!((alert.instrument, alert.level), (ID, Level::Warning));
        assert_eq!(run.market(START, Body::Funding(funding)), []);

        let worth = Cash(20_000 * Cash::ONE.0);
        let fill = Fill {
            side: Side::Sell,
            qty: Qty(2_000),
            left: Qty(0),
            notional: worth,
            worst: Price(1_000_000),
            fee: Cash::ZERO,
            maker: false,
            synthetic: false,
            spanned_gap: false,
            queue_orders: 0,
            split: Split::of(Side::Sell, worth, worth, worth, worth, worth),
        };
        let opened = START.plus(SECONDS);
        let report = Report {
            order: OrderId::of(1, ID),
            instrument: ID,
            number: 1,
            executed: opened,
            outcome: Outcome::Filled(fill),
        };
        run.handle(opened, Event::Report(report));
        let paid = Settlement {
            instrument: ID,
            settled: START.plus(2 * SECONDS),
            rate: -1,
            mark: Price(1_000_000),
            position: Qty(-2_000),
            amount: Cash(-7),
            estimated: false,
        };
        run.handle(START.plus(2 * SECONDS), Event::Funded(paid));
        let status: Vec<_> = run.engine.funding(9 * HOUR).collect();
        let [status] = status.as_slice() else {
            panic!("{status:?}");
        };
        assert_eq!((status.instrument, status.level), (ID, Level::Warning));
        assert_eq!(status.holding.qty, Qty(-2_000));
        assert_eq!(status.holding.funded, Some((opened, Cash(-7))));
        // A short of 20 000 pays sixty basis points.
        assert_eq!(status.expected, Some(Cash(-120 * Cash::ONE.0)));
        assert_eq!(status.short.exit, Timing::Before(settles));
        // A gap is no announcement.
        run.market(opened, Body::Gap(Gap::of(GapReason::Silent)));
        assert_eq!(run.engine.funding(0).count(), 1);
    }
}
