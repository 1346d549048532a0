//! What risk allows, how near its limits are, and what it refused.

use super::{
    pieces::{Tone, badge, dash, full, more, or_dash, pair, since_s, time, until_s},
    table::{Col, Row, Shape, number, table, wide},
};
use crate::web::{
    chart,
    html::{Html, duration_s, int, money, plain, put, with_unit},
    snapshot::{Bound, DENIALS, LIMITS, Limit, Scope, Snapshot, TradingState},
};

/// Limits on the overview; the page of risk has all.
const NEAREST: usize = 6;

/// What is restricted, why, since when, until when, and how to clear it.
pub(super) fn restrictions(h: &mut Html, s: &Snapshot) {
    let restricted: Vec<&Scope> = s.risk.restricted().collect();
    // A desk that reports no scopes still reports its halts.
    let halts: &[_] = if s.risk.scopes.is_empty() {
        &s.halts
    } else {
        &[]
    };
    if restricted.is_empty() && halts.is_empty() {
        put!(h; r#"<p class="none">Nothing is halted or restricted.</p>"#);
        return;
    }
    put!(h; r#"<ul class="halts">"#);
    for halt in halts {
        put!(h; "<li><p>" [badge(h, Tone::Bad, "halted")] " <strong>" (&halt.scope) " " (&halt.what)
            "</strong></p><p>" (or_dash(&halt.why)) r#" <span class="quiet">since "#
            [time(h, halt.since_ns, s.now_ns)] ", for " (since_s(s, halt.since_ns))
            r#"</span></p><p><span class="quiet">To clear:</span> "# (or_dash(&halt.how_to_clear))
            "</p></li>");
    }
    for scope in restricted {
        restriction(h, s, scope);
    }
    put!(h; "</ul>");
}

fn restriction(h: &mut Html, s: &Snapshot, x: &Scope) {
    put!(h; "<li><p>" [badge(h, tone(x.state), x.state.name())] " <strong>" [scope(h, x)]
        "</strong></p><p>" (or_dash(&x.cause)));
    if !x.code.is_empty() {
        put!(h; " <code>" (&x.code) "</code>");
    }
    if let Some(ns) = x.since_ns {
        put!(h; r#" <span class="quiet">since "# [time(h, ns, s.now_ns)] ", for " (since_s(s, ns))
            "</span>");
    }
    if let Some(ns) = x.until_ns {
        put!(h; r#" <span class="quiet">until "# [time(h, ns, s.now_ns)] ", in " (until_s(s, ns))
            "</span>");
    }
    put!(h; r#"</p><p><span class="quiet">To clear:</span> "# (or_dash(&x.how_to_clear)));
    if let Some(command) = &x.command {
        put!(h; " <code>" (command) "</code>");
    }
    put!(h; "</p></li>");
}

/// A scope's kind and which one; there is only one portfolio.
fn scope(h: &mut Html, x: &Scope) {
    put!(h; (&x.scope));
    if x.what != x.scope {
        put!(h; " " (&x.what));
    }
}

fn tone(state: TradingState) -> Tone {
    match state {
        TradingState::Active => Tone::Good,
        TradingState::Reducing => Tone::Warn,
        TradingState::Halted => Tone::Bad,
    }
}

/// Every scope: the restricted ones in full, the active ones by name.
pub(super) fn scopes(h: &mut Html, s: &Snapshot) {
    restrictions(h, s);
    let active: Vec<&Scope> = (s.risk.scopes.iter())
        .filter(|x| x.state == TradingState::Active)
        .collect();
    if active.is_empty() {
        return;
    }
    put!(h; "<details><summary>" (active.len()) r#" active</summary><ul class="names">"#);
    for x in active {
        put!(h; "<li>" [badge(h, Tone::Good, "active")] " " [scope(h, x)] "</li>");
    }
    put!(h; "</ul></details>");
}

/// The limits that are nearest to being reached.
pub(super) fn nearest(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[wide("Limit"), wide("Used")];
    let limits = &s.risk.limits;
    let shown = &limits[..limits.len().min(NEAREST)];
    table(
        h,
        Shape::Cards,
        "Limits nearest to being reached",
        COLS,
        shown,
        "No limit is reported.",
        |r, x| {
            r.with(|h| pair(h, &x.name, &x.scope));
            r.with(|h| used(h, x));
        },
    );
    more(h, limits.len(), NEAREST, "/risk", "limits");
}

/// Every limit, the tripped ones first.
pub(super) fn limits(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        wide("Limit"),
        number("Now"),
        number("Allowed"),
        number("Head-room"),
        wide("Used"),
    ];
    table(
        h,
        Shape::Cards,
        "Limits, the tripped ones first",
        COLS,
        &s.risk.limits,
        "No limit is reported.",
        limit,
    );
    full(h, s.risk.limits.len(), LIMITS);
}

fn limit(r: &mut Row<'_>, x: &Limit) {
    let amount = |value| with_unit(figure(value, &x.unit), &x.unit);
    let bound = match x.unit.as_str() {
        "USD" => money(Some(x.limit)),
        _ => plain(Some(x.limit)),
    };
    r.with(|h| {
        put!(h; (or_dash(&x.name)) r#" <span class="quiet of">"# (&x.scope) "</span> <small>");
        if !x.key.is_empty() {
            put!(h; "<code>" (&x.key) "</code> ");
        }
        put!(h; "<code>" (or_dash(&x.code)) "</code></small>");
    });
    r.cell(amount(x.value));
    r.with(|h| {
        let sign = match x.bound {
            Bound::Most => "≤\u{a0}",
            Bound::Least => "≥\u{a0}",
        };
        put!(h; (sign) (with_unit(bound, &x.unit)));
    });
    r.cell(amount(x.head_room()));
    r.with(|h| used(h, x));
}

/// Money and percentages have two decimals, everything else what it needs.
fn figure(value: Option<f64>, unit: &str) -> String {
    match unit {
        "USD" | "%" => money(value),
        _ => plain(value),
    }
}

/// How much of a limit is used: a bar, a percentage, and whether it is tripped.
fn used(h: &mut Html, x: &Limit) {
    let share = x.used();
    put!(h; r#"<span class="nowrap">"# [chart::used(h, share, x.tripped)]);
    match share {
        // What is far beyond a limit is not more precise for being written out.
        Some(share) if share >= 10.0 => put!(h; "over 999\u{a0}%"),
        Some(share) => put!(h; (format_args!("{:.0}\u{a0}%", share * 100.0))),
        None if x.value.is_none() => put!(h; r#"<span class="quiet">not known yet</span>"#),
        None => {}
    }
    put!(h; "</span>");
    if x.tripped {
        put!(h; " " [badge(h, Tone::Bad, "tripped")]);
    } else if share.is_some_and(|share| share >= 0.8) {
        put!(h; " " [badge(h, Tone::Warn, "near")]);
    }
}

/// Violations in the window that shuts the desk down.
pub(super) fn violations(h: &mut Html, s: &Snapshot) {
    let v = &s.risk.violations;
    if v.most == 0 && v.total == 0 {
        put!(h; r#"<p class="none">Violations are not counted yet.</p>"#);
        return;
    }
    let tone = match v.count {
        0 => Tone::Good,
        n if v.most > 0 && n >= v.most => Tone::Bad,
        _ => Tone::Warn,
    };
    let count = format!("{} of {}", v.count, v.most);
    put!(h; r#"<p class="check">"# [badge(h, tone, &count)] r#" <span class="quiet">in the last "#
        (duration_s(v.window_s)) "; " (v.most) " shut the desk down. "
        r#"<span class="nowrap">"# (int(v.total)) " since start</span></span></p>");
    if v.recent.is_empty() {
        return;
    }
    put!(h; r#"<ul class="events">"#);
    for x in &v.recent {
        put!(h; "<li>" [time(h, x.ns, s.now_ns)] " <span>" (&x.text) " <code>" (&x.code)
            "</code> <small>" (&x.scope) "</small></span></li>");
    }
    put!(h; "</ul>");
}

/// The last runs of denials.
pub(super) fn denials(h: &mut Html, s: &Snapshot) {
    if s.risk.denials.is_empty() {
        put!(h; r#"<p class="none">Nothing was denied.</p>"#);
        return;
    }
    put!(h; r#"<ul class="events">"#);
    for x in s.risk.denials.iter().take(DENIALS) {
        put!(h; "<li>" [time(h, x.ns, s.now_ns)] " <span>" [pair(h, &x.instrument, &x.venue)] ": "
            (&x.text) " <code>" (&x.code) "</code>");
        if x.count > 1 {
            put!(h; r#" <span class="quiet nowrap">"# (int(x.count)) " times since "
                [time(h, x.since_ns, s.now_ns)] "</span>");
        }
        put!(h; "</span></li>");
    }
    put!(h; "</ul>");
}

/// How often each code was the cause of a denial.
pub(super) fn denial_counts(h: &mut Html, s: &Snapshot) {
    if s.risk.denial_counts.is_empty() {
        put!(h; r#"<p class="none">"# (dash()) "</p>");
        return;
    }
    put!(h; r#"<dl class="facts">"#);
    for x in &s.risk.denial_counts {
        put!(h; "<div><dt><code>" (&x.code) "</code></dt><dd>" (int(x.count)) "</dd></div>");
    }
    put!(h; "</dl>");
}
