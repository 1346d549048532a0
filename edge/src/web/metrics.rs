//! The snapshot in Prometheus' text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Base units only: seconds, bytes, ratios. Counters end in `_total`. A value that is not known has
//! no sample: a missing sample is honest, a zero is not.

use super::snapshot::Snapshot;
use std::fmt::Write;

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const NS: f64 = 1e9;

/// Writes families one after another.
struct Families {
    out: String,
    name: &'static str,
}

impl Families {
    fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Self {
        debug_assert!(!name.ends_with("_total"), "{name} is a gauge");
        self.family(name, help, "gauge")
    }

    fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Self {
        debug_assert!(name.ends_with("_total"), "{name} is a counter");
        self.family(name, help, "counter")
    }

    fn summary(&mut self, name: &'static str, help: &'static str) -> &mut Self {
        self.family(name, help, "summary")
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &'static str) -> &mut Self {
        self.name = name;
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self
    }

    /// One sample of the family begun last; nothing where the value is unknown.
    fn sample(&mut self, labels: &[(&'static str, &str)], value: Option<f64>) {
        let Some(value) = value.filter(|v| v.is_finite()) else {
            return;
        };
        self.out.push_str(self.name);
        for (i, (name, text)) in labels.iter().enumerate() {
            self.out.push(if i == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    _ => self.out.push(character),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn one(&mut self, value: Option<f64>) {
        self.sample(&[], value);
    }
}

/// Renders the snapshot. `silent_s` is how long the desk has published nothing, or zero.
pub(super) fn render(s: &Snapshot, silent_s: u64) -> String {
    let mut m = Families {
        out: String::with_capacity(16 * 1024),
        name: "",
    };
    state(&mut m, s, silent_s);
    account(&mut m, s);
    venues(&mut m, s);
    books(&mut m, s);
    system(&mut m, s);
    m.out
}

fn state(m: &mut Families, s: &Snapshot, silent_s: u64) {
    m.gauge(
        "tickerml_build_info",
        "Always 1; the labels tell what runs.",
    )
    .sample(
        &[
            ("version", &s.version),
            ("schema", &s.schema_id),
            ("config", &s.config_hash),
            ("node", &s.node),
            ("mode", &s.mode),
        ],
        Some(1.0),
    );
    m.gauge(
        "tickerml_ready",
        "1 when recovery is over and the desk takes events.",
    )
    .one(flag(s.health.ready));
    m.gauge("tickerml_halted", "1 when the portfolio is halted.")
        .one(flag(s.health.halted));
    m.gauge(
        "tickerml_stale",
        "1 when market data is too old or broken to decide on.",
    )
    .one(flag(s.health.stale));
    m.gauge(
        "tickerml_desk_silent_seconds",
        "How long the desk has published nothing, 0 when it is on time.",
    )
    .one(Some(silent_s as f64));
    m.gauge(
        "tickerml_snapshot_timestamp_seconds",
        "Unix time of the state shown here.",
    )
    .one(Some(s.now_ns as f64 / NS));
    m.gauge(
        "tickerml_start_timestamp_seconds",
        "Unix time of the start of the process.",
    )
    .one(Some(s.started_ns as f64 / NS));
    m.gauge("tickerml_halts", "Halts in force, of any scope.")
        .one(Some(s.halts.len() as f64));
    m.gauge("tickerml_alarms", "Alarms in the list by severity.");
    for severity in ["info", "warning", "critical"] {
        let count = s.alarms.iter().filter(|a| a.severity == severity).count();
        m.sample(&[("severity", severity)], Some(count as f64));
    }
    m.gauge(
        "tickerml_model_expiry_seconds",
        "Seconds until the model expires, negative when it has.",
    )
    .one(s.model.expires_in_s.map(|v| v as f64));
}

fn account(m: &mut Families, s: &Snapshot) {
    let a = &s.account;
    let families = [
        (
            "tickerml_equity",
            "Cash plus marked positions, in the currency of account.",
            a.equity,
        ),
        ("tickerml_cash", "Cash, in the currency of account.", a.cash),
        (
            "tickerml_high_water_mark",
            "Highest equity, in the currency of account.",
            a.high_water_mark,
        ),
        (
            "tickerml_day_pnl",
            "Change of equity since 00:00 UTC.",
            a.day_pnl,
        ),
        (
            "tickerml_realised_pnl",
            "Realised profit before fees.",
            a.realised,
        ),
        (
            "tickerml_unrealised_pnl",
            "Profit of open positions at their marks.",
            a.unrealised,
        ),
        (
            "tickerml_fees_paid",
            "Fees paid less rebates, in the currency of account.",
            a.fees,
        ),
        (
            "tickerml_drawdown_ratio",
            "Fall from the high-water mark as a fraction of it.",
            a.drawdown_pct.map(|v| v / 100.0),
        ),
    ];
    for (name, help, value) in families {
        m.gauge(name, help)
            .sample(&[("currency", &a.currency)], value);
    }
    m.gauge(
        "tickerml_position_notional",
        "Quantity times mark of an open position, negative when short.",
    );
    for p in &s.positions {
        let sign = if p.side == "short" { -1.0 } else { 1.0 };
        m.sample(
            &[("venue", &p.venue), ("instrument", &p.instrument)],
            p.notional.map(|v| v.abs() * sign),
        );
    }
    m.gauge("tickerml_open_orders", "Working orders.")
        .one(Some(s.orders.len() as f64));
}

fn venues(m: &mut Families, s: &Snapshot) {
    let each = |m: &mut Families, value: &dyn Fn(&super::snapshot::Venue) -> Option<f64>| {
        for v in &s.venues {
            m.sample(&[("venue", &v.name)], value(v));
        }
    };
    m.gauge("tickerml_venue_up", "1 when the venue's session is live.");
    each(m, &|v| flag(v.state == "live"));
    m.gauge(
        "tickerml_venue_last_message_timestamp_seconds",
        "Unix time of the last message.",
    );
    each(m, &|v| v.last_message_ns.map(|ns| ns as f64 / NS));
    m.gauge(
        "tickerml_venue_clock_offset_seconds",
        "Estimated venue clock minus own clock.",
    );
    each(m, &|v| v.clock_offset_ms.map(|ms| ms / 1e3));
    m.counter("tickerml_venue_frames_total", "Frames received.");
    each(m, &|v| Some(v.frames as f64));
    m.counter("tickerml_venue_received_bytes_total", "Bytes received.");
    each(m, &|v| Some(v.bytes as f64));
    m.counter("tickerml_venue_reconnects_total", "Reconnections.");
    each(m, &|v| Some(v.reconnects as f64));
    m.counter(
        "tickerml_venue_parse_errors_total",
        "Frames that could not be parsed.",
    );
    each(m, &|v| Some(v.parse_errors as f64));
    m.counter("tickerml_venue_resyncs_total", "Book resynchronisations.");
    each(m, &|v| Some(v.resyncs as f64));
    m.summary(
        "tickerml_venue_latency_seconds",
        "Receive time minus venue time; signed, clocks differ.",
    );
    for v in &s.venues {
        let ms = |value: Option<f64>| value.map(|ms| ms / 1e3);
        m.sample(
            &[("venue", &v.name), ("quantile", "0.5")],
            ms(v.latency_p50_ms),
        );
        m.sample(
            &[("venue", &v.name), ("quantile", "0.99")],
            ms(v.latency_p99_ms),
        );
    }
}

fn books(m: &mut Families, s: &Snapshot) {
    let each = |m: &mut Families, value: &dyn Fn(&super::snapshot::Book) -> Option<f64>| {
        for b in &s.books {
            m.sample(
                &[("venue", &b.venue), ("instrument", &b.instrument)],
                value(b),
            );
        }
    };
    m.gauge("tickerml_book_live", "1 when the book may be believed.");
    each(m, &|b| flag(b.live));
    m.gauge(
        "tickerml_book_mid",
        "Mid price in the quote currency; no sample while stale.",
    );
    each(m, &|b| b.mid);
    m.gauge("tickerml_book_spread_ratio", "Spread over mid.");
    each(m, &|b| b.spread_bps.map(|v| v / 1e4));
    m.gauge(
        "tickerml_book_imbalance_ratio",
        "Imbalance of the near levels, -1 all asks to 1 all bids.",
    );
    each(m, &|b| b.imbalance);
    m.counter("tickerml_book_events_total", "Book events applied.");
    each(m, &|b| Some(b.events as f64));
    m.counter("tickerml_book_trades_total", "Trades seen.");
    each(m, &|b| Some(b.trades as f64));
    let result = |m: &mut Families, b: &super::snapshot::Book, result: &str, count: u64| {
        let labels = [
            ("venue", b.venue.as_str()),
            ("instrument", &b.instrument),
            ("result", result),
        ];
        m.sample(&labels, Some(count as f64));
    };
    m.counter(
        "tickerml_book_checksums_total",
        "Venue checksums compared with the book.",
    );
    for b in &s.books {
        result(m, b, "verified", b.checksums_verified);
        result(m, b, "failed", b.checksums_failed);
    }
    m.counter(
        "tickerml_book_bbo_checks_total",
        "Best-bid/ask messages compared with the book.",
    );
    for b in &s.books {
        result(m, b, "equal", b.bbo_equal);
        result(m, b, "different", b.bbo_different);
    }
    m.counter("tickerml_book_gaps_total", "Gaps in market data by kind.");
    for b in &s.books {
        for (kind, count) in b.gaps.kinds() {
            let labels = [
                ("venue", b.venue.as_str()),
                ("instrument", &b.instrument),
                ("kind", kind),
            ];
            m.sample(&labels, Some(count as f64));
        }
    }
}

fn system(m: &mut Families, s: &Snapshot) {
    let y = &s.system;
    let number = |v: Option<u64>| v.map(|v| v as f64);
    m.gauge("tickerml_resident_memory_bytes", "Resident memory.")
        .one(number(y.rss_bytes));
    m.gauge(
        "tickerml_anonymous_memory_bytes",
        "Resident memory that no file backs.",
    )
    .one(number(y.anon_bytes));
    m.gauge(
        "tickerml_cpu_temperature_celsius",
        "Temperature of the CPU.",
    )
    .one(y.cpu_temp_c);
    m.gauge(
        "tickerml_disk_written_bytes_per_day",
        "Bytes written to disk, scaled to a day.",
    )
    .one(number(y.disk_written_bytes_per_day));
    m.gauge("tickerml_threads", "Threads of the process.")
        .one(number(y.threads));
    m.counter(
        "tickerml_journal_events_total",
        "Events written to the journal.",
    )
    .one(Some(y.journal.events as f64));
    m.counter(
        "tickerml_journal_written_bytes_total",
        "Bytes written to the journal.",
    )
    .one(Some(y.journal.bytes as f64));
    m.counter(
        "tickerml_journal_dropped_events_total",
        "Events the journal dropped.",
    )
    .one(Some(y.journal.dropped as f64));
    m.gauge(
        "tickerml_journal_suspended",
        "1 when writing the journal is suspended.",
    )
    .one(flag(y.journal.suspended.is_some()));
    m.gauge(
        "tickerml_channel_depth",
        "Messages waiting in a bounded channel.",
    );
    for c in &y.channels {
        m.sample(&[("channel", &c.name)], Some(c.depth as f64));
    }
    m.gauge(
        "tickerml_channel_capacity",
        "Messages a bounded channel can hold.",
    );
    for c in &y.channels {
        m.sample(&[("channel", &c.name)], Some(c.capacity as f64));
    }
    m.summary(
        "tickerml_frame_to_features_seconds",
        "Time from a frame's arrival to its features.",
    );
    m.sample(
        &[("quantile", "0.5")],
        y.frame_to_features_p50_us.map(|us| us / 1e6),
    );
    m.sample(
        &[("quantile", "0.99")],
        y.frame_to_features_p99_us.map(|us| us / 1e6),
    );
}

fn flag(value: bool) -> Option<f64> {
    Some(if value { 1.0 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Splits a sample line into its name, its label text and its value.
    fn sample(line: &str) -> (&str, &str, f64) {
        let (key, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap();
        match key.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap(), value),
            None => (key, "", value),
        }
    }

    #[test]
    fn every_line_is_well_formed_and_every_counter_ends_with_total() {
        let text = render(&Snapshot::demo(3), 0);
        assert!(text.ends_with('\n'));
        let mut kinds = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut helped = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty());
                helped = Some(name);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(helped, Some(name), "HELP stands before TYPE");
                assert!(kinds.insert(name, kind).is_none(), "{name} twice");
                assert_eq!(
                    kind == "counter",
                    name.ends_with("_total"),
                    "{name} is a {kind}"
                );
            } else {
                let (name, labels, value) = sample(line);
                assert!(name.starts_with("tickerml_"));
                assert!(
                    name.bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                );
                assert_eq!(helped, Some(name), "samples stand under their family");
                assert!(
                    value.is_finite() && (kinds[name] != "counter" || value >= 0.0),
                    "{line}"
                );
                assert!(seen.insert((name, labels)), "{line} twice");
            }
        }
        assert!(kinds.len() > 40 && seen.len() > 200);
    }

    #[test]
    fn unknown_values_have_no_sample() {
        let text = render(&Snapshot::empty("PAPER", "n", "1", 0), 7);
        assert!(!text.contains("\ntickerml_equity"));
        assert!(text.contains("\ntickerml_ready 0\n"));
        assert!(text.contains("\ntickerml_desk_silent_seconds 7\n"));
    }

    #[test]
    fn labels_are_escaped() {
        let mut s = Snapshot::demo(3);
        s.venues[0].name = "a\"b\\c\nd".to_owned();
        let text = render(&s, 0);
        assert!(text.contains(r#"tickerml_venue_up{venue="a\"b\\c\nd"} 1"#));
    }
}
