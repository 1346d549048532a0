//! The snapshot in Prometheus' text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Base units only: seconds, bytes, ratios. Counters end in `_total`. A value that is not known has
//! no sample: a missing sample is honest, a zero is not.

use super::snapshot::{Bound, Figures, Funding, FundingLevel, Order, Snapshot, TradingState};
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
    trading(&mut m, s);
    results(&mut m, s);
    risk(&mut m, s);
    reconciliation(&mut m, s);
    venues(&mut m, s);
    books(&mut m, s);
    signals(&mut m, s);
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

fn trading(m: &mut Families, s: &Snapshot) {
    m.gauge("tickerml_orders", "Working orders by state.");
    for state in Order::STATES {
        let count = s.orders.iter().filter(|o| o.state == state).count();
        m.sample(&[("state", state)], Some(count as f64));
    }
    m.counter(
        "tickerml_fills_total",
        "Fills, by whether they made or took.",
    );
    for (role, count) in [
        ("maker", s.fill_counts.maker),
        ("taker", s.fill_counts.taker),
    ] {
        m.sample(&[("role", role)], Some(count as f64));
    }
    m.counter("tickerml_toxic_fills_total", "Fills marked as toxic.")
        .one(Some(s.fill_counts.toxic as f64));
    m.counter(
        "tickerml_synthetic_fills_total",
        "Fills against a book made up from bars.",
    )
    .one(Some(s.fill_counts.synthetic as f64));
    let each = |m: &mut Families, value: &dyn Fn(&super::snapshot::PaperTerms) -> Option<f64>| {
        for p in &s.paper {
            m.sample(&[("venue", &p.venue)], value(p));
        }
    };
    m.gauge(
        "tickerml_paper_maker_fee_ratio",
        "Fee of a fill that rested, as a fraction of its amount; negative is a rebate.",
    );
    each(m, &|p| p.maker_fee_bps.map(|v| v / 1e4));
    m.gauge(
        "tickerml_paper_taker_fee_ratio",
        "Fee of a fill that took, as a fraction of its amount.",
    );
    each(m, &|p| p.taker_fee_bps.map(|v| v / 1e4));
    m.summary(
        "tickerml_paper_round_trip_seconds",
        "Measured round trips that the paper venue's latency is drawn from.",
    );
    for p in &s.paper {
        for (quantile, ms) in [("0.5", p.round_trip_p50_ms), ("0.99", p.round_trip_p99_ms)] {
            let labels = [("venue", p.venue.as_str()), ("quantile", quantile)];
            m.sample(&labels, ms.map(|ms| ms / 1e3));
        }
    }
}

fn results(m: &mut Families, s: &Snapshot) {
    let a = &s.attribution;
    m.gauge(
        "tickerml_attributed_profit",
        "Profit by effect, in the currency of account; what was paid is negative.",
    );
    for (effect, amount) in a.total.iter().flat_map(|total| total.effects()) {
        m.sample(&[("effect", effect)], Some(amount));
    }
    m.gauge(
        "tickerml_instrument_attributed_profit",
        "Profit by instrument and effect, in the currency of account.",
    );
    for row in &a.by_instrument {
        for (effect, amount) in row.effects() {
            let labels = [
                ("venue", row.venue.as_str()),
                ("instrument", &row.name),
                ("effect", effect),
            ];
            m.sample(&labels, Some(amount));
        }
    }
    m.gauge(
        "tickerml_ledger_profit",
        "Equity less the capital put in, in the currency of account.",
    )
    .one(a.ledger_profit);
    m.gauge(
        "tickerml_attribution_difference",
        "Sum of the effects less the profit of the ledger; anything but 0 is a fault.",
    )
    .one(a.difference());
    let percent = |v: Option<f64>| v.map(|v| v / 100.0);
    let f: &Figures = &s.performance.portfolio;
    for (name, help, value) in [
        (
            "tickerml_return_ratio",
            "Return on the capital put in.",
            percent(f.return_pct),
        ),
        (
            "tickerml_sharpe_ratio",
            "Sharpe ratio, annualised.",
            f.sharpe,
        ),
        (
            "tickerml_sortino_ratio",
            "Sortino ratio, annualised.",
            f.sortino,
        ),
        (
            "tickerml_calmar_ratio",
            "Annual return over the deepest drawdown.",
            f.calmar,
        ),
        (
            "tickerml_max_drawdown_ratio",
            "Deepest drawdown.",
            percent(f.max_drawdown_pct),
        ),
        (
            "tickerml_max_drawdown_seconds",
            "Longest time below a high-water mark.",
            f.max_drawdown_s.map(|v| v as f64),
        ),
        (
            "tickerml_value_at_risk_ratio",
            "Value at risk at 95 %.",
            percent(f.var_95_pct),
        ),
        (
            "tickerml_expected_shortfall_ratio",
            "Expected shortfall at 95 %.",
            percent(f.cvar_95_pct),
        ),
        (
            "tickerml_win_ratio",
            "Share of the closed trades that gained.",
            f.win_rate,
        ),
        (
            "tickerml_profit_factor",
            "What winners gained over what losers lost.",
            f.profit_factor,
        ),
        (
            "tickerml_turnover_ratio",
            "What was traded over the capital put in.",
            f.turnover,
        ),
        (
            "tickerml_exposure_ratio",
            "Mean gross exposure over equity.",
            percent(f.exposure_pct),
        ),
    ] {
        m.gauge(name, help).one(value);
    }
}

fn risk(m: &mut Families, s: &Snapshot) {
    m.gauge(
        "tickerml_restrictions",
        "Scopes of risk that are not plainly active, by kind and state.",
    );
    for scope in ["portfolio", "venue", "instrument"] {
        for state in TradingState::ALL
            .iter()
            .filter(|x| **x != TradingState::Active)
        {
            let here = s.risk.restricted();
            let count = here
                .filter(|x| x.scope == scope && x.state == *state)
                .count();
            m.sample(
                &[("scope", scope), ("state", state.name())],
                Some(count as f64),
            );
        }
    }
    let each = |m: &mut Families, value: &dyn Fn(&super::snapshot::Limit) -> Option<f64>| {
        for x in &s.risk.limits {
            let bound = match x.bound {
                Bound::Most => "most",
                Bound::Least => "least",
            };
            let labels = [
                ("code", x.code.as_str()),
                ("scope", &x.scope),
                ("unit", &x.unit),
                ("bound", bound),
            ];
            m.sample(&labels, value(x));
        }
    };
    m.gauge(
        "tickerml_limit_value",
        "Present value of what is limited, in its own unit.",
    );
    each(m, &|x| x.value);
    m.gauge("tickerml_limit", "The limit, in its own unit.");
    each(m, &|x| Some(x.limit));
    m.gauge(
        "tickerml_limit_used_ratio",
        "Share of the limit that is used: 1 at the limit.",
    );
    each(m, &|x| x.used());
    m.gauge("tickerml_limit_tripped", "1 when the limit is in force.");
    each(m, &|x| flag(x.tripped));
    let v = &s.risk.violations;
    m.gauge(
        "tickerml_violations",
        "Violations of limits within the window.",
    )
    .one(Some(v.count as f64));
    m.gauge(
        "tickerml_violations_limit",
        "Violations within the window that shut the desk down.",
    )
    .one((v.most > 0).then_some(v.most as f64));
    m.counter("tickerml_violations_total", "Violations of limits.")
        .one(Some(v.total as f64));
    m.counter(
        "tickerml_denials_total",
        "Orders that risk refused, by code.",
    );
    for x in &s.risk.denial_counts {
        m.sample(&[("code", &x.code)], Some(x.count as f64));
    }
}

fn reconciliation(m: &mut Families, s: &Snapshot) {
    let r = &s.reconciliation;
    m.gauge(
        "tickerml_reconciliation_timestamp_seconds",
        "Unix time of the last comparison with the venues.",
    )
    .one(r.checked_ns.map(|ns| ns as f64 / NS));
    m.counter(
        "tickerml_reconciliations_total",
        "Comparisons with the venues.",
    )
    .one(Some(r.checks as f64));
    m.gauge(
        "tickerml_reconciliation_differences",
        "Differences found by the last comparison, by whether what still travels explains them.",
    );
    let faults = r.faults();
    let known = r.checked_ns.is_some();
    for (explained, count) in [("no", faults), ("yes", r.differences.len() - faults)] {
        m.sample(&[("explained", explained)], known.then_some(count as f64));
    }
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

fn signals(m: &mut Families, s: &Snapshot) {
    let a = &s.arbitrage;
    m.gauge(
        "tickerml_arbitrage_pairs",
        "Ordered pairs of markets that are compared for arbitrage.",
    )
    .one(Some(a.watched as f64));
    m.gauge(
        "tickerml_arbitrage_open",
        "Opportunities of arbitrage that are open.",
    )
    .one(Some(a.open.len() as f64));
    m.counter(
        "tickerml_arbitrage_opportunities_total",
        "Opportunities of arbitrage that opened.",
    )
    .one(Some(a.opened as f64));
    m.counter(
        "tickerml_arbitrage_dropped_total",
        "Opportunities of arbitrage that could not be kept.",
    )
    .one(Some(a.dropped as f64));
    let nets = a.open.iter().map(|open| open.last.net);
    m.gauge(
        "tickerml_arbitrage_best_net",
        "Net of the best open opportunity in its quote currency; no sample when none is open.",
    )
    .one(nets.reduce(f64::max));
    funding(m, s);
    m.gauge(
        "tickerml_features_selected",
        "Features that a model sees of each instrument.",
    )
    .one(Some(s.features.rows.len() as f64));
    m.gauge(
        "tickerml_features_known",
        "How many of them are known of an instrument.",
    );
    for (place, market) in s.features.instruments.iter().enumerate() {
        m.sample(
            &[("venue", &market.venue), ("instrument", &market.instrument)],
            Some(s.features.known(place) as f64),
        );
    }
}

fn funding(m: &mut Families, s: &Snapshot) {
    let each = |m: &mut Families, value: &dyn Fn(&Funding) -> Option<f64>| {
        for f in &s.funding {
            m.sample(
                &[("venue", &f.venue), ("instrument", &f.instrument)],
                value(f),
            );
        }
    };
    m.gauge(
        "tickerml_funding_paid",
        "Funding paid, in the currency of account; negative is income.",
    );
    each(m, &|f| Some(f.paid));
    m.gauge(
        "tickerml_funding_rate_ratio",
        "Rate of the next settlement, a fraction of notional; positive when longs pay.",
    );
    each(m, &|f| f.rate_bps.map(|bps| bps / 1e4));
    m.gauge(
        "tickerml_funding_level",
        "How alarming the rate is: 0 calm, 1 warning, 2 blocking; no sample without a rate.",
    );
    each(m, &|f| {
        f.rate_bps?;
        Some(match f.level {
            FundingLevel::Calm => 0.0,
            FundingLevel::Warning => 1.0,
            FundingLevel::Blocking => 2.0,
        })
    });
}

fn feature_store(m: &mut Families, s: &Snapshot) {
    let f = s.system.features.as_ref();
    let seconds = |at: Option<u64>| at.map(|at| at as f64 / NS);
    m.counter(
        "tickerml_feature_store_vectors_total",
        "Vectors of features committed to their store.",
    )
    .one(f.map(|f| f.vectors as f64));
    m.counter(
        "tickerml_feature_store_written_bytes_total",
        "Bytes of feature blocks made durable.",
    )
    .one(f.map(|f| f.bytes as f64));
    m.counter(
        "tickerml_feature_store_dropped_vectors_total",
        "Vectors of features that were dropped.",
    )
    .one(f.map(|f| f.dropped as f64));
    m.counter(
        "tickerml_feature_store_deleted_blocks_total",
        "Blocks of features deleted to stay within features.max_mib.",
    )
    .one(f.map(|f| f.deleted_blocks as f64));
    m.gauge(
        "tickerml_feature_store_oldest_timestamp_seconds",
        "Unix time of the oldest vector of features in their store.",
    )
    .one(f.and_then(|f| seconds(f.oldest_ns)));
    m.gauge(
        "tickerml_feature_store_newest_timestamp_seconds",
        "Unix time of the newest vector of features committed.",
    )
    .one(f.and_then(|f| seconds(f.newest_ns)));
    m.gauge(
        "tickerml_feature_store_suspended",
        "1 when storing features is suspended.",
    )
    .one(f.and_then(|f| flag(f.suspended.is_some())));
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
    feature_store(m, s);
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
    fn trading_and_risk_are_measured() {
        let mut s = Snapshot::demo(3);
        s.reconciliation.differences[0].explained = false;
        let text = render(&s, 0);
        for line in [
            r#"tickerml_orders{state="resting"} 1"#,
            r#"tickerml_orders{state="partially filled"} 1"#,
            r#"tickerml_fills_total{role="maker"} 811"#,
            r#"tickerml_fills_total{role="taker"} 1204"#,
            "tickerml_toxic_fills_total 97",
            r#"tickerml_attributed_profit{effect="fees"} -18.27"#,
            "tickerml_ledger_profit 61.34",
            "tickerml_attribution_difference 0",
            r#"tickerml_restrictions{scope="venue",state="halted"} 1"#,
            r#"tickerml_restrictions{scope="instrument",state="reducing"} 1"#,
            r#"tickerml_restrictions{scope="portfolio",state="halted"} 0"#,
            r#"tickerml_limit_value{code="spread",scope="kraken ETH/USD",unit="bps",bound="most"} 9.4"#,
            r#"tickerml_limit{code="spread",scope="kraken ETH/USD",unit="bps",bound="most"} 8"#,
            r#"tickerml_limit_tripped{code="spread",scope="kraken ETH/USD",unit="bps",bound="most"} 1"#,
            r#"tickerml_limit_used_ratio{code="heat",scope="portfolio",unit="%",bound="most"} 0.35000000000000003"#,
            "tickerml_violations 2",
            "tickerml_violations_limit 5",
            "tickerml_violations_total 17",
            r#"tickerml_denials_total{code="spread"} 1204"#,
            r#"tickerml_reconciliation_differences{explained="no"} 1"#,
            r#"tickerml_reconciliation_differences{explained="yes"} 0"#,
            "tickerml_win_ratio 0.541",
            "tickerml_arbitrage_open 2",
            "tickerml_arbitrage_opportunities_total 1208",
            "tickerml_arbitrage_dropped_total 3",
            "tickerml_arbitrage_best_net 2.84",
            r#"tickerml_funding_level{venue="kucoin-futures",instrument="BTC/USDT-PERP"} 1"#,
            r#"tickerml_funding_level{venue="kucoin-futures",instrument="XRP/USDT-PERP"} 2"#,
            r#"tickerml_funding_rate_ratio{venue="kucoin-futures",instrument="BTC/USDT-PERP"} 0.00125"#,
            "tickerml_features_selected 64",
            r#"tickerml_features_known{venue="binance",instrument="BTC/USD"} 64"#,
            r#"tickerml_features_known{venue="kucoin",instrument="BTC/USD"} 0"#,
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "no {line}");
        }
        // A value that is not known has no sample.
        assert!(!text.contains("\ntickerml_calmar_ratio "));
        assert!(!text.contains("tickerml_limit_value{code=\"flash_crash\""));
        let empty = render(&Snapshot::default(), 0);
        assert!(!empty.contains("\ntickerml_reconciliation_differences"));
        assert!(!empty.contains("\ntickerml_arbitrage_best_net"));
        assert!(empty.contains("\ntickerml_arbitrage_open 0\n"));
        assert!(
            !text.contains(r#"tickerml_funding_level{venue="kucoin-futures",instrument="ETH/"#)
        );
    }

    #[test]
    fn labels_are_escaped() {
        let mut s = Snapshot::demo(3);
        s.venues[0].name = "a\"b\\c\nd".to_owned();
        let text = render(&s, 0);
        assert!(text.contains(r#"tickerml_venue_up{venue="a\"b\\c\nd"} 1"#));
    }
}
