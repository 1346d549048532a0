//! What may be traded, why not more, and how near each limit is.

use std::collections::BTreeMap;

use tickerml_shared::engine::Engine;
use tickerml_shared::num::Cash;
use tickerml_shared::risk::denial::Denial;
use tickerml_shared::risk::gate::{Row, Standing, Subject};
use tickerml_shared::risk::limits::{Unit, key};
use tickerml_shared::risk::state::{Cause, Level, Restriction, Scope};
use tickerml_shared::time::Time;

use super::Recent;
use crate::web::snapshot as web;

/// What risk allows, what it refused, and its limits.
pub(super) fn risk(engine: &Engine, recent: &Recent, now: Time) -> web::Risk {
    let limits = engine.risk().limits();
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    web::Risk {
        scopes: scopes(engine, now),
        limits: engine
            .limits()
            .iter()
            .map(|row| limit(engine, row))
            .collect(),
        violations: web::Violations {
            recent: engine
                .risk()
                .recent_violations(now)
                .map(|(at, what, of)| web::Violation {
                    ns: at.0,
                    code: what.code().to_owned(),
                    scope: subject(engine, of),
                    text: denial(what).to_owned(),
                })
                .collect(),
            count: count(engine.risk().violations(now)),
            most: count(limits.emergency_violations),
            window_s: count(limits.emergency_window_s),
            total: engine.risk().violations_total(),
        },
        denials: recent.denials.iter().cloned().collect(),
        denial_counts: recent
            .denied
            .iter()
            .map(|(code, count)| web::DenialCount {
                code: (*code).to_owned(),
                count: *count,
            })
            .collect(),
    }
}

/// The restrictions that halt.
pub(super) fn halts(engine: &Engine, now: Time) -> Vec<web::Halt> {
    let states = engine.risk().states().iter();
    states
        .filter(|state| state.level == Level::Halted && state.holds(now))
        .map(|state| {
            let (scope, what) = named(engine, state.scope);
            web::Halt {
                scope: scope.to_owned(),
                how_to_clear: command(state.scope, &what),
                what,
                why: cause(state.cause).to_owned(),
                since_ns: state.since.0,
            }
        })
        .collect()
}

/// Portfolio, venues and instruments, each with the strictest restriction of its own.
fn scopes(engine: &Engine, now: Time) -> Vec<web::Scope> {
    // Of two that are as strict the one that lasts longer.
    let strictness = |state: &Restriction| (state.level, state.until.is_none(), state.until);
    let mut strictest: BTreeMap<Scope, &Restriction> = BTreeMap::new();
    let states = engine.risk().states().iter();
    for state in states.filter(|state| state.holds(now)) {
        let known = strictest.entry(state.scope).or_insert(state);
        if strictness(state) > strictness(known) {
            *known = state;
        }
    }
    let instruments = &engine.setup().instruments;
    let mut all = vec![Scope::Portfolio];
    for instrument in instruments {
        let venue = Scope::Venue(instrument.venue);
        if !all.contains(&venue) {
            all.push(venue);
        }
    }
    let ids = (0_u16..).map(tickerml_shared::instrument::InstrumentId);
    all.extend(ids.take(instruments.len()).map(Scope::Instrument));
    all.into_iter()
        .map(|scope| {
            let (kind, what) = named(engine, scope);
            let plain = web::Scope {
                scope: kind.to_owned(),
                what,
                ..web::Scope::default()
            };
            strictest
                .get(&scope)
                .map_or_else(|| plain.clone(), |state| restricted(&plain, state))
        })
        .collect()
}

fn restricted(plain: &web::Scope, state: &Restriction) -> web::Scope {
    let command = command(state.scope, &plain.what);
    let how = match state.until {
        Some(_) => "It ends by itself, or at once by".to_owned(),
        None => "An operator resumes it, with a reason:".to_owned(),
    };
    web::Scope {
        state: match state.level {
            Level::Active => web::TradingState::Active,
            Level::Reducing => web::TradingState::Reducing,
            Level::Halted => web::TradingState::Halted,
        },
        code: state.cause.code().to_owned(),
        cause: cause(state.cause).to_owned(),
        since_ns: Some(state.since.0),
        until_ns: state.until.map(|until| until.0),
        how_to_clear: how,
        command: Some(command),
        ..plain.clone()
    }
}

/// The command that lifts a restriction.
fn command(scope: Scope, what: &str) -> String {
    match scope {
        Scope::Portfolio => "tickerml-edge resume --reason \"…\"".to_owned(),
        _ => format!("tickerml-edge resume --scope {what} --reason \"…\""),
    }
}

/// A scope's kind and its name, as the commands take it.
fn named(engine: &Engine, scope: Scope) -> (&'static str, String) {
    match scope {
        Scope::Portfolio => ("portfolio", "portfolio".to_owned()),
        Scope::Venue(venue) => ("venue", venue.name().to_owned()),
        Scope::Instrument(id) => {
            let instrument = &engine.setup().instruments[id.index()];
            (
                "instrument",
                format!("{}:{}", instrument.venue, instrument.symbol),
            )
        }
    }
}

fn subject(engine: &Engine, subject: Subject) -> String {
    match subject {
        Subject::Scope(scope) => named(engine, scope).1,
        Subject::Sector(place) => {
            let sector = engine.risk().limits().sectors.caps.get(place);
            sector.map_or_else(
                || "sector without a cap".to_owned(),
                |sector| format!("sector {}", sector.name),
            )
        }
        Subject::Group(id) => {
            let (_, what) = named(engine, Scope::Instrument(id));
            format!("group of {what}")
        }
    }
}

fn limit(engine: &Engine, row: &Row) -> web::Limit {
    let (unit, scale) = match row.unit {
        Unit::BasisPoints => ("%", 100.0),
        Unit::Ppm => ("%", 10_000.0),
        Unit::Money => ("USD", Cash::ONE.0 as f64),
        Unit::Seconds => ("s", 1.0),
        Unit::Millis => ("ms", 1.0),
        Unit::Count => ("", 1.0),
    };
    web::Limit {
        code: row.code.to_owned(),
        key: limit_key(row.name).to_owned(),
        name: limit_name(row.name).to_owned(),
        scope: subject(engine, row.subject),
        value: Some(row.value as f64 / scale),
        limit: row.limit as f64 / scale,
        unit: unit.to_owned(),
        bound: if row.floor {
            web::Bound::Least
        } else {
            web::Bound::Most
        },
        tripped: row.standing == Standing::Tripped,
    }
}

/// What a limit is for, for people.
fn limit_name(name: &'static str) -> &'static str {
    match name {
        "sectors" => "Sector cap",
        "unpriced" => "Held positions without a price",
        _ => key(name).map_or(name, |key| key.about.trim_end_matches('.')),
    }
}

/// The name of a limit in the configuration.
fn limit_key(name: &'static str) -> &'static str {
    match name {
        // That no position is without a price is not a matter of configuration.
        "unpriced" => "",
        name => name,
    }
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::DailyLoss => "The day's loss reached its first limit: no new risk today.",
        Cause::DailyHalt => "The day's loss reached its second limit.",
        Cause::WeeklyLoss => "The week's loss reached its limit.",
        Cause::DrawdownReduce => "The drawdown reached its first limit: positions may only shrink.",
        Cause::Drawdown => "The drawdown reached its limit: everything is closed.",
        Cause::Losses => "Too many losses in a row.",
        Cause::CrashHour => "The price moved too far within an hour.",
        Cause::CrashFast => "The price moved too far within five minutes.",
        Cause::Latency => "The venue answers too slowly.",
        Cause::ErrorRate => "Too many of the venue's frames fail.",
        Cause::ClockOffset => "Our clock and the venue's differ too much.",
        Cause::Emergency => "Too many violations in a short time: everything is closed.",
        Cause::Reconciliation => "What is held here differs from what the venue states.",
        Cause::Command => "An operator's command.",
        Cause::KillSwitch => "The kill switch.",
    }
}

/// A denial in one sentence.
pub(super) const fn denial(denial: Denial) -> &'static str {
    match denial {
        Denial::Hold => "The policy chose to hold.",
        Denial::StaleBook => "The book is stale: no price, no order.",
        Denial::Halted => "Trading is halted.",
        Denial::InFlight => "An order of this instrument is still open.",
        Denial::Unsure => "The policy is not sure enough.",
        Denial::AtTarget => "The position is already where it should be.",
        Denial::TooSmall => "The order would be smaller than the least allowed.",
        Denial::WideSpread => "The spread is too wide.",
        Denial::Exposure => "The cap on net exposure is reached.",
        Denial::Forbidden => "A spot position cannot be short.",
        Denial::Reducing => "Positions may only shrink.",
        Denial::PositionCap => "The instrument's position cap is reached.",
        Denial::SectorCap => "The sector's cap is reached.",
        Denial::CorrelatedCap => "The cap of the correlated group is reached.",
        Denial::Heat => "The portfolio's heat is at its limit.",
        Denial::CashReserve => "The cash reserve would be touched.",
        Denial::GrossCap => "The cap on gross exposure is reached.",
        Denial::ThinBook => "Too little stands near the touch.",
        Denial::FundingRate => "The funding rate is beyond its limit.",
        Denial::FundingWindow => "A funding settlement is near.",
        Denial::DailyLoss => cause(Cause::DailyLoss),
        Denial::DailyHalt => cause(Cause::DailyHalt),
        Denial::WeeklyLoss => cause(Cause::WeeklyLoss),
        Denial::DrawdownReduce => cause(Cause::DrawdownReduce),
        Denial::Drawdown => cause(Cause::Drawdown),
        Denial::Losses => cause(Cause::Losses),
        Denial::CrashHour => cause(Cause::CrashHour),
        Denial::CrashFast => cause(Cause::CrashFast),
        Denial::StaleFeed => "Nothing has arrived of this instrument for too long.",
        Denial::Latency => cause(Cause::Latency),
        Denial::ErrorRate => cause(Cause::ErrorRate),
        Denial::ClockOffset => cause(Cause::ClockOffset),
        Denial::CoolingOff => "A cool-off has not ended.",
        Denial::Emergency => cause(Cause::Emergency),
        Denial::Reconciliation => cause(Cause::Reconciliation),
        Denial::NoEdge => "The record shows no edge to bet on.",
        Denial::Unpriced => "A held position has no price.",
    }
}

#[cfg(test)]
mod tests {
    use tickerml_shared::risk::limits::KEYS;

    use super::*;

    #[test]
    fn limits_have_a_name_for_people() {
        for name in KEYS
            .iter()
            .map(|key| key.name)
            .chain(["sectors", "unpriced"])
        {
            let text = limit_name(name);
            assert!(text.starts_with(char::is_uppercase), "{text}");
            assert!(!text.contains('_') && !text.ends_with('.'), "{text}");
        }
        assert_eq!(
            (limit_key("stale_s"), limit_key("unpriced")),
            ("stale_s", "")
        );
    }
}
