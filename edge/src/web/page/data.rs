//! What the data are like: quality by instrument, and drift of what a model sees.

use super::{
    pieces::{Tone, badge, dash, pair, since},
    table::{Col, Shape, number, table, text, wide},
};
use crate::web::{
    html::{Html, fixed, int, put},
    snapshot::Snapshot,
};

/// Clean events, in parts per million, from which a feed is as it should be.
const TARGET_PPM: u32 = tickerml_shared::quality::TARGET_PPM;

/// The share of clean events of every instrument, and what was found.
pub(super) fn quality(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        wide("State"),
        number("Clean, last day"),
        number("Events"),
        number("Flawed"),
        wide("Found since start"),
    ];
    let none = "No instrument is configured.";
    table(
        h,
        Shape::Cards,
        "Quality of data",
        COLS,
        &s.quality,
        none,
        |r, q| {
            r.with(|h| pair(h, &q.market.instrument, &q.market.venue));
            r.with(|h| {
                let (tone, word) = match q {
                    _ if q.stale => (Tone::Bad, "stale quotes"),
                    _ if q.halted => (Tone::Warn, "no trades"),
                    _ => match q.score_ppm {
                        None => (Tone::Idle, "nothing heard"),
                        Some(ppm) if ppm >= TARGET_PPM => (Tone::Good, "clean"),
                        Some(_) => (Tone::Warn, "below 99.9 %"),
                    },
                };
                badge(h, tone, word);
            });
            let percent = q.score_ppm.map(|ppm| f64::from(ppm) / 1e4);
            r.cell(percent.map_or_else(dash, |percent| format!("{} %", fixed(Some(percent), 3))));
            r.good(q.events);
            r.bad(q.flawed);
            r.with(|h| {
                for (place, found) in q.findings.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    put!(h; (comma) (found.kind.replace('_', " ")) " " (int(found.count))
                    r#" <span class="quiet">("# (since(s, found.last_ns)) " ago)</span>");
                }
                if q.findings.is_empty() {
                    put!(h; r#"<span class="quiet">nothing</span>"#);
                }
            });
        },
    );
}

/// How far the features of every instrument are from the reference.
pub(super) fn drift(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        wide("State"),
        number("Pulses"),
        number("Stable"),
        number("Watch"),
        number("Drifted"),
        wide("Features away from the reference"),
    ];
    let none = "No reference is configured ([drift] in edge.toml), so drift is not watched.";
    table(h, Shape::Cards, "Drift", COLS, &s.drift, none, |r, d| {
        r.with(|h| pair(h, &d.market.instrument, &d.market.venue));
        r.with(|h| {
            let tone = match d.level.as_str() {
                "stable" => Tone::Good,
                "watch" => Tone::Warn,
                "drifted" => Tone::Bad,
                _ => Tone::Idle,
            };
            badge(h, tone, &d.level);
            if let Some(ns) = d.since_ns {
                put!(h; r#" <span class="quiet">for "# (since(s, ns)) "</span>");
            }
        });
        r.good(d.updates);
        let [_, stable, watch, drifted] = d.counts.map(u64::from);
        r.good(stable);
        r.bad(watch);
        r.bad(drifted);
        r.with(|h| {
            for (place, feature) in d.features.iter().enumerate() {
                let comma = if place == 0 { "" } else { ", " };
                put!(h; (comma) (&feature.name) r#" <span class="quiet">("# (&feature.why));
                if let Some(deviations) = feature.deviations {
                    put!(h; ", " (fixed(Some(deviations), 1)) " σ");
                }
                put!(h; ")</span>");
            }
            if d.features.is_empty() {
                put!(h; r#"<span class="quiet">none</span>"#);
            }
        });
    });
}
