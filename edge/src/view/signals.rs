//! Features, arbitrage, what venues differ in, and funding.

use tickerml_shared::arbitrage::{self, Walk};
use tickerml_shared::engine::Engine;
use tickerml_shared::event::RATE_SCALE;
use tickerml_shared::features::{self, Vector};
use tickerml_shared::funding_watch::{self, Level, Status};
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::num::{BPS, Fixed, Qty, pow10};
use tickerml_shared::time::{MILLIS, MINUTES};

use super::cash;
use crate::web::snapshot as web;

/// Over which the page predicts what funding will cost.
const FUNDING_AHEAD_NS: u64 = 24 * 60 * MINUTES;
const DAY_S: f64 = 86_400.0;
/// Millionths in a basis point.
const PPM_PER_BPS: f64 = 100.0;

fn instrument(engine: &Engine, id: InstrumentId) -> &Instrument {
    &engine.setup().instruments[id.index()]
}

pub(super) fn market(instrument: &Instrument) -> web::Market {
    web::Market {
        venue: instrument.venue.name().to_owned(),
        instrument: instrument.symbol.to_string(),
    }
}

/// What a policy sees, as a table: a row per feature, a column per instrument. A policy's order mixes
/// the groups; here those of a group stand together.
pub(super) fn features(engine: &Engine, vectors: &[Option<Vector>]) -> web::FeatureTable {
    let mut selected: Vec<_> = features::selected().enumerate().collect();
    selected.sort_by_key(|(_, feature)| feature.group as u8);
    let rows = selected.into_iter().map(|(place, feature)| {
        let value = |vector: &Option<Vector>| vector.as_ref()?.get(place).map(f64::from);
        web::FeatureRow {
            name: feature.to_string(),
            group: feature.group.name().to_owned(),
            unit: feature.row.unit.name().to_owned(),
            values: vectors.iter().map(value).collect(),
        }
    });
    web::FeatureTable {
        instruments: engine.setup().instruments.iter().map(market).collect(),
        rows: rows.collect(),
    }
}

/// Opportunities of arbitrage.
pub(super) fn arbitrage(engine: &Engine) -> web::Arbitrage {
    let monitor = engine.arbitrage();
    let pairs = monitor.pairs();
    let had_any = pairs.iter().filter(|pair| pair.opened > 0);
    let open = monitor.open().iter();
    web::Arbitrage {
        watched: pairs.len() as u64,
        opened: pairs.iter().map(|pair| pair.opened).sum(),
        dropped: monitor.dropped(),
        open: open.map(|one| opportunity(engine, one)).collect(),
        closed: monitor
            .closed()
            .rev()
            .map(|one| opportunity(engine, one))
            .collect(),
        pairs: had_any.map(|one| pair(engine, one)).collect(),
    }
}

/// The currency that money of a pair is in.
fn currency(buy: &Instrument, sell: &Instrument) -> String {
    if buy.quote == sell.quote {
        buy.quote.to_string()
    } else {
        format!("{} = {}", buy.quote, sell.quote)
    }
}

fn opportunity(engine: &Engine, one: &arbitrage::Opportunity) -> web::Opportunity {
    let (buy, sell) = (instrument(engine, one.buy), instrument(engine, one.sell));
    let text = |qty: Qty| Fixed::new(qty.0, one.qty_scale).trimmed().to_string();
    let gain = |walk: &Walk| web::Gain {
        qty: text(walk.qty),
        net: cash(walk.net()),
        net_bps: walk.net_ppm() as f64 / PPM_PER_BPS,
        cut: walk.cut,
    };
    let lost = |attempt: &arbitrage::Attempt| attempt.due.is_none() && attempt.got.is_none();
    let trial = match &one.outcome {
        Some(outcome) => web::Trial::Done {
            filled: outcome.bought == one.first.qty && outcome.sold == one.first.qty,
            bought: text(outcome.bought),
            sold: text(outcome.sold),
            unhedged: text(outcome.unhedged()),
            net: cash(outcome.net),
        },
        None if lost(&one.trial.buy) || lost(&one.trial.sell) => web::Trial::Lost,
        None => web::Trial::Pending,
    };
    web::Opportunity {
        id: one.id,
        buy: market(buy),
        sell: market(sell),
        currency: currency(buy, sell),
        opened_ns: one.opened.0,
        lifetime_ms: one.lifetime_ns() / MILLIS,
        last: gain(&one.last),
        best: gain(&one.best),
        closed: one.closed.map(|(_, cause)| cause.name().to_owned()),
        trial,
    }
}

fn pair(engine: &Engine, one: &arbitrage::Pair) -> web::ArbitragePair {
    let (buy, sell) = (instrument(engine, one.buy), instrument(engine, one.sell));
    web::ArbitragePair {
        buy: market(buy),
        sell: market(sell),
        currency: currency(buy, sell),
        opened: one.opened,
        closed: one.closed,
        lifetime_mean_ms: one.lifetime_ns_mean().map(|ns| ns / MILLIS),
        lifetime_median_ms: one.lifetime_ns_median().map(|ns| ns / MILLIS),
        net: cash(one.net),
        tried: one.tried,
        filled: one.filled,
        tried_net: cash(one.tried_net),
    }
}

/// What the instruments of each asset differ in; an asset of one instrument has nothing to compare.
pub(super) fn spreads(engine: &Engine) -> Vec<web::Spreads> {
    let crosses = engine
        .crosses()
        .iter()
        .filter(|cross| cross.ids().len() > 1);
    crosses
        .map(|cross| {
            let ids: Vec<InstrumentId> = cross.ids().collect();
            let mut against = vec![vec![None; ids.len()]; ids.len()];
            let place = |id| ids.iter().position(|known| *known == id);
            for spread in cross.spreads() {
                if let (Some(one), Some(other)) = (place(spread.one), place(spread.other)) {
                    against[one][other] = Some(web::Spread {
                        mid_bps: spread.mid_bps,
                        crossed_bps: spread.crossed_bps,
                    });
                }
            }
            let first = ids.first().map(|id| instrument(engine, *id));
            web::Spreads {
                asset: first.map_or_else(String::new, |first| first.base.to_string()),
                instruments: ids
                    .iter()
                    .map(|id| market(instrument(engine, *id)))
                    .collect(),
                against,
            }
        })
        .collect()
}

/// Funding of the perpetuals whose venue announced any.
pub(super) fn funding(engine: &Engine) -> Vec<web::Funding> {
    engine
        .funding(FUNDING_AHEAD_NS)
        .map(|status| funding_of(engine, &status))
        .collect()
}

fn funding_of(engine: &Engine, status: &Status) -> web::Funding {
    let traded = instrument(engine, status.instrument);
    let bps = |rate: i64| rate as f64 / pow10(RATE_SCALE) as f64 * BPS as f64;
    let rate_bps = status.rate.map(bps);
    let per_day = |rate: f64| {
        let interval = status.interval_s.filter(|interval| *interval > 0)?;
        Some(rate * DAY_S / f64::from(interval))
    };
    let held = status.holding;
    let holding = (held.qty.0 != 0).then(|| web::FundedHolding {
        side: if held.qty.0 > 0 { "long" } else { "short" }.to_owned(),
        qty: traded.qty_text(Qty(held.qty.0.abs())).to_string(),
        since_ns: held.funded.map(|(since, _)| since.0),
        paid: held.funded.map(|(_, received)| -cash(received)),
    });
    web::Funding {
        instrument: traded.symbol.to_string(),
        venue: traded.venue.name().to_owned(),
        next_ns: status.settles.map(|settles| settles.0),
        interval_s: status.interval_s,
        rate_bps,
        per_day_bps: rate_bps.and_then(per_day),
        next_rate_bps: status.predicted.map(bps),
        level: match status.level {
            Level::Calm => web::FundingLevel::Calm,
            Level::Warning => web::FundingLevel::Warning,
            Level::Blocking => web::FundingLevel::Blocking,
        },
        // What is not held costs nothing.
        predicted: status
            .expected
            .filter(|_| holding.is_some())
            .map(|received| -cash(received)),
        holding,
        paid: -cash(engine.ledger().position(status.instrument).funding),
        long: advice(status.long),
        short: advice(status.short),
    }
}

fn advice(advice: funding_watch::Advice) -> web::Advice {
    let timing = |timing| match timing {
        funding_watch::Timing::Anytime => web::Timing::Anytime,
        funding_watch::Timing::Before(at) => web::Timing::Before { ns: at.0 },
        funding_watch::Timing::After(at) => web::Timing::After { ns: at.0 },
    };
    web::Advice {
        enter: timing(advice.enter),
        exit: timing(advice.exit),
    }
}
