//! The machine room: alarms, model, build, process, journal, channels.

use super::{
    pieces::{Tone, badge, dash, fact, or_dash, stat, time},
    table::{Col, Shape, number, table, text},
};
use crate::web::{
    chart,
    html::{Html, bytes, duration_s, fixed, int, put, stamp, with_unit},
    snapshot::Snapshot,
};

/// The last alarms.
pub(super) fn alarms(h: &mut Html, s: &Snapshot, most: usize) {
    if s.alarms.is_empty() {
        put!(h; r#"<p class="none">No alarms.</p>"#);
        return;
    }
    put!(h; r#"<ul class="alarms">"#);
    for alarm in s.alarms.iter().take(most) {
        let tone = match alarm.severity.as_str() {
            "critical" => Tone::Bad,
            "warning" => Tone::Warn,
            _ => Tone::Idle,
        };
        put!(h; "<li>" [time(h, alarm.ns, s.now_ns)] " " [badge(h, tone, or_dash(&alarm.severity))]
            " <span>" (&alarm.text) " <code>" (&alarm.code) "</code></span></li>");
    }
    put!(h; "</ul>");
    if s.alarms.len() > most {
        put!(h; r#"<p class="more"><a href="/system">All "# (s.alarms.len()) " alarms</a></p>");
    }
}

/// What decides.
pub(super) fn model(h: &mut Html, s: &Snapshot) {
    let m = &s.model;
    put!(h; r#"<dl class="facts">"#
        [fact(h, "Name", or_dash(&m.name))]
        [fact(h, "Kind", or_dash(&m.kind))]
        [fact(h, "Version", or_dash(&m.version))]
        [fact(h, "Age", m.age_s.map_or_else(dash, duration_s))]
        [stat(h, "Expires", |h| match m.expires_in_s {
            None => put!(h; (dash())),
            Some(left) if left < 0 => badge(h, Tone::Bad, "expired"),
            Some(left) => put!(h; "in " (duration_s(left.unsigned_abs()))),
        })]
        "</dl>");
}

/// What runs.
pub(super) fn build(h: &mut Html, s: &Snapshot) {
    put!(h; r#"<dl class="facts">"#
        [fact(h, "Node", or_dash(&s.node))]
        [fact(h, "Version", or_dash(&s.version))]
        [fact(h, "Schema", or_dash(&s.schema_id))]
        [fact(h, "Configuration", or_dash(&s.config_hash))]
        [fact(h, "Started", stamp(s.started_ns))]
        [fact(h, "Snapshot", stamp(s.now_ns))]
        "</dl>");
}

/// The process and its host.
pub(super) fn host(h: &mut Html, s: &Snapshot) {
    let y = &s.system;
    let us = |value| with_unit(fixed(value, 1), "µs");
    put!(h; r#"<dl class="facts">"#
        [fact(h, "Up for", duration_s(y.uptime_s))]
        [fact(h, "Memory, resident", bytes(y.rss_bytes))]
        [fact(h, "Memory, anonymous", bytes(y.anon_bytes))]
        [fact(h, "Threads", y.threads.map_or_else(dash, int))]
        [fact(h, "CPU temperature", with_unit(fixed(y.cpu_temp_c, 1), "°C"))]
        [fact(h, "Written per day", bytes(y.disk_written_bytes_per_day))]
        [fact(h, "Frame to features, p50", us(y.frame_to_features_p50_us))]
        [fact(h, "Frame to features, p99", us(y.frame_to_features_p99_us))]
        "</dl>");
}

/// The journal's counters.
pub(super) fn journal(h: &mut Html, s: &Snapshot) {
    let j = &s.system.journal;
    put!(h; r#"<dl class="facts">"#
        [stat(h, "State", |h| match &j.suspended {
            None => badge(h, Tone::Good, "writing"),
            Some(reason) => put!(h; [badge(h, Tone::Bad, "suspended")] r#" <span class="quiet">"#
                (reason) "</span>"),
        })]
        [fact(h, "Events", int(j.events))]
        [fact(h, "Written", bytes(Some(j.bytes)))]
        [stat(h, "Dropped events", |h| match j.dropped {
            0 => put!(h; "0"),
            n => put!(h; r#"<strong class="down">"# (int(n)) "</strong>"),
        })]
        "</dl>");
}

/// The store of features' counters.
pub(super) fn feature_store(h: &mut Html, s: &Snapshot) {
    let Some(f) = &s.system.features else {
        put!(h; r#"<p class="none">Features are not stored.</p>"#);
        return;
    };
    let when = |h: &mut Html, at: Option<u64>| match at {
        Some(at) => time(h, at, s.now_ns),
        None => put!(h; (dash())),
    };
    put!(h; r#"<dl class="facts">"#
        [stat(h, "State", |h| match &f.suspended {
            None => badge(h, Tone::Good, "storing"),
            Some(reason) => put!(h; [badge(h, Tone::Bad, "suspended")] r#" <span class="quiet">"#
                (reason) "</span>"),
        })]
        [fact(h, "Vectors", int(f.vectors))]
        [fact(h, "Written", bytes(Some(f.bytes)))]
        [stat(h, "Oldest", |h| when(h, f.oldest_ns))]
        [stat(h, "Newest", |h| when(h, f.newest_ns))]
        [stat(h, "Dropped vectors", |h| match f.dropped {
            0 => put!(h; "0"),
            n => put!(h; r#"<strong class="down">"# (int(n)) "</strong>"),
        })]
        "</dl>");
}

/// Bounded channels.
pub(super) fn channels(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Channel"),
        number("Waiting"),
        number("Capacity"),
        number("Full"),
    ];
    let none = "No channel is reported.";
    table(
        h,
        Shape::Cards,
        "Bounded channels",
        COLS,
        &s.system.channels,
        none,
        |r, c| {
            r.cell(&c.name);
            r.cell(int(c.depth));
            r.cell(int(c.capacity));
            r.with(|h| chart::fullness(h, c.depth, c.capacity));
        },
    );
}
