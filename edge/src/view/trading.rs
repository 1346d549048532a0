//! Orders, where the money went, results, and the terms of paper trading.

use tickerml_shared::attribution::{Lines, REASONS, total};
use tickerml_shared::engine::Engine;
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::num::{Qty, pow10};
use tickerml_shared::order::{Kind, Life, Order, Reason, TimeInForce};
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::performance::{DEFAULT_PERIOD_NS, Performance};
use tickerml_shared::positions::Strategy;
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use super::cash;
use crate::web::snapshot as web;

fn ids(engine: &Engine) -> impl Iterator<Item = (InstrumentId, &Instrument)> {
    (0_u16..).map(InstrumentId).zip(&engine.setup().instruments)
}

fn base(qty: f64, instrument: &Instrument) -> f64 {
    qty / pow10(instrument.qty_scale) as f64
}

/// The open orders, with their place in the queue as the paper venue sees it.
pub(super) fn orders(engine: &Engine, now: Time) -> Vec<web::Order> {
    engine
        .orders()
        .open()
        .map(|life| {
            let order = life.order();
            let instrument = &engine.setup().instruments[order.instrument.index()];
            open_order(engine, life, order, instrument, now)
        })
        .collect()
}

fn open_order(
    engine: &Engine,
    life: &Life,
    order: &Order,
    instrument: &Instrument,
    now: Time,
) -> web::Order {
    let executed = match life {
        Life::Resting(resting) => resting.executed(),
        Life::Sent(_) | Life::Ended(_) => Qty(0),
    };
    let mut resting = engine.paper().resting(order.instrument);
    let resting = resting.find(|resting| resting.order.id == order.id);
    web::Order {
        id: order.id.0.to_string(),
        instrument: instrument.symbol.to_string(),
        venue: instrument.venue.name().to_owned(),
        side: order.side.name().to_owned(),
        kind: match order.kind {
            Kind::Market => "market",
            Kind::Limit(_) => "limit",
        }
        .to_owned(),
        time_in_force: match order.time_in_force {
            TimeInForce::Gtc => "GTC",
            TimeInForce::PostOnly => "post-only",
            TimeInForce::Ioc => "IOC",
            TimeInForce::Fok => "FOK",
        }
        .to_owned(),
        qty: instrument.qty_text(order.qty).to_string(),
        executed: instrument.qty_text(executed).to_string(),
        left: instrument.qty_text(life.left()).to_string(),
        price: match order.kind {
            Kind::Market => None,
            Kind::Limit(price) => Some(instrument.price_text(price).to_string()),
        },
        state: life.name().to_owned(),
        reason: order.reason.name().to_owned(),
        age_ms: now.since(order.sent).max(0).unsigned_abs() / MILLIS,
        queue: resting.map(|resting| web::Queue {
            optimistic: resting.queue.optimistic,
            estimate: resting.queue.estimate,
            pessimistic: resting.queue.pessimistic,
            joined: Some(base(resting.joined_ahead.0 as f64, instrument)),
        }),
        spanned_gap: resting.is_some_and(|resting| resting.spanned_gap),
        synthetic: false,
    }
}

fn effects(name: String, venue: String, lines: &Lines) -> web::Effects {
    web::Effects {
        name,
        venue,
        market: cash(lines.market),
        spread: cash(lines.spread),
        latency: cash(lines.latency),
        queue: cash(lines.queue),
        impact: cash(lines.impact),
        fees: cash(lines.fees),
        funding: cash(lines.funding),
        sum: cash(lines.sum()),
    }
}

/// Where the money went: per instrument, per reason, and in all, beside the ledger's own profit.
pub(super) fn attribution(engine: &Engine) -> web::Attribution {
    let parts = engine.attribution();
    let mut all = Lines::default();
    let mut by_instrument = Vec::new();
    for ((id, instrument), part) in ids(engine).zip(parts) {
        let lines = part.lines(engine.value(id));
        all += lines;
        if part.fills().fills > 0 {
            by_instrument.push(effects(
                instrument.symbol.to_string(),
                instrument.venue.name().to_owned(),
                &lines,
            ));
        }
    }
    let sum = total(
        ids(engine)
            .zip(parts)
            .map(|((id, _), part)| (part, engine.value(id))),
    );
    let total = web::Effects {
        sum: cash(sum),
        ..effects("total".to_owned(), String::new(), &all)
    };
    web::Attribution {
        total: Some(total),
        by_instrument,
        by_reason: (0..REASONS)
            .filter_map(|place| by_reason(engine, place))
            .collect(),
        ledger_profit: Some(cash(engine.equity() - engine.ledger().capital())),
    }
}

/// The parts that fills of one reason tell; the market's movement belongs to no reason.
fn by_reason(engine: &Engine, place: usize) -> Option<web::Effects> {
    let reason = Reason::ALL[place];
    let (mut lines, mut fills) = (Lines::default(), 0);
    for part in engine.attribution() {
        let row = part.row(reason);
        lines.latency += row.latency;
        lines.queue += row.queue;
        lines.spread += row.spread;
        lines.impact += row.impact;
        lines.fees += -row.fees;
        fills += row.fills;
    }
    (fills > 0).then(|| effects(reason.name().to_owned(), String::new(), &lines))
}

/// Returns, round trips and turnover.
pub(super) fn performance(engine: &Engine) -> web::Performance {
    let card = engine.scorecard();
    let instruments = ids(engine).filter_map(|(id, instrument)| {
        let series = card.instrument(id)?;
        let traded = series.summary().traded.0 > 0;
        let (name, venue) = (instrument.symbol.to_string(), instrument.venue.name());
        traded.then(|| figures(name, venue.to_owned(), series))
    });
    let strategies = Strategy::all().filter_map(|strategy| {
        let series = card.strategy(strategy)?;
        Some(figures(
            strategy.reason().name().to_owned(),
            String::new(),
            series,
        ))
    });
    let portfolio = card.portfolio();
    web::Performance {
        since_ns: None,
        returns: portfolio.summary().periods,
        return_step_s: DEFAULT_PERIOD_NS.get() / SECONDS,
        portfolio: figures("portfolio".to_owned(), String::new(), portfolio),
        by_instrument: instruments.collect(),
        by_strategy: strategies.collect(),
    }
}

fn figures(name: String, venue: String, series: &Performance) -> web::Figures {
    let summary = series.summary();
    let percent = |share: f64| share * 100.0;
    web::Figures {
        name,
        venue,
        pnl: Some(cash(summary.pnl)),
        return_pct: summary.total_return.map(percent),
        sharpe: summary.sharpe,
        sortino: summary.sortino,
        calmar: summary.calmar,
        max_drawdown_pct: summary.max_drawdown.map(|drawdown| percent(drawdown.depth)),
        max_drawdown_s: summary
            .max_drawdown
            .map(|_| summary.max_drawdown_ns / SECONDS),
        var_95_pct: summary.tail.map(|tail| percent(tail.value_at_risk)),
        cvar_95_pct: summary.tail.map(|tail| percent(tail.conditional)),
        win_rate: summary.trades.win_rate(),
        profit_factor: summary.trades.profit_factor(),
        turnover: summary.turnover,
        exposure_pct: summary.exposure.map(percent),
        trades: summary.trades.count,
    }
}

/// What the newest comparisons with the venue's statement found, and what is still travelling.
pub(super) fn reconciliation(engine: &Engine) -> web::Reconciliation {
    let differences = engine.tracker().differences().map(|difference| {
        let instrument = &engine.setup().instruments[difference.instrument.index()];
        let text = |qty: Qty| instrument.qty_text(qty).to_string();
        web::Difference {
            venue: instrument.venue.name().to_owned(),
            what: instrument.symbol.to_string(),
            ours: text(difference.ours),
            theirs: text(difference.statement),
            travelling: text(difference.unheard),
            explained: false,
            since_ns: Some(difference.at.0),
        }
    });
    let mut differences: Vec<_> = differences.collect();
    for (id, instrument) in ids(engine) {
        let statement = engine.paper().statement(id);
        if statement.unheard.0 != 0 {
            let text = |qty: Qty| instrument.qty_text(qty).to_string();
            differences.push(web::Difference {
                venue: instrument.venue.name().to_owned(),
                what: instrument.symbol.to_string(),
                ours: text(engine.ledger().position(id).qty),
                theirs: text(statement.position),
                travelling: text(statement.unheard),
                explained: true,
                since_ns: None,
            });
        }
    }
    web::Reconciliation {
        checked_ns: engine.tracker().reconciled().map(|at| at.0),
        checks: engine.tracker().rounds(),
        differences,
    }
}

/// What trading at each venue costs now, and which effects are on.
pub(super) fn terms(engine: &Engine) -> Vec<web::PaperTerms> {
    let setup = engine.setup();
    let mut venues: Vec<web::PaperTerms> = Vec::new();
    for (instrument, terms) in setup.instruments.iter().zip(engine.terms()) {
        let venue = instrument.venue;
        if venues.iter().any(|known| known.venue == venue.name()) {
            continue;
        }
        let mut trips = engine.paper().round_trips().of(venue).to_vec();
        trips.sort_unstable();
        let quantile = |percent: usize| {
            let trip = trips.get(trips.len() * percent / 100)?;
            Some(*trip as f64 / MILLIS as f64)
        };
        let rules = &terms.rules;
        let switch = |name: &str, on: bool| web::Switch {
            name: name.to_owned(),
            on,
        };
        venues.push(web::PaperTerms {
            venue: venue.name().to_owned(),
            maker_fee_bps: Some(f64::from(terms.maker_fee_ppm) / 100.0),
            taker_fee_bps: Some(f64::from(terms.taker_fee_ppm) / 100.0),
            latency_mode: match &terms.latency {
                Latency::Constant { .. } => "constant",
                Latency::Measured { .. } => "measured",
                Latency::Recorded(_) => "recorded",
            }
            .to_owned(),
            round_trip_p50_ms: quantile(50),
            round_trip_p99_ms: quantile(99),
            round_trips: trips.len() as u64,
            queue_model: rules.queue.to_string(),
            switches: vec![
                switch("latency", rules.latency),
                switch("queue position", rules.queue_position),
                switch("partial fills", rules.partial_fills),
                switch("shared volume", rules.shared_volume),
                switch("consumption", rules.consumption_ns > 0),
                switch("impact", setup.impact.enabled),
                switch("fees", rules.fees),
                switch("funding", setup.funding),
                switch("synthetic book", setup.synthetic_book),
                switch("void on gap", rules.void_on_gap),
            ],
        });
    }
    venues
}
