//! What the engine only watches: arbitrage between venues, and the funding of perpetuals.

use alloc::collections::VecDeque;

use super::{Cell, Engine, Output, Setup, id_of};
use crate::arbitrage::{Leg, Look, Monitor, News};
use crate::event::{Body, Update};
use crate::features::cross::Cross;
use crate::funding_watch::{Holding, Status};
use crate::instrument::{InstrumentId, Kind};
use crate::paper::latency::RoundTrips;
use crate::paper::venue::Terms;
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
        let clock_offset_ns = self.risk.venue_health(instrument.venue).clock_offset_ns;
        Some(Leg {
            market: cell.market(instrument, &self.terms[index], self.at)?,
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
