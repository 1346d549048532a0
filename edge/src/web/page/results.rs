//! Where the profit came from, and how well it went.

use super::{
    pieces::{Tone, badge, dash, figure, full, gain, or_dash, pair, stat},
    table::{Col, Row, Shape, number, table, text},
};
use crate::web::{
    html::{Html, duration_s, fixed, int, put, signed, stamp, with_unit},
    snapshot::{Attribution, Effects, Figures, ROWS, Snapshot},
};

/// The effects of all instruments together, in short.
pub(super) fn sources(h: &mut Html, s: &Snapshot) {
    let Some(total) = &s.attribution.total else {
        put!(h; r#"<p class="none">No attribution yet.</p>"#);
        return;
    };
    put!(h; r#"<dl class="facts">"#);
    for (name, amount) in total.effects() {
        stat(h, label(name), |h| gain(h, Some(amount)));
    }
    stat(h, "Sum", |h| {
        put!(h; "<b>" [gain(h, Some(total.sum))] "</b>");
    });
    put!(h; "</dl>" [check(h, &s.attribution)]);
}

/// The effects by instrument and by reason.
pub(super) fn attribution(h: &mut Html, s: &Snapshot) {
    const BY_INSTRUMENT: &[Col] = &effects("Instrument");
    const BY_REASON: &[Col] = &effects("Reason");
    let a = &s.attribution;
    check(h, a);
    let total = a.total.iter().map(|effects| (effects, true));
    let each = a.by_instrument.iter().map(|effects| (effects, false));
    let rows: Vec<_> = total.chain(each).collect();
    table(
        h,
        Shape::Cards,
        "Profit by effect and instrument",
        BY_INSTRUMENT,
        &rows,
        "No attribution yet.",
        |r, (effects, total)| amounts(r, effects, *total),
    );
    if !a.by_reason.is_empty() {
        put!(h; r#"<h3 class="sub">By reason of the order</h3>"#);
        let rows: Vec<_> = a.by_reason.iter().collect();
        table(
            h,
            Shape::Cards,
            "Profit by effect and reason",
            BY_REASON,
            &rows,
            "",
            |r, effects| amounts(r, effects, false),
        );
    }
    full(h, a.by_instrument.len(), ROWS);
}

const fn effects(first: &'static str) -> [Col; 9] {
    [
        text(first),
        number("Market"),
        number("Spread"),
        number("Latency"),
        number("Queue"),
        number("Impact"),
        number("Fees"),
        number("Funding"),
        number("Sum"),
    ]
}

fn label(effect: &'static str) -> &'static str {
    match effect {
        "market" => "Market",
        "spread" => "Spread",
        "latency" => "Latency",
        "queue" => "Queue",
        "impact" => "Impact",
        "fees" => "Fees",
        "funding" => "Funding",
        other => other,
    }
}

fn amounts(r: &mut Row<'_>, e: &Effects, total: bool) {
    r.with(|h| {
        if total {
            put!(h; "<b>Total</b>");
        } else {
            pair(h, &e.name, &e.venue);
        }
    });
    for (_, amount) in e.effects() {
        r.with(|h| gain(h, Some(amount)));
    }
    r.with(|h| put!(h; "<b>" [gain(h, Some(e.sum))] "</b>"));
}

/// Whether the effects add up to what the ledger earned.
fn check(h: &mut Html, a: &Attribution) {
    let (Some(total), Some(ledger), Some(difference)) = (&a.total, a.ledger_profit, a.difference())
    else {
        return;
    };
    // To the last unit of the ledger where they differ: two equal numbers would not show it.
    let equal = difference == 0.0;
    let decimals = if equal { 2 } else { 8 };
    put!(h; r#"<p class="check""#);
    if equal {
        put!(h; ">" [badge(h, Tone::Good, "adds up")] " sum of the effects "
            (signed(Some(total.sum), decimals)) " = profit of the ledger "
            (signed(Some(ledger), decimals)) "</p>");
    } else {
        put!(h; r#" role="alert">"# [badge(h, Tone::Bad, "does not add up")] " sum of the effects "
            (signed(Some(total.sum), decimals)) " ≠ profit of the ledger "
            (signed(Some(ledger), decimals)) "</p>");
    }
}

/// Figures of the portfolio.
pub(super) fn performance(h: &mut Html, s: &Snapshot) {
    let p = &s.performance;
    let f = &p.portfolio;
    put!(h; r#"<dl class="stats">"#
        [stat(h, "Profit", |h| gain(h, f.pnl))]
        [figure(h, "Return", percent(f.return_pct, 2, true))]
        [figure(h, "Sharpe", fixed(f.sharpe, 2))]
        [figure(h, "Sortino", fixed(f.sortino, 2))]
        [figure(h, "Calmar", fixed(f.calmar, 2))]
        [figure(h, "Deepest drawdown", percent(f.max_drawdown_pct, 2, false))]
        [figure(h, "Longest drawdown", f.max_drawdown_s.map_or_else(dash, duration_s))]
        [figure(h, "Value at risk, 95\u{a0}%", percent(f.var_95_pct, 3, false))]
        [figure(h, "Expected shortfall, 95\u{a0}%", percent(f.cvar_95_pct, 3, false))]
        [figure(h, "Win rate", share(f.win_rate))]
        [figure(h, "Profit factor", fixed(f.profit_factor, 2))]
        [figure(h, "Turnover", times(f.turnover))]
        [figure(h, "Mean exposure", percent(f.exposure_pct, 1, false))]
        [figure(h, "Closed trades", int(f.trades))]
        "</dl>");
    if let Some(since) = p.since_ns {
        put!(h; r#"<p class="note">Since "# (stamp(since)) " UTC, from " (int(p.returns))
            " returns of " (duration_s(p.return_step_s))
            ". Value at risk and expected shortfall are losses in one such step; the ratios are "
            "annualised.</p>");
    }
}

/// Figures by instrument and by strategy.
pub(super) fn breakdown(h: &mut Html, s: &Snapshot) {
    const BY_INSTRUMENT: &[Col] = &figures("Instrument");
    const BY_STRATEGY: &[Col] = &figures("Strategy");
    let p = &s.performance;
    let each = |h: &mut Html, caption, cols, rows: &[Figures]| {
        let none = "Not enough data yet.";
        table(h, Shape::Log, caption, cols, rows, none, row);
    };
    put!(h; r#"<h3 class="sub">By instrument</h3>"#
        [each(h, "Performance by instrument", BY_INSTRUMENT, &p.by_instrument)]
        r#"<h3 class="sub">By strategy</h3>"#
        [each(h, "Performance by strategy", BY_STRATEGY, &p.by_strategy)]);
    full(h, p.by_instrument.len(), ROWS);
}

const fn figures(first: &'static str) -> [Col; 15] {
    [
        text(first),
        number("Profit"),
        number("Return"),
        number("Sharpe"),
        number("Sortino"),
        number("Calmar"),
        number("Deepest drawdown"),
        number("Longest drawdown"),
        number("VaR 95\u{a0}%"),
        number("CVaR 95\u{a0}%"),
        number("Win rate"),
        number("Profit factor"),
        number("Turnover"),
        number("Exposure"),
        number("Trades"),
    ]
}

fn row(r: &mut Row<'_>, f: &Figures) {
    r.with(|h| pair(h, or_dash(&f.name), &f.venue));
    r.with(|h| gain(h, f.pnl));
    r.cell(percent(f.return_pct, 2, true));
    r.cell(fixed(f.sharpe, 2));
    r.cell(fixed(f.sortino, 2));
    r.cell(fixed(f.calmar, 2));
    r.cell(percent(f.max_drawdown_pct, 2, false));
    r.cell(f.max_drawdown_s.map_or_else(dash, duration_s));
    r.cell(percent(f.var_95_pct, 3, false));
    r.cell(percent(f.cvar_95_pct, 3, false));
    r.cell(share(f.win_rate));
    r.cell(fixed(f.profit_factor, 2));
    r.cell(times(f.turnover));
    r.cell(percent(f.exposure_pct, 1, false));
    r.cell(int(f.trades));
}

fn percent(value: Option<f64>, decimals: usize, sign: bool) -> String {
    let text = if sign {
        signed(value, decimals)
    } else {
        fixed(value, decimals)
    };
    with_unit(text, "%")
}

fn share(value: Option<f64>) -> String {
    percent(value.map(|v| v * 100.0), 1, false)
}

fn times(value: Option<f64>) -> String {
    let text = fixed(value, 2);
    if value.is_some_and(f64::is_finite) {
        format!("{text}×")
    } else {
        text
    }
}
