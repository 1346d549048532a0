//! The quality of data, and drift.

use std::cmp::Reverse;

use tickerml_shared::engine::Engine;
use tickerml_shared::features;
use tickerml_shared::features::drift::{self, Level};

use super::signals::market;
use crate::web::snapshot as web;

/// Features of an instrument that are shown because they are not stable.
const DRIFTED_SHOWN: usize = 8;

/// By instrument.
pub(super) fn quality(engine: &Engine) -> Vec<web::Quality> {
    let monitors = engine.quality().monitors().iter();
    let instruments = engine.setup().instruments.iter();
    let shown = instruments.zip(monitors).map(|(instrument, monitor)| {
        let found = monitor.findings().filter(|(_, finding)| finding.count > 0);
        let mut findings: Vec<_> = found
            .map(|(kind, finding)| web::Finding {
                kind: kind.name().to_owned(),
                count: finding.count,
                last_ns: finding.last.0,
            })
            .collect();
        findings.sort_by_key(|finding| Reverse(finding.count));
        let tally = monitor.rolling();
        web::Quality {
            market: market(instrument),
            score_ppm: monitor.score_ppm(),
            events: tally.events,
            flawed: tally.flawed,
            stale: monitor.is_stale(),
            halted: monitor.is_halted(),
            findings,
        }
    });
    shown.collect()
}

/// By instrument; nothing where no reference is at hand.
pub(super) fn drift(engine: &Engine, watched: &[drift::Drift]) -> Vec<web::Drift> {
    let instruments = engine.setup().instruments.iter();
    let shown = instruments.zip(watched).map(|(instrument, drift)| {
        let moved = drift
            .verdicts()
            .zip(features::selected())
            .filter(|(verdict, _)| verdict.level > Level::Stable);
        let mut moved: Vec<_> = moved.collect();
        moved.sort_by_key(|(verdict, _)| Reverse(verdict.level));
        let feature =
            |(verdict, feature): (&drift::Verdict, features::Feature)| web::DriftedFeature {
                name: feature.to_string(),
                level: verdict.level.name().to_owned(),
                why: verdict.why.map_or("", drift::Why::name).to_owned(),
                deviations: verdict.measures.deviations,
                psi: verdict.measures.index,
            };
        let counts = drift.counts();
        web::Drift {
            market: market(instrument),
            level: drift.level().name().to_owned(),
            since_ns: drift.since().is_known().then_some(drift.since().0),
            updates: drift.updates(),
            counts: [counts.unknown, counts.stable, counts.watch, counts.drifted],
            features: moved.into_iter().take(DRIFTED_SHOWN).map(feature).collect(),
        }
    });
    shown.collect()
}
