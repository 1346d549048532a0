//! What follows from a fold for the rest of the shell: requests to the connections, the page's memory,
//! alarms.

use tickerml_shared::event::{Event, Operator};
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::order::Report;
use tickerml_shared::risk::state::Scope;
use tickerml_shared::time::Time;

use super::{Runner, news, quality};
use crate::desk::Effect;
use crate::feed::FeedCommand;
use crate::view;

impl Runner {
    pub(super) fn effect(&mut self, at: Time, effect: Effect) {
        let setup = self.desk.engine().setup();
        match effect {
            Effect::Gap {
                instrument,
                gap,
                found,
            } => {
                let what = &setup.instruments[instrument.index()];
                self.recent.gap(at, instrument, what, &gap);
                self.gap_row += 1;
                if let Ok(row) = postcard::to_allocvec(&(at, instrument, gap)) {
                    self.store.gap(self.gap_row, row);
                }
                if found {
                    self.ask(instrument, FeedCommand::Resync(instrument));
                }
            }
            Effect::History(instrument, timeframe) => {
                // Where a venue needs two connections, one answer is enough.
                let mut feeds = self.feeds.iter();
                if let Some(feed) = feeds.find(|feed| feed.carries(instrument)) {
                    feed.command(FeedCommand::History(instrument, timeframe));
                }
            }
            Effect::Verdict { decision, verdict } => {
                self.decisions += 1;
                self.orders += u64::from(verdict.is_ok());
                let what = &setup.instruments[decision.instrument.index()];
                self.recent.decision(at, what, &decision, verdict);
            }
            Effect::Settled(event) => self.settled(at, &event),
            Effect::Booked {
                report,
                fill,
                reason,
            } => {
                self.fills += 1;
                let what = &setup.instruments[report.instrument.index()];
                self.recent.fill(what, &report, &fill, reason);
            }
            Effect::Missed(missed) => {
                let what = view::name(&setup.instruments[missed.instrument.index()]);
                let count = missed
                    .count
                    .map_or("an unknown number of".to_owned(), |count| count.to_string());
                let charged = if missed.charged {
                    "charged at the last rate"
                } else {
                    "not charged"
                };
                let text = format!("{what}: {count} funding settlements passed unseen, {charged}");
                self.alarm("warning", "funding-missed", text);
            }
            Effect::Toxic(mark) => self.recent.toxic(&mark),
            Effect::Arbitrage(what) => {
                if let Some((severity, code, text)) = news::arbitrage(setup, &what) {
                    self.alarm(severity, code, text);
                }
            }
            Effect::Funding(alert) => {
                let (severity, code, text) = news::funding(setup, &alert);
                self.alarm(severity, code, text);
            }
            Effect::Drift(instrument, level) => {
                let (severity, code, text) = news::drift(setup, instrument, level);
                self.alarm(severity, code, text);
            }
            Effect::Quality(report) => {
                let what = &setup.instruments[report.instrument.index()];
                if let Err(error) = quality::write(&self.dir, what, &report) {
                    self.alarm("warning", "quality-report", error.to_string());
                }
            }
        }
    }

    /// A durable event was applied: what the page and the operator are told of it.
    fn settled(&mut self, at: Time, event: &Event) {
        match event {
            Event::Report(report) => self.reported(report),
            Event::Restrict(restriction) => {
                let scope = self.scope_name(restriction.scope);
                let (level, code) = (restriction.level.name(), restriction.cause.code());
                self.alarm("critical", code, format!("{scope} is {level}"));
            }
            Event::Funded(funded) => {
                let what = &self.desk.engine().setup().instruments[funded.instrument.index()];
                tracing::info!(
                    instrument = %view::name(what),
                    received = %funded.amount,
                    estimated = funded.estimated,
                    "funding",
                );
            }
            Event::Operator(Operator::Resume { scope, reason }) => {
                let scope = self.scope_name(*scope);
                tracing::warn!(%scope, %reason, "resumed");
                let text = format!("{scope} resumed: {reason}");
                self.recent.alarm(at, "info", "resumed", text);
            }
            Event::Operator(Operator::Halt { scope, cause }) => {
                let text = format!("{} halted", self.scope_name(*scope));
                self.alarm("critical", cause.code(), text);
            }
            Event::Operator(Operator::Flatten(cause)) => {
                self.alarm(
                    "critical",
                    cause.code(),
                    "closing every position".to_owned(),
                );
            }
            Event::Start
            | Event::Mark(_)
            | Event::Market(_)
            | Event::Pulse
            | Event::Decision(_)
            | Event::Health(_) => {}
        }
    }

    fn reported(&self, report: &Report) {
        let what = &self.desk.engine().setup().instruments[report.instrument.index()];
        tracing::debug!(
            instrument = %view::name(what),
            order = report.order.0,
            number = report.number,
            outcome = ?report.outcome,
            "report",
        );
    }

    pub(super) fn scope_name(&self, scope: Scope) -> String {
        match scope {
            Scope::Portfolio => "the portfolio".to_owned(),
            Scope::Venue(venue) => venue.name().to_owned(),
            Scope::Instrument(id) => {
                view::name(&self.desk.engine().setup().instruments[id.index()])
            }
        }
    }

    /// Asks something of the connections of an instrument.
    pub(super) fn ask(&self, instrument: InstrumentId, command: FeedCommand) {
        for feed in self.feeds.iter().filter(|feed| feed.carries(instrument)) {
            feed.command(command);
        }
    }
}
