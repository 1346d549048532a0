//! What the page is told: the engine's state and the shell's counters as plain values.

use std::cmp::Reverse;

mod data;
mod recent;
mod risk;
mod signals;
mod trading;

use tickerml_shared::book::State as BookState;
use tickerml_shared::engine::{Cell, Engine};
use tickerml_shared::event::{GapReason, Side};
use tickerml_shared::features::Vector;
use tickerml_shared::features::drift::Drift;
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::num::{Cash, Price, Qty, div_round, pow10};
use tickerml_shared::order::Fill;
use tickerml_shared::time::{MILLIS, Time};

pub use recent::Recent;

use crate::feed::FeedStatus;
use crate::web::snapshot::{self as web, Snapshot};

/// The shell's own counters.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    /// The parts of a snapshot that do not change while the process lives.
    pub identity: Snapshot,
    /// The process and its host.
    pub system: web::System,
    /// The policy.
    pub model: web::Model,
    /// By instrument, how far its features have drifted; empty without a reference.
    pub drift: Vec<Drift>,
    /// How each connection is doing.
    pub feeds: Vec<FeedStatus>,
}

/// Everything the page shows.
#[must_use]
pub fn snapshot(engine: &Engine, recent: &Recent, shell: Shell, now: Time) -> Snapshot {
    let instruments = &engine.setup().instruments;
    let Shell {
        identity,
        system,
        model,
        drift,
        feeds,
    } = shell;
    let vectors = vectors(engine);
    let mut snapshot = Snapshot {
        now_ns: now.0,
        account: account(engine, recent),
        positions: positions(engine),
        orders: trading::orders(engine, now),
        fill_counts: recent.counts(),
        attribution: trading::attribution(engine),
        performance: trading::performance(engine),
        quality: data::quality(engine),
        drift: data::drift(engine, &drift),
        funding: signals::funding(engine),
        reconciliation: trading::reconciliation(engine),
        paper: trading::terms(engine),
        risk: risk::risk(engine, recent, now),
        fills: recent.fills.iter().cloned().collect(),
        decisions: recent.decisions.iter().cloned().collect(),
        venues: feeds.iter().map(venue).collect(),
        books: engine
            .cells()
            .iter()
            .zip(instruments)
            .zip(&vectors)
            .map(|((cell, instrument), vector)| book(cell, instrument, vector.as_ref()))
            .collect(),
        gaps: recent.gaps.iter().map(|(_, gap)| gap.clone()).collect(),
        alarms: recent.alarms.iter().cloned().collect(),
        features: signals::features(engine, &vectors),
        arbitrage: signals::arbitrage(engine),
        spreads: signals::spreads(engine),
        system,
        halts: risk::halts(engine, now),
        model,
        ..identity
    };
    snapshot.health = health(engine, &snapshot, now);
    snapshot.bound();
    snapshot
}

fn health(engine: &Engine, snapshot: &Snapshot, now: Time) -> web::Health {
    let mut restricted: Vec<_> = snapshot.risk.restricted().collect();
    restricted.sort_by_key(|scope| Reverse(scope.state));
    let mut reasons: Vec<_> = restricted.into_iter().map(reason).collect();
    let stale: Vec<_> = engine
        .cells()
        .iter()
        .filter_map(|cell| match cell.book.state() {
            BookState::Stale { since, .. } => Some(since),
            BookState::Live { .. } => None,
        })
        .collect();
    // One stale book is the day's business; a market that is dark is not.
    let dark = stale.len() == engine.cells().len();
    if dark {
        let since = stale
            .iter()
            .max()
            .copied()
            .filter(|since| since.is_known())
            .unwrap_or(now);
        reasons.push(web::Reason {
            code: "stale".to_owned(),
            text: "No book is live.".to_owned(),
            since_ns: since.0,
            command: None,
        });
    }
    web::Health {
        ready: true,
        halted: engine.risk().halted().is_some_and(|halt| halt.holds(now)),
        stale: dark,
        reasons,
    }
}

/// Why a scope does not trade freely.
fn reason(scope: &web::Scope) -> web::Reason {
    let what = match scope.scope.as_str() {
        "portfolio" => "The portfolio",
        _ => &scope.what,
    };
    web::Reason {
        code: scope.state.name().to_owned(),
        text: format!("{what} is {}: {}", scope.state.name(), scope.cause),
        since_ns: scope.since_ns.unwrap_or_default(),
        command: scope.command.clone(),
    }
}

fn account(engine: &Engine, recent: &Recent) -> web::Account {
    let (ledger, mark) = (engine.ledger(), engine.risk().mark());
    let equity = engine.equity();
    let realised = ledger.realised();
    let unrealised = equity - ledger.capital() - realised + ledger.fees() - ledger.funding();
    let below = cash(mark.peak - equity).max(0.0);
    web::Account {
        currency: "USD".to_owned(),
        equity: Some(cash(equity)),
        cash: Some(cash(ledger.cash())),
        drawdown_pct: (mark.peak > Cash::ZERO).then(|| below / cash(mark.peak) * 100.0),
        high_water_mark: Some(cash(mark.peak)),
        day_pnl: recent.day.map(|(_, start)| cash(equity) - start),
        realised: Some(cash(realised)),
        unrealised: Some(cash(unrealised)),
        fees: Some(cash(ledger.fees())),
        equity_history: recent.equity.clone(),
    }
}

fn positions(engine: &Engine) -> Vec<web::Position> {
    let instruments = &engine.setup().instruments;
    let cells = engine
        .cells()
        .iter()
        .zip(instruments)
        .zip(engine.ledger().positions());
    cells
        .filter(|(_, position)| position.qty.0 != 0)
        .map(|((cell, instrument), position)| {
            let long = position.qty.0 > 0;
            let mark = cell.marks().map(|(bid, ask)| if long { bid } else { ask });
            let value =
                mark.map(|mark| tickerml_shared::ledger::Ledger::value(position, mark, instrument));
            web::Position {
                instrument: instrument.symbol.to_string(),
                venue: instrument.venue.name().to_owned(),
                side: if long { "long" } else { "short" }.to_owned(),
                qty: instrument.qty_text(Qty(position.qty.0.abs())).to_string(),
                avg_price: Some(average(position.cost, position.qty, instrument)),
                mark: mark.map(|mark| price(mark, instrument)),
                unrealised: value.map(|value| cash(value - position.cost)),
                notional: value.map(|value| cash(value).abs()),
            }
        })
        .collect()
}

fn venue(feed: &FeedStatus) -> web::Venue {
    let status = &feed.session;
    let ms = |nanoseconds: i64| nanoseconds as f64 / MILLIS as f64;
    let live = status.state == "open";
    web::Venue {
        name: feed.venue.name().to_owned(),
        host: feed.host.clone(),
        state: if live { "live" } else { status.state }.to_owned(),
        reason: (!live && !status.why.is_empty()).then(|| status.why.clone()),
        connected_since_ns: status.connected_since.map(|since| since.0),
        reconnects: status.reconnects,
        last_message_ns: status.last_frame.is_known().then_some(status.last_frame.0),
        frames: status.frames,
        bytes: feed.bytes,
        latency_p50_ms: feed.latency_quantile(50).map(ms),
        latency_p99_ms: feed.latency_quantile(99).map(ms),
        clock_offset_ms: feed.clock_offset_ns().map(ms),
        parse_errors: status.parse_errors,
        resyncs: status.resyncs,
    }
}

fn book(cell: &Cell, instrument: &Instrument, vector: Option<&Vector>) -> web::Book {
    let counters = cell.book.counters();
    let (live, stale_reason, since) = match cell.book.state() {
        BookState::Live { since } => (true, None, since),
        BookState::Stale { reason, since } => (false, Some(reason.name().to_owned()), since),
    };
    let best = |side: Side| {
        cell.book.best(side).map(|level| web::Quote {
            price: instrument.price_text(level.price).to_string(),
            qty: instrument.qty_text(level.qty).to_string(),
        })
    };
    let gaps = |reason: GapReason| counters.gaps[reason as usize];
    let feature = |name: &str| vector.and_then(|v| v.named(name)).map(f64::from);
    let mid = cell
        .book
        .double_mid()
        .map(|d| d as f64 / (2 * pow10(instrument.price_scale)) as f64);
    web::Book {
        instrument: instrument.symbol.to_string(),
        venue: instrument.venue.name().to_owned(),
        live,
        stale_reason,
        since_ns: since.0,
        best_bid: best(Side::Buy),
        best_ask: best(Side::Sell),
        spread_bps: feature("spread"),
        mid,
        imbalance: feature("book_imbalance_5"),
        depth: [
            cell.book.len(Side::Buy) as u64,
            cell.book.len(Side::Sell) as u64,
        ],
        gaps: web::GapCounts {
            sequence: gaps(GapReason::Sequence),
            checksum: gaps(GapReason::Checksum),
            crossed: gaps(GapReason::Crossed) + gaps(GapReason::Touch),
            overflow: gaps(GapReason::Overflow),
            unparsable: gaps(GapReason::Unparsable),
            stale: gaps(GapReason::Silent) + gaps(GapReason::Horizon),
            disconnect: gaps(GapReason::Disconnected),
        },
        checksums_verified: counters.checksums_verified,
        checksums_failed: counters.checksums_failed,
        bbo_equal: counters.touches_equal,
        bbo_different: counters.touches_different,
        events: counters.events,
        trades: cell.trades,
    }
}

/// What a policy would see of each instrument now.
fn vectors(engine: &Engine) -> Vec<Option<Vector>> {
    let ids = (0..).map(InstrumentId).take(engine.cells().len());
    ids.map(|id| engine.table(id).map(|table| Vector::select(&table)))
        .collect()
}

/// `venue symbol`, as the page names an instrument.
#[must_use]
pub fn name(instrument: &Instrument) -> String {
    format!("{} {}", instrument.venue, instrument.symbol)
}

fn cash(amount: Cash) -> f64 {
    amount.0 as f64 / Cash::ONE.0 as f64
}

fn price(price: Price, instrument: &Instrument) -> f64 {
    price.0 as f64 / pow10(instrument.price_scale) as f64
}

fn average(notional: Cash, qty: Qty, instrument: &Instrument) -> f64 {
    cash(notional) / (qty.0 as f64 / pow10(instrument.qty_scale) as f64)
}

/// The price of a fill: that of a resting order is its limit; that of one that takes is the average
/// over the levels, to a hundredth of a tick.
fn fill_price(fill: &Fill, instrument: &Instrument) -> Price {
    if fill.maker {
        return fill.worst;
    }
    let step = (instrument.tick / 100).max(1);
    let average = average_price(fill, instrument);
    Price(div_round(i128::from(average.0), i128::from(step)).saturating_mul(step))
}

/// The average price of a fill in the instrument's own units.
fn average_price(fill: &Fill, instrument: &Instrument) -> Price {
    let shift = i32::from(instrument.price_scale) + i32::from(instrument.qty_scale) - 8;
    let factor = 10_i128.pow(shift.unsigned_abs());
    let notional = i128::from(fill.notional.0);
    let scaled = if shift >= 0 {
        notional * factor
    } else {
        notional / factor
    };
    Price(div_round(scaled, i128::from(fill.qty.0.max(1))))
}

#[cfg(test)]
mod tests {
    use tickerml_shared::attribution::Split;
    use tickerml_shared::instrument::Venue;

    use super::*;

    #[test]
    fn a_fill_has_its_limit_or_its_average() {
        let mut instrument = Instrument::unknown(Venue::Kraken, "SOL/USD").expect("short");
        (instrument.price_scale, instrument.qty_scale) = (8, 8);
        instrument.tick = 1_000_000;
        let mut fill = Fill {
            side: Side::Buy,
            qty: Qty(8_826_975),
            left: Qty(0),
            // 180.35 times the quantity, cut to the units of cash.
            notional: Cash(1_591_944_941),
            worst: Price(18_036_000_000),
            fee: Cash::ZERO,
            maker: false,
            synthetic: false,
            spanned_gap: false,
            queue_orders: 0,
            split: Split::default(),
        };
        let text = |fill: &Fill| {
            let price = fill_price(fill, &instrument);
            instrument.price_text(price).to_string()
        };
        let exact = average_price(&fill, &instrument);
        assert_ne!(exact, Price(18_035_000_000), "cutting shows in the average");
        assert_eq!(text(&fill), "180.35");
        fill.maker = true;
        assert_eq!(text(&fill), "180.36");
    }
}
