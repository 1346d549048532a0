//! The account and what moves it: positions and decisions.

use super::{
    pieces::{Tone, badge, gain, more, pair, side, stat, time},
    table::{Col, Shape, number, table, text, wide},
};
use crate::web::{
    html::{Html, exact, fixed, int, money, price, put, signed, with_unit},
    snapshot::{DECISIONS, Decision, Snapshot, Verdict},
};

/// Decisions on the overview; their own page has all.
const RECENT: usize = 8;

/// Equity, the day's profit and the drawdown.
pub(super) fn account(h: &mut Html, s: &Snapshot) {
    let a = &s.account;
    put!(h; r#"<p><span class="label">Equity</span> <span class="big">"# (money(a.equity))
        r#"</span> <span class="quiet">"# (&a.currency) r#"</span></p><p class="under">"#
        [gain(h, a.day_pnl)] r#" <span class="quiet">today"#);
    if let (Some(day), Some(equity)) = (a.day_pnl, a.equity)
        && equity - day > 0.0
    {
        put!(h; " (" (with_unit(signed(Some(day / (equity - day) * 100.0), 2), "%")) ")");
    }
    put!(h; r#" ·</span> <span class="nowrap">"# (with_unit(fixed(a.drawdown_pct, 2), "%"))
        r#" <span class="quiet">below high</span></span></p>"#);
}

/// The rest of the account.
pub(super) fn stats(h: &mut Html, s: &Snapshot) {
    let a = &s.account;
    let plain = |h: &mut Html, label, value| {
        stat(h, label, |h| {
            h.text(money(value));
        });
    };
    put!(h; r#"<dl class="stats">"#
        [stat(h, "Unrealised", |h| gain(h, a.unrealised))]
        [stat(h, "Realised", |h| gain(h, a.realised))]
        [plain(h, "Fees paid", a.fees)]
        [plain(h, "Cash", a.cash)]
        [plain(h, "High-water mark", a.high_water_mark)]
        "</dl>");
}

/// The line of money on the other pages.
pub(super) fn brief(h: &mut Html, s: &Snapshot) {
    let a = &s.account;
    put!(h; r#"<p class="brief"><span class="quiet">Equity</span> "# (money(a.equity)) " "
        (&a.currency) r#" <span class="nowrap">"# [gain(h, a.day_pnl)]
        r#" <span class="quiet">today</span></span></p>"#);
}

/// Open positions.
pub(super) fn positions(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        text("Side"),
        number("Quantity"),
        number("Average"),
        number("Mark"),
        number("Notional"),
        number("Unrealised"),
    ];
    let none = "No open positions.";
    table(
        h,
        Shape::Cards,
        "Open positions",
        COLS,
        &s.positions,
        none,
        |r, p| {
            r.with(|h| pair(h, &p.instrument, &p.venue));
            r.with(|h| side(h, &p.side));
            r.cell(exact(&p.qty));
            r.cell(price(p.avg_price));
            r.cell(price(p.mark));
            r.cell(money(p.notional));
            r.with(|h| gain(h, p.unrealised));
        },
    );
}

/// The last decisions, all that is kept of them.
pub(super) fn decisions(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Action"),
        number("Size"),
        wide("Risk"),
        number("Confidence"),
        number("Expected"),
        number("Latency"),
    ];
    let shown = &s.decisions[..s.decisions.len().min(DECISIONS)];
    let none = "No decisions yet.";
    table(
        h,
        Shape::Log,
        "Decisions, newest first",
        COLS,
        shown,
        none,
        |r, d| {
            r.with(|h| time(h, d.ns, s.now_ns));
            r.cell(&d.instrument);
            r.with(|h| side(h, &d.action));
            r.cell(size(d));
            r.with(|h| verdict(h, &d.verdict, true));
            r.cell(fixed(d.confidence, 2));
            r.cell(with_unit(signed(d.expected_bps, 1), "bps"));
            r.cell(with_unit(int(d.latency_us), "µs"));
        },
    );
}

/// The last few decisions in short.
pub(super) fn last_decisions(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Action"),
        number("Size"),
        number("Confidence"),
        wide("Risk"),
    ];
    let shown = &s.decisions[..s.decisions.len().min(RECENT)];
    let none = "No decisions yet.";
    table(
        h,
        Shape::Log,
        "Last decisions, newest first",
        COLS,
        shown,
        none,
        |r, d| {
            r.with(|h| time(h, d.ns, s.now_ns));
            r.cell(&d.instrument);
            r.with(|h| side(h, &d.action));
            r.cell(size(d));
            r.cell(fixed(d.confidence, 2));
            r.with(|h| verdict(h, &d.verdict, false));
        },
    );
    more(
        h,
        s.decisions.len(),
        RECENT,
        "/decisions",
        "recent decisions",
    );
}

/// The size asked for, as a percentage.
fn size(d: &Decision) -> String {
    with_unit(fixed(d.size.map(|v| v * 100.0), 1), "%")
}

/// What risk said; the reason of a denial where there is room for it.
fn verdict(h: &mut Html, verdict: &Verdict, with_reason: bool) {
    match verdict {
        Verdict::Allowed => badge(h, Tone::Good, "allowed"),
        Verdict::Idle { code, reason } | Verdict::Denied { code, reason } => {
            let (tone, word) = match verdict {
                Verdict::Idle { .. } => (Tone::Idle, "no order"),
                _ => (Tone::Warn, "denied"),
            };
            put!(h; [badge(h, tone, word)] " <code>" (code) "</code>");
            if with_reason && matches!(verdict, Verdict::Denied { .. }) {
                put!(h; r#" <span class="quiet">"# (reason) "</span>");
            }
        }
    }
}
